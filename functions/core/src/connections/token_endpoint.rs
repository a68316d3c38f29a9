//! An authorization server's token endpoint: what is asked of it.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::ExposeSecret;
use url::{
    Url,
    form_urlencoded::{self, byte_serialize},
};
use zeroize::Zeroizing;

use super::{
    known_providers::AuthMethod,
    registration::Client,
    token_response::{self, IssuedTokens, TokenRequestError},
};
use crate::network::{Http, HttpError};

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A request for tokens.
pub(crate) struct TokenRequest<'a> {
    pub(crate) grant: AuthorizationGrant<'a>,
    /// RFC 8707 section 2.2, unless the authorization server refuses it.
    pub(crate) resource: Option<&'a str>,
    /// For authorization servers that want it in a refresh.
    pub(crate) scope: Option<&'a str>,
    /// The client's assertion (RFC 7523 section 2.2), in place of a secret.
    pub(crate) assertion: Option<&'a str>,
}

/// The grant of a token request.
pub(crate) enum AuthorizationGrant<'a> {
    Code { code: &'a str, verifier: &'a str, redirect_uri: &'a str },
    Refresh { token: &'a str },
}

impl AuthorizationGrant<'_> {
    fn fields(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Code { code, verifier, redirect_uri } => vec![
                ("grant_type", "authorization_code"),
                ("code", code),
                ("code_verifier", verifier),
                ("redirect_uri", redirect_uri),
            ],
            Self::Refresh { token } => vec![("grant_type", "refresh_token"), ("refresh_token", token)],
        }
    }

    /// What the provider could quote, and nobody else is to see.
    fn secrets(&self) -> [&str; 2] {
        match self {
            Self::Code { code, verifier, .. } => [code, verifier],
            Self::Refresh { token } => [token, ""],
        }
    }
}

/// Asks the token endpoint (RFC 6749 section 4.1.3 or 6).
pub(crate) async fn ask_for_tokens(
    http: &dyn Http,
    token_endpoint: &Url,
    client: &Client,
    asked: TokenRequest<'_>,
) -> Result<IssuedTokens, TokenRequestError> {
    http.check(token_endpoint)?;
    let secret = client.secret.as_ref().filter(|_| client.auth_method != AuthMethod::None);
    let secret = secret.map_or("", |secret| secret.expose_secret());
    let response = http.send(request(token_endpoint, client, secret, &asked)?).await?;
    let [one, other] = asked.grant.secrets();
    token_response::read(&response).map_err(|refused| refused.without(&[one, other, secret]))
}

fn request(
    token_endpoint: &Url,
    client: &Client,
    secret: &str,
    asked: &TokenRequest<'_>,
) -> Result<Request<Vec<u8>>, HttpError> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(asked.grant.fields());
    form.extend_pairs(asked.resource.map(|resource| ("resource", resource)));
    form.extend_pairs(asked.scope.map(|scope| ("scope", scope)));
    if let Some(assertion) = asked.assertion {
        form.append_pair("client_assertion_type", ASSERTION_TYPE);
        form.append_pair("client_assertion", assertion);
    }
    authenticated(token_endpoint, client, secret, form)
}

/// A form that our client sends to an endpoint of an authorization server.
pub(super) fn authenticated(
    endpoint: &Url,
    client: &Client,
    secret: &str,
    mut form: form_urlencoded::Serializer<'_, String>,
) -> Result<Request<Vec<u8>>, HttpError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    if client.auth_method == AuthMethod::ClientSecretBasic {
        request = request.header(AUTHORIZATION, basic(&client.id, secret)?);
    } else {
        form.append_pair("client_id", &client.id);
        form.extend_pairs(Some(("client_secret", secret)).filter(|(_, secret)| !secret.is_empty()));
    }
    request.body(form.finish().into_bytes()).map_err(|error| HttpError::Refused(error.into()))
}

/// RFC 6749 section 2.3.1: both parts are encoded as in a form.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, HttpError> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let both = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    let header = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(both.as_bytes())));
    let mut header = HeaderValue::from_str(&header).map_err(|error| HttpError::Refused(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}
