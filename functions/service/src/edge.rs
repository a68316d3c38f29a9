//! Around every handler: a request id, which pages may read the answer, panics that become answers, no caching, a bound
//! on the number of headers, and 404 and 405 in our own words.
//!
//! The edge knows a request's id, its trace, its time and its measurements, and passes them to the handler
//! ([`deputize_core::audit::RequestContext`]). The outcome of the request is in its answer's extensions ([`Served`]).

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
use deputize_api::path;
use deputize_core::{Core, Error, audit, origins::RequestOrigin, tokens::Resource, trace::Trace};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    ApiError, EdgeError,
    cors::{Cors, cors},
    etag::not_modified,
    response::{CredentialRefused, UpstreamsFault},
};

/// Sent with every response. The audit trail holds the same id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static(deputize_api::REQUEST_ID_HEADER);

/// The caller's address. The code that accepts connections puts it into a request's extensions. Headers such
/// as `X-Forwarded-For` are chosen by the caller and are not read.
#[derive(Clone, Copy, Debug)]
pub struct SourceIp(pub IpAddr);

/// The time limit for the work on a request. It is put there in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// AWS X-Ray's trace of this request, in X-Ray's format. A caller's own header of that name is not read.
#[derive(Clone, Debug)]
pub struct XRay(pub String);

/// The function that serves a request, for its log.
#[derive(Clone, Debug)]
pub struct FunctionName(pub Arc<str>);

/// The outcome of a request, in its answer's extensions, for metrics.
#[derive(Clone, Debug)]
pub struct Served {
    pub request: audit::RequestContext,
    /// The route's path as it is in the code. `-` if there is none.
    pub route: String,
    /// Whether it is an error that an MCP server or an authorization server caused.
    pub is_upstreams_fault: bool,
}

/// Puts the edge around a function's routes.
pub fn around(routes: Router, core: Arc<Core>) -> Router {
    let routes = routes
        .fallback(async || ApiError::from(Error::NotFound("endpoint")))
        // The router adds `Allow`, with the methods of the path's routes.
        .method_not_allowed_fallback(async || ApiError::Edge(EdgeError::MethodNotAllowed(None)))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            ApiError::from(Error::internal("a handler panicked")).into_response()
        }))
        .layer(middleware::from_fn(not_modified))
        .layer(middleware::from_fn(named))
        .layer(middleware::from_fn(few_headers));
    // Outside of the routes, which add the path's methods to any answer. A preflight's answer must not reveal
    // them.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(Cors::of(Arc::clone(&core)), cors))
        .layer(middleware::from_fn_with_state(core, edge))
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

/// One of our links (`</api/…>; rel="next"`), for a service whose address has a path.
fn below(path: &str, link: &HeaderValue) -> Option<HeaderValue> {
    let rest = link.to_str().ok()?.strip_prefix('<').filter(|_| !path.is_empty())?;
    HeaderValue::try_from(format!("<{path}{rest}")).ok()
}

/// Whether a route is the management API's. The proxy's say themselves where a token for them is had.
fn is_management(route: &str) -> bool {
    let is_below = |place: &str| route.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
    is_below(path::MANAGEMENT) && !is_below(path::PROXY)
}

/// The challenge that refuses a credential of ours, with where an app finds out how to get one for the management API (RFC
/// 9728 section 5.1). Each `Bearer` challenge of ours has a realm, so another parameter may follow.
fn with_metadata(core: &Core, said: &HeaderValue) -> Option<HeaderValue> {
    let said = said.to_str().ok().filter(|said| said.starts_with("Bearer realm="))?;
    let metadata = Resource::Management.metadata_url(&core.settings);
    HeaderValue::from_str(&format!(r#"{said}, resource_metadata="{metadata}""#)).ok()
}

async fn edge(State(core): State<Arc<Core>>, mut request: Request, next: Next) -> Response {
    let now = core.clock.now();
    let trace = trace(&core, request.headers(), request.extensions().get::<XRay>());
    let (id, trace) = match (core.random.uuid_at(now), trace) {
        (Ok(id), Ok(trace)) => (id, trace),
        (Err(error), _) | (_, Err(error)) => return ApiError::from(error).into_response(),
    };
    let origins = request.headers().get_all(header::ORIGIN);
    let origin = RequestOrigin::read(origins.iter().map(HeaderValue::as_bytes));
    let extensions = request.extensions();
    let known = audit::RequestContext {
        id,
        source_ip: extensions.get::<SourceIp>().map(|SourceIp(ip)| *ip),
        received_at: Some(now),
        origin,
        trace,
        work_until: extensions.get::<Deadline>().map(|Deadline(until)| *until),
        measured: Arc::default(),
        in_flight: core.in_flight.clone(),
        terms: None,
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
    let is_upstreams_fault = response.extensions().get::<UpstreamsFault>().is_some();
    let is_credential_refused = response.extensions().get::<CredentialRefused>().is_some();
    let is_management = is_management(route.as_str());
    response.extensions_mut().insert(Served { request: known, route, is_upstreams_fault });
    let headers = response.headers_mut();
    if is_credential_refused
        && is_management
        && let Some(full) = headers.get(header::WWW_AUTHENTICATE).and_then(|said| with_metadata(&core, said))
    {
        headers.insert(header::WWW_AUTHENTICATE, full);
    }
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

/// How many headers a request may have. It is what HTTP libraries take by default, so that a request that is good here
/// is good behind any of them.
pub const MAX_HEADERS: usize = 100;

async fn few_headers(request: Request, next: Next) -> Response {
    if request.headers().len() > MAX_HEADERS {
        return ApiError::from(EdgeError::TooManyHeaders(MAX_HEADERS)).into_response();
    }
    next.run(request).await
}

/// Adds the route's name, once it is known, to the log and to the answer's extensions.
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
