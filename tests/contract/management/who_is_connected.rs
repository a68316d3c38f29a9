//! Who is connected at a server, and which of a user's connections can be used.

use std::{future::IntoFuture, time::Duration};

use deputize_core::table::Key;
use deputize_tests::{TestApp, TestResponse, User, provider::Revocation};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{connections::Chat, scenario::Scenario};

const AT_CHAT: &str = "/api/v1/servers/chat/connections";

/// The users of a server's connections and the connections' statuses, sorted, from all pages.
async fn at(app: &TestApp, user: &User, query: &str) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some(format!("{AT_CHAT}{query}")));
    while let Some(path) = next {
        let page = app.get(path).as_user(user).await.ok();
        let told = |connection: &Value| {
            let [email, status] =
                ["user_email", "status"].map(|field| connection[field].as_str().unwrap().to_owned());
            format!("{email} {status}")
        };
        seen.extend(page.json().as_array().unwrap().iter().map(told));
        next = page.next();
    }
    seen.sort();
    seen
}

/// The statuses of a user's connections.
async fn of(app: &TestApp, user: &User, query: &str) -> Vec<String> {
    let path = format!("/api/v1/users/{}/connections{query}", user.id);
    let list = app.get(path).as_user(user).await.ok().json();
    list.as_array().unwrap().iter().map(|item| item["status"].as_str().unwrap().to_owned()).collect()
}

/// How many entries the server's list has.
fn entries(app: &TestApp) -> usize {
    app.contents().keys().filter(|key| key.starts_with("AT_SERVER#chat SESSION#")).count()
}

/// Bob is connected for an hour, without a refresh token, and Carol for as long as the provider refreshes.
async fn two() -> Chat {
    let chat = Chat::open().await;
    let Scenario { bob, carol, .. } = &chat.scenario;
    chat.provider.script().gives_refresh_tokens = false;
    chat.connect(bob).await;
    chat.provider.script().gives_refresh_tokens = true;
    chat.connect(carol).await;
    chat
}

#[tokio::test]
async fn who_is_connected_at_a_server_is_one_page() {
    let chat = two().await;
    let Scenario { app, alice, bob, .. } = &chat.scenario;
    // The first one also looks whether the list is complete.
    app.get(AT_CHAT).as_user(alice).await.ok();
    let body = json!({ "active": false });
    app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&body).await.ok();
    let (page, cost) = app.round_trips(app.get(AT_CHAT).as_user(alice).into_future()).await;
    // The caller's credential; the query, beside which the server is read; the sessions, with all that they rest on.
    assert_eq!(cost, [("BatchGetItem", 3), ("Query", 1)]);
    let mut items = page.ok().json();
    // In the order of the users' ids, which are random.
    items.as_array_mut().unwrap().sort_by_key(|item| item["user_email"].as_str().unwrap().to_owned());
    assert_snapshot!(app.shown(&format!("{items:#}")), @r#"
    [
      {
        "user_id": "[bob]",
        "user_email": "bob@example.com",
        "user_active": false,
        "server_id": "chat",
        "status": "connected",
        "connected_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-01-15T10:00:00.000Z",
        "renewable": false,
        "scope": "chat:read",
        "ended_because": null
      },
      {
        "user_id": "[carol]",
        "user_email": "carol@example.com",
        "user_active": true,
        "server_id": "chat",
        "status": "connected",
        "connected_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-01-15T10:00:00.000Z",
        "renewable": true,
        "scope": "chat:read",
        "ended_because": null
      }
    ]
    "#);
    for token in chat.provider.given() {
        assert!(!items.to_string().contains(&token));
    }
}

#[tokio::test]
async fn connections_are_found_by_status_and_by_user() {
    let chat = two().await;
    let Scenario { app, alice, bob, carol, .. } = &chat.scenario;
    assert_eq!(at(app, alice, "?status=expired").await, [""; 0]);
    assert_eq!(of(app, bob, "?status=connected").await, ["connected"]);
    app.pass(Duration::from_hours(2));
    let (bobs, carols) = ("bob@example.com expired", "carol@example.com connected");
    for query in ["", "?limit=1", "?limit=2"] {
        assert_eq!(at(app, alice, query).await, [bobs, carols], "{query}");
    }
    assert_eq!(at(app, alice, "?status=expired").await, [bobs]);
    assert_eq!(at(app, alice, "?status=expired&limit=1").await, [bobs]);
    assert_eq!(at(app, alice, "?status=connected").await, [carols]);
    assert_eq!(at(app, alice, &format!("?user_id={}", bob.id)).await, [bobs]);
    assert_eq!(at(app, alice, &format!("?user_id={}&status=connected", bob.id)).await, [""; 0]);
    assert_eq!(at(app, alice, &format!("?user_id={}", alice.id)).await, [""; 0]);
    assert_eq!(of(app, bob, "").await, ["expired"]);
    assert_eq!(of(app, bob, "?status=connected").await, [""; 0]);
    assert_eq!(of(app, carol, "?status=connected").await, ["connected"]);
    assert_eq!(of(app, carol, "?status=expired").await, [""; 0]);
    for path in [AT_CHAT.to_owned(), format!("/api/v1/users/{}/connections", bob.id)] {
        let refused = app.get(format!("{path}?status=over")).as_user(alice).await;
        assert_eq!(refused.refusal(), "400 status: must be connected or expired");
    }
}

/// A refresh token is bound to the client that it was given to (RFC 6749 section 6).
#[tokio::test]
async fn a_connection_that_a_client_made_whom_the_server_has_no_more_has_ended_in_every_list() {
    let chat = two().await;
    let Scenario { app, alice, carol, .. } = &chat.scenario;
    app.pass(Duration::from_hours(2));
    assert_eq!(of(app, carol, "").await, ["connected"]);
    let clients: Vec<String> = app.contents().into_keys().filter(|key| key.contains(" CLIENT#")).collect();
    let [client] = &clients[..] else { panic!("the clients are {clients:?}") };
    let (pk, sk) = client.split_once(' ').unwrap();
    app.remove(pk, sk);
    assert_eq!(of(app, carol, "").await, ["expired"]);
    assert_eq!(at(app, alice, &format!("?user_id={}", carol.id)).await, ["carol@example.com expired"]);
}

#[tokio::test]
async fn a_connection_leaves_the_list_when_it_ends_and_is_there_once_if_it_is_made_again() {
    let chat = two().await;
    chat.provider.revokes(Revocation::Works);
    let Scenario { app, alice, bob, carol, .. } = &chat.scenario;
    chat.connect(carol).await;
    assert_eq!((at(app, alice, "").await.len(), entries(app)), (2, 2));
    app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
    assert_eq!((at(app, alice, "").await, entries(app)), (vec!["carol@example.com connected".to_owned()], 1));
    let leave = app.post(format!("/api/v1/users/{}/offboard", carol.id)).as_user(alice);
    leave.json(&json!({ "agents": "stop" })).await.ok();
    assert_eq!((at(app, alice, "").await.len(), entries(app)), (0, 0));
}

#[tokio::test]
async fn an_entry_that_leads_to_no_session_is_not_shown() {
    let chat = two().await;
    let Scenario { app, alice, bob, .. } = &chat.scenario;
    let session = Key::session(bob.id, &"chat".parse().unwrap());
    app.remove(&session.pk, &session.sk);
    assert_eq!(at(app, alice, "").await, ["carol@example.com connected"]);
}

#[tokio::test]
async fn users_see_only_that_they_are_connected_themselves() {
    let chat = two().await;
    let Scenario { app, alice, bob, carol, .. } = &chat.scenario;
    let ask = async |path: &str| -> TestResponse { app.get(path).as_user(bob).await };
    assert_snapshot!(ask(AT_CHAT).await.refusal(), @"403 Only an auditor, an operator or an admin may do this");
    // Not even that there is a server or a user.
    assert_eq!(ask("/api/v1/servers/nowhere/connections").await.text, ask(AT_CHAT).await.text);
    let own = format!("{AT_CHAT}?user_id={}", bob.id);
    assert_eq!(ask(&own).await.text, ask(AT_CHAT).await.text);
    let carols = format!("/api/v1/users/{}/connections?status=connected", carol.id);
    assert_eq!(ask(&carols).await.status, 403);
    let unknown = app.get("/api/v1/servers/nowhere/connections").as_user(alice).await;
    assert_eq!(unknown.refusal(), "404 No such server");
}
