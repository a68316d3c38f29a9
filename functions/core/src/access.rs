//! Whether a call through the proxy may go ahead, and with whose credentials.
//!
//! Everything that decides is read in one strongly consistent round trip in the steady state: what the
//! caller's credential rests on, the server, the versions of policies and keys, and, for a server that
//! asks for credentials, the grants and sessions. Nothing that was read for one call serves another.

use std::{net::IpAddr, sync::Arc};

use secrecy::SecretString;
use serde_json::value::RawValue;

use crate::{
    Core,
    agents::AgentAccount,
    audit::{Event, Request},
    authenticate::{Presented, UserCredential},
    connections::{Need, fresh},
    control::{self, Control},
    delegations::Delegation,
    error::{Error, Result},
    grants::{Grant, Pair},
    ids::{AgentAccountId, GrantId, ServerId, UserId},
    origins::NOT_FOR_ACCOUNT,
    policies::{CallFacts, Compiled, Decision, Deed},
    servers::{Server, ServerAuth},
    sessions::Session,
    table::{Found, Key, Stored},
    tokens::{SCOPE, VerifiedToken},
    users::User,
};

/// A caller who has been proven, at a server that there is.
#[derive(Debug)]
pub struct Access {
    caller: ProxyCaller,
    pub server: Server,
    policies: Arc<Compiled>,
    /// What the caller's OAuth session is, if the server asks for one. It is judged after the policies.
    upstream: Upstream,
}

/// Who calls.
#[derive(Debug)]
enum ProxyCaller {
    Agent(AgentAccount),
    OnBehalfOf(AgentAccount, User),
    User(User),
}

/// The agent account that calls, if one does: it needs a grant. And the user who calls or is acted for, if
/// there is one: their credentials come first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parties {
    agent: Option<AgentAccountId>,
    user: Option<UserId>,
}

impl ProxyCaller {
    fn parties(&self) -> Parties {
        match self {
            Self::Agent(agent) => Parties { agent: Some(agent.id), user: None },
            Self::OnBehalfOf(agent, user) => Parties { agent: Some(agent.id), user: Some(user.id) },
            Self::User(user) => Parties { agent: None, user: Some(user.id) },
        }
    }
}

#[derive(Debug)]
enum Upstream {
    NotAsked,
    Header,
    Session { session: Option<Box<Stored<Session>>>, grant: Option<GrantId>, of: UserId },
    NoGrant,
}

/// What goes upstream to be let in.
#[derive(Debug)]
pub enum Credentials {
    /// The server asks for nothing.
    None,
    /// A header that is the same for all callers.
    Header { name: String, value: SecretString },
    /// Somebody's access token.
    Session(Box<SessionCredentials>),
}

/// Whose OAuth session goes upstream.
#[derive(Debug)]
pub struct SessionCredentials {
    pub access_token: SecretString,
    pub of: UserId,
    /// The session grant that allows it; none where a user uses their own.
    pub grant: Option<GrantId>,
    session: Session,
}

/// What the edge knows of a call, for the policies.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallContext<'a> {
    pub source_ip: Option<IpAddr>,
    pub client_name: Option<&'a str>,
}

impl Access {
    /// Whether all concerned are permitted to do it; the policies that permit it.
    pub fn permits(
        &self,
        deed: Deed<'_>,
        arguments: Option<&RawValue>,
        context: CallContext<'_>,
    ) -> Result<Decision> {
        use crate::policies::Principals;
        let principals = match &self.caller {
            ProxyCaller::Agent(agent) => Principals::Agent(agent),
            ProxyCaller::OnBehalfOf(agent, user) => Principals::AgentFor(agent, user),
            ProxyCaller::User(user) => Principals::User(user),
        };
        let CallContext { source_ip, client_name } = context;
        self.policies
            .decide(principals, &CallFacts { server: &self.server, deed, arguments, source_ip, client_name })
    }

    /// Stands for the caller, wherever callers must be kept apart.
    pub fn caller_key(&self) -> String {
        match &self.caller {
            ProxyCaller::Agent(agent) => format!("agent:{}", agent.id),
            ProxyCaller::OnBehalfOf(agent, user) => format!("agent:{} for:{}", agent.id, user.id),
            ProxyCaller::User(user) => format!("caller:{}", user.id),
        }
    }

    /// Stands for whose credentials are used at the server: where all callers have the same, for the caller.
    pub fn credential_key(&self) -> String {
        match &self.upstream {
            Upstream::Session { of, .. } => format!("user:{of}"),
            Upstream::NotAsked | Upstream::Header | Upstream::NoGrant => self.caller_key(),
        }
    }

    /// The credentials to call the server with. An OAuth session that is about to expire is refreshed first.
    pub async fn credentials(&self, core: &Core, request: &Request) -> Result<Credentials> {
        match &self.upstream {
            Upstream::NotAsked => Ok(Credentials::None),
            Upstream::Header => {
                let (name, value) = self.server.header(core).await?;
                Ok(Credentials::Header { name, value })
            }
            Upstream::NoGrant => Err(Error::NoCredentials),
            Upstream::Session { session, grant, of } => {
                let session = Stored::clone(session.as_ref().ok_or(Error::SessionNotFound)?);
                let session = fresh(core, request, &self.server, session, Need::Good).await?;
                let credentials = SessionCredentials::new(core, session, *of, *grant).await?;
                Ok(Credentials::Session(Box::new(credentials)))
            }
        }
    }

    /// Other credentials of the same user's than those that the server has just refused, though we thought
    /// them good.
    pub async fn renewed(
        &self,
        core: &Core,
        request: &Request,
        refused: &SessionCredentials,
    ) -> Result<SessionCredentials> {
        let key = Key::session(refused.of, &self.server.id);
        let session = core.table.read_one::<Session>(key).await?.ok_or(Error::SessionNotFound)?;
        let need = Need::Other { than: &refused.session };
        let session = fresh(core, request, &self.server, session, need).await?;
        SessionCredentials::new(core, session, refused.of, refused.grant).await
    }

    /// What to say when the server asks for more than the session may do.
    pub fn insufficient_scope(&self, core: &Core, scope: &str) -> Error {
        let (issuer, id) = (&core.settings.issuer, &self.server.id);
        let (wanted, body) = match scope {
            "" => ("a scope that it does not name".to_owned(), String::new()),
            scope => (format!("the scope {scope}"), format!(r#" with {{"scope": "{scope}"}}"#)),
        };
        Error::InsufficientScope {
            scope: scope.to_owned(),
            detail: format!(
                "The OAuth session that was used lacks {wanted} at this server; its owner must reauthorize: POST \
                 {issuer}/api/v1/servers/{id}/connect{body}, and open the authorization_url"
            ),
        }
    }
}

impl SessionCredentials {
    async fn new(core: &Core, session: Stored<Session>, of: UserId, grant: Option<GrantId>) -> Result<Self> {
        Ok(Self { access_token: session.access_token(core).await?, of, grant, session: session.value })
    }
}

/// A credential of either kind, ready to say which items it rests on.
enum Credential {
    Agent(VerifiedToken),
    User(UserCredential),
}

impl Credential {
    fn keys(&self) -> Vec<Key> {
        match self {
            Self::Agent(token) => token.keys(),
            Self::User(user) => user.keys(),
        }
    }

    /// Who is concerned, as far as it is known before anything is read.
    fn parties(&self, guess: Option<UserId>) -> Option<Parties> {
        match self {
            Self::Agent(token) => {
                let user = token.on_behalf_of.map(|(user, _)| user);
                Some(Parties { agent: Some(token.agent), user })
            }
            Self::User(_) => guess.map(|user| Parties { agent: None, user: Some(user) }),
        }
    }
}

/// Proves the caller and finds the server. `event` learns whose call it is as soon as that is known.
pub async fn admit(
    core: &Core,
    presented: Presented,
    server_id: &ServerId,
    request: &Request,
    event: &mut Event,
) -> Result<Access> {
    let credential = match presented {
        Presented::AgentToken(token) => Credential::Agent(token),
        Presented::ApiKey(key) => Credential::User(UserCredential::ApiKey(key)),
        Presented::UserToken(token) => {
            Credential::User(UserCredential::Token(crate::lookup::UserLookup::Token(token)))
        }
    };
    if let Credential::Agent(token) = &credential {
        token.require_for(server_id)?;
    }
    let guess = match &credential {
        Credential::Agent(_) => None,
        Credential::User(user) => user.guess(core),
    };
    // Whose grants and sessions to ask for, if the server asked for OAuth last time, as far as it is known
    // before anything is read.
    let asked_for_oauth = core.hints.servers.get(server_id) == Some(ServerAuth::OAuth);
    let wallet = credential.parties(guess).filter(|_| asked_for_oauth);
    let wallet = wallet.map(|parties| Wallet::of(core, parties, server_id));
    let (control_key, server_key) = (Control::any_key(core)?, Key::server(server_id));
    let mut keys = credential.keys();
    keys.extend(guess.map(Key::user));
    keys.extend([control_key.clone(), server_key.clone()]);
    keys.extend(wallet.iter().flat_map(|wallet| wallet.keys(server_id)));
    let mut found = core.table.read(keys).await?;

    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let (caller, delegation) = match credential {
        Credential::Agent(token) => {
            if token.scope.split(' ').all(|scope| scope != SCOPE) {
                return Err(Error::forbidden("The token's scope does not cover calling tools"));
            }
            let standing = token.stand(core, &mut found, control.keys_version).await?;
            if !standing.agent.lets_call(&core.settings, &request.origin) {
                return Err(Error::forbidden(NOT_FOR_ACCOUNT));
            }
            match standing.on_behalf_of {
                None => (ProxyCaller::Agent(standing.agent), None),
                Some((user, delegation)) => (ProxyCaller::OnBehalfOf(standing.agent, user), Some(delegation)),
            }
        }
        Credential::User(user) => {
            let caller = user.prove(core, &mut found, guess, request).await?;
            event.user_id = Some(caller.user.id);
            event.credential = Some(caller.credential.to_string());
            (ProxyCaller::User(caller.user), None)
        }
    };
    let server = found.take::<Server>(&server_key)?.filter(|server| server.active);
    let server = server.ok_or(Error::NotFound(ServerId::WHAT))?.value;
    core.hints.servers.insert(server.id.clone(), server.auth);
    require_covered(delegation.as_ref(), &server)?;
    let policies = core.policies_at(control.policies_version).await?;
    let upstream = match server.auth {
        ServerAuth::None => Upstream::NotAsked,
        ServerAuth::Header => Upstream::Header,
        ServerAuth::OAuth => {
            let parties = caller.parties();
            let wallet = match wallet.filter(|wallet| wallet.parties == parties) {
                Some(read) => read,
                None => {
                    let wallet = Wallet::of(core, parties, server_id);
                    found = core.table.read(wallet.keys(server_id)).await?;
                    wallet
                }
            };
            wallet.open(core, &server.id, found).await?
        }
    };
    Ok(Access { caller, server, policies, upstream })
}

fn require_covered(delegation: Option<&Delegation>, server: &Server) -> Result<()> {
    match delegation {
        Some(delegation) if !delegation.covers(&server.id) => {
            Err(Error::forbidden("The user's delegation does not cover this server"))
        }
        _ => Ok(()),
    }
}

/// Where a caller's credentials for a server can come from.
struct Wallet {
    parties: Parties,
    /// Whose grant was the shared one, last time, if not the user's own.
    sharing: Option<UserId>,
}

impl Wallet {
    fn of(core: &Core, parties: Parties, server: &ServerId) -> Self {
        let sharing = parties.agent.and_then(|agent| core.hints.shared.get(&(agent, server.clone())));
        Self { parties, sharing: sharing.filter(|sharing| Some(*sharing) != parties.user) }
    }

    fn keys(&self, server: &ServerId) -> Vec<Key> {
        let mut keys = Vec::with_capacity(6);
        keys.extend(self.parties.user.map(|user| Key::session(user, server)));
        if let Some(agent) = self.parties.agent {
            keys.push(Key::pair(agent, server));
            keys.extend(self.parties.user.map(|user| Key::grant(agent, server, user)));
            if let Some(sharing) = self.sharing {
                keys.extend([Key::session(sharing, server), Key::user(sharing)]);
            }
        }
        keys
    }

    /// The credential order: one's own grant, else the shared one, else none.
    async fn open(self, core: &Core, server: &ServerId, mut found: Found) -> Result<Upstream> {
        let Some(agent) = self.parties.agent else {
            let Some(user) = self.parties.user else { return Ok(Upstream::NoGrant) };
            let session = found.take::<Session>(&Key::session(user, server))?;
            return Ok(upstream(session, None, user));
        };
        let pair = found.take::<Pair>(&Key::pair(agent, server))?;
        let pair = pair.map(|pair| pair.value).unwrap_or_default();
        if let Some(user) = self.parties.user {
            let own = found.take::<Grant>(&Key::grant(agent, server, user))?;
            if let Some(own) = own.filter(|own| own.is_active(&pair)) {
                let session = found.take::<Session>(&Key::session(user, server))?;
                return Ok(upstream(session, Some(own.id), user));
            }
        }
        let Some(shared) = pair.shared else { return Ok(Upstream::NoGrant) };
        let of = shared.grantor_user_id;
        core.hints.shared.insert((agent, server.clone()), of);
        let (session_key, user_key) = (Key::session(of, server), Key::user(of));
        if self.sharing != Some(of) {
            found = core.table.read(vec![session_key.clone(), user_key.clone()]).await?;
        }
        // A deactivated user's credentials serve nobody.
        if !found.take::<User>(&user_key)?.is_some_and(|grantor| grantor.active) {
            return Ok(Upstream::NoGrant);
        }
        Ok(upstream(found.take::<Session>(&session_key)?, Some(shared.grant_id), of))
    }
}

fn upstream(session: Option<Stored<Session>>, grant: Option<GrantId>, of: UserId) -> Upstream {
    Upstream::Session { session: session.map(Box::new), grant, of }
}
