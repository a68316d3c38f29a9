//! What can go wrong between the service and its store, on demand.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
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
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use deputize_core::table::Key;
use deputize_core::table::retries;
use deputize_local::store;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::store::TestStore;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ProvisionedThroughputExceededException`
    ThroughputExceeded,
    /// `ThrottlingException`
    Throttled,
    /// `TransactionCanceledException`, because one of the items was throttled.
    TransactionThrottled,
    /// `TransactionCanceledException`, because another transaction has one of the items.
    Conflict,
    /// `TransactionInProgressException`: the same transaction is under way.
    InProgress,
    /// `InternalServerError`
    ServerError,
    /// The request does not arrive in time.
    TimedOut,
    /// No server listens.
    Refused,
    /// The store does the request, and then the connection breaks.
    AnswerLost,
    /// No answer, ever. Only with tokio's time paused.
    Silence,
    /// The store leaves the second half of a batch undone, or its only part.
    Unprocessed,
    /// One item is missing from a `BatchGetItem`'s answer.
    Missing,
    /// A page of a `Query` ends in the middle, or after its only item, and says that there may be more.
    /// DynamoDB does this at 1 MB.
    CutShort,
}

impl Fault {
    /// Faults after which the store has done nothing.
    pub const BEFORE: [Self; 5] =
        [Self::ThroughputExceeded, Self::Throttled, Self::ServerError, Self::TimedOut, Self::Refused];
}

/// The requests that fail.
#[derive(Debug)]
struct Plan {
    /// All if `None`.
    operation: Option<&'static str>,
    /// How many pass first.
    skip: usize,
    /// How many fail.
    times: usize,
    fault: Fault,
}

/// Whether an item that a transaction writes is seen late.
pub type IsLate = fn(&Key) -> bool;

/// A transaction under way. It holds the former state of the items that are still shown as they were.
#[derive(Debug)]
struct UnderWay {
    token: Value,
    keys: Vec<Key>,
    old: Vec<(Key, Value)>,
}

#[derive(Debug, Default)]
struct Held {
    next: Mutex<Option<IsLate>>,
    under_way: Mutex<Option<UnderWay>>,
    released: Notify,
}

fn key_of(item: &Value) -> Key {
    let text = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    Key { pk: text("pk"), sk: text("sk") }
}

impl Held {
    /// If this transaction is to be held: the present state of its items.
    fn begin(&self, store: &TestStore, transaction: &Value) -> Option<UnderWay> {
        let is_late = self.next.lock().unwrap().take()?;
        let old = keys_of(transaction).into_iter().filter(is_late).map(|key| {
            let item = crate::table::item(store, &key);
            (key, item)
        });
        let token = transaction["ClientRequestToken"].clone();
        Some(UnderWay { token, keys: keys_of(transaction), old: old.collect() })
    }

    async fn until_released(&self, transaction: UnderWay) {
        let released = self.released.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        *self.under_way.lock().unwrap() = Some(transaction);
        released.await;
    }

    /// The answer to another transaction with a common item, or to the same one sent again.
    fn stands_in_the_way_of(&self, transaction: &Value) -> Option<HttpResponse> {
        let under_way = self.under_way.lock().unwrap();
        let under_way = under_way.as_ref()?;
        if under_way.token == transaction["ClientRequestToken"] {
            return Some(refusal(400, "TransactionInProgressException", &json!({})));
        }
        let met = keys_of(transaction).iter().any(|key| under_way.keys.contains(key));
        met.then(|| cancelled("TransactionConflict"))
    }

    /// The answer to a read in the middle of the transaction under way.
    fn show(&self, request: &Value, operation: &str, response: HttpResponse) -> HttpResponse {
        let under_way = self.under_way.lock().unwrap();
        let Some(UnderWay { old, .. }) = &*under_way else { return response };
        let mut body: Value = serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
        let asked = |key: &Key| match operation {
            "BatchGetItem" => {
                let table = request["RequestItems"].as_object().unwrap().values().next().unwrap();
                table["Keys"].as_array().unwrap().iter().any(|asked| key_of(asked) == *key)
            }
            "Query" => {
                let values = &request["ExpressionAttributeValues"];
                let prefix = values[":prefix"]["S"].as_str().unwrap_or_default();
                values[":pk"]["S"] == *key.pk && key.sk.starts_with(prefix)
            }
            _ => false,
        };
        let items = match operation {
            "BatchGetItem" => body["Responses"].as_object_mut().unwrap().values_mut().next(),
            "Query" => body.get_mut("Items"),
            _ => None,
        };
        let Some(items) = items.and_then(Value::as_array_mut) else { return response };
        for (key, item) in old.iter().filter(|(key, _)| asked(key)) {
            items.retain(|shown| key_of(shown) != *key);
            items.extend((!item.is_null()).then(|| item.clone()));
        }
        items.sort_by_key(|item| key_of(item).sk);
        HttpResponse::new(response.status(), SdkBody::from(body.to_string()))
    }
}

/// Stops a transaction before it is carried out.
#[derive(Debug, Default)]
struct Gate {
    is_shut: AtomicBool,
    is_waited_at: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// Waits if this transaction must stop.
    async fn pass(&self) {
        if self.is_shut.swap(false, Ordering::SeqCst) {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            self.is_waited_at.store(true, Ordering::SeqCst);
            opened.await;
        }
    }
}

/// The keys of a transaction's items.
fn keys_of(transaction: &Value) -> Vec<Key> {
    let items = transaction["TransactItems"].as_array().unwrap().iter();
    let keys = items.map(|item| match (&item["Put"], &item["Delete"], &item["ConditionCheck"]) {
        (Value::Object(put), ..) => key_of(&put["Item"]),
        (_, Value::Object(delete), _) => key_of(&delete["Key"]),
        (.., check) => key_of(&check["Key"]),
    });
    keys.collect()
}

/// The transport between the service and its store, with the planned faults.
#[derive(Clone, Debug)]
pub struct Faults {
    store: TestStore,
    plans: Arc<Mutex<Vec<Plan>>>,
    seen: Arc<Mutex<Vec<String>>>,
    committed: Arc<Mutex<Vec<Value>>>,
    shuffled: Arc<AtomicBool>,
    takes: Arc<Mutex<Duration>>,
    held: Arc<Held>,
    gate: Arc<Gate>,
}

impl Faults {
    pub(crate) fn on(store: &TestStore) -> Self {
        Self {
            store: store.clone(),
            plans: Arc::default(),
            seen: Arc::default(),
            committed: Arc::default(),
            shuffled: Arc::default(),
            takes: Arc::default(),
            held: Arc::default(),
            gate: Arc::default(),
        }
    }

    /// The SDK's client, as in production but with shorter pauses between its attempts.
    pub fn client(&self) -> Client {
        let production = store::client(SharedHttpClient::new(self.clone()));
        let retries = retries().with_initial_backoff(Duration::from_millis(1));
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

    /// The next `times` requests of this kind fail, after those of earlier calls. One operation is up to
    /// three requests, or more if it collides with others.
    pub fn next(&self, operation: &'static str, times: usize, fault: Fault) {
        self.add(Some(operation), 0, times, fault);
    }

    /// The same, after the next `skip` ones of this kind.
    pub fn next_after(&self, operation: &'static str, skip: usize, times: usize, fault: Fault) {
        self.add(Some(operation), skip, times, fault);
    }

    /// From now on, after `skip` requests, every request of any kind fails.
    pub fn from_request(&self, skip: usize, fault: Fault) {
        self.add(None, skip, usize::MAX, fault);
    }

    /// The requests after the next `skip` ones fail, each in its own way.
    pub fn in_turn(&self, skip: usize, faults: &[Fault]) {
        for (n, fault) in faults.iter().enumerate() {
            self.add(None, if n == 0 { skip } else { 0 }, 1, *fault);
        }
    }

    fn add(&self, operation: Option<&'static str>, skip: usize, times: usize, fault: Fault) {
        self.plans.lock().unwrap().push(Plan { operation, skip, times, fault });
    }

    /// Nothing fails any more.
    pub fn stop(&self) {
        self.plans.lock().unwrap().clear();
    }

    /// The kinds of all requests since the last call, including repetitions.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The bodies of all transactions that were committed since the last call.
    pub fn take_committed(&self) -> Vec<Value> {
        std::mem::take(&mut self.committed.lock().unwrap())
    }

    /// From now on, requests can overtake one another.
    pub fn shuffle(&self) {
        self.shuffled.store(true, Ordering::SeqCst);
    }

    /// From now on, each answer takes this long. Only with tokio's time paused.
    pub fn take_time(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
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
        if operation == "Query" && has_an_empty_key(&request) {
            return Ok(refusal(400, "ValidationException", &json!({})));
        }
        if self.shuffled.load(Ordering::SeqCst) {
            for _ in 0..uuid::Uuid::new_v4().as_bytes()[0] % 8 {
                tokio::task::yield_now().await;
            }
        }
        let takes = *self.takes.lock().unwrap();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let broken = || ConnectorError::io("the connection broke".into());
        match self.due(&operation) {
            None => self.pass(request, &operation).await,
            Some(Fault::ThroughputExceeded) => {
                Ok(refusal(400, "ProvisionedThroughputExceededException", &json!({})))
            }
            Some(Fault::Throttled) => Ok(refusal(400, "ThrottlingException", &json!({}))),
            Some(Fault::TransactionThrottled) => Ok(cancelled("ThrottlingError")),
            Some(Fault::Conflict) => Ok(cancelled("TransactionConflict")),
            Some(Fault::InProgress) => Ok(refusal(400, "TransactionInProgressException", &json!({}))),
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
            Some(Fault::CutShort) => self.cut_short(request).await,
        }
    }

    async fn pass(&self, request: HttpRequest, operation: &str) -> Result<HttpResponse, ConnectorError> {
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        if operation != "TransactWriteItems" {
            let response = self.store.call(request).await?;
            return Ok(self.held.show(&body, operation, response));
        }
        self.gate.pass().await;
        if let Some(refused) = self.held.stands_in_the_way_of(&body) {
            return Ok(refused);
        }
        let before = self.held.begin(&self.store, &body);
        let response = self.store.call(request).await?;
        if response.status().is_success() {
            self.committed.lock().unwrap().push(body);
            if let Some(before) = before {
                self.held.until_released(before).await;
            }
        }
        Ok(response)
    }

    /// The next transaction waits before it is carried out, until [`Self::go_on`]. Those after it pass.
    pub fn stop_before_next_change(&self) {
        self.gate.is_shut.store(true, Ordering::SeqCst);
    }

    /// Waits until a transaction has stopped.
    pub async fn is_stopped(&self) {
        while !self.gate.is_waited_at.swap(false, Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the stopped transaction go on.
    pub fn go_on(&self) {
        self.gate.opened.notify_waiters();
    }

    /// The next transaction stays under way until [`Self::release`]: it is carried out and not yet answered.
    /// Readers see the items for which `is_late` is true in their former state. DynamoDB promises no more
    /// than that, since a read is isolated from a transaction item by item.
    pub fn hold_next(&self, is_late: IsLate) {
        *self.held.next.lock().unwrap() = Some(is_late);
    }

    /// Waits until a transaction is under way.
    pub async fn is_under_way(&self) {
        while self.held.under_way.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the transaction that is under way end.
    pub fn release(&self) {
        self.held.under_way.lock().unwrap().take();
        self.held.released.notify_waiters();
    }

    /// Reads a batch without one of its keys.
    async fn all_but_one(&self, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let table = body["RequestItems"].as_object_mut().unwrap().values_mut().next().unwrap();
        table["Keys"].as_array_mut().unwrap().pop();
        *request.body_mut() = SdkBody::from(body.to_string());
        self.store.call(request).await
    }

    /// Answers the first half of a page, and says that there is more.
    async fn cut_short(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let response = self.store.call(request).await?;
        let mut page: Value = serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
        let items = page["Items"].as_array_mut().unwrap();
        items.truncate(items.len().div_ceil(2));
        let last = items.last().map(|item| json!({ "pk": item["pk"], "sk": item["sk"] }));
        page["Count"] = items.len().into();
        if let Some(mut last) = last {
            let partition = asked["ExpressionAttributeNames"]["#pk"].as_str().unwrap();
            last[partition] = asked["ExpressionAttributeValues"][":pk"].clone();
            page["LastEvaluatedKey"] = last;
        }
        Ok(HttpResponse::new(response.status(), SdkBody::from(page.to_string())))
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

/// Whether a query compares a key with an empty text, which DynamoDB refuses, and the embedded engine does not.
fn has_an_empty_key(request: &HttpRequest) -> bool {
    let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    let values = asked["ExpressionAttributeValues"].as_object();
    values.is_some_and(|values| values.values().any(|value| value["S"] == ""))
}

/// A transaction that failed because of its second item.
fn cancelled(code: &str) -> HttpResponse {
    let reasons = json!({ "CancellationReasons": [{ "Code": "None" }, { "Code": code }] });
    refusal(400, "TransactionCanceledException", &reasons)
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
