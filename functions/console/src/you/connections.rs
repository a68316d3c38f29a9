//! `/connections`: the servers, where the person is connected, and who uses that.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core,
    browser_sessions::SignedIn,
    clock::Timestamp,
    connections::{self, ConnectionFilter},
    ids::ServerId,
    paging::{Listing, MAX_PAGE_SIZE, PageRequest},
    servers::{self, Server, ServerAuth, ServerFilter, ServerOrder},
    session_grants::{self, GrantFilter, GrantOfAgent},
    sessions::Session,
};
use deputize_service::{Result, extract::Query};
use futures::future::try_join3;
use maud::{Markup, html};
use serde::Deserialize;

use deputize_pages::{
    answer::told,
    browser::Person,
    frame::{Page, Place},
    parts::{self, Tone, at, empty, joined, next_page, note, with_query},
    when::{date, moment},
};

/// How many servers are on a page.
const SERVERS: usize = 50;
/// How many names of agents are in a line.
const MOST_NAMES: usize = 3;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionsQuery {
    /// What the server's name begins with.
    name: Option<String>,
    cursor: Option<String>,
    /// From which server the person was just disconnected.
    disconnected: Option<ServerId>,
}

/// The person's session at a server.
pub(super) struct Connected {
    pub(super) session: Session,
    pub(super) has_ended: bool,
}

pub(crate) async fn connections(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    query: Result<Query<ConnectionsQuery>>,
) -> Response {
    let shown = async {
        let Query(query) = query?;
        let caller = &person.caller;
        let me = caller.user.id;
        let name = query.name.filter(|name| !name.is_empty());
        let filter =
            ServerFilter { name_prefix: name.clone(), active: Some(true), sort: Some(ServerOrder::Name) };
        let page = PageRequest::new(Some(SERVERS), query.cursor.as_deref())?;
        let all = PageRequest::new(Some(MAX_PAGE_SIZE), None)?;
        let any = ConnectionFilter::default();
        let in_force = GrantFilter { active: Some(true), ..GrantFilter::default() };
        let (servers, connected, given) = try_join3(
            Box::pin(servers::list(&core, caller, &filter, &page)),
            Box::pin(connections::list(&core, caller, me, &any, &all)),
            Box::pin(session_grants::list_of_user(&core, caller, me, &in_force, &all)),
        )
        .await?;
        let connected = connected
            .items
            .into_iter()
            .map(|(session, has_ended)| (session.server_id.clone(), Connected { session, has_ended }));
        let shown = Connections {
            core: &core,
            person: &person,
            now: core.clock.now(),
            name,
            servers,
            connected: connected.collect(),
            given: given.items,
            disconnected: query.disconnected,
        };
        Ok(shown.shown())
    };
    told(&core, "This page cannot be shown", shown.await)
}

struct Connections<'a> {
    core: &'a Core,
    person: &'a SignedIn,
    now: Timestamp,
    name: Option<String>,
    servers: Listing<Server>,
    connected: BTreeMap<ServerId, Connected>,
    given: Vec<GrantOfAgent>,
    disconnected: Option<ServerId>,
}

impl Connections<'_> {
    fn shown(&self) -> Response {
        let here = at(&self.core.settings, path::MY_CONNECTIONS);
        let next = self
            .servers
            .next
            .as_deref()
            .map(|next| with_query(&here, &[("name", self.name.as_deref()), ("cursor", Some(next))]));
        let (asking, others): (Vec<&Server>, Vec<&Server>) =
            self.servers.items.iter().partition(|server| server.auth == ServerAuth::OAuth);
        let main = html! {
            (self.outcome())
            form.filters method="get" action=(here) role="search" {
                label { "Name begins with" input type="search" name="name" value=[&self.name] maxlength="200"; }
                button.button { "Apply" }
            }
            @if self.servers.items.is_empty() && next.is_none() {
                @match self.name {
                    Some(_) => (empty(&html! { "No server’s name begins so. " a href=(here) { "Look at all" } })),
                    None => (empty(&html! { "There is no server yet. An admin registers one." })),
                }
            } @else if asking.is_empty() {
                (empty(&html! { "No server here needs an account of yours." }))
            } @else {
                ul.stack role="list" { @for server in asking { li { (self.card(server)) } } }
            }
            @if !others.is_empty() {
                @let names: Vec<String> = others.iter().map(|server| server.name.clone()).collect();
                p.small.muted { "No account of yours is needed at " (joined(&names, SERVERS)) "." }
            }
            (next_page(next.as_deref()))
        };
        let lead = html! { "Where you have an account that agents can use for you, and who uses it." };
        Page::of(Place::Connections, main).lead(lead).show(self.core, self.person)
    }

    fn outcome(&self) -> Markup {
        let Some(server) = &self.disconnected else { return html! {} };
        if self.connected.contains_key(server) {
            return html! {};
        }
        let name = self.servers.items.iter().find(|known| known.id == *server);
        let name = name.map_or(server.as_str(), |known| known.name.as_str());
        note(Tone::Done, &html! { "You are no longer connected to " b { (name) } "." }, &html! {})
    }

    fn card(&self, server: &Server) -> Markup {
        let settings = &self.core.settings;
        let connected = self.connected.get(&server.id);
        let is_broken = connected.is_some_and(|connected| connected.has_ended);
        let address = settings.address(path::MY_CONNECTION, &server.id);
        let connect = settings.address(path::CONNECT_PAGE, &server.id);
        let heading = format!("server-{}", server.id);
        html! {
            article.card aria-labelledby=(heading) {
                header {
                    h2 id=(heading) {
                        (parts::server(is_broken || connected.is_none()))
                        a href=(address) { (server.name) }
                        @match connected {
                            None => span.tag { "Not connected" },
                            Some(connected) if connected.has_ended => span.tag.warn { "Ended" },
                            Some(_) => span.tag.ok { "Connected" },
                        }
                    }
                    div.row {
                        @match connected {
                            None => a.button href=(connect) aria-label={ "Connect " (server.name) } { "Connect" },
                            Some(connected) => {
                                @if connected.has_ended {
                                    a.button href=(connect) aria-label={ "Reconnect " (server.name) } { "Reconnect" }
                                }
                                a.button.danger href=(settings.address(path::DISCONNECT, &server.id))
                                    aria-label={ "Disconnect " (server.name) } { "Disconnect" }
                            }
                        }
                    }
                }
                @if let Some(connected) = connected { (facts(connected, self.now, &self.used_by(&server.id))) }
            }
        }
    }

    fn used_by(&self, server: &ServerId) -> Markup {
        let given = self.given.iter().filter(|given| given.grant.grant.server_id == *server);
        let names: Vec<String> = given.map(|given| given.agent.name.clone()).collect();
        html! { @if names.is_empty() { "No agent" } @else { (joined(&names, MOST_NAMES)) } }
    }
}

/// What is known of a connection.
pub(super) fn facts(connected: &Connected, now: Timestamp, used_by: &Markup) -> Markup {
    let Connected { session, has_ended } = connected;
    html! {
        dl.facts {
            (parts::fact("May", &html! {
                @match &session.scope {
                    Some(scope) => { @for scope in scope.split(' ') { code { (scope) } " " } },
                    None => "what the server gives by default",
                }
            }))
            (parts::fact("Connected", &html! { (date(session.connected_at)) }))
            (parts::fact("Until", &html! {
                @if *has_ended {
                    "It has ended "
                    @if let Some(why) = &session.ended_because { span.sub { "its provider said: “" (why) "”" } }
                } @else if session.renewable {
                    "It renews itself"
                } @else {
                    @match session.expires_at { Some(at) => (moment(at, now)), None => "No end is known" }
                }
            }))
            (parts::fact("Used by", used_by))
        }
    }
}
