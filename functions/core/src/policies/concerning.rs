//! Which policies concern a server or an agent account, told by their text.
//!
//! A policy whose scope names a server, or something of a server, concerns that server only. One without a resource in its
//! scope concerns every server: its conditions may narrow it to some, or leave some out, which only a decision tells
//! (`POST /api/v1/policies/check`). If they name the server, the answer says so.
//!
//! The same goes for an account and the principal in the scope, which may also be a group that the account is in. What an
//! account does for a person rests on the policies about that person too. These are not among the account's.

use cedar_policy::{EntityUid, PrincipalConstraint, ResourceConstraint};
use futures::future::try_join;
use serde_json::Value;

use super::{Policy, engine};
use crate::{
    Core,
    agents::{self, AgentAccount},
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::{AgentAccountId, PolicyId, ServerId, UserId},
    paging::{Listing, PageRequest},
    servers::Server,
    table::{Key, Partition, Stored},
};

/// How a policy concerns a server or an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Its scope names the server, or something of it; the account, or a group of its.
    Scope,
    /// Its scope names none, and its conditions do.
    Conditions,
    /// Its scope names none, so it is for all, as far as its conditions go.
    All,
}

/// A policy that concerns what was asked about.
#[derive(Clone, Debug)]
pub struct ConcerningPolicy {
    pub policy: Policy,
    pub concern: Concern,
}

/// Types of entities that are servers, or are of one: the id then begins with the server's.
const OF_SERVERS: [&str; 5] = ["Server", "Tool", "Resource", "Prompt", "Method"];

fn is_of(kind: &str, id: &str, server: &str) -> bool {
    let of = if kind == "Server" { id } else { id.split('/').next().unwrap_or_default() };
    OF_SERVERS.contains(&kind) && of == server
}

/// Whether an expression of Cedar's JSON names such an entity: `{"__entity": {"type": "Server", "id": "demo"}}`.
fn names(expression: &Value, is_it: &dyn Fn(&str, &str) -> bool) -> bool {
    match expression {
        Value::Object(fields) => {
            let entity = fields.get("__entity").and_then(Value::as_object);
            let text = |name| entity.and_then(|entity| entity.get(name)).and_then(Value::as_str);
            let is_named = text("type").zip(text("id")).is_some_and(|(kind, id)| is_it(kind, id));
            is_named || fields.values().any(|value| names(value, is_it))
        }
        Value::Array(values) => values.iter().any(|value| names(value, is_it)),
        _ => false,
    }
}

/// How a policy concerns what its scope does not name.
fn by_conditions(policy: &cedar_policy::Policy, is_it: &dyn Fn(&str, &str) -> bool) -> Result<Concern> {
    let json = policy.to_json().map_err(Error::internal)?;
    let in_conditions = json.get("conditions").is_some_and(|conditions| names(conditions, is_it));
    Ok(if in_conditions { Concern::Conditions } else { Concern::All })
}

/// How a policy concerns a server. `None`: it is about another.
fn concern(policy: &Policy, server: &ServerId) -> Result<Option<Concern>> {
    let server = server.to_string();
    let parsed = engine::parse(policy.id, &policy.text)?;
    let is_it = |kind: &str, id: &str| is_of(kind, id, &server);
    match parsed.resource_constraint() {
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Ok(is_named(&uid, &is_it).then_some(Concern::Scope))
        }
        ResourceConstraint::Any | ResourceConstraint::Is(_) => by_conditions(&parsed, &is_it).map(Some),
    }
}

/// How a policy concerns an agent account. `None`: it is about others, or about people.
fn concern_of_agent(policy: &Policy, account: &AgentAccount) -> Result<Option<Concern>> {
    const AGENT: &str = "Agent";
    let parsed = engine::parse(policy.id, &policy.text)?;
    let agent = account.id.to_string();
    let is_it = |kind: &str, id: &str| match kind {
        AGENT => id == agent,
        "Group" => account.groups.iter().any(|group| group == id),
        _ => false,
    };
    match parsed.principal_constraint() {
        PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) if kind.basename() != AGENT => {
            Ok(None)
        }
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Ok(is_named(&uid, &is_it).then_some(Concern::Scope))
        }
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => by_conditions(&parsed, &is_it).map(Some),
    }
}

fn is_named(uid: &EntityUid, is_it: &dyn Fn(&str, &str) -> bool) -> bool {
    is_it(uid.type_name().basename(), uid.id().unescaped())
}

/// Those of a page of all policies that concern what was asked about.
fn concerning(
    policies: Listing<Stored<Policy>>,
    concern: impl Fn(&Policy) -> Result<Option<Concern>>,
) -> Result<Listing<ConcerningPolicy>> {
    let concerning = policies.items.into_iter().map(|policy| {
        let concern = concern(&policy)?;
        Ok(concern.map(|concern| ConcerningPolicy { policy: policy.value, concern }))
    });
    let items = concerning.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
    Ok(Listing { items, next: policies.next })
}

/// The policies that concern a server. Admins, operators and auditors only. A page holds those of a page of all policies.
pub async fn list_at_server(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    page: &PageRequest,
) -> Result<Listing<ConcerningPolicy>> {
    caller.require(Power::Read)?;
    let list = Partition::policies();
    let there = core.table.read_one::<Server>(Key::server(server));
    let (there, policies) = try_join(there, page.list_items::<Policy>(core, &list)).await?;
    there.ok_or(Error::NotFound(ServerId::WHAT))?;
    concerning(policies, |policy| concern(policy, server))
}

/// The same for an agent account.
pub async fn list_of_agent(
    core: &Core,
    caller: &UserCaller,
    agent: AgentAccountId,
    page: &PageRequest,
) -> Result<Listing<ConcerningPolicy>> {
    caller.require(Power::Read)?;
    let list = Partition::policies();
    let (account, policies) =
        try_join(agents::get(core, agent), page.list_items::<Policy>(core, &list)).await?;
    concerning(policies, |policy| concern_of_agent(policy, &account))
}

/// What policies can name.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    User(UserId),
    Agent(AgentAccountId),
    Server(ServerId),
}

/// The policies that name something, in their scope or their conditions.
pub(crate) async fn naming(core: &Core, named: &Named) -> Result<Vec<PolicyId>> {
    let mut naming = Vec::new();
    for policy in core.table.query_all::<Policy>(&Partition::policies()).await? {
        let is_named = match named {
            // Also as `principal.owner_id`, which is a text.
            Named::User(UserId(id)) | Named::Agent(AgentAccountId(id)) => {
                policy.text.contains(&id.to_string())
            }
            Named::Server(server) => {
                matches!(concern(&policy, server)?, Some(Concern::Scope | Concern::Conditions))
            }
        };
        if is_named {
            naming.push(policy.id);
        }
    }
    Ok(naming)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn told(text: &str) -> Option<Concern> {
        let at = Timestamp::from_millis(0);
        let id = PolicyId(uuid::Uuid::nil());
        let policy = Policy {
            id,
            name: "p".to_owned(),
            text: text.to_owned(),
            mode: crate::policies::Mode::default(),
            created_at: at,
            updated_at: at,
        };
        concern(&policy, &"demo".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_policy_concerns_the_servers_that_its_scope_names_or_all() {
        let named = [
            r#"permit(principal, action, resource == Tool::"demo/a/b");"#,
            r#"permit(principal, action, resource in Server::"demo");"#,
            r#"forbid(principal, action, resource is Tool in Server::"demo");"#,
        ];
        for text in named {
            assert_eq!(told(text), Some(Concern::Scope), "{text}");
        }
        let others = [
            r#"permit(principal, action, resource == Tool::"demo2/a");"#,
            r#"permit(principal, action, resource in Server::"demo2");"#,
            r#"permit(principal, action, resource in Server::"demo2") when { !(resource in Server::"demo") };"#,
        ];
        for text in others {
            assert_eq!(told(text), None, "{text}");
        }
        let in_conditions = r#"forbid(principal, action, resource) unless { resource in Server::"demo" };"#;
        assert_eq!(told(in_conditions), Some(Concern::Conditions));
        for text in [
            "permit(principal, action, resource);",
            "permit(principal, action, resource is Tool);",
            r#"permit(principal, action, resource) when { resource in Server::"demo2" };"#,
        ] {
            assert_eq!(told(text), Some(Concern::All), "{text}");
        }
    }
}
