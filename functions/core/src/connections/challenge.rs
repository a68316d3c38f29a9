//! `WWW-Authenticate` challenges (RFC 9110 section 11.6.1): what a protected MCP server asks for.

use http_auth::ChallengeParser;

/// The parameters of a `Bearer` challenge that matter to Deputize (RFC 6750 section 3, RFC 9728 section 5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    pub resource_metadata: Option<String>,
    pub scope: Option<String>,
    pub error: Option<String>,
}

impl Challenge {
    /// The `Bearer` challenge in a header. Empty if the header has none, or cannot be parsed.
    pub fn parse(header: &str) -> Self {
        let challenges = ChallengeParser::new(header).map_while(Result::ok);
        let mut bearer = challenges.filter(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
        let Some(challenge) = bearer.next() else { return Self::default() };
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Self {
            resource_metadata: parameter("resource_metadata"),
            scope: parameter("scope").filter(|scope| is_scope(scope)),
            error: parameter("error"),
        }
    }

    /// The missing scope, if the challenge says that the token lacks one.
    pub fn insufficient_scope(&self) -> Option<&str> {
        (self.error.as_deref() == Some("insufficient_scope"))
            .then(|| self.scope.as_deref().unwrap_or_default())
    }
}

/// The longest scope that is accepted, in bytes.
const MAX_SCOPE: usize = 1_000;

/// Whether a text is a scope: the characters of RFC 6749 section 3.3, and a bounded length.
pub fn is_scope(text: &str) -> bool {
    let fits = |byte: u8| matches!(byte, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.trim().is_empty() && text.len() <= MAX_SCOPE && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_is_found_among_others() {
        let header = r#"Basic realm="x, y", Bearer error="insufficient_scope", scope="files:read files:write", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource""#;
        let challenge = Challenge::parse(header);
        assert_eq!(challenge.insufficient_scope(), Some("files:read files:write"));
        assert_eq!(
            challenge.resource_metadata.as_deref(),
            Some("https://mcp.example.com/.well-known/oauth-protected-resource")
        );
    }

    #[test]
    fn what_is_no_challenge_asks_for_nothing() {
        for header in ["", "Bearer", "Basic realm=\"x\"", "=,,=\"", "Bearer scope=\"\\\"\u{7f}\""] {
            assert_eq!(Challenge::parse(header), Challenge::default(), "{header}");
        }
    }

    #[test]
    fn a_scope_with_other_characters_or_without_end_is_ignored() {
        for scope in ["a<b>\u{1}".to_owned(), "x".repeat(MAX_SCOPE + 1), " ".to_owned()] {
            assert_eq!(Challenge::parse(&format!("Bearer scope=\"{scope}\"")).scope, None);
        }
    }
}
