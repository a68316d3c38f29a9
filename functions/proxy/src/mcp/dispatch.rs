//! How a request gets to the server, by the eras of client and server.
//!
//! | client | server | |
//! | --- | --- | --- |
//! | modern | modern | as it came |
//! | modern | handshake | in a session of ours; discovery is made of its handshake |
//! | handshake | handshake | as it came, in the client's own session |
//! | handshake | modern | each request told who the client is; the handshake is made of its discovery |

use axum::response::Response;
use bytes::Bytes;
use deputize_api::reason::Reason;
use deputize_core::{Error, error::UpstreamFailure};
use deputize_service::{ApiError, EdgeError};
use http::StatusCode;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::{
    McpRejection,
    answer::{RpcRefusal, code},
    incoming::{self, Incoming, Initialize, ProtocolEra},
    pending::PendingRequest,
    session::{Binding, Session, no_such},
    translate,
};
use crate::upstream::{
    self, ModernMessage, ParamMismatch, RelayedResponse, Reply, ServerMessage, SessionMessage, Target,
    UpstreamClient, UpstreamError,
};
use crate::{
    call::ProxyCall,
    upstream_access::{MaybeUpstreamError, with_refresh},
};

/// The outcome of a request.
struct Dispatched {
    relayed: RelayedResponse,
    /// The session that the client gets.
    session: Option<Session>,
}

/// Why a request does not get to the server.
pub(super) enum DispatchError {
    Upstream(UpstreamError),
    Refused(RpcRefusal),
    Failed(Error),
    /// Only for requests with another method than POST.
    Edge(EdgeError),
}

impl From<UpstreamError> for DispatchError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<RpcRefusal> for DispatchError {
    fn from(refusal: RpcRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<EdgeError> for DispatchError {
    fn from(error: EdgeError) -> Self {
        Self::Edge(error)
    }
}

impl From<Error> for DispatchError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl MaybeUpstreamError for DispatchError {
    fn upstream_error(&self) -> Option<&UpstreamError> {
        match self {
            Self::Upstream(error) => Some(error),
            Self::Refused(_) | Self::Failed(_) | Self::Edge(_) => None,
        }
    }
}

/// Sends a request that has been admitted, and answers it.
pub(super) async fn request(
    mut pending: PendingRequest,
    call: &ProxyCall,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Response, McpRejection> {
    match with_refresh(&mut pending, |pending, _| Box::pin(dispatch(pending, call, incoming, params))).await {
        Ok(Dispatched { relayed, session }) => {
            let session = match session {
                Some(session) => match session.seal(&pending.upstream_access).await {
                    Ok(sealed) => Some(sealed),
                    Err(error) => return Err(pending.refuse(error).await.into()),
                },
                None => None,
            };
            Ok(Box::pin(pending.answer(relayed, session, params)).await)
        }
        Err(DispatchError::Upstream(error)) => {
            let error = if pending.method == "tools/call" { error } else { error.while_calling(false) };
            let error = pending.upstream_access.failure(error);
            Err(pending.refuse(error).await.into())
        }
        Err(DispatchError::Failed(error)) => Err(pending.refuse(error).await.into()),
        Err(DispatchError::Edge(error)) => {
            pending.refuse(Error::invalid(error.to_string())).await;
            Err(ApiError::from(error).into())
        }
        Err(DispatchError::Refused(refusal)) => {
            let why = Error::invalid(refusal.message().to_owned());
            let id = pending.id.clone();
            pending.refuse(why).await;
            Err(refusal.to(&id).into())
        }
    }
}

/// Sends the request. Sends it once more if the server turns out to be of the other era.
async fn dispatch(
    pending: &mut PendingRequest,
    call: &ProxyCall,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Dispatched, DispatchError> {
    let target = pending.upstream_access.target.clone();
    let known = call.upstream.era(&target).await?;
    let attempt = dispatch_as(known.era, pending, call, incoming, params).await;
    let answer = match &attempt {
        Ok(dispatched) => Ok(dispatched.relayed.refused),
        Err(DispatchError::Upstream(error)) => Err(error),
        Err(DispatchError::Refused(_) | DispatchError::Failed(_) | DispatchError::Edge(_)) => return attempt,
    };
    match call.upstream.other_era(&target, known, answer).await {
        Some(other) => dispatch_as(other, pending, call, incoming, params).await,
        None => attempt,
    }
}

async fn dispatch_as(
    server: upstream::ProtocolEra,
    pending: &mut PendingRequest,
    call: &ProxyCall,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Dispatched, DispatchError> {
    let target = pending.upstream_access.target.clone();
    pending.eras.server = match server {
        upstream::ProtocolEra::Modern => ProtocolEra::Modern,
        upstream::ProtocolEra::Handshake => ProtocolEra::Handshake,
    };
    let relayed = match (incoming.era, pending.eras.server) {
        (ProtocolEra::Modern, ProtocolEra::Modern) => {
            modern_to_modern(pending, call, &target, incoming).await?
        }
        (ProtocolEra::Modern, ProtocolEra::Handshake) => {
            modern_to_handshake(pending, call, &target, (params, incoming.text)).await?
        }
        (ProtocolEra::Handshake, _) => return handshake(pending, call, &target, incoming, params).await,
    };
    Ok(Dispatched { relayed, session: None })
}

async fn modern_to_modern(
    pending: &PendingRequest,
    call: &ProxyCall,
    target: &Target,
    incoming: &Incoming<'_>,
) -> Result<RelayedResponse, DispatchError> {
    let (name, _) = named(&pending.method, incoming.params());
    let message = ModernMessage {
        method: &pending.method,
        name: name.as_deref(),
        param_headers: incoming::param_headers(&call.headers)?,
        body: incoming.text.clone().into(),
        id: Some(&pending.id),
    };
    Ok(call.upstream.relay_modern(target, message).await?)
}

async fn modern_to_handshake(
    pending: &PendingRequest,
    call: &ProxyCall,
    target: &Target,
    (params, body): (Option<&RawValue>, &Bytes),
) -> Result<RelayedResponse, DispatchError> {
    let upstream = &call.upstream;
    match pending.method.as_str() {
        "server/discover" => {
            let initialized = upstream.initialized(target).await?;
            Ok(local(translate::discovery(&initialized).ok_or_else(no_handshake)?))
        }
        "subscriptions/listen" => Err(untranslatable(
            StatusCode::NOT_FOUND,
            "The server is of a revision of MCP whose subscriptions are sessions', which this client has none of",
        )
        .into()),
        method => {
            if let ("tools/call", (Some(name), arguments)) = (method, named(method, params)) {
                // To this client, the proxy is the server.
                let given = incoming::param_headers(&call.headers)?;
                let none = RawValue::from_string("{}".to_owned()).map_err(Error::internal)?;
                let arguments = arguments.unwrap_or(&none);
                let mismatch = upstream.check_param_headers(target, &given, &name, arguments).await?;
                if let Some(ParamMismatch(header)) = mismatch {
                    return Err(incoming::mismatch(&format!("{header} does not match the body")).into());
                }
            }
            pooled(upstream, target, method, (params, body)).await
        }
    }
}

/// In a session of ours.
async fn pooled(
    upstream: &UpstreamClient,
    target: &Target,
    method: &str,
    (params, body): (Option<&RawValue>, &Bytes),
) -> Result<RelayedResponse, DispatchError> {
    let params = translate::params_for_handshake(params);
    let request = |id| {
        let id = to_raw_value(&id).map_err(|error| UpstreamError::protocol(error.to_string()))?;
        translate::request(&id, method, params.as_ref(), body)
    };
    Ok(upstream.relay_pooled(target, request).await?)
}

async fn handshake(
    pending: &mut PendingRequest,
    call: &ProxyCall,
    target: &Target,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Dispatched, DispatchError> {
    let initialize = match pending.method.as_str() {
        "initialize" => Some(read_initialize(params)?),
        _ => None,
    };
    let session = match &initialize {
        Some(_) => None,
        None => pending.session.clone().known()?,
    };
    // The session was opened with the credentials of the caller's admission. The user may have connected anew since
    // then.
    if session.is_some()
        && Binding::of(&pending.upstream_access) != Binding::admitted(pending.upstream_access.access())
    {
        return Err(no_such().into());
    }
    if session.as_ref().is_some_and(|session| session.handshake) {
        pending.eras.server = ProtocolEra::Handshake;
    }
    if pending.eras.server == ProtocolEra::Handshake && incoming.is_sessionless && initialize.is_none() {
        // There is none that the server would know it by.
        let relayed = pooled(&call.upstream, target, &pending.method, (params, incoming.text)).await?;
        return Ok(Dispatched { relayed, session: None });
    }
    if pending.eras.server == ProtocolEra::Handshake {
        let upstream_session = session.as_ref().and_then(Session::upstream_id);
        let version = incoming::version_for_server(&call.headers);
        let message = SessionMessage {
            version: version.as_ref(),
            session: upstream_session.as_ref(),
            body: Some(incoming.text.clone().into()),
            id: Some(&pending.id),
            last_event_id: None,
        };
        let relayed = match &initialize {
            Some(_) => call.upstream.relay_initialize(target, incoming.text, &pending.id).await,
            None => call.upstream.relay_in_session(target, message).await,
        };
        let answer = relayed.as_ref().map(|relayed| relayed.refused);
        if upstream_session.is_some() && upstream::ends_session(answer) {
            return Err(gone().into());
        }
        let relayed = relayed?;
        let session = initialize.and_then(|initialize| {
            let client_name = pending.client_name.clone();
            match &relayed.session_id {
                Some(opened) => Some(Session::upstream(Some(opened), &initialize, client_name)),
                // If the server keeps no session, ours holds what the client says of itself once.
                None if relayed.refused.is_some() => None,
                None if client_name.is_none() && !initialize.opens_urls() => None,
                None => Some(Session::described(&initialize, client_name)),
            }
        });
        return Ok(Dispatched { relayed, session });
    }
    if let Some(initialize) = initialize {
        if let Some((result, session)) = shake_hands(pending, call, target, incoming, &initialize).await? {
            pending.eras.server = ProtocolEra::Handshake;
            return Ok(Dispatched { relayed: local(result), session: Some(session) });
        }
        let discovered = discover(&call.upstream, target, &initialize).await?;
        let result = translate::initialize_result(&discovered, &initialize).ok_or_else(no_handshake)?;
        let session = Session::described(&initialize, pending.client_name.clone());
        return Ok(Dispatched { relayed: local(result), session: Some(session) });
    }
    let given = (params, incoming.text);
    let relayed = handshake_to_modern(pending, &call.upstream, target, given, session.as_ref()).await?;
    Ok(Dispatched { relayed, session: None })
}

/// Tries a handshake: a modern server may speak the client's revision too. Then the client gets all of that revision.
async fn shake_hands(
    pending: &PendingRequest,
    call: &ProxyCall,
    target: &Target,
    incoming: &Incoming<'_>,
    initialize: &Initialize<'_>,
) -> Result<Option<(Box<RawValue>, Session)>, DispatchError> {
    let message = SessionMessage {
        version: None,
        session: None,
        body: Some(incoming.text.clone().into()),
        id: Some(&pending.id),
        last_event_id: None,
    };
    let relayed = match call.upstream.relay_in_session(target, message).await {
        Ok(relayed) => relayed,
        Err(error @ (UpstreamError::Unauthorized { .. } | UpstreamError::Forbidden { .. })) => {
            return Err(error.into());
        }
        Err(_) => return Ok(None),
    };
    let session = Session::upstream(relayed.session_id.as_ref(), initialize, pending.client_name.clone());
    let answered = relayed.response().await.ok().and_then(|reply| reply.outcome.ok());
    Ok(answered.map(|result| (result, session)))
}

async fn handshake_to_modern(
    pending: &PendingRequest,
    upstream: &UpstreamClient,
    target: &Target,
    (params, body): (Option<&RawValue>, &Bytes),
    session: Option<&Session>,
) -> Result<RelayedResponse, DispatchError> {
    let method = pending.method.as_str();
    match method {
        "ping" => return Ok(local(RawValue::from_string("{}".to_owned()).map_err(Error::internal)?)),
        "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            return Err(untranslatable(
                StatusCode::OK,
                "The server is of a revision of MCP that keeps no sessions, and so no log level or subscription",
            )
            .into());
        }
        _ => {}
    }
    let (name, arguments) = named(method, params);
    let params = translate::params_for_modern(params, session);
    let body = translate::request(&pending.id, method, Some(&params), body)?;
    let message = ModernMessage { name: name.as_deref(), ..ModernMessage::plain(method, body, &pending.id) };
    match &name {
        Some(name) if method == "tools/call" => {
            let none = RawValue::from_string("{}".to_owned()).map_err(Error::internal)?;
            let arguments = arguments.unwrap_or(&none);
            Ok(upstream.relay_modern_call(target, message, name, arguments).await?)
        }
        _ => Ok(upstream.relay_modern(target, message).await?),
    }
}

/// What a request names, for the headers of a modern server.
fn named<'a>(method: &str, params: Option<&'a RawValue>) -> (Option<String>, Option<&'a RawValue>) {
    #[derive(serde::Deserialize)]
    struct Params<'a> {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        uri: Option<String>,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    let params = params.and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok());
    match (method, params) {
        ("tools/call" | "prompts/get", Some(Params { name, arguments, .. })) => (name, arguments),
        ("resources/read", Some(Params { uri, .. })) => (uri, None),
        _ => (None, None),
    }
}

async fn discover(
    upstream: &UpstreamClient,
    target: &Target,
    initialize: &Initialize<'_>,
) -> Result<Box<RawValue>, DispatchError> {
    let session = Session::described(initialize, None);
    let id = RawValue::from_string("1".to_owned()).map_err(Error::internal)?;
    let params = translate::params_for_modern(None, Some(&session));
    let body = translate::request(&id, "server/discover", Some(&params), &Bytes::new())?;
    let message = ModernMessage::plain("server/discover", body, &id);
    let reply = upstream.relay_modern(target, message).await?.response().await?;
    reply.outcome.map_err(|_| no_handshake().into())
}

fn read_initialize(params: Option<&RawValue>) -> Result<Initialize<'_>, RpcRefusal> {
    let read = params.and_then(|params| serde_json::from_str(params.get()).ok());
    read.ok_or_else(|| {
        RpcRefusal::new(
            StatusCode::OK,
            code::INVALID_PARAMS,
            "params of initialize must have a protocolVersion",
        )
    })
}

/// An answer that the proxy makes itself.
fn local(result: Box<RawValue>) -> RelayedResponse {
    RelayedResponse::whole(
        None,
        ServerMessage::Response(Reply { outcome: Ok(result), status: StatusCode::OK, room: None }),
    )
}

fn untranslatable(status: StatusCode, why: &str) -> RpcRefusal {
    RpcRefusal::new(status, code::METHOD_NOT_FOUND, why)
}

pub(super) fn gone() -> RpcRefusal {
    RpcRefusal::new(StatusCode::NOT_FOUND, code::INVALID_REQUEST, "The session has ended")
        .with(json!({ "reason": Reason::McpSessionGone }))
}

pub(super) fn no_handshake() -> Error {
    let detail = "The MCP server breaks the protocol: it does not describe itself".to_owned();
    Error::Upstream { kind: UpstreamFailure::Bad, detail, may_have_run: false, cause: None }
}
