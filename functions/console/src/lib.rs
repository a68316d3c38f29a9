//! Everything that a browser shows a person, but for the end of a connection, which is the grants function's.
//!
//! | file | holds |
//! | --- | --- |
//! | `alias` | `GET /authorize` |
//! | `apps`, `authorizations` | the JSON API of apps that admins register or block, and of what users allowed |
//! | `authorize` | `/api/v1/oauth/authorize`: an app asks a person to be allowed to act as them |
//! | `consent` | the page of that question |
//! | `page` | what a page looks like, and the headers that it is sent with |
//! | `browser` | who sits at the browser, and whether a page of ours sent a form |
//! | `home` | the first page, on which a person ends what they allowed apps |
//! | `sign_in` | to an OpenID provider and back |
//! | `sign_out` | the end of a session |
//! | `connect` | connecting to an MCP server |

mod alias;
mod apps;
mod authorizations;
mod authorize;
mod browser;
mod connect;
mod consent;
mod home;
mod page;
mod sign_in;
mod sign_out;

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
        .merge(apps::routes())
        .merge(authorizations::routes())
        .route(path::HOME, get(home::home).post(home::end_app))
        .route(path::SIGN_IN, get(sign_in::sign_in))
        .route(path::SIGN_IN_CALLBACK, get(sign_in::callback))
        .route(path::BACKCHANNEL_LOGOUT, post(sign_in::backchannel_logout))
        .route(path::SIGN_OUT, get(sign_out::signed_out).post(sign_out::sign_out))
        .route(path::STYLE, get(asset))
        .route(path::CONNECT_PAGE, get(connect::ask).post(connect::begin))
        .with_state(core)
}

async fn asset(Path(name): Path<String>) -> impl IntoResponse {
    page::asset(&name).unwrap_or_else(|| ApiError::from(Error::NotFound("file")).into_response())
}
