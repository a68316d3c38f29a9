//! `/api/v1/proxy/{server_id}/mcp`: a full MCP endpoint (Streamable HTTP) for unmodified clients of both eras, in front
//! of a server of either.
//!
//! | file | holds |
//! | --- | --- |
//! | `incoming` | the client's message, within bounds, and its era |
//! | `batch` | several messages at once, of the revision 2025-03-26 |
//! | `oversized` | the id of a request that is too large to be read |
//! | `authorize` | what the policies are asked, and filtering lists |
//! | `dispatch` | the way to the server, by the eras of both |
//! | `session_messages` | messages that are not requests: notifications, a session's stream and its end |
//! | `translate` | between the eras |
//! | `session` | the sealed `Mcp-Session-Id` of handshake clients |
//! | `pending` | the answer on its way back, as it comes |
//! | `stream_authorizer` | whether a stream may go on |
//! | `connect` | what a client is told if a user must connect to the server |
//! | `answer` | responses, events and refusals as bytes |
//! | `fields` | a JSON object changed in a few fields |
//! | `described` | the errors, for the OpenAPI document |
//!
//! A request's story is that of a call of `/tools`:
//!
//! 1. The credential's form, the `Origin`, the body within bounds. The body is one JSON-RPC message, or a batch of them
//!    (`batch`). In the stateless revision the headers must say what the body says (`incoming`).
//! 2. The one read. The policies, asked about the method (`authorize`). The credentials. For a call, whether the tool is
//!    held back.
//! 3. The way to the server (`dispatch`). If both are of one era, the message goes on as the bytes that came, and so do
//!    results, errors and notifications. Across eras, `translate` changes the few fields that differ.
//! 4. The answer as it comes (`pending`). Events are passed on one by one, for as long as the request would be admitted
//!    (`stream_authorizer`). The response itself is first written to the trail, then sent. Lists lose the entries that
//!    the caller may not use, and are marked `private`.
//!
//! **To a stateless client, this service is the server.** So if the server does not know `Mcp-Param-*` headers, they
//! are compared with the body here. The annotations are those of the server's list. The list is requested when a call
//! has such a header, and is believed for 5 minutes. A call without such headers is compared with a list only if one is
//! at hand: a missing header costs no round trip.
//!
//! **Only a refused admission is told by HTTP** (401, 403, 404). All other errors are told in the protocol. To an MCP
//! client a 401 means to get another token, and a 404 to begin another session. Neither would help a user whose grant
//! or connection is missing: that one is told where to connect (`connect`). In the stateless revision a bad request is also a 400, as it says. In the handshake revisions it is not, if
//! its id can be read: there are clients that end their session at any HTTP error.
//!
//! A handshake client's session is held in its id ([`deputize_core::mcp_sessions`]). Nothing about it is kept in
//! memory.

mod answer;
mod authorize;
mod batch;
mod connect;
mod described;
mod dispatch;
mod fields;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod incoming;
mod oversized;
mod pending;
mod session;
mod session_messages;
mod stream_authorizer;
mod translate;

use std::borrow::Cow;

use axum::{
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use deputize_api::{path, reason::Reason};
use deputize_core::{
    Error,
    access::{Access, PolicyContext},
    audit::{Action, RequestContext},
    authenticate::PresentedCredential,
    error::Done,
    origins::{NOT_ALLOWED, RequestOrigin},
};
use deputize_service::{ApiError, EdgeError, extract, handlers, routes::Routes};
use http::{HeaderMap, StatusCode};
use serde_json::{json, value::RawValue};

#[cfg(feature = "fuzzing")]
pub(crate) use self::answer::event;
use self::{
    answer::{RpcRefusal, code},
    authorize::{ClientRequest, List},
    connect::AddressShown,
    fields::Fields,
    incoming::{INFO_KEY, Incoming, Kind, Tidied},
    oversized::{MAX_SEEN, RequestId},
    pending::PendingRequest,
    session::{Binding, NamedSession, Session},
};
use crate::{
    Proxy,
    call::{IncomingCall, ProxyCall},
    call_audit::CallAudit,
    pins::{in_force, require_callable},
    tools::MAX_BODY,
    upstream_access::UpstreamAccess,
};

pub(crate) fn routes() -> Routes<Proxy> {
    let handlers = || handlers!(post(..), get(..), delete(..));
    Routes::new().mount(handlers()).route(path::MCP_WITH_SLASH, handlers().into_methods())
}

/// Why a request ends early.
#[derive(Debug)]
enum McpRejection {
    /// The caller is not admitted.
    Http(ApiError),
    /// The body is not a message, or the message cannot be granted.
    Rpc(RpcRefusal),
}

impl McpRejection {
    /// Why an admitted caller is refused, for a message that is not a JSON-RPC request, so that HTTP must say it. This
    /// is never a 401, which would make the client get another token.
    fn without_request(error: ApiError, upstream: &UpstreamAccess, request: &RequestContext) -> Self {
        Self::of_admitted(error, &upstream.core().settings.issuer, upstream.access(), request)
    }

    fn of_admitted(error: ApiError, issuer: &str, access: &Access, request: &RequestContext) -> Self {
        let refusal = match &error {
            ApiError::Core(error) => connect::refusal_by_http(issuer, access, request, error),
            ApiError::Edge(_) => None,
        };
        refusal.map_or(Self::Http(error), Self::Rpc)
    }

    /// The same, told in the protocol.
    fn into_refusal(self) -> RpcRefusal {
        match self {
            Self::Rpc(refusal) => refusal,
            Self::Http(ApiError::Core(error)) => RpcRefusal::of(&error),
            Self::Http(ApiError::Edge(error)) => RpcRefusal::of(&Error::invalid(error.to_string())),
        }
    }
}

impl From<ApiError> for McpRejection {
    fn from(error: ApiError) -> Self {
        Self::Http(error)
    }
}

impl From<Error> for McpRejection {
    fn from(error: Error) -> Self {
        Self::Http(error.into())
    }
}

impl From<RpcRefusal> for McpRejection {
    fn from(refusal: RpcRefusal) -> Self {
        Self::Rpc(refusal)
    }
}

impl IntoResponse for McpRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Http(error) => error.into_response(),
            Self::Rpc(refusal) => refusal.into_response(),
        }
    }
}

/// An MCP message
///
/// One JSON-RPC message of MCP's Streamable HTTP, of the revision 2026-07-28 or of 2025-11-25, 2025-06-18 and
/// 2025-03-26 (which may be a batch). Answers JSON, or a stream of events if the client takes one.
#[utoipa::path(
    post,
    path = path::MCP,
    operation_id = "send_mcp_message",
    tag = "proxy",
    params(("server_id" = String, Path)),
    request_body(content = HashMap<String, Value>, description = "A JSON-RPC request, notification or response"),
    responses(
        (status = 200, description = "A JSON-RPC response, or events that end with it.", content(
            (HashMap<String, Value> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 202, description = "A notification or response was taken."),
        (status = 400, description = "The body is not a message, or it disagrees with the headers.", body = described::McpErrorBody),
        described::McpErrors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn post(IncomingCall { call, presented }: IncomingCall, http: HttpRequest) -> Response {
    let answered = async {
        check_origin(&call, &presented)?;
        extract::require_type(&call.headers, "application/json")?;
        let body = body(&call.headers, http).await?;
        if incoming::is_batch(&body, &call.headers) {
            return Box::pin(batch::answer(call, presented, &body)).await;
        }
        let tidied = Tidied::of(&body);
        let incoming = Incoming::read(&tidied, &call.headers)?;
        Box::pin(message(call, presented, &incoming)).await
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// The body. If it is too large, a handshake client's request is answered in the protocol.
async fn body(headers: &HeaderMap, http: HttpRequest) -> Result<Bytes, McpRejection> {
    let mut id = RequestId::default();
    let read = extract::read_body_or_see(http, MAX_BODY, MAX_SEEN, |part| id.see(part)).await;
    match read {
        Err(error @ ApiError::Edge(EdgeError::TooLarge(_))) if incoming::is_of_handshake(headers) => {
            let Some(id) = id.end() else { return Err(error.into()) };
            let data = json!({ "error": error.classify().1, "reason": error.reason() });
            let refusal = RpcRefusal::new(StatusCode::OK, code::INVALID_REQUEST, error.to_string());
            Err(refusal.with(data).to(&id).into())
        }
        read => Ok(read?),
    }
}

async fn message(
    call: ProxyCall,
    presented: PresentedCredential,
    incoming: &Incoming<'_>,
) -> Result<Response, McpRejection> {
    let answered = match &incoming.kind {
        Kind::Request { id, method, params } => {
            Box::pin(ask(call, presented, incoming, id, method, *params)).await
        }
        Kind::Notification { .. } | Kind::Response => Box::pin(tell(call, presented, incoming)).await,
    };
    answered.map_err(|rejection| match rejection {
        McpRejection::Rpc(refusal) if incoming.era == incoming::ProtocolEra::Handshake => {
            refusal.in_handshake().into()
        }
        rejection => rejection,
    })
}

/// Open a stream of a handshake session
///
/// For handshake clients whose server keeps a session: the messages that the server sends by itself, or, with
/// `Last-Event-ID`, the rest of a stream that broke. All other clients get a 405.
#[utoipa::path(
    get,
    path = path::MCP,
    operation_id = "open_mcp_stream",
    tag = "proxy",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, description = "The messages of the server, as events.", content_type = "text/event-stream", body = String),
        (status = 400, description = "The session is missing, or the server does not understand `Last-Event-ID`.", body = described::McpErrorBody),
        described::McpErrors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(IncomingCall { call, presented }: IncomingCall) -> Response {
    let answered = async {
        check_origin(&call, &presented)?;
        let admitted = Box::pin(call.admitted(presented, "GET", Done::StreamOpened)).await?;
        Box::pin(session_messages::open_stream(admitted, &call)).await
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// End a handshake session
#[utoipa::path(
    delete,
    path = path::MCP,
    operation_id = "end_mcp_session",
    tag = "proxy",
    params(("server_id" = String, Path)),
    responses(
        (status = 204, description = "The session has ended."),
        (status = 400, description = "The session is missing.", body = described::McpErrorBody),
        described::McpErrors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete(IncomingCall { call, presented }: IncomingCall) -> Response {
    let answered = async {
        check_origin(&call, &presented)?;
        let admitted = Box::pin(call.admitted(presented, "DELETE", Done::SessionEnded)).await?;
        Box::pin(session_messages::end_session(admitted, &call)).await
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// A web page's requests are sent by its visitor's browser. So the pages that are answered with an agent account's
/// credential are of known origins
/// ([Streamable HTTP, security](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#security-endpoint)).
/// Web clients that act as a person come from anywhere. A page has no token that nobody gave it, and what a browser adds
/// by itself authenticates no caller here, so neither another site nor a rebound name (DNS) gains by that.
fn check_origin(call: &ProxyCall, presented: &PresentedCredential) -> Result<(), RpcRefusal> {
    let is_persons = matches!(presented, PresentedCredential::User(_));
    let from = &call.request.origin;
    if call.core.settings.allows_origin(from) || (is_persons && matches!(from, RequestOrigin::Page(_))) {
        return Ok(());
    }
    Err(RpcRefusal::new(StatusCode::FORBIDDEN, code::INVALID_REQUEST, NOT_ALLOWED)
        .with(json!({ "reason": Reason::OriginNotAllowed })))
}

/// A caller who may use the server, and the access to it.
struct Admitted {
    presented: PresentedCredential,
    upstream_access: UpstreamAccess,
    audit: CallAudit,
}

impl ProxyCall {
    /// Admits the caller of a message that is not a request of the protocol.
    async fn admitted(
        &self,
        presented: PresentedCredential,
        what: &str,
        done: Done,
    ) -> Result<Admitted, McpRejection> {
        let mut audit = self.audit(&presented, Action::McpRequest)?;
        audit.done = done;
        audit.event.subject = Some(format!("method:{what}"));
        let access = match self.admit(presented.clone(), &mut audit).await {
            Ok(access) => access,
            Err(error) => return Err(self.recorded(audit, error).await.into()),
        };
        match UpstreamAccess::to(&self.core, &self.request, &access, &mut audit).await {
            Ok(upstream_access) => Ok(Admitted { presented, upstream_access, audit }),
            Err(error) => {
                let error = self.recorded(audit, error).await.into();
                let issuer = &self.core.settings.issuer;
                Err(McpRejection::of_admitted(error, issuer, &access, &self.request))
            }
        }
    }

    /// Records an error in the trail, and returns what the caller is told.
    async fn recorded(&self, audit: CallAudit, error: Error) -> Error {
        let ended = audit.end::<(), _>(&self.request, Err(error)).await;
        ended.err().unwrap_or_else(|| Error::internal("an error that is none"))
    }
}

/// What the stateless revision has removed from the protocol
/// ([changelog](https://modelcontextprotocol.io/specification/2026-07-28/changelog)).
const REMOVED: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// A request's story: who calls, what the policies say, whose credentials are used, and the server's answer.
async fn ask(
    call: ProxyCall,
    presented: PresentedCredential,
    incoming: &Incoming<'_>,
    id: &RawValue,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Response, McpRejection> {
    if incoming.era == incoming::ProtocolEra::Modern && REMOVED.contains(&method) {
        let why = format!("Method not found: the revision 2026-07-28 has no {method}");
        return Err(RpcRefusal::new(StatusCode::NOT_FOUND, code::METHOD_NOT_FOUND, why).to(id).into());
    }
    let asked = ClientRequest::read(method, params).map_err(|error| RpcRefusal::of(&error).to(id))?;
    let takes_events = incoming::takes_events(&call.headers);
    if !takes_events && method == "subscriptions/listen" {
        let why = "subscriptions/listen is answered by a stream: send Accept: text/event-stream";
        return Err(RpcRefusal::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, why).to(id).into());
    }
    let ProxyCall { core, upstream, seen_approvals, request, .. } = &call;
    let mut audit = call.audit(&presented, asked.action())?;
    asked.note(&mut audit, method);
    let access = match call.admit(presented.clone(), &mut audit).await {
        Ok(access) => access,
        Err(error) => return Err(call.recorded(audit, error).await.into()),
    };
    let mut address_shown = AddressShown::default();
    let entered = async {
        let session = match incoming.era {
            incoming::ProtocolEra::Handshake if method != "initialize" => {
                Session::open(core, &Binding::admitted(&access), &call.headers).await?
            }
            _ => NamedSession::None,
        };
        address_shown = AddressShown::to(incoming, method, params, &session);
        // A handshake client gives its name once.
        let named = session.client_name().map(str::to_owned);
        let client_name = named.or_else(|| client_name(params));
        let context = PolicyContext { source_ip: request.source_ip, client_name: client_name.as_deref() };
        asked.authorize(&access, &mut audit, method, context).await?;
        let mut upstream_access = UpstreamAccess::to(core, request, &access, &mut audit).await?;
        if let ClientRequest::CallTool { name, .. } = &asked {
            require_callable(core, upstream, seen_approvals, &mut upstream_access, &mut audit, name).await?;
        }
        let pins = match &asked {
            ClientRequest::List(List::Tools) => in_force(core, &access).await?,
            _ => None,
        };
        Ok((session, client_name, upstream_access, pins))
    }
    .await;
    let (session, client_name, upstream_access, pins) = match entered {
        Ok(entered) => entered,
        Err(error) => {
            let error = call.recorded(audit, error).await;
            let refusal =
                connect::refusal(&core.settings.issuer, &access, request, &error, address_shown).to(id);
            let is_unknown = matches!(error, Error::PolicyDenied(_)) && asked.is_of_no_revision(method);
            return Err(match (is_unknown, incoming.era) {
                (false, _) => refusal,
                (true, incoming::ProtocolEra::Modern) => {
                    refusal.of_unknown_method().by(StatusCode::NOT_FOUND)
                }
                (true, incoming::ProtocolEra::Handshake) => refusal.of_unknown_method(),
            }
            .into());
        }
    };
    let list = if let ClientRequest::List(list) = asked { Some(list) } else { None };
    let pending = PendingRequest {
        id: id.to_owned(),
        method: method.to_owned(),
        params: None,
        presented,
        list,
        takes_events,
        eras: pending::EraPair { client: incoming.era, server: incoming.era },
        request: request.clone(),
        upstream_access,
        audit,
        client_name,
        session,
        log_level: translate::log_level(params),
        address_shown,
        pins,
    };
    Box::pin(dispatch::request(pending, &call, incoming, params)).await
}

/// Takes a client's message that is not a request.
async fn tell(
    call: ProxyCall,
    presented: PresentedCredential,
    incoming: &Incoming<'_>,
) -> Result<Response, McpRejection> {
    let what = match &incoming.kind {
        Kind::Notification { method } => method.chars().take(200).collect(),
        _ => "response".to_owned(),
    };
    let admitted = Box::pin(call.admitted(presented, &what, Done::MessageTaken)).await?;
    Box::pin(session_messages::tell(admitted, &call, incoming)).await
}

/// The name that the client gives itself.
fn client_name(params: Option<&RawValue>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Info<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    let params = Fields::of(params?)?;
    let meta = params.get("_meta").and_then(Fields::of);
    let info = meta.as_ref().and_then(|meta| meta.get(INFO_KEY)).or_else(|| params.get("clientInfo"))?;
    let Info { name } = serde_json::from_str(info.get()).ok()?;
    Some(name.chars().take(200).collect())
}
