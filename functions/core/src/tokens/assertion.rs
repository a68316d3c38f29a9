//! Clients that prove themselves by signing (`private_key_jwt`: RFC 7523 sections 2.2 and 3, OpenID Connect
//! Core section 9).
//!
//! An assertion is good once. That is for a conditional write to say, since any process may see it again:
//! a note of its `jti`, in the transaction that stores what the request came to. So it costs no round trip
//! beside that one, and a request whose event was not stored has used nothing up. The note is made only after
//! the signature has been checked, and it is the client's own: nobody can use up another's `jti`.

use jsonwebtoken::dangerous::insecure_decode_claims;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    Core, Settings,
    agents::AgentAccount,
    clock::Timestamp,
    error::{Result, TokenError},
    ids::{AgentAccountId, ClientKeyId},
    jwt::{self, Header, LEEWAY, Refused, Times},
    table::{Attempt, Change, Entity, Key, settle},
};

/// How far ahead an assertion's end may lie, in seconds: for as long a note of it must be kept.
const MAX_AHEAD: i64 = 300;
/// The longest `jti`, in bytes.
const MAX_JTI: usize = 255;

/// An assertion that says what one for us must say. Nothing is proven yet.
#[derive(Debug)]
pub(super) struct Assertion {
    pub client: AgentAccountId,
    header: Header,
    jti: String,
    expires_at: i64,
    text: SecretString,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(deserialize_with = "jwt::one_or_many")]
    aud: Vec<String>,
    #[serde(flatten)]
    times: Times,
    #[serde(default)]
    jti: Option<String>,
}

fn refused(why: &(impl ToString + ?Sized)) -> TokenError {
    TokenError::InvalidAssertion(why.to_string())
}

impl Assertion {
    /// Checks everything that needs no table and no key. It can only refuse: what is read here counts once
    /// [`Self::proven_key`] has found who signed it.
    pub(super) fn read(
        settings: &Settings,
        now: Timestamp,
        client_id: Option<&str>,
        text: SecretString,
    ) -> Result<Self, TokenError> {
        if text.expose_secret().len() > jwt::MAX_LENGTH {
            return Err(refused(&Refused::Malformed));
        }
        let claims: Claims =
            insecure_decode_claims(text.expose_secret()).map_err(|_| refused(&Refused::Malformed))?;
        let header = jwt::header(text.expose_secret()).map_err(|why| refused(&why))?;
        let client = claims.sub.parse::<AgentAccountId>().ok().filter(|_| claims.iss == claims.sub);
        let client = client.ok_or_else(|| refused("its iss and sub must both be the client's id"))?;
        // RFC 7521 section 4.2.
        if client_id.is_some_and(|id| id.parse() != Ok(client)) {
            return Err(refused("its sub is not the client_id that was sent"));
        }
        if claims.aud.is_empty() || !claims.aud.iter().all(|audience| is_us(settings, audience)) {
            return Err(refused(&Refused::WrongAudience));
        }
        claims.times.check(now).map_err(|why| refused(&why))?;
        if claims.times.exp > now.as_seconds().saturating_add(MAX_AHEAD + LEEWAY) {
            return Err(refused("it must expire within 5 minutes"));
        }
        let jti = claims.jti.filter(|jti| !jti.is_empty() && jti.len() <= MAX_JTI);
        let jti = jti.ok_or_else(|| refused("its jti must have 1 to 255 bytes"))?;
        Ok(Self { client, header, jti, expires_at: claims.times.exp, text })
    }

    /// The live key of the account that has signed this. Unmodified MCP clients name no key, so all that fit
    /// are tried.
    pub(super) fn proven_key(&self, account: &AgentAccount, now: Timestamp) -> Result<Option<ClientKeyId>> {
        let Header { algorithm, kid } = &self.header;
        for key in account.keys.iter().filter(|key| key.is_live(now)) {
            let is_meant = kid.as_ref().is_none_or(|kid| *kid == key.kid)
                && key.alg.as_deref().is_none_or(|alg| Some(alg) == jwt::name_of(*algorithm))
                && key.key.algorithms().contains(algorithm);
            if !is_meant {
                continue;
            }
            let signed =
                jwt::signed_by::<IgnoredAny>(self.text.expose_secret(), &key.key.decoding_key()?, *algorithm);
            if signed.is_ok() {
                return Ok(Some(key.id));
            }
        }
        Ok(None)
    }

    /// What makes it good once only.
    pub(super) fn once(&self) -> Once {
        // Longer than it is believed, by the clocks of any of our machines.
        let until = Timestamp::from_seconds(self.expires_at.saturating_add(2 * LEEWAY));
        Once { key: Key::used_assertion(self.client, &self.jti), until }
    }
}

/// Our issuer or the token endpoint, and nothing else: an assertion that is good elsewhere too could come
/// from there. Some clients write a URL without a path with a slash, which is the same URL (RFC 3986 section
/// 6.2.3).
fn is_us(settings: &Settings, audience: &str) -> bool {
    let issuer = &*settings.issuer;
    audience.strip_suffix('/').unwrap_or(audience) == issuer
        || audience.strip_prefix(issuer).is_some_and(|path| path == "/api/v1/oauth/token")
}

/// Says that an assertion has been used, for as long as it could be believed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UsedAssertion {
    expires_at: Timestamp,
}

impl Entity for UsedAssertion {
    const KIND: &'static str = "used client assertion";
}

/// A proven assertion that has to be noted as used before anything is answered.
#[derive(Debug)]
pub(super) struct Once {
    key: Key,
    until: Timestamp,
}

impl Once {
    async fn is_used(&self, core: &Core) -> Result<bool> {
        let used = core.table.read_one::<UsedAssertion>(self.key.clone()).await?;
        Ok(used.is_some_and(|used| core.clock.now() < used.expires_at))
    }
}

/// Makes a change and notes the assertion as used, both or neither. Of two requests with the same assertion,
/// one fails here.
pub(super) async fn commit(
    core: &Core,
    once: Option<&Once>,
    fill: impl Fn(&mut Change) -> Result<()>,
) -> Result<()> {
    settle(|| async {
        let mut change = Change::new();
        fill(&mut change)?;
        if let Some(Once { key, until }) = once {
            let note = UsedAssertion { expires_at: *until };
            change.create_anew(key.clone(), &note, *until, core.clock.now())?;
        }
        if change.is_empty() {
            return Ok(());
        }
        match (core.table.commit(change).await, once) {
            // Only what is there now tells a used assertion from two changes that met.
            (Err(Attempt::Raced), Some(once)) if once.is_used(core).await? => {
                Err(refused("it has been used already; sign a new one for each request").into())
            }
            (done, _) => done,
        }
    })
    .await
}
