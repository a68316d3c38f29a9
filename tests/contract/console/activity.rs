//! What was done as a person or for them, and one event of it.

use std::time::Duration;

use http::StatusCode;
use insta::assert_snapshot;
use serde_json::json;

use super::said;
use crate::{connections::Chat, scenario::Scenario};

#[tokio::test]
async fn a_person_reads_what_was_done_for_them_as_sentences_and_filters_it() {
    let chat = Chat::open().await;
    let Scenario { app, alice, bob, carol, bot, .. } = &chat.scenario;
    app.delegate(bot, carol).await;
    app.pass(Duration::from_secs(1));
    chat.connect(bob).await;
    app.pass(Duration::from_secs(1));
    let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
    app.post(path).as_user(bob).json(&json!({ "server_id": "chat" })).await.ok();
    app.pass(Duration::from_secs(1));
    let (bobs, carols) = (app.obo(bot, bob).await, app.obo(bot, carol).await);
    let call = |token: &str| app.call("chat", "list_channels", &json!({})).bearer(token);
    app.pass(Duration::from_secs(1));
    call(&bobs).await.ok();
    app.pass(Duration::from_secs(1));
    assert_eq!(call(&carols).await.status, StatusCode::UNAUTHORIZED);
    let forbid = json!({ "name": "no", "text": "forbid (principal, action, resource);" });
    app.pass(Duration::from_secs(1));
    app.post("/api/v1/policies").as_user(alice).json(&forbid).await.ok();
    assert_eq!(call(&bobs).await.status, StatusCode::FORBIDDEN);

    let browser = app.person(bob).await;
    assert_snapshot!(events(&browser.open("/activity").await.ok()), @"
    bot was refused to call list_channels at chat for you. Refused just now · Policy denied for the agent: a policy forbids it
    bot called list_channels at chat for you. just now
    bot got a token for you. just now
    You lent your connection to chat to bot. just now
    You connected to chat. just now
    You delegated to bot. just now
    ");
    let refused = browser.open("/activity?outcome=denied").await.ok();
    assert_snapshot!(events(&refused), @"bot was refused to call list_channels at chat for you. Refused just now · Policy denied for the agent: a policy forbids it");
    let filters = format!("/activity?agent={}&server=chat&tool=list_channels&outcome=allowed&days=1", bot.id);
    assert_snapshot!(events(&browser.open(&filters).await.ok()), @"bot called list_channels at chat for you. just now");
    let none = browser.open("/activity?tool=other&days=1").await.ok();
    assert!(said(&none).contains("Nothing in a day for this. Look at 7"), "{}", said(&none));
    assert!(none.text.contains("/activity?tool=other&amp;days=7"), "the link keeps the rest: {none}");

    // Carol sees what was tried for her, and nothing of Bob's.
    let carols = events(&app.person(carol).await.open("/activity").await.ok());
    assert_snapshot!(carols, @"
    bot was refused to call list_channels at chat for you. Refused just now · No credentials available for this server
    bot got a token for you. just now
    You delegated to bot. just now
    ");
}

/// The rows of the list.
fn events(page: &deputize_tests::TestResponse) -> String {
    let list = page.text.split(r#"<ul class="rows""#).nth(1).unwrap_or_default();
    let list = list.split("</ul>").next().unwrap().to_owned();
    let rows = list
        .split("<li>")
        .skip(1)
        .map(|row| said(&page.only(format!("<main>{row}"))).split(" Look").next().unwrap().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn an_event_says_all_that_is_known_and_what_stops_it() {
    let chat = Chat::open().await;
    let Scenario { app, bob, carol, bot, .. } = &chat.scenario;
    chat.connect_and_grant(bob, false).await;
    let token = app.obo(bot, bob).await;
    app.call("chat", "list_channels", &json!({})).bearer(&token).await.ok();
    let browser = app.person(bob).await;
    let list = browser.open("/activity?tool=list_channels").await.ok();
    let address = list.text.split(r#"href="/activity/"#).nth(1).unwrap().split('"').next().unwrap();
    let address = format!("/activity/{address}");
    let event = browser.open(&address).await.ok();
    for known in [
        "bot called list_channels at chat for you",
        "Whose connection yours",
        "The delegation to bot",
        "Your connection to chat",
    ] {
        assert!(said(&event).contains(known), "{known}: {}", said(&event));
    }
    for other in [address.as_str(), "/activity/nonsense", "/activity/3fa85f64-5717-4562-b3fc-2c963f66afa6"] {
        assert_eq!(app.person(carol).await.open(other).await.status, StatusCode::NOT_FOUND, "{other}");
    }
}

#[tokio::test]
async fn a_change_shows_what_was_before_and_after() {
    let it = Scenario::start().await;
    let browser = it.app.person(&it.bob).await;
    let page = browser.open("/").await.ok();
    it.app.pass(Duration::from_secs(1));
    let [delegation] = &*super::buttons(&page, "delegation") else { panic!("one: {page}") };
    browser.press_one("/", &page, ("delegation", delegation)).await.sent_to();
    let list = browser.open("/activity").await.ok();
    assert!(events(&list).contains("You ended the delegation to bot."), "{}", events(&list));
    let address = list.text.split(r#"href="/activity/"#).nth(1).unwrap().split('"').next().unwrap();
    let event = browser.open(&format!("/activity/{address}")).await.ok();
    assert!(said(&event).contains(r#"revoked_at – "2026-01-15T09:00:01.000Z""#), "{}", said(&event));
}

#[tokio::test]
async fn an_address_that_nobody_made_is_told_as_that() {
    let it = Scenario::start().await;
    let browser = it.app.person(&it.bob).await;
    for wrong in
        ["agent=x", "server=No.ne", "outcome=perhaps", "days=2", "cursor=x", "days=x", "days=1&days=7"]
    {
        let page = browser.open(&format!("/activity?{wrong}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(said(&page).contains("Go to the start"), "{wrong}");
    }
}
