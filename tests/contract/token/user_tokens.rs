//! Users' JWTs as `actor_token`: whom they prove, and what is refused.

use deputize_tests::{
    TestApp, TestResponse,
    jwt::{self, SigningKey},
    request::ACCESS_TOKEN,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

impl Scenario {
    async fn act_for(&self, user_token: &str) -> TestResponse {
        self.app
            .token_for(&self.bot, &[("actor_token", user_token), ("actor_token_type", ACCESS_TOKEN)])
            .await
    }

    async fn refusals<const N: usize>(&self, tokens: [String; N]) -> String {
        let mut refusals = Vec::new();
        for token in tokens {
            refusals.push(self.act_for(&token).await.refusal());
        }
        refusals.join("\n")
    }
}

#[tokio::test]
async fn a_users_own_token_names_them_by_its_verified_email() {
    let scenario = Scenario::start().await;
    let answer = scenario.act_for(&scenario.app.login.token("bob")).await;
    assert_snapshot!(answer, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "tools:call"
    }
    "#);
    assert_eq!(jwt::claims(&answer.access_token())["sub"], scenario.bob.id.to_string());
}

#[tokio::test]
async fn a_users_own_token_names_them_by_issuer_and_subject() {
    let scenario = Scenario::start().await;
    let dave = scenario.app.user("dave").known_to(&scenario.app.workos).await;
    scenario.app.delegate(&scenario.bot, &dave).await;
    // Like WorkOS's tokens: without audience and email.
    let token = scenario.app.workos.token_with("dave", |claims| {
        for left_out in ["aud", "email", "email_verified", "name"] {
            claims.as_object_mut().unwrap().remove(left_out);
        }
    });
    let answer = scenario.act_for(&token).await.access_token();
    assert_eq!(jwt::claims(&answer)["sub"], dave.id.to_string());
}

#[tokio::test]
async fn rsa_keys_are_good_too() {
    let scenario = Scenario::start().await;
    scenario.app.login.rotate(SigningKey::rs256());
    scenario.act_for(&scenario.app.login.token("bob")).await.ok();
}

#[tokio::test]
async fn an_unverified_email_leads_to_nobody() {
    let scenario = Scenario::start().await;
    let token = scenario.app.login.token_with("bob", |claims| claims["email_verified"] = false.into());
    assert_snapshot!(scenario.act_for(&token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the user is unknown here",
      "detail": "invalid_grant: actor_token: the user is unknown here",
      "reason": "user_unknown"
    }
    "#);
}

#[tokio::test]
async fn an_email_leads_to_nobody_where_the_issuer_is_not_trusted_with_it() {
    let scenario = Scenario::start().await;
    assert_snapshot!(scenario.act_for(&scenario.app.workos.token("bob")).await.refusal(), @"400 invalid_grant: actor_token: the user is unknown here");
}

#[tokio::test]
async fn a_token_request_makes_no_users() {
    let scenario = Scenario::start().await;
    let before = scenario.app.contents();
    assert_snapshot!(scenario.act_for(&scenario.app.login.token("newcomer")).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the user is unknown here",
      "detail": "invalid_grant: actor_token: the user is unknown here",
      "reason": "user_unknown"
    }
    "#);
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn an_untrusted_issuer_proves_nobody() {
    let scenario = Scenario::start().await;
    let token =
        scenario.app.login.token_with("bob", |claims| claims["iss"] = "https://evil.example.com".into());
    assert_snapshot!(scenario.act_for(&token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the token is from an untrusted issuer",
      "detail": "invalid_grant: actor_token: the token is from an untrusted issuer",
      "reason": "actor_token_refused"
    }
    "#);
}

#[tokio::test]
async fn an_expired_token_proves_nobody() {
    let scenario = Scenario::start().await;
    let past = scenario.app.now().as_seconds() - 31;
    let token = scenario.app.login.token_with("bob", |claims| claims["exp"] = past.into());
    assert_snapshot!(scenario.act_for(&token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the token has expired",
      "detail": "invalid_grant: actor_token: the token has expired",
      "reason": "actor_token_refused"
    }
    "#);
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    let scenario = Scenario::start().await;
    let now = scenario.app.now().as_seconds();
    for (claim, at) in [("exp", now - 29), ("nbf", now + 30), ("iat", now + 30)] {
        scenario
            .act_for(&scenario.app.login.token_with("bob", |claims| claims[claim] = at.into()))
            .await
            .ok();
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_proves_nobody() {
    let scenario = Scenario::start().await;
    let future = scenario.app.now().as_seconds() + 31;
    let with =
        |claim: &'static str| scenario.app.login.token_with("bob", |claims| claims[claim] = future.into());
    assert_snapshot!(scenario.refusals([with("nbf"), with("iat")]).await, @"
    400 invalid_grant: actor_token: the token is not valid yet
    400 invalid_grant: actor_token: the token is not valid yet
    ");
}

#[tokio::test]
async fn a_token_for_another_audience_proves_nobody() {
    let scenario = Scenario::start().await;
    let login = &scenario.app.login;
    let other = login.token_with("bob", |claims| claims["aud"] = "somebody-else".into());
    let none = login.token_with("bob", |claims| {
        claims.as_object_mut().unwrap().remove("aud");
    });
    assert_snapshot!(scenario.refusals([other, none]).await, @"
    400 invalid_grant: actor_token: the token is for another audience
    400 invalid_grant: actor_token: the token is for another audience
    ");
    let among = login.token_with("bob", |claims| claims["aud"] = json!(["somebody-else", "deputize"]));
    scenario.act_for(&among).await.ok();
}

#[tokio::test]
async fn a_token_that_is_none_proves_nobody() {
    let scenario = Scenario::start().await;
    let long = format!("{}.{}.{}", "a".repeat(9000), "b".repeat(9000), "c");
    let no_claims = scenario
        .app
        .login
        .key()
        .1
        .sign(&scenario.app.login.header(), &json!({ "iss": scenario.app.login.url() }));
    let no_subject = scenario.app.login.token_with("bob", |claims| claims["sub"] = "".into());
    let odd_time = scenario.app.login.token_with("bob", |claims| claims["exp"] = "tomorrow".into());
    let tokens = ["x".to_owned(), "a.b.c".to_owned(), "..".to_owned(), long, no_claims, no_subject, odd_time];
    assert_snapshot!(scenario.refusals(tokens).await, @"
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    400 invalid_grant: actor_token: the token is malformed
    ");
}

#[tokio::test]
async fn a_forged_signature_proves_nobody() {
    let scenario = Scenario::start().await;
    let login = &scenario.app.login;
    let (claims, header) = (login.claims("bob"), login.header());
    let tampered = jwt::with_claims(&login.token("carol"), |claims| claims["sub"] = "user_bob".into());
    let foreign_key = SigningKey::es256().sign(&header, &claims);
    let unsigned = jwt::unsigned(&json!({ "alg": "none", "kid": header["kid"] }), &claims);
    let public = login.key().1.jwk("key-1").to_string();
    let hmac = jwt::hmac_signed(&json!({ "alg": "HS256", "kid": header["kid"] }), &claims, public.as_bytes());
    let other_algorithm = jwt::with_header(&login.token("bob"), |header| header["alg"] = "ES384".into());
    let tokens = [tampered, foreign_key, unsigned, hmac, other_algorithm];
    assert_snapshot!(scenario.refusals(tokens).await, @"
    400 invalid_grant: actor_token: the token's signature is wrong
    400 invalid_grant: actor_token: the token's signature is wrong
    400 invalid_grant: actor_token: the token's algorithm is not allowed
    400 invalid_grant: actor_token: the token's algorithm is not allowed
    400 invalid_grant: actor_token: the token's algorithm is not allowed
    ");
}

#[tokio::test]
async fn a_token_with_an_extension_that_must_be_understood_is_refused() {
    let scenario = Scenario::start().await;
    let login = &scenario.app.login;
    let mut header = login.header();
    header["crit"] = json!(["b64"]);
    header["b64"] = false.into();
    let token = login.key().1.sign(&header, &login.claims("bob"));
    assert_snapshot!(scenario.act_for(&token).await.refusal(), @"400 invalid_grant: actor_token: the token has an extension that must be understood and is not");
}

/// An issuer signs other tokens than access and ID tokens with its keys.
#[tokio::test]
async fn a_token_of_another_kind_proves_nobody() {
    let scenario = Scenario::start().await;
    let login = &scenario.app.login;
    let of_type = |typ: Option<&str>| {
        let mut header = login.header();
        match typ {
            Some(typ) => header["typ"] = typ.into(),
            None => drop(header.as_object_mut().unwrap().remove("typ")),
        }
        login.key().1.sign(&header, &login.claims("bob"))
    };
    for typ in [
        None,
        Some("JWT"),
        Some("jwt"),
        Some("at+jwt"),
        Some("AT+JWT"),
        Some("application/at+jwt"),
        Some("JOSE"),
    ] {
        scenario.act_for(&of_type(typ)).await.ok();
        scenario.app.get("/api/v1/me").bearer(&of_type(typ)).await.ok();
    }
    for typ in [
        "logout+jwt",
        "LOGOUT+JWT",
        "application/logout+jwt",
        "Application/Logout+JWT",
        "secevent+jwt",
        "dpop+jwt",
        "kb+jwt",
        "oauth-authz-req+jwt",
        "oauth-id-jag+jwt",
        "client-authentication+jwt",
        "application/application/jwt",
        " JWT",
        "",
    ] {
        let token = of_type(Some(typ));
        let refused = "the token is of another kind, by its typ or its claims";
        assert_eq!(
            scenario.act_for(&token).await.refusal(),
            format!("400 invalid_grant: actor_token: {refused}"),
            "{typ}"
        );
        let me = scenario.app.get("/api/v1/me").bearer(&token).await;
        assert_eq!(me.refusal(), format!("401 User token refused: {refused}"), "{typ}");
    }
    // Logout tokens from before they had their own type (OpenID Connect Back-Channel Logout section 2.4).
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let logout = login.token_with("bob", |claims| claims["events"] = events);
    assert_snapshot!(scenario.act_for(&logout).await.refusal(), @"400 invalid_grant: actor_token: the token is of another kind, by its typ or its claims");
}

#[tokio::test]
async fn a_key_of_one_issuer_signs_for_no_other() {
    let scenario = Scenario::start().await;
    let dave = scenario.app.user("dave").known_to(&scenario.app.workos).await;
    scenario.app.delegate(&scenario.bot, &dave).await;
    let token =
        scenario.app.login.token_with("dave", |claims| claims["iss"] = scenario.app.workos.url().into());
    assert_snapshot!(scenario.act_for(&token).await.refusal(), @"400 invalid_grant: actor_token: the token's signature is wrong");
}

async fn fetches_for(app: &TestApp, work: impl Future<Output = ()>) -> usize {
    let before = app.login.fetched();
    work.await;
    app.login.fetched() - before
}

#[tokio::test]
async fn an_issuers_keys_are_fetched_once() {
    let scenario = Scenario::start().await;
    let fetches = fetches_for(&scenario.app, async {
        for _ in 0..3 {
            scenario.act_for(&scenario.app.login.token("bob")).await.ok();
        }
    });
    assert_eq!(fetches.await, 1);
}

#[tokio::test]
async fn unknown_key_ids_cannot_make_us_hammer_an_issuer() {
    let scenario = Scenario::start().await;
    let login = &scenario.app.login;
    let unknown = |n: i32| {
        let header = json!({ "alg": "ES256", "kid": format!("made-up-{n}") });
        login.key().1.sign(&header, &login.claims("bob"))
    };
    scenario.act_for(&login.token("bob")).await.ok();
    let fetches = fetches_for(&scenario.app, async {
        for n in 0..9 {
            scenario.act_for(&unknown(n)).await;
        }
        assert_snapshot!(scenario.act_for(&unknown(9)).await.refusal(), @"400 invalid_grant: actor_token: the token is signed with a key that its issuer does not publish");
    });
    assert_eq!(fetches.await, 0, "within half a minute of the last fetch");
    scenario.app.pass(std::time::Duration::from_secs(30));
    let fetches = fetches_for(&scenario.app, async {
        for n in 0..10 {
            scenario.act_for(&unknown(n)).await;
        }
    });
    assert_eq!(fetches.await, 1, "after it");
}

#[tokio::test]
async fn a_new_key_of_an_issuers_is_found_and_a_withdrawn_one_forgotten() {
    let scenario = Scenario::start().await;
    let login = &scenario.app.login;
    let tomorrow = scenario.app.now().as_seconds() + 86_400;
    let old = login.token_with("bob", |claims| claims["exp"] = tomorrow.into());
    scenario.act_for(&old).await.ok();
    login.rotate(SigningKey::es256());
    scenario.app.pass(std::time::Duration::from_secs(30));
    scenario.act_for(&login.token("bob")).await.ok();
    scenario.act_for(&old).await.ok();
    login.withdraw_old_keys();
    scenario.app.pass(std::time::Duration::from_secs(3599));
    scenario.act_for(&login.token("bob")).await.ok();
    scenario.app.pass(std::time::Duration::from_secs(1));
    assert_snapshot!(scenario.act_for(&old).await.refusal(), @"400 invalid_grant: actor_token: the token is signed with a key that its issuer does not publish");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_no_refusal_but_an_outage() {
    let scenario = Scenario::start().await;
    scenario.app.login.is_down(true);
    assert_snapshot!(scenario.act_for(&scenario.app.login.token("bob")).await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; nothing was changed, try again",
      "detail": "The service is temporarily unavailable; nothing was changed, try again",
      "reason": "store_unavailable",
      "safe_to_retry": true
    }
    "#);
    scenario.app.login.is_down(false);
    scenario.act_for(&scenario.app.login.token("bob")).await.ok();
}

#[tokio::test]
async fn keys_that_were_fetched_outlast_an_outage() {
    let scenario = Scenario::start().await;
    scenario.act_for(&scenario.app.login.token("bob")).await.ok();
    scenario.app.login.is_down(true);
    scenario.act_for(&scenario.app.login.token("bob")).await.ok();
}
