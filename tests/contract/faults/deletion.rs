//! Something is deleted with all that depends on it, and erased, while the store fails: between any two steps, once or for
//! good. Nothing is half changed, and calling again completes it.

use std::time::Duration;

use deputize_core::{
    audit::RequestContext,
    deletion::{self, RESTORABLE_FOR, SETTLES_IN},
};
use deputize_tests::{TestRequest, faults::Fault, store::stride};
use http::StatusCode;
use serde_json::json;

use super::changes::Scene;

fn delete_bob(scene: &Scene) -> TestRequest {
    let Scene { app, alice, bob, .. } = scene;
    app.delete(format!("/api/v1/users/{}?cascade=true", bob.id)).as_user(alice)
}

#[tokio::test]
async fn a_crash_while_a_user_is_deleted_leaves_nothing_half_done_and_the_next_request_completes_it() {
    let whole = Scene::set().await;
    delete_bob(&whole).await.ok();
    let requests = whole.app.faults.take_seen();
    let shape = whole.app.shape();
    for (skip, request) in requests.iter().enumerate().step_by(stride()) {
        for fault in [Fault::Throttled, Fault::AnswerLost] {
            let when = format!("{fault:?} from request {skip}, a {request}, of {requests:?}");
            let it = Scene::set().await;
            it.app.faults.from_request(skip, fault);
            let answer = delete_bob(&it).await;
            it.app.faults.stop();
            assert!([503, 204].contains(&answer.status.as_u16()), "{when}: {answer}");
            assert_eq!(delete_bob(&it).await.status, StatusCode::NO_CONTENT, "{when}");
            assert_eq!(it.app.shape(), shape, "{when}");
        }
    }
}

/// The scene without Bob, the bot and the server, when they are due.
async fn due() -> Scene {
    let scene = Scene::set().await;
    let Scene { app, alice, carol, .. } = &scene;
    // Carol's delegation names another server too.
    app.server("other").await;
    let both = json!({ "server_ids": ["chat", "other"] });
    app.post(scene.agent("/delegations")).as_user(carol).json(&both).await.ok();
    let second = app.agent("second", alice).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", second.id);
    app.post(path).as_user(carol).json(&both).await.ok();
    delete_bob(&scene).await.ok();
    app.delete(scene.agent("?cascade=true")).as_user(alice).await.ok();
    app.delete("/api/v1/servers/chat?cascade=true").as_user(alice).await.ok();
    app.pass(RESTORABLE_FOR + SETTLES_IN + Duration::from_secs(1));
    app.faults.take_seen();
    scene
}

#[tokio::test]
async fn a_crash_while_things_are_erased_loses_nothing_else_and_the_next_run_completes_it() {
    let request = RequestContext::default();
    let whole = due().await;
    let done = deletion::erase_due(&whole.app.core, &request).await.unwrap();
    assert_eq!((done.erased, done.failed, done.unfinished), (3, 0, false));
    let requests = whole.app.faults.take_seen();
    let (shape, events) = (whole.app.shape(), whole.app.trail().len());
    for (skip, name) in requests.iter().enumerate().step_by(stride()) {
        for fault in [Fault::Throttled, Fault::AnswerLost] {
            let when = format!("{fault:?} from request {skip}, a {name}, of {requests:?}");
            let it = due().await;
            it.app.faults.from_request(skip, fault);
            let broken = deletion::erase_due(&it.app.core, &request).await;
            it.app.faults.stop();
            assert!(broken.is_err(), "{when}: {broken:?}");
            let again = deletion::erase_due(&it.app.core, &request).await.unwrap();
            assert_eq!((again.failed, again.unfinished), (0, false), "{when}");
            assert_eq!(it.app.shape(), shape, "{when}");
            assert_eq!(it.app.trail().len(), events, "{when}");
        }
    }
}

/// Two runs at once, as when one is late, and an admin who asks for it at the same time.
#[tokio::test]
async fn several_runs_at_once_erase_each_thing_once() {
    let it = due().await;
    let request = RequestContext::default();
    let run = || deletion::erase_due(&it.app.core, &request);
    let by_hand = it.app.delete("/api/v1/deleted/server/chat").as_user(&it.alice);
    let (first, second, by_hand) = tokio::join!(run(), run(), std::future::IntoFuture::into_future(by_hand));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.failed, second.failed), (0, 0));
    assert!(by_hand.status.is_success(), "{by_hand}");
    deletion::erase_due(&it.app.core, &request).await.unwrap();
    let trail = it.app.trail();
    let erased = trail.iter().filter(|event| event["action"].as_str().unwrap().contains(".erase"));
    assert_eq!(erased.count(), 3);
}
