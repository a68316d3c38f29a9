//! API keys: made and shown once, deleted and restored.

use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{buttons, said};
use crate::scenario::Scenario;

const WANTED: [(&str, &str); 5] = [
    ("name", "Nightly report"),
    ("tools_call", "yes"),
    ("manage_read", "yes"),
    ("where", "everywhere"),
    ("until", "90"),
];

/// The key that a page shows.
#[track_caller]
fn key_on(page: &deputize_tests::TestResponse) -> String {
    let rest = page.text.split(r#"<p class="secret"><code>"#).nth(1);
    rest.unwrap_or_else(|| panic!("no key on {page}")).split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_key_is_shown_once_with_the_line_to_paste() {
    let it = Scenario::start().await;
    let Scenario { app, bob, .. } = &it;
    let browser = app.person(bob).await;
    let page = browser.open("/keys").await.ok();
    let made = browser.fill(&page, "/keys", &WANTED).await.ok();
    let key = key_on(&made);
    app.call_it("Nightly report", &key);
    assert_snapshot!(app.shown(&said(&made)), @r#"Keys The key Nightly report Copy it now. It is shown once. [Nightly report] Use it export API_KEY="[Nightly report]" curl -H "x-runlayer-api-key: $API_KEY" https://deputize.test/api/v1/me I have copied it"#);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let me: Value = app.get("/api/v1/me").header("x-runlayer-api-key", &key).await.ok().json();
    assert_eq!(me["id"], json!(bob.id));
    let refused = app.delete("/api/v1/delegations/3fa85f64-5717-4562-b3fc-2c963f66afa6");
    assert_eq!(
        refused.header("x-runlayer-api-key", &key).await.status,
        StatusCode::FORBIDDEN,
        "it only reads"
    );

    // The form again, as by a browser that loads the answer again: no other key, and not the same text.
    app.pass(std::time::Duration::from_secs(1));
    let again = browser.fill(&page, "/keys", &WANTED).await.ok();
    assert!(!again.text.contains(&key) && again.title() == "It was shown", "{again}");
    let other = browser.fill(
        &page,
        "/keys",
        &[("name", "Other"), ("manage", "yes"), ("where", "everywhere"), ("until", "7")],
    );
    assert_eq!(other.await.ok().title(), "It was shown", "the form was for one key");
    let listed: Value = app.get("/api/v1/api-keys").as_user(bob).await.ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "with the one of the test: {listed}");

    assert_snapshot!(app.shown(&said(&browser.open("/keys").await.ok())), @"Keys A key is you, in a script. It works until it is deleted or runs out. Nightly report Calls tools and reads. Made on 15 Jan 2026 , ends on 15 Apr 2026 (in 89 days). Not used of late, as far as that is recorded: reading is not. Delete test Calls tools and reads and changes. Made on 15 Jan 2026 , without an end. Not used of late, as far as that is recorded: reading is not. Delete Create a key Name What it is for Calling tools Reading what you can read here Changing what you can change here Where At these servers There is no server yet. At every server, also new ones Until In 7 days In 30 days In 90 days In a year No end date Create");
    assert!(!browser.open("/keys").await.ok().text.contains(&key));
}

#[tokio::test]
async fn a_deleted_key_is_refused_and_can_be_restored() {
    let it = Scenario::start().await;
    let Scenario { app, bob, .. } = &it;
    let browser = app.person(bob).await;
    let page = browser.open("/keys").await.ok();
    let [key] = &*buttons(&page, "key") else { panic!("one: {page}") };
    let deleted = browser.press_one("/keys", &page, ("key", key)).await;
    assert_eq!(deleted.sent_to().path(), "/keys");
    assert_eq!(app.get("/api/v1/me").as_user(bob).await.status, StatusCode::UNAUTHORIZED);
    let after = browser.open(deleted.header("location").unwrap()).await.ok();
    assert!(said(&after).contains("The key test is deleted: it is refused from now on."), "{after}");
    // Nobody else is told of it, or restores it.
    let carols = app.person(&it.carol).await.open(deleted.header("location").unwrap()).await.ok();
    assert!(!carols.text.contains("is refused from now on"), "{carols}");
    browser.press_one("/keys", &after, ("key", key)).await.sent_to();
    app.get("/api/v1/me").as_user(bob).await.ok();
}

#[tokio::test]
async fn a_form_that_is_not_filled_in_makes_no_key_and_says_why() {
    let it = Scenario::start().await;
    let Scenario { app, bob, .. } = &it;
    let browser = app.person(bob).await;
    let page = browser.open("/keys").await.ok();
    let long = "a".repeat(201);
    let wrong: [(&[(&str, &str)], &str); 5] = [
        (&WANTED[1..], "The name must have 1 to 200 characters"),
        (&[&[("name", &*long)][..], &WANTED[1..]].concat(), "The name must have 1 to 200 characters"),
        (&[WANTED[0], WANTED[3], WANTED[4]], "Choose what the key is for."),
        (&WANTED[..3], "Choose at least one server, or every server."),
        (&WANTED[..4], "Choose until when."),
    ];
    for (fields, says) in wrong {
        let again = browser.fill(&page, "/keys", fields).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST, "{fields:?}");
        assert!(said(&again).contains(says), "{fields:?}: {}", said(&again));
    }
    let listed: Value = app.get("/api/v1/api-keys").as_user(bob).await.ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    // What was wrong can be put right in the same form.
    key_on(&browser.fill(&page, "/keys", &WANTED).await.ok());
}

#[tokio::test]
async fn where_keys_may_last_only_so_long_no_longer_time_is_offered() {
    let app = deputize_tests::TestApp::start().await.with_settings(|settings| {
        settings.longest_api_key = Some(std::time::Duration::from_hours(30 * 24));
    });
    let bob = app.user("bob").await;
    let browser = app.person(&bob).await;
    let page = browser.open("/keys").await.ok();
    assert!(page.text.contains(r#"value="30""#), "{page}");
    for longer in [r#"value="90""#, r#"value="365""#, r#"value="no_end""#] {
        assert!(!page.text.contains(longer), "{longer}");
    }
    let refused = browser.fill(&page, "/keys", &WANTED).await;
    assert!(said(&refused).contains("API keys last no longer here"), "{refused}");
}
