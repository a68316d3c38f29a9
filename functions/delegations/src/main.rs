//! The Lambda function.

use deputize_service::lambda;

#[tokio::main]
async fn main() -> Result<(), lambda::Error> {
    lambda::run(|core| Ok(deputize_delegations::router(core).into())).await
}
