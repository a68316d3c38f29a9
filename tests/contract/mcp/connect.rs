//! What a client is told whose user must connect to the MCP server: where to do that, and never a 401, since clients would
//! throw their token away, sign in again, and meet the same answer.

use std::time::Duration;

use axum::response::IntoResponse;
use deputize_core::{table::Key, tokens::Resource};
use deputize_tests::{
    Server, TestApp, TestRequest, TestResponse, User,
    allowed_apps::CLIENT_ID,
    mcp::{ProtocolEra, ScriptedServer, request},
};
use http::{StatusCode, header};
use insta::assert_snapshot;
use serde_json::json;

use crate::{connections::Chat, scenario::Scenario};

/// The stage with a server of each era, which both ask for OAuth. Nobody is connected.
struct Stage {
    it: Scenario,
    new: ScriptedServer,
    old: ScriptedServer,
}

const CALL: &str = r#"{"name":"t","arguments":{}}"#;
const OPENS_URLS: &str = r#"{"elicitation":{"form":{},"url":{}}}"#;

impl Stage {
    async fn set() -> Self {
        let it = Scenario::start().await;
        let new = ScriptedServer::start(ProtocolEra::Modern).await;
        let old = ScriptedServer::start(ProtocolEra::Handshake).await;
        it.app.server("new").oauth().at(new.url()).await;
        it.app.server("old").oauth().at(old.url()).await;
        it.app.permit_everything().await;
        Self { it, new, old }
    }

    fn app(&self) -> &TestApp {
        &self.it.app
    }

    fn bob(&self) -> &User {
        &self.it.bob
    }

    async fn connect(&self, user: &User, server: &str) {
        self.app().connect(user, &Server { id: server.parse().unwrap() }).await;
    }

    /// The connection runs out, and cannot be refreshed.
    async fn expire(&self, user: &User, server: &str) {
        let ends = self.app().now().plus(Duration::from_secs(1));
        self.app().connect_until(user, &Server { id: server.parse().unwrap() }, Some(ends)).await;
        self.app().pass(Duration::from_secs(2));
    }

    async fn token(&self) -> String {
        self.app().allow_tools(self.bob()).await.token
    }
}

fn initialize(app: &TestApp, server: &str, version: &str, capabilities: &str) -> TestRequest {
    let params = format!(
        r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{{"name":"tester","version":"1"}}}}"#
    );
    app.mcp(server, request("initialize", &params))
}

/// A modern client's request with these capabilities.
fn modern(app: &TestApp, server: &str, method: &str, fields: &str, capabilities: &str) -> TestRequest {
    let comma = if fields.is_empty() { "" } else { "," };
    let params = format!(
        r#"{{{fields}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}"#
    );
    let ask = app.mcp(server, request(method, &params));
    let ask = ask.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
    match method {
        "tools/call" => ask.header("mcp-name", "t"),
        "prompts/get" => ask.header("mcp-name", "p"),
        "resources/read" => ask.header("mcp-name", "file:///a"),
        _ => ask,
    }
}

/// Every answer here says that it is good HTTP, and asks for no other token.
#[track_caller]
fn good(answer: TestResponse) -> TestResponse {
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (200, None), "{answer}");
    answer
}

#[tokio::test]
async fn a_client_of_2025_11_25_that_opens_addresses_is_asked_to() {
    let it = Stage::set().await;
    let token = it.token().await;
    let answer = initialize(it.app(), "old", "2025-11-25", OPENS_URLS).bearer(&token).await;
    assert_snapshot!(good(answer), @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": -32042,
        "message": "OAuth session not found; connect to the server at https://deputize.test/connect/old, then try again",
        "data": {
          "error": "session_not_found",
          "reason": "session_not_found",
          "connect_url": "https://deputize.test/connect/old",
          "elicitations": [
            {
              "mode": "url",
              "elicitationId": "[uuid]",
              "url": "https://deputize.test/connect/old",
              "message": "OAuth session not found; connect to the server at https://deputize.test/connect/old, then try again"
            }
          ]
        }
      }
    }
    "#);
}

#[tokio::test]
async fn what_such_a_client_said_of_itself_once_is_known_in_its_session() {
    for server in ["old", "new"] {
        let it = Stage::set().await;
        let token = it.token().await;
        it.connect(it.bob(), server).await;
        let begun = initialize(it.app(), server, "2025-11-25", OPENS_URLS).bearer(&token).await.ok();
        let session = begun.session();
        let calls =
            [("tools/call", CALL), ("tools/list", "{}"), ("resources/read", r#"{"uri":"file:///a"}"#)];
        let ask = |(method, params): (&str, &str)| {
            it.app().handshake(server, method, params).bearer(&token).in_session(&session)
        };
        ask(calls[0]).await.ok();
        let heard = it.old.heard().len() + it.new.heard().len();
        // It has ended at the provider, and the server says so.
        let connection = Key::session(it.bob().id, &server.parse().unwrap());
        it.app().set(&connection, "ended", json!({ "S": "refused" }));
        for call in calls {
            let told = good(ask(call).await).json();
            assert_eq!(told["error"]["code"], -32042, "{told}");
            let asked = &told["error"]["data"]["elicitations"][0];
            assert_eq!(asked["url"], format!("https://deputize.test/connect/{server}"));
            assert_eq!(told["error"]["data"]["reason"], "session_expired");
        }
        assert_eq!(it.old.heard().len() + it.new.heard().len(), heard);
    }
}

#[tokio::test]
async fn any_other_handshake_client_is_told_in_words() {
    let it = Stage::set().await;
    let token = it.token().await;
    for (version, capabilities) in [
        ("2025-06-18", OPENS_URLS),
        ("2025-11-25", r#"{"elicitation":{}}"#),
        ("2025-11-25", r#"{"elicitation":{"url":true}}"#),
        ("2025-11-25", r#"{"elicitation":{"form":{}}}"#),
        ("2025-11-25", "{}"),
    ] {
        let answer = good(initialize(it.app(), "old", version, capabilities).bearer(&token).await);
        assert_eq!(
            answer.rpc_refusal(),
            "200 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/old, then try again",
        );
    }
    let answer = it.app().handshake("old", "tools/call", CALL).bearer(&token).await;
    assert_snapshot!(good(answer), @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": 424,
        "message": "OAuth session not found; connect to the server at https://deputize.test/connect/old, then try again",
        "data": {
          "error": "session_not_found",
          "reason": "session_not_found",
          "connect_url": "https://deputize.test/connect/old"
        }
      }
    }
    "#);
}

#[tokio::test]
async fn a_modern_client_that_opens_addresses_is_asked_to_where_a_request_may_ask() {
    let it = Stage::set().await;
    let token = it.token().await;
    let fields = [
        ("tools/call", r#""name":"t","arguments":{}"#),
        ("prompts/get", r#""name":"p""#),
        ("resources/read", r#""uri":"file:///a""#),
    ];
    let mut asked = Vec::new();
    for (method, fields) in fields {
        let answer = good(modern(it.app(), "new", method, fields, OPENS_URLS).bearer(&token).await);
        asked.push(answer.to_string());
    }
    asked.dedup();
    assert_snapshot!(asked.join("\n"), @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "resultType": "input_required",
        "inputRequests": {
          "deputize.connect": {
            "method": "elicitation/create",
            "params": {
              "mode": "url",
              "message": "OAuth session not found; connect to the server at https://deputize.test/connect/new, then try again",
              "url": "https://deputize.test/connect/new"
            }
          }
        }
      }
    }
    "#);
    let mut told = Vec::new();
    for (what, ask) in [
        ("a list", modern(it.app(), "new", "tools/list", "", OPENS_URLS)),
        ("discovery", modern(it.app(), "new", "server/discover", "", OPENS_URLS)),
        ("forms only", modern(it.app(), "new", "tools/call", fields[0].1, r#"{"elicitation":{"form":{}}}"#)),
        ("none", modern(it.app(), "new", "tools/call", fields[0].1, "{}")),
    ] {
        told.push(format!("{what}: {}", good(ask.bearer(&token).await).rpc_refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    a list: 200 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/new, then try again
    discovery: 200 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/new, then try again
    forms only: 200 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/new, then try again
    none: 200 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/new, then try again
    ");
    assert!(it.new.heard().is_empty());
}

/// The client sends the request again when its user agrees to open the page, which is before they are done there.
#[tokio::test]
async fn the_same_question_is_not_asked_again_and_its_answer_does_not_reach_the_server() {
    for server in ["new", "old"] {
        let it = Stage::set().await;
        let token = it.token().await;
        let call = |answers: &str| {
            let fields = format!(r#""name":"t","arguments":{{ "a":1.0}},"inputResponses":{answers}"#);
            modern(it.app(), server, "tools/call", &fields, OPENS_URLS).bearer(&token)
        };
        for action in ["accept", "decline", "cancel"] {
            let again = call(&format!(r#"{{"deputize.connect":{{"action":"{action}"}}}}"#));
            let told = good(again.await).json();
            assert_eq!(told["error"]["code"], 424, "{told}");
        }
        it.connect(it.bob(), server).await;
        let ours = r#""deputize.connect":{"action":"accept"}"#;
        let theirs = r#""mine":{"action":"accept","content":{"b":[ ]}}"#;
        let heard = || if server == "new" { it.new.last("tools/call") } else { it.old.last("tools/call") };
        for (answers, passed) in [
            (format!("{{{ours}}}"), String::new()),
            (format!("{{{theirs},{ours}}}"), format!("{{{theirs}}}")),
            (format!("{{ {theirs}}}"), format!("{{ {theirs}}}")),
        ] {
            call(&answers).await.ok();
            let params = heard().raw("params");
            assert_eq!(deputize_tests::mcp::member(&params, "inputResponses"), passed, "{server}");
            assert_eq!(deputize_tests::mcp::member(&params, "arguments"), r#"{ "a":1.0}"#, "{server}");
        }
    }
}

/// An agent's client can open nothing for another user, and needs a grant beside a connection.
#[tokio::test]
async fn agents_are_told_in_words_whose_connection_is_missing_and_ask_only_for_the_users_own() {
    let it = Stage::set().await;
    let (app, bot, alice, bob) = (it.app(), &it.it.bot, &it.it.alice, it.bob());
    let (own, obo) = (app.m2m(bot).await, app.obo(bot, bob).await);
    let call = |token: &str| {
        modern(app, "new", "tools/call", r#""name":"t","arguments":{}"#, OPENS_URLS).bearer(token)
    };
    let mut told = Vec::new();
    for (what, token) in [("no grant", &own), ("no grant, for bob", &obo)] {
        told.push(format!("{what}: {}", good(call(token).await).rpc_refusal()));
    }
    let path = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
    for (user, shared) in [(alice, true), (bob, false)] {
        it.connect(user, "new").await;
        let body = json!({ "server_id": "new", "shared": shared });
        app.post(&path).as_user(user).json(&body).await.ok();
    }
    it.expire(alice, "new").await;
    told.push(format!("shared, ended: {}", good(call(&own).await).rpc_refusal()));
    it.expire(bob, "new").await;
    let asked = good(call(&obo).await).json();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_snapshot!(told.join("\n"), @"
    no grant: 200 424 no_credentials: No credentials available for this server; a user must connect to the server at https://deputize.test/connect/new and grant the agent account the use of their session
    no grant, for bob: 200 424 no_credentials: No credentials available for this server; a user must connect to the server at https://deputize.test/connect/new and grant the agent account the use of their session
    shared, ended: 200 424 session_expired: OAuth session expired; the user whose session it is must connect to the server again, at https://deputize.test/connect/new
    ");
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_http_but_never_with_a_401() {
    let it = Stage::set().await;
    let token = it.token().await;
    let path = "/api/v1/proxy/old/mcp";
    let mut told = Vec::new();
    for ask in [
        it.app().mcp("old", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
        it.app().get(path),
        it.app().delete(path),
    ] {
        let answer = ask.bearer(&token).await;
        assert_eq!(answer.header("www-authenticate"), None);
        told.push(answer.rpc_refusal());
    }
    told.dedup();
    assert_snapshot!(told.join("\n"), @"403 424 session_not_found: OAuth session not found; connect to the server at https://deputize.test/connect/old, then try again");
}

#[tokio::test]
async fn a_batch_is_told_for_each_of_its_requests() {
    let it = Stage::set().await;
    let token = it.token().await;
    let text = format!("[{},{}]", request("tools/list", "{}"), request("tools/call", CALL));
    let answers = good(it.app().mcp("old", text).bearer(&token).await).json();
    let codes: Vec<_> = answers.as_array().unwrap().iter().map(|one| one["error"]["code"].clone()).collect();
    assert_eq!(codes, [424, 424]);
}

/// A scope that the MCP server asks for is not ours, so no other token of ours helps.
#[tokio::test]
async fn a_scope_that_the_server_asks_for_leads_to_the_page_with_that_scope() {
    let chat = Chat::open().await;
    chat.provider.script().posting_needs = Some("chat:write");
    let app = &chat.scenario.app;
    chat.connect(&chat.scenario.bob).await;
    let token = app.allow_app(&chat.scenario.bob, CLIENT_ID, Resource::Proxy, "tools:call").await.token;
    let fields = r#""name":"post_message","arguments":{"channel":"general","text":"hello"}"#;
    let ask = |capabilities: &str| {
        let params = format!(
            r#"{{{fields},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}"#
        );
        let ask =
            app.mcp("chat", request("tools/call", &params)).header("mcp-protocol-version", "2026-07-28");
        ask.header("mcp-method", "tools/call").header("mcp-name", "post_message").bearer(&token)
    };
    assert_snapshot!(good(ask("{}").await), @r#"
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
    let asked = good(ask(OPENS_URLS).await).json();
    let url = &asked["result"]["inputRequests"]["deputize.connect"]["params"]["url"];
    assert_eq!(url, "https://deputize.test/connect/chat?scope=chat%3Awrite");
    // The JSON endpoint says it by HTTP, as the recipes do, and no challenge leads to another token of ours.
    let body = json!({ "channel": "general", "text": "hello" });
    let by_tools = app.call("chat", "post_message", &body).bearer(&token).await;
    assert_eq!((by_tools.status.as_u16(), by_tools.header("www-authenticate")), (403, None));
}

/// The server behind refuses what we thought good.
#[tokio::test]
async fn a_401_of_the_mcp_server_is_not_passed_on() {
    let it = Stage::set().await;
    let token = it.token().await;
    it.connect(it.bob(), "new").await;
    it.new.on("tools/call", |_| {
        let challenge =
            r#"Bearer resource_metadata="https://new.example.com/.well-known/oauth-protected-resource""#;
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    });
    let answer = modern(it.app(), "new", "tools/call", r#""name":"t""#, "{}").bearer(&token).await;
    assert_snapshot!(good(answer).rpc_refusal(), @"200 424 session_expired: OAuth session expired; connect to the server at https://deputize.test/connect/new, then try again");
}

#[tokio::test]
async fn the_json_endpoint_keeps_its_401s_which_lead_to_no_other_token() {
    let it = Stage::set().await;
    let token = it.token().await;
    let answer = it.app().call("new", "t", &json!({})).bearer(&token).await;
    assert_snapshot!(answer, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="session_not_found", error_description="OAuth session not found"

    {
      "error": "session_not_found",
      "error_description": "OAuth session not found",
      "detail": "OAuth session not found",
      "reason": "session_not_found"
    }
    "#);
}

#[tokio::test]
async fn what_is_told_is_in_the_trail_as_it_was() {
    let it = Stage::set().await;
    let token = it.token().await;
    let fields = r#""name":"t","arguments":{}"#;
    let answer = good(modern(it.app(), "new", "tools/call", fields, OPENS_URLS).bearer(&token).await);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "new"
    audit_user: "[bob]"
    client_id: "https://client.example/app.json"
    credential: "app_token:[uuid]"
    detail: "OAuth session not found"
    outcome: "denied"
    policies: "[policy everything]"
    tool: "t"
    "#);
}
