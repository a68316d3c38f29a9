//! One process with everything in it.

use std::{
    future::Future,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use deputize_admin::erasing;
use deputize_api::reason::Reason;
use deputize_core::{
    Core, Error, Settings, SignInSecrets,
    connections::{REFRESH_WITHIN, registration::redirect_uri},
    error::{Cause, Told, because, chain},
    in_flight::InFlight,
    issuers::{Fetch, Issuers},
    origins::Origin,
    reindex,
    table::{StatsSnapshot, Table},
    vault::{LocalRoot, RootKey, Vault},
};
use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{
    ApiError,
    address::AddressPolicy,
    authorities::Authorities,
    config::{
        app_settings, authorities, browser_sessions, claims_max_age, longest_api_key, origins,
        ownerless_agents, private_upstreams, refresh_grace, retention as retention_of, shared_grants,
        trusted_issuers,
        variables::{
            ALLOWED_ORIGINS, BROWSER_SESSIONS, CA_BUNDLE, CLAIMS_MAX_AGE, LONGEST_API_KEY, OWNERLESS_AGENTS,
            REFRESH_GRACE, RETENTION, SHARED_GRANTS, TRUSTED_ISSUERS, Variable,
        },
    },
    edge::{self, SourceIp},
    fetch::HttpFetch,
    outbound::{Outbound, Times},
    routes::Routes,
};
use http::{StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, task::JoinSet, time::MissedTickBehavior};
use tower::ServiceExt;

use crate::{
    StartError,
    audit_file::{AUDIT_FILE, AuditFile},
    connections::{AnswerBody, ConnectionLimits, Connections, Watched},
    data_dir::DataDir,
    demo::{DemoIssuer, Organization, Provider},
    demo_servers,
    remote::{self, RemoteUrl},
    store::Store,
};

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 for any free port.
    pub port: u16,
    pub data_dir: PathBuf,
    /// Make the demo organization, its servers and its issuer.
    pub demo: bool,
    /// Count the capacity that each DynamoDB request consumes.
    pub measure: bool,
    /// A DynamoDB to use in place of the embedded one.
    pub dynamodb_url: Option<String>,
    /// The service's address, if it is not this process's own. It must be the same for all processes of a
    /// deployment.
    pub url: Option<String>,
    /// The address of the demo's MCP servers, issuer and authorization server, if it is not this process's
    /// own and is forwarded here.
    pub demo_url: Option<String>,
    pub connections: ConnectionLimits,
    /// The most bytes of bodies at the same time.
    pub max_in_flight: usize,
}

/// A server that is listening and not yet answering.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    /// The same port by IPv6, if it can be had.
    also: Option<TcpListener>,
    address: SocketAddr,
    routes: Router,
    core: Arc<Core>,
    store: Option<Store>,
    organization: Option<Organization>,
    connections: ConnectionLimits,
    // Held until the server ends.
    _data: Arc<DataDir>,
}

impl Server {
    pub async fn start(options: Options) -> Result<Self, StartError> {
        // The port comes first, since every address below contains it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.map_err(|error| {
            let told = format!(
                "port {} cannot be used: {error}; give another with --port, or 0 for any",
                options.port
            );
            StartError::new(because(told, error))
        })?;
        let address = listener.local_addr()?;
        // What `localhost` means first on many machines. Some have no IPv6.
        let also = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await.ok();
        let here = format!("http://{address}");
        let demo_url = options.demo_url.as_deref().map_or(here.as_str(), |url| url.trim_end_matches('/'));
        let demo_host = demo_url.parse::<url::Url>().ok().and_then(|url| url.host_str().map(str::to_owned));
        let demo_host = demo_host.ok_or_else(|| StartError::new(format!("{demo_url} is no URL")))?;
        let data = Arc::new(DataDir::open(&options.data_dir).map_err(StartError::new)?);
        let retention = std::env::var(RETENTION.name).ok();
        let retention = retention_of(retention.as_deref()).map_err(StartError::new)?;
        let remote = options.dynamodb_url.as_deref().map(RemoteUrl::parse).transpose()?;
        let (store, table) = match &remote {
            Some(url) => (None, Box::pin(remote::table(url, options.measure, retention)).await?),
            None => {
                let store = Store::in_file(&data.database()?)?;
                let table = store.table_with(options.measure, retention).await?;
                (Some(store), table)
            }
        };
        if let Some(file) = std::env::var_os(AUDIT_FILE).filter(|file| !file.is_empty()) {
            table.tell(Arc::new(AuditFile::open(file.as_ref()).map_err(StartError::new)?));
        }
        let public_url = options.url.as_deref().map_or(here.as_str(), |url| url.trim_end_matches('/'));
        let issuer = options.demo.then(|| DemoIssuer::open(&data, demo_url, public_url)).transpose()?;
        let outgoing = Outgoing::from_env().map_err(StartError::new)?;
        let mut core = core(table, &data, public_url, issuer.clone(), outgoing.clone())?;
        core.in_flight = InFlight::at_most(options.max_in_flight);
        let core = Arc::new(core);
        core.bootstrap().await.map_err(|error| match &remote {
            Some(url) => url.failed(&format!("the table cannot be used: {}", StartError::from(error))),
            None => error.into(),
        })?;
        // A data directory of a former version lacks entries of lists. Nothing else writes to it now.
        reindex::run(&core.table, false, |_| {}).await?;
        let mut routes = service(&core, outgoing);
        let mut organization = None;
        if let Some(issuer) = issuer {
            let provider =
                Provider::open(&data, demo_url, redirect_uri(&core.settings), &issuer, &core.clock)?;
            let opened = Organization::open(&core, &data, demo_url, &issuer, &provider).await;
            organization = Some(opened.map_err(StartError::new)?);
            routes = routes.merge(demo(&demo_host, &issuer, &provider));
        }
        let routes = routes.layer(middleware::from_fn_with_state(Arc::from(demo_host), own_hosts_only));
        let connections = options.connections;
        Ok(Self { listener, also, address, routes, core, store, organization, connections, _data: data })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The embedded store, in order to fill it.
    pub(crate) fn store(&self) -> Result<&Store, StartError> {
        self.store.as_ref().ok_or_else(|| StartError::new("only the embedded store can be filled"))
    }

    pub(crate) fn organization(&self) -> Option<&Organization> {
        self.organization.as_ref()
    }

    /// Answers until `stop` resolves. Then finishes what has begun, including refreshes whose callers have
    /// disconnected.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let mut hourly = JoinSet::new();
        if let Some(store) = self.store {
            hourly.spawn(each_hour(move || sweep(store.clone())));
        }
        let core = Arc::clone(&self.core);
        hourly.spawn(each_hour(move || erase(Arc::clone(&core))));
        accept((self.listener, self.also), self.routes, self.connections, stop).await;
        // In the middle of it, too: what it has not done, it does after the next start.
        hourly.shutdown().await;
        if !self.core.tasks_ended(REFRESH_WITHIN).await {
            tracing::error!("ending in the middle of a refresh of an OAuth session or of a connection");
        }
        Ok(())
    }
}

/// How many headers of a request are read. More than the edge allows, so that it is the edge that refuses them, with a
/// body. Beyond this the connection's answer is a 431 without one.
const MAX_HEADERS_READ: usize = 10 * edge::MAX_HEADERS;

/// Serves connections of HTTP/1.1, and of HTTP/2 by prior knowledge, until `stop` resolves. Then serves those that are
/// open, each to the end of its request.
async fn accept(
    (mut listener, mut also): (TcpListener, Option<TcpListener>),
    routes: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let (open, mut stop) = (GracefulShutdown::new(), std::pin::pin!(stop));
    let connections = Connections::new(limits);
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().max_headers(MAX_HEADERS_READ);
    loop {
        let other = async {
            match &mut also {
                Some(also) => Listener::accept(also).await,
                None => std::future::pending().await,
            }
        };
        let (stream, peer) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            accepted = other => accepted,
            () = &mut stop => break,
        };
        // Answers are small: send them without waiting for more data.
        let _ = stream.set_nodelay(true);
        let connection = tokio::select! {
            connection = connections.enter() => connection,
            () = &mut stop => break,
        };
        let (routes, activity) = (routes.clone(), connection.activity());
        let stream = Watched { io: stream, activity: Arc::clone(&activity) };
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let under_way = activity.request(request.version() >= http::Version::HTTP_2);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answered = routes.clone().oneshot(request);
            async move {
                let answered = answered.await;
                answered.map(|answer| answer.map(|body| AnswerBody { body, _under_way: under_way }))
            }
        });
        let served = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let served = open.watch(served);
        tokio::spawn(async move {
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::debug!(error, "a connection broke off");
                },
                why = connection.overdue() => tracing::debug!(why, "a connection is closed"),
            }
        });
    }
    drop((listener, also));
    open.shutdown().await;
}

/// Does something for ever, once each hour. Begins a minute after the start.
async fn each_hour<F: Future<Output = ()>>(mut work: impl FnMut() -> F) {
    let first = tokio::time::Instant::now() + Duration::from_mins(1);
    let mut hours = tokio::time::interval_at(first, Duration::from_hours(1));
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        hours.tick().await;
        work().await;
    }
}

/// Deletes expired items, as DynamoDB does by itself.
async fn sweep(store: Store) {
    match store.sweep().await {
        Ok(count) => tracing::debug!(count, "removed items whose time had come"),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "items whose time has come could not be removed");
        }
    }
}

/// Erases what was deleted and can be restored no more, as a rule of `EventBridge` has it done on AWS.
async fn erase(core: Arc<Core>) {
    if let Err(error) = erasing::erase(&core, None, |_| {}).await {
        tracing::warn!(error = %chain(&error), "what can be restored no more could not be erased");
    }
}

/// What outgoing connections may be made to.
#[derive(Clone, Debug)]
struct Outgoing {
    addresses: AddressPolicy,
    authorities: Authorities,
}

impl Outgoing {
    fn from_env() -> Result<Self, String> {
        let set =
            |variable: &Variable| std::env::var(variable.name).ok().filter(|text| !text.trim().is_empty());
        let addresses = match private_upstreams(&set)? {
            Some(list) => AddressPolicy::listed(list).and_this_machine(),
            // Here, a developer calls their own servers.
            None => AddressPolicy::local(),
        };
        Ok(Self { addresses, authorities: authorities(set(&CA_BUNDLE).as_deref())? })
    }
}

fn core(
    table: Table,
    data: &DataDir,
    base_url: &str,
    issuer: Option<DemoIssuer>,
    outgoing: Outgoing,
) -> Result<Core, StartError> {
    let trusted = std::env::var(TRUSTED_ISSUERS.name).ok();
    let mut trusted = trusted_issuers(trusted.as_deref()).map_err(StartError::new)?;
    trusted.extend(issuer.as_ref().map(DemoIssuer::trusted));
    let fetch = LocalFetch { issuer, http: HttpFetch::trusting(outgoing.authorities.clone()) };
    let issuers = Issuers::new(trusted, Arc::new(fetch));
    let http = Outbound::trusting(outgoing.addresses, outgoing.authorities, Times::default());
    let allowed_origins = std::env::var(ALLOWED_ORIGINS.name).unwrap_or_default();
    let allowed_origins = origins(&allowed_origins).map_err(StartError::new)?;
    let sharing = std::env::var(SHARED_GRANTS.name).ok();
    let sharing = shared_grants(sharing.as_deref()).map_err(StartError::new)?;
    let apps = app_settings(&|variable: &Variable| {
        std::env::var(variable.name).ok().filter(|text| !text.trim().is_empty())
    });
    let grace = std::env::var(REFRESH_GRACE.name).ok();
    let grace = refresh_grace(grace.as_deref()).map_err(StartError::new)?;
    let mut settings = Settings::at(base_url)
        .taking_apps(apps.map_err(StartError::new)?)
        .allowing(allowed_origins)
        .also_at(names_of_this_machine(base_url))
        .sharing_by(sharing)
        .with_refresh_grace(grace);
    let set = |variable: &Variable| std::env::var(variable.name).ok();
    settings.claims_max_age = claims_max_age(set(&CLAIMS_MAX_AGE).as_deref()).map_err(StartError::new)?;
    settings.longest_api_key = longest_api_key(set(&LONGEST_API_KEY).as_deref()).map_err(StartError::new)?;
    settings.ownerless_agents =
        ownerless_agents(set(&OWNERLESS_AGENTS).as_deref()).map_err(StartError::new)?;
    settings.browser_sessions =
        browser_sessions(set(&BROWSER_SESSIONS).as_deref()).map_err(StartError::new)?;
    settings.sign_in_secrets = sign_in_secrets(std::env::var(SIGN_IN_SECRETS).ok().as_deref())?;
    Ok(Core::new(table, settings, issuers, vault(data)?, Arc::new(http)))
}

/// The variable with the secrets by which this service proves itself to the providers that people sign in by. A function
/// finds them in the table.
const SIGN_IN_SECRETS: &str = "DEPUTIZE_SIGN_IN_SECRETS";

/// Reads [`SIGN_IN_SECRETS`]. The error repeats no secret.
fn sign_in_secrets(json: Option<&str>) -> Result<SignInSecrets, StartError> {
    let read = json.map(str::trim).filter(|json| !json.is_empty()).map(str::parse).transpose();
    let read = read.map_err(|why: String| StartError::new(format!("{SIGN_IN_SECRETS} {why}")));
    Ok(read?.unwrap_or_default())
}

/// A machine's names for itself. A developer's client or page uses any of them.
const THIS_MACHINE: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The other names of an address that only this machine can reach.
fn names_of_this_machine(base_url: &str) -> Vec<Origin> {
    let Ok(url) = base_url.parse::<url::Url>() else { return Vec::new() };
    let Some(host) = url.host_str().filter(|host| THIS_MACHINE.contains(host)) else { return Vec::new() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let others = THIS_MACHINE.iter().filter(|name| **name != host);
    others.filter_map(|name| format!("{}://{name}{port}", url.scheme()).parse().ok()).collect()
}

fn vault(data: &DataDir) -> Result<Vault, StartError> {
    let mut previous: Vec<Arc<dyn RootKey>> = Vec::new();
    for key in data.previous_vault_keys()? {
        previous.push(Arc::new(LocalRoot::new(&key)?));
    }
    Ok(Vault::new(Arc::new(LocalRoot::new(&data.vault_key()?)?), previous))
}

/// Serves the demo issuer's documents without the network, since they are in this process.
#[derive(Debug)]
struct LocalFetch {
    issuer: Option<DemoIssuer>,
    http: HttpFetch,
}

impl Fetch for LocalFetch {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Cause>> + Send + 'a>> {
        match self.issuer.as_ref().and_then(|issuer| issuer.document(url)) {
            Some(document) => Box::pin(async move { Ok(document.to_string().into_bytes()) }),
            None => self.http.fetch(url),
        }
    }
}

/// The routes of all functions, as deployed, on one core.
pub fn functions(core: &Arc<Core>, upstream: UpstreamClient) -> Routes {
    Routes::new()
        .merge(deputize_token::router(Arc::clone(core)))
        .merge(deputize_delegations::router(Arc::clone(core)))
        .merge(deputize_grants::router(Arc::clone(core)))
        .merge(deputize_proxy::router(Arc::clone(core), upstream))
        .merge(deputize_admin::router(Arc::clone(core)))
        .merge(deputize_console::router(Arc::clone(core)))
}

fn service(core: &Arc<Core>, outgoing: Outgoing) -> Router {
    let Outgoing { addresses, authorities } = outgoing;
    let config = UpstreamConfig { addresses, authorities, ..UpstreamConfig::default() };
    let upstream = UpstreamClient::new(config);
    let routes = Router::from(functions(core, upstream))
        .merge(Router::new().route("/local/table-stats", get(table_stats)).with_state(Arc::clone(core)));
    edge::around(routes, Arc::clone(core)).layer(middleware::from_fn(source_ip))
}

/// The demo's issuer, authorization server and MCP servers.
fn demo(host: &str, issuer: &DemoIssuer, provider: &Provider) -> Router {
    let reader = provider.clone();
    Router::new()
        .nest("/demo/issuer", issuer.router())
        .merge(provider.routes())
        .nest("/demo/mcp", demo_servers::demo_at(host))
        .nest("/demo/oauth-mcp", demo_servers::demo_oauth_at(host, move |token: &str| reader.access(token)))
}

/// This process's requests to its table so far, for the benchmark.
async fn table_stats(State(core): State<Arc<Core>>) -> Json<StatsSnapshot> {
    Json(core.table.stats())
}

async fn source_ip(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(SourceIp(peer.ip()));
    next.run(request).await
}

/// Refuses requests for another host. A web page whose name was made to resolve to this machine (DNS
/// rebinding) sends that name.
async fn own_hosts_only(State(demo_host): State<Arc<str>>, request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has it in the request's target (RFC 9113 section 8.3.1).
    let named = named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    let host = named.unwrap_or_default();
    // `[::1]` has colons of its own.
    let name = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(name, _)| name);
    if THIS_MACHINE.into_iter().chain([&*demo_host]).any(|ours| ours.eq_ignore_ascii_case(name)) {
        return next.run(request).await;
    }
    let why = "This server answers only to 127.0.0.1 and localhost";
    (
        StatusCode::MISDIRECTED_REQUEST,
        ApiError::from(Error::Forbidden(Told::of(Reason::WrongAddress, why))).into_response(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_done_each_hour_begins_a_minute_after_the_start_and_ends_with_the_server() {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        let mut hourly = JoinSet::new();
        hourly.spawn(each_hour(move || {
            counting.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        }));
        // The time stands still, except for what is waited for here.
        let mut counted = Vec::new();
        for wait in [MINUTE / 2, MINUTE, MINUTE * 59, MINUTE, HOUR] {
            tokio::time::sleep(wait).await;
            counted.push(count.load(Ordering::Relaxed));
        }
        assert_eq!(counted, [0, 1, 1, 2, 3]);
        hourly.shutdown().await;
        tokio::time::sleep(HOUR * 2).await;
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }
}
