//! Sets of scopes, as they are asked for and granted (RFC 6749 section 3.3).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::demo_servers::{READ, WRITE};

/// Asks for a refresh token, for use while the user is not present (OpenID Connect Core section 11).
pub(super) const OFFLINE: &str = "offline_access";

/// All scopes, and what each allows, in words for users.
pub(super) const ALL: [(&str, &str); 3] = [
    (READ, "Read your channels and repositories"),
    (WRITE, "Post messages in your name"),
    (OFFLINE, "Stay connected while you are away"),
];

/// Some of [`ALL`], in the same order, each once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Scopes(Vec<&'static str>);

impl Scopes {
    /// The scopes for which `wanted` is true.
    pub(super) fn which(mut wanted: impl FnMut(&str) -> bool) -> Self {
        Self(ALL.into_iter().map(|(scope, _)| scope).filter(|scope| wanted(scope)).collect())
    }

    pub(super) fn has(&self, scope: &str) -> bool {
        self.0.contains(&scope)
    }

    /// Whether a token with these scopes could do anything at the MCP server.
    pub(super) fn allow_anything(&self) -> bool {
        self.has(READ) || self.has(WRITE)
    }

    pub(super) fn are_within(&self, others: &Self) -> bool {
        self.0.iter().all(|scope| others.has(scope))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

impl FromStr for Scopes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named: Vec<&str> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
        match named.iter().find(|scope| ALL.iter().all(|(known, _)| known != *scope)) {
            Some(_) => Err(format!("the scopes are {}", ALL.map(|(scope, _)| scope).join(", "))),
            None => Ok(Self::which(|scope| named.contains(&scope))),
        }
    }
}

impl TryFrom<String> for Scopes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}
