//! An authorization server's token endpoint.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::StatusCode;
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest, HttpResponse,
    PkceCodeVerifier, RefreshToken, RequestTokenError, StandardErrorResponse, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse, BasicTokenType},
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    quoted,
    registration::{AuthMethod, Client},
};
use crate::{
    error::Cause,
    network::{Http, HttpError},
};

/// The tokens that the provider gave.
#[derive(Debug)]
pub(super) struct IssuedTokens {
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    pub(super) expires_in: Option<Duration>,
    pub(super) scope: Option<String>,
}

/// Why the token endpoint gave no tokens.
#[derive(Debug)]
pub(super) enum TokenRequestError {
    /// The code or the refresh token is not good, or no longer good (RFC 6749 section 5.2, `invalid_grant`).
    InvalidGrant,
    /// It does not know our client (`invalid_client`, `unauthorized_client`).
    InvalidClient,
    /// It refuses for another reason, in its own words.
    Refused(String),
    /// It is down, or answers what is no answer. Whether it has consumed what we sent is unknown, unless it
    /// was not reached.
    Down { why: Cause, reached: bool, timed_out: bool },
}

impl TokenRequestError {
    /// There was no answer in time.
    pub(super) fn silent() -> Self {
        not_answered(HttpError::TimedOut)
    }
}

/// The grant of a token request.
pub(super) enum AuthorizationGrant<'a> {
    Code { code: &'a str, verifier: &'a str, redirect_uri: &'a str },
    Refresh { token: &'a str },
}

/// Asks the token endpoint (RFC 6749 section 4.1.3 or 6), with `resource` (RFC 8707 section 2.2).
pub(super) async fn ask_for_tokens(
    http: &Arc<dyn Http>,
    token_endpoint: &Url,
    client: &Client,
    resource: &str,
    exchange: AuthorizationGrant<'_>,
) -> Result<IssuedTokens, TokenRequestError> {
    http.check(token_endpoint).map_err(not_answered)?;
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
        AuthorizationGrant::Code { code, verifier, redirect_uri } => {
            let redirect_uri = oauth2::RedirectUrl::new(redirect_uri.to_owned());
            let redirect_uri =
                redirect_uri.map_err(|_| TokenRequestError::Refused("our address".to_owned()))?;
            let oauth = oauth.set_redirect_uri(redirect_uri);
            let request = oauth.exchange_code(AuthorizationCode::new(code.to_owned()));
            let request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
            request.add_extra_param("resource", resource).request_async(&send).await
        }
        AuthorizationGrant::Refresh { token } => {
            let token = RefreshToken::new(token.to_owned());
            let request = oauth.exchange_refresh_token(&token);
            request.add_extra_param("resource", resource).request_async(&send).await
        }
    };
    granted(&answer.map_err(token_request_failed)?)
}

/// The network in the form that `oauth2` needs. A named type, since a closure's future cannot be shown to be
/// `Send`.
struct TokenHttp(Arc<dyn Http>);

impl<'c> AsyncHttpClient<'c> for TokenHttp {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let sent = self.0.send(request);
        Box::pin(async move {
            let response = sent.await?;
            let status = response.status();
            // With such a status, the body is not the endpoint's answer.
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

fn granted(answer: &BasicTokenResponse) -> Result<IssuedTokens, TokenRequestError> {
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(down("its tokens are of a type that is not supported"));
    }
    let access_token = answer.access_token().secret();
    // A token that cannot be sent in a header (RFC 6750 section 2.1) is not a token.
    if access_token.is_empty() || !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(down("its token cannot be sent"));
    }
    let scope = answer.scopes().map(|scopes| {
        let values: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        values.join(" ")
    });
    Ok(IssuedTokens {
        access_token: SecretString::from(access_token.as_str()),
        refresh_token: answer.refresh_token().map(|token| SecretString::from(token.secret().as_str())),
        expires_in: answer.expires_in(),
        scope: scope.filter(|scope| super::challenge::is_scope(scope)),
    })
}

type Failed = RequestTokenError<HttpError, StandardErrorResponse<BasicErrorResponseType>>;

fn token_request_failed(failed: Failed) -> TokenRequestError {
    match failed {
        RequestTokenError::ServerResponse(response) => match response.error() {
            BasicErrorResponseType::InvalidGrant => TokenRequestError::InvalidGrant,
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                TokenRequestError::InvalidClient
            }
            other => TokenRequestError::Refused(quoted(other.as_ref())),
        },
        RequestTokenError::Request(error) => not_answered(error),
        // The parser's text may quote a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => down("its answer is no token response"),
    }
}

fn not_answered(error: HttpError) -> TokenRequestError {
    TokenRequestError::Down {
        reached: !matches!(error, HttpError::Unreachable(_) | HttpError::Refused(_)),
        timed_out: matches!(error, HttpError::TimedOut),
        why: error.into(),
    }
}

fn down(why: &str) -> TokenRequestError {
    TokenRequestError::Down { why: why.into(), reached: true, timed_out: false }
}
