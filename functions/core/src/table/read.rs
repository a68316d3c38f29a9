//! Strongly consistent batch reads, and paginated queries.
//!
//! **What a read shows of a change.** DynamoDB isolates neither a `BatchGetItem` nor a `Query` from a transaction under
//! way: each item is shown as it was before, or as it is after. A change that was *acknowledged* before the read began
//! is in it, whole. So a call that begins after a revocation sees it. Only a change *during* a call can be seen in
//! part, and then both the state before and the state after are right. A mix matters only if it leads to a decision
//! that neither state would. That needs two items of one transaction that are judged together:
//!
//! | judged together | what a mix would do | protection |
//! | --- | --- | --- |
//! | the version, and the policies or keys read for it | old ones would be kept as the new version | the digest in the control item ([`crate::control`]) |
//! | a grant and its pair | a grant ahead of its pair, or shared and not in force: its owner would act with another sharer's account, or be told that there is no grant | no change leaves them so, so both are read again ([`crate::session_grants`]) |
//! | a grant and its pair, otherwise | one of the two as before, one as after: the same credentials as before or after | none is needed |
//! | a redeemed code and the family that came of it | the family would outlive the code's reuse | it is read again, and removed whatever is there ([`crate::tokens`]) |
//! | a pointer and its user, a server and its approved tools | the pointer leads to no user yet, or the tools are not there yet | 401 or 503; no caller is admitted |
//! | items that a change has read and writes | | its conditions fail, and it is decided again |
//!
//! All other items that a call reads are changed alone: the account with its secrets and keys, the user, the
//! delegation, the server, the session, the note of a revoked token.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity},
};

use futures::future::try_join_all;

use super::{
    AuditIndex, Key, Table, TableOptions,
    coalesce::{Batch, Failure},
    failure::failure,
    item::{Entity, Item, Stored, from_item, key_attributes, key_of},
    key::Partition,
    stats::Stats,
};
use crate::error::{Error, Result};

/// The result of a batch read.
#[derive(Debug, Default)]
pub struct Found(HashMap<Key, Arc<Item>>);

impl Found {
    /// Removes and returns the entity at `key`. `None` if it does not exist.
    pub fn take<T: Entity>(&mut self, key: &Key) -> Result<Option<Stored<T>>> {
        self.0.remove(key).map(|item| from_item(Arc::unwrap_or_clone(item))).transpose()
    }

    /// The entity at `key`, for what more than one decision rests on.
    pub fn get<T: Entity>(&self, key: &Key) -> Result<Option<Stored<T>>> {
        self.0.get(key).map(|item| from_item(Item::clone(item))).transpose()
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }
}

/// Items on a page, unless the caller asks for another number.
pub const PAGE_SIZE: usize = 100;

impl Table {
    /// Reads items, strongly consistently: up to 100 in one request, more in several at the same time.
    pub async fn read(&self, mut keys: Vec<Key>) -> Result<Found> {
        if keys.is_empty() {
            return Ok(Found::default());
        }
        if keys.len() > ReadBatch::CAPACITY {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.retain(|key| seen.insert(key.clone()));
        }
        if keys.len() <= ReadBatch::CAPACITY {
            return Ok(Found(self.0.reads.ask(keys).await?));
        }
        let parts = keys.chunks(ReadBatch::CAPACITY).map(|part| self.0.reads.ask(part.to_vec()));
        Ok(Found(try_join_all(parts).await?.into_iter().flatten().collect()))
    }

    /// Reads one item, strongly consistently.
    pub async fn read_one<T: Entity>(&self, key: Key) -> Result<Option<Stored<T>>> {
        self.read(vec![key.clone()]).await?.take(&key)
    }

    /// Reads many items of one kind, in the order of `keys`, without those that do not exist.
    pub async fn read_all<T: Entity>(&self, keys: &[Key]) -> Result<Vec<Stored<T>>> {
        let mut found = self.read(keys.to_vec()).await?;
        let mut all = Vec::with_capacity(keys.len());
        for key in keys {
            all.extend(found.take(key)?);
        }
        Ok(all)
    }

    /// All items of a list, a page after the other. Each item is as of its own moment:
    /// what is judged together needs more than this (see [`crate::control`]).
    pub async fn query_all<T: Entity>(&self, list: &Partition) -> Result<Vec<Stored<T>>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let query = Query::partition(&list.pk, PAGE_SIZE).prefix(list.prefix.as_str()).after(after);
            let page = self.query::<T>(query).await?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// One page of a partition, sorted by sort key.
    pub async fn query<T: Entity>(&self, query: Query<'_>) -> Result<Page<T>> {
        let (found, next) = self.find(query, false).await?;
        Ok(Page { items: found.into_iter().map(from_item).collect::<Result<_>>()?, next })
    }

    /// The keys of a page of a partition, without what is in the items. Those of an index lead to items that may exist no more.
    pub async fn query_keys(&self, query: Query<'_>) -> Result<(Vec<Key>, Option<Key>)> {
        let (found, next) = self.find(query, true).await?;
        Ok((found.iter().filter_map(key_of).collect(), next))
    }

    /// The items of a page, or their keys, and the key after which the next one begins.
    async fn find(&self, query: Query<'_>, keys_only: bool) -> Result<(Vec<Item>, Option<Key>)> {
        let options = &self.0.options;
        let (index, attribute) = match query.index {
            Some(index) => (Some(index.name()), index.attribute()),
            None => (None, "pk"),
        };
        let mut request = self
            .0
            .client
            .query()
            .table_name(&options.name)
            .set_index_name(index.map(str::to_owned))
            .set_projection_expression(keys_only.then(|| "pk, sk".to_owned()))
            .consistent_read(query.index.is_none())
            .scan_index_forward(!query.newest_first)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            .set_return_consumed_capacity(consumed_capacity(options))
            .expression_attribute_names("#pk", attribute)
            .expression_attribute_names("#sk", "sk")
            .expression_attribute_values(":pk", AttributeValue::S(query.partition.to_owned()));
        request = match query.range {
            Range::All => request.key_condition_expression("#pk = :pk").set_expression_attribute_names(Some(
                HashMap::from([("#pk".to_owned(), attribute.to_owned())]),
            )),
            Range::Prefix(prefix) => request
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix)),
            Range::Between(low, high) => request
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :low AND :high")
                .expression_attribute_values(":low", AttributeValue::S(low))
                .expression_attribute_values(":high", AttributeValue::S(high)),
        };
        let mut conditions = Vec::new();
        for (n, Condition(attribute, values)) in query.only.iter().enumerate() {
            let names: Vec<String> = (0..values.len()).map(|v| format!(":f{n}_{v}")).collect();
            for (name, value) in names.iter().zip(values) {
                request = request.expression_attribute_values(name, AttributeValue::S(value.clone()));
            }
            request = request.expression_attribute_names(format!("#f{n}"), *attribute);
            conditions.push(format!("#f{n} IN ({})", names.join(", ")));
        }
        if !conditions.is_empty() {
            request = request.filter_expression(conditions.join(" AND "));
        }
        if let Some(after) = &query.after {
            let mut start = key_attributes(after);
            if query.index.is_some() {
                start.insert(attribute.to_owned(), AttributeValue::S(query.partition.to_owned()));
            }
            request = request.set_exclusive_start_key(Some(start));
        }
        let output = request.send().await.map_err(|error| Error::from(failure(error)))?;
        self.0.stats.count("Query", output.consumed_capacity());
        let next = output.last_evaluated_key.as_ref().and_then(key_of);
        Ok((output.items.unwrap_or_default(), next))
    }
}

/// The page to read.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    index: Option<AuditIndex>,
    partition: &'a str,
    range: Range,
    after: Option<Key>,
    limit: usize,
    newest_first: bool,
    only: Vec<Condition>,
}

/// An attribute, and the texts that it may have. The store reads all items of a range and gives those that it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(pub &'static str, pub Vec<String>);

#[derive(Clone, Debug)]
enum Range {
    All,
    Prefix(String),
    Between(String, String),
}

impl<'a> Query<'a> {
    /// A partition of the table, read strongly consistently.
    pub fn partition(partition: &'a str, limit: usize) -> Self {
        let (range, only) = (Range::All, Vec::new());
        Self { index: None, partition, range, after: None, limit, newest_first: false, only }
    }

    /// A partition of a secondary index. It may be a few moments behind the table.
    pub fn index(index: AuditIndex, partition: &'a str, limit: usize) -> Self {
        Self { index: Some(index), ..Self::partition(partition, limit) }
    }

    /// Those whose sort key begins so. All, if it is empty: DynamoDB takes no empty text for a key (Developer Guide,
    /// "Supported data types and naming rules").
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let range = if prefix.is_empty() { Range::All } else { Range::Prefix(prefix) };
        Self { range, ..self }
    }

    /// The bounds are inclusive.
    #[must_use]
    pub fn between(self, low: impl Into<String>, high: impl Into<String>) -> Self {
        Self { range: Range::Between(low.into(), high.into()), ..self }
    }

    /// Only items for which these hold. The limit then counts all that the store looks at.
    #[must_use]
    pub fn only(self, conditions: &[Condition]) -> Self {
        Self { only: conditions.to_vec(), ..self }
    }

    /// Continues after this key.
    #[must_use]
    pub fn after(self, after: Option<Key>) -> Self {
        Self { after, ..self }
    }

    #[must_use]
    pub fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }
}

#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<Stored<T>>,
    /// The key after which the next page begins, if there may be one.
    pub next: Option<Key>,
}

pub(super) fn consumed_capacity(options: &TableOptions) -> Option<ReturnConsumedCapacity> {
    options.measure.then_some(ReturnConsumedCapacity::Total)
}

/// `BatchGetItem`, shared by reads at the same time.
pub(super) struct ReadBatch {
    client: Client,
    options: TableOptions,
    stats: Arc<Stats>,
}

impl ReadBatch {
    pub(super) fn new(client: Client, options: TableOptions, stats: Arc<Stats>) -> Self {
        Self { client, options, stats }
    }

    async fn fetch(&self, keys: HashSet<Key>) -> Result<HashMap<Key, Arc<Item>>, Failure> {
        let mut found = HashMap::with_capacity(keys.len());
        let mut left: Vec<Item> = keys.iter().map(key_attributes).collect();
        let mut pause = Duration::from_millis(25);
        for _ in 0..5 {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(left))
                .consistent_read(true)
                .build()
                .map_err(Failure::internal)?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.options.name, request)
                .set_return_consumed_capacity(consumed_capacity(&self.options))
                .send()
                .await
                .map_err(failure)?;
            self.stats.count("BatchGetItem", output.consumed_capacity());
            for item in output.responses.unwrap_or_default().into_values().flatten() {
                if let Some(key) = key_of(&item) {
                    found.insert(key, Arc::new(item));
                }
            }
            left = output
                .unprocessed_keys
                .unwrap_or_default()
                .into_values()
                .flat_map(|rest| rest.keys)
                .collect();
            if left.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Failure::refused("the store left keys unread"))
    }
}

impl Batch for ReadBatch {
    type Request = Vec<Key>;
    type Answer = HashMap<Key, Arc<Item>>;
    /// The most keys in one `BatchGetItem` (DynamoDB API Reference).
    const CAPACITY: usize = 100;

    fn weight(keys: &Vec<Key>) -> usize {
        keys.len()
    }

    async fn run(&self, requests: Vec<Vec<Key>>) -> Result<Vec<HashMap<Key, Arc<Item>>>, Failure> {
        if let [keys] = requests.as_slice() {
            return Ok(vec![self.fetch(keys.iter().cloned().collect()).await?]);
        }
        let found = self.fetch(requests.iter().flatten().cloned().collect()).await?;
        let of = |keys: Vec<Key>| {
            keys.into_iter().filter_map(|key| found.get(&key).cloned().map(|item| (key, item))).collect()
        };
        Ok(requests.into_iter().map(of).collect())
    }
}
