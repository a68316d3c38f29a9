//! `GET /api/v1/audit-events/feed`: the trail for those who follow it.

use std::{sync::Arc, time::Duration};

use deputize_core::{
    audit::{Action, Event, RequestContext},
    clock::{Clock, Random, Timestamp},
};
use deputize_tests::{McpServer, TestApp, TestResponse, User, faults::Fault, upstream::result_of};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Permitted;
use crate::scenario::Scenario;

async fn ask(app: &TestApp, user: &User, query: &str) -> TestResponse {
    app.get(format!("/api/v1/audit-events/feed?{query}")).as_user(user).await
}

/// A reader that follows the feed.
#[derive(Default)]
struct Reader {
    cursor: Option<String>,
    ids: Vec<String>,
}

/// The time at which a test begins.
const BEGINNING: &str = "from=2026-01-15T08:59:00Z";

impl Reader {
    /// Reads until there is nothing more for now.
    async fn poll(&mut self, app: &TestApp, user: &User, limit: usize) {
        loop {
            let from = match &self.cursor {
                Some(cursor) => format!("cursor={cursor}"),
                None => BEGINNING.to_owned(),
            };
            let page = ask(app, user, &format!("limit={limit}&{from}")).await.ok().json();
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= limit);
            self.ids.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
            self.cursor = Some(page["cursor"].as_str().unwrap().to_owned());
            if page["more"] == false {
                break;
            }
        }
    }
}

fn ids(app: &TestApp) -> Vec<String> {
    app.trail().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

async fn happens(app: &TestApp) {
    let event = Event::new(&app.core, &RequestContext::default(), Action::ToolCall).unwrap();
    app.core.table.append(&event).await.unwrap();
}

#[tokio::test]
async fn an_answer_has_events_in_their_order_a_cursor_and_whether_there_is_more() {
    let it = Permitted::set().await;
    it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob()).await.ok();
    it.app().pass(Duration::from_secs(61));
    let page = ask(it.app(), &it.scenario.alice, BEGINNING).await;
    let events = page.json()["events"].as_array().unwrap().clone();
    let shown: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    let in_trail = it.app().trail();
    let in_trail: Vec<&str> = in_trail.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(shown, in_trail);
    let cursor = page.field("cursor");
    assert_snapshot!(ask(it.app(), &it.scenario.alice, &format!("cursor={cursor}")).await, @r#"
    200 OK

    {
      "events": [],
      "cursor": "RkVFRCMwMTliYzBlMi0xNjY4LTcwMDAtODAwMC0wMDAwMDAwMDAwMDA",
      "more": false
    }
    "#);
    let first = ask(it.app(), &it.scenario.alice, &format!("{BEGINNING}&limit=1")).await.ok().json();
    assert_eq!((first["events"].as_array().unwrap().len(), &first["more"]), (1, &Value::Bool(true)));
}

#[tokio::test]
async fn an_event_is_shown_once_it_is_a_minute_old() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let mut reader = Reader::default();
    app.pass(Duration::from_mins(2));
    reader.poll(&app, &alice, 100).await;
    reader.ids.clear();
    happens(&app).await;
    app.pass(Duration::from_secs(60));
    reader.poll(&app, &alice, 100).await;
    assert_eq!(reader.ids.len(), 0);
    app.pass(Duration::from_millis(1));
    reader.poll(&app, &alice, 100).await;
    assert_eq!(reader.ids.len(), 1);
}

#[tokio::test]
async fn a_long_call_is_in_the_trail_at_its_end_and_says_how_long_it_took() {
    let scenario = Scenario::start().await;
    let clock = scenario.app.core.clock.clone();
    let mcp = McpServer::answering(move |message| {
        clock.advance(Duration::from_mins(10));
        result_of(message, &json!({ "content": [] }))
    })
    .await;
    scenario.app.server("slow").at(mcp.open_url()).await;
    scenario.app.permit_everything().await;
    let called = scenario.app.call("slow", "t", &json!({})).as_user(&scenario.bob).await.ok();
    let trail = scenario.app.trail();
    let event = trail.iter().find(|event| event["request_id"] == called.header("x-request-id").unwrap());
    let event = event.unwrap();
    assert_eq!(event["at"], "2026-01-15T09:10:00.000Z");
    assert_eq!(event["duration_ms"], 600_000);
}

#[tokio::test]
async fn a_reader_who_polls_during_a_long_call_does_not_miss_it() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let mut reader = Reader::default();
    let long = Event::new(&app.core, &RequestContext::default(), Action::ToolCall).unwrap();
    for _ in 0..10 {
        happens(&app).await;
        app.pass(Duration::from_mins(1));
        reader.poll(&app, &alice, 3).await;
    }
    app.core.table.append(&long).await.unwrap();
    app.pass(Duration::from_mins(2));
    reader.poll(&app, &alice, 3).await;
    assert_eq!(reader.ids, ids(&app));
}

#[tokio::test]
async fn whoever_polls_gets_every_event_exactly_once_though_clocks_differ_and_pages_are_cut_short() {
    for seed in 0..8 {
        let Scenario { app, alice, .. } = Scenario::start().await;
        let mut chance = fastrand::Rng::with_seed(seed);
        // They differ by 38 s. Up to 40 s, and the time of a write, are allowed.
        let processes: Vec<TestApp> = [-19_000, 0, 19_000]
            .map(|skew| {
                let clock = Clock::manual(Timestamp::from_millis(app.now().as_millis() + skew));
                let providers = Arc::new(deputize_service::outbound::Outbound::new(
                    deputize_service::address::AddressPolicy::PUBLIC,
                    deputize_service::outbound::Times::default(),
                ));
                app.process(app.faults.client(), (clock, Random::System), providers)
            })
            .into();
        app.faults.always_on("Query", Fault::CutShort);
        let mut reader = Reader::default();
        for _ in 0..30 {
            for _ in 0..chance.usize(0..4) {
                happens(&processes[chance.usize(0..3)]).await;
            }
            let time = Duration::from_millis(chance.u64(0..40_000) + chance.u64(0..20) / 19 * 7_200_000);
            for process in &processes {
                process.pass(time);
            }
            reader.poll(&processes[chance.usize(0..3)], &alice, chance.usize(1..6)).await;
        }
        for process in &processes {
            process.pass(Duration::from_mins(2));
        }
        reader.poll(&processes[0], &alice, 100).await;
        assert_eq!(reader.ids, ids(&app), "seed {seed}");
    }
}

#[tokio::test]
async fn a_store_that_does_an_events_batch_late_is_given_up_before_the_feed_has_passed_it() {
    tokio::time::pause();
    let Scenario { app, .. } = Scenario::start().await;
    app.faults.always_on("BatchWriteItem", Fault::Silence);
    let began = tokio::time::Instant::now();
    let event = Event::new(&app.core, &RequestContext::default(), Action::ToolCall).unwrap();
    assert!(app.core.table.append(&event).await.is_err());
    assert!(began.elapsed() < deputize_core::audit::WRITTEN_WITHIN);
    app.faults.stop();
    app.faults.always_on("BatchWriteItem", Fault::Unprocessed);
    let began = tokio::time::Instant::now();
    assert!(app.core.table.append(&event).await.is_err());
    assert!(began.elapsed() < deputize_core::audit::WRITTEN_WITHIN);
}

#[tokio::test]
async fn a_reader_who_comes_after_months_goes_on_where_they_were() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let mut reader = Reader::default();
    reader.poll(&app, &alice, 100).await;
    for _ in 0..3 {
        app.pass(Duration::from_hours(24 * 30));
        happens(&app).await;
    }
    app.pass(Duration::from_mins(2));
    reader.poll(&app, &alice, 100).await;
    assert_eq!(reader.ids, ids(&app));
    // The work for each answer is bounded.
    app.faults.take_seen();
    let page = ask(&app, &alice, "from=1970-01-01T00:00:00Z").await.ok().json();
    assert_eq!((&page["events"], &page["more"]), (&json!([]), &json!(true)));
    let queries = app.faults.take_seen().iter().filter(|operation| *operation == "Query").count();
    assert_eq!(queries, 40 * 16);
}

#[tokio::test]
async fn only_admins_follow_the_feed_and_by_its_own_cursors() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    assert_snapshot!(ask(&app, &bob, "").await.refusal(), @"403 Only an auditor, an operator or an admin may do this");
    let token = app.m2m(&bot).await;
    let by_agent = app.get("/api/v1/audit-events/feed").bearer(&token).await;
    assert_snapshot!(by_agent.refusal(), @"403 This endpoint needs a user: send a user JWT or an API key, not an agent token");
    happens(&app).await;
    happens(&app).await;
    let list = app.get("/api/v1/audit-events?limit=1").as_user(&alice).await.ok().next().unwrap();
    let anothers = list.rsplit_once("cursor=").unwrap().1;
    let mut refusals = Vec::new();
    for query in
        ["limit=0", "limit=1001", "from=yesterday", "cursor=%25", "cursor=AAAA", "to=2026-01-15T09:00:00Z"]
    {
        refusals.push(format!("{query}: {}", ask(&app, &alice, query).await.refusal()));
    }
    assert_eq!(
        ask(&app, &alice, &format!("cursor={anothers}")).await.refusal(),
        "400 cursor is not one of this feed"
    );
    assert_snapshot!(refusals.join("\n"), @"
    limit=0: 400 limit must be from 1 to 1000
    limit=1001: 400 limit must be from 1 to 1000
    from=yesterday: 400 from: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z
    cursor=%25: 400 cursor is not one of ours
    cursor=AAAA: 400 cursor is not one of this feed
    to=2026-01-15T09:00:00Z: 400 to: no such query parameter; the query parameters here are from, limit, cursor
    ");
}
