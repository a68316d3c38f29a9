//! Whose OAuth credentials an agent uses at a server, and connecting users to OAuth-protected servers.
//!
//! | file | holds |
//! | --- | --- |
//! | `session_grants` | `/api/v1/…/session-grants` |
//! | `connections` | `/api/v1/servers/{id}/connect` and `…/connection` |
//! | `callback` | `/api/v1/oauth/callback`, where browsers come back to, and what we say of ourselves to providers |
//! | `disconnecting` | `/connections/{id}/disconnect`, the page on which a person ends a connection: it is here for the same reason as the next |
//! | `offboarding` | `/api/v1/users/{user_id}/offboard`: it is here, since this function may open tokens, and ask providers to revoke them |
//! | `deleting` | `DELETE /api/v1/users/{user_id}`, for the same reason |
//! | `page` | the pages that a browser is shown there |

mod callback;
mod connections;
mod deleting;
mod disconnecting;
mod offboarding;
mod page;
mod session_grants;

use std::sync::Arc;

use axum::routing::get;
use deputize_api::path;
use deputize_core::Core;
use deputize_service::routes::Routes;

/// The function's routes. Put the edge around them: [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    session_grants::routes()
        .merge(connections::routes())
        .merge(callback::routes())
        .merge(offboarding::routes())
        .merge(deleting::routes())
        .route(path::DISCONNECT, get(disconnecting::ask).post(disconnecting::disconnect))
        .with_state(core)
}
