//! The connections to servers. A request is sent with its credential. Statuses that end the exchange come back as
//! errors
//! ([Streamable HTTP](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http)).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use deputize_service::{address::refusal_in, lazy::LazyClient};
use http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::BoundedBody;
use super::{Target, UpstreamConfig, UpstreamError};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

const BOTH_ANSWERS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The most header fields in one answer. hyper's read buffer bounds their bytes (about 400 KiB).
const MAX_HEADERS: usize = 100;
/// An HTTP error's body is read for its JSON-RPC error, which is short.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;
const MAX_CHALLENGE_BYTES: usize = 4 * 1024;

#[derive(Clone)]
pub(super) struct Transport {
    http: LazyClient,
    pub(super) config: Arc<UpstreamConfig>,
}

impl Transport {
    pub(super) fn new(config: Arc<UpstreamConfig>) -> Self {
        let UpstreamConfig { addresses, connect_timeout, keep_alive, .. } = *config;
        let http = LazyClient::guarded(addresses, move |client| {
            client
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(keep_alive)
                .http1_max_headers(MAX_HEADERS)
        });
        Self { http, config }
    }

    /// Sets up TLS. If this fails, the first call returns the error.
    pub(super) fn prepare(&self) {
        let _ = self.http.get();
    }

    fn client(&self) -> Result<&reqwest::Client, UpstreamError> {
        self.http.get().map_err(|error| UpstreamError::Unreachable(error.into()))
    }

    /// Sends a notification or response, to which there is no response.
    pub(super) async fn tell(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(), UpstreamError> {
        let response = self.send(http::Method::POST, target, headers, Some(body.into())).await?;
        let status = response.status();
        // If the body is read to its end, the connection can be used again. A stream might have no end.
        if !matches!(ResponseKind::of(response.headers()), Some(ResponseKind::Events)) {
            BoundedBody::of(response, MAX_ERROR_BYTES, self.config.idle_timeout)?.collect().await.ok();
        }
        if status.is_success() { Ok(()) } else { Err(UpstreamError::Status { status, sent: false }) }
    }

    /// Sends a request, and turns statuses that end the exchange into errors.
    pub(super) async fn send(
        &self,
        method: http::Method,
        target: &Target,
        mut headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<reqwest::Response, UpstreamError> {
        self.config.addresses.check_url(&target.url)?;
        if body.is_some() {
            headers.insert(ACCEPT, BOTH_ANSWERS);
            headers.insert(CONTENT_TYPE, JSON);
        } else {
            headers.insert(ACCEPT, EVENTS);
        }
        if let Some(authorization) = &target.authorization {
            let header = authorization.header();
            let (name, value) =
                header.ok_or_else(|| UpstreamError::protocol("the credential is not fit for a header"))?;
            headers.insert(name, value);
        }
        target.inbound.add_to(&mut headers);
        let mut request = reqwest::Request::new(method, target.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let client = self.client()?;
        let began = Instant::now();
        let response = client.execute(request).await;
        target.inbound.measured.waited_upstream(began.elapsed());
        let response = response.map_err(unsent_or_interrupted)?;
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                Err(UpstreamError::Unauthorized { www_authenticate: challenge(response.headers()) })
            }
            StatusCode::FORBIDDEN => {
                Err(UpstreamError::Forbidden { www_authenticate: challenge(response.headers()) })
            }
            status if status.is_redirection() => Err(UpstreamError::Redirected { status }),
            _ => Ok(response),
        }
    }
}

pub(super) enum ResponseKind {
    Json,
    Events,
}

impl ResponseKind {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else if essence.eq_ignore_ascii_case("text/event-stream") {
            Some(Self::Events)
        } else {
            None
        }
    }
}

fn challenge(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    (value.len() <= MAX_CHALLENGE_BYTES).then(|| value.to_owned())
}

/// An error from before or after the connection was made. The URL is taken out of it.
fn unsent_or_interrupted(error: reqwest::Error) -> UpstreamError {
    if let Some(refusal) = refusal_in(&error) {
        return refusal.into();
    }
    if !error.is_connect() {
        return UpstreamError::Interrupted { sent: false, source: error.without_url().into() };
    }
    if error.is_timeout() {
        return UpstreamError::Timeout { waiting_for: "a connection", sent: false };
    }
    UpstreamError::Unreachable(error.without_url().into())
}
