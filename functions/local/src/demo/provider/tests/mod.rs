//! The authorization server as its clients and its people meet it: by HTTP.

mod authorize;
mod registration;
mod token;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::Response,
};
use deputize_core::clock::{Clock, Timestamp};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::{Url, form_urlencoded::Serializer};
use uuid::Uuid;

use super::Provider;
use crate::{data_dir::DataDir, demo::DemoIssuer, demo_servers};

const BASE: &str = "http://127.0.0.1:8787";
const ISSUER: &str = "http://127.0.0.1:8787/demo/oauth";
const RESOURCE: &str = "http://127.0.0.1:8787/demo/oauth-mcp";
const CALLBACK: &str = "http://127.0.0.1:9000/callback?tenant=1";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const BOB: &str = "bob@example.com";
const ALL_SCOPES: &str = "chat:read chat:write offline_access";

/// The authorization server and its MCP server, in a data directory of its own.
struct Scenario {
    directory: PathBuf,
    clock: Clock,
    running: Option<Running>,
}

struct Running {
    provider: Provider,
    password: String,
    router: Router,
}

impl Scenario {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("deputize-provider-{}", Uuid::new_v4()));
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let mut scenario = Self { directory, clock, running: None };
        scenario.restart(BASE);
        scenario
    }

    fn restart(&mut self, base_url: &str) {
        self.running = None;
        let data = Arc::new(DataDir::open(&self.directory).unwrap());
        let issuer = DemoIssuer::open(&data, base_url, base_url).unwrap();
        let callback = format!("{base_url}/api/v1/oauth/callback");
        let provider = Provider::open(&data, base_url, callback, &issuer, &self.clock).unwrap();
        let reader = provider.clone();
        let router = provider
            .routes()
            .nest("/demo/oauth-mcp", demo_servers::demo_oauth(move |token: &str| reader.access(token)));
        self.running = Some(Running { provider, password: issuer.password().to_owned(), router });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// The user and the scopes of a token at the MCP server.
    fn access(&self, token: &Value) -> Option<(String, String)> {
        let access = self.running().provider.access(token["access_token"].as_str().unwrap())?;
        Some((access.user, access.scopes.join(" ")))
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.running().router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.send(Request::post(path).body(Body::from(encode(form))).unwrap()).await
    }

    async fn register(&self, registration: &Value) -> (StatusCode, Value) {
        let request = Request::post("/demo/oauth/register").header("content-type", "application/json");
        let response = self.send(request.body(Body::from(registration.to_string())).unwrap()).await;
        (response.status(), json_of(response).await)
    }

    /// The id of a client without a secret.
    async fn client(&self) -> String {
        let registration = json!({
            "client_name": "Test client", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        });
        let (status, registered) = self.register(&registration).await;
        assert_eq!(status, StatusCode::CREATED, "{registered}");
        registered["client_id"].as_str().unwrap().to_owned()
    }

    /// The answer after Bob allows the request, with the right password and all requested scopes.
    async fn allow(&self, request: &str) -> Response {
        let password = &self.running().password;
        let form = [("decision", "allow"), ("user", BOB), ("password", password)];
        let ticked = ALL_SCOPES.split(' ').map(|scope| (scope, "yes"));
        self.post(request, &form.into_iter().chain(ticked).collect::<Vec<_>>()).await
    }

    async fn code(&self, client: &str, scope: &str) -> String {
        let response = self.allow(&authorization(client, &[("scope", scope)])).await;
        redirected(&response).1.remove("code").expect("a code")
    }

    async fn exchange(&self, client: &str, code: &str) -> (StatusCode, Value) {
        self.exchange_with(client, code, &[]).await
    }

    /// An exchange with some parameters changed. An empty value leaves a parameter out.
    async fn exchange_with(&self, client: &str, code: &str, edit: &[(&str, &str)]) -> (StatusCode, Value) {
        let form = edited(
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", CALLBACK),
                ("client_id", client),
                ("code_verifier", VERIFIER),
                ("resource", RESOURCE),
            ],
            edit,
        );
        let response = self.post("/demo/oauth/token", &form).await;
        (response.status(), json_of(response).await)
    }

    async fn tokens(&self, client: &str) -> Value {
        let (status, tokens) = self.exchange(client, &self.code(client, ALL_SCOPES).await).await;
        assert_eq!(status, StatusCode::OK, "{tokens}");
        tokens
    }

    async fn refresh(
        &self,
        client: &str,
        refresh_token: &Value,
        edit: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let form = edited(
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token.as_str().unwrap()),
                ("client_id", client),
                ("resource", RESOURCE),
            ],
            edit,
        );
        let response = self.post("/demo/oauth/token", &form).await;
        (response.status(), json_of(response).await)
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        self.running = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn encode(form: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(form).finish()
}

fn edited<'a>(form: &[(&'a str, &'a str)], edit: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = form.iter().filter(|(name, _)| edit.iter().all(|(edited, _)| edited != name));
    kept.chain(edit).filter(|(_, value)| !value.is_empty()).copied().collect()
}

/// An authorization request with some parameters changed. An empty value leaves a parameter out.
fn authorization(client: &str, edit: &[(&str, &str)]) -> String {
    let parameters = edited(
        &[
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("state", "s t&te"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", RESOURCE),
            ("scope", ALL_SCOPES),
        ],
        edit,
    );
    format!("/demo/oauth/authorize?{}", encode(&parameters))
}

async fn text_of(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text_of(response).await).unwrap_or_default()
}

/// A redirect's address without its parameters, and the parameters.
fn redirected(response: &Response) -> (String, HashMap<String, String>) {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let mut url = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    let parameters = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.to_string(), parameters)
}

fn assert_error(answer: &(StatusCode, Value), error: &str) {
    let status = if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    assert_eq!((answer.0, answer.1["error"].as_str()), (status, Some(error)), "{}", answer.1);
}
