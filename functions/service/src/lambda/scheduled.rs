//! What a function does without a request: a rule of `EventBridge` invokes it, each hour (`infra`).
//!
//! **No request can be taken for that.** The rule sends a constant, `{"scheduled": "erase"}`, and an event that has
//! anything else is none of it. A gateway's event always has more (`requestContext`, `headers`). What a caller chooses,
//! such as a header or the body, is a text within that, and never a field beside it. Only who may invoke the function
//! can send another event, and nobody can do that over HTTP.
//!
//! Nobody waits for the answer. So work that fails is a function error, which other events never are here: Lambda counts
//! it in its metric `Errors`, for which there is an alarm, and invokes the function again, after one minute and after two
//! more ([asynchronous invocation](https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html)).
//! Lambda may also send such an event twice. So the work must be one that can be done again.

use std::{fmt, sync::Arc, time::Instant};

use deputize_core::{Core, Result};
use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json, value::RawValue};

type Work = dyn Fn(Arc<Core>, Option<Instant>) -> BoxFuture<'static, Result<Value>> + Send + Sync;

/// A function's work without a request.
pub struct Scheduled {
    name: &'static str,
    work: Box<Work>,
}

impl fmt::Debug for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheduled").field(&self.name).finish()
    }
}

/// The event is shorter. Longer ones, as nearly all requests are, are not read twice.
const LONGEST_EVENT: usize = 200;

impl Scheduled {
    /// The work that the event names so. It gets the time at which it must be done, if there is one, and says what it did.
    pub fn new<F>(
        name: &'static str,
        work: impl Fn(Arc<Core>, Option<Instant>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Value>> + Send + 'static,
    {
        Self { name, work: Box::new(move |core, until| work(core, until).boxed()) }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether an event asks for it.
    pub(super) fn is_asked_for(&self, event: &RawValue) -> bool {
        let event = Some(event.get()).filter(|event| event.len() <= LONGEST_EVENT);
        let event = event.and_then(|event| serde_json::from_str::<Value>(event).ok());
        event == Some(json!({ "scheduled": self.name }))
    }

    pub(super) fn work(&self, core: Arc<Core>, until: Option<Instant>) -> BoxFuture<'static, Result<Value>> {
        (self.work)(core, until)
    }
}
