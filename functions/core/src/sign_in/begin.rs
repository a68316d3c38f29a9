//! The way to the provider.

use url::Url;

use super::{Attempt, LocalPath, provider, redirect_uri};
use crate::{
    Core,
    error::Result,
    issuers::{DEFAULT_SCOPE, SignIn},
};

/// A sign-in that has begun.
#[derive(Debug)]
pub struct BegunSignIn {
    /// Where the browser goes.
    pub authorization_url: Url,
    /// What the browser keeps.
    pub attempt: Attempt,
}

/// What the provider is to ask a person who has a session there (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    /// What it likes.
    #[default]
    Nothing,
    /// Which of their accounts it is.
    Account,
    /// To prove again who they are.
    Login,
}

impl Asks {
    /// The value of `prompt`.
    fn prompt(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Account => Some("select_account"),
            Self::Login => Some("login"),
        }
    }
}

/// The parameters of the protocol, which a provider's own address does not set.
const OURS: [&str; 12] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "request",
    "request_uri",
];

/// Begins to sign a person in.
pub async fn begin(core: &Core, provider_id: &str, return_to: LocalPath, asks: Asks) -> Result<BegunSignIn> {
    let provider = provider(core, provider_id)?;
    let metadata = core.issuers.metadata_of(core, provider).await?;
    let default = SignIn::default();
    let sign_in = provider.sign_in.as_ref().unwrap_or(&default);
    let attempt = Attempt::new(&core.random, provider_id, return_to, core.clock.now())?;
    let mut url = metadata.authorization_endpoint.clone();
    let own: Vec<(String, String)> =
        url.query_pairs().into_owned().filter(|(name, _)| !OURS.contains(&name.as_str())).collect();
    url.set_fragment(None);
    url.query_pairs_mut()
        .clear()
        .extend_pairs(own)
        .append_pair("response_type", "code")
        .append_pair("client_id", &sign_in.client_id)
        .append_pair("redirect_uri", &redirect_uri(&core.settings, provider_id))
        .append_pair("scope", sign_in.scope.as_deref().unwrap_or(DEFAULT_SCOPE))
        .append_pair("state", &attempt.state())
        .append_pair("nonce", &attempt.nonce())
        .append_pair("code_challenge", &attempt.challenge())
        .append_pair("code_challenge_method", "S256");
    if let Some(prompt) = asks.prompt() {
        url.query_pairs_mut().append_pair("prompt", prompt);
    }
    Ok(BegunSignIn { authorization_url: url, attempt })
}
