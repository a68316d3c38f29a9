//! Tokens for several servers: `resource` (RFC 8707) and `audience` (RFC 8693), once or several times.

use deputize_tests::{TestApp, jwt};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{proxy::Permitted, scenario::Scenario};

const PROXY: &str = "https://deputize.test/api/v1/proxy";
const DEMO: &str = "https://deputize.test/api/v1/proxy/demo/mcp";
const OTHER: &str = "https://deputize.test/api/v1/proxy/other/mcp";
const THIRD: &str = "https://deputize.test/api/v1/proxy/third/mcp";
const ELSEWHERE: &str = "https://elsewhere.example/";

async fn three_servers() -> Permitted {
    let it = Permitted::set().await;
    for server in ["other", "third"] {
        it.app().server(server).at(it.mcp.open_url()).await;
    }
    it
}

/// The servers at which a token is good.
async fn good_at(app: &TestApp, token: &str) -> Vec<&'static str> {
    let mut good = Vec::new();
    for server in ["demo", "other", "third"] {
        let answer = app.get(format!("/api/v1/proxy/{server}/tools")).bearer(token).await;
        match answer.status.as_u16() {
            200 => good.push(server),
            _ => assert_eq!(answer.refusal(), "401 The token is for another audience"),
        }
    }
    good
}

#[tokio::test]
async fn an_exchange_is_narrowed_by_audience_as_by_resource() {
    let it = three_servers().await;
    let (app, subject, user) = (it.app(), it.app().m2m(it.bot()).await, it.app().login.token("bob"));
    for parameter in ["audience", "resource"] {
        let token = app.exchange(&subject, &user, &[(parameter, DEMO)]).await.access_token();
        assert_eq!(jwt::claims(&token)["aud"], DEMO, "{parameter}");
        assert_eq!(good_at(app, &token).await, ["demo"], "{parameter}");
    }
    assert_snapshot!(app.exchange(&subject, &user, &[("audience", ELSEWHERE)]).await, @r#"
    400 Bad Request

    {
      "error": "invalid_target",
      "error_description": "audience: there is no such resource here",
      "detail": "invalid_target: audience: there is no such resource here",
      "reason": "target_unknown"
    }
    "#);
    let narrow = app.token_for(it.bot(), &[("resource", DEMO)]).await.access_token();
    assert_snapshot!(app.exchange(&narrow, &user, &[("audience", OTHER)]).await.refusal(), @"400 invalid_target: audience: the subject_token is good at another resource only");
}

#[tokio::test]
async fn a_token_of_ones_own_is_narrowed_by_audience_too() {
    let it = three_servers().await;
    let token = it.app().token_for(it.bot(), &[("audience", DEMO)]).await.access_token();
    assert_eq!(good_at(it.app(), &token).await, ["demo"]);
    let refused = it.app().token_for(it.bot(), &[("audience", "unknown")]).await;
    assert_snapshot!(refused.refusal(), @"400 invalid_target: audience: there is no such resource here");
    let unknown = format!("{PROXY}/unknown/mcp");
    let refused = it.app().token_for(it.bot(), &[("resource", DEMO), ("audience", &unknown)]).await;
    assert_snapshot!(refused.refusal(), @"400 invalid_target: audience: there is no such resource here");
}

#[tokio::test]
async fn several_of_ours_are_a_token_for_those_and_no_others() {
    let it = three_servers().await;
    let (app, bot) = (it.app(), it.bot());
    for several in [
        [("resource", OTHER), ("resource", DEMO)],
        [("audience", DEMO), ("audience", OTHER)],
        [("audience", OTHER), ("resource", DEMO)],
    ] {
        let answer = app.token_for(bot, &several).await;
        assert_eq!(jwt::claims(&answer.access_token())["aud"], json!([DEMO, OTHER]));
        assert_eq!(good_at(app, &answer.access_token()).await, ["demo", "other"]);
        let seen = app.about_token("introspect", bot, &answer.access_token()).await.json();
        assert_eq!(seen["aud"], json!([DEMO, OTHER]));
        assert_eq!(
            app.event_of(&answer),
            [
                r#"action: "token.issue""#,
                r#"audit_agent: "[bot]""#,
                r#"credential: "client_secret:[bot's first secret]""#,
                r#"detail: "for the servers demo, other""#,
                r#"outcome: "allowed""#,
                r#"token_id: "[uuid]""#,
            ]
            .join("\n")
        );
    }
}

#[tokio::test]
async fn the_same_twice_is_once_and_with_the_whole_proxy_it_is_that() {
    let it = three_servers().await;
    let aud = async |fields: &[(&str, &str)]| {
        jwt::claims(&it.app().token_for(it.bot(), fields).await.access_token())["aud"].clone()
    };
    assert_eq!(aud(&[("resource", DEMO), ("resource", DEMO)]).await, DEMO);
    assert_eq!(aud(&[("resource", DEMO), ("audience", &DEMO[..DEMO.len() - 4])]).await, DEMO);
    assert_eq!(aud(&[("resource", DEMO), ("resource", "")]).await, DEMO);
    assert_eq!(aud(&[("resource", DEMO), ("resource", PROXY)]).await, PROXY);
}

#[tokio::test]
async fn a_foreign_one_among_them_is_no_target() {
    let it = three_servers().await;
    let (app, bot) = (it.app(), it.bot());
    let unknown = format!("{PROXY}/unknown/mcp");
    for several in [
        [("resource", DEMO), ("resource", ELSEWHERE)],
        [("resource", ELSEWHERE), ("resource", PROXY)],
        [("resource", DEMO), ("resource", &unknown)],
    ] {
        let refused = app.token_for(bot, &several).await;
        assert_eq!(refused.refusal(), "400 invalid_target: resource: there is no such resource here");
    }
    app.patch("/api/v1/servers/other")
        .as_user(&it.scenario.alice)
        .json(&json!({ "active": false }))
        .await
        .ok();
    let refused = app.token_for(bot, &[("resource", DEMO), ("resource", OTHER)]).await;
    assert_eq!(refused.refusal(), "400 invalid_target: resource: there is no such resource here");
}

#[tokio::test]
async fn a_token_is_for_20_servers_at_most() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let mut names = Vec::new();
    for n in 0..21 {
        app.server(&format!("s{n}")).await;
        names.push(format!("{PROXY}/s{n}/mcp"));
    }
    let fields: Vec<_> = names.iter().map(|name| ("resource", &**name)).collect();
    let token = app.token_for(&bot, &fields[..20]).await.access_token();
    assert_eq!(jwt::claims(&token)["aud"].as_array().map(Vec::len), Some(20));
    assert_snapshot!(app.token_for(&bot, &fields).await.refusal(), @"400 invalid_target: resource: a token is for 20 servers at most, or for all if none is named");
    // The same server counts only once.
    app.token_for(&bot, &[&fields[..20], &fields[..20]].concat()).await.ok();
}

#[tokio::test]
async fn an_exchange_keeps_to_each_of_its_subjects_servers() {
    let it = three_servers().await;
    let (app, bot, user) = (it.app(), it.bot(), it.app().login.token("bob"));
    let both = app.token_for(bot, &[("resource", DEMO), ("resource", OTHER)]).await.access_token();
    let aud = async |more: &[(&str, &str)]| match app.exchange(&both, &user, more).await {
        answer if answer.status == 200 => jwt::claims(&answer.access_token())["aud"].clone(),
        refused => Value::from(refused.refusal()),
    };
    let other_only = "400 invalid_target: resource: the subject_token is good at another resource only";
    assert_eq!(aud(&[]).await, json!([DEMO, OTHER]));
    assert_eq!(aud(&[("resource", OTHER)]).await, OTHER);
    assert_eq!(aud(&[("resource", OTHER), ("resource", DEMO)]).await, json!([DEMO, OTHER]));
    assert_eq!(aud(&[("resource", THIRD)]).await, other_only);
    assert_eq!(aud(&[("resource", DEMO), ("resource", THIRD)]).await, other_only);
    assert_eq!(aud(&[("resource", PROXY)]).await, other_only);
}

#[tokio::test]
async fn several_servers_cost_no_more_round_trips_than_one() {
    let it = three_servers().await;
    let fields = [("resource", DEMO), ("audience", OTHER), ("audience", THIRD)];
    it.app().token_for(it.bot(), &fields).await.ok();
    let (_, cost) = it.app().round_trips(async { it.app().token_for(it.bot(), &fields).await.ok() }).await;
    assert_eq!(cost, [("BatchGetItem", 1), ("BatchWriteItem", 1)]);
}

#[tokio::test]
async fn nothing_else_may_occur_twice() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    for name in ["scope", "actor_token", "grant_type"] {
        let refused = app.token_for(&bot, &[(name, "a"), (name, "a")]).await;
        assert_eq!(refused.refusal(), format!("400 invalid_request: The parameter {name} occurs twice"));
    }
}
