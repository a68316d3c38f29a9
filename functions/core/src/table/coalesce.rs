//! Many callers' requests in one round trip.
//!
//! If a round trip is free, a request goes out at once, after the other requests that are ready now. So a lone request
//! (on Lambda) waits for nothing. Requests that come while the allowed number of round trips is under way share the
//! next one: up to 100 keys, or up to 25 items of audit events. A batch leaves only after all its requests have come. So a
//! strongly consistent read is as fresh for each of them as one of its own.
//!
//! The embedded engine answers one request at a time, so it gets one round trip at a time. AWS gets 32.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use crate::error::{Cause, Error, Result};

/// A kind of request of which several can share a round trip.
pub(super) trait Batch: Send + Sync + 'static {
    type Request: Send + 'static;
    type Answer: Send + 'static;

    /// The most weight of one round trip, in the unit of [`Self::weight`].
    const CAPACITY: usize;

    fn weight(request: &Self::Request) -> usize;

    /// One answer for each request, in order, or one failure for all.
    fn run(
        &self,
        requests: Vec<Self::Request>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Failure>> + Send;
}

/// A failure that several requests share.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The request was refused, and not carried out.
    Refused(SharedCause),
    /// Whether the request was carried out is unknown.
    Lost(SharedCause),
    Internal(SharedCause),
}

pub(super) type SharedCause = Arc<dyn StdError + Send + Sync>;

impl Failure {
    pub(super) fn refused(cause: impl Into<Cause>) -> Self {
        Self::Refused(cause.into().into())
    }

    pub(super) fn lost(cause: impl Into<Cause>) -> Self {
        Self::Lost(cause.into().into())
    }

    pub(super) fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into().into())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(cause) | Failure::Lost(cause) => Error::unavailable(cause),
            Failure::Internal(cause) => Error::internal(cause),
        }
    }
}

pub(super) struct Coalescer<B: Batch>(Arc<Shared<B>>);

struct Shared<B: Batch> {
    batch: B,
    at_once: usize,
    line: Mutex<Line<B>>,
}

/// Requests that share a round trip, and the receivers of their answers.
type Boarded<B> = (Vec<<B as Batch>::Request>, Vec<Answering<B>>);

/// The receiver of a request's answer.
type Answering<B> = oneshot::Sender<Result<<B as Batch>::Answer, Failure>>;

struct Line<B: Batch> {
    waiting: VecDeque<(B::Request, Answering<B>)>,
    under_way: usize,
}

impl<B: Batch> fmt::Debug for Coalescer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer").field("at_once", &self.0.at_once).finish_non_exhaustive()
    }
}

impl<B: Batch> Coalescer<B> {
    pub(super) fn new(batch: B, at_once: usize) -> Self {
        let line = Mutex::new(Line { waiting: VecDeque::new(), under_way: 0 });
        Self(Arc::new(Shared { batch, at_once, line }))
    }

    pub(super) async fn ask(&self, request: B::Request) -> Result<B::Answer> {
        let (sender, receiver) = oneshot::channel();
        let starts = {
            let mut line = self.0.line.lock().unwrap_or_else(PoisonError::into_inner);
            line.waiting.push_back((request, sender));
            let starts = line.under_way < self.0.at_once;
            line.under_way += usize::from(starts);
            starts
        };
        if starts {
            // A separate task: if the caller stops waiting, the other requests of the batch must go on.
            tokio::spawn(Arc::clone(&self.0).serve());
        }
        match receiver.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::internal("a batch ended without an answer")),
        }
    }
}

impl<B: Batch> Shared<B> {
    async fn serve(self: Arc<Self>) {
        loop {
            // First let every other ready task add its request. With an embedded store, which answers without
            // waiting, or on one core, no other task could otherwise join the batch.
            tokio::task::yield_now().await;
            let Some((requests, senders)) = self.next_batch() else { return };
            match self.batch.run(requests).await {
                Ok(answers) => {
                    for (sender, answer) in senders.into_iter().zip(answers) {
                        let _ = sender.send(Ok(answer));
                    }
                }
                Err(failure) => {
                    for sender in senders {
                        let _ = sender.send(Err(failure.clone()));
                    }
                }
            }
        }
    }

    /// The requests for the next round trip. `None` frees the place in the line.
    fn next_batch(&self) -> Option<Boarded<B>> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut weight = 0;
        let mut fit = 0;
        for (request, _) in &line.waiting {
            weight += B::weight(request);
            if fit > 0 && weight > B::CAPACITY {
                break;
            }
            fit += 1;
        }
        if fit == 0 {
            line.under_way -= 1;
            return None;
        }
        Some(line.waiting.drain(..fit).unzip())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Doubling(AtomicUsize, tokio::sync::Semaphore);

    impl Batch for Arc<Doubling> {
        type Request = u32;
        type Answer = u32;
        const CAPACITY: usize = 10;

        fn weight(_: &u32) -> usize {
            1
        }

        async fn run(&self, requests: Vec<u32>) -> Result<Vec<u32>, Failure> {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.acquire().await.unwrap().forget();
            if requests.contains(&13) {
                return Err(Failure::refused("13"));
            }
            Ok(requests.into_iter().map(|n| n * 2).collect())
        }
    }

    #[tokio::test]
    async fn requests_that_come_during_a_round_trip_share_the_next_one() {
        let doubling = Arc::new(Doubling(AtomicUsize::new(0), tokio::sync::Semaphore::new(0)));
        let coalescer = Arc::new(Coalescer::new(Arc::clone(&doubling), 1));
        let asks: Vec<_> = (0..11)
            .map(|n| {
                let coalescer = Arc::clone(&coalescer);
                tokio::spawn(async move { coalescer.ask(n).await.unwrap() })
            })
            .collect();
        while doubling.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        doubling.1.add_permits(2);
        for (n, ask) in asks.into_iter().enumerate() {
            assert_eq!(ask.await.unwrap(), u32::try_from(n).unwrap() * 2);
        }
        assert_eq!(doubling.0.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failed_round_trip_fails_its_requests_and_frees_the_line() {
        let doubling = Arc::new(Doubling(AtomicUsize::new(0), tokio::sync::Semaphore::new(9)));
        let coalescer = Coalescer::new(doubling, 1);
        assert!(matches!(coalescer.ask(13).await, Err(Error::Unavailable { .. })));
        assert_eq!(coalescer.ask(1).await.unwrap(), 2);
    }
}
