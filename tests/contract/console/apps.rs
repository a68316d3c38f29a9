//! The page of apps and browsers: what may act as the person, and its end.

use deputize_core::tokens::Resource;
use deputize_tests::{TestApp, allowed_apps::CLIENT_ID};
use http::StatusCode;
use insta::assert_snapshot;

use crate::authorize::{Desk, HERE, redeem, registered, request};

/// What a row says, without its button.
#[track_caller]
fn row(page: &deputize_tests::TestResponse, begins: &str) -> String {
    let words = page.words().replace('\n', " ");
    let from = words.find(begins).unwrap_or_else(|| panic!("no {begins} in {page}"));
    words[from..].split(" End it").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_sees_which_apps_may_act_as_them_and_ends_one() {
    let Desk { app, bob, .. } = Desk::set().await;
    let browser = app.person(&bob).await;
    assert!(browser.open("/apps").await.ok().words().contains("No app acts as you."));
    let hosted = app.allow_app(&bob, CLIENT_ID, Resource::Management, "manage").await;
    let id = registered(&app, "<b>Cursor</b>", HERE).await;
    let page = browser.authorize(&request(&id, HERE, &[])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    let token = redeem(&app, &id, HERE, &code).await.access_token();

    let page = browser.open("/apps").await.ok();
    assert_snapshot!(row(&page, "A program on your computer"), @"A program on your computer that calls itself “<b>Cursor</b>” Every server. You allowed it on 15 Jan 2026 ; it last renewed that just now . It ends on 15 Apr 2026 if it is not used.");
    assert_snapshot!(row(&page, "client.example"), @"client.example What you can manage yourself here. You allowed it on 15 Jan 2026 ; it last renewed that just now . It ends on 15 Apr 2026 if it is not used.");
    assert!(!page.text.contains("<b>Cursor"), "{page}");

    let ended = hosted.authorization.id.to_string();
    let answer = browser.press_one("/apps", &page, ("authorization", &ended)).await;
    assert_eq!(answer.sent_to().as_str(), "https://deputize.test/apps");
    assert_eq!(app.get("/api/v1/me").bearer(&hosted.token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.event_of(&answer).lines().next(), Some(r#"action: "authorization.revoke""#));
    // The other goes on. Pressing the button twice is no error.
    assert!(browser.open("/apps").await.words().contains("A program on your computer"));
    let again = browser.press_one("/apps", &page, ("authorization", &ended)).await;
    assert_eq!(again.sent_to().as_str(), "https://deputize.test/apps");
    let call = app.modern("github", "tools/call", r#""name":"t","arguments":{}"#).bearer(&token).await;
    assert_ne!(call.status, StatusCode::UNAUTHORIZED);
}

/// Neither another site, nor a form of another session or of another app, ends an app for a person.
#[tokio::test]
async fn no_other_site_ends_an_app_for_its_visitor() {
    let app = TestApp::start().await;
    let (bob, carol) = (app.user("bob").await, app.user("carol").await);
    let (bobs, carols) = (app.allow_tools(&bob).await, app.allow_tools(&carol).await);
    let (bob, carol) = (app.person(&bob).await, app.person(&carol).await);
    let id = bobs.authorization.id.to_string();
    let page = bob.open("/apps").await.ok();
    let theirs = carol.open("/apps").await.ok();
    let button = ("authorization", &*id);
    let is_alive = async || app.modern("s", "tools/list", "").bearer(&bobs.token).await.status != 401;

    for (what, request) in [
        ("another site", bob.press_one("/apps", &page, button).header("sec-fetch-site", "cross-site")),
        ("a sandboxed frame", bob.press_one("/apps", &page, button).header("origin", "null")),
    ] {
        assert_eq!(request.await.status, StatusCode::FORBIDDEN, "{what}");
        assert!(is_alive().await, "{what}");
    }
    // Carol's own form, with Bob's authorization in it: for her session, and for another thing.
    let others = carols.authorization.id.to_string();
    let mut forged = theirs;
    forged.text = forged.text.replace(&others, &id);
    for browser in [&bob, &carol] {
        assert_eq!(browser.press_one("/apps", &forged, button).await.status, StatusCode::FORBIDDEN);
        assert!(is_alive().await);
    }
    let ended = bob.press_one("/apps", &page, button).await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER);
    assert!(!is_alive().await);
}

#[tokio::test]
async fn a_person_sees_where_they_are_signed_in_and_signs_another_browser_out() {
    let app = TestApp::start().await;
    let (bob, carol) = (app.user("bob").await, app.user("carol").await);
    let (here, there, carols) = (app.person(&bob).await, app.person(&bob).await, app.person(&carol).await);
    let page = here.open("/apps").await.ok();
    assert_eq!(page.text.matches("Sign it out").count(), 1, "not this browser: {page}");
    assert_eq!(page.text.matches("This browser").count(), 1);
    let other = page.text.split(r#"name="session" value=""#).nth(1).unwrap().split('"').next().unwrap();
    // With another person's form it stays.
    let forged = page.clone();
    assert_eq!(carols.press_one("/apps", &forged, ("session", other)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(there.open("/apps").await.status, StatusCode::OK);
    let ended = here.press_one("/apps", &page, ("session", other)).await;
    assert_eq!(ended.sent_to().as_str(), "https://deputize.test/apps");
    assert_eq!(there.open("/apps").await.status, StatusCode::SEE_OTHER);
    assert_eq!(here.open("/apps").await.status, StatusCode::OK);
}
