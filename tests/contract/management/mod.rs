//! The management endpoints: what each does, for whom, and what it refuses.

mod agent_accounts;
mod api_keys;
mod apps;
mod callers;
mod client_keys;
mod delegations;
mod emails_of_tokens;
mod identities;
mod input;
mod pages;
mod policies;
mod probe;
mod retention;
mod servers;
mod stopped;
mod strangers;
mod unknown;
mod users;
