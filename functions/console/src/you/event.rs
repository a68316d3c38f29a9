//! `/activity/{event_id}`: one event: what was done, with what, what was before and after, and what stops it.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core,
    audit::{ERASED, Event, FieldChange, SourceIp},
    browser_sessions::SignedIn,
    ids::EventId,
    trail::{self, Names},
};
use deputize_service::{Result, extract::Path};
use maud::{Markup, html};

use super::{activity::tag, told::Told};
use deputize_pages::{
    answer::told,
    browser::Person,
    frame::{Page, Place},
    parts::{at, fact, with_query},
    when::exact,
};

pub(crate) async fn event(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    id: Result<Path<EventId>>,
) -> Response {
    let shown = async {
        let Path(id) = id?;
        let event = trail::get(&core, &person.caller, id).await?;
        let names = trail::names(&core, &person.caller, std::slice::from_ref(&event)).await?;
        Ok(shown(&core, &person, &event, &names))
    };
    told(&core, "No such event, or not yours to see", shown.await)
}

fn shown(core: &Core, person: &SignedIn, event: &Event, names: &Names) -> Response {
    let told = Told { me: person.caller.user.id, names };
    let stops = stops(core, person, event, &told);
    let main = html! {
        p.sentence { (told.sentence(event)) @if let Some(tag) = tag(event.outcome) { " " (tag) } }
        @if let Some(detail) = &event.detail { p { (deputize_pages::page::sentence(detail)) } }
        dl.pairs { (facts(event, &told)) }
        @if !event.changes.is_empty() { (changes(&event.changes)) }
        @if !stops.is_empty() {
            h2 { "Stop it" }
            ul.rows role="list" { @for stop in &stops { li { (stop) } } }
        }
    };
    Page::below(Place::Activity, "What happened", main).show(core, person)
}

fn facts(event: &Event, told: &Told<'_>) -> Markup {
    let text = |name: &str, value: Option<String>| {
        html! { @if let Some(value) = value { (fact(name, &html! { (value) })) } }
    };
    let code = |name: &str, value: Option<String>| {
        html! { @if let Some(value) = value { (fact(name, &html! { code { (value) } })) } }
    };
    html! {
        (fact("When", &exact(event.at)))
        (text("Who", Some(told.actor(event))))
        (text("Agent", event.agent_account_id.map(|agent| told.agent(agent))))
        (text("Server", event.server_id.as_ref().map(|server| told.server(server).to_owned())))
        (code("Tool", event.tool.clone()))
        (text("Whose connection", event.credentials_of.map(|user| told.lender(user))))
        (code("By which credential", event.credential.clone()))
        (code("By which app", event.client_id.as_ref().map(ToString::to_string)))
        (code("About", event.subject.clone()))
        (text("Policies that decided", (!event.policies.is_empty()).then(|| event.policies.join(", "))))
        (text("From", event.source_ip.as_ref().map(address)))
        (text("Took", event.duration_ms.map(|time| format!("{time} ms"))))
        (code("Action", Some(event.action.as_str().to_owned())))
        (code("Event", Some(event.id.to_string())))
        (code("Request", Some(event.request_id.to_string())))
    }
}

fn address(from: &SourceIp) -> String {
    match from {
        SourceIp::Known(address) => address.to_string(),
        SourceIp::Erased(_) => ERASED.to_owned(),
    }
}

/// What was before and after.
fn changes(changes: &[FieldChange]) -> Markup {
    let value =
        |value: &serde_json::Value| if value.is_null() { "–".to_owned() } else { value.to_string() };
    html! {
        h2 { "What it changed" }
        div.scroll tabindex="0" role="group" aria-label="What it changed" {
            table.table {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Before" } th scope="col" { "After" } } }
                tbody {
                    @for change in changes {
                        tr {
                            th scope="row" { (change.field) }
                            td { code { (value(&change.before)) } }
                            td { code { (value(&change.after)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What can be pressed so that it does not happen again, with what that does.
fn stops(core: &Core, person: &SignedIn, event: &Event, told: &Told<'_>) -> Vec<Markup> {
    let settings = &core.settings;
    let me = person.caller.user.id;
    let way = |what: &str, does: &str, address: &str, words: &str| {
        html! {
            div.what { div { p { b { (what) } } p.small.muted { (does) } } }
            a.button href=(address) { (words) }
        }
    };
    let mut ways = Vec::new();
    if let Some(agent) = event.agent_account_id.filter(|_| event.on_behalf_of() == Some(me)) {
        let (name, here) = (told.agent(agent), at(settings, path::HOME));
        ways.push(way(
            &format!("The delegation to {name}"),
            "Ending it stops all that it does for you, from its next call on.",
            &here,
            "End or narrow it",
        ));
        let did = with_query(
            &at(settings, path::ACTIVITY),
            &[("agent", Some(&agent.to_string())), ("days", Some("31"))],
        );
        ways.push(way(&format!("What else {name} did for you"), "In the last 31 days.", &did, "Look"));
    }
    let used = event.credential.as_deref().and_then(|used| used.split(':').next()).unwrap_or_default();
    match used {
        "api_key" => ways.push(way(
            "The API key",
            "Deleting it stops every script that has it. It can be restored for 30 days.",
            &at(settings, path::MY_KEYS),
            "Your keys",
        )),
        "app_token" | "refresh_token" | "authorization_code" => ways.push(way(
            "The app",
            "Ending what you allowed it stops it, from its next call on.",
            &at(settings, path::MY_APPS),
            "Your apps",
        )),
        "browser_session" => ways.push(way(
            "The browser",
            "Signing it out ends that browser’s session.",
            &at(settings, path::MY_APPS),
            "Your browsers",
        )),
        _ => {}
    }
    if let Some(server) = event.server_id.as_ref().filter(|_| event.credentials_of == Some(me)) {
        ways.push(way(
            &format!("Your connection to {}", told.server(server)),
            "Taking it back from an agent, or disconnecting, leaves the agent without it.",
            &settings.address(path::MY_CONNECTION, server),
            "Who uses it",
        ));
    }
    ways
}
