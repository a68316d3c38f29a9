//! The functions, and what each needs.

use std::fmt;

/// A Lambda function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Token,
    Delegations,
    Grants,
    Proxy,
    Admin,
}

/// What a function needs beside the table. A new need has to be answered for each function, or this does not
/// compile.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// It seals or opens secrets, so it needs root keys, and the permission to use them.
    pub vault: bool,
    /// It connects to MCP servers or their authorization servers.
    pub upstreams: bool,
    /// It answers with streams.
    pub streams: bool,
}

impl Function {
    pub const ALL: [Self; 5] = [Self::Token, Self::Delegations, Self::Grants, Self::Proxy, Self::Admin];

    /// Its name in metrics, logs and templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Delegations => "delegations",
            Self::Grants => "grants",
            Self::Proxy => "proxy",
            Self::Admin => "admin",
        }
    }

    pub fn needs(self) -> Needs {
        match self {
            Self::Token | Self::Admin => Needs { vault: true, upstreams: false, streams: false },
            Self::Delegations => Needs { vault: false, upstreams: false, streams: false },
            Self::Grants => Needs { vault: true, upstreams: true, streams: false },
            Self::Proxy => Needs { vault: true, upstreams: true, streams: true },
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
