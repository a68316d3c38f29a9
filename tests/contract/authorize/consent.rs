//! The page that asks a person, and what their answer does.

use std::{fmt::Write, time::Duration};

use deputize_tests::{
    Person, Provider, TestApp, TestResponse,
    documents::{DOCUMENT, metadata},
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{CALLBACK, CHALLENGE, Desk, HERE, redeem, register, registered, request};

const GITHUB: (&str, &str) = ("resource", "https://deputize.test/api/v1/proxy/github/mcp");

#[tokio::test]
async fn a_person_sees_who_asks_for_what_allows_it_and_the_app_works() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    let page = browser.authorize(&request(&id, HERE, &[GITHUB, ("scope", "openid tools:call")])).await.ok();
    assert_snapshot!(page.words(), @"
    Let a program on this computer use github as you?
    Unverified
    It calls itself “Cursor”. Any program can use that name.
    You, bob@example.com
    Use another account
    A program on this computer
    The answer goes to
    http://127.0.0.1:51789
    github
    The tools that you may use there
    It will be able to
    call github tools as you
    go on until you end it, at most to
    15 Jan 2027
    It will not be able to
    see your password or your github credentials
    change your delegations or keys
    Allow it only if you started this yourself, just now, in that program. Never because of a link that somebody sent you.
    Allow
    Don’t allow
    You can end it at any time under Apps. It ends by itself after 90 days without use.
    ");
    let answer = browser.press(&page, "allow").await;
    assert_eq!(answer.sent_to().as_str().split('?').next(), Some(HERE));
    assert_eq!(answer.sent_with("state").as_deref(), Some("st&te"));
    assert_eq!(answer.sent_with("iss").as_deref(), Some("https://deputize.test"));
    let tokens = redeem(&desk.app, &id, HERE, &answer.sent_with("code").unwrap()).await.ok().json();
    assert!(tokens["refresh_token"].is_string(), "{tokens}");
    desk.app.call_it("app", deputize_core::apps::app_id(&id).as_str());
    assert_snapshot!(desk.app.event_of(&answer), @r#"
    action: "authorization.create"
    audit_user: "[bob]"
    client_id: "[app]"
    credential: "browser_session:[bob's browser session]"
    detail: "Cursor: tools:call at https://deputize.test/api/v1/proxy/github/mcp"
    outcome: "allowed"
    subject: "authorization:[uuid]"
    "#);
}

#[tokio::test]
async fn who_asks_is_named_by_what_is_proven() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let alice = desk.app.user("alice").admin().await;
    let mut apps = Vec::new();
    for uri in [HERE, "cursor://anysphere.cursor-mcp/oauth/callback", "https://evil.test/cb"] {
        apps.push((registered(&desk.app, "Claude", uri).await, uri));
    }
    apps.push((DOCUMENT.to_owned(), CALLBACK));
    apps.push((DOCUMENT.to_owned(), "http://localhost:1/callback"));
    for uri in [CALLBACK, HERE] {
        let new = json!({ "name": "Payroll", "redirect_uris": [uri] });
        let made = desk.app.post("/api/v1/apps").as_user(&alice).json(&new).await.ok();
        apps.push((made.field("client_id"), uri));
    }
    let mut table = String::new();
    for (id, uri) in &apps {
        let page = browser.authorize(&request(id, uri, &[GITHUB])).await.ok();
        let words = page.words();
        let proof: Vec<&str> = words.lines().skip(1).take_while(|line| !line.starts_with("You, ")).collect();
        let filled = page.text.contains("button primary");
        write!(table, "{}\n  {}\n  filled: {filled}\n", page.title(), proof.join(" ")).unwrap();
    }
    assert_snapshot!(table, @"
    Let a program on this computer use github as you?
      Unverified It calls itself “Claude”. Any program can use that name.
      filled: false
    Let a program on this computer use github as you?
      Unverified It calls itself “Claude”. Any program can use that name.
      filled: false
    Let an app at evil.test use github as you?
      Unverified It calls itself “Claude”. Any app can use that name.
      filled: false
    Let app.example.com use github as you?
      It is the app of app.example.com . It calls itself “Example App”.
      filled: true
    Let a program on this computer use github as you?
      Unverified It says that it is “Example App” of app.example.com. Any program on this computer can say that.
      filled: false
    Let Payroll use github as you?
      Known Your organization has registered this app.
      filled: true
    Let a program on this computer use github as you?
      Unverified It uses the registration of “Payroll”. Any program on this computer can do that.
      filled: false
    ");
}

#[tokio::test]
async fn what_is_asked_is_named() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let mut table = String::new();
    for more in [
        &[][..],
        &[("scope", "offline_access")],
        &[GITHUB],
        &[GITHUB, ("scope", "manage")],
        &[("resource", "https://deputize.test/"), ("resource", "https://deputize.test/api/v1/proxy?x=1")],
        &[("resource", "https://deputize.test/api/v1"), ("scope", "manage offline_access")],
        &[("resource", "https://deputize.test/api/v1"), ("scope", "tools:call")],
    ] {
        let page = browser.authorize(&request(DOCUMENT, CALLBACK, more)).await.ok();
        let words = page.words().replace('\n', " ");
        let can = words.split("It will be able to").nth(1).unwrap_or(" what was allowed before");
        let can = can.split("Allow it only").next().unwrap();
        browser.press(&page, "allow").await.sent_to();
        let listed = desk.app.get("/api/v1/authorizations").as_user(&desk.bob).await.ok().json();
        let mut scopes: Vec<String> =
            listed.as_array().unwrap().iter().map(|one| one["scope"].to_string()).collect();
        scopes.sort();
        write!(table, "{}\n  can{can}\n  {}\n", page.title(), scopes.join(" ")).unwrap();
    }
    assert_snapshot!(table, @r#"
    Let app.example.com use every server as you?
      can call all tools as you go on until you end it, at most to 15 Jan 2027 It will not be able to see your password or your credentials change your delegations or keys 
      "tools:call"
    Let app.example.com use every server as you?
      can call all tools as you go on until you end it, at most to 15 Jan 2027 It will not be able to see your password or your credentials change your delegations or keys 
      "tools:call offline_access" "tools:call"
    Let app.example.com use github as you?
      can call github tools as you go on until you end it, at most to 15 Jan 2027 It will not be able to see your password or your github credentials change your delegations or keys 
      "tools:call offline_access" "tools:call" "tools:call"
    Let app.example.com use github as you?
      can what was allowed before
      "tools:call offline_access" "tools:call" "tools:call"
    Let app.example.com use every server as you?
      can what was allowed before
      "tools:call offline_access" "tools:call" "tools:call"
    Let app.example.com manage your agents as you?
      can change your delegations and connections go on until you end it, at most to 15 Jan 2027 It will not be able to see your password or your credentials make keys, change your email, or be an admin 
      "manage offline_access" "tools:call offline_access" "tools:call" "tools:call"
    Let app.example.com manage your agents as you?
      can change your delegations and connections go on until you end it, at most to 15 Jan 2027 It will not be able to see your password or your credentials make keys, change your email, or be an admin 
      "manage offline_access" "manage" "tools:call offline_access" "tools:call" "tools:call"
    "#);
}

#[tokio::test]
async fn what_an_app_calls_itself_gets_into_no_heading_or_button_and_is_shown_without_tricks() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    for (name, shown) in [
        ("Claude", "Claude"),
        ("C\u{202e}laude\u{2066}", "Claude"),
        (
            "<img src=https://evil.test/x><script>alert(1)</script>",
            "<img src=https://evil.test/x><script>alert(1)</script>",
        ),
        ("Your organization\u{0} has\n\nregistered this app", "Your organization has registered this app"),
        (&"x".repeat(10_000), &format!("{}…", "x".repeat(60))),
    ] {
        let metadata = json!({
            "client_name": name, "redirect_uris": [HERE], "token_endpoint_auth_method": "none",
            "logo_uri": "https://evil.test/logo.png", "client_uri": "https://evil.test/",
        });
        let id = register(&desk.app, &metadata).await.ok().field("client_id");
        let page = browser.authorize(&request(&id, HERE, &[GITHUB])).await.ok();
        assert_eq!(page.title(), "Let a program on this computer use github as you?");
        assert!(page.words().contains(&format!("It calls itself “{shown}”.")), "{}", page.words());
        assert!(!page.text.contains("<img") && !page.text.contains("<script"), "{name}");
        assert!(!page.text.contains("logo.png") && !page.text.contains('\u{202e}'));
        assert_eq!(page.text.matches("https://evil.test").count(), page.text.matches("&lt;img").count());
    }
}

#[tokio::test]
async fn it_cannot_be_framed_runs_no_script_and_its_policy_does_not_hold_the_redirect_up() {
    let desk = Desk::set().await;
    let page = desk.browser().await.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("form-action") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert_eq!(page.header("cross-origin-opener-policy"), None);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let tags = page.text.split('<').map(|rest| rest.split('>').next().unwrap());
    let scripts =
        tags.filter(|tag| tag.starts_with("script") || tag.contains(" on") || tag.contains(" style="));
    assert_eq!(scripts.collect::<Vec<_>>(), Vec::<&str>::new());
    // The buttons take a pointer after a while.
    let style = page.text.split("stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = desk.app.get(style).await.ok().text;
    assert!(style.contains(".answer .button { animation: arm 0.6s step-end; }"));
    assert!(style.contains("@keyframes arm { from { pointer-events: none; }"));
}

#[tokio::test]
async fn no_other_site_can_answer_for_a_person() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")][..],
        &[("sec-fetch-site", "same-site"), ("origin", "https://other.deputize.test")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        &[],
    ] {
        let mut sent = browser.post(&page, "allow");
        for (name, value) in headers {
            sent = sent.header(name, value);
        }
        assert_eq!(sent.await.status, 403, "{headers:?}");
    }
    // A page of ours that knows no token, or one of another session's or another request's.
    let carol = desk.app.user("carol").await;
    let others = desk.app.person(&carol).await.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let other = browser.authorize(&request(DOCUMENT, CALLBACK, &[("state", "other")])).await.ok();
    let action = page.form_action();
    let token = |page: &deputize_tests::TestResponse| {
        page.text.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    for token in ["", "x", &token(&others), &token(&other)] {
        let cookie = desk.app.signed_in(&desk.bob).await;
        let sent = desk.app.post(&*action).header("cookie", &cookie).header("sec-fetch-site", "same-origin");
        let answer = sent.form(&[("answer", "allow"), ("form_token", token)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (409, None));
    }
    assert!(!desk.app.trail().iter().any(|event| event["action"] == "authorization.create"));
    // A browser without `Sec-Fetch-Site`.
    let answer = browser.post(&page, "allow").header("origin", "https://deputize.test").await;
    assert!(answer.sent_with("code").is_some());
}

#[tokio::test]
async fn a_reload_spoils_nothing_and_two_tabs_do_not_mix() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let one = registered(&desk.app, "One", HERE).await;
    let two = registered(&desk.app, "Two", CALLBACK).await;
    let first = browser.authorize(&request(&one, HERE, &[("state", "1")])).await.ok();
    let second = browser.authorize(&request(&two, CALLBACK, &[("state", "2")])).await.ok();
    browser.authorize(&request(&one, HERE, &[("state", "1")])).await.ok();
    let answer = browser.press(&second, "deny").await;
    assert_eq!((answer.sent_with("state").as_deref(), answer.sent_with("code")), (Some("2"), None));
    let answer = browser.press(&first, "allow").await;
    assert_eq!(answer.sent_with("state").as_deref(), Some("1"));
    redeem(&desk.app, &one, HERE, &answer.sent_with("code").unwrap()).await.ok();
}

#[tokio::test]
async fn who_does_not_allow_it_sends_the_app_an_error() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let answer = browser.press(&page, "deny").await;
    assert_snapshot!(answer.sent_to(), @"https://app.example.com/callback?error=access_denied&error_description=The+user+did+not+allow+it&state=st%26te&iss=https%3A%2F%2Fdeputize.test");
    assert_snapshot!(desk.app.event_of(&answer), @r#"
    action: "authorization.create"
    audit_user: "[bob]"
    client_id: "https://app.example.com/oauth/client.json"
    credential: "browser_session:[bob's browser session]"
    detail: "The user did not allow it"
    outcome: "denied"
    "#);
    assert_eq!(desk.app.get("/api/v1/authorizations").as_user(&desk.bob).await.ok().json(), json!([]));
}

#[tokio::test]
async fn having_allowed_an_app_before_shortens_the_page_and_never_skips_it() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    // `login` leads to signing in first: see `prompt`.
    for prompt in ["", "consent"] {
        let page = browser.authorize(&request(&id, HERE, &[("prompt", prompt)])).await.ok();
        browser.press(&page, "allow").await.sent_with("code").unwrap();
    }
    desk.app.pass(Duration::from_hours(24 * 3));
    let browser = desk.browser().await;
    let page = browser.authorize(&request(&id, HERE, &[])).await.ok();
    assert!(page.words().contains("You allowed this on\n15 Jan 2026"), "{}", page.words());
    assert!(!page.words().contains("It will be able to"));
    assert!(page.words().contains("Never because of a link that somebody sent you."));
    let before = desk.app.get("/api/v1/authorizations").as_user(&desk.bob).await.ok().json();
    browser.press(&page, "allow").await.sent_with("code").unwrap();
    let after = desk.app.get("/api/v1/authorizations").as_user(&desk.bob).await.ok().json();
    // The same one, with its year begun anew.
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert_eq!(after[0]["id"], before[0]["id"]);
    assert_eq!(after[0]["allowed_at"], "2026-01-18T09:00:00.000Z");
    // Something else is asked as if for the first time.
    for more in [&[GITHUB][..], &[("scope", "offline_access")]] {
        let page = browser.authorize(&request(&id, HERE, more)).await.ok();
        assert!(page.words().contains("It will be able to"), "{}", page.words());
    }
}

/// RFC 8252 section 8.6, and a second authorization server between a person and an app that they once allowed: what it
/// starts with the app's id does not come through without the person.
#[tokio::test]
async fn nobody_else_gets_a_code_by_what_a_person_once_allowed() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    browser.press(&page, "allow").await.sent_with("code").unwrap();
    let challenge = "A".repeat(43);
    let theirs = request(DOCUMENT, CALLBACK, &[("state", "theirs"), ("code_challenge", &challenge)]);
    let page = browser.authorize(&theirs).await;
    assert_eq!((page.status.as_u16(), page.header("location")), (200, None));
    assert!(page.words().contains("Never because of a link"));
    let silent = [theirs, vec![("prompt", "none")]].concat();
    let page = browser.authorize(&silent).await;
    assert_eq!((page.status.as_u16(), page.header("location")), (400, None));
    assert!(page.way_back().unwrap().contains("error=consent_required"));
}

#[tokio::test]
async fn an_authorization_ends_with_its_year_without_use_and_with_its_user() {
    let desk = Desk::set().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    let listed = async || desk.app.get("/api/v1/authorizations").as_user(&desk.bob).await.ok().json();
    let allow = async || {
        let browser = desk.browser().await;
        let page = browser.authorize(&request(&id, HERE, &[])).await.ok();
        let words = page.words();
        browser.press(&page, "allow").await.sent_with("code").unwrap();
        words
    };
    allow().await;
    desk.app.pass(Duration::from_hours(24 * 90));
    assert_eq!(listed().await, json!([]));
    assert!(allow().await.contains("It will be able to"));
    let first = listed().await[0]["id"].clone();
    // What has ended is gone from the table, too.
    let kept = desk.app.contents().into_keys().filter(|key| key.contains(" AUTHORIZATION#")).count();
    assert_eq!(kept, 1);
    let alice = desk.app.user("alice").admin().await;
    for active in [false, true] {
        let user = format!("/api/v1/users/{}", desk.bob.id);
        desk.app.patch(user).as_user(&alice).json(&json!({ "active": active })).await.ok();
    }
    assert!(allow().await.contains("It will be able to"));
    let bob = desk.app.with_new_key(&desk.bob).await;
    let listed = desk.app.get("/api/v1/authorizations").as_user(&bob).await.ok().json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "what ended is not listed");
    assert_ne!(listed[0]["id"], first);
}

#[tokio::test]
async fn a_user_has_at_most_two_hundred_and_the_longest_unused_goes() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let mut first = String::new();
    for n in 0..201 {
        let id = registered(&desk.app, &format!("n{n}"), HERE).await;
        let page = browser.authorize(&request(&id, HERE, &[])).await.ok();
        browser.press(&page, "allow").await.sent_with("code").unwrap();
        desk.app.pass(Duration::from_secs(1));
        if n == 0 {
            first = id;
        }
    }
    let kept: Vec<String> =
        desk.app.contents().into_keys().filter(|key| key.contains(" AUTHORIZATION#")).collect();
    assert_eq!(kept.len(), 200);
    let page = browser.authorize(&request(&first, HERE, &[])).await.ok();
    assert!(page.words().contains("It will be able to"), "{}", page.words());
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_leads_to_signing_in_and_back() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    desk.app.pass(Duration::from_hours(13));
    let answer = browser.press(&page, "allow").await;
    assert_eq!(answer.sent_to().path(), "/sign-in");
    assert_eq!(answer.sent_with("return_to").unwrap(), page.form_action());
}

mod trusted {
    use super::*;

    /// A trusted app with a secret, and what an admin can do.
    async fn set() -> (Desk, String) {
        let desk = Desk::set().await;
        let alice = desk.app.user("alice").admin().await;
        let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK], "trusted": true });
        let made = desk.app.post("/api/v1/apps").as_user(&alice).json(&new).await.ok();
        let id = made.field("client_id");
        desk.app.call_it("payroll", &id);
        (desk, id)
    }

    #[tokio::test]
    async fn a_trusted_app_that_was_allowed_once_is_not_asked_about_again() {
        let (desk, id) = set().await;
        let browser = desk.browser().await;
        let silent = [("prompt", "none")];
        let refused = browser.authorize(&request(&id, CALLBACK, &silent)).await;
        assert_eq!(refused.sent_with("error").as_deref(), Some("consent_required"));
        let page = browser.authorize(&request(&id, CALLBACK, &[])).await.ok();
        assert_eq!(page.title(), "Let Payroll use every server as you?");
        browser.press(&page, "allow").await.sent_with("code").unwrap();
        for more in [&[][..], &silent] {
            let answer = browser.authorize(&request(&id, CALLBACK, more)).await;
            redeem(&desk.app, &id, CALLBACK, &answer.sent_with("code").unwrap()).await.ok();
            assert_eq!(answer.sent_with("iss").as_deref(), Some("https://deputize.test"));
        }
        browser.authorize(&request(&id, CALLBACK, &[("prompt", "consent")])).await.ok();
        // What it was not allowed is asked.
        browser.authorize(&request(&id, CALLBACK, &[GITHUB])).await.ok();
        // And everything after a year.
        desk.app.pass(Duration::from_hours(24 * 365));
        desk.browser().await.authorize(&request(&id, CALLBACK, &[])).await.ok();
    }

    #[tokio::test]
    async fn a_trusted_app_gets_errors_at_once() {
        let (desk, id) = set().await;
        let browser = desk.browser().await;
        let answer = browser.authorize(&request(&id, CALLBACK, &[("code_challenge_method", "plain")])).await;
        assert_eq!(answer.sent_with("error").as_deref(), Some("invalid_request"));
        assert_eq!(answer.sent_with("state").as_deref(), Some("st&te"));
        let answer = desk.app.nobody().authorize(&request(&id, CALLBACK, &[("prompt", "none")])).await;
        assert_eq!(answer.sent_with("error").as_deref(), Some("login_required"));
        // Never to an address that is not its own.
        let asked = request(&id, "https://evil.test/cb", &[("prompt", "none")]);
        assert_eq!(browser.authorize(&asked).await.status, 400);
        assert_eq!(desk.app.nobody().authorize(&asked).await.status, 400);
    }
}

mod connecting {
    use super::*;

    async fn set(provider: &Provider) -> (TestApp, deputize_tests::User, String) {
        let app = TestApp::start().await;
        let bob = app.user("bob").await;
        app.server("slack").oauth().at(provider.mcp_url()).await;
        let id = registered(&app, "Cursor", HERE).await;
        (app, bob, id)
    }

    const SLACK: (&str, &str) = ("resource", "https://deputize.test/api/v1/proxy/slack/mcp");

    /// Allows the app the server, and answers the page that comes after it.
    async fn led_on_to_connecting(browser: &Person<'_>, id: &str) -> TestResponse {
        let page = browser.authorize(&request(id, HERE, &[SLACK])).await.ok();
        let on = browser.press(&page, "allow").await;
        browser.open(on.header("location").unwrap()).await.ok()
    }

    #[tokio::test]
    async fn allowing_a_server_that_needs_an_account_leads_on_to_connecting_it_and_then_to_the_app() {
        let provider = Provider::start().await;
        let (app, bob, id) = set(&provider).await;
        let browser = app.person(&bob).await;
        let page = browser.authorize(&request(&id, HERE, &[SLACK])).await.ok();
        let on = browser.press(&page, "allow").await;
        assert_eq!(on.sent_to().path(), "/api/v1/oauth/authorize");
        let page = browser.open(on.header("location").unwrap()).await.ok();
        assert_eq!(page.title(), "Connect your slack account?");
        let on = browser.press(&page, "connect").await;
        let cookie = on.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let back = provider.consent(on.sent_to().as_str(), "bob");
        app.pass(Duration::from_secs(599));
        let on = app.get(back).header("cookie", &cookie).await;
        let page = browser.open(on.header("location").unwrap()).await.ok();
        assert!(page.words().starts_with("Connected\nslack is connected."), "{}", page.words());
        let answer = browser.press(&page, "go_on").await;
        assert_eq!(answer.sent_with("state").as_deref(), Some("st&te"));
        redeem(&app, &id, HERE, &answer.sent_with("code").unwrap()).await.ok();
        // Whoever is connected is not asked.
        let page = browser.authorize(&request(&id, HERE, &[SLACK])).await.ok();
        browser.press(&page, "allow").await.sent_with("code").unwrap();
    }

    #[tokio::test]
    async fn connecting_can_be_skipped() {
        let provider = Provider::start().await;
        let (app, bob, id) = set(&provider).await;
        let browser = app.person(&bob).await;
        let page = led_on_to_connecting(&browser, &id).await;
        let code = browser.press(&page, "go_on").await.sent_with("code").unwrap();
        redeem(&app, &id, HERE, &code).await.ok();
    }

    #[tokio::test]
    async fn a_provider_that_fails_is_said_on_the_page_which_still_leads_on() {
        let provider = Provider::start().await;
        let (app, bob, id) = set(&provider).await;
        provider.script().metadata.insert("code_challenge_methods_supported", Value::Null);
        let browser = app.person(&bob).await;
        let page = led_on_to_connecting(&browser, &id).await;
        let page = browser.press(&page, "connect").await;
        assert_eq!(page.status, 502);
        assert!(page.words().contains("PKCE"), "{}", page.words());
        browser.press(&page, "go_on").await.sent_with("code").unwrap();
    }

    #[tokio::test]
    async fn a_person_who_declines_at_the_provider_goes_back_to_where_they_were() {
        let provider = Provider::start().await;
        let (app, bob, id) = set(&provider).await;
        let browser = app.person(&bob).await;
        let page = led_on_to_connecting(&browser, &id).await;
        let declined = async || {
            let on = browser.press(&page, "connect").await;
            let cookie = on.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
            let back = provider.consent(on.sent_to().as_str(), "bob");
            let (path, query) = back.split_once('?').unwrap();
            let answer = query.split('&').filter(|part| !part.starts_with("code="));
            let answer = answer.collect::<Vec<_>>().join("&");
            (app.get(format!("{path}?error=access_denied&{answer}")), cookie)
        };
        // Only in the browser in which it began.
        let (elsewhere, _) = declined().await;
        let told = elsewhere.await;
        assert!(told.text.contains("Access was declined at the authorization server"), "{told}");
        assert!(!told.text.contains("<a "), "{told}");

        let (here, cookie) = declined().await;
        let told = here.header("cookie", &cookie).await;
        assert_eq!(told.status, 400, "{told}");
        let (_, rest) = told.text.split_once(r#"<a href=""#).unwrap();
        let way = rest.split('"').next().unwrap().replace("&amp;", "&");
        let page = browser.open(&way).await.ok();
        assert_eq!(page.title(), "Connect your slack account?");
        let code = browser.press(&page, "go_on").await.sent_with("code").unwrap();
        redeem(&app, &id, HERE, &code).await.ok();
    }

    /// Nobody gets to the second page, and so to a code, without the first.
    #[tokio::test]
    async fn the_second_page_is_for_who_has_just_answered_the_first() {
        let provider = Provider::start().await;
        let (app, bob, id) = set(&provider).await;
        let browser = app.person(&bob).await;
        let page = browser.authorize(&request(&id, HERE, &[SLACK])).await.ok();
        let on = browser.press(&page, "allow").await;
        let step = on.sent_with("step").unwrap();
        // Another's request, right after.
        let theirs = request(&id, HERE, &[SLACK, ("state", "theirs"), ("step", &step)]);
        let page = browser.authorize(&theirs).await.ok();
        assert!(page.title().starts_with("Let a program on this computer"), "{}", page.title());
        let page = browser.open(on.header("location").unwrap()).await.ok();
        assert_eq!(page.title(), "Connect your slack account?");
        // The buttons of one page are not those of the other.
        for answer in ["allow", "deny", "something"] {
            let again = browser.press(&page, answer).await;
            assert_eq!((again.status.as_u16(), again.header("location")), (409, None), "{answer}");
        }
        app.pass(Duration::from_mins(20));
        let late = browser.press(&page, "go_on").await;
        assert_eq!((late.status.as_u16(), late.header("location")), (200, None));
        let late = browser.open(on.header("location").unwrap()).await.ok();
        assert!(late.title().starts_with("Let a program on this computer"), "{}", late.title());
    }
}

#[tokio::test]
async fn pkce_cannot_be_taken_out() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    let with = async |verifier: &[(&str, &str)]| {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", DOCUMENT),
            ("code", &*code),
            ("redirect_uri", CALLBACK),
        ];
        fields.extend_from_slice(verifier);
        desk.app.token(&fields).await.status.as_u16()
    };
    assert_eq!(with(&[]).await, 400);
    assert_eq!(with(&[("code_verifier", CHALLENGE)]).await, 400);
    redeem(&desk.app, DOCUMENT, CALLBACK, &code).await.ok();
}

#[tokio::test]
async fn an_app_with_another_document_does_not_redeem_the_code() {
    let desk = Desk::set().await;
    let other = "https://other.example.com/client.json";
    let mut document = metadata();
    document["client_id"] = other.into();
    desk.documents.say(other, &document);
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    assert_eq!(redeem(&desk.app, other, CALLBACK, &code).await.status, 400);
    redeem(&desk.app, DOCUMENT, CALLBACK, &code).await.ok();
}
