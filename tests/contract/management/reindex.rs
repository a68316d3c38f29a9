//! A deployment that was updated: its lists answer as before until `deputize reindex` has run, and say so where they cannot.

use deputize_core::{reindex, vault::Vault};
use deputize_tests::{TestApp, User, app::root};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::pages::crowd;
use crate::{grants::Connected, scenario::Scenario};

/// A process of the new version on a table from before it.
async fn updated(app: &TestApp) -> TestApp {
    app.forget_entries_of_lists();
    app.another(Vault::new(root(7), Vec::new())).await
}

async fn names(app: &TestApp, user: &User, path: &str) -> Vec<String> {
    let list = app.get(path).as_user(user).await.ok().json();
    let mut names: Vec<String> =
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn before_it_filters_are_asked_of_the_items_and_an_order_is_refused() {
    let scenario = Scenario::start().await;
    let Scenario { alice, bob, .. } = &scenario;
    let groups = json!({ "groups": ["dev"] });
    scenario.app.patch(format!("/api/v1/users/{}", bob.id)).as_user(alice).json(&groups).await.ok();
    scenario.app.server("demo").await;
    let app = updated(&scenario.app).await;
    assert_eq!(names(&app, alice, "/api/v1/users").await, ["alice", "bob", "carol"]);
    assert_eq!(names(&app, alice, "/api/v1/users?group=dev").await, ["bob"]);
    assert_eq!(names(&app, alice, "/api/v1/users?name_prefix=C").await, ["carol"]);
    assert_eq!(names(&app, alice, "/api/v1/users?role=admin").await, ["alice"]);
    assert_eq!(names(&app, alice, "/api/v1/agent-accounts?name_prefix=b").await, ["bot"]);
    assert_eq!(names(&app, bob, "/api/v1/available-agents").await, ["bot"]);
    assert_eq!(names(&app, bob, "/api/v1/servers?name_prefix=d").await, ["demo"]);
    assert_eq!(names(&app, bob, &format!("/api/v1/users/{}/agents", bob.id)).await, ["bot"]);
    for path in [
        "/api/v1/users?sort=name".to_owned(),
        "/api/v1/users?sort=email&group=dev".to_owned(),
        "/api/v1/agent-accounts?sort=name".to_owned(),
        "/api/v1/servers?sort=name".to_owned(),
        format!("/api/v1/users/{}/session-grants", bob.id),
        "/api/v1/servers/demo/delegations".to_owned(),
        "/api/v1/servers/demo/session-grants".to_owned(),
        "/api/v1/servers/demo/connections".to_owned(),
        "/api/v1/agent-accounts?owner_active=false".to_owned(),
    ] {
        let answer = app.get(&path).as_user(alice).await;
        assert_eq!(
            (answer.status.as_u16(), answer.field("reason").as_str()),
            (409, "list_incomplete"),
            "{path}"
        );
    }
    assert_snapshot!(app.get("/api/v1/users?sort=name").as_user(alice).await, @r#"
    409 Conflict

    {
      "error": "conflict",
      "error_description": "The entries of this list are not complete since the deployment was updated; its operator must run `deputize reindex`",
      "detail": "The entries of this list are not complete since the deployment was updated; its operator must run `deputize reindex`",
      "reason": "list_incomplete"
    }
    "#);
}

/// Everything that lists are made of, without revisions.
fn entries(app: &TestApp) -> Vec<Value> {
    let mut items: Vec<Value> = app.contents().into_values().collect();
    for item in &mut items {
        item.as_object_mut().unwrap().remove("rev");
    }
    items
}

#[tokio::test]
async fn it_makes_the_table_what_it_would_be_if_it_had_always_had_the_lists() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, true).await.ok();
    let carols = it.create(&it.scenario.carol, false).await.ok().field("id");
    it.revoke(&it.scenario.carol, &carols).await.ok();
    let (app, carol) = (it.app(), &it.scenario.carol);
    let delegations = format!("/api/v1/agent-accounts/{}/delegations", it.scenario.bot.id);
    let body = json!({ "server_ids": ["chat"], "expires_at": "2027-01-01T00:00:00Z" });
    app.post(delegations).as_user(carol).json(&body).await.ok();
    let complete = entries(app);
    let updated = updated(app).await;
    assert_ne!(entries(&updated), complete);
    reindex::run(&updated.core.table, false, |_| {}).await.unwrap();
    assert_eq!(entries(&updated), complete);
    updated.get("/api/v1/users?sort=name").as_user(&it.scenario.alice).await.ok();
    // It changes nothing if it runs again.
    let before = updated.contents();
    for again in [false, true] {
        let mut added = 0;
        reindex::run(&updated.core.table, again, |progress| added += progress.added).await.unwrap();
        assert_eq!(added, 0);
    }
    assert_eq!(updated.contents().len(), before.len());
}

#[tokio::test]
async fn it_goes_on_where_it_was_interrupted_and_tells_how_far_it_has_come() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 205).await;
    let app = updated(&scenario.app).await;
    let table = app.core.table.clone();
    let (first, at_page) = tokio::sync::oneshot::channel();
    let mut first = Some(first);
    let interrupted = reindex::run(&table, false, |progress| {
        if let Some(first) = first.take() {
            first.send(progress).unwrap();
        }
    });
    let progress = tokio::select! {
        biased;
        progress = at_page => progress.unwrap(),
        _ = interrupted => panic!("it was over at once"),
    };
    assert_eq!((progress.walked, progress.added, progress.is_complete), (100, 100, false));
    let refused = app.get("/api/v1/users?sort=name").as_user(&scenario.alice).await;
    assert_eq!(refused.status, 409);
    let mut walked = Vec::new();
    reindex::run(&table, false, |progress| walked.push((progress.index.name(), progress.walked)))
        .await
        .unwrap();
    assert_eq!(walked[..2], [("users", 100), ("users", 108)]);
    let all = app.get("/api/v1/users?sort=name&limit=1000").as_user(&scenario.alice).await.ok().json();
    assert_eq!(all.as_array().unwrap().len(), 208);
}

#[tokio::test]
async fn what_is_made_and_changed_beside_it_is_in_the_lists() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 30).await;
    let app = updated(&scenario.app).await;
    let alice = &scenario.alice;
    let changes = async {
        for n in 0..10 {
            let user = app
                .post("/api/v1/users")
                .as_user(alice)
                .json(&json!({ "name": format!("new {n}"), "email": format!("new{n}@example.com") }));
            let id = user.await.ok().field("id");
            let body = json!({ "name": format!("newer {n}"), "groups": ["dev"] });
            app.patch(format!("/api/v1/users/{id}")).as_user(alice).json(&body).await.ok();
        }
        let bob = format!("/api/v1/users/{}", scenario.bob.id);
        app.patch(bob).as_user(alice).json(&json!({ "name": "newer bob", "groups": ["dev"] })).await.ok();
    };
    let (walk, ()) = tokio::join!(reindex::run(&app.core.table, false, |_| {}), changes);
    walk.unwrap();
    assert_eq!(names(&app, alice, "/api/v1/users?group=dev").await.len(), 11);
    assert_eq!(names(&app, alice, "/api/v1/users?name_prefix=newer").await.len(), 11);
    assert_eq!(names(&app, alice, "/api/v1/users?name_prefix=new+").await, [""; 0]);
}
