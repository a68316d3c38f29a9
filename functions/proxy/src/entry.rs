//! How a call that may go ahead gets into the server: whose credentials, presented how, and what it means
//! if they are refused.

use std::sync::Arc;

use deputize_core::{
    Core, Error, Result,
    access::{Access, Credentials},
    audit::Request,
};

use crate::{
    failure::failure,
    trail::Trail,
    upstream::{Authorization, Journey, Target, UpstreamError},
};

/// The way into a server.
pub(crate) struct Entry {
    core: Arc<Core>,
    request: Request,
    access: Arc<Access>,
    credentials: Credentials,
    pub(crate) target: Target,
}

impl Entry {
    /// With the credentials that are the caller's to use. An OAuth session that is about to expire is
    /// refreshed first.
    pub(crate) async fn to(
        core: &Arc<Core>,
        request: &Request,
        access: &Arc<Access>,
        trail: &mut Trail,
    ) -> Result<Self> {
        let credentials = access.credentials(core, request).await?;
        trail.with_credentials(&credentials);
        let target = target(request, access, &credentials)?;
        let (core, access) = (Arc::clone(core), Arc::clone(access));
        Ok(Self { core, request: request.clone(), access, credentials, target })
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// If the server refused an OAuth session that we thought good: whether a refreshed one may be tried,
    /// once. What is refused so has not reached a tool.
    pub(crate) async fn is_renewed_after(&mut self, failed: Option<&UpstreamError>) -> Result<bool> {
        let (Some(UpstreamError::Unauthorized { .. }), Credentials::Session(refused)) =
            (failed, &self.credentials)
        else {
            return Ok(false);
        };
        let renewed = self.access.renewed(&self.core, &self.request, refused).await?;
        self.credentials = Credentials::Session(Box::new(renewed));
        self.target = target(&self.request, &self.access, &self.credentials)?;
        Ok(true)
    }

    /// What a failure of the call means to the caller.
    pub(crate) fn failure(&self, error: &UpstreamError) -> Error {
        failure(&self.core, &self.access, &self.credentials, error)
    }
}

fn target(request: &Request, access: &Access, credentials: &Credentials) -> Result<Target> {
    let url = access.server.url.parse().map_err(|_| Error::internal("a server's address does not parse"))?;
    let authorization = match credentials {
        Credentials::None => None,
        Credentials::Header { name, value } => {
            let name = name.parse().map_err(|_| Error::internal("a server's header has no name"))?;
            Some(Authorization::Header { name, value: value.clone() })
        }
        Credentials::Session(session) => Some(Authorization::Bearer(session.access_token.clone())),
    };
    // An upstream session belongs to one credential.
    let credential_key = access.credential_key();
    let journey = Journey {
        trace: request.trace.clone(),
        until: request.work_until,
        measured: Arc::clone(&request.measured),
    };
    Ok(Target { server_id: access.server.id.to_string(), url, authorization, credential_key, journey })
}
