//! `/api/v1/oauth/callback`: where authorization servers send browsers back to.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request as HttpRequest, State},
    response::{IntoResponse, Redirect, Response},
};
use cookie::Cookie;
use deputize_api::path;
use deputize_core::{
    Core, Error,
    audit::RequestContext,
    connections::{
        self, AuthorizationResponse, ConnectionOutcome, Proof, finish::cookie_id,
        registration::client_id_document,
    },
    scope::Scope,
};
use deputize_service::{
    Result,
    connecting::cookie_name,
    extract::{API_KEY_HEADER, Context, Form, Query, User},
    handlers,
    routes::Routes,
};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, ORIGIN},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::page;

pub(crate) fn routes() -> Routes<Arc<Core>> {
    Routes::new().mount(handlers!(came_back(..), confirmed(..))).mount(handlers!(client_metadata(..)))
}

/// The answer of an authorization server (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207 section 2).
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Callback {
    /// The connection that was begun. It can be used once.
    state: Option<String>,
    code: Option<String>,
    /// The authorization server's issuer.
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Finish a connection
///
/// Authorization servers send the browser back to this address. It must be the browser, or the user, that began the
/// connection. A browser that cannot prove this is asked to confirm. The answer is a page.
#[utoipa::path(
    get,
    path = path::CALLBACK,
    operation_id = "finish_connection",
    tag = "connections",
    params(Callback),
    responses(
        (status = 200, description = "A page: connected, or waiting for confirmation.", content_type = "text/html", body = String),
        (status = "4XX", description = "A page: not connected, and why.", content_type = "text/html", body = String),
        (status = "5XX", description = "A page: not connected, and why.", content_type = "text/html", body = String),
    ),
    security((), ("bearer" = []), ("api_key" = [])),
)]
async fn came_back(State(core): State<Arc<Core>>, Context(request): Context, http: HttpRequest) -> Response {
    let (mut parts, _) = http.into_parts();
    let outcome = async {
        let Query(callback) = Query::<Callback>::from_request_parts(&mut parts, &core).await?;
        let state = callback.state.as_deref().unwrap_or_default();
        let binding = binding(&parts.headers, state);
        let proof = if parts.headers.contains_key(AUTHORIZATION) || parts.headers.contains_key(API_KEY_HEADER)
        {
            let User(caller) = User::from_request_parts(&mut parts, &core).await?;
            // A browser comes by GET, and yet something changes.
            caller.require_scope(Scope::Manage)?;
            Proof::User(caller.user.id)
        } else {
            binding.as_deref().map_or(Proof::Nothing, Proof::Binding)
        };
        finish(&core, &request, &callback, proof).await
    };
    outcome.await.unwrap_or_else(|error| page::failed(&core.settings, &error))
}

/// Confirm a connection
///
/// The request that the page's button sends. The user has read on the page which account is being connected to what.
#[utoipa::path(
    post,
    path = path::CALLBACK,
    operation_id = "confirm_connection",
    tag = "connections",
    request_body(content_type = "application/x-www-form-urlencoded", content = Callback),
    responses(
        (status = 200, description = "A page: connected.", content_type = "text/html", body = String),
        (status = "4XX", description = "A page: not connected, and why.", content_type = "text/html", body = String),
        (status = "5XX", description = "A page: not connected, and why.", content_type = "text/html", body = String),
    ),
    security(()),
)]
async fn confirmed(State(core): State<Arc<Core>>, Context(request): Context, http: HttpRequest) -> Response {
    let outcome = async {
        // Only the button of our own page can confirm.
        let origin = http.headers().get(ORIGIN).map(http::HeaderValue::as_bytes);
        if origin.is_some_and(|origin| origin != core.settings.origin().as_bytes()) {
            return Err(Error::forbidden("This was not sent by our own page").into());
        }
        let form = Form::from_request(http, &core).await?;
        let text = |name: &str| form.get(name).map(str::to_owned);
        let callback =
            Callback { state: text("state"), code: text("code"), iss: text("iss"), ..Callback::default() };
        finish(&core, &request, &callback, Proof::Confirmed).await
    };
    outcome.await.unwrap_or_else(|error| page::failed(&core.settings, &error))
}

async fn finish(
    core: &Core,
    request: &RequestContext,
    callback: &Callback,
    proof: Proof<'_>,
) -> Result<Response> {
    let Callback { state, code, iss, error, error_description } = callback;
    let answer = AuthorizationResponse {
        state: state.as_deref().unwrap_or_default(),
        code: code.as_deref(),
        iss: iss.as_deref(),
        error: error.as_deref(),
        error_description: error_description.as_deref(),
    };
    Ok(match connections::finish(core, request, answer, proof).await? {
        // Whoever was on the way somewhere goes on.
        ConnectionOutcome::Connected { return_to: Some(path), .. } => {
            Redirect::to(&format!("{}{path}", core.settings.issuer)).into_response()
        }
        ConnectionOutcome::Connected { server, account, return_to: None } => {
            page::connected(&core.settings, &server, &account)
        }
        ConnectionOutcome::NotConnected { why, server, return_to } => {
            // A person who was on the way somewhere goes on without the connection, or tries again from there. Any
            // other begins anew at the page on which a person connects, if people sign in here.
            let signs_in = core.issuers.providers().next().is_some();
            let anew = || signs_in.then(|| path::CONNECT_PAGE.replace("{server_id}", server.as_str()));
            let way =
                return_to.map(|path| (path, "Go on")).or_else(|| anew().map(|path| (path, "Try again")));
            let way = way.map(|(path, words)| (format!("{}{path}", core.settings.issuer), words));
            page::not_connected(&core.settings, &why.into(), way)
        }
        ConnectionOutcome::ToConfirm { server, account, provider } => {
            let hidden = [("state", state), ("code", code), ("iss", iss)];
            let hidden = hidden.map(|(name, value)| (name, value.as_deref()));
            page::to_confirm(&core.settings, &server, &account, &provider, &hidden)
        }
    })
}

/// The value of the cookie that was set when this connection began.
fn binding(headers: &HeaderMap, state: &str) -> Option<String> {
    let name = cookie_name(&cookie_id(state));
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = cookies.flat_map(Cookie::split_parse).filter_map(Result::<_, cookie::ParseError>::ok);
    cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

/// What this service tells authorization servers about itself
///
/// A Client ID Metadata Document
/// ([client registration](https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/client-registration)):
/// its address is our `client_id`.
#[utoipa::path(
    get,
    path = path::CLIENT_METADATA,
    operation_id = "get_client_metadata",
    tag = "connections",
    responses((status = 200, description = "OAuth client metadata (RFC 7591 section 2).", body = serde_json::Value)),
    security(()),
)]
async fn client_metadata(State(core): State<Arc<Core>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "public, max-age=3600")], axum::Json(client_id_document(&core.settings)))
}
