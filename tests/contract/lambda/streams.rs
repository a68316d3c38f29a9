//! Answers that are sent as they come.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, routing::get};
use deputize_service::{
    edge::Deadline,
    lambda::{Context, LambdaHandler},
};
use deputize_tests::TestApp;
use futures::{StreamExt, channel::mpsc};
use serde_json::{Value, json, value::RawValue};

use super::v1;
use crate::proxy::Permitted;

fn raw(event: &Value) -> Box<RawValue> {
    RawValue::from_string(event.to_string()).unwrap()
}

/// A function whose answer is this stream.
fn saying(heard: impl futures::Stream<Item = &'static str> + Send + 'static) -> Router {
    let heard = Arc::new(Mutex::new(Some(heard.map(Ok::<_, Infallible>).boxed())));
    Router::new().route(
        "/healthz",
        get(move || async move { Body::from_stream(heard.lock().unwrap().take().unwrap()) }),
    )
}

#[tokio::test]
async fn what_is_said_is_sent_before_the_rest_is() {
    let app = TestApp::start().await;
    let (says, heard) = mpsc::unbounded::<&str>();
    let routes = saying(heard);
    let lines = deputize_tests::app::Lines::default();
    let entry = LambdaHandler::new("proxy", routes, app.core.clone(), lines.print());
    let response = entry.streamed(&raw(&v1("GET", "/healthz")), &Context::default()).await;
    let prelude = serde_json::to_value(&response.metadata_prelude).unwrap();
    assert_eq!(prelude["statusCode"], 200);
    assert!(prelude["headers"]["x-request-id"].is_string() && prelude["cookies"].is_array(), "{prelude}");
    let mut stream = response.stream;
    says.unbounded_send("one").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "one");
    assert!(lines.all().is_empty(), "it is measured when it is over");
    says.unbounded_send("two").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "two");
    drop(says);
    assert!(stream.next().await.is_none());
    assert_eq!(lines.one()["Status"], 200);
    drop(stream);
    assert_eq!(lines.all().len(), 1);
}

#[tokio::test]
async fn who_sends_to_somebody_that_has_left_is_told() {
    let app = TestApp::start().await;
    let (mut says, heard) = mpsc::channel::<&str>(1);
    let routes = saying(heard);
    let lines = deputize_tests::app::Lines::default();
    let entry = LambdaHandler::new("proxy", routes, app.core.clone(), lines.print());
    let response = entry.streamed(&raw(&v1("GET", "/healthz")), &Context::default()).await;
    drop(response);
    assert!(says.try_send("anybody?").is_err_and(|error| error.is_disconnected()));
    assert_eq!(lines.one()["Requests"], 1);
}

#[tokio::test]
async fn what_is_no_event_is_a_streamed_answer_too() {
    let app = TestApp::start().await;
    let (entry, _) = app.on_lambda();
    for event in [json!({}), json!([]), json!({ "version": "2.0" })] {
        let response = entry.streamed(&raw(&event), &Context::default()).await;
        assert_eq!(response.metadata_prelude.status_code, 400, "{event}");
        let chunks: Vec<_> = response.stream.collect().await;
        let body: Value = serde_json::from_slice(chunks[0].as_ref().unwrap()).unwrap();
        assert_eq!(body["error"], "invalid_request");
    }
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up_and_the_trail_says_so() {
    let it = Permitted::set().await;
    let arguments = json!({ "org": "acme" });
    let up = || Deadline(std::time::Instant::now());
    let call = it.app().call("demo", "list_repos", &arguments).as_user(it.bob()).with(up()).await;
    assert_eq!((call.status.as_u16(), &call.json()["error"]), (504, &json!("upstream_timeout")));
    let params = json!({ "name": "list_repos", "arguments": arguments });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let call = it.app().post("/api/v1/proxy/demo/mcp").json(&message).as_user(it.bob()).with(up()).await.ok();
    assert_eq!(call.json()["error"]["code"], 504, "{call}");
    let calls = it.app().trail().into_iter().filter(|event| event["action"] == "tool.call");
    assert_eq!(calls.map(|event| event["outcome"].clone()).collect::<Vec<_>>(), ["failed", "failed"]);
}
