//! How a call that may go ahead gets into the server: whose credentials, presented how, and what it means if they are
//! refused. Every request to a server goes by [`with_refresh`], so that each is made once more with a refreshed session.

use std::sync::Arc;

use deputize_core::{
    Core, Error, Result,
    access::{Access, UpstreamCredentials},
    audit::RequestContext,
};

use futures::future::BoxFuture;

use crate::{
    call_audit::CallAudit,
    failure::failure,
    upstream::{Authorization, InboundRequest, Target, UpstreamError},
};

/// The way into a server.
pub(crate) struct UpstreamAccess {
    core: Arc<Core>,
    request: RequestContext,
    access: Arc<Access>,
    credentials: UpstreamCredentials,
    pub(crate) target: Target,
}

impl UpstreamAccess {
    /// With the credentials that are the caller's to use. An OAuth session that is about to expire is
    /// refreshed first.
    pub(crate) async fn to(
        core: &Arc<Core>,
        request: &RequestContext,
        access: &Arc<Access>,
        audit: &mut CallAudit,
    ) -> Result<Self> {
        let credentials = access.credentials(core, request).await?;
        audit.with_credentials(&credentials);
        let target = target(request, access, &credentials)?;
        let (core, access) = (Arc::clone(core), Arc::clone(access));
        Ok(Self { core, request: request.clone(), access, credentials, target })
    }

    pub(crate) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The caller was let in anew, as the same and with the same credentials.
    pub(crate) fn readmitted(&mut self, access: Arc<Access>) {
        self.access = access;
    }

    /// [`with_refresh`] of a request whose failure is told to the caller.
    pub(crate) async fn ask<'c, T>(
        &mut self,
        ask: impl for<'a> Fn(&'a Target, Outlives<'a, 'c>) -> BoxFuture<'a, Result<T, UpstreamError>>
        + Send
        + Sync,
    ) -> Result<T> {
        let ask = &ask;
        let asked = with_refresh(self, |upstream_access: &mut Self, _| {
            Box::pin(async move { ask(&upstream_access.target, []).await.map_err(Failed::AtServer) })
        });
        match asked.await {
            Ok(answer) => Ok(answer),
            Err(Failed::AtServer(error)) => Err(self.failure(error)),
            Err(Failed::Before(error)) => Err(error),
        }
    }

    /// If the server refused an OAuth session that we thought good: whether a refreshed one may be tried.
    async fn is_renewed_after(&mut self, failed: Option<&UpstreamError>) -> Result<bool> {
        let (Some(UpstreamError::Unauthorized { .. }), UpstreamCredentials::Session(refused)) =
            (failed, &self.credentials)
        else {
            return Ok(false);
        };
        let renewed = self.access.renewed(&self.core, &self.request, refused).await?;
        self.credentials = UpstreamCredentials::Session(Box::new(renewed));
        self.target = target(&self.request, &self.access, &self.credentials)?;
        Ok(true)
    }

    /// What a failure of the call means to the caller.
    pub(crate) fn failure(&self, error: UpstreamError) -> Error {
        failure(&self.core, &self.access, &self.credentials, error)
    }
}

/// Something that goes into a server with an entry.
pub(crate) trait HasUpstreamAccess {
    fn upstream_access(&mut self) -> &mut UpstreamAccess;
}

impl HasUpstreamAccess for UpstreamAccess {
    fn upstream_access(&mut self) -> &mut UpstreamAccess {
        self
    }
}

/// A failure that may be the server's refusal of the credentials.
pub(crate) trait MaybeUpstreamError: From<Error> {
    fn upstream_error(&self) -> Option<&UpstreamError>;
}

enum Failed {
    AtServer(UpstreamError),
    Before(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Before(error)
    }
}

impl MaybeUpstreamError for Failed {
    fn upstream_error(&self) -> Option<&UpstreamError> {
        match self {
            Self::AtServer(error) => Some(error),
            Self::Before(_) => None,
        }
    }
}

/// Says, by its type alone, that what a request borrows (`'c`) outlives each time that it is made (`'a`). With an async
/// closure instead the compiler would not find the handlers' futures to be `Send`.
pub(crate) type Outlives<'a, 'c> = [&'a &'c (); 0];

/// Makes a request, and makes it once more with a refreshed OAuth session if the server refused one that we thought
/// good. A request that is refused so has not reached a tool.
pub(crate) async fn with_refresh<'c, S: HasUpstreamAccess, T, E: MaybeUpstreamError>(
    by: &mut S,
    request: impl for<'a> Fn(&'a mut S, Outlives<'a, 'c>) -> BoxFuture<'a, Result<T, E>>,
) -> Result<T, E> {
    let made = request(by, []).await;
    let refused = made.as_ref().err().and_then(E::upstream_error);
    if by.upstream_access().is_renewed_after(refused).await? { request(by, []).await } else { made }
}

fn target(request: &RequestContext, access: &Access, credentials: &UpstreamCredentials) -> Result<Target> {
    let url = access.server.url.parse().map_err(|_| Error::internal("a server's address does not parse"))?;
    let authorization = match credentials {
        UpstreamCredentials::None => None,
        UpstreamCredentials::Header { name, value } => {
            let name = name.parse().map_err(|_| Error::internal("a server's header has no name"))?;
            Some(Authorization::Header { name, value: value.clone() })
        }
        UpstreamCredentials::Session(session) => Some(Authorization::Bearer(session.access_token.clone())),
    };
    let credential_key = access.key_of(credentials);
    let inbound = InboundRequest {
        trace: request.trace.clone(),
        until: request.work_until,
        measured: Arc::clone(&request.measured),
    };
    Ok(Target { server_id: access.server.id.to_string(), url, authorization, credential_key, inbound })
}
