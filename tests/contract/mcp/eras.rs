//! Clients and servers of both eras: what is passed on, what is translated, and what cannot be.

use deputize_tests::mcp::{ProtocolEra, json};
use http::StatusCode;
use insta::assert_snapshot;

use super::Scene;

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

#[tokio::test]
async fn a_modern_client_finds_a_modern_server_as_it_is_with_our_own_versions_and_way_in() {
    let it = Scene::set().await;
    assert_snapshot!(it.modern("new", "server/discover", "").await, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "resultType": "complete",
        "supportedVersions": [
          "2026-07-28",
          "2025-11-25",
          "2025-06-18",
          "2025-03-26"
        ],
        "capabilities": {
          "tools": {
            "listChanged": true
          },
          "com.example/odd": {
             "a": 1.0
          },
          "extensions": {
            "io.modelcontextprotocol/oauth-client-credentials": {}
          }
        },
        "instructions": "Be kind",
        "ttlMs": 60000,
        "cacheScope": "private",
        "_meta": {
          "io.modelcontextprotocol/serverInfo": {
            "name": "scripted",
            "version": "7.1",
            "future": [
               
            ]
          }
        }
      }
    }
    "#);
    it.modern("new", "tools/call", r#""name":"t","arguments":{}"#).await.ok();
    assert_eq!(it.modern("new", "tools/list", "").await.ok().json()["result"]["tools"][0]["name"], "t");
    assert_eq!(it.new.methods(), ["server/discover", "server/discover", "tools/call", "tools/list"]);
}

#[tokio::test]
async fn a_modern_client_finds_a_handshake_server_by_what_the_handshake_said() {
    let it = Scene::set().await;
    assert_snapshot!(it.modern("old", "server/discover", "").await, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "resultType": "complete",
        "capabilities": {
          "tools": {},
          "com.example/odd": {
             "a": 1.0
          },
          "extensions": {
            "io.modelcontextprotocol/oauth-client-credentials": {}
          }
        },
        "_meta": {
          "io.modelcontextprotocol/serverInfo": {
            "name": "scripted",
            "version": "7.1",
            "future": [
               
            ]
          }
        },
        "instructions": "Be kind",
        "ttlMs": 0,
        "cacheScope": "private",
        "supportedVersions": [
          "2026-07-28",
          "2025-11-25",
          "2025-06-18",
          "2025-03-26"
        ]
      }
    }
    "#);
    // A session of Deputize's own, which other requests share.
    let list = it.modern("old", "tools/list", "").await;
    assert_snapshot!(list, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "tools": [
          {
            "name": "t",
            "inputSchema": {}
          }
        ],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private"
      }
    }
    "#);
    let called = it.modern("old", "tools/call", r#""name":"t","arguments":{"a": 1.0}"#).await;
    assert_snapshot!(called, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "content": [
           
        ],
        "resultType": "complete"
      }
    }
    "#);
    assert_eq!(it.old.sessions(), 1);
    assert_eq!(
        it.old.methods(),
        ["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"]
    );
    let call = it.old.last("tools/call");
    assert_eq!(
        call.raw("params"),
        r#"{"name":"t","arguments":{"a": 1.0}}"#,
        "what was said once is not said again"
    );
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(call.header("mcp-session-id"), Some("upstream-session-1"));
    assert_eq!((call.header("mcp-method"), call.header("mcp-name")), (None, None));
}

#[tokio::test]
async fn a_modern_clients_progress_token_and_vendors_keys_reach_a_handshake_server() {
    let it = Scene::set().await;
    let params = r#"{"name":"t","_meta":{"progressToken": 7,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"info","com.example/x":{ }}}"#;
    let text = deputize_tests::mcp::request("tools/call", params);
    let ask =
        it.app().mcp("old", text).as_user(&it.scenario.bob).header("mcp-protocol-version", "2026-07-28");
    ask.header("mcp-method", "tools/call").header("mcp-name", "t").await.ok();
    let passed = r#"{"name":"t","_meta":{"progressToken":7,"com.example/x":{ }}}"#;
    assert_eq!(it.old.last("tools/call").raw("params"), passed);
}

#[tokio::test]
async fn a_handshake_client_shakes_hands_with_a_handshake_server_itself() {
    let it = Scene::set().await;
    let initialize = it.app().initialize("old").as_user(&it.scenario.bob).await;
    assert_snapshot!(initialize, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "protocolVersion": "2025-11-25",
        "capabilities": {
          "tools": {
            "listChanged": true
          },
          "com.example/odd": {
             "a": 1.0
          }
        },
        "serverInfo": {
          "name": "scripted",
          "version": "7.1",
          "future": [
             
          ]
        },
        "instructions": "Be kind"
      }
    }
    "#);
    let session = initialize.session();
    let told = it.post("old", INITIALIZED).in_session(&session).await;
    assert_snapshot!(told, @"202 Accepted");
    for (method, params) in [("tools/list", "{}"), ("tools/call", r#"{"name":"t"}"#), ("ping", "{}")] {
        it.handshake("old", method, params).in_session(&session).await.ok();
    }
    assert_eq!(
        it.old.methods(),
        ["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call", "ping"]
    );
    for heard in &it.old.heard()[2..] {
        assert_eq!(heard.header("mcp-session-id"), Some("upstream-session-1"), "{heard:?}");
        assert_eq!(heard.header("mcp-protocol-version"), Some("2025-11-25"), "{heard:?}");
    }
    assert_eq!(it.old.sessions(), 1);
}

#[tokio::test]
async fn a_handshake_client_shakes_hands_with_us_before_a_modern_server() {
    let it = Scene::set().await;
    let initialize = it.app().initialize("new").as_user(&it.scenario.bob).await;
    assert_snapshot!(initialize, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "protocolVersion": "2025-11-25",
        "capabilities": {
          "tools": {
            "listChanged": true
          },
          "com.example/odd": {
             "a": 1.0
          }
        },
        "serverInfo": {
          "name": "scripted",
          "version": "7.1",
          "future": [
             
          ]
        },
        "instructions": "Be kind"
      }
    }
    "#);
    let session = initialize.session();
    assert_eq!(it.post("new", INITIALIZED).in_session(&session).await.status, 202);
    assert_snapshot!(it.handshake("new", "ping", "{}").in_session(&session).await, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {}
    }
    "#);
    it.handshake("new", "tools/list", "{}").in_session(&session).await.ok();
    let params = r#"{"name":"t","arguments":{"a": 1.0},"_meta":{"progressToken": 7}}"#;
    let called = it.handshake("new", "tools/call", params).in_session(&session).await;
    assert_snapshot!(called, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "result": {
        "resultType": "complete",
        "content": [
           
        ]
      }
    }
    "#);
    // The client's earlier statement about itself is sent with each request. The server's requests cannot be
    // passed on.
    assert_eq!(
        it.new.last("tools/call").raw("params"),
        r#"{"name":"t","arguments":{"a": 1.0},"_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"tester","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"com.example/x":{}}}}"#
    );
    assert!(!it.new.methods().iter().any(|method| method.starts_with("notifications/") || method == "ping"));
    assert!(it.new.heard().iter().all(|heard| heard.header("mcp-session-id").is_none()));
}

#[tokio::test]
async fn a_handshake_client_of_each_revision_gets_it_and_another_gets_the_newest() {
    let it = Scene::set().await;
    let agreed = async |version: &str| {
        let params = format!(r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{}}}}"#);
        let text = deputize_tests::mcp::request("initialize", &params);
        let answer = it.app().mcp("new", text).as_user(&it.scenario.bob).await.ok();
        answer.json()["result"]["protocolVersion"].as_str().unwrap().to_owned()
    };
    for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
        assert_eq!(agreed(version).await, version);
    }
    for version in ["2024-10-07", "2026-07-28", "2999-01-01", ""] {
        assert_eq!(agreed(version).await, "2025-11-25", "{version}");
    }
}

#[tokio::test]
async fn a_notification_of_a_modern_client_is_taken_and_goes_nowhere() {
    let it = Scene::set().await;
    for server in ["new", "old"] {
        let ask = it.app().mcp(server, r#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
        let told = ask.as_user(&it.scenario.bob).header("mcp-protocol-version", "2026-07-28").await;
        assert_eq!((told.status.as_u16(), &*told.text), (202, ""), "{server}");
    }
    assert!(it.new.heard_of("notifications/x").is_empty() && it.old.heard_of("notifications/x").is_empty());
}

#[tokio::test]
async fn what_cannot_be_said_in_the_servers_revision_is_an_error_that_says_so() {
    let it = Scene::set().await;
    let listen =
        it.modern("old", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#).await;
    assert_snapshot!(listen.rpc_refusal(), @"404 -32601: The server is of a revision of MCP whose subscriptions are sessions', which this client has none of");
    let mut told = Vec::new();
    for (method, params) in [
        ("logging/setLevel", r#"{"level":"info"}"#),
        ("resources/subscribe", r#"{"uri":"file:///a"}"#),
        ("resources/unsubscribe", r#"{"uri":"file:///a"}"#),
    ] {
        told.push(format!("{method}: {}", it.handshake("new", method, params).await.rpc_refusal()));
    }
    assert_snapshot!(told.join("\n"), @"
    logging/setLevel: 200 -32601: The server is of a revision of MCP that keeps no sessions, and so no log level or subscription
    resources/subscribe: 200 -32601: The server is of a revision of MCP that keeps no sessions, and so no log level or subscription
    resources/unsubscribe: 200 -32601: The server is of a revision of MCP that keeps no sessions, and so no log level or subscription
    ");
    it.new.answers("tools/call", r#"{"resultType":"input_required","inputRequests":{}}"#);
    let asks = it.handshake("new", "tools/call", r#"{"name":"t"}"#).await;
    assert_snapshot!(asks.rpc_refusal(), @"200 502 upstream_error: The server asks for input in a way that this client's revision of MCP does not know");
    // A modern client can answer it.
    let asks = it.modern("new", "tools/call", r#""name":"t""#).await;
    assert_eq!(asks.raw("result"), r#"{"resultType":"input_required","inputRequests":{}}"#);
}

#[tokio::test]
async fn a_method_that_the_server_has_not_is_a_404_to_a_modern_client_and_a_200_to_a_handshake_client() {
    let it = Scene::set().await;
    let mut told = Vec::new();
    for server in ["new", "old"] {
        let session = it.session(server).await;
        let modern = it.modern(server, "no/such", "").await;
        let handshake = it.handshake(server, "no/such", "{}").in_session(&session).await;
        for answer in [modern, handshake] {
            assert_eq!(
                answer.raw("error"),
                r#"{"code":-32601,"message":"Method not found","data":{ "odd":1.0}}"#
            );
            told.push(format!("{server}: {}", answer.status));
        }
    }
    assert_snapshot!(told.join("\n"), @"
    new: 404 Not Found
    new: 200 OK
    old: 404 Not Found
    old: 200 OK
    ");
}

#[tokio::test]
async fn a_server_that_becomes_modern_is_found_out_by_its_refusal() {
    let it = Scene::set().await;
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    it.old.become_of(ProtocolEra::Modern);
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    assert_eq!(it.old.last("tools/call").header("mcp-method"), Some("tools/call"));
    let methods = it.old.methods();
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    assert_eq!(it.old.methods().len(), methods.len() + 1, "and is remembered");
}

#[tokio::test]
async fn a_server_that_is_modern_no_more_is_found_out_by_its_refusal() {
    let it = Scene::set().await;
    it.modern("new", "tools/call", r#""name":"t""#).await.ok();
    it.new.become_of(ProtocolEra::Handshake);
    let called = it.modern("new", "tools/call", r#""name":"t""#).await.ok();
    assert_eq!(called.raw("result"), r#"{"content":[ ],"resultType":"complete"}"#);
    // A client that has shaken hands with Deputize before begins a session there.
    let old_session = {
        it.new.become_of(ProtocolEra::Modern);
        it.session("new").await
    };
    it.new.become_of(ProtocolEra::Handshake);
    let refused = it.handshake("new", "tools/call", r#"{"name":"t"}"#).in_session(&old_session).await;
    assert_eq!(refused.json()["error"]["code"], -32000, "{refused}");
    let session = it.session("new").await;
    it.handshake("new", "tools/call", r#"{"name":"t"}"#).in_session(&session).await.ok();
}

#[tokio::test]
async fn a_refusal_that_fits_the_era_is_passed_on_and_the_call_not_repeated() {
    let it = Scene::set().await;
    let refuse = |heard: &deputize_tests::mcp::Heard| {
        json(StatusCode::BAD_REQUEST, heard.error(r#"{"code":-32602,"message":"no such tool"}"#))
    };
    it.new.on("tools/call", refuse);
    it.old.on("tools/call", refuse);
    for (server, status) in [("new", 400), ("old", 200)] {
        let refused = it.modern(server, "tools/call", r#""name":"t""#).await;
        assert_eq!(refused.status, status, "{refused}");
        assert_eq!(refused.raw("error"), r#"{"code":-32602,"message":"no such tool"}"#);
    }
    assert_eq!((it.new.heard_of("tools/call").len(), it.old.heard_of("tools/call").len()), (1, 1));
}

#[tokio::test]
async fn an_id_that_the_server_writes_in_another_way_is_the_same() {
    let it = Scene::set().await;
    it.new.on("tools/call", |_| {
        json(StatusCode::OK, r#"{"jsonrpc":"2.0","id":"a\/\u0062","result":{"content":[]}}"#)
    });
    let text = r#"{"jsonrpc":"2.0","id":"a/b","method":"tools/call","params":{"name":"t"}}"#;
    let called = it.post("new", text).await.ok();
    assert_eq!(called.raw("id"), r#""a/b""#, "{called}");
}
