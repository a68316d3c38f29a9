//! Changing policies: their names, what they name, policies that are only recorded, and what a change would change.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{proxy::Permitted, scenario::Scenario};

const PERMIT: &str = "permit(principal, action, resource);";

#[tokio::test]
async fn no_two_policies_have_one_name_also_if_both_are_made_at_once() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let make = |name: &str| {
        let body = json!({ "name": name, "text": PERMIT });
        app.post("/api/v1/policies").as_user(&alice).json(&body)
    };
    let (one, two) = futures::join!(async { make("same").await }, async { make("same").await });
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let first = if one.status == 201 { &one } else { &two };
    app.call_it("policy", first.field("id"));
    assert_snapshot!(make("same").await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "name: the policy [policy] has this name; change that one, or choose another name",
      "detail": "name: the policy [policy] has this name; change that one, or choose another name",
      "reason": "already_exists",
      "conflict": {
        "kind": "policy",
        "id": "[policy]"
      }
    }
    "#);
    let other = make("other").await.ok().field("id");
    let path = format!("/api/v1/policies/{other}");
    let rename = |name: &str| app.put(&path).as_user(&alice).json(&json!({ "name": name, "text": PERMIT }));
    assert_snapshot!(rename("same").await.refusal(), @"409 name: the policy [policy] has this name; change that one, or choose another name");
    rename("other").await.ok();
    rename("free").await.ok();
    make("other").await.ok();
}

#[tokio::test]
async fn policies_that_have_one_name_from_before_can_be_changed_as_long_as_they_keep_it() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.policy("same", PERMIT).await;
    app.policy("same", "forbid(principal, action, resource);").await;
    let all = app.get("/api/v1/policies").as_user(&alice).await.ok().json();
    let id = all[1]["id"].as_str().unwrap();
    let put = |name: &str| {
        app.put(format!("/api/v1/policies/{id}"))
            .as_user(&alice)
            .json(&json!({ "name": name, "text": PERMIT }))
    };
    put("same").await.ok();
    put("another").await.ok();
    assert_eq!(put("same").await.status, 409);
}

#[tokio::test]
async fn what_a_policy_names_that_does_not_exist_is_a_warning_and_no_error() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let named = [
        format!("Agent::\"{}\"", bot.id),
        format!("User::\"{}\"", bob.id),
        r#"Agent::"bot""#.to_owned(),
        r#"User::"00000000-0000-4000-8000-000000000001""#.to_owned(),
        r#"Agent::"00000000-0000-4000-8000-000000000002""#.to_owned(),
        r#"Group::"nobody""#.to_owned(),
    ];
    let named: Vec<_> = named.iter().map(|entity| format!("principal in {entity}")).collect();
    let text = format!(
        r#"permit(principal, action, resource) when {{ ({}) &&
            (resource in [Server::"demo", Server::"dmo"] || resource == Tool::"dem/t" || resource == Tool::"demo/t" ||
             resource == Resource::"nowhere" || resource == Prompt::"demo/p") }};"#,
        named.join(" || ")
    );
    let made = app.post("/api/v1/policies").as_user(&alice).json(&json!({ "name": "p", "text": text })).await;
    assert_eq!(made.status, 201, "{made}");
    assert_snapshot!(serde_json::to_string_pretty(&made.json()["warnings"]).unwrap(), @r#"
    [
      {
        "entity": "Agent::\"00000000-0000-4000-8000-000000000002\"",
        "warning": "there is no such agent account"
      },
      {
        "entity": "Agent::\"bot\"",
        "warning": "an agent account's id is a UUID"
      },
      {
        "entity": "Resource::\"nowhere\"",
        "warning": "its id begins with a server's id and a slash"
      },
      {
        "entity": "Server::\"dmo\"",
        "warning": "there is no such server"
      },
      {
        "entity": "Tool::\"dem/t\"",
        "warning": "there is no such server"
      },
      {
        "entity": "User::\"00000000-0000-4000-8000-000000000001\"",
        "warning": "there is no such user"
      }
    ]
    "#);
    let path = format!("/api/v1/policies/{}", made.field("id"));
    assert_eq!(app.get(&path).as_user(&alice).await.ok().json()["warnings"], Value::Null);
    let put = async || app.put(&path).as_user(&alice).json(&json!({ "name": "p", "text": text })).await;
    let (put, cost) = app.round_trips(put()).await;
    assert_eq!(put.ok().json()["warnings"], made.json()["warnings"]);
    let reads = cost.iter().find(|(kind, _)| *kind == "BatchGetItem").unwrap();
    assert_eq!(reads.1, 3, "the caller, the versions, and all that the policy names");
}

#[tokio::test]
async fn a_tool_that_is_not_among_those_that_an_admin_approved_is_a_warning() {
    let it = Permitted::set().await;
    let Scenario { app, alice, .. } = &it.scenario;
    app.put("/api/v1/proxy/demo/approved-tools").as_user(alice).await.ok();
    let text = r#"permit(principal, action, resource in [Tool::"demo/list_repos", Tool::"demo/del_repo"]);"#;
    let text = text.replace("resource in", "resource) when { resource in").replace("]);", "] };");
    let made = app.post("/api/v1/policies").as_user(alice).json(&json!({ "name": "p", "text": text })).await;
    assert_snapshot!(made.json()["warnings"], @r#"[{"entity":"Tool::\"demo/del_repo\"","warning":"no tool of this name is among the server's approved tools"}]"#);
}

#[tokio::test]
async fn a_policy_in_mode_log_is_recorded_and_never_enforced() {
    let it = Permitted::set().await;
    let Scenario { app, alice, bob, bot, .. } = &it.scenario;
    let forbid = r#"forbid(principal is User, action, resource) when {
        context.arguments.hasTag("org") && context.arguments.getTag("org") == "acme" };"#;
    let body = json!({ "name": "watch", "text": forbid, "mode": "log" });
    let made = app.post("/api/v1/policies").as_user(alice).json(&body).await;
    app.call_it("watched", made.field("id"));
    assert_snapshot!(made, @r#"
    201 Created

    {
      "id": "[watched]",
      "name": "watch",
      "text": "forbid(principal is User, action, resource) when {\n        context.arguments.hasTag(\"org\") && context.arguments.getTag(\"org\") == \"acme\" };",
      "mode": "log",
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    let path = format!("/api/v1/policies/{}", made.field("id"));
    assert_eq!(app.get(&path).as_user(alice).await.ok().json(), made.json());
    assert_eq!(app.get("/api/v1/policies").as_user(alice).await.ok().json().as_array().unwrap().len(), 2);

    let token = app.obo(bot, bob).await;
    let call = |org: &str| app.call("demo", "list_repos", &json!({ "org": org })).bearer(&token);
    let (answer, cost) = app.round_trips(async { call("acme").await.ok() }).await;
    assert_eq!(cost.iter().filter(|(kind, _)| *kind == "BatchWriteItem").count(), 1);
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    logged: {"decision":"deny","policies":["[watched]"],"reason":"a policy forbids it"}
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
    let (_, cost) = app.round_trips(async { call("acme").await.ok() }).await;
    assert_eq!(cost, [("BatchGetItem", 1), ("BatchWriteItem", 1)]);
    assert_snapshot!(app.event_of(&call("other").await.ok()), @r#"
    action: "tool.call"
    arguments_sha256: "6f056bb43d49cfdf55003880855cae4b3ad2882d2b3ca35267a6e7ae1764b67c"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
    let tools = app.get("/api/v1/proxy/demo/tools").bearer(&token).await.ok().json();
    assert!(!tools["tools"].as_array().unwrap().is_empty());

    // Enforced from the next call on; the mode stays if it is left out.
    let change =
        async |body: Value| app.put(&path).as_user(alice).json(&body).await.ok().json()["mode"].clone();
    assert_eq!(change(json!({ "name": "watch", "text": forbid })).await, "log");
    assert_eq!(change(json!({ "name": "watch", "text": forbid, "mode": "enforce" })).await, "enforce");
    assert_snapshot!(call("acme").await.refusal(), @"403 Policy denied");
    assert_eq!(change(json!({ "name": "watch", "text": forbid })).await, "enforce");
    assert_eq!(change(json!({ "name": "watch", "text": forbid, "mode": "log" })).await, "log");
    call("acme").await.ok();
    assert_snapshot!(app.delete(&path).as_user(alice).await, @"204 No Content");
    assert_snapshot!(app.event_of(&call("acme").await.ok()), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "list_repos"
    "#);
}

#[tokio::test]
async fn a_permission_in_mode_log_gives_nothing_and_says_what_it_would_give() {
    let it = Permitted::without_policies().await;
    let Scenario { app, alice, bob, .. } = &it.scenario;
    let body = json!({ "name": "trial", "text": PERMIT, "mode": "log" });
    let made = app.post("/api/v1/policies").as_user(alice).json(&body).await.ok();
    app.call_it("trial", made.field("id"));
    let denied = app.call("demo", "list_repos", &json!({ "org": "acme" })).as_user(bob).await;
    assert_snapshot!(denied.refusal(), @"403 Policy denied");
    assert_snapshot!(app.event_of(&denied), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "Policy denied for the user: no policy permits it"
    logged: {"decision":"permit","policies":["[trial]"]}
    outcome: "denied"
    tool: "list_repos"
    "#);
    let path = format!("/api/v1/audit-events?user_id={}", bob.id);
    let events = app.get(path).as_user(alice).await.ok().json();
    let call = events.as_array().unwrap().iter().find(|event| event["action"] == "tool.call").unwrap();
    assert_eq!(call["logged"]["decision"], "permit");
    let check = json!({ "user_id": bob.id, "server_id": "demo", "tool_name": "t", "arguments": {} });
    let told = app.post("/api/v1/policies/check").as_user(alice).json(&check).await.ok().json();
    assert_eq!((&told["decision"], &told["logged"]["decision"]), (&json!("deny"), &json!("permit")));
}

/// A process of a version from before the mode reads the policies under their key of before, and the digest of these.
#[tokio::test]
async fn a_policy_in_mode_log_is_nowhere_that_a_process_of_before_looks() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.permit_everything().await;
    let policies = |app: &deputize_tests::TestApp| {
        let contents = app.contents();
        let of_before: Vec<_> =
            contents.keys().filter(|key| key.starts_with("POLICIES POLICY#")).cloned().collect();
        (of_before, contents["CONTROL#0 CONTROL"]["policies_digest"].clone())
    };
    let before = policies(&app);
    let body = json!({ "name": "watch", "text": "forbid(principal, action, resource);", "mode": "log" });
    app.post("/api/v1/policies").as_user(&alice).json(&body).await.ok();
    assert_eq!(policies(&app), before);
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_for_the_last_calls_and_changes_nothing() {
    let it = Permitted::set().await;
    let Scenario { app, alice, bob, carol, bot } = &it.scenario;
    let all =
        app.get("/api/v1/policies").as_user(alice).await.ok().json()[0]["id"].as_str().unwrap().to_owned();
    let (own, for_bob) = (app.m2m(bot).await, app.obo(bot, bob).await);
    for _ in 0..3 {
        app.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&for_bob).await.ok();
    }
    app.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&own).await.ok();
    app.call("demo", "delete_repo", &json!({ "org": "acme", "repo": "website" })).as_user(carol).await.ok();
    let before = app.contents();
    let forbid = r#"forbid(principal is User, action, resource == Tool::"demo/list_repos");"#;
    let body = json!({ "name": "no lists", "text": forbid });
    let run = app.post("/api/v1/policies?dry_run=true").as_user(alice).json(&body).await;
    assert_snapshot!(run, @r#"
    200 OK

    {
      "calls": 5,
      "from": "2026-01-15T09:00:00.000Z",
      "to": "2026-01-15T09:00:00.000Z",
      "more": false,
      "changed": [
        {
          "agent_account_id": "[bot]",
          "user_id": "[bob]",
          "server_id": "demo",
          "tool_name": "list_repos",
          "calls": 3,
          "before": {
            "decision": "permit",
            "policies": [
              "[policy everything]"
            ]
          },
          "after": {
            "decision": "deny",
            "policies": [
              "[uuid]"
            ],
            "denied_for": "user",
            "reason": "a policy forbids it"
          }
        }
      ],
      "changed_calls": 3,
      "unchanged_calls": 2,
      "not_judged_calls": 0,
      "policies_version": 2
    }
    "#);
    let by_arguments = json!({ "name": "everything", "text": r#"permit(principal, action, resource)
        unless { context.arguments.hasTag("repo") };"# });
    let run =
        app.put(format!("/api/v1/policies/{all}?dry_run=true")).as_user(alice).json(&by_arguments).await.ok();
    let run = run.json();
    let line = |changed: &Value| {
        app.shown(&format!(
            "{} {} {} -> {}",
            changed["tool_name"],
            changed["calls"],
            changed["before"]["decision"],
            changed["after"]["decision"]
        ))
    };
    let lines: Vec<_> = run["changed"].as_array().unwrap().iter().map(line).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    "list_repos" 3 "permit" -> "depends"
    "delete_repo" 1 "permit" -> "depends"
    "list_repos" 1 "permit" -> "depends"
    "#);
    let run = app.delete(format!("/api/v1/policies/{all}?dry_run=true")).as_user(alice).await.ok().json();
    assert_eq!((&run["changed_calls"], &run["unchanged_calls"]), (&json!(5), &json!(0)));
    let watched = json!({ "name": "no lists", "text": forbid, "mode": "log" });
    let run = app.post("/api/v1/policies?dry_run=true").as_user(alice).json(&watched).await.ok().json();
    assert_eq!((&run["changed_calls"], &run["unchanged_calls"]), (&json!(0), &json!(5)));

    let refused = [
        app.post("/api/v1/policies?dry_run=true")
            .as_user(alice)
            .json(&json!({ "name": "everything", "text": PERMIT }))
            .await,
        app.post("/api/v1/policies?dry_run=true")
            .as_user(alice)
            .json(&json!({ "name": "x", "text": "permit" }))
            .await,
        app.delete(format!("/api/v1/policies/{}?dry_run=true", bob.id)).as_user(alice).await,
        app.post("/api/v1/policies?dry_run=perhaps").as_user(alice).json(&body).await,
        app.post("/api/v1/policies?dry_run=true").as_user(bob).json(&body).await,
    ];
    app.call_it("policy", all);
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    409 name: the policy [policy everything] has this name; change that one, or choose another name
    400 text: line 1, column 7: unexpected end of input
    404 No such policy
    400 dry_run: must be true or false
    403 Only an auditor, an operator or an admin may do this
    ");
    assert_eq!(app.contents(), before);
}
