//! The audit event of a call: begun with what is known of the caller, stored before the answer leaves.

use std::{sync::Arc, time::Duration};

use deputize_core::{
    Core, Error, Result,
    access::Credentials,
    audit::{Action, Event, Outcome, Request},
    authenticate::Presented,
    error::Done,
    ids::{PolicyId, ServerId},
    policies::Denial,
    secret::sha256_hex,
};

use deputize_service::response::classify;
use http::StatusCode;

/// The longest tool name that is recorded, in characters; longer ones are refused.
pub(crate) const MAX_TOOL_NAME: usize = 256;

/// A call's event until it is stored. If the caller goes away in the middle of the call, so does the
/// handler; the event is then stored from here, since the tool may have run.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) event: Event,
    /// What has been done if it succeeds.
    pub(crate) done: Done,
    core: Arc<Core>,
    ended: bool,
}

impl Drop for Trail {
    fn drop(&mut self) {
        // Whoever proved nothing is not recorded (see `end`).
        if self.ended || self.event.credential.is_none() {
            return;
        }
        let event = self.event.clone().failed(match self.done {
            Done::ToolCalled => "The caller went away before the answer; the tool may have run",
            _ => "The caller went away before the answer; the server may have been reached",
        });
        let core = Arc::clone(&self.core);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = core.table.append(&event).await {
                    tracing::error!(event = %event.id, %error, "an abandoned call was not recorded");
                }
            });
        }
    }
}

impl Trail {
    pub(crate) fn begin(
        core: &Arc<Core>,
        request: &Request,
        presented: &Presented,
        action: Action,
        server: &ServerId,
    ) -> Result<Self> {
        let event = presented.event(core, request, action)?.server(server.clone());
        let done = if action == Action::ToolCall { Done::ToolCalled } else { Done::RequestMade };
        Ok(Self { event, done, core: Arc::clone(core), ended: false })
    }

    pub(crate) fn tool(&mut self, name: &str, arguments: &str) {
        self.event.tool = Some(name.chars().take(MAX_TOOL_NAME).collect());
        self.event.arguments_sha256 = Some(sha256_hex(arguments.as_bytes()));
    }

    /// Notes something that was seen on the way.
    pub(crate) fn note(&mut self, what: &str) {
        let before = self.event.detail.take().map(|before| before + "; ").unwrap_or_default();
        self.event = self.event.clone().note(before + what);
    }

    pub(crate) fn permitted_by(&mut self, policies: &[PolicyId]) {
        self.event.policies = policies.iter().map(ToString::to_string).collect();
    }

    pub(crate) fn with_credentials(&mut self, credentials: &Credentials) {
        if let Credentials::Session(session) = credentials {
            self.event.credentials_of = Some(session.of);
            self.event.grant_id = session.grant;
        }
    }

    /// Stores the event. Whatever the call came to, its caller learns of it only after this.
    ///
    /// A caller who has proven nothing is not recorded: there is nobody to record, and anybody could fill
    /// the trail.
    pub(crate) async fn end<T>(mut self, request: &Request, outcome: Result<T>) -> Result<T> {
        self.ended = true;
        if let Err(error) = &outcome
            && classify(error).0 == StatusCode::FORBIDDEN
        {
            request.measured.deny();
        }
        let core = Arc::clone(&self.core);
        let mut event = self.event.clone();
        if event.credential.is_none() {
            return outcome;
        }
        event.duration_ms = request.elapsed_ms(core.clock.now());
        event = match &outcome {
            Ok(_) => event,
            Err(Error::PolicyDenied(Denial { denied_for, policies, reason })) => {
                event.policies = policies.iter().map(ToString::to_string).collect();
                let who = serde_json::to_string(denied_for).unwrap_or_default();
                event.denied(format!("Policy denied for the {}: {reason}", who.trim_matches('"')))
            }
            Err(
                error @ (Error::Upstream { .. } | Error::ProviderUnavailable { .. } | Error::Internal(_)),
            ) => event.failed(error.to_string()),
            Err(error) => event.denied(error.to_string()),
        };
        let called = event.outcome != Outcome::Denied;
        match core.table.append(&event).await {
            Ok(()) => outcome,
            // What could not be recorded is not answered as if it had been.
            Err(error) if called => {
                let done = if outcome.is_ok() { self.done } else { Done::Attempted };
                tracing::error!(event = %event.id, ?done, tool = event.tool, %error, "not recorded");
                let cause = error.to_string();
                Err(Error::Unrecorded { done, retry_after: Duration::from_secs(1), cause })
            }
            Err(error) => Err(error),
        }
    }
}
