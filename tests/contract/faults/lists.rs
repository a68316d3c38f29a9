//! A store that ends pages early, as it does at 1 MB: a list goes on until it is said that there is no more.

use std::time::Duration;

use deputize_core::vault::Vault;
use deputize_tests::{TestApp, User, app::root, faults::Fault, store::skips_another_store};
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// All items of a list, page by page.
async fn all(app: &TestApp, user: &User, path: &str, limit: usize) -> Vec<Value> {
    let between = if path.contains('?') { '&' } else { '?' };
    let (mut items, mut next) = (Vec::new(), Some(format!("{path}{between}limit={limit}")));
    while let Some(path) = next {
        let page = app.get(path).as_user(user).await.ok();
        let on_page = page.json().as_array().unwrap().clone();
        assert!(on_page.len() <= limit);
        items.extend(on_page);
        next = page.next();
    }
    items
}

/// The stage with five of each thing that can be listed.
async fn five_of_each() -> Scenario {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, bot } = &scenario;
    app.permit_everything().await;
    for n in 0..5 {
        let user = app.user(&format!("user{n}")).await;
        app.delegate(bot, &user).await;
        let agent = app.agent(&format!("agent{n}"), bob).await;
        app.delegate(&agent, carol).await;
        let server = app.server(&format!("chat{n}")).oauth().await;
        app.policy(&format!("policy {n}"), "permit(principal is User, action, resource);").await;
        app.post("/api/v1/api-keys").as_user(bob).json(&json!({ "name": format!("key {n}") })).await.ok();
        for (user, shared) in [(bob, true), (carol, false)] {
            app.connect(user, &server).await;
            let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
            let body = json!({ "server_id": format!("chat{n}"), "shared": shared });
            app.post(path).as_user(user).json(&body).await.ok();
        }
        app.post("/api/v1/signing-keys").as_user(alice).await.ok();
        app.m2m(bot).await;
        app.pass(Duration::from_hours(10));
    }
    scenario
}

#[tokio::test]
async fn every_list_has_everything_once_and_in_order_though_its_pages_are_cut_short() {
    if skips_another_store("moto copies the hundreds of items for each transaction, which takes minutes") {
        return;
    }
    let Scenario { app, alice, bob, carol, bot } = five_of_each().await;
    let lists = [
        ("/api/v1/users".to_owned(), &alice, 8),
        ("/api/v1/agent-accounts".to_owned(), &alice, 6),
        ("/api/v1/agent-accounts".to_owned(), &bob, 5),
        ("/api/v1/servers".to_owned(), &alice, 5),
        ("/api/v1/policies".to_owned(), &alice, 6),
        ("/api/v1/api-keys".to_owned(), &bob, 6),
        (format!("/api/v1/users/{}/api-keys", bob.id), &alice, 6),
        (format!("/api/v1/agent-accounts/{}/delegations", bot.id), &alice, 6),
        ("/api/v1/delegations".to_owned(), &carol, 5),
        (format!("/api/v1/agent-accounts/{}/session-grants", bot.id), &carol, 10),
        (format!("/api/v1/agent-accounts/{}/session-grants", bot.id), &bob, 5),
        ("/api/v1/users?sort=name".to_owned(), &alice, 8),
        ("/api/v1/users?sort=email".to_owned(), &alice, 8),
        ("/api/v1/agent-accounts?sort=name".to_owned(), &alice, 6),
        (format!("/api/v1/agent-accounts?owner_user_id={}", bob.id), &bob, 5),
        ("/api/v1/servers?sort=name".to_owned(), &alice, 5),
        ("/api/v1/available-agents".to_owned(), &carol, 6),
        ("/api/v1/available-agents".to_owned(), &bob, 6),
        (format!("/api/v1/users/{}/agents", carol.id), &alice, 5),
        (format!("/api/v1/users/{}/session-grants", bob.id), &alice, 5),
        (format!("/api/v1/users/{}/connections", bob.id), &bob, 5),
        ("/api/v1/servers/chat3/delegations".to_owned(), &alice, 11),
        ("/api/v1/servers/chat3/session-grants".to_owned(), &alice, 2),
        ("/api/v1/servers/chat3/policies".to_owned(), &alice, 6),
        (format!("/api/v1/agent-accounts/{}/session-grants?all=true", bot.id), &alice, 10),
        ("/api/v1/audit-events".to_owned(), &alice, app.trail().len()),
        (format!("/api/v1/audit-events?user_id={}", bob.id), &alice, 11),
        (format!("/api/v1/audit-events?agent_account_id={}", bot.id), &alice, 21),
        ("/api/v1/audit-events?server_id=chat3".to_owned(), &alice, 2),
    ];
    for (path, user, count) in lists {
        let whole = all(&app, user, &path, 100).await;
        assert_eq!(whole.len(), count, "{path}");
        app.faults.always_on("Query", Fault::CutShort);
        for limit in [1, 4, 100] {
            assert_eq!(all(&app, user, &path, limit).await, whole, "{path} in pages of {limit}");
        }
        app.faults.stop();
    }
}

#[tokio::test]
async fn all_signing_keys_and_policies_are_read_though_their_pages_are_cut_short() {
    let Scenario { app, alice, bob, .. } = five_of_each().await;
    for _ in 0..5 {
        app.post("/api/v1/signing-keys").as_user(&alice).await.ok();
    }
    let check = json!({ "user_id": bob.id.to_string(), "server_id": "chat0", "tool_name": "t" });
    let answers = async |app: &TestApp| {
        let keys = app.get("/.well-known/jwks.json").await.ok().json();
        let decision = app.post("/api/v1/policies/check").as_user(&alice).json(&check).await.ok().json();
        (keys, decision)
    };
    let whole = answers(&app).await;
    assert_eq!(whole.0["keys"].as_array().unwrap().len(), 6);
    app.faults.always_on("Query", Fault::CutShort);
    let new = app.another(Vault::new(root(7), Vec::new())).await;
    assert_eq!(answers(&new).await, whole);
}
