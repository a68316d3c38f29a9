//! Connecting users to OAuth-protected servers, and what keeps their sessions alive or ends them.

mod callback;
mod connecting;
mod discovery;
mod fixed_header;
mod refresh;
mod refresh_races;
mod step_up;

use deputize_tests::{Answer, Provider, TestApp, User};
use serde_json::{Value, json};

use crate::stage::Stage;

/// The usual people, and the server `chat`, which a provider protects.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) stage: Stage,
    pub(crate) provider: Provider,
}

impl Chat {
    pub(crate) async fn open() -> Self {
        Self::open_in(TestApp::start().await).await
    }

    pub(crate) async fn open_in(app: TestApp) -> Self {
        Self::with(app, Provider::start().await).await
    }

    /// With another provider.
    pub(crate) async fn with(app: TestApp, provider: Provider) -> Self {
        let stage = Stage::in_app(app).await;
        stage.app.server("chat").at(provider.mcp_url()).oauth().await;
        stage.app.permit_everything().await;
        Self { stage, provider }
    }

    /// Begins to connect a user.
    pub(crate) async fn begin(&self, user: &User) -> Answer {
        self.stage.app.post("/api/v1/servers/chat/connect").as_user(user).await
    }

    /// Connects a user, who is known by their name at the provider too.
    pub(crate) async fn connect(&self, user: &User) {
        let begun = self.begin(user).await.ok();
        let back = self.provider.consent(&begun.field("authorization_url"), &user.name);
        self.stage.app.get(back).header("cookie", &cookie(&begun)).await.ok();
    }

    /// Connects a user and grants the bot the use of their session.
    pub(crate) async fn connect_and_grant(&self, user: &User, shared: bool) {
        self.connect(user).await;
        let path = format!("/api/v1/agent-accounts/{}/session-grants", self.stage.bot.id);
        let body = json!({ "server_id": "chat", "shared": shared });
        self.stage.app.post(path).as_user(user).json(&body).await.ok();
    }

    /// A user's own call of a tool that says whose credentials were used.
    pub(crate) async fn call(&self, user: &User) -> Answer {
        self.stage.app.call("chat", "list_channels", &json!({})).as_user(user).await
    }

    pub(crate) async fn connection(&self, user: &User) -> Answer {
        self.stage.app.get("/api/v1/servers/chat/connection").as_user(user).await
    }
}

/// Whose credentials a call used.
#[track_caller]
pub(crate) fn acting_as(answer: &Answer) -> String {
    assert!(answer.status.is_success(), "{answer}");
    let body: Value = answer.json();
    body["structuredContent"]["acting_as"].as_str().unwrap().to_owned()
}

/// The cookie that beginning a connection set.
#[track_caller]
pub(crate) fn cookie(begun: &Answer) -> String {
    begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// What a page says, without its markup.
pub(crate) fn page_text(answer: &Answer) -> String {
    let body = answer.text.split("<body>").nth(1).unwrap_or_else(|| panic!("no page: {answer}"));
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
