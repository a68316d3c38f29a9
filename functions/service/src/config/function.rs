//! The functions, and what each needs.
//!
//! [`Function::needs`] says which function has a vault, calls out or streams. A new need must be answered for each
//! function. The delegations function has no vault: `Vault::none` opens nothing.

use std::fmt;

/// A Lambda function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Token,
    Delegations,
    Grants,
    Proxy,
    Admin,
    Console,
}

/// What a function needs in addition to the table. A new need must be set for each function, else this does
/// not compile.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each need is answered alone")]
pub struct Needs {
    /// It seals or opens secrets, so it needs root keys, and the permission to use them.
    pub vault: bool,
    /// It connects to MCP servers or their authorization servers.
    pub upstreams: bool,
    /// It answers with streams.
    pub streams: bool,
    /// It creates agent accounts, so it reads the deployment's defaults for them.
    pub accounts: bool,
    /// It has to do with apps that act as their users, so it reads which ones the deployment takes.
    pub apps: bool,
    /// It shows or takes browser sessions, so it reads how long they last.
    pub browser_sessions: bool,
}

impl Function {
    pub const ALL: [Self; 6] =
        [Self::Token, Self::Delegations, Self::Grants, Self::Proxy, Self::Admin, Self::Console];

    /// Its name in metrics, logs and templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Delegations => "delegations",
            Self::Grants => "grants",
            Self::Proxy => "proxy",
            Self::Admin => "admin",
            Self::Console => "console",
        }
    }

    pub fn needs(self) -> Needs {
        match self {
            Self::Token => Needs {
                vault: true,
                upstreams: false,
                streams: false,
                accounts: false,
                apps: true,
                browser_sessions: false,
            },
            Self::Delegations => Needs {
                vault: false,
                upstreams: false,
                streams: false,
                accounts: false,
                apps: false,
                browser_sessions: false,
            },
            Self::Grants => Needs {
                vault: true,
                upstreams: true,
                streams: false,
                accounts: false,
                apps: false,
                browser_sessions: false,
            },
            Self::Proxy => Needs {
                vault: true,
                upstreams: true,
                streams: true,
                accounts: false,
                apps: false,
                browser_sessions: false,
            },
            Self::Admin => Needs {
                vault: true,
                upstreams: false,
                streams: false,
                accounts: true,
                apps: false,
                browser_sessions: true,
            },
            Self::Console => Needs {
                vault: true,
                upstreams: true,
                streams: false,
                accounts: false,
                apps: true,
                browser_sessions: true,
            },
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
