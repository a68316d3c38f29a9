//! `deputize`: the whole service in one process, on an embedded DynamoDB.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use deputize_core::in_flight::MAX_IN_FLIGHT;
use deputize_local::{
    bootstrap,
    connections::ConnectionLimits,
    seed,
    server::{Options, Server},
};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deputize in one process: AI agents act for people, and never beyond them.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port to listen on, at 127.0.0.1; 0 for any.
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// The directory in which everything is kept.
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Start without the demo organization, its MCP servers and its sign-in issuer.
    #[arg(long)]
    no_demo: bool,
    /// The address of a DynamoDB to use in place of the embedded one, with the environment's region and credentials.
    /// Several processes with the same one, the same --url and the same vault.key are one deployment.
    #[arg(long)]
    dynamodb_url: Option<String>,
    /// The service's address, if it is not the one at which this process listens.
    #[arg(long)]
    url: Option<String>,
    /// The address of the demo's MCP servers, issuer and authorization server, if it is not the one at which this
    /// process listens. For the tests of a deployment, whose functions connect to no loopback address.
    #[arg(long, hide = true)]
    demo_url: Option<String>,
    /// How many connections there may be at the same time. One more takes the place of one that has no request, or waits.
    #[arg(long, value_name = "COUNT", default_value_t = ConnectionLimits::default().most, value_parser = at_least_one)]
    max_connections: usize,
    /// How many bytes of bodies there may be in memory at the same time. Requests beyond that are answered 503.
    #[arg(long, value_name = "BYTES", default_value_t = MAX_IN_FLIGHT, value_parser = at_least_one)]
    max_bytes_in_flight: usize,
    /// How many milliseconds the line and the headers of a request may take. For the tests.
    #[arg(long, hide = true)]
    head_within_ms: Option<u64>,
    /// Count the capacity that each DynamoDB request consumes, for /local/table-stats. For the benchmark.
    #[arg(long, hide = true)]
    measure: bool,
    /// Fill the table with this many delegations and the same number of grants, and end. For the benchmark.
    #[arg(long, hide = true)]
    seed: Option<u32>,
    /// Fill the table with this many people, with agents, delegations and policies, and end. For the benchmark.
    #[arg(long, hide = true, conflicts_with = "seed", value_parser = clap::value_parser!(u32).range(1..))]
    seed_people: Option<u32>,
    /// Also with this many events.
    #[arg(long, hide = true, requires = "seed_people", default_value_t = 0)]
    seed_events: u32,
}

#[derive(Subcommand)]
enum Command {
    /// Make the first signing key and the first admin of a deployment on AWS, with the environment's AWS credentials
    Bootstrap(bootstrap::Options),
    /// Store a list of trusted issuers in a deployment's table, if the list is too long for a function's environment,
    /// and print the value for the parameter
    TrustedIssuers(bootstrap::IssuersOptions),
    /// Store the secrets by which a deployment proves itself to the OpenID providers that people sign in by, sealed, in
    /// place of those that were stored before
    SignInSecrets(bootstrap::SecretsOptions),
    /// Complete the lists of a deployment that was updated from a version without them: add the entries that its items
    /// lack. It can run beside the service, and again after it was interrupted
    Reindex(bootstrap::ReindexOptions),
    /// Erase what was deleted and can be restored no more, until nothing of that is left. A deployment does it by itself
    /// each hour. It can run beside the service, and again after it was interrupted
    Erase(bootstrap::EraseOptions),
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,rmcp=warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match &arguments.command {
        Some(Command::Bootstrap(options)) => return ended(bootstrap::run(options).await),
        Some(Command::TrustedIssuers(options)) => return ended(bootstrap::trusted_issuers(options).await),
        Some(Command::SignInSecrets(options)) => return ended(bootstrap::sign_in_secrets(options).await),
        Some(Command::Reindex(options)) => return ended(bootstrap::reindex(options).await),
        Some(Command::Erase(options)) => return ended(bootstrap::erase(options).await),
        None => {}
    }
    let connections = ConnectionLimits { most: arguments.max_connections, ..ConnectionLimits::default() };
    let connections = match arguments.head_within_ms {
        Some(milliseconds) => ConnectionLimits { head: Duration::from_millis(milliseconds), ..connections },
        None => connections,
    };
    let options = Options {
        port: arguments.port,
        data_dir: arguments.data_dir,
        demo: !arguments.no_demo,
        measure: arguments.measure,
        dynamodb_url: arguments.dynamodb_url,
        url: arguments.url,
        demo_url: arguments.demo_url,
        connections,
        max_in_flight: arguments.max_bytes_in_flight,
    };
    let done = match (arguments.seed, arguments.seed_people) {
        (Some(count), _) => seed::fill(&options, count).await,
        (None, Some(people)) => seed::second_day::fill(&options, people, arguments.seed_events).await,
        (None, None) => run(options).await,
    };
    ended(done)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a number that is at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn ended(done: Result<(), deputize_local::StartError>) -> std::process::ExitCode {
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deputize: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), deputize_local::StartError> {
    let server = Server::start(options.clone()).await?;
    if options.demo {
        eprintln!(
            "the demo organization's variables: source {}",
            options.data_dir.join("demo.env").display()
        );
    }
    println!("listening on http://{}", server.address());
    server.serve(stopped()).await
}

/// Resolves when the process is asked to stop.
async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = interrupted.await;
        return;
    };
    tokio::select! {
        _ = interrupted => {}
        _ = terminated.recv() => {}
    }
}
