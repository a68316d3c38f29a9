//! Deleting: what depends on a thing is told before, and then it is gone for every decision.

use deputize_core::users::Role;
use deputize_tests::jwt;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Deletable, ids, restore, token_for};
use crate::scenario::Scenario;

#[tokio::test]
async fn what_depends_on_a_thing_is_told_and_nothing_is_done() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    let contents = app.contents();
    let mut answers = Vec::new();
    for (_, _, path) in it.addresses() {
        let refused = app.delete(&path).as_user(alice).await;
        let of_kind = |of_kind: &Value| {
            let first = of_kind["first"].as_array().unwrap().len();
            format!("{} {} ({first} named)", of_kind["count"], of_kind["kind"].as_str().unwrap())
        };
        let dependents: Vec<String> =
            refused.json()["dependents"].as_array().unwrap().iter().map(of_kind).collect();
        let reason = refused.json()["reason"].as_str().unwrap().to_owned();
        answers.push(format!("{} {reason}\n  {}", refused.refusal(), dependents.join(", ")));
    }
    assert_snapshot!(answers.join("\n"), @"
    409 other things depend on the user (connections: 1, session grants: 1, delegations: 1, api keys: 1, policies: 1); cascade=true deletes it all the same has_dependents
      1 connections (1 named), 1 session_grants (1 named), 1 delegations (1 named), 1 api_keys (1 named), 1 policies (1 named)
    409 other things depend on the agent account (delegations: 1, session grants: 1, policies: 1); cascade=true deletes it all the same has_dependents
      1 delegations (1 named), 1 session_grants (1 named), 1 policies (1 named)
    409 other things depend on the server (delegations: 1, session grants: 1, connections: 1, policies: 1); cascade=true deletes it all the same has_dependents
      1 delegations (1 named), 1 session_grants (1 named), 1 connections (1 named), 1 policies (1 named)
    ");
    assert_eq!(app.contents(), contents);
}

#[tokio::test]
async fn what_nothing_depends_on_is_deleted_without_more() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let user =
        app.post("/api/v1/users").as_user(&alice).json(&json!({ "email": "new@example.com" })).await.ok();
    let agent = app.agent("idle", &alice).await;
    app.server("unused").await;
    for path in [
        format!("/api/v1/users/{}", user.field("id")),
        format!("/api/v1/agent-accounts/{}", agent.id),
        "/api/v1/servers/unused".to_owned(),
    ] {
        let answer = app.delete(&path).as_user(&alice).await;
        assert_eq!((answer.status, &*answer.text), (StatusCode::NO_CONTENT, ""), "{path}");
        assert_eq!(app.get(&path).as_user(&alice).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_deleted_thing_is_gone_for_every_decision_from_the_next_request_on() {
    let mut fares = Vec::new();
    for n in 0..3 {
        let it = Deletable::set().await;
        let (own, for_bob) = it.tokens().await;
        let (kind, _, path) = &it.addresses()[n];
        it.delete(path).await;
        fares.push(format!("{kind}:\n{}", it.fare(&own, &for_bob).await));
    }
    assert_snapshot!(fares.join("\n\n"), @"
    user:
    Bob's API key: 401 The API key is not valid
    Bob's JWT: 401 The user was deleted; an admin can restore or erase them
    the bot's secret: works
    a token for Bob: 403 invalid_grant: No valid delegation
    the bot's token: 401 No credentials available for this server
    its token for Bob: 401 The delegation that the token rests on is revoked or has expired
    Alice at the server: 404 No such connection

    agent_account:
    Bob's API key: works
    Bob's JWT: works
    the bot's secret: 401 invalid_client: Client authentication failed
    a token for Bob: 401 invalid_client: Client authentication failed
    the bot's token: 401 The agent account is disabled
    its token for Bob: 401 The agent account is disabled
    Alice at the server: 404 No such connection

    server:
    Bob's API key: works
    Bob's JWT: works
    the bot's secret: works
    a token for Bob: works
    the bot's token: 404 No such server
    its token for Bob: 404 No such server
    Alice at the server: 404 No such connection
    ");
}

#[tokio::test]
async fn a_deleted_thing_is_in_no_list_and_cannot_be_named() {
    let it = Deletable::set().await;
    let Scenario { app, alice, carol, bob, bot } = it.scenario();
    for (_, _, path) in it.addresses() {
        it.delete(&path).await;
    }
    for (list, id) in [
        ("users", bob.id.to_string()),
        ("users?active=false", bob.id.to_string()),
        ("users?email_prefix=bob", bob.id.to_string()),
        ("agent-accounts", bot.id.to_string()),
        ("agent-accounts?name_prefix=bot", bot.id.to_string()),
        ("available-agents", bot.id.to_string()),
        ("servers", "chat".to_owned()),
        ("servers?sort=name", "chat".to_owned()),
    ] {
        let shown = app.get(format!("/api/v1/{list}")).as_user(alice).await.ok().json();
        assert!(!ids(&shown).contains(&&*id), "{list}: {shown}");
    }
    let delegate = app.post(format!("/api/v1/agent-accounts/{}/delegations", bot.id)).as_user(carol);
    assert_eq!(delegate.json(&json!({})).await.status, 404);
    let give = json!({ "name": "new", "owner_user_id": bob.id });
    assert_eq!(app.post("/api/v1/agent-accounts").as_user(alice).json(&give).await.status, 400);
    assert_eq!(app.post("/api/v1/servers/chat/connect").as_user(carol).await.status, 404);
}

/// Bob's issuer vouches for him still, and for somebody else with his address. It makes users of whom it does not know.
#[tokio::test]
async fn a_deleted_user_does_not_sign_in_again_and_nobody_gets_their_address() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
    it.delete(&format!("/api/v1/users/{}", bob.id)).await;
    let users = app.get("/api/v1/users").as_user(alice).await.ok().json();
    let mut refused = Vec::new();
    for token in [
        app.login.token("bob"),
        app.login.token_with("bob", |claims| claims["sub"] = json!("another-subject")),
    ] {
        refused.push(app.get("/api/v1/me").bearer(&token).await.refusal());
    }
    let email = json!({ "email": "bob@example.com" });
    refused.push(app.post("/api/v1/users").as_user(alice).json(&email).await.refusal());
    let carol = format!("/api/v1/users/{}", it.scenario().carol.id);
    refused.push(app.patch(carol).as_user(alice).json(&email).await.refusal());
    assert_snapshot!(refused.join("\n"), @"
    401 The user was deleted; an admin can restore or erase them
    401 The user was deleted; an admin can restore or erase them
    409 a user with that email or identity exists, who is deleted: restore them, or erase them (DELETE /api/v1/deleted/user/[bob])
    409 email: it is another user's address, who is deleted: restore them, or erase them (DELETE /api/v1/deleted/user/[bob])
    ");
    assert_eq!(app.get("/api/v1/users").as_user(alice).await.ok().json(), users, "nobody was made");
}

#[tokio::test]
async fn a_deleted_servers_id_is_nobody_elses_while_it_can_be_restored() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    it.delete("/api/v1/servers/chat").await;
    let other = json!({ "id": "chat", "name": "Other", "url": "https://other.example.com/mcp" });
    let refused = app.post("/api/v1/servers").as_user(alice).json(&other).await;
    assert_snapshot!(refused.refusal(), @"409 a deleted server has that id: restore it, or erase it (DELETE /api/v1/deleted/server/chat)");
}

#[tokio::test]
async fn an_admin_does_not_delete_themselves() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    for cascade in ["", "?cascade=true"] {
        let refused = app.delete(format!("/api/v1/users/{}{cascade}", alice.id)).as_user(alice).await;
        assert_eq!(refused.refusal(), "409 an admin cannot delete themselves: another admin must do it");
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_deleted() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    for (kind, _, path) in it.addresses() {
        let tag = app.get(&path).as_user(alice).await.ok().header("etag").unwrap().to_owned();
        app.patch(&path).as_user(alice).json(&json!({ "name": "changed" })).await.ok();
        let stale = app.delete(format!("{path}?cascade=true")).as_user(alice).header("if-match", &tag).await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{kind}");
        app.get(&path).as_user(alice).await.ok();
    }
}

/// The trail says what was there, and that the user is gone, whatever they have ended with.
#[tokio::test]
async fn the_trail_tells_what_was_deleted_and_restored() {
    let it = Deletable::set().await;
    let Scenario { app, .. } = it.scenario();
    for (kind, id, path) in it.addresses() {
        it.delete(&path).await;
        it.restore(kind, &id).await.ok();
    }
    let trail = app.trail();
    let told = trail.iter().filter(|event| {
        let action = event["action"].as_str().unwrap();
        action.ends_with(".delete") && action != "connection.delete" || action.ends_with(".restore")
    });
    let told = told.map(|event| {
        let changes = event["changes"].as_array().unwrap();
        let named = changes.iter().find(|change| change["field"] == "name").unwrap_or(&Value::Null);
        app.shown(&format!("{} {} {}", event["action"], event["subject"], named))
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    assert_snapshot!(told.join("\n"), @r#"
    "agent_account.delete" "agent_account:[bot]" {"after":null,"before":"bot","field":"name"}
    "agent_account.restore" "agent_account:[bot]" {"after":"bot","before":null,"field":"name"}
    "server.delete" "server:chat" {"after":null,"before":"chat","field":"name"}
    "server.restore" "server:chat" {"after":"chat","before":null,"field":"name"}
    "user.delete" "user:[bob]" {"after":null,"before":"bob","field":"name"}
    "user.restore" "user:[bob]" {"after":"bob","before":null,"field":"name"}
    "#);
}

/// An account that was compromised, and is deleted and restored: what was issued before does not come back.
#[tokio::test]
async fn an_accounts_earlier_tokens_do_not_come_back_with_it() {
    let it = Deletable::set().await;
    let Scenario { app, bob, bot, .. } = it.scenario();
    let (own, for_bob) = it.tokens().await;
    it.delete(&format!("/api/v1/agent-accounts/{}", bot.id)).await;
    it.restore("agent_account", &bot.id.to_string()).await.ok();
    assert_snapshot!(it.fare(&own, &for_bob).await, @"
    Bob's API key: works
    Bob's JWT: works
    the bot's secret: works
    a token for Bob: works
    the bot's token: 401 The agent account was disabled after the token was issued
    its token for Bob: 401 The agent account was disabled after the token was issued
    Alice at the server: 404 No such connection
    ");
    let fresh = token_for(app, bot, bob).await.ok().field("access_token");
    app.call("chat", "list_channels", &json!({})).bearer(&fresh).await.ok();
    assert!(jwt::claims(&fresh)["sub"].is_string());
}

/// What they have at what is gone ends too, and is told.
#[tokio::test]
async fn somebody_leaves_who_has_things_at_a_deleted_account_and_a_deleted_server() {
    let it = Deletable::set().await;
    let Scenario { app, alice, bob, .. } = it.scenario();
    it.delete(&it.addresses()[1].2).await;
    it.delete("/api/v1/servers/chat").await;
    let body = json!({ "agents": "stop" });
    let path = format!("/api/v1/users/{}/offboard", bob.id);
    let report = app.post(path).as_user(alice).json(&body).await.ok().json();
    let counts = ["connections", "session_grants", "delegations"].map(|kind| &report[kind]["count"]);
    assert_eq!((&report["complete"], counts), (&json!(true), [&json!(1); 3]), "{report}");
    for (kind, id, _) in it.addresses().into_iter().skip(1) {
        it.restore(kind, &id).await.ok();
    }
    let left = app.delete(format!("/api/v1/users/{}", bob.id)).as_user(alice).await;
    let left = left.json()["dependents"].clone();
    assert_eq!((&left[0]["kind"], &left[1]), (&json!("policies"), &Value::Null), "{left}");
}

/// Each kind, by callers who see everything and may stop things, but may not delete.
#[tokio::test]
async fn operators_and_owners_delete_no_users_accounts_or_servers() {
    let it = Deletable::set().await;
    let Scenario { app, alice, carol, bot, .. } = it.scenario();
    let frank = app.user("frank").role(Role::Operator).await;
    let own = json!({ "owner_user_id": carol.id });
    app.patch(format!("/api/v1/agent-accounts/{}", bot.id)).as_user(alice).json(&own).await.ok();
    for (kind, id, path) in it.addresses() {
        for by in [&frank, carol] {
            let refused = app.delete(format!("{path}?cascade=true")).as_user(by).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{kind} by {}: {refused}", by.name);
        }
        it.delete(&path).await;
        for by in [&frank, carol] {
            assert_eq!(restore(app, by, kind, &id).await.status, StatusCode::FORBIDDEN, "{kind}");
            assert_eq!(super::erase(app, by, kind, &id).await.status, StatusCode::FORBIDDEN, "{kind}");
        }
    }
}

/// Before `deputize reindex` has run, nobody knows what depends on a server.
#[tokio::test]
async fn a_server_whose_dependents_cannot_be_told_is_not_deleted_as_if_there_were_none() {
    let it = Deletable::set().await;
    let Scenario { app, alice, .. } = it.scenario();
    app.remove("CONTROL#LISTS", "LISTS");
    // A process that has not yet learned which lists are complete.
    let app = app.with_settings(|_| {});
    let refused = app.delete("/api/v1/servers/chat").as_user(alice).await;
    assert_eq!(
        (refused.status, refused.field("reason")),
        (StatusCode::CONFLICT, "list_incomplete".to_owned())
    );
    app.delete("/api/v1/servers/chat?cascade=true").as_user(alice).await.ok();
}
