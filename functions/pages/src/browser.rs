//! Who sits at the browser that asks, and whether it was a page of ours that sent a form.
//!
//! The session's cookie is `HttpOnly` and `SameSite=Lax`. On https it is also `Secure`, and its name begins with
//! `__Host-`, so that no other host of the domain can set it (RFC 6265bis section 4.1.3.2). On http, which is a loopback
//! address, it is neither: Safari would drop it (<https://bugs.webkit.org/show_bug.cgi?id=232088>). Ports do not separate
//! cookies (RFC 6265 section 8.5), so its name has a hash of the service's address.
//!
//! **A form.** `Sec-Fetch-Site` says whether the page that sent it is of our origin. A browser that sends none says so by
//! `Origin`. A page in a sandboxed frame has the origin `null`, which is not ours. And the form has a token of the
//! session's.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    response::{IntoResponse, Redirect, Response},
};
use cookie::{Cookie, SameSite, time::Duration};
use deputize_api::path;
use deputize_core::{
    Core, Error, Settings, audit::RequestContext, browser_sessions::SignedIn, secret::sha256_hex,
};
use deputize_service::{
    ApiError, Result,
    extract::{Context, Form},
};
use http::{
    HeaderMap, Method,
    header::{COOKIE, ORIGIN},
    request::Parts,
};

use crate::page;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The name of a form's field with the session's token.
pub const FORM_TOKEN: &str = "form_token";

/// The name of a cookie of this deployment's.
pub fn cookie_name(settings: &Settings, what: &str) -> String {
    let prefix = if settings.is_https() { "__Host-" } else { "" };
    format!("{prefix}deputize_{what}_{}", &sha256_hex(settings.issuer.as_bytes())[..8])
}

/// A cookie that pages of ours set. Without a value, it removes the one that is there.
pub fn set_cookie(settings: &Settings, name: String, value: &str, lasts: std::time::Duration) -> String {
    Cookie::build((name, value.to_owned()))
        .path("/")
        .http_only(true)
        .secure(settings.is_https())
        .same_site(SameSite::Lax)
        .max_age(Duration::try_from(lasts).unwrap_or_default())
        .to_string()
}

/// The value of a cookie.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = cookies.flat_map(Cookie::split_parse).filter_map(Result::<_, cookie::ParseError>::ok);
    cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

/// The session's cookie.
pub fn session_cookie(core: &Core, headers: &HeaderMap) -> Option<String> {
    cookie(headers, &cookie_name(&core.settings, "session"))
}

/// Who is signed in.
pub async fn signed_in(
    core: &Core,
    headers: &HeaderMap,
    request: &RequestContext,
) -> Result<Option<SignedIn>> {
    match session_cookie(core, headers) {
        None => Ok(None),
        Some(cookie) => Ok(core.browser_caller(&cookie, request).await?),
    }
}

/// A person who is signed in. Whoever is not is sent to sign in, and comes back here.
#[derive(Debug)]
pub struct Person(pub SignedIn);

impl<S> FromRequestParts<S> for Person
where
    S: Send + Sync,
    Arc<Core>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let core = Arc::<Core>::from_ref(state);
        let found = async {
            let Context(request) = Context::from_request_parts(parts, state).await?;
            signed_in(&core, &parts.headers, &request).await
        };
        match found.await {
            Ok(Some(person)) => Ok(Self(person)),
            Ok(None) => {
                // What was to be changed is lost: the person starts again.
                let here = parts.uri.path_and_query().filter(|_| parts.method == Method::GET);
                let here = here.map_or(path::HOME, http::uri::PathAndQuery::as_str);
                Err(to_sign_in(&core.settings, here, None).into_response())
            }
            Err(error) => Err(page::failed(&core.settings, "This page cannot be shown", &error)),
        }
    }
}

/// The way to the sign-in page and back to `here`, a path and query of ours. `how` is what the provider asks.
pub fn to_sign_in(settings: &Settings, here: &str, how: Option<&str>) -> Redirect {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", here).extend_pairs(how.map(|how| (how, "true")));
    Redirect::to(&format!("{}{}?{}", settings.issuer, path::SIGN_IN, query.finish()))
}

/// A request that a page of ours has sent.
#[derive(Clone, Copy, Debug)]
pub struct SamePage;

impl<S> FromRequestParts<S> for SamePage
where
    S: Send + Sync,
    Arc<Core>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let core = Arc::<Core>::from_ref(state);
        if is_from_our_page(&core.settings, &parts.headers) {
            return Ok(Self);
        }
        let error =
            Error::forbidden("Nothing was changed: the request does not come from a page of this service");
        Err(page::failed(&core.settings, "Not from here", &error.into()))
    }
}

fn is_from_our_page(settings: &Settings, headers: &HeaderMap) -> bool {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(http::HeaderValue::as_bytes), values.next().is_some())
    };
    match (one(SEC_FETCH_SITE), one(ORIGIN.as_str())) {
        ((_, true), _) | (_, (_, true)) | ((None, _), (None, _)) => false,
        ((Some(site), _), (origin, _)) => site == b"same-origin" && origin != Some(b"null".as_slice()),
        ((None, _), (Some(origin), _)) => settings.is_own_origin(origin),
    }
}

/// Refuses a form that is not of this session, or is for something else.
pub fn require_form_token(person: &SignedIn, purpose: &str, form: &Form) -> Result<(), ApiError> {
    if form.get(FORM_TOKEN).is_some_and(|presented| person.is_form_token(purpose, presented)) {
        Ok(())
    } else {
        let why =
            "Nothing was changed: this form is of another session. Load its page again, and send it again";
        Err(Error::forbidden(why).into())
    }
}
