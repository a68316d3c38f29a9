//! A response on its way to the client, as it comes: what is passed on, and what is changed in it. The response is in
//! the audit trail before the client sees it. It ends when its request would no longer be admitted.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use deputize_core::{
    Error, Result,
    access::PolicyContext,
    audit::{Outcome, RequestContext},
    authenticate::PresentedCredential,
    error::UpstreamFailure,
    pins::{CheckedToolList, Pins},
};
use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode};
use serde_json::value::RawValue;

use super::{
    answer::{KEEP_ALIVE, RpcRefusal, code, envelope, event, event_stream, json_answer},
    authorize::{ClientRequest, List},
    connect::{self, AddressShown},
    fields::{Fields, LISTS, shadows},
    incoming::{ENVELOPE, ProtocolEra, SESSION_ID},
    session::NamedSession,
    stream_authorizer::{Next, StreamAuthorizer},
    translate,
};
use crate::{
    call_audit::CallAudit,
    pins::is_shown,
    upstream::{RelayedResponse, Reply, ServerEvent, ServerMessage, UpstreamError},
    upstream_access::{HasUpstreamAccess, UpstreamAccess},
};

/// Of which eras the client and the server are.
#[derive(Clone, Copy, Debug)]
pub(super) struct EraPair {
    pub(super) client: ProtocolEra,
    pub(super) server: ProtocolEra,
}

/// An admitted request, until it is answered.
pub(super) struct PendingRequest {
    pub(super) id: Box<RawValue>,
    pub(super) method: String,
    /// The request's parameters, for as long as its answer streams.
    pub(super) params: Option<Box<RawValue>>,
    pub(super) presented: PresentedCredential,
    pub(super) list: Option<List>,
    /// Whether the client takes an answer as events.
    pub(super) takes_events: bool,
    pub(super) eras: EraPair,
    pub(super) request: RequestContext,
    pub(super) upstream_access: UpstreamAccess,
    pub(super) audit: CallAudit,
    pub(super) client_name: Option<String>,
    /// The session of a handshake client.
    pub(super) session: NamedSession,
    /// The lowest level of log messages that the client wants, if it wants any.
    pub(super) log_level: Option<usize>,
    /// How the client can be shown where to connect.
    pub(super) address_shown: AddressShown,
    /// The approved tools, if a list of tools is to be compared with them.
    pub(super) pins: Option<Arc<Pins>>,
}

impl HasUpstreamAccess for PendingRequest {
    fn upstream_access(&mut self) -> &mut UpstreamAccess {
        &mut self.upstream_access
    }
}

impl PendingRequest {
    /// Answers with what the server says.
    pub(super) async fn answer(
        mut self,
        relayed: RelayedResponse,
        session: Option<HeaderValue>,
        params: Option<&RawValue>,
    ) -> Response {
        let RelayedResponse { mut is_stream, mut parts, .. } = relayed;
        if is_stream {
            self.params = params.map(ToOwned::to_owned);
        }
        let mut authorizer =
            StreamAuthorizer::over(&self.upstream_access, &self.request, self.presented.clone());
        if is_stream && !self.takes_events {
            let (status, text) = self.only_response(authorizer, parts).await;
            let mut response = json_answer(status, text);
            response.headers_mut().extend(session.map(|session| (SESSION_ID, session)));
            return response;
        }
        if self.translates_for_modern() && is_stream {
            // A handshake server may answer with a stream where the client's revision has a status of its own.
            let first = loop {
                match authorizer.next(&mut parts).await {
                    Next::Silence | Next::Event(Some(Ok(ServerEvent { said: None, .. }))) => {}
                    Next::Event(Some(Ok(part))) if !self.passes(&part) => {}
                    Next::Event(first) => break first,
                    Next::Due => {
                        if let Err(cause) = self.go_on(&mut authorizer).await {
                            return self.end(cause).await.into_response();
                        }
                    }
                }
            };
            is_stream = matches!(&first, Some(Ok(ServerEvent { said: Some(ServerMessage::Message(_)), .. })));
            parts = Box::pin(stream::iter(first).chain(parts));
        }
        let mut response = if is_stream {
            let state = Some((self, authorizer, parts));
            event_stream(Body::from_stream(stream::unfold(state, |state| async move {
                let (mut pending, mut authorizer, mut parts) = state?;
                loop {
                    return match authorizer.next(&mut parts).await {
                        Next::Due => match pending.go_on(&mut authorizer).await {
                            Ok(()) => continue,
                            Err(cause) => {
                                let refusal = pending.end(cause).await.json();
                                Some((Ok::<_, Error>(event(&ServerEvent::NOWHERE, Some(&refusal))), None))
                            }
                        },
                        Next::Silence => {
                            Some((Ok(KEEP_ALIVE.to_owned()), Some((pending, authorizer, parts))))
                        }
                        Next::Event(next) => match pending.pass(next).await {
                            StreamStep::On(text, pending) => {
                                Some((Ok(text), Some((*pending, authorizer, parts))))
                            }
                            StreamStep::Last(text) => Some((Ok(text), None)),
                        },
                    };
                }
            })))
        } else {
            let reply = match parts.next().await {
                Some(Ok(ServerEvent { said: Some(ServerMessage::Response(reply)), .. })) => Ok(reply),
                Some(Err(error)) => Err(error),
                _ => Err(UpstreamError::no_response()),
            };
            let (status, text) = self.reply(reply).await;
            json_answer(status, text)
        };
        if let Some(session) = session {
            response.headers_mut().insert(SESSION_ID, session);
        }
        response
    }

    /// The response, of a stream of which the client takes nothing else.
    async fn only_response(
        mut self,
        mut authorizer: StreamAuthorizer,
        mut parts: impl Stream<Item = Result<ServerEvent, UpstreamError>> + Unpin,
    ) -> (StatusCode, String) {
        loop {
            let said = match authorizer.next(&mut parts).await {
                Next::Silence => continue,
                Next::Due => match self.go_on(&mut authorizer).await {
                    Ok(()) => continue,
                    Err(cause) => {
                        let refusal = self.end(cause).await;
                        return (refusal.status(), refusal.json());
                    }
                },
                Next::Event(None) => return self.reply(Err(UpstreamError::no_response())).await,
                Next::Event(Some(Err(error))) => return self.reply(Err(error)).await,
                Next::Event(Some(Ok(part))) => part.said,
            };
            match said {
                Some(ServerMessage::Response(reply)) => return self.reply(Ok(reply)).await,
                // The server would wait for an answer in vain.
                Some(ServerMessage::Message(message)) if asks_the_client(&message) => {
                    let may_have_run = self.method == "tools/call";
                    let detail = "The server asks the client something, for which the client must take a stream: send \
                                  Accept: application/json, text/event-stream";
                    let error = Error::Upstream {
                        kind: UpstreamFailure::Refused,
                        detail: detail.to_owned(),
                        may_have_run,
                        cause: None,
                    };
                    let refusal = self.refuse(error).await;
                    return (refusal.status(), refusal.json());
                }
                Some(ServerMessage::Message(_)) | None => {}
            }
        }
    }

    /// Answers that it cannot be done.
    pub(super) async fn refuse(self, error: Error) -> RpcRefusal {
        let Self { audit, request, id, upstream_access, address_shown, .. } = self;
        let error = match audit.end::<(), _>(&request, Err(error)).await {
            Err(error) => error,
            Ok(()) => Error::internal("an error that is none"),
        };
        let issuer = &upstream_access.core().settings.issuer;
        connect::refusal(issuer, upstream_access.access(), &request, &error, address_shown).to(&id)
    }

    /// Whether the stream may go on: whether its request would be admitted now.
    async fn go_on(&mut self, authorizer: &mut StreamAuthorizer) -> Result<()> {
        let Some(access) = authorizer.admit().await? else { return Ok(()) };
        let asked = ClientRequest::read(&self.method, self.params.as_deref())?;
        let (source_ip, client_name) = (self.request.source_ip, self.client_name.as_deref());
        let context = PolicyContext { source_ip, client_name };
        asked.authorize(&access, &mut self.audit, &self.method, context).await?;
        self.upstream_access.readmitted(access);
        Ok(())
    }

    /// Ends the stream, since it may not go on.
    async fn end(self, cause: Error) -> RpcRefusal {
        let calling = self.method == "tools/call";
        self.refuse(Error::stream_ended(cause, calling)).await
    }

    async fn pass(self, next: Option<Result<ServerEvent, UpstreamError>>) -> StreamStep {
        match next {
            Some(Ok(ServerEvent { said: Some(ServerMessage::Response(reply)), event_id, retry })) => {
                let (_, text) = self.reply(Ok(reply)).await;
                StreamStep::Last(event(&ServerEvent { said: None, event_id, retry }, Some(&text)))
            }
            Some(Ok(part)) if !self.passes(&part) => StreamStep::On(String::new(), Box::new(self)),
            Some(Ok(mut part)) => {
                if self.translates_for_modern() {
                    // In the client's revision, streams are not resumed.
                    (part.event_id, part.retry) = (None, None);
                }
                let data = match &part.said {
                    Some(ServerMessage::Message(message)) => Some(message.get()),
                    _ => None,
                };
                if data.is_some_and(|data| shadows(data.as_bytes(), &ENVELOPE)) {
                    return StreamStep::Last(self.broken(unclear()).await);
                }
                let text = event(&part, data);
                StreamStep::On(text, Box::new(self))
            }
            Some(Err(error)) => StreamStep::Last(self.broken(error).await),
            None if self.eras.client == ProtocolEra::Handshake => StreamStep::Last(self.left_open().await),
            None => StreamStep::Last(self.broken(UpstreamError::no_response()).await),
        }
    }

    fn translates_for_modern(&self) -> bool {
        self.eras.client == ProtocolEra::Modern && self.eras.server == ProtocolEra::Handshake
    }

    /// Whether a part is for this client. A handshake server's log messages are only if the client asked for their
    /// level
    /// ([logging](https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging)).
    fn passes(&self, part: &ServerEvent) -> bool {
        match &part.said {
            _ if !self.translates_for_modern() => true,
            None => false,
            Some(ServerMessage::Response(_)) => true,
            Some(ServerMessage::Message(message)) => translate::level_of(message)
                .is_none_or(|level| self.log_level.is_some_and(|least| level >= least)),
        }
    }

    /// The server has closed its stream, and will continue when the client asks for the rest.
    async fn left_open(mut self) -> String {
        self.audit.note("the server closed the stream before the response; its client may resume it");
        match self.audit.end(&self.request, Ok(String::new())).await {
            Ok(nothing) => nothing,
            Err(error) => {
                let refusal = RpcRefusal::of(&error).to(&self.id).json();
                event(&ServerEvent::NOWHERE, Some(&refusal))
            }
        }
    }

    async fn broken(self, error: UpstreamError) -> String {
        let (_, text) = self.reply(Err(error)).await;
        event(&ServerEvent::NOWHERE, Some(&text))
    }

    /// Stores the event in the trail, and returns the response.
    async fn reply(mut self, reply: Result<Reply, UpstreamError>) -> (StatusCode, String) {
        let made = match reply {
            Ok(Reply { outcome: Ok(result), room: _room, .. }) => {
                let result = self.result(result).await;
                result.map(|result| (StatusCode::OK, envelope(&self.id, Ok(&result))))
            }
            Ok(Reply { outcome: Err(error), status, .. }) => {
                self.audit.event.outcome = Outcome::Failed;
                self.audit.event.detail = Some(format!("The MCP server answered error {}", error.code));
                Ok((self.status(status, error.code), envelope(&self.id, Err(&error.error))))
            }
            Err(error) => Err(self.upstream_access.failure(error.while_calling(self.method == "tools/call"))),
        };
        let Self { audit, request, id, upstream_access, address_shown, .. } = self;
        match audit.end(&request, made).await {
            Ok(made) => made,
            Err(error) => {
                let issuer = &upstream_access.core().settings.issuer;
                let access = upstream_access.access();
                let refusal = connect::refusal(issuer, access, &request, &error, address_shown).to(&id);
                (StatusCode::OK, refusal.json())
            }
        }
    }

    /// The HTTP status for an error from the server.
    fn status(&self, status: StatusCode, code: i64) -> StatusCode {
        let EraPair { client, server } = self.eras;
        match client {
            // As it would see it without us, but for what would end its session ([`RpcRefusal::in_handshake`]).
            ProtocolEra::Handshake if status == StatusCode::BAD_REQUEST => StatusCode::OK,
            client if client == server && status.is_client_error() => status,
            ProtocolEra::Modern if code == code::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        }
    }

    /// The result as this client may see it. Parts that need no change keep their bytes.
    async fn result(&mut self, result: Box<RawValue>) -> Result<Box<RawValue>> {
        let calling = self.method == "tools/call";
        let no_object = || {
            let error = UpstreamError::protocol("a result that is no object").while_calling(calling);
            self.upstream_access.failure(error)
        };
        let eras = self.eras;
        if calling && crate::tools::is_error(&result) {
            self.audit.event.detail = Some("The tool reported an error".to_owned());
        }
        let same_era = eras.client == eras.server;
        let cacheable = matches!(
            self.method.as_str(),
            "server/discover"
                | "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
        );
        // A modern result may say that it is the same for all callers. Only the server can know this of its own
        // callers.
        if same_era && (eras.client == ProtocolEra::Handshake || !cacheable) && self.list.is_none() {
            // A raw value has no white space around it.
            return if result.get().starts_with('{') { Ok(result) } else { Err(no_object()) };
        }
        let mut fields = Fields::of(&result).ok_or_else(no_object)?;
        if eras.client == ProtocolEra::Handshake && translate::asks_for_input(&fields) {
            return Err(Error::Upstream {
                kind: UpstreamFailure::Bad,
                detail: "The server asks for input in a way that this client's revision of MCP does not know"
                    .to_owned(),
                may_have_run: self.method == "tools/call",
                cause: None,
            });
        }
        if let Some(list) = self.list {
            if shadows(result.get().as_bytes(), &LISTS) {
                return Err(self.upstream_access.failure(unclear()));
            }
            let context =
                PolicyContext { source_ip: self.request.source_ip, client_name: self.client_name.as_deref() };
            let (access, audit) = (self.upstream_access.access(), &mut self.audit);
            let checked = self.pins.as_deref().map(|pins| checked(pins, &fields));
            list.filter(&mut fields, access, context, |tool| is_shown(checked.as_ref(), access, audit, tool))
                .await?;
        }
        translate::keep_private(&mut fields);
        if eras.client == ProtocolEra::Modern {
            translate::complete(&mut fields);
            if cacheable && !translate::asks_for_input(&fields) {
                translate::mark_private(&mut fields);
            }
            if self.method == "server/discover" {
                translate::advertise(&mut fields);
            }
        }
        Ok(fields.to_raw())
    }
}

/// The tools of a result, compared with the approved ones.
pub(super) fn checked<'a>(pins: &'a Pins, result: &Fields<'_>) -> CheckedToolList<'a> {
    let tools =
        result.get("tools").and_then(|tools| serde_json::from_str::<Vec<&RawValue>>(tools.get()).ok());
    pins.list(tools.unwrap_or_default())
}

/// Whether a message of a stream waits for the client's answer. A `ping` does without harm.
fn asks_the_client(message: &RawValue) -> bool {
    let Some(message) = Fields::of(message) else { return false };
    let method = message.get("method").filter(|_| message.get("id").is_some());
    method.is_some_and(|method| method.get() != r#""ping""#)
}

/// What one reader would take for something else than another.
fn unclear() -> UpstreamError {
    UpstreamError::protocol("a name that occurs twice, in whatever case")
}

enum StreamStep {
    On(String, Box<PendingRequest>),
    Last(String),
}
