//! One HTTP exchange: a message is sent, and the answer is read as it comes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answer::{RelayedResponse, Reply, ServerMessage};
use super::body::BoundedBody;
use super::events::parts;
use super::message::Request;
use super::transport::{MAX_ERROR_BYTES, ResponseKind, SESSION_ID, Transport};
use super::{Target, UpstreamError};

/// How long a stream may be silent, and how long it may last.
#[derive(Clone, Copy)]
pub(super) struct StreamTimeouts {
    pub(super) idle: Duration,
    pub(super) total: Duration,
}

impl Transport {
    pub(super) fn timeouts(&self, notifications: bool) -> StreamTimeouts {
        let config = &self.config;
        if notifications {
            StreamTimeouts { idle: config.stream_idle_timeout, total: config.stream_total_timeout }
        } else {
            StreamTimeouts { idle: config.idle_timeout, total: config.total_timeout }
        }
    }

    /// Sends a message, or opens a stream with `GET`, and returns the answer as it comes. `id` is the request's;
    /// without an id, nothing is asked. An error says that the server may have taken the request.
    pub(super) async fn relay(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
        body: Option<Bytes>,
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
        let (id, body) = (request.id()?, request.bytes()?);
        let asked =
            self.relay(Method::POST, target, headers, Some(body.into()), Some(&id), self.timeouts(false));
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
        body: Option<Bytes>,
        id: Option<&RawValue>,
        timeouts: StreamTimeouts,
    ) -> Result<RelayedResponse, UpstreamError> {
        let until = Instant::now() + target.inbound.at_most(timeouts.total);
        let late = || UpstreamError::Timeout { waiting_for: "an answer", sent: false };
        let sent = self.send(method, target, headers, body);
        let response = tokio::time::timeout_at(until, sent).await.map_err(|_| late())??;
        let status = response.status();
        let session_id = response.headers().get(SESSION_ID).cloned();
        let kind = ResponseKind::of(response.headers());
        let max_bytes = if status.is_success() { self.config.max_response_bytes } else { MAX_ERROR_BYTES };
        let body = BoundedBody::of(response, max_bytes, timeouts.idle)?;
        if matches!((status, &kind), (StatusCode::OK, Some(ResponseKind::Events))) {
            let parts = Box::pin(parts(body.into_chunks(), id.map(ToOwned::to_owned), until));
            return Ok(RelayedResponse { session_id, is_stream: true, refused: None, parts });
        }
        let text = tokio::time::timeout_at(until, body.collect()).await.map_err(|_| late())?;
        if id.is_none() {
            // Nothing was asked, so the content of the answer does not matter.
            return if status.is_success() {
                Ok(RelayedResponse::nothing(session_id))
            } else {
                Err(UpstreamError::Status { status, sent: false })
            };
        }
        let said = match (status, kind) {
            (StatusCode::OK, Some(ResponseKind::Json)) => ServerMessage::read(&text?, id, status)?,
            (StatusCode::OK, _) => return Err(UpstreamError::protocol("neither JSON nor events")),
            (status, _) if status.is_success() => {
                return Err(UpstreamError::protocol(format!("HTTP {status} to a request")));
            }
            (status, _) => {
                let said = text.ok().and_then(|text| ServerMessage::read(&text, id, status).ok());
                said.filter(|said| said.refusal().is_some())
                    .ok_or(UpstreamError::Status { status, sent: false })?
            }
        };
        Ok(RelayedResponse::whole(session_id, said))
    }
}
