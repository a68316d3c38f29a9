//! Ids of other people's things: not found, or forbidden, and nothing changed.

use deputize_tests::{TestRequest, jwt::SigningKey};
use serde_json::json;

use crate::grants::Connected;

#[tokio::test]
async fn a_stranger_finds_none_of_it_and_changes_none_of_it() {
    let it = Connected::set().await;
    let (app, bob, carol, bot) = (it.app(), &it.scenario.bob, &it.scenario.carol, &it.scenario.bot);
    let grant = it.create(bob, false).await.ok().field("id");
    let delegation =
        app.get("/api/v1/delegations").as_user(bob).await.json()[0]["id"].as_str().unwrap().to_owned();
    let key = app.get("/api/v1/api-keys").as_user(bob).await.json()[0]["id"].as_str().unwrap().to_owned();
    let secrets =
        app.get(format!("/api/v1/agent-accounts/{}/secrets", bot.id)).as_user(&it.scenario.alice).await;
    let secret = secrets.json()[0]["id"].as_str().unwrap().to_owned();
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    let jwk = json!({ "jwk": SigningKey::es256().jwk("k") });
    let public =
        app.post(format!("{agent}/keys")).as_user(&it.scenario.alice).json(&jwk).await.ok().field("id");
    let (before, trail) = (app.contents(), app.trail().len());
    let not_found: Vec<(&str, TestRequest)> = vec![
        ("revoke a grant", app.delete(format!("/api/v1/session-grants/{grant}"))),
        ("revoke a delegation", app.delete(format!("/api/v1/delegations/{delegation}"))),
        ("revoke a key as one's own", app.delete(format!("/api/v1/api-keys/{key}"))),
        ("see an agent's secrets", app.get(format!("{agent}/secrets"))),
        ("add a secret", app.post(format!("{agent}/secrets"))),
        ("revoke a secret", app.delete(format!("{agent}/secrets/{secret}"))),
        ("see an agent's keys", app.get(format!("{agent}/keys"))),
        (
            "add a key",
            app.post(format!("{agent}/keys")).json(&json!({ "jwk": SigningKey::es256().jwk("mine") })),
        ),
        ("delete a key", app.delete(format!("{agent}/keys/{public}"))),
        ("change an agent", app.patch(&agent).json(&json!({ "active": false }))),
    ];
    for (what, ask) in not_found {
        let answer = ask.as_user(carol).await;
        assert_eq!(answer.status, 404, "{what}: {answer}");
    }
    assert_eq!(app.contents(), before);
    assert_eq!(app.trail().len(), trail);
}

#[tokio::test]
async fn what_was_never_there_looks_the_same_as_what_is_anothers() {
    let it = Connected::set().await;
    let (app, carol) = (it.app(), &it.scenario.carol);
    let grant = it.create(&it.scenario.bob, false).await.ok().field("id");
    let nobodys = "00000000-0000-4000-8000-000000000001";
    let others = app.delete(format!("/api/v1/session-grants/{grant}")).as_user(carol).await;
    let none = app.delete(format!("/api/v1/session-grants/{nobodys}")).as_user(carol).await;
    assert_eq!(others.text, none.text);
    let id = it.scenario.bot.id;
    let others = app.get(format!("/api/v1/agent-accounts/{id}/secrets")).as_user(carol).await;
    let none = app.get(format!("/api/v1/agent-accounts/{nobodys}/secrets")).as_user(carol).await;
    assert_eq!(others.text, none.text);
}
