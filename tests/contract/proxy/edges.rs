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
