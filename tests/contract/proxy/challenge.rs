//! What a 401 tells an MCP client, so that it finds the token endpoint by itself (RFC 9728 section 5.1).

use deputize_tests::TestResponse;
use insta::assert_snapshot;
use serde_json::json;

use super::Permitted;

const CHALLENGE: &str = "www-authenticate";

#[tokio::test]
async fn a_call_without_a_token_is_told_where_to_get_one() {
    let it = Permitted::set().await;
    let listed = it.app().get("/api/v1/proxy/demo/tools").await;
    assert_snapshot!(listed, @r#"
    401 Unauthorized
    www-authenticate: Bearer realm="deputize", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"

    {
      "error": "unauthorized",
      "error_description": "Authentication is required: send a bearer token or an API key",
      "detail": "Authentication is required: send a bearer token or an API key",
      "reason": "credential_missing"
    }
    "#);
    let called = it.app().call("demo", "t", &json!({})).await;
    assert_eq!(called.to_string(), listed.to_string());
}

/// A client follows the challenge to the metadata, and that to the authorization server's metadata.
#[tokio::test]
async fn the_challenge_leads_to_the_token_endpoint() {
    let it = Permitted::set().await;
    let challenged = it.app().get("/api/v1/proxy/demo/tools").await;
    let (_, rest) = challenged.header(CHALLENGE).unwrap().split_once("resource_metadata=\"").unwrap();
    let path = |url: &str| url.strip_prefix("https://deputize.test").unwrap().to_owned();
    let resource = it.app().get(path(rest.split_once('"').unwrap().0)).await.ok().json();
    let issuer = resource["authorization_servers"][0].as_str().unwrap();
    let server = format!("{issuer}/.well-known/oauth-authorization-server");
    let server = it.app().get(path(&server)).await.ok().json();
    assert_eq!(server["issuer"], issuer);
    assert_eq!(server["token_endpoint"], format!("{issuer}/api/v1/oauth/token"));
    let resource = resource["resource"].as_str().unwrap();
    let token = it.app().token_for(it.bot(), &[("resource", resource)]).await.access_token();
    it.app().get("/api/v1/proxy/demo/tools").bearer(&token).await.ok();
}

#[tokio::test]
async fn every_refused_credential_is_told_too() {
    let it = Permitted::set().await;
    let token = it.app().m2m(it.bot()).await;
    it.app().about_token("revoke", it.bot(), &token).await.ok();
    let ask = || it.app().get("/api/v1/proxy/demo/tools");
    let answers = [
        ask().bearer("nonsense").await,
        ask().bearer(&token).await,
        ask().header("x-runlayer-api-key", "rl_wrong").await,
        ask().header("authorization", "Basic x").await,
    ];
    let told: Vec<String> =
        answers.iter().map(|answer: &TestResponse| answer.header(CHALLENGE).unwrap().to_owned()).collect();
    assert_snapshot!(told.join("\n"), @r#"
    Bearer realm="deputize", error="invalid_token", error_description="User token refused: the token is malformed", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"
    Bearer realm="deputize", error="invalid_token", error_description="The token has been revoked", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"
    Bearer realm="deputize", error="invalid_token", error_description="The API key is not valid", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"
    Bearer realm="deputize", error="invalid_token", error_description="The Authorization header must be: Bearer <token>", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp", scope="tools:call"
    "#);
}

#[tokio::test]
async fn a_server_that_is_not_there_challenges_like_one_that_is() {
    let it = Permitted::set().await;
    let there = it.app().get("/api/v1/proxy/demo/tools").await;
    let not = it.app().get("/api/v1/proxy/nowhere/tools").await;
    assert_eq!(there.to_string().replace("demo", "nowhere"), not.to_string());
}

/// Only a server's id can get from a path into the header.
#[tokio::test]
async fn what_is_no_id_is_not_repeated() {
    let it = Permitted::set().await;
    for id in ["%22,%20scope=%22x", "Demo", "a%0d%0ab"] {
        let answer = it.app().get(format!("/api/v1/proxy/{id}/tools")).await;
        assert_eq!(answer.header(CHALLENGE), Some(r#"Bearer realm="deputize""#), "{id}");
    }
}

#[tokio::test]
async fn other_refusals_say_nothing_of_it_and_the_management_api_names_its_own() {
    let it = Permitted::without_policies().await;
    let token = it.app().m2m(it.bot()).await;
    let denied = it.app().call("demo", "list_repos", &json!({ "org": "acme" })).bearer(&token).await;
    assert_eq!((denied.status.as_u16(), denied.header(CHALLENGE)), (403, None));
    let me = it.app().get("/api/v1/me").await;
    assert_eq!(
        me.header(CHALLENGE),
        Some(
            r#"Bearer realm="deputize", resource_metadata="https://deputize.test/.well-known/oauth-protected-resource/api/v1""#
        )
    );
}
