//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

#[tokio::main]
async fn main() -> ExitCode {
    lambda::run(Function::Delegations, |parts| Ok(deputize_delegations::router(parts.core).into())).await
}
