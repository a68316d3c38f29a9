//! Clients that prove themselves by signing (RFC 7523 section 2.2), and forged assertions.

use std::time::Duration;

use deputize_tests::{
    SigningClient, TestApp, TestResponse,
    client::JWT_BEARER,
    jwt::{self, SigningKey},
    request::USER_ID,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// The stage, and the bot's client with a key.
async fn set() -> (Scenario, SigningClient) {
    let scenario = Scenario::start().await;
    let client = scenario.app.client_of(&scenario.bot, &scenario.alice, SigningKey::es256()).await;
    (scenario, client)
}

/// The answer to a changed assertion. Only the refusal is written.
async fn verdict(app: &TestApp, assertion: &str) -> String {
    let before = app.contents();
    let answer = app.token_by(assertion, &[]).await;
    assert_eq!(app.contents(), before, "a refused assertion uses nothing up");
    answer.refusal()
}

async fn verdicts(app: &TestApp, client: &SigningClient, edits: &[fn(&mut Value)]) -> String {
    let mut verdicts = Vec::new();
    for edit in edits {
        verdicts.push(verdict(app, &client.assertion_with(app, edit)).await);
    }
    verdicts.join("\n")
}

#[tokio::test]
async fn a_client_gets_a_token_by_signing() {
    let (Scenario { app, .. }, client) = set().await;
    let answer = app.token_by(&client.assertion(&app), &[]).await;
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
    credential: "client_key:[the client's key]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
    let claims = jwt::claims(&answer.access_token());
    assert_eq!(claims["client_key_id"], client.key_id);
    assert!(claims.get("client_secret_id").is_none(), "{claims}");
}

#[tokio::test]
async fn every_kind_of_key_and_algorithm_is_good() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    for key in [SigningKey::es256(), SigningKey::es384(), SigningKey::eddsa(), SigningKey::rs256()] {
        app.client_of(&bot, &alice, key).await.m2m(&app).await;
    }
    let rsa = app.client_of(&bot, &alice, SigningKey::rs256()).await;
    let pss = rsa.key.sign(&json!({ "alg": "PS256" }), &rsa.claims(&app));
    app.token_by(&pss, &[]).await.ok();
}

#[tokio::test]
async fn a_key_that_is_for_one_algorithm_is_good_for_no_other() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let key = SigningKey::rs256();
    let path = format!("/api/v1/agent-accounts/{}/keys", bot.id);
    let added = app.post(path).as_user(&alice).json(&json!({ "jwk": key.jwk("rsa") })).await.ok();
    let client = SigningClient { agent: bot, key_id: added.field("id"), key: key.into() };
    client.m2m(&app).await;
    let pss = client.key.sign(&json!({ "alg": "PS256" }), &client.claims(&app));
    assert_snapshot!(verdict(&app, &pss).await, @"401 invalid_client: Client authentication failed");
}

#[tokio::test]
async fn the_audience_may_be_the_token_endpoint_or_the_issuer_alone_or_in_a_list() {
    let (Scenario { app, .. }, client) = set().await;
    for audience in [
        json!("https://deputize.test"),
        json!("https://deputize.test/"),
        json!("https://deputize.test/api/v1/oauth/token"),
        json!(["https://deputize.test"]),
        json!(["https://deputize.test/api/v1/oauth/token", "https://deputize.test"]),
    ] {
        app.token_by(&client.assertion_with(&app, |claims| claims["aud"] = audience), &[]).await.ok();
    }
}

/// RFC 7523 section 3: the audience identifies the authorization server; clients write the URL that they send it to.
#[tokio::test]
async fn at_introspection_and_revocation_the_audience_may_be_that_endpoint() {
    let (Scenario { app, .. }, client) = set().await;
    let token = client.m2m(&app).await;
    let url = |endpoint: &str| format!("https://deputize.test/api/v1/oauth/{endpoint}");
    let by = |audience: Value| client.assertion_with(&app, |claims| claims["aud"] = audience);
    for (endpoint, other) in [("introspect", "revoke"), ("revoke", "introspect")] {
        for audience in [json!(url(endpoint)), json!([url(endpoint), url("token")]), json!(url("token"))] {
            app.about_token_by(endpoint, &by(audience), &token).await.ok();
        }
        for audience in [
            json!(url(other)),
            json!([url(endpoint), url(other)]),
            json!(url(endpoint) + "/"),
            json!(format!("https://elsewhere.test/api/v1/oauth/{endpoint}")),
            json!(format!("/api/v1/oauth/{endpoint}")),
        ] {
            let refused = app.about_token_by(endpoint, &by(audience.clone()), &token).await.refusal();
            let why = "401 invalid_client: client_assertion: the token is for another audience";
            assert_eq!(refused, why, "{endpoint} {audience}");
        }
        assert_eq!(app.token_by(&by(json!(url(endpoint))), &[]).await.status, 401);
    }
}

/// RFC 9864. `oauth4webapi` writes the new name (<https://github.com/panva/oauth4webapi>, `src/index.ts`); WebCrypto
/// exports keys with it.
#[tokio::test]
async fn ed25519_has_two_names_in_keys_and_in_assertions() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    for published in ["EdDSA", "Ed25519"] {
        let key = SigningKey::eddsa();
        let mut jwk = key.jwk(published);
        jwk["alg"] = published.into();
        let path = format!("/api/v1/agent-accounts/{}/keys", bot.id);
        let added = app.post(path).as_user(&alice).json(&json!({ "jwk": jwk })).await.ok();
        let client = SigningClient { agent: bot.clone(), key_id: added.field("id"), key: key.into() };
        for alg in ["EdDSA", "Ed25519"] {
            let header = json!({ "alg": alg, "kid": published });
            app.token_by(&client.key.sign(&header, &client.claims(&app)), &[]).await.ok();
        }
    }
}

/// RFC 7519 section 2: a `NumericDate` may have a fraction, as Python's `time.time()` has.
#[tokio::test]
async fn an_assertions_times_may_have_fractions() {
    let (Scenario { app, .. }, client) = set().await;
    let now = app.now().as_seconds();
    let with = |exp: Value| {
        client.assertion_with(&app, |claims| {
            claims["exp"] = exp;
            claims["iat"] = json!(f64::from(i32::try_from(now).unwrap()) + 0.25);
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
    let at = |seconds: i64| json!((now + seconds) as f64 + 0.5);
    let good = with(at(299));
    app.token_by(&good, &[]).await.ok();
    assert_eq!(app.token_by(&good, &[]).await.status, 401, "a replay");
    assert_snapshot!(verdict(&app, &with(at(331))).await, @"401 invalid_client: client_assertion: it must expire within 5 minutes");
    assert_snapshot!(verdict(&app, &with(at(-31))).await, @"401 invalid_client: client_assertion: the token has expired");
}

#[tokio::test]
async fn a_client_may_name_itself_and_its_key() {
    let (Scenario { app, alice, bot, .. }, client) = set().await;
    app.token_by(&client.assertion(&app), &[("client_id", &bot.id.to_string())]).await.ok();
    let keys = app.get(format!("/api/v1/agent-accounts/{}/keys", bot.id)).as_user(&alice).await.json();
    let header = json!({ "alg": "ES256", "kid": keys[0]["kid"] });
    app.token_by(&client.key.sign(&header, &client.claims(&app)), &[]).await.ok();
}

#[tokio::test]
async fn a_client_that_signs_gets_tokens_for_users_and_exchanges_its_own() {
    let (Scenario { app, bob, .. }, client) = set().await;
    let id = bob.id.to_string();
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
    let obo = app.token_by(&client.assertion(&app), &fields).await.access_token();
    assert_eq!(jwt::claims(&obo)["act"]["sub"], client.agent.id.to_string());
    let (own, user) = (client.m2m(&app).await, app.login.token("bob"));
    let exchanged = app.exchange(&own, &user, &[]).await.access_token();
    assert_eq!(jwt::claims(&exchanged)["client_key_id"], client.key_id);
    let assertion = client.assertion(&app);
    let more = [("client_assertion_type", JWT_BEARER), ("client_assertion", &assertion)];
    app.exchange(&own, &user, &more).await.ok();
}

#[tokio::test]
async fn a_client_that_signs_looks_at_and_gives_up_its_tokens() {
    let (Scenario { app, .. }, client) = set().await;
    let token = client.m2m(&app).await;
    let looked_at = app.about_token_by("introspect", &client.assertion(&app), &token).await.ok();
    assert_eq!(looked_at.json()["active"], true);
    let revoked = app.about_token_by("revoke", &client.assertion(&app), &token).await;
    assert_snapshot!(revoked, @"200 OK");
    assert_snapshot!(app.event_of(&revoked), @r#"
    action: "token.revoke"
    audit_agent: "[bot]"
    credential: "client_key:[the client's key]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
    let looked_at = app.about_token_by("introspect", &client.assertion(&app), &token).await.ok();
    assert_eq!(looked_at.json(), json!({ "active": false }));
}

#[tokio::test]
async fn an_assertion_that_is_not_signed_or_signed_with_the_public_key_as_a_secret_is_refused() {
    let (Scenario { app, .. }, client) = set().await;
    let claims = client.claims(&app);
    let public = client.key.jwk("k").to_string();
    let forged = [
        jwt::unsigned(&json!({ "alg": "none" }), &claims),
        jwt::unsigned(&json!({ "alg": "ES256" }), &claims),
        jwt::hmac_signed(&json!({ "alg": "HS256" }), &claims, public.as_bytes()),
        jwt::hmac_signed(&json!({ "alg": "ES256" }), &claims, public.as_bytes()),
    ];
    let mut verdicts = Vec::new();
    for assertion in forged {
        verdicts.push(verdict(&app, &assertion).await);
    }
    assert_snapshot!(verdicts.join("\n"), @"
    401 invalid_client: client_assertion: the token's algorithm is not allowed
    401 invalid_client: Client authentication failed
    401 invalid_client: client_assertion: the token's algorithm is not allowed
    401 invalid_client: Client authentication failed
    ");
}

#[tokio::test]
async fn an_assertion_of_a_key_that_is_not_the_accounts_is_refused() {
    let (Scenario { app, alice, bot, .. }, client) = set().await;
    let stranger = SigningKey::es256();
    let forged = stranger.sign(&client.header(), &client.claims(&app));
    assert_snapshot!(app.token_by(&forged, &[]).await, @r#"
    401 Unauthorized
    www-authenticate: Basic realm="deputize"

    {
      "error": "invalid_client",
      "error_description": "Client authentication failed",
      "detail": "invalid_client: Client authentication failed",
      "reason": "client_refused"
    }
    "#);
    // It claims to be from the key that it names, or contains the key.
    let keys = app.get(format!("/api/v1/agent-accounts/{}/keys", bot.id)).as_user(&alice).await.json();
    let header = json!({ "alg": "ES256", "kid": keys[0]["kid"], "jwk": stranger.jwk("k") });
    assert_snapshot!(verdict(&app, &stranger.sign(&header, &client.claims(&app))).await, @"401 invalid_client: Client authentication failed");
    // A key that does not exist, named by a client with another key.
    let header = json!({ "alg": "ES256", "kid": "another" });
    assert_snapshot!(verdict(&app, &client.key.sign(&header, &client.claims(&app))).await, @"401 invalid_client: Client authentication failed");
}

#[tokio::test]
async fn a_client_cannot_pass_for_another() {
    let (Scenario { app, alice, bot, .. }, client) = set().await;
    let other = app.agent("other", &alice).await;
    let others = app.client_of(&other, &alice, SigningKey::es256()).await;
    let id = other.id.to_string();
    let as_other = client.assertion_with(&app, |claims| {
        claims["iss"] = id.clone().into();
        claims["sub"] = id.clone().into();
    });
    let mut answers = vec![verdict(&app, &as_other).await];
    let half = |name: &'static str| client.assertion_with(&app, |claims| claims[name] = id.clone().into());
    answers.push(verdict(&app, &half("sub")).await);
    answers.push(verdict(&app, &half("iss")).await);
    let named = app.token_by(&client.assertion(&app), &[("client_id", &id)]).await;
    answers.push(named.refusal());
    assert_snapshot!(answers.join("\n"), @"
    401 invalid_client: Client authentication failed
    401 invalid_client: client_assertion: its iss and sub must both be the client's id
    401 invalid_client: client_assertion: its iss and sub must both be the client's id
    401 invalid_client: client_assertion: its sub is not the client_id that was sent
    ");
    // It can neither exchange the other client's token nor introspect it.
    let (theirs, user) = (others.m2m(&app).await, app.login.token("bob"));
    let assertion = client.assertion(&app);
    let more = [("client_assertion_type", JWT_BEARER), ("client_assertion", &*assertion)];
    assert_snapshot!(app.exchange(&theirs, &user, &more).await.refusal(), @"400 invalid_request: subject_token: it was issued to another client");
    let looked_at = app.about_token_by("introspect", &client.assertion(&app), &theirs).await.ok();
    assert_eq!(looked_at.json(), json!({ "active": false }));
    let revoked = app.about_token_by("revoke", &client.assertion(&app), &theirs).await;
    assert_snapshot!(revoked.refusal(), @"400 invalid_grant: The token was issued to another client");
    let mine = app.about_token("introspect", &bot, &client.m2m(&app).await).await;
    assert_eq!(mine.json()["active"], true);
}

#[tokio::test]
async fn an_assertion_for_another_audience_is_refused() {
    let (Scenario { app, .. }, client) = set().await;
    let edits: [fn(&mut Value); 10] = [
        |claims| claims["aud"] = "https://elsewhere.test".into(),
        |claims| claims["aud"] = "https://deputize.test.evil.test".into(),
        |claims| claims["aud"] = "https://deputize.test//".into(),
        |claims| claims["aud"] = "https://deputize.test/api/v1/oauth/token/".into(),
        |claims| claims["aud"] = "https://deputize.test/api/v1/proxy".into(),
        |claims| claims["aud"] = "https://deputize.test/api/v1/oauth/revoke".into(),
        |claims| claims["aud"] = json!(["https://deputize.test", "https://elsewhere.test"]),
        |claims| claims["aud"] = json!([]),
        |claims| claims["aud"] = Value::Null,
        |claims| drop(claims.as_object_mut().unwrap().remove("aud")),
    ];
    assert_snapshot!(verdicts(&app, &client, &edits).await, @"
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is for another audience
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: the token is malformed
    ");
}

#[tokio::test]
async fn an_assertion_that_says_too_little_or_nonsense_is_refused() {
    let (Scenario { app, .. }, client) = set().await;
    let edits: [fn(&mut Value); 10] = [
        |claims| drop(claims.as_object_mut().unwrap().remove("iss")),
        |claims| drop(claims.as_object_mut().unwrap().remove("sub")),
        |claims| drop(claims.as_object_mut().unwrap().remove("exp")),
        |claims| claims["exp"] = "soon".into(),
        |claims| drop(claims.as_object_mut().unwrap().remove("jti")),
        |claims| claims["jti"] = "".into(),
        |claims| claims["jti"] = "j".repeat(256).into(),
        |claims| claims["jti"] = 1.into(),
        |claims| {
            claims["iss"] = "bot".into();
            claims["sub"] = "bot".into();
        },
        |claims| *claims = json!([]),
    ];
    assert_snapshot!(verdicts(&app, &client, &edits).await, @"
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: its jti must have 1 to 255 bytes
    401 invalid_client: client_assertion: its jti must have 1 to 255 bytes
    401 invalid_client: client_assertion: its jti must have 1 to 255 bytes
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: its iss and sub must both be the client's id
    401 invalid_client: client_assertion: the token is malformed
    ");
    app.token_by(&client.assertion_with(&app, |claims| claims["jti"] = "j".repeat(255).into()), &[])
        .await
        .ok();
}

#[tokio::test]
async fn an_assertion_is_good_in_its_time_only_and_for_no_more_than_5_minutes() {
    let (Scenario { app, .. }, client) = set().await;
    let at = |name: &'static str, seconds: i64| {
        let then = app.now().as_seconds() + seconds;
        client.assertion_with(&app, |claims| claims[name] = then.into())
    };
    // Clocks may differ by half a minute.
    for (name, seconds) in [("exp", -29), ("exp", 330), ("nbf", 30), ("iat", 30), ("iat", -3600)] {
        app.token_by(&at(name, seconds), &[]).await.ok();
    }
    let mut refused = Vec::new();
    for (name, seconds) in
        [("exp", -30), ("exp", 331), ("exp", 86_400), ("exp", i64::MAX / 2), ("nbf", 31), ("iat", 31)]
    {
        refused.push(verdict(&app, &at(name, seconds)).await);
    }
    assert_snapshot!(refused.join("\n"), @"
    401 invalid_client: client_assertion: the token has expired
    401 invalid_client: client_assertion: it must expire within 5 minutes
    401 invalid_client: client_assertion: it must expire within 5 minutes
    401 invalid_client: client_assertion: it must expire within 5 minutes
    401 invalid_client: client_assertion: the token is not valid yet
    401 invalid_client: client_assertion: the token is not valid yet
    ");
}

#[tokio::test]
async fn a_changed_broken_or_endless_assertion_is_refused() {
    let (Scenario { app, .. }, client) = set().await;
    let good = client.assertion(&app);
    let broken = [
        jwt::with_claims(&good, |claims| claims["jti"] = "another".into()),
        jwt::with_header(&good, |header| header["kid"] = Value::Null),
        jwt::with_header(&good, |header| header["crit"] = json!(["exp"])),
        "x".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}.x"),
        good[..good.len() - 2].to_owned(),
        client.assertion_with(&app, |claims| claims["more"] = "x".repeat(16 * 1024).into()),
    ];
    let mut refused = Vec::new();
    for assertion in &broken {
        refused.push(verdict(&app, assertion).await);
    }
    assert_snapshot!(refused.join("\n"), @"
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: client_assertion: the token has an extension that must be understood and is not
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: client_assertion: the token is malformed
    401 invalid_client: Client authentication failed
    401 invalid_client: client_assertion: the token is malformed
    ");
    // None of the refusals has used it up.
    app.token_by(&good, &[]).await.ok();
}

#[tokio::test]
async fn a_client_that_proves_itself_in_two_ways_or_by_half_is_refused() {
    let (Scenario { app, bot, .. }, client) = set().await;
    let (id, assertion) = (bot.id.to_string(), client.assertion(&app));
    let form = ("grant_type", "client_credentials");
    let kind = ("client_assertion_type", JWT_BEARER);
    let answers: Vec<TestResponse> = vec![
        app.token_by(&assertion, &[("client_secret", &bot.secret)]).await,
        app.token_by(&assertion, &[("client_id", &id), ("client_secret", &bot.secret)]).await,
        app.token_by(&assertion, &[]).basic(&id, &bot.secret).await,
        app.token_by(&assertion, &[]).bearer("x").await,
        app.token(&[form, ("client_assertion", &assertion)]).await,
        app.token(&[form, kind]).await,
        app.token(&[form, ("client_assertion", &assertion), ("client_assertion_type", "saml")]).await,
        app.token_by(&assertion, &[("client_assertion", &assertion)]).await,
    ];
    let refusals: Vec<String> = answers.iter().map(TestResponse::refusal).collect();
    assert_snapshot!(refusals.join("\n"), @"
    400 invalid_request: Send either a client_assertion or a client secret, not both
    400 invalid_request: Send either a client_assertion or a client secret, not both
    400 invalid_request: Send either a client_assertion or a client secret, not both
    400 invalid_request: Send either a client_assertion or a client secret, not both
    400 invalid_request: The parameter client_assertion_type is missing
    400 invalid_request: The parameter client_assertion is missing
    400 invalid_request: client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer
    400 invalid_request: The parameter client_assertion occurs twice
    ");
    app.token_by(&assertion, &[]).await.ok();
}

#[tokio::test]
async fn an_unknown_and_a_disabled_account_are_refused_in_the_same_words_as_a_wrong_key() {
    let (Scenario { app, alice, bot, .. }, client) = set().await;
    let nobody = client.assertion_with(&app, |claims| {
        claims["iss"] = "00000000-0000-4000-8000-000000000001".into();
        claims["sub"] = "00000000-0000-4000-8000-000000000001".into();
    });
    let mut refused = vec![verdict(&app, &nobody).await];
    let forged = SigningKey::es256().sign(&client.header(), &client.claims(&app));
    refused.push(verdict(&app, &forged).await);
    let account = app.patch(format!("/api/v1/agent-accounts/{}", bot.id)).as_user(&alice);
    account.json(&json!({ "active": false })).await.ok();
    refused.push(verdict(&app, &client.assertion(&app)).await);
    assert_snapshot!(refused.join("\n"), @"
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    ");
}

#[tokio::test]
async fn a_deleted_key_is_refused_and_its_tokens_die_and_no_others() {
    let (Scenario { app, alice, bob, bot, .. }, client) = set().await;
    let second = app.client_of(&bot, &alice, SigningKey::eddsa()).await;
    let token = client.m2m(&app).await;
    let others = [second.m2m(&app).await, app.m2m(&bot).await];
    let exchanged = app.exchange(&token, &app.login.token("bob"), &[]).await.access_token();
    let path = format!("/api/v1/agent-accounts/{}/keys/{}", bot.id, client.key_id);
    app.delete(path).as_user(&alice).await.ok();
    assert_snapshot!(verdict(&app, &client.assertion(&app)).await, @"401 invalid_client: Client authentication failed");
    for dead in [&token, &exchanged] {
        let called = app.call("demo", "list_repos", &json!({})).bearer(dead).await.refusal();
        assert_eq!(called, "401 The client key that the token was issued under is deleted or has expired");
        assert_eq!(app.about_token("introspect", &bot, dead).await.json(), json!({ "active": false }));
    }
    let again = app.exchange(&token, &app.login.token("bob"), &[]).await;
    assert_snapshot!(again.refusal(), @"400 invalid_request: subject_token: it has been revoked");
    for live in &others {
        assert_eq!(app.about_token("introspect", &bot, live).await.json()["active"], true);
    }
    app.obo(&bot, &bob).await;
}

#[tokio::test]
async fn an_expired_key_is_refused_from_its_moment_on_and_its_tokens_with_it() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let key = SigningKey::es256();
    let path = format!("/api/v1/agent-accounts/{}/keys", bot.id);
    let body = json!({ "jwk": key.jwk("k"), "expires_at": "2026-01-15T09:01:00Z" });
    let added = app.post(path).as_user(&alice).json(&body).await.ok();
    let client = SigningClient { agent: bot.clone(), key_id: added.field("id"), key: key.into() };
    app.pass(Duration::from_millis(59_999));
    let token = client.m2m(&app).await;
    app.pass(Duration::from_millis(1));
    assert_snapshot!(verdict(&app, &client.assertion(&app)).await, @"401 invalid_client: Client authentication failed");
    assert_eq!(app.about_token("introspect", &bot, &token).await.json(), json!({ "active": false }));
}

/// A client signs other things than assertions with its key.
#[tokio::test]
async fn what_a_client_signs_for_something_else_is_no_assertion() {
    let (Scenario { app, .. }, client) = set().await;
    let of_type = |typ: &str| {
        let mut header = client.header();
        header["typ"] = typ.into();
        client.key.sign(&header, &client.claims(&app))
    };
    for typ in ["JWT", "client-authentication+jwt", "application/Client-Authentication+JWT"] {
        app.token_by(&of_type(typ), &[]).await.ok();
    }
    for typ in ["dpop+jwt", "oauth-authz-req+jwt", "at+jwt"] {
        assert_eq!(
            verdict(&app, &of_type(typ)).await,
            "401 invalid_client: client_assertion: the token is of another kind, by its typ or its claims",
            "{typ}"
        );
    }
}

#[tokio::test]
async fn a_token_ends_with_the_key_that_it_rests_on() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let key = SigningKey::es256();
    let path = format!("/api/v1/agent-accounts/{}/keys", bot.id);
    let body = json!({ "jwk": key.jwk("k"), "expires_at": "2026-01-15T09:01:00Z" });
    let added = app.post(path).as_user(&alice).json(&body).await.ok();
    let client = SigningClient { agent: bot.clone(), key_id: added.field("id"), key: key.into() };
    let answer = app.token_by(&client.assertion(&app), &[]).await.ok();
    assert_eq!(answer.json()["expires_in"], 60);
    let seen = app.about_token("introspect", &bot, &answer.access_token()).await.json();
    assert_eq!(seen["exp"], app.now().as_seconds() + 60);
}

/// A token belongs to a secret or to a key. Its id does not tell which.
#[tokio::test]
async fn a_secret_revoked_beside_it_leaves_a_keys_tokens_alone() {
    let (Scenario { app, alice, bot, .. }, client) = set().await;
    let token = client.m2m(&app).await;
    let secrets = format!("/api/v1/agent-accounts/{}/secrets", bot.id);
    let id = app.get(&secrets).as_user(&alice).await.json()[0]["id"].as_str().unwrap().to_owned();
    app.delete(format!("{secrets}/{id}")).as_user(&alice).await.ok();
    let looked_at = app.about_token_by("introspect", &client.assertion(&app), &token).await;
    assert_eq!(looked_at.json()["active"], true);
}

#[tokio::test]
async fn no_assertion_is_kept_or_recorded() {
    let (Scenario { app, .. }, client) = set().await;
    let good = client.assertion_with(&app, |claims| claims["jti"] = "a-jti-to-look-for".into());
    app.token_by(&good, &[]).await.ok();
    app.token_by(&good, &[]).await;
    let table = format!("{:?} {:?}", app.contents(), app.trail());
    for part in good.split('.').chain(["a-jti-to-look-for"]) {
        assert!(!table.contains(part), "{part}");
    }
}
