//! What was before and what is after each change.

use std::{fmt::Write, future::IntoFuture, time::Duration};

use deputize_tests::{TestRequest, TestResponse};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::events;
use crate::{grants::Connected, proxy::Permitted};

/// The changes of the event of a request, a line each.
fn changes(it: &Permitted, answer: &TestResponse) -> String {
    let request = answer.header("x-request-id").unwrap();
    let trail = it.app().trail();
    let event = trail.iter().find(|event| event["request_id"] == request).unwrap();
    shown(it, event)
}

fn shown(it: &Permitted, event: &Value) -> String {
    let mut text = event["action"].as_str().unwrap().to_owned();
    for change in event["changes"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let field = change["field"].as_str().unwrap();
        write!(text, "\n{field}: {} -> {}", change["before"], change["after"]).unwrap();
    }
    it.app().shown(&text)
}

async fn sent(it: &Permitted, request: TestRequest, body: &Value) -> String {
    let answer = request.as_user(&it.scenario.alice).json(body).into_future().await.ok();
    changes(it, &answer)
}

#[tokio::test]
async fn a_users_changes_say_what_was_before_and_after() {
    let it = Permitted::set().await;
    let new = json!({ "email": "dora@acme.test", "name": "Dora", "groups": ["ops"] });
    let made = it.app().post("/api/v1/users").as_user(&it.scenario.alice).json(&new).await.ok();
    assert_snapshot!(changes(&it, &made), @r#"
    user.create
    active: null -> true
    claims: null -> []
    email: null -> "dora@acme.test"
    epoch: null -> 0
    groups: null -> ["ops"]
    identities: null -> []
    name: null -> "Dora"
    role: null -> "user"
    "#);
    let path = format!("/api/v1/users/{}", made.field("id"));
    let change = json!({ "role": "admin", "active": false, "groups": ["ops", "staff"] });
    assert_snapshot!(sent(&it, it.app().patch(path), &change).await, @r#"
    user.update
    active: true -> false
    deactivated_at: null -> "2026-01-15T09:00:00.000Z"
    epoch: 0 -> 1
    groups: ["ops"] -> ["ops","staff"]
    role: "user" -> "admin"
    "#);
}

#[tokio::test]
async fn a_policys_text_is_kept_before_and_after() {
    let it = Permitted::set().await;
    let policy = |name: &str, text: &str| json!({ "name": name, "text": text });
    let (one, other) = ("permit(principal, action, resource);", "forbid(principal, action, resource);");
    let made =
        it.app().post("/api/v1/policies").as_user(&it.scenario.alice).json(&policy("p", one)).await.ok();
    let path = format!("/api/v1/policies/{}", made.field("id"));
    assert_snapshot!(changes(&it, &made), @r#"
    policy.create
    name: null -> "p"
    text: null -> "permit(principal, action, resource);"
    "#);
    assert_snapshot!(sent(&it, it.app().put(path.as_str()), &policy("p", other)).await, @r#"
    policy.update
    text: "permit(principal, action, resource);" -> "forbid(principal, action, resource);"
    "#);
    let gone = it.app().delete(path).as_user(&it.scenario.alice).await.ok();
    assert_snapshot!(changes(&it, &gone), @r#"
    policy.delete
    name: "p" -> null
    text: "forbid(principal, action, resource);" -> null
    "#);
}

#[tokio::test]
async fn an_agents_changes_show_its_secrets_ids_and_never_a_secret_or_a_hash() {
    let it = Permitted::set().await;
    let path = format!("/api/v1/agent-accounts/{}", it.bot().id);
    assert_snapshot!(sent(&it, it.app().patch(path.as_str()), &json!({ "name": "Bot 2", "groups": ["g"] })).await, @r#"
    agent_account.update
    groups: [] -> ["g"]
    name: "bot" -> "Bot 2"
    "#);
    let secret =
        it.app().post(format!("{path}/secrets")).as_user(&it.scenario.alice).json(&json!({})).await.ok();
    let text = changes(&it, &secret);
    assert!(text.contains(&it.app().shown(&secret.field("id"))), "{text}");
    assert!(!text.contains("hash") && !text.contains(&secret.field("client_secret")), "{text}");
    assert!(text.starts_with("client_secret.create\nsecrets: ["), "{text}");
}

#[tokio::test]
async fn a_delegation_in_the_place_of_another_says_which_and_its_end_is_a_change() {
    let it = Permitted::set().await;
    let path = format!("/api/v1/agent-accounts/{}/delegations", it.bot().id);
    let ask = |body: Value| it.app().post(path.as_str()).as_user(it.bob()).json(&body).into_future();
    let first = it.app().trail().iter().rfind(|event| event["action"] == "delegation.create").cloned();
    assert!(first.unwrap()["changes"].as_array().unwrap().iter().all(|change| change["before"].is_null()));
    let narrowed = ask(json!({ "server_ids": ["demo"] })).await.ok();
    assert_snapshot!(changes(&it, &narrowed), @r#"
    delegation.create
    id: "[bob's delegation]" -> "[uuid]"
    server_ids: null -> ["demo"]
    "#);
    it.app().pass(Duration::from_secs(1));
    let ended =
        it.app().delete(format!("/api/v1/delegations/{}", narrowed.field("id"))).as_user(it.bob()).await;
    assert_snapshot!(changes(&it, &ended.ok()), @r#"
    delegation.revoke
    revoked_at: null -> "2026-01-15T09:00:01.000Z"
    "#);
}

#[tokio::test]
async fn a_servers_changes_name_its_header_and_never_show_what_is_sent_in_it() {
    let it = Permitted::set().await;
    let new = json!({
        "id": "billing", "name": "Billing", "url": "https://billing.example.com/mcp", "auth": "header",
        "header": { "name": "x-api-key", "value": "very-secret-value" },
    });
    let text = sent(&it, it.app().post("/api/v1/servers"), &new).await;
    assert_snapshot!(text, @r#"
    server.create
    active: null -> true
    auth: null -> "header"
    header: null -> {"id":"[uuid]","name":"x-api-key"}
    name: null -> "Billing"
    pinning: null -> "off"
    pins_version: null -> 0
    url: null -> "https://billing.example.com/mcp"
    "#);
    let again = json!({ "header": { "name": "x-api-key", "value": "another-secret" } });
    assert_snapshot!(sent(&it, it.app().patch("/api/v1/servers/billing"), &again).await, @r#"
    server.update
    header: {"id":"[uuid]","name":"x-api-key"} -> {"id":"[uuid]","name":"x-api-key"}
    "#);
    let trail = serde_json::to_string(&it.app().trail()).unwrap();
    assert!(!trail.contains("very-secret-value") && !trail.contains("another-secret"));
}

#[tokio::test]
async fn an_approval_shows_the_tools_that_it_changes_by_their_digests() {
    let it = crate::mcp::Scene::set().await;
    let approve = async |tools: &'static str| {
        it.new.answers("tools/list", tools);
        it.app().pass(Duration::from_secs(1));
        it.app().put("/api/v1/proxy/new/approved-tools").as_user(&it.scenario.alice).await.ok();
        let approved = |event: &&Value| event["action"] == "server.approve_tools";
        it.app().trail().iter().rfind(approved).unwrap()["changes"].clone()
    };
    let tools = |changes: &Value, side: &str| {
        let tools = changes.as_array().unwrap().iter().find(|change| change["field"] == "tools").cloned();
        let names = tools.unwrap()[side].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        names.join(" ")
    };
    let first = approve(r#"{"tools":[{"name":"t"},{"name":"u"}]}"#).await;
    assert_eq!((tools(&first, "before"), tools(&first, "after")), (String::new(), "t u".to_owned()));
    let second = approve(r#"{"tools":[{"name":"t","description":"New"},{"name":"v"}]}"#).await;
    let gone = deputize_core::secret::sha256_hex(b"u");
    assert_eq!(tools(&second, "before"), format!("sha256:{gone} t"));
    assert_eq!(tools(&second, "after"), "t v");
}

#[tokio::test]
async fn a_grant_that_displaces_others_says_so() {
    let it = Connected::set().await;
    it.create(&it.scenario.bob, false).await.ok();
    it.app().pass(Duration::from_secs(1));
    it.toggle(&it.scenario.bob).await.ok();
    let toggled = it.app().trail().pop().unwrap();
    let line = |change: &Value| format!("{}: {} -> {}", change["field"], change["before"], change["after"]);
    let lines: Vec<String> = toggled["changes"].as_array().unwrap().iter().map(line).collect();
    assert_snapshot!(it.app().shown(&lines.join("\n")), @r#"
    "generation": 0 -> 1
    "pair_generation": 0 -> 1
    "pair_shared": null -> {"grant_id":"[bob's grant]","grantor_user_id":"[bob]","user_epoch":0}
    "shared": false -> true
    "#);
}

#[tokio::test]
async fn the_changes_are_in_the_lists_events() {
    let it = Permitted::set().await;
    let path = format!("/api/v1/users/{}", it.scenario.carol.id);
    it.app().pass(Duration::from_secs(1));
    sent(&it, it.app().patch(path), &json!({ "groups": ["x"] })).await;
    let newest = events(&it, "limit=1").await.remove(0);
    assert_eq!(newest["changes"], json!([{ "field": "groups", "before": [], "after": ["x"] }]));
}
