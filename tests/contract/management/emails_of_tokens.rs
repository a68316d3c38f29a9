//! Which claim of a token is the user's address, and whether it is theirs.

use std::sync::Arc;

use deputize_tests::{TestApp, issuer::Documents, jwt::SigningKey};
use serde_json::{Value, json};

use crate::scenario::Scenario;

const ISSUER: &str = "https://id.example.org";

/// A process that trusts one issuer, and the issuer's key. Bob is a user whom no issuer knows yet.
struct It {
    scenario: Scenario,
    app: TestApp,
    key: SigningKey,
}

impl It {
    async fn set(settings: &Value) -> Self {
        let (scenario, published, key) = (Scenario::start().await, Documents::default(), SigningKey::es256());
        let mut trusted = json!({ "issuer": ISSUER, "jwks_uri": ISSUER, "audiences": ["deputize"] });
        trusted.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        published.publish(ISSUER, json!({ "keys": [key.jwk("1")] }));
        let app = scenario.app.trusting(&json!([trusted]), Arc::new(published)).await;
        Self { scenario, app, key }
    }

    /// Whether a token with these claims leads to Bob, who is new to the issuer.
    async fn leads_to_bob(settings: &Value, claims: &Value) -> bool {
        let it = Self::set(settings).await;
        let me = it.me(claims).await;
        if me["id"].is_null() {
            assert_eq!(me["reason"], "user_unknown", "{me}");
            return false;
        }
        assert_eq!(me["id"], it.scenario.bob.id.to_string());
        true
    }

    async fn me(&self, claims: &Value) -> Value {
        let now = self.app.now().as_seconds();
        let mut all = json!({ "iss": ISSUER, "aud": "deputize", "sub": "b0b", "iat": now, "exp": now + 60 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = self.key.sign(&json!({ "alg": "ES256", "kid": "1" }), &all);
        self.app.get("/api/v1/me").bearer(&token).await.json()
    }
}

/// Amazon Cognito and others write booleans as text
/// (<https://docs.aws.amazon.com/cognito/latest/developerguide/userinfo-endpoint.html>).
#[tokio::test]
async fn email_verified_may_be_a_text() {
    let settings = json!({ "link_by_email": true });
    for (verified, leads) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!("yes"), false),
        (json!(1), false),
        (json!(null), false),
        (json!([true]), false),
    ] {
        let claims = json!({ "email": "bob@example.com", "email_verified": verified });
        assert_eq!(It::leads_to_bob(&settings, &claims).await, leads, "{verified}");
    }
}

#[tokio::test]
async fn no_other_claim_than_email_is_an_address_unless_the_operator_says_so() {
    let settings = json!({ "link_by_email": "any" });
    let claims = json!({
        "emails": ["bob@example.com"], "preferred_username": "bob@example.com", "upn": "bob@example.com",
        "unique_name": "bob@example.com", "email_verified": true,
    });
    assert!(!It::leads_to_bob(&settings, &claims).await);
}

/// <https://learn.microsoft.com/en-us/azure/active-directory-b2c/tokens-overview#claims> and
/// <https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference>
#[tokio::test]
async fn an_address_in_another_claim_leads_to_its_user_where_the_operator_vouches_for_its_domain() {
    for (claim, value) in [
        ("emails", json!(["bob@example.com", "other@example.com"])),
        ("emails", json!([7, "no address", "Bob@Example.COM"])),
        ("preferred_username", json!("bob@example.com")),
        ("upn", json!("BOB@example.com")),
        ("email", json!("bob@example.com")),
    ] {
        let settings = |domain: &str| json!({ "link_by_email": true, "email_claim": claim, "email_domains": ["example.net", domain] });
        let claims = json!({ claim: value });
        assert!(It::leads_to_bob(&settings("example.com"), &claims).await, "{claim} {value}");
        for other in ["example.org", "ample.com", "mail.example.com"] {
            assert!(!It::leads_to_bob(&settings(other), &claims).await, "{claim} {value} {other}");
        }
    }
}

/// In Entra ID a user's `email` is what an administrator of any tenant has written, or the user: nOAuth
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/migrate-off-email-claim-authorization>).
#[tokio::test]
async fn an_address_outside_of_the_operators_domains_leads_to_nobody_without_the_issuers_word() {
    let settings = json!({ "link_by_email": true, "email_domains": ["example.net"] });
    assert!(!It::leads_to_bob(&settings, &json!({ "email": "bob@example.com" })).await);
    let said = json!({ "email": "bob@example.com", "email_verified": true });
    assert!(It::leads_to_bob(&settings, &said).await);
}

#[tokio::test]
async fn a_tokens_no_is_stronger_than_the_operators_yes_and_its_yes_is_for_email_alone() {
    for claim in ["email", "preferred_username"] {
        let settings =
            json!({ "link_by_email": true, "email_claim": claim, "email_domains": ["example.com"] });
        for no in [json!(false), json!("false"), json!(0)] {
            let claims = json!({ claim: "bob@example.com", "email_verified": no });
            assert!(!It::leads_to_bob(&settings, &claims).await, "{claim} {no}");
        }
    }
    let settings = json!({
        "link_by_email": true, "email_claim": "preferred_username", "email_domains": ["example.net"],
    });
    let claims = json!({
        "preferred_username": "bob@example.com", "email": "mallory@evil.example", "email_verified": true,
    });
    assert!(!It::leads_to_bob(&settings, &claims).await);
}

#[tokio::test]
async fn an_address_in_another_claim_is_recognized_as_a_deactivated_users() {
    let it = It::set(&json!({ "provision": true, "email_claim": "preferred_username" })).await;
    let path = format!("/api/v1/users/{}", it.scenario.bob.id);
    let off = it.scenario.app.patch(path).as_user(&it.scenario.alice);
    off.json(&json!({ "active": false })).await.ok();
    let me = it.me(&json!({ "preferred_username": "bob@example.com" })).await;
    assert_eq!(me["reason"], "user_inactive", "{me}");
    let me = it.me(&json!({ "preferred_username": "dave@example.com", "name": { "first": "Dave" } })).await;
    assert_eq!((me["email"].clone(), me["reason"].clone()), (json!(null), json!(null)), "{me}");
}
