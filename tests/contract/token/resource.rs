//! Tokens for one server (RFC 8707), and that they are good at no other.

use deputize_tests::{
    TestApp, jwt,
    request::{ACCESS_TOKEN, USER_ID},
};
use insta::assert_snapshot;
use serde_json::json;

use crate::{proxy::Permitted, scenario::Scenario};

const DEMO: &str = "https://deputize.test/api/v1/proxy/demo/mcp";
const PROXY: &str = "https://deputize.test/api/v1/proxy";

/// The result of listing a server's tools.
async fn at(app: &TestApp, server: &str, token: &str) -> String {
    let answer = app.get(format!("/api/v1/proxy/{server}/tools")).bearer(token).await;
    if answer.status == 200 { "200".to_owned() } else { answer.refusal() }
}

async fn two_servers() -> Permitted {
    let it = Permitted::set().await;
    it.app().server("other").at(it.mcp.open_url()).await;
    it
}

#[tokio::test]
async fn a_token_that_is_asked_for_without_a_resource_is_good_everywhere() {
    let it = two_servers().await;
    for more in [&[][..], &[("resource", "")], &[("resource", PROXY)]] {
        let token = it.app().token_for(it.bot(), more).await.access_token();
        assert_eq!(jwt::claims(&token)["aud"], PROXY);
        assert_eq!(at(it.app(), "demo", &token).await, "200");
        assert_eq!(at(it.app(), "other", &token).await, "200");
    }
}

#[tokio::test]
async fn a_token_for_a_server_is_good_there_and_nowhere_else() {
    let it = two_servers().await;
    let answer = it.app().token_for(it.bot(), &[("resource", DEMO)]).await;
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "token.issue"
    audit_agent: "[bot]"
    audit_server: "demo"
    credential: "client_secret:[bot's first secret]"
    outcome: "allowed"
    token_id: "[uuid]"
    "#);
    let token = answer.access_token();
    assert_eq!(jwt::claims(&token)["aud"], DEMO);
    assert_eq!(at(it.app(), "demo", &token).await, "200");
    it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await.ok();
    let elsewhere = it.app().call("other", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_snapshot!(elsewhere, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The token is for another audience", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/other/mcp", scope="tools:call"

    {
      "error": "invalid_token",
      "error_description": "The token is for another audience",
      "detail": "The token is for another audience",
      "reason": "token_for_other_audience"
    }
    "#);
    assert_snapshot!(it.app().event_of(&elsewhere), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "other"
    credential: "agent_token:[uuid]"
    detail: "The token is for another audience"
    outcome: "denied"
    tool: "list_repos"
    "#);
    assert_snapshot!(at(it.app(), "other", &token).await, @"401 The token is for another audience");
    assert_snapshot!(at(it.app(), "unknown", &token).await, @"401 The token is for another audience");
    assert_eq!(it.mcp.calls(), 1);
}

#[tokio::test]
async fn a_server_may_be_named_without_its_endpoint_and_the_token_names_it_with() {
    let it = two_servers().await;
    let slash = format!("{DEMO}/");
    for named in [&DEMO[..DEMO.len() - 4], &slash, "HTTPS://DEPUTIZE.test/api/v1/proxy/demo/mcp"] {
        let token = it.app().token_for(it.bot(), &[("resource", named)]).await.access_token();
        assert_eq!(jwt::claims(&token)["aud"], DEMO);
        assert_eq!(at(it.app(), "demo", &token).await, "200");
    }
}

#[tokio::test]
async fn a_token_for_a_user_is_narrowed_too() {
    let it = two_servers().await;
    let id = it.bob().id.to_string();
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID), ("resource", DEMO)];
    let token = it.app().token_for(it.bot(), &fields).await.access_token();
    assert_eq!(at(it.app(), "demo", &token).await, "200");
    assert_snapshot!(at(it.app(), "other", &token).await, @"401 The token is for another audience");
}

#[tokio::test]
async fn a_resource_that_is_not_here_is_no_target() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    assert_snapshot!(app.token_for(&bot, &[("resource", "https://elsewhere.test/mcp")]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_target",
      "error_description": "resource: there is no such resource here",
      "detail": "invalid_target: resource: there is no such resource here",
      "reason": "target_unknown"
    }
    "#);
    for resource in [
        "https://deputize.test/api/v1",
        "https://deputize.test/api/v1/proxy/unknown/mcp",
        "https://deputize.test/api/v1/proxy/demo/tools",
        "https://deputize.test/api/v1/proxy/demo/mcp#x",
        "https://deputize.test/api/v1/proxy/demo/mcp//",
        "https://deputize.test/api/v1/proxy/demo/",
        "http://deputize.test/api/v1/proxy/demo/mcp",
        "demo",
    ] {
        let refusal = app.token_for(&bot, &[("resource", resource)]).await.refusal();
        assert_eq!(refusal, "400 invalid_target: resource: there is no such resource here", "{resource}");
    }
}

#[tokio::test]
async fn a_deactivated_server_is_no_target() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    app.patch("/api/v1/servers/demo").as_user(&alice).json(&json!({ "active": false })).await.ok();
    assert_snapshot!(app.token_for(&bot, &[("resource", DEMO)]).await.refusal(), @"400 invalid_target: resource: there is no such resource here");
}

/// Only proven callers learn which servers exist.
#[tokio::test]
async fn a_stranger_is_not_told_which_servers_there_are() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let wrong = deputize_tests::Agent { secret: "dps_wrong".to_owned(), ..bot };
    let there = app.token_for(&wrong, &[("resource", DEMO)]).await;
    let not = app.token_for(&wrong, &[("resource", "https://deputize.test/api/v1/proxy/unknown/mcp")]).await;
    assert_eq!((there.refusal(), there.text), (not.refusal(), not.text.clone()));
    assert_eq!(not.status, 401);
}

#[tokio::test]
async fn an_exchange_keeps_what_its_subject_was_narrowed_to() {
    let it = two_servers().await;
    let (app, user) = (it.app(), it.app().login.token("bob"));
    let narrow = app.token_for(it.bot(), &[("resource", DEMO)]).await.access_token();
    for more in [&[][..], &[("resource", DEMO)]] {
        let token = app.exchange(&narrow, &user, more).await.access_token();
        assert_eq!(jwt::claims(&token)["aud"], DEMO);
        assert_eq!(at(app, "other", &token).await, "401 The token is for another audience");
    }
    assert_snapshot!(app.exchange(&narrow, &user, &[("resource", PROXY)]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_target",
      "error_description": "resource: the subject_token is good at another resource only",
      "detail": "invalid_target: resource: the subject_token is good at another resource only",
      "reason": "target_unknown"
    }
    "#);
    let other = ("resource", "https://deputize.test/api/v1/proxy/other/mcp");
    assert_snapshot!(app.exchange(&narrow, &user, &[other]).await.refusal(), @"400 invalid_target: resource: the subject_token is good at another resource only");
    // The client's secret does not help: the token is what is exchanged.
    let (id, secret) = (it.bot().id.to_string(), it.bot().secret.clone());
    assert_eq!(app.exchange(&narrow, &user, &[other]).basic(&id, &secret).await.status, 400);
    let wide = app.token_for(it.bot(), &[]).await.access_token();
    let token = app.exchange(&wide, &user, &[other]).await.access_token();
    assert_snapshot!(at(app, "demo", &token).await, @"401 The token is for another audience");
    assert_eq!(at(app, "other", &token).await, "200");
}

/// The single step takes a user's token, never an agent's. So a narrow token cannot get in there.
#[tokio::test]
async fn a_narrow_token_is_no_actor() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let narrow = app.token_for(&bot, &[("resource", DEMO)]).await.access_token();
    let fields = [("actor_token", &*narrow), ("actor_token_type", ACCESS_TOKEN)];
    assert_snapshot!(app.token_for(&bot, &fields).await.refusal(), @"400 invalid_grant: actor_token: the token is from an untrusted issuer");
}

#[tokio::test]
async fn an_audience_cannot_be_rewritten() {
    let it = two_servers().await;
    let narrow = it.app().token_for(it.bot(), &[("resource", DEMO)]).await.access_token();
    let forged = jwt::with_claims(&narrow, |claims| claims["aud"] = PROXY.into());
    assert_snapshot!(at(it.app(), "other", &forged).await, @"401 The token's signature is wrong");
}

#[tokio::test]
async fn a_client_sees_where_its_token_is_good() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let narrow = app.token_for(&bot, &[("resource", DEMO)]).await.access_token();
    let seen = async |token: &str| app.about_token("introspect", &bot, token).await.json()["aud"].clone();
    assert_eq!(seen(&narrow).await, DEMO);
    assert_eq!(seen(&app.m2m(&bot).await).await, PROXY);
    app.about_token("revoke", &bot, &narrow).await.ok();
    assert_eq!(app.about_token("introspect", &bot, &narrow).await.json(), json!({ "active": false }));
}
