//! Finding the agents all of whose owners are deactivated.

use std::future::IntoFuture;

use deputize_core::table::Key;
use deputize_tests::{TestApp, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

const ACCOUNTS: &str = "/api/v1/agent-accounts";

/// The names of the accounts in the order of the list, from all pages.
async fn names(app: &TestApp, user: &User, query: &str) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some(format!("{ACCOUNTS}?{query}")));
    while let Some(path) = next {
        let page = app.get(path).as_user(user).await.ok();
        seen.extend(
            page.json().as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        next = page.next();
    }
    seen
}

async fn set_active(app: &TestApp, by: &User, whom: &User, active: bool) {
    let change = app.patch(format!("/api/v1/users/{}", whom.id)).as_user(by);
    change.json(&json!({ "active": active })).await.ok();
}

/// Alice's `bot`; and accounts of Bob, of Bob and Carol, of Bob and a group, and of a group.
async fn set() -> Scenario {
    let scenario = Scenario::start().await;
    let Scenario { app, alice, bob, carol, .. } = &scenario;
    let (bobs, carols) = (json!({ "user_id": bob.id }), json!({ "user_id": carol.id }));
    let group = json!({ "group": "platform" });
    for (name, owners) in [
        ("alone", vec![&bobs]),
        ("with Carol", vec![&bobs, &carols]),
        ("with a group", vec![&bobs, &group]),
        ("a group's", vec![&group]),
    ] {
        let body = json!({ "name": name, "owners": owners });
        let made = app.post(ACCOUNTS).as_user(alice).json(&body).await.ok();
        app.call_it(name, made.field("id"));
    }
    scenario
}

#[tokio::test]
async fn accounts_without_an_active_owner_are_one_page() {
    let Scenario { app, alice, bob, .. } = set().await;
    let all = ["a group's", "alone", "bot", "with a group", "with Carol"];
    assert_eq!(names(&app, &alice, "owner_active=false").await, [""; 0]);
    assert_eq!(names(&app, &alice, "owner_active=true").await, all);
    set_active(&app, &alice, &bob, false).await;
    let path = format!("{ACCOUNTS}?owner_active=false");
    let (page, cost) = app.round_trips(app.get(&path).as_user(&alice).into_future()).await;
    // The caller's credential; the query; the accounts together with their owners.
    assert_eq!(cost, [("BatchGetItem", 2), ("Query", 1)]);
    assert_snapshot!(page, @r#"
    200 OK

    [
      {
        "id": "[alone]",
        "name": "alone",
        "active": true,
        "disabled_by": null,
        "disabled_at": null,
        "owner_user_id": "[bob]",
        "owners": [
          {
            "user_id": "[bob]"
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
    ]
    "#);
    for query in ["", "&limit=1", "&limit=2"] {
        assert_eq!(names(&app, &alice, &format!("owner_active=false{query}")).await, ["alone"], "{query}");
        let looked_after = names(&app, &alice, &format!("owner_active=true{query}")).await;
        assert_eq!(looked_after, ["a group's", "bot", "with a group", "with Carol"], "{query}");
    }
}

#[tokio::test]
async fn it_is_the_present_state_of_owners_that_counts() {
    let Scenario { app, alice, bob, carol, .. } = set().await;
    let ownerless = async || names(&app, &alice, "owner_active=false").await;
    set_active(&app, &alice, &bob, false).await;
    set_active(&app, &alice, &carol, false).await;
    assert_eq!(ownerless().await, ["alone", "with Carol"]);
    // Another owner is found for one.
    let list = app.get(format!("{ACCOUNTS}?owner_active=false")).as_user(&alice).await.ok().json();
    let account = format!("{ACCOUNTS}/{}", list[0]["id"].as_str().unwrap());
    let give = |owners: Value| app.patch(&account).as_user(&alice).json(&json!({ "owners": owners }));
    let two = json!([{ "user_id": bob.id }, { "group": "platform" }]);
    give(two).await.ok();
    assert_eq!(ownerless().await, ["with Carol"]);
    give(json!([{ "user_id": bob.id }, { "user_id": alice.id }])).await.ok();
    assert_eq!(ownerless().await, ["with Carol"]);
    give(json!([{ "user_id": bob.id }])).await.ok();
    assert_eq!(ownerless().await, ["alone", "with Carol"]);
    // Each account has one entry, whoever has owned it.
    let entries = app.contents().keys().filter(|key| key.starts_with("AGENTS#OWNERS ")).count();
    assert_eq!(entries, 5);
    set_active(&app, &alice, &carol, true).await;
    assert_eq!(ownerless().await, ["alone"]);
    set_active(&app, &alice, &bob, true).await;
    assert_eq!(ownerless().await, [""; 0]);
}

#[tokio::test]
async fn the_other_filters_narrow_it() {
    let Scenario { app, alice, bob, carol, .. } = set().await;
    for user in [&bob, &carol] {
        set_active(&app, &alice, user, false).await;
    }
    let list = app.get(format!("{ACCOUNTS}?owner_active=false")).as_user(&alice).await.ok().json();
    let change = json!({ "groups": ["bots"], "active": false });
    let path = format!("{ACCOUNTS}/{}", list[1]["id"].as_str().unwrap());
    app.patch(path).as_user(&alice).json(&change).await.ok();
    let only = [
        ("name_prefix=AL".to_owned(), "alone"),
        ("active=false".to_owned(), "with Carol"),
        ("active=true".to_owned(), "alone"),
        ("group=bots".to_owned(), "with Carol"),
        (format!("owner_user_id={}", carol.id), "with Carol"),
        ("sort=name&name_prefix=with".to_owned(), "with Carol"),
    ];
    for (query, name) in only {
        assert_eq!(names(&app, &alice, &format!("owner_active=false&{query}")).await, [name], "{query}");
    }
    assert_eq!(names(&app, &alice, "owner_active=true&name_prefix=with").await, ["with a group"]);
    let refused = app.get(format!("{ACCOUNTS}?owner_active=false&sort=id")).as_user(&alice).await;
    assert_snapshot!(refused.refusal(), @"400 sort: with owner_active, agent accounts are sorted by name");
    // A user who asks sees their own, of which they are an active owner.
    set_active(&app, &alice, &bob, true).await;
    let token = app.login.token("bob");
    for (query, count) in [("owner_active=false", 0), ("owner_active=true", 3), ("", 3)] {
        let list = app.get(format!("{ACCOUNTS}?{query}")).bearer(&token).await.ok().json();
        assert_eq!(list.as_array().unwrap().len(), count, "{query}");
    }
}

/// The longest name, and as many owners as there can be: an entry names them all.
#[tokio::test]
async fn an_account_of_many_owners_with_a_long_name_has_its_place_and_its_page() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    let mut owners = Vec::new();
    for n in 0..10 {
        owners.push(app.user(&format!("owner{n}")).await);
    }
    let ids: Vec<Value> = owners.iter().map(|user| json!({ "user_id": user.id })).collect();
    for last in ["1", "2"] {
        let body = json!({ "name": format!("{}{last}", "\u{1F980}".repeat(99)), "owners": ids });
        app.post(ACCOUNTS).as_user(&alice).json(&body).await.ok();
    }
    for user in &owners {
        set_active(&app, &alice, user, false).await;
    }
    for query in ["", "&limit=1"] {
        assert_eq!(names(&app, &alice, &format!("owner_active=false{query}")).await.len(), 2, "{query}");
    }
}

/// A user is erased from the table, but not from the account.
#[tokio::test]
async fn an_owner_who_is_not_there_is_not_active() {
    let Scenario { app, alice, bob, .. } = set().await;
    let key = Key::user(bob.id);
    app.remove(&key.pk, &key.sk);
    assert_eq!(names(&app, &alice, "owner_active=false").await, ["alone"]);
}
