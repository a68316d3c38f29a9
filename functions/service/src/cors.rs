//! Which web pages may read our answers (CORS: Fetch standard, section 3.3).
//!
//! Who may call is for [`Settings::lets_call`](deputize_core::Settings::lets_call) to say, as it is at the MCP
//! endpoint; `tower-http` writes the headers for those who may. Preflights are answered here, before any handler: so
//! they cost no look at the table, and one for a path that is not there is answered like all others.
//!
//! There is no `Access-Control-Allow-Credentials`: what proves a caller is a header that the page's script has set,
//! and what a browser adds by itself (cookies, client certificates) proves nobody here. The one cookie there is belongs to
//! the callback of a connection, which a browser is sent to and no script calls: it is left out.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use deputize_core::{
    Core, Error, audit,
    origins::{NOT_ALLOWED, RequestOrigin},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, LINK,
        ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    },
};
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::{ApiError, edge::REQUEST_ID, extract::API_KEY_HEADER};

/// Where a connection's browser comes back to.
const CALLBACK: &str = "/api/v1/oauth/callback";

/// How long a browser may remember the answer to a preflight: as long as any does (Chromium's bound). It gives nothing
/// by itself, since each answer says anew who may read it.
const MAX_AGE: Duration = Duration::from_secs(7_200);

const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a page may send.
const REQUEST_HEADERS: [HeaderName; 9] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static(API_KEY_HEADER),
    MCP_PROTOCOL_VERSION,
    MCP_SESSION_ID,
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-name"),
    HeaderName::from_static("last-event-id"),
    TRACEPARENT,
];

/// A tool's parameters as headers, whose names are the tool's. CORS has no wildcard for them, so those that a preflight
/// asks for are allowed by name, as many as the MCP endpoint takes.
const PARAM_PREFIX: &str = "mcp-param-";
const MAX_PARAM_HEADERS: usize = 32;

/// What a page may read, beside the body and what all may.
const RESPONSE_HEADERS: [HeaderName; 6] =
    [REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, LINK, MCP_SESSION_ID, MCP_PROTOCOL_VERSION];

/// Who may call a path from a page. It is decided by the path's beginning, whether there is such a path or not.
enum Readers {
    /// Documents that are the same for everybody and take no credential.
    Everybody,
    /// Those of allowed origins.
    Allowed,
    /// No script at all.
    Nobody,
}

impl Readers {
    fn of(path: &str) -> Self {
        match path {
            CALLBACK => Self::Nobody,
            "/openapi.json" | "/api/v1/oauth/client-metadata.json" => Self::Everybody,
            path if path.starts_with("/.well-known/") => Self::Everybody,
            _ => Self::Allowed,
        }
    }
}

/// The headers' values, made once.
#[derive(Debug)]
pub(crate) struct Cors {
    core: Arc<Core>,
    everybody: CorsLayer,
    allowed: CorsLayer,
}

impl Cors {
    pub(crate) fn of(core: Arc<Core>) -> Arc<Self> {
        let base = CorsLayer::new().expose_headers(RESPONSE_HEADERS).max_age(MAX_AGE);
        let everybody = base.clone().allow_origin(Any).allow_methods([Method::GET]);
        let everybody = everybody.allow_headers([CONTENT_TYPE, MCP_PROTOCOL_VERSION, TRACEPARENT]);
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        // Only ever used for an origin that is allowed.
        let allowed = base.allow_origin(AllowOrigin::mirror_request()).allow_methods(methods);
        Arc::new(Self { core, everybody, allowed })
    }

    /// The layer for an allowed origin.
    fn allowed(&self, request: &Request) -> CorsLayer {
        if !is_preflight(request) {
            return self.allowed.clone();
        }
        let layer = self.allowed.clone().allow_headers(allowed_headers(request.headers()));
        layer.vary([ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS])
    }
}

fn allowed_headers(asking: &HeaderMap) -> Vec<HeaderName> {
    let asked = asking.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let asked = asked.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let asked = asked.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let parameters = asked.filter(|name| name.as_str().starts_with(PARAM_PREFIX)).take(MAX_PARAM_HEADERS);
    REQUEST_HEADERS.into_iter().chain(parameters).collect()
}

/// Fetch standard, section 3.3.2. Any other `OPTIONS` is a request like all others.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Inside of the edge, which has noted whose page it is, and around everything that answers.
pub(crate) async fn cors(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<audit::Request>().map(|noted| &noted.origin);
    let layer = match (Readers::of(request.uri().path()), from) {
        (Readers::Nobody, _) => return next.run(request).await,
        // It would be answered as a preflight.
        _ if *request.method() == Method::OPTIONS && !is_preflight(&request) => {
            return next.run(request).await;
        }
        (Readers::Everybody, _) => cors.everybody.clone(),
        (Readers::Allowed, Some(from))
            if *from != RequestOrigin::NoPage && cors.core.settings.lets_call(from) =>
        {
            cors.allowed(&request)
        }
        (Readers::Allowed, _) => {
            let mut response = if is_preflight(&request) {
                ApiError(Error::forbidden(NOT_ALLOWED)).into_response()
            } else {
                next.run(request).await
            };
            response.headers_mut().append(VARY, HeaderValue::from(ORIGIN));
            return response;
        }
    };
    match layer.layer(next).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
