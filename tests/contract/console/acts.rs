//! Who acts for the person, and the end of it.

use std::time::Duration;

use deputize_core::delegations::NewDelegation;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{buttons, said};
use crate::{connections::Chat, scenario::Scenario};

#[tokio::test]
async fn nobody_acts_for_somebody_new_and_the_page_says_what_to_do() {
    let it = Scenario::start().await;
    let page = it.app.person(&it.carol).await.open("/").await.ok();
    assert_snapshot!(said(&page), @"Who acts for you Nobody can act as you now. This week they made no calls for you. Delegate to an agent No agent acts for you. Delegate to one: you choose where and until when. Ending takes effect on the next call: tokens that the agent holds for you stop working. What it did stays in your activity.");
    assert!(!page.text.contains("End all"), "there is nothing to end");
}

#[tokio::test]
async fn a_person_sees_who_acts_for_them_where_by_whose_connection_and_what_they_did() {
    let chat = Chat::open().await;
    let Scenario { app, bob, bot, alice, .. } = &chat.scenario;
    let some = NewDelegation {
        server_ids: Some(vec!["chat".parse().unwrap()]),
        expires_at: Some(app.now().plus(Duration::from_hours(14 * 24))),
    };
    app.delegate_some(bot, bob, some).await;
    let unused = app.agent("unused", alice).await;
    app.delegate(&unused, bob).await;
    let browser = app.person(bob).await;
    assert_snapshot!(said(&browser.open("/").await.ok()), @"Who acts for you 2 agents can act as you now. This week they made no calls for you. Delegate to an agent End all bot’s calls for you fail at chat. Its credentials there: none, until you lend it yours. Lend your connection bot Calls fail Never used Narrow End Where, with whose credentials chat none, until you lend it yours Until 29 Jan 2026 in 14 days Last used Never This week No calls unused Never used Narrow End Where, with whose credentials Every server, also new ones none that ask for an account Until No end date since 15 Jan 2026 Last used Never This week No calls Ending takes effect on the next call: tokens that the agent holds for you stop working. What it did stays in your activity.");

    chat.connect_and_grant(bob, false).await;
    let token = app.obo(bot, bob).await;
    app.pass(Duration::from_secs(1));
    app.call("chat", "list_channels", &json!({})).bearer(&token).await.ok();
    app.pass(Duration::from_mins(26));
    assert_snapshot!(said(&browser.open("/").await.ok()), @"Who acts for you 2 agents can act as you now. This week they made 1 call for you; none was refused. Delegate to an agent End all bot Narrow End Where, with whose credentials chat yours Until 29 Jan 2026 in 13 days Last used 26 minutes ago list_channels at chat This week 1 call none refused unused Never used Narrow End Where, with whose credentials Every server, also new ones none that ask for an account Until No end date since 15 Jan 2026 Last used Never This week No calls Ending takes effect on the next call: tokens that the agent holds for you stop working. What it did stays in your activity.");

    // What an agent does for somebody else is not told.
    let carols = app.person(&chat.scenario.carol).await.open("/").await.ok();
    assert!(!carols.text.contains("list_channels"), "{carols}");
}

#[tokio::test]
async fn an_agent_is_ended_by_one_press_and_that_is_undone_by_another() {
    let it = Scenario::start().await;
    let Scenario { app, bob, bot, .. } = &it;
    let servers = NewDelegation { server_ids: Some(vec!["chat".parse().unwrap()]), expires_at: None };
    app.server("chat").await;
    app.delegate_some(bot, bob, servers).await;
    let token = app.obo(bot, bob).await;
    let browser = app.person(bob).await;
    let page = browser.open("/").await.ok();
    let [delegation] = &*buttons(&page, "delegation") else { panic!("one: {page}") };
    let ended = browser.press_one("/", &page, ("delegation", delegation)).await;
    assert_eq!(ended.sent_to().path(), "/");
    assert_eq!(app.event_of(&ended).lines().next(), Some(r#"action: "delegation.revoke""#));
    assert_eq!(app.call("chat", "t", &json!({})).bearer(&token).await.status, StatusCode::UNAUTHORIZED);
    // Once more, as somebody who presses twice: it is what they wanted.
    assert_eq!(browser.press_one("/", &page, ("delegation", delegation)).await.status, StatusCode::SEE_OTHER);

    let after = browser.open(ended.header("location").unwrap()).await.ok();
    assert_snapshot!(said(&after), @"Who acts for you Nobody can act as you now. This week they made 1 call for you; 1 was refused. Delegate to an agent bot no longer acts for you. Undo No agent acts for you. Delegate to one: you choose where and until when. 1 ended in the last 30 days bot ended on 15 Jan 2026 What it did Ending takes effect on the next call: tokens that the agent holds for you stop working. What it did stays in your activity.");
    let undone = browser.press_one("/", &after, ("agent", &bot.id.to_string())).await;
    assert_eq!(undone.sent_to().path(), "/");
    let again: Value = app.get("/api/v1/delegations?active=true").as_user(bob).await.ok().json();
    assert_eq!(again[0]["server_ids"], json!(["chat"]), "the same as before: {again}");
    assert_ne!(again[0]["id"], json!(delegation), "earlier tokens stay dead");
    assert_eq!(app.call("chat", "t", &json!({})).bearer(&token).await.status, StatusCode::UNAUTHORIZED);

    // Ten minutes later it is too late.
    let page = browser.open("/").await.ok();
    let [delegation] = &*buttons(&page, "delegation") else { panic!("one: {page}") };
    browser.press_one("/", &page, ("delegation", delegation)).await;
    let after = browser.open(ended.header("location").unwrap()).await.ok();
    app.pass(Duration::from_mins(10));
    let late = browser.press_one("/", &after, ("agent", &bot.id.to_string())).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(!browser.open(ended.header("location").unwrap()).await.ok().text.contains("Undo"));
}

#[tokio::test]
async fn all_agents_are_ended_by_two_presses() {
    let it = Scenario::start().await;
    let Scenario { app, alice, bob, carol, bot } = &it;
    let second = app.agent("second", alice).await;
    app.delegate(&second, bob).await;
    app.delegate(bot, carol).await;
    let (bobs, carols) = (app.obo(&second, bob).await, app.obo(bot, carol).await);
    app.permit_everything().await;
    app.server("open").await;
    let browser = app.person(bob).await;
    let asks = browser.open("/delegations/end-all").await.ok();
    assert_snapshot!(said(&asks), @"Who acts for you End all 2? From the next call on no agent acts for you. Tokens that they hold for you stop working. bot second End all Keep them");
    let ended = browser.fill(&asks, "/delegations/end-all", &[]).await;
    assert_eq!(ended.sent_to().path(), "/");
    assert!(browser.open("/").await.ok().text.contains("No agent acts for you."));
    let status = async |token: &str| app.get("/api/v1/proxy/open/tools").bearer(token).await.status;
    assert_eq!(status(&bobs).await, StatusCode::UNAUTHORIZED);
    assert_ne!(status(&carols).await, StatusCode::UNAUTHORIZED, "another person's agents go on");
    // There is nothing left to end.
    assert!(said(&browser.open("/delegations/end-all").await.ok()).contains("No agent acts for you."));
}

#[tokio::test]
async fn a_store_that_is_busy_is_told_and_nothing_is_said_to_have_ended() {
    let it = Scenario::start().await;
    let browser = it.app.person(&it.bob).await;
    let page = browser.open("/").await.ok();
    let [delegation] = &*buttons(&page, "delegation") else { panic!("one: {page}") };
    it.app.faults.always(deputize_tests::faults::Fault::Throttled);
    let refused = browser.press_one("/", &page, ("delegation", delegation)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_agents_name_is_text() {
    let it = Scenario::start().await;
    let evil = it.app.agent("<script>alert(1)</script>", &it.alice).await;
    it.app.delegate(&evil, &it.bob).await;
    let page = it.app.person(&it.bob).await.open("/").await.ok();
    assert!(!page.text.contains("<script") && page.text.contains("&lt;script"), "{page}");
}
