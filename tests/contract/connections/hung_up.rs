//! Callers who hang up while a provider is asked: what it gave is stored all the same.

use std::time::Duration;

use deputize_tests::{TestRequest, provider::TokenEndpoint};

use super::{Chat, acting_as, asked, cookie};

/// Sends a request, and disconnects when the provider has received `what`. Only then does the provider answer
/// it.
async fn hung_up(chat: &Chat, ask: TestRequest, what: &str) {
    tokio::select! {
        answer = ask.into_future() => panic!("the provider has not answered, and this has: {answer}"),
        () = asked(&chat.provider, what) => {}
    }
    chat.provider.release();
    assert!(chat.scenario.app.core.tasks_ended(Duration::from_secs(10)).await);
    chat.provider.script().token_endpoint = TokenEndpoint::Works;
}

#[tokio::test]
async fn a_caller_who_hangs_up_during_a_refresh_costs_nobody_the_session() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    for n in 1..=3 {
        app.pass(Duration::from_secs(3600));
        chat.provider.script().token_endpoint = TokenEndpoint::Holds;
        let before = chat.provider.count("token refresh_token");
        assert_eq!(before, n - 1);
        let call = app.call("chat", "list_channels", &serde_json::json!({})).as_user(bob);
        tokio::select! {
            answer = call.into_future() => panic!("the provider has not answered, and the call has: {answer}"),
            () = async { while chat.provider.count("token refresh_token") < n { tokio::task::yield_now().await } } => {}
        }
        chat.provider.release();
        assert!(app.core.tasks_ended(Duration::from_secs(10)).await);
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        // No call waits for a lease, and none asks again.
        assert_eq!(acting_as(&chat.call(bob).await), "bob");
        assert_eq!(chat.provider.count("token refresh_token"), n);
    }
    assert_eq!(chat.provider.families_alive(), 1);
    let refreshed = app.trail().into_iter().filter(|event| event["action"] == "connection.refresh");
    assert_eq!(refreshed.count(), 3);
}

#[tokio::test]
async fn a_browser_that_goes_away_during_the_codes_exchange_is_connected() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    let begun = chat.begin(bob).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    hung_up(&chat, app.get(back).header("cookie", &cookie(&begun)), "token authorization_code").await;
    assert_eq!(chat.connection(bob).await.field("status"), "connected");
    assert_eq!(acting_as(&chat.call(bob).await), "bob");
}

#[tokio::test]
async fn a_client_that_was_registered_for_a_caller_who_went_away_is_kept() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.script().registration_holds = true;
    hung_up(&chat, app.post("/api/v1/servers/chat/connect").as_user(bob), "register").await;
    chat.provider.script().registration_holds = false;
    chat.connect(bob).await;
    assert_eq!(chat.provider.count("register"), 1);
}
