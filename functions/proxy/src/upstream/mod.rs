//! The client with which the proxy calls the tools of somebody's MCP server.
//!
//! A call's story: the address is checked ([`AddressPolicy`]), the server's era is remembered or found
//! out (`era`), and the request goes out. To a modern server it is one self-contained POST with the
//! arguments mirrored into headers where the tool wants that (`param_headers`); to a handshake server
//! it goes through the credential's session (`session`). The response comes back as JSON or as events
//! (`transport`, `events`, `body`), its result's bytes as they are. `call` is that story in code.
//!
//! In the steady state that is one HTTP request over a connection that is already open. What may have
//! reached the tool is never sent again; [`UpstreamError::may_have_run`] tells.
//!
//! `rmcp`'s client is not used here: it re-encodes what passes through it, holds one connection for
//! one credential, and leaves addresses, sizes and times unbounded.

mod body;
mod call;
mod config;
mod era;
mod error;
mod events;
mod farewells;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod lanes;
pub(crate) mod message;
pub(crate) mod param_headers;
mod relay;
mod session;
mod target;
mod tools;
mod transport;

use std::fmt;
use std::sync::Arc;

pub use deputize_service::address::{AddressPolicy, AddressRefusal};
use serde_json::value::RawValue;

pub use self::config::UpstreamConfig;
pub use self::era::Era;
pub use self::error::UpstreamError;
pub use self::lanes::{ModernMessage, SessionMessage};
pub use self::param_headers::ParamMismatch;
pub use self::relay::{Part, Refused, Relayed, Reply, ReplyError, Said};
pub use self::target::{Authorization, CallContext, Journey, Target};

use self::call::{Errand, Upstreams};

/// Calls tools of MCP servers of either era. Cheap to clone; clones share connections and memory.
#[derive(Clone)]
pub struct UpstreamClient {
    upstreams: Arc<Upstreams>,
}

impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamClient").field("config", self.upstreams.config()).finish_non_exhaustive()
    }
}

impl UpstreamClient {
    /// A client with its own connections and memory.
    pub fn new(config: UpstreamConfig) -> Self {
        Self { upstreams: Arc::new(Upstreams::new(config)) }
    }

    /// Does what must be done before the first call, whatever it calls. That is work, no waiting.
    pub fn prepare(&self) {
        self.upstreams.prepare();
    }

    /// Calls a tool. The answer is the `CallToolResult`'s own bytes, a tool's failure (`isError`) included.
    ///
    /// To give up a call, drop the future: the connection closes, which cancels the call on a modern server.
    pub async fn call_tool(
        &self,
        target: &Target,
        name: &str,
        arguments: &RawValue,
        context: &CallContext,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let errand = Errand::new(target, context);
        let call = self.upstreams.in_time(target, self.upstreams.call(&errand, name, arguments));
        call.await.map_err(|error| error.while_calling(errand.is_calling()))
    }

    /// Lists the tools that the credential may use, each as its own bytes, from all pages.
    ///
    /// A modern server's tools whose header annotations are invalid are left out, as the specification
    /// demands.
    pub async fn list_tools(
        &self,
        target: &Target,
        context: &CallContext,
    ) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        let errand = Errand::new(target, context);
        Ok(self.upstreams.in_time(target, self.upstreams.list(&errand)).await?.tools)
    }
}
