//! A JSON object that is changed in a few fields. All others keep their bytes and their order.

use std::{borrow::Cow, fmt};

use deputize_core::case_folding::folded;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

/// More fields than any object of MCP has. A field that was read takes several times its size in memory.
const MAX_FIELDS: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Fields<'a> {
    /// `None` if the text is not an object, has a name twice (two readers could then see two values), or has more
    /// fields than any message has.
    pub(super) fn of(text: &'a RawValue) -> Option<Self> {
        serde_json::from_str(text.get()).ok()
    }

    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    pub(super) fn set(&mut self, name: &'a str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(given, _)| given == name) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.0.push((name.into(), Cow::Owned(value))),
        }
    }

    pub(super) fn set_if_absent(&mut self, name: &'a str, value: Box<RawValue>) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(given, _)| given != name);
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&RawValue) -> bool) {
        self.0.retain(|(_, value)| is_kept(value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object as JSON.
    pub(super) fn to_raw(&self) -> Box<RawValue> {
        // Writing names and raw values cannot fail.
        serde_json::value::to_raw_value(self).unwrap_or_default()
    }
}

/// The fields of a result that are filtered before the client sees it.
pub(super) const LISTS: [&str; 4] = ["tools", "prompts", "resources", "resourceTemplates"];

/// Whether an object has a name twice, or a name that differs from one of `known` only by its case. Some servers read
/// `"Name"` as `name`, and would then do something else than was judged. Some clients would then see something else.
pub(super) fn shadows(object: &[u8], known: &[&str]) -> bool {
    let Ok(Fields(fields)) = serde_json::from_slice::<Fields<'_>>(object) else { return true };
    let is = |known: &&str, name: &str| **known != *name && folded(known) == folded(name);
    fields.iter().any(|(name, _)| known.iter().any(|known| is(known, name)))
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &**value)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, Cow<'de, RawValue>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Self::Value = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if fields.len() == MAX_FIELDS {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    if !seen.insert(name.0.clone()) {
                        return Err(serde::de::Error::custom("a name occurs twice"));
                    }
                    fields.push((name.0, Cow::Borrowed(value)));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Fields)
    }
}

/// A name. It is borrowed if it holds no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_is_not_changed_keeps_its_bytes_and_its_place() {
        let text = raw(r#"{"b": 1.0,"\u0061":[ ],"c":1e400,"d":"\u00e9"}"#);
        let mut fields = Fields::of(&text).unwrap();
        fields.set("c", raw("2"));
        fields.set_if_absent("b", raw("3"));
        fields.set_if_absent("e", raw("4"));
        fields.remove("d");
        assert_eq!(fields.to_raw().get(), r#"{"b":1.0,"a":[ ],"c":2,"e":4}"#);
        assert_eq!(fields.get("a").unwrap().get(), "[ ]");
    }

    #[test]
    fn a_name_that_other_readers_take_for_a_known_one_is_found() {
        for text in
            [r#"{"Name":1}"#, r#"{"name":1,"NAME":2}"#, "{\"argument\u{17f}\":1}", r#"{"\u004eame":1}"#]
        {
            assert!(shadows(text.as_bytes(), &["name", "arguments"]), "{text}");
        }
        assert!(!shadows(br#"{"name":1,"names":2,"other":{"Name":3}}"#, &["name", "arguments"]));
    }

    #[test]
    fn an_object_of_more_fields_than_any_message_has_is_none() {
        let fields = |count: usize| {
            let fields: Vec<_> = (0..count).map(|n| format!(r#""f{n}":0"#)).collect();
            raw(&format!("{{{}}}", fields.join(",")))
        };
        assert!(Fields::of(&fields(MAX_FIELDS)).is_some());
        assert!(Fields::of(&fields(MAX_FIELDS + 1)).is_none());
        assert!(shadows(fields(MAX_FIELDS + 1).get().as_bytes(), &["name"]));
    }

    #[test]
    fn what_is_no_object_or_says_something_twice_is_none() {
        for text in ["[]", "1", "null", r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(Fields::of(&raw(text)).is_none(), "{text}");
        }
    }
}
