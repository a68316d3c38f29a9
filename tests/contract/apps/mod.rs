//! Apps that act as their user.

mod tokens_clients;
mod tokens_code;
mod tokens_kinds;
mod tokens_metadata;
mod tokens_own;
mod tokens_pages;
mod tokens_races;
mod tokens_refresh;

use deputize_tests::{AppClient, TestApp, User, apps::Allowed};

/// Bob, and what he allowed an app of `app.example`.
pub(crate) struct Signed {
    pub(crate) app: TestApp,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) client: AppClient,
    pub(crate) allowed: Allowed,
}

impl Signed {
    /// A public app may manage what is Bob's, and refresh.
    pub(crate) async fn up() -> Self {
        Self::up_in(TestApp::start().await).await
    }

    pub(crate) async fn up_in(app: TestApp) -> Self {
        Self::up_as(app, AppClient::public("app.example")).await
    }

    pub(crate) async fn up_as(app: TestApp, client: AppClient) -> Self {
        let alice = app.user("alice").admin().await;
        let bob = app.user("bob").await;
        let allowed = app.allow(&bob, &client, "management", "manage offline_access").await;
        Self { app, alice, bob, client, allowed }
    }
}
