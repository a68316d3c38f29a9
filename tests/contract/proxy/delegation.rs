//! A delegation's bounds: which servers, and until when.

use std::time::Duration;

use deputize_core::delegations::NewDelegation;
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

#[tokio::test]
async fn a_delegation_for_some_servers_covers_no_others() {
    let it = Permitted::set().await;
    it.app().server("other").at(it.mcp.open_url()).await;
    let carol = &it.scenario.carol;
    let only = NewDelegation { server_ids: Some(vec!["other".parse().unwrap()]), expires_at: None };
    it.app().delegate_some(it.bot(), carol, only).await;
    let token = it.app().obo(it.bot(), carol).await;
    let call = |server: &str| it.app().call(server, "list_repos", &json!({ "org": "acme" })).bearer(&token);
    call("other").await.ok();
    let refused = call("demo").await;
    assert_snapshot!(refused, @r#"
    403 Forbidden

    {
      "error": "access_denied",
      "error_description": "The user's delegation does not cover this server",
      "detail": "The user's delegation does not cover this server",
      "reason": "delegation_too_narrow"
    }
    "#);
    assert_snapshot!(it.app().event_of(&refused), @r#"
    action: "tool.call"
    arguments_sha256: "58254b0e26919029350797476450b63bbcceb64c4539de20ef5d490f18a13cba"
    audit_agent: "[bot]"
    audit_server: "demo"
    audit_user: "[carol]"
    credential: "agent_token:[uuid]"
    detail: "The user's delegation does not cover this server"
    outcome: "denied"
    tool: "list_repos"
    "#);
    let list = it.app().get("/api/v1/proxy/demo/tools").bearer(&token).await;
    assert_snapshot!(list.refusal(), @"403 The user's delegation does not cover this server");
    assert_eq!(it.mcp.calls(), 1);
}

#[tokio::test]
async fn a_delegation_ends_at_its_moment_and_its_tokens_with_it() {
    let it = Permitted::set().await;
    let carol = &it.scenario.carol;
    let expires_at = Some(it.app().now().plus(Duration::from_mins(1)));
    it.app().delegate_some(it.bot(), carol, NewDelegation { server_ids: None, expires_at }).await;
    let token = it.app().obo(it.bot(), carol).await;
    let call = || it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token);
    it.app().pass(Duration::from_millis(59_999));
    call().await.ok();
    it.app().pass(Duration::from_millis(1));
    assert_snapshot!(call().await, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", error="invalid_token", error_description="The token has expired", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"

    {
      "error": "invalid_token",
      "error_description": "The token has expired",
      "detail": "The token has expired",
      "reason": "token_expired"
    }
    "#);
}

#[tokio::test]
async fn replacing_a_delegation_kills_the_tokens_of_the_old_one() {
    let it = Permitted::set().await;
    let token = it.app().obo(it.bot(), it.bob()).await;
    let only = NewDelegation { server_ids: Some(vec!["demo".parse().unwrap()]), expires_at: None };
    it.app().delegate_some(it.bot(), it.bob(), only).await;
    let call = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token);
    assert_snapshot!(call.await.refusal(), @"401 The delegation that the token rests on is revoked or has expired");
}
