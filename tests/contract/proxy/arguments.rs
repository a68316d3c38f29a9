//! What policies see of a call's arguments is what the server gets, whether or not it reads names as they are
//! written.

use deputize_tests::{TestResponse, mcp};
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

const DENIED: &str = "403 Policy denied\n200 403 access_denied: Policy denied";

/// A policy that permits by an argument, and one that forbids by an argument.
async fn only_of_acme(it: &Permitted) {
    let permit = r#"permit(principal, action == Action::"call_tool", resource) when {
        context.arguments.hasTag("org") && context.arguments.getTag("org") == "acme" };"#;
    it.app().policy("acme", permit).await;
}

async fn all_but_secret(it: &Permitted) {
    it.app().permit_everything().await;
    let forbid = r#"forbid(principal, action, resource) when {
        context.arguments.hasTag("repo.org") && context.arguments.getTag("repo.org") == "secret" };"#;
    it.app().policy("secret", forbid).await;
}

/// A call by Bob at both endpoints. Both must give the same text.
async fn call(it: &Permitted, arguments: &str) -> String {
    let answer = |answer: &TestResponse| match answer.raw("error") {
        error if error.starts_with('{') => answer.rpc_refusal(),
        error if error.is_empty() => "called".to_owned(),
        _ => answer.refusal(),
    };
    let body = format!(r#"{{"tool_name": "list_repos", "arguments": {arguments}}}"#);
    let by_json = it.app().post("/api/v1/proxy/demo/tools").as_user(it.bob()).body("application/json", body);
    let fields = format!(r#""name": "list_repos", "arguments": {arguments}"#);
    let by_mcp = it.app().modern("demo", "tools/call", &fields).as_user(it.bob());
    format!("{}\n{}", answer(&by_json.await), answer(&by_mcp.await))
}

#[tokio::test]
async fn arguments_that_two_readers_could_read_differently_are_refused() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    let mut refusals = Vec::new();
    for arguments in [
        r#"{"org": "mine", "org": "yours"}"#,
        r#"{"a": {"b": 1, "b": 2}}"#,
        r#"{"a.b": 1, "a": {"b": 2}}"#,
        r#"["org"]"#,
        r#""org""#,
    ] {
        let body = format!(r#"{{"tool_name": "list_repos", "arguments": {arguments}}}"#);
        let call = it.app().post("/api/v1/proxy/demo/tools").bearer(&token).body("application/json", body);
        refusals.push(call.await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 arguments: a name occurs twice in one object
    400 arguments: a name occurs twice in one object
    400 arguments: two values have the same dotted name
    400 arguments must be an object
    400 arguments must be an object
    ");
    assert_eq!(it.mcp.seen().len(), 0);
}

/// Of an environment, a map of HTTP headers, or names of people.
#[tokio::test]
async fn arguments_whose_names_differ_in_case_are_refused_where_a_policy_reads_one_of_them() {
    let it = Permitted::without_policies().await;
    all_but_secret(&it).await;
    for arguments in [
        r#"{"env": {"PATH": "/bin", "Path": "C:"}, "Org": "a", "org": "b"}"#,
        r#"{"list": [{"id": 1, "\u0131d": 2}]}"#,
        r#"{"a.b": 1, "A": {"B": 2}}"#,
    ] {
        assert_eq!(call(&it, arguments).await, "called\ncalled", "{arguments}");
    }
    let called = it.mcp.calls();
    for arguments in [
        r#"{"repo": {"org": "acme"}, "Repo": {"org": "secret"}}"#,
        r#"{"repo": {"org": "acme", "Org": "secret"}}"#,
        r#"{"repo.org": "acme", "REPO": {"ORG": "acme"}}"#,
    ] {
        assert_eq!(call(&it, arguments).await, DENIED, "{arguments}");
    }
    assert_eq!(it.mcp.calls(), called);
}

#[tokio::test]
async fn a_ban_on_an_argument_holds_whatever_the_case_of_its_name() {
    let it = Permitted::without_policies().await;
    all_but_secret(&it).await;
    for arguments in [
        r#"{"repo": {"org": "secret"}}"#,
        r#"{"repo": {"Org": "secret"}}"#,
        r#"{"REPO": {"ORG": "secret"}}"#,
        r#"{"Repo.Org": "secret"}"#,
        r#"{"repo": {"\uff4frg": "secret"}}"#,
    ] {
        assert_eq!(call(&it, arguments).await, DENIED, "{arguments}");
    }
    assert_eq!(it.mcp.calls(), 0);
    let other = call(&it, r#"{"repo": {"Org": "acme"}, "org": "acme"}"#).await;
    assert_eq!(other, "called\ncalled");
}

#[tokio::test]
async fn a_permission_by_an_argument_is_not_had_by_a_name_that_the_server_may_not_know() {
    let it = Permitted::without_policies().await;
    only_of_acme(&it).await;
    let mut told = Vec::new();
    for arguments in [
        r#"{"Org": "acme"}"#,
        r#"{"org": "acme", "Org": "evil"}"#,
        r#"{"Org": "evil", "org": "acme"}"#,
        r#"{"ORG": "evil"}"#,
    ] {
        told.push(call(&it, arguments).await);
    }
    assert_snapshot!(told.join("\n"), @"
    403 Policy denied
    200 403 access_denied: Policy denied
    403 Policy denied
    200 403 access_denied: Policy denied
    403 Policy denied
    200 403 access_denied: Policy denied
    403 Policy denied
    200 403 access_denied: Policy denied
    ");
    assert_eq!(it.mcp.calls(), 0);
    assert_eq!(call(&it, r#"{"org": "acme"}"#).await, "called\ncalled");
}

#[tokio::test]
async fn servers_may_spell_an_argument_differently_and_be_judged_by_policies_of_their_own() {
    let it = Permitted::without_policies().await;
    only_of_acme(&it).await;
    let capital = r#"permit(principal, action, resource) when {
        context.arguments.hasTag("Org") && context.arguments.getTag("Org") == "acme" };"#;
    it.app().policy("capital", capital).await;
    let mut told = Vec::new();
    for arguments in [r#"{"org": "acme"}"#, r#"{"Org": "acme"}"#, r#"{"oRg": "acme"}"#, r#"{"Org": "evil"}"#]
    {
        told.push(call(&it, arguments).await);
    }
    assert_snapshot!(told.join("\n"), @"
    called
    called
    called
    called
    403 Policy denied
    200 403 access_denied: Policy denied
    403 Policy denied
    200 403 access_denied: Policy denied
    ");
}

#[tokio::test]
async fn integers_and_the_arguments_of_prompts_are_judged_whatever_the_case_of_their_names() {
    let it = Permitted::without_policies().await;
    it.app().permit_everything().await;
    let forbid = r#"forbid(principal, action, resource) when {
        context.integers.hasTag("limit") && context.integers.getTag("limit") > 10 };"#;
    it.app().policy("limit", forbid).await;
    assert_snapshot!(call(&it, r#"{"org": "acme", "Limit": 11}"#).await, @"
    403 Policy denied
    200 403 access_denied: Policy denied
    ");
    let prompt = r#""name": "p", "arguments": {"LIMIT": 11}"#;
    let prompt = it.app().modern("demo", "prompts/get", prompt).as_user(it.bob()).await;
    assert_snapshot!(prompt.rpc_refusal(), @"200 403 access_denied: Policy denied");
    assert_eq!(it.mcp.calls(), 0);
}

/// Adds a policy that forbids to the permission for everything. Requires that it applies to `these`
/// arguments, whose calls do not reach the server, and does not apply to `not_those`.
async fn bans(forbid: &str, these: &[&str], not_those: &[&str]) {
    let it = Permitted::without_policies().await;
    it.app().permit_everything().await;
    it.app().policy("ban", &format!("forbid(principal, action, resource) when {{ {forbid} }};")).await;
    for arguments in these {
        assert_eq!(call(&it, arguments).await, DENIED, "{arguments}");
    }
    assert_eq!(it.mcp.calls(), 0);
    for arguments in not_those {
        assert_eq!(call(&it, arguments).await, "called\ncalled", "{arguments}");
    }
}

#[tokio::test]
async fn a_ban_by_an_integer_holds_however_it_is_written_and_for_what_a_server_may_make_one_of() {
    bans(
        r#"context.integers.hasTag("limit") && context.integers.getTag("limit") > 10"#,
        &[
            r#"{"org": "acme", "limit": 11}"#,
            r#"{"org": "acme", "limit": 11.0}"#,
            r#"{"org": "acme", "limit": 1e3}"#,
            r#"{"org": "acme", "limit": 1.1e1}"#,
            r#"{"org": "acme", "limit": 110E-1}"#,
            r#"{"org": "acme", "limit": "1000"}"#,
            r#"{"org": "acme", "limit": " 1000"}"#,
            r#"{"org": "acme", "limit": 18446744073709551615}"#,
            r#"{"org": "acme", "limit": 9223372036854775808}"#,
            r#"{"org": "acme", "limit": 9007199254740993.0}"#,
            r#"{"org": "acme", "limit": 1e19}"#,
            r#"{"org": "acme", "limit": 11.5}"#,
            r#"{"org": "acme", "limit": [11]}"#,
            r#"{"org": "acme", "limit": {"value": 11}}"#,
            r#"{"org": "acme", "limit": true}"#,
            r#"{"org": "acme", "limit": null}"#,
            r#"{"org": "acme", "Limit": "1000"}"#,
        ],
        &[
            r#"{"org": "acme"}"#,
            r#"{"org": "acme", "limit": 10}"#,
            r#"{"org": "acme", "limit": 1.0e1}"#,
            r#"{"org": "acme", "limit": -0.0}"#,
            r#"{"org": "acme", "limits": "1000", "other": [11]}"#,
        ],
    )
    .await;
    // A number that no reader of floating-point numbers can read is refused for all.
    let it = Permitted::set().await;
    assert_snapshot!(call(&it, r#"{"org": "acme", "limit": 1e400}"#).await, @"
    400 arguments: must be a number of a usual size
    400 -32602 invalid_request: arguments: must be a number of a usual size
    ");
}

#[tokio::test]
async fn a_ban_on_having_an_argument_holds_for_objects_and_arrays_too() {
    bans(
        r#"context.arguments.hasTag("force")"#,
        &[
            r#"{"org": "acme", "force": {}}"#,
            r#"{"org": "acme", "force": []}"#,
            r#"{"org": "acme", "force": {"x": 1}}"#,
            r#"{"org": "acme", "force": null}"#,
            r#"{"org": "acme", "FORCE": {}}"#,
        ],
        &[r#"{"org": "acme", "x": {"force": {}}}"#],
    )
    .await;
}

#[tokio::test]
async fn a_ban_by_a_text_holds_for_what_cannot_be_compared_with_it() {
    bans(
        r#"context.arguments.hasTag("org") && context.arguments.getTag("org") like "secret-*""#,
        &[
            r#"{"org": "secret-x"}"#,
            r#"{"org": "\u0073ecret-x"}"#,
            r#"{"org": ["secret-x"]}"#,
            r#"{"org": {"name": "secret-x"}}"#,
            r#"{"org": "[\"secret-x\"]"}"#,
            r#"{"org": " {\"name\": 'secret-x'}\n"}"#,
            r#"{"org": 18446744073709551615}"#,
        ],
        &[r#"{"org": "acme"}"#, r#"{"org": "[draft] acme"}"#],
    )
    .await;
}

#[tokio::test]
async fn a_ban_by_something_in_an_object_holds_for_what_a_server_may_make_an_object_of() {
    bans(
        r#"context.arguments.hasTag("repo.org") && context.arguments.getTag("repo.org") == "secret""#,
        &[
            r#"{"org": "acme", "repo": {"org": "secret"}}"#,
            r#"{"org": "acme", "repo": [{"org": "secret"}]}"#,
            r#"{"org": "acme", "repo": "{\"org\": \"secret\"}"}"#,
            r#"{"org": "acme", "repo": "secret"}"#,
            r#"{"org": "acme", "repo": {"org": ["secret"]}}"#,
            r#"{"org": "acme", "repo": 1}"#,
            r#"{"org": "acme", "repo": null}"#,
            r#"{"org": "acme", "Repo": [{"org": "secret"}]}"#,
            r#"{"org": "acme", "REPO": "{\"org\": \"secret\"}"}"#,
        ],
        &[r#"{"org": "acme", "repo": {}}"#, r#"{"org": "acme", "repo": {"name": ["x"]}}"#],
    )
    .await;
}

#[tokio::test]
async fn a_value_that_is_read_differently_refuses_only_what_the_policy_is_about() {
    bans(
        r#"resource in Server::"other" && context.integers.hasTag("limit") && context.integers.getTag("limit") > 10"#,
        &[],
        &[r#"{"org": "acme", "limit": "1000"}"#, r#"{"org": "acme", "limit": [11]}"#],
    )
    .await;
}

#[tokio::test]
async fn a_permission_by_an_integer_is_not_had_by_what_a_server_may_make_one_of() {
    let it = Permitted::without_policies().await;
    let permit = r#"permit(principal, action, resource) unless {
        context.integers.hasTag("limit") && context.integers.getTag("limit") > 10 };"#;
    it.app().policy("up to ten", permit).await;
    for limit in [r#""11""#, "11.0", "[11]", "null", "1e19"] {
        let arguments = format!(r#"{{"org": "acme", "limit": {limit}}}"#);
        assert_eq!(call(&it, &arguments).await, DENIED, "{limit}");
    }
    assert_eq!(call(&it, r#"{"org": "acme", "limit": 10.0}"#).await, "called\ncalled");
}

#[tokio::test]
async fn a_refusal_and_its_explanation_name_the_argument_and_what_it_was_read_as() {
    let it = Permitted::without_policies().await;
    it.app().permit_everything().await;
    let forbid = r#"forbid(principal, action, resource) when {
        context.integers.hasTag("limit") && context.integers.getTag("limit") > 10 };"#;
    it.app().policy("limit", forbid).await;
    let arguments = json!({ "org": "acme", "limit": "1000" });
    let denied = it.app().call("demo", "list_repos", &arguments).as_user(it.bob()).await;
    assert_snapshot!(denied, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_user",
      "denied_for": "user",
      "policies": [
        "[policy limit]"
      ],
      "explanation": "the policy [policy limit] reads the argument `limit` as an integer, but it is text"
    }
    "#);
    assert_snapshot!(it.app().event_of(&denied), @r#"
    action: "tool.call"
    arguments_sha256: "6968deeea248dafafd03194fa7a983d75db85ee086722d53867a6f18246e0983"
    audit_server: "demo"
    audit_user: "[bob]"
    credential: "api_key:[uuid]"
    detail: "Policy denied for the user: the policy [policy limit] reads the argument `limit` as an integer, but it is text"
    outcome: "denied"
    policies: "[policy limit]"
    tool: "list_repos"
    "#);
    let fields = format!(r#""name": "list_repos", "arguments": {arguments}"#);
    let by_mcp = it.app().modern("demo", "tools/call", &fields).as_user(it.bob()).await;
    assert_snapshot!(by_mcp, @r#"
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
          "policies": [
            "[policy limit]"
          ],
          "explanation": "the policy [policy limit] reads the argument `limit` as an integer, but it is text"
        }
      }
    }
    "#);
    let check = json!({
        "user_id": it.bob().id, "server_id": "demo", "tool_name": "list_repos", "arguments": arguments,
    });
    let explained = it.app().post("/api/v1/policies/check").as_user(it.bob()).json(&check).await;
    assert_snapshot!(explained, @r#"
    200 OK

    {
      "decision": "deny",
      "policies": [
        "[policy limit]"
      ],
      "denied_for": "user",
      "reason": "the policy [policy limit] reads the argument `limit` as an integer, but it is text",
      "steps": [
        {
          "step": "caller",
          "outcome": "passed"
        },
        {
          "step": "server",
          "outcome": "passed"
        },
        {
          "step": "policies",
          "outcome": "refused",
          "reason": "policy_denied_user",
          "text": "the policy [policy limit] reads the argument `limit` as an integer, but it is text"
        },
        {
          "step": "credentials",
          "outcome": "passed",
          "credentials": {
            "kind": "none"
          }
        }
      ],
      "policies_version": 3
    }
    "#);
    assert_eq!(it.mcp.calls(), 0);
}

/// When each dotted name was a text of its own that repeated its beginning, 410 KB took 2.5 GB.
#[tokio::test]
async fn names_are_bounded_in_length_alone_and_together() {
    let it = Permitted::set().await;
    let many = |count: usize| (0..count).map(|n| format!("\"a{n}\": 0")).collect::<Vec<_>>().join(",");
    let long = |bytes: usize| "x".repeat(bytes);
    let wide: Vec<String> = (0..300).map(|n| format!("\"{}{n}\": 0", long(230))).collect();
    let mut told = Vec::new();
    for arguments in [
        format!(r#"{{"{}": {{{}}}}}"#, long(400_000), many(999)),
        format!(r#"{{"list": [{{"{}": 0}}]}}"#, long(257)),
        format!(r#"{{"{0}": {{"{0}": {{"{0}": {{"{0}": {{{1}}}}}}}}}}}"#, long(255), many(990)),
        format!("{{{}}}", wide.join(",")),
        format!(r#"{{"list": [{{{}}}]}}"#, many(1_001)),
    ] {
        told.push(call(&it, &arguments).await);
    }
    assert_snapshot!(told.join("\n"), @"
    400 arguments: a name is longer than 256 bytes
    400 -32602 invalid_request: arguments: a name is longer than 256 bytes
    400 arguments: a name is longer than 256 bytes
    400 -32602 invalid_request: arguments: a name is longer than 256 bytes
    400 arguments: a dotted name is longer than 1024 bytes
    400 -32602 invalid_request: arguments: a dotted name is longer than 1024 bytes
    400 arguments: the names together are longer than 65536 bytes
    400 -32602 invalid_request: arguments: the names together are longer than 65536 bytes
    400 arguments: more than 1000 names in one object
    400 -32602 invalid_request: arguments: more than 1000 names in one object
    ");
    assert_eq!(it.mcp.calls(), 0);
    let fits = format!(r#"{{"org": "acme", "{0}": {{"{0}": {{"{0}": {{{1}}}}}}}}}"#, long(255), many(900));
    assert_eq!(call(&it, &fits).await, "called\ncalled");
}

#[tokio::test]
async fn a_refusal_and_its_explanation_say_that_the_case_of_a_name_matters() {
    let it = Permitted::without_policies().await;
    all_but_secret(&it).await;
    let arguments = json!({ "repo": { "Org": "secret" } });
    let denied = it.app().call("demo", "list_repos", &arguments).as_user(it.bob()).await;
    assert_snapshot!(denied, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "Policy denied",
      "detail": "Policy denied",
      "reason": "policy_denied_user",
      "denied_for": "user",
      "policies": [
        "[policy secret]"
      ],
      "explanation": "a policy forbids it, if the server ignores the case of the arguments' names"
    }
    "#);
    let check = json!({
        "user_id": it.bob().id, "server_id": "demo", "tool_name": "list_repos", "arguments": arguments,
    });
    let explained = it.app().post("/api/v1/policies/check").as_user(it.bob()).json(&check).await;
    assert_snapshot!(explained, @r#"
    200 OK

    {
      "decision": "deny",
      "policies": [
        "[policy secret]"
      ],
      "denied_for": "user",
      "reason": "a policy forbids it, if the server ignores the case of the arguments' names",
      "steps": [
        {
          "step": "caller",
          "outcome": "passed"
        },
        {
          "step": "server",
          "outcome": "passed"
        },
        {
          "step": "policies",
          "outcome": "refused",
          "reason": "policy_denied_user",
          "text": "a policy forbids it, if the server ignores the case of the arguments' names"
        },
        {
          "step": "credentials",
          "outcome": "passed",
          "credentials": {
            "kind": "none"
          }
        }
      ],
      "policies_version": 3
    }
    "#);
}

#[tokio::test]
async fn what_a_completion_or_a_subscription_is_for_is_said_once_in_whatever_case() {
    let it = Permitted::set().await;
    let mut told = Vec::new();
    for (method, params) in [
        ("completion/complete", r#""ref":{"type":"ref/prompt","name":"p","Name":"q"},"argument":{}"#),
        ("completion/complete", r#""ref":{"type":"ref/resource","uri":"a:b","URI":"c:d"},"argument":{}"#),
        ("subscriptions/listen", r#""notifications":{"ResourceSubscriptions":["a:b"]}"#),
    ] {
        let text = mcp::request(method, &format!("{{{params}}}"));
        told.push(it.app().mcp("demo", text).as_user(it.bob()).await.rpc_refusal());
    }
    assert_snapshot!(told.join("\n"), @"
    200 -32602 invalid_request: params: an object with type, name, uri in it must be one in which nothing occurs twice, in whatever case
    200 -32602 invalid_request: params: an object with type, name, uri in it must be one in which nothing occurs twice, in whatever case
    200 -32602 invalid_request: params: an object with resourceSubscriptions in it must be one in which nothing occurs twice, in whatever case
    ");
    assert_eq!(it.mcp.seen().len(), 0);
}
