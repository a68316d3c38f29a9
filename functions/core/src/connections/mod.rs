//! Connecting users to OAuth-protected MCP servers, and keeping their sessions alive: Deputize as an OAuth client
//! ([authorization](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization)).
//!
//! | file | holds |
//! | --- | --- |
//! | `challenge` | `WWW-Authenticate` challenges (RFC 6750, RFC 9728) |
//! | `discovery` | from an MCP server to its authorization server (RFC 9728, RFC 8414, OpenID Connect Discovery) |
//! | `metadata` | what an authorization server says of itself |
//! | `known_providers` | what is known of one beyond that |
//! | `token_endpoint` | what its token endpoint is asked |
//! | `token_response` | what that answers |
//! | `registration` | which client we are there: pre-registered, by metadata document, or by RFC 7591 |
//! | `look` | the same, for an admin who is about to register a server |
//! | `begin` | the way to the authorization server, with PKCE and a `state` |
//! | `finish` | the way back: whose connection and answer it is, and the code's exchange |
//! | `disconnect`, `revoke` | the end of a connection, here and at its provider (RFC 7009) |
//! | `our_client` | which client a session's tokens are bound to, and whether it still is ours |
//! | `refresh` | new tokens for old ones, by one caller at a time across processes |
//! | `list` | all of a user's |
//! | `lease` | which caller that is: for how long, and what is written under the lease |
//!
//! The server and its authorization server are unknown to the deployment, and treated as hostile. All that they say is
//! bounded in size and time. Their addresses are checked like every address. Their words reach no further than an
//! error's text.
//!
//! **A secret is sent only where it was given for.** A refresh token goes to the token endpoint that its issuer's own
//! metadata names, with the client that it was given to. The secret of an `oauth_client` goes with its `client_id` to
//! its `issuer`. Both are compared each time that it is used, in a refresh and in a code's exchange. If an admin has
//! named another client meanwhile, no request is sent and nothing ends. The error says to connect again, or to correct
//! `oauth_client`.
//!
//! In the steady state none of this happens: the session is one of the items of a call's one read.

pub mod begin;
mod challenge;
mod disconnect;
mod discovery;
pub mod finish;
mod known_providers;
mod lease;
mod list;
mod look;
mod metadata;
mod our_client;
mod refresh;
pub mod registration;
mod revoke;
mod token_endpoint;
mod token_response;

pub use self::{
    begin::{BegunConnection, begin, begin_on_the_way},
    challenge::{Challenge, is_scope},
    disconnect::disconnect,
    finish::{AuthorizationResponse, ConnectionOutcome, Proof, finish},
    known_providers::{AuthMethod, KnownProvider, known_provider},
    lease::{ASK_WITHIN, REFRESH_WITHIN},
    list::{ConnectionFilter, ConnectionOfUser, list, list_at_server},
    look::{FoundAuthorization, look},
    our_client::has_ended,
    revoke::{AtProvider, REVOKE_WITHIN},
};
pub(crate) use self::{
    disconnect::end,
    refresh::{Need, ensure_fresh},
    registration::Client,
    token_endpoint::{AuthorizationGrant, TokenRequest, ask_for_tokens},
    token_response::TokenRequestError,
};

use crate::{
    error::Result,
    table::{Change, CommitError, Entity, Key, Table, retry_on_conflict},
};

/// A space-separated scope (RFC 6749 section 3.3) of both, each value once, in the order of appearance.
fn union(scopes: &[Option<&str>]) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    let values = scopes.iter().flatten().flat_map(|scope| scope.split_ascii_whitespace());
    let all: Vec<&str> = values.filter(|value| seen.insert(*value)).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// Deletes an item if it is still as it was read. `false` if it is not, so another writer was faster.
async fn delete_once<T: Entity>(table: &Table, key: &Key, read_at: u64) -> Result<bool> {
    retry_on_conflict(|| async {
        let mut change = Change::new();
        change.delete(key, read_at)?;
        match table.commit(change).await {
            Ok(()) => Ok(true),
            Err(CommitError::ConditionFailed) => {
                let there = table.read_one::<T>(key.clone()).await?;
                // It is as it was read. So no other writer was faster: two transactions of the store
                // collided.
                if there.is_some_and(|there| there.rev == read_at) {
                    Err(CommitError::ConditionFailed)
                } else {
                    Ok(false)
                }
            }
            Err(failed) => Err(failed),
        }
    })
    .await
}

/// Another party's words for an error text: one line of at most 200 characters.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
