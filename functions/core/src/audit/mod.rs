//! The audit trail: which caller did what, whether it was allowed, and why.
//!
//! An event is stored before its caller sees the response. An event of a change is stored in the change's own
//! transaction. Events hold ids and hashes, never secrets and never a tool's arguments.
//!
//! A day's events are spread over 16 partitions by their id, a UUID of version 7. The id gives the day, the partition
//! and the place in it, so it is all that a page's cursor needs. A partition may end its page early, at 1 MB. So a list
//! goes only as far as all partitions have answered ([`crate::trail`]).
//!
//! An event has the time, the id and the place of its storing, not of the call's beginning ([`Record::stored_at`]). They
//! are made when the change is committed or the batch leaves. An attempt that is not carried out within
//! [`WRITTEN_WITHIN`] of that never is. So no event is stored behind a place that a reader has long passed. When the
//! request came is the event's time less its duration.
//!
//! Three secondary indexes (by agent, user and server) serve queries. On AWS they lag by moments. They hold keys only:
//! each token and call pays for what they hold, and queries are rare. The events of a page of entries are one more
//! round trip.
//!
//! Other lists are entries: small items that are written with the event ([`entries`]).
//!
//! | file | holds |
//! | --- | --- |
//! | `changes` | what was before and after a change |
//! | `entries` | the lists that an event is in |
//! | `ocsf` | an event as other systems read it |
//! | `personal` | what says who a person is, and taking it out |
//!
//! Reading the trail is [`crate::trail`].

mod changes;
mod entries;
mod ocsf;
mod personal;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Core,
    clock::{Clock, Random, Timestamp},
    error::Result,
    idempotency_key::IdempotencyKey,
    ids::{AgentAccountId, AppId, EventId, GrantId, ServerId, UserId},
    in_flight::InFlight,
    origins::RequestOrigin,
    preconditions::IfMatch,
    retention::{Ends, RetentionClass},
    table::{Entity, Key, Record, RecordItems, TableOptions, to_item},
    trace::Trace,
};

pub use self::{
    changes::{FieldChange, undo},
    personal::{ERASED, PERSONAL_FIELDS, SourceIp},
};
pub(crate) use self::{
    entries::{AuditEntry, EntriesSince, is_listed_subject},
    personal::Person,
};

/// How long after its time an event can still arrive in the table. A write is given up after
/// [`crate::table::COMMIT_WITHIN`] or [`crate::table::APPEND_WITHIN`], and its last attempt may arrive a
/// little later.
pub const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

/// What the edge knows about a request.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    pub id: Uuid,
    pub source_ip: Option<IpAddr>,
    /// When the request came.
    pub received_at: Option<Timestamp>,
    /// The origin of the web page that it comes from.
    pub origin: RequestOrigin,
    /// Its place in a distributed trace.
    pub trace: Trace,
    /// When the work on it must be done, where the platform sets a limit.
    pub work_until: Option<Instant>,
    /// What is measured during the request.
    pub measured: Arc<Measured>,
    /// The room for its body, and for the answers that it brings.
    pub in_flight: InFlight,
    /// What its client requires of how it is carried out. Shared, since a context is part of each call's state.
    pub terms: Option<Arc<Terms>>,
}

/// What a client requires of how its request is carried out.
#[derive(Clone, Debug)]
pub enum Terms {
    /// Once, however often it is sent under this key.
    Once(IdempotencyKey),
    /// Only if its subject is in such a state.
    IfMatch(IfMatch),
}

/// Measurements for a request's metrics that its answer does not show.
#[derive(Debug, Default)]
pub struct Measured {
    upstream_us: AtomicU64,
    called_upstream: AtomicBool,
    denied: AtomicBool,
}

impl Measured {
    /// Adds time spent waiting for an MCP server.
    pub fn waited_upstream(&self, time: Duration) {
        self.called_upstream.store(true, Ordering::Relaxed);
        self.upstream_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time spent waiting for MCP servers, if any was called.
    pub fn upstream(&self) -> Option<Duration> {
        let called = self.called_upstream.load(Ordering::Relaxed);
        called.then(|| Duration::from_micros(self.upstream_us.load(Ordering::Relaxed)))
    }

    /// Records a denial by delegation or policy. MCP clients do not see it in the HTTP status.
    pub fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    pub fn was_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }
}

impl RequestContext {
    /// Requires that what the request changes is as its client saw it, if the client says how. Asked of what was read for
    /// the change, which requires the same revision still.
    pub(crate) fn require_match(&self, key: &Key, rev: u64) -> Result<()> {
        match self.terms.as_deref() {
            Some(Terms::IfMatch(state)) => state.require(key, rev),
            Some(Terms::Once(_)) | None => Ok(()),
        }
    }

    /// What its client calls it by, so that it can be sent again.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        match self.terms.as_deref() {
            Some(Terms::Once(key)) => Some(key),
            Some(Terms::IfMatch(_)) | None => None,
        }
    }

    /// The same request under other terms.
    #[must_use]
    pub fn under(self, terms: Option<Terms>) -> Self {
        Self { terms: terms.map(Arc::new), ..self }
    }

    /// Milliseconds since the request came.
    pub fn elapsed_ms(&self, now: Timestamp) -> Option<u64> {
        self.received_at.map(|from| u64::try_from(now.as_millis() - from.as_millis()).unwrap_or_default())
    }
}

/// Text in an event is cut to this many characters.
const MAX_TEXT: usize = 512;

macro_rules! actions {
    ($($name:ident = $text:literal,)*) => {
        /// What was done, or attempted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Action { $(#[serde(rename = $text)] $name,)* }

        impl Action {
            pub const ALL: &[&str] = &[$($text,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The action of a name.
            pub fn named(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

actions! {
    TokenIssue = "token.issue",
    TokenIntrospect = "token.introspect",
    TokenRevoke = "token.revoke",
    SignIn = "sign_in",
    SignOut = "sign_out",
    BrowserSessionEnd = "browser_session.end",
    AuthorizationCreate = "authorization.create",
    AuthorizationRevoke = "authorization.revoke",
    AppTokenIssue = "app_token.issue",
    AppRegister = "app.register",
    AppUpdate = "app.update",
    AppDelete = "app.delete",
    AppBlock = "app.block",
    AppUnblock = "app.unblock",
    ToolCall = "tool.call",
    ToolList = "tool.list",
    ResourceRead = "resource.read",
    PromptGet = "prompt.get",
    McpRequest = "mcp.request",
    DelegationCreate = "delegation.create",
    DelegationUpdate = "delegation.update",
    DelegationRevoke = "delegation.revoke",
    GrantCreate = "session_grant.create",
    GrantToggle = "session_grant.toggle",
    GrantRevoke = "session_grant.revoke",
    ConnectionCreate = "connection.create",
    ConnectionRefresh = "connection.refresh",
    ConnectionDelete = "connection.delete",
    AgentCreate = "agent_account.create",
    AgentUpdate = "agent_account.update",
    AgentDelete = "agent_account.delete",
    AgentRestore = "agent_account.restore",
    AgentErase = "agent_account.erase",
    SecretCreate = "client_secret.create",
    SecretRevoke = "client_secret.revoke",
    ClientKeyCreate = "client_key.create",
    ClientKeyDelete = "client_key.delete",
    ApiKeyCreate = "api_key.create",
    ApiKeyRevoke = "api_key.revoke",
    ApiKeyRestore = "api_key.restore",
    ApiKeyErase = "api_key.erase",
    UserCreate = "user.create",
    UserUpdate = "user.update",
    UserOffboard = "user.offboard",
    UserDelete = "user.delete",
    UserRestore = "user.restore",
    UserErase = "user.erase",
    UserProvision = "user.provision",
    IdentityBind = "user.bind_identity",
    ServerCreate = "server.create",
    ServerUpdate = "server.update",
    ServerDelete = "server.delete",
    ServerRestore = "server.restore",
    ServerErase = "server.erase",
    ServerProbe = "server.probe",
    ToolsApprove = "server.approve_tools",
    PolicyCreate = "policy.create",
    PolicyUpdate = "policy.update",
    PolicyDelete = "policy.delete",
    PolicyRestore = "policy.restore",
    PolicyErase = "policy.erase",
    SigningKeyRotate = "signing_key.rotate",
    SigningKeyRevoke = "signing_key.revoke",
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was allowed, and done.
    Allowed,
    /// It was refused: nothing was done.
    Denied,
    /// It was allowed and failed. For a tool call, the MCP server may have been reached.
    Failed,
}

/// What would have been decided about a call if the policies in mode `log` were enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedDecision {
    pub decision: LoggedVerdict,
    /// Those in mode `log` that have a part in it, at most [`MAX_LOGGED_POLICIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Why it would have been denied, if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoggedVerdict {
    Permit,
    Deny,
}

/// How many policies in mode `log` one event names.
pub const MAX_LOGGED_POLICIES: usize = 20;

/// Who acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// An agent, for itself or for a user.
    Agent(AgentAccountId),
    /// A user, by themselves or by an app.
    User(UserId),
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Replaced when the event is stored.
    pub id: EventId,
    /// When it was stored. Until then: the moment to which `duration_ms` refers.
    pub at: Timestamp,
    pub action: Action,
    pub outcome: Outcome,
    #[serde(rename = "audit_agent", skip_serializing_if = "Option::is_none")]
    pub agent_account_id: Option<AgentAccountId>,
    /// The user who acted, or for whom an agent acted.
    #[serde(rename = "audit_user", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(rename = "audit_server", skip_serializing_if = "Option::is_none")]
    pub server_id: Option<ServerId>,
    /// The app that acted as the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<AppId>,
    /// The kind and id of the credential that was used, never the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The token that was issued or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<Uuid>,
    /// What was changed: `user:…`, `policy:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// SHA-256 of the arguments as they came, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments_sha256: Option<String>,
    /// The policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// What those in mode `log` would have decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged: Option<LoggedDecision>,
    /// The user whose OAuth session was used at the server, and the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_of: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// Why it was refused or failed, or what the change is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    pub request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<SourceIp>,
    /// From the request's arrival to the storing of this event, which is `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Record for Event {
    fn items(&self) -> usize {
        self.count_items()
    }

    fn stored_at(&self, now: Timestamp, options: &TableOptions, told: bool) -> Result<RecordItems> {
        let event = self.dated(now, &options.random)?;
        let ttl = event.ends().and_then(|ends| options.retention.removed_at(ends));
        let mut items = vec![to_item(Key::audit_event(event.id), &event, 1, ttl)?];
        items.extend(event.entries(ttl)?);
        let line = told.then(|| ocsf::line(&event)).transpose()?;
        Ok(RecordItems { items, line })
    }
}

impl Entity for Event {
    const KIND: &'static str = "audit event";

    fn ends(&self) -> Option<Ends> {
        Some(Ends { class: RetentionClass::Audit, at: self.at })
    }
}

impl Event {
    /// An event of something that was allowed. [`Self::denied`] and [`Self::failed`] change that.
    pub fn new(core: &Core, request: &RequestContext, action: Action) -> Result<Self> {
        Self::of(&core.clock, &core.random, request, action)
    }

    /// [`Self::new`], for work that has no core.
    pub(crate) fn of(
        clock: &Clock,
        random: &Random,
        request: &RequestContext,
        action: Action,
    ) -> Result<Self> {
        let at = clock.now();
        Ok(Self {
            id: EventId(random.uuid_at(at)?),
            at,
            action,
            outcome: Outcome::Allowed,
            agent_account_id: None,
            user_id: None,
            server_id: None,
            client_id: None,
            credential: None,
            token_id: None,
            subject: None,
            tool: None,
            arguments_sha256: None,
            policies: Vec::new(),
            logged: None,
            credentials_of: None,
            grant_id: None,
            detail: None,
            changes: Vec::new(),
            request_id: request.id,
            source_ip: request.source_ip.map(SourceIp::Known),
            duration_ms: request.elapsed_ms(at),
        })
    }

    /// The event as it is stored at this moment.
    fn dated(&self, now: Timestamp, random: &Random) -> Result<Self> {
        let since = u64::try_from(now.as_millis() - self.at.as_millis()).unwrap_or_default();
        Ok(Self {
            id: EventId(random.uuid_at(now)?),
            at: now,
            duration_ms: self.duration_ms.map(|before| before.saturating_add(since)),
            ..self.clone()
        })
    }

    /// Who acted, by the credential that was used. `None` if nothing was proven, or if it was the operator.
    pub fn actor(&self) -> Option<Actor> {
        let kind =
            self.credential.as_deref().map(|credential| credential.split(':').next().unwrap_or_default());
        match kind {
            Some("client_secret" | "client_key" | "agent_token") => self.agent_account_id.map(Actor::Agent),
            Some("operator") => None,
            _ => self.user_id.map(Actor::User),
        }
    }

    /// The user for whom an agent acted.
    pub fn on_behalf_of(&self) -> Option<UserId> {
        self.user_id.filter(|_| matches!(self.actor(), Some(Actor::Agent(_))))
    }

    #[must_use]
    pub fn agent(self, agent: AgentAccountId) -> Self {
        Self { agent_account_id: Some(agent), ..self }
    }

    #[must_use]
    pub fn server(self, server: ServerId) -> Self {
        Self { server_id: Some(server), ..self }
    }

    #[must_use]
    pub fn about(self, kind: &str, id: impl fmt::Display) -> Self {
        Self { subject: Some(format!("{kind}:{id}")), ..self }
    }

    #[must_use]
    pub fn note(self, text: impl AsRef<str>) -> Self {
        Self { detail: Some(text.as_ref().chars().take(MAX_TEXT).collect()), ..self }
    }

    #[must_use]
    pub fn denied(self, why: impl AsRef<str>) -> Self {
        Self { outcome: Outcome::Denied, ..self }.note(why)
    }

    #[must_use]
    pub fn failed(self, why: impl AsRef<str>) -> Self {
        Self { outcome: Outcome::Failed, ..self }.note(why)
    }
}
