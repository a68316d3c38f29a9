//! Which of the two protocols a server speaks, found out once and remembered.
//!
//! A *modern* server takes self-contained requests; a *handshake* server wants `initialize` first
//! ([versioning](https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning#backward-compatibility-with-initialization-based-versions)).
//! The probe is a modern request, and what identifies a modern server is a modern answer to it. Any
//! request would do; `server/discover` is the one that can do nothing on a server of the other era.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, StatusCode};
use quick_cache::sync::Cache;
use serde::Deserialize;

use super::error::code;
use super::message::{DiscoverParams, HANDSHAKE_VERSIONS, MODERN_VERSION, Meta, Request, RpcError};
use super::relay::Refused;
use super::target::ServerKey;
use super::transport::{Exchange, Listener, METHOD, Outcome, PROTOCOL_VERSION, Transport};
use super::{CallContext, Target, UpstreamError};

/// Which of the two protocols a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Revision 2026-07-28.
    Modern,
    /// Revision 2025-11-25 and before.
    Handshake,
}

/// The eras of the servers seen, in this process's memory.
pub(super) struct Eras {
    remembered: Cache<ServerKey, Era>,
}

impl Eras {
    pub(super) fn new(capacity: usize) -> Self {
        Self { remembered: Cache::new(capacity) }
    }

    /// The server's era, and whether it is a memory, which can be out of date.
    pub(super) async fn of(
        &self,
        transport: &Transport,
        target: &Target,
    ) -> Result<(Era, bool), UpstreamError> {
        if let Some(era) = self.remembered.get(&target.server_ref()) {
            return Ok((era, true));
        }
        match self.remembered.get_value_or_guard_async(&target.server_key()).await {
            Ok(era) => Ok((era, true)),
            Err(probing) => {
                let era = Box::pin(probe(transport, target)).await?;
                probing.insert(era).ok();
                Ok((era, false))
            }
        }
    }

    /// Forgets `era`, unless somebody has found out better meanwhile.
    pub(super) fn forget(&self, target: &Target, era: Era) {
        self.remembered.remove_if(&target.server_ref(), |remembered| *remembered == era);
    }
}

impl UpstreamError {
    /// Whether a server of `era` would hardly answer so. It may have been replaced by one of the other.
    pub(super) fn casts_doubt_on(&self, era: Era) -> bool {
        match self {
            Self::Status { status, .. } => REFUSALS.contains(status),
            Self::JsonRpc { code, status, .. } => error_casts_doubt(*code, *status, era),
            Self::InvalidParams { status, .. } => error_casts_doubt(code::INVALID_PARAMS, *status, era),
            _ => false,
        }
    }
}

impl Refused {
    /// The same of an error that is passed on.
    pub(super) fn casts_doubt_on(&self, era: Era) -> bool {
        error_casts_doubt(self.code, self.status, era)
    }
}

const REFUSALS: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];

fn error_casts_doubt(code: i64, status: StatusCode, era: Era) -> bool {
    code == code::UNSUPPORTED_PROTOCOL_VERSION
        || REFUSALS.contains(&status)
            && match era {
                // Among them what a modern server says of a request without its `_meta`.
                Era::Handshake => true,
                Era::Modern => !matches!(
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

async fn probe(transport: &Transport, target: &Target) -> Result<Era, UpstreamError> {
    let context = CallContext::default();
    let params = DiscoverParams { meta: Meta { context: &context, modern: true } };
    let body = Request::bytes(1, "server/discover", params)?;
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN_VERSION));
    headers.insert(METHOD, HeaderValue::from_static("server/discover"));
    match transport.exchange(target, headers, body, 1, Listener::NOBODY).await {
        Ok(exchange) => era_in(&exchange),
        // Out of order or overloaded, which says nothing about the era.
        Err(UpstreamError::Status { status, sent })
            if matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504) =>
        {
            Err(UpstreamError::Status { status, sent })
        }
        // Anything that is not a modern answer identifies a handshake server.
        Err(UpstreamError::Status { .. } | UpstreamError::Protocol { .. }) => Ok(Era::Handshake),
        Err(other) => Err(other),
    }
}

fn era_in(exchange: &Exchange) -> Result<Era, UpstreamError> {
    match &exchange.outcome {
        Outcome::Result(result) => match serde_json::from_str::<Discovery<'_>>(result.get()) {
            Ok(Discovery { supported_versions }) => common_era(&supported_versions),
            Err(_) => Ok(Era::Handshake),
        },
        Outcome::Error { error, .. } => era_of_error(error),
    }
}

fn era_of_error(error: &RpcError) -> Result<Era, UpstreamError> {
    match error.code {
        code::UNSUPPORTED_PROTOCOL_VERSION => {
            let data = error.data.as_ref().map_or("null", |data| data.get());
            match serde_json::from_str::<Unsupported<'_>>(data) {
                Ok(Unsupported { supported }) => common_era(&supported),
                Err(_) => Err(no_common_version()),
            }
        }
        code::HEADER_MISMATCH | code::MISSING_CLIENT_CAPABILITY => Ok(Era::Modern),
        _ => Ok(Era::Handshake),
    }
}

/// The best era in which there is a version that both sides speak.
fn common_era(theirs: &[Cow<'_, str>]) -> Result<Era, UpstreamError> {
    if theirs.iter().any(|version| version == MODERN_VERSION) {
        Ok(Era::Modern)
    } else if theirs.iter().any(|version| HANDSHAKE_VERSIONS.contains(&version.as_ref())) {
        Ok(Era::Handshake)
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

    fn era_of(message: &str) -> Result<Era, UpstreamError> {
        era_of_error(&serde_json::from_str(message).unwrap())
    }

    #[test]
    fn a_server_that_names_only_a_handshake_version_is_shaken_hands_with() {
        let era = era_of(r#"{"code":-32022,"message":"m","data":{"supported":["2025-11-25","1.0"]}}"#);
        assert_eq!(era.unwrap(), Era::Handshake);
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
        assert_eq!(era_of(r#"{"code":-32020,"message":"m"}"#).unwrap(), Era::Modern);
        assert_eq!(era_of(r#"{"code":-32021,"message":"m"}"#).unwrap(), Era::Modern);
    }

    #[test]
    fn any_other_error_identifies_a_handshake_server() {
        for code in [-32000, -32001, -32600, -32601, -32602] {
            let error = format!(r#"{{"code":{code},"message":"m"}}"#);
            assert_eq!(era_of(&error).unwrap(), Era::Handshake);
        }
    }
}
