//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

#[tokio::main]
async fn main() -> ExitCode {
    lambda::run(Function::Token, |parts| Ok(deputize_token::router(parts.core).into())).await
}
