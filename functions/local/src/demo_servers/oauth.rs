//! The demo server that plays Slack. It answers in the name of the user whose token it was given.

use axum::http::request::Parts;
use rmcp::handler::server::common::Extension;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::schema_for_output;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::JsonSchema;
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::repos::{ListRepos, Repos};
use super::{answer, refusal};

pub(super) struct OauthServer {
    tool_router: ToolRouter<Self>,
}

impl Default for OauthServer {
    fn default() -> Self {
        Self { tool_router: Self::tool_router() }
    }
}

/// Names and topics.
const CHANNELS: [(&str, &str); 3] =
    [("general", "Announcements"), ("support", "Customers who need us"), ("random", "Everything else")];

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct PostMessage {
    /// The channel's name, e.g. `general`
    channel: String,
    /// What to say
    text: String,
}

/// An answer, with the user in whose name it was given.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct InTheNameOf<T> {
    acting_as: String,
    #[serde(flatten)]
    answer: T,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Channels {
    channels: Vec<Channel>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Channel {
    name: &'static str,
    topic: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Message {
    channel: String,
    text: String,
    posted: bool,
}

#[tool_router]
impl OauthServer {
    /// Lists the repositories that an organization has connected.
    #[tool(
        output_schema = schema_for_output::<InTheNameOf<Repos>>(),
        annotations(title = "List repositories", read_only_hint = true)
    )]
    async fn list_repos(
        &self,
        Extension(request): Extension<Parts>,
        Parameters(ListRepos { org }): Parameters<ListRepos>,
    ) -> CallToolResult {
        match Repos::of(&org) {
            Ok(repos) => in_the_name_of(&request, &repos.sentence(), repos),
            Err(reason) => refusal(reason),
        }
    }

    /// Lists the workspace's channels.
    #[tool(
        output_schema = schema_for_output::<InTheNameOf<Channels>>(),
        annotations(title = "List channels", read_only_hint = true)
    )]
    async fn list_channels(&self, Extension(request): Extension<Parts>) -> CallToolResult {
        let channels = CHANNELS.into_iter().map(|(name, topic)| Channel { name, topic }).collect();
        let sentence = CHANNELS.map(|(name, _)| format!("#{name}")).join(", ");
        in_the_name_of(&request, &sentence, Channels { channels })
    }

    /// Posts a message to a channel. (In this demo nobody reads it.)
    #[tool(
        output_schema = schema_for_output::<InTheNameOf<Message>>(),
        annotations(title = "Post a message", read_only_hint = false, destructive_hint = false)
    )]
    async fn post_message(
        &self,
        Extension(request): Extension<Parts>,
        Parameters(PostMessage { channel, text }): Parameters<PostMessage>,
    ) -> CallToolResult {
        let name = channel.trim_start_matches('#');
        if !CHANNELS.iter().any(|(known, _)| *known == name) {
            return refusal(format!("no channel {channel:?}; list_channels lists them"));
        }
        let sentence = format!("posted to #{name}: {text}");
        in_the_name_of(&request, &sentence, Message { channel: name.to_owned(), text, posted: true })
    }
}

fn in_the_name_of(request: &Parts, sentence: &str, data: impl Serialize) -> CallToolResult {
    let Some(Access { user, .. }) = request.extensions.get::<Access>() else {
        return refusal("nobody is signed in".to_owned());
    };
    let data = InTheNameOf { acting_as: user.clone(), answer: data };
    answer(format!("acting as {user}: {sentence}"), &data)
}

#[tool_handler(
    router = self.tool_router,
    name = "demo-oauth",
    version = "1.0.0",
    instructions = "A made-up team chat. Every answer says whose credentials were used."
)]
impl ServerHandler for OauthServer {}
