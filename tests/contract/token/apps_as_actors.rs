//! The token of an app as the one that says for whom an agent acts: by `actor_token`, and in an exchange.

use deputize_core::tokens::Resource;
use deputize_tests::{
    AllowedApp, TestRequest,
    allowed_apps::CLIENT_ID,
    jwt::{claims, with_claims},
    request::ACCESS_TOKEN,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

fn by_actor(it: &Scenario, token: &str) -> TestRequest {
    it.app.token_for(&it.bot, &[("actor_token", token), ("actor_token_type", ACCESS_TOKEN)])
}

/// The two ways to present an app's token: as the actor's, and in an exchange, in either order.
async fn each_way(it: &Scenario, token: &str) -> Vec<TestRequest> {
    let own = it.app.m2m(&it.bot).await;
    vec![by_actor(it, token), it.app.exchange(&own, token, &[]), it.app.exchange(token, &own, &[])]
}

#[tokio::test]
async fn an_app_that_may_manage_says_for_whom_an_agent_acts() {
    let it = Scenario::start().await;
    let AllowedApp { token, .. } = it.app.allow_management(&it.bob).await;
    for ask in each_way(&it, &token).await {
        let answer = ask.await;
        let issued = claims(&answer.access_token());
        assert_eq!(issued["sub"], it.bob.id.to_string());
        assert_eq!(issued["act"]["sub"], it.bot.id.to_string());
    }
    assert_snapshot!(it.app.event_of(&by_actor(&it, &token).await), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    client_id: "https://client.example/app.json"
    credential: "client_secret:[bot's first secret]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
}

/// Otherwise an app that a user gave one server could reach all others through an agent.
#[tokio::test]
async fn a_token_for_calling_tools_does_not() {
    let it = Scenario::start().await;
    let mut told = Vec::new();
    for (resource, scope) in [
        (Resource::Proxy, "tools:call manage"),
        (Resource::Server("demo".parse().unwrap()), "tools:call manage"),
        (Resource::Management, "offline_access"),
    ] {
        let token = it.app.allow_app(&it.bob, CLIENT_ID, resource, scope).await.token;
        for ask in each_way(&it, &token).await {
            told.push(ask.await.refusal());
        }
    }
    told.dedup();
    assert_snapshot!(told.join("\n"), @"
    400 invalid_grant: actor_token: an app's token is good here only if its audience is the management API, with the scope manage; this one is for calling tools
    400 invalid_grant: subject_token: an app's token is good here only if its audience is the management API, with the scope manage; this one is for calling tools
    400 invalid_grant: actor_token: an app's token is good here only if its audience is the management API, with the scope manage; this one is for calling tools
    400 invalid_grant: subject_token: an app's token is good here only if its audience is the management API, with the scope manage; this one is for calling tools
    400 invalid_grant: actor_token: an app's token is good here only with the scope manage
    400 invalid_grant: subject_token: an app's token is good here only with the scope manage
    ");
}

#[tokio::test]
async fn its_standing_is_checked_as_at_a_call() {
    let mut lines = Vec::new();
    for what in ["revoked", "blocked", "expired", "deactivated", "token revoked", "forged", "no delegation"] {
        let it = Scenario::start().await;
        let app = &it.app;
        let user = if what == "no delegation" { &it.carol } else { &it.bob };
        let allowed = app.allow_management(user).await;
        let mut token = allowed.token.clone();
        match what {
            "revoked" => app.disallow(&allowed),
            "blocked" => app.block_apps_of("client.example").await,
            "expired" => app.pass(std::time::Duration::from_secs(3_600)),
            "deactivated" => {
                let path = format!("/api/v1/users/{}", it.bob.id);
                app.patch(path).as_user(&it.alice).json(&json!({ "active": false })).await.ok();
            }
            "token revoked" => {
                let jti = claims(&token)["jti"].as_str().unwrap().parse().unwrap();
                app.copy(&allowed.key(), &deputize_core::table::Key::revoked_token(jti), |_| {});
            }
            "forged" => token = with_claims(&token, |claims| claims["sub"] = json!(it.alice.id)),
            _ => {}
        }
        let mut told: Vec<String> = Vec::new();
        for ask in each_way(&it, &token).await {
            told.push(ask.await.refusal());
        }
        told.dedup();
        lines.push(format!("{what}: {}", told.join("\n  ")));
    }
    assert_snapshot!(lines.join("\n"), @"
    revoked: 400 invalid_grant: actor_token: The user's authorization of the app is revoked or has expired
      400 invalid_grant: subject_token: The user's authorization of the app is revoked or has expired
    blocked: 400 invalid_grant: actor_token: An admin has blocked the app
      400 invalid_grant: subject_token: An admin has blocked the app
    expired: 400 invalid_grant: actor_token: The token has expired
      400 invalid_grant: subject_token: The token has expired
    deactivated: 400 invalid_grant: actor_token: The user is deactivated
      400 invalid_grant: subject_token: The user is deactivated
    token revoked: 400 invalid_grant: actor_token: The token has been revoked
      400 invalid_grant: subject_token: The token has been revoked
    forged: 400 invalid_grant: actor_token: The token's signature is wrong
      400 invalid_grant: subject_token: The token's signature is wrong
    no delegation: 403 invalid_grant: No valid delegation
    ");
}

#[tokio::test]
async fn an_apps_token_is_not_an_agents_in_an_exchange() {
    let it = Scenario::start().await;
    let app_token = it.app.allow_management(&it.bob).await.token;
    let user = it.app.login.token("bob");
    assert_snapshot!(it.app.exchange(&app_token, &user, &[]).await.refusal(), @"400 invalid_request: subject_token: The token is not an agent token");
    assert_snapshot!(it.app.exchange(&app_token, &app_token, &[]).await.refusal(), @"400 invalid_request: subject_token: The token is not an agent token");
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_learns_nothing_of_an_apps_token() {
    let it = Scenario::start().await;
    let allowed = it.app.allow_management(&it.bob).await;
    let guess =
        deputize_tests::Agent { secret: it.app.agent("other", &it.alice).await.secret, ..it.bot.clone() };
    let ask =
        || it.app.token_for(&guess, &[("actor_token", &*allowed.token), ("actor_token_type", ACCESS_TOKEN)]);
    assert_eq!(ask().await.refusal(), "401 invalid_client: Client authentication failed");
    it.app.disallow(&allowed);
    assert_eq!(ask().await.refusal(), "401 invalid_client: Client authentication failed");
}
