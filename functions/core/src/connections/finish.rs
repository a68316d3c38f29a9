//! The way back from the authorization server: `GET /api/v1/oauth/callback`.
//!
//! The order of checks:
//!
//! 1. The issuer (RFC 9207), before anything else of the answer is believed or shown.
//! 2. Whose browser it is.
//! 3. The `state` is deleted. Only one of several answers can do that.
//! 4. The code is exchanged. Session and event are one transaction, which requires that the user is active, and still in
//!    the epoch in which they began. Otherwise nothing is stored, and the provider is asked to forget what it gave.
//!
//! **Whose browser.** An authorization URL can be sent to another person, who would then connect *their* account for
//! the user who began. So the browser that comes back must show the cookie that the beginning set, or send the user's
//! own credential. A browser with neither (a script asked for the URL) is first shown which user is being connected to
//! which server, and asked to confirm.
//!
//! **Faults.** Before the `state` is deleted, the browser can come again, and a KMS that cannot be reached is noticed
//! by then. After that, a browser that goes away is connected all the same, since the exchange is a task of its own
//! (`tasks`). If the process dies, or the store cannot be reached for 6 s, the user begins again. A code or tokens that
//! were not stored expire at the provider.

use zeroize::Zeroizing;

use super::{
    begin::{PendingConnection, connection_id},
    delete_once,
    metadata::bad,
    quoted,
    registration::{self, Client, Registration},
    revoke,
    token_endpoint::{AuthorizationGrant, TokenRequest, ask_for_tokens},
    token_response::TokenRequestError,
};
use crate::{
    Core, app_standing,
    audit::{Action, Event, RequestContext},
    error::{Error, Result, UpstreamFailure},
    ids::{ServerId, UserId},
    secret::SecretHash,
    servers::Server,
    sessions::{self, NewSession},
    table::{Key, Stored, Table},
    tasks::TaskContext,
    users::User,
    vault::Sealer,
};

/// What a browser brings back (RFC 6749 section 4.1.2, RFC 9207 section 2).
#[derive(Debug, Default)]
pub struct AuthorizationResponse<'a> {
    pub state: &'a str,
    pub code: Option<&'a str>,
    pub iss: Option<&'a str>,
    pub error: Option<&'a str>,
    pub error_description: Option<&'a str>,
}

/// How the browser proves that it is the one in which the connection began.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// The request has a user's own credential.
    User(UserId),
    /// The cookie that was set when the connection began.
    Binding(&'a str),
    /// The user has read on the page whose connection it is, and agreed.
    Confirmed,
    Nothing,
}

/// The result of [`finish`].
#[derive(Debug)]
pub enum ConnectionOutcome {
    Connected {
        server: String,
        account: String,
        /// The path and query of ours at which the user goes on, if the beginning named one.
        return_to: Option<String>,
    },
    /// The user declined, or the authorization server gave no tokens. The user can begin anew, or go on without.
    NotConnected { why: Error, server: ServerId, return_to: Option<String> },
    /// Ask the user who looks at the page whether this connection is theirs.
    ToConfirm { server: String, account: String, provider: String },
}

/// The longest `state`, `iss` or `code` that is accepted, in bytes.
const MAX_PARAMETER: usize = 4096;

/// The name of the cookie for the connection that comes back with this `state`.
pub fn cookie_id(state: &str) -> String {
    connection_id(&Key::connecting(state))
}

/// Finishes a connection, once.
pub async fn finish(
    core: &Core,
    request: &RequestContext,
    answer: AuthorizationResponse<'_>,
    proof: Proof<'_>,
) -> Result<ConnectionOutcome> {
    let AuthorizationResponse { state, code, iss, .. } = &answer;
    if [Some(*state), *code, *iss].into_iter().flatten().any(|text| text.len() > MAX_PARAMETER) {
        return Err(Error::invalid("The authorization server's answer is too long"));
    }
    let key = Key::connecting(state);
    let connecting = core.table.read_one::<PendingConnection>(key.clone()).await?;
    let connecting =
        connecting.filter(|connecting| connecting.expires_at > core.clock.now()).ok_or_else(used)?;
    let (user_key, server_key) = (Key::user(connecting.user_id), Key::server(&connecting.server_id));
    let client_key = Registration::key(&connecting.server_id, &connecting.issuer);
    let keys = vec![user_key.clone(), server_key.clone(), client_key.clone()];
    let mut found = core.table.read(keys).await?;
    let user = found.take::<User>(&user_key)?.filter(|user| connecting.may_connect(user));
    let user = user.ok_or_else(deactivated)?.value;

    let made_by = connecting.made_by.as_ref();
    if !app_standing::read(core, [(user.id, made_by)]).await?.of(made_by) {
        return Err(Error::forbidden("The app that began this may not act for you any more; connect again"));
    }

    // RFC 9207 section 2.4. It comes before anything of the answer is believed or shown, also of an error.
    let registration = found.take::<Registration>(&client_key)?;
    let registration = registration.filter(|registration| registration.client_id == connecting.client_id);
    let registration = registration.ok_or_else(used)?;
    let issuer_matches = match iss {
        Some(iss) => registration.provider.is_named(iss),
        None => !registration.provider.authorization_response_iss_parameter_supported,
    };
    if !issuer_matches {
        consume(&core.table, &key, &connecting).await?;
        let why = "The answer is not from the authorization server that was asked, so it was not used; connect \
                   again, and tell your administrator if this happens again";
        return refused(&core.task_context(), request, &connecting, Error::invalid(why)).await;
    }
    let server = found
        .take::<Server>(&server_key)?
        .filter(|server| server.active && server.url == connecting.server_url);
    let server =
        server.ok_or_else(|| Error::invalid("The server has been changed meanwhile; connect again"))?.value;
    if !registration.is_of(&server) {
        let why = "The server's oauth_client has been changed meanwhile; connect again";
        return Err(Error::invalid(why));
    }

    let began = match proof {
        Proof::User(user) => user == connecting.user_id,
        Proof::Binding(binding) => SecretHash::of(binding.as_bytes()).matches(&connecting.binding),
        Proof::Confirmed | Proof::Nothing => false,
    };
    let is_beginner = match proof {
        // An error changes nothing, so any browser may bring it.
        _ if answer.error.is_some() => true,
        Proof::User(_) | Proof::Binding(_) => began,
        Proof::Confirmed => true,
        Proof::Nothing => {
            return Ok(ConnectionOutcome::ToConfirm {
                server: server.name,
                account: account(&user),
                provider: connecting.value.issuer,
            });
        }
    };
    if !is_beginner {
        return Err(Error::forbidden("Somebody else began this connection; begin your own"));
    }
    let Some(granted) = code.filter(|code| answer.error.is_none() && !code.is_empty()) else {
        consume(&core.table, &key, &connecting).await?;
        // Where the user was going is for the browser alone in which they began.
        let return_to = connecting.return_to.clone().filter(|_| began);
        let server = connecting.server_id.clone();
        let why = declined(&answer);
        note_refusal(&core.task_context(), request, &connecting, &why).await?;
        return Ok(ConnectionOutcome::NotConnected { why, server, return_to });
    };
    // The KMS is called now: as long as the `state` exists, the browser can try again.
    let opened = core.vault.open(&key, &connecting.verifier).await?.value;
    let session_key = Key::session(user.id, &server.id);
    let exchange = CodeExchange {
        context: core.task_context(),
        request: request.clone(),
        client: registration.client(&core.vault, &server).await?,
        verifier: Zeroizing::new(std::str::from_utf8(&opened).map_err(Error::internal)?.to_owned()),
        code: Zeroizing::new((*granted).to_owned()),
        sealer: core.vault.sealer(&session_key).await?,
        key,
        connecting,
        registration,
        server,
    };
    let (server, server_id) = (exchange.server.name.clone(), exchange.server.id.clone());
    let return_to = exchange.connecting.return_to.clone();
    // The browser may disconnect, but the provider accepts a code only once.
    Ok(match core.tasks.run("finishing a connection", exchange.run()).await {
        Ok(()) => ConnectionOutcome::Connected { server, account: account(&user), return_to },
        Err(why) => ConnectionOutcome::NotConnected { why, server: server_id, return_to },
    })
}

fn account(user: &User) -> String {
    match (&user.email, &user.name) {
        (Some(email), _) => email.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => user.id.to_string(),
    }
}

/// The user was deactivated, or offboarded, since they began. They may be back since.
fn deactivated() -> Error {
    Error::forbidden("The account that began this has been deactivated")
}

fn used() -> Error {
    Error::invalid("This connection has been used already, or has expired; connect again")
}

/// Deletes the connection from the table. Of two answers with the same `state`, one succeeds.
async fn consume(table: &Table, key: &Key, connecting: &Stored<PendingConnection>) -> Result<()> {
    if delete_once::<PendingConnection>(table, key, connecting.rev).await? { Ok(()) } else { Err(used()) }
}

/// The answer was an error (RFC 6749 section 4.1.2.1), or had no code.
fn declined(answer: &AuthorizationResponse<'_>) -> Error {
    let Some(error) = answer.error else {
        return Error::invalid("The authorization server's answer has no code");
    };
    if error == "access_denied" {
        return Error::invalid("Access was declined at the authorization server, so nothing was connected");
    }
    let description = answer.error_description.map(|text| format!(": {}", quoted(text))).unwrap_or_default();
    Error::invalid(format!("The authorization server answered {}{description}", quoted(error)))
}

/// The exchange of the code for tokens, from the deletion of the `state` to the stored session.
struct CodeExchange {
    context: TaskContext,
    request: RequestContext,
    key: Key,
    connecting: Stored<PendingConnection>,
    registration: Stored<Registration>,
    server: Server,
    client: Client,
    verifier: Zeroizing<String>,
    code: Zeroizing<String>,
    sealer: Sealer,
}

impl CodeExchange {
    async fn run(self) -> Result<()> {
        let Self { context, request, connecting, server, sealer, registration, client, .. } = &self;
        consume(&context.table, &self.key, connecting).await?;
        let session = match self.granted().await {
            Ok(session) => session,
            Err(error) => return refused(context, request, connecting, error).await,
        };
        let scope = session.scope.as_deref().unwrap_or("no scope named");
        let made = event(context, request, connecting)?.note(scope);
        let to_revoke = session.token_to_revoke();
        let (user, may) = (connecting.user_id, |user: &User| connecting.may_connect(user));
        let stored = sessions::store_with(context, user, server, session, sealer, Some(&made), may).await?;
        if stored.is_some() {
            return Ok(());
        }
        let endpoint = registration.provider.revocation_endpoint.as_ref();
        let at_provider = revoke::tokens(&*context.http, endpoint, client, &to_revoke).await;
        let why = deactivated();
        let refused = event(context, request, connecting)?.failed(format!("{why}; {at_provider}"));
        context.table.append(&refused).await.map_err(Error::undecided)?;
        Err(why)
    }

    async fn granted(&self) -> Result<NewSession> {
        let Self { context, connecting, registration, server, client, .. } = self;
        let redirect_uri = &connecting.redirect_uri;
        let grant = AuthorizationGrant::Code { code: &self.code, verifier: &self.verifier, redirect_uri };
        let endpoint = &registration.provider.token_endpoint;
        let resource = connecting.resource.as_deref();
        let asked = TokenRequest { grant, resource, scope: None, assertion: None };
        let granted = match ask_for_tokens(&*context.http, endpoint, client, asked).await {
            Ok(granted) => granted,
            Err(TokenRequestError::InvalidGrant(why)) => {
                return Err(bad(format!(
                    "The authorization server does not take its own code any more ({why}); connect again"
                )));
            }
            Err(TokenRequestError::InvalidClient(why)) => {
                registration::forget(&context.table, &server.id, registration).await;
                let what_next = registration.after_invalid_client();
                return Err(bad(format!(
                    "The authorization server does not know this service as a client ({why}); {what_next}"
                )));
            }
            Err(TokenRequestError::Refused(why)) => {
                return Err(bad(format!("The authorization server refused to give tokens: {why}")));
            }
            Err(TokenRequestError::Down { why, timed_out, .. }) => {
                let kind = if timed_out { UpstreamFailure::TimedOut } else { UpstreamFailure::Bad };
                let detail = format!("The authorization server gave no tokens: {why}; connect again");
                return Err(Error::Upstream { kind, detail, may_have_run: false, cause: Some(why) });
            }
        };
        let now = context.clock.now();
        Ok(NewSession {
            access_token: granted.access_token,
            refresh_token: granted.refresh_token,
            issued_at: now,
            expires_at: granted.expires_in.map(|lifetime| now.plus(lifetime)),
            // RFC 6749 section 5.1: if the answer has no scope, it is the requested one.
            scope: granted.scope.or_else(|| connecting.scope.clone()),
            provider: Some(sessions::ProviderRef {
                issuer: connecting.issuer.clone(),
                client_id: connecting.client_id.clone(),
                resource: connecting.resource.clone(),
            }),
        })
    }
}

fn event(context: &TaskContext, request: &RequestContext, connecting: &PendingConnection) -> Result<Event> {
    let event = Event::of(&context.clock, &context.random, request, Action::ConnectionCreate)?;
    let client_id = connecting.made_by.as_ref().map(|made_by| made_by.app.clone());
    let event = Event { user_id: Some(connecting.user_id), client_id, ..event };
    Ok(event.server(connecting.server_id.clone()).about("connection", &connecting.server_id))
}

/// Records that a connection failed. Its `state` is used up, so a store that fails does not leave everything
/// as it was.
async fn refused<T>(
    context: &TaskContext,
    request: &RequestContext,
    connecting: &PendingConnection,
    error: Error,
) -> Result<T> {
    note_refusal(context, request, connecting, &error).await?;
    Err(error)
}

async fn note_refusal(
    context: &TaskContext,
    request: &RequestContext,
    connecting: &PendingConnection,
    error: &Error,
) -> Result<()> {
    let event = event(context, request, connecting)?.failed(error.to_string());
    context.table.append(&event).await.map_err(Error::undecided)?;
    Ok(())
}
