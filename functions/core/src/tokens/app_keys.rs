//! The keys that apps publish at their `jwks_uri`.
//!
//! They are fetched for an app that presents a live code or refresh token of its own, and kept for a while. So nobody can
//! make this service fetch anything without having been allowed something. An assertion that none of them has signed
//! fetches them anew, at most every [`REFETCH_AFTER`].

use std::{fmt, sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::assertion::Assertion;
use crate::{
    Core,
    clock::Timestamp,
    error::{Result, TokenError},
    jwk::PublishedJwk,
    network::{NoDocument, document},
};

/// How many apps' keys a process keeps.
const CAPACITY: usize = 500;
/// How many keys of an app are looked at.
const MAX_KEYS: usize = 50;
/// How long an assertion that no key has signed does not make the keys be fetched again.
const REFETCH_AFTER: Duration = Duration::from_secs(30);
/// After this time they are always fetched again, so that a key that the app has withdrawn is dropped.
const KEEP_FOR: Duration = Duration::from_mins(10);

pub(crate) struct AppKeys(Cache<String, Arc<Fetched>>);

struct Fetched {
    keys: Vec<PublishedJwk>,
    at: Timestamp,
}

impl Default for AppKeys {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl fmt::Debug for AppKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKeys")
    }
}

impl AppKeys {
    /// Whether a key that is published there has signed an assertion.
    pub(super) async fn have_signed(
        &self,
        core: &Core,
        jwks_uri: &str,
        assertion: &Assertion<String>,
    ) -> Result<bool> {
        let now = core.clock.now();
        if let Some(kept) = self.0.get(jwks_uri).filter(|kept| now < kept.at.plus(KEEP_FOR)) {
            if assertion.is_by_published(&kept.keys) {
                return Ok(true);
            }
            if now < kept.at.plus(REFETCH_AFTER) {
                return Ok(false);
            }
        }
        let fetched = Arc::new(Fetched { keys: fetch(core, jwks_uri).await?, at: now });
        self.0.insert(jwks_uri.to_owned(), Arc::clone(&fetched));
        Ok(assertion.is_by_published(&fetched.keys))
    }
}

/// RFC 7517 section 5. A key that cannot be read, or is for something else, is passed over.
async fn fetch(core: &Core, jwks_uri: &str) -> Result<Vec<PublishedJwk>> {
    #[derive(Deserialize)]
    struct JwkSet {
        keys: Vec<Value>,
    }
    let none = |why: String| TokenError::InvalidAssertion(format!("the app's jwks_uri: {why}").into());
    let url = jwks_uri.parse::<Url>().map_err(|_| none("it is no URL".to_owned()))?;
    match document::<JwkSet>(&*core.http, &url).await {
        Ok(set) => {
            Ok(set.keys.into_iter().take(MAX_KEYS).filter_map(|key| PublishedJwk::read(key).ok()).collect())
        }
        Err(NoDocument::Absent) => Err(none("there is no document".to_owned()).into()),
        Err(NoDocument::Malformed(why)) => Err(none(why.to_string()).into()),
        Err(NoDocument::Http(error)) => Err(error.from("the app's jwks_uri")),
    }
}
