//! The audit event of a call. It begins with what is known of the caller, and is stored before the answer is sent.
//!
//! If the caller closes the connection, the handler is dropped. Dropping stores the event, as one whose tool may have
//! run. If the process dies after the call was sent, there is no event: `docs/troubleshooting.md` tells callers.

use std::{sync::Arc, time::Duration};

use deputize_core::{
    Core, Error, Result,
    access::{Access, PolicyContext, UpstreamCredentials},
    audit::{Action, Event, Outcome, RequestContext},
    authenticate::PresentedCredential,
    error::{Done, chain},
    ids::ServerId,
    policies::{Decision, Denial, Operation, graver},
    secret::sha256_hex,
};

use deputize_service::{ApiError, response::classify};
use http::StatusCode;
use serde_json::value::RawValue;

/// The longest tool name that is recorded, in characters. Longer names are refused.
pub(crate) const MAX_TOOL_NAME: usize = 256;

/// The event for a stream whose opening is already in the trail. It is stored only if we end the stream.
#[derive(Debug)]
pub(crate) struct StreamAudit {
    opened: Event,
    core: Arc<Core>,
}

impl StreamAudit {
    /// Stores that the stream was ended, and why. The stream ends even if this fails.
    pub(crate) async fn ended(self, request: &RequestContext, why: &Error) {
        if classify(why).0 == StatusCode::FORBIDDEN {
            request.measured.deny();
        }
        if let Err(error) = self.core.table.append(&self.opened.failed(why.to_string())).await {
            tracing::error!(request = %request.id, why = %chain(why), error = %chain(&error), "the end of a stream was not recorded");
        }
    }
}

/// A call's event until it is stored. If the caller closes the connection during the call, the handler is dropped. The
/// event is then stored from here, since the tool may have run.
#[derive(Debug)]
pub(crate) struct CallAudit {
    pub(crate) event: Event,
    /// What has been done if the call succeeds.
    pub(crate) done: Done,
    core: Arc<Core>,
    ended: bool,
}

impl Drop for CallAudit {
    fn drop(&mut self) {
        // A caller who is not authenticated is not recorded (see `end`).
        if self.ended || self.event.credential.is_none() {
            return;
        }
        let event = self.event.clone().failed(match self.done {
            Done::ToolCalled => "The caller went away before the answer; the tool may have run",
            _ => "The caller went away before the answer; the server may have been reached",
        });
        let core = Arc::clone(&self.core);
        // Code that ends or freezes the process waits for this.
        self.core.detach(async move {
            if let Err(error) = core.table.append(&event).await {
                tracing::error!(request = %event.request_id, error = %chain(&error), "an abandoned call was not recorded");
            }
        });
    }
}

/// A failure that a call can end with.
pub(crate) trait NotDone: From<Error> + std::fmt::Display {
    /// The core's error. `None` if the edge refused the call.
    fn of_core(&self) -> Option<&Error>;
}

impl NotDone for Error {
    fn of_core(&self) -> Option<&Error> {
        Some(self)
    }
}

impl NotDone for ApiError {
    fn of_core(&self) -> Option<&Error> {
        match self {
            Self::Core(error) => Some(error),
            Self::Edge(_) => None,
        }
    }
}

impl CallAudit {
    pub(crate) fn begin(
        core: &Arc<Core>,
        request: &RequestContext,
        presented: &PresentedCredential,
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

    /// Notes something that was seen during the call.
    pub(crate) fn note(&mut self, what: &str) {
        let before = self.event.detail.take().map(|before| before + "; ").unwrap_or_default();
        self.event = self.event.clone().note(before + what);
    }

    /// What the end of a stream is recorded with. [`Self::end`] stores the stream's opening.
    pub(crate) fn stream_audit(&self) -> StreamAudit {
        StreamAudit { opened: self.event.clone(), core: Arc::clone(&self.core) }
    }

    /// Asks the policies. Notes which of them permit it, and what those in mode `log` would have decided.
    pub(crate) fn require_permitted(
        &mut self,
        access: &Access,
        operation: Operation<'_>,
        arguments: Option<&RawValue>,
        context: PolicyContext<'_>,
    ) -> Result<()> {
        let decision = access.permits(operation, arguments, context)?;
        let would = access.would_decide(operation, arguments, context, &decision);
        self.event.logged = graver(self.event.logged.take(), would);
        match decision {
            Decision::Permitted(policies) => {
                self.event.policies = policies.iter().map(ToString::to_string).collect();
                Ok(())
            }
            Decision::Denied(denial) => Err(Error::PolicyDenied(denial)),
        }
    }

    pub(crate) fn with_credentials(&mut self, credentials: &UpstreamCredentials) {
        if let UpstreamCredentials::Session(session) = credentials {
            self.event.credentials_of = Some(session.of);
            self.event.grant_id = session.grant;
        }
    }

    /// Stores the event. The caller learns of the outcome only after this.
    ///
    /// A caller who is not authenticated is not recorded. There is no known caller to record, and anybody could fill
    /// the trail.
    pub(crate) async fn end<T, E: NotDone>(
        mut self,
        request: &RequestContext,
        outcome: Result<T, E>,
    ) -> Result<T, E> {
        self.ended = true;
        let refusal = outcome.as_ref().err();
        if let Some(error) = refusal.and_then(E::of_core)
            && classify(error).0 == StatusCode::FORBIDDEN
        {
            request.measured.deny();
        }
        let core = Arc::clone(&self.core);
        let mut event = self.event.clone();
        if event.credential.is_none() {
            return outcome;
        }
        event = match refusal.map(|refusal| (refusal, refusal.of_core())) {
            None => event,
            Some((_, Some(Error::PolicyDenied(Denial { denied_for, policies, reason })))) => {
                event.policies = policies.iter().map(ToString::to_string).collect();
                let who = serde_json::to_string(denied_for).unwrap_or_default();
                event.denied(format!("Policy denied for the {}: {reason}", who.trim_matches('"')))
            }
            Some((
                error,
                Some(
                    Error::Upstream { .. }
                    | Error::ProviderUnavailable { .. }
                    | Error::StreamEnded { .. }
                    | Error::Internal(_),
                ),
            )) => event.failed(error.to_string()),
            Some((error, _)) => event.denied(error.to_string()),
        };
        let called = event.outcome != Outcome::Denied;
        match core.table.append(&event).await {
            Ok(()) => outcome,
            // If the call could not be recorded, its outcome is not answered.
            Err(error) if called => {
                let done = if outcome.is_ok() { self.done } else { Done::Attempted };
                tracing::error!(request = %request.id, ?done, tool = event.tool, error = %chain(&error), "not recorded");
                let cause = Box::new(error);
                Err(Error::Unrecorded { done, retry_after: Duration::from_secs(1), cause }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}
