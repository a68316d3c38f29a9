//! An event and its entries, when the store fails, and what leaves.

use std::sync::{Arc, Mutex};

use deputize_core::{
    audit::{Action, Event, RequestContext},
    table::Outlet,
};
use deputize_tests::faults::Fault;
use serde_json::{Value, json};

use super::events;
use crate::proxy::Permitted;

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<Value>>);

impl Outlet for Lines {
    fn tell(&self, lines: &[String]) {
        let told = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        self.0.lock().unwrap().extend(told);
    }
}

#[tokio::test]
async fn what_a_batch_leaves_undone_is_written_again_with_its_entries() {
    let it = Permitted::set().await;
    it.app().faults.next("BatchWriteItem", 1, Fault::Unprocessed);
    it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob()).await.ok();
    assert_eq!(events(&it, "server_id=demo&tool=list_repos").await.len(), 1);
    assert_eq!(events(&it, "server_id=demo").await.len(), 1);
}

#[tokio::test]
async fn an_entry_without_its_event_is_left_out() {
    let it = Permitted::set().await;
    it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob()).await.ok();
    let call = events(&it, "action=tool.call").await.remove(0);
    let stored = it.app().trail().into_iter().find(|event| event["id"] == call["id"]).unwrap();
    it.app().remove(stored["pk"].as_str().unwrap(), stored["sk"].as_str().unwrap());
    assert_eq!(events(&it, "server_id=demo&tool=list_repos").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_full_batch_of_events_holds_no_more_items_than_the_store_takes() {
    let it = Permitted::set().await;
    let append = |n: usize| {
        let core = Arc::clone(&it.app().core);
        tokio::spawn(async move {
            let event = Event::new(&core, &RequestContext::default(), Action::ServerProbe).unwrap();
            core.table.append(&event.about("address", n).denied("no")).await
        })
    };
    for task in (0..60).map(append).collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert_eq!(events(&it, "action=server.probe&outcome=denied").await.len(), 60);
}

#[tokio::test]
async fn a_line_leaves_for_each_event_once_it_is_stored_and_for_none_that_is_not() {
    let it = Permitted::set().await;
    let lines = Arc::new(Lines::default());
    it.app().core.table.tell(lines.clone());
    it.app().call("demo", "list_repos", &json!({ "org": "acme" })).as_user(it.bob()).await.ok();
    let groups = json!({ "groups": ["x"] });
    let carol = format!("/api/v1/users/{}", it.scenario.carol.id);
    it.app().patch(carol.as_str()).as_user(&it.scenario.alice).json(&groups).await.ok();
    it.app().faults.always(Fault::Refused);
    it.app().patch(carol).as_user(&it.scenario.alice).json(&json!({ "groups": [] })).await;
    it.app().faults.stop();
    let told = lines.0.lock().unwrap().clone();
    let stored: Vec<Value> = it.app().trail().iter().map(|event| event["id"].clone()).collect();
    let classes: Vec<_> = told.iter().map(|line| line["class_uid"].as_u64().unwrap()).collect();
    assert_eq!(classes, [6003, 3004]);
    assert!(told.iter().all(|line| stored.contains(&line["metadata"]["uid"])));
    assert_eq!(told[1]["unmapped"]["deputize"]["changes"][0]["after"], json!(["x"]));
}
