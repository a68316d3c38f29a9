//! `/api/v1/audit-events`: who did what, whether it was allowed, and why.

use std::{net::IpAddr, sync::Arc};

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    apps::app_id,
    audit::{self, Action},
    clock::Timestamp,
    ids::{AgentAccountId, AppId, EventId, GrantId, ServerId, UserId},
    paging::PageRequest,
    trail::{self, Filter},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Json, Paging, PagingParams, Query, User},
    handlers,
    routes::Routes,
};
use http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};
use uuid::Uuid;

use crate::bounds::ip_address;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(list(ListFilter, PagingParams))).mount(handlers!(follow(FeedParams)))
}

/// An event of the audit trail. Every field is always there, and is `null` where it does not apply.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEvent {
    /// Ids sort by time.
    #[schema(value_type = Uuid)]
    id: EventId,
    /// When the event was stored: at the end of a call, before its answer. The request arrived `duration_ms` earlier.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(schema_with = action)]
    action: Action,
    outcome: Outcome,
    #[schema(value_type = Option<Uuid>, required)]
    agent_account_id: Option<AgentAccountId>,
    /// The user who acted, or who was acted for.
    #[schema(value_type = Option<Uuid>, required)]
    user_id: Option<UserId>,
    #[schema(value_type = Option<String>, required)]
    server_id: Option<ServerId>,
    /// The app that acted as the user: its `client_id`, or `sha256:` and the digest of a long one.
    #[schema(value_type = Option<String>, required)]
    client_id: Option<AppId>,
    /// The credential that was used: its kind and id, never the credential itself.
    #[schema(required)]
    credential: Option<String>,
    /// The `jti` of the token that was issued or revoked.
    #[schema(required)]
    token_id: Option<Uuid>,
    /// The thing that was changed, such as `policy:` and its id.
    #[schema(required)]
    subject: Option<String>,
    #[schema(required)]
    tool: Option<String>,
    /// SHA-256 of the arguments as they came, in hexadecimal.
    #[schema(required)]
    arguments_sha256: Option<String>,
    /// The policies that decided.
    policies: Vec<String>,
    /// The user whose OAuth session was used upstream.
    #[schema(value_type = Option<Uuid>, required)]
    credentials_of: Option<UserId>,
    /// The session grant that allowed the call.
    #[schema(value_type = Option<Uuid>, required)]
    grant_id: Option<GrantId>,
    /// Why the action was refused or failed, or what the thing was changed to.
    #[schema(required)]
    detail: Option<String>,
    /// The `x-request-id` of the answer.
    request_id: Uuid,
    #[schema(schema_with = ip_address, required)]
    source_ip: Option<IpAddr>,
    /// Milliseconds from the arrival of the request to the storing of the event.
    #[schema(required)]
    duration_ms: Option<u64>,
}

/// What was done, or attempted.
fn action() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Action::ALL.iter().copied())).build()
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// The action was allowed, and done.
    Allowed,
    /// The action was refused, and nothing was done.
    Denied,
    /// The action was allowed, and failed. For a tool call, the upstream server may have been reached.
    Failed,
}

impl From<audit::Outcome> for Outcome {
    fn from(outcome: audit::Outcome) -> Self {
        match outcome {
            audit::Outcome::Allowed => Self::Allowed,
            audit::Outcome::Denied => Self::Denied,
            audit::Outcome::Failed => Self::Failed,
        }
    }
}

impl From<audit::Event> for AuditEvent {
    fn from(event: audit::Event) -> Self {
        Self {
            id: event.id,
            at: event.at,
            action: event.action,
            outcome: event.outcome.into(),
            agent_account_id: event.agent_account_id,
            user_id: event.user_id,
            server_id: event.server_id,
            client_id: event.client_id,
            credential: event.credential,
            token_id: event.token_id,
            subject: event.subject,
            tool: event.tool,
            arguments_sha256: event.arguments_sha256,
            policies: event.policies,
            credentials_of: event.credentials_of,
            grant_id: event.grant_id,
            detail: event.detail,
            request_id: event.request_id,
            source_ip: event.source_ip,
            duration_ms: event.duration_ms,
        }
    }
}

/// Only events that match all given filters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    #[param(value_type = Option<Uuid>)]
    agent_account_id: Option<AgentAccountId>,
    /// The user who acted, or who was acted for.
    #[param(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
    /// The `client_id` of the app that acted as the user. Beside an agent account, a user or a server.
    #[param(min_length = 1, max_length = 2_000)]
    client_id: Option<String>,
    /// The first moment. 31 days before `to` if left out.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The last moment. Now if left out.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

impl From<ListFilter> for Filter {
    fn from(filter: ListFilter) -> Self {
        let ListFilter { agent_account_id, user_id, server_id, client_id, from, to } = filter;
        let client_id = client_id.as_deref().map(app_id);
        Self { agent_account_id, user_id, server_id, client_id, from, to }
    }
}

/// The audit trail, newest first
///
/// Admins see all events. Other users see what they did, and what was done for them. Without an agent account, a user
/// or a server, the range is at most 31 days. A page can hold fewer events than `limit`, or none, while there are more:
/// continue as long as there is a `Link` to the next page. To follow all new events, read `/api/v1/audit-events/feed`.
#[utoipa::path(
    get,
    path = path::AUDIT_EVENTS,
    operation_id = "list_audit_events",
    tag = "audit",
    params(ListFilter, PagingParams),
    responses((status = 200, body = Vec<AuditEvent>), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn list(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(filter): Query<ListFilter>,
    Paging(page): Paging,
    uri: Uri,
) -> Result<Paged<AuditEvent>> {
    let events = trail::list(&core, &caller, filter.into(), &page).await?;
    Ok(Paged::new(&uri, events, AuditEvent::from))
}

/// The position in the feed, and how many events to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FeedParams {
    /// The first moment, for a call without a cursor. 31 days ago if left out.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The most events to answer, 1 to 100. 100 if left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// Where to continue: the `cursor` of the previous answer.
    #[param(format = "feed-cursor")]
    cursor: Option<String>,
}

/// A part of the audit trail, in the order of the trail.
#[derive(Debug, Serialize, ToSchema)]
struct AuditFeed {
    /// Oldest first.
    events: Vec<AuditEvent>,
    /// The `cursor` for the next call. It does not expire.
    cursor: String,
    /// Whether there may be more events already. If not, ask again after some seconds.
    more: bool,
}

/// The audit trail, oldest first, for following it
///
/// Admins only. A client that asks again and again, each time with the `cursor` of the previous answer, gets every
/// event exactly once. For this, the feed ends 60 s before now: by then, all events are stored. An answer can hold
/// fewer events than `limit`, or none, while there are more. `more` says whether there are.
#[utoipa::path(
    get,
    path = path::AUDIT_FEED,
    operation_id = "follow_audit_events",
    tag = "audit",
    params(FeedParams),
    responses((status = 200, description = "Events, and the `cursor` for the next request.", body = AuditFeed), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn follow(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Query(FeedParams { from, limit, cursor }): Query<FeedParams>,
) -> Result<Json<AuditFeed>> {
    let page = PageRequest::new(limit, cursor.as_deref())?;
    let feed = trail::follow(&core, &caller, from, &page).await?;
    let events = feed.events.into_iter().map(AuditEvent::from).collect();
    Ok(Json(AuditFeed { events, cursor: feed.cursor, more: feed.more }))
}
