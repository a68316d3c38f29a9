//! Around every handler: a request id, who may read the answer in a web page, panics that become answers, no
//! caching, and 404 and 405 in our own words.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use deputize_core::{Core, Error, audit, origins::RequestOrigin};
use http::{HeaderName, HeaderValue, header};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    ApiError,
    cors::{Cors, cors},
};

/// Answered with every response; the audit trail holds the same id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static(deputize_api::REQUEST_ID_HEADER);

/// The caller's address, put into a request's extensions by whoever accepts connections. Headers such as
/// `X-Forwarded-For` are the caller's own words and are not read.
#[derive(Clone, Copy, Debug)]
pub struct SourceIp(pub IpAddr);

/// Puts the edge around a function's routes.
pub fn around(routes: Router, core: Arc<Core>) -> Router {
    let routes = routes
        .fallback(async || ApiError(Error::NotFound("endpoint")))
        .method_not_allowed_fallback(async || ApiError(Error::MethodNotAllowed))
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

async fn edge(State(core): State<Arc<Core>>, mut request: Request, next: Next) -> Response {
    let now = core.clock.now();
    let id = match core.random.uuid_at(now) {
        Ok(id) => id,
        Err(error) => return ApiError(error).into_response(),
    };
    let source_ip = request.extensions().get::<SourceIp>().map(|SourceIp(ip)| *ip);
    let origins = request.headers().get_all(header::ORIGIN);
    let origin = RequestOrigin::read(origins.iter().map(HeaderValue::as_bytes));
    request.extensions_mut().insert(audit::Request { id, source_ip, received_at: Some(now), origin });
    let span = tracing::info_span!("request", %id, method = %request.method(), route = tracing::field::Empty);
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
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Says which route it is, which is known once there is one.
async fn named(request: Request, next: Next) -> Response {
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        tracing::Span::current().record("route", route.as_str());
    }
    next.run(request).await
}
