//! What a call's body may look like, and who may call at all.

use deputize_tests::TestRequest;
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

fn body(it: &Permitted, body: impl Into<Vec<u8>>) -> TestRequest {
    let call = it.app().post("/api/v1/proxy/demo/tools").as_user(it.bob());
    call.body("application/json", body)
}

#[tokio::test]
async fn a_result_is_the_servers_own() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    let answer = it.app().call("demo", "delete_repo", &json!({ "org": "acme", "repo": "website" }));
    assert_snapshot!(answer.bearer(&token).await, @r#"
    200 OK

    {
      "resultType": "complete",
      "content": [
        {
          "type": "text",
          "text": "deleted acme/website"
        },
        {
          "type": "text",
          "text": "{\"full_name\":\"acme/website\",\"deleted\":true}"
        }
      ],
      "structuredContent": {
        "full_name": "acme/website",
        "deleted": true
      },
      "isError": false
    }
    "#);
}

#[tokio::test]
async fn the_callers_token_and_key_never_reach_the_server() {
    let it = Permitted::set().await;
    let (own, for_bob) = (it.app().m2m(it.bot()).await, it.app().obo(it.bot(), it.bob()).await);
    let call = || it.app().call("demo", "list_repos", &json!({ "org": "acme" }));
    call().bearer(&own).await.ok();
    call().bearer(&for_bob).await.ok();
    call().as_user(it.bob()).await.ok();
    call().bearer(&it.bob().api_key).await.ok();
    call().bearer(&it.app().login.token("bob")).await.ok();
    assert_eq!(it.mcp.calls(), 5);
    for seen in it.mcp.seen() {
        let all = format!("{:?} {}", seen.headers, seen.body);
        assert!(!seen.headers.contains_key("authorization"), "{all}");
        for secret in [&own, &for_bob, &it.bob().api_key, "eyJ", "rl_"] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

#[tokio::test]
async fn arguments_reach_the_server_byte_for_byte() {
    let it = Permitted::set().await;
    let call = r#"{"tool_name":"list_repos","arguments":{"org":"acme","n":1.0,"big":12345678901234567890,"z":"\u00e9"}}"#;
    body(&it, call).await.ok();
    let seen = it.mcp.seen();
    let call = seen.iter().find(|seen| seen.body["method"] == "tools/call").unwrap();
    assert_eq!(call.body["params"]["arguments"]["org"], "acme");
    assert_eq!(call.body["params"]["arguments"]["big"].to_string(), "12345678901234567890");
    assert_eq!(call.body["params"]["arguments"]["n"].to_string(), "1.0");
}

#[tokio::test]
async fn arguments_may_be_left_out() {
    let it = Permitted::set().await;
    for call in [r#"{"tool_name":"list_repos"}"#, r#"{"tool_name":"list_repos","arguments":null}"#] {
        // The tool misses its argument, but the call reached it.
        let answer = body(&it, call).await;
        assert!(answer.status == 200 || answer.refusal().contains("invalid arguments"), "{answer}");
    }
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_the_place() {
    let it = Permitted::set().await;
    let before = it.app().trail().len();
    let long = format!(r#"{{"tool_name":"{}"}}"#, "x".repeat(257));
    let mut refusals = Vec::new();
    for wrong in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"tool_name":1}"#,
        r#"{"tool_name":""}"#,
        r#"{"tool_name":"a\nb"}"#,
        &long,
        r#"{"tool_name":"a"} x"#,
        "{\"tool_name\":\"\u{7f}\"}",
    ] {
        refusals.push(body(&it, wrong).await.refusal());
    }
    refusals.push(body(&it, b"{\"tool_name\":\"\xff\"}".to_vec()).await.refusal());
    assert_snapshot!(refusals.join("\n"), @"
    400 the body must be JSON, and this breaks off
    400 the body must be JSON, and this breaks off
    400 the body must be an object, not an array
    400 tool_name: is missing
    400 tool_name: must be a string, not a number
    400 tool_name must have 1 to 256 characters, none of them a control character
    400 tool_name must have 1 to 256 characters, none of them a control character
    400 tool_name must have 1 to 256 characters, none of them a control character
    400 the body must be one JSON object, with nothing after it
    400 tool_name must have 1 to 256 characters, none of them a control character
    400 tool_name: must be another JSON value
    ");
    assert_eq!(it.app().trail().len(), before);
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let it = Permitted::set().await;
    let call = it.app().post("/api/v1/proxy/demo/tools").as_user(it.bob());
    assert_snapshot!(call.body("text/plain", r#"{"tool_name":"list_repos"}"#).await, @r#"
    415 Unsupported Media Type

    {
      "error": "unsupported_media_type",
      "error_description": "The body must be application/json",
      "detail": "The body must be application/json",
      "reason": "media_type_unsupported"
    }
    "#);
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let it = Permitted::set().await;
    let padding = "x".repeat(4 * 1024 * 1024);
    let call = format!(r#"{{"tool_name":"list_repos","arguments":{{"org":"{padding}"}}}}"#);
    assert_snapshot!(body(&it, call).await, @r#"
    413 Payload Too Large

    {
      "error": "request_too_large",
      "error_description": "The body is larger than 4194304 bytes",
      "detail": "The body is larger than 4194304 bytes",
      "reason": "body_too_large"
    }
    "#);
}

#[tokio::test]
async fn a_call_without_a_credential_is_challenged() {
    let it = Permitted::set().await;
    assert_snapshot!(it.app().call("demo", "list_repos", &json!({})).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"

    {
      "error": "unauthorized",
      "error_description": "Authentication is required: send a bearer token or an API key",
      "detail": "Authentication is required: send a bearer token or an API key",
      "reason": "credential_missing"
    }
    "#);
}

#[tokio::test]
async fn two_credentials_at_once_are_refused() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    let both = it.app().call("demo", "list_repos", &json!({})).bearer(&token).as_user(it.bob());
    assert_snapshot!(both.await, @r#"
    400 Bad Request

    {
      "error": "invalid_request",
      "error_description": "Send either an Authorization header or x-runlayer-api-key, not both",
      "detail": "Send either an Authorization header or x-runlayer-api-key, not both",
      "reason": "request_invalid"
    }
    "#);
    let twice = it.app().call("demo", "list_repos", &json!({})).bearer(&token).bearer(&token);
    assert_snapshot!(twice.await.refusal(), @"400 The header authorization occurs twice");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_found() {
    let it = Permitted::set().await;
    let answer = it.app().call("nowhere", "list_repos", &json!({})).as_user(it.bob()).await;
    assert_snapshot!(answer, @r#"
    404 Not Found

    {
      "error": "not_found",
      "error_description": "No such server",
      "detail": "No such server",
      "reason": "not_found"
    }
    "#);
    assert_snapshot!(it.app().event_of(&answer), @r#"
    action: "tool.call"
    arguments_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    audit_server: "nowhere"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "No such server"
    outcome: "denied"
    tool: "list_repos"
    "#);
    let malformed = it.app().call("No%20Id", "list_repos", &json!({})).as_user(it.bob()).await;
    assert_snapshot!(malformed.refusal(), @"404 No such thing: the id in the path is malformed");
}

#[tokio::test]
async fn an_api_key_may_come_as_a_bearer() {
    let it = Permitted::set().await;
    let call = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&it.bob().api_key);
    call.await.ok();
}

#[tokio::test]
async fn credentials_that_prove_nothing_are_refused() {
    let it = Permitted::set().await;
    let call = || it.app().call("demo", "list_repos", &json!({}));
    let key = &it.bob().api_key;
    let flipped = key.replacen(&key[40..41], if &key[40..41] == "A" { "B" } else { "A" }, 1);
    let answers = [
        call().bearer("x").await,
        call().header("authorization", "Basic eA==").await,
        call().header("authorization", "Bearer ").await,
        call().header("x-runlayer-api-key", "rl_x").await,
        call().header("x-runlayer-api-key", &flipped).await,
        call().header("x-runlayer-api-key", "").await,
        call().header("x-runlayer-api-key", &it.bot().secret).await,
    ];
    assert_snapshot!(answers.map(|answer| answer.refusal()).join("\n"), @"
    401 User token refused: the token is malformed
    401 The Authorization header must be: Bearer <token>
    401 The Authorization header must be: Bearer <token>
    401 The API key is not valid
    401 The API key is not valid
    401 The API key is not valid
    401 The API key is not valid
    ");
}
