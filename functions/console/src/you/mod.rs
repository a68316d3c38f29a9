//! The console's pages for everybody.
//!
//! | file | holds |
//! | --- | --- |
//! | `acts` | who acts for the person, and the buttons that end it |
//! | `delegate` | the agents that one can delegate to, and what one of them may do |
//! | `choices` | what forms ask: where, and until when |
//! | `week` | what agents did of late |
//! | `known_servers` | the servers that delegations are for |
//! | `whose` | whose credentials agents use |
//! | `connections`, `connection` | where the person is connected; who uses one connection |
//! | `apps` | apps that act as the person, and browsers in which they are signed in |
//! | `keys` | API keys |
//! | `activity`, `event` | what was done as the person or for them; one event, and what stops it |
//! | `told` | an event as a sentence |
//!
//! The end of a connection is the grants function's (`disconnecting`): it may open what is revoked at the provider, and
//! this one may not.
//!
//! Each page asks the core as the API does, as the same caller. So it shows nothing that the API would not, and what is
//! pressed is decided there.

mod activity;
mod acts;
mod apps;
mod choices;
mod connection;
mod connections;
mod delegate;
mod event;
mod keys;
mod known_servers;
mod told;
mod week;
mod whose;

use std::sync::Arc;

use axum::routing::{get, post};
use deputize_api::path;
use deputize_core::Core;
use deputize_service::routes::Routes;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new()
        .route(path::HOME, get(acts::acts))
        .route(path::END_DELEGATION, post(acts::end))
        .route(path::UNDO_END, post(acts::undo))
        .route(path::END_ALL, get(acts::ask_to_end_all).post(acts::end_all))
        .route(path::DELEGATE, get(delegate::choose))
        .route(path::DELEGATE_TO, get(delegate::ask).post(delegate::delegate))
        .route(path::MY_CONNECTIONS, get(connections::connections))
        .route(path::MY_CONNECTION, get(connection::connection))
        .route(path::LEND, get(connection::ask_to_share).post(connection::lend))
        .route(path::TAKE_BACK, post(connection::take_back))
        .route(path::MY_APPS, get(apps::apps).post(apps::end_app))
        .route(path::END_BROWSER, post(apps::end_browser))
        .route(path::MY_KEYS, get(keys::keys).post(keys::create))
        .route(path::DELETE_KEY, post(keys::delete))
        .route(path::RESTORE_KEY, post(keys::restore))
        .route(path::ACTIVITY, get(activity::activity))
        .route(path::ACTIVITY_EVENT, get(event::event))
}
