//! Apps: OAuth clients that act as their user, such as MCP clients and web pages; and what users allowed them.

pub use crate::entities::app::{
    App, AppAuth, AppKey, AppKind, Authorization, BlockedHost, IDLE_FOR, LASTS, app_id,
};

use crate::{Core, checked::Checked, error::Result, ids::AppId};

/// What is known of an app.
#[derive(Clone, Debug)]
pub struct AppMetadata {
    pub id: AppId,
    pub client_id: String,
    pub kind: AppKind,
    /// What it calls itself, or the admin calls it: text as it came, so a page bounds it first.
    pub name: Option<String>,
    /// The host of its document. Of another app it is that of the redirect URI that is used.
    pub host: Option<String>,
    pub redirect_uris: Vec<String>,
    pub auth: AppAuth,
    /// Whether an admin vouches for it.
    pub trusted: bool,
}

/// Why a `client_id` leads to no app. The text is answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppRefusal {
    #[error("No app has this client_id")]
    Unknown,
    #[error("An admin has blocked this app")]
    Blocked,
    /// The deployment takes no apps of this kind, or none from there.
    #[error("{0}")]
    NotAllowed(String),
    /// Its metadata document cannot be read, or is not right.
    #[error("The app's metadata document cannot be used: {0}")]
    Document(String),
}

/// The app of a `client_id`. It costs a read, and of a metadata document that this process does not hold a request to
/// its host: ask it once it is known who asks.
pub async fn find(_core: &Core, _client_id: &str) -> Result<Checked<AppMetadata, AppRefusal>> {
    Ok(Checked::Invalid(AppRefusal::Unknown))
}

/// Whether there can be an app of this `client_id`, as far as it can be said without asking its host. `known` is what
/// admins have said of it.
pub(crate) fn may_be(_core: &Core, client_id: &str, known: Option<&App>) -> bool {
    known.is_some() || client_id.starts_with("https://")
}
