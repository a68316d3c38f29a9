//! The well-known documents, as clients of each revision look for them.

use deputize_tests::TestApp;
use insta::assert_snapshot;

#[tokio::test]
async fn the_authorization_server_says_what_it_can_do() {
    let app = TestApp::start().await;
    let metadata = app.get("/.well-known/oauth-authorization-server").await.ok();
    assert_snapshot!(metadata, @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version
    cache-control: public, max-age=300

    {
      "issuer": "https://deputize.test",
      "authorization_endpoint": "https://deputize.test/api/v1/oauth/authorize",
      "token_endpoint": "https://deputize.test/api/v1/oauth/token",
      "registration_endpoint": "https://deputize.test/api/v1/oauth/register",
      "introspection_endpoint": "https://deputize.test/api/v1/oauth/introspect",
      "revocation_endpoint": "https://deputize.test/api/v1/oauth/revoke",
      "jwks_uri": "https://deputize.test/.well-known/jwks.json",
      "scopes_supported": [
        "tools:call",
        "manage",
        "offline_access"
      ],
      "response_types_supported": [
        "code"
      ],
      "response_modes_supported": [
        "query"
      ],
      "grant_types_supported": [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange"
      ],
      "code_challenge_methods_supported": [
        "S256"
      ],
      "authorization_response_iss_parameter_supported": true,
      "client_id_metadata_document_supported": true,
      "token_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "none"
      ],
      "token_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
      ],
      "introspection_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
      ],
      "introspection_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
      ],
      "revocation_endpoint_auth_methods_supported": [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "none"
      ],
      "revocation_endpoint_auth_signing_alg_values_supported": [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "EdDSA",
        "Ed25519"
      ]
    }
    "#);
    let openid = app.get("/.well-known/openid-configuration").await.ok().json();
    for (name, value) in metadata.json().as_object().unwrap() {
        assert_eq!(openid[name], *value, "{name}");
    }
}

#[tokio::test]
async fn every_resource_has_metadata_under_the_name_that_its_tokens_have() {
    let app = TestApp::start().await;
    let mut told = Vec::new();
    for path in ["", "/api/v1/proxy", "/api/v1/proxy/demo/mcp", "/api/v1/proxy/demo/mcp/", "/api/v1"] {
        let document = app.get(format!("/.well-known/oauth-protected-resource{path}")).await.ok();
        assert_eq!(document.header("access-control-allow-origin"), Some("*"));
        told.push(format!("{path}: {}", document.text));
    }
    assert_snapshot!(told.join("\n"), @r#"
    : {"resource":"https://deputize.test","authorization_servers":["https://deputize.test"],"scopes_supported":["tools:call"],"bearer_methods_supported":["header"]}
    /api/v1/proxy: {"resource":"https://deputize.test/api/v1/proxy","authorization_servers":["https://deputize.test"],"scopes_supported":["tools:call"],"bearer_methods_supported":["header"]}
    /api/v1/proxy/demo/mcp: {"resource":"https://deputize.test/api/v1/proxy/demo/mcp","authorization_servers":["https://deputize.test"],"scopes_supported":["tools:call"],"bearer_methods_supported":["header"]}
    /api/v1/proxy/demo/mcp/: {"resource":"https://deputize.test/api/v1/proxy/demo/mcp/","authorization_servers":["https://deputize.test"],"scopes_supported":["tools:call"],"bearer_methods_supported":["header"]}
    /api/v1: {"resource":"https://deputize.test/api/v1","authorization_servers":["https://deputize.test"],"scopes_supported":["manage"],"bearer_methods_supported":["header"]}
    "#);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_by_pages_too_and_never_an_error_of_another_kind() {
    let app = TestApp::start().await;
    app.server("demo").await;
    for path in [
        // Where clients of each revision look for metadata of a server at a path (MCP 2025-03-26, 2025-06-18, 2025-11-25).
        "/.well-known/oauth-authorization-server/api/v1/proxy/demo/mcp",
        "/.well-known/openid-configuration/api/v1/proxy/demo/mcp",
        "/api/v1/proxy/demo/mcp/.well-known/openid-configuration",
        "/api/v1/proxy/demo/mcp/.well-known/oauth-authorization-server",
        "/api/v1/proxy/demo/mcp/.well-known/oauth-protected-resource",
        "/api/v1/proxy/demo/.well-known/oauth-protected-resource",
        "/api/v1/.well-known/openid-configuration",
        "/api/v1/oauth/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/",
        "/.well-known/oauth-authorization-server/api/v1",
        "/.well-known/openid-configuration/",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource/sse",
        "/.well-known/oauth-protected-resource/api/v1/",
        "/.well-known/oauth-protected-resource/api/v1/proxy/",
        "/.well-known/oauth-protected-resource/api/v1/proxy/demo",
        "/.well-known/oauth-protected-resource/api/v1/proxy/Demo/mcp",
        "/.well-known/oauth-protected-resource/api/v1/proxy/%00/mcp",
        "/.well-known/oauth-protected-resource/%ff",
        "/.well-known/mcp",
        "/.well-known/mcp.json",
        "/.well-known/nothing",
    ] {
        for ask in [app.get(path), app.get(path).bearer("none"), app.get(path).header("origin", "null")] {
            let answer = ask.await;
            assert_eq!(answer.status, 404, "{path}: {answer}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
            assert_eq!(answer.header("www-authenticate"), None, "{path}");
        }
    }
}

#[tokio::test]
async fn a_document_is_served_only_where_its_name_is_that_of_its_address() {
    let app = TestApp::start_at("https://gateway.test/stage").await;
    let mut told = Vec::new();
    for path in [
        "oauth-authorization-server",
        "oauth-authorization-server/stage",
        "oauth-authorization-server/other",
        "openid-configuration/stage",
        "oauth-protected-resource/stage/api/v1",
        "oauth-protected-resource/stage/api/v1/proxy/demo/mcp",
        "oauth-protected-resource/api/v1/proxy/demo/mcp",
    ] {
        let answer = app.get(format!("/.well-known/{path}")).await;
        let json = answer.json();
        let name = [&json["issuer"], &json["resource"]].into_iter().find(|name| name.is_string()).cloned();
        told.push(format!("{path}: {} {}", answer.status.as_u16(), name.unwrap_or_default()));
    }
    assert_snapshot!(told.join("\n"), @r#"
    oauth-authorization-server: 200 "https://gateway.test/stage"
    oauth-authorization-server/stage: 200 "https://gateway.test/stage"
    oauth-authorization-server/other: 404 null
    openid-configuration/stage: 200 "https://gateway.test/stage"
    oauth-protected-resource/stage/api/v1: 200 "https://gateway.test/stage/api/v1"
    oauth-protected-resource/stage/api/v1/proxy/demo/mcp: 200 "https://gateway.test/stage/api/v1/proxy/demo/mcp"
    oauth-protected-resource/api/v1/proxy/demo/mcp: 200 "https://gateway.test/stage/api/v1/proxy/demo/mcp"
    "#);
}
