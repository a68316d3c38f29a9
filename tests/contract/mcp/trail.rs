//! What the audit trail keeps of each kind of request, and that nothing is answered before it does.

use deputize_tests::{TestResponse, faults::Fault, mcp::json};
use http::StatusCode;
use insta::assert_snapshot;

use super::Scene;

/// An event without the fields that are the same in all of Bob's.
fn kept(it: &Scene, answer: &TestResponse) -> String {
    let event = it.app().event_of(answer);
    let same = ["audit_user", "credential:", "policies"];
    event
        .lines()
        .filter(|line| !same.iter().any(|same| line.starts_with(same)))
        .collect::<Vec<_>>()
        .join(", ")
}

#[tokio::test]
async fn every_kind_of_request_leaves_one_event() {
    let it = Scene::set().await;
    let mut trail = Vec::new();
    let initialize = it.app().initialize("old").as_user(&it.scenario.bob).await.ok();
    trail.push(kept(&it, &initialize));
    let session = initialize.session();
    it.old.answers("resources/read", r#"{"contents":[]}"#);
    it.old.answers("prompts/get", r#"{"messages":[]}"#);
    it.old.answers("com.example/x", "{}");
    it.old.answers("tools/call", r#"{"content":[],"isError":true}"#);
    for (method, params) in [
        ("tools/list", "{}"),
        ("tools/call", r#"{"name":"t","arguments":{"password":"hunter2"}}"#),
        ("resources/read", r#"{"uri":"file:///a"}"#),
        ("prompts/get", r#"{"name":"p","arguments":{"password":"hunter2"}}"#),
        ("prompts/list", "{}"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"}}"#),
        ("com.example/x", "{}"),
        ("ping", "{}"),
    ] {
        trail.push(kept(&it, &it.handshake("old", method, params).in_session(&session).await));
    }
    for text in [r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]
    {
        trail.push(kept(&it, &it.post("old", text).in_session(&session).await));
    }
    let path = "/api/v1/proxy/old/mcp";
    trail.push(kept(&it, &it.app().get(path).as_user(&it.scenario.bob).in_session(&session).await));
    trail.push(kept(&it, &it.app().delete(path).as_user(&it.scenario.bob).in_session(&session).await));
    trail.push(kept(&it, &it.handshake("old", "ping", "{}").in_session(&session).await));
    assert_snapshot!(trail.join("\n"), @r#"
    action: "mcp.request", audit_server: "old", outcome: "allowed", subject: "method:initialize"
    action: "tool.list", audit_server: "old", outcome: "allowed", subject: "method:tools/list"
    action: "tool.call", arguments_sha256: "7881d759c44f0e45f22a9ec1075a2b26a80da5dea5e08eb791d84468c4388222", audit_server: "old", detail: "The tool reported an error", outcome: "allowed", tool: "t"
    action: "resource.read", audit_server: "old", outcome: "allowed", subject: "resource:file:///a"
    action: "prompt.get", audit_server: "old", outcome: "allowed", subject: "prompt:p"
    action: "mcp.request", audit_server: "old", detail: "The MCP server answered error -32601", outcome: "failed", subject: "method:prompts/list"
    action: "prompt.get", audit_server: "old", detail: "The MCP server answered error -32601", outcome: "failed", subject: "prompt:p"
    action: "mcp.request", audit_server: "old", outcome: "allowed", subject: "method:com.example/x"
    action: "mcp.request", audit_server: "old", outcome: "allowed", subject: "method:ping"
    action: "mcp.request", audit_server: "old", outcome: "allowed", subject: "method:notifications/x"
    action: "mcp.request", audit_server: "old", outcome: "allowed", subject: "method:response"
    action: "mcp.request", audit_server: "old", detail: "This endpoint has no such method", outcome: "denied", subject: "method:GET"
    action: "mcp.request", audit_server: "old", outcome: "allowed", subject: "method:DELETE"
    action: "mcp.request", audit_server: "old", detail: "The session has ended", outcome: "denied", subject: "method:ping"
    "#);
    let all = serde_json::to_string(&it.app().trail()).unwrap();
    for secret in ["hunter2", "upstream-session", &session, &it.scenario.bob.api_key] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn an_agents_call_for_a_user_is_both_their_event() {
    let it = Scene::set().await;
    let token = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
    let answer = it
        .app()
        .modern("new", "tools/call", r#""name":"t","arguments":{"org":"acme"}"#)
        .bearer(&token)
        .await
        .ok();
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "new"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "t"
    "#);
}

#[tokio::test]
async fn an_error_of_the_servers_is_a_failure() {
    let it = Scene::set().await;
    it.new.on("tools/call", |heard| {
        json(StatusCode::OK, heard.error(r#"{"code":-32602,"message":"no such tool: hunter2"}"#))
    });
    let answer = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "new"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The MCP server answered error -32602"
    outcome: "failed"
    policies: "[policy everything]"
    tool: "t"
    "#);
}

#[tokio::test]
async fn what_is_no_message_and_who_proves_nothing_leave_no_event() {
    let it = Scene::set().await;
    let before = it.app().trail().len();
    it.post("new", "nonsense").await;
    it.app().modern("new", "tools/list", "").bearer("nonsense").await;
    it.app().modern("new", "tools/list", "").await;
    assert_eq!(it.app().trail().len(), before);
}

#[tokio::test]
async fn a_result_that_cannot_be_recorded_is_withheld() {
    let it = Scene::set().await;
    it.new.answers("tools/call", r#"{"content":[{"type":"text","text":"hunter2"}]}"#);
    it.new.on("com.example/events", |heard| {
        deputize_tests::mcp::events(format!("data: {}\n\n", heard.result(r#"{"text":"hunter2"}"#)))
    });
    let before = it.app().trail().len();
    it.app().faults.always_on("BatchWriteItem", Fault::Refused);
    let called = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_snapshot!(called, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": 503,
        "message": "The tool was called, but the audit trail could not be written, so its result is withheld",
        "data": {
          "error": "temporarily_unavailable",
          "reason": "tool_call_unrecorded"
        }
      }
    }
    "#);
    let streamed = it.modern("new", "com.example/events", "").await;
    assert_snapshot!(streamed.text, @r#"
    event: message
    data: {"jsonrpc":"2.0","id":"c-1","error":{"code":503,"message":"The request was carried out, but the audit trail could not be written, so its result is withheld","data":{"error":"temporarily_unavailable","reason":"request_unrecorded"}}}
    "#);
    it.app().faults.stop();
    assert_eq!(it.app().trail().len(), before);
    assert_eq!(it.new.heard_of("tools/call").len(), 1);
}

#[tokio::test]
async fn what_has_happened_is_said_of_each_kind_of_message_that_cannot_be_recorded() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    it.old.on("GET", |_| deputize_tests::mcp::events("id: 1\ndata:\n\n"));
    it.old.on("prompts/get", |_| json(StatusCode::OK, "nonsense"));
    it.app().faults.always_on("BatchWriteItem", Fault::Refused);
    let path = "/api/v1/proxy/old/mcp";
    let mut told = Vec::new();
    for ask in [
        it.handshake("old", "tools/call", r#"{"name":"t"}"#),
        it.handshake("old", "tools/list", "{}"),
        it.handshake("old", "prompts/get", r#"{"name":"p"}"#),
    ] {
        told.push(ask.in_session(&session).await.rpc_refusal());
    }
    for ask in [
        it.post("old", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
        it.app().get(path).as_user(&it.scenario.bob),
        it.app().delete(path).as_user(&it.scenario.bob),
    ] {
        told.push(ask.in_session(&session).await.refusal());
    }
    told.push(it.app().get("/api/v1/proxy/new/tools").as_user(&it.scenario.bob).await.refusal());
    assert_snapshot!(told.join("\n"), @"
    200 503 temporarily_unavailable: The tool was called, but the audit trail could not be written, so its result is withheld
    200 503 temporarily_unavailable: The request was carried out, but the audit trail could not be written, so its result is withheld
    200 503 temporarily_unavailable: The MCP server may have been reached, but the audit trail could not be written, so what came of it is withheld
    503 The message was taken, but the audit trail could not be written
    503 The stream was opened, but the audit trail could not be written, so it is withheld
    503 The session was ended, but the audit trail could not be written
    503 The request was carried out, but the audit trail could not be written, so its result is withheld
    ");
}

#[tokio::test]
async fn a_caller_who_cannot_be_judged_is_told_to_come_again() {
    let it = Scene::set().await;
    it.app().faults.always_on("BatchGetItem", Fault::TimedOut);
    let answer = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_snapshot!(answer, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; nothing was changed, try again",
      "detail": "The service is temporarily unavailable; nothing was changed, try again",
      "reason": "store_unavailable",
      "safe_to_retry": true
    }
    "#);
    assert!(it.new.heard().is_empty());
}
