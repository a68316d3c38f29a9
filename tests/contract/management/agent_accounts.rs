//! Agent accounts and their client secrets.

use deputize_tests::Agent;
use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

const ACCOUNTS: &str = "/api/v1/agent-accounts";

#[tokio::test]
async fn an_admin_creates_an_account_and_sees_its_secret_once() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let body = json!({ "name": "New Bot", "owner_user_id": bob.id, "groups": ["support"] });
    let answer = app.post(ACCOUNTS).as_user(&alice).json(&body).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "[uuid]",
      "name": "New Bot",
      "active": true,
      "disabled_by": null,
      "disabled_at": null,
      "owner_user_id": "[bob]",
      "owners": [
        {
          "user_id": "[bob]"
        }
      ],
      "groups": [
        "support"
      ],
      "allowed_origins": null,
      "shared_grants": "anyone",
      "visibility": "everyone",
      "visible_to_groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z",
      "client_id": "[uuid]",
      "client_secret": "[client secret]",
      "client_secret_id": "[uuid]"
    }
    "#);
    let id = answer.field("id");
    app.call_it("new bot", &id);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "agent_account.create"
    audit_agent: "[new bot]"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "agent_account:[new bot]"
    "#);
    let agent = Agent { id: id.parse().unwrap(), secret: answer.field("client_secret") };
    app.m2m(&agent).await;
    let shown = app.get(format!("{ACCOUNTS}/{id}")).as_user(&bob).await.ok();
    assert!(!shown.text.contains("client_secret"), "{shown}");
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_table() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let added = app.post(format!("{ACCOUNTS}/{}/secrets", bot.id)).as_user(&alice).await.ok();
    let key = app.post("/api/v1/api-keys").as_user(&alice).json(&json!({ "name": "k" })).await.ok();
    let table = format!("{:?} {:?}", app.contents(), app.trail());
    for secret in [&bot.secret, &alice.api_key, &added.field("client_secret"), &key.field("key")] {
        assert!(!table.contains(&secret[4..]), "{secret}");
    }
}

#[tokio::test]
async fn only_an_admin_creates() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let before = app.contents();
    assert_snapshot!(app.post(ACCOUNTS).as_user(&bob).json(&json!({ "name": "x" })).await, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Only an admin may do this",
      "detail": "Only an admin may do this",
      "reason": "admin_required"
    }
    "#);
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn an_owner_who_is_not_there_is_refused() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let body = json!({ "name": "x", "owner_user_id": "00000000-0000-4000-8000-000000000001" });
    assert_snapshot!(app.post(ACCOUNTS).as_user(&alice).json(&body).await.refusal(), @"400 owner_user_id: no such user");
}

#[tokio::test]
async fn admins_list_all_accounts_and_owners_theirs() {
    let Scenario { app, alice, bob, carol, .. } = Scenario::start().await;
    app.agent("bobs", &bob).await;
    let names = async |user| {
        let list = app.get(ACCOUNTS).as_user(user).await.ok().json();
        let mut names: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|account| account["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&alice).await, ["bobs", "bot"]);
    assert_eq!(names(&bob).await, ["bobs"]);
    assert!(names(&carol).await.is_empty());
}

#[tokio::test]
async fn everybody_sees_that_an_account_is_there_and_its_managers_see_more() {
    let Scenario { app, alice, carol, bot, .. } = Scenario::start().await;
    let path = format!("{ACCOUNTS}/{}", bot.id);
    assert_snapshot!(app.get(&path).as_user(&alice).await, @r#"
    200 OK

    {
      "id": "[bot]",
      "name": "bot",
      "active": true,
      "disabled_by": null,
      "disabled_at": null,
      "owner_user_id": "[alice]",
      "owners": [
        {
          "user_id": "[alice]"
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
    assert_snapshot!(app.get(&path).as_user(&carol).await, @r#"
    200 OK

    {
      "id": "[bot]",
      "name": "bot",
      "active": true
    }
    "#);
}

#[tokio::test]
async fn an_owner_renames_and_disables_but_does_not_set_groups() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let bot = app.agent("bobs", &bob).await;
    let path = format!("{ACCOUNTS}/{}", bot.id);
    let answer = app.patch(&path).as_user(&bob).json(&json!({ "name": "Renamed", "active": false })).await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "id": "[bobs]",
      "name": "Renamed",
      "active": false,
      "disabled_by": "owner",
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
    let before = app.contents();
    let groups = app.patch(&path).as_user(&bob).json(&json!({ "groups": ["admins"] })).await;
    assert_snapshot!(groups.refusal(), @"403 Only an admin may do this");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn secrets_are_listed_without_their_texts_and_two_are_the_most() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let path = format!("{ACCOUNTS}/{}/secrets", bot.id);
    let added = app.post(&path).as_user(&alice).json(&json!({ "expires_at": "2026-02-01T00:00:00Z" })).await;
    assert_snapshot!(added, @r#"
    201 Created

    {
      "id": "[uuid]",
      "created_at": "2026-01-15T09:00:00.000Z",
      "expires_at": "2026-02-01T00:00:00.000Z",
      "client_secret": "[client secret]"
    }
    "#);
    app.call_it("second secret", added.field("id"));
    assert_snapshot!(app.get(&path).as_user(&alice).await, @r#"
    200 OK

    [
      {
        "id": "[bot's first secret]",
        "created_at": "2026-01-15T09:00:00.000Z",
        "expires_at": null
      },
      {
        "id": "[second secret]",
        "created_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-02-01T00:00:00.000Z"
      }
    ]
    "#);
    assert_snapshot!(app.post(&path).as_user(&alice).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "the account has 2 live secrets; revoke one before adding another",
      "detail": "the account has 2 live secrets; revoke one before adding another",
      "reason": "limit_reached"
    }
    "#);
}

#[tokio::test]
async fn an_expired_secret_makes_room() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let path = format!("{ACCOUNTS}/{}/secrets", bot.id);
    let body = json!({ "expires_at": "2026-01-15T09:01:00Z" });
    app.post(&path).as_user(&alice).json(&body).await.ok();
    app.pass(std::time::Duration::from_mins(1));
    app.post(&path).as_user(&alice).await.ok();
    let list = app.get(&path).as_user(&alice).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_not_found() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let other = app.agent("other", &alice).await;
    let secrets = app.get(format!("{ACCOUNTS}/{}/secrets", other.id)).as_user(&alice).await.json();
    let before = app.contents();
    for id in [secrets[0]["id"].as_str().unwrap(), "00000000-0000-4000-8000-000000000001", "x"] {
        let answer = app.delete(format!("{ACCOUNTS}/{}/secrets/{id}", bot.id)).as_user(&alice).await;
        assert_eq!(answer.status, 404, "{answer}");
    }
    assert_eq!(app.contents(), before);
}
