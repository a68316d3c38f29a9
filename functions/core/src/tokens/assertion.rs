//! Clients that prove themselves by signing (`private_key_jwt`: RFC 7523 sections 2.2 and 3, OpenID Connect Core
//! section 9).
//!
//! An account has up to five public keys in its item, so they are read with the account. An assertion usually names no
//! key (the MCP SDKs' do not), so each key that fits its algorithm is tried. An assertion must be for this service and
//! no other, and must end within 5 minutes.
//!
//! **An assertion is good once.** It is used up by the answer to a request in which it has proven its client, whatever
//! that answer says, unless it is a 5xx. So a request whose form says nothing (a parameter that is missing, repeated or
//! of an unknown type) does not use it up, since nothing was proven then. Everything else that a request may be refused
//! for is judged after the proof: its scope, its targets, its tokens, its user.
//!
//! Any process may see an assertion again, so a conditional write decides. It creates a note of
//! the `jti`, at the client's id and the hash of the `jti`. The write is in the transaction with the audit event, so it
//! costs no round trip. (An introspection has no event, so there it is alone.) It follows from this:
//!
//! - A forged assertion uses nothing up, since the signature is checked first.
//! - No client can use up another's `jti`, since the note is the client's own.
//! - An assertion whose event was not stored is still good.
//! - If DynamoDB repeats a request whose first answer was lost, that is no replay.

use deputize_api::path;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    Core, Settings,
    agents::AgentAccount,
    apps::AppKey,
    audit::Event,
    clock::Timestamp,
    error::{Cause, Result, TokenError},
    ids::{AgentAccountId, AppId, ClientKeyId},
    jwk::{PublicJwk, PublishedJwk},
    jwt::{self, Header, JwtError, LEEWAY, Times},
    table::{Change, CommitError, Entity, Key, retry_on_conflict},
};

/// How many seconds ahead an assertion's `exp` may be. It must be remembered for as long.
const MAX_AHEAD: i64 = 300;
/// The allowed `typ` of an assertion: what today's clients write, and the type that is planned for assertions
/// (draft-ietf-oauth-rfc7523bis). Anything else that a client signs with its key is not an assertion.
const TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];
/// The longest `jti`, in bytes.
const MAX_JTI: usize = 255;

/// An assertion whose claims are right for this service, of a client with such an id. Nothing is proven yet.
#[derive(Debug)]
pub(super) struct Assertion<Id = AgentAccountId> {
    pub client: Id,
    header: Header,
    jti: String,
    expires_at: i64,
    text: SecretString,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(deserialize_with = "jwt::OneOrMany::deserialize")]
    aud: Vec<String>,
    #[serde(flatten)]
    times: Times,
    #[serde(default)]
    jti: Option<String>,
}

fn refused(why: impl Into<Cause>) -> TokenError {
    TokenError::InvalidAssertion(why.into())
}

impl<Id: PartialEq> Assertion<Id> {
    /// Checks everything that needs no table and no key. It can only refuse. The claims count once the key is found that
    /// signed them. `endpoint` is the path that it was sent to; `parse` reads a client's id.
    pub(super) fn read(
        settings: &Settings,
        now: Timestamp,
        endpoint: &str,
        client_id: Option<&str>,
        text: SecretString,
        parse: impl Fn(&str) -> Option<Id>,
    ) -> Result<Self, TokenError> {
        let claims: Claims = jwt::unproven_claims(text.expose_secret()).map_err(refused)?;
        let header = jwt::header(text.expose_secret()).map_err(refused)?;
        header.require_type(&TYPES).map_err(refused)?;
        let client = parse(&claims.sub).filter(|_| claims.iss == claims.sub);
        let client = client.ok_or_else(|| refused("its iss and sub must both be the client's id"))?;
        // RFC 7521 section 4.2.
        if client_id.is_some_and(|id| parse(id).as_ref() != Some(&client)) {
            return Err(refused("its sub is not the client_id that was sent"));
        }
        if claims.aud.is_empty() || !claims.aud.iter().all(|audience| is_us(settings, endpoint, audience)) {
            return Err(refused(JwtError::WrongAudience));
        }
        claims.times.check(now).map_err(refused)?;
        if claims.times.exp > now.as_seconds().saturating_add(MAX_AHEAD + LEEWAY) {
            return Err(refused("it must expire within 5 minutes"));
        }
        let jti = claims.jti.filter(|jti| !jti.is_empty() && jti.len() <= MAX_JTI);
        let jti = jti.ok_or_else(|| refused("its jti must have 1 to 255 bytes"))?;
        Ok(Self { client, header, jti, expires_at: claims.times.exp, text })
    }

    /// Whether this key, of this name and for this algorithm only, has signed it. Many MCP clients name no key, so all
    /// fitting keys are tried.
    fn is_signed_by(&self, key: &PublicJwk, of: &str, alg: Option<&str>) -> Result<bool> {
        let Header { algorithm, kid, .. } = &self.header;
        let is_meant = kid.as_ref().is_none_or(|kid| *kid == of)
            && alg.is_none_or(|alg| jwt::named(alg) == Some(*algorithm))
            && key.algorithms().contains(algorithm);
        Ok(is_meant && jwt::is_signed_by(self.text.expose_secret(), &key.decoding_key()?, *algorithm))
    }
}

impl Assertion {
    /// The account's live key that has signed this.
    pub(super) fn proven_key(&self, account: &AgentAccount, now: Timestamp) -> Result<Option<ClientKeyId>> {
        for key in account.keys.iter().filter(|key| key.is_live(now)) {
            if self.is_signed_by(&key.key, &key.kid, key.alg.as_deref())? {
                return Ok(Some(key.id));
            }
        }
        Ok(None)
    }

    /// What makes sure that it is used only once.
    pub(super) fn assertion_use(&self) -> AssertionUse {
        AssertionUse::of(Key::used_assertion(self.client, &self.jti), self.expires_at)
    }
}

/// How many published keys are tried on one assertion.
const MAX_TRIED: usize = 8;

impl Assertion<String> {
    /// Whether one of these keys of an app has signed this.
    pub(super) fn is_by(&self, keys: &[AppKey]) -> Result<bool> {
        for AppKey { kid, key, alg } in keys {
            if self.is_signed_by(key, kid, alg.as_deref())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one of these keys, which an app publishes, has signed this.
    pub(super) fn is_by_published(&self, keys: &[PublishedJwk]) -> bool {
        let Header { algorithm, kid, .. } = &self.header;
        let is_meant = |key: &&PublishedJwk| kid.is_none() || key.kid.is_none() || key.kid == *kid;
        let meant = keys.iter().filter(is_meant).filter(|key| key.is_for(*algorithm)).take(MAX_TRIED);
        meant.into_iter().any(|key| key.has_signed(self.text.expose_secret(), *algorithm))
    }

    /// What makes sure that it is used only once.
    pub(super) fn assertion_use(&self, app: &AppId) -> AssertionUse {
        AssertionUse::of(Key::used_assertion_of_app(app, &self.jti), self.expires_at)
    }
}

/// Whether this is our issuer, the token endpoint, or the endpoint that the assertion was sent to. Nothing else is
/// accepted: an assertion that is good elsewhere could come from there. RFC 7523 section 3 names the token endpoint.
/// Clients send its URL to the other endpoints too, or those endpoints' own. Some clients add a slash to a URL without
/// a path; that is the same URL (RFC 3986 section 6.2.3).
fn is_us(settings: &Settings, endpoint: &str, audience: &str) -> bool {
    let issuer = &*settings.issuer;
    audience.strip_suffix('/').unwrap_or(audience) == issuer
        || audience
            .strip_prefix(issuer)
            .is_some_and(|rest| [path::TOKEN, path::TOKEN_ALIAS, endpoint].contains(&rest))
}

/// Says that an assertion has been used, for as long as it could be accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UsedAssertion {
    expires_at: Timestamp,
}

impl Entity for UsedAssertion {
    const KIND: &'static str = "used client assertion";
}

/// A proven assertion. It must be stored as used before the request is answered.
#[derive(Debug)]
pub(super) struct AssertionUse {
    key: Key,
    until: Timestamp,
}

impl AssertionUse {
    /// Of an assertion that ends then, in seconds since the Unix epoch.
    fn of(key: Key, expires_at: i64) -> Self {
        // Longer than any of our machines accepts it, by its own clock.
        Self { key, until: Timestamp::from_seconds(expires_at.saturating_add(2 * LEEWAY)) }
    }

    /// Lets a change be made only if the assertion was not used, and notes it as used.
    pub(super) fn note(&self, change: &mut Change, now: Timestamp) -> Result<()> {
        let note = UsedAssertion { expires_at: self.until };
        change.create_anew(self.key.clone(), &note, self.until, now)?;
        Ok(())
    }

    pub(super) async fn is_used(&self, core: &Core) -> Result<bool> {
        let used = core.table.read_one::<UsedAssertion>(self.key.clone()).await?;
        Ok(used.is_some_and(|used| core.clock.now() < used.expires_at))
    }
}

pub(super) fn used_already() -> TokenError {
    refused("it has been used already; sign a new one for each request")
}

/// Stores the event; with an assertion, in the transaction that notes it as used.
pub(super) async fn store(core: &Core, event: &Event, assertion_use: Option<&AssertionUse>) -> Result<()> {
    match assertion_use {
        None => core.table.append(event).await,
        Some(_) => commit(core, assertion_use, |change| change.record(event).map(drop)).await,
    }
}

pub(super) fn denied(event: Event, refusal: &TokenError) -> Event {
    event.denied(format!("{}: {refusal}", refusal.code()))
}

/// Makes a change and notes the assertion as used, both or neither. Of two requests with the same assertion,
/// one fails here.
pub(super) async fn commit(
    core: &Core,
    assertion_use: Option<&AssertionUse>,
    fill: impl Fn(&mut Change) -> Result<()>,
) -> Result<()> {
    retry_on_conflict(|| async {
        let mut change = Change::new();
        fill(&mut change)?;
        if let Some(assertion_use) = assertion_use {
            assertion_use.note(&mut change, core.clock.now())?;
        }
        if change.is_empty() {
            return Ok(());
        }
        match (core.table.commit(change).await, assertion_use) {
            // Otherwise the note has expired by the clock of the process that wrote it.
            (Err(CommitError::ConditionFailed), Some(assertion_use))
                if assertion_use.is_used(core).await? =>
            {
                Err(used_already().into())
            }
            (done, _) => done,
        }
    })
    .await
}
