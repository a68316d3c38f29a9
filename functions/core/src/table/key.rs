//! Every kind of item, and its key.
//!
//! | item | partition key | sort key |
//! | --- | --- | --- |
//! | user | `USER#{user}` | `USER` |
//! | … the user's API key | `USER#{user}` | `KEY#{key}` |
//! | … OAuth session at a server | `USER#{user}` | `SESSION#{server}` |
//! | … agent accounts owned (entry) | `USER#{user}` | `AGENT#{agent}` |
//! | … delegations made (entry) | `USER#{user}` | `DELEGATION#{agent}` |
//! | user by email (pointer) | `EMAIL#{email}` | `USER` |
//! | user by issuer and subject (pointer) | `IDENTITY#{sha256}` | `USER` |
//! | agent account, with its secrets and keys | `AGENT#{agent}` | `AGENT` |
//! | … a delegation to it | `AGENT#{agent}` | `DELEGATION#{user}` |
//! | … a user's session grant | `AGENT#{agent}` | `GRANT#{user}#{server}` |
//! | … the grants' pair | `AGENT#{agent}` | `PAIR#{server}` |
//! | delegation by id (pointer) | `DELEGATION#{id}` | `DELEGATION` |
//! | grant by id (pointer) | `GRANT#{id}` | `GRANT` |
//! | MCP server | `SERVER#{server}` | `SERVER` |
//! | … its approved tools | `SERVER#{server}` | `PINS#{version}` |
//! | … our OAuth client at an issuer | `SERVER#{server}` | `CLIENT#{sha256}` |
//! | OAuth connection under way | `CONNECTING#{sha256}` | `CONNECTING` |
//! | policy | `POLICIES` | `POLICY#{id}` |
//! | control versions (copies) | `CONTROL#{n}` | `CONTROL` |
//! | token signing key | `SIGNING_KEYS` | `KEY#{kid}` |
//! | MCP session key | `MCP_SESSION_KEYS` | `{week}` |
//! | revoked token | `REVOKED#{jti}` | `REVOKED` |
//! | used client assertion | `ASSERTION#{agent}#{sha256}` | `ASSERTION` |
//! | audit event | `AUDIT#{day}#{shard}` | `{event}` |
//! | lists of all users, agents, servers (entries) | `USERS`, `AGENTS`, `SERVERS` | `{id}` |
//!
//! An *entry* or a *pointer* holds ids only, and is written in the same transaction as the item it leads
//! to. Lists query entries and then read the items, both strongly consistently, so that a list shows what
//! its caller has just changed. Only the audit log has secondary indexes.

use crate::{
    clock::{Timestamp, uuid_time},
    ids::{AgentAccountId, ApiKeyId, DelegationId, EventId, GrantId, PolicyId, ServerId, UserId},
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

    pub fn delegation_made(user: UserId, agent: AgentAccountId) -> Self {
        Self::new(format!("USER#{user}"), format!("DELEGATION#{agent}"))
    }

    /// `email` must be normalized (see [`crate::users::Email`]).
    pub fn user_by_email(email: &crate::users::Email) -> Self {
        Self::new(format!("EMAIL#{email}"), "USER")
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
        Self::new(format!("SERVER#{server}"), format!("CLIENT#{}", sha256_hex(issuer.as_bytes())))
    }

    /// By the hash of its `state`, so that whoever reads the table cannot finish it.
    pub fn connecting(state: &str) -> Self {
        Self::new(format!("CONNECTING#{}", sha256_hex(state.as_bytes())), "CONNECTING")
    }

    pub fn policy(id: PolicyId) -> Self {
        Self::new("POLICIES", format!("POLICY#{id}"))
    }

    /// How many copies of the control versions there are. Every call reads one, and one partition serves
    /// 3,000 strongly consistent reads a second; a change writes all, in one transaction.
    pub const CONTROL_COPIES: u8 = 16;

    pub fn control(copy: u8) -> Self {
        Self::new(format!("CONTROL#{}", copy % Self::CONTROL_COPIES), "CONTROL")
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

    /// By the hash of its `jti`, which is the client's own text. Each in a partition of its own: one takes
    /// 1,000 writes a second.
    pub fn used_assertion(client: AgentAccountId, jti: &str) -> Self {
        Self::new(format!("ASSERTION#{client}#{}", sha256_hex(jti.as_bytes())), "ASSERTION")
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

    /// How many partitions a day's events are spread over; one takes 1,000 small writes a second.
    pub const AUDIT_SHARDS: u8 = 16;

    pub fn audit_partition(day: Timestamp, shard: u8) -> String {
        format!("AUDIT#{}#{shard:x}", &day.to_string()[..10])
    }

    /// The partition follows from the id, so that an id alone is enough to continue a list after it.
    pub fn audit_event(id: EventId) -> Self {
        let day = uuid_time(id.0).unwrap_or(Timestamp::from_millis(0));
        let shard = id.0.as_bytes()[15] % Self::AUDIT_SHARDS;
        Self::new(Self::audit_partition(day, shard), id.to_string())
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
