//! What is no request of the protocol: notifications and responses, the stream of a session, and its end.

use axum::response::{IntoResponse, Response};
use deputize_core::{
    Error,
    access::{Access, CallContext},
    pins::{Pinning, Pins, Standing},
};
use futures::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde_json::value::RawValue;

use super::{
    LetIn, Stop,
    answer::{KEEP_ALIVE, Refusal, event, event_stream},
    dispatch::{Not, gone, no_handshake},
    fields::Fields,
    flow::KEEP_ALIVE_EVERY,
    incoming::{Era, Incoming, PROTOCOL_VERSION},
    judge::List,
    session::Session,
};
use crate::{
    caller::Caller,
    entry::Entry,
    pins::in_force,
    upstream::{self, Relayed, Said, SessionMessage, UpstreamError},
};

/// The server's own refusal. What it has refused for want of better credentials, it has not taken, so it may be said
/// once more with renewed ones.
fn servers_error<T>(done: &Result<T, Not>) -> Option<&UpstreamError> {
    match done {
        Err(Not::Upstream(error)) => Some(error),
        _ => None,
    }
}

/// A notification, or a response to a request of the server's.
pub(super) async fn tell(let_in: LetIn, caller: &Caller, incoming: &Incoming<'_>) -> Result<Response, Stop> {
    let LetIn { mut entry, trail } = let_in;
    let told = async {
        let told = tell_once(&entry, caller, incoming).await;
        if entry.is_renewed_after(servers_error(&told)).await? {
            tell_once(&entry, caller, incoming).await
        } else {
            told
        }
    };
    let told = told.await;
    let (outcome, refusal) = settled(told, |error| entry.failure(error));
    let recorded = trail.end(&caller.request, outcome).await;
    match (refusal, recorded) {
        (Some(refusal), _) => Err(refusal.into()),
        (None, Ok(())) => Ok(StatusCode::ACCEPTED.into_response()),
        (None, Err(error)) => Err(Stop::unasked(error)),
    }
}

async fn tell_once(entry: &Entry, caller: &Caller, incoming: &Incoming<'_>) -> Result<(), Not> {
    if incoming.era == Era::Modern {
        // This revision has none that a client would send by HTTP; an extension may.
        return Ok(());
    }
    let session = Session::open(&caller.core, entry.access(), &entry.target, &caller.headers).await??;
    let (era, _) = caller.upstream.era(&entry.target).await?;
    if era == upstream::Era::Modern && !session.as_ref().is_some_and(|session| session.handshake) {
        return Ok(());
    }
    let upstream_session = session.as_ref().and_then(Session::upstream_id);
    let message = SessionMessage {
        version: caller.headers.get(PROTOCOL_VERSION),
        session: upstream_session.as_ref(),
        body: Some(incoming.text.to_vec()),
        id: None,
        last_event_id: None,
    };
    match caller.upstream.relay_in_session(&entry.target, message).await {
        Ok(_) => Ok(()),
        Err(UpstreamError::Status { status: StatusCode::NOT_FOUND, .. }) if session.is_some() => {
            Err(Not::Refused(gone()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What came of it for the trail, and what the client is told if that is something else.
fn settled<T>(
    done: Result<T, Not>,
    failure: impl Fn(&UpstreamError) -> Error,
) -> (deputize_core::Result<T>, Option<Refusal>) {
    match done {
        Ok(done) => (Ok(done), None),
        Err(Not::Upstream(error)) => (Err(failure(&error)), None),
        Err(Not::Failed(error)) => (Err(error), None),
        Err(Not::Refused(refusal)) => (Err(Error::Invalid(refusal.message().to_owned())), Some(refusal)),
    }
}

/// The stream of a session at a handshake server, as it comes.
pub(super) async fn open_stream(let_in: LetIn, caller: &Caller) -> Result<Response, Stop> {
    let LetIn { mut entry, trail } = let_in;
    let opened = async {
        let opened = open_once(&entry, caller).await;
        if entry.is_renewed_after(servers_error(&opened)).await? {
            open_once(&entry, caller).await
        } else {
            opened
        }
    };
    let opened = opened.await;
    let (outcome, refusal) = settled(opened, |error| entry.failure(error));
    // What comes over the stream is not known yet: the trail says that it was opened.
    let relayed = match (refusal, trail.end(&caller.request, outcome).await) {
        (Some(refusal), _) => return Err(refusal.into()),
        (None, relayed) => relayed.map_err(Stop::unasked)?,
    };
    let source_ip = caller.request.source_ip;
    let pins = in_force(&caller.core, entry.access()).await?;
    let events = stream::unfold((entry, pins, relayed.parts), move |(entry, pins, mut parts)| async move {
        let keep_alive = tokio::time::timeout(KEEP_ALIVE_EVERY, parts.next()).await;
        let Ok(next) = keep_alive else {
            return Some((Ok::<_, Error>(KEEP_ALIVE.to_owned()), (entry, pins, parts)));
        };
        // A stream that breaks off ends: its client resumes it.
        let part = next?.ok()?;
        let message = match &part.said {
            Some(Said::Message(message)) => {
                Some(filtered(message, entry.access(), pins.as_deref(), source_ip).ok()?)
            }
            _ => None,
        };
        let text = event(&part, message.as_deref().map(RawValue::get));
        Some((Ok(text), (entry, pins, parts)))
    });
    Ok(event_stream(axum::body::Body::from_stream(events)))
}

async fn open_once(entry: &Entry, caller: &Caller) -> Result<Relayed, Not> {
    let session = Session::open(&caller.core, entry.access(), &entry.target, &caller.headers).await??;
    let upstream_session = upstream_session(session.as_ref())?;
    let message = SessionMessage {
        version: caller.headers.get(PROTOCOL_VERSION),
        session: Some(&upstream_session),
        body: None,
        id: None,
        last_event_id: caller.headers.get("last-event-id"),
    };
    match caller.upstream.relay_in_session(&entry.target, message).await {
        Ok(relayed) if relayed.is_stream => Ok(relayed),
        Ok(_) => Err(Error::MethodNotAllowed(Some(NO_STREAM)).into()),
        Err(error) => Err(refused(error, NO_STREAM)),
    }
}

/// What is allowed where there is no session of the server's: what is told anew with each request has no stream and
/// does not end; where the server gives no stream; and where it does not let sessions be ended.
const NO_SESSION: &str = "POST";
const NO_STREAM: &str = "POST, DELETE";
const NO_END: &str = "POST, GET";

fn upstream_session(session: Option<&Session>) -> Result<HeaderValue, Error> {
    session.and_then(Session::upstream_id).ok_or(Error::MethodNotAllowed(Some(NO_SESSION)))
}

/// What it means that a server refuses a GET or a DELETE; `allowed` is what is left, if it is for the method.
fn refused(error: UpstreamError, allowed: &'static str) -> Not {
    match error {
        UpstreamError::Status { status: StatusCode::NOT_FOUND, .. } => Not::Refused(gone()),
        UpstreamError::Status { status: StatusCode::METHOD_NOT_ALLOWED, .. } => {
            Not::Failed(Error::MethodNotAllowed(Some(allowed)))
        }
        error => Not::Upstream(error),
    }
}

/// A message of a stream. The response to a list, resumed, is as private there as where it was asked for.
fn filtered(
    message: &RawValue,
    access: &Access,
    pins: Option<&Pins>,
    source_ip: Option<std::net::IpAddr>,
) -> deputize_core::Result<Box<RawValue>> {
    let Some(mut fields) = Fields::of(message) else { return Err(no_handshake()) };
    let Some(result) = fields.get("result").map(ToOwned::to_owned) else { return Ok(message.to_owned()) };
    let Some(mut result) = Fields::of(&result) else { return Ok(message.to_owned()) };
    let context = CallContext { source_ip, client_name: None };
    for list in List::ALL {
        list.filter(&mut result, access, context, |tool| {
            access.server.pinning != Pinning::Block
                || pins
                    .and_then(|pins| pins.judge(tool))
                    .is_some_and(|(_, standing)| standing == Standing::Approved)
        })?;
    }
    fields.set("result", result.to_raw());
    Ok(fields.to_raw())
}

/// Ends a session.
pub(super) async fn end_session(let_in: LetIn, caller: &Caller) -> Result<Response, Stop> {
    let LetIn { mut entry, trail } = let_in;
    let ended = async {
        let ended = end_once(&entry, caller).await;
        if entry.is_renewed_after(servers_error(&ended)).await? {
            end_once(&entry, caller).await
        } else {
            ended
        }
    };
    let ended = ended.await;
    let (outcome, refusal) = settled(ended, |error| entry.failure(error));
    match (refusal, trail.end(&caller.request, outcome).await) {
        (Some(refusal), _) => Err(refusal.into()),
        (None, Ok(())) => Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()),
        (None, Err(error)) => Err(Stop::unasked(error)),
    }
}

async fn end_once(entry: &Entry, caller: &Caller) -> Result<(), Not> {
    let session = Session::open(&caller.core, entry.access(), &entry.target, &caller.headers).await??;
    let upstream_session = upstream_session(session.as_ref())?;
    let version: Option<&HeaderValue> = caller.headers.get(PROTOCOL_VERSION);
    let ended = caller.upstream.end_session(&entry.target, version, &upstream_session).await;
    ended.map_err(|error| refused(error, NO_END))
}
