//! A deployment's beginning: what is answered before it, and that an admin is made once.

use deputize_core::{
    Error,
    audit::RequestContext,
    bootstrap::{self, Admin},
    issuers,
    secret::shown_once,
};
use deputize_tests::TestApp;
use insta::assert_snapshot;
use serde_json::json;

async fn admin(app: &TestApp, email: &str, new_key: bool) -> Result<Admin, deputize_core::Error> {
    bootstrap::admin(&app.core, &RequestContext::default(), &email.parse().unwrap(), new_key).await
}

fn key_of(made: Admin) -> String {
    match made {
        Admin::Made(_, key) | Admin::NewKey(_, key) => shown_once(&key).to_owned(),
        Admin::WasThere(_) => panic!("there is no key to be seen"),
    }
}

#[tokio::test]
async fn before_it_every_function_says_what_is_to_be_done() {
    let app = TestApp::before_bootstrap().await;
    let token = app.login.token("alice");
    // A token of another deployment, so that only the table can refuse it.
    let other = TestApp::start().await;
    let alice = other.user("alice").await;
    let bot = other.agent("bot", &alice).await;
    for asked in [
        app.get("/healthz"),
        app.get("/.well-known/jwks.json"),
        app.token_for(&bot, &[]),
        app.about_token("introspect", &bot, &token),
        app.get("/api/v1/me").bearer(&token),
        app.get("/api/v1/delegations").bearer(&token),
        app.get("/api/v1/servers/demo/connection").bearer(&token),
        app.call("demo", "t", &json!({})).bearer(&token),
    ] {
        let answer = asked.await;
        assert_eq!(answer.json()["error"], "not_bootstrapped", "{answer}");
        assert_eq!(answer.status, 503);
    }
    assert_snapshot!(app.get("/healthz").await.refusal(), @"503 This deployment was not bootstrapped: its operator must run `deputize bootstrap --admin-email you@example.com`");
    assert!(app.contents().is_empty(), "nobody was made of a token either");
}

#[tokio::test]
async fn trusted_issuers_that_no_environment_holds_are_read_from_the_table() {
    let app = TestApp::start().await;
    let many: Vec<_> = (0..100)
        .map(|n| json!({ "issuer": format!("https://issuer-{n}.example.com"), "audiences": ["deputize"] }))
        .collect();
    let text = serde_json::to_string(&many).unwrap();
    assert!(text.len() > 4 * 1024, "an environment would hold it");
    let table = &app.core.table;
    let hash = issuers::store(table, &text).await.unwrap();
    assert_eq!(issuers::store(table, &text).await.unwrap(), hash, "it is the same list");
    let read = issuers::stored(table, &hash).await.unwrap();
    assert_eq!((read.len(), read[99].issuer.as_str()), (100, "https://issuer-99.example.com"));
    let other = issuers::stored(table, &"0".repeat(64)).await.unwrap_err();
    assert!(
        matches!(&other, Error::Internal(why) if why.to_string().contains("deputize trusted-issuers")),
        "{other:?}"
    );
    let wrong = issuers::store(table, r#"[{"issuer":1}]"#).await.unwrap_err();
    assert_snapshot!(wrong, @"invalid type: integer `1`, expected a string at line 1 column 12");
}

#[tokio::test]
async fn the_first_admin_can_do_what_admins_can() {
    let app = TestApp::before_bootstrap().await;
    app.core.bootstrap().await.unwrap();
    let key = key_of(admin(&app, "Alice@Example.com", false).await.unwrap());
    let me = app.get("/api/v1/me").header("x-runlayer-api-key", &key).await.ok().json();
    assert_eq!((&me["role"], &me["email"]), (&json!("admin"), &json!("alice@example.com")));
    app.post("/api/v1/users")
        .header("x-runlayer-api-key", &key)
        .json(&json!({ "email": "bob@example.com" }))
        .await
        .ok();
    assert_eq!(app.get("/healthz").await.status, 200);
    let made = app.trail().into_iter().filter(|event| event["credential"] == "operator");
    assert_eq!(made.map(|event| event["action"].clone()).collect::<Vec<_>>(), ["user.create"]);
}

#[tokio::test]
async fn a_second_time_changes_nothing() {
    let app = TestApp::before_bootstrap().await;
    app.core.bootstrap().await.unwrap();
    admin(&app, "alice@example.com", false).await.unwrap();
    let before = app.contents();
    app.core.bootstrap().await.unwrap();
    assert!(matches!(admin(&app, "alice@example.com", false).await.unwrap(), Admin::WasThere(_)));
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn of_many_at_once_one_makes_the_admin() {
    let app = TestApp::before_bootstrap().await;
    let runs = futures::future::join_all((0..8).map(|_| async {
        app.core.bootstrap().await.unwrap();
        admin(&app, "alice@example.com", false).await.unwrap()
    }));
    let made = runs.await.into_iter().filter(|made| matches!(made, Admin::Made(..))).count();
    assert_eq!(made, 1);
    let keys = app.contents().into_keys().filter(|key| key.starts_with("SIGNING_KEYS ")).count();
    assert_eq!(keys, 1);
    let admins = app.contents().into_keys().filter(|key| key.starts_with("USERS ")).count();
    assert_eq!(admins, 1);
}

#[tokio::test]
async fn an_admin_who_lost_their_key_gets_another_and_the_trail_says_so() {
    let app = TestApp::before_bootstrap().await;
    app.core.bootstrap().await.unwrap();
    let lost = key_of(admin(&app, "alice@example.com", false).await.unwrap());
    let new = key_of(admin(&app, "alice@example.com", true).await.unwrap());
    assert_ne!(lost, new);
    app.get("/api/v1/me").header("x-runlayer-api-key", &new).await.ok();
    let made = app.trail().into_iter().filter(|event| event["credential"] == "operator");
    let mut made: Vec<_> = made.map(|event| event["action"].clone()).collect();
    made.sort_by_key(ToString::to_string);
    assert_eq!(made, ["api_key.create", "user.create"]);
}

#[tokio::test]
async fn who_is_there_and_no_admin_or_deactivated_is_not_made_one() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    let refused = admin(&app, &bob.email, true).await.unwrap_err().to_string();
    assert!(refused.contains("is no admin"), "{refused}");
    let alice = app.user("alice").admin().await;
    let carol = app.user("carol").admin().await;
    let path = format!("/api/v1/users/{}", carol.id);
    app.patch(path).as_user(&alice).json(&json!({ "active": false })).await.ok();
    let refused = admin(&app, &carol.email, true).await.unwrap_err().to_string();
    assert!(refused.contains("is deactivated"), "{refused}");
}

#[tokio::test]
async fn the_admin_who_signs_in_with_that_address_is_the_same() {
    let app = TestApp::before_bootstrap().await;
    app.core.bootstrap().await.unwrap();
    admin(&app, "alice@example.com", false).await.unwrap();
    let me = app.get("/api/v1/me").bearer(&app.login.token("alice")).await.ok().json();
    assert_eq!(me["role"], "admin");
}
