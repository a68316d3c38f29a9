//! A second `DELETE` is answered as the first was, also if somebody else was first. An id that never was, or is another
//! user's, is not found.

use std::time::Duration;

use deputize_tests::{User, jwt::SigningKey};
use serde_json::json;

use crate::{grants::Connected, scenario::Scenario};

/// Everything that can be deleted, with who may: what it is, its address, and an address of a thing of its kind that never
/// was.
async fn things(it: &Connected) -> Vec<(&'static str, String, &User, String)> {
    let Scenario { app, alice, bob, carol, bot } = &it.scenario;
    let never = "00000000-0000-4000-8000-000000000000";
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    let made = async |path: &str, user, body| app.post(path).as_user(user).json(&body).await.ok();
    let secret = made(&format!("{agent}/secrets"), alice, json!({})).await.field("id");
    let jwk = SigningKey::es256().jwk("new");
    let key = made(&format!("{agent}/keys"), alice, json!({ "jwk": jwk })).await.field("id");
    let api_key = made("/api/v1/api-keys", bob, json!({ "name": "a" })).await.field("id");
    let other_key = made("/api/v1/api-keys", bob, json!({ "name": "b" })).await.field("id");
    let delegation = made(&format!("{agent}/delegations"), carol, json!({})).await.field("id");
    let grant = it.create(bob, false).await.ok().field("id");
    let policy = app.permit_everything().await;
    let uris = json!({ "name": "App", "redirect_uris": ["https://app.example.com/back"] });
    let registered = made("/api/v1/apps", alice, uris).await.field("client_id");
    let block = made("/api/v1/app-blocks", alice, json!({ "host": "app.example.com" })).await.field("id");
    let user = made("/api/v1/users", alice, json!({ "email": "new@example.com" })).await.field("id");
    let other_bot = app.agent("other", alice).await.id.to_string();
    app.server("unused").await;
    let signing_key = made("/api/v1/signing-keys", alice, json!({})).await.field("kid");
    let session = app.signed_in(carol).await;
    let sessions = app.get("/api/v1/me/browser-sessions").as_user(carol).await.ok().json();
    assert!(!session.is_empty());
    let session = sessions[0]["id"].as_str().unwrap().to_owned();
    let allowed = app.allow_management(bob).await.authorization.id.to_string();
    let below = |path: &str, id: &str| format!("/api/v1/{path}/{id}");
    let of_agent = |path: &str, id: &str| format!("{agent}/{path}/{id}");
    let of_bob = |path: &str, id: &str| format!("/api/v1/users/{}/{path}/{id}", bob.id);
    vec![
        ("client secret", of_agent("secrets", &secret), alice, of_agent("secrets", never)),
        ("client key", of_agent("keys", &key), alice, of_agent("keys", never)),
        ("own API key", below("api-keys", &api_key), bob, below("api-keys", never)),
        ("user's API key", of_bob("api-keys", &other_key), alice, of_bob("api-keys", never)),
        ("delegation", below("delegations", &delegation), carol, below("delegations", never)),
        ("session grant", below("session-grants", &grant), bob, below("session-grants", never)),
        (
            "connection",
            "/api/v1/servers/chat/connection".to_owned(),
            carol,
            below("servers", "none/connection"),
        ),
        ("authorization", below("authorizations", &allowed), bob, below("authorizations", never)),
        (
            "browser session",
            below("me/browser-sessions", &session),
            carol,
            below("me/browser-sessions", never),
        ),
        ("user", below("users", &user), alice, below("users", never)),
        ("agent account", below("agent-accounts", &other_bot), alice, below("agent-accounts", never)),
        ("server", below("servers", "unused"), alice, below("servers", "none")),
        ("policy", below("policies", &policy.to_string()), alice, below("policies", never)),
        ("app", below("apps", &registered), alice, below("apps", &format!("app-{never}"))),
        ("block", below("app-blocks", &block), alice, below("app-blocks", "other.example.com")),
        ("signing key", below("signing-keys", &signing_key), alice, below("signing-keys", "none")),
    ]
}

#[tokio::test]
async fn deleting_again_is_answered_as_the_first_time_was() {
    let it = Connected::set().await;
    let app = it.app();
    for (what, path, user, never) in things(&it).await {
        let first = app.delete(&path).as_user(user).await.ok();
        let (contents, events) = (app.contents(), app.trail().len());
        let again = app.delete(&path).as_user(user).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text), "{what}");
        assert_eq!(
            (app.contents(), app.trail().len()),
            (contents, events),
            "{what}: nothing is deleted twice"
        );
        assert_eq!(app.delete(&never).as_user(user).await.status, 404, "{what} that never was");
    }
}

#[tokio::test]
async fn what_was_deleted_is_no_more_known_to_others_than_what_never_was() {
    let it = Connected::set().await;
    let app = it.app();
    // Somebody who may delete none of them.
    let dave = app.user("dave").await;
    for (what, path, user, never) in things(&it).await {
        app.delete(&path).as_user(user).await.ok();
        let (gone, none) = (
            app.delete(&path).as_user(&dave).await.to_string(),
            app.delete(&never).as_user(&dave).await.to_string(),
        );
        assert_eq!(gone, none, "{what}");
    }
}

#[tokio::test]
async fn that_a_thing_was_deleted_is_known_for_thirty_days() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let made = app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "ci" })).await.ok();
    let path = format!("/api/v1/api-keys/{}", made.field("id"));
    let delete = || app.delete(&path).as_user(&bob);
    delete().await.ok();
    app.pass(Duration::from_secs(30 * 24 * 3600 - 1));
    assert_eq!(delete().await.status, 204);
    app.pass(Duration::from_secs(1));
    assert_eq!(delete().await.status, 404, "whether or not the note was deleted");
}
