//! `/sign-in`: to an OpenID provider and back.
//!
//! A sign-in under way has two cookies, named after it, so that two tabs can sign in at once. One has its secret. The
//! other has where to go on: it may be long, so it is sent to the way back only. The `state` is a MAC of both
//! ([`deputize_core::sign_in`]).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, Request, State},
    http::Method,
    response::{IntoResponse, Redirect, Response},
};
use cookie::{Cookie, SameSite};
use deputize_api::{path, reason::Reason};
use deputize_core::{
    Core, Error, Settings,
    audit::RequestContext,
    browser_sessions::cookie_value,
    issuers::TrustedIssuer,
    secret::sha256_hex,
    sign_in::{self, ATTEMPT_LASTS, Asks, BegunSignIn, LocalPath, ProviderAnswer, attempt_id},
};
use deputize_service::{
    ApiError, EdgeError, Result,
    extract::{Context, Form, Query},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{COOKIE, HOST, SET_COOKIE},
};
use maud::html;
use serde::Deserialize;

use deputize_pages::{
    browser::{cookie, cookie_name, session_cookie, set_cookie, signed_in},
    page::{self, page},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SignInQuery {
    /// Where to go on.
    return_to: Option<String>,
    /// By which provider. With one provider, by that one.
    provider: Option<String>,
    /// Whether the person wants another account than the one that they have there.
    other_account: Option<bool>,
    /// Whether the person is to prove again who they are.
    again: Option<bool>,
}

/// The parameters of [`SignInQuery`] by which the provider asks something.
pub(crate) const OTHER_ACCOUNT: &str = "other_account";
pub(crate) const AGAIN: &str = "again";

/// The page that asks by which provider, or the way to it.
pub(crate) async fn sign_in(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    uri: http::Uri,
    query: Result<Query<SignInQuery>>,
) -> Response {
    let shown = async {
        let Query(query) = query?;
        match by_another_name(&core.settings, &headers, &uri) {
            Some(elsewhere) => Ok(elsewhere.into_response()),
            None => choose_or_begin(&core, &request, &headers, query).await,
        }
    };
    shown.await.unwrap_or_else(|error| failed(&core.settings, &error))
}

/// The same page at the service's own address, for a browser that came by another name of this machine: cookies are a
/// host's.
fn by_another_name(settings: &Settings, headers: &HeaderMap, uri: &http::Uri) -> Option<Redirect> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let rest = uri.path_and_query().filter(|_| settings.is_also_at(host))?;
    Some(Redirect::to(&format!("{}{rest}", settings.issuer)))
}

async fn choose_or_begin(
    core: &Core,
    request: &RequestContext,
    headers: &HeaderMap,
    query: SignInQuery,
) -> Result<Response> {
    let SignInQuery { return_to, provider, other_account, again } = query;
    let return_to = return_to.map_or(Ok(LocalPath::default()), |text| text.parse());
    let return_to = return_to.map_err(|why| Error::invalid(why.to_string()))?;
    let asks = match (again, other_account) {
        (Some(true), _) => Asks::Login,
        (_, Some(true)) => Asks::Account,
        _ => Asks::Nothing,
    };
    if provider.is_none() && asks == Asks::Nothing && signed_in(core, headers, request).await?.is_some() {
        return Ok(onwards(&core.settings, &return_to).into_response());
    }
    let mut ids = core.issuers.providers().filter_map(TrustedIssuer::provider_id);
    let only = ids.next().filter(|_| ids.next().is_none());
    let Some(provider) = provider.or(only) else {
        return Ok(choice(core, &return_to, asks));
    };
    let BegunSignIn { authorization_url, attempt } = sign_in::begin(core, &provider, return_to, asks).await?;
    let mut response = Redirect::to(authorization_url.as_str()).into_response();
    let cookies = Attempts { settings: &core.settings };
    for cookie in cookies.surplus(headers) {
        add_cookie(&mut response, &cookie);
    }
    let id = attempt.id();
    add_cookie(&mut response, &cookies.secret(&id, &attempt.cookie(), ATTEMPT_LASTS));
    if attempt.return_to().as_str() != path::HOME {
        add_cookie(&mut response, &cookies.return_to(&id, attempt.return_to().as_str(), ATTEMPT_LASTS));
    }
    Ok(response)
}

fn onwards(settings: &Settings, to: &LocalPath) -> Redirect {
    Redirect::to(&format!("{}{to}", settings.issuer))
}

/// The page that asks by which provider.
fn choice(core: &Core, return_to: &LocalPath, asks: Asks) -> Response {
    let providers: Vec<_> = core
        .issuers
        .providers()
        .filter_map(|issuer| Some((issuer.provider_id()?, issuer.provider_name())))
        .collect();
    if providers.is_empty() {
        let main = html! {
            p { "This service has no identity provider yet, so nobody can sign in with a browser." }
            p.muted { "Its operator names one: " code { "sign_in" } " of a trusted issuer." }
        };
        return page(&core.settings, StatusCode::NOT_FOUND, "Nobody can sign in here yet", &main, None);
    }
    // Where to go on is in it once, however many providers there are: it may be long.
    let asks = match asks {
        Asks::Nothing => None,
        Asks::Account => Some(OTHER_ACCOUNT),
        Asks::Login => Some(AGAIN),
    };
    let main = html! {
        p { "By which account of yours?" }
        form method="get" action={ (core.settings.path()) (path::SIGN_IN) } {
            input type="hidden" name="return_to" value=(return_to.as_str());
            @if let Some(asks) = asks { input type="hidden" name=(asks) value="true"; }
            ul.choices role="list" {
                @for (id, name) in &providers {
                    li { button.button name="provider" value=(id) { (name) } }
                }
            }
        }
    };
    let foot = html! { p { "Your password stays with the provider: this service never sees it." } };
    page(&core.settings, StatusCode::OK, "Sign in", &main, Some(&foot))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CallbackQuery {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The way back. It takes GET only: a HEAD would use the code up.
pub(crate) async fn callback(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    Path(provider): Path<String>,
    http: Request,
) -> Response {
    let (mut parts, _) = http.into_parts();
    let finished = async {
        if parts.method != Method::GET {
            return Err(EdgeError::MethodNotAllowed(Some("GET")).into());
        }
        let Query(query) = from_query(&mut parts, &core).await?;
        finish(&core, &request, &provider, &parts.headers, &query).await
    };
    finished.await.unwrap_or_else(|error| failed(&core.settings, &error))
}

async fn from_query(parts: &mut http::request::Parts, core: &Arc<Core>) -> Result<Query<CallbackQuery>> {
    use axum::extract::FromRequestParts;
    Query::from_request_parts(parts, core).await
}

async fn finish(
    core: &Core,
    request: &RequestContext,
    provider: &str,
    headers: &HeaderMap,
    query: &CallbackQuery,
) -> Result<Response> {
    let settings = &core.settings;
    let cookies = Attempts { settings };
    let state = query.state.as_deref().unwrap_or_default();
    let id = attempt_id(state);
    let secret = cookie(headers, &cookies.secret_name(&id));
    let return_to = cookie(headers, &cookies.return_name(&id)).map(|text| plain(&text));
    let session = session_cookie(core, headers);
    let answer = ProviderAnswer {
        state,
        code: query.code.as_deref(),
        iss: query.iss.as_deref(),
        error: query.error.as_deref(),
        error_description: query.error_description.as_deref(),
        cookie: secret.as_deref(),
        return_to: Some(return_to.as_deref().unwrap_or(path::HOME)),
        session: session.as_deref(),
    };
    let finished = Box::pin(sign_in::finish(core, request, provider, answer)).await?;
    let mut response = onwards(settings, &finished.return_to).into_response();
    let lasts = settings.browser_sessions.total;
    let session =
        set_cookie(settings, cookie_name(settings, "session"), cookie_value(&finished.cookie), lasts);
    add_cookie(&mut response, &session);
    for gone in cookies.gone(&id) {
        add_cookie(&mut response, &gone);
    }
    Ok(response)
}

/// What the provider says of a session that has ended there (OpenID Connect Back-Channel Logout section 2.5).
pub(crate) async fn backchannel_logout(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    Path(provider): Path<String>,
    form: Form,
) -> Result<StatusCode> {
    let token = form.get("logout_token").ok_or_else(|| Error::invalid("logout_token is missing"))?;
    Box::pin(sign_in::backchannel_logout(&core, &request, &provider, token)).await?;
    Ok(StatusCode::OK)
}

pub(crate) fn add_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

fn failed(settings: &Settings, error: &ApiError) -> Response {
    error.log();
    let (status, _) = error.classify();
    let way_out = match error.reason() {
        Reason::UserUnknown => {
            "The provider says who you are, and no account here is yours. Ask an administrator of this service to add you."
        }
        Reason::UserInactive => "Ask an administrator of this service to activate your account.",
        Reason::IdentityConflict => "Ask an administrator of this service, and tell them this.",
        _ => "If it happens again, ask an administrator of this service, and tell them this.",
    };
    let main = html! {
        p { (page::sentence(&error.to_string())) }
        p.muted { (way_out) }
        p { a.button href={ (settings.path()) (path::SIGN_IN) "?other_account=true" } { "Sign in again" } }
    };
    page(settings, status, "You are not signed in", &main, None)
}

/// The cookies of sign-ins under way.
struct Attempts<'a> {
    settings: &'a Settings,
}

/// How many sign-ins a browser can have under way.
const MOST: usize = 5;

impl Attempts<'_> {
    fn secret_name(&self, id: &str) -> String {
        format!("{}_{id}", cookie_name(self.settings, "sign_in"))
    }

    /// It is sent to the way back only, so it cannot begin with `__Host-`. Whoever sets it cannot make it one of this
    /// sign-in's, since the `state` says what it is.
    fn return_name(&self, id: &str) -> String {
        let prefix = if self.settings.is_https() { "__Secure-" } else { "" };
        format!("{prefix}deputize_return_{}_{id}", &sha256_hex(self.settings.issuer.as_bytes())[..8])
    }

    fn secret(&self, id: &str, value: &str, lasts: Duration) -> String {
        set_cookie(self.settings, self.secret_name(id), value, lasts)
    }

    fn return_to(&self, id: &str, value: &str, lasts: Duration) -> String {
        let callback = path::fill(path::SIGN_IN_CALLBACK, "");
        Cookie::build((self.return_name(id), escaped(value)))
            .path(format!("{}{}", self.settings.path(), callback.trim_end_matches('/')))
            .http_only(true)
            .secure(self.settings.is_https())
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::try_from(lasts).unwrap_or_default())
            .to_string()
    }

    /// What takes a sign-in's cookies away.
    fn gone(&self, id: &str) -> [String; 2] {
        [self.secret(id, "", Duration::ZERO), self.return_to(id, "", Duration::ZERO)]
    }

    /// What takes away the oldest, if there are too many: a browser's headers are bounded.
    fn surplus(&self, headers: &HeaderMap) -> Vec<String> {
        let prefix = self.secret_name("");
        let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let all = all.flat_map(Cookie::split_parse).filter_map(Result::<_, cookie::ParseError>::ok);
        let mut under_way: Vec<(i64, String)> = all
            .filter_map(|cookie| {
                let id = cookie.name().strip_prefix(&prefix)?.to_owned();
                let (_, expires_at) = cookie.value().split_once('.')?;
                let is_ours = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_ours.then(|| (expires_at.parse().unwrap_or_default(), id))
            })
            .collect();
        under_way.sort_unstable_by(|one, other| other.cmp(one));
        let surplus = under_way.into_iter().skip(MOST - 1).take(MOST);
        surplus.flat_map(|(_, id)| self.gone(&id)).collect()
    }
}

/// A path and query as a cookie's value, which some of its characters cannot be in (RFC 6265 section 4.1.1).
fn escaped(text: &str) -> String {
    text.replace('^', "^^").replace(';', "^s").replace(',', "^c").replace('"', "^q")
}

fn plain(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '^' => match chars.next() {
                Some('s') => ';',
                Some('c') => ',',
                Some('q') => '"',
                _ => '^',
            },
            c => c,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_from_a_cookie() {
        for text in ["/", "/a?b=^;,\"^^s^c", "/^q;^", "/a%3Bb"] {
            assert_eq!(plain(&escaped(text)), text);
            assert!(!escaped(text).contains([';', ',', '"']));
        }
    }
}
