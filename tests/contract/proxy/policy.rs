//! Policies: default deny, and for an agent that acts for a user the intersection.

use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

const DELETE: &str = "delete_repo";

/// The bot may do everything. Users may do everything except delete.
async fn bot_may_delete_and_people_may_not(it: &Permitted) {
    let bot = it.bot().id;
    it.app().policy("bot", &format!("permit(principal == Agent::\"{bot}\", action, resource);")).await;
    let people =
        "permit(principal is User, action, resource) unless { resource == Tool::\"demo/delete_repo\" };";
    it.app().policy("people", people).await;
}

#[tokio::test]
async fn what_no_policy_permits_is_denied() {
    let it = Permitted::without_policies().await;
    let token = it.app().m2m(it.bot()).await;
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_agent",
      "denied_for": "agent",
      "policies": [],
      "explanation": "no policy permits it"
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    credential: "agent_token:[uuid]"
    detail: "Policy denied for the agent: no policy permits it"
    outcome: "denied"
    tool: "list_repos"
    "#);
    assert_eq!(it.mcp.seen().len(), 0);
}

#[tokio::test]
async fn an_agent_for_a_user_may_only_what_both_may() {
    let it = Permitted::without_policies().await;
    bot_may_delete_and_people_may_not(&it).await;
    let arguments = json!({ "org": "acme", "repo": "website" });
    let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
    let by_bot = it.app().call("demo", DELETE, &arguments).bearer(&own).await;
    assert_snapshot!(by_bot, @r#"
    200 OK

    {
      "resultType": "complete",
      "content": [
        {
          "type": "text",
          "text": "deleted acme/website"
        },
        {
          "type": "text",
          "text": "{\"full_name\":\"acme/website\",\"deleted\":true}"
        }
      ],
      "structuredContent": {
        "full_name": "acme/website",
        "deleted": true
      },
      "isError": false
    }
    "#);
    let bobs_own = it.app().call("demo", DELETE, &arguments).as_user(it.bob()).await;
    assert_snapshot!(bobs_own.refusal(), @"403 Policy denied");
    let bot_for_bob = it.app().call("demo", DELETE, &arguments).bearer(&for_bob).await;
    assert_snapshot!(bot_for_bob, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_user",
      "denied_for": "user",
      "policies": [],
      "explanation": "no policy permits it"
    }
    "#);
    let list = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&for_bob).await.ok();
    assert_snapshot!(it.app().event_of(&list), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    policies: "[policy bot]" "[policy people]"
    tool: "list_repos"
    "#);
    assert_eq!(it.mcp.calls(), 2);
}

#[tokio::test]
async fn what_the_user_may_but_not_the_agent_is_denied_too() {
    let it = Permitted::without_policies().await;
    it.app().policy("people", "permit(principal is User, action, resource);").await;
    let token = it.app().obo(it.bot(), it.bob()).await;
    let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_agent",
      "denied_for": "agent",
      "policies": [],
      "explanation": "no policy permits it"
    }
    "#);
}

#[tokio::test]
async fn a_forbidding_policy_is_named_in_the_refusal_and_outweighs_a_permitting_one() {
    let it = Permitted::set().await;
    let forbid = r#"forbid(principal, action, resource) when {
        context.arguments.hasTag("org") && context.arguments.getTag("org") like "secret-*" };"#;
    it.app().policy("secrets", forbid).await;
    let token = it.app().obo(it.bot(), it.bob()).await;
    let call = |org: &str| it.app().call("demo", "list_repos", &json!({ "org": org })).bearer(&token);
    let denied = call("secret-lab").await;
    assert_snapshot!(denied, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_agent",
      "denied_for": "agent",
      "policies": [
        "[policy secrets]"
      ],
      "explanation": "a policy forbids it"
    }
    "#);
    assert_snapshot!(it.app().event_of(&denied), @r#"
    action: "tool.call"
    arguments_sha256: "47cb2ad74720bdd233df6624b2a37c4700a67c4ecb1531c43f7999022e833cf1"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    detail: "Policy denied for the agent: a policy forbids it"
    outcome: "denied"
    policies: "[policy secrets]"
    tool: "list_repos"
    "#);
    call("acme").await.ok();
}

#[tokio::test]
async fn a_policy_may_ask_for_numbers_groups_and_whom_an_agent_acts_for() {
    let it = Permitted::without_policies().await;
    let dave = it.app().user("dave").in_group("finance").await;
    it.app().delegate(it.bot(), &dave).await;
    let finance = r#"permit(principal in Group::"finance", action, resource);"#;
    it.app().policy("finance", finance).await;
    let acting = format!(
        "permit(principal is Agent, action, resource) when {{ context has on_behalf_of && \
         context.on_behalf_of == User::\"{}\" && context.integers.hasTag(\"limit\") && \
         context.integers.getTag(\"limit\") <= 10 }};",
        dave.id
    );
    it.app().policy("acting", &acting).await;
    let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
    let for_dave = it.app().obo(it.bot(), &dave).await;
    let call = async |token: &str, limit: i64| {
        let arguments = json!({ "org": "acme", "limit": limit });
        it.app().call("demo", "list_repos", &arguments).bearer(token).await.status.as_u16()
    };
    assert_eq!(call(&for_dave, 10).await, 200);
    assert_eq!(call(&for_dave, 11).await, 403);
    assert_eq!(call(&for_bob, 10).await, 403);
    assert_eq!(call(&own, 10).await, 403);
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_denies() {
    let it = Permitted::set().await;
    let overflow = r#"forbid(principal, action, resource) when {
        context.integers.hasTag("n") && context.integers.getTag("n") + 1 > 100 };"#;
    it.app().policy("overflow", overflow).await;
    let token = it.app().m2m(it.bot()).await;
    let arguments = json!({ "org": "acme", "n": i64::MAX });
    let answer = it.app().call("demo", "list_repos", &arguments).bearer(&token).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_eq!(it.mcp.calls(), 0);
}

#[tokio::test]
async fn a_change_of_a_policy_is_in_force_on_the_next_call() {
    let it = Permitted::without_policies().await;
    let id = it.app().permit_everything().await;
    let path = format!("/api/v1/policies/{id}");
    let token = it.app().m2m(it.bot()).await;
    let call = async || {
        let answer = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
        answer.status.as_u16()
    };
    assert_eq!(call().await, 200);
    let changed = json!({ "name": "people only", "text": "permit(principal is User, action, resource);" });
    it.app().put(&path).as_user(&it.scenario.alice).json(&changed).await.ok();
    assert_eq!(call().await, 403);
    let back = json!({ "name": "everything", "text": "permit(principal, action, resource);" });
    it.app().put(&path).as_user(&it.scenario.alice).json(&back).await.ok();
    assert_eq!(call().await, 200);
    it.app().delete(&path).as_user(&it.scenario.alice).await.ok();
    assert_eq!(call().await, 403);
}
