//! `/activity`: what was done as the person or for them, newest first. The filters are in the address.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core, Error,
    audit::{Event, Outcome},
    browser_sessions::SignedIn,
    clock::Timestamp,
    delegations::{self, ActingAgent, DelegationFilter},
    ids::{AgentAccountId, ServerId},
    paging::{Listing, PageRequest},
    servers::{self, Server, ServerFilter, ServerOrder},
    trail::{self, Names},
};
use deputize_service::{Result, extract::Query};
use futures::future::try_join3;
use maud::{Markup, html};
use serde::Deserialize;

use super::{choices::SERVERS, told::Told};
use deputize_pages::{
    answer::told,
    browser::Person,
    frame::{Page, Place},
    parts::{at, empty, next_page, with_query},
    when::{DAY, moment},
};

/// How many events are on a page.
const EVENTS: usize = 50;
/// The days that can be looked at, and the ones that are if nothing is said.
const DAYS: [u32; 4] = [1, 7, 31, 90];
const DEFAULT_DAYS: u32 = 7;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ActivityQuery {
    agent: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    outcome: Option<String>,
    days: Option<u32>,
    cursor: Option<String>,
}

/// What is asked for. A field of the form that is empty asks for nothing.
#[derive(Debug, Default)]
struct Asked {
    agent: Option<AgentAccountId>,
    server: Option<ServerId>,
    tool: Option<String>,
    outcome: Option<Outcome>,
    days: u32,
}

impl Asked {
    fn of(query: &ActivityQuery) -> Result<Self> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let wrong = |field: &str| Error::invalid(format!("{field}: the address has none that can be"));
        let agent = given(&query.agent).map(|id| id.parse().map_err(|_| wrong("agent"))).transpose()?;
        let server = given(&query.server).map(|id| id.parse().map_err(|_| wrong("server"))).transpose()?;
        let named = |name: String| {
            let all = Outcome::ALL.into_iter();
            all.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| wrong("outcome"))
        };
        let outcome = given(&query.outcome).map(named).transpose()?;
        let days = query.days.unwrap_or(DEFAULT_DAYS);
        if !DAYS.contains(&days) {
            return Err(wrong("days").into());
        }
        Ok(Self { agent, server, tool: given(&query.tool), outcome, days })
    }

    fn filter(&self, person: &SignedIn, now: Timestamp) -> trail::Filter {
        trail::Filter {
            user_id: Some(person.caller.user.id),
            agent_account_id: self.agent,
            server_id: self.server.clone(),
            tool: self.tool.clone(),
            outcomes: self.outcome.into_iter().collect(),
            from: Some(now.minus(DAY * self.days)),
            ..trail::Filter::default()
        }
    }

    fn is_narrow(&self) -> bool {
        self.agent.is_some() || self.server.is_some() || self.tool.is_some() || self.outcome.is_some()
    }

    /// The address of the same question, for other days or at another place.
    fn address(&self, here: &str, days: u32, cursor: Option<&str>) -> String {
        let (agent, days) = (self.agent.map(|id| id.to_string()), days.to_string());
        with_query(
            here,
            &[
                ("agent", agent.as_deref()),
                ("server", self.server.as_ref().map(ServerId::as_str)),
                ("tool", self.tool.as_deref()),
                ("outcome", self.outcome.map(Outcome::as_str)),
                ("days", Some(&days)),
                ("cursor", cursor),
            ],
        )
    }
}

pub(crate) async fn activity(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    query: Result<Query<ActivityQuery>>,
) -> Response {
    let shown = async {
        let Query(query) = query?;
        let asked = Asked::of(&query)?;
        Ok(Activity::read(&core, &person, asked, query.cursor.as_deref()).await?.shown())
    };
    told(&core, "This page cannot be shown", shown.await)
}

struct Activity<'a> {
    core: &'a Core,
    person: &'a SignedIn,
    now: Timestamp,
    asked: Asked,
    events: Listing<Event>,
    names: Names,
    /// What can be chosen.
    agents: Vec<ActingAgent>,
    servers: Vec<Server>,
}

impl<'a> Activity<'a> {
    async fn read(core: &'a Core, person: &'a SignedIn, asked: Asked, cursor: Option<&str>) -> Result<Self> {
        let (caller, now) = (&person.caller, core.clock.now());
        let page = PageRequest::new(Some(EVENTS), cursor)?;
        let by_name = ServerFilter { sort: Some(ServerOrder::Name), ..ServerFilter::default() };
        let (all, most) = (DelegationFilter::default(), PageRequest::new(Some(SERVERS), None)?);
        let first = PageRequest::default();
        let (events, agents, servers) = try_join3(
            Box::pin(trail::list(core, caller, asked.filter(person, now), &page)),
            Box::pin(delegations::list_of(core, caller, caller.user.id, &all, &first)),
            Box::pin(servers::list(core, caller, &by_name, &most)),
        )
        .await?;
        let names = trail::names(core, caller, &events.items).await?;
        let (mut agents, servers) = (agents.items, servers.items);
        agents.sort_by_cached_key(|acting| acting.agent.name.clone());
        Ok(Self { core, person, now, asked, events, names, agents, servers })
    }

    fn shown(&self) -> Response {
        let here = at(&self.core.settings, path::ACTIVITY);
        let next = self.events.next.as_deref();
        let next = next.map(|next| self.asked.address(&here, self.asked.days, Some(next)));
        let told = Told { me: self.person.caller.user.id, names: &self.names };
        let main = html! {
            (self.filters(&here))
            @if self.events.items.is_empty() && next.is_none() { (self.nothing(&here)) }
            @else if self.events.items.is_empty() { (empty(&html! { "Nothing among those that were looked at." })) }
            @else {
                ul.rows role="list" {
                    @for event in &self.events.items { li { (row(self.core, &told, event, self.now)) } }
                }
            }
            (next_page(next.as_deref()))
        };
        let lead = html! { "What was done as you or for you. Reading is not recorded; calls, changes and refusals are." };
        Page::of(Place::Activity, main).lead(lead).show(self.core, self.person)
    }

    fn nothing(&self, here: &str) -> Markup {
        let longer = DAYS.into_iter().find(|days| *days > self.asked.days);
        empty(&html! {
            @if self.asked.days == 1 { "Nothing in a day" } @else { "Nothing in " (self.asked.days) " days" }
            @if self.asked.is_narrow() { " for this. " } @else { ". " }
            @if let Some(longer) = longer {
                a href=(self.asked.address(here, longer, None)) { "Look at " (longer) " days" }
            } @else if self.asked.is_narrow() {
                a href=(here) { "Look at everything" }
            }
        })
    }

    fn filters(&self, here: &str) -> Markup {
        let (asked, known) = (&self.asked, |agent| self.agents.iter().any(|acting| acting.agent.id == agent));
        let option = |value: &str, is_chosen: bool, words: &str| {
            html! { option value=(value) selected[is_chosen] { (words) } }
        };
        html! {
            form.filters method="get" action=(here) role="search" {
                label {
                    "Agent"
                    select name="agent" {
                        (option("", asked.agent.is_none(), "Any, or none"))
                        @for ActingAgent { agent, .. } in &self.agents {
                            (option(&agent.id.to_string(), asked.agent == Some(agent.id), &agent.name))
                        }
                        @if let Some(agent) = asked.agent.filter(|agent| !known(*agent)) {
                            (option(&agent.to_string(), true, &agent.to_string()))
                        }
                    }
                }
                label {
                    "Server"
                    select name="server" {
                        (option("", asked.server.is_none(), "Any, or none"))
                        @for server in &self.servers {
                            (option(server.id.as_str(), asked.server.as_ref() == Some(&server.id), &server.name))
                        }
                        @if let Some(server) = asked.server.as_ref().filter(|id| !self.servers.iter().any(|known| known.id == **id)) {
                            (option(server.as_str(), true, server.as_str()))
                        }
                    }
                }
                label { "Tool" input type="search" name="tool" value=[&asked.tool] maxlength="256"; }
                label {
                    "What came of it"
                    select name="outcome" {
                        (option("", asked.outcome.is_none(), "Anything"))
                        @for (outcome, words) in [(Outcome::Allowed, "Done"), (Outcome::Denied, "Refused"), (Outcome::Failed, "Failed")] {
                            (option(outcome.as_str(), asked.outcome == Some(outcome), words))
                        }
                    }
                }
                label {
                    "In the last"
                    select name="days" {
                        @for days in DAYS {
                            @let words = if days == 1 { "day".to_owned() } else { format!("{days} days") };
                            (option(&days.to_string(), asked.days == days, &words))
                        }
                    }
                }
                button.button { "Apply" }
            }
        }
    }
}

/// An event in a list.
fn row(core: &Core, told: &Told<'_>, event: &Event, now: Timestamp) -> Markup {
    let address = core.settings.address(path::ACTIVITY_EVENT, event.id);
    html! {
        div.what {
            div {
                p { (told.sentence(event)) @if let Some(tag) = tag(event.outcome) { " " (tag) } }
                p.small.muted {
                    (moment(event.at, now))
                    @if let Some(why) = event.detail.as_ref().filter(|_| event.outcome != Outcome::Allowed) {
                        " · " (why)
                    }
                }
            }
        }
        a.button href=(address) { "Look" span.hidden { " at what happened " (event.at) } }
    }
}

/// What came of it, if it was not done.
pub(super) fn tag(outcome: Outcome) -> Option<Markup> {
    match outcome {
        Outcome::Allowed => None,
        Outcome::Denied => Some(html! { span.tag.stop { "Refused" } }),
        Outcome::Failed => Some(html! { span.tag.warn { "Failed" } }),
    }
}
