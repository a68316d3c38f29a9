//! The one DynamoDB table.
//!
//! | file | holds |
//! | --- | --- |
//! | `key` | every kind of item and its key: the table's table of contents |
//! | `item` | structs to items and back |
//! | `coalesce` | many callers' requests in one round trip |
//! | `read` | strongly consistent batch reads and paginated queries |
//! | `write` | changes of several items as one transaction, and appending audit events |
//! | `schema` | the table itself and its audit indexes |
//! | `failure` | what the SDK's errors mean to us |
//! | `stats` | requests and capacity, counted |

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

use self::{coalesce::Coalescer, read::ReadBatch, write::AppendBatch};
pub use self::{
    item::{Entity, Item, Stored, to_item},
    key::{AuditIndex, Key},
    read::{Found, Page, Query},
    schema::create_table,
    stats::{Stats, StatsSnapshot},
    write::{Attempt, Change, settle},
};

/// How this process uses its table.
#[derive(Clone, Debug)]
pub struct TableOptions {
    pub name: String,
    /// Round trips of one kind at a time; what is asked for meanwhile shares the next one. An embedded
    /// store answers one request at a time and wants 1, a remote one wants many.
    pub round_trips_at_once: usize,
    /// Ask for and count the capacity that each request consumes.
    pub measure: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { name: "deputize".to_owned(), round_trips_at_once: 32, measure: false }
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
    reads: Coalescer<ReadBatch>,
    appends: Coalescer<AppendBatch>,
}

impl Table {
    pub fn new(client: Client, options: TableOptions) -> Self {
        let stats = Arc::new(Stats::default());
        let at_once = options.round_trips_at_once.max(1);
        let reads = ReadBatch::new(client.clone(), options.clone(), Arc::clone(&stats));
        let appends = AppendBatch::new(client.clone(), options.clone(), Arc::clone(&stats));
        Self(Arc::new(Inner {
            client,
            options,
            stats,
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

    /// What this process has asked of the table so far.
    pub fn stats(&self) -> StatsSnapshot {
        self.0.stats.snapshot()
    }
}

/// Bounds on each DynamoDB request: three attempts of at most a second, three seconds in all. A caller
/// waits no longer than that to learn that the store is gone.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(3))
        .build()
}

/// The SDK's standard retries: throttles, time-outs and lost connections are tried again with jitter.
/// Every write of ours is safe to repeat (see `write`).
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3)
}
