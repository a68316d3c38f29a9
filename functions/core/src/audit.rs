//! The audit trail: who did what to what, whether it was allowed, and why. An event is stored before its
//! caller sees the response; an event of a change is stored in the change's own transaction. Events hold
//! ids and hashes, never secrets and never a tool's arguments.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Core,
    caller::UserCaller,
    clock::{Timestamp, first_uuid_at, uuid_time},
    error::{Error, Result},
    ids::{AgentAccountId, EventId, GrantId, ServerId, UserId},
    origins::RequestOrigin,
    paging::{Listing, PageRequest},
    table::{AuditIndex, Entity, Key, Query, Stored},
    trace::Trace,
};

/// What the edge knows of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub id: Uuid,
    pub source_ip: Option<IpAddr>,
    /// When the request came.
    pub received_at: Option<Timestamp>,
    /// Whose web page it comes from.
    pub origin: RequestOrigin,
    /// Its place in a distributed trace.
    pub trace: Trace,
    /// When the work on it must be done, where the platform sets a limit.
    pub work_until: Option<Instant>,
    /// What is measured of it.
    pub measured: Arc<Measured>,
}

/// What a request's metrics say that its answer does not show.
#[derive(Debug, Default)]
pub struct Measured {
    upstream_us: AtomicU64,
    called_upstream: AtomicBool,
    denied: AtomicBool,
}

impl Measured {
    /// Adds a time for which an MCP server was waited for.
    pub fn waited_upstream(&self, time: Duration) {
        self.called_upstream.store(true, Ordering::Relaxed);
        self.upstream_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long MCP servers were waited for, if any was called.
    pub fn upstream(&self) -> Option<Duration> {
        let called = self.called_upstream.load(Ordering::Relaxed);
        called.then(|| Duration::from_micros(self.upstream_us.load(Ordering::Relaxed)))
    }

    /// Notes a refusal by delegation or policy, which MCP clients are not told by HTTP.
    pub fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    pub fn was_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }
}

impl Request {
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
        }
    };
}

actions! {
    TokenIssue = "token.issue",
    TokenIntrospect = "token.introspect",
    TokenRevoke = "token.revoke",
    ToolCall = "tool.call",
    ToolList = "tool.list",
    ResourceRead = "resource.read",
    PromptGet = "prompt.get",
    McpRequest = "mcp.request",
    DelegationCreate = "delegation.create",
    DelegationRevoke = "delegation.revoke",
    GrantCreate = "session_grant.create",
    GrantToggle = "session_grant.toggle",
    GrantRevoke = "session_grant.revoke",
    ConnectionCreate = "connection.create",
    ConnectionRefresh = "connection.refresh",
    ConnectionDelete = "connection.delete",
    AgentCreate = "agent_account.create",
    AgentUpdate = "agent_account.update",
    SecretCreate = "client_secret.create",
    SecretRevoke = "client_secret.revoke",
    ClientKeyCreate = "client_key.create",
    ClientKeyDelete = "client_key.delete",
    ApiKeyCreate = "api_key.create",
    ApiKeyRevoke = "api_key.revoke",
    UserCreate = "user.create",
    UserUpdate = "user.update",
    UserProvision = "user.provision",
    ServerCreate = "server.create",
    ServerUpdate = "server.update",
    ToolsApprove = "server.approve_tools",
    PolicyCreate = "policy.create",
    PolicyUpdate = "policy.update",
    PolicyDelete = "policy.delete",
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
    /// It was allowed, and failed: for a tool call, the upstream server may have been reached.
    Failed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    pub at: Timestamp,
    pub action: Action,
    pub outcome: Outcome,
    #[serde(rename = "audit_agent", skip_serializing_if = "Option::is_none")]
    pub agent_account_id: Option<AgentAccountId>,
    /// Who acted, or who was acted for.
    #[serde(rename = "audit_user", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(rename = "audit_server", skip_serializing_if = "Option::is_none")]
    pub server_id: Option<ServerId>,
    /// Which credential was used: its kind and id, never itself.
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
    /// Whose OAuth session was used upstream, and by which grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_of: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// Why it was refused or failed, or what it was changed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<IpAddr>,
    /// From the request's coming to this event's writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Entity for Event {
    const KIND: &'static str = "audit event";
}

impl Event {
    /// An event of something that was allowed; [`Self::denied`] and [`Self::failed`] say otherwise.
    pub fn new(core: &Core, request: &Request, action: Action) -> Result<Self> {
        let at = core.clock.now();
        Ok(Self {
            id: EventId(core.random.uuid_at(at)?),
            at,
            action,
            outcome: Outcome::Allowed,
            agent_account_id: None,
            user_id: None,
            server_id: None,
            credential: None,
            token_id: None,
            subject: None,
            tool: None,
            arguments_sha256: None,
            policies: Vec::new(),
            credentials_of: None,
            grant_id: None,
            detail: None,
            request_id: request.id,
            source_ip: request.source_ip,
            duration_ms: request.elapsed_ms(at),
        })
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

/// Which events. All that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub agent_account_id: Option<AgentAccountId>,
    pub user_id: Option<UserId>,
    pub server_id: Option<ServerId>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// How far back a query without an agent, user or server reaches, and the longest range it may name: it
/// looks at each day's partitions.
const WITHOUT_SUBJECT: Duration = Duration::from_hours(31 * 24);

impl Filter {
    fn matches(&self, event: &Event) -> bool {
        self.agent_account_id.is_none_or(|agent| event.agent_account_id == Some(agent))
            && self.user_id.is_none_or(|user| event.user_id == Some(user))
            && self.server_id.as_ref().is_none_or(|server| event.server_id.as_ref() == Some(server))
    }

    /// The index to ask: the one whose partitions are likely the smallest.
    fn index(&self) -> Option<(AuditIndex, String)> {
        let user = self.user_id.map(|id| (AuditIndex::User, id.to_string()));
        let agent = || self.agent_account_id.map(|id| (AuditIndex::Agent, id.to_string()));
        let server = || self.server_id.as_ref().map(|id| (AuditIndex::Server, id.to_string()));
        user.or_else(agent).or_else(server)
    }
}

/// Events, newest first. Admins see all, others those that they acted in or were acted for in.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    mut filter: Filter,
    page: &PageRequest,
) -> Result<Listing<Event>> {
    if !caller.user.is_admin() {
        if filter.user_id.is_some_and(|user| user != caller.user.id) {
            return Err(Error::forbidden("Only an admin may see other users' audit events"));
        }
        filter.user_id = Some(caller.user.id);
    }
    let now = core.clock.now();
    let to = filter.to.unwrap_or(now);
    let from = filter.from.unwrap_or_else(|| to.minus(WITHOUT_SUBJECT));
    if from > to {
        return Err(Error::invalid("from must not be after to"));
    }
    let before: Option<EventId> = match page.cursor() {
        Some(cursor) => Some(cursor.parse().map_err(|_| Error::invalid("cursor is not one of this list"))?),
        None => None,
    };
    let (low, high) = (first_uuid_at(from), first_uuid_at(to.plus(Duration::from_millis(1))));
    // A cursor bounds the work only inside of the range, and anybody can make one up. Before the range there
    // is nothing, after it lies all of it.
    if before.is_some_and(|id| id.0 < low) {
        return Ok(Listing { items: Vec::new(), next: None });
    }
    let range = Range { low, high, before: before.filter(|id| id.0 < high) };
    match filter.index() {
        Some((index, partition)) => list_index(core, &filter, page.limit(), index, &partition, &range).await,
        None if to.as_millis() - from.as_millis()
            > i64::try_from(WITHOUT_SUBJECT.as_millis()).unwrap_or(i64::MAX) =>
        {
            Err(Error::invalid("name an agent, a user or a server, or a range of at most 31 days"))
        }
        None => list_days(core, page.limit(), from, to, &range).await,
    }
}

/// Ids from `low` to `high`, and before the last one of the page before.
struct Range {
    low: Uuid,
    high: Uuid,
    before: Option<EventId>,
}

/// How many pages of an index one request looks through for events that match the rest of the filter. The
/// answer may then hold fewer events than asked for, and a cursor to go on with.
const MAX_LOOKS: usize = 5;

async fn list_index(
    core: &Core,
    filter: &Filter,
    limit: usize,
    index: AuditIndex,
    partition: &str,
    range: &Range,
) -> Result<Listing<Event>> {
    let mut after = range.before.map(Key::audit_event);
    let mut items = Vec::new();
    for _ in 0..MAX_LOOKS {
        let query = Query::index(index, partition, limit)
            .between(range.low.to_string(), range.high.to_string())
            .newest_first()
            .after(after);
        let page = core.table.query::<Event>(query).await?;
        for event in page.items.into_iter().map(|stored| stored.value).filter(|event| filter.matches(event)) {
            if items.len() == limit {
                let next = items.last().map(|event: &Event| PageRequest::encode(&event.id.to_string()));
                return Ok(Listing { items, next });
            }
            items.push(event);
        }
        after = page.next;
        if after.is_none() {
            return Ok(Listing { items, next: None });
        }
    }
    let next = after.map(|key| PageRequest::encode(&key.sk));
    Ok(Listing { items, next })
}

/// All events of some days: each day's shards are read at once and merged by id, the newest day first.
async fn list_days(
    core: &Core,
    limit: usize,
    from: Timestamp,
    to: Timestamp,
    range: &Range,
) -> Result<Listing<Event>> {
    const DAY: Duration = Duration::from_hours(24);
    let start = range.before.and_then(|id| uuid_time(id.0)).unwrap_or(to);
    let mut day = start;
    let mut items: Vec<Event> = Vec::new();
    while day.as_seconds().div_euclid(86_400) >= from.as_seconds().div_euclid(86_400) {
        let shards = (0..Key::AUDIT_SHARDS).map(|shard| async move {
            let partition = Key::audit_partition(day, shard);
            let high = range.before.map_or(range.high, |id| id.0);
            let query = Query::partition(&partition, limit + 1)
                .between(range.low.to_string(), high.to_string())
                .newest_first();
            core.table.query::<Event>(query).await
        });
        let pages = try_join_all(shards).await?;
        let mut events: Vec<Stored<Event>> = pages.into_iter().flat_map(|page| page.items).collect();
        events.retain(|event| Some(event.id) != range.before);
        events.sort_unstable_by_key(|event| std::cmp::Reverse(event.id));
        items.extend(events.into_iter().map(|stored| stored.value));
        if items.len() > limit {
            items.truncate(limit);
            let next = items.last().map(|event| PageRequest::encode(&event.id.to_string()));
            return Ok(Listing { items, next });
        }
        day = day.minus(DAY);
    }
    Ok(Listing { items, next: None })
}
