//! Tells Lambda that a function cannot start
//! ([Runtime API, initialization error](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-initerror)).
//! The invocation that waits for the function then fails with this reason, and not with an exit status.

use std::env;

use deputize_core::error::{Cause, chain};
use http::{Method, Request};
use lambda_runtime_api_client::{BoxError, Client, body::Body};
use serde::Serialize;

use crate::config::{Function, Misconfigured};

/// The variable in which Lambda sets the address of the Runtime API.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Why a function cannot start.
#[derive(Debug)]
pub(super) struct Failure {
    kind: &'static str,
    why: Cause,
}

impl Failure {
    pub(super) fn other(why: impl Into<Cause>) -> Self {
        Self { kind: "Runtime.InitError", why: why.into() }
    }

    /// Writes one line to the log, like all other lines, and tells Lambda.
    pub(super) async fn report(&self, function: Function) {
        #[derive(Serialize)]
        struct Line<'a> {
            level: &'static str,
            target: &'static str,
            message: &'a str,
            function: &'static str,
        }
        let target = "deputize_service::lambda";
        let message = &chain(&*self.why);
        let line = Line { level: "ERROR", target, message, function: function.name() };
        if let Ok(line) = serde_json::to_string(&line) {
            println!("{line}");
        }
        if env::var_os(RUNTIME_API).is_some()
            && let Err(error) = self.tell().await
        {
            // Only this output is left.
            eprintln!("the Runtime API could not be told: {error}");
        }
    }

    async fn tell(&self) -> Result<(), BoxError> {
        let why = chain(&*self.why);
        let error = FunctionError::new(self.kind, &why);
        let request = error.to_lambda("/2018-06-01/runtime/init/error".to_owned())?;
        Client::builder().build()?.call(request).await.map(drop)
    }
}

/// An error as the Runtime API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionError<'a> {
    error_message: &'a str,
    error_type: &'static str,
    stack_trace: [&'static str; 0],
}

impl<'a> FunctionError<'a> {
    pub(super) fn new(error_type: &'static str, error_message: &'a str) -> Self {
        Self { error_message, error_type, stack_trace: [] }
    }

    pub(super) fn to_lambda(&self, uri: String) -> Result<Request<Body>, BoxError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("lambda-runtime-function-error-type", self.error_type)
            .body(Body::from(serde_json::to_vec(self)?))?;
        Ok(request)
    }
}

impl From<Misconfigured> for Failure {
    fn from(wrong: Misconfigured) -> Self {
        Self { kind: "Runtime.InvalidConfiguration", why: wrong.into() }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::other(why)
    }
}

impl From<Cause> for Failure {
    fn from(why: Cause) -> Self {
        Self::other(why)
    }
}

/// Without these variables the runtime would panic.
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
