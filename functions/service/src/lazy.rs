//! An HTTP client that is made when it is first used.
//!
//! To make a client, all certificates that the machine trusts are read and parsed. That is more work than everything
//! else that a function does before it can accept its first request, and few first requests need the client.
//! `SSL_CERT_FILE`, which the templates set, names the one file that holds them. Without it, the files beside it are
//! read too, which hold the same certificates.

use std::{fmt, sync::Arc};

use once_cell::sync::OnceCell;
use reqwest::{Client, ClientBuilder, Error, redirect, retry};
use url::Url;

use crate::{
    address::{AddressPolicy, Encryption, GuardedResolver, SystemResolver},
    authorities::Authorities,
};

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

/// Clients for addresses that another party has chosen. The address of the connection itself is checked, redirects are
/// not followed, and each request is sent only once.
///
/// There is one client for each scheme, since a resolver is not told the scheme: without encryption, connections stay
/// in one's own network. Cheap to clone; clones share the clients.
#[derive(Clone, Debug)]
pub struct GuardedClient {
    encrypted: LazyClient,
    plain: LazyClient,
}

impl GuardedClient {
    /// `configured` sets the time limits.
    pub fn new(
        addresses: &AddressPolicy,
        authorities: Authorities,
        configured: impl Fn(ClientBuilder) -> ClientBuilder + Clone + Send + Sync + 'static,
    ) -> Self {
        let guarded = |encryption| {
            let resolver = Arc::new(GuardedResolver::new(addresses.clone(), encryption, SystemResolver));
            let configured = configured.clone();
            move |client: ClientBuilder| {
                let client = client
                    .user_agent(concat!("deputize/", env!("CARGO_PKG_VERSION")))
                    .dns_resolver(Arc::clone(&resolver))
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
            }
        };
        let (encrypted, plain) = (guarded(Encryption::Tls), guarded(Encryption::None));
        Self {
            encrypted: LazyClient::new(move |client| {
                authorities.trusted_by(encrypted(client)).https_only(true)
            }),
            // Trusting no certificate, it needs not read those of the machine.
            plain: LazyClient::new(move |client| plain(client).tls_certs_only([])),
        }
    }

    /// The client for a URL, whose address has been checked. Fails if TLS cannot be set up.
    pub fn for_url(&self, url: &Url) -> Result<&Client, Error> {
        match Encryption::of(url) {
            Ok(Encryption::None) => self.plain.get(),
            _ => self.encrypted.get(),
        }
    }

    /// Sets up TLS. If that fails, the first request says so.
    pub fn prepare(&self) {
        let _ = self.encrypted.get();
    }
}
