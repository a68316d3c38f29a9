//! Every change by a user who is stopped while it is under way: their API key is revoked, they are deactivated, or their
//! role is taken away, between the reads by which they were let in and the transaction. Nothing is changed.

use std::future::IntoFuture;

use deputize_core::ids::UserId;
use deputize_tests::{TestApp, TestRequest, TestResponse, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::changes::{Scene, each_change_by_a_user};
use crate::scenario::Scenario;

/// What happens to a user during their request, so that the request must fail.
#[derive(Clone, Copy, Debug)]
enum Stop {
    RevokeKey,
    Deactivate,
    ChangeRole,
}

impl Stop {
    const ALL: [Self; 3] = [Self::RevokeKey, Self::Deactivate, Self::ChangeRole];

    async fn done_to(self, app: &TestApp, by: &User, whom: UserId) {
        let change = |body: Value| app.patch(format!("/api/v1/users/{whom}")).as_user(by).json(&body);
        match self {
            Self::RevokeKey => {
                let keys = app.get(format!("/api/v1/users/{whom}/api-keys")).as_user(by).await.ok().json();
                let key = keys[0]["id"].as_str().unwrap();
                app.delete(format!("/api/v1/users/{whom}/api-keys/{key}")).as_user(by).await.ok();
            }
            Self::Deactivate => drop(change(json!({ "active": false })).await.ok()),
            Self::ChangeRole => {
                let was = app.get(format!("/api/v1/users/{whom}")).as_user(by).await.ok().field("role");
                let role = if was == "admin" { "user" } else { "admin" };
                change(json!({ "role": role })).await.ok();
            }
        }
    }
}

/// Sends a request, and does something else just before the request changes the table.
async fn interrupted(app: &TestApp, ask: TestRequest, meanwhile: impl AsyncFnOnce()) -> TestResponse {
    app.faults.stop_before_next_change();
    let answer = tokio::spawn(ask.into_future());
    app.faults.is_stopped().await;
    meanwhile().await;
    app.faults.go_on();
    answer.await.unwrap()
}

async fn check(change: impl AsyncFn(&Scene) -> TestRequest) {
    for stop in Stop::ALL {
        let scene = Scene::set().await;
        let admin = scene.app.user("dora").admin().await;
        let caller = change(&scene).await.key_holder(&[&scene.alice, &scene.bob, &scene.carol]);
        let ask = change(&scene).await;
        let mut before = Vec::new();
        let answer = interrupted(&scene.app, ask, async || {
            stop.done_to(&scene.app, &admin, caller).await;
            before.push(scene.app.contents());
        })
        .await;
        assert_eq!(answer.refusal(), REFUSED, "{stop:?}");
        assert_eq!(before, [scene.app.contents()], "{stop:?}");
    }
}

const REFUSED: &str = "403 Nothing was changed: while this was under way, you were deactivated, your role was changed, or your credential was revoked";

macro_rules! tests {
    ($($name:ident: |$scene:ident| $ask:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            check(async |$scene: &Scene| $ask).await;
        }
    )*};
}

each_change_by_a_user!(tests);

/// If two admins demote each other, the second change comes from a user who is no longer an admin.
#[tokio::test]
async fn two_admins_who_demote_each_other_at_once_leave_one() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let dora = app.user("dora").admin().await;
    let demote = |by: &User, whom: &User| {
        app.patch(format!("/api/v1/users/{}", whom.id)).as_user(by).json(&json!({ "role": "user" }))
    };
    let answer = interrupted(&app, demote(&alice, &dora), async || {
        demote(&dora, &alice).await.ok();
    })
    .await;
    assert_eq!(answer.refusal(), REFUSED);
    assert_eq!(app.get(format!("/api/v1/users/{}", dora.id)).as_user(&dora).await.field("role"), "admin");
}

/// An admin's change of their own item is conditional on what was read, and they must still be an admin in
/// that.
#[tokio::test]
async fn an_admin_who_was_demoted_meanwhile_cannot_give_themselves_groups() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let dora = app.user("dora").admin().await;
    let own = app.patch(format!("/api/v1/users/{}", alice.id)).as_user(&alice);
    let answer = interrupted(&app, own.json(&json!({ "groups": ["owners"] })), async || {
        Stop::ChangeRole.done_to(&app, &dora, alice.id).await;
    })
    .await;
    assert_eq!(answer.refusal(), REFUSED);
}

/// An app's change commits only while what its user allowed it stands.
#[tokio::test]
async fn an_app_that_was_revoked_meanwhile_delegates_nothing() {
    let Scenario { app, carol, bot, .. } = Scenario::start().await;
    let allowed = app.allow_management(&carol).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let ask = app.post(path).bearer(&allowed.token).json(&json!({}));
    let mut before = Vec::new();
    let answer = interrupted(&app, ask, async || {
        app.disallow(&allowed);
        before.push(app.contents());
    })
    .await;
    assert_eq!(answer.refusal(), REFUSED);
    assert_eq!(before, [app.contents()]);
}

/// To stop a thief of a user's token, an admin removes the user's identity.
#[tokio::test]
async fn a_user_whose_subject_was_unbound_meanwhile_makes_no_api_key() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let token = app.login.token("bob");
    app.get("/api/v1/me").bearer(&token).await.ok();
    let before = app.get("/api/v1/api-keys").as_user(&bob).await.text;
    let ask = app.post("/api/v1/api-keys").bearer(&token).json(&json!({ "name": "new" }));
    let answer = interrupted(&app, ask, async || {
        let unbound = json!({ "identities": [] });
        app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&alice).json(&unbound).await.ok();
    })
    .await;
    assert_eq!(answer.refusal(), REFUSED);
    assert_eq!(app.get("/api/v1/api-keys").as_user(&bob).await.text, before);
}

/// The owner may revoke a delegation only while they own the account.
#[tokio::test]
async fn an_owner_who_lost_the_account_meanwhile_revokes_no_delegation_to_it() {
    let scene = Scene::set().await;
    let Scene { app, alice, bob, carol, delegation, .. } = &scene;
    let give =
        |owner: &User| app.patch(scene.agent("")).as_user(alice).json(&json!({ "owner_user_id": owner.id }));
    give(carol).await.ok();
    let revoke = app.delete(format!("/api/v1/delegations/{delegation}")).as_user(carol);
    let answer = interrupted(app, revoke, async || {
        give(bob).await.ok();
    })
    .await;
    assert_snapshot!(answer.refusal(), @"404 No such delegation");
}

/// An owner by a group changes an account only while they are in the group.
#[tokio::test]
async fn an_owner_who_left_the_group_meanwhile_changes_nothing() {
    let scene = Scene::set().await;
    let Scene { app, alice, carol, delegation, .. } = &scene;
    let groups = |groups: &[&str]| {
        app.patch(format!("/api/v1/users/{}", carol.id)).as_user(alice).json(&json!({ "groups": groups }))
    };
    let owners = json!({ "owners": [{ "group": "platform" }] });
    app.patch(scene.agent("")).as_user(alice).json(&owners).await.ok();
    let asks: [TestRequest; 3] = [
        app.patch(scene.agent("")).as_user(carol).json(&json!({ "name": "hers" })),
        app.post(scene.agent("/secrets")).as_user(carol),
        app.delete(format!("/api/v1/delegations/{delegation}")).as_user(carol),
    ];
    for ask in asks {
        groups(&["other", "platform"]).await.ok();
        let mut before = Vec::new();
        let answer = interrupted(app, ask, async || {
            groups(&["other"]).await.ok();
            before.push(app.contents());
        })
        .await;
        assert_eq!(answer.refusal(), REFUSED);
        assert_eq!(before, [app.contents()]);
    }
}

/// Somebody who was deactivated and came back holds nothing of what let them in before.
#[tokio::test]
async fn a_user_who_was_deactivated_and_came_back_meanwhile_changes_nothing() {
    let Scenario { app, alice, carol, bot, .. } = Scenario::start().await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let mut before = Vec::new();
    let answer = interrupted(&app, app.post(path).as_user(&carol), async || {
        for active in [false, true] {
            let change = app.patch(format!("/api/v1/users/{}", carol.id)).as_user(&alice);
            change.json(&json!({ "active": active })).await.ok();
        }
        before.push(app.contents());
    })
    .await;
    assert_eq!(answer.refusal(), REFUSED);
    assert_eq!(before, [app.contents()]);
}
