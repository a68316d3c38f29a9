//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

// One request at a time is all that Lambda gives a process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(Function::Admin, |parts| Ok(deputize_admin::router(parts.core).into())).await
}
