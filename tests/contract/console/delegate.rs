//! Delegating to an agent, and narrowing that.

use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::said;
use crate::scenario::Scenario;

#[tokio::test]
async fn a_person_finds_an_agent_and_delegates_to_it_for_a_server_and_a_time() {
    let it = Scenario::start().await;
    let Scenario { app, carol, bot, .. } = &it;
    app.server("chat").await;
    app.server("docs").await;
    let browser = app.person(carol).await;
    assert_snapshot!(said(&browser.open("/delegate").await.ok()), @"Who acts for you Delegate to an agent An agent that you delegate to can act as you, under the policies that are in force for both of you. Name begins with Apply bot");
    assert!(said(&browser.open("/delegate?name=xyz").await.ok()).contains("No agent’s name begins so."));

    let here = format!("/delegate/{}", bot.id);
    let page = browser.open(&here).await.ok();
    assert_eq!(page.title(), "What bot may do for you");
    let chosen = [("where", "these"), ("server:docs", "yes"), ("until", "30")];
    let made = browser.fill(&page, &here, &chosen).await;
    assert_eq!(made.sent_to().path(), "/");
    let listed: Value = app.get("/api/v1/delegations").as_user(carol).await.ok().json();
    assert_eq!(
        (&listed[0]["server_ids"], &listed[0]["expires_at"]),
        (&json!(["docs"]), &json!("2026-02-14T09:00:00.000Z")),
        "{listed}"
    );
    let shown = browser.open(made.header("location").unwrap()).await.ok();
    assert!(said(&shown).contains("bot acts for you now."), "{shown}");

    // Narrowing begins with what there is. What is left as it is stays as it is.
    let page = browser.open(&here).await.ok();
    assert!(page.text.contains(r#"name="server:docs" value="yes" checked"#), "{page}");
    assert!(page.text.contains(r#"<option value="as_now" selected>As now: 14 Feb 2026"#), "{page}");
    let same = [("where", "these"), ("server:docs", "yes"), ("until", "as_now")];
    browser.fill(&page, &here, &same).await.sent_to();
    let again: Value = app.get("/api/v1/delegations").as_user(carol).await.ok().json();
    assert_eq!(again, listed, "an equal delegation is not replaced");
    let everywhere = [("where", "everywhere"), ("until", "no_end")];
    browser.fill(&page, &here, &everywhere).await.sent_to();
    let wide: Value = app.get("/api/v1/delegations").as_user(carol).await.ok().json();
    assert_eq!((&wide[0]["server_ids"], &wide[0]["expires_at"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_form_that_is_not_filled_in_is_shown_again_and_says_what_to_choose() {
    let it = Scenario::start().await;
    let Scenario { app, carol, bot, .. } = &it;
    app.server("chat").await;
    let browser = app.person(carol).await;
    let here = format!("/delegate/{}", bot.id);
    let page = browser.open(&here).await.ok();
    let wrong: [(&[(&str, &str)], &str); 5] = [
        (&[("where", "these"), ("until", "30")], "Choose at least one server, or every server."),
        (&[("where", "these"), ("server:No.ne", "yes"), ("until", "30")], "Choose at least one server"),
        (&[("where", "these"), ("server:none", "yes"), ("until", "30")], "no such server: none"),
        (&[("where", "everywhere")], "Choose until when."),
        (&[("where", "everywhere"), ("until", "as_now")], "Choose until when."),
    ];
    for (fields, says) in wrong {
        let again = browser.fill(&page, &here, fields).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST, "{fields:?}");
        assert!(said(&again).contains(says), "{fields:?}: {}", said(&again));
    }
    let none: Value = app.get("/api/v1/delegations").as_user(carol).await.ok().json();
    assert_eq!(none, json!([]));
}

/// An agent that its owner shows to nobody is as one that is not there.
#[tokio::test]
async fn nobody_finds_an_agent_that_they_may_not_know_of() {
    let it = Scenario::start().await;
    let Scenario { app, alice, carol, .. } = &it;
    let hidden = app.agent("secretive", alice).await;
    let path = format!("/api/v1/agent-accounts/{}", hidden.id);
    app.patch(&path).as_user(alice).json(&json!({ "visibility": "owners" })).await.ok();
    let browser = app.person(carol).await;
    assert!(!browser.open("/delegate").await.ok().text.contains("secretive"));
    for address in [format!("/delegate/{}", hidden.id), "/delegate/nonsense".to_owned()] {
        assert_eq!(browser.open(&address).await.status, StatusCode::NOT_FOUND, "{address}");
    }
}
