//! A client: each operation is a request and what it answers. `npm/client.js` gives it its face.

use std::{cell::Cell, rc::Rc};

use deputize_api::{
    connections::{Connect, Connecting},
    delegations::{CreateDelegation, Delegation},
    path::{self, fill},
    session_grants::{CreateSessionGrant, IgnoredAny, SERVER_ID_FILTER, SessionGrant, ToggleSessionGrant},
    token::{ActorTokenType, TokenRequest, TokenResponse},
    tools::{ToolCall, Tools},
};
use gloo_net::http::Method;
use js_sys::{Array, Function, JSON, Object, Promise, encode_uri_component};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::{AbortSignal, Url, UrlSearchParams};

use crate::{
    assertion::SigningKey,
    bodies::{Send, Show, set},
    credentials::{Credentials, Proof, UserToken, call, exchange, request},
    environment::now,
    exchange::{Answer, Authorization, Content, ExchangeError, Request, repeatedly},
    failure::failure,
    policy::Repeat,
    tokens::{Cache, ComparedSecret, Token, TokenOwner},
};

/// The time limit of a token request, in milliseconds. Several callers may wait for the same request.
const TOKEN_WITHIN: u32 = 30_000;

/// The account of a client. Shared with its clients on behalf of users.
struct Account {
    /// Without a slash at its end.
    url: String,
    credentials: Credentials,
    tokens: Rc<Cache>,
    functions: Cell<u32>,
}

/// The user for whom a client acts.
struct User {
    owner: TokenOwner,
    token: UserToken,
    kind: ActorTokenType,
}

/// A client of the service, as one account or on behalf of one user.
#[wasm_bindgen]
pub struct Client {
    account: Rc<Account>,
    user: Option<Rc<User>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.account.url).finish_non_exhaustive()
    }
}

impl Client {
    fn new(url: String, credentials: Credentials) -> Self {
        let (tokens, functions) = (Rc::default(), Cell::default());
        Self { account: Rc::new(Account { url, credentials, tokens, functions }), user: None }
    }
}

/// Constructors by kind of credentials, and for clients on behalf of users.
#[wasm_bindgen]
impl Client {
    #[wasm_bindgen(js_name = withSecret)]
    pub fn with_secret(url: String, client_id: String, client_secret: String) -> Self {
        Self::new(url, Credentials::Agent { client_id, proof: Proof::Secret(client_secret.into()) })
    }

    #[wasm_bindgen(js_name = withKey)]
    pub fn with_key(
        url: String,
        client_id: String,
        key: JsValue,
        key_id: Option<String>,
        audience: Option<String>,
    ) -> Self {
        let audience = audience.unwrap_or_else(|| url.clone() + path::TOKEN);
        let proof = Proof::Key(SigningKey { key, key_id, audience });
        Self::new(url, Credentials::Agent { client_id, proof })
    }

    #[wasm_bindgen(js_name = withUserToken)]
    pub fn with_user_token(url: String, token: JsValue) -> Self {
        Self::new(url, Credentials::User(UserToken::new(token)))
    }

    #[wasm_bindgen(js_name = withApiKey)]
    pub fn with_api_key(url: String, key: String) -> Self {
        Self::new(url, Credentials::ApiKey(key.into()))
    }

    #[wasm_bindgen(js_name = withTokens)]
    pub fn with_tokens(url: String, function: Function) -> Self {
        Self::new(url, Credentials::Tokens(function))
    }

    fn on_behalf_of(&self, owner: TokenOwner, token: UserToken, kind: ActorTokenType) -> Self {
        let user = Rc::new(User { owner, token, kind });
        Self { account: Rc::clone(&self.account), user: Some(user) }
    }

    #[must_use]
    #[wasm_bindgen(js_name = onBehalfOfUserId)]
    pub fn on_behalf_of_user_id(&self, id: String) -> Self {
        self.on_behalf_of(TokenOwner::UserId(id.clone()), UserToken::Text(id.into()), ActorTokenType::UserId)
    }

    #[must_use]
    #[wasm_bindgen(js_name = onBehalfOfEmail)]
    pub fn on_behalf_of_email(&self, email: String) -> Self {
        self.on_behalf_of(
            TokenOwner::Email(email.clone()),
            UserToken::Text(email.into()),
            ActorTokenType::UserEmail,
        )
    }

    #[must_use]
    #[wasm_bindgen(js_name = onBehalfOfAccessToken)]
    pub fn on_behalf_of_access_token(&self, token: JsValue) -> Self {
        let token = UserToken::new(token);
        let owner = match &token {
            UserToken::Text(text) => TokenOwner::AccessToken(ComparedSecret(text.clone())),
            UserToken::Function(_) => {
                self.account.functions.set(self.account.functions.get().wrapping_add(1));
                TokenOwner::Function(self.account.functions.get())
            }
        };
        self.on_behalf_of(owner, token, ActorTokenType::AccessToken)
    }
}

/// The operations. Each is a request and a function that shows its answer. They share one future, since
/// futures are most of the WebAssembly's size.
#[wasm_bindgen]
impl Client {
    pub fn token(&self) -> Promise {
        let (account, user) = (Rc::clone(&self.account), self.user.clone());
        future_to_promise(async move {
            let token = match &account.credentials {
                Credentials::ApiKey(_) => {
                    let hint = "Send the key itself, in the header x-runlayer-api-key";
                    return Err(failure("unsupported", "An API key is no token and gets none", hint, None));
                }
                Credentials::User(user) => Rc::new(Token::of_user(&user.text(false).await?)),
                Credentials::Agent { .. } | Credentials::Tokens(_) => account.token(user, None).await?,
            };
            let object = Object::new();
            set(&object, "accessToken", token.text.as_str());
            set(&object, "tokenType", "Bearer");
            set(&object, "expiresIn", token.expires_at.map(|end| ((end - now()) / 1000.0).floor().max(0.0)));
            set(&object, "scope", token.scope.as_deref());
            Ok(object.into())
        })
    }

    #[wasm_bindgen(js_name = listTools)]
    pub fn list_tools(&self, server: &str, signal: AbortSignal) -> Promise {
        self.get(&fill(path::TOOLS, server), signal, |answer| {
            let tools: Tools<JsValue> = answer.read()?;
            Ok(page(tools.tools.into_iter(), None))
        })
    }

    #[wasm_bindgen(js_name = callTool)]
    pub fn call_tool(&self, server: &str, name: String, arguments: JsValue, signal: AbortSignal) -> Promise {
        let arguments = Some(arguments).filter(|arguments| !arguments.is_undefined());
        let call = ToolCall { tool_name: name, arguments };
        self.post(&fill(path::TOOLS, server), call, signal, |answer| Ok(answer.body()))
    }

    /// `next` comes from the page before.
    #[wasm_bindgen(js_name = listDelegations)]
    pub fn list_delegations(
        &self,
        agent_account: Option<String>,
        next: Option<String>,
        signal: AbortSignal,
    ) -> Promise {
        let path = agent_account.map_or_else(
            || path::MY_DELEGATIONS.to_owned(),
            |agent_account| fill(path::AGENT_DELEGATIONS, &agent_account),
        );
        self.get(&(path + &next.unwrap_or_default()), signal, list::<Delegation>)
    }

    #[wasm_bindgen(js_name = createDelegation)]
    pub fn create_delegation(
        &self,
        agent_account: &str,
        server_ids: Option<Vec<String>>,
        expires_at: Option<String>,
        signal: AbortSignal,
    ) -> Promise {
        let delegation: CreateDelegation = CreateDelegation { server_ids, expires_at };
        self.post(&fill(path::AGENT_DELEGATIONS, agent_account), delegation, signal, one::<Delegation>)
    }

    #[wasm_bindgen(js_name = revokeDelegation)]
    pub fn revoke_delegation(&self, id: &str, signal: AbortSignal) -> Promise {
        self.delete(&fill(path::DELEGATION, id), signal, |_| Ok(JsValue::UNDEFINED))
    }

    /// `next` comes from the page before.
    #[wasm_bindgen(js_name = listSessionGrants)]
    pub fn list_session_grants(
        &self,
        agent_account: &str,
        server: Option<String>,
        next: Option<String>,
        signal: AbortSignal,
    ) -> Promise {
        let filter = || {
            server
                .map(|server| format!("?{SERVER_ID_FILTER}={}", String::from(encode_uri_component(&server))))
        };
        let query = next.or_else(filter).unwrap_or_default();
        self.get(&(fill(path::SESSION_GRANTS, agent_account) + &query), signal, list::<SessionGrant>)
    }

    #[wasm_bindgen(js_name = createSessionGrant)]
    pub fn create_session_grant(
        &self,
        agent_account: &str,
        server: String,
        shared: bool,
        signal: AbortSignal,
    ) -> Promise {
        let grant: CreateSessionGrant = CreateSessionGrant { server_id: server, shared };
        self.post(&fill(path::SESSION_GRANTS, agent_account), grant, signal, one::<SessionGrant>)
    }

    #[wasm_bindgen(js_name = toggleSessionGrant)]
    pub fn toggle_session_grant(&self, agent_account: &str, server: String, signal: AbortSignal) -> Promise {
        let grant: ToggleSessionGrant = ToggleSessionGrant { server_id: server, shared: IgnoredAny };
        self.post(&fill(path::TOGGLE_SESSION_GRANT, agent_account), grant, signal, one::<SessionGrant>)
    }

    #[wasm_bindgen(js_name = revokeSessionGrant)]
    pub fn revoke_session_grant(&self, id: &str, signal: AbortSignal) -> Promise {
        self.delete(&fill(path::SESSION_GRANT, id), signal, one::<SessionGrant>)
    }

    pub fn connect(&self, server: &str, scope: Option<String>, signal: AbortSignal) -> Promise {
        self.post(&fill(path::CONNECT, server), Connect { scope }, signal, one::<Connecting>)
    }
}

/// Makes the JavaScript value from an answer.
type Shown = fn(Answer) -> Result<JsValue, JsValue>;

/// Sending requests with the client's credentials.
impl Client {
    fn get(&self, path: &str, signal: AbortSignal, shown: Shown) -> Promise {
        self.send(Method::GET, path, Content::None, Repeat::Harmless, signal, shown)
    }

    /// Deleting twice does no harm.
    fn delete(&self, path: &str, signal: AbortSignal, shown: Shown) -> Promise {
        self.send(Method::DELETE, path, Content::None, Repeat::Harmless, signal, shown)
    }

    fn post(&self, path: &str, body: impl Send, signal: AbortSignal, shown: Shown) -> Promise {
        match JSON::stringify(&body.sent()) {
            Ok(text) => {
                let content = Content::Json(text.into());
                self.send(Method::POST, path, content, Repeat::OnlyIfUndone, signal, shown)
            }
            // Arguments that JSON cannot express.
            Err(cause) => {
                let hint = "Arguments must be what JSON.stringify takes";
                let why =
                    failure("invalid_request", "The arguments cannot be sent as JSON", hint, Some(cause));
                Promise::reject(&why)
            }
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        content: Content,
        repeat: Repeat,
        signal: AbortSignal,
        shown: Shown,
    ) -> Promise {
        let (account, user) = (Rc::clone(&self.account), self.user.clone());
        let request = Request { method, url: account.url.clone() + path, content };
        future_to_promise(async move { shown(account.send(user, &request, repeat, &signal).await?) })
    }
}

impl Account {
    /// If a token is refused before its time, it is renewed once. No part of the refused request was done.
    async fn send(
        self: &Rc<Self>,
        user: Option<Rc<User>>,
        request: &Request,
        repeat: Repeat,
        signal: &AbortSignal,
    ) -> Result<Answer, JsValue> {
        repeatedly(repeat, signal, async || {
            let mut refused: Option<Authorization> = None;
            loop {
                let authorization = self.authorization(user.clone(), refused.as_ref()).await?;
                match request.send(Some(&authorization), signal).await {
                    Err(trouble)
                        if refused.is_none() && trouble.is_token_refused() && self.is_renewable() =>
                    {
                        refused = Some(authorization);
                    }
                    answer => return answer,
                }
            }
        })
        .await
    }

    fn is_renewable(&self) -> bool {
        match &self.credentials {
            Credentials::Agent { .. } | Credentials::Tokens(_) => true,
            Credentials::User(token) => matches!(token, UserToken::Function(_)),
            Credentials::ApiKey(_) => false,
        }
    }

    async fn authorization(
        self: &Rc<Self>,
        user: Option<Rc<User>>,
        refused: Option<&Authorization>,
    ) -> Result<Authorization, JsValue> {
        let refused = refused.and_then(Authorization::token);
        Ok(match &self.credentials {
            Credentials::ApiKey(key) => Authorization::ApiKey(key.clone()),
            Credentials::User(token) => Authorization::Bearer(token.text(refused.is_some()).await?),
            Credentials::Agent { .. } | Credentials::Tokens(_) => {
                Authorization::Bearer(self.token(user, refused).await?.text.clone())
            }
        })
    }
}

/// Getting tokens.
impl Account {
    async fn token(
        self: &Rc<Self>,
        user: Option<Rc<User>>,
        refused: Option<&str>,
    ) -> Result<Rc<Token>, JsValue> {
        let owner = user.as_ref().map_or(TokenOwner::Itself, |user| user.owner.clone());
        let (account, renew) = (Rc::clone(self), refused.is_some());
        let fetch = Box::pin(async move { account.fetch(user.as_deref(), renew).await });
        self.tokens.get(&owner, refused, fetch).await
    }

    async fn fetch(self: &Rc<Self>, user: Option<&User>, renew: bool) -> Result<Token, JsValue> {
        let asked_at = now();
        if let (Credentials::Tokens(function), None) = (&self.credentials, user) {
            return Token::given(&call(function, renew).await?, asked_at);
        }
        let signal = AbortSignal::timeout_with_u32(TOKEN_WITHIN);
        let answer = repeatedly(Repeat::Harmless, &signal, async || {
            let actor_token = match user {
                Some(user) => Some(user.token.text(renew).await?),
                None => None,
            };
            let kind = user.map(|user| user.kind);
            let actor = kind.zip(actor_token.as_ref().map(|token| token.as_str()));
            match (&self.credentials, actor) {
                (Credentials::Agent { client_id, proof }, _) => {
                    let assertion = match proof {
                        Proof::Key(key) => Some(key.assertion(client_id).await?),
                        Proof::Secret(_) => None,
                    };
                    self.ask(&request(client_id, proof, assertion.as_deref(), actor), &signal).await
                }
                (Credentials::Tokens(_), Some((_, user_token))) => {
                    let mut refused: Option<Rc<Token>> = None;
                    loop {
                        let refused_text = refused.as_ref().map(|token| token.text.as_str());
                        let agent_token = self.token(None, refused_text).await?;
                        match self.ask(&exchange(&agent_token.text, user_token), &signal).await {
                            Err(trouble) if refused.is_none() && trouble.is_subject_refused() => {
                                refused = Some(agent_token);
                            }
                            answer => return answer,
                        }
                    }
                }
                // A user's own credentials are sent unchanged.
                _ => Err(ExchangeError::Final(JsValue::UNDEFINED)),
            }
        })
        .await?;
        Ok(Token::issued(answer.read::<TokenResponse>()?, asked_at))
    }

    /// Sends a request to the token endpoint, once.
    async fn ask(&self, request: &TokenRequest<'_>, signal: &AbortSignal) -> Result<Answer, ExchangeError> {
        let form = UrlSearchParams::new()?;
        for (name, value) in request.parameters() {
            form.append(name, value);
        }
        let url = self.url.clone() + path::TOKEN;
        Request { method: Method::POST, url, content: Content::Form(form) }.send(None, signal).await
    }
}

fn one<T: Show>(answer: Answer) -> Result<JsValue, JsValue> {
    Ok(answer.read::<T>()?.show())
}

fn list<T: Show>(answer: Answer) -> Result<JsValue, JsValue> {
    let next = answer.link.as_deref().and_then(next_query);
    Ok(page(answer.read::<Vec<T>>()?.into_iter().map(Show::show), next))
}

fn page(items: impl Iterator<Item = JsValue>, next: Option<String>) -> JsValue {
    let page = Object::new();
    set(&page, "items", items.collect::<Array>());
    set(&page, "next", next);
    page.into()
}

/// The query of the next page from a `Link` header (RFC 8288). Only the query is used, so that credentials go
/// to the same address as before.
fn next_query(link: &str) -> Option<String> {
    let target = link.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next =
            parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=next" | "rel=\"next\""));
        is_next.then_some(target)
    })?;
    let url = Url::new_with_base(target, "https://placeholder.invalid").ok()?;
    Some(url.search()).filter(|query| !query.is_empty())
}
