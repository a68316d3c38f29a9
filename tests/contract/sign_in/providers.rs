//! Which providers there are, and what an operator may say of them.

use deputize_core::issuers;
use deputize_tests::{Browser, TestApp};
use http::StatusCode;
use serde_json::{Value, json};

use super::two_providers;

#[tokio::test]
async fn of_several_providers_a_page_asks_which_and_keeps_where_to_go_on() {
    let named = json!({ "sign_in": { "client_id": "deputize-other-example-com", "id": "other", "name": "Other & Sons" } });
    let (app, _, other) = two_providers([&json!({}), &named]).await;
    let mut browser = app.browser();
    let page = browser.open("/sign-in?return_to=/x%3Fy").await;
    assert_eq!(page.status, StatusCode::OK);
    for has in [
        r#"<form method="get" action="/sign-in"><input type="hidden" name="return_to" value="/x?y">"#,
        r#"<button class="button" name="provider" value="id-example-com">id.example.com</button>"#,
        r#"<button class="button" name="provider" value="other">Other &amp; Sons</button>"#,
    ] {
        assert!(page.text.contains(has), "{}", page.text);
    }
    assert!(!page.text.contains("other_account"), "{}", page.text);
    let page = browser.open("/sign-in?other_account=true").await;
    assert!(page.text.contains(r#"name="other_account" value="true""#), "{}", page.text);
    let begun = browser.open("/sign-in?provider=other&return_to=%2Fx%3Fy").await;
    let back = other.sign_in(&Browser::location(&begun), "alice");
    assert!(back.starts_with("/sign-in/callback/other?"), "{back}");
    assert_eq!(Browser::location(&browser.open(&back).await), "https://deputize.test/x?y");
    assert_eq!(app.get("/sign-in?provider=unknown").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_a_provider_the_page_says_so() {
    let app = TestApp::start().await;
    let page = app.get("/sign-in").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("Nobody can sign in here yet"));
}

#[tokio::test]
async fn who_is_signed_in_goes_straight_on_and_can_take_another_account() {
    let (app, acme, _) = two_providers([&json!({}), &json!({})]).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let on = browser.open("/sign-in?return_to=/there").await;
    assert_eq!(Browser::location(&on), "https://deputize.test/there");
    let other = browser.open("/sign-in?other_account=true&provider=id-example-com").await;
    assert!(Browser::location(&other).ends_with("&prompt=select_account"));
}

#[test]
fn settings_of_a_provider_that_cannot_be_meant_are_refused_without_a_secret() {
    let refused = |issuers: Value| issuers::listed(&issuers.to_string()).unwrap_err().to_string();
    let sign_in = |sign_in: Value| refused(json!([{ "issuer": "https://a.test", "sign_in": sign_in }]));
    let of = "issuer https://a.test: sign_in: ";
    assert_eq!(
        sign_in(json!({ "client_id": "c", "client_secret": "hunter2" })),
        format!("{of}the client secret does not belong here: docs/sign-in.md says where")
    );
    assert_eq!(
        sign_in(json!({ "client_id": "c", "scope": "profile" })),
        format!("{of}scope must have openid among its values")
    );
    for id in ["", "A", "a b", "a/b", "../a", "a.b"] {
        let told = format!("{of}id must have 1 to 64 characters of a-z, 0-9 and '-'");
        assert_eq!(sign_in(json!({ "client_id": "c", "id": id })), told, "{id}");
    }
    assert_eq!(
        sign_in(json!({ "client_id": "c", "token_endpoint_auth_method": "none" })),
        format!("{of}token_endpoint_auth_method must be client_secret_basic or client_secret_post")
    );
    assert_eq!(sign_in(json!({ "client_id": "" })), format!("{of}each text must have 1 to 512 bytes"));
    assert!(sign_in(json!({ "client_id": "c", "secret": "hunter2" })).starts_with("unknown field `secret`"));
    let twice = json!([
        { "issuer": "https://a.test/one", "sign_in": { "client_id": "c" } },
        { "issuer": "https://a.test/two", "sign_in": { "client_id": "c" } },
    ]);
    assert_eq!(refused(twice), "two issuers have the sign_in id a-test: give one of them another");
    let role = json!([{ "issuer": "https://a.test", "role_claim": { "claim": "roles", "values": {} } }]);
    assert!(
        refused(role).starts_with("issuer https://a.test: role_claim: values must give a role to 1 to 100")
    );
}
