//! Apps that act as their user. What a user allowed one is put into the table without a page, so that no browser stands
//! between a test and the token endpoint.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use deputize_core::{
    apps::{App, AppAuth, AppKey, AppKind, Authorization, BlockedHost, app_id},
    epoch::Epoch,
    ids::AuthorizationId,
    jwk::NewJwk,
    scope::Scopes,
    secret::{hash_client_secret, new_client_secret},
    table::{Change, Key},
    tokens::{NewCode, Resource, add_code},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{TestApp, TestRequest, TestResponse, User, app::URL, client::JWT_BEARER, jwt::SigningKey};

/// What the tests' codes are bound to (RFC 7636 appendix B).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The `code_challenge` of [`VERIFIER`].
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Where the tests' codes are sent.
pub const REDIRECT_URI: &str = "http://127.0.0.1:3334/oauth/callback";

/// An app, as it is when a user allows it.
#[derive(Clone, Debug)]
#[must_use]
pub struct AppClient {
    pub client_id: String,
    pub auth: AppAuth,
    pub kind: AppKind,
    pub host: Option<String>,
    pub secret: Option<String>,
    pub key: Option<Arc<SigningKey>>,
}

impl AppClient {
    /// A public app with a metadata document at this host.
    pub fn public(host: &str) -> Self {
        Self {
            client_id: format!("https://{host}/client.json"),
            auth: AppAuth::None,
            kind: AppKind::Document,
            host: Some(host.to_owned()),
            secret: None,
            key: None,
        }
    }

    /// One that registers itself with this method, at the service.
    pub async fn registered(app: &TestApp, method: &str) -> Self {
        let uris = ["https://web.example/callback"];
        let body = json!({ "redirect_uris": uris, "token_endpoint_auth_method": method });
        let answer = app.post("/register").json(&body).await.ok();
        let client_id = answer.field("client_id");
        let kept = AppAuth::None;
        let mut made =
            Self { client_id, auth: kept, kind: AppKind::Dynamic, host: None, secret: None, key: None };
        if let Some(secret) = answer.json()["client_secret"].as_str() {
            let hash = hash_client_secret(secret).unwrap();
            made = Self { auth: AppAuth::Secret { hash }, secret: Some(secret.to_owned()), ..made };
        }
        made
    }

    /// One that an admin registered with a secret.
    pub async fn of_admin(app: &TestApp, admin: &User) -> Self {
        let body = json!({
            "name": "Ours",
            "redirect_uris": ["https://ours.example/callback"],
            "auth_method": "client_secret",
        });
        let answer = app.post("/api/v1/apps").as_user(admin).json(&body).await.ok();
        let secret = answer.field("client_secret");
        let auth = AppAuth::Secret { hash: hash_client_secret(&secret).unwrap() };
        let client_id = answer.field("client_id");
        Self { client_id, auth, kind: AppKind::Registered, host: None, secret: Some(secret), key: None }
    }

    /// The same with a client secret.
    pub fn with_secret(self) -> Self {
        let made = new_client_secret(&deputize_core::clock::Random::System).unwrap();
        let secret = Some(made.text.expose_secret().to_owned());
        Self { auth: AppAuth::Secret { hash: made.hash }, secret, ..self }
    }

    /// The same with a key.
    pub fn with_key(self, key: SigningKey) -> Self {
        let jwk: NewJwk = serde_json::from_value(key.jwk("key-1")).unwrap();
        let keys = vec![AppKey { kid: jwk.kid, key: jwk.key, alg: jwk.alg }];
        Self { auth: AppAuth::Keys { keys, jwks_uri: None }, key: Some(Arc::new(key)), ..self }
    }

    /// The same with a key that is published there.
    pub fn with_key_at(self, key: SigningKey, jwks_uri: &str) -> Self {
        let auth = AppAuth::Keys { keys: Vec::new(), jwks_uri: Some(jwks_uri.to_owned()) };
        Self { auth, key: Some(Arc::new(key)), ..self }
    }

    /// A new assertion, with changed claims.
    pub fn assertion_with(&self, app: &TestApp, edit: impl FnOnce(&mut Value)) -> String {
        let (id, now) = (&self.client_id, app.now().as_seconds());
        let jti = uuid::Uuid::new_v4().to_string();
        let mut claims =
            json!({ "iss": id, "sub": id, "aud": URL, "iat": now, "exp": now + 300, "jti": jti });
        edit(&mut claims);
        let key = self.key.as_ref().expect("a client with a key");
        key.sign(&json!({ "alg": key.algorithm(), "typ": "JWT", "kid": "key-1" }), &claims)
    }

    pub fn assertion(&self, app: &TestApp) -> String {
        self.assertion_with(app, |_| {})
    }

    /// The fields by which it proves itself.
    fn proof(&self, app: &TestApp) -> Vec<(String, String)> {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut fields = vec![field("client_id", &self.client_id)];
        fields.extend(self.secret.as_ref().map(|secret| field("client_secret", secret)));
        if self.key.is_some() {
            fields.push(field("client_assertion_type", JWT_BEARER));
            fields.push(field("client_assertion", &self.assertion(app)));
        }
        fields
    }
}

/// What a user allowed an app.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub client: AppClient,
    pub authorization: Authorization,
    /// What its codes are for.
    pub scopes: Scopes,
}

impl Allowed {
    pub fn key(&self) -> Key {
        Key::authorization(self.authorization.user_id, self.authorization.id)
    }
}

impl TestApp {
    /// What the user allows an app: some scopes at a resource (`management`, `proxy`, or a server's id).
    pub async fn allow(&self, user: &User, client: &AppClient, resource: &str, scope: &str) -> Allowed {
        let (now, scopes) = (self.now(), Scopes::of(scope));
        let resource = match resource {
            "management" => Resource::Management,
            "proxy" => Resource::Proxy,
            server => Resource::Server(server.parse().unwrap()),
        };
        let authorization = Authorization {
            id: AuthorizationId(self.core.random.uuid().unwrap()),
            user_id: user.id,
            user_epoch: Epoch::default(),
            app: app_id(&client.client_id),
            app_kind: client.kind,
            app_name: Some("The app".to_owned()),
            app_host: client.host.clone(),
            resource,
            scope: scopes,
            created_at: now,
            allowed_at: now,
            used_at: now,
        };
        let key = Key::authorization(user.id, authorization.id);
        let mut change = Change::new();
        change.create_expiring(key, &authorization, authorization.expires_at()).unwrap();
        self.core.table.commit(change).await.unwrap();
        self.call_it(format!("{}'s authorization", user.name), authorization.id.to_string());
        Allowed { client: client.clone(), authorization, scopes }
    }

    /// A new code of what the user allowed.
    pub async fn code(&self, allowed: &Allowed) -> String {
        let mut change = Change::new();
        let new = NewCode {
            authorization: &allowed.authorization,
            auth: &allowed.client.auth,
            client_id: &allowed.client.client_id,
            redirect_uri: Some(REDIRECT_URI),
            challenge: CHALLENGE,
            scopes: allowed.scopes,
        };
        let code: SecretString = add_code(&self.core, &mut change, &new).unwrap();
        self.core.table.commit(change).await.unwrap();
        code.expose_secret().to_owned()
    }

    /// A token request of an app, with its proof and with fields that replace others; those without a value are left out.
    pub fn as_app(
        &self,
        client: &AppClient,
        fields: &[(&str, &str)],
        changed: &[(&str, &str)],
    ) -> TestRequest {
        self.post("/api/v1/oauth/token").form(&self.fields(client, fields, changed).pairs())
    }

    /// [`Self::as_app`] at another path.
    pub fn as_app_at(&self, path: &str, client: &AppClient, fields: &[(&str, &str)]) -> TestRequest {
        self.post(path).form(&self.fields(client, fields, &[]).pairs())
    }

    fn fields(&self, client: &AppClient, fields: &[(&str, &str)], changed: &[(&str, &str)]) -> Fields {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all = client.proof(self);
        all.extend(fields.iter().map(owned));
        all.retain(|(name, _)| changed.iter().all(|(other, _)| name != other));
        all.extend(changed.iter().map(owned).filter(|(_, value)| !value.is_empty()));
        Fields(all)
    }

    /// Redeems a code, with changed fields.
    pub fn redeem(&self, client: &AppClient, code: &str, changed: &[(&str, &str)]) -> TestRequest {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", REDIRECT_URI),
        ];
        self.as_app(client, &fields, changed)
    }

    /// Refreshes, with changed fields.
    pub fn refresh(&self, client: &AppClient, token: &str, changed: &[(&str, &str)]) -> TestRequest {
        self.as_app(client, &[("grant_type", "refresh_token"), ("refresh_token", token)], changed)
    }

    /// The tokens of a new code.
    pub async fn sign_in(&self, allowed: &Allowed) -> Tokens {
        let code = self.code(allowed).await;
        Tokens::of(&self.redeem(&allowed.client, &code, &[]).await)
    }

    /// The tokens of a refresh.
    pub async fn refreshed(&self, client: &AppClient, token: &str) -> Tokens {
        Tokens::of(&self.refresh(client, token, &[]).await)
    }

    /// Blocks an app, as an admin does.
    pub async fn block_app(&self, client: &AppClient) {
        let (id, now) = (app_id(&client.client_id), self.now());
        let item: Value = json!({ "id": id, "created_at": now, "blocked_at": now });
        let app: App = serde_json::from_value(item).unwrap();
        let mut change = Change::new();
        change.create(Key::app(&id), &app).unwrap();
        self.core.table.commit(change).await.unwrap();
    }

    /// Blocks the apps of a host, as an admin does.
    pub async fn block_host(&self, host: &str) {
        let blocked: BlockedHost =
            serde_json::from_value(json!({ "host": host, "blocked_at": self.now() })).unwrap();
        let mut change = Change::new();
        change.create(Key::app_host(host), &blocked).unwrap();
        self.core.table.commit(change).await.unwrap();
    }

    /// Whether an access token for the management API is good.
    pub async fn manages(&self, token: &str) -> bool {
        let answer = self.get("/api/v1/me").bearer(token).await;
        assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer}");
        answer.status == 200
    }
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
}

/// What an app got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    #[track_caller]
    pub fn of(answer: &TestResponse) -> Self {
        assert_eq!(answer.status, 200, "{answer}");
        Self { access: answer.field("access_token"), refresh: answer.field("refresh_token") }
    }
}

/// A host that answers every request in the same way, and counts them.
#[derive(Clone, Debug)]
pub struct Host {
    url: String,
    says: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Host {
    /// One that answers with this.
    pub async fn start(body: &Value) -> Self {
        let says = Arc::new(Mutex::new((200, body.to_string())));
        let asked = Arc::<AtomicUsize>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (said, counted) = (Arc::clone(&says), Arc::clone(&asked));
        let answer = async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let (status, body) = said.lock().unwrap().clone();
            let answer =
                http::Response::builder().status(status).header("location", "https://elsewhere.test/");
            answer.body(axum::body::Body::from(body)).unwrap()
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        Self { url, says, asked }
    }

    /// An address there.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Answers with this from now on.
    pub fn say(&self, status: u16, body: &str) {
        *self.says.lock().unwrap() = (status, body.to_owned());
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
