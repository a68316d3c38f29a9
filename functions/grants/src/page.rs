//! The pages that a browser is shown when it comes back from an authorization server.

use axum::response::Response;
use deputize_api::path;
use deputize_core::Settings;
use deputize_pages::{
    page::{self, page, sentence},
    parts::at,
};
use deputize_service::ApiError;
use http::StatusCode;
use maud::html;

pub(crate) fn connected(settings: &Settings, server: &str, account: &str) -> Response {
    let main = html! {
        p { "Agents that " b { (account) } " grants the use of this session can now work at " b { (server) }
            ". Nobody but this service sees its tokens." }
        p { a href=(at(settings, path::MY_CONNECTIONS)) { "See who uses it" } ", or close this page." }
    };
    page(settings, StatusCode::OK, "Connected", &main, None)
}

/// A page that asks the user to confirm. The button sends `hidden` back.
pub(crate) fn to_confirm(
    settings: &Settings,
    server: &str,
    account: &str,
    provider: &str,
    hidden: &[(&str, Option<&str>)],
) -> Response {
    let main = html! {
        p { "The account that you have just used at " b { (page::host(provider)) } " is about to be connected to "
            b { (server) } " for " b { (account) } "." }
        p { "Agents that this user grants the use of it will work there in your name. Go on only if this is you, "
            "and you began this." }
        form method="post" action="callback" {
            @for (name, value) in hidden {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            button.button.primary #confirm type="submit" { "Connect" }
        }
    };
    let foot = html! { p { "If somebody sent you here, close this page: nothing has been connected." } };
    page(settings, StatusCode::OK, "Is this you?", &main, Some(&foot))
}

pub(crate) fn failed(settings: &Settings, error: &ApiError) -> Response {
    not_connected(settings, error, None)
}

/// The page of an error, with the way on: an address of ours and its words.
pub(crate) fn not_connected(settings: &Settings, error: &ApiError, way: Option<(String, &str)>) -> Response {
    let (status, _) = error.classify();
    error.log();
    let main = html! {
        p { (sentence(&error.to_string())) }
        @if let Some((address, words)) = way { p { a href=(address) { (words) } } }
    };
    page(settings, status, "Not connected", &main, None)
}
