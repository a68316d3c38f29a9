//! Policies, and explaining a decision.

use insta::assert_snapshot;
use serde_json::json;

use crate::scenario::Scenario;

const PERMIT: &str = "permit(principal, action, resource);";

#[tokio::test]
async fn an_admin_saves_reads_replaces_and_deletes_a_policy() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let made =
        app.post("/api/v1/policies").as_user(&alice).json(&json!({ "name": "all", "text": PERMIT })).await;
    assert_snapshot!(made, @r#"
    201 Created

    {
      "id": "[uuid]",
      "name": "all",
      "text": "permit(principal, action, resource);",
      "mode": "enforce",
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    app.call_it("policy", made.field("id"));
    assert_snapshot!(app.event_of(&made), @r#"
    action: "policy.create"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    subject: "policy:[policy]"
    "#);
    let path = format!("/api/v1/policies/{}", made.field("id"));
    assert_eq!(app.get(&path).as_user(&alice).await.ok().json(), made.json());
    app.pass(std::time::Duration::from_mins(1));
    let body = json!({ "name": "none", "text": "forbid(principal, action, resource);" });
    assert_snapshot!(app.put(&path).as_user(&alice).json(&body).await, @r#"
    200 OK

    {
      "id": "[policy]",
      "name": "none",
      "text": "forbid(principal, action, resource);",
      "mode": "enforce",
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:01:00.000Z"
    }
    "#);
    let deleted = app.delete(&path).as_user(&alice).await;
    assert_snapshot!(deleted, @"204 No Content");
    assert_snapshot!(app.get(&path).as_user(&alice).await.refusal(), @"404 No such policy");
    assert_eq!(app.delete(&path).as_user(&alice).await.status, 204);
}

#[tokio::test]
async fn a_bad_policy_is_refused_with_line_and_column_and_the_old_one_stays() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let path = format!("/api/v1/policies/{}", app.permit_everything().await);
    let before = app.contents();
    let mut refusals = Vec::new();
    for text in [
        "",
        "permit(principal, action,\n  resorce);",
        "permit(principal, action, resource)\n  when { principal.colour == 1 };",
        "permit(principal, action, resource);\nforbid(principal, action, resource);",
        "permit(principal == ?principal, action, resource);",
        "permit(principal, action == Action::\"delete\", resource);",
        "permit(principal, action, resource) when { context.arguments.hasTag(resource.name) };",
        "permit(principal, action, resource) when { Arguments::\"call\".hasTag(\"org\") };",
    ] {
        let body = json!({ "name": "bad", "text": text });
        refusals.push(app.put(&path).as_user(&alice).json(&body).await.refusal());
        let created = app.post("/api/v1/policies").as_user(&alice).json(&body).await;
        assert_eq!(created.status, 400, "{created}");
    }
    let long = json!({ "name": "long", "text": format!("{PERMIT} // {}", "x".repeat(10_240)) });
    refusals.push(app.post("/api/v1/policies").as_user(&alice).json(&long).await.refusal());
    assert_snapshot!(refusals.join("\n"), @r#"
    400 text: line 1, column 1: unexpected end of input
    400 text: line 2, column 3: found an invalid variable in the policy scope: resorce (policy scopes must contain a `principal`, `action`, and `resource` element in that order)
    400 text: line 2, column 10: for policy `[policy everything]`, attribute `colour` on entity type `Agent` not found
    400 text: line 2, column 1: unexpected token `forbid`
    400 text: line 1, column 21: expected a static policy, got a template containing the slot ?principal (try removing the template slot(s) from this policy)
    400 text: line 1, column 29: for policy `[policy everything]`, unrecognized action `Action::"delete"`
    400 text: hasTag and getTag take the name of an argument in quotes, and no expression in its place
    400 text: hasTag and getTag are asked of context.arguments and context.integers themselves
    400 text: longer than 10240 bytes
    "#);
    assert_eq!(app.contents(), before);
}

/// An agent's owner can change its name, and other agents can have the same name.
#[tokio::test]
async fn a_policy_that_uses_an_agents_name_is_refused_with_what_to_write_instead() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let before = app.contents();
    let refused = |text: &str| {
        let body = json!({ "name": "by name", "text": text });
        app.post("/api/v1/policies").as_user(&alice).json(&body)
    };
    let first =
        refused(r#"permit(principal is Agent, action, resource) when { principal.name == "bot" };"#).await;
    assert_snapshot!(first.refusal(), @r#"400 text: what an agent is called says nothing, since its owner can change it and others can be called the same: name the agent by its id (principal == Agent::"…"), or a group that it is in (principal in Group::"…")"#);
    for text in [
        r#"permit(principal is Agent, action, resource) when { principal["name"] like "bot*" };"#,
        r#"permit(principal, action, resource) when { principal has name && principal.name == "bot" };"#,
        r#"forbid(principal is Agent, action, resource) unless { (if true then principal else principal).name == "bot" };"#,
        r#"permit(principal, action, resource) when { Agent::"x".name == "bot" };"#,
    ] {
        assert_eq!(refused(text).await.refusal(), first.refusal(), "{text}");
    }
    assert_eq!(app.contents(), before);
    for text in [
        r#"permit(principal is Agent, action, resource) when { resource.name == "bot" };"#,
        r#"permit(principal is Agent, action, resource in Server::"demo") when { Server::"demo".name == "bot" };"#,
        r#"permit(principal is Agent, action, resource) when { principal.owner_id == "x" };"#,
    ] {
        let body = json!({ "name": format!("by another name: {}", text.len()), "text": text });
        app.post("/api/v1/policies").as_user(&alice).json(&body).await.ok();
    }
}

#[tokio::test]
async fn only_an_admin_sees_and_changes_policies() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    let path = format!("/api/v1/policies/{}", app.permit_everything().await);
    let before = app.contents();
    let body = json!({ "name": "x", "text": PERMIT });
    let answers = [
        app.get("/api/v1/policies").as_user(&bob).await,
        app.get(&path).as_user(&bob).await,
        app.post("/api/v1/policies").as_user(&bob).json(&body).await,
        app.put(&path).as_user(&bob).json(&body).await,
        app.delete(&path).as_user(&bob).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an auditor, an operator or an admin may do this
    403 Only an auditor, an operator or an admin may do this
    403 Only an admin may do this
    403 Only an admin may do this
    403 Only an admin may do this
    ");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "whole answers")]
async fn a_decision_is_explained_without_a_call() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    app.policy("agents", "permit(principal is Agent, action, resource);").await;
    let forbid = r#"forbid(principal, action, resource) when { context.arguments.hasTag("force") };"#;
    app.policy("force", forbid).await;
    let check = |body: serde_json::Value| app.post("/api/v1/policies/check").as_user(&alice).json(&body);
    let agent = json!({ "agent_account_id": bot.id, "server_id": "demo", "tool_name": "t" });
    assert_snapshot!(check(agent.clone()).await, @r#"
    200 OK

    {
      "decision": "depends",
      "policies": [],
      "conditions": [
        {
          "policy": "[policy force]",
          "effect": "forbid",
          "of": "agent",
          "text": "forbid(principal, action, resource) when { context.arguments.hasTag(\"force\") };"
        }
      ],
      "steps": [
        {
          "step": "caller",
          "outcome": "passed"
        },
        {
          "step": "server",
          "outcome": "passed"
        },
        {
          "step": "policies",
          "outcome": "depends"
        },
        {
          "step": "credentials",
          "outcome": "passed",
          "credentials": {
            "kind": "none"
          }
        }
      ],
      "policies_version": 3
    }
    "#);
    let mut for_bob = agent.clone();
    for_bob["user_id"] = bob.id.to_string().into();
    assert_snapshot!(check(for_bob).await, @r#"
    200 OK

    {
      "decision": "deny",
      "policies": [],
      "denied_for": "user",
      "reason": "no policy permits it",
      "steps": [
        {
          "step": "caller",
          "outcome": "passed"
        },
        {
          "step": "delegation",
          "outcome": "passed"
        },
        {
          "step": "server",
          "outcome": "passed"
        },
        {
          "step": "policies",
          "outcome": "refused",
          "reason": "policy_denied_user",
          "text": "no policy permits it"
        },
        {
          "step": "credentials",
          "outcome": "passed",
          "credentials": {
            "kind": "none"
          }
        }
      ],
      "policies_version": 3
    }
    "#);
    let mut forced = agent;
    forced["arguments"] = json!({ "force": true });
    assert_snapshot!(check(forced).await, @r#"
    200 OK

    {
      "decision": "deny",
      "policies": [
        "[policy force]"
      ],
      "denied_for": "agent",
      "reason": "a policy forbids it",
      "steps": [
        {
          "step": "caller",
          "outcome": "passed"
        },
        {
          "step": "server",
          "outcome": "passed"
        },
        {
          "step": "policies",
          "outcome": "refused",
          "reason": "policy_denied_agent",
          "text": "a policy forbids it"
        },
        {
          "step": "credentials",
          "outcome": "passed",
          "credentials": {
            "kind": "none"
          }
        }
      ],
      "policies_version": 3
    }
    "#);
}

#[tokio::test]
async fn users_have_their_own_decisions_explained_and_no_others() {
    let Scenario { app, bob, carol, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let check = |body: serde_json::Value| app.post("/api/v1/policies/check").as_user(&bob).json(&body);
    check(json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t" })).await.ok();
    let answers = [
        check(json!({ "user_id": carol.id, "server_id": "demo", "tool_name": "t" })).await,
        check(json!({ "agent_account_id": bot.id, "server_id": "demo", "tool_name": "t" })).await,
        check(json!({ "server_id": "demo", "tool_name": "t" })).await,
        check(json!({ "user_id": bob.id, "server_id": "nowhere", "tool_name": "t" })).await,
        check(json!({ "user_id": bob.id, "server_id": "demo" })).await,
        check(json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t", "arguments": [] })).await,
        check(json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t", "source_ip": "x" })).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an auditor, an operator or an admin may do this
    403 Only an auditor, an operator or an admin may do this
    403 Only an auditor, an operator or an admin may do this
    404 No such server
    400 Name one of tool_name, resource_uri and prompt_name
    400 arguments must be an object
    400 source_ip: must be an IP address
    ");
}
