//! The same with one strongly consistent read of DynamoDB for each answer: what no function that keeps its state
//! there answers faster than.

use std::{collections::HashMap, env};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lambda_http::{Error, Request, run, service_fn, tracing};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = Client::new(&aws);
    let table = env::var("DEPUTIZE_TABLE")?;
    run(service_fn(|_: Request| hello(&client, &table))).await
}

async fn hello(client: &Client, table: &str) -> Result<&'static str, Error> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key = HashMap::from([("pk".to_owned(), text("HELLO")), ("sk".to_owned(), text("HELLO"))]);
    client.get_item().table_name(table).set_key(Some(key)).consistent_read(true).send().await?;
    Ok("hello")
}
