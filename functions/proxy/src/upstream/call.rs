//! What `/tools` asks a server for: one tool call or one list. The requests are those that `/mcp` relays. The answer is
//! read up to the response.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use deputize_core::in_flight::TakenRoom;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::RelayedResponse;
use super::message::{CallParams, ListParams, Meta, Request};
use super::modern::ModernMessage;
use super::tools::{Page, ToolList};
use super::{ProtocolEra, Target, UpstreamClient, UpstreamError};

/// A tool call that Deputize makes itself.
#[derive(Clone, Copy)]
struct ToolCall<'a> {
    name: &'a str,
    arguments: &'a RawValue,
    body: &'a Bytes,
    traceparent: Option<&'a str>,
}

/// The outcome of a tool call.
#[derive(Debug)]
pub struct Called {
    /// The `CallToolResult`'s own bytes.
    pub result: Box<RawValue>,
    /// The room that it takes in this process.
    pub room: Option<TakenRoom>,
}

impl<'a> ToolCall<'a> {
    fn request(self, id: u64, era: ProtocolEra) -> Request<'a, CallParams<'a>> {
        let Self { name, arguments, traceparent, .. } = self;
        Request::new(id, "tools/call", CallParams { name, arguments, meta: Meta { era, traceparent } })
    }
}

impl UpstreamClient {
    /// Calls a tool. The answer is the `CallToolResult`'s own bytes, also if the tool failed (`isError`). `traceparent`
    /// is W3C trace context, sent in `_meta`. If the arguments are a part of `body`, they are sent from there.
    ///
    /// To give up a call, drop the future. A modern server sees its connection close; a handshake server is told.
    pub async fn call_tool(
        &self,
        target: &Target,
        name: &str,
        (arguments, body): (&RawValue, &Bytes),
        traceparent: Option<&str>,
    ) -> Result<Called, UpstreamError> {
        // The call and the requests that it needs share one time limit.
        let target = &target.within(self.config().total_timeout);
        let call = ToolCall { name, arguments, body, traceparent };
        let known = self.era(target).await?;
        let attempt = self.call_as(known.era, target, call).await;
        match self.other_era(target, known, attempt.as_ref().map(|_| None)).await {
            Some(other) => Box::pin(self.call_as(other, target, call)).await,
            None => attempt,
        }
    }

    async fn call_as(
        &self,
        era: ProtocolEra,
        target: &Target,
        call: ToolCall<'_>,
    ) -> Result<Called, UpstreamError> {
        let relayed = match era {
            ProtocolEra::Modern => self.call_modern(target, call).await,
            ProtocolEra::Handshake => {
                let request = |id| call.request(id, era).written_around(call.body);
                self.relay_pooled(target, request).await
            }
        }?;
        let answered = async {
            let mut reply = relayed.response().await?;
            let room = reply.room.take();
            let result = reply.into_result()?;
            // A raw value has no white space around it.
            if !result.get().starts_with('{') {
                return Err(UpstreamError::protocol("a result that is no object"));
            }
            if era == ProtocolEra::Modern {
                check_is_complete(&result)?;
            }
            Ok(Called { result, room })
        };
        answered.await.map_err(|error| error.while_calling(true))
    }

    async fn call_modern(
        &self,
        target: &Target,
        call: ToolCall<'_>,
    ) -> Result<RelayedResponse, UpstreamError> {
        let ToolCall { name, arguments, .. } = call;
        let request = call.request(self.next_id(), ProtocolEra::Modern);
        let (id, body) = (request.id()?, request.written_around(call.body)?);
        let message = ModernMessage { name: Some(name), ..ModernMessage::plain("tools/call", body, &id) };
        self.relay_modern_call(target, message, name, arguments).await
    }

    /// Lists the tools that the credential may use, each as its own bytes, from all pages.
    ///
    /// As the specification demands, tools of a modern server are left out if their header annotations are invalid.
    pub async fn list_tools(&self, target: &Target) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        let listed = async {
            let known = self.era(target).await?;
            let attempt = self.list_as(known.era, target).await;
            match self.other_era(target, known, attempt.as_ref().map(|_| None)).await {
                Some(other) => Box::pin(self.list_as(other, target)).await,
                None => attempt,
            }
        };
        Ok(self.in_time(target, Box::pin(listed)).await?.tools)
    }

    async fn list_as(&self, era: ProtocolEra, target: &Target) -> Result<ToolList, UpstreamError> {
        let mut list = self.list_pages(era, target).await?;
        if era == ProtocolEra::Modern {
            self.shared.known_headers.learn(target, &mut list);
        }
        Ok(list)
    }

    /// All pages of a list, within bounds.
    pub(super) async fn list_pages(
        &self,
        era: ProtocolEra,
        target: &Target,
    ) -> Result<ToolList, UpstreamError> {
        let config = self.config();
        let mut list = ToolList { tools: Vec::new(), for_everybody: true };
        let mut cursor: Option<String> = None;
        let mut cursors = HashSet::new();
        let mut bytes = 0;
        for _ in 0..config.max_list_pages {
            let params = ListParams { cursor: cursor.as_deref(), meta: Meta { era, traceparent: None } };
            let result = self.ask(era, target, "tools/list", &params).await?;
            let page = Page::parse(&result)?;
            bytes += result.get().len();
            if bytes > config.max_response_bytes {
                return Err(UpstreamError::too_large(format!("{} bytes", config.max_response_bytes)));
            }
            if list.tools.len() + page.tools.len() > config.max_tools {
                return Err(UpstreamError::too_large(format!("{} tools", config.max_tools)));
            }
            list.for_everybody &= page.is_for_everybody();
            let next = page.next_cursor.map(Cow::into_owned);
            // Some servers always give a cursor, mostly an empty one, and begin again when they are asked with it
            // (https://github.com/DeusData/codebase-memory-mcp/issues/1247,
            // https://github.com/modelcontextprotocol/java-sdk/issues/575). By itself an empty one is good.
            let is_over = next.as_ref().is_none_or(|next| !cursors.insert(next.clone()));
            let is_repeated =
                |tool: &RawValue| is_over && list.tools.iter().any(|had| had.get() == tool.get());
            let new: Vec<_> =
                page.tools.into_iter().filter(|tool| !is_repeated(tool)).map(ToOwned::to_owned).collect();
            list.tools.extend(new);
            if is_over {
                return Ok(list);
            }
            cursor = next;
        }
        Err(UpstreamError::too_large(format!("{} pages of tools", config.max_list_pages)))
    }

    /// A request of our own that calls no tool, to a server of either era.
    pub(super) async fn ask(
        &self,
        era: ProtocolEra,
        target: &Target,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let asked = async {
            let relayed = match era {
                ProtocolEra::Modern => {
                    let request = Request::new(self.next_id(), method, params);
                    let (id, body) = (request.id()?, request.written()?);
                    let message = ModernMessage::plain(method, body, &id);
                    self.relay_modern(target, message).await?
                }
                ProtocolEra::Handshake => {
                    let body = |id| Request::new(id, method, params).written();
                    self.relay_pooled(target, body).await?
                }
            };
            relayed.response().await?.into_result()
        };
        asked.await.map_err(|error| error.while_calling(false))
    }
}

#[derive(Deserialize)]
struct ResultKind<'a> {
    #[serde(borrow, default, rename = "resultType")]
    kind: Option<Cow<'a, str>>,
}

/// Lets complete results pass. A request for input cannot be passed on in an answer of `/tools`
/// ([overview, `resultType`](https://modelcontextprotocol.io/specification/2026-07-28/basic/index#resulttype)).
fn check_is_complete(result: &RawValue) -> Result<(), UpstreamError> {
    let ResultKind { kind } = serde_json::from_str(result.get())
        .map_err(|error| UpstreamError::unread("no result of a tool", &error))?;
    match kind.as_deref() {
        None | Some("complete") => Ok(()),
        Some("input_required") => Err(UpstreamError::InputRequired),
        Some(_) => Err(UpstreamError::protocol("a result of a type unknown to this client")),
    }
}
