//! What an app may manage for its user, and that nothing that it makes outlives what its user allowed it.

use std::time::Duration;

use deputize_core::{delegations::NewDelegation, tokens::Resource};
use deputize_tests::{AllowedApp, TestRequest, allowed_apps::CLIENT_ID, jwt::claims};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    connections::{Chat, cookie, page_text},
    grants::Connected,
    proxy::Permitted,
    scenario::Scenario,
};

#[tokio::test]
async fn an_app_manages_for_its_user_what_the_user_can_and_the_trail_names_both() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let allowed = app.allow_management(&carol).await;
    let me = app.get("/api/v1/me").bearer(&allowed.token).await.ok();
    assert_eq!(me.json()["id"], carol.id.to_string());
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let made = app.post(path).bearer(&allowed.token).json(&json!({})).await.ok();
    app.call_it("the delegation", made.field("id"));
    assert_snapshot!(app.event_of(&made), @r#"
    action: "delegation.create"
    audit_agent: "[bot]"
    audit_user: "[carol]"
    client_id: "https://client.example/app.json"
    credential: "app_token:[uuid]"
    outcome: "allowed"
    subject: "delegation:[the delegation]"
    "#);
}

#[tokio::test]
async fn a_token_for_calling_tools_manages_nothing_and_so_does_one_without_the_scope() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let mut told = Vec::new();
    for (resource, scope) in [
        (Resource::Proxy, "tools:call manage"),
        (Resource::Server("demo".parse().unwrap()), "manage"),
        (Resource::Management, "offline_access"),
    ] {
        let token = app.allow_app(&bob, CLIENT_ID, resource, scope).await.token;
        let answer = app.get("/api/v1/me").bearer(&token).await;
        told.push(format!("{}\n  {}", answer.refusal(), answer.header("www-authenticate").unwrap()));
    }
    assert_snapshot!(told.join("\n"), @r#"
    401 The token is for another audience
      Bearer realm="deputize", error="invalid_token", error_description="The token is for another audience", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"
    401 The token is for another audience
      Bearer realm="deputize", error="invalid_token", error_description="The token is for another audience", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"
    403 The token lacks the scope manage: have the user allow the app that scope
      Bearer realm="deputize", error="insufficient_scope", error_description="The token lacks the scope manage: have the user allow the app that scope", scope="manage", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1"
    "#);
}

/// Every endpoint that is for admins, as an app of an admin asks for it.
#[tokio::test]
async fn an_app_of_an_admin_has_none_of_an_admins_powers() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let bobs = app.agent("bobs", &bob).await;
    let delegation = app.delegate(&bobs, &bob).await;
    let token = app.allow_management(&alice).await.token;
    let before = app.contents();
    let (users, agents) = ("/api/v1/users", "/api/v1/agent-accounts");
    let (owner, account) = (bob.id, bobs.id);
    let asks: Vec<(Method, String, Value)> = vec![
        (Method::GET, users.into(), json!(null)),
        (Method::POST, users.into(), json!({ "email": "new@example.com" })),
        (Method::GET, format!("{users}/{owner}"), json!(null)),
        (Method::PATCH, format!("{users}/{owner}"), json!({ "active": false })),
        (Method::PATCH, format!("{users}/{}", alice.id), json!({ "name": "A" })),
        (Method::GET, format!("{users}/{owner}/api-keys"), json!(null)),
        (Method::POST, agents.into(), json!({ "name": "New" })),
        (Method::PATCH, format!("{agents}/{account}"), json!({ "name": "B" })),
        (Method::PATCH, format!("{agents}/{account}"), json!({ "groups": [] })),
        (Method::GET, format!("{agents}/{account}/secrets"), json!(null)),
        (Method::GET, format!("{agents}/{account}/keys"), json!(null)),
        (Method::GET, format!("{agents}/{account}/delegations?delegator_user_id={owner}"), json!(null)),
        (Method::DELETE, format!("/api/v1/delegations/{delegation}"), json!(null)),
        (Method::GET, "/api/v1/policies".into(), json!(null)),
        (
            Method::POST,
            "/api/v1/policies".into(),
            json!({ "name": "p", "text": "permit(principal, action, resource);" }),
        ),
        (
            Method::POST,
            "/api/v1/policies/check".into(),
            json!({ "user_id": owner, "server_id": "demo", "tool_name": "t" }),
        ),
        (
            Method::POST,
            "/api/v1/servers".into(),
            json!({ "name": "S", "url": "https://s.example.com", "auth": "none" }),
        ),
        (Method::POST, "/api/v1/servers/probe".into(), json!({ "url": "https://s.example.com" })),
        (Method::GET, format!("/api/v1/audit-events?user_id={owner}"), json!(null)),
        (Method::GET, "/api/v1/audit-events/feed".into(), json!(null)),
        (Method::POST, "/api/v1/signing-keys".into(), json!(null)),
        (Method::DELETE, "/api/v1/signing-keys/x".into(), json!(null)),
        (Method::PUT, "/api/v1/proxy/demo/approved-tools".into(), json!({})),
    ];
    let mut told = Vec::new();
    for (method, path, body) in asks {
        let ask = app.ask(method.clone(), path.clone()).bearer(&token);
        let ask = if body.is_null() { ask } else { ask.json(&body) };
        told.push(app.shown(&format!("{method} {path}: {}", ask.await.refusal())));
    }
    assert_snapshot!(told.join("\n"), @"
    GET /api/v1/users: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/users: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    GET /api/v1/users/[bob]: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    PATCH /api/v1/users/[bob]: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    PATCH /api/v1/users/[alice]: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    GET /api/v1/users/[bob]/api-keys: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/agent-accounts: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    PATCH /api/v1/agent-accounts/[bobs]: 404 No such agent account
    PATCH /api/v1/agent-accounts/[bobs]: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    GET /api/v1/agent-accounts/[bobs]/secrets: 404 No such agent account
    GET /api/v1/agent-accounts/[bobs]/keys: 404 No such agent account
    GET /api/v1/agent-accounts/[bobs]/delegations?delegator_user_id=[bob]: 403 Only the agent account's owners, auditors, operators and admins may see other people's delegations
    DELETE /api/v1/delegations/[bob's delegation]: 404 No such delegation
    GET /api/v1/policies: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/policies: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/policies/check: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/servers: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/servers/probe: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    GET /api/v1/audit-events?user_id=[bob]: 403 Only an admin may see other users' audit events
    GET /api/v1/audit-events/feed: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    POST /api/v1/signing-keys: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    DELETE /api/v1/signing-keys/x: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    PUT /api/v1/proxy/demo/approved-tools: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    ");
    assert_eq!(app.contents(), before);
    let list = app.get(agents).bearer(&token).await.ok().json();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bot"], "the user's own only");
    let events = app.get("/api/v1/audit-events").bearer(&token).await.ok().json();
    assert!(events.as_array().unwrap().iter().all(|event| event["user_id"] == alice.id.to_string()));
}

/// What would let an app go on after its revocation.
#[tokio::test]
async fn an_app_makes_no_credential_and_wakes_none() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let token = app.allow_management(&alice).await.token;
    let account = format!("/api/v1/agent-accounts/{}", bot.id);
    app.patch(&account).bearer(&token).json(&json!({ "name": "Bot", "active": false })).await.ok();
    let before = app.contents();
    let key = json!({ "jwk": deputize_tests::jwt::SigningKey::es256().jwk("k") });
    let asks: [(&str, TestRequest); 5] = [
        ("an API key", app.post("/api/v1/api-keys").json(&json!({ "name": "k" }))),
        ("a client secret", app.post(format!("{account}/secrets"))),
        ("a client's public key", app.post(format!("{account}/keys")).json(&key)),
        ("an agent account", app.post("/api/v1/agent-accounts").json(&json!({ "name": "a" }))),
        ("the account's secrets again", app.patch(&account).json(&json!({ "active": true }))),
    ];
    let mut told = Vec::new();
    for (what, ask) in asks {
        let answer = ask.bearer(&token).await;
        assert_eq!(answer.json()["reason"], "own_credential_required", "{what}");
        told.push(format!("{what}: {}", answer.refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    an API key: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    a client secret: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    a client's public key: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    an agent account: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    the account's secrets again: 403 An app may not do this for its user: sign in, or use an API key or JWT of the user's own
    ");
    assert_eq!(app.contents(), before);
    app.patch(&account).as_user(&alice).json(&json!({ "active": true })).await.ok();
}

/// The ends of an authorization.
const ENDS: [&str; 5] = ["revoked", "expired", "app blocked", "host blocked", "user deactivated once"];

async fn end(app: &deputize_tests::TestApp, allowed: &AllowedApp, admin: &deputize_tests::User, how: &str) {
    match how {
        "revoked" => app.disallow(allowed),
        "expired" => app.pass(Duration::from_hours(24 * 90)),
        "app blocked" => app.block_allowed(allowed).await,
        "host blocked" => app.block_apps_of("client.example").await,
        _ => {
            let path = format!("/api/v1/users/{}", allowed.authorization.user_id);
            for active in [false, true] {
                app.patch(&path).as_user(admin).json(&json!({ "active": active })).await.ok();
            }
        }
    }
}

#[tokio::test]
async fn a_delegation_that_an_app_made_ends_with_the_app_and_so_do_its_tokens() {
    let mut lines = Vec::new();
    for how in ENDS {
        let it = Permitted::set().await;
        let (app, bot) = (it.app(), it.bot());
        let (alice, carol) = (&it.scenario.alice, &it.scenario.carol);
        let allowed = app.allow_management(carol).await;
        let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
        app.post(&path).bearer(&allowed.token).json(&json!({})).await.ok();
        let call =
            async |token: &str| app.call("demo", "list_repos", &json!({ "org": "a" })).bearer(token).await;
        let early = app.obo(bot, carol).await;
        let claim = claims(&early)["delegation_made_by"]["authorization_id"].clone();
        assert_eq!(claim, allowed.authorization.id.to_string());
        call(&early).await.ok();
        end(app, &allowed, alice, how).await;
        let token = if how == "expired" { early.clone() } else { app.m2m(bot).await };
        let called = call(&early).await.refusal();
        let id = carol.id.to_string();
        let late = app
            .token_for(bot, &[("actor_token", &id), ("actor_token_type", deputize_tests::request::USER_ID)])
            .await;
        assert_eq!(late.refusal(), "403 invalid_grant: No valid delegation", "{how}");
        if how != "expired" {
            call(&token).await.ok();
            let introspected = app.about_token("introspect", bot, &early).await.ok().json();
            assert_eq!(introspected["active"], false, "{how}");
        }
        let carol = app.with_new_key(carol).await;
        for path in [&path, "/api/v1/delegations"] {
            let listed = app.get(path).as_user(&carol).await.ok().json();
            assert_eq!(listed[0]["is_active"], false, "{how} {path}");
        }
        lines.push(format!("{how}: {called}"));
    }
    assert_snapshot!(lines.join("\n"), @"
    revoked: 401 The delegation that the token rests on was made by an app, and has ended with what the user allowed it
    expired: 401 The token has expired
    app blocked: 401 The delegation that the token rests on was made by an app, and has ended with what the user allowed it
    host blocked: 401 The delegation that the token rests on was made by an app, and has ended with what the user allowed it
    user deactivated once: 401 The delegation that the token rests on was made by an app, and has ended with what the user allowed it
    ");
}

#[tokio::test]
async fn what_a_user_makes_themselves_after_an_app_stays_and_what_they_made_before_is_not_weakened() {
    let Scenario { app, bob, carol, bot, .. } = Scenario::start().await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let allowed = app.allow_management(&carol).await;
    let by_app = app.post(&path).bearer(&allowed.token).json(&json!({})).await.ok().field("id");
    let again = app.post(&path).bearer(&allowed.token).json(&json!({})).await.ok().field("id");
    let own = app.post(&path).as_user(&carol).json(&json!({})).await.ok().field("id");
    assert_eq!(by_app, again);
    assert_ne!(by_app, own);
    app.disallow(&allowed);
    app.obo(&bot, &carol).await;

    let bobs = app.allow_management(&bob).await;
    let listed = app.get("/api/v1/delegations").as_user(&bob).await.ok().json();
    let same = app.post(&path).bearer(&bobs.token).json(&json!({})).await.ok().field("id");
    assert_eq!(listed[0]["id"], same);
    app.disallow(&bobs);
    app.obo(&bot, &bob).await;
}

#[tokio::test]
async fn an_app_that_narrows_a_delegation_makes_one_that_ends_with_it() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let allowed = app.allow_management(&bob).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    app.post(path).bearer(&allowed.token).json(&json!({ "server_ids": ["demo"] })).await.ok();
    app.obo(&bot, &bob).await;
    app.disallow(&allowed);
    let id = bob.id.to_string();
    let late = app
        .token_for(&bot, &[("actor_token", &id), ("actor_token_type", deputize_tests::request::USER_ID)])
        .await;
    assert_eq!(late.status, 403);
    app.delegate_some(&bot, &bob, NewDelegation::default()).await;
    app.obo(&bot, &bob).await;
}

/// The stage of grants: an app of Bob's, and the path of the bot's grants.
struct Granting {
    it: Connected,
    allowed: AllowedApp,
    path: String,
}

impl Granting {
    async fn set() -> Self {
        let it = Connected::set().await;
        it.app().permit_everything().await;
        let allowed = it.app().allow_management(&it.scenario.bob).await;
        let path = format!("/api/v1/agent-accounts/{}/session-grants", it.scenario.bot.id);
        Self { it, allowed, path }
    }

    async fn create(&self, shared: bool) -> Value {
        let body = json!({ "server_id": "chat", "shared": shared });
        let app = self.it.app();
        app.post(&self.path).bearer(&self.allowed.token).json(&body).await.ok().json()
    }

    async fn toggle(&self) -> Value {
        let ask = self.it.app().post(format!("{}/toggle", self.path)).bearer(&self.allowed.token);
        ask.json(&json!({ "server_id": "chat" })).await.ok().json()
    }

    /// What the bot is told, for itself and for Bob.
    async fn calls(&self) -> [String; 2] {
        let (app, bot) = (self.it.app(), &self.it.scenario.bot);
        let tokens = [app.m2m(bot).await, app.obo(bot, &self.it.scenario.bob).await];
        let mut told = Vec::new();
        for token in tokens {
            let answer = app.call("chat", "list_channels", &json!({})).bearer(&token).await;
            told.push(answer.json()["reason"].as_str().unwrap_or("let through").to_owned());
        }
        told.try_into().unwrap()
    }
}

/// The server does not exist, so what is let through fails there.
const THROUGH: &str = "upstream_failed";
const NONE: &str = "no_credentials";

#[tokio::test]
async fn a_session_grant_that_an_app_made_ends_with_the_app() {
    for how in ENDS {
        let it = Granting::set().await;
        let (app, bob) = (it.it.app(), &it.it.scenario.bob);
        it.create(true).await;
        assert_eq!(it.calls().await, [THROUGH, THROUGH], "{how}");
        if how == "expired" {
            app.connect_until(bob, &it.it.chat, None).await;
        }
        end(app, &it.allowed, &it.it.scenario.alice, how).await;
        // Neither their key nor their delegation comes back with a user.
        let bob = &app.with_new_key(bob).await;
        app.delegate(&it.it.scenario.bot, bob).await;
        assert_eq!(it.calls().await, [NONE, NONE], "{how}");
        assert_eq!(it.it.seen_by(bob).await, "bob personal revoked", "{how}");
        assert_eq!(it.it.seen_by(&it.it.scenario.carol).await, "", "{how}");
        // What the user makes then is their own.
        it.it.create(bob, true).await.ok();
        assert_eq!(it.calls().await, [THROUGH, THROUGH], "{how}");
        assert_eq!(it.it.seen_by(bob).await, "bob shared active", "{how}");
    }
}

#[tokio::test]
async fn an_ended_grant_of_an_apps_gives_way_to_the_shared_one() {
    let it = Granting::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    it.create(false).await;
    it.it.app().disallow(&it.allowed);
    it.it.app().connect_until(&it.it.scenario.bob, &it.it.chat, None).await;
    assert_eq!(it.calls().await, [THROUGH, THROUGH]);
    let (app, obo) = (it.it.app(), it.it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await);
    let answer = app.call("chat", "list_channels", &json!({})).bearer(&obo).await;
    assert!(app.event_of(&answer).contains("credentials_of: \"[alice]\""), "{}", app.event_of(&answer));
}

/// The user's personal grant, shared by an app, would give the account's client the user's session for good.
#[tokio::test]
async fn a_grant_that_an_app_shared_ends_with_it_though_the_user_had_made_it() {
    let it = Granting::set().await;
    it.it.create(&it.it.scenario.bob, false).await.ok();
    assert_eq!(it.create(false).await["shared"], false, "the user's own is as it was");
    assert_eq!(it.toggle().await["shared"], true);
    assert_eq!(it.calls().await, [THROUGH, THROUGH]);
    it.it.app().disallow(&it.allowed);
    assert_eq!(it.calls().await, [NONE, NONE]);
    // A toggle of the user's own is about a grant that is there, and it has ended.
    assert_eq!(it.it.toggle(&it.it.scenario.bob).await.status, 404);
}

#[tokio::test]
async fn a_grant_that_its_user_changes_after_an_app_is_their_own() {
    let it = Granting::set().await;
    it.create(false).await;
    it.it.toggle(&it.it.scenario.bob).await.ok();
    it.it.app().disallow(&it.allowed);
    assert_eq!(it.calls().await, [THROUGH, THROUGH]);
}

#[tokio::test]
async fn an_app_of_an_admin_does_not_share_where_only_managers_may() {
    let it = Connected::set().await;
    let (app, bob) = (it.app(), &it.scenario.bob);
    let admin = app.user("dora").admin().await;
    app.connect(&admin, &it.chat).await;
    let bobs = app.agent("bobs", bob).await;
    let account = format!("/api/v1/agent-accounts/{}", bobs.id);
    app.patch(&account).as_user(bob).json(&json!({ "shared_grants": "managers" })).await.ok();
    let body = json!({ "server_id": "chat", "shared": true });
    let share = |ask: TestRequest| ask.json(&body);
    let path = format!("{account}/session-grants");
    let token = app.allow_management(&admin).await.token;
    let refused = share(app.post(&path).bearer(&token)).await;
    assert_eq!((refused.status.as_u16(), &*refused.field("reason")), (403, "sharing_reserved"));
    share(app.post(&path).as_user(&admin)).await.ok();
    let owners = app.allow_management(bob).await.token;
    share(app.post(&path).bearer(&owners)).await.ok();
}

/// An app begins a connection for its user, who signs in at the provider and comes back.
#[tokio::test]
async fn a_connection_that_an_app_began_is_not_finished_once_the_app_may_not_act_any_more() {
    for is_revoked in [false, true] {
        let chat = Chat::open().await;
        let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
        let allowed = app.allow_management(bob).await;
        let begun = app.post("/api/v1/servers/chat/connect").bearer(&allowed.token).await.ok();
        if is_revoked {
            app.disallow(&allowed);
        }
        let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
        let came = app.get(back).header("cookie", &cookie(&begun)).await;
        assert_eq!(chat.connection(bob).await.status, if is_revoked { 404 } else { 200 }, "{came}");
        if is_revoked {
            assert_snapshot!(page_text(&came), @"403 Not connected The app that began this may not act for you any more; connect again.");
        }
    }
}
