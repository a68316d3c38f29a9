//! Changes of several items as one transaction, and appending audit events.
//!
//! A change is a `TransactWriteItems` of the items, conditional on the revisions that were read, their pointers and
//! entries, and the audit event. It has a token of its own, which is sent with each attempt. DynamoDB remembers for ten
//! minutes what it has done under a token. So a repeated request whose first answer was lost changes nothing twice, and
//! reports success. (An emulator that forgets tokens takes the second attempt for another change, whose condition
//! fails.)
//!
//! **Losing a race.** Conditions compare an item's revision. Of two changes that read the same state, one gets
//! [`CommitError::ConditionFailed`], reads again and decides again ([`retry_on_conflict`]). After ten seconds of losing, the answer is 503. If
//! two transactions met over an item (`TransactionConflict`), nothing is known about the items. So [`Table::commit`]
//! sends the change again by itself, for up to three seconds. A conflict beside a failed condition is a race: the other
//! item was read, and has changed.
//!
//! **The store fails.** A request is tried three times within three seconds, and the rest of a partly done batch five
//! times. Then the answer is a 503 with `Retry-After`. Its text distinguishes two cases: each attempt was refused, so
//! nothing was changed; or an attempt may have been carried out, so all was changed or nothing. The SDK reports its
//! last attempt only. So the attempts at a change are made here.
//!
//! If the event of a call cannot be stored, the result is withheld, the 503 says that the tool has run, and the log has
//! the request's id.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{self, retry::RetryConfig},
    types::{AttributeValue, ConditionCheck, Delete, Put, PutRequest, TransactWriteItem, WriteRequest},
};

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{
    Key, Stored, Table, TableOptions,
    coalesce::{Batch, Failure},
    failure::{Cancelled, cancelled, failure},
    item::{Entity, Item, key_attributes, set_rev, set_ttl, to_item, without_rev},
    read::consumed_capacity,
    stats::Stats,
};
use crate::{
    clock::{Random, Timestamp},
    error::{Error, Result},
    retention::Ends,
};

/// Something that is written once, such as an audit event with the entries that list it. Nothing of it changes later, but
/// that an erased person is taken out of an event.
pub trait Record: std::fmt::Debug + Send + Sync {
    /// How many items it is.
    fn items(&self) -> usize;

    /// The items as they are stored now. They get their id and their time when the request leaves that stores them.
    /// `told`: whether an outlet wants to know.
    fn stored_at(&self, now: Timestamp, options: &TableOptions, told: bool) -> Result<RecordItems>;
}

/// What is stored of a record.
#[derive(Debug, Default)]
pub struct RecordItems {
    pub items: Vec<Item>,
    /// What leaves once it is stored.
    pub line: Option<String>,
}

/// Where records go once they are stored: see [`Table::tell`].
pub trait Outlet: std::fmt::Debug + Send + Sync {
    /// One line for each record, without its line break. It must not wait for long.
    fn tell(&self, lines: &[String]);
}

/// The outlet of a process, if it has one.
pub(super) type MaybeOutlet = Arc<OnceLock<Arc<dyn Outlet>>>;

fn tell(outlet: &MaybeOutlet, lines: &[String]) {
    if let Some(outlet) = outlet.get().filter(|_| !lines.is_empty()) {
        outlet.tell(lines);
    }
}

/// Items to write together or not at all. Those that are made get a revision when it is committed, all the same one.
#[derive(Debug, Default)]
pub struct Change {
    items: Vec<TransactWriteItem>,
    /// What its caller rests on. It is checked in the same transaction.
    caller: Vec<TransactWriteItem>,
    /// Those that end, by their places: what their retention is, is known when the change is committed.
    ends: Vec<(usize, Ends)>,
    records: Vec<Arc<dyn Record>>,
    /// The revision of what is made, if it was asked for before.
    first_rev: Option<u64>,
}

const ABSENT: &str = "attribute_not_exists(pk)";
const ABSENT_OR_EXPIRED: &str = "attribute_not_exists(pk) OR #ttl <= :now";
const UNCHANGED: &str = "rev = :rev";

impl Change {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.records.is_empty()
    }

    /// Lets the change be made only while an item that its caller rests on is there and has these attributes, or has
    /// them not if they are `None`. If it is not so, that is no race: whoever tries again is another caller, or none.
    pub(crate) fn only_while(&mut self, key: &Key, has: &[(&str, Option<AttributeValue>)]) -> Result<()> {
        let mut check =
            ConditionCheck::builder().table_name(String::new()).set_key(Some(key_attributes(key)));
        let mut conditions = vec!["attribute_exists(pk)".to_owned()];
        for (index, (name, value)) in has.iter().enumerate() {
            check = check.expression_attribute_names(format!("#n{index}"), *name);
            match value {
                Some(value) => {
                    conditions.push(format!("#n{index} = :v{index}"));
                    check = check.expression_attribute_values(format!(":v{index}"), value.clone());
                }
                None => conditions.push(format!("attribute_not_exists(#n{index})")),
            }
        }
        let check = check.condition_expression(conditions.join(" AND ")).build().map_err(Error::internal)?;
        self.caller.push(TransactWriteItem::builder().condition_check(check).build());
        Ok(())
    }

    /// Writes an item that must not be there yet.
    pub fn create<T: Entity>(&mut self, key: Key, value: &T) -> Result<&mut Self> {
        self.next_ends(value.ends());
        self.put(without_rev(key, value, None)?, Some(ABSENT), None)
    }

    /// [`Self::create`], to be removed some time after `expires`.
    pub fn create_expiring<T: Entity>(
        &mut self,
        key: Key,
        value: &T,
        expires: Timestamp,
    ) -> Result<&mut Self> {
        self.put(without_rev(key, value, Some(expires))?, Some(ABSENT), None)
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
            .set_item(Some(without_rev(key, value, Some(expires))?))
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
        self.put(without_rev(key, value, Some(expires))?, None, None)
    }

    /// Writes an item whatever is there, for what another condition of the change vouches for: a pointer to
    /// something that ends then, or that has no end.
    pub fn put_ending<T: Entity>(&mut self, key: Key, value: &T, ends: Option<Ends>) -> Result<&mut Self> {
        self.next_ends(ends);
        self.put(without_rev(key, value, None)?, None, None)
    }

    /// Writes over an item that must still be as it was read.
    pub fn replace<T: Entity>(&mut self, key: Key, value: &T, read_at: u64) -> Result<&mut Self> {
        self.next_ends(value.ends());
        self.put(to_item(key, value, read_at + 1, None)?, Some(UNCHANGED), Some(read_at))
    }

    /// [`Self::replace`], to be removed some time after `expires`.
    pub fn replace_expiring<T: Entity>(
        &mut self,
        key: Key,
        value: &T,
        read_at: u64,
        expires: Timestamp,
    ) -> Result<&mut Self> {
        self.put(to_item(key, value, read_at + 1, Some(expires))?, Some(UNCHANGED), Some(read_at))
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

    /// Deletes whatever is there. For what another condition of the change vouches for.
    pub fn remove(&mut self, key: &Key) -> Result<&mut Self> {
        let delete = Delete::builder()
            .table_name(String::new())
            .set_key(Some(key_attributes(key)))
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

    /// Requires that nothing is there.
    pub(crate) fn require_absent(&mut self, key: &Key) -> Result<&mut Self> {
        let check = ConditionCheck::builder()
            .table_name(String::new())
            .set_key(Some(key_attributes(key)))
            .condition_expression(ABSENT)
            .build()
            .map_err(Error::internal)?;
        self.items.push(TransactWriteItem::builder().condition_check(check).build());
        Ok(self)
    }

    /// Stores a record with the change: neither is there without the other.
    pub fn record<R: Record + Clone + 'static>(&mut self, record: &R) -> Result<&mut Self> {
        self.records.push(Arc::new(record.clone()));
        Ok(self)
    }

    /// The revision that what is made gets, for an answer that must be known before the change is made.
    pub(crate) fn rev_of_made(&mut self, random: &Random) -> Result<u64> {
        let rev = match self.first_rev {
            Some(drawn) => drawn,
            None => first_rev(random)?,
        };
        self.first_rev = Some(rev);
        Ok(rev)
    }

    /// The next item that is added ends then, if it ends.
    fn next_ends(&mut self, ends: Option<Ends>) {
        self.ends.extend(ends.map(|ends| (self.items.len(), ends)));
    }

    /// The items as they are written now, those that its caller rests on first. All attempts at them must have the same content, since they have the
    /// same token.
    fn at(
        mut self,
        now: Timestamp,
        options: &TableOptions,
        told: bool,
    ) -> Result<(Vec<TransactWriteItem>, Vec<String>)> {
        let mut lines = Vec::new();
        for (place, ends) in self.ends {
            let put = self.items.get_mut(place).and_then(|item| item.put.as_mut());
            if let (Some(put), Some(ttl)) = (put, options.retention.removed_at(ends)) {
                set_ttl(&mut put.item, ttl);
            }
        }
        for record in self.records {
            let RecordItems { items, line } = record.stored_at(now, options, told)?;
            lines.extend(line);
            for item in items {
                let put = Put::builder().table_name(String::new()).set_item(Some(item));
                let put = put.build().map_err(Error::internal)?;
                self.items.push(TransactWriteItem::builder().put(put).build());
            }
        }
        let first = match self.first_rev {
            Some(drawn) => drawn,
            None => first_rev(&options.random)?,
        };
        let items = self.caller.into_iter().chain(self.items);
        Ok((items.map(|item| in_table(item, &options.name, first)).collect(), lines))
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

/// Why a change was not made.
#[derive(Debug)]
pub enum CommitError {
    /// A condition did not hold: what was read is no longer so, or what was to be made is there.
    ConditionFailed,
    /// Anything else. Only [`Error::Undecided`] leaves open whether the change was made.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for CommitError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Table {
    /// Makes the change, whole or not at all, within [`COMMIT_WITHIN`].
    ///
    /// The attempts are made here and not by the SDK, which tells of the last one only: that the last was turned
    /// away does not mean that those before it were, too.
    pub async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let options = &self.0.options;
        let stamped = options.clock.now();
        let of_caller = change.caller.len();
        let outlet = &self.0.outlet;
        let (items, lines) = change.at(stamped, options, outlet.get().is_some())?;
        let request = self
            .0
            .client
            .transact_write_items()
            .client_request_token(options.random.uuid()?.to_string())
            .set_transact_items(Some(items))
            .set_return_consumed_capacity(consumed_capacity(options));
        let retries = self.0.client.config().retry_config().cloned().unwrap_or_else(super::retries);
        let (mut failures, mut conflicts) = (Backoff::for_retries(&retries), Backoff::for_contention());
        let deadline = Instant::now() + COMMIT_WITHIN;
        let mut in_doubt = false;
        loop {
            let once = config::Builder::new().retry_config(RetryConfig::disabled());
            let sent = request.clone().customize().config_override(once).send();
            let came_to = match timeout_at(deadline, sent).await {
                Ok(Ok(output)) => {
                    self.0.stats.count("TransactWriteItems", output.consumed_capacity());
                    tell(outlet, &lines);
                    return Ok(());
                }
                Ok(Err(error)) => cancelled(error, of_caller),
                Err(_) => Cancelled::Failed(Failure::lost("the store took too long")),
            };
            let (why, pause) = match came_to {
                Cancelled::ConditionFailed => return Err(CommitError::ConditionFailed),
                Cancelled::CallerChanged => return Err(CommitError::Failed(Error::caller_changed())),
                Cancelled::Failed(Failure::Internal(why)) => {
                    return Err(CommitError::Failed(Error::internal(why)));
                }
                Cancelled::TransactionConflict(why) => (why, conflicts.next()?),
                Cancelled::Failed(Failure::Refused(why)) => (why, failures.next()?),
                Cancelled::Failed(Failure::Lost(why)) => {
                    in_doubt = true;
                    (why, failures.next()?)
                }
            };
            // A process that stood still meanwhile finds out by the clock: an event must not be stored long after its time.
            let late = options.clock.now() > stamped.plus(COMMIT_WITHIN);
            match pause.map(|pause| Instant::now() + pause).filter(|then| !late && *then < deadline) {
                Some(then) => sleep_until(then).await,
                None if in_doubt => return Err(CommitError::Failed(Error::unavailable(why).undecided())),
                None => return Err(CommitError::Failed(Error::unavailable(why))),
            }
        }
    }

    /// Stores a record of something that changes no other item. It is stored when this returns.
    pub async fn append<R: Record + Clone + 'static>(&self, record: &R) -> Result<()> {
        self.0.appends.ask(Arc::new(record.clone())).await
    }

    /// From now on, a line for each record leaves once it is stored, in the order in which this process stored them. At
    /// most once: if the process dies in between, or never learns that it was stored, the line does not leave.
    pub fn tell(&self, outlet: Arc<dyn Outlet>) {
        // A second outlet is a second call of this, which the start of a process does not make.
        let _ = self.0.outlet.set(outlet);
    }
}

/// How many changes of an item lie between two revisions that something made can begin at.
const REVS: u64 = 1 << 12;

/// The revision of what is made. Whoever holds another's from before can meet it again by one chance in 2^40, however
/// clocks run. The last three digits in hexadecimal say how often the item was written.
fn first_rev(random: &Random) -> Result<u64> {
    let drawn: [u8; 5] = random.bytes()?;
    let drawn = drawn.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte));
    Ok(drawn * REVS + 1)
}

fn in_table(mut item: TransactWriteItem, table: &str, first_rev: u64) -> TransactWriteItem {
    if let Some(put) = &mut item.put {
        table.clone_into(&mut put.table_name);
        if !put.item.contains_key("rev") {
            set_rev(&mut put.item, first_rev);
        }
    }
    if let Some(delete) = &mut item.delete {
        table.clone_into(&mut delete.table_name);
    }
    if let Some(check) = &mut item.condition_check {
        table.clone_into(&mut check.table_name);
    }
    item
}

/// How long one change is tried: as long as a read (see [`super::timeouts`]). What has only met other
/// transactions by then has changed nothing.
pub const COMMIT_WITHIN: Duration = Duration::from_secs(3);
/// How long a batch of audit events is tried. See [`crate::audit::WRITTEN_WITHIN`].
pub const APPEND_WITHIN: Duration = Duration::from_secs(15);
/// How long racing changes try before the caller is asked to come back.
const RETRY_WITHIN: Duration = Duration::from_secs(10);
/// Those who are in one another's way pause for up to this, and at last for up to that.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Pauses of which each is up to twice as long as the one before, and as long as chance has it.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
    longest: Duration,
    left: u32,
}

impl Backoff {
    /// Of those who are in one another's way.
    pub(crate) fn for_contention() -> Self {
        Self { bound: FIRST_PAUSE, longest: LONGEST_PAUSE, left: u32::MAX }
    }

    /// Of somebody whom the store fails.
    fn for_retries(retries: &RetryConfig) -> Self {
        let left = retries.max_attempts().saturating_sub(1);
        Self { bound: retries.initial_backoff(), longest: COMMIT_WITHIN, left }
    }

    /// `None` once it has been tried often enough.
    pub(crate) fn next(&mut self) -> Result<Option<Duration>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        let mut jitter = [0; 4];
        aws_lc_rs::rand::fill(&mut jitter).map_err(Error::internal)?;
        let part = f64::from(u32::from_ne_bytes(jitter)) / f64::from(u32::MAX);
        let pause = self.bound.mul_f64(part);
        (self.bound, self.left) = ((self.bound * 2).min(self.longest), left);
        Ok(Some(pause))
    }
}

/// Repeats `attempt`, which reads and then commits, until nobody else was faster.
pub async fn retry_on_conflict<T, F>(attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, CommitError>>,
{
    let started = Instant::now();
    let mut backoff = Backoff::for_contention();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(CommitError::Failed(error)) => return Err(error),
            Err(CommitError::ConditionFailed) if started.elapsed() > RETRY_WITHIN => {
                return Err(Error::unavailable("too many changes to the same item at once"));
            }
            Err(CommitError::ConditionFailed) => sleep(backoff.next()?.unwrap_or(LONGEST_PAUSE)).await,
        }
    }
}

/// `BatchWriteItem` of audit events and their entries, shared by whoever appends at the same time. Repeating it is safe:
/// an event's key is its own id.
pub(super) struct AppendBatch {
    client: Client,
    options: TableOptions,
    stats: Arc<Stats>,
    outlet: MaybeOutlet,
}

impl AppendBatch {
    pub(super) fn new(client: Client, options: TableOptions, stats: Arc<Stats>, outlet: MaybeOutlet) -> Self {
        Self { client, options, stats, outlet }
    }
}

impl Batch for AppendBatch {
    type Request = Arc<dyn Record>;
    type Answer = ();
    /// Items in one `BatchWriteItem` (DynamoDB API Reference).
    const CAPACITY: usize = 25;

    fn weight(record: &Arc<dyn Record>) -> usize {
        record.items()
    }

    async fn run(&self, records: Vec<Arc<dyn Record>>) -> Result<Vec<()>, Failure> {
        let late = || Failure::lost("the store took too long for audit events");
        timeout(APPEND_WITHIN, self.write(records)).await.unwrap_or_else(|_| Err(late()))
    }
}

impl AppendBatch {
    async fn write(&self, records: Vec<Arc<dyn Record>>) -> Result<Vec<()>, Failure> {
        let count = records.len();
        let stamped = self.options.clock.now();
        let told = self.outlet.get().is_some();
        let (mut left, mut lines) = (Vec::with_capacity(2 * count), Vec::new());
        for record in records {
            let stored = record.stored_at(stamped, &self.options, told).map_err(Failure::internal)?;
            lines.extend(stored.line);
            for item in stored.items {
                let put = PutRequest::builder().set_item(Some(item)).build();
                left.push(WriteRequest::builder().put_request(put.map_err(Failure::internal)?).build());
            }
        }
        let mut pause = Duration::from_millis(25);
        for _ in 0..5 {
            let output = self
                .client
                .batch_write_item()
                .request_items(&self.options.name, left)
                .set_return_consumed_capacity(consumed_capacity(&self.options))
                .send()
                .await
                .map_err(failure)?;
            self.stats.count("BatchWriteItem", output.consumed_capacity());
            left = output.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
            if left.is_empty() {
                tell(&self.outlet, &lines);
                return Ok(vec![(); count]);
            }
            sleep(pause).await;
            pause *= 2;
            // A process that stood still meanwhile finds out by the clock.
            if self.options.clock.now() > stamped.plus(APPEND_WITHIN) {
                break;
            }
        }
        Err(Failure::refused("the store left audit events unwritten"))
    }
}
