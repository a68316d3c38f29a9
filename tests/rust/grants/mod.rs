//! Session grants: whose OAuth credentials an agent uses, and who may see and change that.

mod credentials;
mod lifecycle;
mod properties;
mod visibility;

use deputize_tests::{Answer, Server, TestApp, User};
use serde_json::{Value, json};

use crate::stage::Stage;

/// The stage, with the OAuth-protected server `chat`, to which all three are connected.
pub(crate) struct Connected {
    pub(crate) stage: Stage,
    pub(crate) chat: Server,
}

impl Connected {
    pub(crate) async fn set() -> Self {
        let stage = Stage::set().await;
        let chat = stage.app.server("chat").oauth().await;
        for user in [&stage.alice, &stage.bob, &stage.carol] {
            stage.app.connect(user, &chat).await;
        }
        Self { stage, chat }
    }

    pub(crate) fn app(&self) -> &TestApp {
        &self.stage.app
    }

    fn grants(&self) -> String {
        format!("/api/v1/agent-accounts/{}/session-grants", self.stage.bot.id)
    }

    pub(crate) async fn create(&self, user: &User, shared: bool) -> Answer {
        let body = json!({ "server_id": "chat", "shared": shared });
        let answer = self.app().post(self.grants()).as_user(user).json(&body).await;
        if let Some(id) = answer.json()["id"].as_str() {
            self.app().call_it(format!("{}'s grant", user.name), id);
        }
        answer
    }

    pub(crate) async fn toggle(&self, user: &User) -> Answer {
        let path = format!("{}/toggle", self.grants());
        self.app().post(path).as_user(user).json(&json!({ "server_id": "chat" })).await
    }

    pub(crate) async fn revoke(&self, user: &User, id: &str) -> Answer {
        self.app().delete(format!("/api/v1/session-grants/{id}")).as_user(user).await
    }

    /// What a user sees of the grants for the server: `grantor shared|personal active|revoked`, a line each.
    pub(crate) async fn seen_by(&self, user: &User) -> String {
        let list =
            self.app().get(format!("{}?server_id=chat", self.grants())).as_user(user).await.ok().json();
        shown(&list)
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
