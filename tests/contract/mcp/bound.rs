//! What is opened at a server is bound to who opened it, and to the very connection or header that let them in.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse,
};
use deputize_tests::{
    Provider, TestApp, TestRequest, User,
    mcp::{ProtocolEra, ScriptedServer, events},
};
use http::StatusCode;
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    connections::{Chat, cookie},
    grants::Connected,
    scenario::Scenario,
};

/// The answers after a session no longer belongs to the client.
const GONE: &str = "a request: 404 -32600: There is no such session
a notification: 404 -32600: There is no such session
GET: 404 -32600: There is no such session
DELETE: 404 -32600: There is no such session";

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;

/// The session at the server that the last request of a method used.
#[track_caller]
fn session_of(server: &ScriptedServer, method: &str) -> String {
    server.last(method).header("mcp-session-id").unwrap().to_owned()
}

/// Everything that a handshake client can do in a session.
fn all_in(app: &TestApp, server: &str, session: &str) -> Vec<(&'static str, TestRequest)> {
    let path = format!("/api/v1/proxy/{server}/mcp");
    let asks = [
        ("a request", app.handshake(server, "tools/list", "{}")),
        ("a notification", app.mcp(server, NOTE).header("mcp-protocol-version", "2025-11-25")),
        ("GET", app.get(&path)),
        ("DELETE", app.delete(&path)),
    ];
    asks.map(|(what, ask)| (what, ask.in_session(session))).into()
}

/// The answers to everything that a handshake client can do in a session that is no longer its own.
async fn refused(
    app: &TestApp,
    server: &str,
    session: &str,
    whose: impl Fn(TestRequest) -> TestRequest,
) -> String {
    let mut told = Vec::new();
    for (what, ask) in all_in(app, server, session) {
        told.push(format!("{what}: {}", whose(ask).await.rpc_refusal()));
    }
    told.join("\n")
}

/// A handshake server that asks for OAuth, and Bob, who is connected to it.
async fn bob_connected() -> (Chat, ScriptedServer) {
    let (server, routes) = ScriptedServer::behind(ProtocolEra::Handshake);
    let chat = Chat::with(TestApp::start().await, Provider::before(routes).await).await;
    chat.connect(&chat.scenario.bob).await;
    server.on("GET", |_| events("id: 1\ndata:\n\n"));
    (chat, server)
}

/// Connects a user, who signs in at the provider with this account.
async fn connect_as(chat: &Chat, user: &User, account: &str) {
    let begun = chat.begin(user).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), account);
    chat.scenario.app.get(back).header("cookie", &cookie(&begun)).await.ok();
}

#[tokio::test]
async fn who_connects_as_another_account_goes_on_with_nothing_that_the_first_has_opened() {
    for disconnects in [false, true] {
        let (chat, server) = bob_connected().await;
        let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
        let list = || app.modern("chat", "tools/list", "").as_user(bob);
        list().await.ok();
        assert_eq!(session_of(&server, "tools/list"), "upstream-session-1");
        let own = app.initialize("chat").as_user(bob).await.ok().session();
        if disconnects {
            app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
        }
        connect_as(&chat, bob, "bob-at-work").await;

        list().await.ok();
        assert_eq!(session_of(&server, "tools/list"), "upstream-session-3");
        let before = server.heard().len();
        assert_eq!(refused(app, "chat", &own, |ask| ask.as_user(bob)).await, GONE);
        assert_eq!(server.heard().len(), before, "nothing of the old session's reached the server");
    }
}

#[tokio::test]
async fn a_refresh_keeps_what_was_opened_with_the_same_connection() {
    let (chat, server) = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    let list = || app.modern("chat", "tools/list", "").as_user(bob);
    list().await.ok();
    let own = app.initialize("chat").as_user(bob).await.ok().session();
    app.pass(Duration::from_mins(61));
    list().await.ok();
    assert_eq!(chat.provider.count("token refresh_token"), 1);
    assert_eq!(session_of(&server, "tools/list"), "upstream-session-1");
    for (what, ask) in all_in(app, "chat", &own) {
        let answer = ask.as_user(bob).await;
        assert!(answer.status.is_success(), "{what}: {answer}");
    }
    assert_eq!(session_of(&server, "DELETE"), "upstream-session-2");
}

#[tokio::test]
async fn what_was_opened_with_a_header_ends_when_an_admin_gives_another() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.permit_everything().await;
    let server = ScriptedServer::start(ProtocolEra::Handshake).await;
    server.on("GET", |_| events("id: 1\ndata:\n\n"));
    let header = |value: &str| json!({ "name": "X-Api-Key", "value": value });
    let body =
        json!({ "id": "api", "name": "API", "url": server.url(), "auth": "header", "header": header("one") });
    app.post("/api/v1/servers").as_user(&alice).json(&body).await.ok();
    let change = async |body| app.patch("/api/v1/servers/api").as_user(&alice).json(&body).await.ok();
    let list = || app.modern("api", "tools/list", "").as_user(&bob);
    list().await.ok();
    let own = app.initialize("api").as_user(&bob).await.ok().session();

    change(json!({ "name": "Another name", "pinning": "warn" })).await;
    list().await.ok();
    assert_eq!(session_of(&server, "tools/list"), "upstream-session-1");
    app.handshake("api", "ping", "{}").as_user(&bob).in_session(&own).await.ok();

    change(json!({ "header": header("two") })).await;
    list().await.ok();
    let heard = server.last("tools/list");
    assert_eq!(
        (heard.header("mcp-session-id"), heard.header("x-api-key")),
        (Some("upstream-session-3"), Some("two"))
    );
    assert_eq!(refused(&app, "api", &own, |ask| ask.as_user(&bob)).await, GONE);
}

#[tokio::test]
async fn agents_that_use_one_persons_connection_have_sessions_of_their_own() {
    let scenario = Scenario::start().await;
    let server = ScriptedServer::start(ProtocolEra::Handshake).await;
    scenario.app.permit_everything().await;
    let chat = scenario.app.server("chat").oauth().at(server.url()).await;
    scenario.app.connect(&scenario.alice, &chat).await;
    let it = Connected { scenario, chat };
    it.create(&it.scenario.alice, true).await.ok();
    let app = it.app();
    let other = app.agent("other", &it.scenario.alice).await;
    let path = format!("/api/v1/agent-accounts/{}/session-grants", other.id);
    let body = json!({ "server_id": "chat", "shared": true });
    app.post(path).as_user(&it.scenario.alice).json(&body).await.ok();

    // Two agents, one of them also for Bob, and Alice herself.
    let (bot, for_bob) = (app.m2m(&it.scenario.bot).await, app.obo(&it.scenario.bot, &it.scenario.bob).await);
    let other = app.m2m(&other).await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        for token in [&bot, &for_bob, &other] {
            app.modern("chat", "tools/list", "").bearer(token).await.ok();
            sessions.push(session_of(&server, "tools/list"));
        }
        app.modern("chat", "tools/list", "").as_user(&it.scenario.alice).await.ok();
        sessions.push(session_of(&server, "tools/list"));
    }
    let expected = ["upstream-session-1", "upstream-session-2", "upstream-session-3", "upstream-session-4"];
    assert_eq!(sessions, [expected, expected].concat());
    let tokens = server.heard_of("tools/list");
    assert!(
        tokens.iter().all(|heard| heard.header("authorization") == Some("Bearer upstream-token-of-alice"))
    );

    let own = app.initialize("chat").bearer(&bot).await.ok().session();
    assert_eq!(refused(app, "chat", &own, |ask| ask.bearer(&other)).await, GONE);
}

/// A handshake server that refuses the first `tools/list` when the test says so.
async fn refusing_once() -> (ScriptedServer, String, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (server, routes) = ScriptedServer::behind(ProtocolEra::Handshake);
    let (here, arrived) = oneshot::channel::<()>();
    let (go, gone) = oneshot::channel::<()>();
    let held = Arc::new(Mutex::new(Some((here, gone))));
    let routes = routes.layer(from_fn(move |request: Request, next: Next| {
        let held = Arc::clone(&held);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let lists = String::from_utf8_lossy(&body).contains("tools/list");
            let once = if lists { held.lock().unwrap().take() } else { None };
            if let Some((here, gone)) = once {
                here.send(()).unwrap();
                gone.await.unwrap();
                return StatusCode::UNAUTHORIZED.into_response();
            }
            next.run(Request::from_parts(parts, body.into())).await
        }
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (server, url, arrived, go)
}

#[tokio::test]
async fn who_connects_as_another_account_during_a_request_goes_on_in_no_session_of_the_first() {
    for pooled in [false, true] {
        let Scenario { app, bob, .. } = Scenario::start().await;
        app.permit_everything().await;
        let (server, url, arrived, go) = refusing_once().await;
        let chat = app.server("chat").oauth().at(url).await;
        app.connect(&bob, &chat).await;
        let own = app.initialize("chat").as_user(&bob).await.ok().session();
        let ask = if pooled {
            app.modern("chat", "tools/list", "")
        } else {
            app.handshake("chat", "tools/list", "{}").in_session(&own)
        };
        let (answer, ()) = tokio::join!(async { ask.as_user(&bob).await }, async {
            arrived.await.unwrap();
            app.connect(&bob, &chat).await;
            go.send(()).unwrap();
        });
        if pooled {
            answer.ok();
            let initialized = server.heard_of("initialize").len();
            assert_eq!(session_of(&server, "tools/list"), format!("upstream-session-{initialized}"));
            assert_eq!(initialized, 3, "the client's own, ours, and ours with the other account");
        } else {
            assert_eq!(answer.rpc_refusal(), "404 -32600: There is no such session");
            assert!(server.heard_of("tools/list").is_empty());
        }
    }
}
