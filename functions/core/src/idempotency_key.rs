//! What a client calls a request by that it may have to send again: the header `Idempotency-Key`
//! ([draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/), revision 07).

use std::fmt;

use zeroize::Zeroizing;

/// The longest key, in characters.
pub const MAX_KEY: usize = 200;

/// What a client calls a request by, and the request itself.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    text: Zeroizing<String>,
    /// Which entry of a batch it is.
    entry: Option<usize>,
    /// The hash of the request, which tells whether the key comes again with another request.
    request: String,
}

impl IdempotencyKey {
    /// `text` is what [`parse`] gives, `request` the request's hash.
    pub fn new(text: String, request: String) -> Self {
        Self { text: text.into(), entry: None, request }
    }

    /// The key of an entry of a batch, whose content has this hash.
    #[must_use]
    pub fn of_entry(&self, entry: usize, request: String) -> Self {
        Self { text: self.text.clone(), entry: Some(entry), request }
    }

    /// The key of a request and those of its entries are all different: a header's text has no control characters.
    pub(crate) fn name(&self) -> String {
        match self.entry {
            None => self.text.to_string(),
            Some(entry) => format!("{}\0{entry}", &*self.text),
        }
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(crate) fn request(&self) -> &str {
        &self.request
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// The string of the header: printable ASCII in double quotes, with `\"` and `\\` for these two (RFC 9651 section
/// 4.2.5). `None` if it is anything else, is empty or is too long. The draft defines no parameters, so there are none.
pub fn parse(header: &str) -> Option<String> {
    let quoted = header.trim_matches(' ').strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            ' '..='~' => text.push(character),
            _ => return None,
        }
    }
    (1..=MAX_KEY).contains(&text.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_string_of_a_structured_field() {
        for (header, text) in [
            (r#""8e03978e-40d5-43e8-bc93-6894a57f9324""#, "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            (r#"  "a b" "#, "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
        ] {
            assert_eq!(parse(header).as_deref(), Some(text), "{header}");
        }
        for wrong in [
            "",
            "8e03978e",
            "\"",
            "\"\"",
            "\"a",
            "a\"",
            r#""a"b""#,
            r#""a\b""#,
            r#""a\""#,
            "\"a\tb\"",
            "\"é\"",
            r#""a";b=1"#,
            r#""a", "b""#,
            &format!("\"{}\"", "a".repeat(MAX_KEY + 1)),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(parse(&format!("\"{}\"", "a".repeat(MAX_KEY))).is_some());
    }

    #[test]
    fn no_request_has_the_name_of_anothers_entry() {
        let key = |text: &str| IdempotencyKey::new(text.to_owned(), String::new());
        let names = [
            key("a").name(),
            key("a0").name(),
            key("a").of_entry(0, String::new()).name(),
            key("a").of_entry(10, String::new()).name(),
            key("a1").of_entry(0, String::new()).name(),
        ];
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert_eq!(format!("{:?}", key("a")), "IdempotencyKey(…)");
    }
}
