//! Explaining a decision without calling anything.

use serde_json::value::RawValue;

use super::{CallFacts, Operation, Possibility, engine::Principals};
use crate::{
    Core,
    caller::{Power, UserCaller},
    entities::agent_account::AgentAccount,
    entities::server::Server,
    entities::user::User,
    error::{Error, Result},
    ids::{AgentAccountId, ServerId, UserId},
    table::Key,
};

/// The call to check: by an agent account alone, by a user alone, or by an agent account on behalf of a user.
#[derive(Debug)]
pub struct CheckRequest {
    pub agent_account_id: Option<AgentAccountId>,
    pub user_id: Option<UserId>,
    pub server_id: ServerId,
    pub tool_name: String,
    pub arguments: Option<Box<RawValue>>,
    pub source_ip: Option<std::net::IpAddr>,
    pub client_name: Option<String>,
}

/// The decision, and the version of the policies that made it.
#[derive(Debug)]
pub struct Explanation {
    pub decision: Possibility,
    pub policies_version: u64,
}

/// Decides as for a real call; without arguments, says what they would decide. For admins, and for users about themselves.
pub async fn check(core: &Core, caller: &UserCaller, request: CheckRequest) -> Result<Explanation> {
    if request.agent_account_id.is_some() || request.user_id != Some(caller.user.id) {
        caller.require(Power::Read)?;
    }
    let server_key = Key::server(&request.server_id);
    let agent_key = request.agent_account_id.map(Key::agent);
    let user_key = request.user_id.map(Key::user);
    let keys = [Some(server_key.clone()), agent_key.clone(), user_key.clone()];
    let mut found = core.table.read(keys.into_iter().flatten().collect()).await?;
    let server = found.take::<Server>(&server_key)?.ok_or(Error::NotFound(ServerId::WHAT))?;
    let mut account = None;
    if let Some(key) = &agent_key {
        account = Some(found.take::<AgentAccount>(key)?.ok_or(Error::NotFound(AgentAccountId::WHAT))?);
    }
    let mut user = None;
    if let Some(key) = &user_key {
        let stored = found.take::<User>(key)?.ok_or(Error::NotFound(UserId::WHAT))?;
        user = Some(core.counting_claims(stored.value));
    }
    let principals = match (&account, &user) {
        (Some(agent), Some(user)) => Principals::AgentFor(agent, user),
        (Some(agent), None) => Principals::Agent(agent),
        (None, Some(user)) => Principals::User(user),
        (None, None) => return Err(Error::invalid("name an agent_account_id, a user_id, or both")),
    };
    let compiled = core.latest_policies().await?;
    let facts = CallFacts {
        server: &server,
        operation: Operation::CallTool(&request.tool_name),
        arguments: request.arguments.as_deref(),
        source_ip: request.source_ip,
        client_name: request.client_name.as_deref(),
    };
    let decision = match facts.arguments {
        Some(_) => Possibility::Decided(compiled.decide(principals, &facts)?),
        None => compiled.possibility(principals, &facts)?,
    };
    Ok(Explanation { decision, policies_version: compiled.version })
}
