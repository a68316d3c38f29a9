//! Redeeming an authorization code.

use std::time::Duration;

use deputize_core::table::Key;
use deputize_tests::{
    AppClient,
    apps::{CHALLENGE, REDIRECT_URI, Tokens, VERIFIER},
    jwt,
};
use insta::assert_snapshot;
use serde_json::json;

use super::Signed;

#[tokio::test]
async fn a_code_gives_tokens_that_say_what_they_are() {
    let Signed { app, bob, client, allowed, .. } = Signed::up().await;
    let code = app.code(&allowed).await;
    let answer = app.redeem(&client, &code, &[]).await;
    assert_snapshot!(answer, @r#"
    200 OK
    pragma: no-cache

    {
      "access_token": "[jwt]",
      "token_type": "Bearer",
      "expires_in": 3600,
      "scope": "manage offline_access",
      "refresh_token": "[refresh token]"
    }
    "#);
    let claims = jwt::claims(&answer.access_token());
    assert_eq!(jwt::header(&answer.access_token())["typ"], "at+jwt");
    let now = app.now().as_seconds();
    let expected = json!({
        "iss": "https://deputize.test",
        "aud": "https://deputize.test/api/v1",
        "sub": bob.id,
        "client_id": "https://app.example/client.json",
        "client_host": "app.example",
        "jti": claims["jti"],
        "iat": now,
        "exp": now + 3600,
        "scope": "manage",
        "authorization_id": allowed.authorization.id,
    });
    assert_eq!(claims, expected);
    assert!(app.manages(&answer.access_token()).await);
    assert_snapshot!(app.event_of(&answer).replace(&*client.client_id, "[app]"), @r#"
    action: "app_token.issue"
    audit_user: "[bob]"
    client_id: "[app]"
    credential: "authorization_code:[uuid]"
    outcome: "allowed"
    subject: "authorization:[bob's authorization]"
    token_id: "[uuid]"
    "#);
}

#[tokio::test]
async fn refresh_tokens_are_for_who_asks_and_always_for_mcp_clients() {
    let Signed { app, bob, client, .. } = Signed::up().await;
    for (resource, scope, has) in [
        ("management", "manage", false),
        ("management", "manage offline_access", true),
        ("proxy", "tools:call", true),
        ("demo", "tools:call", true),
        ("demo", "tools:call offline_access", true),
    ] {
        let allowed = app.allow(&bob, &client, resource, scope).await;
        let code = app.code(&allowed).await;
        let answer = app.redeem(&client, &code, &[]).await.ok();
        assert_eq!(answer.json()["refresh_token"].is_string(), has, "{resource} {scope}");
        assert_eq!(answer.field("scope"), scope);
    }
}

#[tokio::test]
async fn a_code_is_good_for_a_minute() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let (one, two) = (app.code(&allowed).await, app.code(&allowed).await);
    app.pass(Duration::from_secs(59));
    app.redeem(&client, &one, &[]).await.ok();
    app.pass(Duration::from_secs(1));
    let before = app.contents();
    let late = app.redeem(&client, &two, &[]).await;
    assert_snapshot!(late, @r#"
    400 Bad Request

    {
      "error": "invalid_grant",
      "error_description": "The authorization code is not known, has expired, or is another client's",
      "detail": "invalid_grant: The authorization code is not known, has expired, or is another client's",
      "reason": "code_refused"
    }
    "#);
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn what_a_code_is_bound_to_must_be_right_and_nothing_is_used_up_by_what_is_wrong() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let code = app.code(&allowed).await;
    let other_verifier = "x".repeat(43);
    let other = AppClient::public("other.example").client_id;
    let before = app.contents();
    let mut told = Vec::new();
    for changed in [
        ("code_verifier", &*other_verifier),
        // The challenge, as if its method were `plain`.
        ("code_verifier", CHALLENGE),
        ("code_verifier", ""),
        ("code_verifier", "short"),
        ("code_verifier", &*format!("{VERIFIER}+")),
        ("code_verifier", &*"x".repeat(129)),
        ("redirect_uri", "http://127.0.0.1:3335/oauth/callback"),
        ("redirect_uri", "http://127.0.0.1:3334/oauth/callback/"),
        ("redirect_uri", "http://127.0.0.1:3334/oauth/callback?x"),
        ("redirect_uri", "HTTP://127.0.0.1:3334/oauth/callback"),
        ("client_id", &*other),
        ("client_id", "https://app.example/client.json/"),
        ("client_id", "nobody"),
        ("client_id", ""),
        ("client_secret", "dps_none"),
        ("resource", "https://deputize.test/api/v1/proxy"),
        ("resource", "https://deputize.test/api/v1/proxy/demo/mcp"),
        ("audience", "https://deputize.test"),
        ("resource", "https://elsewhere.test"),
        ("code", &*format!("{code}A")),
        ("code", "dpc_none"),
        ("code", ""),
    ] {
        let answer = app.redeem(&client, &code, &[changed]).await;
        told.push(format!("{}: {}", changed.0, answer.refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    code_verifier: 400 invalid_grant: The code_verifier is not the one of the code_challenge
    code_verifier: 400 invalid_grant: The code_verifier is not the one of the code_challenge
    code_verifier: 400 invalid_request: The parameter code_verifier is missing
    code_verifier: 400 invalid_request: code_verifier must have 43 to 128 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'
    code_verifier: 400 invalid_request: code_verifier must have 43 to 128 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'
    code_verifier: 400 invalid_request: code_verifier must have 43 to 128 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'
    redirect_uri: 400 invalid_grant: The redirect_uri is not that of the authorization request
    redirect_uri: 400 invalid_grant: The redirect_uri is not that of the authorization request
    redirect_uri: 400 invalid_grant: The redirect_uri is not that of the authorization request
    redirect_uri: 400 invalid_grant: The redirect_uri is not that of the authorization request
    client_id: 400 invalid_grant: The authorization code is not known, has expired, or is another client's
    client_id: 400 invalid_grant: The authorization code is not known, has expired, or is another client's
    client_id: 401 invalid_client: Client authentication failed
    client_id: 401 invalid_client: Client authentication failed
    client_secret: 401 invalid_client: Client authentication failed
    resource: 400 invalid_target: resource: the user allowed the app https://deputize.test/api/v1, and this is for something else
    resource: 400 invalid_target: resource: the user allowed the app https://deputize.test/api/v1, and this is for something else
    audience: 400 invalid_target: audience: the user allowed the app https://deputize.test/api/v1, and this is for something else
    resource: 400 invalid_target: resource: the user allowed the app https://deputize.test/api/v1, and this is for something else
    code: 400 invalid_grant: The authorization code is not known, has expired, or is another client's
    code: 400 invalid_grant: The authorization code is not known, has expired, or is another client's
    code: 400 invalid_request: The parameter code is missing
    ");
    assert_eq!(app.contents(), before, "nothing was changed");
    app.redeem(&client, &code, &[]).await.ok();
}

#[tokio::test]
async fn the_redirect_uri_may_be_left_out_as_in_oauth_2_1_and_the_resource_said_again() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    for changed in [
        ("redirect_uri", ""),
        ("redirect_uri", REDIRECT_URI),
        ("resource", "https://deputize.test/api/v1"),
        ("resource", "https://DEPUTIZE.test/api/v1?x=1"),
        ("audience", "https://deputize.test/api/v1"),
        ("scope", "tools:call openid"),
        ("nonsense", "is ignored"),
    ] {
        let code = app.code(&allowed).await;
        let answer = app.redeem(&client, &code, &[changed]).await.ok();
        assert_eq!(answer.field("scope"), "manage offline_access", "{changed:?}");
    }
}

#[tokio::test]
async fn the_same_resource_twice_is_once_and_two_are_refused_before_anything_is_used_up() {
    let Signed { app, bob, client, .. } = Signed::up().await;
    let allowed = app.allow(&bob, &client, "demo", "tools:call").await;
    let code = app.code(&allowed).await;
    let [demo, other] = ["demo", "other"].map(|id| format!("https://deputize.test/api/v1/proxy/{id}/mcp"));
    for two in [[&*demo, &*other], [&*other, &*demo], [&*demo, "https://deputize.test"]] {
        let answer = app.redeem(&client, &code, &two.map(|one| ("resource", one))).await;
        assert_eq!(
            answer.refusal(),
            "400 invalid_target: resource: the user allowed the app https://deputize.test/api/v1/proxy/demo/mcp, and this is for something else"
        );
    }
    let twice = [("resource", &*demo), ("resource", &*demo), ("audience", &*demo)];
    app.redeem(&client, &code, &twice).await.ok();
}

#[tokio::test]
async fn the_origin_means_the_whole_proxy() {
    let Signed { app, bob, client, .. } = Signed::up().await;
    let allowed = app.allow(&bob, &client, "proxy", "tools:call").await;
    for name in ["https://deputize.test", "https://deputize.test/", "https://deputize.test/api/v1/proxy"] {
        let code = app.code(&allowed).await;
        let answer = app.redeem(&client, &code, &[("resource", name)]).await.ok();
        assert_eq!(jwt::claims(&answer.access_token())["aud"], "https://deputize.test/api/v1/proxy");
    }
}

#[tokio::test]
async fn a_code_that_comes_again_with_its_verifier_ends_all_that_it_gave() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let code = app.code(&allowed).await;
    let first = Tokens::of(&app.redeem(&client, &code, &[]).await);
    let second = app.refreshed(&client, &first.refresh).await;
    let another = app.sign_in(&allowed).await;
    let replayed = app.redeem(&client, &code, &[]).await;
    assert_eq!(
        replayed.refusal(),
        "400 invalid_grant: The authorization code was used before: all tokens of this sign-in have ended"
    );
    assert_snapshot!(app.event_of(&replayed).replace(&*client.client_id, "[app]"), @r#"
    action: "app_token.issue"
    audit_user: "[bob]"
    client_id: "[app]"
    credential: "authorization_code:[uuid]"
    detail: "invalid_grant: The authorization code was used before: all tokens of this sign-in have ended"
    outcome: "denied"
    subject: "authorization:[bob's authorization]"
    "#);
    for token in [&first, &second] {
        assert!(!app.manages(&token.access).await);
        assert_eq!(
            app.refresh(&client, &token.refresh, &[]).await.refusal(),
            "400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's"
        );
    }
    // Another sign-in of the same app is another matter, such as that on another machine.
    assert!(app.manages(&another.access).await);
    app.refresh(&client, &another.refresh, &[]).await.ok();
    // Once more changes nothing more that is good.
    assert_eq!(app.redeem(&client, &code, &[]).await.status, 400);
    assert!(app.manages(&another.access).await);
}

#[tokio::test]
async fn a_code_without_refresh_tokens_ends_its_access_token_when_it_comes_again() {
    let Signed { app, bob, client, .. } = Signed::up().await;
    let allowed = app.allow(&bob, &client, "management", "manage").await;
    let code = app.code(&allowed).await;
    let token = app.redeem(&client, &code, &[]).await.access_token();
    assert!(app.manages(&token).await);
    assert_eq!(app.redeem(&client, &code, &[]).await.status, 400);
    assert!(!app.manages(&token).await);
    // An hour later it would have ended by itself, and nothing is left to be done.
    app.pass(Duration::from_secs(3600));
    let before = app.contents();
    assert_eq!(app.redeem(&client, &code, &[]).await.status, 400);
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn a_code_that_comes_again_without_its_verifier_or_from_another_ends_nothing() {
    let secret = AppClient::public("app.example").with_secret();
    for client in [AppClient::public("app.example"), secret] {
        let Signed { app, allowed, .. } = Signed::up_as(deputize_tests::TestApp::start().await, client).await;
        let client = &allowed.client;
        let code = app.code(&allowed).await;
        let tokens = Tokens::of(&app.redeem(client, &code, &[]).await);
        let before = app.contents();
        let other = AppClient::public("other.example").client_id;
        let wrong = "x".repeat(43);
        for changed in [
            ("code_verifier", &*wrong),
            ("code_verifier", ""),
            ("client_id", &*other),
            ("client_secret", "dps_wrong"),
        ] {
            let answer = app.redeem(client, &code, &[changed]).await;
            assert!(matches!(answer.status.as_u16(), 400 | 401), "{answer}");
        }
        assert_eq!(app.contents(), before);
        assert!(app.manages(&tokens.access).await);
        app.refresh(client, &tokens.refresh, &[]).await.ok();
    }
}

#[tokio::test]
async fn what_the_code_rests_on_must_be_good() {
    let refusals = |it: Signed, code: String| async move {
        let answer = it.app.redeem(&it.client, &code, &[]).await;
        format!("{} {}", answer.refusal(), answer.field("reason"))
    };
    let mut told = Vec::new();

    let it = Signed::up().await;
    let code = it.app.code(&it.allowed).await;
    let path = format!("/api/v1/users/{}", it.bob.id);
    it.app.patch(&path).as_user(&it.alice).json(&json!({ "active": false })).await.ok();
    told.push(refusals(it, code).await);

    let it = Signed::up().await;
    let code = it.app.code(&it.allowed).await;
    let path = format!("/api/v1/users/{}", it.bob.id);
    for active in [false, true] {
        it.app.patch(&path).as_user(&it.alice).json(&json!({ "active": active })).await.ok();
    }
    told.push(refusals(it, code).await);

    let it = Signed::up().await;
    let code = it.app.code(&it.allowed).await;
    let Key { pk, sk } = it.allowed.key();
    it.app.remove(&pk, &sk);
    told.push(refusals(it, code).await);

    let it = Signed::up().await;
    let code = it.app.code(&it.allowed).await;
    it.app.block_app(&it.client).await;
    told.push(refusals(it, code).await);

    let it = Signed::up().await;
    let code = it.app.code(&it.allowed).await;
    it.app.block_host("app.example").await;
    told.push(refusals(it, code).await);

    assert_snapshot!(told.join("\n"), @"
    400 invalid_grant: The user is deactivated user_inactive
    400 invalid_grant: The user was deactivated after they allowed the app authorization_ended
    400 invalid_grant: The user's authorization of the app is revoked or has expired authorization_ended
    400 invalid_grant: An admin has blocked the app authorization_ended
    400 invalid_grant: An admin has blocked the app authorization_ended
    ");
}

#[tokio::test]
async fn a_token_is_good_where_it_is_for_and_nowhere_else() {
    let Signed { app, bob, client, .. } = Signed::up().await;
    app.server("demo").await;
    app.server("other").await;
    let mut tokens = Vec::new();
    for (resource, scope) in [("management", "manage"), ("proxy", "tools:call"), ("demo", "tools:call")] {
        let allowed = app.allow(&bob, &client, resource, scope).await;
        let code = app.code(&allowed).await;
        tokens.push((resource, app.redeem(&client, &code, &[]).await.access_token()));
    }
    let mut told = Vec::new();
    for (resource, token) in &tokens {
        for path in ["/api/v1/me", "/api/v1/proxy/demo/tools", "/api/v1/proxy/other/tools"] {
            let answer = app.get(path).bearer(token).await;
            let json = answer.json();
            told.push(format!("{resource} at {path}: {} {}", answer.status.as_u16(), json["reason"]));
        }
    }
    assert_snapshot!(told.join("\n"), @r#"
    management at /api/v1/me: 200 null
    management at /api/v1/proxy/demo/tools: 401 "token_for_other_audience"
    management at /api/v1/proxy/other/tools: 401 "token_for_other_audience"
    proxy at /api/v1/me: 401 "token_for_other_audience"
    proxy at /api/v1/proxy/demo/tools: 502 "upstream_failed"
    proxy at /api/v1/proxy/other/tools: 502 "upstream_failed"
    demo at /api/v1/me: 401 "token_for_other_audience"
    demo at /api/v1/proxy/demo/tools: 502 "upstream_failed"
    demo at /api/v1/proxy/other/tools: 401 "token_for_other_audience"
    "#);
}
