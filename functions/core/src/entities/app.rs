//! An app: an OAuth client that acts as its user, such as an MCP client or a web page. And what a user allowed one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stopped::StoppedBy;
use crate::{
    audience::Resource,
    clock::Timestamp,
    epoch::Epoch,
    ids::{AppId, AuthorizationId, UserId},
    jwk::PublicJwk,
    scope::Scopes,
    secret::{SecretHash, sha256_base64url},
    table::{Entity, Key},
};

/// The longest `client_id` that identifies its app as it is, in bytes.
const LONGEST: usize = 255;

/// What identifies the app of a `client_id`.
pub fn app_id(client_id: &str) -> AppId {
    if client_id.len() <= LONGEST {
        AppId(client_id.to_owned())
    } else {
        AppId(format!("sha256:{}", sha256_base64url(client_id.as_bytes())))
    }
}

/// How an app became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppKind {
    /// By a Client ID Metadata Document: the host of its address is proven.
    Document,
    /// By dynamic registration (RFC 7591): nothing is proven.
    Dynamic,
    /// By an admin.
    Registered,
}

/// How an app proves at the token endpoint that it is the app. What it was when the user allowed the app is kept in the
/// authorization code and in the family of refresh tokens, so that neither asks the app's host again. Of an app that an
/// admin registered, the one in its item [`App`] counts, which those requests read anyway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppAuth {
    /// A public client: by nothing.
    None,
    /// By a client secret of this hash ([`hash_client_secret`](crate::secret::hash_client_secret)).
    Secret { hash: SecretHash },
    /// `private_key_jwt`, by one of these keys, or of those at an address. Either is empty if there is the other.
    Keys {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<AppKey>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwks_uri: Option<String>,
    },
}

/// A public key of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppKey {
    pub kid: String,
    pub key: PublicJwk,
    /// The one algorithm that it is for, if it is for one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
}

/// What admins have said of an app: that they registered it, or that it is blocked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    pub id: AppId,
    /// What an admin registered. Without it the app is only blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<AppRegistration>,
    /// Tokens of a blocked app are refused from the next call on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl Entity for App {
    const KIND: &'static str = "app";
}

impl App {
    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            name: Option<&'a str>,
            redirect_uris: Option<&'a [String]>,
            trusted: Option<bool>,
            auth: Option<&'static str>,
            kids: Option<Vec<&'a str>>,
            jwks_uri: Option<&'a str>,
            blocked_at: Option<Timestamp>,
        }
        let registration = self.registration.as_ref();
        let (auth, kids, jwks_uri) = match registration.map(|registration| &registration.auth) {
            None => (None, None, None),
            Some(AppAuth::None) => (Some("none"), None, None),
            Some(AppAuth::Secret { .. }) => (Some("client_secret"), None, None),
            Some(AppAuth::Keys { keys, jwks_uri }) => {
                let kids = keys.iter().map(|key| key.kid.as_str()).collect();
                (Some("private_key_jwt"), Some(kids), jwks_uri.as_deref())
            }
        };
        Recorded {
            name: registration.map(|registration| registration.name.as_str()),
            redirect_uris: registration.map(|registration| registration.redirect_uris.as_slice()),
            trusted: registration.map(|registration| registration.trusted),
            auth,
            kids,
            jwks_uri,
            blocked_at: self.blocked_at,
        }
    }
}

/// What an admin registered of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppRegistration {
    pub name: String,
    pub redirect_uris: Vec<String>,
    pub auth: AppAuth,
    /// Whether an admin vouches for it: users who allowed it once are not asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted: bool,
}

/// An entry in the list of apps that admins registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AppEntry {
    pub id: AppId,
}

impl Entity for AppEntry {
    const KIND: &'static str = "app entry";
}

/// An entry in the list of what admins blocked: an app or a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Block {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub blocked_at: Timestamp,
    /// Who blocked it. Unknown of blocks that were made before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<StoppedBy>,
}

impl Block {
    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded {
            blocked_at: Timestamp,
        }
        Recorded { blocked_at: self.blocked_at }
    }
}

impl Entity for Block {
    const KIND: &'static str = "block of apps";
}

/// A host of which an admin blocked all apps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockedHost {
    pub host: String,
    pub blocked_at: Timestamp,
}

impl Entity for BlockedHost {
    const KIND: &'static str = "blocked host of apps";
}

/// The app that made something for its user. What it made ends with the user's authorization of it, so that no app
/// outlives its own revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MadeByApp {
    pub authorization_id: AuthorizationId,
    pub app: AppId,
    /// The host that the app is from, so that its block is read beside everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_host: Option<String>,
}

impl MadeByApp {
    /// The items that say whether it still stands, beside the user.
    pub(crate) fn keys(&self, user: UserId) -> Vec<Key> {
        let mut keys = vec![Key::authorization(user, self.authorization_id), Key::app(&self.app)];
        keys.extend(self.app_host.as_deref().map(Key::app_host));
        keys
    }
}

/// How long an authorization that is not used lasts.
pub const IDLE_FOR: Duration = Duration::from_hours(24 * 90);
/// How long an authorization lasts that is used.
pub const LASTS: Duration = Duration::from_hours(24 * 365);

/// What a user allowed an app: all of its tokens rest on this. Revoking it deletes the item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorization {
    pub id: AuthorizationId,
    pub user_id: UserId,
    /// How often the user had been deactivated: once they are again, it is good no more.
    #[serde(default, skip_serializing_if = "Epoch::is_first")]
    pub user_epoch: Epoch,
    pub app: AppId,
    pub app_kind: AppKind,
    /// What the app calls itself, or the admin calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
    /// The host that the app is from: that of its document, or of its redirect URI. None of a program on the user's
    /// computer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_host: Option<String>,
    pub resource: Resource,
    pub scope: Scopes,
    pub created_at: Timestamp,
    /// When the user last allowed it.
    pub allowed_at: Timestamp,
    /// When tokens were last issued for it.
    pub used_at: Timestamp,
}

impl Entity for Authorization {
    const KIND: &'static str = "authorization of an app";
}

impl Authorization {
    pub(crate) fn key(&self) -> Key {
        Key::authorization(self.user_id, self.id)
    }

    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            id: AuthorizationId,
            user_id: UserId,
            app: &'a AppId,
            app_kind: AppKind,
            app_name: &'a Option<String>,
            app_host: &'a Option<String>,
            resource: &'a Resource,
            scope: Scopes,
            allowed_at: Timestamp,
        }
        Recorded {
            id: self.id,
            user_id: self.user_id,
            app: &self.app,
            app_kind: self.app_kind,
            app_name: &self.app_name,
            app_host: &self.app_host,
            resource: &self.resource,
            scope: self.scope,
            allowed_at: self.allowed_at,
        }
    }

    /// When it ends if it is not used any more.
    pub fn expires_at(&self) -> Timestamp {
        self.allowed_at.plus(LASTS).min(self.used_at.plus(IDLE_FOR))
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }
}
