//! Policies that are not in force, to be judged in place of those that are.

use crate::{
    clock::Timestamp,
    error::{Error, Result},
    ids::PolicyId,
    policies::{MAX_POLICIES, Mode, Policy, validate},
};

/// A policy that is not stored.
#[derive(Clone, Debug)]
pub struct DraftPolicy {
    /// The policy in force of which it takes the place. Without one it is a policy more, and has its place in the request
    /// as its id.
    pub id: Option<PolicyId>,
    pub name: Option<String>,
    pub text: String,
    pub mode: Mode,
}

/// What the policies would be.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// In place of all that are in force.
    pub policies: Option<Vec<DraftPolicy>>,
    pub added: Vec<DraftPolicy>,
    pub removed: Vec<PolicyId>,
}

impl Draft {
    /// The policies as they would be. The texts must be valid, as if they were saved.
    pub(super) fn of(&self, mut live: Vec<Policy>, now: Timestamp) -> Result<Vec<Policy>> {
        if let Some(all) = &self.policies {
            live.clear();
            put(&mut live, "policies", all, now)?;
        }
        for (n, id) in self.removed.iter().enumerate() {
            let before = live.len();
            live.retain(|policy| policy.id != *id);
            if live.len() == before {
                return Err(Error::invalid(format!("removed[{n}]: there is no policy {id}")));
            }
        }
        put(&mut live, "added", &self.added, now)?;
        if live.len() > MAX_POLICIES {
            return Err(Error::invalid(format!("there can be at most {MAX_POLICIES} policies")));
        }
        Ok(live)
    }
}

/// Puts drafts beside the policies, or in the place of those with their ids.
fn put(policies: &mut Vec<Policy>, field: &str, drafts: &[DraftPolicy], now: Timestamp) -> Result<()> {
    for (n, draft) in drafts.iter().enumerate() {
        let place = format!("{field}[{n}]");
        let id = draft.id.unwrap_or_else(|| id_of(field, n));
        validate(id, &draft.text).map_err(|error| match error {
            Error::Invalid(told) => Error::Invalid(told.within(&place)),
            other => other,
        })?;
        let name = draft.name.clone().unwrap_or(place);
        let (text, mode) = (draft.text.clone(), draft.mode);
        let policy = Policy { id, name, text, mode, created_at: now, updated_at: now };
        match policies.iter_mut().find(|other| other.id == id) {
            Some(other) => *other = policy,
            None => policies.push(policy),
        }
    }
    Ok(())
}

/// The id of a draft without one: nil but for its place, counted from 1, and the list that it is in.
fn id_of(field: &str, n: usize) -> PolicyId {
    let list = if field == "policies" { 0_u128 } else { 1 << 64 };
    PolicyId(uuid::Uuid::from_u128(list + n as u128 + 1))
}
