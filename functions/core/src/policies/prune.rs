//! The policies that could decide of one tool, and what of a principal they look at.
//!
//! Cedar evaluates all policies with the principal, what it acts for and the arguments unknown. What is false then is
//! false for everybody, and left out. Of the others it is gathered what they can tell principals apart by: the users and
//! agents that they name, groups, and attributes. Principals that are equal in all of that are decided alike, since a
//! policy has no other way to look at one. So each such class is decided once, by the same code as a call.
//!
//! What policies do with these is not looked at. A policy that only mentions `principal.email` puts each address in a
//! class of its own: that costs time, and is never wrong.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{Authorizer, PartialResponse};
use serde_json::Value;

use super::{
    CallFacts, CompiledPolicies,
    engine::{AnyOf, ids, question_of_any},
    reads::is_of_an_agent,
    warnings::entities_in,
};
use crate::{
    entities::{agent_account::AgentAccount, owners::Owner, user::User},
    error::{Error, Result},
};

/// What policies can tell principals apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one attribute of the schema")]
pub(crate) struct LooksAt {
    groups: HashSet<String>,
    /// The ids of users and agents that are named.
    ids: HashSet<String>,
    role: bool,
    email: bool,
    owner: bool,
    /// An agent's name, which only policies of before can read.
    name: bool,
    /// For whom an agent acts.
    on_behalf_of: bool,
}

/// What the policies see of a principal. Those with the same are decided alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    id: Option<String>,
    groups: BTreeSet<String>,
    role: Option<&'static str>,
    /// `None` also if there is none.
    email: Option<String>,
    owner: Option<Vec<Owner>>,
    name: Option<String>,
}

/// Policies of which some were left out, and what is looked at by the others.
#[derive(Debug)]
pub(crate) struct Pruned {
    pub(crate) policies: CompiledPolicies,
    pub(crate) looks_at: LooksAt,
}

impl CompiledPolicies {
    /// The policies that could decide of users.
    pub(crate) fn of_users(&self, facts: &CallFacts<'_>) -> Result<Pruned> {
        self.pruned(&[AnyOf::Users], facts)
    }

    /// The policies that could decide of agents, by themselves and on behalf of users.
    pub(crate) fn of_agents(&self, facts: &CallFacts<'_>) -> Result<Pruned> {
        self.pruned(&[AnyOf::Agents, AnyOf::AgentsForUsers], facts)
    }

    fn pruned(&self, kinds: &[AnyOf], facts: &CallFacts<'_>) -> Result<Pruned> {
        let mut left = HashSet::new();
        for any in kinds {
            let (request, entities) = question_of_any(*any, facts)?;
            let response = Authorizer::new().is_authorized_partial(&request, &self.set, &entities);
            left.extend(not_false(&response));
        }
        let policies = self.only(&left)?;
        let looks_at = policies.looks_at()?;
        Ok(Pruned { policies, looks_at })
    }

    fn looks_at(&self) -> Result<LooksAt> {
        let mut looks_at = LooksAt::default();
        for policy in self.set.policies() {
            let policy = policy.to_json().map_err(Error::internal)?;
            for (kind, id) in entities_in(&policy) {
                match &*kind {
                    "Group" => {
                        looks_at.groups.insert(id);
                    }
                    "User" | "Agent" => {
                        looks_at.ids.insert(id);
                    }
                    _ => {}
                }
            }
            looks_at.visit(&policy);
        }
        Ok(looks_at)
    }
}

/// The policies that are not false whatever is unknown.
pub(super) fn not_false(response: &PartialResponse) -> impl Iterator<Item = crate::ids::PolicyId> {
    let satisfied: Vec<_> = response.definitely_satisfied().chain(response.nontrivial_residuals()).collect();
    let all = satisfied.iter().map(cedar_policy::Policy::id).chain(response.definitely_errored());
    ids(all).into_iter()
}

impl LooksAt {
    /// Notes the attributes that are read of anything, in a policy's JSON.
    fn visit(&mut self, expression: &Value) {
        match expression {
            Value::Object(fields) => {
                self.name |= [".", "has"].iter().any(|read| fields.get(*read).is_some_and(is_of_an_agent));
                fields.values().for_each(|inner| self.visit(inner));
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            // In whatever place, so that no way to write it is missed.
            Value::String(text) => match &**text {
                "role" => self.role = true,
                "email" => self.email = true,
                "owner_id" | "owners" | "owner_groups" => self.owner = true,
                "on_behalf_of" => self.on_behalf_of = true,
                _ => {}
            },
            _ => {}
        }
    }

    fn groups<'a>(&self, groups: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        groups.filter(|group| self.groups.contains(*group)).cloned().collect()
    }

    fn id(&self, id: String) -> Option<String> {
        Some(id).filter(|id| self.ids.contains(id))
    }

    pub(crate) fn user(&self, user: &User) -> Seen {
        Seen {
            id: self.id(user.id.to_string()),
            groups: self.groups(user.effective_groups()),
            role: self.role.then(|| user.effective_role().name()),
            email: user.email.as_ref().filter(|_| self.email).map(|email| email.as_str().to_owned()),
            owner: None,
            name: None,
        }
    }

    /// The user for whom an agent acts. Empty if the policies do not look at them: neither as the one that the agent acts
    /// for, nor by their id.
    pub(crate) fn on_behalf_of(&self, user: &User) -> Seen {
        if self.on_behalf_of {
            self.user(user)
        } else {
            Seen { id: self.id(user.id.to_string()), ..Seen::default() }
        }
    }

    pub(crate) fn agent(&self, agent: &AgentAccount) -> Seen {
        Seen {
            id: self.id(agent.id.to_string()),
            groups: self.groups(agent.groups.iter()),
            role: None,
            email: None,
            owner: self.owner.then(|| agent.owners()),
            name: self.name.then(|| agent.name.clone()),
        }
    }
}
