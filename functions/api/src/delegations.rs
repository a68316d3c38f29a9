//! `/api/v1/…/delegations`: a user lets an agent account act for them.

use serde::{Deserialize, Serialize};

/// A delegation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delegation {
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub id: String,
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub agent_account_id: String,
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub delegator_user_id: String,
    pub delegator_email: Option<String>,
    /// Not revoked and not expired.
    pub is_active: bool,
    /// The servers that the agent may call for the user, in alphabetical order; `null` for all.
    pub server_ids: Option<Vec<String>>,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: Option<String>,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub revoked_at: Option<String>,
}

/// What to delegate. All of it may be left out, the body too; `null` is the same as no body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CreateDelegation, bound = ""))]
#[serde(deny_unknown_fields)]
pub struct CreateDelegation<Server = String, Time = String> {
    /// The servers that the agent may call, 1 to 50; all if left out or `null`. A set: neither order nor repetition
    /// says anything.
    #[serde(default = "Option::default")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 50))]
    pub server_ids: Option<Vec<Server>>,
    /// Until when; until it is revoked if left out.
    #[serde(default = "Option::default")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub expires_at: Option<Time>,
}

impl<Server, Time> Default for CreateDelegation<Server, Time> {
    fn default() -> Self {
        Self { server_ids: None, expires_at: None }
    }
}
