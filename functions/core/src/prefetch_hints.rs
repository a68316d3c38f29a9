//! What a process remembers in order to ask for the right items at once. A hint never decides anything:
//! what was read does, and a wrong hint costs one more read.

use std::fmt;

use quick_cache::sync::Cache;

use crate::{
    ids::{AgentAccountId, ServerId, UserId},
    servers::ServerAuth,
    table::Key,
};

/// How many hints of each kind are kept.
const CAPACITY: usize = 10_000;

pub(crate) struct PrefetchHints {
    /// The user to whom a pointer (by email or identity) led.
    pub users: Cache<Key, UserId>,
    /// The credentials that a server asked for.
    pub servers: Cache<ServerId, ServerAuth>,
    /// The grantor of a pair's shared grant.
    pub shared: Cache<(AgentAccountId, ServerId), UserId>,
    /// An active owner of an agent account.
    pub owners: Cache<AgentAccountId, UserId>,
}

impl Default for PrefetchHints {
    fn default() -> Self {
        Self {
            users: Cache::new(CAPACITY),
            servers: Cache::new(CAPACITY),
            shared: Cache::new(CAPACITY),
            owners: Cache::new(CAPACITY),
        }
    }
}

impl fmt::Debug for PrefetchHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrefetchHints")
    }
}
