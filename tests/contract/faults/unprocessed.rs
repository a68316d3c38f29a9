//! Batches of which the store leaves a part undone.

use deputize_tests::{TestApp, faults::Fault};

use crate::scenario::Scenario;

#[tokio::test(start_paused = true)]
async fn keys_that_were_left_unread_are_asked_for_again() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    app.faults.next("BatchGetItem", 2, Fault::Unprocessed);
    app.obo(&bot, &bob).await;
    let reads = app.faults.take_seen().iter().filter(|operation| *operation == "BatchGetItem").count();
    assert!(reads >= 3, "{reads}");
}

#[tokio::test(start_paused = true)]
async fn events_that_were_left_unwritten_are_written_again() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    app.faults.next("BatchWriteItem", 2, Fault::Unprocessed);
    let answer = app.token_for(&bot, &[]).await.ok();
    // `event_of` requires exactly one event.
    app.event_of(&answer);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_gets_done_is_an_outage() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let unavailable = async |app: &TestApp| {
        let answer = app.token_for(&bot, &[]).await;
        assert_eq!(answer.status, 503, "{answer}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        app.faults.stop();
    };
    app.faults.always_on("BatchGetItem", Fault::Unprocessed);
    unavailable(&app).await;
    app.faults.always_on("BatchWriteItem", Fault::Unprocessed);
    unavailable(&app).await;
}
