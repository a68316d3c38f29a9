//! What a server says beside the HTTP status by which it refuses a request: a few words, and when to come again.
//!
//! Its words often say what is wrong better than the status does, such as which host name it wants
//! (<https://github.com/stacklok/toolhive-catalog/pull/229>). They are shown as the server's: in quotes, on one line,
//! short, with everything escaped that does not print. Words that hold a part of what is secret in the request are not
//! shown.

use std::fmt::{self, Write};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::Target;
use super::target::Authorization;

/// The most bytes in which words are looked for, and the most characters that are shown.
const MAX_READ: usize = 4 * 1024;
const MAX_SHOWN: usize = 200;
/// So many bytes of a secret, one after the other, are a part of it.
const PART_OF_A_SECRET: usize = 12;
/// The longest wait that is passed on.
const MAX_WAIT: Duration = Duration::from_hours(24);

/// A server's words and its `Retry-After`, if there are any.
#[derive(Clone, Debug, Default)]
pub struct Said(Option<Box<Words>>);

#[derive(Clone, Debug)]
struct Words {
    text: Option<String>,
    is_about_session: bool,
    retry_after: Option<Duration>,
}

impl Said {
    pub(super) const NOTHING: Self = Self(None);

    pub(super) fn of(target: &Target, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let text = words_in(body).filter(|words| !holds_a_secret(target, words));
        if text.is_none() && retry_after.is_none() {
            return Self::NOTHING;
        }
        let is_about_session = text.as_deref().is_some_and(is_about_session);
        Self(Some(Box::new(Words { text: text.as_deref().map(shown), is_about_session, retry_after })))
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.as_ref()?.retry_after
    }

    /// Whether the words are about a session.
    pub(super) fn is_about_session(&self) -> bool {
        self.0.as_ref().is_some_and(|words| words.is_about_session)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(words) = &self.0 else { return Ok(()) };
        if let Some(text) = &words.text {
            write!(f, ": \"{text}\"")?;
        }
        match words.retry_after {
            Some(wait) => write!(f, "; it asks to wait for {} s", wait.as_secs()),
            None => Ok(()),
        }
    }
}

/// Whether words say that a session is unknown, in any of the ways that are in use: `Session not found`, `No valid session
/// ID`, `Mcp-Session-Id`, `Server not initialized`.
pub(super) fn is_about_session(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("session") || words.contains("not initialized")
}

/// Whether words say that a revision of the protocol is unknown, such as `Unsupported protocol version`.
pub(super) fn is_about_version(words: &str) -> bool {
    words.to_lowercase().contains("version")
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER).map(HeaderValue::to_str)?.ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The words in a body that is a text, or a JSON object that has them in one of the usual places. A page for people has
/// none.
fn words_in(body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => {
            let places = ["error", "error_description", "message", "detail", "title"];
            let text = |value: &Value| match value {
                Value::Object(error) => error.get("message").and_then(Value::as_str).map(str::to_owned),
                value => value.as_str().map(str::to_owned),
            };
            let found: Vec<String> =
                places.iter().filter_map(|place| fields.get(*place)).filter_map(text).collect();
            found.join(": ")
        }
        Ok(Value::String(text)) => text,
        Ok(_) => return None,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(MAX_READ)]).into_owned(),
    };
    let words: Vec<&str> = text.trim_start_matches('\u{feff}').split_whitespace().collect();
    let words: String = words.join(" ").chars().take(MAX_READ).collect();
    (!words.is_empty() && !words.starts_with('<')).then_some(words)
}

fn shown(words: &str) -> String {
    let mut shown = String::new();
    for c in words.chars() {
        if shown.chars().count() >= MAX_SHOWN {
            shown.push('…');
            break;
        }
        match c {
            // As they are inside quotes of ours.
            '\'' => shown.push(c),
            c => {
                let _ = write!(shown, "{}", c.escape_debug());
            }
        }
    }
    shown
}

/// Whether words hold a part of the credential, or of the address's query, which may hold a key.
fn holds_a_secret(target: &Target, words: &str) -> bool {
    let credential = match &target.authorization {
        Some(Authorization::Bearer(secret) | Authorization::Header { value: secret, .. }) => {
            Some(secret.expose_secret())
        }
        None => None,
    };
    let holds = |secret: &str| {
        let part = secret.len().min(PART_OF_A_SECRET);
        part > 3
            && secret
                .as_bytes()
                .windows(part)
                .any(|part| words.as_bytes().windows(part.len()).any(|said| said.eq_ignore_ascii_case(part)))
    };
    credential.into_iter().chain(target.url.query()).any(holds)
}

#[cfg(test)]
mod tests {
    use super::super::InboundRequest;
    use super::*;

    fn said(body: &[u8]) -> String {
        let target = Target {
            server_id: "s1".into(),
            url: "https://example.com/mcp?key=in-the-address".parse().unwrap(),
            authorization: Some("a-token-that-is-secret".to_owned().into()),
            credential_key: "alice".into(),
            inbound: InboundRequest::default(),
        };
        Said::of(&target, None, body).to_string()
    }

    #[test]
    fn words_are_a_text_or_in_the_usual_places_of_json() {
        for (body, words) in [
            ("Access is only allowed at localhost:8931", r#": "Access is only allowed at localhost:8931""#),
            (r#"{"message":"No such route"}"#, r#": "No such route""#),
            (r#"{"error":"invalid_token","error_description":"expired"}"#, r#": "invalid_token: expired""#),
            (r#"{"error":{"code":-32000,"message":"Bad Request"}}"#, r#": "Bad Request""#),
            (r#""Forbidden""#, r#": "Forbidden""#),
            ("", ""),
            ("{}", ""),
            ("[1]", ""),
            ("<html><h1>502 Bad Gateway</h1>", ""),
        ] {
            assert_eq!(said(body.as_bytes()), words, "{body}");
        }
    }

    #[test]
    fn words_are_one_line_in_quotes_and_short_and_hide_nothing() {
        assert_eq!(said(b"one\r\n\ttwo \"three\" \x07"), r#": "one two \"three\" \u{7}""#);
        assert_eq!(said("a\u{202e}b\u{2028}c\u{200b}".as_bytes()), r#": "a\u{202e}b c\u{200b}""#);
        assert_eq!(said(b"\xff\xfe"), ": \"\u{fffd}\u{fffd}\"");
        assert!(said("x".repeat(100_000).as_bytes()).chars().count() < 220);
        assert!(said("\u{1}".repeat(100_000).as_bytes()).chars().count() < 220);
    }

    #[test]
    fn words_that_hold_a_part_of_a_secret_are_not_shown() {
        for body in [
            "Invalid token: a-token-that-is-secret",
            "Invalid token: A-TOKEN-THAT…",
            "Cannot POST /mcp?key=in-the-address",
        ] {
            assert_eq!(said(body.as_bytes()), "", "{body}");
        }
        assert_eq!(said(b"a-token"), r#": "a-token""#);
    }

    #[test]
    fn a_wait_is_bounded_and_in_seconds() {
        let wait = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!(wait("30"), Some(Duration::from_secs(30)));
        assert_eq!(wait("99999999999999"), Some(MAX_WAIT));
        for text in ["-1", "", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999999999999999"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}
