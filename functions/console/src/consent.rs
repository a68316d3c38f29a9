//! The page that asks a person to allow an app to act as them, and the pages around it.
//!
//! Headlines and buttons hold only what is proven: the host of an app's document, the host that its answer goes to, the
//! name that an admin gave. What an app calls itself stands in quotation marks. An app that takes its answer on the
//! person's computer is "a program on this computer", whatever its `client_id` is: any program there can use that.
//!
//! The buttons take a pointer 0.6 s after the page is there (in the stylesheet), against a click that was meant for the
//! page before.

use axum::response::Response;
use deputize_api::path;
use deputize_core::{
    Settings,
    apps::{
        AppKind, AppMetadata, Authorization, LASTS,
        redirect_uri::{Place, RedirectUri},
        shown,
    },
    authorizations::Target,
    clock::Timestamp,
    scope::Scopes,
    users::User,
};
use deputize_service::ApiError;
use http::StatusCode;
use maud::{Markup, html};

use crate::authorize::ASKED_AGAIN;
use deputize_pages::{
    browser::FORM_TOKEN,
    page::{name_of, page},
    parts,
    when::date,
};

/// What the page shows.
pub(crate) struct Shown<'a> {
    pub app: &'a AppMetadata,
    pub redirect_uri: &'a RedirectUri,
    pub target: &'a Target,
    pub scopes: Scopes,
    pub user: &'a User,
    /// The address of the page.
    pub here: String,
    /// The form's.
    pub token: String,
}

impl Shown<'_> {
    /// Who asks, as far as it is proven; for the middle of a sentence.
    fn who(&self) -> String {
        match (self.redirect_uri.place(), self.app.kind) {
            (Place::Loopback | Place::PrivateUse, _) => "a program on this computer".to_owned(),
            (Place::Host(_), AppKind::Registered) => self.app.name.clone().unwrap_or_default(),
            (Place::Host(host), AppKind::Document) => self.app.host.as_ref().unwrap_or(host).clone(),
            (Place::Host(host), AppKind::Dynamic) => format!("an app at {host}"),
        }
    }

    fn is_proven(&self) -> bool {
        matches!(self.redirect_uri.place(), Place::Host(_)) && self.app.kind != AppKind::Dynamic
    }

    fn server(&self) -> Option<String> {
        match self.target {
            Target::Server { name, .. } => Some(shown(name, 80)),
            Target::Proxy | Target::Management => None,
        }
    }

    fn title(&self) -> String {
        let who = self.who();
        match self.target {
            Target::Management => format!("Let {who} manage your agents as you?"),
            Target::Proxy => format!("Let {who} use every server as you?"),
            Target::Server { .. } => format!("Let {who} use {} as you?", self.server().unwrap_or_default()),
        }
    }

    /// What the app says of itself, and what proves it.
    fn proof(&self) -> Markup {
        let name = self.app.name.as_deref();
        html! {
            @match self.app.kind {
                AppKind::Registered if self.is_proven() => {
                    p { span.tag.ok { "Known" } " Your organization has registered this app." }
                }
                AppKind::Registered => {
                    p {
                        span.tag.warn { "Unverified" }
                        @if let Some(name) = name { " It uses the registration of “" (name) "”." }
                        " Any program on this computer can do that."
                    }
                }
                AppKind::Document => {
                    @let host = self.app.host.as_deref().unwrap_or_default();
                    p {
                        @if self.is_proven() {
                            "It is the app of " b { (host) } "."
                            @if let Some(name) = name { " It calls itself “" (name) "”." }
                        } @else {
                            span.tag.warn { "Unverified" }
                            " It says that it is "
                            @if let Some(name) = name { "“" (name) "” " } @else { "the app " }
                            "of " (host) ". Any program on this computer can say that."
                        }
                    }
                }
                AppKind::Dynamic => {
                    p {
                        span.tag.warn { "Unverified" }
                        @if let Some(name) = name {
                            " It calls itself “" (name) "”. "
                            @if self.redirect_uri.host().is_none() { "Any program can use that name." }
                            @else { "Any app can use that name." }
                        } @else { " It does not say what it is." }
                    }
                }
            }
        }
    }

    /// Who would be acted for, by what, and where.
    fn route(&self, settings: &Settings) -> Markup {
        let path = format!("{}{}?return_to=", settings.path(), path::SIGN_IN);
        let (place, detail) = match self.target {
            Target::Server { .. } => (self.server().unwrap_or_default(), "The tools that you may use there"),
            Target::Proxy => ("Every server".to_owned(), "All tools that you may use, now and later"),
            Target::Management => ("Deputize".to_owned(), "What you can manage yourself here"),
        };
        let mut who = self.who();
        if let Some(first) = who.get(..1).map(str::to_uppercase)
            && (self.app.kind == AppKind::Dynamic || self.redirect_uri.host().is_none())
        {
            who.replace_range(..1, &first);
        }
        html! {
            ol.route role="list" aria-label="Who would be acted for, by what, and where" {
                li {
                    svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" { circle cx="8" cy="8" r="5.5" {} }
                    b { "You, " (name_of(self.user)) }
                    span { a href={ (path) (encoded(&self.here)) } { "Use another account" } }
                }
                li {
                    (parts::agent())
                    b { (who) }
                    span { "The answer goes to " code { (self.redirect_uri.origin()) } }
                }
                li {
                    (parts::server(false))
                    b { (place) }
                    span { (detail) }
                }
            }
        }
    }

    fn can(&self, now: Timestamp) -> Markup {
        let until = now.plus(LASTS);
        let server = self.server();
        html! {
            div.two {
                section aria-labelledby="can" {
                    h2 #can { "It will be able to" }
                    ul.points {
                        @if self.scopes.tools_call {
                            li { "call " @match &server { Some(server) => (server), None => "all" } " tools as you" }
                        }
                        @if self.scopes.manage {
                            li { "change your delegations and connections" }
                        }
                        li { "go on until you end it, at most to " (date(until)) }
                    }
                }
                section aria-labelledby="cannot" {
                    h2 #cannot { "It will not be able to" }
                    ul.points.not {
                        li {
                            "see your password or your "
                            @if let Some(server) = &server { (server) " " }
                            "credentials"
                        }
                        @if self.scopes.manage {
                            li { "make keys, change your email, or be an admin" }
                        } @else {
                            li { "change your delegations or keys" }
                        }
                    }
                }
            }
        }
    }

    fn form(&self, settings: &Settings, buttons: &Markup) -> Markup {
        html! {
            form.answer method="post" action={ (settings.path()) (self.here) } {
                input type="hidden" name=(FORM_TOKEN) value=(self.token);
                (buttons)
            }
        }
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn attention(text: &Markup) -> Markup {
    html! {
        div.note #care {
            svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" {
                path d="M10 2.6 18.4 17H1.6z" {}
                path d="M10 7.8v4.2M10 13.6v1.4" {}
            }
            p { (text) }
        }
    }
}

/// The question. `again`: the form was not of this session, or what the page said has changed.
pub(crate) fn asked(
    settings: &Settings,
    now: Timestamp,
    shown: &Shown<'_>,
    given: Option<&Authorization>,
    again: bool,
) -> Response {
    let is_here = shown.redirect_uri.host().is_none();
    let allow = if shown.is_proven() { "button primary" } else { "button" };
    let buttons = html! {
        button class=(allow) name="answer" value="allow" aria-describedby="care" { "Allow" }
        button.button name="answer" value="deny" { "Don’t allow" }
    };
    let main = html! {
        (shown.proof())
        (shown.route(settings))
        @match given {
            Some(given) => p { "You allowed this on " (date(given.allowed_at)) "." },
            None => (shown.can(now)),
        }
        (attention(&html! {
            @if again { "Something has changed since this page was shown, so look again. " }
            "Allow it only if you started this yourself, just now, in that "
            @if is_here { "program" } @else { "app" }
            ". Never because of a link that somebody sent you."
        }))
        (shown.form(settings, &buttons))
    };
    let foot = html! {
        p { "You can end it at any time under Apps. It ends by itself after 90 days without use." }
    };
    let status = if again { ASKED_AGAIN } else { StatusCode::OK };
    page(settings, status, &shown.title(), &main, Some(&foot))
}

/// The page that offers to connect the server's account, after the app was allowed.
pub(crate) fn to_connect(settings: &Settings, shown: &Shown<'_>, failed: Option<&ApiError>) -> Response {
    let server = shown.server().unwrap_or_default();
    let needs = matches!(shown.target, Target::Server { needs_connection: true, .. });
    let status = failed.map_or(StatusCode::OK, |error| {
        error.log();
        error.classify().0
    });
    if needs {
        let buttons = html! {
            button.button.primary name="answer" value="connect" { "Connect" }
            button.button name="answer" value="go_on" { "Not now" }
        };
        let main = html! {
            p { "You have allowed it. " (server) " also asks for an account of yours there: without one, its tools do not "
                "answer. Nobody but this service will see its tokens." }
            @if let Some(error) = failed { (attention(&html! { (error.to_string()) "." })) }
            (shown.form(settings, &buttons))
        };
        let foot = html! { p { "You can connect it later, under Connections." } };
        return page(settings, status, &format!("Connect your {server} account?"), &main, Some(&foot));
    }
    let buttons = html! { button.button.primary name="answer" value="go_on" { "Go on" } };
    let main = html! {
        p { (server) " is connected. The answer now goes to " code { (shown.redirect_uri.origin()) } "." }
        (shown.form(settings, &buttons))
    };
    page(settings, status, "Connected", &main, None)
}

/// A request that cannot be answered; with a way back to the app, which the person may take.
pub(crate) fn refused(
    settings: &Settings,
    title: &str,
    why: &str,
    back: Option<(&RedirectUri, &str)>,
) -> Response {
    let main = html! {
        p { (why) @if !why.ends_with('.') { "." } }
        @match back {
            Some((redirect_uri, address)) => p {
                a.button href=(address) rel="noreferrer" { "Back to " (redirect_uri.origin()) }
            },
            None => p { "You can close this page. If an app sent you here, tell its maker." },
        }
    };
    page(settings, StatusCode::BAD_REQUEST, title, &main, None)
}

/// An app asked not to show a sign-in page, and nobody is signed in.
pub(crate) fn sign_in_first(settings: &Settings, here: &str) -> Response {
    let main = html! {
        p { "The app asked to show no sign-in page (" code { "prompt=none" } "), and nobody is signed in here." }
        p { a.button href={ (settings.path()) (path::SIGN_IN) "?return_to=" (encoded(here)) } { "Sign in" } }
    };
    page(settings, StatusCode::BAD_REQUEST, "Sign in first", &main, None)
}
