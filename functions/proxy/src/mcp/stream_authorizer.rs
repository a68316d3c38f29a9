//! Whether a stream may go on.
//!
//! A request can lose its permission while its answer streams. So every 20 to 30 s its caller is admitted again, by the
//! function that admits every call ([`access::admit`]), and the policies are asked the same question. The answer must
//! be the same caller, at the same address, by the same connection, grant or header. Nothing else is decided here. In
//! the steady state that is one `BatchGetItem`, and nothing is written.
//!
//! Otherwise the stream ends. The stream of a request ends with a JSON-RPC error, the stream of a session without one.
//! Both are recorded in the trail.
//!
//! While the store cannot be reached, a stream goes on until 55 s after its caller was last admitted. With the time to
//! record its end, that is within a minute of a revocation.
//!
//! The time between two events is measured by tokio's clock. The clock of `Core` decides whether something has expired.
//! If a client does not read its stream, its caller is not admitted again, and nothing more is sent before that.

use std::{sync::Arc, time::Duration};

use deputize_core::{
    Core, Error, Result,
    access::{self, Access},
    audit::{Action, RequestContext},
    authenticate::PresentedCredential,
};
use deputize_service::response::classify;
use futures::{Stream, StreamExt};
use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::answer::KEEP_ALIVE_EVERY;
use crate::{
    upstream::{ServerEvent, UpstreamError},
    upstream_access::UpstreamAccess,
};

/// The shortest time between two admissions, and the most that is added to it at random, so that streams that were
/// opened together do not ask together.
const SOONEST: Duration = Duration::from_secs(20);
const SPREAD: Duration = Duration::from_secs(10);
/// How soon the admission is tried again while the store cannot be reached.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an admission is good for a stream.
const GOOD_FOR: Duration = Duration::from_secs(55);

/// Admits a stream's caller again.
pub(super) struct StreamAuthorizer {
    core: Arc<Core>,
    request: RequestContext,
    presented: PresentedCredential,
    /// The last admission of the caller.
    access: Arc<Access>,
    /// Stands for the credentials that the stream was opened with.
    in_use: String,
    due: Instant,
}

/// What comes next on a stream.
pub(super) enum Next {
    /// What the server says, or the end of the stream.
    Event(Option<Result<ServerEvent, UpstreamError>>),
    /// The stream was silent for so long that a comment should be sent.
    Silence,
    /// It is time for [`StreamAuthorizer::admit`], even if the server is sending.
    Due,
}

impl StreamAuthorizer {
    pub(super) fn over(
        upstream_access: &UpstreamAccess,
        request: &RequestContext,
        presented: PresentedCredential,
    ) -> Self {
        let mut authorizer = Self {
            core: Arc::clone(upstream_access.core()),
            request: request.clone(),
            presented,
            access: Arc::clone(upstream_access.access()),
            in_use: upstream_access.target.credential_key.clone(),
            due: upstream_access.access().since(),
        };
        authorizer.due = authorizer.next_time();
        authorizer
    }

    /// Waits for what comes next. If the future is dropped before, nothing is lost.
    pub(super) async fn next(
        &self,
        parts: &mut (impl Stream<Item = Result<ServerEvent, UpstreamError>> + Unpin),
    ) -> Next {
        let now = Instant::now();
        if now >= self.due {
            return Next::Due;
        }
        match timeout_at(self.due.min(now + KEEP_ALIVE_EVERY), parts.next()).await {
            Ok(said) => Next::Event(said),
            Err(_) if Instant::now() >= self.due => Next::Due,
            Err(_) => Next::Silence,
        }
    }

    /// Admits the caller again. `None` means that the store could not answer, and that the last admission is recent. An
    /// error says why the stream is to end.
    pub(super) async fn admit(&mut self) -> Result<Option<Arc<Access>>> {
        let until = self.access.since() + GOOD_FOR;
        match timeout_at(until, self.admit_once()).await {
            Ok(Ok(access)) => {
                self.access = Arc::new(access);
                self.due = self.next_time();
                Ok(Some(Arc::clone(&self.access)))
            }
            Ok(Err(error)) if classify(&error).0 != StatusCode::SERVICE_UNAVAILABLE => Err(error),
            Ok(Err(error)) => {
                let again = Instant::now() + AGAIN;
                self.due = again.min(until);
                if Instant::now() < until { Ok(None) } else { Err(error) }
            }
            Err(_) => Err(Error::unavailable("a stream's caller could not be let in anew in time")),
        }
    }

    async fn admit_once(&self) -> Result<Access> {
        let Self { core, request, presented, access: before, in_use, .. } = self;
        presented.require_unexpired(core.clock.now())?;
        // The stream already has an event in the trail, or will have one.
        let mut event = presented.event(core, request, Action::McpRequest)?;
        let access = access::admit(core, presented.clone(), &before.server.id, request, &mut event).await?;
        access.require_as_before(before, in_use, core.clock.now())?;
        Ok(access)
    }

    fn next_time(&self) -> Instant {
        let [part] = self.core.random.bytes::<1>().unwrap_or([u8::MAX]);
        self.access.since() + SOONEST + SPREAD * u32::from(part) / u32::from(u8::MAX)
    }
}
