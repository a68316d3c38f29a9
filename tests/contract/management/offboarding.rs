//! Somebody leaves, or is deactivated and comes back: what ends, what goes to somebody else, and that none of it returns.

use std::{collections::BTreeMap, time::Instant};

use deputize_core::{
    audit::RequestContext,
    ids::{DelegationId, GrantId},
    offboarding::{self, AgentsGo, Kind, Offboarding},
    table::Key,
};
use deputize_tests::{TestApp, TestResponse, User, apps::AppClient, provider::Revocation, request::USER_ID};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{connections::Chat, grants::Connected, scenario::Scenario};

async fn offboard(app: &TestApp, by: &User, whom: &User, body: Value) -> TestResponse {
    app.post(format!("/api/v1/users/{}/offboard", whom.id)).as_user(by).json(&body).await
}

async fn set_active(app: &TestApp, by: &User, whom: &User, active: bool) {
    let change = app.patch(format!("/api/v1/users/{}", whom.id)).as_user(by);
    change.json(&json!({ "active": active })).await.ok();
}

/// How often the trail has each action.
fn actions(app: &TestApp) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for event in app.trail() {
        *times.entry(event["action"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    times
}

/// How many of each kind a report counts, of those that there are.
fn counts(report: &Value) -> String {
    let kinds = Kind::ALL.map(Kind::name).into_iter();
    let counts = kinds.map(|kind| (kind, report[kind]["count"].as_u64().unwrap()));
    let counts: Vec<String> =
        counts.filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{kind} {count}")).collect();
    counts.join(", ")
}

/// What becomes of each thing of a kind: `name or id: outcome`.
fn outcomes(report: &Value, kind: &str) -> Vec<String> {
    let items = report[kind]["items"].as_array().unwrap().iter();
    let name = |item: &Value| item["name"].as_str().or(item["id"].as_str()).unwrap().to_owned();
    let mut outcomes: Vec<String> =
        items.map(|item| format!("{}: {}", name(item), item["outcome"].as_str().unwrap())).collect();
    outcomes.sort();
    outcomes
}

/// The chat server's stage. Bob is connected, shares a grant, has allowed an app that has refresh tokens, is signed in at a
/// browser, and owns accounts: one alone, one with Carol, one with a group, one with somebody deactivated.
struct Leaver {
    chat: Chat,
    cookie: String,
    client: AppClient,
    refresh_token: String,
    token: String,
}

impl Leaver {
    async fn set() -> Self {
        let chat = Chat::open().await;
        chat.provider.revokes(Revocation::Works);
        let Scenario { app, alice, bob, carol, .. } = &chat.scenario;
        chat.connect_and_grant(bob, true).await;
        let client = AppClient::public("client.example");
        let allowed = app.allow(bob, &client, "proxy", "tools:call offline_access").await;
        let tokens = app.sign_in(&allowed).await;
        let cookie = app.signed_in(bob).await;
        let gone = app.user("gone").await;
        let bobs = json!({ "user_id": bob.id });
        for (name, other) in [
            ("alone", None),
            ("with Carol", Some(json!({ "user_id": carol.id }))),
            ("with a group", Some(json!({ "group": "platform" }))),
            ("with somebody gone", Some(json!({ "user_id": gone.id }))),
        ] {
            let owners: Vec<Value> = std::iter::once(bobs.clone()).chain(other).collect();
            let body = json!({ "name": name, "owners": owners });
            app.post("/api/v1/agent-accounts").as_user(alice).json(&body).await.ok();
        }
        set_active(app, alice, &gone, false).await;
        let (refresh_token, token) = (tokens.refresh, tokens.access);
        Self { chat, cookie, client, refresh_token, token }
    }

    fn scenario(&self) -> &Scenario {
        &self.chat.scenario
    }

    async fn offboard(&self, body: Value) -> Value {
        let Scenario { app, alice, bob, .. } = self.scenario();
        offboard(app, alice, bob, body).await.ok().json()
    }

    /// How each of Bob's things fares.
    async fn fare(&self) -> String {
        let Scenario { app, bob, bot, .. } = self.scenario();
        let id = bob.id.to_string();
        let call = |token: &str| app.call("chat", "list_channels", &json!({})).bearer(token);
        let own = app.m2m(bot).await;
        let answers = [
            ("API key", app.get("/api/v1/me").as_user(bob).await),
            ("app's token", call(&self.token).await),
            ("app's refresh", app.refresh(&self.client, &self.refresh_token, &[]).await),
            ("delegation", app.token_for(bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await),
            ("shared grant", call(&own).await),
            ("browser", app.get("/").header("cookie", &self.cookie).header("accept", "text/html").await),
        ];
        let fare = |(what, answer): &(&str, TestResponse)| match *what {
            "browser" => format!("{what}: signed in: {}", answer.text.contains("Sign out")),
            _ if answer.status.is_success() => format!("{what}: works"),
            _ => format!("{what}: {}", answer.refusal()),
        };
        answers.iter().map(fare).collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a report, shown whole")]
async fn somebody_leaves_and_all_that_they_had_ends_or_goes_to_the_successor() {
    let it = Leaver::set().await;
    let Scenario { app, alice, carol, .. } = it.scenario();
    assert_snapshot!(it.fare().await, @"
    API key: works
    app's token: works
    app's refresh: works
    delegation: works
    shared grant: works
    browser: signed in: true
    ");
    // First a look.
    let before = app.contents();
    let body = json!({ "agents": "give", "successor_user_id": carol.id, "dry_run": true });
    let mut look = it.offboard(body.clone()).await;
    assert_eq!(app.contents(), before);
    // In the order of ids, which are random.
    let accounts = look["agent_accounts"]["items"].as_array_mut().unwrap();
    accounts.sort_by_key(|account| account["name"].as_str().unwrap().to_owned());
    assert_snapshot!(app.shown(&format!("{look:#}")), @r#"
    {
      "user_id": "[bob]",
      "dry_run": true,
      "complete": true,
      "unfinished": [],
      "next": "Send it with \"dry_run\": false to do it",
      "deactivated": true,
      "agent_accounts": {
        "count": 4,
        "items": [
          {
            "id": "[uuid]",
            "name": "alone",
            "outcome": "given",
            "detail": "1 client secrets and 0 keys, which the user may know: replace them"
          },
          {
            "id": "[uuid]",
            "name": "with Carol",
            "outcome": "left_to_owners",
            "detail": "1 client secrets and 0 keys, which the user may know: replace them"
          },
          {
            "id": "[uuid]",
            "name": "with a group",
            "outcome": "left_to_owners",
            "detail": "1 client secrets and 0 keys, which the user may know: replace them"
          },
          {
            "id": "[uuid]",
            "name": "with somebody gone",
            "outcome": "given",
            "detail": "1 client secrets and 0 keys, which the user may know: replace them"
          }
        ]
      },
      "connections": {
        "count": 1,
        "items": [
          {
            "id": "chat",
            "outcome": "ended"
          }
        ]
      },
      "session_grants": {
        "count": 1,
        "items": [
          {
            "id": "[uuid]",
            "outcome": "ended",
            "detail": "agent account [bot], server chat"
          }
        ]
      },
      "delegations": {
        "count": 1,
        "items": [
          {
            "id": "[bob's delegation]",
            "outcome": "ended",
            "detail": "agent account [bot]"
          }
        ]
      },
      "authorizations": {
        "count": 1,
        "items": [
          {
            "id": "[bob's authorization]",
            "name": "The app",
            "outcome": "ended"
          }
        ]
      },
      "refresh_tokens": {
        "count": 1,
        "items": [
          {
            "id": "[uuid]",
            "outcome": "ended"
          }
        ]
      },
      "api_keys": {
        "count": 1,
        "items": [
          {
            "id": "[uuid]",
            "name": "test",
            "outcome": "ended"
          }
        ]
      },
      "browser_sessions": {
        "count": 1,
        "items": [
          {
            "id": "[bob's browser session]",
            "outcome": "ended"
          }
        ]
      }
    }
    "#);
    // Then it is done.
    let before = actions(app);
    let mut body = body;
    body["dry_run"] = false.into();
    let done = it.offboard(body.clone()).await;
    assert_eq!(counts(&done), counts(&look));
    assert_eq!((&done["complete"], &done["deactivated"]), (&json!(true), &json!(true)));
    assert_eq!(outcomes(&done, "agent_accounts"), outcomes(&look, "agent_accounts"));
    assert_eq!(outcomes(&done, "connections"), ["chat: revoked"]);
    assert_eq!(it.chat.provider.families_alive(), 0);
    let mut made = actions(app);
    for (action, times) in before {
        *made.get_mut(&action).unwrap() -= times;
    }
    made.retain(|_, times| *times > 0);
    assert_snapshot!(format!("{made:#?}"), @r#"
    {
        "agent_account.update": 4,
        "api_key.revoke": 1,
        "authorization.revoke": 1,
        "browser_session.end": 1,
        "connection.delete": 1,
        "delegation.revoke": 1,
        "session_grant.revoke": 1,
        "token.revoke": 1,
        "user.offboard": 1,
    }
    "#);
    assert_snapshot!(it.fare().await, @"
    API key: 401 The API key is not valid
    app's token: 401 The user is deactivated
    app's refresh: 400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's
    delegation: 403 invalid_grant: No valid delegation
    shared grant: 401 No credentials available for this server
    browser: signed in: false
    ");
    // Nothing is left in the person's partition but what has ended.
    let left: Vec<String> = app
        .contents()
        .into_keys()
        .filter_map(|key| key.strip_prefix(&format!("USER#{} ", it.scenario().bob.id)).map(str::to_owned))
        .map(|key| key.split('#').next().unwrap().to_owned())
        .collect();
    assert_eq!(left, ["DELEGATION", "GRANT", "USER"]);
    // Again: there is nothing to do.
    let again = it.offboard(body).await;
    assert_eq!(
        (counts(&again).as_str(), &again["complete"], &again["deactivated"]),
        ("", &json!(true), &json!(false))
    );
    // They come back, and nothing with them.
    set_active(app, alice, &it.scenario().bob, true).await;
    assert_snapshot!(it.fare().await, @"
    API key: 401 The API key is not valid
    app's token: 401 The user's authorization of the app is revoked or has expired
    app's refresh: 400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's
    delegation: 403 invalid_grant: No valid delegation
    shared grant: 401 No credentials available for this server
    browser: signed in: false
    ");
    let theirs = app.get("/api/v1/agent-accounts").bearer(&app.login.token("bob")).await.ok().json();
    assert_eq!(theirs, json!([]));
}

#[tokio::test]
async fn agents_for_which_nobody_answers_are_stopped_and_can_still_be_given_away() {
    let it = Leaver::set().await;
    let Scenario { app, alice, carol, .. } = it.scenario();
    let done = it.offboard(json!({ "agents": "stop" })).await;
    assert_snapshot!(outcomes(&done, "agent_accounts").join("\n"), @"
    alone: stopped
    with Carol: left_to_owners
    with a group: left_to_owners
    with somebody gone: stopped
    ");
    let accounts = app.get("/api/v1/agent-accounts").as_user(alice).await.ok().json();
    let alone = accounts.as_array().unwrap().iter().find(|account| account["name"] == "alone").unwrap();
    assert_eq!((&alone["active"], &alone["disabled_by"]), (&json!(false), &json!("admin")));
    assert_eq!(counts(&it.offboard(json!({ "agents": "stop" })).await), "");
    // An admin finds somebody after all.
    let given = it.offboard(json!({ "agents": "give", "successor_user_id": carol.id })).await;
    assert_snapshot!(outcomes(&given, "agent_accounts").join("\n"), @"
    alone: given
    with somebody gone: given
    ");
    let path = format!("/api/v1/agent-accounts/{}", alone["id"].as_str().unwrap());
    let hers = app.get(&path).as_user(carol).await.ok().json();
    assert_eq!((&hers["owner_user_id"], &hers["active"]), (&json!(carol.id), &json!(false)));
    // They stay stopped until an admin lets them go on.
    let go_on = json!({ "active": true });
    assert_eq!(app.patch(&path).as_user(carol).json(&go_on).await.status, 403);
    app.patch(&path).as_user(alice).json(&go_on).await.ok();
}

#[tokio::test]
async fn an_admin_offboards_others_and_says_what_becomes_of_agents() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let gone = app.user("gone").await;
    set_active(&app, &alice, &gone, false).await;
    let nobody = "00000000-0000-4000-8000-000000000001";
    let before = app.contents();
    let mut refused = vec![
        offboard(&app, &carol, &bob, json!({ "agents": "stop" })).await.refusal(),
        offboard(&app, &bob, &bob, json!({ "agents": "stop" })).await.refusal(),
        offboard(&app, &alice, &alice, json!({ "agents": "stop" })).await.refusal(),
        app.post(format!("/api/v1/users/{nobody}/offboard"))
            .as_user(&alice)
            .json(&json!({ "agents": "stop" }))
            .await
            .refusal(),
    ];
    for body in [
        json!({}),
        json!({ "agents": "give" }),
        json!({ "agents": "sell" }),
        json!({ "agents": "stop", "successor_user_id": carol.id }),
        json!({ "successor_user_id": carol.id, "dry_run": true }),
        json!({ "agents": "give", "successor_user_id": bob.id }),
        json!({ "agents": "give", "successor_user_id": gone.id }),
        json!({ "agents": "give", "successor_user_id": nobody }),
        json!({ "agents": "stop", "force": true }),
    ] {
        refused.push(offboard(&app, &alice, &bob, body).await.refusal());
    }
    let manage = app.allow_management(&alice).await.token;
    let before_app = app.contents();
    let by_app = app.post(format!("/api/v1/users/{}/offboard", bob.id)).bearer(&manage);
    refused.push(by_app.json(&json!({ "agents": "stop" })).await.refusal());
    assert_snapshot!(refused.join("\n"), @r#"
    403 Only an admin may do this
    403 Only an admin may do this
    409 an admin cannot offboard themselves: another admin must do it
    404 No such user
    400 agents: say what becomes of the agent accounts that nobody else answers for: "give" or "stop"
    400 successor_user_id: name the user who gets the agent accounts
    400 agents: must be stop or give
    400 successor_user_id: only with "agents": "give"
    400 successor_user_id: only with "agents": "give"
    400 successor_user_id: must be another user
    400 successor_user_id: the user is deactivated
    400 successor_user_id: no such user
    400 force: no such field; the fields here are dry_run, agents, successor_user_id
    403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    "#);
    assert_eq!(app.contents(), before_app);
    assert!(before.iter().all(|(key, item)| before_app.get(key) == Some(item)));
    // A look needs no decision.
    offboard(&app, &alice, &bob, json!({ "dry_run": true })).await.ok();
}

#[tokio::test]
async fn a_request_that_runs_out_of_time_says_so_and_the_next_one_goes_on() {
    let it = Leaver::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    let caller = app.caller(alice).await;
    let request = RequestContext { work_until: Some(Instant::now()), ..RequestContext::default() };
    let asked = Offboarding { dry_run: false, agents: Some(AgentsGo::Stop), successor: None };
    let report = offboarding::offboard(&app.core, &caller, &request, bob.id, asked).await.unwrap();
    // They are deactivated all the same: that is first.
    assert!(report.deactivated);
    assert_eq!(report.unfinished, Kind::ALL);
    assert_eq!(app.get("/api/v1/me").as_user(bob).await.refusal(), "401 The user is deactivated");
    let done = it.offboard(json!({ "agents": "stop" })).await;
    assert_eq!((&done["complete"], &done["deactivated"]), (&json!(true), &json!(false)));
    assert_snapshot!(counts(&done), @"agent_accounts 4, connections 1, session_grants 1, delegations 1, authorizations 1, refresh_tokens 1, api_keys 1, browser_sessions 1");
}

#[tokio::test]
async fn a_hundred_of_a_kind_end_in_pages_and_a_report_names_the_first_hundred() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    for n in 0..30 {
        app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": format!("key {n}") })).await.ok();
    }
    for n in 0..110 {
        let agent = app.agent(&format!("agent {n}"), &bob).await;
        app.delegate(&agent, &bob).await;
    }
    let look = offboard(&app, &alice, &bob, json!({ "dry_run": true })).await.ok().json();
    let (done, cost) =
        app.round_trips(async { offboard(&app, &alice, &bob, json!({ "agents": "stop" })).await }).await;
    let done = done.ok().json();
    assert_snapshot!(counts(&done), @"agent_accounts 110, delegations 111, api_keys 31");
    assert_eq!(counts(&done), counts(&look));
    assert_eq!(done["agent_accounts"]["items"].as_array().unwrap().len(), 100);
    // Of the accounts one each, ten of the delegations, fifteen of the keys.
    let transactions = cost.iter().find(|(kind, _)| *kind == "TransactWriteItems").unwrap().1;
    assert_eq!(transactions, 1 + 110 + 12 + 3);
}

#[tokio::test]
async fn a_provider_that_fails_does_not_stop_the_rest_and_is_told() {
    for (revocation, outcome, told) in [
        (Revocation::Works, "revoked", "revoked at the provider"),
        (
            Revocation::Answers(StatusCode::SERVICE_UNAVAILABLE, String::new()),
            "not_revoked",
            "not revoked at the provider: it answered HTTP 503 Service Unavailable",
        ),
        (
            Revocation::Answers(StatusCode::BAD_REQUEST, r#"{"error":"unsupported_token_type"}"#.to_owned()),
            "not_revoked",
            "not revoked at the provider: unsupported_token_type",
        ),
    ] {
        let it = Leaver::set().await;
        it.chat.provider.revokes(revocation.clone());
        let done = it.offboard(json!({ "agents": "stop" })).await;
        assert_eq!(done["complete"], true, "{revocation:?}");
        let connection = &done["connections"]["items"][0];
        assert_eq!(connection["outcome"], outcome, "{revocation:?}");
        assert_eq!(connection["detail"], told, "{revocation:?}");
        assert_eq!(it.chat.provider.count("revoke refresh_token"), 1);
    }
}

#[tokio::test]
async fn a_person_who_disconnects_is_forgotten_at_the_provider_too() {
    let chat = Chat::open().await;
    let Scenario { app, bob, .. } = &chat.scenario;
    let delete = || app.delete("/api/v1/servers/chat/connection").as_user(bob);
    // A provider that does not say where.
    chat.connect(bob).await;
    let gone = delete().await.ok();
    assert_snapshot!(app.event_of(&gone), @r#"
    action: "connection.delete"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "the provider offers no revocation"
    outcome: "allowed"
    subject: "connection:chat"
    "#);
    assert_eq!(chat.provider.families_alive(), 1);
    // One that does, with the client's secret, and the access token where there is no other.
    for (refreshes, kind) in [(true, "revoke refresh_token"), (false, "revoke access_token")] {
        chat.provider.revoke_everything();
        chat.provider.revokes(Revocation::Works);
        chat.provider.script().gives_refresh_tokens = refreshes;
        chat.connect(bob).await;
        assert_eq!(chat.provider.families_alive(), 1);
        let gone = delete().await.ok();
        assert_eq!(chat.provider.families_alive(), 0, "{kind}");
        assert_eq!(chat.provider.count(kind), 1);
        assert!(app.event_of(&gone).contains("revoked at the provider"));
    }
    // Again, it is answered as the first time.
    assert_eq!(delete().await.status, StatusCode::NO_CONTENT);
    assert!(app.trail().iter().all(|event| !event.to_string().contains("upstream-")));
}

#[tokio::test]
async fn a_token_is_never_sent_to_a_revocation_endpoint_that_may_not_be_reached_or_quoted_from_it() {
    let chat = Chat::open().await;
    let Scenario { app, bob, .. } = &chat.scenario;
    let metadata = json!("http://169.254.169.254/revoke");
    chat.provider.script().metadata.insert("revocation_endpoint", metadata);
    chat.connect(bob).await;
    let gone = app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
    assert!(app.event_of(&gone).contains("its address is refused"), "{}", app.event_of(&gone));
    // It quotes the token that it was sent.
    chat.connect(bob).await;
    let tokens = chat.provider.given();
    let words = tokens.join(" ");
    chat.provider
        .revokes(Revocation::Answers(StatusCode::BAD_REQUEST, json!({ "error": words }).to_string()));
    chat.connect(bob).await;
    let gone = app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
    let event = app.event_of(&gone);
    assert!(event.contains("not revoked at the provider"), "{event}");
}

/// Bob's things, of which none comes back with him.
#[tokio::test]
async fn what_somebody_had_does_not_come_back_with_them_though_nobody_removed_it() {
    let it = Leaver::set().await;
    let Scenario { app, alice, bob, bot, .. } = it.scenario();
    let before = it.fare().await;
    set_active(app, alice, bob, false).await;
    assert_snapshot!(it.fare().await, @"
    API key: 401 The user is deactivated
    app's token: 401 The user is deactivated
    app's refresh: 400 invalid_grant: The user is deactivated
    delegation: 403 invalid_grant: Delegator user is deactivated
    shared grant: 401 No credentials available for this server
    browser: signed in: false
    ");
    set_active(app, alice, bob, true).await;
    assert_snapshot!(it.fare().await, @"
    API key: 401 The API key ended when its user was deactivated; create another
    app's token: 401 The user was deactivated after they allowed the app
    app's refresh: 400 invalid_grant: The user was deactivated after they allowed the app
    delegation: 403 invalid_grant: No valid delegation
    shared grant: 401 No credentials available for this server
    browser: signed in: false
    ");
    // What they see says so too.
    let token = app.login.token("bob");
    let list = async |path: &str| app.get(path).bearer(&token).await.ok().json();
    for path in ["/api/v1/api-keys", "/api/v1/authorizations", "/api/v1/me/browser-sessions"] {
        assert_eq!(list(path).await, json!([]), "{path}");
    }
    for path in [
        "/api/v1/delegations".to_owned(),
        format!("/api/v1/agent-accounts/{}/session-grants", bot.id),
        format!("/api/v1/agent-accounts/{}/delegations", bot.id),
    ] {
        let list = list(&path).await;
        assert_eq!((list.as_array().unwrap().len(), &list[0]["is_active"]), (1, &json!(false)), "{path}");
    }
    let admins = app.get(format!("/api/v1/agent-accounts/{}/delegations", bot.id)).as_user(alice).await;
    assert_eq!(admins.ok().json()[0]["is_active"], false);
    // Each is made anew by them, and then works.
    let account = format!("/api/v1/agent-accounts/{}", bot.id);
    app.post(format!("{account}/delegations")).bearer(&token).json(&json!({})).await.ok();
    let body = json!({ "server_id": "chat", "shared": true });
    app.post(format!("{account}/session-grants")).bearer(&token).json(&body).await.ok();
    let fare = it.fare().await;
    for (what, line) in [("delegation", 3), ("shared grant", 4)] {
        assert_eq!(fare.lines().nth(line), before.lines().nth(line), "{what}");
    }
    let key = app.post("/api/v1/api-keys").bearer(&token).json(&json!({ "name": "new" })).await.ok();
    app.get("/api/v1/me").bearer(&key.field("key")).await.ok();
}

#[tokio::test]
async fn a_deactivated_user_is_the_reason_only_for_what_was_in_force_until_then() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let id = bob.id.to_string();
    let token =
        async || app.token_for(&bot, &[("actor_token", &*id), ("actor_token_type", USER_ID)]).await.refusal();
    set_active(&app, &alice, &bob, false).await;
    assert_eq!(token().await, "403 invalid_grant: Delegator user is deactivated");
    set_active(&app, &alice, &bob, true).await;
    assert_eq!(token().await, "403 invalid_grant: No valid delegation");
    // The agent has no delegation any more, so it learns nothing of them.
    set_active(&app, &alice, &bob, false).await;
    assert_eq!(token().await, "403 invalid_grant: No valid delegation");
}

/// Items that were stored before they said in which epoch they were made.
#[tokio::test]
async fn what_was_stored_before_it_said_its_epoch_goes_on_and_ends_with_the_next_deactivation() {
    let it = Connected::set().await;
    let Scenario { app, alice, bob, bot, .. } = &it.scenario;
    app.permit_everything().await;
    it.create(bob, true).await.ok();
    let age = async || {
        let keys = app.get("/api/v1/api-keys").as_user(bob).await.ok().json();
        let key = Key::api_key(bob.id, keys[0]["id"].as_str().unwrap().parse().unwrap());
        for key in [key, Key::delegation(bot.id, bob.id), Key::grant(bot.id, &it.chat.id, bob.id)] {
            app.forget(&key, "user_epoch");
        }
        let mut pair = app.contents()[&format!("AGENT#{} PAIR#chat", bot.id)]["shared"].clone();
        pair["M"].as_object_mut().unwrap().remove("user_epoch").unwrap();
        app.set(&Key::pair(bot.id, &it.chat.id), "shared", pair);
    };
    let fare = async || {
        let id = bob.id.to_string();
        let token = app.token_for(bot, &[("actor_token", &*id), ("actor_token_type", USER_ID)]).await;
        let own = app.m2m(bot).await;
        let call = app.call("chat", "list_channels", &json!({})).bearer(&own).await;
        [app.get("/api/v1/me").as_user(bob).await, token, call].map(|answer| answer.status.as_u16())
    };
    age().await;
    // Somebody who was deactivated and came back before this was kept: what they have goes on.
    app.set(&Key::user(bob.id), "epoch", json!({ "N": "1" }));
    let works = fare().await;
    assert_eq!(works[..2], [200, 200]);
    assert_ne!(works[2], 401, "there is no such server, but there are credentials");
    set_active(app, alice, bob, false).await;
    set_active(app, alice, bob, true).await;
    assert_eq!(fare().await, [401, 403, 401]);
}

#[tokio::test]
async fn who_was_deactivated_before_this_was_kept_comes_back_without_what_they_had() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    app.forget(&Key::delegation(bot.id, bob.id), "user_epoch");
    set_active(&app, &alice, &bob, false).await;
    app.forget(&Key::user(bob.id), "deactivated_at");
    set_active(&app, &alice, &bob, true).await;
    let id = bob.id.to_string();
    let token = app.token_for(&bot, &[("actor_token", &*id), ("actor_token_type", USER_ID)]).await;
    assert_eq!(token.refusal(), "403 invalid_grant: No valid delegation");
}

#[tokio::test]
async fn ended_items_go_when_others_of_their_kind_go() {
    let it = Connected::set().await;
    let Scenario { app, alice, bob, bot, .. } = &it.scenario;
    let grant = it.create(bob, false).await.ok().field("id").parse::<GrantId>().unwrap();
    let delegation = app.get("/api/v1/delegations").as_user(bob).await.ok().json();
    let delegation: DelegationId = delegation[0]["id"].as_str().unwrap().parse().unwrap();
    offboard(app, alice, bob, json!({ "agents": "stop" })).await.ok();
    for key in [
        Key::grant(bot.id, &it.chat.id, bob.id),
        Key::grant_by_id(grant),
        Key::grant_given(bob.id, bot.id, &it.chat.id),
        Key::delegation(bot.id, bob.id),
        Key::delegation_by_id(delegation),
        Key::delegation_made(bob.id, bot.id),
    ] {
        assert!(app.removed_at(&key).is_some(), "{key:?}");
    }
}
