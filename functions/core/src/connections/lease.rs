//! The lease on a session: for how long, and what its holder writes under it.
//!
//! Only the holder of the lease uses the refresh token. So a lease must last longer than all that its holder does. All
//! times are here, and they add up here to 25 s:
//!
//! | time | for |
//! | --- | --- |
//! | 9 s | writing the lease, reading which client we are, and getting data keys |
//! | 8 s | the provider |
//! | 6 s | storing its answer |
//! | 2 s | the difference between two clocks |
//!
//! The provider is asked only while the last three fit into what is left ([`fits`]). Otherwise the lease is renewed
//! first, or, if that fails, given up. The KMS is asked before the provider, also for the key that seals the new
//! tokens. So after the answer only the store can fail.
//!
//! **A conflict is resolved by the item, not by the fact that there was one.** A failed write does not say which writer
//! was faster; the item that is there now does. If it still has the tokens that were exchanged, and our lease, the new
//! tokens are written over its present state. Other callers may have written to it in between, any number of times.
//! Another process may have sealed it under another root key, or the store's transactions may have met. No process
//! seals tokens anew while they are being renewed.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    audit::Event,
    clock::Timestamp,
    error::{Error, Result, chain},
    sessions::{Lease, STORE_WITHIN, Session, pause},
    table::{Change, CommitError, Key, Stored},
    tasks::TaskContext,
};

/// Writing the lease, reading which client we are, and getting data keys: three round trips of at most 3 s
/// each. If it takes longer, the lease is renewed before the provider is asked.
const PREPARE_WITHIN: Duration = Duration::from_secs(9);
/// How long a token endpoint may take to answer, in all.
pub const ASK_WITHIN: Duration = Duration::from_secs(8);
/// How far the clocks of two processes of a deployment may be apart.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// How much of the lease must be left when the provider is asked.
const FROM_ASKING: Duration = ASK_WITHIN.saturating_add(STORE_WITHIN).saturating_add(CLOCKS_DIFFER);
/// How long a lease lasts.
pub(super) const LEASE: Duration = PREPARE_WITHIN.saturating_add(FROM_ASKING);
/// How long other callers wait: for the holder, or until its lease ends and another holder has an answer.
pub(super) const WAIT: Duration = LEASE.saturating_add(ASK_WITHIN);
/// How long a refresh may take, from taking the lease to storing the answer. A request that has less time
/// left begins none.
pub const REFRESH_WITHIN: Duration = PREPARE_WITHIN.saturating_add(ASK_WITHIN).saturating_add(STORE_WITHIN);

const _: () = assert!(LEASE.as_millis() >= REFRESH_WITHIN.as_millis() + CLOCKS_DIFFER.as_millis());
const _: () = assert!(WAIT.as_millis() > LEASE.as_millis());

/// Whether the remaining work ends before others may take the lease.
fn fits(until: Timestamp, now: Timestamp) -> bool {
    now.plus(FROM_ASKING) <= until
}

/// What became of a write.
pub(super) enum Written {
    Done(Stored<Session>),
    /// The item is no longer as the holder had it. This is the present one, if there is one.
    Overtaken(Option<Stored<Session>>),
}

/// A process that refreshes a session.
#[derive(Clone, Debug)]
pub(super) struct LeaseHolder {
    pub(super) context: TaskContext,
    pub(super) key: Key,
    /// The id of its lease.
    pub(super) id: Uuid,
}

impl LeaseHolder {
    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    fn holds(&self, session: &Session) -> bool {
        session.lease.as_ref().is_some_and(|lease| lease.holder == self.id)
    }

    fn lease(&self) -> Lease {
        Lease { holder: self.id, until: self.now().plus(LEASE) }
    }

    /// Tries to take the lease.
    pub(super) async fn take(&self, was: Stored<Session>) -> Result<Written> {
        if self.holds(&was) {
            return Ok(Written::Done(was));
        }
        let mut held = was.value.clone();
        // The lease before this one ran out, so it is not known how far its holder came.
        held.in_doubt |= held.lease.is_some();
        held.lease = Some(self.lease());
        held.retry_at = None;
        let mut change = Change::new();
        change.replace(self.key.clone(), &held, was.rev)?;
        match self.context.table.commit(change).await {
            Ok(()) => Ok(Written::Done(Stored { rev: was.rev + 1, value: held })),
            Err(CommitError::ConditionFailed | CommitError::Failed(Error::Undecided { .. })) => {
                // The faster process has only just begun, so there is nothing to read yet.
                sleep(pause(&self.context.random)?).await;
                let now = self.context.table.read_one::<Session>(self.key.clone()).await?;
                Ok(match now {
                    // Our own write, whose answer was lost.
                    Some(now) if self.holds(&now) => Written::Done(now),
                    now => Written::Overtaken(now),
                })
            }
            Err(CommitError::Failed(error)) => Err(error),
        }
    }

    /// Makes sure that the lease lasts while the provider is asked and its answer is stored.
    pub(super) async fn in_time(&self, held: Stored<Session>) -> Result<Written> {
        let fits = |session: &Session| {
            session.lease.as_ref().is_some_and(|lease| fits(lease.until, self.context.clock.now()))
        };
        if fits(&held) {
            return Ok(Written::Done(held));
        }
        let renewed = |now: &Session| {
            let mut held = now.clone();
            held.lease = Some(self.lease());
            Ok(held)
        };
        match self.once(&held, renewed).await? {
            Written::Done(held) if !fits(&held) => {
                self.give_back(&held, held.in_doubt, None).await;
                Err(Error::unavailable("the store is too slow for a refresh of an OAuth session"))
            }
            written => Ok(written),
        }
    }

    /// Gives the lease back without new tokens. If that fails, the lease ends by itself.
    pub(super) async fn give_back(
        &self,
        held: &Stored<Session>,
        in_doubt: bool,
        retry_at: Option<Timestamp>,
    ) {
        let free = |now: &Session| {
            let mut free = now.clone();
            (free.lease, free.in_doubt, free.retry_at) = (None, in_doubt, retry_at);
            Ok(free)
        };
        if let Err(error) = self.once(held, free).await {
            tracing::warn!(error = %chain(&error), "the lease on an OAuth session was not given back; it ends by itself");
        }
    }

    /// Writes the session that `change` makes, if it still has the same tokens and the lease is ours. After a
    /// failure of the store there is no second attempt, since nothing is lost.
    async fn once(
        &self,
        held: &Stored<Session>,
        change: impl Fn(&Session) -> Result<Session> + Send + Sync,
    ) -> Result<Written> {
        let ours = |now: &Session| now.has_tokens_of(held) && self.holds(now);
        self.write(held, ours, change, None).await
    }

    /// Ends the session as `change` says, if it still has the same tokens and the lease is ours.
    pub(super) async fn end(
        &self,
        held: &Stored<Session>,
        change: impl Fn(&Session) -> Result<Session> + Send + Sync,
        event: &Event,
    ) -> Result<Written> {
        let ours = |now: &Session| now.has_tokens_of(held) && self.holds(now);
        self.write(held, ours, change, Some(event)).await
    }

    /// Replaces the session's tokens with those that the provider gave for them. That is right whoever holds
    /// the lease by now, since the old tokens are used up.
    pub(super) async fn exchange(
        &self,
        held: &Stored<Session>,
        change: impl Fn(&Session) -> Result<Session> + Send + Sync,
        event: &Event,
    ) -> Result<Written> {
        self.write(held, |now| now.has_tokens_of(held), change, Some(event)).await
    }

    /// With an event, the write stores what a provider has said. Then it is repeated if the store fails.
    async fn write(
        &self,
        held: &Stored<Session>,
        is_open: impl Fn(&Session) -> bool + Send + Sync,
        change: impl Fn(&Session) -> Result<Session> + Send + Sync,
        event: Option<&Event>,
    ) -> Result<Written> {
        let written = timeout(STORE_WITHIN, async {
            let mut at = held.clone();
            loop {
                match self.attempt(&at, &change, event).await {
                    Ok(done) => return Ok(Written::Done(done)),
                    Err(CommitError::ConditionFailed) => {}
                    Err(CommitError::Failed(error)) if event.is_none() => return Err(error),
                    Err(CommitError::Failed(error)) => {
                        tracing::warn!(error = %chain(&error), "an OAuth session could not be written; it is tried again");
                    }
                }
                sleep(pause(&self.context.random)?).await;
                // That cannot be read either. Repeating the write at the same revision changes nothing twice.
                let Ok(now) = self.context.table.read_one::<Session>(self.key.clone()).await else {
                    continue;
                };
                match now {
                    Some(now) if is_open(&now) => at = now,
                    now => return Ok(Written::Overtaken(now)),
                }
            }
        });
        written.await.unwrap_or_else(|_| {
            Err(Error::unavailable("an OAuth session could not be written for too long").undecided())
        })
    }

    async fn attempt(
        &self,
        at: &Stored<Session>,
        change: &(impl Fn(&Session) -> Result<Session> + Send + Sync),
        event: Option<&Event>,
    ) -> Result<Stored<Session>, CommitError> {
        let session = change(at)?;
        let mut written = Change::new();
        written.replace(self.key.clone(), &session, at.rev)?;
        if let Some(event) = event {
            written.record(event)?;
        }
        self.context.table.commit(written).await?;
        Ok(Stored { rev: at.rev + 1, value: session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::timeouts;

    #[test]
    fn a_lease_covers_all_that_its_holder_does_and_what_is_documented() {
        // Round trips to the store and to a KMS have the same time limit.
        let round_trip = timeouts().operation_timeout().unwrap();
        assert!(PREPARE_WITHIN >= 3 * round_trip && STORE_WITHIN >= 2 * round_trip);
        assert_eq!([LEASE, WAIT, REFRESH_WITHIN].map(|time| time.as_secs()), [25, 33, 23]);
    }

    #[test]
    fn the_provider_is_asked_only_while_the_lease_lasts_for_its_answer_and_for_storing_it() {
        let taken = Timestamp::from_seconds(1_000_000);
        let until = taken.plus(LEASE);
        assert!(fits(until, taken));
        assert!(fits(until, taken.plus(PREPARE_WITHIN)));
        assert!(!fits(until, taken.plus(PREPARE_WITHIN).plus(Duration::from_millis(1))));
        assert!(!fits(until, until));
    }
}
