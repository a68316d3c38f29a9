//! What an endpoint does not know is refused, at every one of them: the API's own description says which there are.

use deputize_tests::TestRequest;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{grants::Connected, scenario::Scenario};

/// An operation of the management API, or of the proxy's JSON endpoints.
struct Operation {
    method: Method,
    path: String,
    /// Whether it takes a body.
    takes_body: bool,
    /// Every object in its body: its place, and whether the description forbids other fields.
    objects: Vec<(Vec<String>, bool)>,
    /// The query parameters that it describes.
    query: Vec<String>,
}

impl Operation {
    fn ask(&self, scenario: &Scenario, query: &str) -> TestRequest {
        let path = self
            .path
            .replace("{agent_account_id}", &scenario.bot.id.to_string())
            .replace("{user_id}", &scenario.bob.id.to_string())
            .replace("{kind}", "policy")
            .replace("{server_id}", "demo")
            .replace("{kid}", "0123456789abcdef");
        // An id of a thing that does not exist.
        let path = path.split('/').map(|part| if part.starts_with('{') { NOBODYS } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        scenario.app.ask(self.method.clone(), format!("{path}{query}")).as_user(&scenario.alice)
    }
}

const NOBODYS: &str = "00000000-0000-4000-8000-000000000001";

/// The OAuth endpoints ignore unknown parameters (RFC 6749 section 3.2), and MCP's messages pass them on. The
/// public documents take no parameter that could be misunderstood.
async fn operations(scenario: &Scenario) -> Vec<Operation> {
    let document = scenario.app.get("/openapi.json").await.ok().json();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/v1/") || path.starts_with("/api/v1/oauth/") || path.ends_with("/mcp") {
            continue;
        }
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let mut objects = Vec::new();
            find_objects(&document, schema, &mut Vec::new(), &mut objects);
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters.filter(|parameter| parameter["in"] == "query");
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                takes_body: operation["requestBody"].is_object(),
                objects,
                query: query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    assert!(operations.len() > 40, "there is a description");
    operations
}

/// The objects at any depth whose fields are Deputize's own.
fn find_objects(
    document: &Value,
    schema: &Value,
    at: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, bool)>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return find_objects(document, schema, at, found);
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        for schema in schema[several].as_array().into_iter().flatten() {
            find_objects(document, schema, at, found);
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        found.push((at.clone(), schema["additionalProperties"] == false));
        for (name, schema) in properties {
            at.push(name.clone());
            find_objects(document, schema, at, found);
            at.pop();
        }
    }
}

#[tokio::test]
async fn an_unknown_field_is_a_400_that_names_it_at_every_endpoint_and_depth() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    scenario.app.permit_everything().await;
    let before = scenario.app.contents();
    let mut nested = 0;
    for operation in operations(&scenario).await {
        let Operation { method, path, takes_body, objects, .. } = &operation;
        if method == Method::GET {
            continue;
        }
        assert_eq!(*takes_body, !objects.is_empty(), "{method} {path}");
        let places = if *takes_body { objects.clone() } else { vec![(Vec::new(), true)] };
        for (at, closed) in places {
            assert!(closed, "{method} {path}: the description of {at:?} leaves room for other fields");
            nested += usize::from(!at.is_empty());
            let body = at.iter().rev().fold(json!({ "no_such": 1 }), |inner, name| json!({ name: inner }));
            let answer = operation.ask(&scenario, "").json(&body).await;
            let named = [at.join("."), "no_such".to_owned()].join(".");
            let named = named.trim_start_matches('.');
            let refusal = answer.refusal();
            assert!(
                refusal.starts_with(&format!("400 {named}: no such field; ")),
                "{method} {path} {body}: {refusal}"
            );
            assert_eq!(answer.json()["error"], "invalid_request");
        }
    }
    assert_eq!(
        nested, 6,
        "identity; header and oauth_client, of a new server and of one that is there; jwks"
    );
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn an_unknown_query_parameter_is_a_400_that_names_it_at_every_endpoint() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    let before = scenario.app.contents();
    for operation in operations(&scenario).await {
        let Operation { method, path, query, .. } = &operation;
        for mut with in [Vec::new(), query.clone()] {
            // A known parameter does not hide the unknown one, whatever its value.
            with.push("no_such".to_owned());
            let asked = with.iter().map(|name| format!("{name}=1")).collect::<Vec<_>>().join("&");
            let answer = operation.ask(&scenario, &format!("?{asked}")).json(&json!({})).await;
            let refusal = answer.refusal();
            assert!(
                refusal.starts_with("400 no_such: no such query parameter; "),
                "{method} {path}?{asked}: {refusal}"
            );
        }
        for name in query {
            let answer = operation.ask(&scenario, &format!("?{name}=1")).await;
            assert!(!answer.text.contains("no such query parameter"), "{method} {path} {name}: {answer}");
        }
    }
    assert_eq!(scenario.app.contents(), before);
}

#[tokio::test]
async fn nobody_acts_for_another_by_a_field_that_would_be_dropped() {
    let it = Connected::set().await;
    let (app, alice, carol, bot) = (it.app(), &it.scenario.alice, &it.scenario.carol, &it.scenario.bot);
    let agent = format!("/api/v1/agent-accounts/{}", bot.id);
    let before = app.contents();
    let mut refusals = Vec::new();
    for (path, body) in [
        (format!("{agent}/delegations"), json!({ "delegator_user_id": carol.id })),
        (format!("{agent}/delegations"), json!({ "server_id": ["demo"], "expires": "2026-02-01T00:00:00Z" })),
        (format!("{agent}/session-grants"), json!({ "server_id": "chat", "user_id": carol.id })),
        (format!("{agent}/session-grants"), json!({ "server_id": "chat", "share": true })),
        (
            format!("{agent}/session-grants/toggle"),
            json!({ "server_id": "chat", "grantor_user_id": carol.id }),
        ),
        ("/api/v1/api-keys".to_owned(), json!({ "name": "for carol", "user_id": carol.id })),
        (
            "/api/v1/policies?validate_only=true".to_owned(),
            json!({ "name": "p", "text": "permit(principal, action, resource);" }),
        ),
        ("/api/v1/servers/chat/connect".to_owned(), json!({ "scopes": "chat:write" })),
        ("/api/v1/signing-keys".to_owned(), json!({ "dry_run": true })),
    ] {
        refusals.push(app.post(path).as_user(alice).json(&body).await.refusal());
    }
    refusals.push(
        app.delete(format!("/api/v1/servers/chat/connection?user_id={}", carol.id))
            .as_user(alice)
            .await
            .refusal(),
    );
    assert_snapshot!(refusals.join("\n"), @"
    400 delegator_user_id: no such field; the fields here are server_ids, expires_at
    400 server_id: no such field; did you mean server_ids?
    400 user_id: no such field; the fields here are server_id, shared
    400 share: no such field; did you mean shared?
    400 grantor_user_id: no such field; the fields here are server_id, shared
    400 user_id: no such field; the fields here are name, scopes, server_ids, expires_at
    400 validate_only: no such query parameter; the only query parameter here is dry_run
    400 scopes: no such field; did you mean scope?
    400 dry_run: no such field; there is no field here
    400 user_id: no such query parameter; there is no query parameter here
    ");
    assert_eq!(app.contents(), before);
}

#[tokio::test]
async fn a_filter_that_would_be_dropped_does_not_answer_with_everything() {
    let Scenario { app, alice, bob, bot, .. } = Scenario::start().await;
    let mut refusals = Vec::new();
    for path in [
        "/api/v1/audit-events?tool_name=list_repos".to_owned(),
        "/api/v1/audit-events?result=denied".to_owned(),
        format!("/api/v1/delegations?user_id={}", bob.id),
        format!("/api/v1/agent-accounts/{}/delegations?user_id={}", bot.id, bob.id),
        format!("/api/v1/api-keys?user_id={}", bob.id),
        "/api/v1/users?email=bob@example.com".to_owned(),
        "/api/v1/audit-events?server=demo".to_owned(),
    ] {
        refusals.push(app.get(path).as_user(&alice).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 tool_name: no such query parameter; the query parameters here are agent_account_id, user_id, server_id, client_id, action, outcome, tool, subject, actor, on_behalf_of, credential, request_id, from, to, limit, cursor
    400 result: no such query parameter; the query parameters here are agent_account_id, user_id, server_id, client_id, action, outcome, tool, subject, actor, on_behalf_of, credential, request_id, from, to, limit, cursor
    400 user_id: no such query parameter; the query parameters here are active, server_id, limit, cursor
    400 user_id: no such query parameter; the query parameters here are delegator_user_id, active, server_id, limit, cursor
    400 user_id: no such query parameter; the query parameters here are limit, cursor
    400 email: no such query parameter; the query parameters here are email_prefix, name_prefix, active, role, group, sort, limit, cursor
    400 server: no such query parameter; did you mean server_id?
    ");
}

#[tokio::test]
async fn a_misspelt_argument_list_calls_no_tool() {
    let scenario = Scenario::start().await;
    scenario.app.server("demo").await;
    scenario.app.permit_everything().await;
    let trail = scenario.app.trail().len();
    let body = json!({ "tool_name": "delete_all", "argumants": { "only": "old" } });
    let answer = scenario.app.post("/api/v1/proxy/demo/tools").as_user(&scenario.alice).json(&body).await;
    assert_snapshot!(answer, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "argumants: no such field; did you mean arguments?",
      "detail": "argumants: no such field; did you mean arguments?",
      "reason": "name_unknown"
    }
    "#);
    assert_eq!(scenario.app.trail().len(), trail);
}

#[tokio::test]
async fn the_oauth_endpoints_ignore_what_they_do_not_know() {
    let Scenario { app, bot, .. } = Scenario::start().await;
    let token = app.token_for(&bot, &[("no_such", "1")]).await.access_token();
    let id = bot.id.to_string();
    for endpoint in ["introspect", "revoke"] {
        let fields =
            [("client_id", &*id), ("client_secret", &bot.secret), ("token", &token), ("no_such", "1")];
        app.post(format!("/api/v1/oauth/{endpoint}?no_such=1")).form(&fields).await.ok();
    }
    for path in ["/api/v1/oauth/client-metadata.json", "/.well-known/jwks.json", "/openapi.json", "/healthz"]
    {
        app.get(format!("{path}?no_such=1")).await.ok();
    }
    // The answer is about an unknown connection, not about the additional parameter.
    let answer = app.get("/api/v1/oauth/callback?state=x&session_state=y").await;
    assert!(!answer.text.contains("no such query parameter"), "{answer}");
}

#[tokio::test]
async fn a_body_that_says_nothing_is_taken_where_none_is_wanted() {
    let Scenario { app, alice, bot, .. } = Scenario::start().await;
    let delegate = || app.post(format!("/api/v1/agent-accounts/{}/delegations", bot.id)).as_user(&alice);
    for body in ["", "{}", "null", " {} "] {
        let id = delegate().await.ok().field("id");
        let revoke = app.delete(format!("/api/v1/delegations/{id}")).as_user(&alice);
        assert_eq!(revoke.body("application/json", body).await.status, 204, "{body:?}");
    }
    let id = delegate().await.ok().field("id");
    for body in ["[]", "{\"id\":1}", "1", "x"] {
        let revoke = app.delete(format!("/api/v1/delegations/{id}")).as_user(&alice);
        assert_eq!(revoke.body("application/json", body).await.status, 400, "{body:?}");
    }
    app.obo(&bot, &alice).await;
}

#[tokio::test]
async fn admins_and_owners_may_name_whose_delegation_they_look_for_and_others_may_not() {
    let Scenario { app, alice, bob, carol, bot } = Scenario::start().await;
    app.delegate(&bot, &carol).await;
    let list = |who: String| {
        app.get(format!("/api/v1/agent-accounts/{}/delegations?delegator_user_id={who}", bot.id))
    };
    let emails = |answer: Value| -> Vec<String> {
        answer
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["delegator_email"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(emails(list(bob.id.to_string()).as_user(&alice).await.ok().json()), ["bob@example.com"]);
    assert!(emails(list(NOBODYS.to_owned()).as_user(&alice).await.ok().json()).is_empty());
    assert!(emails(list(alice.id.to_string()).as_user(&alice).await.ok().json()).is_empty());
    assert_eq!(emails(list(bob.id.to_string()).as_user(&bob).await.ok().json()), ["bob@example.com"]);
    let refused =
        [list(bob.id.to_string()).as_user(&carol).await, list("bob".to_owned()).as_user(&alice).await];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    403 Only the agent account's owners, auditors, operators and admins may see other people's delegations
    400 delegator_user_id: must be a UUID
    ");
}
