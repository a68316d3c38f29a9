//! `/api/v1/proxy/{server_id}/mcp`: unmodified clients of both eras, in front of servers of either.

mod bound;
mod bytes;
mod clients;
mod connect;
mod denied;
mod eras;
mod habits;
mod hostile;
mod lists;
mod param_headers;
mod pins;
mod pooled;
mod refused;
mod revoked;
mod session_messages;
mod sessions;
mod streams;
mod trail;

use deputize_proxy::upstream::UpstreamConfig;
use deputize_tests::{
    TestApp,
    mcp::{ProtocolEra, ScriptedServer},
};

use crate::scenario::Scenario;

/// The stage, with a modern server behind `new` and a handshake server behind `old`.
pub(crate) struct Scene {
    pub(crate) scenario: Scenario,
    pub(crate) new: ScriptedServer,
    pub(crate) old: ScriptedServer,
}

impl Scene {
    /// All users and agents may do everything.
    pub(crate) async fn set() -> Self {
        Self::within(UpstreamConfig::default()).await
    }

    /// The same, with other time limits for servers.
    async fn within(config: UpstreamConfig) -> Self {
        let it = Self::without_policies(config).await;
        it.app().permit_everything().await;
        it
    }

    async fn without_policies(config: UpstreamConfig) -> Self {
        let scenario = Scenario::in_app(TestApp::start_with(config).await).await;
        let new = ScriptedServer::start(ProtocolEra::Modern).await;
        let old = ScriptedServer::start(ProtocolEra::Handshake).await;
        scenario.app.server("new").at(new.url()).await;
        scenario.app.server("old").at(old.url()).await;
        Self { scenario, new, old }
    }

    pub(crate) fn app(&self) -> &TestApp {
        &self.scenario.app
    }

    /// A modern client's request, as Bob.
    fn modern(&self, server: &str, method: &str, fields: &str) -> deputize_tests::TestRequest {
        self.app().modern(server, method, fields).as_user(&self.scenario.bob)
    }

    /// A handshake client's request, as Bob.
    fn handshake(&self, server: &str, method: &str, params: &str) -> deputize_tests::TestRequest {
        self.app().handshake(server, method, params).as_user(&self.scenario.bob)
    }

    /// Posts a text like a handshake client, as Bob.
    fn post(&self, server: &str, text: &str) -> deputize_tests::TestRequest {
        let ask = self.app().mcp(server, text).as_user(&self.scenario.bob);
        ask.header("mcp-protocol-version", "2025-11-25")
    }

    /// A session of Bob's.
    async fn session(&self, server: &str) -> String {
        self.app().initialize(server).as_user(&self.scenario.bob).await.ok().session()
    }
}
