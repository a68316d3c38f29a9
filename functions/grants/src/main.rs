//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

// One request at a time is all that Lambda gives a process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(Function::Grants, |parts| Ok(deputize_grants::router(parts.core).into())).await
}
