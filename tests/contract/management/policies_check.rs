//! What `policies/check` says is what a call would say.

use deputize_core::delegations::NewDelegation;
use deputize_tests::{TestApp, TestResponse, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{grants::Connected, proxy::Permitted, scenario::Scenario};

const CHECK: &str = "/api/v1/policies/check";

async fn check(app: &TestApp, by: &User, body: &Value) -> TestResponse {
    app.post(CHECK).as_user(by).json(body).await
}

/// `decision reason | step outcome reason …`, as one line.
fn told(answer: &TestResponse) -> String {
    let answer = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = answer["steps"].as_array().unwrap().iter().map(|step| {
        format!("{} {} {}", text(&step["step"]), text(&step["outcome"]), text(&step["reason"]))
            .trim()
            .to_owned()
    });
    let steps = steps.collect::<Vec<_>>().join(", ");
    format!("{} ({}): {steps}", text(&answer["decision"]), text(&answer["reason"]))
}

#[tokio::test]
async fn every_step_of_a_call_is_told_in_its_order() {
    let it = Connected::set().await;
    let Scenario { app, alice, bob, bot, .. } = &it.scenario;
    app.permit_everything().await;
    it.create(bob, false).await.ok();
    let body =
        json!({ "agent_account_id": bot.id, "user_id": bob.id, "server_id": "chat", "tool_name": "say" });
    assert_snapshot!(check(app, alice, &body).await, @r#"
    200 OK

    {
      "decision": "permit",
      "policies": [
        "[policy everything]"
      ],
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
          "outcome": "passed"
        },
        {
          "step": "credentials",
          "outcome": "passed",
          "credentials": {
            "kind": "session",
            "user_id": "[bob]",
            "session_grant_id": "[bob's grant]"
          }
        }
      ],
      "policies_version": 2
    }
    "#);
}

#[tokio::test]
async fn what_stops_a_call_stops_its_check_with_the_same_words() {
    let it = Connected::set().await;
    let Scenario { app, alice, bob, carol, bot } = &it.scenario;
    app.permit_everything().await;
    app.server("other").await;
    let of = |user: &User, server: &str| json!({ "agent_account_id": bot.id, "user_id": user.id, "server_id": server, "tool_name": "say" });
    let ask = async |body: Value| told(&check(app, alice, &body).await.ok());
    let mut lines = vec![
        ("no grant", ask(of(bob, "chat")).await),
        ("no delegation", ask(of(carol, "other")).await),
        (
            "the agent alone, no grant",
            ask(json!({ "agent_account_id": bot.id, "server_id": "chat", "tool_name": "say" })).await,
        ),
        ("a user alone", ask(json!({ "user_id": carol.id, "server_id": "chat", "tool_name": "say" })).await),
    ];
    let narrow = NewDelegation { server_ids: Some(vec!["chat".parse().unwrap()]), expires_at: None };
    app.delegate_some(bot, carol, narrow).await;
    lines.push(("another server", ask(of(carol, "other")).await));
    let soon = app.now().plus(std::time::Duration::from_secs(60));
    app.delegate_some(bot, carol, NewDelegation { server_ids: None, expires_at: Some(soon) }).await;
    app.pass(std::time::Duration::from_secs(60));
    lines.push(("expired", ask(of(carol, "other")).await));
    let revoked = app.delegate(bot, carol).await;
    app.delete(format!("/api/v1/delegations/{revoked}")).as_user(carol).await;
    lines.push(("revoked", ask(of(carol, "other")).await));
    let forbid = app.policy("none", "forbid(principal is User, action, resource);").await;
    lines.push(("forbidden", ask(of(bob, "other")).await));
    app.delete(format!("/api/v1/policies/{forbid}")).as_user(alice).await;
    let set = async |path: String, body: Value| app.patch(path).as_user(alice).json(&body).await.ok();
    set("/api/v1/servers/other".to_owned(), json!({ "active": false })).await;
    lines.push(("the server is off", ask(of(bob, "other")).await));
    set("/api/v1/servers/other".to_owned(), json!({ "active": true })).await;
    set(format!("/api/v1/users/{}", bob.id), json!({ "active": false })).await;
    lines.push(("the user is deactivated", ask(of(bob, "other")).await));
    lines.push((
        "alone too",
        ask(json!({ "user_id": bob.id, "server_id": "other", "tool_name": "say" })).await,
    ));
    set(format!("/api/v1/agent-accounts/{}", bot.id), json!({ "active": false })).await;
    lines.push(("the agent is disabled", ask(of(alice, "other")).await));
    let lines: Vec<_> = lines.iter().map(|(what, told)| format!("{what}: {told}")).collect();
    assert_snapshot!(lines.join("\n"), @"
    no grant: deny (No credentials available for this server): caller passed, delegation passed, server passed, policies passed, credentials refused no_credentials
    no delegation: deny (No valid delegation: the user has not delegated to the agent): caller passed, delegation refused delegation_missing, server passed, policies passed, credentials passed
    the agent alone, no grant: deny (No credentials available for this server): caller passed, server passed, policies passed, credentials refused no_credentials
    a user alone: permit (): caller passed, server passed, policies passed, credentials passed
    another server: deny (The user's delegation does not cover this server): caller passed, delegation passed, server refused delegation_too_narrow, policies passed, credentials passed
    expired: deny (No valid delegation: it has expired): caller passed, delegation refused delegation_missing, server passed, policies passed, credentials passed
    revoked: deny (No valid delegation: it was revoked): caller passed, delegation refused delegation_missing, server passed, policies passed, credentials passed
    forbidden: deny (a policy forbids it): caller passed, delegation passed, server passed, policies refused policy_denied_user, credentials passed
    the server is off: deny (No such server): caller passed, delegation passed, server refused not_found, policies passed, credentials passed
    the user is deactivated: deny (Delegator user is deactivated): caller passed, delegation refused user_inactive, server passed, policies passed, credentials passed
    alone too: deny (The user is deactivated): caller refused user_inactive, server passed, policies passed, credentials passed
    the agent is disabled: deny (The agent account is disabled): caller refused token_revoked, delegation refused delegation_missing, server passed, policies passed, credentials passed
    ");
}

/// The same as a call, whatever is changed.
#[tokio::test]
async fn a_check_decides_as_the_call_does() {
    let it = Permitted::without_policies().await;
    let Scenario { app, alice, bob, bot, .. } = &it.scenario;
    app.policy("agents", "permit(principal is Agent, action, resource);").await;
    app.policy(
        "people",
        r#"permit(principal is User, action, resource) when {
        context.arguments.hasTag("org") && context.arguments.getTag("org") like "acme*" };"#,
    )
    .await;
    let mut seen = Vec::new();
    for org in ["acme", "other"] {
        let arguments = json!({ "org": org });
        let (own, for_bob) = (app.m2m(bot).await, app.obo(bot, bob).await);
        let call = || app.call("demo", "list_repos", &arguments);
        let of = |agent: bool, user: bool| {
            let mut body = json!({ "server_id": "demo", "tool_name": "list_repos", "arguments": arguments });
            if agent {
                body["agent_account_id"] = bot.id.to_string().into();
            }
            if user {
                body["user_id"] = bob.id.to_string().into();
            }
            body
        };
        for (answer, body) in [
            (call().bearer(&own).await, of(true, false)),
            (call().bearer(&for_bob).await, of(true, true)),
            (call().as_user(bob).await, of(false, true)),
        ] {
            let decision = check(app, alice, &body).await.ok().json()["decision"].clone();
            let decided = if answer.status == 200 { "permit" } else { "deny" };
            assert_eq!(decision, decided, "{body} {answer}");
            seen.push(decided);
        }
    }
    assert_eq!(seen, ["permit", "permit", "permit", "permit", "deny", "deny"]);
}

#[tokio::test]
async fn a_user_is_told_about_agents_that_act_for_them_and_of_others_as_little_as_if_there_were_none() {
    let Scenario { app, alice, bob, carol, bot } = Scenario::start().await;
    app.server("demo").await;
    app.policy("bots", "permit(principal is Agent, action, resource);").await;
    let other = app.agent("other", &alice).await;
    let of = |agent: String, user: &User| json!({ "agent_account_id": agent, "user_id": user.id, "server_id": "demo", "tool_name": "t" });
    let own = check(&app, &bob, &of(bot.id.to_string(), &bob)).await;
    assert_snapshot!(told(&own.ok()), @"deny (no policy permits it): caller passed, delegation passed, server passed, policies refused policy_denied_user, credentials passed");
    let unknown = check(&app, &bob, &of(uuid::Uuid::new_v4().to_string(), &bob)).await;
    assert_snapshot!(unknown, @r#"
    200 OK

    {
      "decision": "deny",
      "policies": [],
      "reason": "No valid delegation: the user has not delegated to the agent",
      "steps": [
        {
          "step": "caller",
          "outcome": "skipped"
        },
        {
          "step": "delegation",
          "outcome": "refused",
          "reason": "delegation_missing",
          "text": "No valid delegation: the user has not delegated to the agent"
        },
        {
          "step": "server",
          "outcome": "skipped"
        },
        {
          "step": "policies",
          "outcome": "skipped"
        },
        {
          "step": "credentials",
          "outcome": "skipped"
        }
      ],
      "policies_version": 2
    }
    "#);
    let not_theirs = check(&app, &bob, &of(other.id.to_string(), &bob)).await;
    assert_eq!(not_theirs.json(), unknown.json());
    let disabled = json!({ "active": false });
    app.patch(format!("/api/v1/agent-accounts/{}", other.id)).as_user(&alice).json(&disabled).await.ok();
    assert_eq!(check(&app, &bob, &of(other.id.to_string(), &bob)).await.json(), unknown.json());
    let mut draft = of(bot.id.to_string(), &bob);
    draft["removed"] = json!([]);
    check(&app, &bob, &draft).await.ok();
    draft["policies"] = json!([]);
    let refused = [check(&app, &bob, &of(bot.id.to_string(), &carol)).await, check(&app, &bob, &draft).await];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an auditor, an operator or an admin may do this
    403 Only an auditor, an operator or an admin may do this
    ");
}

#[tokio::test]
async fn resources_and_prompts_are_judged_by_their_own_actions() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    app.policy("files", r#"permit(principal, action == Action::"read_resource", resource) when { resource.name like "file:*" };"#).await;
    app.policy(
        "prompts",
        r#"permit(principal, action == Action::"get_prompt", resource) when {
        context.arguments.hasTag("topic") && context.arguments.getTag("topic") == "tax" };"#,
    )
    .await;
    let ask = async |field: &str, value: &str, arguments: Value| {
        let mut body = json!({ "user_id": bob.id, "server_id": "demo" });
        body[field] = value.into();
        if !arguments.is_null() {
            body["arguments"] = arguments;
        }
        let answer = check(&app, &alice, &body).await;
        if answer.status == 200 { told(&answer) } else { answer.refusal() }
    };
    let lines = [
        ask("resource_uri", "file:///a", Value::Null).await,
        ask("resource_uri", "mail:1", Value::Null).await,
        ask("resource_uri", "file:///a", json!({})).await,
        ask("prompt_name", "p", Value::Null).await,
        ask("prompt_name", "p", json!({ "topic": "tax" })).await,
        ask("prompt_name", "p", json!({ "topic": "law" })).await,
        ask("tool_name", "file:///a", Value::Null).await,
    ];
    assert_snapshot!(lines.join("\n"), @"
    permit (): caller passed, server passed, policies passed, credentials passed
    deny (no policy permits it): caller passed, server passed, policies refused policy_denied_user, credentials passed
    400 arguments: reading a resource has none
    depends (): caller passed, server passed, policies depends, credentials passed
    permit (): caller passed, server passed, policies passed, credentials passed
    deny (no policy permits it): caller passed, server passed, policies refused policy_denied_user, credentials passed
    deny (no policy permits it): caller passed, server passed, policies refused policy_denied_user, credentials passed
    ");
    let none = json!({ "user_id": bob.id, "server_id": "demo" });
    let mut two = none.clone();
    two["tool_name"] = "t".into();
    two["prompt_name"] = "p".into();
    assert_eq!(check(&app, &alice, &none).await.refusal(), check(&app, &alice, &two).await.refusal());
    assert_snapshot!(check(&app, &alice, &two).await.refusal(), @"400 Name one of tool_name, resource_uri and prompt_name");
}

#[tokio::test]
async fn drafts_are_judged_in_place_of_what_is_in_force_or_beside_it_and_nothing_is_stored() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    let all = app.permit_everything().await;
    let before = app.contents();
    let ask = async |more: Value| {
        let mut body = json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t", "arguments": {} });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = check(&app, &alice, &body).await;
        if answer.status == 200 {
            let told = answer.json();
            format!("{} {}", told["decision"], app.shown(&told["policies"].to_string()))
        } else {
            answer.refusal()
        }
    };
    let forbid = "forbid(principal, action, resource);";
    let lines = [
        ask(json!({})).await,
        ask(json!({ "policies": [] })).await,
        ask(json!({ "policies": [{ "text": "permit(principal is User, action, resource);" }] })).await,
        ask(json!({ "added": [{ "text": "permit(principal, action, resource);" }, { "text": forbid }] }))
            .await,
        ask(json!({ "added": [{ "text": forbid, "mode": "log" }] })).await,
        ask(json!({ "added": [{ "id": all, "text": "permit(principal is Agent, action, resource);" }] }))
            .await,
        ask(json!({ "removed": [all] })).await,
        ask(json!({ "removed": [uuid::Uuid::nil()] })).await,
        ask(json!({ "added": [{ "text": forbid }, { "text": "permit(principal, action\n, resorce);" }] }))
            .await,
        ask(json!({ "added": [{ "text": forbid, "colour": 1 }] })).await,
    ];
    assert_snapshot!(lines.join("\n"), @r#"
    "permit" ["[policy everything]"]
    "deny" []
    "permit" ["[uuid]"]
    "deny" ["[uuid]"]
    "permit" ["[policy everything]"]
    "deny" []
    "deny" []
    400 removed[0]: there is no policy [uuid]
    400 added[1].text: line 2, column 3: found an invalid variable in the policy scope: resorce (policy scopes must contain a `principal`, `action`, and `resource` element in that order)
    400 added[0].colour: no such field; the fields here are id, name, text, mode
    "#);
    assert_eq!(app.contents(), before);
}
