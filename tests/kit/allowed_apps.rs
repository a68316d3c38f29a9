//! Apps that users allowed to act as them, and the tokens that those have.

use deputize_core::{
    apps::{App, AppAuth, AppKind, AppRegistration, Authorization, BlockedHost, app_id},
    epoch::Epoch,
    ids::AuthorizationId,
    scope::Scopes,
    table::{Change, Entity, Key},
    tokens::{Resource, sign_app_token},
    users,
};
use uuid::Uuid;

use crate::{TestApp, User};

/// The app of most tests: an MCP client that is known by its document.
pub const CLIENT_ID: &str = "https://client.example/app.json";

/// What a user allowed an app, and a token of the app's.
#[derive(Clone, Debug)]
pub struct AllowedApp {
    pub authorization: Authorization,
    /// Good for all that was allowed.
    pub token: String,
}

impl AllowedApp {
    /// Where the authorization is in the table.
    pub fn key(&self) -> Key {
        Key::authorization(self.authorization.user_id, self.authorization.id)
    }
}

impl TestApp {
    /// `user` allows an app to use a resource. The app is known by its document, unless its id is no address.
    pub async fn allow_app(
        &self,
        user: &User,
        client_id: &str,
        resource: Resource,
        scope: &str,
    ) -> AllowedApp {
        let now = self.now();
        let host = client_id.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        let authorization = Authorization {
            id: AuthorizationId(Uuid::new_v4()),
            user_id: user.id,
            user_epoch: self.epoch_of(user).await,
            app: app_id(client_id),
            app_kind: if host.is_some() { AppKind::Document } else { AppKind::Dynamic },
            app_name: None,
            app_host: host.map(str::to_owned),
            resource,
            scope: Scopes::of(scope),
            created_at: now,
            allowed_at: now,
            used_at: now,
        };
        let key = Key::authorization(user.id, authorization.id);
        self.put_entity(key, &authorization).await;
        let token = self.app_token(&authorization, scope).await;
        AllowedApp { authorization, token }
    }

    async fn epoch_of(&self, user: &User) -> Epoch {
        users::get(&self.core, user.id).await.unwrap().epoch
    }

    /// `user` allows an MCP client to call the tools of all servers.
    pub async fn allow_tools(&self, user: &User) -> AllowedApp {
        self.allow_app(user, CLIENT_ID, Resource::Proxy, "tools:call").await
    }

    /// `user` allows an app to manage things for them.
    pub async fn allow_management(&self, user: &User) -> AllowedApp {
        self.allow_app(user, CLIENT_ID, Resource::Management, "manage").await
    }

    /// `user` allows an app that an admin registered.
    pub async fn allow_registered(&self, user: &User, resource: Resource, scope: &str) -> AllowedApp {
        let mut allowed = self.allow_app(user, "registered", resource, scope).await;
        let created_at = self.now();
        let registration = Some(AppRegistration {
            name: "An app".to_owned(),
            redirect_uris: vec!["https://app.example.com/callback".to_owned()],
            auth: AppAuth::None,
            trusted: false,
        });
        let id = allowed.authorization.app.clone();
        let app = App { id, registration, blocked_at: None, created_at };
        self.put_entity(Key::app(&app.id), &app).await;
        allowed.authorization.app_kind = AppKind::Registered;
        self.put_entity(allowed.key(), &allowed.authorization).await;
        allowed
    }

    /// An admin registers an app no longer.
    pub fn unregister(&self, allowed: &AllowedApp) {
        let Key { pk, sk } = Key::app(&allowed.authorization.app);
        self.remove(&pk, &sk);
    }

    /// Another token that rests on an authorization.
    pub async fn app_token(&self, authorization: &Authorization, scope: &str) -> String {
        let keyring = self.core.latest_keyring().await.unwrap();
        sign_app_token(&self.core, &keyring, authorization, Scopes::of(scope)).await.unwrap().token
    }

    /// The user revokes what they allowed an app.
    pub fn disallow(&self, allowed: &AllowedApp) {
        let Key { pk, sk } = allowed.key();
        self.remove(&pk, &sk);
    }

    /// An admin blocks an app.
    pub async fn block_allowed(&self, allowed: &AllowedApp) {
        let app = &allowed.authorization.app;
        let (blocked_at, created_at) = (Some(self.now()), self.now());
        self.put_entity(Key::app(app), &App { id: app.clone(), registration: None, blocked_at, created_at })
            .await;
    }

    /// An admin blocks all apps of a host.
    pub async fn block_apps_of(&self, host: &str) {
        let blocked = BlockedHost { host: host.to_owned(), blocked_at: self.now() };
        self.put_entity(Key::app_host(host), &blocked).await;
    }

    async fn put_entity<T: Entity>(&self, key: Key, value: &T) {
        let mut change = Change::new();
        change.put_ending(key, value, None).unwrap();
        self.core.table.commit(change).await.unwrap();
    }
}
