//! People sign in by an OpenID provider: Deputize as its relying party
//! ([OpenID Connect Core](https://openid.net/specs/openid-connect-core-1_0.html)).
//!
//! | file | holds |
//! | --- | --- |
//! | `return_to` | where a person goes on afterwards: an address of ours, and no other |
//! | `attempt` | a sign-in under way: its cookie, `state`, `nonce` and PKCE verifier |
//! | `secrets` | how we prove ourselves to a provider |
//! | `begin` | the way to the provider |
//! | `finish` | the way back, which makes a browser session |
//! | `logout` | the end of a session, from here and from there |
//!
//! The providers are the trusted issuers with `sign_in`. Their tokens are judged by [`crate::issuers`], as users' JWTs
//! are, and lead to users by the same rules ([`crate::identities`]).
//!
//! **Nothing is stored of a sign-in under way.** All of it follows from a secret in the browser's cookie. The `state` is a
//! MAC under that secret of everything else: the provider, the time, where to go on. So an answer is taken in the browser
//! that asked, from the provider that was asked, and goes on where it was to go on. Of two answers with one `state`, one
//! is taken: that is noted in the transaction that makes the session.

mod attempt;
mod begin;
mod finish;
mod logout;
mod return_to;
mod secrets;

pub use self::{
    attempt::{ATTEMPT_LASTS, Attempt, attempt_id},
    begin::{Asks, BegunSignIn, begin},
    finish::{FinishedSignIn, ProviderAnswer, finish},
    logout::{backchannel_logout, end_session_url},
    return_to::LocalPath,
    secrets::{SignInSecrets, store_secrets},
};

use deputize_api::path;

use crate::{Settings, error::Error, issuers::TrustedIssuer};

/// Where a provider sends browsers back to. Each has an address of its own, so that an answer of one is not taken for
/// another's (RFC 9700 section 4.4.2.2).
pub fn redirect_uri(settings: &Settings, provider_id: &str) -> String {
    format!("{}{}", settings.issuer, path::fill(path::SIGN_IN_CALLBACK, provider_id))
}

/// One of the deployment's providers.
fn provider<'a>(core: &'a crate::Core, id: &str) -> crate::Result<&'a TrustedIssuer> {
    core.issuers.provider(id).ok_or(Error::NotFound("sign-in provider"))
}
