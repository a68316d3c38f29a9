//! A lost answer, and a request that is sent again with its key.

use deputize_tests::faults::Fault;
use insta::assert_snapshot;

use crate::management::idempotency::{FIRST, KEY, creations, scene};

const CHANGE: &str = "TransactWriteItems";

#[tokio::test]
async fn a_request_whose_answers_were_lost_is_carried_out_once_however_often_it_is_sent() {
    for n in 0..14 {
        let it = scene().await;
        let (what, ask) = creations(&it).swap_remove(n);
        let before = it.app().trail().len();
        it.app().faults.next(CHANGE, 3, Fault::AnswerLost);
        let unheard = ask().header(KEY, FIRST).await;
        assert_eq!(unheard.status, 503, "{what}: {unheard}");
        assert_eq!(unheard.json()["safe_to_retry"], true, "{what}");
        let made = it.app().contents();
        let again = ask().header(KEY, FIRST).await;
        assert!(again.status.is_success(), "{what}: {again}");
        assert_eq!(it.app().contents(), made, "{what}: it was made before");
        let is_new = usize::from(what != "a delegation that is there");
        assert_eq!(it.app().trail().len(), before + is_new, "{what}");
        assert_eq!(ask().header(KEY, FIRST).await.text, again.text, "{what}");
    }
}

#[tokio::test]
async fn a_request_that_was_turned_away_left_nothing_and_is_carried_out_when_it_is_sent_again() {
    for n in 0..14 {
        let it = scene().await;
        let (what, ask) = creations(&it).swap_remove(n);
        let before = it.app().contents();
        for fault in [Fault::Throttled, Fault::TransactionThrottled] {
            it.app().faults.next(CHANGE, 3, fault);
            let away = ask().header(KEY, FIRST).await;
            assert_eq!((away.status.as_u16(), &away.json()["safe_to_retry"]), (503, &true.into()), "{what}");
            assert_eq!(it.app().contents(), before, "{what}");
        }
        assert!(ask().header(KEY, FIRST).await.status.is_success(), "{what}");
    }
}

#[tokio::test]
async fn a_change_of_which_nobody_heard_the_end_says_that_it_can_be_sent_again() {
    let it = scene().await;
    let (_, ask) = creations(&it).swap_remove(0);
    it.app().faults.next(CHANGE, 3, Fault::AnswerLost);
    assert_snapshot!(ask().header(KEY, FIRST).await, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The service is temporarily unavailable; whether the change was made is unknown, so send it again with the same Idempotency-Key",
      "detail": "The service is temporarily unavailable; whether the change was made is unknown, so send it again with the same Idempotency-Key",
      "reason": "change_undecided",
      "safe_to_retry": true
    }
    "#);
}
