//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

#[tokio::main]
async fn main() -> ExitCode {
    lambda::run(Function::Grants, |parts| Ok(deputize_grants::router(parts.core).into())).await
}
