//! A person, an agent, a server at a glance: who acts for them, who may act there, whose credentials, which policies.

use std::{future::IntoFuture, time::Duration};

use deputize_core::{
    delegations::NewDelegation,
    table::{Key, Partition},
};
use deputize_tests::{AllowedApp, TestApp, User, allowed_apps::CLIENT_ID};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{grants::Connected, scenario::Scenario};

/// A field of each item of a list, sorted.
async fn each(app: &TestApp, user: &User, path: &str, field: &str) -> Vec<String> {
    let list = app.get(path).as_user(user).await.ok().json();
    let text =
        |item: &Value| item[field].as_str().unwrap_or_else(|| panic!("no {field} in {item}")).to_owned();
    let mut texts: Vec<String> = list.as_array().unwrap().iter().map(text).collect();
    texts.sort();
    texts
}

fn only(server: &str) -> NewDelegation {
    NewDelegation { server_ids: Some(vec![server.parse().unwrap()]), expires_at: None }
}

/// Agents that act for Bob: `bot` everywhere, `helper` at a server for an hour, and one by an app. The first is stopped, and
/// his delegation to one more is revoked.
async fn acting_for_bob() -> (Scenario, AllowedApp) {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, bot, .. } = &scenario;
    app.server("demo").await;
    let helper = app.agent("helper", alice).await;
    let expiring =
        NewDelegation { expires_at: Some(app.now().plus(Duration::from_hours(1))), ..only("demo") };
    app.delegate_some(&helper, bob, expiring).await;
    let by_app = app.agent("by an app", alice).await;
    let allowed = app.allow_management(bob).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", by_app.id);
    let made = app.post(path).bearer(&allowed.token).json(&json!({})).await.ok();
    app.call_it("the app's delegation", made.field("id"));
    app.call_it("the authorization", allowed.authorization.id.to_string());
    let over = app.agent("over", alice).await;
    let revoked = app.delegate(&over, bob).await;
    app.delete(format!("/api/v1/delegations/{revoked}")).as_user(bob).await.ok();
    app.patch(format!("/api/v1/agent-accounts/{}", bot.id))
        .as_user(alice)
        .json(&json!({ "active": false }))
        .await
        .ok();
    (scenario, allowed)
}

#[tokio::test]
async fn all_agents_that_act_for_a_user_are_one_page() {
    let (Scenario { app, alice, bob, .. }, _) = acting_for_bob().await;
    let path = format!("/api/v1/users/{}/agents", bob.id);
    let (page, cost) = app.round_trips(app.get(&path).as_user(&alice).into_future()).await;
    // One of the two reads is of the caller's credential.
    assert_eq!(cost, [("BatchGetItem", 2), ("Query", 1)]);
    let mut items = page.ok().json();
    items.as_array_mut().unwrap().sort_by_key(|agent| agent["name"].as_str().unwrap().to_owned());
    assert_snapshot!(app.shown(&serde_json::to_string_pretty(&items).unwrap()), @r#"
    [
      {
        "id": "[bot]",
        "name": "bot",
        "active": false,
        "delegation": {
          "id": "[bob's delegation]",
          "agent_account_id": "[bot]",
          "delegator_user_id": "[bob]",
          "delegator_email": "bob@example.com",
          "is_active": true,
          "server_ids": null,
          "expires_at": null,
          "created_at": "2026-01-15T09:00:00.000Z",
          "revoked_at": null
        },
        "made_by": null
      },
      {
        "id": "[by an app]",
        "name": "by an app",
        "active": true,
        "delegation": {
          "id": "[the app's delegation]",
          "agent_account_id": "[by an app]",
          "delegator_user_id": "[bob]",
          "delegator_email": "bob@example.com",
          "is_active": true,
          "server_ids": null,
          "expires_at": null,
          "created_at": "2026-01-15T09:00:00.000Z",
          "revoked_at": null
        },
        "made_by": {
          "client_id": "https://client.example/app.json",
          "host": "client.example",
          "authorization_id": "[the authorization]"
        }
      },
      {
        "id": "[helper]",
        "name": "helper",
        "active": true,
        "delegation": {
          "id": "[bob's delegation]",
          "agent_account_id": "[helper]",
          "delegator_user_id": "[bob]",
          "delegator_email": "bob@example.com",
          "is_active": true,
          "server_ids": [
            "demo"
          ],
          "expires_at": "2026-01-15T10:00:00.000Z",
          "created_at": "2026-01-15T09:00:00.000Z",
          "revoked_at": null
        },
        "made_by": null
      }
    ]
    "#);
}

#[tokio::test]
async fn an_agent_is_on_the_page_as_long_as_its_delegation_is_in_force() {
    let (Scenario { app, bob, bot, .. }, allowed) = acting_for_bob().await;
    let path = format!("/api/v1/users/{}/agents", bob.id);
    assert_eq!(each(&app, &bob, &path, "name").await, ["bot", "by an app", "helper"]);
    assert_eq!(each(&app, &bob, &format!("{path}?server_id=other"), "name").await, ["bot", "by an app"]);
    // What the app made ends with what its user allowed it.
    app.remove(&allowed.key().pk, &allowed.key().sk);
    assert_eq!(each(&app, &bob, &path, "name").await, ["bot", "helper"]);
    app.pass(Duration::from_hours(1));
    assert_eq!(each(&app, &bob, &path, "name").await, ["bot"]);
    let all = format!("/api/v1/users/{}/delegations", bob.id);
    assert_eq!(each(&app, &bob, &all, "agent_name").await, ["bot", "by an app", "helper", "over"]);
    assert_eq!(each(&app, &bob, &format!("{all}?active=true"), "agent_name").await, ["bot"]);
    assert_eq!(
        each(&app, &bob, &format!("{all}?active=false&server_id=demo"), "agent_name").await,
        ["by an app", "helper", "over"]
    );
    assert_eq!(
        each(&app, &bob, "/api/v1/delegations?active=true", "agent_account_id").await,
        [bot.id.to_string()]
    );
}

#[tokio::test]
async fn a_users_grants_and_connections_are_a_page_each() {
    let it = Connected::set().await;
    let (app, alice, bob) = (it.app(), &it.scenario.alice, &it.scenario.bob);
    let other = app.agent("other", alice).await;
    it.create(bob, true).await.ok();
    let path = format!("/api/v1/agent-accounts/{}/session-grants", other.id);
    let second = app.post(path).as_user(bob).json(&json!({ "server_id": "chat" })).await.ok().field("id");
    app.call_it("the second grant", &second);
    let grants = format!("/api/v1/users/{}/session-grants", bob.id);
    app.get(&grants).as_user(alice).await.ok();
    let (page, cost) = app.round_trips(app.get(&grants).as_user(alice).into_future()).await;
    let requests: u64 = cost.iter().map(|(_, count)| count).sum();
    // The caller's credential; the query, beside which the user is read; what the grants rest on.
    assert!(requests <= 4, "{cost:?}");
    let mut items = page.ok().json();
    items.as_array_mut().unwrap().sort_by_key(|grant| grant["agent_name"].as_str().unwrap().to_owned());
    assert_snapshot!(app.shown(&serde_json::to_string_pretty(&items).unwrap()), @r#"
    [
      {
        "id": "[bob's grant]",
        "agent_account_id": "[bot]",
        "server_id": "chat",
        "grantor_user_id": "[bob]",
        "grantor_email": "bob@example.com",
        "shared": true,
        "is_active": true,
        "displaced_by_user_id": null,
        "displaced_by_email": null,
        "displaced_at": null,
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z",
        "agent_name": "bot",
        "agent_active": true
      },
      {
        "id": "[the second grant]",
        "agent_account_id": "[other]",
        "server_id": "chat",
        "grantor_user_id": "[bob]",
        "grantor_email": "bob@example.com",
        "shared": false,
        "is_active": true,
        "displaced_by_user_id": null,
        "displaced_by_email": null,
        "displaced_at": null,
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z",
        "agent_name": "other",
        "agent_active": true
      }
    ]
    "#);
    assert_eq!(
        each(app, bob, &format!("{grants}?agent_account_id={}", other.id), "agent_name").await,
        ["other"]
    );
    it.revoke(bob, &second).await.ok();
    assert_eq!(each(app, bob, &format!("{grants}?active=true"), "agent_name").await, ["bot"]);
    assert_eq!(
        each(app, bob, &format!("{grants}?active=false&server_id=chat"), "agent_name").await,
        ["other"]
    );
    // Carol shares hers: Bob's is displaced, as it is said.
    it.create(&it.scenario.carol, true).await.ok();
    assert_eq!(each(app, bob, &format!("{grants}?active=true"), "agent_name").await, [""; 0]);

    let connections = format!("/api/v1/users/{}/connections", bob.id);
    assert_snapshot!(app.get(&connections).as_user(alice).await, @r#"
    200 OK

    [
      {
        "server_id": "chat",
        "status": "connected",
        "connected_at": "2026-01-15T09:00:00.000Z",
        "expires_at": "2026-02-14T09:00:00.000Z",
        "renewable": false,
        "scope": null,
        "ended_because": null
      }
    ]
    "#);
    app.pass(Duration::from_hours(31 * 24));
    assert_eq!(each(app, bob, &connections, "status").await, ["expired"]);
}

#[tokio::test]
async fn a_users_browser_sessions_and_keys_are_seen_by_the_user_and_admins() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.signed_in(&bob).await;
    let sessions = format!("/api/v1/users/{}/sessions", bob.id);
    let seen = app.get(&sessions).as_user(&alice).await.ok().json();
    assert_eq!(seen.as_array().unwrap().len(), 1);
    assert_eq!(seen, app.get("/api/v1/me/browser-sessions").as_user(&bob).await.ok().json());
    let keys = format!("/api/v1/users/{}/api-keys?limit=1000", bob.id);
    assert_eq!(each(&app, &alice, &keys, "name").await, ["test"]);
}

#[tokio::test]
async fn strangers_see_nothing_of_another_persons() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, true).await.ok();
    let (app, bob, carol) = (it.app(), &it.scenario.bob, &it.scenario.carol);
    let nobody = User { id: deputize_core::ids::UserId(uuid::Uuid::new_v4()), ..bob.clone() };
    for list in ["delegations", "agents", "session-grants", "connections", "sessions", "api-keys"] {
        let ask = async |of: &User| app.get(format!("/api/v1/users/{}/{list}", of.id)).as_user(carol).await;
        let (bobs, none) = (ask(bob).await, ask(&nobody).await);
        assert_eq!((bobs.status.as_u16(), &bobs.text), (403, &none.text), "{list}");
        app.get(format!("/api/v1/users/{}/{list}", bob.id)).as_user(bob).await.ok();
    }
    for list in ["delegations", "session-grants", "connections", "policies"] {
        let ask = async |id: &str| app.get(format!("/api/v1/servers/{id}/{list}")).as_user(carol).await;
        let (chats, none) = (ask("chat").await, ask("nowhere").await);
        assert_eq!((chats.status.as_u16(), &chats.text), (403, &none.text), "{list}");
    }
    // An app of an admin has none of an admin's powers.
    let token = app.allow_management(&it.scenario.alice).await.token;
    for path in [format!("/api/v1/users/{}/agents", bob.id), "/api/v1/servers/chat/delegations".to_owned()] {
        assert_eq!(app.get(path).bearer(&token).await.status, 403);
    }
    let alice = &it.scenario.alice;
    for list in ["delegations", "agents", "session-grants", "connections"] {
        let path = format!("/api/v1/users/{}/{list}", nobody.id);
        assert_eq!(app.get(path).as_user(alice).await.refusal(), "404 No such user", "{list}");
    }
    for list in ["delegations", "session-grants", "connections", "policies"] {
        let path = format!("/api/v1/servers/nowhere/{list}");
        assert_eq!(app.get(path).as_user(alice).await.refusal(), "404 No such server", "{list}");
    }
}

/// Who may act at a server, from all pages.
async fn at(app: &TestApp, alice: &User, server: &str, query: &str) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some(format!("/api/v1/servers/{server}/delegations?{query}")));
    while let Some(path) = next {
        let page = app.get(path).as_user(alice).await.ok();
        for made in page.json().as_array().unwrap() {
            let email = made["delegator_email"].as_str().unwrap().split('@').next().unwrap();
            seen.push(format!("{} for {email}", made["agent_name"].as_str().unwrap()));
        }
        next = page.next();
    }
    seen.sort();
    seen
}

#[tokio::test]
async fn who_may_act_at_a_server_are_the_delegations_that_name_it_and_those_that_name_none() {
    let Scenario { app, alice, bob, carol, bot } = Scenario::start().await;
    for server in ["demo", "other"] {
        app.server(server).await;
    }
    let helper = app.agent("helper", &alice).await;
    app.delegate_some(&helper, &bob, only("demo")).await;
    app.delegate_some(&helper, &carol, only("other")).await;
    for query in ["", "limit=1", "limit=2", "limit=3"] {
        assert_eq!(at(&app, &alice, "demo", query).await, ["bot for bob", "helper for bob"], "{query}");
        assert_eq!(at(&app, &alice, "other", query).await, ["bot for bob", "helper for carol"], "{query}");
    }
    let path = "/api/v1/servers/demo/delegations";
    app.get(path).as_user(&alice).await.ok();
    let (page, cost) = app.round_trips(app.get(path).as_user(&alice).into_future()).await;
    // The caller's credential; two queries and the server, at the same time; what the delegations rest on.
    assert_eq!(
        (page.ok().json().as_array().unwrap().len(), &*cost),
        (2, &[("BatchGetItem", 3), ("Query", 2)][..])
    );
    // Made anew for other servers, a delegation leaves the lists of those that it named.
    app.delegate_some(&helper, &bob, only("other")).await;
    app.delegate_some(&bot, &bob, only("demo")).await;
    assert_eq!(at(&app, &alice, "demo", "").await, ["bot for bob"]);
    assert_eq!(at(&app, &alice, "other", "").await, ["helper for bob", "helper for carol"]);
    app.delegate(&bot, &bob).await;
    assert_eq!(at(&app, &alice, "demo", "").await, ["bot for bob"]);
    let id = app.get("/api/v1/delegations").as_user(&carol).await.ok().json()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.delete(format!("/api/v1/delegations/{id}")).as_user(&carol).await.ok();
    assert_eq!(at(&app, &alice, "other", "active=true").await, ["bot for bob", "helper for bob"]);
    assert_eq!(at(&app, &alice, "other", "active=false").await, ["helper for carol"]);
    // The entry goes when the delegation does.
    let (entry, made) = (
        Key::delegation_at(&"other".parse().unwrap(), helper.id, carol.id),
        Key::delegation(helper.id, carol.id),
    );
    assert!(app.removed_at(&entry).is_some());
    assert_eq!(app.removed_at(&entry), app.removed_at(&made));
    let cursor = app.get("/api/v1/servers/other/delegations?limit=1").as_user(&alice).await.next().unwrap();
    let cursor = cursor.split_once("cursor=").unwrap().1;
    let elsewhere = app.get(format!("/api/v1/users?cursor={cursor}")).as_user(&alice).await;
    assert_eq!(elsewhere.status, 200, "a list by id takes any position");
    assert_eq!(app.get("/api/v1/servers/other/delegations?cursor=QQ").as_user(&alice).await.status, 400);
}

#[tokio::test]
async fn a_delegation_for_fifty_servers_is_replaced_by_one_for_fifty_others() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let ids = |name: &str| (0..50).map(|n| format!("{name}{n:02}")).collect::<Vec<_>>();
    let path = format!("/api/v1/agent-accounts/{}/delegations", bot.id);
    for name in ["a", "b"] {
        for id in ids(name) {
            app.server(&id).await;
        }
        app.post(&path).as_user(&bob).json(&json!({ "server_ids": ids(name) })).await.ok();
    }
    for id in ids("a") {
        assert_eq!(at(&app, &alice, &id, "").await, [""; 0], "{id}");
    }
    for id in ids("b") {
        assert_eq!(at(&app, &alice, &id, "").await, ["bot for bob"], "{id}");
    }
    let everywhere = Partition::delegations_everywhere().pk;
    assert!(!app.contents().keys().any(|key| key.starts_with(&format!("{everywhere} "))));
}

#[tokio::test]
async fn whose_credentials_are_used_at_a_server_and_by_an_agent_is_seen_by_those_who_manage_it() {
    let it = Connected::set().await;
    let (app, alice, bob, carol) = (it.app(), &it.scenario.alice, &it.scenario.bob, &it.scenario.carol);
    let olgas = app.agent("olgas", carol).await;
    it.create(bob, false).await.ok();
    let path = format!("/api/v1/agent-accounts/{}/session-grants", olgas.id);
    app.post(&path).as_user(bob).json(&json!({ "server_id": "chat" })).await.ok();
    app.post(&path).as_user(alice).json(&json!({ "server_id": "chat" })).await.ok();
    let server = "/api/v1/servers/chat/session-grants";
    assert_eq!(each(app, alice, server, "agent_name").await, ["bot", "olgas", "olgas"]);
    let of_bob = format!("{server}?grantor_user_id={}", bob.id);
    assert_eq!(each(app, alice, &of_bob, "agent_name").await, ["bot", "olgas"]);
    // The agent's owner sees all of its grants if they ask for them, and another user none.
    let emails = ["alice@example.com", "bob@example.com"];
    assert_eq!(each(app, carol, &path, "grantor_email").await, [""; 0]);
    assert_eq!(each(app, carol, &format!("{path}?all=true"), "grantor_email").await, emails);
    assert_eq!(each(app, alice, &format!("{path}?all=true"), "grantor_email").await, emails);
    let of_bob = format!("{path}?all=true&grantor_user_id={}", bob.id);
    assert_eq!(each(app, carol, &of_bob, "grantor_email").await, ["bob@example.com"]);
    let refused = app.get(format!("{path}?all=true")).as_user(bob).await;
    assert_eq!(
        refused.refusal(),
        "403 Only the agent account's owners, auditors, operators and admins may see all of its grants"
    );
    let mine = each(app, bob, &format!("{path}?all=false"), "grantor_email").await;
    assert_eq!(mine, ["bob@example.com"]);
}

#[tokio::test]
async fn the_policies_that_concern_a_server_are_told_by_their_scope() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    app.server("demo").await;
    for (name, text) in [
        ("one", r#"permit(principal, action, resource == Tool::"demo/read");"#),
        ("two", r#"forbid(principal, action, resource) when { resource in Server::"demo" };"#),
        ("three", r#"permit(principal, action, resource in Server::"elsewhere");"#),
        ("four", "permit(principal is User, action, resource);"),
    ] {
        app.policy(name, text).await;
    }
    let list = app.get("/api/v1/servers/demo/policies").as_user(&alice).await.ok().json();
    let text = |policy: &Value, field: &str| policy[field].as_str().unwrap().to_owned();
    let mut told: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| format!("{} {}", text(policy, "name"), text(policy, "concern")))
        .collect();
    told.sort();
    assert_eq!(told, ["four all_servers", "one scope", "two conditions"]);
}

#[tokio::test]
async fn the_policies_that_concern_an_agent_are_told_by_their_scope() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let path = format!("/api/v1/agent-accounts/{}", bot.id);
    app.patch(&path).as_user(&alice).json(&json!({ "groups": ["bots"] })).await.ok();
    let (bot, other) = (bot.id, app.agent("other", &alice).await.id);
    for (name, text) in [
        ("it alone", format!(r#"permit(principal == Agent::"{bot}", action, resource);"#)),
        ("its group", r#"permit(principal in Group::"bots", action, resource);"#.to_owned()),
        (
            "agents of its group",
            r#"permit(principal is Agent in Group::"bots", action, resource);"#.to_owned(),
        ),
        (
            "it by a condition",
            format!(r#"forbid(principal, action, resource) when {{ principal == Agent::"{bot}" }};"#),
        ),
        (
            "its group by a condition",
            r#"forbid(principal is Agent, action, resource) unless { principal in Group::"bots" };"#
                .to_owned(),
        ),
        ("all agents", "permit(principal is Agent, action, resource);".to_owned()),
        ("all", "permit(principal, action, resource);".to_owned()),
        (
            "all but a user",
            format!(r#"permit(principal, action, resource) unless {{ principal == User::"{}" }};"#, bob.id),
        ),
        // These concern others.
        ("another", format!(r#"permit(principal == Agent::"{other}", action, resource);"#)),
        ("another group", r#"permit(principal in Group::"dev", action, resource);"#.to_owned()),
        ("people", "permit(principal is User, action, resource);".to_owned()),
        (
            "people of its group",
            r#"permit(principal is User in Group::"bots", action, resource);"#.to_owned(),
        ),
        ("a user", format!(r#"permit(principal == User::"{}", action, resource);"#, bob.id)),
    ] {
        app.policy(name, &text).await;
    }
    let policies = format!("{path}/policies");
    let list = app.get(&policies).as_user(&alice).await.ok().json();
    let text = |policy: &Value, field: &str| policy[field].as_str().unwrap().to_owned();
    let told = list.as_array().unwrap().iter();
    let mut told: Vec<String> =
        told.map(|policy| format!("{}: {}", text(policy, "name"), text(policy, "concern"))).collect();
    told.sort();
    assert_snapshot!(told.join("\n"), @"
    agents of its group: scope
    all agents: all_agents
    all but a user: all_agents
    all: all_agents
    it alone: scope
    it by a condition: conditions
    its group by a condition: conditions
    its group: scope
    ");
    // The account has left its group.
    app.patch(&path).as_user(&alice).json(&json!({ "groups": [] })).await.ok();
    let list = app.get(&policies).as_user(&alice).await.ok().json();
    let names = list.as_array().unwrap().iter().map(|policy| text(policy, "name"));
    let mut names: Vec<String> = names.filter(|name| name.contains("group")).collect();
    names.sort();
    assert_eq!(names, ["its group by a condition"], "as one that is for all agents");
}

#[tokio::test]
async fn an_agents_policies_are_a_page_for_those_who_see_all_policies() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let policy = app.policy("all agents", "permit(principal is Agent, action, resource);").await;
    app.call_it("the policy", policy.to_string());
    let path = format!("/api/v1/agent-accounts/{}/policies", bot.id);
    let (page, cost) = app.round_trips(app.get(&path).as_user(&alice).into_future()).await;
    // The caller's credential; the query, beside which the account is read.
    assert_eq!(cost, [("BatchGetItem", 2), ("Query", 1)]);
    assert_snapshot!(page, @r#"
    200 OK

    [
      {
        "id": "[policy all agents]",
        "name": "all agents",
        "text": "permit(principal is Agent, action, resource);",
        "mode": "enforce",
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z",
        "concern": "all_agents"
      }
    ]
    "#);
    let nowhere = "/api/v1/agent-accounts/00000000-0000-4000-8000-000000000001/policies";
    let (its, none) = (app.get(&path).as_user(&bob).await, app.get(nowhere).as_user(&bob).await);
    assert_eq!((its.status.as_u16(), &its.text), (403, &none.text));
    assert_eq!(app.get(nowhere).as_user(&alice).await.refusal(), "404 No such agent account");
}

#[tokio::test]
async fn an_agent_of_a_hundred_delegators_is_a_query_and_a_read() {
    let scenario = Scenario::start().await;
    super::pages::crowd(&scenario, 120).await;
    let allowed = scenario
        .app
        .allow_app(&scenario.carol, CLIENT_ID, deputize_core::tokens::Resource::Management, "manage")
        .await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", scenario.bot.id);
    scenario.app.post(&path).bearer(&allowed.token).json(&json!({})).await.ok();
    let ask = scenario.app.get(format!("{path}?limit=1000")).as_user(&scenario.alice);
    let (page, cost) = scenario.app.round_trips(ask.into_future()).await;
    assert_eq!(page.ok().json().as_array().unwrap().len(), 122);
    // The caller's credential and the account, one after the other; then two reads of the delegators, at the same time.
    assert_eq!(cost, [("BatchGetItem", 4), ("Query", 1)]);
    let mine =
        scenario.app.get(format!("{path}?active=true&server_id=any")).as_user(&scenario.carol).await.ok();
    assert_eq!(mine.json().as_array().unwrap().len(), 1);
}
