//! The Lambda function.

use std::process::ExitCode;

use deputize_admin::erasing;
use deputize_service::{
    config::Function,
    lambda::{self, Scheduled},
};

// Lambda gives a process one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let erasing = Scheduled::new("erase", async |core, until| erasing::scheduled(&core, until).await);
    lambda::run_also(Function::Admin, |parts| Ok(deputize_admin::router(parts.core).into()), Some(erasing))
        .await
}
