//! Delegations: made for oneself, seen by those whom they concern.

use std::time::Duration;

use deputize_tests::User;
use insta::assert_snapshot;
use serde_json::json;

use crate::stage::Stage;

fn path(stage: &Stage) -> String {
    format!("/api/v1/agent-accounts/{}/delegations", stage.bot.id)
}

/// The delegators whom a user sees at the agent.
async fn seen_by(stage: &Stage, user: &User) -> Vec<String> {
    let list = stage.app.get(path(stage)).as_user(user).await.ok().json();
    let emails =
        list.as_array().unwrap().iter().map(|item| item["delegator_email"].as_str().unwrap().to_owned());
    let mut emails: Vec<String> = emails.collect();
    emails.sort();
    emails
}

#[tokio::test]
async fn a_user_delegates_for_everything_and_for_ever_with_an_empty_body() {
    let stage = Stage::set().await;
    let answer = stage.app.post(path(&stage)).as_user(&stage.carol).await;
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
    assert_snapshot!(stage.app.event_of(&answer), @r#"
    action: "delegation.create"
    audit_agent: "[bot]"
    audit_user: "[carol]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "delegation:[uuid]"
    "#);
    stage.app.obo(&stage.bot, &stage.carol).await;
}

#[tokio::test]
async fn a_user_delegates_for_some_servers_and_for_a_time() {
    let stage = Stage::set().await;
    stage.app.server("demo").await;
    let body = json!({ "server_ids": ["demo"], "expires_at": "2026-02-01T00:00:00+01:00", "unknown": 1 });
    let answer = stage.app.post(path(&stage)).as_user(&stage.carol).json(&body).await;
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
    let stage = Stage::set().await;
    let first = stage.app.post(path(&stage)).as_user(&stage.carol).await.ok();
    let before = stage.app.contents();
    stage.app.pass(Duration::from_mins(1));
    let again = stage.app.post(path(&stage)).as_user(&stage.carol).await.ok();
    assert_eq!(again.json(), first.json());
    assert_eq!(stage.app.contents(), before);
}

#[tokio::test]
async fn delegating_anew_after_a_revocation_or_an_end_makes_a_new_one() {
    let stage = Stage::set().await;
    let expires_at = stage.app.now().plus(Duration::from_mins(1)).to_string();
    let body = json!({ "expires_at": expires_at });
    let first = stage.app.post(path(&stage)).as_user(&stage.carol).json(&body).await.ok().field("id");
    stage.app.pass(Duration::from_mins(1));
    let second = stage.app.post(path(&stage)).as_user(&stage.carol).await.ok().field("id");
    assert_ne!(first, second);
    stage.app.delete(format!("/api/v1/delegations/{second}")).as_user(&stage.carol).await.ok();
    let third = stage.app.post(path(&stage)).as_user(&stage.carol).await.ok().field("id");
    assert_ne!(second, third);
    // The old ids lead to nothing that could be revoked.
    stage.app.delete(format!("/api/v1/delegations/{first}")).as_user(&stage.carol).await.ok();
    stage.app.delete(format!("/api/v1/delegations/{second}")).as_user(&stage.carol).await.ok();
    stage.app.obo(&stage.bot, &stage.carol).await;
}

#[tokio::test]
async fn what_cannot_be_delegated_is_refused() {
    let stage = Stage::set().await;
    stage.app.server("demo").await;
    let before = stage.app.contents();
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
        refusals.push(stage.app.post(path(&stage)).as_user(&stage.carol).json(&body).await.refusal());
    }
    let elsewhere = "/api/v1/agent-accounts/00000000-0000-4000-8000-000000000001/delegations";
    refusals.push(stage.app.post(elsewhere).as_user(&stage.carol).await.refusal());
    assert_snapshot!(refusals.join("\n"), @r#"
    400 expires_at must be in the future
    400 expires_at: invalid value: string "tomorrow", expected a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z at line 1 column 24
    400 expires_at: invalid type: integer `1800000000`, expected a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z at line 1 column 24
    400 server_ids must name 1 to 50 servers; leave it out for all servers
    400 server_ids must name 1 to 50 servers; leave it out for all servers
    400 server_ids: no such server: nowhere
    400 server_ids[0]: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit at line 1 column 23
    400 server_ids: invalid type: string "demo", expected a sequence at line 1 column 20
    404 No such agent account
    "#);
    assert_eq!(stage.app.contents(), before);
}

#[tokio::test]
async fn a_disabled_account_takes_no_delegations() {
    let stage = Stage::set().await;
    let account = stage.app.patch(format!("/api/v1/agent-accounts/{}", stage.bot.id)).as_user(&stage.alice);
    account.json(&json!({ "active": false })).await.ok();
    assert_snapshot!(stage.app.post(path(&stage)).as_user(&stage.carol).await.refusal(), @"404 No such agent account");
}

#[tokio::test]
async fn admins_and_the_owner_see_all_delegations_and_others_their_own() {
    let stage = Stage::set().await;
    let dora = stage.app.user("dora").await;
    let bot = stage.app.agent("doras", &dora).await;
    for user in [&stage.bob, &stage.carol] {
        stage.app.delegate(&bot, user).await;
    }
    let stage = Stage { bot, ..stage };
    let all = ["bob@example.com", "carol@example.com"];
    assert_eq!(seen_by(&stage, &stage.alice).await, all);
    assert_eq!(seen_by(&stage, &dora).await, all);
    assert_eq!(seen_by(&stage, &stage.bob).await, ["bob@example.com"]);
    let nobody = stage.app.user("nobody").await;
    assert!(seen_by(&stage, &nobody).await.is_empty());
}

#[tokio::test]
async fn the_list_is_an_array_with_every_field() {
    let stage = Stage::set().await;
    assert_snapshot!(stage.app.get(path(&stage)).as_user(&stage.alice).await, @r#"
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
    let mine = stage.app.get("/api/v1/delegations").as_user(&stage.bob).await;
    assert_eq!(mine.json(), stage.app.get(path(&stage)).as_user(&stage.alice).await.json());
    assert_eq!(stage.app.get("/api/v1/delegations").as_user(&stage.carol).await.json(), json!([]));
}

#[tokio::test]
async fn a_revoked_delegation_stays_in_the_list_as_revoked() {
    let stage = Stage::set().await;
    let id = stage.app.get("/api/v1/delegations").as_user(&stage.bob).await.json()[0]["id"].clone();
    stage.app.pass(Duration::from_mins(1));
    let answer =
        stage.app.delete(format!("/api/v1/delegations/{}", id.as_str().unwrap())).as_user(&stage.bob).await;
    assert_snapshot!(answer, @"204 No Content");
    assert_snapshot!(stage.app.event_of(&answer), @r#"
    action: "delegation.revoke"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "delegation:[bob's delegation]"
    "#);
    let item = stage.app.get("/api/v1/delegations").as_user(&stage.bob).await.json()[0].clone();
    assert_eq!(item["is_active"], false);
    assert_eq!(item["revoked_at"], "2026-01-15T09:01:00.000Z");
}

#[tokio::test]
async fn an_admin_or_the_owner_may_revoke_and_nobody_else() {
    let stage = Stage::set().await;
    let id = stage.app.get("/api/v1/delegations").as_user(&stage.bob).await.json()[0]["id"].clone();
    let path = format!("/api/v1/delegations/{}", id.as_str().unwrap());
    let before = stage.app.contents();
    assert_snapshot!(stage.app.delete(&path).as_user(&stage.carol).await, @r#"
    404 Not Found

    {
      "error": "not_found",
      "error_description": "No such delegation",
      "detail": "No such delegation"
    }
    "#);
    assert_eq!(stage.app.contents(), before);
    stage.app.delete(&path).as_user(&stage.alice).await.ok();
    assert_eq!(stage.app.get("/api/v1/delegations").as_user(&stage.bob).await.json()[0]["is_active"], false);
}
