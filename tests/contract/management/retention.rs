//! How long what has ended is kept, and that nothing rests on when it goes.

use std::time::Duration;

use deputize_core::{
    audit::{Action, Event, RequestContext},
    clock::Timestamp,
    ids::{ApiKeyId, DelegationId, GrantId},
    retention::Retention,
    table::{Key, Table, TableOptions},
};
use deputize_tests::{TestApp, TestResponse};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{grants::Connected, scenario::Scenario};

const DAY: Duration = Duration::from_hours(24);

fn after_days(app: &TestApp, days: u32) -> Timestamp {
    Timestamp::from_seconds(app.now().plus(DAY * days).as_seconds())
}

async fn delegates(scenario: &Scenario, body: &Value) -> TestResponse {
    let path = format!("/api/v1/agent-accounts/{}/delegations", scenario.bot.id);
    scenario.app.post(path).as_user(&scenario.carol).json(body).await.ok()
}

/// Carol's delegation, its entry in her list, and the pointer from its id.
fn keys(scenario: &Scenario, made: &TestResponse) -> [Key; 3] {
    let id: DelegationId = made.field("id").parse().unwrap();
    let (bot, carol) = (scenario.bot.id, scenario.carol.id);
    [Key::delegation(bot, carol), Key::delegation_made(carol, bot), Key::delegation_by_id(id)]
}

#[tokio::test]
async fn audit_events_are_kept_for_four_hundred_days() {
    let scenario = Scenario::start().await;
    scenario.app.m2m(&scenario.bot).await;
    delegates(&scenario, &json!({})).await;
    for event in scenario.app.trail() {
        let at: Timestamp = event["at"].as_str().unwrap().parse().unwrap();
        assert_eq!(event["ttl"], at.plus(DAY * 400).as_seconds(), "{event}");
    }
}

#[tokio::test]
async fn a_deployment_says_otherwise_or_keeps_for_ever() {
    let Scenario { app, .. } = Scenario::start().await;
    let days = async |retention: &str| {
        let retention: Retention = retention.parse().unwrap();
        let options = TableOptions { retention, clock: app.core.clock.clone(), ..TableOptions::default() };
        let event = Event::new(&app.core, &RequestContext::default(), Action::ToolCall).unwrap();
        app.pass(Duration::from_secs(1));
        Table::new(app.faults.client(), options).append(&event).await.unwrap();
        app.trail().last().unwrap()["ttl"].clone()
    };
    assert_eq!(days("audit=30").await, app.now().plus(DAY * 30).as_seconds());
    assert_eq!(days("audit=0").await, Value::Null);
}

#[tokio::test]
async fn a_delegation_goes_with_what_leads_to_it_ninety_days_after_its_end() {
    let scenario = Scenario::start().await;
    let made = delegates(&scenario, &json!({ "expires_at": "2026-01-16T09:00:00Z" })).await;
    let end = Some(after_days(&scenario.app, 91));
    assert_eq!(keys(&scenario, &made).map(|key| scenario.app.removed_at(&key)), [end; 3]);
    scenario.app.pass(Duration::from_hours(1));
    scenario
        .app
        .delete(format!("/api/v1/delegations/{}", made.field("id")))
        .as_user(&scenario.carol)
        .await
        .ok();
    let end = Some(after_days(&scenario.app, 90));
    assert_eq!(keys(&scenario, &made).map(|key| scenario.app.removed_at(&key)), [end; 3]);
}

#[tokio::test]
async fn a_delegation_that_is_made_again_stays_and_only_what_led_to_the_old_one_goes() {
    let scenario = Scenario::start().await;
    let old = delegates(&scenario, &json!({})).await;
    assert_eq!(keys(&scenario, &old).map(|key| scenario.app.removed_at(&key)), [None; 3]);
    scenario
        .app
        .delete(format!("/api/v1/delegations/{}", old.field("id")))
        .as_user(&scenario.carol)
        .await
        .ok();
    let end = Some(after_days(&scenario.app, 90));
    scenario.app.pass(DAY);
    let new = delegates(&scenario, &json!({})).await;
    assert_eq!(keys(&scenario, &new).map(|key| scenario.app.removed_at(&key)), [None; 3]);
    assert_eq!(keys(&scenario, &old).map(|key| scenario.app.removed_at(&key)), [None, None, end]);
    // So is one that is replaced while it is active.
    let newer = delegates(&scenario, &json!({ "expires_at": "2027-01-16T09:00:00Z" })).await;
    assert_eq!(scenario.app.removed_at(&keys(&scenario, &new)[2]), Some(after_days(&scenario.app, 90)));
    let [delegation, entry, pointer] = keys(&scenario, &newer).map(|key| scenario.app.removed_at(&key));
    assert!(delegation.is_some() && delegation == entry && entry == pointer);
}

#[tokio::test]
async fn whichever_parts_of_an_ended_delegation_have_gone_it_can_be_made_again_and_revoked_again() {
    for gone in 0..8 {
        let scenario = Scenario::start().await;
        let old = delegates(&scenario, &json!({})).await;
        let path = |made: &TestResponse| format!("/api/v1/delegations/{}", made.field("id"));
        scenario.app.delete(path(&old)).as_user(&scenario.carol).await.ok();
        for (n, key) in keys(&scenario, &old).into_iter().enumerate() {
            if gone >> n & 1 == 1 {
                scenario.app.remove(&key.pk, &key.sk);
            }
        }
        let answer = scenario.app.delete(path(&old)).as_user(&scenario.carol).await;
        assert!(matches!(answer.status.as_u16(), 204 | 404), "{gone}: {answer}");
        let listed = scenario.app.get("/api/v1/delegations").as_user(&scenario.carol).await.ok().json();
        assert!(listed.as_array().unwrap().iter().all(|one| one["is_active"] == false), "{gone}");
        let new = delegates(&scenario, &json!({})).await;
        scenario.app.obo(&scenario.bot, &scenario.carol).await;
        let listed = scenario.app.get("/api/v1/delegations").as_user(&scenario.carol).await.ok().json();
        assert_eq!(listed, json!([new.json()]), "{gone}");
        assert_eq!(keys(&scenario, &new).map(|key| scenario.app.removed_at(&key)), [None; 3], "{gone}");
        scenario.app.delete(path(&new)).as_user(&scenario.carol).await.ok();
        let refused = scenario
            .app
            .token_for(
                &scenario.bot,
                &[
                    ("actor_token", &scenario.carol.id.to_string()),
                    ("actor_token_type", deputize_tests::request::USER_ID),
                ],
            )
            .await;
        assert_eq!(refused.status, 403, "{gone}");
    }
}

#[tokio::test]
async fn what_has_expired_and_is_not_gone_yet_is_over_all_the_same() {
    let scenario = Scenario::start().await;
    let end = json!({ "expires_at": "2026-01-16T09:00:00Z", "name": "x" });
    let made = delegates(&scenario, &json!({ "expires_at": end["expires_at"] })).await;
    let key = scenario.app.post("/api/v1/api-keys").as_user(&scenario.carol).json(&end).await.ok();
    // Two days after it may be removed.
    scenario.app.pass(DAY * 93);
    assert!(scenario.app.removed_at(&keys(&scenario, &made)[0]) < Some(scenario.app.now()));
    let actor = scenario.carol.id.to_string();
    let fields = [("actor_token", &*actor), ("actor_token_type", deputize_tests::request::USER_ID)];
    assert_snapshot!(scenario.app.token_for(&scenario.bot, &fields).await.refusal(), @"403 invalid_grant: No valid delegation");
    assert_snapshot!(scenario.app.get("/api/v1/me").bearer(&key.field("key")).await.refusal(), @"401 The API key has expired");
}

#[tokio::test]
async fn an_api_key_goes_ninety_days_after_its_end() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let make = async |body: Value| {
        let made = app.post("/api/v1/api-keys").as_user(&bob).json(&body).await.ok();
        let id: ApiKeyId = made.field("id").parse().unwrap();
        app.removed_at(&Key::api_key(bob.id, id))
    };
    let expiring = json!({ "name": "for a day", "expires_at": "2026-01-16T09:00:00Z" });
    assert_eq!(make(expiring).await, Some(after_days(&app, 91)));
    assert_eq!(make(json!({ "name": "for ever" })).await, None);
}

#[tokio::test]
async fn a_user_has_a_hundred_api_keys_and_expired_ones_make_room() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let make = async |body: Value| app.post("/api/v1/api-keys").as_user(&bob).json(&body).await;
    for n in 0..99 {
        // One in ten is valid for a day.
        let mut body = json!({ "name": format!("key {n}") });
        if n % 10 == 0 {
            body["expires_at"] = "2026-01-16T09:00:00Z".into();
        }
        make(body).await.ok();
    }
    assert_snapshot!(make(json!({ "name": "one more" })).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "you have 100 live API keys; revoke one before making another",
      "detail": "you have 100 live API keys; revoke one before making another",
      "reason": "limit_reached"
    }
    "#);
    app.pass(DAY);
    for n in 0..10 {
        make(json!({ "name": format!("new {n}") })).await.ok();
        let of_bob = format!("USER#{} KEY#", bob.id);
        assert_eq!(app.contents().keys().filter(|key| key.starts_with(&of_bob)).count(), 100);
    }
    assert_eq!(make(json!({ "name": "one more" })).await.status, 409);
}

#[tokio::test]
async fn a_revoked_grant_goes_with_what_leads_to_it_and_its_pair_never_does() {
    let it = Connected::set().await;
    let (app, bot, bob) = (it.app(), it.scenario.bot.id, it.scenario.bob.id);
    let chat = "chat".parse().unwrap();
    let shared = it.create(&it.scenario.bob, true).await.ok();
    let id: GrantId = shared.field("id").parse().unwrap();
    let keys = [Key::grant(bot, &chat, bob), Key::grant_by_id(id)];
    assert_eq!([&keys[0], &keys[1]].map(|key| app.removed_at(key)), [None; 2]);
    assert_eq!(app.removed_at(&Key::promotion(bot, &chat, 1)), Some(after_days(app, 90)));
    app.pass(DAY);
    it.revoke(&it.scenario.bob, &shared.field("id")).await.ok();
    assert_eq!([&keys[0], &keys[1]].map(|key| app.removed_at(key)), [Some(after_days(app, 90)); 2]);
    let old_end = Some(after_days(app, 90));
    app.pass(DAY);
    // It is granted again and stays. The pointer from the old id goes.
    it.create(&it.scenario.bob, false).await.ok();
    assert_eq!([&keys[0], &keys[1]].map(|key| app.removed_at(key)), [None, old_end]);
    assert_eq!(app.removed_at(&Key::pair(bot, &chat)), None);
}

#[tokio::test]
async fn a_grant_that_was_displaced_does_not_come_back_when_what_displaced_it_has_gone() {
    let it = Connected::set().await;
    let (app, bot) = (it.app(), it.scenario.bot.id);
    let chat = "chat".parse().unwrap();
    it.create(&it.scenario.carol, false).await.ok();
    let shared = it.create(&it.scenario.bob, true).await.ok();
    it.revoke(&it.scenario.bob, &shared.field("id")).await.ok();
    for key in [
        Key::grant(bot, &chat, it.scenario.bob.id),
        Key::grant_by_id(shared.field("id").parse().unwrap()),
        Key::promotion(bot, &chat, 1),
    ] {
        assert!(app.removed_at(&key).is_some());
        app.remove(&key.pk, &key.sk);
    }
    let mine = it.list(&it.scenario.carol).await;
    assert_eq!((&mine[0]["is_active"], &mine[0]["displaced_by_user_id"]), (&json!(false), &Value::Null));
    assert_eq!(it.revoke(&it.scenario.bob, &shared.field("id")).await.status, 404);
    it.create(&it.scenario.bob, false).await.ok();
    assert_eq!(it.list(&it.scenario.carol).await[0]["is_active"], false);
}
