//! The page on which a person connects, to which MCP clients send their user.

use deputize_tests::{TestRequest, TestResponse, User};
use insta::assert_snapshot;

use super::{Chat, cookie};

const PAGE: &str = "/connect/chat";

/// The page, as a browser in which `user` is signed in asks for it.
async fn seen(chat: &Chat, session: &str, path: &str) -> TestResponse {
    chat.scenario.app.get(path).header("cookie", session).await
}

/// The value of a field that the page's form sends by itself.
#[track_caller]
fn hidden(page: &TestResponse, name: &str) -> String {
    let field = page.text.split(&format!("name=\"{name}\" value=\"")).nth(1);
    field.unwrap_or_else(|| panic!("no {name}: {page}")).split('"').next().unwrap().to_owned()
}

/// The form, as a browser sends it from our page.
fn sent(chat: &Chat, session: &str, fields: &[(&str, &str)]) -> TestRequest {
    let ask = chat.scenario.app.post(PAGE).form(fields).header("cookie", session);
    ask.header("sec-fetch-site", "same-origin").header("origin", deputize_tests::app::URL)
}

/// The status, and the text of the page's main part.
#[track_caller]
fn text_of(page: &TestResponse) -> String {
    let main = page.text.split("<main>").nth(1).unwrap_or_else(|| panic!("no page: {page}"));
    let parts = main.split("</main>").next().unwrap().split('<');
    let words = parts.map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let text = words.collect::<Vec<_>>().join(" ");
    format!("{} {}", page.status.as_u16(), text.split_whitespace().collect::<Vec<_>>().join(" "))
}

async fn is_connected(chat: &Chat, user: &User) -> bool {
    chat.connection(user).await.status == 200
}

#[tokio::test]
async fn a_person_who_is_signed_in_connects_in_their_browser() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    let session = app.signed_in(bob).await;
    let page = seen(&chat, &session, PAGE).await;
    assert_snapshot!(text_of(&page), @"200 Connect to chat You go to where its accounts are, sign in there, and come back. Then it can be used in your name here, under the policies that are in force for you. You are signed in here as bob@example.com . Connect");
    let begun = sent(&chat, &session, &[("form_token", &hidden(&page, "form_token"))]).await;
    assert_eq!(begun.status, 303);
    let back = chat.provider.consent(begun.header("location").unwrap(), "bob");
    app.get(back).header("cookie", &cookie(&begun)).await.ok();
    assert!(is_connected(&chat, bob).await);
    assert_snapshot!(text_of(&seen(&chat, &session, PAGE).await), @"200 Connect to chat You are connected to it. To use another account, or to allow more, connect again. You go to where its accounts are, sign in there, and come back. Then it can be used in your name here, under the policies that are in force for you. You are signed in here as bob@example.com . Connect");
}

#[tokio::test]
async fn the_scope_that_a_client_was_told_is_asked_for() {
    let chat = Chat::open().await;
    let session = chat.scenario.app.signed_in(&chat.scenario.bob).await;
    let page = seen(&chat, &session, "/connect/chat?scope=chat%3Awrite").await;
    assert_eq!(hidden(&page, "scope"), "chat:write");
    let fields = [("form_token", &*hidden(&page, "form_token")), ("scope", "chat:write")];
    let begun = sent(&chat, &session, &fields).await;
    assert!(begun.header("location").unwrap().contains("chat%3Awrite"), "{begun}");
}

#[tokio::test]
async fn who_is_not_signed_in_signs_in_first_and_comes_back() {
    let chat = Chat::open().await;
    let answer = chat.scenario.app.get("/connect/chat?scope=chat%3Awrite").await;
    assert_snapshot!(answer.header("location").unwrap(), @"https://deputize.test/sign-in?return_to=%2Fconnect%2Fchat%3Fscope%3Dchat%253Awrite");
    let by_key = chat.scenario.app.get(PAGE).as_user(&chat.scenario.bob).await;
    assert_eq!(by_key.status, 303, "a page takes no other credential");
}

/// Nothing begins by a link, nor by another site's form, nor by a form of another session or for another server.
#[tokio::test]
async fn no_other_site_begins_a_connection_for_its_visitor() {
    let chat = Chat::open().await;
    let (app, bob, carol) = (&chat.scenario.app, &chat.scenario.bob, &chat.scenario.carol);
    app.server("other").at(chat.provider.mcp_url()).oauth().await;
    let (session, carols) = (app.signed_in(bob).await, app.signed_in(carol).await);
    let before = app.contents();
    let page = seen(&chat, &session, PAGE).await;
    let token = hidden(&page, "form_token");
    let others = hidden(&seen(&chat, &carols, PAGE).await, "form_token");
    let elsewhere = hidden(&seen(&chat, &session, "/connect/other").await, "form_token");
    let form = || app.post(PAGE).form(&[("form_token", &token)]).header("cookie", &session);
    let evil = "https://evil.example.com";
    let asks = [
        ("another site", form().header("sec-fetch-site", "cross-site").header("origin", evil)),
        ("another host of the site", form().header("sec-fetch-site", "same-site")),
        ("an old browser, another site", form().header("origin", evil)),
        ("a sandboxed frame", form().header("sec-fetch-site", "cross-site").header("origin", "null")),
        ("no browser", form()),
        ("no token", sent(&chat, &session, &[])),
        ("another session's token", sent(&chat, &session, &[("form_token", &others)])),
        ("another server's token", sent(&chat, &session, &[("form_token", &elsewhere)])),
    ];
    let mut told = Vec::new();
    for (what, ask) in asks {
        told.push(format!("{what}: {}", text_of(&ask.await)));
    }
    assert_snapshot!(told.join("\n"), @"
    another site: 403 Not from here Nothing was changed: the request does not come from a page of this service. Go to the start
    another host of the site: 403 Not from here Nothing was changed: the request does not come from a page of this service. Go to the start
    an old browser, another site: 403 Not from here Nothing was changed: the request does not come from a page of this service. Go to the start
    a sandboxed frame: 403 Not from here Nothing was changed: the request does not come from a page of this service. Go to the start
    no browser: 403 Not from here Nothing was changed: the request does not come from a page of this service. Go to the start
    no token: 403 Not connected Nothing was changed: this form is of another session. Load its page again, and send it again. Go to the start
    another session's token: 403 Not connected Nothing was changed: this form is of another session. Load its page again, and send it again. Go to the start
    another server's token: 403 Not connected Nothing was changed: this form is of another session. Load its page again, and send it again. Go to the start
    ");
    assert_eq!(app.contents(), before);
    assert_eq!(chat.provider.count("token authorization_code"), 0);
}

#[tokio::test]
async fn a_server_to_which_one_cannot_connect_is_told_as_that() {
    let chat = Chat::open().await;
    let app = &chat.scenario.app;
    app.server("open").await;
    let session = app.signed_in(&chat.scenario.bob).await;
    let mut told = Vec::new();
    for path in ["/connect/open", "/connect/none", "/connect/No.ne", "/connect/%3Cscript%3E"] {
        told.push(text_of(&seen(&chat, &session, path).await));
    }
    assert_snapshot!(told.join("\n"), @"
    400 Not connected This server asks for no OAuth, so there is nothing to connect to. Go to the start
    404 Not connected No such server. Go to the start
    404 Not connected No such thing: the id in the path is malformed. Go to the start
    404 Not connected No such thing: the id in the path is malformed. Go to the start
    ");
}

/// What others chose is text on the page.
#[tokio::test]
async fn a_scope_and_a_name_are_text_and_nothing_can_put_the_page_into_a_frame() {
    let chat = Chat::open().await;
    let app = &chat.scenario.app;
    let session = app.signed_in(&chat.scenario.bob).await;
    let scope = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let page = seen(&chat, &session, &format!("/connect/chat?scope={scope}")).await.ok();
    assert!(!page.text.contains("<script"), "{page}");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    let long = seen(&chat, &session, &format!("/connect/chat?scope={}", "a".repeat(2_000))).await.ok();
    assert!(!long.text.contains("aaaa"));
}
