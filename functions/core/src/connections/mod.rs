//! Connecting users to OAuth-protected MCP servers, and keeping their sessions alive: Deputize as an OAuth
//! client ([authorization](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization)).
//!
//! | file | holds |
//! | --- | --- |
//! | `http` | what is asked of the network, and a bounded reading of documents |
//! | `challenge` | `WWW-Authenticate` challenges (RFC 6750, RFC 9728) |
//! | `discovery` | from an MCP server to its authorization server (RFC 9728, RFC 8414, OpenID Connect Discovery) |
//! | `provider` | an authorization server: its metadata, and its token endpoint |
//! | `registration` | which client we are there: pre-registered, by metadata document, or by RFC 7591 |
//! | `begin` | the way to the authorization server, with PKCE and a `state` |
//! | `finish` | the way back: whose it is, whose answer it is, and the code's exchange |
//! | `refresh` | new tokens for old, by one caller at a time across processes |
//!
//! All that the server and its authorization server say is hostile: it is bounded in size and time, its
//! addresses are decided on like every address, and its words are never taken further than an error's text.

pub mod begin;
mod challenge;
mod discovery;
pub mod finish;
pub mod http;
mod provider;
mod refresh;
pub mod registration;

pub(crate) use self::refresh::{Need, fresh};
pub use self::{
    begin::{Begun, begin},
    challenge::Challenge,
    finish::{Answer, Finished, Proof, finish},
};

/// Where authorization servers send browsers back to, below the deployment's address.
pub const CALLBACK_PATH: &str = "/api/v1/oauth/callback";
/// Where our Client ID Metadata Document is, below the deployment's address.
pub const CLIENT_METADATA_PATH: &str = "/api/v1/oauth/client-metadata.json";

/// A space-separated scope (RFC 6749 section 3.3) of both, each value once, in the order of appearance.
fn union(scopes: &[Option<&str>]) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for value in scopes.iter().flatten().flat_map(|scope| scope.split_ascii_whitespace()) {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    (!all.is_empty()).then(|| all.join(" "))
}

/// Somebody else's words in an error of ours: one line, and not long.
fn quoted(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
