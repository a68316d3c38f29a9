//! Issuing agent tokens, and saying whether one is still good.
//!
//! One read round trip in the steady state: the account with its secrets, the control versions, and for a
//! user the pointer that leads to them, the user and the delegation. An email or a foreign JWT leads to a
//! user by a pointer; what it led to last time is read along with it, and only if it leads elsewhere now
//! is there a second read.

use secrecy::{ExposeSecret, SecretString};

use super::{
    ClientAuth, LIFETIME, SCOPE,
    assertion::{Once, commit},
    audience::Audience,
    claims::{ActorClaim, Claims, VerifiedToken},
    client::{self, Client, Proven},
    revoke::RevokedToken,
};
use crate::{
    Core,
    agents::{AgentAccount, ClientCredential},
    audit::{Action, Event, Request},
    caller::Credential,
    control::{self, Control},
    delegations::Delegation,
    error::{Error, Result, TokenError},
    ids::{AgentAccountId, DelegationId, UserId},
    issuers::UserToken,
    lookup::UserLookup,
    servers::Server,
    table::{Found, Key},
    users::{Email, User},
};

/// What a token is asked for with.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// None for a token exchange in which the subject token is enough.
    pub client: Option<ClientAuth>,
    pub grant: Grant,
    pub scope: Option<&'a str>,
    /// Where the token is to be good (RFC 8707); everywhere if left out.
    pub resource: Option<&'a str>,
}

#[derive(Debug)]
pub enum Grant {
    ClientCredentials {
        actor: Option<ActorToken>,
    },
    /// RFC 8693: an agent's own token as the subject, a user's JWT as the actor.
    TokenExchange {
        subject_token: SecretString,
        actor_token: SecretString,
    },
}

/// The user to act for, as presented.
#[derive(Debug)]
pub enum ActorToken {
    UserId(String),
    Email(String),
    AccessToken(SecretString),
}

#[derive(Debug)]
pub struct Issued {
    pub access_token: SecretString,
    /// In seconds.
    pub expires_in: u64,
    pub scope: &'static str,
}

/// Issues a token or refuses to; either way there is an audit event when this returns.
pub async fn issue(core: &Core, request: &Request, asked: TokenRequest<'_>) -> Result<Issued> {
    let mut event = Event::new(core, request, Action::TokenIssue)?;
    let mut once = None;
    let decided = decide(core, request, asked, &mut event, &mut once).await;
    event.duration_ms = request.elapsed_ms(core.clock.now());
    let (event, decided) = match decided {
        Ok(token) => (event, Ok(token)),
        Err(Error::Token(refusal)) => (denied(event, &refusal), Err(refusal)),
        Err(error) => return Err(error),
    };
    match store(core, &event, once.as_ref()).await {
        Ok(()) => Ok(Issued { access_token: decided?, expires_in: LIFETIME.as_secs(), scope: SCOPE }),
        // Its assertion has been used before: whatever was decided is not answered, and no token is given.
        Err(Error::Token(replayed)) => Err(record(core, Event { token_id: None, ..event }, replayed).await),
        Err(error) => Err(error),
    }
}

/// Stores the event; with an assertion, in the transaction that notes it as used.
pub(super) async fn store(core: &Core, event: &Event, once: Option<&Once>) -> Result<()> {
    match once {
        None => core.table.append(event).await,
        Some(_) => commit(core, once, |change| change.record(event).map(drop)).await,
    }
}

pub(super) fn denied(event: Event, refusal: &TokenError) -> Event {
    event.denied(format!("{}: {refusal}", refusal.code()))
}

/// Refuses a request that does not even say what it asks for.
pub async fn refuse(core: &Core, request: &Request, refusal: TokenError) -> Error {
    match Event::new(core, request, Action::TokenIssue) {
        Ok(event) => record(core, event, refusal).await,
        Err(error) => error,
    }
}

/// The refusal, once it is in the audit trail.
async fn record(core: &Core, event: Event, refusal: TokenError) -> Error {
    match core.table.append(&denied(event, &refusal)).await {
        Ok(()) => refusal.into(),
        Err(error) => error,
    }
}

async fn decide(
    core: &Core,
    request: &Request,
    asked: TokenRequest<'_>,
    event: &mut Event,
    once: &mut Option<Once>,
) -> Result<SecretString> {
    let TokenRequest { client, grant, scope, resource } = asked;
    if scope.is_some_and(|scope| scope.split(' ').any(|scope| scope != SCOPE)) {
        return Err(TokenError::InvalidScope(format!("The only scope is {SCOPE}")).into());
    }
    let (actor, subject) = match grant {
        Grant::ClientCredentials { actor } => (actor, None),
        Grant::TokenExchange { subject_token, actor_token } => {
            (Some(ActorToken::AccessToken(actor_token)), Some(read_subject(core, &subject_token).await?))
        }
    };
    let audience = audience(core, resource, subject.as_ref())?;
    let client = identify(core, client, subject.as_ref())?;

    // What the actor token says is judged after the client has been authenticated.
    let user = match &actor {
        None => None,
        Some(actor) => Some(read_actor(core, actor).await?),
    };
    let lookup = user.as_ref().and_then(|user| user.as_ref().ok());
    let guess = lookup.and_then(|lookup| lookup.guess(core));
    let agent_key = Key::agent(client.agent());
    let control_key = Control::any_key(core)?;
    let mut keys = vec![agent_key.clone(), control_key.clone()];
    keys.extend(subject.iter().map(|token| Key::revoked_token(token.jti)));
    keys.extend(server_key(&audience));
    keys.extend(lookup.into_iter().flat_map(UserLookup::keys));
    keys.extend(guess.into_iter().flat_map(|user| user_keys(client.agent(), user)));
    let mut found = core.table.read(keys).await?;

    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let keyring = core.keyring_at(control.keys_version).await?;
    let account = found.take::<AgentAccount>(&agent_key)?.filter(|account| account.active);
    let account = account.ok_or(TokenError::InvalidClient)?;
    // From here on: whoever fails to prove themselves, fails at this account.
    event.agent_account_id = Some(account.id);
    let proven = client.prove(core, &account)?;
    event.credential = Some(credential(&client, proven.credential).to_string());
    *once = proven.once;
    if !account.lets_call(&core.settings, &request.origin) {
        return Err(TokenError::OriginNotAllowed.into());
    }
    if let Some(token) = &subject {
        let revoked = found.contains(&Key::revoked_token(token.jti));
        let stands = keyring.knows(&token.kid) && account.holds(token.credential, core.clock.now());
        if revoked || !stands {
            return Err(TokenError::InvalidRequest("subject_token: it has been revoked".to_owned()).into());
        }
    }
    if let Audience::Server(server) = &audience {
        let found = found.take::<Server>(&Key::server(server))?;
        found.filter(|server| server.active).ok_or_else(no_such_resource)?;
        event.server_id = Some(server.clone());
    }
    let on_behalf_of = match user {
        None => None,
        Some(Err(refusal)) => return Err(refusal.into()),
        Some(Ok(lookup)) => {
            let user = lookup.resolve(core, &mut found)?;
            event.user_id = user;
            let user = match user {
                Some(user) => user,
                None if lookup.is_token() => {
                    return Err(
                        TokenError::InvalidGrant("actor_token: the user is unknown here".to_owned()).into()
                    );
                }
                None => return Err(TokenError::NoDelegation.into()),
            };
            Some((user, delegation(core, client.agent(), user, guess, &mut found).await?))
        }
    };
    let (claims, token_id) = claims(core, client.agent(), proven.credential, &audience, on_behalf_of)?;
    event.token_id = Some(token_id);
    Ok(SecretString::from(keyring.sign(core, &claims).await?))
}

/// The subject of an exchange: an agent's own token, not one on behalf of somebody.
async fn read_subject(core: &Core, token: &SecretString) -> Result<VerifiedToken> {
    let refused = |why: &str| TokenError::InvalidRequest(format!("subject_token: {why}"));
    let token = core.verify_token(token.expose_secret()).await?.map_err(|why| refused(&why.to_string()))?;
    if token.on_behalf_of.is_some() {
        return Err(refused("it acts for a user already; exchange the agent's own token").into());
    }
    Ok(token)
}

/// Where the token is to be good. What an exchanged token was not good at, its successor is not either.
fn audience(core: &Core, resource: Option<&str>, subject: Option<&VerifiedToken>) -> Result<Audience> {
    let asked = match resource {
        Some(resource) => Some(Audience::parse(&core.settings, resource).ok_or_else(no_such_resource)?),
        None => None,
    };
    let within = subject.map_or(Audience::Proxy, |token| token.audience.clone());
    match asked {
        None => Ok(within),
        Some(asked) if within.includes(&asked) => Ok(asked),
        Some(_) => {
            let why = "resource: the subject_token is good at another resource only";
            Err(TokenError::InvalidTarget(why.to_owned()).into())
        }
    }
}

fn no_such_resource() -> TokenError {
    TokenError::InvalidTarget("resource: there is no such resource here".to_owned())
}

fn server_key(audience: &Audience) -> Option<Key> {
    match audience {
        Audience::Proxy => None,
        Audience::Server(server) => Some(Key::server(server)),
    }
}

fn identify(core: &Core, auth: Option<ClientAuth>, subject: Option<&VerifiedToken>) -> Result<Client> {
    let Some(auth) = auth else {
        return subject.cloned().map(Client::Token).ok_or_else(|| TokenError::InvalidClient.into());
    };
    let client = Client::identify(core, auth)?;
    if subject.is_some_and(|token| token.agent != client.agent()) {
        return Err(
            TokenError::InvalidRequest("subject_token: it was issued to another client".to_owned()).into()
        );
    }
    Ok(client)
}

/// What the client has shown for itself.
fn credential(client: &Client, proven: ClientCredential) -> Credential {
    match client {
        Client::Secret(..) | Client::Assertion(_) => Credential::Client(proven),
        Client::Token(token) => Credential::AgentToken(token.jti),
    }
}

/// Who the actor token speaks of. A refusal is kept until the client has been authenticated.
async fn read_actor(core: &Core, actor: &ActorToken) -> Result<Result<UserLookup, TokenError>> {
    Ok(match actor {
        ActorToken::UserId(text) => text.parse().map(UserLookup::Id).map_err(|_| TokenError::ActorNotUuid),
        ActorToken::Email(text) => text
            .parse::<Email>()
            .map(UserLookup::Email)
            .map_err(|_| TokenError::InvalidGrant("actor_token must be an email address".to_owned())),
        ActorToken::AccessToken(token) => match core.issuers.verify(core, token.expose_secret()).await? {
            Ok(token) => Ok(UserLookup::Token(token)),
            Err(why) => Err(TokenError::InvalidGrant(format!("actor_token: {why}"))),
        },
    })
}

fn user_keys(agent: AgentAccountId, user: UserId) -> [Key; 2] {
    [Key::user(user), Key::delegation(agent, user)]
}

/// The active delegation of an active user. Without one, nothing is said about the user.
async fn delegation(
    core: &Core,
    agent: AgentAccountId,
    user: UserId,
    guess: Option<UserId>,
    found: &mut Found,
) -> Result<DelegationId> {
    let [user_key, delegation_key] = user_keys(agent, user);
    let mut second;
    let found = if guess == Some(user) {
        found
    } else {
        second = core.table.read(vec![user_key.clone(), delegation_key.clone()]).await?;
        &mut second
    };
    let delegation = found.take::<Delegation>(&delegation_key)?;
    let delegation = delegation.filter(|delegation| delegation.is_active(core.clock.now()));
    let delegation = delegation.ok_or(TokenError::NoDelegation)?;
    let user = found.take::<User>(&user_key)?.ok_or(TokenError::NoDelegation)?;
    if !user.active {
        return Err(TokenError::DelegatorDeactivated.into());
    }
    Ok(delegation.id)
}

fn claims(
    core: &Core,
    agent: AgentAccountId,
    credential: ClientCredential,
    audience: &Audience,
    on_behalf_of: Option<(UserId, DelegationId)>,
) -> Result<(Claims, uuid::Uuid)> {
    let now = core.clock.now();
    let jti = core.random.uuid()?;
    let (client_secret_id, client_key_id) = match credential {
        ClientCredential::Secret(id) => (Some(id), None),
        ClientCredential::Key(id) => (None, Some(id)),
    };
    let claims = Claims {
        iss: core.settings.issuer.clone(),
        aud: audience.resource(&core.settings),
        sub: on_behalf_of.map_or(agent.0, |(user, _)| user.0),
        client_id: agent,
        jti,
        iat: now.as_seconds(),
        exp: now.plus(LIFETIME).as_seconds(),
        scope: SCOPE.to_owned(),
        act: on_behalf_of.map(|_| ActorClaim { sub: agent }),
        delegation_id: on_behalf_of.map(|(_, delegation)| delegation),
        client_secret_id,
        client_key_id,
    };
    Ok((claims, jti))
}

/// What a token rests on, as it stands now.
#[derive(Debug)]
pub(crate) struct TokenStanding {
    pub agent: AgentAccount,
    pub on_behalf_of: Option<(User, Delegation)>,
}

impl VerifiedToken {
    /// The items that the token rests on, beside the control versions.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = vec![Key::agent(self.agent), Key::revoked_token(self.jti)];
        keys.extend(self.on_behalf_of.into_iter().flat_map(|(user, _)| user_keys(self.agent, user)));
        keys
    }

    /// Whether all that the token rests on stands: the one place that says so.
    pub(crate) async fn stand(
        &self,
        core: &Core,
        found: &mut Found,
        keys_version: u64,
    ) -> Result<TokenStanding> {
        let now = core.clock.now();
        if !core.keyring_at(keys_version).await?.knows(&self.kid) {
            return Err(Error::unauthenticated("The token is signed with an unknown key"));
        }
        if found.take::<RevokedToken>(&Key::revoked_token(self.jti))?.is_some() {
            return Err(Error::unauthenticated("The token has been revoked"));
        }
        let agent = found.take::<AgentAccount>(&Key::agent(self.agent))?.filter(|agent| agent.active);
        let agent = agent.ok_or_else(|| Error::unauthenticated("The agent account is disabled"))?.value;
        if !agent.holds(self.credential, now) {
            return Err(Error::unauthenticated(match self.credential {
                ClientCredential::Secret(_) => "The client secret that the token was issued under is revoked",
                ClientCredential::Key(_) => {
                    "The client key that the token was issued under is deleted or has expired"
                }
            }));
        }
        let Some((user, delegation_id)) = self.on_behalf_of else {
            return Ok(TokenStanding { agent, on_behalf_of: None });
        };
        let [user_key, delegation_key] = user_keys(self.agent, user);
        let delegation = found
            .take::<Delegation>(&delegation_key)?
            .filter(|delegation| delegation.id == delegation_id && delegation.is_active(now))
            .ok_or_else(|| {
                Error::unauthenticated("The delegation that the token rests on is revoked or has expired")
            })?;
        let user = found.take::<User>(&user_key)?.filter(|user| user.active);
        let user = user.ok_or_else(|| Error::forbidden("Delegator user is deactivated"))?;
        Ok(TokenStanding { agent, on_behalf_of: Some((user.value, delegation.value)) })
    }
}

/// What a client may know of a token of its own that is good right now; `None` for any other (RFC 7662).
pub async fn introspect(
    core: &Core,
    request: &Request,
    auth: ClientAuth,
    token: &str,
) -> Result<Option<VerifiedToken>> {
    let (client, Proven { once, .. }) =
        client::authenticate(core, request, Action::TokenIntrospect, auth).await?;
    commit(core, once.as_ref(), |_| Ok(())).await?;
    let Ok(token) = core.verify_token(token).await? else { return Ok(None) };
    if token.agent != client {
        return Ok(None);
    }
    let control_key = Control::any_key(core)?;
    let mut keys = token.keys();
    keys.push(control_key.clone());
    let mut found = core.table.read(keys).await?;
    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    match token.stand(core, &mut found, control.keys_version).await {
        Ok(_) => Ok(Some(token)),
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl UserLookup {
    fn is_token(&self) -> bool {
        matches!(self, Self::Token(UserToken { .. }))
    }
}
