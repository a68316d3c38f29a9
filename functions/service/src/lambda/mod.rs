//! The Lambda entry: a function's routes behind API Gateway or a function URL.
//!
//! | file | holds |
//! | --- | --- |
//! | `event` | Lambda's events as requests, and answers in the format that fits the event |
//! | `handler` | the steps of an invocation: event, request, answer, within its time |
//! | `metrics` | the metrics of each request, for `CloudWatch` |
//! | `logs` | what is logged, and that it is ours |
//! | `aws` | how a function reaches AWS |
//! | `trust` | the certificates by which a function recognizes AWS |
//! | `runtime` | invocations from Lambda, answers to it |
//! | `init` | tells Lambda that a function cannot start |
//! | `scheduled` | what a function does without a request |
//!
//! `lambda_http` brings the runtime. Its reading of events is not used. With it, an unknown event would end the
//! invocation in a function error, which the caller sees as a 502 of the gateway. A body that claims to be base64 and
//! is not would cause a panic. And if a header came twice, only one of the two would be kept.
//!
//! **A function's start.** A function is started for the first request, for each request that comes while all processes
//! are busy, and after each deployment. So it does as little as possible before it can accept a request:
//!
//! - **No request to the network,** except to resolve a KMS key that is named by an alias. The table, the KMS and the
//!   issuers for their keys are asked only when a request needs them. If the table cannot be reached, the answer is a
//!   503, and the function starts all the same.
//! - **TLS is set up by the first connection that needs it** ([`crate::lazy`]).
//! - **AWS is recognized by five certificates** (`trust`), and found by the environment's variables (`aws`).
//! - **Routes are mounted without their description** ([`crate::routes`]).
//! - **The setup that every first call of the proxy needs is done beside its reads:** TLS for MCP servers, and what
//!   Cedar makes once. If it were done before the first poll, it would delay requests that are only refused.
//! - **The kernel seeds the randomness.** AWS-LC also gathers entropy from the processor's timing, which takes a tenth
//!   of a second on a busy core. `infra/build` leaves this out. Every key on the machine depends on the kernel's
//!   randomness anyway.
//! - **One thread.** Lambda gives a process one request at a time.
//! - **A function contains only what it calls.** The six functions are built together (`infra/build`), with one set of
//!   features and fat link-time optimization. Cedar is only in the two functions that decide or check policies,
//!   although `core` holds it for all. A function's own package is compiled for size, and so is what the optimizer
//!   combines with it. Dependencies are compiled for speed.
//!
//! `tests/bench/run --only cold` measures the start, and compares it with the smallest function that is possible.
//! Errors at the start are reported to the log and to the Runtime API's `init/error`.

mod aws;
mod event;
mod handler;
mod init;
mod logs;
mod metrics;
mod runtime;
mod scheduled;
mod trust;

use std::{process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use deputize_core::{
    Core,
    issuers::{self, Issuers},
    table::{Outlet, Table, TableOptions},
    vault::Vault,
};
pub use lambda_http::Context;

pub use self::{
    handler::{LambdaHandler, ScheduledFailed, Streamed},
    metrics::Print,
    scheduled::Scheduled,
};
use crate::{
    address::AddressPolicy,
    authorities::Authorities,
    config::{Config, Function, IssuersFrom},
    fetch::HttpFetch,
    kms,
    outbound::{Outbound, Times},
};

/// What a function's routes are made from.
#[derive(Debug)]
pub struct Parts {
    pub core: Arc<Core>,
    /// Where MCP servers may be.
    pub upstreams: AddressPolicy,
    /// Who vouches for them, in addition to the authorities that the machine trusts.
    pub authorities: Authorities,
    /// How long a stream of messages that MCP servers send on their own may last, if there are such streams.
    pub session_streams: Option<Duration>,
}

/// Runs a function until Lambda ends it. If the function cannot start, the reason is written to its log and sent to
/// Lambda.
pub async fn run(function: Function, routes: impl FnOnce(Parts) -> Result<Router, String>) -> ExitCode {
    run_also(function, routes, None).await
}

/// [`run`], for a function that also has work without a request.
pub async fn run_also(
    function: Function,
    routes: impl FnOnce(Parts) -> Result<Router, String>,
    scheduled: Option<Scheduled>,
) -> ExitCode {
    match start(function, routes, scheduled).await {
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
    scheduled: Option<Scheduled>,
) -> Result<(), init::Failure> {
    init::require_lambda()?;
    let config = Config::from_env(function)?;
    logs::begin(&config.log)?;
    let Config { streams, session_streams, caller_address, .. } = config;
    let (upstreams, authorities) = (config.upstreams.clone(), config.authorities.clone());
    let core = Arc::new(core(config).await?);
    let routes = routes(Parts { core: Arc::clone(&core), upstreams, authorities, session_streams })?;
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| function.name().to_owned());
    let mut entry =
        LambdaHandler::new(name, routes, core, metrics::to_stdout()).told_of_callers_by(caller_address);
    if let Some(scheduled) = scheduled {
        entry = entry.scheduled_to(scheduled);
    }
    runtime::serve(Arc::new(entry), streams).await.map_err(init::Failure::from)
}

/// A line of the log for each audit event, as metrics are lines of it: JSON with `class_uid`, which no other line has.
#[derive(Debug)]
struct AuditLines;

impl Outlet for AuditLines {
    fn tell(&self, lines: &[String]) {
        let print = metrics::to_stdout();
        for line in lines {
            print(line);
        }
    }
}

async fn core(config: Config) -> Result<Core, init::Failure> {
    let aws = aws::from_env()?;
    let options = TableOptions { name: config.table, retention: config.retention, ..TableOptions::default() };
    let table = Table::new(aws_sdk_dynamodb::Client::new(&aws), options);
    if config.audit_log {
        table.tell(Arc::new(AuditLines));
    }
    let fetch = HttpFetch::trusting(config.authorities.clone());
    let issuers = match config.issuers {
        IssuersFrom::Here(issuers) => issuers,
        IssuersFrom::Table(hash) => issuers::stored(&table, &hash).await.map_err(init::Failure::other)?,
    };
    let issuers = Issuers::new(issuers, Arc::new(fetch));
    let vault = match &config.vault {
        Some(config) => kms::vault(&aws, config).await.map_err(init::Failure::other)?,
        None => Vault::none(),
    };
    let http = Outbound::trusting(config.upstreams, config.authorities, Times::default());
    Ok(Core::new(table, config.settings, issuers, vault, Arc::new(http)))
}
