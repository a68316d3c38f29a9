//! What a provider gives to us as its client, whatever it is.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a fuzz target fails by panicking")]

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    Fetch, Issuers, MAX_GROUPS, TrustedIssuer,
    tokens::{ID_TOKEN_TYPES, LOGOUT_TOKEN_TYPES, accept, logout},
};
use crate::{clock::Timestamp, error::Cause, jwt};

/// Nothing is fetched: the signature is another matter.
#[derive(Debug)]
struct Nowhere;

impl Fetch for Nowhere {
    fn fetch<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>> {
        Box::pin(async { Err("there is no network".into()) })
    }
}

static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| {
    let issuer = json!({
        "issuer": "https://id.test", "link_by_email": true, "groups_claim": "groups",
        "role_claim": { "claim": ["a", "b"], "values": { "x": "admin" } },
        "sign_in": { "client_id": "us" },
    });
    let issuer: TrustedIssuer = serde_json::from_value(issuer).unwrap();
    Issuers::new(vec![issuer], Arc::new(Nowhere))
});

/// An ID token and a logout token. The input is a token, or its header and its claims on two lines.
pub fn tokens(input: &str) {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let made = input.split_once('\n').map(|(header, claims)| format!("{}.{}.AA", part(header), part(claims)));
    let token = made.as_deref().unwrap_or(input);
    let issuers = &*ISSUERS;
    let provider = issuers.providers().next().unwrap();
    let now = Timestamp::from_seconds(1_800_000_000);
    let claims = || jwt::unproven_claims::<Value>(token).unwrap();
    let is_for_us = |claims: &Value| {
        claims["iss"] == "https://id.test"
            && match &claims["aud"] {
                Value::Array(all) => all.contains(&json!("us")),
                one => one == "us",
            }
    };
    let id_token = issuers.route(token, &ID_TOKEN_TYPES);
    let id_token = id_token.and_then(|(_, presented)| accept(provider, "us", &presented, "n", now));
    if let Ok(proven) = &id_token {
        let claims = claims();
        assert!(is_for_us(&claims) && claims["nonce"] == "n" && claims["events"].is_null(), "{claims}");
        assert!(claims["azp"] == "us" || claims["azp"].is_null(), "{claims}");
        assert_eq!(claims["sub"], *proven.user.subject);
        assert!(claims["exp"].as_f64().unwrap() > 1_799_999_900.0, "{claims}");
        let groups = proven.user.claims.as_ref().map_or(0, |given| given.groups.len());
        assert!(groups <= MAX_GROUPS);
    }
    let logout_token = issuers.route(token, &LOGOUT_TOKEN_TYPES);
    let logout_token = logout_token.and_then(|(_, presented)| logout("us", &presented, now));
    if let Ok(said) = &logout_token {
        let claims = claims();
        assert!(is_for_us(&claims) && claims["nonce"].is_null() && claims["events"].is_object(), "{claims}");
        assert!(!said.jti.is_empty() && (said.sid.is_some() || said.subject.is_some()));
    }
    assert!(id_token.is_err() || logout_token.is_err(), "one in the other's place: {token}");
}
