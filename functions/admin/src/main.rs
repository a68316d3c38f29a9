//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

#[tokio::main]
async fn main() -> ExitCode {
    lambda::run(Function::Admin, |parts| Ok(deputize_admin::router(parts.core).into())).await
}
