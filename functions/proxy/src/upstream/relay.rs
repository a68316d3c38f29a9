//! One HTTP exchange: a message is sent, and the answer is read as it comes.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answer::{RelayedResponse, Reply, ServerMessage};
use super::body::{BoundedBody, Counts, Silence};
use super::events::parts;
use super::message::Request;
use super::said::retry_after;
use super::transport::{MAX_ERROR_BYTES, ResponseKind, SESSION_ID, Transport, status_error};
use super::{Outgoing, Said, Target, UpstreamError};

/// How long a stream may be silent, and how long it may last.
#[derive(Clone, Copy)]
pub(super) struct StreamTimeouts {
    idle: Duration,
    /// Whether it counts that nothing comes at all: on a stream of notifications there is no answer to wait for.
    from_the_start: bool,
    total: Duration,
}

impl Transport {
    pub(super) fn timeouts(&self, notifications: bool) -> StreamTimeouts {
        let config = &self.config;
        if notifications {
            let (idle, total) = (config.stream_idle_timeout, config.stream_total_timeout);
            StreamTimeouts { idle, from_the_start: true, total }
        } else {
            StreamTimeouts { idle: config.idle_timeout, from_the_start: false, total: config.total_timeout }
        }
    }

    /// Sends a message, or opens a stream with `GET`, and returns the answer as it comes. `id` is the request's;
    /// without an id, nothing is asked. An error says that the server may have taken the request.
    pub(super) async fn relay(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Outgoing>,
        id: Option<&RawValue>,
        timeouts: StreamTimeouts,
    ) -> Result<RelayedResponse, UpstreamError> {
        // Boxed, since it is a part of many futures, and is large.
        let relayed = Box::pin(self.relay_message(method, target, headers, body, id, timeouts)).await;
        relayed.map_err(|error| error.while_calling(id.is_some()))
    }

    /// Sends a request of our own that calls no tool, and waits for its response.
    pub(super) async fn ask(
        &self,
        target: &Target,
        headers: HeaderMap,
        request: Request<'_, impl serde::Serialize>,
    ) -> Result<(Reply, Option<HeaderValue>), UpstreamError> {
        let (id, body) = (request.id()?, request.written()?);
        let asked = self.relay(Method::POST, target, headers, Some(body), Some(&id), self.timeouts(false));
        let answered = async {
            let relayed = asked.await?;
            let session_id = relayed.session_id.clone();
            Ok((relayed.response().await?, session_id))
        };
        answered.await.map_err(|error: UpstreamError| error.while_calling(false))
    }

    async fn relay_message(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Outgoing>,
        id: Option<&RawValue>,
        timeouts: StreamTimeouts,
    ) -> Result<RelayedResponse, UpstreamError> {
        let until = Instant::now() + target.inbound.at_most(timeouts.total);
        let late = || UpstreamError::Timeout { waiting_for: "an answer", sent: false };
        let sent = self.send(method, target, headers, body);
        let response = tokio::time::timeout_at(until, sent).await.map_err(|_| late())??;
        let status = response.status();
        let session_id = response.headers().get(SESSION_ID).cloned();
        let retry_after = retry_after(response.headers());
        let kind = ResponseKind::of(response.headers());
        let max_bytes = if status.is_success() { self.config.max_response_bytes } else { MAX_ERROR_BYTES };
        let counts = match kind {
            _ if timeouts.from_the_start => Counts::AtOnce,
            Some(ResponseKind::Events) => Counts::FromMessage,
            Some(ResponseKind::Json) | None => Counts::FromByte,
        };
        let body = match BoundedBody::of(response, max_bytes, Silence { limit: timeouts.idle, counts }) {
            Err(_) if !status.is_success() => {
                return Err(status_error(status, Said::of(target, retry_after, &[])));
            }
            body => body?,
        };
        if status.is_success() && kind == Some(ResponseKind::Events) {
            let parts = Box::pin(parts(body.into_chunks(), id.map(ToOwned::to_owned), until));
            return Ok(RelayedResponse { session_id, is_stream: true, refused: None, parts });
        }
        let mut room = target.inbound.in_flight.of_one_body();
        let text = tokio::time::timeout_at(until, body.collect(&mut room)).await.map_err(|_| late())?;
        if !status.is_success() {
            let text = text.unwrap_or_default();
            let said = id.and_then(|_| ServerMessage::read(&text, id, status).ok());
            let refused = said.filter(|said| said.refusal().is_some());
            let refused =
                refused.ok_or_else(|| status_error(status, Said::of(target, retry_after, &text)))?;
            return Ok(RelayedResponse::whole(session_id, refused));
        }
        if id.is_none() {
            // Nothing was asked, so what it says does not matter.
            return Ok(RelayedResponse::nothing(session_id));
        }
        let text = text?;
        if text.is_empty() && status != StatusCode::OK {
            return Err(UpstreamError::protocol(format!("HTTP {status} to a request")));
        }
        // Any other success with a response is one, and so is a response that is not said to be JSON.
        let said = ServerMessage::read(&text, id, status).map(|said| said.in_room(room));
        let said = if kind.is_some() {
            said?
        } else {
            said.map_err(|_| UpstreamError::protocol("neither JSON nor events"))?
        };
        Ok(RelayedResponse::whole(session_id, said))
    }
}
