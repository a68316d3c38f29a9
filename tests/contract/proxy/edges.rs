//! What travels with a call besides its tool and arguments.

use deputize_service::edge::SourceIp;
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

#[tokio::test]
async fn the_callers_address_is_recorded_and_judged_and_no_header_can_claim_another() {
    let it = Permitted::without_policies().await;
    let inside = "permit(principal, action, resource) when {
        context has source_ip && context.source_ip.isInRange(ip(\"10.0.0.0/8\")) };";
    it.app().policy("inside", inside).await;
    let call = |address: &str| {
        let call = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob());
        call.header("x-forwarded-for", "10.9.9.9").with(SourceIp(address.parse().unwrap()))
    };
    let from_inside = call("10.1.2.3").await.ok();
    assert_snapshot!(it.app().event_of(&from_inside), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    policies: "[policy inside]"
    source_ip: "10.1.2.3"
    tool: "list_repos"
    "#);
    assert_snapshot!(call("192.0.2.1").await.refusal(), @"403 Policy denied");
    let unknown = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob());
    assert_snapshot!(unknown.header("x-forwarded-for", "10.9.9.9").await.refusal(), @"403 Policy denied");
}

/// RFC 6585 section 5. The answer is one that a program can read, at every endpoint and from a web page too.
#[tokio::test]
async fn a_request_with_too_many_headers_is_refused_in_our_own_words() {
    let it = Permitted::without_policies().await;
    let with = |path: &str, headers: usize| {
        let request = it.app().get(path).header("origin", "https://app.example.com");
        (1..headers).fold(request, |request, n| request.header(&format!("x-{n}"), "1"))
    };
    it.app().get("/healthz").await.ok();
    with("/healthz", 100).await.ok();
    assert_snapshot!(with("/healthz", 101).await, @r#"
    431 Request Header Fields Too Large
    access-control-allow-origin: https://app.example.com
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version

    {
      "error": "request_too_large",
      "error_description": "The request has more than 100 headers",
      "detail": "The request has more than 100 headers",
      "reason": "headers_too_many"
    }
    "#);
    for path in ["/api/v1/me", "/nowhere"] {
        assert_eq!(with(path, 200).await.refusal(), "431 The request has more than 100 headers", "{path}");
    }
    // One name that occurs often counts as often.
    let often = (0..101).fold(it.app().get("/healthz"), |request, _| request.header("x-one", "1"));
    assert_eq!(often.await.refusal(), "431 The request has more than 100 headers");
}

#[tokio::test]
async fn a_trace_is_carried_on_and_nothing_else_of_the_callers_headers() {
    let it = Permitted::set().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob());
    let call = call.header("traceparent", trace).header("tracestate", "vendor=1").header("baggage", "a=b");
    call.header("cookie", "session=1").header("x-custom", "1").await.ok();
    let seen = it.mcp.seen().into_iter().find(|seen| seen.body["method"] == "tools/call").unwrap();
    let sent = seen.body["params"]["_meta"]["traceparent"].as_str().unwrap();
    assert_eq!(seen.headers["traceparent"], sent);
    assert_eq!(seen.headers["tracestate"], "vendor=1");
    // The same trace, in which this call is its own span.
    assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && sent.ends_with("-01"), "{sent}");
    assert!(!sent.contains("b7ad6b7169203331"), "{sent}");
    assert!(
        !seen.headers.contains_key("baggage")
            && !seen.headers.contains_key("cookie")
            && !seen.headers.contains_key("x-custom")
    );
    let odd = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob());
    odd.header("traceparent", "nonsense").await.ok();
    let seen = it.mcp.seen().into_iter().rfind(|seen| seen.body["method"] == "tools/call").unwrap();
    assert_eq!(seen.body["params"]["_meta"]["traceparent"], json!(null));
    let begun = seen.headers["traceparent"].to_str().unwrap();
    assert!(begun.len() == 55 && !begun.contains("0af7651916cd43dd8448eb211c80319c"), "{begun}");
}
