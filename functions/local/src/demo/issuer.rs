//! A small sign-in issuer (OpenID Connect) for the demo's user JWTs. It signs in every user who knows the demo's
//! password. It is a stand-in for WorkOS or any other issuer, on the loopback interface only. People sign in by it too
//! (`authorize`).

mod authorize;

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Json, Router,
    extract::{Form, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_core::{
    Settings,
    clock::Clock,
    issuers::{LinkByEmail, SignIn, TrustedIssuer},
    sign_in::redirect_uri,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::organization::PEOPLE;
use crate::data_dir::DataDir;

/// The `aud` of user JWTs.
const AUDIENCE: &str = "deputize";
/// Who the service is here. ID tokens are for this audience, so that none is a user JWT.
const CLIENT_ID: &str = "deputize-console";
/// The issuer's name in the service's addresses.
const PROVIDER_ID: &str = "demo";
/// How long an ID token is valid.
const ID_TOKEN_LIFETIME: Duration = Duration::from_mins(5);

/// How long a user JWT is valid. Those in `demo.env` are renewed at each start.
const USER_TOKEN_LIFETIME: Duration = Duration::from_hours(24);

#[derive(Clone)]
pub struct DemoIssuer(Arc<Inner>);

struct Inner {
    /// The issuer's `iss`, and the address of its documents.
    url: String,
    kid: String,
    signing: EncodingKey,
    jwk: Value,
    password: Zeroizing<String>,
    /// The service's addresses to which browsers come back, having signed in and out.
    callback: String,
    signed_out: String,
    /// Whether a person signs in without a password: only this machine can reach the service.
    one_click: bool,
    codes: authorize::Codes,
    clock: Clock,
}

impl std::fmt::Debug for DemoIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DemoIssuer").field("url", &self.0.url).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    email: String,
    email_verified: bool,
    iat: u64,
    exp: u64,
}

impl DemoIssuer {
    /// The issuer whose key and password are in the data directory, for the service at `service_url`.
    pub fn open(data: &DataDir, base_url: &str, service_url: &str) -> io::Result<Self> {
        let pkcs8 = data.secret("demo-issuer.key", || {
            let document =
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                    .map_err(io::Error::other)?;
            Ok(Zeroizing::new(document.as_ref().to_vec()))
        })?;
        let password = data.secret("demo-issuer.password", || {
            let mut bytes = Zeroizing::new([0; 18]);
            aws_lc_rs::rand::fill(&mut *bytes).map_err(io::Error::other)?;
            Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes).into_bytes()))
        })?;
        let password = String::from_utf8(password.to_vec()).map_err(io::Error::other)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(io::Error::other)?;
        let point = pair.public_key().as_ref();
        let (x, y) =
            point.get(1..).and_then(|xy| xy.split_at_checked(32)).ok_or(io::ErrorKind::InvalidData)?;
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(x), BASE64_URL_SAFE_NO_PAD.encode(y));
        let kid = deputize_core::secret::sha256_hex(point)[..16].to_owned();
        Ok(Self(Arc::new(Inner {
            url: format!("{base_url}/demo/issuer"),
            signing: EncodingKey::from_ec_der(&pkcs8),
            jwk: json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y,
            }),
            kid,
            password: Zeroizing::new(password),
            callback: redirect_uri(&Settings::at(service_url), PROVIDER_ID),
            signed_out: format!("{service_url}{}", deputize_api::path::SIGN_OUT),
            one_click: is_here(base_url) && is_here(service_url),
            codes: authorize::Codes::default(),
            clock: Clock::System,
        })))
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub fn password(&self) -> &str {
        &self.0.password
    }

    /// Whether this is the demo's password, which is the same for all users.
    pub(super) fn is_password(&self, presented: &str) -> bool {
        verify_slices_are_equal(presented.as_bytes(), self.password().as_bytes()).is_ok()
    }

    /// How the service trusts this issuer: it identifies users by email, and creates new ones.
    pub fn trusted(&self) -> TrustedIssuer {
        TrustedIssuer {
            issuer: self.0.url.clone(),
            jwks_uri: Some(self.jwks_uri()),
            audiences: vec![AUDIENCE.to_owned()],
            link_by_email: LinkByEmail::New,
            provision: true,
            sign_in: Some(SignIn {
                id: Some(PROVIDER_ID.to_owned()),
                name: Some("Demo organization".to_owned()),
                ..SignIn::of(CLIENT_ID)
            }),
            ..TrustedIssuer::default()
        }
    }

    pub(crate) fn jwks_uri(&self) -> String {
        format!("{}/jwks.json", self.0.url)
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.0.jwk] })
    }

    /// One of its documents, by its address: they are in this process.
    pub(crate) fn document(&self, url: &str) -> Option<Value> {
        match url.strip_prefix(self.url())? {
            "/jwks.json" => Some(self.jwks()),
            DISCOVERY => Some(self.metadata()),
            _ => None,
        }
    }

    fn metadata(&self) -> Value {
        let url = self.url();
        json!({
            "issuer": url,
            "jwks_uri": self.jwks_uri(),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "end_session_endpoint": format!("{url}/end-session"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// A user JWT.
    pub fn user_token(&self, email: &str) -> io::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: self.0.url.clone(),
            sub: subject(email),
            aud: AUDIENCE.to_owned(),
            email: email.to_owned(),
            email_verified: true,
            iat: now,
            exp: now + USER_TOKEN_LIFETIME.as_secs(),
        };
        self.signed(&claims)
    }

    /// An ID token, for the service.
    fn id_token(&self, email: &str, nonce: Option<&str>) -> io::Result<String> {
        let now = self.0.clock.now().as_seconds();
        let name = PEOPLE.iter().find(|(_, known)| *known == email).map(|(name, _)| *name);
        self.signed(&json!({
            "iss": self.url(), "sub": subject(email), "aud": CLIENT_ID, "nonce": nonce,
            "email": email, "email_verified": true, "name": name, "auth_time": now,
            "iat": now, "exp": now + ID_TOKEN_LIFETIME.as_secs().cast_signed(),
        }))
    }

    fn signed(&self, claims: &impl Serialize) -> io::Result<String> {
        let header = Header { kid: Some(self.0.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.0.signing).map_err(io::Error::other)
    }

    /// Discovery, keys and sign-in. To be mounted at `/demo/issuer`.
    pub fn router(&self) -> Router {
        Router::new()
            .route(DISCOVERY, get(async |State(issuer): State<Self>| Json(issuer.metadata())))
            .route("/authorize", get(authorize::ask).post(authorize::decide))
            .route("/end-session", get(authorize::end_session))
            .route("/jwks.json", get(async |State(issuer): State<Self>| Json(issuer.jwks())))
            .route("/token", post(token))
            .with_state(self.clone())
    }
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// What the issuer calls the person with this address.
fn subject(email: &str) -> String {
    format!("user_{}", &deputize_core::secret::sha256_hex(email.as_bytes())[..16])
}

/// Whether only this machine can reach an address.
fn is_here(url: &str) -> bool {
    let url = url.parse::<Url>().ok();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn token(State(issuer): State<DemoIssuer>, Form(form): Form<HashMap<String, String>>) -> Response {
    if form.get("grant_type").is_some_and(|grant| grant == "authorization_code") {
        return authorize::exchange(&issuer, &form);
    }
    sign_in(&issuer, &form).into_response()
}

/// Gives a user JWT to anyone with the demo's password.
fn sign_in(issuer: &DemoIssuer, form: &HashMap<String, String>) -> impl IntoResponse {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let known = issuer.is_password(field("password"));
    let email = field("email").parse::<deputize_core::users::Email>();
    let token = email.ok().filter(|_| known).and_then(|email| issuer.user_token(email.canonical()).ok());
    match token {
        Some(token) => {
            let lifetime = USER_TOKEN_LIFETIME.as_secs();
            let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime });
            (StatusCode::OK, [("cache-control", "no-store")], Json(body))
        }
        None => {
            let detail = "access_denied: wrong email or password; DEMO_PASSWORD is in demo.env";
            let body = json!({ "error": "access_denied", "error_description": detail, "detail": detail });
            (StatusCode::FORBIDDEN, [("cache-control", "no-store")], Json(body))
        }
    }
}
