//! Fetching an issuer's metadata and keys.

use std::{future::Future, pin::Pin, time::Duration};

use deputize_core::issuers::Fetch;

use crate::lazy::LazyClient;

/// The longest document that is read, in bytes.
const MAX_LENGTH: usize = 512 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// HTTPS without redirects: an issuer's addresses are configured by the operator, or named by a document
/// from such an address.
#[derive(Clone, Debug)]
pub struct HttpFetch(LazyClient);

impl HttpFetch {
    pub fn new() -> Self {
        Self(LazyClient::new(|client| {
            client.timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy()
        }))
    }
}

impl Default for HttpFetch {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetch for HttpFetch {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>> {
        Box::pin(async move {
            if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1:") {
                return Err("only https is allowed".to_owned());
            }
            let failed = |error: reqwest::Error| error.without_url().to_string();
            let mut response = self.0.get().map_err(failed)?.get(url).send().await.map_err(failed)?;
            if !response.status().is_success() {
                return Err(format!("status {}", response.status()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > MAX_LENGTH {
                    return Err(format!("longer than {MAX_LENGTH} bytes"));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        })
    }
}
