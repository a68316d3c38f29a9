//! What clients find out by themselves.

use deputize_tests::TestApp;
use insta::assert_snapshot;

#[tokio::test]
async fn the_authorization_servers_metadata_names_its_endpoints() {
    let app = TestApp::start().await;
    assert_snapshot!(app.get("/.well-known/oauth-authorization-server").await, @r#"
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
}

#[tokio::test]
async fn the_public_keys_are_published_and_may_be_kept_for_a_while() {
    let app = TestApp::start().await;
    assert_snapshot!(app.get("/.well-known/jwks.json").await, @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version
    cache-control: public, max-age=300

    {
      "keys": [
        {
          "kty": "EC",
          "crv": "P-256",
          "alg": "ES256",
          "use": "sig",
          "kid": "[kid]",
          "x": "[x]",
          "y": "[y]"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn each_server_says_where_tokens_for_it_come_from() {
    let app = TestApp::start().await;
    app.server("demo").await;
    let (answer, cost) = app
        .round_trips(async { app.get("/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp").await })
        .await;
    assert_snapshot!(answer, @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version
    cache-control: public, max-age=300

    {
      "resource": "https://deputize.test/api/v1/proxy/demo/mcp",
      "authorization_servers": [
        "https://deputize.test"
      ],
      "scopes_supported": [
        "tools:call"
      ],
      "bearer_methods_supported": [
        "header"
      ]
    }
    "#);
    assert!(cost.is_empty(), "nothing is read: {cost:?}");
}

#[tokio::test]
async fn the_whole_proxy_does_too() {
    let app = TestApp::start().await;
    assert_snapshot!(app.get("/.well-known/oauth-protected-resource/api/v1/proxy").await, @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: x-request-id,retry-after,www-authenticate,x-amzn-remapped-www-authenticate,link,etag,location,mcp-session-id,mcp-protocol-version
    cache-control: public, max-age=300

    {
      "resource": "https://deputize.test/api/v1/proxy",
      "authorization_servers": [
        "https://deputize.test"
      ],
      "scopes_supported": [
        "tools:call"
      ],
      "bearer_methods_supported": [
        "header"
      ]
    }
    "#);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_described_like_one_that_is() {
    let app = TestApp::start().await;
    app.server("demo").await;
    let described = async |id: &str| {
        app.get(format!("/.well-known/oauth-protected-resource/api/v1/proxy/{id}/mcp")).await
    };
    let (there, not) = (described("demo").await, described("nowhere").await);
    assert_eq!(there.to_string().replace("demo", "nowhere"), not.to_string());
    for malformed in ["Demo", "a.b", "%22"] {
        assert_eq!(described(malformed).await.status, 404, "{malformed}");
    }
}
