//! Coming back from a provider: whose browser it may be, whose answer it must be, and once.

use std::time::Duration;

use deputize_tests::{TestResponse, faults::Fault, provider::TokenEndpoint};
use http::StatusCode;
use insta::assert_snapshot;

use super::{Chat, acting_as, cookie, page_text};

/// A connection of Bob's to which he has consented, and the path of the way back.
async fn consented(chat: &Chat) -> (TestResponse, String) {
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let back = chat.provider.consent(&begun.field("authorization_url"), "bob");
    (begun, back)
}

fn state(back: &str) -> &str {
    back.split("state=").nth(1).unwrap().split('&').next().unwrap()
}

#[tokio::test]
async fn a_state_is_good_once() {
    let chat = Chat::open().await;
    let (begun, back) = consented(&chat).await;
    let go = async || chat.scenario.app.get(&back).header("cookie", &cookie(&begun)).await;
    go().await.ok();
    assert_snapshot!(page_text(&go().await), @"400 Not connected This connection has been used already, or has expired; connect again.");
    assert_eq!(chat.provider.count("token authorization_code"), 1);
}

#[tokio::test]
async fn of_many_answers_at_once_with_one_state_one_is_used() {
    let chat = Chat::open().await;
    let (begun, back) = consented(&chat).await;
    let go = || async { chat.scenario.app.get(&back).header("cookie", &cookie(&begun)).await.status };
    let done = futures::future::join_all((0..20).map(|_| go())).await;
    assert_eq!(done.iter().filter(|status| status.is_success()).count(), 1, "{done:?}");
    assert_eq!(chat.provider.count("token authorization_code"), 1);
}

#[tokio::test]
async fn a_state_expires_after_ten_minutes() {
    let chat = Chat::open().await;
    let (begun, back) = consented(&chat).await;
    chat.scenario.app.pass(Duration::from_secs(600));
    let page = chat.scenario.app.get(&back).header("cookie", &cookie(&begun)).await;
    assert_snapshot!(page_text(&page), @"400 Not connected This connection has been used already, or has expired; connect again.");
    assert_eq!(chat.provider.count("token authorization_code"), 0);
}

#[tokio::test]
async fn a_made_up_state_is_refused() {
    let chat = Chat::open().await;
    let (_, back) = consented(&chat).await;
    let app = &chat.scenario.app;
    let long = "x".repeat(5000);
    let pages = [
        app.get(back.replace(state(&back), "made-up")).await,
        app.get("/api/v1/oauth/callback?code=x").await,
        app.get("/api/v1/oauth/callback").await,
        app.get(format!("{back}&state=twice")).await,
        app.get(format!("/api/v1/oauth/callback?state={long}")).await,
    ];
    assert_snapshot!(pages.map(|page| page_text(&page)).join("\n"), @"
    400 Not connected This connection has been used already, or has expired; connect again.
    400 Not connected This connection has been used already, or has expired; connect again.
    400 Not connected This connection has been used already, or has expired; connect again.
    400 Not connected The parameter state occurs twice.
    400 Not connected The authorization server's answer is too long.
    ");
}

#[tokio::test]
async fn another_users_browser_cannot_finish_a_connection_and_does_not_use_it_up() {
    let chat = Chat::open().await;
    let (app, carol) = (&chat.scenario.app, &chat.scenario.carol);
    let (begun, back) = consented(&chat).await;
    let others = chat.begin(carol).await.ok();
    // Carol's credential, and Carol's own cookie under the name of Bob's.
    let name = cookie(&begun).split('=').next().unwrap().to_owned();
    let value = cookie(&others).split('=').nth(1).unwrap().to_owned();
    let pages = [
        app.get(&back).as_user(carol).await,
        app.get(&back).header("cookie", &format!("{name}={value}")).await,
    ];
    assert_snapshot!(pages.map(|page| page_text(&page)).join("\n"), @"
    403 Not connected Somebody else began this connection; begin your own.
    403 Not connected Somebody else began this connection; begin your own.
    ");
    assert_eq!(chat.connection(carol).await.status, StatusCode::NOT_FOUND);
    app.get(&back).as_user(&chat.scenario.bob).await.ok();
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn a_browser_that_did_not_begin_is_asked_first() {
    let chat = Chat::open().await;
    let app = &chat.scenario.app;
    let (_, back) = consented(&chat).await;
    // Carol's cookie for her own connection proves nothing about this one.
    let others = chat.begin(&chat.scenario.carol).await.ok();
    let page = app.get(&back).header("cookie", &cookie(&others)).await;
    assert_snapshot!(app.shown(&page_text(&page)), @"200 Is this you? The account that you have just used at 127.0.0.1:[port] is about to be connected to chat for bob@example.com . Agents that this user grants the use of it will work there in your name. Go on only if this is you, and you began this. Connect If somebody sent you here, close this page: nothing has been connected.");
    assert_eq!(chat.provider.count("token authorization_code"), 0);
    assert_eq!(chat.connection(&chat.scenario.bob).await.status, StatusCode::NOT_FOUND);

    let query = back.split_once('?').unwrap().1;
    let confirm = |origin: &str| {
        let sent = app.post("/api/v1/oauth/callback").header("origin", origin);
        sent.body("application/x-www-form-urlencoded", query)
    };
    assert_snapshot!(page_text(&confirm("https://evil.example").await), @"403 Not connected This was not sent by our own page.");
    assert_eq!(confirm("https://deputize.test").await.ok().status, StatusCode::OK);
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn pages_run_nothing_load_nothing_and_are_not_framed() {
    let chat = Chat::open().await;
    let (_, back) = consented(&chat).await;
    let page = chat.scenario.app.get(back).await;
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self';"), "{policy}");
    assert!(policy.ends_with("base-uri 'none'; frame-ancestors 'none'"), "{policy}");
}

#[tokio::test]
async fn an_answer_from_another_issuer_is_not_used() {
    let mut told = Vec::new();
    // With a wrong `iss`; and without one, from a provider that says that it always sends one.
    for iss in ["&iss=https://evil.example", ""] {
        let chat = Chat::open().await;
        let (begun, back) = consented(&chat).await;
        let (rest, _) = back.split_once("&iss=").unwrap();
        let page = chat.scenario.app.get(format!("{rest}{iss}")).header("cookie", &cookie(&begun)).await;
        told.push(format!("{}\n{}", page_text(&page), chat.scenario.app.event_of(&page)));
        assert_eq!(chat.provider.count("token authorization_code"), 0);
        // It cannot be used later either, since it may be under attack.
        let again = chat.scenario.app.get(&back).header("cookie", &cookie(&begun)).await;
        assert_eq!(again.status, StatusCode::BAD_REQUEST);
    }
    assert_snapshot!(told.join("\n\n"), @r#"
    400 Not connected The answer is not from the authorization server that was asked, so it was not used; connect again, and tell your administrator if this happens again.
    action: "connection.create"
    audit_server: "chat"
    audit_user: "[bob]"
    detail: "The answer is not from the authorization server that was asked, so it was not used; connect again, and tell your administrator if this happens again"
    outcome: "failed"
    subject: "connection:chat"

    400 Not connected The answer is not from the authorization server that was asked, so it was not used; connect again, and tell your administrator if this happens again.
    action: "connection.create"
    audit_server: "chat"
    audit_user: "[bob]"
    detail: "The answer is not from the authorization server that was asked, so it was not used; connect again, and tell your administrator if this happens again"
    outcome: "failed"
    subject: "connection:chat"
    "#);
}

#[tokio::test]
async fn an_error_from_another_issuer_is_not_shown() {
    let chat = Chat::open().await;
    let (_, back) = consented(&chat).await;
    let state = state(&back);
    let forged =
        format!("/api/v1/oauth/callback?state={state}&error=CALL-0900&iss=https%3A%2F%2Fevil.example");
    let page = chat.scenario.app.get(forged).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(!page.text.contains("0900"), "{}", page.text);
}

#[tokio::test]
async fn a_provider_that_sends_no_iss_and_never_said_so_is_believed() {
    let chat = Chat::open().await;
    let silent = ("authorization_response_iss_parameter_supported", serde_json::Value::Null);
    chat.provider.script().metadata.extend([silent]);
    let (begun, back) = consented(&chat).await;
    let (rest, _) = back.split_once("&iss=").unwrap();
    chat.scenario.app.get(rest).header("cookie", &cookie(&begun)).await.ok();
    // If it sends one, it must be its own.
    let (begun, back) = consented(&chat).await;
    let (rest, _) = back.split_once("&iss=").unwrap();
    let page = chat.scenario.app.get(format!("{rest}&iss=x")).header("cookie", &cookie(&begun)).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_a_provider_says_is_escaped() {
    let chat = Chat::open().await;
    let mut pages = Vec::new();
    for error in [
        "error=access_denied",
        "error=server_error&error_description=%3Cscript%3Ealert(1)%3C/script%3E%0Atwo",
        "code=",
    ] {
        let (begun, back) = consented(&chat).await;
        let (state, iss) = (state(&back), back.split("&iss=").nth(1).unwrap());
        let path = format!("/api/v1/oauth/callback?state={state}&{error}&iss={iss}");
        let page = chat.scenario.app.get(path).header("cookie", &cookie(&begun)).await;
        assert!(!page.text.contains("<script"), "{}", page.text);
        pages.push(page_text(&page));
    }
    assert_snapshot!(pages.join("\n"), @"
    400 Not connected Access was declined at the authorization server, so nothing was connected.
    400 Not connected The authorization server answered server_error: &lt;script&gt;alert(1)&lt;/script&gt; two.
    400 Not connected The authorization server's answer has no code.
    ");
}

#[tokio::test]
async fn nobody_is_told_to_try_again_with_a_state_that_is_used_up() {
    let chat = Chat::open().await;
    let (begun, back) = consented(&chat).await;
    let (state, iss) = (state(&back), back.split("&iss=").nth(1).unwrap());
    let path = format!("/api/v1/oauth/callback?state={state}&error=access_denied&iss={iss}");
    let come_back = async || page_text(&chat.scenario.app.get(&path).header("cookie", &cookie(&begun)).await);
    chat.scenario.app.faults.always_on("BatchWriteItem", Fault::Throttled);
    let pages = [come_back().await, come_back().await];
    assert_snapshot!(pages.join("\n"), @"
    503 Not connected The service is temporarily unavailable; whether the change was made is unknown, so look before you repeat it.
    400 Not connected This connection has been used already, or has expired; connect again.
    ");
}

#[tokio::test]
async fn a_provider_that_fails_at_the_last_step_is_told_clearly_and_leaves_nothing() {
    let chat = Chat::open().await;
    let private = "http://169.254.169.254/latest/meta-data".to_owned();
    let html = "<html><script>alert(1)</script></html>".to_owned();
    let cases = [
        TokenEndpoint::Answers(StatusCode::OK, "application/json", "{\"access_token\":".to_owned()),
        TokenEndpoint::Answers(StatusCode::OK, "text/html", html.clone()),
        TokenEndpoint::Answers(StatusCode::BAD_REQUEST, "text/html", html),
        TokenEndpoint::Answers(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "oops".to_owned()),
        TokenEndpoint::Answers(StatusCode::OK, "application/json", "x".repeat(10 << 20)),
        TokenEndpoint::Answers(
            StatusCode::OK,
            "application/json",
            r#"{"access_token":"a\r\nX-Evil: 1","token_type":"bearer"}"#.to_owned(),
        ),
        TokenEndpoint::Answers(
            StatusCode::OK,
            "application/json",
            r#"{"access_token":"secret-text","token_type":"mac"}"#.to_owned(),
        ),
        TokenEndpoint::Answers(
            StatusCode::BAD_REQUEST,
            "application/json",
            r#"{"error":"invalid_target","error_description":"<b>no</b>"}"#.to_owned(),
        ),
        TokenEndpoint::RedirectsTo(private),
        TokenEndpoint::IsSilent,
    ];
    let mut pages = Vec::new();
    for case in cases {
        chat.provider.script().token_endpoint = case;
        let (begun, back) = consented(&chat).await;
        let page = chat.scenario.app.get(back).header("cookie", &cookie(&begun)).await;
        assert!(!page.text.contains("alert") && !page.text.contains("secret-text"), "{}", page.text);
        pages.push(page_text(&page));
        assert_eq!(chat.connection(&chat.scenario.bob).await.status, StatusCode::NOT_FOUND);
    }
    assert_snapshot!(pages.join("\n"), @"
    502 Not connected The authorization server gave no tokens: its answer is no token response; connect again.
    502 Not connected The authorization server gave no tokens: its answer is no token response; connect again.
    502 Not connected The authorization server gave no tokens: its answer is no token response; connect again.
    502 Not connected The authorization server gave no tokens: it answered HTTP 500 Internal Server Error; connect again.
    502 Not connected The authorization server gave no tokens: its answer is larger than 262144 bytes; connect again.
    502 Not connected The authorization server gave no tokens: its token cannot be sent; connect again.
    502 Not connected The authorization server gave no tokens: its tokens are of a type that is not supported; connect again.
    502 Not connected The authorization server refused to give tokens: invalid_target: &lt;b&gt;no&lt;/b&gt;.
    502 Not connected The authorization server gave no tokens: it redirects elsewhere, which is not followed; connect again.
    504 Not connected The authorization server gave no tokens: it took too long; connect again.
    ");
}

#[tokio::test]
async fn a_user_who_was_deactivated_meanwhile_is_not_connected() {
    let chat = Chat::open().await;
    let (begun, back) = consented(&chat).await;
    let (app, alice, bob) = (&chat.scenario.app, &chat.scenario.alice, &chat.scenario.bob);
    let body = serde_json::json!({ "active": false });
    app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&body).await.ok();
    let page = app.get(back).header("cookie", &cookie(&begun)).await;
    assert_snapshot!(page_text(&page), @"403 Not connected The account that began this has been deactivated.");
}
