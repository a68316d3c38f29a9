//! Where a person goes on after signing in.

use std::{fmt, str::FromStr};

/// A path of ours, with its query. It is only ever put behind the service's own address, and begins with one slash. So it
/// leads to no other host, however a browser reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath(String);

/// The longest one, in bytes. With its name and attributes it fits into a cookie (RFC 6265 section 6.1).
const MAX_RETURN_TO: usize = 3500;

impl Default for LocalPath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl LocalPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`LocalPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("return_to must be a path of this service, of at most {MAX_RETURN_TO} bytes")]
pub struct NotLocal;

impl FromStr for LocalPath {
    type Err = NotLocal;

    fn from_str(text: &str) -> Result<Self, NotLocal> {
        let mut bytes = text.bytes();
        let begins = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
        if begins && plain && text.len() <= MAX_RETURN_TO { Ok(Self(text.to_owned())) } else { Err(NotLocal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_ours_is_taken_and_nothing_that_a_browser_could_read_as_another_host() {
        for good in [
            "/",
            "/agents?x=1&y=%2F%2Fevil.test",
            "/api/v1/oauth/authorize?redirect_uri=http://a/",
            "/:80",
            "/@a",
        ] {
            assert_eq!(good.parse::<LocalPath>().unwrap().as_str(), good);
        }
        let long = format!("/{}", "a".repeat(MAX_RETURN_TO));
        for bad in [
            "",
            "agents",
            "//evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/a\\b",
            "https://evil.test/",
            "javascript:alert(1)",
            "/\t/evil.test",
            "/a b",
            "/\r\nset-cookie: a=b",
            "/ä",
            "/#a",
            "?x",
            &long,
        ] {
            assert_eq!(bad.parse::<LocalPath>(), Err(NotLocal), "{bad}");
        }
    }
}
