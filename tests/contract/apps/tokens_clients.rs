//! How apps prove themselves at the token endpoint.

use deputize_tests::{
    AppClient, TestApp, TestRequest,
    apps::{Host, REDIRECT_URI, Tokens, VERIFIER},
    client::JWT_BEARER,
    jwt::SigningKey,
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Signed;

async fn with(client: AppClient) -> Signed {
    Signed::up_as(TestApp::start().await, client).await
}

/// A refresh with these fields, and no proof by itself.
fn bare(it: &Signed, token: &str, more: &[(&str, &str)]) -> TestRequest {
    let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    fields.extend_from_slice(more);
    it.app.token(&fields)
}

#[tokio::test]
async fn a_secret_is_good_in_the_form_and_in_the_header_and_is_always_needed() {
    let it = with(AppClient::public("app.example").with_secret()).await;
    let (id, secret) = (it.client.client_id.clone(), it.client.secret.clone().unwrap());
    let mut tokens = it.app.sign_in(&it.allowed).await;
    let encoded = form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>();
    // Some clients do not encode it.
    for id in [&encoded, &id] {
        tokens = Tokens::of(&bare(&it, &tokens.refresh, &[]).basic(id, &secret).await);
    }
    let other = AppClient::public("app.example").with_secret().secret.unwrap();
    let before = it.app.contents();
    let mut told = Vec::new();
    let refused = [
        bare(&it, &tokens.refresh, &[("client_id", &id)]),
        bare(&it, &tokens.refresh, &[("client_id", &id), ("client_secret", &other)]),
        bare(&it, &tokens.refresh, &[("client_id", &id), ("client_secret", &it.bob.api_key)]),
        bare(&it, &tokens.refresh, &[]).basic(&encoded, &other),
        bare(&it, &tokens.refresh, &[]).basic(&encoded, ""),
        bare(&it, &tokens.refresh, &[]),
    ];
    for ask in refused {
        told.push(ask.await.refusal());
    }
    told.dedup();
    assert_eq!(told, ["401 invalid_client: Client authentication failed"]);
    assert_eq!(it.app.contents(), before);
    let both = bare(&it, &tokens.refresh, &[("client_secret", &secret)]).basic(&encoded, &secret).await;
    assert_eq!(
        both.refusal(),
        "400 invalid_request: Send client credentials in the Authorization header or in the body, not both"
    );
}

#[tokio::test]
async fn a_public_app_sends_its_id_alone_and_by_the_header_too() {
    let it = Signed::up().await;
    let tokens = it.app.sign_in(&it.allowed).await;
    let id = it.client.client_id.clone();
    let tokens = Tokens::of(&bare(&it, &tokens.refresh, &[("client_id", &id)]).await);
    let encoded = form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>();
    Tokens::of(&bare(&it, &tokens.refresh, &[]).basic(&encoded, "").await);
}

#[tokio::test]
async fn an_app_signs_by_rs256_or_es256_for_the_issuer_or_the_endpoint_once_each() {
    for key in [SigningKey::rs256(), SigningKey::es256()] {
        let it = with(AppClient::public("app.example").with_key(key)).await;
        let mut tokens = it.app.sign_in(&it.allowed).await;
        for audience in [
            json!("https://deputize.test"),
            json!("https://deputize.test/"),
            json!("https://deputize.test/api/v1/oauth/token"),
            json!(["https://deputize.test", "https://deputize.test/api/v1/oauth/token"]),
            json!("https://deputize.test/token"),
        ] {
            let assertion = it.client.assertion_with(&it.app, |claims| claims["aud"] = audience);
            let fields = [("client_assertion_type", JWT_BEARER), ("client_assertion", &*assertion)];
            // The assertion names the client, so the request need not.
            let first = bare(&it, &tokens.refresh, &fields).await;
            let again = bare(&it, &tokens.refresh, &fields).await;
            assert_eq!(
                again.refusal(),
                "401 invalid_client: client_assertion: it has been used already; sign a new one for each request"
            );
            tokens = Tokens::of(&first);
        }
    }
}

#[tokio::test]
async fn an_assertion_that_is_wrong_in_anything_is_refused_and_changes_nothing() {
    let it = with(AppClient::public("app.example").with_key(SigningKey::es256())).await;
    let other = AppClient::public("app.example").with_key(SigningKey::es256());
    let tokens = it.app.sign_in(&it.allowed).await;
    let before = it.app.contents();
    let set = |name: &str, value: Value| it.client.assertion_with(&it.app, |claims| claims[name] = value);
    let now = it.app.now().as_seconds();
    let mut told = Vec::new();
    for (what, assertion) in [
        ("another key", other.assertion(&it.app)),
        ("aud", set("aud", json!("https://elsewhere.test"))),
        ("aud of another too", set("aud", json!(["https://deputize.test", "https://elsewhere.test"]))),
        ("iss", set("iss", json!("https://other.example/client.json"))),
        ("expired", set("exp", json!(now - 60))),
        ("too long", set("exp", json!(now + 3600))),
        ("no jti", set("jti", Value::Null)),
        ("none", String::from("none")),
    ] {
        let fields = [("client_assertion_type", JWT_BEARER), ("client_assertion", &*assertion)];
        told.push(format!("{what}: {}", bare(&it, &tokens.refresh, &fields).await.refusal()));
    }
    let assertion = it.client.assertion(&it.app);
    let fields = [
        ("client_id", "https://other.example/client.json"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &assertion),
    ];
    told.push(format!("client_id: {}", bare(&it, &tokens.refresh, &fields).await.refusal()));
    let id = it.client.client_id.clone();
    told.push(format!("no proof: {}", bare(&it, &tokens.refresh, &[("client_id", &id)]).await.refusal()));
    assert_snapshot!(told.join("\n"), @"
    another key: 401 invalid_client: Client authentication failed
    aud: 401 invalid_client: client_assertion: the token is for another audience
    aud of another too: 401 invalid_client: client_assertion: the token is for another audience
    iss: 401 invalid_client: client_assertion: its iss and sub must both be the client's id
    expired: 401 invalid_client: client_assertion: the token has expired
    too long: 401 invalid_client: client_assertion: it must expire within 5 minutes
    no jti: 401 invalid_client: client_assertion: its jti must have 1 to 255 bytes
    none: 401 invalid_client: client_assertion: the token is malformed
    client_id: 401 invalid_client: client_assertion: its sub is not the client_id that was sent
    no proof: 401 invalid_client: Client authentication failed
    ");
    assert_eq!(it.app.contents(), before);
}

#[tokio::test]
async fn keys_at_a_jwks_uri_are_fetched_for_who_holds_a_live_token_and_kept_for_a_while() {
    let key = SigningKey::es256();
    let set = json!({ "keys": [{ "kty": "odd" }, key.jwk("key-1"), SigningKey::rs256().jwk("key-2")] });
    let host = Host::start(&set).await;
    let it = with(AppClient::public("app.example").with_key_at(key, &host.at("/jwks"))).await;

    // A made-up code or token fetches nothing, nor does one of another app.
    let other = it.app.allow(&it.bob, &AppClient::public("other.example"), "management", "manage").await;
    let (others_code, none) = (it.app.code(&other).await, "dpc_none");
    for code in [none, &others_code] {
        assert_eq!(it.app.redeem(&it.client, code, &[]).await.status, 400);
    }
    assert_eq!(it.app.refresh(&it.client, "dpr_none", &[]).await.status, 400);
    assert_eq!(host.asked(), 0);

    let mut tokens = it.app.sign_in(&it.allowed).await;
    for _ in 0..3 {
        tokens = it.app.refreshed(&it.client, &tokens.refresh).await;
    }
    assert_eq!(host.asked(), 1);
    // What none of the keys has signed asks again, but not at once.
    let forged = AppClient { key: Some(SigningKey::es256().into()), ..it.client.clone() };
    for (seconds, times) in [(0, 1), (30, 2), (0, 2), (29, 2), (1, 3)] {
        it.app.pass(std::time::Duration::from_secs(seconds));
        assert_eq!(it.app.refresh(&forged, &tokens.refresh, &[]).await.status, 401);
        assert_eq!(host.asked(), times, "{seconds}");
    }
    it.app.pass(std::time::Duration::from_mins(10));
    it.app.refreshed(&it.client, &tokens.refresh).await;
    assert_eq!(host.asked(), 4);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_said_to_be_and_nothing_is_used_up() {
    let key = SigningKey::es256();
    let good = json!({ "keys": [key.jwk("key-1")] });
    let host = Host::start(&good).await;
    let it = with(AppClient::public("app.example").with_key_at(key, &host.at("/jwks"))).await;
    let code = it.app.code(&it.allowed).await;
    let before = it.app.contents();
    let mut told = Vec::new();
    for (status, body) in [(404, ""), (500, ""), (302, ""), (200, "<html>"), (200, r#"{"keys":[]}"#)] {
        host.say(status, body);
        told.push(it.app.redeem(&it.client, &code, &[]).await.refusal());
    }
    assert_snapshot!(told.join("\n"), @"
    401 invalid_client: client_assertion: the app's jwks_uri: there is no document
    502 The app's jwks_uri cannot be asked: it answered HTTP 500 Internal Server Error
    502 The app's jwks_uri cannot be asked: it redirects elsewhere, which is not followed
    401 invalid_client: client_assertion: the app's jwks_uri: it is no such document (line 1)
    401 invalid_client: Client authentication failed
    ");
    assert_eq!(it.app.contents(), before);
    host.say(200, &good.to_string());
    it.app.pass(std::time::Duration::from_secs(30));
    it.app.redeem(&it.client, &code, &[]).await.ok();
}

#[tokio::test]
async fn an_agent_account_is_no_app_and_an_app_is_no_agent() {
    let it = Signed::up().await;
    let bot = it.app.agent("bot", &it.alice).await;
    let code = it.app.code(&it.allowed).await;
    let id = bot.id.to_string();
    let as_bot = [("client_id", &*id), ("client_secret", &bot.secret)];
    assert_eq!(it.app.redeem(&it.client, &code, &as_bot).await.status, 401);
    let tokens = it.app.sign_in(&it.allowed).await;
    assert_eq!(it.app.refresh(&it.client, &tokens.refresh, &as_bot).await.status, 401);
    let as_app = [("grant_type", "client_credentials"), ("client_id", &*it.client.client_id)];
    assert_eq!(it.app.token(&as_app).await.status, 401);
}

#[tokio::test]
async fn what_a_request_lacks_is_named() {
    let it = Signed::up().await;
    let mut told = Vec::new();
    for grant in ["authorization_code", "refresh_token"] {
        told.push(it.app.token(&[("grant_type", grant), ("client_id", "a")]).await.refusal());
    }
    let fields = [("grant_type", "authorization_code"), ("code", "dpc_x"), ("redirect_uri", REDIRECT_URI)];
    told.push(it.app.token(&fields).await.refusal());
    let twice = [("code", "dpc_x"), ("code", "dpc_x"), ("code_verifier", VERIFIER)];
    told.push(it.app.as_app(&it.client, &[], &twice).await.refusal());
    assert_snapshot!(told.join("\n"), @"
    400 invalid_request: The parameter code is missing
    400 invalid_request: The parameter refresh_token is missing
    400 invalid_request: The parameter code_verifier is missing
    400 invalid_request: The parameter code occurs twice
    ");
}
