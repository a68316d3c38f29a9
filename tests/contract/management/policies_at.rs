//! What a call would have said at an earlier time, and who could have made it then.

use std::time::Duration;

use deputize_core::{clock::Timestamp, retention::Retention};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

const CHECK: &str = "/api/v1/policies/check";
const WHO_COULD: &str = "/api/v1/policies/who-could";

/// Everything that decides is changed, one after the other, and each earlier time is told as it was.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn each_change_is_undone_for_a_time_before_it() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    app.server("demo").await;
    let mut times: Vec<(&str, Timestamp)> = Vec::new();
    let mut mark = |what: &'static str| {
        app.pass(Duration::from_mins(1));
        times.push((what, app.now()));
        app.pass(Duration::from_mins(1));
    };
    let patch = async |path: String, body: Value| app.patch(path).as_user(&alice).json(&body).await.ok();
    mark("nothing is permitted");
    let staff =
        json!({ "name": "staff", "text": "permit(principal in Group::\"staff\", action, resource);" });
    let staff = app.post("/api/v1/policies").as_user(&alice).json(&staff).await.ok().field("id");
    let agents = json!({ "name": "agents", "text": "permit(principal is Agent, action, resource);" });
    let agents = app.post("/api/v1/policies").as_user(&alice).json(&agents).await.ok().field("id");
    mark("bob is not in staff");
    patch(format!("/api/v1/users/{}", bob.id), json!({ "groups": ["staff"] })).await;
    mark("permitted");
    let text = "permit(principal is Agent, action, resource in Server::\"other\");";
    let narrow = json!({ "name": "agents", "text": text });
    app.put(format!("/api/v1/policies/{agents}")).as_user(&alice).json(&narrow).await.ok();
    mark("the agent's policy is about another server");
    let wide = json!({ "name": "agents", "text": "permit(principal is Agent, action, resource);" });
    app.put(format!("/api/v1/policies/{agents}")).as_user(&alice).json(&wide).await.ok();
    mark("permitted again");
    app.delete(format!("/api/v1/policies/{staff}")).as_user(&alice).await;
    mark("staff's policy is deleted");
    let back = json!({ "name": "staff", "text": "permit(principal is User, action, resource);" });
    app.post("/api/v1/policies").as_user(&alice).json(&back).await.ok();
    let delegations = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    let first = app.get(&delegations).as_user(&bob).await.ok().json()[0]["id"].as_str().unwrap().to_owned();
    app.delete(format!("/api/v1/delegations/{first}")).as_user(&bob).await;
    mark("the delegation is revoked");
    let narrow = json!({ "server_ids": ["demo"] });
    app.post(&delegations).as_user(&bob).json(&narrow).await.ok();
    mark("delegated again");
    patch("/api/v1/servers/demo".to_owned(), json!({ "active": false })).await;
    mark("the server is off");
    patch("/api/v1/servers/demo".to_owned(), json!({ "active": true })).await;
    patch(format!("/api/v1/agent-accounts/{}", bot.id), json!({ "active": false })).await;
    mark("the agent is disabled");
    patch(format!("/api/v1/agent-accounts/{}", bot.id), json!({ "active": true })).await;
    patch(format!("/api/v1/users/{}", bob.id), json!({ "active": false, "groups": [] })).await;

    let mut lines = Vec::new();
    for (what, at) in &times {
        let body = json!({ "agent_account_id": bot.id, "user_id": bob.id, "server_id": "demo", "tool_name": "t", "at": at });
        let told = app.post(CHECK).as_user(&alice).json(&body).await.ok().json();
        let body = json!({ "server_id": "demo", "tool_name": "t", "at": at });
        let who = app.post(WHO_COULD).as_user(&alice).json(&body).await.ok().json();
        lines.push(format!(
            "{what}: {} {}; people {}, agents {}, on behalf {}",
            told["decision"],
            told["reason"],
            who["people"]["count"],
            who["agents"]["count"],
            who["on_behalf_of"]["count"],
        ));
    }
    assert_snapshot!(lines.join("\n"), @r#"
    nothing is permitted: "deny" "no policy permits it"; people 0, agents 0, on behalf 0
    bob is not in staff: "deny" "no policy permits it"; people 0, agents 1, on behalf 0
    permitted: "permit" null; people 1, agents 1, on behalf 1
    the agent's policy is about another server: "deny" "no policy permits it"; people 1, agents 0, on behalf 0
    permitted again: "permit" null; people 1, agents 1, on behalf 1
    staff's policy is deleted: "deny" "no policy permits it"; people 0, agents 1, on behalf 0
    the delegation is revoked: "deny" "No valid delegation: it was revoked"; people 3, agents 1, on behalf 0
    delegated again: "permit" null; people 3, agents 1, on behalf 1
    the server is off: "deny" "No such server"; people 0, agents 0, on behalf 0
    the agent is disabled: "deny" "The agent account is disabled"; people 3, agents 0, on behalf 0
    "#);
    let body = json!({ "agent_account_id": bot.id, "user_id": bob.id, "server_id": "demo", "tool_name": "t", "at": times[2].1 });
    app.call_it("staff", staff);
    app.call_it("agents", agents);
    let mut told = app.post(CHECK).as_user(&alice).json(&body).await.ok().json();
    // Ids are random, and so is their order.
    told["policies"].as_array_mut().unwrap().sort_by_key(|id| app.shown(id.as_str().unwrap()));
    assert_snapshot!(app.shown(&serde_json::to_string_pretty(&told).unwrap()), @r#"
    {
      "decision": "permit",
      "policies": [
        "[agents]",
        "[staff]"
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
          "outcome": "skipped"
        }
      ],
      "policies_version": 3,
      "notes": [
        "Connections, session grants, and what users allowed apps are not known of an earlier time",
        "Delegations that had ended, and have been removed since, are not known any more"
      ]
    }
    "#);
}

#[tokio::test]
async fn who_was_not_there_yet_could_not_and_what_was_long_ago_is_not_known() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.server("demo").await;
    app.permit_everything().await;
    app.pass(Duration::from_mins(1));
    let before = app.now();
    app.pass(Duration::from_mins(1));
    let new = json!({ "email": "new@example.com" });
    let new = app.post("/api/v1/users").as_user(&alice).json(&new).await.ok().field("id");
    let ask = |at: Value| json!({ "user_id": new, "server_id": "demo", "tool_name": "t", "at": at });
    let check = async |by: &deputize_tests::User, at: Value| app.post(CHECK).as_user(by).json(&ask(at)).await;
    check(&alice, json!(app.now())).await.ok();
    let days = Retention::default().audit.unwrap();
    let long_ago = before.minus(Duration::from_hours(24 * u64::from(days)));
    let refused = [
        check(&alice, json!(before)).await,
        check(&alice, json!(long_ago)).await,
        check(&alice, json!(app.now().plus(Duration::from_secs(1)))).await,
        check(&alice, json!("yesterday")).await,
        check(&bob, json!(before)).await,
    ];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    404 No such user
    400 at: the audit trail is kept for 400 days, so nothing is known of a time before
    400 at must not be in the future
    400 at: must be a date and time as in RFC 3339, such as 2026-11-25T09:30:00Z
    403 Only an auditor, an operator or an admin may do this
    ");
}
