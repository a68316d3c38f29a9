//! The document of a page, and the headers that it is sent with. And a page of one column: a question to a person, or its
//! answer. All that is not ours is escaped by the template.
//!
//! No script runs on these pages, and nothing is loaded from elsewhere. No other page can put one into a frame.
//!
//! - There is no `form-action`: Chromium applies it to the redirect that follows a form
//!   (<https://github.com/w3c/webappsec-csp/issues/8>), and the way from a form of ours often leads to another origin.
//! - There is no `Cross-Origin-Opener-Policy`: clients open these pages as popups, and would lose them.
//! - `Referrer-Policy` is `same-origin`. With `no-referrer`, a browser sends `Origin: null` with a form (Fetch standard,
//!   "append a request Origin header").

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use deputize_api::path;
use deputize_core::{
    Settings,
    secret::sha256_hex,
    users::{Role, User},
};
use deputize_service::ApiError;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS},
};
use maud::{DOCTYPE, Markup, html};

const STYLE: &str = include_str!("style.css");
const MARK: &str = include_str!("mark.svg");

/// The stylesheet's name. It changes with its content, so that browsers can keep it.
static STYLE_NAME: LazyLock<String> =
    LazyLock::new(|| format!("{}.css", &sha256_hex(STYLE.as_bytes())[..16]));
const MARK_NAME: &str = "mark.svg";

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The headers of every page.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// A page of one column: a question to a person, or its answer. `title` is the heading, and `foot` is below the card.
pub fn page(
    settings: &Settings,
    status: StatusCode,
    title: &str,
    main: &Markup,
    foot: Option<&Markup>,
) -> Response {
    let body = html! {
        body.ask {
            header {
                span.brand { (mark()) "Deputize" }
                span.small.muted { (host(&settings.issuer)) }
            }
            main {
                h1 { (title) }
                (main)
            }
            @if let Some(foot) = foot { footer.small { (foot) } }
        }
    };
    respond(status, document(settings, title, &body))
}

pub(crate) fn document(settings: &Settings, title: &str, body: &Markup) -> Markup {
    let at = |name: &str| crate::parts::at(settings, &path::STYLE.replace("{name}", name));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Deputize" }
                link rel="icon" href=(at(MARK_NAME));
                link rel="stylesheet" href=(at(&STYLE_NAME));
            }
            (body)
        }
    }
}

pub(crate) fn respond(status: StatusCode, document: Markup) -> Response {
    (status, HEADERS, document).into_response()
}

/// The page of an error: what is wrong, and the way out.
pub fn failed(settings: &Settings, title: &str, error: &ApiError) -> Response {
    error.log();
    let (status, _) = error.classify();
    let main = html! {
        p { (sentence(&error.to_string())) }
        p { a href={ (settings.path()) (path::HOME) } { "Go to the start" } }
    };
    page(settings, status, title, &main, None)
}

pub fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{text}{end}")
}

/// How a person is named: by their address, else by their name.
pub fn name_of(user: &User) -> String {
    match (&user.email, &user.name) {
        (Some(email), _) => email.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => user.id.to_string(),
    }
}

/// What is said beside the name of a person with a role.
pub fn role_name(role: Role) -> Option<&'static str> {
    match role {
        Role::User => None,
        Role::Auditor => Some("Auditor"),
        Role::Operator => Some("Operator"),
        Role::Admin => Some("Admin"),
    }
}

/// The product's mark: a person, and an agent who acts for them.
pub(crate) fn mark() -> Markup {
    html! {
        svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true" {
            circle cx="5" cy="11" r="3.2" fill="currentColor" {}
            path d="M8.5 11h4" {}
            path d="M16.5 7.2 20.3 11l-3.8 3.8L12.7 11z" {}
        }
    }
}

/// The host of an address: the name by which people know a service.
pub fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest.split('/').next().unwrap_or(rest))
}

/// A file that pages load. `None` if there is none of this name.
pub fn asset(name: &str) -> Option<Response> {
    let (kind, kept, text) = if name == *STYLE_NAME {
        ("text/css; charset=utf-8", "public, max-age=31536000, immutable", STYLE)
    } else if name == MARK_NAME {
        ("image/svg+xml", "public, max-age=86400", MARK)
    } else {
        return None;
    };
    Some(([(CONTENT_TYPE, kind), (CACHE_CONTROL, kept)], text).into_response())
}
