//! Somebody stands between a person and their session.

use deputize_tests::{Browser, IdentityProvider, Providers, TestApp};
use http::StatusCode;
use serde_json::json;

use super::{one_provider, two_providers};

#[tokio::test]
async fn an_answer_is_taken_only_in_the_browser_that_asked() {
    let (app, acme) = one_provider(&json!({})).await;
    let (mut victim, mut attacker) = (app.browser(), app.browser());
    // The attacker signs in, keeps the answer back, and has the victim's browser open it.
    let location = Browser::location(&attacker.open("/sign-in").await);
    let back = acme.sign_in(&location, "mallory");
    victim.open("/sign-in").await;
    let refused = victim.open(&back).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text.contains("was not begun in this browser"), "{}", refused.text);
    assert!(!victim.is_signed_in().await);
    assert!(acme.received().is_empty(), "the code is not used up");
}

#[tokio::test]
async fn a_replayed_callback_makes_no_second_session() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().codes_stay = true;
    let mut browser = app.browser();
    let location = Browser::location(&browser.open("/sign-in").await);
    let back = acme.sign_in(&location, "alice");
    let mut thief = browser.clone();
    assert_eq!(browser.open(&back).await.status, StatusCode::SEE_OTHER);
    let replayed = thief.open(&back).await;
    assert_eq!(replayed.status, StatusCode::BAD_REQUEST);
    assert!(replayed.text.contains("has been finished already"), "{}", replayed.text);
    assert!(!thief.is_signed_in().await);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn of_two_answers_at_once_one_makes_a_session() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().codes_stay = true;
    let mut browser = app.browser();
    let location = Browser::location(&browser.open("/sign-in").await);
    let back = acme.sign_in(&location, "alice");
    let (mut one, mut two) = (browser.clone(), browser);
    let (one, two) = tokio::join!(one.open(&back), two.open(&back));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 400]);
}

#[tokio::test]
async fn where_to_go_on_is_a_path_of_ours() {
    let (app, _) = one_provider(&json!({})).await;
    for elsewhere in [
        "https%3A%2F%2Fevil.test",
        "%2F%2Fevil.test",
        "%2F%5Cevil.test",
        "%5C%5Cevil.test",
        "javascript%3Aalert(1)",
        "%2F%09%2Fevil.test",
        "%2F%0D%0Aset-cookie%3A%20a%3Db",
        "evil.test",
        "",
        &*format!("%2F{}", "a".repeat(4000)),
    ] {
        let refused = app.get(format!("/sign-in?return_to={elsewhere}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{elsewhere}");
        assert!(refused.header("location").is_none() && refused.text.contains("return_to must be a path"));
    }
}

#[tokio::test]
async fn where_to_go_on_cannot_be_changed_on_the_way() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let location = Browser::location(&browser.open("/sign-in?return_to=/there").await);
    let back = acme.sign_in(&location, "alice");
    let name = browser.cookies.keys().find(|name| name.contains("deputize_return")).unwrap().clone();
    for other in ["/elsewhere", "//evil.test", "https://evil.test/"] {
        browser.cookies.get_mut(&name).unwrap().0 = other.to_owned();
        assert_eq!(browser.open(&back).await.status, StatusCode::BAD_REQUEST, "{other}");
    }
    browser.cookies.remove(&name);
    assert_eq!(browser.open(&back).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_session_that_was_there_before_is_not_the_one_after() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut attacker = app.browser();
    attacker.sign_in(&acme, "mallory").await;
    let (name, planted) = attacker.cookie("deputize_session");
    // The attacker's cookie is in the victim's browser when they sign in.
    let mut victim = app.browser();
    victim.cookies.insert(name, (planted.clone(), "/".to_owned()));
    let begun = victim.open("/sign-in?other_account=true").await;
    let back = acme.sign_in(&Browser::location(&begun), "alice");
    assert_eq!(victim.open(&back).await.status, StatusCode::SEE_OTHER);
    let (_, fresh) = victim.cookie("deputize_session");
    assert_ne!(fresh, planted);
    assert!(victim.open("/").await.text.contains("alice@example.com"));
    // What was planted is over: the new session has taken its place.
    assert!(!attacker.is_signed_in().await);
}

#[tokio::test]
async fn a_cookie_of_another_deployment_on_the_same_host_is_not_ours() {
    let base = TestApp::start_at("http://127.0.0.1:8787").await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let (trusted, network) = (json!([acme.trusted(&json!({}))]), Providers::of(&[&acme]));
    let one = base.signing_in_by(&trusted, &network).await;
    let other = TestApp::start_at("http://127.0.0.1:8788").await.signing_in_by(&trusted, &network).await;
    let mut browser = one.browser();
    browser.sign_in(&acme, "alice").await;
    let (name, value) = browser.cookie("deputize_session");
    assert!(!name.starts_with("__Host-"), "Safari drops such a cookie on http");
    let mut elsewhere = other.browser();
    elsewhere.sign_in(&acme, "alice").await;
    let (other_name, _) = elsewhere.cookie("deputize_session");
    assert_ne!(name, other_name, "ports do not separate cookies");
    // By either name it is nothing there.
    for name in [name, other_name] {
        let mut stranger = other.browser();
        stranger.cookies.insert(name, (value.clone(), "/".to_owned()));
        assert!(!stranger.is_signed_in().await);
    }
}

/// A sibling domain can set cookies for the domain above, but none that a browser sends by a name with `__Host-` (RFC
/// 6265bis section 4.1.3.2). What a server takes for such a name, though it is another one, gets around that: by case, or
/// by white space that only one of the two takes off
/// (<https://portswigger.net/research/cookie-chaos-how-to-bypass-host-and-secure-cookie-prefixes>).
#[tokio::test]
async fn a_cookie_that_a_sibling_domain_could_set_is_not_ours() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut attacker = app.browser();
    attacker.sign_in(&acme, "mallory").await;
    let (name, value) = attacker.cookie("deputize_session");
    let plain = name.strip_prefix("__Host-").unwrap();
    assert_eq!(app.get("/").header("cookie", &format!("{name}={value}")).await.status, StatusCode::OK);
    for planted in [
        format!("{plain}={value}"),
        format!("__Secure-{plain}={value}"),
        format!("__HOST-{plain}={value}"),
        format!("__host-{plain}={value}"),
        format!("\u{2000}{name}={value}"),
        format!("\u{85}{name}={value}"),
        format!("\u{a0}{name}={value}"),
        format!("{name}\u{3000}={value}"),
        format!("%5F_Host-{plain}={value}"),
        format!("={name}={value}"),
        format!("a={name}={value}"),
        format!("$Version=1, {name}={value}"),
    ] {
        let page = app.get("/").header("cookie", &planted).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{planted:?}");
    }
}

/// Nor is a sign-in finished by cookies that somebody else put there, so nobody is signed in as the attacker.
#[tokio::test]
async fn a_sign_in_that_somebody_else_began_is_not_finished_by_their_cookies_under_other_names() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut attacker = app.browser();
    let location = Browser::location(&attacker.open("/sign-in").await);
    let back = acme.sign_in(&location, "mallory");
    let (name, value) = attacker.cookie("deputize_sign_in");
    let plain = name.strip_prefix("__Host-").unwrap();
    for planted in [plain.to_owned(), format!("__HOST-{plain}"), format!("__Secure-{plain}")] {
        let mut victim = app.browser();
        victim.cookies.insert(planted, (value.clone(), "/".to_owned()));
        assert_eq!(victim.open(&back).await.status, StatusCode::BAD_REQUEST);
        assert!(!victim.is_signed_in().await);
    }
}

#[tokio::test]
async fn cookies_without_end_do_no_harm() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    browser.sign_in(&acme, "alice").await;
    let (name, value) = browser.cookie("deputize_session");
    let long = "x".repeat(60_000);
    for cookie in [format!("{name}={long}"), format!("{name}={value}{long}"), format!("{name}=")] {
        assert_eq!(app.get("/").header("cookie", &cookie).await.status, StatusCode::SEE_OTHER);
    }
    // Beside others, of which there are many, ours is found.
    let many = (0..5000).map(|n| format!("c{n}=v; ")).collect::<Vec<_>>().concat();
    assert_eq!(app.get("/").header("cookie", &format!("{many}{name}={value}")).await.status, StatusCode::OK);
    // And of sign-ins under way that nobody began, only so many are taken away.
    let attempt = name.replace("deputize_session", "deputize_sign_in");
    let made_up = (0..1000).map(|n| format!("{attempt}_{n:016x}=x.1; ")).collect::<Vec<_>>().concat();
    let begun = app.get("/sign-in").header("cookie", &made_up).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER);
    assert_eq!(begun.headers.get_all("set-cookie").iter().count(), 11);
}

/// A provider is asked, and believed, by https alone: whoever sits in between cannot lead it down to http.
#[tokio::test]
async fn a_provider_is_not_led_down_to_http() {
    for (field, value) in [
        ("issuer", "http://id.example.com"),
        ("authorization_endpoint", "http://id.example.com/authorize"),
        ("token_endpoint", "http://id.example.com/token"),
    ] {
        let (app, acme) = one_provider(&json!({})).await;
        acme.script().metadata.insert(field, json!(value));
        let refused = app.get("/sign-in").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{field}");
        assert!(acme.received().is_empty());
    }
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let back = acme.sign_in(&Browser::location(&browser.open("/sign-in").await), "alice");
    let down = back.replace("iss=https%3A", "iss=http%3A");
    assert_ne!(down, back);
    let refused = browser.open(&down).await;
    assert!(refused.text.contains("not from the identity provider that was asked"), "{}", refused.text);
    acme.claims(|claims| claims["iss"] = "http://id.example.com".into());
    assert_eq!(browser.sign_in(&acme, "alice").await.status, StatusCode::BAD_GATEWAY);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_cookie_is_as_the_browser_must_keep_it() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let begun = browser.open("/sign-in?return_to=/x").await;
    let back = browser.open(&acme.sign_in(&Browser::location(&begun), "alice")).await;
    let sets = |response: &deputize_tests::TestResponse| -> Vec<String> {
        let all = response.headers.get_all("set-cookie").iter();
        all.map(|set| set.to_str().unwrap().to_owned()).collect()
    };
    for set in sets(&begun).iter().chain(&sets(&back)) {
        assert!(set.contains("; HttpOnly; SameSite=Lax; Secure; ") && !set.contains("Domain"), "{set}");
        let is_host = set.starts_with("__Host-deputize_") && set.contains("; Path=/;");
        let is_return =
            set.starts_with("__Secure-deputize_return_") && set.contains("; Path=/sign-in/callback;");
        assert!(is_host || is_return, "{set}");
    }
    assert!(sets(&back)[0].ends_with("; Max-Age=43200"), "{:?}", sets(&back));
}

#[tokio::test]
async fn two_providers_that_claim_one_email_are_not_one_person() {
    let (app, acme, other) = two_providers([&json!({}), &json!({})]).await;
    let alice = app.user("alice").await;
    let mut browser = app.browser();
    assert_eq!(browser.sign_in(&acme, "alice").await.status, StatusCode::SEE_OTHER);
    // The other provider has somebody with Alice's address.
    let mut impostor = app.browser();
    let refused = impostor.sign_in(&other, "alice").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("is known to another issuer"), "{}", refused.text);
    assert!(!impostor.is_signed_in().await);
    let admin = app.user("root").admin().await;
    let known = app.get(format!("/api/v1/users/{}", alice.id)).as_user(&admin).await.json();
    assert_eq!(known["identities"], json!([{ "issuer": "https://id.example.com", "subject": "user_alice" }]));
}

#[tokio::test]
async fn entras_email_leads_to_nobody_without_xms_edov_or_the_admins_word() {
    const TENANT: &str = "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0";
    let signed_in_as = async |more: serde_json::Value, edit: fn(&mut serde_json::Value)| {
        let base = TestApp::start().await;
        base.user("alice").await;
        let entra = IdentityProvider::new(TENANT, &base.core.clock);
        let mut settings = json!({ "provision": false });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings["sign_in"] = json!({ "client_id": entra.client_id(), "id": "entra" });
        let app = base.signing_in_by(&json!([entra.trusted(&settings)]), &Providers::of(&[&entra])).await;
        entra.claims(edit);
        let mut browser = app.browser();
        let begun = browser.open("/sign-in").await;
        browser.open(&entra.sign_in(&Browser::location(&begun), "alice")).await.status
    };
    // An administrator of the tenant wrote that address.
    let says_verified: fn(&mut serde_json::Value) = |_| {};
    assert_eq!(signed_in_as(json!({}), says_verified).await, StatusCode::FORBIDDEN);
    assert_eq!(
        signed_in_as(json!({}), |claims| claims["xms_edov"] = false.into()).await,
        StatusCode::FORBIDDEN
    );
    for vouched in [
        (|claims| claims["xms_edov"] = true.into()) as fn(&mut serde_json::Value),
        |claims| claims["xms_edov"] = 1.into(),
        |claims| claims["xms_edov"] = "1".into(),
    ] {
        assert_eq!(signed_in_as(json!({}), vouched).await, StatusCode::SEE_OTHER);
    }
    let word = json!({ "email_domains": ["example.com"] });
    assert_eq!(signed_in_as(word, says_verified).await, StatusCode::SEE_OTHER);
    let other = json!({ "email_domains": ["example.net"] });
    assert_eq!(signed_in_as(other, says_verified).await, StatusCode::FORBIDDEN);
}
