//! Lists of tools: one page's contents, and what is remembered of a whole list.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::param_headers::ParamHeaders;
use super::target::CredentialKey;
use super::{Target, UpstreamError};

/// How long header annotations are believed. A server says itself when they have changed, by refusing a
/// call with `HeaderMismatch`; this is for one that does not check.
const BELIEVED_FOR: Duration = Duration::from_secs(300);

/// A page of a list
/// ([tools, listing](https://modelcontextprotocol.io/specification/2026-07-28/server/tools#listing-tools)).
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    pub(super) tools: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "nextCursor")]
    pub(super) next_cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "cacheScope")]
    cache_scope: Option<Cow<'a, str>>,
}

impl<'a> Page<'a> {
    pub(super) fn parse(result: &'a RawValue) -> Result<Self, UpstreamError> {
        serde_json::from_str(result.get())
            .map_err(|error| UpstreamError::protocol(format!("no list of tools: {error}")))
    }

    /// Whether the server says that everybody gets this page
    /// ([caching](https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/caching#cache-scope-field)).
    pub(super) fn is_for_everybody(&self) -> bool {
        self.cache_scope.as_deref() == Some("public")
    }
}

/// A whole list.
pub(super) struct ToolList {
    pub(super) tools: Vec<Box<RawValue>>,
    pub(super) for_everybody: bool,
}

/// The header annotations of the servers seen.
pub(super) struct KnownHeaders {
    known: Cache<CredentialKey, Known>,
}

#[derive(Clone)]
struct Known {
    headers: Arc<ParamHeaders>,
    since: Instant,
}

impl KnownHeaders {
    pub(super) fn new(capacity: usize) -> Self {
        Self { known: Cache::new(capacity) }
    }

    /// What is known for this credential, and whether it is fresh.
    pub(super) fn get(&self, target: &Target) -> Option<(Arc<ParamHeaders>, bool)> {
        let known =
            self.known.get(&target.credential_ref()).or_else(|| self.known.get(&target.anybody_ref()))?;
        Some((known.headers, known.since.elapsed() < BELIEVED_FOR))
    }

    /// Remembers what a list says, and takes out of it the tools that must not be used.
    pub(super) fn learn(&self, target: &Target, list: &mut ToolList) -> Arc<ParamHeaders> {
        let mut headers = ParamHeaders::default();
        list.tools.retain(|tool| match headers.learn(tool) {
            Ok(()) => true,
            Err((tool, reason)) => {
                tracing::warn!(server = %target.server_id, ?tool, reason, "tool definition rejected");
                false
            }
        });
        let headers = Arc::new(headers);
        let known = Known { headers: Arc::clone(&headers), since: Instant::now() };
        if list.for_everybody {
            self.known.remove(&target.credential_ref());
            self.known.insert(target.anybody_key(), known);
        } else {
            self.known.insert(target.credential_key(), known);
        }
        headers
    }

    /// Says that what was known is worth another while, since the server cannot say better now.
    pub(super) fn keep(&self, target: &Target, headers: &Arc<ParamHeaders>) {
        let known = Known { headers: Arc::clone(headers), since: Instant::now() };
        self.known.insert(target.credential_key(), known);
    }
}
