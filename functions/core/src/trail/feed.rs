//! The trail as programs follow it: oldest first, and each event exactly once, whoever stores what meanwhile.
//!
//! A cursor says where the next page begins. It never passes a moment that is less than [`BEHIND`] ago, by the clock
//! of whoever answers: by then all events of that moment are in the table, as long as the clocks of two processes
//! differ by no more than [`CLOCKS_MAY_DIFFER`]. So nothing comes to be behind a cursor.

use std::time::Duration;

use uuid::Uuid;

use super::{
    REACH,
    days::{self, Order, Range},
};
use crate::{
    Core,
    audit::{Event, WRITTEN_WITHIN},
    caller::{Power, UserCaller},
    clock::{Timestamp, first_uuid_at},
    error::{Error, Result},
    ids::EventId,
    paging::PageRequest,
};

/// The feed shows events that are at least this old.
const BEHIND: Duration = Duration::from_secs(60);
/// The part of that which is left for differences between clocks.
const CLOCKS_MAY_DIFFER: Duration = BEHIND.saturating_sub(WRITTEN_WITHIN);
const _: () = assert!(CLOCKS_MAY_DIFFER.as_secs() >= 30);

/// How often one request asks for a day's events. The answer may then hold fewer events than asked for.
const MAX_LOOKS: usize = 40;
/// The beginning of a decoded cursor of this feed.
const PREFIX: &str = "FEED#";

/// A page of the feed.
#[derive(Debug)]
pub struct Feed {
    /// Oldest first.
    pub events: Vec<Event>,
    /// What to pass as `cursor` the next time.
    pub cursor: String,
    /// Whether there may be more events already. If not, ask again after some time.
    pub more: bool,
}

/// The events that follow a cursor; without one, those since `from`, or those of the last 31 days. Admins
/// only.
pub async fn follow(
    core: &Core,
    caller: &UserCaller,
    from: Option<Timestamp>,
    page: &PageRequest,
) -> Result<Feed> {
    caller.require(Power::Read)?;
    let until = core.clock.now().minus(BEHIND);
    let end = first_uuid_at(until);
    let mut next = match page.cursor() {
        Some(cursor) => {
            let id = cursor.strip_prefix(PREFIX).and_then(|id| id.parse::<EventId>().ok());
            id.ok_or_else(|| Error::invalid("cursor is not one of this feed"))?.0
        }
        None => first_uuid_at(from.unwrap_or_else(|| until.minus(REACH))),
    };
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..MAX_LOOKS {
        let Some(high) = days::before(end).filter(|high| *high >= next) else { break };
        if events.len() >= page.limit() {
            break;
        }
        let day = days::day_of(days::time_of(next));
        let (range, left) = (Range { low: next, high }, page.limit() - events.len());
        let slice = days::slice(core, days::day(day), range, Order::OldestFirst, (left, 0), &[]).await?;
        events.extend(slice.events);
        next = match slice.known_to {
            Some(id) => days::after(id),
            // This day is complete.
            None => first_uuid_at(days::day(day.saturating_add(1))).min(end),
        };
    }
    Ok(Feed { events, cursor: cursor(next), more: next < end })
}

/// The feed goes on with this id, or with the first id after it.
fn cursor(id: Uuid) -> String {
    PageRequest::encode(&format!("{PREFIX}{id}"))
}
