//! Batches, which the revision 2025-03-26 has, and no other
//! ([2025-03-26](https://modelcontextprotocol.io/specification/2025-03-26/basic#batching)).
//!
//! Each message is judged, sent and recorded as if it had come alone, one after the other. The answers come back together,
//! as one JSON array.

use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use deputize_core::{Error, authenticate::PresentedCredential};
use http::{StatusCode, header::ACCEPT};
use http_body_util::BodyExt;
use serde_json::value::RawValue;

use super::{
    McpRejection,
    answer::{JSON, RpcRefusal, code, json_answer},
    authorize::AtMost,
    incoming::{self, Incoming, Kind, Tidied},
    message,
};
use crate::call::ProxyCall;

/// The most messages that a batch can have.
const MAX_MESSAGES: usize = 20;
/// From how many bytes of answers on nothing more is asked.
const MAX_ANSWERED: usize = 8 * 1024 * 1024;
/// How long all of it may take: as long as one call.
const WITHIN: Duration = Duration::from_mins(2);

pub(super) async fn answer(
    mut call: ProxyCall,
    presented: PresentedCredential,
    body: &Bytes,
) -> Result<Response, McpRejection> {
    let invalid = |code, why: String| RpcRefusal::new(StatusCode::BAD_REQUEST, code, why);
    let messages = serde_json::from_slice::<AtMost<&RawValue, MAX_MESSAGES>>(incoming::batch(body));
    let AtMost { entries, has_more } =
        messages.map_err(|_| invalid(code::PARSE_ERROR, "Not one JSON text".to_owned()))?;
    if entries.is_empty() || has_more {
        let why = format!("A batch has 1 to {MAX_MESSAGES} messages");
        return Err(invalid(code::INVALID_REQUEST, why).into());
    }
    call.headers.insert(ACCEPT, JSON);
    let until = Instant::now() + WITHIN;
    call.request.work_until = Some(call.request.work_until.map_or(until, |before| before.min(until)));
    let (mut answers, mut length) = (Vec::new(), 0_usize);
    let mut not_answered = None;
    for (nth, text) in entries.into_iter().enumerate() {
        let tidied = Tidied::of(&body.slice_ref(text.get().as_bytes()));
        let made = if length > MAX_ANSWERED {
            let why = "The answers to this batch are too large together: send it in parts";
            Err(RpcRefusal::new(StatusCode::OK, code::INVALID_REQUEST, why).into())
        } else {
            alone(&call, &presented, &tidied).await
        };
        match made {
            Ok(None) => {}
            Ok(Some(answer)) => {
                length = length.saturating_add(answer.len());
                answers.push(answer);
            }
            // The caller is not let in. That is for all of it.
            Err(McpRejection::Http(error)) if nth == 0 => return Err(error.into()),
            Err(rejection) => match (rejection.into_refusal(), tidied.readable_id()) {
                (refusal, Some(id)) => answers.push(refusal.to(&id).json()),
                // What asks nothing is not answered.
                (refusal, None) => not_answered = not_answered.or(Some(refusal)),
            },
        }
    }
    match (&*answers, not_answered) {
        ([], Some(refusal)) => Err(refusal.into()),
        ([], None) => Ok(StatusCode::ACCEPTED.into_response()),
        (answers, _) => Ok(json_answer(StatusCode::OK, format!("[{}]", answers.join(",")))),
    }
}

/// The answer to one message, if it asks for one.
async fn alone(
    call: &ProxyCall,
    presented: &PresentedCredential,
    tidied: &Tidied,
) -> Result<Option<String>, McpRejection> {
    let incoming = Incoming::read(tidied, &call.headers)?;
    if matches!(&incoming.kind, Kind::Request { method, .. } if method == "initialize") {
        let why = "initialize must not be part of a batch";
        return Err(RpcRefusal::new(StatusCode::OK, code::INVALID_REQUEST, why).into());
    }
    let response = Box::pin(message(call.clone(), presented.clone(), &incoming)).await?;
    if response.status() == StatusCode::ACCEPTED {
        return Ok(None);
    }
    // It is JSON, and within the bounds of one answer.
    let body = response.into_body().collect().await.map_err(|error| Error::internal(error.to_string()))?;
    let text = String::from_utf8(body.to_bytes().to_vec()).map_err(Error::internal)?;
    Ok(Some(text))
}
