//! Connecting users to OAuth-protected servers, and what keeps their sessions alive or ends them.

mod callback;
mod connecting;
mod discovery;
mod fixed_header;
mod hung_up;
mod leaving;
mod made_anew;
mod oauth_client;
mod page;
mod providers;
mod refresh;
mod refresh_faults;
mod refresh_races;
mod step_up;

use deputize_tests::{Provider, TestApp, TestResponse, User};
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// Alice, Bob and Carol, and the server `chat`, which a provider protects.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) scenario: Scenario,
    pub(crate) provider: Provider,
}

impl Chat {
    pub(crate) async fn open() -> Self {
        Self::open_in(TestApp::start().await).await
    }

    pub(crate) async fn open_in(app: TestApp) -> Self {
        Self::with(app, Provider::start().await).await
    }

    /// The same with another provider.
    pub(crate) async fn with(app: TestApp, provider: Provider) -> Self {
        let scenario = Scenario::in_app(app).await;
        scenario.app.server("chat").at(provider.mcp_url()).oauth().await;
        scenario.app.permit_everything().await;
        Self { scenario, provider }
    }

    /// Begins to connect a user.
    pub(crate) async fn begin(&self, user: &User) -> TestResponse {
        self.scenario.app.post("/api/v1/servers/chat/connect").as_user(user).await
    }

    /// Connects a user, who has the same name at the provider.
    pub(crate) async fn connect(&self, user: &User) {
        let begun = self.begin(user).await.ok();
        let back = self.provider.consent(&begun.field("authorization_url"), &user.name);
        self.scenario.app.get(back).header("cookie", &cookie(&begun)).await.ok();
    }

    /// Connects a user and grants the bot the use of their session.
    pub(crate) async fn connect_and_grant(&self, user: &User, shared: bool) {
        self.connect(user).await;
        let path = format!("/api/v1/agent-accounts/{}/session-grants", self.scenario.bot.id);
        let body = json!({ "server_id": "chat", "shared": shared });
        self.scenario.app.post(path).as_user(user).json(&body).await.ok();
    }

    /// A user's own call of a tool that answers whose credentials were used.
    pub(crate) async fn call(&self, user: &User) -> TestResponse {
        self.scenario.app.call("chat", "list_channels", &json!({})).as_user(user).await
    }

    pub(crate) async fn connection(&self, user: &User) -> TestResponse {
        self.scenario.app.get("/api/v1/servers/chat/connection").as_user(user).await
    }
}

/// Waits until the provider has received this request.
pub(crate) async fn asked(provider: &Provider, what: &str) {
    while provider.count(what) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The user whose credentials a call used.
#[track_caller]
pub(crate) fn acting_as(answer: &TestResponse) -> String {
    assert!(answer.status.is_success(), "{answer}");
    let body: Value = answer.json();
    body["structuredContent"]["acting_as"].as_str().unwrap().to_owned()
}

/// The cookie that was set when a connection began.
#[track_caller]
pub(crate) fn cookie(begun: &TestResponse) -> String {
    begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// The text of a page, without its markup.
pub(crate) fn page_text(answer: &TestResponse) -> String {
    let body = answer.text.split("<main>").nth(1).unwrap_or_else(|| panic!("no page: {answer}"));
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("{} {}", answer.status.as_u16(), words.join(" "))
}
