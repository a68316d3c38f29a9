//! Users' JWTs from trusted OpenID Connect issuers (WorkOS/AuthKit is one).
//!
//! An issuer's keys (RFC 7517) are fetched once and kept. A token that none of them has signed fetches them anew, at
//! most every [`REFETCH_AFTER`], so that made-up tokens cannot make us hammer an issuer.
//!
//! **Which key.** Issuers say little about their keys. Entra ID and SPIRE name no `alg`, some issuers publish one key
//! without a `kid`, some publish several under one. So the keys that are tried are those with the token's `kid` (else
//! those without any), of the issuer, that can make a signature of the token's algorithm: [`MAX_TRIED`] at most. A key
//! that cannot be read, or is for something else, is passed over. The others serve on.
//!
//! **Signing in.** People sign in by the issuers that have `sign_in` (`provider`), with ID tokens, which are checked in
//! `tokens`. Groups and roles are read in `claims`.
//!
//! **Which issuer.** The token's `iss`, letter by letter. If the operator trusts a template with `{tenantid}`, it is one
//! of the tenants that the operator lists.

mod claims;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod provider;
mod tokens;

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deputize_api::reason::Reason;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Core,
    checked::Checked,
    clock::Timestamp,
    email::Domain,
    error::{Cause, Error, Result, Told, because},
    jwk::PublishedJwk,
    jwt::{self, Header, JwtError},
    secret::sha256_hex,
    table::{Change, Entity, Key, Table, retry_on_conflict},
    users::{Email, Identity, IssuerClaims},
};

pub use self::{
    claims::{ClaimPath, MAX_GROUPS, RoleClaim},
    provider::{DEFAULT_SCOPE, Refused, SignIn},
};
pub(crate) use self::{
    provider::ProviderMetadata,
    tokens::{IdToken, LOGOUT_TOKEN_LASTS, LogoutToken},
};

/// An issuer whose tokens prove users.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens, exactly. For an issuer of several tenants, with [`TENANT`] in the tenant's place.
    pub issuer: String,
    /// The tenants that are trusted, for an issuer of several.
    #[serde(default)]
    pub tenants: Vec<Uuid>,
    /// Where its keys are. Found by OpenID Connect Discovery if left out.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A token's `aud` must be one of these.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Of a token without `aud`, the `client_id` must be one of these: Amazon Cognito's access tokens
    /// (<https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html>).
    #[serde(default)]
    pub client_ids: Vec<String>,
    /// Accept tokens with any `aud`, or without one: for issuers such as WorkOS, whose access tokens have
    /// none and whose `iss` is the client's own.
    #[serde(default)]
    pub any_audience: bool,
    /// The user to whom a token with a verified email leads, if its subject is new. From then on the subject
    /// is theirs.
    #[serde(default)]
    pub link_by_email: LinkByEmail,
    /// The claim that holds the user's email address.
    #[serde(default)]
    pub email_claim: EmailClaim,
    /// Addresses in these domains count as verified although the token does not say so: the issuer's administrators,
    /// and no other people, give them to users.
    #[serde(default)]
    pub email_domains: Vec<Domain>,
    /// Make a user of a subject that is seen for the first time.
    #[serde(default)]
    pub provision: bool,
    /// People sign in by this issuer.
    #[serde(default)]
    pub sign_in: Option<SignIn>,
    /// The claim that names the user's groups. Without it, the issuer gives none.
    #[serde(default)]
    pub groups_claim: Option<ClaimPath>,
    /// The claim that gives the user a role. Without it, the issuer gives none.
    #[serde(default)]
    pub role_claim: Option<RoleClaim>,
}

/// What stands for the tenant's id in the name of an issuer of several (Microsoft Entra ID:
/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer>).
pub const TENANT: &str = "{tenantid}";
/// How many tenants of one issuer a deployment can trust.
pub const MAX_TENANTS: usize = 100;

/// The claim that holds a user's email address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailClaim {
    /// OpenID Connect Core section 5.1. Only of this claim does `email_verified` speak.
    #[default]
    Email,
    /// A list, of which the first address counts
    /// (<https://learn.microsoft.com/en-us/azure/active-directory-b2c/tokens-overview#claims>).
    Emails,
    /// OpenID Connect Core section 5.1: a name, which at some issuers is an address.
    PreferredUsername,
    /// The same of AD FS, and in Entra's tokens of version 1.
    Upn,
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
    for issuer in &issuers {
        issuer.check().map_err(|why| format!("issuer {}: {why}", issuer.issuer))?;
    }
    let mut ids = std::collections::BTreeSet::new();
    for issuer in &issuers {
        if let Some(id) = issuer.provider_id().filter(|id| !ids.insert(id.clone())) {
            return Err(format!("two issuers have the sign_in id {id}: give one of them another").into());
        }
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
    /// Groups and role, if this issuer gives any.
    pub(crate) claims: Option<Box<IssuerClaims>>,
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
    client_id: Value,
    /// The tenant, in Entra's tokens.
    #[serde(default)]
    tid: Value,
    #[serde(default)]
    email: Value,
    #[serde(default)]
    emails: Value,
    #[serde(default)]
    preferred_username: Value,
    #[serde(default)]
    upn: Value,
    #[serde(default, deserialize_with = "true_or_text")]
    email_verified: Option<bool>,
    /// Entra's: whether the owner of the address's domain vouches for it.
    #[serde(default)]
    xms_edov: Value,
    #[serde(default)]
    name: Value,
    /// A security event or logout token (RFC 8417 section 2.2, OpenID Connect Back-Channel Logout section 2.4).
    #[serde(default)]
    events: Option<IgnoredAny>,
}

/// Some issuers write `"true"`. Every other value is a no; `null` is as if it were not there.
fn true_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(if value.is_null() { None } else { Some(value == true || value == "true") })
}

/// The `typ` values of an access or ID token (RFC 9068 section 2.1, RFC 7519 section 5.1), and that of any JWS (RFC
/// 7515 section 4.1.9), which a JWT-SVID may have
/// (<https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md> section 2.3). An issuer signs other tokens with
/// the same keys. A logout token or a security event names a user, but proves none.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "jose"];
/// The longest `sub`, in bytes (OpenID Connect Core section 2).
const MAX_SUBJECT_LENGTH: usize = 255;
/// How many of an issuer's keys are looked at. Large issuers publish a dozen.
const MAX_KEYS: usize = 200;
/// How many keys are tried on one token. Without a `kid` there may be several that fit.
pub const MAX_TRIED: usize = 8;
/// How long a token that no key has signed does not make the keys be fetched again.
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
    metadata: provider::KeptMetadata,
    keys: RwLock<Option<Keys>>,
    /// Held during a fetch, so that one fetch serves all waiting requests.
    fetching: tokio::sync::Mutex<()>,
    /// How many fetches have ended.
    fetched: AtomicU64,
}

#[derive(Clone, Debug)]
struct Keys {
    published: Arc<Vec<PublishedJwk>>,
    fetched_at: Timestamp,
}

/// A token as it names itself. Nothing is proven yet.
struct Presented<'a> {
    text: &'a str,
    header: Header,
    /// Its `iss`.
    named: String,
    /// The trusted issuer that this names.
    issuer: IssuerName,
}

/// The name of a trusted issuer, by which its users are known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct IssuerName {
    name: String,
    tenant: Option<Uuid>,
}

impl Issuers {
    pub fn new(trusted: Vec<TrustedIssuer>, fetch: Arc<dyn Fetch>) -> Self {
        let trusted = trusted
            .into_iter()
            .map(|config| Trusted {
                config,
                metadata: provider::KeptMetadata::default(),
                keys: RwLock::default(),
                fetching: tokio::sync::Mutex::default(),
                fetched: AtomicU64::default(),
            })
            .collect();
        Self { fetch, trusted }
    }

    /// Whom a token proves, or why it proves nobody. `Err` if the issuer's keys cannot be had.
    pub async fn verify(&self, core: &Core, token: &str) -> Result<Checked<UserToken, JwtError>> {
        let now = core.clock.now();
        let (issuer, token) = match self.route(token, &TYPES) {
            Ok(route) => route,
            Err(refused) => return Ok(Checked::Invalid(refused)),
        };
        let signed = issuer.require_signature(&*self.fetch, &token, now).await?;
        Ok(signed.and_then(|()| issuer.config.accept(&token, now)).into())
    }

    /// The issuer that a token names.
    fn route<'a>(&self, text: &'a str, types: &[&str]) -> Result<(&Trusted, Presented<'a>), JwtError> {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        let Issuer { iss: named } = jwt::unproven_claims(text)?;
        let known = |trusted: &Trusted| trusted.config.called(&named);
        let found = self.trusted.iter().find_map(|trusted| Some((trusted, known(trusted)?)));
        let (trusted, issuer) = found.ok_or(JwtError::UntrustedIssuer)?;
        let header = jwt::header(text)?;
        header.require_type(types)?;
        Ok((trusted, Presented { text, header, named, issuer }))
    }

    /// The issuers by which people sign in.
    pub fn providers(&self) -> impl Iterator<Item = &TrustedIssuer> {
        self.trusted.iter().map(|trusted| &trusted.config).filter(|issuer| issuer.sign_in.is_some())
    }

    /// One of them, by its name in addresses.
    pub fn provider(&self, id: &str) -> Option<&TrustedIssuer> {
        self.providers().find(|issuer| issuer.provider_id().as_deref() == Some(id))
    }

    /// One of them, by a name by which it signs.
    pub(crate) fn provider_called(&self, issuer: &str) -> Option<&TrustedIssuer> {
        self.providers().find(|provider| provider.called(issuer).is_some())
    }

    /// What a provider says of itself.
    pub(crate) async fn metadata_of(
        &self,
        core: &Core,
        provider: &TrustedIssuer,
    ) -> Result<Arc<ProviderMetadata>> {
        let trusted = self.trusted.iter().find(|trusted| trusted.config.issuer == provider.issuer);
        let trusted = trusted.ok_or_else(|| Error::internal("a provider that is not trusted"))?;
        let fetched = trusted.discovered(&*self.fetch);
        trusted.metadata.get(core.clock.now(), fetched).await.map_err(|why| {
            Error::unavailable(because(format!("metadata of issuer {}", provider.issuer), why))
        })
    }

    /// Whether an issuer gives groups, and whether it gives roles, as it is configured now.
    pub(crate) fn gives(&self, issuer: &str) -> Gives {
        let known = self.trusted.iter().find(|trusted| trusted.config.called(issuer).is_some());
        known.map_or(Gives::default(), |known| Gives {
            groups: known.config.groups_claim.is_some(),
            role: known.config.role_claim.is_some(),
        })
    }
}

/// Google's issuer, and how some of its ID tokens name it
/// (<https://developers.google.com/identity/gsi/web/guides/verify-google-id-token>).
const GOOGLE: (&str, &str) = ("https://accounts.google.com", "accounts.google.com");

impl TrustedIssuer {
    /// Its name in addresses, if people sign in by it.
    pub fn provider_id(&self) -> Option<String> {
        self.sign_in.as_ref().map(|sign_in| provider::id_of(&self.issuer, sign_in))
    }

    /// What people call it.
    pub fn provider_name(&self) -> &str {
        let name = self.sign_in.as_ref().and_then(|sign_in| sign_in.name.as_deref());
        name.unwrap_or_else(|| provider::host(&self.issuer))
    }

    /// Whether it signs by this name.
    pub(crate) fn is_called(&self, iss: &str) -> bool {
        self.called(iss).is_some()
    }

    /// Whether its settings make sense together.
    fn check(&self) -> Result<(), String> {
        self.sign_in.as_ref().map_or(Ok(()), SignIn::check)?;
        self.role_claim.as_ref().map_or(Ok(()), RoleClaim::check)?;
        if self.issuer.contains(TENANT) {
            if self.tenants.is_empty() || self.tenants.len() > MAX_TENANTS {
                return Err(format!("with {TENANT}, tenants must list 1 to {MAX_TENANTS} ids of tenants"));
            }
            // The keys are those of every application of every tenant.
            if self.any_audience {
                return Err(format!("with {TENANT} there is no any_audience: list the audiences"));
            }
            // Each tenant's administrators could claim the others' addresses.
            if !self.email_domains.is_empty() {
                return Err(format!(
                    "with {TENANT} there are no email_domains: trust each tenant as an issuer of its own"
                ));
            }
        } else if !self.tenants.is_empty() {
            return Err(format!("tenants are for an issuer with {TENANT} in its name"));
        }
        let verifies = self.email_claim == EmailClaim::Email || !self.email_domains.is_empty();
        if self.link_by_email != LinkByEmail::No && !verifies {
            return Err(
                "link_by_email: no address of this email_claim counts as verified unless email_domains \
                        lists its domain"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The issuer's name for the tokens with this `iss`, if they are its own.
    fn called(&self, iss: &str) -> Option<IssuerName> {
        let of_tenant = |tenant: &Uuid| {
            let name = self.issuer.replace(TENANT, &tenant.to_string());
            (name == iss).then_some(IssuerName { name, tenant: Some(*tenant) })
        };
        if self.issuer.contains(TENANT) {
            return self.tenants.iter().find_map(of_tenant);
        }
        let is_it = self.issuer == iss || (&*self.issuer, iss) == GOOGLE;
        is_it.then(|| IssuerName { name: self.issuer.clone(), tenant: None })
    }

    /// Whom a token proves whose signature is right.
    fn accept(&self, token: &Presented<'_>, now: Timestamp) -> Result<UserToken, JwtError> {
        let claims: Claims = jwt::unproven_claims(token.text)?;
        Self::require_own(token, &claims)?;
        if !self.is_meant_for_us(&claims) {
            return Err(JwtError::WrongAudience);
        }
        self.prove(token, claims, now)
    }

    /// Refuses a token that is not what this issuer says of a user.
    fn require_own(token: &Presented<'_>, claims: &Claims) -> Result<(), JwtError> {
        if claims.iss != token.named {
            return Err(JwtError::UntrustedIssuer);
        }
        let is_other = |tenant: Uuid| !claims.tid.is_null() && claims.tid != tenant.to_string();
        if token.issuer.tenant.is_some_and(is_other) {
            return Err(JwtError::UntrustedIssuer);
        }
        if claims.events.is_some() {
            return Err(JwtError::WrongType);
        }
        Ok(())
    }

    /// Whom a token proves that is meant for us.
    fn prove(&self, token: &Presented<'_>, claims: Claims, now: Timestamp) -> Result<UserToken, JwtError> {
        claims.times.check(now)?;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_LENGTH {
            return Err(JwtError::Malformed);
        }
        let claimed_email = self.email_claim.address(&claims);
        let given = self.given(token, claims.times)?;
        Ok(UserToken {
            claims: given.map(Box::new),
            issuer: token.issuer.name.clone(),
            email: claimed_email.clone().filter(|email| self.is_verified(email, &claims)),
            claimed_email,
            links: self.link_by_email,
            times: claims.times,
            name: claims.name.as_str().map(|name| name.chars().take(200).collect()),
            provision: self.provision,
            subject: claims.sub,
        })
    }

    /// The groups and the role that a token gives, if it is this issuer's to give any. A token that does not say when it
    /// was issued gives none: nothing says which of two is newer.
    fn given(&self, token: &Presented<'_>, times: jwt::Times) -> Result<Option<IssuerClaims>, JwtError> {
        if self.groups_claim.is_none() && self.role_claim.is_none() {
            return Ok(None);
        }
        let Some(issued_at) = times.iat else { return Ok(None) };
        let claims: Value = jwt::unproven_claims(token.text)?;
        let groups = self.groups_claim.as_ref().map_or(Ok(Vec::new()), |claim| claim.groups(&claims))?;
        let role = self.role_claim.as_ref().map_or(Ok(None), |claim| claim.role(&claims))?;
        let issuer = token.issuer.name.clone();
        Ok(Some(IssuerClaims { issuer, issued_at: Timestamp::from_seconds(issued_at), groups, role }))
    }

    fn is_meant_for_us(&self, claims: &Claims) -> bool {
        let is_of_client = || self.client_ids.iter().any(|client| claims.client_id == **client);
        self.any_audience
            || claims.aud.iter().any(|audience| self.audiences.contains(audience))
            || claims.aud.is_empty() && is_of_client()
    }

    /// Whether an address of a token is the user's, by the token or by the operator's settings. The token's no is
    /// stronger than the settings.
    fn is_verified(&self, email: &Email, claims: &Claims) -> bool {
        let vouched = if self.is_entra() { vouched_for(&claims.xms_edov) } else { claims.email_verified };
        if claims.email_verified == Some(false) || vouched == Some(false) {
            return false;
        }
        vouched == Some(true) && self.email_claim == EmailClaim::Email
            || self.email_domains.iter().any(|domain| domain.holds(email))
    }
}

/// Where Entra ID is, in the clouds that it has
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/authentication-national-cloud>).
const ENTRA: [&str; 4] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "sts.windows.net",
];

impl TrustedIssuer {
    /// Whether this is Entra ID, where a tenant's administrators write any address into `email`
    /// (<https://learn.microsoft.com/en-us/entra/identity-platform/migrate-off-email-claim-authorization>).
    fn is_entra(&self) -> bool {
        ENTRA.contains(&provider::host(&self.issuer))
    }
}

/// Entra's `xms_edov`: whether the address's domain is verified by the tenant. It is written as a boolean, a number or a
/// text. Its absence says nothing.
fn vouched_for(xms_edov: &Value) -> Option<bool> {
    if xms_edov.is_null() {
        return None;
    }
    Some(*xms_edov == true || *xms_edov == 1 || *xms_edov == "1" || *xms_edov == "true")
}

/// Which of a user's claims an issuer may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gives {
    pub(crate) groups: bool,
    pub(crate) role: bool,
}

impl EmailClaim {
    fn address(self, claims: &Claims) -> Option<Email> {
        let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        match self {
            Self::Email => address(&claims.email),
            Self::Emails => claims.emails.as_array()?.iter().find_map(address),
            Self::PreferredUsername => address(&claims.preferred_username),
            Self::Upn => address(&claims.upn),
        }
    }
}

impl PublishedJwk {
    /// Whether the key signs for this `iss`. Entra's keys say for which issuer, of one tenant or of any
    /// (<https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-signing-key-issuer>).
    fn signs_for(&self, iss: &str) -> bool {
        let Some(issuer) = &self.issuer else { return true };
        let Some((before, after)) = issuer.split_once(TENANT) else { return issuer == iss };
        let tenant = iss.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        tenant.is_some_and(|tenant| tenant.parse::<Uuid>().is_ok())
    }
}

impl Keys {
    /// Refuses a token that none of these keys has signed.
    fn require_signature(&self, token: &Presented<'_>) -> Result<(), JwtError> {
        let Header { algorithm, kid, .. } = &token.header;
        let own = |kid: Option<&String>| -> Vec<&PublishedJwk> {
            let keys = self.published.iter().filter(|key| key.signs_for(&token.named));
            keys.filter(|key| key.kid.as_ref() == kid).collect()
        };
        let meant = match kid {
            None => self.published.iter().filter(|key| key.signs_for(&token.named)).collect(),
            Some(kid) => Some(own(Some(kid))).filter(|keys| !keys.is_empty()).unwrap_or_else(|| own(None)),
        };
        if meant.is_empty() {
            return Err(JwtError::UnknownKey);
        }
        let mut fitting = meant.into_iter().filter(|key| key.is_for(*algorithm)).take(MAX_TRIED).peekable();
        if fitting.peek().is_none() {
            return Err(JwtError::BadAlgorithm);
        }
        if fitting.any(|key| key.has_signed(token.text, *algorithm)) {
            Ok(())
        } else {
            Err(JwtError::BadSignature)
        }
    }
}

impl Trusted {
    /// The keys, if they were fetched no longer ago than this.
    fn kept(&self, now: Timestamp, for_at_most: Duration) -> Option<Keys> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.filter(|keys| now < keys.fetched_at.plus(for_at_most))
    }

    /// Refuses a token that no key of the issuer's has signed. Fetches the keys if necessary and allowed.
    async fn require_signature(
        &self,
        fetch: &dyn Fetch,
        token: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Result<(), JwtError>> {
        let ended = self.fetched.load(Ordering::SeqCst);
        let by_kept = self.kept(now, KEEP_FOR).map(|keys| keys.require_signature(token));
        match by_kept {
            Some(Ok(())) => return Ok(Ok(())),
            Some(Err(refused)) if self.kept(now, REFETCH_AFTER).is_some() => return Ok(Err(refused)),
            _ => {}
        }
        match self.fetch(fetch, now, ended).await {
            Ok(keys) => Ok(keys.require_signature(token)),
            Err(why) => match by_kept {
                // The key that it names is there, and has not signed it.
                Some(Err(refused)) if refused != JwtError::UnknownKey => Ok(Err(refused)),
                _ => {
                    let what = format!("keys of issuer {}", self.config.issuer);
                    Err(Error::unavailable(because(what, why)))
                }
            },
        }
    }

    /// Fetches the keys. A request that waits for another one's fetch takes what that has led to.
    async fn fetch(&self, fetch: &dyn Fetch, now: Timestamp, ended: u64) -> Result<Keys, Cause> {
        let _fetching = self.fetching.lock().await;
        if let Some(keys) = self.kept(now, REFETCH_AFTER) {
            return Ok(keys);
        }
        if self.fetched.load(Ordering::SeqCst) != ended {
            return Err("another request's fetch of them has just failed".into());
        }
        let fetched = self.fetch_keys(fetch).await;
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let keys = Keys { published: Arc::new(fetched?), fetched_at: now };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }

    async fn fetch_keys(&self, fetch: &dyn Fetch) -> Result<Vec<PublishedJwk>, Cause> {
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<Value>,
        }
        let discovered;
        let uri = match &self.config.jwks_uri {
            Some(uri) => uri,
            None => {
                discovered = self.discover(fetch).await?;
                &discovered
            }
        };
        let set: KeySet = serde_json::from_slice(&fetch.fetch(uri).await?)?;
        let mut passed_over = BTreeMap::new();
        let mut keys = Vec::new();
        for (place, key) in set.keys.into_iter().take(MAX_KEYS).enumerate() {
            match PublishedJwk::read(key) {
                Ok(key) => keys.push(key),
                Err(why) => drop(passed_over.insert(place, why)),
            }
        }
        if !passed_over.is_empty() {
            let issuer = &self.config.issuer;
            tracing::info!(%issuer, ?passed_over, used = keys.len(), "some of an issuer's keys are not used");
        }
        Ok(keys)
    }

    /// OpenID Connect Discovery section 4. The metadata for all tenants is at `common`
    /// (<https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer>).
    async fn discover(&self, fetch: &dyn Fetch) -> Result<String, Cause> {
        let metadata = self.discovered(fetch).await?;
        let uri = metadata["jwks_uri"].as_str();
        uri.map(str::to_owned).ok_or_else(|| "its metadata has no jwks_uri".into())
    }

    async fn discovered(&self, fetch: &dyn Fetch) -> Result<Value, Cause> {
        let issuer = self.config.issuer.replace(TENANT, "common");
        let issuer = issuer.trim_end_matches('/');
        let body = fetch.fetch(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let metadata: Value = serde_json::from_slice(&body)?;
        let named = metadata["issuer"].as_str().unwrap_or_default();
        if named == self.config.issuer {
            Ok(metadata)
        } else {
            let named: String = named.chars().take(200).collect();
            Err(format!("its metadata names another issuer: {named:?}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRA: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
    const CONTOSO: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

    fn refusal(json: &str) -> String {
        listed(json).unwrap_err().to_string()
    }

    #[test]
    fn settings_that_cannot_mean_what_their_writer_means_are_refused() {
        let entra = |more: &str| refusal(&format!(r#"[{{"issuer":"{ENTRA}"{more}}}]"#));
        let of = format!("issuer {ENTRA}: ");
        let tenants = "with {tenantid}, tenants must list 1 to 100 ids of tenants";
        assert_eq!(entra(""), of.clone() + tenants);
        assert_eq!(entra(r#","tenants":[]"#), of.clone() + tenants);
        let many = format!(r#","tenants":[{}]"#, vec![format!("\"{CONTOSO}\""); 101].join(","));
        assert_eq!(entra(&many), of.clone() + tenants);
        let with = |more: &str| entra(&format!(r#","tenants":["{CONTOSO}"],{more}"#));
        assert_eq!(
            with(r#""any_audience":true"#),
            of.clone() + "with {tenantid} there is no any_audience: list the audiences"
        );
        assert_eq!(
            with(r#""email_domains":["contoso.com"]"#),
            of + "with {tenantid} there are no email_domains: trust each tenant as an issuer of its own"
        );
        assert!(entra(r#","tenants":["contoso.onmicrosoft.com"]"#).starts_with("UUID parsing failed"));
        assert_eq!(
            refusal(&format!(r#"[{{"issuer":"https://a.test","tenants":["{CONTOSO}"]}}]"#)),
            "issuer https://a.test: tenants are for an issuer with {tenantid} in its name"
        );
        assert_eq!(
            refusal(r#"[{"issuer":"https://a.test","email_claim":"upn","link_by_email":true}]"#),
            "issuer https://a.test: link_by_email: no address of this email_claim counts as verified unless \
             email_domains lists its domain"
        );
        for odd in ["", "contoso", "*.contoso.com", "a@contoso.com", ".contoso.com"] {
            let json = format!(r#"[{{"issuer":"https://a.test","email_domains":["{odd}"]}}]"#);
            assert!(refusal(&json).starts_with("not a domain of email addresses"), "{odd}");
        }
    }

    #[test]
    fn a_template_is_the_tenants_that_are_listed_and_no_others() {
        let json = format!(r#"[{{"issuer":"{ENTRA}","tenants":["{CONTOSO}"],"audiences":["deputize"]}}]"#);
        let [issuer] = <[_; 1]>::try_from(listed(&json).unwrap()).unwrap();
        let name = ENTRA.replace(TENANT, CONTOSO);
        assert_eq!(
            issuer.called(&name),
            Some(IssuerName { name: name.clone(), tenant: Some(CONTOSO.parse().unwrap()) })
        );
        for other in [
            ENTRA.to_owned(),
            ENTRA.replace(TENANT, "common"),
            ENTRA.replace(TENANT, "82229342-1101-4ab6-817b-70c0747630f3"),
            ENTRA.replace(TENANT, &CONTOSO.to_uppercase()),
            name.clone() + "/",
            name.replace("/v2.0", ""),
        ] {
            assert_eq!(issuer.called(&other), None, "{other}");
        }
    }
}
