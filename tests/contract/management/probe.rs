//! Looking at an MCP server before it is registered.

use axum::response::IntoResponse;
use deputize_tests::{
    Provider, TestResponse,
    mcp::{ProtocolEra, ScriptedServer, json as answer_json},
};
use http::{StatusCode, header};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

async fn probed(scenario: &Scenario, url: &str) -> TestResponse {
    let body = json!({ "url": url });
    scenario.app.post("/api/v1/servers/probe").as_user(&scenario.alice).json(&body).await
}

/// The answer without the ports, which differ from run to run.
fn shown(answer: &TestResponse, address: &str) -> String {
    answer.text.replace(address, "http://SERVER")
}

fn origin(url: &str) -> &str {
    &url[..url.rfind('/').unwrap()]
}

#[tokio::test]
async fn an_open_server_of_either_era_shows_its_name_and_its_tools() {
    let scenario = Scenario::start().await;
    let mut told = Vec::new();
    for era in [ProtocolEra::Modern, ProtocolEra::Handshake] {
        let server = ScriptedServer::start(era).await;
        let answer = probed(&scenario, server.url()).await.ok();
        told.push(answer.text.clone());
        // Nothing is left behind, and no credential was sent.
        assert_eq!(server.sessions(), 0);
        assert!(server.heard().iter().all(|heard| heard.header("authorization").is_none()));
    }
    assert_snapshot!(told.join("\n"), @r#"
    {"reachable":true,"problem":null,"era":"modern","protocol_version":"2026-07-28","name":"scripted","auth":"none","issuer":null,"tool_count":1,"tools":["t"],"better_url":null,"needs":[]}
    {"reachable":true,"problem":null,"era":"handshake","protocol_version":"2025-11-25","name":"scripted","auth":"none","issuer":null,"tool_count":1,"tools":["t"],"better_url":null,"needs":[]}
    "#);
}

#[tokio::test]
async fn a_probe_is_in_the_trail_and_registers_nothing() {
    let scenario = Scenario::start().await;
    let server = ScriptedServer::start(ProtocolEra::Modern).await;
    let before = scenario.app.get("/api/v1/servers").as_user(&scenario.alice).await.text;
    let url = format!("{}?key=secret", server.url());
    let answer = probed(&scenario, &url).await.ok();
    let event = scenario.app.event_of(&answer);
    assert_snapshot!(event, @r#"
    action: "server.probe"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "address:http://127.0.0.1:[port]/mcp"
    "#);
    assert_eq!(scenario.app.get("/api/v1/servers").as_user(&scenario.alice).await.text, before);
}

#[tokio::test]
async fn a_server_that_asks_for_oauth_names_its_issuer() {
    let scenario = Scenario::start().await;
    let provider = Provider::start().await;
    let answer = probed(&scenario, &provider.mcp_url()).await.ok();
    assert_snapshot!(shown(&answer, provider.address()), @r#"{"reachable":true,"problem":null,"era":null,"protocol_version":null,"name":null,"auth":"oauth","issuer":"http://SERVER/tenant","tool_count":null,"tools":null,"better_url":null,"needs":[]}"#);
}

#[tokio::test]
async fn a_server_that_asks_for_a_key_says_so_as_far_as_it_can() {
    let scenario = Scenario::start().await;
    let server = ScriptedServer::start(ProtocolEra::Handshake).await;
    for method in ["server/discover", "initialize"] {
        server.on(method, |_| StatusCode::UNAUTHORIZED.into_response());
    }
    let answer = probed(&scenario, server.url()).await.ok();
    assert_snapshot!(shown(&answer, origin(server.url())), @r#"{"reachable":true,"problem":"The MCP server has no protected resource metadata (RFC 9728), and no authorization server at its own address; register it with the issuer and a client in oauth_client","era":null,"protocol_version":null,"name":null,"auth":"header","issuer":null,"tool_count":null,"tools":null,"better_url":null,"needs":["header"]}"#);
    // Some list their tools to everybody, and are found out only when they are called.
    let lists = ScriptedServer::start(ProtocolEra::Handshake).await;
    lists.on("tools/list", |heard| {
        let tools: Vec<_> = (0..600).map(|n| json!({ "name": format!("t{n}"), "inputSchema": {} })).collect();
        answer_json(StatusCode::OK, heard.result(&json!({ "tools": tools }).to_string()))
    });
    let answer = probed(&scenario, lists.url()).await.ok().json();
    assert_eq!((&answer["tool_count"], answer["tools"].as_array().unwrap().len()), (&json!(600), 500));
}

#[tokio::test]
async fn an_address_that_redirects_or_has_no_server_says_what_is_there() {
    let scenario = Scenario::start().await;
    let (server, routes) = ScriptedServer::behind(ProtocolEra::Handshake);
    let moved = |to: &'static str| {
        axum::routing::any(move || async move { (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]) })
    };
    let routes = axum::Router::new()
        .route("/mcp", moved("/mcp/"))
        .route("/away", moved("https://mcp.example.com/mcp"))
        .route("/page", axum::routing::any(|| async { ([(header::CONTENT_TYPE, "text/html")], "<p>") }))
        .fallback_service(routes);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut told = Vec::new();
    for path in ["/mcp", "/away", "/page"] {
        told.push(shown(&probed(&scenario, &format!("{address}{path}")).await.ok(), &address));
    }
    for url in ["http://127.0.0.1:1/mcp", "http://169.254.169.254/latest/meta-data"] {
        told.push(probed(&scenario, url).await.ok().text);
    }
    assert_snapshot!(told.join("\n"), @r#"
    {"reachable":true,"problem":null,"era":"handshake","protocol_version":"2025-11-25","name":"scripted","auth":"none","issuer":null,"tool_count":1,"tools":["t"],"better_url":"http://SERVER/mcp/","needs":[]}
    {"reachable":false,"problem":"The MCP server redirects (308 Permanent Redirect) to https://mcp.example.com/mcp, which is not followed","era":null,"protocol_version":null,"name":null,"auth":null,"issuer":null,"tool_count":null,"tools":null,"better_url":null,"needs":[]}
    {"reachable":false,"problem":"The MCP server breaks the protocol: neither JSON nor events","era":null,"protocol_version":null,"name":null,"auth":null,"issuer":null,"tool_count":null,"tools":null,"better_url":null,"needs":[]}
    {"reachable":false,"problem":"The MCP server cannot be reached","era":null,"protocol_version":null,"name":null,"auth":null,"issuer":null,"tool_count":null,"tools":null,"better_url":null,"needs":[]}
    {"reachable":false,"problem":"The MCP server's address is refused: link-local addresses are not allowed","era":null,"protocol_version":null,"name":null,"auth":null,"issuer":null,"tool_count":null,"tools":null,"better_url":null,"needs":[]}
    "#);
    assert_eq!(server.sessions(), 0);
}

#[tokio::test]
async fn only_an_admin_may_probe_and_only_addresses() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, bot, .. } = &scenario;
    let server = ScriptedServer::start(ProtocolEra::Modern).await;
    let body = json!({ "url": server.url() });
    let agent = app.m2m(bot).await;
    let mut told = vec![
        app.post("/api/v1/servers/probe").json(&body).await.refusal(),
        app.post("/api/v1/servers/probe").as_user(bob).json(&body).await.refusal(),
        app.post("/api/v1/servers/probe").bearer(&agent).json(&body).await.refusal(),
    ];
    assert!(server.heard().is_empty());
    for body in [
        json!({}),
        json!({ "url": "file:///etc/passwd" }),
        json!({ "url": "https://user:pass@example.com/" }),
        json!({ "url": "https://example.com/#x" }),
        json!({ "url": format!("https://example.com/{}", "x".repeat(2048)) }),
        json!({ "url": "https://example.com/", "auth": "none" }),
    ] {
        told.push(app.post("/api/v1/servers/probe").as_user(alice).json(&body).await.refusal());
    }
    let named = json!({ "id": "probe", "name": "Probe", "url": "https://example.com/mcp" });
    told.push(app.post("/api/v1/servers").as_user(alice).json(&named).await.refusal());
    assert_snapshot!(told.join("\n"), @r#"
    401 Authentication is required: send a bearer token or an API key
    403 Only an admin may do this
    403 This endpoint needs a user: send a user JWT or an API key, not an agent token
    400 url: is missing
    400 url: must be an https or http URL of at most 2048 characters, without a fragment, user name or password
    400 url: must be an https or http URL of at most 2048 characters, without a fragment, user name or password
    400 url: must be an https or http URL of at most 2048 characters, without a fragment, user name or password
    400 url: must be an https or http URL of at most 2048 characters, without a fragment, user name or password
    400 auth: no such field; the only field here is url
    400 id: "probe" is reserved; choose another
    "#);
}
