//! `/`: who is signed in.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use deputize_api::path;
use deputize_core::Core;
use http::StatusCode;
use maud::html;

use crate::{
    browser::Person,
    page::{self, page},
    sign_out,
};

pub(crate) async fn home(State(core): State<Arc<Core>>, Person(person): Person) -> Response {
    let settings = &core.settings;
    let user = &person.caller.user;
    let mcp = format!("{}{}", settings.issuer, path::MCP.replace("{server_id}", "SERVER"));
    let main = html! {
        p {
            b { (page::name_of(user)) }
            @if user.is_admin() { " " span.tag { "Admin" } }
        }
        p.muted { "By " (page::host(&person.session.issuer)) "." }
        div.row {
            (sign_out::button(&core, &person))
            a.button href={ (settings.path()) (path::SIGN_IN) "?other_account=true" } { "Use another account" }
        }
        h2 { "Connect a client" }
        p { "Give an MCP client this address, with the server’s id in the place of " code { "SERVER" } ":" }
        p { code { (mcp) } }
        p { a href={ (settings.path()) (path::OPENAPI) } { "What the API can do" } }
    };
    page(settings, StatusCode::OK, "You are signed in", &main, None)
}
