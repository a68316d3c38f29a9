//! The newest events of some kinds: so many, or all since a time.

use super::{
    days::Order,
    filter::Filter,
    walk::{Reach, Walk},
};
use crate::{
    Core,
    audit::{Action, Event, Outcome},
    clock::Timestamp,
    error::Result,
};

/// How many events one piece of the way has.
const PIECE: usize = 1_000;
/// How many pieces are walked. A piece may find few events, if few of those that it looks at match.
const MAX_PIECES: usize = 100;

/// Some of the newest events.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Newest first.
    pub(crate) events: Vec<Event>,
    /// Whether it was not looked further back, although there may be more.
    pub(crate) is_cut: bool,
}

/// The newest events of these kinds, at most so many, of the last 31 days.
pub(crate) async fn recent(core: &Core, actions: &[Action], most: usize) -> Result<Recent> {
    let filter = Filter { actions: actions.to_vec(), ..Filter::default() };
    gather(core, filter, Reach::Bounded, most).await
}

/// All changes of these kinds since a time, newest first. `None` if there are more than `most`, or too many other events among
/// them.
pub async fn changes_since(
    core: &Core,
    since: Timestamp,
    actions: &[Action],
    most: usize,
) -> Result<Option<Vec<Event>>> {
    let filter = Filter {
        actions: actions.to_vec(),
        outcomes: vec![Outcome::Allowed],
        from: Some(since),
        ..Filter::default()
    };
    let mut recent = gather(core, filter, Reach::Unbounded, most).await?;
    // An event of that very moment happened, as far as anybody can tell, before it.
    recent.events.retain(|event| event.at > since);
    Ok((!recent.is_cut).then_some(recent.events))
}

async fn gather(core: &Core, filter: Filter, reach: Reach, most: usize) -> Result<Recent> {
    let mut walk = Walk::begin(core, filter, Order::NewestFirst, reach, None).await?;
    let mut events = Vec::new();
    for _ in 0..MAX_PIECES {
        if walk.is_done() || events.len() >= most {
            break;
        }
        events.extend(walk.next(core, PIECE.min(most - events.len())).await?);
    }
    Ok(Recent { events, is_cut: !walk.is_done() })
}

impl Recent {
    /// When the oldest and the newest of them were.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.events.last()?.at, self.events.first()?.at))
    }
}
