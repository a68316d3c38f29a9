//! An `OpenID` provider by which people sign in, in memory, as wrong as a test wants it.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use deputize_core::{
    clock::Clock,
    error::Cause,
    issuers::Fetch,
    network::{Http, HttpError, ResponseFuture},
};
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use crate::issuer::{Network, TestIssuer};

/// What it is asked to do wrong, or differently.
pub type Edit = Box<dyn Fn(&mut Value) + Send + Sync>;

/// Cheap to clone; clones are the same provider.
#[derive(Clone)]
pub struct IdentityProvider(Arc<Inner>);

struct Inner {
    issuer: TestIssuer,
    client_id: String,
    script: Mutex<Script>,
    kept: Mutex<Kept>,
    clock: Clock,
}

/// How it behaves.
#[derive(Default)]
pub struct Script {
    /// Changes to its metadata; `null` removes a field.
    pub metadata: BTreeMap<&'static str, Value>,
    /// Changes the claims of ID tokens.
    pub id_token: Option<Edit>,
    /// Changes the header of ID tokens.
    pub id_token_header: Option<Edit>,
    /// Given in place of an ID token.
    pub instead: Option<String>,
    /// The secret that the client must have.
    pub secret: Option<String>,
    /// Whether a code is good more than once.
    pub codes_stay: bool,
    /// Whether it cannot be reached.
    pub is_down: bool,
}

#[derive(Default)]
struct Kept {
    codes: BTreeMap<String, Asked>,
    made: usize,
    /// The forms that its token endpoint received, and their `Authorization`.
    received: Vec<(BTreeMap<String, String>, Option<String>)>,
}

#[derive(Clone)]
struct Asked {
    name: String,
    nonce: String,
    challenge: String,
    redirect_uri: String,
    sid: String,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

impl fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProvider").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl IdentityProvider {
    /// The client's id there is `deputize-{host}`, so that no token of one provider is for the client of another.
    pub fn new(url: &str, clock: &Clock) -> Self {
        let host = url.split_once("://").unwrap().1.replace(['.', '/'], "-");
        Self(Arc::new(Inner {
            issuer: TestIssuer::new(url, clock),
            client_id: format!("deputize-{host}"),
            script: Mutex::default(),
            kept: Mutex::default(),
            clock: clock.clone(),
        }))
    }

    pub fn url(&self) -> &str {
        self.0.issuer.url()
    }

    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// Its keys.
    pub fn issuer(&self) -> &TestIssuer {
        &self.0.issuer
    }

    /// How an operator trusts it, with more settings.
    pub fn trusted(&self, more: &Value) -> Value {
        let mut trusted = json!({
            "issuer": self.url(), "sign_in": { "client_id": self.client_id() },
            "link_by_email": true, "provision": true,
        });
        trusted.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        trusted
    }

    /// The behaviour, to change it.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    /// Changes the claims of ID tokens from now on.
    pub fn claims(&self, edit: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.script().id_token = Some(Box::new(edit));
    }

    /// The forms that its token endpoint received, each with its `Authorization`.
    pub fn received(&self) -> Vec<(BTreeMap<String, String>, Option<String>)> {
        self.0.kept.lock().unwrap().received.clone()
    }

    /// Acts as a browser in which `name` signs in at `location`. Returns the path and query to which it is sent back.
    #[track_caller]
    pub fn sign_in(&self, location: &str, name: &str) -> String {
        let url: Url = location.parse().unwrap();
        assert!(location.starts_with(&format!("{}/authorize?", self.url())), "{location}");
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["client_id"], self.client_id());
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"), "{location}");
        let mut kept = self.0.kept.lock().unwrap();
        kept.made += 1;
        let code = format!("code-{}", kept.made);
        let asked = Asked {
            name: name.to_owned(),
            nonce: query["nonce"].clone(),
            challenge: query["code_challenge"].clone(),
            redirect_uri: query["redirect_uri"].clone(),
            sid: format!("sid-{}", kept.made),
        };
        kept.codes.insert(code.clone(), asked);
        let mut back: Url = query["redirect_uri"].parse().unwrap();
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &query["state"])
            .append_pair("iss", self.url());
        format!("{}?{}", back.path(), back.query().unwrap())
    }

    /// A logout token, with changed claims.
    pub fn logout_token(&self, edit: impl FnOnce(&mut Value)) -> String {
        let now = self.0.clock.now().as_seconds();
        let mut kept = self.0.kept.lock().unwrap();
        kept.made += 1;
        let mut claims = json!({
            "iss": self.url(), "aud": self.client_id(), "iat": now, "exp": now + 120,
            "jti": format!("jti-{}", kept.made),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        edit(&mut claims);
        let mut header = self.0.issuer.header();
        header["typ"] = "logout+jwt".into();
        self.0.issuer.key().1.sign(&header, &claims)
    }

    /// A signed ID token of `user_{name}`, with changed claims.
    pub fn id_token(&self, name: &str, edit: impl FnOnce(&mut Value)) -> String {
        self.0.issuer.token_with(name, |claims| {
            claims["aud"] = self.client_id().into();
            edit(claims);
        })
    }

    fn metadata(&self) -> Value {
        let url = self.url();
        let mut metadata = json!({
            "issuer": url, "jwks_uri": self.0.issuer.jwks_uri(),
            "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
            "end_session_endpoint": format!("{url}/end-session"),
            "authorization_response_iss_parameter_supported": true,
        });
        for (name, value) in &self.script().metadata {
            match value {
                Value::Null => drop(metadata.as_object_mut().unwrap().remove(*name)),
                value => metadata[*name] = value.clone(),
            }
        }
        metadata
    }

    fn token(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let form: BTreeMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
        let authorization = request.headers().get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let script = self.script();
        let mut kept = self.0.kept.lock().unwrap();
        kept.received.push((form.clone(), authorization.clone()));
        let answer = |status: StatusCode, body: Value| {
            Response::builder().status(status).body(body.to_string().into_bytes()).unwrap()
        };
        if let Some(secret) = &script.secret {
            let basic = base64::prelude::BASE64_STANDARD.encode(format!("{}:{secret}", self.client_id()));
            let is_basic = authorization == Some(format!("Basic {basic}"));
            if !is_basic && form.get("client_secret") != Some(secret) {
                return answer(StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
            }
        }
        let asked = kept.codes.get(&form["code"]).cloned();
        if !script.codes_stay {
            kept.codes.remove(&form["code"]);
        }
        let verifier = digest::digest(&digest::SHA256, form["code_verifier"].as_bytes());
        let verifier = BASE64_URL_SAFE_NO_PAD.encode(verifier);
        let asked =
            asked.filter(|asked| asked.challenge == verifier && asked.redirect_uri == form["redirect_uri"]);
        let Some(asked) = asked else {
            return answer(StatusCode::BAD_REQUEST, json!({ "error": "invalid_grant" }));
        };
        let mut claims = self.0.issuer.claims(&asked.name);
        claims["aud"] = self.client_id().into();
        claims["nonce"] = asked.nonce.into();
        claims["sid"] = asked.sid.into();
        if let Some(edit) = &script.id_token {
            edit(&mut claims);
        }
        let mut header = self.0.issuer.header();
        if let Some(edit) = &script.id_token_header {
            edit(&mut header);
        }
        let id_token = self.0.issuer.key().1.sign(&header, &claims);
        let id_token = script.instead.clone().unwrap_or(id_token);
        answer(
            StatusCode::OK,
            json!({ "access_token": "opaque", "token_type": "Bearer", "id_token": id_token }),
        )
    }
}

/// The network that leads to some providers.
#[derive(Clone, Debug)]
pub struct Providers(Vec<IdentityProvider>);

impl Providers {
    pub fn of(providers: &[&IdentityProvider]) -> Self {
        Self(providers.iter().map(|provider| (*provider).clone()).collect())
    }
}

impl Fetch for Providers {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>> {
        let at = |provider: &&IdentityProvider| {
            url == format!("{}/.well-known/openid-configuration", provider.url())
        };
        if let Some(provider) = self.0.iter().find(at) {
            if provider.script().is_down {
                return Box::pin(async { Err("the provider is down".into()) });
            }
            let metadata = provider.metadata().to_string().into_bytes();
            return Box::pin(async { Ok(metadata) });
        }
        let issuers: Vec<TestIssuer> = self.0.iter().map(|provider| provider.issuer().clone()).collect();
        Box::pin(async move { Network::of(issuers).fetch(url).await })
    }
}

impl Http for Providers {
    fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_> {
        let url = request.uri().to_string();
        let provider = self.0.iter().find(|provider| url == format!("{}/token", provider.url()));
        let answer = provider.map(|provider| provider.token(&request));
        Box::pin(
            async move { answer.ok_or_else(|| HttpError::Unreachable(format!("no {url} in tests").into())) },
        )
    }

    fn check(&self, _: &Url) -> Result<(), HttpError> {
        Ok(())
    }
}
