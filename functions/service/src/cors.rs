//! Which web pages may read our answers (CORS: Fetch standard, section 3.3).
//!
//! [`Settings::allows_origin`](deputize_core::Settings::allows_origin) decides which pages may call, as it does at the
//! MCP endpoint. Documents that are everybody's, and the endpoints where apps get tokens, may be read by every page: an
//! app can be a page from anywhere. For those pages, `tower-http` writes the headers to every answer, also to errors and panics. An origin
//! that is not allowed gets no headers.
//!
//! Preflights are answered here, before any route or handler. So they cost no read of the table, and do not tell which
//! paths exist. This layer is outside of axum's routes, since these would add the methods of the path.
//!
//! At the MCP endpoint any page may read the answer. Web clients of MCP come from anywhere, with a person's token, and must
//! be able to read the 401 that tells them where to get one. Whose token is good in which page, the endpoint decides.
//!
//! There is no `Access-Control-Allow-Credentials`. Callers authenticate with a header that the page's script sets. What
//! a browser adds by itself (cookies, client certificates) authenticates no caller of the API. The cookies belong to the
//! callback of a connection, and to the console's pages. Browsers are sent there, and no script calls them.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use deputize_api::{OTHER_API_KEY_HEADERS, path, reason::Reason};
use deputize_core::{
    Core, Error, audit,
    error::Told,
    origins::{NOT_ALLOWED, RequestOrigin},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ETAG,
        IF_MATCH, IF_NONE_MATCH, LINK, LOCATION, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    },
};
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::{ApiError, edge::REQUEST_ID, extract::API_KEY_HEADER, once::IDEMPOTENCY_KEY};

/// How long a browser may remember the answer to a preflight. This is Chromium's bound, and no browser remembers
/// longer. The answer gives no access by itself, since each answer says anew who may read it.
const MAX_AGE: Duration = Duration::from_secs(7_200);

const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// API Gateway's new name for `WWW-Authenticate`, if nothing restores the name (API Gateway Developer Guide,
/// "Amazon API Gateway important notes").
const REMAPPED_WWW_AUTHENTICATE: HeaderName = HeaderName::from_static("x-amzn-remapped-www-authenticate");

/// The headers that a page may send.
const REQUEST_HEADERS: [HeaderName; 14] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    HeaderName::from_static(API_KEY_HEADER),
    HeaderName::from_static(OTHER_API_KEY_HEADERS[0]),
    HeaderName::from_static(OTHER_API_KEY_HEADERS[1]),
    MCP_PROTOCOL_VERSION,
    MCP_SESSION_ID,
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-name"),
    HeaderName::from_static("last-event-id"),
    TRACEPARENT,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
];

/// A tool's parameters as headers, with names that the tool chooses. CORS has no wildcard for them. So the ones that a
/// preflight names are allowed, up to the number that the MCP endpoint accepts.
const PARAM_PREFIX: &str = "mcp-param-";
const MAX_PARAM_HEADERS: usize = 32;

/// The headers that a page may read, in addition to those that every page may read.
const RESPONSE_HEADERS: [HeaderName; 9] = [
    REQUEST_ID,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    REMAPPED_WWW_AUTHENTICATE,
    LINK,
    ETAG,
    LOCATION,
    MCP_SESSION_ID,
    MCP_PROTOCOL_VERSION,
];

/// Who may call a path from a page. The beginning of the path decides, whether or not the path exists.
enum Readers {
    /// Every page: documents that are the same for all callers and take no credential.
    Everybody,
    /// Every page, with a credential: the MCP endpoint.
    AnyPage,
    /// Every page, of what an app needs that runs in it: the endpoints that give out tokens. What such a page holds is its
    /// own, and a browser adds nothing to it. An agent account still decides for itself which pages may use it.
    Apps,
    /// Pages of allowed origins.
    Allowed,
    /// No page's scripts.
    Nobody,
}

impl Readers {
    fn of(path: &str) -> Self {
        match path {
            path::CALLBACK | path::SIGN_OUT => Self::Nobody,
            page if page.starts_with(path::SIGN_IN) || page.starts_with(CONNECT_PAGES) => Self::Nobody,
            path::OPENAPI | path::CLIENT_METADATA => Self::Everybody,
            path::TOKEN | path::TOKEN_ALIAS | path::REGISTER | path::REGISTER_ALIAS | path::REVOKE => {
                Self::Apps
            }
            // Below a path too: clients also look there for what is not there.
            document if document.contains(path::WELL_KNOWN) => Self::Everybody,
            endpoint if is_mcp(endpoint) => Self::AnyPage,
            _ => Self::Allowed,
        }
    }
}

/// The pages on which people connect to servers begin so.
const CONNECT_PAGES: &str = "/connect/";

/// Whether a path is that of a server's MCP endpoint, whether or not there is such a server.
fn is_mcp(path: &str) -> bool {
    let below = path.strip_prefix(path::PROXY).and_then(|rest| rest.strip_prefix('/'));
    below.and_then(|rest| rest.split_once('/')).is_some_and(|(_, rest)| matches!(rest, "mcp" | "mcp/"))
}

/// The values of the headers, made once.
#[derive(Debug)]
pub(crate) struct Cors {
    core: Arc<Core>,
    everybody: CorsLayer,
    apps: CorsLayer,
    allowed: CorsLayer,
}

impl Cors {
    pub(crate) fn of(core: Arc<Core>) -> Arc<Self> {
        let base = CorsLayer::new().expose_headers(RESPONSE_HEADERS).max_age(MAX_AGE);
        let everybody = base.clone().allow_origin(Any).allow_methods([Method::GET]);
        let everybody = everybody.allow_headers([CONTENT_TYPE, MCP_PROTOCOL_VERSION, TRACEPARENT]);
        let apps = base.clone().allow_origin(Any).allow_methods([Method::GET, Method::POST]);
        let apps = apps.allow_headers([AUTHORIZATION, CONTENT_TYPE, MCP_PROTOCOL_VERSION, TRACEPARENT]);
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        // Only used for an allowed origin.
        let allowed = base.allow_origin(AllowOrigin::mirror_request()).allow_methods(methods);
        Arc::new(Self { core, everybody, apps, allowed })
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

/// Fetch standard, section 3.3.2. Any other `OPTIONS` is an ordinary request.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Inside of the edge, which has recorded the page's origin, and around every handler.
pub(crate) async fn cors(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<audit::RequestContext>().map(|noted| &noted.origin);
    let layer = match (Readers::of(request.uri().path()), from) {
        (Readers::Nobody, _) => return next.run(request).await,
        // The layer would answer it as a preflight.
        _ if *request.method() == Method::OPTIONS && !is_preflight(&request) => {
            return next.run(request).await;
        }
        (Readers::Everybody, _) => cors.everybody.clone(),
        (Readers::AnyPage, Some(RequestOrigin::Page(_))) => cors.allowed(&request),
        (Readers::Apps, _) => cors.apps.clone(),
        (Readers::Allowed, Some(from))
            if *from != RequestOrigin::NoPage && cors.core.settings.allows_origin(from) =>
        {
            cors.allowed(&request)
        }
        (Readers::AnyPage | Readers::Allowed, _) => {
            let mut response = if is_preflight(&request) {
                ApiError::from(Error::Forbidden(Told::of(Reason::OriginNotAllowed, NOT_ALLOWED)))
                    .into_response()
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
