//! The answer to a request: as a test reads it, and as a snapshot shows it, without what differs from run
//! to run.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use deputize_api::reason::Reason;
use http::{HeaderMap, HeaderValue, StatusCode, response::Parts};
use regex::Regex;
use serde_json::Value;

/// Texts that snapshots replace by a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<Vec<(String, String)>>>);

impl Names {
    pub(crate) fn add(&self, name: &str, text: String) {
        self.0.lock().unwrap().push((text, format!("[{name}]")));
    }

    /// The text with every known text replaced by its name, and all other random texts by a placeholder.
    pub(crate) fn show(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for (text, name) in self.0.lock().unwrap().iter() {
            shown = shown.replace(text, name);
        }
        for (pattern, placeholder) in RANDOM.iter() {
            shown = pattern.replace_all(&shown, *placeholder).into_owned();
        }
        shown
    }
}

static RANDOM: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]*", "[jwt]"),
        (r"\brl_[\w-]{40,}", "[API key]"),
        (r"\bdps_[\w-]{30,}", "[client secret]"),
        (r"\bdpr_[\w-]{40,}", "[refresh token]"),
        (r"\bdpc_[\w-]{40,}", "[code]"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "[uuid]"),
        (r#""kid":"[0-9a-f]{16}""#, r#""kid":"[kid]""#),
        (r#""(x|y)":"[\w-]{43}""#, r#""$1":"[$1]""#),
        (r"\bcursor=[\w-]+", "cursor=[cursor]"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
    ]
    // Of ASCII only: with Unicode, `[\w-]{40,}` is half a second of each test, since each is a process.
    .map(|(pattern, placeholder)| (Regex::new(&format!("(?-u){pattern}")).unwrap(), placeholder))
    .into()
});

/// The headers that snapshots show.
const SHOWN: [&str; 13] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "link",
    "pragma",
    "retry-after",
    "vary",
    "www-authenticate",
];

/// An answer. Its `Display` is for snapshots.
#[derive(Clone, Debug)]
pub struct TestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    names: Names,
    /// Whether a page asked.
    is_for_page: bool,
}

impl TestResponse {
    pub(crate) fn new(parts: Parts, body: &[u8], names: Names) -> Self {
        let text = String::from_utf8(body.to_vec()).expect("every answer is text");
        if parts.status.is_client_error() || parts.status.is_server_error() {
            assert_known_reason(&parts.headers, &text);
        }
        Self { status: parts.status, headers: parts.headers, text, names, is_for_page: false }
    }

    pub(crate) fn for_page(self, is_for_page: bool) -> Self {
        Self { is_for_page, ..self }
    }

    /// The same answer as if it were only this part of it.
    #[must_use]
    pub fn only(&self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self.clone() }
    }

    /// Whether a header is not shown: it is on every answer of its kind, and other tests look for it.
    fn hides(&self, name: &str, value: &HeaderValue) -> bool {
        let is_stored = self.header("cache-control").is_some_and(|value| value != "no-store");
        match name {
            "cache-control" => value == "no-store",
            "vary" => value == "origin",
            // Of what every page may read, if none asked. Documents may be cached, so there it counts.
            "access-control-allow-origin" | "access-control-expose-headers" => {
                !self.is_for_page && !is_stored && self.header("access-control-allow-origin") == Some("*")
            }
            _ => false,
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns itself, and requires that it is a success.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "mostly all that is wanted is that it is one")]
    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{self}");
        self
    }

    /// The text of a field at the top of the body.
    #[track_caller]
    pub fn field(&self, name: &str) -> String {
        let body = self.json();
        body[name].as_str().unwrap_or_else(|| panic!("no text {name} in {self}")).to_owned()
    }

    /// The token that was issued.
    #[track_caller]
    pub fn access_token(&self) -> String {
        assert!(self.status == StatusCode::OK, "{self}");
        self.field("access_token")
    }

    /// Status and `detail`, on one line, for tables of refusals.
    pub fn refusal(&self) -> String {
        let detail = self.json()["detail"].as_str().unwrap_or_default().to_owned();
        self.names.show(&format!("{} {detail}", self.status.as_u16()))
    }

    /// The next page's address.
    pub fn next(&self) -> Option<String> {
        let link = self.header("link")?;
        let path = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
        Some(path.to_owned())
    }
}

/// Every error in JSON has a reason that clients know. Of JSON-RPC's errors only ours name an `error` in their data: others
/// are the protocol's own, or an MCP server's.
fn assert_known_reason(headers: &HeaderMap, text: &str) {
    let is_json = headers.get("content-type").is_some_and(|kind| kind == "application/json");
    let Some(body) = serde_json::from_str::<Value>(text).ok().filter(|_| is_json) else { return };
    let holder = match body.get("jsonrpc") {
        Some(_) if body["error"]["data"]["error"].is_string() => &body["error"]["data"],
        Some(_) => return,
        None => &body,
    };
    let reason = holder["reason"].as_str().unwrap_or_else(|| panic!("an error without a reason: {text}"));
    assert!(Reason::parse(reason).is_some(), "an error with an unknown reason: {text}");
}

impl fmt::Display for TestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for name in SHOWN {
            for value in self.headers.get_all(name) {
                if self.hides(name, value) {
                    continue;
                }
                write!(f, "\n{name}: {}", self.names.show(value.to_str().unwrap()))?;
            }
        }
        if !self.text.is_empty() {
            write!(f, "\n\n{}", indented(&self.names.show(&self.text)))?;
        }
        Ok(())
    }
}

/// JSON on several lines, with its fields in their original order.
fn indented(json: &str) -> String {
    let (mut shown, mut depth, mut in_text, mut escaped) = (String::new(), 0, false, false);
    let line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.push_str(&"  ".repeat(depth));
    };
    let mut chars = json.chars().peekable();
    while let Some(char) = chars.next() {
        if in_text {
            shown.push(char);
            in_text = char != '"' || escaped;
            escaped = char == '\\' && !escaped;
            continue;
        }
        match char {
            '"' => {
                in_text = true;
                shown.push(char);
            }
            '{' | '[' if chars.peek().is_some_and(|next| matches!(next, '}' | ']')) => {
                shown.push(char);
                shown.extend(chars.next());
            }
            '{' | '[' => {
                depth += 1;
                shown.push(char);
                line(&mut shown, depth);
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut shown, depth);
                shown.push(char);
            }
            ',' => {
                shown.push(char);
                line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            other => shown.push(other),
        }
    }
    shown
}
