//! Transactions that meet over an item, which says nothing of what is there, and changes that nobody heard the end of.

use std::time::Duration;

use deputize_tests::{TestResponse, faults::Fault, store::skips_another_store};
use insta::assert_snapshot;
use serde_json::json;

use crate::{
    connections::{Chat, cookie},
    grants::Connected,
    mcp,
    scenario::Scenario,
};

const CHANGE: &str = "TransactWriteItems";

#[tokio::test]
async fn a_new_user_keeps_their_email_though_transactions_met() {
    let Scenario { app, .. } = Scenario::start().await;
    app.faults.next(CHANGE, 5, Fault::Conflict);
    let me = app.get("/api/v1/me").bearer(&app.login.token("newcomer")).await.ok();
    assert_eq!(me.field("email"), "newcomer@example.com");
}

#[tokio::test]
async fn a_free_email_or_server_id_is_not_said_to_be_taken_because_transactions_met() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.faults.next(CHANGE, 5, Fault::Conflict);
    app.post("/api/v1/users").as_user(&alice).json(&json!({ "email": "new@example.com" })).await.ok();
    app.faults.next(CHANGE, 5, Fault::Conflict);
    let server = json!({ "id": "new", "name": "New", "url": "https://new.example.com/mcp" });
    app.post("/api/v1/servers").as_user(&alice).json(&server).await.ok();
}

#[tokio::test]
async fn the_first_session_of_a_week_begins_though_transactions_met() {
    let it = mcp::Scene::set().await;
    it.app().faults.next(CHANGE, 5, Fault::Conflict);
    it.app().initialize("old").as_user(&it.scenario.bob).await.ok().session();
}

#[tokio::test]
async fn a_connection_is_begun_and_finished_though_transactions_met() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    app.faults.next(CHANGE, 5, Fault::Conflict);
    let begun = chat.begin(bob).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), &bob.name);
    app.faults.next(CHANGE, 5, Fault::Conflict);
    app.get(back).header("cookie", &cookie(&begun)).await.ok();
    chat.connection(bob).await.ok();
}

#[tokio::test]
async fn an_assertion_is_no_replay_because_transactions_met() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let client = app.client_of(&bot, &alice, deputize_tests::jwt::SigningKey::es256()).await;
    app.faults.next(CHANGE, 5, Fault::Conflict);
    app.token_by(&client.assertion(&app), &[]).await.access_token();
}

/// Bob's toggle at a pair where his grant is personal.
async fn toggled(it: &Connected) -> TestResponse {
    it.toggle(&it.scenario.bob).await
}

#[tokio::test(start_paused = true)]
async fn transactions_that_meet_for_three_seconds_have_changed_nothing() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    let before = it.app().contents();
    it.app().faults.always_on(CHANGE, Fault::Conflict);
    let started = tokio::time::Instant::now();
    assert_snapshot!(toggled(&it).await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; nothing was changed, try again",
      "detail": "The service is temporarily unavailable; nothing was changed, try again",
      "reason": "store_unavailable",
      "safe_to_retry": true
    }
    "#);
    let waited = started.elapsed();
    assert!(Duration::from_millis(2_900) < waited && waited < Duration::from_millis(3_100), "{waited:?}");
    assert_eq!(it.app().contents(), before);
}

#[tokio::test]
async fn a_toggle_that_was_made_unheard_and_then_turned_away_is_not_said_to_have_changed_nothing() {
    let mut told = std::collections::BTreeSet::new();
    for turned_away in [Fault::Throttled, Fault::ThroughputExceeded, Fault::TransactionThrottled] {
        let it = Connected::set().await;
        it.create(&it.scenario.bob, false).await.ok();
        it.app().faults.in_turn(2, &[Fault::AnswerLost, turned_away, turned_away]);
        told.insert(toggled(&it).await.to_string());
        assert!(it.seen_by(&it.scenario.carol).await.contains("bob shared"), "{turned_away:?}: it was made");
    }
    assert_snapshot!(told.into_iter().collect::<Vec<_>>().join("\n"), @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; whether the change was made is unknown, so look before you repeat it",
      "detail": "The service is temporarily unavailable; whether the change was made is unknown, so look before you repeat it",
      "reason": "change_undecided",
      "safe_to_retry": false
    }
    "#);
}

#[tokio::test]
async fn a_toggle_that_may_still_arrive_is_not_said_to_have_changed_nothing() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    it.app().faults.in_turn(2, &[Fault::TimedOut, Fault::Throttled, Fault::Throttled]);
    assert_eq!(toggled(&it).await.json()["safe_to_retry"], false);
}

#[tokio::test]
async fn a_toggle_that_was_made_unheard_is_found_out_by_its_own_token() {
    if skips_another_store("moto does not recognize a ClientRequestToken") {
        return;
    }
    for next in [Fault::Throttled, Fault::InProgress, Fault::Conflict, Fault::AnswerLost] {
        let it = Connected::set().await;
        it.create(&it.scenario.bob, false).await.ok();
        it.app().faults.in_turn(2, &[Fault::AnswerLost, next]);
        assert_eq!(toggled(&it).await.ok().json()["shared"], true, "{next:?}");
        assert!(it.seen_by(&it.scenario.carol).await.contains("bob shared"), "{next:?}: once");
    }
}

#[tokio::test]
async fn a_toggle_that_was_turned_away_each_time_has_changed_nothing() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    let before = it.app().contents();
    it.app().faults.in_turn(2, &[Fault::Throttled, Fault::TransactionThrottled, Fault::Throttled]);
    assert_eq!(toggled(&it).await.json()["safe_to_retry"], true);
    assert_eq!(it.app().contents(), before);
}
