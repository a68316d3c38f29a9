//! Lists and the trail, in round trips that a request waits for one after the other. DynamoDB answers requests that are
//! sent at the same time at the same time, so they are one.

use std::{fmt::Write, future::IntoFuture};

use insta::assert_snapshot;
use serde_json::json;

use crate::{proxy::Permitted, scenario::Scenario};

/// How many round trips a page waits for, for each of these paths, without that which reads its caller's credential. Each
/// is asked for twice: what a process learns once is not counted.
async fn of_pages(it: &Permitted, paths: &[String]) -> String {
    let Scenario { app, alice, .. } = &it.scenario;
    let ask = |path: &str| app.get(path).as_user(alice).into_future();
    ask("/api/v1/me").await.ok();
    tokio::time::pause();
    let (me, of_caller) = app.round_trips_in_turn(ask("/api/v1/me")).await;
    assert_eq!((me.status.as_u16(), of_caller), (200, 1));
    let mut shown = String::new();
    for path in paths {
        ask(path).await.ok();
        let (page, in_turn) = app.round_trips_in_turn(ask(path)).await;
        page.ok();
        writeln!(shown, "{} {}", in_turn - of_caller, app.shown(path)).unwrap();
    }
    tokio::time::resume();
    shown
}

#[tokio::test]
async fn a_page_about_people_agents_and_servers_waits_for_two_round_trips() {
    let it = Permitted::set().await;
    let (app, bob, bot) = (it.app(), it.bob().id, &it.bot().id);
    app.call_it("bob", bob.to_string());
    app.call_it("bot", bot.to_string());
    let server = app.server("chat").oauth().await;
    app.connect(it.bob(), &server).await;
    let grants = format!("/api/v1/agent-accounts/{bot}/session-grants");
    let shared = json!({ "server_id": "chat", "shared": true });
    app.post(grants).as_user(it.bob()).json(&shared).await.ok();
    let dev = json!({ "groups": ["dev"] });
    app.patch(format!("/api/v1/users/{bob}")).as_user(&it.scenario.alice).json(&dev).await.ok();
    let paths = [
        "/api/v1/users".to_owned(),
        "/api/v1/users?sort=name&limit=1000".to_owned(),
        "/api/v1/users?name_prefix=b&active=true".to_owned(),
        "/api/v1/users?group=dev&role=user".to_owned(),
        format!("/api/v1/users/{bob}"),
        format!("/api/v1/users/{bob}/delegations"),
        format!("/api/v1/users/{bob}/agents"),
        format!("/api/v1/users/{bob}/session-grants"),
        format!("/api/v1/users/{bob}/connections"),
        format!("/api/v1/users/{bob}/api-keys"),
        format!("/api/v1/users/{bob}/sessions"),
        format!("/api/v1/users/{bob}/authorizations"),
        "/api/v1/agent-accounts".to_owned(),
        format!("/api/v1/agent-accounts?owner_user_id={}", it.scenario.alice.id),
        "/api/v1/available-agents".to_owned(),
        format!("/api/v1/agent-accounts/{bot}"),
        format!("/api/v1/agent-accounts/{bot}/delegations"),
        format!("/api/v1/agent-accounts/{bot}/session-grants"),
        "/api/v1/servers".to_owned(),
        "/api/v1/servers/demo/delegations".to_owned(),
        "/api/v1/servers/chat/session-grants".to_owned(),
        "/api/v1/servers/demo/policies".to_owned(),
        "/api/v1/policies".to_owned(),
    ];
    assert_snapshot!(of_pages(&it, &paths).await, @"
    2 /api/v1/users
    2 /api/v1/users?sort=name&limit=1000
    2 /api/v1/users?name_prefix=b&active=true
    2 /api/v1/users?group=dev&role=user
    1 /api/v1/users/[bob]
    2 /api/v1/users/[bob]/delegations
    2 /api/v1/users/[bob]/agents
    2 /api/v1/users/[bob]/session-grants
    1 /api/v1/users/[bob]/connections
    2 /api/v1/users/[bob]/api-keys
    2 /api/v1/users/[bob]/sessions
    2 /api/v1/users/[bob]/authorizations
    2 /api/v1/agent-accounts
    2 /api/v1/agent-accounts?owner_user_id=[alice]
    2 /api/v1/available-agents
    1 /api/v1/agent-accounts/[bot]
    2 /api/v1/agent-accounts/[bot]/delegations
    3 /api/v1/agent-accounts/[bot]/session-grants
    2 /api/v1/servers
    2 /api/v1/servers/demo/delegations
    2 /api/v1/servers/chat/session-grants
    1 /api/v1/servers/demo/policies
    1 /api/v1/policies
    ");
}

#[tokio::test]
async fn a_filter_of_the_trail_waits_for_two_round_trips() {
    let it = Permitted::set().await;
    let (app, alice) = (it.app(), &it.scenario.alice);
    let (bob, bot) = (it.bob().id, &it.bot().id);
    app.call_it("bob", bob.to_string());
    app.call_it("bot", bot.to_string());
    let obo = app.obo(it.bot(), it.bob()).await;
    for tool in ["list_repos", "delete_repo"] {
        app.call("demo", tool, &json!({ "org": "acme" })).bearer(&obo).await;
    }
    app.call("unknown", "list_repos", &json!({})).bearer(&obo).await.refusal();
    let groups = json!({ "groups": ["dev"] });
    app.patch(format!("/api/v1/users/{bob}")).as_user(alice).json(&groups).await.ok();
    let one = app.get("/api/v1/audit-events?outcome=allowed&user_id=".to_owned() + &bob.to_string());
    let one = one.as_user(alice).await.ok().json()[0]["id"].as_str().unwrap().to_owned();
    app.call_it("an event", &*one);
    let filters = [
        "server_id=demo&tool=list_repos".to_owned(),
        "server_id=demo&tool=list_repos&outcome=allowed".to_owned(),
        "action=user.update,policy.create".to_owned(),
        format!("subject=user:{bob}"),
        "outcome=denied,failed".to_owned(),
        format!("outcome=denied&user_id={bob}"),
        format!("actor=agent:{bot}"),
        format!("on_behalf_of={bob}&server_id=demo&tool=delete_repo"),
        "server_id=demo".to_owned(),
        "server_id=demo&action=tool.call&outcome=allowed".to_owned(),
        "from=2026-01-15T00:00:00Z".to_owned(),
    ];
    let mut paths: Vec<String> =
        filters.iter().map(|filter| format!("/api/v1/audit-events?{filter}")).collect();
    paths.push(format!("/api/v1/audit-events/{one}"));
    assert_snapshot!(of_pages(&it, &paths).await, @"
    2 /api/v1/audit-events?server_id=demo&tool=list_repos
    2 /api/v1/audit-events?server_id=demo&tool=list_repos&outcome=allowed
    2 /api/v1/audit-events?action=user.update,policy.create
    2 /api/v1/audit-events?subject=user:[bob]
    2 /api/v1/audit-events?outcome=denied,failed
    2 /api/v1/audit-events?outcome=denied&user_id=[bob]
    2 /api/v1/audit-events?actor=agent:[bot]
    2 /api/v1/audit-events?on_behalf_of=[bob]&server_id=demo&tool=delete_repo
    2 /api/v1/audit-events?server_id=demo
    2 /api/v1/audit-events?server_id=demo&action=tool.call&outcome=allowed
    1 /api/v1/audit-events?from=2026-01-15T00:00:00Z
    1 /api/v1/audit-events/[an event]
    ");
}
