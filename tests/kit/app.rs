//! The whole service in one process.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::Client;
use axum::Router;
use deputize_core::{
    Core, Settings,
    agents::SharedGrants,
    apps::AppSettings,
    clock::{Clock, Random, Timestamp},
    issuers::{self, Fetch, Issuers, LinkByEmail, TrustedIssuer},
    network::Http,
    table::{StatsSnapshot, Table, TableOptions},
    vault::{KEY_BYTES, LocalRoot, RootKey, Vault},
};
use deputize_local::server::functions;
use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{
    address::AddressPolicy,
    edge,
    lambda::{LambdaHandler, Print},
    outbound::{Outbound, Times},
};
use http::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    faults::Faults,
    identity_provider::Providers,
    issuer::{Network, TestIssuer},
    request::TestRequest,
    response::Names,
    store::TestStore,
};

/// The address of the service under test.
pub const URL: &str = "https://deputize.test";

/// The origins whose web pages may call the service under test, in addition to its own.
pub const PAGES: [&str; 2] = ["https://app.example.com", "http://localhost:5173"];

/// The service, on a store of its own. Cheap to clone; clones are the same process.
#[derive(Clone, Debug)]
pub struct TestApp {
    pub core: Arc<Core>,
    pub store: TestStore,
    /// Faults between the service and its store.
    pub faults: Faults,
    /// An issuer whose tokens must be for `deputize`. They lead to users by verified email, and make new
    /// users.
    pub login: TestIssuer,
    /// An issuer like `WorkOS`: no `aud`, no email. Only known subjects lead to users.
    pub workos: TestIssuer,
    pub(crate) names: Names,
    upstream: UpstreamConfig,
    router: Router,
}

/// The users to whom `login` and `workos` lead by email.
const LINKS: [LinkByEmail; 2] = [LinkByEmail::New, LinkByEmail::No];

/// How long a request to an OAuth provider may take. It is long enough on a busy machine, and a test that
/// waits for it takes less than a second.
const TIMES: Times = Times { connect: Duration::from_millis(800), total: Duration::from_millis(800) };

/// A root key of a vault. A new app uses root 7, and has no other.
pub fn root(n: u8) -> Arc<dyn RootKey> {
    Arc::new(LocalRoot::new(&Zeroizing::new([n; KEY_BYTES])).unwrap())
}

impl TestApp {
    /// The service with an empty table, at 2026-01-15T09:00:00Z.
    pub async fn start() -> Self {
        Self::start_with(UpstreamConfig::default()).await
    }

    /// The same with other limits for MCP servers. They may have any address except a link-local one.
    pub async fn start_with(upstream: UpstreamConfig) -> Self {
        Self::start_on(TestStore::new(), upstream).await
    }

    /// The same on a store that may already have a table.
    pub async fn start_on(store: impl Into<TestStore>, upstream: UpstreamConfig) -> Self {
        let app = Self::build(store.into(), upstream, settings(URL)).await;
        app.core.bootstrap().await.unwrap();
        app
    }

    /// The service at another address.
    pub async fn start_at(url: &str) -> Self {
        Self::start_as(settings(url)).await
    }

    /// The service with this default of `shared_grants`.
    pub async fn start_sharing(shared_grants: SharedGrants) -> Self {
        Self::start_as(settings(URL).sharing_by(shared_grants)).await
    }

    /// The service that takes these apps.
    pub async fn start_taking(apps: AppSettings) -> Self {
        Self::start_as(settings(URL).taking_apps(apps)).await
    }

    /// The service with this time for refresh tokens whose successor has been used.
    pub async fn start_with_refresh_grace(grace: Duration) -> Self {
        Self::start_as(settings(URL).with_refresh_grace(grace)).await
    }

    async fn start_as(settings: Settings) -> Self {
        let app = Self::build(TestStore::new(), UpstreamConfig::default(), settings).await;
        app.core.bootstrap().await.unwrap();
        app
    }

    /// The service on an empty table, without bootstrapping it.
    pub async fn before_bootstrap() -> Self {
        Self::build(TestStore::new(), UpstreamConfig::default(), settings(URL)).await
    }

    async fn build(store: TestStore, upstream: UpstreamConfig, settings: Settings) -> Self {
        let clock = Clock::manual("2026-01-15T09:00:00Z".parse().unwrap());
        let faults = Faults::on(&store);
        deputize_core::table::create_table(&store.client(), &store.table()).await.unwrap();
        let login = TestIssuer::new("https://login.example.com", &clock);
        let workos = TestIssuer::new("https://api.workos.com/client_1", &clock);
        let upstream = UpstreamConfig { addresses: AddressPolicy::local(), ..upstream };
        let (vault, time) = (Vault::new(root(7), Vec::new()), (clock, Random::System));
        let issuers = [(&login, LINKS[0]), (&workos, LINKS[1])];
        let core = core((faults.client(), store.table()), issuers, time, vault, settings, outbound());
        let router = router(&core, &upstream);
        Self { core, store, faults, login, workos, names: Names::default(), upstream, router }
    }

    /// Another process of the same deployment. Its memory is empty, and it may have other root keys.
    pub async fn another(&self, vault: Vault) -> Self {
        self.beside(vault, LINKS).await
    }

    /// Another process, in which `login` and `workos` may lead to these users by email.
    pub async fn linking(&self, links: [LinkByEmail; 2]) -> Self {
        self.beside(Vault::new(root(7), Vec::new()), links).await
    }

    /// Another process, in which these issuers alone are trusted: a JSON array, as an operator writes it. They publish
    /// what `network` answers.
    pub async fn trusting(&self, trusted: &Value, network: Arc<dyn Fetch>) -> Self {
        let trusted = issuers::listed(&trusted.to_string()).unwrap();
        let (time, settings) = ((self.core.clock.clone(), Random::System), self.core.settings.clone());
        let vault = Vault::new(root(7), Vec::new());
        let store = (self.faults.client(), self.store.table());
        let core = core_trusting(store, (trusted, network), time, vault, settings, outbound());
        core.bootstrap().await.unwrap();
        self.with(core)
    }

    /// Another process, whose operator has changed its settings.
    #[must_use]
    pub fn with_settings(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.core.settings.clone();
        change(&mut settings);
        let issuers = [(&self.login, LINKS[0]), (&self.workos, LINKS[1])];
        let (time, vault) = ((self.core.clock.clone(), Random::System), Vault::new(root(7), Vec::new()));
        self.with(core(
            (self.faults.client(), self.store.table()),
            issuers,
            time,
            vault,
            settings,
            outbound(),
        ))
    }

    /// Another process, in which people sign in by these providers: as an operator trusts them, and the network that leads
    /// to them.
    pub async fn signing_in_by(&self, trusted: &Value, providers: &Providers) -> Self {
        self.signing_in_with(trusted, providers, |_| {}).await
    }

    /// The same, with other settings.
    pub async fn signing_in_with(
        &self,
        trusted: &Value,
        providers: &Providers,
        set: impl FnOnce(&mut Settings),
    ) -> Self {
        let trusted = issuers::listed(&trusted.to_string()).unwrap();
        let (time, mut settings) = ((self.core.clock.clone(), Random::System), self.core.settings.clone());
        set(&mut settings);
        let vault = Vault::new(root(7), Vec::new());
        let network: Arc<dyn Fetch> = Arc::new(providers.clone());
        let store = (self.faults.client(), self.store.table());
        let http = Arc::new(providers.clone());
        let core = core_trusting(store, (trusted, network), time, vault, settings, http);
        core.bootstrap().await.unwrap();
        self.with(core)
    }

    /// The whole store as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let path = std::env::temp_dir().join(format!("deputize-{}.sqlite", uuid::Uuid::new_v4()));
        self.store.embedded().vacuum_into(path.to_str().unwrap()).unwrap();
        Snapshot(path)
    }

    /// The store as it was, and a process whose memory is empty.
    pub async fn back_to(&self, snapshot: &Snapshot) -> Self {
        self.store.embedded().restore_from(snapshot.0.to_str().unwrap()).unwrap();
        self.linking(LINKS).await
    }

    async fn beside(&self, vault: Vault, links: [LinkByEmail; 2]) -> Self {
        let issuers = [(&self.login, links[0]), (&self.workos, links[1])];
        let (time, settings) = ((self.core.clock.clone(), Random::System), self.core.settings.clone());
        let store = (self.faults.client(), self.store.table());
        let core = core(store, issuers, time, vault, settings, outbound());
        core.bootstrap().await.unwrap();
        self.with(core)
    }

    /// Another process of the same deployment. Its memory is empty. It has its own clock, its own connection
    /// to the store, and its own connection to OAuth providers.
    #[must_use]
    pub fn process(&self, store: Client, time: (Clock, Random), providers: Arc<dyn Http>) -> Self {
        let issuers = [(&self.login, LINKS[0]), (&self.workos, LINKS[1])];
        let (vault, settings) = (Vault::new(root(7), Vec::new()), self.core.settings.clone());
        self.with(core((store, self.store.table()), issuers, time, vault, settings, providers))
    }

    fn with(&self, core: Arc<Core>) -> Self {
        let router = router(&core, &self.upstream);
        Self {
            core,
            store: self.store.clone(),
            faults: self.faults.clone(),
            login: self.login.clone(),
            workos: self.workos.clone(),
            names: self.names.clone(),
            upstream: self.upstream.clone(),
            router,
        }
    }

    /// The service's present time.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.core.clock.advance(time);
    }

    /// Shows `text` as `[name]` in snapshots.
    pub fn call_it(&self, name: impl AsRef<str>, text: impl Into<String>) {
        self.names.add(name.as_ref(), text.into());
    }

    /// The text as snapshots show it.
    pub fn shown(&self, text: &str) -> String {
        self.names.show(text)
    }

    pub fn get(&self, path: impl Into<String>) -> TestRequest {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: impl Into<String>) -> TestRequest {
        self.ask(Method::POST, path)
    }

    pub fn put(&self, path: impl Into<String>) -> TestRequest {
        self.ask(Method::PUT, path)
    }

    pub fn patch(&self, path: impl Into<String>) -> TestRequest {
        self.ask(Method::PATCH, path)
    }

    pub fn delete(&self, path: impl Into<String>) -> TestRequest {
        self.ask(Method::DELETE, path)
    }

    pub fn ask(&self, method: Method, path: impl Into<String>) -> TestRequest {
        TestRequest::new(self.router.clone(), self.names.clone(), method, path.into())
    }

    /// The service as one AWS Lambda function, and the lines of metrics that it prints.
    pub fn on_lambda(&self) -> (LambdaHandler, Lines) {
        let functions = functions(&self.core, UpstreamClient::new(self.upstream.clone()));
        let lines = Lines::default();
        (LambdaHandler::new("all", functions.into(), Arc::clone(&self.core), lines.print()), lines)
    }

    /// The result of `work`, and how many requests of each kind went to the table meanwhile.
    pub async fn round_trips<T>(&self, work: impl Future<Output = T>) -> (T, Vec<(&'static str, u64)>) {
        let before = self.core.table.stats();
        let done = work.await;
        (done, difference(&before, &self.core.table.stats()))
    }
}

/// How long each answer of the store takes where round trips in turn are counted.
const ROUND_TRIP: Duration = Duration::from_millis(100);

impl TestApp {
    /// The result of `work`, and how many round trips to the table it waited for, one after the other. Requests that are
    /// under way at the same time are one. Only with tokio's time paused, which passes for nothing else.
    pub async fn round_trips_in_turn<T>(&self, work: impl Future<Output = T>) -> (T, u128) {
        self.faults.take_time(ROUND_TRIP);
        let began = tokio::time::Instant::now();
        let done = work.await;
        let took = began.elapsed().as_millis();
        self.faults.take_time(Duration::ZERO);
        let in_turn = took / ROUND_TRIP.as_millis();
        // A sleep ends with a whole millisecond of the clock.
        assert!(took % ROUND_TRIP.as_millis() <= in_turn, "time passed for something else: {took} ms");
        (done, in_turn)
    }
}

/// A copy of a store, in a file that is deleted with this.
#[derive(Debug)]
pub struct Snapshot(PathBuf);

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Lines that a function prints.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// The output to print to.
    pub fn print(&self) -> Print {
        let lines = Arc::clone(&self.0);
        Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()))
    }

    /// The lines so far, as JSON.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only line.
    #[track_caller]
    pub fn one(&self) -> Value {
        let lines = self.all();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }
}

fn settings(url: &str) -> Settings {
    Settings::at(url).allowing(PAGES.map(|origin| origin.parse().unwrap()))
}

fn outbound() -> Arc<dyn Http> {
    Arc::new(Outbound::new(AddressPolicy::local(), TIMES))
}

fn core(
    store: (Client, String),
    issuers: [(&TestIssuer, LinkByEmail); 2],
    time: (Clock, Random),
    vault: Vault,
    settings: Settings,
    providers: Arc<dyn Http>,
) -> Arc<Core> {
    let [(login, login_links), (workos, workos_links)] = issuers;
    let trusted = vec![
        TrustedIssuer {
            issuer: login.url().to_owned(),
            jwks_uri: Some(login.jwks_uri()),
            audiences: vec!["deputize".to_owned()],
            link_by_email: login_links,
            provision: true,
            ..TrustedIssuer::default()
        },
        TrustedIssuer {
            issuer: workos.url().to_owned(),
            any_audience: true,
            link_by_email: workos_links,
            ..TrustedIssuer::default()
        },
    ];
    let network = Network::of([login.clone(), workos.clone()]);
    core_trusting(store, (trusted, Arc::new(network)), time, vault, settings, providers)
}

fn core_trusting(
    (client, name): (Client, String),
    (trusted, network): (Vec<TrustedIssuer>, Arc<dyn Fetch>),
    time: (Clock, Random),
    vault: Vault,
    settings: Settings,
    providers: Arc<dyn Http>,
) -> Arc<Core> {
    let (clock, random) = time;
    let options =
        TableOptions { name, random: random.clone(), clock: clock.clone(), ..TableOptions::default() };
    let table = Table::new(client, options);
    let core = Core::new(table, settings, Issuers::new(trusted, network), vault, providers);
    Arc::new(core.with(clock, random))
}

fn router(core: &Arc<Core>, upstream: &UpstreamConfig) -> Router {
    let functions = functions(core, UpstreamClient::new(upstream.clone()));
    edge::around(functions.into(), Arc::clone(core))
}

fn difference(before: &StatsSnapshot, after: &StatsSnapshot) -> Vec<(&'static str, u64)> {
    let of = |stats: &StatsSnapshot, operation| stats.requests.get(operation).copied().unwrap_or_default();
    let grown =
        after.requests.keys().map(|operation| (*operation, of(after, operation) - of(before, operation)));
    grown.filter(|(_, count)| *count > 0).collect()
}
