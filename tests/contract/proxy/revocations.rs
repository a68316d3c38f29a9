//! Whatever is revoked or disabled is refused on the next call, through tokens that were issued before.

use deputize_tests::{TestRequest, jwt};
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

/// The same call with each credential that may be affected, and the results.
struct Callers {
    it: Permitted,
    own: String,
    for_bob: String,
    bobs_token: String,
}

impl Callers {
    async fn set() -> Self {
        let it = Permitted::set().await;
        let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
        let bobs_token = it.app().login.token("bob");
        let callers = Self { it, own, for_bob, bobs_token };
        assert_eq!(callers.verdicts().await, "agent 200\nagent for bob 200\nbob's key 200\nbob's token 200");
        callers
    }

    fn call(&self) -> TestRequest {
        self.it.app().call("demo", "list_repos", &json!({ "org": "acme" }))
    }

    async fn verdicts(&self) -> String {
        let answers = [
            ("agent", self.call().bearer(&self.own).await),
            ("agent for bob", self.call().bearer(&self.for_bob).await),
            ("bob's key", self.call().as_user(self.it.bob()).await),
            ("bob's token", self.call().bearer(&self.bobs_token).await),
        ];
        answers.map(|(who, answer)| format!("{who} {}", answer.refusal().trim())).join("\n")
    }

    fn admin(&self, ask: TestRequest) -> TestRequest {
        ask.as_user(&self.it.scenario.alice)
    }

    async fn patch(&self, path: &str, body: serde_json::Value) {
        self.admin(self.it.app().patch(path)).json(&body).await.ok();
    }
}

#[tokio::test]
async fn a_revoked_delegation() {
    let it = Callers::set().await;
    let id = jwt::claims(&it.for_bob)["delegation_id"].as_str().unwrap().to_owned();
    it.it.app().delete(format!("/api/v1/delegations/{id}")).as_user(it.it.bob()).await.ok();
    assert_snapshot!(it.verdicts().await, @"
    agent 200
    agent for bob 401 The delegation that the token rests on is revoked or has expired
    bob's key 200
    bob's token 200
    ");
    it.it.app().delegate(it.it.bot(), it.it.bob()).await;
    assert!(it.verdicts().await.contains("agent for bob 401"), "a new delegation wakes no old token");
}

#[tokio::test]
async fn a_disabled_account() {
    let it = Callers::set().await;
    let path = format!("/api/v1/agent-accounts/{}", it.it.bot().id);
    it.patch(&path, json!({ "active": false })).await;
    assert_snapshot!(it.verdicts().await, @"
    agent 401 The agent account is disabled
    agent for bob 401 The agent account is disabled
    bob's key 200
    bob's token 200
    ");
    // Enabling it again revives none of its tokens.
    it.patch(&path, json!({ "active": true })).await;
    assert_snapshot!(it.verdicts().await, @"
    agent 401 The agent account was disabled after the token was issued
    agent for bob 401 The agent account was disabled after the token was issued
    bob's key 200
    bob's token 200
    ");
}

#[tokio::test]
async fn a_revoked_secret() {
    let it = Callers::set().await;
    let secret = jwt::claims(&it.own)["client_secret_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/agent-accounts/{}/secrets/{secret}", it.it.bot().id);
    it.admin(it.it.app().delete(path)).await.ok();
    assert_snapshot!(it.verdicts().await, @"
    agent 401 The client secret that the token was issued under is revoked
    agent for bob 401 The client secret that the token was issued under is revoked
    bob's key 200
    bob's token 200
    ");
}

#[tokio::test]
async fn a_deactivated_user() {
    let it = Callers::set().await;
    let path = format!("/api/v1/users/{}", it.it.bob().id);
    it.patch(&path, json!({ "active": false })).await;
    assert_snapshot!(it.verdicts().await, @"
    agent 200
    agent for bob 403 Delegator user is deactivated
    bob's key 401 The user is deactivated
    bob's token 401 The user is deactivated
    ");
}

#[tokio::test]
async fn a_revoked_api_key() {
    let it = Callers::set().await;
    let keys = it.it.app().get("/api/v1/api-keys").as_user(it.it.bob()).await.ok().json();
    let id = keys[0]["id"].as_str().unwrap().to_owned();
    it.it.app().delete(format!("/api/v1/api-keys/{id}")).as_user(it.it.bob()).await.ok();
    assert_snapshot!(it.verdicts().await, @"
    agent 200
    agent for bob 200
    bob's key 401 The API key is not valid
    bob's token 200
    ");
}

#[tokio::test]
async fn a_revoked_token() {
    let it = Callers::set().await;
    it.it.app().about_token("revoke", it.it.bot(), &it.for_bob).await.ok();
    assert_snapshot!(it.verdicts().await, @"
    agent 200
    agent for bob 401 The token has been revoked
    bob's key 200
    bob's token 200
    ");
}

#[tokio::test]
async fn a_deactivated_server() {
    let it = Callers::set().await;
    it.patch("/api/v1/servers/demo", json!({ "active": false })).await;
    assert_snapshot!(it.verdicts().await, @"
    agent 404 No such server
    agent for bob 404 No such server
    bob's key 404 No such server
    bob's token 404 No such server
    ");
    it.patch("/api/v1/servers/demo", json!({ "active": true })).await;
    assert!(it.verdicts().await.contains("agent 200"));
}

#[tokio::test]
async fn a_deleted_policy() {
    let it = Callers::set().await;
    let list = it.admin(it.it.app().get("/api/v1/policies")).await.ok().json();
    it.admin(it.it.app().delete(format!("/api/v1/policies/{}", list[0]["id"].as_str().unwrap()))).await.ok();
    assert_snapshot!(it.verdicts().await, @"
    agent 403 Policy denied
    agent for bob 403 Policy denied
    bob's key 403 Policy denied
    bob's token 403 Policy denied
    ");
}

#[tokio::test]
async fn an_expired_api_key() {
    let it = Permitted::set().await;
    let expires_at = it.app().now().plus(std::time::Duration::from_mins(1)).to_string();
    let body = json!({ "name": "short", "expires_at": expires_at });
    let key = it.app().post("/api/v1/api-keys").as_user(it.bob()).json(&body).await.ok().field("key");
    let call = || it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&key);
    call().await.ok();
    it.app().pass(std::time::Duration::from_mins(1));
    assert_snapshot!(call().await.refusal(), @"401 The API key has expired");
}
