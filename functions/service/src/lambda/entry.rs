//! An invocation's story: the event becomes a request, the routes answer, the answer leaves in the shape that fits.
//! Whatever the event, the invocation succeeds, and its caller sees an HTTP answer.

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
use deputize_api::error::code;
use deputize_core::{Core, Error};
use futures::Stream;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use lambda_http::{Context, lambda_runtime::StreamResponse};
use serde_json::value::RawValue;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    event::{self, Shape},
    metrics::{Gauge, Print},
};
use crate::{
    ApiError,
    edge::{self, Deadline, FunctionName, Served, XRay},
};

/// Between the end of the work on a call and the end of its invocation: its audit event is to be stored, which may
/// take three seconds, and the answer sent.
const TO_FINISH: Duration = Duration::from_secs(4);
/// Between the last moment for an answer and the end of its invocation, after which Lambda kills the process.
const TO_SEND: Duration = Duration::from_millis(500);

/// A function: what Lambda's events go through.
pub struct Entry {
    name: Arc<str>,
    routes: Router,
    /// The path of the service's address.
    base: String,
    print: Print,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Entry {
    /// A function by its name in metrics, its routes, and where lines of metrics go.
    pub fn new(name: impl Into<Arc<str>>, routes: Router, core: Arc<Core>, print: Print) -> Self {
        let base = core.settings.path().to_owned();
        let panicked =
            |_: Box<dyn std::any::Any + Send>| ApiError(Error::internal("the edge panicked")).into_response();
        let routes = edge::around(routes, core).layer(CatchPanicLayer::custom(panicked));
        Self { name: name.into(), routes, base, print }
    }

    /// The whole answer to an event, as the JSON that its kind wants.
    pub async fn buffered(&self, event: &RawValue, context: &Context) -> Box<RawValue> {
        let shape = Shape::of(event);
        let time = Time::of(context);
        let (gauge, response) = self.respond(event, shape, context, time).await;
        let served = response.extensions().get::<Served>().cloned();
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, event::MAX_ANSWER).collect();
        let whole = match time.within(body).await {
            Some(Ok(body)) => event::answer(shape, parts.status, parts.headers, &body.to_bytes())
                .map(|answer| (parts.status, answer))
                .ok_or(TOO_LARGE),
            Some(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(TOO_LARGE),
            Some(Err(_)) => Err((StatusCode::INTERNAL_SERVER_ERROR, "server_error", "The answer broke off")),
            None => Err(TIMED_OUT),
        };
        let (status, answer) = match whole {
            Ok(whole) => whole,
            Err(failure) => failed(shape, failure).await,
        };
        gauge.end(status, served.as_ref());
        answer
    }

    /// The answer to an event, as it comes.
    pub async fn streamed(&self, event: &RawValue, context: &Context) -> StreamResponse<Streamed> {
        let shape = Shape::of(event);
        let (gauge, response) = self.respond(event, shape, context, Time::of(context)).await;
        let served = response.extensions().get::<Served>().cloned();
        let (parts, body) = response.into_parts();
        let status = parts.status;
        StreamResponse {
            metadata_prelude: event::prelude(status, parts.headers),
            stream: Streamed { body: body.into_data_stream(), ends: Some((gauge, status, served)) },
        }
    }

    async fn respond(
        &self,
        event: &RawValue,
        shape: Shape,
        context: &Context,
        time: Time,
    ) -> (Gauge, Response) {
        let gauge = |method: Method| Gauge::begin(&self.name, &self.print, method);
        let mut request = match event::request(event, shape, &self.base) {
            Ok(request) => request,
            Err(why) => return (gauge(Method::OPTIONS), ApiError(Error::invalid(why)).into_response()),
        };
        let gauge = gauge(request.method().clone());
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
        (gauge, response)
    }
}

/// What goes wrong around an answer: its status, code and description.
type Failure = (StatusCode, &'static str, &'static str);

const TOO_LARGE: Failure = (
    StatusCode::BAD_GATEWAY,
    code::RESPONSE_TOO_LARGE,
    "The answer is larger than the 6 MB that can be sent; if a tool was called, it has run",
);
const TIMED_OUT: Failure = (
    StatusCode::GATEWAY_TIMEOUT,
    code::TIMED_OUT,
    "The request took longer than it may; whether anything was changed is unknown, so look before you repeat it",
);

fn failure((status, code, description): Failure) -> Response {
    tracing::error!(code, "no answer");
    edge::plain_error(status, code, description)
}

async fn failed(shape: Shape, why: Failure) -> (StatusCode, Box<RawValue>) {
    let (parts, body) = failure(why).into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = event::answer(shape, parts.status, parts.headers, &body);
    (parts.status, answer.unwrap_or_else(|| RawValue::NULL.to_owned()))
}

/// How long an invocation may take.
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

    /// Until when the work on a call may go on.
    fn for_work(self) -> Option<Instant> {
        self.ends?.checked_sub(TO_FINISH.min(self.left / 4))
    }

    /// What comes of `work`, if it does in time.
    async fn within<T>(self, work: impl Future<Output = T>) -> Option<T> {
        match self.ends.and_then(|ends| ends.checked_sub(TO_SEND)) {
            Some(until) => tokio::time::timeout_at(until.into(), work).await.ok(),
            None => Some(work.await),
        }
    }
}

/// An answer's body as it comes. It is measured when it ends, or when nobody wants the rest of it.
pub struct Streamed {
    body: BodyDataStream,
    ends: Option<(Gauge, StatusCode, Option<Served>)>,
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streamed")
    }
}

impl Streamed {
    fn end(&mut self) {
        if let Some((gauge, status, served)) = self.ends.take() {
            gauge.end(status, served.as_ref());
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
            // Before the answer is over: a process whose answer is over is frozen.
            self.end();
        }
        next.map(|next| next.map(|chunk| chunk.map_err(Into::into)))
    }
}
