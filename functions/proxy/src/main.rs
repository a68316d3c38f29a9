//! The Lambda function.

use std::process::ExitCode;

use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{
    config::{Function, SESSION_STREAMS_LAST},
    lambda,
};

// Lambda gives a process one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(Function::Proxy, |parts| {
        let config = UpstreamConfig {
            addresses: parts.upstreams,
            authorities: parts.authorities,
            stream_total_timeout: parts.session_streams.unwrap_or(SESSION_STREAMS_LAST),
            session_streams: parts.session_streams.is_some(),
            ..UpstreamConfig::default()
        };
        Ok(deputize_proxy::router(parts.core, UpstreamClient::new(config)).into())
    })
    .await
}
