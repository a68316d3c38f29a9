//! Real providers, each as its pages or public reports say that it behaves: connecting, calling, refreshing, the end of
//! a session, and connecting again. `habits` is the table of them.

mod habits;

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use deputize_core::{
    clock::Random,
    network::{Http, HttpError, ResponseFuture},
};
use deputize_tests::{McpServer, TestApp, TestResponse};
use http::{Request, Response, StatusCode, header};
use insta::assert_snapshot;
use serde_json::{Value, json};
use url::Url;

use self::habits::{Habits, all};
use super::{acting_as, cookie};
use crate::scenario::Scenario;

/// The fields of a form or a query.
pub(super) type Fields = BTreeMap<String, String>;

/// An answer: its status, its media type and its body.
pub(super) type Answer = (u16, &'static str, String);

pub(super) const JSON: &str = "application/json";

/// What a provider remembers.
#[derive(Debug, Default)]
struct Kept {
    challenge: String,
    /// Whether it has ended all sessions.
    is_dead: bool,
    /// What came to the token endpoint, a line for each request.
    asked: Vec<String>,
}

/// The network as the service sees it: one provider, and the MCP server that it protects.
#[derive(Clone, Debug)]
struct Internet {
    habits: Arc<Habits>,
    server: Url,
    kept: Arc<Mutex<Kept>>,
}

impl Internet {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> (Answer, Option<String>) {
        let url: Url = request.uri().to_string().parse().unwrap();
        let none = (404, "text/html", "<p>Not found</p>".to_owned());
        if url == self.server {
            let challenge =
                self.habits.challenge.map(|challenge| challenge.replace("{server}", self.server.as_str()));
            let status = if challenge.is_some() { 401 } else { 200 };
            return ((status, "text/plain", "Unauthorized".to_owned()), challenge);
        }
        let origin = self.server.origin().ascii_serialization();
        let at = format!("{origin}/.well-known/oauth-protected-resource/oauth");
        if url.as_str() == at && !self.habits.named.is_empty() {
            let mut metadata = json!({
                "resource": self.server.as_str(),
                "authorization_servers": [self.habits.named],
            });
            let more = (self.habits.resource_metadata)();
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            return ((200, JSON, metadata.to_string()), None);
        }
        let metadata = (self.habits.metadata)().to_string().replace("{origin}", &origin);
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        if url.as_str() == self.habits.metadata_at.replace("{origin}", &origin) {
            return ((200, JSON, metadata.to_string()), None);
        }
        let is = |endpoint: &str| metadata[endpoint] == url.as_str();
        if is("registration_endpoint") {
            let mut made: Value = serde_json::from_slice(request.body()).unwrap();
            made["client_id"] = "made-by-itself".into();
            if made["token_endpoint_auth_method"] != "none" {
                made["client_secret"] = "s3cret+/ü".into();
            }
            return ((201, JSON, made.to_string()), None);
        }
        if is("token_endpoint") || url.as_str() == self.habits.token_endpoint {
            return (self.tokens(request), None);
        }
        (none, None)
    }

    /// A request for tokens, checked as every provider does.
    fn tokens(&self, request: &Request<Vec<u8>>) -> Answer {
        let mut form: Fields = form_urlencoded::parse(request.body()).into_owned().collect();
        let plain = |text: &str| {
            let pair = format!("v={text}");
            form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
        };
        let mut by = if form.contains_key("client_secret") { "client_secret_post" } else { "none" };
        if let Some(basic) = request.headers().get(header::AUTHORIZATION) {
            by = "client_secret_basic";
            let encoded = basic.to_str().unwrap().strip_prefix("Basic ").unwrap();
            let both = String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
            let (id, secret) = both.split_once(':').unwrap();
            form.extend([("client_id".to_owned(), plain(id)), ("client_secret".to_owned(), plain(secret))]);
        }
        let mut kept = self.kept();
        if let Some(verifier) = form.get("code_verifier") {
            let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
            assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(hash), kept.challenge);
        }
        let shown = ["scope", "resource"].map(|name| match form.get(name) {
            Some(value) => format!(" {name}={}", value.replace(self.server.as_str(), "[server]")),
            None => String::new(),
        });
        kept.asked.push(format!("{} by {by}{}", form["grant_type"], shown.concat()));
        if by != self.habits.authenticates_by {
            return (401, JSON, json!({ "error": "invalid_client" }).to_string());
        }
        if let Err(refused) =
            (self.habits.refuses_resource)(form.get("resource").map(String::as_str), &self.server)
        {
            return (
                400,
                JSON,
                json!({ "error": "invalid_target", "error_description": refused }).to_string(),
            );
        }
        if form["grant_type"] == "refresh_token" && kept.is_dead {
            return (self.habits.dead)();
        }
        (self.habits.tokens)(&form)
    }

    /// A browser in which Bob signs in and consents. It returns the path to which it is sent back.
    fn consent(&self, authorization_url: &str) -> Result<String, String> {
        let url: Url = authorization_url.parse().unwrap();
        let query: Fields = url.query_pairs().into_owned().collect();
        assert_eq!(query.len(), url.query_pairs().count(), "a parameter occurs twice: {url}");
        assert_eq!(query["code_challenge_method"], "S256");
        query["code_challenge"].clone_into(&mut self.kept().challenge);
        (self.habits.refuses_resource)(query.get("resource").map(String::as_str), &self.server)?;
        (self.habits.refuses_authorization)(&query)?;
        let mut back: Url = query["redirect_uri"].parse().unwrap();
        back.query_pairs_mut().append_pair("code", "c0de").append_pair("state", &query["state"]);
        if let Some(iss) = self.habits.iss {
            back.query_pairs_mut().append_pair("iss", iss);
        }
        Ok(format!("{}?{}", back.path(), back.query().unwrap()))
    }
}

impl Http for Internet {
    fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_> {
        let ((status, kind, body), challenge) = self.answer(&request);
        let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
        if let Some(challenge) = challenge {
            response = response.header(header::WWW_AUTHENTICATE, challenge);
        }
        let response = response.body(body.into_bytes()).unwrap();
        Box::pin(async move { Ok(response) })
    }

    fn check(&self, _: &Url) -> Result<(), HttpError> {
        Ok(())
    }
}

/// The service in front of an MCP server that a provider protects.
struct World {
    scenario: Scenario,
    server: McpServer,
    internet: Internet,
}

impl World {
    async fn of(habits: Habits) -> Self {
        let server = McpServer::start().await;
        let url = server.oauth_url();
        let internet =
            Internet { habits: Arc::new(habits), server: url.parse().unwrap(), kept: Arc::default() };
        let app = TestApp::start().await;
        let time = (app.core.clock.clone(), Random::System);
        let app = app.process(app.store.client(), time, Arc::new(internet.clone()));
        let scenario = Scenario::in_app(app).await;
        scenario.app.permit_everything().await;
        let mut body = json!({ "id": "theirs", "name": "Theirs", "url": url, "auth": "oauth" });
        if let Some(client) = (internet.habits.oauth_client)() {
            body["oauth_client"] = client;
        }
        scenario.app.post("/api/v1/servers").as_user(&scenario.alice).json(&body).await.ok();
        Self { scenario, server, internet }
    }

    async fn connect(&self) -> Result<String, String> {
        let Scenario { app, bob, .. } = &self.scenario;
        let begun = app.post("/api/v1/servers/theirs/connect").as_user(bob).await;
        if !begun.status.is_success() {
            return Err(begun.refusal());
        }
        let url = begun.field("authorization_url");
        let back = self.internet.consent(&url)?;
        let finished = app.get(back).header("cookie", &cookie(&begun)).await;
        if finished.status.is_success() { Ok(url) } else { Err(super::page_text(&finished)) }
    }

    async fn call(&self) -> TestResponse {
        let Scenario { app, bob, .. } = &self.scenario;
        app.call("theirs", "list_channels", &json!({})).as_user(bob).await
    }

    async fn connection(&self) -> Value {
        let Scenario { app, bob, .. } = &self.scenario;
        app.get("/api/v1/servers/theirs/connection").as_user(bob).await.ok().json()
    }

    /// The parameters of an authorization request that differ among providers.
    fn shown(&self, authorization_url: &str) -> String {
        let url: Url = authorization_url.parse().unwrap();
        let usual = ["response_type", "state", "code_challenge", "code_challenge_method", "redirect_uri"];
        let mut shown = format!("{}{}", url.host_str().unwrap(), url.path());
        for (name, value) in url.query_pairs().filter(|(name, _)| !usual.contains(&&**name)) {
            let value = value.replace(self.internet.server.as_str(), "[server]");
            let _ = write!(shown, " {name}={value}");
        }
        shown
    }
}

#[tokio::test]
async fn real_providers_are_connected_called_refreshed_ended_and_connected_again() {
    let mut table = String::new();
    for habits in all() {
        let (name, expires_in) = (habits.name, habits.expires_in);
        let world = World::of(habits).await;
        let app = &world.scenario.app;
        let url = world.connect().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(acting_as(&world.call().await), "bob", "{name}");
        let _ = writeln!(table, "{name}\n  authorization: {}", app.shown(&world.shown(&url)));

        let life = expires_in.unwrap_or(365 * 86_400);
        app.pass(Duration::from_secs(life));
        assert_eq!(acting_as(&world.call().await), "bob", "{name}");
        world.internet.kept().is_dead = true;
        if expires_in.is_some() {
            app.pass(Duration::from_secs(life));
        } else {
            world.server.rejects_tokens(true);
        }
        let ended = world.call().await;
        assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "{name}: {ended}");
        for asked in &world.internet.kept().asked {
            let _ = writeln!(table, "  tokens: {asked}");
        }
        let connection = world.connection().await;
        let because = connection["ended_because"].as_str().unwrap_or("the server takes its token no longer");
        let _ = writeln!(table, "  {}: {because}", ended.refusal());

        world.internet.kept().is_dead = false;
        world.server.rejects_tokens(false);
        world.connect().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(acting_as(&world.call().await), "bob", "{name}");
    }
    assert_snapshot!(table);
}

#[test]
fn each_provider_of_the_table_names_the_pages_that_say_so() {
    for Habits { name, sources, .. } in all() {
        assert!(!sources.is_empty() && sources.iter().all(|page| page.starts_with("https://")), "{name}");
    }
}
