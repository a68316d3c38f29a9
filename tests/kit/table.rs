//! The whole table, to see what a request has changed.

use std::collections::{BTreeMap, HashMap};

use deputize_core::{clock::Timestamp, table::Key};
use dynoxide::types::AttributeValue;
use serde_json::{Value, json};

use crate::{TestApp, TestResponse, store::TestStore};

/// Every item that is not an audit event, by its key.
pub type Contents = BTreeMap<String, Value>;

impl TestApp {
    /// All items, as the engine's JSON by `pk sk`.
    fn items(&self) -> BTreeMap<String, Value> {
        let mut items = BTreeMap::new();
        let mut request = json!({ "TableName": self.store.table() });
        loop {
            let mut page = self.store.ask("Scan", request.clone());
            for item in page["Items"].take().as_array_mut().unwrap().drain(..) {
                let key =
                    format!("{} {}", item["pk"]["S"].as_str().unwrap(), item["sk"]["S"].as_str().unwrap());
                items.insert(key, item);
            }
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"].take();
            if request["ExclusiveStartKey"].is_null() {
                return items;
            }
        }
    }

    /// How often an item was written; 0 if it does not exist.
    pub fn revision(&self, key: &Key) -> u64 {
        self.item(key)["rev"]["N"].as_str().map_or(0, times_written)
    }

    /// When the store may remove an item.
    pub fn removed_at(&self, key: &Key) -> Option<Timestamp> {
        let seconds = self.item(key)["ttl"]["N"].as_str()?.parse().unwrap();
        Some(Timestamp::from_seconds(seconds))
    }

    /// The root key under which the secret in an item's field is sealed.
    pub fn root_of(&self, key: &Key, field: &str) -> String {
        self.item(key)[field]["M"]["root"]["S"].as_str().unwrap().to_owned()
    }

    /// The text in an item's field.
    pub fn text(&self, key: &Key, field: &str) -> String {
        self.item(key)[field]["S"].as_str().unwrap().to_owned()
    }

    pub fn item(&self, key: &Key) -> Value {
        item(&self.store, key)
    }

    /// Removes a field from an item, as if the item was written before the field existed.
    pub fn forget(&self, key: &Key, field: &str) {
        let mut item = self.item(key);
        item.as_object_mut().unwrap().remove(field).unwrap();
        self.put_item(&item);
    }

    /// Sets a field of an item, in the engine's JSON, as if the item was written at another time.
    pub fn set(&self, key: &Key, field: &str, value: Value) {
        let mut item = self.item(key);
        item[field] = value;
        self.put_item(&item);
    }

    /// Copies an item to another key, changed in the engine's JSON.
    pub fn copy(&self, from: &Key, to: &Key, change: impl FnOnce(&mut Value)) {
        let mut item = self.item(from);
        item["pk"]["S"] = to.pk.clone().into();
        item["sk"]["S"] = to.sk.clone().into();
        change(&mut item);
        self.put_item(&item);
    }

    /// Removes an item from the table, as if it had expired.
    pub fn remove(&self, pk: &str, sk: &str) {
        let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        self.store.ask("DeleteItem", json!({ "TableName": self.store.table(), "Key": key }));
    }

    /// Adds copies of items, thousands at once: in each, these texts are replaced by others. The embedded store only.
    pub fn copy_items(&self, items: &[Value], copies: impl IntoIterator<Item = [(String, String); 2]>) {
        let items: Vec<HashMap<String, AttributeValue>> =
            items.iter().map(|item| serde_json::from_value(item.clone()).unwrap()).collect();
        let copy = |item: &HashMap<String, AttributeValue>, texts: &[(String, String); 2]| {
            let mut copy = item.clone();
            for value in copy.values_mut() {
                if let AttributeValue::S(text) = value {
                    *text =
                        texts.iter().fold(std::mem::take(text), |text, (from, to)| text.replace(from, to));
                }
            }
            copy
        };
        let copies = copies
            .into_iter()
            .flat_map(|texts| items.iter().map(move |item| copy(item, &texts)).collect::<Vec<_>>());
        let options = dynoxide::ImportOptions::default();
        self.store.embedded().import_items(&self.store.table(), copies.collect(), options).unwrap();
    }

    /// Removes the entries of sorted lists and of servers' and users' lists, and the note that these are complete: as a
    /// deployment is that was updated from a version without them.
    pub fn forget_entries_of_lists(&self) {
        let of_lists = ["USERS#", "AGENTS#", "SERVERS#", "AT_SERVER#", "CONTROL#LISTS"];
        for item in self.contents().into_values() {
            let [pk, sk] = ["pk", "sk"].map(|name| item[name]["S"].as_str().unwrap().to_owned());
            let is_given_grant = pk.starts_with("USER#") && sk.starts_with("GRANT#");
            if is_given_grant || of_lists.iter().any(|list| pk.starts_with(list)) {
                self.remove(&pk, &sk);
            }
        }
    }

    /// Puts an item as the engine's JSON.
    pub fn put_item(&self, item: &Value) {
        self.store.ask("PutItem", json!({ "TableName": self.store.table(), "Item": item }));
    }

    /// All items with this sort key.
    pub fn items_at(&self, sk: &str) -> Vec<Value> {
        self.items().into_values().filter(|item| item["sk"]["S"] == sk).collect()
    }

    /// Leaves the audit trail as it was before events had entries.
    pub fn remove_entries(&self) {
        for item in self.items().into_values() {
            if matches!(item["kind"]["S"].as_str(), Some("audit entry" | "beginning of audit entries")) {
                self.remove(item["pk"]["S"].as_str().unwrap(), item["sk"]["S"].as_str().unwrap());
            }
        }
    }

    /// Everything except the audit trail. Equal before and after a request that changes nothing.
    pub fn contents(&self) -> Contents {
        let items = self.items().into_iter().filter(|(key, _)| !key.starts_with("AUDIT#"));
        items.collect()
    }

    /// The kinds of items outside the audit trail, how often each was written, and its fields. Equal for two
    /// tables with the same history.
    pub fn shape(&self) -> Vec<String> {
        let shape = |item: Value| {
            let mut fields: Vec<String> = item
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| {
                    let telling = matches!(name.as_str(), "kind" | "active" | "generation" | "policies");
                    match value["N"].as_str() {
                        Some(rev) if name == "rev" => format!("written {} times", times_written(rev)),
                        _ if telling => format!("{name}={value}"),
                        _ => name.clone(),
                    }
                })
                .collect();
            fields.sort();
            fields.join(" ")
        };
        let mut shapes: Vec<String> = self.contents().into_values().map(shape).collect();
        shapes.sort();
        shapes
    }

    /// The audit trail, oldest first.
    pub fn trail(&self) -> Vec<Value> {
        let items = self.items().into_iter().filter(|(_, item)| item["kind"]["S"] == "audit event");
        let mut events: Vec<Value> = items.map(|(_, item)| plain(&item)).collect();
        events.sort_by_key(|event| event["id"].as_str().unwrap().to_owned());
        events
    }

    /// The only event of a request, as a snapshot shows it: one field on each line, without the fields that
    /// every event has, and without `changes`. An event that a user's subject was bound does not count.
    #[track_caller]
    pub fn event_of(&self, answer: &TestResponse) -> String {
        let request = answer.header("x-request-id").expect("every answer has a request id");
        let mut trail = self.trail();
        trail.retain(|event| event["request_id"] == request);
        if trail.len() > 1 {
            trail.retain(|event| event["action"] != "user.bind_identity");
        }
        assert_eq!(trail.len(), 1, "{trail:?}");
        self.show_event(&trail[0])
    }

    fn show_event(&self, event: &Value) -> String {
        let fields = event.as_object().unwrap().iter().filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "pk" | "sk" | "kind" | "rev" | "ttl" | "id" | "at" | "request_id" | "duration_ms" | "changes"
            )
        });
        let shown = |value: &Value| match value.as_array() {
            // Ids are random, and so is their order.
            Some(list) => {
                let mut list: Vec<String> =
                    list.iter().map(|item| self.names.show(&item.to_string())).collect();
                list.sort();
                list.join(" ")
            }
            None => self.names.show(&value.to_string()),
        };
        let mut lines: Vec<String> =
            fields.map(|(name, value)| format!("{name}: {}", shown(value))).collect();
        lines.sort();
        lines.join("\n")
    }
}

/// An item in the engine's JSON. `null` if it does not exist.
pub(crate) fn item(store: &TestStore, key: &Key) -> Value {
    let request = json!({
        "TableName": store.table(), "ConsistentRead": true,
        "Key": { "pk": { "S": key.pk }, "sk": { "S": key.sk } },
    });
    store.ask("GetItem", request)["Item"].take()
}

/// How often an item with this revision was written. The last three hexadecimal digits say it.
pub fn times_written(rev: &str) -> u64 {
    rev.parse::<u64>().unwrap() & 0xfff
}

/// The engine's JSON (`{"S": "text"}`) to JSON.
fn plain(item: &Value) -> Value {
    // The store keeps no order.
    let fields: BTreeMap<&String, &Value> = item.as_object().unwrap().iter().collect();
    fields.into_iter().map(|(name, value)| (name.clone(), plain_value(value))).collect()
}

fn plain_value(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "N" => inner.as_str().unwrap().parse::<i64>().unwrap().into(),
        "L" => inner.as_array().unwrap().iter().map(plain_value).collect(),
        "M" => plain(inner),
        "NULL" => Value::Null,
        _ => inner.clone(),
    }
}
