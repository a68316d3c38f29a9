//! What the caller learns of an MCP server's failures, and what the trail keeps of them.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{
    McpServer, TestApp, TestResponse,
    upstream::{error_of, result_of},
};
use futures::{StreamExt, stream};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

struct Failing {
    scenario: Scenario,
    mcp: McpServer,
}

impl Failing {
    async fn with(answer: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static) -> Self {
        Self::within(UpstreamConfig::default(), answer).await
    }

    async fn within(
        config: UpstreamConfig,
        answer: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let scenario = Scenario::in_app(TestApp::start_with(config).await).await;
        let mcp = McpServer::answering(answer).await;
        scenario.app.server("demo").at(mcp.open_url()).await;
        scenario.app.permit_everything().await;
        Self { scenario, mcp }
    }

    async fn call(&self) -> TestResponse {
        self.scenario.app.call("demo", "t", &json!({ "secret": "hunter2" })).as_user(&self.scenario.bob).await
    }
}

#[tokio::test]
async fn a_server_that_nobody_listens_at() {
    let scenario = Scenario::start().await;
    scenario.app.permit_everything().await;
    scenario.app.server("demo").at("http://127.0.0.1:1/mcp").await;
    let answer = scenario.app.call("demo", "t", &json!({})).as_user(&scenario.bob).await;
    assert_snapshot!(answer, @r#"
    502 Bad Gateway

    {
      "error": "upstream_error",
      "error_description": "The MCP server cannot be reached",
      "detail": "The MCP server cannot be reached",
      "reason": "upstream_failed"
    }
    "#);
    assert_snapshot!(scenario.app.event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The MCP server cannot be reached"
    outcome: "failed"
    policies: "[policy everything]"
    tool: "t"
    "#);
}

#[tokio::test]
async fn a_server_at_an_address_that_is_not_allowed() {
    let scenario = Scenario::start().await;
    scenario.app.permit_everything().await;
    scenario.app.server("demo").at("http://169.254.169.254/latest/meta-data").await;
    let answer = scenario.app.call("demo", "t", &json!({})).as_user(&scenario.bob).await;
    assert_snapshot!(answer, @r#"
    502 Bad Gateway

    {
      "error": "upstream_error",
      "error_description": "The MCP server's address is refused: link-local addresses are not allowed",
      "detail": "The MCP server's address is refused: link-local addresses are not allowed",
      "reason": "upstream_failed"
    }
    "#);
}

#[tokio::test]
async fn a_server_that_takes_too_long() {
    let config = UpstreamConfig { total_timeout: Duration::from_millis(200), ..UpstreamConfig::default() };
    let it = Failing::within(config, |message| {
        // An answer that begins and does not end.
        let beginning = format!(r#"{{"jsonrpc":"2.0","id":{},"#, message["id"]);
        let beginning = stream::once(async { Ok::<_, Infallible>(beginning) });
        let body = Body::from_stream(beginning.chain(stream::pending()));
        ([("content-type", "application/json")], body).into_response()
    });
    let it = it.await;
    let answer = it.call().await;
    assert_snapshot!(answer, @r#"
    504 Gateway Timeout

    {
      "error": "upstream_timeout",
      "error_description": "The MCP server took too long (an answer); the tool may have run, so repeating the call may do its work twice",
      "detail": "The MCP server took too long (an answer); the tool may have run, so repeating the call may do its work twice",
      "reason": "tool_may_have_run"
    }
    "#);
    assert_snapshot!(it.scenario.app.event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "b9d265c19d7fcd97cdd4a49018334176747b5dadb9c651f3ef74a88da13c5f9e"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The MCP server took too long (an answer); the tool may have run, so repeating the call may do its work twice"
    outcome: "failed"
    policies: "[policy everything]"
    tool: "t"
    "#);
}

#[tokio::test]
async fn a_server_that_fails() {
    let it = Failing::with(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let answer = it.call().await;
    assert_snapshot!(answer, @r#"
    502 Bad Gateway

    {
      "error": "upstream_error",
      "error_description": "The MCP server answered HTTP 500 Internal Server Error; the tool may have run, so repeating the call may do its work twice",
      "detail": "The MCP server answered HTTP 500 Internal Server Error; the tool may have run, so repeating the call may do its work twice",
      "reason": "tool_may_have_run"
    }
    "#);
    assert_snapshot!(it.scenario.app.event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "b9d265c19d7fcd97cdd4a49018334176747b5dadb9c651f3ef74a88da13c5f9e"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The MCP server answered HTTP 500 Internal Server Error; the tool may have run, so repeating the call may do its work twice"
    outcome: "failed"
    policies: "[policy everything]"
    tool: "t"
    "#);
    assert_eq!(it.mcp.calls(), 1, "what may have run is not sent again");
}

#[tokio::test]
async fn a_server_that_talks_nonsense() {
    let it = Failing::with(|_| ([("content-type", "application/json")], "nonsense").into_response()).await;
    let answer = it.call().await;
    assert_eq!(answer.status, 502);
    assert_eq!(it.mcp.calls(), 1);
}

#[tokio::test]
async fn a_server_that_redirects() {
    let it = Failing::with(|_| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", "https://evil.example.com/")]).into_response()
    });
    assert_snapshot!(it.await.call().await, @r#"
    502 Bad Gateway

    {
      "error": "upstream_error",
      "error_description": "The MCP server redirects (307 Temporary Redirect) to https://evil.example.com/, which is not followed; if that is where it is now, register that address",
      "detail": "The MCP server redirects (307 Temporary Redirect) to https://evil.example.com/, which is not followed; if that is where it is now, register that address",
      "reason": "upstream_failed"
    }
    "#);
}

#[tokio::test]
async fn a_server_that_does_not_know_the_tool() {
    let it = Failing::with(|message| error_of(message, StatusCode::OK, -32602, "Unknown tool: t\u{7}")).await;
    let answer = it.call().await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "upstream_refused",
      "error_description": "Unknown tool or invalid arguments: Unknown tool: t ",
      "detail": "Unknown tool or invalid arguments: Unknown tool: t ",
      "reason": "tool_call_refused"
    }
    "#);
    assert_snapshot!(it.scenario.app.event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "b9d265c19d7fcd97cdd4a49018334176747b5dadb9c651f3ef74a88da13c5f9e"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "Unknown tool or invalid arguments: Unknown tool: t "
    outcome: "failed"
    policies: "[policy everything]"
    tool: "t"
    "#);
}

#[tokio::test]
async fn a_server_that_asks_for_a_credential_though_it_is_registered_as_asking_for_none() {
    let it = Failing::with(|_| StatusCode::UNAUTHORIZED.into_response()).await;
    let answer = it.call().await;
    assert_snapshot!(answer, @r#"
    502 Bad Gateway

    {
      "error": "upstream_error",
      "error_description": "The MCP server does not accept the credential; it is registered with auth \"none\": register it with auth \"oauth\" if it asks for OAuth, or with auth \"header\" if it asks for a key of its own",
      "detail": "The MCP server does not accept the credential; it is registered with auth \"none\": register it with auth \"oauth\" if it asks for OAuth, or with auth \"header\" if it asks for a key of its own",
      "reason": "upstream_failed"
    }
    "#);
}

#[tokio::test]
async fn a_tool_that_reports_an_error_has_been_called() {
    let failed = json!({ "content": [{ "type": "text", "text": "no such row" }], "isError": true });
    let it = Failing::with(move |message| result_of(message, &failed)).await;
    let answer = it.call().await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "content": [
        {
          "type": "text",
          "text": "no such row"
        }
      ],
      "isError": true
    }
    "#);
    assert_snapshot!(it.scenario.app.event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "b9d265c19d7fcd97cdd4a49018334176747b5dadb9c651f3ef74a88da13c5f9e"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The tool reported an error"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "t"
    "#);
}

#[tokio::test]
async fn a_result_with_fields_that_we_do_not_know_passes_untouched() {
    let odd = json!({ "content": [], "resultType": "complete", "_meta": { "vendor/key": [1, null] }, "future": { "a": 1 } });
    let expected = odd.clone();
    let it = Failing::with(move |message| result_of(message, &odd)).await;
    assert_eq!(it.call().await.ok().json(), expected);
}
