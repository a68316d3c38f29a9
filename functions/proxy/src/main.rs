//! The Lambda function.

use std::process::ExitCode;

use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{config::Function, lambda};

#[tokio::main]
async fn main() -> ExitCode {
    lambda::run(Function::Proxy, |parts| {
        let config = UpstreamConfig { addresses: parts.upstreams, ..UpstreamConfig::default() };
        Ok(deputize_proxy::router(parts.core, UpstreamClient::new(config)).into())
    })
    .await
}
