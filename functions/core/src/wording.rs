//! What is wrong with a text that should be JSON, or with a value in it, in our words: its place and what should be
//! there. The words of parsers are of their own ("a sequence", "line 1 column 45"), and name our types.
//!
//! Parsers tell only a text. Those of `serde` are fixed (`serde::de::Error`), and what is not one of them is already in
//! our words: it comes from one of our own types.

/// What is wrong with a text that was read as JSON. `path` is the place that was read when it failed, `.` for all of it.
pub fn of_json(path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = match text.rsplit_once(" at line ") {
        Some((text, place)) if place.split_once(" column ").is_some_and(|(line, _)| is_number(line)) => text,
        _ => &text,
    };
    match error.classify() {
        serde_json::error::Category::Data => of_value(path, text),
        _ if text.starts_with("number out of range") => named(path, "must be a number of a usual size"),
        _ if text.starts_with("recursion limit") => named(path, "is nested too deep"),
        serde_json::error::Category::Eof if matches!(path, "." | "?") => {
            named(path, "must be JSON, and this breaks off")
        }
        serde_json::error::Category::Eof => named(path, "the JSON breaks off here"),
        _ if matches!(path, "." | "?") => named(".", "must be JSON"),
        _ => named(path, "must be another JSON value"),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is wrong with a value, by what a parser says of it.
pub fn of_value(path: &str, text: &str) -> String {
    if let Some(field) = quoted(text, "missing field ") {
        return named(&below(path, field), "is missing");
    }
    if let Some(field) = quoted(text, "duplicate field ") {
        return named(&below(path, field), "occurs twice");
    }
    if text.starts_with("unknown variant ") {
        // The words that fit are fixed. The caller's may hold anything.
        let fitting = text.rsplit_once("`, expected ").map(|(_, fitting)| fitting).unwrap_or_default();
        let fitting: Vec<&str> = fitting.split('`').skip(1).step_by(2).collect();
        return named(path, &format!("must be {}", one_of(&fitting)));
    }
    for kind in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((is, wanted)) = text.strip_prefix(kind).and_then(|rest| rest.rsplit_once(", expected ")) {
            let not = (kind == "invalid type: ").then(|| what_it_is(is)).flatten();
            let not = not.map(|not| format!(", not {not}")).unwrap_or_default();
            return named(path, &format!("must be {}{not}", what_is_wanted(wanted)));
        }
    }
    let said = match text {
        uuid if uuid.starts_with("UUID parsing failed") => "must be a UUID",
        "invalid IP address syntax" => "must be an IP address",
        "provided string was not `true` or `false`" => "must be true or false",
        number
            if number.ends_with("digit found in string")
                || number.ends_with("fit in target type")
                || number.ends_with("integer from empty string") =>
        {
            "must be a whole number, 0 or more"
        }
        none if none.starts_with("data did not match any variant") => "must be of another form",
        ours => ours,
    };
    named(path, said)
}

fn named(path: &str, what: &str) -> String {
    // A name that was not read to its end is a question mark.
    let path = path.strip_suffix('?').map_or(path, |known| known.trim_end_matches('.'));
    match path {
        "." | "" if what.starts_with("must ") || what.starts_with("is ") => format!("the body {what}"),
        "." | "" => what.to_owned(),
        path => format!("{path}: {what}"),
    }
}

fn below(path: &str, field: &str) -> String {
    match path {
        "." | "" => field.to_owned(),
        path if path == field || path.ends_with(&format!(".{field}")) => path.to_owned(),
        path => format!("{path}.{field}"),
    }
}

/// The name in backticks after these words.
fn quoted<'t>(text: &'t str, words: &str) -> Option<&'t str> {
    text.strip_prefix(words)?.strip_prefix('`')?.strip_suffix('`')
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => "something else".to_owned(),
        [only] => (*only).to_owned(),
        [first, second] => format!("{first} or {second}"),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The kind of a JSON value, from `serde::de::Unexpected`.
fn what_it_is(unexpected: &str) -> Option<&'static str> {
    let (kind, _) = unexpected.split_once([' ', ',']).unwrap_or((unexpected, ""));
    Some(match kind {
        "string" | "character" => "a string",
        "integer" | "floating" | "number" => "a number",
        "boolean" => "true or false",
        "sequence" => "an array",
        "map" => "an object",
        "null" | "unit" => "null",
        _ => return None,
    })
}

/// The kind of a value that was wanted, from the `expecting` of serde's own types. Ours are in our words.
fn what_is_wanted(expected: &str) -> String {
    let word = match expected {
        "a sequence" => "an array",
        "a map" => "an object",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" | "string or map" | "variant identifier" | "field identifier"
        | "a character" => "a string",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "unit" => "null",
        "any valid JSON value" | "a JSON value" => "JSON",
        "IP Address" | "IPv4 address" | "IPv6 address" => "an IP address",
        uuid if uuid.contains("UUID") => "a UUID",
        object if object.starts_with("struct ") || object.starts_with("internally tagged enum ") => {
            "an object"
        }
        list if list.starts_with("tuple ")
            || list.starts_with("a tuple")
            || list.starts_with("an array of length ") =>
        {
            "an array"
        }
        word if word.starts_with("enum ") => "a string",
        ours => ours,
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        User,
        Admin,
        Other,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only what is refused is looked at")]
    struct Body {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        count: Option<u16>,
        #[serde(default)]
        is_it: Option<bool>,
        #[serde(default)]
        role: Option<Role>,
        #[serde(default)]
        id: Option<uuid::Uuid>,
        #[serde(default)]
        at: Option<crate::clock::Timestamp>,
        #[serde(default)]
        address: Option<std::net::IpAddr>,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only what is refused is looked at")]
    struct Inner {
        needed: String,
    }

    fn said(text: &str) -> String {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read: Result<Body, _> = serde_path_to_error::deserialize(&mut deserializer);
        let error = read.unwrap_err();
        of_json(&error.path().to_string(), error.inner())
    }

    #[test]
    fn each_refusal_of_a_parser_names_the_field_and_what_it_should_be() {
        for (text, says) in [
            ("", "the body must be JSON, and this breaks off"),
            ("{\"name\":\"a", "name: the JSON breaks off here"),
            ("{\"na", "the body must be JSON, and this breaks off"),
            ("nonsense", "the body must be JSON"),
            ("{\"name\":nonsense}", "name: must be another JSON value"),
            ("{\"count\":1e999}", "count: must be a number of a usual size"),
            ("\"text\"", "the body must be an object, not a string"),
            ("{\"name\":1}", "name: must be a string, not a number"),
            ("{\"name\":1.5}", "name: must be a string, not a number"),
            ("{\"name\":{}}", "name: must be a string, not an object"),
            ("{\"names\":\"a, expected b\"}", "names: must be an array, not a string"),
            ("{\"names\":null}", "names: must be an array, not null"),
            ("{\"names\":[\"a\",true]}", "names[1]: must be a string, not true or false"),
            ("{\"count\":\"1\"}", "count: must be a whole number, 0 or more, not a string"),
            ("{\"count\":-1}", "count: must be a whole number, 0 or more"),
            ("{\"is_it\":\"yes\"}", "is_it: must be true or false, not a string"),
            ("{\"role\":\"ro`ot\"}", "role: must be user, admin or other"),
            ("{\"role\":1}", "role: must be another JSON value"),
            ("{\"id\":\"1\"}", "id: must be a UUID"),
            ("{\"id\":1}", "id: must be a UUID, not a number"),
            ("{\"at\":\"soon\"}", "at: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z"),
            ("{\"address\":\"here\"}", "address: must be an IP address"),
            ("{\"inner\":{}}", "inner.needed: is missing"),
            ("{\"inner\":[1]}", "inner[0]: must be a string, not a number"),
            ("{\"name\":null,\"name\":null}", "name: occurs twice"),
        ] {
            assert_eq!(said(text), says, "{text}");
        }
    }

    #[test]
    fn a_value_of_a_query_is_told_in_the_same_words() {
        for (text, says) in [
            ("invalid digit found in string", "limit: must be a whole number, 0 or more"),
            ("number too large to fit in target type", "limit: must be a whole number, 0 or more"),
            ("cannot parse integer from empty string", "limit: must be a whole number, 0 or more"),
            ("provided string was not `true` or `false`", "limit: must be true or false"),
            ("must have 1 to 9 characters", "limit: must have 1 to 9 characters"),
        ] {
            assert_eq!(of_value("limit", text), says);
        }
    }
}
