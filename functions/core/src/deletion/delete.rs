//! Deleting users, agent accounts and servers. Policies and API keys, on which nothing depends, are deleted by their own
//! modules.

use super::dependents::{self, has_dependents, require_none};
use crate::{
    Core, agents,
    audit::RequestContext,
    caller::{Power, UserCaller},
    error::{Dependents, Error, Result},
    gone,
    ids::{AgentAccountId, ServerId, UserId},
    offboarding::{self, AgentsGo, Offboarding},
    servers,
    table::Key,
    users,
};

/// Deletes a user. With `cascade`, what they have here ends before: agent accounts for which nobody else answers are
/// stopped. Admins only, and nobody deletes themselves.
pub async fn delete_user(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: UserId,
    cascade: bool,
) -> Result<()> {
    caller.require(Power::Manage)?;
    if id == caller.user.id {
        return Err(Error::conflict("an admin cannot delete themselves: another admin must do it"));
    }
    let key = Key::user(id);
    let deleted = async {
        let was = users::get(core, id).await?;
        request.require_match(&key, was.rev)?;
        if cascade {
            end_all(core, caller, request, id).await?;
        } else {
            require_none(UserId::WHAT, dependents::of_user(core, caller, request, id).await?)?;
        }
        users::deleting::remove(core, caller, request, id).await
    };
    gone::or_before(core, &key, UserId::WHAT, deleted.await).await
}

/// Ends what a user has here. 409 if there was too little time: the same request goes on.
async fn end_all(core: &Core, caller: &UserCaller, request: &RequestContext, user: UserId) -> Result<()> {
    let asked = Offboarding { agents: Some(AgentsGo::Stop), ..Offboarding::default() };
    let report = Box::pin(offboarding::offboard(core, caller, request, user, asked)).await?;
    if report.unfinished.is_empty() {
        return Ok(());
    }
    let left = report.unfinished.iter();
    let left = left.map(|kind| Dependents { kind: kind.name(), count: 0, more: true, first: Vec::new() });
    let why = "the user is deactivated, and there was too little time to end everything that they have here: \
               send the same request again, and it goes on";
    Err(has_dependents(why.to_owned(), left.collect()))
}

/// Deletes an agent account. Admins only.
pub async fn delete_agent(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: AgentAccountId,
    cascade: bool,
) -> Result<()> {
    caller.require(Power::Manage)?;
    let deleted = async {
        agents::get(core, id).await?;
        if !cascade {
            require_none(AgentAccountId::WHAT, dependents::of_agent(core, id).await?)?;
        }
        agents::deleting::remove(core, caller, request, id).await
    };
    gone::or_before(core, &Key::agent(id), AgentAccountId::WHAT, deleted.await).await
}

/// Deletes a server. Admins only.
pub async fn delete_server(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    id: &ServerId,
    cascade: bool,
) -> Result<()> {
    caller.require(Power::Manage)?;
    let deleted = async {
        servers::get(core, id).await?;
        if !cascade {
            require_none(ServerId::WHAT, dependents::of_server(core, id).await?)?;
        }
        servers::deleting::remove(core, caller, request, id).await
    };
    gone::or_before(core, &Key::server(id), ServerId::WHAT, deleted.await).await
}
