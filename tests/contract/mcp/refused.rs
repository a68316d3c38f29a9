//! What is no message that can be granted, and how that is told.

use deputize_tests::{
    TestRequest,
    mcp::{META, modern_params, request},
};
use insta::assert_snapshot;

use super::Scene;

const CALL: &str = r#""name":"t""#;

fn bare(it: &Scene, text: &str) -> TestRequest {
    it.app().mcp("new", text).as_user(&it.scenario.bob)
}

fn modern_text() -> String {
    request("tools/call", &modern_params(CALL))
}

async fn told(cases: Vec<(&str, TestRequest)>) -> String {
    let mut lines = Vec::new();
    for (what, ask) in cases {
        let answer = ask.await;
        let id = answer.json()["id"].clone();
        lines.push(format!("{what}: {} (id {id})", answer.rpc_refusal()));
    }
    lines.join("\n")
}

#[tokio::test]
async fn headers_that_do_not_say_what_the_body_says_are_a_mismatch() {
    let it = Scene::set().await;
    let with = |headers: &[(&str, &str)]| {
        headers.iter().fold(bare(&it, &modern_text()), |ask, (name, value)| ask.header(name, value))
    };
    let version = ("mcp-protocol-version", "2026-07-28");
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "t"));
    let cases = vec![
        ("no headers", with(&[])),
        ("no method", with(&[version, name])),
        ("no name", with(&[version, method])),
        ("another version", with(&[("mcp-protocol-version", "2999-01-01"), method, name])),
        ("another method", with(&[version, ("mcp-method", "tools/list"), name])),
        ("another name", with(&[version, method, ("mcp-name", "T")])),
        ("no Base64", with(&[version, method, ("mcp-name", "=?base64?*?=")])),
        ("no text in Base64", with(&[version, method, ("mcp-name", "=?base64?/w==?=")])),
        ("two versions", with(&[version, ("mcp-protocol-version", "2025-11-25"), method, name])),
        ("the method twice", with(&[version, method, method, name])),
        ("the name twice", with(&[version, method, name, ("mcp-name", "u")])),
        ("no ASCII", with(&[version, method, ("mcp-name", "é")])),
        ("a param header twice", with(&[version, method, name, ("mcp-param-a", "1"), ("mcp-param-a", "2")])),
        ("no Base64 in a param header", with(&[version, method, name, ("mcp-param-a", "=?base64?*?=")])),
    ];
    assert_snapshot!(told(cases).await, @r#"
    no headers: 400 -32020: Header mismatch: the MCP-Protocol-Version header is missing (id "c-1")
    no method: 400 -32020: Header mismatch: the mcp-method header is missing (id "c-1")
    no name: 400 -32020: Header mismatch: the mcp-name header is missing (id "c-1")
    another version: 400 -32020: Header mismatch: MCP-Protocol-Version '2999-01-01' does not match the body's '2026-07-28' (id "c-1")
    another method: 400 -32020: Header mismatch: mcp-method does not match the body (id "c-1")
    another name: 400 -32020: Header mismatch: mcp-name does not match the body (id "c-1")
    no Base64: 400 -32020: Header mismatch: mcp-name does not match the body (id "c-1")
    no text in Base64: 400 -32020: Header mismatch: mcp-name does not match the body (id "c-1")
    two versions: 400 -32020: Header mismatch: the mcp-protocol-version header has two versions (id "c-1")
    the method twice: 400 -32020: Header mismatch: the mcp-method header occurs twice (id "c-1")
    the name twice: 400 -32020: Header mismatch: the mcp-name header occurs twice (id "c-1")
    no ASCII: 400 -32020: Header mismatch: the mcp-name header holds invalid characters (id "c-1")
    a param header twice: 400 -32020: Header mismatch: an Mcp-Param header occurs twice, or there are too many (id "c-1")
    no Base64 in a param header: 400 -32020: Header mismatch: the mcp-param-a header holds invalid characters (id "c-1")
    "#);
    assert!(it.new.heard_of("tools/call").is_empty());
    // The same name, encoded.
    with(&[version, method, ("mcp-name", "=?base64?dA==?=")]).await.ok();
}

#[tokio::test]
async fn a_modern_request_without_its_meta_is_invalid() {
    let it = Scene::set().await;
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let with = |params: &str| {
        let ask = bare(&it, &request("tools/call", params)).header("mcp-protocol-version", "2026-07-28");
        ask.header("mcp-method", "tools/call").header("mcp-name", "t")
    };
    let meta = |meta: &str| with(&format!(r#"{{{CALL},"_meta":{meta}}}"#));
    let cases = vec![
        ("no meta", with(r#"{"name":"t"}"#)),
        ("meta that is none", meta("[]")),
        ("meta with a name twice", meta(&format!("{{{META},{version}}}"))),
        ("a version that is no text", meta(r#"{"io.modelcontextprotocol/protocolVersion":1}"#)),
        ("no capabilities", meta(&format!("{{{version}}}"))),
        (
            "capabilities that are none",
            meta(&format!(r#"{{{version},"io.modelcontextprotocol/clientCapabilities":[]}}"#)),
        ),
        (
            "a client that is none",
            meta(&format!(
                r#"{{{version},"io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":"x"}}"#
            )),
        ),
        ("no tool", with(&modern_params(""))),
        ("a tool that is no text", with(&modern_params(r#""name":1"#))),
        ("a tool twice", with(&modern_params(r#""name":"t","name":"u""#))),
        ("a tool twice, in another case", with(&modern_params(r#""name":"t","Name":"u""#))),
        ("arguments that some read as such", with(&modern_params("\"name\":\"t\",\"argument\\u017f\":{}"))),
        ("an argument twice", with(&modern_params(r#""name":"t","arguments":{"a":1,"a":2}"#))),
        ("a list", with("[1]")),
    ];
    assert_snapshot!(told(cases).await, @r#"
    no meta: 400 -32602: params._meta must have io.modelcontextprotocol/protocolVersion (id "c-1")
    meta that is none: 400 -32602: params._meta must have io.modelcontextprotocol/protocolVersion (id "c-1")
    meta with a name twice: 400 -32602: params._meta must have io.modelcontextprotocol/protocolVersion (id "c-1")
    a version that is no text: 400 -32602: io.modelcontextprotocol/protocolVersion must be text (id "c-1")
    no capabilities: 400 -32602: params._meta must have io.modelcontextprotocol/clientCapabilities, an object (id "c-1")
    capabilities that are none: 400 -32602: params._meta must have io.modelcontextprotocol/clientCapabilities, an object (id "c-1")
    a client that is none: 400 -32602: io.modelcontextprotocol/clientInfo must be an object (id "c-1")
    no tool: 400 -32602: params.name must be text (id "c-1")
    a tool that is no text: 400 -32602: params.name must be text (id "c-1")
    a tool twice: 400 -32602: params must be an object, in which nothing occurs twice, in whatever case (id "c-1")
    a tool twice, in another case: 400 -32602: params must be an object, in which nothing occurs twice, in whatever case (id "c-1")
    arguments that some read as such: 400 -32602: params must be an object, in which nothing occurs twice, in whatever case (id "c-1")
    an argument twice: 400 -32602 invalid_request: arguments: a name occurs twice in one object (id "c-1")
    a list: 400 -32602: params must be an object, in which nothing occurs twice, in whatever case (id "c-1")
    "#);
    assert!(it.new.heard_of("tools/call").is_empty());
}

#[tokio::test]
async fn a_version_that_is_not_spoken_here_is_told_with_those_that_are() {
    let it = Scene::set().await;
    let params = format!(r#"{{"_meta":{{{}}}}}"#, META.replace("2026-07-28", "2999-01-01"));
    let asked = bare(&it, &request("tools/list", &params)).header("mcp-protocol-version", "2999-01-01").await;
    assert_snapshot!(asked, @r#"
    400 Bad Request

    {
      "jsonrpc": "2.0",
      "id": "c-1",
      "error": {
        "code": -32022,
        "message": "Unsupported protocol version",
        "data": {
          "supported": [
            "2026-07-28",
            "2025-11-25",
            "2025-06-18",
            "2025-03-26"
          ],
          "requested": "2999-01-01",
          "reason": "protocol_version_unsupported"
        }
      }
    }
    "#);
    let cases = vec![
        ("handshake", bare(&it, &request("tools/list", "{}")).header("mcp-protocol-version", "2024-10-07")),
        ("nonsense", bare(&it, &request("tools/list", "{}")).header("mcp-protocol-version", "latest")),
        (
            "notification",
            bare(&it, r#"{"jsonrpc":"2.0","method":"notifications/x"}"#)
                .header("mcp-protocol-version", "1.0"),
        ),
    ];
    assert_snapshot!(told(cases).await, @r#"
    handshake: 400 -32022: Unsupported protocol version (id "c-1")
    nonsense: 400 -32022: Unsupported protocol version (id "c-1")
    notification: 400 -32022: Unsupported protocol version (id null)
    "#);
}

#[tokio::test]
async fn what_is_not_one_message_is_refused() {
    let it = Scene::set().await;
    let one = request("tools/list", "{}");
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(2000));
    let cases = vec![
        ("a batch", bare(&it, &format!("[{one}]")).header("mcp-protocol-version", "2025-11-25")),
        ("an empty batch", bare(&it, " []")),
        ("two", bare(&it, &format!("{one}\n{one}"))),
        ("no JSON", bare(&it, "tools/list")),
        ("half", bare(&it, &one[..20])),
        ("nothing", bare(&it, "")),
        ("text", bare(&it, r#""tools/list""#)),
        ("an empty object", bare(&it, "{}")),
        ("another JSON-RPC", bare(&it, r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#)),
        ("a method that is no text", bare(&it, r#"{"jsonrpc":"2.0","id":1,"method":1}"#)),
        ("two methods", bare(&it, r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#)),
        (
            "two methods, in another case",
            bare(&it, r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#),
        ),
        (
            "an id that is null",
            bare(&it, r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"t"}}"#),
        ),
        ("an id with a fraction", bare(&it, r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#)),
        ("an id with an exponent", bare(&it, r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#)),
        ("an id that is a list", bare(&it, r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#)),
        ("an id that is true", bare(&it, r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#)),
        ("an id without end", bare(&it, &long_id)),
        (
            "a request without an id",
            bare(&it, r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}"#),
        ),
        ("request and response", bare(&it, r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#)),
        (
            "result and error",
            bare(&it, r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#),
        ),
        ("nested too deeply", bare(&it, &deep)),
        (
            "no UTF-8",
            it.app().post("/api/v1/proxy/new/mcp").as_user(&it.scenario.bob).body(
                "application/json",
                b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}".to_vec(),
            ),
        ),
        ("a tool without a name", bare(&it, &request("tools/call", r#"{"name":""}"#))),
        ("a resource without a URI", bare(&it, &request("resources/read", "{}"))),
        (
            "a completion of nothing",
            bare(&it, &request("completion/complete", r#"{"ref":{"type":"ref/tool","name":"t"}}"#)),
        ),
        ("no parameters", bare(&it, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#)),
    ];
    assert_snapshot!(told(cases).await, @r#"
    a batch: 400 -32600: Only the revision 2025-03-26 has batches: send one message a request (id null)
    an empty batch: 400 -32600: A batch has 1 to 20 messages (id null)
    two: 400 -32700: Not one JSON text (id null)
    no JSON: 400 -32700: Not one JSON text (id null)
    half: 400 -32700: Not one JSON text (id null)
    nothing: 400 -32700: Not one JSON text (id null)
    text: 400 -32600: No JSON-RPC message: the body must be an object, not a string (id null)
    an empty object: 400 -32600: No JSON-RPC message: jsonrpc: is missing (id null)
    another JSON-RPC: 200 -32600: jsonrpc must be "2.0" (id 1)
    a method that is no text: 200 -32600: No JSON-RPC message: method: must be a string, not a number (id 1)
    two methods: 400 -32600: No JSON-RPC message: method: occurs twice (id null)
    two methods, in another case: 200 -32600: The message has a field twice, or one that is called like another but for its case (id 1)
    an id that is null: 400 -32600: id must be text or an integer (id null)
    an id with a fraction: 400 -32600: id must be text or an integer (id null)
    an id with an exponent: 400 -32600: id must be text or an integer (id null)
    an id that is a list: 400 -32600: id must be text or an integer (id null)
    an id that is true: 400 -32600: id must be text or an integer (id null)
    an id without end: 400 -32600: id must be text or an integer (id null)
    a request without an id: 400 -32600: The message has no id, and its method is no notification's (id null)
    request and response: 200 -32600: The message is neither request, notification nor response (id 1)
    result and error: 400 -32600: The message is neither request, notification nor response (id null)
    nested too deeply: 200 -32600: The message nests too deeply (id 1)
    no UTF-8: 400 -32700: Not one JSON text (id null)
    a tool without a name: 200 -32602 invalid_request: name must have 1 to 256 characters, none of them a control character (id "c-1")
    a resource without a URI: 200 -32602 invalid_request: params.uri: is missing (id "c-1")
    a completion of nothing: 200 -32602 invalid_request: ref names neither a prompt nor a resource (id "c-1")
    no parameters: 200 -32602 invalid_request: params is missing (id 1)
    "#);
    assert!(it.new.heard().is_empty(), "{:?}", it.new.methods());
}

#[tokio::test]
async fn a_body_that_is_too_large_or_of_another_type_is_refused_by_http() {
    let it = Scene::set().await;
    let large = request("tools/list", &format!(r#"{{"x":"{}"}}"#, "x".repeat(20 << 20)));
    let answer = bare(&it, &large).header("mcp-protocol-version", "2026-07-28").await;
    assert_snapshot!(answer.refusal(), @"413 The body is larger than 4194304 bytes");
    assert_eq!(answer.status, 413);
    let text = it
        .app()
        .post("/api/v1/proxy/new/mcp")
        .as_user(&it.scenario.bob)
        .body("text/plain", request("ping", "{}"));
    assert_snapshot!(text.await.refusal(), @"415 The body must be application/json");
    assert!(it.new.heard().is_empty());
}

#[tokio::test]
async fn a_web_page_of_another_origin_is_not_answered_whatever_it_asks_as_an_agent() {
    let it = Scene::set().await;
    let path = "/api/v1/proxy/new/mcp";
    let token = it.app().m2m(&it.scenario.bot).await;
    let list = || it.app().handshake("new", "tools/list", "{}").bearer(&token);
    let cases = vec![
        ("POST", list().header("origin", "https://evil.example.com")),
        ("one of two", list().header("origin", deputize_tests::app::URL).header("origin", "null")),
        ("GET", it.app().get(path).bearer(&token).header("origin", "null")),
        ("DELETE", it.app().delete(path).bearer(&token).header("origin", "http://deputize.test")),
    ];
    assert_snapshot!(told(cases).await, @"
    POST: 403 -32600: This origin is not allowed (id null)
    one of two: 403 -32600: This origin is not allowed (id null)
    GET: 403 -32600: This origin is not allowed (id null)
    DELETE: 403 -32600: This origin is not allowed (id null)
    ");
    assert!(it.new.heard().is_empty());
    list().header("origin", deputize_tests::app::URL).await.ok();
}

#[tokio::test]
async fn a_method_with_parameters_of_its_own_kind_is_its_servers_to_judge() {
    let it = Scene::set().await;
    it.new.answers("com.example/rename", "{}");
    it.modern("new", "com.example/rename", r#""name":{"first":"a"},"uri":7"#).await.ok();
    assert_eq!(it.new.heard_of("com.example/rename").len(), 1);
}
