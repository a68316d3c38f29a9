//! A user's email address changes: it leads to them from then on, and to nobody else.

use deputize_core::{issuers::LinkByEmail, table::Key};
use deputize_tests::{TestApp, TestResponse, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

async fn change(app: &TestApp, by: &User, whom: &User, body: Value) -> TestResponse {
    app.patch(format!("/api/v1/users/{}", whom.id)).as_user(by).json(&body).await
}

#[tokio::test]
async fn a_new_address_leads_to_its_user_and_the_former_one_to_nobody() {
    let it = Scenario::start().await;
    let app = it.app.linking([LinkByEmail::Any, LinkByEmail::Any]).await;
    let changed = change(&app, &it.alice, &it.bob, json!({ "email": "Robert@Example.com" })).await.ok();
    assert_eq!(changed.field("email"), "robert@example.com");
    assert_snapshot!(app.event_of(&changed), @r#"
    action: "user.update"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "user:[bob]"
    "#);
    let obo = |email: &str| {
        app.token_for(
            &it.bot,
            &[("actor_token", email), ("actor_token_type", "urn:runlayer:token-type:user-email")],
        )
    };
    obo("robert@example.com").await.ok();
    assert_eq!(obo("bob@example.com").await.status, 403);
    // Somebody else may have it now.
    app.post("/api/v1/users").as_user(&it.alice).json(&json!({ "email": "bob@example.com" })).await.ok();
    // The same address in another spelling is no change that could lose the pointer.
    change(&app, &it.alice, &it.bob, json!({ "email": "ROBERT@example.com" })).await.ok();
    obo("robert@example.com").await.ok();
}

#[tokio::test]
async fn an_address_that_is_another_users_is_refused_and_its_holder_named() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let before = app.contents();
    assert_snapshot!(change(&app, &alice, &bob, json!({ "email": "CAROL@example.com", "name": "x" })).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "email: it is another user's address",
      "detail": "email: it is another user's address",
      "reason": "already_exists",
      "conflict": {
        "kind": "user",
        "id": "[carol]"
      }
    }
    "#);
    change(&app, &alice, &carol, json!({ "active": false })).await.ok();
    let deactivated = app.contents();
    assert_ne!(deactivated, before);
    // The address of a deactivated user stays theirs.
    assert_eq!(change(&app, &alice, &bob, json!({ "email": "carol@example.com" })).await.status, 409);
    assert_snapshot!(change(&app, &alice, &carol, json!({ "email": "new@example.com" })).await.refusal(), @"409 a deactivated user keeps their email, which keeps them out: reactivate them first");
    assert_eq!(app.contents(), deactivated);
}

#[tokio::test]
async fn an_address_that_is_stored_in_its_former_form_moves_too() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let address = "info@bücher.example";
    change(&app, &alice, &bob, json!({ "email": address })).await.ok();
    let email = address.parse().unwrap();
    let keys: Vec<Key> = Key::users_by_email(&email).collect();
    let [deciding, former] = &keys[..] else { panic!("an address beyond ASCII has two forms") };
    app.copy(deciding, former, |_| ());
    change(&app, &alice, &bob, json!({ "email": "ida@example.com" })).await.ok();
    let left = app.core.table.read(keys.clone()).await.unwrap();
    assert!(keys.iter().all(|key| !left.contains(key)));
}

#[tokio::test]
async fn only_an_admin_changes_an_address() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let operator = app.user("oscar").role(deputize_core::users::Role::Operator).await;
    for by in [&bob, &operator] {
        let refused = change(&app, by, &bob, json!({ "email": "new@example.com", "active": true })).await;
        assert_eq!(refused.refusal(), "403 Only an admin may do this");
    }
}

#[tokio::test]
async fn a_user_whom_nothing_leads_to_is_not_made() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let create = |body: Value| app.post("/api/v1/users").as_user(&alice).json(&body);
    assert_snapshot!(create(json!({})).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "give an email or an identity: without one of them nobody can sign in as the user",
      "detail": "give an email or an identity: without one of them nobody can sign in as the user",
      "reason": "request_invalid"
    }
    "#);
    assert_eq!(create(json!({ "name": "Nobody", "role": "admin" })).await.status, 400);
    create(json!({ "identity": { "issuer": "https://id.example.com", "subject": "1" } })).await.ok();
}
