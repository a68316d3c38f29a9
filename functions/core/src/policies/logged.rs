//! Policies in mode `log`: what they would decide is recorded, and never enforced.
//!
//! A version that has some is compiled twice: as it is in force, and as it would be if those in mode `log` were
//! enforced too. A call is judged by the first. What the second says is noted in the call's event, if a policy in mode
//! `log` has a part in it, or if the outcome differs. That costs no round trip, and as much time as the decision itself,
//! only while there are such policies.
//!
//! A policy in mode `log` is stored under a key of its own, beside the others ([`crate::table::Key::logged_policy`]).
//! A process of a version that does not know the mode reads the others only: it would enforce what it reads. For the
//! same reason the digest that puts policies in force does not cover them; they have their own ([`crate::control`]).

use std::collections::HashSet;

use super::{CallFacts, CompiledPolicies, Decision, Policy, engine::Principals};
use crate::{
    audit::{LoggedDecision, LoggedVerdict, MAX_LOGGED_POLICIES},
    denial::Denial,
    error::chain,
    ids::PolicyId,
};

/// The policies as they would be if those in mode `log` were enforced.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    all: CompiledPolicies,
    in_mode_log: HashSet<PolicyId>,
}

impl CompiledPolicies {
    /// With these, which are in mode `log`. One that cannot be compiled is left out: it must not stop the others.
    pub(super) fn logging<'a>(self, policies: impl Iterator<Item = &'a Policy>) -> Self {
        let (mut all, mut in_mode_log) = (self.clone(), HashSet::new());
        for policy in policies {
            match all.add(policy) {
                Ok(()) => {
                    in_mode_log.insert(policy.id);
                }
                Err(error) => {
                    tracing::warn!(policy = %policy.id, error = %chain(&error), "a policy in mode log is left out");
                }
            }
        }
        let logged = (!in_mode_log.is_empty()).then(|| Box::new(Logged { all, in_mode_log }));
        Self { logged, ..self }
    }

    /// What would be decided if the policies in mode `log` were enforced. `None` if they have no part in it.
    pub(crate) fn would_decide(
        &self,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
        decided: &Decision,
    ) -> Option<LoggedDecision> {
        let Logged { all, in_mode_log } = self.logged.as_deref()?;
        let (would, why, permits) = match all.decide(principals, facts) {
            Ok(Decision::Permitted(policies)) => (policies, None, true),
            Ok(Decision::Denied(Denial { policies, reason, .. })) => (policies, Some(reason), false),
            // Arguments that they cannot be asked about.
            Err(error) => (Vec::new(), Some(error.to_string()), false),
        };
        let part: Vec<PolicyId> = would.into_iter().filter(|id| in_mode_log.contains(id)).collect();
        let is_permitted = matches!(decided, Decision::Permitted(_));
        if part.is_empty() && permits == is_permitted {
            return None;
        }
        Some(LoggedDecision {
            decision: if permits { LoggedVerdict::Permit } else { LoggedVerdict::Deny },
            policies: part.iter().take(MAX_LOGGED_POLICIES).map(ToString::to_string).collect(),
            reason: why.filter(|_| is_permitted),
        })
    }
}

/// Of two judgements of one call, such as of two resources, the one that says more: that it would be denied.
pub fn graver(one: Option<LoggedDecision>, other: Option<LoggedDecision>) -> Option<LoggedDecision> {
    match (one, other) {
        (Some(one), Some(other)) if one.decision == LoggedVerdict::Deny || other.decision == one.decision => {
            Some(one)
        }
        (one, None) => one,
        (_, other) => other,
    }
}
