//! What is no request of the protocol: notifications and responses, the stream of a session, and its end.

use std::{net::IpAddr, sync::Arc};

use axum::response::{IntoResponse, Response};
use deputize_core::{
    Error,
    access::CallContext,
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
    let session = Session::open(&caller.core, entry.access(), &caller.headers).await??;
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
        Err(UpstreamError::Status { status: StatusCode::NOT_FOUND, .. }) if upstream_session.is_some() => {
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
    let (opened, client_name) =
        opened.map_or_else(|not| (Err(not), None), |(opened, name)| (Ok(opened), name));
    let (outcome, refusal) = settled(opened, |error| entry.failure(error));
    // What comes over the stream is not known yet: the trail says that it was opened.
    let relayed = match (refusal, trail.end(&caller.request, outcome).await) {
        (Some(refusal), _) => return Err(refusal.into()),
        (None, relayed) => relayed.map_err(Stop::unasked)?,
    };
    let pins = in_force(&caller.core, entry.access()).await?;
    let view = View { entry, pins, client_name, source_ip: caller.request.source_ip };
    let events = stream::unfold((view, relayed.parts), |(view, mut parts)| async move {
        let Ok(next) = tokio::time::timeout(KEEP_ALIVE_EVERY, parts.next()).await else {
            return Some((Ok::<_, Error>(KEEP_ALIVE.to_owned()), (view, parts)));
        };
        // A stream that breaks off ends: its client resumes it.
        let part = next?.ok()?;
        let message = match &part.said {
            Some(Said::Message(message)) => Some(view.of(message).ok()?),
            _ => None,
        };
        let text = event(&part, message.as_deref().map(RawValue::get));
        Some((Ok(text), (view, parts)))
    });
    Ok(event_stream(axum::body::Body::from_stream(events)))
}

/// The stream, and what the client calls itself.
async fn open_once(entry: &Entry, caller: &Caller) -> Result<(Relayed, Option<String>), Not> {
    let session = Session::open(&caller.core, entry.access(), &caller.headers).await??;
    let (session, upstream_session) = with_upstream(session)?;
    let message = SessionMessage {
        version: caller.headers.get(PROTOCOL_VERSION),
        session: Some(&upstream_session),
        body: None,
        id: None,
        last_event_id: caller.headers.get("last-event-id"),
    };
    match caller.upstream.relay_in_session(&entry.target, message).await {
        Ok(relayed) if relayed.is_stream => Ok((relayed, session.client_name)),
        Ok(_) => Err(Error::MethodNotAllowed(Some(NO_STREAM)).into()),
        Err(error) => Err(refused(error, NO_STREAM)),
    }
}

/// What is allowed where there is no session of the server's: what is told anew with each request has no stream and
/// does not end; where the server gives no stream; and where it does not let sessions be ended.
const NO_SESSION: &str = "POST";
const NO_STREAM: &str = "POST, DELETE";
const NO_END: &str = "POST, GET";

fn with_upstream(session: Option<Session>) -> Result<(Session, HeaderValue), Error> {
    let upstream = session.as_ref().and_then(Session::upstream_id);
    session.zip(upstream).ok_or(Error::MethodNotAllowed(Some(NO_SESSION)))
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

/// What the client of a stream may see.
struct View {
    entry: Entry,
    pins: Option<Arc<Pins>>,
    client_name: Option<String>,
    source_ip: Option<IpAddr>,
}

impl View {
    /// A message of the stream. The response to a list, resumed, is as private there as where it was asked for.
    fn of(&self, message: &RawValue) -> deputize_core::Result<Box<RawValue>> {
        let Some(mut fields) = Fields::of(message) else { return Err(no_handshake()) };
        let Some(result) = fields.get("result").map(ToOwned::to_owned) else { return Ok(message.to_owned()) };
        let Some(mut result) = Fields::of(&result) else { return Ok(message.to_owned()) };
        let access = self.entry.access();
        let context = CallContext { source_ip: self.source_ip, client_name: self.client_name.as_deref() };
        for list in List::ALL {
            list.filter(&mut result, access, context, |tool| {
                let judged = || self.pins.as_ref()?.judge(tool);
                access.server.pinning != Pinning::Block
                    || judged().is_some_and(|(_, standing)| standing == Standing::Approved)
            })?;
        }
        fields.set("result", result.to_raw());
        Ok(fields.to_raw())
    }
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
    let session = Session::open(&caller.core, entry.access(), &caller.headers).await??;
    let (_, upstream_session) = with_upstream(session)?;
    let version: Option<&HeaderValue> = caller.headers.get(PROTOCOL_VERSION);
    let ended = caller.upstream.end_session(&entry.target, version, &upstream_session).await;
    ended.map_err(|error| refused(error, NO_END))
}
