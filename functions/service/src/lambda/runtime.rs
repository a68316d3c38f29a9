//! Invocations from Lambda, and answers to it
//! ([Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html),
//! [response streaming](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming)).
//!
//! `lambda_runtime` fetches the events. Answers are sent here, since its client leaves Nagle's algorithm on. With it,
//! each part of a streamed answer would wait until the part before is acknowledged, some 40 ms if acknowledgements are
//! delayed. `lambda_runtime` also answers an event that is not JSON with a function error. Here such an event gets an
//! HTTP answer like all others. The one function error is that work without a request has failed (`scheduled`).
//!
//! A stream has one form for function URLs and REST APIs: a JSON prelude, eight zero bytes, and the body as it comes.

use std::{
    sync::Arc,
    task::{Context as Task, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::client::legacy::connect::HttpConnector;
use lambda_http::{
    Error, LambdaEvent,
    lambda_runtime::{LambdaInvocation, Runtime, StreamResponse},
    service_fn,
};
use lambda_runtime_api_client::{Client, body::Body};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tower::{Service, layer::layer_fn};

use super::{
    handler::{LambdaHandler, ScheduledFailed, Streamed},
    init::FunctionError,
};

/// The invocation that is answered, if Lambda gives it an id. With the id, Lambda does not take a late answer for that
/// of another invocation.
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Answers invocations until Lambda ends the process.
pub(super) async fn serve(entry: Arc<LambdaHandler>, streams: bool) -> Result<(), Error> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Arc::new(Client::builder().with_connector(connector).build()?);
    let answers = Answers { entry, client, streams };
    // A runtime needs a handler of parsed events. The layer does all the work, so this one does nothing.
    let handler = service_fn(async |_: LambdaEvent<IgnoredAny>| Ok::<_, Error>(()));
    Runtime::new(handler).layer(layer_fn(move |_| answers.clone())).run().await
}

/// Answers invocations, as a layer.
#[derive(Clone)]
struct Answers {
    entry: Arc<LambdaHandler>,
    client: Arc<Client>,
    streams: bool,
}

impl Service<LambdaInvocation> for Answers {
    type Response = ();
    type Error = Error;
    type Future = BoxFuture<'static, Result<(), Error>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let Self { entry, client, streams } = self.clone();
        async move {
            let context = invocation.context.clone();
            let answer = answer(&entry, invocation, streams).await?;
            match client.call(answer).await {
                Ok(taken) if taken.status().is_success() => {}
                Ok(refused) => tracing::error!(status = %refused.status(), "Lambda did not take an answer"),
                // The caller may be gone. If Lambda is gone, the next poll ends the process.
                Err(error) => tracing::error!(error = ?error, "an answer could not be sent to Lambda"),
            }
            entry.finish_tasks(&context).await;
            Ok(())
        }
        .boxed()
    }
}

/// The request to Lambda that answers an invocation.
async fn answer(
    entry: &LambdaHandler,
    invocation: LambdaInvocation,
    streams: bool,
) -> Result<Request<Body>, Error> {
    let LambdaInvocation { parts, body, context } = invocation;
    let event = serde_json::from_slice(&body).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let at = |end: &str| format!("/2018-06-01/runtime/invocation/{}/{end}", context.request_id);
    let uri = at("response");
    let mut request = if let Some(done) = entry.scheduled(&event, &context).await {
        match done {
            Ok(said) => Request::post(uri).body(Body::from(Box::<str>::from(said).into_string()))?,
            Err(ScheduledFailed) => {
                let failed = FunctionError::new("Function.ScheduledWorkFailed", "the log says why");
                failed.to_lambda(at("error"))?
            }
        }
    } else if streams {
        let mut request = Request::post(uri).body(chunks(entry.streamed(&event, &context).await)?)?;
        let headers = request.headers_mut();
        let mode = HeaderName::from_static("lambda-runtime-function-response-mode");
        headers.insert(mode, HeaderValue::from_static("streaming"));
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(HTTP_INTEGRATION));
        headers.append(header::TRAILER, HeaderValue::from(ERROR_TYPE));
        headers.append(header::TRAILER, HeaderValue::from(ERROR_BODY));
        request
    } else {
        let answer = entry.buffered(&event, &context).await;
        Request::post(uri).body(Body::from(Box::<str>::from(answer).into_string()))?
    };
    if let Some(id) = parts.headers.get(INVOCATION_ID) {
        request.headers_mut().insert(INVOCATION_ID, id.clone());
    }
    Ok(request)
}

/// An answer that begins with the status and headers in JSON, followed by eight zero bytes.
const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

/// The bytes of a streamed answer. If the stream breaks off, trailers say so, and the reader sees that the answer is
/// not complete.
fn chunks(answer: StreamResponse<Streamed>) -> Result<Body, Error> {
    let mut prelude = serde_json::to_vec(&answer.metadata_prelude)?;
    prelude.extend([0; 8]);
    let beginning = stream::iter([Frame::data(Bytes::from(prelude))]);
    let rest = answer.stream.map(|chunk| match chunk {
        Ok(chunk) => Frame::data(chunk),
        Err(error) => {
            tracing::error!(error, "an answer broke off");
            Frame::trailers(broken_off())
        }
    });
    Ok(Body::new(StreamBody::new(beginning.chain(rest).map(Ok::<_, Error>))))
}

fn broken_off() -> HeaderMap {
    let why = r#"{"errorType":"Runtime.StreamError","errorMessage":"The answer broke off"}"#;
    let mut trailers = HeaderMap::from_iter([(ERROR_TYPE, HeaderValue::from_static("Runtime.StreamError"))]);
    if let Ok(why) = HeaderValue::try_from(BASE64_STANDARD.encode(why)) {
        trailers.insert(ERROR_BODY, why);
    }
    trailers
}
