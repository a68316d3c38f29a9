//! Requests to addresses that another party has chosen: authorization servers that MCP servers name.

use std::time::Duration;

use deputize_core::{
    connections::ASK_WITHIN,
    network::{Http, HttpError, MaxBytes, ResponseFuture},
};
use http::{Request, Response};
use url::Url;

use crate::{
    address::{AddressPolicy, refusal_in},
    authorities::Authorities,
    lazy::GuardedClient,
};

/// The longest answer that is read, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From the first byte of the request to the last of the answer.
    pub total: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: ASK_WITHIN }
    }
}

/// HTTP with limits: addresses by policy, no redirects, no proxy from the environment, no compression.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: GuardedClient,
    addresses: AddressPolicy,
}

impl Outbound {
    pub fn new(addresses: AddressPolicy, times: Times) -> Self {
        Self::trusting(addresses, Authorities::default(), times)
    }

    /// The same, which also trusts these authorities.
    pub fn trusting(addresses: AddressPolicy, authorities: Authorities, times: Times) -> Self {
        let client = GuardedClient::new(&addresses, authorities, move |client| {
            client.connect_timeout(times.connect).timeout(times.total).pool_max_idle_per_host(0)
        });
        Self { client, addresses }
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        let max_bytes = request.extensions().get().map_or(MAX_BYTES, |MaxBytes(wanted)| *wanted);
        let url: Url = request.uri().to_string().parse().map_err(|_| refused("it is no URL"))?;
        self.check(&url)?;
        let request = request.try_into().map_err(|_| refused("it is no URL"))?;
        let client = self.client.for_url(&url).map_err(failed)?;
        let mut answer = client.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > max_bytes {
                return Err(HttpError::TooLarge(max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl Http for Outbound {
    fn send(&self, request: Request<Vec<u8>>) -> ResponseFuture<'_> {
        Box::pin(self.exchange(request))
    }

    fn check(&self, url: &Url) -> Result<(), HttpError> {
        self.addresses.check_url(url).map_err(|refusal| HttpError::Refused(refusal.into()))
    }
}

fn refused(why: &str) -> HttpError {
    HttpError::Refused(why.into())
}

fn failed(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if let Some(refusal) = refusal_in(&error) {
        HttpError::Refused(refusal.into())
    } else if error.is_connect() || error.is_builder() {
        // The server was not reached. A timeout while connecting counts as this too.
        HttpError::Unreachable(error.into())
    } else if error.is_timeout() {
        HttpError::TimedOut
    } else {
        HttpError::Interrupted(error.into())
    }
}
