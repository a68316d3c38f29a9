//! The keys that sign agent tokens, over their lives.

use std::time::Duration;

use deputize_tests::jwt;
use insta::assert_snapshot;
use serde_json::json;

use crate::stage::Stage;

async fn published(stage: &Stage) -> Vec<String> {
    let keys = stage.app.get("/.well-known/jwks.json").await.json()["keys"].clone();
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn is_active(stage: &Stage, token: &str) -> bool {
    stage.app.about_token("introspect", &stage.bot, token).await.json()["active"] == true
}

#[tokio::test]
async fn after_a_rotation_old_tokens_are_good_and_new_ones_have_the_new_key() {
    let stage = Stage::set().await;
    let old = stage.app.m2m(&stage.bot).await;
    let rotated = stage.app.post("/api/v1/signing-keys").as_user(&stage.alice).await;
    assert_snapshot!(rotated, @r#"
    201 Created

    {
      "kid": "[kid]"
    }
    "#);
    let new = stage.app.m2m(&stage.bot).await;
    assert_eq!(jwt::header(&new)["kid"], rotated.field("kid"));
    assert_ne!(jwt::header(&old)["kid"], rotated.field("kid"));
    assert!(is_active(&stage, &old).await && is_active(&stage, &new).await);
    assert_eq!(published(&stage).await.len(), 2);
}

#[tokio::test]
async fn a_retired_key_goes_at_the_next_rotation_after_its_last_token() {
    let stage = Stage::set().await;
    let first = published(&stage).await;
    stage.app.post("/api/v1/signing-keys").as_user(&stage.alice).await.ok();
    stage.app.pass(Duration::from_secs(3661));
    stage.app.post("/api/v1/signing-keys").as_user(&stage.alice).await.ok();
    let now = published(&stage).await;
    assert_eq!(now.len(), 2);
    assert!(!now.contains(&first[0]));
}

#[tokio::test]
async fn a_revoked_key_kills_its_tokens_and_a_new_one_takes_its_place() {
    let stage = Stage::set().await;
    let token = stage.app.m2m(&stage.bot).await;
    let kid = jwt::header(&token)["kid"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/signing-keys/{kid}");
    assert_snapshot!(stage.app.delete(&path).as_user(&stage.alice).await, @"204 No Content");
    assert!(!is_active(&stage, &token).await);
    let called = stage.app.call("demo", "list_repos", &json!({})).bearer(&token).await;
    assert_snapshot!(called, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The token is signed with an unknown key", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"

    {
      "error": "invalid_token",
      "error_description": "The token is signed with an unknown key",
      "detail": "The token is signed with an unknown key"
    }
    "#);
    let exchanged = stage.app.exchange(&token, &stage.app.login.token("bob"), &[]).await;
    assert_snapshot!(exchanged.refusal(), @"400 invalid_request: subject_token: The token is signed with an unknown key");
    let new = stage.app.m2m(&stage.bot).await;
    assert!(is_active(&stage, &new).await);
    assert!(!published(&stage).await.contains(&kid));
    assert_snapshot!(stage.app.delete(&path).as_user(&stage.alice).await.refusal(), @"404 No such signing key");
}

#[tokio::test]
async fn a_revoked_retired_key_leaves_the_present_one_alone() {
    let stage = Stage::set().await;
    let old = stage.app.m2m(&stage.bot).await;
    stage.app.post("/api/v1/signing-keys").as_user(&stage.alice).await.ok();
    let new = stage.app.m2m(&stage.bot).await;
    let path = format!("/api/v1/signing-keys/{}", jwt::header(&old)["kid"].as_str().unwrap());
    stage.app.delete(path).as_user(&stage.alice).await.ok();
    assert!(!is_active(&stage, &old).await);
    assert!(is_active(&stage, &new).await);
    assert_eq!(published(&stage).await, [jwt::header(&new)["kid"].as_str().unwrap()]);
}

#[tokio::test]
async fn only_an_admin_rotates_and_revokes() {
    let stage = Stage::set().await;
    let before = stage.app.contents();
    let kid = published(&stage).await.remove(0);
    let answers = [
        stage.app.post("/api/v1/signing-keys").as_user(&stage.bob).await,
        stage.app.delete(format!("/api/v1/signing-keys/{kid}")).as_user(&stage.bob).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an admin may do this
    403 Only an admin may do this
    ");
    assert_eq!(stage.app.contents(), before);
}
