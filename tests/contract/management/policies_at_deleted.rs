//! What a call would have said at a time before something was deleted: as it was then, also if it was restored since. Of
//! what was erased nothing is guessed.

use std::time::Duration;

use deputize_core::{
    agents,
    audit::{Action, Event, RequestContext},
    clock::Timestamp,
    deleted::RESTORABLE_FOR,
    servers,
    table::Key,
    users,
};
use deputize_tests::TestResponse;
use insta::assert_snapshot;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::scenario::Scenario;

const CHECK: &str = "/api/v1/policies/check";
const WHO_COULD: &str = "/api/v1/policies/who-could";

/// What is deleted, and how the table and the trail have it.
struct Thing {
    kind: &'static str,
    id: String,
    key: Key,
    entry: Key,
    /// What the trail shows of it.
    recorded: Value,
    /// Its item.
    item: Value,
    deleted: Action,
    restored: Action,
}

fn recorded(of: &impl Serialize, fields: &[&str]) -> Value {
    let all = serde_json::to_value(of).unwrap();
    let fields = fields.iter().map(|field| ((*field).to_owned(), all[*field].clone()));
    Value::Object(fields.collect::<Map<_, _>>())
}

struct It {
    scenario: Scenario,
}

impl It {
    async fn set() -> Self {
        let scenario = Scenario::start().await;
        scenario.app.server("demo").await;
        scenario.app.policy("all", "permit(principal, action, resource);").await;
        Self { scenario }
    }

    /// A minute later.
    fn now(&self) -> Timestamp {
        self.scenario.app.pass(Duration::from_mins(1));
        let now = self.scenario.app.now();
        self.scenario.app.pass(Duration::from_mins(1));
        now
    }

    async fn bob(&self) -> Thing {
        let Scenario { app, bob, .. } = &self.scenario;
        let user = users::get(&app.core, bob.id).await.unwrap().value;
        let fields =
            ["email", "name", "identities", "role", "active", "epoch", "deactivated_at", "groups", "claims"];
        let key = Key::user(bob.id);
        // As what was kept: deactivated with its deletion.
        let mut item = app.item(&key);
        item["active"] = json!({ "BOOL": false });
        item["epoch"] = json!({ "N": "1" });
        item["deactivated_at"] = json!({ "S": app.now() });
        Thing {
            kind: "user",
            id: bob.id.to_string(),
            entry: Key::user_entry(bob.id),
            recorded: recorded(&user, &fields),
            item,
            key,
            deleted: Action::UserDelete,
            restored: Action::UserRestore,
        }
    }

    async fn bot(&self) -> Thing {
        let Scenario { app, bot, .. } = &self.scenario;
        let account = agents::get(&app.core, bot.id).await.unwrap().value;
        let fields = ["name", "owner_user_id", "owners", "visibility", "active", "shared_grants", "groups"];
        let key = Key::agent(bot.id);
        Thing {
            kind: "agent_account",
            id: bot.id.to_string(),
            entry: Key::agent_entry(bot.id),
            recorded: recorded(&account, &fields),
            item: app.item(&key),
            key,
            deleted: Action::AgentDelete,
            restored: Action::AgentRestore,
        }
    }

    async fn demo(&self) -> Thing {
        let app = &self.scenario.app;
        let id = "demo".parse().unwrap();
        let server = servers::get(&app.core, &id).await.unwrap().value;
        let key = Key::server(&id);
        Thing {
            kind: "server",
            id: id.to_string(),
            entry: Key::server_entry(&id),
            recorded: recorded(&server, &["name", "url", "auth", "pinning", "active"]),
            item: app.item(&key),
            key,
            deleted: Action::ServerDelete,
            restored: Action::ServerRestore,
        }
    }

    async fn record(&self, thing: &Thing, action: Action, before: &Value, after: &Value) {
        let core = &self.scenario.app.core;
        let event = Event::new(core, &RequestContext::default(), action).unwrap();
        let event = event.about(thing.kind, &thing.id).changed(before, after).unwrap();
        core.table.append(&event).await.unwrap();
    }

    /// As the deletion leaves it: the item is kept elsewhere, with an event that has all of it.
    async fn delete(&self, thing: &Thing) {
        let Scenario { app, alice, .. } = &self.scenario;
        let now = app.now();
        let Key { pk, sk } = Key::deleted(thing.kind, &thing.id);
        app.put_item(&json!({
            "pk": { "S": pk }, "sk": { "S": sk }, "rev": { "N": "1" },
            "kind": { "S": thing.kind }, "of": { "S": thing.kind },
            "id": { "S": thing.id }, "deleted_at": { "S": now }, "deleted_by": { "S": alice.id },
            "deleted_as": { "S": "admin" }, "restorable_until": { "S": now.plus(RESTORABLE_FOR) },
            "item": { "M": thing.item },
        }));
        for key in [&thing.key, &thing.entry] {
            app.remove(&key.pk, &key.sk);
        }
        self.record(thing, thing.deleted, &thing.recorded, &Value::Null).await;
    }

    async fn restore(&self, thing: &Thing) {
        let app = &self.scenario.app;
        self.erase(thing);
        app.put_item(&thing.item);
        let entry = json!({
            "pk": { "S": thing.entry.pk }, "sk": { "S": thing.entry.sk }, "rev": { "N": "1" },
            "user_id": { "S": thing.id }, "agent_account_id": { "S": thing.id },
        });
        app.put_item(&entry);
        let mut is = thing.recorded.clone();
        if thing.kind == "user" {
            (is["active"], is["epoch"], is["deactivated_at"]) = (json!(false), json!(1), json!(app.now()));
        }
        self.record(thing, thing.restored, &Value::Null, &is).await;
    }

    fn erase(&self, thing: &Thing) {
        let Key { pk, sk } = Key::deleted(thing.kind, &thing.id);
        self.scenario.app.remove(&pk, &sk);
    }

    async fn ask(&self, path: &str, at: Timestamp) -> TestResponse {
        let Scenario { app, alice, bob, bot, .. } = &self.scenario;
        let mut body = json!({ "server_id": "demo", "tool_name": "t", "at": at });
        if path == CHECK {
            (body["agent_account_id"], body["user_id"]) = (json!(bot.id), json!(bob.id));
        }
        app.post(path).as_user(alice).json(&body).await
    }

    /// The answers of that time, in a line.
    async fn told(&self, at: Timestamp) -> String {
        let check = self.ask(CHECK, at).await;
        let check = match check.status.as_u16() {
            200 => check.json()["decision"].as_str().unwrap().to_owned(),
            _ => check.refusal(),
        };
        let who = self.ask(WHO_COULD, at).await;
        let who = match who.status.as_u16() {
            200 => {
                let who = who.json();
                let count = |kind: &str| who[kind]["count"].clone();
                let lost = who["notes"].as_array().unwrap().iter();
                let lost = lost
                    .filter(|note| note.as_str().unwrap().starts_with("It is not known of all"))
                    .map(|note| format!("; {note}"));
                let counted = [count("people"), count("agents"), count("on_behalf_of")];
                format!("{counted:?}{}", lost.collect::<String>()).replace("Number", "")
            }
            _ => who.refusal(),
        };
        self.scenario.app.shown(&format!("{check} {who}"))
    }
}

/// What each time tells: before the deletion, while it was deleted, after it was restored, and once it is erased.
async fn life_of(it: &It, thing: &Thing) -> String {
    let before = it.now();
    it.delete(thing).await;
    let deleted = it.now();
    let mut lines = vec![
        format!("deleted, before: {}", it.told(before).await),
        format!("deleted, since then: {}", it.told(deleted).await),
    ];
    it.restore(thing).await;
    let restored = it.now();
    lines.push(format!("restored, before: {}", it.told(before).await));
    lines.push(format!("restored, between: {}", it.told(deleted).await));
    lines.push(format!("restored, since then: {}", it.told(restored).await));
    it.delete(thing).await;
    lines.push(format!("deleted again, before: {}", it.told(before).await));
    it.erase(thing);
    lines.push(format!("erased, before: {}", it.told(before).await));
    lines.push(format!("erased, between: {}", it.told(deleted).await));
    lines.join("\n")
}

#[tokio::test]
async fn a_deleted_user_is_told_as_they_were() {
    let it = It::set().await;
    let bob = it.bob().await;
    assert_snapshot!(life_of(&it, &bob).await, @r#"
    deleted, before: permit [(3), (1), (1)]
    deleted, since then: 404 No such user [(2), (1), (0)]
    restored, before: permit [(3), (1), (1)]
    restored, between: 404 No such user [(2), (1), (0)]
    restored, since then: deny [(2), (1), (0)]
    deleted again, before: permit [(3), (1), (1)]
    erased, before: 400 at: the user [bob] was there at that time, and has been erased since: nothing more is known of it [(2), (1), (0)]; "It is not known of all: 1 of the people of that time have been erased since"
    erased, between: 404 No such user [(2), (1), (0)]
    "#);
}

#[tokio::test]
async fn a_deleted_agent_account_is_told_as_it_was() {
    let it = It::set().await;
    let bot = it.bot().await;
    assert_snapshot!(life_of(&it, &bot).await, @r#"
    deleted, before: permit [(3), (1), (1)]
    deleted, since then: 404 No such agent account [(3), (0), (0)]
    restored, before: permit [(3), (1), (1)]
    restored, between: 404 No such agent account [(3), (0), (0)]
    restored, since then: permit [(3), (1), (1)]
    deleted again, before: permit [(3), (1), (1)]
    erased, before: 400 at: the agent account [bot] was there at that time, and has been erased since: nothing more is known of it [(3), (0), (0)]; "It is not known of all: 1 of the agent accounts of that time have been erased since"
    erased, between: 404 No such agent account [(3), (0), (0)]
    "#);
}

#[tokio::test]
async fn a_deleted_server_is_told_as_it_was() {
    let it = It::set().await;
    let demo = it.demo().await;
    assert_snapshot!(life_of(&it, &demo).await, @"
    deleted, before: permit [(3), (1), (1)]
    deleted, since then: 404 No such server 404 No such server
    restored, before: permit [(3), (1), (1)]
    restored, between: 404 No such server 404 No such server
    restored, since then: permit [(3), (1), (1)]
    deleted again, before: permit [(3), (1), (1)]
    erased, before: 400 at: the server demo was there at that time, and has been erased since: nothing more is known of it 400 at: the server demo was there at that time, and has been erased since: nothing more is known of it
    erased, between: 404 No such server 404 No such server
    ");
}

/// It cannot be restored any more, and it does not matter whether it was erased in time.
#[tokio::test]
async fn what_should_have_been_erased_is_not_known_any_more() {
    let it = It::set().await;
    let (bob, before) = (it.bob().await, it.now());
    it.delete(&bob).await;
    it.scenario.app.pass(RESTORABLE_FOR);
    assert_snapshot!(it.told(before).await, @r#"400 at: the user [bob] was there at that time, and has been erased since: nothing more is known of it [(2), (1), (0)]; "It is not known of all: 1 of the people of that time have been erased since""#);
}

/// What was made and deleted after a time was not there, whatever became of it.
#[tokio::test]
async fn what_was_made_and_erased_since_was_not_there() {
    let it = It::set().await;
    let (bob, before) = (it.bob().await, it.now());
    it.record(&bob, Action::UserCreate, &Value::Null, &bob.recorded).await;
    it.delete(&bob).await;
    it.erase(&bob);
    assert_snapshot!(it.told(before).await, @"404 No such user [(2), (1), (0)]");
}

#[tokio::test]
async fn a_policy_that_was_deleted_restored_or_erased_is_judged_as_it_was() {
    let it = It::set().await;
    let app = &it.scenario.app;
    let text = "forbid(principal, action, resource);";
    let policy = app.policy("none", text).await;
    let shown = json!({ "name": "none", "text": text });
    let record = async |action: Action, before: &Value, after: &Value| {
        let event = Event::new(&app.core, &RequestContext::default(), action).unwrap();
        app.core.table.append(&event.about("policy", policy).changed(before, after).unwrap()).await.unwrap();
    };
    let mut lines = Vec::new();
    let there = it.now();
    record(Action::PolicyDelete, &shown, &Value::Null).await;
    let gone = it.now();
    record(Action::PolicyRestore, &Value::Null, &shown).await;
    let back = it.now();
    for (when, at) in [("there", there), ("gone", gone), ("back", back)] {
        lines.push(format!("{when}: {}", it.told(at).await));
    }
    let path = format!("/api/v1/policies/{policy}");
    app.delete(path).as_user(&it.scenario.alice).await.ok();
    for (when, at) in [("there, once erased", there), ("gone, once erased", gone)] {
        lines.push(format!("{when}: {}", it.told(at).await));
    }
    assert_snapshot!(lines.join("\n"), @"
    there: deny [(0), (0), (0)]
    gone: permit [(3), (1), (1)]
    back: deny [(0), (0), (0)]
    there, once erased: deny [(0), (0), (0)]
    gone, once erased: permit [(3), (1), (1)]
    ");
}
