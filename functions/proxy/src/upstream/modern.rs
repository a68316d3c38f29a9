//! Requests to modern servers: each is one self-contained POST
//! ([Streamable HTTP, request metadata](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#request-metadata)),
//! with a call's arguments mirrored into headers where its tool asks for it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::value::RawValue;

use super::answer::RelayedResponse;
use super::error::code;
use super::message::MODERN_VERSION;
use super::param_headers::{ParamHeaders, ParamMismatch, encode};
use super::transport::{METHOD, NAME, PROTOCOL_VERSION};
use super::{Outgoing, ProtocolEra, Target, UpstreamClient, UpstreamError};

/// A message on its way to a modern server.
#[derive(Debug)]
pub struct ModernMessage<'a> {
    /// Its JSON-RPC method.
    pub method: &'a str,
    /// What it names: a tool, a prompt, a resource's URI.
    pub name: Option<&'a str>,
    /// The `Mcp-Param-*` headers that belong to it.
    pub param_headers: HeaderMap,
    /// The whole message.
    pub body: Outgoing,
    /// Its id, if it is a request.
    pub id: Option<&'a RawValue>,
}

impl<'a> ModernMessage<'a> {
    /// A request that names nothing.
    pub(crate) fn plain(method: &'a str, body: Outgoing, id: &'a RawValue) -> Self {
        Self { method, name: None, param_headers: HeaderMap::new(), body, id: Some(id) }
    }
}

impl UpstreamClient {
    /// Relays a message unchanged to a modern server.
    pub async fn relay_modern(
        &self,
        target: &Target,
        message: ModernMessage<'_>,
    ) -> Result<RelayedResponse, UpstreamError> {
        let ModernMessage { method, name, param_headers, body, id } = message;
        let mut headers = param_headers;
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
        headers.insert(METHOD, encode(method));
        if let Some(name) = name {
            headers.insert(NAME, encode(name));
        }
        let transport = &self.shared.transport;
        let timeouts = transport.timeouts(method == "subscriptions/listen");
        self.beside(transport.relay(Method::POST, target, headers, Some(body), id, timeouts)).await
    }

    /// A call of a tool whose caller does not know which arguments the server wants in headers. If the server refuses
    /// the call unread because this has changed, the call is sent once more.
    pub(crate) async fn relay_modern_call(
        &self,
        target: &Target,
        message: ModernMessage<'_>,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<RelayedResponse, UpstreamError> {
        let relay = async |known: Arc<ParamHeaders>| {
            let ModernMessage { method, name, id, .. } = message;
            let (mut param_headers, body) = (message.param_headers.clone(), message.body.clone());
            known.add_to(&mut param_headers, tool, arguments)?;
            self.relay_modern(target, ModernMessage { method, name, param_headers, body, id }).await
        };
        let relayed = relay(self.known_headers(ProtocolEra::Modern, target).await?).await?;
        if relayed.refused.is_none_or(|refused| refused.code != code::HEADER_MISMATCH) {
            return Ok(relayed);
        }
        let listed = self.in_time(target, self.list_pages(ProtocolEra::Modern, target));
        let mut list = Box::pin(listed).await?;
        relay(self.shared.known_headers.learn(target, &mut list)).await
    }

    /// Where the `Mcp-Param-*` headers of a stateless client differ from its call of a handshake server's tool, which has
    /// never heard of such headers. The server's list is asked for only if there are any.
    pub(crate) async fn check_param_headers(
        &self,
        target: &Target,
        given: &HeaderMap,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<Option<ParamMismatch>, UpstreamError> {
        let known = if given.is_empty() {
            self.shared.known_headers.get(target)
        } else {
            Some(self.known_headers(ProtocolEra::Handshake, target).await?)
        };
        Ok(known.and_then(|known| known.check(given, tool, arguments).err()))
    }

    /// The header annotations of the server's tools.
    async fn known_headers(
        &self,
        era: ProtocolEra,
        target: &Target,
    ) -> Result<Arc<ParamHeaders>, UpstreamError> {
        let list = async || self.list_pages(era, target).await;
        self.in_time(target, self.shared.known_headers.of(target, list)).await
    }
}
