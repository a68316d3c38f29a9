//! Apps that act as their user: how they are known, and how a person allows them to.

mod a_day;
mod attacks;
mod consent;
mod documents;
mod errors;
mod management;
mod prompt;
mod registration;

use deputize_tests::{Documents, Person, TestApp, TestResponse, User, documents::DOCUMENT};
use serde_json::{Value, json};

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) const CALLBACK: &str = "https://app.example.com/callback";
pub(crate) const HERE: &str = "http://127.0.0.1:51789/callback";

async fn register(app: &TestApp, metadata: &Value) -> TestResponse {
    app.post("/api/v1/oauth/register").json(metadata).await
}

/// The `client_id` of a public client that was registered just now.
pub(crate) async fn registered(app: &TestApp, name: &str, redirect_uri: &str) -> String {
    let metadata = json!({
        "client_name": name, "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none",
    });
    register(app, &metadata).await.ok().field("client_id")
}

/// An authorization request without errors, with some parameters changed, or taken out if they are empty.
pub(crate) fn request<'a>(
    client_id: &'a str,
    redirect_uri: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect_uri),
        ("state", "st&te"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in more {
        all.retain(|(other, _)| other != name || *name == "resource");
        if !value.is_empty() {
            all.push((name, value));
        }
    }
    all
}

/// What a public client gets for a code.
pub(crate) async fn redeem(app: &TestApp, client_id: &str, redirect_uri: &str, code: &str) -> TestResponse {
    app.token(&[
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", VERIFIER),
    ])
    .await
}

/// Bob, and the documents that the service finds.
pub(crate) struct Desk {
    pub(crate) app: TestApp,
    pub(crate) documents: Documents,
    pub(crate) bob: User,
}

impl Desk {
    pub(crate) async fn set() -> Self {
        let documents = Documents::default();
        documents.say(DOCUMENT, &deputize_tests::documents::metadata());
        let app = TestApp::start().await.on_web(&documents);
        let bob = app.user("bob").await;
        app.server("github").await;
        Self { app, documents, bob }
    }

    pub(crate) async fn browser(&self) -> Person<'_> {
        self.app.person(&self.bob).await
    }
}
