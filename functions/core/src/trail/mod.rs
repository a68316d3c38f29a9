//! Reading the audit trail ([`crate::audit`]).
//!
//! | file | holds |
//! | --- | --- |
//! | `days` | the events of a day, which are in several partitions, in order |
//! | `list` | the trail as people look at it: newest first, filtered |
//! | `feed` | the trail as programs follow it: oldest first, each event exactly once |

mod days;
mod feed;
mod list;

use std::time::Duration;

pub use self::{
    feed::{Feed, follow},
    list::{Filter, list},
};

/// How far back a reader sees who says nothing else, and the longest range of a list without a subject.
const REACH: Duration = Duration::from_hours(31 * 24);
