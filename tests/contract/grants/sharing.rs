//! Who may make a grant the shared one, and how those learn of it whose grants that ended.

use std::time::Duration;

use deputize_core::agents::SharedGrants;
use deputize_tests::{TestApp, TestResponse, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Connected, credentials::Answering};

impl Connected {
    fn account(&self) -> String {
        format!("/api/v1/agent-accounts/{}", self.scenario.bot.id)
    }

    pub(crate) async fn leave_sharing_to(&self, who: &str) {
        let change = self.app().patch(self.account()).as_user(&self.scenario.alice);
        change.json(&json!({ "shared_grants": who })).await.ok();
    }

    async fn own_the_bot(&self, owner: &User) {
        let change = self.app().patch(self.account()).as_user(&self.scenario.alice);
        change.json(&json!({ "owner_user_id": owner.id })).await.ok();
    }

    /// A user's own grant in their list.
    async fn own(&self, user: &User) -> Value {
        let list = self.app().get(self.grants()).as_user(user).await.ok().json();
        let mut own =
            list.as_array().unwrap().iter().filter(|one| one["grantor_user_id"] == user.id.to_string());
        own.next().unwrap().clone()
    }
}

#[tokio::test]
async fn where_managers_share_nobody_else_does_or_displaces_anybody() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    it.leave_sharing_to("managers").await;
    it.create(&it.scenario.carol, false).await.ok();
    let before = it.app().contents();
    let refused = it.create(&it.scenario.carol, true).await;
    assert_snapshot!(refused, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Only the agent account's owner and admins may share a grant with it (its shared_grants is managers); your own grant can stay personal",
      "detail": "Only the agent account's owner and admins may share a grant with it (its shared_grants is managers); your own grant can stay personal",
      "reason": "sharing_reserved"
    }
    "#);
    assert_eq!(it.toggle(&it.scenario.carol).await.text, refused.text);
    assert_eq!(it.app().contents(), before);
    assert_snapshot!(it.seen_by(&it.scenario.bob).await, @"bob personal active");
}

#[tokio::test]
async fn where_managers_share_the_owner_and_admins_do() {
    let it = Connected::set().await;
    it.own_the_bot(&it.scenario.bob).await;
    it.leave_sharing_to("managers").await;
    it.create(&it.scenario.bob, true).await.ok();
    it.create(&it.scenario.alice, false).await.ok();
    it.toggle(&it.scenario.alice).await.ok();
    assert_snapshot!(it.seen_by(&it.scenario.carol).await, @"alice shared active");
}

#[tokio::test]
async fn what_a_stranger_had_shared_serves_nobody_else_from_the_next_call_on() {
    let it = Answering::set().await;
    let (carol, bob) = (&it.it.scenario.carol, &it.it.scenario.bob);
    it.it.create(carol, true).await.ok();
    assert_eq!(it.for_bob().await, "carol");
    it.it.leave_sharing_to("managers").await;
    assert_snapshot!(it.for_bob().await, @"401 No credentials available for this server");
    assert_snapshot!(it.as_agent().await, @"401 No credentials available for this server");
    // A grant that does not serve is not shown to others. Its grantor sees why; for herself it goes on.
    assert_snapshot!(it.it.seen_by(bob).await, @"");
    assert_snapshot!(it.it.seen_by(carol).await, @"carol personal active");
    it.app().delegate(&it.it.scenario.bot, carol).await;
    let token = it.app().obo(&it.it.scenario.bot, carol).await;
    let hers = it.app().call("chat", "list_channels", &json!({})).bearer(&token).await;
    assert_eq!(super::credentials::spoken(&hers), "carol");
    // She cannot make it serve again, but she can revoke it.
    assert_eq!(it.it.toggle(carol).await.status, 403);
    it.it.create(carol, false).await.ok();
    it.it.leave_sharing_to("anyone").await;
    assert_snapshot!(it.for_bob().await, @"401 No credentials available for this server");
}

#[tokio::test]
async fn a_sharer_who_manages_no_more_serves_nobody_else() {
    let it = Answering::set().await;
    let dora = it.app().user("dora").admin().await;
    it.app().connect(&dora, &it.it.chat).await;
    it.it.leave_sharing_to("managers").await;
    it.it.create(&dora, true).await.ok();
    assert_eq!(it.for_bob().await, "dora");
    let demoted = it.app().patch(format!("/api/v1/users/{}", dora.id)).as_user(&it.it.scenario.alice);
    demoted.json(&json!({ "role": "user" })).await.ok();
    assert_snapshot!(it.for_bob().await, @"401 No credentials available for this server");
    it.it.own_the_bot(&dora).await;
    assert_eq!(it.for_bob().await, "dora");
}

#[tokio::test]
async fn whether_managers_share_costs_a_call_no_more() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    it.it.leave_sharing_to("managers").await;
    assert_eq!(it.for_bob().await, "alice");
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let call = it.app().call("chat", "list_channels", &json!({})).bearer(&token);
    let (answer, cost) = it.app().round_trips(call.into_future()).await;
    assert_eq!(super::credentials::spoken(&answer), "alice");
    assert_eq!(cost, [("BatchGetItem", 1), ("BatchWriteItem", 1)]);
}

#[tokio::test]
async fn an_owner_narrows_who_shares_and_an_admin_widens_it() {
    let it = Connected::set().await;
    it.own_the_bot(&it.scenario.bob).await;
    let set = async |user: &User, who: &str| -> TestResponse {
        it.app().patch(it.account()).as_user(user).json(&json!({ "shared_grants": who })).await
    };
    set(&it.scenario.bob, "anyone").await.ok();
    let answer = set(&it.scenario.bob, "managers").await.ok();
    assert_eq!(answer.field("shared_grants"), "managers");
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "agent_account.update"
    audit_agent: "[bot]"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "shared_grants: managers"
    outcome: "allowed"
    subject: "agent_account:[bot]"
    "#);
    assert_snapshot!(set(&it.scenario.bob, "anyone").await.refusal(), @"403 Only an admin may do this");
    let refusal = set(&it.scenario.alice, "everybody").await.refusal();
    assert_eq!(refusal, "400 shared_grants: must be anyone or managers");
    set(&it.scenario.alice, "anyone").await.ok();
    it.create(&it.scenario.carol, true).await.ok();
}

#[tokio::test]
async fn a_new_account_is_as_it_says_or_else_as_the_deployment_does() {
    for default in [SharedGrants::Anyone, SharedGrants::Managers] {
        let app = TestApp::start_sharing(default).await;
        let alice = app.user("alice").admin().await;
        let made = async |body: Value| {
            app.post("/api/v1/agent-accounts").as_user(&alice).json(&body).await.ok().field("shared_grants")
        };
        assert_eq!(made(json!({ "name": "a" })).await, default.to_string());
        for said in ["anyone", "managers"] {
            assert_eq!(made(json!({ "name": "a", "shared_grants": said })).await, said);
        }
    }
}

#[tokio::test]
async fn the_displaced_are_told_who_it_was_and_when() {
    let it = Connected::set().await;
    let (alice, bob, carol) = (&it.scenario.alice, &it.scenario.bob, &it.scenario.carol);
    it.create(alice, true).await.ok();
    it.create(bob, false).await.ok();
    it.app().pass(Duration::from_mins(1));
    let shared = it.create(carol, true).await.ok();
    assert_snapshot!(it.app().event_of(&shared), @r#"
    action: "session_grant.create"
    audit_agent: "[bot]"
    audit_server: "chat"
    audit_user: "[carol]"
    credential: "api_key:[uuid]"
    detail: "shared, in place of the grant [alice's grant] of the user [alice]"
    outcome: "allowed"
    subject: "session_grant:[carol's grant]"
    "#);
    it.app().pass(Duration::from_mins(1));
    let told =
        it.app().get(format!("{}?server_id=chat&grantor_user_id={}", it.grants(), bob.id)).as_user(bob).await;
    assert_snapshot!(told, @r#"
    200 OK

    [
      {
        "id": "[bob's grant]",
        "agent_account_id": "[bot]",
        "server_id": "chat",
        "grantor_user_id": "[bob]",
        "grantor_email": "bob@example.com",
        "shared": false,
        "is_active": false,
        "displaced_by_user_id": "[carol]",
        "displaced_by_email": "carol@example.com",
        "displaced_at": "2026-01-15T09:01:00.000Z",
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z"
      }
    ]
    "#);
    assert_eq!(it.own(bob).await, told.json()[0], "with and without a filter");
    assert_eq!(it.own(alice).await["displaced_by_user_id"], carol.id.to_string());
    let hers = it.own(carol).await;
    assert_eq!([&hers["displaced_by_user_id"], &hers["displaced_at"]], [&Value::Null, &Value::Null]);
}

#[tokio::test]
async fn who_displaced_one_cannot_be_hidden_by_sharing_on() {
    let it = Connected::set().await;
    let (bob, carol) = (&it.scenario.bob, &it.scenario.carol);
    it.create(bob, false).await.ok();
    it.app().pass(Duration::from_mins(1));
    it.create(carol, true).await.ok();
    for _ in 0..20 {
        it.app().pass(Duration::from_mins(1));
        it.toggle(carol).await.ok();
    }
    it.create(&it.scenario.alice, true).await.ok();
    let own = it.own(bob).await;
    assert_eq!(own["displaced_by_email"], carol.email);
    assert_eq!(own["displaced_at"], "2026-01-15T09:01:00.000Z");
}

#[tokio::test]
async fn nobody_else_is_told_who_displaced_whom_but_admins() {
    let it = Connected::set().await;
    let (alice, bob, carol) = (&it.scenario.alice, &it.scenario.bob, &it.scenario.carol);
    let grant = it.create(bob, false).await.ok().field("id");
    it.create(carol, true).await.ok();
    for user in [alice, carol] {
        let list = it.app().get(it.grants()).as_user(user).await.ok();
        assert!(!list.text.contains(&grant), "{list}");
        assert_eq!(list.json()[0]["displaced_by_user_id"], Value::Null);
    }
    assert_eq!(it.revoke(carol, &grant).await.status, 404);
    // By its id, for a user who may revoke it.
    let seen = it.revoke(alice, &grant).await.ok().json();
    assert_eq!(seen["displaced_by_email"], carol.email);
}

#[tokio::test]
async fn a_grant_that_its_grantor_revoked_was_not_displaced() {
    let it = Connected::set().await;
    let (bob, carol) = (&it.scenario.bob, &it.scenario.carol);
    let grant = it.create(bob, false).await.ok().field("id");
    it.revoke(bob, &grant).await.ok();
    it.create(carol, true).await.ok();
    assert_eq!(it.own(bob).await["displaced_at"], Value::Null);
}

#[tokio::test]
async fn a_list_of_one_persons_grants_shows_what_the_caller_may_see_of_them() {
    let it = Connected::set().await;
    let (alice, bob, carol) = (&it.scenario.alice, &it.scenario.bob, &it.scenario.carol);
    it.create(carol, true).await.ok();
    it.create(bob, false).await.ok();
    let seen = async |by: &User, of: &User, server: &str| {
        let path = format!("{}?grantor_user_id={}{server}", it.grants(), of.id);
        super::shown(&it.app().get(path).as_user(by).await.ok().json())
    };
    for server in ["", "&server_id=chat"] {
        assert_eq!(seen(bob, bob, server).await, "bob personal active");
        assert_eq!(seen(bob, carol, server).await, "carol shared active");
        assert_eq!(seen(alice, bob, server).await, "", "another's personal grant, to an admin too");
        assert_eq!(seen(alice, alice, server).await, "");
    }
}
