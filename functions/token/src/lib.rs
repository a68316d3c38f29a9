//! `/api/v1/oauth/*` and the `/.well-known/*` documents.
//!
//! | file | holds |
//! | --- | --- |
//! | `token` | `POST /api/v1/oauth/token`, and its alias `/token` |
//! | `introspect` | `POST /api/v1/oauth/introspect` (RFC 7662) |
//! | `revoke` | `POST /api/v1/oauth/revoke` (RFC 7009) |
//! | `register` | `POST /api/v1/oauth/register` (RFC 7591) |
//! | `metadata` | the metadata of the authorization server (RFC 8414) and of its resources (RFC 9728), keys (RFC 7517) |
//! | `client_auth` | client authentication, shared by the first three |

mod client_auth;
mod introspect;
mod metadata;
mod register;
mod revoke;
mod token;

use std::sync::Arc;

use deputize_core::Core;
use deputize_service::routes::Routes;

/// The function's routes. Put the edge around them: [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new()
        .merge(token::routes())
        .merge(introspect::routes())
        .merge(revoke::routes())
        .merge(register::routes())
        .merge(metadata::routes())
        .with_state(core)
}
