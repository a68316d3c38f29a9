//! Who may call a management endpoint: users, by key or by token, and nobody else.

use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn a_user_is_known_by_key() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    assert_snapshot!(app.get("/api/v1/me").as_user(&alice).await, @r#"
    200 OK

    {
      "id": "[alice]",
      "email": "alice@example.com",
      "name": "alice",
      "role": "admin",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn a_key_may_come_as_a_bearer() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    assert_eq!(app.get("/api/v1/me").bearer(&bob.api_key).await.ok().field("email"), bob.email);
}

#[tokio::test]
async fn a_user_is_known_by_a_token_with_a_verified_email() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let me = app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
    assert_eq!(me.field("id"), bob.id.to_string());
}

#[tokio::test]
async fn a_user_is_known_by_issuer_and_subject() {
    let Scenario { app, .. } = Scenario::start().await;
    let dave = app.user("dave").without_email().known_to(&app.workos).await;
    let me = app.get("/api/v1/me").bearer(&app.workos.token("dave")).await.ok();
    assert_eq!(me.field("id"), dave.id.to_string());
}

#[tokio::test]
async fn a_newcomer_is_made_a_user_where_the_issuer_is_trusted_with_that() {
    let Scenario { app, .. } = Scenario::start().await;
    let me = app.get("/api/v1/me").bearer(&app.login.token("newcomer")).await;
    assert_snapshot!(me, @r#"
    200 OK

    {
      "id": "[uuid]",
      "email": "newcomer@example.com",
      "name": "newcomer",
      "role": "user",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(app.event_of(&me), @r#"
    action: "user.provision"
    audit_user: "[uuid]"
    credential: "user_token:https://login.example.com"
    outcome: "allowed"
    subject: "user:[uuid]"
    "#);
    let again = app.get("/api/v1/me").bearer(&app.login.token("newcomer")).await;
    assert_eq!(again.json(), me.json());
}

#[tokio::test]
async fn a_newcomer_stays_unknown_elsewhere() {
    let Scenario { app, .. } = Scenario::start().await;
    let before = app.contents();
    assert_snapshot!(app.get("/api/v1/me").bearer(&app.workos.token("newcomer")).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The token's user is unknown here", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "invalid_token",
      "error_description": "The token's user is unknown here",
      "detail": "The token's user is unknown here",
      "reason": "user_unknown"
    }
    "#);
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn an_unverified_email_makes_a_stranger_of_ones_own() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let token = app.login.token_with("mallory", |claims| {
        claims["email"] = "bob@example.com".into();
        claims["email_verified"] = false.into();
    });
    let me = app.get("/api/v1/me").bearer(&token).await.ok();
    assert_ne!(me.field("id"), bob.id.to_string());
    assert_snapshot!(me, @r#"
    200 OK

    {
      "id": "[uuid]",
      "email": null,
      "name": "mallory",
      "role": "user",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn an_email_from_an_issuer_that_may_not_link_is_no_ones() {
    let Scenario { app, .. } = Scenario::start().await;
    assert_snapshot!(app.get("/api/v1/me").bearer(&app.workos.token("alice")).await.refusal(), @"401 The token's user is unknown here");
}

#[tokio::test]
async fn an_agents_token_is_no_users() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    for token in [app.m2m(&bot).await, app.obo(&bot, &bob).await] {
        let answer = app.get("/api/v1/delegations").bearer(&token).await;
        assert_eq!(
            answer.refusal(),
            "403 This endpoint needs a user: send a user JWT or an API key, not an agent token"
        );
    }
}

#[tokio::test]
async fn an_agents_token_changes_nothing_anywhere() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    app.delegate(&bot, &alice).await;
    let token = app.obo(&bot, &alice).await;
    let before = app.contents();
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    let answers = [
        app.post(format!("{agent}/secrets")).bearer(&token).await,
        app.post(format!("{agent}/delegations")).bearer(&token).await,
        app.post(format!("{agent}/session-grants")).bearer(&token).json(&json!({ "server_id": "x" })).await,
        app.patch(&agent).bearer(&token).json(&json!({ "active": false })).await,
        app.post("/api/v1/api-keys").bearer(&token).json(&json!({ "name": "x" })).await,
        app.post("/api/v1/users").bearer(&token).json(&json!({})).await,
        app.post("/api/v1/signing-keys").bearer(&token).await,
        app.delete(format!("/api/v1/delegations/{}", bot.id)).bearer(&token).await,
    ];
    assert!(answers.iter().all(|answer| answer.status == 403));
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn without_a_credential_there_is_a_challenge() {
    let Scenario { app, .. } = Scenario::start().await;
    assert_snapshot!(app.get("/api/v1/me").await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "unauthorized",
      "error_description": "Authentication is required: send a bearer token or an API key",
      "detail": "Authentication is required: send a bearer token or an API key",
      "reason": "credential_missing"
    }
    "#);
}

#[tokio::test]
async fn a_credential_that_proves_nothing_is_refused() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let expired = app.login.token("bob");
    app.pass(Duration::from_secs(3630));
    let answer = app.get("/api/v1/me").bearer(&expired).await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="User token refused: the token has expired", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "invalid_token",
      "error_description": "User token refused: the token has expired",
      "detail": "User token refused: the token has expired",
      "reason": "user_token_refused"
    }
    "#);
    let get = || app.get("/api/v1/me");
    let answers = [
        get().bearer(&bot.secret).await,
        get().header("x-runlayer-api-key", &app.login.token("bob")).await,
        get().header("x-runlayer-api-key", &bob.api_key).header("x-runlayer-api-key", &bob.api_key).await,
        get().as_user(&bob).bearer(&app.login.token("bob")).await,
        get().basic("bob", "secret").await,
        get().bearer(&"a".repeat(7 * 1024 + 1)).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    401 User token refused: the token is malformed
    401 The API key is not valid
    400 The header x-runlayer-api-key occurs twice
    400 Send either an Authorization header or x-runlayer-api-key, not both
    401 The Authorization header must be: Bearer <token>
    401 The token is longer than the 7168 bytes that a header can hold
    ");
}

#[tokio::test]
async fn a_deactivated_user_is_refused_by_key_and_by_token() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let path = format!("/api/v1/users/{}", bob.id);
    app.patch(&path).as_user(&alice).json(&json!({ "active": false })).await.ok();
    let answers = [
        app.get("/api/v1/me").as_user(&bob).await,
        app.get("/api/v1/me").bearer(&app.login.token("bob")).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    401 The user is deactivated
    401 The user is deactivated
    ");
    app.patch(&path).as_user(&alice).json(&json!({ "active": true })).await.ok();
    // The API key does not come back with them.
    let by_key = app.get("/api/v1/me").as_user(&bob).await.refusal();
    assert_snapshot!(by_key, @"401 The API key ended when its user was deactivated; create another");
    app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
}

#[tokio::test]
async fn a_demoted_admin_is_none_on_the_next_call() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let dora = app.user("dora").admin().await;
    app.get("/api/v1/users").as_user(&dora).await.ok();
    let path = format!("/api/v1/users/{}", dora.id);
    app.patch(path).as_user(&alice).json(&json!({ "role": "user" })).await.ok();
    assert_snapshot!(app.get("/api/v1/users").as_user(&dora).await.refusal(), @"403 Only an auditor, an operator or an admin may do this");
}
