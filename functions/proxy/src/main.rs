//! The Lambda function.

use std::process::ExitCode;

use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{config::Function, lambda};

#[tokio::main]
async fn main() -> ExitCode {
    lambda::run(Function::Proxy, |parts| {
        let config = UpstreamConfig { addresses: parts.upstreams, ..UpstreamConfig::default() };
        let upstream = UpstreamClient::new(config).map_err(|error| error.to_string())?;
        Ok(deputize_proxy::router(parts.core, upstream).into())
    })
    .await
}
