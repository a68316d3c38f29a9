//! The way to the authorization server: `POST /api/v1/servers/{id}/connect`.
//!
//! The server's metadata is discovered (`discovery`), and the client chosen or registered ([`registration`]). Issuer,
//! resource and PKCE must be right. Then the request is stored under the hash of its `state`: the user who began, the
//! issuer, the sealed PKCE verifier, an expiry of ten minutes. Only an answer that fits all of these is accepted.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    challenge::is_scope,
    discovery::{self, Discovered},
    registration::{self, Registration},
    union,
};
use crate::{
    Core,
    apps::MadeByApp,
    caller::UserCaller,
    clock::Timestamp,
    epoch::Epoch,
    error::{Error, Result},
    fresh_id,
    ids::{ServerId, UserId},
    secret::{SecretHash, random_text, sha256_base64url},
    servers::{ResourceParameter, Server, ServerAuth},
    sessions::Session,
    table::{CommitError, Entity, Key, retry_on_conflict},
    users::User,
    vault::Sealed,
};

/// How long a user has to sign in and consent.
pub const BEGUN_FOR: Duration = Duration::from_secs(600);

/// How long discovery and registration may take together.
const WITHIN: Duration = Duration::from_secs(20);

/// The scope for refresh tokens (OpenID Connect Core section 11).
pub(super) const OFFLINE: &str = "offline_access";

/// A connection that has begun.
#[derive(Debug)]
pub struct BegunConnection {
    /// The URL to open in the user's browser.
    pub authorization_url: String,
    /// A secret for the browser that began. It proves itself with it when it comes back.
    pub binding: SecretString,
    /// Names the connection. It does not reveal the `state`.
    pub id: String,
}

/// A connection that has begun, found by its `state`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PendingConnection {
    pub(super) user_id: UserId,
    /// Of the user, when it began. It cannot be finished in another. Unknown of those from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<Epoch>,
    /// The app that began it for the user. It cannot be finished once that may not act for them any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_by: Option<MadeByApp>,
    pub(super) server_id: ServerId,
    /// The server's address when the connection began.
    pub(super) server_url: String,
    /// What is sent as `resource`, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    /// The issuer that must answer (RFC 9207).
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    /// PKCE's `code_verifier`.
    pub(super) verifier: Sealed,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    pub(super) binding: SecretHash,
    /// The path and query of ours at which the user goes on then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) return_to: Option<String>,
    pub(super) expires_at: Timestamp,
}

impl Entity for PendingConnection {
    const KIND: &'static str = "OAuth connection under way";
}

impl PendingConnection {
    /// Whether the user who began it can be connected by it: they are active, and have been since then.
    pub(super) fn may_connect(&self, user: &User) -> bool {
        user.active && user.vouches_for(self.epoch, self.expires_at.minus(BEGUN_FOR))
    }
}

/// Begins to connect the caller to a server. `scope` is requested in addition to what the server asks for and
/// what the caller's present session has.
pub async fn begin(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    scope: Option<&str>,
) -> Result<BegunConnection> {
    caller.require_server(server)?;
    if scope.is_some_and(|scope| !is_scope(scope)) {
        return Err(Error::invalid("scope must be scope values separated by spaces (RFC 6749 section 3.3)"));
    }
    begin_for(core, caller, server, scope, None).await
}

/// [`begin`], for a user who then goes on at `return_to`, a path and query of ours.
pub async fn begin_on_the_way(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    return_to: &str,
) -> Result<BegunConnection> {
    begin_for(core, caller, server, None, Some(return_to)).await
}

async fn begin_for(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    scope: Option<&str>,
    return_to: Option<&str>,
) -> Result<BegunConnection> {
    let begun =
        tokio::time::timeout(WITHIN, Box::pin(begin_in_time(core, caller, server, scope, return_to))).await;
    begun.unwrap_or_else(|_| {
        let detail = "The MCP server and its authorization server took too long".to_owned();
        Err(Error::Upstream {
            kind: crate::error::UpstreamFailure::TimedOut,
            detail,
            may_have_run: false,
            cause: None,
        })
    })
}

async fn begin_in_time(
    core: &Core,
    caller: &UserCaller,
    server_id: &ServerId,
    scope: Option<&str>,
    return_to: Option<&str>,
) -> Result<BegunConnection> {
    let session_key = Key::session(caller.user.id, server_id);
    let mut found = core.table.read(vec![Key::server(server_id), session_key.clone()]).await?;
    let server = found.take::<Server>(&Key::server(server_id))?.filter(|server| server.active);
    let server = server.ok_or(Error::NotFound(ServerId::WHAT))?.value;
    if server.auth != ServerAuth::OAuth {
        return Err(Error::invalid("This server asks for no OAuth, so there is nothing to connect to"));
    }
    let session = found.take::<Session>(&session_key)?.filter(|session| session.resource == server.url);

    let url: Url = server.url.parse().map_err(|_| Error::internal("a server's address does not parse"))?;
    let discovered = discovery::discover(&*core.http, &url, server.oauth_client.as_ref()).await?;
    let Discovered { provider, settings, resource, scope: wanted } = discovered;
    let resource = match settings.resource {
        None => Some(resource),
        Some(ResourceParameter::Omitted) => None,
        Some(ResourceParameter::Text(text)) => Some(text),
    };
    // Some providers give a refresh token only with this scope. Where it is not known, it must not be
    // requested; and an admin's scope is as it is.
    let offline = settings.scope.is_none() && provider.scopes_supported.iter().any(|scope| scope == OFFLINE);
    let wanted = settings.scope.or(wanted);
    let granted = session.as_ref().and_then(|session| session.scope.as_deref());
    let scope = union(&[wanted.as_deref(), granted, scope, offline.then_some(OFFLINE)]);
    let registration = registration::register(core, &server, provider, scope.as_deref()).await?;

    let state = random_text(&core.random)?;
    let verifier = random_text(&core.random)?;
    let binding = random_text(&core.random)?;
    let key = Key::connecting(&state);
    let request = authorization_url(
        &registration,
        &settings.authorization_parameters,
        &AuthorizationRequest {
            verifier: &verifier,
            state: &state,
            scope: scope.as_deref(),
            resource: resource.as_deref(),
        },
    );
    let connecting = PendingConnection {
        user_id: caller.user.id,
        epoch: Some(caller.user.epoch),
        made_by: caller.made_by(),
        server_id: server.id,
        server_url: server.url,
        resource,
        issuer: registration.provider.issuer,
        client_id: registration.client_id,
        redirect_uri: registration.redirect_uri,
        verifier: core.vault.seal(&key, verifier.as_bytes()).await?,
        scope,
        binding: SecretHash::of(binding.as_bytes()),
        return_to: return_to.map(str::to_owned),
        expires_at: core.clock.now().plus(BEGUN_FOR),
    };
    let id = connection_id(&key);
    retry_on_conflict(|| async {
        let mut change = caller.change()?;
        change.create_expiring(key.clone(), &connecting, connecting.expires_at)?;
        let created = core.table.commit(change).await;
        match created {
            // The item does not exist, so no other writer was faster: two transactions of the store collided.
            Err(CommitError::ConditionFailed)
                if core.table.read_one::<PendingConnection>(key.clone()).await?.is_none() =>
            {
                created
            }
            created => Ok(created.map_err(fresh_id)?),
        }
    })
    .await?;
    Ok(BegunConnection {
        authorization_url: request.into(),
        binding: SecretString::from(binding.as_str()),
        id,
    })
}

/// A short name for a connection, for its cookie. It does not reveal the `state`.
pub(super) fn connection_id(key: &Key) -> String {
    key.pk.chars().rev().take(16).collect()
}

/// What is requested of an authorization server.
struct AuthorizationRequest<'a> {
    verifier: &'a str,
    state: &'a str,
    scope: Option<&'a str>,
    resource: Option<&'a str>,
}

/// The parameters of the protocol, which are ours to set.
const OURS: [&str; 14] = [
    "response_type",
    "response_mode",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "request",
    "request_uri",
    "code",
];

/// Whether an authorization request may have a parameter of this name by an admin's choice.
pub fn is_free_parameter(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=64).contains(&name.len())
        && name.bytes().all(fits)
        && !OURS.contains(&name.to_ascii_lowercase().as_str())
}

/// RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 8707 section 2.1. What the endpoint's own query says stays, as RFC
/// 6749 section 3.1 demands, but for our parameters: Railway's has a `resource` that must be replaced
/// (<https://github.com/can1357/oh-my-pi/issues/10299>).
fn authorization_url(
    registration: &Registration,
    parameters: &BTreeMap<String, Option<String>>,
    request: &AuthorizationRequest<'_>,
) -> Url {
    let AuthorizationRequest { verifier, state, scope, resource } = *request;
    let challenge = sha256_base64url(verifier.as_bytes());
    let mut pairs: Vec<(&str, &str)> = vec![
        ("response_type", "code"),
        ("client_id", &registration.client_id),
        ("state", state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("redirect_uri", &registration.redirect_uri),
    ];
    pairs.extend(scope.map(|scope| ("scope", scope)));
    pairs.extend(resource.map(|resource| ("resource", resource)));
    // OpenID Connect Core section 11: offline access needs the user's consent.
    let is_offline = scope.is_some_and(|scope| scope.split(' ').any(|scope| scope == OFFLINE));
    if is_offline && !parameters.contains_key("prompt") {
        pairs.push(("prompt", "consent"));
    }
    let chosen = parameters.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
    pairs.extend(chosen.filter(|(name, _)| is_free_parameter(name)));

    let endpoint = &registration.provider.authorization_endpoint;
    let is_set = |name: &str| OURS.contains(&name) || pairs.iter().any(|(set, _)| *set == name);
    let own: Vec<(String, String)> =
        endpoint.query_pairs().into_owned().filter(|(name, _)| !is_set(name)).collect();
    let mut url = endpoint.clone();
    url.query_pairs_mut().clear().extend_pairs(own).extend_pairs(pairs);
    url
}
