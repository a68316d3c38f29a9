//! What the requests are about.

use deputize_core::{deletion::SETTLES_IN, users::Role};
use deputize_tests::{
    Agent, AllowedApp, McpServer, Provider, TestApp, TestRequest, TestResponse, User,
    app::Snapshot,
    jwt::SigningKey,
    mcp::{ProtocolEra, ScriptedServer, events},
    person::authorize_path,
};
use http::Method;
use serde_json::{Value, json};

use super::{
    callers::Caller,
    requests::{Asked, Body},
};

/// Where the app that an admin registered gets its answers.
pub(super) const CALLBACK: &str = "https://app.example.com/callback";

/// Bob is *the user*, and everything that has an id is Bob's, or belongs to the agent account `bot`, which Olga owns.
/// Bob delegates to it. All active users are connected to the server `chat` and have a grant of their own there, so
/// that no request fails for want of something.
#[derive(Debug)]
pub(super) struct World {
    pub(super) app: TestApp,
    /// An admin.
    pub(super) ada: User,
    /// Owns `bot`.
    pub(super) olga: User,
    pub(super) bob: User,
    /// Another user.
    pub(super) carol: User,
    pub(super) auditor: User,
    pub(super) operator: User,
    /// API keys of Bob's: with one scope each, and for one server.
    pub(super) tools_key: String,
    pub(super) read_key: String,
    pub(super) manage_key: String,
    pub(super) server_key: String,
    /// A user who was deactivated.
    pub(super) dan: User,
    pub(super) bot: Agent,
    /// An agent account that Bob does not delegate to any more.
    pub(super) former: Agent,
    /// An API key of Bob's that was revoked.
    /// It can be restored.
    revoked: String,
    pub(super) revoked_key: String,
    pub(super) delegation: String,
    pub(super) grant: String,
    pub(super) api_key: String,
    pub(super) secret: String,
    pub(super) client_key: String,
    pub(super) policy: String,
    pub(super) kid: String,
    /// A request of Bob's that is in the audit trail.
    pub(super) bobs_request: String,
    /// What the trail has of it.
    pub(super) event: String,
    /// An app that Bob allowed to manage.
    pub(super) allowed: AllowedApp,
    /// An app that an admin registered.
    registered: String,
    /// What names an admin's block of another app.
    block: String,
    /// Bob's browser.
    pub(super) cookie: String,
    pub(super) browser_session: String,
    /// An agent token of `bot`.
    pub(super) token: String,
    /// Where Bob's browser is to go to connect to the server `team`.
    authorization_url: String,
    pub(super) scripted: ScriptedServer,
    provider: Provider,
    _upstream: McpServer,
}

impl World {
    pub(super) async fn build() -> Self {
        let app = TestApp::start().await;
        let upstream = McpServer::start().await;
        let provider = Provider::start().await;
        let scripted = ScriptedServer::start(ProtocolEra::Handshake).await;
        scripted.on("GET", |_| {
            events(r#"data: {"jsonrpc":"2.0","method":"notifications/x"}"#.to_owned() + "\n\n")
        });

        let ada = app.user("ada").admin().await;
        let [olga, bob, carol, dan] =
            [app.user("olga").await, app.user("bob").await, app.user("carol").await, app.user("dan").await];
        let auditor = app.user("audrey").role(Role::Auditor).await;
        let operator = app.user("oscar").role(Role::Operator).await;
        let [bot, former] = [app.agent("bot", &olga).await, app.agent("former", &olga).await];
        app.server("demo").at(upstream.open_url()).await;
        app.server("other").at(upstream.open_url()).await;
        app.server("old").at(scripted.url()).await;
        app.server("team").at(provider.mcp_url()).oauth().await;
        let chat = app.server("chat").at(upstream.oauth_url()).oauth().await;
        let policy = app.permit_everything().await.to_string();

        let delegation = app.delegate(&bot, &bob).await;
        let grants = format!("/api/v1/agent-accounts/{}/session-grants", bot.id);
        for user in [&ada, &olga, &bob, &carol, &dan, &auditor, &operator] {
            app.connect(user, &chat).await;
            app.post(&grants).as_user(user).json(&json!({ "server_id": "chat" })).await.ok();
        }
        let grant = app.get(&grants).as_user(&bob).await.ok().json()[0]["id"].as_str().unwrap().to_owned();
        let new_key = || app.post("/api/v1/api-keys").as_user(&bob).json(&json!({ "name": "spare" }));
        let (spare, revoked) = (new_key().await.ok(), new_key().await.ok());
        let (revoked_id, revoked_key) = (revoked.field("id"), revoked.field("key"));
        app.delete(format!("/api/v1/api-keys/{revoked_id}")).as_user(&bob).await.ok();
        app.pass(SETTLES_IN);
        let limited = async |limits: Value| {
            let mut new = json!({ "name": "limited" });
            new.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
            app.post("/api/v1/api-keys").as_user(&bob).json(&new).await.ok().field("key")
        };
        let tools_key = limited(json!({ "scopes": ["tools:call"] })).await;
        let read_key = limited(json!({ "scopes": ["manage:read"] })).await;
        let manage_key = limited(json!({ "scopes": ["manage"] })).await;
        let server_key = limited(json!({ "server_ids": ["demo"] })).await;
        let secrets = app.get(format!("/api/v1/agent-accounts/{}/secrets", bot.id)).as_user(&olga).await.ok();
        let secret = secrets.json()[0]["id"].as_str().unwrap().to_owned();
        let client_key = app.client_of(&bot, &olga, SigningKey::es256()).await.key_id;
        let token = app.m2m(&bot).await;
        let kid = app.get("/.well-known/jwks.json").await.ok().json()["keys"][0]["kid"]
            .as_str()
            .unwrap()
            .to_owned();
        let begun = app.post("/api/v1/servers/team/connect").as_user(&bob).await.ok();
        let new = json!({ "name": "App", "redirect_uris": [CALLBACK], "auth_method": "client_secret" });
        let registered = app.post("/api/v1/apps").as_user(&ada).json(&new).await.ok();
        let blocked = json!({ "host": "evil.test" });
        let blocked = app.post("/api/v1/app-blocks").as_user(&ada).json(&blocked).await.ok();
        let cookie = app.signed_in(&bob).await;
        let sessions = app.get("/api/v1/me/browser-sessions").as_user(&bob).await.ok().json();
        let deactivated = json!({ "active": false });
        app.patch(format!("/api/v1/users/{}", dan.id)).as_user(&ada).json(&deactivated).await.ok();
        Self {
            authorization_url: begun.field("authorization_url"),
            allowed: app.allow_management(&bob).await,
            registered: registered.field("client_id"),
            block: blocked.field("id"),
            cookie,
            browser_session: sessions[0]["id"].as_str().unwrap().to_owned(),
            event: event_of(&app, &spare),
            bobs_request: spare.header("x-request-id").unwrap().to_owned(),
            api_key: spare.field("id"),
            app,
            ada,
            olga,
            bob,
            carol,
            auditor,
            operator,
            tools_key,
            read_key,
            manage_key,
            server_key,
            dan,
            bot,
            former,
            revoked: revoked_id,
            revoked_key,
            delegation,
            grant,
            secret,
            client_key,
            policy,
            kid,
            token,
            scripted,
            provider,
            _upstream: upstream,
        }
    }

    /// Everything as it was, in a process that remembers nothing.
    pub(super) async fn restore(&mut self, snapshot: &Snapshot) {
        self.app = self.app.back_to(snapshot).await;
    }

    /// The id of what Bob allowed an app.
    pub(super) fn authorization(&self) -> String {
        self.allowed.authorization.id.to_string()
    }

    /// The query by which the registered app sends a browser.
    pub(super) fn authorization_request(&self) -> String {
        let path = authorize_path(&[
            ("response_type", "code"),
            ("client_id", &self.registered),
            ("redirect_uri", CALLBACK),
            // RFC 7636 appendix B.
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ]);
        path[path.find('?').unwrap()..].to_owned()
    }

    /// The path with the ids of this world in it.
    fn path(&self, template: &str, server: &str) -> String {
        let ids = [
            ("agent_account_id", &*self.bot.id.to_string()),
            ("api_key_id", &self.api_key),
            ("authorization_id", &self.authorization()),
            ("block_id", &self.block),
            ("browser_session_id", &self.browser_session),
            ("client_id", &self.registered),
            ("delegation_id", &self.delegation),
            ("event_id", &self.event),
            ("id", &self.revoked),
            ("key_id", &self.client_key),
            ("kind", "api_key"),
            ("kid", &self.kid),
            ("policy_id", &self.policy),
            ("secret_id", &self.secret),
            ("server_id", server),
            ("session_grant_id", &self.grant),
            ("user_id", &self.bob.id.to_string()),
        ];
        let path = ids
            .into_iter()
            .fold(template.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
        assert!(!path.contains('{'), "{path}: World::path knows no thing of that kind");
        path
    }

    /// The request of a caller.
    pub(super) async fn request(
        &self,
        method: &Method,
        template: &str,
        asked: &Asked,
        caller: &Caller,
    ) -> TestRequest {
        let path = self.path(template, asked.server);
        let request = |query: &str| self.app.ask(method.clone(), format!("{path}{query}"));
        let request = match &asked.body {
            Body::Nothing => request(&asked.query),
            Body::Json(body) => request(&asked.query).json(body),
            Body::Form(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
                request(&asked.query).form(&fields)
            }
            Body::Mcp(text) => request("")
                .body("application/json", text.clone())
                .header("accept", "application/json, text/event-stream")
                .header("mcp-protocol-version", "2026-07-28")
                .header("mcp-method", "tools/list"),
            Body::InSession => {
                let begun = caller.send(self.app.initialize(asked.server)).await;
                // A caller who is not admitted names the session of one who is.
                let session = match begun.header("mcp-session-id") {
                    Some(session) => session.to_owned(),
                    None => self.app.initialize(asked.server).as_user(&self.bob).await.session(),
                };
                request("").in_session(&session).header("accept", "text/event-stream")
            }
            Body::Allows => {
                let page = self.app.get(format!("{path}{}", self.authorization_request()));
                let page = page.header("cookie", &self.cookie).await.ok();
                self.app.nobody().press(&page, "allow")
            }
            Body::ComesBack => {
                let back = self.provider.consent(&self.authorization_url, "bob");
                let query = back.strip_prefix(&path).unwrap();
                if *method == Method::GET {
                    request(query)
                } else {
                    request("").body("application/x-www-form-urlencoded", query.trim_start_matches('?'))
                }
            }
        };
        if asked.is_about_credential { request } else { caller.send(request) }
    }
}

/// The id of a request's event.
fn event_of(app: &TestApp, answer: &TestResponse) -> String {
    let request = answer.header("x-request-id").unwrap();
    let trail = app.trail();
    let event = trail.iter().find(|event| event["request_id"] == request).unwrap();
    event["id"].as_str().unwrap().to_owned()
}
