//! The Lambda entry: a function's routes behind API Gateway or a function URL.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use deputize_core::{
    Core,
    issuers::Issuers,
    table::{Table, TableOptions, retries, timeouts},
};
use lambda_http::{RequestExt, request::RequestContext};

use crate::{
    address::AddressPolicy,
    config::Config,
    edge::{self, SourceIp},
    fetch::HttpFetch,
    kms,
    outbound::{Outbound, Times},
};

pub type Error = lambda_http::Error;

/// Runs a function until Lambda ends it.
pub async fn run(routes: impl FnOnce(Arc<Core>) -> Result<Router, String>) -> Result<(), Error> {
    tracing_subscriber::fmt().json().without_time().with_env_filter(filter()).init();
    let core = Arc::new(core(Config::from_env()?).await?);
    core.bootstrap().await?;
    let routes = routes(Arc::clone(&core))?;
    lambda_http::run(edge::around(routes, core).layer(middleware::from_fn(source_ip))).await
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}

async fn core(config: Config) -> Result<Core, Error> {
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts())
        .retry_config(retries())
        .load()
        .await;
    let options = TableOptions { name: config.table, ..TableOptions::default() };
    let table = Table::new(aws_sdk_dynamodb::Client::new(&aws), options);
    let issuers = Issuers::new(config.issuers, Arc::new(HttpFetch::new()?));
    let vault = kms::vault(&aws, &config.vault).await?;
    let http = Arc::new(Outbound::new(AddressPolicy::PUBLIC, Times::default())?);
    Ok(Core::new(table, config.settings, issuers, vault, http))
}

/// The address that the gateway saw.
async fn source_ip(mut request: Request, next: Next) -> Response {
    let ip = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        Some(RequestContext::ApiGatewayV1(context)) => context.identity.source_ip.clone(),
        _ => None,
    };
    if let Some(ip) = ip.and_then(|ip| ip.parse().ok()) {
        request.extensions_mut().insert(SourceIp(ip));
    }
    next.run(request).await
}
