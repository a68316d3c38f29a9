//! Agent tokens: the claims, the keys that sign them, issuing and reading them, and revoking one.

mod claims;
mod issue;
mod keyring;
mod revoke;

pub(crate) use self::{claims::verify, keyring::bootstrap_key};
pub use self::{
    claims::{Refused, VerifiedToken},
    issue::{ActorToken, ClientAuth, Grant, Issued, introspect, issue, refuse},
    keyring::{Keyring, PublicKey, revoke_key, rotate},
    revoke::revoke,
};

use std::time::Duration;

/// How long an agent token is valid.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// The one scope there is: calling tools through the proxy.
pub const SCOPE: &str = "tools:call";
