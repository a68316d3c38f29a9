//! Lists sorted and filtered: what each order holds, that changes move what is in it, and what a page costs.

use std::future::IntoFuture;

use deputize_tests::{TestApp, User, store::skips_another_store};
use serde_json::{Value, json};
use uuid::Uuid;

use super::pages::{crowd, through};
use crate::scenario::Scenario;

/// One field of each item of a list, from all its pages.
async fn all(app: &TestApp, user: &User, path: &str, field: &str) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = app.get(path).as_user(user).await.ok();
        for item in page.json().as_array().unwrap() {
            seen.push(item[field].as_str().unwrap_or("-").to_owned());
        }
        next = page.next();
    }
    seen
}

async fn make(app: &TestApp, alice: &User, body: Value) -> String {
    app.post("/api/v1/users").as_user(alice).json(&body).await.ok().field("id")
}

#[tokio::test]
async fn users_are_sorted_by_name_and_by_email_without_case() {
    let Scenario { app, alice, .. } = Scenario::start().await;
    for (email, name) in [
        ("Zoe@example.com", Some("ann b")),
        ("y@example.com", Some("Ann")),
        ("x@example.com", Some("ÉMILE")),
        ("w@example.com", None),
    ] {
        make(&app, &alice, json!({ "email": email, "name": name })).await;
    }
    let by =
        async |query: &str, field: &str| all(&app, &alice, &format!("/api/v1/users?{query}"), field).await;
    let by_name = ["alice", "Ann", "ann b", "bob", "carol", "ÉMILE", "-"];
    assert_eq!(by("sort=name", "name").await, by_name);
    assert_eq!(by("sort=name&limit=2", "name").await, by_name);
    let by_email =
        ["alice@", "bob@", "carol@", "w@", "x@", "y@", "zoe@"].map(|name| format!("{name}example.com"));
    assert_eq!(by("sort=email", "email").await, by_email);
    assert_eq!(by("sort=email&limit=3", "email").await, by_email);
    assert_eq!(by("name_prefix=AN", "name").await, ["Ann", "ann b"]);
    assert_eq!(by("name_prefix=%C3%A9m", "name").await, ["ÉMILE"]);
    assert_eq!(by("email_prefix=ZO", "email").await, ["zoe@example.com"]);
    assert_eq!(by("email_prefix=a&name_prefix=b", "name").await, [""; 0]);
    // A user without a name is among the others by their email, and begins with no name.
    assert_eq!(by("name_prefix=w", "email").await, [""; 0]);
}

#[tokio::test]
async fn a_change_of_a_user_moves_them_in_every_order() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let path = format!("/api/v1/users/{}", bob.id);
    let change = async |body: Value| app.patch(&path).as_user(&alice).json(&body).await.ok();
    let by = async |query: &str| all(&app, &alice, &format!("/api/v1/users?{query}"), "name").await;
    change(json!({ "groups": ["dev", "dev", "ops"] })).await;
    assert_eq!(by("group=dev").await, ["bob"]);
    assert_eq!(by("group=ops&sort=name").await, ["bob"]);
    change(json!({ "name": "Zed", "groups": ["ops"] })).await;
    assert_eq!(by("group=dev").await, [""; 0]);
    assert_eq!(by("group=ops").await, ["Zed"]);
    assert_eq!(by("sort=name").await, ["alice", "carol", "Zed"]);
    assert_eq!(by("role=admin").await, ["alice"]);
    change(json!({ "role": "admin", "active": false })).await;
    assert_eq!(by("role=admin").await, ["alice", "Zed"]);
    assert_eq!(by("role=admin&active=true").await, ["alice"]);
    assert_eq!(by("active=false").await, ["Zed"]);
    assert_eq!(by("active=false&name_prefix=a").await, [""; 0]);
    assert_eq!(by("active=true&sort=name").await, ["alice", "carol"]);
    change(json!({ "role": "user", "active": true, "groups": [] })).await;
    for none in ["active=false", "group=ops"] {
        assert_eq!(by(none).await, [""; 0], "{none}");
    }
    assert_eq!(by("role=user&sort=name").await, ["carol", "Zed"]);
    // Nothing that led to what they were is left.
    let left: Vec<String> =
        app.contents().into_keys().filter(|key| key.contains(&bob.id.to_string())).collect();
    let lists = left.iter().filter(|key| key.starts_with("USERS#")).count();
    assert_eq!(lists, 2, "{left:?}");
}

#[tokio::test]
async fn fifty_groups_are_replaced_by_fifty_others_and_no_entry_stays() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let path = format!("/api/v1/users/{}", bob.id);
    let groups = |name: &str| (0..50).map(|n| format!("{name}{n}")).collect::<Vec<_>>();
    for name in ["a", "b"] {
        let body = json!({ "name": name, "groups": groups(name) });
        app.patch(&path).as_user(&alice).json(&body).await.ok();
    }
    let entries: Vec<String> =
        app.contents().into_keys().filter(|key| key.starts_with("USERS#GROUP#")).collect();
    assert_eq!(entries.len(), 50, "{entries:?}");
    assert!(entries.iter().all(|key| key.starts_with("USERS#GROUP#b")), "{entries:?}");
}

#[tokio::test]
async fn an_entry_that_its_user_does_not_have_is_not_shown() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    app.patch(format!("/api/v1/users/{}", bob.id))
        .as_user(&alice)
        .json(&json!({ "groups": ["dev"] }))
        .await
        .ok();
    let entry = app.contents().into_values().find(|item| item["pk"]["S"] == "USERS#GROUP#dev").unwrap();
    app.patch(format!("/api/v1/users/{}", bob.id)).as_user(&alice).json(&json!({ "groups": [] })).await.ok();
    app.put_item(&entry);
    assert_eq!(all(&app, &alice, "/api/v1/users?group=dev", "name").await, [""; 0]);
}

#[tokio::test]
async fn agents_are_found_by_name_owner_group_and_state() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let zeta = app.agent("Zeta", &bob).await;
    app.agent("alpha", &bob).await;
    let path = format!("/api/v1/agent-accounts/{}", zeta.id);
    app.patch(&path).as_user(&alice).json(&json!({ "groups": ["dev"], "active": false })).await.ok();
    let by = async |user: &User, query: &str| {
        all(&app, user, &format!("/api/v1/agent-accounts?{query}"), "name").await
    };
    assert_eq!(by(&alice, "sort=name").await, ["alpha", "bot", "Zeta"]);
    assert_eq!(by(&alice, "sort=name&limit=1").await, ["alpha", "bot", "Zeta"]);
    assert_eq!(by(&alice, "name_prefix=z").await, ["Zeta"]);
    assert_eq!(by(&alice, &format!("owner_user_id={}", bob.id)).await, ["alpha", "Zeta"]);
    assert_eq!(by(&alice, "group=dev").await, ["Zeta"]);
    assert_eq!(by(&alice, "active=false").await, ["Zeta"]);
    assert_eq!(by(&alice, "active=true&sort=name").await, ["alpha", "bot"]);
    assert_eq!(by(&bob, "sort=name").await, ["alpha", "Zeta"]);
    assert_eq!(by(&bob, "name_prefix=b").await, [""; 0]);
    let others = format!("/api/v1/agent-accounts?owner_user_id={}", alice.id);
    assert_eq!(app.get(others).as_user(&bob).await.status, 403);
    // Given to another owner, renamed and let go on, they are found by that.
    let body = json!({ "owner_user_id": alice.id, "name": "beta", "active": true, "groups": [] });
    app.patch(&path).as_user(&alice).json(&body).await.ok();
    assert_eq!(by(&bob, "sort=name").await, ["alpha"]);
    assert_eq!(by(&alice, &format!("owner_user_id={}", alice.id)).await, ["beta", "bot"]);
    for none in ["group=dev", "active=false", "name_prefix=Z"] {
        assert_eq!(by(&alice, none).await, [""; 0], "{none}");
    }
    let _ = bot;
}

#[tokio::test]
async fn servers_are_found_by_name_and_state() {
    let Scenario { app, alice, carol, .. } = Scenario::start().await;
    for id in ["s1", "s2", "s3"] {
        app.server(id).await;
    }
    for (id, body) in [("s1", json!({ "name": "Zoo" })), ("s2", json!({ "name": "apes", "active": false }))] {
        app.patch(format!("/api/v1/servers/{id}")).as_user(&alice).json(&body).await.ok();
    }
    let by = async |query: &str| all(&app, &carol, &format!("/api/v1/servers?{query}"), "id").await;
    assert_eq!(by("sort=name").await, ["s2", "s3", "s1"]);
    assert_eq!(by("sort=id").await, ["s1", "s2", "s3"]);
    assert_eq!(by("name_prefix=zo").await, ["s1"]);
    assert_eq!(by("active=false").await, ["s2"]);
    assert_eq!(by("active=true&sort=name").await, ["s3", "s1"]);
}

#[tokio::test]
async fn a_wrong_filter_is_named_and_a_cursor_is_good_in_its_order_only() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 6).await;
    let Scenario { app, alice, bob, .. } = &scenario;
    for (query, said) in [
        ("sort=colour", "400 sort: "),
        ("active=maybe", "400 active: "),
        ("role=owner", "400 role: "),
        ("limit=1001", "400 limit must be from 1 to 1000"),
        ("name_prefix=", "400 name_prefix: must have 1 to 200 characters"),
        ("prefix=a", "400 "),
    ] {
        let refusal = app.get(format!("/api/v1/users?{query}")).as_user(alice).await.refusal();
        assert!(refusal.starts_with(said), "{query}: {refusal}");
    }
    assert_eq!(app.get("/api/v1/users?group=dev").as_user(bob).await.status, 403);
    let next = app.get("/api/v1/users?sort=email&limit=2").as_user(alice).await.next().unwrap();
    let cursor = next.split_once("cursor=").unwrap().1.to_owned();
    for other in ["sort=name", "group=dev", "email_prefix=zz"] {
        let answer = app.get(format!("/api/v1/users?{other}&cursor={cursor}")).as_user(alice).await;
        assert_eq!(answer.refusal(), "400 cursor is not one of this list", "{other}");
    }
}

#[tokio::test]
async fn a_page_can_hold_a_thousand() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 205).await;
    for path in ["/api/v1/users?limit=1000", "/api/v1/users?limit=1000&sort=name"] {
        let (ids, pages) = through(&scenario.app, &scenario.alice, path).await;
        assert_eq!((ids.len(), pages), (208, vec![208]), "{path}");
    }
    let path = format!("/api/v1/agent-accounts/{}/delegations?limit=150", scenario.bot.id);
    let (ids, pages) = through(&scenario.app, &scenario.alice, &path).await;
    assert_eq!((ids.len(), pages), (206, vec![150, 56]));
}

/// 20,000 users, each in one of two groups, and every hundredth deactivated: copies of two that were made by the API.
async fn twenty_thousand(app: &TestApp, alice: &User) {
    let models = [("first", "dev", true), ("second", "ops", false)];
    let mut made = Vec::new();
    for (name, group, active) in models {
        let body = json!({ "email": format!("{name}@example.com"), "name": name, "groups": [group] });
        let id = make(app, alice, body).await;
        if !active {
            let path = format!("/api/v1/users/{id}");
            app.patch(path).as_user(alice).json(&json!({ "active": false })).await.ok();
        }
        made.push((id, name));
    }
    let contents = app.contents();
    for (which, (id, name)) in made.iter().enumerate() {
        let items = contents.values().filter(|item| item.to_string().contains(id.as_str()));
        let items: Vec<Value> = items.cloned().collect();
        let numbers = (0..20_000).filter(|n| usize::from(n % 100 == 0) == which);
        let texts = numbers.map(|n| {
            let name_of_copy = ((*name).to_owned(), format!("n{n:05}"));
            [(id.clone(), Uuid::new_v4().to_string()), name_of_copy]
        });
        app.copy_items(&items, texts);
    }
}

#[tokio::test]
async fn a_page_of_each_order_of_twenty_thousand_users_is_a_query_and_a_read() {
    if skips_another_store("it has no bulk import") {
        return;
    }
    let Scenario { app, alice, .. } = Scenario::start().await;
    twenty_thousand(&app, &alice).await;
    let lists = [
        ("", 100),
        ("?sort=email", 100),
        ("?sort=name", 100),
        ("?email_prefix=n1", 100),
        ("?name_prefix=n19", 100),
        ("?group=dev", 100),
        ("?group=ops&sort=name", 100),
        ("?active=false", 100),
        ("?role=admin", 1),
        ("?active=true&sort=email", 99),
    ];
    app.get("/api/v1/users?sort=name&limit=1").as_user(&alice).await.ok();
    for (query, count) in lists {
        let ask = app.get(format!("/api/v1/users{query}")).as_user(&alice);
        let (page, cost) = app.round_trips(ask.into_future()).await;
        let found = page.ok().json().as_array().unwrap().len();
        // One of the two reads is of the caller's credential.
        assert_eq!((found, &*cost), (count, &[("BatchGetItem", 2), ("Query", 1)][..]), "{query}");
    }
    // A thousand are ten reads at the same time.
    let ask = app.get("/api/v1/users?sort=name&limit=1000").as_user(&alice);
    let (page, cost) = app.round_trips(ask.into_future()).await;
    assert_eq!(page.ok().json().as_array().unwrap().len(), 1000);
    assert_eq!(cost, [("BatchGetItem", 11), ("Query", 1)]);
}
