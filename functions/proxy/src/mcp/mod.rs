//! `/api/v1/proxy/{server_id}/mcp`: a full MCP endpoint (Streamable HTTP) for unmodified clients of both eras, in
//! front of a server of either.
//!
//! | file | holds |
//! | --- | --- |
//! | `incoming` | the client's message, within bounds, and its era |
//! | `judge` | what the policies are asked, and filtering lists |
//! | `dispatch` | the way to the server, by the eras of both |
//! | `unasked` | what is no request: notifications, a session's stream and its end |
//! | `translate` | between the eras |
//! | `session` | the sealed `Mcp-Session-Id` of handshake clients |
//! | `flow` | the answer on its way back, as it comes |
//! | `answer` | responses, events and refusals as bytes |
//! | `fields` | a JSON object changed in a few fields |
//! | `described` | the errors, for the OpenAPI document |
//!
//! Who may not get in at all is answered by HTTP (401, 403, 404). What stops a request after that is told in the
//! protocol: an HTTP 401 would make a client get another token, which would not help.

mod answer;
mod described;
mod dispatch;
mod fields;
mod flow;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod incoming;
mod judge;
mod session;
mod translate;
mod unasked;

use std::borrow::Cow;

use axum::{
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use deputize_core::{
    Error, access::CallContext, audit::Action, authenticate::Presented, error::Done, origins::NOT_ALLOWED,
};
use deputize_service::{ApiError, extract, handlers, response::classify, routes::Routes};
use http::StatusCode;
use serde_json::value::RawValue;

#[cfg(feature = "fuzzing")]
pub(crate) use self::answer::event;
use self::{
    answer::{Refusal, code},
    fields::Fields,
    flow::Flow,
    incoming::{INFO_KEY, Incoming, Kind},
    judge::{Ask, List},
    session::Session,
};
use crate::{
    Proxy,
    caller::{Arrival, Caller},
    entry::Entry,
    pins::{in_force, require_callable},
    tools::MAX_BODY,
    trail::Trail,
};

pub(crate) fn routes() -> Routes<Proxy> {
    Routes::new().mount(handlers!(post, get, delete))
}

/// Why a request ends early.
#[derive(Debug)]
enum Stop {
    /// Not let in.
    Http(ApiError),
    /// No message, or one that cannot be granted.
    Rpc(Refusal),
}

impl Stop {
    /// What stops a caller who has been let in and asks nothing by JSON-RPC, so that HTTP must tell. It never
    /// tells 401, which would have the client get another token.
    fn unasked(error: Error) -> Self {
        match classify(&error) {
            (StatusCode::UNAUTHORIZED, _) => Self::Rpc(Refusal::of(&error).by(StatusCode::FORBIDDEN)),
            _ => Self::Http(error.into()),
        }
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Http(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Http(error.into())
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Rpc(refusal)
    }
}

impl IntoResponse for Stop {
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
/// 2025-03-26. Answers JSON, or a stream of events.
#[utoipa::path(
    post,
    path = "/api/v1/proxy/{server_id}/mcp",
    operation_id = "mcp_message",
    tag = "proxy",
    params(("server_id" = String, Path)),
    request_body(content = Object, description = "A JSON-RPC request, notification or response"),
    responses(
        (status = 200, description = "A JSON-RPC response, or events that end with it", content(
            (Object = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 202, description = "A notification or response was taken"),
        described::McpErrors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn post(Arrival { caller, presented }: Arrival, http: HttpRequest) -> Response {
    let answered = async {
        check_origin(&caller)?;
        extract::require_type(&caller.headers, "application/json")?;
        let body = extract::read_body(http, MAX_BODY).await?;
        let incoming = Incoming::read(&body, &caller.headers)?;
        match &incoming.kind {
            Kind::Request { id, method, params } => {
                Box::pin(ask(caller, presented, &incoming, id, method, *params)).await
            }
            Kind::Notification { .. } | Kind::Response => tell(caller, presented, &incoming).await,
        }
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// Open a stream of a handshake session
///
/// For handshake clients whose server keeps a session: what the server has to say by itself, or, with
/// `Last-Event-ID`, the rest of a stream that broke. 405 for all others.
#[utoipa::path(
    get,
    path = "/api/v1/proxy/{server_id}/mcp",
    operation_id = "mcp_stream",
    tag = "proxy",
    params(("server_id" = String, Path)),
    responses(
        (status = 200, description = "Events", content_type = "text/event-stream", body = String),
        described::McpErrors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn get(Arrival { caller, presented }: Arrival) -> Response {
    let answered = async {
        check_origin(&caller)?;
        unasked::open_stream(caller.let_in(presented, "GET", Done::StreamOpened).await?, &caller).await
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// End a handshake session
#[utoipa::path(
    delete,
    path = "/api/v1/proxy/{server_id}/mcp",
    operation_id = "mcp_end_session",
    tag = "proxy",
    params(("server_id" = String, Path)),
    responses(
        (status = 204, description = "It has ended"),
        described::McpErrors,
    ),
    security(("bearer" = []), ("api_key" = [])),
)]
async fn delete(Arrival { caller, presented }: Arrival) -> Response {
    let answered = async {
        check_origin(&caller)?;
        unasked::end_session(caller.let_in(presented, "DELETE", Done::SessionEnded).await?, &caller).await
    };
    answered.await.unwrap_or_else(IntoResponse::into_response)
}

/// A web page's requests are its visitor's browser's: only pages of known origins are answered
/// ([Streamable HTTP, security](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#security-endpoint)).
fn check_origin(caller: &Caller) -> Result<(), Refusal> {
    if caller.core.settings.lets_call(&caller.request.origin) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, code::INVALID_REQUEST, NOT_ALLOWED))
}

/// A caller who may use the server, and the way in.
struct LetIn {
    entry: Entry,
    trail: Trail,
}

impl Caller {
    /// For what is no request of the protocol.
    async fn let_in(&self, presented: Presented, what: &str, done: Done) -> Result<LetIn, Stop> {
        let mut trail = self.trail(&presented, Action::McpRequest)?;
        trail.done = done;
        trail.event.subject = Some(format!("method:{what}"));
        let access = match self.admit(presented, &mut trail).await {
            Ok(access) => access,
            Err(error) => return Err(self.recorded(trail, error).await.into()),
        };
        match Entry::to(&self.core, &self.request, &access, &mut trail).await {
            Ok(entry) => Ok(LetIn { entry, trail }),
            Err(error) => Err(Stop::unasked(self.recorded(trail, error).await)),
        }
    }

    /// What the caller is told of an error, once it is in the trail.
    async fn recorded(&self, trail: Trail, error: Error) -> Error {
        let ended = trail.end::<()>(&self.request, Err(error)).await;
        ended.err().unwrap_or_else(|| Error::internal("an error that is none"))
    }
}

/// What the stateless revision took out of the protocol
/// ([changelog](https://modelcontextprotocol.io/specification/2026-07-28/changelog)).
const REMOVED: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// A request's story: who calls, what the policies say, whose credentials are used, the server's answer.
async fn ask(
    caller: Caller,
    presented: Presented,
    incoming: &Incoming<'_>,
    id: &RawValue,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Response, Stop> {
    if incoming.era == incoming::Era::Modern && REMOVED.contains(&method) {
        let why = format!("Method not found: the revision 2026-07-28 has no {method}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, code::METHOD_NOT_FOUND, why).to(id).into());
    }
    let asked = Ask::read(method, params).map_err(|error| Refusal::of(&error).to(id))?;
    let Caller { core, upstream, shown, request, .. } = &caller;
    let mut trail = caller.trail(&presented, asked.action())?;
    asked.note(&mut trail, method);
    let access = match caller.admit(presented, &mut trail).await {
        Ok(access) => access,
        Err(error) => return Err(caller.recorded(trail, error).await.into()),
    };
    let entered = async {
        let session = match incoming.era {
            incoming::Era::Handshake if method != "initialize" => {
                Session::open(core, &access, &caller.headers).await?
            }
            _ => Ok(None),
        };
        // A handshake client says its name once.
        let named = session.as_ref().ok().and_then(|session| session.as_ref()?.client_name.clone());
        let client_name = named.or_else(|| client_name(params));
        let context = CallContext { source_ip: request.source_ip, client_name: client_name.as_deref() };
        asked.judge(&access, &mut trail, method, context)?;
        let entry = Entry::to(core, request, &access, &mut trail).await?;
        if let Ask::CallTool { name, .. } = &asked {
            require_callable(core, upstream, shown, &entry, &mut trail, name).await?;
        }
        let pins = match &asked {
            Ask::List(List::Tools) => in_force(core, &access).await?,
            _ => None,
        };
        Ok((session, client_name, entry, pins))
    }
    .await;
    let (session, client_name, entry, pins) = match entered {
        Ok(entered) => entered,
        Err(error) => {
            let error = caller.recorded(trail, error).await;
            return Err(Refusal::of(&error).to(id).into());
        }
    };
    let list = if let Ask::List(list) = asked { Some(list) } else { None };
    let flow = Flow {
        id: id.to_owned(),
        method: method.to_owned(),
        list,
        eras: flow::Eras { client: incoming.era, server: incoming.era },
        request: request.clone(),
        entry,
        trail,
        client_name,
        session,
        log_level: translate::log_level(params),
        pins,
    };
    dispatch::request(flow, &caller, incoming, params).await
}

/// What a client says without asking.
async fn tell(caller: Caller, presented: Presented, incoming: &Incoming<'_>) -> Result<Response, Stop> {
    let what = match &incoming.kind {
        Kind::Notification { method } => method.chars().take(200).collect(),
        _ => "response".to_owned(),
    };
    unasked::tell(caller.let_in(presented, &what, Done::MessageTaken).await?, &caller, incoming).await
}

/// What the client calls itself.
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
