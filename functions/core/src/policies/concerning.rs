//! Which policies concern a server, told by their text.
//!
//! A policy whose scope names a server, or something of a server, concerns that server only. One without a resource in its
//! scope concerns every server: its conditions may narrow it to some, or leave some out, which only a decision tells
//! (`POST /api/v1/policies/check`). If they name the server, the answer says so.

use cedar_policy::{EntityUid, ResourceConstraint};
use serde_json::Value;

use super::{Policy, engine};
use crate::{
    Core,
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::ServerId,
    paging::{Listing, PageRequest},
    servers::Server,
    table::{Key, Partition},
};

/// How a policy concerns a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Its scope names the server, or something of it.
    Scope,
    /// Its scope names no resource, and its conditions name the server, or something of it.
    Conditions,
    /// Its scope names no resource, so it is for all servers, as far as its conditions go.
    AllServers,
}

#[derive(Clone, Debug)]
pub struct PolicyAtServer {
    pub policy: Policy,
    pub concern: Concern,
}

/// Types of entities that are servers, or are of one: the id then begins with the server's.
const OF_SERVERS: [&str; 5] = ["Server", "Tool", "Resource", "Prompt", "Method"];

fn is_of(kind: &str, id: &str, server: &str) -> bool {
    let of = if kind == "Server" { id } else { id.split('/').next().unwrap_or_default() };
    OF_SERVERS.contains(&kind) && of == server
}

/// Whether an expression of Cedar's JSON names the server: `{"__entity": {"type": "Server", "id": "demo"}}`.
fn names(expression: &Value, server: &str) -> bool {
    match expression {
        Value::Object(fields) => {
            let entity = fields.get("__entity").and_then(Value::as_object);
            let text = |name| entity.and_then(|entity| entity.get(name)).and_then(Value::as_str);
            let is_named = text("type").zip(text("id")).is_some_and(|(kind, id)| is_of(kind, id, server));
            is_named || fields.values().any(|value| names(value, server))
        }
        Value::Array(values) => values.iter().any(|value| names(value, server)),
        _ => false,
    }
}

/// How a policy concerns a server. `None`: it is about another.
fn concern(policy: &Policy, server: &ServerId) -> Result<Option<Concern>> {
    let server = server.to_string();
    let parsed = engine::parse(policy.id, &policy.text)?;
    let is_named = |uid: &EntityUid| is_of(uid.type_name().basename(), uid.id().unescaped(), &server);
    let in_scope = match parsed.resource_constraint() {
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => uid,
        ResourceConstraint::Any | ResourceConstraint::Is(_) => {
            let json = parsed.to_json().map_err(Error::internal)?;
            let in_conditions = json.get("conditions").is_some_and(|conditions| names(conditions, &server));
            return Ok(Some(if in_conditions { Concern::Conditions } else { Concern::AllServers }));
        }
    };
    Ok(is_named(&in_scope).then_some(Concern::Scope))
}

/// The policies that concern a server. Admins and auditors only. A page holds those of a page of all policies.
pub async fn list_at_server(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    page: &PageRequest,
) -> Result<Listing<PolicyAtServer>> {
    caller.require(Power::Read)?;
    let (list, key) = (Partition::policies(), Key::server(server));
    let there = core.table.read_one::<Server>(key);
    let (there, policies) = futures::future::try_join(there, page.list_items::<Policy>(core, &list)).await?;
    there.ok_or(Error::NotFound(ServerId::WHAT))?;
    let concerning = policies.items.into_iter().map(|policy| {
        let concern = concern(&policy, server)?;
        Ok(concern.map(|concern| PolicyAtServer { policy: policy.value, concern }))
    });
    let items = concerning.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
    Ok(Listing { items, next: policies.next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, ids::PolicyId};

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
            assert_eq!(told(text), Some(Concern::AllServers), "{text}");
        }
    }
}
