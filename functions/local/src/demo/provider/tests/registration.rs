use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    BASE, CALLBACK, ISSUER, RESOURCE, Scenario, VERIFIER, assert_error, authorization, encode, json_of,
    text_of,
};

#[tokio::test]
async fn discovery_leads_from_the_server_to_every_endpoint() {
    let scenario = Scenario::new();
    let resource = json_of(scenario.get("/.well-known/oauth-protected-resource/demo/oauth-mcp").await).await;
    assert_eq!(resource["resource"], RESOURCE);
    assert_eq!(resource["authorization_servers"], json!([ISSUER]));
    assert_eq!(resource["scopes_supported"], json!(["chat:read"]));
    let metadata = json_of(scenario.get("/.well-known/oauth-authorization-server/demo/oauth").await).await;
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["scopes_supported"], json!(["chat:read", "chat:write", "offline_access"]));
    for endpoint in ["authorization", "token", "registration", "revocation"] {
        let address = metadata[format!("{endpoint}_endpoint")].as_str().unwrap().to_owned();
        let path = address.strip_prefix(BASE).unwrap();
        assert_ne!(scenario.post(path, &[]).await.status(), StatusCode::NOT_FOUND, "{address}");
    }
}

#[tokio::test]
async fn a_registration_is_bounded() {
    let scenario = Scenario::new();
    for (registration, error) in [
        (json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://example.com/"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://127.0.0.1.example.com/"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://example.com/#here"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://me@example.com/"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["javascript:alert(1)"] }), "invalid_redirect_uri"),
        (json!({ "client_name": "no address" }), "invalid_client_metadata"),
        (json!({ "redirect_uris": [CALLBACK], "client_name": "n".repeat(101) }), "invalid_client_metadata"),
        (
            json!({ "redirect_uris": [format!("https://example.com/{}", "p".repeat(700))] }),
            "invalid_client_metadata",
        ),
        (
            json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt" }),
            "invalid_client_metadata",
        ),
    ] {
        assert_error(&scenario.register(&registration).await, error);
    }
    let uri = format!("https://example.com/{}", "p".repeat(500));
    let (status, largest) =
        scenario.register(&json!({ "redirect_uris": [uri], "client_name": "n".repeat(100) })).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(largest["client_id"].as_str().unwrap().len() < 1024);
}

#[tokio::test]
async fn a_client_with_a_secret_must_prove_it() {
    let scenario = Scenario::new();
    let registration = json!({ "client_name": "Test client", "redirect_uris": [CALLBACK] });
    let (_, registered) = scenario.register(&registration).await;
    assert_eq!(registered["token_endpoint_auth_method"], "client_secret_basic");
    let (_, again) = scenario.register(&registration).await;
    assert_ne!(registered["client_secret"], again["client_secret"]);

    let id = registered["client_id"].as_str().unwrap();
    let code = scenario.code(id, "chat:read").await;
    assert_error(&scenario.exchange(id, &code).await, "invalid_client");
    let form = encode(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("resource", RESOURCE),
    ]);
    for (secret, status) in
        [(&again["client_secret"], StatusCode::UNAUTHORIZED), (&registered["client_secret"], StatusCode::OK)]
    {
        let credentials = BASE64_STANDARD.encode(format!("{id}:{}", secret.as_str().unwrap()));
        let request = Request::post("/demo/oauth/token")
            .header("authorization", format!("Basic {credentials}"))
            .body(Body::from(form.clone()));
        assert_eq!(scenario.send(request.unwrap()).await.status(), status);
    }
}

#[tokio::test]
async fn html_in_a_clients_name_is_text() {
    let scenario = Scenario::new();
    let registration = json!({
        "client_name": "<script>alert(1)</script>\"", "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
    });
    let (_, registered) = scenario.register(&registration).await;
    let request = authorization(registered["client_id"].as_str().unwrap(), &[]);
    let page = text_of(scenario.get(&request).await).await;
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
}
