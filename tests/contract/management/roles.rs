//! Auditors and operators: what each may do to what is other people's, and the ways to more that are closed.

use std::time::Duration;

use deputize_core::{table::Key, users::Role};
use deputize_tests::{TestRequest, TestResponse, User, jwt::SigningKey};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// The stage, with an auditor, an operator, and an agent account of Bob's.
struct Staff {
    it: Scenario,
    auditor: User,
    operator: User,
}

impl Staff {
    async fn set() -> Self {
        let it = Scenario::start().await;
        let auditor = it.app.user("audrey").role(Role::Auditor).await;
        let operator = it.app.user("oscar").role(Role::Operator).await;
        let bot = it.app.agent("bobs", &it.bob).await;
        it.app.delegate(&bot, &it.bob).await;
        Self { it: Scenario { bot, ..it }, auditor, operator }
    }

    fn bot(&self) -> String {
        format!("/api/v1/agent-accounts/{}", self.it.bot.id)
    }

    fn user(&self, user: &User) -> TestRequest {
        self.it.app.patch(format!("/api/v1/users/{}", user.id))
    }

    async fn set_active(&self, whom: &User, by: &User, active: bool) -> TestResponse {
        self.user(whom).as_user(by).json(&json!({ "active": active })).await
    }

    async fn set_bot_active(&self, by: &User, active: bool) -> TestResponse {
        self.it.app.patch(self.bot()).as_user(by).json(&json!({ "active": active })).await
    }

    /// The refusals of requests, each by this user. Nothing may change.
    async fn refused(&self, by: &User, requests: Vec<TestRequest>) -> String {
        let before = self.it.app.contents();
        let mut refusals = Vec::new();
        for request in requests {
            refusals.push(request.as_user(by).await.refusal());
        }
        assert_eq!(self.it.app.contents(), before);
        refusals.join("\n")
    }
}

#[tokio::test]
async fn each_role_is_set_and_shown_and_another_word_is_none() {
    let it = Staff::set().await;
    let set = |role: &str| it.user(&it.it.carol).as_user(&it.it.alice).json(&json!({ "role": role }));
    for role in ["auditor", "operator", "admin", "user"] {
        assert_eq!(set(role).await.ok().field("role"), role);
        assert_eq!(it.it.app.get("/api/v1/me").as_user(&it.it.carol).await.ok().field("role"), role);
        let new = json!({ "email": format!("{role}@new.example"), "role": role });
        let made = it.it.app.post("/api/v1/users").as_user(&it.it.alice).json(&new).await.ok();
        assert_eq!(made.field("role"), role);
    }
    assert_eq!(set("owner").await.status, 400);
    assert_eq!(set("Auditor").await.status, 400);
}

#[tokio::test]
async fn policies_tell_the_four_roles_apart() {
    let it = Staff::set().await;
    let Scenario { app, alice, bob, .. } = &it.it;
    app.server("demo").await;
    app.policy("staff", r#"permit(principal is User, action, resource) when { ["auditor", "operator"].contains(principal.role) };"#).await;
    let mut decisions = Vec::new();
    for user in [bob, &it.auditor, &it.operator, alice] {
        let check = json!({ "user_id": user.id, "server_id": "demo", "tool_name": "t", "arguments": {} });
        let checked = app.post("/api/v1/policies/check").as_user(user).json(&check).await.ok();
        decisions.push(checked.field("decision"));
    }
    assert_eq!(decisions, ["deny", "permit", "permit", "deny"]);
}

#[tokio::test]
async fn an_auditor_sees_what_is_other_peoples_and_changes_none_of_it() {
    let it = Staff::set().await;
    let Scenario { app, alice, bob, .. } = &it.it;
    let block =
        app.post("/api/v1/app-blocks").as_user(alice).json(&json!({ "host": "evil.test" })).await.ok();
    for path in [
        "/api/v1/users".to_owned(),
        format!("/api/v1/users/{}", bob.id),
        format!("/api/v1/users/{}/api-keys", bob.id),
        format!("/api/v1/users/{}/authorizations", bob.id),
        format!("{}/secrets", it.bot()),
        format!("{}/keys", it.bot()),
        format!("{}/delegations?delegator_user_id={}", it.bot(), bob.id),
        "/api/v1/policies".to_owned(),
        "/api/v1/apps".to_owned(),
        "/api/v1/app-blocks".to_owned(),
        format!("/api/v1/audit-events?user_id={}", bob.id),
        "/api/v1/audit-events/feed".to_owned(),
    ] {
        assert_eq!(app.get(&path).as_user(&it.auditor).await.status, 200, "{path}");
    }
    let delegations = app.get(format!("{}/delegations", it.bot())).as_user(&it.auditor).await.ok().json();
    let keys = app.get(format!("/api/v1/users/{}/api-keys", bob.id)).as_user(&it.auditor).await.ok().json();
    let secrets = app.get(format!("{}/secrets", it.bot())).as_user(&it.auditor).await.ok().json();
    let id = |things: &Value| things[0]["id"].as_str().unwrap().to_owned();
    let refused = it.refused(
        &it.auditor,
        vec![
            it.user(bob).json(&json!({ "active": false })),
            it.user(&it.auditor).json(&json!({ "role": "admin" })),
            app.patch(it.bot()).json(&json!({ "active": false })),
            app.patch(it.bot()).json(&json!({ "name": "mine" })),
            app.delete(format!("/api/v1/delegations/{}", id(&delegations))),
            app.delete(format!("/api/v1/users/{}/api-keys/{}", bob.id, id(&keys))),
            app.delete(format!("{}/secrets/{}", it.bot(), id(&secrets))),
            app.post(format!("{}/secrets", it.bot())),
            app.post("/api/v1/app-blocks").json(&json!({ "host": "good.test" })),
            app.delete(format!("/api/v1/app-blocks/{}", block.field("id"))),
            app.post("/api/v1/signing-keys"),
            app.post("/api/v1/policies")
                .json(&json!({ "name": "x", "text": "permit(principal, action, resource);" })),
        ],
    );
    assert_snapshot!(refused.await, @"
    403 Only an operator or an admin may do this
    403 Only an admin may do this
    403 Only an operator or an admin may do this
    403 Only an admin may do this
    403 Only an operator or an admin may do this
    403 Only an operator or an admin may do this
    403 Only an operator or an admin may do this
    403 Only an admin may do this
    403 Only an operator or an admin may do this
    403 Only an operator or an admin may do this
    403 Only an operator or an admin may do this
    403 Only an admin may do this
    ");
    // Their own things are theirs, as any user's are.
    app.post("/api/v1/api-keys").as_user(&it.auditor).json(&json!({ "name": "own" })).await.ok();
    app.post(format!("{}/delegations", it.bot())).as_user(&it.auditor).json(&json!({})).await.ok();
}

#[tokio::test]
async fn an_operator_stops_and_revokes_what_is_other_peoples() {
    let it = Staff::set().await;
    let Scenario { app, bob, bot, .. } = &it.it;
    let by = |request: TestRequest| request.as_user(&it.operator);
    app.server("demo").await;
    let jwk = json!({ "jwk": SigningKey::es256().jwk("k") });
    let key = app.post(format!("{}/keys", it.bot())).as_user(bob).json(&jwk).await.ok().field("id");
    by(app.delete(format!("{}/keys/{key}", it.bot()))).await.ok();
    let delegations = app.get(format!("{}/delegations", it.bot())).as_user(bob).await.ok().json();
    by(app.delete(format!("/api/v1/delegations/{}", delegations[0]["id"].as_str().unwrap()))).await.ok();
    let stopped = it.set_bot_active(&it.operator, false).await.ok();
    assert_eq!(
        [stopped.json()["active"].clone(), stopped.json()["disabled_by"].clone()],
        [json!(false), json!("operator")]
    );
    assert_eq!(app.token_for(bot, &[]).await.status, 401);
    assert_eq!(
        by(app.patch("/api/v1/servers/demo")).json(&json!({ "active": false })).await.ok().json()["active"],
        false
    );
    by(app.post("/api/v1/signing-keys")).await.ok();
    let keys = app.get(format!("/api/v1/users/{}/api-keys", bob.id)).as_user(&it.operator).await.ok().json();
    by(app.delete(format!("/api/v1/users/{}/api-keys/{}", bob.id, keys[0]["id"].as_str().unwrap())))
        .await
        .ok();
    it.set_active(bob, &it.operator, false).await.ok();
}

#[tokio::test]
async fn an_operator_makes_no_credential_and_gives_nobody_a_right() {
    let it = Staff::set().await;
    let Scenario { app, alice, bob, .. } = &it.it;
    app.server("demo").await;
    let app_of_admin = json!({ "name": "App", "redirect_uris": ["https://app.example.com/callback"], "auth_method": "client_secret" });
    let registered =
        app.post("/api/v1/apps").as_user(alice).json(&app_of_admin).await.ok().field("client_id");
    it.set_active(bob, &it.operator, false).await.ok();
    let (url, permit) = ("https://evil.test/mcp", "permit(principal, action, resource);");
    let refused = it.refused(
        &it.operator,
        vec![
            app.post("/api/v1/users").json(&json!({ "email": "new@example.com" })),
            it.user(&it.operator).json(&json!({ "role": "admin" })),
            it.user(bob).json(&json!({ "role": "admin", "active": true })),
            it.user(bob).json(&json!({ "groups": ["owners"], "active": true })),
            it.user(bob).json(&json!({ "identities": [] })),
            app.post("/api/v1/agent-accounts").json(&json!({ "name": "new" })),
            app.patch(it.bot()).json(&json!({ "owner_user_id": it.operator.id })),
            app.patch(it.bot()).json(&json!({ "shared_grants": "anyone", "active": true })),
            app.post(format!("{}/secrets", it.bot())),
            app.post(format!("{}/keys", it.bot())).json(&json!({ "jwk": SigningKey::es256().jwk("k") })),
            app.post("/api/v1/servers").json(&json!({ "name": "new", "url": url })),
            app.patch("/api/v1/servers/demo").json(&json!({ "url": url })),
            app.patch("/api/v1/servers/demo").json(&json!({ "active": false, "url": url })),
            app.patch("/api/v1/servers/demo").json(&json!({ "active": true })),
            app.post("/api/v1/policies").json(&json!({ "name": "x", "text": permit })),
            app.post("/api/v1/apps").json(&app_of_admin),
            app.post(format!("/api/v1/apps/{registered}/secret")),
            app.delete(format!("/api/v1/apps/{registered}")),
            app.put("/api/v1/proxy/demo/approved-tools"),
        ],
    );
    let refused = refused.await;
    assert_eq!(refused.lines().count(), 19);
    assert!(refused.lines().all(|refusal| refusal == "403 Only an admin may do this"), "{refused}");
}

#[tokio::test]
async fn an_operator_lets_go_on_what_operators_have_stopped() {
    let it = Staff::set().await;
    let Scenario { app, bob, carol, .. } = &it.it;
    let another = app.user("olga").role(Role::Operator).await;
    it.set_bot_active(&it.operator, false).await.ok();
    assert_snapshot!(it.set_bot_active(bob, true).await.refusal(), @"403 An operator has disabled the agent account; only an operator or an admin can enable it again");
    assert_snapshot!(app.post(format!("{}/secrets", it.bot())).as_user(bob).await.refusal(), @"403 An operator has disabled the agent account; until an operator or an admin enables it, only an operator or an admin can give it new credentials");
    it.set_bot_active(&another, true).await.ok();
    it.set_active(carol, &it.operator, false).await.ok();
    it.set_active(carol, &another, true).await.ok();
    let blocked =
        app.post("/api/v1/app-blocks").as_user(&it.operator).json(&json!({ "host": "evil.test" })).await;
    assert_eq!(blocked.field("blocked_by"), "operator");
    app.delete("/api/v1/app-blocks/evil.test").as_user(&another).await.ok();
    // What its owner has stopped, too.
    it.set_bot_active(bob, false).await.ok();
    it.set_bot_active(&it.operator, true).await.ok();
}

#[tokio::test]
async fn a_user_says_by_whom_and_when_they_were_deactivated() {
    let it = Staff::set().await;
    let Scenario { app, alice, carol, .. } = &it.it;
    let shown = async || {
        let user = app.get(format!("/api/v1/users/{}", carol.id)).as_user(&it.auditor).await.ok().json();
        ["active", "deactivated_by", "deactivated_at"].map(|field| user[field].clone())
    };
    let active = [json!(true), Value::Null, Value::Null];
    assert_eq!(shown().await, active);
    app.pass(Duration::from_mins(1));
    it.set_active(carol, &it.operator, false).await.ok();
    assert_eq!(shown().await, [json!(false), json!("operator"), json!("2026-01-15T09:01:00.000Z")]);
    // An admin who wants them to stay away says so after the operator has. They are away since then.
    app.pass(Duration::from_mins(1));
    it.set_active(carol, alice, false).await.ok();
    assert_eq!(shown().await, [json!(false), json!("admin"), json!("2026-01-15T09:01:00.000Z")]);
    let list = app.get("/api/v1/users?active=false").as_user(alice).await.ok().json();
    assert_eq!(list[0]["deactivated_by"], "admin");
    it.set_active(carol, alice, true).await.ok();
    assert_eq!(shown().await, active);
    // From before this was kept.
    it.set_active(carol, alice, false).await.ok();
    for field in ["deactivated_by", "deactivated_at"] {
        app.forget(&Key::user(carol.id), field);
    }
    assert_eq!(shown().await, [json!(false), Value::Null, Value::Null]);
    // To leave a company is to be deactivated, by an admin.
    let leave = app.post(format!("/api/v1/users/{}/offboard", it.it.bob.id)).as_user(alice);
    leave.json(&json!({ "agents": "stop" })).await.ok();
    let bob = app.get(format!("/api/v1/users/{}", it.it.bob.id)).as_user(alice).await.ok().json();
    assert_eq!(
        (&bob["deactivated_by"], &bob["deactivated_at"]),
        (&json!("admin"), &json!("2026-01-15T09:02:00.000Z"))
    );
}

#[tokio::test]
async fn an_operator_lets_nothing_go_on_that_an_admin_has_stopped_not_even_by_stopping_it_again() {
    let it = Staff::set().await;
    let Scenario { app, alice, carol, .. } = &it.it;
    let block = json!({ "host": "evil.test" });
    it.set_bot_active(alice, false).await.ok();
    it.set_active(carol, alice, false).await.ok();
    app.post("/api/v1/app-blocks").as_user(alice).json(&block).await.ok();
    for again in [false, true] {
        if again {
            it.set_bot_active(&it.operator, false).await.ok();
            it.set_active(carol, &it.operator, false).await.ok();
            app.post("/api/v1/app-blocks").as_user(&it.operator).json(&block).await.ok();
        }
        let refusals = [
            it.set_bot_active(&it.operator, true).await.refusal(),
            it.set_active(carol, &it.operator, true).await.refusal(),
            app.delete("/api/v1/app-blocks/evil.test").as_user(&it.operator).await.refusal(),
        ];
        assert_eq!(
            refusals,
            [
                "403 An admin has disabled the agent account; only an admin can enable it again",
                "403 An admin has deactivated the user; only an admin can reactivate them",
                "403 An admin has blocked it; only an admin can end the block",
            ]
        );
    }
    // An admin's stop takes the place of an operator's.
    it.set_active(carol, alice, true).await.ok();
    it.set_active(carol, &it.operator, false).await.ok();
    it.set_active(carol, alice, false).await.ok();
    assert_eq!(it.set_active(carol, &it.operator, true).await.status, 403);
    app.delete("/api/v1/app-blocks/evil.test").as_user(alice).await.ok();
    app.post("/api/v1/app-blocks").as_user(&it.operator).json(&block).await.ok();
    assert_eq!(app.post("/api/v1/app-blocks").as_user(alice).json(&block).await.field("blocked_by"), "admin");
    assert_eq!(app.delete("/api/v1/app-blocks/evil.test").as_user(&it.operator).await.status, 403);
    // Whatever else an admin changes meanwhile is no stop of theirs.
    it.set_active(carol, alice, true).await.ok();
    it.set_active(carol, &it.operator, false).await.ok();
    it.user(carol).as_user(alice).json(&json!({ "name": "Caroline" })).await.ok();
    it.set_active(carol, &it.operator, true).await.ok();
}

#[tokio::test]
async fn what_was_stopped_before_it_was_kept_by_whom_counts_as_an_admins_stop() {
    let it = Staff::set().await;
    let Scenario { app, alice, carol, .. } = &it.it;
    it.set_active(carol, &it.operator, false).await.ok();
    app.forget(&Key::user(carol.id), "deactivated_by");
    app.post("/api/v1/app-blocks").as_user(&it.operator).json(&json!({ "host": "evil.test" })).await.ok();
    app.forget(&Key::app_block("evil.test"), "blocked_by");
    assert_eq!(it.set_active(carol, &it.operator, true).await.status, 403);
    assert_eq!(app.delete("/api/v1/app-blocks/evil.test").as_user(&it.operator).await.status, 403);
    it.set_active(carol, alice, true).await.ok();
    app.delete("/api/v1/app-blocks/evil.test").as_user(alice).await.ok();
}

#[tokio::test]
async fn an_operator_neither_stops_nor_brings_back_an_admin() {
    let it = Staff::set().await;
    let Scenario { app, alice, .. } = &it.it;
    let dora = app.user("dora").admin().await;
    assert_snapshot!(it.set_active(&dora, &it.operator, false).await.refusal(), @"403 Only an admin may deactivate or reactivate an admin");
    it.set_active(&dora, alice, false).await.ok();
    assert_eq!(it.set_active(&dora, &it.operator, true).await.status, 403);
    // One who is an admin by an issuer's word, and by an old one, which may count again after the next sign-in.
    let eve = app.user("eve").await;
    it.set_active(&eve, &it.operator, false).await.ok();
    let text = |text: &str| json!({ "S": text });
    let old = json!({
        "issuer": text(app.login.url()), "issued_at": text("2020-01-01T00:00:00.000Z"), "role": text("admin"),
    });
    let old = json!({ "L": [{ "M": old }] });
    app.set(&Key::user(eve.id), "claims", old);
    assert_snapshot!(it.set_active(&eve, &it.operator, true).await.refusal(), @"403 Only an admin may deactivate or reactivate an admin");
    it.set_active(&eve, alice, true).await.ok();
    assert_eq!(it.set_active(&eve, &it.operator, false).await.status, 403);
}

#[tokio::test]
async fn an_operator_revokes_an_admins_key_that_leaked_and_cannot_deactivate_themselves() {
    let it = Staff::set().await;
    let Scenario { app, alice, .. } = &it.it;
    let keys = format!("/api/v1/users/{}/api-keys", alice.id);
    let id = app.get(&keys).as_user(&it.operator).await.ok().json()[0]["id"].as_str().unwrap().to_owned();
    app.delete(format!("{keys}/{id}")).as_user(&it.operator).await.ok();
    assert_eq!(app.get("/api/v1/me").as_user(alice).await.status, 401);
    assert_snapshot!(it.set_active(&it.operator, &it.operator, false).await.refusal(), @"409 an operator cannot deactivate or demote themselves");
}

#[tokio::test]
async fn an_email_alone_leads_to_a_user_with_a_role_once_only() {
    use deputize_core::issuers::LinkByEmail;

    let it = Staff::set().await;
    let app = it.it.app.linking([LinkByEmail::New, LinkByEmail::Any]).await;
    for name in ["audrey", "oscar"] {
        app.get("/api/v1/me").bearer(&app.login.token(name)).await.ok();
        assert_eq!(app.get("/api/v1/me").bearer(&app.workos.token(name)).await.status, 401, "{name}");
    }
}
