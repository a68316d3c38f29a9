//! Apps whose `client_id` is the address of their metadata document.

use std::time::Duration;

use deputize_core::{apps::AppSettings, network::HttpError};
use deputize_service::{
    address::AddressPolicy,
    outbound::{Outbound, Times},
};
use deputize_tests::{
    TestApp,
    documents::{DOCUMENT, metadata},
};
use http::Response;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{CALLBACK, Desk, redeem, request};

impl Desk {
    /// What the page says of a request by the app at [`DOCUMENT`].
    async fn words(&self) -> String {
        let page = self.browser().await.authorize(&request(DOCUMENT, CALLBACK, &[])).await;
        format!("{} {}", page.status.as_u16(), page.words().replace('\n', " "))
    }

    /// [`Self::words`], once the document is this.
    async fn with(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut document = metadata();
        change(&mut document);
        self.documents.say_for(DOCUMENT, &document, "no-store");
        self.words().await
    }
}

#[tokio::test]
async fn an_app_is_known_by_the_host_of_its_document() {
    let desk = Desk::set().await;
    let page = desk.browser().await.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    assert_eq!(page.title(), "Let app.example.com use every server as you?");
    let words = page.words();
    assert!(words.contains("It is the app of\napp.example.com\n. It calls itself “Example App”."), "{words}");
}

#[tokio::test]
async fn nobody_who_is_not_signed_in_makes_us_fetch_or_write_anything() {
    let desk = Desk::set().await;
    let before = (desk.app.contents(), desk.app.trail().len());
    for prompt in ["", "none", "consent"] {
        for id in [DOCUMENT, "https://inside.test/", "dyn.x.y", ""] {
            let browser = desk.app.nobody();
            let sent = browser.authorize(&request(id, CALLBACK, &[("prompt", prompt)]));
            let (answer, round_trips) = desk.app.round_trips(sent.into_future()).await;
            assert_eq!(round_trips, [], "{id}");
            if prompt == "none" {
                assert_eq!((answer.status.as_u16(), answer.title().as_str()), (400, "Sign in first"));
            } else {
                let to = answer.sent_to();
                assert_eq!(to.path(), "/sign-in");
                assert!(answer.sent_with("return_to").unwrap().starts_with("/api/v1/oauth/authorize?"));
            }
        }
    }
    assert_eq!(desk.documents.count(), 0);
    assert_eq!((desk.app.contents(), desk.app.trail().len()), before);
}

#[tokio::test]
async fn a_document_is_kept_as_long_as_its_headers_say_and_a_failure_never() {
    let desk = Desk::set().await;
    desk.documents.at(DOCUMENT, || Err(HttpError::TimedOut));
    for _ in 0..2 {
        assert!(desk.words().await.contains("it took too long"));
    }
    assert_eq!(desk.documents.count(), 2);
    desk.documents.say(DOCUMENT, &metadata());
    for _ in 0..3 {
        assert!(desk.words().await.starts_with("200"));
    }
    assert_eq!(desk.documents.count(), 3);
    desk.app.pass(Duration::from_mins(10));
    desk.documents.say_for(DOCUMENT, &metadata(), "no-store");
    for _ in 0..2 {
        assert!(desk.words().await.starts_with("200"));
    }
    assert_eq!(desk.documents.count(), 5);
    desk.documents.say_for(DOCUMENT, &metadata(), "max-age=99999999");
    desk.words().await;
    desk.app.pass(Duration::from_secs(86_399));
    desk.words().await;
    assert_eq!(desk.documents.count(), 6);
    desk.app.pass(Duration::from_secs(1));
    desk.words().await;
    assert_eq!(desk.documents.count(), 7);
}

#[tokio::test]
async fn a_document_that_is_not_right_is_refused_with_the_reason() {
    let desk = Desk::set().await;
    let mut table = vec![
        desk.with(|document| document["client_id"] = "https://app.example.com/other".into()).await,
        desk.with(|document| document["client_id"] = Value::Null).await,
        desk.with(|document| document["redirect_uris"] = json!(["javascript:alert(1)"])).await,
        desk.with(|document| document["redirect_uris"] = json!([])).await,
        desk.with(|document| document["token_endpoint_auth_method"] = "client_secret_basic".into()).await,
        desk.with(|document| document["token_endpoint_auth_method"] = "private_key_jwt".into()).await,
        desk.with(|document| *document = json!([DOCUMENT, "List", [CALLBACK], "none"])).await,
    ];
    let json = |body: Vec<u8>, kind: &'static str| {
        move || Ok(Response::builder().header("content-type", kind).body(body.clone()).unwrap())
    };
    let mut huge = metadata();
    huge["client_name"] = "x".repeat(5 * 1024).into();
    desk.documents.at(DOCUMENT, json(huge.to_string().into_bytes(), "application/json"));
    table.push(desk.words().await);
    desk.documents.at(DOCUMENT, json(metadata().to_string().into_bytes(), "text/plain"));
    table.push(desk.words().await);
    desk.documents.at(DOCUMENT, json(b"<html>".to_vec(), "application/json"));
    table.push(desk.words().await);
    desk.documents.at(DOCUMENT, || {
        Ok(Response::builder()
            .status(302)
            .header("location", "https://inside.test/")
            .body(Vec::new())
            .unwrap())
    });
    table.push(desk.words().await);
    desk.documents.at(DOCUMENT, || Ok(Response::builder().status(404).body(Vec::new()).unwrap()));
    table.push(desk.words().await);
    assert_snapshot!(table.join("\n"), @"
    400 This app is not known here The app's metadata document cannot be used: its client_id is not its address. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: its client_id is not its address. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: javascript:alert(1) cannot be a redirect URI: its scheme must be https, http on this computer, or a known app's own. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: redirect_uris must be a list with at least one URI. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: its token_endpoint_auth_method must be none or private_key_jwt. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: private_key_jwt needs jwks with a usable public key, or a jwks_uri with https. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: it is no JSON object of client metadata. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: its answer is larger than 5120 bytes. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: it is not sent as application/json. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: it is no JSON object of client metadata. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: it redirects elsewhere, which is not followed. You can close this page. If an app sent you here, tell its maker.
    400 This app is not known here The app's metadata document cannot be used: it answered HTTP 404 Not Found. You can close this page. If an app sent you here, tell its maker.
    ");
}

#[tokio::test]
async fn a_document_inside_is_never_asked_for() {
    let desk = Desk::set().await;
    let guarded = Outbound::new(AddressPolicy::PUBLIC, Times::default());
    let app = desk.app.process(
        desk.app.faults.client(),
        (desk.app.core.clock.clone(), deputize_core::clock::Random::System),
        std::sync::Arc::new(guarded),
    );
    let browser = app.person(&desk.bob).await;
    for inside in [
        "https://127.0.0.1:8787/client.json",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/client",
        "https://[::1]/client",
        "https://localhost/client",
    ] {
        let page = browser.authorize(&request(inside, CALLBACK, &[])).await;
        let words = page.words();
        assert_eq!(page.status, 400, "{words}");
        assert!(words.contains("its address is refused"), "{words}");
        assert_eq!(page.way_back(), None);
    }
}

#[tokio::test]
async fn what_was_shown_is_what_is_allowed_even_if_the_document_changes() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    desk.documents.say_for(DOCUMENT, &metadata(), "no-store");
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let mut other = metadata();
    other["client_name"] = "Payroll".into();
    desk.documents.say_for(DOCUMENT, &other, "no-store");
    let again = browser.press(&page, "allow").await;
    assert_eq!(again.status, 409);
    assert!(again.words().contains("Something has changed since this page was shown"), "{}", again.words());
    assert!(again.words().contains("It calls itself “Payroll”"));
    assert!(!desk.app.trail().iter().any(|event| event["action"] == "authorization.create"));
    // So it is with its keys and its redirect URIs, which the page does not show.
    other["redirect_uris"] = json!([CALLBACK]);
    desk.documents.say_for(DOCUMENT, &other, "no-store");
    let again = browser.press(&again, "allow").await;
    assert_eq!(again.status, 409);
    let code = browser.press(&again, "allow").await.sent_with("code").unwrap();
    // From now on nothing that the document says changes what the code is redeemed against.
    other["token_endpoint_auth_method"] = "private_key_jwt".into();
    other["jwks_uri"] = "https://app.example.com/jwks".into();
    other["redirect_uris"] = json!(["https://app.example.com/elsewhere"]);
    desk.documents.say_for(DOCUMENT, &other, "no-store");
    let before = desk.documents.count();
    redeem(&desk.app, DOCUMENT, CALLBACK, &code).await.ok();
    assert_eq!(desk.documents.count(), before);
}

#[tokio::test]
async fn a_deployment_can_take_no_documents_and_list_their_hosts() {
    for (settings, why) in [
        (
            AppSettings::default().taking("registration").unwrap(),
            "This deployment takes no apps of this kind.",
        ),
        (
            AppSettings::default().from_hosts("claude.ai").unwrap(),
            "This deployment takes no apps from this host.",
        ),
    ] {
        let documents = deputize_tests::Documents::default();
        let app = TestApp::start_taking(settings).await.on_web(&documents);
        let bob = app.user("bob").await;
        let page = app.person(&bob).await.authorize(&request(DOCUMENT, CALLBACK, &[])).await;
        assert_eq!(page.status, 400);
        assert!(page.words().contains(why), "{}", page.words());
        assert_eq!(documents.count(), 0);
    }
}

#[tokio::test]
async fn a_document_at_an_address_that_is_none_is_not_fetched() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    for wrong in [
        "http://app.example.com/client",
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com/x/../client",
        "https://user@app.example.com/client",
        "https://app.example.com/client#x",
        "https://APP.example.com/client",
        "ftp://app.example.com/client",
        "javascript://app.example.com/%0aalert(1)",
    ] {
        let page = browser.authorize(&request(wrong, CALLBACK, &[])).await;
        assert_eq!((page.status.as_u16(), page.way_back()), (400, None), "{wrong}");
    }
    assert_eq!(desk.documents.count(), 0);
}
