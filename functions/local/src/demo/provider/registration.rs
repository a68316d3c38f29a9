//! Dynamic client registration (RFC 7591). Nothing is stored: a client's id *is* its registration, with a MAC that only
//! this server can make. So registrations take no space, and a restart forgets none.

use std::net::IpAddr;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use axum::{Json, body::Bytes, extract::State, http::StatusCode, response::IntoResponse};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::{Host, Url};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Provider, oauth_error::OAuthError};

/// Keeps a client's id below 1,024 bytes, since the id is in every URL of an authorization.
const MAX_REGISTRATION: usize = 700;
const MAX_NAME: usize = 100;

/// A registered client. The fields have short names, since they are in its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Client {
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(rename = "r")]
    pub(super) redirect_uris: Vec<String>,
    /// Random, for a client with a secret: otherwise anyone who registers the same would learn its secret.
    /// Public clients with the same registration are the same client.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    confidential: Option<Uuid>,
}

impl Client {
    /// A client without a secret.
    pub(super) fn public(name: &str, redirect_uri: String) -> Self {
        Self { name: name.to_owned(), redirect_uris: vec![redirect_uri], confidential: None }
    }

    pub(super) fn id(&self, key: &hmac::Key) -> serde_json::Result<String> {
        let registration = serde_json::to_vec(self)?;
        let mac = mac(key, "client ", &registration);
        Ok([&registration, mac.as_ref()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join("."))
    }

    /// The client with this id. `None` if the id is not one of ours.
    pub(super) fn read(id: &str, key: &hmac::Key) -> Option<Self> {
        let (registration, given) = id.split_once('.')?;
        let registration = BASE64_URL_SAFE_NO_PAD.decode(registration).ok()?;
        let given = BASE64_URL_SAFE_NO_PAD.decode(given).ok()?;
        verify_slices_are_equal(mac(key, "client ", &registration).as_ref(), &given).ok()?;
        serde_json::from_slice(&registration).ok()
    }

    pub(super) fn is_public(&self) -> bool {
        self.confidential.is_none()
    }

    /// The client's secret, derived from its id.
    pub(super) fn secret(id: &str, key: &hmac::Key) -> Zeroizing<String> {
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(mac(key, "secret ", id.as_bytes())))
    }
}

/// `purpose` makes sure that an id is never also a secret, and neither is an access token.
fn mac(key: &hmac::Key, purpose: &str, of: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(purpose.as_bytes());
    context.update(of);
    context.sign()
}

/// The fields of a registration that are read (section 2). The rest is ignored, as the section allows.
#[derive(Deserialize)]
struct Registration {
    redirect_uris: Vec<String>,
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

pub(super) async fn register(
    State(provider): State<Provider>,
    body: Bytes,
) -> Result<impl IntoResponse, OAuthError> {
    let wrong = |why: String| OAuthError::new("invalid_client_metadata", why);
    let asked: Registration = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
    if asked.redirect_uris.is_empty() || !asked.redirect_uris.iter().all(|uri| may_redirect_to(uri)) {
        let why = "redirect_uris must be of https, or of http and this machine, without a fragment";
        return Err(OAuthError::new("invalid_redirect_uri", why));
    }
    let name = asked.client_name.unwrap_or_default();
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(wrong(format!("client_name must be up to {MAX_NAME} printable characters")));
    }
    // Section 2: by default, a client authenticates by a secret.
    let confidential = match asked.token_endpoint_auth_method.as_deref() {
        None | Some("client_secret_basic") => Some(Uuid::new_v4()),
        Some("none") => None,
        Some(_) => {
            return Err(wrong("token_endpoint_auth_method must be none or client_secret_basic".to_owned()));
        }
    };
    let client = Client { name, redirect_uris: asked.redirect_uris, confidential };
    let size = serde_json::to_vec(&client).map_or(usize::MAX, |registration| registration.len());
    if size > MAX_REGISTRATION {
        return Err(wrong(format!("client_name and redirect_uris take more than {MAX_REGISTRATION} bytes")));
    }
    Ok((StatusCode::CREATED, Json(answer(&provider, &client)?)))
}

/// Section 3.2.1.
fn answer(provider: &Provider, client: &Client) -> Result<Map<String, Value>, OAuthError> {
    let id = provider.client_id(client)?;
    let mut answer = Map::new();
    if !client.name.is_empty() {
        answer.insert("client_name".to_owned(), json!(client.name));
    }
    if !client.is_public() {
        answer.insert("client_secret".to_owned(), json!(*Client::secret(&id, &provider.0.mac)));
        // It never expires.
        answer.insert("client_secret_expires_at".to_owned(), json!(0));
    }
    let method = if client.is_public() { "none" } else { "client_secret_basic" };
    for (name, value) in [
        ("client_id", json!(id)),
        ("client_id_issued_at", json!(provider.now().as_seconds())),
        ("redirect_uris", json!(client.redirect_uris)),
        ("token_endpoint_auth_method", json!(method)),
        ("grant_types", json!(["authorization_code", "refresh_token"])),
        ("response_types", json!(["code"])),
    ] {
        answer.insert(name.to_owned(), value);
    }
    Ok(answer)
}

/// An application on this machine, or a host whose name a certificate proves.
fn may_redirect_to(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return false,
    };
    let fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    fits && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
}
