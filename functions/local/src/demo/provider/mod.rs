//! The demo's authorization server. It issues the tokens for the demo's `demo-oauth` server, and a person signs in and
//! agrees there. Deputize treats it as a stranger like Slack or GitHub: it is found by discovery, registered with, and
//! spoken to by OAuth 2.1 and the MCP authorization specification. It is as strict as the strictest real servers
//! (`resource` everywhere, refresh tokens that rotate).
//!
//! **What is kept, and where.** A client's id is its registration, and an access token says what it is for. Both have a
//! MAC under the key in `demo-provider.key`, and neither is stored. Authorization codes live for a minute, in memory.
//! Only one thing must outlive the process: which refresh token of a family is valid. A signed token would still be
//! valid after it was used. A head of the family in memory would be forgotten. After a restart, either a stolen token
//! would then work, or the client's own token would not. So families are in a file, `demo-provider.json`, with hashes
//! in place of tokens. An access token ends with its family.
//!
//! `DEPUTIZE_DEMO_ACCESS_TOKEN_SECONDS` makes access tokens expire sooner, so that you can watch them being refreshed.

mod access;
mod authorize;
mod codes;
mod families;
mod handle;
mod metadata;
mod oauth_error;
mod page;
mod parameters;
mod registration;
mod scopes;
#[cfg(test)]
mod tests;
mod token;

use std::{io, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::map_response,
    routing::{get, post},
};
use deputize_core::clock::{Clock, Timestamp};
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::SecretString;
use zeroize::Zeroizing;

use self::{
    codes::Codes,
    families::{Families, Family, hash_of_client},
    handle::Handle,
    registration::Client,
    scopes::{OFFLINE, Scopes},
};
use super::issuer::DemoIssuer;
use crate::{data_dir::DataDir, demo_servers::READ};

/// How long an access token is valid.
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// The longest body of a request, in bytes. All of them are short.
const MAX_BODY: usize = 16 * 1024;

/// The authorization server. Cheap to clone. Clones are the same server.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    /// The server's `issuer`, and the address of its endpoints.
    url: String,
    /// The MCP server that its tokens are for.
    resource: String,
    /// Deputize's address to which users come back.
    callback: String,
    mac: hmac::Key,
    signing: EncodingKey,
    verifying: DecodingKey,
    access_token_lifetime: Duration,
    /// Knows the password with which users sign in.
    issuer: DemoIssuer,
    codes: Codes,
    families: Arc<Families>,
    clock: Clock,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("url", &self.0.url).finish_non_exhaustive()
    }
}

/// What a client has been granted.
#[derive(Debug)]
pub struct Issued {
    pub access_token: SecretString,
    /// Only with the scope `offline_access`.
    pub refresh_token: Option<SecretString>,
    /// The access token's lifetime in seconds.
    pub expires_in: u64,
    pub client_id: String,
    pub issuer: String,
    /// The access token's scopes, joined by spaces.
    pub scope: String,
    pub resource: String,
}

impl Provider {
    /// The authorization server whose key and families are in the data directory. `callback` is Deputize's
    /// address to which users come back.
    pub fn open(
        data: &Arc<DataDir>,
        base_url: &str,
        callback: String,
        issuer: &DemoIssuer,
        clock: &Clock,
    ) -> io::Result<Self> {
        const NAME: &str = "DEPUTIZE_DEMO_ACCESS_TOKEN_SECONDS";
        let lifetime = match std::env::var(NAME).map(|seconds| seconds.parse()) {
            Ok(Ok(seconds)) => Duration::from_secs(seconds),
            Ok(Err(_)) => return Err(io::Error::other(format!("{NAME}: not a number of seconds"))),
            Err(_) => ACCESS_TOKEN_LIFETIME,
        };
        let key = data.secret("demo-provider.key", || {
            let mut key = Zeroizing::new(vec![0; 32]);
            aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
            Ok(key)
        })?;
        Ok(Self(Arc::new(Inner {
            url: format!("{base_url}/demo/oauth"),
            resource: format!("{base_url}/demo/oauth-mcp"),
            callback,
            mac: hmac::Key::new(hmac::HMAC_SHA256, &key),
            signing: EncodingKey::from_secret(&key),
            verifying: DecodingKey::from_secret(&key),
            access_token_lifetime: lifetime,
            issuer: issuer.clone(),
            codes: Codes::default(),
            families: Arc::new(Families::open(data)?),
            clock: clock.clone(),
        })))
    }

    pub fn issuer(&self) -> &str {
        &self.0.url
    }

    /// The address of the MCP server, which is the audience of its tokens.
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// Connects a user to Deputize as if they had just agreed in a browser.
    pub async fn connect(&self, email: &str) -> io::Result<Issued> {
        let client_id = self.client_id(&Client::public("Deputize", self.0.callback.clone()))?;
        let refresh = Handle::new()?;
        let family = Family {
            client: hash_of_client(&client_id),
            user: email.to_owned(),
            scopes: Scopes::which(|scope| scope == READ || scope == OFFLINE),
            resource: self.0.resource.clone(),
            refresh: Some(refresh.hash()),
            used_at: self.now(),
        };
        self.0.families.begin(refresh.family(), family.clone()).await?;
        self.issue(&client_id, &refresh, &family, &family.scopes, true)
    }

    /// The server's documents and endpoints, to be merged at the root.
    pub fn routes(&self) -> Router {
        let endpoints = Router::new()
            .route("/register", post(registration::register))
            .route("/authorize", get(authorize::ask).post(authorize::decide))
            .route("/token", post(token::token))
            .route("/revoke", post(token::revoke))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(map_response(page::protect));
        Router::new().nest("/demo/oauth", endpoints).merge(metadata::router()).with_state(self.clone())
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn client_id(&self, client: &Client) -> io::Result<String> {
        client.id(&self.0.mac).map_err(io::Error::other)
    }
}
