//! The call that a question is about.

use std::net::IpAddr;

use deputize_core::{
    Error,
    explain::{CallDetails, Target},
};
use serde_json::value::RawValue;

use deputize_service::bounds::{Name, PromptName, ResourceUri, ToolName};

/// What a body says of a call.
pub(super) struct CallFields {
    pub(super) tool_name: Option<ToolName>,
    pub(super) resource_uri: Option<ResourceUri>,
    pub(super) prompt_name: Option<PromptName>,
    pub(super) arguments: Option<Box<RawValue>>,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) client_name: Option<Name>,
}

impl CallFields {
    pub(super) fn read(self) -> Result<(Target, CallDetails), Error> {
        let target = match (self.tool_name, self.resource_uri, self.prompt_name) {
            (Some(name), None, None) => Target::Tool(name.into()),
            (None, Some(uri), None) => Target::Resource(uri.into()),
            (None, None, Some(name)) => Target::Prompt(name.into()),
            _ => return Err(Error::invalid("Name one of tool_name, resource_uri and prompt_name")),
        };
        let (arguments, source_ip) = (self.arguments, self.source_ip);
        Ok((target, CallDetails { arguments, source_ip, client_name: self.client_name.map(String::from) }))
    }
}
