//! A tool call's arguments as policies see them: names to texts and integers.
//!
//! What the policies judge must be what the server gets. Two readers of one JSON text can differ where a
//! name occurs twice, or where `{"a.b": 1}` and `{"a": {"b": 2}}` would share a name; such arguments are
//! refused rather than judged by one reading and executed by another.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::error::{Error, Result};

/// How many named values a call can have.
const MAX_NAMES: usize = 1_000;
/// How deep they can nest.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    texts: BTreeMap<String, String>,
    integers: BTreeMap<String, i64>,
}

impl Arguments {
    /// Reads arguments as they came: a JSON object, or `null` for none.
    pub(crate) fn read(raw: &RawValue) -> Result<Self> {
        let strict: Strict =
            serde_json::from_str(raw.get()).map_err(|error| Error::invalid(format!("arguments: {error}")))?;
        let mut arguments = Self::default();
        match strict.0 {
            Value::Object(fields) => {
                for (name, value) in fields {
                    arguments.add(name, value, 1)?;
                }
            }
            Value::Null => {}
            _ => return Err(Error::invalid("arguments must be an object")),
        }
        Ok(arguments)
    }

    fn add(&mut self, name: String, value: Value, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH || self.texts.len() >= MAX_NAMES {
            return Err(Error::invalid(format!(
                "arguments: more than {MAX_NAMES} values, or nested deeper than {MAX_DEPTH}"
            )));
        }
        let text = match value {
            Value::Object(fields) => {
                for (inner, value) in fields {
                    self.add(format!("{name}.{inner}"), value, depth + 1)?;
                }
                return Ok(());
            }
            Value::String(text) => text,
            other => {
                if let Some(integer) = other.as_i64() {
                    self.integers.insert(name.clone(), integer);
                }
                other.to_string()
            }
        };
        match self.texts.insert(name, text) {
            None => Ok(()),
            Some(_) => Err(Error::invalid("arguments: two values have the same dotted name")),
        }
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn integers(&self) -> impl Iterator<Item = (&str, i64)> {
        self.integers.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// A JSON value in which no object has a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
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
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if fields.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a name occurs twice in one object"));
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Arguments> {
        Arguments::read(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn nested_arguments_get_dotted_names_and_integers_are_numbers_too() {
        let arguments =
            read(r#"{"org": "acme", "repo": {"name": "x", "stars": 3}, "tags": ["a", 1], "dry": true}"#);
        insta::assert_debug_snapshot!(arguments.unwrap(), @r#"
        Arguments {
            texts: {
                "dry": "true",
                "org": "acme",
                "repo.name": "x",
                "repo.stars": "3",
                "tags": "[\"a\",1]",
            },
            integers: {
                "repo.stars": 3,
            },
        }
        "#);
    }

    #[test]
    fn arguments_that_two_readers_could_read_differently_are_refused() {
        for json in [
            r#"{"org": "mine", "org": "yours"}"#,
            r#"{"list": [{"org": 1, "org": 2}]}"#,
            r#"{"a.b": 1, "a": {"b": 2}}"#,
            r#"["no", "object"]"#,
            r#""text""#,
        ] {
            assert!(matches!(read(json), Err(Error::Invalid(_))), "{json}");
        }
    }

    #[test]
    fn too_many_or_too_deep_arguments_are_refused() {
        let many: Vec<String> = (0..=MAX_NAMES).map(|n| format!("\"a{n}\": 0")).collect();
        assert!(read(&format!("{{{}}}", many.join(","))).is_err());
        let deep = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH + 2), "}".repeat(MAX_DEPTH + 2));
        assert!(read(&deep).is_err());
    }
}
