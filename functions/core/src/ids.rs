//! Ids as types of their own, so that mixing two up does not compile.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The kind of thing that the id names, for error messages.
            pub const WHAT: &'static str = $what;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )*};
}

uuid_id! {
    /// A person.
    UserId = "user";
    /// An agent account; also its OAuth `client_id`.
    AgentAccountId = "agent account";
    /// One of an agent account's client secrets.
    SecretId = "client secret";
    /// One of an agent account's public keys.
    ClientKeyId = "client key";
    /// A user's API key.
    ApiKeyId = "API key";
    /// One delegation from a user to an agent account. Re-delegating makes a new one.
    DelegationId = "delegation";
    /// One session grant. Granting again after a revocation makes a new one.
    GrantId = "session grant";
    /// What a user allowed an app. Allowing it again after a revocation makes a new one.
    AuthorizationId = "authorization";
    /// A user's session in a browser.
    BrowserSessionId = "browser session";
    /// The refresh tokens that came of one authorization code.
    TokenFamilyId = "token family";
    /// A Cedar policy.
    PolicyId = "policy";
    /// An audit event; version 7, so that ids sort by time.
    EventId = "audit event";
}

/// An app, in items, tokens and the trail: its `client_id`, or the digest of one that is too long for that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(pub(crate) String);

impl AppId {
    pub const WHAT: &'static str = "app";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registered MCP server: a short name chosen by an admin (`demo`), else a UUID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ServerId(String);

impl ServerId {
    pub const WHAT: &'static str = "server";
    /// In characters.
    pub const MAX_LENGTH: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit")]
pub struct InvalidServerId;

impl FromStr for ServerId {
    type Err = InvalidServerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() <= Self::MAX_LENGTH
            && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidServerId) }
    }
}

impl<'de> Deserialize<'de> for ServerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<Uuid> for ServerId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_cannot_smuggle_a_key_separator() {
        for hostile in ["", "a#b", "Demo", "-a", "a b", "a/b", &"a".repeat(65)] {
            assert!(hostile.parse::<ServerId>().is_err(), "{hostile:?}");
        }
        assert!("demo-oauth".parse::<ServerId>().is_ok());
    }
}
