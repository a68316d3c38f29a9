//! `POST …:batch`: many users and delegations at once, each entry with an outcome of its own.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::idempotency::{FIRST, KEY};
use crate::scenario::Scenario;

const USERS: &str = "/api/v1/users:batch";
const DELEGATIONS: &str = "/api/v1/delegations:batch";

/// Each outcome on a line: its status, and what names it.
fn outcomes(answer: &deputize_tests::TestResponse) -> String {
    let line = |outcome: &Value| {
        let said = [&outcome["error"]["detail"], &outcome["body"]["email"], &outcome["body"]["groups"]];
        let said = said.into_iter().find(|said| !said.is_null()).unwrap_or(&Value::Null);
        format!("{} {said}", outcome["status"])
    };
    answer.json()["outcomes"].as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn each_entry_has_its_own_outcome_in_order() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let before = app.trail().len();
    let body = json!({ "entries": [
        { "create": { "email": "dave@example.com", "name": "Dave" } },
        { "create": { "email": "BOB@example.com" } },
        { "create": { "email": "nobody" } },
        { "create": { "emial": "erin@example.com" } },
        { "update": { "user_id": bob.id, "groups": ["ops"] } },
        { "update": { "user_id": "00000000-0000-4000-8000-000000000000", "name": "Nobody" } },
        { "update": { "user_id": alice.id, "active": false } },
        { "update": { "user_id": carol.id }, "create": { "email": "x@example.com" } },
        [],
        7,
    ] });
    let answer = app.post(USERS).as_user(&alice).json(&body).await.ok();
    assert_snapshot!(outcomes(&answer), @r#"
    201 "dave@example.com"
    409 "a user with that email or identity exists"
    400 "create.email: not an email address"
    400 "create.emial: no such field; did you mean email?"
    200 "bob@example.com"
    404 "No such user"
    409 "an admin cannot deactivate or demote themselves"
    400 "an entry must have either create or update"
    400 "the body must be an object, not an array"
    400 "the body must be an object, not a number"
    "#);
    assert_eq!(app.trail().len(), before + 2, "an event for each change");
    let conflict = &answer.json()["outcomes"][1]["error"];
    assert_eq!(conflict["conflict"], json!({ "kind": "user", "id": bob.id }));
    let one = format!("/api/v1/users/{}", bob.id);
    assert_eq!(app.get(one).as_user(&alice).await.ok().json(), answer.json()["outcomes"][4]["body"]);
}

#[tokio::test]
async fn a_group_is_given_to_many_users_and_taken_from_them_whatever_else_they_are_in() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let all = [&bob, &carol];
    let regroup = async |change: Value| {
        let entry = |user: &&deputize_tests::User| {
            let mut update = json!({ "user_id": user.id });
            update.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            json!({ "update": update })
        };
        let body = json!({ "entries": all.iter().map(entry).collect::<Vec<_>>() });
        let answer = app.post(USERS).as_user(&alice).json(&body).await.ok().json();
        let groups = |n: usize| answer["outcomes"][n]["body"]["groups"].to_string();
        format!("{} {}", groups(0), groups(1))
    };
    assert_eq!(regroup(json!({ "groups": ["staff"] })).await, r#"["staff"] ["staff"]"#);
    assert_eq!(regroup(json!({ "add_groups": ["ops"] })).await, r#"["staff","ops"] ["staff","ops"]"#);
    assert_eq!(regroup(json!({ "add_groups": ["ops"] })).await, r#"["staff","ops"] ["staff","ops"]"#);
    assert_eq!(
        regroup(json!({ "remove_groups": ["staff", "none"], "add_groups": ["eng"] })).await,
        r#"["ops","eng"] ["ops","eng"]"#
    );
    let many: Vec<String> = (0..49).map(|n| format!("g{n}")).collect();
    assert_eq!(regroup(json!({ "add_groups": many })).await, "null null", "that would be 51");
}

#[tokio::test]
async fn a_batch_that_is_sent_again_makes_nothing_again() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let entries: Vec<Value> =
        (0..20).map(|n| json!({ "create": { "email": format!("u{n}@example.com") } })).collect();
    let ask = |entries: &[Value]| {
        app.post(USERS).as_user(&alice).json(&json!({ "entries": entries })).header(KEY, FIRST)
    };
    let first = ask(&entries).await.ok();
    let before = app.contents();
    assert_eq!(ask(&entries).await.ok().text, first.text);
    assert_eq!(app.contents(), before);
    // Another entry under the same key and in the same place is another request.
    let mut changed = entries.clone();
    changed[3] = json!({ "create": { "email": "other@example.com" } });
    let statuses = ask(&changed).await.ok().json();
    assert_eq!(
        (&statuses["outcomes"][3]["status"], &statuses["outcomes"][4]["status"]),
        (&json!(422), &json!(201))
    );
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn a_batch_of_which_entries_failed_is_completed_by_sending_it_again() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let entries: Vec<Value> =
        (0..6).map(|n| json!({ "create": { "email": format!("u{n}@example.com") } })).collect();
    let ask = || app.post(USERS).as_user(&alice).json(&json!({ "entries": entries })).header(KEY, FIRST);
    app.faults.next("TransactWriteItems", 9, deputize_tests::faults::Fault::AnswerLost);
    ask().await.ok();
    let again = ask().await.ok().json();
    for outcome in again["outcomes"].as_array().unwrap() {
        assert_eq!(outcome["status"], 201, "{outcome}");
    }
    let users = app.contents().into_keys().filter(|key| key.starts_with("EMAIL#u")).count();
    assert_eq!(users, 6);
}

#[tokio::test]
async fn a_user_delegates_to_many_agents_and_takes_it_back() {
    let Scenario { app, alice, carol, bot, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let delegate = |agent: &deputize_tests::Agent| json!({ "create": { "agent_account_id": agent.id } });
    let none = json!({ "create": { "agent_account_id": "00000000-0000-4000-8000-000000000000" } });
    let body = json!({ "entries": [delegate(&bot), none, delegate(&other)] });
    let answer = app.post(DELEGATIONS).as_user(&carol).json(&body).await.ok().json();
    let made = answer["outcomes"].as_array().unwrap();
    assert_eq!(
        [201, 404, 201].map(|status| json!(status)).to_vec(),
        made.iter().map(|one| one["status"].clone()).collect::<Vec<_>>()
    );
    assert_eq!(made[0]["body"]["delegator_user_id"], carol.id.to_string());
    let revoke = |n: usize| json!({ "revoke": { "delegation_id": made[n]["body"]["id"] } });
    let body = json!({ "entries": [revoke(0), revoke(2), revoke(0)] });
    let answer = app.post(DELEGATIONS).as_user(&carol).json(&body).await.ok();
    assert_snapshot!(answer.text, @r#"{"outcomes":[{"status":204},{"status":204},{"status":204}]}"#);
    let mine = app.get("/api/v1/delegations").as_user(&carol).await.ok().json();
    assert!(mine.as_array().unwrap().iter().all(|one| one["is_active"] == false));
}

#[tokio::test]
async fn a_batch_is_read_within_bounds() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let before = app.contents();
    let entry = json!({ "create": { "email": "x@example.com" } });
    for (body, says) in [
        (json!({}), "400 entries: is missing"),
        (json!({ "entries": [] }), "400 entries: must be an array of 1 to 1000 entries"),
        (json!({ "entries": {} }), "400 entries: must be an array of 1 to 1000 entries, not an object"),
        (json!({ "entries": vec![&entry; 1001] }), "400 entries: must be an array of 1 to 1000 entries"),
        (json!({ "entries": ["x".repeat(1024 * 1024)] }), "413 The body is larger than 1048576 bytes"),
    ] {
        assert_eq!(app.post(USERS).as_user(&alice).json(&body).await.refusal(), says);
    }
    let by_user = app.post(USERS).as_user(&bob).json(&json!({ "entries": [entry] })).await;
    assert_snapshot!(by_user.refusal(), @"403 Only an admin may do this");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn entries_are_carried_out_a_few_at_a_time_and_each_once() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let entries: Vec<Value> = (0..100)
        .map(|n| json!({ "create": { "email": format!("u{n}@example.com"), "groups": ["new"] } }))
        .collect();
    let before = app.trail().len();
    let ask = || app.post(USERS).as_user(&alice).json(&json!({ "entries": entries })).header(KEY, FIRST);
    // On a slow machine, the rest is made when it is sent again.
    let mut made = 0;
    for _ in 0..10 {
        let answer = ask().await.ok().json();
        let outcomes = answer["outcomes"].as_array().unwrap().clone();
        assert!(outcomes.iter().all(|one| one["status"] == 201 || one["status"] == 503), "{answer}");
        made = outcomes.iter().filter(|one| one["status"] == 201).count();
        if made == entries.len() {
            break;
        }
    }
    assert_eq!((made, app.trail().len()), (entries.len(), before + entries.len()));
}
