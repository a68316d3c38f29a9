//! The whole table, to see what a request has changed.

use std::collections::BTreeMap;

use deputize_core::table::Key;
use dynoxide::actions::scan::ScanRequest;
use serde_json::{Value, json};

use crate::{Answer, TestApp};

/// Every item that is not an audit event, by its key.
pub type Contents = BTreeMap<String, Value>;

impl TestApp {
    /// All items, as the engine's JSON by `pk sk`.
    fn items(&self) -> BTreeMap<String, Value> {
        let mut items = BTreeMap::new();
        let mut start = None;
        loop {
            let request = ScanRequest {
                table_name: "deputize".to_owned(),
                exclusive_start_key: start,
                ..ScanRequest::default()
            };
            let page = self.store.database().scan(request).unwrap();
            for item in page.items.unwrap_or_default() {
                let item = serde_json::to_value(&item).unwrap();
                let key =
                    format!("{} {}", item["pk"]["S"].as_str().unwrap(), item["sk"]["S"].as_str().unwrap());
                items.insert(key, item);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return items;
            }
        }
    }

    /// How often an item has been written; 0 if it is not there.
    pub fn revision(&self, key: &Key) -> u64 {
        self.item(key)["rev"]["N"].as_str().map_or(0, |rev| rev.parse().unwrap())
    }

    /// Which root key the secret in an item's field is sealed under.
    pub fn root_of(&self, key: &Key, field: &str) -> String {
        self.item(key)[field]["M"]["root"]["S"].as_str().unwrap().to_owned()
    }

    /// An item, as the engine's JSON; null if it is not there.
    fn item(&self, key: &Key) -> Value {
        let request = json!({
            "TableName": "deputize", "ConsistentRead": true,
            "Key": { "pk": { "S": key.pk }, "sk": { "S": key.sk } },
        });
        let item = self.store.database().get_item(serde_json::from_value(request).unwrap()).unwrap();
        serde_json::to_value(&item).unwrap()["Item"].take()
    }

    /// Everything but the audit trail: equal before and after what changes nothing.
    pub fn contents(&self) -> Contents {
        let items = self.items().into_iter().filter(|(key, _)| !key.starts_with("AUDIT#"));
        items.collect()
    }

    /// What kinds of item there are outside the audit trail, how often each was written, and the fields that
    /// it has: equal for two tables in which the same was done.
    pub fn shape(&self) -> Vec<String> {
        let shape = |item: Value| {
            let mut fields: Vec<String> = item
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| {
                    let telling =
                        matches!(name.as_str(), "rev" | "kind" | "active" | "generation" | "policies");
                    if telling { format!("{name}={value}") } else { name.clone() }
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
        let items = self.items().into_iter().filter(|(key, _)| key.starts_with("AUDIT#"));
        let mut events: Vec<Value> = items.map(|(_, item)| plain(&item)).collect();
        events.sort_by_key(|event| event["id"].as_str().unwrap().to_owned());
        events
    }

    /// The one event that a request left, as a snapshot shows it: one field a line, without what every
    /// event has.
    #[track_caller]
    pub fn event_of(&self, answer: &Answer) -> String {
        let request = answer.header("x-request-id").expect("every answer has a request id");
        let mut trail = self.trail();
        trail.retain(|event| event["request_id"] == request);
        assert_eq!(trail.len(), 1, "{trail:?}");
        self.show_event(&trail[0])
    }

    fn show_event(&self, event: &Value) -> String {
        let fields = event.as_object().unwrap().iter().filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "pk" | "sk" | "kind" | "rev" | "id" | "at" | "request_id" | "duration_ms"
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

/// The engine's JSON (`{"S": "text"}`) to JSON.
fn plain(value: &Value) -> Value {
    let fields = value.as_object().unwrap();
    let plain_value = |value: &Value| {
        let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "N" => inner.as_str().unwrap().parse::<i64>().unwrap().into(),
            "L" => {
                let texts = inner.as_array().unwrap().iter().map(|item| item["S"].clone());
                texts.collect()
            }
            _ => inner.clone(),
        }
    };
    fields.iter().map(|(name, value)| (name.clone(), plain_value(value))).collect()
}
