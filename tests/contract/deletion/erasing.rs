//! Erasing: what is left of a thing goes, its address and its id are free again, and nothing of it is found.

use std::time::Duration;

use deputize_core::{
    audit::RequestContext,
    deletion::{self, ErasedDue},
    trail::EVENTS_SETTLE_IN,
};
use deputize_tests::TestApp;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Deletable, THIRTY_DAYS, erase, erase_due, token_for};
use crate::scenario::Scenario;

const A_MINUTE: Duration = Duration::from_secs(60);

fn none() -> ErasedDue {
    ErasedDue::default()
}

/// Items that name something, by their keys' beginnings and kinds.
fn naming(app: &TestApp, what: &str) -> Vec<String> {
    let items = app.contents().into_iter().map(|(key, item)| (key, item.to_string()));
    let named = items.filter(|(key, item)| key.contains(what) || item.contains(what));
    let mut named: Vec<String> = named.map(|(key, _)| app.shown(&key)).collect();
    named.sort();
    named
}

#[tokio::test]
async fn what_was_deleted_thirty_days_ago_is_erased_and_nothing_earlier() {
    let it = Deletable::set().await;
    let Scenario { app, .. } = it.scenario();
    for (_, _, path) in it.addresses() {
        it.delete(&path).await;
    }
    app.pass(THIRTY_DAYS);
    app.pass(Duration::from_secs(59));
    assert_eq!(erase_due(app).await, none());
    app.pass(Duration::from_secs(2));
    assert_eq!(erase_due(app).await, ErasedDue { erased: 3, ..none() });
    assert_eq!(erase_due(app).await, none(), "there is nothing left to do");
    let trail = app.trail();
    let told = trail.iter().filter(|event| event["action"].as_str().unwrap().contains(".erase"));
    let line = |event: &Value| format!("{} {} {}", event["action"], event["subject"], event["credential"]);
    let told = told.map(|event| app.shown(&line(event)));
    let mut told: Vec<String> = told.collect();
    told.sort();
    assert_snapshot!(told.join("\n"), @r#"
    "agent_account.erase" "agent_account:[bot]" null
    "server.erase" "server:chat" null
    "user.erase" "user:[bob]" null
    "#);
}

/// What has an erased user's id is what others have and own: their delegations and grants have ended, and go by themselves.
#[tokio::test]
async fn nothing_is_left_of_an_erased_user_that_says_who_they_were() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
    it.delete(&format!("/api/v1/users/{}", bob.id)).await;
    app.pass(EVENTS_SETTLE_IN);
    assert_eq!(erase(app, alice, "user", &bob.id.to_string()).await.status, StatusCode::NO_CONTENT);
    let trail = app.trail().iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    assert!(!trail.contains("bob@example.com"), "{trail}");
    assert_eq!(naming(app, "bob@example.com"), Vec::<String>::new());
    assert_eq!(naming(app, app.login.claims("bob")["sub"].as_str().unwrap()), Vec::<String>::new());
    assert_snapshot!(naming(app, &bob.id.to_string()).join("\n"), @"
    AGENT#[bot] DELEGATION#[bob]
    AGENT#[bot] GRANT#[bob]#chat
    AGENT#[bot] PROMOTION#chat#1
    AT_SERVER#chat DELEGATION#[bot]#[bob]
    AT_SERVER#chat GRANT#[bot]#[bob]
    DELEGATION#[bob's delegation] DELEGATION
    DELEGATION#[uuid] DELEGATION
    GRANT#[uuid] GRANT
    POLICIES POLICY#[policy about Bob]
    ");
    // The address is free, and leads to somebody else from now on.
    let email = json!({ "email": "bob@example.com" });
    let new = app.post("/api/v1/users").as_user(alice).json(&email).await.ok().field("id");
    assert_ne!(new, bob.id.to_string());
    let me = app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
    assert_eq!(me.field("id"), new);
}

#[tokio::test]
async fn nothing_is_left_of_an_erased_agent_account() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bot, .. } = it.scenario();
    it.delete(&format!("/api/v1/agent-accounts/{}", bot.id)).await;
    app.pass(A_MINUTE);
    erase(app, alice, "agent_account", &bot.id.to_string()).await.ok();
    assert_snapshot!(naming(app, &bot.id.to_string()).join("\n"), @"
    DELEGATION#[bob's delegation] DELEGATION
    POLICIES POLICY#[policy about the bot]
    ");
}

/// A server that gets an erased one's id is another server: what named the first does not mean the second.
#[tokio::test]
async fn an_erased_servers_id_is_free_and_nothing_that_was_for_it_is_for_the_next() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, carol, bot } = it.scenario();
    // Carol's delegation names another server too.
    app.server("other").await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    app.post(path).as_user(carol).json(&json!({ "server_ids": ["chat", "other"] })).await.ok();
    it.delete("/api/v1/servers/chat").await;
    app.pass(A_MINUTE);
    erase(app, alice, "server", "chat").await.ok();
    app.server("chat").at(it.chat.provider.mcp_url()).oauth().await;
    let mut told = Vec::new();
    for user in [bob, carol] {
        let list = app.get(format!("/api/v1/users/{}/delegations", user.id)).as_user(alice).await.ok().json();
        let of = list[0].clone();
        told.push(format!("{}'s delegation: {} active: {}", user.name, of["server_ids"], of["is_active"]));
        let answer = token_for(app, bot, user).await;
        if answer.status.is_success() {
            let token = answer.field("access_token");
            let called = app.call("chat", "list_channels", &json!({})).bearer(&token).await;
            told.push(format!("{} at the new server: {}", user.name, called.refusal()));
        } else {
            told.push(format!("{}: {}", user.name, answer.refusal()));
        }
    }
    let own = app.m2m(bot).await;
    let called = app.call("chat", "list_channels", &json!({})).bearer(&own).await;
    told.push(format!("by Bob's shared grant: {}", called.refusal()));
    told.push(format!("Bob's connection: {}", it.chat.connection(bob).await.refusal()));
    assert_snapshot!(told.join("\n"), @r#"
    bob's delegation: [] active: false
    bob: 403 invalid_grant: No valid delegation
    carol's delegation: ["other"] active: true
    carol at the new server: 403 The user's delegation does not cover this server
    by Bob's shared grant: 401 No credentials available for this server
    Bob's connection: 404 No such connection
    "#);
    // Made anew, they are good again.
    app.delegate(bot, bob).await;
    it.chat.connect_and_grant(bob, true).await;
    let token = token_for(app, bot, bob).await.ok().field("access_token");
    app.call("chat", "list_channels", &json!({})).bearer(&token).await.ok();
}

/// Requests that were under way when it was deleted may still write.
#[tokio::test]
async fn nothing_is_erased_within_a_minute_of_its_deletion() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    let mut refused = Vec::new();
    for (kind, id, path) in it.addresses() {
        it.delete(&path).await;
        refused.push(erase(app, alice, kind, &id).await.refusal());
    }
    refused.dedup();
    assert_snapshot!(refused.join("\n"), @"409 it was deleted just now, and requests that were under way then may not have ended: try again in a minute");
    app.pass(EVENTS_SETTLE_IN);
    for (kind, id, _) in it.addresses() {
        erase(app, alice, kind, &id).await.ok();
        assert_eq!(erase(app, alice, kind, &id).await.status, StatusCode::NO_CONTENT, "again");
        assert_eq!(it.restore(kind, &id).await.status, StatusCode::NOT_FOUND);
    }
}

/// An agent presents its token for as long as it lasts, and each refusal is an event that names the user.
#[tokio::test]
async fn a_user_is_erased_only_when_no_event_of_theirs_can_come_any_more() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    let id = bob.id.to_string();
    it.delete(&format!("/api/v1/users/{id}")).await;
    app.pass(A_MINUTE);
    assert_eq!(erase(app, alice, "user", &id).await.status, StatusCode::ACCEPTED);
    assert_eq!(it.restore("user", &id).await.status, StatusCode::NOT_FOUND, "that is over at once");
    app.pass(Duration::from_mins(118));
    assert_eq!(erase_due(app).await, none());
    app.pass(A_MINUTE);
    assert_eq!(erase_due(app).await, ErasedDue { erased: 1, ..none() });
}

#[tokio::test]
async fn policies_and_keys_are_erased_too() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    let policy = app.policy("gone", "forbid(principal, action, resource);").await;
    app.delete(format!("/api/v1/policies/{policy}")).as_user(alice).await.ok();
    let key = app.post("/api/v1/api-keys").as_user(bob).json(&json!({ "name": "my key" })).await.ok();
    let key = key.field("id");
    app.delete(format!("/api/v1/api-keys/{key}")).as_user(bob).await.ok();
    app.pass(THIRTY_DAYS + A_MINUTE + Duration::from_secs(1));
    assert_eq!(erase_due(app).await, ErasedDue { erased: 2, ..none() });
    for id in [policy.to_string(), key] {
        assert_eq!(naming(app, &id), Vec::<String>::new());
    }
}

/// A request that has no time left does nothing more, and the next goes on.
#[tokio::test]
async fn what_there_is_no_time_for_is_left_for_the_next_run() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    it.delete("/api/v1/servers/chat").await;
    app.pass(THIRTY_DAYS + 2 * A_MINUTE);
    let hurried = RequestContext { work_until: Some(std::time::Instant::now()), ..RequestContext::default() };
    let ended = deletion::erase_due(&app.core, &hurried).await.unwrap();
    assert_eq!(ended, ErasedDue { unfinished: true, ..none() });
    assert_eq!(erase_due(app).await.erased, 1);
    let id = json!({ "id": "chat", "name": "New", "url": "https://new.example.com/mcp" });
    app.post("/api/v1/servers").as_user(alice).json(&id).await.ok();
}

/// It is restored between two steps of its erasing: by an admin whose request came just in time.
#[tokio::test]
async fn what_is_restored_while_it_is_being_erased_loses_nothing_more() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    it.delete("/api/v1/servers/chat").await;
    app.pass(A_MINUTE);
    // The first change of the erasing ends the time in which it could be restored.
    app.faults.stop_before_next_change();
    let erasing = app.delete("/api/v1/deleted/server/chat").as_user(alice);
    let erasing = tokio::spawn(std::future::IntoFuture::into_future(erasing));
    app.faults.is_stopped().await;
    it.restore("server", "chat").await.ok();
    app.faults.go_on();
    assert_eq!(erasing.await.unwrap().status, StatusCode::NOT_FOUND);
    let server: Value = app.get("/api/v1/servers/chat").as_user(alice).await.ok().json();
    assert_eq!(server["id"], "chat");
    assert_eq!(it.chat.connection(&it.scenario().bob).await.ok().field("status"), "connected");
}
