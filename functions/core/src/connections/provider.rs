//! An authorization server: what it says of itself (RFC 8414), and its token endpoint.

use std::{pin::Pin, sync::Arc, time::Duration};

use ::http::StatusCode;
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest, HttpResponse,
    PkceCodeVerifier, RefreshToken, RequestTokenError, StandardErrorResponse, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse, BasicTokenType},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    http::{Http, HttpError},
    quoted,
    registration::{AuthMethod, Client},
};

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

/// Tokens, as they were given.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    pub(super) expires_in: Option<Duration>,
    pub(super) scope: Option<String>,
}

/// Why the token endpoint gave none.
#[derive(Debug)]
pub(super) enum NotGranted {
    /// The code or the refresh token is not, or no longer, good (RFC 6749 section 5.2, `invalid_grant`).
    InvalidGrant,
    /// It does not know us (`invalid_client`, `unauthorized_client`).
    InvalidClient,
    /// It refuses for another reason, in its own words.
    Refused(String),
    /// It is down, or answers what is no answer. Whether it has consumed what we sent is unknown, unless it
    /// was not reached.
    Down { why: String, reached: bool, timed_out: bool },
}

/// A token request's grant.
pub(super) enum Exchange<'a> {
    Code { code: &'a str, verifier: &'a str, redirect_uri: &'a str },
    Refresh { token: &'a str },
}

/// Asks the token endpoint (RFC 6749 section 4.1.3 or 6), with `resource` (RFC 8707 section 2.2).
pub(super) async fn ask_for_tokens(
    http: &Arc<dyn Http>,
    token_endpoint: &Url,
    client: &Client,
    resource: &str,
    exchange: Exchange<'_>,
) -> Result<Granted, NotGranted> {
    http.check(token_endpoint).map_err(|error| not_answered(&error))?;
    let mut oauth = BasicClient::new(ClientId::new(client.id.clone()))
        .set_token_uri(TokenUrl::from_url(token_endpoint.clone()))
        .set_auth_type(match client.auth_method {
            AuthMethod::ClientSecretBasic => AuthType::BasicAuth,
            AuthMethod::ClientSecretPost | AuthMethod::None => AuthType::RequestBody,
        });
    if let Some(secret) = client.secret.as_ref().filter(|_| client.auth_method != AuthMethod::None) {
        oauth = oauth.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
    }
    let send = TokenHttp(Arc::clone(http));
    let answer = match exchange {
        Exchange::Code { code, verifier, redirect_uri } => {
            let redirect_uri = oauth2::RedirectUrl::new(redirect_uri.to_owned());
            let redirect_uri = redirect_uri.map_err(|_| NotGranted::Refused("our address".to_owned()))?;
            let oauth = oauth.set_redirect_uri(redirect_uri);
            let request = oauth.exchange_code(AuthorizationCode::new(code.to_owned()));
            let request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
            request.add_extra_param("resource", resource).request_async(&send).await
        }
        Exchange::Refresh { token } => {
            let token = RefreshToken::new(token.to_owned());
            let request = oauth.exchange_refresh_token(&token);
            request.add_extra_param("resource", resource).request_async(&send).await
        }
    };
    granted(&answer.map_err(not_granted)?)
}

/// The network as `oauth2` asks for it. Named, since a closure's future cannot be shown to be `Send`.
struct TokenHttp(Arc<dyn Http>);

impl<'c> AsyncHttpClient<'c> for TokenHttp {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let sent = self.0.send(request);
        Box::pin(async move {
            let response = sent.await?;
            let status = response.status();
            // Its body is no answer to us then, whatever it says.
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(HttpError::Status(status));
            }
            if status.is_redirection() {
                return Err(HttpError::Redirects);
            }
            Ok(response)
        })
    }
}

fn granted(answer: &BasicTokenResponse) -> Result<Granted, NotGranted> {
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(down("its tokens are of a type that is not supported"));
    }
    let access_token = answer.access_token().secret();
    // What cannot be sent in a header (RFC 6750 section 2.1) is no token.
    if access_token.is_empty() || !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(down("its token cannot be sent"));
    }
    let scope = answer.scopes().map(|scopes| {
        let values: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        values.join(" ")
    });
    Ok(Granted {
        access_token: SecretString::from(access_token.as_str()),
        refresh_token: answer.refresh_token().map(|token| SecretString::from(token.secret().as_str())),
        expires_in: answer.expires_in(),
        scope: scope.filter(|scope| super::challenge::is_scope(scope)),
    })
}

type Failed = RequestTokenError<HttpError, StandardErrorResponse<BasicErrorResponseType>>;

fn not_granted(failed: Failed) -> NotGranted {
    match failed {
        RequestTokenError::ServerResponse(response) => match response.error() {
            BasicErrorResponseType::InvalidGrant => NotGranted::InvalidGrant,
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                NotGranted::InvalidClient
            }
            other => NotGranted::Refused(quoted(other.as_ref())),
        },
        RequestTokenError::Request(error) => not_answered(&error),
        // The parser's text may quote a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => down("its answer is no token response"),
    }
}

fn not_answered(error: &HttpError) -> NotGranted {
    NotGranted::Down {
        why: error.to_string(),
        reached: !matches!(error, HttpError::Unreachable | HttpError::Refused(_)),
        timed_out: *error == HttpError::TimedOut,
    }
}

fn down(why: &str) -> NotGranted {
    NotGranted::Down { why: why.to_owned(), reached: true, timed_out: false }
}
