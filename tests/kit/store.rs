//! The store of the service under test: an embedded one, or a table of its own at the DynamoDB that
//! `DEPUTIZE_TEST_DYNAMODB` names.
//!
//! Another implementation shows what the embedded one lets pass. Each request is sent over a connection of its own, and
//! waited for without giving up the thread. So no time passes for a test that has stopped the clock, as with the embedded
//! store.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use deputize_core::table::TableOptions;
use deputize_local::store::{self, Store};
use dynoxide::Database;
use serde_json::{Value, from_value, to_value};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The variable that names the address, such as `http://127.0.0.1:5000`.
const ADDRESS: &str = "DEPUTIZE_TEST_DYNAMODB";

/// Whether a test is to end at once, since the store at an address cannot do what the test is about. Prints why.
pub fn skips_another_store(why: &str) -> bool {
    let skips = env::var_os(ADDRESS).is_some();
    if skips {
        println!("skipped on another DynamoDB: {why}");
    }
    skips
}

/// How many of a test's callers are under way at once: all of them, and three on another DynamoDB. moto answers one request
/// at a time, so more of them would meet for longer than a change is repeated.
pub fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(if env::var_os(ADDRESS).is_some() { 3 } else { Semaphore::MAX_PERMITS }))
}

/// A test that fails the store at each request of a change fails it at every request, and on another DynamoDB at every
/// ninth: moto copies all tables for each transaction, and the whole takes ten minutes there.
pub fn stride() -> usize {
    if env::var_os(ADDRESS).is_some() { 9 } else { 1 }
}

/// A store. Cheap to clone.
#[derive(Clone, Debug)]
pub enum TestStore {
    Embedded(Store),
    At(Arc<Remote>),
}

/// A table at an address.
#[derive(Debug)]
pub struct Remote {
    /// Host and port.
    host: String,
    table: String,
}

impl From<Store> for TestStore {
    fn from(store: Store) -> Self {
        Self::Embedded(store)
    }
}

impl TestStore {
    /// A new store with nothing in it.
    pub fn new() -> Self {
        match env::var(ADDRESS) {
            Ok(url) => {
                let host = url.strip_prefix("http://").expect("http://HOST:PORT");
                let table = format!("deputize-{}", Uuid::new_v4().simple());
                Self::At(Arc::new(Remote { host: host.trim_end_matches('/').to_owned(), table }))
            }
            Err(_) => Self::Embedded(Store::in_memory().unwrap()),
        }
    }

    /// The table's name.
    pub fn table(&self) -> String {
        match self {
            Self::Embedded(_) => TableOptions::default().name,
            Self::At(remote) => remote.table.clone(),
        }
    }

    /// The embedded engine. Only it can be put back to what it was.
    pub(crate) fn embedded(&self) -> &Database {
        match self {
            Self::Embedded(store) => store.database(),
            Self::At(_) => panic!("this test is not for another DynamoDB"),
        }
    }

    /// The SDK's client for this store.
    pub fn client(&self) -> Client {
        store::client(SharedHttpClient::new(self.clone()))
    }

    /// Carries out one request in DynamoDB's protocol. Returns the answer's status and body.
    pub fn carry_out(&self, operation: &str, body: &[u8]) -> (u16, Vec<u8>) {
        match self {
            Self::Embedded(store) => store.carry_out(operation, body),
            Self::At(remote) => remote.carry_out(operation, body),
        }
    }

    /// A request of the test's own, which must succeed.
    pub(crate) fn ask(&self, operation: &str, request: Value) -> Value {
        match self {
            Self::Embedded(store) => {
                let engine = store.database();
                match operation {
                    "Scan" => to_value(engine.scan(from_value(request).unwrap()).unwrap()),
                    "GetItem" => to_value(engine.get_item(from_value(request).unwrap()).unwrap()),
                    "PutItem" => to_value(engine.put_item(from_value(request).unwrap()).unwrap()),
                    "DeleteItem" => to_value(engine.delete_item(from_value(request).unwrap()).unwrap()),
                    other => panic!("no test asks for {other}"),
                }
                .unwrap()
            }
            Self::At(remote) => {
                let (status, answer) = remote.carry_out(operation, request.to_string().as_bytes());
                assert_eq!(status, 200, "{operation}: {}", String::from_utf8_lossy(&answer));
                serde_json::from_slice(&answer).unwrap()
            }
        }
    }
}

impl Default for TestStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Remote {
    fn carry_out(&self, operation: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut connection = TcpStream::connect(&self.host).expect("a DynamoDB at DEPUTIZE_TEST_DYNAMODB");
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // Emulators find the service and the region in the signature, and do not check it. Each table has a region of its
        // own: moto copies all tables of a region for each transaction.
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
             content-type: application/x-amz-json-1.0\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=test/20260101/{}/dynamodb/aws4_request, SignedHeaders=host, Signature=0\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.host,
            self.table,
            body.len()
        );
        connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
        let status = String::from_utf8_lossy(&answer[..end]);
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_off(end + 4))
    }
}

impl HttpClient for TestStore {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for TestStore {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let (status, body) = self.carry_out(operation, request.body().bytes().unwrap());
        let status = StatusCode::try_from(status).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}
