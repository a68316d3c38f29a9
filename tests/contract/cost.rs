//! What a request costs in the steady state, and the first one of a process, in round trips to the table, counted. And
//! what a browser loads for a page, in bytes.

use std::{
    fmt::Write,
    future::{Future, IntoFuture},
    sync::LazyLock,
};

use deputize_core::vault::Vault;
use deputize_tests::{
    IdentityProvider, McpServer, Person, Provider, Providers, TestApp, TestRequest, TestResponse,
    app::{PAGES, root},
    documents::DOCUMENT,
    jwt::SigningKey,
    person::authorize_path,
    request::{ACCESS_TOKEN, USER_EMAIL, USER_ID},
};
use insta::assert_snapshot;
use regex::Regex;
use serde_json::json;

use crate::{
    authorize::{self, CALLBACK, Desk, HERE},
    grants::Connected,
    proxy::Permitted,
    scenario::Scenario,
    sign_in,
};

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
    let bob = &it.scenario.bob;
    for credential in [bob.api_key.clone(), app.allow_tools(bob).await.token] {
        let call = || app.modern("new", "tools/call", r#""name":"t","arguments":{}"#).bearer(&credential);
        assert_eq!(steady(app, call).await, READ_AND_EVENT, "a person, by key or by an app");
    }
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

/// What each step of somebody costs.
struct Bill<'a> {
    app: &'a TestApp,
    text: String,
}

impl Bill<'_> {
    /// Takes a step, and notes what it costs.
    async fn add(&mut self, step: &str, work: impl Future<Output = TestResponse>) -> TestResponse {
        let (answer, cost) = Box::pin(self.app.round_trips(work)).await;
        let shown: Vec<String> = cost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let shown = if shown.is_empty() { "nothing".to_owned() } else { shown.join(" + ") };
        writeln!(self.text, "{step}: {}, {shown}", answer.status.as_u16()).unwrap();
        answer
    }
}

/// What a person's way with an MCP client costs, from the client's first request to the end of its first hour.
async fn way_of(app: &TestApp, acme: &IdentityProvider, name: &str) -> String {
    let mut browser = app.browser();
    let mut bill = Bill { app, text: String::new() };
    let call = || app.call("demo", "list_repos", &json!({ "org": "acme" }));
    bill.add("a call without a token", call().into_future()).await;
    let metadata = json!({
        "client_name": name, "redirect_uris": [HERE], "token_endpoint_auth_method": "none",
    });
    let register = app.post("/api/v1/oauth/register").json(&metadata);
    let id = bill.add("registration", register.into_future()).await.field("client_id");
    let resource = ("resource", "https://deputize.test/api/v1/proxy/demo/mcp");
    let asked = authorize_path(&authorize::request(&id, HERE, &[resource]));
    let sent = bill.add("authorization, nobody is signed in", browser.open(&asked)).await.sent_to();
    let sign_in = format!("{}?{}", sent.path(), sent.query().unwrap());
    let begun = bill.add("on to the provider", browser.open(&sign_in)).await;
    let back = acme.sign_in(begun.header("location").unwrap(), name);
    bill.add("back from the provider", browser.open(&back)).await;
    let page = bill.add("consent page", browser.open(&asked)).await.ok();
    let token = deputize_tests::Browser::field(&page, "form_token");
    let fields = [("form_token", &*token), ("answer", "allow")];
    let answer = bill.add("allowed", browser.send(&page.form_action(), &fields)).await;
    let code = answer.sent_with("code").unwrap();
    let redeemed = authorize::redeem(app, &id, HERE, &code);
    let tokens = bill.add("code exchange", redeemed).await.ok();
    bill.add("call", call().bearer(&tokens.access_token()).into_future()).await.ok();
    let refresh_token = tokens.field("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("client_id", &id), ("refresh_token", &refresh_token)];
    bill.add("refresh", app.token(&refresh).into_future()).await.ok();
    bill.add("the same refresh, whose answer was lost", app.token(&refresh).into_future()).await.ok();
    bill.add("consent page, allowed before", browser.open(&asked)).await.ok();
    bill.text
}

#[tokio::test]
async fn each_step_of_a_persons_way_with_a_client_costs_this() {
    let (app, acme) = sign_in::one_provider(&json!({})).await;
    let mcp = McpServer::start().await;
    app.server("demo").at(mcp.open_url()).await;
    app.permit_everything().await;
    for name in ["alice", "bob"] {
        app.user(name).await;
        app.browser().sign_in(&acme, name).await;
    }
    // Keys and policies are known from the first person's way on.
    Box::pin(way_of(&app, &acme, "alice")).await;
    assert_snapshot!(Box::pin(way_of(&app, &acme, "bob")).await, @"
    a call without a token: 401, nothing
    registration: 201, nothing
    authorization, nobody is signed in: 303, nothing
    on to the provider: 303, nothing
    back from the provider: 303, 4 BatchGetItem + 1 Query + 1 TransactWriteItems
    consent page: 200, 3 BatchGetItem + 1 Query
    allowed: 303, 3 BatchGetItem + 1 Query + 1 TransactWriteItems
    code exchange: 200, 1 BatchGetItem + 1 TransactWriteItems
    call: 200, 1 BatchGetItem + 1 BatchWriteItem
    refresh: 200, 1 BatchGetItem + 1 TransactWriteItems
    the same refresh, whose answer was lost: 200, 1 BatchGetItem + 1 TransactWriteItems
    consent page, allowed before: 200, 3 BatchGetItem + 1 Query
    ");
}

#[tokio::test]
async fn the_consent_page_of_an_app_with_a_document_costs_this_and_one_fetch_while_the_document_is_good() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let mut bill = Bill { app: &desk.app, text: String::new() };
    let asked = authorize::request(DOCUMENT, CALLBACK, &[]);
    bill.add("first", browser.authorize(&asked).into_future()).await.ok();
    bill.add("again", browser.authorize(&asked).into_future()).await.ok();
    assert_snapshot!(bill.text, @"
    first: 200, 2 BatchGetItem + 1 Query
    again: 200, 2 BatchGetItem + 1 Query
    ");
    assert_eq!(desk.documents.count(), 1);
}

/// The most that a page may weigh with everything, in bytes.
const MOST: usize = 30_000;

/// An element or attribute that runs something, or that shows another document.
static RUNS: LazyLock<Regex> = LazyLock::new(|| {
    let elements = "<(?:script|iframe|frame|object|embed|base|meta[^>]*http-equiv)";
    Regex::new(&format!(r"(?i){elements}|<[^>]*\son[a-z]+\s*=|javascript:")).unwrap()
});

/// An attribute by which a browser loads something.
static LOADS: LazyLock<Regex> = LazyLock::new(|| {
    let attributes = r"<(?:link\b[^>]*?\shref|[a-z]+\b[^>]*?\s(?:src|srcset|poster|data|background))";
    Regex::new(&format!(r#"(?i){attributes}\s*=\s*"([^"]*)""#)).unwrap()
});

/// What a browser loads for a page with everything: the page, and each file that it names. All of it comes from here,
/// and none of it runs.
async fn weight(app: &TestApp, page: &TestResponse) -> usize {
    assert!(!RUNS.is_match(&page.text), "{}", page.text);
    let mut size = page.text.len();
    let mut files = 0;
    for named in LOADS.captures_iter(&page.text) {
        assert!(named[1].starts_with("/assets/"), "{}", &named[1]);
        let file = app.get(&named[1]).await.ok();
        assert!(file.header("cache-control").unwrap().starts_with("public, max-age="), "{}", &named[1]);
        assert!(!RUNS.is_match(&file.text) && !file.text.contains("@import"), "{}", &named[1]);
        assert!(!file.text.contains("url(") && !file.text.contains("href"), "{}", &named[1]);
        size += file.text.len();
        files += 1;
    }
    assert_eq!(files, 2, "a stylesheet and the mark: {}", page.text);
    size
}

#[tokio::test]
async fn the_sign_in_page_with_everything_is_at_most_30_kb_runs_nothing_and_loads_nothing_from_elsewhere() {
    let base = TestApp::start().await;
    let hosts = ["https://id.example.com", "https://b.example", "https://c.example", "https://d.example"];
    let providers: Vec<IdentityProvider> =
        hosts.iter().map(|host| IdentityProvider::new(host, &base.core.clock)).collect();
    let trusted: Vec<_> = providers.iter().map(|provider| provider.trusted(&json!({}))).collect();
    let all: Vec<_> = providers.iter().collect();
    let app = base.signing_in_by(&json!(trusted), &Providers::of(&all)).await;
    // As long as where to go on may be.
    let long = format!("/api/v1/oauth/authorize?client_id={}", "%2F".repeat(1_154));
    for path in ["/sign-in", &format!("/sign-in?return_to={}", long.replace('%', "%25"))] {
        let page = app.get(path).await.ok();
        let size = weight(&app, &page).await;
        assert!(size <= MOST, "{path}: {size}");
    }
}

#[tokio::test]
async fn the_other_pages_weigh_no_more() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let provider = Provider::start().await;
    app.server("slack").oauth().at(provider.mcp_url()).await;
    let id = authorize::registered(&app, &"Long name ".repeat(20), HERE).await;
    let slack = ("resource", "https://deputize.test/api/v1/proxy/slack/mcp");
    let person: Person<'_> = app.person(&bob).await;
    let consent = person.authorize(&authorize::request(&id, HERE, &[slack])).await.ok();
    let on = person.press(&consent, "allow").await;
    let connect = person.open(on.header("location").unwrap()).await.ok();
    let again = person.authorize(&authorize::request(&id, HERE, &[slack])).await.ok();
    let unknown = person.authorize(&authorize::request("unknown", HERE, &[])).await;
    let none = app.nobody().authorize(&authorize::request(&id, HERE, &[("prompt", "none")])).await;
    let (home, out) = (person.open("/").await.ok(), app.get("/sign-out").await.ok());
    for page in [consent, connect, again, unknown, none, home, out] {
        let size = weight(&app, &page).await;
        assert!(size <= MOST, "{}: {size}", page.title());
    }
}

#[tokio::test]
async fn stopping_agents_without_an_owner_costs_no_round_trip() {
    let app = TestApp::start().await.with_settings(|settings| {
        settings.ownerless_agents = deputize_core::agents::OwnerlessAgents::Stop;
    });
    let it = Permitted::set_in(app).await;
    let (app, bot, bob) = (it.app(), it.bot(), it.bob());
    let owners = json!({ "owners": [{ "user_id": it.scenario.carol.id }, { "user_id": bob.id }] });
    let path = format!("/api/v1/agent-accounts/{}", bot.id);
    app.patch(path).as_user(&it.scenario.alice).json(&owners).await.ok();
    let (own, for_bob) = (app.m2m(bot).await, app.obo(bot, bob).await);
    let call = |token: &str| app.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(token);
    let id = bob.id.to_string();
    for _ in 0..2 {
        assert_eq!(steady(app, || call(&own)).await, READ_AND_EVENT);
        assert_eq!(steady(app, || call(&for_bob)).await, READ_AND_EVENT);
        assert_eq!(steady(app, || app.token_for(bot, &[])).await, READ_AND_EVENT);
        let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
        assert_eq!(steady(app, || app.token_for(bot, &fields)).await, READ_AND_EVENT);
        // With another owner than before it is one more read, once.
        let off = app.patch(format!("/api/v1/users/{}", it.scenario.carol.id)).as_user(&it.scenario.alice);
        off.json(&json!({ "active": false })).await.ok();
    }
}
