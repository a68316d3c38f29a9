//! Revoking and introspecting an app's own tokens.

use deputize_tests::{AppClient, TestApp, TestRequest, apps::Tokens};
use insta::assert_snapshot;

use super::Signed;

fn about(app: &TestApp, endpoint: &str, client: &AppClient, token: &str) -> TestRequest {
    app.as_app_at(&format!("/api/v1/oauth/{endpoint}"), client, &[("token", token)])
}

#[tokio::test]
async fn a_revoked_refresh_token_ends_all_tokens_of_its_sign_in_and_no_others() {
    for client in [AppClient::public("app.example"), AppClient::public("app.example").with_secret()] {
        for which in 0..3 {
            let it = Signed::up_as(TestApp::start().await, client.clone()).await;
            let (app, client) = (&it.app, &it.client);
            let first = app.sign_in(&it.allowed).await;
            let second = app.refreshed(client, &first.refresh).await;
            let third = app.refreshed(client, &second.refresh).await;
            let another = app.sign_in(&it.allowed).await;
            let all = [&first, &second, &third];
            let answer = about(app, "revoke", client, &all[which].refresh).await.ok();
            assert_eq!(answer.text, "");
            for ended in all {
                assert!(!app.manages(&ended.access).await);
                assert_eq!(app.refresh(client, &ended.refresh, &[]).await.status, 400);
            }
            assert!(app.manages(&another.access).await);
            app.refresh(client, &another.refresh, &[]).await.ok();
            // Once more is no error, and nothing happens.
            let before = app.contents();
            about(app, "revoke", client, &third.refresh).await.ok();
            assert_eq!(app.contents(), before);
            if which == 0 {
                assert_snapshot!("revoked", app.event_of(&answer).replace(&*client.client_id, "[app]"));
            }
        }
    }
}

#[tokio::test]
async fn another_apps_token_is_not_touched_nor_one_without_its_secret() {
    let it = Signed::up_as(TestApp::start().await, AppClient::public("app.example").with_secret()).await;
    let (app, client) = (&it.app, &it.client);
    let tokens = app.sign_in(&it.allowed).await;
    let public = AppClient { secret: None, ..client.clone() };
    let wrong = AppClient { secret: AppClient::public("x").with_secret().secret, ..client.clone() };
    let other = AppClient::public("other.example");
    let bot = app.agent("bot", &it.alice).await;
    let before = app.contents();
    let mut told = Vec::new();
    for who in [&public, &wrong, &other] {
        told.push(about(app, "revoke", who, &tokens.refresh).await.refusal());
    }
    told.push(about(app, "revoke", &other, &tokens.access).await.refusal());
    told.push(app.about_token("revoke", &bot, &tokens.access).await.status.to_string());
    told.push(app.about_token("revoke", &bot, &tokens.refresh).await.status.to_string());
    assert_snapshot!(told.join("\n"), @"
    401 invalid_client: Client authentication failed
    401 invalid_client: Client authentication failed
    400 invalid_grant: The token was issued to another client
    400 invalid_grant: The token was issued to another client
    200 OK
    200 OK
    ");
    assert_eq!(app.contents(), before);
    assert!(app.manages(&tokens.access).await);
    let Tokens { .. } = app.refreshed(client, &tokens.refresh).await;
}

#[tokio::test]
async fn what_is_no_token_is_no_error_and_an_app_that_cannot_be_one_is() {
    let it = Signed::up().await;
    for none in ["none", "dpr_none", "eyJ.eyJ.x", &it.bob.api_key] {
        about(&it.app, "revoke", &it.client, none).await.ok();
    }
    let nobody = AppClient { client_id: "nobody".to_owned(), ..it.client.clone() };
    for none in ["none", "dpr_none"] {
        let refused = about(&it.app, "revoke", &nobody, none).await;
        assert_eq!(refused.refusal(), "401 invalid_client: Client authentication failed");
    }
    let missing = it.app.as_app_at("/api/v1/oauth/revoke", &it.client, &[]).await;
    assert_eq!(missing.refusal(), "400 invalid_request: The parameter token is missing");
}

#[tokio::test]
async fn a_token_that_is_none_of_the_apps_is_only_said_to_be_inactive() {
    let it = Signed::up().await;
    let bot = it.app.agent("bot", &it.alice).await;
    let tokens = it.app.sign_in(&it.allowed).await;
    let other = AppClient::public("other.example").with_secret();
    for token in ["none", &*it.app.m2m(&bot).await, &tokens.access] {
        let answer = about(&it.app, "introspect", &other, token).await.ok();
        assert_eq!(answer.text, r#"{"active":false}"#);
    }
    let answer = it.app.about_token("introspect", &bot, &tokens.access).await.ok();
    assert_eq!(answer.text, r#"{"active":false}"#);
}
