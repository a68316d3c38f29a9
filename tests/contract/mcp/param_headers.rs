//! `Mcp-Param-*` headers in front of a handshake server: it knows none of them, so we compare them with the body.

use deputize_tests::{TestRequest, mcp::json};
use http::StatusCode;
use insta::assert_snapshot;

use super::Scene;

/// A handshake server with a tool that requires its region in a header.
async fn with_a_region() -> Scene {
    let it = Scene::set().await;
    it.old.on("tools/list", |heard| {
        let tools = r#"{"tools":[{"name":"t","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}}},{"name":"plain","inputSchema":{}}]}"#;
        json(StatusCode::OK, heard.result(tools))
    });
    it
}

fn call(it: &Scene, tool: &str, region: &str) -> TestRequest {
    it.modern("old", "tools/call", &format!(r#""name":"{tool}","arguments":{{"region":"{region}"}}"#))
}

#[tokio::test]
async fn a_header_that_says_something_else_than_the_body_is_refused_before_the_server_is_called() {
    let it = with_a_region().await;
    let told = call(&it, "t", "eu").header("mcp-param-region", "us").await;
    assert_snapshot!(told, @r#"
    400 Bad Request

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": -32020,
        "message": "Header mismatch: mcp-param-region does not match the body"
      }
    }
    "#);
    assert_eq!(it.old.heard_of("tools/call").len(), 0);
    assert!(it.app().event_of(&told).contains(r#"outcome: "denied""#));
    call(&it, "t", "eu").header("mcp-param-region", "eu").await.ok();
    call(&it, "t", "eu").header("mcp-param-region", "=?base64?ZXU=?=").await.ok();
    assert_eq!(it.old.heard_of("tools/call").len(), 2);
}

#[tokio::test]
async fn the_servers_list_is_asked_for_once_and_only_if_there_are_such_headers() {
    let it = with_a_region().await;
    call(&it, "t", "eu").await.ok();
    assert_eq!(it.old.heard_of("tools/list").len(), 0);
    for _ in 0..2 {
        call(&it, "t", "eu").header("mcp-param-region", "eu").await.ok();
    }
    assert_eq!(it.old.heard_of("tools/list").len(), 1);
    // Now it is known that the header is missing.
    assert_snapshot!(call(&it, "t", "eu").await.rpc_refusal(), @"400 -32020: Header mismatch: mcp-param-region does not match the body");
}

#[tokio::test]
async fn headers_that_no_tool_asks_for_are_nobodys_concern() {
    let it = with_a_region().await;
    call(&it, "plain", "eu").header("mcp-param-region", "us").await.ok();
    call(&it, "t", "eu").header("mcp-param-region", "eu").header("mcp-param-other", "x").await.ok();
    assert!(it.old.heard().iter().all(|heard| heard.header("mcp-param-other").is_none()));
}
