//! `GET /api/v1/audit-events`: who sees what of the trail, filtered and in pages.

use std::time::Duration;

use deputize_core::audit::{Action, Event, RequestContext};
use deputize_local::store::Store;
use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{TestApp, TestResponse, User, faults::Fault};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Permitted;
use crate::scenario::Scenario;

/// Five calls, a minute apart: by the agent, for Bob, by Bob, by Carol, and for Bob at another server.
async fn five_calls() -> Permitted {
    five_calls_in(TestApp::start().await).await
}

async fn five_calls_in(app: TestApp) -> Permitted {
    let it = Permitted::set_in(app).await;
    it.app().server("other").at(it.mcp.open_url()).await;
    let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
    let calls = [
        it.app().call("demo", "list_repos", &json!({ "org": "one" })).bearer(&own),
        it.app().call("demo", "list_repos", &json!({ "org": "two" })).bearer(&for_bob),
        it.app().call("demo", "list_repos", &json!({ "org": "three" })).as_user(it.bob()),
        it.app().call("demo", "list_repos", &json!({ "org": "four" })).as_user(&it.scenario.carol),
        it.app().call("other", "list_repos", &json!({ "org": "five" })).bearer(&for_bob),
    ];
    for call in calls {
        it.app().pass(Duration::from_mins(1));
        call.await.ok();
    }
    it
}

async fn list(it: &Permitted, user: &User, query: &str) -> TestResponse {
    it.app().get(format!("/api/v1/audit-events?{query}")).as_user(user).await
}

/// A page's tool calls: minute, caller, server.
fn shown(it: &Permitted, events: &Value) -> String {
    let who = |id: &Value| match id.as_str() {
        None => "-",
        Some(id) if id == it.bob().id.to_string() => "bob",
        Some(id) if id == it.scenario.carol.id.to_string() => "carol",
        Some(id) if id == it.bot().id.to_string() => "bot",
        Some(_) => "?",
    };
    let calls = events.as_array().unwrap().iter().filter(|event| event["action"] == "tool.call");
    let line = |event: &Value| {
        let minute = &event["at"].as_str().unwrap()[14..16];
        let (agent, user) = (who(&event["agent_account_id"]), who(&event["user_id"]));
        format!("{minute} {agent} {user} {}", event["server_id"].as_str().unwrap())
    };
    calls.map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn an_event_has_every_field() {
    let it = five_calls().await;
    let query = format!("server_id=other&user_id={}", it.bob().id);
    assert_snapshot!(list(&it, &it.scenario.alice, &query).await, @r#"
    200 OK

    [
      {
        "id": "[uuid]",
        "at": "2026-01-15T09:05:00.000Z",
        "action": "tool.call",
        "outcome": "allowed",
        "agent_account_id": "[bot]",
        "user_id": "[bob]",
        "server_id": "other",
        "client_id": null,
        "credential": "agent_token:[uuid]",
        "token_id": null,
        "subject": null,
        "tool": "list_repos",
        "arguments_sha256": "7e2ca0999f48df763396b794d1b38500ffc29b9043e210f7390746346e435058",
        "policies": [
          "[policy everything]"
        ],
        "logged": null,
        "credentials_of": null,
        "grant_id": null,
        "detail": null,
        "changes": [],
        "request_id": "[uuid]",
        "source_ip": null,
        "duration_ms": 0
      }
    ]
    "#);
}

#[tokio::test]
async fn an_admin_sees_everything_newest_first_and_filtered() {
    let it = five_calls().await;
    let alice = &it.scenario.alice;
    let seen = async |query: String| shown(&it, &list(&it, alice, &query).await.ok().json());
    assert_snapshot!(seen(String::new()).await, @"
    05 bot bob other
    04 - carol demo
    03 - bob demo
    02 bot bob demo
    01 bot - demo
    ");
    assert_snapshot!(seen(format!("agent_account_id={}", it.bot().id)).await, @"
    05 bot bob other
    02 bot bob demo
    01 bot - demo
    ");
    assert_snapshot!(seen(format!("user_id={}", it.bob().id)).await, @"
    05 bot bob other
    03 - bob demo
    02 bot bob demo
    ");
    assert_snapshot!(seen("server_id=other".to_owned()).await, @"05 bot bob other");
    let both = format!("user_id={}&agent_account_id={}", it.bob().id, it.bot().id);
    assert_snapshot!(seen(both).await, @"
    05 bot bob other
    02 bot bob demo
    ");
    assert_snapshot!(seen("from=2026-01-15T09:02:00Z&to=2026-01-15T09:03:00Z".to_owned()).await, @"
    03 - bob demo
    02 bot bob demo
    ");
    let last = format!("from=2026-01-15T09:04:00Z&user_id={}", it.bob().id);
    assert_snapshot!(seen(last).await, @"05 bot bob other");
}

#[tokio::test]
async fn others_see_what_they_did_and_what_was_done_for_them() {
    let it = five_calls().await;
    assert_snapshot!(shown(&it, &list(&it, it.bob(), "").await.ok().json()), @"
    05 bot bob other
    03 - bob demo
    02 bot bob demo
    ");
    assert_snapshot!(shown(&it, &list(&it, &it.scenario.carol, "").await.ok().json()), @"04 - carol demo");
    let by_agent = format!("agent_account_id={}", it.bot().id);
    assert_snapshot!(shown(&it, &list(&it, &it.scenario.carol, &by_agent).await.ok().json()), @"");
    let anothers = list(&it, &it.scenario.carol, &format!("user_id={}", it.bob().id)).await;
    assert_snapshot!(anothers, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Only an admin may see other users' audit events",
      "detail": "Only an admin may see other users' audit events",
      "reason": "admin_required"
    }
    "#);
}

#[tokio::test]
async fn pages_of_any_size_hold_everything_once_in_order() {
    let it = five_calls().await;
    for filter in [
        "to=2026-01-15T23:59:59Z".to_owned(),
        format!("agent_account_id={}", it.bot().id),
        format!("user_id={}", it.bob().id),
    ] {
        let whole = list(&it, &it.scenario.alice, &filter).await.ok().json();
        for limit in [1, 3] {
            let (mut all, mut next) =
                (Vec::new(), Some(format!("/api/v1/audit-events?{filter}&limit={limit}")));
            while let Some(path) = next {
                let page = it.app().get(path).as_user(&it.scenario.alice).await.ok();
                let items = page.json().as_array().unwrap().clone();
                assert!(items.len() <= limit);
                all.extend(items);
                next = page.next();
            }
            assert_eq!(Value::from(all), whole, "{filter} in pages of {limit}");
        }
    }
}

#[tokio::test]
async fn no_page_ends_the_list_while_one_partition_holds_what_is_left() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let mut ids = Vec::new();
    while ids.len() < 3 {
        let event = Event::new(&app.core, &RequestContext::default(), Action::ToolCall).unwrap();
        app.core.table.append(&event).await.unwrap();
        app.pass(Duration::from_millis(1));
        // Keeps the events of one partition.
        let trail = app.trail();
        let partitions = trail.iter().map(|event| event["pk"].as_str().unwrap());
        let fullest =
            partitions.clone().max_by_key(|one| partitions.clone().filter(|other| one == other).count());
        let fullest = fullest.unwrap().to_owned();
        ids = trail.iter().filter(|event| event["pk"] == *fullest).map(|event| event["id"].clone()).collect();
    }
    for event in app.trail().iter().filter(|event| !ids.contains(&event["id"])) {
        app.remove(event["pk"].as_str().unwrap(), event["sk"].as_str().unwrap());
    }
    let (mut seen, mut next) = (Vec::new(), Some("/api/v1/audit-events?limit=1".to_owned()));
    while let Some(path) = next {
        let page = app.get(path).as_user(&alice).await.ok();
        seen.extend(page.json().as_array().unwrap().iter().map(|event| event["id"].clone()));
        next = page.next();
    }
    seen.reverse();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_list_crosses_midnight() {
    let it = five_calls().await;
    it.app().pass(Duration::from_hours(24));
    it.app().call("demo", "list_repos", &json!({ "org": "late" })).as_user(it.bob()).await.ok();
    let page = list(&it, &it.scenario.alice, "limit=2").await.ok();
    assert_eq!(page.json()[0]["at"], "2026-01-16T09:05:00.000Z");
    assert_eq!(page.json()[1]["at"], "2026-01-15T09:05:00.000Z");
    let next = it.app().get(page.next().unwrap()).as_user(&it.scenario.alice).await.ok();
    assert_eq!(next.json()[0]["at"], "2026-01-15T09:04:00.000Z");
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() {
    let it = Permitted::set().await;
    let mut refusals = Vec::new();
    for query in [
        "from=yesterday",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "user_id=bob",
        "server_id=No%20Id",
        "limit=0",
        "limit=1001",
        "limit=many",
        "cursor=%25",
        "cursor=AAAA",
        "limit=1&limit=2",
    ] {
        refusals.push(format!("{query}: {}", list(&it, &it.scenario.alice, query).await.refusal()));
    }
    assert_snapshot!(refusals.join("\n"), @"
    from=yesterday: 400 from: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z
    from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z: 400 from must not be after to
    from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z: 400 name an agent, a user or a server, or a range of at most 31 days
    user_id=bob: 400 user_id: must be a UUID
    server_id=No%20Id: 400 server_id: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit
    limit=0: 400 limit must be from 1 to 1000
    limit=1001: 400 limit must be from 1 to 1000
    limit=many: 400 limit: must be a whole number, 0 or more
    cursor=%25: 400 cursor is not one of ours
    cursor=AAAA: 400 cursor is not one of this list
    limit=1&limit=2: 400 The parameter limit occurs twice
    ");
}

#[tokio::test]
async fn an_agent_does_not_read_the_trail() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    assert_snapshot!(it.app().get("/api/v1/audit-events").bearer(&token).await, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "This endpoint needs a user: send a user JWT or an API key, not an agent token",
      "detail": "This endpoint needs a user: send a user JWT or an API key, not an agent token",
      "reason": "user_required"
    }
    "#);
}

#[tokio::test]
async fn a_page_of_an_index_costs_one_query_and_one_read_of_its_events() {
    let it = five_calls().await;
    it.app().faults.take_seen();
    list(&it, &it.scenario.alice, &format!("user_id={}", it.bob().id)).await.ok();
    assert_eq!(it.app().faults.take_seen(), ["BatchGetItem", "Query", "BatchGetItem"], "the caller first");
}

#[tokio::test]
async fn an_event_that_an_index_still_knows_and_the_table_does_not_is_left_out_and_the_pages_go_on() {
    let it = five_calls().await;
    let query = format!("user_id={}&limit=2", it.bob().id);
    // The first read is for the caller, the next for the two events of the first page.
    it.app().faults.next_after("BatchGetItem", 1, 1, Fault::Missing);
    let mut page = list(&it, &it.scenario.alice, &query).await.ok();
    let mut pages = Vec::new();
    loop {
        pages.push(shown(&it, &page.json()));
        let Some(next) = page.next() else { break };
        page = it.app().get(next).as_user(&it.scenario.alice).await.ok();
    }
    let all = pages.iter().filter(|page| !page.is_empty()).flat_map(|page| page.lines()).collect::<Vec<_>>();
    assert_eq!(all.len(), 2, "{pages:?}");
    let mut sorted = all.clone();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(all, sorted);
}

#[tokio::test]
async fn a_table_whose_indexes_hold_whole_events_works_as_well() {
    let store = Store::in_memory().unwrap();
    let key = |partition: &str| {
        json!([
            { "AttributeName": partition, "KeyType": "HASH" },
            { "AttributeName": "sk", "KeyType": "RANGE" },
        ])
    };
    let attributes = ["pk", "sk", "audit_agent", "audit_user", "audit_server"];
    let indexes = [
        ("audit_by_agent", "audit_agent"),
        ("audit_by_user", "audit_user"),
        ("audit_by_server", "audit_server"),
    ];
    let table = json!({
        "TableName": "deputize", "BillingMode": "PAY_PER_REQUEST", "KeySchema": key("pk"),
        "AttributeDefinitions":
            attributes.map(|name| json!({ "AttributeName": name, "AttributeType": "S" })),
        "GlobalSecondaryIndexes": indexes.map(|(name, partition)| json!({
            "IndexName": name, "KeySchema": key(partition), "Projection": { "ProjectionType": "ALL" },
        })),
    });
    store.database().create_table(serde_json::from_value(table).unwrap()).unwrap();
    let it = five_calls_in(TestApp::start_on(store, UpstreamConfig::default()).await).await;
    let query = format!("user_id={}", it.bob().id);
    assert_snapshot!(shown(&it, &list(&it, &it.scenario.alice, &query).await.ok().json()), @r"
    05 bot bob other
    03 - bob demo
    02 bot bob demo
    ");
}
