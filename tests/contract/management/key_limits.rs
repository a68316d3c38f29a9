//! What API keys are for: scopes, servers and an end, and that no key makes more than it is.

use std::time::Duration;

use deputize_core::{ids::ApiKeyId, table::Key};
use deputize_tests::{TestApp, TestRequest, TestResponse, User, jwt::SigningKey};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{proxy::Permitted, scenario::Scenario};

async fn create(app: &TestApp, user: &User, new: Value) -> TestResponse {
    let mut body = json!({ "name": "limited" });
    body.as_object_mut().unwrap().extend(new.as_object().unwrap().clone());
    app.post("/api/v1/api-keys").as_user(user).json(&body).await
}

/// A key's text.
async fn key(app: &TestApp, user: &User, new: Value) -> String {
    create(app, user, new).await.ok().field("key")
}

/// The refusals of requests, each with this key. Nothing may change.
async fn refused(app: &TestApp, key: &str, requests: Vec<TestRequest>) -> String {
    let before = app.contents();
    let mut refusals = Vec::new();
    for request in requests {
        refusals.push(request.bearer(key).await.refusal());
    }
    assert_eq!(app.contents(), before);
    refusals.join("\n")
}

#[tokio::test]
async fn a_key_is_shown_with_what_it_is_for() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    let new = json!({ "scopes": ["manage", "tools:call"], "server_ids": ["demo", "demo"], "expires_at": "2026-02-01T00:00:00.000Z" });
    assert_snapshot!(create(&app, &bob, new).await, @r#"
    201 Created

    {
      "id": "[uuid]",
      "name": "limited",
      "user_id": "[bob]",
      "scopes": [
        "tools:call",
        "manage"
      ],
      "server_ids": [
        "demo"
      ],
      "created_at": "2026-01-15T09:00:00.000Z",
      "expires_at": "2026-02-01T00:00:00.000Z",
      "key": "[API key]"
    }
    "#);
    let wrong = [
        json!({ "scopes": [] }),
        json!({ "scopes": ["manage:write"] }),
        json!({ "scopes": "manage" }),
        json!({ "server_ids": [] }),
        json!({ "server_ids": ["nowhere"] }),
    ];
    for wrong in wrong {
        assert_eq!(create(&app, &bob, wrong.clone()).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_key_that_reads_changes_nothing_and_is_told_which_scope_it_lacks() {
    let it = Permitted::set().await;
    let (app, bob) = (it.app(), it.bob());
    let reads = key(app, bob, json!({ "scopes": ["manage:read"] })).await;
    app.get("/api/v1/me").bearer(&reads).await.ok();
    app.get("/api/v1/delegations").bearer(&reads).await.ok();
    let check = json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "list_repos", "arguments": {} });
    app.post("/api/v1/policies/check").bearer(&reads).json(&check).await.ok();
    assert_snapshot!(app.post("/api/v1/api-keys").bearer(&reads).json(&json!({ "name": "more" })).await, @r#"
    403 Forbidden
    www-authenticate: Bearer realm="deputize", error="insufficient_scope", error_description="The API key lacks the scope manage: use a key that has it", scope="manage", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "insufficient_scope",
      "error_description": "The API key lacks the scope manage: use a key that has it",
      "detail": "The API key lacks the scope manage: use a key that has it",
      "reason": "insufficient_scope",
      "scope": "manage"
    }
    "#);
    assert_snapshot!(app.call("demo", "list_repos", &json!({})).bearer(&reads).await, @r#"
    403 Forbidden
    www-authenticate: Bearer realm="deputize", error="insufficient_scope", error_description="The API key lacks the scope tools:call: use a key that has it", scope="tools:call", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp"

    {
      "error": "insufficient_scope",
      "error_description": "The API key lacks the scope tools:call: use a key that has it",
      "detail": "The API key lacks the scope tools:call: use a key that has it",
      "reason": "insufficient_scope",
      "scope": "tools:call"
    }
    "#);
    // One of an admin's, and of the owner of an account.
    let alice = &it.scenario.alice;
    let reads = key(app, alice, json!({ "scopes": ["manage:read"] })).await;
    app.get("/api/v1/users").bearer(&reads).await.ok();
    let bot = format!("/api/v1/agent-accounts/{}", it.bot().id);
    app.get(format!("{bot}/secrets")).bearer(&reads).await.ok();
    let refused = refused(
        app,
        &reads,
        vec![
            app.patch(&bot).json(&json!({ "active": false })),
            app.post(format!("{bot}/secrets")),
            app.post("/api/v1/users").json(&json!({ "email": "new@example.com" })),
            app.post("/api/v1/signing-keys"),
            app.post("/api/v1/servers/demo/connect"),
        ],
    );
    assert_snapshot!(refused.await, @"
    403 The API key lacks the scope manage: use a key that has it
    403 The API key lacks the scope manage: use a key that has it
    403 The API key lacks the scope manage: use a key that has it
    403 The API key lacks the scope manage: use a key that has it
    403 The API key lacks the scope manage: use a key that has it
    ");
}

#[tokio::test]
async fn a_key_that_calls_tools_manages_nothing_and_one_that_manages_calls_none() {
    let it = Permitted::set().await;
    let (app, bob) = (it.app(), it.bob());
    let calls = key(app, bob, json!({ "scopes": ["tools:call"] })).await;
    app.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(&calls).await.ok();
    app.get("/api/v1/proxy/demo/tools").bearer(&calls).await.ok();
    assert_snapshot!(app.get("/api/v1/me").bearer(&calls).await, @r#"
    403 Forbidden
    www-authenticate: Bearer realm="deputize", error="insufficient_scope", error_description="The API key lacks the scope manage:read: use a key that has it", scope="manage:read", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"

    {
      "error": "insufficient_scope",
      "error_description": "The API key lacks the scope manage:read: use a key that has it",
      "detail": "The API key lacks the scope manage:read: use a key that has it",
      "reason": "insufficient_scope",
      "scope": "manage:read"
    }
    "#);
    let manages = key(app, bob, json!({ "scopes": ["manage"] })).await;
    app.get("/api/v1/me").bearer(&manages).await.ok();
    let calls = [
        app.call("demo", "list_repos", &json!({})).bearer(&manages).await,
        app.get("/api/v1/proxy/demo/tools").bearer(&manages).await,
        app.initialize("demo").bearer(&manages).await,
    ];
    for call in calls {
        let challenge = call.header("www-authenticate").unwrap();
        assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
        assert!(challenge.contains(r#"scope="tools:call""#), "{challenge}");
        assert_eq!(call.status, 403);
    }
}

#[tokio::test]
async fn a_refused_call_of_a_key_is_in_the_trail() {
    let it = Permitted::set().await;
    let manages = key(it.app(), it.bob(), json!({ "scopes": ["manage"] })).await;
    let call = it.app().call("demo", "list_repos", &json!({})).bearer(&manages).await;
    assert_snapshot!(it.app().event_of(&call), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "The API key lacks the scope tools:call: use a key that has it"
    outcome: "denied"
    tool: "list_repos"
    "#);
}

#[tokio::test]
async fn a_key_for_some_servers_is_refused_at_others() {
    let it = Permitted::set().await;
    let (app, bob) = (it.app(), it.bob());
    app.server("other").at(it.mcp.open_url()).await;
    let some = key(app, bob, json!({ "server_ids": ["other"] })).await;
    app.call("other", "list_repos", &json!({ "org": "acme-corp" })).bearer(&some).await.ok();
    assert_snapshot!(app.call("demo", "list_repos", &json!({})).bearer(&some).await, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "The API key is not for the server demo: use a key that is",
      "detail": "The API key is not for the server demo: use a key that is",
      "reason": "api_key_too_narrow"
    }
    "#);
    assert_eq!(app.get("/api/v1/proxy/demo/tools").bearer(&some).await.status, 403);
    assert_eq!(app.initialize("demo").bearer(&some).await.status, 403);
    assert_eq!(app.post("/api/v1/servers/demo/connect").bearer(&some).await.status, 403);
    assert_eq!(app.delete("/api/v1/servers/demo/connection").bearer(&some).await.status, 403);
}

#[tokio::test]
async fn an_admins_key_for_some_servers_has_none_of_an_admins_powers() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    let some = key(&app, &alice, json!({ "server_ids": ["demo"] })).await;
    app.get("/api/v1/me").bearer(&some).await.ok();
    let refused = refused(
        &app,
        &some,
        vec![
            app.get("/api/v1/users"),
            app.patch(format!("/api/v1/users/{}", bob.id)).json(&json!({ "role": "admin" })),
            app.patch("/api/v1/servers/demo").json(&json!({ "name": "mine" })),
            app.post("/api/v1/policies")
                .json(&json!({ "name": "x", "text": "permit(principal, action, resource);" })),
            app.post("/api/v1/agent-accounts").json(&json!({ "name": "new" })),
            app.post("/api/v1/signing-keys"),
        ],
    );
    let refused = refused.await;
    assert_eq!(refused.lines().count(), 6);
    assert!(refused.lines().all(|line| line == "403 The API key is for some servers only, so it has none of the powers of its user's role: use a key for all servers"), "{refused}");
}

#[tokio::test]
async fn no_key_makes_a_key_with_more_than_it_has() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    app.server("other").await;
    let narrow =
        json!({ "scopes": ["manage"], "server_ids": ["demo"], "expires_at": "2026-02-01T00:00:00.000Z" });
    let narrow = key(&app, &bob, narrow).await;
    let new = |more: Value| {
        let mut body = json!({ "name": "more", "scopes": ["manage"], "server_ids": ["demo"], "expires_at": "2026-02-01T00:00:00.000Z" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/api/v1/api-keys").json(&body)
    };
    let refused = refused(
        &app,
        &narrow,
        vec![
            new(json!({ "scopes": null })),
            new(json!({ "scopes": ["tools:call", "manage"] })),
            new(json!({ "server_ids": null })),
            new(json!({ "server_ids": ["demo", "other"] })),
            new(json!({ "expires_at": null })),
            new(json!({ "expires_at": "2026-02-01T00:00:00.001Z" })),
        ],
    );
    assert_snapshot!(refused.await, @"
    403 The API key lacks the scope tools:call: use a key that has it
    403 The API key lacks the scope tools:call: use a key that has it
    403 The API key is for some servers only, so what it makes cannot be for all: name servers of the key's, or use a key for all servers
    403 The API key is not for the server other: use a key that is
    403 The API key expires at 2026-02-01T00:00:00.000Z, so it makes nothing that lasts longer: give an expires_at until then if there is one, or use another credential
    403 The API key expires at 2026-02-01T00:00:00.000Z, so it makes nothing that lasts longer: give an expires_at until then if there is one, or use another credential
    ");
    new(json!({ "scopes": ["manage:read"] })).bearer(&narrow).await.ok();
}

#[tokio::test]
async fn what_a_key_makes_for_agents_has_no_more_than_the_key_and_ends_with_it() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let mcp = deputize_tests::McpServer::start().await;
    let chat = app.server("chat").at(mcp.oauth_url()).oauth().await;
    app.connect(&alice, &chat).await;
    let account = format!("/api/v1/agent-accounts/{}", bot.id);
    let makes = || {
        vec![
            app.post(format!("{account}/secrets")).json(&json!({})),
            app.post(format!("{account}/keys")).json(&json!({ "jwk": SigningKey::es256().jwk("k") })),
            app.post(format!("{account}/delegations")).json(&json!({})),
            app.post(format!("{account}/session-grants")).json(&json!({ "server_id": "chat" })),
        ]
    };
    let manages = key(&app, &alice, json!({ "scopes": ["manage"] })).await;
    let by_one_that_manages = refused(&app, &manages, makes()).await;
    assert!(
        by_one_that_manages
            .lines()
            .all(|line| line == "403 The API key lacks the scope tools:call: use a key that has it"),
        "{by_one_that_manages}"
    );
    let ends = key(&app, &alice, json!({ "expires_at": "2026-02-01T00:00:00.000Z" })).await;
    let by_one_that_ends = refused(&app, &ends, makes()).await;
    assert_eq!(by_one_that_ends.lines().count(), 4);
    assert!(
        by_one_that_ends.lines().all(|line| line.starts_with(
            "403 The API key expires at 2026-02-01T00:00:00.000Z, so it makes nothing that lasts longer"
        )),
        "{by_one_that_ends}"
    );
    app.server("demo").await;
    let some = key(&app, &alice, json!({ "server_ids": ["demo"] })).await;
    let by_one_for_some = refused(&app, &some, makes()).await;
    assert_eq!(by_one_for_some.lines().count(), 4);
    assert!(by_one_for_some.lines().all(|line| line.starts_with("403 The API key is ")), "{by_one_for_some}");

    // Within what it has, it makes all of these.
    let until = json!({ "expires_at": "2026-02-01T00:00:00.000Z" });
    app.post(format!("{account}/secrets")).bearer(&ends).json(&until).await.ok();
    app.post(format!("{account}/delegations")).bearer(&ends).json(&until).await.ok();
    let servers = json!({ "server_ids": ["demo"] });
    app.post(format!("{account}/delegations")).bearer(&some).json(&servers).await.ok();
    // A new account's first secret ends with the key.
    let made = app.post("/api/v1/agent-accounts").bearer(&ends).json(&json!({ "name": "new" })).await.ok();
    let secrets =
        app.get(format!("/api/v1/agent-accounts/{}/secrets", made.field("id"))).as_user(&alice).await;
    assert_eq!(secrets.json()[0]["expires_at"], "2026-02-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_deployment_bounds_how_long_keys_last() {
    let app = TestApp::start().await.with_settings(|settings| {
        settings.longest_api_key = Some(Duration::from_hours(24 * 30));
    });
    let bob = app.user("bob").await;
    assert_snapshot!(create(&app, &bob, json!({})).await.refusal(), @"400 expires_at must be given, and be within 30 days: API keys last no longer here");
    let too_late = json!({ "expires_at": "2026-02-14T09:00:00.001Z" });
    assert_eq!(create(&app, &bob, too_late).await.status, 400);
    create(&app, &bob, json!({ "expires_at": "2026-02-14T09:00:00.000Z" })).await.ok();
}

#[tokio::test]
async fn a_key_from_before_keys_had_scopes_is_for_everything_and_stays_so() {
    let it = Permitted::set().await;
    let (app, alice) = (it.app(), &it.scenario.alice);
    let made = create(app, alice, json!({ "expires_at": "2026-02-01T00:00:00.000Z" })).await.ok();
    let id = ApiKeyId(made.field("id").parse().unwrap());
    app.forget(&Key::api_key(alice.id, id), "scopes");
    let old = made.field("key");
    app.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(&old).await.ok();
    app.get("/api/v1/users").bearer(&old).await.ok();
    app.post(format!("/api/v1/agent-accounts/{}/delegations", it.bot().id))
        .bearer(&old)
        .json(&json!({}))
        .await
        .ok();
    let shown = app.get("/api/v1/api-keys").bearer(&old).await.ok().json();
    let shown = shown.as_array().unwrap().iter().find(|key| key["name"] == "limited").unwrap();
    assert_eq!(shown["scopes"], json!(["tools:call", "manage:read", "manage"]));
}
