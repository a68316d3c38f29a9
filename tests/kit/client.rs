//! A client that proves itself by signing (`private_key_jwt`).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Agent, TestApp, TestRequest, User, app::URL, jwt::SigningKey};

/// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An agent account's client with its own key.
#[derive(Clone, Debug)]
pub struct SigningClient {
    pub agent: Agent,
    /// The public half's id at the account.
    pub key_id: String,
    pub key: Arc<SigningKey>,
}

impl SigningClient {
    /// The header of an ordinary MCP client: it names no key.
    pub fn header(&self) -> Value {
        json!({ "alg": self.key.algorithm(), "typ": "JWT" })
    }

    /// The claims of an ordinary MCP client: for our issuer, valid for 5 minutes, with a new `jti`.
    pub fn claims(&self, app: &TestApp) -> Value {
        let (id, now) = (self.agent.id.to_string(), app.now().as_seconds());
        let jti = uuid::Uuid::new_v4().to_string();
        json!({ "iss": id, "sub": id, "aud": URL, "iat": now, "exp": now + 300, "jti": jti })
    }

    /// A new assertion.
    pub fn assertion(&self, app: &TestApp) -> String {
        self.assertion_with(app, |_| {})
    }

    /// A new assertion with changed claims.
    pub fn assertion_with(&self, app: &TestApp, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims(app);
        edit(&mut claims);
        self.key.sign(&self.header(), &claims)
    }

    /// The agent's own token.
    pub async fn m2m(&self, app: &TestApp) -> String {
        app.token_by(&self.assertion(app), &[]).await.access_token()
    }
}

impl TestApp {
    /// A client of the agent. `manager` adds its public key to the account.
    pub async fn client_of(&self, agent: &Agent, manager: &User, key: SigningKey) -> SigningClient {
        let mut jwk = key.jwk(&format!("key-{}", uuid::Uuid::new_v4()));
        // An RSA key is good for each of its algorithms.
        jwk.as_object_mut().unwrap().remove("alg");
        let path = format!("/api/v1/agent-accounts/{}/keys", agent.id);
        let added = self.post(path).as_user(manager).json(&json!({ "jwk": jwk })).await.ok();
        self.call_it("the client's key", added.field("id"));
        SigningClient { agent: agent.clone(), key_id: added.field("id"), key: Arc::new(key) }
    }

    /// A request for a token with an assertion, with more fields.
    pub fn token_by(&self, assertion: &str, more: &[(&str, &str)]) -> TestRequest {
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        fields.extend_from_slice(more);
        self.token(&fields)
    }

    /// `POST /api/v1/oauth/{endpoint}` with an assertion and a token.
    pub fn about_token_by(&self, endpoint: &str, assertion: &str, token: &str) -> TestRequest {
        let fields =
            [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion), ("token", token)];
        self.post(format!("/api/v1/oauth/{endpoint}")).form(&fields)
    }
}
