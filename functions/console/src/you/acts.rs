//! `/`: who acts for the person, where, with whose credentials, and what they did. And the buttons that end it.
//!
//! Ending one delegation is one press, and can be undone for a while: the person delegates anew. Ending all of them asks
//! first.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core, Error, Settings,
    browser_sessions::SignedIn,
    clock::Timestamp,
    delegations::{self, ActingAgent, Delegation, DelegationFilter, NewDelegation},
    ids::{AgentAccountId, DelegationId},
    paging::PageRequest,
};
use deputize_service::{
    Result,
    extract::{Context, Form, Query},
};
use futures::{StreamExt, future::try_join3};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    known_servers::KnownServers,
    week::{Doings, Week},
    whose::{self, Whose},
};
use deputize_pages::{
    answer::{gone, id, see_other, told},
    browser::{Person, SamePage, require_form_token},
    frame::{Page, Place},
    page,
    parts::{
        Tone, acting as acting_mark, at, counted, empty, fact, form, next_page, note, server, with_query,
    },
    when::{date, moment, until},
};

/// For how long the end of a delegation can be undone.
const UNDONE_WITHIN: Duration = Duration::from_mins(10);
/// For how long ended delegations are shown.
const SHOWN_AFTER_END: Duration = Duration::from_hours(30 * 24);
/// Of how many of the servers that a delegation names the card speaks.
const MOST_SERVERS: usize = 6;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ActsQuery {
    cursor: Option<String>,
    /// Whose delegation was just ended.
    ended: Option<AgentAccountId>,
    /// To whom was just delegated.
    delegated: Option<AgentAccountId>,
}

pub(crate) async fn acts(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    query: Result<Query<ActsQuery>>,
) -> Response {
    let shown = async {
        let Query(query) = query?;
        let seen = Acts::read(&core, &person, &PageRequest::new(None, query.cursor.as_deref())?).await?;
        Ok(seen.shown(&query))
    };
    told(&core, "This page cannot be shown", shown.await)
}

/// All that the page shows.
struct Acts<'a> {
    core: &'a Core,
    person: &'a SignedIn,
    now: Timestamp,
    /// Those used last come first.
    acting: Vec<ActingAgent>,
    ended: Vec<(ActingAgent, Timestamp)>,
    next: Option<String>,
    servers: KnownServers,
    whose: Whose,
    week: Week,
}

impl<'a> Acts<'a> {
    async fn read(core: &'a Core, person: &'a SignedIn, page: &PageRequest) -> Result<Self> {
        let (caller, now) = (&person.caller, core.clock.now());
        let all = DelegationFilter::default();
        let (listing, servers, week) = try_join3(
            Box::pin(delegations::list_of(core, caller, caller.user.id, &all, page)),
            Box::pin(KnownServers::first(core, caller)),
            Box::pin(Week::of(core, caller)),
        )
        .await?;
        let (mut acting, over): (Vec<_>, Vec<_>) =
            listing.items.into_iter().partition(|acting| acting.delegation.is_active);
        let servers = servers.with_named(core, caller, &acting).await?;
        let whose = Whose::of(core, caller, &acting, &servers).await?;
        let used_at = |acting: &ActingAgent| {
            let last = week.of_agent(acting.agent.id).and_then(|doings| doings.last.as_ref());
            std::cmp::Reverse(last.map(|event| event.at))
        };
        acting.sort_by_cached_key(|acting| (used_at(acting), acting.agent.name.clone()));
        let ended = |acting: ActingAgent| {
            let ended_at = ended_at(&acting.delegation.delegation).filter(|at| *at <= now)?;
            (ended_at > now.minus(SHOWN_AFTER_END)).then_some((acting, ended_at))
        };
        let mut ended: Vec<_> = over.into_iter().filter_map(ended).collect();
        ended.sort_by_key(|(_, ended_at)| std::cmp::Reverse(*ended_at));
        Ok(Self { core, person, now, acting, ended, next: listing.next, servers, whose, week })
    }

    fn settings(&self) -> &Settings {
        &self.core.settings
    }

    fn shown(&self, query: &ActsQuery) -> Response {
        let delegate = at(self.settings(), path::DELEGATE);
        let next = self
            .next
            .as_deref()
            .map(|next| with_query(&at(self.settings(), path::HOME), &[("cursor", Some(next))]));
        let main = html! {
            (self.outcome(query))
            @for acting in &self.acting { (self.warning(acting)) }
            @if self.acting.is_empty() && self.next.is_none() {
                (empty(&html! {
                    "No agent acts for you. " a href=(delegate) { "Delegate to one" }
                    ": you choose where and until when."
                }))
            } @else {
                ul.stack role="list" { @for acting in &self.acting { li { (self.card(acting)) } } }
            }
            (next_page(next.as_deref()))
            (self.over())
            p.small.muted {
                "Ending takes effect on the next call: tokens that the agent holds for you stop working. What it did stays in your "
                a href=(at(self.settings(), path::ACTIVITY)) { "activity" } "."
            }
        };
        let buttons = html! {
            a.button.primary href=(delegate) { "Delegate to an agent" }
            @if !self.acting.is_empty() {
                a.button.danger href=(at(self.settings(), path::END_ALL)) { "End all" }
            }
        };
        Page::of(Place::Acts, main).lead(self.lead()).buttons(buttons).show(self.core, self.person)
    }

    fn lead(&self) -> Markup {
        let more = if self.next.is_some() { "More than " } else { "" };
        let (calls, refused) = (self.week.calls(), self.week.refused());
        html! {
            @if self.acting.is_empty() { b { "Nobody" } " can act as you now. " }
            @else { b { (more) (counted(self.acting.len(), "agent")) } " can act as you now. " }
            @match self.week.counted_since(self.now) {
                Some(since) => { "Since " (moment(since, self.now)) " they made " },
                None => "This week they made ",
            }
            @if calls == 0 {
                "no calls for you"
            } @else {
                b { (counted(calls, "call")) } " for you; "
                b {
                    @match refused {
                        0 => "none was refused",
                        1 => "1 was refused",
                        refused => { (refused) " were refused" },
                    }
                }
            }
            "."
        }
    }

    /// What came of the button that was pressed just now.
    fn outcome(&self, query: &ActsQuery) -> Markup {
        let ended =
            query.ended.and_then(|agent| self.ended.iter().find(|(ended, _)| ended.agent.id == agent));
        let made = query.delegated.and_then(|agent| self.acting.iter().find(|made| made.agent.id == agent));
        html! {
            @if let Some((over, ended_at)) = ended {
                @let undo = html! {
                    @if self.now < ended_at.plus(UNDONE_WITHIN) && over.agent.active {
                        (form(self.person, &at(self.settings(), path::UNDO_END), &undo_of(over.agent.id), &html! {
                            button.button name="agent" value=(over.agent.id) { "Undo" }
                        }))
                    }
                };
                (note(Tone::Done, &html! { b { (over.agent.name) } " no longer acts for you." }, &undo))
            }
            @if let Some(made) = made {
                (note(Tone::Done, &html! { b { (made.agent.name) } " acts for you now." }, &html! {}))
            }
        }
    }

    /// A server that a delegation names, at which its agent's calls fail.
    fn warning(&self, acting: &ActingAgent) -> Markup {
        let Some(named) = &acting.delegation.delegation.server_ids else { return html! {} };
        let failing = named.iter().filter_map(|id| self.servers.get(id)).find_map(|server| {
            let lent = self.whose.get(acting.agent.id, &server.id)?;
            whose::is_missing(lent).then_some((server, lent))
        });
        let Some((server, lent)) = failing else { return html! {} };
        let text = html! {
            b { (acting.agent.name) "’s calls for you fail at " (server.name) "." }
            " Its credentials there: " (whose::words(lent)) "."
        };
        note(Tone::Warn, &text, &whose::way_out(self.settings(), server, lent))
    }

    fn is_failing(&self, acting: &ActingAgent) -> bool {
        let named = acting.delegation.delegation.server_ids.iter().flatten();
        named.filter_map(|id| self.whose.get(acting.agent.id, id)).any(whose::is_missing)
    }

    fn card(&self, acting: &ActingAgent) -> Markup {
        let ActingAgent { delegation, agent } = acting;
        let given = &delegation.delegation;
        let doings = self.week.of_agent(agent.id);
        let narrow = self.settings().address(path::DELEGATE_TO, agent.id);
        let is_failing = self.is_failing(acting);
        let heading = format!("agent-{}", agent.id);
        html! {
            article.card aria-labelledby=(heading) {
                header {
                    h2 id=(heading) {
                        (acting_mark(is_failing))
                        a href=(narrow) { (agent.name) }
                        @if !agent.active { span.tag { "Disabled" } }
                        @if is_failing { span.tag.warn { "Calls fail" } }
                        @if doings.is_none() && self.week.knows_all_since(given.created_at, self.now) {
                            span.tag { "Never used" }
                        }
                    }
                    div.row {
                        a.button href=(narrow) aria-label={ "Narrow " (agent.name) } { "Narrow" }
                        (form(self.person, &at(self.settings(), path::END_DELEGATION), &end_of(given.id), &html! {
                            input type="hidden" name="agent" value=(agent.id);
                            button.button name="delegation" value=(given.id) aria-label={ "End " (agent.name) } { "End" }
                        }))
                    }
                }
                dl.facts {
                    div { dt { "Where, with whose credentials" } (self.places(acting)) }
                    (fact("Until", &html! {
                        @match given.expires_at {
                            Some(ends) => { (date(ends)) " " span.sub { (until(ends, self.now)) } },
                            None => { "No end date " span.sub { "since " (date(given.created_at)) } },
                        }
                        @if given.made_by.is_some() { span.sub { "made by an app: it ends with the app" } }
                    }))
                    (fact("Last used", &self.last_used(given, doings)))
                    (self.this_week(acting, doings))
                }
            }
        }
    }

    fn places(&self, acting: &ActingAgent) -> Markup {
        let agent = acting.agent.id;
        let place = |is_broken: bool, name: &str, whose: &str| {
            html! {
                dd.where.broken[is_broken] { (server(is_broken)) span { (name) " " span.sub { (whose) } } }
            }
        };
        let Some(named) = &acting.delegation.delegation.server_ids else {
            let lent = self.servers.asking_for_oauth().filter_map(|server| {
                let lent = self.whose.get(agent, &server.id).filter(|lent| !whose::is_missing(lent))?;
                Some(format!("{} at {}", whose::words(lent), server.name))
            });
            let lent: Vec<String> = lent.collect();
            let whose =
                if lent.is_empty() { "none that ask for an account".to_owned() } else { lent.join("; ") };
            return place(false, "Every server, also new ones", &whose);
        };
        html! {
            @for id in named.iter().take(MOST_SERVERS) {
                @match (self.servers.get(id), self.whose.get(agent, id)) {
                    (Some(server), _) if !server.active => (place(true, &server.name, "disabled by an admin")),
                    (Some(server), Some(lent)) => {
                        (place(whose::is_missing(lent), &server.name, &whose::words(lent)))
                    }
                    (Some(server), None) => (place(false, &server.name, "")),
                    (None, _) => (place(true, id.as_str(), "deleted")),
                }
            }
            @if named.len() > MOST_SERVERS { dd.sub { "and " (named.len() - MOST_SERVERS) " more" } }
        }
    }

    fn last_used(&self, given: &Delegation, doings: Option<&Doings>) -> Markup {
        html! {
            @match doings.and_then(|doings| doings.last.as_ref()) {
                Some(last) => {
                    (moment(last.at, self.now)) " "
                    span.sub {
                        @if let Some(tool) = &last.tool { code { (tool) } }
                        @else { (super::told::done(last.action)) }
                        @if let Some(server) = &last.server_id { " at " (self.servers.name(server)) }
                    }
                }
                None if self.week.knows_all_since(given.created_at, self.now) => "Never",
                None => { "Not of late " span.sub { "consider ending it" } },
            }
        }
    }

    fn this_week(&self, acting: &ActingAgent, doings: Option<&Doings>) -> Markup {
        let agent = acting.agent.id.to_string();
        let activity =
            with_query(&at(self.settings(), path::ACTIVITY), &[("agent", Some(&agent)), ("days", Some("7"))]);
        html! {
            div {
                dt { "This week" }
                @match doings.filter(|doings| doings.calls() > 0) {
                    None => dd { "No calls" },
                    Some(doings) => {
                        dd.week {
                            span {
                                a href=(activity) { (counted(doings.calls(), "call")) } " "
                                span.sub {
                                    @match doings.refused() { 0 => "none refused", refused => { (refused) " refused" } }
                                }
                            }
                            (doings.bars())
                        }
                    }
                }
            }
        }
    }

    /// What has ended, for a while.
    fn over(&self) -> Markup {
        if self.ended.is_empty() {
            return html! {};
        }
        html! {
            details.small {
                summary { (self.ended.len()) " ended in the last 30 days" }
                ul.ended role="list" {
                    @for (over, ended_at) in &self.ended {
                        @let agent = over.agent.id.to_string();
                        @let activity = at(self.settings(), path::ACTIVITY);
                        li {
                            span { (over.agent.name) }
                            span.muted {
                                @if over.delegation.delegation.revoked_at.is_some() { "ended on " } @else { "ran out on " }
                                (date(*ended_at))
                            }
                            a href=(with_query(&activity, &[("agent", Some(&agent))])) { "What it did" }
                        }
                    }
                }
            }
        }
    }
}

/// When a delegation that is not in force any more ended, if that is known.
fn ended_at(given: &Delegation) -> Option<Timestamp> {
    [given.revoked_at, given.expires_at].into_iter().flatten().min()
}

fn end_of(id: DelegationId) -> String {
    format!("end-delegation {id}")
}

fn undo_of(agent: AgentAccountId) -> String {
    format!("undo-end {agent}")
}

/// Ends one delegation.
pub(crate) async fn end(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let ended = async {
        let form = form?;
        let delegation: DelegationId = id(&form, "delegation")?;
        require_form_token(&person, &end_of(delegation), &form)?;
        gone(delegations::revoke(&core, &person.caller, &request, delegation).await)?;
        Ok(see_other(&core, &with_query(path::HOME, &[("ended", form.get("agent"))])))
    };
    told(&core, "The agent may still act for you", ended.await)
}

/// Delegates anew what was just ended.
pub(crate) async fn undo(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let undone = async {
        let form = form?;
        let agent: AgentAccountId = id(&form, "agent")?;
        require_form_token(&person, &undo_of(agent), &form)?;
        let caller = &person.caller;
        let (me, any, page) = (caller.user.id, DelegationFilter::default(), PageRequest::default());
        let was = delegations::list_for_agent(&core, caller, agent, Some(me), &any, &page).await?;
        let was = was.items.into_iter().next().map(|was| was.delegation);
        let now = core.clock.now();
        let is_recent = |was: &Delegation| was.revoked_at.is_some_and(|at| now < at.plus(UNDONE_WITHIN));
        let Some(was) = was.filter(is_recent) else {
            return Err(
                Error::conflict("It ended too long ago to be undone: delegate to the agent again").into()
            );
        };
        let new = NewDelegation { server_ids: was.server_ids, expires_at: was.expires_at };
        delegations::create(&core, caller, &request, agent, new).await?;
        Ok(see_other(&core, &with_query(path::HOME, &[("delegated", form.get("agent"))])))
    };
    told(&core, "The agent does not act for you", undone.await)
}

/// What the form is for that ends all.
const END_ALL: &str = "end-all";
/// How many delegations end at the same time.
const AT_ONCE: usize = 8;
/// How many one press ends. Who has more presses again.
const MOST_AT_ONCE: usize = 500;

/// Asks before all delegations end.
pub(crate) async fn ask_to_end_all(State(core): State<Arc<Core>>, Person(person): Person) -> Response {
    let shown = async {
        let (caller, page) = (&person.caller, PageRequest::default());
        let mut acting = delegations::list_acting_for(&core, caller, caller.user.id, None, &page).await?;
        acting.items.sort_by_cached_key(|acting| acting.agent.name.clone());
        let settings = &core.settings;
        let home = at(settings, path::HOME);
        if acting.items.is_empty() && acting.next.is_none() {
            let main = empty(&html! { "No agent acts for you. " a href=(home) { "Back" } });
            return Ok(Page::below(Place::Acts, "End all", main).show(&core, &person));
        }
        let main = html! {
            p { "From the next call on no agent acts for you. Tokens that they hold for you stop working." }
            ul.points {
                @for acting in &acting.items { li { (acting.agent.name) } }
                @if acting.next.is_some() { li { "and more" } }
            }
            div.row {
                (form(&person, &at(settings, path::END_ALL), END_ALL, &html! {
                    button.button.fill { "End all" }
                }))
                a.button href=(home) { "Keep them" }
            }
        };
        let title = match (acting.items.len(), &acting.next) {
            (1, None) => "End it?".to_owned(),
            (number, None) => format!("End all {number}?"),
            (number, Some(_)) => format!("End all, more than {number}?"),
        };
        Ok(Page::below(Place::Acts, &title, main).show(&core, &person))
    };
    told(&core, "This page cannot be shown", shown.await)
}

/// Ends all delegations. One that fails stops no other.
pub(crate) async fn end_all(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let ended = async {
        require_form_token(&person, END_ALL, &form?)?;
        let caller = &person.caller;
        let (mut ended, mut page) = (0, PageRequest::default());
        let mut failed = None;
        loop {
            let acting = delegations::list_acting_for(&core, caller, caller.user.id, None, &page).await?;
            let ids: Vec<_> = acting.items.iter().map(|acting| acting.delegation.delegation.id).collect();
            let revoked = futures::stream::iter(ids)
                .map(|id| delegations::revoke(&core, caller, &request, id))
                .buffer_unordered(AT_ONCE)
                .map(gone);
            let outcomes: Vec<Result<()>> = revoked.collect().await;
            ended += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            failed = failed.or(outcomes.into_iter().find_map(Result::err));
            match acting.next.filter(|_| ended < MOST_AT_ONCE) {
                Some(next) => page = PageRequest::new(None, Some(&next))?,
                None => break,
            }
        }
        match failed {
            None => Ok(see_other(&core, path::HOME)),
            Some(error) => {
                error.log();
                let main = html! {
                    (note(Tone::Stop, &html! {
                        b { (counted(ended, "delegation")) " ended, and not all." } " "
                        (page::sentence(&error.to_string()))
                    }, &html! { a.button href=(at(&core.settings, path::END_ALL)) { "Try again" } }))
                };
                let (status, _) = error.classify();
                Ok(Page::below(Place::Acts, "Some still act for you", main).answer(&core, &person, status))
            }
        }
    };
    told(&core, "Agents may still act for you", ended.await)
}
