//! The pages that a person sees, without scripts.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS},
    },
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::scopes::{self, Scopes};
use crate::demo::organization::PEOPLE;

const STYLE: &str = include_str!("page.css");

/// What the user is asked to agree to.
pub(super) struct Consent<'a> {
    /// The client's own name; empty if it gives none.
    pub(super) client: &'a str,
    /// The host to which the answer goes, with the port unless it is the default.
    pub(super) back_to: &'a str,
    pub(super) asked: &'a Scopes,
    pub(super) ticked: &'a Scopes,
    /// The email address of the user who was chosen last time.
    pub(super) user: Option<&'a str>,
}

/// The page that asks, with an error of the previous answer.
pub(super) fn consent(status: StatusCode, consent: &Consent<'_>, notice: Option<&str>) -> Response {
    let client = if consent.client.is_empty() { "An application" } else { consent.client };
    let body = html! {
        h1 { (client) " wants to use Demo chat" }
        p.quiet { "Your answer goes to " strong { (consent.back_to) } ". Go by that, not by the name." }
        // To the page's own URL, which contains the request.
        form method="post" {
            @if let Some(notice) = notice {
                p.notice role="alert" { (notice) }
            }
            fieldset {
                legend { "Sign in as" }
                @for (name, email) in PEOPLE {
                    label.choice {
                        input type="radio" name="user" value=(email) id=(name.to_lowercase())
                            required checked[consent.user == Some(email)];
                        span { strong { (name) } small { (email) } }
                    }
                }
                label.field for="password" { "Password" }
                input type="password" name="password" id="password" required
                    autocomplete="current-password" aria-describedby="hint";
                p.quiet id="hint" {
                    "The same for everybody: " code { "DEMO_PASSWORD" } " in " code { "demo.env" }
                    ", in the server’s data directory."
                }
            }
            fieldset.scopes {
                legend { "It asks to" }
                @for (scope, meaning) in scopes::ALL {
                    @if consent.asked.has(scope) {
                        label.choice {
                            input type="checkbox" name=(scope) value="yes" checked[consent.ticked.has(scope)];
                            span { (meaning) small { (scope) } }
                        }
                    }
                }
            }
            // Allow comes first, so the Enter key presses it.
            div.buttons {
                button.primary type="submit" id="allow" name="decision" value="allow" { "Allow" }
                button type="submit" id="deny" name="decision" value="deny" formnovalidate { "Deny" }
            }
        }
    };
    page(status, &format!("{client} · Demo chat"), &body)
}

/// The page for errors that cannot be sent to the client.
pub(super) fn refused(why: &str) -> Response {
    let body = html! {
        h1 { "This link does not work" }
        p { (why) }
        p.quiet { "Nothing has been allowed. Go back to where you came from and start again." }
    };
    page(StatusCode::BAD_REQUEST, "Demo chat", &body)
}

fn page(status: StatusCode, title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    p.brand { span aria-hidden="true" { "#" } "Demo chat" }
                    (body)
                }
            }
        }
    };
    (status, Html(page.into_string())).into_response()
}

/// Nothing is loaded and no script runs. The style is allowed by its hash. There is no `form-action`:
/// browsers would apply it to the client's address, to which the form's answer redirects.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The headers of every answer. Also of redirects, since their address contains a code.
pub(super) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
