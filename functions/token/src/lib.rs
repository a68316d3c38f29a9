//! `/api/v1/oauth/*` and the `/.well-known/*` documents.
//!
//! | file | holds |
//! | --- | --- |
//! | `token` | `POST /api/v1/oauth/token` |
//! | `introspect` | `POST /api/v1/oauth/introspect` (RFC 7662) |
//! | `revoke` | `POST /api/v1/oauth/revoke` (RFC 7009) |
//! | `authorize` | `GET /api/v1/oauth/authorize`, which is there to be named |
//! | `metadata` | the metadata of the authorization server (RFC 8414) and of its resources (RFC 9728), keys (RFC 7517) |
//! | `client_auth` | client authentication, shared by the first three |

mod authorize;
mod client_auth;
mod introspect;
mod metadata;
mod revoke;
mod token;

use std::sync::Arc;

use axum::routing::get;
use deputize_core::Core;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The function's routes, to be put [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(token::token))
        .routes(routes!(introspect::introspect))
        .routes(routes!(revoke::revoke))
        .routes(routes!(authorize::authorize))
        .routes(routes!(metadata::authorization_server))
        .routes(routes!(metadata::openid_configuration))
        .routes(routes!(metadata::server))
        .routes(routes!(metadata::proxy))
        .routes(routes!(metadata::jwks))
        .route("/.well-known/oauth-authorization-server/{*path}", get(metadata::of_issuer))
        .route("/.well-known/openid-configuration/{*path}", get(metadata::of_openid_issuer))
        .route("/.well-known/oauth-protected-resource/{*path}", get(metadata::of_resource))
        .with_state(core)
}
