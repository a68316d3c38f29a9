//! Somebody leaves while the store fails: between any two steps, once or for good. Nothing is half changed, and calling
//! again completes it.

use std::collections::BTreeMap;

use deputize_core::offboarding::Kind;
use deputize_tests::{TestApp, TestRequest, User, apps::AppClient, faults::Fault, store::stride};
use serde_json::{Value, json};

use super::changes::Scene;

/// The scene, with more of Bob's: accounts of his alone and with others, an app with refresh tokens, a browser session.
struct Leaving {
    scene: Scene,
}

impl Leaving {
    async fn set() -> Self {
        let scene = Scene::set().await;
        let Scene { app, alice, bob, carol, .. } = &scene;
        for (name, other) in [("alone", None), ("with Carol", Some(json!({ "user_id": carol.id })))] {
            let owners: Vec<Value> = std::iter::once(json!({ "user_id": bob.id })).chain(other).collect();
            let body = json!({ "name": name, "owners": owners });
            app.post("/api/v1/agent-accounts").as_user(alice).json(&body).await.ok();
        }
        let client = AppClient::public("client.example");
        let allowed = app.allow(bob, &client, "proxy", "tools:call offline_access").await;
        app.sign_in(&allowed).await;
        app.signed_in(bob).await;
        app.faults.take_seen();
        Self { scene }
    }

    fn app(&self) -> &TestApp {
        &self.scene.app
    }

    fn ask_as(&self, by: &User) -> TestRequest {
        let Scene { app, bob, carol, .. } = &self.scene;
        let body = json!({ "agents": "give", "successor_user_id": carol.id });
        app.post(format!("/api/v1/users/{}/offboard", bob.id)).as_user(by).json(&body)
    }

    fn ask(&self) -> TestRequest {
        self.ask_as(&self.scene.alice)
    }

    /// How often the trail has each action.
    fn ended(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for event in self.app().trail() {
            *times.entry(event["action"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        times
    }
}

fn total(report: &Value) -> u64 {
    Kind::ALL.iter().map(|kind| report[kind.name()]["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_nothing_half_done_and_the_next_request_completes_it() {
    let whole = Leaving::set().await;
    let done = whole.ask().await.ok().json();
    assert_eq!((&done["complete"], total(&done)), (&json!(true), 9));
    let requests = whole.app().faults.take_seen();
    let (shape, ended) = (whole.app().shape(), whole.ended());
    for (skip, request) in requests.iter().enumerate().step_by(stride()) {
        for fault in [Fault::Throttled, Fault::AnswerLost] {
            let when = format!("{fault:?} from request {skip}, a {request}, of {requests:?}");
            let it = Leaving::set().await;
            it.app().faults.from_request(skip, fault);
            let answer = it.ask().await;
            it.app().faults.stop();
            assert_eq!(answer.status, 503, "{when}: {answer}");
            // Each step has its event, or neither is there.
            let again = it.ask().await.ok().json();
            assert_eq!(again["complete"], true, "{when}");
            assert_eq!(it.app().shape(), shape, "{when}");
            assert_eq!(it.ended(), ended, "{when}");
        }
    }
}

#[tokio::test]
async fn a_throttle_and_a_collision_are_waited_for() {
    for faults in [
        vec![Fault::Throttled, Fault::ThroughputExceeded],
        vec![Fault::Conflict; 5],
        vec![Fault::TransactionThrottled, Fault::Conflict],
    ] {
        let whole = Leaving::set().await;
        whole.ask().await.ok();
        let it = Leaving::set().await;
        for skip in 0..8 {
            for fault in &faults {
                it.app().faults.next_after("TransactWriteItems", skip, 1, *fault);
            }
        }
        let done = it.ask().await.ok().json();
        assert_eq!((&done["complete"], total(&done)), (&json!(true), 9), "{faults:?}");
        assert_eq!(it.app().shape(), whole.app().shape(), "{faults:?}");
        assert_eq!(it.ended(), whole.ended(), "{faults:?}");
    }
}

#[tokio::test]
async fn lists_that_end_early_are_read_to_their_end() {
    let it = Leaving::set().await;
    it.app().faults.always_on("Query", Fault::CutShort);
    let done = it.ask().await.ok().json();
    it.app().faults.stop();
    assert_eq!((&done["complete"], total(&done)), (&json!(true), 9));
    assert_eq!(total(&it.ask().await.ok().json()), 0);
}

/// An admin is deactivated while they offboard somebody: what they have done stays done, and the next admin goes on.
#[tokio::test]
async fn an_admin_who_is_stopped_in_the_middle_goes_no_further_and_another_one_completes_it() {
    let it = Leaving::set().await;
    let Scene { app, alice, .. } = &it.scene;
    let dora = app.user("dora").admin().await;
    let whole = Leaving::set().await;
    whole.app().user("dora").admin().await;
    whole.ask().await.ok();
    app.faults.stop_before_next_change();
    let answer = tokio::spawn(std::future::IntoFuture::into_future(it.ask()));
    app.faults.is_stopped().await;
    let off = app.patch(format!("/api/v1/users/{}", alice.id)).as_user(&dora);
    off.json(&json!({ "role": "user" })).await.ok();
    let before = app.contents();
    app.faults.go_on();
    let refused = answer.await.unwrap();
    assert!(refused.refusal().starts_with("403 Nothing was changed: while this was under way"), "{refused}");
    assert_eq!(app.contents(), before);
    let done = it.ask_as(&dora).await.ok().json();
    assert_eq!((&done["complete"], total(&done)), (&json!(true), 9));
}
