//! A tool call's arguments as policies see them: names to texts and integers.
//!
//! What the policies judge must be what the server gets. Two readers of one JSON text can differ where a
//! name occurs twice, in whatever case, or where `{"a.b": 1}` and `{"a": {"b": 2}}` would share a name; such
//! arguments are refused rather than judged by one reading and executed by another.
//!
//! Whether a server takes `Org` for `org` is its own affair. Where policies speak of `org`, such arguments are
//! judged by both readings ([`Arguments::respelled`]).

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::{
    error::{Error, Result},
    fold::folded,
    policies::Spellings,
};

/// How many named values a call can have.
const MAX_NAMES: usize = 1_000;
/// How deep they can nest.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    texts: BTreeMap<String, String>,
    integers: BTreeMap<String, i64>,
    /// Whether a name in an object has a dot of its own.
    has_dots: bool,
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
                    arguments.has_dots |= has_dot(&name);
                    arguments.add(name, value, 1)?;
                }
            }
            Value::Null => {}
            _ => return Err(Error::invalid("arguments must be an object")),
        }
        // In each object no name is another's but for its case. So a dot in a name is all that can make two.
        if arguments.has_dots && !are_distinct(arguments.texts.keys()) {
            Err(shared())
        } else {
            Ok(arguments)
        }
    }

    /// The arguments as a server reads them that ignores the case of names: those that policies speak of are
    /// there under each of the policies' spellings. `None` if that changes nothing.
    pub(crate) fn respelled(&self, spellings: &Spellings) -> Option<Self> {
        let mut respelled = None;
        for (name, text) in &self.texts {
            for spelling in spellings.of(name).iter().filter(|spelling| *spelling != name) {
                let Self { texts, integers, .. } = respelled.get_or_insert_with(|| self.clone());
                texts.insert(spelling.clone(), text.clone());
                if let Some(integer) = self.integers.get(name) {
                    integers.insert(spelling.clone(), *integer);
                }
            }
        }
        respelled
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
                    self.has_dots |= has_dot(&inner);
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
            Some(_) => Err(shared()),
        }
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn integers(&self) -> impl Iterator<Item = (&str, i64)> {
        self.integers.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// Whether no name is another's but for its case.
fn are_distinct<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    let mut seen = HashSet::new();
    names.all(|name| seen.insert(folded(name)))
}

fn has_dot(name: &str) -> bool {
    name.contains('.') || !name.is_ascii() && folded(name).contains('.')
}

fn shared() -> Error {
    Error::invalid("arguments: two values have the same dotted name")
}

/// A JSON value in which no object has a name twice, in whatever case.
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
        // As a rule all names are their own folding, and then there is nothing more to ask.
        let is_plain = |name: &String| matches!(folded(name), Cow::Borrowed(_));
        if !fields.keys().all(is_plain) && !are_distinct(fields.keys()) {
            return Err(serde::de::Error::custom("two names in one object differ only in case"));
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
            has_dots: false,
        }
        "#);
    }

    #[test]
    fn arguments_that_two_readers_could_read_differently_are_refused() {
        for json in [
            r#"{"org": "mine", "org": "yours"}"#,
            r#"{"list": [{"org": 1, "org": 2}]}"#,
            r#"{"org": "mine", "Org": "yours"}"#,
            "{\"list\": \"mine\", \"li\u{17f}t\": \"yours\"}",
            r#"{"list": [{"org": 1, "ORG": 2}]}"#,
            r#"{"a.b": 1, "a": {"b": 2}}"#,
            r#"{"a.b": 1, "A": {"B": 2}}"#,
            "{\"a\u{ff0e}b\": 1, \"a\": {\"b\": 2}}",
            r#"["no", "object"]"#,
            r#""text""#,
        ] {
            assert!(matches!(read(json), Err(Error::Invalid(_))), "{json}");
        }
    }

    #[test]
    fn names_that_policies_speak_of_are_offered_in_all_their_spellings() {
        let spellings = Spellings::of_all(["org", "repo.stars", "Repo.Stars", "other"].map(str::to_owned));
        let arguments = read(r#"{"ORG": "acme", "repo": {"stars": 3}, "Dry": true}"#).unwrap();
        insta::assert_debug_snapshot!(arguments.respelled(&spellings), @r#"
        Some(
            Arguments {
                texts: {
                    "Dry": "true",
                    "ORG": "acme",
                    "Repo.Stars": "3",
                    "org": "acme",
                    "repo.stars": "3",
                },
                integers: {
                    "Repo.Stars": 3,
                    "repo.stars": 3,
                },
                has_dots: false,
            },
        )
        "#);
    }

    #[test]
    fn names_that_are_the_policies_own_are_left_alone() {
        let spellings = Spellings::of_all(["org", "repo.name"].map(str::to_owned));
        let arguments = read(r#"{"org": "acme", "repo": {"name": "x"}, "perPage": 1}"#).unwrap();
        assert!(arguments.respelled(&spellings).is_none());
    }

    #[test]
    fn too_many_or_too_deep_arguments_are_refused() {
        let many: Vec<String> = (0..=MAX_NAMES).map(|n| format!("\"a{n}\": 0")).collect();
        assert!(read(&format!("{{{}}}", many.join(","))).is_err());
        let deep = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH + 2), "}".repeat(MAX_DEPTH + 2));
        assert!(read(&deep).is_err());
    }
}
