//! `/sign-out`: the end of a session, here and at the provider.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use deputize_api::path;
use deputize_core::{Core, browser_sessions, browser_sessions::SignedIn, sign_in::end_session_url};
use deputize_service::{
    Result,
    extract::{Context, Form},
};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};

use crate::sign_in::add_cookie;
use deputize_pages::{
    browser::{Person, SamePage, cookie_name, require_form_token, set_cookie, signed_in},
    frame::SIGN_OUT,
    page::{self, page},
    parts::{at, form},
};

/// The button that signs out.
fn button(core: &Core, person: &SignedIn) -> Markup {
    form(person, &at(&core.settings, path::SIGN_OUT), SIGN_OUT, &html! { button.button { "Sign out" } })
}

pub(crate) async fn sign_out(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    Person(person): Person,
    form: Result<Form>,
) -> Response {
    let done = async {
        require_form_token(&person, SIGN_OUT, &form?)?;
        browser_sessions::sign_out(&core, &person, &request).await?;
        let provider = Box::pin(end_session_url(&core, &person.session)).await;
        let here = || format!("{}{}", core.settings.issuer, path::SIGN_OUT);
        let mut response = Redirect::to(&provider.map_or_else(here, String::from)).into_response();
        let name = cookie_name(&core.settings, "session");
        add_cookie(&mut response, &set_cookie(&core.settings, name, "", Duration::ZERO));
        Ok(response)
    };
    done.await.unwrap_or_else(|error| page::failed(&core.settings, "You are still signed in", &error))
}

/// What is shown after signing out, and to whom comes by this address while they are signed in.
pub(crate) async fn signed_out(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
) -> Response {
    let settings = &core.settings;
    match signed_in(&core, &headers, &request).await {
        Err(error) => page::failed(settings, "This page cannot be shown", &error),
        Ok(Some(person)) => {
            let main = html! {
                p { "You are signed in as " b { (page::name_of(&person.caller.user)) } "." }
                (button(&core, &person))
            };
            page(settings, StatusCode::OK, "Sign out?", &main, Some(&what_goes_on()))
        }
        Ok(None) => {
            let main = html! {
                p { "This browser is no longer signed in here." }
                p { a.button href={ (settings.path()) (path::SIGN_IN) } { "Sign in" } }
            };
            page(settings, StatusCode::OK, "Signed out", &main, Some(&what_goes_on()))
        }
    }
}

fn what_goes_on() -> Markup {
    html! { p { "Signing out ends this browser’s session only. Apps and agents that you allowed to act for you go on until you revoke that." } }
}
