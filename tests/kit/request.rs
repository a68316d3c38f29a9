//! Asking the service something, with each kind of credential.

use std::{future::IntoFuture, pin::Pin};

use axum::{Router, body::Body};
use base64::{Engine, prelude::BASE64_STANDARD};
use deputize_core::ids::UserId;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{Agent, TestApp, TestResponse, User, response::Names};

/// `urn:runlayer:token-type:user-id`
pub const USER_ID: &str = "urn:runlayer:token-type:user-id";
/// `urn:runlayer:token-type:user-email`
pub const USER_EMAIL: &str = "urn:runlayer:token-type:user-email";
/// RFC 8693 section 3.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// RFC 8693 section 2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A request. Await it.
#[derive(Debug)]
#[must_use]
pub struct TestRequest {
    router: Router,
    names: Names,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    extensions: http::Extensions,
    body: Vec<u8>,
}

impl TestRequest {
    pub(crate) fn new(router: Router, names: Names, method: Method, path: String) -> Self {
        Self {
            router,
            names,
            method,
            path,
            headers: Vec::new(),
            extensions: http::Extensions::new(),
            body: Vec::new(),
        }
    }

    /// With a user's API key.
    pub fn as_user(self, user: &User) -> Self {
        self.header("x-runlayer-api-key", &user.api_key)
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With a client's credentials by HTTP Basic.
    pub fn basic(self, id: &str, secret: &str) -> Self {
        self.header("authorization", &format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}"))))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an extension, as from the code that accepts connections.
    pub fn with<T: Clone + Send + Sync + 'static>(mut self, extension: T) -> Self {
        self.extensions.insert(extension);
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let with_type = self.header(header::CONTENT_TYPE.as_str(), content_type);
        Self { body: body.into(), ..with_type }
    }

    /// In a handshake client's session.
    pub fn in_session(self, id: &str) -> Self {
        self.header("mcp-session-id", id)
    }

    /// The user, of these, whose API key it has.
    pub fn key_holder(&self, users: &[&User]) -> UserId {
        let shown = self.headers.iter().find(|(name, _)| name == "x-runlayer-api-key");
        let (_, key) = shown.expect("a request by an API key");
        users.iter().find(|user| user.api_key == *key).expect("one of these users").id
    }

    /// Only the answer's head. The body is still to come.
    pub async fn begin(self) -> http::Response<Body> {
        let Self { router, method, path, headers, extensions, body, .. } = self;
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        *request.extensions_mut() = extensions;
        router.oneshot(request).await.unwrap()
    }
}

impl IntoFuture for TestRequest {
    type Output = TestResponse;
    type IntoFuture = Pin<Box<dyn Future<Output = TestResponse> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let names = self.names.clone();
            let is_for_page = self.headers.iter().any(|(name, _)| name == "origin");
            let (parts, body) = self.begin().await.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            TestResponse::new(parts, &body, names).for_page(is_for_page)
        })
    }
}

impl TestApp {
    /// `POST /api/v1/oauth/token` with a form.
    pub fn token(&self, fields: &[(&str, &str)]) -> TestRequest {
        self.post("/api/v1/oauth/token").form(fields)
    }

    /// A request for the agent's own token, with more fields.
    pub fn token_for(&self, agent: &Agent, more: &[(&str, &str)]) -> TestRequest {
        let id = agent.id.to_string();
        let mut fields =
            vec![("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &agent.secret)];
        fields.extend_from_slice(more);
        self.token(&fields)
    }

    /// The agent's own token.
    pub async fn m2m(&self, agent: &Agent) -> String {
        self.token_for(agent, &[]).await.access_token()
    }

    /// The agent's token on behalf of a user.
    pub async fn obo(&self, agent: &Agent, user: &User) -> String {
        let id = user.id.to_string();
        self.token_for(agent, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await.access_token()
    }

    /// A token exchange without client authentication, with more fields.
    pub fn exchange(&self, subject: &str, actor: &str, more: &[(&str, &str)]) -> TestRequest {
        let mut fields = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", actor),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        fields.extend_from_slice(more);
        self.token(&fields)
    }

    /// `POST /api/v1/oauth/{endpoint}` with the agent's credentials and a token.
    pub fn about_token(&self, endpoint: &str, agent: &Agent, token: &str) -> TestRequest {
        let id = agent.id.to_string();
        let fields = [("client_id", &*id), ("client_secret", &agent.secret), ("token", token)];
        self.post(format!("/api/v1/oauth/{endpoint}")).form(&fields)
    }

    /// A tool call. Give it a credential.
    pub fn call(&self, server: &str, tool: &str, arguments: &Value) -> TestRequest {
        let body = serde_json::json!({ "tool_name": tool, "arguments": arguments });
        self.post(format!("/api/v1/proxy/{server}/tools")).json(&body)
    }
}
