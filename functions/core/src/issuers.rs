//! Users' JWTs from trusted OpenID Connect issuers (WorkOS/AuthKit is one).
//!
//! An issuer's keys (RFC 7517) are fetched once and kept; an unknown `kid` fetches them anew, at most
//! every [`REFETCH_AFTER`], so that nobody can make us hammer an issuer with made-up key ids.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use deputize_api::reason::Reason;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    dangerous::insecure_decode_claims,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use crate::{
    Core,
    checked::Checked,
    clock::Timestamp,
    error::{Cause, Error, Result, Told, because},
    jwt::{self, JwtError},
    secret::sha256_hex,
    table::{Change, Entity, Key, Table, retry_on_conflict},
    users::{Email, Identity},
};

/// An issuer whose tokens prove users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens, exactly.
    pub issuer: String,
    /// Where its keys are. Found by OpenID Connect Discovery if left out.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A token's `aud` must be one of these.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Accept tokens with any `aud`, or without one: for issuers such as WorkOS, whose access tokens have
    /// none and whose `iss` is the client's own.
    #[serde(default)]
    pub any_audience: bool,
    /// The user to whom a token with a verified email leads, if its subject is new. From then on the subject
    /// is theirs.
    #[serde(default)]
    pub link_by_email: LinkByEmail,
    /// Make a user of a subject that is seen for the first time.
    #[serde(default)]
    pub provision: bool,
}

/// The users to whom an email address from this issuer may lead, if the token's subject is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub enum LinkByEmail {
    /// `false`: to no user.
    #[default]
    No,
    /// `true` or `"new"`: to users whom no issuer has identified yet. Another person may get the address of a
    /// user who has long signed in elsewhere.
    New,
    /// `"any"`: also to users whom other issuers have identified, except admins.
    Any,
}

impl TryFrom<serde_json::Value> for LinkByEmail {
    type Error = &'static str;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        match (value.as_bool(), value.as_str()) {
            (Some(false), _) => Ok(Self::No),
            (Some(true), _) | (_, Some("new")) => Ok(Self::New),
            (_, Some("any")) => Ok(Self::Any),
            _ => Err("link_by_email must be false, true, \"new\" or \"any\""),
        }
    }
}

/// How many issuers a deployment can trust. A process keeps the keys of each.
pub const MAX_ISSUERS: usize = 100;

/// Reads a JSON array of issuers.
pub fn listed(json: &str) -> Result<Vec<TrustedIssuer>, Cause> {
    let issuers: Vec<TrustedIssuer> = serde_json::from_str(json)?;
    if issuers.len() > MAX_ISSUERS {
        return Err(format!("there can be {MAX_ISSUERS} issuers at most").into());
    }
    Ok(issuers)
}

/// The longest list of trusted issuers in the table, in bytes: an item holds 400 KB (DynamoDB Developer Guide, *Quotas*).
pub const MAX_STORED: usize = 256 * 1024;

/// A list of issuers in the table, as the operator gave it.
#[derive(Serialize, Deserialize)]
struct StoredIssuers {
    json: String,
}

impl Entity for StoredIssuers {
    const KIND: &'static str = "list of trusted issuers";
}

/// Stores a JSON array of issuers that is too long for the environment (AWS Lambda Developer Guide, *Lambda
/// quotas*: 4 KB). Returns its hash, for the configuration. The list has no effect until the configuration
/// names it, and it never changes: another list is another item.
pub async fn store(table: &Table, json: &str) -> Result<String> {
    if json.len() > MAX_STORED {
        return Err(Error::invalid(format!("the list has more than {MAX_STORED} bytes")));
    }
    listed(json).map_err(|why| Error::Invalid(Told::by(Reason::RequestInvalid, why)))?;
    let hash = sha256_hex(json.as_bytes());
    let key = Key::trusted_issuers(&hash);
    retry_on_conflict(|| async {
        if table.read_one::<StoredIssuers>(key.clone()).await?.is_none() {
            let mut change = Change::new();
            change.create(key.clone(), &StoredIssuers { json: json.to_owned() })?;
            table.commit(change).await?;
        }
        Ok(())
    })
    .await?;
    Ok(hash)
}

/// The list with this hash. The configuration names the hash, so a writer of the table cannot replace the
/// list.
pub async fn stored(table: &Table, hash: &str) -> Result<Vec<TrustedIssuer>> {
    let found = table.read_one::<StoredIssuers>(Key::trusted_issuers(hash)).await?;
    let json = found.map(|stored| stored.value.json).filter(|json| sha256_hex(json.as_bytes()) == hash);
    let json = json.ok_or_else(|| {
        Error::internal(format!(
            "the table has no trusted issuers by the hash {hash}: store them by `deputize trusted-issuers`"
        ))
    })?;
    listed(&json).map_err(Error::internal)
}

/// Fetches a small document over HTTP: how the core reaches the network.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// The body of a successful answer. Time, size and redirects are bounded by the implementation.
    fn fetch<'a>(&'a self, url: &'a str)
    -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>>;
}

/// What a user's token has proven.
#[derive(Clone, Debug)]
pub struct UserToken {
    pub issuer: String,
    pub subject: String,
    /// The email, if it is verified.
    pub email: Option<Email>,
    /// The email, verified or not. It leads to no user. But if it is a deactivated user's, no new user is made.
    pub(crate) claimed_email: Option<Email>,
    pub name: Option<String>,
    /// When it is valid.
    pub(crate) times: jwt::Times,
    pub(crate) links: LinkByEmail,
    pub(crate) provision: bool,
}

impl UserToken {
    /// The issuer's name for the user. An issuer never gives a subject to another user (OpenID Connect Core
    /// section 5.7); it may do so with an email address.
    pub(crate) fn identity(&self) -> Identity {
        Identity { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }

    /// The email, if this issuer's emails may lead to users.
    pub(crate) fn linking_email(&self) -> Option<&Email> {
        self.email.as_ref().filter(|_| self.links != LinkByEmail::No)
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(flatten)]
    times: jwt::Times,
    #[serde(default, deserialize_with = "jwt::OneOrMany::deserialize")]
    aud: Vec<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default, deserialize_with = "true_or_text")]
    email_verified: bool,
    #[serde(default)]
    name: Option<String>,
    /// A security event or logout token (RFC 8417 section 2.2, OpenID Connect Back-Channel Logout section 2.4).
    #[serde(default)]
    events: Option<IgnoredAny>,
}

/// Some issuers write `"true"`. Every other value is a no.
fn true_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value == true || value == "true")
}

/// The `typ` values of an access or ID token (RFC 9068 section 2.1, RFC 7519 section 5.1). An issuer signs
/// other tokens with the same keys. A logout token or a security event names a user, but proves none.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];
/// The longest `sub`, in bytes (OpenID Connect Core section 2).
const MAX_SUBJECT_LENGTH: usize = 255;
/// How long an unknown `kid` does not make the keys be fetched again.
pub const REFETCH_AFTER: Duration = Duration::from_secs(30);
/// After this time the keys are always fetched again, so that a key that its issuer has withdrawn is dropped.
const KEEP_FOR: Duration = Duration::from_secs(3600);

/// The trusted issuers, and their keys as last fetched.
#[derive(Debug)]
pub struct Issuers {
    fetch: Arc<dyn Fetch>,
    trusted: Vec<Trusted>,
}

#[derive(Debug)]
struct Trusted {
    config: TrustedIssuer,
    keys: RwLock<Option<Keys>>,
    /// Held during a fetch, so that one fetch serves all waiting requests.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Keys {
    by_kid: Arc<HashMap<String, Jwk>>,
    fetched_at: Timestamp,
}

impl Issuers {
    pub fn new(trusted: Vec<TrustedIssuer>, fetch: Arc<dyn Fetch>) -> Self {
        let trusted = trusted
            .into_iter()
            .map(|config| Trusted {
                config,
                keys: RwLock::default(),
                fetching: tokio::sync::Mutex::default(),
            })
            .collect();
        Self { fetch, trusted }
    }

    /// Whom a token proves, or why it proves nobody. `Err` if the issuer's keys cannot be had.
    pub async fn verify(&self, core: &Core, token: &str) -> Result<Checked<UserToken, JwtError>> {
        let now = core.clock.now();
        let (issuer, kid, algorithm) = match self.route(token) {
            Ok(route) => route,
            Err(refused) => return Ok(Checked::Invalid(refused)),
        };
        let Some(jwk) = issuer.key(&*self.fetch, &kid, now).await? else {
            return Ok(Checked::Invalid(JwtError::UnknownKey));
        };
        Ok(issuer.config.read(token, &jwk, algorithm, now).into())
    }

    /// The issuer and the key that a token names. Nothing is proven yet.
    fn route(&self, token: &str) -> Result<(&Trusted, String, Algorithm), JwtError> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        if token.len() > jwt::MAX_LENGTH {
            return Err(JwtError::Malformed);
        }
        let claimed: Issuer = insecure_decode_claims(token).map_err(|_| JwtError::Malformed)?;
        let issuer = self.trusted.iter().find(|trusted| trusted.config.issuer == claimed.iss);
        let issuer = issuer.ok_or(JwtError::UntrustedIssuer)?;
        let header = jwt::header(token)?;
        header.require_type(&TYPES)?;
        Ok((issuer, header.kid.ok_or(JwtError::UnknownKey)?, header.algorithm))
    }
}

impl TrustedIssuer {
    fn read(
        &self,
        token: &str,
        jwk: &Jwk,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<UserToken, JwtError> {
        let for_other_use =
            matches!(&jwk.common.public_key_use, Some(use_) if *use_ != PublicKeyUse::Signature);
        let for_other_algorithm = jwk
            .common
            .key_algorithm
            .is_some_and(|named| Some(&*named.to_string()) != jwt::name_of(algorithm));
        if for_other_use || for_other_algorithm {
            return Err(JwtError::BadAlgorithm);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| JwtError::BadAlgorithm)?;
        self.accept(jwt::signed_by(token, &key, algorithm)?, now)
    }

    fn accept(&self, claims: Claims, now: Timestamp) -> Result<UserToken, JwtError> {
        if claims.iss != self.issuer {
            return Err(JwtError::UntrustedIssuer);
        }
        if claims.events.is_some() {
            return Err(JwtError::WrongType);
        }
        if !self.any_audience && !claims.aud.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(JwtError::WrongAudience);
        }
        claims.times.check(now)?;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_LENGTH {
            return Err(JwtError::Malformed);
        }
        let claimed_email = claims.email.and_then(|email| email.parse::<Email>().ok());
        Ok(UserToken {
            issuer: claims.iss,
            subject: claims.sub,
            email: claimed_email.clone().filter(|_| claims.email_verified),
            claimed_email,
            links: self.link_by_email,
            times: claims.times,
            name: claims.name.map(|name| name.chars().take(200).collect()),
            provision: self.provision,
        })
    }
}

impl Trusted {
    fn kept(&self) -> Option<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The issuer's key with this id. Fetches the keys if necessary and allowed.
    async fn key(&self, fetch: &dyn Fetch, kid: &str, now: Timestamp) -> Result<Option<Jwk>> {
        let fresh = |keys: &Keys, for_at_most| now < keys.fetched_at.plus(for_at_most);
        if let Some(keys) = self.kept().filter(|keys| fresh(keys, KEEP_FOR)) {
            if let Some(key) = keys.by_kid.get(kid) {
                return Ok(Some(key.clone()));
            }
            if fresh(&keys, REFETCH_AFTER) {
                return Ok(None);
            }
        }
        let _fetching = self.fetching.lock().await;
        // Another request may have fetched them in the meantime.
        if let Some(keys) = self.kept().filter(|keys| fresh(keys, REFETCH_AFTER)) {
            return Ok(keys.by_kid.get(kid).cloned());
        }
        match self.fetch_keys(fetch).await {
            Ok(by_kid) => {
                let keys = Keys { by_kid: Arc::new(by_kid), fetched_at: now };
                let key = keys.by_kid.get(kid).cloned();
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
                Ok(key)
            }
            Err(why) => {
                Err(Error::unavailable(because(format!("keys of issuer {}", self.config.issuer), why)))
            }
        }
    }

    async fn fetch_keys(&self, fetch: &dyn Fetch) -> Result<HashMap<String, Jwk>, Cause> {
        let discovered;
        let uri = match &self.config.jwks_uri {
            Some(uri) => uri,
            None => {
                discovered = self.discover(fetch).await?;
                &discovered
            }
        };
        let body = fetch.fetch(uri).await?;
        let set: JwkSet = serde_json::from_slice(&body)?;
        let keys = set.keys.into_iter().filter(Jwk::is_supported);
        Ok(keys.filter_map(|key| Some((key.common.key_id.clone()?, key))).collect())
    }

    /// OpenID Connect Discovery section 4.
    async fn discover(&self, fetch: &dyn Fetch) -> Result<String, Cause> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let issuer = self.config.issuer.trim_end_matches('/');
        let body = fetch.fetch(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let metadata: Metadata = serde_json::from_slice(&body)?;
        if metadata.issuer == self.config.issuer {
            Ok(metadata.jwks_uri)
        } else {
            Err("its metadata names another issuer".into())
        }
    }
}
