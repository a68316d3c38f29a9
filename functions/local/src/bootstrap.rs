//! `deputize bootstrap`: what a deployment's operator does once, after the stack was made. The functions have no rights
//! to do it: signing keys and admins are made by a person who has rights on the table.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::describe_table::DescribeTableError,
    types::{KeyType, TableStatus},
};
use deputize_admin::erasing;
use deputize_core::{
    Core, Error, Settings,
    audit::RequestContext,
    bootstrap::{self, Admin},
    error::{because, chain},
    issuers::{self, Issuers},
    reindex::{self, Progress},
    secret::shown_once,
    sign_in,
    table::{Table, TableOptions},
    users::Email,
};
use deputize_service::{
    address::AddressPolicy,
    config::{
        VaultConfig, longest_api_key, retention,
        variables::{KMS_KEY, LOCAL_KEY, LONGEST_API_KEY, RETENTION, TABLE},
    },
    fetch::HttpFetch,
    kms,
    outbound::{Outbound, Times},
};
use zeroize::Zeroizing;

use crate::StartError;

/// Which deployment it is.
#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "it is shown as help")]
struct Deployment {
    /// The DynamoDB table's name. If left out, DEPUTIZE_TABLE.
    #[arg(long)]
    table: Option<String>,
    /// The ARN of the KMS key that the functions use. If left out, DEPUTIZE_VAULT_KMS_KEY or DEPUTIZE_VAULT_KEY.
    #[arg(long)]
    kms_key: Option<String>,
}

/// How to bootstrap.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The first admin's email address. A user who later signs in by an issuer that is trusted to link by email, with
    /// this address verified, is this admin.
    #[arg(long)]
    admin_email: String,
    #[command(flatten)]
    deployment: Deployment,
    /// Give an existing admin another API key.
    #[arg(long)]
    new_key: bool,
}

/// Makes everything that does not exist yet. Prints a new admin's API key on standard output, and nothing
/// else there.
pub async fn run(options: &Options) -> Result<(), StartError> {
    let email: Email = options.admin_email.parse().map_err(|error| {
        StartError::new(because(
            format!("--admin-email: {} is not an email address", options.admin_email),
            error,
        ))
    })?;
    let core = core(&options.deployment).await?;
    core.bootstrap().await.map_err(failed)?;
    let request = RequestContext { id: core.random.uuid()?, ..RequestContext::default() };
    match bootstrap::admin(&core, &request, &email, options.new_key).await.map_err(failed)? {
        Admin::Made(id, key) => {
            eprintln!("The admin {email} was made (user {id}). This API key of theirs is shown only now:");
            println!("{}", shown_once(&key));
        }
        Admin::NewKey(id, key) => {
            eprintln!("The admin {email} (user {id}) has another API key, which is shown only now:");
            println!("{}", shown_once(&key));
        }
        Admin::WasThere(id) => {
            eprintln!(
                "Nothing to do: this deployment is bootstrapped, and {email} is an admin (user {id}). If their API key is lost, --new-key gives another."
            );
        }
    }
    Ok(())
}

/// Which issuers to store.
#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "it is shown as help")]
pub struct IssuersOptions {
    /// A file with the JSON array that DEPUTIZE_TRUSTED_ISSUERS would hold.
    file: PathBuf,
    /// The DynamoDB table's name. If left out, DEPUTIZE_TABLE.
    #[arg(long)]
    table: Option<String>,
}

/// Stores a list of trusted issuers, and prints its name for the configuration.
pub async fn trusted_issuers(options: &IssuersOptions) -> Result<(), StartError> {
    let file = options.file.display();
    let json = std::fs::read_to_string(&options.file)
        .map_err(|error| StartError::new(because(file.to_string(), error)))?;
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table = table(&aws, options.table.as_deref()).await?;
    let hash = issuers::store(&table, &json).await.map_err(|error| match error {
        Error::Invalid(why) => StartError::new(because(file.to_string(), why)),
        other => failed(other),
    })?;
    println!("table:{hash}");
    Ok(())
}

/// Which lists to complete.
#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "it is shown as help")]
pub struct ReindexOptions {
    /// The DynamoDB table's name. If left out, DEPUTIZE_TABLE.
    #[arg(long)]
    table: Option<String>,
    /// Walk lists again that are complete.
    #[arg(long)]
    again: bool,
}

/// Adds the entries of lists that items from before these lists do not have. Says on standard error how far it has come.
pub async fn reindex(options: &ReindexOptions) -> Result<(), StartError> {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table = table(&aws, options.table.as_deref()).await?;
    reindex::run(&table, options.again, |progress| {
        let Progress { index, walked, added, is_complete } = progress;
        let state = if is_complete { "complete" } else { "under way" };
        eprintln!("{}: {walked} walked, {added} got entries, {state}", index.name());
    })
    .await
    .map_err(failed)?;
    eprintln!("All lists are complete.");
    Ok(())
}

/// Of which deployment to erase.
#[derive(Debug, clap::Args)]
pub struct EraseOptions {
    #[command(flatten)]
    deployment: Deployment,
}

/// Erases what was deleted and can be restored no more. Says on standard error how far it has come.
pub async fn erase(options: &EraseOptions) -> Result<(), StartError> {
    let core = core(&options.deployment).await?;
    let mut erased = 0;
    let done = erasing::erase(&core, None, |round| {
        erased += round.erased;
        eprintln!("{erased} erased, {}", if round.unfinished { "under way" } else { "complete" });
    })
    .await
    .map_err(failed)?;
    if done.failed > 0 || done.unfinished {
        let why = "not all that is due could be erased; running it again does no harm";
        return Err(StartError::new(why));
    }
    eprintln!("Nothing is left that is to be erased.");
    Ok(())
}

/// Which secrets to store.
#[derive(Debug, clap::Args)]
pub struct SecretsOptions {
    /// A file with a JSON object: to each provider's id its client secret, or a private key in PEM; - for standard input
    file: PathBuf,
    #[command(flatten)]
    deployment: Deployment,
}

/// Stores the secrets by which a deployment proves itself to the providers that people sign in by.
pub async fn sign_in_secrets(options: &SecretsOptions) -> Result<(), StartError> {
    let file = options.file.display();
    let mut json = Zeroizing::new(String::new());
    let read = match options.file.to_str() {
        Some("-") => io::stdin().read_to_string(&mut json),
        _ => File::open(&options.file).and_then(|mut file| file.read_to_string(&mut json)),
    };
    read.map_err(|error| StartError::new(because(file.to_string(), error)))?;
    let core = core(&options.deployment).await?;
    sign_in::store_secrets(&core, &json).await.map_err(|error| match error {
        Error::Invalid(why) => StartError::new(because(file.to_string(), why)),
        other => failed(other),
    })
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.trim().is_empty())
}

/// The table with this name, or with the environment's, if it is a table of Deputize.
async fn table(aws: &SdkConfig, name: Option<&str>) -> Result<Table, StartError> {
    let name = name.map(ToOwned::to_owned).or_else(|| set(TABLE.name));
    let name = name.ok_or_else(|| StartError::new(format!("which table? give --table, or set {TABLE}")))?;
    let Some(region) = aws.region().filter(|region| !region.as_ref().is_empty()) else {
        return Err(StartError::new("in which region? set AWS_REGION, or a profile that has one"));
    };
    let client = Client::new(aws);
    check_table(&client, &name, region.as_ref()).await?;
    let retention = retention(set(RETENTION.name).as_deref()).map_err(StartError::new)?;
    Ok(Table::new(client, TableOptions { name, retention, ..TableOptions::default() }))
}

async fn core(deployment: &Deployment) -> Result<Core, StartError> {
    let vault = VaultConfig::from_lookup(&|variable| match &deployment.kms_key {
        Some(arn) if variable == KMS_KEY.name => Some(arn.clone()),
        Some(_) if variable == LOCAL_KEY.name => None,
        _ => set(variable),
    })
    .map_err(StartError::new)?;
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table = table(&aws, deployment.table.as_deref()).await?;
    let vault = kms::vault(&aws, &vault).await?;
    let fetch = HttpFetch::new();
    let http = Outbound::new(AddressPolicy::PUBLIC, Times::default());
    // Nothing that is made here contains the service's address.
    let (mut settings, issuers) = (Settings::at(""), Issuers::new(Vec::new(), Arc::new(fetch)));
    settings.longest_api_key =
        longest_api_key(set(LONGEST_API_KEY.name).as_deref()).map_err(StartError::new)?;
    Ok(Core::new(table, settings, issuers, vault, Arc::new(http)))
}

/// Checks that the table exists and is a table of Deputize.
async fn check_table(client: &Client, name: &str, region: &str) -> Result<(), StartError> {
    let described = client.describe_table().table_name(name).send().await.map_err(|error| match error {
        SdkError::ServiceError(refused) if matches!(refused.err(), DescribeTableError::ResourceNotFoundException(_)) => {
            StartError::new(format!(
                "there is no table {name} in {region}: deploy the stack first, or look at --table, AWS_REGION and whose credentials these are"
            ))
        }
        SdkError::ServiceError(refused) => StartError::new(format!(
            "the table {name} in {region} cannot be looked at: {}",
            refused.err().message().or(refused.err().code()).unwrap_or("for a reason that it does not give")
        )),
        _ => StartError::new(because(format!("DynamoDB in {region} cannot be asked"), error)),
    })?;
    let table = described.table.ok_or_else(|| StartError::new("DynamoDB says nothing of the table"))?;
    if matches!(table.table_status, Some(TableStatus::Creating | TableStatus::Deleting)) {
        return Err(StartError::new(format!(
            "the table {name} is being made or deleted: try again when it is there"
        )));
    }
    let keys = table.key_schema.unwrap_or_default();
    let has = |name: &str, kind: &KeyType| {
        keys.iter().any(|key| key.attribute_name == name && key.key_type == *kind)
    };
    if has("pk", &KeyType::Hash) && has("sk", &KeyType::Range) {
        Ok(())
    } else {
        Err(StartError::new(format!("the table {name} is another's: Deputize's keys are pk and sk")))
    }
}

fn failed(error: Error) -> StartError {
    match error {
        Error::Internal(cause) | Error::Unavailable { cause, .. } | Error::Undecided { cause, .. } => {
            StartError::new(format!("{}; running it again does no harm", chain(&*cause)))
        }
        other => StartError::new(other),
    }
}
