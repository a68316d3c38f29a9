//! A way through the events that match a filter, newest or oldest first, a piece after the other.
//!
//! In the steady case a piece is two round trips: the partitions of a list, all at once, and the events. A position is
//! the id of an event, whatever list is walked, so it is all that a cursor needs.
//!
//! Events that were stored before there were entries are in no list but their day's. A walk by entries goes on through
//! the days there.

use std::{sync::OnceLock, time::Duration};

use futures::future::try_join_all;
use uuid::Uuid;

use super::{
    days::{self, Order, Range, Slice},
    filter::{Filter, Source, Span},
};
use crate::{
    Core,
    audit::{AuditEntry, EntriesSince, Event},
    clock::{Timestamp, first_uuid_at},
    error::Result,
    ids::EventId,
    table::{AuditList, Change, CommitError, Key, Page, Query},
};

/// How often one piece goes on after the store ended a page early, or after what was found did not match. The piece may
/// then have fewer events than asked for.
const MAX_LOOKS: usize = 5;
/// How many days one piece goes through.
const MAX_DAYS: usize = 40;
/// Since when events have entries, once this process knows it: it never changes.
#[derive(Debug, Default)]
pub(crate) struct KnownSince(OnceLock<Timestamp>);

/// How long after a reader has first asked for entries they count as complete: by then, processes of an earlier version
/// have ended.
const UPGRADED_WITHIN: Duration = Duration::from_hours(1);

/// From which event on all have entries. If the table does not say, it is noted now.
async fn entries_since(core: &Core) -> Result<Uuid> {
    if let Some(known) = core.entries_since.0.get() {
        return Ok(first_uuid_at(*known));
    }
    let key = Key::audit_entries_since();
    if let Some(since) = core.table.read_one::<EntriesSince>(key.clone()).await? {
        return Ok(first_uuid_at(*core.entries_since.0.get_or_init(|| since.at)));
    }
    let mut change = Change::new();
    let at = core.clock.now().plus(UPGRADED_WITHIN);
    change.create(key, &EntriesSince { at })?;
    match core.table.commit(change).await {
        // The next request knows it.
        Ok(()) | Err(CommitError::ConditionFailed) => {}
        Err(CommitError::Failed(error)) => return Err(error),
    }
    Ok(Uuid::max())
}

/// Notes that all events of a new deployment have entries.
pub(crate) fn add_entries_since(change: &mut Change) -> Result<()> {
    change.create(Key::audit_entries_since(), &EntriesSince { at: Timestamp::from_millis(0) })?;
    Ok(())
}

#[derive(Debug)]
pub(super) struct Walk {
    filter: Filter,
    order: Order,
    source: Source,
    /// What is left.
    range: Range,
    /// Entries are complete from here on.
    since: Uuid,
}

/// How much one request may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// What people look at: without a subject, 31 days.
    Bounded,
    /// As much as there is time for.
    Unbounded,
}

impl Walk {
    /// `after`: the last event of the piece before.
    pub(super) async fn begin(
        core: &Core,
        filter: Filter,
        order: Order,
        reach: Reach,
        after: Option<EventId>,
    ) -> Result<Self> {
        let Span { from, to } = filter.span(core.clock.now())?;
        let range =
            Range { low: first_uuid_at(from), high: first_uuid_at(to.plus(Duration::from_millis(1))) };
        let source = filter.source();
        let since = match &source {
            Source::Entries(_) => entries_since(core).await?,
            Source::Index(..) | Source::Days => Uuid::nil(),
        };
        // What all events of a span are looked at for.
        let looked_through = match &source {
            Source::Days => Some((to, "")),
            Source::Entries(_) if range.low < since => {
                Some((to.min(days::time_of(since)), ", if it begins before events were listed by this"))
            }
            Source::Entries(_) | Source::Index(..) => None,
        };
        if let Some((to, what)) = looked_through {
            let span = Span { from, to };
            match reach {
                Reach::Bounded => filter.require_short(span, what)?,
                Reach::Unbounded => filter.require_selective(span)?,
            }
        }
        let mut walk = Self { filter, order, source, range, since };
        if let Some(last) = after {
            // A position outside of the range would make the work unbounded, and any caller can invent one.
            match order {
                Order::NewestFirst => {
                    walk.range.high = days::before(last.0).unwrap_or_default().min(walk.range.high);
                }
                Order::OldestFirst => walk.range.low = days::after(last.0).max(walk.range.low),
            }
        }
        Ok(walk)
    }

    pub(super) fn is_done(&self) -> bool {
        self.range.is_empty()
    }

    /// The events up to this one have been seen: the last before what is left.
    pub(super) fn position(&self) -> Uuid {
        match self.order {
            Order::NewestFirst => days::after(self.range.high),
            Order::OldestFirst => days::before(self.range.low).unwrap_or_default(),
        }
    }

    /// The next events, up to `limit`. Fewer, or none, may come although there are more.
    pub(super) async fn next(&mut self, core: &Core, limit: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let (mut looks, mut days) = (0, 0);
        while !self.is_done() && events.len() < limit && looks < MAX_LOOKS && days < MAX_DAYS {
            let left = limit - events.len();
            let at = match self.order {
                Order::NewestFirst => self.range.high,
                Order::OldestFirst => self.range.low,
            };
            let (part, slice) = match &self.source {
                Source::Entries(lists) if at >= self.since => {
                    let part = Range { low: self.range.low.max(self.since), ..self.range };
                    (part, self.by_entries(core, lists, part, (left, looks)).await?)
                }
                Source::Index(..) => (self.range, self.by_index(core, left).await?),
                Source::Entries(_) | Source::Days => {
                    let day = days::day_of(days::time_of(at));
                    let part = self.on_day(day);
                    let conditions = self.filter.of_events();
                    let day = days::day(day);
                    let slice = days::slice(core, day, part, self.order, (left, looks), &conditions).await?;
                    (part, slice)
                }
            };
            match slice.known_to {
                Some(_) => looks += 1,
                None => days += 1,
            }
            match (self.order, slice.known_to) {
                (Order::NewestFirst, known_to) => match days::before(known_to.unwrap_or(part.low)) {
                    Some(high) => self.range.high = high,
                    None => self.range = Range::EMPTY,
                },
                (Order::OldestFirst, known_to) => {
                    self.range.low = days::after(known_to.unwrap_or(part.high));
                }
            }
            events.extend(slice.events.into_iter().filter(|event| self.filter.matches(event)));
        }
        Ok(events)
    }

    /// What is left of this day. Before there were entries, if the walk is by entries.
    fn on_day(&self, day: i64) -> Range {
        let first = days::lowest_at(days::day(day));
        let last = days::before(days::lowest_at(days::day(day.saturating_add(1)))).unwrap_or_default();
        let last = match self.source {
            Source::Entries(_) => last.min(days::before(self.since).unwrap_or_default()),
            Source::Index(..) | Source::Days => last,
        };
        Range { low: self.range.low.max(first), high: self.range.high.min(last) }
    }

    async fn by_entries(
        &self,
        core: &Core,
        lists: &[AuditList],
        range: Range,
        (limit, looks): (usize, usize),
    ) -> Result<Slice> {
        let conditions = self.filter.of_entries(lists.first());
        let looked_at = if conditions.is_empty() { limit + 1 } else { days::looked_at(limit, looks) };
        let (conditions, order) = (&conditions, self.order);
        let partitions: Vec<String> = lists.iter().flat_map(AuditList::partitions).collect();
        let pages = partitions.iter().map(|partition| async move {
            let query = Query::partition(partition, looked_at)
                .between(range.low.to_string(), range.high.to_string())
                .only(conditions);
            core.table.query::<AuditEntry>(order.of(query)).await
        });
        let pages: Vec<Page<AuditEntry>> = try_join_all(pages).await?;
        let merged = days::merge(pages, |entry| entry.id.0, order, limit)?;
        let keys: Vec<Key> = merged.items.iter().map(|entry| Key::audit_event(entry.id)).collect();
        let events = core.table.read_all::<Event>(&keys).await?;
        Ok(Slice {
            events: events.into_iter().map(|stored| stored.value).collect(),
            known_to: merged.known_to,
        })
    }

    async fn by_index(&self, core: &Core, limit: usize) -> Result<Slice> {
        let Source::Index(index, partition) = &self.source else { return Ok(Slice::default()) };
        let query = Query::index(*index, partition, limit)
            .between(self.range.low.to_string(), self.range.high.to_string());
        let (keys, next) = core.table.query_keys(self.order.of(query)).await?;
        let events = core.table.read_all::<Event>(&keys).await?;
        let known_to = next.map(|key| days::id_of(&key)).transpose()?;
        Ok(Slice { events: events.into_iter().map(|stored| stored.value).collect(), known_to })
    }
}
