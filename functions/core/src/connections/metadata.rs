//! What an authorization server says of itself (RFC 8414).

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, UpstreamFailure};

/// What we need of an authorization server's metadata, once it has been validated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) registration_endpoint: Option<Url>,
    /// Whether its answers carry `iss` (RFC 9207 section 3).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub(super) client_id_metadata_document_supported: bool,
    /// `client_secret_basic` alone if it does not say (RFC 8414 section 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes_supported: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) code_challenge_methods_supported: Vec<String>,
}

pub(super) fn bad(detail: impl Into<String>) -> Error {
    Error::Upstream { kind: UpstreamFailure::Bad, detail: detail.into(), may_have_run: false, cause: None }
}
