//! `prompt=login` and `prompt=select_account` (OpenID Connect Core section 3.1.2.1): the provider asks again who the person
//! is.

use deputize_tests::{Browser, IdentityProvider, Providers, TestApp, TestResponse};
use serde_json::json;

use super::{HERE, registered, request};
use deputize_tests::person::authorize_path;

async fn signed_in_at_a_provider() -> (TestApp, IdentityProvider, Browser) {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let app = base.signing_in_by(&json!([acme.trusted(&json!({}))]), &Providers::of(&[&acme])).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "bob").await;
    (app, acme, browser)
}

fn sent_to(answer: &TestResponse) -> url::Url {
    Browser::location(answer).parse().unwrap()
}

fn asks(url: &url::Url) -> Option<String> {
    url.query_pairs().find(|(name, _)| name == "prompt").map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_person_signs_in_again_where_the_app_wants_it_and_is_asked_then() {
    let (app, acme, mut browser) = signed_in_at_a_provider().await;
    let id = registered(&app, "Editor", HERE).await;
    for (prompt, at_the_provider) in
        [("login", "login"), ("consent login", "login"), ("select_account", "select_account")]
    {
        let first = browser.open(&authorize_path(&request(&id, HERE, &[("prompt", prompt)]))).await;
        let to = sent_to(&first);
        assert_eq!(to.path(), "/sign-in", "{prompt}");
        let begun = browser.open(&format!("{}?{}", to.path(), to.query().unwrap())).await;
        let to_provider = sent_to(&begun);
        assert_eq!(asks(&to_provider).as_deref(), Some(at_the_provider), "{prompt}");
        let back = browser.open(&acme.sign_in(to_provider.as_str(), "bob")).await;
        // It is not asked for once more, and the rest of the request is there.
        let on = sent_to(&back);
        assert_eq!(
            (on.path(), asks(&on).as_deref()),
            ("/api/v1/oauth/authorize", Some("consent").filter(|_| prompt.contains("consent")),)
        );
        let page = browser.open(&format!("{}?{}", on.path(), on.query().unwrap())).await.ok();
        assert_eq!(page.title(), "Let a program on this computer use every server as you?");
    }
}

#[tokio::test]
async fn a_person_who_is_not_signed_in_signs_in_once() {
    let (app, acme, _) = signed_in_at_a_provider().await;
    let id = registered(&app, "Editor", HERE).await;
    let mut browser = app.browser();
    let to = sent_to(&browser.open(&authorize_path(&request(&id, HERE, &[("prompt", "login")]))).await);
    let begun = browser.open(&format!("{}?{}", to.path(), to.query().unwrap())).await;
    let back = browser.open(&acme.sign_in(sent_to(&begun).as_str(), "bob")).await;
    let on = sent_to(&back);
    browser.open(&format!("{}?{}", on.path(), on.query().unwrap())).await.ok();
}

#[tokio::test]
async fn an_app_that_asks_for_no_page_is_not_answered_with_one_to_sign_in() {
    let (app, _, mut browser) = signed_in_at_a_provider().await;
    let id = registered(&app, "Editor", HERE).await;
    let page = browser.open(&authorize_path(&request(&id, HERE, &[("prompt", "none login")]))).await;
    assert_eq!(page.status, 400);
    assert!(page.words().contains("prompt=none goes with no other prompt"), "{}", page.words());
}
