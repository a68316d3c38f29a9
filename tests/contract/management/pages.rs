//! Lists of more than a page: `Link` leads through them, and everything is there once.

use std::collections::BTreeSet;

use deputize_core::{
    seed::Seed,
    users::{NewUser, Role},
};
use deputize_tests::{TestApp, User};
use insta::assert_snapshot;

use crate::scenario::Scenario;

/// Users who all delegate to the agent, made in several transactions.
pub(super) async fn crowd(scenario: &Scenario, count: usize) {
    let mut n = 0;
    while n < count {
        let mut seed = Seed::new(&scenario.app.core);
        for _ in 0..9.min(count - n) {
            let email = Some(format!("u{n:03}@example.com").parse().unwrap());
            let new = NewUser { email, name: None, role: Role::User, groups: Vec::new(), identity: None };
            let user = seed.user(new).unwrap();
            seed.delegation(scenario.bot.id, user.id).unwrap();
            n += 1;
        }
        seed.plant().await.unwrap();
    }
}

/// All ids of a list, page by page, and the number of ids on each page.
pub(super) async fn through(app: &TestApp, user: &User, first: &str) -> (BTreeSet<String>, Vec<usize>) {
    let (mut ids, mut pages, mut next) = (BTreeSet::new(), Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let page = app.get(path).as_user(user).await.ok();
        let items = page.json().as_array().unwrap().clone();
        pages.push(items.len());
        for item in items {
            let id = item["id"].as_str().unwrap().to_owned();
            assert!(ids.insert(id), "twice: {item}");
        }
        next = page.next();
    }
    (ids, pages)
}

#[tokio::test]
async fn a_long_list_comes_in_pages_of_a_hundred() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 205).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", scenario.bot.id);
    let (ids, pages) = through(&scenario.app, &scenario.alice, &path).await;
    assert_eq!((ids.len(), pages), (206, vec![100, 100, 6]));
    let (users, _) = through(&scenario.app, &scenario.alice, "/api/v1/users").await;
    assert_eq!(users.len(), 208);
}

#[tokio::test]
async fn a_page_may_be_smaller_and_its_link_keeps_the_limit() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 6).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations?limit=3", scenario.bot.id);
    let first = scenario.app.get(&path).as_user(&scenario.alice).await;
    scenario.app.call_it("bot", scenario.bot.id.to_string());
    assert_snapshot!(scenario.app.shown(first.header("link").unwrap()), @r#"</api/v1/agent-accounts/[bot]/delegations?limit=3&cursor=[cursor]>; rel="next""#);
    let (ids, pages) = through(&scenario.app, &scenario.alice, &path).await;
    assert_eq!(ids.len(), 7);
    assert!(pages.iter().all(|count| *count <= 3));
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let scenario = Scenario::start().await;
    crowd(&scenario, 6).await;
    let path = format!("/api/v1/agent-accounts/{}/delegations?limit=3", scenario.bot.id);
    let next = scenario.app.get(path).as_user(&scenario.alice).await.next().unwrap();
    let cursor = next.split_once('?').unwrap().1;
    let answer = scenario.app.get(format!("/api/v1/api-keys?{cursor}")).as_user(&scenario.alice).await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "cursor is not one of this list",
      "detail": "cursor is not one of this list",
      "reason": "request_invalid"
    }
    "#);
}

#[tokio::test]
async fn anothers_cursor_shows_nothing_that_is_not_ones_own() {
    let scenario = Scenario::start().await;
    for n in 0..3 {
        let body = serde_json::json!({ "name": format!("k{n}") });
        scenario.app.post("/api/v1/api-keys").as_user(&scenario.bob).json(&body).await.ok();
    }
    let bobs = scenario.app.get("/api/v1/api-keys?limit=2").as_user(&scenario.bob).await.next().unwrap();
    let list = scenario.app.get(bobs).as_user(&scenario.carol).await.ok().json();
    for key in list.as_array().unwrap() {
        assert_eq!(key["user_id"], scenario.carol.id.to_string());
    }
}
