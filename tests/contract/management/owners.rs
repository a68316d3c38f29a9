//! Who owns an agent account: several users and groups, what each may do, and what an owner may not.

use deputize_core::{agents::OwnerlessAgents, table::Key};
use deputize_tests::{TestApp, TestResponse, User, jwt::SigningKey};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{proxy::Permitted, scenario::Scenario};

const ACCOUNTS: &str = "/api/v1/agent-accounts";

fn path(scenario: &Scenario) -> String {
    format!("{ACCOUNTS}/{}", scenario.bot.id)
}

async fn patch(scenario: &Scenario, user: &User, body: Value) -> TestResponse {
    scenario.app.patch(path(scenario)).as_user(user).json(&body).await
}

fn user(user: &User) -> Value {
    json!({ "user_id": user.id })
}

fn group(group: &str) -> Value {
    json!({ "group": group })
}

async fn groups(app: &TestApp, admin: &User, whom: &User, groups: &[&str]) {
    let change = app.patch(format!("/api/v1/users/{}", whom.id)).as_user(admin);
    change.json(&json!({ "groups": groups })).await.ok();
}

/// The names of the accounts that a user manages.
async fn managed(app: &TestApp, user: &User) -> Vec<String> {
    let list = app.get(ACCOUNTS).as_user(user).await.ok().json();
    let names = list.as_array().unwrap().iter().map(|account| account["name"].as_str().unwrap().to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_account_has_several_owners_users_and_groups() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    let dora = app.user("dora").in_group("platform").await;
    let given =
        patch(&scenario, alice, json!({ "owners": [user(bob), group("platform"), user(carol)] })).await;
    assert_snapshot!(given, @r#"
    200 OK

    {
      "id": "[bot]",
      "name": "bot",
      "active": true,
      "disabled_by": null,
      "disabled_at": null,
      "owner_user_id": "[bob]",
      "owners": [
        {
          "user_id": "[bob]"
        },
        {
          "group": "platform"
        },
        {
          "user_id": "[carol]"
        }
      ],
      "groups": [],
      "allowed_origins": null,
      "shared_grants": "anyone",
      "visibility": "everyone",
      "visible_to_groups": [],
      "created_at": "2026-01-15T09:00:00.000Z",
      "updated_at": "2026-01-15T09:00:00.000Z"
    }
    "#);
    assert_snapshot!(app.event_of(&given), @r#"
    action: "agent_account.update"
    audit_agent: "[bot]"
    audit_user: "[alice]"
    credential: "api_key:[uuid]"
    detail: "owners: user [bob], group platform, user [carol]"
    outcome: "allowed"
    subject: "agent_account:[bot]"
    "#);
    for owner in [bob, carol, &dora] {
        assert_eq!(managed(app, owner).await, ["bot"], "{}", owner.name);
        patch(&scenario, owner, json!({ "name": "bot" })).await.ok();
        let secret = app.post(format!("{}/secrets", path(&scenario))).as_user(owner).await.ok();
        let secret = format!("{}/secrets/{}", path(&scenario), secret.field("id"));
        app.delete(secret).as_user(owner).await.ok();
        let key = json!({ "jwk": SigningKey::es256().jwk(&owner.name) });
        app.post(format!("{}/keys", path(&scenario))).as_user(owner).json(&key).await.ok();
        let delegations = format!("{}/delegations", path(&scenario));
        assert_eq!(app.get(delegations).as_user(owner).await.ok().json().as_array().unwrap().len(), 1);
    }
    let erin = app.user("erin").await;
    assert_eq!(managed(app, &erin).await, <[String; 0]>::default());
    assert_snapshot!(patch(&scenario, &erin, json!({ "name": "mine" })).await.refusal(), @"404 No such agent account");
}

#[tokio::test]
async fn a_group_owns_by_who_is_in_it_when_they_ask() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, carol, .. } = &scenario;
    patch(&scenario, alice, json!({ "owners": [group("platform")] })).await.ok();
    assert_eq!(patch(&scenario, carol, json!({ "name": "mine" })).await.status, 404);
    groups(app, alice, carol, &["platform"]).await;
    patch(&scenario, carol, json!({ "name": "hers" })).await.ok();
    assert_eq!(managed(app, carol).await, ["hers"]);
    groups(app, alice, carol, &["Platform"]).await;
    assert_eq!(patch(&scenario, carol, json!({ "name": "mine" })).await.status, 404);
    assert_eq!(managed(app, carol).await, <[String; 0]>::default());
    // No user owns it by themselves.
    let seen = app.get(path(&scenario)).as_user(alice).await.ok().json();
    assert_eq!((&seen["owner_user_id"], &seen["owners"]), (&Value::Null, &json!([group("platform")])));
}

#[tokio::test]
async fn an_owner_cannot_give_an_agent_to_a_group_that_raises_what_policies_permit() {
    let it = Permitted::without_policies().await;
    let Scenario { app, alice, bob, .. } = &it.scenario;
    app.policy(
        "the platform's",
        r#"permit(principal is Agent, action, resource) when { principal.owner_groups.contains("platform") };"#,
    )
    .await;
    app.policy(
        "Alice's",
        &format!(
            r#"permit(principal is Agent, action, resource) when {{ principal.owners.contains("{}") }};"#,
            alice.id
        ),
    )
    .await;
    patch(&it.scenario, alice, json!({ "owners": [user(bob), group("interns")] })).await.ok();
    groups(app, alice, bob, &["platform", "interns"]).await;
    let token = app.m2m(it.bot()).await;
    let call = || app.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token);
    assert_snapshot!(call().await.refusal(), @"403 Policy denied");
    let before = app.contents();
    let mut refused = Vec::new();
    for owners in [
        json!([user(bob), group("platform")]),
        json!([user(bob), user(alice)]),
        // Leaving could lift what forbids, so it is no owner's to do either.
        json!([user(bob)]),
        json!([group("interns")]),
    ] {
        refused.push(patch(&it.scenario, bob, json!({ "owners": owners })).await.refusal());
    }
    refused.push(patch(&it.scenario, bob, json!({ "owner_user_id": alice.id })).await.refusal());
    refused.push(patch(&it.scenario, bob, json!({ "groups": ["platform"] })).await.refusal());
    refused.dedup();
    assert_eq!(refused, ["403 Only an admin may do this"]);
    assert_eq!(app.contents(), before);
    assert_eq!(call().await.status, 403);
    // An admin does it.
    patch(&it.scenario, alice, json!({ "owners": [user(bob), group("platform")] })).await.ok();
    call().await.ok();
    patch(&it.scenario, alice, json!({ "owners": [user(bob), user(alice)] })).await.ok();
    call().await.ok();
}

#[tokio::test]
async fn a_policy_about_owner_id_means_the_first_user_as_it_did() {
    let it = Permitted::without_policies().await;
    let Scenario { app, alice, bob, carol, .. } = &it.scenario;
    let text = format!(
        r#"permit(principal is Agent, action, resource) when {{ principal.owner_id == "{}" }};"#,
        bob.id
    );
    let policy = json!({ "name": "Bob's", "text": text });
    app.post("/api/v1/policies").as_user(alice).json(&policy).await.ok();
    let token = app.m2m(it.bot()).await;
    for (owners, status) in [
        (json!([user(bob)]), 200),
        (json!([group("platform"), user(bob), user(carol)]), 200),
        (json!([user(carol), user(bob)]), 403),
        (json!([group("platform")]), 403),
    ] {
        patch(&it.scenario, alice, json!({ "owners": owners })).await.ok();
        let answer = app.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
        assert_eq!(answer.status, status, "{owners}");
    }
}

#[tokio::test]
async fn owner_user_id_names_the_first_user_and_leaves_the_other_owners() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    let owners = async |body: Value| patch(&scenario, alice, body).await.ok().json()["owners"].clone();
    assert_eq!(owners(json!({ "owner_user_id": bob.id })).await, json!([user(bob)]));
    owners(json!({ "owners": [group("platform"), user(bob), user(carol)] })).await;
    // As it is: nothing changes, and nobody loses it.
    let same = json!([group("platform"), user(bob), user(carol)]);
    assert_eq!(owners(json!({ "owner_user_id": bob.id })).await, same);
    let given = json!([user(alice), group("platform"), user(carol)]);
    assert_eq!(owners(json!({ "owner_user_id": alice.id })).await, given);
    // One who owns it already becomes the first.
    let first = json!([user(carol), group("platform")]);
    assert_eq!(owners(json!({ "owner_user_id": carol.id })).await, first);
    assert_eq!(owners(json!({ "owners": [group("a"), group("a")] })).await, json!([group("a")]));
    assert_eq!(owners(json!({ "owner_user_id": bob.id })).await, json!([user(bob), group("a")]));
    assert_eq!(managed(app, carol).await, <[String; 0]>::default());
}

#[tokio::test]
async fn owners_are_one_to_ten_who_are_there() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    let off = app.patch(format!("/api/v1/users/{}", carol.id)).as_user(alice);
    off.json(&json!({ "active": false })).await.ok();
    let before = app.contents();
    let nobody = json!({ "user_id": "00000000-0000-4000-8000-000000000001" });
    let many: Vec<Value> = (0..11).map(|n| group(&format!("g{n}"))).collect();
    let mut refused = Vec::new();
    for body in [
        json!({ "owners": [] }),
        json!({ "owners": many }),
        json!({ "owners": [{}] }),
        json!({ "owners": [{ "user_id": bob.id, "group": "g" }] }),
        json!({ "owners": [{ "group": "" }] }),
        json!({ "owners": [{ "name": "g" }] }),
        json!({ "owners": [user(bob), nobody] }),
        json!({ "owners": [user(bob), user(carol)] }),
        json!({ "owners": [user(bob)], "owner_user_id": bob.id }),
    ] {
        let asked =
            json!({ "name": "new", "owners": body["owners"], "owner_user_id": body["owner_user_id"] });
        let made = app.post(ACCOUNTS).as_user(alice).json(&asked).await;
        let changed = patch(&scenario, alice, body).await.refusal();
        assert_eq!(made.status, 400, "{asked}");
        refused.push(changed);
    }
    assert_snapshot!(refused.join("\n"), @"
    400 owners: must be 1 to 10 users or groups
    400 owners: must be 1 to 10 users or groups
    400 owners: each must have a user_id or a group, and not both
    400 owners: each must have a user_id or a group, and not both
    400 owners[0].group: must have 1 to 128 characters and no control characters
    400 owners[0].name: no such field; the fields here are user_id, group
    400 owners: no such user
    400 owners: the user is deactivated
    400 owners: leave out owner_user_id, which is the first user among them
    ");
    assert_eq!(app.contents(), before);
    // Of those who own it already, one may be deactivated.
    patch(&scenario, alice, json!({ "owners": [user(bob)] })).await.ok();
    let off = app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice);
    off.json(&json!({ "active": false })).await.ok();
    patch(&scenario, alice, json!({ "owners": [user(bob), user(alice)] })).await.ok();
}

#[tokio::test]
async fn an_account_is_made_with_its_owners() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let dora = app.user("dora").in_group("platform").await;
    let body = json!({ "name": "new", "owners": [group("platform"), user(&bob)] });
    let made = app.post(ACCOUNTS).as_user(&alice).json(&body).await.ok();
    assert_eq!(made.json()["owners"], body["owners"]);
    app.call_it("new", made.field("id"));
    assert!(app.event_of(&made).contains("owners: group platform, user [bob]"), "{}", app.event_of(&made));
    for owner in [&bob, &dora] {
        assert_eq!(managed(&app, owner).await, ["new"], "{}", owner.name);
    }
}

#[tokio::test]
async fn the_accounts_of_many_groups_are_one_list_in_pages_and_each_is_there_once() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let names: Vec<String> = (0..12).map(|n| format!("group {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dora = app.user("dora").await;
    groups(&app, &alice, &dora, &names).await;
    for n in 0..30 {
        let owners = match n % 3 {
            0 => json!([user(&dora), group(names[n % 12])]),
            1 => json!([group(names[n % 12]), group(names[(n + 1) % 12])]),
            _ => json!([group("others"), group(names[n % 12])]),
        };
        let body = json!({ "name": format!("agent {n}"), "owners": owners });
        app.post(ACCOUNTS).as_user(&alice).json(&body).await.ok();
    }
    app.post(ACCOUNTS).as_user(&alice).json(&json!({ "name": "x", "owners": [group("others")] })).await.ok();
    let (whole, cost) = app.round_trips(async { app.get(ACCOUNTS).as_user(&dora).await.ok().json() }).await;
    let whole = whole.as_array().unwrap().clone();
    assert_eq!(whole.len(), 30);
    // One for the caller and one for the accounts; the lists are asked for at once.
    assert_eq!(cost, [("BatchGetItem", 2), ("Query", 13)]);
    for limit in [1, 7, 29, 30, 100] {
        let (mut all, mut next) = (Vec::new(), Some(format!("{ACCOUNTS}?limit={limit}")));
        while let Some(page) = next {
            let page = app.get(page).as_user(&dora).await.ok();
            let on_page = page.json().as_array().unwrap().clone();
            assert!(on_page.len() <= limit);
            all.extend(on_page);
            next = page.next();
        }
        assert_eq!(all, whole, "in pages of {limit}");
    }
}

#[tokio::test]
async fn an_account_from_before_there_were_several_owners_has_one() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, .. } = &scenario;
    patch(&scenario, alice, json!({ "owner_user_id": bob.id })).await.ok();
    // One owner is stored as it was then.
    assert!(!app.contents()[&format!("AGENT#{} AGENT", scenario.bot.id)].to_string().contains("owners"));
    let seen = app.get(path(&scenario)).as_user(bob).await.ok().json();
    assert_eq!((&seen["owner_user_id"], &seen["owners"]), (&json!(bob.id), &json!([user(bob)])));
}

/// While versions are mixed, one from before may change an account. It reads and keeps the first user alone.
#[tokio::test]
async fn a_version_from_before_that_changes_an_account_leaves_it_to_the_first_user_and_nobody_else() {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    let dora = app.user("dora").in_group("platform").await;
    patch(&scenario, alice, json!({ "owners": [group("platform"), user(bob), user(carol)] })).await.ok();
    let key = Key::agent(scenario.bot.id);
    assert_eq!(app.text(&key, "owner_user_id"), bob.id.to_string(), "what it reads");
    app.forget(&key, "owners");
    patch(&scenario, bob, json!({ "name": "his" })).await.ok();
    for (who, lost) in [(carol, "by themselves"), (&dora, "by a group")] {
        assert_eq!(patch(&scenario, who, json!({ "name": "mine" })).await.status, 404, "{lost}");
        // The entry that was left behind leads to an account that is not theirs.
        assert_eq!(managed(app, who).await, <[String; 0]>::default(), "{lost}");
    }
    patch(&scenario, alice, json!({ "owners": [group("platform")] })).await.ok();
    assert_eq!(app.text(&key, "owner_user_id"), "00000000-0000-0000-0000-000000000000", "nobody");
    app.forget(&key, "owners");
    assert_eq!(patch(&scenario, &dora, json!({ "name": "mine" })).await.status, 404);
    assert_eq!(app.get(path(&scenario)).as_user(alice).await.ok().json()["owners"], json!([]));
    patch(&scenario, alice, json!({ "owners": [user(carol)] })).await.ok();
}

/// The stage, in a deployment that stops accounts that nobody answers for. The bot is Bob's and Carol's.
async fn stopping() -> Permitted {
    let app =
        TestApp::start().await.with_settings(|settings| settings.ownerless_agents = OwnerlessAgents::Stop);
    let it = Permitted::set_in(app).await;
    let Scenario { alice, bob, carol, .. } = &it.scenario;
    patch(&it.scenario, alice, json!({ "owners": [user(bob), user(carol)] })).await.ok();
    it
}

async fn set_active(it: &Permitted, user: &User, active: bool) {
    let change = it.app().patch(format!("/api/v1/users/{}", user.id)).as_user(&it.scenario.alice);
    change.json(&json!({ "active": active })).await.ok();
}

#[tokio::test]
async fn a_deployment_can_stop_agents_when_the_last_of_their_owners_is_deactivated() {
    let it = stopping().await;
    let Scenario { app, alice, bob, carol, bot } = &it.scenario;
    let dora = app.user("dora").await;
    app.delegate(bot, &dora).await;
    let (own, obo) = (app.m2m(bot).await, app.obo(bot, &dora).await);
    let call = |token: &str| app.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(token);
    set_active(&it, bob, false).await;
    call(&own).await.ok();
    set_active(&it, carol, false).await;
    let token = app.token_for(bot, &[]).await;
    assert_snapshot!(token, @r#"
    403 Forbidden

    {
      "error": "unauthorized_client",
      "error_description": "None of the agent account's owners is active; an admin must give it another",
      "detail": "unauthorized_client: None of the agent account's owners is active; an admin must give it another",
      "reason": "owner_missing"
    }
    "#);
    assert!(app.event_of(&token).contains("None of the agent account's owners is active"));
    assert_snapshot!(call(&own).await, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "None of the agent account's owners is active; an admin must give it another",
      "detail": "None of the agent account's owners is active; an admin must give it another",
      "reason": "owner_missing"
    }
    "#);
    assert_eq!(call(&obo).await.status, 403);
    assert_eq!(app.about_token("introspect", bot, &own).await.ok().json(), json!({ "active": false }));
    // With one who is active it goes on, and so do its tokens.
    for owners in [json!([user(bob), user(&dora)]), json!([user(bob), group("nobody is in it")])] {
        patch(&it.scenario, alice, json!({ "owners": owners })).await.ok();
        call(&own).await.ok();
        app.m2m(bot).await;
        patch(&it.scenario, alice, json!({ "owners": [user(bob)] })).await.ok();
        assert_eq!(call(&own).await.status, 403);
    }
    set_active(&it, bob, true).await;
    call(&obo).await.ok();
}

#[tokio::test]
async fn agents_whose_owners_are_all_deactivated_run_on_unless_a_deployment_stops_them() {
    let it = stopping().await;
    let Scenario { app, bob, carol, bot, .. } = &it.scenario;
    for owner in [bob, carol] {
        set_active(&it, owner, false).await;
    }
    let other = app.with_settings(|settings| settings.ownerless_agents = OwnerlessAgents::default());
    let token = other.m2m(bot).await;
    other.call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await.ok();
}
