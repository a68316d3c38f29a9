//! The Lambda entry: raw events in, raw answers out. The shapes are those that AWS documents for REST APIs (payload
//! version 1.0), HTTP APIs and function URLs (2.0).

mod answers;
mod events;
mod fuzz;
mod printed;
mod scheduled;
mod streams;

use deputize_service::lambda::{Context, LambdaHandler};
use serde_json::{Value, json, value::RawValue};

/// An event of a REST API. Its path contains no stage.
pub(crate) fn v1(method: &str, path: &str) -> Value {
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": { "Host": "abc123.execute-api.eu-central-1.amazonaws.com", "X-Forwarded-For": "203.0.113.9" },
        "multiValueHeaders": {
            "Host": ["abc123.execute-api.eu-central-1.amazonaws.com"],
            "X-Forwarded-For": ["203.0.113.9"],
        },
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": { "proxy": path.trim_start_matches('/') },
        "stageVariables": null,
        "requestContext": {
            "resourceId": "2gxmpl",
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "path": format!("/v1{path}"),
            "accountId": "123456789012",
            "protocol": "HTTP/1.1",
            "stage": "v1",
            "requestTimeEpoch": 1_583_348_638_390_u64,
            "requestId": "JKJaXmPLvHcESHA=",
            "identity": { "cognitoIdentityPoolId": null, "sourceIp": "192.0.2.7", "userAgent": "curl/8.5.0" },
            "domainName": "abc123.execute-api.eu-central-1.amazonaws.com",
            "apiId": "abc123",
        },
        "body": null,
        "isBase64Encoded": false,
    })
}

/// An event of an HTTP API. Its path contains the stage, unless that is `$default`.
pub(crate) fn v2(method: &str, path: &str, stage: &str) -> Value {
    let raw_path = if stage == "$default" { path.to_owned() } else { format!("/{stage}{path}") };
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": "",
        "headers": { "host": "abc123.execute-api.eu-central-1.amazonaws.com", "x-forwarded-for": "203.0.113.9" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": "abc123.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "abc123",
            "http": {
                "method": method,
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": "10/Mar/2020:05:16:23 +0000",
            "timeEpoch": 1_583_817_383_220_u64,
        },
        "isBase64Encoded": false,
    })
}

/// An event of a function URL.
pub(crate) fn function_url(method: &str, path: &str) -> Value {
    let mut event = v2(method, path, "$default");
    event["headers"]["host"] = json!("abc123.lambda-url.eu-central-1.on.aws");
    event["requestContext"]["domainName"] = json!("abc123.lambda-url.eu-central-1.on.aws");
    event
}

/// One event of each kind.
pub(crate) fn of_each_kind(method: &str, path: &str) -> [(&'static str, Value); 4] {
    [
        ("REST API", v1(method, path)),
        ("HTTP API", v2(method, path, "$default")),
        ("HTTP API with a stage", v2(method, path, "v1")),
        ("function URL", function_url(method, path)),
    ]
}

/// The event with a JSON body.
pub(crate) fn with_body(mut event: Value, body: &str) -> Value {
    event["headers"]["content-type"] = json!("application/json");
    event["body"] = json!(body);
    event
}

pub(crate) fn with_header(mut event: Value, name: &str, value: &str) -> Value {
    event["headers"][name] = json!(value);
    event
}

/// A function's answer.
pub(crate) async fn answer(entry: &LambdaHandler, event: &Value) -> Value {
    answer_to(entry, &event.to_string()).await
}

pub(crate) async fn answer_to(entry: &LambdaHandler, event: &str) -> Value {
    let event = RawValue::from_string(event.to_owned()).unwrap();
    let answer = entry.buffered(&event, &Context::default()).await;
    serde_json::from_str(answer.get()).unwrap()
}

/// The body of an answer, as JSON.
pub(crate) fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}
