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

use jsonwebtoken::{
    Algorithm, DecodingKey,
    dangerous::insecure_decode_claims,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::{Deserialize, Deserializer};

use crate::{
    Core,
    clock::Timestamp,
    error::{Error, Result},
    jwt::{self, Refused},
    users::Email,
};

/// An issuer whose tokens prove users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens, exactly.
    pub issuer: String,
    /// Where its keys are; by OpenID Connect Discovery if left out.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A token's `aud` must be one of these.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Accept tokens whatever their `aud`, or without one: for issuers such as WorkOS, whose access tokens
    /// have none and whose `iss` is the client's own.
    #[serde(default)]
    pub any_audience: bool,
    /// Take a token with a verified email for the user with that email, if its subject is not known.
    #[serde(default)]
    pub link_by_email: bool,
    /// Make a user of a subject that is seen for the first time.
    #[serde(default)]
    pub provision: bool,
}

/// Fetches a small document over HTTP: how the core reaches the network.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// The body of a successful answer. Time, size and redirects are bounded by the implementation.
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;
}

/// What a user's token has proven.
#[derive(Clone, Debug)]
pub struct UserToken {
    pub issuer: String,
    pub subject: String,
    /// The email, if it is verified.
    pub email: Option<Email>,
    pub name: Option<String>,
    /// The email, if the issuer is trusted to lead to a user by it.
    pub(crate) linking_email: Option<Email>,
    pub(crate) provision: bool,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(flatten)]
    times: jwt::Times,
    #[serde(default, deserialize_with = "jwt::one_or_many")]
    aud: Vec<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default, deserialize_with = "true_or_text")]
    email_verified: bool,
    #[serde(default)]
    name: Option<String>,
}

/// Some issuers write `"true"`; anything but a plain yes is a no.
fn true_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value == true || value == "true")
}

/// The longest `sub`, in bytes (OpenID Connect Core section 2).
const MAX_SUBJECT_LENGTH: usize = 255;
/// An unknown `kid` fetches the keys again only after this.
pub const REFETCH_AFTER: Duration = Duration::from_secs(30);
/// Keys are fetched again after this in any case, so that one that its issuer has withdrawn goes.
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
    /// Held while fetching, so that one fetch serves all who wait.
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
    pub async fn verify(&self, core: &Core, token: &str) -> Result<Result<UserToken, Refused>> {
        let now = core.clock.now();
        let (issuer, kid, algorithm) = match self.route(token) {
            Ok(route) => route,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(jwk) = issuer.key(&*self.fetch, &kid, now).await? else {
            return Ok(Err(Refused::UnknownKey));
        };
        Ok(issuer.config.read(token, &jwk, algorithm, now))
    }

    /// Which issuer and key a token says that it is from. Nothing is proven yet.
    fn route(&self, token: &str) -> Result<(&Trusted, String, Algorithm), Refused> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        if token.len() > jwt::MAX_LENGTH {
            return Err(Refused::Malformed);
        }
        let claimed: Issuer = insecure_decode_claims(token).map_err(|_| Refused::Malformed)?;
        let issuer = self.trusted.iter().find(|trusted| trusted.config.issuer == claimed.iss);
        let issuer = issuer.ok_or(Refused::UntrustedIssuer)?;
        let header = jwt::header(token)?;
        Ok((issuer, header.kid.ok_or(Refused::UnknownKey)?, header.algorithm))
    }
}

impl TrustedIssuer {
    fn read(
        &self,
        token: &str,
        jwk: &Jwk,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<UserToken, Refused> {
        let for_other_use =
            matches!(&jwk.common.public_key_use, Some(use_) if *use_ != PublicKeyUse::Signature);
        let for_other_algorithm = jwk
            .common
            .key_algorithm
            .is_some_and(|named| Some(&*named.to_string()) != jwt::name_of(algorithm));
        if for_other_use || for_other_algorithm {
            return Err(Refused::BadAlgorithm);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|_| Refused::BadAlgorithm)?;
        self.accept(jwt::signed_by(token, &key, algorithm)?, now)
    }

    fn accept(&self, claims: Claims, now: Timestamp) -> Result<UserToken, Refused> {
        if claims.iss != self.issuer {
            return Err(Refused::UntrustedIssuer);
        }
        if !self.any_audience && !claims.aud.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(Refused::WrongAudience);
        }
        claims.times.check(now)?;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_LENGTH {
            return Err(Refused::Malformed);
        }
        let email =
            claims.email.filter(|_| claims.email_verified).and_then(|email| email.parse::<Email>().ok());
        Ok(UserToken {
            issuer: claims.iss,
            subject: claims.sub,
            linking_email: email.clone().filter(|_| self.link_by_email),
            email,
            name: claims.name.map(|name| name.chars().take(200).collect()),
            provision: self.provision,
        })
    }
}

impl Trusted {
    fn kept(&self) -> Option<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The issuer's key with this id, fetched if need be and allowed.
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
        // Somebody else may have fetched them while this one waited.
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
            Err(why) => Err(Error::unavailable(format!("keys of issuer {}: {why}", self.config.issuer))),
        }
    }

    async fn fetch_keys(&self, fetch: &dyn Fetch) -> Result<HashMap<String, Jwk>, String> {
        let discovered;
        let uri = match &self.config.jwks_uri {
            Some(uri) => uri,
            None => {
                discovered = self.discover(fetch).await?;
                &discovered
            }
        };
        let body = fetch.fetch(uri).await?;
        let set: JwkSet = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let keys = set.keys.into_iter().filter(Jwk::is_supported);
        Ok(keys.filter_map(|key| Some((key.common.key_id.clone()?, key))).collect())
    }

    /// OpenID Connect Discovery section 4.
    async fn discover(&self, fetch: &dyn Fetch) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let issuer = self.config.issuer.trim_end_matches('/');
        let body = fetch.fetch(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let metadata: Metadata = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        if metadata.issuer == self.config.issuer {
            Ok(metadata.jwks_uri)
        } else {
            Err("its metadata names another issuer".to_owned())
        }
    }
}
