//! `/apps`: the apps that may act as the person, and the browsers in which they are signed in. Each can be ended.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::{
    Core,
    apps::{AppKind, Authorization},
    authorizations,
    browser_sessions::{self, BrowserSession, SignedIn},
    clock::Timestamp,
    ids::{AuthorizationId, BrowserSessionId},
    paging::{Listing, PageRequest},
    tokens::Resource,
};
use deputize_service::{
    Result,
    extract::{Context, Form, Query},
};
use futures::future::try_join;
use maud::{Markup, html};
use serde::Deserialize;

use deputize_pages::{
    answer::{gone, id, see_other, told},
    browser::{Person, SamePage, require_form_token},
    frame::{Page, Place},
    page,
    parts::{self, at, empty, form, next_page, with_query},
    when::{date, exact, moment},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AppsQuery {
    cursor: Option<String>,
}

pub(crate) async fn apps(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    query: Result<Query<AppsQuery>>,
) -> Response {
    let shown = async {
        let Query(AppsQuery { cursor }) = query?;
        let (caller, page) = (&person.caller, PageRequest::new(None, cursor.as_deref())?);
        let me = caller.user.id;
        let (mut apps, browsers) = try_join(
            authorizations::list(&core, caller, me, &page),
            browser_sessions::list(&core, caller, me, &PageRequest::default()),
        )
        .await?;
        apps.items.sort_by_cached_key(|given| (known_as(given), given.app_name.clone(), given.id));
        Ok(listed(&core, &person, &apps, &browsers.items))
    };
    told(&core, "This page cannot be shown", shown.await)
}

fn listed(
    core: &Core,
    person: &SignedIn,
    apps: &Listing<Authorization>,
    browsers: &[BrowserSession],
) -> Response {
    let (settings, now) = (&core.settings, core.clock.now());
    let here = at(settings, path::MY_APPS);
    let next = apps.next.as_deref().map(|next| with_query(&here, &[("cursor", Some(next))]));
    let mcp = format!("{}{}", settings.issuer, path::MCP.replace("{server_id}", "SERVER"));
    let main = html! {
        @if apps.items.is_empty() && next.is_none() {
            (empty(&html! { "No app acts as you. One that wants to asks you first." }))
        } @else {
            ul.rows role="list" { @for given in &apps.items { li { (app(core, person, given, now)) } } }
        }
        (next_page(next.as_deref()))
        h2 { "Connect an MCP client" }
        p { "Give it this address, with a server’s id in the place of " code { "SERVER" } ":" }
        p { code { (mcp) } }
        p.small { a href=(at(settings, path::OPENAPI)) { "What the API can do" } }
        h2 { "Browsers" }
        p.muted { "Where you are signed in here. Signing out elsewhere does not end what apps and agents may do." }
        ul.rows role="list" {
            @for session in browsers { li { (browser(core, person, session, now)) } }
        }
    };
    let lead = html! { "They may act as you. What you end is refused with its next call." };
    Page::of(Place::Apps, main).lead(lead).show(core, person)
}

/// What the button of one authorization is for.
fn end_app_of(id: AuthorizationId) -> String {
    format!("end-app {id}")
}

/// What an app is, as far as it is proven.
fn known_as(given: &Authorization) -> String {
    let name = given.app_name.as_deref();
    match (given.app_kind, given.app_host.as_deref()) {
        (AppKind::Registered, _) => name.unwrap_or("An app of your organization").to_owned(),
        (AppKind::Document, Some(host)) => host.to_owned(),
        (AppKind::Dynamic, Some(host)) => format!("An app at {host}"),
        (_, None) => "A program on your computer".to_owned(),
    }
}

fn app(core: &Core, person: &SignedIn, given: &Authorization, now: Timestamp) -> Markup {
    let name = given.app_name.as_deref();
    let known = known_as(given);
    html! {
        div.what {
            (parts::agent())
            div {
                p {
                    b { (known) }
                    @if let Some(name) = name.filter(|_| given.app_kind != AppKind::Registered) {
                        " that calls itself “" (name) "”"
                    }
                }
                p.small.muted {
                    @match &given.resource {
                        Resource::Proxy => "Every server",
                        Resource::Management => "What you can manage yourself here",
                        Resource::Server(server) => code { (server) },
                    }
                    ". You allowed it on " (date(given.allowed_at)) "; it last renewed that "
                    (moment(given.used_at, now)) ". It ends on " (date(given.expires_at())) " if it is not used."
                }
            }
        }
        (form(person, &at(&core.settings, path::MY_APPS), &end_app_of(given.id), &html! {
            button.button name="authorization" value=(given.id) aria-label={ "End " (known) } { "End it" }
        }))
    }
}

fn end_browser_of(id: BrowserSessionId) -> String {
    format!("end-browser {id}")
}

fn browser(core: &Core, person: &SignedIn, session: &BrowserSession, now: Timestamp) -> Markup {
    let is_this = session.id == person.session.id;
    html! {
        div.what {
            div {
                p {
                    b { "Signed in " (moment(session.created_at, now)) }
                    " by " (page::host(&session.issuer))
                    @if is_this { " " span.tag.ok { "This browser" } }
                }
                p.small.muted {
                    "Last used " (moment(session.used_at, now)) ", until "
                    (exact(session.ends_at(core.settings.browser_sessions.idle))) " at the latest without use."
                }
            }
        }
        @if !is_this {
            (form(person, &at(&core.settings, path::END_BROWSER), &end_browser_of(session.id), &html! {
                button.button name="session" value=(session.id) { "Sign it out" }
            }))
        }
    }
}

/// Ends what the person allowed an app.
pub(crate) async fn end_app(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let ended = async {
        let form = form?;
        let authorization: AuthorizationId = id(&form, "authorization")?;
        require_form_token(&person, &end_app_of(authorization), &form)?;
        let owner = person.caller.user.id;
        gone(authorizations::revoke(&core, &person.caller, &request, owner, authorization).await)?;
        Ok(see_other(&core, path::MY_APPS))
    };
    told(&core, "The app may still act as you", ended.await)
}

/// Ends a session of the person in another browser.
pub(crate) async fn end_browser(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let ended = async {
        let form = form?;
        let session: BrowserSessionId = id(&form, "session")?;
        require_form_token(&person, &end_browser_of(session), &form)?;
        let owner = person.caller.user.id;
        gone(browser_sessions::end(&core, &person.caller, &request, owner, session).await)?;
        Ok(see_other(&core, path::MY_APPS))
    };
    told(&core, "That browser may still be signed in", ended.await)
}
