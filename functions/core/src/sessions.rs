//! Users' OAuth sessions at MCP servers: the upstream tokens, encrypted, and whether they can be used.
//! How a session comes to be and is kept alive is told in [`crate::connections`].

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Core,
    audit::{Action, Event, Request},
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    ids::{ServerId, UserId},
    servers::Server,
    table::{Attempt, Change, Entity, Key, Stored, settle},
    vault::Sealed,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub user_id: UserId,
    pub server_id: ServerId,
    /// The server's address when the session was made. Tokens go nowhere else.
    pub resource: String,
    tokens: Sealed,
    /// Names the tokens, however they are sealed.
    #[serde(default)]
    tokens_id: Uuid,
    /// Whether there is a refresh token among the tokens.
    #[serde(default)]
    pub renewable: bool,
    /// Where the tokens come from and are renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderRef>,
    /// When the access token was given.
    #[serde(default = "long_ago")]
    pub issued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    pub connected_at: Timestamp,
    /// Who is renewing the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<Lease>,
    /// A refresh was sent whose answer nobody has seen: the provider may have consumed the refresh token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_doubt: bool,
    /// The provider could not be asked: it is left alone until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<Timestamp>,
    /// When the server last refused the access token before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected_at: Option<Timestamp>,
    /// The provider has ended the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// For sessions that were stored before this was.
fn long_ago() -> Timestamp {
    Timestamp::from_millis(0)
}

impl Entity for Session {
    const KIND: &'static str = "OAuth session";
}

/// Which of our clients, at which authorization server, for which resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRef {
    pub issuer: String,
    pub client_id: String,
    /// RFC 8707.
    pub resource: String,
}

/// The right to renew a session's tokens, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) holder: Uuid,
    pub(crate) until: Timestamp,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// The provider does not take the refresh token any more.
    Refused,
    /// The same, after a refresh whose answer was lost.
    Interrupted,
}

/// What is sealed in a session.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Tokens {
    access_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Whether a session's access token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    /// It can still be used, but not for long.
    Ending,
    /// It cannot be used any more.
    Over,
}

/// Access tokens are renewed this long before they expire, or in the last quarter of a shorter life.
const EARLY: Duration = Duration::from_secs(60);

impl Session {
    /// Whether the session is one for this server, and can be used or renewed.
    pub fn check(&self, server: &Server, now: Timestamp) -> Result<()> {
        if self.server_id != server.id || self.resource != server.url {
            return Err(Error::SessionNotFound);
        }
        match (self.ended, self.standing(now)) {
            (Some(Ended::Interrupted), _) => Err(Error::SessionInterrupted),
            (Some(Ended::Refused), _) => Err(Error::SessionExpired),
            (None, Standing::Over) if !self.renewable => Err(Error::SessionExpired),
            (None, _) => Ok(()),
        }
    }

    /// Whether its owner must connect again.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.ended.is_some() || (!self.renewable && self.standing(now) == Standing::Over)
    }

    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        let Some(expires) = self.expires_at else { return Standing::Good };
        let quarter = u64::try_from(expires.as_millis() - self.issued_at.as_millis()).unwrap_or_default() / 4;
        if expires <= now {
            Standing::Over
        } else if expires.minus(EARLY.min(Duration::from_millis(quarter))) <= now {
            Standing::Ending
        } else {
            Standing::Good
        }
    }

    pub(crate) async fn refresh_token(&self, core: &Core) -> Result<SecretString> {
        let tokens = self.open(core).await?.0;
        let token = tokens.refresh_token.as_deref().ok_or(Error::SessionExpired)?;
        Ok(SecretString::from(token))
    }

    /// Whether both hold the same tokens.
    pub(crate) fn has_tokens_of(&self, other: &Self) -> bool {
        self.tokens_id == other.tokens_id
    }

    /// The session with new tokens in place of its own.
    pub(crate) async fn renewed(&self, core: &Core, new: NewTokens<'_>) -> Result<Self> {
        let refresh_token = match new.refresh_token {
            Some(token) => Some(token.expose_secret().to_owned()),
            // RFC 6749 section 6: without a new one, the old one stays good.
            None => self.open(core).await?.0.refresh_token.clone(),
        };
        let tokens = Tokens { access_token: new.access_token.expose_secret().to_owned(), refresh_token };
        Ok(Self {
            tokens: seal(core, self.user_id, &self.server_id, &tokens).await?,
            tokens_id: core.random.uuid()?,
            renewable: tokens.refresh_token.is_some(),
            issued_at: new.issued_at,
            expires_at: new.expires_at,
            scope: new.scope.or_else(|| self.scope.clone()),
            lease: None,
            in_doubt: false,
            retry_at: None,
            rejected_at: new.rejected_at,
            ended: None,
            ..self.clone()
        })
    }

    /// The tokens, and whether they are sealed under a previous root key.
    async fn open(&self, core: &Core) -> Result<(Tokens, bool)> {
        let opened = core.vault.open(&Key::session(self.user_id, &self.server_id), &self.tokens).await?;
        let tokens = serde_json::from_slice(&opened.value)
            .map_err(|_| Error::internal("a session's tokens cannot be read"))?;
        Ok((tokens, opened.is_stale))
    }
}

impl Stored<Session> {
    /// The access token to present to the server. Tokens that are sealed under a previous root key are sealed
    /// anew on the way; if that fails, they stay as they are until they are used again.
    pub(crate) async fn access_token(&self, core: &Core) -> Result<SecretString> {
        let (tokens, is_stale) = self.open(core).await?;
        if is_stale && let Err(Attempt::Failed(error)) = self.seal_anew(core, &tokens).await {
            tracing::warn!(%error, "an OAuth session stays sealed under a previous root key");
        }
        Ok(SecretString::from(tokens.access_token.as_str()))
    }

    async fn seal_anew(&self, core: &Core, tokens: &Tokens) -> Result<(), Attempt> {
        let mut session = self.value.clone();
        session.tokens = seal(core, self.user_id, &self.server_id, tokens).await?;
        let mut change = Change::new();
        change.replace(Key::session(self.user_id, &self.server_id), &session, self.rev)?;
        core.table.commit(change).await
    }
}

async fn seal(core: &Core, user: UserId, server: &ServerId, tokens: &Tokens) -> Result<Sealed> {
    let plain = Zeroizing::new(serde_json::to_vec(tokens).map_err(Error::internal)?);
    core.vault.seal(&Key::session(user, server), &plain).await
}

/// What a refresh has brought.
#[derive(Debug)]
pub(crate) struct NewTokens<'a> {
    pub(crate) access_token: &'a SecretString,
    pub(crate) refresh_token: Option<&'a SecretString>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) scope: Option<String>,
    pub(crate) rejected_at: Option<Timestamp>,
}

/// What a provider has granted.
#[derive(Debug)]
pub struct NewSession {
    pub access_token: SecretString,
    pub refresh_token: Option<SecretString>,
    pub issued_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub scope: Option<String>,
    pub provider: Option<ProviderRef>,
}

/// Stores a user's session at a server, in place of any that is there.
pub async fn store(core: &Core, user: UserId, server: &Server, new: NewSession) -> Result<Session> {
    store_with(core, user, server, new, None).await
}

/// [`store`], and the event of it in the same transaction.
pub(crate) async fn store_with(
    core: &Core,
    user: UserId,
    server: &Server,
    new: NewSession,
    event: Option<&Event>,
) -> Result<Session> {
    let NewSession { access_token, refresh_token, issued_at, expires_at, scope, provider } = new;
    let tokens = Tokens {
        access_token: access_token.expose_secret().to_owned(),
        refresh_token: refresh_token.map(|token| token.expose_secret().to_owned()),
    };
    let session = Session {
        user_id: user,
        server_id: server.id.clone(),
        resource: server.url.clone(),
        tokens: seal(core, user, &server.id, &tokens).await?,
        tokens_id: core.random.uuid()?,
        renewable: tokens.refresh_token.is_some() && provider.is_some(),
        provider,
        issued_at,
        expires_at,
        scope,
        connected_at: core.clock.now(),
        lease: None,
        in_doubt: false,
        retry_at: None,
        rejected_at: None,
        ended: None,
    };
    let key = Key::session(user, &server.id);
    settle(|| async {
        let was = core.table.read_one::<Session>(key.clone()).await?;
        let mut change = Change::new();
        change.write(key.clone(), &session, was.as_ref())?;
        if let Some(event) = event {
            change.record(event)?;
        }
        core.table.commit(change).await
    })
    .await?;
    Ok(session)
}

/// The caller's own session at a server.
pub async fn get(core: &Core, caller: &UserCaller, server: &ServerId) -> Result<Stored<Session>> {
    core.table.read_one(Key::session(caller.user.id, server)).await?.ok_or(Error::NotFound("connection"))
}

/// Deletes the caller's own session at a server. Grants that rest on it remain, and find no session.
pub async fn disconnect(
    core: &Core,
    caller: &UserCaller,
    request: &Request,
    server: &ServerId,
) -> Result<()> {
    settle(|| async {
        let was = get(core, caller, server).await?;
        let event = caller.event(core, request, Action::ConnectionDelete)?.server(server.clone());
        let mut change = Change::new();
        change.delete(&Key::session(caller.user.id, server), was.rev)?;
        change.record(&event.about("connection", server))?;
        core.table.commit(change).await
    })
    .await
}
