//! Telling Lambda that a function cannot start ([Runtime API, initialization error](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror)):
//! the invocation that waits for it then fails with this reason, not with an exit status.

use std::{env, fmt};

use http::{Method, Request};
use lambda_runtime_api_client::{BoxError, Client, body::Body};
use serde::Serialize;

use crate::config::{Function, Misconfigured};

/// Where the Runtime API is; set by Lambda.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Why a function cannot start.
#[derive(Debug)]
pub(super) struct Failure {
    kind: &'static str,
    why: String,
}

impl Failure {
    pub(super) fn other(why: impl fmt::Display) -> Self {
        Self { kind: "Runtime.InitError", why: why.to_string() }
    }

    /// One line in the log, as all lines are, and Lambda's own account of it.
    pub(super) async fn report(&self, function: Function) {
        #[derive(Serialize)]
        struct Line<'a> {
            level: &'static str,
            target: &'static str,
            message: &'a str,
            function: &'static str,
        }
        let target = "deputize_service::lambda";
        let line = Line { level: "ERROR", target, message: &self.why, function: function.name() };
        if let Ok(line) = serde_json::to_string(&line) {
            println!("{line}");
        }
        if env::var_os(RUNTIME_API).is_some()
            && let Err(error) = self.tell().await
        {
            // There is nobody else to tell.
            eprintln!("the Runtime API could not be told: {error}");
        }
    }

    async fn tell(&self) -> Result<(), BoxError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct InitError<'a> {
            error_message: &'a str,
            error_type: &'static str,
            stack_trace: [&'static str; 0],
        }
        let error = InitError { error_message: &self.why, error_type: self.kind, stack_trace: [] };
        let request = Request::builder()
            .method(Method::POST)
            .uri("/2018-06-01/runtime/init/error")
            .header("lambda-runtime-function-error-type", self.kind)
            .body(Body::from(serde_json::to_vec(&error)?))?;
        Client::builder().build()?.call(request).await.map(drop)
    }
}

impl From<Misconfigured> for Failure {
    fn from(wrong: Misconfigured) -> Self {
        Self { kind: "Runtime.InvalidConfiguration", why: wrong.to_string() }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::other(why)
    }
}

impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        Self::other(error)
    }
}

/// The runtime panics without.
pub(super) fn require_lambda() -> Result<(), Failure> {
    let needed = [
        RUNTIME_API,
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
    ];
    match needed.iter().find(|name| env::var_os(name).is_none()) {
        Some(name) => Err(Failure::other(format!(
            "this is an AWS Lambda function, and {name} is not set: on a machine of your own, `cargo run` starts the whole service"
        ))),
        None => Ok(()),
    }
}
