//! How a permitted call is authenticated at the server: with whose credentials, presented how, and what it means if the
//! server refuses them. Every request to a server goes through [`with_refresh`], so that each can be made once more
//! with a refreshed session.

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

/// The access to a server.
pub(crate) struct UpstreamAccess {
    core: Arc<Core>,
    request: RequestContext,
    access: Arc<Access>,
    credentials: UpstreamCredentials,
    pub(crate) target: Target,
}

impl UpstreamAccess {
    /// With the credentials that the caller may use. An OAuth session that is about to expire is refreshed first.
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

    /// The caller was admitted again, as the same caller and with the same credentials.
    pub(crate) fn readmitted(&mut self, access: Arc<Access>) {
        self.access = access;
    }

    /// [`with_refresh`], for a request whose failure is reported to the caller.
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

    /// Whether a refreshed OAuth session may be tried, because the server refused one that we considered valid.
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

/// Something that has access to a server.
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

/// Says, by its type alone, that what a request borrows (`'c`) outlives each attempt at it (`'a`). With an async
/// closure instead, the compiler would not find the handlers' futures to be `Send`.
pub(crate) type Outlives<'a, 'c> = [&'a &'c (); 0];

/// Makes a request. If the server refused an OAuth session that we considered valid, makes it once more with a
/// refreshed one. A request that is refused in this way has not reached a tool.
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
        in_flight: request.in_flight.clone(),
    };
    Ok(Target { server_id: access.server.id.to_string(), url, authorization, credential_key, inbound })
}
