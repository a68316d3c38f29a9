//! Users' tokens as well-known providers make them, with the keys that these publish. What is imitated is on the
//! provider's page beside it.

use std::sync::Arc;

use deputize_tests::{
    TestApp,
    issuer::Documents,
    jwt::{self, SigningKey},
};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// A process that trusts the provider as the operator's settings say, and what the provider publishes.
pub(super) struct Trusting {
    pub(super) app: TestApp,
    pub(super) published: Documents,
    pub(super) scenario: Scenario,
}

impl Trusting {
    pub(super) async fn set(trusted: Value) -> Self {
        let (scenario, published) = (Scenario::start().await, Documents::default());
        let app = scenario.app.trusting(&trusted, Arc::new(published.clone())).await;
        Self { app, published, scenario }
    }

    /// OpenID Connect Discovery at an issuer, and its keys.
    pub(super) fn publish(&self, at: &str, issuer: &str, keys: &[Value]) {
        let jwks_uri = format!("{}/keys", at.trim_end_matches('/'));
        let discovery = format!("{}/.well-known/openid-configuration", at.trim_end_matches('/'));
        self.published.publish(&discovery, json!({ "issuer": issuer, "jwks_uri": jwks_uri }));
        self.published.publish(&jwks_uri, json!({ "keys": keys }));
    }

    /// Claims that every provider writes.
    pub(super) fn claims(&self, issuer: &str, more: &Value) -> Value {
        let now = self.app.now().as_seconds();
        let mut claims = json!({ "iss": issuer, "iat": now, "nbf": now, "exp": now + 3600 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    }

    /// Which user the token proves: an id, or the refusal.
    pub(super) async fn who(&self, token: &str) -> String {
        let me = self.app.get("/api/v1/me").bearer(token).await;
        if me.status == 200 { me.field("id") } else { me.refusal() }
    }

    /// The user whom the token proves.
    pub(super) async fn proves(&self, token: &str) -> String {
        let who = self.who(token).await;
        assert!(who.parse::<uuid::Uuid>().is_ok(), "{who}");
        who
    }
}

/// A key as a provider publishes it: only these members, and others in addition.
pub(super) fn key(key: &SigningKey, members: &[&str], more: &Value) -> Value {
    let mut jwk = key.jwk("");
    jwk.as_object_mut().unwrap().retain(|member, _| {
        members.contains(&&**member) || ["kty", "crv", "x", "y", "n", "e"].contains(&&**member)
    });
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwk
}

const CONTOSO: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const FABRIKAM: &str = "82229342-1101-4ab6-817b-70c0747630f3";
/// The tenant of personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn entra(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#keys-document-and-signing-key-issuer>: keys
/// without `alg`, each of which says for which issuer it signs.
fn entras(signing: &SigningKey, kid: &str, tenant: &str) -> Value {
    key(signing, &["use"], &json!({ "kid": kid, "x5t": kid, "x5c": ["MIID"], "issuer": entra(tenant) }))
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#token-formats>
fn entras_header(kid: &str) -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "x5t": kid, "kid": kid })
}

#[tokio::test]
async fn a_user_of_one_entra_tenant_is_known_by_tokens_of_version_2() {
    let issuer = entra(CONTOSO);
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": ["6e74172b"], "provision": true }])).await;
    let signing = SigningKey::rs256();
    it.publish(&issuer, &issuer, &[entras(&signing, "i6lGk3", "{tenantid}")]);
    let claims = json!({
        "aud": "6e74172b", "ver": "2.0", "tid": CONTOSO, "oid": "690222be", "sub": "HKZpfaHy", "azp": "6e74172b",
        "preferred_username": "bob@example.com", "scp": "access_as_user", "name": "Abe Lincoln",
    });
    let token = signing.sign(&entras_header("i6lGk3"), &it.claims(&issuer, &claims));
    // The name is an address, but no proof of it: this is not Bob of the other issuer.
    assert_ne!(it.proves(&token).await, it.scenario.bob.id.to_string());
}

#[tokio::test]
async fn a_user_of_one_entra_tenant_is_known_by_tokens_of_version_1() {
    let issuer = format!("https://sts.windows.net/{CONTOSO}/");
    let audience = "api://deputize";
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": [audience], "provision": true }])).await;
    let signing = SigningKey::rs256();
    // The keys of version 1 name no issuer.
    let bare = key(&signing, &["use"], &json!({ "kid": "i6lGk3", "x5t": "i6lGk3" }));
    it.publish(&issuer, &issuer, &[bare]);
    let claims = json!({
        "aud": audience, "ver": "1.0", "tid": CONTOSO, "sub": "l3_roISQ", "unique_name": "abeli@microsoft.com",
    });
    it.proves(&signing.sign(&entras_header("i6lGk3"), &it.claims(&issuer, &claims))).await;
}

/// <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#multi-tenant-applications>
#[tokio::test]
async fn of_all_entra_tenants_only_those_are_trusted_that_the_operator_lists() {
    let template = entra("{tenantid}");
    let trusted = json!([{
        "issuer": template, "tenants": [CONTOSO, PERSONAL], "audiences": ["deputize"], "provision": true,
    }]);
    let it = Trusting::set(trusted).await;
    let (signing, personal) = (SigningKey::rs256(), SigningKey::rs256());
    let keys = [entras(&signing, "any", "{tenantid}"), entras(&personal, "personal", PERSONAL)];
    it.publish(&entra("common"), &template, &keys);
    let token = |signing: &SigningKey, kid: &str, iss: &str, tid: &str| {
        let claims = it.claims(iss, &json!({ "aud": "deputize", "tid": tid, "sub": "ABC123" }));
        signing.sign(&entras_header(kid), &claims)
    };
    let of_contoso = it.proves(&token(&signing, "any", &entra(CONTOSO), CONTOSO)).await;
    // A subject is a tenant's own.
    assert_ne!(it.proves(&token(&personal, "personal", &entra(PERSONAL), PERSONAL)).await, of_contoso);
    let refused = [
        // Another tenant, whose administrators choose its claims.
        token(&signing, "any", &entra(FABRIKAM), FABRIKAM),
        token(&signing, "any", &entra(FABRIKAM), CONTOSO),
        token(&signing, "any", &entra(CONTOSO), FABRIKAM),
        // No tenant.
        token(&signing, "any", &template, CONTOSO),
        token(&signing, "any", &entra("common"), CONTOSO),
        // The key is another issuer's.
        token(&personal, "personal", &entra(CONTOSO), CONTOSO),
        token(&personal, "any", &entra(CONTOSO), CONTOSO),
    ];
    let mut refusals = Vec::new();
    for token in refused {
        refusals.push(it.who(&token).await);
    }
    assert_snapshot!(refusals.join("\n"), @"
    401 User token refused: the token is from an untrusted issuer
    401 User token refused: the token is from an untrusted issuer
    401 User token refused: the token is from an untrusted issuer
    401 User token refused: the token is from an untrusted issuer
    401 User token refused: the token is from an untrusted issuer
    401 User token refused: the token is signed with a key that its issuer does not publish
    401 User token refused: the token's signature is wrong
    ");
}

/// Also with the keys of the one tenant: <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validation-of-the-signing-key-issuer>.
#[tokio::test]
async fn a_key_of_another_issuer_in_an_issuers_own_document_signs_nothing() {
    let issuer = entra(CONTOSO);
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": ["deputize"], "provision": true }])).await;
    let (signing, other) = (SigningKey::rs256(), SigningKey::rs256());
    let keys = [entras(&signing, "own", CONTOSO), entras(&other, "other", FABRIKAM)];
    it.publish(&issuer, &issuer, &keys);
    let claims = it.claims(&issuer, &json!({ "aud": "deputize", "sub": "ABC123" }));
    it.proves(&signing.sign(&entras_header("own"), &claims)).await;
    for header in [entras_header("other"), json!({ "alg": "RS256" })] {
        let refused = it.who(&other.sign(&header, &claims)).await;
        assert!(refused.starts_with("401 User token refused: the token"), "{refused}");
    }
}

/// <https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/#access-token>
#[tokio::test]
async fn a_user_of_okta_is_known() {
    let issuer = "https://acme.okta.com/oauth2/default";
    let it =
        Trusting::set(json!([{ "issuer": issuer, "audiences": ["api://default"], "provision": true }])).await;
    let signing = SigningKey::rs256();
    it.publish(issuer, issuer, &[key(&signing, &["alg", "use"], &json!({ "kid": "RQ8DuhdxCczyMvy7" }))]);
    let claims = json!({
        "ver": 1, "jti": "AT.0mP4", "aud": "api://default", "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid"], "sub": "john.doe@example.com",
    });
    let header = json!({ "alg": "RS256", "kid": "RQ8DuhdxCczyMvy7" });
    it.proves(&signing.sign(&header, &it.claims(issuer, &claims))).await;
}

/// <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>
#[tokio::test]
async fn a_user_of_auth0_is_known() {
    let issuer = "https://tenant.us.auth0.com/";
    let trusted = json!([{ "issuer": issuer, "audiences": ["https://deputize.example"], "provision": true }]);
    let it = Trusting::set(trusted).await;
    let signing = SigningKey::rs256();
    it.publish(
        issuer,
        issuer,
        &[key(&signing, &["alg", "use"], &json!({ "kid": "AIBVIM", "x5t": "AIBVIM" }))],
    );
    let claims = json!({
        "sub": "auth0|56d9", "aud": ["https://deputize.example", "https://tenant.us.auth0.com/userinfo"],
        "azp": "my_client_id", "scope": "openid profile", "permissions": [],
    });
    for typ in ["JWT", "at+jwt"] {
        let header = json!({ "typ": typ, "alg": "RS256", "kid": "AIBVIM" });
        it.proves(&signing.sign(&header, &it.claims(issuer, &claims))).await;
    }
}

/// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>
#[tokio::test]
async fn a_user_of_cognito_is_known_by_the_client_of_a_token_without_audience() {
    let issuer = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_example";
    let it = Trusting::set(json!([{
        "issuer": issuer, "jwks_uri": format!("{issuer}/.well-known/jwks.json"), "provision": true,
        "audiences": ["1example23456789"], "client_ids": ["1example23456789"],
    }]))
    .await;
    let signing = SigningKey::rs256();
    let keys = json!({ "keys": [key(&signing, &["alg", "use"], &json!({ "kid": "1234example=" }))] });
    it.published.publish(&format!("{issuer}/.well-known/jwks.json"), keys);
    let token = |claims: Value| {
        let header = json!({ "kid": "1234example=", "alg": "RS256" });
        signing.sign(&header, &it.claims(issuer, &claims))
    };
    let (access, id) = (
        json!({ "sub": "aaaaaaaa", "token_use": "access", "client_id": "1example23456789", "username": "bob" }),
        json!({ "sub": "aaaaaaaa", "token_use": "id", "aud": "1example23456789", "email_verified": "true" }),
    );
    assert_eq!(it.proves(&token(access)).await, it.proves(&token(id)).await);
    let mut refused = Vec::new();
    for claims in [
        json!({ "sub": "aaaaaaaa", "client_id": "another" }),
        json!({ "sub": "aaaaaaaa" }),
        // Who has asked for a token does not say for whom it is.
        json!({ "sub": "aaaaaaaa", "client_id": "1example23456789", "aud": "https://elsewhere.example" }),
    ] {
        refused.push(it.who(&token(claims)).await);
    }
    assert_snapshot!(refused.join("\n"), @"
    401 User token refused: the token is for another audience
    401 User token refused: the token is for another audience
    401 User token refused: the token is for another audience
    ");
}

/// Keycloak publishes a key for encryption beside the one that signs:
/// <https://www.keycloak.org/docs/latest/server_admin/#configuring-realm-keys>.
#[tokio::test]
async fn a_user_of_keycloak_is_known_and_its_key_for_encryption_signs_nothing() {
    let issuer = "https://id.example.com/realms/acme";
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": ["account"], "provision": true }])).await;
    let (signing, encrypting) = (SigningKey::rs256(), SigningKey::rs256());
    let keys = [
        key(&encrypting, &[], &json!({ "kid": "enc", "use": "enc", "alg": "RSA-OAEP" })),
        key(&signing, &["alg", "use"], &json!({ "kid": "sig" })),
    ];
    it.publish(issuer, issuer, &keys);
    let claims = json!({
        "jti": "onrtro:8f", "aud": "account", "sub": "f3b2", "typ": "Bearer", "azp": "app", "sid": "e1",
        "email_verified": false, "preferred_username": "bob", "name": null,
    });
    let claims = it.claims(issuer, &claims);
    let header = |kid: &str| json!({ "alg": "RS256", "typ": "JWT", "kid": kid });
    it.proves(&signing.sign(&header("sig"), &claims)).await;
    let mut refused = Vec::new();
    for header in [header("enc"), header("sig"), json!({ "alg": "RS256" })] {
        refused.push(it.who(&encrypting.sign(&header, &claims)).await);
    }
    assert_snapshot!(refused.join("\n"), @"
    401 User token refused: the token is signed with a key that its issuer does not publish
    401 User token refused: the token's signature is wrong
    401 User token refused: the token's signature is wrong
    ");
}

/// <https://workos.com/docs/reference/authkit/session-tokens>
#[tokio::test]
async fn a_user_of_authkit_is_known() {
    let issuer = "https://api.workos.com/user_management/client_0123";
    let jwks_uri = "https://api.workos.com/sso/jwks/client_0123";
    let trusted = json!([
        { "issuer": issuer, "jwks_uri": jwks_uri, "any_audience": true, "provision": true },
    ]);
    let it = Trusting::set(trusted).await;
    let signing = SigningKey::rs256();
    let jwk = key(&signing, &["alg", "use"], &json!({ "kid": "sso_oidc_key_pair_0123", "x5c": ["MIID"] }));
    it.published.publish(jwks_uri, json!({ "keys": [jwk] }));
    let claims = json!({ "sub": "user_01", "sid": "session_01", "org_id": "org_01", "role": "member" });
    let header = json!({ "alg": "RS256", "kid": "sso_oidc_key_pair_0123" });
    it.proves(&signing.sign(&header, &it.claims(issuer, &claims))).await;
}

/// <https://developers.google.com/identity/gsi/web/guides/verify-google-id-token>
#[tokio::test]
async fn a_user_of_google_is_one_under_both_names_of_the_issuer() {
    let issuer = "https://accounts.google.com";
    let audience = "1234987819200.apps.googleusercontent.com";
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": [audience], "provision": true }])).await;
    let signing = SigningKey::rs256();
    it.publish(issuer, issuer, &[key(&signing, &["alg", "use"], &json!({ "kid": "fa072f" }))]);
    let token = |iss: &str| {
        let claims = json!({ "aud": audience, "azp": audience, "sub": "10769150350006150715113082367" });
        signing.sign(&json!({ "alg": "RS256", "typ": "JWT", "kid": "fa072f" }), &it.claims(iss, &claims))
    };
    assert_eq!(it.proves(&token(issuer)).await, it.proves(&token("accounts.google.com")).await);
    for other in ["http://accounts.google.com", "https://accounts.google.com/", "google.com"] {
        let refused = it.who(&token(other)).await;
        assert_eq!(refused, "401 User token refused: the token is from an untrusted issuer", "{other}");
    }
}

/// SPIRE's discovery provider names neither `alg` nor, by default, `use`
/// (<https://github.com/spiffe/spire/issues/2623>). The `use` of a key in a bundle is `jwt-svid`. A JWT-SVID's `typ` may
/// be `JOSE`, and it need name no key
/// (<https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>).
#[tokio::test]
async fn a_subject_of_spire_is_known() {
    let issuer = "https://oidc.example.org";
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": ["deputize"], "provision": true }])).await;
    let (old, new, rsa) = (SigningKey::es256(), SigningKey::es256(), SigningKey::rs256());
    let keys = [
        key(&old, &[], &json!({ "kid": "C6vs25welZOx6WksNYfbMfiw9l96pMnD" })),
        key(&new, &[], &json!({ "kid": "gHTCunJbefYtnZnTctd84xeRWyMrEsWD", "use": "jwt-svid" })),
        key(&rsa, &[], &json!({ "kid": "ue6TmqZJN7JFyfHWDPx4mGl6yZxmz8dW" })),
    ];
    it.publish(issuer, issuer, &keys);
    let claims = it.claims(issuer, &json!({ "sub": "spiffe://example.org/agent", "aud": ["deputize"] }));
    let users = [
        it.proves(&old.sign(
            &json!({ "alg": "ES256", "kid": "C6vs25welZOx6WksNYfbMfiw9l96pMnD", "typ": "JWT" }),
            &claims,
        ))
        .await,
        it.proves(&new.sign(&json!({ "alg": "ES256", "typ": "JOSE" }), &claims)).await,
        it.proves(&rsa.sign(&json!({ "alg": "RS256" }), &claims)).await,
    ];
    assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
}

#[tokio::test]
async fn a_key_without_alg_opens_no_other_way() {
    let issuer = entra(CONTOSO);
    let it = Trusting::set(json!([{ "issuer": issuer, "audiences": ["deputize"], "provision": true }])).await;
    let (signing, elliptic) = (SigningKey::rs256(), SigningKey::es256());
    it.publish(&issuer, &issuer, &[entras(&signing, "k", CONTOSO)]);
    let claims = it.claims(&issuer, &json!({ "aud": "deputize", "sub": "ABC123" }));
    let header = |alg: &str| json!({ "alg": alg, "kid": "k" });
    let public = key(&signing, &[], &json!({})).to_string();
    let forged = [
        jwt::unsigned(&header("none"), &claims),
        jwt::unsigned(&header("RS256"), &claims),
        jwt::hmac_signed(&header("HS256"), &claims, public.as_bytes()),
        jwt::hmac_signed(&header("RS256"), &claims, public.as_bytes()),
        elliptic.sign(&header("ES256"), &claims),
        signing.sign(&header("ES256"), &claims),
        jwt::with_header(&signing.sign(&header("RS256"), &claims), |header| header["alg"] = "RS512".into()),
    ];
    let mut refused = Vec::new();
    for token in forged {
        refused.push(it.who(&token).await);
    }
    assert_snapshot!(refused.join("\n"), @"
    401 User token refused: the token's algorithm is not allowed
    401 User token refused: the token's signature is wrong
    401 User token refused: the token's algorithm is not allowed
    401 User token refused: the token's signature is wrong
    401 User token refused: the token's algorithm is not allowed
    401 User token refused: the token's algorithm is not allowed
    401 User token refused: the token's signature is wrong
    ");
}
