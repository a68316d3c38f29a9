//! How a function reaches AWS: with what Lambda's environment says, and nothing else.
//!
//! The SDK's own way (`aws_config::load_defaults`) also looks for files, for roles to assume and for metadata services.
//! On Lambda there are none. But their code would be a fifth of a function, and looking for them would be a part of its
//! start.

use std::env;

use aws_config::{BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use deputize_core::{
    error::Cause,
    table::{retries, timeouts},
};

use super::trust::trusted;

/// The environment's region, credentials and endpoints
/// ([AWS SDKs and Tools Reference Guide, "Environment variables"](https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html)).
/// Fails without a region, which Lambda always sets, and if the certificates to trust cannot be read.
pub(super) fn from_env() -> Result<SdkConfig, Cause> {
    let region = set("AWS_REGION").ok_or("the environment variable AWS_REGION is missing")?;
    let trust = trusted(&region, set("AWS_CA_BUNDLE").as_deref())?;
    let tls = TlsContext::builder().with_trust_store(trust).build()?;
    let https =
        Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .timeout_config(timeouts())
        .retry_config(retries())
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"))
        .http_client(WhenAsked(https))
        .service_config(Endpoints);
    config.set_endpoint_url(set("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn is_on(name: &str) -> bool {
    set(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// One service's endpoint, such as `AWS_ENDPOINT_URL_DYNAMODB`.
#[derive(Debug)]
struct Endpoints;

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        set(&format!("{}_{service}", key.env()))
    }
}

/// Sets up TLS at the first request. The SDK would do it when a client is made, in the validation that is
/// skipped here.
#[derive(Debug)]
struct WhenAsked(SharedHttpClient);

impl HttpClient for WhenAsked {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }
}
