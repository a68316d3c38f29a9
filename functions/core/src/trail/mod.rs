//! Reading the audit trail ([`crate::audit`]).
//!
//! | file | holds |
//! | --- | --- |
//! | `days` | the events of a day, which are in several partitions, in order |
//! | `filter` | which events a reader asks for, and the list that likely has the fewest |
//! | `walk` | a way through the events that match |
//! | `list` | the trail as people look at it: newest first, in pages; and one event |
//! | `named` | what the things are called that events are about |
//! | `export` | the trail as files: all that matches |
//! | `recent` | the newest events of some kinds, as other parts of the domain look at them |
//! | `pseudonymize` | taking a person who is erased out of the trail |
//! | `feed` | the trail as programs follow it: oldest first, each event exactly once |

mod days;
mod export;
mod feed;
mod filter;
mod list;
mod named;
mod pseudonymize;
mod recent;
mod walk;

use std::time::Duration;

pub use self::{
    export::Export,
    feed::{Feed, follow},
    filter::Filter,
    list::{get, list},
    named::{Names, names},
    pseudonymize::{EVENTS_SETTLE_IN, pseudonymize},
    recent::changes_since,
};
pub(crate) use self::{
    recent::recent,
    walk::{KnownSince, add_entries_since},
};

/// How far back a reader sees who says nothing else, and the longest range of a list without a subject.
const REACH: Duration = Duration::from_hours(31 * 24);
