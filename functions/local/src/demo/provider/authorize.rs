//! The authorization endpoint (RFC 6749 section 4.1.1): one page, on which a person signs in and agrees.
//!
//! There are no cookies: signing in and agreeing is one form. So no other site can make a person agree without their
//! password, and there is no session to end.

use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use url::Url;

use super::{
    Provider,
    codes::{self, Code},
    families::{Family, hash_of_client},
    handle::Handle,
    page::{self, Consent},
    parameters::Parameters,
    registration::Client,
    scopes::Scopes,
};
use crate::{
    demo::organization::PEOPLE,
    demo_servers::{READ, WRITE},
};

/// A valid request, which a user can be asked about.
struct Asked {
    client_id: String,
    client: Client,
    back: Back,
    challenge: String,
    scopes: Scopes,
}

/// The way back to the client.
struct Back {
    redirect_uri: String,
    url: Url,
    state: Option<String>,
    issuer: String,
}

pub(super) async fn ask(State(provider): State<Provider>, RawQuery(query): RawQuery) -> Response {
    match read(&provider, query.as_deref()) {
        Ok(asked) => page::consent(StatusCode::OK, &consent(&asked), None),
        Err(response) => *response,
    }
}

pub(super) async fn decide(
    State(provider): State<Provider>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    // The form is sent to the page's own URL. So the request is read again, instead of trusting that it is
    // the one that was shown.
    let asked = match read(&provider, query.as_deref()) {
        Ok(asked) => asked,
        Err(response) => return *response,
    };
    let Ok(form) = Parameters::parse(&body) else { return page::refused("The form was filled in twice.") };
    if form.get("decision") != Some("allow") {
        return asked.back.error("access_denied", "the user denied the request");
    }
    let scopes = Scopes::which(|scope| asked.scopes.has(scope) && form.get(scope).is_some());
    let user = PEOPLE.into_iter().find(|(_, email)| form.get("user") == Some(email));
    let again = |status, notice| {
        let shown = Consent { ticked: &scopes, user: user.map(|(_, email)| email), ..consent(&asked) };
        page::consent(status, &shown, Some(notice))
    };
    let Some((_, user)) = user else { return again(StatusCode::BAD_REQUEST, "Choose who you are.") };
    if !provider.0.issuer.is_password(form.get("password").unwrap_or_default()) {
        return again(StatusCode::FORBIDDEN, "That is not the demo's password.");
    }
    if !scopes.allow_anything() {
        return again(StatusCode::BAD_REQUEST, "Allow reading or posting, or deny all of it.");
    }
    match grant(&provider, &asked, user, scopes).await {
        Ok(code) => asked.back.code(&code),
        Err(error) => {
            tracing::error!(%error, "the demo's authorization server");
            asked.back.error("server_error", "internal error")
        }
    }
}

/// Begins a family, and makes its code.
async fn grant(provider: &Provider, asked: &Asked, user: &str, scopes: Scopes) -> std::io::Result<Handle> {
    let (code, now) = (Handle::new()?, provider.now());
    let family = Family {
        client: hash_of_client(&asked.client_id),
        user: user.to_owned(),
        scopes,
        resource: provider.resource().to_owned(),
        refresh: None,
        used_at: now,
    };
    // The family comes before the code. If its code is then lost, the first attempt to use it ends the family.
    provider.0.families.begin(code.family(), family).await?;
    let kept = Code {
        hash: code.hash(),
        redirect_uri: asked.back.redirect_uri.clone(),
        challenge: asked.challenge.clone(),
        expires_at: now.plus(codes::LIFETIME),
    };
    provider.0.codes.keep(code.family(), kept, now);
    Ok(code)
}

/// Reads a request, or answers it. By RFC 6749 section 4.1.2.1, errors are shown to the user until the redirect URI is
/// known to be the client's. After that, they are sent to the client.
fn read(provider: &Provider, query: Option<&str>) -> Result<Asked, Box<Response>> {
    let told = |why| Box::new(page::refused(why));
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    let query = query.map_err(|_| told("The link says something twice."))?;
    let (client_id, client, back) = whom_to_answer(provider, &query).map_err(told)?;
    match what_is_asked(provider, &query) {
        Ok((challenge, scopes)) => Ok(Asked { client_id, client, back, challenge, scopes }),
        Err((error, description)) => Err(Box::new(back.error(error, &description))),
    }
}

fn whom_to_answer(provider: &Provider, query: &Parameters) -> Result<(String, Client, Back), &'static str> {
    let client_id = query.get("client_id").unwrap_or_default();
    let client = Client::read(client_id, &provider.0.mac)
        .ok_or("The application that sent you is not registered here.")?;
    // Compared as text: two spellings of a URL can lead to different places (RFC 9700 section 4.1.3).
    let redirect_uri = query.get("redirect_uri").unwrap_or_default();
    let known = client.redirect_uris.iter().any(|own| own == redirect_uri);
    let url = Url::parse(redirect_uri).ok().filter(|_| known);
    let url = url.ok_or("The application that sent you has not registered the address for its answer.")?;
    let back = Back {
        redirect_uri: redirect_uri.to_owned(),
        url,
        state: query.get("state").map(str::to_owned),
        issuer: provider.issuer().to_owned(),
    };
    Ok((client_id.to_owned(), client, back))
}

/// The PKCE challenge and the scopes, or an error code and its description.
fn what_is_asked(
    provider: &Provider,
    query: &Parameters,
) -> Result<(String, Scopes), (&'static str, String)> {
    match query.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "response_type must be code".to_owned())),
        None => return Err(("invalid_request", "response_type is missing".to_owned())),
    }
    // 43 characters: a SHA-256 in base64url (RFC 7636 section 4.2).
    let challenge = query.get("code_challenge").filter(|challenge| challenge.len() == 43);
    let (Some(challenge), Some("S256")) = (challenge, query.get("code_challenge_method")) else {
        return Err(("invalid_request", "a code_challenge by S256 is required".to_owned()));
    };
    if query.get("resource") != Some(provider.resource()) {
        return Err(("invalid_target", format!("resource must be {}", provider.resource())));
    }
    let scopes = query.get("scope").unwrap_or(READ).parse::<Scopes>();
    let scopes = scopes.map_err(|why| ("invalid_scope", why))?;
    if !scopes.allow_anything() {
        return Err(("invalid_scope", format!("ask for {READ} or {WRITE} too")));
    }
    Ok((challenge.to_owned(), scopes))
}

fn consent(asked: &Asked) -> Consent<'_> {
    Consent {
        client: &asked.client.name,
        back_to: &asked.back.url[url::Position::BeforeHost..url::Position::AfterPort],
        asked: &asked.scopes,
        ticked: &asked.scopes,
        user: None,
    }
}

impl Back {
    fn code(&self, code: &Handle) -> Response {
        self.redirect(&[("code", code.text().expose_secret())])
    }

    fn error(&self, error: &str, description: &str) -> Response {
        self.redirect(&[("error", error), ("error_description", description)])
    }

    /// With `iss`, so that the client knows which server has answered (RFC 9207).
    fn redirect(&self, parameters: &[(&str, &str)]) -> Response {
        let mut url = self.url.clone();
        let state = self.state.as_deref().map(|state| ("state", state));
        url.query_pairs_mut().extend_pairs(parameters).extend_pairs(state).append_pair("iss", &self.issuer);
        // 303: the browser follows by GET, without the form and its password (RFC 9700 section 4.12).
        (StatusCode::SEE_OTHER, [(LOCATION, String::from(url))]).into_response()
    }
}
