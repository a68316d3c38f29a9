//! Issuing agent tokens, and saying whether one is still good.
//!
//! One read round trip in the steady state: the account with its secrets, the control versions, and for a
//! user the pointer that leads to them, the user and the delegation. An email or a foreign JWT leads to a
//! user by a pointer; what it led to last time is read along with it, and only if it leads elsewhere now
//! is there a second read.

use secrecy::{ExposeSecret, SecretString};

use super::{
    LIFETIME, SCOPE,
    claims::{ActorClaim, Claims, VerifiedToken},
    revoke::RevokedToken,
};
use crate::{
    Core,
    agents::AgentAccount,
    audit::{Action, Event, Request},
    caller::Credential,
    control::{self, Control},
    delegations::Delegation,
    error::{Error, Result, TokenError},
    ids::{AgentAccountId, DelegationId, SecretId, UserId},
    issuers::UserToken,
    lookup::UserLookup,
    secret::hash_client_secret,
    table::{Found, Key},
    users::{Email, User},
};

/// A client's id and secret, as presented.
#[derive(Debug)]
pub struct ClientAuth {
    pub client_id: String,
    pub client_secret: SecretString,
}

/// What a token is asked for with.
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

/// Who the client says to be, before anything is proven.
enum Client {
    Secret(AgentAccountId, crate::secret::SecretHash),
    /// A token of the client's own, for a token exchange without client authentication.
    Token(VerifiedToken),
}

impl Client {
    fn agent(&self) -> AgentAccountId {
        match self {
            Self::Secret(agent, _) => *agent,
            Self::Token(token) => token.agent,
        }
    }
}

/// Issues a token or refuses to; either way there is an audit event when this returns.
pub async fn issue(
    core: &Core,
    request: &Request,
    client: Option<ClientAuth>,
    grant: Grant,
    scope: Option<&str>,
) -> Result<Issued> {
    let mut event = Event::new(core, request, Action::TokenIssue)?;
    let decided = decide(core, client, grant, scope, &mut event).await;
    event.duration_ms = request.elapsed_ms(core.clock.now());
    match decided {
        Ok(token) => {
            core.table.append(&event).await?;
            Ok(Issued { access_token: token, expires_in: LIFETIME.as_secs(), scope: SCOPE })
        }
        Err(Error::Token(refusal)) => Err(record(core, event, refusal).await),
        Err(error) => Err(error),
    }
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
    let event = event.denied(format!("{}: {refusal}", refusal.code()));
    match core.table.append(&event).await {
        Ok(()) => refusal.into(),
        Err(error) => error,
    }
}

async fn decide(
    core: &Core,
    client: Option<ClientAuth>,
    grant: Grant,
    scope: Option<&str>,
    event: &mut Event,
) -> Result<SecretString> {
    if scope.is_some_and(|scope| scope.split(' ').any(|scope| scope != SCOPE)) {
        return Err(TokenError::InvalidScope(format!("The only scope is {SCOPE}")).into());
    }
    let (actor, subject) = match grant {
        Grant::ClientCredentials { actor } => (actor, None),
        Grant::TokenExchange { subject_token, actor_token } => {
            (Some(ActorToken::AccessToken(actor_token)), Some(read_subject(core, &subject_token).await?))
        }
    };
    let client = identify(client, subject.as_ref())?;

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
    keys.extend(lookup.into_iter().flat_map(UserLookup::keys));
    keys.extend(guess.into_iter().flat_map(|user| user_keys(client.agent(), user)));
    let mut found = core.table.read(keys).await?;

    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let keyring = core.keyring_at(control.keys_version).await?;
    let account = found.take::<AgentAccount>(&agent_key)?.filter(|account| account.active);
    let account = account.ok_or(TokenError::InvalidClient)?;
    // From here on: whoever fails to prove a secret, fails at this account.
    event.agent_account_id = Some(account.id);
    let secret = authenticate(core, &client, &account, event)?;
    if let Some(token) = &subject {
        let revoked = found.contains(&Key::revoked_token(token.jti));
        let stands =
            keyring.knows(&token.kid) && account.live_secret(token.secret, core.clock.now()).is_some();
        if revoked || !stands {
            return Err(TokenError::InvalidRequest("subject_token: it has been revoked".to_owned()).into());
        }
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
    let (claims, token_id) = claims(core, client.agent(), secret, on_behalf_of)?;
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

fn identify(client: Option<ClientAuth>, subject: Option<&VerifiedToken>) -> Result<Client> {
    let Some(auth) = client else {
        return subject.cloned().map(Client::Token).ok_or_else(|| TokenError::InvalidClient.into());
    };
    // An API key is no client secret and fails here, by its prefix.
    let agent = auth.client_id.parse::<AgentAccountId>().ok();
    let secret = hash_client_secret(auth.client_secret.expose_secret());
    let (Some(agent), Some(secret)) = (agent, secret) else { return Err(TokenError::InvalidClient.into()) };
    if subject.is_some_and(|token| token.agent != agent) {
        return Err(
            TokenError::InvalidRequest("subject_token: it was issued to another client".to_owned()).into()
        );
    }
    Ok(Client::Secret(agent, secret))
}

/// The client secret that the new token rests on.
fn authenticate(core: &Core, client: &Client, account: &AgentAccount, event: &mut Event) -> Result<SecretId> {
    match client {
        Client::Secret(_, presented) => {
            let secret =
                account.proven_secret(presented, core.clock.now()).ok_or(TokenError::InvalidClient)?;
            event.credential = Some(Credential::ClientSecret(secret.id).to_string());
            Ok(secret.id)
        }
        Client::Token(token) => {
            event.credential = Some(Credential::AgentToken(token.jti).to_string());
            Ok(token.secret)
        }
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
    secret: SecretId,
    on_behalf_of: Option<(UserId, DelegationId)>,
) -> Result<(Claims, uuid::Uuid)> {
    let now = core.clock.now();
    let jti = core.random.uuid()?;
    let claims = Claims {
        iss: core.settings.issuer.clone(),
        aud: core.settings.audience.clone(),
        sub: on_behalf_of.map_or(agent.0, |(user, _)| user.0),
        client_id: agent,
        jti,
        iat: now.as_seconds(),
        exp: now.plus(LIFETIME).as_seconds(),
        scope: SCOPE.to_owned(),
        act: on_behalf_of.map(|_| ActorClaim { sub: agent }),
        delegation_id: on_behalf_of.map(|(_, delegation)| delegation),
        client_secret_id: secret,
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
        if agent.live_secret(self.secret, now).is_none() {
            return Err(Error::unauthenticated(
                "The client secret that the token was issued under is revoked",
            ));
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

/// Authenticates a client for introspection and revocation.
pub(crate) async fn authenticate_client(core: &Core, auth: ClientAuth) -> Result<(AgentAccount, SecretId)> {
    let Client::Secret(agent, presented) = identify(Some(auth), None)? else {
        return Err(TokenError::InvalidClient.into());
    };
    let account =
        core.table.read_one::<AgentAccount>(Key::agent(agent)).await?.filter(|account| account.active);
    let account = account.ok_or(TokenError::InvalidClient)?.value;
    let secret = account.proven_secret(&presented, core.clock.now()).ok_or(TokenError::InvalidClient)?.id;
    Ok((account, secret))
}

/// What a client may know of a token of its own that is good right now; `None` for any other (RFC 7662).
pub async fn introspect(core: &Core, auth: ClientAuth, token: &str) -> Result<Option<VerifiedToken>> {
    let (client, _) = authenticate_client(core, auth).await?;
    let Ok(token) = core.verify_token(token).await? else { return Ok(None) };
    if token.agent != client.id {
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
