//! Somebody leaves: everything that they had here ends, and what they owned goes to somebody else or is stopped.
//!
//! **First they are deactivated.** From then on nothing goes on for them: no credential of theirs is taken, no agent acts
//! for them, and no app. All of that rests on their epoch, which has ended, so it does not come back if they do. What
//! follows removes it for good, and does what an epoch cannot:
//!
//! 1. The agent accounts that they own: one for which another active owner answers loses this one, and the others go to
//!    the successor, or are stopped.
//! 2. Their connections, which are revoked at the provider where it offers that.
//! 3. Session grants, delegations, what they allowed apps, refresh tokens, API keys, browser sessions.
//!
//! **It can be called again, and then goes on.** No state of it is kept. What is left to do is what is still there: each
//! step is one transaction of a few things, with their audit events, conditional on what was read. So a crash between any
//! two steps, a retry and a second admin leave nothing half done. A request works for [`WORKS_FOR`], or for as long as its
//! platform lets it, and says whether it came to the end.
//!
//! A grant that was given before there were entries of grants by user is in no list. It has ended with the epoch, like all
//! others.

mod steps;

use std::time::{Duration, Instant};

use crate::{
    Core,
    audit::{Action, RequestContext},
    caller::{Power, UserCaller},
    error::{Error, Result},
    ids::UserId,
    listed::{relist, tidy},
    table::{Key, retry_on_conflict},
    users::{self, User},
};

/// How long one request works on it. What is left then is for the next.
pub const WORKS_FOR: Duration = Duration::from_secs(15);
/// How long one step may take: a provider that is silent, and a transaction.
const LONGEST_STEP: Duration = Duration::from_secs(9);
/// How many of each kind a report names.
pub const LISTED: usize = 100;

/// What is to become of the agent accounts that nobody else answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentsGo {
    /// They are stopped. Only an admin can let them go on.
    Stop,
    /// They go to the successor.
    Give,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Offboarding {
    /// Only says what would be done.
    pub dry_run: bool,
    /// Required unless it is a dry run.
    pub agents: Option<AgentsGo>,
    pub successor: Option<UserId>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is over.
    Ended,
    /// A connection: over here, and revoked at the provider.
    Revoked,
    /// A connection: over here. The provider has not revoked it.
    NotRevoked,
    /// An agent account: the successor owns it.
    Given,
    /// An agent account: its other owners answer for it.
    Left,
    /// An agent account: nobody answers for it, and it is stopped.
    Stopped,
}

/// One of the things that a report names.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Its id. Of a connection, its server's.
    pub id: String,
    pub name: Option<String>,
    pub fate: Fate,
    /// More about it, for people.
    pub detail: Option<String>,
}

/// The things of one kind.
#[derive(Clone, Debug, Default)]
pub struct Things {
    /// How many this request has ended or given away, or would.
    pub count: usize,
    /// The first [`LISTED`] of them.
    pub first: Vec<Thing>,
}

impl Things {
    fn add(&mut self, things: impl IntoIterator<Item = Thing>) {
        for thing in things {
            self.count += 1;
            if self.first.len() < LISTED {
                self.first.push(thing);
            }
        }
    }
}

/// The kinds of things that somebody has here, in the order in which they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Agents,
    Connections,
    SessionGrants,
    Delegations,
    Authorizations,
    RefreshTokens,
    ApiKeys,
    BrowserSessions,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Agents,
        Self::Connections,
        Self::SessionGrants,
        Self::Delegations,
        Self::Authorizations,
        Self::RefreshTokens,
        Self::ApiKeys,
        Self::BrowserSessions,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Agents => "agent_accounts",
            Self::Connections => "connections",
            Self::SessionGrants => "session_grants",
            Self::Delegations => "delegations",
            Self::Authorizations => "authorizations",
            Self::RefreshTokens => "refresh_tokens",
            Self::ApiKeys => "api_keys",
            Self::BrowserSessions => "browser_sessions",
        }
    }
}

/// What one request did, or would do.
#[derive(Debug)]
pub struct Report {
    pub user: UserId,
    pub dry_run: bool,
    /// Whether the user is deactivated by this request, or would be.
    pub deactivated: bool,
    /// In the order of [`Kind::ALL`].
    pub things: Vec<(Kind, Things)>,
    /// The kinds of which there may be more. Empty if all is done.
    pub unfinished: Vec<Kind>,
}

/// What a request works with.
struct Work<'a> {
    core: &'a Core,
    caller: &'a UserCaller,
    request: &'a RequestContext,
    user: UserId,
    dry_run: bool,
    successor: Option<UserId>,
    until: Instant,
}

impl Work<'_> {
    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Ends everything that a user has here, or goes on with that. Admins only, and nobody does it to themselves.
pub async fn offboard(
    core: &Core,
    caller: &UserCaller,
    request: &RequestContext,
    user: UserId,
    asked: Offboarding,
) -> Result<Report> {
    caller.require(Power::Manage)?;
    let Offboarding { dry_run, agents, successor } = asked;
    check(user, asked)?;
    if user == caller.user.id {
        return Err(Error::conflict("an admin cannot offboard themselves: another admin must do it"));
    }
    let leaver = users::get(core, user).await?.value;
    if let Some(successor) = successor {
        require_able(core, caller, successor).await?;
    }
    let now = Instant::now();
    let ends = request.work_until.and_then(|ends| ends.checked_sub(LONGEST_STEP));
    let until = now.checked_add(WORKS_FOR).into_iter().chain(ends).min().unwrap_or(now);
    let work = Work { core, caller, request, user, dry_run, successor, until };
    let deactivated = if dry_run { leaver.active } else { work.deactivate(agents).await? };
    let (mut things, mut unfinished) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let mut of_kind = Things::default();
        if !(work.has_time() && Box::pin(work.end(kind, &mut of_kind)).await?) {
            unfinished.push(kind);
        }
        things.push((kind, of_kind));
    }
    Ok(Report { user, dry_run, deactivated, things, unfinished })
}

/// Refuses what cannot be meant.
fn check(user: UserId, asked: Offboarding) -> Result<()> {
    let refused = match (asked.agents, asked.successor) {
        (Some(AgentsGo::Give), None) => "successor_user_id: name the user who gets the agent accounts",
        (None | Some(AgentsGo::Stop), Some(_)) => "successor_user_id: only with \"agents\": \"give\"",
        (None, None) if !asked.dry_run => {
            "agents: say what becomes of the agent accounts that nobody else answers for: \"give\" or \"stop\""
        }
        (_, Some(successor)) if successor == user => "successor_user_id: must be another user",
        _ => return Ok(()),
    };
    Err(Error::invalid(refused))
}

async fn require_able(core: &Core, caller: &UserCaller, successor: UserId) -> Result<()> {
    match users::looked_at(core, caller, successor).await? {
        None => Err(Error::invalid("successor_user_id: no such user")),
        Some(successor) if !successor.active => {
            Err(Error::invalid("successor_user_id: the user is deactivated"))
        }
        Some(_) => Ok(()),
    }
}

impl Work<'_> {
    /// `false` if they are deactivated already.
    async fn deactivate(&self, agents: Option<AgentsGo>) -> Result<bool> {
        let Self { core, caller, request, user: id, .. } = *self;
        retry_on_conflict(|| async {
            let was = users::get(core, id).await?;
            if !was.active {
                return Ok(false);
            }
            let now = core.clock.now();
            let mut user = User { updated_at: now, ..was.value.clone() };
            user.set_active(false, self.caller.stops_as(), now);
            let becomes = match (agents, self.successor) {
                (Some(AgentsGo::Give), Some(successor)) => format!("agents: give to {successor}"),
                _ => "agents: stop".to_owned(),
            };
            let event = caller.event(core, request, Action::UserOffboard)?.about("user", id).note(becomes);
            let mut change = caller.change()?;
            let event = event.changed(&was.recorded(), &user.recorded())?;
            change.replace(Key::user(id), &user, was.rev)?.record(&event)?;
            let left = relist(&mut change, Some(&was.value), Some(&user))?;
            core.table.commit(change).await?;
            tidy(&core.table, &Key::user(id), was.rev + 1, &left).await;
            Ok(true)
        })
        .await
    }
}
