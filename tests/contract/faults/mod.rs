//! A store that throttles, times out, breaks off, loses answers or is gone.

mod audit;
mod changes;
mod conflicts;
mod isolation;
mod lists;
mod lost_callers;
mod outage;
mod reads;
mod revisions;
mod unprocessed;
