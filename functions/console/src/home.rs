//! `/`: the person who is signed in, and which apps may act as them.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use deputize_api::path;
use deputize_core::{
    Core, Error, Settings,
    apps::{AppKind, Authorization},
    authorizations,
    browser_sessions::SignedIn,
    ids::AuthorizationId,
    paging::PageRequest,
    tokens::Resource,
    users::Role,
};
use deputize_service::{
    Result,
    extract::{Context, Form},
};
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    browser::{FORM_TOKEN, Person, SamePage, require_form_token},
    consent::date,
    page::{self, page},
    sign_out,
};

pub(crate) async fn home(State(core): State<Arc<Core>>, Person(person): Person) -> Response {
    let settings = &core.settings;
    let user = &person.caller.user;
    let mcp = format!("{}{}", settings.issuer, path::MCP.replace("{server_id}", "SERVER"));
    let apps = match apps(&core, &person).await {
        Ok(apps) => apps,
        Err(error) => return page::failed(settings, "This page cannot be shown", &error),
    };
    let main = html! {
        p {
            b { (page::name_of(user)) }
            @if let Some(role) = role_tag(user.effective_role()) { " " span.tag { (role) } }
        }
        p.muted { "By " (page::host(&person.session.issuer)) "." }
        div.row {
            (sign_out::button(&core, &person))
            a.button href={ (settings.path()) (path::SIGN_IN) "?other_account=true" } { "Use another account" }
        }
        (apps)
        h2 { "Connect a client" }
        p { "Give an MCP client this address, with the server’s id in the place of " code { "SERVER" } ":" }
        p { code { (mcp) } }
        p { a href={ (settings.path()) (path::OPENAPI) } { "What the API can do" } }
    };
    page(settings, StatusCode::OK, "You are signed in", &main, None)
}

/// What is beside the name of a person with a role.
fn role_tag(role: Role) -> Option<&'static str> {
    match role {
        Role::User => None,
        Role::Auditor => Some("Auditor"),
        Role::Operator => Some("Operator"),
        Role::Admin => Some("Admin"),
    }
}

/// The form's field that says which authorization ends.
const AUTHORIZATION: &str = "authorization";

/// What the button of one authorization is for.
fn purpose(id: AuthorizationId) -> String {
    format!("end-app {id}")
}

/// The apps that may act as the person, each with a button that ends it.
async fn apps(core: &Core, person: &SignedIn) -> Result<Markup> {
    let owner = person.caller.user.id;
    let listed = authorizations::list(core, &person.caller, owner, &PageRequest::default()).await?;
    if listed.items.is_empty() {
        return Ok(html! {});
    }
    Ok(html! {
        h2 { "Apps" }
        p { "They may act as you. What you end is refused with its next call." }
        ul.choices role="list" {
            @for given in &listed.items { li { (app(&core.settings, person, given)) } }
        }
        @if listed.next.is_some() { p.muted { "There are more, which the API lists." } }
    })
}

fn app(settings: &Settings, person: &SignedIn, given: &Authorization) -> Markup {
    let name = given.app_name.as_deref();
    let host = given.app_host.as_deref();
    html! {
        p {
            b {
                @match (given.app_kind, host) {
                    (AppKind::Registered, _) => (name.unwrap_or("An app of your organization")),
                    (AppKind::Document, Some(host)) => (host),
                    (AppKind::Dynamic, Some(host)) => { "An app at " (host) },
                    (_, None) => "A program on your computer",
                }
            }
            @if let Some(name) = name.filter(|_| given.app_kind != AppKind::Registered) {
                " that calls itself “" (name) "”"
            }
            ": "
            @match &given.resource {
                Resource::Proxy => "every server",
                Resource::Management => "what you can manage yourself here",
                Resource::Server(server) => code { (server) },
            }
            ". You allowed it on " (date(given.allowed_at)) "."
        }
        form method="post" action={ (settings.path()) (path::HOME) } {
            input type="hidden" name=(FORM_TOKEN) value=(person.form_token(&purpose(given.id)));
            button.button.danger type="submit" name=(AUTHORIZATION) value=(given.id) { "End it" }
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
        let id = form.get(AUTHORIZATION).and_then(|id| id.parse::<AuthorizationId>().ok());
        let id = id.ok_or_else(|| Error::invalid("The form does not say which app"))?;
        require_form_token(&person, &purpose(id), &form)?;
        let owner = person.caller.user.id;
        match authorizations::revoke(&core, &person.caller, &request, owner, id).await {
            // The person has pressed the button twice, and has what they want.
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let home = format!("{}{}", core.settings.issuer, path::HOME);
        Ok(Redirect::to(&home).into_response())
    };
    ended.await.unwrap_or_else(|error| page::failed(&core.settings, "The app may still act as you", &error))
}
