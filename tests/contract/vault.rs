//! Changing the root key that signing keys and upstream tokens are sealed under, while everything goes on.

use deputize_core::{table::Key, vault::Vault};
use deputize_tests::{McpServer, TestApp, app::root, faults::Fault, jwt};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

/// A process whose current root is `current`. It can still open what root 7 has sealed, which is that of a
/// new app.
async fn on_a_new_root(app: &TestApp, current: u8) -> TestApp {
    app.another(Vault::new(root(current), vec![root(7)])).await
}

fn key_of(token: &str) -> Key {
    Key::signing_key(jwt::header(token)["kid"].as_str().unwrap())
}

async fn is_active(scenario: &Scenario, app: &TestApp, token: &str) -> bool {
    app.about_token("introspect", &scenario.bot, token).await.json()["active"] == true
}

#[tokio::test]
async fn under_a_new_root_the_signing_key_stays_and_is_sealed_anew_when_it_signs() {
    let scenario = Scenario::start().await;
    let old = scenario.app.m2m(&scenario.bot).await;
    let key = key_of(&old);
    assert_eq!(scenario.app.root_of(&key, "private"), root(7).id());

    let app = on_a_new_root(&scenario.app, 8).await;
    assert!(is_active(&scenario, &app, &old).await);
    assert_eq!(scenario.app.root_of(&key, "private"), root(7).id(), "verifying opens nothing");
    let new = app.m2m(&scenario.bot).await;
    assert_eq!(key_of(&new), key);
    assert_eq!((app.root_of(&key, "private").as_str(), app.revision(&key)), (root(8).id(), 2));

    // The old root is no longer needed, and nothing is written again.
    let app = app.another(Vault::new(root(8), Vec::new())).await;
    let newer = app.m2m(&scenario.bot).await;
    for token in [&old, &new, &newer] {
        assert!(is_active(&scenario, &app, token).await);
    }
    assert_eq!(app.revision(&key), 2);
}

#[tokio::test]
async fn many_processes_that_start_on_a_new_root_at_once_all_sign() {
    let scenario = Scenario::start().await;
    let key = key_of(&scenario.app.m2m(&scenario.bot).await);
    let mut apps = Vec::new();
    for _ in 0..5 {
        apps.push(on_a_new_root(&scenario.app, 8).await);
    }
    let tokens = futures::future::join_all(apps.iter().map(|app| app.m2m(&scenario.bot))).await;
    for token in tokens {
        assert!(is_active(&scenario, &scenario.app, &token).await);
    }
    assert_eq!(
        (scenario.app.root_of(&key, "private").as_str(), scenario.app.revision(&key)),
        (root(8).id(), 2)
    );
}

#[tokio::test]
async fn a_signing_key_that_cannot_be_written_back_signs_all_the_same() {
    let scenario = Scenario::start().await;
    let key = key_of(&scenario.app.m2m(&scenario.bot).await);
    for fault in Fault::BEFORE {
        let app = on_a_new_root(&scenario.app, 8).await;
        app.faults.always_on("TransactWriteItems", fault);
        let token = app.m2m(&scenario.bot).await;
        app.faults.stop();
        assert!(is_active(&scenario, &app, &token).await, "{fault:?}");
        assert_eq!(app.root_of(&key, "private"), root(7).id(), "{fault:?}");
    }
    on_a_new_root(&scenario.app, 8).await.m2m(&scenario.bot).await;
    assert_eq!(scenario.app.root_of(&key, "private"), root(8).id());
}

#[tokio::test]
async fn without_the_old_root_old_tokens_are_good_but_none_is_issued_until_the_keys_are_rotated() {
    let scenario = Scenario::start().await;
    let old = scenario.app.m2m(&scenario.bot).await;
    let before = scenario.app.revision(&key_of(&old));
    let app = scenario.app.another(Vault::new(root(8), Vec::new())).await;
    assert!(is_active(&scenario, &app, &old).await);
    assert_snapshot!(app.token_for(&scenario.bot, &[]).await.refusal(), @"500 Internal error");
    assert_eq!(app.revision(&key_of(&old)), before);

    app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    let new = app.m2m(&scenario.bot).await;
    assert_eq!(app.root_of(&key_of(&new), "private"), root(8).id());
    assert!(is_active(&scenario, &app, &old).await && is_active(&scenario, &app, &new).await);
}

#[tokio::test]
async fn under_a_new_root_calls_use_the_sessions_that_users_have() {
    let scenario = Scenario::start().await;
    let mcp = McpServer::start().await;
    scenario.app.permit_everything().await;
    let chat = scenario.app.server("chat").oauth().at(mcp.oauth_url()).await;
    scenario.app.connect(&scenario.bob, &chat).await;

    let key = Key::session(scenario.bob.id, &chat.id);
    let before = scenario.app.root_of(&key, "tokens");
    let app = on_a_new_root(&scenario.app, 8).await;
    let call = async || {
        let called = app.call("chat", "list_channels", &json!({})).as_user(&scenario.bob).await;
        assert_eq!(called.json()["structuredContent"]["acting_as"], "bob", "{called}");
    };
    call().await;
    assert_ne!(app.root_of(&key, "tokens"), before);
    // It is written only once.
    let revision = app.revision(&key);
    call().await;
    assert_eq!(app.revision(&key), revision);
}

#[tokio::test]
async fn a_session_that_cannot_be_sealed_anew_is_used_all_the_same() {
    let scenario = Scenario::start().await;
    let mcp = McpServer::start().await;
    scenario.app.permit_everything().await;
    let chat = scenario.app.server("chat").oauth().at(mcp.oauth_url()).await;
    scenario.app.connect(&scenario.bob, &chat).await;
    let app = on_a_new_root(&scenario.app, 8).await;
    app.faults.always_on("TransactWriteItems", Fault::Throttled);
    let called = app.call("chat", "list_channels", &json!({})).as_user(&scenario.bob).await;
    assert_eq!(called.json()["structuredContent"]["acting_as"], "bob", "{called}");
}
