//! Work without a request: who can ask for it, and what becomes of it.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use deputize_core::{Error, Result};
use deputize_service::lambda::{Context, LambdaHandler, Scheduled, ScheduledFailed};
use deputize_tests::TestApp;
use serde_json::{Value, json, value::RawValue};

use super::{answer, body, of_each_kind, v1, with_body, with_header};
use crate::scenario::Scenario;

/// The input of the templates' rule.
const ASKED: &str = r#"{"scheduled":"erase"}"#;

/// The service as one function with such work, and how often that was done.
fn counting(app: &TestApp) -> (LambdaHandler, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let scheduled = Scheduled::new("erase", move |_, _| {
        let count = counting.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok(json!({ "count": count })) }
    });
    (app.on_lambda().0.scheduled_to(scheduled), count)
}

fn ends_in(time: Duration) -> Context {
    let mut context = Context::default();
    let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
    context.deadline = u64::try_from(ends.as_millis()).unwrap();
    context
}

async fn asked(
    entry: &LambdaHandler,
    event: &str,
    context: &Context,
) -> Option<Result<Value, ScheduledFailed>> {
    let event = RawValue::from_string(event.to_owned()).unwrap();
    let done = entry.scheduled(&event, context).await?;
    Some(done.map(|said| serde_json::from_str(said.get()).unwrap()))
}

#[tokio::test]
async fn the_schedules_event_has_the_work_done_each_time_that_it_comes() {
    let app = TestApp::start().await;
    let (entry, _) = counting(&app);
    for count in 1..=2 {
        let said = asked(&entry, ASKED, &Context::default()).await;
        assert_eq!(said, Some(Ok(json!({ "count": count }))));
    }
}

#[tokio::test]
async fn a_request_that_says_what_the_schedule_says_is_a_request() {
    let it = Scenario::start().await;
    let (entry, count) = counting(&it.app);
    for (kind, event) in of_each_kind("POST", "/api/v1/policies/check") {
        let mut event = with_body(event, ASKED);
        for (name, value) in
            [("scheduled", "erase"), ("source", "aws.events"), ("x-amz-invocation-type", "Event")]
        {
            event = with_header(event, name, value);
        }
        event["queryStringParameters"] = json!({ "scheduled": "erase" });
        event["rawQueryString"] = json!("scheduled=erase");
        let event = with_header(event, "x-runlayer-api-key", &it.alice.api_key);
        assert_eq!(asked(&entry, &event.to_string(), &Context::default()).await, None, "{kind}");
        let refused = answer(&entry, &event).await;
        assert_eq!(refused["statusCode"], 400, "{kind}: {refused}");
        assert_eq!(body(&refused)["error"], "invalid_request", "{kind}");
    }
    // Not even with the field itself beside those of a request, which no gateway lets its caller set.
    let mut event = v1("GET", "/healthz");
    event["scheduled"] = json!("erase");
    assert_eq!(asked(&entry, &event.to_string(), &Context::default()).await, None);
    assert_eq!(answer(&entry, &event).await["statusCode"], 200);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_neither_a_request_nor_the_schedules_event_is_refused() {
    let app = TestApp::start().await;
    let (entry, count) = counting(&app);
    let events = [
        json!({}),
        json!([]),
        json!(null),
        json!("erase"),
        json!(["erase"]),
        json!({ "scheduled": "something else" }),
        json!({ "scheduled": ["erase"] }),
        json!({ "scheduled": "erase", "more": null }),
        json!({ "scheduled": "erase", "httpMethod": null }),
        // What a rule without an input sends (Amazon EventBridge User Guide, "Creating a rule that runs on a schedule").
        json!({
            "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "123456789012", "time": "2026-11-30T23:00:00Z",
            "region": "eu-central-1", "resources": ["arn:aws:events:eu-central-1:123456789012:rule/erase"],
            "detail": {},
        }),
    ];
    for event in events {
        assert_eq!(asked(&entry, &event.to_string(), &Context::default()).await, None, "{event}");
        assert_eq!(answer(&entry, &event).await["statusCode"], 400, "{event}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_function_without_such_work_refuses_the_schedules_event() {
    let app = TestApp::start().await;
    let (entry, _) = app.on_lambda();
    assert_eq!(asked(&entry, ASKED, &Context::default()).await, None);
    let event: Value = serde_json::from_str(ASKED).unwrap();
    assert_eq!(answer(&entry, &event).await["statusCode"], 400);
}

#[tokio::test]
async fn the_work_knows_when_it_must_be_done() {
    let app = TestApp::start().await;
    let scheduled = Scheduled::new("erase", |_, until: Option<Instant>| async move {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        Ok(json!(left.map(|left| left.as_secs())))
    });
    let entry = app.on_lambda().0.scheduled_to(scheduled);
    // Four seconds of it are for what must be done afterwards.
    let said = asked(&entry, ASKED, &ends_in(Duration::from_secs(25))).await.unwrap().unwrap();
    assert!((15..21).contains(&said.as_u64().unwrap()), "{said}");
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_or_does_not_end_has_failed() {
    let app = TestApp::start().await;
    let fails = Scheduled::new("erase", |_, _| async { Err(Error::internal("the table is gone")) });
    let entry = app.on_lambda().0.scheduled_to(fails);
    let context = ends_in(Duration::from_secs(25));
    assert_eq!(asked(&entry, ASKED, &context).await, Some(Err(ScheduledFailed)));

    let never_ends = Scheduled::new("erase", |_, _| pending());
    let entry = app.on_lambda().0.scheduled_to(never_ends);
    assert_eq!(asked(&entry, ASKED, &context).await, Some(Err(ScheduledFailed)));
}
