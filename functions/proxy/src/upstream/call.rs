//! How a request reaches a server, whatever it speaks: era, session, headers, and the few repetitions
//! that are safe because the first attempt was refused unread.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::era::{Era, Eras};
use super::error::code;
use super::message::{CallParams, ListParams, MODERN_VERSION, Meta, Request};
use super::param_headers::{self, ParamHeaders, ParamMismatch};
use super::session::{GivenUp, Sessions};
use super::tools::{KnownHeaders, Page, ToolList};
use super::transport::{Exchange, Listener, METHOD, NAME, PROTOCOL_VERSION, Transport};
use super::{CallContext, Target, UpstreamConfig, UpstreamError};

/// The servers out there: connections to them, and what is remembered of them.
pub(super) struct Upstreams {
    pub(super) transport: Transport,
    pub(super) eras: Eras,
    pub(super) sessions: Sessions,
    known_headers: KnownHeaders,
    next_id: AtomicU64,
}

/// One call of ours: whom it goes to, what it carries, and whether its tool call is under way.
pub(super) struct Errand<'a> {
    target: &'a Target,
    context: &'a CallContext,
    calling: AtomicBool,
}

impl<'a> Errand<'a> {
    pub(super) fn new(target: &'a Target, context: &'a CallContext) -> Self {
        Self { target, context, calling: AtomicBool::new(false) }
    }

    pub(super) fn is_calling(&self) -> bool {
        self.calling.load(Ordering::Relaxed)
    }

    fn set_calling(&self, calling: bool) {
        self.calling.store(calling, Ordering::Relaxed);
    }
}

/// What is asked of a server in one request.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Call { name: &'a str, arguments: &'a RawValue },
    List { cursor: Option<&'a str> },
}

impl Ask<'_> {
    fn method(self) -> &'static str {
        match self {
            Self::Call { .. } => "tools/call",
            Self::List { .. } => "tools/list",
        }
    }

    fn body(self, id: u64, context: &CallContext, era: Era) -> Result<Vec<u8>, UpstreamError> {
        let modern = era == Era::Modern;
        let meta = Meta { context, modern };
        match self {
            Self::Call { name, arguments } => {
                let input_responses = context.input_responses.as_deref().filter(|_| modern);
                let request_state = context.request_state.as_deref().filter(|_| modern);
                let params = CallParams { name, arguments, input_responses, request_state, meta };
                Request::bytes(id, self.method(), params)
            }
            Self::List { cursor } => Request::bytes(id, self.method(), ListParams { cursor, meta }),
        }
    }
}

impl Upstreams {
    pub(super) fn new(config: UpstreamConfig) -> Self {
        let config = Arc::new(config);
        let capacity = config.max_remembered;
        Self {
            transport: Transport::new(config),
            eras: Eras::new(capacity),
            sessions: Sessions::new(capacity),
            known_headers: KnownHeaders::new(capacity),
            next_id: AtomicU64::new(1),
        }
    }

    pub(super) fn prepare(&self) {
        self.transport.prepare();
    }

    pub(super) fn config(&self) -> &UpstreamConfig {
        &self.transport.config
    }

    /// Gives `work` the total time, or what is left of its request's. Sessions that are kept no longer are ended beside it.
    pub(super) async fn in_time<T>(
        &self,
        target: &Target,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let timeout = UpstreamError::Timeout { waiting_for: "an answer", sent: false };
        let work = tokio::time::timeout(target.journey.at_most(self.config().total_timeout), work);
        self.beside(work).await.unwrap_or(Err(timeout))
    }

    /// Does `work`, and ends sessions that are kept no longer beside it.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        self.sessions.farewells.beside(&self.transport, work).await
    }

    pub(super) async fn call(
        &self,
        errand: &Errand<'_>,
        name: &str,
        arguments: &RawValue,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let (era, remembered) = self.eras.of(&self.transport, errand.target).await?;
        let attempt = self.call_as(era, errand, name, arguments).await;
        match self.other_era(errand, era, remembered, &attempt).await {
            Some(other) => Box::pin(self.call_as(other, errand, name, arguments)).await,
            None => attempt,
        }
    }

    pub(super) async fn list(&self, errand: &Errand<'_>) -> Result<ToolList, UpstreamError> {
        let (era, remembered) = self.eras.of(&self.transport, errand.target).await?;
        let attempt = self.list_as(era, errand).await;
        match self.other_era(errand, era, remembered, &attempt).await {
            Some(other) => Box::pin(self.list_as(other, errand)).await,
            None => attempt,
        }
    }

    /// The era that the server turns out to be of, if `attempt` failed because it is not of `era` any more.
    async fn other_era<T: Send + Sync>(
        &self,
        errand: &Errand<'_>,
        era: Era,
        remembered: bool,
        attempt: &Result<T, UpstreamError>,
    ) -> Option<Era> {
        if !attempt.as_ref().err().is_some_and(|error| error.casts_doubt_on(era)) {
            return None;
        }
        self.eras.forget(errand.target, era);
        if !remembered {
            return None;
        }
        let (now, _) = self.eras.of(&self.transport, errand.target).await.ok()?;
        (now != era).then(|| {
            errand.set_calling(false);
            now
        })
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The headers into which a modern server wants a call's arguments mirrored.
    pub(super) async fn param_headers(
        &self,
        errand: &Errand<'_>,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<HeaderMap, UpstreamError> {
        let list = async || self.list_pages(Era::Modern, errand).await;
        let mut headers = HeaderMap::new();
        self.known_headers.of(errand.target, list).await?.add_to(&mut headers, tool, arguments)?;
        Ok(headers)
    }

    /// Whether a stateless client's headers agree with the arguments of its call of a handshake server's tool,
    /// which has never heard of such headers. The server's list is asked for only if there are any.
    pub(super) async fn check_param_headers(
        &self,
        errand: &Errand<'_>,
        given: &HeaderMap,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<Result<(), ParamMismatch>, UpstreamError> {
        let known = if given.is_empty() {
            self.known_headers.get(errand.target)
        } else {
            let list = async || self.list_pages(Era::Handshake, errand).await;
            Some(self.known_headers.of(errand.target, list).await?)
        };
        Ok(known.map_or(Ok(()), |known| known.check(given, tool, arguments)))
    }

    async fn call_as(
        &self,
        era: Era,
        errand: &Errand<'_>,
        name: &str,
        arguments: &RawValue,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let ask = Ask::Call { name, arguments };
        if era == Era::Handshake {
            let result = self.ask_in_session(errand, ask).await?;
            check_is_object(&result)?;
            return Ok(result);
        }
        let list = async || self.list_pages(Era::Modern, errand).await;
        let known = self.known_headers.of(errand.target, list).await?;
        let result = match self.ask_modern(errand, ask, Some(&known)).await {
            // The tool's annotations have changed, and the server refused the call for it: learn and retry.
            Err(UpstreamError::JsonRpc { code: code::HEADER_MISMATCH, .. }) => {
                errand.set_calling(false);
                let mut list = Box::pin(self.list_pages(Era::Modern, errand)).await?;
                let known = self.known_headers.learn(errand.target, &mut list);
                self.ask_modern(errand, ask, Some(&known)).await
            }
            other => other,
        }?;
        check_is_object(&result)?;
        check_result_type(&result, errand.context)?;
        Ok(result)
    }

    async fn list_as(&self, era: Era, errand: &Errand<'_>) -> Result<ToolList, UpstreamError> {
        let mut list = self.list_pages(era, errand).await?;
        if era == Era::Modern {
            self.known_headers.learn(errand.target, &mut list);
        }
        Ok(list)
    }

    /// All pages of a list, within bounds.
    async fn list_pages(&self, era: Era, errand: &Errand<'_>) -> Result<ToolList, UpstreamError> {
        let config = self.config();
        let mut list = ToolList { tools: Vec::new(), for_everybody: true };
        let mut cursor: Option<String> = None;
        let mut bytes = 0;
        for _ in 0..config.max_list_pages {
            let ask = Ask::List { cursor: cursor.as_deref() };
            let result = match era {
                Era::Modern => self.ask_modern(errand, ask, None).await?,
                Era::Handshake => self.ask_in_session(errand, ask).await?,
            };
            let page = Page::parse(&result)?;
            bytes += result.get().len();
            if bytes > config.max_response_bytes {
                return Err(UpstreamError::too_large(format!("{} bytes", config.max_response_bytes)));
            }
            if list.tools.len() + page.tools.len() > config.max_tools {
                return Err(UpstreamError::too_large(format!("{} tools", config.max_tools)));
            }
            list.for_everybody &= page.is_for_everybody();
            list.tools.extend(page.tools.iter().map(|tool| (*tool).to_owned()));
            match page.next_cursor {
                Some(next) => cursor = Some(next.into_owned()),
                None => return Ok(list),
            }
        }
        Err(UpstreamError::too_large(format!("{} pages of tools", config.max_list_pages)))
    }

    /// One self-contained request
    /// ([Streamable HTTP, request metadata](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#request-metadata)).
    async fn ask_modern(
        &self,
        errand: &Errand<'_>,
        ask: Ask<'_>,
        known: Option<&ParamHeaders>,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
        headers.insert(METHOD, HeaderValue::from_static(ask.method()));
        if let Ask::Call { name, arguments } = ask {
            headers.insert(NAME, param_headers::encode(name));
            if let Some(known) = known {
                known.add_to(&mut headers, name, arguments)?;
            }
        }
        let listener = Listener { notifications: errand.context.notifications.as_ref(), refuse_with: None };
        self.ask(errand, ask, Era::Modern, headers, listener).await?.into_result()
    }

    /// A request in the credential's session, which is opened anew, once, if the server has ended it.
    async fn ask_in_session(
        &self,
        errand: &Errand<'_>,
        ask: Ask<'_>,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let mut session = self.sessions.of(&self.transport, errand.target).await?;
        let mut answer = self.ask_session(errand, ask, session.headers()).await;
        if session.is_ended_by(&answer) {
            errand.set_calling(false);
            self.sessions.discard(errand.target, &session);
            session = self.sessions.of(&self.transport, errand.target).await?;
            answer = self.ask_session(errand, ask, session.headers()).await;
        }
        answer?.into_result()
    }

    async fn ask_session(
        &self,
        errand: &Errand<'_>,
        ask: Ask<'_>,
        session: &HeaderMap,
    ) -> Result<Exchange, UpstreamError> {
        let notifications = errand.context.notifications.as_ref();
        let listener = Listener { notifications, refuse_with: Some(session) };
        self.ask(errand, ask, Era::Handshake, session.clone(), listener).await
    }

    async fn ask(
        &self,
        errand: &Errand<'_>,
        ask: Ask<'_>,
        era: Era,
        headers: HeaderMap,
        listener: Listener<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let id = self.next_id();
        let body = ask.body(id, errand.context, era)?;
        let calling = matches!(ask, Ask::Call { .. });
        errand.set_calling(calling);
        let session = listener.refuse_with.filter(|_| calling);
        let given_up = session.map(|session| GivenUp::new(&self.transport, errand.target, session, id));
        let answer = self.transport.exchange(errand.target, headers, body, id, listener).await;
        if let Some(given_up) = given_up {
            given_up.not();
        }
        answer
    }
}

fn check_is_object(result: &RawValue) -> Result<(), UpstreamError> {
    // A raw value has no white space around it.
    if result.get().starts_with('{') {
        Ok(())
    } else {
        Err(UpstreamError::protocol("a result that is no object"))
    }
}

#[derive(Deserialize)]
struct ResultKind<'a> {
    #[serde(borrow, default, rename = "resultType")]
    kind: Option<Cow<'a, str>>,
}

/// Lets complete results pass, and requests for input where the caller said it can take them
/// ([overview, `resultType`](https://modelcontextprotocol.io/specification/2026-07-28/basic/index#resulttype)).
fn check_result_type(result: &RawValue, context: &CallContext) -> Result<(), UpstreamError> {
    let ResultKind { kind } = serde_json::from_str(result.get())
        .map_err(|error| UpstreamError::protocol(format!("no result of a tool: {error}")))?;
    match kind.as_deref() {
        None | Some("complete") => Ok(()),
        Some("input_required") if context.client_capabilities.is_some() => Ok(()),
        Some("input_required") => Err(UpstreamError::InputRequired),
        Some(_) => Err(UpstreamError::protocol("a result of a type unknown to this client")),
    }
}
