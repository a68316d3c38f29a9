//! Changing a thing only as it was seen (`ETag`, `If-Match`: RFC 9110 sections 8.8.3 and 13.1.1).
//!
//! An entity tag of ours has two parts, `"{state}-{shown}"`. The first names the state that is kept, by the item's
//! revision. The second is a hash of what the caller is shown of it, which may also depend on the time, on other items,
//! and on who the caller is. So a tag changes whenever the answer does, and two callers who are shown different things
//! have different tags.
//!
//! `If-Match` compares the first part. That is what a change would overwrite, and the change requires it in its own
//! transaction. Callers who may not change the thing get the second part alone, so that they do not learn of changes that
//! they are not shown.

use crate::{
    error::{Error, Result},
    secret::sha256_base64url,
    table::Key,
};

/// How many tags a header can name.
const MAX_TAGS: usize = 20;
/// 96 bits: nobody finds another state or text with the same tag by chance.
const CHARACTERS: usize = 16;

/// Which states a change may meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Any that there is: `*`.
    Any,
    /// One of these, by their opaque tags.
    Tags(Vec<String>),
}

/// A hash in an entity tag.
fn short(text: &[u8]) -> String {
    let mut hash = sha256_base64url(text);
    hash.truncate(CHARACTERS);
    // The parts are separated by a hyphen.
    hash.replace('-', ".")
}

/// The part of a tag that names a state. Only a hash: how often an item was written is not told.
pub fn state_tag(key: &Key, rev: u64) -> String {
    short(format!("{}\0{}\0{rev}", key.pk, key.sk).as_bytes())
}

/// The part of a tag that says what is shown.
pub fn shown_tag(body: &[u8]) -> String {
    short(body)
}

impl IfMatch {
    /// The header's value: `*`, or a list of entity tags. `None` if it is malformed. Weak tags are read, and match
    /// nothing: the comparison is strong (RFC 9110 section 8.8.3.2).
    pub fn parse(header: &str) -> Option<Self> {
        if header.trim() == "*" {
            return Some(Self::Any);
        }
        let tags = entity_tags(header)?;
        Some(Self::Tags(tags.into_iter().filter(|tag| !tag.is_weak).map(|tag| tag.opaque).collect()))
    }

    /// Requires that the thing is in one of these states.
    pub(crate) fn require(&self, key: &Key, rev: u64) -> Result<()> {
        let state = state_tag(key, rev);
        let is_it = |tag: &String| tag.split_once('-').is_some_and(|(of, _)| of == state);
        match self {
            Self::Any => Ok(()),
            Self::Tags(tags) if tags.iter().any(is_it) => Ok(()),
            Self::Tags(_) => Err(Error::Stale),
        }
    }
}

/// An entity tag as a client sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    pub is_weak: bool,
    pub opaque: String,
}

/// A list of entity tags (RFC 9110 section 8.8.3). `None` if it is malformed, empty or too long.
pub fn entity_tags(header: &str) -> Option<Vec<EntityTag>> {
    let (mut tags, mut rest) = (Vec::new(), header.trim());
    loop {
        // Empty elements of a list count for nothing (RFC 9110 section 5.6.1.2).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (1..=MAX_TAGS).contains(&tags.len()).then_some(tags);
        }
        let strong = rest.strip_prefix("W/");
        let (opaque, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if !opaque.bytes().all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte) || byte >= 0x80) {
            return None;
        }
        tags.push(EntityTag { is_weak: strong.is_some(), opaque: opaque.to_owned() });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    fn item(n: u128) -> Key {
        Key::user(UserId(uuid::Uuid::from_u128(n)))
    }

    #[test]
    fn a_list_of_tags_is_read_as_the_rfc_has_it() {
        let read = |header: &str| {
            let tags = entity_tags(header)?;
            Some(
                tags.iter().map(|tag| format!("{}{}", u8::from(tag.is_weak), tag.opaque)).collect::<Vec<_>>(),
            )
        };
        for (header, tags) in [
            (r#""a""#, vec!["0a"]),
            (r#"W/"a", "b" ,, "c,d""#, vec!["1a", "0b", "0c,d"]),
            (r#" "" "#, vec!["0"]),
        ] {
            assert_eq!(read(header), Some(tags.into_iter().map(str::to_owned).collect()), "{header}");
        }
        for wrong in ["", ",", "a", "\"a", "a\"", r#""a" "b""#, r#"w/"a""#, r#""a b""#, "*, \"a\"", "\"a\"*"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(entity_tags(&["\"a\""; MAX_TAGS].join(",")).is_some());
        assert!(entity_tags(&["\"a\""; MAX_TAGS + 1].join(",")).is_none());
    }

    #[test]
    fn only_a_tag_of_the_present_state_lets_a_change_be_made() {
        let state = state_tag(&item(1), 7);
        let require = |header: &str| IfMatch::parse(header).unwrap().require(&item(1), 7).is_ok();
        assert!(require("*"));
        assert!(require(&format!("\"{state}-x\"")) && require(&format!("\"other\", \"{state}-y\"")));
        let others = [state_tag(&item(1), 8), state_tag(&item(2), 7)];
        for other in others {
            assert!(!require(&format!("\"{other}-x\"")));
        }
        for wrong in [format!("\"{state}\""), format!("W/\"{state}-x\""), format!("\"x-{state}\"")] {
            assert!(!require(&wrong), "{wrong}");
        }
    }
}
