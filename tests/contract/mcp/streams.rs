//! Streams: as they come, for as long as they last, and what is left of one that breaks.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use deputize_proxy::upstream::UpstreamConfig;
use deputize_service::lambda::Context;
use deputize_tests::mcp::events;
use futures::{StreamExt, channel::mpsc, poll, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use insta::assert_snapshot;
use serde_json::{Value, value::RawValue};

use super::Scene;
use crate::lambda::{v1, with_body, with_header};

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;

/// The next part of a body.
async fn next(body: &mut Body) -> String {
    let frame = body.frame().await.expect("the stream goes on").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

/// A body that ends when its sender does.
fn open() -> (mpsc::UnboundedSender<String>, Body) {
    let (says, heard) = mpsc::unbounded::<String>();
    (says, Body::from_stream(heard.map(Ok::<_, Infallible>)))
}

/// Makes a server answer the first request of a method with events that the test sends.
fn held(server: &deputize_tests::mcp::ScriptedServer, method: &str) -> mpsc::UnboundedSender<String> {
    let (says, body) = open();
    let body = std::sync::Mutex::new(Some(body));
    server.on(method, move |_| events(body.lock().unwrap().take().unwrap()));
    says
}

async fn event_that_was_left(it: &Scene, action: &str) -> Value {
    // It is stored in the background.
    loop {
        let trail = it.app().trail();
        if let Some(event) =
            trail.iter().find(|event| event["action"] == action && event["detail"] != Value::Null)
        {
            return event.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_a_server_says_on_the_way_is_heard_at_once_in_every_pairing() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    for (server, name, ask) in [
        (&it.new, "modern at new", it.modern("new", "tools/call", r#""name":"t""#)),
        (&it.old, "modern at old", it.modern("old", "tools/call", r#""name":"t""#)),
        (&it.new, "handshake at new", it.handshake("new", "tools/call", r#"{"name":"t"}"#)),
        (
            &it.old,
            "handshake at old",
            it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session),
        ),
    ] {
        let says = held(server, "tools/call");
        // Across eras, the first message decides whether the answer is a stream.
        says.unbounded_send(format!("data: {NOTE}\n\n")).unwrap();
        let mut body = ask.begin().await.into_body();
        assert_eq!(next(&mut body).await, format!("event: message\ndata: {NOTE}\n\n"), "{name}");
        says.unbounded_send(format!("data: {}\n\n", server.last("tools/call").result(r#"{"content":[]}"#)))
            .unwrap();
        let last = next(&mut body).await;
        assert!(last.contains(r#""id":"c-1","result":{"content":[]"#), "{name}: {last}");
        assert!(body.frame().await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn the_event_of_a_stream_is_stored_before_its_response_is_seen_and_not_before_it_comes() {
    let it = Scene::set().await;
    let before = it.app().trail().len();
    let says = held(&it.new, "tools/call");
    let mut body = it.modern("new", "tools/call", r#""name":"t""#).begin().await.into_body();
    says.unbounded_send(format!("data: {NOTE}\n\n")).unwrap();
    next(&mut body).await;
    assert_eq!(it.app().trail().len(), before);
    says.unbounded_send(format!("data: {}\n\n", it.new.last("tools/call").result("{}"))).unwrap();
    next(&mut body).await;
    assert_eq!(it.app().trail()[before]["outcome"], "allowed");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_a_stream_is_in_the_trail() {
    let it = Scene::set().await;
    let says = held(&it.new, "tools/call");
    let mut body = it.modern("new", "tools/call", r#""name":"t""#).begin().await.into_body();
    says.unbounded_send(format!("data: {NOTE}\n\n")).unwrap();
    next(&mut body).await;
    drop(body);
    let event = event_that_was_left(&it, "tool.call").await;
    assert_snapshot!(event["detail"], @r#""The caller went away before the answer; the tool may have run""#);
    assert_eq!(event["outcome"], "failed");
    // The connection is closed. That tells a modern server.
    while !says.is_closed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_event_of_a_call_that_was_broken_off_is_stored_before_lambda_can_freeze_the_process() {
    let it = Scene::set().await;
    let _says = held(&it.new, "tools/call");
    let (entry, _) = it.app().on_lambda();
    let event =
        with_header(v1("POST", "/api/v1/proxy/new/tools"), "x-runlayer-api-key", &it.scenario.bob.api_key);
    let event = with_body(event, r#"{"tool_name":"t"}"#).to_string();
    let (event, context) = (RawValue::from_string(event).unwrap(), Context::default());
    let mut answer = Box::pin(entry.buffered(&event, &context));
    while it.new.heard_of("tools/call").is_empty() {
        assert!(poll!(&mut answer).is_pending());
        tokio::task::yield_now().await;
    }
    drop(answer);
    let calls = || it.app().trail().into_iter().filter(|event| event["action"] == "tool.call").count();
    assert_eq!(calls(), 0);
    // As the runtime does before it asks for the next event.
    entry.finish_tasks(&context).await;
    assert_eq!(calls(), 1);
}

#[tokio::test]
async fn a_handshake_server_is_told_when_a_modern_client_goes_away() {
    let it = Scene::set().await;
    let says = held(&it.old, "tools/call");
    says.unbounded_send(format!("data: {NOTE}\n\n")).unwrap();
    let mut body = it.modern("old", "tools/call", r#""name":"t""#).begin().await.into_body();
    next(&mut body).await;
    let id = it.old.last("tools/call").message()["id"].clone();
    drop(body);
    while it.old.heard_of("notifications/cancelled").is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(it.old.last("notifications/cancelled").message()["params"]["requestId"], id);
    // And not if the client has stayed.
    it.old.answers("tools/call", "{}");
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    it.modern("old", "tools/list", "").await.ok();
    assert_eq!(it.old.heard_of("notifications/cancelled").len(), 1);
}

#[tokio::test]
async fn what_a_handshake_server_asks_goes_to_a_client_with_a_session_and_is_refused_for_one_without() {
    let it = Scene::set().await;
    let asks = r#"{"jsonrpc":"2.0","id":"s-1","method":"sampling/createMessage","params":{}}"#;
    it.old.on("tools/call", move |heard| {
        events(format!("data: {asks}\n\ndata: {}\n\n", heard.result(r#"{"content":[]}"#)))
    });
    let modern = it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    assert_snapshot!(modern.text, @r#"{"jsonrpc":"2.0","id":"c-1","result":{"content":[],"resultType":"complete"}}"#);
    let refusal = it.old.heard().into_iter().find(|heard| heard.message()["id"] == "s-1").unwrap();
    assert_snapshot!(refusal.text, @r#"{"jsonrpc":"2.0","id":"s-1","error":{"code":-32601,"message":"Method not found"}}"#);
    let session = it.session("old").await;
    let handshake = it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await.ok();
    assert!(handshake.text.contains(asks), "{}", handshake.text);
    let answer = r#"{"jsonrpc":"2.0","id":"s-1","result":{"role":"assistant"}}"#;
    assert_eq!(it.post("old", answer).in_session(&session).await.status, 202);
    assert_eq!(it.old.heard().last().unwrap().text, answer);
}

#[tokio::test]
async fn a_subscription_goes_on_after_its_first_event() {
    let it = Scene::set().await;
    let says = held(&it.new, "subscriptions/listen");
    let ask = it.modern("new", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let mut body = ask.begin().await.into_body();
    for note in ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"] {
        let note = format!(r#"{{"jsonrpc":"2.0","method":"{note}"}}"#);
        says.unbounded_send(format!("data: {note}\n\n")).unwrap();
        assert_eq!(next(&mut body).await, format!("event: message\ndata: {note}\n\n"));
    }
    drop(body);
    assert_eq!(event_that_was_left(&it, "mcp.request").await["subject"], "method:subscriptions/listen");
}

#[tokio::test]
async fn a_client_with_a_session_opens_its_stream_and_resumes_one_that_broke() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let get = || {
        it.app()
            .get("/api/v1/proxy/old/mcp")
            .as_user(&it.scenario.bob)
            .header("mcp-protocol-version", "2025-11-25")
    };
    assert_snapshot!(get().in_session(&session).await.refusal(), @"405 This endpoint has no such method");
    assert_snapshot!(get().await.refusal(), @"405 This endpoint has no such method");
    assert_snapshot!(it.app().get("/api/v1/proxy/new/mcp").as_user(&it.scenario.bob).await.refusal(), @"405 This endpoint has no such method");
    let list = r#"{"jsonrpc":"2.0","id":"c-9","result":{"tools":[{"name":"t"}]}}"#;
    it.old.on("GET", move |_| events(format!("id: 8\nretry: 5\ndata: {NOTE}\n\nid: 9\ndata: {list}\n\n")));
    let resumed = get().in_session(&session).header("last-event-id", "7").await.ok();
    assert_snapshot!(resumed.text, @r#"
    id: 8
    retry: 5
    event: message
    data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}

    id: 9
    event: message
    data: {"jsonrpc":"2.0","id":"c-9","result":{"tools":[{"name":"t"}]}}
    "#);
    let heard = it.old.last("GET");
    assert_eq!(heard.header("mcp-session-id"), Some("upstream-session-1"));
    assert_eq!(
        (heard.header("last-event-id"), heard.header("accept")),
        (Some("7"), Some("text/event-stream"))
    );
    assert_snapshot!(it.app().event_of(&resumed), @r#"
    action: "mcp.request"
    audit_server: "old"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "method:GET"
    "#);
}

#[tokio::test]
async fn a_sessions_stream_lasts_as_long_as_is_configured_and_is_resumed() {
    let last = Duration::from_millis(300);
    let it = Scene::within(UpstreamConfig { stream_total_timeout: last, ..UpstreamConfig::default() }).await;
    let session = it.session("old").await;
    let says = held(&it.old, "GET");
    says.unbounded_send(format!("id: 7\ndata: {NOTE}\n\n")).unwrap();
    let get = it.app().get("/api/v1/proxy/old/mcp").as_user(&it.scenario.bob);
    let begun = std::time::Instant::now();
    let mut body =
        get.header("mcp-protocol-version", "2025-11-25").in_session(&session).begin().await.into_body();
    assert!(next(&mut body).await.starts_with("id: 7\n"));
    // It ends without an error, so a client opens another one.
    assert!(body.frame().await.is_none());
    assert!(begun.elapsed() >= last);
}

#[tokio::test]
async fn where_streams_of_sessions_are_off_a_get_is_answered_as_where_a_server_has_none() {
    let it = Scene::within(UpstreamConfig { session_streams: false, ..UpstreamConfig::default() }).await;
    let session = it.session("old").await;
    let get = it.app().get("/api/v1/proxy/old/mcp").as_user(&it.scenario.bob);
    let refused = get.header("mcp-protocol-version", "2025-11-25").in_session(&session).await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, Some("POST, DELETE")));
    assert!(it.old.heard_of("GET").is_empty());
}

#[tokio::test]
async fn a_list_that_comes_by_a_resumed_stream_is_filtered_as_well() {
    let it = Scene::without_policies(deputize_proxy::upstream::UpstreamConfig::default()).await;
    it.app()
        .policy("t", r#"permit(principal, action == Action::"call_tool", resource == Tool::"old/t");"#)
        .await;
    let session = it.session("old").await;
    let list = r#"{"jsonrpc":"2.0","id":"c-9","result":{"tools":[{"name":"secret"},{"name":"t"}],"prompts":[{"name":"p"}]}}"#;
    it.old.on("GET", move |_| events(format!("data: {list}\n\n")));
    let resumed =
        it.app().get("/api/v1/proxy/old/mcp").as_user(&it.scenario.bob).in_session(&session).await.ok();
    assert_snapshot!(resumed.text, @r#"
    event: message
    data: {"jsonrpc":"2.0","id":"c-9","result":{"tools":[{"name":"t"}],"prompts":[]}}
    "#);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_error_that_says_what_may_have_happened() {
    let it = Scene::set().await;
    it.new.on("tools/call", |_| {
        let broken = stream::iter([Ok(format!("data: {NOTE}\n\n")), Err(std::io::Error::other("gone"))]);
        events(Body::from_stream(broken))
    });
    let answer = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_snapshot!(answer.text, @r#"{"jsonrpc":"2.0","id":"c-1","error":{"code":502,"message":"The connection to the MCP server broke; the tool may have run, so repeating the call may do its work twice","data":{"error":"upstream_error","reason":"tool_may_have_run"}}}"#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "new"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The connection to the MCP server broke; the tool may have run, so repeating the call may do its work twice"
    outcome: "failed"
    policies: "[policy everything]"
    tool: "t"
    "#);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(it.new.heard_of("tools/call").len(), 1);
}
