//! Attacks on the authorization endpoint that are in no other file: what an admin or the person ends at the same moment,
//! a host that is written in another way, and what a request may carry.

use std::fmt::Write;

use deputize_tests::{
    AppClient, Provider, TestApp, TestResponse,
    documents::{DOCUMENT, metadata},
    person::authorize_path,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{CALLBACK, Desk, HERE, redeem, register, registered, request};

async fn allowed(app: &TestApp, user: &deputize_tests::User) -> Vec<Value> {
    let listed = app.get("/api/v1/authorizations").as_user(user).await.ok().json();
    listed.as_array().unwrap().clone()
}

/// The user revokes all that they allowed.
async fn revoke_all(app: &TestApp, user: &deputize_tests::User) {
    for one in allowed(app, user).await {
        let address = format!("/api/v1/users/{}/authorizations/{}", user.id, one["id"].as_str().unwrap());
        app.delete(address).as_user(user).await.ok();
    }
}

/// What was allowed earlier gives a code without a question. A revocation at that moment must not be undone by it.
#[tokio::test]
async fn a_revocation_is_not_undone_by_a_trusted_app_that_asks_at_that_moment() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let new = json!({ "name": "Payroll", "redirect_uris": [CALLBACK], "trusted": true });
    let id = desk.app.post("/api/v1/apps").as_user(&alice).json(&new).await.ok().field("client_id");
    let browser = desk.browser().await;
    for prompt in ["", "none"] {
        let page = browser.authorize(&request(&id, CALLBACK, &[])).await.ok();
        browser.press(&page, "allow").await.sent_with("code").unwrap();
        desk.app.faults.stop_before_next_change();
        let asked = request(&id, CALLBACK, &[("prompt", prompt)]);
        let revoked = async {
            desk.app.faults.is_stopped().await;
            revoke_all(&desk.app, &desk.bob).await;
            desk.app.faults.go_on();
        };
        let (answer, ()) = tokio::join!(browser.authorize(&asked).into_future(), revoked);
        if prompt == "none" {
            assert_eq!(answer.sent_with("error").as_deref(), Some("consent_required"));
            assert_eq!(answer.sent_with("code"), None);
        } else {
            assert_eq!((answer.status.as_u16(), answer.header("location")), (200, None));
            assert!(answer.words().contains("It will be able to"), "{}", answer.words());
        }
        assert_eq!(allowed(&desk.app, &desk.bob).await, Vec::<Value>::new());
    }
}

/// Between the page that allows and the one about connecting, the person revokes it in another tab.
#[tokio::test]
async fn what_was_revoked_between_two_pages_gives_no_code() {
    let provider = Provider::start().await;
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    app.server("slack").oauth().at(provider.mcp_url()).await;
    let id = registered(&app, "Cursor", HERE).await;
    let browser = app.person(&bob).await;
    let slack = ("resource", "https://deputize.test/api/v1/proxy/slack/mcp");
    for at_the_same_moment in [false, true] {
        let page = browser.authorize(&request(&id, HERE, &[slack])).await.ok();
        let on = browser.press(&page, "allow").await;
        let page = browser.open(on.header("location").unwrap()).await.ok();
        let answer = if at_the_same_moment {
            app.faults.stop_before_next_change();
            let revoked = async {
                app.faults.is_stopped().await;
                revoke_all(&app, &bob).await;
                app.faults.go_on();
            };
            tokio::join!(browser.press(&page, "go_on").into_future(), revoked).0
        } else {
            revoke_all(&app, &bob).await;
            browser.press(&page, "go_on").await
        };
        assert_eq!((answer.status.as_u16(), answer.header("location")), (200, None));
        assert!(answer.title().starts_with("Let a program on this computer"), "{}", answer.title());
        assert_eq!(allowed(&app, &bob).await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn who_is_deactivated_while_they_press_allow_has_allowed_nothing() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    desk.app.faults.stop_before_next_change();
    let deactivated = async {
        desk.app.faults.is_stopped().await;
        let user = format!("/api/v1/users/{}", desk.bob.id);
        desk.app.patch(&user).as_user(&alice).json(&json!({ "active": false })).await.ok();
        desk.app.faults.go_on();
        desk.app.patch(&user).as_user(&alice).json(&json!({ "active": true })).await.ok();
    };
    let (answer, ()) = tokio::join!(browser.press(&page, "allow").into_future(), deactivated);
    assert!(answer.header("location").is_none() || answer.sent_to().path() == "/sign-in", "{answer}");
    let bob = desk.app.with_new_key(&desk.bob).await;
    assert_eq!(allowed(&desk.app, &bob).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_app_that_is_blocked_while_the_person_looks_or_right_after_gets_nothing() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let browser = desk.browser().await;
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let block = json!({ "client_id": DOCUMENT });
    desk.app.post("/api/v1/app-blocks").as_user(&alice).json(&block).await.ok();
    let answer = browser.press(&page, "allow").await;
    assert_eq!((answer.status.as_u16(), answer.way_back(), answer.header("location")), (400, None, None));
    assert!(answer.words().contains("An admin has blocked this app"), "{}", answer.words());
    let refused = redeem(&desk.app, DOCUMENT, CALLBACK, &code).await;
    assert_eq!(refused.refusal(), "400 invalid_grant: An admin has blocked the app");
}

/// `evil.test.` is the same host as `evil.test` to a browser (RFC 1034 section 3.1), and another text to whoever compares.
#[tokio::test]
async fn a_blocked_host_does_not_come_back_by_another_spelling() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let browser = desk.browser().await;
    let block = json!({ "host": "evil.test" });
    desk.app.post("/api/v1/app-blocks").as_user(&alice).json(&block).await.ok();
    let dotted =
        desk.app.post("/api/v1/app-blocks").as_user(&alice).json(&json!({ "host": "evil.test." })).await;
    assert_eq!(dotted.refusal(), "400 host must be a host name in lower case, such as app.example.com");
    for host in ["evil.test.", "EVIL.test", "evil%2Etest", "evil。test", "ｅvil.test"] {
        let uri = format!("https://{host}/cb");
        let refused = register(&desk.app, &json!({ "redirect_uris": [uri] })).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]),
            (400, &json!("invalid_redirect_uri"))
        );
        let document = format!("https://{host}/client.json");
        let mut said = metadata();
        said["client_id"] = document.clone().into();
        desk.documents.say(&document, &said);
        let page = browser.authorize(&request(&document, CALLBACK, &[])).await;
        assert_eq!((page.status.as_u16(), page.way_back()), (400, None), "{host}");
    }
    assert_eq!(desk.documents.count(), 0);
    // Another port is the same host.
    let id = registered(&desk.app, "Evil", "https://evil.test:8443/cb").await;
    let page = browser.authorize(&request(&id, "https://evil.test:8443/cb", &[])).await;
    assert!(page.words().contains("An admin has blocked apps from there"), "{}", page.words());
}

/// Whoever can put a file onto another host has a document there, and takes the answers at their own.
#[tokio::test]
async fn a_document_elsewhere_leads_no_answer_to_a_blocked_host() {
    let desk = Desk::set().await;
    let alice = desk.app.user("alice").admin().await;
    let browser = desk.browser().await;
    let mut said = metadata();
    said["redirect_uris"] = json!([CALLBACK, "https://evil.test/cb"]);
    desk.documents.say(DOCUMENT, &said);
    browser.authorize(&request(DOCUMENT, "https://evil.test/cb", &[])).await.ok();
    let block = json!({ "host": "evil.test" });
    desk.app.post("/api/v1/app-blocks").as_user(&alice).json(&block).await.ok();
    let page = browser.authorize(&request(DOCUMENT, "https://evil.test/cb", &[])).await;
    assert_eq!((page.status.as_u16(), page.way_back()), (400, None));
    assert!(page.words().contains("An admin has blocked apps from there"), "{}", page.words());
    browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
}

/// Editors take commands by their schemes, as <https://cursor.com/docs/mcp/install-links> shows. Both buttons of the page
/// send the browser to the redirect URI.
#[tokio::test]
async fn no_redirect_uri_is_a_command_for_the_program_that_takes_it() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let commands = [
        "cursor://anysphere.cursor-deeplink/mcp/install?name=x&config=eyJjb21tYW5kIjoiY2FsYyJ9",
        "vscode:mcp/install?%7B%22name%22%3A%22x%22%2C%22command%22%3A%22calc%22%7D",
        "vscode:extension/evil.extension",
        "vscode://vscode.git/clone?url=https%3A%2F%2Fevil.test%2Fx.git",
        "vscode://file/c:/windows/system32/calc.exe",
        "ms-msdt:/id",
        "search-ms:query=x&crumb=location:%5C%5Cevil.test",
        "javascript:alert(1)",
    ];
    for uri in commands {
        let refused = register(&desk.app, &json!({ "redirect_uris": [uri] })).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]),
            (400, &json!("invalid_redirect_uri"))
        );
        let mut said = metadata();
        said["redirect_uris"] = json!([CALLBACK, uri]);
        desk.documents.say_for(DOCUMENT, &said, "no-store");
        let page = browser.authorize(&request(DOCUMENT, uri, &[])).await;
        assert_eq!((page.status.as_u16(), page.way_back()), (400, None), "{uri}");
        // Where good ones are beside it, only those are kept.
        let kept = register(&desk.app, &json!({ "redirect_uris": [uri, HERE] })).await.ok();
        assert_eq!(kept.json()["redirect_uris"], json!([HERE]));
    }
    let alice = desk.app.user("alice").admin().await;
    let new = json!({ "name": "Evil", "redirect_uris": [commands[0]] });
    let refused = desk.app.post("/api/v1/apps").as_user(&alice).json(&new).await;
    assert!(refused.refusal().ends_with("the app would take it as a command"), "{refused}");
}

/// To a browser, `http:/evil.test://localhost/cb` is at `evil.test` (URL standard, "special authority slashes state").
#[tokio::test]
async fn what_only_looks_like_this_computer_is_none() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    for uri in [
        "http:/evil.test://localhost/cb",
        "http:evil.test://127.0.0.1/cb",
        "https:/evil.test://[::1]/cb",
        "http:\\\\evil.test://localhost/cb",
        "http://localhost.evil.test/cb",
        "http://localhost:80@evil.test/cb",
        "http://localhost%2eevil.test/cb",
        "http://localhost\t.evil.test/cb",
        "http://①27.0.0.1/cb",
    ] {
        let refused = register(&desk.app, &json!({ "redirect_uris": [uri] })).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]),
            (400, &json!("invalid_redirect_uri"))
        );
        let mut said = metadata();
        said["redirect_uris"] = json!([CALLBACK, "http://localhost/cb", uri]);
        desk.documents.say_for(DOCUMENT, &said, "no-store");
        let page = browser.authorize(&request(DOCUMENT, uri, &[])).await;
        assert_eq!((page.status.as_u16(), page.way_back()), (400, None), "{uri}");
    }
}

/// A client that reads the first of two parameters would read what an attacker registered, and not what we say.
#[tokio::test]
async fn no_redirect_uri_brings_parameters_of_an_answer_with_it() {
    let desk = Desk::set().await;
    for own in ["code=theirs", "x=1&state=theirs", "iss=https://deputize.test", "error=x", "c%6Fde=theirs"] {
        let uri = format!("https://client.example/cb?{own}");
        let refused = register(&desk.app, &json!({ "redirect_uris": [uri] })).await;
        let why = format!("{uri} cannot be a redirect URI: its query has a parameter that answers have");
        assert_eq!(refused.json()["error_description"], why);
    }
    registered(&desk.app, "Tenant", "https://client.example/cb?tenant=1").await;
}

/// What a request says twice, in other words or in other places, changes nothing of what is put to the person.
#[tokio::test]
async fn nothing_is_smuggled_beside_the_parameters_that_count() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let plain = authorize_path(&request(DOCUMENT, CALLBACK, &[]));
    let mut table = String::new();
    for more in [
        "client%5Fid=https%3A%2F%2Fevil.test%2Fc",
        "redirect%5Furi=https%3A%2F%2Fevil.test%2Fcb",
        "state=other",
        "response_type=token",
        "code_challenge_method=plain",
        "scope=manage&scope=tools%3Acall",
        "response_mode=fragment",
        "response_mode=form_post",
        "response_mode=web_message",
        "response_mode=query.jwt",
        "request=eyJhbGciOiJub25lIn0.e30.",
        "request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3Ax",
        "resource=https%3A%2F%2Fdeputize.test%40evil.test%2Fapi%2Fv1%2Fproxy",
        "resource=https%3A%2F%2Fdeputize.test.%2Fapi%2Fv1%2Fproxy",
        "resource=http%3A%2F%2Fdeputize.test%2Fapi%2Fv1%2Fproxy",
        "resource=https%3A%2F%2Fdeputize.test%2Fapi%2Fv1%2Fproxy%2F..",
    ] {
        let page = browser.open(&format!("{plain}&{more}")).await;
        assert_eq!((page.status.as_u16(), page.header("location")), (400, None), "{more}");
        let words = page.words();
        let why = words.lines().nth(1).unwrap();
        writeln!(table, "{more}\n  {why}").unwrap();
        assert!(page.way_back().is_none_or(|back| back.starts_with(CALLBACK)), "{more}");
    }
    assert_snapshot!(table, @"
    client%5Fid=https%3A%2F%2Fevil.test%2Fc
      The parameter client_id occurs twice.
    redirect%5Furi=https%3A%2F%2Fevil.test%2Fcb
      The parameter redirect_uri occurs twice.
    state=other
      The parameter state occurs twice.
    response_type=token
      The parameter response_type occurs twice.
    code_challenge_method=plain
      The parameter code_challenge_method occurs twice.
    scope=manage&scope=tools%3Acall
      The parameter scope occurs twice.
    response_mode=fragment
      response_mode must be query.
    response_mode=form_post
      response_mode must be query.
    response_mode=web_message
      response_mode must be query.
    response_mode=query.jwt
      response_mode must be query.
    request=eyJhbGciOiJub25lIn0.e30.
      The parameter request is not supported.
    request_uri=urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3Ax
      The parameter request_uri is not supported.
    resource=https%3A%2F%2Fdeputize.test%40evil.test%2Fapi%2Fv1%2Fproxy
      resource https://deputize.test@evil.test/api/v1/proxy is not one of this service.
    resource=https%3A%2F%2Fdeputize.test.%2Fapi%2Fv1%2Fproxy
      resource https://deputize.test./api/v1/proxy is not one of this service.
    resource=http%3A%2F%2Fdeputize.test%2Fapi%2Fv1%2Fproxy
      resource http://deputize.test/api/v1/proxy is not one of this service.
    resource=https%3A%2F%2Fdeputize.test%2Fapi%2Fv1%2Fproxy%2F..
      resource https://deputize.test/api/v1/proxy/.. is not one of this service.
    ");
    // What is not the parameter's own name is another parameter, and unknown ones are ignored.
    for more in [
        "CLIENT_ID=https%3A%2F%2Fevil.test%2Fc",
        "client_id%00=https%3A%2F%2Fevil.test%2Fc",
        "redirect_uri%5B%5D=https%3A%2F%2Fevil.test%2Fcb",
        "client_id=",
        "%20redirect_uri=https%3A%2F%2Fevil.test%2Fcb",
        "step=made-up",
        "step=a&step=b",
    ] {
        let page = browser.open(&format!("{plain}&{more}")).await.ok();
        assert_eq!(page.title(), "Let app.example.com use every server as you?", "{more}");
    }
    // Nor does a form say anything but its answer.
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await.ok();
    let token = page.text.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let cookie = desk.app.signed_in(&desk.bob).await;
    let sent = desk.app.post(&*page.form_action()).header("cookie", &cookie);
    let evil = [("redirect_uri", "https://evil.test/cb"), ("client_id", "x"), ("step", "x")];
    let fields = [&evil[..], &[("answer", "allow"), ("form_token", token)]].concat();
    let answer = sent.header("sec-fetch-site", "same-origin").form(&fields).await;
    // The token is of the other session, and the page is the app's.
    assert_eq!((answer.status.as_u16(), answer.title()), (409, page.title()));
    assert!(!answer.text.contains("evil.test"));
}

#[tokio::test]
async fn nothing_of_a_request_becomes_a_header_or_a_tag() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let state = "\r\nset-cookie: a=b\r\n\r\n<script>alert(1)</script>\u{0}\u{2028}é\"'";
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[("state", state)])).await.ok();
    assert!(!page.text.contains("<script"), "{page}");
    for answer in ["allow", "deny"] {
        let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[("state", state)])).await.ok();
        let answer = browser.press(&page, answer).await;
        assert_eq!(answer.sent_with("state").as_deref(), Some(state));
        assert!(answer.header("location").unwrap().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.text, "");
    }
    let refused = request(DOCUMENT, CALLBACK, &[("state", state), ("prompt", "none"), ("scope", state)]);
    let page = browser.authorize(&refused).await;
    assert!(page.status == 400 && !page.text.contains("<script") && !page.text.contains("\" '"), "{page}");
    // Nobody is signed in: the whole request goes through the sign-in page.
    let answer = desk.app.nobody().authorize(&request(DOCUMENT, CALLBACK, &[("state", state)])).await;
    assert!(answer.sent_to().as_str().starts_with("https://deputize.test/"), "{answer}");
    assert_eq!(answer.header("set-cookie"), None);
}

/// A token for the management API.
async fn redeem_anew(desk: &Desk, browser: &deputize_tests::Person<'_>) -> String {
    let management = ("resource", "https://deputize.test/api/v1");
    let page = browser.authorize(&request(DOCUMENT, CALLBACK, &[management])).await.ok();
    let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
    redeem(&desk.app, DOCUMENT, CALLBACK, &code).await.ok().field("access_token")
}

fn kept_by_nobody(answer: &TestResponse) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer}");
}

/// RFC 9700 sections 4.2.4 (Referer), 4.3.1 (browser history), 4.12 (no 307), and RFC 6749 section 5.1.
#[tokio::test]
async fn what_has_a_secret_in_it_is_kept_by_nobody_and_no_other_site_is_told_its_address() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let pages = [
        browser.authorize(&request(DOCUMENT, CALLBACK, &[])).await,
        browser.authorize(&request(DOCUMENT, CALLBACK, &[("prompt", "none")])).await,
        browser.authorize(&request("nobody", CALLBACK, &[])).await,
        desk.app.nobody().authorize(&request(DOCUMENT, CALLBACK, &[("prompt", "none")])).await,
    ];
    for page in &pages {
        kept_by_nobody(page);
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    }
    assert!(pages[1].text.contains("rel=\"noreferrer\""));
    kept_by_nobody(&desk.app.nobody().authorize(&request(DOCUMENT, CALLBACK, &[])).await);
    let answer = browser.press(&pages[0], "allow").await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (303, ""));
    kept_by_nobody(&answer);
    let code = answer.sent_with("code").unwrap();
    let refused = redeem(&desk.app, DOCUMENT, "https://evil.test/", &code).await;
    let tokens = redeem(&desk.app, DOCUMENT, CALLBACK, &code).await;
    let made = register(&desk.app, &json!({ "redirect_uris": [CALLBACK] })).await;
    assert!(made.json()["client_secret"].is_string());
    for answer in [refused, tokens, made] {
        kept_by_nobody(&answer);
        assert_eq!(answer.header("pragma").unwrap_or("no-cache"), "no-cache");
    }
    // No access token is taken from a query (RFC 9700 section 4.3.2).
    let access = redeem_anew(&desk, &browser).await;
    desk.app.get("/api/v1/me").bearer(&access).await.ok();
    for path in ["/api/v1/me", "/api/v1/proxy/github/tools"] {
        let refused = desk.app.get(format!("{path}?access_token={access}")).await;
        assert!(matches!(refused.status.as_u16(), 400 | 401) && !refused.text.contains(&access), "{refused}");
    }
}

/// RFC 9700 section 2.6: the token endpoint may have CORS, and the authorization endpoint must not.
#[tokio::test]
async fn no_script_of_another_page_reads_the_authorization_endpoint() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let path = authorize_path(&request(DOCUMENT, CALLBACK, &[]));
    let alias = path.replace("/api/v1/oauth/authorize", "/authorize");
    for path in [&path, &alias] {
        let read = browser.open(path).header("origin", "https://evil.test").await;
        let names: Vec<&str> = read.headers.keys().map(http::HeaderName::as_str).collect();
        assert!(!names.iter().any(|name| name.starts_with("access-control-")), "{names:?}");
        let asked = desk.app.ask(http::Method::OPTIONS, path).header("origin", "https://evil.test");
        let asked = asked.header("access-control-request-method", "POST").await;
        assert_eq!(asked.header("access-control-allow-origin"), None);
    }
    // The alias takes no form, so it sends none on.
    let sent = desk.app.post("/authorize").header("sec-fetch-site", "same-origin").form(&[("a", "b")]).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (405, None));
}

/// What tells apart whether a client is known, tells who may guess its secret. With a code that is good, an unknown
/// client, another one and the right one with a wrong secret get the same answer.
#[tokio::test]
async fn an_unknown_client_and_a_wrong_secret_look_alike() {
    let app = TestApp::start().await;
    let alice = app.user("alice").admin().await;
    let bob = app.user("bob").await;
    let client = AppClient::of_admin(&app, &alice).await;
    let good = app.allow(&bob, &client, "management", "manage").await;
    let code = app.code(&good).await;
    let made_up =
        AppClient { client_id: "app-00000000-0000-4000-8000-000000000000".to_owned(), ..client.clone() };
    let wrong = client.clone().with_secret();
    let none = AppClient { secret: None, ..client.clone() };
    let mut told = Vec::new();
    for client in [&made_up, &wrong, &none] {
        let refused = app.redeem(client, &code, &[]).await;
        told.push((
            refused.status.as_u16(),
            refused.json(),
            refused.header("www-authenticate").map(str::to_owned),
        ));
    }
    assert_eq!(told[0].0, 401);
    assert!(told.iter().all(|one| *one == told[0]), "{told:#?}");
    // Nothing of that has used the code up.
    app.redeem(&client, &code, &[]).await.ok();
}
