//! `/api/v1/proxy/{server_id}/tools`. Arguments, tools and results are the MCP server's and pass as they are.

use serde::{Deserialize, Serialize};

/// Which tool, and with what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ToolCall, bound = ""))]
#[serde(deny_unknown_fields)]
pub struct ToolCall<Arguments = ()> {
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 256, example = "list_repos"))]
    pub tool_name: String,
    /// What the tool takes; `{}` if left out. No object in it may have a name twice.
    #[serde(default = "Option::default")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<HashMap<String, Value>>, example = json!({ "org": "acme-corp" }))
    )]
    pub arguments: Option<Arguments>,
}

/// The tools of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Tools, bound = ""))]
pub struct Tools<Tool = ()> {
    /// MCP `Tool`s, as the server gave them and in its order.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<HashMap<String, Value>>))]
    pub tools: Vec<Tool>,
}
