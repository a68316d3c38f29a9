//! JSON that every reader reads alike.
//!
//! If a name occurs twice in an object, one reader takes the first value, another the last. A reader that ignores case
//! takes `Tools` for `tools`. A value that is judged by one reading and used by another was not judged.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::case_folding::folded;

/// Reads a text. Fails if an object at any depth has two names that are equal in any case. The order of
/// fields is lost.
pub(crate) fn read(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).map(|UnambiguousJson(value)| value)
}

/// A JSON value in which no object has two names that are equal in any case.
struct UnambiguousJson(Value);

impl<'de> Deserialize<'de> for UnambiguousJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(UnambiguousJson(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, UnambiguousJson(value))) = map.next_entry::<String, UnambiguousJson>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice in one object"));
            }
        }
        // Usually every name is equal to its folded form. Then comparing the names is enough.
        let is_plain = |name: &String| matches!(folded(name), Cow::Borrowed(_));
        let mut seen = HashSet::new();
        if !fields.keys().all(is_plain) && !fields.keys().all(|name| seen.insert(folded(name))) {
            return Err(A::Error::custom("two names in one object differ only in case"));
        }
        Ok(Value::Object(fields))
    }
}

/// The value with the fields of every object sorted by name.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_two_readers_read_differently_is_read() {
        let text = r#"{"b": [1, -1, 1.5, null, true, {"a": "\u0041"}], "a": {"a": {}}}"#;
        assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused_at_every_depth_and_in_whatever_case() {
        for text in [
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1, "\u0061": 1}"#,
            r#"{"a": 1, "A": 2}"#,
            "{\"list\": 1, \"li\u{17f}t\": 2}",
            r#"[{"a": 1, "a": 2}]"#,
            r#"{"b": {"c": [{"a": 1, "A": 2}]}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_nests_without_end_is_refused() {
        assert!(read(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).is_err());
    }
}
