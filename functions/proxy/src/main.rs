//! The Lambda function.

use std::process::ExitCode;

use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{config::Function, lambda};

// One request at a time is all that Lambda gives a process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(Function::Proxy, |parts| {
        let config = UpstreamConfig { addresses: parts.upstreams, ..UpstreamConfig::default() };
        Ok(deputize_proxy::router(parts.core, UpstreamClient::new(config)).into())
    })
    .await
}
