//! Every change that the service knows, on a scene that has one of everything.

use deputize_tests::{Agent, TestApp, User};
use serde_json::json;

/// One of each thing that can be changed.
pub(super) struct Scene {
    pub(super) app: TestApp,
    pub(super) alice: User,
    pub(super) bob: User,
    pub(super) carol: User,
    pub(super) bot: Agent,
    pub(super) token: String,
    pub(super) delegation: String,
    pub(super) grant: String,
    pub(super) policy: String,
}

impl Scene {
    pub(super) async fn set() -> Self {
        let app = TestApp::start().await;
        let alice = app.user("alice").admin().await;
        let bob = app.user("bob").await;
        let carol = app.user("carol").await;
        let bot = app.agent("bot", &alice).await;
        let delegation = app.delegate(&bot, &bob).await;
        let chat = app.server("chat").oauth().await;
        app.connect(&bob, &chat).await;
        app.connect(&carol, &chat).await;
        let policy = app.permit_everything().await.to_string();
        let token = app.m2m(&bot).await;
        let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
        let grant = app.post(path).as_user(&bob).json(&json!({ "server_id": "chat" })).await.ok().field("id");
        // Fills the process's memory, so that a request always makes the same requests to the store.
        app.get("/api/v1/me").bearer(&app.login.token("bob")).await.ok();
        app.faults.take_seen();
        Self { app, alice, bob, carol, bot, token, delegation, grant, policy }
    }

    pub(super) fn agent(&self, rest: &str) -> String {
        format!("/api/v1/agent-accounts/{}{rest}", self.bot.id)
    }

    pub(super) fn first_secret(&self) -> String {
        deputize_tests::jwt::claims(&self.token)["client_secret_id"].as_str().unwrap().to_owned()
    }

    pub(super) fn kid(&self) -> String {
        deputize_tests::jwt::header(&self.token)["kid"].as_str().unwrap().to_owned()
    }
}

/// Calls a macro with every change whose caller is a user, as `name: |scene| request;`.
macro_rules! each_change_by_a_user {
    ($tests:ident) => {
        $tests! {
    creating_a_delegation: |s| s.app.post(s.agent("/delegations")).as_user(&s.carol);
    revoking_a_delegation: |s| s.app.delete(format!("/api/v1/delegations/{}", s.delegation)).as_user(&s.bob);
    creating_a_grant: |s| {
        s.app.post(s.agent("/session-grants")).as_user(&s.carol).json(&json!({ "server_id": "chat" }))
    };
    creating_a_shared_grant: |s| {
        let body = json!({ "server_id": "chat", "shared": true });
        s.app.post(s.agent("/session-grants")).as_user(&s.carol).json(&body)
    };
    toggling_a_grant: |s| {
        s.app.post(s.agent("/session-grants/toggle")).as_user(&s.bob).json(&json!({ "server_id": "chat" }))
    };
    revoking_a_grant: |s| s.app.delete(format!("/api/v1/session-grants/{}", s.grant)).as_user(&s.bob);
    disconnecting: |s| s.app.delete("/api/v1/servers/chat/connection").as_user(&s.bob);
    creating_an_agent_account: |s| {
        s.app.post("/api/v1/agent-accounts").as_user(&s.alice).json(&json!({ "name": "new" }))
    };
    changing_an_agent_account: |s| {
        s.app.patch(s.agent("")).as_user(&s.alice).json(&json!({ "active": false }))
    };
    adding_a_secret: |s| s.app.post(s.agent("/secrets")).as_user(&s.alice);
    revoking_a_secret: |s| s.app.delete(s.agent(&format!("/secrets/{}", s.first_secret()))).as_user(&s.alice);
    creating_an_api_key: |s| s.app.post("/api/v1/api-keys").as_user(&s.bob).json(&json!({ "name": "new" }));
    revoking_an_api_key: |s| {
        let keys = s.app.get("/api/v1/api-keys").as_user(&s.carol).await.ok().json();
        let path = format!("/api/v1/users/{}/api-keys/{}", s.carol.id, keys[0]["id"].as_str().unwrap());
        s.app.delete(path).as_user(&s.alice)
    };
    creating_a_user: |s| {
        let body = json!({ "email": "new@example.com", "name": "New" });
        s.app.post("/api/v1/users").as_user(&s.alice).json(&body)
    };
    changing_a_user: |s| {
        let path = format!("/api/v1/users/{}", s.bob.id);
        s.app.patch(path).as_user(&s.alice).json(&json!({ "active": false }))
    };
    registering_a_server: |s| {
        let body = json!({ "id": "new", "name": "New", "url": "https://new.example.com/mcp" });
        s.app.post("/api/v1/servers").as_user(&s.alice).json(&body)
    };
    changing_a_server: |s| {
        s.app.patch("/api/v1/servers/chat").as_user(&s.alice).json(&json!({ "active": false }))
    };
    creating_a_policy: |s| {
        let body = json!({ "name": "new", "text": "forbid(principal, action, resource);" });
        s.app.post("/api/v1/policies").as_user(&s.alice).json(&body)
    };
    replacing_a_policy: |s| {
        let body = json!({ "name": "new", "text": "forbid(principal, action, resource);" });
        s.app.put(format!("/api/v1/policies/{}", s.policy)).as_user(&s.alice).json(&body)
    };
    deleting_a_policy: |s| s.app.delete(format!("/api/v1/policies/{}", s.policy)).as_user(&s.alice);
    restoring_a_policy: |s| {
        s.app.delete(format!("/api/v1/policies/{}", s.policy)).as_user(&s.alice).await.ok();
        s.app.post(format!("/api/v1/deleted/policy/{}/restore", s.policy)).as_user(&s.alice)
    };
    deleting_a_user: |s| {
        let email = format!("new{}@example.com", s.app.trail().len());
        let new = json!({ "email": email, "name": "New", "groups": ["a", "b"] });
        let made = s.app.post("/api/v1/users").as_user(&s.alice).json(&new).await.ok();
        s.app.delete(format!("/api/v1/users/{}", made.field("id"))).as_user(&s.alice)
    };
    restoring_a_user: |s| {
        let email = format!("new{}@example.com", s.app.trail().len());
        let new = json!({ "email": email, "name": "New", "groups": ["a", "b"] });
        let id = s.app.post("/api/v1/users").as_user(&s.alice).json(&new).await.ok().field("id");
        s.app.delete(format!("/api/v1/users/{id}")).as_user(&s.alice).await.ok();
        s.app.post(format!("/api/v1/deleted/user/{id}/restore")).as_user(&s.alice)
    };
    deleting_an_agent_account: |s| {
        s.app.delete(s.agent("?cascade=true")).as_user(&s.alice)
    };
    restoring_an_agent_account: |s| {
        s.app.delete(s.agent("?cascade=true")).as_user(&s.alice).await.ok();
        s.app.post(format!("/api/v1/deleted/agent_account/{}/restore", s.bot.id)).as_user(&s.alice)
    };
    deleting_a_server: |s| s.app.delete("/api/v1/servers/chat?cascade=true").as_user(&s.alice);
    restoring_a_server: |s| {
        s.app.delete("/api/v1/servers/chat?cascade=true").as_user(&s.alice).await.ok();
        s.app.post("/api/v1/deleted/server/chat/restore").as_user(&s.alice)
    };
    restoring_an_api_key: |s| {
        let id = s.app.post("/api/v1/api-keys").as_user(&s.bob).json(&json!({ "name": "new" })).await.ok();
        let id = id.field("id");
        s.app.delete(format!("/api/v1/api-keys/{id}")).as_user(&s.bob).await.ok();
        s.app.post(format!("/api/v1/deleted/api_key/{id}/restore")).as_user(&s.bob)
    };
    rotating_the_signing_key: |s| s.app.post("/api/v1/signing-keys").as_user(&s.alice);
    revoking_a_signing_key: |s| s.app.delete(format!("/api/v1/signing-keys/{}", s.kid())).as_user(&s.alice);
    adding_a_client_key: |s| {
        let jwk = deputize_tests::jwt::SigningKey::es256().jwk("new");
        s.app.post(s.agent("/keys")).as_user(&s.alice).json(&json!({ "jwk": jwk }))
    };
        }
    };
}

/// Calls a macro with every change whose caller is not a user.
macro_rules! each_change_by_another {
    ($tests:ident) => {
        $tests! {
        issuing_a_token: |s| s.app.token_for(&s.bot, &[]);
        issuing_a_token_for_a_user: |s| {
            s.app.token_for(&s.bot, &[("actor_token", &s.bob.id.to_string()), ("actor_token_type", USER_ID)])
        };
        exchanging_a_token: |s| s.app.exchange(&s.token, &s.app.login.token("bob"), &[]);
        revoking_a_token: |s| s.app.about_token("revoke", &s.bot, &s.token);
        meeting_a_user_for_the_first_time: |s| s.app.get("/api/v1/me").bearer(&s.app.login.token("newcomer"));
            }
    };
}

pub(super) use {each_change_by_a_user, each_change_by_another};
