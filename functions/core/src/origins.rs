//! Which web pages may call. A browser says in the `Origin` header whose page a request comes from
//! (Fetch standard, section 3.2; RFC 6454 section 7); what is no browser sends none and is not concerned.
//!
//! [`Settings::lets_call`] is the one place that decides for a deployment, and
//! [`AgentAccount::lets_call`](crate::agents::AgentAccount::lets_call) narrows it for one agent account.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::Settings;

/// What the pages of an origin are told that is not the deployment's.
pub const NOT_ALLOWED: &str = "This origin is not allowed";

/// What they are told if they use the credentials of an agent account that is not for them.
pub const NOT_FOR_ACCOUNT: &str = "The agent account may not be used from this origin: it must be one of the deployment's, and \
     one of the account's allowed_origins if those are set";

/// The longest origin, in characters: `https://`, a host name of 253, and a port.
const MAX_LENGTH: usize = 267;

/// A web origin as browsers write it (RFC 6454 section 6.1), so that comparing texts is enough:
/// `https://app.example.com`, without a default port, a path or a slash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Origin {
    /// The origin of a page at this address.
    fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let http = matches!(url.scheme(), "http" | "https");
        let origin = url.origin().ascii_serialization();
        // The parser takes an asterisk for a letter, but whoever writes one means something that is not done here.
        let plain = origin.len() <= MAX_LENGTH && !origin.contains('*');
        (http && plain).then_some(Self(origin))
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of(text).filter(|origin| origin.0 == text).ok_or_else(|| {
            let shown: String = text.chars().filter(|char| !char.is_control()).take(100).collect();
            format!("{shown} is no origin; one looks like https://app.example.com")
        })
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(Origin(text): Origin) -> Self {
        text
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose page a request comes from, by its `Origin` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequestOrigin {
    /// Nobody's: servers and command lines send no such header.
    #[default]
    NoPage,
    /// As the header says. It may say anything, `null` among it; only what is listed is allowed.
    Page(String),
    /// Several headers, or one that is no text: it is allowed nowhere.
    Unclear,
}

impl RequestOrigin {
    /// By the values of all `Origin` headers.
    pub fn read<'a>(mut headers: impl Iterator<Item = &'a [u8]>) -> Self {
        match (headers.next(), headers.next()) {
            (None, _) => Self::NoPage,
            (Some(one), None) => {
                let text = std::str::from_utf8(one).ok().filter(|text| text.len() <= MAX_LENGTH);
                text.map_or(Self::Unclear, |text| Self::Page(text.to_owned()))
            }
            (Some(_), Some(_)) => Self::Unclear,
        }
    }

    /// Whether it is no page's, or one of these.
    pub(crate) fn is_among(&self, allowed: &[Origin]) -> bool {
        match self {
            Self::NoPage => true,
            Self::Page(text) => allowed.iter().any(|origin| origin.0 == *text),
            Self::Unclear => false,
        }
    }
}

impl Settings {
    /// With the pages of these origins, beside our own, as callers.
    #[must_use]
    pub fn allowing(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.allowed_origins.extend(origins);
        self
    }

    /// Whether a request may come from there, as far as all of the deployment is concerned.
    pub fn lets_call(&self, from: &RequestOrigin) -> bool {
        from.is_among(&self.allowed_origins)
    }

    pub(crate) fn own_origin(url: &str) -> Vec<Origin> {
        Origin::of(url).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(values: &[&[u8]]) -> RequestOrigin {
        RequestOrigin::read(values.iter().copied())
    }

    #[test]
    fn an_origin_is_what_a_browser_sends_and_nothing_else() {
        for right in ["https://app.example.com", "http://localhost:5173", "https://[2001:db8::1]:8443"] {
            assert_eq!(right.parse::<Origin>().unwrap().to_string(), right);
        }
        for wrong in [
            "",
            "*",
            "null",
            "https://app.example.com/",
            "https://app.example.com/app",
            "https://app.example.com?q",
            "https://user@app.example.com",
            "app.example.com",
            "HTTPS://a.example",
            "https://A.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:0443",
            "https://*.example.com",
            "https://bücher.example",
            " https://a.example",
            "ftp://a.example",
            "file:///",
            "chrome-extension://abc",
            &format!("https://{}.example", "a".repeat(300)),
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_refused_is_shown_without_what_could_break_a_line() {
        let refused = "https://a.example\n\u{1b}[2J/".parse::<Origin>().unwrap_err();
        assert_eq!(refused, "https://a.example[2J/ is no origin; one looks like https://app.example.com");
    }

    #[test]
    fn only_listed_origins_and_our_own_call_and_tricks_do_not() {
        let app = "https://app.example.com".parse().unwrap();
        let settings = Settings::at("https://deputize.example.com:443/").allowing([app]);
        assert!(settings.lets_call(&RequestOrigin::NoPage));
        for right in ["https://app.example.com", "https://deputize.example.com"] {
            assert!(settings.lets_call(&from(&[right.as_bytes()])), "{right}");
        }
        for wrong in [
            "",
            "null",
            "*",
            "http://app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "https://APP.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com/",
            "https://app.example.com.",
            "https://app.example.com.evil.example",
            "https://evil.app.example.com",
            "https://app.example.com https://app.example.com",
            "https://app.example.com,https://app.example.com",
            " https://app.example.com",
        ] {
            assert!(!settings.lets_call(&from(&[wrong.as_bytes()])), "{wrong}");
        }
        let app = b"https://app.example.com".as_slice();
        assert_eq!(from(&[app, app]), RequestOrigin::Unclear);
        assert_eq!(from(&[b"\xff"]), RequestOrigin::Unclear);
        assert!(!settings.lets_call(&RequestOrigin::Unclear));
    }
}
