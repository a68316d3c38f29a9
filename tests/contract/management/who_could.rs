//! Who could have made a call.

use std::time::{Duration, Instant};

use deputize_core::{
    ids::{AgentAccountId, UserId},
    seed::Seed,
    users::{NewUser, Role},
};
use deputize_tests::{TestApp, TestResponse, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

const WHO_COULD: &str = "/api/v1/policies/who-could";

async fn ask(app: &TestApp, by: &User, body: &Value) -> TestResponse {
    app.post(WHO_COULD).as_user(by).json(body).await
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a whole answer")]
async fn people_agents_and_agents_on_behalf_of_people_are_told_with_the_policies_that_let_them() {
    let Scenario { app, alice, bob, carol, bot } = Scenario::start().await;
    app.server("demo").await;
    app.delegate(&bot, &carol).await;
    app.policy("bots", &format!("permit(principal == Agent::\"{}\", action, resource);", bot.id)).await;
    app.policy(
        "admins",
        r#"permit(principal is User, action, resource) when { principal.role == "admin" };"#,
    )
    .await;
    app.policy(
        "bob",
        &format!(
            r#"permit(principal == User::"{}", action, resource) when {{
        context.arguments.hasTag("org") && context.arguments.getTag("org") == "acme" }};"#,
            bob.id
        ),
    )
    .await;
    app.policy("elsewhere", r#"permit(principal, action, resource in Server::"elsewhere");"#).await;
    let body = json!({ "server_id": "demo", "tool_name": "delete_repo" });
    assert_snapshot!(ask(&app, &alice, &body).await, @r#"
    200 OK

    {
      "people": {
        "count": 2,
        "of": 3,
        "groups": [
          {
            "decision": "permit",
            "policies": [
              "[policy admins]"
            ],
            "count": 1,
            "members": [
              {
                "user_id": "[alice]",
                "user_email": "alice@example.com"
              }
            ]
          },
          {
            "decision": "depends",
            "policies": [],
            "conditions": [
              {
                "policy": "[policy bob]",
                "effect": "permit",
                "of": "user",
                "text": "permit(principal, action, resource) when { context.arguments.hasTag(\"org\") && (context.arguments.getTag(\"org\") == \"acme\") };"
              }
            ],
            "count": 1,
            "members": [
              {
                "user_id": "[bob]",
                "user_email": "bob@example.com"
              }
            ]
          }
        ]
      },
      "agents": {
        "count": 1,
        "of": 1,
        "groups": [
          {
            "decision": "permit",
            "policies": [
              "[policy bots]"
            ],
            "count": 1,
            "members": [
              {
                "agent_account_id": "[bot]",
                "agent_name": "bot"
              }
            ]
          }
        ]
      },
      "on_behalf_of": {
        "count": 1,
        "of": 2,
        "groups": [
          {
            "decision": "depends",
            "policies": [],
            "conditions": [
              {
                "policy": "[policy bob]",
                "effect": "permit",
                "of": "user",
                "text": "permit(principal, action, resource) when { context.arguments.hasTag(\"org\") && (context.arguments.getTag(\"org\") == \"acme\") };"
              }
            ],
            "count": 1,
            "members": [
              {
                "agent_account_id": "[bot]",
                "agent_name": "bot",
                "user_id": "[bob]",
                "user_email": "bob@example.com"
              }
            ]
          }
        ]
      },
      "policies_version": 5,
      "notes": []
    }
    "#);
    let mut with = body.clone();
    with["arguments"] = json!({ "org": "other" });
    let counts = ask(&app, &alice, &with).await.ok().json();
    assert_eq!(
        [&counts["people"]["count"], &counts["agents"]["count"], &counts["on_behalf_of"]["count"]],
        [&json!(1), &json!(1), &json!(0)]
    );
}

/// What is told at once is what is told of each.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "the cases")]
async fn it_is_the_same_as_to_ask_about_each() {
    let Scenario { app, alice, bob, carol, bot } = Scenario::start().await;
    app.server("demo").await;
    app.server("other").await;
    let dora = app.user("dora").in_group("staff").await;
    let gone = app.user("gone").in_group("staff").await;
    let helper = app.agent("helper", &bob).await;
    let off = app.agent("off", &bob).await;
    let people = [&alice, &bob, &carol, &dora, &gone];
    let agents = [&bot, &helper, &off];
    for agent in agents {
        for user in [&alice, &dora, &gone] {
            app.delegate(agent, user).await;
        }
    }
    let narrow = deputize_core::delegations::NewDelegation {
        server_ids: Some(vec!["other".parse().unwrap()]),
        expires_at: None,
    };
    app.delegate_some(&helper, &carol, narrow).await;
    let set = async |path: String, body: Value| app.patch(path).as_user(&alice).json(&body).await.ok();
    set(format!("/api/v1/users/{}", gone.id), json!({ "active": false })).await;
    set(format!("/api/v1/agent-accounts/{}", off.id), json!({ "active": false })).await;
    set(format!("/api/v1/agent-accounts/{}", bot.id), json!({ "groups": ["bots"] })).await;
    let sets: [&[&str]; 6] = [
        &["permit(principal, action, resource);"],
        &[
            r#"permit(principal in Group::"staff", action, resource);"#,
            "permit(principal is Agent, action, resource);",
        ],
        &[
            "permit(principal, action, resource);",
            r#"forbid(principal is User, action, resource) when { principal has email && principal.email like "bob@*" };"#,
            &format!(
                r#"forbid(principal is Agent, action, resource) when {{ principal.owner_id == "{}" }};"#,
                bob.id
            ),
        ],
        &[
            "permit(principal is User, action, resource);",
            r#"permit(principal in Group::"bots", action, resource) when {
                context has on_behalf_of && context.on_behalf_of in Group::"staff" };"#,
            r#"permit(principal is Agent, action, resource) when {
                context has on_behalf_of && context.on_behalf_of.role == "admin" && context.integers.hasTag("n") &&
                context.integers.getTag("n") < 5 };"#,
        ],
        &[
            "permit(principal, action, resource);",
            &format!(
                r#"forbid(principal, action, resource) when {{ User::"{}" in Group::"staff" }};"#,
                dora.id
            ),
        ],
        &[r#"permit(principal is User, action, resource) when {
            principal has email && principal.email == "alice@example.com" };"#],
    ];
    for (n, texts) in sets.iter().enumerate() {
        let mut ids = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            ids.push(app.policy(&format!("{n} {at}"), text).await);
        }
        for arguments in [None, Some(json!({ "n": 3 })), Some(json!({ "n": 7 }))] {
            let call = |agent: Option<AgentAccountId>, user: Option<UserId>| {
                let mut body = json!({ "server_id": "demo", "tool_name": "t" });
                if let Some(arguments) = &arguments {
                    body["arguments"] = arguments.clone();
                }
                for (field, id) in [
                    ("agent_account_id", agent.map(|id| id.to_string())),
                    ("user_id", user.map(|id| id.to_string())),
                ] {
                    if let Some(id) = id {
                        body[field] = id.into();
                    }
                }
                body
            };
            let mut each = Vec::new();
            let alone = people.iter().map(|user| (None, Some(user.id)));
            let by_themselves = agents.iter().map(|agent| (Some(agent.id), None));
            let both =
                agents.iter().flat_map(|agent| people.iter().map(|user| (Some(agent.id), Some(user.id))));
            for (agent, user) in alone.chain(by_themselves).chain(both) {
                let told = app
                    .post("/api/v1/policies/check")
                    .as_user(&alice)
                    .json(&call(agent, user))
                    .await
                    .ok()
                    .json();
                if told["decision"] != "deny" {
                    let by =
                        if told["decision"] == "permit" { &told["policies"] } else { &told["conditions"] };
                    let id = |field: &str| call(agent, user)[field].as_str().unwrap_or_default().to_owned();
                    each.push(format!(
                        "{} {} {} {by}",
                        id("agent_account_id"),
                        id("user_id"),
                        told["decision"]
                    ));
                }
            }
            let at_once = ask(&app, &alice, &call(None, None)).await.ok().json();
            let mut all = Vec::new();
            for kind in ["people", "agents", "on_behalf_of"] {
                for group in at_once[kind]["groups"].as_array().unwrap() {
                    let by =
                        if group["decision"] == "permit" { &group["policies"] } else { &group["conditions"] };
                    for member in group["members"].as_array().unwrap() {
                        let id = |field: &str| member[field].as_str().unwrap_or_default().to_owned();
                        all.push(format!(
                            "{} {} {} {by}",
                            id("agent_account_id"),
                            id("user_id"),
                            group["decision"]
                        ));
                    }
                }
            }
            each.sort();
            all.sort();
            assert_eq!(all, each, "{texts:?} {arguments:?}");
        }
        for id in ids {
            app.delete(format!("/api/v1/policies/{id}")).as_user(&alice).await;
        }
    }
}

#[tokio::test]
async fn those_who_could_are_named_in_pages() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.server("demo").await;
    app.permit_everything().await;
    for n in 0..7 {
        app.user(&format!("user{n}")).await;
    }
    let (mut named, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut body = json!({ "server_id": "demo", "tool_name": "t", "limit": 4 });
        if !cursor.is_null() {
            body["cursor"] = cursor;
        }
        let page = ask(&app, &alice, &body).await.ok().json();
        let people = &page["people"];
        assert_eq!(people["count"], 10);
        named.extend(people["groups"][0]["members"].as_array().unwrap().clone());
        cursor = people["next"].clone();
        if cursor.is_null() {
            assert_eq!((&page["agents"], &page["on_behalf_of"]), (&Value::Null, &Value::Null));
            break;
        }
    }
    assert_eq!(named.len(), 10);
    let mut ids: Vec<_> = named.iter().map(|member| member["user_id"].to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    let refused = [
        ask(&app, &alice, &json!({ "server_id": "demo", "tool_name": "t", "limit": 1001 })).await,
        ask(&app, &alice, &json!({ "server_id": "demo", "tool_name": "t", "cursor": "AAAA" })).await,
        ask(&app, &alice, &json!({ "server_id": "demo" })).await,
        ask(&app, &alice, &json!({ "server_id": "nowhere", "tool_name": "t" })).await,
    ];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    400 limit must be from 1 to 1000
    400 cursor is not one of this list
    400 Name one of tool_name, resource_uri and prompt_name
    404 No such server
    ");
}

#[tokio::test]
async fn only_who_may_read_everything_is_told_who_could() {
    let Scenario { app, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    let refused = ask(&app, &bob, &json!({ "server_id": "demo", "tool_name": "t" })).await;
    assert_snapshot!(refused.refusal(), @"403 Only an auditor, an operator or an admin may do this");
}

#[tokio::test]
async fn a_server_that_is_off_takes_no_calls_and_one_with_oauth_is_told_of() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.server("chat").oauth().await;
    app.permit_everything().await;
    let body = json!({ "server_id": "chat", "tool_name": "t" });
    let off = json!({ "active": false });
    app.patch("/api/v1/servers/chat").as_user(&alice).json(&off).await.ok();
    assert_snapshot!(ask(&app, &alice, &body).await, @r#"
    200 OK

    {
      "people": {
        "count": 0,
        "of": 3,
        "groups": []
      },
      "agents": {
        "count": 0,
        "of": 1,
        "groups": []
      },
      "on_behalf_of": {
        "count": 0,
        "of": 1,
        "groups": []
      },
      "policies_version": 2,
      "notes": [
        "The server is deactivated: it takes no calls",
        "The server asks for OAuth. Whether somebody is connected is not looked at: ask policies/check"
      ]
    }
    "#);
}

/// 20,000 people, a twentieth as many agents, and a delegation of each and some more; or `WHO_COULD_PEOPLE` people. To make
/// them takes longest: `--ignored --nocapture`.
#[tokio::test]
#[ignore = "it measures, and takes minutes"]
async fn twenty_thousand_people_are_decided_in_seconds() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.server("demo").await;
    let people: usize = std::env::var("WHO_COULD_PEOPLE").map_or(20_000, |people| people.parse().unwrap());
    plant(&app, people).await;
    for round in ["first", "second", "by email"] {
        if round == "by email" {
            let text = r#"forbid(principal is User, action, resource) when {
                principal has email && principal.email like "*7@acme.example" };"#;
            let mut seed = Seed::new(&app.core);
            seed.policy("by email", text).unwrap();
            seed.plant().await.unwrap();
        }
        let (began, used) = (Instant::now(), processor_time());
        let body = json!({ "server_id": "demo", "tool_name": "delete_repo" });
        let (answer, cost) = app.round_trips(ask(&app, &alice, &body)).await;
        let told = answer.ok().json();
        eprintln!(
            "{round}: {:?}, of the processor {:?}, {cost:?}; people {} of {}, agents {}, on behalf {} of {}",
            began.elapsed(),
            processor_time().saturating_sub(used),
            told["people"]["count"],
            told["people"]["of"],
            told["agents"]["count"],
            told["on_behalf_of"]["count"],
            told["on_behalf_of"]["of"],
        );
        assert_eq!(told["people"]["of"], people + 3);
    }
}

/// What this process has used of the processor, so that a busy machine does not show. In ticks of 10 ms (proc(5)).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// People in forty teams, agents, delegations, and 141 policies: one of agents, one of each team, and others that are about
/// other tools.
async fn plant(app: &TestApp, people: usize) {
    let mut users = Vec::new();
    for some in (0..people).collect::<Vec<_>>().chunks(30) {
        let mut seed = Seed::new(&app.core);
        for n in some {
            let groups = vec![format!("team{}", n % 40), "staff".to_owned()];
            let email = Some(format!("p{n}@acme.example").parse().unwrap());
            users.push(
                seed.user(NewUser { email, name: None, role: Role::User, groups, identity: None })
                    .unwrap()
                    .id,
            );
        }
        seed.plant().await.unwrap();
    }
    let mut agents = Vec::new();
    for some in (0..people / 20).collect::<Vec<_>>().chunks(30) {
        let mut seed = Seed::new(&app.core);
        agents.extend(some.iter().map(|n| seed.agent(&format!("agent {n}"), users[*n]).unwrap().0.id));
        seed.plant().await.unwrap();
    }
    for some in (0..people + people / 20).collect::<Vec<_>>().chunks(30) {
        let mut seed = Seed::new(&app.core);
        for n in some {
            seed.delegation(agents[(n + n / people) % agents.len()], users[n % people]).unwrap();
        }
        seed.plant().await.unwrap();
    }
    let teams = (0..40).map(|team| {
        format!(
            r#"permit(principal in Group::"team{team}", action, resource in Server::"demo") when {{
            context.arguments.hasTag("org") && context.arguments.getTag("org") like "{team}*" }};"#
        )
    });
    let others = (0..100).map(|n| {
        format!(r#"permit(principal in Group::"staff", action, resource == Tool::"other/tool{n}");"#)
    });
    let texts: Vec<String> =
        teams.chain(others).chain(["permit(principal is Agent, action, resource);".to_owned()]).collect();
    for some in texts.chunks(50) {
        let mut seed = Seed::new(&app.core);
        for text in some {
            seed.policy(text, text).unwrap();
        }
        seed.plant().await.unwrap();
    }
}
