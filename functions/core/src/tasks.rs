//! Work that is finished even if its caller goes away.
//!
//! A handler is dropped when its connection breaks. A refresh, a code's exchange and a registration must not be dropped
//! with it: they have used up something at an authorization server, and have yet to store what they got for it. So each
//! is a task of its own, from the lease (the `state`, the request) to the store, and its handler waits for it.
//!
//! A local server that ends waits for such tasks, for 23 s. On Lambda an invocation waits for them, as far as its time
//! goes. A task that does not end stands still with its process, and the lease covers that.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::watch;
use tracing::Instrument;

use crate::{
    Core,
    clock::{Clock, Random},
    error::{Error, Result, because},
    network::Http,
    table::Table,
    vault::Vault,
};

/// The tasks under way in this process, counted.
#[derive(Debug)]
pub(crate) struct Tasks(watch::Sender<usize>);

impl Default for Tasks {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// A task that is under way. Dropping it ends it.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Tasks {
    /// Runs `work` to its end, whether or not its caller waits. `what` is its name in errors. It runs in the
    /// caller's span. If it panics, that is logged, and the caller gets an internal error.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let under_way = UnderWay::begin(&self.0);
        let work = async move {
            let _under_way = under_way;
            let done = AssertUnwindSafe(work).catch_unwind().await;
            done.unwrap_or_else(|_| {
                // Logged here, since the caller may be gone.
                tracing::error!("{what} panicked");
                Err(Error::internal(format!("{what} panicked")))
            })
        };
        let task = tokio::spawn(work.in_current_span());
        // Else the runtime is being shut down.
        task.await.unwrap_or_else(|gone| Err(Error::internal(because(format!("{what} was cancelled"), gone))))
    }

    /// Begins `work` without waiting for it.
    fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime, the process is shutting down.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let under_way = UnderWay::begin(&self.0);
        runtime.spawn(
            async move {
                let _under_way = under_way;
                work.await;
            }
            .in_current_span(),
        );
    }

    /// Waits until no task is under way, or for `within`. Then the answer is `false`.
    async fn ended(&self, within: Duration) -> bool {
        let mut count = self.0.subscribe();
        tokio::time::timeout(within, count.wait_for(|count| *count == 0)).await.is_ok()
    }
}

/// What such work needs of a core, which belongs to its request.
#[derive(Clone, Debug)]
pub(crate) struct TaskContext {
    pub(crate) table: Table,
    pub(crate) vault: Vault,
    pub(crate) http: Arc<dyn Http>,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl Core {
    pub(crate) fn task_context(&self) -> TaskContext {
        TaskContext {
            table: self.table.clone(),
            vault: self.vault.clone(),
            http: Arc::clone(&self.http),
            clock: self.clock.clone(),
            random: self.random.clone(),
        }
    }

    /// Begins `work` that must run to its end without anyone waiting for it, such as storing the event of an
    /// interrupted call.
    pub fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.detach(work);
    }

    /// Waits until no such work is under way, such as a refresh whose caller has disconnected. For a process
    /// that is about to end or to be frozen, and accepts no requests in the meantime. `false` if work is
    /// still under way after `within`.
    pub async fn tasks_ended(&self, within: Duration) -> bool {
        self.tasks.ended(within).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_ends_though_its_caller_goes_away() {
        let tasks = Tasks::default();
        let (go, going) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel();
        let mut caller = Box::pin(tasks.run("the work", async move {
            going.await.unwrap();
            done.send("done").unwrap();
            Ok(())
        }));
        assert!(futures::poll!(&mut caller).is_pending());
        drop(caller);
        assert!(!tasks.ended(Duration::ZERO).await);
        assert!(is_done.try_recv().is_err());
        go.send(()).unwrap();
        assert!(tasks.ended(Duration::MAX).await);
        assert_eq!(is_done.try_recv(), Ok("done"));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_waited_for_before_a_process_ends() {
        let tasks = Tasks::default();
        let (go, begin) = oneshot::channel::<()>();
        tasks.detach(async move { drop(begin.await) });
        assert!(!tasks.ended(Duration::ZERO).await);
        go.send(()).unwrap();
        assert!(tasks.ended(Duration::MAX).await);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_internal_error_to_its_caller() {
        let tasks = Tasks::default();
        let done = tasks.run::<()>("the work", async { panic!("a secret") }).await;
        assert!(
            matches!(&done, Err(Error::Internal(why)) if why.to_string() == "the work panicked"),
            "{done:?}"
        );
        assert!(tasks.ended(Duration::ZERO).await);
    }
}
