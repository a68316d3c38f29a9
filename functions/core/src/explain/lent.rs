//! Whose credentials the agents that act for a person would use at servers, and whether they could be used.
//!
//! A call decides it: [`crate::access`]. Here the same is asked for many agents and servers at once. What all of them
//! read, they read together: one round trip, and one more for the sessions of those who share theirs if this process has
//! not seen them before.

use std::collections::{BTreeSet, HashMap};

use futures::future::try_join_all;

use super::Refusal;
use crate::{
    Core,
    access::{self, CredentialSource},
    agents::AgentAccount,
    caller::UserCaller,
    error::Result,
    ids::UserId,
    servers::Server,
    table::Key,
    users::User,
};

/// Whose credentials would be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lender {
    /// The server asks for none.
    NotAsked,
    /// The deployment's own: a header that is the same for all.
    Deployment,
    /// The person's own connection, by a grant of theirs.
    Person,
    /// Another user's connection, by the grant that they share. Their name, or else their address.
    Other(String),
    /// Nobody's: there is no grant.
    Nobody,
}

/// What a call would find.
#[derive(Clone, Debug)]
pub struct Lent {
    pub lender: Lender,
    /// Why it could not be used.
    pub refusal: Option<Refusal>,
}

/// What calls of agents on behalf of the caller would find, in the order of the questions. The agents are ones that the
/// caller was shown.
pub async fn lent(
    core: &Core,
    caller: &UserCaller,
    questions: &[(&AgentAccount, &Server)],
) -> Result<Vec<Lent>> {
    let foreseen = questions
        .iter()
        .map(|(agent, server)| access::foresee_credentials(core, server, Some(agent), Some(&caller.user)));
    let foreseen = try_join_all(foreseen).await?;
    let others: BTreeSet<UserId> = foreseen
        .iter()
        .filter_map(|(source, _)| match source {
            Some(CredentialSource::Session { of, .. }) => Some(*of),
            _ => None,
        })
        .filter(|of| *of != caller.user.id)
        .collect();
    let keys: Vec<Key> = others.into_iter().map(Key::user).collect();
    let users = core.table.read_all::<User>(&keys).await?;
    let names: HashMap<UserId, String> = users
        .into_iter()
        .map(|user| (user.id, user.called().unwrap_or_else(|| user.id.to_string())))
        .collect();
    let lent = foreseen.into_iter().map(|(source, usable)| {
        let lender = match source {
            None => Lender::Nobody,
            Some(CredentialSource::None) => Lender::NotAsked,
            Some(CredentialSource::Header) => Lender::Deployment,
            Some(CredentialSource::Session { of, .. }) if of == caller.user.id => Lender::Person,
            Some(CredentialSource::Session { of, .. }) => {
                Lender::Other(names.get(&of).cloned().unwrap_or_else(|| "Another user".to_owned()))
            }
        };
        Lent { lender, refusal: usable.err().map(|error| Refusal::of(&error)) }
    });
    Ok(lent.collect())
}
