//! Changes that race leave the entries of lists that their items say, and no others.

use std::collections::BTreeMap;

use deputize_core::{reindex, vault::Vault};
use deputize_tests::{TestApp, app::root};
use serde_json::{Value, json};

use super::others::at_once;
use crate::scenario::Scenario;

/// The table without revisions and the trail.
fn contents(app: &TestApp) -> BTreeMap<String, Value> {
    let mut contents = app.contents();
    for item in contents.values_mut() {
        item.as_object_mut().unwrap().remove("rev");
    }
    contents
}

/// Whether the lists are what they are if they are made anew from the items.
async fn lists_are_right(app: &TestApp) {
    let before = contents(app);
    app.forget_entries_of_lists();
    let new = app.another(Vault::new(root(7), Vec::new())).await;
    reindex::run(&new.core.table, false, |_| {}).await.unwrap();
    let after = contents(app);
    let differing: Vec<_> = before
        .iter()
        .filter(|(key, item)| after.get(*key) != Some(*item))
        .map(|(key, _)| key)
        .chain(after.keys().filter(|key| !before.contains_key(*key)))
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn users_and_agents_that_are_changed_at_once_are_in_the_lists_that_they_end_in() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let (user, agent) = (format!("/api/v1/users/{}", bob.id), format!("/api/v1/agent-accounts/{}", bot.id));
    let asks = (0..12).flat_map(|n| {
        let groups: Vec<String> = (0..n).map(|m| format!("g{m}")).collect();
        let to_user = json!({ "name": format!("bob {n}"), "groups": groups, "active": n % 3 != 0 });
        let visibility = if n % 2 == 0 { json!("owners") } else { json!("everyone") };
        let to_agent = json!({ "name": format!("bot {n}"), "groups": groups, "visibility": visibility });
        [app.patch(&user).as_user(&alice).json(&to_user), app.patch(&agent).as_user(&alice).json(&to_agent)]
    });
    let answers = at_once(&app, asks).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    lists_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn delegations_and_grants_that_come_and_go_at_once_are_in_the_lists_that_they_end_in() {
    let Scenario { app, bob, carol, bot, .. } = Scenario::start().await;
    for id in ["s0", "s1", "s2"] {
        let server = app.server(id).oauth().await;
        for user in [&bob, &carol] {
            app.connect(user, &server).await;
        }
    }
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    let asks = (0..12).flat_map(|n| {
        let user = if n % 2 == 0 { &bob } else { &carol };
        let servers = if n % 4 == 0 { json!(null) } else { json!([format!("s{}", n % 3)]) };
        let delegation = app.post(format!("{agent}/delegations")).as_user(user);
        let grant = json!({ "server_id": format!("s{}", n % 3), "shared": n % 5 == 0 });
        [
            delegation.json(&json!({ "server_ids": servers })),
            app.post(format!("{agent}/session-grants")).as_user(user).json(&grant),
        ]
    });
    let answers = at_once(&app, asks).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let mine = app.get("/api/v1/delegations").as_user(&bob).await.ok().json();
    let id = mine[0]["id"].as_str().unwrap();
    app.delete(format!("/api/v1/delegations/{id}")).as_user(&bob).await.ok();
    lists_are_right(&app).await;
}
