//! What is not ours to change keeps its bytes: names nobody knows, numbers nobody can hold, white space.

use deputize_tests::mcp::{META, events, json};
use http::StatusCode;

use super::Scene;

/// Fields that would change if a reader parsed and wrote them again.
const ODD: &str = r#""b": 1.0,"\u0061":[ ],"c":1e400,"d":"\u00e9\/","e":{"z":null, "y":-0}"#;
const ODD_RESULT: &str = r#"{"resultType":"complete","b": 1.0,"\u0061":[ ],"c":1e400,"d":"\u00e9\/"}"#;

#[tokio::test]
async fn a_modern_request_reaches_a_modern_server_whole_and_its_result_comes_back_so() {
    let it = Scene::set().await;
    let mut compared = 0;
    for method in ["com.example/unknown", "tasks/get", "tools/call", "prompts/get", "completion/complete"] {
        it.new.answers(method, ODD_RESULT);
        let text = format!(
            r#" {{ "method":"{method}", "future":[1.0], "params":{{"name":"t",{ODD},"ref":{{"type":"ref/prompt","name":"p"}},"_meta":{{{META},"com.example/x":{{ }}}}}},"id" :"x\u0079z","jsonrpc":"2.0"}} "#
        );
        let ask = it
            .app()
            .mcp("new", &*text)
            .as_user(&it.scenario.bob)
            .header("mcp-protocol-version", "2026-07-28");
        let answer = ask.header("mcp-method", method).header("mcp-name", "t").await.ok();
        assert_eq!(it.new.last(method).text, text);
        assert_eq!(answer.raw("result"), ODD_RESULT, "{method}");
        assert_eq!(answer.raw("id"), r#""x\u0079z""#, "{method}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}

#[tokio::test]
async fn a_handshake_request_reaches_a_handshake_server_whole_and_its_result_comes_back_so() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    for method in ["com.example/unknown", "tools/call", "resources/read", "logging/setLevel", "ping"] {
        it.old.answers(method, ODD_RESULT);
        let text = format!(
            r#" {{ "method":"{method}", "future":[1.0], "params":{{"name":"t","uri":"file:///a",{ODD}}},"id" : 12345678901234567890,"jsonrpc":"2.0"}} "#
        );
        let answer = it.post("old", &text).in_session(&session).await.ok();
        assert_eq!(it.old.last(method).text, text);
        assert_eq!(answer.raw("result"), ODD_RESULT, "{method}");
        assert_eq!(answer.raw("id"), "12345678901234567890", "{method}");
    }
}

#[tokio::test]
async fn an_error_comes_back_whole() {
    let it = Scene::set().await;
    let odd = r#"{"message":"m\u00e9","code":-1,"data":{"c":1e400 },"future":[ ]}"#;
    let refuse = move |heard: &deputize_tests::mcp::Heard| json(StatusCode::OK, heard.error(odd));
    it.new.on("tools/call", refuse);
    it.old.on("tools/call", refuse);
    let session = it.session("old").await;
    for answer in [
        it.modern("new", "tools/call", r#""name":"t""#).await,
        it.modern("old", "tools/call", r#""name":"t""#).await,
        it.handshake("new", "tools/call", r#"{"name":"t"}"#).await,
        it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await,
    ] {
        assert_eq!((answer.status.as_u16(), &*answer.raw("error")), (200, odd));
    }
}

#[tokio::test]
async fn a_notification_and_a_response_reach_a_handshake_server_whole() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    for text in [
        format!(r#" {{"jsonrpc":"2.0","method":"notifications/com.example","params":{{{ODD}}},"x": 1.0}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":"s-1", "result":{{{ODD}}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":7, "error":{{"code":-1,"message":"m",{ODD}}}}}"#),
    ] {
        let told = it.post("old", &text).in_session(&session).await;
        assert_eq!((told.status.as_u16(), &*told.text), (202, ""));
        assert_eq!(it.old.heard().last().unwrap().text, text);
    }
}

#[tokio::test]
async fn events_come_with_their_bytes_their_ids_and_their_order() {
    let it = Scene::set().await;
    let session = it.session("old").await;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/com.example","params":{"c":1e400 }}"#;
    let asks = r#"{"jsonrpc":"2.0","id":"s-1","method":"sampling/createMessage","params":{ }}"#;
    it.old.on("tools/call", move |heard| {
        events(format!(
            ": hello\n\nid: e-1\nretry: 30\ndata:\n\ndata: {note}\n\nid: e-2\ndata: {asks}\n\nid: e-3\ndata: {}\n\n",
            heard.result(ODD_RESULT)
        ))
    });
    let answer = it.handshake("old", "tools/call", r#"{"name":"t"}"#).in_session(&session).await.ok();
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let result = format!(r#"{{"jsonrpc":"2.0","id":"c-1","result":{ODD_RESULT}}}"#);
    assert_eq!(
        answer.text,
        format!(
            "id: e-1\nretry: 30\ndata:\n\nevent: message\ndata: {note}\n\nid: e-2\nevent: message\ndata: {asks}\n\nid: e-3\nevent: message\ndata: {result}\n\n"
        )
    );
}

#[tokio::test]
async fn between_the_eras_only_what_must_change_does() {
    let it = Scene::set().await;
    let plain = r#"{"b": 1.0,"content":[ ],"c":1e400,"d":"\u00e9\/"}"#;
    it.old.answers("tools/call", plain);
    it.new.answers("tools/call", plain);
    let to_old = it.modern("old", "tools/call", &format!(r#""name":"t",{ODD}"#)).await.ok();
    let read = ODD.replace(r": 1.0", ":1.0").replace(r"\u0061", "a");
    assert_eq!(it.old.last("tools/call").raw("params"), format!(r#"{{"name":"t",{read}}}"#));
    assert_eq!(
        to_old.raw("result"),
        r#"{"b":1.0,"content":[ ],"c":1e400,"d":"\u00e9\/","resultType":"complete"}"#
    );
    let to_new = it.handshake("new", "tools/call", &format!(r#"{{"name":"t",{ODD}}}"#)).await.ok();
    assert!(it.new.last("tools/call").raw("params").starts_with(&format!(r#"{{"name":"t",{read},"_meta":"#)));
    assert_eq!(to_new.raw("result"), r#"{"b":1.0,"content":[ ],"c":1e400,"d":"\u00e9\/"}"#);
}

#[tokio::test]
async fn param_headers_reach_a_modern_server_as_they_came_and_no_other_header_does() {
    let it = Scene::set().await;
    let ask = it.modern("new", "tools/call", r#""name":"t","arguments":{"region":"é"}"#);
    let ask =
        ask.header("mcp-param-region", "=?base64?w6k=?=").header("cookie", "a=1").header("x-custom", "1");
    ask.await.ok();
    let heard = it.new.last("tools/call");
    assert_eq!(heard.header("mcp-param-region"), Some("=?base64?w6k=?="));
    for name in ["cookie", "x-custom", "x-runlayer-api-key", "authorization"] {
        assert_eq!(heard.header(name), None);
    }
}

#[tokio::test]
async fn a_handshake_clients_arguments_are_mirrored_into_the_headers_that_a_modern_server_wants() {
    let it = Scene::set().await;
    it.new.answers(
        "tools/list",
        r#"{"tools":[{"name":"é","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#,
    );
    it.handshake("new", "tools/call", r#"{"name":"é","arguments":{"region":"eu west"}}"#).await.ok();
    let heard = it.new.last("tools/call");
    assert_eq!(heard.header("mcp-param-region"), Some("eu west"));
    assert_eq!(heard.header("mcp-name"), Some("=?base64?w6k=?="));
}
