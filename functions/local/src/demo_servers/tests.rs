use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Access, demo, demo_oauth};

async fn post(router: &Router, token: Option<&str>, modern: bool, message: &Value) -> Response {
    let version = if modern { "2026-07-28" } else { "2025-11-25" };
    let mut request = Request::post("/mcp/demo")
        .header("host", "127.0.0.1:8787")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", version);
    if modern {
        request = request.header("mcp-method", message["method"].as_str().unwrap());
        if let Some(name) = message["params"]["name"].as_str() {
            request = request.header("mcp-name", name);
        }
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    router.clone().oneshot(request.body(Body::from(message.to_string())).unwrap()).await.unwrap()
}

async fn result(response: Response) -> Value {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body);
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str::<Value>(&text).unwrap()["result"].take()
}

fn message(modern: bool, method: &str, mut params: Value) -> Value {
    if modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

async fn call(router: &Router, token: Option<&str>, tool: &str, arguments: Value) -> Value {
    let message = message(true, "tools/call", json!({"name": tool, "arguments": arguments}));
    result(post(router, token, true, &message).await).await
}

fn mounted() -> Router {
    Router::new().nest("/mcp/demo", demo())
}

/// `alices-token` has both scopes. A token with a `+` has only the scope after it.
fn alice(token: &str) -> Option<Access> {
    let scopes = match token.strip_prefix("alices-token")?.strip_prefix('+') {
        Some(scope) => vec![scope.to_owned()],
        None => ["chat:read", "chat:write"].map(str::to_owned).to_vec(),
    };
    Some(Access { user: "alice@acme-corp.example".to_owned(), scopes })
}

fn mounted_oauth() -> Router {
    Router::new().nest("/mcp/demo", demo_oauth(alice))
}

#[tokio::test]
async fn both_eras_list_the_tools_without_a_session() {
    for modern in [true, false] {
        let response = post(&mounted(), None, modern, &message(modern, "tools/list", json!({}))).await;
        assert!(response.headers().get("mcp-session-id").is_none());
        let list = result(response).await;
        let mut names: Vec<_> =
            list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["delete_repo", "list_repos"]);
    }
}

#[tokio::test]
async fn the_modern_era_is_discovered_and_the_other_greeted() {
    let discovered = post(&mounted(), None, true, &message(true, "server/discover", json!({}))).await;
    let versions = result(discovered).await["supportedVersions"].take();
    assert!(versions.as_array().unwrap().contains(&json!("2026-07-28")), "{versions}");

    let hello = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    });
    let greeted = result(post(&mounted(), None, false, &message(false, "initialize", hello)).await).await;
    assert_eq!(greeted["serverInfo"]["name"], "demo");
}

#[tokio::test]
async fn repositories_are_listed_the_same_every_time() {
    let first = call(&mounted(), None, "list_repos", json!({"org": "acme-corp"})).await;
    let again = call(&mounted(), None, "list_repos", json!({"org": "acme-corp"})).await;
    assert_eq!(first, again);
    assert_eq!(first["structuredContent"]["org"], "acme-corp");
    assert_eq!(first["structuredContent"]["repos"][4]["full_name"], "acme-corp/website");
    assert_ne!(first["isError"], true);
}

#[tokio::test]
async fn a_deleted_repository_is_still_there() {
    let website = json!({"org": "acme-corp", "repo": "website"});
    let deleted = call(&mounted(), None, "delete_repo", website.clone()).await;
    assert_eq!(deleted["structuredContent"], json!({"full_name": "acme-corp/website", "deleted": true}));
    assert_eq!(call(&mounted(), None, "delete_repo", website).await, deleted);
}

#[tokio::test]
async fn what_is_not_there_is_a_tools_error() {
    let gone = call(&mounted(), None, "delete_repo", json!({"org": "acme-corp", "repo": "no"})).await;
    assert_eq!(gone["isError"], true);
    let nowhere = call(&mounted(), None, "list_repos", json!({"org": "../etc"})).await;
    assert_eq!(nowhere["isError"], true);
}

const METADATA: &str =
    r#"resource_metadata="http://127.0.0.1:8787/.well-known/oauth-protected-resource/mcp/demo""#;

#[tokio::test]
async fn without_a_valid_token_the_answer_says_where_to_get_one() {
    for (token, challenge) in [
        (None, format!(r#"Bearer scope="chat:read", {METADATA}"#)),
        (Some("bobs-guess"), format!(r#"Bearer error="invalid_token", scope="chat:read", {METADATA}"#)),
    ] {
        let response = post(&mounted_oauth(), token, true, &message(true, "tools/list", json!({}))).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], challenge.as_str());
    }
}

#[tokio::test]
async fn a_token_without_the_scope_is_told_which_to_ask_for() {
    let post_message = json!({"name": "post_message", "arguments": {"channel": "random", "text": "hi"}});
    let list_channels = json!({"name": "list_channels", "arguments": {}});
    for (has, params, lacks) in
        [("chat:read", &post_message, "chat:write"), ("chat:write", &list_channels, "chat:read")]
    {
        let call = message(true, "tools/call", params.clone());
        let refused = post(&mounted_oauth(), Some(&format!("alices-token+{has}")), true, &call).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{lacks}", {METADATA}"#);
        assert_eq!(refused.headers()["www-authenticate"], challenge.as_str());
        let done = post(&mounted_oauth(), Some(&format!("alices-token+{lacks}")), true, &call).await;
        assert_eq!(done.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_tool_named_twice_does_not_get_past_the_scope() {
    for (first, second) in [("list_channels", "post_message"), ("post_message", "list_channels")] {
        let body = format!(
            r#"{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {{
                "name": "{first}", "name": "{second}", "arguments": {{"channel": "random", "text": "hi"}} }} }}"#
        );
        let request = Request::post("/mcp/demo")
            .header("host", "127.0.0.1:8787")
            .header("authorization", "Bearer alices-token+chat:read")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25");
        let answered = mounted_oauth().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let body = answered.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("posted"), "{first}, {second}");
    }
}

#[tokio::test]
async fn every_answer_says_whose_credentials_were_used() {
    for (tool, arguments) in [
        ("list_repos", json!({"org": "acme-corp"})),
        ("list_channels", json!({})),
        ("post_message", json!({"channel": "#general", "text": "hello"})),
    ] {
        let answer = call(&mounted_oauth(), Some("alices-token"), tool, arguments).await;
        assert_eq!(answer["structuredContent"]["acting_as"], "alice@acme-corp.example", "{answer}");
        let sentence = answer["content"][0]["text"].as_str().unwrap();
        assert!(sentence.starts_with("acting as alice@acme-corp.example: "), "{sentence}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_turned_away() {
    let mut request = Request::post("/mcp/demo")
        .header("host", "127.0.0.1:8787")
        .header("origin", "https://evil.example")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    request = request.header("mcp-protocol-version", "2025-11-25");
    let body = message(false, "tools/list", json!({})).to_string();
    let response = mounted().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}
