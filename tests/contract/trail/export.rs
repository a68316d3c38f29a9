//! The trail as a file.

use std::time::Duration;

use deputize_core::audit::{Action, Event, RequestContext};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::events;
use crate::proxy::Permitted;

async fn exported(it: &Permitted, query: &str) -> deputize_tests::TestResponse {
    it.app().get(format!("/api/v1/audit-events/export?{query}")).as_user(&it.scenario.alice).await.ok()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn json_lines_are_the_lists_events_in_either_order() {
    let it = Permitted::set().await;
    for minute in 0..3 {
        it.app().pass(Duration::from_mins(minute));
        it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob()).await.ok();
    }
    let listed = events(&it, "").await;
    let newest = exported(&it, "order=newest").await;
    assert_eq!(newest.header("content-type"), Some("application/jsonl"));
    assert_eq!(lines(&newest.text), listed);
    let mut oldest = lines(&exported(&it, "format=jsonl").await.text);
    let last = oldest.len() - 1;
    let after = oldest[last - 1]["id"].as_str().unwrap().to_owned();
    assert_eq!(lines(&exported(&it, &format!("after={after}")).await.text), oldest[last..]);
    oldest.reverse();
    assert_eq!(oldest, listed);
    let filtered = exported(&it, "server_id=demo&tool=list_repos").await;
    assert_eq!(lines(&filtered.text).len(), 3);
}

#[tokio::test]
async fn a_spreadsheet_runs_nothing_of_the_csv() {
    let it = Permitted::set().await;
    let event = Event::new(&it.app().core, &RequestContext::default(), Action::ServerProbe).unwrap();
    let event = event.about("address", "x").note("=cmd|' /C calc'!A0");
    it.app().core.table.append(&event).await.unwrap();
    let path = "/api/v1/audit-events/export?action=server.probe";
    let csv = it.app().get(path).as_user(&it.scenario.alice).header("accept", "text/csv").await.ok();
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(csv.header("content-disposition"), Some(r#"attachment; filename="audit-events.csv""#));
    assert_snapshot!(it.app().shown(&csv.text.replace('\r', "")), @r#"
    id,at,action,outcome,agent_account_id,user_id,server_id,client_id,credential,token_id,subject,tool,arguments_sha256,policies,credentials_of,grant_id,detail,changes,logged,request_id,source_ip,duration_ms
    "[uuid]","2026-01-15T09:00:00.000Z","server.probe","allowed",,,,,,,"address:x",,,,,,"'=cmd|' /C calc'!A0",,,"[uuid]",,
    "#);
}

#[tokio::test]
async fn users_export_what_they_see_and_a_long_export_is_whole() {
    let it = Permitted::set().await;
    for _ in 0..700 {
        let event = Event::new(&it.app().core, &RequestContext::default(), Action::ServerProbe).unwrap();
        it.app().core.table.append(&event).await.unwrap();
    }
    assert_eq!(lines(&exported(&it, "action=server.probe").await.text).len(), 700);
    let all = exported(&it, "").await;
    assert_eq!(lines(&all.text).len(), it.app().trail().len());
    let bobs = it.app().get("/api/v1/audit-events/export").as_user(it.bob()).await.ok();
    assert!(lines(&bobs.text).iter().all(|event| event["user_id"] == it.bob().id.to_string()));
    let refused = it.app().get("/api/v1/audit-events/export?format=xml").as_user(it.bob()).await;
    assert_eq!(refused.status.as_u16(), 400);
}
