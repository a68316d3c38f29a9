//! Who is not let in is told so by HTTP; what stops a request after that is told in the protocol.

use deputize_core::delegations::NewDelegation;
use deputize_proxy::upstream::UpstreamConfig;
use insta::assert_snapshot;
use serde_json::json;

use super::Scene;
use crate::{connections::Chat, scenario::Scenario};

#[tokio::test]
async fn callers_who_are_not_let_in_are_refused_by_http() {
    let it = Scene::set().await;
    let (app, bob) = (it.app(), &it.scenario.bob);
    let anonymous = app.modern("new", "tools/list", "").await;
    assert_snapshot!(anonymous, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/new/mcp", scope="tools:call"

    {
      "error": "unauthorized",
      "error_description": "Authentication is required: send a bearer token or an API key",
      "detail": "Authentication is required: send a bearer token or an API key",
      "reason": "credential_missing"
    }
    "#);
    let only_old =
        NewDelegation { server_ids: Some(vec!["old".parse().unwrap()]), ..NewDelegation::default() };
    app.delegate_some(&it.scenario.bot, bob, only_old).await;
    let for_bob = app.obo(&it.scenario.bot, bob).await;
    let list = |server: &str| app.modern(server, "tools/list", "");
    let mut told = Vec::new();
    for (what, ask) in [
        ("nonsense", list("new").bearer("nonsense")),
        ("no such key", list("new").header("x-runlayer-api-key", "rl_nonsense")),
        ("not covered", list("new").bearer(&for_bob)),
        ("no such server", list("none").as_user(bob)),
        ("no server's name", list("no.ne").as_user(bob)),
        ("notification", app.mcp("none", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).as_user(bob)),
        ("GET", app.get("/api/v1/proxy/none/mcp").as_user(bob)),
        ("DELETE", app.delete("/api/v1/proxy/new/mcp").bearer(&for_bob)),
    ] {
        told.push(format!("{what}: {}", ask.await.refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    nonsense: 401 User token refused: the token is malformed
    no such key: 401 The API key is not valid
    not covered: 403 The user's delegation does not cover this server
    no such server: 404 No such server
    no server's name: 404 No such thing: the id in the path is malformed
    notification: 404 No such server
    GET: 404 No such server
    DELETE: 403 The user's delegation does not cover this server
    ");
    assert!(it.new.heard().is_empty());
}

#[tokio::test]
async fn what_no_policy_permits_is_an_error_of_the_protocol_that_says_for_whom() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    let bot = it.scenario.bot.id;
    it.app().policy("bot", &format!("permit(principal == Agent::\"{bot}\", action, resource);")).await;
    let token = it.app().obo(&it.scenario.bot, &it.scenario.bob).await;
    let answer =
        it.app().modern("new", "tools/call", r#""name":"t","arguments":{"a":1}"#).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": 403,
        "message": "Policy denied",
        "data": {
          "error": "access_denied",
          "reason": "policy_denied_user",
          "denied_for": "user",
          "policies": [],
          "explanation": "no policy permits it"
        }
      }
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    audit_agent: "[bot]"
    audit_server: "new"
    audit_user: "[bob]"
    credential: "agent_token:[uuid]"
    detail: "Policy denied for the user: no policy permits it"
    outcome: "denied"
    tool: "t"
    "#);
    assert!(it.new.heard().is_empty() && it.old.heard().is_empty());
}

#[tokio::test]
async fn each_request_is_judged_by_what_it_does_and_listing_by_what_it_lists() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    let requests = [
        ("tools/call", r#"{"name":"t"}"#),
        ("resources/read", r#"{"uri":"file:///a"}"#),
        ("resources/subscribe", r#"{"uri":"file:///a"}"#),
        ("resources/unsubscribe", r#"{"uri":"file:///a"}"#),
        ("prompts/get", r#"{"name":"p"}"#),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}"#,
        ),
        ("completion/complete", r#"{"ref":{"type":"ref/resource","uri":"file:///a"},"argument":{}}"#),
        ("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":["file:///a"]}}"#),
        ("subscriptions/listen", r#"{"notifications":{"toolsListChanged":true}}"#),
        ("com.example/x", "{}"),
        ("tasks/get", r#"{"taskId":"1"}"#),
        ("tools/list", "{}"),
        ("ping", "{}"),
        ("logging/setLevel", r#"{"level":"info"}"#),
    ];
    let session = it.session("old").await;
    for (method, _) in requests {
        it.old.answers(method, "{}");
    }
    let outcomes = async || {
        let mut outcomes = Vec::new();
        for (method, params) in requests {
            let answer = it.handshake("old", method, params).in_session(&session).await.ok();
            outcomes.push(answer.json()["error"].is_null());
        }
        outcomes
    };
    let show = |outcomes: &[bool]| {
        let permitted = requests.iter().zip(outcomes).filter(|(_, permitted)| **permitted);
        permitted.map(|((method, params), _)| format!("{method} {params}")).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(show(&outcomes().await), @r#"
    subscriptions/listen {"notifications":{"toolsListChanged":true}}
    tools/list {}
    ping {}
    logging/setLevel {"level":"info"}
    "#);
    let id = it
        .app()
        .policy("p", r#"permit(principal, action == Action::"call_tool", resource == Tool::"old/t");"#)
        .await;
    assert_snapshot!(show(&outcomes().await), @r#"
    tools/call {"name":"t"}
    subscriptions/listen {"notifications":{"toolsListChanged":true}}
    tools/list {}
    ping {}
    logging/setLevel {"level":"info"}
    "#);
    let change = async |action: &str| {
        let text = format!(r#"permit(principal, action == Action::"{action}", resource in Server::"old");"#);
        let body = json!({ "name": "p", "text": text });
        let put = it.app().put(format!("/api/v1/policies/{id}")).as_user(&it.scenario.alice).json(&body);
        put.await.ok();
        show(&outcomes().await)
    };
    assert_snapshot!(change("read_resource").await, @r#"
    resources/read {"uri":"file:///a"}
    resources/subscribe {"uri":"file:///a"}
    resources/unsubscribe {"uri":"file:///a"}
    completion/complete {"ref":{"type":"ref/resource","uri":"file:///a"},"argument":{}}
    subscriptions/listen {"notifications":{"resourceSubscriptions":["file:///a"]}}
    subscriptions/listen {"notifications":{"toolsListChanged":true}}
    tools/list {}
    ping {}
    logging/setLevel {"level":"info"}
    "#);
    assert_snapshot!(change("get_prompt").await, @r#"
    prompts/get {"name":"p"}
    completion/complete {"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}
    subscriptions/listen {"notifications":{"toolsListChanged":true}}
    tools/list {}
    ping {}
    logging/setLevel {"level":"info"}
    "#);
    assert_snapshot!(change("send_request").await, @r#"
    subscriptions/listen {"notifications":{"toolsListChanged":true}}
    com.example/x {}
    tasks/get {"taskId":"1"}
    tools/list {}
    ping {}
    logging/setLevel {"level":"info"}
    "#);
}

#[tokio::test]
async fn a_policy_of_a_clients_name_hears_what_the_client_calls_itself() {
    let it = Scene::without_policies(UpstreamConfig::default()).await;
    it.app()
        .policy("testers", r#"permit(principal, action, resource) when { context has client_name && context.client_name == "tester" };"#)
        .await;
    it.modern("new", "tools/call", r#""name":"t""#).await.ok();
    assert_eq!(it.handshake("new", "tools/call", r#"{"name":"t"}"#).await.json()["error"]["code"], 403);
}

#[tokio::test]
async fn a_caller_without_anybodys_credentials_is_told_in_the_protocol() {
    let scenario = Scenario::start().await;
    scenario.app.permit_everything().await;
    scenario.app.server("chat").oauth().await;
    let (own, bob) = (scenario.app.m2m(&scenario.bot).await, &scenario.bob);
    let agents = scenario.app.modern("chat", "tools/list", "").bearer(&own).await;
    assert_snapshot!(agents, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": 424,
        "message": "No credentials available for this server; a user must connect to the server at https://deputize.test/connect/chat and grant the agent account the use of their session",
        "data": {
          "error": "no_credentials",
          "reason": "no_credentials",
          "connect_url": "https://deputize.test/connect/chat"
        }
      }
    }
    "#);
    assert_snapshot!(scenario.app.event_of(&agents), @r#"
    action: "tool.list"
    audit_agent: "[bot]"
    audit_server: "chat"
    credential: "agent_token:[uuid]"
    detail: "No credentials available for this server"
    outcome: "denied"
    subject: "method:tools/list"
    "#);
    let users = scenario.app.initialize("chat").as_user(bob).await;
    assert_snapshot!(users.rpc_refusal(), @"200 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/chat, then try again");
    // Requests that are not JSON-RPC are refused by HTTP status, and never with a 401.
    let path = "/api/v1/proxy/chat/mcp";
    let mut told = Vec::new();
    for ask in [
        scenario.app.mcp("chat", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).as_user(bob),
        scenario.app.get(path).as_user(bob),
        scenario.app.delete(path).as_user(bob),
    ] {
        told.push(ask.await.rpc_refusal());
    }
    assert_snapshot!(told.join("\n"), @"
    403 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/chat, then try again
    403 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/chat, then try again
    403 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/chat, then try again
    ");
}

#[tokio::test]
async fn a_session_that_has_expired_is_told_in_the_protocol() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.provider.script().gives_refresh_tokens = false;
    chat.connect(bob).await;
    let call = || app.modern("chat", "tools/call", r#""name":"list_channels","arguments":{}"#).as_user(bob);
    call().await.ok();
    app.pass(std::time::Duration::from_secs(3600));
    assert_snapshot!(call().await, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": 424,
        "message": "OAuth session expired; connect to the server at https://deputize.test/connect/chat, then try again",
        "data": {
          "error": "session_expired",
          "reason": "session_expired",
          "connect_url": "https://deputize.test/connect/chat"
        }
      }
    }
    "#);
}

#[tokio::test]
async fn a_token_that_is_refused_before_its_time_is_refreshed_and_the_request_repeated_once() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    let call = || app.modern("chat", "tools/call", r#""name":"list_channels","arguments":{}"#).as_user(bob);
    chat.provider.invalidate_access_tokens();
    assert_eq!(call().await.ok().json()["result"]["structuredContent"]["acting_as"], "bob");
    assert_eq!(chat.provider.count("token refresh_token"), 1);
    chat.provider.script().server_refuses = true;
    assert_snapshot!(call().await.rpc_refusal(), @"200 424 session_expired: OAuth session expired; connect to the server at https://deputize.test/connect/chat, then try again");
    assert_eq!(chat.provider.count("token refresh_token"), 1, "once a minute at most");
}

#[tokio::test]
async fn an_insufficient_scope_is_told_in_the_protocol_with_where_to_get_it() {
    let chat = Chat::open().await;
    chat.provider.script().posting_needs = Some("chat:write");
    chat.connect(&chat.scenario.bob).await;
    let fields = r#""name":"post_message","arguments":{"channel":"general","text":"hello"}"#;
    let answer = chat.scenario.app.modern("chat", "tools/call", fields).as_user(&chat.scenario.bob).await;
    assert_snapshot!(answer, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": 424,
        "message": "The OAuth session that was used lacks the scope chat:write at this server; its owner must reauthorize: POST https://deputize.test/api/v1/servers/chat/connect with {\"scope\": \"chat:write\"}, and open the authorization_url; in a browser, that is at https://deputize.test/connect/chat?scope=chat%3Awrite",
        "data": {
          "error": "insufficient_scope",
          "reason": "session_scope_missing",
          "scope": "chat:write",
          "connect_url": "https://deputize.test/connect/chat?scope=chat%3Awrite"
        }
      }
    }
    "#);
}
