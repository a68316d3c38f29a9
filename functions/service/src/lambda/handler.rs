//! The steps of an invocation: the event becomes a request, the routes answer, and the answer is sent in the format
//! that fits. The invocation succeeds with every event, and its caller sees an HTTP answer. An event that is not a
//! request is a 400, in the format of the event that it resembles. Only work without a request (`scheduled`) is no
//! request, and can fail.
//!
//! **Time.** The invocation's deadline is known. Work on a call ends 4 s before it (a quarter of the time, if that is
//! less), as if its upstream time-out had ended it: the caller gets the usual error, and the audit event is stored. A
//! request without an answer half a second before the deadline is answered 504.
//!
//! A refresh takes at most 23 s. A call begins one only if it has that much time left. A call with less time uses the
//! old token while it is valid. After that it is a 503. The proxy has 15 minutes. A call that waits 33 s for another
//! caller's refresh has enough time left to refresh and to call.
//!
//! **Streams.** The proxy streams. The other functions answer when they are done. Lambda does not notice that a client
//! has disconnected: it accepts what is sent, and bills it, to the end. So a stream that would last by itself, a
//! session's `GET` or a subscription, ends after two minutes (`DEPUTIZE_SESSION_STREAMS`). A call's own stream ends
//! with the call.
//!
//! **Work without a caller** ([`Core::detach`]: the event of an interrupted call) is waited for after the answer and
//! before the next event is fetched. In between, Lambda may freeze the process.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    body::BodyDataStream,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use deputize_api::{error::code, reason::Reason};
use deputize_core::{Core, Error, error::chain};
use futures::Stream;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use lambda_http::{Context, lambda_runtime::StreamResponse};
use serde_json::value::{RawValue, to_raw_value};
use tower::ServiceExt;
use tracing::Instrument;

use super::{
    event::{self, Shape},
    metrics::{Print, RequestMetrics},
    scheduled::Scheduled,
};
use crate::{
    ApiError,
    config::CallerAddress,
    edge::{self, Deadline, FunctionName, Served, XRay},
    response::plain_error,
};

/// The time between the end of the work on a call and the end of its invocation. In it the audit event is
/// stored, which may take three seconds, and the answer is sent.
const TO_FINISH: Duration = Duration::from_secs(4);
/// The time between the last moment for an answer and the end of its invocation. Then Lambda kills the
/// process.
const TO_SEND: Duration = Duration::from_millis(500);

/// A function, for Lambda's events.
pub struct LambdaHandler {
    name: Arc<str>,
    routes: Router,
    /// The path of the service's address.
    base: String,
    print: Print,
    core: Arc<Core>,
    caller: CallerAddress,
    scheduled: Option<Scheduled>,
}

/// Work without a request has failed. The log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledFailed;

impl std::fmt::Debug for LambdaHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LambdaHandler").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LambdaHandler {
    /// A function: its name in metrics, its routes, and the output for lines of metrics.
    pub fn new(name: impl Into<Arc<str>>, routes: Router, core: Arc<Core>, print: Print) -> Self {
        let base = core.settings.path().to_owned();
        let routes = edge::around(routes, Arc::clone(&core));
        let caller = CallerAddress::Gateway;
        Self { name: name.into(), routes, base, print, core, caller, scheduled: None }
    }

    /// Sets the source of the callers' addresses.
    #[must_use]
    pub fn told_of_callers_by(self, caller: CallerAddress) -> Self {
        Self { caller, ..self }
    }

    /// Gives it work without a request.
    #[must_use]
    pub fn scheduled_to(self, scheduled: Scheduled) -> Self {
        Self { scheduled: Some(scheduled), ..self }
    }

    /// Does the work that an event asks for without being a request. `None` if the event asks for none: then it is to be
    /// answered as a request.
    pub async fn scheduled(
        &self,
        event: &RawValue,
        context: &Context,
    ) -> Option<Result<Box<RawValue>, ScheduledFailed>> {
        let asked = self.scheduled.as_ref().filter(|scheduled| scheduled.is_asked_for(event))?;
        let time = Time::of(context);
        let span = tracing::info_span!("scheduled", work = asked.name(), function = &*self.name);
        let done = async {
            match time.within(asked.work(Arc::clone(&self.core), time.for_work())).await {
                Some(Ok(said)) => to_raw_value(&said).map_err(|error| tracing::error!(%error, "not told")),
                Some(Err(error)) => {
                    tracing::error!(cause = chain(&error), "the scheduled work has failed");
                    Err(())
                }
                None => {
                    tracing::error!("the scheduled work took longer than it may");
                    Err(())
                }
            }
        };
        Some(done.instrument(span).await.map_err(|()| ScheduledFailed))
    }

    /// Waits for work that must end although no caller waits for it, such as storing the event of an
    /// interrupted call. After an invocation, Lambda may freeze the process for hours or for ever. Nearly
    /// always there is no such work.
    pub async fn finish_tasks(&self, context: &Context) {
        let time = Time::of(context);
        let left = time.ends.map_or(TO_FINISH, |ends| ends.saturating_duration_since(Instant::now()));
        // The rest is kept for asking for the next invocation.
        let within = left.saturating_sub(TO_SEND / 5).min(TO_FINISH);
        if !self.core.tasks_ended(within).await {
            tracing::error!("an invocation ends before all of its work");
        }
    }

    /// The complete answer to an event, as JSON in the format of its kind.
    pub async fn buffered(&self, event: &RawValue, context: &Context) -> Box<RawValue> {
        let shape = Shape::of(event);
        let time = Time::of(context);
        let (metrics, response) = self.respond(event, shape, context, time).await;
        let served = response.extensions().get::<Served>().cloned();
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, event::MAX_ANSWER).collect();
        let whole = match time.within(body).await {
            Some(Ok(body)) => event::answer(shape, parts.status, parts.headers, &body.to_bytes())
                .map(|answer| (parts.status, answer))
                .ok_or(TOO_LARGE),
            Some(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(TOO_LARGE),
            Some(Err(_)) => Err(BROKE_OFF),
            None => Err(TIMED_OUT),
        };
        let (status, answer) = match whole {
            Ok(whole) => whole,
            Err(failure) => failed(shape, failure).await,
        };
        metrics.end(status, served.as_ref());
        answer
    }

    /// The answer to an event, streamed.
    pub async fn streamed(&self, event: &RawValue, context: &Context) -> StreamResponse<Streamed> {
        let shape = Shape::of(event);
        let (metrics, response) = self.respond(event, shape, context, Time::of(context)).await;
        let served = response.extensions().get::<Served>().cloned();
        let (parts, body) = response.into_parts();
        let status = parts.status;
        StreamResponse {
            metadata_prelude: event::prelude(status, parts.headers),
            stream: Streamed { body: body.into_data_stream(), ends: Some((metrics, status, served)) },
        }
    }

    async fn respond(
        &self,
        event: &RawValue,
        shape: Shape,
        context: &Context,
        time: Time,
    ) -> (RequestMetrics, Response) {
        let metrics = |method: Method| RequestMetrics::begin(&self.name, &self.print, method);
        let mut request = match event::request(event, shape, &self.base, self.caller) {
            Ok(request) => request,
            Err(why) => {
                return (metrics(Method::OPTIONS), ApiError::from(Error::invalid(why)).into_response());
            }
        };
        let mut metrics = metrics(request.method().clone());
        let extensions = request.extensions_mut();
        extensions.insert(FunctionName(Arc::clone(&self.name)));
        if let Some(xray) = &context.xray_trace_id {
            extensions.insert(XRay(xray.clone()));
        }
        if let Some(until) = time.for_work() {
            extensions.insert(Deadline(until));
        }
        let response = match time.within(self.routes.clone().oneshot(request)).await {
            Some(Ok(response)) => response,
            None => failure(TIMED_OUT),
        };
        metrics.answers();
        (metrics, response)
    }
}

/// What goes wrong around an answer: its status, code, reason and description.
type Failure = (StatusCode, &'static str, Reason, &'static str);

const TOO_LARGE: Failure = (
    StatusCode::BAD_GATEWAY,
    code::RESPONSE_TOO_LARGE,
    Reason::ResponseTooLarge,
    "The answer is larger than the 6 MB that can be sent; if a tool was called, it has run",
);
const TIMED_OUT: Failure = (
    StatusCode::GATEWAY_TIMEOUT,
    code::TIMED_OUT,
    Reason::TimedOut,
    "The request took longer than it may; whether anything was changed is unknown, so look before you repeat it",
);

/// The code that made the answer says more in the log.
const BROKE_OFF: Failure =
    (StatusCode::INTERNAL_SERVER_ERROR, code::SERVER_ERROR, Reason::FunctionFailed, "The answer broke off");

fn failure((status, code, reason, description): Failure) -> Response {
    tracing::error!(code, "no answer");
    plain_error(status, code, reason, description)
}

async fn failed(shape: Shape, why: Failure) -> (StatusCode, Box<RawValue>) {
    let (parts, body) = failure(why).into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = event::answer(shape, parts.status, parts.headers, &body);
    (parts.status, answer.unwrap_or_else(|| RawValue::NULL.to_owned()))
}

/// The time that an invocation may take.
#[derive(Clone, Copy)]
struct Time {
    ends: Option<Instant>,
    left: Duration,
}

impl Time {
    fn of(context: &Context) -> Self {
        if context.deadline == 0 {
            return Self { ends: None, left: Duration::MAX };
        }
        let left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        Self { ends: Instant::now().checked_add(left), left }
    }

    /// The time limit for the work on a call.
    fn for_work(self) -> Option<Instant> {
        self.ends?.checked_sub(TO_FINISH.min(self.left / 4))
    }

    /// The result of `work`, if it ends in time.
    async fn within<T>(self, work: impl Future<Output = T>) -> Option<T> {
        match self.ends.and_then(|ends| ends.checked_sub(TO_SEND)) {
            Some(until) => tokio::time::timeout_at(until.into(), work).await.ok(),
            None => Some(work.await),
        }
    }
}

/// The body of a streamed answer. It is measured when it ends, or when the receiver reads no more of it.
pub struct Streamed {
    body: BodyDataStream,
    ends: Option<(RequestMetrics, StatusCode, Option<Served>)>,
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streamed")
    }
}

impl Streamed {
    fn end(&mut self) {
        if let Some((metrics, status, served)) = self.ends.take() {
            metrics.end(status, served.as_ref());
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for Streamed {
    type Item = Result<Bytes, lambda_http::Error>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.body).poll_next(task);
        if let Poll::Ready(None) = next {
            // Before the answer ends, since Lambda freezes the process then.
            self.end();
        }
        next.map(|next| next.map(|chunk| chunk.map_err(Into::into)))
    }
}
