//! `/api/v1/proxy/*`: calls the tools of MCP servers, as far as delegation and policies allow, with the right person's
//! credentials.
//!
//! | file | holds |
//! | --- | --- |
//! | `tools` | `GET` and `POST /api/v1/proxy/{server_id}/tools` |
//! | `call` | what every call begins with |
//! | `challenge` | what a 401 says of how to get a token |
//! | `mcp` | `/api/v1/proxy/{server_id}/mcp`, the endpoint for MCP clients |
//! | `pins` | holding back tools that are not as an admin approved them |
//! | `probe` | `POST /api/v1/servers/probe`: what a server is, before it is registered |
//! | `call_audit` | the audit event of a call, from its beginning to its end |
//! | `upstream_access` | whose credentials are used, and once more if the server refuses them |
//! | `failure` | what an upstream's failure means to the caller |
//! | [`upstream`] | the client of MCP servers |

mod call;
mod call_audit;
mod challenge;
mod failure;
mod mcp;
mod pins;
mod probe;
mod tools;
pub mod upstream;
mod upstream_access;

use std::sync::{Arc, Once};

use axum::{extract::FromRef, middleware::from_fn_with_state};
use deputize_core::{Core, policies};
use deputize_service::routes::Routes;

use self::{pins::SeenApprovals, upstream::UpstreamClient};

/// The parsers of other parties' bytes, for `fuzz/`.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use crate::{
        mcp::fuzzing::client_message,
        upstream::fuzzing::{server_events, server_message},
    };
}

/// What the proxy's handlers work with.
#[derive(Clone, Debug, FromRef)]
struct Proxy {
    core: Arc<Core>,
    upstream: UpstreamClient,
    seen_approvals: SeenApprovals,
    /// Whether this process has begun to prepare for its first call.
    #[from_ref(skip)]
    prepared: Arc<Once>,
}

impl Proxy {
    /// At a process's first call, begins the setup that every first call needs. It runs beside the reads of the table,
    /// which mostly wait.
    fn prepare(&self) {
        self.prepared.call_once(|| {
            let upstream = self.upstream.clone();
            tokio::task::spawn_blocking(move || {
                policies::prepare();
                upstream.prepare();
            });
        });
    }
}

/// The function's routes, to be wrapped by [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>, upstream: UpstreamClient) -> Routes {
    tools::routes()
        .merge(mcp::routes())
        .merge(pins::routes())
        .merge(probe::routes())
        .route_layer(from_fn_with_state(Arc::clone(&core), challenge::challenge))
        .with_state(Proxy {
            core,
            upstream,
            seen_approvals: SeenApprovals::default(),
            prepared: Arc::new(Once::new()),
        })
}
