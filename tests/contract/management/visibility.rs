//! Agents that only some users may know of. For the others they do not exist.

use std::time::Duration;

use deputize_tests::User;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{grants::Connected, scenario::Scenario};

async fn show_to(scenario: &Scenario, body: Value) {
    let path = format!("/api/v1/agent-accounts/{}", scenario.bot.id);
    scenario.app.patch(path).as_user(&scenario.alice).json(&body).await.ok();
}

/// The names of the agents that a user can delegate to.
async fn available(scenario: &Scenario, user: &User, query: &str) -> Vec<String> {
    let (mut names, mut next) = (Vec::new(), Some(format!("/api/v1/available-agents{query}")));
    while let Some(path) = next {
        let page = scenario.app.get(path).as_user(user).await.ok();
        let items = page.json();
        names
            .extend(items.as_array().unwrap().iter().map(|agent| agent["name"].as_str().unwrap().to_owned()));
        next = page.next();
    }
    names
}

#[tokio::test]
async fn a_user_sees_the_agents_that_are_for_everyone_for_their_groups_and_their_own() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    app.patch(format!("/api/v1/users/{}", bob.id))
        .as_user(alice)
        .json(&json!({ "groups": ["dev"] }))
        .await
        .ok();
    let create = async |name: &str, owner: &User, more: Value| {
        let mut body = json!({ "name": name, "owner_user_id": owner.id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/api/v1/agent-accounts").as_user(alice).json(&body).await.ok().field("id")
    };
    create("for dev and ops", alice, json!({ "visibility": "groups", "visible_to_groups": ["dev", "ops"] }))
        .await;
    create("for nobody", alice, json!({ "visibility": "owners" })).await;
    create("carol's own", carol, json!({ "visibility": "owners" })).await;
    create("Zebra", carol, json!({})).await;
    let stopped = create("stopped", alice, json!({})).await;
    app.patch(format!("/api/v1/agent-accounts/{stopped}"))
        .as_user(alice)
        .json(&json!({ "active": false }))
        .await
        .ok();
    for limit in ["", "?limit=1", "?limit=2"] {
        assert_eq!(available(&scenario, bob, limit).await, ["bot", "for dev and ops", "Zebra"]);
        assert_eq!(available(&scenario, carol, limit).await, ["bot", "carol's own", "Zebra"]);
    }
    assert_eq!(available(&scenario, bob, "?name_prefix=FOR").await, ["for dev and ops"]);
    let all = ["bot", "carol's own", "for dev and ops", "for nobody", "Zebra"];
    assert_eq!(available(&scenario, alice, "").await, all);
    let answer = app.get("/api/v1/available-agents?limit=1").as_user(bob).await;
    assert_snapshot!(answer, @r#"
    200 OK
    link: </api/v1/available-agents?limit=1&cursor=[cursor]>; rel="next"

    [
      {
        "id": "[bot]",
        "name": "bot",
        "active": true
      }
    ]
    "#);
}

#[tokio::test]
async fn an_agent_that_a_user_may_not_know_of_is_one_that_does_not_exist() {
    let it = Connected::set().await;
    let (app, carol, bot) = (it.app(), &it.scenario.carol, &it.scenario.bot);
    show_to(&it.scenario, json!({ "visibility": "owners" })).await;
    let before = app.contents();
    let nobodys = "00000000-0000-4000-8000-000000000001";
    let grant = json!({ "server_id": "chat" });
    for (what, path, body) in [
        ("see it", "", None),
        ("see its delegations", "/delegations", None),
        ("see another's delegation", "/delegations?delegator_user_id=BOB", None),
        ("delegate to it", "/delegations", Some(json!({}))),
        ("see its grants", "/session-grants", None),
        ("see its grants for a server", "/session-grants?server_id=chat", None),
        ("see all of its grants", "/session-grants?all=true", None),
        ("grant it", "/session-grants", Some(grant.clone())),
        ("toggle a grant", "/session-grants/toggle", Some(grant)),
        ("see its secrets", "/secrets", None),
        ("see its keys", "/keys", None),
    ] {
        let ask = async |id: &str| {
            let path = path.replace("BOB", &it.scenario.bob.id.to_string());
            let path = format!("/api/v1/agent-accounts/{id}{path}");
            match &body {
                Some(body) => app.post(path).as_user(carol).json(body).await,
                None => app.get(path).as_user(carol).await,
            }
        };
        let (hidden, none) = (ask(&bot.id.to_string()).await, ask(nobodys).await);
        assert_eq!((hidden.status.as_u16(), &hidden.text), (404, &none.text), "{what}");
    }
    assert_eq!(app.contents(), before);
    assert_eq!(available(&it.scenario, carol, "").await, [""; 0]);
}

#[tokio::test]
async fn what_was_delegated_before_goes_on_and_is_seen_and_revoked_by_its_user() {
    let it = Connected::set().await;
    let (app, bob, bot) = (it.app(), &it.scenario.bob, &it.scenario.bot);
    it.create(bob, false).await.ok();
    show_to(&it.scenario, json!({ "visibility": "groups", "visible_to_groups": ["dev"] })).await;
    app.obo(bot, bob).await;
    let path = format!("/api/v1/agent-accounts/{}", bot.id);
    assert_eq!(app.get(&path).as_user(bob).await.status, 404);
    assert_eq!(app.post(format!("{path}/delegations")).as_user(bob).await.status, 404);
    let agents = app.get(format!("/api/v1/users/{}/agents", bob.id)).as_user(bob).await.ok().json();
    assert_eq!(agents[0]["name"], "bot");
    let own = app.get(format!("{path}/delegations")).as_user(bob).await.ok().json();
    assert_eq!(own[0]["delegator_email"], "bob@example.com");
    assert_eq!(it.seen_by(bob).await, "bob personal active");
    it.toggle(bob).await.ok();
    let id = own[0]["id"].as_str().unwrap();
    app.delete(format!("/api/v1/delegations/{id}")).as_user(bob).await.ok();
    assert_eq!(app.get(format!("/api/v1/users/{}/agents", bob.id)).as_user(bob).await.ok().json(), json!([]));
    app.pass(Duration::from_secs(1));
    // In the group they may know of it again.
    let users = format!("/api/v1/users/{}", bob.id);
    app.patch(users).as_user(&it.scenario.alice).json(&json!({ "groups": ["dev"] })).await.ok();
    assert_snapshot!(app.get(&path).as_user(bob).await, @r#"
    200 OK

    {
      "id": "[bot]",
      "name": "bot",
      "active": true
    }
    "#);
    app.post(format!("{path}/delegations")).as_user(bob).await.ok();
}

#[tokio::test]
async fn an_owner_says_who_may_know_of_their_agent() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    let agent = app.agent("bobs", bob).await;
    let path = format!("/api/v1/agent-accounts/{}", agent.id);
    let body = json!({ "visibility": "groups", "visible_to_groups": ["dev"] });
    let answer = app.patch(&path).as_user(bob).json(&body).await.ok();
    let shown = answer.json();
    assert_eq!((&shown["visibility"], &shown["visible_to_groups"]), (&json!("groups"), &json!(["dev"])));
    assert_snapshot!(app.event_of(&answer), @r#"
    action: "agent_account.update"
    audit_agent: "[bobs]"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "visibility: the groups dev"
    outcome: "allowed"
    subject: "agent_account:[bobs]"
    "#);
    assert_eq!(app.patch(&path).as_user(carol).json(&body).await.status, 404);
    app.get(&path).as_user(alice).await.ok();
    for (body, said) in [
        (json!({ "visibility": "groups" }), "400 visible_to_groups goes with visibility"),
        (json!({ "visibility": "owners", "visible_to_groups": ["a"] }), "400 visible_to_groups goes with"),
        (json!({ "visible_to_groups": ["a"] }), "400 visible_to_groups goes with"),
        (
            json!({ "visibility": "groups", "visible_to_groups": [] }),
            "400 visible_to_groups: must be 1 to 10",
        ),
        (json!({ "visibility": "friends" }), "400 visibility: must be everyone, groups or owners"),
    ] {
        let refusal = app.patch(&path).as_user(bob).json(&body).await.refusal();
        assert!(refusal.starts_with(said), "{body}: {refusal}");
    }
    let everyone = app.patch(&path).as_user(bob).json(&json!({ "visibility": "everyone" })).await.ok().json();
    assert_eq!((&everyone["visibility"], &everyone["visible_to_groups"]), (&json!("everyone"), &json!([])));
    app.get(&path).as_user(carol).await.ok();
}
