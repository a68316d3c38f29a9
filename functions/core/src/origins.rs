//! Which web pages may call. A browser says in the `Origin` header from which page a request comes (Fetch standard,
//! section 3.2; RFC 6454 section 7). Other programs send none and are not affected. The edge notes the origin with the
//! request ([`RequestOrigin`]).
//!
//! 1. **The deployment's list** decides ([`Settings::allows_origin`]), for CORS and for the MCP endpoint alike. It alone
//!    decides about preflights, since they carry no credential.
//! 2. **The account's list** narrows it ([`AgentAccount::allows_origin`](crate::agents::AgentAccount::allows_origin)), wherever
//!    an account's credential is proven: at the token endpoint, introspection and revocation, and at the proxy. The
//!    account has been read there anyway. It cannot widen: an origin that is not the deployment's is refused with an
//!    account's credentials, whatever the account's list says.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::Settings;

/// The answer to pages of an origin that is not among the deployment's.
pub const NOT_ALLOWED: &str = "This origin is not allowed";

/// The answer to pages that use an agent account's credentials and may not.
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
        // The parser accepts an asterisk as a letter. Its author expects a wildcard, which is not supported.
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

/// The origin of the page that sent a request, from its `Origin` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequestOrigin {
    /// No page: servers and command lines send no such header.
    #[default]
    NoPage,
    /// The header's text. It can be any text, also `null`. Only listed origins are allowed.
    Page(String),
    /// Several headers, or one that is not text. It is never allowed.
    Unclear,
}

impl RequestOrigin {
    /// From the values of all `Origin` headers.
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

    /// Whether the request comes from no page, or from one of these origins.
    pub(crate) fn is_among(&self, allowed: &[Origin]) -> bool {
        match self {
            Self::NoPage => true,
            // Scheme and host have no case (RFC 3986 section 6.2.2.1). There is nothing else in an origin.
            Self::Page(text) => allowed.iter().any(|origin| origin.0.eq_ignore_ascii_case(text)),
            Self::Unclear => false,
        }
    }
}

impl Settings {
    /// Also allows the pages of these origins.
    #[must_use]
    pub fn allowing(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.allowed_origins.extend(origins);
        self
    }

    /// Says that the service is also at these origins, whose pages may call. What is named by one of them is the same
    /// as what is named by the service's own address.
    #[must_use]
    pub fn also_at(self, others: impl IntoIterator<Item = Origin>) -> Self {
        let others: Vec<Origin> = others.into_iter().collect();
        Self { other_origins: others.iter().map(ToString::to_string).collect(), ..self.allowing(others) }
    }

    /// Whether the deployment accepts requests from there.
    pub fn allows_origin(&self, from: &RequestOrigin) -> bool {
        from.is_among(&self.allowed_origins)
    }

    /// Whether a page of this origin is one of ours.
    pub fn is_own_origin(&self, origin: &[u8]) -> bool {
        let own = std::iter::once(self.origin()).chain(self.other_origins.iter().map(String::as_str));
        own.into_iter().any(|own| origin.eq_ignore_ascii_case(own.as_bytes()))
    }

    /// Whether this is a name, with its port, by which the service is reached in addition to its own.
    pub fn is_also_at(&self, host: &str) -> bool {
        let name = |origin: &String| {
            origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host))
        };
        self.other_origins.iter().any(name)
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
        assert!(settings.allows_origin(&RequestOrigin::NoPage));
        for right in [
            "https://app.example.com",
            "https://deputize.example.com",
            "https://APP.example.com",
            "HTTPS://app.example.com",
        ] {
            assert!(settings.allows_origin(&from(&[right.as_bytes()])), "{right}");
        }
        for wrong in [
            "",
            "null",
            "*",
            "http://app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "https://app.example.com/",
            "https://app.example.com.",
            "https://app.example.com.evil.example",
            "https://evil.app.example.com",
            "https://app.example.com https://app.example.com",
            "https://app.example.com,https://app.example.com",
            " https://app.example.com",
        ] {
            assert!(!settings.allows_origin(&from(&[wrong.as_bytes()])), "{wrong}");
        }
        let app = b"https://app.example.com".as_slice();
        assert_eq!(from(&[app, app]), RequestOrigin::Unclear);
        assert_eq!(from(&[b"\xff"]), RequestOrigin::Unclear);
        assert!(!settings.allows_origin(&RequestOrigin::Unclear));
    }

    #[test]
    fn whether_it_is_https_is_read_as_a_url_is() {
        for (url, is_https) in [
            ("https://deputize.example.com", true),
            ("HTTPS://deputize.example.com/v1", true),
            ("http://127.0.0.1:8787", false),
            ("http://https://deputize.example.com", false),
            ("nonsense", false),
        ] {
            assert_eq!(Settings::at(url).is_https(), is_https, "{url}");
        }
    }
}
