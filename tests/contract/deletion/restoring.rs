//! Restoring: a mistake is undone as a whole, by those who may, and in time.

use std::time::Duration;

use deputize_core::users::Role;
use deputize_tests::{TestApp, User};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Deletable, ids, restore, token_for};
use crate::scenario::Scenario;

#[tokio::test]
async fn an_account_and_a_server_come_back_with_all_that_rests_on_them() {
    for kind in ["agent_account", "server"] {
        let it = Deletable::set().await;
        let Scenario { app, bob, bot, alice, .. } = it.scenario();
        let seen = async || {
            let mut seen = Vec::new();
            for path in [
                format!("/api/v1/agent-accounts/{}", bot.id),
                "/api/v1/servers/chat".to_owned(),
                format!("/api/v1/users/{}/delegations", bob.id),
                format!("/api/v1/users/{}/session-grants", bob.id),
                format!("/api/v1/users/{}/connections", bob.id),
                "/api/v1/servers/chat/delegations".to_owned(),
                "/api/v1/servers/chat/connections".to_owned(),
                "/api/v1/agent-accounts?sort=name".to_owned(),
                "/api/v1/servers?sort=name".to_owned(),
            ] {
                seen.push(app.get(path).as_user(alice).await.ok().text);
            }
            seen
        };
        let before = seen().await;
        let (_, id, path) = it.addresses().into_iter().find(|(of, ..)| *of == kind).unwrap();
        it.delete(&path).await;
        it.restore(kind, &id).await.ok();
        assert_eq!(seen().await, before, "{kind}");
        let token = token_for(app, bot, bob).await.ok().field("access_token");
        app.call("chat", "list_channels", &json!({})).bearer(&token).await.ok();
    }
}

#[tokio::test]
async fn a_user_comes_back_deactivated_and_without_what_they_had() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    let (own, for_bob) = it.tokens().await;
    let path = format!("/api/v1/users/{}", bob.id);
    it.delete(&path).await;
    it.restore("user", &bob.id.to_string()).await.ok();
    let restored = app.get(&path).as_user(alice).await.ok();
    assert_eq!(
        (&restored.json()["active"], &restored.json()["email"]),
        (&json!(false), &json!("bob@example.com"))
    );
    let before = it.fare(&own, &for_bob).await;
    app.patch(&path).as_user(alice).json(&json!({ "active": true })).await.ok();
    let after = it.fare(&own, &for_bob).await;
    assert_snapshot!(format!("restored:\n{before}\n\nreactivated:\n{after}"), @"
    restored:
    Bob's API key: 401 The API key is not valid
    Bob's JWT: 401 The user is deactivated
    the bot's secret: works
    a token for Bob: 403 invalid_grant: No valid delegation
    the bot's token: 401 No credentials available for this server
    its token for Bob: 401 The delegation that the token rests on is revoked or has expired
    Alice at the server: 404 No such connection

    reactivated:
    Bob's API key: 401 The API key is not valid
    Bob's JWT: works
    the bot's secret: works
    a token for Bob: 403 invalid_grant: No valid delegation
    the bot's token: 401 No credentials available for this server
    its token for Bob: 401 The delegation that the token rests on is revoked or has expired
    Alice at the server: 404 No such connection
    ");
}

/// What can be restored is listed, the last mistake first.
#[tokio::test]
async fn what_can_be_restored_is_listed() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    let erin = app.user("erin").role(Role::Auditor).await;
    app.server("first").await;
    app.delete("/api/v1/servers/first").as_user(alice).await.ok();
    app.pass(Duration::from_secs(1));
    it.delete("/api/v1/servers/chat").await;
    let list = app.get("/api/v1/deleted/server").as_user(&erin).await.ok();
    assert_eq!(ids(&list.json()), ["chat", "first"]);
    let one = app.get("/api/v1/deleted/server?limit=1").as_user(&erin).await.ok();
    assert_eq!(ids(&one.json()), ["chat"]);
    let next = app.get(one.next().unwrap()).as_user(&erin).await.ok();
    assert_eq!(ids(&next.json()), ["first"]);
    let chat = app.get("/api/v1/deleted/server/chat").as_user(&erin).await.ok();
    assert_snapshot!(app.shown(&chat.text), @r#"{"kind":"server","id":"chat","name":"chat","user_id":null,"deleted_at":"2026-01-15T09:00:01.000Z","deleted_by_user_id":"[alice]","restorable_until":"2026-02-14T09:00:01.000Z"}"#);
    it.restore("server", "chat").await.ok();
    let list = app.get("/api/v1/deleted/server").as_user(&erin).await.ok();
    assert_eq!(ids(&list.json()), ["first"]);
    assert_eq!(it.restore("server", "chat").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_thing_can_be_restored_for_thirty_days_whether_or_not_it_was_erased_then() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    for (_, _, path) in it.addresses() {
        it.delete(&path).await;
    }
    app.pass(Duration::from_hours(24 * 29));
    app.pass(Duration::from_secs(24 * 3600 - 1));
    it.restore("server", "chat").await.ok();
    app.pass(Duration::from_secs(1));
    for (kind, id, _) in it.addresses() {
        assert_eq!(it.restore(kind, &id).await.status, StatusCode::NOT_FOUND, "{kind}");
        let list = app.get(format!("/api/v1/deleted/{kind}")).as_user(alice).await.ok();
        assert_eq!(list.json(), json!([]), "{kind}");
    }
}

#[tokio::test]
async fn a_retried_restore_is_answered_as_the_first_was() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    it.delete("/api/v1/servers/chat").await;
    let again = async || {
        let path = "/api/v1/deleted/server/chat/restore";
        app.post(path).as_user(alice).header("idempotency-key", "\"undo\"").await
    };
    assert_eq!(
        (again().await.status, again().await.status),
        (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT)
    );
}

#[tokio::test]
async fn what_is_deleted_restored_and_deleted_again_can_be_restored_again() {
    let it = Deletable::set().await;
    for (kind, id, path) in it.addresses() {
        for _ in 0..2 {
            it.delete(&path).await;
            it.restore(kind, &id).await.ok();
        }
    }
}

async fn new_key(app: &TestApp, user: &User, body: Value) -> (String, String) {
    let made = app.post("/api/v1/api-keys").as_user(user).json(&body).await.ok();
    (made.field("id"), made.field("key"))
}

#[tokio::test]
async fn a_user_takes_back_that_they_revoked_a_key_and_only_an_admin_what_an_admin_did() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    let frank = app.user("frank").role(Role::Operator).await;
    let works = async |key: &str| app.get("/api/v1/me").bearer(key).await.status.is_success();
    let (id, key) = new_key(&app, &bob, json!({ "name": "ci" })).await;
    let path = format!("/api/v1/users/{}/api-keys/{id}", bob.id);
    let mut told = Vec::new();
    for revoker in [&bob, &frank, &alice] {
        app.delete(&path).as_user(revoker).await.ok();
        assert!(!works(&key).await);
        for by in [&carol, &bob, &frank, &alice] {
            let answer = restore(&app, by, "api_key", &id).await;
            let came = if answer.status.is_success() { "restored".to_owned() } else { answer.refusal() };
            told.push(format!("revoked by {}, by {}: {came}", revoker.name, by.name));
            if answer.status.is_success() {
                assert!(works(&key).await);
                app.delete(&path).as_user(revoker).await.ok();
            }
        }
        restore(&app, &alice, "api_key", &id).await.ok();
        assert!(works(&key).await);
    }
    assert_snapshot!(told.join("\n"), @"
    revoked by bob, by carol: 403 Only an operator or an admin may do this
    revoked by bob, by bob: restored
    revoked by bob, by frank: restored
    revoked by bob, by alice: restored
    revoked by frank, by carol: 403 Only an operator or an admin may do this
    revoked by frank, by bob: 403 Only an operator or an admin can restore the key
    revoked by frank, by frank: restored
    revoked by frank, by alice: restored
    revoked by alice, by carol: 403 Only an operator or an admin may do this
    revoked by alice, by bob: 403 Only an admin can restore the key
    revoked by alice, by frank: 403 Only an admin can restore the key
    revoked by alice, by alice: restored
    ");
}

/// A key that was revoked, and has ended by something else meanwhile.
#[tokio::test]
async fn a_key_that_ended_meanwhile_does_not_come_back() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let until = app.now().plus(Duration::from_secs(3600)).to_string();
    let (short, _) = new_key(&app, &bob, json!({ "name": "short", "expires_at": until })).await;
    let (long, _) = new_key(&app, &bob, json!({ "name": "long" })).await;
    for id in [&short, &long] {
        app.delete(format!("/api/v1/api-keys/{id}")).as_user(&bob).await.ok();
    }
    app.pass(Duration::from_secs(3600));
    let past = restore(&app, &bob, "api_key", &short).await.refusal();
    let user = format!("/api/v1/users/{}", bob.id);
    for active in [false, true] {
        app.patch(&user).as_user(&alice).json(&json!({ "active": active })).await.ok();
    }
    let former = restore(&app, &alice, "api_key", &long).await.refusal();
    assert_snapshot!(format!("{past}\n{former}"), @"
    409 the key has ended, by its time or with its user: make a new one
    409 the key has ended, by its time or with its user: make a new one
    ");
}

/// An API key with less than all cannot bring back one with more: it would be a way to more.
#[tokio::test]
async fn a_narrow_key_restores_no_wider_one() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let (wide, _) = new_key(&app, &bob, json!({ "name": "wide" })).await;
    app.delete(format!("/api/v1/api-keys/{wide}")).as_user(&bob).await.ok();
    let (_, narrow) = new_key(&app, &bob, json!({ "name": "narrow", "scopes": ["manage"] })).await;
    let restored = app.post(format!("/api/v1/deleted/api_key/{wide}/restore")).bearer(&narrow).await;
    assert_eq!(restored.status, StatusCode::FORBIDDEN, "{restored}");
}

#[tokio::test]
async fn a_policy_comes_back_in_force_unless_its_name_is_anothers() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    let forbid = json!({ "name": "stop", "text": "forbid(principal, action, resource);" });
    let make = async || app.post("/api/v1/policies").as_user(alice).json(&forbid).await.ok().field("id");
    let call = async || it.chat.call(&it.scenario().bob).await.status;
    let id = make().await;
    assert_eq!(call().await, StatusCode::FORBIDDEN);
    app.delete(format!("/api/v1/policies/{id}")).as_user(alice).await.ok();
    assert_eq!(call().await, StatusCode::OK);
    it.restore("policy", &id).await.ok();
    assert_eq!(call().await, StatusCode::FORBIDDEN);
    app.delete(format!("/api/v1/policies/{id}")).as_user(alice).await.ok();
    let other = make().await;
    let refused = it.restore("policy", &id).await;
    assert_eq!(refused.json()["conflict"], json!({ "kind": "policy", "id": other }), "{refused}");
}

#[tokio::test]
async fn an_id_that_cannot_be_names_no_deleted_thing() {
    let it = Deletable::set().await;
    let mut told = Vec::new();
    for (kind, id) in [("user", "bob"), ("server", "UPPER"), ("robot", "1"), ("policy", "1")] {
        told.push(format!("{kind}: {}", it.restore(kind, id).await.refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    user: 404 No such deleted thing
    server: 404 No such deleted thing
    robot: 404 No such thing: the id in the path is malformed
    policy: 404 No such deleted thing
    ");
}
