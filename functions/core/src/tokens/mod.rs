//! Access tokens: who gets one, what it says, the keys that sign them, and revoking one.
//!
//! | file | holds |
//! | --- | --- |
//! | `client` | client authentication: by a secret, by a signed assertion, or by a token to exchange |
//! | `assertion` | clients that sign (`private_key_jwt`), each assertion once |
//! | `issue` | a token request from its parts to its token, and whether a token is still good |
//! | `claims`, `refused` | what an agent's token says; why a token is refused without the table |
//! | `app_token` | the token of an app, which acts as its user |
//! | `own` | a token of ours, by its kind |
//! | `app_client`, `app_keys` | authentication of apps; the keys that they publish |
//! | `app_secret`, `code`, `family` | what an app redeems: authorization codes, and families of refresh tokens |
//! | `app_issue` | a token request of an app from its parts to its tokens |
//! | `app_own` | revoking and introspecting an app's own tokens |
//! | `keyring` | the keys that sign |
//! | `revoke`, `revoked` | revoking one token; the note of it |
//!
//! Tokens are ES256 JWTs, valid for 3,600 s at most, with one scope, `tools:call`. A token names everything that it
//! depends on, so that each call can read it. One function, in `issue`, decides whether all of it is still valid. Why a
//! call reads it each time is in `docs/decisions.md`.
//!
//! They are signed and verified with `aws-lc-rs` directly. `jsonwebtoken` would parse the key again for each token, at
//! several times the cost of the signature. Users' JWTs go through `jsonwebtoken` ([`crate::jwt`]).

mod app_client;
mod app_issue;
mod app_keys;
mod app_own;
mod app_secret;
mod app_token;
mod assertion;
mod claims;
mod client;
mod code;
mod family;
mod issue;
mod keyring;
mod own;
mod refused;
mod revoke;
mod revoked;

pub use self::{
    app_issue::{AppGrant, AppTokenRequest, AppTokens, issue_to_app, refuse as refuse_app},
    app_token::{AppToken, SignedAppToken, sign as sign_app_token},
    claims::VerifiedToken,
    client::ClientAuth,
    code::{CODE_LIVES, NewCode, add_code},
    family::{MAX_REFRESH_GRACE, REFRESH_GRACE},
    issue::{ActorToken, IssuedToken, TokenGrant, TokenRequest, introspect, issue, refuse},
    keyring::{Keyring, PublicKey, revoke_key, rotate},
    own::OwnToken,
    refused::AgentTokenError,
    revoke::revoke,
};
pub(crate) use self::{app_keys::AppKeys, claims::claims_to_be_ours, keyring::bootstrap_key, own::verify};

pub use crate::audience::{Audience, MAX_RESOURCES, Resource};
use std::time::Duration;

/// How long an agent token is valid.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// The scope of agents' tokens: calling tools through the proxy.
pub const SCOPE: &str = crate::scope::TOOLS_CALL;

/// A resource from the parameter `resource` (RFC 8707 section 2) or `audience` (RFC 8693 section 2.1), which
/// mean the same here. Each parameter may be repeated, and both may be used: the token is for all that they
/// name.
#[derive(Clone, Copy, Debug)]
pub struct RequestedResource<'a> {
    pub parameter: &'static str,
    pub name: &'a str,
}

/// The `typ` of a token's header (RFC 9068 section 2.1).
const TYPE: &str = "at+jwt";
