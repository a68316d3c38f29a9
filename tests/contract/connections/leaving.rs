//! Somebody leaves while they are being connected, or while their tokens are refreshed: what the provider gives then is
//! stored nowhere, and the provider is asked to forget it.

use std::time::Duration;

use deputize_core::table::Key;
use deputize_tests::{
    TestResponse, User,
    provider::{Revocation, TokenEndpoint},
};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::json;

use super::{Chat, asked, cookie, page_text};
use crate::scenario::Scenario;

const EXCHANGE: &str = "token authorization_code";

/// A connection of Bob's to which he has consented, and the path of the way back.
async fn consented(chat: &Chat) -> (TestResponse, String) {
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    (begun, back)
}

async fn set_active(chat: &Chat, active: bool) {
    let Scenario { app, alice, bob, .. } = &chat.scenario;
    let change = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice);
    change.json(&json!({ "active": active })).await.ok();
}

async fn offboard(chat: &Chat) -> TestResponse {
    let Scenario { app, alice, bob, .. } = &chat.scenario;
    let leave = app.post(format!("/api/v1/users/{}/offboard", bob.id)).as_user(alice);
    leave.json(&json!({ "agents": "stop" })).await.ok()
}

/// Whether there is a session of a user, or an entry of one.
fn has_session(chat: &Chat, user: &User) -> bool {
    let [key, entry] =
        [Key::session(user.id, &"chat".parse().unwrap()), Key::session_at(&"chat".parse().unwrap(), user.id)];
    let contents = chat.scenario.app.contents();
    [key, entry].iter().any(|key| contents.contains_key(&format!("{} {}", key.pk, key.sk)))
}

/// Bob comes back from the provider, which has given tokens, but whose answer comes after this has happened.
async fn finish_while(chat: &Chat, meanwhile: impl Future<Output = ()>) -> TestResponse {
    let (begun, back) = consented(chat).await;
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let finish = async { chat.scenario.app.get(back).header("cookie", &cookie(&begun)).await };
    let meanwhile = async {
        asked(&chat.provider, EXCHANGE).await;
        meanwhile.await;
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        chat.provider.release();
    };
    tokio::join!(finish, meanwhile).0
}

#[tokio::test]
async fn who_is_offboarded_while_their_connection_is_made_is_not_connected_and_the_provider_forgets() {
    let chat = Chat::open().await;
    chat.provider.revokes(Revocation::Works);
    let page = finish_while(&chat, async {
        assert_eq!(chat.provider.families_alive(), 1, "the provider has given tokens");
        let report = offboard(&chat).await.json();
        assert_eq!(report["complete"], true);
        assert_eq!(report["connections"]["count"], 0, "there is none yet that could be ended");
    })
    .await;
    assert_snapshot!(page_text(&page), @"403 Not connected The account that began this has been deactivated.");
    assert_snapshot!(chat.scenario.app.event_of(&page), @r#"
    action: "connection.create"
    audit_server: "chat"
    audit_user: "[bob]"
    detail: "The account that began this has been deactivated; revoked at the provider"
    outcome: "failed"
    subject: "connection:chat"
    "#);
    assert!(!has_session(&chat, &chat.scenario.bob));
    assert_eq!((chat.provider.count("revoke refresh_token"), chat.provider.families_alive()), (1, 0));
    // It does not come to light later.
    set_active(&chat, true).await;
    let connection = chat.scenario.app.get("/api/v1/servers/chat/connection");
    assert_eq!(connection.bearer(&chat.scenario.app.login.token("bob")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_has_left_and_come_back_meanwhile_is_not_connected_either() {
    let chat = Chat::open().await;
    chat.provider.revokes(Revocation::Works);
    // Without a refresh token, the access token is what the provider forgets.
    chat.provider.script().gives_refresh_tokens = false;
    let page = finish_while(&chat, async {
        offboard(&chat).await;
        set_active(&chat, true).await;
    })
    .await;
    assert_snapshot!(page_text(&page), @"403 Not connected The account that began this has been deactivated.");
    assert!(!has_session(&chat, &chat.scenario.bob));
    assert_eq!((chat.provider.count("revoke access_token"), chat.provider.families_alive()), (1, 0));
}

#[tokio::test]
async fn what_somebody_began_before_they_left_is_not_finished_after_they_are_back() {
    let chat = Chat::open().await;
    let (begun, back) = consented(&chat).await;
    set_active(&chat, false).await;
    set_active(&chat, true).await;
    let page = chat.scenario.app.get(&back).header("cookie", &cookie(&begun)).await;
    assert_snapshot!(page_text(&page), @"403 Not connected The account that began this has been deactivated.");
    assert_eq!(chat.provider.count(EXCHANGE), 0, "no code is exchanged for nothing");
    assert!(!has_session(&chat, &chat.scenario.bob));
}

/// As a process of the version before this one stored it.
#[tokio::test]
async fn what_was_begun_before_it_said_its_epoch_is_finished_unless_the_user_has_left_since() {
    for (leaves, status) in [(false, StatusCode::OK), (true, StatusCode::FORBIDDEN)] {
        let chat = Chat::open().await;
        let (begun, back) = consented(&chat).await;
        let app = &chat.scenario.app;
        let connecting: Vec<String> =
            app.contents().into_keys().filter(|key| key.starts_with("CONNECTING#")).collect();
        let [connecting] = &connecting[..] else { panic!("under way are {connecting:?}") };
        let (pk, sk) = connecting.split_once(' ').unwrap();
        app.forget(&Key { pk: pk.to_owned(), sk: sk.to_owned() }, "epoch");
        app.pass(Duration::from_secs(1));
        if leaves {
            set_active(&chat, false).await;
            set_active(&chat, true).await;
        }
        let page = app.get(&back).header("cookie", &cookie(&begun)).await;
        assert_eq!(page.status, status);
        assert_eq!(has_session(&chat, &chat.scenario.bob), !leaves);
    }
}

#[tokio::test]
async fn a_provider_that_cannot_forget_is_told_in_the_trail() {
    for (revocation, told) in [
        (None, "the provider offers no revocation"),
        (
            Some(Revocation::Answers(StatusCode::SERVICE_UNAVAILABLE, String::new())),
            "not revoked at the provider: it answered HTTP 503 Service Unavailable",
        ),
    ] {
        let chat = Chat::open().await;
        if let Some(revocation) = revocation {
            chat.provider.revokes(revocation);
        }
        let page = finish_while(&chat, async {
            set_active(&chat, false).await;
        })
        .await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        let event = chat.scenario.app.event_of(&page);
        assert!(event.contains(&format!("has been deactivated; {told}")), "{event}");
        assert!(!has_session(&chat, &chat.scenario.bob));
    }
}

/// Bob's tokens are refreshed; the provider's answer comes after this has happened.
async fn refresh_while(chat: &Chat, meanwhile: impl Future<Output = ()>) -> TestResponse {
    chat.connect(&chat.scenario.bob).await;
    chat.scenario.app.pass(Duration::from_secs(3600));
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let call = chat.call(&chat.scenario.bob);
    let meanwhile = async {
        asked(&chat.provider, "token refresh_token").await;
        meanwhile.await;
        chat.provider.release();
    };
    tokio::join!(call, meanwhile).0
}

#[tokio::test]
async fn tokens_that_a_refresh_brings_after_their_user_has_left_are_forgotten_by_the_provider() {
    let chat = Chat::open().await;
    // It does not know the token any more that was refreshed: the new ones are not told of it.
    chat.provider.revokes(Revocation::Answers(StatusCode::OK, String::new()));
    let call = refresh_while(&chat, async {
        offboard(&chat).await;
        assert_eq!(chat.provider.families_alive(), 1, "the provider has given new tokens");
        chat.provider.revokes(Revocation::Works);
    })
    .await;
    assert_snapshot!(call.refusal(), @"401 OAuth session not found");
    assert!(!has_session(&chat, &chat.scenario.bob));
    assert_eq!((chat.provider.count("revoke refresh_token"), chat.provider.families_alive()), (2, 0));
    let refreshed =
        chat.scenario.app.trail().into_iter().find(|event| event["action"] == "connection.refresh");
    assert_snapshot!(refreshed.unwrap()["detail"], @r#""The connection was ended while it was refreshed; revoked at the provider""#);
}

#[tokio::test]
async fn tokens_that_a_refresh_brings_after_their_user_has_disconnected_are_forgotten_too() {
    let chat = Chat::open().await;
    chat.provider.revokes(Revocation::Answers(StatusCode::OK, String::new()));
    let Scenario { app, bob, .. } = &chat.scenario;
    let call = refresh_while(&chat, async {
        app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
        chat.provider.revokes(Revocation::Works);
    })
    .await;
    assert_eq!(call.refusal(), "401 OAuth session not found");
    assert!(!has_session(&chat, bob));
    assert_eq!(chat.provider.families_alive(), 0);
}
