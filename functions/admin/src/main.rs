//! The Lambda function.

use deputize_service::lambda;

#[tokio::main]
async fn main() -> Result<(), lambda::Error> {
    lambda::run(|core| Ok(deputize_admin::router(core).into())).await
}
