//! Dynamic registration (RFC 7591), which stores nothing.

use std::{fmt::Write, time::Duration};

use deputize_core::{apps::AppSettings, vault::Vault};
use deputize_tests::{TestApp, app::root};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{CALLBACK, Desk, HERE, register, registered, request};

#[tokio::test]
async fn a_registration_is_answered_with_what_was_registered_and_narrows() {
    let app = TestApp::start().await;
    // As VS Code registers.
    let answer = register(
        &app,
        &json!({
            "client_name": "Visual\u{202e} Studio Code\n", "client_uri": "https://code.visualstudio.com",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code", "token"], "scope": "openid tools:call",
            "redirect_uris": [
                "https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect",
                "http://127.0.0.1/", "http://127.0.0.1:33418/", "javascript:alert(1)", 7,
            ],
            "token_endpoint_auth_method": "none", "application_type": "native", "logo_uri": "https://evil.test/x.png",
        }),
    )
    .await;
    app.call_it("client_id", answer.field("client_id"));
    assert_snapshot!(answer, @r#"
    201 Created

    {
      "client_id": "[client_id]",
      "client_id_issued_at": 1768467600,
      "client_name": "Visual Studio Code",
      "redirect_uris": [
        "https://insiders.vscode.dev/redirect",
        "https://vscode.dev/redirect",
        "http://127.0.0.1/",
        "http://127.0.0.1:[port]/"
      ],
      "token_endpoint_auth_method": "none",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "response_types": [
        "code"
      ]
    }
    "#);
}

#[tokio::test]
async fn a_client_id_is_short_and_of_few_characters() {
    let app = TestApp::start().await;
    let uris: Vec<String> =
        (0..20).map(|n| format!("https://app{n}.example.com/{}", "a".repeat(200))).collect();
    let answer =
        register(&app, &json!({ "client_name": "x".repeat(10_000), "redirect_uris": uris })).await.ok();
    let id = answer.field("client_id");
    assert!(id.len() <= 1500 && id.len() > 1000, "{}", id.len());
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{id}");
    // Of what was too long, the first ones are there.
    let kept = answer.json()["redirect_uris"].as_array().unwrap().clone();
    assert!((1..20).contains(&kept.len()));
    assert_eq!(kept[0], uris[0]);
    let long = format!("https://app.example.com/{}", "a".repeat(970));
    register(&app, &json!({ "redirect_uris": [long] })).await.ok();
}

#[tokio::test]
async fn cursors_three_uris_are_registered_at_once() {
    let app = TestApp::start().await;
    let uris = json!([
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ]);
    for method in [json!("none"), Value::Null] {
        let answer = register(&app, &json!({ "redirect_uris": uris, "token_endpoint_auth_method": method }))
            .await
            .ok();
        let (said, body) = (answer.json()["redirect_uris"].clone(), answer.json());
        assert_eq!((said, &body["token_endpoint_auth_method"]), (uris.clone(), &json!("none")));
        assert_eq!(body["client_secret"], Value::Null);
    }
    // A client that wants a secret has no scheme of its own.
    let secret = json!({ "redirect_uris": uris, "token_endpoint_auth_method": "client_secret_post" });
    let answer = register(&app, &secret).await.ok().json();
    assert_eq!(answer["redirect_uris"].as_array().unwrap().len(), 2);
    let only = json!({ "redirect_uris": [uris[0]], "token_endpoint_auth_method": "client_secret_post" });
    assert_eq!(register(&app, &only).await.ok().json()["token_endpoint_auth_method"], "none");
}

#[tokio::test]
async fn a_flood_of_registrations_stores_nothing() {
    let app = TestApp::start().await;
    registered(&app, "first", HERE).await;
    let before = (app.contents(), app.trail().len());
    for n in 0..30 {
        let metadata = json!({ "client_name": format!("n{n}"), "redirect_uris": [CALLBACK] });
        let (answer, round_trips) = app.round_trips(register(&app, &metadata)).await;
        answer.ok();
        assert_eq!(round_trips, []);
    }
    assert_eq!((app.contents(), app.trail().len()), before);
}

#[tokio::test]
async fn two_first_registrations_at_once_share_one_key() {
    let app = TestApp::start().await;
    let other = app.another(Vault::new(root(7), Vec::new())).await;
    let (one, two) = tokio::join!(registered(&app, "one", HERE), registered(&other, "one", HERE));
    assert_eq!(one, two);
}

#[tokio::test]
async fn a_registration_never_expires_and_is_known_to_each_process() {
    let desk = Desk::set().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    desk.app.pass(Duration::from_hours(24 * 365 * 10));
    let later = desk.app.on_web(&desk.documents);
    let page = later.person(&desk.bob).await.authorize(&request(&id, HERE, &[])).await.ok();
    assert!(page.words().contains("It calls itself “Cursor”"), "{}", page.words());
}

#[tokio::test]
async fn its_key_is_sealed_anew_under_a_new_root() {
    let app = TestApp::start().await;
    let id = registered(&app, "Cursor", HERE).await;
    let item = deputize_core::table::Key::registration_key();
    let old = app.root_of(&item, "sealed");
    let moved = app.another(Vault::new(root(8), vec![root(7)])).await;
    assert_eq!(registered(&moved, "Cursor", HERE).await, id);
    assert_ne!(app.root_of(&item, "sealed"), old);
    let alone = app.another(Vault::new(root(8), Vec::new())).await;
    assert_eq!(registered(&alone, "Cursor", HERE).await, id);
}

#[tokio::test]
async fn a_client_id_that_was_not_registered_here_is_no_app() {
    let desk = Desk::set().await;
    let browser = desk.browser().await;
    let id = registered(&desk.app, "Cursor", HERE).await;
    let elsewhere = registered(&TestApp::start().await, "Cursor", HERE).await;
    let mut tampered = vec![elsewhere, format!("{id}A"), id[..id.len() - 1].to_owned(), "dyn.".to_owned()];
    for at in (4..id.len()).step_by(7) {
        let other = if id.as_bytes()[at] == b'A' { "B" } else { "A" };
        tampered.push(format!("{}{other}{}", &id[..at], &id[at + 1..]));
    }
    for wrong in tampered {
        let page = browser.authorize(&request(&wrong, HERE, &[])).await;
        assert_eq!(
            (page.status.as_u16(), page.title().as_str()),
            (400, "This app is not known here"),
            "{wrong}"
        );
        assert_eq!(page.way_back(), None);
        let refused = super::redeem(&desk.app, &wrong, HERE, "dpc_x").await;
        assert_eq!(refused.status, 401, "{refused}");
    }
}

#[tokio::test]
async fn registering_anothers_metadata_gives_a_client_and_a_secret_of_ones_own() {
    let app = TestApp::start().await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": [CALLBACK] });
    let (one, two) = (register(&app, &metadata).await.ok(), register(&app, &metadata).await.ok());
    assert_ne!(one.field("client_id"), two.field("client_id"));
    assert_ne!(one.field("client_secret"), two.field("client_secret"));
    assert_eq!(one.json()["client_secret_expires_at"], 0);
    assert_eq!(one.json()["token_endpoint_auth_method"], "client_secret_basic");
    // Nor does turning it public help: that is another client.
    let mut public = metadata.clone();
    public["token_endpoint_auth_method"] = "none".into();
    let public = register(&app, &public).await.ok();
    assert_ne!(public.field("client_id"), one.field("client_id"));
    assert_eq!(public.json()["client_secret"], Value::Null);
}

#[tokio::test]
async fn the_secret_is_required_from_then_on() {
    let desk = Desk::set().await;
    let client = register(&desk.app, &json!({ "redirect_uris": [CALLBACK] })).await.ok();
    let (id, secret) = (client.field("client_id"), client.field("client_secret"));
    let browser = desk.browser().await;
    let redeemed = async |secret: Option<&str>| {
        let page = browser.authorize(&request(&id, CALLBACK, &[])).await.ok();
        let code = browser.press(&page, "allow").await.sent_with("code").unwrap();
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &*id),
            ("code", &*code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", super::VERIFIER),
        ];
        fields.extend(secret.map(|secret| ("client_secret", secret)));
        desk.app.token(&fields).await
    };
    assert_eq!(redeemed(None).await.status, 401);
    let other =
        register(&desk.app, &json!({ "redirect_uris": [CALLBACK] })).await.ok().field("client_secret");
    assert_eq!(redeemed(Some(&other)).await.status, 401);
    redeemed(Some(&secret)).await.ok();
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused_with_the_reason() {
    let app = TestApp::start().await;
    let mut table = String::new();
    for (what, body) in [
        ("no JSON", "{".to_owned()),
        ("a list", "[]".to_owned()),
        ("a number", "7".to_owned()),
        ("nothing", "{}".to_owned()),
        ("no list", json!({ "redirect_uris": CALLBACK }).to_string()),
        ("an empty list", json!({ "redirect_uris": [] }).to_string()),
        ("javascript", json!({ "redirect_uris": ["javascript:alert(1)"] }).to_string()),
        ("http elsewhere", json!({ "redirect_uris": ["http://app.example.com/"] }).to_string()),
        (
            "keys that are none",
            json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt" })
                .to_string(),
        ),
        (
            "a key on another curve",
            json!({
                "redirect_uris": [CALLBACK],
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks": { "keys": [{ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }] },
            })
            .to_string(),
        ),
    ] {
        let answer = app.post("/api/v1/oauth/register").body("application/json", body).await;
        let said = answer.json();
        writeln!(table, "{what}: {} {} {}", answer.status.as_u16(), said["error"], said["error_description"])
            .unwrap();
    }
    assert_snapshot!(table, @r#"
    no JSON: 400 "invalid_client_metadata" "the body must be a JSON object of client metadata (RFC 7591 section 2)"
    a list: 400 "invalid_client_metadata" "the body must be a JSON object of client metadata (RFC 7591 section 2)"
    a number: 400 "invalid_client_metadata" "the body must be a JSON object of client metadata (RFC 7591 section 2)"
    nothing: 400 "invalid_redirect_uri" "redirect_uris must be a list with at least one URI"
    no list: 400 "invalid_redirect_uri" "redirect_uris must be a list with at least one URI"
    an empty list: 400 "invalid_redirect_uri" "redirect_uris must be a list with at least one URI"
    javascript: 400 "invalid_redirect_uri" "javascript:alert(1) cannot be a redirect URI: its scheme must be https, http on this computer, or a known app's own"
    http elsewhere: 400 "invalid_redirect_uri" "http://app.example.com/ cannot be a redirect URI: http is for this computer alone: localhost, 127.0.0.1 or [::1]"
    keys that are none: 400 "invalid_client_metadata" "private_key_jwt needs jwks with a usable public key, or a jwks_uri with https"
    a key on another curve: 400 "invalid_client_metadata" "private_key_jwt needs jwks with a usable public key, or a jwks_uri with https; of the key that is there: it must be EC with crv P-256 or P-384, OKP with crv Ed25519, or RSA"
    "#);
    let form = app.post("/api/v1/oauth/register").form(&[("redirect_uris", CALLBACK)]).await;
    assert_eq!(form.status, 415);
    let huge = json!({ "redirect_uris": [CALLBACK], "client_name": "x".repeat(17 * 1024) });
    assert_eq!(register(&app, &huge).await.status, 413);
}

#[tokio::test]
async fn absent_fields_are_absent() {
    let app = TestApp::start().await;
    let sent = json!({ "redirect_uris": [HERE], "client_name": null, "jwks_uri": "", "token_endpoint_auth_method": "none" });
    let answer = register(&app, &sent).await.ok();
    assert!(!answer.text.contains("null") && !answer.text.contains("\"\""), "{answer}");
    assert_eq!(answer.json()["grant_types"], json!(["authorization_code", "refresh_token"]));
}

#[tokio::test]
async fn a_client_with_keys_is_registered_with_them() {
    let app = TestApp::start().await;
    let sent = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "https://app.example.com/jwks.json",
    });
    let answer = register(&app, &sent).await.ok().json();
    assert_eq!(answer["token_endpoint_auth_method"], "private_key_jwt");
    assert_eq!(answer["client_secret"], Value::Null);
}

#[tokio::test]
async fn a_deployment_can_take_no_registrations_and_list_hosts_and_schemes() {
    let closed = AppSettings::default().taking("documents,admin").unwrap();
    let app = TestApp::start_taking(closed).await;
    let refused = register(&app, &json!({ "redirect_uris": [HERE] })).await;
    assert_snapshot!(refused.refusal(), @"403 This deployment takes no registrations: its admin registers apps");

    let few = AppSettings::default().from_hosts("app.example.com").unwrap().with_schemes("myapp").unwrap();
    let app = TestApp::start_taking(few).await;
    let sent = json!({
        "redirect_uris": [CALLBACK, "https://evil.test/cb", HERE, "myapp://cb"], "token_endpoint_auth_method": "none",
    });
    assert_eq!(
        register(&app, &sent).await.ok().json()["redirect_uris"],
        json!([CALLBACK, HERE, "myapp://cb"])
    );
    let refused = register(&app, &json!({ "redirect_uris": ["https://evil.test/cb"] })).await;
    assert_snapshot!(refused.refusal(), @"400 https://evil.test/cb is at a host that this deployment does not allow");
}
