//! What pages are sent with, and who may send their forms.

use deputize_tests::Browser;
use http::StatusCode;
use serde_json::json;

use super::{one_provider, two_providers};

#[tokio::test]
async fn every_page_has_the_headers_that_keep_it_safe_and_lets_popups_be() {
    let (app, acme, _) = two_providers([&json!({}), &json!({})]).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    for (path, status) in [
        ("/", StatusCode::OK),
        ("/sign-in?other_account=true", StatusCode::OK),
        ("/sign-in?return_to=//evil.test", StatusCode::BAD_REQUEST),
        ("/sign-out", StatusCode::OK),
        ("/sign-in/callback/id-example-com?state=x", StatusCode::BAD_REQUEST),
    ] {
        let page = browser.open(path).await;
        assert_eq!(page.status, status, "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains("form-action"), "{policy}");
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("cross-origin-opener-policy"), None);
        assert_eq!(page.header("access-control-allow-origin"), None);
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert!(!page.text.contains("<script") && !page.text.contains(" style="), "{}", page.text);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_read_these_pages() {
    let (app, _) = one_provider(&json!({})).await;
    for path in ["/sign-in", "/sign-in/callback/id-example-com", "/sign-out"] {
        let asked = app.get(path).header("origin", "https://app.example.com").await;
        assert_eq!(asked.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn there_is_no_file_of_another_name() {
    let (app, _) = one_provider(&json!({})).await;
    assert_eq!(app.get("/assets/other.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_is_taken_from_our_own_pages_only() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let token = Browser::field(&browser.open("/").await, "form_token");
    let fields = [("form_token", &*token)];
    let forged: [&[(&str, &str)]; 10] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://deputize.test")],
        &[("origin", "https://evil.test")],
        &[("origin", "https://deputize.test.evil.test")],
        // A sandboxed frame, and a page that sends no referrer.
        &[("origin", "null")],
        &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        &[("origin", "https://deputize.test"), ("origin", "https://evil.test")],
    ];
    for headers in forged {
        let refused = browser.forged("/sign-out", headers, &fields).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert!(refused.text.contains("does not come from a page of this service"));
        assert!(browser.is_signed_in().await, "{headers:?}");
    }
    // A browser that does not know Sec-Fetch-Site.
    let old = browser.forged("/sign-out", &[("origin", "https://deputize.test")], &fields).await;
    assert_eq!(old.status, StatusCode::SEE_OTHER);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_form_has_a_token_of_its_own_session_and_purpose() {
    let (app, acme) = one_provider(&json!({})).await;
    let (mut alice, mut mallory) = (app.browser(), app.browser());
    alice.sign_in(&acme, "alice").await;
    mallory.sign_in(&acme, "mallory").await;
    let others = Browser::field(&mallory.open("/").await, "form_token");
    for token in ["", "nonsense", &others] {
        let refused = alice.send("/sign-out", &[("form_token", token)]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token}");
        assert!(alice.is_signed_in().await);
    }
    let refused = alice.send("/sign-out", &[]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    // A page that is loaded again has the same one.
    let one = Browser::field(&alice.open("/").await, "form_token");
    assert_eq!(Browser::field(&alice.open("/").await, "form_token"), one);
    assert_eq!(alice.send("/sign-out", &[("form_token", &one)]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_sign_in_and_back() {
    let (app, _) = one_provider(&json!({})).await;
    let sent = app.get("/?a=b&c").await;
    assert_eq!(Browser::location(&sent), "https://deputize.test/sign-in?return_to=%2F%3Fa%3Db%26c");
    let posted = app.post("/sign-out").header("sec-fetch-site", "same-origin").form(&[("a", "b")]).await;
    assert_eq!(Browser::location(&posted), "https://deputize.test/sign-in?return_to=%2F");
}
