//! `/api/v1/oauth/authorize` (RFC 6749 section 4.1, with PKCE): an app asks a person to be allowed to act as them.
//!
//! The order: who the person is; which app asks, and where its answers go; what it asks; then the person is asked
//! ([`crate::consent`]). So a request without a session writes nothing and asks no other host anything.
//!
//! **Errors.** Any app can be registered by anyone, and a registered app must not be a way to send people elsewhere (RFC
//! 9700 section 4.11.2). So an error is a page with a way back to the app, which the person may take. Only for an app
//! that an admin trusts is it a redirect. While the app or its redirect URI is not known, there is no way back at all.
//!
//! **Forms.** A form goes to the address of its page, so it has the whole request in it. Its token is derived from the
//! session, from the request, and from all that the page says of the app. So no other site can send it, two tabs do not
//! mix, a reload spoils nothing, and what was shown is what is allowed: if the app says something else by then, the
//! person sees the page again.
//!
//! **Connecting.** Allowing a server that asks for an account of the person's leads to a second page, which offers to
//! connect it. The code is made after that, since it lives for a minute. Only the first page's answer leads there.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequest, Request as HttpRequest, State},
    response::{IntoResponse, Redirect, Response},
};
use deputize_api::path;
use deputize_core::{
    Core, Error, Settings,
    apps::{self, AppKind, AppMetadata, redirect_uri::RedirectUri, shown},
    audit::RequestContext,
    authorizations::{self, AllowedBy, Consent, Gives, Target},
    browser_sessions::SignedIn,
    checked::Checked,
    connections,
    scope::Scopes,
    secret::sha256_hex,
    tokens::Resource,
};
use deputize_service::{
    ApiError, Result, connecting,
    extract::{Context, Form},
    handlers,
    routes::Routes,
};
use http::{HeaderMap, StatusCode, Uri, header::SET_COOKIE};
use secrecy::ExposeSecret;

use crate::{
    consent::{self, Shown},
    sign_in::{AGAIN, OTHER_ACCOUNT},
};
use deputize_pages::{
    browser::{FORM_TOKEN, SamePage, signed_in, to_sign_in},
    page,
};

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(authorize(..), answer(..)))
}

/// The longest query, in bytes. A registered `client_id` has up to 1,500.
const LONGEST_QUERY: usize = 8 * 1024;
/// The longest single parameter of those that the app gets back or that are stored, in bytes.
const LONGEST_PARAMETER: usize = 4 * 1024;
/// The parameter that leads to the page about connecting. It is ours.
const STEP: &str = "step";
/// How long connecting may take after a person has allowed an app.
const CONNECTING_WITHIN: Duration = Duration::from_mins(20);

/// An authorization request, as it came.
struct Asked {
    pairs: Vec<(String, String)>,
    /// The parameter of ours, which is no part of the request.
    step: Option<String>,
}

impl Asked {
    /// A parameter without a value counts as left out (RFC 6749 section 3.1).
    fn read(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let (steps, pairs): (Vec<_>, Vec<_>) =
            pairs.filter(|(_, value)| !value.is_empty()).partition(|(name, _)| name == STEP);
        Self { pairs, step: steps.into_iter().next().map(|(_, value)| value) }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| &**value)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    fn state(&self) -> Option<&str> {
        self.get("state")
    }

    fn asks_for(&self, prompt: &str) -> bool {
        self.get("prompt").is_some_and(|text| text.split(' ').any(|one| one == prompt))
    }

    /// The request's own address, of ours.
    fn here(&self) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.pairs).finish();
        format!("{}?{query}", path::AUTHORIZE)
    }

    /// The way to sign in that `prompt` asks for, also of a person who is signed in (OpenID Connect Core section 3.1.2.1),
    /// and the request without these values, which have been done by then. `prompt=none` asks for no page at all.
    fn signs_in_first(&self) -> Option<(&'static str, Self)> {
        let how = [("login", AGAIN), ("select_account", OTHER_ACCOUNT)];
        let (_, how) = how.into_iter().find(|(prompt, _)| self.asks_for(prompt) && !self.asks_for("none"))?;
        let left = |prompt: &str| {
            let left = prompt.split(' ').filter(|one| !["login", "select_account"].contains(one));
            left.collect::<Vec<_>>().join(" ")
        };
        let pairs = self
            .pairs
            .iter()
            .map(|(name, value)| (name.clone(), if name == "prompt" { left(value) } else { value.clone() }));
        let pairs = pairs.filter(|(_, value)| !value.is_empty()).collect();
        Some((how, Self { pairs, step: None }))
    }

    /// The parameter that is there twice and must not be (RFC 6749 section 3.1). `resource` may be (RFC 8707 section 2).
    fn twice(&self) -> Option<&str> {
        let mut seen = std::collections::HashSet::new();
        let mut names = self.pairs.iter().map(|(name, _)| &**name).filter(|name| *name != "resource");
        names.find(|name| !seen.insert(*name))
    }
}

/// Why a request is not put to the person.
enum Refused {
    /// There is no way back: the app is unknown, or the address is not its own.
    Here {
        title: &'static str,
        why: String,
    },
    /// An error for the app (RFC 6749 section 4.1.2.1).
    ToApp {
        app: Box<AppMetadata>,
        redirect_uri: RedirectUri,
        error: &'static str,
        why: String,
    },
    Failed(ApiError),
}

impl<E: Into<ApiError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The app that asks, and where its answers go.
struct Client {
    app: AppMetadata,
    redirect_uri: RedirectUri,
}

impl Client {
    async fn find(core: &Core, asked: &Asked) -> Result<Self, Refused> {
        let unknown = |why: String| Refused::Here { title: "This app is not known here", why };
        let once = |name: &'static str| match asked.all(name).nth(1) {
            None => Ok(asked.get(name)),
            Some(_) => Err(Refused::Here {
                title: "This request cannot be answered",
                why: format!("The parameter {name} occurs twice"),
            }),
        };
        let client_id = once("client_id")?;
        let client_id = client_id.ok_or_else(|| unknown("The parameter client_id is missing".to_owned()))?;
        let app = match apps::find(core, client_id).await? {
            Checked::Valid(app) => app,
            Checked::Invalid(refusal) => return Err(unknown(refusal.to_string())),
        };
        match app.redirect_uri(core, once("redirect_uri")?) {
            Ok(redirect_uri) if !is_host_blocked(core, &app, &redirect_uri).await? => {
                Ok(Self { app, redirect_uri })
            }
            Ok(_) => Err(unknown("An admin has blocked apps from there".to_owned())),
            Err(why) => Err(Refused::Here {
                title: "This request cannot be answered: its return address is not registered",
                why,
            }),
        }
    }

    fn refuse(&self, error: &'static str, why: impl Into<String>) -> Refused {
        let (app, redirect_uri) = (Box::new(self.app.clone()), self.redirect_uri.clone());
        Refused::ToApp { app, redirect_uri, error, why: why.into() }
    }
}

/// Whether the host is blocked at which an app takes its answer. That of its document has been checked already.
async fn is_host_blocked(core: &Core, app: &AppMetadata, redirect_uri: &RedirectUri) -> Result<bool> {
    match redirect_uri.host() {
        Some(host) if app.host.as_deref() != Some(host) => Ok(apps::is_host_blocked(core, host).await?),
        _ => Ok(false),
    }
}

/// A request that can be put to a person.
struct Ready {
    client: Client,
    challenge: String,
    resource: Resource,
    target: Target,
    scopes: Scopes,
}

impl Ready {
    async fn of(core: &Core, person: &SignedIn, asked: &Asked) -> Result<Self, Refused> {
        let client = Client::find(core, asked).await?;
        if let Some(name) = asked.twice() {
            return Err(
                client.refuse("invalid_request", format!("The parameter {} occurs twice", shown(name, 60)))
            );
        }
        if let Some((name, _)) = asked.pairs.iter().find(|(_, value)| value.len() > LONGEST_PARAMETER) {
            return Err(
                client.refuse("invalid_request", format!("The parameter {} is too long", shown(name, 60)))
            );
        }
        for (name, error) in
            [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")]
        {
            if asked.get(name).is_some() {
                return Err(client.refuse(error, format!("The parameter {name} is not supported")));
            }
        }
        match asked.get("response_type") {
            Some("code") => {}
            None => return Err(client.refuse("invalid_request", "The parameter response_type is missing")),
            Some(_) => {
                return Err(client.refuse("unsupported_response_type", "response_type must be code"));
            }
        }
        if asked.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(client.refuse("invalid_request", "response_mode must be query"));
        }
        let challenge = challenge(asked).map_err(|why| client.refuse("invalid_request", why))?;
        if asked.asks_for("none") && asked.get("prompt") != Some("none") {
            return Err(client.refuse("invalid_request", "prompt=none goes with no other prompt"));
        }
        let resource = resource(&core.settings, asked);
        let resource = resource.map_err(|why| client.refuse("invalid_target", why))?;
        let target = authorizations::target(core, &person.caller, &resource).await?;
        let Some(target) = target else {
            let why = format!("There is no server at {}", resource.name(&core.settings));
            return Err(client.refuse("invalid_target", why));
        };
        let scopes = Scopes::of(asked.get("scope").unwrap_or_default()).at(&resource);
        Ok(Self { client, challenge, resource, target, scopes })
    }

    fn consent<'a>(&'a self, asked: &'a Asked) -> Consent<'a> {
        Consent {
            app: &self.client.app,
            redirect_uri: &self.client.redirect_uri,
            asked_redirect_uri: asked.get("redirect_uri"),
            challenge: &self.challenge,
            resource: &self.resource,
            scopes: self.scopes,
        }
    }

    /// What the forms of this request are for: the request, and all that its page says of the app.
    fn purpose(&self, step: &str, asked: &Asked) -> String {
        let Client { app, redirect_uri } = &self.client;
        let name = match &self.target {
            Target::Server { name, .. } => &**name,
            Target::Proxy | Target::Management => "",
        };
        let said = serde_json::json!([
            asked.pairs,
            app.client_id,
            app.name,
            app.host,
            app.redirect_uris,
            app.auth,
            app.trusted,
            redirect_uri.as_str(),
            name,
        ]);
        format!("authorize {step} {}", sha256_hex(said.to_string().as_bytes()))
    }

    fn shown<'a>(&'a self, person: &'a SignedIn, asked: &Asked, step: &str) -> Shown<'a> {
        Shown {
            app: &self.client.app,
            redirect_uri: &self.client.redirect_uri,
            target: &self.target,
            scopes: self.scopes,
            user: &person.caller.user,
            here: asked.here(),
            token: person.form_token(&self.purpose(step, asked)),
        }
    }
}

/// RFC 7636 section 4.3. `plain`, which is the default, protects nothing that a log could hold.
fn challenge(asked: &Asked) -> Result<String, &'static str> {
    let challenge =
        asked.get("code_challenge").ok_or("The parameter code_challenge is missing: PKCE is required")?;
    if asked.get("code_challenge_method") != Some("S256") {
        return Err("code_challenge_method must be S256");
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if challenge.len() == 43 && challenge.bytes().all(fits) {
        Ok(challenge.to_owned())
    } else {
        Err("code_challenge must be the base64url of a SHA-256, 43 characters")
    }
}

/// The one resource that is asked for (RFC 8707 section 2): the whole proxy if none is named.
fn resource(settings: &Settings, asked: &Asked) -> Result<Resource, String> {
    let mut named = None;
    for text in asked.all("resource") {
        let resource = Resource::parse(settings, text)
            .ok_or_else(|| format!("resource {} is not one of this service", shown(text, 200)))?;
        if named.as_ref().is_some_and(|named| *named != resource) {
            return Err("A token is for one resource: name one".to_owned());
        }
        named = Some(resource);
    }
    Ok(named.unwrap_or(Resource::Proxy))
}

/// The answer to the app: the browser goes there (RFC 6749 section 4.1.2, with `iss`: RFC 9207).
fn answered(core: &Core, redirect_uri: &RedirectUri, asked: &Asked, what: &[(&str, &str)]) -> String {
    let mut parameters = what.to_vec();
    parameters.extend(asked.state().map(|state| ("state", state)));
    parameters.push(("iss", &core.settings.issuer));
    redirect_uri.with(&parameters)
}

fn to_app(core: &Core, redirect_uri: &RedirectUri, asked: &Asked, what: &[(&str, &str)]) -> Response {
    Redirect::to(&answered(core, redirect_uri, asked, what)).into_response()
}

fn refused(core: &Core, asked: &Asked, refused: Refused) -> Response {
    match refused {
        Refused::Failed(error) => page::failed(&core.settings, "This request cannot be answered now", &error),
        Refused::Here { title, why } => consent::refused(&core.settings, title, &why, None),
        Refused::ToApp { app, redirect_uri, error, why } => {
            // The characters that RFC 6749 section 4.1.2.1 allows.
            let told: String =
                why.chars().filter(|char| matches!(char, ' '..='~') && !"\"\\".contains(*char)).collect();
            let what = [("error", error), ("error_description", &*told)];
            if app.trusted {
                return to_app(core, &redirect_uri, asked, &what);
            }
            let back = answered(core, &redirect_uri, asked, &what);
            let back = Some((&redirect_uri, &*back));
            consent::refused(&core.settings, "This request cannot be answered", &why, back)
        }
    }
}

/// Ask a person to allow an app to act as them
///
/// RFC 6749 section 4.1.1, with PKCE (S256), `resource` (RFC 8707) and `iss` (RFC 9207). Browsers are sent here. Whoever
/// is not signed in is sent to sign in first. The answer is a page; for an app that an admin trusts, it may be a redirect.
#[utoipa::path(
    get,
    path = path::AUTHORIZE,
    operation_id = "authorize",
    tag = "apps",
    params(
        ("client_id" = String, Query), ("redirect_uri" = Option<String>, Query),
        ("response_type" = String, Query), ("state" = Option<String>, Query),
        ("code_challenge" = String, Query), ("code_challenge_method" = String, Query),
        ("scope" = Option<String>, Query), ("resource" = Option<String>, Query),
        ("prompt" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "The question to the person.", content_type = "text/html", body = String),
        (status = 303, description = "To sign in, or back to the app."),
        (status = "4XX", description = "The page says why.", content_type = "text/html", body = String),
        (status = "5XX", description = "The page says why.", content_type = "text/html", body = String),
    ),
    security(()),
)]
async fn authorize(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = uri.query().unwrap_or_default();
    if query.len() > LONGEST_QUERY {
        return too_long(&core);
    }
    let asked = Asked::read(query);
    if let Some((how, asked)) = asked.signs_in_first() {
        return to_sign_in(&core.settings, &asked.here(), Some(how)).into_response();
    }
    let person = match signed_in(&core, &headers, &request).await {
        Ok(Some(person)) => person,
        Ok(None) => return Box::pin(anonymous(&core, &asked)).await,
        Err(error) => return page::failed(&core.settings, "This page cannot be shown", &error),
    };
    let ready = match Box::pin(Ready::of(&core, &person, &asked)).await {
        Ok(ready) => ready,
        Err(why) => return refused(&core, &asked, why),
    };
    Box::pin(put(&core, &request, &person, &asked, &ready))
        .await
        .unwrap_or_else(|why| refused(&core, &asked, why))
}

fn too_long(core: &Core) -> Response {
    consent::refused(
        &core.settings,
        "This request cannot be answered",
        "Its address is longer than 8 KB",
        None,
    )
}

/// Nobody is signed in. Only an app that an admin registered is looked up, which asks no other host.
async fn anonymous(core: &Core, asked: &Asked) -> Response {
    if !asked.asks_for("none") {
        return to_sign_in(&core.settings, &asked.here(), None).into_response();
    }
    let is_registered =
        asked.get("client_id").and_then(apps::kind_of).is_some_and(|kind| kind == AppKind::Registered);
    if is_registered
        && let Ok(client) = Client::find(core, asked).await
        && client.app.trusted
    {
        return refused(core, asked, client.refuse("login_required", "Nobody is signed in"));
    }
    consent::sign_in_first(&core.settings, &asked.here())
}

/// Puts a request to the person who is signed in.
async fn put(
    core: &Core,
    request: &RequestContext,
    person: &SignedIn,
    asked: &Asked,
    ready: &Ready,
) -> Result<Response, Refused> {
    let consent = ready.consent(asked);
    let given = authorizations::given(core, &person.caller, &consent).await?;
    if let Some(step) = &asked.step
        && given.as_ref().is_some_and(|given| core.clock.now() < given.allowed_at.plus(CONNECTING_WITHIN))
        && person.is_form_token(&ready.purpose(STEP, asked), step)
    {
        return Ok(consent::to_connect(&core.settings, &ready.shown(person, asked, CONNECT), None));
    }
    let trusted = ready.client.app.trusted;
    if asked.asks_for("none") && !(trusted && given.is_some()) {
        return Err(ready.client.refuse("consent_required", "The person has to be asked"));
    }
    if trusted && given.is_some() && !asked.asks_for("consent") {
        return finished(core, request, person, asked, ready, AllowedBy::Earlier).await;
    }
    let shown = ready.shown(person, asked, CONSENT);
    Ok(consent::asked(&core.settings, core.clock.now(), &shown, given.as_ref(), false))
}

/// What the two forms are for.
const CONSENT: &str = "consent";
const CONNECT: &str = "connect";

/// Makes the code, and sends the browser to the app with it. If what was allowed earlier has been revoked meanwhile, the
/// person is asked.
async fn finished(
    core: &Core,
    request: &RequestContext,
    person: &SignedIn,
    asked: &Asked,
    ready: &Ready,
    by: AllowedBy,
) -> Result<Response, Refused> {
    let consent = ready.consent(asked);
    let made = authorizations::allow(core, &person.caller, request, &consent, by, Gives::Code).await?;
    let Some(made) = made else {
        if asked.asks_for("none") {
            return Err(ready.client.refuse("consent_required", "The person has to be asked"));
        }
        let shown = ready.shown(person, asked, CONSENT);
        return Ok(consent::asked(&core.settings, core.clock.now(), &shown, None, false));
    };
    Ok(to_app(core, &ready.client.redirect_uri, asked, &[("code", made.expose_secret())]))
}

/// The person's answer
///
/// The request that the page's buttons send. `answer` is `allow` or `deny`; on the page about connecting it is `connect` or `go_on`.
#[utoipa::path(
    post,
    path = path::AUTHORIZE,
    operation_id = "answer_authorization",
    tag = "apps",
    request_body(content_type = "application/x-www-form-urlencoded", content = std::collections::HashMap<String, String>),
    responses(
        (status = 200, description = "A further question.", content_type = "text/html", body = String),
        (status = 303, description = "Back to the app, or on to connecting."),
        (status = "4XX", description = "The page says why.", content_type = "text/html", body = String),
        (status = "5XX", description = "The page says why.", content_type = "text/html", body = String),
    ),
    security(()),
)]
async fn answer(
    State(core): State<Arc<Core>>,
    Context(request): Context,
    _: SamePage,
    headers: HeaderMap,
    uri: Uri,
    http: HttpRequest,
) -> Response {
    let query = uri.query().unwrap_or_default();
    if query.len() > LONGEST_QUERY {
        return too_long(&core);
    }
    let asked = Asked::read(query);
    let person = match signed_in(&core, &headers, &request).await {
        Ok(Some(person)) => person,
        // The session has ended meanwhile. The person is asked again.
        Ok(None) => return to_sign_in(&core.settings, &asked.here(), None).into_response(),
        Err(error) => return page::failed(&core.settings, "This page cannot be shown", &error),
    };
    let form = match Form::from_request(http, &core).await {
        Ok(form) => form,
        Err(error) => return page::failed(&core.settings, "This cannot be read", &error),
    };
    let ready = match Box::pin(Ready::of(&core, &person, &asked)).await {
        Ok(ready) => ready,
        Err(why) => return refused(&core, &asked, why),
    };
    Box::pin(act(&core, &request, &person, &asked, &ready, &form))
        .await
        .unwrap_or_else(|why| refused(&core, &asked, why))
}

async fn act(
    core: &Core,
    request: &RequestContext,
    person: &SignedIn,
    asked: &Asked,
    ready: &Ready,
    form: &Form,
) -> Result<Response, Refused> {
    let consent = ready.consent(asked);
    let is_for = |step: &str| {
        let presented = form.get(FORM_TOKEN).unwrap_or_default();
        person.is_form_token(&ready.purpose(step, asked), presented)
    };
    match form.get("answer") {
        Some("allow") if is_for(CONSENT) => {
            if let Target::Server { needs_connection: true, .. } = ready.target {
                let (by, gives) = (AllowedBy::Person, Gives::Nothing);
                authorizations::allow(core, &person.caller, request, &consent, by, gives).await?;
                let next = format!("{}{}", core.settings.issuer, on_the_way(person, asked, ready));
                return Ok(Redirect::to(&next).into_response());
            }
            finished(core, request, person, asked, ready, AllowedBy::Person).await
        }
        Some("deny") if is_for(CONSENT) => {
            authorizations::deny(core, &person.caller, request, &consent).await?;
            let why = [("error", "access_denied"), ("error_description", "The user did not allow it")];
            Ok(to_app(core, &ready.client.redirect_uri, asked, &why))
        }
        Some("connect") if is_for(CONNECT) => {
            let Target::Server { id, .. } = &ready.target else {
                return Err(Error::invalid("This resource asks for no connection").into());
            };
            let back = on_the_way(person, asked, ready);
            match connections::begin_on_the_way(core, &person.caller, id, &back).await {
                Ok(begun) => {
                    let cookie = [(SET_COOKIE, connecting::cookie(&core.settings, &begun))];
                    Ok((cookie, Redirect::to(&begun.authorization_url)).into_response())
                }
                Err(error) => {
                    let error = ApiError::from(error);
                    let shown = ready.shown(person, asked, CONNECT);
                    Ok(consent::to_connect(&core.settings, &shown, Some(&error)))
                }
            }
        }
        Some("go_on") if is_for(CONNECT) => {
            let given = authorizations::given(core, &person.caller, &consent).await?;
            if given.is_some_and(|given| core.clock.now() < given.allowed_at.plus(CONNECTING_WITHIN)) {
                return finished(core, request, person, asked, ready, AllowedBy::Earlier).await;
            }
            let shown = ready.shown(person, asked, CONSENT);
            Ok(consent::asked(&core.settings, core.clock.now(), &shown, None, false))
        }
        // Of another session, or what the page said has changed since.
        _ => {
            let given = authorizations::given(core, &person.caller, &consent).await?;
            let shown = ready.shown(person, asked, CONSENT);
            Ok(consent::asked(&core.settings, core.clock.now(), &shown, given.as_ref(), true))
        }
    }
}

/// The address of the page about connecting. Only who has just allowed exactly this gets it.
fn on_the_way(person: &SignedIn, asked: &Asked, ready: &Ready) -> String {
    format!("{}&{STEP}={}", asked.here(), person.form_token(&ready.purpose(STEP, asked)))
}

/// The status of a page that asks again.
pub(crate) const ASKED_AGAIN: StatusCode = StatusCode::CONFLICT;

/// A request reads back as it was read, and its address leads here only.
#[cfg(feature = "fuzzing")]
#[allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a fuzz target fails by panicking")]
pub fn fuzz(query: &str) {
    let settings = Settings::at("https://deputize.test");
    let asked = Asked::read(query);
    assert!(asked.pairs.iter().all(|(name, value)| name != STEP && !value.is_empty()));
    let here = asked.here();
    let (address, own) = here.split_once('?').unwrap();
    assert_eq!(address, path::AUTHORIZE);
    let again = Asked::read(own);
    assert_eq!((&again.pairs, again.step), (&asked.pairs, None));
    // It is an address of ours to come back to, whatever is in it.
    assert!(here.len() > 3500 || here.parse::<deputize_core::sign_in::LocalPath>().is_ok(), "{here}");
    if let Ok(challenge) = challenge(&asked) {
        assert_eq!((challenge.len(), asked.get("code_challenge_method")), (43, Some("S256")));
    }
    if let Ok(resource) = resource(&settings, &asked) {
        // All that name one name the same, whatever their order.
        let all: Vec<_> = asked.all("resource").map(|text| Resource::parse(&settings, text)).collect();
        assert!(all.iter().all(|one| one.as_ref() == Some(&resource)));
        assert!(!all.is_empty() || resource == Resource::Proxy);
        let scopes = Scopes::of(asked.get("scope").unwrap_or_default()).at(&resource);
        assert_eq!(scopes.manage, resource == Resource::Management, "{scopes}");
        assert_eq!(scopes.tools_call, resource != Resource::Management, "{scopes}");
    }
    if asked.twice().is_none() {
        let names = ["client_id", "redirect_uri", "state", "code_challenge", "scope", "prompt"];
        assert!(names.iter().all(|name| asked.all(name).count() <= 1));
    }
}
