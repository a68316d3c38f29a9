//! What every call through the proxy begins with, at every endpoint: who claims to be calling, which server is called,
//! and what the rest of the call needs.

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

/// A caller, and the credential that the admission uses up.
pub(crate) struct IncomingCall {
    pub(crate) call: ProxyCall,
    pub(crate) presented: PresentedCredential,
}

impl FromRequestParts<Proxy> for IncomingCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Proxy) -> Result<Self, ApiError> {
        state.prepare();
        let Context(request) = Context::from_request_parts(parts, state).await?;
        // A caller without a credential learns nothing about the path. No body is read before both checks.
        let Credential(presented) = Credential::from_request_parts(parts, state).await?;
        let Path(server) = Path::from_request_parts(parts, state).await?;
        let Proxy { core, upstream, seen_approvals, .. } = state.clone();
        let headers = std::mem::take(&mut parts.headers);
        Ok(Self { call: ProxyCall { core, upstream, seen_approvals, request, server, headers }, presented })
    }
}

impl ProxyCall {
    /// The audit event of the call.
    pub(crate) fn audit(&self, presented: &PresentedCredential, action: Action) -> Result<CallAudit> {
        CallAudit::begin(&self.core, &self.request, presented, action, &self.server)
    }

    /// Authenticates the caller and finds the server.
    pub(crate) async fn admit(
        &self,
        presented: PresentedCredential,
        audit: &mut CallAudit,
    ) -> Result<Arc<Access>> {
        let Self { core, request, server, .. } = self;
        Ok(Arc::new(access::admit(core, presented, server, request, &mut audit.event).await?))
    }
}
