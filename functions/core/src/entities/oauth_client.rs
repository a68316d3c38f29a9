//! A client that an admin has registered at a server's authorization server, and what that authorization server wants
//! beyond what its metadata says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::vault::Sealed;

/// A client that an admin has registered at an authorization server. It is used there and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OAuthClient {
    pub issuer: String,
    pub client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Sealed>,
    /// What an admin knows of the authorization server.
    #[serde(default, skip_serializing_if = "ProviderSettings::is_empty")]
    pub settings: ProviderSettings,
}

impl OAuthClient {
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }
}

/// What an authorization server wants beyond what its metadata says. A field that is `None` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// The scope to request, in place of what the MCP server names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Parameters to add to the authorization request. `None` in it is a parameter that is never sent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub authorization_parameters: BTreeMap<String, Option<String>>,
    /// What is sent as `resource` (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceParameter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkce: Option<Pkce>,
    /// Where there is no metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
}

impl ProviderSettings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These settings, and those of `known` where these say nothing.
    #[must_use]
    pub fn over(&self, known: Option<&Self>) -> Self {
        let Some(known) = known else { return self.clone() };
        let mut authorization_parameters = known.authorization_parameters.clone();
        authorization_parameters.extend(self.authorization_parameters.clone());
        Self {
            scope: self.scope.clone().or_else(|| known.scope.clone()),
            authorization_parameters,
            resource: self.resource.clone().or_else(|| known.resource.clone()),
            pkce: self.pkce.or(known.pkce),
            endpoints: self.endpoints.clone().or_else(|| known.endpoints.clone()),
        }
    }
}

/// What is sent as `resource` (RFC 8707).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceParameter {
    /// Nothing: the authorization server refuses the parameter.
    Omitted,
    /// This text, in place of the MCP server's own name.
    Text(String),
}

/// Whether an authorization server must say that it supports PKCE with S256 (RFC 7636). It is always used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    /// Its metadata must say so.
    Required,
    /// It supports S256 and does not say so.
    Assume,
}

/// The endpoints of an authorization server that has no metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
}
