//! A client: each operation is a request and what it answers. `npm/client.js` gives it its face.

use std::rc::Rc;

use deputize_api::{
    connections::{Connect, Connecting},
    delegations::{CreateDelegation, Delegation},
    error::ErrorBody,
    path::{self, fill},
    session_grants::{CreateSessionGrant, IgnoredAny, SERVER_ID_FILTER, SessionGrant, ToggleSessionGrant},
    token::{ActorTokenType, TokenRequest, TokenResponse},
    tools::{ToolCall, Tools},
};
use js_sys::{Array, Function, JSON, Object, Promise, encode_uri_component};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::{AbortSignal, Url};
use zeroize::Zeroizing;

use crate::{
    assertion::SigningKey,
    bodies::{Body, Send, Show, set},
    credentials::{Credentials, Proof, UserToken, call, exchange, request},
    environment::now,
    exchange::{Answer, Authorization, Bounds, Call, Content, ExchangeError, Request, repeatedly, status},
    failure::{Refusal, failure},
    policy::Repeat,
    tokens::{Cache, ComparedSecret, Token, TokenOwner, Unwanted},
};

/// The account of a client. Shared with its clients on behalf of users.
struct Account {
    /// Without a slash at its end.
    url: String,
    /// Sends a request (`npm/send.js`).
    sender: Function,
    credentials: Credentials,
    tokens: Rc<Cache>,
}

/// The user for whom a client acts.
enum User {
    /// Known from the beginning: whose tokens are theirs, and what names them at the token endpoint.
    Named { owner: TokenOwner, token: Zeroizing<String>, kind: ActorTokenType },
    /// Proven by the JWT that a function answers. The client keeps the token that it has by that, so that it does not
    /// ask for each call. A client that is made anew asks, and finds the token of the same JWT among the account's.
    Asked { function: UserToken, tokens: Rc<Cache> },
}

impl User {
    fn by_access_token(token: Zeroizing<String>) -> Self {
        let owner = TokenOwner::AccessToken(ComparedSecret(token.clone()));
        Self::Named { owner, token, kind: ActorTokenType::AccessToken }
    }
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
    fn new(url: String, sender: Function, credentials: Credentials) -> Self {
        let tokens = Rc::default();
        Self { account: Rc::new(Account { url, sender, credentials, tokens }), user: None }
    }
}

/// Constructors by kind of credentials, and for clients on behalf of users.
#[wasm_bindgen]
impl Client {
    #[wasm_bindgen(js_name = withSecret)]
    pub fn with_secret(url: String, sender: Function, client_id: String, client_secret: String) -> Self {
        Self::new(url, sender, Credentials::Agent { client_id, proof: Proof::Secret(client_secret.into()) })
    }

    #[wasm_bindgen(js_name = withKey)]
    pub fn with_key(
        url: String,
        sender: Function,
        client_id: String,
        key: JsValue,
        key_id: Option<String>,
        audience: Option<String>,
    ) -> Self {
        let audience = audience.unwrap_or_else(|| url.clone() + path::TOKEN);
        let proof = Proof::Key(SigningKey { key, key_id, audience });
        Self::new(url, sender, Credentials::Agent { client_id, proof })
    }

    #[wasm_bindgen(js_name = withUserToken)]
    pub fn with_user_token(url: String, sender: Function, token: JsValue) -> Self {
        Self::new(url, sender, Credentials::User(UserToken::new(token)))
    }

    #[wasm_bindgen(js_name = withApiKey)]
    pub fn with_api_key(url: String, sender: Function, key: String) -> Self {
        Self::new(url, sender, Credentials::ApiKey(key.into()))
    }

    #[wasm_bindgen(js_name = withTokens)]
    pub fn with_tokens(url: String, sender: Function, function: Function) -> Self {
        Self::new(url, sender, Credentials::Tokens(function))
    }

    fn on_behalf_of(&self, user: User) -> Self {
        Self { account: Rc::clone(&self.account), user: Some(Rc::new(user)) }
    }

    #[must_use]
    #[wasm_bindgen(js_name = onBehalfOfUserId)]
    pub fn on_behalf_of_user_id(&self, id: String) -> Self {
        let owner = TokenOwner::UserId(id.clone());
        self.on_behalf_of(User::Named { owner, token: id.into(), kind: ActorTokenType::UserId })
    }

    #[must_use]
    #[wasm_bindgen(js_name = onBehalfOfEmail)]
    pub fn on_behalf_of_email(&self, email: String) -> Self {
        let owner = TokenOwner::Email(email.clone());
        self.on_behalf_of(User::Named { owner, token: email.into(), kind: ActorTokenType::UserEmail })
    }

    #[must_use]
    #[wasm_bindgen(js_name = onBehalfOfAccessToken)]
    pub fn on_behalf_of_access_token(&self, token: JsValue) -> Self {
        self.on_behalf_of(match UserToken::new(token) {
            UserToken::Text(text) => User::by_access_token(text),
            function @ UserToken::Function(_) => User::Asked { function, tokens: Rc::default() },
        })
    }
}

/// The operations. Each is a request and a function that shows its answer. They share one future, since
/// futures are most of the WebAssembly's size.
#[wasm_bindgen]
impl Client {
    /// `renew` is the token that was refused; or `true`, if another is wanted in any case.
    pub fn token(&self, renew: &JsValue, call: &Call) -> Promise {
        let (account, user) = (Rc::clone(&self.account), self.user.clone());
        let bounds = Bounds::of(call);
        let unwanted = match renew.as_string() {
            Some(refused) => Unwanted::Refused(refused.into()),
            None if renew.is_truthy() => Unwanted::Any,
            None => Unwanted::None,
        };
        future_to_promise(async move {
            let token = match &account.credentials {
                Credentials::ApiKey(_) => {
                    let hint = "Send the key itself, in the header x-runlayer-api-key";
                    return Err(failure("unsupported", "An API key is no token and gets none", hint, None));
                }
                Credentials::User(user) => Rc::new(Token::of_user(&user.text(&unwanted).await?)),
                Credentials::Agent { .. } | Credentials::Tokens(_) => {
                    account.token(user, unwanted, &bounds).await?
                }
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
    pub fn list_tools(&self, server: &str, call: Call) -> Promise {
        self.get(&fill(path::TOOLS, server), call, |answer| {
            let tools: Tools<JsValue> = answer.read()?;
            Ok(page(tools.tools.into_iter(), None))
        })
    }

    #[wasm_bindgen(js_name = callTool)]
    pub fn call_tool(&self, server: &str, name: String, arguments: JsValue, call: Call) -> Promise {
        let arguments = Some(arguments).filter(|arguments| !arguments.is_undefined());
        let tool_call = ToolCall { tool_name: name, arguments };
        self.post(&fill(path::TOOLS, server), tool_call, call, |answer| Ok(answer.body))
    }

    /// `next` comes from the page before.
    #[wasm_bindgen(js_name = listDelegations)]
    pub fn list_delegations(
        &self,
        agent_account: Option<String>,
        next: Option<String>,
        call: Call,
    ) -> Promise {
        let path = agent_account.map_or_else(
            || path::MY_DELEGATIONS.to_owned(),
            |agent_account| fill(path::AGENT_DELEGATIONS, &agent_account),
        );
        self.get(&(path + &next.unwrap_or_default()), call, list::<Delegation>)
    }

    #[wasm_bindgen(js_name = createDelegation)]
    pub fn create_delegation(
        &self,
        agent_account: &str,
        server_ids: Option<Vec<String>>,
        expires_at: Option<String>,
        call: Call,
    ) -> Promise {
        let delegation: CreateDelegation = CreateDelegation { server_ids, expires_at };
        self.post(&fill(path::AGENT_DELEGATIONS, agent_account), delegation, call, one::<Delegation>)
    }

    #[wasm_bindgen(js_name = revokeDelegation)]
    pub fn revoke_delegation(&self, id: &str, call: Call) -> Promise {
        self.delete(&fill(path::DELEGATION, id), call, |_| Ok(JsValue::UNDEFINED))
    }

    /// `next` comes from the page before.
    #[wasm_bindgen(js_name = listSessionGrants)]
    pub fn list_session_grants(
        &self,
        agent_account: &str,
        server: Option<String>,
        next: Option<String>,
        call: Call,
    ) -> Promise {
        let filter = || {
            server
                .map(|server| format!("?{SERVER_ID_FILTER}={}", String::from(encode_uri_component(&server))))
        };
        let query = next.or_else(filter).unwrap_or_default();
        self.get(&(fill(path::SESSION_GRANTS, agent_account) + &query), call, list::<SessionGrant>)
    }

    #[wasm_bindgen(js_name = createSessionGrant)]
    pub fn create_session_grant(
        &self,
        agent_account: &str,
        server: String,
        shared: bool,
        call: Call,
    ) -> Promise {
        let grant: CreateSessionGrant = CreateSessionGrant { server_id: server, shared };
        self.post(&fill(path::SESSION_GRANTS, agent_account), grant, call, one::<SessionGrant>)
    }

    #[wasm_bindgen(js_name = toggleSessionGrant)]
    pub fn toggle_session_grant(&self, agent_account: &str, server: String, call: Call) -> Promise {
        let grant: ToggleSessionGrant = ToggleSessionGrant { server_id: server, shared: IgnoredAny };
        self.post(&fill(path::TOGGLE_SESSION_GRANT, agent_account), grant, call, one::<SessionGrant>)
    }

    #[wasm_bindgen(js_name = revokeSessionGrant)]
    pub fn revoke_session_grant(&self, id: &str, call: Call) -> Promise {
        self.delete(&fill(path::SESSION_GRANT, id), call, one::<SessionGrant>)
    }

    pub fn connect(&self, server: &str, scope: Option<String>, call: Call) -> Promise {
        self.post(&fill(path::CONNECT, server), Connect { scope }, call, one::<Connecting>)
    }

    /// What `npm/extras.js` asks. `id` is put into the path's braces, if it has any. With a body, an object, it is a
    /// POST, and its answer the `Response`, to be read as it comes.
    pub fn ask(&self, path: &str, id: &str, headers: JsValue, body: Option<Object>, call: Call) -> Promise {
        let path = fill(path, id);
        let Some(body) = body else { return self.get(&path, call, |answer| Ok(any(answer))) };
        self.post_as(&path, &body, headers, true, call, |answer| Ok(any(answer)))
    }

    /// The fields of an error with this status, if this is its body.
    pub fn refused(&self, status_code: &JsValue, body: &JsValue, request_id: Option<String>) -> JsValue {
        let (status, body) = (status(status_code), ErrorBody::read(body).ok());
        let none = Refusal { status, request_id, retry_after: None, challenge: None, body, said: None };
        none.into_error()
    }
}

/// Makes the JavaScript value from an answer.
type Shown = fn(Answer) -> Result<JsValue, JsValue>;

/// Sending requests with the client's credentials.
impl Client {
    fn get(&self, path: &str, call: Call, shown: Shown) -> Promise {
        self.send(self.request("GET", path), Repeat::Harmless, call, shown)
    }

    /// Deleting twice does no harm.
    fn delete(&self, path: &str, call: Call, shown: Shown) -> Promise {
        self.send(self.request("DELETE", path), Repeat::Harmless, call, shown)
    }

    fn post(&self, path: &str, body: impl Send, call: Call, shown: Shown) -> Promise {
        self.post_as(path, &body.sent(), JsValue::UNDEFINED, false, call, shown)
    }

    fn post_as(
        &self,
        path: &str,
        body: &Object,
        headers: JsValue,
        is_stream: bool,
        call: Call,
        shown: Shown,
    ) -> Promise {
        match JSON::stringify(body) {
            Ok(text) => {
                let content = Content::Json(text.into());
                let request = Request { content, headers, is_stream, ..self.request("POST", path) };
                self.send(request, Repeat::OnlyIfUndone, call, shown)
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

    fn request(&self, method: &'static str, path: &str) -> Request {
        let url = self.account.url.clone() + path;
        Request { method, url, content: Content::None, headers: JsValue::UNDEFINED, is_stream: false }
    }

    fn send(&self, request: Request, repeat: Repeat, call: Call, shown: Shown) -> Promise {
        let (account, user) = (Rc::clone(&self.account), self.user.clone());
        future_to_promise(async move { shown(account.send(user, &request, repeat, &call).await?) })
    }
}

impl Account {
    /// If a token is refused before its time, it is renewed once. No part of the refused request was done.
    async fn send(
        self: &Rc<Self>,
        user: Option<Rc<User>>,
        request: &Request,
        repeat: Repeat,
        call: &Call,
    ) -> Result<Answer, JsValue> {
        let bounds = Bounds::of(call);
        repeatedly(repeat, &bounds, async || {
            let mut refused: Option<Authorization> = None;
            loop {
                let authorization = self.authorization(user.clone(), refused.as_ref(), &bounds).await?;
                let answer =
                    request.send(&self.sender, Some(&authorization), &bounds.signal, Some(call)).await;
                if let Err(trouble) = &answer
                    && trouble.is_undone()
                {
                    call.set_sent(false);
                }
                match answer {
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
        bounds: &Bounds,
    ) -> Result<Authorization, JsValue> {
        let refused = refused.and_then(Authorization::token);
        let unwanted = refused.map_or(Unwanted::None, |token| Unwanted::Refused(token.clone()));
        Ok(match &self.credentials {
            Credentials::ApiKey(key) => Authorization::ApiKey(key.clone()),
            Credentials::User(token) => Authorization::Bearer(token.text(&unwanted).await?),
            Credentials::Agent { .. } | Credentials::Tokens(_) => {
                Authorization::Bearer(self.token(user, unwanted, bounds).await?.text.clone())
            }
        })
    }
}

/// Getting tokens.
impl Account {
    async fn token(
        self: &Rc<Self>,
        user: Option<Rc<User>>,
        unwanted: Unwanted,
        bounds: &Bounds,
    ) -> Result<Rc<Token>, JsValue> {
        let bounds = bounds.of_token()?;
        let until = bounds.until;
        let Some(user) = user else { return self.named(None, unwanted, bounds).await };
        let User::Asked { tokens, .. } = &*user else {
            return self.named(Some(user), unwanted, bounds).await;
        };
        let fetch = {
            let (account, user, unwanted) = (Rc::clone(self), Rc::clone(&user), unwanted.clone());
            Box::pin(async move {
                let User::Asked { function, .. } = &*user else { return Err(JsValue::UNDEFINED) };
                let text = function.text(&unwanted).await?;
                account.named(Some(Rc::new(User::by_access_token(text))), unwanted, bounds).await
            })
        };
        tokens.get(&TokenOwner::Itself, &unwanted, until, fetch).await
    }

    /// The token of the account, or on behalf of a user who is known.
    async fn named(
        self: &Rc<Self>,
        user: Option<Rc<User>>,
        unwanted: Unwanted,
        bounds: Bounds,
    ) -> Result<Rc<Token>, JsValue> {
        let owner = match user.as_deref() {
            Some(User::Named { owner, .. }) => owner.clone(),
            _ => TokenOwner::Itself,
        };
        let until = bounds.until;
        let (account, renewed) = (Rc::clone(self), unwanted.clone());
        let fetch =
            Box::pin(async move { account.fetch(user.as_deref(), &renewed, &bounds).await.map(Rc::new) });
        self.tokens.get(&owner, &unwanted, until, fetch).await
    }

    async fn fetch(
        self: &Rc<Self>,
        user: Option<&User>,
        unwanted: &Unwanted,
        bounds: &Bounds,
    ) -> Result<Token, JsValue> {
        let asked_at = now();
        if let (Credentials::Tokens(function), None) = (&self.credentials, user) {
            return Token::given(&call(function, unwanted).await?, asked_at);
        }
        let actor = match user {
            Some(User::Named { token, kind, .. }) => Some((*kind, token.as_str())),
            _ => None,
        };
        let answer = repeatedly(Repeat::Harmless, bounds, async || match (&self.credentials, actor) {
            (Credentials::Agent { client_id, proof }, _) => {
                let assertion = match proof {
                    Proof::Key(key) => Some(key.assertion(client_id).await?),
                    Proof::Secret(_) => None,
                };
                self.ask(&request(client_id, proof, assertion.as_deref(), actor), &bounds.signal).await
            }
            (Credentials::Tokens(_), Some((_, user_token))) => {
                let mut refused: Option<Rc<Token>> = None;
                loop {
                    let unwanted = match &refused {
                        Some(token) => Unwanted::Refused(token.text.clone()),
                        None => Unwanted::None,
                    };
                    let agent_token = self.token(None, unwanted, bounds).await?;
                    match self.ask(&exchange(&agent_token.text, user_token), &bounds.signal).await {
                        Err(trouble) if refused.is_none() && trouble.is_subject_refused() => {
                            refused = Some(agent_token);
                        }
                        answer => return answer,
                    }
                }
            }
            // A user's own credentials are sent unchanged.
            _ => Err(ExchangeError::Final(JsValue::UNDEFINED)),
        })
        .await?;
        Ok(Token::issued(answer.read::<TokenResponse>()?, asked_at))
    }

    /// Sends a request to the token endpoint, once.
    async fn ask(&self, request: &TokenRequest<'_>, signal: &AbortSignal) -> Result<Answer, ExchangeError> {
        let form = Object::new();
        for (name, value) in request.parameters() {
            set(&form, name, value);
        }
        let request = Request {
            method: "POST",
            url: self.url.clone() + path::TOKEN,
            content: Content::Form(form),
            headers: JsValue::UNDEFINED,
            is_stream: false,
        };
        request.send(&self.sender, None, signal, None).await
    }
}

/// An answer as it is.
fn any(answer: Answer) -> JsValue {
    let object = Object::new();
    set(&object, "next", answer.link.as_deref().and_then(next_query));
    set(&object, "body", answer.body);
    object.into()
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
