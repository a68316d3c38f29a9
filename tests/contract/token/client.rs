//! Who may ask for a token, and how they say who they are.

use std::time::Duration;

use deputize_tests::{Agent, TestApp, jwt};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn an_agent_gets_a_token_of_its_own() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let answer = app.token_for(&bot, &[]).await;
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
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    credential: "client_secret:[bot's first secret]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
}

#[tokio::test]
async fn a_token_says_who_may_use_it_for_what_and_how_long() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let token = app.m2m(&bot).await;
    let (header, claims) = (jwt::header(&token), jwt::claims(&token));
    assert_json_snapshot!(header, { ".kid" => "[kid]" }, @r#"
    {
      "alg": "ES256",
      "typ": "at+jwt",
      "kid": "[kid]"
    }
    "#);
    assert_eq!(claims["sub"], bot.id.to_string());
    assert_eq!(claims["client_id"], bot.id.to_string());
    assert_json_snapshot!(claims, {
        ".sub" => "[bot]", ".client_id" => "[bot]", ".jti" => "[uuid]", ".client_secret_id" => "[uuid]",
    }, @r#"
    {
      "iss": "https://deputize.test",
      "aud": "https://deputize.test/api/v1/proxy",
      "sub": "[bot]",
      "client_id": "[bot]",
      "jti": "[uuid]",
      "iat": 1768467600,
      "exp": 1768471200,
      "scope": "tools:call",
      "client_secret_id": "[uuid]"
    }
    "#);
    let issued = claims["iat"].as_i64().unwrap();
    assert_eq!(issued, app.now().as_seconds());
}

#[tokio::test]
async fn no_two_tokens_have_the_same_id() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (one, two) = (app.m2m(&bot).await, app.m2m(&bot).await);
    assert_ne!(jwt::claims(&one)["jti"], jwt::claims(&two)["jti"]);
}

#[tokio::test]
async fn a_client_may_authenticate_by_http_basic() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let basic = app.token(&[("grant_type", "client_credentials")]).basic(&bot.id.to_string(), &bot.secret);
    assert_snapshot!(basic.await, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "tools:call"
    }
    "#);
}

#[tokio::test]
async fn a_client_that_authenticates_in_both_ways_is_refused() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let both = app.token_for(&bot, &[]).basic(&bot.id.to_string(), &bot.secret);
    assert_snapshot!(both.await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "Send client credentials in the Authorization header or in the body, not both",
      "detail": "invalid_request: Send client credentials in the Authorization header or in the body, not both",
      "reason": "request_invalid"
    }
    "#);
}

/// RFC 9562 section 4: a UUID's letters may be of either case.
#[tokio::test]
async fn a_client_id_is_one_in_either_letter_case() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (lower, upper) = (bot.id.to_string(), bot.id.to_string().to_uppercase());
    let form = ("grant_type", "client_credentials");
    app.token(&[form, ("client_id", &upper), ("client_secret", &bot.secret)]).await.ok();
    for (header, body) in [(&lower, &upper), (&upper, &lower), (&upper, &upper)] {
        app.token(&[form, ("client_id", body)]).basic(header, &bot.secret).await.ok();
    }
    let other = "00000000-0000-4000-8000-00000000000A";
    let refused = app.token(&[form, ("client_id", other)]).basic(&lower, &bot.secret).await.refusal();
    assert_eq!(refused, "401 invalid_client: Client authentication failed");
}

/// Some clients send the header whatever its value.
#[tokio::test]
async fn an_empty_authorization_header_beside_credentials_in_the_body_is_none() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    for empty in ["", " "] {
        app.token_for(&bot, &[]).header("authorization", empty).await.ok();
        let client = app.client_of(&bot, &alice, jwt::SigningKey::es256()).await;
        app.token_by(&client.assertion(&app), &[]).header("authorization", empty).await.ok();
        let token = app.m2m(&bot).await;
        app.about_token("introspect", &bot, &token).header("authorization", empty).await.ok();
        let basic = app.token(&[("grant_type", "client_credentials")]).header("authorization", empty);
        basic.basic(&bot.id.to_string(), &bot.secret).await.ok();
        let none = app.token(&[("grant_type", "client_credentials")]).header("authorization", empty).await;
        assert_eq!(none.refusal(), "401 invalid_client: Client authentication failed");
    }
}

#[tokio::test]
async fn a_name_alone_proves_no_client() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (id, token) = (bot.id.to_string(), app.m2m(&bot).await);
    let form = ("grant_type", "client_credentials");
    let answers = [
        app.token(&[form, ("client_id", &id)]).await,
        app.token(&[form]).basic(&id, "").await,
        app.post("/api/v1/oauth/introspect").form(&[("client_id", &id), ("token", &token)]).await,
        app.post("/api/v1/oauth/revoke").form(&[("client_id", &id), ("token", &token)]).await,
    ];
    for answer in answers {
        assert_eq!(answer.refusal(), "401 invalid_client: Client authentication failed");
    }
    assert_eq!(app.about_token("introspect", &bot, &token).await.json()["active"], true);
}

#[tokio::test]
async fn an_unknown_client_is_refused() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let nobody = Agent { id: "00000000-0000-4000-8000-000000000001".parse().unwrap(), ..bot };
    let answer = app.token_for(&nobody, &[]).await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    detail: "invalid_client: Client authentication failed"
    outcome: "denied"
    "#);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_the_same_words() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let wrong = Agent { secret: other.secret, ..bot };
    assert_snapshot!(app.token_for(&wrong, &[]).await, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
}

#[tokio::test]
async fn an_api_key_is_no_client_secret() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let with_key = Agent { secret: alice.api_key.clone(), ..bot.clone() };
    assert_snapshot!(app.token_for(&with_key, &[]).await, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
    let in_header = app.token(&[("grant_type", "client_credentials")]).as_user(&alice);
    assert_snapshot!(in_header.await.refusal(), @"401 invalid_client: Client authentication failed");
    let as_bearer = app.token(&[("grant_type", "client_credentials")]).bearer(&alice.api_key);
    assert_snapshot!(as_bearer.await.refusal(), @"401 invalid_client: Client authentication failed");
}

#[tokio::test]
async fn half_of_a_credential_or_a_malformed_one_is_refused() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let id = bot.id.to_string();
    let form = [("grant_type", "client_credentials")];
    let answers = [
        app.token(&form).await,
        app.token(&[form[0], ("client_id", &id)]).await,
        app.token(&[form[0], ("client_secret", &bot.secret)]).await,
        app.token(&[form[0], ("client_id", &id), ("client_secret", "")]).await,
        app.token(&[form[0], ("client_id", "bot"), ("client_secret", &bot.secret)]).await,
        app.token(&form).header("authorization", "Basic %%%").await,
        app.token(&form).header("authorization", "Basic Ym90").await,
        app.token(&form).header("authorization", "Digest a=b").await,
        app.token(&form).header("authorization", "Basic").await,
        app.token(&[form[0], ("client_id", "somebody-else")]).basic(&id, &bot.secret).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    ");
}

#[tokio::test]
async fn a_disabled_account_gets_no_token() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    disable(&app, &alice, &bot).await;
    assert_snapshot!(app.token_for(&bot, &[]).await, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
}

async fn disable(app: &TestApp, admin: &deputize_tests::User, bot: &Agent) {
    let account = app.patch(format!("/api/v1/agent-accounts/{}", bot.id)).as_user(admin);
    account.json(&json!({ "active": false })).await.ok();
}

#[tokio::test]
async fn two_live_secrets_work_side_by_side_and_a_revoked_one_no_more() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let secrets = format!("/api/v1/agent-accounts/{}/secrets", bot.id);
    let added = app.post(&secrets).as_user(&alice).await.ok();
    let second = Agent { secret: added.field("client_secret"), ..bot.clone() };
    app.m2m(&bot).await;
    app.m2m(&second).await;
    app.delete(format!("{secrets}/{}", added.field("id"))).as_user(&alice).await.ok();
    assert_snapshot!(app.token_for(&second, &[]).await.refusal(), @"401 invalid_client: Client authentication failed");
    app.m2m(&bot).await;
}

#[tokio::test]
async fn an_expired_secret_is_refused_from_its_moment_on() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let expires_at = app.now().plus(Duration::from_mins(1)).to_string();
    let add = app.post(format!("/api/v1/agent-accounts/{}/secrets", bot.id)).as_user(&alice);
    let added = add.json(&json!({ "expires_at": expires_at })).await.ok();
    let short = Agent { secret: added.field("client_secret"), ..bot };
    app.pass(Duration::from_millis(59_999));
    app.m2m(&short).await;
    app.pass(Duration::from_millis(1));
    assert_snapshot!(app.token_for(&short, &[]).await.refusal(), @"401 invalid_client: Client authentication failed");
}

#[tokio::test]
async fn the_one_scope_may_be_asked_for_and_no_other() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.token_for(&bot, &[("scope", "tools:call")]).await.ok();
    assert_snapshot!(app.token_for(&bot, &[("scope", "tools:call admin")]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_scope",
      "error_description": "The only scope is tools:call",
      "detail": "invalid_scope: The only scope is tools:call",
      "reason": "scope_unknown"
    }
    "#);
}
