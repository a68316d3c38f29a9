//! Messages that are not requests of the protocol: notifications and responses, the stream of a session, and its end.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use deputize_core::{
    Error,
    access::PolicyContext,
    audit::RequestContext,
    error::Told,
    pins::{Pinning, Pins, ToolStatus},
};
use deputize_service::{ApiError, EdgeError};
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use serde_json::value::RawValue;

use super::{
    Admitted, McpRejection,
    answer::{KEEP_ALIVE, RpcRefusal, event, event_stream},
    authorize::List,
    dispatch::{DispatchError, gone, no_handshake},
    fields::{Fields, LISTS, shadows},
    incoming::{ENVELOPE, Incoming, ProtocolEra, version_for_server},
    pending::checked,
    session::{Binding, Session},
    stream_authorizer::{Next, StreamAuthorizer},
    translate,
};
use crate::{
    call::ProxyCall,
    pins::in_force,
    upstream::{self, RelayedResponse, ServerMessage, SessionMessage, UpstreamError},
    upstream_access::{UpstreamAccess, with_refresh},
};

/// Passes on a notification, or a response to a request from the server.
pub(super) async fn tell(
    admitted: Admitted,
    call: &ProxyCall,
    incoming: &Incoming<'_>,
) -> Result<Response, McpRejection> {
    let Admitted { mut upstream_access, audit, .. } = admitted;
    let told = with_refresh(&mut upstream_access, |upstream_access, _| {
        Box::pin(tell_once(upstream_access, call, incoming))
    })
    .await;
    let (outcome, refusal) = outcome_and_refusal(told, |error| upstream_access.failure(error));
    let recorded = audit.end(&call.request, outcome).await;
    match (refusal, recorded) {
        (Some(refusal), _) => Err(refusal.into()),
        (None, Ok(())) => Ok(StatusCode::ACCEPTED.into_response()),
        (None, Err(error)) => Err(McpRejection::without_request(error, &upstream_access, &call.request)),
    }
}

async fn tell_once(
    upstream_access: &UpstreamAccess,
    call: &ProxyCall,
    incoming: &Incoming<'_>,
) -> Result<(), DispatchError> {
    if incoming.era == ProtocolEra::Modern {
        // In this revision, clients send no notifications or responses by HTTP. Clients of an extension may.
        return Ok(());
    }
    let session = Session::open(&call.core, &Binding::of(upstream_access), &call.headers).await?.known()?;
    let era = call.upstream.era(&upstream_access.target).await?.era;
    if era == upstream::ProtocolEra::Modern && !session.as_ref().is_some_and(|session| session.handshake) {
        return Ok(());
    }
    let upstream_session = session.as_ref().and_then(Session::upstream_id);
    let version = version_for_server(&call.headers);
    let message = SessionMessage {
        version: version.as_ref(),
        session: upstream_session.as_ref(),
        body: Some(incoming.text.clone().into()),
        id: None,
        last_event_id: None,
    };
    match call.upstream.relay_in_session(&upstream_access.target, message).await {
        Ok(_) => Ok(()),
        Err(UpstreamError::Status { status: StatusCode::NOT_FOUND, .. }) if upstream_session.is_some() => {
            Err(DispatchError::Refused(gone()))
        }
        Err(error) => Err(clients_mistake(&error).unwrap_or_else(|| error.into())),
    }
}

/// What a server refuses because of what the client sent, and not for a fault of its own: a response to nothing that it
/// asked, a notification that it cannot read, a second stream where it has one, a place in a stream that there is not.
fn clients_mistake(error: &UpstreamError) -> Option<DispatchError> {
    let UpstreamError::Status { status, .. } = error else { return None };
    match status.as_u16() {
        409 => Some(
            Error::Conflict(Told::new(
                "The MCP server refuses it, since it contradicts the session's state: HTTP 409",
            ))
            .into(),
        ),
        400 | 406 | 410 | 413 | 415 | 422 => Some(
            Error::invalid(format!("The MCP server refuses what the client sent: HTTP {}", status.as_u16()))
                .into(),
        ),
        _ => None,
    }
}

/// The outcome for the trail, and the refusal that the client gets, if that is different.
fn outcome_and_refusal<T>(
    done: Result<T, DispatchError>,
    failure: impl Fn(UpstreamError) -> Error,
) -> (Result<T, ApiError>, Option<RpcRefusal>) {
    match done {
        Ok(done) => (Ok(done), None),
        Err(DispatchError::Upstream(error)) => (Err(failure(error).into()), None),
        Err(DispatchError::Failed(error)) => (Err(error.into()), None),
        Err(DispatchError::Edge(error)) => (Err(error.into()), None),
        Err(DispatchError::Refused(refusal)) => {
            (Err(Error::invalid(refusal.message().to_owned()).into()), Some(refusal))
        }
    }
}

/// The stream of a session at a handshake server, as it comes.
pub(super) async fn open_stream(admitted: Admitted, call: &ProxyCall) -> Result<Response, McpRejection> {
    let Admitted { presented, mut upstream_access, audit } = admitted;
    let stream_audit = audit.stream_audit();
    let opened =
        with_refresh(&mut upstream_access, |upstream_access, _| Box::pin(open_once(upstream_access, call)))
            .await;
    let (opened, client_name) =
        opened.map_or_else(|not| (Err(not), None), |(opened, name)| (Ok(opened), name));
    let (outcome, refusal) = outcome_and_refusal(opened, |error| upstream_access.failure(error));
    // What comes over the stream is not known yet. The trail says that it was opened, and why, if we end it.
    let relayed = match (refusal, audit.end(&call.request, outcome).await) {
        (Some(refusal), _) => return Err(refusal.into()),
        (None, relayed) => {
            relayed.map_err(|error| McpRejection::without_request(error, &upstream_access, &call.request))?
        }
    };
    let pins = in_force(&call.core, upstream_access.access()).await?;
    let authorizer = StreamAuthorizer::over(&upstream_access, &call.request, presented);
    let view = View { upstream_access, pins, client_name, request: call.request.clone() };
    let state = (view, authorizer, stream_audit, relayed.parts);
    let events = stream::unfold(state, |(mut view, mut authorizer, stream_audit, mut parts)| async move {
        loop {
            let next = match authorizer.next(&mut parts).await {
                Next::Event(next) => next,
                Next::Silence => {
                    return Some((
                        Ok::<_, Error>(KEEP_ALIVE.to_owned()),
                        (view, authorizer, stream_audit, parts),
                    ));
                }
                Next::Due => match view.go_on(&mut authorizer).await {
                    Ok(()) => continue,
                    Err(cause) => {
                        stream_audit.ended(&view.request, &Error::stream_ended(cause, false)).await;
                        return None;
                    }
                },
            };
            // If the server's stream breaks off, this one ends, and its client resumes it.
            let part = next?.ok()?;
            let message = match &part.said {
                Some(ServerMessage::Message(message)) => Some(view.of(message).await.ok()?),
                _ => None,
            };
            let text = event(&part, message.as_deref().map(RawValue::get));
            return Some((Ok(text), (view, authorizer, stream_audit, parts)));
        }
    });
    Ok(event_stream(axum::body::Body::from_stream(events)))
}

/// Opens the stream, and returns it with the client's name.
async fn open_once(
    upstream_access: &UpstreamAccess,
    call: &ProxyCall,
) -> Result<(RelayedResponse, Option<String>), DispatchError> {
    if !call.upstream.has_session_streams() {
        return Err(EdgeError::MethodNotAllowed(Some(NO_STREAM)).into());
    }
    let session = Session::open(&call.core, &Binding::of(upstream_access), &call.headers).await?.known()?;
    let (session, upstream_session) = with_upstream(session)?;
    let version = version_for_server(&call.headers);
    let message = SessionMessage {
        version: version.as_ref(),
        session: Some(&upstream_session),
        body: None,
        id: None,
        last_event_id: call.headers.get("last-event-id"),
    };
    match call.upstream.relay_in_session(&upstream_access.target, message).await {
        Ok(relayed) if relayed.is_stream => Ok((relayed, session.client_name)),
        Ok(_) => Err(EdgeError::MethodNotAllowed(Some(NO_STREAM)).into()),
        Err(error) => Err(refused(error, NO_STREAM)),
    }
}

/// The allowed methods. `NO_SESSION`: the server keeps no session, so there is no stream and no end. `NO_STREAM`: the
/// server gives no stream. `NO_END`: the server does not let sessions be ended.
const NO_SESSION: &str = "POST";
const NO_STREAM: &str = "POST, DELETE";
const NO_END: &str = "POST, GET";

fn with_upstream(session: Option<Session>) -> Result<(Session, HeaderValue), EdgeError> {
    let upstream = session.as_ref().and_then(Session::upstream_id);
    session.zip(upstream).ok_or(EdgeError::MethodNotAllowed(Some(NO_SESSION)))
}

/// What it means that a server refuses a GET or a DELETE. `allowed` are the methods that are left, if the server
/// refuses the method.
fn refused(error: UpstreamError, allowed: &'static str) -> DispatchError {
    match error {
        UpstreamError::Status { status: StatusCode::NOT_FOUND, .. } => DispatchError::Refused(gone()),
        UpstreamError::Status { status: StatusCode::METHOD_NOT_ALLOWED, .. } => {
            DispatchError::Edge(EdgeError::MethodNotAllowed(Some(allowed)))
        }
        error => clients_mistake(&error).unwrap_or(DispatchError::Upstream(error)),
    }
}

/// What the client of a stream may see.
struct View {
    upstream_access: UpstreamAccess,
    pins: Option<Arc<Pins>>,
    client_name: Option<String>,
    request: RequestContext,
}

impl View {
    /// Whether the stream may go on, and which of its messages are shown then.
    async fn go_on(&mut self, authorizer: &mut StreamAuthorizer) -> deputize_core::Result<()> {
        if let Some(access) = authorizer.admit().await? {
            self.pins = in_force(self.upstream_access.core(), &access).await?;
            self.upstream_access.readmitted(access);
        }
        Ok(())
    }

    /// A message of the stream, as the client may see it. The response to a list can be resumed here, and is filtered
    /// as it is where it was requested. So a message that only some readers would take for a list ends the stream.
    async fn of(&self, message: &RawValue) -> deputize_core::Result<Box<RawValue>> {
        let unclear = |object: &RawValue, known: &[&str]| shadows(object.get().as_bytes(), known);
        let fields = Fields::of(message).filter(|_| !unclear(message, &ENVELOPE));
        let mut fields = fields.ok_or_else(no_handshake)?;
        let result = fields.get("result").filter(|result| result.get().starts_with('{'));
        let Some(result) = result.map(ToOwned::to_owned) else { return Ok(message.to_owned()) };
        let listed = Fields::of(&result).filter(|_| !unclear(&result, &LISTS));
        let mut result = listed.ok_or_else(no_handshake)?;
        let checked = self.pins.as_deref().map(|pins| checked(pins, &result));
        let access = self.upstream_access.access();
        let context =
            PolicyContext { source_ip: self.request.source_ip, client_name: self.client_name.as_deref() };
        for list in List::ALL {
            list.filter(&mut result, access, context, |tool| {
                let status = || checked.as_ref()?.status(tool);
                access.server.pinning != Pinning::Block
                    || status().is_some_and(|(_, status)| status == ToolStatus::Approved)
            })
            .await?;
        }
        translate::keep_private(&mut result);
        fields.set("result", result.to_raw());
        Ok(fields.to_raw())
    }
}

/// Ends a session.
pub(super) async fn end_session(admitted: Admitted, call: &ProxyCall) -> Result<Response, McpRejection> {
    let Admitted { mut upstream_access, audit, .. } = admitted;
    let ended =
        with_refresh(&mut upstream_access, |upstream_access, _| Box::pin(end_once(upstream_access, call)))
            .await;
    let (outcome, refusal) = outcome_and_refusal(ended, |error| upstream_access.failure(error));
    match (refusal, audit.end(&call.request, outcome).await) {
        (Some(refusal), _) => Err(refusal.into()),
        (None, Ok(())) => Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()),
        (None, Err(error)) => Err(McpRejection::without_request(error, &upstream_access, &call.request)),
    }
}

async fn end_once(upstream_access: &UpstreamAccess, call: &ProxyCall) -> Result<(), DispatchError> {
    let session = Session::open(&call.core, &Binding::of(upstream_access), &call.headers).await?.known()?;
    let (_, upstream_session) = with_upstream(session)?;
    let version = version_for_server(&call.headers);
    let ended = call.upstream.end_session(&upstream_access.target, version.as_ref(), &upstream_session).await;
    ended.map_err(|error| refused(error, NO_END))
}
