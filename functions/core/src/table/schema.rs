//! The table itself, for the embedded store and for tests. In AWS the deployment template creates it.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType,
    },
};

use super::key::AuditIndex;
use crate::error::{Error, Result};

/// Creates the table if it does not exist.
pub async fn create_table(client: &Client, name: &str) -> Result<()> {
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema("pk")?));
    for attribute in ["pk", "sk"].into_iter().chain(AuditIndex::ALL.map(AuditIndex::attribute)) {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(Error::internal)?;
        request = request.attribute_definitions(definition);
    }
    for index in AuditIndex::ALL {
        let index = GlobalSecondaryIndex::builder()
            .index_name(index.name())
            .set_key_schema(Some(key_schema(index.attribute())?))
            // The items are read from the table. A table whose indexes hold more works too.
            .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
            .build()
            .map_err(Error::internal)?;
        request = request.global_secondary_indexes(index);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), CreateTableError::ResourceInUseException(_)) =>
        {
            Ok(())
        }
        Err(error) => Err(super::failure::failure(error).into()),
    }
}

/// A partition key, and `sk` to sort by.
fn key_schema(partition: &str) -> Result<Vec<KeySchemaElement>> {
    [(partition, KeyType::Hash), ("sk", KeyType::Range)]
        .into_iter()
        .map(|(attribute, role)| {
            KeySchemaElement::builder()
                .attribute_name(attribute)
                .key_type(role)
                .build()
                .map_err(Error::internal)
        })
        .collect()
}
