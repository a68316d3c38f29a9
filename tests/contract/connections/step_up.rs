//! A server that wants more than the session may do, and one that refuses a token before its time.

use deputize_tests::TestResponse;
use insta::assert_snapshot;
use serde_json::json;

use super::{Chat, acting_as, cookie};

async fn post_message(chat: &Chat) -> TestResponse {
    let arguments = json!({ "channel": "general", "text": "hello" });
    chat.scenario.app.call("chat", "post_message", &arguments).as_user(&chat.scenario.bob).await
}

#[tokio::test]
async fn an_insufficient_scope_says_what_to_reauthorize_and_where() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.script().posting_needs = Some("chat:write");
    chat.connect(bob).await;
    let refused = post_message(&chat).await;
    assert_snapshot!(refused, @r#"
    403 Forbidden

    {
      "error": "insufficient_scope",
      "error_description": "The OAuth session that was used lacks the scope chat:write at this server; its owner must reauthorize: POST https://deputize.test/api/v1/servers/chat/connect with {\"scope\": \"chat:write\"}, and open the authorization_url",
      "detail": "The OAuth session that was used lacks the scope chat:write at this server; its owner must reauthorize: POST https://deputize.test/api/v1/servers/chat/connect with {\"scope\": \"chat:write\"}, and open the authorization_url",
      "reason": "session_scope_missing",
      "scope": "chat:write"
    }
    "#);
    assert_snapshot!(app.event_of(&refused), @r#"
    action: "tool.call"
    arguments_sha256: "8f09d798e066f65cee63874b80ebcb0057952764bad0cbfa2c485e5fc7cd2862"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    credentials_of: "[bob]"
    detail: "The OAuth session that was used lacks the scope chat:write at this server; its owner must reauthorize: POST https://deputize.test/api/v1/servers/chat/connect with {\"scope\": \"chat:write\"}, and open the authorization_url"
    outcome: "denied"
    policies: "[policy everything]"
    tool: "post_message"
    "#);

    // As the error says. The earlier scopes are kept.
    let body = json!({ "scope": "chat:write" });
    let begun = app.post("/api/v1/servers/chat/connect").as_user(bob).json(&body).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    app.get(back).header("cookie", &cookie(&begun)).await.ok();
    assert_eq!(acting_as(&post_message(&chat).await), "bob");
    assert_eq!(chat.connection(bob).await.field("scope"), "chat:read chat:write");
}

#[tokio::test]
async fn a_token_that_is_refused_before_its_time_is_refreshed_and_the_call_repeated_once() {
    let chat = Chat::open().await;
    let bob = &chat.scenario.bob;
    chat.connect(bob).await;
    chat.provider.invalidate_access_tokens();
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.provider.count("token refresh_token"), 1);
    // Listing does the same, but not again at once: a server that refuses a new token has another reason.
    chat.provider.invalidate_access_tokens();
    let listed = chat.scenario.app.get("/api/v1/proxy/chat/tools").as_user(bob).await;
    assert_snapshot!(listed.refusal(), @"401 OAuth session expired");
    chat.scenario.app.pass(std::time::Duration::from_secs(61));
    chat.scenario.app.get("/api/v1/proxy/chat/tools").as_user(bob).await.ok();
    assert_eq!(chat.provider.count("token refresh_token"), 2);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_costs_one_refresh_a_minute() {
    let chat = Chat::open().await;
    let bob = &chat.scenario.bob;
    chat.connect(bob).await;
    chat.provider.script().server_refuses = true;
    for _ in 0..5 {
        assert_eq!(chat.call(bob).await.refusal(), "401 OAuth session expired");
    }
    assert_eq!(chat.provider.count("token refresh_token"), 1);
    // The session is not lost.
    chat.provider.script().server_refuses = false;
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
}
