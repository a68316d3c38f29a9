//! Which of the two protocols a server speaks. It is found out once and remembered.
//!
//! A *modern* server takes self-contained requests; a *handshake* server wants `initialize` first
//! ([versioning](https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning#backward-compatibility-with-initialization-based-versions)).
//! The probe is a modern request, and a modern answer to it identifies a modern server. Any request would do.
//! `server/discover` is used because it has no effect on a server of the other era.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, StatusCode};
use quick_cache::sync::Cache;
use serde::Deserialize;

use super::answer::{ErrorAnswer, Reply};
use super::error::code;
use super::message::{DiscoverParams, HANDSHAKE_VERSIONS, MODERN_VERSION, Meta, Request, RpcError};
use super::target::ServerKey;
use super::transport::{METHOD, PROTOCOL_VERSION, Transport};
use super::{Target, UpstreamClient, UpstreamError};

/// Which of the two protocols a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolEra {
    /// Revision 2026-07-28.
    Modern,
    /// Revision 2025-11-25 and before.
    Handshake,
}

/// The eras of the servers that were called, in this process's memory.
pub(super) struct EraCache {
    remembered: Cache<ServerKey, ProtocolEra>,
}

impl EraCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { remembered: Cache::new(capacity) }
    }

    async fn of(&self, transport: &Transport, target: &Target) -> Result<KnownEra, UpstreamError> {
        if let Some(era) = self.remembered.get(&target.server_ref()) {
            return Ok(KnownEra { era, remembered: true });
        }
        match self.remembered.get_value_or_guard_async(&target.server_key()).await {
            Ok(era) => Ok(KnownEra { era, remembered: true }),
            Err(probing) => {
                let era = Box::pin(probe(transport, target)).await?;
                probing.insert(era).ok();
                Ok(KnownEra { era, remembered: false })
            }
        }
    }
}

/// A server's era.
#[derive(Debug, Clone, Copy)]
pub struct KnownEra {
    /// Which era it is.
    pub era: ProtocolEra,
    /// Whether it was remembered, so that it can be out of date.
    remembered: bool,
}

impl UpstreamClient {
    /// The server's era, remembered or found out.
    pub async fn era(&self, target: &Target) -> Result<KnownEra, UpstreamError> {
        self.in_time(target, self.shared.eras.of(&self.shared.transport, target)).await
    }

    /// The era in which a request is to be made once more. There is one if the server is of another era than was
    /// remembered, and refused the request for that reason. `answer` is the refusal, if the request got an answer.
    pub(crate) async fn other_era(
        &self,
        target: &Target,
        known: KnownEra,
        answer: Result<Option<ErrorAnswer>, &UpstreamError>,
    ) -> Option<ProtocolEra> {
        let KnownEra { era, remembered } = known;
        let doubtful = match answer {
            Ok(refused) => refused.is_some_and(|refused| refused.casts_doubt_on(era)),
            Err(error) => error.casts_doubt_on(era),
        };
        if !doubtful {
            return None;
        }
        self.shared.eras.remembered.remove_if(&target.server_ref(), |remembered| *remembered == era);
        if !remembered {
            return None;
        }
        let now = self.era(target).await.ok()?.era;
        (now != era).then_some(now)
    }
}

impl UpstreamError {
    /// Whether this answer is unlikely from a server of `era`. The server may have been replaced by one of the other
    /// era.
    fn casts_doubt_on(&self, era: ProtocolEra) -> bool {
        match self {
            Self::Status { status, .. } => REFUSALS.contains(status),
            Self::JsonRpc { code, status, .. } => error_casts_doubt(*code, *status, era),
            Self::InvalidParams { status, .. } => error_casts_doubt(code::INVALID_PARAMS, *status, era),
            _ => false,
        }
    }
}

impl ErrorAnswer {
    /// The same for an error that is passed on.
    fn casts_doubt_on(&self, era: ProtocolEra) -> bool {
        error_casts_doubt(self.code, self.status, era)
    }
}

const REFUSALS: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];

fn error_casts_doubt(code: i64, status: StatusCode, era: ProtocolEra) -> bool {
    code == code::UNSUPPORTED_PROTOCOL_VERSION
        || REFUSALS.contains(&status)
            && match era {
                // These include a modern server's answers to a request without its `_meta`.
                ProtocolEra::Handshake => true,
                ProtocolEra::Modern => !matches!(
                    code,
                    code::PARSE_ERROR
                        | code::METHOD_NOT_FOUND
                        | code::INVALID_PARAMS
                        | code::INTERNAL_ERROR
                        | code::HEADER_MISMATCH
                        | code::MISSING_CLIENT_CAPABILITY
                ),
            }
}

async fn probe(transport: &Transport, target: &Target) -> Result<ProtocolEra, UpstreamError> {
    let params = DiscoverParams { meta: Meta { era: ProtocolEra::Modern, traceparent: None } };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
    headers.insert(METHOD, HeaderValue::from_static("server/discover"));
    let asked = transport.ask(target, headers, Request::new(1, "server/discover", params));
    match tokio::time::timeout(transport.config.probe_timeout, asked).await {
        // Some servers never answer what they do not know
        // (https://github.com/MayDay-wpf/snow-app/pull/56, https://github.com/ai-ecoverse/slicc/pull/3350).
        Err(_) => Ok(ProtocolEra::Handshake),
        Ok(answered) => era_by(answered.map(|(reply, _)| reply)),
    }
}

fn era_by(answered: Result<Reply, UpstreamError>) -> Result<ProtocolEra, UpstreamError> {
    match answered {
        Ok(reply) => era_in(&reply),
        // Out of order or overloaded, which says nothing about the era.
        Err(error @ UpstreamError::Status { status, .. })
            if matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504) =>
        {
            Err(error)
        }
        // Anything that is not a modern answer identifies a handshake server, and so does hanging up
        // (https://github.com/github/copilot-cli/issues/4809).
        Err(
            UpstreamError::Status { .. } | UpstreamError::Protocol { .. } | UpstreamError::Interrupted { .. },
        ) => Ok(ProtocolEra::Handshake),
        Err(other) => Err(other),
    }
}

fn era_in(reply: &Reply) -> Result<ProtocolEra, UpstreamError> {
    match &reply.outcome {
        Ok(result) => match serde_json::from_str::<Discovery<'_>>(result.get()) {
            Ok(Discovery { supported_versions }) => common_era(&supported_versions),
            Err(_) => Ok(ProtocolEra::Handshake),
        },
        Err(error) => era_of_error(&error.read()),
    }
}

fn era_of_error(error: &RpcError) -> Result<ProtocolEra, UpstreamError> {
    match error.code {
        code::UNSUPPORTED_PROTOCOL_VERSION => {
            let data = error.data.as_ref().map_or("null", |data| data.get());
            match serde_json::from_str::<Unsupported<'_>>(data) {
                Ok(Unsupported { supported }) => common_era(&supported),
                Err(_) => Err(no_common_version()),
            }
        }
        code::HEADER_MISMATCH | code::MISSING_CLIENT_CAPABILITY => Ok(ProtocolEra::Modern),
        _ => Ok(ProtocolEra::Handshake),
    }
}

/// The best era in which there is a version that both sides speak.
fn common_era(theirs: &[Cow<'_, str>]) -> Result<ProtocolEra, UpstreamError> {
    if theirs.iter().any(|version| version == MODERN_VERSION) {
        Ok(ProtocolEra::Modern)
    } else if theirs.iter().any(|version| HANDSHAKE_VERSIONS.contains(&version.as_ref())) {
        Ok(ProtocolEra::Handshake)
    } else {
        Err(no_common_version())
    }
}

fn no_common_version() -> UpstreamError {
    UpstreamError::protocol("no protocol version in common")
}

#[derive(Deserialize)]
struct Discovery<'a> {
    #[serde(borrow, rename = "supportedVersions")]
    supported_versions: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Unsupported<'a> {
    #[serde(borrow)]
    supported: Vec<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn era_of(message: &str) -> Result<ProtocolEra, UpstreamError> {
        era_of_error(&serde_json::from_str(message).unwrap())
    }

    #[test]
    fn a_server_that_names_only_a_handshake_version_is_shaken_hands_with() {
        let era = era_of(r#"{"code":-32022,"message":"m","data":{"supported":["2025-11-25","1.0"]}}"#);
        assert_eq!(era.unwrap(), ProtocolEra::Handshake);
    }

    #[test]
    fn a_server_with_no_version_of_ours_is_an_error() {
        for data in [r#"{"supported":["2999-01-01"]}"#, r#"{"supported":[]}"#, "{}", "null"] {
            let error = format!(r#"{{"code":-32022,"message":"m","data":{data}}}"#);
            assert!(matches!(era_of(&error), Err(UpstreamError::Protocol { .. })), "{data}");
        }
    }

    #[test]
    fn a_complaint_about_headers_is_a_modern_one() {
        assert_eq!(era_of(r#"{"code":-32020,"message":"m"}"#).unwrap(), ProtocolEra::Modern);
        assert_eq!(era_of(r#"{"code":-32021,"message":"m"}"#).unwrap(), ProtocolEra::Modern);
    }

    #[test]
    fn any_other_error_identifies_a_handshake_server() {
        for code in [-32000, -32001, -32600, -32601, -32602] {
            let error = format!(r#"{{"code":{code},"message":"m"}}"#);
            assert_eq!(era_of(&error).unwrap(), ProtocolEra::Handshake);
        }
    }
}
