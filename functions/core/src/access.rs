//! Whether a call through the proxy may go ahead, and with whose credentials.
//!
//! Everything that decides is read in one strongly consistent round trip in the steady state. Nothing that was read for
//! one call serves another.
//!
//! | caller | items |
//! | --- | --- |
//! | M2M | account, revoked-token note (usually absent), control, server: 4 |
//! | OBO | and the user and the delegation: 6; of an exchange, also the note on its subject: 7 |
//! | API key | key, user, control, server: 4 |
//! | an app, as its user | user, authorization, revoked-token note, what admins said of the app and its host, control, server: 7 |
//! | user JWT | pointer (two, if it may link by email), user, control, server: 5 or 6 |
//! | OBO, where an app made the delegation | and the app's authorization, and what admins said of it and its host: 8 or 9 |
//! | …at a server that asks for OAuth | an agent: the pair, and for OBO the user's grant and session; the last known sharer's session and user. A user: their session |
//!
//! Where agent accounts without an active owner are stopped (`agents::owners`), an agent's call also reads an owner: one
//! item more, and one read more if that one is not active.
//!
//! A grant that an app made rests on the app's authorization, which is one more read.
//!
//! Whether a server asks for OAuth, and who shared a grant last, are hints (`prefetch_hints`). A wrong hint costs one more read.
//!
//! The order of decisions: the credential and everything that it depends on; the server, which must be active and
//! covered by the delegation; the policies, from memory, in the version that the control item names; the credentials
//! for the server. Those are the acting user's own grant, else the pair's shared one if the account still accepts its
//! grantor's sharing, else none. A session's token is opened only then.
//!
//! [`Access::credential_key`] names the connection or header that is used at a server. Sessions with the server are
//! bound to it: those in clients' sealed ids, and those that the proxy keeps.
//!
//! The caller of a stream is admitted again and again by the same function. It must be the same caller as before, at
//! the same address, by the same connection, grant or header.

use std::{net::IpAddr, sync::Arc};

use deputize_api::{path, reason::Reason};
use secrecy::SecretString;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    Core,
    agents::{AgentAccount, owners},
    app_standing,
    apps::MadeByApp,
    audit::{Event, LoggedDecision, RequestContext},
    authenticate::{PresentedCredential, UserCredential},
    clock::Timestamp,
    connections::{Need, ensure_fresh},
    control::{self, Control},
    delegations::Delegation,
    error::{Error, Result, ScopeHolder, Told},
    ids::{AgentAccountId, AuthorizationId, GrantId, ServerId, UserId},
    origins::NOT_FOR_ACCOUNT,
    policies::{CallFacts, CompiledPolicies, Decision, Operation, Principals},
    scope::Scope,
    servers::{Server, ServerAuth},
    session_grants::{self, Grant, Pair},
    sessions::Session,
    table::{Found, Key, Stored},
    tokens::SCOPE,
    users::User,
};

/// A proven caller, at a server that exists.
#[derive(Debug)]
pub struct Access {
    /// When the reading of everything that this rests on began.
    since: Instant,
    caller: ProxyCaller,
    pub server: Server,
    policies: Arc<CompiledPolicies>,
    /// The caller's OAuth session, if the server asks for one. It is judged after the policies.
    upstream: UpstreamAuth,
}

/// Who calls.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a call")]
enum ProxyCaller {
    Agent(AgentAccount),
    OnBehalfOf(AgentAccount, User),
    /// A user, by themselves or by an app that they allowed to act as them.
    User(User, Option<AuthorizationId>),
}

/// The agent account that calls, if an agent calls: it needs a grant. And the user who calls, or for whom the
/// agent calls, if there is one: the user's own credentials come first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parties {
    agent: Option<AgentAccountId>,
    user: Option<UserId>,
}

impl ProxyCaller {
    fn agent(&self) -> Option<&AgentAccount> {
        match self {
            Self::Agent(agent) | Self::OnBehalfOf(agent, _) => Some(agent),
            Self::User(..) => None,
        }
    }

    fn user(&self) -> Option<&User> {
        match self {
            Self::Agent(_) => None,
            Self::OnBehalfOf(_, user) | Self::User(user, _) => Some(user),
        }
    }

    fn parties(&self) -> Parties {
        match self {
            Self::Agent(agent) => Parties { agent: Some(agent.id), user: None },
            Self::OnBehalfOf(agent, user) => Parties { agent: Some(agent.id), user: Some(user.id) },
            Self::User(user, _) => Parties { agent: None, user: Some(user.id) },
        }
    }
}

#[derive(Debug)]
enum UpstreamAuth {
    NotAsked,
    Header,
    Session { session: Option<Box<Stored<Session>>>, grant: Option<GrantId>, of: UserId },
    NoGrant,
}

impl UpstreamAuth {
    /// Refuses if there is nothing to call the server with. A session may have to be refreshed first.
    fn check(&self, server: &Server, now: Timestamp) -> Result<()> {
        match self {
            Self::NoGrant => Err(Error::NoCredentials),
            Self::Session { session: None, .. } => Err(Error::SessionNotFound),
            Self::Session { session: Some(session), .. } => session.check(server, now),
            Self::NotAsked | Self::Header => Ok(()),
        }
    }
}

/// Whose credentials a call would use, without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// The server asks for none.
    None,
    /// A header that is the same for all callers.
    Header,
    /// A user's OAuth session.
    Session {
        of: UserId,
        /// The session grant that lets an agent use it.
        grant: Option<GrantId>,
    },
}

/// Whose credentials a call of these parties would use at a server, and whether they could be used. It decides as
/// [`admit`] and [`Access::credentials`] do, and opens nothing. No source: there is no grant.
pub(crate) async fn foresee_credentials(
    core: &Core,
    server: &Server,
    agent: Option<&AgentAccount>,
    user: Option<&User>,
) -> Result<(Option<CredentialSource>, Result<()>)> {
    let caller = match (agent, user) {
        (Some(agent), Some(user)) => ProxyCaller::OnBehalfOf(agent.clone(), user.clone()),
        (Some(agent), None) => ProxyCaller::Agent(agent.clone()),
        (None, Some(user)) => ProxyCaller::User(user.clone(), None),
        (None, None) => return Ok((None, Err(Error::NoCredentials))),
    };
    let upstream = match server.auth {
        ServerAuth::None => UpstreamAuth::NotAsked,
        ServerAuth::Header => UpstreamAuth::Header,
        ServerAuth::OAuth => {
            let lookup = CredentialLookup::of(core, caller.parties(), &server.id);
            let found = core.table.read(lookup.keys(&server.id)).await?;
            lookup.resolve(core, &server.id, &caller, found).await?
        }
    };
    let source = match &upstream {
        UpstreamAuth::NotAsked => Some(CredentialSource::None),
        UpstreamAuth::Header => Some(CredentialSource::Header),
        UpstreamAuth::Session { grant, of, .. } => Some(CredentialSource::Session { of: *of, grant: *grant }),
        UpstreamAuth::NoGrant => None,
    };
    Ok((source, upstream.check(server, core.clock.now())))
}

/// What is sent to the MCP server to authenticate.
#[derive(Debug)]
pub enum UpstreamCredentials {
    /// The server asks for no credentials.
    None,
    /// A header that is the same for all callers.
    Header { name: String, value: SecretString },
    /// A user's access token.
    Session(Box<SessionCredentials>),
}

/// A user's OAuth session, used at the server.
#[derive(Debug)]
pub struct SessionCredentials {
    pub access_token: SecretString,
    pub of: UserId,
    /// The session grant that allows it. `None` if users call for themselves.
    pub grant: Option<GrantId>,
    session: Session,
}

/// What the edge knows about a call, for the policies.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyContext<'a> {
    pub source_ip: Option<IpAddr>,
    pub client_name: Option<&'a str>,
}

impl Access {
    /// Whether the policies permit it to every principal, and which policies do.
    pub fn permits(
        &self,
        operation: Operation<'_>,
        arguments: Option<&RawValue>,
        context: PolicyContext<'_>,
    ) -> Result<Decision> {
        self.policies.decide(self.principals(), &self.facts(operation, arguments, context))
    }

    /// What would have been decided if the policies in mode `log` were enforced, if they have a part in it.
    pub fn would_decide(
        &self,
        operation: Operation<'_>,
        arguments: Option<&RawValue>,
        context: PolicyContext<'_>,
        decided: &Decision,
    ) -> Option<LoggedDecision> {
        self.policies.would_decide(self.principals(), &self.facts(operation, arguments, context), decided)
    }

    /// Whether the policies could permit it to every principal, with some arguments: whether a list shows it.
    pub fn could_permit(&self, operation: Operation<'_>, context: PolicyContext<'_>) -> Result<bool> {
        self.policies.could_permit(self.principals(), &self.facts(operation, None, context))
    }

    fn principals(&self) -> Principals<'_> {
        match &self.caller {
            ProxyCaller::Agent(agent) => Principals::Agent(agent),
            ProxyCaller::OnBehalfOf(agent, user) => Principals::AgentFor(agent, user),
            ProxyCaller::User(user, _) => Principals::User(user),
        }
    }

    fn facts<'a>(
        &'a self,
        operation: Operation<'a>,
        arguments: Option<&'a RawValue>,
        context: PolicyContext<'a>,
    ) -> CallFacts<'a> {
        let PolicyContext { source_ip, client_name } = context;
        CallFacts { server: &self.server, operation, arguments, source_ip, client_name }
    }

    /// The moment at which the reading began that let the caller in.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether what began when the caller was let in before may go on. The caller, the server's address and
    /// the grant must be the same. The connection or header must be the one in use ([`Self::key_of`]). A
    /// connection must still be good.
    pub fn require_as_before(&self, before: &Self, in_use: &str, now: Timestamp) -> Result<()> {
        if self.caller_key() != before.caller_key() {
            return Err(Error::unauthenticated("The credential proves somebody else by now"));
        }
        if self.server.url != before.server.url {
            return Err(Error::forbidden("The MCP server's address was changed"));
        }
        self.upstream.check(&self.server, now)?;
        if self.credential_key() != in_use || self.grant() != before.grant() {
            return Err(Error::forbidden("Other credentials are used at the MCP server by now"));
        }
        Ok(())
    }

    fn grant(&self) -> Option<GrantId> {
        match &self.upstream {
            UpstreamAuth::Session { grant, .. } => *grant,
            UpstreamAuth::NotAsked | UpstreamAuth::Header | UpstreamAuth::NoGrant => None,
        }
    }

    /// Names the caller, where callers must be kept apart.
    pub fn caller_key(&self) -> String {
        match &self.caller {
            ProxyCaller::Agent(agent) => format!("agent:{}", agent.id),
            ProxyCaller::OnBehalfOf(agent, user) => format!("agent:{} for:{}", agent.id, user.id),
            ProxyCaller::User(user, None) => format!("caller:{}", user.id),
            // None of a user's apps goes on with what another has begun, nor with what the user has.
            ProxyCaller::User(user, Some(authorization)) => format!("caller:{} by:{authorization}", user.id),
        }
    }

    /// Whether it is the calling user's own connection that is used, so that they can connect anew.
    pub fn is_by_own_connection(&self) -> bool {
        match (&self.upstream, self.caller.parties()) {
            (UpstreamAuth::Session { of, .. }, Parties { user: Some(user), .. }) => *of == user,
            _ => false,
        }
    }

    /// Whether an agent calls, which needs a session grant beside a connection.
    pub fn is_by_agent(&self) -> bool {
        self.caller.agent().is_some()
    }

    /// Names the caller and the connection or header that they use at the server. Never a credential itself.
    /// Two agents that use one user's connection have different keys, so neither goes on with what the other
    /// has opened. A user who has connected again, perhaps with another account, has a new key too.
    ///
    /// A refresh does not change it. It does not name the server and its address: use it together with them.
    pub fn credential_key(&self) -> String {
        let caller = self.caller_key();
        match &self.upstream {
            UpstreamAuth::Session { session: Some(session), .. } => connection_key(&caller, session),
            UpstreamAuth::Header => {
                format!("{caller} header:{}", self.server.header_id().unwrap_or_default())
            }
            UpstreamAuth::NotAsked | UpstreamAuth::NoGrant | UpstreamAuth::Session { session: None, .. } => {
                caller
            }
        }
    }

    /// [`Self::credential_key`] for the credentials that are used. Their user may have connected again since
    /// the caller was let in.
    pub fn key_of(&self, credentials: &UpstreamCredentials) -> String {
        match credentials {
            UpstreamCredentials::Session(used) => connection_key(&self.caller_key(), &used.session),
            UpstreamCredentials::None | UpstreamCredentials::Header { .. } => self.credential_key(),
        }
    }

    /// The credentials to call the server with. An OAuth session that is about to expire is refreshed first.
    pub async fn credentials(&self, core: &Core, request: &RequestContext) -> Result<UpstreamCredentials> {
        match &self.upstream {
            UpstreamAuth::NotAsked => Ok(UpstreamCredentials::None),
            UpstreamAuth::Header => {
                let (name, value) = self.server.header(core).await?;
                Ok(UpstreamCredentials::Header { name, value })
            }
            UpstreamAuth::NoGrant => Err(Error::NoCredentials),
            UpstreamAuth::Session { session, grant, of } => {
                let session = Stored::clone(session.as_ref().ok_or(Error::SessionNotFound)?);
                let session = ensure_fresh(core, request, &self.server, session, Need::Good).await?;
                let credentials = SessionCredentials::new(core, session, *of, *grant).await?;
                Ok(UpstreamCredentials::Session(Box::new(credentials)))
            }
        }
    }

    /// New credentials of the same user, after the server has refused those that Deputize thought good.
    pub async fn renewed(
        &self,
        core: &Core,
        request: &RequestContext,
        refused: &SessionCredentials,
    ) -> Result<SessionCredentials> {
        let key = Key::session(refused.of, &self.server.id);
        let session = core.table.read_one::<Session>(key).await?.ok_or(Error::SessionNotFound)?;
        let need = Need::Other { than: &refused.session };
        let session = ensure_fresh(core, request, &self.server, session, need).await?;
        SessionCredentials::new(core, session, refused.of, refused.grant).await
    }

    /// The error for a server that asks for more than the session's scope.
    pub fn insufficient_scope(&self, core: &Core, scope: &str) -> Error {
        let (issuer, id) = (&core.settings.issuer, &self.server.id);
        let (wanted, body) = match scope {
            "" => ("a scope that it does not name".to_owned(), String::new()),
            scope => (format!("the scope {scope}"), format!(r#" with {{"scope": "{scope}"}}"#)),
        };
        let connect = path::fill(path::CONNECT, id.as_str());
        Error::InsufficientScope {
            scope: scope.to_owned(),
            detail: format!(
                "The OAuth session that was used lacks {wanted} at this server; its owner must reauthorize: POST \
                 {issuer}{connect}{body}, and open the authorization_url"
            ),
        }
    }
}

fn connection_key(caller: &str, session: &Session) -> String {
    format!("{caller} connection:{}:{}", session.user_id, session.connection_id)
}

impl SessionCredentials {
    async fn new(core: &Core, session: Stored<Session>, of: UserId, grant: Option<GrantId>) -> Result<Self> {
        Ok(Self { access_token: session.access_token(core).await?, of, grant, session: session.value })
    }
}

/// Who is concerned, as far as it is known before anything is read.
fn known_parties(presented: &PresentedCredential, guess: Option<UserId>) -> Option<Parties> {
    match presented {
        PresentedCredential::AgentToken(token) => {
            let user = token.on_behalf_of.map(|(user, _)| user);
            Some(Parties { agent: Some(token.agent), user })
        }
        PresentedCredential::User(_) => guess.map(|user| Parties { agent: None, user: Some(user) }),
    }
}

/// Proves the caller and finds the server. Writes into `event` whose call it is as soon as that is known.
pub async fn admit(
    core: &Core,
    presented: PresentedCredential,
    server_id: &ServerId,
    request: &RequestContext,
    event: &mut Event,
) -> Result<Access> {
    let since = Instant::now();
    if let PresentedCredential::AgentToken(token) = &presented {
        token.require_for(server_id)?;
    }
    if let PresentedCredential::User(UserCredential::App(token)) = &presented {
        token.require_for(|audience| audience.covers(server_id))?;
        token.scopes.require(Scope::ToolsCall, ScopeHolder::AppToken)?;
    }
    let guess = presented.guess(core);
    // Whose grants and sessions to ask for, if the server asked for OAuth last time, as far as it is known
    // before anything is read.
    let asked_for_oauth = core.prefetch_hints.servers.get(server_id) == Some(ServerAuth::OAuth);
    let lookup = known_parties(&presented, guess).filter(|_| asked_for_oauth);
    let lookup = lookup.map(|parties| CredentialLookup::of(core, parties, server_id));
    let (control_key, server_key) = (Control::any_key(core)?, Key::server(server_id));
    let mut keys = presented.keys();
    keys.extend(guess.map(Key::user));
    keys.extend([control_key.clone(), server_key.clone()]);
    if let PresentedCredential::AgentToken(token) = &presented {
        keys.extend(owners::likely_owner(core, token.agent));
    }
    keys.extend(lookup.iter().flat_map(|lookup| lookup.keys(server_id)));
    let mut found = core.table.read(keys).await?;

    let control = found.take::<Control>(&control_key)?.ok_or_else(control::missing)?;
    let (caller, delegation) = match presented {
        PresentedCredential::AgentToken(token) => {
            if token.scope.split(' ').all(|scope| scope != SCOPE) {
                return Err(Error::forbidden("The token's scope does not cover calling tools"));
            }
            let standing = token.check_standing(core, &mut found, control.version_of_keys()).await?;
            if !standing.agent.allows_origin(&core.settings, &request.origin) {
                return Err(Error::Forbidden(Told::of(Reason::OriginNotForAccount, NOT_FOR_ACCOUNT)));
            }
            match standing.on_behalf_of {
                None => (ProxyCaller::Agent(standing.agent), None),
                Some((user, delegation)) => (ProxyCaller::OnBehalfOf(standing.agent, user), Some(delegation)),
            }
        }
        PresentedCredential::User(user) => {
            let keys = control.version_of_keys();
            let caller = user.prove(core, &mut found, guess, Some(keys), request).await?;
            event.user_id = Some(caller.user.id);
            event.credential = Some(caller.credential.to_string());
            caller.require_scope(Scope::ToolsCall)?;
            caller.require_server(server_id)?;
            let app = caller.app.map(|app| app.authorization);
            (ProxyCaller::User(caller.user, app), None)
        }
    };
    let server = found.take::<Server>(&server_key)?.filter(|server| server.active);
    let server = server.ok_or(Error::NotFound(ServerId::WHAT))?.value;
    core.prefetch_hints.servers.insert(server.id.clone(), server.auth);
    require_covered(delegation.as_ref(), &server)?;
    let policies = core.policies_at(control.version_of_policies()).await?;
    let upstream = match server.auth {
        ServerAuth::None => UpstreamAuth::NotAsked,
        ServerAuth::Header => UpstreamAuth::Header,
        ServerAuth::OAuth => {
            let parties = caller.parties();
            let lookup = match lookup.filter(|lookup| lookup.parties == parties) {
                Some(read) => read,
                None => {
                    let lookup = CredentialLookup::of(core, parties, server_id);
                    found = core.table.read(lookup.keys(server_id)).await?;
                    lookup
                }
            };
            lookup.resolve(core, &server.id, &caller, found).await?
        }
    };
    Ok(Access { since, caller, server, policies, upstream })
}

pub(crate) fn require_covered(delegation: Option<&Delegation>, server: &Server) -> Result<()> {
    match delegation {
        Some(delegation) if !delegation.covers(&server.id) => Err(Error::Forbidden(Told::of(
            Reason::DelegationTooNarrow,
            "The user's delegation does not cover this server",
        ))),
        _ => Ok(()),
    }
}

/// Where a caller's credentials for a server can come from.
struct CredentialLookup {
    parties: Parties,
    /// The grantor of the shared grant last time, unless it is the user's own.
    sharing: Option<UserId>,
}

impl CredentialLookup {
    fn of(core: &Core, parties: Parties, server: &ServerId) -> Self {
        let sharing =
            parties.agent.and_then(|agent| core.prefetch_hints.shared.get(&(agent, server.clone())));
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

    /// The order of credentials: the user's own grant, else the shared one, else none.
    async fn resolve(
        self,
        core: &Core,
        server: &ServerId,
        caller: &ProxyCaller,
        mut found: Found,
    ) -> Result<UpstreamAuth> {
        let Some(account) = caller.agent() else {
            let Some(user) = self.parties.user else { return Ok(UpstreamAuth::NoGrant) };
            let session = found.take::<Session>(&Key::session(user, server))?;
            return Ok(upstream(session, None, user));
        };
        let agent = account.id;
        let pair = found.take::<Pair>(&Key::pair(agent, server))?;
        let mut pair = pair.map(|pair| pair.value).unwrap_or_default();
        if let Some(acting_for) = caller.user() {
            let user = acting_for.id;
            let mut own = found.take::<Grant>(&Key::grant(agent, server, user))?.map(|own| own.value);
            if own.as_ref().is_some_and(|own| own.is_inconsistent_with(&pair)) {
                (pair, own) = Box::pin(session_grants::read_consistently(core, agent, server, user)).await?;
            }
            if let Some(own) = own.filter(|own| own.is_active(&pair) && own.is_of(acting_for))
                && stands(core, user, own.made_by.as_ref()).await?
            {
                let session = found.take::<Session>(&Key::session(user, server))?;
                return Ok(upstream(session, Some(own.id), user));
            }
        }
        let Some(shared) = pair.shared else { return Ok(UpstreamAuth::NoGrant) };
        let of = shared.grantor_user_id;
        core.prefetch_hints.shared.insert((agent, server.clone()), of);
        if !stands(core, of, shared.made_by.as_ref()).await? {
            return Ok(UpstreamAuth::NoGrant);
        }
        let (session_key, user_key) = (Key::session(of, server), Key::user(of));
        if self.sharing != Some(of) {
            found = core.table.read(vec![session_key.clone(), user_key.clone()]).await?;
        }
        // A deactivated grantor's session serves no one, also once they are back. Where only managers may share, other users' sessions
        // do not serve.
        let grantor = found.take::<User>(&user_key)?;
        let grantor = grantor.filter(|grantor| grantor.active && shared.is_of(grantor));
        let grantor = grantor.map(|grantor| core.counting_claims(grantor.value));
        if !grantor.is_some_and(|grantor| account.is_shared_by(&grantor, shared.made_by.is_some())) {
            return Ok(UpstreamAuth::NoGrant);
        }
        Ok(upstream(found.take::<Session>(&session_key)?, Some(shared.grant_id), of))
    }
}

/// Whether what an app made still stands. If no app made it, nothing is read.
async fn stands(core: &Core, user: UserId, made_by: Option<&MadeByApp>) -> Result<bool> {
    Ok(app_standing::read(core, [(user, made_by)]).await?.of(made_by))
}

fn upstream(session: Option<Stored<Session>>, grant: Option<GrantId>, of: UserId) -> UpstreamAuth {
    UpstreamAuth::Session { session: session.map(Box::new), grant, of }
}
