//! The upstream client against servers that are hostile, broken, or strict.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use deputize_proxy::upstream::{
    AddressPolicy, AddressRefusal, InboundRequest, Target, UpstreamClient, UpstreamConfig, UpstreamError,
};
use futures::{StreamExt, stream};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const SECRET: &str = "upstream-secret-token";

/// One request that a server got.
#[derive(Clone)]
struct Seen {
    headers: HeaderMap,
    message: Value,
}

impl Seen {
    fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A server that answers what it is told to, and remembers what it was asked.
#[derive(Clone)]
struct Fake {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    async fn start(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let request = Seen { headers, message: serde_json::from_slice(&body).unwrap_or(Value::Null) };
            log.lock().unwrap().push(request.clone());
            let response = answer(&request);
            async move { response }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// A modern server with one tool, `t`, whose calls are answered by `answer`.
    async fn modern(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        Self::start(move |request| match request.method() {
            "server/discover" => result(request, &json!({"supportedVersions": ["2026-07-28"]})),
            "tools/list" => result(request, &json!({"tools": [{"name": "t", "inputSchema": {}}]})),
            _ => answer(request),
        })
        .await
    }

    /// A handshake server that numbers its sessions, whose calls are answered by `answer`.
    async fn handshake(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let sessions = Arc::new(Mutex::new(0));
        Self::start(move |request| match request.method() {
            "server/discover" => StatusCode::BAD_REQUEST.into_response(),
            "initialize" => {
                let mut count = sessions.lock().unwrap();
                *count += 1;
                let mut response = result(request, &json!({"protocolVersion": "2025-11-25"}));
                response.headers_mut().insert("mcp-session-id", format!("s{count}").parse().unwrap());
                response
            }
            "notifications/initialized" => StatusCode::ACCEPTED.into_response(),
            _ => answer(request),
        })
        .await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|request| request.method().to_owned()).collect()
    }

    fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|seen| *seen == method).count()
    }

    fn target(&self, credential: &str) -> Target {
        Target {
            server_id: "server".into(),
            url: self.url.parse().unwrap(),
            authorization: Some(SECRET.to_owned().into()),
            credential_key: credential.into(),
            inbound: InboundRequest::default(),
        }
    }
}

fn of_type(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([("content-type", content_type)], body.into()).into_response()
}

fn result(request: &Seen, result: &Value) -> Response {
    let answer = json!({"jsonrpc": "2.0", "id": request.message["id"], "result": result});
    of_type("application/json", answer.to_string())
}

fn rpc_error(status: StatusCode, request: &Seen, code: i64) -> Response {
    let id = &request.message["id"];
    let answer = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}});
    (status, of_type("application/json", answer.to_string())).into_response()
}

fn endless(part: &'static str) -> Body {
    Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(Bytes::from_static(part.as_bytes()))))
}

/// A body that begins and then stays open without another byte.
fn stalled(beginning: String) -> Body {
    let beginning = stream::once(async { Ok::<_, Infallible>(beginning) });
    Body::from_stream(beginning.chain(stream::pending()))
}

fn config() -> UpstreamConfig {
    UpstreamConfig {
        addresses: AddressPolicy::local(),
        max_response_bytes: 100_000,
        max_list_pages: 10,
        max_tools: 20,
        ..UpstreamConfig::default()
    }
}

fn client() -> UpstreamClient {
    UpstreamClient::new(config())
}

async fn call_with(
    client: &UpstreamClient,
    target: &Target,
    arguments: &Value,
) -> Result<Box<RawValue>, UpstreamError> {
    let arguments = to_raw_value(arguments).unwrap();
    Ok(client.call_tool(target, "t", (&arguments, &Bytes::new()), None).await?.result)
}

async fn call(client: &UpstreamClient, target: &Target) -> Result<Box<RawValue>, UpstreamError> {
    call_with(client, target, &json!({})).await
}

/// What a call of a modern server that answers so comes to.
async fn called(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> UpstreamError {
    let server = Fake::modern(answer).await;
    let error = call(&client(), &server.target("alice")).await.unwrap_err();
    assert_eq!(server.count("tools/call"), 1, "a call that failed so is not repeated");
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains(SECRET) && !printed.contains("127.0.0.1"), "{printed}");
    error
}

#[tokio::test]
async fn a_result_comes_through_byte_for_byte() {
    let text = r#"{ "content" : [ ],"x-unknown":{"n":1.000e2,"n2":12345678901234567890123},"é":"\u00e9" }"#;
    let server = Fake::modern(move |request| {
        let id = &request.message["id"];
        of_type("application/json", format!(r#"{{"id":{id},"result":{text},"jsonrpc":"2.0"}}"#))
    })
    .await;
    assert_eq!(call(&client(), &server.target("alice")).await.unwrap().get(), text);
}

#[tokio::test]
async fn the_steady_state_is_one_request_for_one_call() {
    let (modern, handshake) = tokio::join!(
        Fake::modern(|request| result(request, &json!({}))),
        Fake::handshake(|request| result(request, &json!({})))
    );
    let client = client();
    for server in [&modern, &handshake] {
        for _ in 0..5 {
            call(&client, &server.target("alice")).await.unwrap();
        }
    }
    assert_eq!(modern.methods()[..2], ["server/discover", "tools/list"]);
    assert_eq!(modern.methods()[2..], ["tools/call"; 5]);
    assert_eq!(handshake.methods()[..3], ["server/discover", "initialize", "notifications/initialized"]);
    assert_eq!(handshake.methods()[3..], ["tools/call"; 5]);
}

#[tokio::test]
async fn first_calls_that_come_at_once_share_the_preparations() {
    let (modern, handshake) = tokio::join!(
        Fake::modern(|request| result(request, &json!({}))),
        Fake::handshake(|request| result(request, &json!({})))
    );
    let client = client();
    for server in [&modern, &handshake] {
        let target = server.target("alice");
        let calls = (0..20).map(|_| call(&client, &target));
        for outcome in futures::future::join_all(calls).await {
            outcome.unwrap();
        }
        assert_eq!(server.count("server/discover"), 1);
        assert!(server.count("tools/list") <= 1 && server.count("initialize") <= 1);
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_not_followed() {
    let elsewhere = Fake::modern(|request| result(request, &json!({}))).await;
    for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        let location = elsewhere.url.replace("127.0.0.1", "localhost");
        let error = called(move |_| (status, [("location", location.clone())]).into_response()).await;
        assert!(matches!(error, UpstreamError::Redirected { .. }), "{error:?}");
        assert!(!error.may_have_run());
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    for (content_type, part) in [
        ("application/json", "[1,"),
        ("text/event-stream", ": still here\n\n"),
        ("text/event-stream", "data: more and more of one event\n"),
        ("text/event-stream", "one line without end"),
    ] {
        let error = called(move |_| of_type(content_type, endless(part))).await;
        assert!(matches!(error, UpstreamError::TooLarge { .. }), "{part}: {error:?}");
        assert!(error.may_have_run());
    }
}

#[tokio::test]
async fn an_error_body_without_end_is_cut_off() {
    let error = called(|_| (StatusCode::BAD_GATEWAY, endless("x")).into_response()).await;
    assert!(matches!(error, UpstreamError::Status { status: StatusCode::BAD_GATEWAY, .. }), "{error:?}");
    assert!(error.may_have_run());
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_read() {
    let error = called(|_| of_type("application/json", vec![b' '; 10 * 1024 * 1024])).await;
    assert!(matches!(error, UpstreamError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn header_fields_without_number_are_refused() {
    let error = called(|request| {
        let mut response = result(request, &json!({}));
        for number in 0..200 {
            let name = format!("x-{number}").parse::<axum::http::HeaderName>().unwrap();
            response.headers_mut().insert(name, "x".parse().unwrap());
        }
        response
    })
    .await;
    assert!(matches!(error, UpstreamError::Interrupted { .. }), "{error:?}");
}

#[tokio::test]
async fn answers_that_are_not_the_protocols_are_errors() {
    let answers: [fn(&Seen) -> Response; 9] = [
        |_| of_type("text/html", "<h1>hello</h1>"),
        |_| ().into_response(),
        |_| StatusCode::ACCEPTED.into_response(),
        |_| of_type("application/json", "not JSON"),
        |_| of_type("application/json", r#"{"jsonrpc":"2.0","id":999999,"result":{}}"#),
        |request| {
            let id = &request.message["id"];
            of_type("application/json", format!(r#"{{"jsonrpc":"2.0","id":"x{id}","result":{{}}}}"#))
        },
        |request| result(request, &json!("no object")),
        |request| result(request, &json!({"resultType": "something new"})),
        |_| of_type("text/event-stream", "data: not JSON\n\n"),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let error = called(answer).await;
        assert!(matches!(error, UpstreamError::Protocol { .. }), "{number}: {error:?}");
        assert!(error.may_have_run(), "{number}");
    }
}

#[tokio::test]
async fn a_server_error_is_not_repeated() {
    let error = called(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    assert!(error.may_have_run());
    let error = called(|request| rpc_error(StatusCode::OK, request, -32603)).await;
    assert!(error.may_have_run());
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_not_repeated() {
    let error = called(|_| {
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
        of_type("application/json", Body::from_stream(broken))
    })
    .await;
    assert!(matches!(error, UpstreamError::Interrupted { .. }), "{error:?}");
    assert!(error.may_have_run());
}

#[tokio::test]
async fn silence_within_an_answer_and_an_answer_too_late_are_timeouts() {
    let server =
        Fake::modern(|_| of_type("text/event-stream", stalled("data: {\"jsonrpc\"".to_owned()))).await;
    let short = Duration::from_millis(500);
    for config in [
        UpstreamConfig { idle_timeout: short, ..config() },
        UpstreamConfig { total_timeout: short, ..config() },
    ] {
        let client = UpstreamClient::new(config);
        let error = call(&client, &server.target("alice")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Timeout { .. }), "{error:?}");
        assert!(error.may_have_run());
    }
}

#[tokio::test]
async fn what_fails_before_the_call_has_not_run() {
    let server = Fake::start(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    let error = call(&client(), &server.target("alice")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Status { .. }), "{error:?}");
    assert!(!error.may_have_run());

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target { url: format!("http://{closed}/").parse().unwrap(), ..server.target("alice") };
    let error = call(&client(), &target).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    assert!(!error.may_have_run());
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_refused() {
    let server = Fake::modern(|request| result(request, &json!({}))).await;
    let client = UpstreamClient::new(UpstreamConfig::default());
    let port = server.target("alice").url.port().unwrap();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = format!("https://{host}:{port}/mcp").parse().unwrap();
        let error = call(&client, &Target { url, ..server.target("alice") }).await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::AddressRefused(AddressRefusal::Loopback)),
            "{host}: {error:?}"
        );
    }
    assert!(server.seen().is_empty());
}

/// The environment of a running process cannot be changed safely, so this test starts itself again.
#[tokio::test]
async fn the_environments_proxy_is_not_used() {
    const NAME: &str = "the_environments_proxy_is_not_used";
    if std::env::var_os("HTTP_PROXY").is_none() {
        let myself = std::env::current_exe().unwrap();
        let nobody_listens = "http://127.0.0.1:1";
        let run = tokio::task::spawn_blocking(move || {
            let mut again = std::process::Command::new(myself);
            again.args(["--exact", NAME]).env("HTTP_PROXY", nobody_listens).env("http_proxy", nobody_listens);
            again.output().unwrap()
        });
        let output = run.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    } else {
        let server = Fake::modern(|request| result(request, &json!({}))).await;
        call(&client(), &server.target("alice")).await.unwrap();
    }
}

#[tokio::test]
async fn challenges_are_handed_on() {
    let challenge = r#"Bearer error="insufficient_scope", scope="files:write""#;
    let answer = move |status: StatusCode| (status, [("www-authenticate", challenge)]).into_response();
    let error = called(move |_| answer(StatusCode::UNAUTHORIZED)).await;
    assert!(
        matches!(&error, UpstreamError::Unauthorized { www_authenticate: Some(c), .. } if c == challenge)
    );
    let error = called(move |_| answer(StatusCode::FORBIDDEN)).await;
    assert!(matches!(&error, UpstreamError::Forbidden { www_authenticate: Some(c), .. } if c == challenge));
    assert!(!error.may_have_run());
}

#[tokio::test]
async fn a_session_is_never_shared_between_credentials() {
    let server = Fake::handshake(|request| result(request, &json!({}))).await;
    let client = client();
    for credential in ["alice", "bob", "alice", "bob"] {
        call(&client, &server.target(credential)).await.unwrap();
    }
    let calls = server.seen().into_iter().filter(|request| request.method() == "tools/call");
    let sessions: Vec<_> =
        calls.map(|request| request.header("mcp-session-id").unwrap().to_owned()).collect();
    assert_eq!(sessions, ["s1", "s2", "s1", "s2"]);
}

#[tokio::test]
async fn a_lost_session_is_opened_again_once() {
    let server = Fake::handshake(|request| match request.header("mcp-session-id") {
        Some("s1") => StatusCode::NOT_FOUND.into_response(),
        _ => result(request, &json!({})),
    })
    .await;
    call(&client(), &server.target("alice")).await.unwrap();
    assert_eq!((server.count("initialize"), server.count("tools/call")), (2, 2));

    let never = Fake::handshake(|_| StatusCode::NOT_FOUND.into_response()).await;
    let error = call(&client(), &never.target("alice")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Status { .. }), "{error:?}");
    assert!(!error.may_have_run());
    assert_eq!((never.count("initialize"), never.count("tools/call")), (2, 2));
}

#[tokio::test]
async fn a_request_from_a_handshake_server_is_refused_in_its_session() {
    let server = Fake::handshake(|request| {
        if request.method().is_empty() {
            return StatusCode::ACCEPTED.into_response();
        }
        let id = &request.message["id"];
        let ask = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}"#;
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        of_type("text/event-stream", format!("data: {ask}\n\ndata: {answer}\n\n"))
    })
    .await;
    call(&client(), &server.target("alice")).await.unwrap();
    let refusal = server.seen().pop().unwrap();
    assert_eq!(refusal.message["id"], "q");
    assert_eq!(refusal.message["error"]["code"], -32601);
    assert_eq!(refusal.header("mcp-session-id"), Some("s1"));
}

#[tokio::test]
async fn a_request_from_a_modern_server_is_an_error() {
    let error = called(|_| {
        let ask = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}"#;
        of_type("text/event-stream", stalled(format!("data: {ask}\n\n")))
    })
    .await;
    assert!(matches!(error, UpstreamError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_in_its_session() {
    let server = Fake::handshake(|_| of_type("text/event-stream", stalled(": began\n\n".to_owned()))).await;
    let (client, target) = (client(), server.target("alice"));
    let calling = tokio::spawn(async move { call(&client, &target).await });
    while server.count("tools/call") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    calling.abort();
    while server.count("notifications/cancelled") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seen = server.seen();
    let called = seen.iter().find(|request| request.method() == "tools/call").unwrap();
    let cancelled = seen.iter().find(|request| request.method() == "notifications/cancelled").unwrap();
    assert_eq!(cancelled.message["params"]["requestId"], called.message["id"]);
    assert_eq!(cancelled.header("mcp-session-id"), Some("s1"));
}

#[tokio::test]
async fn a_hostile_session_id_is_refused() {
    let server = Fake::start(|request| match request.method() {
        "initialize" => {
            let mut response = result(request, &json!({"protocolVersion": "2025-11-25"}));
            response.headers_mut().insert("mcp-session-id", "x".repeat(2000).parse().unwrap());
            response
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let error = call(&client(), &server.target("alice")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Protocol { sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn headers_are_learnt_again_when_a_server_says_that_they_do_not_match() {
    let lists = Arc::new(Mutex::new(0));
    let server = Fake::start(move |request| match request.method() {
        "server/discover" => result(request, &json!({"supportedVersions": ["2026-07-28"]})),
        "tools/list" => {
            let mut lists = lists.lock().unwrap();
            *lists += 1;
            let name = if *lists == 1 { "Old" } else { "New" };
            let schema = json!({"properties": {"a": {"type": "string", "x-mcp-header": name}}});
            result(request, &json!({"tools": [{"name": "t", "inputSchema": schema}]}))
        }
        _ if request.header("mcp-param-new") == Some("v") => result(request, &json!({})),
        _ => rpc_error(StatusCode::BAD_REQUEST, request, -32020),
    })
    .await;
    let client = client();
    call_with(&client, &server.target("alice"), &json!({"a": "v"})).await.unwrap();
    call_with(&client, &server.target("alice"), &json!({"a": "v"})).await.unwrap();
    assert_eq!((server.count("tools/list"), server.count("tools/call")), (2, 3));
}

#[tokio::test]
async fn a_server_that_never_likes_the_headers_is_asked_twice() {
    let server = Fake::modern(|request| rpc_error(StatusCode::BAD_REQUEST, request, -32020)).await;
    let error = call(&client(), &server.target("alice")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::JsonRpc { code: -32020, .. }), "{error:?}");
    assert!(!error.may_have_run());
    assert_eq!(server.count("tools/call"), 2);
}

#[tokio::test]
async fn a_private_list_is_not_believed_for_another_credential() {
    for (scope, lists) in [("private", 2), ("public", 1)] {
        let server = Fake::start(move |request| match request.method() {
            "server/discover" => result(request, &json!({"supportedVersions": ["2026-07-28"]})),
            "tools/list" => result(request, &json!({"tools": [], "cacheScope": scope})),
            _ => result(request, &json!({})),
        })
        .await;
        let client = client();
        for credential in ["alice", "bob", "alice", "bob"] {
            call(&client, &server.target(credential)).await.unwrap();
        }
        assert_eq!(server.count("tools/list"), lists, "{scope}");
    }
}

/// What listing comes to at a modern server that answers with this result.
async fn listed(
    answer: impl Fn(&Seen) -> Value + Clone + Send + Sync + 'static,
) -> (Fake, Result<Vec<Box<RawValue>>, UpstreamError>) {
    let server = Fake::start(move |request| match request.method() {
        "server/discover" => result(request, &json!({"supportedVersions": ["2026-07-28"]})),
        _ => result(request, &answer(request)),
    })
    .await;
    let list = client().list_tools(&server.target("alice")).await;
    (server, list)
}

#[tokio::test]
async fn all_pages_of_a_list_are_fetched() {
    let (server, list) = listed(|request| match request.message["params"]["cursor"].as_str() {
        None => json!({"tools": [{"name": "a"}], "nextCursor": "2"}),
        Some(_) => json!({"tools": [{"name": "b"}]}),
    })
    .await;
    let list: Vec<_> = list.unwrap().iter().map(|tool| tool.get().to_owned()).collect();
    assert_eq!(list, [r#"{"name":"a"}"#, r#"{"name":"b"}"#]);
    assert_eq!(server.count("tools/list"), 2);
}

#[tokio::test]
async fn a_list_without_end_is_cut_off() {
    let next = |request: &Seen| request.message["params"]["cursor"].as_str().map_or(0, str::len);
    let another = move |request: &Seen| "x".repeat(next(request) + 1);
    let (server, list) = listed(move |request| json!({"tools": [], "nextCursor": another(request)})).await;
    assert!(matches!(list, Err(UpstreamError::TooLarge { .. })), "{list:?}");
    assert_eq!(server.count("tools/list"), 10);

    let (_, list) = listed(|_| json!({"tools": vec![json!({"name": "a", "inputSchema": {}}); 21]})).await;
    assert!(matches!(list, Err(UpstreamError::TooLarge { .. })), "{list:?}");

    let (_, list) =
        listed(move |request| json!({"tools": ["x".repeat(60_000)], "nextCursor": another(request)})).await;
    assert!(matches!(list, Err(UpstreamError::TooLarge { .. })), "{list:?}");
}

#[tokio::test]
async fn a_tool_with_invalid_annotations_is_left_out() {
    let (_, list) = listed(|_| {
        let bad = json!({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}});
        json!({"tools": [{"name": "good", "inputSchema": {}}, {"name": "bad", "inputSchema": bad}]})
    })
    .await;
    let list = list.unwrap();
    assert_eq!(list.len(), 1);
    assert!(list[0].get().contains("good"));
}

#[tokio::test]
async fn a_request_for_input_is_an_error_to_a_caller_that_can_give_none() {
    let answer = json!({"resultType": "input_required", "requestState": "abc"});
    let server = Fake::modern(move |request| result(request, &answer)).await;
    let error = call(&client(), &server.target("alice")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::InputRequired), "{error:?}");
    assert!(error.may_have_run());
}

#[tokio::test]
async fn the_token_goes_only_into_its_header() {
    let server = Fake::modern(|request| result(request, &json!({}))).await;
    call(&client(), &server.target("alice")).await.unwrap();
    for request in server.seen() {
        assert_eq!(request.header("authorization"), Some("Bearer upstream-secret-token"));
        assert!(!request.message.to_string().contains(SECRET));
        assert_eq!(request.header("accept"), Some("application/json, text/event-stream"));
        assert_eq!(request.header("mcp-method"), Some(request.method()));
    }
}
