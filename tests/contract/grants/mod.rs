//! Session grants: whose OAuth credentials an agent uses, and who may see and change that.

mod credentials;
mod lifecycle;
mod properties;
mod sharing;
mod visibility;

use deputize_tests::{Server, TestApp, TestResponse, User};
use serde_json::{Value, json};

use crate::scenario::Scenario;

/// The stage, with the OAuth-protected server `chat`. All three users are connected to it.
pub(crate) struct Connected {
    pub(crate) scenario: Scenario,
    pub(crate) chat: Server,
}

impl Connected {
    pub(crate) async fn set() -> Self {
        let scenario = Scenario::start().await;
        let chat = scenario.app.server("chat").oauth().await;
        for user in [&scenario.alice, &scenario.bob, &scenario.carol] {
            scenario.app.connect(user, &chat).await;
        }
        Self { scenario, chat }
    }

    pub(crate) fn app(&self) -> &TestApp {
        &self.scenario.app
    }

    fn grants(&self) -> String {
        format!("/api/v1/agent-accounts/{}/session-grants", self.scenario.bot.id)
    }

    pub(crate) async fn create(&self, user: &User, shared: bool) -> TestResponse {
        let body = json!({ "server_id": "chat", "shared": shared });
        let answer = self.app().post(self.grants()).as_user(user).json(&body).await;
        if let Some(id) = answer.json()["id"].as_str() {
            self.app().call_it(format!("{}'s grant", user.name), id);
        }
        answer
    }

    pub(crate) async fn toggle(&self, user: &User) -> TestResponse {
        let path = format!("{}/toggle", self.grants());
        self.app().post(path).as_user(user).json(&json!({ "server_id": "chat" })).await
    }

    pub(crate) async fn revoke(&self, user: &User, id: &str) -> TestResponse {
        self.app().delete(format!("/api/v1/session-grants/{id}")).as_user(user).await
    }

    /// The grants for the server that a user sees.
    pub(crate) async fn list(&self, user: &User) -> Value {
        self.app().get(format!("{}?server_id=chat", self.grants())).as_user(user).await.ok().json()
    }

    /// The grants for the server that a user sees: `grantor shared|personal active|revoked`, one on each
    /// line.
    pub(crate) async fn seen_by(&self, user: &User) -> String {
        shown(&self.list(user).await)
    }
}

fn shown(list: &Value) -> String {
    let line = |grant: &Value| {
        let name = grant["grantor_email"].as_str().unwrap().split('@').next().unwrap();
        let shared = if grant["shared"] == true { "shared" } else { "personal" };
        let active = if grant["is_active"] == true { "active" } else { "revoked" };
        format!("{name} {shared} {active}")
    };
    list.as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
}
