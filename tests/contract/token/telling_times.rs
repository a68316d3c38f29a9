//! How long an answer takes must not tell what it does not say: whose addresses and ids are known here. What takes
//! time is the store, so its requests are counted, of a process that has not met the address and of one that has.

use deputize_core::vault::Vault;
use deputize_tests::{
    TestApp,
    app::root,
    request::{USER_EMAIL, USER_ID},
};

use crate::scenario::Scenario;

/// The costs of a process's first, second and third request.
async fn costs(scenario: &Scenario, kind: &str, actor: &str) -> [Vec<String>; 3] {
    let app: TestApp = scenario.app.another(Vault::new(root(7), Vec::new())).await;
    app.m2m(&scenario.bot).await;
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for cost in &mut costs {
        app.faults.take_seen();
        let fields = [("actor_token", actor), ("actor_token_type", kind)];
        let refused = app.token_for(&scenario.bot, &fields).await;
        assert_eq!(refused.refusal(), "403 invalid_grant: No valid delegation", "{actor}");
        *cost = app.faults.take_seen();
    }
    costs
}

#[tokio::test]
async fn an_address_that_is_known_costs_what_one_that_is_not_costs() {
    let scenario = Scenario::start().await;
    let known = costs(&scenario, USER_EMAIL, &scenario.carol.email).await;
    let unknown = costs(&scenario, USER_EMAIL, "nobody@example.com").await;
    assert_eq!(known, unknown);
    assert_eq!(known[0], ["BatchGetItem", "BatchGetItem", "BatchWriteItem"]);
    assert_eq!(known[1], ["BatchGetItem", "BatchWriteItem"]);
    assert_eq!(known[1], known[2]);
}

#[tokio::test]
async fn an_id_that_is_known_costs_what_one_that_is_not_costs() {
    let scenario = Scenario::start().await;
    let known = costs(&scenario, USER_ID, &scenario.carol.id.to_string()).await;
    let unknown = costs(&scenario, USER_ID, "00000000-0000-4000-8000-000000000001").await;
    assert_eq!(known, unknown);
}

/// An unknown address leads to a user as soon as one has it.
#[tokio::test]
async fn an_address_that_was_unknown_leads_to_whoever_has_it_now() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let fields = [("actor_token", "dave@example.com"), ("actor_token_type", USER_EMAIL)];
    assert_eq!(app.token_for(&bot, &fields).await.status, 403);
    let dave = app.user("dave").await;
    app.delegate(&bot, &dave).await;
    let token = app.token_for(&bot, &fields).await.access_token();
    assert_eq!(deputize_tests::jwt::claims(&token)["sub"], dave.id.to_string());
}
