//! No error shows a parser's words. Each names the field, and says what it should be.

use std::sync::LazyLock;

use deputize_tests::TestRequest;
use http::Method;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::scenario::Scenario;

/// What parsers say, of serde's, of Rust's numbers, UUIDs and addresses, and of axum's.
static A_PARSERS_WORDS: LazyLock<Regex> = LazyLock::new(|| {
    let words = [
        r"\bline \d",
        r"\bcolumn \d",
        "invalid type",
        "invalid value",
        "invalid length",
        "invalid digit",
        r"\bexpected\b",
        "sequence",
        "missing field",
        "unknown field",
        "unknown variant",
        "duplicate field",
        "did not match",
        "untagged",
        "trailing",
        r"\bEOF\b",
        "parsing failed",
        "invalid IP",
        "deserialize",
        r"\bstruct\b",
        r"\benum\b",
        r"\bmap\b",
        r"\b[ui](8|16|32|64|size)\b",
        "Some\\(",
        "::",
        "`",
    ];
    Regex::new(&words.join("|")).unwrap()
});

/// What is to be filled in of a path.
static IN_BRACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[^}]*\}").unwrap());

/// The description, which lists each operation with all that it reads.
async fn description(scenario: &Scenario) -> Value {
    scenario.app.get("/openapi.json").await.ok().json()
}

/// The path of an operation, with things that there are.
fn filled(scenario: &Scenario, path: &str) -> String {
    let ids = [
        ("{agent_account_id}", scenario.bot.id.to_string()),
        ("{user_id}", scenario.bob.id.to_string()),
        ("{server_id}", "demo".to_owned()),
        ("{kind}", "policy".to_owned()),
    ];
    let path = ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
    IN_BRACES.replace_all(&path, "00000000-0000-4000-8000-000000000000").into_owned()
}

struct Described<'d> {
    document: &'d Value,
}

impl<'d> Described<'d> {
    /// The schema itself, without references and without `null`.
    fn resolved(&self, schema: &'d Value) -> &'d Value {
        if let Some(name) = schema["$ref"].as_str() {
            let pointer = name.strip_prefix('#').unwrap();
            return self.resolved(self.document.pointer(pointer).unwrap());
        }
        for choice in ["oneOf", "anyOf"] {
            let not_null = |one: &&Value| one["type"] != "null";
            if let Some(first) = schema[choice].as_array().and_then(|all| all.iter().find(not_null)) {
                return self.resolved(first);
            }
        }
        schema
    }

    fn kind(schema: &Value) -> Option<String> {
        let kind = |kind: &Value| kind.as_str().filter(|kind| *kind != "null").map(str::to_owned);
        match &schema["type"] {
            Value::Array(kinds) => kinds.iter().find_map(kind),
            one => kind(one),
        }
    }

    /// Wrong values of a schema, each with the place that its refusal must name.
    fn wrong(&self, schema: &'d Value, depth: usize) -> Vec<(String, Value)> {
        let schema = self.resolved(schema);
        let here = |values: &[Value]| values.iter().map(|value| (String::new(), value.clone())).collect();
        match Self::kind(schema).as_deref() {
            Some("string") => here(&[json!(1), json!(1.5), json!(true), json!([]), json!({})]),
            Some("integer" | "number") => here(&[json!("x"), json!(true), json!([]), json!({}), json!(-1.5)]),
            Some("boolean") => here(&[json!("x"), json!(1), json!([])]),
            Some("array") => {
                let mut wrong: Vec<_> = here(&[json!("x"), json!(1), json!({})]);
                let items = self.wrong(&schema["items"], depth + 1).into_iter();
                wrong.extend(items.map(|(place, value)| (format!("[0]{place}"), json!([value]))));
                wrong
            }
            Some("object") if depth < 4 && schema["properties"].is_object() => {
                let mut wrong: Vec<_> = here(&[json!("x"), json!(1), json!([])]);
                for (name, inner) in schema["properties"].as_object().unwrap() {
                    for (place, value) in self.wrong(inner, depth + 1) {
                        let body = Map::from_iter([(name.clone(), value)]);
                        wrong.push((format!(".{name}{place}"), Value::Object(body)));
                    }
                }
                wrong
            }
            _ => Vec::new(),
        }
    }
}

/// Every operation with a JSON body, at things that there are.
fn with_a_body<'d>(scenario: &Scenario, document: &'d Value) -> Vec<(Method, String, &'d Value)> {
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            // The MCP endpoint's errors are JSON-RPC's, what an app registers is read as far as it is understood, and each
            // entry of a batch has an error of its own.
            let is_other = ["/mcp", "/register", ":batch"].iter().any(|end| path.ends_with(end));
            if !schema.is_null() && !is_other {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                found.push((method, filled(scenario, path), schema));
            }
        }
    }
    found
}

/// Fields that take anything.
const TAKE_ANYTHING: [&str; 2] = ["shared", "arguments"];

#[tokio::test]
async fn each_wrong_field_of_each_body_is_named_in_our_words() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let document = description(&scenario).await;
    let described = Described { document: &document };
    let (mut asked, mut unclear) = (0, Vec::new());
    for (method, path, schema) in with_a_body(&scenario, &document) {
        for (place, body) in described.wrong(schema, 0) {
            let answer = scenario.app.ask(method.clone(), &path).as_user(&scenario.alice).json(&body).await;
            asked += 1;
            let said = answer.refusal();
            let field = place.trim_start_matches('.');
            // An owner that is an array is read, and is neither a user nor a group.
            let field = field.strip_prefix("owners[0]").map_or(field, |_| "owners");
            let (named, is_root) = (format!("400 {field}"), field.is_empty());
            let is_told =
                if is_root { said.starts_with("400 the body must be") } else { said.starts_with(&named) };
            let is_free = TAKE_ANYTHING.contains(&field.split(['.', '[']).next().unwrap());
            if (!is_told && !is_free) || A_PARSERS_WORDS.is_match(&said) {
                unclear.push(format!("{method} {path} {body}: {said}"));
            }
        }
    }
    assert!(asked > 500, "{asked}");
    assert!(unclear.is_empty(), "{} of {asked}:\n{}", unclear.len(), unclear.join("\n"));
}

#[tokio::test]
async fn what_is_no_json_is_told_in_our_words_everywhere() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let document = description(&scenario).await;
    let mut unclear = Vec::new();
    for (method, path, _) in with_a_body(&scenario, &document) {
        for body in [
            &b"{"[..],
            b"nonsense",
            b"[]",
            b"[1]",
            b"\"text\"",
            b"1",
            b"true",
            b"{} {}",
            b"{\"a\":1,}",
            b"{\"name\":\"a",
            b"{\"name\":tru",
            b"{1:2}",
            b"{\"name\" \"x\"}",
            b"\xff\xfe",
            b"{\"name\":\"\\ud800\"}",
            b"{\"name\":1e999}",
            b"{\"name\":\"a\",\"name\":\"b\"}",
        ] {
            let ask = scenario.app.ask(method.clone(), &path).as_user(&scenario.alice);
            let answer = ask.body("application/json", body).await;
            let said = answer.refusal();
            if answer.status != 400 || A_PARSERS_WORDS.is_match(&said) {
                unclear.push(format!("{method} {path} {}: {said}", String::from_utf8_lossy(body)));
            }
        }
    }
    assert!(unclear.is_empty(), "{}", unclear.join("\n"));
}

#[tokio::test]
async fn each_wrong_parameter_of_each_query_is_named_in_our_words() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let document = description(&scenario).await;
    let described = Described { document: &document };
    let (mut asked, mut unclear) = (0, Vec::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(operation) = operations.get("get").filter(|_| path.starts_with("/api/v1/")) else {
            continue;
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = described.resolved(&parameter["schema"]);
            let is_text = Described::kind(schema).as_deref() == Some("string")
                && schema["format"].is_null()
                && schema["enum"].is_null();
            if parameter["in"] != "query" || is_text || schema["format"] == "cursor" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap();
            for value in ["x", "-1", "1.5", "99999999999999999999999", "", "%00", "null"] {
                let address = format!("{}?{name}={value}", filled(&scenario, path));
                let answer = scenario.app.get(address).as_user(&scenario.alice).await;
                asked += 1;
                if answer.status.is_success() || answer.text.is_empty() {
                    continue;
                }
                let said = answer.refusal();
                if !said.starts_with(&format!("400 {name}")) || A_PARSERS_WORDS.is_match(&said) {
                    unclear.push(format!("GET {path}?{name}={value}: {said}"));
                }
            }
        }
    }
    assert!(asked > 50, "{asked}");
    assert!(unclear.is_empty(), "{} of {asked}:\n{}", unclear.len(), unclear.join("\n"));
}

#[tokio::test]
async fn a_malformed_id_in_a_path_is_told_in_our_words() {
    let scenario = Scenario::start().await;
    let document = description(&scenario).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/v1/") || !path.contains('{') {
            continue;
        }
        for method in operations.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for wrong in ["x%00", "%F0%9F%A6%80", "-", "no-uuid-at-all"] {
                let address = IN_BRACES.replace_all(path, wrong).into_owned();
                let ask: TestRequest = scenario.app.ask(method.clone(), &address).as_user(&scenario.alice);
                let answer = ask.await;
                assert!(
                    !A_PARSERS_WORDS.is_match(&answer.text.replace("`{", "")),
                    "{method} {address}: {answer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_is_none_is_told_in_our_words_at_the_mcp_endpoint() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    for body in [
        "{",
        "nonsense",
        "\"text\"",
        "{}",
        r#"{"jsonrpc":2}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
    ] {
        let ask = scenario.app.post("/api/v1/proxy/demo/mcp").as_user(&scenario.alice);
        let answer =
            ask.body("application/json", body).header("accept", "application/json, text/event-stream").await;
        assert!(!A_PARSERS_WORDS.is_match(&answer.text), "{body}: {answer}");
    }
}
