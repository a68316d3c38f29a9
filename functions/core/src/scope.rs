//! The scopes of access tokens (RFC 6749 section 3.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audience::Resource;

/// Calling tools through the proxy.
pub const TOOLS_CALL: &str = "tools:call";
/// The management API, as the user and without an admin's powers.
pub const MANAGE: &str = "manage";
/// Refresh tokens (OpenID Connect Core section 11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// Some of the scopes that there are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Scopes {
    pub tools_call: bool,
    pub manage: bool,
    pub offline_access: bool,
}

impl Scopes {
    /// Those of a text. Clients ask for what other servers have, such as `openid`: what is unknown is left out.
    pub fn of(text: &str) -> Self {
        let has = |scope: &str| text.split(' ').any(|one| one == scope);
        Self { tools_call: has(TOOLS_CALL), manage: has(MANAGE), offline_access: has(OFFLINE_ACCESS) }
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tools_call: self.tools_call && other.tools_call,
            manage: self.manage && other.manage,
            offline_access: self.offline_access && other.offline_access,
        }
    }

    /// Those that there are at a resource. If what was asked for is none of them, it is the resource's default: all that
    /// an app can have there.
    #[must_use]
    pub fn at(self, resource: &Resource) -> Self {
        let manages = *resource == Resource::Management;
        Self { tools_call: !manages, manage: manages, offline_access: self.offline_access }
    }

    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all =
            [(self.tools_call, TOOLS_CALL), (self.manage, MANAGE), (self.offline_access, OFFLINE_ACCESS)];
        let had: Vec<&str> = all.into_iter().filter(|(had, _)| *had).map(|(_, name)| name).collect();
        f.write_str(&had.join(" "))
    }
}

impl From<String> for Scopes {
    fn from(text: String) -> Self {
        Self::of(&text)
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_and_what_is_unknown_is_left_out() {
        let all = "tools:call manage offline_access";
        assert_eq!(Scopes::of(all).to_string(), all);
        let asked = Scopes::of("openid profile offline_access Manage tools:calls tools:call");
        assert_eq!(asked.to_string(), "tools:call offline_access");
        assert_eq!(asked.and(Scopes::of("manage offline_access")).to_string(), "offline_access");
        assert!(Scopes::of("openid").is_empty() && Scopes::of("").is_empty());
    }
}
