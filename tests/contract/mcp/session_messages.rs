//! What is no request: notifications, the stream of a session, and its end.

use std::time::Duration;

use deputize_tests::{
    Provider, TestApp, TestRequest,
    mcp::{ProtocolEra, ScriptedServer, events},
};
use http::StatusCode;
use insta::assert_snapshot;

use super::Scene;
use crate::connections::Chat;

const PATH: &str = "/api/v1/proxy/chat/mcp";
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;

/// A handshake server that asks for OAuth, and Bob, who is connected to it.
async fn bob_connected() -> (Chat, ScriptedServer) {
    let (server, routes) = ScriptedServer::behind(ProtocolEra::Handshake);
    let chat = Chat::with(TestApp::start().await, Provider::before(routes).await).await;
    chat.connect(&chat.scenario.bob).await;
    (chat, server)
}

/// The three kinds of request, in a session of Bob's.
fn without_request(chat: &Chat, session: &str) -> [(&'static str, TestRequest); 3] {
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    [
        ("notifications/roots/list_changed", app.mcp("chat", NOTE)),
        ("GET", app.get(PATH)),
        ("DELETE", app.delete(PATH)),
    ]
    .map(|(what, ask)| (what, ask.as_user(bob).in_session(session)))
}

#[tokio::test]
async fn a_token_that_is_refused_before_its_time_is_refreshed_and_it_is_said_once_more() {
    let (chat, server) = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    server.on("GET", |_| events("id: 1\ndata:\n\n"));
    let session = app.initialize("chat").as_user(bob).await.ok().session();
    let mut told = Vec::new();
    for (what, ask) in without_request(&chat, &session) {
        // A session is refreshed at most once a minute.
        app.pass(Duration::from_mins(1));
        chat.provider.invalidate_access_tokens();
        let answer = ask.await;
        let heard = server.heard_of(what).len();
        told.push(format!("{what}: {}, heard {heard}", answer.status.as_u16()));
    }
    assert_snapshot!(told.join("\n"), @"
    notifications/roots/list_changed: 202, heard 1
    GET: 200, heard 1
    DELETE: 204, heard 1
    ");
    assert_eq!(chat.provider.count("token refresh_token"), 3);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_asked_twice_and_no_client_is_sent_for_another() {
    let (chat, server) = bob_connected().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    let session = app.initialize("chat").as_user(bob).await.ok().session();
    chat.provider.script().server_refuses = true;
    let mut told = Vec::new();
    for (what, ask) in without_request(&chat, &session) {
        app.pass(Duration::from_mins(1));
        let answer = ask.await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED);
        told.push(format!("{what}: {}", answer.rpc_refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    notifications/roots/list_changed: 403 424 session_expired: OAuth session expired; connect to the server at https://deputize.test/connect/chat, then try again
    GET: 403 424 session_expired: OAuth session expired; connect to the server at https://deputize.test/connect/chat, then try again
    DELETE: 403 424 session_expired: OAuth session expired; connect to the server at https://deputize.test/connect/chat, then try again
    ");
    assert_eq!(chat.provider.count("token refresh_token"), 3);
    assert!(server.heard_of("DELETE").is_empty());
}

#[tokio::test]
async fn a_method_that_is_not_there_is_answered_with_those_that_are() {
    let it = Scene::set().await;
    let (app, bob) = (it.app(), &it.scenario.bob);
    let (old, new) = (it.session("old").await, it.session("new").await);
    it.old.on("DELETE", |_| axum::response::IntoResponse::into_response(StatusCode::METHOD_NOT_ALLOWED));
    let (at_old, at_new) = ("/api/v1/proxy/old/mcp", "/api/v1/proxy/new/mcp");
    let mut told = Vec::new();
    for (what, ask) in [
        ("GET without a session", app.get(at_old)),
        ("DELETE without a session", app.delete(at_old)),
        ("GET in a session at a modern server", app.get(at_new).in_session(&new)),
        ("DELETE in a session at a modern server", app.delete(at_new).in_session(&new)),
        ("GET of a stream that the server has not", app.get(at_old).in_session(&old)),
        ("DELETE of a session that the server does not let end", app.delete(at_old).in_session(&old)),
        ("PUT", app.put(at_old)),
        ("PUT elsewhere", app.put("/api/v1/proxy/old/tools")),
    ] {
        let answer = ask.as_user(bob).await;
        told.push(format!("{what}: {} {:?}", answer.status.as_u16(), answer.header("allow")));
    }
    assert_snapshot!(told.join("\n"), @r#"
    GET without a session: 405 Some("POST")
    DELETE without a session: 405 Some("POST")
    GET in a session at a modern server: 405 Some("POST")
    DELETE in a session at a modern server: 405 Some("POST")
    GET of a stream that the server has not: 405 Some("POST, DELETE")
    DELETE of a session that the server does not let end: 405 Some("POST, GET")
    PUT: 405 Some("POST,GET,HEAD,DELETE")
    PUT elsewhere: 405 Some("POST,GET,HEAD")
    "#);
}
