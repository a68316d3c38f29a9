//! The scopes of access tokens (RFC 6749 section 3.3) and of API keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    audience::Resource,
    error::{Error, Result, ScopeHolder},
};

/// Calling tools through the proxy.
pub const TOOLS_CALL: &str = "tools:call";
/// Reading at the management API. Only API keys have it: an app that reads has [`MANAGE`].
pub const MANAGE_READ: &str = "manage:read";
/// The management API, as the user. Of an app, without the powers of the user's role.
pub const MANAGE: &str = "manage";
/// Refresh tokens (OpenID Connect Core section 11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// What a request takes of a credential that has scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    ToolsCall,
    ManageRead,
    Manage,
}

impl Scope {
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToolsCall => TOOLS_CALL,
            Self::ManageRead => MANAGE_READ,
            Self::Manage => MANAGE,
        }
    }
}

/// Some of the scopes that there are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[expect(clippy::struct_excessive_bools, reason = "a set: each scope is there or not")]
pub struct Scopes {
    pub tools_call: bool,
    pub manage_read: bool,
    pub manage: bool,
    pub offline_access: bool,
}

impl Scopes {
    /// All that an API key can have.
    pub const OF_API_KEYS: Self =
        Self { tools_call: true, manage_read: true, manage: true, offline_access: false };

    /// Whether they are enough for what takes this one. Who may manage may read.
    pub fn cover(self, scope: Scope) -> bool {
        match scope {
            Scope::ToolsCall => self.tools_call,
            Scope::ManageRead => self.manage_read || self.manage,
            Scope::Manage => self.manage,
        }
    }

    /// Refuses a credential whose scopes are not enough (RFC 6750 section 3.1). This is the only place that decides it.
    pub fn require(self, scope: Scope, holder: ScopeHolder) -> Result<()> {
        if self.cover(scope) { Ok(()) } else { Err(Error::ScopeMissing { scope: scope.name(), holder }) }
    }

    /// The first of these scopes that the other scopes are not enough for.
    pub(crate) fn first_beyond(self, other: Self) -> Option<Scope> {
        let all = [
            (self.tools_call, Scope::ToolsCall),
            (self.manage_read, Scope::ManageRead),
            (self.manage, Scope::Manage),
        ];
        all.into_iter().find(|(had, scope)| *had && !other.cover(*scope)).map(|(_, scope)| scope)
    }

    /// Those of a text. Clients ask for what other servers have, such as `openid`: what is unknown is left out.
    pub fn of(text: &str) -> Self {
        let has = |scope: &str| text.split(' ').any(|one| one == scope);
        Self {
            tools_call: has(TOOLS_CALL),
            manage_read: has(MANAGE_READ),
            manage: has(MANAGE),
            offline_access: has(OFFLINE_ACCESS),
        }
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tools_call: self.tools_call && other.tools_call,
            manage_read: self.manage_read && other.manage_read,
            manage: self.manage && other.manage,
            offline_access: self.offline_access && other.offline_access,
        }
    }

    /// Those that there are at a resource. If what was asked for is none of them, it is the resource's default: all that
    /// an app can have there.
    #[must_use]
    pub fn at(self, resource: &Resource) -> Self {
        let manages = *resource == Resource::Management;
        Self {
            tools_call: !manages,
            manage_read: false,
            manage: manages,
            offline_access: self.offline_access,
        }
    }

    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.tools_call, TOOLS_CALL),
            (self.manage_read, MANAGE_READ),
            (self.manage, MANAGE),
            (self.offline_access, OFFLINE_ACCESS),
        ];
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
        let all = "tools:call manage:read manage offline_access";
        assert_eq!(Scopes::of(all).to_string(), all);
        let asked = Scopes::of("openid profile offline_access Manage tools:calls tools:call");
        assert_eq!(asked.to_string(), "tools:call offline_access");
        assert_eq!(asked.and(Scopes::of("manage offline_access")).to_string(), "offline_access");
        assert!(Scopes::of("openid").is_empty() && Scopes::of("").is_empty());
    }

    #[test]
    fn who_may_manage_may_read_and_nothing_else_follows_from_anything() {
        let covered = |text: &str| {
            let all = [Scope::ToolsCall, Scope::ManageRead, Scope::Manage];
            all.map(|scope| Scopes::of(text).cover(scope))
        };
        assert_eq!(covered("manage"), [false, true, true]);
        assert_eq!(covered("manage:read"), [false, true, false]);
        assert_eq!(covered("tools:call"), [true, false, false]);
        let beyond =
            |given: &str, own: &str| Scopes::of(given).first_beyond(Scopes::of(own)).map(Scope::name);
        assert_eq!(beyond("manage:read", "manage"), None);
        assert_eq!(beyond("manage:read manage", "tools:call manage:read"), Some("manage"));
        assert_eq!(beyond("tools:call manage", "manage"), Some("tools:call"));
    }

    #[test]
    fn no_app_can_have_the_scope_of_keys_that_read() {
        let asked = Scopes::of("manage:read").at(&Resource::Management);
        assert_eq!(asked.to_string(), "manage");
    }
}
