//! What a request costs in the steady state, and the first one of a process, in round trips to the table, counted.

use deputize_core::vault::Vault;
use deputize_tests::{
    TestRequest,
    app::{PAGES, root},
    jwt::SigningKey,
    request::{ACCESS_TOKEN, USER_EMAIL, USER_ID},
};
use serde_json::json;

use crate::{grants::Connected, proxy::Permitted, scenario::Scenario};

const READ_AND_EVENT: &[(&str, u64)] = &[("BatchGetItem", 1), ("BatchWriteItem", 1)];

/// With an assertion, one transaction stores the event and the note that the assertion is used.
const READ_AND_TRANSACTION: &[(&str, u64)] = &[("BatchGetItem", 1), ("TransactWriteItems", 1)];

/// The cost of the second of two equal requests, and the SDK's own count.
async fn steady(app: &deputize_tests::TestApp, ask: impl Fn() -> TestRequest) -> Vec<(&'static str, u64)> {
    ask().await.ok();
    app.faults.take_seen();
    let (answer, cost) = app.round_trips(async { ask().await }).await;
    answer.ok();
    let sent = app.faults.take_seen().len() as u64;
    assert_eq!(sent, cost.iter().map(|(_, count)| count).sum::<u64>(), "what is counted is what is sent");
    cost
}

#[tokio::test]
async fn a_token_costs_one_read_and_its_event() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    assert_eq!(steady(&app, || app.token_for(&bot, &[])).await, READ_AND_EVENT);
}

#[tokio::test]
async fn a_token_for_a_user_costs_the_same_however_the_user_is_named() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let (id, jwt) = (bob.id.to_string(), app.login.token("bob"));
    for (actor, kind) in [(&*id, USER_ID), (&bob.email, USER_EMAIL), (&jwt, ACCESS_TOKEN)] {
        let ask = || app.token_for(&bot, &[("actor_token", actor), ("actor_token_type", kind)]);
        assert_eq!(steady(&app, ask).await, READ_AND_EVENT, "{kind}");
    }
}

#[tokio::test]
async fn an_id_costs_one_read_the_first_time_too() {
    let Scenario { app, bob, carol, bot, .. } = Scenario::start().await;
    app.delegate(&bot, &carol).await;
    app.obo(&bot, &bob).await;
    let (_, cost) = app.round_trips(app.obo(&bot, &carol)).await;
    assert_eq!(cost, READ_AND_EVENT);
}

#[tokio::test]
async fn an_exchange_costs_the_same() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let (agent, user) = (app.m2m(&bot).await, app.login.token("bob"));
    assert_eq!(steady(&app, || app.exchange(&agent, &user, &[])).await, READ_AND_EVENT);
}

#[tokio::test]
async fn a_token_by_an_assertion_costs_one_read_and_one_write_too() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let client = app.client_of(&bot, &alice, SigningKey::es256()).await;
    assert_eq!(steady(&app, || app.token_by(&client.assertion(&app), &[])).await, READ_AND_TRANSACTION);
    let id = bob.id.to_string();
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
    let ask = || app.token_by(&client.assertion(&app), &fields);
    assert_eq!(steady(&app, ask).await, READ_AND_TRANSACTION);
}

#[tokio::test]
async fn a_token_for_one_server_costs_the_same() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let resource = ("resource", "https://deputize.test/api/v1/proxy/demo/mcp");
    assert_eq!(steady(&app, || app.token_for(&bot, &[resource])).await, READ_AND_EVENT);
}

#[tokio::test]
async fn an_accounts_list_of_origins_costs_no_round_trip() {
    let it = Permitted::set().await;
    let (app, bot) = (it.app(), it.bot());
    let path = format!("/api/v1/agent-accounts/{}", bot.id);
    let list = json!({ "allowed_origins": [PAGES[0]] });
    app.patch(path).as_user(&it.scenario.alice).json(&list).await.ok();
    let obo = app.obo(bot, it.bob()).await;
    let call = || app.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(&obo);
    assert_eq!(steady(app, || app.token_for(bot, &[]).header("origin", PAGES[0])).await, READ_AND_EVENT);
    assert_eq!(steady(app, || call().header("origin", PAGES[0])).await, READ_AND_EVENT);
    for ask in [app.token_for(bot, &[]), call()] {
        let (refused, cost) = app.round_trips(ask.header("origin", PAGES[1]).into_future()).await;
        assert_eq!((refused.status.as_u16(), cost), (403, READ_AND_EVENT.to_vec()));
    }
}

#[tokio::test]
async fn a_forged_assertion_costs_no_more_than_a_wrong_secret() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let client = app.client_of(&bot, &alice, SigningKey::es256()).await;
    app.m2m(&bot).await;
    let forged = SigningKey::es256().sign(&client.header(), &client.claims(&app));
    let (answer, cost) = app.round_trips(async { app.token_by(&forged, &[]).await }).await;
    assert_eq!((answer.status.as_u16(), &*cost), (401, READ_AND_EVENT));
    // An assertion that cannot be for this service is refused before anything is read.
    let elsewhere = client.assertion_with(&app, |claims| claims["aud"] = "https://elsewhere.test".into());
    let (answer, cost) = app.round_trips(async { app.token_by(&elsewhere, &[]).await }).await;
    assert_eq!((answer.status.as_u16(), &*cost), (401, &[("BatchWriteItem", 1)][..]));
}

#[tokio::test]
async fn a_revocation_by_an_assertion_costs_what_one_by_a_secret_costs() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let client = app.client_of(&bot, &alice, SigningKey::es256()).await;
    let (one, two) = (app.m2m(&bot).await, app.m2m(&bot).await);
    let (_, secret) = app.round_trips(async { app.about_token("revoke", &bot, &one).await.ok() }).await;
    let by = async { app.about_token_by("revoke", &client.assertion(&app), &two).await.ok() };
    let (_, assertion) = app.round_trips(by).await;
    assert_eq!(secret, READ_AND_TRANSACTION);
    assert_eq!(assertion, READ_AND_TRANSACTION);
}

#[tokio::test]
async fn a_new_process_reads_keys_and_policies_once_each_of_the_version_it_has_seen() {
    let it = Permitted::set().await;
    let app = it.app();
    let token = app.m2m(it.bot()).await;
    let new = async || app.another(Vault::new(root(7), Vec::new())).await;

    let first = new().await;
    app.faults.take_seen();
    first.m2m(it.bot()).await;
    assert_eq!(app.faults.take_seen(), ["BatchGetItem", "Query", "BatchWriteItem"]);

    let first = new().await;
    app.faults.take_seen();
    first.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(&token).await.ok();
    // The signing keys must be known before the items that the token rests on.
    let keys = ["BatchGetItem", "Query"];
    let call_and_policies = ["BatchGetItem", "Query", "BatchWriteItem"];
    assert_eq!(app.faults.take_seen(), [&keys[..], &call_and_policies].concat());
}

#[tokio::test]
async fn a_refused_token_costs_the_same() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let id = carol.id.to_string();
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
    app.token_for(&bot, &fields).await;
    let (answer, cost) = app.round_trips(async { app.token_for(&bot, &fields).await }).await;
    assert_eq!((answer.status.as_u16(), &*cost), (403, READ_AND_EVENT));
}

#[tokio::test]
async fn a_call_to_an_open_server_costs_one_read_and_its_event_for_every_kind_of_caller() {
    let it = Permitted::set().await;
    let tokens = [
        it.app().m2m(it.bot()).await,
        it.app().obo(it.bot(), it.bob()).await,
        it.bob().api_key.clone(),
        it.app().login.token("bob"),
        it.app().allow_tools(it.bob()).await.token,
    ];
    for token in &tokens {
        let ask = || it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(token);
        assert_eq!(steady(it.app(), ask).await, READ_AND_EVENT);
        let list = || it.app().get("/api/v1/proxy/demo/tools").bearer(token);
        assert_eq!(steady(it.app(), list).await, READ_AND_EVENT);
    }
}

#[tokio::test]
async fn a_call_with_credentials_costs_the_same_in_each_case() {
    let scenario = Scenario::start().await;
    let mcp = deputize_tests::McpServer::start().await;
    scenario.app.permit_everything().await;
    let chat = scenario.app.server("chat").oauth().at(mcp.oauth_url()).await;
    for user in [&scenario.alice, &scenario.bob] {
        scenario.app.connect(user, &chat).await;
    }
    let it = Connected { scenario, chat };
    let (app, bot, bob) = (it.app(), &it.scenario.bot, &it.scenario.bob);
    it.create(&it.scenario.alice, true).await.ok();
    let (own, for_bob) = (app.m2m(bot).await, app.obo(bot, bob).await);
    let cost =
        async |token: &str| steady(app, || app.call("chat", "list_channels", &json!({})).bearer(token)).await;
    assert_eq!(cost(&own).await, READ_AND_EVENT, "the shared grant");
    assert_eq!(cost(&for_bob).await, READ_AND_EVENT, "the shared grant, for a user without one");
    it.create(bob, false).await.ok();
    assert_eq!(cost(&for_bob).await, READ_AND_EVENT, "the user's own grant");
    assert_eq!(cost(&bob.api_key).await, READ_AND_EVENT, "the user's own session, by key");
    assert_eq!(cost(&app.login.token("bob")).await, READ_AND_EVENT, "the user's own session, by token");
    let by_app = app.allow_tools(bob).await.token;
    assert_eq!(cost(&by_app).await, READ_AND_EVENT, "the user's own session, by an app");
}

#[tokio::test]
async fn what_an_app_made_costs_no_more_but_for_its_grants_and_for_a_token() {
    let it = Connected::set().await;
    let (app, bot, carol) = (it.app(), &it.scenario.bot, &it.scenario.carol);
    app.permit_everything().await;
    let mcp = deputize_tests::McpServer::start().await;
    app.server("demo").at(mcp.open_url()).await;
    app.server("chat2").oauth().at(mcp.oauth_url()).await;
    app.connect(carol, &deputize_tests::Server { id: "chat2".parse().unwrap() }).await;
    let manage = app.allow_management(carol).await.token;
    let account = format!("/api/v1/agent-accounts/{}", bot.id);
    app.post(format!("{account}/delegations")).bearer(&manage).json(&json!({})).await.ok();
    let obo = app.obo(bot, carol).await;
    let call = |server: &str, tool: &str| app.call(server, tool, &json!({ "org": "acme" })).bearer(&obo);
    assert_eq!(steady(app, || call("demo", "list_repos")).await, READ_AND_EVENT);
    let body = json!({ "server_id": "chat2" });
    app.post(format!("{account}/session-grants")).bearer(&manage).json(&body).await.ok();
    let and_one_more: &[(&str, u64)] = &[("BatchGetItem", 2), ("BatchWriteItem", 1)];
    assert_eq!(steady(app, || call("chat2", "list_channels")).await, and_one_more);
    let id = carol.id.to_string();
    let token = || app.token_for(bot, &[("actor_token", &*id), ("actor_token_type", USER_ID)]);
    assert_eq!(steady(app, token).await, and_one_more);
    let by_app = || app.token_for(bot, &[("actor_token", &*manage), ("actor_token_type", ACCESS_TOKEN)]);
    assert_eq!(steady(app, by_app).await, and_one_more);
}

#[tokio::test]
async fn an_apps_token_as_actor_costs_one_read_and_the_event() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let manage = app.allow_management(&bob).await.token;
    let ask = || app.token_for(&bot, &[("actor_token", &*manage), ("actor_token_type", ACCESS_TOKEN)]);
    assert_eq!(steady(&app, ask).await, READ_AND_EVENT);
}

#[tokio::test]
async fn a_management_request_of_an_app_costs_one_read() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let manage = app.allow_management(&bob).await.token;
    let cost = steady(&app, || app.get("/api/v1/me").bearer(&manage)).await;
    assert_eq!(cost, [("BatchGetItem", 1)]);
}

#[tokio::test]
async fn revoking_everybody_elses_grants_costs_the_same_however_many_there_are() {
    let it = Connected::set().await;
    let few = {
        it.create(&it.scenario.bob, false).await.ok();
        it.app().round_trips(it.toggle(&it.scenario.bob)).await.1
    };
    for n in 0..30 {
        let user = it.app().user(&format!("u{n}")).await;
        it.app().connect(&user, &it.chat).await;
        it.create(&user, false).await.ok();
    }
    it.toggle(&it.scenario.bob).await.ok();
    let (answer, many) = it.app().round_trips(it.toggle(&it.scenario.bob)).await;
    assert_eq!(answer.json()["shared"], true);
    assert_eq!(many, few);
}

#[tokio::test]
async fn a_call_by_the_mcp_endpoint_costs_the_same_in_every_pairing_of_eras() {
    let it = crate::mcp::Scene::set().await;
    let app = it.app();
    let own = app.m2m(&it.scenario.bot).await;
    for server in ["new", "old"] {
        let modern = || app.modern(server, "tools/call", r#""name":"t","arguments":{}"#).bearer(&own);
        assert_eq!(steady(app, modern).await, READ_AND_EVENT, "{server}");
        let session = app.initialize(server).bearer(&own).await.ok().session();
        let handshake =
            || app.handshake(server, "tools/call", r#"{"name":"t"}"#).bearer(&own).in_session(&session);
        assert_eq!(steady(app, handshake).await, READ_AND_EVENT, "{server}");
        let list = || app.modern(server, "tools/list", "").bearer(&own);
        assert_eq!(steady(app, list).await, READ_AND_EVENT, "{server}");
    }
    let calls = it.new.heard().len();
    app.modern("new", "tools/call", r#""name":"t""#).bearer(&own).await.ok();
    assert_eq!(it.new.heard().len(), calls + 1, "and one request to the server");
}
