//! Which client we are at an authorization server
//! ([client registration](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/client-registration)).
//!
//! In this order: the client that an admin has registered there; our Client ID Metadata Document, if the server accepts
//! one; a client that we register by RFC 7591 and keep, for this MCP server and this issuer. A client is used with the
//! issuer that it is registered at, and with no other.

use deputize_api::path;
use http::{Method, Request, Response, StatusCode, header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    delete_once,
    known_providers::{AuthMethod, known_provider},
    metadata::{Metadata, Provider, bad},
    quoted,
};
use crate::{
    Core, Settings,
    clock::Timestamp,
    error::{Error, Result, chain},
    ids::ServerId,
    servers::Server,
    table::{Change, CommitError, Entity, Key, Partition, Stored, Table, retry_on_conflict},
    vault::{Sealed, Sealer, Vault},
};

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientSource {
    /// An admin registered it. Its secret is stored with the server.
    Preregistered,
    MetadataDocument,
    /// RFC 7591.
    Dynamic,
}

/// Our client at an authorization server for one MCP server, and the authorization server's metadata.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Registration {
    pub(super) provider: Provider,
    pub(super) client_id: String,
    pub(super) origin: ClientSource,
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

/// A client with its secret, ready to authenticate.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) auth_method: AuthMethod,
    pub(crate) secret: Option<SecretString>,
}

impl Registration {
    pub(super) fn key(server: &ServerId, issuer: &str) -> Key {
        Key::oauth_client(server, issuer)
    }

    /// Whether it is still the server's client. One that an admin has registered is, as long as the server
    /// has the same `client_id` and issuer, and the admin gives the same endpoints or none.
    pub(super) fn is_of(&self, server: &Server) -> bool {
        let now = || server.oauth_client_of(&self.provider.issuer, &self.client_id);
        self.origin != ClientSource::Preregistered
            || now().is_some_and(|client| self.provider.is_at(client.settings.endpoints.as_ref()))
    }

    /// The client with its secret.
    pub(super) async fn client(&self, vault: &Vault, server: &Server) -> Result<Client> {
        let secret = match self.origin {
            // The server's present secret, only if it was given for this client at this issuer.
            ClientSource::Preregistered => {
                server.oauth_client_secret(vault, &self.provider.issuer, &self.client_id).await?
            }
            ClientSource::MetadataDocument | ClientSource::Dynamic => match &self.secret {
                Some(sealed) => {
                    let key = Self::key(&server.id, &self.provider.issuer);
                    Some(text(&vault.open(&key, sealed).await?.value)?)
                }
                None => None,
            },
        };
        Ok(Client { id: self.client_id.clone(), auth_method: self.auth_method, secret })
    }

    /// What is to be done if its authorization server does not know it, or not by its secret.
    pub(super) fn after_invalid_client(&self) -> &'static str {
        match self.origin {
            ClientSource::Preregistered => "an admin must correct the server's oauth_client",
            ClientSource::MetadataDocument | ClientSource::Dynamic => "connect again",
        }
    }

    fn is_good(&self, redirect_uri: &str, now: Timestamp) -> bool {
        self.redirect_uri == redirect_uri && self.secret_expires_at.is_none_or(|expires| expires > now)
    }
}

fn text(bytes: &[u8]) -> Result<SecretString> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::internal("a client secret is no text"))?;
    Ok(SecretString::from(text))
}

/// The URL to which authorization servers send browsers back.
pub fn redirect_uri(settings: &Settings) -> String {
    format!("{}{}", settings.issuer, path::CALLBACK)
}

/// Our client metadata, for servers that fetch it and for those to which it is sent.
pub fn client_metadata(settings: &Settings) -> serde_json::Value {
    let redirect_uri = redirect_uri(settings);
    // OpenID Connect Dynamic Client Registration section 2: a web client's redirect URIs are https.
    let application_type = if settings.is_https() { "web" } else { "native" };
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

/// Our Client ID Metadata Document. Its address is our `client_id` at servers that support it.
pub fn client_id_document(settings: &Settings) -> serde_json::Value {
    let mut document = client_metadata(settings);
    document["client_id"] = client_id_url(settings).into();
    document
}

fn client_id_url(settings: &Settings) -> String {
    format!("{}{}", settings.issuer, path::CLIENT_METADATA)
}

/// Our client for `server` at `provider`: the stored one, or a new one, which is then stored. `scope` is what is going
/// to be requested.
pub(super) async fn register(
    core: &Core,
    server: &Server,
    provider: Provider,
    scope: Option<&str>,
) -> Result<Registration> {
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
            let known = known_provider(&provider.issuer).and_then(|known| known.token_endpoint_auth_method);
            let auth_method = if client.has_secret() {
                known.or_else(|| provider.auth_method(&methods)).unwrap_or(AuthMethod::ClientSecretBasic)
            } else {
                AuthMethod::None
            };
            Registration {
                client_id: client.client_id.clone(),
                origin: ClientSource::Preregistered,
                auth_method,
                secret: None,
                secret_expires_at: None,
                redirect_uri,
                registered_at: now,
                provider,
            }
        }
        // Servers can only fetch our document by https.
        None if provider.client_id_metadata_document_supported && core.settings.is_https() => Registration {
            client_id: client_id_url(&core.settings),
            origin: ClientSource::MetadataDocument,
            auth_method: AuthMethod::None,
            secret: None,
            secret_expires_at: None,
            redirect_uri,
            registered_at: now,
            provider,
        },
        None => match &kept {
            Some(kept) if kept.origin == ClientSource::Dynamic && kept.is_good(&redirect_uri, now) => {
                Registration { provider, ..kept.value.clone() }
            }
            _ => return register_dynamically(core, server, provider, scope, kept).await,
        },
    };
    keep(&core.table, key, registration, kept).await
}

/// Stores a public client that an authorization server knows already, with that server's metadata (RFC 8414).
/// For a client that comes with the deployment and needs no registration.
pub async fn adopt(core: &Core, server: &Server, client_id: &str, metadata: serde_json::Value) -> Result<()> {
    let metadata: Metadata = serde_json::from_value(metadata).map_err(Error::internal)?;
    let provider = metadata.into_own()?;
    let key = Registration::key(&server.id, &provider.issuer);
    let kept = core.table.read_one::<Registration>(key.clone()).await?;
    let registration = Registration {
        provider,
        client_id: client_id.to_owned(),
        origin: ClientSource::Dynamic,
        auth_method: AuthMethod::None,
        secret: None,
        secret_expires_at: None,
        redirect_uri: redirect_uri(&core.settings),
        registered_at: core.clock.now(),
    };
    keep(&core.table, key, registration, kept).await.map(drop)
}

/// How many of our clients are stored for an MCP server, each at another authorization server. The MCP server
/// itself names its authorization server, so it can only displace its own clients.
const MAX_CLIENTS: usize = 20;

/// Removes the oldest clients of an MCP server to make room for another. Users with a session by one of them
/// connect again.
async fn make_room(table: &Table, change: &mut Change, server: &Key) -> Result<()> {
    // Boxed, as it is seldom: every future that could wait for it would hold its state.
    let mut all = Box::pin(table.query_all::<Registration>(&Partition::oauth_clients(server))).await?;
    all.sort_unstable_by_key(|client| std::cmp::Reverse(client.registered_at));
    for client in all.iter().skip(MAX_CLIENTS - 1) {
        let key = Key { sk: Key::oauth_client_sort_key(&client.provider.issuer), ..server.clone() };
        change.delete(&key, client.rev)?;
    }
    Ok(())
}

/// Stores a registration. Of two that are made at the same time, the first is stored and used by both.
async fn keep(
    table: &Table,
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
    let rev = |stored: &Option<Stored<Registration>>| stored.as_ref().map(|stored| stored.rev);
    retry_on_conflict(|| async {
        let mut change = Change::new();
        if kept.is_none() {
            make_room(table, &mut change, &key).await?;
        }
        change.write(key.clone(), &registration, kept.as_ref())?;
        match table.commit(change).await {
            Ok(()) => Ok(registration.clone()),
            Err(CommitError::ConditionFailed) => match table.read_one::<Registration>(key.clone()).await? {
                // No other writer was faster: two transactions of the store collided.
                there if rev(&there) == rev(&kept) => Err(CommitError::ConditionFailed),
                Some(faster) => Ok(faster.value),
                // The provider does not know the client, and another process has removed it in the meantime.
                None if kept.as_ref().is_some_and(|kept| kept.client_id == registration.client_id) => {
                    Err(Error::unavailable("an OAuth client was forgotten while it was asked for").into())
                }
                None => {
                    let mut change = Change::new();
                    make_room(table, &mut change, &key).await?;
                    change.create(key.clone(), &registration)?;
                    table.commit(change).await?;
                    Ok(registration.clone())
                }
            },
            Err(failed) => Err(failed),
        }
    })
    .await
}

/// Removes a client that its authorization server no longer knows, so that the next connection registers
/// again. Several processes may do this at the same time. If it fails, the next use of the client finds out
/// again.
pub(super) async fn forget(table: &Table, server: &ServerId, registration: &Stored<Registration>) {
    if registration.origin != ClientSource::Dynamic {
        return;
    }
    let key = Registration::key(server, &registration.provider.issuer);
    if let Err(error) = delete_once::<Registration>(table, &key, registration.rev).await {
        tracing::warn!(%server, error = %chain(&error), "an OAuth client that is unknown at its provider was not forgotten");
    }
}

/// An authorization server's answer to a registration (RFC 7591 section 3.2.1).
#[derive(Deserialize)]
struct Registered {
    client_id: String,
    #[serde(default)]
    client_secret: Option<Zeroizing<String>>,
    /// Seconds since the epoch; 0 if it does not expire.
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
    scope: Option<&str>,
    kept: Option<Stored<Registration>>,
) -> Result<Registration> {
    let redirect_uri = redirect_uri(&core.settings);
    let by_hand = format!(
        "an admin must register one there, with the redirect URI {redirect_uri}, and give it as the server's \
         oauth_client"
    );
    let Some(endpoint) = &provider.registration_endpoint else {
        return Err(bad(format!(
            "The authorization server {} registers no clients by itself; {by_hand}",
            quoted(&provider.issuer)
        )));
    };
    // With a secret where possible: then a leaked refresh token alone is of no use.
    let methods = [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost, AuthMethod::None];
    let method = provider.auth_method(&methods);
    let method = method
        .ok_or_else(|| bad("The authorization server supports no client authentication that we know"))?;
    let mut metadata = client_metadata(&core.settings);
    metadata["token_endpoint_auth_method"] = method.name().into();
    // Auth0 gives a client no scope of its own that it was not registered with
    // (https://github.com/UsefulSoftwareCo/executor/pull/689). Others, `oidc-provider` among them, register none for a
    // scope that is the MCP server's and not theirs.
    let theirs = |value: &&str| provider.scopes_supported.iter().any(|supported| supported == value);
    let scope: Vec<&str> = scope.into_iter().flat_map(str::split_ascii_whitespace).filter(theirs).collect();
    if !scope.is_empty() {
        metadata["scope"] = scope.join(" ").into();
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(metadata.to_string().into_bytes())
        .map_err(Error::internal)?;
    // Once the server has made a client, it is stored even if the caller disconnects. Otherwise each such
    // caller would leave one more client there. That its secret can be sealed is known before it is made.
    let key = Registration::key(&server.id, &provider.issuer);
    let sealer = core.vault.sealer(&key).await?;
    let context = core.task_context();
    core.tasks
        .run("registering an OAuth client", async move {
            let response = context.http.send(request).await;
            let response = response.map_err(|error| error.from("the registration endpoint"))?;
            let made = registered(&response, method, &sealer, &by_hand)?;
            let registration = Registration {
                client_id: made.client_id,
                origin: ClientSource::Dynamic,
                auth_method: made.auth_method,
                secret: made.secret,
                secret_expires_at: made.secret_expires_at,
                redirect_uri,
                registered_at: context.clock.now(),
                provider,
            };
            keep(&context.table, key, registration, kept).await
        })
        .await
}

/// A client that the server has just made.
struct Made {
    client_id: String,
    auth_method: AuthMethod,
    secret: Option<Sealed>,
    secret_expires_at: Option<Timestamp>,
}

fn registered(
    response: &Response<Vec<u8>>,
    asked_for: AuthMethod,
    sealer: &Sealer,
    by_hand: &str,
) -> Result<Made> {
    if !matches!(response.status(), StatusCode::CREATED | StatusCode::OK) {
        let refused = serde_json::from_slice::<RegistrationRefused>(response.body());
        let why = refused.map_or_else(
            |_| format!("HTTP {}", response.status()),
            |refused| quoted(&format!("{}: {}", refused.error, refused.error_description)),
        );
        // Okta and Keycloak name an endpoint that lets nobody in who is unknown to them.
        return Err(bad(format!("The authorization server refuses to register a client: {why}; {by_hand}")));
    }
    let registered: Registered = serde_json::from_slice(response.body())
        .map_err(|_| bad("The authorization server's answer to a registration is none"))?;
    let auth_method = match registered.token_endpoint_auth_method.as_deref() {
        None => asked_for,
        Some("none") => AuthMethod::None,
        Some("client_secret_basic") => AuthMethod::ClientSecretBasic,
        Some("client_secret_post") => AuthMethod::ClientSecretPost,
        Some(_) => {
            return Err(bad("The authorization server wants a client authentication that we do not know"));
        }
    };
    let secret = match &registered.client_secret {
        Some(secret) => Some(sealer.seal(secret.as_bytes())?),
        None if auth_method == AuthMethod::None => None,
        None => return Err(bad("The authorization server registered a client without its secret")),
    };
    let expires = registered.client_secret_expires_at.filter(|seconds| *seconds > 0);
    let secret_expires_at = expires.map(Timestamp::from_seconds);
    Ok(Made { client_id: registered.client_id, auth_method, secret, secret_expires_at })
}
