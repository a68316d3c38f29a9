//! The demo server that every caller may use.

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::schema_for_output;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::JsonSchema;
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};

use super::repos::{ListRepos, Repos};
use super::{answer, refusal};

pub(super) struct OpenServer {
    tool_router: ToolRouter<Self>,
}

impl Default for OpenServer {
    fn default() -> Self {
        Self { tool_router: Self::tool_router() }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct DeleteRepo {
    /// The organization's name, e.g. `acme-corp`
    org: String,
    /// The repository's name, e.g. `website`
    repo: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Deleted {
    full_name: String,
    deleted: bool,
}

#[tool_router]
impl OpenServer {
    /// Lists an organization's repositories.
    #[tool(
        output_schema = schema_for_output::<Repos>(),
        annotations(title = "List repositories", read_only_hint = true)
    )]
    async fn list_repos(&self, Parameters(ListRepos { org }): Parameters<ListRepos>) -> CallToolResult {
        match Repos::of(&org) {
            Ok(repos) => answer(repos.sentence(), &repos),
            Err(reason) => refusal(reason),
        }
    }

    /// Deletes a repository with all that is in it. (In this demo it only says so.)
    #[tool(
        output_schema = schema_for_output::<Deleted>(),
        annotations(title = "Delete a repository", read_only_hint = false, destructive_hint = true)
    )]
    async fn delete_repo(
        &self,
        Parameters(DeleteRepo { org, repo }): Parameters<DeleteRepo>,
    ) -> CallToolResult {
        match Repos::of(&org) {
            Ok(repos) if repos.has(&repo) => {
                let full_name = format!("{org}/{repo}");
                answer(format!("deleted {full_name}"), &Deleted { full_name, deleted: true })
            }
            Ok(repos) => refusal(format!("no repository {repo:?}; {}", repos.sentence())),
            Err(reason) => refusal(reason),
        }
    }
}

#[tool_handler(
    router = self.tool_router,
    name = "demo",
    version = "1.0.0",
    instructions = "Repositories of a made-up code host. Nothing here is real."
)]
impl ServerHandler for OpenServer {}
