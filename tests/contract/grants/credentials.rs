//! Whose credentials a call uses: one's own grant, else the shared one, else none.

use std::time::Duration;

use deputize_tests::{McpServer, Server, TestApp, TestResponse, User};
use insta::assert_snapshot;
use serde_json::json;

use super::Connected;
use crate::scenario::Scenario;

/// Like [`Connected`], with a server that answers in the name of the token's owner.
pub(super) struct Answering {
    pub(super) it: Connected,
    mcp: McpServer,
}

impl Answering {
    pub(super) async fn set() -> Self {
        let scenario = Scenario::start().await;
        let mcp = McpServer::start().await;
        scenario.app.permit_everything().await;
        let chat = scenario.app.server("chat").oauth().at(mcp.oauth_url()).await;
        for user in [&scenario.alice, &scenario.bob, &scenario.carol] {
            scenario.app.connect(user, &chat).await;
        }
        Self { it: Connected { scenario, chat }, mcp }
    }

    pub(super) fn app(&self) -> &TestApp {
        self.it.app()
    }

    pub(super) async fn as_agent(&self) -> String {
        let token = self.app().m2m(&self.it.scenario.bot).await;
        spoken(&self.app().call("chat", "list_channels", &json!({})).bearer(&token).await)
    }

    pub(super) async fn for_bob(&self) -> String {
        let token = self.app().obo(&self.it.scenario.bot, &self.it.scenario.bob).await;
        spoken(&self.app().call("chat", "list_channels", &json!({})).bearer(&token).await)
    }

    async fn deactivate(&self, user: &User) {
        let path = format!("/api/v1/users/{}", user.id);
        self.app().patch(path).as_user(&self.it.scenario.alice).json(&json!({ "active": false })).await.ok();
    }

    async fn disconnect(&self, user: &User) {
        self.app().delete("/api/v1/servers/chat/connection").as_user(user).await.ok();
    }
}

/// The user in whose name the server answered, or the error.
pub(super) fn spoken(answer: &TestResponse) -> String {
    match answer.json()["structuredContent"]["acting_as"].as_str() {
        Some(name) => name.to_owned(),
        None => answer.refusal(),
    }
}

#[tokio::test]
async fn without_any_grant_there_are_no_credentials() {
    let it = Answering::set().await;
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let answer = it.app().call("chat", "list_channels", &json!({})).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="no_credentials", error_description="No credentials available for this server"

    {
      "error": "no_credentials",
      "error_description": "No credentials available for this server",
      "detail": "No credentials available for this server",
      "reason": "no_credentials"
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_agent: "[bot]"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    detail: "No credentials available for this server"
    outcome: "denied"
    policies: "[policy everything]"
    tool: "list_channels"
    "#);
    assert_eq!(it.mcp.seen().len(), 0);
    assert_snapshot!(it.as_agent().await, @"401 No credentials available for this server");
}

#[tokio::test]
async fn ones_own_grant_comes_first_shared_or_not() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    it.it.create(&it.it.scenario.bob, false).await.ok();
    assert_eq!(it.for_bob().await, "bob");
    it.it.toggle(&it.it.scenario.bob).await.ok();
    assert_eq!(it.for_bob().await, "bob");
}

#[tokio::test]
async fn without_ones_own_the_shared_grant_is_used() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let answer = it.app().call("chat", "list_channels", &json!({})).bearer(&token).await;
    assert_eq!(spoken(&answer), "alice");
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_agent: "[bot]"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    credentials_of: "[alice]"
    grant_id: "[alice's grant]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_channels"
    "#);
}

#[tokio::test]
async fn an_agent_as_itself_uses_the_shared_grant_and_no_personal_one() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.bob, false).await.ok();
    assert_snapshot!(it.as_agent().await, @"401 No credentials available for this server");
    it.it.toggle(&it.it.scenario.bob).await.ok();
    assert_eq!(it.as_agent().await, "bob");
}

#[tokio::test]
async fn anothers_personal_grant_is_never_used() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.carol, false).await.ok();
    assert_snapshot!(it.for_bob().await, @"401 No credentials available for this server");
}

#[tokio::test]
async fn a_change_of_the_shared_grant_is_followed_on_the_next_call() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    assert_eq!(it.for_bob().await, "alice");
    it.it.create(&it.it.scenario.carol, true).await.ok();
    assert_eq!(it.for_bob().await, "carol");
    it.it.toggle(&it.it.scenario.carol).await.ok();
    assert_snapshot!(it.for_bob().await, @"401 No credentials available for this server");
}

#[tokio::test]
async fn a_revoked_grant_is_refused_on_the_next_call_through_the_same_token() {
    let it = Answering::set().await;
    let grant = it.it.create(&it.it.scenario.bob, false).await.ok().field("id");
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let call = || it.app().call("chat", "list_channels", &json!({})).bearer(&token);
    assert_eq!(spoken(&call().await), "bob");
    it.it.revoke(&it.it.scenario.bob, &grant).await.ok();
    assert_snapshot!(spoken(&call().await), @"401 No credentials available for this server");
}

#[tokio::test]
async fn a_grant_whose_session_is_gone_says_so() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    it.it.create(&it.it.scenario.bob, false).await.ok();
    it.disconnect(&it.it.scenario.bob).await;
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let answer = it.app().call("chat", "list_channels", &json!({})).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="session_not_found", error_description="OAuth session not found"

    {
      "error": "session_not_found",
      "error_description": "OAuth session not found",
      "detail": "OAuth session not found",
      "reason": "session_not_found"
    }
    "#);
    it.disconnect(&it.it.scenario.alice).await;
    assert_snapshot!(it.as_agent().await, @"401 OAuth session not found");
}

#[tokio::test]
async fn a_grant_whose_session_has_expired_says_so() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.bob, false).await.ok();
    it.app().pass(Duration::from_hours(30 * 24));
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let answer = it.app().call("chat", "list_channels", &json!({})).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="session_expired", error_description="OAuth session expired"

    {
      "error": "session_expired",
      "error_description": "OAuth session expired",
      "detail": "OAuth session expired",
      "reason": "session_expired"
    }
    "#);
    it.app().connect(&it.it.scenario.bob, &it.it.chat).await;
    assert_eq!(it.for_bob().await, "bob");
}

#[tokio::test]
async fn a_session_that_the_server_takes_no_more_has_expired() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.bob, false).await.ok();
    it.mcp.rejects_tokens(true);
    assert_snapshot!(it.for_bob().await, @"401 OAuth session expired");
}

#[tokio::test]
async fn a_deactivated_grantors_shared_grant_serves_nobody() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.carol, true).await.ok();
    assert_eq!(it.for_bob().await, "carol");
    it.deactivate(&it.it.scenario.carol).await;
    assert_snapshot!(it.for_bob().await, @"401 No credentials available for this server");
    assert_snapshot!(it.as_agent().await, @"401 No credentials available for this server");
}

#[tokio::test]
async fn a_session_goes_to_no_other_address_than_it_was_made_for() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.bob, false).await.ok();
    let elsewhere = McpServer::start().await;
    let moved = it.app().patch("/api/v1/servers/chat").as_user(&it.it.scenario.alice);
    moved.json(&json!({ "url": elsewhere.oauth_url() })).await.ok();
    assert_snapshot!(it.for_bob().await, @"401 OAuth session not found");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn a_user_with_a_key_of_their_own_needs_no_grant() {
    let it = Answering::set().await;
    let call = |user: &User| it.app().call("chat", "list_channels", &json!({})).as_user(user);
    let answer = call(&it.it.scenario.bob).await;
    assert_eq!(spoken(&answer), "bob");
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "chat"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    credentials_of: "[bob]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_channels"
    "#);
    let with_token = it.app().call("chat", "list_channels", &json!({})).bearer(&it.app().login.token("bob"));
    assert_eq!(spoken(&with_token.await), "bob");
}

#[tokio::test]
async fn a_user_with_a_key_of_their_own_uses_no_shared_grant() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.alice, true).await.ok();
    it.disconnect(&it.it.scenario.bob).await;
    let answer = it.app().call("chat", "list_channels", &json!({})).as_user(&it.it.scenario.bob).await;
    assert_snapshot!(spoken(&answer), @"401 OAuth session not found");
}

#[tokio::test]
async fn a_grant_is_for_one_server_only() {
    let it = Answering::set().await;
    it.it.create(&it.it.scenario.bob, false).await.ok();
    let other: Server = it.app().server("other").oauth().at(it.mcp.oauth_url()).await;
    it.app().connect(&it.it.scenario.bob, &other).await;
    let token = it.app().obo(&it.it.scenario.bot, &it.it.scenario.bob).await;
    let answer = it.app().call("other", "list_channels", &json!({})).bearer(&token).await;
    assert_snapshot!(spoken(&answer), @"401 No credentials available for this server");
}
