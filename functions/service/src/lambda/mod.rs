//! The Lambda entry: a function's routes behind API Gateway or a function URL.
//!
//! | file | holds |
//! | --- | --- |
//! | `event` | Lambda's events as requests, and answers in the shape that fits the event |
//! | `entry` | an invocation's story: event, request, answer, within its time |
//! | `metrics` | what `CloudWatch` is told of each request |
//! | `logs` | what is logged, and that it is ours |
//! | `aws` | how a function reaches AWS |
//! | `trust` | and by whose certificates it knows it |
//! | `runtime` | invocations from Lambda, answers to it |
//! | `init` | telling Lambda that a function cannot start |
//!
//! `lambda_http` brings the runtime. Its reading of events is not used: what it does not know ends the invocation
//! in a function error, which the caller sees as a 502 of the gateway's; it panics over a body that says it is base64
//! and is not; and of a header that came twice it keeps one.

mod aws;
mod entry;
mod event;
mod init;
mod logs;
mod metrics;
mod runtime;
mod trust;

use std::{process::ExitCode, sync::Arc};

use axum::Router;
use deputize_core::{
    Core,
    issuers::Issuers,
    table::{Table, TableOptions},
    vault::Vault,
};
pub use lambda_http::Context;

pub use self::{
    entry::{Entry, Streamed},
    metrics::Print,
};
use crate::{
    address::AddressPolicy,
    config::{Config, Function},
    fetch::HttpFetch,
    kms,
    outbound::{Outbound, Times},
};

/// What a function's routes are made of.
#[derive(Debug)]
pub struct Parts {
    pub core: Arc<Core>,
    /// Where MCP servers may be.
    pub upstreams: AddressPolicy,
}

/// Runs a function until Lambda ends it. A function that cannot start says so in its log and to Lambda.
pub async fn run(function: Function, routes: impl FnOnce(Parts) -> Result<Router, String>) -> ExitCode {
    match start(function, routes).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(function).await;
            ExitCode::FAILURE
        }
    }
}

async fn start(
    function: Function,
    routes: impl FnOnce(Parts) -> Result<Router, String>,
) -> Result<(), init::Failure> {
    init::require_lambda()?;
    let config = Config::from_env(function)?;
    logs::begin(&config.log)?;
    let (streams, upstreams) = (config.streams, config.upstreams);
    let core = Arc::new(core(config).await?);
    let routes = routes(Parts { core: Arc::clone(&core), upstreams })?;
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| function.name().to_owned());
    let entry = Arc::new(Entry::new(name, routes, core, metrics::to_stdout()));
    runtime::serve(entry, streams).await.map_err(init::Failure::from)
}

async fn core(config: Config) -> Result<Core, init::Failure> {
    let aws = aws::from_env()?;
    let options = TableOptions { name: config.table, ..TableOptions::default() };
    let table = Table::new(aws_sdk_dynamodb::Client::new(&aws), options);
    let fetch = HttpFetch::new();
    let issuers = Issuers::new(config.issuers, Arc::new(fetch));
    let vault = match &config.vault {
        Some(config) => kms::vault(&aws, config).await.map_err(init::Failure::other)?,
        None => Vault::none(),
    };
    let http = Outbound::new(config.upstreams, Times::default());
    Ok(Core::new(table, config.settings, issuers, vault, Arc::new(http)))
}
