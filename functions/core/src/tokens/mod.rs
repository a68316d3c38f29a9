//! Agent tokens: who gets one, what it says and where it is good, the keys that sign them, and revoking one.

mod assertion;
mod audience;
mod claims;
mod client;
mod issue;
mod keyring;
mod revoke;

pub use self::{
    audience::Audience,
    claims::{Refused, VerifiedToken},
    client::ClientAuth,
    issue::{ActorToken, Grant, Issued, TokenRequest, introspect, issue, refuse},
    keyring::{Keyring, PublicKey, revoke_key, rotate},
    revoke::revoke,
};
pub(crate) use self::{claims::verify, keyring::bootstrap_key};

use std::time::Duration;

/// How long an agent token is valid.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// The one scope there is: calling tools through the proxy.
pub const SCOPE: &str = "tools:call";
