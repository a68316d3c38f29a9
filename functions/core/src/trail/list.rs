//! The trail as people look at it: newest first, filtered, in pages.

use std::time::Duration;

use deputize_api::reason::Reason;
use uuid::Uuid;

use super::{
    REACH,
    days::{self, Order, Range},
};
use crate::{
    Core,
    audit::Event,
    caller::{Power, UserCaller},
    clock::{Timestamp, first_uuid_at},
    error::{Error, Result, Told},
    ids::{AgentAccountId, AppId, EventId, ServerId, UserId},
    paging::{Listing, PageRequest},
    table::{AuditIndex, Key, Query},
};

/// Which events. An event must match all fields that are set.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub agent_account_id: Option<AgentAccountId>,
    pub user_id: Option<UserId>,
    pub server_id: Option<ServerId>,
    /// Without an index of its own: only within the events of an agent, a user or a server.
    pub client_id: Option<AppId>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Filter {
    fn matches(&self, event: &Event) -> bool {
        self.agent_account_id.is_none_or(|agent| event.agent_account_id == Some(agent))
            && self.user_id.is_none_or(|user| event.user_id == Some(user))
            && self.server_id.as_ref().is_none_or(|server| event.server_id.as_ref() == Some(server))
            && self.client_id.as_ref().is_none_or(|app| event.client_id.as_ref() == Some(app))
    }

    /// The index to query: the one that likely has the smallest partitions.
    fn index(&self) -> Option<(AuditIndex, String)> {
        let user = self.user_id.map(|id| (AuditIndex::User, id.to_string()));
        let agent = || self.agent_account_id.map(|id| (AuditIndex::Agent, id.to_string()));
        let server = || self.server_id.as_ref().map(|id| (AuditIndex::Server, id.to_string()));
        user.or_else(agent).or_else(server)
    }
}

/// Events, newest first. Admins see all; other users see those in which they acted or an agent acted for
/// them.
pub async fn list(
    core: &Core,
    caller: &UserCaller,
    mut filter: Filter,
    page: &PageRequest,
) -> Result<Listing<Event>> {
    if !caller.has(Power::Read) {
        if filter.user_id.is_some_and(|user| user != caller.user.id) {
            return Err(Error::Forbidden(Told::of(
                Reason::AdminRequired,
                "Only an admin may see other users' audit events",
            )));
        }
        filter.user_id = Some(caller.user.id);
    }
    let now = core.clock.now();
    let to = filter.to.unwrap_or(now);
    let from = filter.from.unwrap_or_else(|| to.minus(REACH));
    if from > to {
        return Err(Error::invalid("from must not be after to"));
    }
    let mut range =
        Range { low: first_uuid_at(from), high: first_uuid_at(to.plus(Duration::from_millis(1))) };
    // A cursor outside of the range would make the work unbounded, and any caller can invent one.
    if let Some(text) = page.cursor() {
        let last: EventId = text.parse().map_err(|_| Error::invalid("cursor is not one of this list"))?;
        range.high = days::before(last.0).unwrap_or_default().min(range.high);
        if range.is_empty() {
            return Ok(Listing { items: Vec::new(), next: None });
        }
    }
    match filter.index() {
        Some((index, partition)) => list_index(core, &filter, page.limit(), index, &partition, range).await,
        None if filter.client_id.is_some() => {
            Err(Error::invalid("client_id: name an agent, a user or a server beside it"))
        }
        None if to.as_millis() - from.as_millis() > i64::try_from(REACH.as_millis()).unwrap_or(i64::MAX) => {
            Err(Error::invalid("name an agent, a user or a server, or a range of at most 31 days"))
        }
        None => list_days(core, page.limit(), from, to, range).await,
    }
}

/// How many pages of an index one request reads for events that match the rest of the filter, and how often
/// it goes on after the store ended a page early. After that, the answer may hold fewer events than asked
/// for, with a cursor to continue.
const MAX_LOOKS: usize = 5;

async fn list_index(
    core: &Core,
    filter: &Filter,
    limit: usize,
    index: AuditIndex,
    partition: &str,
    range: Range,
) -> Result<Listing<Event>> {
    let mut after: Option<Key> = None;
    let mut items = Vec::new();
    for _ in 0..MAX_LOOKS {
        let query = Query::index(index, partition, limit)
            .between(range.low.to_string(), range.high.to_string())
            .newest_first()
            .after(after);
        let page = core.table.query::<Event>(query).await?;
        for event in page.items.into_iter().map(|stored| stored.value).filter(|event| filter.matches(event)) {
            if items.len() == limit {
                let next = items.last().map(|event: &Event| cursor(event.id.0));
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

/// All events of some days, the newest day first.
async fn list_days(
    core: &Core,
    limit: usize,
    from: Timestamp,
    to: Timestamp,
    mut range: Range,
) -> Result<Listing<Event>> {
    // One more than asked for, to know whether there is a next page.
    let wanted = limit + 1;
    let mut items: Vec<Event> = Vec::new();
    let mut day = days::day_of(to).min(days::day_of(days::time_of(range.high)));
    let mut cut_short = 0;
    while day >= days::day_of(from) && !range.is_empty() && items.len() < wanted {
        let left = wanted - items.len();
        let slice = days::slice(core, days::day(day), range, Order::NewestFirst, left).await?;
        items.extend(slice.events);
        match slice.known_to.map(days::before) {
            // This day may have more events.
            Some(Some(high)) if items.len() < wanted => {
                range.high = high;
                cut_short += 1;
                if cut_short == MAX_LOOKS {
                    return Ok(Listing { items, next: slice.known_to.map(cursor) });
                }
            }
            Some(_) => {}
            None => day -= 1,
        }
    }
    let next = (items.len() > limit).then(|| items.get(limit - 1).map(|last| cursor(last.id.0))).flatten();
    items.truncate(limit);
    Ok(Listing { items, next })
}

/// The list continues before this id.
fn cursor(id: Uuid) -> String {
    PageRequest::encode(&id.to_string())
}
