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
    /// Whether users without a grant of their own use it too. One grant at most is shared for an agent
    /// account and a server.
    pub shared: bool,
    pub is_active: bool,
    /// Who ended the grant by making theirs the shared one: for its grantor and admins, `null` of any other.
    #[cfg_attr(feature = "openapi", schema(format = Uuid))]
    pub displaced_by_user_id: Option<String>,
    pub displaced_by_email: Option<String>,
    /// When it was ended in that way.
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
    /// Make it the shared grant, which revokes everybody else's for this agent account and server. Where the
    /// account's `shared_grants` is `managers`, only its owner and admins may.
    #[serde(default)]
    pub shared: bool,
}

/// Which grant to flip.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ToggleSessionGrant, bound = ""))]
#[serde(deny_unknown_fields)]
pub struct ToggleSessionGrant<Server = String> {
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
    pub server_id: Server,
    /// Known and ignored, whatever it is: a toggle flips what there is.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Value, required = false))]
    pub shared: IgnoredAny,
}
