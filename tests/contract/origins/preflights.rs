//! What a browser asks before it sends a page's request.

use deputize_tests::{TestApp, TestRequest};
use http::Method;
use insta::assert_snapshot;

use super::{PAGE, TRICKS, cors_headers, from};

fn options(app: &TestApp, path: &str) -> TestRequest {
    app.ask(Method::OPTIONS, path)
}

/// A browser's preflight for a page that wants to post JSON with a token.
fn preflight(app: &TestApp, path: &str) -> TestRequest {
    options(app, path)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_send_what_clients_send() {
    let app = TestApp::start().await;
    assert_snapshot!(from(PAGE, preflight(&app, "/api/v1/proxy/demo/tools")).await, @"
    200 OK
    access-control-allow-headers: authorization,content-type,x-runlayer-api-key,x-api-key,x-auth-token,mcp-protocol-version,mcp-session-id,mcp-method,mcp-name,last-event-id,traceparent,idempotency-key,if-match,if-none-match
    access-control-allow-methods: GET,POST,PUT,PATCH,DELETE
    access-control-allow-origin: https://app.example.com
    access-control-max-age: 7200
    vary: origin, access-control-request-headers
    ");
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_and_gets_no_cors_headers() {
    let app = TestApp::start().await;
    let answer = from("https://evil.example.com", preflight(&app, "/api/v1/proxy/demo/tools")).await;
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_snapshot!(answer, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "This origin is not allowed",
      "detail": "This origin is not allowed",
      "reason": "origin_not_allowed"
    }
    "#);
}

#[tokio::test]
async fn what_only_looks_like_an_allowed_origin_is_none() {
    let app = TestApp::start().await;
    for origin in TRICKS {
        let answer = from(origin, preflight(&app, "/api/v1/me")).await;
        assert_eq!((answer.status.as_u16(), cors_headers(&answer)), (403, vec![]), "{origin}");
    }
    for (first, second) in [(PAGE, "https://evil.example.com"), ("null", PAGE), (PAGE, PAGE)] {
        let answer = from(second, from(first, preflight(&app, "/api/v1/me"))).await;
        assert_eq!((answer.status.as_u16(), cors_headers(&answer)), (403, vec![]), "{first} and {second}");
    }
}

#[tokio::test]
async fn every_allowed_origin_is_answered_with_itself_and_so_is_our_own() {
    let app = TestApp::start().await;
    for origin in ["https://app.example.com", "http://localhost:5173", "https://deputize.test"] {
        let answer = from(origin, preflight(&app, "/api/v1/me")).await.ok();
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
}

#[tokio::test]
async fn a_preflight_does_not_tell_which_paths_there_are() {
    let app = TestApp::start().await;
    app.server("demo").await;
    // At the MCP endpoint any page may ask, whether or not there is such a server.
    let mcp = ["/api/v1/proxy/demo/mcp", "/api/v1/proxy/none/mcp", "/api/v1/proxy/no.ne/mcp/"];
    let others = ["/api/v1/proxy/demo/tools", "/api/v1/users/x", "/api/v1/nothing", "/nothing"];
    let cases = [PAGE, "https://evil.example.com"].map(|origin| [(origin, &mcp[..]), (origin, &others[..])]);
    for (origin, paths) in cases.into_iter().flatten() {
        let mut answers = Vec::new();
        for path in paths {
            for method in ["GET", "DELETE", "TRACE"] {
                let ask = options(&app, path).header("access-control-request-method", method);
                answers.push(from(origin, ask).await.to_string());
            }
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:#?}");
    }
}

#[tokio::test]
async fn a_preflight_asks_the_table_nothing_and_proves_nobody() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let before = app.trail().len();
    for origin in [PAGE, "https://evil.example.com"] {
        let ask = from(origin, preflight(&app, "/api/v1/me")).as_user(&bob);
        let (_, cost) = app.round_trips(ask.into_future()).await;
        assert_eq!(cost, []);
    }
    assert_eq!(app.trail().len(), before);
}

#[tokio::test]
async fn only_parameter_headers_are_allowed_by_their_beginning_and_not_without_end() {
    let app = TestApp::start().await;
    let asked =
        "authorization, Mcp-Param-Org,x-forwarded-for,mcp-param-,mcp-params,x-mcp-param-a,mcp-param-b c,*";
    let ask = options(&app, "/api/v1/proxy/demo/mcp").header("access-control-request-method", "POST");
    let answer = from(PAGE, ask.header("access-control-request-headers", asked)).await.ok();
    assert_snapshot!(answer.header("access-control-allow-headers").unwrap(), @"authorization,content-type,x-runlayer-api-key,x-api-key,x-auth-token,mcp-protocol-version,mcp-session-id,mcp-method,mcp-name,last-event-id,traceparent,idempotency-key,if-match,if-none-match,mcp-param-org,mcp-param-");

    let many: Vec<String> = (0..5_000).map(|n| format!("mcp-param-{n}")).collect();
    let ask = options(&app, "/api/v1/proxy/demo/mcp").header("access-control-request-method", "POST");
    let answer = from(PAGE, ask.header("access-control-request-headers", &many.join(","))).await.ok();
    let allowed = answer.header("access-control-allow-headers").unwrap();
    assert_eq!(allowed.matches("mcp-param-").count(), 32);
}

#[tokio::test]
async fn documents_for_everybody_may_be_asked_for_by_any_page_but_not_with_a_credential() {
    let app = TestApp::start().await;
    let ask = options(&app, "/.well-known/oauth-authorization-server")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization,mcp-protocol-version");
    assert_snapshot!(from("https://anybody.example", ask).await, @"
    200 OK
    access-control-allow-headers: content-type,mcp-protocol-version,traceparent
    access-control-allow-methods: GET
    access-control-allow-origin: *
    access-control-max-age: 7200
    ");
}

#[tokio::test]
async fn no_script_calls_where_a_connections_browser_comes_back_to() {
    let app = TestApp::start().await;
    let asked = from(PAGE, preflight(&app, "/api/v1/oauth/callback")).await;
    assert_eq!((asked.status.as_u16(), cors_headers(&asked)), (405, vec![]));
    for ask in [app.get("/api/v1/oauth/callback"), app.post("/api/v1/oauth/callback")] {
        assert_eq!(cors_headers(&from(PAGE, ask).await), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_a_request_like_all_others() {
    let app = TestApp::start().await;
    let asks = [
        options(&app, "/api/v1/me"),
        options(&app, "/api/v1/me").header("access-control-request-method", "GET"),
        from(PAGE, options(&app, "/api/v1/me")),
        options(&app, "/openapi.json"),
    ];
    for ask in asks {
        assert_eq!(ask.await.refusal(), "405 This endpoint has no such method");
    }
}
