//! Retries at once, and admins at once.

use serde_json::json;

use super::others::{at_once, count};
use crate::{
    management::idempotency::{FIRST, KEY, creations, scene},
    scenario::Scenario,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_with_one_key_at_once_are_carried_out_once_and_all_answered_the_same() {
    for n in 0..14 {
        let it = scene().await;
        let (what, ask) = creations(&it).swap_remove(n);
        let before = it.app().trail().len();
        let answers = at_once(it.app(), (0..6).map(|_| ask().header(KEY, FIRST))).await;
        for answer in &answers {
            assert!(answer.status.is_success(), "{what}: {answer}");
            assert_eq!(answer.text, answers[0].text, "{what}");
        }
        let is_new = usize::from(what != "a delegation that is there");
        assert_eq!(it.app().trail().len(), before + is_new, "{what}");
        let notes = it.app().contents().into_keys().filter(|key| key.starts_with("ONCE#")).count();
        assert_eq!(notes, 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_admins_who_change_one_thing_as_they_saw_it_one_is_first_and_the_others_are_told() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    for (path, change) in [
        (format!("/api/v1/users/{}", bob.id), json!({ "name": "Robert" })),
        (format!("/api/v1/agent-accounts/{}", bot.id), json!({ "name": "B" })),
    ] {
        let seen = app.get(&path).as_user(&alice).await.ok().header("etag").unwrap().to_owned();
        let ask = || app.patch(&path).as_user(&alice).json(&change).header("if-match", &seen);
        let answers = at_once(&app, (0..10).map(|_| ask())).await;
        assert_eq!((count(&answers, 200), count(&answers, 412)), (1, 9), "{path}");
    }
}
