//! Refreshing at once, in the middle of a change, and after a death.

use std::{future::IntoFuture, time::Duration};

use deputize_core::vault::Vault;
use deputize_tests::{app::root, provider::TokenEndpoint};
use futures::future::join_all;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::json;
use tokio::runtime::Builder;

use super::{Chat, acting_as, cookie};

const REFRESH: &str = "token refresh_token";

/// Bob is connected, and his access token has expired.
async fn bob_expired() -> Chat {
    let chat = Chat::open().await;
    chat.connect(&chat.scenario.bob).await;
    chat.call(&chat.scenario.bob).await.ok();
    chat.scenario.app.pass(Duration::from_secs(3600));
    chat
}

/// Waits until the provider has received a refresh.
async fn asked(chat: &Chat) {
    while chat.provider.count(REFRESH) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A separate process begins a call of Bob's, and dies when the call has reached the provider.
async fn killed_while_refreshing(chat: &Chat, endpoint: TokenEndpoint) {
    chat.provider.script().token_endpoint = endpoint;
    let app = chat.scenario.app.another(Vault::new(root(7), Vec::new())).await;
    let process = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let call = app.call("chat", "list_channels", &json!({})).as_user(&chat.scenario.bob);
    let call = process.spawn(call.into_future());
    asked(chat).await;
    assert!(!call.is_finished(), "the provider has not answered");
    tokio::task::spawn_blocking(move || process.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
    chat.provider.script().token_endpoint = TokenEndpoint::Works;
}

#[tokio::test]
async fn of_a_hundred_calls_at_once_with_an_expired_token_one_refreshes_and_all_succeed() {
    let chat = bob_expired().await;
    let calls = join_all((0..100).map(|_| chat.call(&chat.scenario.bob))).await;
    for call in &calls {
        assert_eq!(acting_as(call), "bob");
    }
    assert_eq!(chat.provider.count(REFRESH), 1);
    assert_eq!(chat.provider.families_alive(), 1);
}

#[tokio::test]
async fn while_the_old_token_works_nobody_waits_for_the_new_one() {
    let chat = Chat::open().await;
    chat.connect(&chat.scenario.bob).await;
    chat.scenario.app.pass(Duration::from_secs(3590));
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let winner = chat.call(&chat.scenario.bob);
    let others = async {
        asked(&chat).await;
        for _ in 0..3 {
            assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
        }
        chat.provider.release();
    };
    let (won, ()) = tokio::join!(winner, others);
    assert_eq!(acting_as(&won), "bob");
    assert_eq!(chat.provider.count(REFRESH), 1);
}

#[tokio::test]
async fn a_winner_that_dies_before_the_provider_acts_is_replaced_when_its_lease_ends() {
    let chat = bob_expired().await;
    killed_while_refreshing(&chat, TokenEndpoint::IsSilent).await;
    chat.scenario.app.pass(Duration::from_secs(25));
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
    assert_eq!(chat.provider.families_alive(), 1);
}

#[tokio::test]
async fn a_lease_is_waited_for() {
    let chat = bob_expired().await;
    killed_while_refreshing(&chat, TokenEndpoint::IsSilent).await;
    let waits = chat.call(&chat.scenario.bob);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(chat.provider.count(REFRESH), 1, "the lease holds");
        chat.scenario.app.pass(Duration::from_secs(25));
    };
    let (waited, ()) = tokio::join!(waits, meanwhile);
    assert_eq!(acting_as(&waited), "bob");
    assert_eq!(chat.provider.count(REFRESH), 2);
}

#[tokio::test]
async fn a_winner_that_dies_after_the_provider_consumed_the_token_is_told_to_whoever_comes_next() {
    let chat = bob_expired().await;
    killed_while_refreshing(&chat, TokenEndpoint::Holds).await;
    chat.scenario.app.pass(Duration::from_secs(25));
    assert_snapshot!(chat.call(&chat.scenario.bob).await.refusal(), @"401 OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again");
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn disconnecting_during_a_refresh_counts() {
    let chat = bob_expired().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let call = chat.call(bob);
    let disconnect = async {
        asked(&chat).await;
        app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
        chat.provider.release();
    };
    let (called, ()) = tokio::join!(call, disconnect);
    assert_snapshot!(called.refusal(), @"401 OAuth session not found");
    assert_eq!(chat.connection(bob).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn connecting_again_during_a_refresh_counts() {
    let chat = bob_expired().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let call = chat.call(bob);
    let reconnect = async {
        asked(&chat).await;
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        let begun = chat.begin(bob).await.ok();
        let back = chat.provider.consent(&begun.field("authorization_url"), "robert");
        app.get(back).header("cookie", &cookie(&begun)).await.ok();
        chat.provider.release();
    };
    let (called, ()) = tokio::join!(call, reconnect);
    assert_eq!(acting_as(&called), "robert");
    assert_eq!(acting_as(&chat.call(bob).await), "robert");
}
