//! The end of a session: from here, and from the provider.

use std::time::Duration;

use deputize_tests::{Browser, IdentityProvider, TestApp, TestResponse};
use http::StatusCode;
use serde_json::{Value, json};

use super::{one_provider, two_providers};

async fn sign_out(browser: &mut Browser) -> TestResponse {
    let page = browser.open("/").await;
    let token = Browser::field(&page, "form_token");
    browser.send("/sign-out", &[("form_token", &token)]).await
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_at_the_provider() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let stolen = browser.clone();
    let out = sign_out(&mut browser).await;
    let location: url::Url = Browser::location(&out).parse().unwrap();
    assert!(location.as_str().starts_with("https://id.example.com/end-session?"), "{location}");
    let query: std::collections::BTreeMap<String, String> = location.query_pairs().into_owned().collect();
    assert_eq!(query["client_id"], acme.client_id());
    assert_eq!(query["post_logout_redirect_uri"], "https://deputize.test/sign-out");
    assert_eq!(deputize_tests::jwt::claims(&query["id_token_hint"])["sub"], "user_alice");
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    for mut browser in [browser, stolen] {
        assert!(!browser.is_signed_in().await);
    }
    let back = app.get("/sign-out").await;
    assert_eq!(back.status, StatusCode::OK);
    assert!(
        back.text.contains("Apps and agents that you allowed to act for you go on until you revoke that.")
    );
}

#[tokio::test]
async fn a_provider_without_such_a_place_ends_nothing_there() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().metadata.insert("end_session_endpoint", json!(null));
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    assert_eq!(Browser::location(&sign_out(&mut browser).await), "https://deputize.test/sign-out");
}

#[tokio::test]
async fn a_long_id_token_is_no_hint_and_signing_out_works_without() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.claims(|claims| claims["padding"] = "x".repeat(5000).into());
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let location = Browser::location(&sign_out(&mut browser).await);
    assert!(
        location.starts_with("https://id.example.com/end-session?") && !location.contains("id_token_hint")
    );
}

async fn logged_out(app: &TestApp, token: &str) -> TestResponse {
    app.post("/sign-in/logout/id-example-com").form(&[("logout_token", token)]).await
}

/// Two browsers of Alice and one of Bob, by sessions of the provider's own.
async fn three(app: &TestApp, acme: &IdentityProvider) -> [Browser; 3] {
    let (mut one, mut two, mut three) = (app.browser(), app.browser(), app.browser());
    one.sign_in(acme, "alice").await;
    two.sign_in(acme, "alice").await;
    three.sign_in(acme, "bob").await;
    [one, two, three]
}

async fn who_is_in(browsers: &mut [Browser; 3]) -> [bool; 3] {
    let [one, two, three] = browsers;
    [one.is_signed_in().await, two.is_signed_in().await, three.is_signed_in().await]
}

#[tokio::test]
async fn a_logout_token_ends_the_session_that_it_names_or_all_of_its_user() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browsers = three(&app, &acme).await;
    let by_sid = acme.logout_token(|claims| claims["sid"] = "sid-1".into());
    assert_eq!(logged_out(&app, &by_sid).await.status, StatusCode::OK);
    assert_eq!(who_is_in(&mut browsers).await, [false, true, true]);
    let by_both = acme.logout_token(|claims| {
        claims["sid"] = "sid-3".into();
        claims["sub"] = "user_alice".into();
    });
    assert_eq!(logged_out(&app, &by_both).await.status, StatusCode::OK);
    assert_eq!(who_is_in(&mut browsers).await, [false, true, true], "that session is not hers");
    let by_sub = acme.logout_token(|claims| claims["sub"] = "user_alice".into());
    assert_eq!(logged_out(&app, &by_sub).await.status, StatusCode::OK);
    assert_eq!(who_is_in(&mut browsers).await, [false, false, true]);
    let unknown = acme.logout_token(|claims| claims["sub"] = "user_zoe".into());
    assert_eq!(logged_out(&app, &unknown).await.status, StatusCode::OK);
    assert_eq!(who_is_in(&mut browsers).await, [false, false, true]);
}

#[tokio::test]
async fn fifty_sessions_end_at_once() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browsers = Vec::new();
    for _ in 0..50 {
        let mut browser = app.browser();
        browser.sign_in(&acme, "alice").await;
        browsers.push(browser);
    }
    let token = acme.logout_token(|claims| claims["sub"] = "user_alice".into());
    assert_eq!(logged_out(&app, &token).await.status, StatusCode::OK);
    for mut browser in browsers {
        assert!(!browser.is_signed_in().await);
    }
}

#[tokio::test]
async fn a_logout_token_counts_once_and_not_for_long() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let token = acme.logout_token(|claims| claims["sub"] = "user_alice".into());
    logged_out(&app, &token).await.ok();
    browser.sign_in(&acme, "alice").await;
    assert_eq!(logged_out(&app, &token).await.refusal(), "400 logout_token: it has been used already");
    assert!(browser.is_signed_in().await);
    let late = acme.logout_token(|claims| {
        claims["sub"] = "user_alice".into();
        claims["exp"] = (claims["exp"].as_i64().unwrap() + 86_400).into();
    });
    app.pass(Duration::from_secs(601));
    assert_eq!(logged_out(&app, &late).await.refusal(), "400 logout_token: the token has expired");
    assert!(browser.is_signed_in().await);
}

type Edit = fn(&mut Value);

#[tokio::test]
async fn what_is_no_logout_token_ends_nothing() {
    const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
    let (app, acme, other) = two_providers([&json!({}), &json!({})]).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let of_another_kind = "400 logout_token: the token is of another kind, by its typ or its claims";
    let edits: Vec<(Edit, &str)> = vec![
        (|claims| drop(claims.as_object_mut().unwrap().remove("events")), of_another_kind),
        (|claims| claims["events"] = json!({}), of_another_kind),
        (|claims| claims["events"] = json!({ EVENT: true }), of_another_kind),
        (|claims| claims["nonce"] = "n".into(), of_another_kind),
        (
            |claims| claims["aud"] = "deputize-other".into(),
            "400 logout_token: the token is for another audience",
        ),
        (
            |claims| claims["iss"] = "https://evil.test".into(),
            "400 logout_token: the token is from an untrusted issuer",
        ),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("jti")),
            "400 logout_token: the token is malformed",
        ),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("sub")),
            "400 logout_token: the token is malformed",
        ),
        (
            |claims| drop(claims.as_object_mut().unwrap().remove("iat")),
            "400 logout_token: the token is malformed",
        ),
        (|claims| claims["iat"] = 4_000_000_000_u64.into(), "400 logout_token: the token is not valid yet"),
        (|claims| claims["exp"] = 1_700_000_000.into(), "400 logout_token: the token has expired"),
    ];
    for (edit, told) in edits {
        let token = acme.logout_token(|claims| {
            claims["sub"] = "user_alice".into();
            edit(claims);
        });
        assert_eq!(logged_out(&app, &token).await.refusal(), told);
    }
    // An ID token in its place, with everything that an ID token has; and another provider's logout token.
    let id_token = acme.id_token("alice", |claims| claims["sid"] = "sid-1".into());
    assert_eq!(logged_out(&app, &id_token).await.refusal(), of_another_kind);
    let others = other.logout_token(|claims| claims["sub"] = "user_alice".into());
    assert_eq!(
        logged_out(&app, &others).await.refusal(),
        "400 logout_token: the token is from an untrusted issuer"
    );
    let good = acme.logout_token(|claims| claims["sub"] = "user_alice".into());
    let changed = deputize_tests::jwt::with_claims(&good, |claims| claims["sid"] = "sid-9".into());
    assert_eq!(
        logged_out(&app, &changed).await.refusal(),
        "400 logout_token: the token's signature is wrong"
    );
    for odd in ["", "nonsense", "a.b.c"] {
        assert_eq!(logged_out(&app, odd).await.status, StatusCode::BAD_REQUEST, "{odd}");
    }
    let elsewhere = app.post("/sign-in/logout/unknown").form(&[("logout_token", &good)]).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    assert!(browser.is_signed_in().await);
    // And as a user's JWT it is nothing.
    let with_email = acme.logout_token(|claims| claims["sub"] = "user_alice".into());
    assert_eq!(app.get("/api/v1/me").bearer(&with_email).await.status, StatusCode::UNAUTHORIZED);
}
