//! What an admin has stopped stays so until an admin lets it go on; and what becomes of an account whose owner leaves.

use std::time::Duration;

use deputize_core::table::Key;
use deputize_tests::{TestApp, TestResponse, User, jwt::SigningKey};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

fn path(scenario: &Scenario) -> String {
    format!("/api/v1/agent-accounts/{}", scenario.bot.id)
}

/// The stage, but the bot belongs to Bob.
async fn set() -> Scenario {
    let scenario = Scenario::start().await;
    let bot = scenario.app.agent("bobs", &scenario.bob).await;
    scenario.app.delegate(&bot, &scenario.bob).await;
    Scenario { bot, ..scenario }
}

async fn patch(scenario: &Scenario, user: &User, body: Value) -> TestResponse {
    scenario.app.patch(path(scenario)).as_user(user).json(&body).await
}

#[tokio::test]
async fn an_owner_does_not_enable_what_an_admin_has_disabled() {
    let scenario = set().await;
    let (alice, bob) = (&scenario.alice, &scenario.bob);
    assert_snapshot!(patch(&scenario, alice, json!({ "active": false })).await, @r#"
    200 OK

    {
      "id": "[bobs]",
      "name": "bobs",
      "active": false,
      "disabled_by": "admin",
      "disabled_at": "2026-01-15T09:00:00.000Z",
      "owner_user_id": "[bob]",
      "owners": [
        {
          "user_id": "[bob]"
        }
      ],
      "groups": [],
      "allowed_origins": null,
      "shared_grants": "anyone",
      "visibility": "everyone",
      "visible_to_groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    let before = scenario.app.contents();
    assert_snapshot!(patch(&scenario, bob, json!({ "active": true })).await, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "An admin has disabled the agent account; only an admin can enable it again",
      "detail": "An admin has disabled the agent account; only an admin can enable it again",
      "reason": "account_stopped"
    }
    "#);
    assert_eq!(patch(&scenario, bob, json!({ "name": "Renamed", "active": true })).await.status, 403);
    assert_eq!(scenario.app.contents(), before);
    // Disabling it again does not make it the owner's own stop.
    patch(&scenario, bob, json!({ "active": false })).await.ok();
    assert_eq!(patch(&scenario, bob, json!({ "active": true })).await.status, 403);
    assert_eq!(scenario.app.token_for(&scenario.bot, &[]).await.status, 401);
    let enabled = patch(&scenario, alice, json!({ "active": true })).await.ok().json();
    assert_eq!([&enabled["active"], &enabled["disabled_by"]], [&json!(true), &Value::Null]);
    scenario.app.m2m(&scenario.bot).await;
}

#[tokio::test]
async fn an_owner_enables_what_they_have_disabled_unless_an_admin_does_so_too() {
    let scenario = set().await;
    let (alice, bob) = (&scenario.alice, &scenario.bob);
    assert_eq!(patch(&scenario, bob, json!({ "active": false })).await.ok().field("disabled_by"), "owner");
    patch(&scenario, bob, json!({ "active": true })).await.ok();
    patch(&scenario, bob, json!({ "active": false })).await.ok();
    assert_eq!(patch(&scenario, alice, json!({ "active": false })).await.ok().field("disabled_by"), "admin");
    assert_eq!(patch(&scenario, bob, json!({ "active": true })).await.status, 403);
}

#[tokio::test]
async fn an_account_of_which_it_is_not_known_who_disabled_it_is_an_admins_to_enable() {
    let scenario = set().await;
    patch(&scenario, &scenario.bob, json!({ "active": false })).await.ok();
    scenario.app.forget(&Key::agent(scenario.bot.id), "disabled_by");
    assert_eq!(
        scenario.app.get(path(&scenario)).as_user(&scenario.bob).await.json()["disabled_by"],
        Value::Null
    );
    assert_eq!(patch(&scenario, &scenario.bob, json!({ "active": true })).await.status, 403);
    patch(&scenario, &scenario.alice, json!({ "active": true })).await.ok();
}

#[tokio::test]
async fn an_account_says_since_when_it_is_disabled() {
    let scenario = set().await;
    let (app, alice, bob) = (&scenario.app, &scenario.alice, &scenario.bob);
    let shown =
        async |user: &User| app.get(path(&scenario)).as_user(user).await.ok().json()["disabled_at"].clone();
    assert_eq!(shown(bob).await, Value::Null);
    app.pass(Duration::from_mins(1));
    patch(&scenario, bob, json!({ "active": false })).await.ok();
    assert_eq!(shown(bob).await, "2026-01-15T09:01:00.000Z");
    // An admin who disables it too does not do so anew.
    app.pass(Duration::from_mins(1));
    let disabled = patch(&scenario, alice, json!({ "active": false })).await.ok().json();
    assert_eq!(
        (&disabled["disabled_by"], &disabled["disabled_at"]),
        (&json!("admin"), &json!("2026-01-15T09:01:00.000Z"))
    );
    patch(&scenario, alice, json!({ "active": true })).await.ok();
    assert_eq!(shown(alice).await, Value::Null);
    app.pass(Duration::from_mins(1));
    patch(&scenario, alice, json!({ "active": false })).await.ok();
    assert_eq!(shown(alice).await, "2026-01-15T09:03:00.000Z");
    app.forget(&Key::agent(scenario.bot.id), "disabled_at");
    assert_eq!(shown(alice).await, Value::Null, "from before this was kept");
}

#[tokio::test]
async fn a_stopped_account_gets_no_new_credentials_from_its_owner() {
    let scenario = set().await;
    let (app, alice, bob) = (&scenario.app, &scenario.alice, &scenario.bob);
    let jwk = json!({ "jwk": SigningKey::es256().jwk("k") });
    patch(&scenario, alice, json!({ "active": false })).await.ok();
    let before = app.contents();
    let secrets = format!("{}/secrets", path(&scenario));
    let keys = format!("{}/keys", path(&scenario));
    let refused = [app.post(&secrets).as_user(bob).await, app.post(&keys).as_user(bob).json(&jwk).await];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    403 An admin has disabled the agent account; until an admin enables it, only an admin can give it new credentials
    403 An admin has disabled the agent account; until an admin enables it, only an admin can give it new credentials
    ");
    assert_eq!(app.contents(), before);
    // Removing credentials is always possible, and an admin may add some.
    let first = app.get(&secrets).as_user(bob).await.json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.delete(format!("{secrets}/{first}")).as_user(bob).await.status, 204);
    app.post(&secrets).as_user(alice).await.ok();
    // After the owner has disabled it, the owner may prepare it.
    patch(&scenario, alice, json!({ "active": true })).await.ok();
    patch(&scenario, bob, json!({ "active": false })).await.ok();
    app.post(&keys).as_user(bob).json(&jwk).await.ok();
}

/// An OBO token and one of the account's own, and whether they work.
struct Tokens(Vec<String>);

impl Tokens {
    async fn of(scenario: &Scenario) -> Self {
        Self(vec![
            scenario.app.m2m(&scenario.bot).await,
            scenario.app.obo(&scenario.bot, &scenario.bob).await,
        ])
    }

    async fn fare(&self, app: &TestApp) -> Vec<String> {
        let mut fare = Vec::new();
        for token in &self.0 {
            fare.push(app.call("nowhere", "t", &json!({})).bearer(token).await.refusal());
        }
        fare
    }
}

#[tokio::test]
async fn enabling_an_account_revives_no_token_from_before() {
    let scenario = set().await;
    let (app, bob) = (&scenario.app, &scenario.bob);
    let old = Tokens::of(&scenario).await;
    assert_snapshot!(old.fare(app).await.join("\n"), @"
    404 No such server
    404 No such server
    ");
    patch(&scenario, bob, json!({ "active": false })).await.ok();
    assert_snapshot!(old.fare(app).await.join("\n"), @"
    401 The agent account is disabled
    401 The agent account is disabled
    ");
    // No time passes: epochs distinguish them, not seconds.
    patch(&scenario, bob, json!({ "active": true })).await.ok();
    assert_snapshot!(old.fare(app).await.join("\n"), @"
    401 The agent account was disabled after the token was issued
    401 The agent account was disabled after the token was issued
    ");
    let new = Tokens::of(&scenario).await;
    assert_snapshot!(new.fare(app).await.join("\n"), @"
    404 No such server
    404 No such server
    ");
    // Disabling a disabled account and enabling an enabled one change nothing.
    patch(&scenario, bob, json!({ "active": true })).await.ok();
    assert_eq!(new.fare(app).await[0], "404 No such server");
}

#[tokio::test]
async fn a_token_from_before_is_neither_exchanged_nor_active() {
    let scenario = set().await;
    let (app, alice, bot) = (&scenario.app, &scenario.alice, &scenario.bot);
    let old = app.m2m(bot).await;
    let user = app.login.token("bob");
    app.exchange(&old, &user, &[]).await.ok();
    patch(&scenario, alice, json!({ "active": false })).await.ok();
    patch(&scenario, alice, json!({ "active": true })).await.ok();
    assert_snapshot!(app.exchange(&old, &user, &[]).await.refusal(), @"400 invalid_request: subject_token: it has been revoked");
    assert_eq!(app.about_token("introspect", bot, &old).await.ok().json(), json!({ "active": false }));
    let new = app.m2m(bot).await;
    let exchanged = app.exchange(&new, &user, &[]).await.access_token();
    assert_eq!(app.about_token("introspect", bot, &exchanged).await.ok().json()["active"], true);
    assert_eq!(app.about_token("introspect", bot, &new).await.ok().json()["active"], true);
}

#[tokio::test]
async fn a_token_on_behalf_of_a_user_does_not_come_back_with_them() {
    let scenario = set().await;
    let (app, bob, bot) = (&scenario.app, &scenario.bob, &scenario.bot);
    let active = async |active: bool| {
        let change = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&scenario.alice);
        change.json(&json!({ "active": active })).await.ok();
    };
    let fare = async |token: &str| app.call("nowhere", "say", &json!({})).bearer(token).await.refusal();
    let old = app.obo(bot, bob).await;
    assert_eq!(deputize_tests::jwt::claims(&old)["user_epoch"], Value::Null);
    active(false).await;
    assert_snapshot!(fare(&old).await, @"403 Delegator user is deactivated");
    active(true).await;
    assert_snapshot!(fare(&old).await, @"401 The delegator was deactivated after the token was issued");
    assert_eq!(app.about_token("introspect", bot, &old).await.ok().json(), json!({ "active": false }));
    // Nor does their delegation.
    app.delegate(bot, bob).await;
    let new = app.obo(bot, bob).await;
    assert_eq!(deputize_tests::jwt::claims(&new)["user_epoch"], 1);
    active(true).await;
    assert_snapshot!(fare(&new).await, @"404 No such server");
}

#[tokio::test]
async fn a_token_of_an_account_that_was_never_disabled_says_nothing_new() {
    let scenario = set().await;
    let claims = |token: &str| deputize_tests::jwt::claims(token);
    assert_eq!(claims(&scenario.app.m2m(&scenario.bot).await)["account_epoch"], Value::Null);
    patch(&scenario, &scenario.bob, json!({ "active": false })).await.ok();
    patch(&scenario, &scenario.bob, json!({ "active": true })).await.ok();
    assert_eq!(claims(&scenario.app.m2m(&scenario.bot).await)["account_epoch"], 1);
}

#[tokio::test]
async fn an_admin_gives_an_account_to_another_owner() {
    let scenario = set().await;
    let (app, alice, bob, carol) = (&scenario.app, &scenario.alice, &scenario.bob, &scenario.carol);
    let gone =
        app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&json!({ "active": false }));
    gone.await.ok();
    // It goes on without its owner, until an admin decides.
    app.m2m(&scenario.bot).await;
    let given = patch(&scenario, alice, json!({ "owner_user_id": carol.id })).await;
    assert_snapshot!(given, @r#"
    200 OK

    {
      "id": "[bobs]",
      "name": "bobs",
      "active": true,
      "disabled_by": null,
      "disabled_at": null,
      "owner_user_id": "[carol]",
      "owners": [
        {
          "user_id": "[carol]"
        }
      ],
      "groups": [],
      "allowed_origins": null,
      "shared_grants": "anyone",
      "visibility": "everyone",
      "visible_to_groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(app.event_of(&given), @r#"
    action: "agent_account.update"
    audit_agent: "[bobs]"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    detail: "owner_user_id: from [bob] to [carol]"
    outcome: "allowed"
    subject: "agent_account:[bobs]"
    "#);
    // By JWT: the API key does not come back with them.
    let jwt = |user: &User| app.login.token(&user.name);
    let owned = async |user: &User| app.get("/api/v1/agent-accounts").bearer(&jwt(user)).await.ok().json();
    assert_eq!(owned(carol).await[0]["id"], scenario.bot.id.to_string());
    app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&json!({ "active": true })).await.ok();
    assert_eq!(owned(bob).await, json!([]));
    let mine = app.patch(path(&scenario)).bearer(&jwt(bob)).json(&json!({ "name": "mine" })).await;
    assert_eq!(mine.status, 404);
    patch(&scenario, carol, json!({ "name": "hers" })).await.ok();
    // The same change again has no effect, and it can be reversed.
    patch(&scenario, alice, json!({ "owner_user_id": carol.id })).await.ok();
    patch(&scenario, alice, json!({ "owner_user_id": bob.id })).await.ok();
    assert_eq!(owned(bob).await.as_array().unwrap().len(), 1);
    assert_eq!(owned(carol).await, json!([]));
}

#[tokio::test]
async fn an_owner_must_be_there_and_active_and_is_named_by_admins() {
    let scenario = set().await;
    let (app, alice, bob, carol) = (&scenario.app, &scenario.alice, &scenario.bob, &scenario.carol);
    app.patch(format!("/api/v1/users/{}", carol.id))
        .as_user(alice)
        .json(&json!({ "active": false }))
        .await
        .ok();
    let before = app.contents();
    let nobody = "00000000-0000-4000-8000-000000000001";
    let refused = [
        patch(&scenario, alice, json!({ "owner_user_id": nobody })).await,
        patch(&scenario, alice, json!({ "owner_user_id": carol.id })).await,
        patch(&scenario, bob, json!({ "owner_user_id": alice.id })).await,
        patch(&scenario, bob, json!({ "owner_user_id": bob.id })).await,
        app.post("/api/v1/agent-accounts")
            .as_user(alice)
            .json(&json!({ "name": "x", "owner_user_id": carol.id }))
            .await,
    ];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    400 owner_user_id: no such user
    400 owner_user_id: the user is deactivated
    403 Only an admin may do this
    403 Only an admin may do this
    400 owner_user_id: the user is deactivated
    ");
    assert_eq!(app.contents(), before);
}
