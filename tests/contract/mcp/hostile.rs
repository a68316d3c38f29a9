//! Servers that answer something that is none, too much, too late or never.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::mcp::{Heard, events, json};
use futures::{StreamExt, stream};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::Value;

use super::Scene;

/// The results of a modern client and of a handshake client with a session, for a call with this answer.
async fn called(it: &Scene, says: impl Fn(&Heard) -> Response + Clone + Send + Sync + 'static) -> String {
    it.new.on("tools/call", says.clone());
    it.old.on("tools/call", says);
    let session = it.session("old").await;
    let mut told = Vec::new();
    for answer in [
        it.modern("new", "tools/call", r#""name":"t""#).await,
        it.modern("old", "tools/call", r#""name":"t""#).await,
        it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await,
        it.handshake("new", "tools/call", r#"{"name":"t"}"#).await,
    ] {
        assert_eq!(answer.status, 200, "{answer}");
        // Either the whole answer, or its last event.
        let text = answer.text.lines().rfind(|line| !line.is_empty()).unwrap();
        let message: Value = serde_json::from_str(text.trim_start_matches("data: ")).unwrap();
        let error = &message["error"];
        let (code, kind, text) = (&error["code"], &error["data"]["error"], &error["message"]);
        told.push(format!("{code} {}: {}", kind.as_str().unwrap(), text.as_str().unwrap()));
    }
    told.dedup();
    told.join("\n")
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_nothing_is_sent_again() {
    let it = Scene::set().await;
    let mut told = Vec::new();
    let texts = [
        ("no JSON", "nonsense"),
        ("nothing", ""),
        ("a batch", r#"[{"jsonrpc":"2.0","id":"other","result":{}}]"#),
        ("a batch of two", r#"[{"jsonrpc":"2.0","id":"c-1","result":{}},{"jsonrpc":"2.0","method":"x"}]"#),
        ("another id", r#"{"jsonrpc":"2.0","id":"other","result":{}}"#),
        ("a notification", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
        ("neither", r#"{"jsonrpc":"2.0","id":"c-1"}"#),
    ];
    for (what, text) in texts {
        told.push(format!("{what}: {}", called(&it, move |_| json(StatusCode::OK, text)).await));
        told.push(format!(
            "{what}, as an event: {}",
            called(&it, move |_| events(format!("data: {text}\n\n"))).await
        ));
    }
    told.push(format!("no object: {}", called(&it, |heard| json(StatusCode::OK, heard.result("[]"))).await));
    told.push(format!("no UTF-8: {}", called(&it, |_| events(&b"data: {\"\xff\":1}\n\n"[..])).await));
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    told.push(format!("deep: {}", called(&it, move |heard| json(StatusCode::OK, heard.result(&deep))).await));
    told.push(format!(
        "HTML: {}",
        called(&it, |_| ([("content-type", "text/html")], "<p>").into_response()).await
    ));
    told.push(format!("no type: {}", called(&it, |_| Body::from("{}").into_response()).await));
    told.push(format!("202: {}", called(&it, |_| StatusCode::ACCEPTED.into_response()).await));
    told.push(format!("500: {}", called(&it, |_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await));
    told.push(format!("429: {}", called(&it, |_| StatusCode::TOO_MANY_REQUESTS.into_response()).await));
    told.push(format!("401: {}", called(&it, |_| StatusCode::UNAUTHORIZED.into_response()).await));
    told.push(format!("403: {}", called(&it, |_| StatusCode::FORBIDDEN.into_response()).await));
    let redirect = |_: &Heard| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", "https://evil.example.com/")]).into_response()
    };
    told.push(format!("redirect: {}", called(&it, redirect).await));
    assert_snapshot!(told.join("\n"), @r#"
    no JSON: 502 upstream_error: The MCP server breaks the protocol: no JSON-RPC message: no object; the tool may have run, so repeating the call may do its work twice
    no JSON, as an event: 502 upstream_error: The MCP server breaks the protocol: no JSON-RPC message: no object; the tool may have run, so repeating the call may do its work twice
    nothing: 502 upstream_error: The MCP server breaks the protocol: no JSON-RPC message: no object; the tool may have run, so repeating the call may do its work twice
    nothing, as an event: 502 upstream_error: The MCP server breaks the protocol: the events ended without a response; the tool may have run, so repeating the call may do its work twice
    a batch: 502 upstream_error: The MCP server breaks the protocol: the response to another request; the tool may have run, so repeating the call may do its work twice
    a batch, as an event: 502 upstream_error: The MCP server breaks the protocol: the response to another request; the tool may have run, so repeating the call may do its work twice
    a batch of two: 502 upstream_error: The MCP server breaks the protocol: no JSON-RPC message: no object; the tool may have run, so repeating the call may do its work twice
    a batch of two, as an event: 502 upstream_error: The MCP server breaks the protocol: no JSON-RPC message: no object; the tool may have run, so repeating the call may do its work twice
    another id: 502 upstream_error: The MCP server breaks the protocol: the response to another request; the tool may have run, so repeating the call may do its work twice
    another id, as an event: 502 upstream_error: The MCP server breaks the protocol: the response to another request; the tool may have run, so repeating the call may do its work twice
    a notification: 502 upstream_error: The MCP server breaks the protocol: no response; the tool may have run, so repeating the call may do its work twice
    a notification, as an event: 502 upstream_error: The MCP server breaks the protocol: the events ended without a response; the tool may have run, so repeating the call may do its work twice
    neither: 502 upstream_error: The MCP server breaks the protocol: a message that is neither request nor response; the tool may have run, so repeating the call may do its work twice
    neither, as an event: 502 upstream_error: The MCP server breaks the protocol: a message that is neither request nor response; the tool may have run, so repeating the call may do its work twice
    no object: 502 upstream_error: The MCP server breaks the protocol: a result that is no object; the tool may have run, so repeating the call may do its work twice
    no UTF-8: 502 upstream_error: The MCP server breaks the protocol: no event stream: utf8 parse error: invalid utf-8 sequence of 1 bytes from index 2; the tool may have run, so repeating the call may do its work twice
    deep: 502 upstream_error: The MCP server's answer exceeds a depth of 128; the tool may have run, so repeating the call may do its work twice
    HTML: 502 upstream_error: The MCP server breaks the protocol: neither JSON nor events; the tool may have run, so repeating the call may do its work twice
    no type: 502 upstream_error: The MCP server breaks the protocol: neither JSON nor events; the tool may have run, so repeating the call may do its work twice
    202: 502 upstream_error: The MCP server breaks the protocol: HTTP 202 Accepted to a request; the tool may have run, so repeating the call may do its work twice
    500: 502 upstream_error: The MCP server answered HTTP 500 Internal Server Error; the tool may have run, so repeating the call may do its work twice
    429: 502 upstream_error: The MCP server answered HTTP 429 Too Many Requests
    401: 502 upstream_error: The MCP server does not accept the credential; it is registered with auth "none": register it with auth "oauth" if it asks for OAuth, or with auth "header" if it asks for a key of its own
    403: 502 upstream_error: The MCP server forbids the request
    redirect: 502 upstream_error: The MCP server redirects (307 Temporary Redirect) to https://evil.example.com/, which is not followed; if that is where it is now, register that address
    "#);
    let calls = told.len();
    assert_eq!(it.new.heard_of("tools/call").len(), calls * 2);
    // The 401 may have been said of the session, and is no tool's: the call was made once more, in another.
    assert_eq!(it.old.heard_of("tools/call").len(), calls * 2 + 1);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let config = UpstreamConfig { max_response_bytes: 100_000, ..UpstreamConfig::default() };
    let it = Scene::within(config).await;
    let endless = |text: &'static str| {
        move |_: &Heard| {
            let body = stream::repeat(Ok::<_, Infallible>(text));
            events(Body::from_stream(body))
        }
    };
    assert_snapshot!(called(&it, endless("data: x\n")).await, @"502 upstream_error: The MCP server's answer exceeds 100000 bytes; the tool may have run, so repeating the call may do its work twice");
    it.new.on("tools/call", endless("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n"));
    let noisy = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert!(noisy.text.len() < 200_000);
    let last = noisy.text.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    assert_snapshot!(last, @r#"data: {"jsonrpc":"2.0","id":"c-1","error":{"code":502,"message":"The MCP server's answer exceeds 100000 bytes; the tool may have run, so repeating the call may do its work twice","data":{"error":"upstream_error","reason":"tool_may_have_run"}}}"#);
    let announced = |_: &Heard| {
        let body = stream::once(async { Ok::<_, Infallible>("{") }).chain(stream::pending());
        ([("content-type", "application/json"), ("content-length", "999999999")], Body::from_stream(body))
            .into_response()
    };
    assert_snapshot!(called(&it, announced).await, @"502 upstream_error: The MCP server's answer exceeds 100000 bytes; the tool may have run, so repeating the call may do its work twice");
}

fn begins(kind: &'static str, text: &'static str) -> impl Fn(&Heard) -> Response + Clone {
    move |_: &Heard| {
        let body = stream::once(async move { Ok::<_, Infallible>(text) }).chain(stream::pending());
        ([("content-type", kind)], Body::from_stream(body)).into_response()
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_given_up() {
    let config = UpstreamConfig { idle_timeout: Duration::from_millis(200), ..UpstreamConfig::default() };
    let it = Scene::within(config).await;
    let mut told = vec![called(&it, begins("text/event-stream", "data: {}\n\n")).await];
    told.push(called(&it, begins("text/event-stream", "data: {\"jsonrpc\"")).await);
    told.push(called(&it, begins("application/json", "{")).await);
    told.dedup();
    assert_snapshot!(told.join("\n"), @"504 upstream_timeout: The MCP server took too long (more of an answer that had begun); the tool may have run, so repeating the call may do its work twice");
    // A method that does nothing cannot have done anything.
    it.new.on("tools/list", begins("application/json", "{"));
    assert_snapshot!(it.modern("new", "tools/list", "").await.rpc_refusal(), @"200 504 upstream_timeout: The MCP server took too long (more of an answer that had begun)");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up_however_much_is_said_meanwhile() {
    let config = UpstreamConfig { total_timeout: Duration::from_millis(800), ..UpstreamConfig::default() };
    let it = Scene::within(config).await;
    it.new.on("tools/call", begins("application/json", "{"));
    let whole = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_snapshot!(whole.rpc_refusal(), @"200 504 upstream_timeout: The MCP server took too long (an answer); the tool may have run, so repeating the call may do its work twice");
    it.new.on("tools/call", |_| {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, Infallible>(": still here\n\n"), ()))
        });
        events(Body::from_stream(drip))
    });
    let streamed = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_snapshot!(streamed.text, @r#"
    event: message
    data: {"jsonrpc":"2.0","id":"c-1","error":{"code":504,"message":"The MCP server took too long (the end of a stream); the tool may have run, so repeating the call may do its work twice","data":{"error":"upstream_timeout","reason":"tool_may_have_run"}}}
    "#);
}

#[tokio::test]
async fn a_server_that_nobody_listens_at_or_that_is_not_allowed() {
    let it = Scene::set().await;
    let app = it.app();
    app.server("gone").at("http://127.0.0.1:1/mcp").await;
    app.server("inside").at("http://169.254.169.254/latest").await;
    let mut told = Vec::new();
    for server in ["gone", "inside"] {
        told.push(it.modern(server, "tools/call", r#""name":"t""#).await.rpc_refusal());
        told.push(app.initialize(server).as_user(&it.scenario.bob).await.rpc_refusal());
        told.push(it.post(server, r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).await.refusal());
    }
    assert_snapshot!(told.join("\n"), @"
    200 502 upstream_error: The MCP server cannot be reached
    200 502 upstream_error: The MCP server cannot be reached
    502 The MCP server cannot be reached
    200 502 upstream_error: The MCP server's address is refused: link-local addresses are not allowed
    200 502 upstream_error: The MCP server's address is refused: link-local addresses are not allowed
    502 The MCP server's address is refused: link-local addresses are not allowed
    ");
}

#[tokio::test]
async fn a_server_that_does_not_describe_itself() {
    let it = Scene::set().await;
    it.modern("new", "tools/list", "").await.ok();
    let mut told = Vec::new();
    for result in ["[]", "7", r#"{"supportedVersions":[],"supportedVersions":[]}"#] {
        it.new.answers("server/discover", result);
        told.push(it.app().initialize("new").as_user(&it.scenario.bob).await.rpc_refusal());
        told.push(it.modern("new", "server/discover", "").await.rpc_refusal());
    }
    it.new
        .on("server/discover", |heard| json(StatusCode::OK, heard.error(r#"{"code":-32603,"message":"m"}"#)));
    told.push(it.app().initialize("new").as_user(&it.scenario.bob).await.rpc_refusal());
    it.old.answers("initialize", r#"{"protocolVersion":"2999-01-01"}"#);
    told.push(it.modern("old", "tools/list", "").await.rpc_refusal());
    it.old.answers("initialize", "[]");
    told.push(it.modern("old", "server/discover", "").await.rpc_refusal());
    assert_snapshot!(told.join("\n"), @"
    200 502 upstream_error: The MCP server breaks the protocol: it does not describe itself
    200 502 upstream_error: The MCP server breaks the protocol: a result that is no object
    200 502 upstream_error: The MCP server breaks the protocol: it does not describe itself
    200 502 upstream_error: The MCP server breaks the protocol: a result that is no object
    200 502 upstream_error: The MCP server breaks the protocol: it does not describe itself
    200 502 upstream_error: The MCP server breaks the protocol: a result that is no object
    200 502 upstream_error: The MCP server breaks the protocol: it does not describe itself
    200 502 upstream_error: The MCP server breaks the protocol: no protocol version in common
    200 502 upstream_error: The MCP server breaks the protocol: no result of initialize: the body must be an object
    ");
}

#[tokio::test]
async fn an_event_id_cannot_hold_another_event() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    it.old.on("tools/call", |heard| events(format!("id: a\u{0}b\ndata: {}\n\n", heard.result("{}"))));
    let answer = it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await.ok();
    assert_eq!(answer.text, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"c-1\",\"result\":{}}\n\n");
}

#[tokio::test]
async fn a_server_that_answers_a_notification_with_whatever_has_taken_it() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let tell = || it.post("old", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).in_session(&session);
    let mut told = Vec::new();
    for (status, text) in
        [(200, ""), (200, "null"), (204, ""), (200, r#"{"ok":true}"#), (400, "{}"), (500, "oops")]
    {
        let status = StatusCode::from_u16(status).unwrap();
        it.old.on("notifications/x", move |_| json(status, text));
        let answer = tell().await;
        told.push(format!(
            "{status} {text}: {}",
            if answer.text.is_empty() { answer.status.to_string() } else { answer.refusal() }
        ));
    }
    it.old.on("notifications/x", |_| {
        events(Body::from_stream(stream::pending::<Result<String, Infallible>>()))
    });
    told.push(format!("events: {}", tell().await.status));
    assert_snapshot!(told.join("\n"), @r#"
    200 OK : 202 Accepted
    200 OK null: 202 Accepted
    204 No Content : 202 Accepted
    200 OK {"ok":true}: 202 Accepted
    400 Bad Request {}: 400 The MCP server refuses what the client sent: HTTP 400
    500 Internal Server Error oops: 502 The MCP server answered HTTP 500 Internal Server Error: "oops"
    events: 202 Accepted
    "#);
}
