//! Issuing agent tokens, and saying whether one is still good.
//!
//! A token request takes one read round trip in the steady state: the account with its secrets and keys, and a copy of
//! the control versions (2 items); for a user also the user and the delegation (4). An email or a user's JWT leads to
//! the user by a pointer (1 or 2 more). An exchange also asks whether its subject was revoked, and a token for some
//! servers whether those servers exist.
//!
//! **Order.** The client is authenticated *before* anything else is judged. Then come its tokens, scope and targets, then
//! the delegation, and only then the user. So a client learns nothing about users who have not delegated to it, and an
//! assertion is used up by every answer alike ([`super::assertion`]).
//!
//! **An exchange's two tokens** are told apart by what they are: the one that claims to be from Deputize is the agent's.
//! RFC 8693 section 1.1 has the user as the subject and the agent as the actor; the recipes have it the other way
//! round. Both tokens are verified as what they claim to be, so the order decides nothing.
//!
//! **An app's token** as the user's says the same as a JWT of the user's: that they are present, through an app that they
//! allowed to manage things for them. It must be for the management API, so that a token that was given for one server
//! does not reach others through an agent. All that it rests on is part of the one read, and judged as at a call.
//!
//! **Hints.** What a pointer led to last time is remembered ([`crate::prefetch_hints`]) and read along with the pointer. The
//! pointer that was read decides. If it leads elsewhere now, a second read follows. DynamoDB would otherwise need two
//! round trips each time.
//!
//! **Times do not tell.** An email without a user is looked for in the same way, first and later, by reading a user who
//! does not exist. So the time of a refusal does not tell which addresses are known. For a JWT there is nothing to
//! hide, since its holder is told whether they are known.

use deputize_api::{path, reason::Reason, token::parameter};
use secrecy::{ExposeSecret, SecretString};

use super::{
    ClientAuth, LIFETIME, RequestedResource, SCOPE,
    app_own::introspect_own,
    app_token::AppToken,
    assertion::{AssertionUse, commit, denied, store},
    claims::{ActorClaim, ClaimedKind, Claims, VerifiedToken, claims_to_be},
    client::{self, PresentedClient, ProvenClient},
    keyring::Keyring,
    own::OwnToken,
};
use crate::{
    Core,
    agents::{AgentAccount, ClientCredential, owners},
    app_standing,
    apps::MadeByApp,
    audience::{Audience, MAX_RESOURCES, Resource},
    audit::{Action, Event, RequestContext},
    caller::CredentialId,
    checked::Checked,
    control::{self, Control, Version},
    delegations::Delegation,
    epoch::Epoch,
    error::{Cause, Error, Result, TokenError, Told},
    identities::{self, UserRefusal},
    ids::{AgentAccountId, DelegationId, UserId},
    lookup::UserLookup,
    secret::presented,
    servers::Server,
    table::{Found, Key, Stored},
    users::{Email, User},
};

/// A token request.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// `None` for a token exchange where the agent's own token is the only proof.
    pub client: Option<ClientAuth>,
    pub grant: TokenGrant,
    pub scope: Option<&'a str>,
    /// Where the token should be good. Empty for all servers.
    pub targets: Vec<RequestedResource<'a>>,
}

#[derive(Debug)]
pub enum TokenGrant {
    ClientCredentials {
        actor: Option<ActorToken>,
    },
    /// RFC 8693: the agent's own token and a user's JWT, in either order.
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
pub struct IssuedToken {
    pub access_token: SecretString,
    /// In seconds.
    pub expires_in: u64,
    pub scope: &'static str,
}

/// Issues a token or refuses to. In both cases an audit event is stored before this returns.
pub async fn issue(core: &Core, request: &RequestContext, asked: TokenRequest<'_>) -> Result<IssuedToken> {
    let mut event = Event::new(core, request, Action::TokenIssue)?;
    let mut assertion_use = None;
    let decided = decide(core, request, asked, &mut event, &mut assertion_use).await;
    let (event, decided) = match decided {
        Ok(issued) => (event, Ok(issued)),
        Err(Error::Token(refusal)) => (denied(event, &refusal), Err(refusal)),
        Err(error) => return Err(error),
    };
    match store(core, &event, assertion_use.as_ref()).await {
        Ok(()) => Ok(decided?),
        // The assertion has been used before. So the decision is not answered, and no token is given.
        Err(Error::Token(replayed)) => Err(record(core, Event { token_id: None, ..event }, replayed).await),
        Err(error) => Err(error),
    }
}

/// Refuses a request that does not even say what it asks for.
pub async fn refuse(core: &Core, request: &RequestContext, refusal: TokenError) -> Error {
    match Event::new(core, request, Action::TokenIssue) {
        Ok(event) => record(core, event, refusal).await,
        Err(error) => error,
    }
}

/// Records the refusal in the audit trail, and returns it.
async fn record(core: &Core, event: Event, refusal: TokenError) -> Error {
    match core.table.append(&denied(event, &refusal)).await {
        Ok(()) => refusal.into(),
        Err(error) => error,
    }
}

async fn decide(
    core: &Core,
    request: &RequestContext,
    asked: TokenRequest<'_>,
    event: &mut Event,
    assertion_use: &mut Option<AssertionUse>,
) -> Result<IssuedToken> {
    let TokenRequest { client, grant, scope, targets } = asked;
    let (actor, agents_own) = match grant {
        TokenGrant::ClientCredentials { actor } => (actor.map(|actor| (parameter::ACTOR_TOKEN, actor)), None),
        TokenGrant::TokenExchange { subject_token, actor_token } => {
            let Exchanged { agents, users } = Exchanged::of(core, subject_token, actor_token);
            let own = read_agents_own(core, &agents).await?;
            (Some((users.parameter, ActorToken::AccessToken(users.token))), Some((agents.parameter, own)))
        }
    };
    let (client, agents_own) = identify(core, client, agents_own)?;
    let own = agents_own.as_ref().and_then(|(parameter, own)| Some((*parameter, own.as_valid()?)));
    // All that is asked for is judged only after the client has been authenticated.
    let asked = asked_for(core, scope, &targets, own.map(|(parameter, token)| (parameter, &token.audience)));
    let user = match &actor {
        None => None,
        Some((parameter, actor)) => Some(read_actor(core, parameter, actor).await?),
    };
    let presented = match &user {
        Some(Checked::Valid(presented)) => Some(presented),
        Some(Checked::Invalid(_)) | None => None,
    };
    let guess = presented.and_then(|presented| presented.guess(core));
    let agent_key = Key::agent(client.agent());
    let control_key = Control::any_key(core)?;
    let mut keys = vec![agent_key.clone(), control_key.clone()];
    keys.extend(owners::likely_owner(core, client.agent()));
    keys.extend(own.map(|(_, token)| Key::revoked_token(token.jti)));
    keys.extend(asked.iter().flat_map(|asked| asked.audience.servers()).map(Key::server));
    keys.extend(presented.into_iter().flat_map(PresentedActor::keys));
    keys.extend(guess.into_iter().flat_map(|user| user_keys(client.agent(), user)));
    let mut found = core.table.read(keys).await?;

    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let keyring = core.keyring_at(control.version_of_keys()).await?;
    let account = found.take::<AgentAccount>(&agent_key)?.filter(|account| account.active);
    let account = account.ok_or(TokenError::InvalidClient)?;
    // From here on, a failed authentication is recorded at this account.
    event.agent_account_id = Some(account.id);
    let proven = client.prove(core, &account)?;
    event.credential = Some(credential(&client, proven.credential).to_string());
    *assertion_use = proven.assertion_use;
    require_usable(core, request, &found, &account).await?;
    let own = agents_own.map(|own| good_own(core, &account, &keyring, &found, own)).transpose()?;
    let Asked { resources, audience } = asked?;
    for server in audience.servers() {
        let found = found.take::<Server>(&Key::server(server))?;
        let parameter = resources.iter().find(|(_, resource)| *resource == Resource::Server(server.clone()));
        let no_such = || no_such_resource(parameter.map_or(parameter::RESOURCE, |(parameter, _)| parameter));
        found.filter(|server| server.active).ok_or_else(no_such)?;
    }
    note_servers(event, &audience);
    let users = actor.as_ref().map_or(parameter::ACTOR_TOKEN, |(parameter, _)| parameter);
    let on_behalf_of = match user {
        None => None,
        Some(Checked::Invalid(refusal)) => return Err(refusal.into()),
        Some(Checked::Valid(PresentedActor::App(token))) => {
            (event.user_id, event.client_id) = (Some(token.user), Some(token.app.clone()));
            let standing = token.check_standing(core, &found, control.version_of_keys()).await;
            standing.map_err(|error| no_standing(users, error))?;
            let (delegation, user) = delegation(core, client.agent(), token.user, guess, &mut found).await?;
            Some((delegation.value, user.epoch))
        }
        Some(Checked::Valid(PresentedActor::Lookup(lookup))) => {
            let resolved = lookup.resolve(core, &mut found)?;
            event.user_id = resolved.map(|resolved| resolved.user);
            let user = match resolved {
                Some(resolved) => resolved.user,
                None if lookup.is_token() => return Err(no_actor(users, UserRefusal::Unknown).into()),
                None => lookup.nobody(core, guess)?,
            };
            let (delegation, user) = delegation(core, client.agent(), user, guess, &mut found).await?;
            let epoch = user.epoch;
            if let (UserLookup::Token(token), Some(resolved)) = (&lookup, resolved) {
                // What makes a subject known is made to last wherever it is seen first.
                identities::link_user(core, request, token, resolved, user)
                    .await?
                    .user()
                    .map_err(|refusal| no_actor(users, refusal))?;
            }
            Some((delegation.value, epoch))
        }
    };
    let mut ends = core.clock.now().plus(LIFETIME).as_seconds();
    ends =
        no_later(ends, &account, proven.credential, on_behalf_of.as_ref().map(|(delegation, _)| delegation));
    let basis = TokenBasis {
        agent: account.id,
        epoch: account.epoch,
        credential: proven.credential,
        user_epoch: on_behalf_of.as_ref().map_or_else(Epoch::default, |(_, epoch)| *epoch),
        delegation_made_by: on_behalf_of.as_ref().and_then(|(delegation, _)| delegation.made_by.clone()),
        on_behalf_of: on_behalf_of.map(|(delegation, _)| (delegation.delegator_user_id, delegation.id)),
        exchanged_from: own.map(|token| token.jti),
    };
    let claims = claims(core, basis, &audience, ends)?;
    event.token_id = Some(claims.jti);
    Ok(IssuedToken {
        expires_in: u64::try_from(claims.exp - claims.iat).unwrap_or_default(),
        access_token: SecretString::from(keyring.sign(core, &claims).await?),
        scope: SCOPE,
    })
}

/// Refuses a proven client in a web page that may not use it, and one that nobody answers for where that stops it.
async fn require_usable(
    core: &Core,
    request: &RequestContext,
    found: &Found,
    account: &AgentAccount,
) -> Result<()> {
    if !account.allows_origin(&core.settings, &request.origin) {
        return Err(TokenError::OriginNotAllowed.into());
    }
    if !owners::has_active_owner(core, found, account).await? {
        return Err(TokenError::NoActiveOwner.into());
    }
    Ok(())
}

/// A user's JWT that leads to no user. `parameter` is where it was sent.
fn no_actor(parameter: &str, refusal: UserRefusal) -> TokenError {
    let text = match &refusal {
        UserRefusal::Unknown => format!("{parameter}: the user is unknown here"),
        other => format!("{parameter}: {other}"),
    };
    TokenError::InvalidGrant(Told::of(refusal.reason(), text).because(refusal))
}

/// An app's token that is good no more. `parameter` is where it was sent.
fn no_standing(parameter: &str, error: Error) -> Error {
    match error {
        Error::Unauthenticated(_) => {
            let text = format!("{parameter}: {error}");
            TokenError::InvalidGrant(Told::of(error.reason(), text).because(error)).into()
        }
        other => other,
    }
}

/// Records where the token is good. An event has room for one server.
fn note_servers(event: &mut Event, audience: &Audience) {
    let servers: Vec<_> = audience.servers().collect();
    match *servers {
        [] => {}
        [one] => event.server_id = Some(one.clone()),
        ref several => {
            let names: Vec<&str> = several.iter().map(|server| server.as_str()).collect();
            *event = event.clone().note(format!("for the servers {}", names.join(", ")));
        }
    }
}

/// The end of a token that should end at `ends`, in seconds since the Unix epoch: not after the end of
/// anything that it rests on.
fn no_later(
    ends: i64,
    account: &AgentAccount,
    credential: ClientCredential,
    delegation: Option<&Delegation>,
) -> i64 {
    let credential = match credential {
        ClientCredential::Secret(id) => {
            account.secrets.iter().find(|secret| secret.id == id).and_then(|secret| secret.expires_at)
        }
        ClientCredential::Key(id) => {
            account.keys.iter().find(|key| key.id == id).and_then(|key| key.expires_at)
        }
    };
    let delegation = delegation.and_then(|delegation| delegation.expires_at);
    [credential, delegation].into_iter().flatten().fold(ends, |ends, other| ends.min(other.as_seconds()))
}

/// A token of an exchange, and the parameter that it was sent as.
struct Sent {
    parameter: &'static str,
    token: SecretString,
}

/// The tokens of an exchange, by whose they claim to be.
struct Exchanged {
    agents: Sent,
    users: Sent,
}

impl Exchanged {
    fn of(core: &Core, subject: SecretString, actor: SecretString) -> Self {
        let is_agents = |token: &SecretString| {
            claims_to_be(&core.settings, token.expose_secret()) == Some(ClaimedKind::Agents)
        };
        let in_the_order_of_the_rfc = !is_agents(&subject) && is_agents(&actor);
        let subject = Sent { parameter: parameter::SUBJECT_TOKEN, token: subject };
        let actor = Sent { parameter: parameter::ACTOR_TOKEN, token: actor };
        if in_the_order_of_the_rfc {
            Self { agents: actor, users: subject }
        } else {
            Self { agents: subject, users: actor }
        }
    }
}

/// RFC 8693 section 2.2.2.
fn agents_token_refused(parameter: &str, why: impl Into<Cause>) -> TokenError {
    let why = why.into();
    let text = format!("{parameter}: {why}");
    TokenError::InvalidRequest(Told::of(Reason::SubjectTokenRefused, text).because(why))
}

/// The agent's token of an exchange: its own, not one on behalf of a user. A refusal is kept until the client has been
/// authenticated.
async fn read_agents_own(core: &Core, sent: &Sent) -> Result<Checked<VerifiedToken, TokenError>> {
    let token = core.verify_token(sent.token.expose_secret()).await?;
    Ok(match token.and_then(OwnToken::agents) {
        Checked::Invalid(why) => Checked::Invalid(agents_token_refused(sent.parameter, why)),
        Checked::Valid(token) if token.on_behalf_of.is_some() => Checked::Invalid(agents_token_refused(
            sent.parameter,
            "it acts for a user already; exchange the agent's own token",
        )),
        Checked::Valid(token) => Checked::Valid(token),
    })
}

/// The agent's own token, if it is this account's and all that it rests on is good.
fn good_own(
    core: &Core,
    account: &AgentAccount,
    keyring: &Keyring,
    found: &Found,
    (parameter, own): AgentsOwn,
) -> Result<VerifiedToken, TokenError> {
    let token = own.require(|refusal| refusal)?;
    if token.agent != account.id {
        return Err(agents_token_refused(parameter, "it was issued to another client"));
    }
    let revoked = found.contains(&Key::revoked_token(token.jti));
    let vouched = account.vouches(token.credential, token.epoch, core.clock.now());
    if revoked || !vouched || !keyring.knows(&token.kid) {
        return Err(agents_token_refused(parameter, "it has been revoked"));
    }
    Ok(token)
}

/// What is asked for beside the user.
struct Asked {
    /// The requested resources, and the parameter that named each.
    resources: Vec<(&'static str, Resource)>,
    audience: Audience,
}

/// What a request asks for, if there is such a thing. `within` is where the agent's own token is good that is exchanged,
/// and the parameter that it was sent as.
fn asked_for(
    core: &Core,
    scope: Option<&str>,
    targets: &[RequestedResource<'_>],
    within: Option<(&'static str, &Audience)>,
) -> Result<Asked, TokenError> {
    if scope.is_some_and(|scope| scope.split(' ').any(|scope| scope != SCOPE)) {
        return Err(TokenError::InvalidScope(format!("The only scope is {SCOPE}")));
    }
    let parse = |target: &RequestedResource<'_>| {
        let resource = Resource::parse(&core.settings, target.name);
        let resource = resource.filter(|resource| *resource != Resource::Management);
        Ok((target.parameter, resource.ok_or_else(|| no_such_resource(target.parameter))?))
    };
    let resources = targets.iter().map(parse).collect::<Result<Vec<_>, TokenError>>()?;
    let audience = audience(&resources, within)?;
    Ok(Asked { resources, audience })
}

/// Where the token will be good. An exchanged token is not good anywhere that the agent's own was not.
fn audience(
    asked: &[(&'static str, Resource)],
    within: Option<(&'static str, &Audience)>,
) -> Result<Audience, TokenError> {
    let Some((parameter, _)) = asked.first() else {
        return Ok(within.map_or_else(Audience::proxy, |(_, audience)| audience.clone()));
    };
    let audience = Audience::of(asked.iter().map(|(_, resource)| resource.clone())).ok_or_else(|| {
        TokenError::InvalidTarget(format!(
            "{parameter}: a token is for {MAX_RESOURCES} servers at most, or for all if none is named"
        ))
    })?;
    match within.filter(|(_, within)| !within.includes(&audience)) {
        None => Ok(audience),
        Some((own, _)) => {
            Err(TokenError::InvalidTarget(format!("{parameter}: the {own} is good at another resource only")))
        }
    }
}

fn no_such_resource(parameter: &str) -> TokenError {
    TokenError::InvalidTarget(format!("{parameter}: there is no such resource here"))
}

/// An agent's own token, and the parameter that it was sent as.
type AgentsOwn = (&'static str, Checked<VerifiedToken, TokenError>);

/// The client, by its own authentication, or else by the agent's own token that it exchanges.
fn identify(
    core: &Core,
    auth: Option<ClientAuth>,
    agents_own: Option<AgentsOwn>,
) -> Result<(PresentedClient, Option<AgentsOwn>)> {
    let named = match auth {
        None => None,
        Some(ClientAuth::Named { client_id }) => Some(client_id),
        Some(auth) => return Ok((PresentedClient::identify(core, path::TOKEN, auth)?, agents_own)),
    };
    let (parameter, own) = agents_own.ok_or(TokenError::InvalidClient)?;
    let token = own.require(Error::from)?;
    if named.is_some_and(|id| id.parse() != Ok(token.agent)) {
        return Err(agents_token_refused(parameter, "it was issued to another client").into());
    }
    Ok((PresentedClient::Token(token.clone()), Some((parameter, Checked::Valid(token)))))
}

/// The credential that the client has presented.
fn credential(client: &PresentedClient, proven: ClientCredential) -> CredentialId {
    match client {
        PresentedClient::Secret(..) | PresentedClient::Assertion(_) => CredentialId::Client(proven),
        PresentedClient::Token(token) => CredentialId::AgentToken(token.jti),
    }
}

/// Who the actor token speaks of. A refusal is kept until the client has been authenticated.
async fn read_actor(
    core: &Core,
    parameter: &str,
    actor: &ActorToken,
) -> Result<Checked<PresentedActor, TokenError>> {
    let lookup = match actor {
        ActorToken::UserId(text) => {
            text.parse().map(UserLookup::Id).map_err(|_| TokenError::ActorNotUuid).into()
        }
        ActorToken::Email(text) => {
            text.parse::<Email>().map(UserLookup::Email).map_err(|_| TokenError::ActorNotEmail).into()
        }
        ActorToken::AccessToken(token)
            if claims_to_be(&core.settings, token.expose_secret()) == Some(ClaimedKind::Apps) =>
        {
            return read_apps(core, parameter, token).await;
        }
        ActorToken::AccessToken(token) => match core.issuers.verify(core, token.expose_secret()).await? {
            Checked::Valid(token) => Checked::Valid(UserLookup::Token(token)),
            Checked::Invalid(why) => Checked::Invalid(actor_refused(parameter, why)),
        },
    };
    Ok(lookup.map(PresentedActor::Lookup))
}

fn actor_refused(parameter: &str, why: impl Into<Cause>) -> TokenError {
    let why = why.into();
    let text = format!("{parameter}: {why}");
    TokenError::InvalidGrant(Told::of(Reason::ActorTokenRefused, text).because(why))
}

/// The token of an app that acts for the user, if it may say so here.
async fn read_apps(
    core: &Core,
    parameter: &str,
    token: &SecretString,
) -> Result<Checked<PresentedActor, TokenError>> {
    Ok(match core.verify_token(token.expose_secret()).await? {
        Checked::Valid(OwnToken::App(token)) => match token.require_for_management() {
            Ok(()) => Checked::Valid(PresentedActor::App(token)),
            Err(why) => Checked::Invalid(actor_refused(parameter, why)),
        },
        // It says one thing to a reader of its claims before its signature is checked, and another after.
        Checked::Valid(OwnToken::Agent(_)) => {
            Checked::Invalid(actor_refused(parameter, "the token is an agent's"))
        }
        Checked::Invalid(why) => Checked::Invalid(actor_refused(parameter, why)),
    })
}

/// The user to act for, as presented. All checks that need no table are done.
enum PresentedActor {
    Lookup(UserLookup),
    /// By an app that the user allowed to manage things for them.
    App(AppToken),
}

impl PresentedActor {
    fn keys(&self) -> Vec<Key> {
        match self {
            Self::Lookup(lookup) => lookup.keys(),
            Self::App(token) => token.keys(),
        }
    }

    fn guess(&self, core: &Core) -> Option<UserId> {
        match self {
            Self::Lookup(lookup) => lookup.guess(core),
            Self::App(token) => Some(token.user),
        }
    }
}

fn user_keys(agent: AgentAccountId, user: UserId) -> [Key; 2] {
    [Key::user(user), Key::delegation(agent, user)]
}

/// An active user and their active delegation. Without a delegation, the answer says nothing about the user.
async fn delegation(
    core: &Core,
    agent: AgentAccountId,
    user: UserId,
    guess: Option<UserId>,
    found: &mut Found,
) -> Result<(Stored<Delegation>, Stored<User>)> {
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
    if !app_standing::read(core, [(user, delegation.made_by.as_ref())]).await?.of(delegation.made_by.as_ref())
    {
        return Err(TokenError::NoDelegation.into());
    }
    let user = found.take::<User>(&user_key)?.filter(|user| delegation.is_of(user));
    let user = user.ok_or(TokenError::NoDelegation)?;
    if !user.active {
        return Err(TokenError::DelegatorDeactivated.into());
    }
    Ok((delegation, user))
}

/// The parties of a token, and what it rests on.
struct TokenBasis {
    agent: AgentAccountId,
    /// How often the account has been disabled.
    epoch: Epoch,
    credential: ClientCredential,
    on_behalf_of: Option<(UserId, DelegationId)>,
    /// The app that made the delegation.
    delegation_made_by: Option<MadeByApp>,
    /// How often the user has been deactivated.
    user_epoch: Epoch,
    /// The `jti` of the token that it is exchanged for.
    exchanged_from: Option<uuid::Uuid>,
}

fn claims(core: &Core, basis: TokenBasis, audience: &Audience, ends: i64) -> Result<Claims> {
    let TokenBasis { agent, epoch, credential, on_behalf_of, delegation_made_by, user_epoch, exchanged_from } =
        basis;
    let (client_secret_id, client_key_id) = match credential {
        ClientCredential::Secret(id) => (Some(id), None),
        ClientCredential::Key(id) => (None, Some(id)),
    };
    Ok(Claims {
        iss: core.settings.issuer.clone(),
        aud: audience.names(&core.settings),
        sub: on_behalf_of.map_or(agent.0, |(user, _)| user.0),
        client_id: agent,
        jti: core.random.uuid()?,
        iat: core.clock.now().as_seconds(),
        exp: ends,
        scope: SCOPE.to_owned(),
        act: on_behalf_of.map(|_| ActorClaim { sub: agent }),
        delegation_id: on_behalf_of.map(|(_, delegation)| delegation),
        delegation_made_by,
        client_secret_id,
        client_key_id,
        exchanged_from,
        account_epoch: epoch,
        user_epoch,
    })
}

/// The present state of what a token rests on.
#[derive(Debug)]
pub(crate) struct TokenStanding {
    pub agent: AgentAccount,
    pub on_behalf_of: Option<(User, Delegation)>,
}

impl VerifiedToken {
    /// The items that the token rests on, beside the control versions.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = vec![Key::agent(self.agent)];
        keys.extend(self.revocations());
        if let Some((user, _)) = self.on_behalf_of {
            keys.extend(user_keys(self.agent, user));
            keys.extend(self.delegation_made_by.iter().flat_map(|app| app.keys(user)));
        }
        keys
    }

    /// The keys of the notes that say whether this token, or the one that was exchanged for it, is revoked.
    fn revocations(&self) -> impl Iterator<Item = Key> {
        std::iter::once(self.jti).chain(self.exchanged_from).map(Key::revoked_token)
    }

    /// Requires that everything that the token rests on is valid. This is the only place that decides it.
    pub(crate) async fn check_standing(
        &self,
        core: &Core,
        found: &mut Found,
        keys: Version,
    ) -> Result<TokenStanding> {
        let now = core.clock.now();
        if !core.keyring_at(keys).await?.knows(&self.kid) {
            return Err(Error::Unauthenticated(Told::of(
                Reason::TokenRevoked,
                "The token is signed with an unknown key",
            )));
        }
        if self.revocations().any(|key| found.contains(&key)) {
            return Err(Error::Unauthenticated(Told::of(Reason::TokenRevoked, "The token has been revoked")));
        }
        let agent = found.take::<AgentAccount>(&Key::agent(self.agent))?.filter(|agent| agent.active);
        let agent = agent
            .ok_or_else(|| {
                Error::Unauthenticated(Told::of(Reason::TokenRevoked, "The agent account is disabled"))
            })?
            .value;
        if agent.epoch != self.epoch {
            return Err(Error::Unauthenticated(Told::of(
                Reason::TokenRevoked,
                "The agent account was disabled after the token was issued",
            )));
        }
        if !agent.vouches(self.credential, self.epoch, now) {
            let text = match self.credential {
                ClientCredential::Secret(_) => "The client secret that the token was issued under is revoked",
                ClientCredential::Key(_) => {
                    "The client key that the token was issued under is deleted or has expired"
                }
            };
            return Err(Error::Unauthenticated(Told::of(Reason::TokenRevoked, text)));
        }
        if !owners::has_active_owner(core, found, &agent).await? {
            return Err(Error::Forbidden(Told::by(Reason::OwnerMissing, TokenError::NoActiveOwner)));
        }
        let Some((user, delegation_id)) = self.on_behalf_of else {
            return Ok(TokenStanding { agent, on_behalf_of: None });
        };
        let [user_key, delegation_key] = user_keys(self.agent, user);
        let delegation = found
            .take::<Delegation>(&delegation_key)?
            .filter(|delegation| delegation.id == delegation_id && delegation.is_active(now))
            .filter(|delegation| delegation.made_by == self.delegation_made_by)
            .ok_or_else(|| {
                Error::Unauthenticated(Told::of(
                    Reason::TokenRevoked,
                    "The delegation that the token rests on is revoked or has expired",
                ))
            })?;
        let user = found.take::<User>(&user_key)?.filter(|user| user.active);
        let user = user.ok_or_else(|| {
            Error::Forbidden(Told::of(Reason::UserInactive, "Delegator user is deactivated"))
        })?;
        if let Some(app) = &self.delegation_made_by
            && app_standing::standing(found, app, user.id, user.epoch, now)?.as_valid().is_none()
        {
            return Err(Error::Unauthenticated(Told::of(
                Reason::TokenRevoked,
                "The delegation that the token rests on was made by an app, and has ended with what the user allowed it",
            )));
        }
        if user.epoch != self.user_epoch || !delegation.is_of(&user) {
            return Err(Error::Unauthenticated(Told::of(
                Reason::TokenRevoked,
                "The delegator was deactivated after the token was issued",
            )));
        }
        let user = core.counting_claims(user.value);
        Ok(TokenStanding { agent, on_behalf_of: Some((user, delegation.value)) })
    }
}

/// What a client may know about its own token that is good now. `None` for any other token (RFC 7662).
pub async fn introspect(
    core: &Core,
    request: &RequestContext,
    auth: ClientAuth,
    token: &str,
) -> Result<Option<OwnToken>> {
    if auth.is_apps() {
        let token = Box::pin(introspect_own(core, auth, &presented(token))).await?;
        return Ok(token.map(OwnToken::App));
    }
    let (client, ProvenClient { assertion_use, .. }) =
        client::authenticate(core, request, Action::TokenIntrospect, path::INTROSPECT, auth).await?;
    let known = active_token(core, client, token).await?;
    // Comes last: an earlier failure has not used up the assertion, as its answer says.
    commit(core, assertion_use.as_ref(), |_| Ok(())).await?;
    Ok(known.map(OwnToken::Agent))
}

async fn active_token(core: &Core, client: AgentAccountId, token: &str) -> Result<Option<VerifiedToken>> {
    let Checked::Valid(OwnToken::Agent(token)) = core.verify_token(token).await? else { return Ok(None) };
    if token.agent != client {
        return Ok(None);
    }
    let control_key = Control::any_key(core)?;
    let mut keys = token.keys();
    keys.push(control_key.clone());
    keys.extend(owners::likely_owner(core, token.agent));
    let mut found = core.table.read(keys).await?;
    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    match token.check_standing(core, &mut found, control.version_of_keys()).await {
        Ok(standing) => {
            let delegation = standing.on_behalf_of.as_ref().map(|(_, delegation)| delegation);
            // A secret, a key or a delegation may have got an end since then.
            let expires_at = no_later(token.expires_at, &standing.agent, token.credential, delegation);
            Ok(Some(VerifiedToken { expires_at, ..token }))
        }
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
