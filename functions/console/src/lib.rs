//! Everything that a browser shows a person, but for the end of a connection, which is the grants function's.
//!
//! | folder or file | holds |
//! | --- | --- |
//! | `you` | the console's pages for everybody: who acts for them, connections, apps, keys, activity |
//! | `sign_in` | to an OpenID provider and back |
//! | `sign_out` | the end of a session |
//! | `connect` | connecting to an MCP server |
//! | `authorize` | `/api/v1/oauth/authorize`: an app asks a person to be allowed to act as them |
//! | `alias` | `GET /authorize` |
//! | `consent` | the page of that question |
//! | `api` | the JSON API of apps that admins register or block, and of what users allowed |

mod alias;
mod api;
mod authorize;
mod connect;
mod consent;
mod sign_in;
mod sign_out;
mod you;

use std::sync::Arc;

use axum::{
    extract::Path,
    response::IntoResponse,
    routing::{get, post},
};
use deputize_api::path;
use deputize_core::{Core, Error};
use deputize_service::{ApiError, routes::Routes};

/// The parser of other parties' bytes, for `fuzz/`.
#[cfg(feature = "fuzzing")]
pub use authorize::fuzz as fuzz_authorization_request;

/// The function's routes. Put the edge around them: [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new()
        .merge(alias::routes())
        .merge(authorize::routes())
        .merge(api::routes())
        .merge(you::routes())
        .route(path::SIGN_IN, get(sign_in::sign_in))
        .route(path::SIGN_IN_CALLBACK, get(sign_in::callback))
        .route(path::BACKCHANNEL_LOGOUT, post(sign_in::backchannel_logout))
        .route(path::SIGN_OUT, get(sign_out::signed_out).post(sign_out::sign_out))
        .route(path::STYLE, get(asset))
        .route(path::CONNECT_PAGE, get(connect::ask).post(connect::begin))
        .with_state(core)
}

async fn asset(Path(name): Path<String>) -> impl IntoResponse {
    deputize_pages::page::asset(&name)
        .unwrap_or_else(|| ApiError::from(Error::NotFound("file")).into_response())
}
