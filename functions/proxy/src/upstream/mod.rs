//! The client with which the proxy calls MCP servers. It knows nothing of Deputize's domain.
//!
//! A call's story: the address is checked ([`AddressPolicy`]), the server's era is remembered or found out (`era`), and
//! the request goes out. To a modern server it is one self-contained POST, with arguments mirrored into headers where
//! the tool asks for that (`modern`, `param_headers`). To a handshake server it goes through the client's own session,
//! or one of ours (`handshake`, `session`). The answer comes back as JSON or as events (`relay`, `events`, `body`), as
//! it comes, its bytes unchanged (`answer`). `/mcp` passes it on; `/tools` reads it up to the response (`call`). In the
//! steady state that is one HTTP request over an open connection.
//!
//! - **Two eras:** the stateless revision 2026-07-28, and the handshake revisions before it. A server is asked once
//!   (`server/discover`) and its answer remembered. If a server changes its era, its refusals show it.
//! - **A request that may have reached a tool is never sent again** ([`UpstreamError::may_have_run`]). A request is
//!   repeated only if it was refused unread: because a session has ended, the era is wrong, or a header annotation has
//!   changed.
//! - **The caller reads what was judged.** Where lists are filtered or compared with an approval, a name that occurs
//!   twice, in whatever case, is refused: in a list, a definition or a message of a stream. One reader takes the first
//!   value, another the last, and some ignore case (Go's `encoding/json` among them).
//! - **Addresses are decided on by what the connection is made to,** inside the resolver. Nothing is looked up twice,
//!   so DNS rebinding has nothing to change. The environment's proxies are not used. Only 307 and 308 within the server's
//!   origin are followed. No compressed answer is requested, and one that comes all the same is bounded as it is undone.
//! - **A 401 to a session's token** is answered by one refresh and one more try, whatever was sent. A second 401 means
//!   `OAuth session expired`. A 403 with `insufficient_scope` is passed on with what to authorize again, and where.
//!
//! `rmcp`'s client is not used here: it re-encodes what passes through it, holds one connection for one credential, and
//! leaves addresses, sizes and times unbounded.

mod answer;
mod body;
mod call;
mod config;
mod era;
mod error;
mod events;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handshake;
pub(crate) mod message;
mod modern;
mod outgoing;
pub(crate) mod param_headers;
mod probe;
mod relay;
mod said;
mod session;
mod session_closer;
mod target;
mod tools;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use deputize_service::{
    address::{AddressPolicy, AddressRefusal},
    authorities::Authorities,
};

pub use self::answer::{ErrorAnswer, RelayedResponse, Reply, ReplyError, ServerEvent, ServerMessage};
pub use self::call::Called;
pub use self::config::UpstreamConfig;
pub use self::era::{KnownEra, ProtocolEra};
pub use self::error::UpstreamError;
pub use self::handshake::SessionMessage;
pub(crate) use self::handshake::ends_session;
pub use self::modern::ModernMessage;
pub use self::outgoing::Outgoing;
pub use self::param_headers::ParamMismatch;
pub(crate) use self::probe::Shown;
pub use self::said::Said;
pub use self::target::{Authorization, InboundRequest, Target};

use self::era::EraCache;
use self::session::Sessions;
use self::tools::KnownHeaders;
use self::transport::Transport;

/// Makes requests to MCP servers of either era. Cheap to clone; clones share connections and memory.
#[derive(Clone)]
pub struct UpstreamClient {
    shared: Arc<Shared>,
}

/// The connections to servers, and what is remembered about the servers.
struct Shared {
    transport: Transport,
    eras: EraCache,
    sessions: Sessions,
    known_headers: KnownHeaders,
    next_id: AtomicU64,
}

impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamClient").field("config", self.config()).finish_non_exhaustive()
    }
}

impl UpstreamClient {
    /// A client with its own connections and memory.
    pub fn new(config: UpstreamConfig) -> Self {
        let capacity = config.max_remembered;
        let shared = Shared {
            transport: Transport::new(Arc::new(config)),
            eras: EraCache::new(capacity),
            sessions: Sessions::new(capacity),
            known_headers: KnownHeaders::new(capacity),
            // A session's first request, its `initialize`, has the id 1, and an id is used once in a session.
            next_id: AtomicU64::new(2),
        };
        Self { shared: Arc::new(shared) }
    }

    fn config(&self) -> &UpstreamConfig {
        &self.shared.transport.config
    }

    /// Whether a handshake client's `GET` may open a stream.
    pub(crate) fn has_session_streams(&self) -> bool {
        self.config().session_streams
    }

    /// Does the setup that every first call needs. It computes and does not wait.
    pub fn prepare(&self) {
        self.shared.transport.prepare();
    }

    fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives `work`, which calls no tool, the total time, or what is left of the time of the request that it serves.
    async fn in_time<T>(
        &self,
        target: &Target,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let timeout = UpstreamError::Timeout { waiting_for: "an answer", sent: false };
        let work = tokio::time::timeout(target.inbound.at_most(self.config().total_timeout), work);
        self.beside(work).await.unwrap_or(Err(timeout))
    }

    /// Does `work`. Beside it, ends sessions that are no longer kept.
    async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        self.shared.sessions.session_closer.beside(&self.shared.transport, work).await
    }
}
