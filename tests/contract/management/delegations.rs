//! Delegations: made for oneself, seen by those whom they concern.

use std::time::Duration;

use deputize_tests::User;
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

fn path(scenario: &Scenario) -> String {
    format!("/api/v1/agent-accounts/{}/delegations", scenario.bot.id)
}

/// The delegators whom a user sees at the agent.
async fn seen_by(scenario: &Scenario, user: &User) -> Vec<String> {
    let list = scenario.app.get(path(scenario)).as_user(user).await.ok().json();
    let emails =
        list.as_array().unwrap().iter().map(|item| item["delegator_email"].as_str().unwrap().to_owned());
    let mut emails: Vec<String> = emails.collect();
    emails.sort();
    emails
}

#[tokio::test]
async fn a_user_delegates_for_everything_and_for_ever_with_an_empty_body() {
    let scenario = Scenario::start().await;
    let answer = scenario.app.post(path(&scenario)).as_user(&scenario.carol).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "[uuid]",
      "agent_account_id": "[bot]",
      "delegator_user_id": "[carol]",
      "delegator_email": "carol@example.com",
      "is_active": true,
      "server_ids": null,
      "expires_at": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "revoked_at": null
    }
    "#);
    assert_snapshot!(scenario.app.event_of(&answer), @r#"
    action: "delegation.create"
    audit_agent: "[bot]"
    audit_user: "[carol]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "delegation:[uuid]"
    "#);
    scenario.app.obo(&scenario.bot, &scenario.carol).await;
}

#[tokio::test]
async fn a_user_delegates_for_some_servers_and_for_a_time() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let body = json!({ "server_ids": ["demo"], "expires_at": "2026-02-01T00:00:00+01:00" });
    let answer = scenario.app.post(path(&scenario)).as_user(&scenario.carol).json(&body).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "[uuid]",
      "agent_account_id": "[bot]",
      "delegator_user_id": "[carol]",
      "delegator_email": "carol@example.com",
      "is_active": true,
      "server_ids": [
        "demo"
      ],
      "expires_at": "2026-01-31T23:00:00.000Z",
      "created_at": "2026-01-15T09:00:00.000Z",
      "revoked_at": null
    }
    "#);
}

#[tokio::test]
async fn delegating_the_same_again_answers_what_stands() {
    let scenario = Scenario::start().await;
    let first = scenario.app.post(path(&scenario)).as_user(&scenario.carol).await.ok();
    let before = scenario.app.contents();
    scenario.app.pass(Duration::from_mins(1));
    let again = scenario.app.post(path(&scenario)).as_user(&scenario.carol).await.ok();
    assert_eq!(again.json(), first.json());
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn delegating_anew_after_a_revocation_or_an_end_makes_a_new_one() {
    let scenario = Scenario::start().await;
    let expires_at = scenario.app.now().plus(Duration::from_mins(1)).to_string();
    let body = json!({ "expires_at": expires_at });
    let first =
        scenario.app.post(path(&scenario)).as_user(&scenario.carol).json(&body).await.ok().field("id");
    scenario.app.pass(Duration::from_mins(1));
    let second = scenario.app.post(path(&scenario)).as_user(&scenario.carol).await.ok().field("id");
    assert_ne!(first, second);
    scenario.app.delete(format!("/api/v1/delegations/{second}")).as_user(&scenario.carol).await.ok();
    let third = scenario.app.post(path(&scenario)).as_user(&scenario.carol).await.ok().field("id");
    assert_ne!(second, third);
    // The old ids lead to nothing that can be revoked.
    scenario.app.delete(format!("/api/v1/delegations/{first}")).as_user(&scenario.carol).await.ok();
    scenario.app.delete(format!("/api/v1/delegations/{second}")).as_user(&scenario.carol).await.ok();
    scenario.app.obo(&scenario.bot, &scenario.carol).await;
}

#[tokio::test]
async fn what_cannot_be_delegated_is_refused() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let before = scenario.app.contents();
    let many: Vec<String> = (0..51).map(|n| format!("s{n}")).collect();
    let mut refusals = Vec::new();
    for body in [
        json!({ "expires_at": "2026-01-15T09:00:00Z" }),
        json!({ "expires_at": "tomorrow" }),
        json!({ "expires_at": 1_800_000_000 }),
        json!({ "server_ids": [] }),
        json!({ "server_ids": many }),
        json!({ "server_ids": ["demo", "nowhere"] }),
        json!({ "server_ids": ["No Id"] }),
        json!({ "server_ids": "demo" }),
    ] {
        refusals
            .push(scenario.app.post(path(&scenario)).as_user(&scenario.carol).json(&body).await.refusal());
    }
    let elsewhere = "/api/v1/agent-accounts/00000000-0000-4000-8000-000000000001/delegations";
    refusals.push(scenario.app.post(elsewhere).as_user(&scenario.carol).await.refusal());
    assert_snapshot!(refusals.join("\n"), @"
    400 expires_at must be in the future
    400 expires_at: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z
    400 expires_at: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z, not a number
    400 server_ids must name 1 to 50 servers; leave it out for all servers
    400 server_ids must name 1 to 50 servers; leave it out for all servers
    400 server_ids: no such server: nowhere
    400 server_ids[0]: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit
    400 server_ids: must be an array, not a string
    404 No such agent account
    ");
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn a_disabled_account_takes_no_delegations() {
    let scenario = Scenario::start().await;
    let account =
        scenario.app.patch(format!("/api/v1/agent-accounts/{}", scenario.bot.id)).as_user(&scenario.alice);
    account.json(&json!({ "active": false })).await.ok();
    assert_snapshot!(scenario.app.post(path(&scenario)).as_user(&scenario.carol).await.refusal(), @"404 No such agent account");
}

#[tokio::test]
async fn admins_and_the_owner_see_all_delegations_and_others_their_own() {
    let scenario = Scenario::start().await;
    let dora = scenario.app.user("dora").await;
    let bot = scenario.app.agent("doras", &dora).await;
    for user in [&scenario.bob, &scenario.carol] {
        scenario.app.delegate(&bot, user).await;
    }
    let scenario = Scenario { bot, ..scenario };
    let all = ["bob@example.com", "carol@example.com"];
    assert_eq!(seen_by(&scenario, &scenario.alice).await, all);
    assert_eq!(seen_by(&scenario, &dora).await, all);
    assert_eq!(seen_by(&scenario, &scenario.bob).await, ["bob@example.com"]);
    let nobody = scenario.app.user("nobody").await;
    assert!(seen_by(&scenario, &nobody).await.is_empty());
}

#[tokio::test]
async fn the_list_is_an_array_with_every_field() {
    let scenario = Scenario::start().await;
    assert_snapshot!(scenario.app.get(path(&scenario)).as_user(&scenario.alice).await, @r#"
    200 OK

    [
      {
        "id": "[bob's delegation]",
        "agent_account_id": "[bot]",
        "delegator_user_id": "[bob]",
        "delegator_email": "bob@example.com",
        "is_active": true,
        "server_ids": null,
        "expires_at": null,
        "created_at": "2026-01-15T09:00:00.000Z",
        "revoked_at": null
      }
    ]
    "#);
    let mine = scenario.app.get("/api/v1/delegations").as_user(&scenario.bob).await;
    assert_eq!(mine.json(), scenario.app.get(path(&scenario)).as_user(&scenario.alice).await.json());
    assert_eq!(scenario.app.get("/api/v1/delegations").as_user(&scenario.carol).await.json(), json!([]));
}

#[tokio::test]
async fn a_revoked_delegation_stays_in_the_list_as_revoked() {
    let scenario = Scenario::start().await;
    let id = scenario.app.get("/api/v1/delegations").as_user(&scenario.bob).await.json()[0]["id"].clone();
    scenario.app.pass(Duration::from_mins(1));
    let answer = scenario
        .app
        .delete(format!("/api/v1/delegations/{}", id.as_str().unwrap()))
        .as_user(&scenario.bob)
        .await;
    assert_snapshot!(answer, @"204 No Content");
    assert_snapshot!(scenario.app.event_of(&answer), @r#"
    action: "delegation.revoke"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "delegation:[bob's delegation]"
    "#);
    let item = scenario.app.get("/api/v1/delegations").as_user(&scenario.bob).await.json()[0].clone();
    assert_eq!(item["is_active"], false);
    assert_eq!(item["revoked_at"], "2026-01-15T09:01:00.000Z");
}

#[tokio::test]
async fn an_admin_or_the_owner_may_revoke_and_nobody_else() {
    let scenario = Scenario::start().await;
    let id = scenario.app.get("/api/v1/delegations").as_user(&scenario.bob).await.json()[0]["id"].clone();
    let path = format!("/api/v1/delegations/{}", id.as_str().unwrap());
    let before = scenario.app.contents();
    assert_snapshot!(scenario.app.delete(&path).as_user(&scenario.carol).await, @r#"
    404 Not Found

    {
      "error": "not_found",
      "error_description": "No such delegation",
      "detail": "No such delegation",
      "reason": "not_found"
    }
    "#);
    assert_eq!(scenario.app.contents(), before);
    scenario.app.delete(&path).as_user(&scenario.alice).await.ok();
    assert_eq!(
        scenario.app.get("/api/v1/delegations").as_user(&scenario.bob).await.json()[0]["is_active"],
        false
    );
}

#[tokio::test]
async fn servers_are_a_set_whatever_their_order_and_however_often_one_is_named() {
    let scenario = Scenario::start().await;
    for id in ["a", "b", "c"] {
        scenario.app.server(id).await;
    }
    let delegate = async |servers: serde_json::Value| {
        let body = json!({ "server_ids": servers });
        scenario.app.post(path(&scenario)).as_user(&scenario.carol).json(&body).await.ok().json()
    };
    let first = delegate(json!(["b", "a"])).await;
    assert_eq!(first["server_ids"], json!(["a", "b"]));
    let token = scenario.app.obo(&scenario.bot, &scenario.carol).await;
    let before = scenario.app.contents();
    for same in [json!(["a", "b"]), json!(["b", "a"]), json!(["a", "b", "a", "b", "b"])] {
        assert_eq!(delegate(same).await, first);
    }
    assert_eq!(scenario.app.contents(), before);
    let answer = scenario.app.call("nowhere", "t", &json!({})).bearer(&token).await;
    assert_eq!(answer.refusal(), "404 No such server", "the token goes on");
    for other in [json!(["a"]), json!(["a", "b", "c"]), json!(["a", "c"]), json!(null)] {
        assert_ne!(delegate(other).await["id"], first["id"]);
    }
    // `null` means all servers, which differs from every list. An empty list is refused.
    assert_eq!(delegate(json!(null)).await["server_ids"], json!(null));
    let body = json!({ "server_ids": [] });
    let none = scenario.app.post(path(&scenario)).as_user(&scenario.carol).json(&body).await;
    assert_eq!(none.refusal(), "400 server_ids must name 1 to 50 servers; leave it out for all servers");
}

#[tokio::test]
async fn a_delegation_from_before_servers_were_a_set_is_the_same_in_any_order() {
    let scenario = Scenario::start().await;
    for id in ["a", "b"] {
        scenario.app.server(id).await;
    }
    let delegate = async |servers: [&str; 2]| {
        let body = json!({ "server_ids": servers });
        scenario.app.post(path(&scenario)).as_user(&scenario.carol).json(&body).await.ok().json()
    };
    let first = delegate(["a", "b"]).await;
    let key = deputize_core::table::Key::delegation(scenario.bot.id, scenario.carol.id);
    scenario.app.set(&key, "server_ids", json!({ "L": [{ "S": "b" }, { "S": "a" }, { "S": "a" }] }));
    assert_eq!(delegate(["a", "b"]).await["id"], first["id"]);
}
