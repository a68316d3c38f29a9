//! What can go wrong between the service and its store, on demand.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_dynamodb::Client;
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
use deputize_core::table::retries;
use deputize_local::store::{self, Store};
use serde_json::{Value, json};

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ProvisionedThroughputExceededException`
    ThroughputExceeded,
    /// `ThrottlingException`
    Throttled,
    /// `TransactionCanceledException`, because one of the items was throttled.
    TransactionThrottled,
    /// `InternalServerError`
    ServerError,
    /// The request does not arrive in time.
    TimedOut,
    /// Nobody listens.
    Refused,
    /// The store does what it is asked, and then the connection breaks.
    AnswerLost,
    /// No answer, ever. Only with tokio's time paused.
    Silence,
    /// A batch of which the store leaves the second half (or its only part) undone.
    Unprocessed,
    /// Of a `BatchGetItem`, one item is not there.
    Missing,
}

impl Fault {
    /// Those after which the store has done nothing.
    pub const BEFORE: [Self; 5] =
        [Self::ThroughputExceeded, Self::Throttled, Self::ServerError, Self::TimedOut, Self::Refused];
}

/// Which requests a fault befalls.
#[derive(Debug)]
struct Plan {
    /// All if `None`.
    operation: Option<&'static str>,
    /// How many to let pass first.
    skip: usize,
    /// How many to befall.
    times: usize,
    fault: Fault,
}

/// The transport between the service and its store, with a list of what is to go wrong.
#[derive(Clone, Debug)]
pub struct Faults {
    store: Store,
    plans: Arc<Mutex<Vec<Plan>>>,
    seen: Arc<Mutex<Vec<String>>>,
    committed: Arc<Mutex<Vec<Value>>>,
    shuffled: Arc<AtomicBool>,
}

impl Faults {
    pub(crate) fn on(store: &Store) -> Self {
        Self {
            store: store.clone(),
            plans: Arc::default(),
            seen: Arc::default(),
            committed: Arc::default(),
            shuffled: Arc::default(),
        }
    }

    /// The SDK's client, as in production but with shorter pauses between its attempts.
    pub(crate) fn client(&self) -> Client {
        let production = store::client(SharedHttpClient::new(self.clone()));
        let retries = retries().with_initial_backoff(std::time::Duration::from_millis(1));
        Client::from_conf(production.config().to_builder().retry_config(retries).build())
    }

    /// Every request to the store fails, until [`Self::stop`].
    pub fn always(&self, fault: Fault) {
        self.add(None, 0, usize::MAX, fault);
    }

    /// Every request of this kind fails, until [`Self::stop`].
    pub fn always_on(&self, operation: &'static str, fault: Fault) {
        self.add(Some(operation), 0, usize::MAX, fault);
    }

    /// The next `times` requests of this kind fail. The SDK makes up to three of one operation.
    pub fn next(&self, operation: &'static str, times: usize, fault: Fault) {
        self.add(Some(operation), 0, times, fault);
    }

    /// The same, after the next `skip` ones of this kind.
    pub fn next_after(&self, operation: &'static str, skip: usize, times: usize, fault: Fault) {
        self.add(Some(operation), skip, times, fault);
    }

    /// From the request after the next `skip` ones on, of whatever kind, everything fails.
    pub fn from_request(&self, skip: usize, fault: Fault) {
        self.add(None, skip, usize::MAX, fault);
    }

    /// The request after the next `skip` ones fails, of whatever kind it is, and no other.
    pub fn only_request(&self, skip: usize, fault: Fault) {
        self.add(None, skip, 1, fault);
    }

    fn add(&self, operation: Option<&'static str>, skip: usize, times: usize, fault: Fault) {
        self.plans.lock().unwrap().push(Plan { operation, skip, times, fault });
    }

    /// Nothing fails any more.
    pub fn stop(&self) {
        self.plans.lock().unwrap().clear();
    }

    /// The kinds of request since this was last asked, repetitions included.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The bodies of all transactions that went through since this was last asked.
    pub fn take_committed(&self) -> Vec<Value> {
        std::mem::take(&mut self.committed.lock().unwrap())
    }

    /// From now on requests overtake one another.
    pub fn shuffle(&self) {
        self.shuffled.store(true, Ordering::SeqCst);
    }

    fn due(&self, operation: &str) -> Option<Fault> {
        let mut plans = self.plans.lock().unwrap();
        let concerned = |plan: &&mut Plan| plan.times > 0 && plan.operation.is_none_or(|of| of == operation);
        let plan = plans.iter_mut().find(concerned)?;
        if plan.skip > 0 {
            plan.skip -= 1;
            return None;
        }
        plan.times -= 1;
        Some(plan.fault)
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        self.seen.lock().unwrap().push(operation.clone());
        if self.shuffled.load(Ordering::SeqCst) {
            for _ in 0..uuid::Uuid::new_v4().as_bytes()[0] % 8 {
                tokio::task::yield_now().await;
            }
        }
        let broken = || ConnectorError::io("the connection broke".into());
        match self.due(&operation) {
            None => self.pass(request, &operation).await,
            Some(Fault::ThroughputExceeded) => {
                Ok(refusal(400, "ProvisionedThroughputExceededException", &json!({})))
            }
            Some(Fault::Throttled) => Ok(refusal(400, "ThrottlingException", &json!({}))),
            Some(Fault::TransactionThrottled) => {
                let reasons =
                    json!({ "CancellationReasons": [{ "Code": "None" }, { "Code": "ThrottlingError" }] });
                Ok(refusal(400, "TransactionCanceledException", &reasons))
            }
            Some(Fault::ServerError) => Ok(refusal(500, "InternalServerError", &json!({}))),
            Some(Fault::TimedOut) => Err(ConnectorError::timeout("no answer in time".into())),
            Some(Fault::Refused) => Err(broken()),
            Some(Fault::AnswerLost) => {
                self.store.call(request).await?;
                Err(broken())
            }
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Unprocessed) => self.half(request, &operation).await,
            Some(Fault::Missing) => self.all_but_one(request).await,
        }
    }

    async fn pass(&self, request: HttpRequest, operation: &str) -> Result<HttpResponse, ConnectorError> {
        let transaction =
            (operation == "TransactWriteItems").then(|| request.body().bytes().unwrap().to_vec());
        let response = self.store.call(request).await?;
        if let Some(body) = transaction.filter(|_| response.status().is_success()) {
            self.committed.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        }
        Ok(response)
    }

    /// Reads a batch without one of its keys.
    async fn all_but_one(&self, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let table = body["RequestItems"].as_object_mut().unwrap().values_mut().next().unwrap();
        table["Keys"].as_array_mut().unwrap().pop();
        *request.body_mut() = SdkBody::from(body.to_string());
        self.store.call(request).await
    }

    /// Does the first half of a batch, and says so.
    async fn half(&self, mut request: HttpRequest, operation: &str) -> Result<HttpResponse, ConnectorError> {
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let (table, left_in) = match operation {
            "BatchGetItem" => ("Keys", "UnprocessedKeys"),
            _ => ("", "UnprocessedItems"),
        };
        let mut left = body["RequestItems"].clone();
        let items = body["RequestItems"].as_object_mut().unwrap().values_mut().next().unwrap();
        let list = if table.is_empty() { items } else { &mut items[table] };
        let list = list.as_array_mut().unwrap();
        let rest = list.split_off(list.len() / 2);
        let none_left_to_do = list.is_empty();
        let left_items = left.as_object_mut().unwrap().values_mut().next().unwrap();
        if table.is_empty() {
            *left_items = rest.into();
        } else {
            left_items[table] = rest.into();
        }
        let mut answer = json!({ "Responses": {} });
        if !none_left_to_do {
            *request.body_mut() = SdkBody::from(body.to_string());
            let done = self.store.call(request).await?;
            answer = serde_json::from_slice(done.body().bytes().unwrap()).unwrap();
        }
        answer[left_in] = left;
        Ok(HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(answer.to_string())))
    }
}

fn refusal(status: u16, code: &str, more: &Value) -> HttpResponse {
    let mut body = more.clone();
    body["__type"] = format!("com.amazonaws.dynamodb.v20120810#{code}").into();
    body["message"] = "a test made this fail".into();
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body.to_string()))
}

impl HttpClient for Faults {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Faults {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}
