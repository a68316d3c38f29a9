//! Forged agent tokens, wherever an agent token is taken.

use std::time::Duration;

use deputize_tests::{
    TestApp,
    jwt::{self, SigningKey},
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// The answers of the proxy, of introspection and of the exchange to a token.
async fn verdict(scenario: &Scenario, token: &str) -> String {
    let Scenario { app, bot, .. } = scenario;
    let called = app.call("demo", "list_repos", &json!({})).bearer(token).await;
    let looked_at = app.about_token("introspect", bot, token).await.ok();
    assert_eq!(looked_at.json(), json!({ "active": false }));
    let exchanged = app.exchange(token, &app.login.token("bob"), &[]).await;
    format!("{}\n{}", called.refusal(), exchanged.refusal())
}

/// A published key of the service, which an attacker has too.
async fn published(app: &TestApp) -> Value {
    app.get("/.well-known/jwks.json").await.json()["keys"][0].clone()
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let mut header = jwt::header(&token);
    header["alg"] = "none".into();
    assert_snapshot!(verdict(&scenario, &jwt::unsigned(&header, &jwt::claims(&token))).await, @"
    401 The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    ");
}

#[tokio::test]
async fn a_token_that_is_signed_with_the_public_key_as_a_secret_is_refused() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let mut header = jwt::header(&token);
    header["alg"] = "HS256".into();
    let key = published(&scenario.app).await.to_string();
    let forged = jwt::hmac_signed(&header, &jwt::claims(&token), key.as_bytes());
    assert_snapshot!(verdict(&scenario, &forged).await, @"
    401 The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    ");
}

#[tokio::test]
async fn a_token_whose_claims_were_changed_is_refused() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let forged = jwt::with_claims(&token, |claims| claims["exp"] = 9_999_999_999_i64.into());
    assert_snapshot!(verdict(&scenario, &forged).await, @"
    401 The token's signature is wrong
    400 invalid_request: subject_token: The token's signature is wrong
    ");
}

#[tokio::test]
async fn a_token_that_was_found_good_vouches_for_no_other_and_not_for_ever() {
    let scenario = Scenario::start().await;
    let Scenario { app, bot, .. } = &scenario;
    let token = app.m2m(bot).await;
    let call = async |token: &str| app.call("demo", "list_repos", &json!({})).bearer(token).await;
    // The token is good, and the server is not there.
    for _ in 0..2 {
        assert_eq!(call(&token).await.refusal(), "404 No such server");
    }

    let other = app.m2m(bot).await;
    let of_other = other.rsplit('.').next().unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let later = jwt::with_claims(&token, |claims| claims["exp"] = 9_999_999_999_i64.into());
    for forged in [format!("{signed}.{of_other}"), format!("{signed}."), later] {
        assert_eq!(call(&forged).await.refusal(), "401 The token's signature is wrong");
    }
    assert_eq!(call(&token).await.refusal(), "404 No such server");
    app.pass(Duration::from_hours(1));
    assert_eq!(call(&token).await.refusal(), "401 The token has expired");
}

#[tokio::test]
async fn a_token_of_a_key_that_is_not_ours_is_refused() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let (mut header, claims) = (jwt::header(&token), jwt::claims(&token));
    let key = SigningKey::es256();
    assert_snapshot!(verdict(&scenario, &key.sign(&header, &claims)).await, @"
    401 The token's signature is wrong
    400 invalid_request: subject_token: The token's signature is wrong
    ");
    header["kid"] = "foreign".into();
    header["jwk"] = key.jwk("foreign");
    assert_snapshot!(verdict(&scenario, &key.sign(&header, &claims)).await, @"
    401 The token is signed with an unknown key
    400 invalid_request: subject_token: The token is signed with an unknown key
    ");
}

#[tokio::test]
async fn a_token_without_our_type_or_with_a_critical_extension_is_refused() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let mut verdicts = Vec::new();
    for edit in [
        |header: &mut Value| drop(header.as_object_mut().unwrap().remove("typ")),
        |header: &mut Value| header["typ"] = "JWT".into(),
        |header: &mut Value| header["crit"] = json!(["exp"]),
        |header: &mut Value| drop(header.as_object_mut().unwrap().remove("kid")),
    ] {
        verdicts.push(verdict(&scenario, &jwt::with_header(&token, edit)).await);
    }
    assert_snapshot!(verdicts.join("\n"), @"
    401 The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    401 The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    401 The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    401 The token is not an agent token
    400 invalid_request: subject_token: The token is not an agent token
    ");
}

#[tokio::test]
async fn an_expired_token_is_refused_from_its_moment_on() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    scenario.app.pass(Duration::from_millis(3_599_999));
    let looked_at = scenario.app.about_token("introspect", &scenario.bot, &token).await.json();
    assert_eq!(looked_at["active"], true);
    scenario.app.pass(Duration::from_millis(1));
    assert_snapshot!(verdict(&scenario, &token).await, @"
    401 The token has expired
    400 invalid_request: subject_token: The token has expired
    ");
}

#[tokio::test]
async fn a_token_of_another_deployment_is_refused() {
    let scenario = Scenario::start().await;
    let elsewhere = Scenario::start().await;
    let token = elsewhere.app.m2m(&elsewhere.bot).await;
    assert_snapshot!(verdict(&scenario, &token).await, @"
    401 The token is signed with an unknown key
    400 invalid_request: subject_token: The token is signed with an unknown key
    ");
}

#[tokio::test]
async fn a_broken_token_is_refused() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let mut verdicts = Vec::new();
    for broken in
        ["x", "a.b", "a.b.c.d", &token[..token.len() - 2], &format!("{token}.x"), &format!("{token}=")]
    {
        verdicts.push(verdict(&scenario, broken).await);
    }
    assert_snapshot!(verdicts.join("\n"), @"
    401 User token refused: the token is malformed
    400 invalid_request: subject_token: The token is malformed
    401 User token refused: the token is malformed
    400 invalid_request: subject_token: The token is malformed
    401 User token refused: the token is malformed
    400 invalid_request: subject_token: The token is malformed
    401 The token's signature is wrong
    400 invalid_request: subject_token: The token's signature is wrong
    401 User token refused: the token is malformed
    400 invalid_request: subject_token: The token is malformed
    401 The token is malformed
    400 invalid_request: subject_token: The token is malformed
    ");
}

#[tokio::test]
async fn no_forged_token_leaves_a_trace_in_the_trail_as_if_it_were_the_agents() {
    let scenario = Scenario::start().await;
    let token = scenario.app.m2m(&scenario.bot).await;
    let before = scenario.app.trail().len();
    let forged = jwt::with_claims(&token, |claims| claims["exp"] = 9_999_999_999_i64.into());
    scenario.app.call("demo", "list_repos", &json!({})).bearer(&forged).await;
    assert_eq!(scenario.app.trail().len(), before);
}
