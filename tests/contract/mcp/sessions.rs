//! The `Mcp-Session-Id` of handshake clients: sealed, its caller's own, and good at any process.

use std::time::Duration;

use deputize_core::vault::Vault;
use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{McpServer, TestApp, TestRequest, app::root};
use insta::assert_snapshot;
use serde_json::json;

use super::Scene;
use crate::{grants::Connected, scenario::Scenario};

const PATH: &str = "/api/v1/proxy/old/mcp";

async fn told(ask: TestRequest) -> String {
    ask.await.rpc_refusal()
}

#[tokio::test]
async fn a_session_id_shows_nothing_of_the_servers() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let it = Scene::set().await;
    let session = it.session("old").await;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&session).unwrap();
    for shown in [session.as_bytes(), &bytes] {
        assert!(!shown.windows(8).any(|part| part == b"upstream"), "{session}");
    }
    assert_ne!(it.session("old").await, it.session("old").await);
    assert!(
        session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)),
        "visible ASCII, as the protocol has it"
    );
}

#[tokio::test]
async fn a_session_is_its_callers_at_its_server_and_nobody_elses() {
    let it = Scene::set().await;
    let app = it.app();
    let session = it.session("old").await;
    app.server("older").at(it.old.url()).await;
    let (own, for_bob) = (app.m2m(&it.scenario.bot).await, app.obo(&it.scenario.bot, &it.scenario.bob).await);
    let list = |server: &str| app.handshake(server, "tools/list", "{}").in_session(&session);
    let before = it.old.heard().len();
    let mut refused = Vec::new();
    for (whose, ask) in [
        ("another user's", list("old").as_user(&it.scenario.carol)),
        ("an agent's", list("old").bearer(&own)),
        ("an agent's for the same user", list("old").bearer(&for_bob)),
        ("another server's", list("older").as_user(&it.scenario.bob)),
        ("a modern server's", list("new").as_user(&it.scenario.bob)),
        ("twice", list("old").as_user(&it.scenario.bob).in_session(&session)),
        (
            "none of ours",
            app.handshake("old", "ping", "{}").as_user(&it.scenario.bob).in_session("upstream-session-1"),
        ),
        ("empty", app.handshake("old", "ping", "{}").as_user(&it.scenario.bob).in_session("")),
        ("GET", app.get(PATH).as_user(&it.scenario.carol).in_session(&session)),
        ("DELETE", app.delete(PATH).as_user(&it.scenario.carol).in_session(&session)),
        (
            "notification",
            app.mcp("old", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#)
                .as_user(&it.scenario.carol)
                .in_session(&session),
        ),
    ] {
        refused.push(format!("{whose}: {}", told(ask).await));
    }
    assert_snapshot!(refused.join("\n"), @"
    another user's: 404 -32600: There is no such session
    an agent's: 404 -32600: There is no such session
    an agent's for the same user: 404 -32600: There is no such session
    another server's: 404 -32600: There is no such session
    a modern server's: 404 -32600: There is no such session
    twice: 404 -32600: There is no such session
    none of ours: 404 -32600: There is no such session
    empty: 404 -32600: There is no such session
    GET: 404 -32600: There is no such session
    DELETE: 404 -32600: There is no such session
    notification: 404 -32600: There is no such session
    ");
    assert_eq!(it.old.heard_of("tools/list").len(), 0);
    assert!(it.old.heard().len() <= before + 1, "no more than the era of the other name was asked for");
    // Another credential of the same user may use it.
    let jwt = app.login.token("bob");
    list("old").bearer(&jwt).await.ok();
}

#[tokio::test]
async fn a_session_id_in_which_anything_was_changed_is_none() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let it = Scene::set().await;
    let session = it.session("old").await;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&session).unwrap();
    let list = |id: &str| it.handshake("old", "tools/list", "{}").in_session(id);
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let refused = told(list(&BASE64_URL_SAFE_NO_PAD.encode(changed))).await;
        assert_eq!(refused, "404 -32600: There is no such session", "{place}");
    }
    for length in [0, 1, 3, 4, 15, 16, 31, 32, bytes.len() - 1] {
        let refused = told(list(&BASE64_URL_SAFE_NO_PAD.encode(&bytes[..length]))).await;
        assert_eq!(refused, "404 -32600: There is no such session", "{length}");
    }
    for id in ["x".repeat(9_000), format!("{session}="), format!("{session}A")] {
        assert_eq!(told(list(&id)).await, "404 -32600: There is no such session", "{id}");
    }
    list(&session).await.ok();
}

#[tokio::test]
async fn a_session_is_good_in_its_week_and_the_next() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let list = || it.handshake("old", "tools/list", "{}").in_session(&session);
    it.app().pass(Duration::from_hours(24 * 7));
    list().await.ok();
    it.app().pass(Duration::from_hours(24 * 7));
    assert_snapshot!(told(list()).await, @"404 -32600: There is no such session");
    let session = it.session("old").await;
    it.handshake("old", "tools/list", "{}").in_session(&session).await.ok();
}

#[tokio::test]
async fn a_session_is_carried_on_by_any_process() {
    let it = Scene::set().await;
    let another = || it.app().another(Vault::new(root(7), Vec::new()));
    let (first, second) = (it.session("old").await, it.session("new").await);
    for app in [another().await, another().await] {
        let list = |app: &TestApp, server: &str, id: &str| {
            app.handshake(server, "tools/list", "{}").as_user(&it.scenario.bob).in_session(id)
        };
        list(&app, "old", &first).await.ok();
        assert_eq!(it.old.last("tools/list").header("mcp-session-id"), Some("upstream-session-1"));
        list(&app, "new", &second).await.ok();
        let info =
            it.new.last("tools/list").message()["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]
                .clone();
        assert_eq!(info["name"], "tester");
        // And the first process can use the other one's.
        let third = app.initialize("old").as_user(&it.scenario.bob).await.ok().session();
        list(it.app(), "old", &third).await.ok();
    }
}

#[tokio::test]
async fn many_processes_that_begin_the_first_sessions_at_once_share_a_key() {
    let it = Scene::set().await;
    let mut apps = Vec::new();
    for _ in 0..4 {
        apps.push(it.app().another(Vault::new(root(7), Vec::new())).await);
    }
    let begin = |app: &TestApp| {
        let ask = app.initialize("old").as_user(&it.scenario.bob);
        async move { ask.await.ok().session() }
    };
    let sessions = futures::future::join_all(apps.iter().map(begin)).await;
    for (n, session) in sessions.iter().enumerate() {
        let app = &apps[(n + 1) % apps.len()];
        app.handshake("old", "ping", "{}").as_user(&it.scenario.bob).in_session(session).await.ok();
    }
}

#[tokio::test]
async fn a_session_ends_when_the_grant_moves_to_another_users_credentials() {
    let scenario = Scenario::start().await;
    let mcp = McpServer::start().await;
    scenario.app.permit_everything().await;
    let chat = scenario.app.server("chat").oauth().at(mcp.oauth_url()).await;
    for user in [&scenario.alice, &scenario.bob] {
        scenario.app.connect(user, &chat).await;
    }
    let it = Connected { scenario, chat };
    it.create(&it.scenario.alice, true).await.ok();
    let own = it.app().m2m(&it.scenario.bot).await;
    let session = it.app().initialize("chat").bearer(&own).await.ok().session();
    let call = |id: &str| {
        let ask = it.app().handshake("chat", "tools/call", r#"{"name":"list_channels","arguments":{}}"#);
        ask.bearer(&own).in_session(id)
    };
    let acting = |answer: &deputize_tests::TestResponse| {
        answer.json()["result"]["structuredContent"]["acting_as"].clone()
    };
    assert_eq!(acting(&call(&session).await.ok()), "alice");
    // Alice no longer shares, and Bob does.
    it.toggle(&it.scenario.alice).await.ok();
    it.create(&it.scenario.bob, true).await.ok();
    assert_snapshot!(told(call(&session)).await, @"404 -32600: There is no such session");
    let session = it.app().initialize("chat").bearer(&own).await.ok().session();
    assert_eq!(acting(&call(&session).await.ok()), "bob");
}

#[tokio::test]
async fn a_session_that_the_server_has_ended_is_gone_for_its_client() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    it.old.forget_sessions();
    let mut refused = Vec::new();
    for (what, ask) in [
        ("request", it.handshake("old", "tools/list", "{}")),
        ("notification", it.post("old", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#)),
        ("GET", it.app().get(PATH).as_user(&it.scenario.bob)),
        ("DELETE", it.app().delete(PATH).as_user(&it.scenario.bob)),
    ] {
        refused.push(format!("{what}: {}", told(ask.in_session(&session)).await));
    }
    assert_snapshot!(refused.join("\n"), @"
    request: 404 -32600: The session has ended
    notification: 404 -32600: The session has ended
    GET: 404 -32600: The session has ended
    DELETE: 404 -32600: The session has ended
    ");
}

#[tokio::test]
async fn a_session_of_ours_that_the_server_has_ended_is_begun_anew() {
    let it = Scene::set().await;
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    it.old.forget_sessions();
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    assert_eq!(it.old.sessions(), 1);
}

#[tokio::test]
async fn sessions_of_ours_are_their_callers_own() {
    let it = Scene::set().await;
    let list = |user| it.app().modern("old", "tools/list", "").as_user(user);
    list(&it.scenario.bob).await.ok();
    list(&it.scenario.carol).await.ok();
    list(&it.scenario.bob).await.ok();
    assert_eq!(it.old.sessions(), 2);
    let used: Vec<_> = it
        .old
        .heard_of("tools/list")
        .iter()
        .map(|heard| heard.header("mcp-session-id").unwrap().to_owned())
        .collect();
    assert_eq!(used, ["upstream-session-1", "upstream-session-2", "upstream-session-1"]);
}

#[tokio::test]
async fn a_client_ends_its_session_at_the_server() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let delete =
        || it.app().delete(PATH).as_user(&it.scenario.bob).header("mcp-protocol-version", "2025-11-25");
    assert_snapshot!(delete().in_session(&session).await, @"204 No Content");
    assert_eq!(it.old.sessions(), 0);
    let heard = it.old.last("DELETE");
    assert_eq!(heard.header("mcp-session-id"), Some("upstream-session-1"));
    assert_eq!(heard.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_snapshot!(told(delete().in_session(&session)).await, @"404 -32600: The session has ended");
    assert_snapshot!(delete().await.refusal(), @"405 This endpoint has no such method");
    // At a modern server there is no session to end, so nothing is sent.
    let session = it.session("new").await;
    let ended = it.app().delete("/api/v1/proxy/new/mcp").as_user(&it.scenario.bob).in_session(&session).await;
    assert_eq!(ended.status, 405);
    it.old
        .on("DELETE", |_| axum::response::IntoResponse::into_response(http::StatusCode::METHOD_NOT_ALLOWED));
    let session = it.session("old").await;
    assert_snapshot!(delete().in_session(&session).await.refusal(), @"405 This endpoint has no such method");
}

/// Only clients named `tester` may do anything.
async fn only_testers() -> Scene {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    let text = r#"permit(principal, action, resource) when { context has client_name && context.client_name == "tester" };"#;
    it.app().policy("tester", text).await;
    it
}

/// A session of a client with this name.
async fn session_of(it: &Scene, server: &str, name: &str) -> String {
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": name, "version": "1" },
    });
    it.post(server, &deputize_tests::mcp::request("initialize", &params.to_string())).await.ok().session()
}

#[tokio::test]
async fn policies_see_the_name_of_a_handshake_client_with_each_request_of_its_session() {
    let it = only_testers().await;
    for server in ["old", "new"] {
        let call = || it.handshake(server, "tools/call", r#"{"name":"t","arguments":{}}"#);
        let (own, others) = (session_of(&it, server, "tester").await, session_of(&it, server, "other").await);
        call().in_session(&own).await.ok();
        let list = it.handshake(server, "tools/list", "{}").in_session(&own).await.ok();
        assert_eq!(list.json()["result"]["tools"][0]["name"], "t");
        assert_eq!(told(call().in_session(&others)).await, "200 403 access_denied: Policy denied");
        // A later name does not change the session's.
        let renamed = r#"{"name":"t","arguments":{},"clientInfo":{"name":"tester"}}"#;
        let renamed = it.handshake(server, "tools/call", renamed).in_session(&others);
        assert_eq!(told(renamed).await, "200 403 access_denied: Policy denied");
        assert_eq!(told(call()).await, "200 403 access_denied: Policy denied");
    }
}

#[tokio::test]
async fn a_client_of_a_handshake_server_without_sessions_has_one_with_us_for_its_name() {
    let it = only_testers().await;
    it.old.on("initialize", |heard| {
        let result =
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#;
        deputize_tests::mcp::json(http::StatusCode::OK, heard.result(result))
    });
    it.old.answers("tools/call", r#"{"content":[]}"#);
    let session = session_of(&it, "old", "tester").await;
    let call = || it.handshake("old", "tools/call", r#"{"name":"t","arguments":{}}"#);
    call().in_session(&session).await.ok();
    assert_eq!(it.old.last("tools/call").header("mcp-session-id"), None);
    assert_eq!(told(call()).await, "200 403 access_denied: Policy denied");
    assert_eq!(it.app().delete(PATH).as_user(&it.scenario.bob).in_session(&session).await.status, 405);
}

#[tokio::test]
async fn a_list_that_comes_by_a_resumed_stream_is_filtered_by_the_clients_name_too() {
    let it = only_testers().await;
    let list = r#"{"jsonrpc":"2.0","id":"c-9","result":{"tools":[{"name":"t"}]}}"#;
    it.old.on("GET", move |_| deputize_tests::mcp::events(format!("data: {list}\n\n")));
    let mut seen = Vec::new();
    for name in ["tester", "other"] {
        let session = session_of(&it, "old", name).await;
        let stream = it.app().get(PATH).as_user(&it.scenario.bob).in_session(&session).await.ok();
        seen.push(stream.text.contains(r#""name":"t""#));
    }
    assert_eq!(seen, [true, false]);
}

#[tokio::test]
async fn a_client_whose_name_is_long_is_known_by_its_beginning() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    let text = r#"permit(principal, action, resource) when { context has client_name && context.client_name like "xxxx*" };"#;
    it.app().policy("x", text).await;
    for server in ["old", "new"] {
        let session = session_of(&it, server, &"x".repeat(100_000)).await;
        assert!(session.len() < 1024, "{}", session.len());
        let call = it.handshake(server, "tools/call", r#"{"name":"t","arguments":{}}"#);
        call.in_session(&session).await.ok();
    }
}

#[tokio::test]
async fn a_client_that_describes_itself_at_length_has_a_session_all_the_same() {
    let it = Scene::set().await;
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": { "experimental": "x".repeat(10_000) },
        "clientInfo": { "name": "tester", "version": "1", "icons": "x".repeat(10_000) },
    });
    let text = deputize_tests::mcp::request("initialize", &params.to_string());
    let session = it.post("new", &text).await.ok().session();
    assert!(session.len() < 8 * 1024);
    it.handshake("new", "tools/list", "{}").in_session(&session).await.ok();
}
