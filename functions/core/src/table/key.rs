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
//! | … session grants given (entry) | `USER#{user}` | `GRANT#{agent}#{server}` | one for each account and server; goes with the grant |
//! | agent accounts that a group owns (entry) | `GROUP#{sha256}` | `AGENT#{agent}` | one for each account |
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
//! | policy | `POLICIES` | `POLICY#{id}` | 2,000, with the next |
//! | policy in mode `log` | `POLICIES` | `LOGGED#{id}` | as those in force |
//! | control versions (copies) | `CONTROL#{n}` | `CONTROL` | 16 |
//! | list of trusted issuers | `CONTROL#ISSUERS` | `{sha256}` | as many as an operator stores |
//! | token signing key | `SIGNING_KEYS` | `KEY#{kid}` | 10, and those that a rotation drops |
//! | MCP session key | `MCP_SESSION_KEYS` | `{week}` | three weeks |
//! | revoked token | `REVOKED#{jti}` | `REVOKED` | as long as what it ends could live |
//! | used client assertion | `ASSERTION#{agent, or sha256 of an app}#{sha256}` | `ASSERTION` | as long as it would be believed |
//! | what a request with an `Idempotency-Key` came to | `ONCE#{sha256}` | `ONCE` | a day |
//! | deleted thing | `DELETED#{kind}#{id}` | `DELETED` | until it is restored, or erased after 30 days |
//! | list of deleted things (entries) | `DELETED_LIST#{kind}` | when it is erased, and `{id}` | one for each |
//! | that a thing was deleted | `GONE#{sha256}` | `GONE` | 30 days |
//! | audit event | `AUDIT#{day}#{shard}` | `{event}` | goes after a while |
//! | … in the list of what it is about (entry) | `AUDIT#SUBJECT#{sha256}` | `{event}` | goes with the event |
//! | … of its action, if that is not frequent (entry) | `AUDIT#ACTION#{action}` | `{event}` | goes with the event |
//! | … of what was denied or failed (entry) | `AUDIT#REFUSED#{shard}` | `{event}` | goes with the event |
//! | … of its tool (entry) | `AUDIT#TOOL#{server}#{sha256}#{shard}` | `{event}` | goes with the event |
//! | … of its app (entry) | `AUDIT#APP#{sha256}#{shard}` | `{event}` | goes with the event |
//! | … of whose personal data it has, if another did it (entry) | `AUDIT#PERSON#{user}` | `{event}` | goes with the event |
//! | how far an erased user was taken out of events | `AUDIT#ERASED#{user}` | `ERASED` | 90 days |
//! | since when events have entries | `AUDIT#ENTRIES` | `SINCE` | one |
//! | lists of all users, agents, servers (entries) | `USERS`, `AGENTS`, `SERVERS` | `{id}` | one for each |
//! | users, agents, servers in other orders (entries) | `USERS#…`, `AGENTS#…`, `SERVERS#…` | what they are sorted by, and `{id}` | some for each: [`crate::listed`] |
//! | delegations that name a server (entry) | `AT_SERVER#{server}` | `DELEGATION#{agent}#{user}` | one for each delegation and server; goes with the delegation |
//! | delegations that name none (entry) | `AT_SERVER#EVERY` | `DELEGATION#{agent}#{user}` | one for each delegation; goes with it |
//! | session grants at a server (entry) | `AT_SERVER#{server}` | `GRANT#{agent}#{user}` | one for each grant; goes with it |
//! | OAuth sessions at a server (entry) | `AT_SERVER#{server}` | `SESSION#{user}` | one for each session; goes with it |
//! | which of these lists are complete | `CONTROL#LISTS` | `LISTS` | one |
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// By the hash of the group's name, which comes from outside.
    pub fn agent_of_group(group: &str, agent: AgentAccountId) -> Self {
        Self::new(Partition::agents_of_group(group).pk, format!("AGENT#{agent}"))
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

    /// A policy that is not enforced. Its key is another, so that a process that does not know of the mode does not read
    /// it.
    pub fn logged_policy(id: PolicyId) -> Self {
        Self::new("POLICIES", format!("LOGGED#{id}"))
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

    /// The id of an MCP server is an admin's, and has no `#`.
    pub fn deleted(kind: &str, id: &str) -> Self {
        Self::new(format!("DELETED#{kind}#{id}"), "DELETED")
    }

    pub fn deleted_entry(kind: &str, until: Timestamp, id: &str) -> Self {
        Self::new(Partition::deleted(kind).pk, format!("{until}#{id}"))
    }

    /// By the hash of the key that the thing had.
    pub fn gone(key: &Self) -> Self {
        Self::new(format!("GONE#{}", sha256_hex(format!("{}\0{}", key.pk, key.sk).as_bytes())), "GONE")
    }

    /// A secret or key of an account's, which is in the account's item: what it is called when it is gone.
    pub fn client_credential(agent: AgentAccountId, credential: uuid::Uuid) -> Self {
        Self::new(format!("AGENT#{agent}"), format!("CREDENTIAL#{credential}"))
    }

    /// By the hash of what the client called its request by, and of who the client is.
    pub fn once(caller: &str, key: &str) -> Self {
        Self::new(format!("ONCE#{}", sha256_hex(format!("{caller}\0{key}").as_bytes())), "ONCE")
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

    /// An entry in a list that is sorted by something. The id makes it the only one. Between the two is a character that
    /// comes before all others, so that `ann` is before `ann b`.
    pub fn sorted(list: &Partition, by: &str, id: &str) -> Self {
        Self::new(&*list.pk, format!("{by}\u{1}{id}"))
    }

    pub fn delegation_at(server: &ServerId, agent: AgentAccountId, user: UserId) -> Self {
        Self::new(Partition::delegations_at(server).pk, format!("DELEGATION#{agent}#{user}"))
    }

    pub fn delegation_everywhere(agent: AgentAccountId, user: UserId) -> Self {
        Self::new(Partition::delegations_everywhere().pk, format!("DELEGATION#{agent}#{user}"))
    }

    pub fn grant_given(user: UserId, agent: AgentAccountId, server: &ServerId) -> Self {
        Self::new(format!("USER#{user}"), format!("GRANT#{agent}#{server}"))
    }

    pub fn grant_at(server: &ServerId, agent: AgentAccountId, user: UserId) -> Self {
        Self::new(Partition::grants_at(server).pk, format!("GRANT#{agent}#{user}"))
    }

    pub fn session_at(server: &ServerId, user: UserId) -> Self {
        let list = Partition::sessions_at(server);
        Self::new(list.pk, format!("{}{user}", list.prefix))
    }

    pub fn complete_lists() -> Self {
        Self::new("CONTROL#LISTS", "LISTS")
    }

    /// How many partitions hold a day's events. One takes 1,000 small writes a second.
    pub const AUDIT_SHARDS: u8 = 16;

    pub fn audit_partition(day: Timestamp, shard: u8) -> String {
        format!("AUDIT#{}#{shard:x}", &day.to_string()[..10])
    }

    /// The id determines the partition. So an id is enough to continue a list after it.
    pub fn audit_event(id: EventId) -> Self {
        let day = uuid_time(id.0).unwrap_or(Timestamp::from_millis(0));
        Self::new(Self::audit_partition(day, Self::audit_shard(id)), id.to_string())
    }

    fn audit_shard(id: EventId) -> u8 {
        id.0.as_bytes()[15] % Self::AUDIT_SHARDS
    }

    /// An event's entry in a list. In a list with several partitions it is in the one of the event's number.
    pub fn audit_entry(list: &AuditList, id: EventId) -> Self {
        Self::new(list.partition(Self::audit_shard(id)), id.to_string())
    }

    /// How far a user was taken out of the events.
    pub fn audit_erased(user: UserId) -> Self {
        Self::new(format!("AUDIT#ERASED#{user}"), "ERASED")
    }

    pub fn audit_entries_since() -> Self {
        Self::new("AUDIT#ENTRIES", "SINCE")
    }
}

/// Lists of events, beside that of each day. They have no time in their keys: a partition grows without a bound, and a
/// range of it costs what is in the range.
///
/// One partition takes 1,000 entries a second (Amazon DynamoDB Developer Guide, "Partitions"). Those that calls write
/// to have as many as a day has. So a tool, an app, or what is refused, can be as frequent as events can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditList {
    /// By the hash of it, since some name themselves.
    Subject(String),
    Action(&'static str),
    /// What was denied or has failed.
    Refused,
    /// By the hash of its name, which its server chooses.
    Tool(ServerId, String),
    /// By the hash of its id.
    App(AppId),
    /// Events of others that have a person's personal data.
    Person(UserId),
}

impl AuditList {
    fn is_sharded(&self) -> bool {
        match self {
            Self::Subject(_) | Self::Action(_) | Self::Person(_) => false,
            Self::Refused | Self::Tool(..) | Self::App(_) => true,
        }
    }

    fn partition(&self, shard: u8) -> String {
        let hash = |text: &str| sha256_hex(text.as_bytes());
        match self {
            Self::Subject(subject) => format!("AUDIT#SUBJECT#{}", hash(subject)),
            Self::Action(action) => format!("AUDIT#ACTION#{action}"),
            Self::Refused => format!("AUDIT#REFUSED#{shard:x}"),
            Self::Tool(server, tool) => format!("AUDIT#TOOL#{server}#{}#{shard:x}", hash(tool)),
            Self::App(app) => format!("AUDIT#APP#{}#{shard:x}", hash(app.as_str())),
            Self::Person(user) => format!("AUDIT#PERSON#{user}"),
        }
    }

    /// All partitions of the list.
    pub fn partitions(&self) -> Vec<String> {
        let shards = if self.is_sharded() { Key::AUDIT_SHARDS } else { 1 };
        (0..shards).map(|shard| self.partition(shard)).collect()
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

    /// Those of the list whose sort key begins so.
    #[must_use]
    pub fn beginning(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// What was deleted of a kind, what is erased first before the others.
    pub fn deleted(kind: &str) -> Self {
        Self::new(format!("DELETED_LIST#{kind}"), "")
    }

    pub fn users_by_email() -> Self {
        Self::new("USERS#EMAIL", "")
    }

    pub fn users_by_name() -> Self {
        Self::new("USERS#NAME", "")
    }

    pub fn users_of_role(role: &str) -> Self {
        Self::new(format!("USERS#ROLE#{role}"), "")
    }

    pub fn inactive_users() -> Self {
        Self::new("USERS#INACTIVE", "")
    }

    /// A group's name is any text, so it is at the end.
    pub fn users_in_group(group: &str) -> Self {
        Self::new(format!("USERS#GROUP#{group}"), "")
    }

    pub fn agents_by_name() -> Self {
        Self::new("AGENTS#NAME", "")
    }

    pub fn inactive_agents() -> Self {
        Self::new("AGENTS#INACTIVE", "")
    }

    pub fn agents_owned_by_group(group: &str) -> Self {
        Self::new(format!("AGENTS#OWNING_GROUP#{group}"), "")
    }

    pub fn agents_in_group(group: &str) -> Self {
        Self::new(format!("AGENTS#GROUP#{group}"), "")
    }

    pub fn agents_owned_by(owner: UserId) -> Self {
        Self::new(format!("AGENTS#OWNER#{owner}"), "")
    }

    /// By name, with the users who own each.
    pub fn agents_by_owners() -> Self {
        Self::new("AGENTS#OWNERS", "")
    }

    pub fn agents_for_everyone() -> Self {
        Self::new("AGENTS#FOR_EVERYONE", "")
    }

    pub fn agents_for_group(group: &str) -> Self {
        Self::new(format!("AGENTS#FOR_GROUP#{group}"), "")
    }

    pub fn servers_by_name() -> Self {
        Self::new("SERVERS#NAME", "")
    }

    pub fn delegations_at(server: &ServerId) -> Self {
        Self::new(format!("AT_SERVER#{server}"), "DELEGATION#")
    }

    /// No server has this id: ids are in lower case.
    pub fn delegations_everywhere() -> Self {
        Self::new("AT_SERVER#EVERY", "DELEGATION#")
    }

    pub fn grants_at(server: &ServerId) -> Self {
        Self::new(format!("AT_SERVER#{server}"), "GRANT#")
    }

    pub fn sessions_at(server: &ServerId) -> Self {
        Self::new(format!("AT_SERVER#{server}"), "SESSION#")
    }

    pub fn grants_of(agent: AgentAccountId) -> Self {
        Self::new(format!("AGENT#{agent}"), "GRANT#")
    }

    pub fn apps() -> Self {
        Self::new("APPS", "")
    }

    pub fn app_blocks() -> Self {
        Self::new("APP_BLOCKS", "")
    }

    /// Those of both modes.
    pub fn policies() -> Self {
        Self::new("POLICIES", "")
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

    pub fn agents_of_group(group: &str) -> Self {
        Self::new(format!("GROUP#{}", sha256_hex(group.as_bytes())), "AGENT#")
    }

    pub fn sessions_of(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "SESSION#")
    }

    pub fn token_families_of(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "FAMILY#")
    }

    pub fn grants_given_by(user: UserId) -> Self {
        Self::new(format!("USER#{user}"), "GRANT#")
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
