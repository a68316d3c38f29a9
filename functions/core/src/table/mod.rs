//! The one DynamoDB table.
//!
//! | file | holds |
//! | --- | --- |
//! | `key` | every kind of item and its key: the table's table of contents |
//! | `item` | structs to items and back |
//! | `coalesce` | many callers' requests in one round trip |
//! | `read` | strongly consistent batch reads and paginated queries, and what a read shows of a change under way |
//! | `write` | changes of several items as one transaction, and appending audit events |
//! | `schema` | the table itself and its audit indexes |
//! | `failure` | what the SDK's errors mean to us |
//! | `stats` | requests and capacity, counted |
//!
//! The table has `pk` and `sk`. Its rules:
//!
//! - **A key follows from what a call has in hand.** A delegation is at (agent, user), and a grant at (agent, user,
//!   server). So they are read, not searched. Their ids are for people: a *pointer* item leads from the id to the key.
//! - **Lists query entries.** An *entry* is a small item (in `USERS`, `AGENTS`, `SERVERS`, or in the partition of the
//!   user who owns or delegated something). A list queries the entries and then reads the items, both strongly
//!   consistent. So a caller sees what it has just made. Pointers and entries are written in the transaction of the
//!   items that they lead to. They hold ids only, so nothing in them becomes stale. Those of a
//!   sorted list have in their key what it is sorted by; the item says whether it still has them ([`crate::listed`]).
//! - **One item for a fact about many.** What is true of all grants of an (agent, server) pair is in one item
//!   ([`crate::session_grants`]). The versions of policies and signing keys are in one item, with 16 copies
//!   ([`crate::control`]).
//! - **An item that ends has a `ttl`,** its end and the retention of its kind ([`crate::retention`]). Each write asks
//!   `Entity::ends`, so an item that lives again loses it. DynamoDB deletes up to two days late, item by item and in any
//!   order. So no decision depends on what is gone: the item says whether it is over, a list leaves out an entry without
//!   its item, and a delegation or grant is made the same way whichever of its parts are still there. Pairs never have a
//!   `ttl`, since their generations must not begin anew. Nor have policies and signing keys, which are in force by a
//!   digest. An item without a `ttl` has a bound, in the table of `key`.
//! - **Decisions read strongly consistent.** Nothing that was read for one call serves another. The audit log alone has
//!   secondary indexes, and no decision uses them ([`crate::audit`]).
//! - **Cost does not grow** with the number of other items. Nothing scans, and each list is a page of one partition, or
//!   of a few.

mod coalesce;
mod failure;
mod item;
mod key;
mod read;
mod schema;
mod stats;
mod write;

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
};

pub(crate) use self::write::Backoff;
use self::{coalesce::Coalescer, read::ReadBatch, write::AppendBatch};
pub use self::{
    item::{Entity, Item, Stored, to_item},
    key::{AuditIndex, AuditList, Key, Partition},
    read::{Condition, Found, PAGE_SIZE, Page, Query},
    schema::create_table,
    stats::{Stats, StatsSnapshot},
    write::{
        APPEND_WITHIN, COMMIT_WITHIN, Change, CommitError, Outlet, Record, RecordItems, retry_on_conflict,
    },
};
use crate::{
    clock::{Clock, Random},
    retention::Retention,
};

/// How this process uses its table.
#[derive(Clone, Debug)]
pub struct TableOptions {
    pub name: String,
    /// How many round trips of one kind run at the same time. Requests that come in the meantime share the
    /// next one. An embedded store answers one request at a time and needs 1; a remote one needs many.
    pub round_trips_at_once: usize,
    /// Ask for the consumed capacity of each request, and count it.
    pub measure: bool,
    /// The source of transaction tokens, revisions and ids of events.
    pub random: Random,
    /// The clock for the times of events.
    pub clock: Clock,
    /// How long ended items are kept.
    pub retention: Retention,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            name: "deputize".to_owned(),
            round_trips_at_once: 32,
            measure: false,
            random: Random::System,
            clock: Clock::System,
            retention: Retention::default(),
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Table(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    options: TableOptions,
    stats: Arc<Stats>,
    outlet: write::MaybeOutlet,
    reads: Coalescer<ReadBatch>,
    appends: Coalescer<AppendBatch>,
}

impl Table {
    /// How long items are kept after their end.
    pub(crate) fn retention(&self) -> Retention {
        self.0.options.retention
    }

    pub fn new(client: Client, options: TableOptions) -> Self {
        let stats = Arc::new(Stats::default());
        let at_once = options.round_trips_at_once.max(1);
        let reads = ReadBatch::new(client.clone(), options.clone(), Arc::clone(&stats));
        let outlet = write::MaybeOutlet::default();
        let appends =
            AppendBatch::new(client.clone(), options.clone(), Arc::clone(&stats), Arc::clone(&outlet));
        Self(Arc::new(Inner {
            client,
            options,
            stats,
            outlet,
            reads: Coalescer::new(reads, at_once),
            appends: Coalescer::new(appends, at_once),
        }))
    }

    pub fn client(&self) -> &Client {
        &self.0.client
    }

    pub fn name(&self) -> &str {
        &self.0.options.name
    }

    /// The requests of this process to the table so far.
    pub fn stats(&self) -> StatsSnapshot {
        self.0.stats.snapshot()
    }
}

/// Limits for each DynamoDB request: three attempts of at most one second, three seconds in total. A caller
/// waits no longer to learn that the store is down.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(3))
        .build()
}

/// The SDK's standard retries: throttled requests, time-outs and lost connections are repeated with jitter.
/// All our writes can safely be repeated. Changes are repeated as often, but by [`Table::commit`].
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3)
}
