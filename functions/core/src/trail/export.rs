//! The trail as files: everything that matches a filter, a piece after the other, so that memory is bounded by a piece.

use super::{
    days::Order,
    filter::Filter,
    walk::{Reach, Walk},
};
use crate::{Core, audit::Event, caller::UserCaller, error::Result, ids::EventId};

/// How many events a piece has.
const PIECE: usize = 500;

/// An export under way.
#[derive(Debug)]
pub struct Export(Walk);

impl Export {
    /// Begins after an event, or at the beginning. Users see in it what they see in the list.
    pub async fn begin(
        core: &Core,
        caller: &UserCaller,
        filter: Filter,
        oldest_first: bool,
        after: Option<EventId>,
    ) -> Result<Self> {
        let order = if oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        Ok(Self(Walk::begin(core, filter.seen_by(caller)?, order, Reach::Unbounded, after).await?))
    }

    /// The next piece, which may be empty. `None` after the last one.
    pub async fn next(&mut self, core: &Core) -> Result<Option<Vec<Event>>> {
        if self.0.is_done() {
            return Ok(None);
        }
        self.0.next(core, PIECE).await.map(Some)
    }
}
