//! The first page lists the apps that may act as the person, and ends them.

use deputize_core::tokens::Resource;
use deputize_tests::{TestApp, allowed_apps::CLIENT_ID};
use http::StatusCode;
use insta::assert_snapshot;

use super::{Desk, HERE, redeem, registered, request};

#[tokio::test]
async fn a_person_sees_which_apps_may_act_as_them_and_ends_one() {
    let Desk { app, bob, .. } = Desk::set().await;
    let browser = app.person(&bob).await;
    assert!(!browser.open("/").await.ok().words().contains("Apps"));
    let hosted = app.allow_app(&bob, CLIENT_ID, Resource::Management, "manage").await;
    let id = registered(&app, "<b>Cursor</b>", HERE).await;
    let page = browser.authorize(&request(&id, HERE, &[])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    let token = redeem(&app, &id, HERE, &code).await.access_token();

    let page = browser.open("/").await.ok();
    let words = page.words();
    let (_, apps) = words.split_once("Apps\n").unwrap();
    let mut listed: Vec<&str> = apps.split("End it\n").collect();
    listed.pop();
    let (intro, first) = listed[0].split_once("call.\n").unwrap();
    assert_eq!(intro, "They may act as you. What you end is refused with its next ");
    listed[0] = first;
    listed.sort_unstable();
    assert_snapshot!(listed.concat(), @"
    A program on your computer
    that calls itself “<b>Cursor</b>”: every server. You allowed it on
    15 Jan 2026
    .
    client.example
    : what you can manage yourself here. You allowed it on
    15 Jan 2026
    .
    ");
    assert!(!page.text.contains("<b>Cursor"), "{page}");

    let ended = hosted.authorization.id.to_string();
    let answer = browser.press_one("/", &page, ("authorization", &ended)).await;
    assert_eq!(answer.sent_to().as_str(), "https://deputize.test/");
    assert_eq!(app.get("/api/v1/me").bearer(&hosted.token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.event_of(&answer).lines().next(), Some(r#"action: "authorization.revoke""#));
    // The other goes on. Pressing the button twice is no error.
    assert!(browser.open("/").await.words().contains("A program on your computer"));
    let again = browser.press_one("/", &page, ("authorization", &ended)).await;
    assert_eq!(again.sent_to().as_str(), "https://deputize.test/");
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
    let page = bob.open("/").await.ok();
    let theirs = carol.open("/").await.ok();
    let button = ("authorization", &*id);
    let is_alive = async || app.modern("s", "tools/list", "").bearer(&bobs.token).await.status != 401;

    for (what, request) in [
        ("another site", bob.press_one("/", &page, button).header("sec-fetch-site", "cross-site")),
        ("a sandboxed frame", bob.press_one("/", &page, button).header("origin", "null")),
    ] {
        assert_eq!(request.await.status, StatusCode::FORBIDDEN, "{what}");
        assert!(is_alive().await, "{what}");
    }
    // Carol's own form, with Bob's authorization in it: for her session, and for another thing.
    let others = carols.authorization.id.to_string();
    let mut forged = theirs;
    forged.text = forged.text.replace(&others, &id);
    for browser in [&bob, &carol] {
        assert_eq!(browser.press_one("/", &forged, button).await.status, StatusCode::FORBIDDEN);
        assert!(is_alive().await);
    }
    let ended = bob.press_one("/", &page, button).await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER);
    assert!(!is_alive().await);
}
