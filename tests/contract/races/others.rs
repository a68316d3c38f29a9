//! Other changes that race: delegations, client secrets, policies, users.

use std::sync::Arc;

use deputize_core::{control::Control, table::Key, vault::Vault};
use deputize_tests::{TestApp, TestRequest, TestResponse, app::root, store::turns};
use serde_json::json;

use crate::scenario::Scenario;

/// Sends all requests at the same time, on several threads.
pub(super) async fn at_once(app: &TestApp, asks: impl IntoIterator<Item = TestRequest>) -> Vec<TestResponse> {
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

pub(super) fn count(answers: &[TestResponse], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_never_gets_a_third_secret() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let secrets = format!("/api/v1/agent-accounts/{}/secrets", bot.id);
    let answers = at_once(&app, (0..20).map(|_| app.post(&secrets).as_user(&alice))).await;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 19));
    let list = app.get(&secrets).as_user(&alice).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let added = answers.iter().find(|answer| answer.status == 201).unwrap();
    app.m2m(&deputize_tests::Agent { secret: added.field("client_secret"), ..bot }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn secrets_that_come_and_go_are_never_more_than_two_and_each_that_was_answered_is_there_or_revoked() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let (app, secrets) = (Arc::new(app), format!("/api/v1/agent-accounts/{}/secrets", bot.id));
    app.faults.shuffle();
    let turns = turns();
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let (app, alice, secrets) = (Arc::clone(&app), alice.clone(), secrets.clone());
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                let added = app.post(&secrets).as_user(&alice).await;
                let list = app.get(&secrets).as_user(&alice).await.ok().json();
                assert!(list.as_array().unwrap().len() <= 2, "{list}");
                if added.status != 201 {
                    assert_eq!(added.status, 409, "{added}");
                    return None;
                }
                let id = added.field("id");
                if n % 2 == 0 {
                    app.delete(format!("{secrets}/{id}")).as_user(&alice).await.ok();
                    return None;
                }
                Some(id)
            })
        })
        .collect();
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    let list = app.get(&secrets).as_user(&alice).await.json();
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|secret| secret["id"].as_str().unwrap()).collect();
    assert!(kept.iter().all(|id| ids.contains(&&**id)), "{kept:?} {ids:?}");
    assert_eq!(ids.len(), kept.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn delegations_made_at_once_are_one() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let answers = at_once(&app, (0..20).map(|_| app.post(&path).as_user(&carol))).await;
    assert_eq!(count(&answers, 201), 20);
    let ids: std::collections::BTreeSet<String> = answers.iter().map(|answer| answer.field("id")).collect();
    assert_eq!(ids.len(), 1);
    let made = app.trail().iter().filter(|event| event["action"] == "delegation.create").count();
    assert_eq!(made, 2, "bob's, and carol's once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn delegations_that_are_made_and_revoked_at_once_are_each_followed() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let app = Arc::new(app);
    app.faults.shuffle();
    let turns = turns();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (app, carol, path) = (Arc::clone(&app), carol.clone(), path.clone());
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                let id = app.post(&path).as_user(&carol).await.ok().field("id");
                app.delete(format!("/api/v1/delegations/{id}")).as_user(&carol).await.ok();
                // Mine has ended, even if another caller has made a new one in the meantime.
                let list = app.get(&path).as_user(&carol).await.ok().json();
                let mine = list.as_array().unwrap().iter().find(|delegation| delegation["id"] == *id);
                assert!(mine.is_none_or(|delegation| delegation["is_active"] == false), "{list}");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let list = app.get(&path).as_user(&carol).await.json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["is_active"], false, "the last one was revoked too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn policies_made_at_once_are_all_counted_and_in_force() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let before = Control::read(&app.core).await.unwrap();
    let asks = (0..15).map(|n| {
        let body = json!({ "name": format!("p{n}"), "text": "permit(principal, action, resource);" });
        app.post("/api/v1/policies").as_user(&alice).json(&body)
    });
    let answers = at_once(&app, asks).await;
    assert_eq!(count(&answers, 201), 15);
    let control = Control::read(&app.core).await.unwrap();
    assert_eq!(control.policies_version, before.policies_version + 15);
    assert_eq!(control.policies, before.policies + 15);
    let deletes = answers
        .iter()
        .take(10)
        .map(|answer| app.delete(format!("/api/v1/policies/{}", answer.field("id"))).as_user(&alice));
    assert_eq!(count(&at_once(&app, deletes).await, 204), 10);
    assert_eq!(Control::read(&app.core).await.unwrap().policies, 5);
    // All copies are equal.
    let revisions: Vec<u64> =
        (0..Key::CONTROL_COPIES).map(|copy| app.revision(&Key::control(copy))).collect();
    assert!(revisions.iter().all(|revision| *revision == revisions[0]), "{revisions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_email_or_server_id_is_given_away_once() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let users = (0..10)
        .map(|_| app.post("/api/v1/users").as_user(&alice).json(&json!({ "email": "new@example.com" })));
    let answers = at_once(&app, users).await;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 9));
    let servers = (0..10).map(|_| {
        let body = json!({ "id": "new", "name": "New", "url": "https://new.example.com/mcp" });
        app.post("/api/v1/servers").as_user(&alice).json(&body)
    });
    let answers = at_once(&app, servers).await;
    assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_who_is_first_seen_by_many_calls_at_once_is_one() {
    let Scenario { app, .. } = Scenario::start().await;
    let token = app.login.token("newcomer");
    let answers = at_once(&app, (0..10).map(|_| app.get("/api/v1/me").bearer(&token))).await;
    assert_eq!(count(&answers, 200), 10);
    let ids: std::collections::BTreeSet<String> = answers.iter().map(|answer| answer.field("id")).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn signing_keys_rotated_at_once_leave_one_that_signs_and_all_that_verify() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let old = app.m2m(&bot).await;
    let answers = at_once(&app, (0..5).map(|_| app.post("/api/v1/signing-keys").as_user(&alice))).await;
    assert_eq!(count(&answers, 201), 5);
    let active = app.about_token("introspect", &bot, &old).await.json();
    assert_eq!(active["active"], true);
    let keys = app.get("/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_process_decides_by_the_policies_of_the_version_that_it_names() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    let app = Arc::new(app);
    let before = Control::read(&app.core).await.unwrap().policies_version;
    app.faults.shuffle();
    let toggled = {
        let (app, alice) = (Arc::clone(&app), alice.clone());
        tokio::spawn(async move {
            let text = "permit(principal, action, resource);";
            for _ in 0..30 {
                let made = app.post("/api/v1/policies").as_user(&alice);
                let id = made.json(&json!({ "name": "open", "text": text })).await.ok().field("id");
                app.delete(format!("/api/v1/policies/{id}")).as_user(&alice).await.ok();
            }
        })
    };
    let question = json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t" });
    let mut versions = std::collections::BTreeSet::new();
    while !toggled.is_finished() {
        let new = app.another(Vault::new(root(7), Vec::new())).await;
        let answer = new.post("/api/v1/policies/check").as_user(&alice).json(&question).await.ok().json();
        let version = answer["policies_version"].as_u64().unwrap();
        // Every other version contains the policy that permits everything.
        assert_eq!(answer["decision"] == "permit", (version - before) % 2 == 1, "{answer}");
        versions.insert(version);
    }
    toggled.await.unwrap();
    assert!(versions.len() > 5, "{versions:?}");
}
