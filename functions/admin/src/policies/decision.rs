//! How a decision is told.

use deputize_core::{
    ids::PolicyId,
    policies::{self, Denial, Possibility},
};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    Permit,
    Deny,
    /// On the arguments, of which none were given.
    Depends,
}

/// What the policies decide.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DecisionOfPolicies)]
pub(super) struct Decided {
    pub(super) decision: Decision,
    /// The policies that permit the call, or those that forbid it; empty if none permits it.
    #[schema(value_type = Vec<Uuid>)]
    pub(super) policies: Vec<PolicyId>,
    /// For a denial by the policies: the principal that may not make the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) denied_for: Option<DeniedFor>,
    /// For a denial: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Where it depends on the arguments: what remains of each policy that may permit or forbid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) conditions: Vec<Condition>,
}

/// A policy that may permit or forbid a call, by its arguments.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Condition {
    #[schema(value_type = Uuid)]
    policy: PolicyId,
    effect: Effect,
    /// The principal for whom it is judged.
    of: DeniedFor,
    /// What remains of the policy once all that is known has been filled in, as a Cedar policy.
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Permit,
    Forbid,
}

impl From<policies::Condition> for Condition {
    fn from(policies::Condition { policy, permits, of, text }: policies::Condition) -> Self {
        let effect = if permits { Effect::Permit } else { Effect::Forbid };
        Self { policy, effect, of: of.into(), text }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DeniedFor {
    Agent,
    User,
}

impl From<policies::DeniedFor> for DeniedFor {
    fn from(denied_for: policies::DeniedFor) -> Self {
        match denied_for {
            policies::DeniedFor::Agent => Self::Agent,
            policies::DeniedFor::User => Self::User,
        }
    }
}

impl Decided {
    pub(super) fn permitted(policies: Vec<PolicyId>) -> Self {
        Self { decision: Decision::Permit, policies, denied_for: None, reason: None, conditions: Vec::new() }
    }

    pub(super) fn refused(reason: String) -> Self {
        Self { decision: Decision::Deny, reason: Some(reason), ..Self::permitted(Vec::new()) }
    }

    pub(super) fn depends(conditions: Vec<policies::Condition>) -> Self {
        let conditions = conditions.into_iter().map(Into::into).collect();
        Self { decision: Decision::Depends, conditions, ..Self::permitted(Vec::new()) }
    }
}

impl From<Possibility> for Decided {
    fn from(possibility: Possibility) -> Self {
        match possibility {
            Possibility::Decided(policies::Decision::Permitted(policies)) => Self::permitted(policies),
            Possibility::Decided(policies::Decision::Denied(Denial { denied_for, policies, reason })) => {
                Self { policies, denied_for: Some(denied_for.into()), ..Self::refused(reason) }
            }
            Possibility::Depends(conditions) => Self::depends(conditions),
        }
    }
}
