//! Refreshing at once, in the middle of a change, and after a death.

use std::time::Duration;

use deputize_tests::provider::TokenEndpoint;
use futures::future::join_all;
use http::StatusCode;
use insta::assert_snapshot;

use super::{Chat, acting_as, cookie};

const REFRESH: &str = "token refresh_token";

/// Bob is connected, and his access token has expired.
async fn bob_expired() -> Chat {
    let chat = Chat::open().await;
    chat.connect(&chat.stage.bob).await;
    chat.call(&chat.stage.bob).await.ok();
    chat.stage.app.pass(Duration::from_secs(3600));
    chat
}

/// Waits until the provider has been asked to refresh.
async fn asked(chat: &Chat) {
    while chat.provider.count(REFRESH) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts a call of Bob's, which reaches the provider and is then cut off, as by its process's death.
async fn killed_while_refreshing(chat: &Chat, endpoint: TokenEndpoint) {
    chat.provider.script().token_endpoint = endpoint;
    let call = chat.call(&chat.stage.bob);
    tokio::select! {
        answer = call => panic!("the provider has not answered, and the call has: {answer}"),
        () = asked(chat) => {}
    }
    chat.provider.script().token_endpoint = TokenEndpoint::Works;
}

#[tokio::test]
async fn of_a_hundred_calls_at_once_with_an_expired_token_one_refreshes_and_all_succeed() {
    let chat = bob_expired().await;
    let calls = join_all((0..100).map(|_| chat.call(&chat.stage.bob))).await;
    for call in &calls {
        assert_eq!(acting_as(call), "bob");
    }
    assert_eq!(chat.provider.count(REFRESH), 1);
    assert_eq!(chat.provider.families_alive(), 1);
}

#[tokio::test]
async fn while_the_old_token_works_nobody_waits_for_the_new_one() {
    let chat = Chat::open().await;
    chat.connect(&chat.stage.bob).await;
    chat.stage.app.pass(Duration::from_secs(3590));
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let winner = chat.call(&chat.stage.bob);
    let others = async {
        asked(&chat).await;
        for _ in 0..3 {
            assert_eq!(acting_as(&chat.call(&chat.stage.bob).await), "bob");
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
    chat.stage.app.pass(Duration::from_secs(15));
    assert_eq!(acting_as(&chat.call(&chat.stage.bob).await), "bob");
    assert_eq!(chat.provider.families_alive(), 1);
}

#[tokio::test]
async fn a_lease_is_waited_for() {
    let chat = bob_expired().await;
    killed_while_refreshing(&chat, TokenEndpoint::IsSilent).await;
    let waits = chat.call(&chat.stage.bob);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(chat.provider.count(REFRESH), 1, "the lease holds");
        chat.stage.app.pass(Duration::from_secs(15));
    };
    let (waited, ()) = tokio::join!(waits, meanwhile);
    assert_eq!(acting_as(&waited), "bob");
    assert_eq!(chat.provider.count(REFRESH), 2);
}

#[tokio::test]
async fn a_winner_that_dies_after_the_provider_consumed_the_token_is_told_to_whoever_comes_next() {
    let chat = bob_expired().await;
    killed_while_refreshing(&chat, TokenEndpoint::Holds).await;
    chat.stage.app.pass(Duration::from_secs(15));
    assert_snapshot!(chat.call(&chat.stage.bob).await.refusal(), @"401 OAuth session expired: a refresh was interrupted after the authorization server had taken the refresh token, so its owner must connect to the server again");
    chat.connect(&chat.stage.bob).await;
    assert_eq!(acting_as(&chat.call(&chat.stage.bob).await), "bob");
}

#[tokio::test]
async fn disconnecting_during_a_refresh_counts() {
    let chat = bob_expired().await;
    let (app, bob) = (&chat.stage.app, &chat.stage.bob);
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
    let (app, bob) = (&chat.stage.app, &chat.stage.bob);
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
