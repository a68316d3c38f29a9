//! Apps that are web pages, from anywhere: what they may send and read.

use deputize_tests::{AppClient, TestApp, apps::Tokens};
use http::Method;
use insta::assert_snapshot;

use super::Signed;
use crate::scenario::Scenario;

/// Pages that no deployment lists.
const ANYWHERE: [&str; 3] = ["https://anybody.example", "http://localhost:9", "null"];
const ENDPOINTS: [&str; 5] =
    ["/api/v1/oauth/token", "/token", "/api/v1/oauth/register", "/register", "/api/v1/oauth/revoke"];

#[tokio::test]
async fn a_page_from_anywhere_redeems_its_code_and_refreshes() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    for origin in ANYWHERE {
        let code = app.code(&allowed).await;
        let answer = app.redeem(&client, &code, &[]).header("origin", origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let tokens = Tokens::of(&answer);
        let answer = app.refresh(&client, &tokens.refresh, &[]).header("origin", origin).await.ok();
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let revoked = app.as_app_at("/api/v1/oauth/revoke", &client, &[("token", &tokens.refresh)]);
        let revoked = revoked.header("origin", origin).await.ok();
        assert_eq!(revoked.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn a_page_from_anywhere_reads_every_error() {
    let app = TestApp::start().await;
    for path in ENDPOINTS {
        for ask in [
            app.post(path).form(&[("grant_type", "none")]),
            app.post(path).form(&[("grant_type", "refresh_token"), ("client_id", "a")]),
            app.post(path).body("text/plain", "x"),
            app.post(path).body("application/x-www-form-urlencoded", vec![b'x'; 100_000]),
            app.get(path),
        ] {
            let answer = ask.header("origin", "https://anybody.example").await;
            assert!(answer.status.is_client_error(), "{path}: {answer}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
        }
    }
}

#[tokio::test]
async fn preflights_of_these_endpoints_are_answered_for_every_page() {
    let app = TestApp::start().await;
    let mut answers = Vec::new();
    for path in ENDPOINTS {
        for origin in ANYWHERE {
            let ask = app.ask(Method::OPTIONS, path).header("origin", origin);
            let ask = ask.header("access-control-request-method", "POST");
            let ask = ask
                .header("access-control-request-headers", "authorization,content-type,mcp-protocol-version");
            answers.push(ask.await.to_string());
        }
    }
    answers.dedup();
    assert_snapshot!(answers.join("\n"), @"
    200 OK
    access-control-allow-headers: authorization,content-type,mcp-protocol-version,traceparent
    access-control-allow-methods: GET,POST
    access-control-allow-origin: *
    access-control-max-age: 7200
    ");
}

#[tokio::test]
async fn an_agent_account_still_decides_which_pages_may_use_it_and_the_page_is_told() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    for path in ["/api/v1/oauth/token", "/token"] {
        let id = bot.id.to_string();
        let fields =
            [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &bot.secret)];
        let answer = app.post(path).form(&fields).header("origin", "https://anybody.example").await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let told = answer.refusal();
        assert!(
            told.starts_with("403 unauthorized_client: The agent account may not be used from this origin"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn nothing_else_is_for_every_page() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let token = app.m2m(&bot).await;
    for ask in [
        app.about_token("introspect", &bot, &token),
        app.get("/api/v1/me").as_user(&bob),
        app.post("/api/v1/oauth/callback"),
        app.post("/api/v1/oauth/tokens"),
        app.post("/api/v1/oauth/token/"),
    ] {
        let answer = ask.header("origin", "https://anybody.example").await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer}");
    }
}

#[tokio::test]
async fn the_aliases_at_the_origin_are_the_endpoints() {
    let Signed { app, allowed, .. } = Signed::up().await;
    let client: &AppClient = &allowed.client;
    let code = app.code(&allowed).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("code_verifier", deputize_tests::apps::VERIFIER),
    ];
    let answer = app.as_app_at("/token", client, &fields).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    app.refresh(client, &Tokens::of(&answer).refresh, &[]).await.ok();
    let query = "response_type=code&client_id=a%20b&state=x%26y&redirect_uri=https%3A%2F%2Fapp.example";
    let sent_on = app.get(format!("/authorize?{query}")).await;
    assert_eq!(sent_on.status, 307);
    let place = sent_on.header("location").unwrap();
    assert_eq!(place, format!("https://deputize.test/api/v1/oauth/authorize?{query}"));
}
