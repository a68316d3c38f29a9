use std::time::Duration;

use axum::http::StatusCode;

use super::{ALL_SCOPES, BOB, ISSUER, Scenario, authorization, redirected, text_of};

#[tokio::test]
async fn the_whole_flow_ends_in_a_token_that_the_server_takes() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let page = scenario.get(&authorization(&client, &[])).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert_eq!(page.headers()["x-frame-options"], "DENY");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("form-action"), "{policy}");
    let page = text_of(page).await;
    for part in ["Test client", "127.0.0.1:9000", "chat:write", "bob@example.com", r#"id="allow""#] {
        assert!(page.contains(part), "{part}: {page}");
    }

    let (to, mut parameters) = redirected(&scenario.allow(&authorization(&client, &[])).await);
    assert_eq!(to, "http://127.0.0.1:9000/callback");
    let code = parameters.remove("code").unwrap();
    let others = [("tenant", "1"), ("state", "s t&te"), ("iss", ISSUER)];
    assert_eq!(parameters, others.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    let (status, tokens) = scenario.exchange(&client, &code).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3600);
    assert_eq!(tokens["scope"], ALL_SCOPES);
    assert_eq!(scenario.access(&tokens), Some((BOB.to_owned(), "chat:read chat:write".to_owned())));
    scenario.clock.advance(Duration::from_secs(3600));
    assert_eq!(scenario.access(&tokens), None, "it has expired");
}

#[tokio::test]
async fn what_was_not_ticked_is_not_granted() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let password = &scenario.running().password;
    let form = [("decision", "allow"), ("user", BOB), ("password", password), ("chat:read", "yes")];
    let (_, parameters) = redirected(&scenario.post(&authorization(&client, &[]), &form).await);
    let (_, tokens) = scenario.exchange(&client, &parameters["code"]).await;
    assert_eq!((tokens["scope"].as_str(), tokens.get("refresh_token")), (Some("chat:read"), None));
    assert_eq!(scenario.access(&tokens).unwrap().1, "chat:read");

    let nothing = [("decision", "allow"), ("user", BOB), ("password", password), ("offline_access", "yes")];
    let again = scenario.post(&authorization(&client, &[]), &nothing).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_was_not_asked_for_cannot_be_ticked() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let (_, tokens) = scenario.exchange(&client, &scenario.code(&client, "chat:read").await).await;
    assert_eq!((tokens["scope"].as_str(), tokens.get("refresh_token")), (Some("chat:read"), None));
}

#[tokio::test]
async fn denying_needs_no_password_and_is_told_to_the_client() {
    let scenario = Scenario::new();
    let request = authorization(&scenario.client().await, &[]);
    let (to, parameters) = redirected(&scenario.post(&request, &[("decision", "deny")]).await);
    assert_eq!(to, "http://127.0.0.1:9000/callback");
    assert_eq!(parameters["error"], "access_denied");
    assert_eq!((parameters["state"].as_str(), parameters["iss"].as_str()), ("s t&te", ISSUER));
    assert!(!parameters.contains_key("code"));
}

#[tokio::test]
async fn a_wrong_password_leads_back_to_the_page() {
    let scenario = Scenario::new();
    let request = authorization(&scenario.client().await, &[]);
    let form = [("decision", "allow"), ("user", BOB), ("password", "guess"), ("chat:read", "yes")];
    let response = scenario.post(&request, &form).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let page = text_of(response).await;
    assert!(page.contains("That is not the demo's password."), "{page}");
    assert!(!page.contains("guess"));
}

#[tokio::test]
async fn whoever_cannot_be_trusted_with_a_redirect_gets_a_page() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    let forged = format!("{}x", client.split_once('.').unwrap().0);
    for edit in [
        ("redirect_uri", "http://127.0.0.1:9000/callback"),
        ("redirect_uri", "https://evil.example/"),
        ("redirect_uri", ""),
        ("client_id", "nobody"),
        ("client_id", forged.as_str()),
        ("client_id", ""),
    ] {
        for response in [
            scenario.get(&authorization(&client, &[edit])).await,
            scenario.allow(&authorization(&client, &[edit])).await,
        ] {
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{edit:?}");
            assert!(!response.headers().contains_key("location"));
            assert!(text_of(response).await.contains("This link does not work"));
        }
    }
    let twice = authorization(&client, &[]) + "&state=another";
    assert_eq!(scenario.get(&twice).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_a_client_does_wrong_is_told_to_it() {
    let scenario = Scenario::new();
    let client = scenario.client().await;
    for (edit, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("resource", "http://127.0.0.1:8787/demo/mcp"), "invalid_target"),
        (("resource", ""), "invalid_target"),
        (("scope", "chat:read admin"), "invalid_scope"),
        (("scope", "offline_access"), "invalid_scope"),
    ] {
        for response in [
            scenario.get(&authorization(&client, &[edit])).await,
            scenario.allow(&authorization(&client, &[edit])).await,
        ] {
            let (_, parameters) = redirected(&response);
            assert_eq!(parameters["error"], error, "{edit:?}");
            assert_eq!((parameters["state"].as_str(), parameters["iss"].as_str()), ("s t&te", ISSUER));
        }
    }
}
