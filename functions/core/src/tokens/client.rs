//! Who the client is: by a secret, by an assertion that it has signed, or, for an exchange, by a token of its
//! own.

use secrecy::{ExposeSecret, SecretString};

use super::{
    VerifiedToken,
    assertion::{Assertion, Once},
    issue::{denied, store},
};
use crate::{
    Core,
    agents::{AgentAccount, ClientCredential},
    audit::{Action, Event, Request},
    caller::Credential,
    error::{Result, TokenError},
    ids::AgentAccountId,
    secret::{SecretHash, hash_client_secret},
    table::Key,
};

/// How a client says who it is, as presented.
#[derive(Debug)]
pub enum ClientAuth {
    Secret {
        client_id: String,
        client_secret: SecretString,
    },
    /// `private_key_jwt`. The assertion names the client; the id may be sent beside it.
    Assertion {
        client_id: Option<String>,
        assertion: SecretString,
    },
}

/// Who the client says to be, before anything is proven.
pub(super) enum Client {
    Secret(AgentAccountId, SecretHash),
    Assertion(Assertion),
    /// A token of the client's own, for a token exchange without client authentication.
    Token(VerifiedToken),
}

/// What has been proven.
#[derive(Debug)]
pub(super) struct Proven {
    /// What the tokens rest on that are issued now.
    pub credential: ClientCredential,
    /// If it was an assertion.
    pub once: Option<Once>,
}

impl Client {
    /// Checks everything that needs no table.
    pub(super) fn identify(core: &Core, auth: ClientAuth) -> Result<Self, TokenError> {
        match auth {
            ClientAuth::Secret { client_id, client_secret } => {
                // An API key is no client secret and fails here, by its prefix.
                let agent = client_id.parse::<AgentAccountId>().ok();
                let secret = hash_client_secret(client_secret.expose_secret());
                let (Some(agent), Some(secret)) = (agent, secret) else {
                    return Err(TokenError::InvalidClient);
                };
                Ok(Self::Secret(agent, secret))
            }
            ClientAuth::Assertion { client_id, assertion } => {
                let now = core.clock.now();
                Assertion::read(&core.settings, now, client_id.as_deref(), assertion).map(Self::Assertion)
            }
        }
    }

    pub(super) fn agent(&self) -> AgentAccountId {
        match self {
            Self::Secret(agent, _) => *agent,
            Self::Assertion(assertion) => assertion.client,
            Self::Token(token) => token.agent,
        }
    }

    /// Proves it by the account. Whatever is wrong, it is said in the same words, as if there were no such
    /// account.
    pub(super) fn prove(&self, core: &Core, account: &AgentAccount) -> Result<Proven> {
        let now = core.clock.now();
        match self {
            Self::Secret(_, presented) => {
                let secret = account.proven_secret(presented, now).ok_or(TokenError::InvalidClient)?;
                Ok(Proven { credential: ClientCredential::Secret(secret.id), once: None })
            }
            Self::Assertion(assertion) => {
                let key = assertion.proven_key(account, now)?.ok_or(TokenError::InvalidClient)?;
                Ok(Proven { credential: ClientCredential::Key(key), once: Some(assertion.once()) })
            }
            Self::Token(token) => Ok(Proven { credential: token.credential, once: None }),
        }
    }
}

/// Authenticates a client for introspection and revocation. A proven one in a web page that may not use it is
/// refused, and recorded.
pub(super) async fn authenticate(
    core: &Core,
    request: &Request,
    action: Action,
    auth: ClientAuth,
) -> Result<(AgentAccountId, Proven)> {
    let client = Client::identify(core, auth)?;
    let account = core.table.read_one::<AgentAccount>(Key::agent(client.agent())).await?;
    let Some(account) = account.filter(|account| account.active) else {
        core.require_bootstrapped().await?;
        return Err(TokenError::InvalidClient.into());
    };
    let proven = client.prove(core, &account)?;
    if !account.lets_call(&core.settings, &request.origin) {
        let refusal = TokenError::OriginNotAllowed;
        let mut event = Event::new(core, request, action)?.agent(account.id);
        event.credential = Some(Credential::Client(proven.credential).to_string());
        store(core, &denied(event, &refusal), proven.once.as_ref()).await?;
        return Err(refusal.into());
    }
    Ok((account.id, proven))
}
