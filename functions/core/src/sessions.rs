//! Users' OAuth sessions at MCP servers: the upstream tokens, encrypted, and whether they can be used.
//! [`crate::connections`] says how a session is made and kept alive.
//!
//! An entry leads to a session from the list of its server. The transactions that make and delete the session write it. A
//! session is stored only for a user who is active, and still in the epoch in which they began to connect: what was under
//! way when somebody leaves comes to nothing.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Core,
    audit::Event,
    caller::UserCaller,
    clock::{Random, Timestamp},
    error::{Error, Result, chain},
    ids::{ServerId, UserId},
    servers::Server,
    table::{Change, CommitError, Entity, Key, Stored},
    tasks::TaskContext,
    users::User,
    vault::{Sealed, Sealer, Vault},
};

/// What it is called that is not found.
pub(crate) const CONNECTION: &str = "connection";

/// How long what a provider gave is tried to be stored: it cannot be had again.
pub(crate) const STORE_WITHIN: Duration = Duration::from_secs(6);

/// 30 to 157 ms.
pub(crate) fn pause(random: &Random) -> Result<Duration> {
    let [jitter] = random.bytes::<1>()?;
    Ok(Duration::from_millis(30 + u64::from(jitter) / 2))
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub user_id: UserId,
    pub server_id: ServerId,
    /// New with each connection, kept by refreshes. What was opened with one connection does not go on with
    /// another, which may be another account's. Nil in sessions that were stored before this field existed.
    #[serde(default)]
    pub(crate) connection_id: Uuid,
    /// The server's address when the session was made. The tokens are sent only there.
    pub resource: String,
    tokens: Sealed,
    /// Names the tokens. Sealing them again does not change it.
    #[serde(default)]
    tokens_id: Uuid,
    /// Whether there is a refresh token among the tokens.
    #[serde(default)]
    pub renewable: bool,
    /// Where the tokens came from and are refreshed.
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
    /// The process that is refreshing the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<Lease>,
    /// A refresh was sent and its answer was lost. The provider may have used up the refresh token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_doubt: bool,
    /// The provider could not be reached. It is not asked before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<Timestamp>,
    /// When the server last refused the access token before it expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected_at: Option<Timestamp>,
    /// The provider has ended the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
    /// In the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_because: Option<String>,
}

/// For sessions that were stored before this field existed.
fn long_ago() -> Timestamp {
    Timestamp::from_millis(0)
}

impl Entity for Session {
    const KIND: &'static str = "OAuth session";
}

/// A session's entry in the list of its server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionEntry {
    pub(crate) user_id: UserId,
    /// Whose tokens they are. So our client there can be read together with the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
}

impl Entity for SessionEntry {
    const KIND: &'static str = "entry of an OAuth session";
}

/// Our client, the authorization server and the resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRef {
    pub issuer: String,
    pub client_id: String,
    /// What is sent as `resource` (RFC 8707), if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// The right to refresh a session's tokens, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) holder: Uuid,
    pub(crate) until: Timestamp,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// The provider no longer accepts the refresh token.
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
pub(crate) enum AccessTokenState {
    Good,
    /// It can still be used, but not for long.
    Ending,
    /// It can no longer be used.
    Over,
}

/// Access tokens are refreshed this long before they expire, or in the last quarter of a shorter life.
const EARLY: Duration = Duration::from_secs(60);

impl Session {
    pub(crate) fn key(&self) -> Key {
        Key::session(self.user_id, &self.server_id)
    }

    pub(crate) fn entry_key(&self) -> Key {
        Key::session_at(&self.server_id, self.user_id)
    }

    /// All that is stored of it, itself last.
    pub(crate) fn keys(&self) -> Vec<Key> {
        vec![self.entry_key(), self.key()]
    }

    /// Adds its entry to a change that makes it, or that requires that it is as it was read.
    pub(crate) fn add_entry(&self, change: &mut Change) -> Result<()> {
        let issuer = self.provider.as_ref().map(|provider| provider.issuer.clone());
        change.put_ending(self.entry_key(), &SessionEntry { user_id: self.user_id, issuer }, None)?;
        Ok(())
    }

    /// Requires that the session is for this server, and that it can be used or refreshed.
    pub fn check(&self, server: &Server, now: Timestamp) -> Result<()> {
        if self.server_id != server.id || self.resource != server.url {
            return Err(Error::SessionNotFound);
        }
        match (self.ended, self.access_token_state(now)) {
            (Some(Ended::Interrupted), _) => Err(Error::SessionInterrupted),
            (Some(Ended::Refused), _) => Err(Error::SessionExpired),
            (None, AccessTokenState::Over) if !self.renewable => Err(Error::SessionExpired),
            (None, _) => Ok(()),
        }
    }

    /// What the trail shows of it.
    pub(crate) fn recorded(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Recorded<'a> {
            user_id: UserId,
            server_id: &'a ServerId,
            resource: &'a str,
            provider: &'a Option<ProviderRef>,
            scope: &'a Option<String>,
            connected_at: Timestamp,
        }
        Recorded {
            user_id: self.user_id,
            server_id: &self.server_id,
            resource: &self.resource,
            provider: &self.provider,
            scope: &self.scope,
            connected_at: self.connected_at,
        }
    }

    /// Whether its owner must connect again.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.ended.is_some() || (!self.renewable && self.access_token_state(now) == AccessTokenState::Over)
    }

    pub(crate) fn access_token_state(&self, now: Timestamp) -> AccessTokenState {
        let Some(expires) = self.expires_at else { return AccessTokenState::Good };
        let quarter = u64::try_from(expires.as_millis() - self.issued_at.as_millis()).unwrap_or_default() / 4;
        if expires <= now {
            AccessTokenState::Over
        } else if expires.minus(EARLY.min(Duration::from_millis(quarter))) <= now {
            AccessTokenState::Ending
        } else {
            AccessTokenState::Good
        }
    }

    pub(crate) async fn refresh_token(&self, vault: &Vault) -> Result<SecretString> {
        let tokens = self.open(vault).await?.0;
        let token = tokens.refresh_token.as_deref().ok_or(Error::SessionExpired)?;
        Ok(SecretString::from(token))
    }

    pub(crate) async fn token_to_revoke(&self, vault: &Vault) -> Result<ToRevoke> {
        let tokens = self.open(vault).await?.0;
        Ok(match tokens.refresh_token.as_deref() {
            Some(token) => (SecretString::from(token), "refresh_token"),
            None => (SecretString::from(tokens.access_token.as_str()), "access_token"),
        })
    }

    /// Whether a process is refreshing the tokens now.
    pub(crate) fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.until > now)
    }

    /// Whether both hold the same tokens.
    pub(crate) fn has_tokens_of(&self, other: &Self) -> bool {
        self.tokens_id == other.tokens_id
    }

    /// The session with new tokens in place of its own.
    pub(crate) fn renewed(&self, sealer: &Sealer, new: &NewTokens) -> Result<Self> {
        let tokens = Tokens {
            access_token: new.access_token.expose_secret().to_owned(),
            refresh_token: Some(new.refresh_token.expose_secret().to_owned()),
        };
        Ok(Self {
            tokens: seal(sealer, &tokens)?,
            tokens_id: new.id,
            renewable: true,
            issued_at: new.issued_at,
            expires_at: new.expires_at,
            scope: new.scope.clone().or_else(|| self.scope.clone()),
            lease: None,
            in_doubt: false,
            retry_at: None,
            rejected_at: new.rejected_at,
            ended: None,
            ended_because: None,
            ..self.clone()
        })
    }

    /// The tokens, and whether they are sealed under a previous root key.
    async fn open(&self, vault: &Vault) -> Result<(Tokens, bool)> {
        let opened = vault.open(&Key::session(self.user_id, &self.server_id), &self.tokens).await?;
        let tokens = serde_json::from_slice(&opened.value)
            .map_err(|_| Error::internal("a session's tokens cannot be read"))?;
        Ok((tokens, opened.is_stale))
    }
}

impl Stored<Session> {
    /// Deletes it, with its entry.
    pub(crate) fn delete(&self, change: &mut Change) -> Result<()> {
        change.delete(&self.key(), self.rev)?.remove(&self.entry_key())?;
        Ok(())
    }

    /// The access token to present to the server. Tokens that are sealed under a previous root key are sealed
    /// again under the new one. If that fails, the next use tries again. While the tokens are being refreshed
    /// they are left alone, since new ones are about to be sealed.
    pub(crate) async fn access_token(&self, core: &Core) -> Result<SecretString> {
        let (tokens, is_stale) = self.open(&core.vault).await?;
        let is_stale = is_stale && !self.is_leased(core.clock.now());
        if is_stale && let Err(CommitError::Failed(error)) = self.seal_anew(core, &tokens).await {
            tracing::warn!(error = %chain(&error), "an OAuth session stays sealed under a previous root key");
        }
        Ok(SecretString::from(tokens.access_token.as_str()))
    }

    async fn seal_anew(&self, core: &Core, tokens: &Tokens) -> Result<(), CommitError> {
        let key = Key::session(self.user_id, &self.server_id);
        let mut session = self.value.clone();
        session.tokens = seal(&core.vault.sealer(&key).await?, tokens)?;
        let mut change = Change::new();
        change.replace(key, &session, self.rev)?;
        core.table.commit(change).await
    }
}

fn seal(sealer: &Sealer, tokens: &Tokens) -> Result<Sealed> {
    let plain = Zeroizing::new(serde_json::to_vec(tokens).map_err(Error::internal)?);
    sealer.seal(&plain)
}

/// The result of a refresh.
#[derive(Debug)]
pub(crate) struct NewTokens {
    /// The name of the new tokens.
    pub(crate) id: Uuid,
    pub(crate) access_token: SecretString,
    pub(crate) refresh_token: SecretString,
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

/// What a provider is to forget (RFC 7009 section 2.1), and its kind: the refresh token, with which the access token goes,
/// or the access token if there is no other.
pub(crate) type ToRevoke = (SecretString, &'static str);

impl NewSession {
    pub(crate) fn token_to_revoke(&self) -> ToRevoke {
        match &self.refresh_token {
            Some(token) => (token.clone(), "refresh_token"),
            None => (self.access_token.clone(), "access_token"),
        }
    }
}

/// Stores an active user's session at a server. Replaces an existing one.
pub async fn store(core: &Core, user: UserId, server: &Server, new: NewSession) -> Result<Session> {
    let sealer = core.vault.sealer(&Key::session(user, &server.id)).await?;
    let stored =
        store_with(&core.task_context(), user, server, new, &sealer, None, |user| user.active).await?;
    stored.ok_or_else(|| Error::invalid("A deactivated user cannot be connected"))
}

/// [`store`] with an existing data key, and with an audit event in the same transaction. A provider gives its
/// answer only once, so this tries for a long time. `None`: the user is not, or is no more, one for whom `may` lets it
/// be stored. They are judged as they are when it is stored.
pub(crate) async fn store_with(
    context: &TaskContext,
    user: UserId,
    server: &Server,
    new: NewSession,
    sealer: &Sealer,
    event: Option<&Event>,
    may: impl Fn(&User) -> bool + Send + Sync,
) -> Result<Option<Session>> {
    let NewSession { access_token, refresh_token, issued_at, expires_at, scope, provider } = new;
    let tokens = Tokens {
        access_token: access_token.expose_secret().to_owned(),
        refresh_token: refresh_token.map(|token| token.expose_secret().to_owned()),
    };
    let session = Session {
        user_id: user,
        server_id: server.id.clone(),
        connection_id: context.random.uuid()?,
        resource: server.url.clone(),
        tokens: seal(sealer, &tokens)?,
        tokens_id: context.random.uuid()?,
        renewable: tokens.refresh_token.is_some() && provider.is_some(),
        provider,
        issued_at,
        expires_at,
        scope,
        connected_at: context.clock.now(),
        lease: None,
        in_doubt: false,
        retry_at: None,
        rejected_at: None,
        ended: None,
        ended_because: None,
    };
    let stored = timeout(STORE_WITHIN, async {
        loop {
            match replace_with(context, &session, event, &may).await {
                Ok(is_stored) => return Ok(is_stored),
                Err(CommitError::ConditionFailed) => {}
                Err(CommitError::Failed(error @ (Error::Unavailable { .. } | Error::Undecided { .. }))) => {
                    tracing::warn!(error = %chain(&error), "an OAuth session could not be stored; it is tried again");
                }
                Err(CommitError::Failed(error)) => return Err(error),
            }
            sleep(pause(&context.random)?).await;
        }
    });
    let is_stored = stored.await.unwrap_or_else(|_| {
        Err(Error::unavailable("an OAuth session could not be stored for too long").undecided())
    })?;
    Ok(is_stored.then_some(session))
}

/// One attempt to store a session, in place of an existing one. `false` if the user may not have it.
async fn replace_with(
    context: &TaskContext,
    session: &Session,
    event: Option<&Event>,
    may: impl Fn(&User) -> bool,
) -> Result<bool, CommitError> {
    let (key, user_key) = (session.key(), Key::user(session.user_id));
    let mut found = context.table.read(vec![key.clone(), user_key.clone()]).await?;
    let was = found.take::<Session>(&key)?;
    // Written by an earlier attempt, whose answer was lost.
    if was.as_ref().is_some_and(|was| was.has_tokens_of(session)) {
        return Ok(true);
    }
    let Some(user) = found.take::<User>(&user_key)?.filter(|user| may(user)) else { return Ok(false) };
    let mut change = Change::new();
    change.require(&user_key, user.rev)?.write(key, session, was.as_ref())?;
    session.add_entry(&mut change)?;
    if let Some(event) = event {
        let before = was.as_ref().map(|was| was.recorded());
        change.record(&event.clone().changed(&before, &session.recorded())?)?;
    }
    context.table.commit(change).await?;
    Ok(true)
}

/// The caller's own session at a server.
pub async fn get(core: &Core, caller: &UserCaller, server: &ServerId) -> Result<Stored<Session>> {
    core.table.read_one(Key::session(caller.user.id, server)).await?.ok_or(Error::NotFound(CONNECTION))
}
