//! Refreshing: rotation, the answer that was lost, reuse, and what ends a family.

use std::time::Duration;

use deputize_core::{apps::AppAuth, apps::IDLE_FOR, apps::LASTS, table::Key};
use deputize_tests::{AppClient, TestApp, apps::Tokens, jwt};
use insta::assert_snapshot;
use serde_json::json;

use super::Signed;

/// What a refresh token is told that is good no more.
const UNKNOWN: &str =
    "400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's";
/// What the reuse of a refresh token is told.
const REUSED: &str = "400 invalid_grant: The refresh token was used before, and its successor too: all tokens of this sign-in have ended";

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn each_refresh_gives_a_new_refresh_token_and_an_access_token() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let mut tokens = vec![app.sign_in(&allowed).await];
    for _ in 0..3 {
        app.pass(Duration::from_hours(1));
        let last = tokens.last().unwrap();
        assert!(!app.manages(&last.access).await, "it has expired");
        let answer = app.refresh(&client, &last.refresh, &[]).await;
        assert_eq!(
            (answer.json()["expires_in"].as_u64(), &*answer.field("scope")),
            (Some(3600), "manage offline_access")
        );
        let next = Tokens::of(&answer);
        assert!(app.manages(&next.access).await);
        assert!(tokens.iter().all(|other| other.refresh != next.refresh));
        tokens.push(next);
    }
    let answer = app.refresh(&client, &tokens[3].refresh, &[]).await;
    assert_snapshot!(app.event_of(&answer).replace(&*client.client_id, "[app]"), @r#"
    action: "app_token.issue"
    audit_user: "[bob]"
    client_id: "[app]"
    credential: "refresh_token:[uuid]"
    outcome: "allowed"
    subject: "authorization:[bob's authorization]"
    token_id: "[uuid]"
    "#);
}

#[tokio::test]
async fn the_authorization_is_used_with_each_refresh_and_ends_when_it_is_not_or_after_a_year() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let begun = app.now();
    let mut tokens = app.sign_in(&allowed).await;
    let almost_idle = IDLE_FOR.checked_sub(MINUTE).unwrap();
    for n in 1..=4 {
        app.pass(almost_idle);
        tokens = app.refreshed(&client, &tokens.refresh).await;
        assert_eq!(app.text(&allowed.key(), "used_at"), app.now().to_string(), "{n}");
        let ends = begun.plus(LASTS).min(app.now().plus(IDLE_FOR));
        assert_eq!(
            app.removed_at(&allowed.key()).map(deputize_core::clock::Timestamp::as_seconds),
            Some(ends.as_seconds())
        );
    }
    // A token does not live longer than what it rests on.
    let left = LASTS.checked_sub(almost_idle * 4).unwrap();
    app.pass(left.checked_sub(MINUTE).unwrap());
    let answer = app.refresh(&client, &tokens.refresh, &[]).await.ok();
    assert_eq!(answer.json()["expires_in"], 60);
    app.pass(MINUTE);
    let ended = app.refresh(&client, &answer.field("refresh_token"), &[]).await;
    assert_eq!(ended.refusal(), UNKNOWN);

    let Signed { app, client, allowed, .. } = Signed::up().await;
    let tokens = app.sign_in(&allowed).await;
    app.pass(IDLE_FOR);
    let ended = app.refresh(&client, &tokens.refresh, &[]).await;
    assert_snapshot!(ended.refusal(), @"400 invalid_grant: The user's authorization of the app is revoked or has expired");
}

#[tokio::test]
async fn the_token_last_rotated_out_is_good_until_its_successor_is_used_and_gets_the_newest() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let first = app.sign_in(&allowed).await;
    let second = app.refreshed(&client, &first.refresh).await;
    // Its answer may have been lost: it comes again, from anywhere, whenever that is.
    for hours in [0, 1, 24 * 30] {
        app.pass(Duration::from_hours(hours));
        let again = app.refresh(&client, &first.refresh, &[]).await;
        assert_eq!(again.field("refresh_token"), second.refresh, "after {hours} hours");
        assert!(app.manages(&again.access_token()).await);
        if hours == 0 {
            assert_snapshot!(app.event_of(&again).replace(&*client.client_id, "[app]"), @r#"
            action: "app_token.issue"
            audit_user: "[bob]"
            client_id: "[app]"
            credential: "refresh_token:[uuid]"
            detail: "a former refresh token, whose answer may have been lost"
            outcome: "allowed"
            subject: "authorization:[bob's authorization]"
            token_id: "[uuid]"
            "#);
        }
    }
    app.refresh(&client, &second.refresh, &[]).await.ok();
}

#[tokio::test]
async fn a_former_token_is_good_for_a_minute_after_its_successor_was_used_and_then_ends_the_family() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let first = app.sign_in(&allowed).await;
    let second = app.refreshed(&client, &first.refresh).await;
    let third = app.refreshed(&client, &second.refresh).await;
    app.pass(Duration::from_secs(59));
    assert_eq!(app.refreshed(&client, &first.refresh).await.refresh, third.refresh);
    assert_eq!(app.refreshed(&client, &second.refresh).await.refresh, third.refresh);
    // Using a former token is no use of the newest: it does not make the time longer.
    app.pass(Duration::from_secs(1));
    assert_eq!(
        app.refreshed(&client, &second.refresh).await.refresh,
        third.refresh,
        "its successor is not used"
    );
    let another = app.sign_in(&allowed).await;
    let reused = app.refresh(&client, &first.refresh, &[]).await;
    assert_eq!((reused.refusal(), &*reused.field("reason")), (REUSED.to_owned(), "refresh_token_refused"));
    assert_snapshot!(app.event_of(&reused).replace(&*client.client_id, "[app]"), @r#"
    action: "app_token.issue"
    audit_user: "[bob]"
    client_id: "[app]"
    credential: "refresh_token:[uuid]"
    detail: "invalid_grant: The refresh token was used before, and its successor too: all tokens of this sign-in have ended"
    outcome: "denied"
    subject: "authorization:[bob's authorization]"
    "#);
    for ended in [&first, &second, &third] {
        assert_eq!(app.refresh(&client, &ended.refresh, &[]).await.refusal(), UNKNOWN);
        assert!(!app.manages(&ended.access).await);
    }
    assert!(app.manages(&another.access).await, "another machine's family lives on");
    app.refresh(&client, &another.refresh, &[]).await.ok();
}

#[tokio::test]
async fn a_token_of_long_ago_ends_the_family_and_a_made_up_one_does_not() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let first = app.sign_in(&allowed).await;
    let mut tokens = first.clone();
    for _ in 0..30 {
        app.pass(Duration::from_hours(1));
        tokens = app.refreshed(&client, &tokens.refresh).await;
    }
    let before = app.contents();
    // A token with the family's own ids, which are no secret, and with the right checksum.
    let made_up = made_up(&first.refresh);
    assert_eq!(app.refresh(&client, &made_up, &[]).await.refusal(), UNKNOWN);
    assert_eq!(app.contents(), before);
    assert!(app.manages(&tokens.access).await);
    assert_eq!(app.refresh(&client, &first.refresh, &[]).await.refusal(), REUSED);
    assert!(!app.manages(&tokens.access).await);
}

/// A well-formed token that names what another one does.
fn made_up(token: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    let mut bytes = BASE64.decode(token.strip_prefix("dpr_").unwrap()).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes[60] ^= 1;
    let mut summed = b"deputize checksum dpr_".to_vec();
    summed.extend_from_slice(&bytes);
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &summed);
    bytes.extend_from_slice(&sum.as_ref()[..4]);
    format!("dpr_{}", BASE64.encode(bytes))
}

#[tokio::test]
async fn the_grace_is_as_long_as_the_deployment_says() {
    for (seconds, grace) in [(0, 0), (3600, 3600)] {
        let app = TestApp::start_with_refresh_grace(Duration::from_secs(grace)).await;
        let Signed { app, client, allowed, .. } = Signed::up_in(app).await;
        let first = app.sign_in(&allowed).await;
        let second = app.refreshed(&client, &first.refresh).await;
        // Without a grace, an answer can be lost all the same.
        assert_eq!(app.refreshed(&client, &first.refresh).await.refresh, second.refresh);
        let third = app.refreshed(&client, &second.refresh).await;
        if let Some(almost) = Duration::from_secs(seconds).checked_sub(Duration::from_secs(1)) {
            app.pass(almost);
            assert_eq!(app.refreshed(&client, &first.refresh).await.refresh, third.refresh);
            app.pass(Duration::from_secs(1));
        }
        assert_eq!(app.refresh(&client, &first.refresh, &[]).await.refusal(), REUSED, "{seconds}");
    }
}

#[tokio::test]
async fn a_client_that_refreshes_faster_than_the_grace_keeps_its_token_and_is_never_logged_out() {
    let app = TestApp::start_with_refresh_grace(Duration::from_hours(1)).await;
    let Signed { app, client, allowed, .. } = Signed::up_in(app).await;
    let mut had = vec![app.sign_in(&allowed).await.refresh];
    for _ in 0..60 {
        app.pass(Duration::from_secs(30));
        let next = app.refreshed(&client, had.last().unwrap()).await.refresh;
        had.push(next);
    }
    let newest = had.last().unwrap();
    assert_eq!(
        had.iter().filter(|token| *token == newest).count(),
        41,
        "it is rotated 20 times, and then kept"
    );
    for token in &had {
        assert_eq!(app.refreshed(&client, token).await.refresh, *newest);
    }
    app.pass(Duration::from_hours(1));
    let next = app.refreshed(&client, newest).await.refresh;
    assert_ne!(next, *newest);
    assert_eq!(app.refresh(&client, &had[0], &[]).await.refusal(), REUSED);
}

#[tokio::test]
async fn each_sign_in_has_a_family_of_its_own() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let (mut desk, laptop) = (app.sign_in(&allowed).await, app.sign_in(&allowed).await);
    let first = desk.clone();
    for _ in 0..2 {
        desk = app.refreshed(&client, &desk.refresh).await;
        app.pass(MINUTE * 2);
    }
    assert_eq!(app.refresh(&client, &first.refresh, &[]).await.refusal(), REUSED);
    assert_eq!(app.refresh(&client, &desk.refresh, &[]).await.refusal(), UNKNOWN);
    assert!(app.manages(&laptop.access).await);
    app.refresh(&client, &laptop.refresh, &[]).await.ok();
}

#[tokio::test]
async fn a_refresh_is_bound_to_its_client_and_what_the_user_allowed() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let tokens = app.sign_in(&allowed).await;
    let other = AppClient::public("other.example").client_id;
    let before = app.contents();
    let mut told = Vec::new();
    for changed in [
        ("client_id", &*other),
        ("client_id", "nobody"),
        ("client_id", ""),
        ("client_secret", "dps_none"),
        ("resource", "https://deputize.test"),
        ("resource", "https://deputize.test/api/v1/proxy/demo/mcp"),
        ("refresh_token", &*tokens.access),
        ("refresh_token", "dpr_none"),
        ("refresh_token", ""),
    ] {
        told.push(format!(
            "{}: {}",
            changed.0,
            app.refresh(&client, &tokens.refresh, &[changed]).await.refusal()
        ));
    }
    assert_snapshot!(told.join("\n"), @"
    client_id: 400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's
    client_id: 401 invalid_client: Client authentication failed
    client_id: 401 invalid_client: Client authentication failed
    client_secret: 401 invalid_client: Client authentication failed
    resource: 400 invalid_target: resource: the user allowed the app https://deputize.test/api/v1, and this is for something else
    resource: 400 invalid_target: resource: the user allowed the app https://deputize.test/api/v1, and this is for something else
    refresh_token: 400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's
    refresh_token: 400 invalid_grant: The refresh token is not known, has expired or been revoked, or is another client's
    refresh_token: 400 invalid_request: The parameter refresh_token is missing
    ");
    assert_eq!(app.contents(), before, "nothing was changed");
    for same in ["https://deputize.test/api/v1", "https://deputize.test/api/v1?x"] {
        app.refresh(&client, &tokens.refresh, &[("resource", same)]).await.ok();
    }
}

#[tokio::test]
async fn another_client_cannot_end_a_family_by_an_old_token_of_its() {
    let Signed { app, bob, client, allowed, .. } = Signed::up().await;
    let other = app.allow(&bob, &AppClient::public("other.example"), "management", "manage").await;
    let first = app.sign_in(&allowed).await;
    let second = app.refreshed(&client, &first.refresh).await;
    let third = app.refreshed(&client, &second.refresh).await;
    app.pass(MINUTE);
    let before = app.contents();
    for token in [&first, &second, &third] {
        assert_eq!(app.refresh(&other.client, &token.refresh, &[]).await.refusal(), UNKNOWN);
    }
    assert_eq!(app.contents(), before);
    app.refresh(&client, &third.refresh, &[]).await.ok();
}

#[tokio::test]
async fn a_refresh_may_narrow_the_scope_of_its_access_token_and_of_no_later_one() {
    let Signed { app, bob, client, .. } = Signed::up().await;
    let allowed = app.allow(&bob, &client, "management", "tools:call manage offline_access").await;
    let mut tokens = app.sign_in(&allowed).await;
    for (asked, answered, of_token) in [
        ("tools:call", "tools:call offline_access", "tools:call"),
        ("", "tools:call manage offline_access", "tools:call manage"),
        ("manage offline_access", "manage offline_access", "manage"),
        ("openid profile", "tools:call manage offline_access", "tools:call manage"),
        ("manage admin", "manage offline_access", "manage"),
    ] {
        let answer = app.refresh(&client, &tokens.refresh, &[("scope", asked)]).await;
        tokens = Tokens::of(&answer);
        assert_eq!(answer.field("scope"), answered, "{asked}");
        assert_eq!(jwt::claims(&tokens.access)["scope"], of_token, "{asked}");
    }
    let allowed = app.allow(&bob, &client, "demo", "tools:call").await;
    let tokens = app.sign_in(&allowed).await;
    let answer =
        app.refresh(&client, &tokens.refresh, &[("scope", "tools:call manage offline_access")]).await;
    assert_eq!(answer.field("scope"), "tools:call", "never wider");
}

#[tokio::test]
async fn what_the_tokens_rest_on_must_be_good_at_each_refresh_and_call() {
    let mut told = Vec::new();
    for n in 0..6 {
        let Signed { app, alice, bob, client, allowed } = Signed::up().await;
        let tokens = app.sign_in(&allowed).await;
        let user = format!("/api/v1/users/{}", bob.id);
        let activate = async |active: bool| {
            app.patch(&user).as_user(&alice).json(&json!({ "active": active })).await.ok();
        };
        let what = match n {
            0 => {
                activate(false).await;
                "user deactivated"
            }
            1 => {
                activate(false).await;
                activate(true).await;
                "user deactivated and activated again"
            }
            2 => {
                let Key { pk, sk } = allowed.key();
                app.remove(&pk, &sk);
                "authorization revoked"
            }
            3 => {
                app.block_app(&client).await;
                "app blocked"
            }
            4 => {
                app.block_host("app.example").await;
                "host blocked"
            }
            _ => {
                app.block_host("other.example").await;
                "another host blocked"
            }
        };
        let call = app.get("/api/v1/me").bearer(&tokens.access).await;
        let refresh = app.refresh(&client, &tokens.refresh, &[]).await;
        let reason = refresh.json()["reason"].to_string();
        let detail = refresh.json()["detail"].to_string();
        told.push(format!(
            "{what}: call {}; refresh {} {reason} {detail}",
            call.status.as_u16(),
            refresh.status.as_u16()
        ));
    }
    assert_snapshot!(told.join("\n"), @r#"
    user deactivated: call 401; refresh 400 "user_inactive" "invalid_grant: The user is deactivated"
    user deactivated and activated again: call 401; refresh 400 "authorization_ended" "invalid_grant: The user was deactivated after they allowed the app"
    authorization revoked: call 401; refresh 400 "authorization_ended" "invalid_grant: The user's authorization of the app is revoked or has expired"
    app blocked: call 401; refresh 400 "authorization_ended" "invalid_grant: An admin has blocked the app"
    host blocked: call 401; refresh 400 "authorization_ended" "invalid_grant: An admin has blocked the app"
    another host blocked: call 200; refresh 200 null null
    "#);
}

#[tokio::test]
async fn a_blocked_host_is_seen_though_the_user_allowed_the_app_anew_from_there() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let tokens = app.sign_in(&allowed).await;
    app.set(&allowed.key(), "app_host", json!({ "S": "moved.example" }));
    app.refresh(&client, &tokens.refresh, &[]).await.ok();
    app.block_host("moved.example").await;
    let refused = app.refresh(&client, &tokens.refresh, &[]).await;
    assert_eq!(refused.refusal(), "400 invalid_grant: An admin has blocked the app");
}

#[tokio::test]
async fn the_table_holds_no_token_in_clear() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let code = app.code(&allowed).await;
    let first = Tokens::of(&app.redeem(&client, &code, &[]).await);
    let second = app.refreshed(&client, &first.refresh).await;
    let all = format!("{:?}{:?}", app.contents(), app.trail());
    for secret in [&code, &first.refresh, &second.refresh, &first.access, &second.access] {
        // Neither it nor its random part.
        assert!(!all.contains(secret) && !all.contains(&secret[70..100]), "{secret}");
    }
}

#[tokio::test]
async fn how_an_app_proves_itself_is_what_it_was_at_consent() {
    let client = AppClient::public("app.example").with_secret();
    let Signed { app, allowed, .. } = Signed::up_as(TestApp::start().await, client.clone()).await;
    let tokens = app.sign_in(&allowed).await;
    // The same app as a public one, as its document may say by now.
    let public = AppClient { auth: AppAuth::None, secret: None, ..client.clone() };
    let refused = app.refresh(&public, &tokens.refresh, &[]).await;
    assert_eq!(refused.refusal(), "401 invalid_client: Client authentication failed");
    let code = app.code(&allowed).await;
    assert_eq!(app.redeem(&public, &code, &[]).await.status, 401);
    app.redeem(&client, &code, &[]).await.ok();
    app.refresh(&client, &tokens.refresh, &[]).await.ok();
}
