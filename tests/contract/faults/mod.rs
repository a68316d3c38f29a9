//! A store that throttles, times out, breaks off, loses answers or is gone.

mod audit;
mod changes;
mod conflicts;
mod deletion;
mod isolation;
mod lists;
mod lost_callers;
mod offboarding;
mod outage;
mod reads;
mod retries;
mod revisions;
mod unprocessed;
