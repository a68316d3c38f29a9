//! Lists of tools: the contents of one page, and what is remembered from a whole list.

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

/// How long header annotations are believed. When they have changed, a server refuses a call with `HeaderMismatch`. The
/// bound is for servers that do not check.
const BELIEVED_FOR: Duration = Duration::from_mins(5);

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
        serde_json::from_str(result.get()).map_err(|error| UpstreamError::unread("no list of tools", &error))
    }

    /// Whether the server says that every caller gets this page
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

/// The header annotations of the servers that were called.
pub(super) struct KnownHeaders {
    known: Cache<CredentialKey, Known>,
}

#[derive(Clone)]
struct Known {
    headers: Arc<ParamHeaders>,
    since: Instant,
}

impl Known {
    fn now(headers: Arc<ParamHeaders>) -> Self {
        Self { headers, since: Instant::now() }
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed() < BELIEVED_FOR
    }
}

impl KnownHeaders {
    pub(super) fn new(capacity: usize) -> Self {
        Self { known: Cache::new(capacity) }
    }

    /// What is known for this credential, or else what the list made by `list` says. Concurrent callers share one list.
    /// If the server cannot give a list, the old knowledge stays in use.
    pub(super) async fn of(
        &self,
        target: &Target,
        list: impl AsyncFnOnce() -> Result<ToolList, UpstreamError>,
    ) -> Result<Arc<ParamHeaders>, UpstreamError> {
        let own = self.known.get(&target.credential_ref());
        let known = own.or_else(|| self.known.get(&target.anybody_ref()));
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            return Ok(Arc::clone(&known.headers));
        }
        self.known.remove_if(&target.credential_ref(), |own| !own.is_fresh());
        let key = target.credential_key();
        let learnt = self.known.get_or_insert_async(&key, async {
            match (Box::pin(list()).await, known) {
                (Ok(mut list), _) => Ok(self.learn_for_everybody(target, &mut list)),
                (Err(_), Some(stale)) => Ok(Known::now(stale.headers)),
                (Err(error), None) => Err(error),
            }
        });
        Ok(learnt.await?.headers)
    }

    /// What is known for this credential, if it is fresh. The server is not asked.
    pub(super) fn get(&self, target: &Target) -> Option<Arc<ParamHeaders>> {
        let known =
            self.known.get(&target.credential_ref()).or_else(|| self.known.get(&target.anybody_ref()));
        known.filter(Known::is_fresh).map(|known| known.headers)
    }

    /// Remembers the annotations of a list, and removes the tools from it that must not be used.
    pub(super) fn learn(&self, target: &Target, list: &mut ToolList) -> Arc<ParamHeaders> {
        let known = self.learn_for_everybody(target, list);
        self.known.insert(target.credential_key(), known.clone());
        known.headers
    }

    fn learn_for_everybody(&self, target: &Target, list: &mut ToolList) -> Known {
        let mut headers = ParamHeaders::default();
        list.tools.retain(|tool| match headers.learn(tool) {
            Ok(()) => true,
            Err((tool, reason)) => {
                tracing::warn!(server = %target.server_id, ?tool, reason, "tool definition rejected");
                false
            }
        });
        let known = Known::now(Arc::new(headers));
        if list.for_everybody {
            self.known.insert(target.anybody_key(), known.clone());
        }
        known
    }
}
