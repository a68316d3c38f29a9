//! Servers that want the same header from everybody.

use deputize_tests::McpServer;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

const SECRET: &str = "sk_live_0123456789";

fn registration(url: &str, more: &Value) -> Value {
    let mut body = json!({ "id": "api", "name": "API", "url": url, "auth": "header" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_registered_header_is_sent_and_never_shown() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    app.permit_everything().await;
    let upstream = McpServer::start().await;
    let header = json!({ "header": { "name": "X-Api-Key", "value": SECRET } });
    let registered =
        app.post("/api/v1/servers").as_user(&alice).json(&registration(&upstream.open_url(), &header)).await;
    assert_snapshot!(registered, @r#"
    201 Created

    {
      "id": "api",
      "name": "API",
      "url": "http://127.0.0.1:[port]/open",
      "auth": "header",
      "header_name": "X-Api-Key",
      "oauth_client": null,
      "pinning": "off",
      "active": true,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    let shown = app.get("/api/v1/servers/api").as_user(&bob).await.ok();
    let call = json!({ "org": "acme-corp" });
    let (m2m, obo) = (app.m2m(&bot).await, app.obo(&bot, &bob).await);
    let called = [
        app.call("api", "list_repos", &call).bearer(&m2m).await.ok(),
        app.call("api", "list_repos", &call).bearer(&obo).await.ok(),
        app.call("api", "list_repos", &call).as_user(&bob).await.ok(),
    ];
    for seen in upstream.seen() {
        assert_eq!(seen.headers["x-api-key"], SECRET);
        assert!(!seen.headers.contains_key("authorization"));
    }
    let table = format!("{:?}", app.contents());
    for text in [&registered.text, &shown.text, &table, &called[0].text] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn a_header_goes_where_it_was_given_for_and_nowhere_else() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let header = json!({ "header": { "name": "X-Api-Key", "value": SECRET } });
    let body = registration("https://api.example.com/mcp", &header);
    app.post("/api/v1/servers").as_user(&alice).json(&body).await.ok();
    let change = async |body: Value| app.patch("/api/v1/servers/api").as_user(&alice).json(&body).await;
    assert_snapshot!(change(json!({ "url": "https://evil.example/mcp" })).await.refusal(), @"400 Give the header again with a new url");
    change(json!({ "url": "https://new.example.com/mcp", "header": header["header"] })).await.ok();
    change(json!({ "name": "Another name" })).await.ok();
}

#[tokio::test]
async fn what_cannot_be_a_servers_header_or_client_is_refused_by_field() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let client = json!({ "issuer": "https://login.example.com", "client_id": "x" });
    let mut refusals = Vec::new();
    for (auth, more) in [
        ("header", json!({})),
        ("none", json!({ "header": { "name": "X-Api-Key", "value": "x" } })),
        ("header", json!({ "header": { "name": "X-Api-Key" } })),
        ("header", json!({ "header": { "name": "X-Api-Key", "value": "a\r\nX-Evil: 1" } })),
        ("header", json!({ "header": { "name": "X-Api-Key", "value": " a" } })),
        ("header", json!({ "header": { "name": "X Api Key", "value": "a" } })),
        ("header", json!({ "header": { "name": "Content-Length", "value": "0" } })),
        ("header", json!({ "header": { "name": "MCP-Session-Id", "value": "a" } })),
        ("none", json!({ "oauth_client": client })),
        ("oauth", json!({ "oauth_client": { "issuer": "ftp://x", "client_id": "x" } })),
    ] {
        let mut body = registration("https://api.example.com/mcp", &more);
        body["auth"] = auth.into();
        refusals.push(app.post("/api/v1/servers").as_user(&alice).json(&body).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @r#"
    400 A header goes with auth "header", and the other way round
    400 A header goes with auth "header", and the other way round
    400 header.value: is missing
    400 header.value: must have 1 to 4096 visible ASCII characters, and no space at an end
    400 header.value: must have 1 to 4096 visible ASCII characters, and no space at an end
    400 header.name: must be a header's name of at most 128 characters
    400 header.name: is a header that is ours to set
    400 header.name: is a header that is ours to set
    400 An oauth_client goes with auth "oauth"
    400 oauth_client.issuer: must begin with https:// or http://
    "#);
}

#[tokio::test]
async fn a_server_that_refuses_the_header_is_an_admins_business() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.permit_everything().await;
    let upstream = McpServer::start().await;
    let header = json!({ "header": { "name": "X-Api-Key", "value": SECRET } });
    // This server requires a bearer token.
    let body = registration(&upstream.oauth_url(), &header);
    app.post("/api/v1/servers").as_user(&alice).json(&body).await.ok();
    let refused = app.call("api", "list_repos", &json!({ "org": "acme-corp" })).as_user(&bob).await;
    assert_snapshot!(refused.refusal(), @"502 The MCP server does not accept the credential; an admin must give the header of its registration anew");
}
