//! What is wrong with an authorization request, and where that is said.

use std::fmt::Write;

use deputize_tests::{TestResponse, documents::DOCUMENT};
use insta::assert_snapshot;
use serde_json::json;

use super::{CALLBACK, CHALLENGE, Desk, HERE, registered, request};

/// Status, heading, first line, and the way back to the app.
fn line(page: &TestResponse) -> String {
    let words = page.words();
    let mut lines = words.lines();
    let (title, why) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    format!("{} {title} | {why} | {}", page.status.as_u16(), page.way_back().unwrap_or_default())
}

#[tokio::test]
async fn an_error_is_a_page_with_a_way_back_that_the_person_may_take() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let mut table = String::new();
    let long = "x".repeat(5000);
    for more in [
        &[("response_type", "")][..],
        &[("response_type", "token")],
        &[("response_type", "code id_token")],
        &[("response_mode", "fragment")],
        &[("code_challenge", "")],
        &[("code_challenge_method", "")],
        &[("code_challenge_method", "plain")],
        &[("code_challenge", "short")],
        &[("code_challenge", &long)],
        &[("resource", "https://elsewhere.test/mcp")],
        &[("resource", "https://deputize.test/api/v1/proxy/nowhere/mcp")],
        &[
            ("resource", "https://deputize.test/api/v1/proxy/github/mcp"),
            ("resource", "https://deputize.test/api/v1/proxy"),
        ],
        &[("request", "eyJ")],
        &[("request_uri", "https://app.example.com/r")],
        &[("prompt", "none")],
        &[("prompt", "none login")],
        &[("state", &long)],
    ] {
        let page = browser.authorize(&request(DOCUMENT, CALLBACK, more)).await;
        let shown: Vec<String> =
            more.iter().map(|(name, value)| format!("{name}={}", &value[..value.len().min(60)])).collect();
        write!(table, "{}\n  {}\n", shown.join("&"), line(&page).replace(&long, "[long]")).unwrap();
    }
    assert_snapshot!(table, @"
    response_type=
      400 This request cannot be answered | The parameter response_type is missing. | https://app.example.com/callback?error=invalid_request&error_description=The+parameter+response_type+is+missing&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    response_type=token
      400 This request cannot be answered | response_type must be code. | https://app.example.com/callback?error=unsupported_response_type&error_description=response_type+must+be+code&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    response_type=code id_token
      400 This request cannot be answered | response_type must be code. | https://app.example.com/callback?error=unsupported_response_type&error_description=response_type+must+be+code&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    response_mode=fragment
      400 This request cannot be answered | response_mode must be query. | https://app.example.com/callback?error=invalid_request&error_description=response_mode+must+be+query&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    code_challenge=
      400 This request cannot be answered | The parameter code_challenge is missing: PKCE is required. | https://app.example.com/callback?error=invalid_request&error_description=The+parameter+code_challenge+is+missing%3A+PKCE+is+required&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    code_challenge_method=
      400 This request cannot be answered | code_challenge_method must be S256. | https://app.example.com/callback?error=invalid_request&error_description=code_challenge_method+must+be+S256&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    code_challenge_method=plain
      400 This request cannot be answered | code_challenge_method must be S256. | https://app.example.com/callback?error=invalid_request&error_description=code_challenge_method+must+be+S256&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    code_challenge=short
      400 This request cannot be answered | code_challenge must be the base64url of a SHA-256, 43 characters. | https://app.example.com/callback?error=invalid_request&error_description=code_challenge+must+be+the+base64url+of+a+SHA-256%2C+43+characters&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    code_challenge=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
      400 This request cannot be answered | The parameter code_challenge is too long. | https://app.example.com/callback?error=invalid_request&error_description=The+parameter+code_challenge+is+too+long&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    resource=https://elsewhere.test/mcp
      400 This request cannot be answered | resource https://elsewhere.test/mcp is not one of this service. | https://app.example.com/callback?error=invalid_target&error_description=resource+https%3A%2F%2Felsewhere.test%2Fmcp+is+not+one+of+this+service&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    resource=https://deputize.test/api/v1/proxy/nowhere/mcp
      400 This request cannot be answered | There is no server at https://deputize.test/api/v1/proxy/nowhere/mcp. | https://app.example.com/callback?error=invalid_target&error_description=There+is+no+server+at+https%3A%2F%2Fdeputize.test%2Fapi%2Fv1%2Fproxy%2Fnowhere%2Fmcp&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    resource=https://deputize.test/api/v1/proxy/github/mcp&resource=https://deputize.test/api/v1/proxy
      400 This request cannot be answered | A token is for one resource: name one. | https://app.example.com/callback?error=invalid_target&error_description=A+token+is+for+one+resource%3A+name+one&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    request=eyJ
      400 This request cannot be answered | The parameter request is not supported. | https://app.example.com/callback?error=request_not_supported&error_description=The+parameter+request+is+not+supported&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    request_uri=https://app.example.com/r
      400 This request cannot be answered | The parameter request_uri is not supported. | https://app.example.com/callback?error=request_uri_not_supported&error_description=The+parameter+request_uri+is+not+supported&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    prompt=none
      400 This request cannot be answered | The person has to be asked. | https://app.example.com/callback?error=consent_required&error_description=The+person+has+to+be+asked&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    prompt=none login
      400 This request cannot be answered | prompt=none goes with no other prompt. | https://app.example.com/callback?error=invalid_request&error_description=prompt%3Dnone+goes+with+no+other+prompt&state=st%26te&iss=https%3A%2F%2Fdeputize.test
    state=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
      400 This request cannot be answered | The parameter state is too long. | https://app.example.com/callback?error=invalid_request&error_description=The+parameter+state+is+too+long&state=[long]&iss=https%3A%2F%2Fdeputize.test
    ");
    // Nothing was written, and nothing was sent anywhere.
    assert!(!desk.app.trail().iter().any(|event| event["action"] == "authorization.create"));
}

#[tokio::test]
async fn there_is_no_way_back_while_the_app_or_its_address_is_not_known() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Evil", "https://evil.test/cb").await;
    let mut table = String::new();
    for (id, uri, more) in [
        ("", CALLBACK, &[][..]),
        ("nobody", CALLBACK, &[]),
        ("app-00000000-0000-4000-8000-000000000000", CALLBACK, &[]),
        (DOCUMENT, "https://app.example.com/callback/", &[]),
        (DOCUMENT, "https://app.example.com@evil.test/callback", &[]),
        (DOCUMENT, "https://app.example.com:8443/callback", &[]),
        (DOCUMENT, "https://app.example.com/callback#x", &[]),
        (DOCUMENT, "https://app.example.com/%63allback", &[]),
        (DOCUMENT, "http://localhost.evil.test/callback", &[]),
        (DOCUMENT, "javascript:alert(1)", &[]),
        (DOCUMENT, "", &[]),
        (&id, "https://evil.test/cb?next=1", &[("response_type", "token")]),
        (&id, CALLBACK, &[("code_challenge", "")]),
        (&id, "https://evil.test/cb", &[("client_id", DOCUMENT), ("scope", "x")]),
    ] {
        let mut asked = request(id, uri, more);
        asked.retain(|(_, value)| !value.is_empty());
        let page = browser.authorize(&asked).await;
        assert_eq!(
            (page.status.as_u16(), page.way_back(), page.header("location")),
            (400, None, None),
            "{uri}"
        );
        write!(table, "{uri}\n  {}\n", line(&page)).unwrap();
    }
    assert_snapshot!(table, @"
    https://app.example.com/callback
      400 This app is not known here | The parameter client_id is missing. | 
    https://app.example.com/callback
      400 This app is not known here | No app has this client_id. | 
    https://app.example.com/callback
      400 This app is not known here | No app has this client_id. | 
    https://app.example.com/callback/
      400 This request cannot be answered: its return address is not registered | The app has not registered https://app.example.com/callback/ as a redirect URI. | 
    https://app.example.com@evil.test/callback
      400 This request cannot be answered: its return address is not registered | https://app.example.com@evil.test/callback cannot be a redirect URI: it has a user name. | 
    https://app.example.com:8443/callback
      400 This request cannot be answered: its return address is not registered | The app has not registered https://app.example.com:8443/callback as a redirect URI. | 
    https://app.example.com/callback#x
      400 This request cannot be answered: its return address is not registered | https://app.example.com/callback#x cannot be a redirect URI: it has a fragment. | 
    https://app.example.com/%63allback
      400 This request cannot be answered: its return address is not registered | The app has not registered https://app.example.com/%63allback as a redirect URI. | 
    http://localhost.evil.test/callback
      400 This request cannot be answered: its return address is not registered | http://localhost.evil.test/callback cannot be a redirect URI: http is for this computer alone: localhost, 127.0.0.1 or [::1]. | 
    javascript:alert(1)
      400 This request cannot be answered: its return address is not registered | javascript:alert(1) cannot be a redirect URI: its scheme must be https, http on this computer, or a known app's own. | 

      400 This request cannot be answered: its return address is not registered | redirect_uri is missing, and the app has registered several. | 
    https://evil.test/cb?next=1
      400 This request cannot be answered: its return address is not registered | The app has not registered https://evil.test/cb?next=1 as a redirect URI. | 
    https://app.example.com/callback
      400 This request cannot be answered: its return address is not registered | The app has not registered https://app.example.com/callback as a redirect URI. | 
    https://evil.test/cb
      400 This request cannot be answered: its return address is not registered | The app has not registered https://evil.test/cb as a redirect URI. |
    ");
    let twice = [request(DOCUMENT, CALLBACK, &[]), vec![("redirect_uri", "https://evil.test/cb")]].concat();
    let page = browser.authorize(&twice).await;
    assert_eq!((page.status.as_u16(), page.way_back()), (400, None));
}

#[tokio::test]
async fn what_is_provoked_leads_nowhere_by_itself() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Evil", "https://evil.test/cb").await;
    let provoked = request(&id, "https://evil.test/cb", &[("response_type", "x"), ("prompt", "none")]);
    let page = browser.authorize(&provoked).await;
    assert_eq!((page.status.as_u16(), page.header("location"), page.header("refresh")), (400, None, None));
    assert!(page.words().contains("Back to https://evil.test"), "{}", page.words());
    let back: url::Url = page.way_back().unwrap().parse().unwrap();
    let query: Vec<(String, String)> = back.query_pairs().into_owned().collect();
    assert_eq!(
        json!(query),
        json!([
            ["error", "unsupported_response_type"],
            ["error_description", "response_type must be code"],
            ["state", "st&te"],
            ["iss", "https://deputize.test"],
        ])
    );
}

#[tokio::test]
async fn a_parameter_that_is_there_twice_is_refused_and_one_that_is_unknown_is_ignored() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let asked = [request(DOCUMENT, CALLBACK, &[]), vec![("code_challenge", CHALLENGE)]].concat();
    let page = browser.authorize(&asked).await;
    assert_eq!(page.status, 400);
    assert!(page.words().contains("The parameter code_challenge occurs twice"), "{}", page.words());
    let asked = request(DOCUMENT, CALLBACK, &[("nonce", "n"), ("audience", "x"), ("login_hint", "bob")]);
    browser.authorize(&asked).await.ok();
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_before_anything_is_read() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let long = "x".repeat(9000);
    let sent = browser.authorize(&request(DOCUMENT, CALLBACK, &[("state", &long)]));
    let (page, round_trips) = desk.app.round_trips(sent.into_future()).await;
    assert_eq!((page.status.as_u16(), round_trips), (400, vec![]));
}

#[tokio::test]
async fn a_loopback_port_is_free_and_the_answer_goes_to_the_one_that_was_asked() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Cursor", "http://127.0.0.1/callback").await;
    let page = browser.authorize(&request(&id, HERE, &[])).await.ok();
    let to = browser.press(&page, "allow").await.sent_to();
    assert!(to.as_str().starts_with("http://127.0.0.1:51789/callback?code="), "{to}");
    let code = to.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    super::redeem(&desk.app, &id, HERE, &code).await.ok();
}

#[tokio::test]
async fn the_only_redirect_uri_need_not_be_named() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Web", CALLBACK).await;
    let page = browser.authorize(&request(&id, CALLBACK, &[("redirect_uri", "")])).await.ok();
    let to = browser.press(&page, "allow").await.sent_to();
    assert!(to.as_str().starts_with("https://app.example.com/callback?code="), "{to}");
}
