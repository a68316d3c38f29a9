//! What is made anew is not what it was: nobody who still has to do with the old one changes the new one.

use std::time::Duration;

use deputize_core::vault::Vault;
use deputize_tests::{app::root, provider::TokenEndpoint};
use http::StatusCode;
use serde_json::json;

use super::{Chat, acting_as, asked, cookie, page_text};

#[tokio::test]
async fn a_slow_refresh_of_an_account_that_was_disconnected_does_not_bring_it_back() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    app.pass(Duration::from_secs(3600));
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let slow = chat.call(bob);
    let meanwhile = async {
        asked(&chat.provider, "token refresh_token").await;
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        app.delete("/api/v1/servers/chat/connection").as_user(bob).await.ok();
        let begun = chat.begin(bob).await.ok();
        let back = chat.provider.consent(&begun.field("authorization_url"), "robert");
        app.get(back).header("cookie", &cookie(&begun)).await.ok();
        // It is written as often as the previous account's session: sealed under a new root key.
        let on_a_new_root = app.another(Vault::new(root(8), vec![root(7)])).await;
        let called = on_a_new_root.call("chat", "list_channels", &json!({})).as_user(bob).await;
        assert_eq!(acting_as(&called), "robert");
        chat.provider.release();
        on_a_new_root
    };
    let (_, on_a_new_root) = tokio::join!(slow, meanwhile);
    let called = on_a_new_root.call("chat", "list_channels", &json!({})).as_user(bob).await;
    assert_eq!(acting_as(&called), "robert");
}

#[tokio::test]
async fn a_client_that_is_late_forgotten_is_not_the_one_that_was_registered_in_its_place() {
    let chat = Chat::open().await;
    let (app, bob, carol) = (&chat.scenario.app, &chat.scenario.bob, &chat.scenario.carol);
    chat.connect(bob).await;
    app.pass(Duration::from_secs(3600));
    let begun = chat.begin(carol).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "carol");
    chat.provider.forget_clients();
    chat.provider.script().token_endpoint = TokenEndpoint::Holds;
    let slow = chat.call(bob);
    let meanwhile = async {
        asked(&chat.provider, "token refresh_token").await;
        chat.provider.script().token_endpoint = TokenEndpoint::Works;
        // Carol's connection finds out too, and uses a new client.
        let page = app.get(back).header("cookie", &cookie(&begun)).await;
        assert_eq!(
            page_text(&page),
            "502 Not connected The authorization server does not know this service as a client (invalid_client); connect again."
        );
        let begun = chat.begin(carol).await.ok();
        let back = chat.provider.consent(&begun.field("authorization_url"), "carol");
        chat.provider.release();
        (begun, back)
    };
    let (refused, (begun, back)) = tokio::join!(slow, meanwhile);
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    app.get(back).header("cookie", &cookie(&begun)).await.ok();
    assert_eq!(acting_as(&chat.call(carol).await), "carol");
    chat.connect(bob).await;
    assert_eq!(chat.provider.count("register"), 2);
}
