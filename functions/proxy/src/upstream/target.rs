//! The server that a call goes to, and the credential that it carries.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deputize_core::{audit::Measured, in_flight::InFlight, trace::Trace};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::Equivalent;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// An MCP server and the credential to present there.
#[derive(Clone)]
pub struct Target {
    /// Our id of the server.
    pub server_id: String,
    /// The MCP endpoint.
    pub url: Url,
    /// The credential that the call presents.
    pub authorization: Option<Authorization>,
    /// Stands for the caller and the credential, and never is the credential itself. Calls with the same key share
    /// sessions, also after the token is renewed. Calls with different keys do not.
    pub credential_key: String,
    /// What is taken over from the request for which the server is called.
    pub inbound: InboundRequest,
}

/// What is taken over from the request for which a server is called. It does not depend on what the server is asked.
/// The default is empty.
#[derive(Debug, Clone, Default)]
pub struct InboundRequest {
    /// W3C trace context, for the headers `traceparent` and `tracestate`.
    pub trace: Trace,
    /// The time until which an answer is of use.
    pub until: Option<Instant>,
    /// Counts the time spent waiting for the server.
    pub measured: Arc<Measured>,
    /// The room for answers.
    pub in_flight: InFlight,
}

impl InboundRequest {
    /// The part of an allowed duration that is still left.
    pub(super) fn at_most(&self, allowed: Duration) -> Duration {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(allowed, |left| left.min(allowed))
    }

    /// Adds the trace to the headers.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(Ok(parent)) = self.trace.traceparent().map(HeaderValue::try_from) {
            headers.insert(TRACEPARENT, parent);
            if let Some(Ok(state)) = self.trace.tracestate().map(HeaderValue::from_str) {
                headers.insert(TRACESTATE, state);
            }
        }
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A credential, and how it is presented.
#[derive(Debug, Clone)]
pub enum Authorization {
    /// An access token (RFC 6750 section 2.1).
    Bearer(SecretString),
    /// A header that the server defines.
    Header {
        /// The header's name.
        name: HeaderName,
        /// Its value.
        value: SecretString,
    },
}

impl From<String> for Authorization {
    fn from(token: String) -> Self {
        Self::Bearer(token.into())
    }
}

impl Authorization {
    /// The header that presents it. `None` if the value is not valid in a header.
    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Bearer(token) => {
                (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", token.expose_secret())))
            }
            Self::Header { name, value } => (name.clone(), HeaderValue::from_str(value.expose_secret())),
        };
        let mut value = value.ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

// Written by hand, since a URL's path or query may hold a secret too.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("server_id", &self.server_id)
            .field("host", &self.url.host_str())
            .field("credential_key", &self.credential_key)
            .finish_non_exhaustive()
    }
}

/// The key under which a server's properties are remembered. The URL is part of it: a server that was moved counts as
/// another server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ServerKey {
    server_id: Box<str>,
    url: Box<str>,
}

/// [`ServerKey`], borrowed: the hot path looks up without allocating.
#[derive(Hash)]
pub(super) struct ServerRef<'a> {
    server_id: &'a str,
    url: &'a str,
}

impl Equivalent<ServerKey> for ServerRef<'_> {
    fn equivalent(&self, key: &ServerKey) -> bool {
        self.server_id == &*key.server_id && self.url == &*key.url
    }
}

/// The key for what belongs to one caller with one credential at one server. A credential of `None` means all callers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CredentialKey {
    server: ServerKey,
    credential: Option<Box<str>>,
}

/// [`CredentialKey`], borrowed.
#[derive(Hash)]
pub(super) struct CredentialRef<'a> {
    server: ServerRef<'a>,
    credential: Option<&'a str>,
}

impl Equivalent<CredentialKey> for CredentialRef<'_> {
    fn equivalent(&self, key: &CredentialKey) -> bool {
        self.credential == key.credential.as_deref() && self.server.equivalent(&key.server)
    }
}

impl Target {
    /// The same target, with at most `allowed` from now.
    pub(super) fn within(&self, allowed: Duration) -> Self {
        let until = Instant::now() + self.inbound.at_most(allowed);
        Self { inbound: InboundRequest { until: Some(until), ..self.inbound.clone() }, ..self.clone() }
    }

    pub(super) fn server_ref(&self) -> ServerRef<'_> {
        ServerRef { server_id: &self.server_id, url: self.url.as_str() }
    }

    pub(super) fn server_key(&self) -> ServerKey {
        ServerKey { server_id: self.server_id.as_str().into(), url: self.url.as_str().into() }
    }

    pub(super) fn credential_ref(&self) -> CredentialRef<'_> {
        CredentialRef { server: self.server_ref(), credential: Some(&self.credential_key) }
    }

    pub(super) fn credential_key(&self) -> CredentialKey {
        CredentialKey { server: self.server_key(), credential: Some(self.credential_key.as_str().into()) }
    }

    pub(super) fn anybody_ref(&self) -> CredentialRef<'_> {
        CredentialRef { server: self.server_ref(), credential: None }
    }

    pub(super) fn anybody_key(&self) -> CredentialKey {
        CredentialKey { server: self.server_key(), credential: None }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn target() -> Target {
        Target {
            server_id: "s1".into(),
            url: "https://example.com/mcp?key=in-the-url".parse().unwrap(),
            authorization: Some("the-token".to_owned().into()),
            credential_key: "alice".into(),
            inbound: InboundRequest::default(),
        }
    }

    #[test]
    fn a_target_prints_neither_its_token_nor_its_query() {
        let printed = format!("{:?}", target());
        assert!(!printed.contains("the-token"), "{printed}");
        assert!(!printed.contains("in-the-url"), "{printed}");
    }

    #[test]
    fn borrowed_and_owned_keys_are_the_same_key() {
        let (target, hasher) = (target(), RandomState::new());
        assert!(target.server_ref().equivalent(&target.server_key()));
        assert_eq!(hasher.hash_one(target.server_ref()), hasher.hash_one(target.server_key()));
        assert!(target.credential_ref().equivalent(&target.credential_key()));
        assert_eq!(hasher.hash_one(target.credential_ref()), hasher.hash_one(target.credential_key()));
        assert!(!target.anybody_ref().equivalent(&target.credential_key()));
    }
}
