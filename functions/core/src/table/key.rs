//! Every kind of item, and its key.
//!
//! | item | partition key | sort key | how many, or how long |
//! | --- | --- | --- | --- |
//! | user | `USER#{user}` | `USER` | as many as admins make and issuers provision |
//! | … the user's API key | `USER#{user}` | `KEY#{key}` | 100; goes after its end |
//! | … OAuth session at a server | `USER#{user}` | `SESSION#{server}` | one for each server |
//! | … agent accounts owned (entry) | `USER#{user}` | `AGENT#{agent}` | one for each account |
//! | … session in a browser | `USER#{user}` | `BROWSER#{session}` | 50; goes at its end |
//! | … what they allowed an app | `USER#{user}` | `AUTHORIZATION#{authorization}` | 200; goes at its end |
//! | … refresh tokens of an app | `USER#{user}` | `FAMILY#{family}` | one for each code; a year after the user allowed the app |
//! | … delegations made (entry) | `USER#{user}` | `DELEGATION#{agent}` | one for each account; goes with the delegation |
//! | user by email (pointer) | `EMAIL#{canonical form}` | `USER` | one for each user |
//! | user by issuer and subject (pointer) | `IDENTITY#{sha256}` | `USER` | 10 for each user |
//! | browser session by the provider's `sid` (pointer) | `SID#{sha256}` | `{session}` | goes with the session, at its end |
//! | sign-in that has been finished | `SIGN_IN#{sha256}` | `SIGN_IN` | 15 minutes |
//! | our secrets at sign-in providers | `SIGN_IN_SECRETS` | `SIGN_IN_SECRETS` | one |
//! | logout token that has been used | `LOGOUT#{sha256}` | `LOGOUT` | 15 minutes |
//! | agent account, with its secrets and keys | `AGENT#{agent}` | `AGENT` | as many as admins make |
//! | … a delegation to it | `AGENT#{agent}` | `DELEGATION#{user}` | one for each user; goes after its end |
//! | … a user's session grant | `AGENT#{agent}` | `GRANT#{user}#{server}` | one for each user and server; goes after its end |
//! | … the grants' pair | `AGENT#{agent}` | `PAIR#{server}` | one for each server; never goes |
//! | … what began a generation of theirs | `AGENT#{agent}` | `PROMOTION#{server}#{generation}` | goes after a while |
//! | delegation by id (pointer) | `DELEGATION#{id}` | `DELEGATION` | goes with the delegation |
//! | grant by id (pointer) | `GRANT#{id}` | `GRANT` | goes with the grant |
//! | MCP server | `SERVER#{server}` | `SERVER` | as many as admins make |
//! | … its approved tools | `SERVER#{server}` | `PINS#{version}` | one, with 2,000 tools |
//! | … our OAuth client at an issuer | `SERVER#{server}` | `CLIENT#{sha256}` | 20 |
//! | app that an admin registered or blocked | `APP#{sha256}` | `APP` | as many as admins make |
//! | key of dynamic registrations | `APP_KEYS` | `REGISTRATION` | one |
//! | host that an admin blocked apps of | `APP_HOST#{host}` | `APP_HOST` | as many as admins make |
//! | authorization code | `CODE#{sha256}` | `CODE` | 60 seconds; a redeemed one as long as what it gave could live |
//! | OAuth connection under way | `CONNECTING#{sha256}` | `CONNECTING` | 10 minutes |
//! | policy | `POLICIES` | `POLICY#{id}` | 2,000 |
//! | control versions (copies) | `CONTROL#{n}` | `CONTROL` | 16 |
//! | list of trusted issuers | `CONTROL#ISSUERS` | `{sha256}` | as many as an operator stores |
//! | token signing key | `SIGNING_KEYS` | `KEY#{kid}` | 10, and those that a rotation drops |
//! | MCP session key | `MCP_SESSION_KEYS` | `{week}` | three weeks |
//! | revoked token | `REVOKED#{jti}` | `REVOKED` | as long as what it ends could live |
//! | used client assertion | `ASSERTION#{agent, or sha256 of an app}#{sha256}` | `ASSERTION` | as long as it would be believed |
//! | audit event | `AUDIT#{day}#{shard}` | `{event}` | goes after a while |
//! | lists of all users, agents, servers (entries) | `USERS`, `AGENTS`, `SERVERS` | `{id}` | one for each |
//! | lists of registered apps, of blocks (entries) | `APPS`, `APP_BLOCKS` | `{sha256}`, or the host | one for each |
//!
//! What goes, and when, is told in [`crate::retention`].
//!
//! Pointers and entries are explained in [`super`]. Keys begin with their kind, so IAM can limit a function to the
//! kinds that it works with (`dynamodb:LeadingKeys`).

use crate::{
    clock::{Timestamp, uuid_time},
    email::Email,
    ids::{
        AgentAccountId, ApiKeyId, AppId, AuthorizationId, BrowserSessionId, DelegationId, EventId, GrantId,
        PolicyId, ServerId, TokenFamilyId, UserId,
    },
    secret::sha256_hex,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub pk: String,
    pub sk: String,
}

impl Key {
    fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    pub fn user(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "USER")
    }

    pub fn api_key(user: UserId, key: ApiKeyId) -> Self {
        Self::new(format!("USER#{user}"), format!("KEY#{key}"))
    }

    pub fn session(user: UserId, server: &ServerId) -> Self {
        Self::new(format!("USER#{user}"), format!("SESSION#{server}"))
    }

    pub fn owned_agent(owner: UserId, agent: AgentAccountId) -> Self {
        Self::new(format!("USER#{owner}"), format!("AGENT#{agent}"))
    }

    pub fn browser_session(user: UserId, session: BrowserSessionId) -> Self {
        Self::new(format!("USER#{user}"), format!("BROWSER#{session}"))
    }

    /// What a browser session's ID token is sealed for. It is no item's key: the function that signs people in opens the
    /// token, and must not be able to open anything else in the user's partition.
    pub fn id_token(user: UserId, session: BrowserSessionId) -> Self {
        Self::new(format!("ID_TOKEN#{session}"), user.to_string())
    }

    /// By the hash of what the provider calls its session, since it chooses the text.
    pub fn provider_session(issuer: &str, sid: &str, session: BrowserSessionId) -> Self {
        Self::new(Partition::provider_session(issuer, sid).pk, session.to_string())
    }

    /// By the hash of its `state`.
    pub fn finished_sign_in(state: &str) -> Self {
        Self::new(format!("SIGN_IN#{}", sha256_hex(state.as_bytes())), "SIGN_IN")
    }

    pub fn sign_in_secrets() -> Self {
        Self::new("SIGN_IN_SECRETS", "SIGN_IN_SECRETS")
    }

    /// By the hash of the token's `jti`, since its issuer chooses the text.
    pub fn used_logout_token(issuer: &str, jti: &str) -> Self {
        Self::new(format!("LOGOUT#{}", sha256_hex(format!("{issuer}\0{jti}").as_bytes())), "LOGOUT")
    }

    pub fn authorization(user: UserId, authorization: AuthorizationId) -> Self {
        Self::new(format!("USER#{user}"), format!("AUTHORIZATION#{authorization}"))
    }

    pub fn token_family(user: UserId, family: TokenFamilyId) -> Self {
        Self::new(format!("USER#{user}"), format!("FAMILY#{family}"))
    }

    /// By the hash of the app's id, which may be long.
    pub fn app(app: &AppId) -> Self {
        Self::new(format!("APP#{}", sha256_hex(app.as_str().as_bytes())), "APP")
    }

    /// By the host that an app is from.
    pub fn app_host(host: &str) -> Self {
        Self::new(format!("APP_HOST#{host}"), "APP_HOST")
    }

    /// By the hash of the app's id.
    pub fn app_entry(app: &AppId) -> Self {
        Self::new("APPS", sha256_hex(app.as_str().as_bytes()))
    }

    /// By the hash of the app's id, or by the host.
    pub fn app_block(id: &str) -> Self {
        Self::new("APP_BLOCKS", id)
    }

    pub fn registration_key() -> Self {
        Self::new("APP_KEYS", "REGISTRATION")
    }

    /// By the hash of the code, so that a reader of the table cannot redeem it.
    pub fn authorization_code(code: &str) -> Self {
        Self::new(format!("CODE#{}", sha256_hex(code.as_bytes())), "CODE")
    }

    pub fn delegation_made(user: UserId, agent: AgentAccountId) -> Self {
        Self::new(format!("USER#{user}"), format!("DELEGATION#{agent}"))
    }

    pub fn user_by_email(email: &Email) -> Self {
        Self::new(format!("EMAIL#{}", email.canonical()), "USER")
    }

    /// Where a pointer by email may lead from, the deciding one first. Addresses beyond ASCII were at the lower case
    /// of how they were written, before they had a canonical form.
    pub fn users_by_email(email: &Email) -> impl Iterator<Item = Self> {
        let former = email.former().map(|former| Self::new(format!("EMAIL#{former}"), "USER"));
        std::iter::once(Self::user_by_email(email)).chain(former)
    }

    pub fn user_by_identity(issuer: &str, subject: &str) -> Self {
        let hash = sha256_hex(format!("{issuer}\0{subject}").as_bytes());
        Self::new(format!("IDENTITY#{hash}"), "USER")
    }

    pub fn agent(agent: AgentAccountId) -> Self {
        Self::new(format!("AGENT#{agent}"), "AGENT")
    }

    pub fn delegation(agent: AgentAccountId, user: UserId) -> Self {
        Self::new(format!("AGENT#{agent}"), format!("DELEGATION#{user}"))
    }

    pub fn grant(agent: AgentAccountId, server: &ServerId, grantor: UserId) -> Self {
        Self::new(format!("AGENT#{agent}"), format!("GRANT#{grantor}#{server}"))
    }

    pub fn pair(agent: AgentAccountId, server: &ServerId) -> Self {
        Self::new(format!("AGENT#{agent}"), format!("PAIR#{server}"))
    }

    pub fn promotion(agent: AgentAccountId, server: &ServerId, generation: u64) -> Self {
        Self::new(format!("AGENT#{agent}"), format!("PROMOTION#{server}#{generation}"))
    }

    pub fn delegation_by_id(id: DelegationId) -> Self {
        Self::new(format!("DELEGATION#{id}"), "DELEGATION")
    }

    pub fn grant_by_id(id: GrantId) -> Self {
        Self::new(format!("GRANT#{id}"), "GRANT")
    }

    pub fn server(server: &ServerId) -> Self {
        Self::new(format!("SERVER#{server}"), "SERVER")
    }

    pub fn pins(server: &ServerId, version: u64) -> Self {
        Self::new(format!("SERVER#{server}"), format!("PINS#{version}"))
    }

    pub fn oauth_client(server: &ServerId, issuer: &str) -> Self {
        Self::new(format!("SERVER#{server}"), Self::oauth_client_sort_key(issuer))
    }

    pub fn oauth_client_sort_key(issuer: &str) -> String {
        format!("CLIENT#{}", sha256_hex(issuer.as_bytes()))
    }

    /// By the hash of its `state`, so that a reader of the table cannot finish the connection.
    pub fn connecting(state: &str) -> Self {
        Self::new(format!("CONNECTING#{}", sha256_hex(state.as_bytes())), "CONNECTING")
    }

    pub fn policy(id: PolicyId) -> Self {
        Self::new("POLICIES", format!("POLICY#{id}"))
    }

    /// How many copies of the control item there are. Every call reads one, and one partition serves 3,000
    /// strongly consistent reads a second. A change writes all of them in one transaction.
    pub const CONTROL_COPIES: u8 = 16;

    pub fn control(copy: u8) -> Self {
        Self::new(format!("CONTROL#{}", copy % Self::CONTROL_COPIES), "CONTROL")
    }

    /// By the hash that a deployment's configuration names.
    pub fn trusted_issuers(hash: &str) -> Self {
        Self::new("CONTROL#ISSUERS", hash)
    }

    pub fn signing_key(kid: &str) -> Self {
        Self::new("SIGNING_KEYS", format!("KEY#{kid}"))
    }

    pub fn mcp_session_key(period: u32) -> Self {
        Self::new("MCP_SESSION_KEYS", period.to_string())
    }

    pub fn revoked_token(jti: uuid::Uuid) -> Self {
        Self::new(format!("REVOKED#{jti}"), "REVOKED")
    }

    /// By the hash of the `jti`, since the client chooses its text. Each is in a partition of its own, since
    /// one partition takes 1,000 writes a second.
    pub fn used_assertion(client: AgentAccountId, jti: &str) -> Self {
        Self::new(format!("ASSERTION#{client}#{}", sha256_hex(jti.as_bytes())), "ASSERTION")
    }

    /// The same of an app, whose id is text from outside.
    pub fn used_assertion_of_app(app: &AppId, jti: &str) -> Self {
        let app = sha256_hex(app.as_str().as_bytes());
        Self::new(format!("ASSERTION#{app}#{}", sha256_hex(jti.as_bytes())), "ASSERTION")
    }

    pub fn user_entry(user: UserId) -> Self {
        Self::new("USERS", user.to_string())
    }

    pub fn agent_entry(agent: AgentAccountId) -> Self {
        Self::new("AGENTS", agent.to_string())
    }

    pub fn server_entry(server: &ServerId) -> Self {
        Self::new("SERVERS", server.to_string())
    }

    /// How many partitions hold a day's events. One takes 1,000 small writes a second.
    pub const AUDIT_SHARDS: u8 = 16;

    pub fn audit_partition(day: Timestamp, shard: u8) -> String {
        format!("AUDIT#{}#{shard:x}", &day.to_string()[..10])
    }

    /// The id determines the partition. So an id is enough to continue a list after it.
    pub fn audit_event(id: EventId) -> Self {
        let day = uuid_time(id.0).unwrap_or(Timestamp::from_millis(0));
        let shard = id.0.as_bytes()[15] % Self::AUDIT_SHARDS;
        Self::new(Self::audit_partition(day, shard), id.to_string())
    }
}

/// Items that are listed together: those of a partition, or those of them whose sort keys begin with something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub pk: String,
    pub prefix: String,
}

impl Partition {
    fn new(pk: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { pk: pk.into(), prefix: prefix.into() }
    }

    pub fn users() -> Self {
        Self::new("USERS", "")
    }

    pub fn agents() -> Self {
        Self::new("AGENTS", "")
    }

    pub fn servers() -> Self {
        Self::new("SERVERS", "")
    }

    pub fn apps() -> Self {
        Self::new("APPS", "")
    }

    pub fn app_blocks() -> Self {
        Self::new("APP_BLOCKS", "")
    }

    pub fn policies() -> Self {
        Self::new("POLICIES", "POLICY#")
    }

    pub fn signing_keys() -> Self {
        Self::new("SIGNING_KEYS", "KEY#")
    }

    pub fn api_keys_of(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "KEY#")
    }

    pub fn browser_sessions_of(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "BROWSER#")
    }

    /// The browser sessions of one session at the provider.
    pub fn provider_session(issuer: &str, sid: &str) -> Self {
        Self::new(format!("SID#{}", sha256_hex(format!("{issuer}\0{sid}").as_bytes())), "")
    }

    pub fn authorizations_of(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "AUTHORIZATION#")
    }

    pub fn agents_of(owner: UserId) -> Self {
        Self::new(format!("USER#{owner}"), "AGENT#")
    }

    pub fn delegations_by(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "DELEGATION#")
    }

    pub fn delegations_to(agent: AgentAccountId) -> Self {
        Self::new(format!("AGENT#{agent}"), "DELEGATION#")
    }

    pub fn grants_by(agent: AgentAccountId, grantor: UserId) -> Self {
        Self::new(format!("AGENT#{agent}"), format!("GRANT#{grantor}#"))
    }

    pub fn pairs(agent: AgentAccountId) -> Self {
        Self::new(format!("AGENT#{agent}"), "PAIR#")
    }

    /// Those of the server that an item is about.
    pub fn oauth_clients(server: &Key) -> Self {
        Self::new(&*server.pk, "CLIENT#")
    }
}

/// The secondary indexes: audit events by whom or what they concern, sorted by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditIndex {
    Agent,
    User,
    Server,
}

impl AuditIndex {
    pub const ALL: [Self; 3] = [Self::Agent, Self::User, Self::Server];

    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "audit_by_agent",
            Self::User => "audit_by_user",
            Self::Server => "audit_by_server",
        }
    }

    /// The attribute that is the index's partition key.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Agent => "audit_agent",
            Self::User => "audit_user",
            Self::Server => "audit_server",
        }
    }
}
