//! The ID token, checked in full (OpenID Connect Core section 3.1.3.7).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_core::{sign_in::store_secrets, vault::Vault};
use deputize_tests::{Browser, IdentityProvider, TestApp, app::root, jwt, jwt::SigningKey};
use http::StatusCode;
use serde_json::{Value, json};

use super::{one_provider, two_providers};

/// What signing in comes to with such an ID token.
async fn comes_to(app: &TestApp, provider: &IdentityProvider) -> String {
    let mut browser = app.browser();
    let answer = browser.sign_in(provider, "alice").await;
    if answer.status == StatusCode::SEE_OTHER {
        return "signed in".to_owned();
    }
    assert!(!browser.is_signed_in().await);
    let refused = answer.text.split_once("answer was refused: ").map(|(_, rest)| rest);
    refused.and_then(|rest| rest.split_once(".</p>")).unwrap_or_else(|| panic!("{answer}")).0.to_owned()
}

#[tokio::test]
async fn an_id_token_is_for_us_of_this_sign_in_and_of_this_provider() {
    let (app, acme, other) = two_providers([&json!({}), &json!({})]).await;
    let (ours, others) = (acme.client_id().to_owned(), other.client_id().to_owned());
    let both = json!([ours.clone(), others.clone()]);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("aud", json!(others), "the token is for another audience"),
        ("aud", json!([]), "the token is for another audience"),
        ("aud", json!([ours.clone()]), "signed in"),
        ("aud", both.clone(), "the token is for another audience"),
        ("azp", json!(others), "the token is for another audience"),
        ("azp", json!(ours), "signed in"),
        ("azp", json!(1), "the token is for another audience"),
        ("nonce", json!("another"), "the token is of another sign-in"),
        ("nonce", json!(null), "the token is of another sign-in"),
        ("nonce", json!(""), "the token is of another sign-in"),
        ("iss", json!(other.url()), "the token is from an untrusted issuer"),
        ("iss", json!("https://id.example.com/"), "the token is from an untrusted issuer"),
        ("sub", json!(""), "the token is malformed"),
        ("exp", json!(1_700_000_000), "the token has expired"),
        ("nbf", json!(4_000_000_000_u64), "the token is not valid yet"),
        ("iat", json!(4_000_000_000_u64), "the token is not valid yet"),
        ("events", json!({}), "the token is of another kind, by its typ or its claims"),
    ];
    for (name, value, comes) in cases {
        let set = value.clone();
        acme.claims(move |claims| claims[name] = set.clone());
        assert_eq!(comes_to(&app, &acme).await, comes, "{name}: {value}");
    }
    let with_azp = both.clone();
    let azp = ours.clone();
    acme.claims(move |claims| {
        claims["aud"] = with_azp.clone();
        claims["azp"] = azp.clone().into();
    });
    assert_eq!(comes_to(&app, &acme).await, "signed in");
}

#[tokio::test]
async fn an_id_token_is_signed_by_its_provider_and_is_no_other_token_of_it() {
    let (app, acme, other) = two_providers([&json!({}), &json!({})]).await;
    let told = |edit: fn(&mut Value)| acme.script().id_token_header = Some(Box::new(edit));
    told(|header| header["typ"] = "at+jwt".into());
    assert_eq!(comes_to(&app, &acme).await, "the token is of another kind, by its typ or its claims");
    told(|header| header["typ"] = "logout+jwt".into());
    assert_eq!(comes_to(&app, &acme).await, "the token is of another kind, by its typ or its claims");
    told(|header| header["alg"] = "none".into());
    assert_eq!(comes_to(&app, &acme).await, "the token&#39;s algorithm is not allowed".replace("&#39;", "'"));
    acme.script().id_token_header = None;
    // A token of the other provider for the other client, in this one's answer.
    acme.script().instead = Some(other.id_token("alice", |_| {}));
    assert_eq!(comes_to(&app, &acme).await, "the token is from an untrusted issuer");
    acme.script().instead = Some(acme.logout_token(|claims| claims["sub"] = "user_alice".into()));
    assert_eq!(comes_to(&app, &acme).await, "the token is of another kind, by its typ or its claims");
    // Signed by somebody else in the provider's name.
    let forged =
        SigningKey::es256().sign(&acme.issuer().header(), &jwt::claims(&acme.id_token("alice", |_| {})));
    acme.script().instead = Some(forged);
    assert_eq!(comes_to(&app, &acme).await, "the token's signature is wrong");
    acme.script().instead = Some("nonsense".to_owned());
    assert_eq!(comes_to(&app, &acme).await, "the token is malformed");
}

#[tokio::test]
async fn an_id_token_is_no_users_jwt_and_a_users_jwt_no_id_token() {
    let (app, acme) = one_provider(&json!({ "audiences": ["deputize"] })).await;
    app.user("alice").await;
    let id_token = acme.id_token("alice", |_| {});
    let refused = app.get("/api/v1/me").bearer(&id_token).await;
    assert_eq!(refused.refusal(), "401 User token refused: the token is for another audience");
    let user_token = acme.issuer().token("alice");
    app.get("/api/v1/me").bearer(&user_token).await.ok();
    acme.script().instead = Some(user_token);
    assert_eq!(comes_to(&app, &acme).await, "the token is for another audience");
}

#[tokio::test]
async fn an_answer_without_an_id_token_signs_nobody_in() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().instead = Some(String::new());
    assert_eq!(comes_to(&app, &acme).await, "it has no ID token");
}

#[tokio::test]
async fn the_service_proves_itself_by_a_secret_or_a_key_and_shows_neither() {
    let base = TestApp::start().await;
    let acme = IdentityProvider::new("https://id.example.com", &base.core.clock);
    let network = deputize_tests::Providers::of(&[&acme]);
    let trusted = json!([acme.trusted(&json!({}))]);
    let with = async |secret: &str| {
        let secrets = json!({ "id-example-com": secret }).to_string();
        base.signing_in_with(&trusted, &network, |settings| {
            settings.sign_in_secrets = secrets.parse().unwrap();
        })
        .await
    };
    acme.script().secret = Some("hunter2".to_owned());
    let app = with("hunter2").await;
    assert_eq!(comes_to(&app, &acme).await, "signed in");
    let (form, authorization) = acme.received().pop().unwrap();
    assert!(authorization.is_some() && !form.contains_key("client_secret"));

    let wrong = with("hunter3").await;
    let mut browser = wrong.browser();
    let refused = browser.sign_in(&acme, "alice").await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    assert!(
        refused.text.contains("does not know this service as a client") && !refused.text.contains("hunter")
    );

    acme.script().metadata.insert("token_endpoint_auth_methods_supported", json!(["client_secret_post"]));
    let app = with("hunter2").await;
    assert_eq!(comes_to(&app, &acme).await, "signed in");
    let (form, authorization) = acme.received().pop().unwrap();
    assert_eq!((form["client_secret"].as_str(), authorization), ("hunter2", None));

    acme.script().metadata.remove("token_endpoint_auth_methods_supported");
    let set = json!({ "client_id": acme.client_id(), "token_endpoint_auth_method": "client_secret_post" });
    let trusted_so = json!([acme.trusted(&json!({ "sign_in": set }))]);
    let secrets = json!({ "id-example-com": "hunter2" }).to_string();
    let app = base
        .signing_in_with(&trusted_so, &network, |settings| {
            settings.sign_in_secrets = secrets.parse().unwrap();
        })
        .await;
    assert_eq!(comes_to(&app, &acme).await, "signed in");
    assert_eq!(acme.received().pop().unwrap().0["client_secret"], "hunter2");

    acme.script().secret = None;
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n\
        OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n\
        1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n\
        -----END PRIVATE KEY-----\n";
    let app = with(pem).await;
    assert_eq!(comes_to(&app, &acme).await, "signed in");
    let (form, authorization) = acme.received().pop().unwrap();
    assert!(authorization.is_none() && !form.contains_key("client_secret"));
    let claims = jwt::claims(&form["client_assertion"]);
    assert_eq!(claims["iss"], acme.client_id());
    assert_eq!(claims["sub"], acme.client_id());
    assert_eq!(claims["aud"], "https://id.example.com/token");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
}

#[tokio::test]
async fn secrets_that_an_operator_stores_are_sealed_and_count_from_the_next_sign_in_on() {
    let (app, acme) = one_provider(&json!({})).await;
    acme.script().secret = Some("hunter2".to_owned());
    let is_refused = async || {
        let answer = app.browser().sign_in(&acme, "alice").await;
        answer.text.contains("does not know this service as a client")
    };
    assert!(is_refused().await, "it proves itself by nothing yet");
    for (secret, refused) in [("hunter1", true), ("hunter2", false), ("hunter3", true)] {
        store_secrets(&app.core, &json!({ "id-example-com": secret }).to_string()).await.unwrap();
        assert_eq!(is_refused().await, refused, "{secret}");
    }
    assert!(!format!("{:?}", app.contents()).contains("hunter"));
    let wrong = store_secrets(&app.core, r#"{"id-example-com": hunter2}"#).await.unwrap_err().to_string();
    assert_eq!(wrong, "must be a JSON object that gives a text to each provider's id");
    store_secrets(&app.core, "{}").await.unwrap();
    assert!(is_refused().await, "it has none any more");
}

#[tokio::test]
async fn stored_secrets_that_were_moved_or_damaged_sign_nobody_in() {
    let (app, acme) = one_provider(&json!({})).await;
    store_secrets(&app.core, &json!({ "id-example-com": "hunter2" }).to_string()).await.unwrap();
    // Sealed by another deployment.
    let other = app.another(Vault::new(root(8), Vec::new())).await;
    store_secrets(&other.core, &json!({ "id-example-com": "hunter2" }).to_string()).await.unwrap();
    let answer = app.browser().sign_in(&acme, "alice").await;
    assert!(answer.status.is_server_error() && !answer.text.contains("hunter"), "{answer}");
}

#[tokio::test]
async fn no_secret_of_a_sign_in_is_in_the_table() {
    let (app, acme) = one_provider(&json!({})).await;
    let mut browser = app.browser();
    let begun = browser.open("/sign-in?return_to=/x").await;
    let back = acme.sign_in(&Browser::location(&begun), "alice");
    let (_, attempt) = browser.cookie("deputize_sign_in");
    browser.open(&back).await;
    let (_, session) = browser.cookie("deputize_session");
    let (form, _) = acme.received().pop().unwrap();
    let table = format!("{:?}", app.contents());
    let state = back.split_once("state=").unwrap().1.split('&').next().unwrap();
    let secret = attempt.split_once('.').unwrap().0;
    for secret in [&*session, secret, &*form["code"], &*form["code_verifier"], state] {
        assert!(!table.contains(secret), "{secret}");
    }
    // A JWT's header begins with one of these, in base64url. Fewer letters could be in a sealed value by chance.
    for begins in ["{\"alg\":", "{\"typ\":", "{\"kid\":"] {
        let begins = BASE64_URL_SAFE_NO_PAD.encode(begins);
        assert!(!table.contains(&begins[..9]), "{begins}");
    }
}
