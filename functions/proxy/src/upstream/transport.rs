//! The connections to servers. A request is sent with its credential. Statuses that end the exchange come back as
//! errors
//! ([Streamable HTTP](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http)).

use std::sync::Arc;
use std::time::{Duration, Instant};

use deputize_service::{address::refusal_in, lazy::GuardedClient};
use futures::StreamExt;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use quick_cache::sync::Cache;
use url::Url;

use super::body::{BoundedBody, Counts, Silence};
use super::events::parts;
use super::said::retry_after;
use super::target::ServerKey;
use super::{Outgoing, Said, Target, UpstreamConfig, UpstreamError};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(super) const NAME: HeaderName = HeaderName::from_static("mcp-name");

const BOTH_ANSWERS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Without it, a server may use any coding (RFC 9110 section 12.5.3).
const NO_CODING: HeaderValue = HeaderValue::from_static("identity");

/// The most header fields in one answer. hyper's read buffer bounds their bytes (about 400 KiB).
const MAX_HEADERS: usize = 100;
/// An HTTP error's body is read for its JSON-RPC error, which is short.
pub(super) const MAX_ERROR_BYTES: usize = 64 * 1024;
const MAX_CHALLENGE_BYTES: usize = 4 * 1024;
/// How often one request is redirected.
const MAX_REDIRECTS: u32 = 3;
/// Characters of the address in an error that says where a redirect leads.
const MAX_ADDRESS: usize = 200;
/// How long the words beside a refusal are waited for.
const TIME_FOR_WORDS: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) struct Transport {
    http: GuardedClient,
    pub(super) config: Arc<UpstreamConfig>,
    /// Where servers redirect to that are in the log already.
    moved: Arc<Cache<ServerKey, Url>>,
}

impl Transport {
    pub(super) fn new(config: Arc<UpstreamConfig>) -> Self {
        let UpstreamConfig { connect_timeout, keep_alive, .. } = *config;
        let http = GuardedClient::new(&config.addresses, config.authorities.clone(), move |client| {
            client
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(keep_alive)
                .http1_max_headers(MAX_HEADERS)
        });
        let moved = Arc::new(Cache::new(config.max_remembered));
        Self { http, config, moved }
    }

    /// The same connections, without what is remembered of servers.
    pub(super) fn apart(&self) -> Self {
        Self { moved: Arc::new(Cache::new(1)), ..self.clone() }
    }

    /// The better address of a server that has redirected a request within its origin.
    pub(super) fn moved(&self, target: &Target) -> Option<Url> {
        self.moved.get(&target.server_ref())
    }

    /// Sets up TLS. If this fails, the first call returns the error.
    pub(super) fn prepare(&self) {
        self.http.prepare();
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client, UpstreamError> {
        self.http.for_url(url).map_err(|error| UpstreamError::Unreachable(error.into()))
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
        // Read to its end, and the connection can be used again; a stream might have none.
        if ResponseKind::of(response.headers()) == Some(ResponseKind::Events) {
            return if status.is_success() { Ok(()) } else { Err(status_error(status, Said::NOTHING)) };
        }
        let said = self.said(target, response).await;
        if status.is_success() { Ok(()) } else { Err(status_error(status, said)) }
    }

    /// What a server says beside a status.
    pub(super) async fn said(&self, target: &Target, response: reqwest::Response) -> Said {
        let retry_after = retry_after(response.headers());
        let silence = Silence { limit: TIME_FOR_WORDS, counts: Counts::AtOnce };
        let mut room = target.inbound.in_flight.of_one_body();
        let read = async { BoundedBody::of(response, MAX_ERROR_BYTES, silence)?.collect(&mut room).await };
        let read = tokio::time::timeout(TIME_FOR_WORDS, Box::pin(read)).await;
        let body = read.ok().and_then(Result::ok).unwrap_or_default();
        Said::of(target, retry_after, &body)
    }

    /// Sends, and turns the statuses that end everything into errors.
    ///
    /// 307 and 308 are followed within the server's origin, with method, body and credential: the server has refused the
    /// request unread. Starlette redirects so from `/mcp` to `/mcp/`
    /// ([python-sdk#1168](https://github.com/modelcontextprotocol/python-sdk/issues/1168)). Any other redirect would take
    /// the credential elsewhere, or make a `GET` of a `POST`.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Outgoing>,
    ) -> Result<reqwest::Response, UpstreamError> {
        let headers = with_ours(headers, target, body.is_some())?;
        let mut url = target.url.clone();
        for redirected in 0.. {
            let response = self.send_to(&url, &method, target, headers.clone(), body.clone()).await?;
            let status = response.status();
            match status {
                StatusCode::UNAUTHORIZED => {
                    let www_authenticate = challenge(response.headers());
                    let said = self.said(target, response).await;
                    return Err(UpstreamError::Unauthorized { www_authenticate, said });
                }
                StatusCode::FORBIDDEN => {
                    let www_authenticate = challenge(response.headers());
                    let said = self.said(target, response).await;
                    return Err(UpstreamError::Forbidden { www_authenticate, said });
                }
                status if !status.is_redirection() => return Ok(response),
                _ => {}
            }
            let to = response.headers().get(LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
            let keeps_request =
                matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            let next = to.as_ref().filter(|to| keeps_request && to.origin() == url.origin());
            match next {
                Some(next) if redirected < MAX_REDIRECTS => url = next.clone(),
                _ => return Err(UpstreamError::Redirected { status, to: to.as_ref().and_then(address) }),
            }
            self.note_redirect(target, &url);
        }
        Err(UpstreamError::protocol("redirects without end"))
    }

    /// Why a handshake failed, if there is more to say than its status: a server that has the transport of 2024-11-05
    /// answers a `GET` by an event of the type `endpoint`.
    pub(super) async fn explained(&self, target: &Target, error: UpstreamError) -> UpstreamError {
        const REFUSALS: [u16; 4] = [400, 404, 405, 410];
        match error {
            UpstreamError::Status { status, .. } if REFUSALS.contains(&status.as_u16()) => {
                let asked = Box::pin(self.has_retired_transport(target));
                match tokio::time::timeout(TIME_FOR_WORDS, asked).await {
                    Ok(true) => UpstreamError::RetiredTransport,
                    _ => error,
                }
            }
            error => error,
        }
    }

    async fn has_retired_transport(&self, target: &Target) -> bool {
        let opened = self.send(Method::GET, target, HeaderMap::new(), None).await;
        let Ok(response) = opened else { return false };
        if !response.status().is_success()
            || ResponseKind::of(response.headers()) != Some(ResponseKind::Events)
        {
            return false;
        }
        let silence = Silence { limit: TIME_FOR_WORDS, counts: Counts::AtOnce };
        let Ok(body) = BoundedBody::of(response, MAX_ERROR_BYTES, silence) else { return false };
        let until = tokio::time::Instant::now() + TIME_FOR_WORDS;
        let first = Box::pin(parts(body.into_chunks(), None, until)).next().await;
        matches!(first, Some(Err(UpstreamError::RetiredTransport)))
    }

    async fn send_to(
        &self,
        url: &Url,
        method: &Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Outgoing>,
    ) -> Result<reqwest::Response, UpstreamError> {
        self.config.addresses.check_url(url)?;
        let mut request = reqwest::Request::new(method.clone(), url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let client = self.client(&target.url)?;
        let began = Instant::now();
        let response = client.execute(request).await;
        target.inbound.measured.waited_upstream(began.elapsed());
        response.map_err(unsent_or_interrupted)
    }

    /// Says once for each server that it has a better address.
    fn note_redirect(&self, target: &Target, to: &Url) {
        if self.moved.get(&target.server_ref()).is_none() {
            self.moved.insert(target.server_key(), to.clone());
            let to = address(to);
            tracing::warn!(server = %target.server_id, to, "each request is redirected: register this address");
        }
    }
}

/// The headers of a request: the caller's, the credential and the trace.
fn with_ours(mut headers: HeaderMap, target: &Target, has_body: bool) -> Result<HeaderMap, UpstreamError> {
    if has_body {
        headers.insert(ACCEPT, BOTH_ANSWERS);
        headers.insert(CONTENT_TYPE, JSON);
    } else {
        headers.insert(ACCEPT, EVENTS);
    }
    headers.insert(ACCEPT_ENCODING, NO_CODING);
    if let Some(authorization) = &target.authorization {
        let header = authorization.header();
        let (name, value) =
            header.ok_or_else(|| UpstreamError::protocol("the credential is not fit for a header"))?;
        headers.insert(name, value);
    }
    target.inbound.add_to(&mut headers);
    Ok(headers)
}

/// An address for people to read: scheme, host, port and path, which have no control characters.
fn address(url: &Url) -> Option<String> {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.set_username("").ok()?;
    shown.set_password(None).ok()?;
    Some(shown.as_str().chars().take(MAX_ADDRESS).collect())
}

/// Another status than success, with nothing that this client understands.
pub(super) fn status_error(status: StatusCode, said: Said) -> UpstreamError {
    UpstreamError::Status { status, sent: false, said }
}

#[derive(PartialEq, Eq)]
pub(super) enum ResponseKind {
    Json,
    Events,
}

impl ResponseKind {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &*essence {
            "application/json" | "application/json-rpc" | "application/jsonrpc" => Some(Self::Json),
            "text/event-stream" => Some(Self::Events),
            _ => None,
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
