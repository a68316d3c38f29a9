//! The second day as a story: somebody is hired, delegates, connects and calls; an admin changes a policy, makes four
//! mistakes and undoes them; somebody leaves; an auditor asks. Each step is a request that a person would send.

use std::time::Duration;

use deputize_tests::{TestApp, TestResponse, User, request::USER_ID};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::connections::Chat;

/// The chat server, the agent `bot`, and who is in the story: Alice, an admin, and Erin, an auditor.
struct Day {
    chat: Chat,
    erin: User,
}

impl Day {
    async fn begins() -> Self {
        let chat = Chat::open().await;
        let erin = chat.scenario.app.user("erin").await;
        let day = Self { chat, erin };
        day.change("users", &day.erin.id.to_string(), json!({ "role": "auditor" })).await;
        day
    }

    fn app(&self) -> &TestApp {
        &self.chat.scenario.app
    }

    fn alice(&self) -> &User {
        &self.chat.scenario.alice
    }

    /// Alice changes something.
    async fn change(&self, noun: &str, id: &str, body: Value) -> TestResponse {
        self.app().patch(format!("/api/v1/{noun}/{id}")).as_user(self.alice()).json(&body).await.ok()
    }

    /// What Erin reads.
    async fn reads(&self, path: &str) -> Value {
        self.app().get(path).as_user(&self.erin).await.ok().json()
    }

    /// What the agent is answered that calls for a person.
    async fn call_for(&self, person: &User) -> String {
        let (app, bot) = (self.app(), &self.chat.scenario.bot);
        let id = person.id.to_string();
        let issued = app.token_for(bot, &[("actor_token", &id), ("actor_token_type", USER_ID)]).await;
        if !issued.status.is_success() {
            return issued.refusal();
        }
        let token = issued.field("access_token");
        let called = app.call("chat", "list_channels", &json!({})).bearer(&token).await;
        if called.status.is_success() { "called".to_owned() } else { called.refusal() }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a story is told in one piece")]
async fn a_day_of_hiring_calling_mistakes_leaving_and_auditing() {
    let day = Day::begins().await;
    let (app, alice, erin) = (day.app(), day.alice(), &day.erin);
    let bot = &day.chat.scenario.bot;

    // Alice hires Dana. The answer to the first request is lost, so she sends it again.
    let hire = async || {
        let body = json!({ "email": "dana@example.com", "name": "Dana", "groups": ["support"] });
        app.post("/api/v1/users")
            .as_user(alice)
            .header("idempotency-key", "\"hire-dana\"")
            .json(&body)
            .await
            .ok()
    };
    let (first, again) = (hire().await, hire().await);
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    let found = day.reads("/api/v1/users?email_prefix=dana@").await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");

    // Dana looks which agents there are for her, and lets one act for her. She connects her account, and lends it.
    let jwt = app.login.token("dana");
    let key =
        app.post("/api/v1/api-keys").bearer(&jwt).json(&json!({ "name": "desk" })).await.ok().field("key");
    let id = first.field("id").parse().unwrap();
    let dana = User { id, name: "dana".to_owned(), email: "dana@example.com".to_owned(), api_key: key };
    let available = app.get("/api/v1/available-agents").as_user(&dana).await.ok().json();
    assert_eq!(available[0]["id"], bot.id.to_string());
    let delegations = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    app.post(&delegations).as_user(&dana).json(&json!({ "server_ids": ["chat"] })).await.ok();
    day.chat.connect_and_grant(&dana, false).await;
    assert_eq!(day.call_for(&dana).await, "called");
    let acting = day.reads(&format!("/api/v1/users/{}/agents", dana.id)).await;
    assert_eq!((acting.as_array().unwrap().len(), &acting[0]["name"]), (1, &json!("bot")));

    // The first mistake: a policy that forbids too much. What it would change is asked first, and not read.
    app.pass(Duration::from_mins(10));
    let forbid = json!({ "name": "no channels", "text": r#"forbid(principal, action, resource == Tool::"chat/list_channels");"# });
    let look = app.post("/api/v1/policies?dry_run=true").as_user(alice).json(&forbid).await.ok().json();
    assert_eq!(
        (&look["changed"][0]["before"]["decision"], &look["changed"][0]["after"]["decision"]),
        (&json!("permit"), &json!("deny"))
    );
    let made = app.post("/api/v1/policies").as_user(alice).json(&forbid).await.ok();
    assert!(day.call_for(&dana).await.starts_with("403"), "it is in force from the next call on");
    // It is taken back by whoever sees it as it is, and not by a colleague who saw it before it was changed.
    let policy = format!("/api/v1/policies/{}", made.field("id"));
    let tag = made.header("etag").unwrap().to_owned();
    let narrower = json!({ "name": "no channels", "text": r#"forbid(principal in Group::"interns", action, resource == Tool::"chat/list_channels");"# });
    app.put(&policy).as_user(alice).header("if-match", &tag).json(&narrower).await.ok();
    let stale = app.delete(&policy).as_user(alice).header("if-match", &tag).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(day.call_for(&dana).await, "called");

    // The second: Dana's address, mistyped. The trail says what it was.
    app.pass(Duration::from_mins(10));
    day.change("users", &dana.id.to_string(), json!({ "email": "dora@example.com" })).await;
    let events = format!("/api/v1/audit-events?subject=user:{}&action=user.update", dana.id);
    let event = day.reads(&events).await[0].clone();
    let changes = event["changes"].as_array().unwrap();
    let email = changes.iter().find(|change| change["field"] == "email").unwrap();
    let back = day.change("users", &dana.id.to_string(), json!({ "email": email["before"] })).await;
    assert_eq!(back.field("email"), "dana@example.com");

    // The third: the wrong person is deactivated. Nothing acts for her from then on, and nothing by itself again.
    app.pass(Duration::from_mins(10));
    day.change("users", &dana.id.to_string(), json!({ "active": false })).await;
    let while_gone = day.call_for(&dana).await;
    day.change("users", &dana.id.to_string(), json!({ "active": true })).await;
    let after_return = day.call_for(&dana).await;
    assert_snapshot!(format!("{while_gone}\n{after_return}"), @"
    403 invalid_grant: Delegator user is deactivated
    403 invalid_grant: No valid delegation
    ");
    let dana = app.with_new_key(&dana).await;
    app.post(&delegations).as_user(&dana).json(&json!({ "server_ids": ["chat"] })).await.ok();
    day.chat.connect_and_grant(&dana, false).await;
    assert_eq!(day.call_for(&dana).await, "called");

    // The fourth: the wrong server is deleted. What depends on it is told; the warning is not read, and it is restored.
    app.pass(Duration::from_mins(10));
    let told = app.delete("/api/v1/servers/chat").as_user(alice).await;
    assert_eq!(
        (told.status, &told.json()["dependents"][0]["kind"]),
        (StatusCode::CONFLICT, &json!("delegations"))
    );
    app.delete("/api/v1/servers/chat?cascade=true").as_user(alice).await.ok();
    assert!(!day.call_for(&dana).await.contains("called"));
    let deleted = day.reads("/api/v1/deleted/server").await;
    assert_eq!(deleted[0]["id"], "chat");
    app.post("/api/v1/deleted/server/chat/restore").as_user(alice).await.ok();
    assert_eq!(day.call_for(&dana).await, "called");

    // Bob leaves. Alice looks at what would end, and then ends it; the agents that he owned go to Dana.
    app.pass(Duration::from_mins(10));
    let bob = &day.chat.scenario.bob;
    day.change("agent-accounts", &bot.id.to_string(), json!({ "owner_user_id": bob.id })).await;
    let offboard = async |dry_run: bool| {
        let body = json!({ "dry_run": dry_run, "agents": "give", "successor_user_id": dana.id });
        app.post(format!("/api/v1/users/{}/offboard", bob.id)).as_user(alice).json(&body).await.ok().json()
    };
    let (look, done) = (offboard(true).await, offboard(false).await);
    assert_eq!(
        (&look["agent_accounts"]["count"], &done["agent_accounts"]["items"][0]["outcome"]),
        (&json!(1), &json!("given"))
    );
    assert_eq!(done["complete"], true);
    assert!(!day.call_for(bob).await.contains("called"));

    // Erin asks: who could have listed the channels at noon, and who did?
    let question = json!({ "server_id": "chat", "tool_name": "list_channels" });
    let could = app.post("/api/v1/policies/who-could").as_user(erin).json(&question).await.ok().json();
    let people: Vec<&Value> = could["people"]["groups"].as_array().unwrap().iter().collect();
    assert!(!people.is_empty(), "{could}");
    let did = day.reads("/api/v1/audit-events?server_id=chat&tool=list_channels&outcome=allowed").await;
    assert!(did.as_array().unwrap().iter().all(|event| event["user_id"] == dana.id.to_string()), "{did}");
    let refused = day.reads("/api/v1/audit-events?outcome=denied&action=tool.call").await;
    assert_eq!(refused.as_array().unwrap().len(), 2, "by the policy, and without the server: {refused}");
    // And she changes nothing.
    let change = app.patch(format!("/api/v1/users/{}", dana.id)).as_user(erin).json(&json!({ "name": "D" }));
    assert_eq!(change.await.status, StatusCode::FORBIDDEN);
}
