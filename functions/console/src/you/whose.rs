//! Whose credentials agents would use for the person, at which servers, and what to do if there are none.

use std::collections::HashMap;

use deputize_api::{path, reason::Reason};
use deputize_core::{
    Core, Settings,
    agents::AgentAccount,
    caller::UserCaller,
    delegations::ActingAgent,
    error::Result,
    explain::{self, Lender, Lent},
    ids::{AgentAccountId, ServerId},
    servers::{Server, ServerAuth},
};
use maud::{Markup, html};

use super::known_servers::KnownServers;

/// About how many pairs of an agent and a server one page asks.
const MOST: usize = 100;

/// Of each agent and server that were asked about.
#[derive(Debug, Default)]
pub(super) struct Whose(HashMap<(AgentAccountId, ServerId), Lent>);

impl Whose {
    /// For these delegations: at the servers that each names, or at those that ask for OAuth.
    pub(super) async fn of(
        core: &Core,
        caller: &UserCaller,
        acting: &[ActingAgent],
        servers: &KnownServers,
    ) -> Result<Self> {
        let pairs = acting.iter().flat_map(|acting| {
            let at: Vec<&Server> = match &acting.delegation.delegation.server_ids {
                Some(named) => named.iter().filter_map(|id| servers.get(id)).collect(),
                None => servers.asking_for_oauth().collect(),
            };
            at.into_iter().map(|server| (&acting.agent, server))
        });
        let pairs: Vec<(&AgentAccount, &Server)> = pairs.take(MOST).collect();
        let lent = explain::lent(core, caller, &pairs).await?;
        let asked = pairs.into_iter().map(|(agent, server)| (agent.id, server.id.clone()));
        Ok(Self(asked.zip(lent).collect()))
    }

    pub(super) fn get(&self, agent: AgentAccountId, server: &ServerId) -> Option<&Lent> {
        self.0.get(&(agent, server.clone()))
    }
}

/// Whose they are, in a few words.
pub(super) fn words(lent: &Lent) -> String {
    let why = lent.refusal.as_ref().map(|refusal| refusal.reason);
    match (&lent.lender, why) {
        (Lender::NotAsked, _) => "needs none".to_owned(),
        (Lender::Deployment, _) => "your organization’s".to_owned(),
        (Lender::Person, None) => "yours".to_owned(),
        (Lender::Person, Some(Reason::NotConnected | Reason::SessionNotFound)) => {
            "none, as you are not connected".to_owned()
        }
        (Lender::Person, Some(_)) => "none, as your connection has ended".to_owned(),
        (Lender::Other(name), None) => format!("{name}’s, shared"),
        (Lender::Other(name), Some(_)) => format!("{name}’s, shared, which has ended"),
        (Lender::Nobody, _) => "none, until you lend it yours".to_owned(),
    }
}

/// Whether calls would fail for want of credentials.
pub(super) fn is_missing(lent: &Lent) -> bool {
    lent.refusal.is_some()
}

/// What to press if calls would fail there.
pub(super) fn way_out(settings: &Settings, server: &Server, lent: &Lent) -> Markup {
    let connect = settings.address(path::CONNECT_PAGE, &server.id);
    let here = settings.address(path::MY_CONNECTION, &server.id);
    match &lent.lender {
        _ if !is_missing(lent) || server.auth != ServerAuth::OAuth => html! {},
        Lender::Person => html! { a.button href=(connect) { "Connect " (server.name) } },
        _ => html! { a.button href=(here) { "Lend your connection" } },
    }
}
