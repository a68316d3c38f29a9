//! One process with everything in it.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use deputize_core::{
    Core, Error, Settings,
    connections::registration::redirect_uri,
    issuers::{Fetch, Issuers},
    table::{StatsSnapshot, Table},
    vault::{LocalRoot, RootKey, Vault},
};
use deputize_proxy::upstream::{UpstreamClient, UpstreamConfig};
use deputize_service::{
    ApiError,
    address::AddressPolicy,
    config::{
        origins, trusted_issuers,
        variables::{ALLOWED_ORIGINS, TRUSTED_ISSUERS},
    },
    edge::{self, SourceIp},
    fetch::HttpFetch,
    outbound::{Outbound, Times},
    routes::Routes,
};
use http::{StatusCode, header};
use tokio::net::TcpListener;

use crate::{
    StartError,
    data_dir::DataDir,
    demo::{DemoIssuer, Organization, Provider},
    demo_servers, remote,
    store::Store,
};

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0 for any.
    pub port: u16,
    pub data_dir: PathBuf,
    /// Make the demo organization, its servers and its issuer.
    pub demo: bool,
    /// Count the capacity that each DynamoDB request consumes.
    pub measure: bool,
    /// A DynamoDB to use in place of the embedded one.
    pub dynamodb_url: Option<String>,
    /// Where the service is reached, if not where this process listens: all processes of a deployment say the
    /// same.
    pub url: Option<String>,
    /// Where the demo's MCP servers, issuer and authorization server are reached, if not where this process
    /// listens: something forwards to it.
    pub demo_url: Option<String>,
}

/// A server that listens, and is about to answer.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    routes: Router,
    core: Arc<Core>,
    store: Option<Store>,
    organization: Option<Organization>,
    // Held until the server ends.
    _data: Arc<DataDir>,
}

impl Server {
    pub async fn start(options: Options) -> Result<Self, StartError> {
        // The port first: it is in every address that is written down below.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.map_err(|error| {
            StartError(format!(
                "port {} cannot be used: {error}; give another with --port, or 0 for any",
                options.port
            ))
        })?;
        let address = listener.local_addr()?;
        let here = format!("http://{address}");
        let demo_url = options.demo_url.as_deref().map_or(here.as_str(), |url| url.trim_end_matches('/'));
        let demo_host = demo_url.parse::<url::Url>().ok().and_then(|url| url.host_str().map(str::to_owned));
        let demo_host = demo_host.ok_or_else(|| StartError(format!("{demo_url} is no URL")))?;
        let data = Arc::new(DataDir::open(&options.data_dir).map_err(StartError)?);
        let (store, table) = match &options.dynamodb_url {
            Some(url) => (None, remote::table(url, options.measure).await?),
            None => {
                let store = Store::in_file(&data.database()?)?;
                let table = store.table_measured(options.measure).await?;
                (Some(store), table)
            }
        };
        let public_url = options.url.as_deref().map_or(here.as_str(), |url| url.trim_end_matches('/'));
        let issuer = options.demo.then(|| DemoIssuer::open(&data, demo_url)).transpose()?;
        let core = Arc::new(core(table, &data, public_url, issuer.clone())?);
        core.bootstrap().await?;
        let mut routes = service(&core);
        let mut organization = None;
        if let Some(issuer) = issuer {
            let provider =
                Provider::open(&data, demo_url, redirect_uri(&core.settings), &issuer, &core.clock)?;
            let opened = Organization::open(&core, &data, demo_url, &issuer, &provider).await;
            organization = Some(opened.map_err(StartError)?);
            routes = routes.merge(demo(&demo_host, &issuer, &provider));
        }
        let routes = routes.layer(middleware::from_fn_with_state(Arc::from(demo_host), own_hosts_only));
        Ok(Self { listener, address, routes, core, store, organization, _data: data })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The embedded store, to fill it.
    pub(crate) fn store(&self) -> Result<&Store, StartError> {
        self.store.as_ref().ok_or_else(|| StartError("only the embedded store can be filled".to_owned()))
    }

    pub(crate) fn organization(&self) -> Option<&Organization> {
        self.organization.as_ref()
    }

    /// Answers until `stop` resolves, and finishes what has begun.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let listener = self.listener.tap_io(|stream| {
            // Answers are small: do not wait for more to send.
            let _ = stream.set_nodelay(true);
        });
        let service = self.routes.into_make_service_with_connect_info::<SocketAddr>();
        Ok(axum::serve(listener, service).with_graceful_shutdown(stop).await?)
    }
}

fn core(
    table: Table,
    data: &DataDir,
    base_url: &str,
    issuer: Option<DemoIssuer>,
) -> Result<Core, StartError> {
    let trusted = std::env::var(TRUSTED_ISSUERS.name).ok();
    let mut trusted = trusted_issuers(trusted.as_deref()).map_err(StartError)?;
    trusted.extend(issuer.as_ref().map(DemoIssuer::trusted));
    let fetch = LocalFetch { issuer, http: HttpFetch::new() };
    let issuers = Issuers::new(trusted, Arc::new(fetch));
    let http = Outbound::new(AddressPolicy::PRIVATE, Times::default());
    let allowed_origins = std::env::var(ALLOWED_ORIGINS.name).unwrap_or_default();
    let allowed_origins = origins(&allowed_origins).map_err(StartError)?;
    let settings = Settings::at(base_url).allowing(allowed_origins);
    Ok(Core::new(table, settings, issuers, vault(data)?, Arc::new(http)))
}

fn vault(data: &DataDir) -> Result<Vault, StartError> {
    let mut previous: Vec<Arc<dyn RootKey>> = Vec::new();
    for key in data.previous_vault_keys()? {
        previous.push(Arc::new(LocalRoot::new(&key)?));
    }
    Ok(Vault::new(Arc::new(LocalRoot::new(&data.vault_key()?)?), previous))
}

/// The demo issuer's keys need no network: they are in this process.
#[derive(Debug)]
struct LocalFetch {
    issuer: Option<DemoIssuer>,
    http: HttpFetch,
}

impl Fetch for LocalFetch {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>> {
        match &self.issuer {
            Some(issuer) if issuer.jwks_uri() == url => {
                let jwks = issuer.jwks().to_string().into_bytes();
                Box::pin(async { Ok(jwks) })
            }
            _ => self.http.fetch(url),
        }
    }
}

/// Every function's routes, as deployed, on one core.
pub fn functions(core: &Arc<Core>, upstream: UpstreamClient) -> Routes {
    Routes::new()
        .merge(deputize_token::router(Arc::clone(core)))
        .merge(deputize_delegations::router(Arc::clone(core)))
        .merge(deputize_grants::router(Arc::clone(core)))
        .merge(deputize_proxy::router(Arc::clone(core), upstream))
        .merge(deputize_admin::router(Arc::clone(core)))
}

fn service(core: &Arc<Core>) -> Router {
    // Here, a developer's own servers are what there is to call.
    let config = UpstreamConfig { addresses: AddressPolicy::PRIVATE, ..UpstreamConfig::default() };
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

/// What this process has asked of its table, for the benchmark.
async fn table_stats(State(core): State<Arc<Core>>) -> Json<StatsSnapshot> {
    Json(core.table.stats())
}

async fn source_ip(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(SourceIp(peer.ip()));
    next.run(request).await
}

/// Refuses requests that were meant for another host: a web page whose name was made to resolve to this
/// machine (DNS rebinding) sends that name.
async fn own_hosts_only(State(demo_host): State<Arc<str>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if ["127.0.0.1", "localhost", "[::1]", &*demo_host].contains(&name) {
        return next.run(request).await;
    }
    let why = "This server answers only to 127.0.0.1 and localhost";
    (StatusCode::MISDIRECTED_REQUEST, ApiError(Error::forbidden(why)).into_response()).into_response()
}
