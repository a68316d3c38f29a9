//! `/api/v1/me/browser-sessions`: where a person is signed in. They sign in and out on the console's pages.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use deputize_api::path;
use deputize_core::{Core, browser_sessions, clock::Timestamp, ids::BrowserSessionId};
use deputize_service::{
    Changed, Changing, Errors, Paged, Result,
    extract::{NoBody, Paging, PagingParams, Path, User},
    handlers,
    routes::Routes,
};
use http::{StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list_mine(PagingParams))).mount(handlers!(end_mine))
}

/// A person's session in a browser.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrowserSession {
    #[schema(value_type = Uuid)]
    id: BrowserSessionId,
    /// The issuer by which the person signed in.
    issuer: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last used, to within a minute.
    #[schema(value_type = String, format = DateTime)]
    used_at: Timestamp,
    /// When it ends, if it is not used any more.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl BrowserSession {
    /// `idle`: how long a session lasts that is not used.
    pub(crate) fn shown(session: browser_sessions::BrowserSession, idle: Duration) -> Self {
        Self {
            id: session.id,
            expires_at: session.ends_at(idle),
            issuer: session.issuer,
            created_at: session.created_at,
            used_at: session.used_at,
        }
    }
}

/// The caller's sessions in browsers
///
/// Those that have not ended. A person has 50 at most; the oldest make room for a new one.
#[utoipa::path(
    get,
    path = path::MY_BROWSER_SESSIONS,
    operation_id = "list_my_browser_sessions",
    tag = "users",
    params(PagingParams),
    responses((status = 200, body = Vec<BrowserSession>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<BrowserSession>> {
    let sessions = browser_sessions::list(&core, &caller, caller.user.id, &page).await?;
    let idle = core.settings.browser_sessions.idle;
    Ok(Paged::new(&uri, sessions, |session| BrowserSession::shown(session, idle)))
}

/// End a session in a browser
///
/// The browser is signed out with its next request. What the person allowed apps goes on.
#[utoipa::path(
    delete,
    path = path::MY_BROWSER_SESSION,
    operation_id = "end_my_browser_session",
    tag = "users",
    params(("browser_session_id" = Uuid, Path)),
    responses((status = 204), Errors, Changed),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn end_mine(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Changing(request): Changing,
    Path(id): Path<BrowserSessionId>,
    _: NoBody,
) -> Result<StatusCode> {
    browser_sessions::end(&core, &caller, &request, caller.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
