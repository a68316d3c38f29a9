//! Filters: what each finds, several at once, and what a page costs.

use std::time::Duration;

use deputize_core::{
    audit::{Action, Event, RequestContext},
    table::Key,
    trail,
};
use deputize_tests::TestRequest;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{events, list};
use crate::proxy::Permitted;

/// A day: calls, refusals, and changes, a minute apart.
async fn a_day() -> Permitted {
    let it = Permitted::set().await;
    let app = it.app();
    let (own, for_bob) = (app.m2m(it.bot()).await, app.obo(it.bot(), it.bob()).await);
    let call = |tool: &str| app.call("demo", tool, &json!({ "org": "acme" }));
    let forbid = json!({ "name": "no", "text": r#"forbid(principal, action, resource == Tool::"demo/delete_repo");"# });
    let groups = json!({ "groups": ["x"] });
    let carol = format!("/api/v1/users/{}", it.scenario.carol.id);
    let steps: Vec<TestRequest> = vec![
        call("list_repos").bearer(&own),
        call("list_repos").bearer(&for_bob),
        call("list_repos").as_user(it.bob()),
        app.post("/api/v1/policies").as_user(&it.scenario.alice).json(&forbid),
        call("delete_repo").bearer(&for_bob),
        call("delete_repo").as_user(&it.scenario.carol),
        app.patch(carol).as_user(&it.scenario.alice).json(&groups),
    ];
    for step in steps {
        app.pass(Duration::from_mins(1));
        step.await;
    }
    app.pass(Duration::from_mins(1));
    it
}

/// The events of a filter: minute, action, outcome.
async fn found(it: &Permitted, query: &str) -> String {
    shown(&events(it, query).await)
}

fn shown(events: &[Value]) -> String {
    let line = |event: &Value| {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        format!("{} {} {}", &text("at")[14..16], text("action"), text("outcome"))
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn each_filter_finds_its_events() {
    let it = a_day().await;
    assert_snapshot!(found(&it, "from=2026-01-15T09:00:30Z&action=policy.create,user.update").await, @"
    07 user.update allowed
    04 policy.create allowed
    ");
    assert_snapshot!(found(&it, "outcome=denied,failed").await, @"
    06 tool.call denied
    05 tool.call denied
    ");
    assert_snapshot!(found(&it, "server_id=demo&tool=list_repos").await, @"
    03 tool.call allowed
    02 tool.call allowed
    01 tool.call allowed
    ");
    assert_snapshot!(found(&it, &format!("subject=user:{}&action=user.update", it.scenario.carol.id)).await, @"07 user.update allowed");
    assert_snapshot!(found(&it, &format!("actor=agent:{}&action=tool.call", it.bot().id)).await, @"
    05 tool.call denied
    02 tool.call allowed
    01 tool.call allowed
    ");
    assert_snapshot!(found(&it, &format!("actor=user:{}&action=tool.call", it.bob().id)).await, @"03 tool.call allowed");
    assert_snapshot!(found(&it, &format!("on_behalf_of={}&action=tool.call", it.bob().id)).await, @"
    05 tool.call denied
    02 tool.call allowed
    ");
    assert_snapshot!(found(&it, "action=tool.call&outcome=allowed").await, @"
    03 tool.call allowed
    02 tool.call allowed
    01 tool.call allowed
    ");
}

#[tokio::test]
async fn several_filters_hold_at_once() {
    let it = a_day().await;
    let query = format!(
        "server_id=demo&tool=delete_repo&outcome=denied&on_behalf_of={}&actor=agent:{}\
         &action=tool.call&from=2026-01-15T09:04:00Z&to=2026-01-15T09:05:30Z",
        it.bob().id,
        it.bot().id
    );
    assert_snapshot!(found(&it, &query).await, @"05 tool.call denied");
    let none = query.replace("delete_repo", "list_repos");
    assert_eq!(found(&it, &none).await, "");
    let credential = events(&it, "outcome=denied&limit=1").await[0]["credential"].clone();
    let by = format!("user_id={}&credential={}", it.scenario.carol.id, credential.as_str().unwrap());
    assert_snapshot!(found(&it, &format!("{by}&outcome=denied")).await, @"06 tool.call denied");
}

#[tokio::test]
async fn a_request_id_finds_its_events_by_the_time_that_is_in_it() {
    let it = a_day().await;
    let refused = it.app().call("demo", "delete_repo", &json!({})).as_user(it.bob()).await;
    let id = refused.header("x-request-id").unwrap().to_owned();
    it.app().pass(Duration::from_hours(24 * 60));
    assert_snapshot!(found(&it, &format!("request_id={id}")).await, @"08 tool.call denied");
    let to = "to=2026-01-16T00:00:00Z";
    assert_snapshot!(found(&it, &format!("request_id={id}&{to}")).await, @"08 tool.call denied");
    assert_snapshot!(found(&it, &format!("request_id={id}&{to}&user_id={}", it.bob().id)).await, @"08 tool.call denied");
    let anothers = "request_id=0b7b4b0e-6f3e-4b55-9e8b-0d6c2c1d7a11";
    assert_snapshot!(list(&it, &it.scenario.alice, anothers).await.refusal(), @"400 request_id is not one of ours: name an agent, a user or a server beside it, or a range of at most an hour");
}

#[tokio::test]
async fn a_filter_that_would_look_at_everything_says_what_to_add() {
    let it = a_day().await;
    let mut refusals = Vec::new();
    for query in [
        "tool=list_repos",
        "credential=api_key:x",
        "subject=method:ping",
        "action=nothing",
        "action=",
        "outcome=maybe",
        "actor=bob",
        "actor=agent:bob",
        "tool=",
        "action=tool.call&from=2025-01-01T00:00:00Z",
    ] {
        refusals.push(format!("{query}: {}", list(&it, &it.scenario.alice, query).await.refusal()));
    }
    assert_snapshot!(refusals.join("\n"), @"
    tool=list_repos: 400 tool: name its server beside it, or a range of at most an hour
    credential=api_key:x: 400 credential: name an agent or a user beside it, or a range of at most an hour
    subject=method:ping: 400 subject: what an MCP request is about is not listed; name an agent, a user or a server beside it, or a range of at most an hour
    action=nothing: 400 action: each must be one of the actions that events have
    action=: 400 action: each must be one of the actions that events have
    outcome=maybe: 400 outcome: each must be one of allowed, denied, failed
    actor=bob: 400 actor must be agent: or user: and an id
    actor=agent:bob: 400 actor must be agent: or user: and an id
    tool=: 400 tool must have 1 to 256 characters
    action=tool.call&from=2025-01-01T00:00:00Z: 400 name an agent, a user or a server, or a range of at most 31 days
    ");
}

#[tokio::test]
async fn others_find_only_what_concerns_them() {
    let it = a_day().await;
    let seen = list(&it, it.bob(), "server_id=demo&tool=delete_repo").await.ok();
    assert_snapshot!(shown(seen.json().as_array().unwrap()), @"05 tool.call denied");
    let seen = list(&it, it.bob(), "action=policy.create").await.ok();
    assert_eq!(seen.json(), json!([]));
    let subject = format!("subject=user:{}", it.scenario.carol.id);
    assert_eq!(list(&it, it.bob(), &subject).await.ok().json(), json!([]));
    let anothers = list(&it, it.bob(), &format!("outcome=denied&user_id={}", it.scenario.carol.id)).await;
    assert_eq!(anothers.status.as_u16(), 403);
}

#[tokio::test]
async fn pages_of_each_filter_hold_everything_once_in_order() {
    let it = a_day().await;
    for filter in [
        "outcome=denied,failed,allowed".to_owned(),
        "server_id=demo&tool=list_repos".to_owned(),
        "action=user.create,policy.create,delegation.create".to_owned(),
        format!("on_behalf_of={}", it.bob().id),
        "action=tool.call".to_owned(),
    ] {
        let whole = events(&it, &filter).await;
        assert!(whole.len() > 1, "{filter}");
        let (mut all, mut next) = (Vec::new(), Some(format!("/api/v1/audit-events?{filter}&limit=1")));
        while let Some(path) = next {
            let page = it.app().get(path).as_user(&it.scenario.alice).await.ok();
            all.extend(page.json().as_array().unwrap().clone());
            next = page.next();
        }
        assert_eq!(all, whole, "{filter}");
    }
}

#[tokio::test]
async fn a_page_by_entries_is_the_entries_and_then_the_events() {
    let it = a_day().await;
    // A process learns once since when there are entries.
    events(&it, "action=policy.create").await;
    for (query, queries) in [
        ("action=policy.create", 1),
        ("outcome=denied", 16),
        ("server_id=demo&tool=list_repos", 16),
        ("subject=server:demo", 1),
    ] {
        it.app().faults.take_seen();
        events(&it, query).await;
        // The caller is read first. The queries of a list's partitions are sent at once.
        let mut expected = vec!["BatchGetItem"];
        expected.extend(vec!["Query"; queries]);
        if !query.starts_with("subject") {
            expected.push("BatchGetItem");
        }
        assert_eq!(it.app().faults.take_seen(), expected, "{query}");
    }
}

#[tokio::test]
async fn an_allowed_call_is_two_items_and_a_refused_one_three() {
    let it = a_day().await;
    let entries = |event: &Value| {
        let id: deputize_core::ids::EventId = event["id"].as_str().unwrap().parse().unwrap();
        it.app().items_at(&id.to_string()).len()
    };
    let calls = events(&it, "action=tool.call").await;
    let count = |outcome: &str| entries(calls.iter().find(|event| event["outcome"] == outcome).unwrap());
    assert_eq!((count("allowed"), count("denied")), (2, 3));
}

#[tokio::test]
async fn events_from_before_there_were_entries_are_found_among_their_days() {
    let it = a_day().await;
    let whole = found(&it, "outcome=denied").await;
    let actions = found(&it, "action=policy.create,user.create").await;
    // As an earlier version left the table.
    it.app().remove_entries();
    let app =
        it.app().another(deputize_core::vault::Vault::new(deputize_tests::app::root(7), Vec::new())).await;
    let ask = async |query: &str| {
        let answer = app.get(format!("/api/v1/audit-events?{query}")).as_user(&it.scenario.alice).await.ok();
        shown(answer.json().as_array().unwrap())
    };
    assert_eq!(ask("outcome=denied").await, whole);
    let since = Key::audit_entries_since();
    assert_eq!(it.app().item(&since)["at"]["S"], "2026-01-15T10:08:00.000Z", "an hour later");
    it.app().pass(Duration::from_hours(2));
    it.app().call("demo", "delete_repo", &json!({})).as_user(it.bob()).await;
    assert_eq!(ask("outcome=denied").await, format!("08 tool.call denied\n{whole}"));
    assert_eq!(ask("action=policy.create,user.create").await, actions);
    let long = app.get("/api/v1/audit-events?outcome=denied&from=2025-01-01T00:00:00Z");
    assert_snapshot!(long.as_user(&it.scenario.alice).await.refusal(), @"400 name an agent, a user or a server, or a range of at most 31 days, if it begins before events were listed by this");
}

#[tokio::test]
async fn one_event_is_shown_to_those_who_see_it_in_the_list() {
    let it = a_day().await;
    let event = events(&it, "outcome=denied&limit=1").await.remove(0);
    let path = format!("/api/v1/audit-events/{}", event["id"].as_str().unwrap());
    assert_eq!(it.app().get(path.as_str()).as_user(&it.scenario.alice).await.ok().json(), event);
    assert_eq!(it.app().get(path.as_str()).as_user(&it.scenario.carol).await.ok().json(), event);
    assert_snapshot!(it.app().get(path).as_user(it.bob()).await.refusal(), @"404 No such audit event");
    for nothing in ["0b7b4b0e-6f3e-4b55-9e8b-0d6c2c1d7a11", "01970000-0000-7000-8000-000000000000", "x"] {
        let unknown =
            it.app().get(format!("/api/v1/audit-events/{nothing}")).as_user(&it.scenario.alice).await;
        assert_eq!(unknown.status.as_u16(), 404, "{nothing}");
    }
}

#[tokio::test]
async fn the_changes_since_a_time_come_newest_first_and_none_is_left_out() {
    let it = a_day().await;
    let (since, actions) =
        (it.app().now().minus(Duration::from_mins(6)), [Action::UserUpdate, Action::PolicyCreate]);
    let changes = async |most| trail::changes_since(&it.app().core, since, &actions, most).await.unwrap();
    let seen = changes(2).await.unwrap();
    assert_eq!(
        seen.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(),
        ["user.update", "policy.create"]
    );
    assert!(changes(1).await.is_none(), "a part of them would lead to a wrong state");
}

#[tokio::test]
async fn a_long_list_by_action_is_whole() {
    let it = a_day().await;
    for n in 0..250 {
        let event = Event::new(&it.app().core, &RequestContext::default(), Action::ServerProbe).unwrap();
        it.app().core.table.append(&event.about("address", n)).await.unwrap();
    }
    let (mut all, mut next) = (Vec::new(), Some("/api/v1/audit-events?action=server.probe".to_owned()));
    while let Some(path) = next {
        let page = it.app().get(path).as_user(&it.scenario.alice).await.ok();
        all.extend(page.json().as_array().unwrap().iter().map(|event| event["subject"].clone()));
        next = page.next();
    }
    assert_eq!(all.len(), 250);
}
