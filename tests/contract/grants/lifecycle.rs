//! Creating, sharing and revoking: the grant's table of states.

use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;

use super::Connected;

#[tokio::test]
async fn a_user_grants_their_own_session() {
    let it = Connected::set().await;
    let answer = it.create(&it.scenario.bob, false).await;
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "id": "[bob's grant]",
      "agent_account_id": "[bot]",
      "server_id": "chat",
      "grantor_user_id": "[bob]",
      "grantor_email": "bob@example.com",
      "shared": false,
      "is_active": true,
      "displaced_by_user_id": null,
      "displaced_by_email": null,
      "displaced_at": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "session_grant.create"
    audit_agent: "[bot]"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "personal"
    outcome: "allowed"
    subject: "session_grant:[bob's grant]"
    "#);
}

#[tokio::test]
async fn shared_may_be_left_out() {
    let it = Connected::set().await;
    let body = json!({ "server_id": "chat" });
    let answer = it.app().post(it.grants()).as_user(&it.scenario.bob).json(&body).await.ok();
    assert_eq!(answer.json()["shared"], false);
}

#[tokio::test]
async fn granting_again_answers_the_grant_that_stands_and_changes_nothing() {
    let it = Connected::set().await;
    let first = it.create(&it.scenario.bob, false).await;
    let before = it.app().contents();
    it.app().pass(Duration::from_mins(1));
    let again = it.create(&it.scenario.bob, false).await;
    assert_eq!(again.json(), first.json());
    assert_eq!(it.app().contents(), before);
}

#[tokio::test]
async fn granting_again_as_shared_makes_the_grant_shared_and_revokes_all_others() {
    let it = Connected::set().await;
    let first = it.create(&it.scenario.bob, false).await;
    it.create(&it.scenario.carol, false).await.ok();
    it.app().pass(Duration::from_mins(1));
    let again = it.create(&it.scenario.bob, true).await;
    assert_snapshot!(again, @r#"
    201 Created

    {
      "id": "[bob's grant]",
      "agent_account_id": "[bot]",
      "server_id": "chat",
      "grantor_user_id": "[bob]",
      "grantor_email": "bob@example.com",
      "shared": true,
      "is_active": true,
      "displaced_by_user_id": null,
      "displaced_by_email": null,
      "displaced_at": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:01:00.000Z"
    }
    "#);
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_snapshot!(it.seen_by(&it.scenario.carol).await, @"
    carol personal revoked
    bob shared active
    ");
}

#[tokio::test]
async fn granting_again_as_personal_takes_the_sharing_back() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, true).await.ok();
    let again = it.create(&it.scenario.bob, false).await.ok();
    assert_eq!(again.json()["shared"], false);
    assert_snapshot!(it.seen_by(&it.scenario.carol).await, @"");
}

#[tokio::test]
async fn a_toggle_flips_the_grant_and_flips_it_back() {
    let it = Connected::set().await;
    let created = it.create(&it.scenario.bob, false).await.ok();
    it.app().pass(Duration::from_mins(1));
    let toggled = it.toggle(&it.scenario.bob).await;
    assert_snapshot!(toggled, @r#"
    200 OK

    {
      "id": "[bob's grant]",
      "agent_account_id": "[bot]",
      "server_id": "chat",
      "grantor_user_id": "[bob]",
      "grantor_email": "bob@example.com",
      "shared": true,
      "is_active": true,
      "displaced_by_user_id": null,
      "displaced_by_email": null,
      "displaced_at": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:01:00.000Z"
    }
    "#);
    assert_snapshot!(it.app().event_of(&toggled), @r#"
    action: "session_grant.toggle"
    audit_agent: "[bot]"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "shared"
    outcome: "allowed"
    subject: "session_grant:[bob's grant]"
    "#);
    let back = it.toggle(&it.scenario.bob).await.ok().json();
    assert_eq!((&back["shared"], &back["id"]), (&json!(false), &created.json()["id"]));
}

#[tokio::test]
async fn a_toggle_ignores_shared_in_its_body() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    let path = format!("{}/toggle", it.grants());
    for shared in [json!(false), json!("nonsense")] {
        let body = json!({ "server_id": "chat", "shared": shared });
        it.app().post(&path).as_user(&it.scenario.bob).json(&body).await.ok();
    }
    assert_snapshot!(it.seen_by(&it.scenario.bob).await, @"bob personal active");
}

#[tokio::test]
async fn a_toggle_without_a_grant_finds_none() {
    let it = Connected::set().await;
    let before = it.app().contents();
    assert_snapshot!(it.toggle(&it.scenario.bob).await, @r#"
    404 Not Found

    {
      "error": "not_found",
      "error_description": "No such session grant",
      "detail": "No such session grant",
      "reason": "not_found"
    }
    "#);
    assert_eq!(it.app().contents(), before);
}

#[tokio::test]
async fn promoting_revokes_every_other_grantors_grant_shared_or_not() {
    let it = Connected::set().await;
    it.create(&it.scenario.alice, true).await.ok();
    it.create(&it.scenario.bob, false).await.ok();
    it.create(&it.scenario.carol, false).await.ok();
    it.toggle(&it.scenario.carol).await.ok();
    assert_snapshot!(it.seen_by(&it.scenario.alice).await, @"
    alice personal revoked
    carol shared active
    ");
    assert_snapshot!(it.seen_by(&it.scenario.bob).await, @"
    bob personal revoked
    carol shared active
    ");
    assert_snapshot!(it.seen_by(&it.scenario.carol).await, @"carol shared active");
}

#[tokio::test]
async fn a_shared_grant_outlasts_personal_ones_that_come_after_it() {
    let it = Connected::set().await;
    it.create(&it.scenario.alice, true).await.ok();
    it.create(&it.scenario.bob, false).await.ok();
    assert_snapshot!(it.seen_by(&it.scenario.bob).await, @"
    bob personal active
    alice shared active
    ");
}

#[tokio::test]
async fn a_grant_that_a_promotion_has_revoked_cannot_be_toggled_but_made_anew() {
    let it = Connected::set().await;
    let old = it.create(&it.scenario.bob, false).await.ok();
    it.create(&it.scenario.carol, true).await.ok();
    assert_snapshot!(it.toggle(&it.scenario.bob).await.refusal(), @"404 No such session grant");
    let new = it.create(&it.scenario.bob, false).await.ok();
    assert_ne!(new.json()["id"], old.json()["id"]);
    assert_snapshot!(it.seen_by(&it.scenario.bob).await, @"
    bob personal active
    carol shared active
    ");
}

#[tokio::test]
async fn a_revoked_grant_is_answered_as_revoked() {
    let it = Connected::set().await;
    let grant = it.create(&it.scenario.bob, true).await.ok();
    it.app().pass(Duration::from_mins(1));
    let revoked = it.revoke(&it.scenario.bob, &grant.field("id")).await;
    assert_snapshot!(revoked, @r#"
    200 OK

    {
      "id": "[bob's grant]",
      "agent_account_id": "[bot]",
      "server_id": "chat",
      "grantor_user_id": "[bob]",
      "grantor_email": "bob@example.com",
      "shared": false,
      "is_active": false,
      "displaced_by_user_id": null,
      "displaced_by_email": null,
      "displaced_at": null,
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:01:00.000Z"
    }
    "#);
    assert_snapshot!(it.app().event_of(&revoked), @r#"
    action: "session_grant.revoke"
    audit_agent: "[bot]"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "session_grant:[bob's grant]"
    "#);
    assert_snapshot!(it.seen_by(&it.scenario.carol).await, @"");
}

#[tokio::test]
async fn revoking_again_changes_nothing_and_is_no_error() {
    let it = Connected::set().await;
    let grant = it.create(&it.scenario.bob, false).await.ok().field("id");
    it.revoke(&it.scenario.bob, &grant).await.ok();
    let before = it.app().contents();
    it.app().pass(Duration::from_mins(1));
    it.revoke(&it.scenario.bob, &grant).await.ok();
    assert_eq!(it.app().contents(), before);
}

#[tokio::test]
async fn a_grant_made_after_a_revocation_is_a_new_one_and_the_old_id_leads_nowhere() {
    let it = Connected::set().await;
    let old = it.create(&it.scenario.bob, false).await.ok().field("id");
    it.revoke(&it.scenario.bob, &old).await.ok();
    let new = it.create(&it.scenario.bob, false).await.ok().field("id");
    assert_ne!(old, new);
    assert_snapshot!(it.revoke(&it.scenario.bob, &old).await.refusal(), @"404 No such session grant");
    assert_snapshot!(it.seen_by(&it.scenario.bob).await, @"bob personal active");
}

#[tokio::test]
async fn revoking_a_grant_leaves_delegations_alone() {
    let it = Connected::set().await;
    let grant = it.create(&it.scenario.bob, false).await.ok().field("id");
    it.revoke(&it.scenario.bob, &grant).await.ok();
    it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
}

#[tokio::test]
async fn only_the_grantor_or_an_admin_revokes() {
    let it = Connected::set().await;
    let grant = it.create(&it.scenario.bob, true).await.ok().field("id");
    let before = it.app().contents();
    assert_snapshot!(it.revoke(&it.scenario.carol, &grant).await, @r#"
    404 Not Found

    {
      "error": "not_found",
      "error_description": "No such session grant",
      "detail": "No such session grant",
      "reason": "not_found"
    }
    "#);
    assert_eq!(it.app().contents(), before);
    let by_admin = it.revoke(&it.scenario.alice, &grant).await.ok().json();
    assert_eq!(by_admin["is_active"], false);
    assert_eq!(by_admin["grantor_email"], it.scenario.bob.email);
}

#[tokio::test]
async fn without_a_session_there_is_nothing_to_grant() {
    let it = Connected::set().await;
    let dave = it.app().user("dave").await;
    let before = it.app().contents();
    assert_snapshot!(it.create(&dave, false).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "You have no OAuth session for this server; connect to the server first",
      "detail": "You have no OAuth session for this server; connect to the server first",
      "reason": "not_connected"
    }
    "#);
    assert_eq!(it.app().contents(), before);
}

#[tokio::test]
async fn an_expired_session_cannot_be_granted() {
    let it = Connected::set().await;
    let dave = it.app().user("dave").await;
    it.app().connect_until(&dave, &it.chat, Some(it.app().now())).await;
    assert_snapshot!(it.create(&dave, false).await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "Your OAuth session for this server has expired; connect to the server again first",
      "detail": "Your OAuth session for this server has expired; connect to the server again first",
      "reason": "not_connected"
    }
    "#);
}

#[tokio::test]
async fn a_server_without_oauth_takes_no_grants() {
    let it = Connected::set().await;
    it.app().server("open").await;
    let body = json!({ "server_id": "open" });
    let answer = it.app().post(it.grants()).as_user(&it.scenario.bob).json(&body).await;
    assert_snapshot!(answer.refusal(), @"400 This server needs no credentials, so there is nothing to grant");
}

#[tokio::test]
async fn an_agent_or_server_that_is_not_there_or_not_active_takes_no_grants() {
    let it = Connected::set().await;
    let (app, bob, alice) = (it.app(), &it.scenario.bob, &it.scenario.alice);
    let before = app.contents();
    let body = |server: &str| json!({ "server_id": server });
    let elsewhere = "/api/v1/agent-accounts/00000000-0000-4000-8000-000000000001/session-grants";
    let mut answers = vec![
        app.post(elsewhere).as_user(bob).json(&body("chat")).await.refusal(),
        app.post(it.grants()).as_user(bob).json(&body("nowhere")).await.refusal(),
        app.post(it.grants()).as_user(bob).json(&body("No Id")).await.refusal(),
        app.post(it.grants()).as_user(bob).json(&json!({})).await.refusal(),
        app.post(it.grants())
            .as_user(bob)
            .json(&json!({ "server_id": "chat", "shared": "yes" }))
            .await
            .refusal(),
    ];
    assert_eq!(app.contents(), before);
    app.patch("/api/v1/servers/chat").as_user(alice).json(&json!({ "active": false })).await.ok();
    answers.push(app.post(it.grants()).as_user(bob).json(&body("chat")).await.refusal());
    app.patch("/api/v1/servers/chat").as_user(alice).json(&json!({ "active": true })).await.ok();
    let account = app.patch(format!("/api/v1/agent-accounts/{}", it.scenario.bot.id)).as_user(alice);
    account.json(&json!({ "active": false })).await.ok();
    answers.push(app.post(it.grants()).as_user(bob).json(&body("chat")).await.refusal());
    assert_snapshot!(answers.join("\n"), @"
    404 No such agent account
    404 No such server
    400 server_id: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit
    400 server_id: is missing
    400 shared: must be true or false, not a string
    404 No such server
    404 No such agent account
    ");
}
