//! The events of a day in order. A day's events are spread over several partitions ([`Key::AUDIT_SHARDS`]), all of
//! which are asked at once. DynamoDB may end a page before its limit, at 1 MB or for reasons of its own; so it is by
//! what each partition says it has left that we know how far the answer is complete.

use futures::future::try_join_all;
use uuid::Uuid;

use crate::{
    Core,
    audit::Event,
    clock::Timestamp,
    error::{Error, Result},
    ids::EventId,
    paging::PAGE_SIZE,
    table::{Condition, Key, Page, Query},
};

/// A range of ids, inclusive at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: Uuid,
    pub(super) high: Uuid,
}

impl Range {
    pub(super) const EMPTY: Self = Self { low: Uuid::max(), high: Uuid::nil() };

    pub(super) fn is_empty(self) -> bool {
        self.low > self.high
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    pub(super) fn of(self, query: Query<'_>) -> Query<'_> {
        if self == Self::NewestFirst { query.newest_first() } else { query }
    }
}

/// Some events of a list, without gaps.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) events: Vec<Event>,
    /// Set if the range may hold more events: nothing is missing up to and including this id.
    pub(super) known_to: Option<Uuid>,
}

/// How many events of one partition are read for a piece with more events than a page.
const OF_ONE: usize = PAGE_SIZE;

/// How many items of one partition the store looks at, if not all match: more with each look that found too few.
pub(super) fn looked_at(limit: usize, looks: usize) -> usize {
    (2 * limit.min(OF_ONE) + 2).saturating_mul(1 << (2 * looks.min(4))).min(2_000)
}

/// The first events of this day in the range, up to `limit`, for which the conditions hold. `looks`: how many looks
/// before this one found too few.
pub(super) async fn slice(
    core: &Core,
    day: Timestamp,
    range: Range,
    order: Order,
    (limit, looks): (usize, usize),
    only: &[Condition],
) -> Result<Slice> {
    let looked_at = if only.is_empty() { (limit + 1).min(OF_ONE + 1) } else { looked_at(limit, looks) };
    let shards = (0..Key::AUDIT_SHARDS).map(|shard| async move {
        let partition = Key::audit_partition(day, shard);
        let query = Query::partition(&partition, looked_at)
            .between(range.low.to_string(), range.high.to_string())
            .only(only);
        core.table.query::<Event>(order.of(query)).await
    });
    let Merged { items: events, known_to } =
        merge(try_join_all(shards).await?, |event| event.id.0, order, limit)?;
    Ok(Slice { events, known_to })
}

/// Some items of several partitions, in order and without gaps.
#[derive(Debug)]
pub(super) struct Merged<T> {
    pub(super) items: Vec<T>,
    /// As of a [`Slice`].
    pub(super) known_to: Option<Uuid>,
}

/// The id in an event's key, or in that of an entry.
pub(super) fn id_of(key: &Key) -> Result<Uuid> {
    Ok(key.sk.parse::<EventId>().map_err(Error::internal)?.0)
}

pub(super) fn merge<T>(
    pages: Vec<Page<T>>,
    id: impl Fn(&T) -> Uuid,
    order: Order,
    limit: usize,
) -> Result<Merged<T>> {
    let is_before = |one: Uuid, other: Uuid| match order {
        Order::OldestFirst => one < other,
        Order::NewestFirst => one > other,
    };
    // More events of this partition come after this id.
    let mut known_to: Option<Uuid> = None;
    for next in pages.iter().filter_map(|page| page.next.as_ref()) {
        let next = id_of(next)?;
        if known_to.is_none_or(|known| is_before(next, known)) {
            known_to = Some(next);
        }
    }
    let mut items: Vec<T> =
        pages.into_iter().flat_map(|page| page.items).map(|stored| stored.value).collect();
    items.retain(|item| known_to.is_none_or(|known| !is_before(known, id(item))));
    match order {
        Order::OldestFirst => items.sort_unstable_by_key(&id),
        Order::NewestFirst => items.sort_unstable_by_key(|item| std::cmp::Reverse(id(item))),
    }
    if items.len() > limit {
        items.truncate(limit);
        known_to = items.last().map(id);
    }
    Ok(Merged { items, known_to })
}

/// The id before this one, and the id after it.
pub(super) fn before(id: Uuid) -> Option<Uuid> {
    id.as_u128().checked_sub(1).map(Uuid::from_u128)
}

pub(super) fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// When an id was made. Also for ids between two ids, which need not be UUIDs of version 7.
pub(super) fn time_of(id: Uuid) -> Timestamp {
    Timestamp::from_millis(i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX))
}

/// The lowest id with this time, as [`time_of`] reads it. The one before it has an earlier time.
pub(super) fn lowest_at(moment: Timestamp) -> Uuid {
    Uuid::from_u128(u128::try_from(moment.as_millis()).unwrap_or_default() << 80)
}

/// The number of the day in UTC.
pub(super) fn day_of(moment: Timestamp) -> i64 {
    moment.as_seconds().div_euclid(SECONDS_A_DAY)
}

/// The beginning of the day with this number.
pub(super) fn day(number: i64) -> Timestamp {
    Timestamp::from_seconds(number.saturating_mul(SECONDS_A_DAY))
}

const SECONDS_A_DAY: i64 = 86_400;
