//! What is read of an event.

use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_service::config::CallerAddress;
use serde_json::{Value, json};

use super::{answer, answer_to, body, of_each_kind, v1, v2, with_body, with_header};
use crate::scenario::Scenario;

#[tokio::test]
async fn an_event_of_each_kind_is_the_request_that_it_stands_for() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    let path = format!("/api/v1/agent-accounts/{}/delegations", it.bot.id);
    for (kind, event) in of_each_kind("POST", &path) {
        let event = with_body(with_header(event, "x-runlayer-api-key", &it.carol.api_key), "{}");
        let made = answer(&entry, &event).await;
        assert_eq!(made["statusCode"], 201, "{kind}: {made}");
        assert_eq!(body(&made)["delegator_user_id"], it.carol.id.to_string(), "{kind}");
    }
}

#[tokio::test]
async fn the_source_address_is_the_gateways_word_and_not_the_callers() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    let path = format!("/api/v1/agent-accounts/{}/delegations", it.bot.id);
    for (kind, event) in of_each_kind("POST", &path) {
        let event =
            with_body(with_header(event, "x-runlayer-api-key", &it.bob.api_key), r#"{"server_ids":[]}"#);
        answer(&entry, &event).await;
        let form = "grant_type=client_credentials";
        let event = of_each_kind("POST", "/api/v1/oauth/token")
            .into_iter()
            .find(|(name, _)| *name == kind)
            .unwrap()
            .1;
        let mut event = with_header(event, "content-type", "application/x-www-form-urlencoded");
        event["body"] = json!(format!("{form}&client_id={}&client_secret={}", it.bot.id, it.bot.secret));
        assert_eq!(answer(&entry, &event).await["statusCode"], 200, "{kind}");
        let trail = it.app.trail();
        let mut issued = trail.iter().filter(|event| event["action"] == "token.issue");
        assert!(issued.all(|event| event["source_ip"] == "192.0.2.7"), "{kind}: {trail:?}");
    }
}

/// API Gateway Developer Guide, "Input format of a Lambda function for proxy integration": `identity.apiKey` is the key
/// that the gateway asked for, which came in `x-api-key`.
#[tokio::test]
async fn the_gateways_key_is_nobodys_credential_and_a_users_key_is_not_taken_for_it() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    let (alice, bob) = (&it.alice.api_key, &it.bob.api_key);
    let me = |key: &str| with_header(v1("GET", "/api/v1/me"), "x-api-key", key);
    let behind_gateway = |key: &str, mut event: Value| {
        event["requestContext"]["identity"]["apiKey"] = json!(key);
        event
    };
    // Even if the gateway's key were written like one of ours, or were one.
    for key in ["k9".repeat(32).as_str(), "rl_x", alice] {
        let anonymous = answer(&entry, &behind_gateway(key, me(key))).await;
        assert_eq!(anonymous["statusCode"], 401, "{key}");
        assert_eq!(body(&anonymous)["reason"], "credential_missing", "{key}");
        let known = with_header(behind_gateway(key, me(key)), "x-auth-token", bob);
        assert_eq!(body(&answer(&entry, &known).await)["id"], it.bob.id.to_string(), "{key}");
    }
    // Where the gateway asks for none, the header is the caller's.
    assert_eq!(body(&answer(&entry, &me(bob)).await)["id"], it.bob.id.to_string());
    assert_eq!(answer(&entry, &me("rl_x")).await["statusCode"], 401);
}

#[tokio::test]
async fn behind_cloudfront_the_source_address_is_cloudfronts_word() {
    for (header, address) in [
        (Some("198.51.100.10:46532"), json!("198.51.100.10")),
        (Some("2001:db8::7:443"), json!("2001:db8::7")),
        (Some("198.51.100.10"), Value::Null),
        // The gateway knows only CloudFront's own address.
        (None, Value::Null),
    ] {
        let it = Scenario::start().await;
        let form =
            format!("grant_type=client_credentials&client_id={}&client_secret={}", it.bot.id, it.bot.secret);
        let (entry, _) = it.app.on_lambda();
        let entry = entry.told_of_callers_by(CallerAddress::CloudFront);
        let event = with_header(
            v1("POST", "/api/v1/oauth/token"),
            "content-type",
            "application/x-www-form-urlencoded",
        );
        let mut event = match header {
            Some(header) => with_header(event, "CloudFront-Viewer-Address", header),
            None => event,
        };
        event["body"] = json!(form);
        assert_eq!(answer(&entry, &event).await["statusCode"], 200);
        let issued = it.app.trail().into_iter().find(|event| event["action"] == "token.issue").unwrap();
        assert_eq!(issued["source_ip"], address, "{header:?}");
    }
}

#[tokio::test]
async fn a_body_in_base64_is_read_and_what_is_no_base64_is_refused() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    let form =
        format!("grant_type=client_credentials&client_id={}&client_secret={}", it.bot.id, it.bot.secret);
    for (kind, event) in of_each_kind("POST", "/api/v1/oauth/token") {
        let mut event = with_header(event, "content-type", "application/x-www-form-urlencoded");
        event["isBase64Encoded"] = json!(true);
        event["body"] = json!(BASE64_STANDARD.encode(&form));
        assert_eq!(answer(&entry, &event).await["statusCode"], 200, "{kind}");
        event["body"] = json!("not base64!");
        let refused = answer(&entry, &event).await;
        assert_eq!(refused["statusCode"], 400, "{kind}");
        assert_eq!(body(&refused)["error_description"], "The event's body is no base64", "{kind}");
    }
}

#[tokio::test]
async fn whatever_may_be_missing_may_be_missing_or_null() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    for (kind, event) in of_each_kind("GET", "/healthz") {
        for field in [
            "headers",
            "multiValueHeaders",
            "body",
            "isBase64Encoded",
            "cookies",
            "rawQueryString",
            "pathParameters",
        ] {
            let mut missing = event.clone();
            missing.as_object_mut().unwrap().remove(field);
            assert_eq!(answer(&entry, &missing).await["statusCode"], 200, "{kind} without {field}");
            missing[field] = Value::Null;
            assert_eq!(answer(&entry, &missing).await["statusCode"], 200, "{kind} with {field} null");
        }
    }
    let mut bare = v1("GET", "/healthz");
    bare.as_object_mut().unwrap().remove("requestContext");
    assert_eq!(answer(&entry, &bare).await["statusCode"], 200);
}

#[tokio::test]
async fn a_header_that_came_twice_came_twice() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    let mut event = v1("GET", "/api/v1/me");
    event["headers"]["x-runlayer-api-key"] = json!(it.alice.api_key);
    event["multiValueHeaders"]["x-runlayer-api-key"] = json!([it.bob.api_key, it.alice.api_key]);
    assert_eq!(answer(&entry, &event).await["statusCode"], 400);
    event["multiValueHeaders"]["x-runlayer-api-key"] = json!([it.alice.api_key]);
    let me = answer(&entry, &event).await;
    assert_eq!(body(&me)["id"], it.alice.id.to_string());
}

#[tokio::test]
async fn the_query_is_read_from_each_kind() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    for (kind, event) in of_each_kind("GET", "/api/v1/audit-events") {
        let mut event = with_header(event, "x-runlayer-api-key", &it.alice.api_key);
        let time = "2026-01-15T09:00:00+01:00";
        event["rawQueryString"] = json!("limit=none&from=2026-01-15T09%3A00%3A00%2B01%3A00");
        event["queryStringParameters"] = json!({ "limit": "none", "from": time });
        let refused = answer(&entry, &event).await;
        assert!(body(&refused)["detail"].as_str().unwrap().starts_with("limit: "), "{kind}: {refused}");
        event["rawQueryString"] = json!("limit=2&from=2026-01-15T09%3A00%3A00%2B01%3A00");
        event["queryStringParameters"] = json!({ "limit": "2", "from": time });
        assert_eq!(answer(&entry, &event).await["statusCode"], 200, "{kind}");
    }
    let mut twice = with_header(v1("GET", "/api/v1/audit-events"), "x-runlayer-api-key", &it.alice.api_key);
    twice["queryStringParameters"] = json!({ "limit": "2" });
    twice["multiValueQueryStringParameters"] = json!({ "limit": ["1", "2"] });
    assert_eq!(body(&answer(&entry, &twice).await)["detail"], "The parameter limit occurs twice");
}

#[tokio::test]
async fn a_stage_in_the_path_is_taken_off_and_a_name_that_looks_like_one_is_not() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    let status = async |mut event: Value, stage: &str, path: &str| {
        event["requestContext"]["stage"] = json!(stage);
        event["path"] = json!(path);
        event["rawPath"] = json!(path);
        answer(&entry, &event).await["statusCode"].as_u64().unwrap()
    };
    for event in [v1("GET", "/"), v2("GET", "/", "v1")] {
        assert_eq!(status(event.clone(), "v1", "/healthz").await, 200);
        assert_eq!(status(event.clone(), "v1", "/v1/healthz").await, 200);
        assert_eq!(status(event.clone(), "api", "/api/v1/me").await, 401);
        assert_eq!(status(event.clone(), "api", "/api/api/v1/me").await, 401);
        assert_eq!(status(event.clone(), "v1", "/v2/healthz").await, 404);
        assert_eq!(status(event.clone(), "v1", "/v1").await, 404);
        assert_eq!(status(event, "", "//healthz").await, 404);
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_in_the_shape_of_what_it_looks_like() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    for event in [
        "{}",
        "[]",
        "null",
        "17",
        "\"text\"",
        r#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#,
        r#"{"httpMethod":"GET"}"#,
        r#"{"httpMethod":"GET","path":5}"#,
        r#"{"httpMethod":"NOT A METHOD","path":"/healthz"}"#,
        r#"{"httpMethod":"GET","path":"/healthz","headers":[]}"#,
        r#"{"httpMethod":"GET","path":"/healthz","headers":{"not a name":"x"}}"#,
        r#"{"httpMethod":"GET","path":"/healthz","headers":{"x":"a\nb"}}"#,
    ] {
        let refused = answer_to(&entry, event).await;
        assert_eq!(refused["statusCode"], 400, "{event}: {refused}");
        assert_eq!(body(&refused)["error"], "invalid_request", "{event}");
        assert!(refused["multiValueHeaders"].is_object(), "{event}: {refused}");
    }
    let refused = answer_to(&entry, r#"{"version":"2.0","rawPath":"/healthz"}"#).await;
    assert_eq!(refused["statusCode"], 400);
    assert!(refused["cookies"].is_array(), "{refused}");
}

#[tokio::test]
async fn an_odd_path_is_answered_like_any_other() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    for path in [
        "",
        "/a b",
        "/ä",
        "/%zz",
        "//",
        "no-slash",
        "/{x}",
        "/a?b=c",
        "/a#b",
        "/\u{0}",
        "http://elsewhere/healthz",
        "*",
    ] {
        for event in [v1("GET", path), v2("GET", path, "$default")] {
            let status = answer(&entry, &event).await["statusCode"].as_u64().unwrap();
            assert!((400..500).contains(&status), "{path}: {status}");
        }
    }
}
