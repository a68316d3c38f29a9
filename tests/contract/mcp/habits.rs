//! Servers as they are: what they do beside the specification, at `/tools` and at `/mcp`. Each case names the public
//! page on which a server was seen to do it.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{
    TestRequest, TestResponse,
    mcp::{Heard, ProtocolEra, ScriptedServer, events, json},
};
use futures::{FutureExt, StreamExt, stream};
use http::{StatusCode, header};
use insta::assert_snapshot;
use serde_json::json;
use tokio::net::TcpListener;

use super::Scene;

const DONE: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#;

impl Scene {
    /// The same call of `t`, by `/tools` and by clients of both eras.
    async fn calls_of_t(&self, server: &str) -> [(&'static str, TestRequest); 3] {
        let session = self.app().initialize(server).as_user(&self.scenario.bob).await;
        let session = session.header("mcp-session-id").map(str::to_owned);
        let by_handshake = self.handshake(server, "tools/call", r#"{"name":"t"}"#);
        let by_handshake = match session {
            Some(session) => by_handshake.in_session(&session),
            None => by_handshake,
        };
        [
            ("/tools", self.app().call(server, "t", &json!({})).as_user(&self.scenario.bob)),
            ("/mcp, modern", self.modern(server, "tools/call", r#""name":"t""#)),
            ("/mcp, handshake", by_handshake),
        ]
    }

    /// Calls `t` in every way at servers of both eras that answer so, and expects that it was done, once.
    async fn works(&self, what: &str, says: impl Fn(&Heard) -> Response + Clone + Send + Sync + 'static) {
        for (name, server) in [("new", &self.new), ("old", &self.old)] {
            server.on("tools/call", says.clone());
            for (by, ask) in self.calls_of_t(name).await {
                let before = server.heard_of("tools/call").len();
                let answer = ask.await.ok();
                assert!(answer.text.contains(r#""text":"done""#), "{what}, {name}, {by}: {answer}");
                assert_eq!(server.heard_of("tools/call").len() - before, 1, "{what}, {name}, {by}");
            }
        }
    }
}

fn typed(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Response {
    let mut response = (status, text.into()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
    response
}

#[tokio::test]
async fn events_that_are_no_messages_are_skipped() {
    let it = Scene::set().await;
    for (what, event) in [
        ("https://github.com/modelcontextprotocol/go-sdk/issues/636", "event: ping\ndata: ping\n\n"),
        ("the same with JSON", "event: keepalive\ndata: {}\n\n"),
        ("https://github.com/modelcontextprotocol/python-sdk/issues/1146", "data:\n\n: ping\n\n"),
        ("https://github.com/PhilflowIO/dav-mcp/issues/31", "data: {\"type\":\"heartbeat\"}\n\n"),
    ] {
        it.works(what, move |heard| {
            events(format!("{event}event: message\ndata: {}\n\n", heard.result(DONE)))
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_blank_line_has_its_last_event() {
    let it = Scene::set().await;
    it.works("no blank line", |heard| events(format!("data: {}", heard.result(DONE)))).await;
}

#[tokio::test]
async fn bodies_that_are_almost_as_they_should_be_are_read() {
    let it = Scene::set().await;
    let ok = StatusCode::OK;
    it.works("201", |heard| json(StatusCode::CREATED, heard.result(DONE))).await;
    it.works("a byte order mark", |heard| json(StatusCode::OK, format!("\u{feff}{}", heard.result(DONE))))
        .await;
    it.works("an array of one", |heard| json(StatusCode::OK, format!("[{}]", heard.result(DONE)))).await;
    it.works("application/json-rpc", move |heard| typed(ok, "application/json-rpc", heard.result(DONE)))
        .await;
    it.works("text/plain", move |heard| typed(ok, "text/plain", heard.result(DONE))).await;
    it.works("no version", |heard| {
        json(StatusCode::OK, heard.result(DONE).replace(r#""jsonrpc":"2.0","#, ""))
    })
    .await;
    // https://github.com/modelcontextprotocol/rust-sdk/pull/1021
    let as_text = |id: String| if id.starts_with('"') { id } else { format!("\"{id}\"") };
    it.works("an id that became text", move |heard| {
        json(
            StatusCode::OK,
            format!(r#"{{"jsonrpc":"2.0","id":{},"result":{DONE}}}"#, as_text(heard.raw("id"))),
        )
    })
    .await;
    let as_fraction = |id: String| if id.starts_with('"') { id } else { format!("{id}.0") };
    it.works("an id that became a fraction", move |heard| {
        json(
            StatusCode::OK,
            format!(r#"{{"jsonrpc":"2.0","id":{},"result":{DONE}}}"#, as_fraction(heard.raw("id"))),
        )
    })
    .await;
}

/// <https://github.com/epam/ai-dial-core/issues/1586>, <https://github.com/UsefulSoftwareCo/executor/pull/1399>
#[tokio::test]
async fn what_comes_compressed_though_no_coding_was_asked_for_is_read() {
    let it = Scene::set().await;
    let compressed = |text: String| {
        let mut encoder = async_compression::tokio::bufread::GzipEncoder::new(std::io::Cursor::new(text));
        let mut bytes = Vec::new();
        // All of the text is there, so nothing is waited for.
        tokio::io::AsyncReadExt::read_to_end(&mut encoder, &mut bytes).now_or_never().unwrap().unwrap();
        bytes
    };
    let coded = |response: Response| ([(header::CONTENT_ENCODING, "gzip")], response).into_response();
    it.works("JSON", move |heard| {
        coded(typed(StatusCode::OK, "application/json", compressed(heard.result(DONE))))
    })
    .await;
    it.works("events", move |heard| coded(events(compressed(format!("data: {}\n\n", heard.result(DONE))))))
        .await;
    for server in [&it.new, &it.old] {
        assert!(server.heard().iter().all(|heard| heard.header("accept-encoding") == Some("identity")));
    }

    it.new.on("tools/call", move |heard| {
        let bomb = heard.result(&format!(r#"{{"content":[],"x":"{}"}}"#, "x".repeat(20_000_000)));
        coded(typed(StatusCode::OK, "application/json", compressed(bomb)))
    });
    let answer = it.app().call("new", "t", &json!({})).as_user(&it.scenario.bob).await;
    assert_snapshot!(answer.refusal(), @"502 The MCP server's answer exceeds 8388608 bytes; the tool may have run, so repeating the call may do its work twice");
}

/// A server behind a path that redirects to another of the same server, and where it is elsewhere. As
/// <https://github.com/modelcontextprotocol/python-sdk/issues/1168>.
async fn moved(era: ProtocolEra, status: StatusCode) -> (ScriptedServer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (server, routes) = ScriptedServer::behind(era);
    let redirect =
        move |to: &'static str| axum::routing::any(move || async move { (status, [(header::LOCATION, to)]) });
    let routes = Router::new()
        .route("/mcp", redirect("/mcp/"))
        .route("/loop", redirect("loop"))
        .route("/elsewhere", redirect("//127.0.0.2:9/x?key=secret#y"))
        .route("/other-scheme", redirect("https://127.0.0.1/"))
        .route("/user", redirect("http://user:pass@127.0.0.1:9/"))
        .fallback_service(routes);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (server, address)
}

#[tokio::test]
async fn a_redirect_within_the_servers_origin_is_followed_with_everything() {
    for status in [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        for era in [ProtocolEra::Modern, ProtocolEra::Handshake] {
            let it = Scene::set().await;
            let (server, address) = moved(era, status).await;
            it.app().server("moved").at(format!("{address}/mcp")).await;
            for (by, ask) in it.calls_of_t("moved").await {
                let answer = ask.await.ok();
                assert!(answer.text.contains(r#""content":"#), "{status} {era:?} {by}: {answer}");
            }
            let calls = server.heard_of("tools/call");
            assert_eq!(calls.len(), 3, "{status} {era:?}");
            assert!(calls.iter().all(|heard| heard.http == http::Method::POST));
        }
    }
}

#[tokio::test]
async fn any_other_redirect_is_an_error_that_says_where_it_leads() {
    let it = Scene::set().await;
    let mut told = Vec::new();
    for (status, path) in [
        (StatusCode::TEMPORARY_REDIRECT, "/elsewhere"),
        (StatusCode::TEMPORARY_REDIRECT, "/other-scheme"),
        (StatusCode::PERMANENT_REDIRECT, "/user"),
        (StatusCode::PERMANENT_REDIRECT, "/loop"),
        (StatusCode::FOUND, "/mcp"),
        (StatusCode::SEE_OTHER, "/mcp"),
    ] {
        let (server, address) = moved(ProtocolEra::Handshake, status).await;
        let name = format!("moved-{}{}", status.as_u16(), path.replace('/', "-"));
        it.app().server(&name).at(format!("{address}{path}")).await;
        for ask in [
            it.app().call(&name, "t", &json!({})).as_user(&it.scenario.bob),
            it.modern(&name, "tools/call", r#""name":"t""#),
        ] {
            let answer = ask.await;
            let text = answer.text.replace(&address, "http://SERVER");
            assert!(!text.contains("secret") && !text.contains("pass"), "{text}");
            let from = text.find("The MCP server redirects").unwrap_or_default();
            let to = text[from..].find(", which is not followed").map_or(text.len(), |length| from + length);
            told.push(text[from..to].to_owned());
        }
        assert!(server.heard().is_empty(), "{path}");
    }
    told.dedup();
    assert_snapshot!(told.join("\n"), @r"
    The MCP server redirects (307 Temporary Redirect) to http://127.0.0.2:9/x
    The MCP server redirects (307 Temporary Redirect) to https://127.0.0.1/
    The MCP server redirects (308 Permanent Redirect) to http://127.0.0.1:9/
    The MCP server redirects (308 Permanent Redirect) to http://SERVER/loop
    The MCP server redirects (302 Found) to http://SERVER/mcp/
    The MCP server redirects (303 See Other) to http://SERVER/mcp/
    ");
}

/// How a server tells that it has forgotten a session, and whether it tells so of an unread request.
fn forgotten() -> Vec<(&'static str, bool, Response)> {
    let plain = |status, text: &'static str| typed(status, "text/plain", text);
    vec![
        (
            "https://github.com/modelcontextprotocol/rust-sdk/issues/559",
            true,
            plain(StatusCode::UNAUTHORIZED, "Unauthorized: Session not found"),
        ),
        (
            "https://github.com/punkpeye/mcp-proxy/issues/108",
            true,
            ([(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)], StatusCode::UNAUTHORIZED)
                .into_response(),
        ),
        (
            "https://github.com/zoedsoupe/anubis-mcp/pull/124",
            true,
            plain(StatusCode::BAD_REQUEST, "No active session"),
        ),
        (
            "https://github.com/DAWNCR0W/affine-mcp-server/issues/301",
            true,
            json(
                StatusCode::BAD_REQUEST,
                r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID"},"id":null}"#,
            ),
        ),
        (
            "https://github.com/onyx-dot-app/agent-wiki/pull/158",
            true,
            json(
                StatusCode::OK,
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"missing or invalid Mcp-Session-Id"},"id":null}"#,
            ),
        ),
        ("410", true, plain(StatusCode::GONE, "gone")),
        (
            "https://github.com/sparfenyuk/mcp-proxy/issues/149",
            false,
            StatusCode::SERVICE_UNAVAILABLE.into_response(),
        ),
        (
            "an error that may be a tool's own",
            false,
            json(
                StatusCode::OK,
                r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Session not found"},"id":null}"#,
            ),
        ),
        ("the same in words", false, plain(StatusCode::INTERNAL_SERVER_ERROR, "unknown session")),
    ]
}

#[tokio::test]
async fn a_session_that_a_server_forgot_is_replaced_however_it_says_so_and_no_call_is_made_twice() {
    for number in 0..forgotten().len() {
        let (what, is_unread, _) = forgotten().swap_remove(number);
        for modern in [false, true] {
            let it = Scene::set().await;
            let ask = || {
                if modern {
                    it.modern("old", "tools/call", r#""name":"t""#)
                } else {
                    it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob)
                }
            };
            ask().await.ok();
            it.old.on("tools/call", move |heard| match heard.header("mcp-session-id") {
                Some("upstream-session-1") => forgotten().swap_remove(number).2,
                _ => {
                    let response = heard.result(DONE);
                    json(StatusCode::OK, response)
                }
            });
            let first = ask().await;
            assert_eq!(first.text.contains("done"), is_unread, "{what}: {first}");
            let second = ask().await;
            assert!(second.text.contains("done"), "{what}: {second}");
            let sessions: Vec<_> = it.old.heard_of("tools/call");
            let sessions: Vec<_> =
                sessions.iter().map(|heard| heard.header("mcp-session-id").unwrap()).collect();
            let [one, two] = ["upstream-session-1", "upstream-session-2"];
            let expected = if is_unread { vec![one, one, two, two] } else { vec![one, one, two] };
            assert_eq!(sessions, expected, "{what}");
        }
    }
}

#[tokio::test]
async fn a_clients_own_session_that_a_server_forgot_is_gone_for_the_client() {
    let mut told = Vec::new();
    for number in 0..forgotten().len() {
        let it = Scene::set().await;
        let session = it.session("old").await;
        it.old.on("tools/call", move |_| forgotten().swap_remove(number).2);
        let answer = it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await;
        told.push(format!("{}: {}", forgotten()[number].0, answer.rpc_refusal()));
        assert_eq!(it.old.heard_of("tools/call").len(), 1);
    }
    assert_snapshot!(told.join("\n"), @r#"
    https://github.com/modelcontextprotocol/rust-sdk/issues/559: 404 -32600: The session has ended
    https://github.com/punkpeye/mcp-proxy/issues/108: 200 502 upstream_error: The MCP server does not accept the credential; it is registered with auth "none": register it with auth "oauth" if it asks for OAuth, or with auth "header" if it asks for a key of its own
    https://github.com/zoedsoupe/anubis-mcp/pull/124: 404 -32600: The session has ended
    https://github.com/DAWNCR0W/affine-mcp-server/issues/301: 404 -32600: The session has ended
    https://github.com/onyx-dot-app/agent-wiki/pull/158: 404 -32600: The session has ended
    410: 404 -32600: The session has ended
    https://github.com/sparfenyuk/mcp-proxy/issues/149: 200 502 upstream_error: The MCP server answered HTTP 503 Service Unavailable; the tool may have run, so repeating the call may do its work twice
    an error that may be a tool's own: 200 -32000: Session not found
    the same in words: 200 502 upstream_error: The MCP server answered HTTP 500 Internal Server Error: "unknown session"; the tool may have run, so repeating the call may do its work twice
    "#);
}

#[tokio::test]
async fn a_session_that_is_refused_for_the_credential_is_not_opened_again_and_again() {
    let it = Scene::set().await;
    it.old.on("tools/call", |_| StatusCode::UNAUTHORIZED.into_response());
    for ask in [
        it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob),
        it.modern("old", "tools/call", r#""name":"t""#),
    ] {
        let before = it.old.heard_of("initialize").len();
        assert!(ask.await.text.contains("does not accept the credential"));
        assert!(it.old.heard_of("initialize").len() - before <= 2);
    }
}

#[tokio::test]
async fn a_server_may_answer_with_the_oldest_revision() {
    // https://github.com/pgEdge/pgedge-postgres-mcp/issues/277
    let it = Scene::set().await;
    it.old.answers(
        "initialize",
        r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"o","version":"1"}}"#,
    );
    it.old.on("tools/call", |heard| json(StatusCode::OK, heard.result(DONE)));
    for ask in [
        it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob),
        it.modern("old", "tools/call", r#""name":"t""#),
    ] {
        let answer = ask.await.ok();
        assert!(answer.text.contains("done"), "{answer}");
        assert_eq!(it.old.last("tools/call").header("mcp-protocol-version"), Some("2024-11-05"));
    }
    let client = it.app().initialize("old").as_user(&it.scenario.bob).await.ok();
    assert!(client.text.contains(r#""protocolVersion":"2024-11-05""#), "{client}");
}

/// <https://github.com/different-ai/openwork/pull/3569> (Slack),
/// <https://github.com/xpzouying/xiaohongshu-mcp/issues/697>
#[tokio::test]
async fn a_server_that_refuses_a_newer_revision_is_asked_again_with_an_older_one() {
    for refusal in 0..3 {
        let it = Scene::set().await;
        it.old.on("initialize", move |heard| {
            if heard.text.contains(r#""protocolVersion":"2025-06-18""#) {
                let result = r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"o","version":"1"}}"#;
                return json(StatusCode::OK, heard.result(result));
            }
            match refusal {
                0 => StatusCode::BAD_REQUEST.into_response(),
                1 => typed(StatusCode::BAD_REQUEST, "text/plain", "Bad Request: Unsupported protocol version"),
                _ => json(StatusCode::OK, heard.error(r#"{"code":-32000,"message":"Unsupported protocol version"}"#)),
            }
        });
        it.old.on("tools/call", |heard| json(StatusCode::OK, heard.result(DONE)));
        for ask in [
            it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob),
            it.app().call("old", "t", &json!({})).as_user(&it.scenario.carol),
            it.modern("old", "tools/call", r#""name":"t""#),
        ] {
            let answer = ask.await.ok();
            assert!(answer.text.contains("done"), "{answer}");
        }
        // Which it is, is remembered: the second user's session is opened by it at once.
        assert_eq!(it.old.heard_of("initialize").len(), 3);
        let client = it.app().initialize("old").as_user(&it.scenario.bob).await.ok();
        assert!(client.text.contains(r#""protocolVersion":"2025-06-18""#), "{client}");
        let asked = it.old.last("initialize").message();
        assert_eq!(asked["params"]["clientInfo"], json!({ "name": "tester", "version": "1" }));
        assert_eq!(asked["id"], "c-1");
    }
}

#[tokio::test]
async fn the_ids_in_a_session_are_all_different() {
    let it = Scene::set().await;
    it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob).await.ok();
    it.modern("old", "tools/call", r#""name":"t""#).await.ok();
    let heard = it.old.heard();
    let mut ids: Vec<String> = heard
        .iter()
        .filter(|heard| heard.method() != "server/discover")
        .map(|heard| heard.raw("id"))
        .filter(|id| !id.is_empty())
        .collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
}

/// <https://github.com/ai-ecoverse/slicc/pull/3350>, <https://github.com/MayDay-wpf/snow-app/pull/56>
#[tokio::test]
async fn a_server_that_never_answers_the_first_probe_is_of_the_handshake_era_from_then_on() {
    let config = UpstreamConfig { probe_timeout: Duration::from_millis(200), ..UpstreamConfig::default() };
    let it = Scene::within(config).await;
    it.old.on("server/discover", |_| {
        typed(
            StatusCode::OK,
            "application/json",
            Body::from_stream(stream::pending::<Result<String, Infallible>>()),
        )
    });
    for (_, ask) in it.calls_of_t("old").await {
        ask.await.ok();
    }
    assert_eq!(it.old.heard_of("server/discover").len(), 1);
}

/// <https://github.com/modelcontextprotocol/java-sdk/issues/628>,
/// <https://github.com/DeusData/codebase-memory-mcp/issues/1247>; by the revision 2026-07-28 an empty cursor is one
#[tokio::test]
async fn a_list_whose_cursor_leads_nowhere_ends_with_what_was_found() {
    let it = Scene::set().await;
    let names = |answer: TestResponse| {
        let tools = answer.json()["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (name, server) in [("new", &it.new), ("old", &it.old)] {
        for (pages, found) in [
            (r#"{"tools":[{"name":"a","inputSchema":{}}],"nextCursor":""}"#, vec!["a"]),
            (r#"{"tools":[{"name":"a","inputSchema":{}}],"nextCursor":"same"}"#, vec!["a"]),
            (r#"{"tools":[{"name":"a","inputSchema":{}}],"nextCursor":null}"#, vec!["a"]),
        ] {
            server.answers("tools/list", pages);
            let list =
                it.app().get(format!("/api/v1/proxy/{name}/tools")).as_user(&it.scenario.bob).await.ok();
            assert_eq!(names(list), found, "{name} {pages}");
        }
        server.on("tools/list", |heard| {
            let page = match heard.message()["params"]["cursor"].as_str() {
                None => r#"{"tools":[{"name":"a","inputSchema":{}}],"nextCursor":""}"#,
                Some(_) => r#"{"tools":[{"name":"b","inputSchema":{}}]}"#,
            };
            json(StatusCode::OK, heard.result(page))
        });
        let list = it.app().get(format!("/api/v1/proxy/{name}/tools")).as_user(&it.scenario.bob).await.ok();
        assert_eq!(names(list), ["a", "b"], "{name}");
    }
}

#[tokio::test]
async fn what_a_server_says_beside_a_refusal_is_passed_on() {
    let it = Scene::set().await;
    let mut told = Vec::new();
    // https://github.com/stacklok/toolhive-catalog/pull/229
    let playwright =
        |_: &Heard| typed(StatusCode::FORBIDDEN, "text/plain", "Access is only allowed at localhost:8931\n");
    // https://github.com/epam/statgpt-backend/pull/522
    let fastmcp = |_: &Heard| typed(StatusCode::MISDIRECTED_REQUEST, "text/plain", "Invalid Host header");
    let busy = |_: &Heard| {
        let response = typed(StatusCode::TOO_MANY_REQUESTS, "application/json", r#"{"message":"Slow down"}"#);
        ([(header::RETRY_AFTER, "17")], response).into_response()
    };
    let page = |_: &Heard| typed(StatusCode::BAD_GATEWAY, "text/html", "<html><h1>502</h1></html>");
    let hostile =
        |_: &Heard| typed(StatusCode::FORBIDDEN, "text/plain", "a\r\n\u{1b}[2J\u{202e}\" b".repeat(1000));
    let says: [fn(&Heard) -> Response; 5] = [playwright, fastmcp, busy, page, hostile];
    for says in says {
        it.new.on("tools/call", says);
        let tools = it.app().call("new", "t", &json!({})).as_user(&it.scenario.bob).await;
        let retry_after = tools.header("retry-after").unwrap_or("-").to_owned();
        let mcp = it.modern("new", "tools/call", r#""name":"t""#).await;
        let detail = tools.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(mcp.json()["error"]["message"], detail.as_str());
        told.push(format!("{} {retry_after} {detail}", tools.status.as_u16()));
    }
    assert_snapshot!(told.join("\n"), @r#"
    502 - The MCP server forbids the request: "Access is only allowed at localhost:8931"
    502 - The MCP server answered HTTP 421 Misdirected Request: "Invalid Host header"
    502 17 The MCP server answered HTTP 429 Too Many Requests: "Slow down"; it asks to wait for 17 s
    502 - The MCP server answered HTTP 502 Bad Gateway; the tool may have run, so repeating the call may do its work twice
    502 - The MCP server forbids the request: "a \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}\" ba \u{1b}[2J\u{202e}…"
    "#);
}

/// A server as of the revision 2024-11-05: a `GET` opens the stream that says where to post.
#[tokio::test]
async fn a_server_that_has_only_the_retired_transport_is_told_as_that() {
    let mut told = Vec::new();
    for status in [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED] {
        let it = Scene::set().await;
        for method in ["server/discover", "initialize"] {
            it.old.on(method, move |_| status.into_response());
        }
        it.old.on("GET", |_| {
            let first = stream::once(async {
                Ok::<_, Infallible>("event: endpoint\ndata: /messages?sessionId=1\n\n")
            });
            events(Body::from_stream(first.chain(stream::pending())))
        });
        told.push(it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob).await.refusal());
        for ask in [
            it.modern("old", "tools/call", r#""name":"t""#),
            it.app().initialize("old").as_user(&it.scenario.bob),
        ] {
            told.push(ask.await.rpc_refusal());
        }
    }
    told.sort();
    told.dedup();
    assert_snapshot!(told.join("\n"), @"
    200 502 upstream_error: The MCP server speaks only the retired HTTP+SSE transport at this address; it needs Streamable HTTP, often at a path that ends in /mcp
    502 The MCP server speaks only the retired HTTP+SSE transport at this address; it needs Streamable HTTP, often at a path that ends in /mcp
    ");
}

#[tokio::test]
async fn a_server_that_asks_for_oauth_though_it_is_registered_with_none_says_so() {
    let it = Scene::set().await;
    it.new.on("tools/call", |_| {
        let challenge =
            r#"Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource""#;
        ([(header::WWW_AUTHENTICATE, challenge)], StatusCode::UNAUTHORIZED).into_response()
    });
    let tools = it.app().call("new", "t", &json!({})).as_user(&it.scenario.bob).await;
    assert_snapshot!(tools.refusal(), @r#"502 The MCP server does not accept the credential; it asks for OAuth, and is registered with auth "none": register it with auth "oauth""#);
}

/// <https://github.com/yjacquin/fast-mcp/issues/38>: a server that asks every second whether we are still there
#[tokio::test]
async fn a_dozen_pings_during_a_call_are_answered() {
    let it = Scene::set().await;
    it.old.on("tools/call", |heard| {
        let ping = |id| format!("data: {{\"jsonrpc\":\"2.0\",\"id\":\"p-{id}\",\"method\":\"ping\"}}\n\n");
        let pings = (0..12).map(ping).collect::<Vec<_>>().concat();
        events(format!("{pings}data: {}\n\n", heard.result(DONE)))
    });
    for ask in [
        it.app().call("old", "t", &json!({})).as_user(&it.scenario.bob),
        it.modern("old", "tools/call", r#""name":"t""#),
    ] {
        let before = it.old.heard().len();
        let answer = ask.await.ok();
        assert!(answer.text.contains("done"), "{answer}");
        let heard = it.old.heard().split_off(before);
        let answers = heard.iter().filter(|heard| heard.message()["result"] == json!({})).count();
        assert_eq!(answers, 12);
    }
}

/// A server that sends headers, or opens its stream with an event without a message (2025-11-25, SSE polling), and then
/// works for longer than an answer that has begun may be silent.
#[tokio::test]
async fn a_tool_may_work_in_silence_after_the_headers_have_come() {
    let config = UpstreamConfig { idle_timeout: Duration::from_millis(50), ..UpstreamConfig::default() };
    let it = Scene::within(config).await;
    it.works("silence", |heard| {
        let response = format!("data: {}\n\n", heard.result(DONE));
        let late = stream::once(async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Ok::<_, Infallible>(response)
        });
        let opening = stream::iter([Ok(": working\n\n".to_owned()), Ok("id: 1\ndata:\n\n".to_owned())]);
        events(Body::from_stream(opening.chain(late)))
    })
    .await;
}
