//! What a call through the proxy begins with, at whichever endpoint: who says to be calling, which server, and
//! what is needed on the way.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use deputize_core::{
    Core, Result,
    access::{self, Access},
    audit::{Action, Request},
    authenticate::Presented,
    ids::ServerId,
};
use deputize_service::{
    ApiError,
    extract::{Context, Credential, Path},
};
use http::{HeaderMap, request::Parts};

use crate::{Proxy, pins::Shown, trail::Trail, upstream::UpstreamClient};

/// What came with an HTTP request.
pub(crate) struct Caller {
    pub(crate) core: Arc<Core>,
    pub(crate) upstream: UpstreamClient,
    pub(crate) shown: Shown,
    pub(crate) request: Request,
    pub(crate) server: ServerId,
    pub(crate) headers: HeaderMap,
}

/// A caller, and the credential that is used up by letting them in.
pub(crate) struct Arrival {
    pub(crate) caller: Caller,
    pub(crate) presented: Presented,
}

impl FromRequestParts<Proxy> for Arrival {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Proxy) -> Result<Self, ApiError> {
        state.prepare();
        let Context(request) = Context::from_request_parts(parts, state).await?;
        // Who has no credential learns nothing of the path, and nobody's body is read before both.
        let Credential(presented) = Credential::from_request_parts(parts, state).await?;
        let Path(server) = Path::from_request_parts(parts, state).await?;
        let Proxy { core, upstream, shown, .. } = state.clone();
        let headers = std::mem::take(&mut parts.headers);
        Ok(Self { caller: Caller { core, upstream, shown, request, server, headers }, presented })
    }
}

impl Caller {
    /// The audit event of what is asked for.
    pub(crate) fn trail(&self, presented: &Presented, action: Action) -> Result<Trail> {
        Trail::begin(&self.core, &self.request, presented, action, &self.server)
    }

    /// Proves the caller and finds the server.
    pub(crate) async fn admit(&self, presented: Presented, trail: &mut Trail) -> Result<Arc<Access>> {
        let Self { core, request, server, .. } = self;
        Ok(Arc::new(access::admit(core, presented, server, request, &mut trail.event).await?))
    }
}
