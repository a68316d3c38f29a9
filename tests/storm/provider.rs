//! An authorization server in memory, and the MCP server's challenge that leads to it. It rotates refresh tokens,
//! takes each once, and ends the family of one that it sees twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use deputize_core::network::{Http, HttpError, ResponseFuture};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use url::Url;

pub(crate) const MCP_URL: &str = "https://chat.example.com/mcp";
const ISSUER: &str = "https://auth.example.com";
/// How long an access token lives.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5);
/// The longest time that the token endpoint takes, in milliseconds.
const SLOWEST: u64 = 3_000;

#[derive(Clone, Debug)]
pub(crate) struct Provider(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    random: fastrand::Rng,
    /// The owner of each refresh token, and whether it has been used.
    refresh_tokens: HashMap<String, (String, bool)>,
    /// Accounts whose family has ended because a token came twice.
    reused: Vec<String>,
    access_tokens: HashMap<String, String>,
    refreshes: u64,
    next: u64,
}

impl Provider {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            random: fastrand::Rng::with_seed(seed),
            refresh_tokens: HashMap::new(),
            reused: Vec::new(),
            access_tokens: HashMap::new(),
            refreshes: 0,
            next: 0,
        })))
    }

    /// `account` consents. Returns the path and query of the way back.
    pub(crate) fn consent(authorization_url: &str, account: &str) -> String {
        let url: Url = authorization_url.parse().unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("code", account), ("state", &state), ("iss", ISSUER)])
            .finish();
        format!("/api/v1/oauth/callback?{query}")
    }

    /// The account of an access token.
    pub(crate) fn account_of(&self, access_token: &str) -> String {
        self.0.lock().unwrap().access_tokens[access_token].clone()
    }

    /// The accounts whose refresh tokens came twice.
    pub(crate) fn reused(&self) -> Vec<String> {
        self.0.lock().unwrap().reused.clone()
    }

    pub(crate) fn refreshes(&self) -> u64 {
        self.0.lock().unwrap().refreshes
    }

    async fn answer(self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let url = request.uri().to_string();
        let known = |path: &str| url == format!("{ISSUER}{path}");
        if url == MCP_URL {
            let place = "https://chat.example.com/.well-known/oauth-protected-resource/mcp";
            let challenge = format!(r#"Bearer resource_metadata="{place}""#);
            let response = Response::builder().status(401).header("www-authenticate", challenge);
            return Ok(response.body(Vec::new()).unwrap());
        }
        if url.contains("oauth-protected-resource") {
            return answer(200, &json!({ "resource": MCP_URL, "authorization_servers": [ISSUER] }));
        }
        if known("/.well-known/oauth-authorization-server") {
            return answer(200, &metadata());
        }
        if known("/register") {
            let registered = json!({ "client_id": "deputize", "token_endpoint_auth_method": "none" });
            return answer(201, &registered);
        }
        if known("/token") {
            return self.token(request.body()).await;
        }
        answer(404, &json!({}))
    }

    async fn token(self, body: &[u8]) -> Result<Response<Vec<u8>>, HttpError> {
        let (before, after) = {
            let random = &mut self.0.lock().unwrap().random;
            (random.u64(0..=SLOWEST / 2), random.u64(0..=SLOWEST / 2))
        };
        sleep(Duration::from_millis(before)).await;
        let given = self.0.lock().unwrap().give(body);
        sleep(Duration::from_millis(after)).await;
        match given {
            Some(tokens) => answer(200, &tokens),
            None => answer(400, &json!({ "error": "invalid_grant" })),
        }
    }
}

impl Kept {
    fn give(&mut self, body: &[u8]) -> Option<Value> {
        let fields: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let account = match &*fields["grant_type"] {
            "authorization_code" => fields["code"].clone(),
            _ => {
                self.refreshes += 1;
                let (account, used) = self.refresh_tokens.get_mut(&fields["refresh_token"])?;
                if std::mem::replace(used, true) {
                    self.reused.push(account.clone());
                    return None;
                }
                account.clone()
            }
        };
        self.next += 1;
        let (access_token, refresh_token) =
            (format!("access-{}", self.next), format!("refresh-{}", self.next));
        self.access_tokens.insert(access_token.clone(), account.clone());
        self.refresh_tokens.insert(refresh_token.clone(), (account, false));
        Some(json!({
            "access_token": access_token, "token_type": "Bearer",
            "refresh_token": refresh_token, "expires_in": LIFETIME.as_secs(),
        }))
    }
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "registration_endpoint": format!("{ISSUER}/register"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

#[expect(clippy::unnecessary_wraps, reason = "as the caller answers")]
fn answer(status: u16, body: &Value) -> Result<Response<Vec<u8>>, HttpError> {
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Response::builder().status(status).body(body.to_string().into_bytes()).unwrap())
}

impl Http for Provider {
    fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_> {
        Box::pin(self.clone().answer(request))
    }

    fn check(&self, _: &Url) -> Result<(), HttpError> {
        Ok(())
    }
}
