//! A DynamoDB at another address in place of the embedded one, so that several processes are one
//! deployment.
//!
//! Region and credentials are the environment's, as for any program that uses AWS's SDK. A stand-in for DynamoDB is
//! reached by `http`, and needs none: without any, made-up ones are used, and no metadata service is asked.

use aws_config::{
    BehaviorVersion,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::{
        credentials::CredentialsProviderChain,
        region::{ProvideRegion, RegionProviderChain},
    },
    profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider},
};
use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, Region, SharedCredentialsProvider},
    error::{ProvideErrorMetadata, SdkError},
    operation::describe_table::DescribeTableError,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use deputize_core::{
    error::{Cause, chain},
    retention::Retention,
    table::{Table, TableOptions, create_table},
};
use url::Url;

use crate::{StartError, store};

/// A DynamoDB's address, for its client and for messages.
pub(crate) struct RemoteUrl {
    url: Url,
}

impl RemoteUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, StartError> {
        let wrong = |why: &str| StartError::new(format!("--dynamodb-url {text}: {why}"));
        let url: Url =
            text.parse().map_err(|_| wrong("it is no URL; give one such as http://127.0.0.1:8000"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("it must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let why = "--dynamodb-url must not hold a user or a password; credentials come from the environment \
                       (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)";
            return Err(StartError::new(why));
        }
        Ok(Self { url })
    }

    /// What failed there, for the person who starts the server.
    pub(crate) fn failed(&self, what: &str) -> StartError {
        StartError::new(format!("--dynamodb-url {}: {what}", self.url))
    }

    fn is_stand_in(&self) -> bool {
        self.url.scheme() == "http"
    }

    async fn region(&self) -> Option<Region> {
        let known = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        // A variable that is set to nothing names none.
        let named = |region: Option<Region>| region.filter(|region| !region.as_ref().trim().is_empty());
        match named(known.region().await) {
            None if self.is_stand_in() => Some(Region::from_static("local")),
            None => named(aws_config::default_provider::region::default_provider().region().await),
            region => region,
        }
    }

    async fn credentials(&self) -> SharedCredentialsProvider {
        let known =
            CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
                .or_else("profile", ProfileFileCredentialsProvider::builder().build());
        SharedCredentialsProvider::new(if self.is_stand_in() {
            known.or_else("made up", Credentials::new("local", "local", None, None, "made up"))
        } else {
            known.or_default_provider().await
        })
    }
}

/// The table at this address. Makes it if it does not exist.
pub(crate) async fn table(url: &RemoteUrl, measure: bool, retention: Retention) -> Result<Table, StartError> {
    let transport = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let region = url.region().await;
    let region = region.ok_or_else(|| url.failed("the environment names no region; set AWS_REGION"))?;
    let region_name = region.to_string();
    let config = store::config(transport)
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .credentials_provider(url.credentials().await)
        .endpoint_url(url.url.as_str().trim_end_matches('/'))
        .build();
    let client = Client::from_conf(config);
    let options = TableOptions { measure, retention, ..TableOptions::default() };
    match client.describe_table().table_name(&options.name).send().await {
        Ok(_) => {}
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), DescribeTableError::ResourceNotFoundException(_)) =>
        {
            create_table(&client, &options.name).await.map_err(|error| {
                let name = &options.name;
                let why = chain(&error);
                url.failed(&format!(
                    "there is no table \"{name}\" in region {region_name}, and it could not be made: {why}; make it, or allow dynamodb:CreateTable"
                ))
            })?;
        }
        Err(error) => return Err(url.failed(&why(error, &region_name))),
    }
    Ok(Table::new(client, options))
}

/// What failed, and what to do.
fn why(error: SdkError<DescribeTableError, HttpResponse>, region: &str) -> String {
    match error {
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) if is_about_credentials(&error) => {
            "the environment has no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
                .to_owned()
        }
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().map(|error| chain(error)).unwrap_or_default();
            format!("it cannot be reached ({cause}); is a DynamoDB running there, and is the address right?")
        }
        SdkError::TimeoutError(_) => {
            "it does not answer in time; is a DynamoDB running there, and can this machine reach it?".to_owned()
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status();
            let refused = service.into_err();
            let message = refused.message().unwrap_or_default();
            match refused.code() {
                None => format!(
                    "it answers HTTP {status}, not as DynamoDB does{}; is the address a DynamoDB's, and does it know the region {region} (AWS_REGION)?",
                    if message.is_empty() { String::new() } else { format!(": {message}") }
                ),
                Some(code) => {
                    let to_do = if CREDENTIALS_REFUSED.contains(&code) {
                        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and what they are allowed"
                            .to_owned()
                    } else {
                        format!("the region is {region} (AWS_REGION)")
                    };
                    format!("it refuses: {code}: {message}; {to_do}")
                }
            }
        }
        SdkError::ConstructionFailure(_) => {
            format!("a request cannot be made ({}); check the region {region} (AWS_REGION)", chain(&error))
        }
        other => {
            let cause = Cause::from(other);
            format!("its answer is not DynamoDB's ({}); is the address right?", chain(&*cause))
        }
    }
}

/// Codes of errors that are about who asks
/// ([common errors](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html)).
const CREDENTIALS_REFUSED: [&str; 9] = [
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "UnrecognizedClientException",
];

fn is_about_credentials(error: &SdkError<DescribeTableError, HttpResponse>) -> bool {
    let text = chain(error);
    text.contains("credentials") || text.contains("identity")
}
