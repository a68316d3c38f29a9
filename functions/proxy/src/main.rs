//! The Lambda function.

use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::lambda;

#[tokio::main]
async fn main() -> Result<(), lambda::Error> {
    let upstream = UpstreamClient::new(UpstreamConfig::default())?;
    lambda::run(|core| Ok(deputize_proxy::router(core, upstream).into())).await
}
