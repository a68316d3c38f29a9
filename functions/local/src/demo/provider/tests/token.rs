use std::{os::unix::fs::PermissionsExt, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{ALL_SCOPES, BASE, BOB, CALLBACK, ISSUER, RESOURCE, Scenario, assert_error, text_of};

#[tokio::test]
async fn a_code_is_only_good_with_all_that_it_is_bound_to() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let other = json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" });
    let (_, other) = scenario.register(&other).await;
    let other = other["client_id"].as_str().unwrap();
    let wrong_verifier = "w".repeat(43);
    for (edit, error) in [
        (("code_verifier", wrong_verifier.as_str()), "invalid_grant"),
        (("code_verifier", ""), "invalid_request"),
        (("redirect_uri", "http://127.0.0.1:9000/callback"), "invalid_grant"),
        (("redirect_uri", ""), "invalid_grant"),
        (("client_id", other), "invalid_grant"),
        (("client_id", "nobody"), "invalid_client"),
        (("resource", "http://127.0.0.1:8787/demo/mcp"), "invalid_target"),
        (("resource", ""), "invalid_target"),
        (("grant_type", "password"), "unsupported_grant_type"),
        (("grant_type", ""), "invalid_request"),
        (("code", "no-code"), "invalid_grant"),
        (("code", "no.code"), "invalid_grant"),
    ] {
        let code = scenario.code(&client, ALL_SCOPES).await;
        assert_error(&scenario.exchange_with(&client, &code, &[edit]).await, error);
    }
    let code = scenario.code(&client, ALL_SCOPES).await;
    scenario.clock.advance(Duration::from_secs(60));
    assert_error(&scenario.exchange(&client, &code).await, "invalid_grant");
}

#[tokio::test]
async fn a_code_used_twice_ends_what_came_of_it() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let code = scenario.code(&client, ALL_SCOPES).await;
    let (_, tokens) = scenario.exchange(&client, &code).await;
    let others = scenario.tokens(&client).await;
    assert!(scenario.access(&tokens).is_some());
    assert_error(&scenario.exchange(&client, &code).await, "invalid_grant");
    assert_eq!(scenario.access(&tokens), None);
    assert_error(&scenario.refresh(&client, &tokens["refresh_token"], &[]).await, "invalid_grant");
    assert!(scenario.access(&others).is_some(), "another authorization is not affected");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_leads_to_the_next() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let mut tokens = scenario.tokens(&client).await;
    for _ in 0..3 {
        scenario.clock.advance(Duration::from_secs(4000));
        assert_eq!(scenario.access(&tokens), None);
        let (status, next) = scenario.refresh(&client, &tokens["refresh_token"], &[]).await;
        assert_eq!((status, next["scope"].as_str()), (StatusCode::OK, Some(ALL_SCOPES)));
        assert_ne!(next["refresh_token"], tokens["refresh_token"]);
        tokens = next;
        assert!(scenario.access(&tokens).is_some());
    }
}

#[tokio::test]
async fn a_refresh_token_used_again_ends_its_family() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let first = scenario.tokens(&client).await;
    let (_, second) = scenario.refresh(&client, &first["refresh_token"], &[]).await;
    assert!(scenario.access(&second).is_some());
    assert_error(&scenario.refresh(&client, &first["refresh_token"], &[]).await, "invalid_grant");
    assert_eq!(scenario.access(&second), None);
    assert_error(&scenario.refresh(&client, &second["refresh_token"], &[]).await, "invalid_grant");
}

#[tokio::test]
async fn of_two_refreshes_at_once_one_loses_and_both_are_out() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let tokens = scenario.tokens(&client).await;
    let token = &tokens["refresh_token"];
    let (one, other) =
        tokio::join!(scenario.refresh(&client, token, &[]), scenario.refresh(&client, token, &[]));
    let (won, lost) = if one.0 == StatusCode::OK { (one, other) } else { (other, one) };
    assert_eq!(won.0, StatusCode::OK);
    assert_error(&lost, "invalid_grant");
    assert_eq!(scenario.access(&won.1), None);
}

#[tokio::test]
async fn a_refresh_narrows_but_does_not_widen() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let (_, tokens) =
        scenario.exchange(&client, &scenario.code(&client, "chat:read offline_access").await).await;
    let token = &tokens["refresh_token"];
    assert_error(&scenario.refresh(&client, token, &[("scope", "chat:write")]).await, "invalid_scope");
    assert_error(&scenario.refresh(&client, token, &[("resource", "")]).await, "invalid_target");
    let other = json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" });
    let (_, other) = scenario.register(&other).await;
    let other = other["client_id"].as_str().unwrap();
    assert_error(&scenario.refresh(other, token, &[]).await, "invalid_grant");
    // The failed attempts have not used it up.
    let (status, narrowed) = scenario.refresh(&client, token, &[("scope", "chat:read")]).await;
    assert_eq!((status, narrowed["scope"].as_str()), (StatusCode::OK, Some("chat:read")));
}

#[tokio::test]
async fn revoking_either_token_ends_both() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    for kind in ["access_token", "refresh_token"] {
        let tokens = scenario.tokens(&client).await;
        let form = [("token", tokens[kind].as_str().unwrap()), ("client_id", client.as_str())];
        assert_eq!(scenario.post("/demo/oauth/revoke", &form).await.status(), StatusCode::OK);
        assert_eq!(scenario.access(&tokens), None);
        assert_error(&scenario.refresh(&client, &tokens["refresh_token"], &[]).await, "invalid_grant");
    }
    let unknown = [("token", "no.token"), ("client_id", client.as_str())];
    assert_eq!(scenario.post("/demo/oauth/revoke", &unknown).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_restart_keeps_every_client_and_every_token() {
    let mut scenario = Scenario::new();
    let client = scenario.client().await;
    let first = scenario.tokens(&client).await;
    let (_, second) = scenario.refresh(&client, &first["refresh_token"], &[]).await;
    let stolen = scenario.tokens(&client).await;
    let (_, _) = scenario.refresh(&client, &stolen["refresh_token"], &[]).await;

    scenario.restart(BASE);
    assert!(scenario.access(&second).is_some());
    let (status, third) = scenario.refresh(&client, &second["refresh_token"], &[]).await;
    assert_eq!(status, StatusCode::OK, "{third}");
    assert!(scenario.access(&third).is_some());
    assert_error(&scenario.refresh(&client, &stolen["refresh_token"], &[]).await, "invalid_grant");
}

#[tokio::test]
async fn at_another_address_its_tokens_are_for_another_server() {
    let mut scenario = Scenario::new();
    let client = scenario.client().await;
    let tokens = scenario.tokens(&client).await;
    scenario.restart("http://127.0.0.1:9999");
    assert_eq!(scenario.access(&tokens), None);
    let resource = ("resource", "http://127.0.0.1:9999/demo/oauth-mcp");
    assert_error(&scenario.refresh(&client, &tokens["refresh_token"], &[resource]).await, "invalid_grant");
}

#[tokio::test]
async fn the_file_is_private_and_holds_no_token() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let tokens = scenario.tokens(&client).await;
    let file = scenario.directory.join("demo-provider.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = std::fs::read_to_string(file).unwrap();
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    for part in refresh_token.split('.').chain([tokens["access_token"].as_str().unwrap()]) {
        assert!(!kept.contains(part));
    }
}

#[tokio::test]
async fn who_is_connected_from_the_beginning_has_tokens_like_any_others() {
    let scenario = Scenario::new();
    let issued = scenario.running().provider.connect(BOB).await.unwrap();
    assert_eq!((issued.issuer.as_str(), issued.resource.as_str()), (ISSUER, RESOURCE));
    assert_eq!((issued.expires_in, issued.scope.as_str()), (3600, "chat:read offline_access"));
    let registration = json!({
        "client_name": "Deputize", "redirect_uris": [format!("{BASE}/api/v1/oauth/callback")],
        "token_endpoint_auth_method": "none",
    });
    let (_, registered) = scenario.register(&registration).await;
    assert_eq!(registered["client_id"], issued.client_id, "a public client that registers again is the same");
    assert!(!format!("{issued:?}").contains(issued.access_token.expose_secret()));

    let refresh_token = json!(issued.refresh_token.unwrap().expose_secret());
    let (_, refreshed) = scenario.refresh(&issued.client_id, &refresh_token, &[]).await;
    assert_eq!(scenario.access(&refreshed), Some((BOB.to_owned(), "chat:read".to_owned())));
}

#[tokio::test]
async fn posting_asks_for_the_scope_that_a_token_lacks() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "post_message", "arguments": {"channel": "random", "text": "hello"}}});
    for (scope, status) in [("chat:read", StatusCode::FORBIDDEN), ("chat:read chat:write", StatusCode::OK)] {
        let (_, tokens) = scenario.exchange(&client, &scenario.code(&client, scope).await).await;
        let request = Request::post("/demo/oauth-mcp")
            .header("host", "127.0.0.1:8787")
            .header("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap()))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25");
        let response = scenario.send(request.body(Body::from(message.to_string())).unwrap()).await;
        assert_eq!(response.status(), status);
        if status == StatusCode::FORBIDDEN {
            let metadata = format!("{BASE}/.well-known/oauth-protected-resource/demo/oauth-mcp");
            let challenge = format!(
                r#"Bearer error="insufficient_scope", scope="chat:write", resource_metadata="{metadata}""#
            );
            assert_eq!(response.headers()["www-authenticate"], challenge.as_str());
        } else {
            assert!(text_of(response).await.contains("acting as bob@example.com: posted to #random"));
        }
    }
}
