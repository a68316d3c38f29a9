//! Dynamic registration (RFC 7591) without stored state: the `client_id` is what was registered.
//!
//! It is `dyn.` and two parts in base64url: the metadata that counts, and its authentication by a key of ours. So a flood
//! of registrations fills no table, and a registration never expires. The key is one item, sealed by the vault, which the
//! first registration makes. With it the secret of a client that wants one is derived, so that is not stored either. A
//! nonce in such a registration makes it a client of its own, whose secret nobody gets by registering the same again.
//!
//! **Registering narrows instead of refusing** (RFC 7591 section 2 lets a server replace what was asked for). Unknown
//! grant types and bad redirect URIs are left out; what cannot be a client with a secret is a public one. The answer says
//! what was registered.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{AppAuth, AppKey, AppKind, AppMetadata, app_id, metadata::Metadata, redirect_uri::RedirectUri};
use crate::{
    Core, Settings,
    clock::Random,
    error::{Error, Result},
    secret,
    table::{Change, CommitError, Entity, Key},
    vault::{KEY_BYTES, Sealed},
};

/// What a `client_id` of this kind begins with.
pub(super) const PREFIX: &str = "dyn.";
/// The longest `client_id`, in characters.
pub const MAX_CLIENT_ID: usize = 1500;
const NONCE: usize = 12;

/// What is in a `client_id`, with short names. Names are never reused for something else.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    /// `redirect_uris`.
    r: Vec<String>,
    /// `client_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<Proof>,
}

/// How a client that is not public proves itself.
#[derive(Debug, Serialize, Deserialize)]
enum Proof {
    /// By the secret that is derived of the `client_id`. In it is a nonce.
    #[serde(rename = "s")]
    Secret(String),
    #[serde(rename = "k")]
    Keys(Vec<AppKey>),
    #[serde(rename = "u")]
    JwksUri(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct RegistrationKeyItem {
    sealed: Sealed,
}

impl Entity for RegistrationKeyItem {
    const KIND: &'static str = "key of app registrations";
}

/// The key that authenticates registrations, once this process has read it. It never changes.
#[derive(Default)]
pub(crate) struct RegistrationKey(arc_swap::ArcSwapOption<hmac::Key>);

impl std::fmt::Debug for RegistrationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistrationKey")
    }
}

/// A client as it was registered.
#[derive(Debug)]
pub struct Registered {
    pub app: AppMetadata,
    pub secret: Option<SecretString>,
    /// In the words of RFC 7591.
    pub token_endpoint_auth_method: &'static str,
    pub grant_types: Vec<&'static str>,
}

/// Why nothing was registered (RFC 7591 section 3.2.2).
#[derive(Debug, PartialEq, Eq)]
pub enum RegistrationRefusal {
    /// `invalid_redirect_uri`.
    RedirectUri(String),
    /// `invalid_client_metadata`.
    Metadata(String),
    /// The deployment takes no registrations.
    Closed,
}

/// Registers a client by the metadata that it sends, a JSON object. Nothing is stored but, once, the key.
pub async fn register(core: &Core, body: &[u8]) -> Result<Result<Registered, RegistrationRefusal>> {
    if !core.settings.apps.takes(AppKind::Dynamic) {
        return Ok(Err(RegistrationRefusal::Closed));
    }
    let (content, method, grant_types) = match narrowed(&core.settings, &core.random, body)? {
        Ok(narrowed) => narrowed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let key = match key(core).await? {
        Some(key) => key,
        None => make_key(core).await?,
    };
    let client_id = match client_id(&key, content)? {
        Ok(client_id) => client_id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let app = read(&core.settings, &key, &client_id)
        .ok_or_else(|| Error::internal("a registration does not read back"))?;
    let secret = match &app.auth {
        AppAuth::Secret { .. } => Some(secret_of(&key, &client_id).text),
        AppAuth::None | AppAuth::Keys { .. } => None,
    };
    Ok(Ok(Registered { app, secret, token_endpoint_auth_method: method, grant_types }))
}

pub(super) type Narrowed = (Content, &'static str, Vec<&'static str>);

pub(super) fn narrowed(
    settings: &Settings,
    random: &Random,
    body: &[u8],
) -> Result<Result<Narrowed, RegistrationRefusal>> {
    let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body);
    let sent = object.and_then(|object| serde_json::from_value::<Metadata>(object.into()));
    let Ok(mut sent) = sent else {
        let why = "the body must be a JSON object of client metadata (RFC 7591 section 2)";
        return Ok(Err(RegistrationRefusal::Metadata(why.to_owned())));
    };
    let any = match sent.redirect_uris(settings, true) {
        Ok(any) => any,
        Err(why) => return Ok(Err(RegistrationRefusal::RedirectUri(why))),
    };
    let of_secrets = sent.redirect_uris(settings, false).unwrap_or_default();
    // What an app that runs on its user's computer alone keeps, is no secret (RFC 8252 section 8.5).
    let method = match sent.token_endpoint_auth_method.as_deref() {
        Some("client_secret_post") if !of_secrets.is_empty() => "client_secret_post",
        Some("client_secret_basic") if !of_secrets.is_empty() => "client_secret_basic",
        Some("private_key_jwt") => "private_key_jwt",
        // The default of RFC 7591 section 2, but for a client that a private-use scheme shows to be a public one.
        None if of_secrets.len() == any.len() => "client_secret_basic",
        _ => "none",
    };
    let (proof, redirect_uris) = match method {
        "private_key_jwt" => match sent.keys() {
            Ok(AppAuth::Keys { jwks_uri: Some(uri), .. }) => (Some(Proof::JwksUri(uri)), any),
            Ok(AppAuth::Keys { keys, .. }) => (Some(Proof::Keys(keys)), any),
            Ok(_) => (None, any),
            Err(why) => return Ok(Err(RegistrationRefusal::Metadata(why))),
        },
        "none" => (None, any),
        _ => {
            let nonce = BASE64_URL_SAFE_NO_PAD.encode(random.bytes::<NONCE>()?);
            (Some(Proof::Secret(nonce)), of_secrets)
        }
    };
    let asked = |grant: &&str| match &sent.grant_types {
        Some(asked) => *grant == "authorization_code" || asked.iter().any(|one| one == grant),
        None => true,
    };
    let grant_types = ["authorization_code", "refresh_token"].into_iter().filter(asked).collect();
    Ok(Ok((Content { r: redirect_uris, n: sent.name(), a: proof }, method, grant_types)))
}

/// The `client_id` of a content. If it is too long, it has fewer redirect URIs, the first ones.
pub(super) fn client_id(
    key: &hmac::Key,
    mut content: Content,
) -> Result<Result<String, RegistrationRefusal>> {
    loop {
        let text = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&content).map_err(Error::internal)?);
        let client_id = signed(key, &text);
        if client_id.len() <= MAX_CLIENT_ID {
            return Ok(Ok(client_id));
        }
        if content.n.take().is_none() && (content.r.len() == 1 || content.r.pop().is_none()) {
            let why =
                "the redirect_uris and keys are too long: 1,000 characters is what they can have together";
            return Ok(Err(RegistrationRefusal::Metadata(why.to_owned())));
        }
    }
}

/// The `client_id` of a content that is written so.
pub(super) fn signed(key: &hmac::Key, text: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(b"client_id\0");
    context.update(text.as_bytes());
    format!("{PREFIX}{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(context.sign()))
}

/// The secret of a client that was registered with one.
fn secret_of(key: &hmac::Key, client_id: &str) -> secret::NewSecret {
    let mut context = hmac::Context::with_key(key);
    context.update(b"client_secret\0");
    context.update(client_id.as_bytes());
    secret::derived_client_secret(context.sign().as_ref())
}

/// The app that a `client_id` of this kind is, if it is one that was registered here.
pub(super) async fn find(core: &Core, client_id: &str) -> Result<Option<AppMetadata>> {
    if client_id.len() > MAX_CLIENT_ID {
        return Ok(None);
    }
    let Some(key) = key(core).await? else { return Ok(None) };
    Ok(read(&core.settings, &key, client_id))
}

/// Reads the key, if this process has not.
pub(super) async fn prepare(core: &Core) -> Result<()> {
    key(core).await?;
    Ok(())
}

/// Whether a `client_id` is one that was registered here, once the key has been read. Without a key there is none.
pub(super) fn is_known(core: &Core, client_id: &str) -> bool {
    let key = core.registration_key.0.load_full();
    key.is_some_and(|key| client_id.len() <= MAX_CLIENT_ID && read(&core.settings, &key, client_id).is_some())
}

pub(super) fn read(settings: &Settings, key: &hmac::Key, client_id: &str) -> Option<AppMetadata> {
    let (text, presented) = client_id.strip_prefix(PREFIX)?.split_once('.')?;
    let presented = BASE64_URL_SAFE_NO_PAD.decode(presented).ok()?;
    let mut signed = b"client_id\0".to_vec();
    signed.extend_from_slice(text.as_bytes());
    hmac::verify(key, &signed, &presented).ok()?;
    let content: Content = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let auth = match content.a {
        None => AppAuth::None,
        Some(Proof::Secret(_)) => AppAuth::Secret { hash: secret_of(key, client_id).hash },
        Some(Proof::Keys(keys)) => AppAuth::Keys { keys, jwks_uri: None },
        Some(Proof::JwksUri(uri)) => AppAuth::Keys { keys: Vec::new(), jwks_uri: Some(uri) },
    };
    // What can be a redirect URI may have changed since: by the deployment's settings, or by ours.
    let is_public = !matches!(auth, AppAuth::Secret { .. });
    let usable = |uri: &String| RedirectUri::check(settings, uri, is_public).is_ok();
    Some(AppMetadata {
        id: app_id(client_id),
        client_id: client_id.to_owned(),
        kind: AppKind::Dynamic,
        name: content.n,
        host: None,
        redirect_uris: content.r.into_iter().filter(usable).collect(),
        auth,
        trusted: false,
    })
}

/// The key, if there is one.
async fn key(core: &Core) -> Result<Option<Arc<hmac::Key>>> {
    if let Some(kept) = core.registration_key.0.load_full() {
        return Ok(Some(kept));
    }
    let item = Key::registration_key();
    let Some(stored) = core.table.read_one::<RegistrationKeyItem>(item.clone()).await? else {
        return Ok(None);
    };
    let opened = core.vault.open(&item, &stored.sealed).await?;
    if opened.is_stale {
        // Best effort: the next process tries again.
        let sealed = core.vault.seal(&item, &opened.value).await;
        if let Ok(sealed) = sealed {
            let mut change = Change::new();
            change.replace(item, &RegistrationKeyItem { sealed }, stored.rev)?;
            if let Err(CommitError::Failed(error)) = core.table.commit(change).await {
                tracing::debug!(%error, "the key of app registrations was not sealed anew");
            }
        }
    }
    let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &opened.value));
    core.registration_key.0.store(Some(Arc::clone(&key)));
    Ok(Some(key))
}

async fn make_key(core: &Core) -> Result<Arc<hmac::Key>> {
    let item = Key::registration_key();
    let bytes = Zeroizing::new(core.random.bytes::<KEY_BYTES>()?);
    let sealed = core.vault.seal(&item, &*bytes).await?;
    let mut change = Change::new();
    change.create(item, &RegistrationKeyItem { sealed })?;
    match core.table.commit(change).await {
        // This process or another one was faster. The key that is now in the table counts.
        Ok(()) | Err(CommitError::ConditionFailed) => {}
        Err(CommitError::Failed(error)) => return Err(error),
    }
    key(core).await?.ok_or_else(|| Error::internal("no key of app registrations"))
}
