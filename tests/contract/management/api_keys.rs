//! Users' API keys.

use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn a_user_creates_a_key_and_sees_it_once() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let answer = app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "laptop" })).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "[uuid]",
      "name": "laptop",
      "user_id": "[bob]",
      "scopes": [
        "tools:call",
        "manage:read",
        "manage"
      ],
      "server_ids": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "expires_at": null,
      "key": "[API key]"
    }
    "#);
    app.get("/api/v1/me").bearer(&answer.field("key")).await.ok();
    app.call_it("laptop's key", answer.field("id"));
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "api_key.create"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "api_key:[laptop's key]"
    "#);
    let list = app.get("/api/v1/api-keys").as_user(&bob).await.ok();
    assert!(!list.text.contains("rl_") && list.text.contains("laptop"), "{list}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_and_cannot_be_revoked_again() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let made = app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "laptop" })).await.ok();
    let path = format!("/api/v1/api-keys/{}", made.field("id"));
    let answer = app.delete(&path).as_user(&bob).await;
    assert_snapshot!(answer, @"204 No Content");
    assert_snapshot!(app.get("/api/v1/me").bearer(&made.field("key")).await.refusal(), @"401 The API key is not valid");
    assert_eq!(app.delete(&path).as_user(&bob).await.status, 204);
}

#[tokio::test]
async fn a_key_may_even_revoke_itself() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let id = app.get("/api/v1/api-keys").as_user(&bob).await.json()[0]["id"].as_str().unwrap().to_owned();
    app.delete(format!("/api/v1/api-keys/{id}")).as_user(&bob).await.ok();
    assert_eq!(app.get("/api/v1/me").as_user(&bob).await.status, 401);
}

#[tokio::test]
async fn an_admin_lists_and_revokes_anybodys_keys_and_others_their_own() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let keys = format!("/api/v1/users/{}/api-keys", bob.id);
    assert_snapshot!(app.get(&keys).as_user(&carol).await, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Only an auditor, an operator or an admin may do this",
      "detail": "Only an auditor, an operator or an admin may do this",
      "reason": "admin_required"
    }
    "#);
    let list = app.get(&keys).as_user(&alice).await.ok().json();
    let key = format!("{keys}/{}", list[0]["id"].as_str().unwrap());
    let before = app.contents();
    assert_snapshot!(app.delete(&key).as_user(&carol).await.refusal(), @"403 Only an operator or an admin may do this");
    assert_eq!(app.contents(), before);
    app.delete(&key).as_user(&alice).await.ok();
    assert_eq!(app.get("/api/v1/me").as_user(&bob).await.status, 401);
}

#[tokio::test]
async fn a_key_that_ends_in_the_past_or_has_no_name_is_not_made() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let before = app.contents();
    let mut refusals = Vec::new();
    for body in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "a\nb" }),
        json!({ "name": "x".repeat(201) }),
        json!({ "name": ["x"] }),
        json!({ "name": "x", "expires_at": "2026-01-15T09:00:00Z" }),
        json!({ "name": "x", "expires_at": "soon" }),
    ] {
        refusals.push(app.post("/api/v1/api-keys").as_user(&bob).json(&body).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 name: is missing
    400 name: must have 1 to 200 characters and no control characters
    400 name: must have 1 to 200 characters and no control characters
    400 name: must have 1 to 200 characters and no control characters
    400 name: must be a string, not an array
    400 expires_at must be in the future
    400 expires_at: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z
    ");
    assert_eq!(app.contents(), before);
}
