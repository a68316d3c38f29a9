//! Users' JWTs as `actor_token`: whom they prove, and what is refused.

use deputize_tests::{
    Answer, TestApp,
    jwt::{self, SigningKey},
    request::ACCESS_TOKEN,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::stage::Stage;

impl Stage {
    async fn act_for(&self, user_token: &str) -> Answer {
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
    let stage = Stage::set().await;
    let answer = stage.act_for(&stage.app.login.token("bob")).await;
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
    assert_eq!(jwt::claims(&answer.access_token())["sub"], stage.bob.id.to_string());
}

#[tokio::test]
async fn a_users_own_token_names_them_by_issuer_and_subject() {
    let stage = Stage::set().await;
    let dave = stage.app.user("dave").known_to(&stage.app.workos).await;
    stage.app.delegate(&stage.bot, &dave).await;
    // As WorkOS makes them: no audience, no email.
    let token = stage.app.workos.token_with("dave", |claims| {
        for left_out in ["aud", "email", "email_verified", "name"] {
            claims.as_object_mut().unwrap().remove(left_out);
        }
    });
    let answer = stage.act_for(&token).await.access_token();
    assert_eq!(jwt::claims(&answer)["sub"], dave.id.to_string());
}

#[tokio::test]
async fn rsa_keys_are_good_too() {
    let stage = Stage::set().await;
    stage.app.login.rotate(SigningKey::rs256());
    stage.act_for(&stage.app.login.token("bob")).await.ok();
}

#[tokio::test]
async fn an_unverified_email_leads_to_nobody() {
    let stage = Stage::set().await;
    let token = stage.app.login.token_with("bob", |claims| claims["email_verified"] = false.into());
    assert_snapshot!(stage.act_for(&token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the user is unknown here",
      "detail": "invalid_grant: actor_token: the user is unknown here"
    }
    "#);
}

#[tokio::test]
async fn an_email_leads_to_nobody_where_the_issuer_is_not_trusted_with_it() {
    let stage = Stage::set().await;
    assert_snapshot!(stage.act_for(&stage.app.workos.token("bob")).await.refusal(), @"400 invalid_grant: actor_token: the user is unknown here");
}

#[tokio::test]
async fn a_token_request_makes_no_users() {
    let stage = Stage::set().await;
    let before = stage.app.contents();
    assert_snapshot!(stage.act_for(&stage.app.login.token("newcomer")).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the user is unknown here",
      "detail": "invalid_grant: actor_token: the user is unknown here"
    }
    "#);
    assert_eq!(stage.app.contents(), before);
}

#[tokio::test]
async fn an_untrusted_issuer_proves_nobody() {
    let stage = Stage::set().await;
    let token = stage.app.login.token_with("bob", |claims| claims["iss"] = "https://evil.example.com".into());
    assert_snapshot!(stage.act_for(&token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the token is from an untrusted issuer",
      "detail": "invalid_grant: actor_token: the token is from an untrusted issuer"
    }
    "#);
}

#[tokio::test]
async fn an_expired_token_proves_nobody() {
    let stage = Stage::set().await;
    let past = stage.app.now().as_seconds() - 31;
    let token = stage.app.login.token_with("bob", |claims| claims["exp"] = past.into());
    assert_snapshot!(stage.act_for(&token).await, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "actor_token: the token has expired",
      "detail": "invalid_grant: actor_token: the token has expired"
    }
    "#);
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    let stage = Stage::set().await;
    let now = stage.app.now().as_seconds();
    for (claim, at) in [("exp", now - 29), ("nbf", now + 30), ("iat", now + 30)] {
        stage.act_for(&stage.app.login.token_with("bob", |claims| claims[claim] = at.into())).await.ok();
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_proves_nobody() {
    let stage = Stage::set().await;
    let future = stage.app.now().as_seconds() + 31;
    let with =
        |claim: &'static str| stage.app.login.token_with("bob", |claims| claims[claim] = future.into());
    assert_snapshot!(stage.refusals([with("nbf"), with("iat")]).await, @"
    400 invalid_grant: actor_token: the token is not valid yet
    400 invalid_grant: actor_token: the token is not valid yet
    ");
}

#[tokio::test]
async fn a_token_for_another_audience_proves_nobody() {
    let stage = Stage::set().await;
    let login = &stage.app.login;
    let other = login.token_with("bob", |claims| claims["aud"] = "somebody-else".into());
    let none = login.token_with("bob", |claims| {
        claims.as_object_mut().unwrap().remove("aud");
    });
    assert_snapshot!(stage.refusals([other, none]).await, @"
    400 invalid_grant: actor_token: the token is for another audience
    400 invalid_grant: actor_token: the token is for another audience
    ");
    let among = login.token_with("bob", |claims| claims["aud"] = json!(["somebody-else", "deputize"]));
    stage.act_for(&among).await.ok();
}

#[tokio::test]
async fn a_token_that_is_none_proves_nobody() {
    let stage = Stage::set().await;
    let long = format!("{}.{}.{}", "a".repeat(9000), "b".repeat(9000), "c");
    let no_claims =
        stage.app.login.key().1.sign(&stage.app.login.header(), &json!({ "iss": stage.app.login.url() }));
    let no_subject = stage.app.login.token_with("bob", |claims| claims["sub"] = "".into());
    let odd_time = stage.app.login.token_with("bob", |claims| claims["exp"] = "tomorrow".into());
    let tokens = ["x".to_owned(), "a.b.c".to_owned(), "..".to_owned(), long, no_claims, no_subject, odd_time];
    assert_snapshot!(stage.refusals(tokens).await, @"
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
    let stage = Stage::set().await;
    let login = &stage.app.login;
    let (claims, header) = (login.claims("bob"), login.header());
    let tampered = jwt::with_claims(&login.token("carol"), |claims| claims["sub"] = "user_bob".into());
    let foreign_key = SigningKey::es256().sign(&header, &claims);
    let unsigned = jwt::unsigned(&json!({ "alg": "none", "kid": header["kid"] }), &claims);
    let public = login.key().1.jwk("key-1").to_string();
    let hmac = jwt::hmac_signed(&json!({ "alg": "HS256", "kid": header["kid"] }), &claims, public.as_bytes());
    let other_algorithm = jwt::with_header(&login.token("bob"), |header| header["alg"] = "ES384".into());
    let tokens = [tampered, foreign_key, unsigned, hmac, other_algorithm];
    assert_snapshot!(stage.refusals(tokens).await, @"
    400 invalid_grant: actor_token: the token's signature is wrong
    400 invalid_grant: actor_token: the token's signature is wrong
    400 invalid_grant: actor_token: the token's algorithm is not allowed
    400 invalid_grant: actor_token: the token's algorithm is not allowed
    400 invalid_grant: actor_token: the token's algorithm is not allowed
    ");
}

#[tokio::test]
async fn a_token_with_an_extension_that_must_be_understood_is_refused() {
    let stage = Stage::set().await;
    let login = &stage.app.login;
    let mut header = login.header();
    header["crit"] = json!(["b64"]);
    header["b64"] = false.into();
    let token = login.key().1.sign(&header, &login.claims("bob"));
    assert_snapshot!(stage.act_for(&token).await.refusal(), @"400 invalid_grant: actor_token: the token has an extension that must be understood and is not");
}

#[tokio::test]
async fn a_key_of_one_issuer_signs_for_no_other() {
    let stage = Stage::set().await;
    let dave = stage.app.user("dave").known_to(&stage.app.workos).await;
    stage.app.delegate(&stage.bot, &dave).await;
    let token = stage.app.login.token_with("dave", |claims| claims["iss"] = stage.app.workos.url().into());
    assert_snapshot!(stage.act_for(&token).await.refusal(), @"400 invalid_grant: actor_token: the token's signature is wrong");
}

async fn fetches_for(app: &TestApp, work: impl Future<Output = ()>) -> usize {
    let before = app.login.fetched();
    work.await;
    app.login.fetched() - before
}

#[tokio::test]
async fn an_issuers_keys_are_fetched_once() {
    let stage = Stage::set().await;
    let fetches = fetches_for(&stage.app, async {
        for _ in 0..3 {
            stage.act_for(&stage.app.login.token("bob")).await.ok();
        }
    });
    assert_eq!(fetches.await, 1);
}

#[tokio::test]
async fn unknown_key_ids_cannot_make_us_hammer_an_issuer() {
    let stage = Stage::set().await;
    let login = &stage.app.login;
    let unknown = |n: i32| {
        let header = json!({ "alg": "ES256", "kid": format!("made-up-{n}") });
        login.key().1.sign(&header, &login.claims("bob"))
    };
    stage.act_for(&login.token("bob")).await.ok();
    let fetches = fetches_for(&stage.app, async {
        for n in 0..9 {
            stage.act_for(&unknown(n)).await;
        }
        assert_snapshot!(stage.act_for(&unknown(9)).await.refusal(), @"400 invalid_grant: actor_token: the token is signed with a key that its issuer does not publish");
    });
    assert_eq!(fetches.await, 0, "within half a minute of the last fetch");
    stage.app.pass(std::time::Duration::from_secs(30));
    let fetches = fetches_for(&stage.app, async {
        for n in 0..10 {
            stage.act_for(&unknown(n)).await;
        }
    });
    assert_eq!(fetches.await, 1, "after it");
}

#[tokio::test]
async fn a_new_key_of_an_issuers_is_found_and_a_withdrawn_one_forgotten() {
    let stage = Stage::set().await;
    let login = &stage.app.login;
    let tomorrow = stage.app.now().as_seconds() + 86_400;
    let old = login.token_with("bob", |claims| claims["exp"] = tomorrow.into());
    stage.act_for(&old).await.ok();
    login.rotate(SigningKey::es256());
    stage.app.pass(std::time::Duration::from_secs(30));
    stage.act_for(&login.token("bob")).await.ok();
    stage.act_for(&old).await.ok();
    login.withdraw_old_keys();
    stage.app.pass(std::time::Duration::from_secs(3599));
    stage.act_for(&login.token("bob")).await.ok();
    stage.app.pass(std::time::Duration::from_secs(1));
    assert_snapshot!(stage.act_for(&old).await.refusal(), @"400 invalid_grant: actor_token: the token is signed with a key that its issuer does not publish");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_no_refusal_but_an_outage() {
    let stage = Stage::set().await;
    stage.app.login.is_down(true);
    assert_snapshot!(stage.act_for(&stage.app.login.token("bob")).await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; nothing was changed, try again",
      "detail": "The service is temporarily unavailable; nothing was changed, try again",
      "safe_to_retry": true
    }
    "#);
    stage.app.login.is_down(false);
    stage.act_for(&stage.app.login.token("bob")).await.ok();
}

#[tokio::test]
async fn keys_that_were_fetched_outlast_an_outage() {
    let stage = Stage::set().await;
    stage.act_for(&stage.app.login.token("bob")).await.ok();
    stage.app.login.is_down(true);
    stage.act_for(&stage.app.login.token("bob")).await.ok();
}
