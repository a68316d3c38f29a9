//! Client authentication: by a secret, by an assertion that the client has signed, or, for an exchange, by one of the
//! client's own tokens.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    VerifiedToken,
    assertion::{Assertion, AssertionUse, denied, store},
};
use crate::{
    Core,
    agents::{AgentAccount, ClientCredential},
    audit::{Action, Event, RequestContext},
    caller::CredentialId,
    error::{Result, TokenError},
    ids::AgentAccountId,
    jwt,
    secret::{SecretHash, hash_client_secret},
    table::Key,
};

/// How a client identifies itself, as presented.
#[derive(Debug)]
pub enum ClientAuth {
    Secret {
        client_id: String,
        client_secret: SecretString,
    },
    /// `private_key_jwt`. The assertion names the client. The request may name it too.
    Assertion {
        client_id: Option<String>,
        assertion: SecretString,
    },
    /// Only a name, as libraries for public clients send it (RFC 6749 section 3.2.1). It proves nothing. It is good
    /// for an exchange, where the agent's own token is the proof.
    Named {
        client_id: String,
    },
}

impl ClientAuth {
    /// Whether it claims to be an app's. An agent account's id is a UUID, and an app's is none.
    pub(super) fn is_apps(&self) -> bool {
        #[derive(Deserialize)]
        struct Subject {
            sub: String,
        }
        let is_apps = |id: &str| id.parse::<AgentAccountId>().is_err();
        match self {
            Self::Secret { client_id, .. }
            | Self::Named { client_id }
            | Self::Assertion { client_id: Some(client_id), .. } => is_apps(client_id),
            Self::Assertion { client_id: None, assertion } => {
                jwt::unproven_claims::<Subject>(assertion.expose_secret())
                    .is_ok_and(|claims| is_apps(&claims.sub))
            }
        }
    }
}

/// The client that the request claims to be from, before anything is proven.
pub(super) enum PresentedClient {
    Secret(AgentAccountId, SecretHash),
    Assertion(Assertion),
    /// The client's own token, for a token exchange without client authentication.
    Token(VerifiedToken),
}

/// The result of proving a client.
#[derive(Debug)]
pub(super) struct ProvenClient {
    /// The credential on which the tokens rest that are issued now.
    pub credential: ClientCredential,
    /// Set if the credential was an assertion.
    pub assertion_use: Option<AssertionUse>,
}

impl PresentedClient {
    /// Checks everything that needs no table. `endpoint` is the path that the request was sent to.
    pub(super) fn identify(core: &Core, endpoint: &str, auth: ClientAuth) -> Result<Self, TokenError> {
        match auth {
            ClientAuth::Secret { client_id, client_secret } => {
                // An API key is not a client secret. Its prefix makes it fail here.
                let agent = client_id.parse::<AgentAccountId>().ok();
                let secret = hash_client_secret(client_secret.expose_secret());
                let (Some(agent), Some(secret)) = (agent, secret) else {
                    return Err(TokenError::InvalidClient);
                };
                Ok(Self::Secret(agent, secret))
            }
            ClientAuth::Assertion { client_id, assertion } => {
                let now = core.clock.now();
                let client_id = client_id.as_deref();
                let parse = |id: &str| id.parse::<AgentAccountId>().ok();
                Assertion::read(&core.settings, now, endpoint, client_id, assertion, parse)
                    .map(Self::Assertion)
            }
            ClientAuth::Named { .. } => Err(TokenError::InvalidClient),
        }
    }

    pub(super) fn agent(&self) -> AgentAccountId {
        match self {
            Self::Secret(agent, _) => *agent,
            Self::Assertion(assertion) => assertion.client,
            Self::Token(token) => token.agent,
        }
    }

    /// Proves the client by its account. All failures have the same text, which is also that of an unknown
    /// account.
    pub(super) fn prove(&self, core: &Core, account: &AgentAccount) -> Result<ProvenClient> {
        let now = core.clock.now();
        match self {
            Self::Secret(_, presented) => {
                let secret = account.proven_secret(presented, now).ok_or(TokenError::InvalidClient)?;
                Ok(ProvenClient { credential: ClientCredential::Secret(secret.id), assertion_use: None })
            }
            Self::Assertion(assertion) => {
                let key = assertion.proven_key(account, now)?.ok_or(TokenError::InvalidClient)?;
                Ok(ProvenClient {
                    credential: ClientCredential::Key(key),
                    assertion_use: Some(assertion.assertion_use()),
                })
            }
            Self::Token(token) => Ok(ProvenClient { credential: token.credential, assertion_use: None }),
        }
    }
}

/// Authenticates a client for introspection and revocation. A proven client in a web page whose origin it
/// does not allow is refused, and this is recorded.
pub(super) async fn authenticate(
    core: &Core,
    request: &RequestContext,
    action: Action,
    endpoint: &str,
    auth: ClientAuth,
) -> Result<(AgentAccountId, ProvenClient)> {
    let client = PresentedClient::identify(core, endpoint, auth)?;
    let account = core.table.read_one::<AgentAccount>(Key::agent(client.agent())).await?;
    let Some(account) = account.filter(|account| account.active) else {
        core.require_bootstrapped().await?;
        return Err(TokenError::InvalidClient.into());
    };
    let proven = client.prove(core, &account)?;
    if !account.allows_origin(&core.settings, &request.origin) {
        let refusal = TokenError::OriginNotAllowed;
        let mut event = Event::new(core, request, action)?.agent(account.id);
        event.credential = Some(CredentialId::Client(proven.credential).to_string());
        store(core, &denied(event, &refusal), proven.assertion_use.as_ref()).await?;
        return Err(refusal.into());
    }
    Ok((account.id, proven))
}
