//! Calls of apps that users allowed to act as them.

use std::time::Duration;

use deputize_core::{table::Key, tokens::Resource};
use deputize_tests::{
    AllowedApp, TestApp, TestRequest, TestResponse,
    allowed_apps::CLIENT_ID,
    jwt::{claims, with_claims},
};
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;
use crate::mcp::Scene;

const CHALLENGE: &str = "www-authenticate";

fn server(id: &str) -> Resource {
    Resource::Server(id.parse().unwrap())
}

fn call(app: &TestApp, token: &str) -> TestRequest {
    app.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(token)
}

/// Status, text and challenge, on two lines.
fn told(app: &TestApp, answer: &TestResponse) -> String {
    let challenge = answer.header(CHALLENGE).unwrap_or("no challenge");
    app.shown(&format!("{}\n  {challenge}", answer.refusal()))
}

#[tokio::test]
async fn an_app_calls_as_its_user_and_the_trail_names_both() {
    let it = Permitted::set().await;
    let allowed = it.app().allow_tools(it.bob()).await;
    let answer = call(it.app(), &allowed.token).await.ok();
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "23971bb58a3ce2d2c04ab5ff835943203b1f6f311b65dd6077214f7526f02415"
    audit_server: "demo"
    audit_user: "[bob]"
    client_id: "https://client.example/app.json"
    credential: "app_token:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
}

#[tokio::test]
async fn an_app_is_under_its_users_policies_and_a_denial_never_speaks_of_scopes() {
    let it = Permitted::without_policies().await;
    let (app, bob, alice) = (it.app(), it.bob(), &it.scenario.alice);
    let policy = format!("permit(principal == User::\"{}\", action, resource);", bob.id);
    app.policy("bob", &policy).await;
    call(app, &app.allow_tools(bob).await.token).await.ok();
    let denied = call(app, &app.allow_tools(alice).await.token).await;
    assert_eq!(denied.header(CHALLENGE), None);
    assert_snapshot!(denied, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_user",
      "denied_for": "user",
      "policies": [],
      "explanation": "no policy permits it"
    }
    "#);
}

#[tokio::test]
async fn a_token_is_good_at_its_resource_only_and_with_the_scope_to_call() {
    let it = Permitted::set().await;
    let (app, bob) = (it.app(), it.bob());
    let allow =
        async |resource: Resource, scope: &str| app.allow_app(bob, CLIENT_ID, resource, scope).await.token;
    call(app, &allow(server("demo"), "tools:call").await).await.ok();
    let mut lines = Vec::new();
    for (what, token) in [
        ("another server's", allow(server("other"), "tools:call").await),
        ("the management API's", allow(Resource::Management, "manage tools:call").await),
        ("without the scope", allow(Resource::Proxy, "offline_access").await),
        ("with another scope", allow(server("demo"), "manage").await),
    ] {
        lines.push(format!("{what}: {}", told(app, &call(app, &token).await)));
        let by_mcp = app.modern("demo", "tools/list", "").bearer(&token).await;
        let by_tools = app.get("/api/v1/proxy/demo/tools").bearer(&token).await;
        assert_eq!(told(app, &by_mcp), told(app, &by_tools), "{what}");
    }
    assert_snapshot!(lines.join("\n"), @r#"
    another server's: 401 The token is for another audience
      Bearer realm="deputize", error="invalid_token", error_description="The token is for another audience", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"
    the management API's: 401 The token is for another audience
      Bearer realm="deputize", error="invalid_token", error_description="The token is for another audience", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"
    without the scope: 403 The token lacks the scope tools:call: have the user allow the app that scope
      Bearer realm="deputize", error="insufficient_scope", error_description="The token lacks the scope tools:call: have the user allow the app that scope", scope="tools:call", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp"
    with another scope: 403 The token lacks the scope tools:call: have the user allow the app that scope
      Bearer realm="deputize", error="insufficient_scope", error_description="The token lacks the scope tools:call: have the user allow the app that scope", scope="tools:call", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp"
    "#);
}

#[tokio::test]
async fn what_refuses_a_token_for_its_scope_is_an_answer_of_rfc_6750_and_is_in_the_trail() {
    let it = Permitted::set().await;
    let token = it.app().allow_app(it.bob(), CLIENT_ID, Resource::Proxy, "offline_access").await.token;
    let answer = call(it.app(), &token).await;
    assert_snapshot!(answer, @r#"
    403 Forbidden
    www-authenticate: Bearer realm="deputize", error="insufficient_scope", error_description="The token lacks the scope tools:call: have the user allow the app that scope", scope="tools:call", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp"

    {
      "error": "insufficient_scope",
      "error_description": "The token lacks the scope tools:call: have the user allow the app that scope",
      "detail": "The token lacks the scope tools:call: have the user allow the app that scope",
      "reason": "insufficient_scope",
      "scope": "tools:call"
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "23971bb58a3ce2d2c04ab5ff835943203b1f6f311b65dd6077214f7526f02415"
    audit_server: "demo"
    audit_user: "[bob]"
    client_id: "https://client.example/app.json"
    credential: "app_token:[uuid]"
    detail: "The token lacks the scope tools:call: have the user allow the app that scope"
    outcome: "denied"
    tool: "list_repos"
    "#);
}

/// What ends a token, ends it with the next call.
#[tokio::test]
async fn a_token_ends_with_all_that_it_rests_on_and_the_client_is_sent_to_sign_in() {
    let mut lines = Vec::new();
    for what in ["authorization", "app", "host", "user", "deactivation", "time", "idleness", "token"] {
        let it = Permitted::set().await;
        let (app, bob) = (it.app(), it.bob());
        let AllowedApp { authorization, token } = app.allow_tools(bob).await;
        let allowed = AllowedApp { authorization, token };
        call(app, &allowed.token).await.ok();
        let mut token = allowed.token.clone();
        match what {
            "authorization" => app.disallow(&allowed),
            "app" => app.block_allowed(&allowed).await,
            "host" => app.block_apps_of("client.example").await,
            "user" => set_active(&it, false).await,
            "deactivation" => {
                set_active(&it, false).await;
                set_active(&it, true).await;
            }
            "time" => app.pass(Duration::from_secs(3_600)),
            "idleness" => {
                app.pass(Duration::from_hours(24 * 90) - Duration::from_secs(60));
                token = app.app_token(&allowed.authorization, "tools:call").await;
                assert_eq!(claims(&token)["exp"].as_i64().unwrap() - app.now().as_seconds(), 60);
                call(app, &token).await.ok();
                app.pass(Duration::from_secs(61));
            }
            _ => {
                let jti = claims(&token)["jti"].as_str().unwrap().parse().unwrap();
                // Only whether there is a note counts.
                app.copy(&allowed.key(), &Key::revoked_token(jti), |_| {});
            }
        }
        let refused = call(app, &token).await;
        assert!(refused.header(CHALLENGE).unwrap().contains("resource_metadata="), "{refused}");
        let by_mcp = app.modern("demo", "tools/list", "").bearer(&token).await;
        assert_eq!((by_mcp.status, by_mcp.header(CHALLENGE)), (refused.status, refused.header(CHALLENGE)));
        lines.push(format!("{what}: {}", refused.refusal()));
    }
    assert_snapshot!(lines.join("\n"), @"
    authorization: 401 The user's authorization of the app is revoked or has expired
    app: 401 An admin has blocked the app
    host: 401 An admin has blocked the app
    user: 401 The user is deactivated
    deactivation: 401 The user was deactivated after they allowed the app
    time: 401 The token has expired
    idleness: 401 The token has expired
    token: 401 The token has been revoked
    ");
}

async fn set_active(it: &Permitted, active: bool) {
    let path = format!("/api/v1/users/{}", it.bob().id);
    it.app().patch(path).as_user(&it.scenario.alice).json(&json!({ "active": active })).await.ok();
}

#[tokio::test]
async fn a_registered_app_that_is_not_registered_any_more_is_refused() {
    let it = Permitted::set().await;
    let (app, bob) = (it.app(), it.bob());
    let allowed = app.allow_registered(bob, Resource::Proxy, "tools:call").await;
    call(app, &allowed.token).await.ok();
    app.unregister(&allowed);
    assert_snapshot!(call(app, &allowed.token).await.refusal(), @"401 The app is not registered any more");
}

#[tokio::test]
async fn a_token_that_was_changed_or_forged_proves_nobody() {
    let it = Permitted::set().await;
    let allowed = it.app().allow_app(it.bob(), CLIENT_ID, server("other"), "tools:call").await;
    for (field, value) in [
        ("aud", json!("https://deputize.test/api/v1/proxy")),
        ("sub", json!(it.scenario.alice.id)),
        ("scope", json!("tools:call manage")),
        ("authorization_id", json!(null)),
    ] {
        let token = with_claims(&allowed.token, |claims| claims[field] = value);
        assert_eq!(call(it.app(), &token).await.refusal(), "401 The token's signature is wrong", "{field}");
    }
}

/// A token names the app and the authorization. Neither serves another's.
#[tokio::test]
async fn one_users_authorization_serves_no_other_user() {
    let it = Permitted::set().await;
    let (app, bob, carol) = (it.app(), it.bob(), &it.scenario.carol);
    let bobs = app.allow_tools(bob).await;
    let mut authorization = bobs.authorization.clone();
    authorization.user_id = carol.id;
    let carols = app.app_token(&authorization, "tools:call").await;
    assert_snapshot!(call(app, &carols).await.refusal(), @"401 The user's authorization of the app is revoked or has expired");
    authorization.user_id = bob.id;
    authorization.app =
        app.allow_app(bob, "https://other.example/app.json", Resource::Proxy, "").await.authorization.app;
    let others = app.app_token(&authorization, "tools:call").await;
    assert_snapshot!(call(app, &others).await.refusal(), @"401 The user's authorization of the app is revoked or has expired");
}

#[tokio::test]
async fn the_trail_is_listed_by_app_within_a_users_events() {
    let it = Permitted::set().await;
    let (app, bob, alice) = (it.app(), it.bob(), &it.scenario.alice);
    let long = format!("https://long.example/{}", "a".repeat(400));
    for client_id in [CLIENT_ID, &long] {
        let token = app.allow_app(bob, client_id, Resource::Proxy, "tools:call").await.token;
        app.pass(Duration::from_secs(1));
        call(app, &token).await.ok();
    }
    app.pass(Duration::from_secs(1));
    call(app, &bob.api_key).await.ok();
    let list = async |query: &str| app.get(format!("/api/v1/audit-events?{query}")).as_user(alice).await;
    let all = list(&format!("user_id={}", bob.id)).await.ok().json();
    let apps: Vec<_> = all.as_array().unwrap().iter().map(|event| event["client_id"].clone()).collect();
    let digest = apps[1].as_str().unwrap();
    assert_eq!((&apps[0], digest.starts_with("sha256:"), &apps[2]), (&json!(null), true, &json!(CLIENT_ID)));
    for (client_id, found) in [(CLIENT_ID, 2), (&*long, 1), (digest, 1)] {
        let named = list(&format!("user_id={}&client_id={client_id}", bob.id)).await.ok().json();
        assert_eq!((named.as_array().unwrap().len(), &named[0]), (1, &all[if found == 2 { 2 } else { 1 }]));
    }
    assert_eq!(list(&format!("client_id={CLIENT_ID}")).await.ok().json(), json!([all[2]]));
    let own = app.get(format!("/api/v1/audit-events?client_id={CLIENT_ID}")).as_user(bob).await.ok().json();
    assert_eq!(own, json!([all[2]]));
}

#[tokio::test]
async fn an_mcp_session_of_one_app_is_not_continued_by_another_nor_by_its_user() {
    let it = Scene::set().await;
    let (app, bob) = (it.app(), &it.scenario.bob);
    let [one, other] = [
        app.allow_tools(bob).await.token,
        app.allow_app(bob, "https://other.example/app.json", Resource::Proxy, "tools:call").await.token,
    ];
    let session = app.initialize("old").bearer(&one).await.ok().session();
    let list = |ask: TestRequest| ask.in_session(&session);
    let ask = || app.handshake("old", "tools/list", "{}");
    assert_eq!(list(ask().bearer(&one)).await.ok().json()["result"]["tools"][0]["name"], "t");
    for ask in [ask().bearer(&other), ask().as_user(bob)] {
        assert_eq!(list(ask).await.rpc_refusal(), "404 -32600: There is no such session");
    }
    let bobs = app.initialize("old").as_user(bob).await.ok().session();
    assert_eq!(ask().bearer(&one).in_session(&bobs).await.status, 404);
}
