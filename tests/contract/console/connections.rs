//! Connections: where a person is connected, whose credentials agents use, and the end of both.

use deputize_tests::provider::Revocation;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{buttons, said};
use crate::{
    connections::{Chat, acting_as},
    scenario::Scenario,
};

const HERE: &str = "/connections/chat";

#[tokio::test]
async fn a_person_sees_where_they_are_connected_and_who_uses_it() {
    let chat = Chat::open().await;
    let Scenario { app, bob, .. } = &chat.scenario;
    app.server("open").await;
    let browser = app.person(bob).await;
    assert_snapshot!(said(&browser.open("/connections").await.ok()), @"Connections Where you have an account that agents can use for you, and who uses it. Name begins with Apply chat Not connected Connect No account of yours is needed at open.");
    chat.connect_and_grant(bob, false).await;
    assert_snapshot!(said(&browser.open("/connections").await.ok()), @"Connections Where you have an account that agents can use for you, and who uses it. Name begins with Apply chat Connected Disconnect May chat:read Connected 15 Jan 2026 Until It renews itself Used by bot No account of yours is needed at open.");
    assert!(said(&browser.open("/connections?name=xyz").await.ok()).contains("No server’s name begins so."));
}

#[tokio::test]
async fn a_person_lends_their_connection_shares_it_and_takes_it_back() {
    let chat = Chat::open().await;
    let Scenario { app, bob, carol, bot, .. } = &chat.scenario;
    chat.connect(bob).await;
    app.delegate(bot, carol).await;
    let (bobs, carols) = (app.obo(bot, bob).await, app.obo(bot, carol).await);
    let call = |token: &str| app.call("chat", "list_channels", &json!({})).bearer(token);
    let browser = app.person(bob).await;
    let agent = bot.id.to_string();

    let page = browser.open(HERE).await.ok();
    assert_snapshot!(said(&page), @"Connections chat You are connected. Disconnect May chat:read Connected 15 Jan 2026 Until It renews itself Used by No agent that acts for you Whose credentials agents use here for you bot None, until you lend it yours: nobody shares one. A call says: “No credentials available for this server”. Lend mine An agent uses your own connection if you lend it. Else it uses the one that somebody shares with everybody whom the agent acts for. Else its calls are refused.");
    assert_eq!(call(&bobs).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.press_one(HERE, &page, ("agent", &agent)).await.sent_to().path(), HERE);
    assert_eq!(acting_as(&call(&bobs).await), "bob");
    assert_eq!(call(&carols).await.status, StatusCode::UNAUTHORIZED, "it is lent for Bob alone");

    let page = browser.open(HERE).await.ok();
    assert_snapshot!(said(&page), @"Connections chat You are connected. Disconnect May chat:read Connected 15 Jan 2026 Until It renews itself Used by bot Whose credentials agents use here for you bot Yours: you lend it. Share Take back An agent uses your own connection if you lend it. Else it uses the one that somebody shares with everybody whom the agent acts for. Else its calls are refused.");
    let asks = browser.open(&format!("{HERE}/lend?agent={agent}")).await.ok();
    assert_snapshot!(said(&asks), @"Connections Share your connection with everybody whom bot acts for? Everybody whom bot acts for can use your connection by it, under the policies. So does what others lent it for themselves here. They can lend theirs again. You can take it back at any time. Share Keep it for me");
    assert_eq!(call(&carols).await.status, StatusCode::UNAUTHORIZED, "asking shares nothing");
    browser.press_one(HERE, &asks, ("agent", &agent)).await.sent_to();
    assert_eq!(acting_as(&call(&carols).await), "bob");

    // Carol sees whose it is. It is not hers to take back.
    let carols_page = app.person(carol).await.open(HERE).await.ok();
    assert_snapshot!(said(&carols_page), @"Connections chat You are not connected. Connect Whose credentials agents use here for you bot bob’s, shared: you lend none, and bob shares one. An agent uses your own connection if you lend it. Else it uses the one that somebody shares with everybody whom the agent acts for. Else its calls are refused.");
    assert_eq!(buttons(&carols_page, "grant"), Vec::<String>::new());

    let page = browser.open(HERE).await.ok();
    browser.press_one(HERE, &page, ("agent", &agent)).await.sent_to();
    assert_eq!(call(&carols).await.status, StatusCode::UNAUTHORIZED, "it is for Bob alone again");
    assert_eq!(acting_as(&call(&bobs).await), "bob");

    let page = browser.open(HERE).await.ok();
    let [grant] = &*buttons(&page, "grant") else { panic!("one: {page}") };
    browser.press_one(HERE, &page, ("grant", grant)).await.sent_to();
    assert_eq!(call(&bobs).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_connection_ends_after_a_question_here_and_at_its_provider() {
    let chat = Chat::open().await;
    let Scenario { app, bob, .. } = &chat.scenario;
    chat.provider.revokes(Revocation::Works);
    chat.connect_and_grant(bob, true).await;
    let browser = app.person(bob).await;
    let asks = browser.open("/connections/chat/disconnect").await.ok();
    assert_snapshot!(said(&asks), @"Connections Disconnect chat? bot can no longer use it for you, nor for anybody else who relies on your sharing it. chat’s provider is told to revoke what it gave, if it can be told. It cannot be undone. You can connect again. Disconnect Keep it");
    assert!(chat.connection(bob).await.status.is_success());
    let families = chat.provider.families_alive();
    let ended = browser.fill(&asks, "/connections/chat/disconnect", &[]).await;
    assert_eq!(ended.sent_to().path(), "/connections");
    assert_eq!(chat.connection(bob).await.status, StatusCode::NOT_FOUND);
    assert_eq!((families, chat.provider.families_alive()), (1, 0), "the provider was told");
    let after = browser.open(ended.header("location").unwrap()).await.ok();
    assert!(said(&after).contains("You are no longer connected to chat."), "{after}");
    // Pressing it again is no error, and an address that somebody made up says nothing.
    assert_eq!(browser.fill(&asks, "/connections/chat/disconnect", &[]).await.status, StatusCode::SEE_OTHER);
}

/// Where only managers may share, the page offers nobody else to.
#[tokio::test]
async fn who_may_not_share_is_not_offered_to() {
    let chat = Chat::open().await;
    let Scenario { app, alice, bob, bot, .. } = &chat.scenario;
    let path = format!("/api/v1/agent-accounts/{}", bot.id);
    app.patch(&path).as_user(alice).json(&json!({ "shared_grants": "managers" })).await.ok();
    chat.connect_and_grant(bob, false).await;
    let browser = app.person(bob).await;
    let page = browser.open(HERE).await.ok();
    assert!(!page.text.contains("/lend?agent="), "{page}");
    // Nor does the form of the question help.
    let asks = browser.open(&format!("{HERE}/lend?agent={}", bot.id)).await.ok();
    let refused = browser.press_one(HERE, &asks, ("agent", &bot.id.to_string())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let grants: Value = app.get(format!("{path}/session-grants")).as_user(bob).await.ok().json();
    assert_eq!(grants[0]["shared"], json!(false), "{grants}");
}
