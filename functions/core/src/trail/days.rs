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
    table::{Key, Page, Query},
};

/// A range of ids, inclusive at both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: Uuid,
    pub(super) high: Uuid,
}

impl Range {
    pub(super) fn is_empty(self) -> bool {
        self.low > self.high
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// Some of a day's events, without gaps.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) events: Vec<Event>,
    /// Set if the range may hold more events: nothing is missing up to and including this id.
    pub(super) known_to: Option<Uuid>,
}

/// The first events of this day in the range, up to `limit`.
pub(super) async fn slice(
    core: &Core,
    day: Timestamp,
    range: Range,
    order: Order,
    limit: usize,
) -> Result<Slice> {
    let shards = (0..Key::AUDIT_SHARDS).map(|shard| async move {
        let partition = Key::audit_partition(day, shard);
        let query =
            Query::partition(&partition, limit).between(range.low.to_string(), range.high.to_string());
        core.table
            .query::<Event>(if order == Order::NewestFirst { query.newest_first() } else { query })
            .await
    });
    merge(try_join_all(shards).await?, order, limit)
}

fn merge(shards: Vec<Page<Event>>, order: Order, limit: usize) -> Result<Slice> {
    let is_before = |one: Uuid, other: Uuid| match order {
        Order::OldestFirst => one < other,
        Order::NewestFirst => one > other,
    };
    // More events of this partition come after this id.
    let mut known_to: Option<Uuid> = None;
    for next in shards.iter().filter_map(|page| page.next.as_ref()) {
        let next = next.sk.parse::<EventId>().map_err(Error::internal)?.0;
        if known_to.is_none_or(|known| is_before(next, known)) {
            known_to = Some(next);
        }
    }
    let mut events: Vec<Event> =
        shards.into_iter().flat_map(|page| page.items).map(|stored| stored.value).collect();
    events.retain(|event| known_to.is_none_or(|known| !is_before(known, event.id.0)));
    match order {
        Order::OldestFirst => events.sort_unstable_by_key(|event| event.id),
        Order::NewestFirst => events.sort_unstable_by_key(|event| std::cmp::Reverse(event.id)),
    }
    if events.len() > limit {
        events.truncate(limit);
        known_to = events.last().map(|event| event.id.0);
    }
    Ok(Slice { events, known_to })
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

/// The number of the day in UTC.
pub(super) fn day_of(moment: Timestamp) -> i64 {
    moment.as_seconds().div_euclid(SECONDS_A_DAY)
}

/// The beginning of the day with this number.
pub(super) fn day(number: i64) -> Timestamp {
    Timestamp::from_seconds(number.saturating_mul(SECONDS_A_DAY))
}

const SECONDS_A_DAY: i64 = 86_400;
