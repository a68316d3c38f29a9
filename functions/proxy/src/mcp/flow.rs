//! A response on its way to the client, as it comes: what passes, what is changed in it, and that it is in the
//! audit trail before it is seen.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use deputize_core::{
    Error, Result,
    access::CallContext,
    audit::{Outcome, Request},
    error::UpstreamFailure,
    pins::Pins,
};
use futures::{StreamExt, stream};
use http::{HeaderValue, StatusCode};
use serde_json::value::RawValue;

use super::{
    answer::{KEEP_ALIVE, Refusal, code, envelope, event, event_stream, json_answer},
    fields::Fields,
    incoming::{Era, SESSION_ID},
    judge::List,
    session::Session,
    translate,
};
use crate::{
    entry::Entry,
    pins::is_shown,
    trail::Trail,
    upstream::{Part, Relayed, Reply, Said, UpstreamError},
};

/// How often a silent stream gets a comment, so that nothing on the way takes it for dead.
pub(super) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// Of which eras the client and the server are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eras {
    pub(super) client: Era,
    pub(super) server: Era,
}

/// A request that has been let in, until it is answered.
pub(super) struct Flow {
    pub(super) id: Box<RawValue>,
    pub(super) method: String,
    pub(super) list: Option<List>,
    pub(super) eras: Eras,
    pub(super) request: Request,
    pub(super) entry: Entry,
    pub(super) trail: Trail,
    pub(super) client_name: Option<String>,
    /// The session of a handshake client, or why there is none.
    pub(super) session: Result<Option<Session>, Refusal>,
    /// From which level on the client wants log messages, if it wants any.
    pub(super) log_level: Option<usize>,
    /// The approved tools, if a list of tools is to be held against them.
    pub(super) pins: Option<Arc<Pins>>,
}

impl Flow {
    /// Answers with what the server says.
    pub(super) async fn answer(self, relayed: Relayed, session: Option<HeaderValue>) -> Response {
        let Relayed { mut is_stream, mut parts, .. } = relayed;
        if self.translates_for_modern() && is_stream {
            // A handshake server may answer by a stream what has a status of its own in the client's revision.
            let first = loop {
                match parts.next().await {
                    Some(Ok(Part { said: None, .. })) => {}
                    Some(Ok(part)) if !self.passes(&part) => {}
                    first => break first,
                }
            };
            is_stream = matches!(&first, Some(Ok(Part { said: Some(Said::Message(_)), .. })));
            parts = Box::pin(stream::iter(first).chain(parts));
        }
        let mut response = if is_stream {
            let state = Some((self, parts));
            event_stream(Body::from_stream(stream::unfold(state, |state| async move {
                let (flow, mut parts) = state?;
                let Ok(next) = tokio::time::timeout(KEEP_ALIVE_EVERY, parts.next()).await else {
                    return Some((Ok::<_, Error>(KEEP_ALIVE.to_owned()), Some((flow, parts))));
                };
                match flow.pass(next).await {
                    Passed::On(text, flow) => Some((Ok(text), Some((*flow, parts)))),
                    Passed::Last(text) => Some((Ok(text), None)),
                }
            })))
        } else {
            let reply = match parts.next().await {
                Some(Ok(Part { said: Some(Said::Response(reply)), .. })) => Ok(reply),
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

    /// Answers that it cannot be done.
    pub(super) async fn refuse(self, error: Error) -> Refusal {
        let Self { trail, request, id, .. } = self;
        let error = match trail.end::<()>(&request, Err(error)).await {
            Err(error) => error,
            Ok(()) => Error::internal("an error that is none"),
        };
        Refusal::of(&error).to(&id)
    }

    async fn pass(self, next: Option<Result<Part, UpstreamError>>) -> Passed {
        match next {
            Some(Ok(Part { said: Some(Said::Response(reply)), event_id, retry })) => {
                let (_, text) = self.reply(Ok(reply)).await;
                Passed::Last(event(&Part { said: None, event_id, retry }, Some(&text)))
            }
            Some(Ok(part)) if !self.passes(&part) => Passed::On(String::new(), Box::new(self)),
            Some(Ok(mut part)) => {
                if self.translates_for_modern() {
                    // Streams of the client's revision are not resumed.
                    (part.event_id, part.retry) = (None, None);
                }
                let data = match &part.said {
                    Some(Said::Message(message)) => Some(message.get()),
                    _ => None,
                };
                let text = event(&part, data);
                Passed::On(text, Box::new(self))
            }
            Some(Err(error)) => Passed::Last(self.broken(error).await),
            None if self.eras.client == Era::Handshake => Passed::Last(self.left_open().await),
            None => Passed::Last(self.broken(UpstreamError::no_response()).await),
        }
    }

    fn translates_for_modern(&self) -> bool {
        self.eras.client == Era::Modern && self.eras.server == Era::Handshake
    }

    /// Whether a part is for this client. A handshake server's log messages are, as far as it asked for such
    /// ([logging](https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging)).
    fn passes(&self, part: &Part) -> bool {
        match &part.said {
            _ if !self.translates_for_modern() => true,
            None => false,
            Some(Said::Response(_)) => true,
            Some(Said::Message(message)) => translate::level_of(message)
                .is_none_or(|level| self.log_level.is_some_and(|least| level >= least)),
        }
    }

    /// The server has closed its stream, to go on when the client asks for the rest of it.
    async fn left_open(mut self) -> String {
        self.trail.note("the server closed the stream before the response; its client may resume it");
        match self.trail.end(&self.request, Ok(String::new())).await {
            Ok(nothing) => nothing,
            Err(error) => {
                let refusal = Refusal::of(&error).to(&self.id).json();
                event(&Part { said: None, event_id: None, retry: None }, Some(&refusal))
            }
        }
    }

    async fn broken(self, error: UpstreamError) -> String {
        let (_, text) = self.reply(Err(error)).await;
        event(&Part { said: None, event_id: None, retry: None }, Some(&text))
    }

    /// The response, once it is in the trail.
    async fn reply(mut self, reply: Result<Reply, UpstreamError>) -> (StatusCode, String) {
        let made = match reply {
            Ok(Reply { outcome: Ok(result), .. }) => {
                self.result(&result).map(|result| (StatusCode::OK, envelope(&self.id, Ok(&result))))
            }
            Ok(Reply { outcome: Err(error), status }) => {
                self.trail.event.outcome = Outcome::Failed;
                self.trail.event.detail = Some(format!("The MCP server answered error {}", error.code));
                Ok((self.status(status, error.code), envelope(&self.id, Err(&error.error))))
            }
            Err(error) => Err(self.entry.failure(&error.while_calling(self.method == "tools/call"))),
        };
        let Self { trail, request, id, .. } = self;
        match trail.end(&request, made).await {
            Ok(made) => made,
            Err(error) => {
                let refusal = Refusal::of(&error).to(&id);
                (StatusCode::OK, refusal.json())
            }
        }
    }

    /// The HTTP status of an error of the server's.
    fn status(&self, status: StatusCode, code: i64) -> StatusCode {
        let Eras { client, server } = self.eras;
        match client {
            // As it would see it without us.
            client if client == server && status.is_client_error() => status,
            Era::Modern if code == code::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        }
    }

    /// The result as this client may see it. What is not to be changed keeps its bytes.
    fn result(&mut self, result: &RawValue) -> Result<Box<RawValue>> {
        let calling = self.method == "tools/call";
        let no_object = UpstreamError::protocol("a result that is no object").while_calling(calling);
        let no_object = || self.entry.failure(&no_object);
        let eras = self.eras;
        if calling && crate::tools::is_error(result) {
            self.trail.event.detail = Some("The tool reported an error".to_owned());
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
        // A modern result may say that everybody may have it, which only the server can know of its own callers.
        if same_era && (eras.client == Era::Handshake || !cacheable) && self.list.is_none() {
            // A raw value has no white space around it.
            return if result.get().starts_with('{') { Ok(result.to_owned()) } else { Err(no_object()) };
        }
        let mut fields = Fields::of(result).ok_or_else(no_object)?;
        if eras.client == Era::Handshake && translate::asks_for_input(&fields) {
            return Err(Error::Upstream {
                kind: UpstreamFailure::Bad,
                detail: "The server asks for input in a way that this client's revision of MCP does not know"
                    .to_owned(),
            });
        }
        if let Some(list) = self.list {
            let context =
                CallContext { source_ip: self.request.source_ip, client_name: self.client_name.as_deref() };
            let (access, trail, pins) = (self.entry.access(), &mut self.trail, self.pins.as_deref());
            list.filter(&mut fields, access, context, |tool| is_shown(pins, access, trail, tool))?;
        }
        if eras.client == Era::Modern {
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

enum Passed {
    On(String, Box<Flow>),
    Last(String),
}
