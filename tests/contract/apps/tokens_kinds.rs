//! Apps of each kind at the token endpoint: those that registered themselves, and those that an admin registered.

use deputize_tests::{AppClient, TestApp, TestRequest, TestResponse, User, apps::Tokens};
use insta::assert_snapshot;
use serde_json::json;

use super::Signed;

const UNPROVEN: &str = "401 invalid_client: Client authentication failed";

fn about(app: &TestApp, endpoint: &str, client: &AppClient, token: &str) -> TestRequest {
    app.as_app_at(&format!("/api/v1/oauth/{endpoint}"), client, &[("token", token)])
}

async fn registered(method: &str) -> Signed {
    let app = TestApp::start().await;
    let client = AppClient::registered(&app, method).await;
    Signed::up_as(app, client).await
}

#[tokio::test]
async fn an_app_that_registered_itself_gets_tokens_with_a_derived_secret_or_without() {
    for method in ["none", "client_secret_post", "client_secret_basic"] {
        let Signed { app, client, allowed, .. } = registered(method).await;
        assert_eq!(client.secret.is_some(), method != "none");
        let tokens = app.sign_in(&allowed).await;
        let next = app.refreshed(&client, &tokens.refresh).await;
        assert!(app.manages(&next.access).await);
        if let Some(secret) = &client.secret {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", &*next.refresh)];
            let by_header = app.token(&fields).basic(&client.client_id, secret).await;
            let next = Tokens::of(&by_header);
            // It is needed at every request from now on: an app does not turn public.
            let without = [("client_secret", "")];
            assert_eq!(app.refresh(&client, &next.refresh, &without).await.refusal(), UNPROVEN);
            let code = app.code(&allowed).await;
            assert_eq!(app.redeem(&client, &code, &without).await.refusal(), UNPROVEN);
            app.redeem(&client, &code, &[]).await.ok();
        }
    }
}

#[tokio::test]
async fn registering_the_same_again_gives_nobody_the_first_ones_secret() {
    let Signed { app, client, allowed, .. } = registered("client_secret_post").await;
    let tokens = app.sign_in(&allowed).await;
    let copy = AppClient::registered(&app, "client_secret_post").await;
    assert_ne!(copy.client_id, client.client_id);
    let mixed = AppClient { secret: copy.secret.clone(), ..client.clone() };
    assert_eq!(app.refresh(&mixed, &tokens.refresh, &[]).await.refusal(), UNPROVEN);
    assert_eq!(app.refresh(&copy, &tokens.refresh, &[]).await.status, 400);
    app.refresh(&client, &tokens.refresh, &[]).await.ok();
}

#[tokio::test]
async fn an_id_that_was_not_registered_here_is_an_unknown_client_and_one_that_was_is_not() {
    let it = registered("none").await;
    let id = &it.client.client_id;
    let mut last = id.chars().last().unwrap();
    last = if last == 'A' { 'B' } else { 'A' };
    let forged = format!("{}{last}", &id[..id.len() - 1]);
    let elsewhere = AppClient::registered(&TestApp::start().await, "none").await.client_id;
    let (known, unknown) = ((400, 200), (401, 401));
    let cases = [
        (&**id, known),
        (&*forged, unknown),
        (&*elsewhere, unknown),
        ("dyn.e30.e30", unknown),
        ("app-x", unknown),
    ];
    for (client_id, (status, revoked)) in cases {
        let client = AppClient { client_id: client_id.to_owned(), ..it.client.clone() };
        assert_eq!(it.app.redeem(&client, "dpc_none", &[]).await.status, status, "{client_id}");
        assert_eq!(it.app.refresh(&client, "dpr_none", &[]).await.status, status, "{client_id}");
        assert_eq!(about(&it.app, "revoke", &client, "dpr_none").await.status, revoked, "{client_id}");
    }
    // A process that has registered nothing yet knows it too.
    let other =
        it.app.another(deputize_core::vault::Vault::new(deputize_tests::app::root(7), Vec::new())).await;
    assert_eq!(other.redeem(&it.client, "dpc_none", &[]).await.status, 400);
}

#[tokio::test]
async fn of_an_app_that_an_admin_registered_the_registration_counts_as_it_is_now() {
    let app = TestApp::start().await;
    let root = app.user("root").admin().await;
    let client = AppClient::of_admin(&app, &root).await;
    let Signed { app, client, allowed, .. } = Signed::up_as(app, client).await;
    let tokens = app.sign_in(&allowed).await;
    let path = format!("/api/v1/apps/{}", client.client_id);
    let rotated = app.post(format!("{path}/secret")).as_user(&root).await.ok().field("client_secret");
    assert_eq!(app.refresh(&client, &tokens.refresh, &[]).await.refusal(), UNPROVEN);
    let renewed = AppClient { secret: Some(rotated), ..client.clone() };
    let next = app.refreshed(&renewed, &tokens.refresh).await;
    let code = app.code(&allowed).await;
    let more = Tokens::of(&app.redeem(&renewed, &code, &[]).await);
    assert!(app.manages(&more.access).await);
    // Once it is registered no more, it is an unknown client, and its tokens are good for nothing.
    app.delete(&path).as_user(&root).await.ok();
    assert_eq!(app.refresh(&renewed, &next.refresh, &[]).await.refusal(), UNPROVEN);
    assert!(!app.manages(&next.access).await);
    assert_eq!(app.refresh(&renewed, "dpr_none", &[]).await.refusal(), UNPROVEN);
}

#[tokio::test]
async fn what_a_deployment_takes_no_more_gets_no_more_tokens() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let tokens = app.sign_in(&allowed).await;
    let code = app.code(&allowed).await;
    let taking = |kinds: &str| {
        app.with_settings(|settings| settings.apps = settings.apps.clone().taking(kinds).unwrap())
    };
    let from = |hosts: &str| {
        app.with_settings(|settings| settings.apps = settings.apps.clone().from_hosts(hosts).unwrap())
    };
    let ended = "400 invalid_grant: This deployment takes no such apps any more";
    for narrower in [taking("registration,admin"), taking("none"), from("other.example,.example.app")] {
        assert_eq!(narrower.refresh(&client, &tokens.refresh, &[]).await.refusal(), ended);
        assert_eq!(narrower.redeem(&client, &code, &[]).await.refusal(), ended);
    }
    for wide in [taking("documents"), from("app.example"), from(".example")] {
        wide.refresh(&client, &tokens.refresh, &[]).await.ok();
    }
    app.redeem(&client, &code, &[]).await.ok();
}

#[tokio::test]
async fn an_app_revokes_its_own_access_token_and_no_other() {
    for method in ["none", "client_secret_post"] {
        let Signed { app, client, allowed, .. } = registered(method).await;
        let (one, two) = (app.sign_in(&allowed).await, app.sign_in(&allowed).await);
        let other = AppClient::registered(&app, "client_secret_post").await;
        let refused = about(&app, "revoke", &other, &one.access).await;
        assert_eq!(refused.refusal(), "400 invalid_grant: The token was issued to another client");
        if method != "none" {
            let wrong = AppClient { secret: other.secret.clone(), ..client.clone() };
            assert_eq!(about(&app, "revoke", &wrong, &one.access).await.refusal(), UNPROVEN);
        }
        assert!(app.manages(&one.access).await);
        let revoked = about(&app, "revoke", &client, &one.access).await.ok();
        assert!(!app.manages(&one.access).await && app.manages(&two.access).await);
        app.refresh(&client, &one.refresh, &[]).await.ok();
        if method == "none" {
            app.call_it("the app", &client.client_id);
            assert_snapshot!(app.event_of(&revoked), @r#"
            action: "token.revoke"
            audit_user: "[bob]"
            client_id: "[the app]"
            outcome: "allowed"
            token_id: "[uuid]"
            "#);
        }
    }
}

async fn introspected(app: &TestApp, client: &AppClient, token: &str) -> TestResponse {
    about(app, "introspect", client, token).await
}

#[tokio::test]
async fn an_app_that_can_prove_itself_is_told_of_its_access_token() {
    let Signed { app, alice, bob, client, allowed, .. } = registered("client_secret_basic").await;
    let tokens = app.sign_in(&allowed).await;
    app.call_it("the app", deputize_core::apps::app_id(&client.client_id).to_string());
    assert_snapshot!(introspected(&app, &client, &tokens.access).await, @r#"
    200 OK

    {
      "active": true,
      "scope": "manage",
      "client_id": "[the app]",
      "token_type": "Bearer",
      "exp": 1768471200,
      "iat": 1768467600,
      "sub": "[bob]",
      "aud": "https://deputize.test/api/v1",
      "iss": "https://deputize.test",
      "jti": "[uuid]"
    }
    "#);
    let inactive = async |token: &str, by: &AppClient| {
        let answer = introspected(&app, by, token).await.ok();
        assert_eq!(answer.text, r#"{"active":false}"#);
    };
    inactive(&tokens.refresh, &client).await;
    inactive("none", &client).await;
    let other = AppClient::registered(&app, "client_secret_post").await;
    inactive(&tokens.access, &other).await;
    let without = AppClient { secret: None, ..client.clone() };
    assert_eq!(introspected(&app, &without, &tokens.access).await.refusal(), UNPROVEN);
    deactivate(&app, &alice, &bob).await;
    inactive(&tokens.access, &client).await;
}

async fn deactivate(app: &TestApp, admin: &User, user: &User) {
    app.patch(format!("/api/v1/users/{}", user.id))
        .as_user(admin)
        .json(&json!({ "active": false }))
        .await
        .ok();
}

#[tokio::test]
async fn a_public_app_cannot_prove_that_a_token_is_its_own_and_is_told_nothing() {
    let Signed { app, client, allowed, .. } = registered("none").await;
    let tokens = app.sign_in(&allowed).await;
    assert_eq!(introspected(&app, &client, &tokens.access).await.refusal(), UNPROVEN);
}
