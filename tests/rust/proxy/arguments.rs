//! What policies see of a call's arguments is what the server gets, whether or not it reads names as they are
//! written.

use deputize_tests::{Answer, mcp};
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

const DENIED: &str = "403 Policy denied\n200 403 access_denied: Policy denied";

/// A permission that rests on an argument, and a ban that does.
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

/// A call by Bob of both endpoints, with the same answer for people.
async fn call(it: &Permitted, arguments: &str) -> String {
    let answer = |answer: &Answer| match answer.raw("error") {
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
        r#"{"org": "mine", "Org": "yours"}"#,
        r#"{"list": [{"id": 1, "\u0131d": 2}]}"#,
        r#"{"a.b": 1, "A": {"B": 2}}"#,
        r#"["org"]"#,
        r#""org""#,
    ] {
        let body = format!(r#"{{"tool_name": "list_repos", "arguments": {arguments}}}"#);
        let call = it.app().post("/api/v1/proxy/demo/tools").bearer(&token).body("application/json", body);
        refusals.push(call.await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    400 arguments: a name occurs twice in one object at line 1 column 31
    400 arguments: a name occurs twice in one object at line 1 column 22
    400 arguments: two values have the same dotted name
    400 arguments: two names in one object differ only in case at line 1 column 31
    400 arguments: two names in one object differ only in case at line 1 column 33
    400 arguments: two values have the same dotted name
    400 arguments must be an object
    400 arguments must be an object
    ");
    assert_eq!(it.mcp.seen().len(), 0);
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
    400 arguments: two names in one object differ only in case at line 1 column 30
    400 -32602 invalid_request: arguments: two names in one object differ only in case at line 1 column 30
    400 arguments: two names in one object differ only in case at line 1 column 30
    400 -32602 invalid_request: arguments: two names in one object differ only in case at line 1 column 30
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
      "denied_for": "user",
      "policies": [
        "[policy secret]"
      ],
      "reason": "a policy forbids it, if the server ignores the case of the arguments' names"
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
    400 -32602 invalid_request: params: an object with type, name, uri in it must be one in which nothing occurs twice, in whatever case
    400 -32602 invalid_request: params: an object with type, name, uri in it must be one in which nothing occurs twice, in whatever case
    400 -32602 invalid_request: params: an object with resourceSubscriptions in it must be one in which nothing occurs twice, in whatever case
    ");
    assert_eq!(it.mcp.seen().len(), 0);
}
