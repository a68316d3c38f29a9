//! Deleting, restoring and erasing: users, agent accounts, servers, policies and API keys.

mod deleting;
mod erasing;
mod restoring;

use std::time::Duration;

use deputize_core::{
    audit::RequestContext,
    deletion::{self, ErasedDue},
};
use deputize_tests::{Agent, TestApp, TestResponse, User, request::USER_ID};
use serde_json::{Value, json};

use crate::{connections::Chat, scenario::Scenario};

/// How long a deleted thing can be restored.
const THIRTY_DAYS: Duration = Duration::from_hours(24 * 30);

/// The chat server's stage. Bob is connected and shares a grant with the bot, which acts for him by a delegation for that
/// server alone. A policy names each of Bob, the bot and the server.
struct Deletable {
    chat: Chat,
}

impl Deletable {
    async fn set() -> Self {
        let chat = Chat::open().await;
        let Scenario { app, bob, bot, .. } = &chat.scenario;
        chat.connect_and_grant(bob, true).await;
        let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
        app.post(path).as_user(bob).json(&json!({ "server_ids": ["chat"] })).await.ok();
        for (name, principal, resource) in [
            ("about Bob", format!(r#"principal == User::"{}""#, bob.id), "resource"),
            ("about the bot", format!(r#"principal == Agent::"{}""#, bot.id), "resource"),
            ("about the server", "principal".to_owned(), r#"resource in Server::"chat""#),
        ] {
            app.policy(name, &format!("permit({principal}, action, {resource});")).await;
        }
        Self { chat }
    }

    fn scenario(&self) -> &Scenario {
        &self.chat.scenario
    }

    fn app(&self) -> &TestApp {
        &self.chat.scenario.app
    }

    /// The addresses of the user, the account and the server that are deleted.
    fn addresses(&self) -> [(&'static str, String, String); 3] {
        let Scenario { bob, bot, .. } = self.scenario();
        [
            ("user", bob.id.to_string(), format!("/api/v1/users/{}", bob.id)),
            ("agent_account", bot.id.to_string(), format!("/api/v1/agent-accounts/{}", bot.id)),
            ("server", "chat".to_owned(), "/api/v1/servers/chat".to_owned()),
        ]
    }

    async fn delete(&self, path: &str) {
        self.app().delete(format!("{path}?cascade=true")).as_user(&self.scenario().alice).await.ok();
    }

    async fn restore(&self, kind: &str, id: &str) -> TestResponse {
        restore(self.app(), &self.scenario().alice, kind, id).await
    }

    /// How each thing fares that rests on the three. The tokens are from before.
    async fn fare(&self, own: &str, for_bob: &str) -> String {
        let Scenario { app, alice, bob, bot, .. } = self.scenario();
        let call = |token: &str| app.call("chat", "list_channels", &json!({})).bearer(token);
        let answers = [
            ("Bob's API key", app.get("/api/v1/me").as_user(bob).await),
            ("Bob's JWT", app.get("/api/v1/me").bearer(&app.login.token("bob")).await),
            ("the bot's secret", app.token_for(bot, &[]).await),
            ("a token for Bob", token_for(app, bot, bob).await),
            ("the bot's token", call(own).await),
            ("its token for Bob", call(for_bob).await),
            ("Alice at the server", self.chat.connection(alice).await),
        ];
        let fare = |(what, answer): &(&str, TestResponse)| {
            let fares = if answer.status.is_success() { "works".to_owned() } else { answer.refusal() };
            format!("{what}: {fares}")
        };
        answers.iter().map(fare).collect::<Vec<_>>().join("\n")
    }

    /// A token of the bot's own, and one for Bob.
    async fn tokens(&self) -> (String, String) {
        let Scenario { app, bob, bot, .. } = self.scenario();
        (app.m2m(bot).await, token_for(app, bot, bob).await.ok().field("access_token"))
    }
}

async fn token_for(app: &TestApp, bot: &Agent, user: &User) -> TestResponse {
    let id = user.id.to_string();
    app.token_for(bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await
}

async fn restore(app: &TestApp, by: &User, kind: &str, id: &str) -> TestResponse {
    app.post(format!("/api/v1/deleted/{kind}/{id}/restore")).as_user(by).await
}

async fn erase(app: &TestApp, by: &User, kind: &str, id: &str) -> TestResponse {
    app.delete(format!("/api/v1/deleted/{kind}/{id}")).as_user(by).await
}

/// What the scheduled run does.
async fn erase_due(app: &TestApp) -> ErasedDue {
    deletion::erase_due(&app.core, &RequestContext::default()).await.unwrap()
}

/// The ids in a list of deleted things.
fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|deleted| deleted["id"].as_str().unwrap()).collect()
}
