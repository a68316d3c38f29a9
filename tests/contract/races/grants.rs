//! 200 toggles and creations on one pair of agent account and server, by 20 grantors.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use deputize_tests::{TestResponse, User, store::skips_another_store, table::times_written};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    grants::Connected,
    model::{Outcome, Pair, Step},
};

/// How many of them race. All 200 at the same time would only lose races, on a busy machine for longer than a
/// request keeps trying.
const AT_ONCE: usize = 50;

/// A request and its result.
struct Done {
    grantor: usize,
    step: Step,
    answer: TestResponse,
    /// The number of committed changes of the pair when the request was sent, and when it was answered.
    before: u64,
    after: u64,
}

/// The changes of the pair in the order in which they were committed: each wrote the pair's next revision.
fn serial_order(committed: &[Value]) -> BTreeMap<u64, String> {
    let of_kind = |transaction: &Value, kind: &str, field: &str, form: &str| {
        let items = transaction["TransactItems"].as_array().unwrap();
        let item = items.iter().map(|item| &item["Put"]["Item"]).find(|item| item["kind"]["S"] == kind)?;
        item[field][form].as_str().map(str::to_owned)
    };
    let changes = committed.iter().filter_map(|transaction| {
        let rev = of_kind(transaction, "session grant pair", "rev", "N")?;
        Some((times_written(&rev), of_kind(transaction, "audit event", "request_id", "S").unwrap()))
    });
    changes.collect()
}

fn outcome(done: &Done, made: bool) -> Outcome {
    let body = done.answer.json();
    match done.answer.status.as_u16() {
        404 => Outcome::NotFound,
        200 | 201 => {
            assert_eq!(body["is_active"], true, "{}", done.answer);
            let shared = body["shared"].as_bool().unwrap();
            if made { Outcome::Made { shared } } else { Outcome::Kept { shared } }
        }
        _ => panic!("{:?}: {}", done.step, done.answer),
    }
}

/// Watches what a user sees until the end: never more than one shared grant.
async fn watch(it: Arc<Connected>, viewer: User, ended: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !ended.load(Ordering::SeqCst) {
        let list = it.seen_by(&viewer).await;
        assert!(list.lines().filter(|line| line.contains(" shared ")).count() <= 1, "{list}");
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_toggles_and_creations_never_leave_two_shared_grants_and_match_a_serial_order() {
    if skips_another_store("moto is so slow that changes meet for longer than they are repeated") {
        return;
    }
    let it = Arc::new(Connected::set().await);
    let mut grantors = Vec::new();
    for n in 0..20 {
        let user = it.app().user(&format!("u{n}")).await;
        it.app().connect(&user, &it.chat).await;
        grantors.push(user);
    }
    it.app().faults.take_committed();
    it.app().faults.shuffle();

    let ended = Arc::new(AtomicBool::new(false));
    let viewers = [&it.scenario.alice, &grantors[0], &grantors[1]].map(Clone::clone);
    let watching = viewers.map(|viewer| tokio::spawn(watch(Arc::clone(&it), viewer, Arc::clone(&ended))));
    let answered = Arc::new(AtomicU64::new(0));
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let tasks: Vec<_> = (0..200_usize)
        .map(|n| {
            let (it, answered, at_once) = (Arc::clone(&it), Arc::clone(&answered), Arc::clone(&at_once));
            let grantor = n % 20;
            let user = grantors[grantor].clone();
            let step = match (n / 20 + grantor) % 5 {
                0 => Step::Create { shared: false },
                1 => Step::Create { shared: true },
                _ => Step::Toggle,
            };
            tokio::spawn(async move {
                let _turn = at_once.acquire().await.unwrap();
                let before = it.committed_changes();
                let answer = match step {
                    Step::Create { shared } => it.create(&user, shared).await,
                    _ => it.toggle(&user).await,
                };
                let after = it.committed_changes();
                answered.fetch_add(1, Ordering::SeqCst);
                Done { grantor, step, answer, before, after }
            })
        })
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    ended.store(true, Ordering::SeqCst);
    for watcher in watching {
        assert!(watcher.await.unwrap() > 0);
    }
    assert_eq!(answered.load(Ordering::SeqCst), 200);

    let order = serial_order(&it.app().faults.take_committed());
    check_serial_order(&it, &grantors, done, &order).await;
}

async fn check_serial_order(
    it: &Connected,
    grantors: &[User],
    done: Vec<Done>,
    order: &BTreeMap<u64, String>,
) {
    assert!(order.len() > 20, "only {} changes", order.len());
    assert!(order.keys().copied().eq(1..=order.len() as u64), "every change has a revision of its own");
    let mut by_request: BTreeMap<String, Done> =
        done.into_iter().map(|done| (done.answer.header("x-request-id").unwrap().to_owned(), done)).collect();

    // The requests that changed the pair, replayed in order on the model.
    let mut states = vec![Pair::default()];
    let mut ids: BTreeMap<usize, String> = BTreeMap::new();
    for (revision, request) in order {
        let done = by_request.remove(request).expect("each change is somebody's, and once");
        assert!(done.before < *revision && *revision <= done.after, "a change outside its request");
        let mut model = states.last().unwrap().clone();
        let (expected, changed) = model.take(done.grantor, done.step);
        assert!(changed, "{:?} at {revision} changed nothing in the model", done.step);
        assert_eq!(outcome(&done, matches!(expected, Outcome::Made { .. })), expected, "at {revision}");
        let (number, id) = (model.grant_of(done.grantor).unwrap(), done.answer.field("id"));
        match &expected {
            Outcome::Made { .. } => assert!(ids.insert(number, id).is_none()),
            _ => assert_eq!(ids[&number], id),
        }
        states.push(model);
    }

    // The answer of a request that changed nothing was right at some moment during the request.
    for done in by_request.values() {
        let moments = &states[usize::try_from(done.before).unwrap()..=usize::try_from(done.after).unwrap()];
        let right = moments.iter().any(|state| {
            let (expected, changed) = state.clone().take(done.grantor, done.step);
            !changed && outcome(done, false) == expected
        });
        assert!(right, "{:?} by {} matches no moment: {}", done.step, done.grantor, done.answer);
    }

    // The final state is the model's.
    let model = states.last().unwrap();
    for (grantor, user) in grantors.iter().enumerate() {
        let list = it.seen_by(user).await;
        let own = list
            .lines()
            .find(|line| line.starts_with(&format!("{} ", user.name)) && line.ends_with("active"));
        assert_eq!(own.is_some(), model.grant_of(grantor).is_some(), "{} {list}", user.name);
        let sharing = list.lines().find(|line| line.contains(" shared "));
        let expected = model.sharing().map(|sharing| format!("{} shared active", grantors[sharing].name));
        assert_eq!(sharing, expected.as_deref());
    }
}

impl Connected {
    /// The number of committed changes of the pair.
    fn committed_changes(&self) -> u64 {
        let key = deputize_core::table::Key::pair(self.scenario.bot.id, &self.chat.id);
        self.app().revision(&key)
    }
}
