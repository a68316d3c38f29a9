//! An HTTP client that is made when it is first used.
//!
//! Making one reads and parses all certificates that the machine trusts. That is more work than everything else that
//! a function does before it can take its first request, and few of the first requests need it.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use reqwest::{Client, ClientBuilder, Error, redirect, retry};

use crate::address::{AddressPolicy, GuardedResolver};

/// Cheap to clone; clones share the client.
#[derive(Clone)]
pub struct LazyClient(Arc<Lazy>);

struct Lazy {
    configured: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
    made: OnceLock<Client>,
    /// Held while it is being made: whoever wants it then waits for it, rather than do the same work.
    making: Mutex<()>,
}

impl LazyClient {
    /// A client as it is configured here.
    pub fn new(configured: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self(Arc::new(Lazy {
            configured: Box::new(configured),
            made: OnceLock::new(),
            making: Mutex::new(()),
        }))
    }

    /// One for addresses that somebody else has chosen: they are decided on by what a connection is made to, nobody
    /// leads it elsewhere, and what it sends, it sends once. Times are for `configured` to bound.
    pub fn guarded(
        addresses: AddressPolicy,
        configured: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |client| {
            let client = client
                .user_agent(concat!("deputize/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(Arc::new(GuardedResolver(addresses)))
                // A proxy of the environment would connect where our address policy does not look.
                .no_proxy()
                .redirect(redirect::Policy::none())
                .referer(false)
                // A tool must not run twice, and providers end a session whose refresh token they see again.
                .retry(retry::never())
                .http1_only()
                // A few compressed bytes could be many; nothing here asks for compression.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate();
            configured(client)
        })
    }

    /// The client. Fails if TLS cannot be set up, and then tries again the next time.
    pub fn get(&self) -> Result<&Client, Error> {
        let lazy = &*self.0;
        if let Some(made) = lazy.made.get() {
            return Ok(made);
        }
        let _making = lazy.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = lazy.made.get() {
            return Ok(made);
        }
        let made = (lazy.configured)(Client::builder()).build()?;
        Ok(lazy.made.get_or_init(|| made))
    }
}

impl fmt::Debug for LazyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyClient").field(&self.0.made).finish()
    }
}
