//! Ends sessions that are no longer kept
//! ([2025-11-25, session management](https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management)).
//!
//! A session that is kept for a stateless client can lose its place. Once no call uses it, it is then ended with
//! DELETE. On Lambda a process is frozen between two requests, so no task can wait for this. Instead the DELETE is sent
//! beside the next calls, which do not wait for it.
//!
//! The DELETE carries the credential that opened the session. If that credential has expired by then, the server ends
//! the session by itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::sync::Notify;

use super::Target;
use super::transport::Transport;

/// The most sessions that wait to be ended. Beyond this, the oldest are forgotten: their servers end them by
/// themselves.
const MAX_WAITING: usize = 100;
/// How long one DELETE may take.
const TIME_TO_END: Duration = Duration::from_secs(5);
/// How often a DELETE is tried, if the call beside it ends first each time.
const MAX_TRIES: u8 = 3;

/// A session to be ended.
struct ClosingSession {
    target: Target,
    session: HeaderMap,
    tries: u8,
}

/// The sessions to be ended.
#[derive(Default)]
pub(super) struct SessionCloser {
    waiting: Mutex<VecDeque<ClosingSession>>,
    more: Notify,
}

impl SessionCloser {
    pub(super) fn add(&self, target: Target, session: HeaderMap) {
        let mut waiting = self.waiting();
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(ClosingSession { target, session, tries: 0 });
        drop(waiting);
        self.more.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<ClosingSession>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, and meanwhile ends sessions.
    pub(super) async fn beside<T>(&self, transport: &Transport, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.say(transport) => match never {},
        }
    }

    /// Ends the sessions that wait for it now, one try each.
    pub(super) async fn end(&self, transport: &Transport) {
        let waiting = std::mem::take(&mut *self.waiting());
        for ClosingSession { target, session, .. } in waiting {
            let ended = transport.send(Method::DELETE, &target, session, None);
            tokio::time::timeout(TIME_TO_END, ended).await.ok();
        }
    }

    async fn say(&self, transport: &Transport) -> Infallible {
        loop {
            let next = self.waiting().pop_front();
            let Some(ending) = next else {
                self.more.notified().await;
                continue;
            };
            let mut unfinished = Unfinished { session_closer: self, ending: Some(ending) };
            if let Some(ClosingSession { target, session, .. }) = &unfinished.ending {
                // The server may not allow this, may have forgotten the session, or may be gone.
                let ended = transport.send(Method::DELETE, target, session.clone(), None);
                tokio::time::timeout(TIME_TO_END, ended).await.ok();
            }
            unfinished.ending = None;
        }
    }
}

/// Puts a session back into the queue if its DELETE was dropped before it finished.
struct Unfinished<'a> {
    session_closer: &'a SessionCloser,
    ending: Option<ClosingSession>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(mut ending) = self.ending.take() {
            ending.tries += 1;
            if ending.tries < MAX_TRIES {
                self.session_closer.waiting().push_front(ending);
            }
        }
    }
}
