//! A way to the store on which everything happens that DynamoDB's documents allow, as a seed determines.
//!
//! | what happens | as documented |
//! | --- | --- |
//! | requests and answers take their time, and overtake one another | |
//! | a request is turned away, in each of the ways | Developer Guide, "Error handling" |
//! | a request is lost, or carried out and its answer lost | "Error handling": retry with the same token |
//! | a request whose sender has given up is carried out later | |
//! | a transaction conflicts with another | "Transaction conflict handling in DynamoDB" |
//! | a batch read sees each item at another moment | "Isolation levels for transactions": a batch is not one |
//! | so does a query, whose page ends early, too | "read-committed"; a page ends at 1 MB |
//! | a batch is done in part | API Reference, `UnprocessedKeys`, `UnprocessedItems` |
//!
//! Time is tokio's, so that with its clock paused a run waits for nothing.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
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
use deputize_local::store;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::store::TestStore;

/// How many of a thousand requests have each fault.
#[derive(Clone, Copy, Debug)]
pub struct FaultRates {
    pub turned_away: u32,
    pub lost: u32,
    pub answer_lost: u32,
    pub late: u32,
    pub conflict: u32,
    pub in_part: u32,
    /// How many pages end early.
    pub short_page: u32,
}

impl FaultRates {
    /// More of every fault than AWS has in its worst hour.
    pub const STORM: Self = Self {
        turned_away: 60,
        lost: 30,
        answer_lost: 40,
        late: 25,
        conflict: 100,
        in_part: 60,
        short_page: 300,
    };
}

/// The connection to the store. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct Storm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: TestStore,
    rates: FaultRates,
    is_calm: AtomicBool,
    random: Mutex<fastrand::Rng>,
    log: Mutex<Log>,
}

/// What has happened.
#[derive(Debug, Default)]
struct Log {
    requests: u64,
    faults: u64,
    order: DefaultHasher,
}

/// A summary of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub requests: u64,
    pub faults: u64,
    /// Represents the order in which the store worked, and the faults.
    pub interleaving: u64,
}

/// The fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Done,
    TurnedAway(&'static str),
    Lost,
    AnswerLost,
    Late,
    Conflict,
    InPart,
}

impl Storm {
    pub fn on(store: &TestStore, rates: FaultRates, seed: u64) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            rates,
            is_calm: AtomicBool::new(false),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            log: Mutex::default(),
        }))
    }

    /// The SDK's client, as in production.
    pub fn client(&self) -> Client {
        store::client(SharedHttpClient::new(self.clone()))
    }

    /// Ends the faults. Requests that were delayed still arrive.
    pub fn calm(&self) {
        self.0.is_calm.store(true, Ordering::SeqCst);
    }

    pub fn passed(&self) -> Passed {
        let log = self.0.log.lock().unwrap();
        Passed { requests: log.requests, faults: log.faults, interleaving: log.order.finish() }
    }

    fn up_to(&self, bound: u64) -> u64 {
        self.0.random.lock().unwrap().u64(0..=bound)
    }

    fn happens(&self, in_a_thousand: u32) -> bool {
        self.up_to(999) < u64::from(in_a_thousand)
    }

    async fn a_while(&self, at_most_millis: u64) {
        sleep(Duration::from_millis(self.up_to(at_most_millis))).await;
    }

    fn is_calm(&self) -> bool {
        self.0.is_calm.load(Ordering::SeqCst)
    }

    fn fate(&self, operation: &str) -> Fate {
        if self.is_calm() {
            return Fate::Done;
        }
        let rates = self.0.rates;
        let is_transaction = operation == "TransactWriteItems";
        let fates = [
            (rates.turned_away, Fate::TurnedAway(self.turned_away(is_transaction))),
            (rates.lost, Fate::Lost),
            (rates.answer_lost, Fate::AnswerLost),
            (rates.late, Fate::Late),
            (if is_transaction { rates.conflict } else { 0 }, Fate::Conflict),
            (if operation.starts_with("Batch") { rates.in_part } else { 0 }, Fate::InPart),
        ];
        let mut at = u32::try_from(self.up_to(999)).unwrap();
        for (share, fate) in fates {
            if at < share {
                return fate;
            }
            at -= share;
        }
        Fate::Done
    }

    fn turned_away(&self, is_transaction: bool) -> &'static str {
        match self.up_to(if is_transaction { 3 } else { 2 }) {
            0 => "ProvisionedThroughputExceededException",
            1 => "ThrottlingException",
            2 => "RequestLimitExceeded",
            _ => "TransactionInProgressException",
        }
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let fate = self.fate(&operation);
        if fate != Fate::Done {
            self.0.log.lock().unwrap().faults += 1;
        }
        self.a_while(20).await;
        let answer = match fate {
            Fate::Done => self.done(&operation, body).await,
            Fate::TurnedAway(code) => refusal(400, code, json!({})),
            Fate::Lost => return Err(broken()),
            Fate::AnswerLost => {
                self.done(&operation, body).await;
                self.a_while(20).await;
                return Err(broken());
            }
            Fate::Late => {
                let late = self.clone();
                tokio::spawn(async move {
                    late.a_while(4_000).await;
                    late.done(&operation, body).await;
                });
                return Err(broken());
            }
            Fate::Conflict => {
                let items = body["TransactItems"].as_array().unwrap().len();
                let mut reasons = vec![json!({ "Code": "None" }); items];
                reasons[usize::try_from(self.up_to(items as u64 - 1)).unwrap()] = json!({ "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" });
                refusal(400, "TransactionCanceledException", json!({ "CancellationReasons": reasons }))
            }
            Fate::InPart => self.in_part(&operation, body).await,
        };
        self.a_while(20).await;
        Ok(answer)
    }

    async fn done(&self, operation: &str, body: Value) -> HttpResponse {
        match operation {
            "BatchGetItem" => self.read_one_by_one(body).await,
            "Query" if body["IndexName"].is_null() => self.query(body).await,
            _ => self.ask(operation, &body),
        }
    }

    /// Carries out one request at the store. This is the moment at which it is done.
    fn ask(&self, operation: &str, body: &Value) -> HttpResponse {
        {
            let mut log = self.0.log.lock().unwrap();
            log.requests += 1;
            (operation, subject(body)).hash(&mut log.order);
        }
        let (status, body) = self.0.store.carry_out(operation, body.to_string().as_bytes());
        HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
    }

    /// Reads the items at several moments.
    async fn read_one_by_one(&self, mut body: Value) -> HttpResponse {
        let (table, keys) = only_table(&mut body, "Keys");
        let mut found = Vec::new();
        for keys in self.at_moments(keys) {
            self.a_while(10).await;
            body["RequestItems"][&table]["Keys"] = keys.into();
            let answer = json_of(&self.ask("BatchGetItem", &body));
            found.extend(answer["Responses"][&table].as_array().cloned().unwrap_or_default());
        }
        ok(&json!({ "Responses": { table: found }, "UnprocessedKeys": {} }))
    }

    /// Reads the page's keys at one moment, and its items then or later.
    async fn query(&self, mut body: Value) -> HttpResponse {
        if let Some(limit) = body["Limit"].as_u64().filter(|_| !self.is_calm())
            && self.happens(self.0.rates.short_page)
        {
            body["Limit"] = (1 + self.up_to(limit - 1)).into();
        }
        let mut page = json_of(&self.ask("Query", &body));
        let Value::Array(items) = page["Items"].take() else { return ok(&page) };
        let table = body["TableName"].as_str().unwrap();
        let mut moments = self.at_moments(items).into_iter();
        let mut items = moments.next().unwrap_or_default();
        for later in moments {
            self.a_while(10).await;
            for item in later {
                let key = json!({ "pk": item["pk"], "sk": item["sk"] });
                let one = json!({ "RequestItems": { table: { "Keys": [key], "ConsistentRead": true } } });
                let answer = json_of(&self.ask("BatchGetItem", &one));
                items.extend(answer["Responses"][table].as_array().cloned().unwrap_or_default());
            }
        }
        page["Count"] = items.len().into();
        page["Items"] = items.into();
        ok(&page)
    }

    /// Divides what is read into several moments. Sometimes a new one begins.
    fn at_moments(&self, all: Vec<Value>) -> Vec<Vec<Value>> {
        let mut moments: Vec<Vec<Value>> = Vec::new();
        for one in all {
            match moments.last_mut() {
                Some(moment) if self.is_calm() || self.happens(700) => moment.push(one),
                _ => moments.push(vec![one]),
            }
        }
        moments
    }

    async fn in_part(&self, operation: &str, mut body: Value) -> HttpResponse {
        let (field, left_in) = match operation {
            "BatchGetItem" => ("Keys", "UnprocessedKeys"),
            _ => ("", "UnprocessedItems"),
        };
        let (table, mut all) = only_table(&mut body, field);
        let left = all.split_off(usize::try_from(self.up_to(all.len() as u64 - 1)).unwrap());
        let with = |items: Vec<Value>| {
            let mut body = body.clone();
            let place = &mut body["RequestItems"][&table];
            if field.is_empty() {
                *place = items.into();
            } else {
                place[field] = items.into();
            }
            body
        };
        let mut answer = json!({ "Responses": { &table: [] } });
        if !all.is_empty() {
            answer = json_of(&self.done(operation, with(all)).await);
        }
        answer[left_in] = with(left)["RequestItems"].take();
        ok(&answer)
    }
}

/// The only table of a batch, and the requests to it, which are removed from the batch.
fn only_table(body: &mut Value, field: &str) -> (String, Vec<Value>) {
    let tables = body["RequestItems"].as_object_mut().unwrap();
    let (name, asked) = tables.iter_mut().next().unwrap();
    let list = if field.is_empty() { asked.take() } else { asked[field].take() };
    let Value::Array(mut list) = list else { panic!("a batch of {name} without {field}") };
    // The SDK's caller may give them in an order that differs from run to run.
    list.sort_by_key(Value::to_string);
    (name.clone(), list)
}

/// The items of a request, to distinguish one order of events from another.
fn subject(body: &Value) -> String {
    fn keys(value: &Value, into: &mut HashSet<String>) {
        match value {
            Value::Object(fields) => {
                if let (Some(pk), Some(sk)) = (fields.get("pk"), fields.get("sk")) {
                    into.insert(format!("{pk}{sk}"));
                }
                fields.values().for_each(|value| keys(value, into));
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
            _ => {}
        }
    }
    let mut all = HashSet::new();
    keys(body, &mut all);
    let mut all: Vec<String> = all.into_iter().collect();
    all.sort();
    all.join(" ")
}

fn json_of(response: &HttpResponse) -> Value {
    serde_json::from_slice(response.body().bytes().unwrap()).unwrap()
}

fn ok(body: &Value) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(body.to_string()))
}

fn refusal(status: u16, code: &str, mut body: Value) -> HttpResponse {
    body["__type"] = format!("com.amazonaws.dynamodb.v20120810#{code}").into();
    body["message"] = "as the seed has it".into();
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body.to_string()))
}

fn broken() -> ConnectorError {
    ConnectorError::io("the connection broke".into())
}

impl HttpClient for Storm {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Storm {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}
