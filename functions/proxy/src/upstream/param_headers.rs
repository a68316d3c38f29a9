//! Tool arguments that a modern server wants mirrored into `Mcp-Param-*` headers
//! ([Streamable HTTP, custom headers](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters)).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deputize_core::wording;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::UpstreamError;

const ANNOTATION: &str = "x-mcp-header";
/// More headers than any tool needs, and fewer than any server allows.
const MAX_PER_TOOL: usize = 32;
/// The bound in bytes for the names that lead to one value, together. Each annotation keeps a copy.
const MAX_PATH: usize = 1_024;
/// Integers that every JSON implementation reads alike.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The annotations of one server's tools. Tools without annotations are left out.
#[derive(Debug, Default)]
pub(super) struct ParamHeaders {
    tools: HashMap<Box<str>, Vec<ParamHeader>>,
    /// Tools whose annotations break the rules. They must not be used.
    invalid: HashSet<Box<str>>,
}

#[derive(Debug)]
struct ParamHeader {
    name: HeaderName,
    /// Keys from the arguments' root to the value.
    path: Vec<Box<str>>,
}

impl ParamHeaders {
    /// Takes in a tool definition. An error holds the tool's name, and the reason to reject the tool.
    pub(super) fn learn(&mut self, tool: &RawValue) -> Result<(), (String, String)> {
        let unread = |error: serde_json::Error| (String::new(), wording::of_json("tool", &error));
        let Definition { name, input_schema } = serde_json::from_str(tool.get()).map_err(unread)?;
        match annotations(&input_schema) {
            Ok(headers) if headers.is_empty() => Ok(()),
            Ok(headers) => {
                self.tools.insert(name.into(), headers);
                Ok(())
            }
            Err(reason) => {
                self.invalid.insert(name.as_str().into());
                Err((name, reason))
            }
        }
    }

    /// Adds the headers for calling `tool` with `arguments`.
    pub(super) fn add_to(
        &self,
        headers: &mut HeaderMap,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<(), UpstreamError> {
        if self.invalid.contains(tool) {
            return Err(UpstreamError::protocol("the tool's header annotations are invalid"));
        }
        let Some(annotated) = self.tools.get(tool) else { return Ok(()) };
        let unread =
            |error: serde_json::Error| UpstreamError::protocol(wording::of_json("arguments", &error));
        for ParamHeader { name, path } in annotated {
            let value = plain_value_at(path, arguments).map_err(unread)?;
            if let Some(value) = value.as_ref().and_then(header_value_of) {
                headers.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// Whether `given`, a client's headers, agree with the arguments. The error names a header that does not
    /// ([server behavior](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#server-behavior-for-custom-headers)).
    /// Headers without an annotation are ignored.
    pub(super) fn check(
        &self,
        given: &HeaderMap,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<(), ParamMismatch> {
        let Some(annotated) = self.tools.get(tool) else { return Ok(()) };
        for ParamHeader { name, path } in annotated {
            let value = plain_value_at(path, arguments).unwrap_or_default();
            let value = value.filter(|value| !value.is_null());
            let agree = match (value.as_ref(), given.get(name)) {
                (None, None) => true,
                (Some(value), Some(header)) => {
                    let text = header.to_str().ok().and_then(decode);
                    text.is_some_and(|text| says(&text, value))
                }
                // A value that does not fit into a header is not mirrored. If it breaks the schema, the server says so.
                (Some(value), None) => header_value_of(value).is_none(),
                (None, Some(_)) => false,
            };
            if !agree {
                return Err(ParamMismatch(name.clone()));
            }
        }
        Ok(())
    }
}

/// The value at a path, of which a list or an object is only its kind. No tree is made of the arguments: it could be many
/// times their size.
fn plain_value_at(path: &[Box<str>], arguments: &RawValue) -> serde_json::Result<Option<Value>> {
    let mut at = arguments;
    for key in path {
        if !at.get().starts_with('{') {
            return Ok(None);
        }
        match Field(key).deserialize(&mut serde_json::Deserializer::from_str(at.get()))? {
            Some(value) => at = value,
            None => return Ok(None),
        }
    }
    Ok(Some(match at.get().as_bytes().first() {
        Some(b'{') => Value::Object(Map::new()),
        Some(b'[') => Value::Array(Vec::new()),
        _ => serde_json::from_str(at.get())?,
    }))
}

/// Finds the field of this name in an object.
struct Field<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        let mut found = None;
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if name == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// The header that does not agree with the arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct ParamMismatch(pub HeaderName);

/// Whether a decoded header equals a value. Integers are compared as numbers.
fn says(text: &str, value: &Value) -> bool {
    match value {
        Value::String(value) => text == value,
        Value::Bool(value) => text == if *value { "true" } else { "false" },
        Value::Number(value) => match (text.parse::<i64>(), value.as_i64()) {
            (Ok(text), Some(value)) => text == value,
            _ => text.parse::<f64>().ok() == value.as_f64(),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A header value as the body writes it
/// ([value encoding](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#value-encoding)).
pub(crate) fn decode(value: &str) -> Option<Cow<'_, str>> {
    match value.strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?=")) {
        Some(encoded) => Some(String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?.into()),
        None => Some(value.into()),
    }
}

#[derive(Deserialize)]
struct Definition {
    name: String,
    #[serde(rename = "inputSchema", default)]
    input_schema: Value,
}

/// A plain value as a header value. `None` for a value of a kind that no annotation can have. Whether the arguments
/// match their schema is for the server to check.
fn header_value_of(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => Some(encode(text)),
        Value::Bool(true) => Some(HeaderValue::from_static("true")),
        Value::Bool(false) => Some(HeaderValue::from_static("false")),
        Value::Number(number) => {
            let integer = number.as_i64()?;
            (integer.unsigned_abs() <= SAFE_INTEGER).then(|| HeaderValue::from(integer))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Text as a header value: unchanged where this is safe and unambiguous, in Base64 otherwise
/// ([value encoding](https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#value-encoding)).
pub(super) fn encode(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && text.trim_matches([' ', '\t']).len() == text.len()
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let plain = plain.then(|| HeaderValue::from_str(text).ok()).flatten();
    plain.unwrap_or_else(|| {
        let encoded = format!("=?base64?{}?=", STANDARD.encode(text));
        // Base64's alphabet is header-safe; the fallback is unreachable.
        HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
    })
}

/// All annotations in a schema, or the reason to reject the tool.
fn annotations(schema: &Value) -> Result<Vec<ParamHeader>, String> {
    let mut found = Vec::new();
    visit(schema, &mut Vec::new(), true, &mut found)?;
    let mut seen = HashSet::new();
    // Header names are already lower case here.
    if let Some(twice) = found.iter().find(|header| !seen.insert(header.name.clone())) {
        return Err(format!("two annotations for {}", twice.name));
    }
    Ok(found)
}

/// Visits a schema. `reachable` says whether only `properties` lead here from the root.
fn visit<'a>(
    schema: &'a Value,
    path: &mut Vec<&'a str>,
    reachable: bool,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    let Value::Object(keywords) = schema else { return Ok(()) };
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            (ANNOTATION, _) if !reachable || path.is_empty() => {
                return Err("an annotation on something else than a property".to_owned());
            }
            (ANNOTATION, _) if found.len() == MAX_PER_TOOL => {
                return Err(format!("more than {MAX_PER_TOOL} header annotations"));
            }
            (ANNOTATION, annotation) => found.push(param_header(annotation, keywords.get("type"), path)?),
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    path.push(name);
                    visit(property, path, reachable, found)?;
                    path.pop();
                }
            }
            // Maps from names to schemas, where a key is not a keyword.
            ("patternProperties" | "dependentSchemas" | "$defs" | "definitions", Value::Object(schemas)) => {
                for schema in schemas.values() {
                    visit(schema, path, false, found)?;
                }
            }
            // Data, which may hold anything.
            ("const" | "enum" | "default" | "examples" | "dependentRequired", _) => {}
            (_, Value::Array(schemas)) => {
                for schema in schemas {
                    visit(schema, path, false, found)?;
                }
            }
            (_, schema) => visit(schema, path, false, found)?,
        }
    }
    Ok(())
}

fn param_header(
    annotation: &Value,
    property_type: Option<&Value>,
    path: &[&str],
) -> Result<ParamHeader, String> {
    if path.iter().map(|key| key.len()).sum::<usize>() > MAX_PATH {
        return Err(format!("an annotation on a property whose path is longer than {MAX_PATH} bytes"));
    }
    let name = annotation.as_str().filter(|name| !name.is_empty()).ok_or("an annotation without a name")?;
    let name = HeaderName::try_from(format!("mcp-param-{name}"))
        .map_err(|_| "an annotation that is no header name".to_owned())?;
    match property_type.and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => {
            Ok(ParamHeader { name, path: path.iter().map(|key| (*key).into()).collect() })
        }
        _ => Err("an annotation on a property that is neither string, integer nor boolean".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn learn(schema: &Value) -> Result<ParamHeaders, String> {
        let mut known = ParamHeaders::default();
        known
            .learn(&raw(&json!({"name": "t", "inputSchema": schema})))
            .map(|()| known)
            .map_err(|(_, reason)| reason)
    }

    fn mirrored(schema: &Value, arguments: &Value) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        learn(schema).unwrap().add_to(&mut headers, "t", &raw(arguments)).unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut pairs: Vec<_> = headers.iter().map(|(k, v)| (k.to_string(), text(v))).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn the_specifications_encoding_examples() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
        ] {
            assert_eq!(encode(value), header, "{value:?}");
        }
    }

    #[test]
    fn a_value_cannot_smuggle_in_a_header() {
        for value in ["a\r\nx-evil: 1", "a\0b", "a\u{7f}"] {
            assert!(encode(value).to_str().unwrap().starts_with("=?base64?"), "{value:?}");
        }
    }

    #[test]
    fn annotated_values_are_mirrored_wherever_properties_alone_lead() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {
                "n": {"type": "integer", "x-mcp-header": "N"},
                "flag": {"type": "boolean", "x-mcp-header": "Flag"},
            }},
            "other": {"type": "string"},
        }});
        let arguments = json!({"region": "eu", "deep": {"n": -7, "flag": true}, "other": "x"});
        let expected = [("mcp-param-flag", "true"), ("mcp-param-n", "-7"), ("mcp-param-region", "eu")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(mirrored(&schema, &arguments), expected);
    }

    #[test]
    fn null_missing_and_unsafe_values_have_no_header() {
        let schema = json!({"properties": {
            "a": {"type": "string", "x-mcp-header": "A"},
            "b": {"type": "string", "x-mcp-header": "B"},
            "c": {"type": "integer", "x-mcp-header": "C"},
        }});
        assert_eq!(mirrored(&schema, &json!({"a": null, "c": 9_007_199_254_740_992_i64})), []);
    }

    #[test]
    fn annotations_against_the_rules_reject_the_tool() {
        for schema in [
            json!({"x-mcp-header": "Root", "type": "string"}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": ""}}}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": 7}}}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A B"}}}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A\r\nB"}}}),
            json!({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}),
            json!({"properties": {"a": {"x-mcp-header": "A"}}}),
            json!({"properties": {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}}),
            json!({"properties": {"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}}),
            json!({"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"properties": {
                "a": {"type": "string", "x-mcp-header": "Same"},
                "b": {"type": "string", "x-mcp-header": "same"},
            }}),
        ] {
            assert!(learn(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_tool_is_rejected_before_its_annotations_take_more_than_its_definition() {
        let properties = |count: usize| {
            let property = |n| (format!("p{n}"), json!({"type": "string", "x-mcp-header": format!("H{n}")}));
            Value::Object((0..count).map(property).collect())
        };
        assert!(learn(&json!({"properties": properties(MAX_PER_TOOL)})).is_ok());
        assert_eq!(
            learn(&json!({"properties": properties(MAX_PER_TOOL + 1)})).unwrap_err(),
            "more than 32 header annotations"
        );
        let long = json!({"properties": {"x".repeat(400_000): {"properties": properties(2)}}});
        assert_eq!(
            learn(&long).unwrap_err(),
            "an annotation on a property whose path is longer than 1024 bytes"
        );
    }

    /// Whether headers agree with the arguments of a call.
    fn agree(headers: &[(&'static str, &str)], arguments: &Value) -> bool {
        let mut known = ParamHeaders::default();
        let schema = json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "limit": {"type": "integer", "x-mcp-header": "Limit"},
            "inner": {"properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
        }});
        known.learn(&raw(&json!({"name": "t", "inputSchema": schema}))).unwrap();
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        known.check(&headers.collect(), "t", &raw(arguments)).is_ok()
    }

    #[test]
    fn a_servers_check_takes_what_the_arguments_say() {
        for (headers, arguments) in [
            (&[][..], json!({})),
            (&[("mcp-param-region", "us")], json!({"region": "us"})),
            (&[("mcp-param-region", "=?base64?w6k=?=")], json!({"region": "é"})),
            (&[("mcp-param-limit", "42.0")], json!({"limit": 42})),
            (&[("mcp-param-limit", "42")], json!({"limit": 42.0})),
            (&[("mcp-param-dry", "false")], json!({"inner": {"dry": false}})),
            (&[("mcp-param-other", "x")], json!({"region": null})),
        ] {
            assert!(agree(headers, &arguments), "{headers:?} {arguments}");
        }
    }

    #[test]
    fn a_servers_check_refuses_what_the_arguments_do_not_say() {
        for (headers, arguments) in [
            (&[][..], json!({"region": "us"})),
            (&[("mcp-param-region", "eu")], json!({"region": "us"})),
            (&[("mcp-param-region", "US")], json!({"region": "us"})),
            (&[("mcp-param-region", "us")], json!({})),
            (&[("mcp-param-region", "null")], json!({"region": null})),
            (&[("mcp-param-region", "=?base64?us?=")], json!({"region": "us"})),
            (&[("mcp-param-region", "é")], json!({"region": "é"})),
            (&[("mcp-param-limit", "43")], json!({"limit": 42})),
            (&[("mcp-param-limit", "")], json!({"limit": 42})),
            (&[("mcp-param-dry", "True")], json!({"inner": {"dry": true}})),
            (&[("mcp-param-region", "{}")], json!({"region": {}})),
        ] {
            assert!(!agree(headers, &arguments), "{headers:?} {arguments}");
        }
    }

    #[test]
    fn a_rejected_tool_cannot_be_called() {
        let mut known = ParamHeaders::default();
        let tool = raw(&json!({"name": "bad", "inputSchema": {"x-mcp-header": "Root"}}));
        assert!(known.learn(&tool).is_err());
        let called = known.add_to(&mut HeaderMap::new(), "bad", &raw(&json!({})));
        assert!(matches!(called, Err(UpstreamError::Protocol { sent: false, .. })));
    }

    #[test]
    fn a_property_or_a_default_that_is_called_like_the_annotation_is_none() {
        let schema = json!({"properties": {
            "x-mcp-header": {"type": "array", "items": {"default": {"x-mcp-header": "no"}}},
        }, "$defs": {"x-mcp-header": {"type": "string"}}, "dependentRequired": {"x-mcp-header": ["a"]}});
        assert_eq!(mirrored(&schema, &json!({"x-mcp-header": ["a"]})), []);
    }
}
