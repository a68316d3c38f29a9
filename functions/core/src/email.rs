//! Email addresses.
//!
//! An address is kept as it was written, in lower case, for people. It has one canonical form, by which it is compared
//! and found: two spellings of one address are one person.
//!
//! The domain's form is that of UTS 46, by `idna`. The standards leave the form of the part before the `@` to its host
//! (RFC 6532 section 3.1). So that rule is ours, and strict: NFC and lower case. An address that could be taken for
//! another one is refused, not mapped. Refused are:
//!
//! - characters that show nothing or turn the text around;
//! - characters that are another spelling of something (full width, ligatures), as NFKC maps them;
//! - characters that some mapping turns into ASCII, as the Kelvin sign is turned into a `k`.
//!
//! This is close to RFC 8265's `UsernameCaseMapped`, which maps some of them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::{case_folding::is_invisible, error::Result};

/// An email address. Two addresses are equal if their canonical forms are equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email {
    written: String,
    canonical: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    #[error("not an email address")]
    NoAddress,
    #[error(
        "not an email address with one spelling only: beyond ASCII it may have letters, digits and accents, none of which shows nothing or stands for another"
    )]
    Ambiguous,
}

impl Email {
    /// The longest address, in bytes (RFC 5321 section 4.5.3.1).
    const MAX_LENGTH: usize = 254;

    /// The address as it was written, in lower case, to show to users.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// For comparing: composed, with the domain in ASCII. For an ASCII address, it is the written form.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The form by which addresses were found before there was a canonical one, if it differs.
    pub(crate) fn former(&self) -> Option<&str> {
        Some(&*self.written).filter(|former| *former != self.canonical)
    }

    /// An address that is already stored. Addresses from before there was a canonical form stay readable.
    fn stored(text: String) -> Self {
        match text.parse() {
            Ok(email) => email,
            Err(_) => Self { canonical: text.clone(), written: text },
        }
    }
}

/// A domain of email addresses, in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Domain(String);

impl Domain {
    /// Whether this is the address's domain, not one above it.
    pub fn holds(&self, email: &Email) -> bool {
        email.canonical.split_once('@').is_some_and(|(_, domain)| domain == self.0)
    }
}

impl TryFrom<String> for Domain {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let labels = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let address: Option<Email> = format!("a@{text}").parse().ok();
        let domain = address.and_then(|email| Some(email.canonical.split_once('@')?.1.to_owned()));
        domain
            .filter(|domain| labels(domain))
            .map(Self)
            .ok_or("not a domain of email addresses, such as example.com")
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    /// Checks the form only: a part before one `@`, a dot in the part after it, no white space, and one
    /// canonical form.
    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail::NoAddress)?;
        let fits = text.len() <= Self::MAX_LENGTH
            && !local.is_empty()
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && domain.contains('.')
            && !domain.contains('@')
            && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if !fits {
            return Err(InvalidEmail::NoAddress);
        }
        let canonical = canonical_local(local).zip(canonical_domain(domain));
        let (local, domain) = canonical.ok_or(InvalidEmail::Ambiguous)?;
        Ok(Self { written: text.to_lowercase(), canonical: format!("{local}@{domain}") })
    }
}

/// Lower case and composed (Unicode's form NFC).
fn canonical_local(local: &str) -> Option<String> {
    if local.is_ascii() {
        return Some(local.to_ascii_lowercase());
    }
    let composed: String = local.nfc().collect();
    let unambiguous = local.chars().all(|c| is_plain(c) && !uppercases_to_ascii(c))
        // If NFKC changes it, it is another spelling of the same text.
        && composed.nfkc().eq(composed.chars());
    unambiguous.then(|| composed.to_lowercase().nfc().collect())
}

/// The domain in A-labels (UTS 46).
fn canonical_domain(domain: &str) -> Option<String> {
    let lower = domain.to_ascii_lowercase();
    if lower.is_ascii() && !lower.split('.').any(|label| label.starts_with("xn--")) {
        return Some(lower);
    }
    if !domain.chars().all(is_plain) {
        return None;
    }
    let mapped = Uts46::new().to_ascii(
        lower.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    mapped.ok().map(std::borrow::Cow::into_owned)
}

/// Whether a character is ASCII, or a letter, a digit or an accent of its own.
fn is_plain(c: char) -> bool {
    c.is_ascii()
        || (c.is_alphanumeric() || is_combining_mark(c))
            && !is_invisible(c)
            && !std::iter::once(c).nfkc().chain(c.to_lowercase()).any(|mapped| mapped.is_ascii())
}

/// Such as the dotless `ı`: a reader that compares in upper case takes them for ASCII letters. A domain may
/// contain them, since resolvers do not compare in upper case.
fn uppercases_to_ascii(c: char) -> bool {
    let mut upper = c.to_uppercase();
    !c.is_ascii() && matches!((upper.next(), upper.next()), (Some(only), None) if only.is_ascii())
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        text.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.written
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Reads an email in an item, for `#[serde(deserialize_with)]`.
pub(crate) fn stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Email>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Email::stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    /// Characters beyond ASCII, without private and unassigned planes and those in which one character is
    /// like another.
    fn beyond_ascii() -> impl Iterator<Item = char> {
        ('\u{80}'..='\u{1ffff}').chain('\u{2f800}'..='\u{2fa1f}').chain('\u{e0000}'..='\u{e0fff}')
    }

    #[test]
    fn two_spellings_of_an_address_are_one_and_each_is_shown_as_it_was_written_but_for_its_case() {
        for (one, other, canonical) in [
            ("Alice@Example.COM", "alice@example.com", "alice@example.com"),
            ("info@bücher.example", "INFO@xn--bcher-kva.example", "info@xn--bcher-kva.example"),
            ("info@BÜCHER.example", "info@XN--BCHER-KVA.example", "info@xn--bcher-kva.example"),
            ("jos\u{e9}@example.com", "JOSE\u{301}@example.com", "jos\u{e9}@example.com"),
            ("straße@example.com", "STRAẞE@example.com", "straße@example.com"),
            ("用户@例子.example", "用户@xn--fsqu00a.example", "用户@xn--fsqu00a.example"),
        ] {
            assert_eq!(email(one), email(other), "{one} {other}");
            assert_eq!(email(one).canonical(), canonical, "{one}");
            assert_eq!(email(other).canonical(), canonical, "{other}");
            assert_eq!(email(one).to_string(), one.to_lowercase());
        }
    }

    #[test]
    fn an_address_of_ascii_is_its_lower_case_as_it_always_was() {
        for text in ["A.B+c_d'e@Sub.Example.com", "\"odd#one\"@x_y.example", "a@-b-.example"] {
            assert_eq!(email(text).canonical(), text.to_lowercase());
            assert_eq!(email(text).former(), None);
        }
    }

    #[test]
    fn other_addresses_are_others() {
        for (one, other) in [
            ("jose@example.com", "josé@example.com"),
            ("strasse@example.com", "straße@example.com"),
            ("a@bucher.example", "a@bücher.example"),
            ("a.b@example.com", "ab@example.com"),
        ] {
            assert_ne!(email(one), email(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(250));
        for wrong in ["", "alice", "@example.com", "a@b", "a@b@c.d", "a b@c.de", "a@.com", "a@com.", &long] {
            assert_eq!(wrong.parse::<Email>(), Err(InvalidEmail::NoAddress), "{wrong}");
        }
    }

    #[test]
    fn what_could_be_taken_for_another_address_is_refused_and_not_folded_into_it() {
        for wrong in [
            "\u{212a}im@example.com",           // the Kelvin sign
            "\u{130}d@example.com",             // İ: an i and a dot in lower case
            "al\u{131}@example.com",            // ı: an I in upper case
            "li\u{17f}a@example.com",           // the long s
            "\u{ff4b}im@example.com",           // full width
            "o\u{fb03}ce@example.com",          // a ligature
            "a\u{200b}lice@example.com",        // no width
            "alice\u{200d}@example.com",        // a joiner
            "alice\u{2060}@example.com",        // a word joiner
            "\u{feff}alice@example.com",        // a byte order mark
            "al\u{ad}ice@example.com",          // a soft hyphen
            "alice\u{34f}@example.com",         // a grapheme joiner
            "alice\u{fe0f}@example.com",        // a variation selector
            "alice\u{3164}@example.com",        // a filler
            "\u{202e}ecila@example.com",        // text turned around
            "alice\u{2066}@example.com",        // an isolate
            "alice\u{200e}@example.com",        // a mark of direction
            "alice\u{e0061}@example.com",       // a tag
            "al\u{2019}ice@example.com",        // a quote that is not ASCII
            "alice\u{e000}@example.com",        // of private use
            "alice@ex\u{200b}ample.com",        // and the same in domains
            "alice@\u{212a}im.example",         //
            "alice@\u{ff45}xample.com",         //
            "alice@example\u{3002}com.example", // a full stop to UTS 46
            "alice@example\u{ff0e}com.example", //
            "alice@a\u{202e}b.example",         //
            "alice@\u{301}a.example",           // an accent without a letter
            "alice@xn--a.example",              // what is no A-label
            "alice@xn--example-.com",           //
            "alice@b\u{fc}cher_b.example",      // no name of a host
        ] {
            assert_eq!(wrong.parse::<Email>(), Err(InvalidEmail::Ambiguous), "{wrong:?}");
        }
    }

    #[test]
    fn no_character_beyond_ascii_becomes_an_address_of_ascii() {
        for c in beyond_ascii() {
            if let Ok(email) = format!("x{c}y@example.com").parse::<Email>() {
                assert!(!email.canonical().is_ascii(), "{c:?}: {}", email.canonical());
            }
            if let Ok(email) = format!("x@x{c}y.example.com").parse::<Email>() {
                assert!(email.canonical().starts_with("x@xn--"), "{c:?}: {}", email.canonical());
            }
        }
    }

    #[test]
    fn a_canonical_form_is_its_own() {
        for c in beyond_ascii() {
            let Ok(once) = format!("X{c}y@x{c}y.example.com").parse::<Email>() else { continue };
            let twice = email(once.canonical());
            assert_eq!(once.canonical(), twice.canonical(), "{c:?}");
            let decomposed: String = once.as_str().nfd().collect();
            assert_eq!(email(&decomposed).canonical(), once.canonical(), "{c:?}");
        }
    }

    #[test]
    fn what_is_stored_stays_readable() {
        #[derive(Deserialize)]
        struct Item {
            #[serde(default, deserialize_with = "stored")]
            email: Option<Email>,
        }
        let read = |json: &str| serde_json::from_str::<Item>(json).unwrap().email;
        let odd = read("{\"email\":\"a\u{200b}@example.com\"}").unwrap();
        assert_eq!((odd.as_str(), odd.canonical()), ("a\u{200b}@example.com", "a\u{200b}@example.com"));
        assert_eq!(read(r#"{"email":"Bob@Example.com"}"#), Some(email("bob@example.com")));
        assert!(read("{}").is_none() && read(r#"{"email":null}"#).is_none());
    }
}
