//! An event as a sentence: who did what, where, and what came of it.

use deputize_core::{
    audit::{Action, Actor, Event, Outcome},
    ids::{AgentAccountId, ServerId, UserId},
    trail::Names,
};
use maud::{Markup, html};

/// To whom events are told, and the names of what they are about.
pub(super) struct Told<'a> {
    pub(super) me: UserId,
    pub(super) names: &'a Names,
}

/// What was done, as it is said of something done and of something tried.
struct Deed {
    done: &'static str,
    tried: &'static str,
}

const fn deed(done: &'static str, tried: &'static str) -> Deed {
    Deed { done, tried }
}

impl Told<'_> {
    /// Such as "Support Bot called `list_repos` at GitHub for you."
    pub(super) fn sentence(&self, event: &Event) -> Markup {
        let deed = deed_of(event.action);
        let object = self.object(event);
        let for_whom = event.on_behalf_of().map(|user| self.user(user, "you"));
        html! {
            b { (self.actor(event)) }
            " "
            @match event.outcome {
                Outcome::Allowed => (deed.done),
                Outcome::Denied => { "was refused to " (deed.tried) },
                Outcome::Failed => { "tried to " (deed.tried) },
            }
            (object)
            @if let Some(whom) = for_whom { " for " (whom) }
            @if event.client_id.is_some() { " by an app" }
            @if event.outcome == Outcome::Failed { ", which failed" }
            "."
        }
    }

    /// Who did it.
    pub(super) fn actor(&self, event: &Event) -> String {
        match event.actor() {
            Some(Actor::Agent(agent)) => self.agent(agent),
            Some(Actor::User(user)) => self.user(user, "You"),
            None if event.credential.as_deref().is_some_and(|used| used.starts_with("operator")) => {
                "The operator".to_owned()
            }
            None => "Somebody".to_owned(),
        }
    }

    fn user(&self, user: UserId, me: &str) -> String {
        if user == self.me {
            return me.to_owned();
        }
        self.names.users.get(&user).cloned().unwrap_or_else(|| format!("the user {user}"))
    }

    pub(super) fn agent(&self, agent: AgentAccountId) -> String {
        self.names.agents.get(&agent).cloned().unwrap_or_else(|| format!("the agent {agent}"))
    }

    pub(super) fn server<'s>(&'s self, server: &'s ServerId) -> &'s str {
        self.names.servers.get(server).map_or(server.as_str(), String::as_str)
    }

    /// Whose connection was used at the server.
    pub(super) fn lender(&self, user: UserId) -> String {
        if user == self.me { "yours".to_owned() } else { format!("{}’s", self.user(user, "you")) }
    }

    /// What it was done to.
    fn object(&self, event: &Event) -> Markup {
        let server = event.server_id.as_ref().map(|server| self.server(server));
        let agent = event.agent_account_id.filter(|agent| event.actor() != Some(Actor::Agent(*agent)));
        let agent = agent.map(|agent| self.agent(agent));
        html! {
            @match event.action {
                Action::ToolCall => {
                    " " code { (event.tool.as_deref().unwrap_or("a tool")) }
                    @if let Some(server) = server { " at " (server) }
                }
                Action::GrantCreate | Action::GrantToggle | Action::GrantRevoke => {
                    " your connection to " (server.unwrap_or("a server"))
                    @if let Some(agent) = agent {
                        @if event.action == Action::GrantRevoke { " from " } @else { " to " }
                        (agent)
                    }
                }
                _ => {
                    @if let Some(agent) = agent { " " (agent) }
                    @if let Some(server) = server { " " (server) }
                }
            }
        }
    }
}

/// Such as "got a token".
pub(super) fn done(action: Action) -> &'static str {
    deed_of(action).done
}

fn deed_of(action: Action) -> Deed {
    match action {
        Action::TokenIssue | Action::AppTokenIssue => deed("got a token", "get a token"),
        Action::TokenIntrospect => deed("asked about a token", "ask about a token"),
        Action::TokenRevoke => deed("revoked a token", "revoke a token"),
        Action::SignIn => deed("signed in", "sign in"),
        Action::SignOut => deed("signed out", "sign out"),
        Action::BrowserSessionEnd => deed("signed a browser out", "sign a browser out"),
        Action::AuthorizationCreate => deed("allowed an app to act for you", "allow an app to act for you"),
        Action::AuthorizationRevoke => deed("ended what an app may do", "end what an app may do"),
        Action::AppRegister => deed("registered an app", "register an app"),
        Action::AppUpdate => deed("changed an app", "change an app"),
        Action::AppDelete => deed("deleted an app", "delete an app"),
        Action::AppBlock => deed("blocked apps", "block apps"),
        Action::AppUnblock => deed("unblocked apps", "unblock apps"),
        Action::ToolCall => deed("called", "call"),
        Action::ToolList => deed("listed the tools of", "list the tools of"),
        Action::ResourceRead => deed("read a resource of", "read a resource of"),
        Action::PromptGet => deed("got a prompt of", "get a prompt of"),
        Action::McpRequest => deed("asked something of", "ask something of"),
        Action::DelegationCreate => deed("delegated to", "delegate to"),
        Action::DelegationUpdate => deed("changed the delegation to", "change the delegation to"),
        Action::DelegationRevoke => deed("ended the delegation to", "end the delegation to"),
        Action::GrantCreate => deed("lent", "lend"),
        Action::GrantToggle => deed("changed who can use", "change who can use"),
        Action::GrantRevoke => deed("took back", "take back"),
        Action::ConnectionCreate => deed("connected to", "connect to"),
        Action::ConnectionRefresh => deed("renewed the connection to", "renew the connection to"),
        Action::ConnectionDelete => deed("disconnected from", "disconnect from"),
        Action::AgentCreate => deed("created the agent", "create the agent"),
        Action::AgentUpdate => deed("changed the agent", "change the agent"),
        Action::AgentDelete => deed("deleted the agent", "delete the agent"),
        Action::AgentRestore => deed("restored the agent", "restore the agent"),
        Action::AgentErase => deed("erased the agent", "erase the agent"),
        Action::SecretCreate => deed("made a client secret of", "make a client secret of"),
        Action::SecretRevoke => deed("revoked a client secret of", "revoke a client secret of"),
        Action::ClientKeyCreate => deed("added a public key to", "add a public key to"),
        Action::ClientKeyDelete => deed("removed a public key of", "remove a public key of"),
        Action::ApiKeyCreate => deed("made an API key", "make an API key"),
        Action::ApiKeyRevoke => deed("deleted an API key", "delete an API key"),
        Action::ApiKeyRestore => deed("restored an API key", "restore an API key"),
        Action::ApiKeyErase => deed("erased an API key", "erase an API key"),
        Action::UserCreate => deed("added a person", "add a person"),
        Action::UserUpdate => deed("changed a person", "change a person"),
        Action::UserOffboard => deed("offboarded a person", "offboard a person"),
        Action::UserDelete => deed("deleted a person", "delete a person"),
        Action::UserRestore => deed("restored a person", "restore a person"),
        Action::UserErase => deed("erased a person", "erase a person"),
        Action::UserProvision => deed("came here for the first time", "come here for the first time"),
        Action::IdentityBind => deed("was recognized by a new identity", "be recognized by a new identity"),
        Action::ServerCreate => deed("registered the server", "register the server"),
        Action::ServerUpdate => deed("changed the server", "change the server"),
        Action::ServerDelete => deed("deleted the server", "delete the server"),
        Action::ServerRestore => deed("restored the server", "restore the server"),
        Action::ServerErase => deed("erased the server", "erase the server"),
        Action::ServerProbe => deed("looked at a server", "look at a server"),
        Action::ToolsApprove => deed("approved the tools of", "approve the tools of"),
        Action::PolicyCreate => deed("made a policy", "make a policy"),
        Action::PolicyUpdate => deed("changed a policy", "change a policy"),
        Action::PolicyDelete => deed("deleted a policy", "delete a policy"),
        Action::PolicyRestore => deed("restored a policy", "restore a policy"),
        Action::PolicyErase => deed("erased a policy", "erase a policy"),
        Action::SigningKeyRotate => deed("rotated the signing keys", "rotate the signing keys"),
        Action::SigningKeyRevoke => deed("revoked a signing key", "revoke a signing key"),
    }
}
