//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 sections 8.8.3 and 13): two admins at once.

use deputize_tests::TestRequest;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// A thing that can be changed: what it is, its address, how it is changed, and to what.
fn things(scenario: &Scenario, policy: &str, registered: &str) -> Vec<(&'static str, String, Method, Value)> {
    let Scenario { bob, bot, .. } = scenario;
    let text = "forbid(principal, action, resource);";
    vec![
        ("user", format!("/api/v1/users/{}", bob.id), Method::PATCH, json!({ "name": "Robert" })),
        (
            "agent account",
            format!("/api/v1/agent-accounts/{}", bot.id),
            Method::PATCH,
            json!({ "name": "B" }),
        ),
        ("server", "/api/v1/servers/demo".to_owned(), Method::PATCH, json!({ "name": "D" })),
        ("policy", policy.to_owned(), Method::PUT, json!({ "name": "none", "text": text })),
        ("app", registered.to_owned(), Method::PATCH, json!({ "name": "Other" })),
    ]
}

async fn scene() -> (Scenario, Vec<(&'static str, String, Method, Value)>) {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, .. } = &scenario;
    app.server("demo").await;
    let policy = format!("/api/v1/policies/{}", app.permit_everything().await);
    let body = json!({ "name": "App", "redirect_uris": ["https://app.example.com/back"] });
    let made = app.post("/api/v1/apps").as_user(alice).json(&body).await.ok();
    let registered = made.header("location").unwrap().to_owned();
    let things = things(&scenario, &policy, &registered);
    (scenario, things)
}

fn tag(answer: &deputize_tests::TestResponse) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("no ETag: {answer}")).to_owned()
}

#[tokio::test]
async fn each_thing_that_can_be_changed_is_changed_only_as_it_was_seen() {
    let (scenario, things) = scene().await;
    let Scenario { app, alice, .. } = &scenario;
    for (what, path, method, change) in things {
        let ask = |seen: &str| -> TestRequest {
            app.ask(method.clone(), &path).as_user(alice).json(&change).header("if-match", seen)
        };
        let seen = tag(&app.get(&path).as_user(alice).await.ok());
        let changed = ask(&seen).await.ok();
        let now = tag(&app.get(&path).as_user(alice).await.ok());
        assert_eq!(tag(&changed), now, "{what}: a change answers the tag that it leaves");
        assert_ne!(now, seen, "{what}");

        let before = app.contents();
        for stale in [&seen, &format!("W/{now}"), "\"made-up\"", "\"made\", \"up\""] {
            let answer = ask(stale).await;
            assert_eq!(answer.status, 412, "{what} {stale}: {answer}");
        }
        for malformed in ["", "made-up", "\"a", "*, \"a\"", "\"a\" \"b\""] {
            let answer = ask(malformed).await;
            assert_eq!(
                answer.refusal(),
                "400 If-Match must be * or a list of ETags in double quotes, as answers have them",
                "{what} {malformed}"
            );
        }
        assert_eq!(app.contents(), before, "{what}");
        ask("*").await.ok();
        let now = tag(&app.get(&path).as_user(alice).await.ok());
        ask(&format!("{seen}, {now}")).await.ok();
    }
}

#[tokio::test]
async fn a_change_of_what_has_changed_says_so() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let path = format!("/api/v1/users/{}", bob.id);
    let seen = tag(&app.get(&path).as_user(&alice).await.ok());
    app.patch(&path).as_user(&alice).json(&json!({ "groups": ["ops"] })).await.ok();
    let stale =
        app.patch(&path).as_user(&alice).json(&json!({ "groups": [] })).header("if-match", &seen).await;
    assert_snapshot!(stale, @r#"
    412 Precondition Failed

    {
      "error": "precondition_failed",
      "error_description": "The thing has changed since it was read, or is no more: read it again, and decide anew",
      "detail": "The thing has changed since it was read, or is no more: read it again, and decide anew",
      "reason": "stale"
    }
    "#);
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let (scenario, things) = scene().await;
    let Scenario { app, alice, .. } = &scenario;
    for (what, path, method, change) in things {
        let seen = tag(&app.get(&path).as_user(alice).await.ok());
        let ask = |known: &str| app.get(&path).as_user(alice).header("if-none-match", known);
        for known in [&seen, &format!("W/{seen}"), &format!("\"other\", {seen}"), "*"] {
            let answer = ask(known).await;
            assert_eq!((answer.status.as_u16(), &*answer.text), (304, ""), "{what} {known}");
            assert_eq!(answer.header("etag"), Some(&*seen), "{what}");
            assert_eq!(answer.header("content-type"), None, "{what}");
        }
        assert_eq!(ask("\"other\"").await.status, 200, "{what}");
        assert_eq!(ask("nonsense").await.status, 400, "{what}");
        app.ask(method, &path).as_user(alice).json(&change).await.ok();
        assert_eq!(ask(&seen).await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn the_tag_of_what_is_made_is_the_tag_that_it_has() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    for (path, body) in [
        ("/api/v1/users", json!({ "email": "new@example.com" })),
        ("/api/v1/agent-accounts", json!({ "name": "new" })),
        ("/api/v1/servers", json!({ "id": "new", "name": "New", "url": "https://new.example.com/mcp" })),
        ("/api/v1/policies", json!({ "name": "new", "text": "permit(principal, action, resource);" })),
        (
            "/api/v1/apps",
            json!({
                "name": "New", "redirect_uris": ["https://new.example.com/"], "auth_method": "client_secret",
            }),
        ),
    ] {
        let made = app.post(path).as_user(&alice).json(&body).await.ok();
        let address = made.header("location").unwrap();
        assert!(address.starts_with(&format!("{path}/")), "{address}");
        let read = app.get(address).as_user(&alice).await.ok();
        assert_eq!(tag(&made), tag(&read), "{path}");
    }
}

#[tokio::test]
async fn callers_who_see_less_have_another_tag_and_learn_of_no_change_that_they_do_not_see() {
    let (scenario, _) = scene().await;
    let Scenario { app, alice, bob, carol, bot } = &scenario;
    let path = format!("/api/v1/agent-accounts/{}", bot.id);
    let of = async |user| tag(&app.get(&path).as_user(user).await.ok());
    let (managed, summary) = (of(alice).await, of(bob).await);
    assert_ne!(managed, summary);
    assert_eq!(of(carol).await, summary, "Bob and Carol are shown the same");
    app.patch(&path).as_user(alice).json(&json!({ "groups": ["ops"] })).await.ok();
    assert_ne!(of(alice).await, managed);
    assert_eq!(of(bob).await, summary, "groups are not shown to Bob");
    // A tag of what Bob is shown does not stand for what Alice is shown.
    let ask = app.patch(&path).as_user(alice).json(&json!({ "name": "B" })).header("if-match", &summary);
    assert_eq!(ask.await.status, 412);
    assert_eq!(app.get(&path).as_user(alice).header("if-none-match", &summary).await.status, 200);
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_before_a_tag_that_is_stale() {
    let (scenario, things) = scene().await;
    let Scenario { app, carol, .. } = &scenario;
    for (what, path, method, change) in things {
        let answer = app.ask(method, &path).as_user(carol).json(&change).header("if-match", "\"x-y\"").await;
        assert!(matches!(answer.status.as_u16(), 403 | 404), "{what}: {answer}");
    }
}

#[tokio::test]
async fn a_deletion_too_is_held_to_what_was_seen() {
    let (scenario, things) = scene().await;
    let Scenario { app, alice, .. } = &scenario;
    for (what, path, method, change) in things {
        if !matches!(what, "policy" | "app") {
            continue;
        }
        let seen = tag(&app.get(&path).as_user(alice).await.ok());
        app.ask(method, &path).as_user(alice).json(&change).await.ok();
        let delete = |seen: &str| app.delete(&path).as_user(alice).header("if-match", seen);
        assert_eq!(delete(&seen).await.status, 412, "{what}");
        let now = tag(&app.get(&path).as_user(alice).await.ok());
        assert_eq!(delete(&now).await.status, 204, "{what}");
    }
}

#[tokio::test]
async fn what_has_no_tag_matches_none() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let keys = app.get("/api/v1/api-keys").as_user(&bob).await.ok().json();
    let path = format!("/api/v1/api-keys/{}", keys[0]["id"].as_str().unwrap());
    let before = app.contents();
    assert_eq!(app.delete(&path).as_user(&bob).header("if-match", "\"a-b\"").await.status, 412);
    assert_eq!(app.contents(), before);
    assert_eq!(app.delete(&path).as_user(&bob).header("if-match", "*").await.status, 204);
}
