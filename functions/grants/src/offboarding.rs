//! `/api/v1/users/{user_id}/offboard`: somebody leaves.

use std::sync::Arc;

use axum::extract::State;
use deputize_api::path;
use deputize_core::{
    Core,
    ids::UserId,
    offboarding::{self, Kind, LISTED, Offboarding},
};
use deputize_service::{
    Errors, Result,
    extract::{Context, Json, Path, User},
    handlers,
    routes::Routes,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(offboard))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Offboard {
    /// Only says what would be done. `false` if left out.
    #[serde(default)]
    dry_run: Option<bool>,
    /// What becomes of the agent accounts that the user owns and no other active owner does. Required, unless it is a dry
    /// run.
    #[serde(default)]
    agents: Option<AgentsGo>,
    /// Who gets them, if `agents` is `give`. The user must exist and be active.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    successor_user_id: Option<UserId>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AgentsGo {
    /// They are stopped. Only an admin can let them go on.
    Stop,
    /// They go to the successor.
    Give,
}

/// What was done for somebody who leaves, or would be.
#[derive(Debug, Serialize, ToSchema)]
struct OffboardingReport {
    #[schema(value_type = Uuid)]
    user_id: UserId,
    dry_run: bool,
    /// Whether everything is done; of a dry run, whether everything was counted. If not, send the request again: it goes
    /// on.
    complete: bool,
    /// The kinds of which there may be more.
    unfinished: Vec<&'static str>,
    /// What to do next. `null` if there is nothing to do.
    #[schema(required)]
    next: Option<String>,
    /// Whether this request has deactivated the user, or would.
    deactivated: bool,
    agent_accounts: Things,
    connections: Things,
    session_grants: Things,
    delegations: Things,
    authorizations: Things,
    refresh_tokens: Things,
    api_keys: Things,
    browser_sessions: Things,
}

/// The things of one kind.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Things {
    /// How many this request has ended or given away, or would.
    count: usize,
    /// The first 100 of them.
    items: Vec<Thing>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Thing {
    /// Its id. Of a connection, its server's.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    name: Option<String>,
    outcome: Fate,
    /// More about it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    detail: Option<String>,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// It is over.
    Ended,
    /// A connection: over here, and revoked at the provider.
    Revoked,
    /// A connection: over here. The provider has not revoked it.
    NotRevoked,
    /// An agent account: the successor owns it.
    Given,
    /// An agent account: its other owners answer for it.
    LeftToOwners,
    /// An agent account: it is stopped.
    Stopped,
}

impl From<offboarding::Fate> for Fate {
    fn from(fate: offboarding::Fate) -> Self {
        match fate {
            offboarding::Fate::Ended => Self::Ended,
            offboarding::Fate::Revoked => Self::Revoked,
            offboarding::Fate::NotRevoked => Self::NotRevoked,
            offboarding::Fate::Given => Self::Given,
            offboarding::Fate::Left => Self::LeftToOwners,
            offboarding::Fate::Stopped => Self::Stopped,
        }
    }
}

impl From<offboarding::Things> for Things {
    fn from(offboarding::Things { count, first }: offboarding::Things) -> Self {
        let item = |offboarding::Thing { id, name, fate, detail }| Thing {
            id,
            name,
            outcome: Fate::from(fate),
            detail,
        };
        Self { count, items: first.into_iter().map(item).collect() }
    }
}

impl From<offboarding::Report> for OffboardingReport {
    fn from(report: offboarding::Report) -> Self {
        let offboarding::Report { user, dry_run, deactivated, things, unfinished } = report;
        let mut things: Vec<(Kind, Option<offboarding::Things>)> =
            things.into_iter().map(|(kind, of_kind)| (kind, Some(of_kind))).collect();
        let mut of = |wanted: Kind| {
            let found = things.iter_mut().find(|(kind, _)| *kind == wanted);
            found.and_then(|(_, of_kind)| of_kind.take()).map(Things::from).unwrap_or_default()
        };
        let next = match (unfinished.is_empty(), dry_run) {
            (true, true) => Some("Send it with \"dry_run\": false to do it"),
            (true, false) => None,
            (false, true) => Some("There was too little time to count everything"),
            (false, false) => Some("There was too little time: send the same request again, and it goes on"),
        };
        Self {
            user_id: user,
            dry_run,
            complete: unfinished.is_empty(),
            unfinished: unfinished.into_iter().map(Kind::name).collect(),
            next: next.map(str::to_owned),
            deactivated,
            agent_accounts: of(Kind::Agents),
            connections: of(Kind::Connections),
            session_grants: of(Kind::SessionGrants),
            delegations: of(Kind::Delegations),
            authorizations: of(Kind::Authorizations),
            refresh_tokens: of(Kind::RefreshTokens),
            api_keys: of(Kind::ApiKeys),
            browser_sessions: of(Kind::BrowserSessions),
        }
    }
}

const _: () = assert!(LISTED == 100, "the description says so");

/// Offboard a user
///
/// Admins only. Deactivates the user first, so that nothing goes on for them from that moment. Then it gives away or stops
/// the agent accounts that nobody else answers for, and ends the user's connections (revoking them at their providers
/// where those offer it), session grants, delegations, authorizations of apps, refresh tokens, API keys and browser
/// sessions. If the user is reactivated later, none of it comes back. The request can be repeated: it goes on with what is
/// left. 409 if admins would offboard themselves.
#[utoipa::path(
    post,
    path = path::OFFBOARD_USER,
    operation_id = "offboard_user",
    tag = "users",
    params(("user_id" = Uuid, Path)),
    request_body = Offboard,
    responses((status = 200, body = OffboardingReport), Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn offboard(
    State(core): State<Arc<Core>>,
    User(caller): User,
    Context(request): Context,
    Path(user): Path<UserId>,
    Json(body): Json<Offboard>,
) -> Result<Json<OffboardingReport>> {
    let Offboard { dry_run, agents, successor_user_id: successor } = body;
    let agents = agents.map(|agents| match agents {
        AgentsGo::Stop => offboarding::AgentsGo::Stop,
        AgentsGo::Give => offboarding::AgentsGo::Give,
    });
    let asked = Offboarding { dry_run: dry_run.unwrap_or_default(), agents, successor };
    Ok(Json(offboarding::offboard(&core, &caller, &request, user, asked).await?.into()))
}
