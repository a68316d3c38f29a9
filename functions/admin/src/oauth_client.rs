//! `oauth_client` of a server: a client that an admin has registered at the server's authorization server, and what that
//! authorization server wants beyond what its metadata says.

use std::collections::BTreeMap;

use deputize_core::{
    connections::{self, begin::is_free_parameter, is_scope, known_provider},
    servers::{self, Endpoints, NewOAuthClient, ProviderSettings, ResourceParameter},
};
use deputize_service::bounds::{HttpUrl, Name};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;
use utoipa::ToSchema;

use crate::server_secrets::SecretText;

/// A client that has been registered at the server's authorization server, with this service's redirect URI,
/// `{DEPUTIZE_URL}/api/v1/oauth/callback`. It is used at this issuer and at no other.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuthClient {
    issuer: HttpUrl,
    client_id: Name,
    /// Left out for a public client.
    #[serde(default)]
    client_secret: Option<SecretText>,
    /// The scope to request, in place of what the server asks for (RFC 6749 section 3.3). If the provider gives
    /// refresh tokens only for `offline_access`, include that.
    #[serde(default)]
    #[schema(max_length = 1000, example = "repo read:org")]
    scope: Option<String>,
    /// Parameters to add to the authorization request, such as `{"access_type": "offline"}`. `null` removes one that
    /// is known of the provider. The protocol's own are refused.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    authorization_parameters: Option<BTreeMap<String, Option<String>>>,
    /// `resource` (RFC 8707). Left out, it is what discovery finds. `null`: it is not sent. A text is sent instead.
    #[serde(default, deserialize_with = "Resource::even_null")]
    #[schema(value_type = Option<String>, max_length = 1000, example = "api://0f4c7d6a-0000-0000-0000-000000000000")]
    resource: Option<Resource>,
    /// `required` if left out.
    #[serde(default)]
    pkce: Option<Pkce>,
    /// Where the authorization server has no metadata. Needs `token_endpoint`, and `pkce` `assume`.
    #[serde(default)]
    authorization_endpoint: Option<HttpUrl>,
    /// Where the authorization server has no metadata. Needs `authorization_endpoint`.
    #[serde(default)]
    token_endpoint: Option<HttpUrl>,
}

/// Whether an authorization server must say that it supports PKCE with S256 (RFC 7636). It is always used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pkce {
    /// Its metadata must say so.
    Required,
    /// It supports S256 and does not say so.
    Assume,
}

impl From<Pkce> for servers::Pkce {
    fn from(pkce: Pkce) -> Self {
        match pkce {
            Pkce::Required => Self::Required,
            Pkce::Assume => Self::Assume,
        }
    }
}

impl From<servers::Pkce> for Pkce {
    fn from(pkce: servers::Pkce) -> Self {
        match pkce {
            servers::Pkce::Required => Self::Required,
            servers::Pkce::Assume => Self::Assume,
        }
    }
}

/// `resource`: `null` if it is not sent. A field that was left out is none of them.
#[derive(Debug)]
struct Resource(ResourceParameter);

impl Resource {
    fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(Some(Self(text.map_or(ResourceParameter::Omitted, ResourceParameter::Text))))
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            ResourceParameter::Omitted => serializer.serialize_none(),
            ResourceParameter::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// The most parameters that can be added, and the longest value.
const MAX_PARAMETERS: usize = 20;
const MAX_VALUE: usize = 1_000;

fn is_value(text: &str) -> bool {
    (1..=MAX_VALUE).contains(&text.len()) && !text.contains(char::is_control)
}

impl TryFrom<OAuthClient> for NewOAuthClient {
    type Error = String;

    fn try_from(client: OAuthClient) -> Result<Self, String> {
        let OAuthClient { issuer, client_id, client_secret, scope, authorization_parameters, .. } = client;
        if scope.as_deref().is_some_and(|scope| !is_scope(scope)) {
            return Err(
                "oauth_client.scope must be scope values separated by spaces (RFC 6749 section 3.3)".into()
            );
        }
        let authorization_parameters = authorization_parameters.unwrap_or_default();
        if authorization_parameters.len() > MAX_PARAMETERS {
            return Err(format!("oauth_client.authorization_parameters must be at most {MAX_PARAMETERS}"));
        }
        for (name, value) in &authorization_parameters {
            if !is_free_parameter(name) {
                let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                return Err(format!(
                    "oauth_client.authorization_parameters: {name} is the protocol's own parameter, or not a name \
                     of 1 to 64 letters, digits and -._"
                ));
            }
            if value.as_deref().is_some_and(|value| !is_value(value)) {
                return Err(format!(
                    "oauth_client.authorization_parameters.{name} must have 1 to {MAX_VALUE} characters and no \
                     control characters"
                ));
            }
        }
        let resource = client.resource.map(|Resource(resource)| resource);
        if let Some(ResourceParameter::Text(text)) = &resource
            && !(is_value(text) && is_absolute_uri(text))
        {
            return Err(
                "oauth_client.resource must be null, or an absolute URI without a fragment (RFC 8707 \
                        section 2)"
                    .into(),
            );
        }
        let endpoints = match (client.authorization_endpoint, client.token_endpoint) {
            (None, None) => None,
            (Some(authorization_endpoint), Some(token_endpoint)) => Some(Endpoints {
                authorization_endpoint: authorization_endpoint.url()?,
                token_endpoint: token_endpoint.url()?,
            }),
            _ => {
                return Err(
                    "oauth_client.authorization_endpoint and oauth_client.token_endpoint go together".into(),
                );
            }
        };
        if endpoints.is_some() && client.pkce != Some(Pkce::Assume) {
            return Err("oauth_client.pkce must be \"assume\" where the endpoints are given: there is then no metadata \
                        that says whether PKCE with S256 is supported"
                .into());
        }
        let settings = ProviderSettings {
            scope,
            authorization_parameters,
            resource,
            pkce: client.pkce.map(Into::into),
            endpoints,
        };
        Ok(Self {
            issuer: issuer.into(),
            client_id: client_id.into(),
            secret: client_secret.map(|secret| secret.0),
            settings,
        })
    }
}

fn is_absolute_uri(text: &str) -> bool {
    text.is_ascii() && !text.contains(' ') && Url::parse(text).is_ok_and(|uri| uri.fragment().is_none())
}

/// The same without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownOAuthClient {
    #[schema(format = "uri")]
    issuer: String,
    client_id: String,
    /// Whether it has a secret.
    confidential: bool,
    #[serde(flatten)]
    settings: ShownSettings,
    /// What is known of the authorization server. It is applied where the fields beside it say nothing.
    known_provider: Option<ShownKnownProvider>,
}

/// What an authorization server wants beyond what its metadata says.
#[derive(Debug, Serialize, ToSchema)]
struct ShownSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    authorization_parameters: BTreeMap<String, Option<String>>,
    /// `null`: it is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    resource: Option<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pkce: Option<Pkce>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    authorization_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri")]
    token_endpoint: Option<String>,
}

impl From<&ProviderSettings> for ShownSettings {
    fn from(settings: &ProviderSettings) -> Self {
        let endpoints = settings.endpoints.as_ref();
        Self {
            scope: settings.scope.clone(),
            authorization_parameters: settings.authorization_parameters.clone(),
            resource: settings.resource.clone().map(Resource),
            pkce: settings.pkce.map(Into::into),
            authorization_endpoint: endpoints.map(|given| given.authorization_endpoint.to_string()),
            token_endpoint: endpoints.map(|given| given.token_endpoint.to_string()),
        }
    }
}

/// What is known of an authorization server, and from where.
#[derive(Debug, Serialize, ToSchema)]
struct ShownKnownProvider {
    name: String,
    #[serde(flatten)]
    settings: ShownSettings,
    /// How a client with a secret authenticates (RFC 7591 section 2).
    token_endpoint_auth_method: Option<&'static str>,
    /// The pages that say so.
    sources: Vec<String>,
}

impl From<&servers::OAuthClient> for ShownOAuthClient {
    fn from(client: &servers::OAuthClient) -> Self {
        Self {
            issuer: client.issuer.clone(),
            client_id: client.client_id.clone(),
            confidential: client.has_secret(),
            settings: (&client.settings).into(),
            known_provider: known_provider(&client.issuer).map(|known| ShownKnownProvider {
                name: known.name.clone(),
                settings: (&known.settings).into(),
                token_endpoint_auth_method: known
                    .token_endpoint_auth_method
                    .map(connections::AuthMethod::name),
                sources: known.sources.clone(),
            }),
        }
    }
}
