//! `POST /api/v1/oauth/revoke` (RFC 7009): a client gives up a token of its own.

use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn a_revoked_token_is_good_for_nothing_and_others_are() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (token, other) = (app.m2m(&bot).await, app.m2m(&bot).await);
    let answer = app.about_token("revoke", &bot, &token).await;
    assert_snapshot!(answer, @"200 OK");
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.revoke"
    audit_agent: "[bot]"
    credential: "client_secret:[bot's first secret]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
    assert_eq!(app.about_token("introspect", &bot, &token).await.json(), json!({ "active": false }));
    assert_eq!(app.about_token("introspect", &bot, &other).await.json()["active"], true);
}

#[tokio::test]
async fn revoking_again_is_no_error() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let token = app.m2m(&bot).await;
    app.about_token("revoke", &bot, &token).await.ok();
    app.about_token("revoke", &bot, &token).await.ok();
}

#[tokio::test]
async fn revoking_what_is_no_token_is_no_error() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let before = app.contents();
    app.about_token("revoke", &bot, "nonsense").await.ok();
    app.about_token("revoke", &bot, &app.login.token("bob")).await.ok();
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn another_clients_token_is_left_alone() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let token = app.m2m(&bot).await;
    let before = app.contents();
    assert_snapshot!(app.about_token("revoke", &other, &token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "The token was issued to another client",
      "detail": "invalid_grant: The token was issued to another client",
      "reason": "other_clients_token"
    }
    "#);
    assert_eq!(app.contents(), before);
    assert_eq!(app.about_token("introspect", &bot, &token).await.json()["active"], true);
}

#[tokio::test]
async fn a_client_must_authenticate_and_name_a_token() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let token = app.m2m(&bot).await;
    let anonymous = app.post("/api/v1/oauth/revoke").form(&[("token", &token)]).await;
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
    assert_snapshot!(app.about_token("revoke", &bot, "").await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "The parameter token is missing",
      "detail": "invalid_request: The parameter token is missing",
      "reason": "request_invalid"
    }
    "#);
}
