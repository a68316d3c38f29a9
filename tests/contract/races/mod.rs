//! Many callers at once, on several threads, whose requests to the store overtake one another.

mod grants;
mod lists;
mod offboarding;
mod others;
mod retries;
