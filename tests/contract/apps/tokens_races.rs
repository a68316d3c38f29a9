//! Refreshing at once, in the middle of a change, with answers that are lost, and what it costs.

use std::{future::IntoFuture, time::Duration};

use deputize_core::vault::Vault;
use deputize_tests::{
    AppClient, TestApp, TestResponse,
    app::root,
    apps::{Allowed, Tokens},
    faults::Fault,
    jwt::SigningKey,
};
use futures::future::join_all;

use super::Signed;

const READ_AND_TRANSACTION: &[(&str, u64)] = &[("BatchGetItem", 1), ("TransactWriteItems", 1)];
const READ_AND_EVENT: &[(&str, u64)] = &[("BatchGetItem", 1), ("BatchWriteItem", 1)];

/// How many families of refresh tokens there are.
fn families(app: &TestApp) -> usize {
    app.contents().keys().filter(|key| key.contains(" FAMILY#")).count()
}

#[tokio::test]
async fn a_code_and_a_refresh_are_one_read_and_one_transaction_each() {
    for client in [AppClient::public("app.example"), AppClient::public("app.example").with_secret()] {
        let Signed { app, client, allowed, .. } = Signed::up_as(TestApp::start().await, client).await;
        app.sign_in(&allowed).await;
        let code = app.code(&allowed).await;
        let (answer, cost) = app.round_trips(app.redeem(&client, &code, &[]).into_future()).await;
        assert_eq!(cost, READ_AND_TRANSACTION);
        let first = Tokens::of(&answer);
        let (answer, cost) = app.round_trips(app.refresh(&client, &first.refresh, &[]).into_future()).await;
        assert_eq!(cost, READ_AND_TRANSACTION);
        let second = Tokens::of(&answer);
        let (_, cost) = app.round_trips(app.refresh(&client, &first.refresh, &[]).into_future()).await;
        assert_eq!(cost, READ_AND_TRANSACTION, "a former token's");
        app.refreshed(&client, &second.refresh).await;
        app.pass(Duration::from_mins(1));
        let (reused, cost) = app.round_trips(app.refresh(&client, &first.refresh, &[]).into_future()).await;
        assert_eq!((reused.status.as_u16(), &*cost), (400, READ_AND_TRANSACTION), "one that ends the family");
        let (strange, cost) = app.round_trips(app.refresh(&client, "dpr_none", &[]).into_future()).await;
        assert_eq!((strange.status.as_u16(), &*cost), (400, READ_AND_EVENT), "one that is none");
    }
}

#[tokio::test]
async fn an_apps_assertion_costs_no_round_trip() {
    let client = AppClient::public("app.example").with_key(SigningKey::es256());
    let Signed { app, client, allowed, .. } = Signed::up_as(TestApp::start().await, client).await;
    let tokens = app.sign_in(&allowed).await;
    let (_, cost) = app.round_trips(app.refresh(&client, &tokens.refresh, &[]).into_future()).await;
    assert_eq!(cost, READ_AND_TRANSACTION);
}

#[tokio::test]
async fn of_many_refreshes_at_once_each_gets_the_same_refresh_token_and_an_access_token_that_is_good() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let other = app.another(Vault::new(root(7), Vec::new())).await;
    let mut tokens = app.sign_in(&allowed).await;
    app.faults.shuffle();
    for _ in 0..5 {
        let asks = (0..8).map(|n| {
            let process = if n % 2 == 0 { &app } else { &other };
            process.refresh(&client, &tokens.refresh, &[]).into_future()
        });
        let got: Vec<Tokens> = join_all(asks).await.iter().map(Tokens::of).collect();
        assert!(got.iter().all(|one| one.refresh == got[0].refresh && one.refresh != tokens.refresh));
        for one in &got {
            assert!(app.manages(&one.access).await);
        }
        assert_eq!(families(&app), 1);
        tokens = got[0].clone();
    }
}

#[tokio::test]
async fn two_machines_with_one_authorization_do_not_stand_in_each_others_way() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let machines = join_all((0..6).map(|_| app.sign_in(&allowed))).await;
    app.faults.shuffle();
    let asks = machines.iter().map(|machine| app.refresh(&client, &machine.refresh, &[]).into_future());
    let got: Vec<Tokens> = join_all(asks).await.iter().map(Tokens::of).collect();
    assert_eq!(families(&app), 6);
    for one in &got {
        app.refresh(&client, &one.refresh, &[]).await.ok();
    }
}

#[tokio::test]
async fn of_two_that_redeem_a_code_at_once_one_gets_tokens_and_both_lose_them() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let code = app.code(&allowed).await;
    app.faults.stop_before_next_change();
    let first = app.redeem(&client, &code, &[]).into_future();
    let second = async {
        app.faults.is_stopped().await;
        let second = app.redeem(&client, &code, &[]).await;
        app.faults.go_on();
        second
    };
    let (first, second) = tokio::join!(first, second);
    let tokens = Tokens::of(&second);
    assert_eq!(
        first.refusal(),
        "400 invalid_grant: The authorization code was used before: all tokens of this sign-in have ended"
    );
    assert!(!app.manages(&tokens.access).await);
    assert_eq!((app.refresh(&client, &tokens.refresh, &[]).await.status.as_u16(), families(&app)), (400, 0));
}

#[tokio::test]
async fn a_code_that_comes_again_while_it_is_redeemed_leaves_no_family_whatever_is_seen_of_it() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let code = app.code(&allowed).await;
    // The one who comes again sees that the code is redeemed, and no family.
    app.faults.hold_next(|key| key.sk.starts_with("FAMILY#"));
    let first = app.redeem(&client, &code, &[]).into_future();
    let second = async {
        app.faults.is_under_way().await;
        let asked = app.redeem(&client, &code, &[]).into_future();
        let released = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            app.faults.release();
        };
        tokio::join!(asked, released).0
    };
    let (first, second) = tokio::join!(first, second);
    let tokens = Tokens::of(&first);
    assert_eq!(second.status, 400);
    assert!(!app.manages(&tokens.access).await);
    assert_eq!((app.refresh(&client, &tokens.refresh, &[]).await.status.as_u16(), families(&app)), (400, 0));
}

#[tokio::test]
async fn a_refresh_during_a_revocation_gives_nothing_that_outlives_it() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let tokens = app.sign_in(&allowed).await;
    app.faults.stop_before_next_change();
    let refresh = app.refresh(&client, &tokens.refresh, &[]).into_future();
    let revoked = async {
        app.faults.is_stopped().await;
        let deputize_core::table::Key { pk, sk } = allowed.key();
        app.remove(&pk, &sk);
        app.faults.go_on();
    };
    let (refused, ()) = tokio::join!(refresh, revoked);
    assert_eq!(
        refused.refusal(),
        "400 invalid_grant: The user's authorization of the app is revoked or has expired"
    );
}

/// What a request comes to if the store fails at each of its requests in turn, until none is left to fail. A client
/// asks again as it is told to.
async fn with_each_fault(
    fault: Fault,
    ask: impl AsyncFn(&Signed, &Tokens) -> TestResponse,
    check: impl AsyncFn(&Signed, &Tokens, &TestResponse),
) {
    for skip in 0..6 {
        let it = Signed::up().await;
        let tokens = it.app.sign_in(&it.allowed).await;
        it.app.faults.take_seen();
        it.app.faults.in_turn(skip, &[fault; 3]);
        let answer = ask(&it, &tokens).await;
        it.app.faults.stop();
        assert!(matches!(answer.status.as_u16(), 200 | 503), "{fault:?} after {skip}: {answer}");
        check(&it, &tokens, &answer).await;
    }
}

#[tokio::test]
async fn whatever_fails_at_the_store_a_refresh_that_is_tried_again_succeeds() {
    for fault in [Fault::Throttled, Fault::TimedOut, Fault::AnswerLost, Fault::ServerError, Fault::Refused] {
        let ask = async |it: &Signed, tokens: &Tokens| it.app.refresh(&it.client, &tokens.refresh, &[]).await;
        with_each_fault(fault, ask, async |it, tokens, _| {
            let again = it.app.refreshed(&it.client, &tokens.refresh).await;
            assert!(it.app.manages(&again.access).await);
            let next = it.app.refreshed(&it.client, &again.refresh).await;
            assert_eq!(it.app.refreshed(&it.client, &again.refresh).await.refresh, next.refresh);
            assert_eq!(families(&it.app), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_the_store_loses_is_no_second_use_of_a_code() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    for times in [1, 2] {
        let code = app.code(&allowed).await;
        app.faults.next("TransactWriteItems", times, Fault::AnswerLost);
        let tokens = Tokens::of(&app.redeem(&client, &code, &[]).await);
        assert!(app.manages(&tokens.access).await);
        app.refresh(&client, &tokens.refresh, &[]).await.ok();
    }
}

#[tokio::test]
async fn a_family_that_is_refreshed_while_it_ends_is_ended() {
    let Signed { app, client, allowed, .. } = Signed::up().await;
    let first = app.sign_in(&allowed).await;
    let second = app.refreshed(&client, &first.refresh).await;
    let third = app.refreshed(&client, &second.refresh).await;
    app.pass(Duration::from_mins(1));
    app.faults.stop_before_next_change();
    let refresh = app.refresh(&client, &third.refresh, &[]).into_future();
    let reuse = async {
        app.faults.is_stopped().await;
        let reused = app.refresh(&client, &first.refresh, &[]).await;
        app.faults.go_on();
        reused
    };
    let (refreshed, reused) = tokio::join!(refresh, reuse);
    assert_eq!((refreshed.status.as_u16(), reused.status.as_u16(), families(&app)), (400, 400, 0));
}

/// One of two copies of an app, such as two windows, which share what they stored last.
struct Copy {
    held: String,
}

/// Refreshes in any order by two copies of an app that do not wait for each other, and answers that get lost: as long as
/// each copy comes back within the grace, none is ever refused, and there is one family.
#[tokio::test]
async fn two_copies_of_an_app_are_never_logged_out_and_never_have_two_families() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let Signed { app, client, allowed, .. } = Signed::up().await;
        let Allowed { .. } = &allowed;
        let first = app.sign_in(&allowed).await;
        let mut copies = [Copy { held: first.refresh.clone() }, Copy { held: first.refresh }];
        for step in 0..25 {
            let both = random.bool();
            let asked: Vec<usize> = if both { vec![0, 1] } else { vec![random.usize(..2)] };
            let asks = asked.iter().map(|copy| app.refresh(&client, &copies[*copy].held, &[]).into_future());
            let answers = join_all(asks).await;
            for (copy, answer) in asked.iter().zip(&answers) {
                let got = Tokens::of(answer);
                assert!(app.manages(&got.access).await, "seed {seed}, step {step}");
                // An answer can be lost on its way. Then the copy goes on with what it had.
                if random.u8(..4) > 0 {
                    copies[*copy].held = got.refresh;
                }
            }
            // A copy that lags comes again before the grace is over.
            let lags = copies[0].held != copies[1].held;
            app.pass(Duration::from_secs(if lags { random.u64(..2) } else { random.u64(..7200) }));
            assert_eq!(families(&app), 1, "seed {seed}, step {step}");
        }
    }
}
