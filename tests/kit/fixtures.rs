//! Who and what is in a test. Everything is put into the table without a caller, so that no audit event
//! and no rule stands between a test and what it starts from.

use std::{future::IntoFuture, pin::Pin, time::Duration};

use deputize_core::{
    api_keys::{self, NewApiKey},
    audit,
    browser_sessions::{self, NewBrowserSession},
    caller,
    clock::Timestamp,
    delegations::{self, NewDelegation},
    ids::{AgentAccountId, PolicyId, ServerId, UserId},
    paging::PageRequest,
    policies,
    secret::sha256_hex,
    seed::Seed,
    servers::{self, NewServer, ServerAuth},
    sessions::{self, NewSession},
    table::{Change, Key},
    users::{self, Identity, NewUser, Role, UserPointer},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{TestApp, issuer::TestIssuer};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A person with an API key.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub email: String,
    pub api_key: String,
}

/// An agent account with a client secret.
#[derive(Clone, Debug)]
pub struct Agent {
    pub id: AgentAccountId,
    pub secret: String,
}

/// A registered MCP server.
#[derive(Clone, Debug)]
pub struct Server {
    pub id: ServerId,
}

/// A user to create. Await it.
#[derive(Debug)]
#[must_use]
pub struct MakeUser<'a> {
    app: &'a TestApp,
    name: String,
    role: Role,
    groups: Vec<String>,
    identity: Option<Identity>,
    email: bool,
}

impl MakeUser<'_> {
    pub fn admin(self) -> Self {
        self.role(Role::Admin)
    }

    pub fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    pub fn in_group(mut self, group: &str) -> Self {
        self.groups.push(group.to_owned());
        self
    }

    /// A user whom the issuer calls `user_{name}`.
    pub fn known_to(self, issuer: &TestIssuer) -> Self {
        let identity = Identity { issuer: issuer.url().to_owned(), subject: format!("user_{}", self.name) };
        Self { identity: Some(identity), ..self }
    }

    pub fn without_email(self) -> Self {
        Self { email: false, ..self }
    }
}

impl<'a> IntoFuture for MakeUser<'a> {
    type Output = User;
    type IntoFuture = Boxed<'a, User>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { app, name, role, groups, identity, email: has_email } = self;
            let email = format!("{name}@example.com");
            let mut seed = Seed::new(&app.core);
            let new = NewUser {
                email: has_email.then(|| email.parse().unwrap()),
                name: Some(name.clone()),
                role,
                groups,
                identity,
            };
            let id = seed.user(new).unwrap().id;
            let api_key = seed.api_key(id, "test").unwrap().expose_secret().to_owned();
            seed.plant().await.unwrap();
            app.call_it(&name, id.to_string());
            app.call_it(format!("{name}'s API key"), &api_key);
            User { id, name, email, api_key }
        })
    }
}

/// A server to register. Await it.
#[derive(Debug)]
#[must_use]
pub struct MakeServer<'a> {
    app: &'a TestApp,
    id: String,
    url: String,
    auth: ServerAuth,
}

impl MakeServer<'_> {
    pub fn oauth(self) -> Self {
        Self { auth: ServerAuth::OAuth, ..self }
    }

    pub fn at(self, url: impl Into<String>) -> Self {
        Self { url: url.into(), ..self }
    }
}

impl<'a> IntoFuture for MakeServer<'a> {
    type Output = Server;
    type IntoFuture = Boxed<'a, Server>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { app, id, url, auth } = self;
            let mut seed = Seed::new(&app.core);
            let new = NewServer {
                id: Some(id.parse().unwrap()),
                name: id,
                url,
                auth,
                pinning: deputize_core::pins::Pinning::Off,
            };
            let server = seed.server(new).unwrap();
            seed.plant().await.unwrap();
            Server { id: server.id }
        })
    }
}

impl TestApp {
    /// A user called `name`, with the address `name@example.com`.
    pub fn user(&self, name: &str) -> MakeUser<'_> {
        let (role, name) = (Role::User, name.to_owned());
        MakeUser { app: self, name, role, groups: Vec::new(), identity: None, email: true }
    }

    /// The user, by another API key. One that was made before they were deactivated does not come back with them.
    pub async fn with_new_key(&self, user: &User) -> User {
        let (caller, request) = (self.caller(user).await, audit::RequestContext::default());
        let new = NewApiKey { name: "new".to_owned(), scopes: None, server_ids: None, expires_at: None };
        let made = api_keys::create(&self.core, &caller, &request, new).await;
        User { api_key: made.unwrap().1.expose_secret().to_owned(), ..user.clone() }
    }

    /// An agent account with this owner.
    pub async fn agent(&self, name: &str, owner: &User) -> Agent {
        let mut seed = Seed::new(&self.core);
        let (account, secret) = seed.agent(name, owner.id).unwrap();
        seed.plant().await.unwrap();
        self.call_it(name, account.id.to_string());
        self.call_it(format!("{name}'s first secret"), account.secrets[0].id.to_string());
        Agent { id: account.id, secret: secret.expose_secret().to_owned() }
    }

    /// A server that requires no credentials. Its address does not exist, unless the test sets another.
    pub fn server(&self, id: &str) -> MakeServer<'_> {
        let url = format!("https://{id}.example.com/mcp");
        MakeServer { app: self, id: id.to_owned(), url, auth: ServerAuth::None }
    }

    /// `user` delegates to `agent`, for all servers and without end. Returns the delegation's id.
    pub async fn delegate(&self, agent: &Agent, user: &User) -> String {
        self.delegate_some(agent, user, NewDelegation::default()).await
    }

    /// `user` delegates to `agent`, for some servers or for a time.
    pub async fn delegate_some(&self, agent: &Agent, user: &User, new: NewDelegation) -> String {
        let caller = self.caller(user).await;
        let made =
            delegations::create(&self.core, &caller, &audit::RequestContext::default(), agent.id, new).await;
        let id = made.unwrap().delegation.id.to_string();
        self.call_it(format!("{}'s delegation", user.name), &id);
        id
    }

    /// `user` has an OAuth session at `server` for thirty days, with the token `upstream-token-of-{name}`.
    pub async fn connect(&self, user: &User, server: &Server) {
        self.connect_until(user, server, Some(self.now().plus(Duration::from_hours(30 * 24)))).await;
    }

    pub async fn connect_until(&self, user: &User, server: &Server, expires_at: Option<Timestamp>) {
        let server = servers::get(&self.core, &server.id).await.unwrap();
        let access_token = SecretString::from(crate::upstream::token_of(&user.name));
        let session = NewSession {
            access_token,
            refresh_token: None,
            issued_at: self.now(),
            expires_at,
            scope: None,
            provider: None,
        };
        sessions::store(&self.core, user.id, &server, session).await.unwrap();
    }

    /// `user` is signed in at a browser, by the issuer `login`. The answer is its `Cookie` header.
    pub async fn signed_in(&self, user: &User) -> String {
        let mut change = Change::new();
        let was = users::get(&self.core, user.id).await.unwrap();
        let identity = was.identities.first().cloned().unwrap_or_else(|| Identity {
            issuer: self.login.url().to_owned(),
            subject: format!("user_{}", user.name),
        });
        if was.identities.is_empty() {
            let known = users::User { identities: vec![identity.clone()], ..was.value.clone() };
            let key = Key::user_by_identity(&identity.issuer, &identity.subject);
            change.create(key, &UserPointer { user_id: user.id }).unwrap();
            change.replace(Key::user(user.id), &known, was.rev).unwrap();
        }
        let new = NewBrowserSession {
            user: &was.value,
            identity: &identity,
            sid: None,
            id_token: None,
            previous: None,
        };
        let (session, cookie) = browser_sessions::add(&self.core, &mut change, new).await.unwrap();
        self.core.table.commit(change).await.unwrap();
        self.call_it(format!("{}'s browser session", user.name), session.id.to_string());
        let secure = if self.core.settings.is_https() { "__Host-" } else { "" };
        let hash = &sha256_hex(self.core.settings.issuer.as_bytes())[..8];
        format!("{secure}deputize_session_{hash}={}", cookie.expose_secret())
    }

    /// Permits everything to everyone.
    pub async fn permit_everything(&self) -> PolicyId {
        self.policy("everything", "permit(principal, action, resource);").await
    }

    /// Puts a Cedar policy in force; its id is shown as `[policy {name}]`.
    pub async fn policy(&self, name: &str, text: &str) -> PolicyId {
        let mut seed = Seed::new(&self.core);
        seed.policy(name, text).unwrap();
        seed.plant().await.unwrap();
        let caller = self.operator();
        let all = policies::list(&self.core, &caller, &PageRequest::default()).await.unwrap();
        let id = all.items.iter().find(|policy| policy.name == name).unwrap().id;
        self.call_it(format!("policy {name}"), id.to_string());
        id
    }

    /// `user` as the core sees them.
    pub async fn caller(&self, user: &User) -> caller::UserCaller {
        let user = users::get(&self.core, user.id).await.unwrap().value;
        caller::UserCaller::new(user, caller::CredentialId::UserToken("test".to_owned()))
    }

    /// An admin who is not in the table.
    fn operator(&self) -> caller::UserCaller {
        let now = self.now();
        let user = users::User {
            id: UserId(uuid::Uuid::nil()),
            email: None,
            name: None,
            role: Role::Admin,
            active: true,
            deactivated_by: None,
            epoch: deputize_core::epoch::Epoch::default(),
            deactivated_at: None,
            groups: Vec::new(),
            identities: Vec::new(),
            claims: Vec::new(),
            counted: users::CountedClaims::default(),
            created_at: now,
            updated_at: now,
        };
        caller::UserCaller::new(user, caller::CredentialId::UserToken("test".to_owned()))
    }
}
