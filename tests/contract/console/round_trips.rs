//! What each page waits for, in round trips one after the other: one for its person, and few for what it shows.

use std::fmt::Write;

use insta::assert_snapshot;
use serde_json::json;

use crate::{connections::Chat, scenario::Scenario};

#[tokio::test]
async fn a_page_waits_for_few_round_trips() {
    let chat = Chat::open().await;
    let Scenario { app, bob, bot, .. } = &chat.scenario;
    chat.connect_and_grant(bob, false).await;
    let token = app.obo(bot, bob).await;
    app.call("chat", "list_channels", &json!({})).bearer(&token).await.ok();
    app.call_it("bot", bot.id.to_string());
    let browser = app.person(bob).await;
    let mut shown = String::new();
    tokio::time::pause();
    for address in [
        "/sign-out".to_owned(),
        "/".to_owned(),
        "/delegate".to_owned(),
        format!("/delegate/{}", bot.id),
        "/delegations/end-all".to_owned(),
        "/connections".to_owned(),
        "/connections/chat".to_owned(),
        "/connections/chat/disconnect".to_owned(),
        "/apps".to_owned(),
        "/keys".to_owned(),
        "/activity".to_owned(),
    ] {
        let open = || std::future::IntoFuture::into_future(browser.open(&address));
        // What a process learns once is not counted.
        open().await.ok();
        let (page, in_turn) = app.round_trips_in_turn(open()).await;
        page.ok();
        writeln!(shown, "{in_turn} {}", app.shown(&address)).unwrap();
    }
    assert_snapshot!(shown, @"
    1 /sign-out
    4 /
    3 /delegate
    4 /delegate/[bot]
    3 /delegations/end-all
    3 /connections
    4 /connections/chat
    3 /connections/chat/disconnect
    2 /apps
    3 /keys
    4 /activity
    ");
}
