//! A person who is erased is taken out of the trail, and the trail stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use deputize_core::{
    Error,
    audit::{Action, Event, RequestContext, SourceIp},
    table::Key,
    trail::pseudonymize,
};
use deputize_service::edge;
use deputize_tests::{TestApp, faults::Fault, store::stride};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::proxy::Permitted;

/// Where Bob's requests come from, and where Alice's.
const HIS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const HERS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

/// Bob did this and that, and was changed by Alice: by which the trail knows his former address, his name, what issuers
/// call him, what he called his API key, and his address in the network.
async fn a_life() -> Permitted {
    let it = Permitted::set().await;
    let (app, alice, bob) = (it.app(), &it.scenario.alice, it.bob());
    let his = || {
        app.pass(Duration::from_secs(1));
        edge::SourceIp(HIS)
    };
    let hers = || {
        app.pass(Duration::from_secs(1));
        edge::SourceIp(HERS)
    };
    let path = format!("/api/v1/users/{}", bob.id);
    for change in [
        json!({ "email": "robert@acme.test", "name": "Robert Jones" }),
        json!({ "identities": [{ "issuer": app.login.url(), "subject": "rj-7" }] }),
        json!({ "email": "bob@acme.test", "groups": ["staff"] }),
    ] {
        app.patch(&path).as_user(alice).with(hers()).json(&change).await.ok();
    }
    let carol = format!("/api/v1/users/{}", it.scenario.carol.id);
    app.patch(carol).as_user(alice).with(hers()).json(&json!({ "name": "Carol" })).await.ok();
    let named = json!({ "name": "Bob's laptop" });
    let key = app.post("/api/v1/api-keys").as_user(bob).with(his()).json(&named).await.ok().field("id");
    let key = format!("/api/v1/users/{}/api-keys/{key}", bob.id);
    app.delete(key).as_user(alice).with(hers()).await.ok();
    let obo = app.obo(it.bot(), bob).await;
    let call = || app.call("demo", "list_repos", &json!({ "org": "acme-corp" })).bearer(&obo).with(his());
    call().await.ok();
    // What a server says about him, by a former address.
    app.pass(Duration::from_secs(1));
    let said = Event {
        user_id: Some(bob.id),
        source_ip: Some(SourceIp::Known(HIS)),
        ..new_event(app, Action::ToolCall).failed("The MCP server: no mailbox for ROBERT@acme.test")
    };
    app.core.table.append(&said).await.unwrap();
    it
}

fn new_event(app: &TestApp, action: Action) -> Event {
    Event::new(&app.core, &RequestContext::default(), action).unwrap()
}

/// Many calls for Bob.
async fn calls(it: &Permitted, count: usize) {
    let call = Event {
        user_id: Some(it.bob().id),
        source_ip: Some(SourceIp::Known(HIS)),
        ..new_event(it.app(), Action::ToolList)
    };
    let appended = (0..count).map(|_| it.app().core.table.append(&call));
    futures::future::try_join_all(appended).await.unwrap();
}

async fn erase(it: &Permitted) -> Result<bool, Error> {
    pseudonymize(&it.app().core, it.bob().id, || true).await
}

/// The trail's items without how often they were written, by id.
fn trail(it: &Permitted) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for mut event in it.app().trail() {
        event.as_object_mut().unwrap().remove("rev");
        all.insert(event["id"].as_str().unwrap().to_owned(), event);
    }
    all
}

const NAMES: [&str; 6] = ["robert", "jones", "bob", "rj-7", "laptop", "192.0.2.1"];

/// How many events name him.
fn naming(it: &Permitted) -> usize {
    let names = |event: &&Value| {
        let text = event.to_string().to_lowercase();
        NAMES.iter().any(|name| text.contains(name))
    };
    trail(it).values().filter(names).count()
}

#[tokio::test]
async fn nothing_in_the_trail_says_who_an_erased_person_was_and_all_else_is_as_it_was() {
    let it = a_life().await;
    let (before, count) = (trail(&it), naming(&it));
    assert!(count >= 7, "{count}");
    assert!(erase(&it).await.unwrap());
    let after = trail(&it);
    assert_eq!(naming(&it), 0, "{after:#?}");
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let mut changed = String::new();
    for (id, was) in &before {
        let (was, is) = (was.as_object().unwrap(), after[id].as_object().unwrap());
        assert_eq!(was.keys().collect::<Vec<_>>(), is.keys().collect::<Vec<_>>());
        for (field, value) in is.iter().filter(|(field, value)| was[*field] != **value) {
            let action = was["action"].as_str().unwrap();
            changed += &it.app().shown(&format!("{action} {field}: {value}\n"));
        }
    }
    assert_snapshot!(changed);
    let of_carol = format!("user:{}", it.scenario.carol.id);
    let of_carol = after.values().find(|event| event["subject"] == *of_carol).unwrap();
    assert_eq!(of_carol["changes"][0]["after"], "Carol");
    assert_eq!(of_carol["source_ip"], HERS.to_string());
}

#[tokio::test]
async fn readers_of_the_trail_see_that_something_was_there() {
    let it = a_life().await;
    erase(&it).await.unwrap();
    let (app, alice) = (it.app(), &it.scenario.alice);
    let query = format!("user_id={}&action=api_key.create", it.bob().id);
    let listed = app.get(format!("/api/v1/audit-events?{query}")).as_user(alice).await.ok().json();
    assert_eq!((&listed[0]["source_ip"], listed.as_array().unwrap().len()), (&json!("erased"), 1));
    let name = listed[0]["changes"].as_array().unwrap().iter().find(|change| change["field"] == "name");
    assert_eq!(name.unwrap(), &json!({ "field": "name", "before": null, "after": "erased" }));
    let csv = format!("/api/v1/audit-events/export?{query}&format=csv");
    assert!(app.get(csv).as_user(alice).await.ok().text.contains("\"erased\""));
    app.pass(Duration::from_mins(5));
    let feed = app.get("/api/v1/audit-events/feed?limit=1000").as_user(alice).await.ok().json();
    assert!(feed.to_string().contains("\"source_ip\":\"erased\""));
}

#[tokio::test]
async fn it_breaks_off_between_any_two_requests_and_goes_on() {
    let whole = a_life().await;
    calls(&whole, 120).await;
    whole.app().faults.take_seen();
    erase(&whole).await.unwrap();
    let requests = whole.app().faults.take_seen();
    assert!(requests.len() > 8, "{requests:?}");
    for skip in (0..requests.len()).step_by(stride()) {
        for fault in [Fault::Throttled, Fault::AnswerLost] {
            let when = format!("{fault:?} from request {skip} of {requests:?}");
            let it = a_life().await;
            calls(&it, 120).await;
            let count = trail(&it).len();
            it.app().faults.from_request(skip, fault);
            let broke_off = erase(&it).await;
            it.app().faults.stop();
            assert!(broke_off.is_err(), "{when}");
            assert!(erase(&it).await.unwrap(), "{when}");
            assert_eq!((trail(&it).len(), naming(&it)), (count, 0), "{when}");
        }
    }
}

/// As on Lambda, where a request has little time. What was done is not looked at again.
#[tokio::test]
async fn with_little_time_each_call_goes_on_where_the_one_before_stopped() {
    let it = a_life().await;
    calls(&it, 600).await;
    it.app().pass(Duration::from_hours(1));
    let with_little_time = async || {
        let looks = AtomicUsize::new(0);
        let has_time = || looks.fetch_add(1, Ordering::Relaxed) < 3;
        pseudonymize(&it.app().core, it.bob().id, has_time).await.unwrap()
    };
    let mut left = vec![naming(&it)];
    while !with_little_time().await {
        left.push(naming(&it));
        assert!(left.len() < 10, "it does not come further: {left:?}");
    }
    assert_eq!(naming(&it), 0);
    assert!(left.len() == 3 && left.is_sorted_by(|before, after| before > after), "{left:?}");
    assert!(with_little_time().await, "it is not looked at again");
}

#[tokio::test]
async fn a_hundred_events_cost_three_requests_and_clean_ones_two() {
    let it = a_life().await;
    let few = it.app().round_trips(erase(&it)).await.1;
    assert_eq!(few, [("BatchGetItem", 5), ("Query", 4), ("TransactWriteItems", 3)]);
    let it = a_life().await;
    calls(&it, 2 * 98).await;
    let (done, many) = it.app().round_trips(erase(&it)).await;
    assert!(done.unwrap());
    assert_eq!(many, [("BatchGetItem", 7), ("Query", 6), ("TransactWriteItems", 5)]);
    // The position that is kept is ten minutes behind, since the index may be.
    let again = it.app().round_trips(erase(&it)).await.1;
    assert_eq!(again, [("BatchGetItem", 7), ("Query", 6), ("TransactWriteItems", 1)]);
    it.app().pass(Duration::from_hours(1));
    erase(&it).await.unwrap();
    let later = it.app().round_trips(erase(&it)).await.1;
    assert_eq!(later, [("BatchGetItem", 2), ("Query", 4)]);
}

#[tokio::test]
async fn an_event_that_expires_meanwhile_is_not_put_back() {
    let it = a_life().await;
    let expiring = it.app().trail().into_iter().find(|event| event["action"] == "api_key.create").unwrap();
    let [pk, sk] = ["pk", "sk"].map(|name| expiring[name].as_str().unwrap());
    let count = trail(&it).len();
    it.app().faults.stop_before_next_change();
    let remove = async {
        it.app().faults.is_stopped().await;
        it.app().remove(pk, sk);
        it.app().faults.go_on();
    };
    let (done, ()) = tokio::join!(erase(&it), remove);
    assert!(done.unwrap());
    assert_eq!((trail(&it).len(), naming(&it)), (count - 1, 0));
}

#[tokio::test]
async fn an_event_keeps_its_end_and_what_a_later_version_wrote() {
    let it = a_life().await;
    let event = it.app().trail().into_iter().find(|event| event["action"] == "tool.call").unwrap();
    let [pk, sk] = ["pk", "sk"].map(|name| event[name].as_str().unwrap().to_owned());
    let key = Key { pk, sk };
    // As if it was stored while another retention was configured.
    it.app().set(&key, "ttl", json!({ "N": "1999999999" }));
    let later =
        json!({ "M": { "a": { "L": [{ "N": "1" }, { "S": "b" }, { "NULL": true }, { "BOOL": true }] } } });
    it.app().set(&key, "later", later.clone());
    let before = it.app().item(&key);
    erase(&it).await.unwrap();
    let after = it.app().item(&key);
    assert_eq!((&after["ttl"]["N"], &after["later"]), (&json!("1999999999"), &later));
    assert_eq!(after["source_ip"]["S"], "erased");
    let fields = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(fields(&before), fields(&after));
}

#[tokio::test]
async fn two_at_once_lose_nothing_and_both_come_to_the_end() {
    let it = a_life().await;
    calls(&it, 150).await;
    let count = trail(&it).len();
    it.app().faults.shuffle();
    let (one, other) = tokio::join!(erase(&it), erase(&it));
    assert_eq!((one.unwrap(), other.unwrap()), (true, true));
    assert_eq!((trail(&it).len(), naming(&it)), (count, 0));
}

#[tokio::test]
async fn an_event_that_came_later_is_taken_by_the_next_call() {
    let it = a_life().await;
    erase(&it).await.unwrap();
    calls(&it, 1).await;
    assert_eq!(naming(&it), 1);
    assert!(erase(&it).await.unwrap());
    assert_eq!(naming(&it), 0);
}

#[tokio::test]
async fn lists_that_end_early_are_read_to_their_end() {
    let it = a_life().await;
    calls(&it, 150).await;
    it.app().faults.always_on("Query", Fault::CutShort);
    let done = erase(&it).await;
    it.app().faults.stop();
    assert!(done.unwrap());
    assert_eq!(naming(&it), 0);
}

/// A transaction takes 4 MB (Amazon DynamoDB Developer Guide, "Transactions").
#[tokio::test]
async fn events_that_are_large_are_written_some_at_a_time() {
    let it = a_life().await;
    let text = "x".repeat(60_000);
    let large = Event {
        user_id: Some(it.bob().id),
        source_ip: Some(SourceIp::Known(HIS)),
        ..new_event(it.app(), Action::ToolList)
    };
    let large = large.changed(&json!({ "text": text }), &json!({ "text": format!("{text}y") })).unwrap();
    for _ in 0..40 {
        it.app().core.table.append(&large).await.unwrap();
    }
    it.app().faults.take_committed();
    assert!(erase(&it).await.unwrap());
    let committed = it.app().faults.take_committed();
    assert!(committed.iter().all(|change| change.to_string().len() < 4_000_000));
    assert_eq!(naming(&it), 0);
}
