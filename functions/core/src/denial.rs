//! Why the policies deny a call: what is answered, and recorded.

use serde::Serialize;

use crate::ids::PolicyId;

/// Why a call is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// For whom: the first principal that may not.
    pub denied_for: DeniedFor,
    /// The policies that forbid it; empty if none permits it.
    pub policies: Vec<PolicyId>,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeniedFor {
    Agent,
    User,
}
