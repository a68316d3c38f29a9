//! Every change, with the store failing at each of the requests that the change makes: 503 with
//! `Retry-After`, and either nothing has changed or everything, never a part.

use deputize_tests::{
    TestRequest, TestResponse, faults::Fault, request::USER_ID, store::skips_another_store,
};
use serde_json::json;

use super::changes::{Scene, each_change_by_a_user, each_change_by_another};

fn assert_unavailable(answer: &TestResponse, when: &str) {
    assert_eq!(answer.status, 503, "{when}: {answer}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{when}: {answer}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable", "{when}: {answer}");
    for secret in ["access_token", "client_secret", "\"key\""] {
        assert!(!answer.text.contains(secret), "{when}: {answer}");
    }
}

async fn check(change: impl AsyncFn(&Scene) -> TestRequest) {
    // Without faults.
    let whole = Scene::set().await;
    let events_before = whole.app.trail().len();
    let ask = change(&whole).await;
    whole.app.faults.take_seen();
    ask.await.ok();
    let requests = whole.app.faults.take_seen();
    let (shape, events) = (whole.app.shape(), whole.app.trail().len() - events_before);
    let write = requests
        .iter()
        .rposition(|request| request.ends_with("WriteItems") || request.ends_with("WriteItem"));
    let write = write.expect("a change writes");

    // From one of the requests on, the store does nothing. So the change does nothing either.
    let scene = Scene::set().await;
    let reads = (0..write).map(|skip| (skip, Fault::BEFORE[skip % Fault::BEFORE.len()]));
    for (skip, fault) in reads.chain(Fault::BEFORE.map(|fault| (write, fault))) {
        let when = format!("{fault:?} from request {skip} of {requests:?}");
        let ask = change(&scene).await;
        let (before, trail) = (scene.app.contents(), scene.app.trail().len());
        scene.app.faults.from_request(skip, fault);
        let answer = ask.await;
        scene.app.faults.stop();
        assert_unavailable(&answer, &when);
        assert_eq!(scene.app.contents(), before, "{when}");
        assert_eq!(scene.app.trail().len(), trail, "{when}");
    }

    // The answers are lost, or the store fails after the write. Whatever the caller is told, the change is
    // complete.
    let after = (write + 1..requests.len()).map(|skip| (skip, Fault::Refused));
    for (skip, fault) in std::iter::once((write, Fault::AnswerLost)).chain(after) {
        let when = format!("{fault:?} from request {skip} of {requests:?}");
        let scene = Scene::set().await;
        let trail = scene.app.trail().len();
        let ask = change(&scene).await;
        scene.app.faults.from_request(skip, fault);
        let answer = ask.await;
        scene.app.faults.stop();
        assert_unavailable(&answer, &when);
        assert!(
            requests[write] == "BatchWriteItem" || answer.json()["safe_to_retry"] == false,
            "{when}: {answer}"
        );
        assert_eq!(scene.app.shape(), shape, "{when}");
        assert_eq!(scene.app.trail().len() - trail, events, "{when}");
    }

    let is_transaction = requests[write] == "TransactWriteItems";
    if is_transaction
        && skips_another_store("moto does not know a transaction's token: a repeated one is done twice")
    {
        return;
    }

    // One answer is lost, or the change collides with others. It is tried again, and nothing is done twice.
    let mut passing = vec![vec![Fault::AnswerLost], vec![Fault::AnswerLost, Fault::Throttled]];
    if is_transaction {
        passing.extend([
            vec![Fault::Conflict; 5],
            vec![Fault::AnswerLost, Fault::InProgress],
            vec![Fault::Conflict, Fault::TransactionThrottled, Fault::Conflict, Fault::TimedOut],
        ]);
    }
    for faults in &passing {
        let when = format!("{faults:?} at request {write} of {requests:?}");
        let scene = Scene::set().await;
        let trail = scene.app.trail().len();
        let ask = change(&scene).await;
        scene.app.faults.in_turn(write, faults);
        ask.await.ok();
        assert_eq!(scene.app.shape(), shape, "{when}");
        assert_eq!(scene.app.trail().len() - trail, events, "{when}");
    }

    // The change is done, its answer is lost, and then the store refuses everything. The caller must not be
    // told that nothing was changed.
    if is_transaction {
        let scene = Scene::set().await;
        let ask = change(&scene).await;
        scene.app.faults.in_turn(write, &[Fault::AnswerLost]);
        scene.app.faults.from_request(0, Fault::Throttled);
        let answer = ask.await;
        scene.app.faults.stop();
        assert_unavailable(&answer, "done, and then turned away");
        assert_eq!(answer.json()["safe_to_retry"], false, "{answer}");
        assert_eq!(scene.app.shape(), shape);
    }
}

macro_rules! changes {
    ($($name:ident: |$scene:ident| $ask:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            check(async |$scene: &Scene| $ask).await;
        }
    )*};
}

each_change_by_a_user!(changes);
each_change_by_another!(changes);

#[tokio::test]
async fn a_transaction_that_is_throttled_has_done_nothing() {
    let scene = Scene::set().await;
    let before = scene.app.contents();
    scene.app.faults.always_on("TransactWriteItems", Fault::TransactionThrottled);
    let path = scene.agent("/session-grants/toggle");
    let answer = scene.app.post(path).as_user(&scene.bob).json(&json!({ "server_id": "chat" })).await;
    assert_unavailable(&answer, "a throttled transaction");
    assert_eq!(scene.app.contents(), before);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_waited_for_for_three_seconds() {
    let scene = Scene::set().await;
    scene.app.faults.always(Fault::Silence);
    let started = tokio::time::Instant::now();
    let answer = scene.app.token_for(&scene.bot, &[]).await;
    assert_unavailable(&answer, "silence");
    let waited = started.elapsed().as_millis();
    assert!((2_900..=3_200).contains(&waited), "{waited} ms");
}
