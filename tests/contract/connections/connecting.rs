//! From `POST …/connect` to a call with the session: what is asked of the provider, and who sees what.

use std::collections::BTreeMap;

use deputize_tests::{Provider, TestApp};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};
use url::Url;

use super::{Chat, acting_as, cookie, page_text};
use crate::scenario::Scenario;

fn query(url: &str) -> BTreeMap<String, String> {
    url.parse::<Url>().unwrap().query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_user_connects_once_and_agents_work_for_them() {
    let chat = Chat::open().await;
    let Scenario { app, bob, bot, .. } = &chat.scenario;
    let begun = chat.begin(bob).await.ok();
    assert_eq!(begun.json()["expires_in"], 600);
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    let page = app.get(back).header("cookie", &cookie(&begun)).await;
    assert_snapshot!(page_text(&page), @"200 Connected Agents that bob@example.com grants the use of this session can now work at chat . Nobody but this service sees its tokens. See who uses it , or close this page.");
    assert_snapshot!(app.event_of(&page), @r#"
    action: "connection.create"
    audit_server: "chat"
    audit_user: "[bob]"
    detail: "chat:read"
    outcome: "allowed"
    subject: "connection:chat"
    "#);
    assert_snapshot!(chat.connection(bob).await, @r#"
    200 OK

    {
      "server_id": "chat",
      "status": "connected",
      "connected_at": "2026-01-15T09:00:00.000Z",
      "expires_at": "2026-01-15T10:00:00.000Z",
      "renewable": true,
      "scope": "chat:read",
      "ended_because": null
    }
    "#);

    let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
    app.post(path).as_user(bob).json(&json!({ "server_id": "chat" })).await.ok();
    let token = app.obo(bot, bob).await;
    let called = app.call("chat", "list_channels", &json!({})).bearer(&token).await;
    assert_eq!(acting_as(&called), "bob");
}

#[tokio::test]
async fn the_authorization_request_is_bound_to_its_answer_and_to_the_server() {
    let chat = Chat::open().await;
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let mut sent = query(&begun.field("authorization_url"));
    assert!(sent["state"].len() >= 43 && sent["code_challenge"].len() == 43, "{sent:?}");
    for random in ["state", "code_challenge"] {
        sent.insert(random.to_owned(), "[random]".to_owned());
    }
    let sent: Vec<String> = sent.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_snapshot!(chat.scenario.app.shown(&sent.join("\n")), @"
    client_id=client-1
    code_challenge=[random]
    code_challenge_method=S256
    redirect_uri=https://deputize.test/api/v1/oauth/callback
    resource=http://127.0.0.1:[port]/team/mcp
    response_type=code
    scope=chat:read
    state=[random]
    ");
    assert_snapshot!(begun.header("set-cookie").unwrap().split_once(';').unwrap().1, @" HttpOnly; SameSite=Lax; Secure; Path=/api/v1/oauth/callback; Max-Age=600");
}

#[tokio::test]
async fn a_client_is_registered_once_for_all_users() {
    let chat = Chat::open().await;
    chat.connect(&chat.scenario.bob).await;
    chat.connect(&chat.scenario.carol).await;
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(chat.provider.count("register"), 1);
    assert_eq!(chat.provider.count("token authorization_code"), 3);
}

#[tokio::test]
async fn our_metadata_document_is_our_client_id_where_such_are_taken() {
    let chat = Chat::open().await;
    let supported = ("client_id_metadata_document_supported", true.into());
    chat.provider.script().metadata.extend([supported]);
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let client_id = query(&begun.field("authorization_url"))["client_id"].clone();
    assert_eq!(client_id, "https://deputize.test/api/v1/oauth/client-metadata.json");
    let document = chat.scenario.app.get("/api/v1/oauth/client-metadata.json").await.ok();
    assert_eq!(document.field("client_id"), client_id);
    assert_snapshot!(document, @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version
    cache-control: public, max-age=3600

    {
      "client_name": "Deputize",
      "client_uri": "https://deputize.test",
      "redirect_uris": [
        "https://deputize.test/api/v1/oauth/callback"
      ],
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "response_types": [
        "code"
      ],
      "application_type": "web",
      "token_endpoint_auth_method": "none",
      "client_id": "https://deputize.test/api/v1/oauth/client-metadata.json"
    }
    "#);
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
    assert_eq!(chat.provider.count("register"), 0);
}

#[tokio::test]
async fn a_client_that_an_admin_registered_is_used_at_its_issuer_and_nowhere_else() {
    let scenario = Scenario::start().await;
    let provider = Provider::start().await;
    provider.knows_client("by-hand", Some("a secret+of:theirs"));
    scenario.app.permit_everything().await;
    let register = async |issuer: String| {
        let body = json!({
            "id": "chat", "name": "Chat", "url": provider.mcp_url(), "auth": "oauth",
            "oauth_client": { "issuer": issuer, "client_id": "by-hand", "client_secret": "a secret+of:theirs" },
        });
        scenario.app.post("/api/v1/servers").as_user(&scenario.alice).json(&body).await
    };
    let registered = register(provider.issuer()).await.ok();
    assert_snapshot!(scenario.app.shown(&registered.json()["oauth_client"].to_string()), @r#"{"issuer":"http://127.0.0.1:[port]/tenant","client_id":"by-hand","confidential":true,"known_provider":null}"#);
    let chat = Chat { scenario, provider };
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
    assert_eq!(chat.provider.count("register"), 0);

    // The server now names another authorization server. The client is not used there.
    let other = Provider::start().await;
    chat.provider.script().resource_metadata.extend([("authorization_servers", json!([other.issuer()]))]);
    assert_snapshot!(chat.begin(&chat.scenario.bob).await.refusal(), @"502 The MCP server does not name the authorization server at which the client in oauth_client is registered, http://127.0.0.1:[port]/tenant; it names: http://127.0.0.1:[port]/tenant");
    assert_eq!(other.log(), Vec::<String>::new());
}

#[tokio::test]
async fn a_provider_that_registers_nobody_says_what_an_admin_has_to_do() {
    let chat = Chat::open().await;
    chat.provider.script().metadata.extend([("registration_endpoint", Value::Null)]);
    assert_snapshot!(chat.begin(&chat.scenario.bob).await.refusal(), @"502 The authorization server http://127.0.0.1:[port]/tenant registers no clients by itself; an admin must register one there, with the redirect URI https://deputize.test/api/v1/oauth/callback, and give it as the server's oauth_client");
}

#[tokio::test]
async fn a_refused_registration_is_told_in_the_providers_words() {
    let chat = Chat::open().await;
    let answers = [
        (
            StatusCode::BAD_REQUEST,
            json!({ "error": "invalid_redirect_uri", "error_description": "no\nhttp" }),
        ),
        (StatusCode::FORBIDDEN, json!("no")),
        (StatusCode::CREATED, json!({ "client_name": "Deputize" })),
        (StatusCode::CREATED, json!({ "client_id": "x", "token_endpoint_auth_method": "tls_client_auth" })),
        (
            StatusCode::CREATED,
            json!({ "client_id": "x", "token_endpoint_auth_method": "client_secret_basic" }),
        ),
    ];
    let mut refusals = Vec::new();
    for answer in answers {
        chat.provider.script().registration = Some(answer);
        refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    502 The authorization server refuses to register a client: invalid_redirect_uri: no http; an admin must register one there, with the redirect URI https://deputize.test/api/v1/oauth/callback, and give it as the server's oauth_client
    502 The authorization server refuses to register a client: HTTP 403 Forbidden; an admin must register one there, with the redirect URI https://deputize.test/api/v1/oauth/callback, and give it as the server's oauth_client
    502 The authorization server's answer to a registration is none
    502 The authorization server wants a client authentication that we do not know
    502 The authorization server registered a client without its secret
    ");
}

#[tokio::test]
async fn a_provider_that_forgot_our_client_gets_a_new_one_at_the_next_connection() {
    let chat = Chat::open().await;
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    chat.provider.forget_clients();
    let page = chat.scenario.app.get(back).header("cookie", &cookie(&begun)).await;
    assert_snapshot!(page_text(&page), @"502 Not connected The authorization server does not know this service as a client (invalid_client); connect again.");
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(chat.provider.count("register"), 2);
}

#[tokio::test]
async fn the_scope_is_the_challenges_else_the_metadatas() {
    let chat = Chat::open().await;
    let asked = async || query(&chat.begin(&chat.scenario.bob).await.ok().field("authorization_url"));
    assert_eq!(asked().await["scope"], "chat:read");
    chat.provider.script().challenge_scope = None;
    assert_eq!(asked().await["scope"], "chat:read chat:list");
    chat.provider.script().resource_metadata.extend([("scopes_supported", Value::Null)]);
    assert_eq!(asked().await.get("scope"), None);
    // If offline access is supported, it is requested, with consent (OpenID Connect Core section 11).
    chat.provider.script().metadata.extend([("scopes_supported", json!(["openid", "offline_access"]))]);
    let asked = asked().await;
    assert_eq!((&*asked["scope"], &*asked["prompt"]), ("offline_access", "consent"));
}

#[tokio::test]
async fn only_servers_that_ask_for_oauth_can_be_connected_to() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    app.server("open").await;
    let body = json!({ "scope": "a\"b" });
    let refusals = [
        app.post("/api/v1/servers/open/connect").as_user(&bob).await.refusal(),
        app.post("/api/v1/servers/nowhere/connect").as_user(&bob).await.refusal(),
        app.post("/api/v1/servers/open/connect").await.refusal(),
        app.post("/api/v1/servers/open/connect").as_user(&bob).json(&body).await.refusal(),
    ];
    assert_snapshot!(refusals.join("\n"), @"
    400 This server asks for no OAuth, so there is nothing to connect to
    404 No such server
    401 Authentication is required: send a bearer token or an API key
    400 scope must be scope values separated by spaces (RFC 6749 section 3.3)
    ");
}

#[tokio::test]
async fn no_token_of_a_provider_is_ever_stored_or_answered_in_the_clear() {
    let chat = Chat::open().await;
    let Scenario { app, bob, bot, .. } = &chat.scenario;
    let begun = chat.begin(bob).await.ok();
    let verifier_free = begun.text.clone();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    let page = app.get(back).header("cookie", &cookie(&begun)).await.ok();
    let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
    let grant = app.post(path).as_user(bob).json(&json!({ "server_id": "chat" })).await.ok();
    let called = chat.call(bob).await;
    let connection = chat.connection(bob).await;
    let table = format!("{:?}", app.contents());
    let given = chat.provider.given();
    assert!(given.len() >= 4, "a client secret, a code and two tokens: {given:?}");
    for secret in &given {
        for text in [&verifier_free, &page.text, &grant.text, &called.text, &connection.text, &table] {
            assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
        }
    }
}

#[tokio::test]
async fn sessions_of_a_server_that_was_moved_are_used_nowhere() {
    let chat = Chat::open().await;
    let Scenario { app, alice, bob, .. } = &chat.scenario;
    chat.connect(bob).await;
    let elsewhere = Provider::start().await;
    let body = json!({ "url": elsewhere.mcp_url() });
    app.patch("/api/v1/servers/chat").as_user(alice).json(&body).await.ok();
    assert_snapshot!(chat.call(bob).await.refusal(), @"401 OAuth session not found");
    assert_eq!(elsewhere.log(), Vec::<String>::new());
}

#[tokio::test]
async fn disconnecting_forgets_the_tokens() {
    let chat = Chat::open_in(TestApp::start().await).await;
    let bob = &chat.scenario.bob;
    chat.connect(bob).await;
    chat.scenario.app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
    assert_snapshot!(chat.call(bob).await.refusal(), @"401 OAuth session not found");
    assert_snapshot!(chat.connection(bob).await.refusal(), @"404 No such connection");
}
