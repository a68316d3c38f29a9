//! What the trail answers: what was changed, which events there are, and where they go.

mod changes;
mod export;
mod faults;
mod filters;
mod pseudonyms;

use deputize_tests::{TestResponse, User};
use serde_json::Value;

use crate::proxy::Permitted;

/// A page of the trail.
async fn list(it: &Permitted, user: &User, query: &str) -> TestResponse {
    it.app().get(format!("/api/v1/audit-events?{query}")).as_user(user).await
}

/// The events that Alice sees, newest first.
async fn events(it: &Permitted, query: &str) -> Vec<Value> {
    list(it, &it.scenario.alice, query).await.ok().json().as_array().unwrap().clone()
}
