//! What the token endpoint's form may look like.

use deputize_tests::request::{ACCESS_TOKEN, TOKEN_EXCHANGE, USER_ID};
use insta::assert_snapshot;

use crate::scenario::Scenario;

#[tokio::test]
async fn a_missing_grant_type_is_an_invalid_request() {
    let Scenario { app, .. } = Scenario::start().await;
    assert_snapshot!(app.token(&[]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "The parameter grant_type is missing",
      "detail": "invalid_request: The parameter grant_type is missing",
      "reason": "request_invalid"
    }
    "#);
}

#[tokio::test]
async fn an_unknown_grant_type_is_unsupported() {
    let Scenario { app, .. } = Scenario::start().await;
    assert_snapshot!(app.token(&[("grant_type", "password")]).await, @r#"
    400 Bad Request

    {
      "error": "unsupported_grant_type",
      "error_description": "Unsupported grant_type; use authorization_code, refresh_token, client_credentials or urn:ietf:params:oauth:grant-type:token-exchange",
      "detail": "unsupported_grant_type: Unsupported grant_type; use authorization_code, refresh_token, client_credentials or urn:ietf:params:oauth:grant-type:token-exchange",
      "reason": "grant_type_unsupported"
    }
    "#);
}

#[tokio::test]
async fn a_repeated_parameter_is_an_invalid_request() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    assert_snapshot!(app.token_for(&bot, &[("client_id", "again")]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "The parameter client_id occurs twice",
      "detail": "invalid_request: The parameter client_id occurs twice",
      "reason": "request_invalid"
    }
    "#);
}

#[tokio::test]
async fn an_unknown_parameter_is_ignored() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.token_for(&bot, &[("requested_color", "x")]).await.ok();
}

#[tokio::test]
async fn a_parameter_without_a_value_counts_as_left_out() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.token_for(&bot, &[("actor_token", ""), ("actor_token_type", "")]).await.ok();
}

#[tokio::test]
async fn an_actor_needs_both_a_token_and_a_type() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let id = bob.id.to_string();
    let answers = [
        app.token_for(&bot, &[("actor_token", &id)]).await,
        app.token_for(&bot, &[("actor_token_type", USER_ID)]).await,
        app.token_for(&bot, &[("actor_token", &id), ("actor_token_type", "urn:x:user")]).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    400 invalid_request: The parameter actor_token_type is missing
    400 invalid_request: The parameter actor_token is missing
    400 invalid_request: actor_token_type must be urn:runlayer:token-type:user-id or urn:runlayer:token-type:user-email or urn:ietf:params:oauth:token-type:access_token
    ");
}

#[tokio::test]
async fn an_exchange_needs_all_four_parameters_of_the_one_known_type() {
    let Scenario { app, .. } = Scenario::start().await;
    let full = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", "s"),
        ("subject_token_type", ACCESS_TOKEN),
        ("actor_token", "a"),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let mut answers = Vec::new();
    for missing in 1..full.len() {
        let mut fields = full.to_vec();
        fields.remove(missing);
        answers.push(app.token(&fields).await.refusal());
    }
    let with_type = |name: &'static str, kind: &'static str| {
        let mut fields: Vec<_> = full.iter().filter(|(field, _)| *field != name).copied().collect();
        fields.push((name, kind));
        fields
    };
    answers.push(app.token(&with_type("subject_token_type", USER_ID)).await.refusal());
    answers.push(app.token(&with_type("actor_token_type", USER_ID)).await.refusal());
    answers.push(app.token(&with_type("requested_token_type", "urn:x:saml")).await.refusal());
    assert_snapshot!(answers.join("\n"), @"
    400 invalid_request: The parameter subject_token is missing
    400 invalid_request: The parameter subject_token_type is missing
    400 invalid_request: The parameter actor_token is missing
    400 invalid_request: The parameter actor_token_type is missing
    400 invalid_request: subject_token_type must be urn:ietf:params:oauth:token-type:access_token
    400 invalid_request: actor_token_type must be urn:ietf:params:oauth:token-type:access_token
    400 invalid_request: requested_token_type must be urn:ietf:params:oauth:token-type:access_token
    ");
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let Scenario { app, .. } = Scenario::start().await;
    let json = app.post("/api/v1/oauth/token").body("application/json", "{}").await;
    assert_snapshot!(json, @r#"
    415 Unsupported Media Type

    {
      "error": "unsupported_media_type",
      "error_description": "The body must be application/x-www-form-urlencoded",
      "detail": "The body must be application/x-www-form-urlencoded",
      "reason": "media_type_unsupported"
    }
    "#);
    let untyped = app.post("/api/v1/oauth/token").await;
    assert_snapshot!(untyped.refusal(), @"415 The body must be application/x-www-form-urlencoded");
}

#[tokio::test]
async fn a_form_over_the_limit_is_too_large() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let long = "x".repeat(64 * 1024);
    assert_snapshot!(app.token_for(&bot, &[("padding", &long)]).await, @r#"
    413 Payload Too Large

    {
      "error": "request_too_large",
      "error_description": "The body is larger than 65536 bytes",
      "detail": "The body is larger than 65536 bytes",
      "reason": "body_too_large"
    }
    "#);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused_without_a_fault() {
    let Scenario { app, .. } = Scenario::start().await;
    let bytes = b"grant_type=client_credentials&client_id=%ff%fe&client_secret=\xff".to_vec();
    let answer = app.post("/api/v1/oauth/token").body("application/x-www-form-urlencoded", bytes).await;
    assert_snapshot!(answer.refusal(), @"401 invalid_client: Client authentication failed");
}

#[tokio::test]
async fn only_post_gets_a_token() {
    let Scenario { app, .. } = Scenario::start().await;
    assert_snapshot!(app.get("/api/v1/oauth/token").await, @r#"
    405 Method Not Allowed
    allow: POST

    {
      "error": "method_not_allowed",
      "error_description": "This endpoint has no such method",
      "detail": "This endpoint has no such method",
      "reason": "method_not_allowed"
    }
    "#);
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let Scenario { app, .. } = Scenario::start().await;
    assert_snapshot!(app.post("/api/v1/oauth/tokens").await, @r#"
    404 Not Found

    {
      "error": "not_found",
      "error_description": "No such endpoint",
      "detail": "No such endpoint",
      "reason": "not_found"
    }
    "#);
}

#[tokio::test]
async fn a_request_that_does_not_say_what_it_asks_for_is_in_the_audit_trail() {
    let Scenario { app, .. } = Scenario::start().await;
    let answer = app.token(&[("grant_type", "password")]).await;
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "token.issue"
    detail: "unsupported_grant_type: Unsupported grant_type; use authorization_code, refresh_token, client_credentials or urn:ietf:params:oauth:grant-type:token-exchange"
    outcome: "denied"
    "#);
    let twice =
        app.token(&[("grant_type", "client_credentials"), ("grant_type", "client_credentials")]).await;
    assert_snapshot!(app.event_of(&twice), @r#"
    action: "token.issue"
    detail: "invalid_request: The parameter grant_type occurs twice"
    outcome: "denied"
    "#);
}
