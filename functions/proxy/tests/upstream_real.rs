//! The upstream client against the reference SDK's servers, one of each era.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use deputize_proxy::upstream::{
    AddressPolicy, InboundRequest, ModernMessage, ProtocolEra, Reply, ServerMessage, Target, UpstreamClient,
    UpstreamConfig, UpstreamError,
};
use futures::StreamExt;
use http::HeaderMap;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// A Node process that is a server until it is dropped.
struct NodeServer {
    process: Child,
    url: String,
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn node(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let upstreams = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/upstreams");
    assert!(
        upstreams.join("node_modules").is_dir(),
        "tests/upstreams/node_modules is missing: run tests/run, which installs it"
    );
    let mut command = Command::new("node");
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(upstreams)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads lines until one contains `ready`, and keeps reading the rest so that the process never blocks.
/// Nothing if the process ends before.
fn wait_for(ready: &str, output: impl Read + Send + 'static) -> Option<String> {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains(ready));
    std::thread::spawn(move || lines.for_each(drop));
    line
}

fn modern(environment: &[(&str, &str)]) -> NodeServer {
    let mut process = node(&["modern-server.mjs"], environment).stderr(Stdio::inherit()).spawn().unwrap();
    let line = wait_for("listening on ", process.stdout.take().unwrap());
    let line = line.expect("the modern server ended before it was ready");
    NodeServer { url: line.replace("listening on ", ""), process }
}

/// This server cannot choose a port itself, and somebody may take the one that we choose: try again.
fn handshake() -> NodeServer {
    (0..5).find_map(|_| handshake_at(free_port())).expect("the handshake server ended before it was ready")
}

fn handshake_at(port: u16) -> Option<NodeServer> {
    let everything = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let mut process = node(&[everything, "streamableHttp"], &[("PORT", &port.to_string())]).spawn().unwrap();
    std::thread::spawn({
        let output = process.stdout.take().unwrap();
        move || BufReader::new(output).lines().for_each(drop)
    });
    let ready = wait_for("listening on port", process.stderr.take().unwrap());
    let server = NodeServer { process, url: format!("http://127.0.0.1:{port}/mcp") };
    ready.map(|_| server)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn target(server: &NodeServer, credential: &str) -> Target {
    Target {
        server_id: "server".into(),
        url: server.url.parse().unwrap(),
        authorization: None,
        credential_key: credential.into(),
        inbound: InboundRequest::default(),
    }
}

fn client() -> UpstreamClient {
    let config = UpstreamConfig { addresses: AddressPolicy::local(), ..UpstreamConfig::default() };
    UpstreamClient::new(config)
}

async fn call(
    client: &UpstreamClient,
    target: &Target,
    tool: &str,
    arguments: Value,
) -> Result<Value, UpstreamError> {
    let arguments = to_raw_value(&arguments).unwrap();
    let result = client.call_tool(target, tool, (&arguments, &Bytes::new()), None).await?.result;
    Ok(serde_json::from_str(result.get()).unwrap())
}

fn names(tools: &[Box<RawValue>]) -> Vec<String> {
    let name = |tool: &RawValue| serde_json::from_str::<Value>(tool.get()).unwrap()["name"].clone();
    tools.iter().map(|tool| name(tool).as_str().unwrap().to_owned()).collect()
}

/// Calls with a progress token, and returns the methods of the notifications that arrived before the response.
async fn call_with_progress(
    client: &UpstreamClient,
    target: &Target,
    tool: &str,
    arguments: Value,
) -> Vec<String> {
    let modern = client.era(target).await.unwrap().era == ProtocolEra::Modern;
    let mut meta = json!({"progressToken": "p1"});
    if modern {
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    let body = |id: u64| {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        Ok(request.to_string().into_bytes().into())
    };
    let relayed = if modern {
        let message = ModernMessage {
            method: "tools/call",
            name: Some(tool),
            param_headers: HeaderMap::new(),
            body: body(7).unwrap(),
            id: Some(&to_raw_value(&7).unwrap()),
        };
        client.relay_modern(target, message).await
    } else {
        client.relay_pooled(target, body).await
    };
    let mut parts = relayed.unwrap().parts;
    let mut methods = Vec::new();
    loop {
        match parts.next().await.unwrap().unwrap().said {
            Some(ServerMessage::Message(notification)) => {
                let notification: Value = serde_json::from_str(notification.get()).unwrap();
                assert_eq!(notification["params"]["progressToken"], "p1");
                methods.push(notification["method"].as_str().unwrap().to_owned());
            }
            Some(ServerMessage::Response(Reply { outcome, .. })) => {
                outcome.unwrap();
                return methods;
            }
            None => {}
        }
    }
}

#[tokio::test]
async fn a_modern_servers_tools_are_listed_and_called() {
    let server = modern(&[]);
    let (client, target) = (client(), target(&server, "nobody"));

    let tools = client.list_tools(&target).await.unwrap();
    assert_eq!(names(&tools), ["echo", "add", "fail", "slow", "query", "large", "ask"]);

    let echoed = call(&client, &target, "echo", json!({"text": "grüß dich"})).await.unwrap();
    assert_eq!(echoed["content"][0]["text"], "grüß dich");
    assert_eq!(echoed["resultType"], "complete");

    let added = call(&client, &target, "add", json!({"a": 2, "b": 40})).await.unwrap();
    assert_eq!(added["structuredContent"], json!({"sum": 42}));

    let failed = call(&client, &target, "fail", json!({})).await.unwrap();
    assert_eq!(failed["isError"], true);
}

#[tokio::test]
async fn a_modern_servers_progress_arrives_before_the_result() {
    let server = modern(&[]);
    let (client, target) = (client(), target(&server, "nobody"));
    let heard = call_with_progress(&client, &target, "slow", json!({"steps": 3})).await;
    assert_eq!(heard, ["notifications/progress"; 3]);
}

#[tokio::test]
async fn annotated_arguments_reach_a_modern_server_as_headers() {
    let server = modern(&[]);
    let (client, target) = (client(), target(&server, "nobody"));
    let arguments = json!({"region": "Zürich", "options": {"limit": 5}, "sql": "SELECT 1"});
    let result = call(&client, &target, "query", arguments).await.unwrap();
    let seen: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(seen, json!({"sql": "SELECT 1", "region": "=?base64?WsO8cmljaA==?=", "limit": "5"}));
}

#[tokio::test]
async fn a_large_result_arrives_whole_and_one_over_the_bound_does_not() {
    let server = modern(&[]);
    let (client, target) = (client(), target(&server, "nobody"));
    let result = call(&client, &target, "large", json!({"bytes": 5_000_000})).await.unwrap();
    assert_eq!(result["content"][0]["text"].as_str().unwrap().len(), 5_000_000);
    let error = call(&client, &target, "large", json!({"bytes": 9_000_000})).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TooLarge { .. }), "{error:?}");
    assert!(error.may_have_run());
}

#[tokio::test]
async fn an_unknown_tool_is_invalid_params_and_has_not_run() {
    let (modern, handshake) = (modern(&[]), handshake());
    let client = client();
    let error = call(&client, &target(&modern, "nobody"), "no-such-tool", json!({})).await.unwrap_err();
    assert!(matches!(error, UpstreamError::InvalidParams { .. }), "{error:?}");
    assert!(!error.may_have_run());
    // The older SDK says it in a result.
    let result = call(&client, &target(&handshake, "nobody"), "no-such-tool", json!({})).await.unwrap();
    assert_eq!(result["isError"], true);
}

#[tokio::test]
async fn a_server_that_wants_a_token_gets_it_and_says_so_without() {
    let server = modern(&[("TOKEN", "the-token")]);
    let client = client();
    let error = call(&client, &target(&server, "nobody"), "echo", json!({"text": "x"})).await.unwrap_err();
    let UpstreamError::Unauthorized { www_authenticate: Some(challenge), .. } = &error else {
        panic!("{error:?}")
    };
    assert!(challenge.contains("resource_metadata="), "{challenge}");
    assert!(!error.may_have_run());

    let target = Target { authorization: Some("the-token".to_owned().into()), ..target(&server, "alice") };
    assert!(call(&client, &target, "echo", json!({"text": "x"})).await.is_ok());
}

#[tokio::test]
async fn a_handshake_servers_tools_are_listed_and_called() {
    let server = handshake();
    let (client, target) = (client(), target(&server, "alice"));

    let tools = client.list_tools(&target).await.unwrap();
    assert!(names(&tools).contains(&"get-sum".to_owned()), "{:?}", names(&tools));

    let sum = call(&client, &target, "get-sum", json!({"a": 2, "b": 40})).await.unwrap();
    assert!(sum["content"][0]["text"].as_str().unwrap().contains("42"), "{sum}");

    let weather = call(&client, &target, "get-structured-content", json!({"location": "Chicago"})).await;
    assert!(weather.unwrap()["structuredContent"]["temperature"].is_number());
}

#[tokio::test]
async fn a_handshake_servers_progress_arrives_before_the_result() {
    let server = handshake();
    let (client, target) = (client(), target(&server, "alice"));
    let arguments = json!({"duration": 0.05, "steps": 3});
    let heard = call_with_progress(&client, &target, "trigger-long-running-operation", arguments).await;
    assert_eq!(heard, ["notifications/progress"; 3]);
}

// More than one thread, so that a closed connection is noticed while a server starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_has_lost_is_opened_again() {
    let port = free_port();
    let client = client();
    let first = handshake_at(port).unwrap();
    let target = target(&first, "alice");
    call(&client, &target, "echo", json!({"message": "x"})).await.unwrap();
    drop(first);
    let _second = handshake_at(port).unwrap();
    let again = call(&client, &target, "echo", json!({"message": "y"})).await.unwrap();
    assert_eq!(again["content"][0]["text"], "Echo: y");
}

// More than one thread, so that a closed connection is noticed while a server starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_its_era_is_found_out() {
    let port = free_port();
    let client = client();
    for _ in 0..2 {
        let old = handshake_at(port).unwrap();
        let target = target(&old, "alice");
        let said = call(&client, &target, "echo", json!({"message": "x"})).await.unwrap();
        assert_eq!(said["content"][0]["text"], "Echo: x");
        drop(old);
        let _new = modern(&[("PORT", &port.to_string())]);
        let said = call(&client, &target, "echo", json!({"text": "x"})).await.unwrap();
        assert_eq!(said["content"][0]["text"], "x");
    }
}

/// Run it with `--release --run-ignored all --no-capture` for the numbers.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_calls_in_the_steady_state() {
    for server in [modern(&[]), handshake()] {
        let (client, target) = (client(), target(&server, "alice"));
        let arguments = json!({"text": "x", "message": "x"});
        let mut times = Vec::new();
        for _ in 0..2_000 {
            let begun = Instant::now();
            call(&client, &target, "echo", arguments.clone()).await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort();
        let percentile = |percent: usize| times[times.len() * percent / 100];
        println!("{}: p50 {:?}, p99 {:?}", server.url, percentile(50), percentile(99));
        assert!(percentile(50) < Duration::from_millis(20));
    }
}
