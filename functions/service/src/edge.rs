//! Around every handler: a request id, who may read the answer in a web page, panics that become answers, no
//! caching, and 404 and 405 in our own words.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use deputize_core::{Core, Error, audit, origins::RequestOrigin, trace::Trace};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    ApiError, ErrorBody,
    cors::{Cors, cors},
};

/// Answered with every response; the audit trail holds the same id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static(deputize_api::REQUEST_ID_HEADER);

/// The caller's address, put into a request's extensions by whoever accepts connections. Headers such as
/// `X-Forwarded-For` are the caller's own words and are not read.
#[derive(Clone, Copy, Debug)]
pub struct SourceIp(pub IpAddr);

/// Until when the work on a request may go on, put there in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// The trace that AWS X-Ray has this request in, as it writes it. The caller's own header of that name is not read.
#[derive(Clone, Debug)]
pub struct XRay(pub String);

/// Which function serves a request, for its log.
#[derive(Clone, Debug)]
pub struct FunctionName(pub Arc<str>);

/// What became of a request, in its answer's extensions, for whoever counts.
#[derive(Clone, Debug)]
pub struct Served {
    pub request: audit::Request,
    /// The route's path as it is in the code; `-` for none.
    pub route: String,
}

/// Puts the edge around a function's routes.
pub fn around(routes: Router, core: Arc<Core>) -> Router {
    let routes = routes
        .fallback(async || ApiError(Error::NotFound("endpoint")))
        // The router adds `Allow`, with the methods that the path's routes have.
        .method_not_allowed_fallback(async || ApiError(Error::MethodNotAllowed(None)))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            ApiError(Error::internal("a handler panicked")).into_response()
        }))
        .layer(middleware::from_fn(named));
    // Outside of the routes, which add to any answer what methods they have: a preflight's must not tell.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(Cors::of(Arc::clone(&core)), cors))
        .layer(middleware::from_fn_with_state(core, edge))
}

/// An error of the edge's own.
pub fn plain_error(status: StatusCode, error: &'static str, description: &str) -> Response {
    let description = description.to_owned();
    let body = ErrorBody {
        error: error.into(),
        error_description: description.clone(),
        detail: description,
        denied_for: None,
        policies: None,
        reason: None,
        scope: None,
        safe_to_retry: None,
    };
    (status, axum::Json(body)).into_response()
}

/// The caller's trace, or a new one.
fn trace(core: &Core, headers: &HeaderMap, xray: Option<&XRay>) -> deputize_core::Result<Trace> {
    let texts = |name: &str| -> Vec<&str> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    };
    let parent = match texts("traceparent")[..] {
        [one] => Some(one),
        _ => None,
    };
    Trace::enter(&core.random, parent, &texts("tracestate"), xray.map(|XRay(text)| text.as_str()))
}

/// A link of ours (`</api/…>; rel="next"`), for a service that is reached at a path.
fn below(path: &str, link: &HeaderValue) -> Option<HeaderValue> {
    let rest = link.to_str().ok()?.strip_prefix('<').filter(|_| !path.is_empty())?;
    HeaderValue::try_from(format!("<{path}{rest}")).ok()
}

async fn edge(State(core): State<Arc<Core>>, mut request: Request, next: Next) -> Response {
    let now = core.clock.now();
    let trace = trace(&core, request.headers(), request.extensions().get::<XRay>());
    let (id, trace) = match (core.random.uuid_at(now), trace) {
        (Ok(id), Ok(trace)) => (id, trace),
        (Err(error), _) | (_, Err(error)) => return ApiError(error).into_response(),
    };
    let origins = request.headers().get_all(header::ORIGIN);
    let origin = RequestOrigin::read(origins.iter().map(HeaderValue::as_bytes));
    let extensions = request.extensions();
    let known = audit::Request {
        id,
        source_ip: extensions.get::<SourceIp>().map(|SourceIp(ip)| *ip),
        received_at: Some(now),
        origin,
        trace,
        work_until: extensions.get::<Deadline>().map(|Deadline(until)| *until),
        measured: Arc::default(),
    };
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        trace_id = known.trace.id(),
        span_id = known.trace.span(),
        method = %request.method(),
        route = tracing::field::Empty,
        function = extensions.get::<FunctionName>().map(|FunctionName(name)| &**name),
    );
    request.extensions_mut().insert(known.clone());
    let mut response = async {
        let response = next.run(request).await;
        let taken = Duration::from_millis(
            u64::try_from(core.clock.now().as_millis() - now.as_millis()).unwrap_or_default(),
        );
        tracing::debug!(status = response.status().as_u16(), ?taken, "answered");
        response
    }
    .instrument(span)
    .await;
    let route = response.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    response.extensions_mut().insert(Served { request: known, route });
    let headers = response.headers_mut();
    if let Some(link) = headers.get(header::LINK).and_then(|link| below(core.settings.path(), link)) {
        headers.insert(header::LINK, link);
    }
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Says which route it is, which is known once there is one: to the log, and in the answer's extensions.
async fn named(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    if let Some(route) = &route {
        tracing::Span::current().record("route", route.as_str());
    }
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}
