//! The client that an admin registered at an authorization server: its secret goes to the issuer that it was
//! given for, with the client id that it was given for, and nowhere else.

use std::time::Duration;

use deputize_tests::{Provider, TestResponse};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Chat, acting_as, cookie, page_text};
use crate::scenario::Scenario;

const OURS: &str = "given for the first issuer";
const OTHERS: &str = "given for another";

/// The server `chat`, with a client at its authorization server.
async fn chat_with_a_client() -> Chat {
    let scenario = Scenario::start().await;
    let provider = Provider::start().await;
    provider.knows_client("by-hand", Some(OURS));
    scenario.app.permit_everything().await;
    let body = json!({
        "id": "chat", "name": "Chat", "url": provider.mcp_url(), "auth": "oauth",
        "oauth_client": { "issuer": provider.issuer(), "client_id": "by-hand", "client_secret": OURS },
    });
    scenario.app.post("/api/v1/servers").as_user(&scenario.alice).json(&body).await.ok();
    Chat { scenario, provider }
}

/// An admin sets another client.
async fn changed(chat: &Chat, client: Value) -> TestResponse {
    let body = json!({ "oauth_client": client });
    chat.scenario.app.patch("/api/v1/servers/chat").as_user(&chat.scenario.alice).json(&body).await.ok()
}

#[tokio::test]
async fn another_issuers_secret_is_not_sent_to_the_issuer_of_an_older_session() {
    let chat = chat_with_a_client().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    let other = Provider::start().await;
    let client = json!({ "issuer": other.issuer(), "client_id": "by-hand", "client_secret": OTHERS });
    changed(&chat, client).await;

    // An access token that still works is used.
    app.pass(Duration::from_secs(3590));
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.connection(bob).await.field("status"), "connected");
    app.pass(Duration::from_secs(10));
    let before = app.contents();
    assert_snapshot!(chat.call(bob).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="session_expired", error_description="OAuth session expired: it was made with another OAuth client than this server's is now, so its owner must connect to the server again, or an admin must put oauth_client right"

    {
      "error": "session_expired",
      "error_description": "OAuth session expired: it was made with another OAuth client than this server's is now, so its owner must connect to the server again, or an admin must put oauth_client right",
      "detail": "OAuth session expired: it was made with another OAuth client than this server's is now, so its owner must connect to the server again, or an admin must put oauth_client right",
      "reason": "session_of_other_client"
    }
    "#);
    assert_eq!(chat.provider.presented(), [OURS]);
    assert_eq!(other.log(), Vec::<String>::new());
    assert_eq!(chat.connection(bob).await.field("status"), "expired");
    assert_eq!(app.contents(), before, "nothing has ended");

    // An admin corrects it, and the session goes on.
    let client = json!({ "issuer": chat.provider.issuer(), "client_id": "by-hand", "client_secret": OURS });
    changed(&chat, client).await;
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.provider.presented(), [OURS, OURS]);
}

#[tokio::test]
async fn another_clients_secret_is_not_sent_with_the_client_id_of_an_older_session() {
    let chat = chat_with_a_client().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    chat.provider.knows_client("another", Some(OTHERS));
    let issuer = chat.provider.issuer();
    changed(&chat, json!({ "issuer": issuer, "client_id": "another", "client_secret": OTHERS })).await;
    app.pass(Duration::from_secs(3600));
    assert_eq!(chat.call(bob).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(chat.provider.presented(), [OURS]);

    // Carol's connection stores the new client. Bob's session does not use it.
    chat.connect(&chat.scenario.carol).await;
    assert_eq!(chat.call(bob).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(chat.provider.presented(), [OURS, OTHERS]);
    chat.connect(bob).await;
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
}

#[tokio::test]
async fn a_new_secret_of_the_same_client_is_used_from_the_next_refresh_on() {
    let chat = chat_with_a_client().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    chat.provider.knows_client("by-hand", Some("a new one"));
    let issuer = chat.provider.issuer();
    changed(&chat, json!({ "issuer": issuer, "client_id": "by-hand", "client_secret": "a new one" })).await;
    app.pass(Duration::from_secs(3600));
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
    assert_eq!(chat.provider.presented(), [OURS, "a new one"]);
}

#[tokio::test]
async fn another_issuers_secret_is_not_sent_with_a_code_of_a_connection_that_was_under_way() {
    for client_id in ["by-hand", "another"] {
        let chat = chat_with_a_client().await;
        let begun = chat.begin(&chat.scenario.bob).await.ok();
        let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
        let other = Provider::start().await;
        let client = json!({ "issuer": other.issuer(), "client_id": client_id, "client_secret": OTHERS });
        changed(&chat, client).await;
        let page = chat.scenario.app.get(back).header("cookie", &cookie(&begun)).await;
        assert_eq!(
            page_text(&page),
            "400 Not connected The server's oauth_client has been changed meanwhile; connect again."
        );
        assert_eq!(chat.provider.count("token authorization_code"), 0);
        assert_eq!((chat.provider.presented(), other.log()), (Vec::new(), Vec::new()));
    }
}

#[tokio::test]
async fn a_client_that_is_given_without_a_secret_does_not_keep_the_one_before_it() {
    let chat = chat_with_a_client().await;
    let other = Provider::start().await;
    other.knows_client("public", None);
    let answer = changed(&chat, json!({ "issuer": other.issuer(), "client_id": "public" })).await;
    assert_eq!(answer.json()["oauth_client"]["confidential"], false);
    // It is not sent to the server's new authorization server either.
    chat.provider.script().resource_metadata.extend([("authorization_servers", json!([other.issuer()]))]);
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let mut back = other.consent(&begun.field("authorization_url"), "bob");
    back = back.replace(&chat.provider.issuer(), &other.issuer());
    chat.scenario.app.get(back).header("cookie", &cookie(&begun)).await;
    assert_eq!(other.count("token authorization_code"), 1);
    assert_eq!(other.presented(), Vec::<String>::new());
}

#[tokio::test]
async fn a_secret_that_is_given_with_another_token_endpoint_is_not_sent_to_the_one_before() {
    let chat = chat_with_a_client().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    let issuer = chat.provider.issuer();
    let at = |endpoint: &str, secret: &str| {
        json!({
            "issuer": issuer, "client_id": "by-hand", "client_secret": secret, "pkce": "assume",
            "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}{endpoint}"),
        })
    };
    // By its metadata, then by an admin's endpoints, then by others, and by its metadata again.
    let before = [None, Some(at("/token", OURS)), Some(at("/token", OURS))];
    let by_metadata = json!({ "issuer": issuer, "client_id": "by-hand", "client_secret": OTHERS });
    let after = [at("/token", OTHERS), at("/other", OTHERS), by_metadata];
    for (before, after) in before.into_iter().zip(after) {
        if let Some(before) = before {
            changed(&chat, before).await;
        }
        chat.connect(bob).await;
        assert_eq!(acting_as(&chat.call(bob).await), "bob");
        changed(&chat, after).await;
        app.pass(Duration::from_secs(3600));
        let refused = chat.call(bob).await;
        assert_eq!(refused.json()["reason"], "session_of_other_client", "{refused}");
        assert!(!chat.provider.presented().iter().any(|secret| secret == OTHERS));
    }
}

#[tokio::test]
async fn what_an_admin_says_of_an_authorization_server_is_checked_and_shown() {
    let chat = chat_with_a_client().await;
    let (app, alice) = (&chat.scenario.app, &chat.scenario.alice);
    let given = |more: &Value| {
        let mut client = json!({ "issuer": "https://as.example", "client_id": "by-hand" });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.patch("/api/v1/servers/chat").as_user(alice).json(&json!({ "oauth_client": client }))
    };
    let mut refusals = Vec::new();
    for wrong in [
        json!({ "scope": "a\u{7}b" }),
        json!({ "scope": "" }),
        json!({ "authorization_parameters": { "redirect_uri": "https://evil.example" } }),
        json!({ "authorization_parameters": { "State": "x" } }),
        json!({ "authorization_parameters": { "code_challenge": null } }),
        json!({ "authorization_parameters": { "a b": "x" } }),
        json!({ "authorization_parameters": { "prompt": "" } }),
        json!({ "authorization_parameters": (0..21).map(|n| (format!("p{n}"), "x".into())).collect::<serde_json::Map<_, _>>() }),
        json!({ "resource": "not absolute" }),
        json!({ "resource": "https://as.example/#fragment" }),
        json!({ "pkce": "none" }),
        json!({ "token_endpoint": "https://as.example/token" }),
        json!({ "authorization_endpoint": "https://as.example/authorize", "token_endpoint": "https://as.example/token" }),
        json!({ "token_url": "https://as.example/token" }),
    ] {
        refusals.push(given(&wrong).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @r#"
    400 oauth_client.scope must be scope values separated by spaces (RFC 6749 section 3.3)
    400 oauth_client.scope must be scope values separated by spaces (RFC 6749 section 3.3)
    400 oauth_client.authorization_parameters: redirect_uri is the protocol's own parameter, or not a name of 1 to 64 letters, digits and -._
    400 oauth_client.authorization_parameters: State is the protocol's own parameter, or not a name of 1 to 64 letters, digits and -._
    400 oauth_client.authorization_parameters: code_challenge is the protocol's own parameter, or not a name of 1 to 64 letters, digits and -._
    400 oauth_client.authorization_parameters: a b is the protocol's own parameter, or not a name of 1 to 64 letters, digits and -._
    400 oauth_client.authorization_parameters.prompt must have 1 to 1000 characters and no control characters
    400 oauth_client.authorization_parameters must be at most 20
    400 oauth_client.resource must be null, or an absolute URI without a fragment (RFC 8707 section 2)
    400 oauth_client.resource must be null, or an absolute URI without a fragment (RFC 8707 section 2)
    400 oauth_client.pkce: must be required or assume
    400 oauth_client.authorization_endpoint and oauth_client.token_endpoint go together
    400 oauth_client.pkce must be "assume" where the endpoints are given: there is then no metadata that says whether PKCE with S256 is supported
    400 oauth_client.token_url: no such field; the fields here are issuer, client_id, client_secret, scope, authorization_parameters, resource, pkce, authorization_endpoint, token_endpoint
    "#);
    let shown = given(&json!({
        "scope": "read", "resource": null, "pkce": "assume",
        "authorization_parameters": { "audience": "api", "prompt": null },
        "authorization_endpoint": "https://as.example/authorize", "token_endpoint": "https://as.example/token",
    }))
    .await
    .ok();
    assert_snapshot!(shown.json()["oauth_client"].to_string(), @r#"{"issuer":"https://as.example","client_id":"by-hand","confidential":false,"scope":"read","authorization_parameters":{"audience":"api","prompt":null},"resource":null,"pkce":"assume","authorization_endpoint":"https://as.example/authorize","token_endpoint":"https://as.example/token","known_provider":null}"#);
    let known = given(&json!({ "issuer": "https://accounts.google.com" })).await.ok();
    assert_snapshot!(known.json()["oauth_client"].to_string(), @r#"{"issuer":"https://accounts.google.com","client_id":"by-hand","confidential":false,"known_provider":{"name":"Google","authorization_parameters":{"access_type":"offline","prompt":"consent"},"resource":null,"token_endpoint_auth_method":null,"sources":["https://developers.google.com/identity/protocols/oauth2/web-server","https://github.com/github/copilot-cli/issues/4606"]}}"#);
}

#[tokio::test]
async fn what_is_known_of_a_provider_gives_way_to_what_an_admin_says() {
    let chat = chat_with_a_client().await;
    let issuer = chat.provider.issuer();
    let settings = json!({
        "issuer": issuer, "client_id": "by-hand", "client_secret": OURS, "scope": "chat:write offline_access",
        "authorization_parameters": { "prompt": "login", "audience": "the api" }, "resource": "https://other.example/api",
    });
    changed(&chat, settings).await;
    let url: url::Url = chat.begin(&chat.scenario.bob).await.ok().field("authorization_url").parse().unwrap();
    let sent: std::collections::BTreeMap<_, _> = url.query_pairs().collect();
    assert_eq!(sent["scope"], "chat:write offline_access");
    assert_eq!((&*sent["prompt"], &*sent["audience"]), ("login", "the api"));
    assert_eq!(sent["resource"], "https://other.example/api");
}
