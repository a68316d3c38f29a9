//! New tokens for old: when, from whom, and what is lost if the provider or the store fails. Nothing.

use std::time::Duration;

use deputize_tests::{faults::Fault, provider::TokenEndpoint};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::json;

use super::{Chat, acting_as};
use crate::scenario::Scenario;

const REFRESH: &str = "token refresh_token";

async fn bob_connected() -> Chat {
    let chat = Chat::open().await;
    chat.connect(&chat.scenario.bob).await;
    chat
}

#[tokio::test]
async fn tokens_are_refreshed_in_the_last_minute_and_not_before() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    app.pass(Duration::from_secs(3539));
    chat.call(bob).await.ok();
    assert_eq!(chat.provider.count(REFRESH), 0);
    app.pass(Duration::from_secs(1));
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.provider.count(REFRESH), 1);
    chat.call(bob).await.ok();
    assert_eq!(chat.provider.count(REFRESH), 1);
}

#[tokio::test]
async fn tokens_of_a_short_life_are_refreshed_in_its_last_quarter() {
    let chat = Chat::open().await;
    chat.provider.script().expires_in = Some(20);
    chat.connect(&chat.scenario.bob).await;
    chat.call(&chat.scenario.bob).await.ok();
    assert_eq!(chat.provider.count(REFRESH), 0);
    chat.scenario.app.pass(Duration::from_secs(15));
    chat.call(&chat.scenario.bob).await.ok();
    assert_eq!(chat.provider.count(REFRESH), 1);
}

#[tokio::test]
async fn a_session_lives_for_as_long_as_it_is_refreshed_by_whoever_uses_it() {
    let chat = Chat::open().await;
    let Scenario { app, bob, carol, bot, .. } = &chat.scenario;
    app.delegate(bot, carol).await;
    chat.connect_and_grant(bob, true).await;
    for _ in 0..5 {
        app.pass(Duration::from_hours(24));
        let token = app.obo(bot, carol).await;
        let called = app.call("chat", "list_channels", &json!({})).bearer(&token).await;
        assert_eq!(acting_as(&called), "bob");
    }
    assert_eq!(chat.provider.count(REFRESH), 5);
    assert_eq!(chat.provider.families_alive(), 1);
    // The trail records the refresh for the session's owner.
    let trail = app.trail();
    let refreshed: Vec<_> = trail.iter().filter(|event| event["action"] == "connection.refresh").collect();
    assert_eq!(refreshed.len(), 5);
    assert_eq!(refreshed[0]["audit_user"], bob.id.to_string());
}

#[tokio::test]
async fn without_a_refresh_token_a_session_ends_with_its_access_token() {
    let chat = Chat::open().await;
    let Scenario { app, bob, bot, .. } = &chat.scenario;
    chat.provider.script().gives_refresh_tokens = false;
    chat.connect(bob).await;
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    app.pass(Duration::from_secs(3600));
    assert_snapshot!(chat.call(bob).await.refusal(), @"401 OAuth session expired");
    assert_eq!(chat.connection(bob).await.field("status"), "expired");
    let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
    let grant = app.post(path).as_user(bob).json(&json!({ "server_id": "chat" })).await;
    assert_snapshot!(grant.refusal(), @"400 Your OAuth session for this server has expired; connect to the server again first");
}

#[tokio::test]
async fn a_refresh_that_brings_no_new_refresh_token_keeps_the_old_one() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    app.pass(Duration::from_secs(3600));
    let body = r#"{"access_token":"not-known-there","token_type":"Bearer","expires_in":3600}"#.to_owned();
    chat.provider.script().token_endpoint = TokenEndpoint::Answers(StatusCode::OK, "application/json", body);
    // The server does not know the new access token, but it still knows the old refresh token.
    chat.call(bob).await;
    chat.provider.script().token_endpoint = TokenEndpoint::Works;
    app.pass(Duration::from_secs(3600));
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
}

#[tokio::test]
async fn a_session_whose_lifetime_nobody_told_is_refreshed_when_the_server_refuses_it() {
    let chat = Chat::open().await;
    chat.provider.script().expires_in = None;
    chat.connect(&chat.scenario.bob).await;
    chat.scenario.app.pass(Duration::from_hours(24 * 365));
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
    assert_eq!(chat.provider.count(REFRESH), 0);
    chat.provider.invalidate_access_tokens();
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
    assert_eq!(chat.provider.count(REFRESH), 1);
}

#[tokio::test]
async fn a_token_that_the_server_refuses_early_is_renewed_whatever_is_asked_for() {
    let chat = Chat::open().await;
    let Scenario { app, alice, bob, .. } = &chat.scenario;
    chat.connect(alice).await;
    chat.connect(bob).await;
    let approval = || app.put("/api/v1/proxy/chat/approved-tools").as_user(alice);
    approval().await.ok();
    app.patch("/api/v1/servers/chat").as_user(alice).json(&json!({ "pinning": "block" })).await.ok();
    let call = || app.call("chat", "list_channels", &json!({})).as_user(bob);
    let message = |method, fields| app.modern("chat", method, fields).as_user(bob);
    let asks = [
        ("finding out what is approved", call()),
        ("a call", call()),
        ("a list", app.get("/api/v1/proxy/chat/tools").as_user(bob)),
        ("a call by MCP", message("tools/call", r#""name":"list_channels","arguments":{}"#)),
        ("a list by MCP", message("tools/list", "")),
        ("an approval", approval()),
    ];
    for (what, ask) in asks {
        // After a refusal, a session is refreshed at most once a minute.
        app.pass(Duration::from_secs(61));
        chat.provider.invalidate_access_tokens();
        let before = chat.provider.count(REFRESH);
        let answer = ask.await.ok();
        assert!(!answer.text.contains("\"error\""), "{what}: {answer}");
        assert_eq!(chat.provider.count(REFRESH), before + 1, "{what}");
    }
}

/// What a provider that is down, or a faulty proxy in front of it, can do to a refresh.
fn outages() -> Vec<TokenEndpoint> {
    let answer = |status, kind, body: &str| TokenEndpoint::Answers(status, kind, body.to_owned());
    vec![
        answer(StatusCode::OK, "application/json", "{\"access_token\""),
        answer(StatusCode::OK, "text/html", "<html>Welcome to the hotel's network</html>"),
        answer(StatusCode::BAD_REQUEST, "text/html", "<html>Bad request</html>"),
        answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", r#"{"error":"invalid_grant"}"#),
        answer(StatusCode::BAD_GATEWAY, "text/plain", "no"),
        answer(StatusCode::TOO_MANY_REQUESTS, "application/json", r#"{"error":"invalid_grant"}"#),
        answer(StatusCode::OK, "application/json", &"x".repeat(10 << 20)),
        TokenEndpoint::RedirectsTo("http://169.254.169.254/latest/meta-data".to_owned()),
        TokenEndpoint::IsSilent,
    ]
}

#[tokio::test]
async fn a_provider_that_is_down_costs_a_503_and_nothing_is_lost() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    let mut refusals = Vec::new();
    for outage in outages() {
        app.pass(Duration::from_secs(3600));
        chat.provider.script().token_endpoint = outage;
        let refused = chat.call(bob).await;
        assert_eq!(refused.header("retry-after"), Some("2"), "{refused}");
        refusals.push(refused.refusal());
        assert_eq!(chat.connection(bob).await.field("status"), "connected");
        // It is not asked for a moment, and then asked again.
        let asked = chat.provider.count(REFRESH);
        assert_eq!(chat.call(bob).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(chat.provider.count(REFRESH), asked);
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        app.pass(Duration::from_secs(2));
        assert_eq!(acting_as(&chat.call(bob).await), "bob");
    }
    refusals.dedup();
    assert_snapshot!(refusals.join("\n"), @"503 The authorization server of this MCP server is unavailable, and the OAuth session needs it; nothing was called, try again");
}

#[tokio::test]
async fn a_token_that_still_works_is_used_while_the_provider_is_down() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    for outage in outages() {
        app.pass(Duration::from_secs(3590));
        chat.provider.script().token_endpoint = outage;
        assert_eq!(acting_as(&chat.call(bob).await), "bob");
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        app.pass(Duration::from_secs(3));
        assert_eq!(acting_as(&chat.call(bob).await), "bob");
    }
}

#[tokio::test]
async fn a_refresh_token_that_the_provider_refuses_ends_the_session_until_its_owner_connects_again() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.revoke_everything();
    app.pass(Duration::from_secs(3600));
    let refused = chat.call(bob).await;
    assert_snapshot!(refused, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="session_expired", error_description="OAuth session expired"

    {
      "error": "session_expired",
      "error_description": "OAuth session expired",
      "detail": "OAuth session expired",
      "reason": "session_expired"
    }
    "#);
    assert_eq!(chat.connection(bob).await.field("status"), "expired");
    assert_snapshot!(chat.call(bob).await.refusal(), @"401 OAuth session expired");
    assert_eq!(chat.provider.count(REFRESH), 1, "it is not asked again in vain");
    chat.connect(bob).await;
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.connection(bob).await.field("status"), "connected");
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_says_so_when_the_session_has_to_end() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    app.pass(Duration::from_secs(3600));
    let lost = TokenEndpoint::LosesAnswer(StatusCode::BAD_GATEWAY, "text/plain", String::new());
    chat.provider.script().token_endpoint = lost;
    assert_eq!(chat.call(bob).await.status, StatusCode::SERVICE_UNAVAILABLE);
    chat.provider.script().token_endpoint = TokenEndpoint::Works;
    app.pass(Duration::from_secs(2));
    let refused = chat.call(bob).await;
    assert_snapshot!(refused, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="session_expired", error_description="OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again"

    {
      "error": "session_expired",
      "error_description": "OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again",
      "detail": "OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again",
      "reason": "session_interrupted"
    }
    "#);
    assert_snapshot!(chat.call(bob).await.refusal(), @"401 OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again");
}

#[tokio::test]
async fn a_provider_that_does_not_know_us_any_more_is_told_and_the_next_connection_registers_anew() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.forget_clients();
    app.pass(Duration::from_secs(3600));
    assert_snapshot!(chat.call(bob).await.refusal(), @"502 The authorization server refused to renew the session: it does not know this service as a client (invalid_client); the session's owner must connect again, or an admin correct oauth_client");
    chat.connect(bob).await;
    assert_eq!(chat.provider.count("register"), 2);
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
}

#[tokio::test]
async fn what_the_provider_gave_is_stored_although_the_store_fails_for_a_while() {
    for fault in [Fault::TransactionThrottled, Fault::ServerError, Fault::TimedOut, Fault::AnswerLost] {
        let chat = bob_connected().await;
        let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
        app.pass(Duration::from_secs(3600));
        // The lease is written. Then the store fails for longer than the SDK's attempts.
        app.faults.next_after("TransactWriteItems", 1, 4, fault);
        assert_eq!(acting_as(&chat.call(bob).await), "bob", "{fault:?}");
        assert_eq!(chat.provider.count(REFRESH), 1, "{fault:?}");
        app.pass(Duration::from_secs(3600));
        assert_eq!(acting_as(&chat.call(bob).await), "bob", "{fault:?}");
        assert_eq!(chat.provider.families_alive(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_recognized_as_ones_own() {
    let chat = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    app.pass(Duration::from_secs(3600));
    app.faults.next("TransactWriteItems", 3, Fault::AnswerLost);
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.provider.count(REFRESH), 1);
}

#[tokio::test]
async fn a_session_costs_no_round_trip_more_than_none() {
    let chat = Chat::open().await;
    let Scenario { app, bob, carol, bot, .. } = &chat.scenario;
    app.delegate(bot, carol).await;
    chat.connect_and_grant(bob, true).await;
    for user in [bob, carol] {
        let token = app.obo(bot, user).await;
        let ask = || app.call("chat", "list_channels", &json!({})).bearer(&token);
        ask().await.ok();
        let (called, cost) = app.round_trips(async { ask().await }).await;
        assert_eq!(acting_as(&called), "bob");
        assert_eq!(cost, [("BatchGetItem", 1), ("BatchWriteItem", 1)]);
    }
}
