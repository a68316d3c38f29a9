//! Groups and roles, by the word of issuers.

use std::{future::IntoFuture, time::Duration};

use deputize_tests::{IdentityProvider, TestApp, User};
use http::StatusCode;
use serde_json::{Value, json};

use super::{one_provider, two_providers};

fn gives_both() -> Value {
    json!({
        "audiences": ["deputize"], "groups_claim": ["realm", "groups"],
        "role_claim": { "claim": "roles", "values": { "Deputize.Admin": "admin", "Deputize.User": "user" } },
    })
}

fn in_groups(provider: &IdentityProvider, groups: &'static [&'static str]) {
    provider.claims(move |claims| claims["realm"] = json!({ "groups": groups }));
}

/// Whether the policies see the user in `staff`.
async fn is_staff(app: &TestApp, user: &User) -> bool {
    let check = json!({ "user_id": user.id, "server_id": "demo", "tool_name": "t", "arguments": {} });
    let checked = app.post("/api/v1/policies/check").as_user(user).json(&check).await.ok();
    checked.json()["decision"] == "permit"
}

async fn with_staff(app: &TestApp) -> User {
    app.server("demo").await;
    app.policy("staff", r#"permit(principal in Group::"staff", action, resource);"#).await;
    app.user("alice").await
}

#[tokio::test]
async fn groups_of_an_id_token_count_in_policies_beside_those_that_an_admin_sets() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    in_groups(&acme, &["ops", "staff"]);
    assert!(!is_staff(&app, &alice).await);
    app.browser().sign_in(&acme, "alice").await;
    assert!(is_staff(&app, &alice).await);
    let me = app.get("/api/v1/me").as_user(&alice).await.json();
    assert_eq!(me["groups"], json!([]), "what an admin has set stays what it is");
    assert_eq!(
        me["claims"],
        json!([{ "issuer": "https://id.example.com", "issued_at": "2026-01-15T09:00:00.000Z",
                 "groups": ["ops", "staff"], "role": null }])
    );
    // The groups that an admin sets stay, whatever the issuer says.
    let admin = app.user("root").admin().await;
    let set = app.patch(format!("/api/v1/users/{}", alice.id)).as_user(&admin);
    set.json(&json!({ "groups": ["staff"] })).await.ok();
    app.pass(Duration::from_secs(1));
    in_groups(&acme, &[]);
    app.browser().sign_in(&acme, "alice").await;
    assert!(is_staff(&app, &alice).await);
}

#[tokio::test]
async fn groups_of_a_users_jwt_count_too_and_cost_one_write_for_each_new_token() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    let token = |at: i64| {
        acme.issuer().token_with("alice", |claims| {
            claims["iat"] = (claims["iat"].as_i64().unwrap() + at).into();
            claims["realm"] = json!({ "groups": ["staff"] });
        })
    };
    let (first, newer) = (token(0), token(10));
    app.get("/api/v1/me").bearer(&first).await.ok();
    assert!(is_staff(&app, &alice).await);
    let (_, again) = app.round_trips(app.get("/api/v1/me").bearer(&first).into_future()).await;
    assert_eq!(again, [("BatchGetItem", 1)]);
    let (_, fresh) = app.round_trips(app.get("/api/v1/me").bearer(&newer).into_future()).await;
    assert_eq!(fresh, [("BatchGetItem", 2), ("TransactWriteItems", 1)]);
}

#[tokio::test]
async fn a_newer_token_replaces_the_groups_and_an_older_one_never_brings_them_back() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    let token = |at: i64, groups: Value| {
        acme.issuer().token_with("alice", |claims| {
            claims["iat"] = (claims["iat"].as_i64().unwrap() + at).into();
            if !groups.is_null() {
                claims["realm"] = json!({ "groups": groups });
            }
        })
    };
    let (old, new) = (token(0, json!(["staff"])), token(1, json!([])));
    app.get("/api/v1/me").bearer(&old).await.ok();
    assert!(is_staff(&app, &alice).await);
    app.get("/api/v1/me").bearer(&new).await.ok();
    assert!(!is_staff(&app, &alice).await);
    // It still proves its user, but says nothing of their groups.
    app.get("/api/v1/me").bearer(&old).await.ok();
    assert!(!is_staff(&app, &alice).await);
    // Nor does one of the same second.
    app.get("/api/v1/me").bearer(&token(1, json!(["staff"]))).await.ok();
    assert!(!is_staff(&app, &alice).await);
    app.get("/api/v1/me").bearer(&token(2, json!(["staff"]))).await.ok();
    assert!(is_staff(&app, &alice).await);
    // A token without the claim names no group: Entra and Okta leave it out of a user who has none.
    app.get("/api/v1/me").bearer(&token(3, Value::Null)).await.ok();
    assert!(!is_staff(&app, &alice).await);
}

#[tokio::test]
async fn a_token_that_does_not_say_when_it_was_issued_gives_no_groups() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    let token = acme.issuer().token_with("alice", |claims| {
        claims["realm"] = json!({ "groups": ["staff"] });
        claims.as_object_mut().unwrap().remove("iat");
    });
    app.get("/api/v1/me").bearer(&token).await.ok();
    assert!(!is_staff(&app, &alice).await);
}

#[tokio::test]
async fn an_issuer_that_may_give_no_groups_gives_none_nor_those_that_it_once_could() {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let network = deputize_tests::Providers::of(&[&acme]);
    let silent = base.signing_in_by(&json!([acme.trusted(&json!({}))]), &network).await;
    let alice = with_staff(&silent).await;
    acme.claims(|claims| {
        claims["realm"] = json!({ "groups": ["staff"] });
        claims["groups"] = json!(["staff"]);
        claims["roles"] = json!(["Deputize.Admin", "admin"]);
        claims["role"] = json!("admin");
    });
    silent.browser().sign_in(&acme, "alice").await;
    assert!(!is_staff(&silent, &alice).await);
    assert_eq!(silent.get("/api/v1/users").as_user(&alice).await.status, StatusCode::FORBIDDEN);
    // Once it may, and then no longer.
    let giving = base.signing_in_by(&json!([acme.trusted(&gives_both())]), &network).await;
    base.pass(Duration::from_secs(1));
    giving.browser().sign_in(&acme, "alice").await;
    assert!(is_staff(&giving, &alice).await);
    giving.get("/api/v1/users").as_user(&alice).await.ok();
    assert!(!is_staff(&silent, &alice).await);
    assert_eq!(silent.get("/api/v1/users").as_user(&alice).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn claims_that_are_too_old_count_as_absent() {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let network = deputize_tests::Providers::of(&[&acme]);
    let trusted = json!([acme.trusted(&gives_both())]);
    let app = base.signing_in_by(&trusted, &network).await;
    let alice = with_staff(&app).await;
    acme.claims(|claims| {
        claims["realm"] = json!({ "groups": ["staff"] });
        claims["roles"] = "Deputize.Admin".into();
    });
    app.browser().sign_in(&acme, "alice").await;
    app.pass(Duration::from_hours(24 * 30));
    assert!(is_staff(&app, &alice).await);
    app.get("/api/v1/users").as_user(&alice).await.ok();
    app.pass(Duration::from_secs(1));
    assert!(!is_staff(&app, &alice).await);
    assert_eq!(app.get("/api/v1/users").as_user(&alice).await.status, StatusCode::FORBIDDEN);
    let longer =
        |settings: &mut deputize_core::Settings| settings.claims_max_age = Duration::from_hours(24 * 31);
    assert!(is_staff(&base.signing_in_with(&trusted, &network, longer).await, &alice).await);
}

#[tokio::test]
async fn a_role_is_given_by_the_values_that_the_operator_lists_and_taken_by_a_newer_token() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = app.user("alice").await;
    let admins = async |roles: &'static [&'static str]| {
        app.pass(Duration::from_secs(1));
        acme.claims(move |claims| claims["roles"] = json!(roles));
        app.browser().sign_in(&acme, "alice").await;
        app.get("/api/v1/users").as_user(&alice).await.status
    };
    assert_eq!(admins(&["Deputize.User", "admin"]).await, StatusCode::FORBIDDEN);
    assert_eq!(admins(&["Deputize.User", "Deputize.Admin"]).await, StatusCode::OK);
    // An admin by an issuer's word changes things as an admin does.
    let made = app.post("/api/v1/users").as_user(&alice).json(&json!({ "email": "new@example.com" })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(
        app.get("/api/v1/me").as_user(&alice).await.json()["role"],
        "user",
        "an admin has set this one"
    );
    assert_eq!(admins(&[]).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_role_counts_in_policies() {
    let (app, acme) = one_provider(&gives_both()).await;
    app.server("demo").await;
    app.policy(
        "admins",
        r#"permit(principal is User, action, resource) when { principal.role == "admin" };"#,
    )
    .await;
    let alice = app.user("alice").await;
    assert!(!is_staff(&app, &alice).await);
    acme.claims(|claims| claims["roles"] = "Deputize.Admin".into());
    app.browser().sign_in(&acme, "alice").await;
    assert!(is_staff(&app, &alice).await);
}

#[tokio::test]
async fn groups_count_for_the_agent_that_acts_for_the_user() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    let upstream = deputize_tests::McpServer::start().await;
    app.server("tools").at(upstream.open_url()).await;
    app.policy("bots", "permit(principal is Agent, action, resource);").await;
    let bot = app.agent("bot", &alice).await;
    app.delegate(&bot, &alice).await;
    let token = app.obo(&bot, &alice).await;
    let call = || app.call("tools", "echo", &json!({})).bearer(&token);
    assert_eq!(call().await.refusal(), "403 Policy denied");
    in_groups(&acme, &["staff"]);
    app.browser().sign_in(&acme, "alice").await;
    assert_ne!(call().await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn entras_overage_is_a_clear_error_and_nobody_is_signed_in() {
    let (app, acme) = one_provider(&json!({ "groups_claim": "groups" })).await;
    acme.claims(|claims| {
        claims["_claim_names"] = json!({ "groups": "src1" });
        claims["_claim_sources"] = json!({ "src1": { "endpoint": "https://graph.example/" } });
    });
    let mut browser = app.browser();
    let refused = browser.sign_in(&acme, "alice").await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert!(
        refused.text.contains("there are too many (Entra's overage); have the issuer send only the groups")
    );
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn claims_go_with_the_identity_that_they_were_of() {
    let (app, acme, other) = two_providers([&gives_both(), &json!({})]).await;
    let alice = with_staff(&app).await;
    let admin = app.user("root").admin().await;
    in_groups(&acme, &["staff"]);
    app.browser().sign_in(&acme, "alice").await;
    assert!(is_staff(&app, &alice).await);
    let identities = json!([{ "issuer": other.url(), "subject": "user_alice" }]);
    let set = app.patch(format!("/api/v1/users/{}", alice.id)).as_user(&admin);
    set.json(&json!({ "identities": identities })).await.ok();
    assert!(!is_staff(&app, &alice).await);
    assert!(app.get("/api/v1/me").as_user(&alice).await.json().get("claims").is_none());
}

#[tokio::test]
async fn a_change_of_groups_is_in_the_trail_with_who_said_so() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    in_groups(&acme, &["staff"]);
    app.browser().sign_in(&acme, "alice").await;
    let said: Vec<_> = app.trail().into_iter().filter(|event| event["action"] == "user.update").collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["detail"], "by https://id.example.com: role none, groups staff");
    assert_eq!(said[0]["subject"], format!("user:{}", alice.id));
}

#[tokio::test]
async fn an_agent_for_a_group_is_there_for_a_user_whom_an_issuer_puts_into_it_as_long_as_that_counts() {
    let (app, acme) = one_provider(&gives_both()).await;
    let alice = with_staff(&app).await;
    let admin = app.user("root").admin().await;
    let bot = app.agent("bot", &admin).await;
    let body = json!({ "visibility": "groups", "visible_to_groups": ["staff"] });
    app.patch(format!("/api/v1/agent-accounts/{}", bot.id)).as_user(&admin).json(&body).await.ok();
    let available = async || {
        let list = app.get("/api/v1/available-agents").as_user(&alice).await.ok().json();
        let delegation = app.post(format!("/api/v1/agent-accounts/{}/delegations", bot.id)).as_user(&alice);
        (list.as_array().unwrap().len(), delegation.await.status.as_u16())
    };
    assert_eq!(available().await, (0, 404));
    in_groups(&acme, &["staff"]);
    app.browser().sign_in(&acme, "alice").await;
    assert_eq!(available().await, (1, 201));
    // Lists of users are by what admins have set.
    let listed = app.get("/api/v1/users?group=staff").as_user(&admin).await.ok().json();
    assert_eq!(listed, json!([]));
    app.pass(Duration::from_hours(24 * 366));
    assert_eq!(available().await, (0, 404));
}
