//! Events with something changed in them, wherever: an HTTP answer for each, whatever it is.

use deputize_service::lambda::{Context, LambdaHandler};
use deputize_tests::TestApp;
use futures::StreamExt;
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use serde_json::{Value, json, value::RawValue};

use super::{of_each_kind, with_body, with_header};

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[ -~]{0,40}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "x"])),
        Just(json!({ "x": [{ "y": null }], "": "" })),
        Just(json!("x".repeat(100_000))),
    ]
}

/// Every place in an event, as a pointer (RFC 6901).
fn places(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                self::places(field, &format!("{at}/{}", escaped(name)), places);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                self::places(item, &format!("{at}/{n}"), places);
            }
        }
        _ => {}
    }
}

async fn answers(entry: &LambdaHandler, event: &Value) -> Result<(), TestCaseError> {
    let raw = RawValue::from_string(event.to_string()).unwrap();
    let answer = entry.buffered(&raw, &Context::default()).await;
    let answer: Value = serde_json::from_str(answer.get()).unwrap();
    let status = answer["statusCode"].as_u64().unwrap_or_default();
    prop_assert!((200..500).contains(&status), "{status}: {event}");
    let streamed = entry.streamed(&raw, &Context::default()).await;
    prop_assert!(streamed.metadata_prelude.status_code.as_u16() < 500, "{event}");
    prop_assert!(streamed.stream.all(|chunk| std::future::ready(chunk.is_ok())).await);
    Ok(())
}

#[test]
fn whatever_is_changed_in_an_event_the_answer_is_one_of_http() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::start());
    let (entry, _) = app.on_lambda();
    let events = of_each_kind("POST", "/api/v1/oauth/token").map(|(_, event)| {
        with_body(with_header(event, "authorization", "Basic eDp5"), "grant_type=client_credentials")
    });
    let changes = prop::collection::vec((any::<Index>(), odd()), 1..4);
    TestRunner::default()
        .run(&(0..events.len(), changes), |(kind, changes)| {
            let mut event = events[kind].clone();
            for (place, value) in changes {
                let mut all = Vec::new();
                places(&event, "", &mut all);
                let place: &String = place.get(&all);
                *event.pointer_mut(place).unwrap() = value;
            }
            runtime.block_on(answers(&entry, &event))
        })
        .unwrap();
}
