//! `/connect/{server_id}`: a person connects to an MCP server.
//!
//! MCP clients are told this address when their user's connection is missing, has ended or lacks a scope. It names nobody:
//! who opens it signs in, and connects an account of their own. So one who sends the address to somebody else gets nothing.
//!
//! The page asks first, with whom one is here. Otherwise any site could begin connections in the name of its visitor.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use deputize_core::{
    Core, Error,
    browser_sessions::SignedIn,
    connections,
    ids::ServerId,
    servers::{self, Server, ServerAuth},
    sessions,
};
use deputize_service::{
    ApiError, Result, connecting,
    extract::{Form, Path, Query},
};
use http::{HeaderValue, StatusCode, header::SET_COOKIE};
use maud::html;
use serde::Deserialize;

use deputize_pages::{
    browser::{FORM_TOKEN, Person, SamePage, require_form_token},
    page::{self, page},
};

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// More than the server asks for at first.
    #[serde(default)]
    scope: Option<String>,
}

/// What the form is for. It is good for one server.
fn purpose(server: &ServerId) -> String {
    format!("connect:{server}")
}

/// The longest scope that is repeated on the page.
const MAX_SCOPE: usize = 1_000;

pub(crate) async fn ask(
    State(core): State<Arc<Core>>,
    Person(person): Person,
    id: Result<Path<ServerId>>,
    wanted: Result<Query<Wanted>>,
) -> Response {
    let shown = async {
        let (Path(id), Query(Wanted { scope })) = (id?, wanted?);
        let server = to_connect(&core, &id).await?;
        let is_connected = is_connected(&core, &person, &id).await?;
        let scope = scope.filter(|scope| scope.len() <= MAX_SCOPE);
        let main = html! {
            p {
                @if is_connected { "You are connected to it. To use another account, or to allow more, connect again. " }
                "You go to where its accounts are, sign in there, and come back. "
                "Then it can be used in your name here, under the policies that are in force for you."
            }
            @if let Some(scope) = &scope { p { "What is asked for: " code { (scope) } } }
            p { "You are signed in here as " b { (page::name_of(&person.caller.user)) } "." }
            form method="post" {
                input type="hidden" name=(FORM_TOKEN) value=(person.form_token(&purpose(&id)));
                @if let Some(scope) = &scope { input type="hidden" name="scope" value=(scope); }
                button.button.primary type="submit" { "Connect" }
            }
        };
        Ok(page(&core.settings, StatusCode::OK, &format!("Connect to {}", server.name), &main, None))
    };
    shown.await.unwrap_or_else(|error| failed(&core, &error))
}

pub(crate) async fn begin(
    State(core): State<Arc<Core>>,
    _: SamePage,
    Person(person): Person,
    id: Result<Path<ServerId>>,
    form: Result<Form>,
) -> Response {
    let begun = async {
        let (Path(id), form) = (id?, form?);
        require_form_token(&person, &purpose(&id), &form)?;
        let begun = Box::pin(connections::begin(&core, &person.caller, &id, form.get("scope"))).await?;
        // 303: the browser goes there with GET (RFC 9110 section 15.4.4).
        let mut response = Redirect::to(&begun.authorization_url).into_response();
        let cookie =
            HeaderValue::try_from(connecting::cookie(&core.settings, &begun)).map_err(Error::internal)?;
        response.headers_mut().append(SET_COOKIE, cookie);
        Ok(response)
    };
    begun.await.unwrap_or_else(|error| failed(&core, &error))
}

fn failed(core: &Core, error: &ApiError) -> Response {
    page::failed(&core.settings, "Not connected", error)
}

/// A server to which one can connect.
async fn to_connect(core: &Core, id: &ServerId) -> Result<Server> {
    let server = servers::get(core, id).await?.value;
    if !server.active {
        return Err(Error::NotFound(ServerId::WHAT).into());
    }
    if server.auth != ServerAuth::OAuth {
        return Err(Error::invalid("This server asks for no OAuth, so there is nothing to connect to").into());
    }
    Ok(server)
}

async fn is_connected(core: &Core, person: &SignedIn, id: &ServerId) -> Result<bool> {
    match sessions::get(core, &person.caller, id).await {
        Ok(session) => Ok(!connections::has_ended(core, &session).await?),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
