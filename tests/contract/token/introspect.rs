//! `POST /api/v1/oauth/introspect` (RFC 7662): what a token is worth at this moment.

use deputize_tests::jwt;
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn a_good_token_is_described() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let token = app.m2m(&bot).await;
    assert_snapshot!(app.about_token("introspect", &bot, &token).await, @r#"
    200 OK

    {
      "active": true,
      "scope": "tools:call",
      "client_id": "[bot]",
      "token_type": "Bearer",
      "exp": 1768471200,
      "iat": 1768467600,
      "sub": "[bot]",
      "aud": "https://deputize.test/api/v1/proxy",
      "iss": "https://deputize.test",
      "jti": "[uuid]"
    }
    "#);
}

#[tokio::test]
async fn a_good_token_for_a_user_is_described_with_its_actor() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let token = app.obo(&bot, &bob).await;
    assert_snapshot!(app.about_token("introspect", &bot, &token).await, @r#"
    200 OK

    {
      "active": true,
      "scope": "tools:call",
      "client_id": "[bot]",
      "token_type": "Bearer",
      "exp": 1768471200,
      "iat": 1768467600,
      "sub": "[bob]",
      "aud": "https://deputize.test/api/v1/proxy",
      "iss": "https://deputize.test",
      "jti": "[uuid]",
      "act": {
        "sub": "[bot]"
      }
    }
    "#);
}

#[tokio::test]
async fn another_clients_token_is_only_said_to_be_inactive() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let token = app.m2m(&bot).await;
    assert_snapshot!(app.about_token("introspect", &other, &token).await, @r#"
    200 OK

    {
      "active": false
    }
    "#);
}

#[tokio::test]
async fn a_client_must_authenticate_and_name_a_token() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let token = app.m2m(&bot).await;
    let anonymous = app.post("/api/v1/oauth/introspect").form(&[("token", &token)]).await;
    assert_snapshot!(anonymous, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
    assert_snapshot!(app.about_token("introspect", &bot, "").await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "The parameter token is missing",
      "detail": "invalid_request: The parameter token is missing",
      "reason": "request_invalid"
    }
    "#);
}

#[tokio::test]
async fn a_revoked_delegation_makes_a_token_inactive_and_a_new_one_does_not_wake_it() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let token = app.obo(&bot, &bob).await;
    let delegation = jwt::claims(&token)["delegation_id"].as_str().unwrap().to_owned();
    app.delete(format!("/api/v1/delegations/{delegation}")).as_user(&bob).await.ok();
    assert_eq!(app.about_token("introspect", &bot, &token).await.json(), json!({ "active": false }));
    app.delegate(&bot, &bob).await;
    assert_eq!(app.about_token("introspect", &bot, &token).await.json(), json!({ "active": false }));
}

#[tokio::test]
async fn a_deactivated_user_makes_a_token_inactive() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let token = app.obo(&bot, &bob).await;
    let path = format!("/api/v1/users/{}", bob.id);
    app.patch(path).as_user(&alice).json(&json!({ "active": false })).await.ok();
    assert_eq!(app.about_token("introspect", &bot, &token).await.json(), json!({ "active": false }));
}

#[tokio::test]
async fn a_revoked_secret_makes_its_tokens_inactive_and_no_others() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let secrets = format!("/api/v1/agent-accounts/{}/secrets", bot.id);
    let added = app.post(&secrets).as_user(&alice).await.ok();
    let second = deputize_tests::Agent { secret: added.field("client_secret"), ..bot.clone() };
    let (old, new) = (app.m2m(&bot).await, app.m2m(&second).await);
    let first = jwt::claims(&old)["client_secret_id"].as_str().unwrap().to_owned();
    app.delete(format!("{secrets}/{first}")).as_user(&alice).await.ok();
    assert_eq!(app.about_token("introspect", &second, &old).await.json(), json!({ "active": false }));
    assert_eq!(app.about_token("introspect", &second, &new).await.json()["active"], true);
}

#[tokio::test]
async fn a_users_token_is_no_token_of_ours() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    for token in [&app.login.token("bob"), &bob.api_key] {
        assert_eq!(app.about_token("introspect", &bot, token).await.json(), json!({ "active": false }));
    }
}
