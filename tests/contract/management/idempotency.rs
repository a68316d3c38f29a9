//! `Idempotency-Key`: a request that is sent again is carried out once, and gets the answer that it got.

use std::time::Duration;

use deputize_tests::{TestRequest, User, jwt::SigningKey};
use insta::assert_snapshot;
use serde_json::json;

use crate::{grants::Connected, scenario::Scenario};

/// What a request makes, and the request.
pub(crate) type Creation<'a> = (&'static str, Box<dyn Fn() -> TestRequest + Send + Sync + 'a>);

/// Everything that a `POST` creates. Bob has a grant of his own.
pub(crate) fn creations(it: &Connected) -> Vec<Creation<'_>> {
    let Scenario { app, alice, bob, carol, bot } = &it.scenario;
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    let jwk = SigningKey::es256().jwk("new");
    let policy = "forbid(principal, action, resource);";
    let asks: [(&'static str, String, &User, serde_json::Value); 14] = [
        (
            "a user",
            "/api/v1/users".to_owned(),
            alice,
            json!({ "email": "new@example.com", "groups": ["ops"] }),
        ),
        ("an agent account", "/api/v1/agent-accounts".to_owned(), alice, json!({ "name": "new" })),
        ("a client secret", format!("{agent}/secrets"), alice, json!({})),
        ("a client key", format!("{agent}/keys"), alice, json!({ "jwk": jwk })),
        ("an API key", "/api/v1/api-keys".to_owned(), bob, json!({ "name": "new" })),
        ("a delegation", format!("{agent}/delegations"), carol, json!({})),
        ("a session grant", format!("{agent}/session-grants"), carol, json!({ "server_id": "chat" })),
        ("a toggled grant", format!("{agent}/session-grants/toggle"), bob, json!({ "server_id": "chat" })),
        (
            "a server",
            "/api/v1/servers".to_owned(),
            alice,
            json!({
                "id": "new", "name": "New", "url": "https://new.example.com/mcp", "auth": "header",
                "header": { "name": "x-key", "value": "hunter2" },
            }),
        ),
        ("a policy", "/api/v1/policies".to_owned(), alice, json!({ "name": "new", "text": policy })),
        (
            "an app",
            "/api/v1/apps".to_owned(),
            alice,
            json!({
                "name": "New", "redirect_uris": ["https://new.example.com/back"],
                "auth_method": "client_secret",
            }),
        ),
        ("a block", "/api/v1/app-blocks".to_owned(), alice, json!({ "host": "app.example.com" })),
        ("a signing key", "/api/v1/signing-keys".to_owned(), alice, json!({})),
        ("a delegation that is there", format!("{agent}/delegations"), bob, json!({})),
    ];
    asks.into_iter()
        .map(|(what, path, user, body)| {
            let ask = move || app.post(path.clone()).as_user(user).json(&body);
            (what, Box::new(ask) as Box<dyn Fn() -> TestRequest + Send + Sync>)
        })
        .collect()
}

pub(crate) const KEY: &str = "idempotency-key";
pub(crate) const FIRST: &str = r#""8e03978e-40d5-43e8-bc93-6894a57f9324""#;

/// The scene of [`creations`].
pub(crate) async fn scene() -> Connected {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    it
}

#[tokio::test]
async fn each_request_that_creates_is_carried_out_once_and_is_answered_the_same() {
    let it = scene().await;
    for (n, (what, ask)) in creations(&it).into_iter().enumerate() {
        let key = format!("\"{n}\"");
        let first = ask().header(KEY, &key).await.ok();
        let (contents, events) = (it.app().contents(), it.app().trail().len());
        let again = ask().header(KEY, &key).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text), "{what}");
        for header in ["etag", "location", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{what}: {header}");
        }
        assert_eq!(it.app().contents(), contents, "{what}");
        assert_eq!(it.app().trail().len(), events, "{what}");
    }
}

#[tokio::test]
async fn a_secret_that_is_answered_again_is_the_one_that_works() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let ask = || app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "ci" })).header(KEY, FIRST);
    let (first, again) = (ask().await.ok(), ask().await.ok());
    assert_eq!(first.field("key"), again.field("key"));
    let with = User { api_key: again.field("key"), ..bob.clone() };
    app.get("/api/v1/me").as_user(&with).await.ok();
    assert_eq!(app.get("/api/v1/api-keys").as_user(&bob).await.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_that_comes_with_another_request_is_refused() {
    let it = scene().await;
    let Scenario { app, alice, .. } = &it.scenario;
    app.post("/api/v1/agent-accounts")
        .as_user(alice)
        .json(&json!({ "name": "a" }))
        .header(KEY, FIRST)
        .await
        .ok();
    let before = app.contents();
    for (what, ask) in creations(&it) {
        // The key is Alice's.
        let answer = ask().header(KEY, FIRST).await;
        if ask().key_holder(&[alice, &it.scenario.bob, &it.scenario.carol]) == alice.id {
            assert_eq!(answer.status, 422, "{what}: {answer}");
        }
    }
    let other = app.post("/api/v1/agent-accounts").as_user(alice).json(&json!({ "name": "b" }));
    assert_snapshot!(other.header(KEY, FIRST).await, @r#"
    422 Unprocessable Entity

    {
      "error": "idempotency_key_reused",
      "error_description": "This Idempotency-Key was used for another request: use a new key for each request",
      "detail": "This Idempotency-Key was used for another request: use a new key for each request",
      "reason": "idempotency_key_reused"
    }
    "#);
    let of_alice = |contents: &deputize_tests::table::Contents| {
        contents.keys().filter(|key| key.starts_with("AGENT#")).count()
    };
    assert_eq!(of_alice(&app.contents()), of_alice(&before) + 1, "Carol's delegation alone is new");
}

#[tokio::test]
async fn another_caller_with_the_same_key_sees_nothing_of_it() {
    let Scenario { app, bob, carol, bot, .. } = Scenario::start().await;
    let ask =
        |user| app.post("/api/v1/api-keys").as_user(user).json(&json!({ "name": "ci" })).header(KEY, FIRST);
    let (of_bob, of_carol) = (ask(&bob).await.ok(), ask(&carol).await.ok());
    assert_ne!(of_bob.field("key"), of_carol.field("key"));
    assert_eq!(of_carol.field("user_id"), carol.id.to_string());

    // An app is another caller than its user: it may not be told what the user was.
    let delegations = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let second = "\"second\"";
    let until = json!({ "expires_at": "2030-01-01T00:00:00Z" });
    app.post(&delegations).as_user(&carol).json(&until).header(KEY, second).await.ok();
    let allowed = app.allow_management(&carol).await;
    let by_app = app.post(&delegations).bearer(&allowed.token).json(&json!({})).header(KEY, second).await;
    assert_eq!(by_app.status, 201, "{by_app}");
    // By whatever credential they come, the user is one caller.
    let by_token = app.post(&delegations).bearer(&app.login.token("carol")).json(&until).header(KEY, second);
    assert_eq!(by_token.await.ok().json()["expires_at"], "2030-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn a_malformed_key_is_refused_before_anything_is_done() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let before = app.contents();
    let ask = || app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "ci" }));
    for wrong in ["", "8e03978e-40d5-43e8-bc93-6894a57f9324", "\"\"", "\"a", "a\"", "\"a\"b\"", "\"a\";x=1"] {
        let answer = ask().header(KEY, wrong).await;
        let says =
            "400 Idempotency-Key must be a text of 1 to 200 characters in double quotes, such as \"[uuid]\"";
        assert_eq!(answer.refusal(), says, "{wrong}");
    }
    let long = format!("\"{}\"", "a".repeat(201));
    assert_eq!(ask().header(KEY, &long).await.status, 400);
    let twice = ask().header(KEY, "\"a\"").header(KEY, "\"b\"").await;
    assert_snapshot!(twice.refusal(), @"400 The header idempotency-key occurs twice");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn a_key_is_good_for_a_day_whether_or_not_its_note_was_deleted() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let ask = || app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "ci" })).header(KEY, FIRST);
    let first = ask().await.ok().field("id");
    app.pass(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(ask().await.ok().field("id"), first);
    app.pass(Duration::from_secs(1));
    let next = ask().await.ok().field("id");
    assert_ne!(next, first);
    assert_eq!(ask().await.ok().field("id"), next);
}

#[tokio::test]
async fn a_refusal_is_not_remembered_since_it_has_changed_nothing() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let secrets = format!("/api/v1/agent-accounts/{}/secrets", bot.id);
    let other = app.post(&secrets).as_user(&alice).await.ok().field("id");
    let before = app.contents();
    let ask = || app.post(&secrets).as_user(&alice).header(KEY, FIRST);
    assert_eq!(ask().await.status, 409);
    assert_eq!(app.contents(), before);
    app.delete(format!("{secrets}/{other}")).as_user(&alice).await.ok();
    assert_eq!(ask().await.status, 201);
}

#[tokio::test]
async fn a_late_retry_makes_nothing_anew_that_was_revoked_meanwhile() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let delegations = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    // Bob has delegated already, so the request changes nothing, and is remembered all the same.
    let ask = || app.post(&delegations).as_user(&bob).header(KEY, FIRST);
    let first = ask().await.ok();
    app.delete(format!("/api/v1/delegations/{}", first.field("id"))).as_user(&bob).await.ok();
    assert_eq!(ask().await.ok().text, first.text);
    let mine = app.get("/api/v1/delegations").as_user(&bob).await.ok().json();
    assert_eq!((mine.as_array().unwrap().len(), &mine[0]["is_active"]), (1, &json!(false)));
}

#[tokio::test]
async fn what_is_remembered_is_sealed_under_the_key_and_bound_to_it() {
    let Scenario { app, bob, carol, .. } = Scenario::start().await;
    let ask = |user, key: &str| {
        app.post("/api/v1/api-keys").as_user(user).json(&json!({ "name": "ci" })).header(KEY, key)
    };
    let made = ask(&bob, FIRST).await.ok().field("key");
    ask(&carol, FIRST).await.ok();
    let notes: Vec<String> = app.contents().into_keys().filter(|key| key.starts_with("ONCE#")).collect();
    let text = format!("{:?}", app.contents());
    assert!(
        !text.contains(&made) && !text.contains("8e03978e-40d5"),
        "neither the secret nor the key is there"
    );
    // Whoever can write to the table can put one note in the place of the other, and it does not open.
    let [one, other] = &notes[..] else { panic!("{notes:?}") };
    let key = |note: &str| deputize_core::table::Key {
        pk: note.split(' ').next().unwrap().to_owned(),
        sk: "ONCE".to_owned(),
    };
    app.copy(&key(one), &key(other), |_| {});
    let told = [ask(&bob, FIRST).await.status, ask(&carol, FIRST).await.status];
    assert!(told.contains(&http::StatusCode::INTERNAL_SERVER_ERROR), "{told:?}");
}

#[tokio::test]
async fn a_retry_with_another_spelling_of_the_body_is_another_request() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let ask = |body: &str| {
        app.post("/api/v1/api-keys").as_user(&bob).body("application/json", body).header(KEY, FIRST)
    };
    ask(r#"{"name":"ci"}"#).await.ok();
    assert_eq!(ask(r#"{ "name": "ci" }"#).await.status, 422);
    assert_eq!(ask(r#"{"name":"ci"}"#).await.status, 201);
}
