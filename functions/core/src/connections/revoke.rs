//! The end of a connection, asked of its provider: token revocation (RFC 7009).
//!
//! A person who disconnects, or leaves, wants the provider to forget what it gave us. Its metadata may name where
//! (RFC 8414, `revocation_endpoint`). The refresh token is sent there, or the access token if there is none, with the
//! client that it was given to: the same rules as for the token endpoint. A provider of which that is not known, that
//! offers no such endpoint, or that fails, stops nothing: the connection is deleted here all the same, and the audit
//! trail says what became of it there.
//!
//! Tokens are also sent there that a provider gave for somebody who was deactivated meanwhile, or for a connection that was
//! ended meanwhile: they are stored nowhere.

use std::{fmt, time::Duration};

use http::{Request, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::timeout;
use url::{Url, form_urlencoded::Serializer};

use super::{
    known_providers::AuthMethod, our_client::our_client, quoted, registration::Client,
    token_endpoint::authenticated,
};
use crate::{
    Core,
    error::{Error, chain},
    network::{Http, HttpError},
    sessions::{Session, ToRevoke},
};

/// How long a provider may take.
pub const REVOKE_WITHIN: Duration = Duration::from_secs(5);

/// What became of a connection at its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtProvider {
    /// The provider has ended it.
    Revoked,
    /// The provider offers nothing to end it by.
    NotOffered,
    /// It could not be ended. The text says why.
    Failed(String),
}

impl fmt::Display for AtProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("revoked at the provider"),
            Self::NotOffered => f.write_str("the provider offers no revocation"),
            Self::Failed(why) => write!(f, "not revoked at the provider: {why}"),
        }
    }
}

/// An error (RFC 7009 section 2.2.1).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Asks a session's provider to end it.
pub(super) async fn at_provider(core: &Core, session: &Session) -> AtProvider {
    let asked = timeout(REVOKE_WITHIN, ask(core, session)).await;
    let came_to = asked.unwrap_or_else(|_| AtProvider::Failed("it took too long".to_owned()));
    if let AtProvider::Failed(why) = &came_to {
        let (user, server) = (session.user_id, &session.server_id);
        tracing::warn!(%user, %server, why, "an OAuth session was not revoked at its provider");
    }
    came_to
}

async fn ask(core: &Core, session: &Session) -> AtProvider {
    if session.provider.is_none() {
        return AtProvider::NotOffered;
    }
    let failed = |why: &dyn fmt::Display| AtProvider::Failed(why.to_string());
    let ours = match our_client(&core.table, session).await {
        Ok(ours) => ours,
        Err(Error::SessionOfOtherClient | Error::SessionNotFound) => {
            return failed(&"it was made with a client that is not this server's any more");
        }
        Err(error) => return failed(&error),
    };
    let endpoint = ours.revocation_endpoint();
    if endpoint.is_none() {
        return AtProvider::NotOffered;
    }
    let read = async {
        let client = ours.client(&core.vault).await?;
        Ok::<_, Error>((client, session.token_to_revoke(&core.vault).await?))
    };
    let (client, token) = match read.await {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the tokens of an OAuth session cannot be read");
            return failed(&"its tokens cannot be read");
        }
    };
    tokens(&*core.http, endpoint, &client, &token).await
}

/// Asks a provider to end what a token is of. It was given to this client.
pub(super) async fn tokens(
    http: &dyn Http,
    endpoint: Option<&Url>,
    client: &Client,
    token: &ToRevoke,
) -> AtProvider {
    let Some(endpoint) = endpoint else { return AtProvider::NotOffered };
    let sent = timeout(REVOKE_WITHIN, send(http, endpoint, client, token)).await;
    sent.unwrap_or_else(|_| AtProvider::Failed("it took too long".to_owned()))
}

async fn send(http: &dyn Http, endpoint: &Url, client: &Client, (token, hint): &ToRevoke) -> AtProvider {
    let failed = |why: &dyn fmt::Display| AtProvider::Failed(why.to_string());
    let secret = client.secret.as_ref().filter(|_| client.auth_method != AuthMethod::None);
    let secret = secret.map_or("", |secret| secret.expose_secret());
    let sent = async {
        http.check(endpoint)?;
        http.send(request(endpoint, client, secret, token.expose_secret(), hint)?).await
    };
    let response = match sent.await {
        Ok(response) => response,
        Err(error) => return failed(&error),
    };
    match response.status() {
        // Also for a token that it does not know (RFC 7009 section 2.2).
        StatusCode::OK | StatusCode::NO_CONTENT => AtProvider::Revoked,
        status => match serde_json::from_slice::<Refusal>(response.body()) {
            Ok(Refusal { error, error_description }) => {
                let words = format!("{error} {error_description}").trim_end().to_owned();
                let secrets = [token.expose_secret(), secret];
                let secrets = secrets.iter().filter(|secret| !secret.is_empty());
                failed(&quoted(&secrets.fold(words, |words, secret| words.replace(secret, "[…]"))))
            }
            Err(_) => failed(&HttpError::Status(status)),
        },
    }
}

/// RFC 7009 section 2.1.
fn request(
    endpoint: &Url,
    client: &Client,
    secret: &str,
    token: &str,
    hint: &str,
) -> Result<Request<Vec<u8>>, HttpError> {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", hint);
    authenticated(endpoint, client, secret, form)
}
