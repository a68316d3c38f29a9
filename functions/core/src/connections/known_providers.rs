//! What is known of authorization servers beyond their metadata, by their issuer: `known_providers.json`, where each
//! entry names its sources.
//!
//! It is applied by itself. What an admin says in a server's `oauth_client` comes before it.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::entities::oauth_client::ProviderSettings;

/// How a client authenticates at the token endpoint (RFC 7591 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    None,
    ClientSecretBasic,
    ClientSecretPost,
}

impl AuthMethod {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}

/// An authorization server, or a family of them, of which something is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownProvider {
    pub name: String,
    /// Its issuers. `{…}` in one stands for some letters, digits and `-._~`.
    issuers: Vec<String>,
    /// Whether the issuers are one authorization server: it names itself by any of them.
    #[serde(default)]
    one_issuer: bool,
    #[serde(default)]
    pub settings: ProviderSettings,
    /// How a client with a secret authenticates.
    #[serde(default)]
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// Whether a refresh needs the scope.
    #[serde(default)]
    pub(super) scope_on_refresh: bool,
    /// The pages that say so.
    pub sources: Vec<String>,
}

impl KnownProvider {
    fn has(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|pattern| matches(pattern, without_slash(issuer)))
    }
}

static KNOWN: LazyLock<Vec<KnownProvider>> = LazyLock::new(|| {
    // The file is part of the program. A test reads it.
    serde_json::from_str(include_str!("known_providers.json")).unwrap_or_default()
});

/// What is known of an issuer.
pub fn known_provider(issuer: &str) -> Option<&'static KnownProvider> {
    KNOWN.iter().find(|known| known.has(issuer))
}

/// Whether two names are of one issuer. RFC 8414 section 3.3 has them compared as they are. Real ones differ by a slash
/// at the end: Google's MCP servers name `https://accounts.google.com/`, whose metadata lacks it
/// (<https://github.com/github/copilot-cli/issues/4606>), and Auth0's have it the other way round
/// (<https://github.com/mcp-use/mcp-use/pull/1300>). Such a name leads to the same host. Any other difference must be
/// known of the provider.
pub(super) fn is_same_issuer(one: &str, other: &str) -> bool {
    without_slash(one) == without_slash(other)
        || known_provider(one).is_some_and(|known| known.one_issuer && known.has(other))
}

fn without_slash(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('{') else { return pattern == text };
    let (Some(text), Some((_, after))) = (text.strip_prefix(before), rest.split_once('}')) else {
        return false;
    };
    // Entra's metadata has the placeholder itself: `{tenantid}`.
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-._~{}".contains(c)).unwrap_or(text.len());
    (1..=end).any(|length| matches(after, &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read_and_each_entry_names_its_sources() {
        let known: Vec<KnownProvider> = serde_json::from_str(include_str!("known_providers.json")).unwrap();
        for KnownProvider { name, issuers, sources, .. } in known {
            assert!(!issuers.is_empty() && !sources.is_empty(), "{name}");
            assert!(issuers.iter().all(|issuer| issuer.starts_with("https://")), "{name}");
        }
    }

    #[test]
    fn a_provider_is_known_by_its_issuer_and_by_nothing_that_looks_like_it() {
        let name = |issuer| known_provider(issuer).map(|known| known.name.as_str());
        assert_eq!(name("https://accounts.google.com/"), Some("Google"));
        assert_eq!(name("https://login.microsoftonline.com/organizations/v2.0"), Some("Microsoft Entra ID"));
        assert_eq!(
            name("https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/"),
            Some("Microsoft Entra ID, version 1")
        );
        assert_eq!(name("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC"), Some("Amazon Cognito"));
        for other in [
            "http://accounts.google.com",
            "https://accounts.google.com.evil.example",
            "https://accounts.google.com//",
            "https://evil.example/accounts.google.com",
            "https://login.microsoftonline.com/a/b/v2.0",
            "https://login.microsoftonline.com@evil.example/v2.0",
            "https://cognito-idp.evil.example/x.amazonaws.com/pool",
            "https://cognito-idp.evil.example#.amazonaws.com/pool",
            "",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn issuers_are_the_same_but_for_a_slash_or_where_that_is_known() {
        for (one, other) in [
            ("https://accounts.google.com/", "https://accounts.google.com"),
            ("https://tenant.eu.auth0.com", "https://tenant.eu.auth0.com/"),
            (
                "https://login.microsoftonline.com/organizations/v2.0",
                "https://login.microsoftonline.com/{tenantid}/v2.0",
            ),
            ("https://mcp.slack.com", "https://slack.com"),
            ("https://auth.atlassian.com/VCeDsk8ZHncYF1g234fKtc4lNipbBhu3", "https://auth.atlassian.com"),
        ] {
            assert!(is_same_issuer(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("https://as.example", "https://as.example/tenant"),
            ("https://as.example", "https://as.example//"),
            ("https://as.example", "http://as.example"),
            ("https://as.example", "https://AS.example"),
            ("https://accounts.google.com", "https://login.microsoftonline.com/a/v2.0"),
            (
                "https://cognito-idp.eu-west-1.amazonaws.com/one",
                "https://cognito-idp.eu-west-1.amazonaws.com/two",
            ),
        ] {
            assert!(!is_same_issuer(one, other), "{one} {other}");
        }
    }
}
