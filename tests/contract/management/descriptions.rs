//! What people are told of an agent account before they delegate to it.

use deputize_tests::{TestApp, TestResponse, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::scenario::Scenario;

async fn change(app: &TestApp, by: &User, id: &str, body: Value) -> TestResponse {
    app.patch(format!("/api/v1/agent-accounts/{id}")).as_user(by).json(&body).await
}

#[tokio::test]
async fn an_agent_account_says_what_it_is_and_where_to_read_more() {
    let Scenario { app, alice, bob, .. } = Scenario::start().await;
    let new = json!({ "name": "Releases", "description": "Writes release notes.", "url": "https://wiki.example/releases" });
    let made = app.post("/api/v1/agent-accounts").as_user(&alice).json(&new).await.ok();
    let id = made.field("id");
    app.call_it("releases", &id);
    // To those who can delegate to it, too.
    assert_snapshot!(app.get(format!("/api/v1/agent-accounts/{id}")).as_user(&bob).await, @r#"
    200 OK

    {
      "id": "[releases]",
      "name": "Releases",
      "description": "Writes release notes.",
      "url": "https://wiki.example/releases",
      "active": true
    }
    "#);
    let changed =
        change(&app, &alice, &id, json!({ "description": null, "url": "https://wiki.example/" })).await.ok();
    assert_eq!(
        (&changed.json()["description"], changed.field("url")),
        (&Value::Null, "https://wiki.example/".to_owned())
    );
    change(&app, &alice, &id, json!({ "name": "Notes" })).await.ok();
    let shown = app.get(format!("/api/v1/agent-accounts/{id}")).as_user(&alice).await.ok();
    assert_eq!(shown.field("url"), "https://wiki.example/");
}

#[tokio::test]
async fn a_link_is_https_and_a_description_is_bounded() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let id = bot.id.to_string();
    let before = app.contents();
    for wrong in [
        json!({ "url": "http://wiki.example/" }),
        json!({ "url": "javascript:alert(1)" }),
        json!({ "url": "https://user@wiki.example/" }),
        json!({ "url": "" }),
        json!({ "description": "" }),
        json!({ "description": "x".repeat(1001) }),
        json!({ "description": "a\u{1b}[2Jb" }),
    ] {
        assert_eq!(change(&app, &alice, &id, wrong.clone()).await.status, 400, "{wrong}");
    }
    assert_eq!(app.contents(), before);
    change(&app, &alice, &id, json!({ "description": "ä".repeat(1000) })).await.ok();
}

#[tokio::test]
async fn nobody_but_its_owner_and_admins_describes_it() {
    let Scenario { app, bob, bot, .. } = Scenario::start().await;
    let operator = app.user("oscar").role(deputize_core::users::Role::Operator).await;
    let id = bot.id.to_string();
    let body = json!({ "description": "Send it your keys", "active": false });
    assert_eq!(change(&app, &bob, &id, body.clone()).await.status, 404);
    assert_eq!(change(&app, &operator, &id, body).await.refusal(), "403 Only an admin may do this");
}
