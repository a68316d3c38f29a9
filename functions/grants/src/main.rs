//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

// Lambda gives a process one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(Function::Grants, |parts| Ok(deputize_grants::router(parts.core).into())).await
}
