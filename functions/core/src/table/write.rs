//! Changes of several items as one transaction, and appending audit events.
//!
//! Every change is a `TransactWriteItems` with the SDK's idempotency token: a repeated request whose first
//! answer was lost changes nothing twice and reports success. Conditions compare an item's revision, so
//! two changes that read the same state cannot both go through: one of them has [`Attempt::Raced`], reads
//! again, and decides again ([`settle`]).

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ConditionCheck, Delete, Put, PutRequest, TransactWriteItem, WriteRequest},
};

use super::{
    Key, Stored, Table, TableOptions,
    coalesce::{Batch, Failure},
    failure::{Cancelled, cancelled, failure},
    item::{Entity, Item, key_attributes, to_item},
    read::consumed_capacity,
    stats::Stats,
};
use crate::{
    audit::Event,
    clock::Timestamp,
    error::{Error, Result},
};

/// Items to write together or not at all.
#[derive(Debug, Default)]
pub struct Change {
    items: Vec<TransactWriteItem>,
}

const ABSENT: &str = "attribute_not_exists(pk)";
const ABSENT_OR_EXPIRED: &str = "attribute_not_exists(pk) OR #ttl <= :now";
const UNCHANGED: &str = "rev = :rev";

impl Change {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Writes an item that must not be there yet.
    pub fn create<T: Entity>(&mut self, key: Key, value: &T) -> Result<&mut Self> {
        self.put(to_item(key, value, 1, None)?, Some(ABSENT), None)
    }

    /// [`Self::create`], to be removed some time after `expires`.
    pub fn create_expiring<T: Entity>(
        &mut self,
        key: Key,
        value: &T,
        expires: Timestamp,
    ) -> Result<&mut Self> {
        self.put(to_item(key, value, 1, Some(expires))?, Some(ABSENT), None)
    }

    /// [`Self::create_expiring`], also in the place of an item whose time has come: until it is removed, days
    /// may pass.
    pub fn create_anew<T: Entity>(
        &mut self,
        key: Key,
        value: &T,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<&mut Self> {
        let put = Put::builder()
            .table_name(String::new())
            .set_item(Some(to_item(key, value, 1, Some(expires))?))
            .condition_expression(ABSENT_OR_EXPIRED)
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":now", AttributeValue::N(now.as_seconds().to_string()))
            .build()
            .map_err(Error::internal)?;
        self.items.push(TransactWriteItem::builder().put(put).build());
        Ok(self)
    }

    /// Writes an item whatever is there, to be removed some time after `expires`.
    pub fn put_expiring<T: Entity>(&mut self, key: Key, value: &T, expires: Timestamp) -> Result<&mut Self> {
        self.put(to_item(key, value, 1, Some(expires))?, None, None)
    }

    /// Writes over an item that must still be as it was read.
    pub fn replace<T: Entity>(&mut self, key: Key, value: &T, read_at: u64) -> Result<&mut Self> {
        self.put(to_item(key, value, read_at + 1, None)?, Some(UNCHANGED), Some(read_at))
    }

    /// [`Self::replace`] if something was read, [`Self::create`] if nothing was.
    pub fn write<T: Entity, U>(&mut self, key: Key, value: &T, was: Option<&Stored<U>>) -> Result<&mut Self> {
        match was {
            Some(was) => self.replace(key, value, was.rev),
            None => self.create(key, value),
        }
    }

    /// Deletes an item that must still be as it was read.
    pub fn delete(&mut self, key: &Key, read_at: u64) -> Result<&mut Self> {
        let delete = Delete::builder()
            .table_name(String::new())
            .set_key(Some(key_attributes(key)))
            .condition_expression(UNCHANGED)
            .expression_attribute_values(":rev", AttributeValue::N(read_at.to_string()))
            .build()
            .map_err(Error::internal)?;
        self.items.push(TransactWriteItem::builder().delete(delete).build());
        Ok(self)
    }

    /// Requires that an item is still as it was read.
    pub fn require(&mut self, key: &Key, read_at: u64) -> Result<&mut Self> {
        let check = ConditionCheck::builder()
            .table_name(String::new())
            .set_key(Some(key_attributes(key)))
            .condition_expression(UNCHANGED)
            .expression_attribute_values(":rev", AttributeValue::N(read_at.to_string()))
            .build()
            .map_err(Error::internal)?;
        self.items.push(TransactWriteItem::builder().condition_check(check).build());
        Ok(self)
    }

    /// Stores an audit event with the change: neither is there without the other.
    pub fn record(&mut self, event: &Event) -> Result<&mut Self> {
        self.put(to_item(Key::audit_event(event.id), event, 1, None)?, None, None)
    }

    fn put(&mut self, item: Item, condition: Option<&str>, rev: Option<u64>) -> Result<&mut Self> {
        let mut put = Put::builder()
            .table_name(String::new())
            .set_item(Some(item))
            .set_condition_expression(condition.map(str::to_owned));
        if let Some(rev) = rev {
            put = put.expression_attribute_values(":rev", AttributeValue::N(rev.to_string()));
        }
        let put = put.build().map_err(Error::internal)?;
        self.items.push(TransactWriteItem::builder().put(put).build());
        Ok(self)
    }
}

/// Why one attempt at a change did not succeed.
#[derive(Debug)]
pub enum Attempt {
    /// What was read is no longer so.
    Raced,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Table {
    /// Makes the change, whole or not at all.
    pub async fn commit(&self, change: Change) -> Result<(), Attempt> {
        let options = &self.0.options;
        let items = change.items.into_iter().map(|item| in_table(item, &options.name)).collect();
        let sent = self
            .0
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .set_return_consumed_capacity(consumed_capacity(options))
            .send()
            .await;
        match sent {
            Ok(output) => {
                self.0.stats.count("TransactWriteItems", output.consumed_capacity());
                Ok(())
            }
            Err(error) => match cancelled(&error) {
                Cancelled::Raced => Err(Attempt::Raced),
                Cancelled::Failed(lost @ Failure::Lost(_)) => {
                    Err(Attempt::Failed(Error::from(lost).undecided()))
                }
                Cancelled::Failed(failure) => Err(Attempt::Failed(failure.into())),
            },
        }
    }

    /// Stores an audit event of something that changes no other item. It is stored when this returns.
    pub async fn append(&self, event: &Event) -> Result<()> {
        self.0.appends.ask(to_item(Key::audit_event(event.id), event, 1, None)?).await
    }
}

fn in_table(mut item: TransactWriteItem, table: &str) -> TransactWriteItem {
    if let Some(put) = &mut item.put {
        table.clone_into(&mut put.table_name);
    }
    if let Some(delete) = &mut item.delete {
        table.clone_into(&mut delete.table_name);
    }
    if let Some(check) = &mut item.condition_check {
        table.clone_into(&mut check.table_name);
    }
    item
}

/// How long racing changes try before the caller is asked to come back, and the longest pause between.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
const LONGEST_PAUSE_MILLIS: u64 = 64;

/// Repeats `attempt`, which reads and then commits, until nobody else was faster.
pub async fn settle<T, F>(attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, Attempt>>,
{
    let started = tokio::time::Instant::now();
    let mut bound = 1;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Attempt::Failed(error)) => return Err(error),
            Err(Attempt::Raced) if started.elapsed() > SETTLE_WITHIN => {
                return Err(Error::unavailable("too many changes to the same item at once"));
            }
            Err(Attempt::Raced) => {
                bound = (bound * 2).min(LONGEST_PAUSE_MILLIS);
                let mut jitter = [0; 8];
                aws_lc_rs::rand::fill(&mut jitter).map_err(Error::internal)?;
                tokio::time::sleep(Duration::from_millis(u64::from_ne_bytes(jitter) % bound)).await;
            }
        }
    }
}

/// `BatchWriteItem` of audit events, shared by whoever appends at the same time. Repeating it is safe:
/// an event's key is its own id.
pub(super) struct AppendBatch {
    client: Client,
    options: TableOptions,
    stats: Arc<Stats>,
}

impl AppendBatch {
    pub(super) fn new(client: Client, options: TableOptions, stats: Arc<Stats>) -> Self {
        Self { client, options, stats }
    }
}

impl Batch for AppendBatch {
    type Request = Item;
    type Answer = ();
    /// Items in one `BatchWriteItem` (DynamoDB API Reference).
    const CAPACITY: usize = 25;

    fn weight(_: &Item) -> usize {
        1
    }

    async fn run(&self, items: Vec<Item>) -> Result<Vec<()>, Failure> {
        let count = items.len();
        let internal = |error: aws_sdk_dynamodb::error::BuildError| Failure::Internal(error.to_string());
        let mut left = items
            .into_iter()
            .map(|item| {
                let put = PutRequest::builder().set_item(Some(item)).build().map_err(internal)?;
                Ok(WriteRequest::builder().put_request(put).build())
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut pause = Duration::from_millis(25);
        for _ in 0..5 {
            let output = self
                .client
                .batch_write_item()
                .request_items(&self.options.name, left)
                .set_return_consumed_capacity(consumed_capacity(&self.options))
                .send()
                .await
                .map_err(|error| failure(&error))?;
            self.stats.count("BatchWriteItem", output.consumed_capacity());
            left = output.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
            if left.is_empty() {
                return Ok(vec![(); count]);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Failure::Refused("the store left audit events unwritten".to_owned()))
    }
}
