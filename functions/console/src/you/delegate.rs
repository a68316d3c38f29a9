//! `/delegate`: the agents that the person can delegate to. `/delegate/{id}`: what one of them may do for them, where
//! and until when; the same page delegates and narrows.

use std::{collections::BTreeSet, sync::Arc};

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core, Error,
    agents::{self, AgentAccount, AvailableFilter},
    browser_sessions::SignedIn,
    clock::Timestamp,
    delegations::{self, Delegation, DelegationFilter, NewDelegation},
    ids::AgentAccountId,
    paging::{Listing, PageRequest},
    servers::{self, Server, ServerFilter, ServerOrder},
};
use deputize_service::{
    Result,
    extract::{Context, Form, Path, Query},
};
use futures::future::{try_join, try_join3};
use http::StatusCode;
use maud::html;
use serde::Deserialize;

use super::choices::{SERVERS, Until, Where};
use deputize_pages::{
    answer::{see_other, told},
    browser::{Person, SamePage, require_form_token},
    frame::{Page, Place},
    parts::{self, Tone, at, empty, form, next_page, note, with_query},
    when::date,
};

/// How many agents are on a page.
const AGENTS: usize = 50;
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChooseQuery {
    /// What the agent's name begins with.
    name: Option<String>,
    cursor: Option<String>,
}

pub(crate) async fn choose(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    query: Result<Query<ChooseQuery>>,
) -> Response {
    let shown = async {
        let Query(ChooseQuery { name, cursor }) = query?;
        let caller = &person.caller;
        let name = name.filter(|name| !name.is_empty());
        let filter = AvailableFilter { name_prefix: name.clone() };
        let page = PageRequest::new(Some(AGENTS), cursor.as_deref())?;
        let (available, acting) = try_join(
            agents::available(&core, caller, &filter, &page),
            delegations::list_acting_for(&core, caller, caller.user.id, None, &PageRequest::default()),
        )
        .await?;
        let acting: BTreeSet<AgentAccountId> = acting.items.iter().map(|acting| acting.agent.id).collect();
        Ok(chosen_from(&core, &person, name.as_deref(), &available, &acting))
    };
    told(&core, "This page cannot be shown", shown.await)
}

fn chosen_from(
    core: &Core,
    person: &SignedIn,
    name: Option<&str>,
    available: &Listing<AgentAccount>,
    acting: &BTreeSet<AgentAccountId>,
) -> Response {
    let settings = &core.settings;
    let here = at(settings, path::DELEGATE);
    let next = available.next.as_deref();
    let next = next.map(|next| with_query(&here, &[("name", name), ("cursor", Some(next))]));
    let main = html! {
        form.filters method="get" action=(here) role="search" {
            label { "Name begins with" input type="search" name="name" value=[name] maxlength="200"; }
            button.button { "Apply" }
        }
        @if available.items.is_empty() && next.is_none() {
            @match name {
                Some(_) => (empty(&html! { "No agent’s name begins so. " a href=(here) { "Look at all" } })),
                None => (empty(&html! {
                    "There is no agent that you can delegate to. Its owner or an admin can make one visible to you."
                })),
            }
        } @else {
            ul.choices role="list" {
                @for agent in &available.items {
                    li.choice {
                        (parts::agent())
                        div {
                            a href=(settings.address(path::DELEGATE_TO, agent.id)) { (agent.name) }
                            @if acting.contains(&agent.id) { " " span.tag.ok { "Acts for you" } }
                            @if let Some(about) = &agent.description { p.small.muted { (about) } }
                        }
                    }
                }
            }
        }
        (next_page(next.as_deref()))
    };
    let lead = html! { "An agent that you delegate to can act as you, under the policies that are in force for both of you." };
    Page::below(Place::Acts, "Delegate to an agent", main).lead(lead).show(core, person)
}

/// What is chosen in the form.
struct Choice {
    where_: Where,
    until: Until,
}

impl Choice {
    /// What a delegation says; without one, what is offered: the least.
    fn of(given: Option<&Delegation>) -> Self {
        match given {
            None => Self { where_: Where::default(), until: Until::new() },
            Some(given) => {
                Self { where_: Where::of(given.server_ids.as_ref()), until: Until::of(given.expires_at) }
            }
        }
    }

    fn sent(form: &Form) -> Self {
        Self { where_: Where::sent(form), until: Until::sent(form) }
    }

    /// The delegation that is chosen, or what is to be chosen first.
    fn delegation(&self, given: Option<&Delegation>, now: Timestamp) -> Result<NewDelegation, String> {
        let ends = given.and_then(|given| given.expires_at);
        Ok(NewDelegation {
            server_ids: self.where_.server_ids()?,
            expires_at: self.until.expires_at(ends, now)?,
        })
    }
}

/// All that the page about one agent shows.
struct Asked {
    agent: AgentAccount,
    /// The delegation to it that is in force.
    given: Option<Delegation>,
    servers: Listing<Server>,
}

impl Asked {
    async fn read(core: &Core, person: &SignedIn, agent: AgentAccountId) -> Result<Self> {
        let caller = &person.caller;
        let active = DelegationFilter { active: Some(true), ..DelegationFilter::default() };
        let by_name =
            ServerFilter { active: Some(true), sort: Some(ServerOrder::Name), ..ServerFilter::default() };
        let (page, most) = (PageRequest::default(), PageRequest::new(Some(SERVERS), None)?);
        let (agent, given, servers) = try_join3(
            Box::pin(agents::get_visible(core, caller, agent)),
            Box::pin(delegations::list_for_agent(core, caller, agent, Some(caller.user.id), &active, &page)),
            Box::pin(servers::list(core, caller, &by_name, &most)),
        )
        .await?;
        let given = given.items.into_iter().map(|given| given.delegation).next();
        Ok(Self { agent: agent.value, given, servers })
    }

    fn page(&self, core: &Core, person: &SignedIn, choice: &Choice, problem: Option<&str>) -> Response {
        let settings = &core.settings;
        let Self { agent, given, servers } = self;
        let here = settings.address(path::DELEGATE_TO, agent.id);
        let main = html! {
            @if let Some(problem) = problem { (note(Tone::Stop, &html! { (problem) }, &html! {})) }
            @if agent.description.is_some() || agent.url.is_some() {
                p {
                    @if let Some(about) = &agent.description { (about) " " }
                    @if let Some(url) = &agent.url { a href=(url) rel="noreferrer nofollow" { "Read more about it" } }
                }
            }
            @if !agent.active {
                (note(Tone::Warn, &html! { b { "It is disabled." } " It can do nothing until it is enabled again." }, &html! {}))
            }
            (form(person, &here, &purpose(agent.id), &html! {
                div.fields {
                    (choice.where_.fields(servers))
                    (choice.until.field(given.as_ref().and_then(|given| given.expires_at), None))
                    div.row {
                        button.button.primary { @if given.is_some() { "Save" } @else { "Delegate" } }
                        a.button href=(at(settings, path::HOME)) { "Cancel" }
                    }
                }
            }))
            p.small.muted {
                "It acts as you where the policies allow it for both of you. It cannot see your password or credentials, and cannot delegate for you."
            }
        };
        let title = format!("What {} may do for you", agent.name);
        let lead = html! {
            @match given {
                Some(given) => { "It acts for you since " (date(given.created_at)) ". Saving replaces that: tokens that it holds for you stop working." },
                None => "It does not act for you now.",
            }
        };
        let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Page::below(Place::Acts, &title, main).lead(lead).answer(core, person, status)
    }
}

fn purpose(agent: AgentAccountId) -> String {
    format!("delegate {agent}")
}

pub(crate) async fn ask(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    agent: Result<Path<AgentAccountId>>,
) -> Response {
    let shown = async {
        let Path(agent) = agent?;
        let asked = Asked::read(&core, &person, agent).await?;
        Ok(asked.page(&core, &person, &Choice::of(asked.given.as_ref()), None))
    };
    told(&core, "This page cannot be shown", shown.await)
}

pub(crate) async fn delegate(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    agent: Result<Path<AgentAccountId>>,
    form: Result<Form>,
) -> Response {
    let made = async {
        let (Path(agent), form) = (agent?, form?);
        require_form_token(&person, &purpose(agent), &form)?;
        let choice = Choice::sent(&form);
        let asked = Asked::read(&core, &person, agent).await?;
        let new = match choice.delegation(asked.given.as_ref(), core.clock.now()) {
            Ok(new) => new,
            Err(problem) => return Ok(asked.page(&core, &person, &choice, Some(&problem))),
        };
        match delegations::create(&core, &person.caller, &request, agent, new).await {
            Ok(_) => {
                Ok(see_other(&core, &with_query(path::HOME, &[("delegated", Some(&agent.to_string()))])))
            }
            Err(Error::Invalid(why)) => Ok(asked.page(
                &core,
                &person,
                &choice,
                Some(&deputize_pages::page::sentence(&why.to_string())),
            )),
            Err(error) => Err(error.into()),
        }
    };
    told(&core, "Nothing was changed", made.await)
}
