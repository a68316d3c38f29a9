//! A DynamoDB at another address in place of the embedded one, so that several processes are one
//! deployment.

use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use deputize_core::{
    Result,
    retention::Retention,
    table::{Table, TableOptions, create_table},
};

use crate::store;

/// The table at this address. Makes it if it does not exist. Requests are signed with made-up credentials,
/// which stand-ins for DynamoDB do not check.
pub(crate) async fn table(url: &str, measure: bool, retention: Retention) -> Result<Table> {
    let transport = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let config = store::config(transport).endpoint_url(url).build();
    let client = Client::from_conf(config);
    let options = TableOptions { measure, retention, ..TableOptions::default() };
    create_table(&client, &options.name).await?;
    Ok(Table::new(client, options))
}
