//! A store that shows all that DynamoDB allows: of a transaction that is under way, some items as they were before it
//! and some as they are after, for as long as it takes.

use std::time::Duration;

use deputize_core::{
    control::Control,
    ids::PolicyId,
    table::{Change, Entity, Key, Stored},
    vault::Vault,
};
use deputize_tests::{
    TestApp, TestRequest, TestResponse, app::root, faults::IsLate, store::skips_another_store,
};
use insta::assert_snapshot;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    connections::{Chat, acting_as},
    grants::Connected,
    proxy::Permitted,
    scenario::Scenario,
};

/// Another process, with nothing in its memory.
async fn new_process(app: &TestApp) -> TestApp {
    app.another(Vault::new(root(7), Vec::new())).await
}

/// The answer to `asked`, after the change under way has ended. Until then it may read, but must not answer:
/// it gets the time for three reads.
async fn only_after(app: &TestApp, look: &str, asked: TestRequest) -> TestResponse {
    app.faults.is_under_way().await;
    app.faults.take_seen();
    let looks = async {
        let mut seen = 0;
        while seen < 3 {
            tokio::task::yield_now().await;
            seen += app.faults.take_seen().iter().filter(|operation| *operation == look).count();
        }
    };
    let asked = asked.into_future();
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => panic!("answered in the middle of a change: {answer}"),
        () = looks => {}
    }
    app.faults.release();
    asked.await
}

/// A call by the bot for itself.
fn call(app: &TestApp, token: &str) -> TestRequest {
    app.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(token)
}

#[tokio::test]
async fn a_policy_that_was_taken_out_of_force_is_not_kept_for_the_version_without_it() {
    let it = Permitted::without_policies().await;
    let (app, alice) = (it.app(), &it.scenario.alice);
    let policy = app.permit_everything().await;
    let token = app.m2m(it.bot()).await;
    let new = new_process(app).await;
    app.faults.hold_next(|key| key.pk == "POLICIES");
    let delete = app.delete(format!("/api/v1/policies/{policy}")).as_user(alice);
    let (deleted, called) = tokio::join!(delete, only_after(app, "Query", call(&new, &token)));
    deleted.ok();
    assert_snapshot!(called.refusal(), @"403 Policy denied");
    assert_eq!(it.mcp.calls(), 0);
}

#[tokio::test]
async fn policies_that_are_not_in_force_yet_are_not_kept_for_the_version_before() {
    if skips_another_store("the change is held for longer than an attempt at it may take") {
        return;
    }
    let it = Permitted::without_policies().await;
    let (app, alice) = (it.app(), &it.scenario.alice);
    let token = app.m2m(it.bot()).await;
    let new = new_process(app).await;
    app.faults.hold_next(|key| key.pk.starts_with("CONTROL#"));
    let body = json!({ "name": "all", "text": "permit(principal, action, resource);" });
    let create = app.post("/api/v1/policies").as_user(alice).json(&body);
    let (created, called) = tokio::join!(create, only_after(app, "Query", call(&new, &token)));
    created.ok();
    called.ok();
}

#[tokio::test]
async fn a_signing_key_that_was_revoked_is_not_kept_for_the_version_without_it() {
    let it = Permitted::set().await;
    let (app, alice) = (it.app(), &it.scenario.alice);
    let token = app.m2m(it.bot()).await;
    let kid = deputize_tests::jwt::header(&token)["kid"].as_str().unwrap().to_owned();
    let new = new_process(app).await;
    app.faults.hold_next(|key| key.pk == "SIGNING_KEYS");
    let revoke = app.delete(format!("/api/v1/signing-keys/{kid}")).as_user(alice);
    let (revoked, called) = tokio::join!(revoke, only_after(app, "Query", call(&new, &token)));
    revoked.ok();
    assert_snapshot!(called.refusal(), @"401 The token is signed with an unknown key");
    assert_eq!(it.mcp.calls(), 0);
}

#[tokio::test]
async fn a_change_of_the_keys_is_decided_on_all_that_are_in_force() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    app.faults.hold_next(|key| key.pk == "SIGNING_KEYS");
    let rotate = || app.post("/api/v1/signing-keys").as_user(&alice);
    let (first, second) = tokio::join!(rotate(), only_after(&app, "Query", rotate()));
    let (first, second) = (first.ok().field("kid"), second.ok().field("kid"));
    let signed_by = deputize_tests::jwt::header(&app.m2m(&bot).await)["kid"].clone();
    assert_eq!(signed_by, *second);
    // The second one retired the first, so it can be removed without a replacement.
    app.delete(format!("/api/v1/signing-keys/{first}")).as_user(&alice).await.ok();
    let keys = app.get("/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
}

/// Which of a toggle's two items is seen late.
const PAIR_OR_GRANT: [IsLate; 2] = [|key| key.sk.starts_with("PAIR#"), |key| key.sk.starts_with("GRANT#")];

/// Carol shares her session with the bot, and Bob has a personal grant.
async fn carols_and_bobs() -> Chat {
    let chat = Chat::open().await;
    chat.connect_and_grant(&chat.scenario.carol, true).await;
    chat.connect_and_grant(&chat.scenario.bob, false).await;
    chat
}

#[tokio::test]
async fn a_call_for_a_user_whose_grant_is_being_shared_uses_no_other_persons_account() {
    for is_late in PAIR_OR_GRANT {
        let chat = carols_and_bobs().await;
        let (app, bob, bot) = (&chat.scenario.app, &chat.scenario.bob, &chat.scenario.bot);
        let token = app.obo(bot, bob).await;
        let ask = || app.call("chat", "list_channels", &json!({})).bearer(&token);
        assert_eq!(acting_as(&ask().await), "bob");
        app.faults.hold_next(is_late);
        let path = format!("/api/v1/agent-accounts/{}/session-grants/toggle", bot.id);
        let toggle = app.post(path).as_user(bob).json(&json!({ "server_id": "chat" }));
        let (toggled, called) = tokio::join!(toggle, only_after(app, "BatchGetItem", ask()));
        assert_eq!(toggled.ok().json()["shared"], true);
        assert_eq!(acting_as(&called), "bob");
    }
}

#[tokio::test]
async fn a_grant_that_is_being_shared_is_found_by_whoever_changes_it_meanwhile() {
    for is_late in PAIR_OR_GRANT {
        let it = Connected::set().await;
        let bob = &it.scenario.bob;
        it.create(bob, false).await.ok();
        it.app().faults.hold_next(is_late);
        let path = format!("/api/v1/agent-accounts/{}/session-grants/toggle", it.scenario.bot.id);
        let toggle = || it.app().post(&path).as_user(bob).json(&json!({ "server_id": "chat" }));
        let (first, second) = tokio::join!(toggle(), only_after(it.app(), "BatchGetItem", toggle()));
        assert_eq!(
            (&first.ok().json()["shared"], &second.ok().json()["shared"]),
            (&json!(true), &json!(false))
        );
    }
}

/// The control item as it was before digests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OldControl {
    policies_version: u64,
    policies: usize,
    keys_version: u64,
}

impl Entity for OldControl {
    const KIND: &'static str = "control versions";
}

async fn control(app: &TestApp) -> Stored<Control> {
    Control::read(&app.core).await.unwrap()
}

#[tokio::test]
async fn a_table_from_before_digests_works_and_gets_them_with_its_next_changes() {
    let it = Permitted::set().await;
    let (app, alice) = (it.app(), &it.scenario.alice);
    let token = app.m2m(it.bot()).await;
    let whole = control(app).await;
    let Control { policies_version, policies, keys_version, .. } = whole.value.clone();
    let mut change = Change::new();
    for copy in 0..Key::CONTROL_COPIES {
        let old = OldControl { policies_version, policies, keys_version };
        change.replace(Key::control(copy), &old, whole.rev).unwrap();
    }
    app.core.table.commit(change).await.unwrap();

    call(&new_process(app).await, &token).await.ok();
    let old = control(app).await;
    assert_eq!((old.policies_digest, old.keys_digest), (None, None));

    let body = json!({ "name": "none", "text": "forbid(principal, action, resource);" });
    let made = app.post("/api/v1/policies").as_user(alice).json(&body).await.ok().field("id");
    assert_eq!(call(&new_process(app).await, &token).await.status, 403);
    app.delete(format!("/api/v1/policies/{made}")).as_user(alice).await.ok();
    app.post("/api/v1/signing-keys").as_user(alice).await.ok();
    call(&new_process(app).await, &token).await.ok();
    let new = control(app).await;
    assert_eq!(new.policies_digest, whole.policies_digest, "of the same policies");
    assert!(new.keys_digest.is_some());
}

#[tokio::test(start_paused = true)]
async fn policies_that_nobody_has_put_in_force_are_not_decided_by_until_somebody_does() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    let body = json!({ "name": "none", "text": "forbid(principal, action, resource);" });
    let forbids = app.post("/api/v1/policies").as_user(&alice).json(&body).await.ok().field("id");
    // Changed by hand, without the API: the policy is gone, and no version says so.
    let mut change = Change::new();
    change.remove(&Key::policy(forbids.parse::<PolicyId>().unwrap())).unwrap();
    app.core.table.commit(change).await.unwrap();

    let new = new_process(&app).await;
    let question = json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t" });
    let check = || new.post("/api/v1/policies/check").as_user(&alice).json(&question);
    let started = tokio::time::Instant::now();
    assert_snapshot!(check().await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; nothing was changed, try again",
      "detail": "The service is temporarily unavailable; nothing was changed, try again",
      "reason": "store_unavailable",
      "safe_to_retry": true
    }
    "#);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    let body = json!({ "name": "more", "text": "permit(principal, action, resource);" });
    app.post("/api/v1/policies").as_user(&alice).json(&body).await.ok();
    assert_eq!(check().await.ok().json()["decision"], "permit");
}
