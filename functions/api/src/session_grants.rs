//! `/api/v1/…/session-grants`: whose OAuth credentials an agent uses at a server.

use serde::{Deserialize, Serialize};

/// A session grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionGrant {
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub id: String,
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub agent_account_id: String,
    pub server_id: String,
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub grantor_user_id: String,
    pub grantor_email: Option<String>,
    /// Whether users without a grant of their own use it too. One grant at most is shared for an agent
    /// account and a server.
    pub shared: bool,
    pub is_active: bool,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// The name of the query parameter that filters a list.
pub const SERVER_ID_FILTER: &str = "server_id";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CreateSessionGrant, bound = ""))]
pub struct CreateSessionGrant<Server = String> {
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
    pub server_id: Server,
    /// Make it the shared grant, which revokes everybody else's for this agent account and server.
    #[serde(default)]
    pub shared: bool,
}

/// `shared` is ignored: a toggle flips what there is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ToggleSessionGrant, bound = ""))]
pub struct ToggleSessionGrant<Server = String> {
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
    pub server_id: Server,
}
