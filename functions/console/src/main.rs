//! The Lambda function.

use std::process::ExitCode;

use deputize_service::{config::Function, lambda};

// Lambda gives a process one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(Function::Console, |parts| Ok(deputize_console::router(parts.core).into())).await
}
