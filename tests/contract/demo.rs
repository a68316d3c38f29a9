//! The demo organization: who is in it, and what becomes of its people at a later start.

use std::{fs, path::PathBuf, sync::Arc};

use deputize_core::{
    connections::registration::redirect_uri, sessions::Session, table::Key, trail::EVENTS_SETTLE_IN,
};
use deputize_local::{
    data_dir::DataDir,
    demo::{DemoIssuer, Organization, Provider},
};
use deputize_tests::{TestApp, TestResponse};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};

const URL: &str = "http://127.0.0.1:8787";

/// A service, and the data directory of its demo.
struct Demo {
    app: TestApp,
    path: PathBuf,
    data: Arc<DataDir>,
}

impl Demo {
    async fn set() -> Self {
        let path = std::env::temp_dir().join(format!("deputize-demo-{}", uuid::Uuid::new_v4()));
        let data = Arc::new(DataDir::open(&path).unwrap());
        Self { app: TestApp::start().await, path, data }
    }

    /// What a start of the local server does.
    async fn start(&self, url: &str) -> Organization {
        let (core, data) = (&self.app.core, &self.data);
        let issuer = DemoIssuer::open(data, url, url).unwrap();
        let provider = Provider::open(data, url, redirect_uri(&core.settings), &issuer, &core.clock).unwrap();
        Organization::open(core, data, url, &issuer, &provider).await.unwrap()
    }

    /// The names that `demo.env` sets.
    fn names(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join("demo.env")).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("export "));
        lines.map(|line| line.split('=').next().unwrap().to_owned()).collect()
    }

    async fn me(&self, key: &str) -> TestResponse {
        self.app.get("/api/v1/me").bearer(key).await
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[tokio::test]
async fn an_auditor_sees_everything_and_an_operator_stops_what_is_other_peoples() {
    let demo = Demo::set().await;
    let organization = demo.start(URL).await;
    let staff = organization.staff.as_ref().unwrap();
    let (erin, frank) = (&staff.erin.api_key, &staff.frank.api_key);
    for (key, role) in [
        (&organization.alice.api_key, "admin"),
        (&organization.bob.api_key, "user"),
        (erin, "auditor"),
        (frank, "operator"),
    ] {
        assert_eq!(demo.me(key).await.ok().field("role"), role);
    }
    let app = &demo.app;
    let change = |body: &Value, key: &str| {
        app.patch(format!("/api/v1/users/{}", organization.bob.id)).json(body).bearer(key)
    };
    let (stop, rename) = (json!({ "active": false }), json!({ "name": "Robert" }));
    for path in ["/api/v1/users", "/api/v1/audit-events", "/api/v1/servers/demo-oauth/connections"] {
        app.get(path).bearer(erin).await.ok();
    }
    let refused = [change(&stop, erin).await, change(&rename, erin).await, change(&rename, frank).await];
    assert_snapshot!(refused.map(|answer| answer.refusal()).join("\n"), @"
    403 Only an operator or an admin may do this
    403 Only an admin may do this
    403 Only an admin may do this
    ");
    assert_eq!(change(&stop, frank).await.ok().field("deactivated_by"), "operator");
    for name in ["ERIN_ID", "ERIN_API_KEY", "FRANK_ID", "FRANK_API_KEY"] {
        assert!(demo.names().iter().any(|set| set == name), "{name}");
    }
    // Another start changes nothing of that.
    let again = demo.start(URL).await;
    assert_eq!(again.staff.unwrap().erin.api_key, *erin);
    assert_eq!(demo.me(&organization.bob.api_key).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_data_directory_from_before_gets_an_auditor_and_an_operator_once() {
    let demo = Demo::set().await;
    let first = demo.start(URL).await;
    // As it was before: nothing of the two is in the table, or in the file.
    let staff = first.staff.as_ref().unwrap();
    let file = demo.path.join("demo-secrets.json");
    let mut secrets: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    secrets.as_object_mut().unwrap().remove("staff").unwrap();
    fs::write(&file, secrets.to_string()).unwrap();
    for person in [&staff.erin, &staff.frank] {
        let id = person.id.to_string();
        for (key, item) in demo.app.contents() {
            if !key.starts_with("AUDIT") && (key.contains(&id) || item.to_string().contains(&id)) {
                let (pk, sk) = key.split_once(' ').unwrap();
                demo.app.remove(pk, sk);
            }
        }
    }
    assert_eq!(demo.me(&staff.erin.api_key).await.status, StatusCode::UNAUTHORIZED);
    let second = demo.start(URL).await;
    let made = second.staff.as_ref().unwrap();
    assert_eq!(demo.me(&made.erin.api_key).await.ok().field("role"), "auditor");
    assert_eq!(demo.me(&made.frank.api_key).await.ok().field("role"), "operator");
    assert_eq!((first.alice.id, &first.client_secret), (second.alice.id, &second.client_secret));
    assert_eq!(demo.start(URL).await.staff.unwrap().frank.id, made.frank.id);
}

#[tokio::test]
async fn an_address_that_somebody_has_signed_in_with_stays_theirs() {
    let demo = Demo::set().await;
    let erin = demo.app.user("erin").await;
    for _ in 0..2 {
        let organization = demo.start(URL).await;
        assert!(organization.staff.is_none());
        assert!(demo.names().iter().all(|name| !name.starts_with("ERIN_") && !name.starts_with("FRANK_")));
        assert_eq!(demo.app.get("/api/v1/me").as_user(&erin).await.ok().field("role"), "user");
        demo.me(&organization.alice.api_key).await.ok();
    }
}

#[tokio::test]
async fn at_another_address_those_are_connected_again_who_are_still_active() {
    let demo = Demo::set().await;
    let organization = demo.start(URL).await;
    let carol = format!("/api/v1/users/{}", organization.carol.id);
    let leave = demo.app.patch(carol).bearer(&organization.alice.api_key);
    leave.json(&json!({ "active": false })).await.ok();
    demo.start("http://127.0.0.1:8788").await;
    let mut at = Vec::new();
    for person in [&organization.alice, &organization.bob, &organization.carol] {
        let key = Key::session(person.id, &"demo-oauth".parse().unwrap());
        let session = demo.app.core.table.read_one::<Session>(key).await.unwrap();
        at.push(session.map_or_else(|| "none".to_owned(), |session| session.resource.clone()));
    }
    assert_eq!(at, ["http://127.0.0.1:8788/demo/oauth-mcp", "none", "http://127.0.0.1:8787/demo/oauth-mcp"]);
}

#[tokio::test]
async fn the_demo_starts_again_whatever_of_it_was_deleted() {
    let demo = Demo::set().await;
    let organization = demo.start(URL).await;
    let (alice, staff) = (&organization.alice, organization.staff.as_ref().unwrap());
    let promote = demo.app.patch(format!("/api/v1/users/{}", staff.erin.id)).bearer(&alice.api_key);
    promote.json(&json!({ "role": "admin" })).await.ok();
    for (path, by) in [
        ("servers/demo".to_owned(), alice),
        ("servers/demo-oauth".to_owned(), alice),
        (format!("agent-accounts/{}", organization.agent_account_id), alice),
        (format!("users/{}", organization.bob.id), alice),
        (format!("users/{}", alice.id), &staff.erin),
    ] {
        demo.app.delete(format!("/api/v1/{path}?cascade=true")).bearer(&by.api_key).await.ok();
        let again = demo.start("http://127.0.0.1:8788").await;
        assert_eq!(again.client_secret, organization.client_secret, "{path}");
    }
    // Alice's address is free then.
    demo.app.pass(EVENTS_SETTLE_IN);
    let erase = demo.app.delete(format!("/api/v1/deleted/user/{}", alice.id)).bearer(&staff.erin.api_key);
    erase.await.ok();
    assert_eq!(demo.start(URL).await.client_secret, organization.client_secret);
    assert_eq!(demo.me(&alice.api_key).await.status, StatusCode::UNAUTHORIZED);
}
