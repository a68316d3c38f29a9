//! A stream ends within a minute of what it rests on being taken back. Time is tokio's, and passes when nothing else
//! is left to do.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{
    TestApp, TestRequest,
    faults::Fault,
    jwt,
    mcp::{ProtocolEra, ScriptedServer, events},
};
use futures::stream;
use http_body_util::BodyExt;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Scene;
use crate::{grants::Connected, scenario::Scenario};

const PATH: &str = "/api/v1/proxy/old/mcp";
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;

/// Servers may be silent for any time.
fn patient() -> UpstreamConfig {
    let long = Duration::from_hours(24);
    UpstreamConfig {
        idle_timeout: long,
        total_timeout: long,
        stream_idle_timeout: long,
        stream_total_timeout: long,
        ..UpstreamConfig::default()
    }
}

async fn scene() -> Scene {
    Scene::within(patient()).await
}

/// Makes the server answer a method with one event, and then silence.
fn begins(server: &ScriptedServer, method: &str) {
    server.on(method, |_| {
        let first = stream::iter([Ok::<_, Infallible>(format!("data: {NOTE}\n\n"))]);
        events(Body::from_stream(futures::StreamExt::chain(first, stream::pending())))
    });
}

/// Opens a stream, and reads its beginning.
async fn opened(ask: TestRequest) -> Body {
    let mut body = ask.begin().await.into_body();
    let first = body.frame().await.expect("the stream begins").unwrap().into_data().unwrap();
    assert_eq!(first, format!("event: message\ndata: {NOTE}\n\n").as_bytes());
    body
}

/// The rest of a stream without comments, and the time until its end.
async fn rest(body: &mut Body) -> (String, Duration) {
    tokio::time::pause();
    let from = Instant::now();
    let mut rest = String::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        if data != ":\n\n" {
            rest.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
    tokio::time::resume();
    (rest, from.elapsed())
}

/// The last message of an ended stream.
async fn end(body: &mut Body) -> String {
    let (rest, after) = rest(body).await;
    assert!(after <= Duration::from_mins(1), "{after:?}");
    rest
}

/// The audit event of the only stream that was ended.
fn ended(app: &TestApp) -> Value {
    let mut trail = app.trail();
    trail.retain(|event| {
        event["detail"].as_str().is_some_and(|detail| detail.starts_with("The stream was ended"))
    });
    assert_eq!(trail.len(), 1, "{trail:?}");
    assert_eq!(trail[0]["outcome"], "failed");
    trail.remove(0)
}

/// Why it was ended.
fn why(app: &TestApp) -> String {
    app.shown(ended(app)["detail"].as_str().unwrap())
}

/// What can be revoked of a call by the bot for Bob.
const TAKEN_BACK: [&str; 10] = [
    "token",
    "token's time",
    "delegation",
    "agent account",
    "user",
    "client secret",
    "signing key",
    "server",
    "server's address",
    "policy",
];

async fn take_back(it: &Scene, what: &str, token: &str) {
    let (app, alice, bob, bot) = (it.app(), &it.scenario.alice, &it.scenario.bob, &it.scenario.bot);
    let claim = |name: &str| jwt::claims(token)[name].as_str().unwrap().to_owned();
    let account = format!("/api/v1/agent-accounts/{}", bot.id);
    let inactive = json!({ "active": false });
    let done = match what {
        "token" => app.about_token("revoke", bot, token).await,
        "token's time" => {
            app.pass(Duration::from_hours(1));
            return;
        }
        "delegation" => {
            app.delete(format!("/api/v1/delegations/{}", claim("delegation_id"))).as_user(bob).await
        }
        "agent account" => app.patch(account).as_user(alice).json(&inactive).await,
        "user" => app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&inactive).await,
        "client secret" => {
            let path = format!("{account}/secrets/{}", claim("client_secret_id"));
            app.delete(path).as_user(alice).await
        }
        "signing key" => {
            let keys = app.get("/api/v1/signing-keys").as_user(alice).await.ok().json();
            let kid = keys[0]["kid"].as_str().unwrap().to_owned();
            app.delete(format!("/api/v1/signing-keys/{kid}")).as_user(alice).await
        }
        "server" => app.patch("/api/v1/servers/new").as_user(alice).json(&inactive).await,
        "server's address" => {
            let url = json!({ "url": "https://elsewhere.example.com/mcp" });
            app.patch("/api/v1/servers/new").as_user(alice).json(&url).await
        }
        "policy" => {
            let body = json!({ "name": "stop", "text": "forbid(principal, action, resource);" });
            app.post("/api/v1/policies").as_user(alice).json(&body).await
        }
        other => panic!("{other}"),
    };
    done.ok();
}

#[tokio::test]
async fn a_calls_stream_ends_when_anything_that_it_rests_on_is_taken_back() {
    let mut told = Vec::new();
    for what in TAKEN_BACK {
        let it = scene().await;
        begins(&it.new, "tools/call");
        let token = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
        let call = it.app().modern("new", "tools/call", r#""name":"t""#).bearer(&token);
        let mut body = opened(call).await;
        take_back(&it, what, &token).await;
        let end = end(&mut body).await;
        let data =
            end.strip_prefix("event: message\ndata: ").unwrap_or_else(|| panic!("{what}: {end:?}")).trim();
        let message: Value = serde_json::from_str(data).unwrap();
        assert_eq!(message["id"], "c-1", "{data}");
        let (error, detail) = (&message["error"], why(it.app()));
        assert_eq!((&error["message"], &error["data"]["error"]), (&json!(detail), &json!("stream_ended")));
        told.push(format!("{what}: {} {detail}", error["code"]));
    }
    assert_snapshot!(told.join("\n"), @"
    token: 401 The stream was ended: The token has been revoked; the tool may have run, so repeating the call may do its work twice
    token's time: 401 The stream was ended: The token has expired; the tool may have run, so repeating the call may do its work twice
    delegation: 401 The stream was ended: The delegation that the token rests on is revoked or has expired; the tool may have run, so repeating the call may do its work twice
    agent account: 401 The stream was ended: The agent account is disabled; the tool may have run, so repeating the call may do its work twice
    user: 403 The stream was ended: Delegator user is deactivated; the tool may have run, so repeating the call may do its work twice
    client secret: 401 The stream was ended: The client secret that the token was issued under is revoked; the tool may have run, so repeating the call may do its work twice
    signing key: 401 The stream was ended: The token is signed with an unknown key; the tool may have run, so repeating the call may do its work twice
    server: 404 The stream was ended: No such server; the tool may have run, so repeating the call may do its work twice
    server's address: 403 The stream was ended: The MCP server's address was changed; the tool may have run, so repeating the call may do its work twice
    policy: 403 The stream was ended: Policy denied: a policy forbids it; the tool may have run, so repeating the call may do its work twice
    ");
}

#[tokio::test]
async fn a_subscription_ends_when_its_users_own_credential_is_taken_back() {
    let mut told = Vec::new();
    for what in ["API key", "API key's time", "user", "user token's time", "policy"] {
        let it = scene().await;
        let (app, alice, bob) = (it.app(), &it.scenario.alice, &it.scenario.bob);
        begins(&it.new, "subscriptions/listen");
        let expires_at = app.now().plus(Duration::from_mins(5)).to_string();
        let body = json!({ "name": "short", "expires_at": expires_at });
        let made = app.post("/api/v1/api-keys").as_user(bob).json(&body).await.ok();
        let (key, id) = (made.field("key"), made.field("id"));
        let bearer = if what == "user token's time" { app.login.token("bob") } else { key };
        let fields = r#""notifications":{"resourceSubscriptions":["file:///a"]}"#;
        let mut body = opened(app.modern("new", "subscriptions/listen", fields).bearer(&bearer)).await;
        match what {
            "API key" => {
                app.delete(format!("/api/v1/api-keys/{id}")).as_user(bob).await.ok();
            }
            "user" => {
                let inactive = json!({ "active": false });
                app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&inactive).await.ok();
            }
            "policy" => {
                let text = r#"forbid(principal, action == Action::"read_resource", resource);"#;
                let body = json!({ "name": "stop", "text": text });
                app.post("/api/v1/policies").as_user(alice).json(&body).await.ok();
            }
            _ => app.pass(Duration::from_hours(2)),
        }
        let end = end(&mut body).await;
        told.push(format!(
            "{what}: {}",
            end.strip_prefix("event: message\ndata: ").unwrap_or("nothing").trim()
        ));
    }
    assert_snapshot!(told.join("\n"), @r#"
    API key: {"jsonrpc":"2.0","id":"c-1","error":{"code":401,"message":"The stream was ended: The API key is not valid","data":{"error":"stream_ended","reason":"stream_ended"}}}
    API key's time: {"jsonrpc":"2.0","id":"c-1","error":{"code":401,"message":"The stream was ended: The API key has expired","data":{"error":"stream_ended","reason":"stream_ended"}}}
    user: {"jsonrpc":"2.0","id":"c-1","error":{"code":401,"message":"The stream was ended: The user is deactivated","data":{"error":"stream_ended","reason":"stream_ended"}}}
    user token's time: {"jsonrpc":"2.0","id":"c-1","error":{"code":401,"message":"The stream was ended: User token refused: the token has expired","data":{"error":"stream_ended","reason":"stream_ended"}}}
    policy: {"jsonrpc":"2.0","id":"c-1","error":{"code":403,"message":"The stream was ended: Policy denied: a policy forbids it","data":{"error":"stream_ended","reason":"stream_ended"}}}
    "#);
}

#[tokio::test]
async fn a_sessions_stream_ends_and_the_trail_says_why() {
    let it = scene().await;
    begins(&it.old, "GET");
    let token = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
    let session = it.app().initialize("old").bearer(&token).await.ok().session();
    let mut body = opened(it.app().get(PATH).bearer(&token).in_session(&session)).await;
    let before = it.app().trail().len();
    take_back(&it, "delegation", &token).await;
    assert_eq!(end(&mut body).await, "");
    let trail = it.app().trail();
    assert_eq!(trail.len(), before + 2, "the revocation, and the end");
    let ended = ended(it.app());
    let is_opened = |event: &&Value| event["request_id"] == ended["request_id"] && event["id"] != ended["id"];
    let opened = trail.iter().find(is_opened).unwrap();
    for same in ["request_id", "action", "subject", "credential", "audit_agent", "audit_user", "audit_server"]
    {
        assert_eq!(ended[same], opened[same], "{same}");
    }
    assert_eq!(opened["outcome"], "allowed");
    assert_snapshot!(why(it.app()), @"The stream was ended: The delegation that the token rests on is revoked or has expired");
}

#[tokio::test]
async fn a_stream_ends_when_other_credentials_would_be_used() {
    let mut told = Vec::new();
    for what in ["grant", "disconnected", "connected anew", "displaced", "sharer", "session's time"] {
        let scenario = Scenario::in_app(TestApp::start_with(patient()).await).await;
        let server = ScriptedServer::start(ProtocolEra::Modern).await;
        begins(&server, "tools/call");
        scenario.app.permit_everything().await;
        let chat = scenario.app.server("chat").oauth().at(server.url()).await;
        scenario.app.connect(&scenario.alice, &chat).await;
        let it = Connected { scenario, chat };
        let (app, alice, bob) = (it.app(), &it.scenario.alice, &it.scenario.bob);
        // A session that cannot be refreshed, and expires before the token.
        app.connect_until(bob, &it.chat, Some(app.now().plus(Duration::from_mins(30)))).await;
        let grant = it.create(bob, true).await.ok().field("id");
        let token = app.m2m(&it.scenario.bot).await;
        let mut body = opened(app.modern("chat", "tools/call", r#""name":"t""#).bearer(&token)).await;
        match what {
            "grant" => drop(it.revoke(bob, &grant).await.ok()),
            "disconnected" => drop(app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok()),
            "connected anew" => app.connect(bob, &it.chat).await,
            "displaced" => drop(it.create(alice, true).await.ok()),
            "sharer" => {
                let inactive = json!({ "active": false });
                app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&inactive).await.ok();
            }
            _ => app.pass(Duration::from_mins(31)),
        }
        end(&mut body).await;
        told.push(format!("{what}: {}", why(app)));
    }
    assert_snapshot!(told.join("\n"), @"
    grant: The stream was ended: No credentials available for this server; the tool may have run, so repeating the call may do its work twice
    disconnected: The stream was ended: OAuth session not found; the tool may have run, so repeating the call may do its work twice
    connected anew: The stream was ended: Other credentials are used at the MCP server by now; the tool may have run, so repeating the call may do its work twice
    displaced: The stream was ended: Other credentials are used at the MCP server by now; the tool may have run, so repeating the call may do its work twice
    sharer: The stream was ended: No credentials available for this server; the tool may have run, so repeating the call may do its work twice
    session's time: The stream was ended: OAuth session expired; the tool may have run, so repeating the call may do its work twice
    ");
}

#[tokio::test]
async fn a_stream_ends_when_an_admin_gives_another_header() {
    let scenario = Scenario::in_app(TestApp::start_with(patient()).await).await;
    let (app, alice) = (&scenario.app, &scenario.alice);
    app.permit_everything().await;
    let server = ScriptedServer::start(ProtocolEra::Modern).await;
    begins(&server, "tools/call");
    let header = json!({ "name": "X-Api-Key", "value": "one" });
    let body = json!({ "id": "api", "name": "API", "url": server.url(), "auth": "header", "header": header });
    app.post("/api/v1/servers").as_user(alice).json(&body).await.ok();
    let mut body = opened(app.modern("api", "tools/call", r#""name":"t""#).as_user(&scenario.bob)).await;
    let header = json!({ "header": { "name": "X-Api-Key", "value": "two" } });
    app.patch("/api/v1/servers/api").as_user(alice).json(&header).await.ok();
    end(&mut body).await;
    assert_snapshot!(why(app), @"The stream was ended: Other credentials are used at the MCP server by now; the tool may have run, so repeating the call may do its work twice");
}

#[tokio::test]
async fn an_answer_that_is_waited_for_behind_the_scenes_ends_too() {
    // A stateless client at a handshake server gets nothing before the first event that is for it.
    let it = scene().await;
    let silent =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"debug","data":"x"}}"#;
    it.old.on("tools/call", move |_| {
        let first = stream::iter([Ok::<_, Infallible>(format!("data: {silent}\n\n"))]);
        events(Body::from_stream(futures::StreamExt::chain(first, stream::pending())))
    });
    let token = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
    let call = it.app().modern("old", "tools/call", r#""name":"t""#).bearer(&token);
    let call = tokio::spawn(async move { call.await });
    while it.old.heard_of("tools/call").is_empty() {
        tokio::task::yield_now().await;
    }
    take_back(&it, "token", &token).await;
    tokio::time::pause();
    let from = Instant::now();
    let answer = call.await.unwrap();
    assert!(from.elapsed() <= Duration::from_mins(1));
    assert_snapshot!(answer.rpc_refusal(), @"200 401 stream_ended: The stream was ended: The token has been revoked; the tool may have run, so repeating the call may do its work twice");
    tokio::time::resume();
    while it.old.heard_of("notifications/cancelled").is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Reads a stream for this time.
async fn read_for(body: &mut Body, time: Duration) {
    let until = Instant::now() + time;
    while let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await {
        let data = frame.expect("the stream goes on").unwrap().into_data().unwrap();
        assert_eq!(data, ":\n\n");
    }
}

#[tokio::test]
async fn a_stream_that_may_go_on_costs_a_read_every_half_minute_and_writes_nothing() {
    let it = scene().await;
    begins(&it.old, "GET");
    begins(&it.new, "subscriptions/listen");
    let session = it.session("old").await;
    let get = it.app().get(PATH).as_user(&it.scenario.bob).in_session(&session);
    let listen = it.modern("new", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    for ask in [get, listen] {
        let mut body = opened(ask).await;
        tokio::time::pause();
        let (reading, trail) = (read_for(&mut body, Duration::from_mins(10)), it.app().trail().len());
        let ((), cost) = it.app().round_trips(reading).await;
        tokio::time::resume();
        let [("BatchGetItem", reads)] = cost[..] else { panic!("{cost:?}") };
        assert!((20..=30).contains(&reads), "{reads} in ten minutes");
        assert_eq!(it.app().trail().len(), trail);
        drop(body);
    }
}

#[tokio::test]
async fn a_stream_outlives_an_outage_of_half_a_minute_and_ends_in_one_of_a_minute() {
    let it = scene().await;
    begins(&it.new, "tools/call");
    let call = || it.modern("new", "tools/call", r#""name":"t""#);
    let mut body = opened(call()).await;
    tokio::time::pause();
    it.app().faults.always_on("BatchGetItem", Fault::ServerError);
    read_for(&mut body, Duration::from_secs(35)).await;
    it.app().faults.stop();
    read_for(&mut body, Duration::from_mins(2)).await;
    // From now on the store does not answer reads. The trail can still be written.
    it.app().faults.always_on("BatchGetItem", Fault::Silence);
    tokio::time::resume();
    let end = end(&mut body).await;
    assert_snapshot!(end, @r#"
    event: message
    data: {"jsonrpc":"2.0","id":"c-1","error":{"code":503,"message":"The stream was ended: it could not be checked for too long whether it may go on; the tool may have run, so repeating the call may do its work twice","data":{"error":"stream_ended","reason":"stream_ended"}}}
    "#);
    assert!(end.contains(&why(it.app())));
}

#[tokio::test]
async fn what_a_server_says_after_a_revocation_is_not_passed_on_for_longer_either() {
    let it = scene().await;
    // A server that sends a message every second, without end.
    it.new.on("tools/call", |_| {
        let talk = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(format!("data: {NOTE}\n\n")), ()))
        });
        events(Body::from_stream(Box::pin(talk)))
    });
    let token = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
    let mut body =
        it.app().modern("new", "tools/call", r#""name":"t""#).bearer(&token).begin().await.into_body();
    take_back(&it, "token", &token).await;
    let (rest, after) = rest(&mut body).await;
    assert!(after <= Duration::from_mins(1), "{after:?}");
    assert!(rest.matches(NOTE).count() <= 60);
    assert!(rest.contains("The stream was ended: The token has been revoked"), "{rest}");
}
