//! Which of an issuer's keys a token is checked with, and how often the keys are fetched.

use std::time::Duration;

use deputize_tests::jwt::SigningKey;
use futures::future::join_all;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::providers::{Trusting, key};

const ISSUER: &str = "https://id.example.com";

async fn trusting() -> Trusting {
    Trusting::set(json!([{ "issuer": ISSUER, "audiences": ["deputize"], "provision": true }])).await
}

impl Trusting {
    fn publishes(&self, keys: &[Value]) {
        self.publish(ISSUER, ISSUER, keys);
    }

    fn token(&self, signing: &SigningKey, kid: Option<&str>) -> String {
        let mut header = json!({ "alg": signing.algorithm(), "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        signing.sign(&header, &self.claims(ISSUER, &json!({ "aud": "deputize", "sub": "bob" })))
    }
}

#[tokio::test]
async fn a_key_or_a_token_without_a_kid_is_tried() {
    let it = trusting().await;
    let (one, two) = (SigningKey::es256(), SigningKey::es256());
    it.publishes(&[key(&one, &[], &json!({})), key(&two, &[], &json!({ "kid": "two" }))]);
    it.proves(&it.token(&one, None)).await;
    it.proves(&it.token(&one, Some("a name of its own"))).await;
    it.proves(&it.token(&two, None)).await;
    it.proves(&it.token(&two, Some("two"))).await;
    // But a token that names another key is not that key's.
    assert_snapshot!(it.who(&it.token(&one, Some("two"))).await, @"401 User token refused: the token's signature is wrong");
    let stranger = SigningKey::es256();
    assert_snapshot!(it.who(&it.token(&stranger, None)).await, @"401 User token refused: the token's signature is wrong");
    let of_no_such_kind = SigningKey::eddsa();
    assert_snapshot!(it.who(&it.token(&of_no_such_kind, None)).await, @"401 User token refused: the token's algorithm is not allowed");
}

#[tokio::test]
async fn several_keys_may_have_one_kid() {
    let it = trusting().await;
    let keys = [SigningKey::es256(), SigningKey::es256(), SigningKey::rs256(), SigningKey::eddsa()];
    let published: Vec<Value> =
        keys.iter().map(|signing| key(signing, &[], &json!({ "kid": "1" }))).collect();
    it.publishes(&published);
    for signing in &keys {
        it.proves(&it.token(signing, Some("1"))).await;
    }
    assert_snapshot!(it.who(&it.token(&SigningKey::es256(), Some("1"))).await, @"401 User token refused: the token's signature is wrong");
    assert_snapshot!(it.who(&it.token(&SigningKey::es384(), Some("1"))).await, @"401 User token refused: the token's algorithm is not allowed");
}

#[tokio::test]
async fn a_key_that_is_for_one_algorithm_is_good_for_no_other() {
    let it = trusting().await;
    let signing = SigningKey::rs256();
    it.publishes(&[key(&signing, &["alg"], &json!({ "kid": "1" }))]);
    it.proves(&it.token(&signing, Some("1"))).await;
    let claims = it.claims(ISSUER, &json!({ "aud": "deputize", "sub": "bob" }));
    for header in [json!({ "alg": "PS256", "kid": "1" }), json!({ "alg": "PS256" })] {
        let refused = it.who(&signing.sign(&header, &claims)).await;
        assert_eq!(refused, "401 User token refused: the token's algorithm is not allowed");
    }
}

/// RFC 9864: `Ed25519` is what was `EdDSA`.
#[tokio::test]
async fn ed25519_has_two_names() {
    let it = trusting().await;
    let signing = SigningKey::eddsa();
    for published in [json!({}), json!({ "alg": "EdDSA" }), json!({ "alg": "Ed25519" })] {
        let it = trusting().await;
        it.publishes(&[key(&signing, &[], &published)]);
        for alg in ["EdDSA", "Ed25519"] {
            let claims = it.claims(ISSUER, &json!({ "aud": "deputize", "sub": "bob" }));
            it.proves(&signing.sign(&json!({ "alg": alg }), &claims)).await;
        }
    }
    it.publishes(&[key(&signing, &[], &json!({ "alg": "ES256" }))]);
    let refused = it.who(&it.token(&signing, None)).await;
    assert_eq!(
        refused,
        "401 User token refused: the token is signed with a key that its issuer does not publish"
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_read_does_not_spoil_the_others() {
    let it = trusting().await;
    let (signing, private) = (SigningKey::es256(), SigningKey::es256());
    it.publishes(&[
        json!(null),
        json!("a key"),
        json!([1, 2]),
        json!({}),
        json!({ "kty": "RSA", "n": 1, "e": "AQAB", "kid": "1" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "1" }),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "1" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "1" }),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "1" }),
        key(&private, &[], &json!({ "kid": "leaked", "d": "AA" })),
        key(&signing, &["alg", "use"], &json!({ "kid": "1", "x5c": 7, "nbf": "yesterday" })),
    ]);
    it.proves(&it.token(&signing, Some("1"))).await;
    // Anybody can sign with a key whose private half is published.
    let leaked = it.who(&it.token(&private, Some("leaked"))).await;
    assert_eq!(
        leaked,
        "401 User token refused: the token is signed with a key that its issuer does not publish"
    );
}

#[tokio::test]
async fn a_document_that_holds_no_keys_is_an_outage() {
    let it = trusting().await;
    let signing = SigningKey::es256();
    it.publishes(&[]);
    let jwks_uri = format!("{ISSUER}/keys");
    for odd in [json!({}), json!([]), json!("keys"), json!({ "keys": {} })] {
        it.published.publish(&jwks_uri, odd);
        let refused = it.who(&it.token(&signing, Some("1"))).await;
        assert_eq!(refused, "503 The service is temporarily unavailable; nothing was changed, try again");
    }
}

/// Each key costs a check of a signature.
#[tokio::test]
async fn only_a_few_keys_are_tried_on_one_token() {
    let it = trusting().await;
    let keys: Vec<SigningKey> = (0..9).map(|_| SigningKey::es256()).collect();
    let published: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(n, signing)| key(signing, &[], &json!({ "kid": n.to_string() })))
        .collect();
    it.publishes(&published);
    it.proves(&it.token(&keys[7], None)).await;
    assert_snapshot!(it.who(&it.token(&keys[8], None)).await, @"401 User token refused: the token's signature is wrong");
    it.proves(&it.token(&keys[8], Some("8"))).await;
}

#[tokio::test]
async fn a_key_that_was_replaced_under_the_same_name_or_none_is_found() {
    for kid in [Some("1"), None] {
        let it = trusting().await;
        let (old, new) = (SigningKey::es256(), SigningKey::es256());
        let published = |signing: &SigningKey| match kid {
            Some(kid) => key(signing, &[], &json!({ "kid": kid })),
            None => key(signing, &[], &json!({})),
        };
        it.publishes(&[published(&old)]);
        it.proves(&it.token(&old, kid)).await;
        it.publishes(&[published(&new)]);
        let refused = it.who(&it.token(&new, kid)).await;
        assert_eq!(refused, "401 User token refused: the token's signature is wrong", "within half a minute");
        it.app.pass(Duration::from_secs(30));
        it.proves(&it.token(&new, kid)).await;
    }
}

#[tokio::test]
async fn forged_tokens_cannot_make_us_hammer_an_issuer_nor_make_an_outage_of_its_outage() {
    let it = trusting().await;
    let (signing, stranger) = (SigningKey::es256(), SigningKey::es256());
    it.publishes(&[key(&signing, &[], &json!({ "kid": "1" }))]);
    it.proves(&it.token(&signing, Some("1"))).await;
    let before = it.published.fetched();
    it.app.pass(Duration::from_secs(30));
    for kid in [Some("1"), None, Some("2")].into_iter().cycle().take(30) {
        it.who(&it.token(&stranger, kid)).await;
    }
    assert_eq!(it.published.fetched() - before, 2, "the metadata and the keys, once");
    it.published.take_down();
    it.app.pass(Duration::from_secs(30));
    assert_snapshot!(it.who(&it.token(&stranger, Some("1"))).await, @"401 User token refused: the token's signature is wrong");
    // This one may be signed with a new key.
    assert_snapshot!(it.who(&it.token(&stranger, Some("2"))).await, @"503 The service is temporarily unavailable; nothing was changed, try again");
    it.proves(&it.token(&signing, Some("1"))).await;
}

#[tokio::test]
async fn requests_that_wait_for_one_fetch_share_its_failure() {
    let it = trusting().await;
    let token = it.token(&SigningKey::es256(), Some("1"));
    let answers = join_all((0..10).map(|_| it.who(&token))).await;
    for answer in answers {
        assert_eq!(answer, "503 The service is temporarily unavailable; nothing was changed, try again");
    }
    assert_eq!(it.published.fetched(), 1);
    it.who(&token).await;
    assert_eq!(it.published.fetched(), 2);
}

/// RFC 7519 section 2: a `NumericDate` may have a fraction.
#[tokio::test]
async fn times_may_have_fractions() {
    let it = trusting().await;
    let signing = SigningKey::es256();
    it.publishes(&[key(&signing, &[], &json!({}))]);
    let now = it.app.now().as_seconds();
    let token = |times: &Value| {
        let mut claims = it.claims(ISSUER, &json!({ "aud": "deputize", "sub": "bob" }));
        claims.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        signing.sign(&json!({ "alg": "ES256" }), &claims)
    };
    #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
    let at = |seconds: i64| (now + seconds) as f64 + 0.75;
    it.proves(&token(&json!({ "exp": at(60), "iat": at(-1), "nbf": at(0) }))).await;
    let refused = [json!({ "exp": at(-31) }), json!({ "nbf": at(31) }), json!({ "exp": "soon" })];
    let mut refusals = Vec::new();
    for times in &refused {
        refusals.push(it.who(&token(times)).await);
    }
    assert_snapshot!(refusals.join("\n"), @"
    401 User token refused: the token has expired
    401 User token refused: the token is not valid yet
    401 User token refused: the token is malformed
    ");
}

/// RFC 7515 section 4.1: what a reader does not understand it passes over, `crit` aside.
#[tokio::test]
async fn a_header_may_hold_what_nobody_here_reads() {
    let it = trusting().await;
    let signing = SigningKey::es256();
    it.publishes(&[key(&signing, &[], &json!({ "kid": "1" }))]);
    let claims = it.claims(ISSUER, &json!({ "aud": "deputize", "sub": "bob" }));
    let header = json!({ "alg": "ES256", "kid": "1", "jwk": 7, "x5c": "MIID", "cty": null, "nonce": [] });
    it.proves(&signing.sign(&header, &claims)).await;
    // A key in the header is no key of the issuer's.
    let stranger = SigningKey::es256();
    let header =
        json!({ "alg": "ES256", "kid": "1", "jwk": stranger.jwk("1"), "jku": "https://evil.example" });
    let refused = it.who(&stranger.sign(&header, &claims)).await;
    assert_eq!(refused, "401 User token refused: the token's signature is wrong");
}
