//! Apps: OAuth clients that act as their user, such as MCP clients and web pages; and what users allowed them.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod` | [`find`]: the app of a `client_id`, whatever its kind |
//! | `document` | apps whose `client_id` is the address of their metadata |
//! | `registration` | dynamic registration, without stored state |
//! | `registered` | apps that an admin registers |
//! | `metadata` | an app's metadata in its own words |
//! | `redirect_uri` | where an app takes its answers |
//! | `blocks` | apps and hosts that an admin blocked |
//! | `settings` | which apps a deployment takes |
//! | `text` | an app's words, as they are shown |

pub mod blocks;
mod document;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod metadata;
pub mod redirect_uri;
pub mod registered;
pub mod registration;
mod settings;
mod text;

pub(crate) use self::{document::Documents, registration::RegistrationKey};
pub use self::{
    document::MAX_BYTES as MAX_DOCUMENT,
    metadata::usable_keys,
    settings::AppSettings,
    text::{shown, shown_name},
};
pub use crate::entities::app::{
    App, AppAuth, AppKey, AppKind, AppRegistration, Authorization, Block, BlockedHost, IDLE_FOR, LASTS,
    MadeByApp, app_id,
};
pub use crate::entities::stopped::StoppedBy;

use self::redirect_uri::RedirectUri;
use crate::{
    Core,
    checked::Checked,
    error::Result,
    ids::AppId,
    table::{Found, Key},
};

/// What is known of an app.
#[derive(Clone, Debug)]
pub struct AppMetadata {
    pub id: AppId,
    pub client_id: String,
    pub kind: AppKind,
    /// What it calls itself, without what is hidden or turns text; or what the admin calls it.
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

/// The kind of the app that a `client_id` names, if there is one.
pub fn kind_of(client_id: &str) -> Option<AppKind> {
    if client_id.starts_with(registration::PREFIX) {
        Some(AppKind::Dynamic)
    } else if client_id.contains("://") {
        Some(AppKind::Document)
    } else {
        registered::can_be(client_id).then_some(AppKind::Registered)
    }
}

/// The app of a `client_id`. It costs a read, and of a metadata document that this process does not hold a request to
/// its host: ask it once it is known who asks.
pub async fn find(core: &Core, client_id: &str) -> Result<Checked<AppMetadata, AppRefusal>> {
    let Some(kind) = kind_of(client_id) else { return Ok(Checked::Invalid(AppRefusal::Unknown)) };
    let settings = &core.settings.apps;
    let not_allowed = |why: &str| Ok(Checked::Invalid(AppRefusal::NotAllowed(why.to_owned())));
    if !settings.takes(kind) {
        return not_allowed("This deployment takes no apps of this kind");
    }
    match kind {
        AppKind::Document => {
            let url = match document::address(client_id) {
                Ok(url) => url,
                Err(refusal) => return Ok(Checked::Invalid(refusal)),
            };
            if !settings.takes_host(url.host_str()) {
                return not_allowed("This deployment takes no apps from this host");
            }
            let keys = keys(&app_id(client_id), url.host_str());
            // Before it is asked anything.
            if is_blocked(&mut core.table.read(keys.clone()).await?, &keys)? {
                return Ok(Checked::Invalid(AppRefusal::Blocked));
            }
            Ok(document::find(core, &url).await.into())
        }
        AppKind::Dynamic => {
            let app = registration::find(core, client_id).await?;
            let Some(app) = app else { return Ok(Checked::Invalid(AppRefusal::Unknown)) };
            let keys = keys(&app.id, None);
            let blocked = is_blocked(&mut core.table.read(keys.clone()).await?, &keys)?;
            Ok(if blocked { Checked::Invalid(AppRefusal::Blocked) } else { Checked::Valid(app) })
        }
        AppKind::Registered => {
            let app = core.table.read_one::<App>(Key::app(&app_id(client_id))).await?;
            let Some(app) = app else { return Ok(Checked::Invalid(AppRefusal::Unknown)) };
            if app.blocked_at.is_some() {
                return Ok(Checked::Invalid(AppRefusal::Blocked));
            }
            Ok(app.metadata().ok_or(AppRefusal::Unknown).into())
        }
    }
}

/// Whether an admin blocked all apps from this host.
pub async fn is_host_blocked(core: &Core, host: &str) -> Result<bool> {
    let key = Key::app_host(host);
    Ok(core.table.read(vec![key.clone()]).await?.contains(&key))
}

fn keys(app: &AppId, host: Option<&str>) -> Vec<Key> {
    std::iter::once(Key::app(app)).chain(host.map(Key::app_host)).collect()
}

fn is_blocked(found: &mut Found, keys: &[Key]) -> Result<bool> {
    let mut blocked = false;
    for key in keys {
        blocked |= match &*key.sk {
            "APP" => found.take::<App>(key)?.is_some_and(|app| app.blocked_at.is_some()),
            _ => found.contains(key),
        };
    }
    Ok(blocked)
}

impl AppMetadata {
    /// The redirect URI of a request, if it is one that the app has registered. `None` asks for the only one (RFC 6749
    /// section 3.1.2.3).
    pub fn redirect_uri(&self, core: &Core, asked: Option<&str>) -> Result<RedirectUri, String> {
        let is_public = !matches!(self.auth, AppAuth::Secret { .. });
        let asked = match (asked, &self.redirect_uris[..]) {
            (Some(asked), _) => asked,
            (None, [only]) => only,
            (None, _) => return Err("redirect_uri is missing, and the app has registered several".to_owned()),
        };
        let uri =
            RedirectUri::check(&core.settings, asked, is_public).map_err(|refused| refused.to_string())?;
        if !self.redirect_uris.iter().any(|registered| uri.fits(registered)) {
            return Err(format!("The app has not registered {} as a redirect URI", shown(asked, 120)));
        }
        if !core.settings.apps.takes_host(uri.host()) {
            return Err(format!("{} is at a host that this deployment does not allow", shown(asked, 120)));
        }
        Ok(uri)
    }

    /// The host that the app is from, when it takes its answers at this address.
    pub fn host_at<'a>(&'a self, redirect_uri: &'a RedirectUri) -> Option<&'a str> {
        self.host.as_deref().or_else(|| redirect_uri.host())
    }
}

/// Whether there can be an app of this `client_id`, as far as it can be said without asking its host. `known` is what
/// admins have said of it.
pub(crate) fn may_be(core: &Core, client_id: &str, known: Option<&App>) -> bool {
    match kind_of(client_id) {
        Some(AppKind::Document) => document::address(client_id).is_ok(),
        Some(AppKind::Dynamic) => registration::is_known(core, client_id),
        Some(AppKind::Registered) => known.is_some(),
        None => false,
    }
}

/// Reads what [`may_be`] needs for a `client_id` of this kind, once in a process.
pub(crate) async fn prepare(core: &Core, client_id: &str) -> Result<()> {
    match kind_of(client_id) {
        Some(AppKind::Dynamic) => registration::prepare(core).await,
        _ => Ok(()),
    }
}
