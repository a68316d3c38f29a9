//! An OAuth provider and the MCP server that it protects, on the loopback interface: strict where a good one
//! is, and wrong in whichever way a test chooses.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::digest;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use deputize_local::demo_servers;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};
use url::Url;

/// What a token endpoint does with a request.
#[derive(Clone, Debug, Default)]
pub enum TokenEndpoint {
    /// It answers as it should.
    #[default]
    Works,
    /// It does what it should, and answers when [`Provider::release`] is called.
    Holds,
    /// It does what it should, but this answer comes instead of its own.
    LosesAnswer(StatusCode, &'static str, String),
    /// It does nothing, and answers this.
    Answers(StatusCode, &'static str, String),
    /// It does nothing, and redirects the client.
    RedirectsTo(String),
    /// It never answers.
    IsSilent,
}

/// A provider's behaviour, for a test to change.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each thing that goes wrong is chosen alone")]
pub struct Script {
    pub token_endpoint: TokenEndpoint,
    /// Seconds; `None` leaves `expires_in` out.
    pub expires_in: Option<u64>,
    pub gives_refresh_tokens: bool,
    /// Fields of the provider's metadata to set; `null` removes one.
    pub metadata: BTreeMap<&'static str, Value>,
    /// The same for the protected resource's.
    pub resource_metadata: BTreeMap<&'static str, Value>,
    /// The path of the provider's metadata. The other well-known addresses are 404.
    pub metadata_path: String,
    /// A path that is answered by this status, and redirects elsewhere if that is one of a redirect.
    pub fails_at: Option<(&'static str, StatusCode)>,
    /// Whether the 401 of the MCP server names its metadata.
    pub challenge_names_metadata: bool,
    pub challenge_scope: Option<&'static str>,
    /// The registration endpoint's answer instead of a client.
    pub registration: Option<(StatusCode, Value)>,
    /// The registration endpoint makes a client, and answers when [`Provider::release`] is called.
    pub registration_holds: bool,
    /// Scope that calling `post_message` needs.
    pub posting_needs: Option<&'static str>,
    /// The MCP server accepts no token.
    pub server_refuses: bool,
    /// What the revocation endpoint does. It is in the metadata only if a test puts it there ([`Provider::revokes`]).
    pub revocation: Revocation,
}

/// What a revocation endpoint does with a request (RFC 7009).
#[derive(Clone, Debug, Default)]
pub enum Revocation {
    /// It ends the session.
    #[default]
    Works,
    /// It does nothing, and answers this.
    Answers(StatusCode, String),
    /// It never answers.
    IsSilent,
}

#[derive(Clone, Debug)]
struct Code {
    user: String,
    client_id: String,
    redirect_uri: String,
    challenge: String,
    resource: String,
    scope: String,
}

#[derive(Clone, Debug)]
struct Grant {
    user: String,
    client_id: String,
    resource: String,
    scope: String,
}

#[derive(Debug, Default)]
struct Kept {
    clients: HashMap<String, Option<String>>,
    codes: HashMap<String, Code>,
    /// Families by their id, without revoked ones.
    families: HashMap<u64, Grant>,
    /// Refresh tokens: their family, and whether they have been used.
    refresh_tokens: HashMap<String, (u64, bool)>,
    access_tokens: HashMap<String, (u64, String)>,
    log: Vec<String>,
    /// The client secrets that were sent to the token endpoint.
    presented: Vec<String>,
    /// Every secret that was given out.
    given: HashSet<String>,
    next: u64,
}

/// A provider. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: String,
    script: Mutex<Script>,
    kept: Mutex<Kept>,
    released: Notify,
}

impl Provider {
    /// A provider at [`Self::issuer`], protecting the MCP server at [`Self::mcp_url`].
    pub async fn start() -> Self {
        Self::serve(|provider| demo_servers::demo_oauth(move |token| provider.access_of(token))).await
    }

    /// The same, protecting another MCP server.
    pub async fn before(mcp: Router) -> Self {
        Self::serve(|_| mcp).await
    }

    async fn serve(mcp: impl FnOnce(Self) -> Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Script {
            token_endpoint: TokenEndpoint::Works,
            expires_in: Some(3600),
            gives_refresh_tokens: true,
            metadata: BTreeMap::new(),
            resource_metadata: BTreeMap::new(),
            metadata_path: "/.well-known/oauth-authorization-server/tenant".to_owned(),
            fails_at: None,
            challenge_names_metadata: true,
            challenge_scope: Some("chat:read"),
            registration: None,
            registration_holds: false,
            posting_needs: None,
            server_refuses: false,
            revocation: Revocation::Works,
        };
        let provider = Self(Arc::new(Inner {
            address: format!("http://{}", listener.local_addr().unwrap()),
            script: Mutex::new(script),
            kept: Mutex::default(),
            released: Notify::new(),
        }));
        let mcp = mcp(provider.clone());
        let routes = Router::new()
            .route("/tenant/register", post(register))
            .route("/tenant/token", post(token))
            .route("/tenant/revoke", post(revoke))
            .nest_service("/team/mcp", mcp.layer(from_fn_with_state(provider.clone(), protect)))
            .fallback(get(well_known))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    pub fn issuer(&self) -> String {
        format!("{}/tenant", self.0.address)
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }

    pub fn mcp_url(&self) -> String {
        format!("{}/team/mcp", self.0.address)
    }

    /// The behaviour, to change it.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap()
    }

    /// From now on its metadata names a revocation endpoint, which does this.
    pub fn revokes(&self, revocation: Revocation) {
        let endpoint = format!("{}/revoke", self.issuer()).into();
        let mut script = self.script();
        script.metadata.insert("revocation_endpoint", endpoint);
        script.revocation = revocation;
    }

    /// Lets held requests go on.
    pub fn release(&self) {
        self.0.released.notify_waiters();
    }

    /// The requests to it, such as `token refresh_token`, `register`, `GET /.well-known/…`.
    pub fn log(&self) -> Vec<String> {
        self.kept().log.clone()
    }

    /// How often this request came.
    pub fn count(&self, entry: &str) -> usize {
        self.kept().log.iter().filter(|logged| *logged == entry).count()
    }

    /// Every token, code and client secret that it has given out.
    pub fn given(&self) -> Vec<String> {
        self.kept().given.iter().cloned().collect()
    }

    /// Every client secret that its token endpoint has received, good or not.
    pub fn presented(&self) -> Vec<String> {
        self.kept().presented.clone()
    }

    /// How many sessions are alive.
    pub fn families_alive(&self) -> usize {
        self.kept().families.len()
    }

    /// Ends every session.
    pub fn revoke_everything(&self) {
        self.kept().families.clear();
    }

    /// Makes every access token invalid before its time.
    pub fn invalidate_access_tokens(&self) {
        self.kept().access_tokens.clear();
    }

    /// Forgets its clients.
    pub fn forget_clients(&self) {
        self.kept().clients.clear();
    }

    /// Adds a client that was registered by hand.
    pub fn knows_client(&self, id: &str, secret: Option<&str>) {
        self.kept().clients.insert(id.to_owned(), secret.map(str::to_owned));
    }

    /// Acts as a browser in which `user` signs in and consents: follows the authorization URL, and returns
    /// the path and query to which it is sent back.
    #[track_caller]
    pub fn consent(&self, authorization_url: &str, user: &str) -> String {
        let url: Url = authorization_url.parse().unwrap();
        assert_eq!(url.path(), "/tenant/authorize", "{authorization_url}");
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        let mut kept = self.kept();
        let client_id = query["client_id"].clone();
        if !client_id.starts_with("https://") {
            assert!(kept.clients.contains_key(&client_id), "an unknown client: {client_id}");
        }
        let code = kept.secret("code");
        let redirect_uri = query["redirect_uri"].clone();
        kept.codes.insert(
            code.clone(),
            Code {
                user: user.to_owned(),
                client_id,
                redirect_uri: redirect_uri.clone(),
                challenge: query["code_challenge"].clone(),
                resource: query.get("resource").cloned().unwrap_or_default(),
                scope: query.get("scope").cloned().unwrap_or_default(),
            },
        );
        let (state, iss) = (&query["state"], self.issuer());
        let mut back: Url = redirect_uri.parse().unwrap();
        back.query_pairs_mut().extend_pairs([("code", &code), ("state", state), ("iss", &iss)]);
        format!("{}?{}", back.path(), back.query().unwrap())
    }

    /// What the MCP server lets a token do. Scopes are checked in front of it.
    fn access_of(&self, token: &str) -> Option<demo_servers::Access> {
        let kept = self.kept();
        let (family, _) = kept.access_tokens.get(token)?;
        let user = kept.families.get(family)?.user.clone();
        Some(demo_servers::Access {
            user,
            scopes: vec![demo_servers::READ.to_owned(), demo_servers::WRITE.to_owned()],
        })
    }

    /// The client that a request names, and the secret that it presents.
    fn credentials(headers: &HeaderMap, form: &HashMap<String, String>) -> Option<(String, Option<String>)> {
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match basic.and_then(|value| value.strip_prefix("Basic ")) {
            Some(encoded) => {
                let text = String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
                let (id, secret) = text.split_once(':').unwrap();
                let plain = |text: &str| {
                    let pair = format!("v={text}");
                    form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
                };
                Some((plain(id), Some(plain(secret))))
            }
            None => Some((form.get("client_id")?.clone(), form.get("client_secret").cloned())),
        }
    }

    fn is_client(kept: &mut Kept, headers: &HeaderMap, form: &HashMap<String, String>) -> Option<String> {
        let (id, secret) = Self::credentials(headers, form)?;
        kept.presented.extend(secret.clone());
        if id.starts_with("https://") {
            return secret.is_none().then_some(id);
        }
        (kept.clients.get(&id)? == &secret).then_some(id)
    }
}

impl Kept {
    fn secret(&mut self, kind: &str) -> String {
        self.next += 1;
        let secret = format!("upstream-{kind}-{:04}", self.next);
        self.given.insert(secret.clone());
        secret
    }

    fn issue(&mut self, family: u64, script: &Script) -> Value {
        let grant = self.families[&family].clone();
        let access_token = self.secret("token");
        self.access_tokens.insert(access_token.clone(), (family, grant.scope.clone()));
        let mut answer =
            json!({ "access_token": access_token, "token_type": "bearer", "scope": grant.scope });
        if let Some(seconds) = script.expires_in {
            answer["expires_in"] = seconds.into();
        }
        if script.gives_refresh_tokens {
            let refresh_token = self.secret("refresh");
            self.refresh_tokens.insert(refresh_token.clone(), (family, false));
            answer["refresh_token"] = refresh_token.into();
        }
        answer
    }
}

fn with(mut document: Value, changes: &BTreeMap<&'static str, Value>) -> Json<Value> {
    for (name, value) in changes {
        match value {
            Value::Null => drop(document.as_object_mut().unwrap().remove(*name)),
            value => document[*name] = value.clone(),
        }
    }
    Json(document)
}

async fn well_known(State(provider): State<Provider>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    provider.kept().log.push(format!("GET {path}"));
    let script = provider.script();
    let issuer = provider.issuer();
    if let Some((_, status)) = script.fails_at.filter(|(fails, _)| *fails == path) {
        return (status, [(header::LOCATION, "https://elsewhere.example/")]).into_response();
    }
    if path == script.metadata_path {
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "registration_endpoint": format!("{issuer}/register"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": true,
        });
        return with(metadata, &script.metadata).into_response();
    }
    let named = path == "/metadata-of-the-server" && script.challenge_names_metadata;
    if named || path == "/.well-known/oauth-protected-resource/team/mcp" {
        let metadata = json!({
            "resource": provider.mcp_url(),
            "authorization_servers": [issuer],
            "scopes_supported": ["chat:read", "chat:list"],
        });
        return with(metadata, &script.resource_metadata).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

async fn register(State(provider): State<Provider>, Json(metadata): Json<Value>) -> Response {
    let released = provider.0.released.notified();
    let answer = registered(&provider, &metadata);
    let holds = provider.script().registration_holds;
    if holds {
        released.await;
    }
    answer
}

fn registered(provider: &Provider, metadata: &Value) -> Response {
    let mut kept = provider.kept();
    kept.log.push("register".to_owned());
    if let Some((status, answer)) = &provider.script().registration {
        return (*status, Json(answer.clone())).into_response();
    }
    // As `oidc-provider` does: it registers its own scopes only.
    let supported = provider.script().metadata.get("scopes_supported").cloned().unwrap_or_default();
    let supported = |value: &str| supported.as_array().is_some_and(|all| all.iter().any(|one| one == value));
    if !metadata["scope"].as_str().unwrap_or_default().split_whitespace().all(supported) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_client_metadata" })))
            .into_response();
    }
    kept.next += 1;
    let id = format!("client-{}", kept.next);
    let mut answer = metadata.clone();
    answer["client_id"] = id.clone().into();
    let secret = (metadata["token_endpoint_auth_method"] != "none").then(|| kept.secret("client/secret+"));
    if let Some(secret) = &secret {
        answer["client_secret"] = secret.clone().into();
        answer["client_secret_expires_at"] = 0.into();
    }
    kept.clients.insert(id, secret);
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let endpoint = provider.script().token_endpoint.clone();
    provider.kept().log.push(format!("token {}", form["grant_type"]));
    match &endpoint {
        TokenEndpoint::Answers(status, kind, body) => {
            return (*status, [(header::CONTENT_TYPE, *kind)], body.clone()).into_response();
        }
        TokenEndpoint::RedirectsTo(url) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, url.clone())]).into_response();
        }
        TokenEndpoint::IsSilent => std::future::pending().await,
        _ => {}
    }
    let released = provider.0.released.notified();
    let answer = granted(&provider, &headers, &form);
    match endpoint {
        TokenEndpoint::Holds => released.await,
        TokenEndpoint::LosesAnswer(status, kind, body) => {
            return (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        }
        _ => {}
    }
    match answer {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

async fn revoke(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    provider.kept().log.push(format!("revoke {}", form["token_type_hint"]));
    let revocation = provider.script().revocation.clone();
    match revocation {
        Revocation::Answers(status, body) => return (status, body).into_response(),
        Revocation::IsSilent => std::future::pending().await,
        Revocation::Works => {}
    }
    let mut kept = provider.kept();
    let Some(client_id) = Provider::is_client(&mut kept, &headers, &form) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_client" }))).into_response();
    };
    let token = &form["token"];
    let family = kept.refresh_tokens.get(token).map(|(family, _)| *family);
    let family = family.or_else(|| kept.access_tokens.get(token).map(|(family, _)| *family));
    if let Some(family) = family
        && kept.families.get(&family).is_some_and(|grant| grant.client_id == client_id)
    {
        kept.families.remove(&family);
    }
    StatusCode::OK.into_response()
}

fn granted(
    provider: &Provider,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<Value, &'static str> {
    let script = provider.script();
    let mut kept = provider.kept();
    let client_id = Provider::is_client(&mut kept, headers, form).ok_or("invalid_client")?;
    let family = match form["grant_type"].as_str() {
        "authorization_code" => {
            let code = kept.codes.remove(&form["code"]).ok_or("invalid_grant")?;
            let challenge = digest::digest(&digest::SHA256, form["code_verifier"].as_bytes());
            let fits = code.challenge == BASE64_URL_SAFE_NO_PAD.encode(challenge)
                && code.client_id == client_id
                && code.redirect_uri == form["redirect_uri"]
                && code.resource == form["resource"];
            if !fits {
                return Err("invalid_grant");
            }
            kept.next += 1;
            let family = kept.next;
            let Code { user, resource, scope, .. } = code;
            kept.families.insert(family, Grant { user, client_id, resource, scope });
            family
        }
        "refresh_token" => {
            let (family, used) =
                kept.refresh_tokens.get(&form["refresh_token"]).copied().ok_or("invalid_grant")?;
            if used {
                // The purpose of rotation: a token that is used twice ends the session.
                kept.families.remove(&family);
                return Err("invalid_grant");
            }
            let grant = kept.families.get(&family).ok_or("invalid_grant")?;
            if grant.client_id != client_id || grant.resource != form["resource"] {
                return Err("invalid_grant");
            }
            kept.refresh_tokens.insert(form["refresh_token"].clone(), (family, true));
            family
        }
        _ => return Err("unsupported_grant_type"),
    };
    Ok(kept.issue(family, &script))
}

/// The challenges, in front of the MCP server.
async fn protect(State(provider): State<Provider>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let challenge = {
        let (script, kept) = (provider.script(), provider.kept());
        let named = format!(r#", resource_metadata="{}/metadata-of-the-server""#, provider.0.address);
        let metadata = if script.challenge_names_metadata { named } else { String::new() };
        let alive = kept.access_tokens.get(&token).filter(|(family, _)| kept.families.contains_key(family));
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let posts = message["params"]["name"] == "post_message";
        match alive.filter(|_| !script.server_refuses) {
            None => {
                let scope = script.challenge_scope.map(|scope| format!(r#", scope="{scope}""#));
                let scope = scope.unwrap_or_default();
                Some((StatusCode::UNAUTHORIZED, format!(r#"Bearer error="invalid_token"{metadata}{scope}"#)))
            }
            Some((_, scope)) => script.posting_needs.filter(|_| posts).and_then(|needed| {
                let has = scope.split(' ').any(|value| value == needed);
                (!has).then(|| {
                    let text = format!(r#"Bearer error="insufficient_scope", scope="{needed}"{metadata}"#);
                    (StatusCode::FORBIDDEN, text)
                })
            }),
        }
    };
    if let Some((status, challenge)) = challenge {
        return (status, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    }
    next.run(Request::from_parts(parts, body.into())).await
}
