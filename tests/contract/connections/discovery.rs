//! Finding a server's authorization server, and what is not believed on the way.

use deputize_core::table::Key;
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Chat, acting_as};

#[tokio::test]
async fn the_challenge_names_the_metadata() {
    let chat = Chat::open().await;
    chat.connect(&chat.scenario.bob).await;
    assert_snapshot!(chat.provider.log().join("\n"), @"
    GET /metadata-of-the-server
    GET /.well-known/oauth-authorization-server/tenant
    register
    token authorization_code
    ");
}

#[tokio::test]
async fn without_a_named_metadata_the_well_known_address_is_asked() {
    let chat = Chat::open().await;
    chat.provider.script().challenge_names_metadata = false;
    chat.connect(&chat.scenario.bob).await;
    assert_snapshot!(chat.provider.log()[0], @"GET /.well-known/oauth-protected-resource/team/mcp");
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn the_providers_metadata_is_looked_for_in_the_prescribed_order() {
    for (path, tried) in [
        ("/.well-known/oauth-authorization-server/tenant", 1),
        ("/.well-known/openid-configuration/tenant", 2),
        ("/tenant/.well-known/openid-configuration", 3),
    ] {
        let chat = Chat::open().await;
        path.clone_into(&mut chat.provider.script().metadata_path);
        chat.begin(&chat.scenario.bob).await.ok();
        let log = chat.provider.log();
        let asked: Vec<_> = log.iter().filter(|entry| entry.contains("tenant")).collect();
        assert_eq!(asked.len(), tried, "{asked:?}");
        assert_eq!(asked.last().unwrap().as_str(), format!("GET {path}"));
    }
}

#[tokio::test]
async fn metadata_of_another_resource_or_issuer_is_not_believed() {
    let chat = Chat::open().await;
    let address = chat.provider.address().to_owned();
    let mut refusals = Vec::new();
    for resource in ["https://mcp.example.com/team/mcp", "http://127.0.0.1:1/team/mcp", "no URL"] {
        chat.provider.script().resource_metadata = [("resource", resource.into())].into();
        refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    }
    chat.provider.script().resource_metadata =
        [("resource", format!("{address}/team/mcp/more").into())].into();
    refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    chat.provider.script().resource_metadata.clear();
    for issuer in [format!("{address}/tenant/other"), "https://honest.example".to_owned()] {
        chat.provider.script().metadata = [("issuer", issuer.into())].into();
        refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    502 The MCP server's metadata is about another resource: https://mcp.example.com/team/mcp
    502 The MCP server's metadata is about another resource: http://127.0.0.1:[port]/team/mcp
    502 The MCP server's metadata is about another resource: no URL
    502 The MCP server's metadata is about another resource: http://127.0.0.1:[port]/team/mcp/more
    502 The authorization server's metadata is of another issuer: http://127.0.0.1:[port]/tenant/other
    502 The authorization server's metadata is of another issuer: https://honest.example
    ");
}

#[tokio::test]
async fn a_server_that_protects_all_its_origin_as_one_is_believed() {
    let chat = Chat::open().await;
    let resource = chat.provider.address().to_owned();
    chat.provider.script().resource_metadata = [("resource", resource.clone().into())].into();
    let begun = chat.begin(&chat.scenario.bob).await.ok();
    let encoded: String = form_urlencoded::byte_serialize(resource.as_bytes()).collect();
    let url = begun.field("authorization_url");
    assert!(url.contains(&format!("&resource={encoded}")), "{url}");
}

#[tokio::test]
async fn a_provider_without_pkce_is_refused() {
    let chat = Chat::open().await;
    let mut refusals = Vec::new();
    for methods in [Value::Null, json!([]), json!(["plain"])] {
        chat.provider.script().metadata = [("code_challenge_methods_supported", methods)].into();
        refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    }
    refusals.dedup();
    assert_snapshot!(refusals.join("\n"), @r#"
    502 The authorization server does not say that it supports PKCE with S256, which is required; if it does, an admin can say so: "pkce": "assume" in the server's oauth_client
    502 The authorization server does not support PKCE with S256, which is required
    "#);
}

#[tokio::test]
async fn what_is_no_metadata_is_told_and_not_quoted() {
    let chat = Chat::open().await;
    let mut refusals = Vec::new();
    let provider = &chat.provider;
    for wrong in [
        [("authorization_servers", json!([]))],
        [("authorization_servers", json!(["not a URL"]))],
        [("authorization_servers", json!(["https://a.example/?x=y"]))],
        [("authorization_servers", json!("x"))],
        [("resource", Value::Null)],
    ] {
        provider.script().resource_metadata = wrong.into();
        refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    }
    provider.script().resource_metadata.clear();
    for wrong in [
        [("token_endpoint", Value::Null)],
        [("token_endpoint", json!("no URL"))],
        [("authorization_endpoint", json!("javascript:alert(1)"))],
        [("authorization_endpoint", json!("http://user:secret@127.0.0.1/"))],
        [("token_endpoint", json!("http://169.254.169.254/latest"))],
        [("registration_endpoint", json!("http://[fe80::1]/register"))],
    ] {
        provider.script().metadata = wrong.into();
        refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    }
    provider.script().metadata.clear();
    provider.script().metadata_path = "/nowhere".to_owned();
    refusals.push(chat.begin(&chat.scenario.bob).await.refusal());
    assert_snapshot!(refusals.join("\n"), @"
    502 The MCP server's metadata names no authorization server
    502 The MCP server names an authorization server that is no issuer
    502 The MCP server names an authorization server that is no issuer
    502 The MCP server's metadata names no authorization server
    502 There is something wrong with the MCP server's protected resource metadata: it is no such document (line 1)
    502 There is something wrong with the authorization server's metadata: it is no such document (line 1)
    502 The authorization server's token_endpoint is not a URL
    502 An endpoint of the authorization server cannot be asked: its address is refused: only http and https URLs are allowed
    502 An endpoint of the authorization server cannot be asked: its address is refused: the URL must not contain a user name or password
    502 An endpoint of the authorization server cannot be asked: its address is refused: link-local addresses are not allowed
    502 An endpoint of the authorization server cannot be asked: its address is refused: link-local addresses are not allowed
    502 The authorization server has no metadata (RFC 8414, OpenID Connect Discovery); an admin can give its authorization_endpoint and token_endpoint in the server's oauth_client
    ");
}

#[tokio::test]
async fn a_server_without_metadata_needs_an_issuer_from_an_admin() {
    let chat = Chat::open().await;
    let app = &chat.scenario.app;
    // No server listens there.
    app.server("gone").at("http://127.0.0.1:9/mcp").oauth().await;
    // It answers, but requires no token.
    let open = deputize_tests::McpServer::start().await;
    app.server("open").at(open.open_url()).oauth().await;
    let mut refusals = Vec::new();
    for server in ["gone", "open"] {
        let path = format!("/api/v1/servers/{server}/connect");
        refusals.push(app.post(path).as_user(&chat.scenario.bob).await.refusal());
    }
    assert_snapshot!(refusals.join("\n"), @"
    502 The MCP server cannot be asked: it cannot be reached
    502 The MCP server has no protected resource metadata (RFC 9728), and no authorization server at its own address; register it with the issuer and a client in oauth_client
    ");
}

#[tokio::test]
async fn a_server_that_names_ever_new_authorization_servers_pushes_out_its_own_clients_and_no_more() {
    let chat = Chat::open().await;
    let (app, bob) = (&chat.scenario.app, &chat.scenario.bob);
    chat.connect(bob).await;
    let ours = Key::oauth_client(&"chat".parse().unwrap(), &chat.provider.issuer());
    let client = |n: usize| {
        let issuer = format!("https://as{n}.example.com");
        (Key::oauth_client(&"chat".parse().unwrap(), &issuer), issuer)
    };
    for n in 0..24 {
        let (key, issuer) = client(n);
        app.copy(&ours, &key, |client| {
            client["provider"]["M"]["issuer"]["S"] = issuer.into();
            client["registered_at"]["S"] = format!("2026-01-{:02}T00:00:00.000Z", 24 - n).into();
        });
    }
    app.remove(&ours.pk, &ours.sk);
    app.server("other").at("https://other.example.com/mcp").oauth().await;
    app.copy(&client(0).0, &Key::oauth_client(&"other".parse().unwrap(), &client(0).1), |_| {});
    chat.begin(bob).await.ok();
    let contents = app.contents();
    let of = |server: &str| {
        let clients = format!("SERVER#{server} CLIENT#");
        contents.keys().filter(|key| key.starts_with(&clients)).count()
    };
    assert_eq!((of("chat"), of("other")), (20, 1));
    // The oldest ones are removed.
    for n in 0..24 {
        let key = client(n).0;
        assert_eq!(contents.contains_key(&format!("{} {}", key.pk, key.sk)), n < 19, "{n}");
    }
    chat.connect(bob).await;
    assert_eq!(chat.provider.count("register"), 2);
}

#[tokio::test]
async fn an_issuer_may_name_itself_with_a_slash_that_the_server_leaves_out() {
    let chat = Chat::open().await;
    let issuer = format!("{}/", chat.provider.issuer());
    chat.provider.script().metadata = [("issuer", issuer.into())].into();
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn metadata_is_looked_for_at_the_next_address_if_one_fails() {
    for (at, fails) in [
        ("/.well-known/openid-configuration/tenant", "/.well-known/oauth-authorization-server/tenant"),
        ("/tenant/.well-known/openid-configuration", "/.well-known/openid-configuration/tenant"),
        ("/.well-known/oauth-authorization-server/tenant", "/metadata-of-the-server"),
    ] {
        let chat = Chat::open().await;
        at.clone_into(&mut chat.provider.script().metadata_path);
        for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND, StatusCode::FORBIDDEN] {
            chat.provider.script().fails_at = Some((fails, status));
            chat.begin(&chat.scenario.bob).await.ok();
        }
    }
    // If there is none, the first failure is told.
    let chat = Chat::open().await;
    "/nowhere".clone_into(&mut chat.provider.script().metadata_path);
    let fails = "/.well-known/oauth-authorization-server/tenant";
    chat.provider.script().fails_at = Some((fails, StatusCode::INTERNAL_SERVER_ERROR));
    let refusal = chat.begin(&chat.scenario.bob).await.refusal();
    assert_snapshot!(refusal, @"502 The authorization server's metadata cannot be asked: it answered HTTP 500 Internal Server Error");
}

#[tokio::test]
async fn of_several_authorization_servers_the_first_that_can_be_used_is_used() {
    let chat = Chat::open().await;
    let named = json!([format!("{}/nothing-here", chat.provider.address()), chat.provider.issuer()]);
    chat.provider.script().resource_metadata = [("authorization_servers", named)].into();
    chat.connect(&chat.scenario.bob).await;
    assert_eq!(acting_as(&chat.call(&chat.scenario.bob).await), "bob");
}

#[tokio::test]
async fn metadata_whose_optional_fields_are_null_or_of_another_type_is_read() {
    let chat = Chat::open().await;
    let provider = &chat.provider;
    for wrong in [Value::Null, json!("S256"), json!(7), json!({})] {
        let metadata = ["scopes_supported", "client_id_metadata_document_supported"];
        provider.script().metadata = metadata.map(|name| (name, present(&wrong))).into();
        provider.script().resource_metadata = [("scopes_supported", present(&wrong))].into();
        chat.begin(&chat.scenario.bob).await.ok();
    }
    let named = json!([provider.mcp_url()]);
    provider.script().resource_metadata = [("resource", named)].into();
    chat.begin(&chat.scenario.bob).await.ok();
}

/// `null` itself: in a script it would remove the field.
fn present(value: &Value) -> Value {
    if value.is_null() { json!([null]) } else { value.clone() }
}
