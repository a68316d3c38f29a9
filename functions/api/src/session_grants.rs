//! `/api/v1/…/session-grants`: whose OAuth credentials an agent uses at a server.

pub use serde::de::IgnoredAny;
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
    /// Whether users without a grant of their own use it too. At most one grant is shared for an agent account and a
    /// server.
    pub shared: bool,
    pub is_active: bool,
    /// The user who ended the grant by making theirs the shared one. Shown to the grantor and to admins. `null` for a
    /// grant that did not end in this way.
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub displaced_by_user_id: Option<String>,
    pub displaced_by_email: Option<String>,
    /// When the grant was ended in this way.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub displaced_at: Option<String>,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// The name of the query parameter that filters a list.
pub const SERVER_ID_FILTER: &str = "server_id";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CreateSessionGrant, bound = ""))]
#[serde(deny_unknown_fields)]
pub struct CreateSessionGrant<Server = String> {
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
    pub server_id: Server,
    /// Whether to make it the shared grant. This revokes all other users' grants for this agent account and server. If
    /// the account's `shared_grants` is `managers`, only its owner and admins may do it.
    #[serde(default)]
    pub shared: bool,
}

/// The grant to switch.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ToggleSessionGrant, bound = ""))]
#[serde(deny_unknown_fields)]
pub struct ToggleSessionGrant<Server = String> {
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
    pub server_id: Server,
    /// Accepted and ignored, with any value: a toggle switches the grant from its present state.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Value, required = false))]
    pub shared: IgnoredAny,
}
