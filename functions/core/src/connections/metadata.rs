//! What an authorization server says of itself (RFC 8414).
//!
//! Only what we use must be right: the issuer, the two endpoints, PKCE. A field that we can do without counts as absent
//! if it is `null` or of another type.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{
    known_providers::{AuthMethod, is_same_issuer},
    quoted,
};
use crate::{
    entities::oauth_client::{Endpoints, Pkce},
    error::{Error, Result, UpstreamFailure},
};

/// What we need of an authorization server's metadata, once it has been validated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provider {
    /// As the MCP server names it, or an admin.
    pub(super) issuer: String,
    /// As it names itself, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own_name: Option<String>,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    /// RFC 7009.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revocation_endpoint: Option<Url>,
    /// Whether the endpoints are an admin's, and not the metadata's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_given_endpoints: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registration_endpoint: Option<Url>,
    /// Whether its answers carry `iss` (RFC 9207 section 3).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub(super) client_id_metadata_document_supported: bool,
    /// `client_secret_basic` alone if it does not say (RFC 8414 section 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes_supported: Vec<String>,
}

/// The metadata as it comes.
#[derive(Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default, deserialize_with = "or_absent")]
    revocation_endpoint: Option<String>,
    #[serde(default, deserialize_with = "or_absent")]
    registration_endpoint: Option<String>,
    #[serde(default, deserialize_with = "or_absent")]
    authorization_response_iss_parameter_supported: Option<bool>,
    #[serde(default, deserialize_with = "or_absent")]
    client_id_metadata_document_supported: Option<bool>,
    #[serde(default, deserialize_with = "or_absent")]
    token_endpoint_auth_methods_supported: Option<Texts>,
    #[serde(default, deserialize_with = "or_absent")]
    scopes_supported: Option<Texts>,
    #[serde(default, deserialize_with = "or_absent")]
    code_challenge_methods_supported: Option<Texts>,
}

impl Metadata {
    /// The authorization server that it is of, by the name that it gives itself.
    pub(super) fn into_own(self) -> Result<Provider> {
        let issuer = self.issuer.clone();
        self.of(&issuer, None)
    }

    /// The authorization server that the issuer `named` is, if this is its metadata and it can be used.
    pub(super) fn of(self, named: &str, pkce: Option<Pkce>) -> Result<Provider> {
        // RFC 8414 section 3.3.
        if !is_same_issuer(named, &self.issuer) {
            return Err(bad(format!(
                "The authorization server's metadata is of another issuer: {}",
                quoted(&self.issuer)
            )));
        }
        let supports_pkce = match &self.code_challenge_methods_supported {
            Some(Texts(methods)) => methods.iter().any(|method| method == "S256"),
            None if pkce == Some(Pkce::Assume) => true,
            None => {
                return Err(bad(
                    "The authorization server does not say that it supports PKCE with S256, which is required; \
                     if it does, an admin can say so: \"pkce\": \"assume\" in the server's oauth_client",
                ));
            }
        };
        if !supports_pkce {
            return Err(bad("The authorization server does not support PKCE with S256, which is required"));
        }
        let endpoint = |name: &str, text: &str| {
            text.parse().map_err(|_| bad(format!("The authorization server's {name} is not a URL")))
        };
        Ok(Provider {
            issuer: named.to_owned(),
            authorization_endpoint: endpoint("authorization_endpoint", &self.authorization_endpoint)?,
            token_endpoint: endpoint("token_endpoint", &self.token_endpoint)?,
            // We can do without it.
            revocation_endpoint: self.revocation_endpoint.and_then(|text| text.parse().ok()),
            has_given_endpoints: false,
            registration_endpoint: self
                .registration_endpoint
                .map(|text| endpoint("registration_endpoint", &text))
                .transpose()?,
            authorization_response_iss_parameter_supported: self
                .authorization_response_iss_parameter_supported
                .unwrap_or_default(),
            client_id_metadata_document_supported: self
                .client_id_metadata_document_supported
                .unwrap_or_default(),
            token_endpoint_auth_methods_supported: self
                .token_endpoint_auth_methods_supported
                .map(|Texts(texts)| texts),
            scopes_supported: self.scopes_supported.map(|Texts(texts)| texts).unwrap_or_default(),
            own_name: Some(self.issuer).filter(|own| own != named),
        })
    }
}

impl Provider {
    /// An authorization server without metadata, by the endpoints that an admin has given.
    pub(super) fn given(issuer: &str, endpoints: &Endpoints) -> Self {
        let Endpoints { authorization_endpoint, token_endpoint } = endpoints.clone();
        Self {
            issuer: issuer.to_owned(),
            own_name: None,
            authorization_endpoint,
            token_endpoint,
            revocation_endpoint: None,
            has_given_endpoints: true,
            registration_endpoint: None,
            authorization_response_iss_parameter_supported: false,
            client_id_metadata_document_supported: false,
            token_endpoint_auth_methods_supported: None,
            scopes_supported: Vec::new(),
        }
    }

    /// Whether its endpoints are those that an admin gives now, or its own if an admin gives none.
    pub(super) fn is_at(&self, given: Option<&Endpoints>) -> bool {
        match given {
            Some(given) => {
                self.has_given_endpoints
                    && self.token_endpoint == given.token_endpoint
                    && self.authorization_endpoint == given.authorization_endpoint
            }
            None => !self.has_given_endpoints,
        }
    }

    /// Whether an answer that carries this `iss` is from it (RFC 9207 section 2.4).
    pub(super) fn is_named(&self, iss: &str) -> bool {
        is_same_issuer(self.own_name.as_ref().unwrap_or(&self.issuer), iss)
    }

    /// The first of `preferred` that it supports.
    pub(super) fn auth_method(&self, preferred: &[AuthMethod]) -> Option<AuthMethod> {
        let supports = |method: AuthMethod| match &self.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().any(|name| name == method.name()),
            None => method == AuthMethod::ClientSecretBasic,
        };
        preferred.iter().copied().find(|method| supports(*method))
    }
}

/// A list of texts. Entries of another type are left out.
#[derive(Deserialize)]
#[serde(from = "Vec<Value>")]
pub(super) struct Texts(pub(super) Vec<String>);

impl From<Vec<Value>> for Texts {
    fn from(values: Vec<Value>) -> Self {
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        Self(values.into_iter().filter_map(text).collect())
    }
}

/// A field that we can do without.
pub(super) fn or_absent<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok().flatten())
}

pub(super) fn bad(detail: impl Into<String>) -> Error {
    Error::Upstream { kind: UpstreamFailure::Bad, detail: detail.into(), may_have_run: false, cause: None }
}
