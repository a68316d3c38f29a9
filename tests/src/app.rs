//! The whole service in one process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use deputize_core::{
    Core, Settings,
    clock::{Clock, Random, Timestamp},
    issuers::{Issuers, TrustedIssuer},
    table::{StatsSnapshot, Table, TableOptions},
    vault::{KEY_BYTES, LocalRoot, RootKey, Vault},
};
use deputize_local::{server::functions, store::Store};
use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{
    address::AddressPolicy,
    edge,
    lambda::{Entry, Print},
    outbound::{Outbound, Times},
};
use http::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    faults::Faults,
    issuer::{Network, TestIssuer},
    request::Ask,
    response::Names,
};

/// Where the service under test says that it is.
pub const URL: &str = "https://deputize.test";

/// The origins whose web pages may call the service under test, beside its own.
pub const PAGES: [&str; 2] = ["https://app.example.com", "http://localhost:5173"];

/// The service, on a store in memory.
#[derive(Debug)]
pub struct TestApp {
    pub core: Arc<Core>,
    pub store: Store,
    /// What goes wrong between the service and its store.
    pub faults: Faults,
    /// An issuer whose tokens must be for `deputize`, lead to users by verified email, and make new ones.
    pub login: TestIssuer,
    /// An issuer like `WorkOS`: no `aud`, no email; only subjects that are known lead to users.
    pub workos: TestIssuer,
    pub(crate) names: Names,
    upstream: UpstreamConfig,
    router: Router,
}

/// How long a request to an OAuth provider may take: long enough on a busy machine, and a test that waits
/// for its end still takes no second.
const TIMES: Times = Times { connect: Duration::from_millis(800), total: Duration::from_millis(800) };

/// A root key of a vault. A new app is on the seventh, and knows no other.
pub fn root(n: u8) -> Arc<dyn RootKey> {
    Arc::new(LocalRoot::new(&Zeroizing::new([n; KEY_BYTES])).unwrap())
}

impl TestApp {
    /// The service with an empty table, at 2026-01-15T09:00:00Z.
    pub async fn start() -> Self {
        Self::start_with(UpstreamConfig::default()).await
    }

    /// With other bounds on what MCP servers may take. They may be at any address but a link-local one.
    pub async fn start_with(upstream: UpstreamConfig) -> Self {
        Self::start_on(Store::in_memory().unwrap(), upstream).await
    }

    /// On a store in which there may be a table.
    pub async fn start_on(store: Store, upstream: UpstreamConfig) -> Self {
        let app = Self::build(store, upstream, URL).await;
        app.core.bootstrap().await.unwrap();
        app
    }

    /// The service where it is reached at another address.
    pub async fn start_at(url: &str) -> Self {
        let app = Self::build(Store::in_memory().unwrap(), UpstreamConfig::default(), url).await;
        app.core.bootstrap().await.unwrap();
        app
    }

    /// The service on a table in which there is nothing at all.
    pub async fn before_bootstrap() -> Self {
        Self::build(Store::in_memory().unwrap(), UpstreamConfig::default(), URL).await
    }

    async fn build(store: Store, upstream: UpstreamConfig, url: &str) -> Self {
        let clock = Clock::manual("2026-01-15T09:00:00Z".parse().unwrap());
        let faults = Faults::on(&store);
        deputize_core::table::create_table(&store.client(), &TableOptions::default().name).await.unwrap();
        let login = TestIssuer::new("https://login.example.com", &clock);
        let workos = TestIssuer::new("https://api.workos.com/client_1", &clock);
        let upstream = UpstreamConfig { addresses: AddressPolicy::PRIVATE, ..upstream };
        let core = core(&faults, [&login, &workos], clock, Vault::new(root(7), Vec::new()), url);
        let router = router(&core, &upstream);
        Self { core, store, faults, login, workos, names: Names::default(), upstream, router }
    }

    /// Another process of the same deployment: with nothing in its memory, and perhaps other root keys.
    pub async fn another(&self, vault: Vault) -> Self {
        let issuers = [&self.login, &self.workos];
        let core = core(&self.faults, issuers, self.core.clock.clone(), vault, &self.core.settings.issuer);
        core.bootstrap().await.unwrap();
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

    /// What the service takes for now.
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

    /// `text` as snapshots show it.
    pub fn shown(&self, text: &str) -> String {
        self.names.show(text)
    }

    pub fn get(&self, path: impl Into<String>) -> Ask {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: impl Into<String>) -> Ask {
        self.ask(Method::POST, path)
    }

    pub fn put(&self, path: impl Into<String>) -> Ask {
        self.ask(Method::PUT, path)
    }

    pub fn patch(&self, path: impl Into<String>) -> Ask {
        self.ask(Method::PATCH, path)
    }

    pub fn delete(&self, path: impl Into<String>) -> Ask {
        self.ask(Method::DELETE, path)
    }

    pub fn ask(&self, method: Method, path: impl Into<String>) -> Ask {
        Ask::new(self.router.clone(), self.names.clone(), method, path.into())
    }

    /// The service as one function of AWS Lambda's, and the lines of metrics that it prints.
    pub fn on_lambda(&self) -> (Entry, Lines) {
        let functions = functions(&self.core, UpstreamClient::new(self.upstream.clone()));
        let lines = Lines::default();
        (Entry::new("all", functions.into(), Arc::clone(&self.core), lines.print()), lines)
    }

    /// How often each kind of request went to the table while `work` ran.
    pub async fn round_trips<T>(&self, work: impl Future<Output = T>) -> (T, Vec<(&'static str, u64)>) {
        let before = self.core.table.stats();
        let done = work.await;
        (done, difference(&before, &self.core.table.stats()))
    }
}

/// Lines that a function prints.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Where they are printed to.
    pub fn print(&self) -> Print {
        let lines = Arc::clone(&self.0);
        Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()))
    }

    /// The lines so far, which are JSON.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only one.
    #[track_caller]
    pub fn one(&self) -> Value {
        let lines = self.all();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }
}

fn core(faults: &Faults, issuers: [&TestIssuer; 2], clock: Clock, vault: Vault, url: &str) -> Arc<Core> {
    let [login, workos] = issuers;
    let trusted = vec![
        TrustedIssuer {
            issuer: login.url().to_owned(),
            jwks_uri: Some(login.jwks_uri()),
            audiences: vec!["deputize".to_owned()],
            any_audience: false,
            link_by_email: true,
            provision: true,
        },
        TrustedIssuer {
            issuer: workos.url().to_owned(),
            jwks_uri: None,
            audiences: Vec::new(),
            any_audience: true,
            link_by_email: false,
            provision: false,
        },
    ];
    let network = Network::of([login.clone(), workos.clone()]);
    let table = Table::new(faults.client(), TableOptions::default());
    let http = Arc::new(Outbound::new(AddressPolicy::PRIVATE, TIMES));
    let settings = Settings::at(url).allowing(PAGES.map(|origin| origin.parse().unwrap()));
    let core = Core::new(table, settings, Issuers::new(trusted, Arc::new(network)), vault, http);
    Arc::new(core.with(clock, Random::System))
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
