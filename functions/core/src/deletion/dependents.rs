//! What depends on a thing that is to be deleted. It is told as far as it is in force: what has ended depends on nothing.

use deputize_api::reason::Reason;
use futures::future::try_join3;

use crate::{
    Core,
    audit::RequestContext,
    caller::UserCaller,
    delegations::{Delegation, DelegationPointer},
    error::{Dependents, Error, Result, Told},
    ids::{AgentAccountId, ServerId, UserId},
    listed::{self, Index},
    offboarding::{self, LISTED, Offboarding},
    paging::MAX_PAGE_SIZE,
    policies::{self, Named},
    session_grants::{self, Grant, GrantPointer},
    sessions::SessionEntry,
    table::{Entity, Page, Partition, Query},
};

/// How many of a list are looked at.
const COUNTED: usize = MAX_PAGE_SIZE;

/// Of these ids, and of more if not all were looked at.
fn of_kind(kind: &'static str, ids: Vec<String>, more: bool) -> Option<Dependents> {
    let count = ids.len();
    let first = ids.into_iter().take(LISTED).collect();
    (count > 0 || more).then_some(Dependents { kind, count, more, first })
}

async fn of_policies(core: &Core, named: &Named) -> Result<Option<Dependents>> {
    let policies = policies::naming(core, named).await?;
    Ok(of_kind("policies", policies.iter().map(ToString::to_string).collect(), false))
}

async fn page<T: Entity>(core: &Core, list: &Partition) -> Result<Page<T>> {
    core.table.query(Query::partition(&list.pk, COUNTED).prefix(list.prefix.as_str())).await
}

async fn of_delegations(
    core: &Core,
    pointers: &[DelegationPointer],
    more: bool,
) -> Result<Option<Dependents>> {
    let keys: Vec<_> = pointers.iter().map(DelegationPointer::key).collect();
    let found = core.table.read_all::<Delegation>(&keys).await?;
    let now = core.clock.now();
    let active = found.iter().filter(|delegation| delegation.is_active(now));
    Ok(of_kind("delegations", active.map(|delegation| delegation.id.to_string()).collect(), more))
}

async fn of_grants(core: &Core, given: &[GrantPointer], more: bool) -> Result<Option<Dependents>> {
    let grants = session_grants::in_force(core, given).await?;
    Ok(of_kind("session_grants", grants.iter().map(|grant| grant.id.to_string()).collect(), more))
}

/// What ends if the user leaves, and the policies about them.
pub(super) async fn of_user(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    user: UserId,
) -> Result<Vec<Dependents>> {
    let asked = Offboarding { dry_run: true, ..Offboarding::default() };
    let report = Box::pin(offboarding::offboard(core, caller, request, user, asked)).await?;
    let unfinished = report.unfinished;
    let mut all: Vec<Dependents> = report
        .things
        .into_iter()
        .filter_map(|(kind, things)| {
            let (count, more) = (things.count, unfinished.contains(&kind));
            let first = things.first.into_iter().map(|thing| thing.id).collect();
            (count > 0 || more).then_some(Dependents { kind: kind.name(), count, more, first })
        })
        .collect();
    all.extend(of_policies(core, &Named::User(user)).await?);
    Ok(all)
}

pub(super) async fn of_agent(core: &Core, agent: AgentAccountId) -> Result<Vec<Dependents>> {
    let (delegations, grants) = (Partition::delegations_to(agent), Partition::grants_of(agent));
    let named = Named::Agent(agent);
    let pages = try_join3(
        page::<Delegation>(core, &delegations),
        page::<Grant>(core, &grants),
        of_policies(core, &named),
    );
    let (delegations, grants, policies) = Box::pin(pages).await?;
    let now = core.clock.now();
    let active = delegations.items.iter().filter(|delegation| delegation.is_active(now));
    let ids = active.map(|delegation| delegation.id.to_string()).collect();
    let delegations = of_kind("delegations", ids, delegations.next.is_some());
    let given: Vec<_> = grants.items.iter().map(|grant| GrantPointer::of(grant)).collect();
    let grants = of_grants(core, &given, grants.next.is_some()).await?;
    Ok([delegations, grants, policies].into_iter().flatten().collect())
}

/// Of a deployment whose lists by server are not complete yet, it cannot be told.
pub(super) async fn of_server(core: &Core, server: &ServerId) -> Result<Vec<Dependents>> {
    for index in [Index::Delegations, Index::SessionGrants, Index::Connections] {
        if !listed::is_complete(core, index).await? {
            return Err(listed::incomplete());
        }
    }
    let named = Named::Server(server.clone());
    let lists = [Partition::delegations_at(server), Partition::grants_at(server)];
    let pages = try_join3(
        page::<DelegationPointer>(core, &lists[0]),
        page::<GrantPointer>(core, &lists[1]),
        of_policies(core, &named),
    );
    let (delegations, grants, policies) = Box::pin(pages).await?;
    let connections = page::<SessionEntry>(core, &Partition::sessions_at(server)).await?;
    let users = connections.items.iter().map(|entry| entry.user_id.to_string()).collect();
    let connections = of_kind("connections", users, connections.next.is_some());
    let more = delegations.next.is_some();
    let pointers: Vec<_> = delegations.items.into_iter().map(|entry| entry.value).collect();
    let delegations = of_delegations(core, &pointers, more).await?;
    let more = grants.next.is_some();
    let given: Vec<_> = grants.items.into_iter().map(|entry| entry.value).collect();
    let grants = of_grants(core, &given, more).await?;
    Ok([delegations, grants, connections, policies].into_iter().flatten().collect())
}

/// Refuses to delete what something depends on.
pub(super) fn require_none(what: &'static str, dependents: Vec<Dependents>) -> Result<()> {
    if dependents.is_empty() {
        return Ok(());
    }
    let named = dependents.iter().map(|of_kind| {
        let (count, more) = (of_kind.count, if of_kind.more { " or more" } else { "" });
        format!("{}: {count}{more}", of_kind.kind.replace('_', " "))
    });
    let named = named.collect::<Vec<_>>().join(", ");
    Err(has_dependents(
        format!("other things depend on the {what} ({named}); cascade=true deletes it all the same"),
        dependents,
    ))
}

pub(super) fn has_dependents(why: String, dependents: Vec<Dependents>) -> Error {
    Error::Conflict(Told::of(Reason::HasDependents, why).on_which_depend(dependents))
}
