//! Bodies that are none: too large, malformed, of another type.

use deputize_tests::{TestApp, TestRequest, User};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

/// An endpoint's name, and a request to it without its body.
type Taker<'a> = (&'static str, Box<dyn Fn() -> TestRequest + 'a>);

/// Everything that takes a JSON body.
fn takers(scenario: &Scenario) -> Vec<Taker<'_>> {
    let Scenario { app, alice, bot, .. } = scenario;
    let post = move |path: String| {
        Box::new(move || app.post(path.clone()).as_user(alice)) as Box<dyn Fn() -> TestRequest>
    };
    let patch = move |path: String| {
        Box::new(move || app.patch(path.clone()).as_user(alice)) as Box<dyn Fn() -> TestRequest>
    };
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    vec![
        ("agent accounts", post("/api/v1/agent-accounts".to_owned())),
        ("agent account", patch(agent.clone())),
        ("secrets", post(format!("{agent}/secrets"))),
        ("delegations", post(format!("{agent}/delegations"))),
        ("session grants", post(format!("{agent}/session-grants"))),
        ("toggle", post(format!("{agent}/session-grants/toggle"))),
        ("API keys", post("/api/v1/api-keys".to_owned())),
        ("users", post("/api/v1/users".to_owned())),
        ("user", patch(format!("/api/v1/users/{}", scenario.bob.id))),
        ("servers", post("/api/v1/servers".to_owned())),
        ("server", patch("/api/v1/servers/demo".to_owned())),
        ("policies", post("/api/v1/policies".to_owned())),
        ("check", post("/api/v1/policies/check".to_owned())),
    ]
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_everywhere() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let before = scenario.app.contents();
    let body = json!({ "name": "x".repeat(64 * 1024) });
    for (what, ask) in takers(&scenario) {
        let answer = ask().json(&body).await;
        assert_eq!(answer.refusal(), "413 The body is larger than 65536 bytes", "{what}");
    }
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn a_malformed_body_is_refused_everywhere() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let before = scenario.app.contents();
    for (what, ask) in takers(&scenario) {
        for malformed in ["{", "nonsense", "[]", "\"text\"", "{} {}", "{\"a\":1,}"] {
            let answer = ask().body("application/json", malformed).await;
            assert_eq!(answer.status, 400, "{what} {malformed}: {answer}");
            assert_eq!(answer.json()["error"], "invalid_request", "{what} {malformed}: {answer}");
        }
        let answer = ask().body("application/json", b"\xff\xfe".to_vec()).await;
        assert_eq!(answer.status, 400, "{what}: {answer}");
    }
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn another_content_type_is_refused_everywhere() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let before = scenario.app.contents();
    for (what, ask) in takers(&scenario) {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let answer = ask().body(kind, r#"{"name":"x"}"#).await;
            assert_eq!(answer.refusal(), "415 The body must be application/json", "{what} {kind}");
        }
    }
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn parameters_of_a_content_type_do_not_matter() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let key = |kind: &str| app.post("/api/v1/api-keys").as_user(&bob).body(kind, r#"{"name":"x"}"#);
    key("application/json; charset=utf-8").await.ok();
    key("Application/JSON").await.ok();
}

#[tokio::test]
async fn a_body_that_may_be_left_out_may_be_left_out() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let created = |user: &User, app: &TestApp, what: &str| {
        app.post(format!("/api/v1/agent-accounts/{}/{what}", bot.id)).as_user(user)
    };
    created(&bob, &app, "delegations").await.ok();
    created(&alice, &app, "secrets").body("application/json", "").await.ok();
}

#[tokio::test]
async fn a_method_that_an_endpoint_does_not_have_is_named_with_those_that_it_has() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    assert_snapshot!(app.delete("/api/v1/agent-accounts").as_user(&alice).await, @r#"
    405 Method Not Allowed
    allow: GET,HEAD,POST

    {
      "error": "method_not_allowed",
      "error_description": "This endpoint has no such method",
      "detail": "This endpoint has no such method",
      "reason": "method_not_allowed"
    }
    "#);
    assert_snapshot!(app.put("/api/v1/me").as_user(&alice).await.header("allow").unwrap(), @"GET,HEAD");
}

#[tokio::test]
async fn an_id_that_is_none_is_not_found() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    for path in
        ["/api/v1/users/bob", "/api/v1/agent-accounts/%00", "/api/v1/servers/A%20B", "/api/v1/policies/%ff"]
    {
        let answer = app.get(path).as_user(&alice).await;
        assert_eq!(answer.status, 404, "{path}: {answer}");
    }
}

#[tokio::test]
async fn every_answer_carries_what_it_must() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let answers = [
        app.get("/api/v1/me").as_user(&alice).await,
        app.get("/api/v1/me").await,
        app.get("/nowhere").await,
        app.get("/healthz").await,
        app.token(&[]).await,
    ];
    for answer in answers {
        assert!(answer.header("x-request-id").unwrap().parse::<uuid::Uuid>().is_ok());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}
