//! What cannot be recorded is not answered as if it had been.

use deputize_tests::faults::Fault;
use insta::assert_snapshot;
use serde_json::json;

use crate::proxy::Permitted;

#[tokio::test]
async fn a_token_that_cannot_be_recorded_is_not_answered() {
    let it = Permitted::set().await;
    let before = it.app().trail().len();
    it.app().faults.always_on("BatchWriteItem", Fault::ThroughputExceeded);
    assert_snapshot!(it.app().token_for(it.bot(), &[]).await, @r#"
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
    it.app().faults.stop();
    assert_eq!(it.app().trail().len(), before);
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_an_outage_too() {
    let it = Permitted::set().await;
    it.app().faults.always_on("BatchWriteItem", Fault::Refused);
    let wrong = deputize_tests::Agent { secret: "dps_wrong".to_owned(), ..it.bot().clone() };
    assert_eq!(it.app().token_for(&wrong, &[]).await.status, 503);
}

#[tokio::test]
async fn a_call_that_cannot_be_recorded_is_said_to_have_been_made() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    it.app().faults.always_on("BatchWriteItem", Fault::Refused);
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    503 Service Unavailable
    retry-after: 1

    {
      "error": "temporarily_unavailable",
      "error_description": "The tool was called, but the audit trail could not be written, so its result is withheld",
      "detail": "The tool was called, but the audit trail could not be written, so its result is withheld",
      "reason": "tool_call_unrecorded",
      "safe_to_retry": false
    }
    "#);
    assert_eq!(it.mcp.calls(), 1);
}

#[tokio::test]
async fn a_denied_call_that_cannot_be_recorded_has_not_been_made() {
    let it = Permitted::without_policies().await;
    let token = it.app().m2m(it.bot()).await;
    it.app().faults.always_on("BatchWriteItem", Fault::Refused);
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_snapshot!(answer, @r#"
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
    assert_eq!(it.mcp.calls(), 0);
}

#[tokio::test]
async fn a_call_whose_caller_cannot_be_judged_is_not_made() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    it.app().faults.always_on("BatchGetItem", Fault::TimedOut);
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_snapshot!(answer, @r#"
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
    assert_eq!(it.mcp.calls(), 0);
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_stored_once() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    it.app().faults.next("BatchWriteItem", 1, Fault::AnswerLost);
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await.ok();
    // `event_of` requires exactly one event.
    it.app().event_of(&answer);
    assert_eq!(it.mcp.calls(), 1);
}
