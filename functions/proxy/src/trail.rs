//! The audit event of a call: begun with what is known of the caller, stored before the answer leaves.

use deputize_core::{
    Core, Error, Result,
    access::Credentials,
    audit::{Action, Event, Outcome, Request},
    authenticate::Presented,
    ids::{PolicyId, ServerId},
    policies::Denial,
    secret::sha256_hex,
};

/// The longest tool name that is recorded, in characters; longer ones are refused.
pub(crate) const MAX_TOOL_NAME: usize = 256;

#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) event: Event,
}

impl Trail {
    pub(crate) fn begin(
        core: &Core,
        request: &Request,
        presented: &Presented,
        action: Action,
        server: &ServerId,
    ) -> Result<Self> {
        let event = presented.event(core, request, action)?.server(server.clone());
        Ok(Self { event })
    }

    pub(crate) fn tool(&mut self, name: &str, arguments: &str) {
        self.event.tool = Some(name.chars().take(MAX_TOOL_NAME).collect());
        self.event.arguments_sha256 = Some(sha256_hex(arguments.as_bytes()));
    }

    pub(crate) fn permitted_by(&mut self, policies: Vec<PolicyId>) {
        self.event.policies = policies.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn with_credentials(&mut self, credentials: &Credentials) {
        self.event.credentials_of = Some(credentials.of);
        self.event.grant_id = credentials.grant;
    }

    /// Stores the event. Whatever the call came to, its caller learns of it only after this.
    pub(crate) async fn end<T>(self, core: &Core, request: &Request, outcome: Result<T>) -> Result<T> {
        let mut event = self.event;
        let now = core.clock.now();
        event.duration_ms =
            request.received_at.and_then(|from| u64::try_from(now.as_millis() - from.as_millis()).ok());
        event = match &outcome {
            Ok(_) => event,
            Err(Error::PolicyDenied(Denial { denied_for, policies, reason })) => {
                event.policies = policies.iter().map(ToString::to_string).collect();
                let who = serde_json::to_string(denied_for).unwrap_or_default();
                event.denied(format!("Policy denied for the {}: {reason}", who.trim_matches('"')))
            }
            Err(error @ (Error::Upstream { .. } | Error::Internal(_))) => event.failed(error.to_string()),
            Err(error) => event.denied(error.to_string()),
        };
        let called = event.outcome != Outcome::Denied;
        match core.table.append(&event).await {
            Ok(()) => outcome,
            // What could not be recorded is not answered as if it had been.
            Err(Error::Unavailable { retry_after, cause }) if called => {
                tracing::error!(event = %event.id, tool = event.tool, %cause, "a call was made, but not recorded");
                Err(Error::Unrecorded { retry_after, cause })
            }
            Err(error) => Err(error),
        }
    }
}
