//! New tokens for old ones.
//!
//! A provider that rotates refresh tokens accepts each once, and ends the whole session if it sees one again. So one
//! caller at a time refreshes, across all processes: the holder of the *lease*, which is taken by a conditional write
//! to the session ([`super::lease`]). Other callers use the old access token while it lasts. Then they look for the
//! result every 30 to 157 ms, for at most 33 s.
//!
//! A session is refreshed in the last minute of its access token, or in the last quarter of a shorter life. It is also
//! refreshed when the server refuses the token before its time, once a minute at most.
//!
//! | when | what is there | what follows |
//! | --- | --- | --- |
//! | the holder dies before the provider was asked | the old tokens, its lease | the next caller refreshes when the lease ends, after 25 s |
//! | … after the provider consumed the token | the same | the next caller is refused; the 401 says that a refresh was interrupted, and the session has ended. **The user must connect again:** the new tokens are lost |
//! | the holder's caller closes the connection | its lease | the refresh goes on: it is a task of its own |
//! | the KMS is down | the session as it was | 503; the provider was not asked |
//! | the provider is down, or answers with anything but tokens or `invalid_grant` | the session as it was | 503, or the old token while it lasts; the provider is not asked for 2 s |
//! | the provider refuses the token | the session, ended | 401 until its owner connects again |
//! | our client there is another one now | the session as it was | 401; no request was made, and no secret was sent |
//! | the store is down when the result comes | its lease | it is tried for 6 s; then the new tokens are lost, and the log says whose |
//! | the session is written to meanwhile | its lease, and the same tokens | the result is written over that |
//! | … and it is another connection's now | that | the result is dropped |
//! | … and it is gone: the user has disconnected, or left | nothing | the provider is asked to revoke the result, which is dropped |
//!
//! If the provider did not answer, it may have consumed the token. That is noted in the session, so that a later
//! `invalid_grant` can be explained.

use std::time::Duration;

use futures::future::try_join3;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep, timeout};

use super::{
    begin::OFFLINE,
    known_providers::known_provider,
    lease::{ASK_WITHIN, LeaseHolder, REFRESH_WITHIN, WAIT, Written},
    our_client::{OurClient, our_client},
    registration::{self, Client},
    revoke,
    token_endpoint::{AuthorizationGrant, TokenRequest, ask_for_tokens},
    token_response::{IssuedTokens, TokenRequestError},
    union,
};
use crate::{
    Core,
    audit::{Action, Event, RequestContext},
    clock::Timestamp,
    error::{Cause, Error, Result, chain},
    servers::Server,
    sessions::{AccessTokenState, Ended, NewTokens, Session, pause},
    table::{Key, Stored},
    tasks::TaskContext,
    vault::Sealer,
};

/// How long a provider that could not be reached is not asked again.
const BACK_OFF: Duration = Duration::from_secs(2);
/// If a server refuses a token and then also its replacement, the reason is not the token's age. No refresh
/// follows for this long.
const REJECTED_AGAIN: Duration = Duration::from_secs(60);

/// Why new tokens are needed.
pub(crate) enum Need<'a> {
    /// The access token must be good now.
    Good,
    /// The server has just refused the access token of this session.
    Other { than: &'a Session },
}

impl Need<'_> {
    fn access_token_state(&self, session: &Session, core: &Core) -> AccessTokenState {
        match self {
            Self::Other { than } if session.has_tokens_of(than) => AccessTokenState::Over,
            _ => session.access_token_state(core.clock.now()),
        }
    }
}

/// The session with an access token that can be used.
pub(crate) async fn ensure_fresh(
    core: &Core,
    request: &RequestContext,
    server: &Server,
    mut session: Stored<Session>,
    need: Need<'_>,
) -> Result<Stored<Session>> {
    if let Need::Other { than } = need
        && session.has_tokens_of(than)
    {
        let again = than.rejected_at.is_some_and(|at| at.plus(REJECTED_AGAIN) > core.clock.now());
        if !session.renewable || again {
            return Err(Error::SessionExpired);
        }
    }
    let key = Key::session(session.user_id, &session.server_id);
    let holder = LeaseHolder { context: core.task_context(), key: key.clone(), id: core.random.uuid()? };
    let started = Instant::now();
    loop {
        let now = core.clock.now();
        session.check(server, now)?;
        let access_token_state = need.access_token_state(&session, core);
        if access_token_state == AccessTokenState::Good || !session.renewable {
            return Ok(session);
        }
        let held_by = session.lease.as_ref().filter(|lease| lease.until > now).map(|lease| lease.holder);
        let is_others = held_by.is_some_and(|by| by != holder.id);
        let left_alone = session.retry_at.is_some_and(|at| at > now);
        // An access token that still works is used while it is being renewed, or cannot be renewed.
        let works = access_token_state == AccessTokenState::Ending;
        if works && (is_others || left_alone || !is_time_for(REFRESH_WITHIN, request)) {
            return Ok(session);
        }
        if started.elapsed() > WAIT || !is_time_for(Duration::ZERO, request) {
            return Err(Error::unavailable("an OAuth session is being refreshed for too long"));
        }
        if !is_others {
            if left_alone {
                return Err(provider_down("it could not be asked moments ago"));
            }
            if !is_time_for(REFRESH_WITHIN, request) {
                return Err(Error::unavailable("the request has too little time left for a refresh"));
            }
            let refresh = Refresh {
                holder: holder.clone(),
                request: request.clone(),
                works,
                rejected_at: matches!(need, Need::Other { .. }).then_some(now),
            };
            let refreshed = async {
                // Before anything is written: a caller who finds that it is impossible delays no other
                // caller.
                our_client(&core.table, &session).await?;
                core.tasks.run("refreshing an OAuth session", refresh.run(session.clone())).await
            };
            // Boxed, since it is rare: every call's future would hold its state.
            match Box::pin(refreshed).await {
                Ok(Written::Done(session)) => {
                    session.check(server, core.clock.now())?;
                    return Ok(session);
                }
                Ok(Written::Overtaken(there)) => session = there.ok_or(Error::SessionNotFound)?,
                Err(Error::SessionOfOtherClient | Error::Unavailable { .. } | Error::Undecided { .. })
                    if works =>
                {
                    return Ok(session);
                }
                Err(error) => return Err(error),
            }
            // Another process has the lease, or the user has connected again. The next read shows it.
            continue;
        }
        sleep(pause(&core.random)?).await;
        session = core.table.read_one(key.clone()).await?.ok_or(Error::SessionNotFound)?;
    }
}

/// Whether the platform leaves a request this much time.
fn is_time_for(work: Duration, request: &RequestContext) -> bool {
    let now = std::time::Instant::now();
    request.work_until.is_none_or(|until| now.checked_add(work).is_some_and(|end| end <= until))
}

/// Everything for asking the provider and for storing its answer.
struct Ready {
    ours: OurClient,
    client: Client,
    token: SecretString,
    scope: Option<String>,
    sealer: Sealer,
}

/// A refresh, from taking the lease to storing the answer.
struct Refresh {
    holder: LeaseHolder,
    request: RequestContext,
    /// Whether the old access token can still be used.
    works: bool,
    /// When the server refused the access token, if that is the reason for the refresh.
    rejected_at: Option<Timestamp>,
}

impl Refresh {
    async fn run(self, was: Stored<Session>) -> Result<Written> {
        let held = match self.holder.take(was).await? {
            Written::Done(held) => held,
            overtaken @ Written::Overtaken(_) => return Ok(overtaken),
        };
        // The KMS is called now. After the provider's answer, only the store can fail.
        let ready = match self.ready(&held).await {
            Ok(ready) => ready,
            Err(error) => {
                self.holder.give_back(&held, held.in_doubt, None).await;
                return Err(error);
            }
        };
        match self.holder.in_time(held).await? {
            Written::Done(held) => self.exchange(held, ready).await,
            overtaken @ Written::Overtaken(_) => Ok(overtaken),
        }
    }

    async fn ready(&self, held: &Stored<Session>) -> Result<Ready> {
        let TaskContext { table, vault, .. } = &self.holder.context;
        // Read again after the lease was taken, since the request depends on it.
        let ours = our_client(table, held).await?;
        let client = ours.registration.client(vault, &ours.server);
        let (client, token, sealer) =
            try_join3(client, held.refresh_token(vault), vault.sealer(&self.holder.key)).await?;
        Ok(Ready { ours, client, token, scope: held.scope.clone(), sealer })
    }

    /// Asks the provider, and stores its answer.
    async fn exchange(&self, held: Stored<Session>, ready: Ready) -> Result<Written> {
        let context = &self.holder.context;
        match self.ask(&ready).await {
            Ok(granted) => {
                let now = context.clock.now();
                let new = NewTokens {
                    id: context.random.uuid()?,
                    access_token: granted.access_token,
                    // RFC 6749 section 6: if the answer has no refresh token, the old one stays good.
                    refresh_token: granted.refresh_token.unwrap_or_else(|| ready.token.clone()),
                    issued_at: now,
                    expires_at: granted.expires_in.map(|lifetime| now.plus(lifetime)),
                    scope: granted.scope,
                    rejected_at: self.rejected_at,
                };
                let renewed = |now: &Session| now.renewed(&ready.sealer, &new);
                let event = self.event(&held)?;
                let written = stored(&held, self.holder.exchange(&held, renewed, &event).await)?;
                // The user has disconnected meanwhile, or left. The provider was asked to forget the old tokens, but these
                // it has given since.
                if let Written::Overtaken(None) = &written {
                    let to_revoke = (new.refresh_token.clone(), "refresh_token");
                    let endpoint = ready.ours.revocation_endpoint();
                    let at_provider =
                        revoke::tokens(&*context.http, endpoint, &ready.client, &to_revoke).await;
                    let why = format!("The connection was ended while it was refreshed; {at_provider}");
                    context.table.append(&event.failed(why)).await.map_err(Error::undecided)?;
                }
                Ok(written)
            }
            Err(TokenRequestError::InvalidGrant(why)) => {
                let why = format!("The authorization server refused the refresh token: {why}");
                let event = self.event(&held)?.failed(why.clone());
                let over = |now: &Session| {
                    let mut over = now.clone();
                    let how = if now.in_doubt { Ended::Interrupted } else { Ended::Refused };
                    (over.lease, over.ended, over.ended_because) = (None, Some(how), Some(why.clone()));
                    Ok(over)
                };
                stored(&held, self.holder.end(&held, over, &event).await)
            }
            Err(refusal) => self.token_request_failed(held, &ready.ours, refusal).await,
        }
    }

    async fn ask(&self, ready: &Ready) -> Result<IssuedTokens, TokenRequestError> {
        let OurClient { from, registration, .. } = &ready.ours;
        let grant = AuthorizationGrant::Refresh { token: ready.token.expose_secret() };
        let wants_scope = known_provider(&from.issuer).is_some_and(|known| known.scope_on_refresh);
        let scope = union(&[ready.scope.as_deref(), Some(OFFLINE)]).filter(|_| wants_scope);
        let asked = TokenRequest {
            grant,
            resource: from.resource.as_deref(),
            scope: scope.as_deref(),
            assertion: None,
        };
        let endpoint = &registration.provider.token_endpoint;
        let asked = ask_for_tokens(&*self.holder.context.http, endpoint, &ready.client, asked);
        timeout(ASK_WITHIN, asked).await.unwrap_or_else(|_| Err(TokenRequestError::silent()))
    }

    /// Gives the lease back after a refusal or a missing answer. As far as is known, the session is as it was
    /// before.
    async fn token_request_failed(
        &self,
        held: Stored<Session>,
        ours: &OurClient,
        refusal: TokenRequestError,
    ) -> Result<Written> {
        if let TokenRequestError::InvalidClient(_) = refusal {
            let OurClient { server, registration, .. } = ours;
            registration::forget(&self.holder.context.table, &server.id, registration).await;
        }
        let in_doubt = held.in_doubt || matches!(refusal, TokenRequestError::Down { reached: true, .. });
        let retry_at = self.holder.context.clock.now().plus(BACK_OFF);
        self.holder.give_back(&held, in_doubt, Some(retry_at)).await;
        if self.works {
            return Ok(Written::Done(held));
        }
        let why = match refusal {
            TokenRequestError::Down { why, .. } => return Err(provider_down(why)),
            TokenRequestError::Refused(why) | TokenRequestError::InvalidGrant(why) => why,
            TokenRequestError::InvalidClient(why) => format!(
                "it does not know this service as a client ({why}); the session's owner must connect again, or an \
                 admin correct oauth_client"
            ),
        };
        Err(super::metadata::bad(format!("The authorization server refused to renew the session: {why}")))
    }

    fn event(&self, held: &Session) -> Result<Event> {
        let context = &self.holder.context;
        let event = Event::of(&context.clock, &context.random, &self.request, Action::ConnectionRefresh)?;
        let event = Event { user_id: Some(held.user_id), ..event };
        Ok(event.server(held.server_id.clone()).about("connection", &held.server_id))
    }
}

/// Logs that new tokens could not be stored. They are lost.
fn stored(held: &Session, written: Result<Written>) -> Result<Written> {
    if let Err(error) = &written {
        let (user, server) = (held.user_id, &held.server_id);
        tracing::error!(%user, %server, error = %chain(error), "a refreshed OAuth session could not be stored");
    }
    written
}

fn provider_down(why: impl Into<Cause>) -> Error {
    Error::ProviderUnavailable { retry_after: BACK_OFF, cause: why.into() }
}
