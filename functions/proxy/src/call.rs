//! What a call through the proxy begins with, at whichever endpoint: who says to be calling, which server, and
//! what is needed on the way.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use deputize_core::{
    Core, Result,
    access::{self, Access},
    audit::{Action, RequestContext},
    authenticate::PresentedCredential,
    ids::ServerId,
};
use deputize_service::{
    ApiError,
    extract::{Context, Credential, Path},
};
use http::{HeaderMap, request::Parts};

use crate::{Proxy, call_audit::CallAudit, pins::SeenApprovals, upstream::UpstreamClient};

/// What came with an HTTP request.
#[derive(Clone)]
pub(crate) struct ProxyCall {
    pub(crate) core: Arc<Core>,
    pub(crate) upstream: UpstreamClient,
    pub(crate) seen_approvals: SeenApprovals,
    pub(crate) request: RequestContext,
    pub(crate) server: ServerId,
    pub(crate) headers: HeaderMap,
}

/// A caller, and the credential that is used up by letting them in.
pub(crate) struct IncomingCall {
    pub(crate) call: ProxyCall,
    pub(crate) presented: PresentedCredential,
}

impl FromRequestParts<Proxy> for IncomingCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Proxy) -> Result<Self, ApiError> {
        state.prepare();
        let Context(request) = Context::from_request_parts(parts, state).await?;
        // Who has no credential learns nothing of the path, and nobody's body is read before both.
        let Credential(presented) = Credential::from_request_parts(parts, state).await?;
        let Path(server) = Path::from_request_parts(parts, state).await?;
        let Proxy { core, upstream, seen_approvals, .. } = state.clone();
        let headers = std::mem::take(&mut parts.headers);
        Ok(Self { call: ProxyCall { core, upstream, seen_approvals, request, server, headers }, presented })
    }
}

impl ProxyCall {
    /// The audit event of what is asked for.
    pub(crate) fn audit(&self, presented: &PresentedCredential, action: Action) -> Result<CallAudit> {
        CallAudit::begin(&self.core, &self.request, presented, action, &self.server)
    }

    /// Proves the caller and finds the server.
    pub(crate) async fn admit(
        &self,
        presented: PresentedCredential,
        audit: &mut CallAudit,
    ) -> Result<Arc<Access>> {
        let Self { core, request, server, .. } = self;
        Ok(Arc::new(access::admit(core, presented, server, request, &mut audit.event).await?))
    }
}
