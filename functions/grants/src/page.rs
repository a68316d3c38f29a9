//! The pages that a browser is shown when it comes back from an authorization server. All that is not ours
//! is escaped by the template.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use deputize_service::ApiError;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) fn connected(server: &str, account: &str) -> Response {
    let text = html! {
        p { "Agents that " strong { (account) } " grants the use of this session can now work at "
            strong { (server) } ". Nobody but this service sees its tokens." }
        p.quiet { "You can close this page." }
    };
    page(StatusCode::OK, "good", "Connected", &text)
}

/// A page that asks the user to confirm. The button sends `hidden` back.
pub(crate) fn to_confirm(
    server: &str,
    account: &str,
    provider: &str,
    hidden: &[(&str, Option<&str>)],
) -> Response {
    let text = html! {
        p { "The account that you have just used at " strong { (host(provider)) } " is about to be connected to "
            strong { (server) } " for" }
        p.account { (account) }
        p { "Agents that this user grants the use of it will work there in your name. Go on only if this is you, "
            "and you began this." }
        form method="post" action="callback" {
            @for (name, value) in hidden {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            button #confirm type="submit" { "Connect" }
        }
        p.quiet { "If somebody sent you here, close this page: nothing has been connected." }
    };
    page(StatusCode::OK, "", "Is this you?", &text)
}

pub(crate) fn failed(error: &ApiError) -> Response {
    not_connected(error, None)
}

/// The page of an error, with the way on: an address of ours and its words.
pub(crate) fn not_connected(error: &ApiError, way: Option<(String, &str)>) -> Response {
    let (status, _) = error.classify();
    error.log();
    let text = html! {
        p { (error.to_string()) "." }
        @if let Some((address, words)) = way { p { a href=(address) { (words) } } }
    };
    page(status, "bad", "Not connected", &text)
}

/// The host of an issuer: the name by which users know a provider.
fn host(issuer: &str) -> &str {
    issuer.split_once("://").map_or(issuer, |(_, rest)| rest.split('/').next().unwrap_or(rest))
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--quiet:#626c78;--ground:#f3f4f6;--card:#fff;--line:#e1e4e8;--accent:#1f5fd6}\
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--quiet:#9aa4b0;--ground:#14171a;--card:#1d2125;--line:#30363d;--accent:#2f6bd8}}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);color:var(--ink);\
font:16px/1.55 system-ui,sans-serif}\
main{box-sizing:border-box;width:min(30rem,calc(100vw - 2rem));margin:1rem;padding:2rem 2.25rem;background:var(--card);\
border:1px solid var(--line);border-radius:14px}\
h1{margin:0 0 1rem;font-size:1.45rem;line-height:1.25}h1::before{display:block;font-size:1.9rem;margin-bottom:.5rem}\
.good h1::before{content:'\\2713';color:#23a559}.bad h1::before{content:'\\00d7';color:#c93535}\
p{margin:.75rem 0;overflow-wrap:anywhere}.account{font-weight:650;font-size:1.1rem;padding:.6rem .9rem;\
border:1px solid var(--line);border-radius:8px}.quiet{color:var(--quiet);font-size:.9rem}\
button{margin:.5rem 0;padding:.65rem 1.6rem;font:inherit;font-weight:600;color:#fff;background:var(--accent);\
border:0;border-radius:8px;cursor:pointer}a{color:var(--accent)}button:focus-visible,a:focus-visible{outline:3px solid var(--ink);outline-offset:2px}\
footer{margin-top:1.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--quiet);font-size:.85rem}";

/// No script runs, nothing is loaded except the style above, and no other page can embed this one in a frame.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = deputize_core::secret::sha256_base64(STYLE.as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

fn page(status: StatusCode, mood: &str, title: &str, text: &Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Deputize" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main class=(mood) {
                    h1 { (title) }
                    (text)
                    footer { "Deputize" }
                }
            }
        }
    };
    let policy = HeaderValue::from_str(&POLICY).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    // `same-origin`: a page that sends no referrer at all sends no origin with its form either.
    let headers = [
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (status, headers, document).into_response()
}
