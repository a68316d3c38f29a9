//! What every call leaves in the audit trail.

use deputize_core::{clock::Random, ids::ApiKeyId, secret::new_api_key};
use insta::assert_snapshot;
use secrecy::ExposeSecret;
use serde_json::json;

use super::Permitted;

#[tokio::test]
async fn an_agents_own_call() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await.ok();
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
}

#[tokio::test]
async fn a_call_for_a_user() {
    let it = Permitted::set().await;
    let token = it.app().obo(it.bot(), it.bob()).await;
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await.ok();
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
}

#[tokio::test]
async fn a_users_call_by_key_and_by_token() {
    let it = Permitted::set().await;
    let call = || it.app().call("demo", "list_repos", &json!({ "org": "acme" }));
    let by_key = call().as_user(it.bob()).await.ok();
    assert_snapshot!(it.app().event_of(&by_key), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
    let by_token = call().bearer(&it.app().login.token("bob")).await.ok();
    assert_snapshot!(it.app().event_of(&by_token), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "user_token:https://login.example.com"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
}

#[tokio::test]
async fn no_argument_and_no_secret_is_in_the_trail() {
    let it = Permitted::set().await;
    let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
    for token in [&own, &for_bob, &it.bob().api_key, &it.app().login.token("bob")] {
        let arguments = json!({ "org": "acme-secret", "password": "hunter2" });
        it.app().call("demo", "list_repos", &arguments).bearer(token).await.ok();
    }
    it.app().call("demo", "no_such_tool", &json!({ "password": "hunter2" })).bearer(&own).await;
    let trail = serde_json::to_string(&it.app().trail()).unwrap();
    for secret in ["hunter2", "acme-secret", "eyJ", "rl_", "dps_", &it.bot().secret] {
        assert!(!trail.contains(secret), "{secret} in {trail}");
    }
}

#[tokio::test]
async fn a_duration_is_measured_and_the_request_id_is_the_answers() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await.ok();
    let trail = it.app().trail();
    let id = answer.header("x-request-id").unwrap();
    let event = trail.iter().find(|event| event["request_id"] == id).unwrap();
    assert_eq!(event["duration_ms"], 0, "the clock stands still");
    assert_eq!(event["at"], "2026-01-15T09:00:00.000Z");
}

#[tokio::test]
async fn a_made_up_api_key_leaves_nothing_under_the_name_that_it_claims() {
    let it = Permitted::set().await;
    // Anyone can make up a well-formed key that names a user.
    let id = ApiKeyId(uuid::Uuid::new_v4());
    let key = new_api_key(&Random::System, it.bob().id, id).unwrap().text;
    let before = it.app().trail().len();
    let call = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(key.expose_secret());
    assert_eq!(call.await.refusal(), "401 The API key is not valid");
    assert_eq!(it.app().trail().len(), before);
}
