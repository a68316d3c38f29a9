//! The bytes of bodies that a process holds at the same time: what finds no room is refused, and all room is given back.

use deputize_core::in_flight::{MAX_IN_FLIGHT, TakenRoom};
use deputize_tests::{McpServer, TestApp, TestRequest, upstream::result_of};
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

/// Leaves room for so many bytes, until what it returns is dropped.
fn room_for(app: &TestApp, bytes: usize) -> TakenRoom {
    let mut others = app.core.in_flight.of_one_body();
    others.grow(MAX_IN_FLIGHT - app.core.in_flight.taken() - bytes).unwrap();
    others
}

const CALL: &str = r#"{"tool_name":"list_repos","arguments":{"org":"acme"}}"#;

fn call(it: &Permitted) -> TestRequest {
    it.app().post("/api/v1/proxy/demo/tools").as_user(it.bob()).body("application/json", CALL)
}

#[tokio::test]
async fn a_body_that_finds_no_room_is_refused_and_comes_through_later() {
    let it = Permitted::set().await;
    let before = it.app().trail().len();
    let others = room_for(it.app(), CALL.len() - 1);
    assert_snapshot!(call(&it).await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is busy with the bodies of other requests; nothing was done, try again",
      "detail": "The service is busy with the bodies of other requests; nothing was done, try again",
      "reason": "service_busy",
      "safe_to_retry": true
    }
    "#);
    assert_eq!((it.mcp.calls(), it.app().trail().len()), (0, before));
    drop(others);
    call(&it).await.ok();
}

#[tokio::test]
async fn every_endpoint_keeps_to_the_bound() {
    let it = Permitted::set().await;
    let _others = room_for(it.app(), 1);
    let token = it.app().token_for(it.bot(), &[]).await;
    assert_eq!((token.status.as_u16(), token.header("retry-after")), (503, Some("1")));
    let grant = json!({ "name": "bot" });
    let made = it.app().post("/api/v1/agent-accounts").as_user(it.bob()).json(&grant).await;
    assert_eq!((made.status.as_u16(), made.header("retry-after")), (503, Some("1")));
    let message = it.app().modern("demo", "tools/list", "").as_user(it.bob()).await;
    assert_eq!((message.status.as_u16(), message.header("retry-after")), (503, Some("1")));
    assert_eq!(it.app().get("/api/v1/me").as_user(it.bob()).await.status, 200, "no body, no bound");
}

#[tokio::test]
async fn all_room_is_given_back_whatever_became_of_the_request() {
    let it = Permitted::set().await;
    let large = json!({ "org": "x".repeat(100_000) });
    for request in [
        call(&it),
        it.app().call("demo", "list_repos", &large).as_user(it.bob()),
        it.app().call("demo", "no-such-tool", &large).as_user(it.bob()),
        it.app().call("nowhere", "list_repos", &large).as_user(it.bob()),
        it.app()
            .post("/api/v1/proxy/demo/tools")
            .as_user(it.bob())
            .body("application/json", "{".repeat(1000)),
        it.app()
            .post("/api/v1/proxy/demo/tools")
            .as_user(it.bob())
            .body("application/json", "x".repeat(5_000_000)),
        it.app().modern("demo", "tools/list", "").as_user(it.bob()),
        it.app().mcp("demo", "[".repeat(1000)).as_user(it.bob()),
    ] {
        request.await;
        assert_eq!(it.app().core.in_flight.taken(), 0);
    }
}

#[tokio::test]
async fn a_large_argument_reaches_the_server_byte_for_byte() {
    let it = Permitted::without_policies().await;
    it.app().permit_everything().await;
    let server = McpServer::answering(|message| result_of(message, &json!({ "content": [] }))).await;
    it.app().server("plain").at(server.open_url()).await;
    let text = "\u{e9}x".repeat(100_000);
    let arguments = json!({ "b": text, "a": [1.0, text] });
    it.app().call("plain", "t", &arguments).as_user(it.bob()).await.ok();
    let fields = format!(r#""name":"t","arguments":{arguments}"#);
    it.app().modern("plain", "tools/call", &fields).as_user(it.bob()).await.ok();
    let calls = server.seen().into_iter().filter(|seen| seen.body["method"] == "tools/call");
    let seen: Vec<_> = calls.collect();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.body["params"]["arguments"], arguments);
        // Its length is known to the server before it comes.
        assert!(seen.headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn an_answer_that_finds_no_room_is_withheld_and_the_caller_told_that_the_tool_may_have_run() {
    let it = Permitted::set().await;
    let answer = || json!({ "content": [{ "type": "text", "text": "x".repeat(100_000) }] });
    let server = McpServer::answering(move |message| result_of(message, &answer())).await;
    it.app().server("plain").at(server.open_url()).await;
    let call = || it.app().call("plain", "t", &json!({})).as_user(it.bob());
    call().await.ok();
    let others = room_for(it.app(), 50_000);
    assert_snapshot!(call().await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The MCP server's answer found no room beside those of other requests; the tool may have run, so repeating the call may do its work twice",
      "detail": "The MCP server's answer found no room beside those of other requests; the tool may have run, so repeating the call may do its work twice",
      "reason": "tool_may_have_run",
      "safe_to_retry": false
    }
    "#);
    assert_eq!(it.app().core.in_flight.taken(), MAX_IN_FLIGHT - 50_000);
    drop(others);
    call().await.ok();
    assert_eq!(server.calls(), 3);
}
