//! The id of a request whose body is larger than any that is read, so that it can be answered: to clients of the handshake
//! revisions an HTTP error ends the whole session
//! ([python-sdk#2047](https://github.com/modelcontextprotocol/python-sdk/pull/2047)).
//!
//! Of the body nothing is kept but the last name and the id. SDKs write the id at the beginning or at the end, so it is
//! read to its end, within [`MAX_SEEN`].

use serde_json::value::RawValue;

use super::incoming::is_id;

/// The longest body that is searched.
pub(super) const MAX_SEEN: usize = 16 * 1024 * 1024;

/// Longer than the names that are looked for, and than any id.
const MAX_NAME: usize = 16;
const MAX_ID: usize = 1_024 + 1;

/// The search, one byte after the other.
#[derive(Debug, Default)]
pub(super) struct RequestId {
    depth: usize,
    text: Text,
    at: At,
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    has_method: bool,
    seen: Seen,
}

/// Whether what is read is a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    No,
    Yes,
    /// Behind a backslash.
    Escaped,
}

/// What has been seen of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Part,
    Whole,
    /// It is no object, or has two ids.
    Spoiled,
}

/// What is being read of the message itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Name,
    /// Any value but the id.
    Value,
    Id,
}

impl RequestId {
    pub(super) fn see(&mut self, part: &[u8]) {
        for byte in part {
            self.see_byte(*byte);
        }
    }

    fn see_byte(&mut self, byte: u8) {
        if self.text != Text::No {
            self.keep(byte);
            self.text = match (self.text, byte) {
                (Text::Yes, b'\\') => Text::Escaped,
                (Text::Yes, b'"') => Text::No,
                _ => Text::Yes,
            };
            return;
        }
        match byte {
            b'"' => {
                self.text = Text::Yes;
                self.keep(byte);
            }
            b'{' | b'[' => {
                let is_second = self.depth == 0 && (byte == b'[' || self.seen == Seen::Whole);
                if is_second || self.at_own(At::Id) {
                    self.seen = Seen::Spoiled;
                }
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 && self.seen == Seen::Part {
                    self.seen = Seen::Whole;
                }
            }
            b':' if self.at_own(At::Name) => {
                self.at = match &*self.name {
                    br#""id""# => {
                        if self.id.replace(Vec::new()).is_some() {
                            self.seen = Seen::Spoiled;
                        }
                        At::Id
                    }
                    name => {
                        self.has_method |= name == br#""method""#;
                        At::Value
                    }
                };
                self.name.clear();
            }
            b',' if self.depth == 1 => self.at = At::Name,
            _ if byte.is_ascii_whitespace() => {}
            _ => self.keep(byte),
        }
    }

    fn at_own(&self, at: At) -> bool {
        self.depth == 1 && self.at == at
    }

    fn keep(&mut self, byte: u8) {
        if self.depth != 1 {
            return;
        }
        let (kept, most) = match (self.at, &mut self.id) {
            (At::Name, _) => (&mut self.name, MAX_NAME),
            (At::Id, Some(id)) => (id, MAX_ID),
            _ => return,
        };
        if kept.len() < most {
            kept.push(byte);
        }
    }

    /// The id, if what was seen is a whole request that has one.
    pub(super) fn end(self) -> Option<Box<RawValue>> {
        let id = self.id.filter(|_| self.seen == Seen::Whole && self.has_method)?;
        let id = serde_json::from_slice::<&RawValue>(&id).ok()?;
        is_id(id).then(|| id.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(text: &str) -> Option<String> {
        let mut search = RequestId::default();
        // In parts that end anywhere.
        text.as_bytes().chunks(3).for_each(|part| search.see(part));
        search.end().map(|id| id.get().to_owned())
    }

    #[test]
    fn the_id_of_a_request_is_found_wherever_it_is_written() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"id":1}}"#, "7"),
            (
                r#"{"method":"m","params":{"a":[{"id":2}],"b":"\"id\":3,}"},"jsonrpc":"2.0" , "id" : "a\"b" }"#,
                r#""a\"b""#,
            ),
            (r#"{"id":-1,"method":"m"}"#, "-1"),
        ] {
            assert_eq!(id_of(text).as_deref(), Some(id), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_request_with_one_id_has_none() {
        let long = format!(r#"{{"id":"{}","method":"m"}}"#, "x".repeat(2_000));
        for text in [
            "",
            "[]",
            r#"[{"id":1,"method":"m"}]"#,
            r#"{"id":1}"#,
            r#"{"method":"m"}"#,
            r#"{"id":1,"method":"m""#,
            r#"{"id":1,"id":2,"method":"m"}"#,
            r#"{"id":{"a":1},"method":"m"}"#,
            r#"{"id":[1],"method":"m"}"#,
            r#"{"id":null,"method":"m"}"#,
            r#"{"id":1.5,"method":"m"}"#,
            r#"{"id":1,"method":"m"}{"id":2,"method":"m"}"#,
            r#""id":1,"method":"m"}"#,
            &long,
        ] {
            assert_eq!(id_of(text), None, "{text}");
        }
    }
}
