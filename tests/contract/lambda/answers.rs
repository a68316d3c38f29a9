//! What an event is answered, and how much of it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{Router, body::Bytes, routing::get};
use deputize_core::audit::{Action, Event, RequestContext};
use deputize_service::lambda::{Context, LambdaHandler};
use deputize_tests::TestApp;
use http::{HeaderName, header};
use serde_json::{Value, json, value::RawValue};

use super::{answer, body, of_each_kind, v1, v2, with_header};
use crate::scenario::Scenario;

fn entry(app: &TestApp, routes: Router) -> LambdaHandler {
    LambdaHandler::new("odd", routes, app.core.clone(), std::sync::Arc::new(|_: &str| {}))
}

#[tokio::test]
async fn headers_go_where_each_kind_of_gateway_looks_for_them() {
    let app = TestApp::start().await;
    let many = async || {
        (
            axum::response::AppendHeaders([
                (header::SET_COOKIE, "a=1"),
                (header::SET_COOKIE, "b=2"),
                (header::LINK, "</a>"),
                (header::LINK, "</b>"),
                (HeaderName::from_static("x-one"), "1"),
            ]),
            "text",
        )
    };
    let entry = entry(&app, Router::new().route("/healthz", get(many)));
    let old = answer(&entry, &v1("GET", "/healthz")).await;
    assert_eq!(old["multiValueHeaders"]["set-cookie"], serde_json::json!(["a=1", "b=2"]));
    assert_eq!(old["multiValueHeaders"]["link"], serde_json::json!(["</a>", "</b>"]));
    assert_eq!(old["headers"]["x-one"], "1");
    assert!(old["headers"]["set-cookie"].is_null() && old["multiValueHeaders"]["x-one"].is_null(), "{old}");
    let new = answer(&entry, &v2("GET", "/healthz", "$default")).await;
    assert_eq!(new["cookies"], serde_json::json!(["a=1", "b=2"]));
    assert_eq!(new["headers"]["link"], "</a>, </b>");
    assert!(new["headers"]["set-cookie"].is_null(), "{new}");
}

#[tokio::test]
async fn what_is_no_text_is_sent_in_base64() {
    let app = TestApp::start().await;
    let routes = Router::new()
        .route("/healthz", get(async || Bytes::from_static(&[0xff, 0xfe])))
        .route("/openapi.json", get(async || "ünïcode"));
    let entry = entry(&app, routes);
    for (kind, event) in of_each_kind("GET", "/healthz") {
        let binary = answer(&entry, &event).await;
        assert_eq!((&binary["body"], &binary["isBase64Encoded"]), (&"//4=".into(), &true.into()), "{kind}");
    }
    let text = answer(&entry, &v1("GET", "/openapi.json")).await;
    assert_eq!((&text["body"], &text["isBase64Encoded"]), (&"ünïcode".into(), &false.into()));
}

#[tokio::test]
async fn an_answer_that_lambda_would_not_take_is_an_error_that_says_so() {
    let app = TestApp::start().await;
    // The first is too large itself, the other one in JSON.
    for large in ["x".repeat(6 * 1024 * 1024 + 1), "\"".repeat(4 * 1024 * 1024)] {
        let entry = entry(&app, Router::new().route("/healthz", get(async move || large)));
        for (kind, event) in of_each_kind("GET", "/healthz") {
            let refused = answer(&entry, &event).await;
            assert_eq!(refused["statusCode"], 502, "{kind}");
            assert_eq!(body(&refused)["error"], "response_too_large", "{kind}");
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let app = TestApp::start().await;
    let panics = async || -> &'static str { panic!("in a handler") };
    let entry = entry(&app, Router::new().route("/healthz", get(panics)));
    let answer = answer(&entry, &v1("GET", "/healthz")).await;
    assert_eq!(answer["statusCode"], 500);
    assert_eq!(body(&answer)["error"], "server_error");
}

/// The context of an invocation whose time ends in this many milliseconds.
fn ends_in(millis: u128) -> Context {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut context = Context::default();
    context.deadline = u64::try_from(now + millis).unwrap();
    context
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_is_answered_for_before_lambda_ends_the_process() {
    let app = TestApp::start().await;
    let entry = entry(&app, Router::new().route("/healthz", get(std::future::pending::<&str>)));
    for (kind, event) in of_each_kind("GET", "/healthz") {
        let event = RawValue::from_string(event.to_string()).unwrap();
        let late = entry.buffered(&event, &ends_in(20_000)).await;
        let late: Value = serde_json::from_str(late.get()).unwrap();
        assert_eq!(late["statusCode"], 504, "{kind}");
        assert_eq!(body(&late)["error"], "timed_out", "{kind}");
    }
}

#[tokio::test]
async fn a_file_of_the_trail_that_no_answer_holds_comes_in_several() {
    let it = Scenario::start().await;
    let (entry, _) = it.app.on_lambda();
    for _ in 0..80 {
        let event = Event::new(&it.app.core, &RequestContext::default(), Action::ServerProbe).unwrap();
        let event = event.changed(&(), &json!({ "text": "x".repeat(60_000) })).unwrap();
        it.app.core.table.append(&event).await.unwrap();
    }
    let (mut after, mut sizes, mut seen) = (None::<String>, Vec::new(), Vec::new());
    loop {
        let mut event =
            with_header(v1("GET", "/api/v1/audit-events/export"), "x-runlayer-api-key", &it.alice.api_key);
        event["queryStringParameters"] = match &after {
            Some(after) => json!({ "action": "server.probe", "after": after }),
            None => json!({ "action": "server.probe" }),
        };
        let event = RawValue::from_string(event.to_string()).unwrap();
        let answer = entry.buffered(&event, &ends_in(25_000)).await;
        let answer: Value = serde_json::from_str(answer.get()).unwrap();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let text = answer["body"].as_str().unwrap();
        let ids = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string());
        seen.extend(ids);
        sizes.push(text.len() < 5 * 1024 * 1024);
        let Some(link) = answer["headers"]["link"].as_str() else { break };
        let (_, next) = link.split_once("after=").unwrap();
        after = next.split_once('>').map(|(id, _)| id.to_owned());
    }
    assert_eq!(sizes, [true, true]);
    assert_eq!(seen.len(), 80);
    seen.dedup();
    assert_eq!(seen.len(), 80);
}
