//! `/connections/{server_id}`: whose credentials each agent would use at a server for the person, and why. And what
//! changes that: lending their own connection, to themselves alone or to everybody, and taking it back.
//!
//! Sharing takes the place of what others share, so it asks first.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core, Error,
    browser_sessions::SignedIn,
    connections,
    delegations::{self, ActingAgent},
    explain::{self, Lender, Lent},
    ids::{AgentAccountId, GrantId, ServerId},
    paging::{MAX_PAGE_SIZE, PageRequest},
    servers::{self, Server, ServerAuth},
    session_grants::{self, GrantFilter, GrantOfAgent, GrantView},
    sessions,
};
use deputize_service::{
    Result,
    extract::{Context, Form, Path, Query},
};
use futures::future::{try_join, try_join4};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    connections::{Connected, facts},
    whose,
};
use deputize_pages::{
    answer::{gone, id, see_other, told},
    browser::{Person, SamePage, require_form_token},
    frame::{Page, Place},
    parts::{self, at, capitalized, empty, form, joined, next_page, with_query},
};

/// How many agents are on a page.
const AGENTS: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionQuery {
    cursor: Option<String>,
}

/// All that the page shows.
struct Uses<'a> {
    core: &'a Core,
    person: &'a SignedIn,
    server: Server,
    connected: Option<Connected>,
    /// The agents that act for the person here, each with what it would use and the grant that the person gave it.
    agents: Vec<(ActingAgent, Lent, Option<GrantView>)>,
    next: Option<String>,
}

pub(crate) async fn connection(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    server: Result<Path<ServerId>>,
    query: Result<Query<ConnectionQuery>>,
) -> Response {
    let shown = async {
        let (Path(server), Query(query)) = (server?, query?);
        let page = PageRequest::new(Some(AGENTS), query.cursor.as_deref())?;
        Ok(Uses::read(&core, &person, &server, &page).await?.shown())
    };
    told(&core, "This page cannot be shown", shown.await)
}

async fn connected(core: &Core, person: &SignedIn, server: &ServerId) -> Result<Option<Connected>> {
    let session = match sessions::get(core, &person.caller, server).await {
        Ok(session) => session.value,
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let has_ended = connections::has_ended(core, &session).await?;
    Ok(Some(Connected { session, has_ended }))
}

/// The grants that the person gave here, and that are in force.
async fn given(core: &Core, person: &SignedIn, server: &ServerId) -> Result<Vec<GrantOfAgent>> {
    let caller = &person.caller;
    let all = PageRequest::new(Some(MAX_PAGE_SIZE), None)?;
    let here = GrantFilter { active: Some(true), server_id: Some(server.clone()), ..GrantFilter::default() };
    Ok(session_grants::list_of_user(core, caller, caller.user.id, &here, &all).await?.items)
}

impl<'a> Uses<'a> {
    async fn read(core: &'a Core, person: &'a SignedIn, id: &ServerId, page: &PageRequest) -> Result<Self> {
        let caller = &person.caller;
        let acting = async {
            let acting = delegations::list_acting_for(core, caller, caller.user.id, Some(id.clone()), page);
            Ok(acting.await?)
        };
        let server = async { Ok(servers::get(core, id).await?.value) };
        let (server, connected, given, acting) = try_join4(
            server,
            Box::pin(connected(core, person, id)),
            Box::pin(given(core, person, id)),
            Box::pin(acting),
        )
        .await?;
        let pairs: Vec<_> = acting.items.iter().map(|acting| (&acting.agent, &server)).collect();
        let lent = explain::lent(core, caller, &pairs).await?;
        let grant_to = |agent: AgentAccountId| {
            let grant = given.iter().find(|given| given.agent.id == agent);
            grant.map(|given| given.grant.clone())
        };
        let agents = acting.items.into_iter().zip(lent);
        let agents = agents.map(|(acting, lent)| {
            let grant = grant_to(acting.agent.id);
            (acting, lent, grant)
        });
        let mut agents: Vec<_> = agents.collect();
        agents.sort_by_cached_key(|(acting, ..): &(ActingAgent, _, _)| acting.agent.name.clone());
        Ok(Self { core, person, server, connected, agents, next: acting.next })
    }

    fn shown(&self) -> Response {
        let settings = &self.core.settings;
        let here = settings.address(path::MY_CONNECTION, &self.server.id);
        let connect = settings.address(path::CONNECT_PAGE, &self.server.id);
        let next = self.next.as_deref().map(|next| with_query(&here, &[("cursor", Some(next))]));
        let takes_accounts = self.server.auth == ServerAuth::OAuth;
        let main = html! {
            @if let Some(connected) = &self.connected {
                div.card { (facts(connected, self.core.clock.now(), &self.users())) }
            }
            h2 { "Whose credentials agents use here for you" }
            @if self.agents.is_empty() && next.is_none() {
                (empty(&html! {
                    "No agent acts for you here. " a href=(at(settings, path::DELEGATE)) { "Delegate to one" } "."
                }))
            } @else {
                ul.rows role="list" {
                    @for (acting, lent, grant) in &self.agents { li { (self.row(acting, lent, grant.as_ref())) } }
                }
            }
            (next_page(next.as_deref()))
            @if takes_accounts {
                p.small.muted {
                    "An agent uses your own connection if you lend it. Else it uses the one that somebody shares with everybody whom the agent acts for. Else its calls are refused."
                }
            }
        };
        let lead = html! {
            @match (&self.connected, takes_accounts) {
                (_, false) => "No account of yours is needed here.",
                (None, true) => "You are not connected.",
                (Some(connected), true) if connected.has_ended => "Your connection has ended: connect again.",
                (Some(_), true) => "You are connected.",
            }
        };
        let buttons = html! {
            @if takes_accounts {
                @match &self.connected {
                    None => a.button.primary href=(connect) { "Connect" },
                    Some(connected) => {
                        @if connected.has_ended { a.button.primary href=(connect) { "Reconnect" } }
                        a.button.danger href=(settings.address(path::DISCONNECT, &self.server.id)) { "Disconnect" }
                    }
                }
            }
        };
        let page = Page::below(Place::Connections, &self.server.name, main);
        page.lead(lead).buttons(buttons).show(self.core, self.person)
    }

    fn users(&self) -> Markup {
        let lent = self.agents.iter().filter(|(_, _, grant)| grant.is_some());
        let names: Vec<String> = lent.map(|(acting, ..)| acting.agent.name.clone()).collect();
        html! { @if names.is_empty() { "No agent that acts for you" } @else { (joined(&names, 3)) } }
    }

    fn row(&self, acting: &ActingAgent, lent: &Lent, grant: Option<&GrantView>) -> Markup {
        let (settings, agent) = (&self.core.settings, &acting.agent);
        let is_usable = self.connected.as_ref().is_some_and(|connected| !connected.has_ended);
        let action = settings.address(path::LEND, &self.server.id);
        let share = with_query(&action, &[("agent", Some(&agent.id.to_string()))]);
        let may_share = agent.is_shared_by(&self.person.caller.user, false);
        html! {
            div.what {
                (parts::acting(whose::is_missing(lent)))
                div {
                    b { (agent.name) }
                    p.small.muted { (because(lent, grant)) }
                }
            }
            div.row {
                @match grant {
                    Some(grant) => {
                        @if grant.shared {
                            (lending(self.person, &action, &self.server.id, agent.id, "no", "Only for me"))
                        } @else if may_share && is_usable {
                            a.button href=(share) aria-label={ "Share with everybody whom " (agent.name) " acts for" } { "Share" }
                        }
                        (form(self.person, &settings.address(path::TAKE_BACK, &self.server.id), &take_back_of(grant.grant.id), &html! {
                            button.button name="grant" value=(grant.grant.id) aria-label={ "Take back from " (agent.name) } { "Take back" }
                        }))
                    }
                    None if self.server.auth == ServerAuth::OAuth && is_usable => {
                        (lending(self.person, &action, &self.server.id, agent.id, "no", "Lend mine"))
                    }
                    None => {}
                }
            }
        }
    }
}

/// Whose credentials it would use, and why.
fn because(lent: &Lent, grant: Option<&GrantView>) -> Markup {
    html! {
        @match lent.lender {
            Lender::Other(_) => (whose::words(lent)),
            _ => (capitalized(&whose::words(lent))),
        }
        @match (&lent.lender, grant) {
            (Lender::Person, Some(grant)) if grant.shared => { ": you lend it, and share it with everybody whom it acts for" }
            (Lender::Person, _) => { ": you lend it" }
            (Lender::Other(name), _) => { ": you lend none, and " (name) " shares one" }
            (Lender::NotAsked, _) => { ": the server asks for none" }
            (Lender::Deployment, _) => { ": the server gets the same from everybody" }
            (Lender::Nobody, _) => { ": nobody shares one" }
        }
        @if let Some(refusal) = &lent.refusal { ". A call says: “" (refusal.text) "”" }
        "."
    }
}

fn lend_of(server: &ServerId, agent: AgentAccountId, shared: &str) -> String {
    format!("lend {server} {agent} {shared}")
}

fn take_back_of(grant: GrantId) -> String {
    format!("take-back {grant}")
}

/// The button that lends the person's connection.
fn lending(
    person: &SignedIn,
    action: &str,
    server: &ServerId,
    agent: AgentAccountId,
    shared: &str,
    words: &str,
) -> Markup {
    form(
        person,
        action,
        &lend_of(server, agent, shared),
        &html! {
            input type="hidden" name="shared" value=(shared);
            button.button name="agent" value=(agent) { (words) }
        },
    )
}

#[derive(Debug, Deserialize)]
pub(crate) struct ShareQuery {
    agent: AgentAccountId,
}

/// Asks before a connection is shared.
pub(crate) async fn ask_to_share(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    server: Result<Path<ServerId>>,
    query: Result<Query<ShareQuery>>,
) -> Response {
    let shown = async {
        let (Path(server), Query(ShareQuery { agent })) = (server?, query?);
        let caller = &person.caller;
        let filter = session_grants::Filter { server_id: Some(server.clone()), ..Default::default() };
        let page = PageRequest::default();
        let (account, grants) = try_join(
            deputize_core::agents::get_visible(&core, caller, agent),
            session_grants::list(&core, caller, agent, &filter, &page),
        )
        .await?;
        let others = grants.items.iter().filter(|grant| grant.grant.grantor_user_id != caller.user.id);
        let others: Vec<String> = others
            .map(|grant| grant.grantor_email.as_ref().map_or("another user".to_owned(), ToString::to_string))
            .collect();
        let settings = &core.settings;
        let action = settings.address(path::LEND, &server);
        let main = html! {
            ul.points {
                li { "Everybody whom " (account.name) " acts for can use your connection by it, under the policies." }
                @if !others.is_empty() { li { "What " (joined(&others, 3)) " shares with it now ends." } }
                li { "So does what others lent it for themselves here. They can lend theirs again." }
                li { "You can take it back at any time." }
            }
            div.row {
                (lending(&person, &action, &server, agent, "yes", "Share"))
                a.button href=(settings.address(path::MY_CONNECTION, &server)) { "Keep it for me" }
            }
        };
        let title = format!("Share your connection with everybody whom {} acts for?", account.name);
        Ok(Page::below(Place::Connections, &title, main).show(&core, &person))
    };
    told(&core, "This page cannot be shown", shown.await)
}

/// Lends the person's connection to an agent, for themselves or for everybody.
pub(crate) async fn lend(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    server: Result<Path<ServerId>>,
    form: Result<Form>,
) -> Response {
    let lent = async {
        let (Path(server), form) = (server?, form?);
        let agent: AgentAccountId = id(&form, "agent")?;
        let shared = form.get("shared").unwrap_or("no");
        require_form_token(&person, &lend_of(&server, agent, shared), &form)?;
        session_grants::create(&core, &person.caller, &request, agent, &server, shared == "yes").await?;
        Ok(see_other(&core, &path::fill(path::MY_CONNECTION, server.as_str())))
    };
    told(&core, "Nothing was lent", lent.await)
}

/// Takes back what the person lent.
pub(crate) async fn take_back(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    server: Result<Path<ServerId>>,
    form: Result<Form>,
) -> Response {
    let taken = async {
        let (Path(server), form) = (server?, form?);
        let grant: GrantId = id(&form, "grant")?;
        require_form_token(&person, &take_back_of(grant), &form)?;
        gone(session_grants::revoke(&core, &person.caller, &request, grant).await.map(drop))?;
        Ok(see_other(&core, &path::fill(path::MY_CONNECTION, server.as_str())))
    };
    told(&core, "The agent may still use your connection", taken.await)
}
