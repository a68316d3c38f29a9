//! Which client we are at an authorization server
//! ([client registration](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/client-registration)).
//!
//! In this order: the client that an admin has registered there; our Client ID Metadata Document, if the
//! server takes such; a client that we register by RFC 7591, once for an MCP server and an issuer. A client
//! is used with the issuer that it is registered at, and with no other.

use ::http::{Method, Request, StatusCode, header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{CALLBACK_PATH, CLIENT_METADATA_PATH, discovery::bad, provider::Provider, quoted};
use crate::{
    Core, Settings,
    clock::Timestamp,
    error::{Error, Result},
    ids::ServerId,
    servers::Server,
    table::{Attempt, Change, Entity, Key, Stored},
    vault::Sealed,
};

/// How a client authenticates at the token endpoint (RFC 7591 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
}

impl AuthMethod {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }

    /// The first of `preferred` that the provider supports.
    fn supported(provider: &Provider, preferred: &[Self]) -> Option<Self> {
        let supports = |method: Self| match &provider.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().any(|name| name == method.name()),
            None => method == Self::ClientSecretBasic,
        };
        preferred.iter().copied().find(|method| supports(*method))
    }
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// An admin registered it; its secret is the server's.
    Preregistered,
    MetadataDocument,
    /// RFC 7591.
    Dynamic,
}

/// Our client at an authorization server, for one MCP server, and what is known of the former.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) provider: Provider,
    pub(super) client_id: String,
    pub(super) origin: Origin,
    pub(super) auth_method: AuthMethod,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Sealed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_expires_at: Option<Timestamp>,
    pub(super) redirect_uri: String,
    registered_at: Timestamp,
}

impl Entity for Registration {
    const KIND: &'static str = "OAuth client";
}

/// A client, ready to authenticate.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) auth_method: AuthMethod,
    pub(super) secret: Option<SecretString>,
}

impl Registration {
    pub(super) fn key(server: &ServerId, issuer: &str) -> Key {
        Key::oauth_client(server, issuer)
    }

    /// The client with its secret.
    pub(super) async fn client(&self, core: &Core, server: &Server) -> Result<Client> {
        let secret = match self.origin {
            Origin::Preregistered => server.oauth_client_secret(core).await?,
            Origin::MetadataDocument | Origin::Dynamic => match &self.secret {
                Some(sealed) => {
                    let key = Self::key(&server.id, &self.provider.issuer);
                    Some(text(&core.vault.open(&key, sealed).await?.value)?)
                }
                None => None,
            },
        };
        Ok(Client { id: self.client_id.clone(), auth_method: self.auth_method, secret })
    }

    fn is_good(&self, redirect_uri: &str, now: Timestamp) -> bool {
        self.redirect_uri == redirect_uri && self.secret_expires_at.is_none_or(|expires| expires > now)
    }
}

fn text(bytes: &[u8]) -> Result<SecretString> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::internal("a client secret is no text"))?;
    Ok(SecretString::from(text))
}

/// Where authorization servers send browsers back to.
pub fn redirect_uri(settings: &Settings) -> String {
    format!("{}{CALLBACK_PATH}", settings.issuer)
}

/// What we say of ourselves to an authorization server, whether it fetches it or is sent it.
pub fn client_metadata(settings: &Settings) -> serde_json::Value {
    let redirect_uri = redirect_uri(settings);
    // OpenID Connect Dynamic Client Registration section 2: a web client's redirects are https.
    let application_type = if redirect_uri.starts_with("https://") { "web" } else { "native" };
    json!({
        "client_name": "Deputize",
        "client_uri": settings.issuer,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": application_type,
        "token_endpoint_auth_method": "none",
    })
}

/// Our Client ID Metadata Document, and its address: our `client_id` wherever such are taken.
pub fn client_id_document(settings: &Settings) -> serde_json::Value {
    let mut document = client_metadata(settings);
    document["client_id"] = client_id_url(settings).into();
    document
}

fn client_id_url(settings: &Settings) -> String {
    format!("{}{CLIENT_METADATA_PATH}", settings.issuer)
}

/// Our client for `server` at `provider`: the one that is kept, or a new one, which is then kept.
pub(super) async fn register(core: &Core, server: &Server, provider: Provider) -> Result<Registration> {
    let key = Registration::key(&server.id, &provider.issuer);
    let kept = core.table.read_one::<Registration>(key.clone()).await?;
    let redirect_uri = redirect_uri(&core.settings);
    let now = core.clock.now();
    let registration = match &server.oauth_client {
        Some(client) if client.issuer != provider.issuer => {
            return Err(bad("The client in oauth_client is registered at another authorization server"));
        }
        Some(client) => {
            let methods = [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost];
            let auth_method = if client.has_secret() {
                AuthMethod::supported(&provider, &methods).unwrap_or(AuthMethod::ClientSecretBasic)
            } else {
                AuthMethod::None
            };
            Registration {
                client_id: client.client_id.clone(),
                origin: Origin::Preregistered,
                auth_method,
                secret: None,
                secret_expires_at: None,
                redirect_uri,
                registered_at: now,
                provider,
            }
        }
        // A document of ours can only be had by https.
        None if provider.client_id_metadata_document_supported
            && core.settings.issuer.starts_with("https://") =>
        {
            Registration {
                client_id: client_id_url(&core.settings),
                origin: Origin::MetadataDocument,
                auth_method: AuthMethod::None,
                secret: None,
                secret_expires_at: None,
                redirect_uri,
                registered_at: now,
                provider,
            }
        }
        None => match &kept {
            Some(kept) if kept.origin == Origin::Dynamic && kept.is_good(&redirect_uri, now) => {
                Registration { provider, ..kept.value.clone() }
            }
            _ => register_dynamically(core, server, provider, redirect_uri).await?,
        },
    };
    keep(core, key, registration, kept).await
}

/// Keeps a public client that an authorization server knows already, with the server's metadata (RFC 8414).
/// For one that comes with the deployment and is never asked first.
pub async fn adopt(core: &Core, server: &Server, client_id: &str, metadata: serde_json::Value) -> Result<()> {
    let provider: Provider = serde_json::from_value(metadata).map_err(Error::internal)?;
    let key = Registration::key(&server.id, &provider.issuer);
    let kept = core.table.read_one::<Registration>(key.clone()).await?;
    let registration = Registration {
        provider,
        client_id: client_id.to_owned(),
        origin: Origin::Dynamic,
        auth_method: AuthMethod::None,
        secret: None,
        secret_expires_at: None,
        redirect_uri: redirect_uri(&core.settings),
        registered_at: core.clock.now(),
    };
    keep(core, key, registration, kept).await.map(drop)
}

/// Keeps a registration. Of two that are made at once, the first is kept and used by both.
async fn keep(
    core: &Core,
    key: Key,
    registration: Registration,
    kept: Option<Stored<Registration>>,
) -> Result<Registration> {
    if let Some(kept) = &kept
        && kept.client_id == registration.client_id
        && kept.origin == registration.origin
        && kept.auth_method == registration.auth_method
        && kept.redirect_uri == registration.redirect_uri
        && kept.provider == registration.provider
    {
        return Ok(registration);
    }
    let mut change = Change::new();
    change.write(key.clone(), &registration, kept.as_ref())?;
    match core.table.commit(change).await {
        Ok(()) => Ok(registration),
        Err(Attempt::Raced) => {
            let faster = core.table.read_one::<Registration>(key).await?;
            Ok(faster.map_or(registration, |faster| faster.value))
        }
        Err(Attempt::Failed(error)) => Err(error),
    }
}

/// Forgets a client that its authorization server does not know any more, so that the next connection
/// registers anew. Others who have found out the same are no harm.
pub(super) async fn forget(
    core: &Core,
    server: &ServerId,
    registration: &Stored<Registration>,
) -> Result<()> {
    if registration.origin != Origin::Dynamic {
        return Ok(());
    }
    let mut change = Change::new();
    change.delete(&Registration::key(server, &registration.provider.issuer), registration.rev)?;
    match core.table.commit(change).await {
        Ok(()) | Err(Attempt::Raced) => Ok(()),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

/// What an authorization server answers a registration with (RFC 7591 section 3.2.1).
#[derive(Deserialize)]
struct Registered {
    client_id: String,
    #[serde(default)]
    client_secret: Option<Zeroizing<String>>,
    /// In seconds since the epoch; 0 for never.
    #[serde(default)]
    client_secret_expires_at: Option<i64>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
}

#[derive(Deserialize)]
struct RegistrationRefused {
    error: String,
    #[serde(default)]
    error_description: String,
}

async fn register_dynamically(
    core: &Core,
    server: &Server,
    provider: Provider,
    redirect_uri: String,
) -> Result<Registration> {
    let Some(endpoint) = &provider.registration_endpoint else {
        return Err(bad(format!(
            "The authorization server {} registers no clients by itself; an admin must register one there, \
             with the redirect URI {redirect_uri}, and give it as the server's oauth_client",
            quoted(&provider.issuer)
        )));
    };
    // With a secret where that is possible: a refresh token that leaks is then of no use alone.
    let methods = [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost, AuthMethod::None];
    let method = AuthMethod::supported(&provider, &methods);
    let method = method
        .ok_or_else(|| bad("The authorization server supports no client authentication that we know"))?;
    let mut metadata = client_metadata(&core.settings);
    metadata["token_endpoint_auth_method"] = method.name().into();
    let request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(metadata.to_string().into_bytes())
        .map_err(Error::internal)?;
    let response = core.http.send(request).await.map_err(|error| error.from("the registration endpoint"))?;
    if !matches!(response.status(), StatusCode::CREATED | StatusCode::OK) {
        let refused = serde_json::from_slice::<RegistrationRefused>(response.body());
        let why = refused.map_or_else(
            |_| format!("HTTP {}", response.status()),
            |refused| quoted(&format!("{}: {}", refused.error, refused.error_description)),
        );
        return Err(bad(format!("The authorization server refuses to register a client: {why}")));
    }
    let registered: Registered = serde_json::from_slice(response.body())
        .map_err(|_| bad("The authorization server's answer to a registration is none"))?;
    let auth_method = match registered.token_endpoint_auth_method.as_deref() {
        None => method,
        Some("none") => AuthMethod::None,
        Some("client_secret_basic") => AuthMethod::ClientSecretBasic,
        Some("client_secret_post") => AuthMethod::ClientSecretPost,
        Some(_) => {
            return Err(bad("The authorization server wants a client authentication that we do not know"));
        }
    };
    let key = Registration::key(&server.id, &provider.issuer);
    let secret = match &registered.client_secret {
        Some(secret) => Some(core.vault.seal(&key, secret.as_bytes()).await?),
        None if auth_method == AuthMethod::None => None,
        None => return Err(bad("The authorization server registered a client without its secret")),
    };
    let expires = registered.client_secret_expires_at.filter(|seconds| *seconds > 0);
    Ok(Registration {
        client_id: registered.client_id,
        origin: Origin::Dynamic,
        auth_method,
        secret,
        secret_expires_at: expires.map(Timestamp::from_seconds),
        redirect_uri,
        registered_at: core.clock.now(),
        provider,
    })
}
