//! `/api/v1/…`: managing users, agent accounts, their credentials, servers, policies and signing keys, and
//! reading the audit trail. A file for each resource; the rules are `deputize-core`'s.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod agent_accounts;
mod api_keys;
mod at_a_glance;
mod audit_events;
mod audit_export;
mod browser_sessions;
mod client_keys;
mod deleted;
pub mod erasing;
mod health;
mod me;
mod oauth_client;
mod openapi;
mod owners;
mod policies;
mod server_secrets;
mod servers;
mod shown_once;
mod signing_keys;
mod user_batches;
mod users;
mod visibility;

use std::sync::Arc;

use deputize_core::Core;
use deputize_service::routes::Routes;

/// The function's routes. Put the edge around them: [`deputize_service::edge::around`].
pub fn router(core: Arc<Core>) -> Routes {
    Routes::new()
        .merge(me::routes())
        .merge(api_keys::routes())
        .merge(browser_sessions::routes())
        .merge(agent_accounts::routes())
        .merge(client_keys::routes())
        .merge(servers::routes())
        .merge(users::routes())
        .merge(at_a_glance::routes())
        .merge(user_batches::routes())
        .merge(policies::routes())
        .merge(deleted::routes())
        .merge(audit_events::routes())
        .merge(audit_export::routes())
        .merge(signing_keys::routes())
        .merge(health::routes())
        .merge(openapi::routes())
        .with_state(core)
}
