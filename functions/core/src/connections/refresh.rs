//! New tokens for old.
//!
//! A provider that rotates refresh tokens takes each once, and ends the whole session if it sees one again.
//! So one caller at a time asks, across all processes: who holds the *lease*, which is taken by a conditional
//! write to the session. Others go on with the old access token while it lasts, and then wait for the
//! winner's result.
//!
//! | when | what is there | what follows |
//! | --- | --- | --- |
//! | the winner dies before the provider was asked | its lease | the next caller takes over when it ends |
//! | … after the provider consumed the token | its lease | the next one is refused, and the error says why |
//! | the provider is down | the session as it was | 503, and nobody asks it for moments |
//! | the provider refuses the token | the session, ended | 401 until its owner connects again |
//! | the store is down when the result comes | its lease | it is tried for as long as the lease lasts |

use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    provider::{self, Exchange, Granted, NotGranted},
    registration::{self, Registration},
};
use crate::{
    Core,
    audit::{Action, Event, Request},
    clock::Timestamp,
    error::{Error, Result},
    servers::Server,
    sessions::{Ended, Lease, NewTokens, Session, Standing},
    table::{Attempt, Change, Key, Stored},
};

/// How long a lease lasts. Longer than the provider is waited for and the result is then tried to be stored,
/// so that nobody else uses the refresh token meanwhile.
const LEASE: Duration = Duration::from_secs(15);
/// How long the winner tries to store what it got.
const STORE_WITHIN: Duration = Duration::from_secs(5);
/// How long others wait for the winner, or for its lease to end and their own refresh.
const WAIT: Duration = Duration::from_secs(24);
/// How long a provider that could not be asked is left alone.
const BACK_OFF: Duration = Duration::from_secs(2);
/// A server that refuses a token, and then the one that was got in its place, has another reason than the
/// token's age: it is not refreshed for again before this.
const REJECTED_AGAIN: Duration = Duration::from_secs(60);

/// Why new tokens are wanted.
pub(crate) enum Need<'a> {
    /// The access token must be good now.
    Good,
    /// The server has just refused the access token of this session, as it was read then.
    Other { than: &'a Session },
}

impl Need<'_> {
    fn standing(&self, session: &Session, core: &Core) -> Standing {
        match self {
            Self::Other { than } if session.has_tokens_of(than) => Standing::Over,
            _ => session.standing(core.clock.now()),
        }
    }
}

/// The session with an access token that can be used.
pub(crate) async fn fresh(
    core: &Core,
    request: &Request,
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
    let me = core.random.uuid()?;
    let started = Instant::now();
    loop {
        session.check(server, core.clock.now())?;
        let standing = need.standing(&session, core);
        if standing == Standing::Good || !session.renewable {
            return Ok(session);
        }
        let now = core.clock.now();
        let held_by = session.lease.as_ref().filter(|lease| lease.until > now).map(|lease| lease.holder);
        let left_alone = session.retry_at.is_some_and(|at| at > now);
        match held_by {
            Some(holder) if holder == me => {
                let rejected = matches!(need, Need::Other { .. }).then_some(now);
                return refresh(core, request, server, session, standing, rejected).await;
            }
            // What still works is used while somebody renews it, or cannot.
            _ if standing == Standing::Ending && (held_by.is_some() || left_alone) => return Ok(session),
            None if left_alone => return Err(provider_down("it could not be asked moments ago")),
            None => {
                if let Some(held) = acquire(core, &key, &session, me).await? {
                    session = held;
                    continue;
                }
            }
            Some(_) => {}
        }
        if started.elapsed() > WAIT {
            return Err(Error::unavailable("an OAuth session is being refreshed for too long"));
        }
        sleep(pause(core)?).await;
        session = core.table.read_one(key.clone()).await?.ok_or(Error::SessionNotFound)?;
    }
}

/// 30 to 157 ms.
fn pause(core: &Core) -> Result<Duration> {
    let [jitter] = core.random.bytes::<1>()?;
    Ok(Duration::from_millis(30 + u64::from(jitter) / 2))
}

/// Tries to get the lease. `None`: somebody else was faster, or it is not known; reading again will tell.
async fn acquire(core: &Core, key: &Key, was: &Stored<Session>, me: Uuid) -> Result<Option<Stored<Session>>> {
    let mut held = was.value.clone();
    // A lease that ended on its own: nobody knows how far its holder came.
    held.in_doubt |= held.lease.is_some();
    held.lease = Some(Lease { holder: me, until: core.clock.now().plus(LEASE) });
    held.retry_at = None;
    let mut change = Change::new();
    change.replace(key.clone(), &held, was.rev)?;
    match core.table.commit(change).await {
        Ok(()) => Ok(Some(Stored { rev: was.rev + 1, value: held })),
        Err(Attempt::Raced | Attempt::Failed(Error::Undecided { .. })) => Ok(None),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

/// Asks the provider, by whoever holds the lease.
async fn refresh(
    core: &Core,
    request: &Request,
    server: &Server,
    held: Stored<Session>,
    standing: Standing,
    rejected_at: Option<Timestamp>,
) -> Result<Stored<Session>> {
    let asked = match ask(core, server, &held).await {
        Ok(asked) => asked,
        Err(error) => {
            // The provider was not asked: let others try.
            give_back(core, &held, held.in_doubt, None).await;
            return Err(error);
        }
    };
    match asked {
        Ok(granted) => {
            let now = core.clock.now();
            let new = NewTokens {
                access_token: &granted.access_token,
                refresh_token: granted.refresh_token.as_ref(),
                issued_at: now,
                expires_at: granted.expires_in.map(|lifetime| now.plus(lifetime)),
                scope: granted.scope.clone(),
                rejected_at,
            };
            let renewed = held.renewed(core, new).await?;
            let event = event(core, request, &held)?;
            keep(core, held, renewed, &event).await
        }
        Err(NotGranted::InvalidGrant) => {
            let ended = if held.in_doubt { Ended::Interrupted } else { Ended::Refused };
            let mut over = held.value.clone();
            (over.lease, over.ended) = (None, Some(ended));
            let event =
                event(core, request, &held)?.failed("The authorization server refused the refresh token");
            let kept = keep(core, held, over, &event).await?;
            kept.check(server, core.clock.now())?;
            Ok(kept)
        }
        Err(NotGranted::Down { why, reached, .. }) => {
            give_back(core, &held, held.in_doubt || reached, Some(core.clock.now().plus(BACK_OFF))).await;
            // What still works is used.
            if standing == Standing::Ending { Ok(held) } else { Err(provider_down(&why)) }
        }
        Err(refusal) => {
            give_back(core, &held, held.in_doubt, Some(core.clock.now().plus(BACK_OFF))).await;
            if standing == Standing::Ending {
                return Ok(held);
            }
            let why = match refusal {
                NotGranted::Refused(why) => why,
                _ => "it does not know this service as a client; the session's owner must connect again, or an \
                      admin correct oauth_client"
                    .to_owned(),
            };
            Err(super::discovery::bad(format!(
                "The authorization server refused to renew the session: {why}"
            )))
        }
    }
}

/// The outer error: the provider was not asked.
async fn ask(core: &Core, server: &Server, held: &Stored<Session>) -> Result<Result<Granted, NotGranted>> {
    let from = held.provider.as_ref().ok_or(Error::SessionExpired)?;
    let key = Registration::key(&server.id, &from.issuer);
    let registration = core.table.read_one::<Registration>(key).await?;
    // A refresh token is bound to its client (RFC 6749 section 6): another one cannot use it.
    let registration = registration.filter(|registration| registration.client_id == from.client_id);
    let Some(registration) = registration else { return Ok(Err(NotGranted::InvalidGrant)) };
    let client = registration.client(core, server).await?;
    let token = held.refresh_token(core).await?;
    let grant = Exchange::Refresh { token: token.expose_secret() };
    let endpoint = &registration.provider.token_endpoint;
    let asked = provider::ask_for_tokens(&core.http, endpoint, &client, &from.resource, grant).await;
    if let Err(NotGranted::InvalidClient) = &asked {
        registration::forget(core, &server.id, &registration).await?;
    }
    Ok(asked)
}

/// Stores what came of a refresh. What the provider gave cannot be had again, so this does not give up easily.
async fn keep(core: &Core, held: Stored<Session>, result: Session, event: &Event) -> Result<Stored<Session>> {
    let key = Key::session(held.user_id, &held.server_id);
    let started = Instant::now();
    loop {
        let mut change = Change::new();
        change.replace(key.clone(), &result, held.rev)?.record(event)?;
        let error = match core.table.commit(change).await {
            Ok(()) => return Ok(Stored { rev: held.rev + 1, value: result }),
            Err(Attempt::Raced) => {
                // Ours of an earlier attempt whose answer was lost; else a new connection, which counts.
                return core.table.read_one(key).await?.ok_or(Error::SessionNotFound);
            }
            Err(Attempt::Failed(error)) => error,
        };
        if started.elapsed() > STORE_WITHIN {
            let (user, server) = (held.user_id, &held.server_id);
            tracing::error!(%user, %server, %error, "a refreshed OAuth session could not be stored");
            return Err(error);
        }
        sleep(pause(core)?).await;
    }
}

/// Gives the lease back with nothing gained. If that fails, it ends by itself.
async fn give_back(core: &Core, held: &Stored<Session>, in_doubt: bool, retry_at: Option<Timestamp>) {
    let key = Key::session(held.user_id, &held.server_id);
    let mut session = held.value.clone();
    (session.lease, session.in_doubt, session.retry_at) = (None, in_doubt, retry_at);
    let mut change = Change::new();
    let written = match change.replace(key, &session, held.rev) {
        Ok(_) => core.table.commit(change).await,
        Err(error) => Err(error.into()),
    };
    if let Err(Attempt::Failed(error)) = written {
        tracing::warn!(%error, "the lease on an OAuth session was not given back; it ends by itself");
    }
}

fn event(core: &Core, request: &Request, held: &Session) -> Result<Event> {
    let event = Event::new(core, request, Action::ConnectionRefresh)?;
    let event = Event { user_id: Some(held.user_id), ..event };
    Ok(event.server(held.server_id.clone()).about("connection", &held.server_id))
}

fn provider_down(why: &str) -> Error {
    Error::ProviderUnavailable { retry_after: BACK_OFF, why: why.to_owned() }
}
