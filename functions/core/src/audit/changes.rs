//! What a change changed: each field that differs, as it was before and as it is after.
//!
//! Each kind of thing has a view of its own for this, `recorded`, which names every field that is shown. So a secret,
//! a hash or a key gets into the trail only if somebody names it there. A view's fields are named as the thing's are.
//! So the state at an earlier time is the present view with the changes since then undone, newest first ([`undo`]).
//!
//! An event is one item, of at most 400 KB. So a value of more than [`MAX_VALUE`] is replaced by its length and its
//! SHA-256, and so is what comes after [`MAX_CHANGES`] of them. A policy's text is always whole.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::Event;
use crate::{
    error::{Error, Result},
    secret::sha256_hex,
    unambiguous_json::sorted,
};

/// The longest value that is kept, in bytes of JSON: a policy of 10 KB whose every byte is escaped.
const MAX_VALUE: usize = 64 * 1024;
/// The most that the values of one event come to, in bytes of JSON.
const MAX_CHANGES: usize = 2 * MAX_VALUE;

/// A field of the thing that was changed. `null` before it was made, and after it was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    pub field: String,
    #[serde(default, deserialize_with = "in_order")]
    pub before: Value,
    #[serde(default, deserialize_with = "in_order")]
    pub after: Value,
}

impl FieldChange {
    /// Whether both values are as they were, and not too long to be kept.
    pub fn is_complete(&self) -> bool {
        ![&self.before, &self.after].into_iter().any(is_omitted)
    }
}

/// The table keeps no order of an object's fields.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Value::deserialize(deserializer).map(sorted)
}

/// What is kept of a value that is too long.
const OMITTED: &str = "omitted_bytes";

fn is_omitted(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.contains_key(OMITTED))
}

impl Event {
    /// Notes what differs between two views of a thing. `()` is a thing that is not there.
    pub fn changed(self, before: &impl Serialize, after: &impl Serialize) -> Result<Self> {
        Ok(Self { changes: between(before, after)?, ..self })
    }
}

/// The fields that differ, by name.
fn between(before: &impl Serialize, after: &impl Serialize) -> Result<Vec<FieldChange>> {
    let (mut before, mut after) = (fields_of(before)?, fields_of(after)?);
    let mut names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    let mut left = MAX_CHANGES;
    let mut changes = Vec::new();
    for field in names {
        let (before, after) =
            (before.remove(&field).unwrap_or_default(), after.remove(&field).unwrap_or_default());
        if before != after {
            let before = bounded(before, &mut left);
            changes.push(FieldChange { field, before, after: bounded(after, &mut left) });
        }
    }
    Ok(changes)
}

fn fields_of(view: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(view).map_err(Error::internal)? {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields),
        _ => Err(Error::internal("what changed is no object")),
    }
}

/// The value, or its length and digest if it is too long.
fn bounded(value: Value, left: &mut usize) -> Value {
    let text = value.to_string();
    if text.len() <= MAX_VALUE.min(*left) {
        *left -= text.len();
        value
    } else {
        json!({ OMITTED: text.len(), "sha256": sha256_hex(text.as_bytes()) })
    }
}

/// Takes a view back to before these changes. A value that was too long to be kept stays as [`bounded`] left it.
pub fn undo(view: &mut Map<String, Value>, changes: &[FieldChange]) {
    for FieldChange { field, before, .. } in changes {
        view.insert(field.clone(), before.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(field: &str, before: Value, after: Value) -> FieldChange {
        FieldChange { field: field.to_owned(), before, after }
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let before = json!({ "active": true, "groups": ["a"], "name": "Bob" });
        let after = json!({ "active": false, "groups": ["a"], "name": "Bob", "email": "b@acme.test" });
        assert_eq!(between(&before, &before).unwrap(), []);
        assert_eq!(
            between(&before, &after).unwrap(),
            [change("active", json!(true), json!(false)), change("email", Value::Null, json!("b@acme.test")),]
        );
    }

    #[test]
    fn what_is_made_was_nothing_and_what_is_deleted_is_nothing() {
        let view = json!({ "name": "Bob", "email": null });
        assert_eq!(between(&(), &view).unwrap(), [change("name", Value::Null, json!("Bob"))]);
        assert_eq!(between(&view, &()).unwrap(), [change("name", json!("Bob"), Value::Null)]);
    }

    #[test]
    fn a_policy_of_the_greatest_length_is_whole_before_and_after_and_longer_values_are_digests() {
        let escaped = "\u{1}".repeat(crate::policies::MAX_POLICY_LENGTH);
        let other = format!("{}!", &escaped[1..]);
        let changes = between(&json!({ "text": escaped }), &json!({ "text": other })).unwrap();
        assert!(changes[0].is_complete());
        let long = "x".repeat(MAX_VALUE);
        let changes = between(&(), &json!({ "long": long, "short": 1 })).unwrap();
        let kept =
            json!({ "omitted_bytes": MAX_VALUE + 2, "sha256": sha256_hex(format!("\"{long}\"").as_bytes()) });
        assert_eq!(changes, [change("long", Value::Null, kept), change("short", Value::Null, json!(1))]);
        assert!(!changes[0].is_complete());
    }

    #[test]
    fn many_values_stay_far_below_an_item() {
        let fields: Map<String, Value> =
            (0..100).map(|n| (format!("f{n}"), json!("x".repeat(10_000)))).collect();
        let changes = between(&fields, &()).unwrap();
        assert!(serde_json::to_string(&changes).unwrap().len() < 200_000);
        assert!(changes.iter().any(FieldChange::is_complete));
    }

    #[test]
    fn undoing_changes_leads_back() {
        let (first, second) = (json!({ "a": 1, "b": 1 }), json!({ "a": 2, "b": 1, "c": 1 }));
        let third = json!({ "a": 3, "b": 1, "c": 1 });
        let mut view = third.as_object().unwrap().clone();
        undo(&mut view, &between(&second, &third).unwrap());
        assert_eq!(Value::from(view.clone()), second);
        undo(&mut view, &between(&first, &second).unwrap());
        assert_eq!(Value::from(view), json!({ "a": 1, "b": 1, "c": null }));
    }
}
