//! The two-step exchange (RFC 8693): an agent's token and a user's become one.

use std::time::Duration;

use deputize_tests::{jwt, request::ACCESS_TOKEN};
use insta::assert_snapshot;
use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn an_agents_token_and_a_users_become_one_without_client_authentication() {
    let Stage { app, bob, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&agent, &user, &[]).await;
    assert_snapshot!(answer, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "tools:call"
    }
    "#);
    let claims = jwt::claims(&answer.access_token());
    assert_eq!(claims["sub"], bob.id.to_string());
    assert_eq!(claims["act"]["sub"], bot.id.to_string());
    assert_eq!(claims["client_secret_id"], jwt::claims(&agent)["client_secret_id"]);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
}

#[tokio::test]
async fn the_client_may_authenticate_too() {
    let Stage { app, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let id = bot.id.to_string();
    app.exchange(&agent, &user, &[]).basic(&id, &bot.secret).await.ok();
    app.exchange(&agent, &user, &[("client_id", &id), ("client_secret", &bot.secret)]).await.ok();
}

#[tokio::test]
async fn a_client_cannot_exchange_another_clients_token() {
    let Stage { app, alice, bot, .. } = Stage::set().await;
    let other = app.agent("other", &alice).await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&agent, &user, &[]).basic(&other.id.to_string(), &other.secret).await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it was issued to another client",
      "detail": "invalid_request: subject_token: it was issued to another client"
    }
    "#);
}

#[tokio::test]
async fn a_wrong_secret_is_not_overlooked_because_there_is_a_token() {
    let Stage { app, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answer = app.exchange(&agent, &user, &[]).basic(&bot.id.to_string(), "dps_wrong").await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed"
    }
    "#);
}

#[tokio::test]
async fn a_token_that_acts_for_a_user_already_is_no_subject() {
    let Stage { app, bob, bot, .. } = Stage::set().await;
    let (agent, user) = (app.obo(&bot, &bob).await, app.login.token("bob"));
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it acts for a user already; exchange the agent's own token",
      "detail": "invalid_request: subject_token: it acts for a user already; exchange the agent's own token"
    }
    "#);
}

#[tokio::test]
async fn a_users_token_is_no_subject_and_an_agents_is_no_actor() {
    let Stage { app, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    assert_snapshot!(app.exchange(&user, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: The token is not an agent token",
      "detail": "invalid_request: subject_token: The token is not an agent token"
    }
    "#);
    assert_snapshot!(app.exchange(&agent, &agent, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the token is from an untrusted issuer",
      "detail": "invalid_grant: actor_token: the token is from an untrusted issuer"
    }
    "#);
    let single = app.token_for(&bot, &[("actor_token", &agent), ("actor_token_type", ACCESS_TOKEN)]).await;
    assert_snapshot!(single.refusal(), @"400 invalid_grant: actor_token: the token is from an untrusted issuer");
}

#[tokio::test]
async fn an_api_key_is_neither() {
    let Stage { app, bob, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let answers =
        [app.exchange(&bob.api_key, &user, &[]).await, app.exchange(&agent, &bob.api_key, &[]).await];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    400 invalid_request: subject_token: The token is malformed
    400 invalid_grant: actor_token: the token is malformed
    ");
}

#[tokio::test]
async fn an_expired_subject_is_refused() {
    let Stage { app, bot, .. } = Stage::set().await;
    let agent = app.m2m(&bot).await;
    app.pass(Duration::from_hours(1));
    assert_snapshot!(app.exchange(&agent, &app.login.token("bob"), &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: The token has expired",
      "detail": "invalid_request: subject_token: The token has expired"
    }
    "#);
}

#[tokio::test]
async fn a_revoked_subject_is_refused() {
    let Stage { app, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    app.about_token("revoke", &bot, &agent).await.ok();
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it has been revoked",
      "detail": "invalid_request: subject_token: it has been revoked"
    }
    "#);
}

#[tokio::test]
async fn a_subject_whose_secret_is_revoked_is_refused() {
    let Stage { app, alice, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let secret = jwt::claims(&agent)["client_secret_id"].as_str().unwrap().to_owned();
    app.delete(format!("/api/v1/agent-accounts/{}/secrets/{secret}", bot.id)).as_user(&alice).await.ok();
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "subject_token: it has been revoked",
      "detail": "invalid_request: subject_token: it has been revoked"
    }
    "#);
}

#[tokio::test]
async fn a_subject_whose_account_is_disabled_is_refused() {
    let Stage { app, alice, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    let account = app.patch(format!("/api/v1/agent-accounts/{}", bot.id)).as_user(&alice);
    account.json(&json!({ "active": false })).await.ok();
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed"
    }
    "#);
}

#[tokio::test]
async fn without_a_delegation_there_is_no_exchange() {
    let Stage { app, bot, .. } = Stage::set().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("carol"));
    assert_snapshot!(app.exchange(&agent, &user, &[]).await, @r#"
    403 Forbidden

    {
      "error": "invalid_grant",
      "error_description": "No valid delegation",
      "detail": "invalid_grant: No valid delegation"
    }
    "#);
}
