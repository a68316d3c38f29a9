//! An HTTP client that is made when it is first used.
//!
//! Making one reads and parses all certificates that the machine trusts. That is more work than everything else that
//! a function does before it can take its first request, and few of the first requests need it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use reqwest::{Client, ClientBuilder, Error};

/// Cheap to clone; clones share the client.
#[derive(Clone)]
pub struct LazyClient(Arc<Lazy>);

struct Lazy {
    configured: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
    made: OnceLock<Client>,
}

impl LazyClient {
    /// A client as it is configured here.
    pub fn new(configured: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self(Arc::new(Lazy { configured: Box::new(configured), made: OnceLock::new() }))
    }

    /// The client. Fails if TLS cannot be set up, and then tries again the next time.
    pub fn get(&self) -> Result<&Client, Error> {
        let lazy = &*self.0;
        if let Some(made) = lazy.made.get() {
            return Ok(made);
        }
        // Of two that are made at once, one is kept.
        let made = (lazy.configured)(Client::builder()).build()?;
        Ok(lazy.made.get_or_init(|| made))
    }
}

impl fmt::Debug for LazyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyClient").field(&self.0.made).finish()
    }
}
