//! What clients do that are in use, and what they make of an answer. Each test names the public report, if there is one.

use axum::body::Body;
use deputize_tests::{
    TestRequest,
    app::URL,
    mcp::{META, events, json, request},
};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json as value};

use super::Scene;

/// A request of a client that sends no version.
fn bare(it: &Scene, server: &str, text: impl Into<Vec<u8>>) -> TestRequest {
    let ask = it.app().post(format!("/api/v1/proxy/{server}/mcp")).as_user(&it.scenario.bob);
    ask.body("application/json", text).header("accept", "application/json, text/event-stream")
}

/// A request under this version.
fn under(version: &str, ask: TestRequest) -> TestRequest {
    ask.header("mcp-protocol-version", version)
}

/// <https://github.com/modelcontextprotocol/python-sdk/pull/2047>: up to that, any HTTP error cancelled all requests.
#[tokio::test]
async fn a_bad_request_of_a_handshake_revision_is_told_in_the_protocol_and_of_the_stateless_one_by_http_too()
{
    let it = Scene::set().await;
    let bad = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":""}}"#;
    for version in [None, Some("2024-11-05"), Some("2025-03-26"), Some("2025-06-18"), Some("2025-11-25")] {
        let ask = bare(&it, "new", bad);
        let answer = version.into_iter().fold(ask, |ask, version| under(version, ask)).await;
        assert_eq!((answer.status, &answer.json()["id"]), (StatusCode::OK, &value!(7)), "{version:?}");
        assert_eq!(
            answer.rpc_refusal(),
            "200 -32602 invalid_request: name must have 1 to 256 characters, none of them a control character"
        );
    }
    let modern = it.modern("new", "tools/call", r#""name":"""#).await;
    assert_snapshot!(modern.rpc_refusal(), @"400 -32602 invalid_request: name must have 1 to 256 characters, none of them a control character");
    // What says that there is no common revision keeps its status.
    let unknown = under("2999-01-01", bare(&it, "new", bad)).await;
    assert_snapshot!(unknown.rpc_refusal(), @"400 -32022: Unsupported protocol version");
    // What cannot be answered in the protocol is told by HTTP.
    let no_id = bare(&it, "new", r#"{"jsonrpc":"1.0","method":"notifications/x"}"#).await;
    assert_snapshot!(no_id.rpc_refusal(), @r#"400 -32600: jsonrpc must be "2.0""#);
}

#[tokio::test]
async fn a_handshake_servers_own_400_does_not_end_the_session_of_a_handshake_client() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    it.old.on("tools/call", |heard| {
        json(StatusCode::BAD_REQUEST, heard.error(r#"{"code":-32602,"message":"no such tool"}"#))
    });
    let refused = it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await;
    assert_snapshot!(refused.text, @r#"{"jsonrpc":"2.0","id":"c-1","error":{"code":-32602,"message":"no such tool"}}"#);
    assert_eq!(refused.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_answered_in_the_protocol_if_its_id_can_be_read() {
    let it = Scene::set().await;
    let large = "x".repeat(5 << 20);
    let first = format!(r#"{{"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{{"x":"{large}"}}}}"#);
    let last = format!(r#"{{"method":"tools/call","params":{{"x":"{large}"}},"jsonrpc":"2.0","id":7}}"#);
    assert_snapshot!(bare(&it, "new", first.clone()).await, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": -32600,
        "message": "The body is larger than 4194304 bytes",
        "data": {
          "error": "request_too_large",
          "reason": "body_too_large"
        }
      }
    }
    "#);
    assert_eq!(bare(&it, "new", last).await.ok().json()["id"], 7);
    for (what, ask) in [
        ("the stateless revision", under("2026-07-28", bare(&it, "new", first))),
        ("no id", bare(&it, "new", format!(r#"{{"method":"notifications/x","params":{{"x":"{large}"}}}}"#))),
        ("not JSON", bare(&it, "new", large.clone())),
        (
            "beyond what is read",
            bare(&it, "new", format!(r#"{{"id":1,"method":"m","x":"{}"}}"#, large.repeat(4))),
        ),
    ] {
        let refused = ask.await;
        assert_eq!(
            (refused.status, &*refused.refusal()),
            (StatusCode::PAYLOAD_TOO_LARGE, "413 The body is larger than 4194304 bytes"),
            "{what}"
        );
    }
    assert!(it.new.heard().is_empty());
}

/// `mcp-remote` passes on the version that its own client has agreed on.
#[tokio::test]
async fn a_client_of_2024_11_05_is_a_handshake_client() {
    let it = Scene::set().await;
    let params =
        r#"{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"old","version":"1"}}"#;
    for server in ["new", "old"] {
        let answer = it.app().mcp(server, request("initialize", params)).as_user(&it.scenario.bob).await.ok();
        assert_eq!(answer.json()["result"]["protocolVersion"], "2024-11-05", "{server}");
        let session = answer.session();
        let called = under("2024-11-05", bare(&it, server, request("tools/call", r#"{"name":"t"}"#)));
        let called = called.in_session(&session).await.ok();
        assert!(called.json()["result"]["content"].is_array(), "{called}");
    }
    assert_eq!(it.old.last("tools/call").header("mcp-protocol-version"), Some("2024-11-05"));
}

#[tokio::test]
async fn initialize_is_answered_whatever_its_version_header_says() {
    let it = Scene::set().await;
    let params =
        r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#;
    for server in ["new", "old"] {
        for version in ["2026-07-28", "2024-10-07", "latest", "2025-11-25, 2026-07-28", ""] {
            let answer = under(version, bare(&it, server, request("initialize", params))).await.ok();
            assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25", "{server} {version}");
        }
    }
    assert!(it.old.heard_of("initialize").iter().all(|heard| heard.header("mcp-protocol-version").is_none()));
}

/// <https://github.com/lowdefy/lowdefy/pull/2345>: Claude Code sends the header twice, and it is joined on the way.
#[tokio::test]
async fn the_same_version_twice_is_one_and_two_versions_are_none() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let list = || bare(&it, "old", request("tools/list", "{}")).in_session(&session);
    under("2025-11-25, 2025-11-25", list()).await.ok();
    under("2025-11-25", under("2025-11-25", list())).await.ok();
    for heard in it.old.heard_of("tools/list") {
        assert_eq!(heard.headers.get_all("mcp-protocol-version").iter().collect::<Vec<_>>(), ["2025-11-25"]);
    }
    let two = under("2025-11-25, 2025-06-18", list()).await;
    assert_snapshot!(two.rpc_refusal(), @"400 -32020: Header mismatch: the mcp-protocol-version header has two versions");
}

/// <https://github.com/anthropics/claude-code/issues/93290>
#[tokio::test]
async fn under_a_handshake_version_what_meta_says_of_the_version_means_nothing() {
    let it = Scene::set().await;
    let params = format!(r#"{{"name":"t","arguments":{{"a": 1.0}},"_meta":{{{META},"progressToken":7}}}}"#);
    for server in ["new", "old"] {
        let text = request("tools/call", &params);
        let called = under("2025-11-25", bare(&it, server, text)).await.ok();
        assert!(called.json()["result"]["content"].is_array(), "{called}");
    }
    // Such a client has never shaken hands: the server is spoken to in a session of ours.
    assert_eq!(
        it.old.last("tools/call").raw("params"),
        r#"{"name":"t","arguments":{"a": 1.0},"_meta":{"progressToken":7}}"#
    );
    assert_eq!(it.old.last("tools/call").header("mcp-session-id"), Some("upstream-session-1"));
    // In a session of its own, it is spoken to there.
    let session = it.session("old").await;
    let text = request("tools/call", &params);
    under("2025-11-25", bare(&it, "old", text)).in_session(&session).await.ok();
    assert_eq!(it.old.last("tools/call").header("mcp-session-id"), Some("upstream-session-2"));
    assert_eq!(it.old.last("tools/call").raw("params"), params);
    // Without a version in the header, the body's is what counts, and it says that there must be one.
    let missing = bare(&it, "new", request("tools/call", &params)).await;
    assert_snapshot!(missing.rpc_refusal(), @"400 -32020: Header mismatch: the MCP-Protocol-Version header is missing");
}

/// <https://github.com/CodeWithCJ/SparkyFitness/issues/2155>
#[tokio::test]
async fn in_a_session_the_version_is_that_of_the_session() {
    let it = Scene::set().await;
    for server in ["new", "old"] {
        let session = it.session(server).await;
        let list = || bare(&it, server, request("tools/list", "{}")).in_session(&session);
        let with_meta = bare(&it, server, request("tools/list", &format!(r#"{{"_meta":{{{META}}}}}"#)));
        for ask in [under("2026-07-28", list()), list(), under("2026-07-28", with_meta.in_session(&session))]
        {
            assert_eq!(ask.await.ok().json()["result"]["tools"][0]["name"], "t", "{server}");
        }
        let told = bare(&it, server, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(under("2026-07-28", told).in_session(&session).await.status, 202);
    }
    assert_eq!(
        it.old.last("tools/list").header("mcp-protocol-version"),
        None,
        "the server knows its session"
    );
    assert_eq!(it.old.heard_of("notifications/initialized").len(), 1);
    // A session is still one that there must be.
    let unknown =
        under("2026-07-28", bare(&it, "new", request("tools/list", "{}"))).in_session("nonsense").await;
    assert_snapshot!(unknown.rpc_refusal(), @"404 -32600: There is no such session");
}

/// <https://github.com/modelcontextprotocol/php-sdk/issues/284>, <https://github.com/elgorro/aiquila/issues/442>
#[tokio::test]
async fn an_empty_list_of_parameters_or_arguments_is_an_empty_object() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    for (server, session) in [("new", None), ("old", Some(&session))] {
        for (method, params, sent) in [
            ("tools/list", "[]", "{}"),
            ("tools/list", "[ \n]", "{}"),
            ("tools/call", r#"{"name":"t","arguments":[]}"#, r#"{"name":"t","arguments":{}}"#),
        ] {
            let ask = under("2025-11-25", bare(&it, server, request(method, params)));
            let answer = session.into_iter().fold(ask, |ask, session| ask.in_session(session)).await.ok();
            assert!(answer.json()["result"].is_object(), "{answer}");
            if server == "old" {
                assert_eq!(it.old.last(method).raw("params"), sent);
            }
        }
    }
    let sent = it.new.last("tools/call").raw("params");
    assert!(sent.starts_with(r#"{"name":"t","arguments":{},"#), "{sent}");
    // What a tool takes as a list is its own.
    let params = r#"{"name":"t","arguments":{"list":[ ]}}"#;
    under("2025-11-25", bare(&it, "old", request("tools/call", params))).in_session(&session).await.ok();
    assert_eq!(it.old.last("tools/call").raw("params"), params);
    for params in ["[1]", r#"{"name":"t","arguments":[1]}"#] {
        let refused =
            under("2025-11-25", bare(&it, "old", request("tools/call", params))).in_session(&session).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (StatusCode::OK, &value!(-32602)),
            "{params}"
        );
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_an_integer_with_a_fraction_of_zeros_do_no_harm() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let text = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1.0,\"method\":\"tools/list\",\"params\":{\"a\": 2.0}}";
    for (server, session) in [("new", None), ("old", Some(&session))] {
        let ask = under("2025-11-25", bare(&it, server, text));
        let answer = session.into_iter().fold(ask, |ask, session| ask.in_session(session)).await.ok();
        assert_eq!(answer.raw("id"), "1.0", "{answer}");
    }
    // A server that knows only integers gets one, and what is not the id keeps its bytes.
    assert_eq!(it.old.last("tools/list").raw("id"), "1");
    assert_eq!(it.old.last("tools/list").raw("params"), r#"{"a": 2.0}"#);
    // And one that knows none may answer with a fraction.
    it.old.on("tools/list", |_| json(StatusCode::OK, r#"{"jsonrpc":"2.0","id":1.0,"result":{"tools":[]}}"#));
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let answer = under("2025-11-25", bare(&it, "old", plain)).in_session(&session).await.ok();
    assert_eq!(answer.raw("id"), "1", "{answer}");
    let fraction = under("2025-11-25", bare(&it, "old", plain.replace(":1,", ":1.5,"))).in_session(&session);
    assert_snapshot!(fraction.await.rpc_refusal(), @"400 -32600: id must be text or an integer");
}

#[tokio::test]
async fn initialized_without_its_prefix_is_taken() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let told =
        under("2025-11-25", bare(&it, "old", r#"{"jsonrpc":"2.0","method":"initialized","params":[]}"#));
    assert_eq!(told.in_session(&session).await.status, 202);
    let heard = it.old.last("notifications/initialized");
    assert_eq!(heard.text, r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#);
}

/// <https://modelcontextprotocol.io/specification/2025-03-26/basic#batching>
#[tokio::test]
async fn a_batch_is_judged_and_recorded_message_by_message_and_answered_at_once() {
    let it = Scene::without_policies(deputize_proxy::upstream::UpstreamConfig::default()).await;
    it.app()
        .policy("t", r#"permit(principal, action == Action::"call_tool", resource == Tool::"old/t");"#)
        .await;
    let session = it.session("old").await;
    let before = it.app().trail().len();
    let call = |id: u8, tool: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":[]}}}}"#
        )
    };
    let batch = format!(
        r#"[{},{{"jsonrpc":"2.0","method":"notifications/initialized"}},{},{{"jsonrpc":"2.0","id":3,"method":"initialize","params":{{}}}},{{"jsonrpc":"2.0","id":4}},{{"jsonrpc":"1.0","id":5,"method":"ping"}}]"#,
        call(1, "t"),
        call(2, "secret"),
    );
    it.old.on("tools/call", |heard| {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
        events(format!("data: {note}\n\ndata: {}\n\n", heard.result(r#"{"content":[]}"#)))
    });
    let answer = under("2025-03-26", bare(&it, "old", batch.clone())).in_session(&session).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_snapshot!(answer, @r#"
    200 OK

    [
      {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
          "content": []
        }
      },
      {
        "jsonrpc": "2.0",
        "id": 2,
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
      },
      {
        "jsonrpc": "2.0",
        "id": 3,
        "error": {
          "code": -32600,
          "message": "initialize must not be part of a batch"
        }
      },
      {
        "jsonrpc": "2.0",
        "id": 5,
        "error": {
          "code": -32600,
          "message": "jsonrpc must be \"2.0\""
        }
      }
    ]
    "#);
    let trail = it.app().trail();
    let about = |event: &Value| format!("{} {} {}", event["tool"], event["subject"], event["outcome"]);
    let mut recorded: Vec<_> = trail.iter().map(about).collect();
    recorded.sort();
    assert_eq!(recorded.len(), before + 3, "what was no request is not recorded: {recorded:?}");
    for one in [
        r#""t" null "allowed""#,
        r#""secret" null "denied""#,
        r#"null "method:notifications/initialized" "allowed""#,
    ] {
        assert!(recorded.iter().any(|recorded| recorded == one), "{one}: {recorded:?}");
    }
    assert_eq!(it.old.heard_of("tools/call").len(), 1);
    assert!(it.old.heard().iter().all(|heard| heard.text.starts_with('{') || heard.text.is_empty()));
    // Without a version it is of that revision. Others have no batches.
    assert_eq!(bare(&it, "old", batch.clone()).in_session(&session).await.status, 200);
    for version in ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let refused = under(version, bare(&it, "old", batch.clone())).in_session(&session).await;
        assert_eq!(
            refused.rpc_refusal(),
            "400 -32600: Only the revision 2025-03-26 has batches: send one message a request"
        );
    }
}

#[tokio::test]
async fn a_batch_is_bounded_and_one_that_asks_nothing_is_taken() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let many = |one: &str, count: usize| format!("[{}]", vec![one; count].join(","));
    let post = |text: String| under("2025-03-26", bare(&it, "old", text)).in_session(&session);
    assert_eq!(post(many(ping, 20)).await.ok().json().as_array().unwrap().len(), 20);
    for text in [many(ping, 21), "[]".to_owned(), " [ ] ".to_owned()] {
        assert_eq!(post(text).await.rpc_refusal(), "400 -32600: A batch has 1 to 20 messages");
    }
    assert_snapshot!(post("[{]".to_owned()).await.rpc_refusal(), @"400 -32700: Not one JSON text");
    let taken = post(many(note, 2)).await;
    assert_eq!((taken.status, &*taken.text), (StatusCode::ACCEPTED, ""));
    assert_eq!(it.old.heard_of("notifications/initialized").len(), 2);
    // A caller who is not let in is told by HTTP.
    let anonymous = it.app().mcp("old", many(ping, 2)).await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
    assert_snapshot!(post(many(ping, 2)).header("authorization", "Bearer x").await.refusal(), @"400 Send either an Authorization header or x-runlayer-api-key, not both");
}

#[tokio::test]
async fn a_client_that_takes_no_stream_gets_the_response_alone() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
    for server in [&it.new, &it.old] {
        server.on("tools/call", move |heard| {
            let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
            events(format!("data: {note}\n\ndata: {ping}\n\ndata: {}\n\n", heard.result(r#"{"content":[]}"#)))
        });
    }
    let ask = |accept: &str, server: &str| {
        let ask = it.app().post(format!("/api/v1/proxy/{server}/mcp")).as_user(&it.scenario.bob);
        let ask =
            ask.body("application/json", request("tools/call", r#"{"name":"t"}"#)).header("accept", accept);
        under("2025-11-25", if server == "old" { ask.in_session(&session) } else { ask })
    };
    for server in ["new", "old"] {
        for accept in ["application/json", "application/json; charset=utf-8"] {
            let answer = ask(accept, server).await.ok();
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.raw("result"), r#"{"content":[]}"#, "{accept}");
        }
        for accept in ["application/json, text/event-stream", "*/*", "application/json, TEXT/*;q=0.5"] {
            let answer = ask(accept, server).await.ok();
            assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{accept}");
        }
    }
    assert_snapshot!(it.app().event_of(&ask("application/json", "old").await), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "old"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    outcome: "allowed"
    policies: "[policy everything]"
    tool: "t"
    "#);
    // What the server would wait for is not waited for.
    it.old.on("tools/call", |_| {
        events(Body::from(
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"elicitation/create\",\"params\":{}}\n\n",
        ))
    });
    let asked = ask("application/json", "old").await;
    assert_snapshot!(asked.rpc_refusal(), @"200 400 upstream_refused: The server asks the client something, for which the client must take a stream: send Accept: application/json, text/event-stream");
    let params = format!(r#"{{"notifications":{{}},"_meta":{{{META}}}}}"#);
    let listen = it
        .app()
        .post("/api/v1/proxy/new/mcp")
        .body("application/json", request("subscriptions/listen", &params));
    let listen = under("2026-07-28", listen)
        .header("mcp-method", "subscriptions/listen")
        .header("accept", "application/json");
    let listen = listen.as_user(&it.scenario.bob).await;
    assert_snapshot!(listen.rpc_refusal(), @"400 -32600: subscriptions/listen is answered by a stream: send Accept: text/event-stream");
}

#[tokio::test]
async fn a_method_that_no_revision_has_is_unknown_and_not_forbidden_and_the_server_is_not_asked() {
    let it = Scene::without_policies(deputize_proxy::upstream::UpstreamConfig::default()).await;
    let session = it.session("old").await;
    let heard = it.old.heard().len();
    let handshake = it.handshake("old", "com.example/x", "{}").in_session(&session).await;
    assert_snapshot!(handshake, @r#"
    200 OK

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": -32601,
        "message": "Method not found",
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
    assert_snapshot!(it.app().event_of(&handshake), @r#"
    action: "mcp.request"
    audit_server: "old"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "Policy denied for the user: no policy permits it"
    outcome: "denied"
    subject: "method:com.example/x"
    "#);
    assert_eq!(
        it.modern("new", "com.example/x", "").await.rpc_refusal(),
        "404 -32601 access_denied: Method not found"
    );
    // What the protocol has is there, and forbidden.
    let tasks = it.handshake("old", "tasks/get", r#"{"taskId":"1"}"#).in_session(&session).await;
    assert_snapshot!(tasks.rpc_refusal(), @"200 403 access_denied: Policy denied");
    assert_eq!(it.old.heard().len(), heard);
    // And who may send it gets the server's own answer.
    it.app().permit_everything().await;
    let asked = it.handshake("old", "com.example/x", "{}").in_session(&session).await;
    assert_snapshot!(asked.raw("error"), @r#"{"code":-32601,"message":"Method not found","data":{ "odd":1.0}}"#);
}

#[tokio::test]
async fn a_clients_mistake_is_not_blamed_on_the_server() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let get = || {
        under("2025-11-25", it.app().get("/api/v1/proxy/old/mcp"))
            .as_user(&it.scenario.bob)
            .in_session(&session)
    };
    let post = |text: &'static str| under("2025-11-25", bare(&it, "old", text)).in_session(&session);
    let refuse = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        for method in ["GET", "notifications/x", "POST"] {
            it.old.on(method, move |_| {
                json(status, r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no"},"id":null}"#)
            });
        }
    };
    let mut told = Vec::new();
    refuse(409);
    told.push(("a second stream", get().await));
    refuse(400);
    told.push(("a place that there is not", get().header("last-event-id", "garbled").await));
    told.push(("a response to nothing", post(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#).await));
    told.push((
        "a bad notification",
        post(r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"a":1}}"#).await,
    ));
    refuse(503);
    told.push(("the server's fault", post(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).await));
    let told: Vec<_> = told.iter().map(|(what, answer)| format!("{what}: {}", answer.refusal())).collect();
    assert_snapshot!(told.join("\n"), @r#"
    a second stream: 409 The MCP server refuses it, since it contradicts the session's state: HTTP 409
    a place that there is not: 400 The MCP server refuses what the client sent: HTTP 400
    a response to nothing: 400 The MCP server refuses what the client sent: HTTP 400
    a bad notification: 400 The MCP server refuses what the client sent: HTTP 400
    the server's fault: 502 The MCP server answered HTTP 503 Service Unavailable: "no"
    "#);
}

#[tokio::test]
async fn a_capability_that_is_no_object_is_not_passed_on_to_a_stateless_server() {
    let it = Scene::set().await;
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{"experimental":true,"com.example/x":{}},"clientInfo":{"name":"x","version":"1"}}"#;
    let initialized = it.app().mcp("new", request("initialize", params)).as_user(&it.scenario.bob).await.ok();
    it.handshake("new", "tools/call", r#"{"name":"t"}"#).in_session(&initialized.session()).await.ok();
    for heard in ["server/discover", "tools/call"] {
        let sent =
            it.new.last(heard).message()["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
                .clone();
        assert_eq!(sent, value!({ "com.example/x": {} }), "{heard}");
    }
}

#[tokio::test]
async fn a_list_that_is_filtered_is_never_everybodys() {
    let it = Scene::set().await;
    let session = it.session("new").await;
    let handshake = it.handshake("new", "tools/list", "{}").in_session(&session).await.ok();
    let modern = it.modern("new", "tools/list", "").await.ok();
    for answer in [handshake, modern] {
        assert_eq!(answer.json()["result"]["cacheScope"], "private", "{answer}");
    }
    let old = it.session("old").await;
    it.old.on("GET", |_| {
        events("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[],\"cacheScope\":\"public\"}}\n\n")
    });
    let resumed = it.app().get("/api/v1/proxy/old/mcp").as_user(&it.scenario.bob).in_session(&old).await.ok();
    assert!(resumed.text.contains(r#""cacheScope":"private""#), "{resumed}");
}

/// <https://github.com/PrefectHQ/fastmcp/issues/1867>
#[tokio::test]
async fn an_address_that_ends_with_a_slash_is_the_same() {
    let it = Scene::set().await;
    let path = "/api/v1/proxy/new/mcp/";
    let list =
        it.app().post(path).as_user(&it.scenario.bob).body("application/json", request("tools/list", "{}"));
    assert_eq!(list.await.ok().json()["result"]["tools"][0]["name"], "t");
    for ask in [it.app().get(path), it.app().delete(path)] {
        assert_eq!(ask.as_user(&it.scenario.bob).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    // RFC 9728 section 3.3: the metadata has the name that the client uses.
    let anonymous = it.app().post(path).body("application/json", request("tools/list", "{}")).await;
    let metadata = "/.well-known/oauth-protected-resource/api/v1/proxy/new/mcp/";
    let challenge = anonymous.header("www-authenticate").unwrap();
    assert!(challenge.contains(&format!(r#"resource_metadata="{URL}{metadata}""#)), "{challenge}");
    let described = it.app().get(metadata).await.ok().json();
    let resource = format!("{URL}{path}");
    assert_eq!(described["resource"], resource);
    let token = it.app().token_for(&it.scenario.bot, &[("resource", &resource)]).await.access_token();
    it.app().modern("new", "tools/list", "").bearer(&token).await.ok();
    for other in [
        "/.well-known/oauth-protected-resource/api/v1/proxy/",
        "/.well-known/oauth-protected-resource/api/v1/proxy/new/mcp//",
    ] {
        assert_eq!(it.app().get(other).await.status, StatusCode::NOT_FOUND, "{other}");
    }
}

#[tokio::test]
async fn an_api_key_is_taken_from_the_headers_that_hosted_connectors_have() {
    let it = Scene::set().await;
    let (bob, alice) = (&it.scenario.bob.api_key, &it.scenario.alice.api_key);
    let list = || it.app().modern("new", "tools/list", "");
    for name in ["x-api-key", "x-auth-token", "X-API-Key"] {
        list().header(name, bob).await.ok();
    }
    // The same one twice is one.
    list().header("x-api-key", bob).header("x-runlayer-api-key", bob).header("x-auth-token", bob).await.ok();
    list().header("x-api-key", bob).bearer(bob).await.ok();
    // Two are none, wherever they are.
    let mut told = Vec::new();
    for ask in [
        list().header("x-api-key", bob).header("x-runlayer-api-key", alice),
        list().header("x-auth-token", bob).header("x-api-key", alice),
        list().header("x-api-key", bob).header("x-api-key", alice),
        list().header("x-api-key", bob).bearer(alice),
    ] {
        told.push(ask.await.refusal());
    }
    assert_snapshot!(told.join("\n"), @r"
    400 There are two different API keys in the headers
    400 There are two different API keys in the headers
    400 There are two different API keys in the headers
    400 Send either an Authorization header or x-runlayer-api-key, not both
    ");
}

/// A gateway asks for a key of its own in the same header: API Gateway behind CloudFront, and many companies' gateways.
#[tokio::test]
async fn a_gateways_key_is_no_users_credential() {
    let it = Scene::set().await;
    let (bob, key) = (&it.scenario.bob.api_key, "k9".repeat(32));
    let list = || it.app().modern("new", "tools/list", "").header("x-api-key", &key);
    let anonymous = list().await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
    assert_eq!(anonymous.json()["reason"], "credential_missing");
    list().header("x-runlayer-api-key", bob).await.ok();
    list().header("x-auth-token", bob).await.ok();
    list().bearer(&it.app().m2m(&it.scenario.bot).await).await.ok();
    assert!(
        it.new.heard().iter().all(|heard| heard.header("x-api-key").is_none() && !heard.text.contains(&key))
    );
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_what_is_taken() {
    let it = Scene::set().await;
    for encoding in ["gzip", "br", "identity, gzip"] {
        let ask = it.handshake("new", "tools/list", "{}").header("content-encoding", encoding);
        let refused = ask.await;
        assert_eq!(refused.header("accept-encoding"), Some("identity"));
        assert_eq!(
            refused.refusal(),
            "415 The body must not be compressed: send it without a Content-Encoding"
        );
    }
    it.handshake("new", "tools/list", "{}").header("content-encoding", "identity").await.ok();
}
