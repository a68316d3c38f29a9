//! What a page may read of an answer, and above all of an error.

use std::sync::Arc;

use axum::{Router, body::Body, routing::get};
use deputize_service::edge;
use deputize_tests::{TestApp, TestRequest, faults::Fault};
use http::Request;
use insta::assert_snapshot;
use serde_json::json;
use tower::ServiceExt;

use super::{PAGE, TRICKS, cors_headers, from};
use crate::{mcp::Scene, scenario::Scenario};

#[tokio::test]
async fn a_page_of_an_allowed_origin_reads_the_answer() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let answer = from(PAGE, app.get("/api/v1/me").as_user(&bob)).await;
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_snapshot!(answer, @r#"
    200 OK
    access-control-allow-origin: https://app.example.com
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version

    {
      "id": "[bob]",
      "email": "bob@example.com",
      "name": "bob",
      "role": "user",
      "active": true,
      "is_active": true,
      "deactivated_by": null,
      "deactivated_at": null,
      "groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn a_page_of_another_origin_does_not() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    for origin in TRICKS {
        let answer = from(origin, app.get("/api/v1/me").as_user(&bob)).await.ok();
        assert_eq!((answer.header("vary"), cors_headers(&answer)), (Some("origin"), vec![]), "{origin}");
    }
    for (first, second) in [(PAGE, "https://evil.example.com"), ("null", PAGE), (PAGE, PAGE)] {
        let answer = from(second, from(first, app.get("/api/v1/me").as_user(&bob))).await.ok();
        assert_eq!(cors_headers(&answer), Vec::<&str>::new(), "{first} and {second}");
    }
}

#[tokio::test]
async fn what_is_no_page_gets_no_cors_headers_and_is_not_concerned() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let answer = app.get("/api/v1/me").as_user(&bob).await.ok();
    assert_eq!((answer.header("vary"), cors_headers(&answer)), (Some("origin"), vec![]));
}

#[tokio::test]
async fn a_page_reads_every_error() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let too_large = app.post("/api/v1/api-keys").as_user(&bob).body("application/json", vec![b' '; 70_000]);
    let mut told = Vec::new();
    let mut tell = async |ask: TestRequest| {
        let answer = from(PAGE, ask).await;
        let reader = answer.header("access-control-allow-origin").unwrap_or("nobody").to_owned();
        assert_eq!(answer.header("vary"), Some("origin"));
        told.push(format!("{reader}: {}", answer.refusal()));
    };
    tell(app.post("/api/v1/policies").as_user(&bob).json(&json!({}))).await;
    tell(app.get("/api/v1/me")).await;
    tell(app.get("/api/v1/users").as_user(&bob)).await;
    tell(app.get("/api/v1/nothing")).await;
    tell(app.put("/api/v1/me")).await;
    tell(too_large).await;
    tell(app.post("/api/v1/api-keys").as_user(&bob).body("text/plain", "{}")).await;
    app.faults.always(Fault::Throttled);
    tell(app.get("/api/v1/me").as_user(&bob)).await;
    assert_snapshot!(told.join("\n"), @"
    https://app.example.com: 400 name: is missing
    https://app.example.com: 401 Authentication is required: send a bearer token or an API key
    https://app.example.com: 403 Only an auditor, an operator or an admin may do this
    https://app.example.com: 404 No such endpoint
    https://app.example.com: 405 This endpoint has no such method
    https://app.example.com: 413 The body is larger than 65536 bytes
    https://app.example.com: 415 The body must be application/json
    https://app.example.com: 503 The service is temporarily unavailable; nothing was changed, try again
    ");
}

#[tokio::test]
async fn a_page_reads_that_a_handler_panicked() {
    async fn boom() -> &'static str {
        panic!("boom")
    }
    let app = TestApp::start().await;
    let router = edge::around(Router::new().route("/boom", get(boom)), Arc::clone(&app.core));
    let request = Request::get("/boom").header("origin", PAGE).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
}

#[tokio::test]
async fn documents_for_everybody_are_read_by_any_page() {
    let app = TestApp::start().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp",
        "/.well-known/nothing",
        "/api/v1/oauth/client-metadata.json",
        "/openapi.json",
    ] {
        for ask in
            [app.get(path), from("https://anybody.example", app.get(path)), from("null", app.get(path))]
        {
            let answer = ask.await;
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
        }
    }
}

#[tokio::test]
async fn nothing_that_takes_a_credential_is_for_everybody() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    // The endpoints where apps get tokens are: `apps::tokens_pages`.
    let paths =
        ["/api/v1/me", "/api/v1/oauth/introspect", "/api/v1/proxy/demo/tools", "/api/v1/servers", "/healthz"];
    for path in paths {
        let answer = from("https://anybody.example", app.get(path).as_user(&bob)).await;
        assert_eq!(cors_headers(&answer), Vec::<&str>::new(), "{path}");
    }
}

#[tokio::test]
async fn an_mcp_client_in_a_page_reads_its_session_and_its_challenge() {
    let it = Scene::set().await;
    let begun = from(PAGE, it.app().initialize("old").as_user(&it.scenario.bob)).await.ok();
    assert!(begun.header("mcp-session-id").is_some());
    let refused = from(PAGE, it.app().initialize("old")).await;
    assert!(refused.header("www-authenticate").unwrap().contains("resource_metadata"));
    for answer in [&begun, &refused] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        let readable = answer.header("access-control-expose-headers").unwrap();
        assert!(readable.contains("mcp-session-id") && readable.contains("www-authenticate"), "{readable}");
    }
}

#[tokio::test]
async fn the_mcp_endpoint_decides_by_the_same_list_for_agent_accounts() {
    let it = Scene::set().await;
    let tokens =
        [it.app().m2m(&it.scenario.bot).await, it.app().obo(&it.scenario.bot, &it.scenario.bob).await];
    for origin in [PAGE, "http://localhost:5173", "https://deputize.test"] {
        from(origin, it.app().initialize("old").bearer(&tokens[0])).await.ok();
    }
    let heard = it.old.heard().len();
    for origin in TRICKS {
        for token in &tokens {
            let answer = from(origin, it.app().initialize("old").bearer(token)).await;
            assert_eq!(answer.rpc_refusal(), "403 -32600: This origin is not allowed", "{origin}");
        }
    }
    assert_eq!(it.old.heard().len(), heard);
}

/// Web clients of MCP come from anywhere, and a bearer token is no cookie.
#[tokio::test]
async fn the_mcp_endpoint_answers_any_page_with_a_persons_token_and_the_page_reads_it() {
    let it = Scene::set().await;
    let (app, bob) = (it.app(), &it.scenario.bob);
    let tokens = [app.allow_tools(bob).await.token, bob.api_key.clone(), app.login.token("bob")];
    for origin in TRICKS {
        for token in &tokens {
            let begun = from(origin, app.initialize("old").bearer(token)).await.ok();
            assert_eq!(begun.header("access-control-allow-origin"), Some(origin));
            assert_eq!(begun.header("access-control-allow-credentials"), None);
            assert!(begun.header("access-control-expose-headers").unwrap().contains("mcp-session-id"));
        }
    }
    // What is none of the forms of the header is no page.
    let twice = from("https://evil.example.com", from(PAGE, app.initialize("old").bearer(&tokens[0]))).await;
    assert_eq!((twice.status.as_u16(), cors_headers(&twice)), (403, vec![]));
    // At the JSON endpoints the deployment's list decides who reads an answer, as before.
    let json = from(TRICKS[0], app.call("new", "t", &json!({})).bearer(&tokens[0])).await.ok();
    assert_eq!(cors_headers(&json), Vec::<&str>::new());
}

#[tokio::test]
async fn any_page_reads_the_challenge_of_the_mcp_endpoint_and_may_ask_before() {
    let it = Scene::set().await;
    let refused = from("https://anybody.example", it.app().initialize("old")).await;
    assert_snapshot!(refused, @r#"
    401 Unauthorized
    access-control-allow-origin: https://anybody.example
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version
    www-authenticate: Bearer realm="deputize", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/old/mcp", scope="tools:call"

    {
      "error": "unauthorized",
      "error_description": "Authentication is required: send a bearer token or an API key",
      "detail": "Authentication is required: send a bearer token or an API key",
      "reason": "credential_missing"
    }
    "#);
    let ask = it
        .app()
        .ask(http::Method::OPTIONS, "/api/v1/proxy/old/mcp")
        .header("access-control-request-method", "POST");
    let asked = ask.header("access-control-request-headers", "authorization,content-type,mcp-param-a");
    assert_snapshot!(from("https://anybody.example", asked).await, @"
    200 OK
    access-control-allow-headers: authorization,content-type,x-runlayer-api-key,x-api-key,x-auth-token,mcp-protocol-version,mcp-session-id,mcp-method,mcp-name,last-event-id,traceparent,idempotency-key,if-match,if-none-match,mcp-param-a
    access-control-allow-methods: GET,POST,PUT,PATCH,DELETE
    access-control-allow-origin: https://anybody.example
    access-control-max-age: 7200
    vary: origin, access-control-request-headers
    ");
    assert!(it.old.heard().is_empty());
}
