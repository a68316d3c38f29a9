//! A service that is reached at a path, such as a stage of API Gateway: every address that it tells is below it.

use deputize_tests::{Provider, TestApp};
use serde_json::json;

const URL: &str = "https://abc123.execute-api.eu-central-1.amazonaws.com/v1";

#[tokio::test]
async fn metadata_names_the_service_where_it_is() {
    let app = TestApp::start_at(URL).await;
    let metadata = app.get("/.well-known/oauth-authorization-server").await.ok().json();
    assert_eq!(metadata["issuer"], URL);
    for field in ["token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri"] {
        assert!(metadata[field].as_str().unwrap().starts_with(&format!("{URL}/")), "{field}: {metadata}");
    }
    let resource = app.get("/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp").await.ok().json();
    assert_eq!(resource["resource"], format!("{URL}/api/v1/proxy/demo/mcp"));
    assert_eq!(resource["authorization_servers"], json!([URL]));
}

#[tokio::test]
async fn a_401_leads_to_metadata_that_can_be_reached() {
    let app = TestApp::start_at(URL).await;
    let answer = app.call("demo", "t", &json!({})).await;
    let challenge = answer.header("www-authenticate").unwrap();
    let url = format!("{URL}/.well-known/oauth-protected-resource/api/v1/proxy/demo/mcp");
    assert!(challenge.contains(&format!(r#"resource_metadata="{url}""#)), "{challenge}");
    app.get(url.strip_prefix(URL).unwrap()).await.ok();
}

#[tokio::test]
async fn metadata_is_also_where_the_rfcs_and_the_sdks_look_for_it() {
    let app = TestApp::start_at(URL).await;
    let metadata = app.get("/.well-known/oauth-authorization-server").await.ok().json();
    assert_eq!(app.get("/.well-known/oauth-authorization-server/v1").await.ok().json(), metadata);
    for path in ["/.well-known/openid-configuration", "/.well-known/openid-configuration/v1"] {
        let openid = app.get(path).await.ok().json();
        assert_eq!(openid["issuer"], URL);
        assert_eq!(openid["token_endpoint"], metadata["token_endpoint"]);
        assert_eq!(openid["subject_types_supported"], json!(["public"]));
    }
    let inserted =
        app.get("/.well-known/oauth-protected-resource/v1/api/v1/proxy/demo/mcp").await.ok().json();
    assert_eq!(inserted["resource"], format!("{URL}/api/v1/proxy/demo/mcp"));
    for other in [
        "/.well-known/oauth-authorization-server/v2",
        "/.well-known/openid-configuration/v1/more",
        "/.well-known/oauth-protected-resource/v2/api/v1/proxy/demo/mcp",
        "/.well-known/oauth-protected-resource/v1/api/v1/proxy/demo",
    ] {
        assert_eq!(app.get(other).await.status, 404, "{other}");
    }
}

#[tokio::test]
async fn without_a_path_there_is_no_metadata_below_one() {
    let app = TestApp::start().await;
    for other in ["/.well-known/oauth-authorization-server/v1", "/.well-known/openid-configuration/v1"] {
        assert_eq!(app.get(other).await.status, 404, "{other}");
    }
}

#[tokio::test]
async fn a_token_is_the_services_and_good_below_the_path() {
    let app = TestApp::start_at(URL).await;
    let alice = app.user("alice").admin().await;
    let bot = app.agent("bot", &alice).await;
    let token = app.m2m(&bot).await;
    let inspected = app.about_token("introspect", &bot, &token).await.ok().json();
    assert_eq!((&inspected["active"], &inspected["iss"]), (&json!(true), &json!(URL)));
    assert_eq!(inspected["aud"], format!("{URL}/api/v1/proxy"));
    // The agent is admitted, and the server does not exist.
    assert_eq!(app.call("none", "t", &json!({})).bearer(&token).await.status, 404);
}

#[tokio::test]
async fn the_next_pages_address_is_below_the_path() {
    let app = TestApp::start_at(URL).await;
    let alice = app.user("alice").admin().await;
    app.user("bob").await;
    let page = app.get("/api/v1/users?limit=1").as_user(&alice).await.ok();
    let link = page.header("link").unwrap();
    assert!(link.starts_with("</v1/api/v1/users?limit=1&cursor="), "{link}");
}

#[tokio::test]
async fn a_connection_comes_back_to_the_path_with_its_cookie() {
    let app = TestApp::start_at(URL).await;
    let provider = Provider::start().await;
    let alice = app.user("alice").admin().await;
    let server = json!({ "id": "notes", "name": "Notes", "url": provider.mcp_url(), "auth": "oauth" });
    app.post("/api/v1/servers").as_user(&alice).json(&server).await.ok();
    let answer = app.post("/api/v1/servers/notes/connect").as_user(&alice).await.ok();
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("Path=/v1/api/v1/oauth/callback;"), "{cookie}");
    let url: url::Url = answer.json()["authorization_url"].as_str().unwrap().parse().unwrap();
    let back = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
    assert_eq!(back, format!("{URL}/api/v1/oauth/callback"));
}

#[tokio::test]
async fn our_own_page_is_known_by_its_origin() {
    let app = TestApp::start_at(URL).await;
    let origin = "https://abc123.execute-api.eu-central-1.amazonaws.com";
    let confirm = |origin: &str| {
        let form = app.post("/api/v1/oauth/callback").form(&[("state", "x")]).header("accept", "text/html");
        form.header("origin", origin)
    };
    assert_ne!(confirm(origin).await.status, 403);
    assert_eq!(confirm("https://elsewhere.example").await.status, 403);
}

#[tokio::test]
async fn the_api_description_names_the_service_where_it_is() {
    let app = TestApp::start_at(URL).await;
    let document = app.get("/openapi.json").await.ok().json();
    assert_eq!(document["servers"], json!([{ "url": URL }]));
}
