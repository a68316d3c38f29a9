//! A store that throttles, times out, breaks off, loses answers or is gone.

mod audit;
mod outage;
mod reads;
mod unprocessed;
