//! Tokens with which an agent acts for a user, named by id or by email.

use std::time::Duration;

use deputize_core::delegations::NewDelegation;
use deputize_tests::{
    jwt,
    request::{USER_EMAIL, USER_ID},
};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn a_user_is_named_by_id() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let id = bob.id.to_string();
    let answer = app.token_for(&bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "tools:call"
    }
    "#);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "client_secret:[bot's first secret]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
}

#[tokio::test]
async fn a_token_for_a_user_says_who_acts_and_on_what_it_rests() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let claims = jwt::claims(&app.obo(&bot, &bob).await);
    assert_eq!(claims["sub"], bob.id.to_string());
    assert_eq!(claims["act"]["sub"], bot.id.to_string());
    assert_json_snapshot!(claims, {
        ".sub" => "[bob]", ".client_id" => "[bot]", ".act.sub" => "[bot]", ".jti" => "[uuid]",
        ".client_secret_id" => "[uuid]", ".delegation_id" => "[uuid]",
    }, @r#"
    {
      "iss": "https://deputize.test",
      "aud": "https://deputize.test/api/v1/proxy",
      "sub": "[bob]",
      "client_id": "[bot]",
      "jti": "[uuid]",
      "iat": 1768467600,
      "exp": 1768471200,
      "scope": "tools:call",
      "act": {
        "sub": "[bot]"
      },
      "delegation_id": "[uuid]",
      "client_secret_id": "[uuid]"
    }
    "#);
}

#[tokio::test]
async fn a_user_is_named_by_email_in_any_case() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    for spelling in [&*bob.email, "BOB@Example.Com"] {
        let fields = [("actor_token", spelling), ("actor_token_type", USER_EMAIL)];
        let token = app.token_for(&bot, &fields).await.access_token();
        assert_eq!(jwt::claims(&token)["sub"], bob.id.to_string());
    }
}

#[tokio::test]
async fn without_a_delegation_there_is_no_token() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let id = carol.id.to_string();
    let answer = app.token_for(&bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer, @r#"
    403 Forbidden

    {
      "error": "invalid_grant",
      "error_description": "No valid delegation",
      "detail": "invalid_grant: No valid delegation",
      "reason": "delegation_missing"
    }
    "#);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_user: "[carol]"
    credential: "client_secret:[bot's first secret]"
    detail: "invalid_grant: No valid delegation"
    outcome: "denied"
    "#);
}

#[tokio::test]
async fn a_user_who_is_not_there_is_refused_as_one_who_has_not_delegated() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let nobody = "00000000-0000-4000-8000-000000000001";
    let answers = [
        app.token_for(&bot, &[("actor_token", nobody), ("actor_token_type", USER_ID)]).await,
        app.token_for(&bot, &[("actor_token", "nobody@example.com"), ("actor_token_type", USER_EMAIL)]).await,
        app.token_for(&bot, &[("actor_token", "carol@example.com"), ("actor_token_type", USER_EMAIL)]).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 invalid_grant: No valid delegation
    403 invalid_grant: No valid delegation
    403 invalid_grant: No valid delegation
    ");
}

#[tokio::test]
async fn an_actor_that_is_no_uuid_is_said_to_be_none() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let answer = app.token_for(&bot, &[("actor_token", "bob"), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token must be a valid UUID",
      "detail": "invalid_grant: actor_token must be a valid UUID",
      "reason": "actor_not_uuid"
    }
    "#);
}

#[tokio::test]
async fn an_actor_that_is_no_email_address_is_said_to_be_none() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let answer = app.token_for(&bot, &[("actor_token", "bob"), ("actor_token_type", USER_EMAIL)]).await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token must be an email address",
      "detail": "invalid_grant: actor_token must be an email address",
      "reason": "actor_not_email"
    }
    "#);
}

#[tokio::test]
async fn what_an_actor_token_is_worth_is_not_told_to_a_client_that_has_proven_nothing() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let wrong = deputize_tests::Agent { secret: "dps_wrong".to_owned(), ..bot };
    let answer = app.token_for(&wrong, &[("actor_token", "bob"), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer.refusal(), @"401 invalid_client: Client authentication failed");
}

#[tokio::test]
async fn a_deactivated_user_cannot_be_acted_for() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let path = format!("/api/v1/users/{}", bob.id);
    app.patch(path).as_user(&alice).json(&json!({ "active": false })).await.ok();
    let id = bob.id.to_string();
    let answer = app.token_for(&bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer, @r#"
    403 Forbidden

    {
      "error": "invalid_grant",
      "error_description": "Delegator user is deactivated",
      "detail": "invalid_grant: Delegator user is deactivated",
      "reason": "user_inactive"
    }
    "#);
}

#[tokio::test]
async fn an_expired_delegation_is_none() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let expires_at = Some(app.now().plus(Duration::from_mins(1)));
    app.delegate_some(&bot, &carol, NewDelegation { expires_at, server_ids: None }).await;
    app.obo(&bot, &carol).await;
    app.pass(Duration::from_mins(1));
    let id = carol.id.to_string();
    let answer = app.token_for(&bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer.refusal(), @"403 invalid_grant: No valid delegation");
}

#[tokio::test]
async fn a_delegation_to_one_agent_is_none_to_another() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let id = bob.id.to_string();
    let answer = app.token_for(&other, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await;
    assert_snapshot!(answer.refusal(), @"403 invalid_grant: No valid delegation");
}

#[tokio::test]
async fn a_token_never_says_that_it_outlives_its_delegation() {
    let Scenario { app, alice, carol, bot, .. } = Scenario::start().await;
    let expires_at = Some(app.now().plus(Duration::from_millis(30_500)));
    app.delegate_some(&bot, &carol, NewDelegation { expires_at, server_ids: None }).await;
    let id = carol.id.to_string();
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
    let answer = app.token_for(&bot, &fields).await.ok();
    assert_eq!(answer.json()["expires_in"], 30);
    let token = answer.access_token();
    let ends = app.now().as_seconds() + 30;
    assert_eq!(jwt::claims(&token)["exp"], ends);
    assert_eq!(app.about_token("introspect", &bot, &token).await.json()["exp"], ends);
    let exchanged = app.exchange(&app.m2m(&bot).await, &app.login.token("carol"), &[]).await.ok();
    assert_eq!(exchanged.json()["expires_in"], 30);
    // It does not outlive the secret under which it was issued either.
    let expires_at = app.now().plus(Duration::from_secs(20)).to_string();
    let add = app.post(format!("/api/v1/agent-accounts/{}/secrets", bot.id)).as_user(&alice);
    let added = add.json(&json!({ "expires_at": expires_at })).await.ok();
    let short = deputize_tests::Agent { secret: added.field("client_secret"), ..bot.clone() };
    assert_eq!(app.token_for(&short, &fields).await.ok().json()["expires_in"], 20);
    assert_eq!(app.token_for(&short, &[]).await.ok().json()["expires_in"], 20);
    assert_eq!(app.token_for(&bot, &[]).await.ok().json()["expires_in"], 3600);
}
