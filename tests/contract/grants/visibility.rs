//! Who sees which grants.

use deputize_tests::User;
use insta::assert_snapshot;

use super::{Connected, shown};

async fn all_seen_by(it: &Connected, user: &User) -> String {
    shown(&it.app().get(it.grants()).as_user(user).await.ok().json())
}

#[tokio::test]
async fn one_sees_ones_own_grants_and_the_shared_one_and_nobody_elses() {
    let it = Connected::set().await;
    it.create(&it.scenario.alice, true).await.ok();
    it.create(&it.scenario.bob, false).await.ok();
    it.create(&it.scenario.carol, false).await.ok();
    let answer = it.app().get(it.grants()).as_user(&it.scenario.bob).await;
    assert_snapshot!(answer, @r#"
    200 OK

    [
      {
        "id": "[bob's grant]",
        "agent_account_id": "[bot]",
        "server_id": "chat",
        "grantor_user_id": "[bob]",
        "grantor_email": "bob@example.com",
        "shared": false,
        "is_active": true,
        "displaced_by_user_id": null,
        "displaced_by_email": null,
        "displaced_at": null,
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z"
      },
      {
        "id": "[alice's grant]",
        "agent_account_id": "[bot]",
        "server_id": "chat",
        "grantor_user_id": "[alice]",
        "grantor_email": "alice@example.com",
        "shared": true,
        "is_active": true,
        "displaced_by_user_id": null,
        "displaced_by_email": null,
        "displaced_at": null,
        "created_at": "2026-01-15T09:00:00.000Z",
        "updated_at": "2026-01-15T09:00:00.000Z"
      }
    ]
    "#);
    assert_eq!(all_seen_by(&it, &it.scenario.bob).await, it.seen_by(&it.scenario.bob).await);
}

#[tokio::test]
async fn an_admin_and_owner_does_not_see_anothers_personal_grant_either() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    assert_eq!(all_seen_by(&it, &it.scenario.alice).await, "");
    assert_eq!(it.seen_by(&it.scenario.alice).await, "");
}

#[tokio::test]
async fn ones_own_revoked_grant_is_shown_as_revoked_to_oneself_only() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, true).await.ok();
    it.create(&it.scenario.carol, true).await.ok();
    assert_snapshot!(all_seen_by(&it, &it.scenario.bob).await, @"
    bob personal revoked
    carol shared active
    ");
    assert_snapshot!(all_seen_by(&it, &it.scenario.alice).await, @"carol shared active");
}

#[tokio::test]
async fn a_filter_leaves_other_servers_out() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    let other = it.app().get(format!("{}?server_id=other", it.grants())).as_user(&it.scenario.bob).await;
    assert_snapshot!(other, @"
    200 OK

    []
    ");
    let wrong = it.app().get(format!("{}?server_id=No%20Id", it.grants())).as_user(&it.scenario.bob).await;
    assert_snapshot!(wrong.refusal(), @"400 server_id: a server id has 1 to 64 characters of a-z, 0-9, '-' and '_', and starts with a letter or digit");
}

#[tokio::test]
async fn an_agent_that_is_not_there_has_no_list() {
    let it = Connected::set().await;
    let elsewhere = "/api/v1/agent-accounts/00000000-0000-4000-8000-000000000001/session-grants";
    assert_snapshot!(it.app().get(elsewhere).as_user(&it.scenario.bob).await.refusal(), @"404 No such agent account");
    let malformed = "/api/v1/agent-accounts/bot/session-grants";
    assert_snapshot!(it.app().get(malformed).as_user(&it.scenario.bob).await.refusal(), @"404 No such thing: the id in the path is malformed");
}

#[tokio::test]
async fn a_list_over_several_pages_holds_everything_once() {
    let it = Connected::set().await;
    let mut expected = Vec::new();
    for n in 0..5 {
        let server = it.app().server(&format!("s{n}")).oauth().await;
        for (user, shared) in [(&it.scenario.bob, false), (&it.scenario.carol, true)] {
            it.app().connect(user, &server).await;
            let body = serde_json::json!({ "server_id": server.id, "shared": shared });
            // Carol's comes first: sharing it revokes the earlier grants.
            if shared || n % 2 == 0 {
                it.app().post(it.grants()).as_user(user).json(&body).await.ok();
            }
        }
        if n % 2 == 0 {
            let body = serde_json::json!({ "server_id": server.id });
            it.app().post(it.grants()).as_user(&it.scenario.bob).json(&body).await.ok();
            expected.push(format!("s{n} bob@example.com"));
        }
        expected.push(format!("s{n} carol@example.com"));
    }
    expected.sort();
    for limit in [1, 2, 3, 4, 100] {
        let (mut seen, mut next) = (Vec::new(), Some(format!("{}?limit={limit}", it.grants())));
        while let Some(path) = next {
            let page = it.app().get(path).as_user(&it.scenario.bob).await.ok();
            let items = page.json();
            assert!(items.as_array().unwrap().len() <= limit);
            for grant in items.as_array().unwrap() {
                let text = |name: &str| grant[name].as_str().unwrap().to_owned();
                seen.push(format!("{} {}", text("server_id"), text("grantor_email")));
            }
            next = page.next();
        }
        seen.sort();
        assert_eq!(seen, expected, "in pages of {limit}");
    }
}
