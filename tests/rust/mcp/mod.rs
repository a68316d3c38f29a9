//! `/api/v1/proxy/{server_id}/mcp`: unmodified clients of both eras, in front of servers of either.

mod bytes;
mod denied;
mod eras;
mod hostile;
mod lists;
mod param_headers;
mod pins;
mod pooled;
mod refused;
mod sessions;
mod streams;
mod trail;
mod unasked;

use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{
    TestApp,
    mcp::{Era, ScriptedServer},
};

use crate::stage::Stage;

/// The stage, with a modern server behind `new` and a handshake server behind `old`.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) new: ScriptedServer,
    pub(crate) old: ScriptedServer,
}

impl Scene {
    /// Everybody may do everything.
    pub(crate) async fn set() -> Self {
        Self::within(UpstreamConfig::default()).await
    }

    /// The same, with other bounds on what servers may take.
    async fn within(config: UpstreamConfig) -> Self {
        let it = Self::without_policies(config).await;
        it.app().permit_everything().await;
        it
    }

    async fn without_policies(config: UpstreamConfig) -> Self {
        let stage = Stage::in_app(TestApp::start_with(config).await).await;
        let new = ScriptedServer::start(Era::Modern).await;
        let old = ScriptedServer::start(Era::Handshake).await;
        stage.app.server("new").at(new.url()).await;
        stage.app.server("old").at(old.url()).await;
        Self { stage, new, old }
    }

    pub(crate) fn app(&self) -> &TestApp {
        &self.stage.app
    }

    /// A modern client's request, as Bob.
    fn modern(&self, server: &str, method: &str, fields: &str) -> deputize_tests::Ask {
        self.app().modern(server, method, fields).as_user(&self.stage.bob)
    }

    /// A handshake client's request, as Bob.
    fn handshake(&self, server: &str, method: &str, params: &str) -> deputize_tests::Ask {
        self.app().handshake(server, method, params).as_user(&self.stage.bob)
    }

    /// A text as a handshake client posts it, as Bob.
    fn post(&self, server: &str, text: &str) -> deputize_tests::Ask {
        let ask = self.app().mcp(server, text).as_user(&self.stage.bob);
        ask.header("mcp-protocol-version", "2025-11-25")
    }

    /// A session of Bob's.
    async fn session(&self, server: &str) -> String {
        self.app().initialize(server).as_user(&self.stage.bob).await.ok().session()
    }
}
