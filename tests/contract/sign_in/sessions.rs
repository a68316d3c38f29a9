//! Browser sessions: how long they last, who ends them, and what they are good for.

use std::time::Duration;

use deputize_core::browser_sessions::BrowserSessionTimes;
use deputize_tests::{Browser, IdentityProvider, Providers, TestApp};
use http::StatusCode;
use serde_json::json;

use super::one_provider;

#[tokio::test]
async fn a_session_ends_after_half_an_hour_without_use() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    for _ in 0..4 {
        app.pass(Duration::from_mins(29));
        assert!(browser.is_signed_in().await);
    }
    app.pass(Duration::from_mins(30));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_session_ends_twelve_hours_after_it_began() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    for _ in 0..47 {
        app.pass(Duration::from_mins(15));
        assert!(browser.is_signed_in().await);
    }
    app.pass(Duration::from_mins(15));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn both_times_are_the_operators_to_set() {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let times = BrowserSessionTimes { idle: Duration::from_mins(5), total: Duration::from_mins(8) };
    let trusted = json!([acme.trusted(&json!({}))]);
    let set = |settings: &mut deputize_core::Settings| settings.browser_sessions = times;
    let app = base.signing_in_with(&trusted, &Providers::of(&[&acme]), set).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    app.pass(Duration::from_mins(4));
    assert!(browser.is_signed_in().await);
    app.pass(Duration::from_mins(4));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_page_costs_one_read_and_a_write_once_a_minute() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    app.pass(Duration::from_secs(59));
    let (_, round_trips) = app.round_trips(browser.open("/sign-out")).await;
    assert_eq!(round_trips, [("BatchGetItem", 1)]);
    app.pass(Duration::from_secs(1));
    let (_, round_trips) = app.round_trips(browser.open("/sign-out")).await;
    assert_eq!(round_trips, [("BatchGetItem", 1), ("TransactWriteItems", 1)]);
}

#[tokio::test]
async fn a_deactivated_users_session_is_over_and_does_not_come_back_with_them() {
    let (app, acme) = one_provider(&json!({})).await;
    let (admin, bob) = (app.user("root").admin().await, app.user("bob").await);
    let mut browser = app.browser();
    browser.sign_in(&acme, "bob").await;
    let set = async |active: bool| {
        let set = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&admin);
        set.json(&json!({ "active": active })).await.ok();
    };
    set(false).await;
    assert!(!browser.is_signed_in().await);
    set(true).await;
    assert!(!browser.is_signed_in().await);
    browser.sign_in(&acme, "bob").await;
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn a_session_is_over_once_the_identity_is_taken_by_which_it_began() {
    let (app, acme) = one_provider(&json!({})).await;
    let (admin, bob) = (app.user("root").admin().await, app.user("bob").await);
    let mut browser = app.browser();
    browser.sign_in(&acme, "bob").await;
    let set = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&admin);
    set.json(&json!({ "identities": [] })).await.ok();
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_user_lists_and_ends_their_sessions_and_nobody_elses() {
    let (app, acme) = one_provider(&json!({})).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (mut one, mut two) = (app.browser(), app.browser());
    one.sign_in(&acme, "alice").await;
    app.pass(Duration::from_mins(20));
    two.sign_in(&acme, "alice").await;
    let listed = app.get("/api/v1/me/browser-sessions").as_user(&alice).await.ok().json();
    let mut listed = listed.as_array().unwrap().clone();
    listed.sort_by_key(|session| session["created_at"].to_string());
    let ids: Vec<String> = listed.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        listed[0],
        json!({ "id": ids[0], "issuer": "https://id.example.com", "created_at": "2026-01-15T09:00:00.000Z",
                "used_at": "2026-01-15T09:00:00.000Z", "expires_at": "2026-01-15T09:30:00.000Z" })
    );
    let path = format!("/api/v1/me/browser-sessions/{}", ids[0]);
    assert_eq!(app.get("/api/v1/me/browser-sessions").as_user(&bob).await.json(), json!([]));
    assert_eq!(app.delete(&path).as_user(&bob).await.status, StatusCode::NOT_FOUND);
    assert!(one.is_signed_in().await);
    assert_eq!(app.delete(&path).as_user(&alice).await.status, StatusCode::NO_CONTENT);
    assert!(!one.is_signed_in().await && two.is_signed_in().await);
    assert_eq!(app.delete(&path).as_user(&alice).await.status, StatusCode::NO_CONTENT);
    // One that is over by itself is not listed any more.
    app.pass(Duration::from_mins(31));
    assert_eq!(app.get("/api/v1/me/browser-sessions").as_user(&alice).await.json(), json!([]));
}

#[tokio::test]
async fn a_user_has_fifty_sessions_and_the_oldest_goes() {
    let (app, acme) = one_provider(&json!({})).await;
    let alice = app.user("alice").await;
    let mut first = app.browser();
    first.sign_in(&acme, "alice").await;
    let mut second = app.browser();
    app.pass(Duration::from_secs(1));
    second.sign_in(&acme, "alice").await;
    app.pass(Duration::from_secs(1));
    for _ in 0..48 {
        app.browser().sign_in(&acme, "alice").await;
    }
    assert!(first.is_signed_in().await);
    app.browser().sign_in(&acme, "alice").await;
    assert!(!first.is_signed_in().await && second.is_signed_in().await);
    let listed = app.get("/api/v1/me/browser-sessions").as_user(&alice).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn the_json_api_never_takes_a_cookie() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let (name, value) = browser.cookie("deputize_session");
    let cookie = format!("{name}={value}");
    for path in [
        "/api/v1/me",
        "/api/v1/me/browser-sessions",
        "/api/v1/api-keys",
        "/api/v1/users",
        "/api/v1/delegations",
        "/api/v1/proxy/demo/tools",
        "/api/v1/servers/demo/connection",
    ] {
        let with_cookie = app.get(path).header("cookie", &cookie).await;
        assert_eq!(with_cookie.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    // Nor as another kind of credential.
    let made = json!({ "name": "mine" });
    let refused = app.post("/api/v1/api-keys").header("cookie", &cookie).json(&made).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.get("/api/v1/me").bearer(&value).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        app.get("/api/v1/me").header("x-runlayer-api-key", &value).await.status,
        StatusCode::UNAUTHORIZED
    );
    let actor =
        [("actor_token", &*value), ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token")];
    let (alice, bot) = (app.user("owner").await, "bot");
    let bot = app.agent(bot, &alice).await;
    assert_eq!(app.token_for(&bot, &actor).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_cookie_that_is_changed_in_anything_is_nothing() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let (name, value) = browser.cookie("deputize_session");
    let key = value.replacen("dpb_", "rl_", 1);
    for odd in ["", "dpb_", &value[..value.len() - 1], &key, &value.to_uppercase(), &format!("{value}x")] {
        let mut other = app.browser();
        other.cookies.insert(name.clone(), (odd.to_owned(), "/".to_owned()));
        assert!(!other.is_signed_in().await, "{odd}");
    }
    // Without `__Host-` it is another cookie, which a neighbour on the domain could have set.
    let mut other = app.browser();
    other.cookies.insert(name.trim_start_matches("__Host-").to_owned(), (value, "/".to_owned()));
    assert!(!other.is_signed_in().await);
}

#[tokio::test]
async fn what_a_session_did_is_in_the_trail() {
    let (app, acme) = one_provider(&json!({})).await;
    app.user("alice").await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let page = browser.open("/").await;
    let token = Browser::field(&page, "form_token");
    browser.send("/sign-out", &[("form_token", &token)]).await;
    let actions: Vec<String> =
        app.trail().iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect();
    assert!(
        actions.contains(&"sign_in".to_owned()) && actions.contains(&"sign_out".to_owned()),
        "{actions:?}"
    );
}

#[tokio::test]
async fn a_session_that_cannot_be_read_shows_no_page_and_no_secret() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    app.faults.always(deputize_tests::faults::Fault::Throttled);
    let down = browser.open("/").await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(down.text.contains("temporarily unavailable"));
}
