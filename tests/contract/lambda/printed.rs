//! The line of metrics that each request prints (`CloudWatch`'s embedded metric format).

use deputize_tests::TestApp;
use serde_json::{Value, json};

use super::{answer, v1, v2, with_body, with_header};
use crate::{proxy::Permitted, scenario::Scenario};

/// A line without the values that differ from run to run.
fn shown(mut line: Value) -> Value {
    assert!(line["Latency"].is_number() && line["RequestId"].is_string(), "{line}");
    assert_eq!(line["TraceId"].as_str().unwrap().len(), 32);
    assert!(line["TimeToAnswer"].as_f64().unwrap() <= line["Latency"].as_f64().unwrap(), "{line}");
    for field in ["Latency", "TimeToAnswer", "RequestId", "TraceId", "_aws"] {
        line.as_object_mut().unwrap().remove(field);
    }
    line
}

#[tokio::test]
async fn a_line_has_the_form_that_cloudwatch_reads() {
    let it = Scenario::start().await;
    let (entry, lines) = it.app.on_lambda();
    answer(&entry, &v1("GET", "/healthz")).await;
    let line = lines.one();
    let about = &line["_aws"];
    assert!(about["Timestamp"].as_u64().unwrap() > 1_600_000_000_000, "{line}");
    let directive = &about["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "Deputize");
    assert_eq!(directive["Dimensions"], json!([["Function", "Route"], ["Function"]]));
    assert_eq!(
        directive["Metrics"],
        json!([
            { "Name": "Requests", "Unit": "Count" },
            { "Name": "Errors", "Unit": "Count" },
            { "Name": "UpstreamErrors", "Unit": "Count" },
            { "Name": "Denied", "Unit": "Count" },
            { "Name": "Unauthorized", "Unit": "Count" },
            { "Name": "Latency", "Unit": "Milliseconds" },
            { "Name": "TimeToAnswer", "Unit": "Milliseconds" },
            { "Name": "UpstreamLatency", "Unit": "Milliseconds" },
        ])
    );
    assert_eq!(
        shown(line),
        json!({
            "Function": "all", "Route": "/healthz", "Method": "GET", "Status": 200,
            "Requests": 1, "Errors": 0, "UpstreamErrors": 0, "Denied": 0, "Unauthorized": 0,
        })
    );
}

#[tokio::test]
async fn an_error_of_a_servers_is_counted_as_its_own() {
    let it = Permitted::set().await;
    it.app().server("away").at("http://127.0.0.1:9/mcp").await;
    let (entry, lines) = it.app().on_lambda();
    let event = with_header(v1("POST", "/api/v1/proxy/away/tools"), "x-runlayer-api-key", &it.bob().api_key);
    let call = json!({ "tool_name": "t", "arguments": {} });
    assert_eq!(answer(&entry, &with_body(event, &call.to_string())).await["statusCode"], 502);
    let counted = |line: Value| (line["Errors"].clone(), line["UpstreamErrors"].clone());
    assert_eq!(counted(lines.one()), (json!(1), json!(1)));
    // An error of our own is not counted there.
    let (new, lines) = TestApp::before_bootstrap().await.on_lambda();
    assert_eq!(answer(&new, &v1("GET", "/healthz")).await["statusCode"], 503);
    assert_eq!(counted(lines.one()), (json!(1), json!(0)));
}

#[tokio::test]
async fn a_route_is_the_codes_path_and_not_the_callers() {
    let it = Scenario::start().await;
    let (entry, lines) = it.app.on_lambda();
    for path in ["/api/v1/users/1", "/api/v1/users/2", "/nothing/1", "/nothing/2"] {
        answer(&entry, &v2("GET", path, "$default")).await;
    }
    answer(&entry, &json!({})).await;
    let lines = lines.all();
    let routes: Vec<_> = lines.iter().map(|line| line["Route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["/api/v1/users/{user_id}", "/api/v1/users/{user_id}", "-", "-", "-"]);
    assert_eq!(lines[0]["Unauthorized"], 1);
    assert_eq!(lines[4]["Status"], 400);
}

#[tokio::test]
async fn calls_denied_by_policy_and_the_time_of_servers_are_counted_whatever_http_says() {
    let it = Permitted::without_policies().await;
    it.app()
        .policy(
            "but one",
            r#"permit (principal, action, resource) unless { resource == Tool::"demo/delete_repo" };"#,
        )
        .await;
    let (entry, lines) = it.app().on_lambda();
    let event = |path: &str, message: &Value| {
        let event = with_header(v1("POST", path), "x-runlayer-api-key", &it.bob().api_key);
        with_body(with_header(event, "accept", "application/json, text/event-stream"), &message.to_string())
    };
    let tools = "/api/v1/proxy/demo/tools";
    answer(&entry, &event(tools, &json!({ "tool_name": "list_repos", "arguments": { "org": "acme" } })))
        .await;
    answer(
        &entry,
        &event(tools, &json!({ "tool_name": "delete_repo", "arguments": { "repo": "acme/web" } })),
    )
    .await;
    let params = json!({ "name": "delete_repo", "arguments": { "repo": "acme/web" } });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    answer(&entry, &event("/api/v1/proxy/demo/mcp", &message)).await;
    let lines = lines.all();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["Status"].as_u64().unwrap(),
                line["Denied"].as_u64().unwrap(),
                line["UpstreamLatency"].is_number(),
            )
        })
        .collect();
    assert_eq!(seen, [(200, 0, true), (403, 1, false), (200, 1, false)], "{lines:?}");
}
