//! The way to the provider and back.

use std::{future::IntoFuture, time::Duration};

use deputize_tests::{Browser, IdentityProvider, Providers, TestApp};
use http::StatusCode;
use serde_json::json;

use super::{one_provider, two_providers};

#[tokio::test]
async fn a_person_signs_in_and_comes_back_to_where_they_wanted_to_be() {
    let (app, acme) = one_provider(&json!({})).await;
    let alice = app.user("alice").await;
    let mut browser = app.browser();
    let begun = browser.open("/sign-in?return_to=%2Fagents%3Fx%3D%2C%3B%2522").await;
    let location = Browser::location(&begun);
    assert!(
        location.starts_with("https://id.example.com/authorize?response_type=code&client_id="),
        "{location}"
    );
    assert!(
        location.contains("redirect_uri=https%3A%2F%2Fdeputize.test%2Fsign-in%2Fcallback%2Fid-example-com&")
    );
    let back = browser.open(&acme.sign_in(&location, "alice")).await;
    assert_eq!(Browser::location(&back), "https://deputize.test/agents?x=,;%22");
    let home = browser.open("/").await;
    assert_eq!(home.status, StatusCode::OK);
    assert!(home.text.contains("alice@example.com"), "{}", home.text);
    let me = app.get("/api/v1/me").as_user(&alice).await.json();
    assert_eq!(me["email"], "alice@example.com");
}

#[tokio::test]
async fn who_is_not_known_becomes_a_user_if_the_issuer_provisions_and_is_told_if_not() {
    let (app, acme) = one_provider(&json!({})).await;
    assert_eq!(app.browser().sign_in(&acme, "zoe").await.status, StatusCode::SEE_OTHER);
    let (app, acme) = one_provider(&json!({ "provision": false })).await;
    let mut browser = app.browser();
    let refused = browser.sign_in(&acme, "zoe").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("Ask an administrator of this service to add you"), "{}", refused.text);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_deactivated_user_does_not_sign_in() {
    let (app, acme) = one_provider(&json!({})).await;
    let (admin, bob) = (app.user("root").admin().await, app.user("bob").await);
    let off = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&admin);
    off.json(&json!({ "active": false })).await.ok();
    let refused = app.browser().sign_in(&acme, "bob").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("activate your account"), "{}", refused.text);
}

#[tokio::test]
async fn two_tabs_sign_in_at_once_and_each_goes_on_where_it_was_to() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let one = Browser::location(&browser.open("/sign-in?return_to=/one").await);
    let two = Browser::location(&browser.open("/sign-in?return_to=/two").await);
    let (one, two) = (acme.sign_in(&one, "alice"), acme.sign_in(&two, "alice"));
    assert_eq!(Browser::location(&browser.open(&two).await), "https://deputize.test/two");
    assert_eq!(Browser::location(&browser.open(&one).await), "https://deputize.test/one");
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn a_browser_keeps_the_newest_five_sign_ins_and_no_more() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let mut locations = Vec::new();
    for _ in 0..7 {
        locations.push(Browser::location(&browser.open("/sign-in?return_to=/x").await));
        app.pass(Duration::from_secs(1));
    }
    assert_eq!(browser.cookies.len(), 10, "{:?}", browser.cookies);
    let newest = acme.sign_in(locations.last().unwrap(), "alice");
    assert_eq!(browser.open(&newest).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_person_has_ten_minutes_to_sign_in() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let location = Browser::location(&browser.open("/sign-in").await);
    let back = acme.sign_in(&location, "alice");
    app.pass(Duration::from_mins(10));
    let late = browser.open(&back).await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST);
    assert!(late.text.contains("longer than ten minutes ago"), "{}", late.text);
}

#[tokio::test]
async fn an_anonymous_request_writes_nothing() {
    let (app, _) = one_provider(&json!({})).await;
    for path in [
        "/",
        "/sign-in",
        "/sign-in?return_to=/x",
        "/sign-out",
        "/sign-in/callback/id-example-com?state=x&code=y",
    ] {
        let (_, round_trips) = app.round_trips(app.get(path).into_future()).await;
        assert_eq!(round_trips, [], "{path}");
    }
}

#[tokio::test]
async fn the_callback_takes_get_only() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let location = Browser::location(&browser.open("/sign-in").await);
    let back = acme.sign_in(&location, "alice");
    let (path, query) = back.split_once('?').unwrap();
    let posted = app.post(path).body("application/x-www-form-urlencoded", query.to_owned()).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    let head = app.ask(http::Method::HEAD, &back).await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(acme.received().is_empty());
    assert_eq!(browser.open(&back).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn iss_is_required_where_the_provider_sends_it_and_checked_wherever_it_comes() {
    let (app, acme) = one_provider(&json!({})).await;
    let without = |back: &str| back.split_once("&iss=").unwrap().0.to_owned();
    let mut browser = app.browser();
    let mut comes_to = async |edit: &dyn Fn(&str) -> String| {
        let location = Browser::location(&browser.open("/sign-in").await);
        let back = edit(&acme.sign_in(&location, "alice"));
        browser.open(&back).await
    };
    for edit in [&without as &dyn Fn(&str) -> String, &|back| without(back) + "&iss=https%3A%2F%2Fevil.test"]
    {
        let refused = comes_to(edit).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.text.contains("not from the identity provider that was asked"), "{}", refused.text);
    }
    assert!(acme.received().is_empty(), "the code went nowhere");
    // An error is not believed either.
    let error = comes_to(&|back| without(back).replace("code=", "error=access_denied&x=")).await;
    assert!(error.text.contains("not from the identity provider that was asked"), "{}", error.text);

    let base = TestApp::start().await;
    let silent = IdentityProvider::new("https://id.example.com", &base.core.clock);
    silent.script().metadata.insert("authorization_response_iss_parameter_supported", json!(null));
    let app = base.signing_in_by(&json!([silent.trusted(&json!({}))]), &Providers::of(&[&silent])).await;
    let mut browser = app.browser();
    for (more, status) in
        [("", StatusCode::SEE_OTHER), ("&iss=https%3A%2F%2Fevil.test", StatusCode::BAD_REQUEST)]
    {
        let location = Browser::location(&browser.open("/sign-in?other_account=true").await);
        let back = without(&silent.sign_in(&location, "alice")) + more;
        assert_eq!(browser.open(&back).await.status, status, "{more}");
    }
}

#[tokio::test]
async fn a_provider_that_says_no_is_quoted_and_its_words_are_words() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    for (error, told) in [
        ("access_denied", "access was declined"),
        (
            "login_required&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
            "login_required: &lt;script&gt;",
        ),
    ] {
        let location = Browser::location(&browser.open("/sign-in").await);
        let back = acme.sign_in(&location, "alice").replace("code=", &format!("error={error}&x="));
        let refused = browser.open(&back).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.text.contains(told) && !refused.text.contains("<script"), "{}", refused.text);
    }
}

#[tokio::test]
async fn each_provider_has_a_callback_of_its_own_and_takes_no_answer_of_anothers() {
    let (app, acme, other) = two_providers([&json!({}), &json!({})]).await;
    let mut browser = app.browser();
    let begun = browser.open("/sign-in?provider=id-example-com").await;
    let back = acme.sign_in(&Browser::location(&begun), "alice");
    let mixed_up = back.replace("/callback/id-example-com?", "/callback/other-example-com?");
    let refused = browser.open(&mixed_up).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text.contains("was not begun in this browser"), "{}", refused.text);
    assert!(other.received().is_empty(), "no code of one provider reaches another");
    let unknown = browser.open(&back.replace("/callback/id-example-com?", "/callback/unknown?")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metadata_is_fetched_once_and_a_provider_that_is_down_is_not_asked_by_every_request() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().is_down = true;
    let down = app.get("/sign-in").await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    acme.script().is_down = false;
    // Not so soon.
    assert_eq!(app.get("/sign-in").await.status, StatusCode::SERVICE_UNAVAILABLE);
    app.pass(Duration::from_secs(5));
    assert_eq!(app.get("/sign-in").await.status, StatusCode::SEE_OTHER);
    acme.script().is_down = true;
    assert_eq!(app.get("/sign-in").await.status, StatusCode::SEE_OTHER);
    // Old metadata serves on.
    app.pass(Duration::from_hours(2));
    assert_eq!(app.get("/sign-in").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_provider_whose_page_is_no_web_page_is_not_used() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().metadata.insert("authorization_endpoint", json!("javascript:alert(1)"));
    assert_eq!(app.get("/sign-in").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
