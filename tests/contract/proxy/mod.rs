//! `/api/v1/proxy/{server_id}/tools`: what a call is let through for, what stops it, and what remains of it.

mod apps;
mod arguments;
mod audit_feed;
mod audit_list;
mod body;
mod challenge;
mod delegation;
mod edges;
mod in_flight;
mod listing;
mod policy;
mod revocations;
mod trail;
mod upstream;

use deputize_tests::{Agent, McpServer, TestApp, User};

use crate::scenario::Scenario;

/// The stage with the demo's MCP server behind `demo`. Everything is permitted.
pub(crate) struct Permitted {
    pub(crate) scenario: Scenario,
    pub(crate) mcp: McpServer,
}

impl Permitted {
    pub(crate) async fn set() -> Self {
        Self::set_in(TestApp::start().await).await
    }

    /// The same, in this app.
    pub(crate) async fn set_in(app: TestApp) -> Self {
        let it = Self::without_policies_in(app).await;
        it.scenario.app.permit_everything().await;
        it
    }

    pub(crate) async fn without_policies() -> Self {
        Self::without_policies_in(TestApp::start().await).await
    }

    async fn without_policies_in(app: TestApp) -> Self {
        let scenario = Scenario::in_app(app).await;
        let mcp = McpServer::start().await;
        scenario.app.server("demo").at(mcp.open_url()).await;
        Self { scenario, mcp }
    }

    pub(crate) fn app(&self) -> &TestApp {
        &self.scenario.app
    }

    pub(crate) fn bot(&self) -> &Agent {
        &self.scenario.bot
    }

    pub(crate) fn bob(&self) -> &User {
        &self.scenario.bob
    }
}
