//! The frame of the console's pages: where one can go, and who is here. It is the same on each page.

use axum::response::Response;
use deputize_api::path;
use deputize_core::{Core, browser_sessions::SignedIn};
use http::StatusCode;
use maud::{Markup, html};

use crate::{
    page::{document, mark, name_of, respond, role_name},
    parts::{at, form},
};

/// What the form is for that signs out.
pub const SIGN_OUT: &str = "sign-out";

/// A page that the navigation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Acts,
    Connections,
    Apps,
    Keys,
    Activity,
}

impl Place {
    const ALL: [Self; 5] = [Self::Acts, Self::Connections, Self::Apps, Self::Keys, Self::Activity];

    pub fn name(self) -> &'static str {
        match self {
            Self::Acts => "Who acts for you",
            Self::Connections => "Connections",
            Self::Apps => "Apps",
            Self::Keys => "Keys",
            Self::Activity => "Activity",
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Acts => path::HOME,
            Self::Connections => path::MY_CONNECTIONS,
            Self::Apps => path::MY_APPS,
            Self::Keys => path::MY_KEYS,
            Self::Activity => path::ACTIVITY,
        }
    }
}

/// What a page of the console shows.
#[derive(Debug)]
pub struct Page<'a> {
    pub place: Place,
    /// The heading. That of a place is its name.
    pub title: &'a str,
    /// What is said under the heading.
    pub lead: Markup,
    /// What can be pressed beside the heading.
    pub buttons: Markup,
    pub main: Markup,
}

impl<'a> Page<'a> {
    pub fn of(place: Place, main: Markup) -> Self {
        Self { place, title: place.name(), lead: html! {}, buttons: html! {}, main }
    }

    /// A page below a place, to which it leads back.
    pub fn below(place: Place, title: &'a str, main: Markup) -> Self {
        Self { title, ..Self::of(place, main) }
    }

    #[must_use]
    pub fn lead(self, lead: Markup) -> Self {
        Self { lead, ..self }
    }

    #[must_use]
    pub fn buttons(self, buttons: Markup) -> Self {
        Self { buttons, ..self }
    }

    pub fn show(&self, core: &Core, person: &SignedIn) -> Response {
        self.answer(core, person, StatusCode::OK)
    }

    pub fn answer(&self, core: &Core, person: &SignedIn, status: StatusCode) -> Response {
        let settings = &core.settings;
        let is_below = self.title != self.place.name();
        let body = html! {
            body {
                a.skip href="#main" { "Skip to content" }
                div.frame {
                    header.side {
                        a.brand href=(at(settings, path::HOME)) { (mark()) "Deputize" }
                        button.button.menu type="button" popovertarget="nav" { "Menu" }
                        (navigation(core, person, self.place, is_below))
                    }
                    main #main tabindex="-1" {
                        @if is_below {
                            nav.crumbs aria-label="Breadcrumb" {
                                a href=(at(settings, self.place.path())) { (self.place.name()) }
                            }
                        }
                        div.head {
                            div {
                                h1 { (self.title) }
                                @if !self.lead.0.is_empty() { p { (self.lead) } }
                            }
                            @if !self.buttons.0.is_empty() { div.row { (self.buttons) } }
                        }
                        div.stack { (self.main) }
                        p.foot.small.muted { "Times are in UTC." }
                    }
                }
            }
        };
        respond(status, document(settings, self.title, &body))
    }
}

fn navigation(core: &Core, person: &SignedIn, here: Place, is_below: bool) -> Markup {
    let settings = &core.settings;
    let user = &person.caller.user;
    let current = |place: Place| {
        let is_it = if is_below { "true" } else { "page" };
        (place == here).then_some(is_it)
    };
    html! {
        nav.nav #nav popover aria-label="Console" {
            div {
                h2 #nav-you { "You" }
                ul aria-labelledby="nav-you" {
                    @for place in Place::ALL {
                        li { a href=(at(settings, place.path())) aria-current=[current(place)] { (place.name()) } }
                    }
                }
            }
            div.me.small {
                p { (user.name.clone().unwrap_or_else(|| name_of(user))) }
                @if let Some(email) = user.email.as_ref().filter(|_| user.name.is_some()) { p.muted { (email) } }
                @if let Some(role) = role_name(user.effective_role()) { p.muted { (role) } }
                (form(person, &at(settings, path::SIGN_OUT), SIGN_OUT, &html! { button.plain { "Sign out" } }))
                p { a href={ (at(settings, path::SIGN_IN)) "?other_account=true" } { "Use another account" } }
            }
        }
    }
}
