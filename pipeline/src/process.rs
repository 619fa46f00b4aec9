//! A process from start to end: logs, metrics, workers and services, and the orderly stop on a signal.

use crate::config::{Config, LogFormat};
use crate::health::{self, Health};
use crate::host::{Host, HostContext, HostError, Log, Registration, join};
use crate::hosting::Hosting;
use crate::registry::RegistryClient;
use crate::telemetry;
use metrics_exporter_prometheus::PrometheusHandle;
use schemas::{Codec, PUBLISHED};
use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The allocator of every process of ours: records are made in one thread and freed in another all the time, which the
/// system's allocator answers with half of the processor (measured on `tamiz run`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the main thread looks whether a worker has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Something that runs beside the workers until the process stops, as an HTTP interface.
pub type Service = Box<dyn FnOnce(Stopping) -> Running + Send>;
/// A service at work.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send>>;

/// Tells a service that the process stops.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the process stops.
    pub async fn wait(mut self) {
        // An error means that the sender has gone, and with it the process.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// A process that cannot start or has not ended well.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The workers failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The runtime of the services cannot be started.
    #[error("cannot start the runtime of the services")]
    Runtime(#[source] std::io::Error),
    /// The address of the metrics cannot be used.
    #[error("cannot listen on {address} for metrics and health")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The filter of log events is not one.
    #[error("telemetry.log_level {filter:?} is no filter")]
    LogLevel {
        /// The filter.
        filter: String,
        /// Why not.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The recorder of metrics cannot be installed.
    #[error("cannot install the recorder of metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A service failed.
    #[error("a service failed")]
    Service(#[source] Box<dyn Error + Send + Sync>),
}

/// Starts to write log events to the standard error, as the settings say; once a process.
pub fn start_logs(config: &Config) -> Result<(), ProcessError> {
    let filter = &config.telemetry.log_level;
    let parsed = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|source| ProcessError::LogLevel { filter: filter.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    // A second call in one process, as in tests, keeps the first.
    let _ = match config.telemetry.log_format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    Ok(())
}

/// Hosts operators and services until a signal asks for the stop or something fails for good.
pub fn run(
    config: &Config,
    log: &Log,
    hosting: Arc<Hosting>,
    services: Vec<Service>,
) -> Result<(), ProcessError> {
    let metrics = health::install_metrics()?;
    let host = Host::start(config, log, hosting)?;
    let served = serve(config, Some(&host), host.health(), metrics, services);
    let stopped = host.stop();
    served?;
    Ok(stopped?)
}

/// Runs services alone, without workers, until a signal asks for the stop.
pub fn run_services(config: &Config, services: Vec<Service>) -> Result<(), ProcessError> {
    serve(config, None, Health::new(0), health::install_metrics()?, services)
}

fn serve(
    config: &Config,
    host: Option<&Host>,
    health: Arc<Health>,
    metrics: PrometheusHandle,
    services: Vec<Service>,
) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ProcessError::Runtime)?;
    let drain = Duration::from_millis(config.runtime.drain_deadline_ms);
    let outcome = runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let mut running = tokio::task::JoinSet::new();
        if !config.telemetry.listen.is_empty() {
            let address = config.telemetry.listen.clone();
            let listener = tokio::net::TcpListener::bind(&address)
                .await
                .map_err(|source| ProcessError::Listen { address, source })?;
            let (routes, stopping) = (health::router(health, metrics), Stopping(stopping.clone()));
            running.spawn(async move {
                let server = axum::serve(listener, routes).with_graceful_shutdown(stopping.wait());
                server.await.map_err(|error| Box::new(error) as Box<dyn Error + Send + Sync>)
            });
        }
        for service in services {
            running.spawn(service(Stopping(stopping.clone())));
        }
        let failed = tokio::select! {
            () = asked_to_stop() => None,
            () = worker_ended(host) => None,
            Some(ended) = running.join_next() => service_error(ended),
        };
        // The receivers may all have gone; then nobody is left to be told.
        let _ = stop.send(true);
        let rest = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, rest).await.is_err() {
            telemetry::services_cut_off();
        }
        failed.map_or(Ok(()), |error| Err(ProcessError::Service(error)))
    });
    runtime.shutdown_timeout(drain);
    outcome
}

fn service_error(
    ended: Result<Result<(), Box<dyn Error + Send + Sync>>, tokio::task::JoinError>,
) -> Option<Box<dyn Error + Send + Sync>> {
    match ended {
        Ok(outcome) => outcome.err(),
        Err(panic) => Some(Box::new(panic)),
    }
}

async fn worker_ended(host: Option<&Host>) {
    match host {
        Some(host) => {
            while !host.has_ended() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        None => std::future::pending().await,
    }
}

async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Run one operator of a deployment on Kafka.
#[derive(Debug, clap::Parser)]
#[command(version, about)]
struct OperatorArgs {
    /// Settings; every one of them is in config/default.toml with its default and reason.
    #[arg(long, value_name = "FILE", env = "TAMIZ_CONFIG")]
    config: Option<PathBuf>,
}

/// The whole of an operator's own binary.
pub fn main(registration: &Registration) -> ExitCode {
    let args = <OperatorArgs as clap::Parser>::parse();
    match host_one(registration, &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", registration.name, telemetry::describe_error(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn host_one(registration: &Registration, args: &OperatorArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::load(args.config.as_deref(), std::env::vars())?;
    start_logs(&config)?;
    let codec = Arc::new(codec(&config)?);
    let context = HostContext::new(config.clone());
    let hosting = join(&context, &[registration], &[], codec)?;
    let log = Log::open(&config)?;
    Ok(run(&config, &log, Arc::new(hosting), Vec::new())?)
}

/// Returns the codec: with the ids of the schema registry, where one is configured.
pub fn codec(config: &Config) -> Result<Codec, Box<dyn Error + Send + Sync>> {
    let registry = &config.registry;
    if registry.url.is_empty() {
        return Ok(Codec::new());
    }
    let auth = (!registry.user.is_empty()).then_some((registry.user.as_str(), registry.password.as_str()));
    let client = RegistryClient::connect(&registry.url, auth)?.with_topic_prefix(&config.kafka.topic_prefix);
    let ids = client.register_all(PUBLISHED)?;
    Ok(Codec::with_registry(ids, Box::new(client)))
}
