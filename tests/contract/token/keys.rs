//! The keys that sign agent tokens, over their lives.

use std::time::Duration;

use deputize_core::{table::Key, vault::Vault};
use deputize_tests::{app::root, jwt};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

async fn published(scenario: &Scenario) -> Vec<String> {
    let keys = scenario.app.get("/.well-known/jwks.json").await.json()["keys"].clone();
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn is_active(scenario: &Scenario, token: &str) -> bool {
    scenario.app.about_token("introspect", &scenario.bot, token).await.json()["active"] == true
}

#[tokio::test]
async fn after_a_rotation_old_tokens_are_good_and_new_ones_have_the_new_key() {
    let scenario = Scenario::start().await;
    let old = scenario.app.m2m(&scenario.bot).await;
    let rotated = scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await;
    assert_snapshot!(rotated, @r#"
    201 Created

    {
      "kid": "[kid]"
    }
    "#);
    let new = scenario.app.m2m(&scenario.bot).await;
    assert_eq!(jwt::header(&new)["kid"], rotated.field("kid"));
    assert_ne!(jwt::header(&old)["kid"], rotated.field("kid"));
    assert!(is_active(&scenario, &old).await && is_active(&scenario, &new).await);
    assert_eq!(published(&scenario).await.len(), 2);
}

#[tokio::test]
async fn a_retired_key_goes_at_the_next_rotation_after_its_last_token() {
    let scenario = Scenario::start().await;
    let first = published(&scenario).await;
    scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    scenario.app.pass(Duration::from_secs(3661));
    scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    let now = published(&scenario).await;
    assert_eq!(now.len(), 2);
    assert!(!now.contains(&first[0]));
}

#[tokio::test]
async fn a_revoked_key_kills_its_tokens_and_a_new_one_takes_its_place() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let kid = jwt::header(&token)["kid"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/signing-keys/{kid}");
    assert_snapshot!(scenario.app.delete(&path).as_user(&scenario.alice).await, @"204 No Content");
    assert!(!is_active(&scenario, &token).await);
    let called = scenario.app.call("demo", "list_repos", &json!({})).bearer(&token).await;
    assert_snapshot!(called, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The token is signed with an unknown key", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"

    {
      "error": "invalid_token",
      "error_description": "The token is signed with an unknown key",
      "detail": "The token is signed with an unknown key",
      "reason": "token_revoked"
    }
    "#);
    let exchanged = scenario.app.exchange(&token, &scenario.app.login.token("bob"), &[]).await;
    assert_snapshot!(exchanged.refusal(), @"400 invalid_request: subject_token: The token is signed with an unknown key");
    let new = scenario.app.m2m(&scenario.bot).await;
    assert!(is_active(&scenario, &new).await);
    assert!(!published(&scenario).await.contains(&kid));
    assert_eq!(scenario.app.delete(&path).as_user(&scenario.alice).await.status, 204);
}

#[tokio::test]
async fn a_revoked_retired_key_leaves_the_present_one_alone() {
    let scenario = Scenario::start().await;
    let old = scenario.app.m2m(&scenario.bot).await;
    scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    let new = scenario.app.m2m(&scenario.bot).await;
    let path = format!("/api/v1/signing-keys/{}", jwt::header(&old)["kid"].as_str().unwrap());
    scenario.app.delete(path).as_user(&scenario.alice).await.ok();
    assert!(!is_active(&scenario, &old).await);
    assert!(is_active(&scenario, &new).await);
    assert_eq!(published(&scenario).await, [jwt::header(&new)["kid"].as_str().unwrap()]);
}

#[tokio::test]
async fn only_an_admin_rotates_and_revokes() {
    let scenario = Scenario::start().await;
    let before = scenario.app.contents();
    let kid = published(&scenario).await.remove(0);
    let answers = [
        scenario.app.post("/api/v1/signing-keys").as_user(&scenario.bob).await,
        scenario.app.delete(format!("/api/v1/signing-keys/{kid}")).as_user(&scenario.bob).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an operator or an admin may do this
    403 Only an operator or an admin may do this
    ");
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn of_a_hundred_and_thirty_rotations_every_key_is_published_as_long_as_it_verifies() {
    let scenario = Scenario::start().await;
    let mut tokens: Vec<String> = Vec::new();
    for _ in 0..130 {
        let rotated = scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
        tokens.push(scenario.app.m2m(&scenario.bot).await);
        assert_eq!(jwt::header(tokens.last().unwrap())["kid"], rotated.field("kid"));
        // One every ten minutes: six in the last hour. The seventh has just ended.
        let published = published(&scenario).await;
        for token in tokens.iter().rev().take(6) {
            assert!(published.contains(&jwt::header(token)["kid"].as_str().unwrap().to_owned()));
        }
        if let [.., seventh, _, _, _, _, sixth_last, _] = &*tokens {
            assert!(is_active(&scenario, sixth_last).await);
            assert!(!is_active(&scenario, seventh).await);
        }
        scenario.app.pass(Duration::from_mins(10));
    }
    // Keys that no token can need are removed.
    let kept = scenario.app.contents().keys().filter(|key| key.starts_with("SIGNING_KEYS")).count();
    assert!(kept <= 8, "{kept}");
}

#[tokio::test]
async fn the_eleventh_key_within_a_tokens_lifetime_is_refused_with_the_time_at_which_it_is_possible() {
    let scenario = Scenario::start().await;
    for _ in 0..9 {
        scenario.app.pass(Duration::from_mins(5));
        scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    }
    assert_eq!(published(&scenario).await.len(), 10);
    let before = scenario.app.contents();
    let refused = scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await;
    assert_snapshot!(refused, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "10 signing keys are published, and 10 are the most there can be; the next rotation is possible at 2026-01-15T10:06:00.000Z, or sooner if keys are revoked",
      "detail": "10 signing keys are published, and 10 are the most there can be; the next rotation is possible at 2026-01-15T10:06:00.000Z, or sooner if keys are revoked",
      "reason": "limit_reached"
    }
    "#);
    assert_eq!(scenario.app.contents(), before);
    // Revoking a key makes room, and is always possible.
    let signs = jwt::header(&scenario.app.m2m(&scenario.bot).await)["kid"].clone();
    let other = published(&scenario).await.into_iter().find(|kid| signs != **kid).unwrap();
    scenario.app.delete(format!("/api/v1/signing-keys/{other}")).as_user(&scenario.alice).await.ok();
    scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    assert_eq!(published(&scenario).await.len(), 10);
    scenario.app.pass(Duration::from_mins(26));
    scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
}

#[tokio::test]
async fn more_keys_than_a_page_or_a_transaction_holds_are_published_and_can_be_revoked() {
    let scenario = Scenario::start().await;
    let first = published(&scenario).await.remove(0);
    // As keys were made before there was a limit, and before there were digests.
    for n in 0..130 {
        let kid = format!("{n:016x}");
        scenario.app.copy(&Key::signing_key(&first), &Key::signing_key(&kid), |key| {
            key["kid"] = json!({ "S": kid });
            key["retired_at"] = json!({ "S": scenario.app.now().to_string() });
        });
    }
    for copy in 0..Key::CONTROL_COPIES {
        scenario.app.forget(&Key::control(copy), "keys_digest");
    }
    // A process that has not read any of them yet.
    let app = scenario.app.another(Vault::new(root(7), Vec::new())).await;
    let scenario = Scenario { app, ..scenario };
    assert_eq!(published(&scenario).await.len(), 131);
    let refused = scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await;
    assert_snapshot!(refused.refusal(), @"409 131 signing keys are published, and 10 are the most there can be; the next rotation is possible at 2026-01-15T10:01:00.000Z, or sooner if keys are revoked");
    let path = format!("/api/v1/signing-keys/{:016x}", 129);
    scenario.app.delete(path).as_user(&scenario.alice).await.ok();
    assert_eq!(published(&scenario).await.len(), 130);
    scenario.app.pass(Duration::from_secs(3661));
    let rotated = scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    let mut now = [first, rotated.field("kid")];
    now.sort();
    assert_eq!(published(&scenario).await, now);
    for _ in 0..2 {
        scenario.app.post("/api/v1/signing-keys").as_user(&scenario.alice).await.ok();
    }
    let kept = scenario.app.contents().keys().filter(|key| key.starts_with("SIGNING_KEYS")).count();
    assert_eq!(kept, 4);
}
