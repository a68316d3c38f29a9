//! Users, as admins manage them.

use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn an_admin_creates_a_user_whom_a_token_then_leads_to() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let body = json!({
        "email": "Dave@Example.com", "name": "Dave", "role": "admin", "groups": ["ops"],
        "identity": { "issuer": app.workos.url(), "subject": "user_dave" },
    });
    let answer = app.post("/api/v1/users").as_user(&alice).json(&body).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "[uuid]",
      "email": "dave@example.com",
      "name": "Dave",
      "role": "admin",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [
        "ops"
      ],
      "identities": [
        {
          "issuer": "https://api.workos.com/client_1",
          "subject": "user_dave"
        }
      ],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    app.call_it("dave", answer.field("id"));
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "user.create"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "user:[dave]"
    "#);
    let me = app.get("/api/v1/me").bearer(&app.workos.token("dave")).await.ok();
    assert_eq!(me.json(), answer.json());
}

#[tokio::test]
async fn an_email_or_identity_is_one_users() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.user("dave").known_to(&app.workos).await;
    let before = app.contents();
    let email = json!({ "email": "BOB@example.com" });
    assert_snapshot!(app.post("/api/v1/users").as_user(&alice).json(&email).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "a user with that email or identity exists",
      "detail": "a user with that email or identity exists",
      "reason": "already_exists",
      "conflict": {
        "kind": "user",
        "id": "[bob]"
      }
    }
    "#);
    let identity = json!({ "identity": { "issuer": app.workos.url(), "subject": "user_dave" } });
    assert_snapshot!(app.post("/api/v1/users").as_user(&alice).json(&identity).await.refusal(), @"409 a user with that email or identity exists");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn only_an_admin_creates_lists_and_changes_users() {
    let Scenario { app, bob, carol, .. } = Scenario::start().await;
    let before = app.contents();
    let answers = [
        app.post("/api/v1/users").as_user(&bob).json(&json!({ "email": "x@example.com" })).await,
        app.get("/api/v1/users").as_user(&bob).await,
        app.get(format!("/api/v1/users/{}", carol.id)).as_user(&bob).await,
        app.patch(format!("/api/v1/users/{}", carol.id)).as_user(&bob).json(&json!({ "name": "X" })).await,
        app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&bob).json(&json!({ "role": "admin" })).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an admin may do this
    403 Only an auditor, an operator or an admin may do this
    403 Only an auditor, an operator or an admin may do this
    403 Only an admin may do this
    403 Only an admin may do this
    ");
    assert_eq!(app.contents(), before);
    app.get(format!("/api/v1/users/{}", bob.id)).as_user(&bob).await.ok();
}

#[tokio::test]
async fn an_admin_changes_a_user() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.pass(std::time::Duration::from_mins(1));
    let body = json!({ "name": "Robert", "active": false, "groups": ["ops"] });
    let answer = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&alice).json(&body).await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "id": "[bob]",
      "email": "bob@example.com",
      "name": "Robert",
      "role": "user",
      "active": false,
      "is_active": false,
      "deactivated_by": "admin",
      "deactivated_at": "2026-01-15T09:01:00.000Z",
      "groups": [
        "ops"
      ],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:01:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn an_admin_cannot_deactivate_or_demote_themselves() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let path = format!("/api/v1/users/{}", alice.id);
    let answers = [
        app.patch(&path).as_user(&alice).json(&json!({ "active": false })).await,
        app.patch(&path).as_user(&alice).json(&json!({ "role": "user" })).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    409 an admin cannot deactivate or demote themselves
    409 an admin cannot deactivate or demote themselves
    ");
}

#[tokio::test]
async fn what_a_user_cannot_be_is_refused_by_field() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let before = app.contents();
    let mut refusals = Vec::new();
    for body in [
        json!({ "email": "nobody" }),
        json!({ "email": 1 }),
        json!({ "role": "root" }),
        json!({ "groups": "ops" }),
        json!({ "groups": [""] }),
        json!({ "groups": vec!["g"; 51] }),
        json!({ "identity": { "issuer": "x", "subject": "y" } }),
        json!({ "identity": { "issuer": "https://x.example.com" } }),
    ] {
        refusals.push(app.post("/api/v1/users").as_user(&alice).json(&body).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 email: not an email address
    400 email: must be a string, not a number
    400 role: must be user, auditor, operator or admin
    400 groups: must be an array, not a string
    400 groups[0]: must have 1 to 128 characters and no control characters
    400 groups: must be at most 50 groups
    400 identity.issuer: must begin with https:// or http://
    400 identity.subject: is missing
    ");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn a_user_who_is_not_there_is_not_found() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let path = "/api/v1/users/00000000-0000-4000-8000-000000000001";
    assert_snapshot!(app.get(path).as_user(&alice).await.refusal(), @"404 No such user");
    assert_snapshot!(app.patch(path).as_user(&alice).json(&json!({})).await.refusal(), @"404 No such user");
}
