//! What a client is told if a user must connect to the MCP server, or connect anew: the address of the page for it.
//!
//! It is told in the protocol, with HTTP 200. A 401 would make the client throw its token away, which is good, and sign
//! in again without end.
//!
//! | client | is told by |
//! | --- | --- |
//! | 2025-11-25 that declares URL elicitation | the error −32042 ([elicitation, error handling](https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation#error-handling)) |
//! | 2026-07-28 that declares it, for a request that may ask for input | a result that asks to open the address ([multi round-trip requests](https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr)) |
//! | any other | an error whose text names the address |
//!
//! A client of 2026-07-28 sends the request again as soon as its user has agreed to open the address, which is long before
//! they are done. If there is still no connection then, the answer is an error in words: the same question would open
//! the page again and again.
//!
//! The address names the server and nobody: who opens it signs in, and connects an account of their own. So one who
//! sends the address to somebody else gets nothing.

use deputize_api::path;
use deputize_core::{Error, access::Access, audit::RequestContext};
use deputize_service::response::classify;
use http::StatusCode;
use serde_json::{json, value::RawValue};

use super::{
    answer::{RpcRefusal, code},
    fields::Fields,
    incoming::{CAPABILITIES_KEY, Incoming, Initialize, ProtocolEra, QUESTION, declares_urls},
    session::NamedSession,
};

/// The requests whose result may ask for input
/// ([supported requests](https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr#supported-requests)).
const MAY_ASK: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// How a client can be shown an address, for one of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AddressShown {
    #[default]
    InWords,
    ByError,
    ByQuestion,
}

impl AddressShown {
    pub(super) fn to(
        incoming: &Incoming<'_>,
        method: &str,
        params: Option<&RawValue>,
        session: &NamedSession,
    ) -> Self {
        match incoming.era {
            ProtocolEra::Modern => {
                let can = MAY_ASK.contains(&method) && !incoming.has_answered_question && opens_urls(params);
                if can { Self::ByQuestion } else { Self::InWords }
            }
            ProtocolEra::Handshake if method == "initialize" => {
                let initialize = params.and_then(|params| serde_json::from_str(params.get()).ok());
                let can = initialize.is_some_and(|initialize: Initialize<'_>| initialize.opens_urls());
                if can { Self::ByError } else { Self::InWords }
            }
            ProtocolEra::Handshake => match session {
                NamedSession::Open(session) if session.opens_urls => Self::ByError,
                _ => Self::InWords,
            },
        }
    }
}

/// Whether a modern client says with its request that it can open addresses.
fn opens_urls(params: Option<&RawValue>) -> bool {
    let Some(params) = params.and_then(Fields::of) else { return false };
    let meta = params.get("_meta").and_then(Fields::of);
    meta.as_ref().and_then(|meta| meta.get(CAPABILITIES_KEY)).is_some_and(declares_urls)
}

/// The refusal of a request of an admitted caller. If a user must connect, it says where, as the client can be shown it.
pub(super) fn refusal(
    issuer: &str,
    access: &Access,
    request: &RequestContext,
    error: &Error,
    shown: AddressShown,
) -> RpcRefusal {
    let refusal = RpcRefusal::of(error);
    if !error.needs_connection() {
        return refusal;
    }
    let url = page(issuer, access, error);
    let message = format!("{error}{}", what_to_do(access, error, &url));
    let refusal = refusal.saying(&message).adding("connect_url", json!(url));
    // Another person's connection is not the caller's to make. And what has begun may have run.
    if !access.is_by_own_connection() || matches!(error, Error::StreamEnded { .. }) {
        return refusal;
    }
    match shown {
        AddressShown::InWords => refusal,
        AddressShown::ByError => {
            let elicitation =
                json!({ "mode": "url", "elicitationId": request.id, "url": url, "message": message });
            refusal.coded(code::URL_ELICITATION_REQUIRED).adding("elicitations", json!([elicitation]))
        }
        AddressShown::ByQuestion => refusal.asking(json!({
            "resultType": "input_required",
            "inputRequests": {
                QUESTION: {
                    "method": "elicitation/create",
                    "params": { "mode": "url", "message": message, "url": url },
                },
            },
        })),
    }
}

/// The same for a message that is not a request, so that HTTP must say it. It is never a 401.
pub(super) fn refusal_by_http(
    issuer: &str,
    access: &Access,
    request: &RequestContext,
    error: &Error,
) -> Option<RpcRefusal> {
    let is_told_so = error.needs_connection() || classify(error).0 == StatusCode::UNAUTHORIZED;
    is_told_so
        .then(|| refusal(issuer, access, request, error, AddressShown::InWords).by(StatusCode::FORBIDDEN))
}

fn page(issuer: &str, access: &Access, error: &Error) -> String {
    let page = format!("{issuer}{}", path::fill(path::CONNECT_PAGE, access.server.id.as_str()));
    match error {
        Error::InsufficientScope { scope, .. } if !scope.is_empty() => {
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("scope", scope).finish();
            format!("{page}?{query}")
        }
        _ => page,
    }
}

fn what_to_do(access: &Access, error: &Error, url: &str) -> String {
    match error {
        Error::InsufficientScope { .. } if access.is_by_own_connection() => {
            format!("; in a browser, that is at {url}")
        }
        Error::InsufficientScope { .. } => format!("; in its owner's browser, that is at {url}"),
        Error::NoCredentials => format!(
            "; a user must connect to the server at {url} and grant the agent account the use of their session"
        ),
        _ if access.is_by_own_connection() => {
            format!("; connect to the server at {url}, then try again")
        }
        _ => format!("; the user whose session it is must connect to the server again, at {url}"),
    }
}
