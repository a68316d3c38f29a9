//! The way to the authorization server: `POST /api/v1/servers/{id}/connect`.
//!
//! The server's metadata is discovered (`discovery`), and the client chosen or registered ([`registration`]). Issuer,
//! resource and PKCE must be right. Then the request is stored under the hash of its `state`: the user who began, the
//! issuer, the sealed PKCE verifier, an expiry of ten minutes. Only an answer that fits all of these is accepted.

use std::time::Duration;

use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, basic::BasicClient,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{challenge::is_scope, discovery, registration, union};
use crate::{
    Core,
    caller::UserCaller,
    clock::Timestamp,
    error::{Error, Result},
    fresh_id,
    ids::{ServerId, UserId},
    secret::{SecretHash, random_text},
    servers::{Server, ServerAuth},
    sessions::Session,
    table::{CommitError, Entity, Key, retry_on_conflict},
    vault::Sealed,
};

/// How long a user has to sign in and consent.
pub const BEGUN_FOR: Duration = Duration::from_secs(600);

/// How long discovery and registration may take together.
const WITHIN: Duration = Duration::from_secs(20);

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
    pub(super) server_id: ServerId,
    /// The server's address when the connection began.
    pub(super) server_url: String,
    pub(super) resource: String,
    /// The issuer that must answer (RFC 9207).
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    /// PKCE's `code_verifier`.
    pub(super) verifier: Sealed,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    pub(super) binding: SecretHash,
    pub(super) expires_at: Timestamp,
}

impl Entity for PendingConnection {
    const KIND: &'static str = "OAuth connection under way";
}

/// Begins to connect the caller to a server. `scope` is requested in addition to what the server asks for and
/// what the caller's present session has.
pub async fn begin(
    core: &Core,
    caller: &UserCaller,
    server: &ServerId,
    scope: Option<&str>,
) -> Result<BegunConnection> {
    if scope.is_some_and(|scope| !is_scope(scope)) {
        return Err(Error::invalid("scope must be scope values separated by spaces (RFC 6749 section 3.3)"));
    }
    let begun = tokio::time::timeout(WITHIN, begin_in_time(core, caller, server, scope)).await;
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
    let registered_at = server.oauth_client.as_ref().map(|client| client.issuer.as_str());
    let discovered = discovery::discover(&*core.http, &url, registered_at).await?;
    let provider = discovered.provider;
    // Some providers give a refresh token only with this scope. Where it is not known, it must not be
    // requested.
    let offline = provider.scopes_supported.iter().any(|scope| scope == "offline_access");
    let granted = session.as_ref().and_then(|session| session.scope.as_deref());
    let scope = union(&[discovered.scope.as_deref(), granted, scope, offline.then_some("offline_access")]);
    let registration = registration::register(core, &server, provider).await?;

    let state = random_text(&core.random)?;
    let verifier = random_text(&core.random)?;
    let binding = random_text(&core.random)?;
    let key = Key::connecting(&state);
    let mut request = authorization_url(&registration, &verifier, &state, scope.as_deref())?;
    request.query_pairs_mut().append_pair("resource", &discovered.resource);
    if offline {
        // OpenID Connect Core section 11: offline access needs the user's consent.
        request.query_pairs_mut().append_pair("prompt", "consent");
    }
    let connecting = PendingConnection {
        user_id: caller.user.id,
        server_id: server.id,
        server_url: server.url,
        resource: discovered.resource,
        issuer: registration.provider.issuer,
        client_id: registration.client_id,
        redirect_uri: registration.redirect_uri,
        verifier: core.vault.seal(&key, verifier.as_bytes()).await?,
        scope,
        binding: SecretHash::of(binding.as_bytes()),
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

/// RFC 6749 section 4.1.1, RFC 7636 section 4.3.
fn authorization_url(
    registration: &registration::Registration,
    verifier: &str,
    state: &str,
    scope: Option<&str>,
) -> Result<Url> {
    let client = BasicClient::new(ClientId::new(registration.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(registration.provider.authorization_endpoint.clone()))
        .set_redirect_uri(RedirectUrl::new(registration.redirect_uri.clone()).map_err(Error::internal)?);
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()));
    let state = state.to_owned();
    let request = client.authorize_url(move || CsrfToken::new(state)).set_pkce_challenge(challenge);
    let scopes = scope.into_iter().flat_map(str::split_ascii_whitespace);
    Ok(request.add_scopes(scopes.map(|scope| Scope::new(scope.to_owned()))).url().0)
}
