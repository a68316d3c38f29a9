//! A deployment of three things, for tests and made-up bytes.
#![allow(clippy::unwrap_used, reason = "constants")]

use serde_json::{json, value::RawValue};

use super::{CallFacts, CompiledPolicies, Decision, Mode, Operation, Policy, Principals};
use crate::{
    clock::Timestamp,
    error::Result,
    ids::{PolicyId, UserId},
    servers::Server,
    users::{Role, User},
};

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// Policies in force. The id of the first one ends in 1.
pub(super) fn compiled(texts: &[&str]) -> CompiledPolicies {
    let policies = (1..).zip(texts).map(|(n, text)| Policy {
        id: PolicyId(uuid::Uuid::from_u128(n)),
        name: String::new(),
        text: (*text).to_owned(),
        mode: Mode::Enforce,
        created_at: START,
        updated_at: START,
    });
    CompiledPolicies::new(1, &policies.collect::<Vec<_>>()).unwrap()
}

pub(super) fn user() -> User {
    User {
        id: UserId(uuid::Uuid::nil()),
        email: None,
        name: None,
        role: Role::User,
        active: true,
        deactivated_by: None,
        epoch: crate::epoch::Epoch::default(),
        deactivated_at: None,
        groups: Vec::new(),
        identities: Vec::new(),
        claims: Vec::new(),
        counted: crate::users::CountedClaims::default(),
        created_at: START,
        updated_at: START,
    }
}

#[cfg(test)]
pub(super) fn agent(name: &str) -> crate::agents::AgentAccount {
    use crate::ids::AgentAccountId;

    let agent = json!({
        "id": AgentAccountId(uuid::Uuid::nil()), "name": name, "owner_user_id": UserId(uuid::Uuid::nil()),
        "active": true, "created_at": START, "updated_at": START,
    });
    serde_json::from_value(agent).unwrap()
}

pub(super) fn server() -> Server {
    let server = json!({
        "id": "demo", "name": "Demo", "url": "https://demo.example/", "auth": "none", "active": true,
        "created_at": START, "updated_at": START,
    });
    serde_json::from_value(server).unwrap()
}

/// Whether the caller may call a tool of `demo` with these arguments.
pub(super) fn call(
    compiled: &CompiledPolicies,
    principals: Principals<'_>,
    arguments: &RawValue,
) -> Result<Decision> {
    let server = server();
    let (operation, arguments) = (Operation::CallTool("tool"), Some(arguments));
    let facts = CallFacts { server: &server, operation, arguments, source_ip: None, client_name: None };
    compiled.decide(principals, &facts)
}
