//! `POST /api/v1/oauth/token`: RFC 6749, for agents and for apps, with on-behalf-of by `actor_token`, token exchange (RFC 8693), client
//! authentication by `client_secret_post` and `private_key_jwt` (RFC 7523), and `resource` (RFC 8707).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The parameters' names.
pub mod parameter {
    pub const GRANT_TYPE: &str = "grant_type";
    pub const CLIENT_ID: &str = "client_id";
    pub const CLIENT_SECRET: &str = "client_secret";
    pub const CLIENT_ASSERTION_TYPE: &str = "client_assertion_type";
    pub const CLIENT_ASSERTION: &str = "client_assertion";
    pub const RESOURCE: &str = "resource";
    pub const AUDIENCE: &str = "audience";
    pub const SCOPE: &str = "scope";
    pub const ACTOR_TOKEN: &str = "actor_token";
    pub const ACTOR_TOKEN_TYPE: &str = "actor_token_type";
    pub const SUBJECT_TOKEN: &str = "subject_token";
    pub const SUBJECT_TOKEN_TYPE: &str = "subject_token_type";
    pub const REQUESTED_TOKEN_TYPE: &str = "requested_token_type";
    pub const CODE: &str = "code";
    pub const CODE_VERIFIER: &str = "code_verifier";
    pub const REDIRECT_URI: &str = "redirect_uri";
    pub const REFRESH_TOKEN: &str = "refresh_token";
}

pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 6749 section 4.1.3.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// RFC 6749 section 6.
pub const REFRESH_TOKEN: &str = "refresh_token";
/// RFC 8693 section 2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 section 3.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub const USER_ID: &str = "urn:runlayer:token-type:user-id";
pub const USER_EMAIL: &str = "urn:runlayer:token-type:user-email";
/// RFC 7523 section 2.2.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What to send, as a form.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest<'a> {
    pub grant_type: GrantType,
    /// The agent account's client id, which is a UUID, or the app's; or in the `Authorization` header (HTTP Basic). May
    /// be left out beside a `client_assertion`. For a token exchange, and by a public app, it may be sent alone.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub client_id: Option<&'a str>,
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub client_secret: Option<&'a str>,
    /// Required with `client_assertion`.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub client_assertion_type: Option<AssertionType>,
    /// In place of a secret: a JWT that one of the client's public keys verifies (RFC 7523 section 3). `iss` and
    /// `sub` are the client id, `aud` is the issuer, the token endpoint or the endpoint that it is sent to, `exp` is at
    /// most 5 minutes ahead, and `jti` is new in each. It is used up once it has proven the client, whatever the answer,
    /// except by a 5xx.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub client_assertion: Option<&'a str>,
    /// Where the token is to be good (RFC 8707): `{issuer}/api/v1/proxy/{server_id}/mcp` for one server; at all
    /// servers if left out. It may be sent several times, for up to 20 servers. An app's is for what the user allowed; it
    /// may say so again.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub resource: Option<&'a str>,
    /// The same as `resource`, by RFC 8693's name for it. With both, the token is good at all that they name.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub audience: Option<&'a str>,
    /// `tools:call`, the only scope of agents; may be left out. At a refresh: some of the scopes that the user allowed.
    #[cfg_attr(feature = "openapi", schema(nullable = false, example = "tools:call"))]
    pub scope: Option<&'a str>,
    /// The user to act for: a UUID, an email address, or the user's own access token. For a token exchange, the user's
    /// or the agent's own token.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub actor_token: Option<&'a str>,
    /// Required with `actor_token`.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub actor_token_type: Option<ActorTokenType>,
    /// For a token exchange: the other of the two tokens. Which is the agent's and which the user's is told by what they
    /// are, so both orders are good.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub subject_token: Option<&'a str>,
    /// For a token exchange.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub subject_token_type: Option<AccessTokenType>,
    /// For a token exchange; may be left out.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub requested_token_type: Option<AccessTokenType>,
    /// For `authorization_code`: the code, which is good once, for 60 seconds.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub code: Option<&'a str>,
    /// For `authorization_code`: what the `code_challenge` was made of (RFC 7636 section 4.5).
    #[cfg_attr(feature = "openapi", schema(nullable = false, min_length = 43, max_length = 128))]
    pub code_verifier: Option<&'a str>,
    /// For `authorization_code`: that of the authorization request; may be left out, as in OAuth 2.1.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub redirect_uri: Option<&'a str>,
    /// For `refresh_token`: the token that came last. Each answer has a new one.
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub refresh_token: Option<&'a str>,
}

/// Never shows the values: most of them are secrets.
impl std::fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequest").field("grant_type", &self.grant_type).finish_non_exhaustive()
    }
}

impl<'a> TokenRequest<'a> {
    /// A request with only a grant type.
    pub const fn new(grant_type: GrantType) -> Self {
        Self {
            grant_type,
            client_id: None,
            client_secret: None,
            client_assertion_type: None,
            client_assertion: None,
            resource: None,
            audience: None,
            scope: None,
            actor_token: None,
            actor_token_type: None,
            subject_token: None,
            subject_token_type: None,
            requested_token_type: None,
            code: None,
            code_verifier: None,
            redirect_uri: None,
            refresh_token: None,
        }
    }

    /// The names and values to send.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let access_token = |kind: Option<AccessTokenType>| kind.map(AccessTokenType::as_str);
        [
            (parameter::GRANT_TYPE, Some(self.grant_type.as_str())),
            (parameter::CLIENT_ID, self.client_id),
            (parameter::CLIENT_SECRET, self.client_secret),
            (parameter::CLIENT_ASSERTION_TYPE, self.client_assertion_type.map(AssertionType::as_str)),
            (parameter::CLIENT_ASSERTION, self.client_assertion),
            (parameter::RESOURCE, self.resource),
            (parameter::AUDIENCE, self.audience),
            (parameter::SCOPE, self.scope),
            (parameter::ACTOR_TOKEN, self.actor_token),
            (parameter::ACTOR_TOKEN_TYPE, self.actor_token_type.map(ActorTokenType::as_str)),
            (parameter::SUBJECT_TOKEN, self.subject_token),
            (parameter::SUBJECT_TOKEN_TYPE, access_token(self.subject_token_type)),
            (parameter::REQUESTED_TOKEN_TYPE, access_token(self.requested_token_type)),
            (parameter::CODE, self.code),
            (parameter::CODE_VERIFIER, self.code_verifier),
            (parameter::REDIRECT_URI, self.redirect_uri),
            (parameter::REFRESH_TOKEN, self.refresh_token),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum GrantType {
    #[cfg_attr(feature = "openapi", schema(rename = "client_credentials"))]
    ClientCredentials,
    /// RFC 8693.
    #[cfg_attr(feature = "openapi", schema(rename = "urn:ietf:params:oauth:grant-type:token-exchange"))]
    TokenExchange,
    /// An app redeems a code.
    #[cfg_attr(feature = "openapi", schema(rename = "authorization_code"))]
    AuthorizationCode,
    /// An app refreshes.
    #[cfg_attr(feature = "openapi", schema(rename = "refresh_token"))]
    RefreshToken,
}

impl GrantType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => CLIENT_CREDENTIALS,
            Self::TokenExchange => TOKEN_EXCHANGE,
            Self::AuthorizationCode => AUTHORIZATION_CODE,
            Self::RefreshToken => REFRESH_TOKEN,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ActorTokenType {
    #[cfg_attr(feature = "openapi", schema(rename = "urn:runlayer:token-type:user-id"))]
    UserId,
    #[cfg_attr(feature = "openapi", schema(rename = "urn:runlayer:token-type:user-email"))]
    UserEmail,
    #[cfg_attr(feature = "openapi", schema(rename = "urn:ietf:params:oauth:token-type:access_token"))]
    AccessToken,
}

impl ActorTokenType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserId => USER_ID,
            Self::UserEmail => USER_EMAIL,
            Self::AccessToken => ACCESS_TOKEN,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AccessTokenType {
    #[cfg_attr(feature = "openapi", schema(rename = "urn:ietf:params:oauth:token-type:access_token"))]
    AccessToken,
}

impl AccessTokenType {
    pub const fn as_str(self) -> &'static str {
        ACCESS_TOKEN
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AssertionType {
    /// RFC 7523 section 2.2.
    #[cfg_attr(
        feature = "openapi",
        schema(rename = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    )]
    JwtBearer,
}

impl AssertionType {
    pub const fn as_str(self) -> &'static str {
        JWT_BEARER
    }
}

/// A token (RFC 6749 section 5.1).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    pub access_token: String,
    /// For a token exchange (RFC 8693 section 2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<Cow<'static, str>>,
    #[cfg_attr(feature = "openapi", schema(example = "Bearer"))]
    pub token_type: Cow<'static, str>,
    /// In seconds.
    #[cfg_attr(feature = "openapi", schema(example = 3600))]
    pub expires_in: u64,
    pub scope: Cow<'static, str>,
    /// For an app. It takes the place of the one that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub refresh_token: Option<String>,
}

/// Never shows the token.
impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_without_what_it_does_not_say() {
        let request = TokenRequest {
            client_id: Some("id"),
            actor_token: Some("bob@example.com"),
            actor_token_type: Some(ActorTokenType::UserEmail),
            ..TokenRequest::new(GrantType::ClientCredentials)
        };
        let parameters: Vec<_> = request.parameters().collect();
        assert_eq!(
            parameters,
            [
                ("grant_type", "client_credentials"),
                ("client_id", "id"),
                ("actor_token", "bob@example.com"),
                ("actor_token_type", "urn:runlayer:token-type:user-email"),
            ]
        );
    }

    #[test]
    fn what_holds_secrets_does_not_print_them() {
        let request = TokenRequest {
            client_secret: Some("hush"),
            client_assertion: Some("hush"),
            code: Some("hush"),
            refresh_token: Some("hush"),
            ..TokenRequest::new(GrantType::ClientCredentials)
        };
        let response = TokenResponse {
            access_token: "hush".to_owned(),
            issued_token_type: None,
            token_type: "Bearer".into(),
            expires_in: 3600,
            scope: "tools:call".into(),
            refresh_token: Some("hush".to_owned()),
        };
        assert!(!format!("{request:?} {response:?}").contains("hush"));
    }
}
