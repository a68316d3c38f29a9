//! The way to the server, by the eras of client and server.
//!
//! | client | server | |
//! | --- | --- | --- |
//! | modern | modern | as it came |
//! | modern | handshake | in a session of ours; discovery is made of its handshake |
//! | handshake | handshake | as it came, in the client's own session |
//! | handshake | modern | each request told who the client is; the handshake is made of its discovery |

use axum::response::Response;
use deputize_core::{Error, error::UpstreamFailure};
use futures::{StreamExt, stream};
use http::StatusCode;
use serde_json::value::RawValue;

use super::{
    Stop,
    answer::{Refusal, code},
    flow::Flow,
    incoming::{self, Era, Incoming, PROTOCOL_VERSION},
    session::Session,
    translate::{self, Initialize},
};
use crate::caller::Caller;
use crate::upstream::{
    self, ModernMessage, ParamMismatch, Part, Relayed, Reply, Said, SessionMessage, Target, UpstreamClient,
    UpstreamError,
};

/// What a request comes to.
struct Dispatched {
    relayed: Relayed,
    /// The session that the client is given.
    session: Option<Session>,
}

/// Why it does not get to the server.
pub(super) enum Not {
    Upstream(UpstreamError),
    Refused(Refusal),
    Failed(Error),
}

impl From<UpstreamError> for Not {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Not {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A request that has been let in, and its answer.
pub(super) async fn request(
    mut flow: Flow,
    caller: &Caller,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Response, Stop> {
    let mut dispatched = dispatch(&mut flow, caller, incoming, params).await;
    if let Err(Not::Upstream(error)) = &dispatched {
        match flow.entry.is_renewed_after(Some(error)).await {
            Ok(true) => dispatched = dispatch(&mut flow, caller, incoming, params).await,
            Ok(false) => {}
            Err(error) => return Err(flow.refuse(error).await.into()),
        }
    }
    match dispatched {
        Ok(Dispatched { relayed, session }) => {
            let session = match session {
                Some(session) => match session.seal(&caller.core, flow.entry.access()).await {
                    Ok(sealed) => Some(sealed),
                    Err(error) => return Err(flow.refuse(error).await.into()),
                },
                None => None,
            };
            Ok(flow.answer(relayed, session).await)
        }
        Err(Not::Upstream(error)) => {
            let error = if flow.method == "tools/call" { error } else { error.while_calling(false) };
            let error = flow.entry.failure(&error);
            Err(flow.refuse(error).await.into())
        }
        Err(Not::Failed(error)) => Err(flow.refuse(error).await.into()),
        Err(Not::Refused(refusal)) => {
            let why = Error::Invalid(refusal.message().to_owned());
            let id = flow.id.clone();
            flow.refuse(why).await;
            Err(refusal.to(&id).into())
        }
    }
}

/// Once more if the server turns out to be of the other era than it was.
async fn dispatch(
    flow: &mut Flow,
    caller: &Caller,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Dispatched, Not> {
    let target = flow.entry.target.clone();
    let (era, remembered) = caller.upstream.era(&target).await?;
    let attempt = dispatch_as(era, flow, caller, incoming, params).await;
    let answer = match &attempt {
        Ok(dispatched) => Ok(&dispatched.relayed),
        Err(Not::Upstream(error)) => Err(error),
        Err(Not::Refused(_) | Not::Failed(_)) => return attempt,
    };
    if caller.upstream.doubt(&target, era, answer) && remembered {
        let (now, _) = caller.upstream.era(&target).await?;
        if now != era {
            return dispatch_as(now, flow, caller, incoming, params).await;
        }
    }
    attempt
}

async fn dispatch_as(
    server: upstream::Era,
    flow: &mut Flow,
    caller: &Caller,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Dispatched, Not> {
    let target = flow.entry.target.clone();
    flow.eras.server = match server {
        upstream::Era::Modern => Era::Modern,
        upstream::Era::Handshake => Era::Handshake,
    };
    let relayed = match (incoming.era, flow.eras.server) {
        (Era::Modern, Era::Modern) => modern_to_modern(flow, caller, &target, incoming).await?,
        (Era::Modern, Era::Handshake) => modern_to_handshake(flow, caller, &target, params).await?,
        (Era::Handshake, _) => return handshake(flow, caller, &target, incoming, params).await,
    };
    Ok(Dispatched { relayed, session: None })
}

async fn modern_to_modern(
    flow: &Flow,
    caller: &Caller,
    target: &Target,
    incoming: &Incoming<'_>,
) -> Result<Relayed, Not> {
    let (name, _) = named(&flow.method, incoming.params());
    let message = ModernMessage {
        method: &flow.method,
        name: name.as_deref(),
        param_headers: incoming::param_headers(&caller.headers)?,
        body: incoming.text.to_vec(),
        id: Some(&flow.id),
    };
    Ok(caller.upstream.relay_modern(target, message).await?)
}

async fn modern_to_handshake(
    flow: &Flow,
    caller: &Caller,
    target: &Target,
    params: Option<&RawValue>,
) -> Result<Relayed, Not> {
    let upstream = &caller.upstream;
    match flow.method.as_str() {
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
                // To its client, the server is we.
                let given = incoming::param_headers(&caller.headers)?;
                let none = RawValue::from_string("{}".to_owned()).map_err(Error::internal)?;
                let arguments = arguments.unwrap_or(&none);
                let checked = upstream.check_param_headers(target, &given, &name, arguments).await?;
                checked.map_err(|ParamMismatch(header)| {
                    incoming::mismatch(&format!("{header} does not match the body"))
                })?;
            }
            let params = translate::params_for_handshake(params);
            let body = |id: &RawValue| translate::request(id, method, params.as_deref());
            Ok(upstream.relay_pooled(target, body).await?)
        }
    }
}

async fn handshake(
    flow: &mut Flow,
    caller: &Caller,
    target: &Target,
    incoming: &Incoming<'_>,
    params: Option<&RawValue>,
) -> Result<Dispatched, Not> {
    let initialize = match flow.method.as_str() {
        "initialize" => Some(read_initialize(params)?),
        _ => None,
    };
    let session = match &initialize {
        Some(_) => None,
        None => flow.session.clone()?,
    };
    if session.as_ref().is_some_and(|session| session.handshake) {
        flow.eras.server = Era::Handshake;
    }
    if flow.eras.server == Era::Handshake {
        let upstream_session = session.as_ref().and_then(Session::upstream_id);
        let message = SessionMessage {
            version: caller.headers.get(PROTOCOL_VERSION),
            session: upstream_session.as_ref(),
            body: Some(incoming.text.to_vec()),
            id: Some(&flow.id),
            last_event_id: None,
        };
        let relayed = caller.upstream.relay_in_session(target, message).await;
        let status = match &relayed {
            Ok(relayed) => relayed.refused.map(|refused| refused.status),
            Err(UpstreamError::Status { status, .. }) => Some(*status),
            Err(_) => None,
        };
        if upstream_session.is_some() && status == Some(StatusCode::NOT_FOUND) {
            return Err(gone().into());
        }
        let relayed = relayed?;
        let session = initialize.and_then(|initialize| {
            let client_name = flow.client_name.clone();
            match &relayed.session_id {
                Some(opened) => Some(Session::upstream(Some(opened), client_name)),
                // Where the server keeps none, it is for the client's name.
                None if relayed.refused.is_some() || client_name.is_none() => None,
                None => Some(Session::described(&initialize, client_name)),
            }
        });
        return Ok(Dispatched { relayed, session });
    }
    if let Some(initialize) = initialize {
        if let Some((result, session)) = shake_hands(flow, caller, target, incoming).await? {
            flow.eras.server = Era::Handshake;
            return Ok(Dispatched { relayed: local(result), session: Some(session) });
        }
        let discovered = discover(&caller.upstream, target, &initialize).await?;
        let result = translate::initialize_result(&discovered, &initialize).ok_or_else(no_handshake)?;
        let session = Session::described(&initialize, flow.client_name.clone());
        return Ok(Dispatched { relayed: local(result), session: Some(session) });
    }
    let relayed = handshake_to_modern(flow, &caller.upstream, target, params, session.as_ref()).await?;
    Ok(Dispatched { relayed, session: None })
}

/// A modern server may speak the client's revision too, and then the client gets all of it.
async fn shake_hands(
    flow: &Flow,
    caller: &Caller,
    target: &Target,
    incoming: &Incoming<'_>,
) -> Result<Option<(Box<RawValue>, Session)>, Not> {
    let message = SessionMessage {
        version: None,
        session: None,
        body: Some(incoming.text.to_vec()),
        id: Some(&flow.id),
        last_event_id: None,
    };
    let mut relayed = match caller.upstream.relay_in_session(target, message).await {
        Ok(relayed) => relayed,
        Err(error @ (UpstreamError::Unauthorized { .. } | UpstreamError::Forbidden { .. })) => {
            return Err(error.into());
        }
        Err(_) => return Ok(None),
    };
    while let Some(Ok(part)) = relayed.parts.next().await {
        if let Some(Said::Response(Reply { outcome, .. })) = part.said {
            let session = Session::upstream(relayed.session_id.as_ref(), flow.client_name.clone());
            return Ok(outcome.ok().map(|result| (result, session)));
        }
    }
    Ok(None)
}

async fn handshake_to_modern(
    flow: &Flow,
    upstream: &UpstreamClient,
    target: &Target,
    params: Option<&RawValue>,
    session: Option<&Session>,
) -> Result<Relayed, Not> {
    let method = flow.method.as_str();
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
    let param_headers = match (&name, arguments) {
        (Some(name), arguments) if method == "tools/call" => {
            let none = RawValue::from_string("{}".to_owned()).map_err(Error::internal)?;
            upstream.param_headers(target, name, arguments.unwrap_or(&none)).await?
        }
        _ => http::HeaderMap::new(),
    };
    let params = translate::params_for_modern(params, session);
    let message = ModernMessage {
        method,
        name: name.as_deref(),
        param_headers,
        body: translate::request(&flow.id, method, Some(&params)),
        id: Some(&flow.id),
    };
    Ok(upstream.relay_modern(target, message).await?)
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
) -> Result<Box<RawValue>, Not> {
    let session = Session::described(initialize, None);
    let id = RawValue::from_string("1".to_owned()).map_err(Error::internal)?;
    let params = translate::params_for_modern(None, Some(&session));
    let message = ModernMessage {
        method: "server/discover",
        name: None,
        param_headers: http::HeaderMap::new(),
        body: translate::request(&id, "server/discover", Some(&params)),
        id: Some(&id),
    };
    let mut relayed = upstream.relay_modern(target, message).await?;
    while let Some(part) = relayed.parts.next().await {
        if let Some(Said::Response(Reply { outcome: Ok(result), .. })) = part?.said {
            return Ok(result);
        }
    }
    Err(no_handshake().into())
}

fn read_initialize(params: Option<&RawValue>) -> Result<Initialize<'_>, Refusal> {
    let read = params.and_then(|params| serde_json::from_str(params.get()).ok());
    read.ok_or_else(|| {
        Refusal::new(StatusCode::OK, code::INVALID_PARAMS, "params of initialize must have a protocolVersion")
    })
}

/// An answer that we make ourselves.
fn local(result: Box<RawValue>) -> Relayed {
    let said = Some(Said::Response(Reply { outcome: Ok(result), status: StatusCode::OK }));
    let part = Part { said, event_id: None, retry: None };
    Relayed { session_id: None, is_stream: false, refused: None, parts: Box::pin(stream::iter([Ok(part)])) }
}

fn untranslatable(status: StatusCode, why: &str) -> Refusal {
    Refusal::new(status, code::METHOD_NOT_FOUND, why)
}

pub(super) fn gone() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, code::INVALID_REQUEST, "The session has ended")
}

pub(super) fn no_handshake() -> Error {
    let detail = "The MCP server breaks the protocol: it does not describe itself".to_owned();
    Error::Upstream { kind: UpstreamFailure::Bad, detail }
}
