//! Somebody leaves while others act: two admins at once, and the person, who goes on making things.

use std::sync::Arc;

use deputize_core::offboarding::Kind;
use deputize_tests::{TestApp, TestRequest, TestResponse, User, store::turns};
use serde_json::{Value, json};

use crate::{connections::Chat, scenario::Scenario};

async fn at_once(app: &TestApp, asks: Vec<TestRequest>) -> Vec<TestResponse> {
    app.faults.shuffle();
    let turns = turns();
    let tasks: Vec<_> = asks
        .into_iter()
        .map(|ask| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                ask.await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

fn offboard(app: &TestApp, by: &User, whom: &User, body: &Value) -> TestRequest {
    app.post(format!("/api/v1/users/{}/offboard", whom.id)).as_user(by).json(body)
}

/// How many events of each action a person's things have.
fn times(app: &TestApp, action: &str) -> usize {
    app.trail().iter().filter(|event| event["action"] == action).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_admins_who_offboard_somebody_at_once_do_each_thing_once() {
    let chat = Chat::open().await;
    let Scenario { app, alice, bob, carol, .. } = &chat.scenario;
    let dora = app.user("dora").admin().await;
    chat.connect_and_grant(bob, true).await;
    for n in 0..12 {
        let agent = app.agent(&format!("agent {n}"), bob).await;
        app.delegate(&agent, bob).await;
        app.post("/api/v1/api-keys").as_user(bob).json(&json!({ "name": "k" })).await.ok();
        app.allow_tools(bob).await;
    }
    app.signed_in(bob).await;
    let body = json!({ "agents": "give", "successor_user_id": carol.id });
    let asks = [alice, &dora, alice, &dora].map(|by| offboard(app, by, bob, &body));
    let answers = at_once(app, asks.into()).await;
    let reports: Vec<Value> = answers.into_iter().map(|answer| answer.ok().json()).collect();
    assert!(reports.iter().all(|report| report["complete"] == true), "{reports:?}");
    let count =
        |name: &str| reports.iter().map(|report| report[name]["count"].as_u64().unwrap()).sum::<u64>();
    let counts = Kind::ALL.map(|kind| (kind.name(), count(kind.name())));
    let expected = [12, 1, 1, 13, 12, 0, 13, 1];
    assert_eq!(counts.map(|(_, count)| count), expected, "{counts:?}");
    for (action, expected) in [
        ("user.offboard", 1),
        ("delegation.revoke", 13),
        ("api_key.revoke", 13),
        ("authorization.revoke", 12),
        ("session_grant.revoke", 1),
        ("connection.delete", 1),
        ("browser_session.end", 1),
        ("agent_account.update", 12),
    ] {
        assert_eq!(times(app, action), expected, "{action}");
    }
    let hers = app.get("/api/v1/agent-accounts").as_user(carol).await.ok().json();
    assert_eq!(hers.as_array().unwrap().len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_somebody_makes_while_they_are_offboarded_is_over_once_it_is_complete() {
    let Scenario { app, alice, bob, carol, bot } = Scenario::start().await;
    let jwt = app.login.token("bob");
    app.get("/api/v1/me").bearer(&jwt).await.ok();
    let delegations = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let mut asks = Vec::new();
    for n in 0..12 {
        let until = format!("2027-01-{:02}T00:00:00Z", n + 1);
        asks.push(app.post(&delegations).bearer(&jwt).json(&json!({ "expires_at": until })));
        asks.push(app.post("/api/v1/api-keys").bearer(&jwt).json(&json!({ "name": format!("k{n}") })));
    }
    let body = json!({ "agents": "give", "successor_user_id": carol.id });
    asks.insert(6, offboard(&app, &alice, &bob, &body));
    let answers = at_once(&app, asks).await;
    let keys: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .filter_map(|answer| answer.json()["key"].as_str().map(str::to_owned))
        .collect();
    let done = offboard(&app, &alice, &bob, &body).await.ok().json();
    assert_eq!(done["complete"], true);
    let back = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&alice);
    back.json(&json!({ "active": true })).await.ok();
    for key in keys {
        assert_eq!(app.get("/api/v1/me").bearer(&key).await.status, 401);
    }
    let list = app.get("/api/v1/delegations").bearer(&jwt).await.ok().json();
    assert_eq!(list.as_array().unwrap().iter().filter(|made| made["is_active"] == true).count(), 0, "{list}");
    assert_eq!(app.get("/api/v1/api-keys").bearer(&jwt).await.ok().json(), json!([]));
}
