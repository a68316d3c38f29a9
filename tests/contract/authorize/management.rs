//! What admins register and block, and what users see and revoke of what they allowed.

use std::fmt::Write;

use deputize_tests::{TestApp, User, documents::DOCUMENT};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{CALLBACK, Desk, HERE, redeem, registered, request};

const APPS: &str = "/api/v1/apps";
const BLOCKS: &str = "/api/v1/app-blocks";

/// An access token of an app that the desk's user has just allowed.
async fn token(desk: &Desk, id: &str, uri: &str, resource: &str) -> String {
    let browser = desk.browser().await;
    let page = browser.authorize(&request(id, uri, &[("resource", resource)])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    redeem(&desk.app, id, uri, &code).await.access_token()
}

const MANAGEMENT: &str = "https://deputize.test/api/v1";

#[tokio::test]
async fn an_admin_registers_an_app_sees_changes_and_deletes_it() {
    let app = TestApp::start().await;
    let alice = app.user("alice").admin().await;
    let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK], "auth_method": "client_secret" });
    let made = app.post(APPS).as_user(&alice).json(&new).await;
    let id = made.field("client_id");
    app.call_it("payroll", &id);
    assert_snapshot!(made, @r#"
    201 Created

    {
      "client_id": "[payroll]",
      "name": "Payroll",
      "redirect_uris": [
        "https://app.example.com/callback"
      ],
      "auth_method": "client_secret",
      "trusted": false,
      "blocked_at": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "client_secret": "[client secret]"
    }
    "#);
    assert_snapshot!(app.event_of(&made), @r#"
    action: "app.register"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    detail: "Payroll, https://app.example.com/callback"
    outcome: "allowed"
    subject: "app:[payroll]"
    "#);
    let one = format!("{APPS}/{id}");
    let seen = app.get(&*one).as_user(&alice).await.ok();
    assert_eq!(app.get(APPS).as_user(&alice).await.ok().json(), json!([seen.json()]));
    let change = json!({ "trusted": true, "name": "Pay" });
    assert_snapshot!(app.patch(&*one).as_user(&alice).json(&change).await, @r#"
    200 OK

    {
      "client_id": "[payroll]",
      "name": "Pay",
      "redirect_uris": [
        "https://app.example.com/callback"
      ],
      "auth_method": "client_secret",
      "trusted": true,
      "blocked_at": null,
      "created_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    let rotated = app.post(format!("{one}/secret")).as_user(&alice).await.ok();
    assert_ne!(rotated.field("client_secret"), made.field("client_secret"));
    assert_eq!(app.delete(&*one).as_user(&alice).await.status, 204);
    assert_eq!(app.get(&*one).as_user(&alice).await.status, 404);
    assert_eq!(app.delete(&*one).as_user(&alice).await.status, 204);
    assert_eq!(app.get(APPS).as_user(&alice).await.ok().json(), json!([]));
}

#[tokio::test]
async fn what_an_admin_cannot_register_is_refused_with_the_reason() {
    let app = TestApp::start().await;
    let alice = app.user("alice").admin().await;
    let mut table = String::new();
    for change in [
        json!({ "name": "" }),
        json!({ "name": "Pay\u{202e}roll" }),
        json!({ "redirect_uris": [] }),
        json!({ "redirect_uris": ["http://app.example.com/cb"] }),
        json!({ "redirect_uris": [HERE], "trusted": true }),
        json!({ "redirect_uris": ["com.example.app:/cb"], "auth_method": "client_secret" }),
        json!({ "auth_method": "private_key_jwt" }),
        json!({ "auth_method": "private_key_jwt", "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }),
        json!({ "jwks_uri": "https://app.example.com/jwks" }),
        json!({ "auth_method": "private_key_jwt", "jwks_uri": "http://app.example.com/jwks" }),
        json!({ "unknown": 1 }),
    ] {
        let mut new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK] });
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let sent = change.to_string().replace('\u{202e}', "[turned]");
        write!(table, "{sent}\n  {}\n", app.post(APPS).as_user(&alice).json(&new).await.refusal()).unwrap();
    }
    assert_snapshot!(table, @r#"
    {"name":""}
      400 name must have 1 to 60 characters, none of them hidden, and no spaces around them
    {"name":"Pay[turned]roll"}
      400 name must have 1 to 60 characters, none of them hidden, and no spaces around them
    {"redirect_uris":[]}
      400 redirect_uris must be a list of 1 to 20 addresses
    {"redirect_uris":["http://app.example.com/cb"]}
      400 redirect_uris: http://app.example.com/cb cannot be a redirect URI: http is for this computer alone: localhost, 127.0.0.1 or [::1]
    {"redirect_uris":["http://127.0.0.1:51789/callback"],"trusted":true}
      400 trusted is for apps whose redirect_uris are all https: any program of the user's computer can take the answer that goes to http://127.0.0.1:[port]/callback
    {"redirect_uris":["com.example.app:/cb"],"auth_method":"client_secret"}
      400 redirect_uris: com.example.app:/cb cannot be a redirect URI: a private-use scheme is for public clients
    {"auth_method":"private_key_jwt"}
      400 private_key_jwt needs either jwks with public keys that can be used, or a jwks_uri with https
    {"auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}
      400 jwks: a key in it cannot be used: it is a private or secret key: make a new pair, for this one has left its keeper's hands, and send the public half only
    {"jwks_uri":"https://app.example.com/jwks"}
      400 jwks and jwks_uri go with private_key_jwt
    {"auth_method":"private_key_jwt","jwks_uri":"http://app.example.com/jwks"}
      400 private_key_jwt needs either jwks with public keys that can be used, or a jwks_uri with https
    {"unknown":1}
      400 unknown: no such field; the fields here are name, redirect_uris, auth_method, jwks, jwks_uri, trusted
    "#);
}

#[tokio::test]
async fn only_admins_register_and_block() {
    let app = TestApp::start().await;
    let (alice, bob) = (app.user("alice").admin().await, app.user("bob").await);
    let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK] });
    let id = app.post(APPS).as_user(&alice).json(&new).await.ok().field("client_id");
    let host = json!({ "host": "evil.test" });
    app.post(BLOCKS).as_user(&alice).json(&host).await.ok();
    let before = app.contents();
    let by_bob = [
        app.get(APPS).as_user(&bob),
        app.post(APPS).as_user(&bob).json(&new),
        app.get(format!("{APPS}/{id}")).as_user(&bob),
        app.patch(format!("{APPS}/{id}")).as_user(&bob).json(&json!({ "trusted": true })),
        app.post(format!("{APPS}/{id}/secret")).as_user(&bob),
        app.delete(format!("{APPS}/{id}")).as_user(&bob),
        app.get(BLOCKS).as_user(&bob),
        app.post(BLOCKS).as_user(&bob).json(&host),
        app.delete(format!("{BLOCKS}/evil.test")).as_user(&bob),
    ];
    for request in by_bob {
        let refused = request.await;
        assert!(refused.refusal().ends_with("an admin may do this"), "{}", refused.refusal());
        assert_eq!(refused.status, 403);
    }
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn an_app_that_is_deleted_is_refused_with_the_next_call() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK] });
    let id = desk.app.post(APPS).as_user(&alice).json(&new).await.ok().field("client_id");
    let token = token(&desk, &id, CALLBACK, MANAGEMENT).await;
    let me = async || desk.app.get("/api/v1/me").bearer(&token).await.status.as_u16();
    assert_eq!(me().await, 200);
    desk.app.delete(format!("{APPS}/{id}")).as_user(&alice).await.ok();
    assert_eq!(me().await, 401);
    let page = desk.browser().await.authorize(&request(&id, CALLBACK, &[])).await;
    assert_eq!((page.status.as_u16(), page.way_back()), (400, None));
}

#[tokio::test]
async fn a_blocked_app_or_host_is_refused_with_the_next_call_until_the_block_ends() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let dynamic = registered(&desk.app, "Web", "https://app.example.com/cb").await;
    let local = registered(&desk.app, "Local", HERE).await;
    let apps = [(DOCUMENT, CALLBACK), (&dynamic, "https://app.example.com/cb"), (&local, HERE)];
    let mut tokens = Vec::new();
    for (id, uri) in apps {
        tokens.push(token(&desk, id, uri, MANAGEMENT).await);
    }
    let standing = async || {
        let mut standing = String::new();
        for (token, (id, uri)) in tokens.iter().zip(apps) {
            let call = desk.app.get("/api/v1/me").bearer(token).await.status.as_u16();
            let page = desk.browser().await.authorize(&request(id, uri, &[])).await.status.as_u16();
            write!(standing, "{call}/{page} ").unwrap();
        }
        standing
    };
    assert_eq!(standing().await, "200/200 200/200 200/200 ");
    for (block, then) in [
        (json!({ "host": "app.example.com" }), "401/400 401/400 200/200 "),
        (json!({ "client_id": DOCUMENT }), "401/400 200/200 200/200 "),
        (json!({ "client_id": dynamic }), "200/200 401/400 200/200 "),
        (json!({ "client_id": local }), "200/200 200/200 401/400 "),
    ] {
        let fetched = desk.documents.count();
        let made = desk.app.post(BLOCKS).as_user(&alice).json(&block).await.ok();
        assert_eq!(standing().await, then, "{block}");
        let again = desk.app.post(BLOCKS).as_user(&alice).json(&block).await.ok();
        assert_eq!(again.json(), made.json());
        assert_eq!(desk.app.get(BLOCKS).as_user(&alice).await.ok().json(), json!([made.json()]));
        let one = format!("{BLOCKS}/{}", made.field("id"));
        assert_eq!(desk.app.delete(&*one).as_user(&alice).await.status, 204);
        assert_eq!(desk.app.delete(&*one).as_user(&alice).await.status, 204);
        assert_eq!(standing().await, "200/200 200/200 200/200 ");
        assert_eq!(desk.documents.count(), fetched);
    }
}

#[tokio::test]
async fn a_registered_app_that_is_blocked_and_deleted_stays_blocked() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK] });
    let id = desk.app.post(APPS).as_user(&alice).json(&new).await.ok().field("client_id");
    let block = desk.app.post(BLOCKS).as_user(&alice).json(&json!({ "client_id": id })).await.ok();
    let seen = desk.app.get(format!("{APPS}/{id}")).as_user(&alice).await.ok().json();
    assert!(seen["blocked_at"].is_string());
    desk.app.delete(format!("{APPS}/{id}")).as_user(&alice).await.ok();
    let page = desk.browser().await.authorize(&request(&id, CALLBACK, &[])).await;
    assert!(page.words().contains("An admin has blocked this app"), "{}", page.words());
    desk.app.delete(format!("{BLOCKS}/{}", block.field("id"))).as_user(&alice).await.ok();
    let page = desk.browser().await.authorize(&request(&id, CALLBACK, &[])).await;
    assert!(page.words().contains("No app has this client_id"), "{}", page.words());
    assert!(
        !desk.app.contents().keys().any(|key| key.starts_with("APP")),
        "{:?}",
        desk.app.contents().keys()
    );
}

#[tokio::test]
async fn what_cannot_be_blocked_is_refused() {
    let app = TestApp::start().await;
    let alice = app.user("alice").admin().await;
    for wrong in [
        json!({}),
        json!({ "host": "a.test", "client_id": "x" }),
        json!({ "host": "" }),
        json!({ "host": "A.test" }),
        json!({ "host": "a.test:8443" }),
        json!({ "host": "a.test/x" }),
        json!({ "host": "u@a.test" }),
        json!({ "host": "a#b" }),
        json!({ "client_id": "" }),
        json!({ "client_id": "x".repeat(1501) }),
    ] {
        assert_eq!(app.post(BLOCKS).as_user(&alice).json(&wrong).await.status, 400, "{wrong}");
    }
    assert_eq!(app.get(BLOCKS).as_user(&alice).await.ok().json(), json!([]));
}

#[tokio::test]
async fn a_user_sees_what_they_allowed_and_revokes_it() {
    let desk = Desk::set().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    let short = token(&desk, DOCUMENT, CALLBACK, MANAGEMENT).await;
    token(&desk, &id, HERE, "https://deputize.test/api/v1/proxy/github/mcp").await;
    desk.app.call_it("cursor", &id);
    let carol = desk.app.user("carol").await;
    let listed = desk.app.get("/api/v1/authorizations").as_user(&desk.bob).await.ok();
    let mut shown = listed.json();
    let all = shown.as_array_mut().unwrap();
    all.sort_by_key(|one| one["app_kind"].to_string());
    assert_snapshot!(desk.app.shown(&serde_json::to_string_pretty(&all).unwrap()), @r#"
    [
      {
        "id": "[uuid]",
        "user_id": "[bob]",
        "client_id": "https://app.example.com/oauth/client.json",
        "app_kind": "document",
        "app_name": "Example App",
        "app_host": "app.example.com",
        "resource": "https://deputize.test/api/v1",
        "scope": "manage",
        "created_at": "2026-01-15T09:00:00.000Z",
        "allowed_at": "2026-01-15T09:00:00.000Z",
        "used_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-04-15T09:00:00.000Z"
      },
      {
        "id": "[uuid]",
        "user_id": "[bob]",
        "client_id": "[cursor]",
        "app_kind": "dynamic",
        "app_name": "Cursor",
        "app_host": null,
        "resource": "https://deputize.test/api/v1/proxy/github/mcp",
        "scope": "tools:call",
        "created_at": "2026-01-15T09:00:00.000Z",
        "allowed_at": "2026-01-15T09:00:00.000Z",
        "used_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-04-15T09:00:00.000Z"
      }
    ]
    "#);
    let document = all.iter().position(|one| one["client_id"] == DOCUMENT).unwrap();
    let one = format!("/api/v1/authorizations/{}", all[document]["id"].as_str().unwrap());
    assert_eq!(desk.app.get("/api/v1/authorizations").as_user(&carol).await.ok().json(), json!([]));
    assert_eq!(desk.app.delete(&*one).as_user(&carol).await.refusal(), "404 No such authorization");
    assert_eq!(desk.app.get("/api/v1/me").bearer(&short).await.status, 200);
    let revoked = desk.app.delete(&*one).as_user(&desk.bob).await;
    assert_eq!(revoked.status, 204);
    assert_snapshot!(desk.app.event_of(&revoked), @r#"
    action: "authorization.revoke"
    audit_user: "[bob]"
    client_id: "https://app.example.com/oauth/client.json"
    credential: "api_key:[uuid]"
    detail: "[bob]"
    outcome: "allowed"
    subject: "authorization:[uuid]"
    "#);
    assert_eq!(desk.app.get("/api/v1/me").bearer(&short).await.status, 401);
    assert_eq!(desk.app.delete(&*one).as_user(&desk.bob).await.status, 204);
}

#[tokio::test]
async fn an_admin_sees_and_revokes_any_users_and_nobody_else_does() {
    let desk = Desk::set().await;
    let (alice, carol) = (desk.app.user("alice").admin().await, desk.app.user("carol").await);
    let token = token(&desk, DOCUMENT, CALLBACK, MANAGEMENT).await;
    let all = format!("/api/v1/users/{}/authorizations", desk.bob.id);
    assert_eq!(desk.app.get(&*all).as_user(&carol).await.status, 403);
    let by = async |user: &User| desk.app.get(&*all).as_user(user).await.ok().json();
    assert_eq!(by(&alice).await, by(&desk.bob).await);
    let id = by(&alice).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(desk.app.delete(format!("{all}/{id}")).as_user(&carol).await.status, 403);
    assert_eq!(desk.app.delete(format!("{all}/{id}")).as_user(&alice).await.status, 204);
    assert_eq!(desk.app.get("/api/v1/me").bearer(&token).await.status, 401);
}

#[tokio::test]
async fn an_app_ends_only_what_it_rests_on_itself() {
    let desk = Desk::set().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    token(&desk, &id, HERE, MANAGEMENT).await;
    let token = token(&desk, DOCUMENT, CALLBACK, MANAGEMENT).await;
    let listed = desk.app.get("/api/v1/authorizations").bearer(&token).await.ok().json();
    let of = |id: &str| {
        let mut all = listed.as_array().unwrap().iter();
        let id = deputize_core::apps::app_id(id);
        all.find(|one| one["client_id"] == id.as_str()).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let refused = desk.app.delete(format!("/api/v1/authorizations/{}", of(&id))).bearer(&token).await;
    assert_snapshot!(refused.refusal(), @"403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own");
    let ended = desk.app.delete(format!("/api/v1/authorizations/{}", of(DOCUMENT))).bearer(&token).await;
    assert_eq!(ended.status, 204);
    assert_eq!(desk.app.get("/api/v1/authorizations").bearer(&token).await.status, 401);
}

#[tokio::test]
async fn an_admins_app_registers_and_blocks_nothing() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let browser = desk.app.person(&alice).await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[("resource", MANAGEMENT)])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    let token = redeem(&desk.app, DOCUMENT, CALLBACK, &code).await.access_token();
    let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK] });
    for request in [
        desk.app.post(APPS).bearer(&token).json(&new),
        desk.app.post(BLOCKS).bearer(&token).json(&json!({ "host": "evil.test" })),
        desk.app.get(APPS).bearer(&token),
        desk.app.get(format!("/api/v1/users/{}/authorizations", desk.bob.id)).bearer(&token),
    ] {
        assert_eq!(request.await.status, 403);
    }
    let kept: Vec<Value> = desk.app.get(APPS).as_user(&alice).await.ok().json().as_array().unwrap().clone();
    assert_eq!(kept, Vec::<Value>::new());
}
