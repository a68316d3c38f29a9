//! `/api/v1/audit-events`: who did what, whether it was allowed, and why.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    apps::app_id,
    audit::{self, Action, Actor, ERASED, SourceIp},
    clock::Timestamp,
    ids::{AgentAccountId, AppId, EventId, GrantId, ServerId, UserId},
    paging::PageRequest,
    trail::{self, Filter},
};
use deputize_service::{
    Errors, Paged, Result,
    extract::{Json, Paging, PagingParams, Path, Query, User},
    handlers,
    routes::Routes,
};
use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{Object, ObjectBuilder, Schema, Type, schema::AnyOfBuilder},
};
use uuid::Uuid;

use deputize_service::bounds::ip_address;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .mount(handlers!(list(ListFilter, PagingParams)))
        .mount(handlers!(follow(FeedParams)))
        .mount(handlers!(get))
}

/// An event of the audit trail. Every field is always there, and is `null` where it does not apply.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEvent {
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
    /// What would have been decided if the policies in mode `log` were enforced, if they have a part in it.
    #[schema(required)]
    logged: Option<LoggedDecision>,
    /// The user whose OAuth session was used upstream.
    #[schema(value_type = Option<Uuid>, required)]
    credentials_of: Option<UserId>,
    /// The session grant that allowed the call.
    #[schema(value_type = Option<Uuid>, required)]
    grant_id: Option<GrantId>,
    /// Why the action was refused or failed, or what the change is about.
    #[schema(required)]
    detail: Option<String>,
    /// What was changed, field by field. Never a secret.
    changes: Vec<FieldChange>,
    /// The `x-request-id` of the answer.
    request_id: Uuid,
    /// `erased` if it was that of a person who has been erased, or of an agent for them.
    #[schema(schema_with = source_ip, required)]
    source_ip: Option<SourceIp>,
    /// Milliseconds from the arrival of the request to the storing of the event.
    #[schema(required)]
    duration_ms: Option<u64>,
}

/// A field of the thing that was changed.
#[derive(Debug, Serialize, ToSchema)]
struct FieldChange {
    field: String,
    /// `null` if the thing or the value was not there. A value too long for the trail is an object of its length in
    /// bytes (`omitted_bytes`) and its `sha256`. `erased` if it said who a person was who has been erased.
    #[schema(required)]
    before: Value,
    /// The same, after the change.
    #[schema(required)]
    after: Value,
}

impl From<audit::FieldChange> for FieldChange {
    fn from(change: audit::FieldChange) -> Self {
        let audit::FieldChange { field, before, after } = change;
        Self { field, before, after }
    }
}

/// An address, or that it was erased.
fn source_ip() -> Schema {
    let mut either = AnyOfBuilder::new();
    if let Schema::AnyOf(address) = ip_address() {
        either = address.items.into_iter().fold(either, AnyOfBuilder::item);
    }
    let erased = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([ERASED]));
    Schema::AnyOf(either.item(erased).build())
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

/// What would have been decided about a call if the policies in mode `log` were enforced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoggedDecision {
    decision: LoggedVerdict,
    /// Those in mode `log` that have a part in it, at most 20.
    policies: Vec<String>,
    /// Why it would have been denied, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum LoggedVerdict {
    Permit,
    Deny,
}

impl From<audit::LoggedDecision> for LoggedDecision {
    fn from(audit::LoggedDecision { decision, policies, reason }: audit::LoggedDecision) -> Self {
        let decision = match decision {
            audit::LoggedVerdict::Permit => LoggedVerdict::Permit,
            audit::LoggedVerdict::Deny => LoggedVerdict::Deny,
        };
        Self { decision, policies, reason }
    }
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
            logged: event.logged.map(Into::into),
            credentials_of: event.credentials_of,
            grant_id: event.grant_id,
            detail: event.detail,
            changes: event.changes.into_iter().map(FieldChange::from).collect(),
            request_id: event.request_id,
            source_ip: event.source_ip,
            duration_ms: event.duration_ms,
        }
    }
}

/// Only events that match all given filters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListFilter {
    #[param(value_type = Option<Uuid>)]
    agent_account_id: Option<AgentAccountId>,
    /// The user who acted, or who was acted for.
    #[param(value_type = Option<Uuid>)]
    user_id: Option<UserId>,
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    server_id: Option<ServerId>,
    /// The `client_id` of the app that acted as the user.
    #[param(min_length = 1, max_length = 2_000)]
    client_id: Option<String>,
    /// One or several actions, with commas: `policy.create,policy.update`.
    #[param(format = "audit-actions", max_length = 2_000)]
    action: Option<String>,
    /// One or several of `allowed`, `denied` and `failed`, with commas.
    #[param(format = "audit-outcomes", max_length = 40)]
    outcome: Option<String>,
    /// The tool that was called. Beside a server, a user, an agent or an app.
    #[param(min_length = 1, max_length = 256)]
    tool: Option<String>,
    /// What the action was about, such as `user:` and its id.
    #[param(min_length = 1, max_length = 512)]
    subject: Option<String>,
    /// Who acted: `agent:` or `user:`, and an id.
    #[param(format = "audit-actor", max_length = 42)]
    actor: Option<String>,
    /// The user for whom an agent acted.
    #[param(value_type = Option<Uuid>)]
    on_behalf_of: Option<UserId>,
    /// The credential that was used, as events name it. Beside a user or an agent, or within an hour.
    #[param(min_length = 1, max_length = 2_000)]
    credential: Option<String>,
    /// The `x-request-id` of an answer.
    request_id: Option<Uuid>,
    /// The first moment. 31 days before `to` if left out.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The last moment. Now if left out.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// A list with commas, each once.
fn several<T: PartialEq>(
    text: Option<&str>,
    field: &str,
    read: impl Fn(&str) -> Option<T>,
    choices: &str,
) -> deputize_core::Result<Vec<T>> {
    let mut all = Vec::new();
    for name in text.iter().flat_map(|text| text.split(',')) {
        let wrong = || Error::invalid(format!("{field}: each must be one of {choices}"));
        let one = read(name.trim()).ok_or_else(wrong)?;
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

fn actor(text: &str) -> Option<Actor> {
    match text.split_once(':')? {
        ("agent", id) => id.parse().ok().map(Actor::Agent),
        ("user", id) => id.parse().ok().map(Actor::User),
        _ => None,
    }
}

/// A text that can be what is asked for.
fn named(text: Option<String>, field: &str, longest: usize) -> deputize_core::Result<Option<String>> {
    match text {
        Some(text) if text.is_empty() || text.chars().count() > longest => {
            Err(Error::invalid(format!("{field} must have 1 to {longest} characters")))
        }
        text => Ok(text),
    }
}

impl TryFrom<ListFilter> for Filter {
    type Error = Error;

    fn try_from(filter: ListFilter) -> deputize_core::Result<Self> {
        let outcome = |text: &str| audit::Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
        let by = filter
            .actor
            .as_deref()
            .map(|text| actor(text).ok_or_else(|| Error::invalid("actor must be agent: or user: and an id")));
        Ok(Self {
            agent_account_id: filter.agent_account_id,
            user_id: filter.user_id,
            server_id: filter.server_id,
            client_id: named(filter.client_id, "client_id", 2_000)?.as_deref().map(app_id),
            actions: several(
                filter.action.as_deref(),
                "action",
                Action::named,
                "the actions that events have",
            )?,
            outcomes: several(filter.outcome.as_deref(), "outcome", outcome, "allowed, denied, failed")?,
            tool: named(filter.tool, "tool", 256)?,
            subject: named(filter.subject, "subject", 512)?,
            actor: by.transpose()?,
            on_behalf_of: filter.on_behalf_of,
            credential: named(filter.credential, "credential", 2_000)?,
            request_id: filter.request_id,
            from: filter.from,
            to: filter.to,
        })
    }
}

/// The audit trail, newest first
///
/// Auditors, operators and admins see all events. Other users see what they did, and what was done for them. Without a
/// filter that the trail has a list for (an agent account, a user, a server, an app, a subject, a tool with its server,
/// denied or failed outcomes, actions other than calls, lists and tokens), the range is at most 31 days. A page can hold
/// fewer events than `limit`, or none, while there are more: continue as long as there is a `Link` to the next page. To
/// follow all new events, read `/api/v1/audit-events/feed`.
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
    let events = trail::list(&core, &caller, filter.try_into()?, &page).await?;
    Ok(Paged::new(&uri, events, AuditEvent::from))
}

/// One event of the audit trail
///
/// For those who see it in the list.
#[utoipa::path(
    get,
    path = path::AUDIT_EVENT,
    operation_id = "get_audit_event",
    tag = "audit",
    params(("event_id" = Uuid, Path)),
    responses((status = 200, body = AuditEvent), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Path(event): Path<EventId>,
) -> Result<Json<AuditEvent>> {
    Ok(Json(trail::get(&core, &caller, event).await?.into()))
}

/// The position in the feed, and how many events to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FeedParams {
    /// The first moment, for a call without a cursor. 31 days ago if left out.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The most events to answer, 1 to 1,000. 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
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
/// Auditors, operators and admins. A client that asks again and again, each time with the `cursor` of the previous answer, gets every
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
