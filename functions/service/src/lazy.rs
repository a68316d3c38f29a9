//! An HTTP client that is made when it is first used.
//!
//! To make a client, all certificates that the machine trusts are read and parsed. That is more work than everything
//! else that a function does before it can accept its first request, and few first requests need the client.
//! `SSL_CERT_FILE`, which the templates set, names the one file that holds them. Without it, the files beside it are
//! read too, which hold the same certificates.

use std::{fmt, sync::Arc};

use once_cell::sync::OnceCell;
use reqwest::{Client, ClientBuilder, Error, redirect, retry};

use crate::address::{AddressPolicy, GuardedResolver};

/// Cheap to clone. Clones share the client.
#[derive(Clone)]
pub struct LazyClient(Arc<Lazy>);

struct Lazy {
    configured: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
    made: OnceCell<Client>,
}

impl LazyClient {
    /// A client with this configuration.
    pub fn new(configured: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self(Arc::new(Lazy { configured: Box::new(configured), made: OnceCell::new() }))
    }

    /// A client for addresses that another party has chosen. The address of the connection itself is checked,
    /// redirects are not followed, and each request is sent only once. `configured` sets the time limits.
    pub fn guarded(
        addresses: AddressPolicy,
        configured: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |client| {
            let client = client
                .user_agent(concat!("deputize/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(Arc::new(GuardedResolver(addresses)))
                // An environment's proxy would connect to addresses that the address policy does not see.
                .no_proxy()
                .redirect(redirect::Policy::none())
                .referer(false)
                // A tool must not run twice, and a provider ends a session if it sees a refresh token twice.
                .retry(retry::never())
                .http1_only()
                // A few compressed bytes could expand to many. Deputize asks for no compression.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate();
            configured(client)
        })
    }

    /// The client. Concurrent callers wait for the same client. Fails if TLS cannot be set up. The next call then tries
    /// again.
    pub fn get(&self) -> Result<&Client, Error> {
        self.0.made.get_or_try_init(|| (self.0.configured)(Client::builder()).build())
    }
}

impl fmt::Debug for LazyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyClient").field(&self.0.made).finish()
    }
}
