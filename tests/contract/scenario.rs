//! What most tests start from.

use deputize_tests::{Agent, TestApp, User};

/// Alice is an admin and owns the agent account `bot`. Bob delegates to it. Carol has nothing to do with it.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) app: TestApp,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) carol: User,
    pub(crate) bot: Agent,
}

impl Scenario {
    pub(crate) async fn start() -> Self {
        Self::in_app(TestApp::start().await).await
    }

    pub(crate) async fn in_app(app: TestApp) -> Self {
        let alice = app.user("alice").admin().await;
        let bob = app.user("bob").await;
        let carol = app.user("carol").await;
        let bot = app.agent("bot", &alice).await;
        app.delegate(&bot, &bob).await;
        Self { app, alice, bob, carol, bot }
    }
}
