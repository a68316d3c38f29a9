//! Nobody presses a person's buttons for them: no other site, no form of another session, none of another purpose. And
//! nobody is shown what is another person's.

use deputize_tests::{Person, TestRequest, TestResponse};
use http::StatusCode;

use crate::{connections::Chat, scenario::Scenario};

/// The forms of a page that change something: where each goes, and a value of each of its fields.
fn forms(page: &TestResponse) -> Vec<(String, Vec<(String, String)>)> {
    let forms = page.text.split(r#"<form method="post" action=""#).skip(1);
    let forms = forms.map(|form| {
        let form = form.split("</form>").next().unwrap();
        let (action, rest) = form.split_once('"').unwrap();
        let fields = rest.split(r#" name=""#).skip(1).filter_map(|field| {
            let (name, rest) = field.split_once('"')?;
            let value = rest.split_once(r#" value=""#)?.1.split('"').next()?;
            Some((name.to_owned(), value.to_owned()))
        });
        let mut fields: Vec<(String, String)> = fields.collect();
        let mut seen = std::collections::HashSet::new();
        fields.retain(|(name, _)| seen.insert(name.clone()));
        (action.to_owned(), fields)
    });
    forms.collect()
}

async fn pages(browser: &Person<'_>, agent: &str) -> Vec<TestResponse> {
    let mut pages = Vec::new();
    for address in [
        "/".to_owned(),
        "/delegations/end-all".to_owned(),
        format!("/delegate/{agent}"),
        "/connections/chat".to_owned(),
        "/connections/chat/disconnect".to_owned(),
        format!("/connections/chat/lend?agent={agent}"),
        "/apps".to_owned(),
        "/keys".to_owned(),
    ] {
        pages.push(browser.open(&address).await.ok());
    }
    pages
}

fn key_of(listed: &TestResponse) -> String {
    let keys: serde_json::Value = listed.json();
    keys[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_other_site_and_no_other_session_presses_any_button() {
    let chat = Chat::open().await;
    let Scenario { app, alice, bob, carol, bot } = &chat.scenario;
    app.delegate(bot, carol).await;
    chat.connect_and_grant(bob, true).await;
    app.allow_tools(bob).await;
    let (browser, carols) = (app.person(bob).await, app.person(carol).await);
    let _elsewhere = app.person(bob).await;
    let agent = bot.id.to_string();
    // One delegation and one key have just ended, so that their ends can be undone.
    let ended = app.agent("ended", alice).await;
    app.delegate(&ended, bob).await;
    let keys = format!("/api/v1/api-keys/{}", key_of(&app.get("/api/v1/api-keys").as_user(bob).await.ok()));
    let delegations: serde_json::Value = app.get("/api/v1/delegations").as_user(bob).await.ok().json();
    let gone = delegations.as_array().unwrap().iter().find(|made| made["agent_account_id"] != agent.as_str());
    let gone = format!("/api/v1/delegations/{}", gone.unwrap()["id"].as_str().unwrap());
    app.delete(gone).as_user(bob).await.ok();
    let other = app.with_new_key(bob).await;
    app.delete(&keys).as_user(&other).await.ok();
    let mut shown = pages(&browser, &agent).await;
    shown.push(browser.open(&format!("/?ended={}", ended.id)).await.ok());
    shown.push(browser.open(&format!("/keys?deleted={}", keys.rsplit('/').next().unwrap())).await.ok());
    let mine: Vec<_> = shown.iter().flat_map(forms).collect();
    let theirs = carols.open("/keys").await.ok();
    let token_of_theirs = forms(&theirs)[0].1[0].1.clone();
    // The end of the delegation and of all, the connection's and the app's end, a key made and deleted, and more.
    let goes_to: std::collections::BTreeSet<&str> = mine.iter().map(|(action, _)| &**action).collect();
    assert_eq!(goes_to.len(), 13, "{goes_to:?}");
    let before = app.contents();
    for (action, fields) in &mine {
        let fields = |token: Option<&str>| -> Vec<(&str, String)> {
            let all = fields.iter().map(|(name, value)| match (&**name, token) {
                ("form_token", Some(token)) => ("form_token", token.to_owned()),
                (name, _) => (name, value.clone()),
            });
            all.collect()
        };
        let send = |fields: &[(&str, String)]| -> TestRequest {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            browser.send(action, &fields)
        };
        let own = fields(None);
        for (what, sent) in [
            ("another site", send(&own).header("sec-fetch-site", "cross-site")),
            ("a neighbour", send(&own).header("sec-fetch-site", "same-site")),
            ("a sandboxed frame", send(&own).header("origin", "null")),
            ("no token", send(&fields(Some("")))),
            ("another session's token", send(&fields(Some(&token_of_theirs)))),
        ] {
            assert_eq!(sent.await.status, StatusCode::FORBIDDEN, "{action}: {what}");
        }
        // A token is for one purpose.
        for (other, others) in &mine {
            let token = &others.iter().find(|(name, _)| name == "form_token").unwrap().1;
            if own.iter().any(|(_, value)| value == token) {
                continue;
            }
            assert_eq!(send(&fields(Some(token))).await.status, StatusCode::FORBIDDEN, "{action} by {other}");
        }
    }
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_sign_in_from_every_page_and_button() {
    let it = Scenario::start().await;
    let (app, agent) = (&it.app, it.bot.id);
    for address in [
        "/".to_owned(),
        "/delegate".to_owned(),
        format!("/delegate/{agent}"),
        "/delegations/end-all".to_owned(),
        "/connections".to_owned(),
        "/connections/chat".to_owned(),
        "/connections/chat/disconnect".to_owned(),
        format!("/connections/chat/lend?agent={agent}"),
        "/apps".to_owned(),
        "/keys".to_owned(),
        "/activity".to_owned(),
        "/activity/3fa85f64-5717-4562-b3fc-2c963f66afa6".to_owned(),
    ] {
        let sent = app.nobody().open(&address).await.sent_to();
        assert_eq!(sent.path(), "/sign-in", "{address}");
        // A key is no browser's credential.
        assert_eq!(app.get(&address).as_user(&it.alice).await.sent_to().path(), "/sign-in", "{address}");
    }
    for address in [
        "/delegations/end",
        "/delegations/undo",
        "/delegations/end-all",
        "/connections/chat/disconnect",
        "/connections/chat/lend",
        "/connections/chat/take-back",
        "/apps",
        "/apps/browsers",
        "/keys",
        "/keys/delete",
        "/keys/restore",
    ] {
        assert_eq!(app.nobody().send(address, &[]).await.sent_to().path(), "/sign-in", "{address}");
    }
}

#[tokio::test]
async fn every_page_has_the_headers_that_keep_it_safe_and_holds_no_script_and_no_style() {
    let chat = Chat::open().await;
    let Scenario { app, bob, bot, .. } = &chat.scenario;
    chat.connect_and_grant(bob, true).await;
    for page in pages(&app.person(bob).await, &bot.id.to_string()).await {
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert!(!page.text.contains("<script") && !page.text.contains(" style="), "{page}");
    }
}
