//! MCP servers, and one's connections to them.

use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

#[tokio::test]
async fn an_admin_registers_a_server_by_a_name_or_gets_one() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let body =
        json!({ "id": "wiki", "name": "Wiki", "url": "https://wiki.example.com/mcp", "auth": "oauth" });
    let answer = app.post("/api/v1/servers").as_user(&alice).json(&body).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "wiki",
      "name": "Wiki",
      "url": "https://wiki.example.com/mcp",
      "auth": "oauth",
      "header_name": null,
      "oauth_client": null,
      "pinning": "off",
      "active": true,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "server.create"
    audit_server: "wiki"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "server:wiki"
    "#);
    let unnamed = json!({ "name": "Other", "url": "https://other.example.com/mcp" });
    assert_snapshot!(app.post("/api/v1/servers").as_user(&alice).json(&unnamed).await, @r#"
    201 Created

    {
      "id": "[uuid]",
      "name": "Other",
      "url": "https://other.example.com/mcp",
      "auth": "none",
      "header_name": null,
      "oauth_client": null,
      "pinning": "off",
      "active": true,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn an_id_is_one_servers() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.server("demo").await;
    let before = app.contents();
    let body = json!({ "id": "demo", "name": "Another", "url": "https://another.example.com/mcp" });
    assert_snapshot!(app.post("/api/v1/servers").as_user(&alice).json(&body).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "a server with that id exists",
      "detail": "a server with that id exists",
      "reason": "already_exists",
      "conflict": {
        "kind": "server",
        "id": "demo"
      }
    }
    "#);
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn everybody_sees_servers_and_only_an_admin_changes_them() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    assert_snapshot!(app.get("/api/v1/servers").as_user(&bob).await, @r#"
    200 OK

    [
      {
        "id": "demo",
        "name": "demo",
        "url": "https://demo.example.com/mcp",
        "auth": "none",
        "header_name": null,
        "oauth_client": null,
        "pinning": "off",
        "active": true,
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z"
      }
    ]
    "#);
    let before = app.contents();
    let answers = [
        app.post("/api/v1/servers")
            .as_user(&bob)
            .json(&json!({ "name": "x", "url": "https://x.example.com" }))
            .await,
        app.patch("/api/v1/servers/demo").as_user(&bob).json(&json!({ "active": false })).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an admin may do this
    403 Only an operator or an admin may do this
    ");
    assert_eq!(app.contents(), before);
    let body = json!({ "name": "Demo", "url": "https://moved.example.com/mcp", "active": false });
    assert_snapshot!(app.patch("/api/v1/servers/demo").as_user(&alice).json(&body).await, @r#"
    200 OK

    {
      "id": "demo",
      "name": "Demo",
      "url": "https://moved.example.com/mcp",
      "auth": "none",
      "header_name": null,
      "oauth_client": null,
      "pinning": "off",
      "active": false,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn what_a_server_cannot_be_is_refused_by_field() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let before = app.contents();
    let url = "https://x.example.com/mcp";
    let mut refusals = Vec::new();
    for body in [
        json!({ "name": "x" }),
        json!({ "url": url }),
        json!({ "id": "A", "name": "x", "url": url }),
        json!({ "id": "a/b", "name": "x", "url": url }),
        json!({ "id": "a".repeat(65), "name": "x", "url": url }),
        json!({ "name": "x", "url": "ftp://x.example.com" }),
        json!({ "name": "x", "url": "https://user:password@x.example.com" }),
        json!({ "name": "x", "url": url, "auth": "basic" }),
    ] {
        refusals.push(app.post("/api/v1/servers").as_user(&alice).json(&body).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 url: is missing
    400 name: is missing
    400 id: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit
    400 id: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit
    400 id: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit
    400 url: must begin with https:// or http://
    400 url: must not contain a user name or password
    400 auth: must be none, oauth or header
    ");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn a_user_sees_and_ends_their_own_connection() {
    let Scenario { app, bob, carol, .. } = Scenario::start().await;
    let chat = app.server("chat").oauth().await;
    app.connect(&bob, &chat).await;
    let path = "/api/v1/servers/chat/connection";
    let connection = app.get(path).as_user(&bob).await;
    assert_snapshot!(connection, @r#"
    200 OK

    {
      "server_id": "chat",
      "status": "connected",
      "connected_at": "2026-01-15T09:00:00.000Z",
      "expires_at": "2026-02-14T09:00:00.000Z",
      "renewable": false,
      "scope": null,
      "ended_because": null
    }
    "#);
    assert_snapshot!(app.get(path).as_user(&carol).await.refusal(), @"404 No such connection");
    assert_snapshot!(app.delete(path).as_user(&carol).await.refusal(), @"404 No such connection");
    let ended = app.delete(path).as_user(&bob).await;
    assert_snapshot!(ended, @"204 No Content");
    assert_snapshot!(app.event_of(&ended), @r#"
    action: "connection.delete"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "the provider offers no revocation"
    outcome: "allowed"
    subject: "connection:chat"
    "#);
    assert_eq!(app.get(path).as_user(&bob).await.status, 404);
}

#[tokio::test]
async fn an_upstream_token_is_nowhere_in_the_table_as_it_is() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let chat = app.server("chat").oauth().await;
    app.connect(&bob, &chat).await;
    assert!(!format!("{:?}", app.contents()).contains("upstream-token-of"));
}
