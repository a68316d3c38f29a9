//! Fetches an issuer's metadata and keys.

use std::{future::Future, net::Ipv4Addr, pin::Pin, time::Duration};

use deputize_core::{
    error::{Cause, because},
    issuers::Fetch,
};
use url::{Host, Url};

use crate::{authorities::Authorities, lazy::LazyClient};

/// The longest document that is read, in bytes.
const MAX_LENGTH: usize = 512 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// HTTPS without redirects. An issuer's addresses come from the operator's configuration, or from a document
/// at such an address.
#[derive(Clone, Debug)]
pub struct HttpFetch(LazyClient);

impl HttpFetch {
    pub fn new() -> Self {
        Self::trusting(Authorities::default())
    }

    /// The same, which also trusts these authorities.
    pub fn trusting(authorities: Authorities) -> Self {
        Self(LazyClient::new(move |client| {
            let client = authorities.trusted_by(client);
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
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>> {
        Box::pin(async move {
            let url = allowed(url)?;
            let failed = reqwest::Error::without_url;
            let mut response = self.0.get().map_err(failed)?.get(url).send().await.map_err(failed)?;
            if !response.status().is_success() {
                return Err(format!("status {}", response.status()).into());
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > MAX_LENGTH {
                    return Err(format!("longer than {MAX_LENGTH} bytes").into());
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        })
    }
}

/// An address that an issuer's documents may be fetched from: an https address, or one of this machine. The parsed
/// address is the one that is connected to. A text that begins like one of ours may name another host.
fn allowed(text: &str) -> Result<Url, Cause> {
    let url = Url::parse(text).map_err(|error| because("no address", error))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address must not contain a user name or password".into());
    }
    let here = url.host() == Some(Host::Ipv4(Ipv4Addr::LOCALHOST));
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err("only https is allowed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_only_begins_like_this_machines_address_is_not_fetched() {
        for elsewhere in [
            "http://127.0.0.1:80@evil.example/",
            "http://127.0.0.1:pass@evil.example/",
            "https://user:password@login.example.com/",
            "http://127.0.0.1.evil.example/",
            "http://localhost:80/",
            "http://evil.example/",
            "http:evil.example",
            "http://[::ffff:127.0.0.1]:80/",
            "file:///etc/passwd",
            "ftp://127.0.0.1:80/",
            "127.0.0.1:80",
            "",
        ] {
            let refused = HttpFetch::new().fetch(elsewhere).await.unwrap_err().to_string();
            let by_us = ["only https", "no address", "the address must not"];
            assert!(by_us.iter().any(|why| refused.starts_with(why)), "{elsewhere}: {refused}");
        }
    }

    #[test]
    fn https_and_this_machine_are_allowed() {
        for (text, host) in [
            ("https://login.example.com/jwks", "login.example.com"),
            ("HTTPS://login.example.com/jwks", "login.example.com"),
            ("http://127.0.0.1:8787/jwks", "127.0.0.1"),
            ("http://2130706433:8787/jwks", "127.0.0.1"),
        ] {
            assert_eq!(allowed(text).unwrap().host_str(), Some(host), "{text}");
        }
    }
}
