//! The demo's issuer as an OpenID provider: a page on which one is Alice, another of the demo's people, or a new address,
//! with one click.
//!
//! There is no password where this machine alone can reach the service: whoever sits at it is to look at the demo, and
//! can read its password in `demo.env` anyway. Elsewhere the page asks for the demo's password. A code goes to the
//! service's own callback only, whose sign-in is bound to the browser that began it.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, ORIGIN, REFERRER_POLICY, X_FRAME_OPTIONS,
        },
    },
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_core::{clock::Timestamp, secret::sha256_base64, users::Email};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::DemoIssuer;
use crate::demo::organization::PEOPLE;

const STYLE: &str = include_str!("page.css");

/// How long a code is good.
const CODE_LASTS: Duration = Duration::from_mins(1);
/// How many codes are kept at most.
const MOST: usize = 1000;

/// A code that has not been redeemed.
struct Code {
    email: String,
    nonce: Option<String>,
    challenge: String,
    expires_at: Timestamp,
}

/// The codes that have not been redeemed.
#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<String, Code>>);

type Parameters = HashMap<String, String>;

/// A request of our own service, or why it is none.
fn read(issuer: &DemoIssuer, query: Option<&str>) -> Result<Parameters, &'static str> {
    let query: Parameters =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let is = |name: &str, value: &str| query.get(name).is_some_and(|sent| sent == value);
    if !is("client_id", super::CLIENT_ID) || !is("redirect_uri", &issuer.0.callback) {
        return Err("This provider signs people in to the service beside it, and to no other.");
    }
    let has_challenge = query.get("code_challenge").is_some_and(|challenge| challenge.len() == 43);
    if !is("response_type", "code") || !is("code_challenge_method", "S256") || !has_challenge {
        return Err("The request must be for a code, with a code_challenge by S256.");
    }
    Ok(query)
}

pub(super) async fn ask(State(issuer): State<DemoIssuer>, RawQuery(query): RawQuery) -> Response {
    match read(&issuer, query.as_deref()) {
        Ok(_) => question(&issuer, StatusCode::OK, None),
        Err(why) => page(StatusCode::BAD_REQUEST, &html! { h1 { "Not from here" } p { (why) } }),
    }
}

pub(super) async fn decide(
    State(issuer): State<DemoIssuer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let refused = |why: &str| page(StatusCode::BAD_REQUEST, &html! { h1 { "Not from here" } p { (why) } });
    let query = match read(&issuer, query.as_deref()) {
        Ok(query) => query,
        Err(why) => return refused(why),
    };
    // Another site must not choose who somebody is.
    let sent = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let is_ours = match (sent("sec-fetch-site"), sent(ORIGIN.as_str())) {
        (Some(site), _) => site == b"same-origin",
        (None, Some(origin)) => issuer.url().as_bytes().starts_with(origin),
        (None, None) => true,
    };
    if !is_ours {
        return refused("The form was sent by another page.");
    }
    let form: Parameters = form_urlencoded::parse(&body).into_owned().collect();
    let password = form.get("password").map(String::as_str).unwrap_or_default();
    if !issuer.0.one_click && !issuer.is_password(password) {
        return question(&issuer, StatusCode::FORBIDDEN, Some("That is not the demo’s password."));
    }
    let email = form.get("email").and_then(|email| email.parse::<Email>().ok());
    let Some(email) = email else {
        return question(&issuer, StatusCode::BAD_REQUEST, Some("That is no email address."));
    };
    let back = issuer.0.codes.new_code(&issuer, email.canonical(), &query);
    let back = back.and_then(|code| {
        let mut back: Url = issuer.0.callback.parse().ok()?;
        back.query_pairs_mut().append_pair("code", &code).append_pair("iss", issuer.url());
        if let Some(state) = query.get("state") {
            back.query_pairs_mut().append_pair("state", state);
        }
        Some(back)
    });
    match back {
        Some(back) => {
            let headers = [(LOCATION, String::from(back)), (CACHE_CONTROL, "no-store".to_owned())];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        None => {
            page(StatusCode::INTERNAL_SERVER_ERROR, &html! { h1 { "That did not work" } p { "Try again." } })
        }
    }
}

impl Codes {
    fn new_code(&self, issuer: &DemoIssuer, email: &str, query: &Parameters) -> Option<String> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let now = issuer.0.clock.now();
        let code = Code {
            email: email.to_owned(),
            nonce: query.get("nonce").cloned(),
            challenge: query.get("code_challenge")?.clone(),
            expires_at: now.plus(CODE_LASTS),
        };
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| now < code.expires_at);
        (codes.len() < MOST).then(|| codes.insert(text.clone(), code))?;
        Some(text)
    }

    fn redeem(&self, issuer: &DemoIssuer, code: &str, verifier: &str) -> Option<Code> {
        let code = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(code)?;
        let challenge = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        let is_its_own = BASE64_URL_SAFE_NO_PAD.encode(challenge) == code.challenge;
        (is_its_own && issuer.0.clock.now() < code.expires_at).then_some(code)
    }
}

/// The exchange of a code (OpenID Connect Core section 3.1.3).
pub(super) fn exchange(issuer: &DemoIssuer, form: &HashMap<String, String>) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let is_ours = field("client_id") == super::CLIENT_ID && field("redirect_uri") == issuer.0.callback;
    let code =
        is_ours.then(|| issuer.0.codes.redeem(issuer, field("code"), field("code_verifier"))).flatten();
    let answer = code.and_then(|code| {
        let id_token = issuer.id_token(&code.email, code.nonce.as_deref()).ok()?;
        Some(
            json!({ "access_token": "none", "token_type": "Bearer", "expires_in": 60, "id_token": id_token }),
        )
    });
    let no_store = [(CACHE_CONTROL, "no-store")];
    match answer {
        Some(answer) => (no_store, Json(answer)).into_response(),
        None => {
            let error: Value = json!({ "error": "invalid_grant" });
            (StatusCode::BAD_REQUEST, no_store, Json(error)).into_response()
        }
    }
}

/// The end of a session (OpenID Connect RP-Initiated Logout). There is none here, so the browser goes back.
pub(super) async fn end_session(State(issuer): State<DemoIssuer>, RawQuery(query): RawQuery) -> Response {
    let query: Parameters =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    match query.get("post_logout_redirect_uri").filter(|back| **back == issuer.0.signed_out) {
        Some(back) => (StatusCode::SEE_OTHER, [(LOCATION, back.clone())]).into_response(),
        None => {
            page(StatusCode::OK, &html! { h1 { "Signed out" } p { "The demo’s provider keeps no session." } })
        }
    }
}

/// The page that asks who one is.
fn question(issuer: &DemoIssuer, status: StatusCode, notice: Option<&str>) -> Response {
    let password = html! {
        @if !issuer.0.one_click {
            label { "Password: DEMO_PASSWORD in demo.env"
                input type="password" name="password" required autocomplete="current-password"; }
        }
    };
    let body = html! {
        h1 { "Who are you?" }
        p { "This is the demo’s identity provider. It believes whatever you say." }
        @if let Some(notice) = notice { p.stop role="alert" { (notice) } }
        form method="post" {
            (password)
            @for (name, email) in PEOPLE {
                button name="email" value=(email) { (name) small { (email) } }
            }
        }
        hr;
        form method="post" {
            (password)
            label for="new" { "Or somebody new" }
            input #new type="email" name="email" placeholder="you@example.com" required autocomplete="off";
            button { "Sign in" }
        }
    };
    page(status, &body)
}

fn page(status: StatusCode, body: &Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Sign in · Demo" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    // `same-origin`: with no referrer at all, a browser sends no origin with the form.
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, Html(document.into_string())).into_response()
}

/// There is no `form-action`: browsers would apply it to the service's address, to which the form's answer redirects.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = sha256_base64(STYLE.as_bytes());
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});
