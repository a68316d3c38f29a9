//! The embedded DynamoDB: dynoxide, on SQLite, behind the same SDK client that talks to AWS.
//!
//! The SDK serializes and signs a request as for AWS. Instead of being sent by TCP, the request is handed to the engine
//! in this process.

use std::{path::Path, sync::Arc};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{self, BehaviorVersion, Credentials, Region},
};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use deputize_core::{
    Result,
    error::Error,
    retention::Retention,
    table::{Table, TableOptions, create_table, retries, timeouts},
};
use dynoxide::{
    Database, DynoxideError, ImportOptions,
    actions::{
        batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse},
        update_time_to_live::{TimeToLiveSpecification, UpdateTimeToLiveRequest},
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// An embedded store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Database>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// A store that is lost when it is dropped.
    pub fn in_memory() -> Result<Self> {
        Ok(Self(Arc::new(Database::memory().map_err(Error::internal)?)))
    }

    /// A store in a file, which is made if it does not exist. Acknowledged writes survive a crash of the
    /// process (SQLite's write-ahead log is written before the answer). The disk is not synced for each
    /// write, so a power failure can lose the last moments.
    pub fn in_file(path: &Path) -> Result<Self> {
        let path = path.to_str().ok_or_else(|| Error::internal("the data directory's path is not UTF-8"))?;
        let database = Database::new(path).map_err(Error::internal)?;
        // Ends the engine's bulk loading mode, which is not active: that sets `synchronous = NORMAL`.
        database.disable_bulk_loading().map_err(Error::internal)?;
        Ok(Self(Arc::new(database)))
    }

    /// The engine itself, for loading large amounts of test data.
    pub fn database(&self) -> &Database {
        &self.0
    }

    /// The SDK's client for this store.
    pub fn client(&self) -> Client {
        client(SharedHttpClient::new(self.clone()))
    }

    /// A table in this store. Makes it if it does not exist.
    pub async fn table(&self) -> Result<Table> {
        self.table_with(true, Retention::default()).await
    }

    /// The same, with a retention. The engine counts a request's capacity only with `measure`.
    pub async fn table_with(&self, measure: bool, retention: Retention) -> Result<Table> {
        let client = self.client();
        // The engine answers one request after the other, so there is one round trip of a kind at a time. Requests that
        // wait in the meantime share the next round trip.
        let options = TableOptions { round_trips_at_once: 1, measure, retention, ..TableOptions::default() };
        create_table(&client, &options.name).await?;
        let name = options.name.clone();
        let specification = TimeToLiveSpecification { attribute_name: "ttl".to_owned(), enabled: true };
        let request = UpdateTimeToLiveRequest { table_name: name, time_to_live_specification: specification };
        self.0.update_time_to_live(request).map_err(Error::internal)?;
        Ok(Table::new(client, options))
    }

    /// Deletes the expired items, a few at a time between other requests, as DynamoDB does by itself. Returns
    /// their number.
    pub async fn sweep(&self) -> Result<usize> {
        let database = Arc::clone(&self.0);
        let swept = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
        swept.map_err(Error::internal)?.map_err(Error::internal)
    }

    /// Carries out one request in DynamoDB's protocol. Returns the answer's status and body.
    pub fn carry_out(&self, operation: &str, body: &[u8]) -> (u16, Vec<u8>) {
        match self.answer(operation, body) {
            Ok(answer) => (200, answer),
            Err(error) => (error.status_code(), error.to_json().into_bytes()),
        }
    }

    fn answer(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, DynoxideError> {
        let db = &*self.0;
        match operation {
            "BatchGetItem" => run(body, |request| db.batch_get_item(request)),
            "BatchWriteItem" => run(body, |request| write_batch(db, request)),
            "TransactWriteItems" => run(body, |request| db.transact_write_items(request)),
            "Query" => run(body, |request| db.query(request)),
            "CreateTable" => run(body, |request| db.create_table(request)),
            other => Err(DynoxideError::ValidationException(format!("{other} is not embedded"))),
        }
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<Vec<u8>, DynoxideError> {
    let malformed = |error: serde_json::Error| DynoxideError::ValidationException(error.to_string());
    let answer = operation(serde_json::from_slice(body).map_err(malformed)?)?;
    serde_json::to_vec(&answer).map_err(malformed)
}

/// A batch of puts in one SQLite transaction. The engine itself would use one transaction for each item. This is the
/// engine's bulk import. It does not count capacity, so a request that asks for that uses the slower way.
fn write_batch(
    db: &Database,
    mut request: BatchWriteItemRequest,
) -> Result<BatchWriteItemResponse, DynoxideError> {
    let only_puts = request
        .request_items
        .values()
        .flatten()
        .all(|write| write.put_request.is_some() && write.delete_request.is_none());
    if request.return_consumed_capacity.is_some() || !only_puts {
        return db.batch_write_item(request);
    }
    for (table, writes) in request.request_items.drain() {
        let items = writes.into_iter().filter_map(|write| write.put_request).map(|put| put.item).collect();
        db.import_items(&table, items, ImportOptions::default())?;
    }
    Ok(BatchWriteItemResponse::default())
}

/// An SDK client with any transport, and our time-outs and retries.
pub fn client(transport: SharedHttpClient) -> Client {
    Client::from_conf(config(transport).build())
}

pub(crate) fn config(transport: SharedHttpClient) -> config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("local"))
        .credentials_provider(Credentials::new("local", "local", None, None, "embedded"))
        .timeout_config(timeouts())
        .retry_config(retries())
        .http_client(transport)
}

impl HttpClient for Store {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Store {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let Some(body) = request.body().bytes() else {
            let error = ConnectorError::user("a streaming request".into());
            return HttpConnectorFuture::ready(Err(error));
        };
        let (status, body) = self.carry_out(operation, body);
        let response = StatusCode::try_from(status)
            .map(|status| HttpResponse::new(status, SdkBody::from(body)))
            .map_err(|error| ConnectorError::other(error.into(), None));
        HttpConnectorFuture::ready(response)
    }
}

#[cfg(test)]
mod tests {
    use deputize_core::{
        clock::{Clock, Timestamp},
        ids::{ApiKeyId, UserId},
        table::Key,
    };
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_sweep_takes_what_is_past_its_time_and_nothing_else() {
        let store = Store::in_memory().unwrap();
        for _ in 0..2 {
            // As a server does when it starts again.
            store.table().await.unwrap();
        }
        let put = |ttl: Option<Timestamp>| {
            let Key { pk, sk } = Key::api_key(UserId(uuid::Uuid::nil()), ApiKeyId(uuid::Uuid::new_v4()));
            let mut item = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
            if let Some(ttl) = ttl {
                item["ttl"] = json!({ "N": ttl.as_seconds().to_string() });
            }
            let request = json!({ "TableName": "deputize", "Item": item });
            store.database().put_item(serde_json::from_value(request).unwrap()).unwrap();
        };
        let (now, hour) = (Clock::System.now(), std::time::Duration::from_hours(1));
        for _ in 0..30 {
            put(Some(now.minus(hour)));
        }
        put(Some(now.plus(hour)));
        put(None);
        assert_eq!(store.sweep().await.unwrap(), 30);
        assert_eq!(store.sweep().await.unwrap(), 0);
    }
}
