//! What is called.

use serde_json::value::RawValue;

use crate::{
    entities::server::Server,
    error::{Error, Result},
    policies::{CallFacts, CompiledPolicies, Operation, Possibility, Principals},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its name.
    Tool(String),
    /// By its URI.
    Resource(String),
    /// By its name.
    Prompt(String),
}

/// What a call says beside its target.
#[derive(Debug, Default)]
pub struct CallDetails {
    pub arguments: Option<Box<RawValue>>,
    pub source_ip: Option<std::net::IpAddr>,
    pub client_name: Option<String>,
}

impl Target {
    pub(crate) fn operation(&self) -> Operation<'_> {
        match self {
            Self::Tool(name) => Operation::CallTool(name),
            Self::Resource(uri) => Operation::ReadResource(uri),
            Self::Prompt(name) => Operation::GetPrompt(name),
        }
    }

    /// What the policies are asked about a call of it.
    pub(super) fn facts<'a>(&'a self, server: &'a Server, details: &'a CallDetails) -> CallFacts<'a> {
        CallFacts {
            server,
            operation: self.operation(),
            arguments: details.arguments.as_deref(),
            source_ip: details.source_ip,
            client_name: details.client_name.as_deref(),
        }
    }

    /// Whether a call of it has arguments, so that one without them is not known.
    fn takes_arguments(&self) -> bool {
        !matches!(self, Self::Resource(_))
    }

    /// The decision, or what it depends on if there are no arguments.
    pub(super) fn judge(
        &self,
        policies: &CompiledPolicies,
        principals: Principals<'_>,
        facts: &CallFacts<'_>,
    ) -> Result<Possibility> {
        if facts.arguments.is_some() || !self.takes_arguments() {
            policies.decide(principals, facts).map(Possibility::Decided)
        } else {
            policies.possibility(principals, facts)
        }
    }

    pub(super) fn require_fitting(&self, details: &CallDetails) -> Result<()> {
        if details.arguments.is_some() && !self.takes_arguments() {
            return Err(Error::invalid("arguments: reading a resource has none"));
        }
        Ok(())
    }
}
