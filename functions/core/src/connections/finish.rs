//! The way back from the authorization server: whose connection it is, whose answer it is, and the code's
//! exchange for tokens.
//!
//! An authorization URL can be handed to somebody else: who then signs in and consents would connect *their*
//! account for the one who began. So the browser that comes back must be that of the user who began. It
//! shows that by the cookie that the beginning set, or by the user's own credential; a browser with neither
//! (the URL was asked for by a script) is first shown who is being connected to what, and asked.

use secrecy::ExposeSecret;

use super::{
    begin::{Connecting, connection_id},
    discovery::bad,
    provider::{self, Exchange, NotGranted},
    quoted,
    registration::{self, Registration},
};
use crate::{
    Core,
    audit::{Action, Event, Request},
    error::{Error, Result, UpstreamFailure},
    ids::UserId,
    secret::SecretHash,
    servers::Server,
    sessions::{self, NewSession},
    table::{Attempt, Change, Key, Stored},
    users::User,
};

/// What a browser brings back (RFC 6749 section 4.1.2, RFC 9207 section 2).
#[derive(Debug, Default)]
pub struct Answer<'a> {
    pub state: &'a str,
    pub code: Option<&'a str>,
    pub iss: Option<&'a str>,
    pub error: Option<&'a str>,
    pub error_description: Option<&'a str>,
}

/// How the browser shows that it is the beginner's.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// A user's own credential came with the request.
    User(UserId),
    /// The cookie that the beginning set.
    Binding(&'a str),
    /// Whoever looks at the page has read whose connection it is, and agreed.
    Confirmed,
    Nothing,
}

/// What came of it.
#[derive(Debug)]
pub enum Finished {
    Connected {
        server: String,
        account: String,
    },
    /// Ask whoever looks at the page whether this is theirs.
    ToConfirm {
        server: String,
        account: String,
        provider: String,
    },
}

/// The longest `state`, `iss` or `code` that is looked at, in bytes.
const MAX_PARAMETER: usize = 4096;

/// What the cookie of a connection is called that comes back with this `state`.
pub fn cookie_id(state: &str) -> String {
    connection_id(&Key::connecting(state))
}

/// Finishes a connection, once.
pub async fn finish(
    core: &Core,
    request: &Request,
    answer: Answer<'_>,
    proof: Proof<'_>,
) -> Result<Finished> {
    let Answer { state, code, iss, .. } = &answer;
    if [Some(*state), *code, *iss].into_iter().flatten().any(|text| text.len() > MAX_PARAMETER) {
        return Err(Error::invalid("The authorization server's answer is too long"));
    }
    let key = Key::connecting(state);
    let connecting = core.table.read_one::<Connecting>(key.clone()).await?;
    let connecting =
        connecting.filter(|connecting| connecting.expires_at > core.clock.now()).ok_or_else(used)?;
    let (user_key, server_key) = (Key::user(connecting.user_id), Key::server(&connecting.server_id));
    let client_key = Registration::key(&connecting.server_id, &connecting.issuer);
    let keys = vec![user_key.clone(), server_key.clone(), client_key.clone()];
    let mut found = core.table.read(keys).await?;
    let user = found.take::<User>(&user_key)?.filter(|user| user.active);
    let user =
        user.ok_or_else(|| Error::forbidden("The account that began this has been deactivated"))?.value;

    // RFC 9207 section 2.4, and before anything in the answer is believed or shown, an error too.
    let registration = found.take::<Registration>(&client_key)?;
    let registration = registration.filter(|registration| registration.client_id == connecting.client_id);
    let registration = registration.ok_or_else(used)?;
    let issuer_matches = match iss {
        Some(iss) => *iss == connecting.issuer,
        None => !registration.provider.authorization_response_iss_parameter_supported,
    };
    if !issuer_matches {
        consume(core, &key, &connecting).await?;
        let why = "The answer is not from the authorization server that was asked, so it was not used; connect \
                   again, and tell your administrator if this happens again";
        return refused(core, request, &connecting, Error::invalid(why)).await;
    }
    let server = found
        .take::<Server>(&server_key)?
        .filter(|server| server.active && server.url == connecting.server_url);
    let server =
        server.ok_or_else(|| Error::invalid("The server has been changed meanwhile; connect again"))?.value;

    let is_beginner = match proof {
        // Nothing comes of an error, so it does not matter who brings it.
        _ if answer.error.is_some() => true,
        Proof::User(user) => user == connecting.user_id,
        Proof::Binding(binding) => SecretHash::of(binding.as_bytes()).matches(&connecting.binding),
        Proof::Confirmed => true,
        Proof::Nothing => {
            return Ok(Finished::ToConfirm {
                server: server.name,
                account: account(&user),
                provider: connecting.value.issuer,
            });
        }
    };
    if !is_beginner {
        return Err(Error::forbidden("Somebody else began this connection; begin your own"));
    }
    consume(core, &key, &connecting).await?;
    let session = match code.filter(|code| answer.error.is_none() && !code.is_empty()) {
        Some(granted) => exchange(core, &key, &connecting, &registration, &server, granted).await,
        None => Err(declined(&answer)),
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => return refused(core, request, &connecting, error).await,
    };
    let event = event(core, request, &connecting)?.note(session.scope.as_deref().unwrap_or("no scope named"));
    sessions::store_with(core, user.id, &server, session, Some(&event)).await?;
    Ok(Finished::Connected { server: server.name, account: account(&user) })
}

fn account(user: &User) -> String {
    match (&user.email, &user.name) {
        (Some(email), _) => email.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => user.id.to_string(),
    }
}

fn used() -> Error {
    Error::invalid("This connection has been used already, or has expired; connect again")
}

/// Takes the connection out of the table. Of two answers with its `state`, one succeeds.
async fn consume(core: &Core, key: &Key, connecting: &Stored<Connecting>) -> Result<()> {
    let mut change = Change::new();
    change.delete(key, connecting.rev)?;
    match core.table.commit(change).await {
        Ok(()) => Ok(()),
        Err(Attempt::Raced) => Err(used()),
        Err(Attempt::Failed(error)) => Err(error),
    }
}

/// The answer was an error (RFC 6749 section 4.1.2.1), or nothing.
fn declined(answer: &Answer<'_>) -> Error {
    let Some(error) = answer.error else {
        return Error::invalid("The authorization server's answer has no code");
    };
    if error == "access_denied" {
        return Error::invalid("Access was declined at the authorization server, so nothing was connected");
    }
    let description = answer.error_description.map(|text| format!(": {}", quoted(text))).unwrap_or_default();
    Error::Invalid(format!("The authorization server answered {}{description}", quoted(error)))
}

async fn exchange(
    core: &Core,
    key: &Key,
    connecting: &Connecting,
    registration: &Stored<Registration>,
    server: &Server,
    authorization_code: &str,
) -> Result<NewSession> {
    let client = registration.client(core, server).await?;
    let verifier = core.vault.open(key, &connecting.verifier).await?.value;
    let verifier = std::str::from_utf8(&verifier).map_err(Error::internal)?;
    let grant = Exchange::Code { code: authorization_code, verifier, redirect_uri: &connecting.redirect_uri };
    let endpoint = &registration.provider.token_endpoint;
    let asked = provider::ask_for_tokens(&core.http, endpoint, &client, &connecting.resource, grant).await;
    let granted = match asked {
        Ok(granted) => granted,
        Err(NotGranted::InvalidGrant) => {
            return Err(bad("The authorization server does not take its own code any more; connect again"));
        }
        Err(NotGranted::InvalidClient) => {
            registration::forget(core, &server.id, registration).await?;
            return Err(bad(
                "The authorization server does not know this service as a client; connect again",
            ));
        }
        Err(NotGranted::Refused(why)) => {
            return Err(bad(format!("The authorization server refused to give tokens: {why}")));
        }
        Err(NotGranted::Down { why, timed_out, .. }) => {
            let kind = if timed_out { UpstreamFailure::TimedOut } else { UpstreamFailure::Bad };
            let detail = format!("The authorization server gave no tokens: {why}; connect again");
            return Err(Error::Upstream { kind, detail });
        }
    };
    let now = core.clock.now();
    let access_token = granted.access_token.expose_secret().to_owned().into();
    Ok(NewSession {
        access_token,
        refresh_token: granted.refresh_token,
        issued_at: now,
        expires_at: granted.expires_in.map(|lifetime| now.plus(lifetime)),
        // RFC 6749 section 5.1: without one, it is what was asked for.
        scope: granted.scope.or_else(|| connecting.scope.clone()),
        provider: Some(sessions::ProviderRef {
            issuer: connecting.issuer.clone(),
            client_id: connecting.client_id.clone(),
            resource: connecting.resource.clone(),
        }),
    })
}

fn event(core: &Core, request: &Request, connecting: &Connecting) -> Result<Event> {
    let event = Event::new(core, request, Action::ConnectionCreate)?;
    let event = Event { user_id: Some(connecting.user_id), ..event };
    Ok(event.server(connecting.server_id.clone()).about("connection", &connecting.server_id))
}

/// Records that a connection came to nothing.
async fn refused<T>(core: &Core, request: &Request, connecting: &Connecting, error: Error) -> Result<T> {
    core.table.append(&event(core, request, connecting)?.failed(error.to_string())).await?;
    Err(error)
}
