//! `tamiz up`: hosts operators and the HTTP interface in one process; `tamiz gateway`: the HTTP interface alone.

use crate::access;
use crate::operators;
use anyhow::{Context, Result};
use gateway::GatewaySettings;
use pipeline::config::Config;
use pipeline::process::{self, Service, Stopping};
use pipeline::{Edge, HostContext, Log};
use schemas::Codec;
use std::sync::Arc;
use std::time::Duration;

/// Run the whole pipeline: all operators, or some, and the HTTP interface.
///
/// Without settings it keeps everything in a folder and needs no server; with `deployment.bus = "kafka"` it joins the
/// other processes of the deployment.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Operators of this process; all of the deployment's, if it is left out.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    operators: Vec<String>,
    /// Without the HTTP interface.
    #[arg(long)]
    no_http: bool,
}

/// Serve the HTTP interface alone, beside operators in other processes.
#[derive(Debug, clap::Args)]
pub struct GatewayArgs {}

/// Runs `tamiz up`.
pub fn run(args: &UpArgs, config: &Config) -> Result<()> {
    process::start_logs(config)?;
    let log = access::open(config)?;
    let codec = Arc::new(process::codec(config).map_err(anyhow::Error::from_boxed)?);
    let hosted = if args.operators.is_empty() { &config.deployment.operators } else { &args.operators };
    let context = HostContext::new(config.clone());
    let hosting = operators::join(&context, hosted, Arc::clone(&codec))?;
    let edge = log.edge();
    let _rules = access::watch_rules(config, &edge, &codec)?;
    let _trimmer = Trimmer::start(&log);
    let mut services = Vec::new();
    if !args.no_http {
        services.push(http_service(config, edge, codec)?);
    }
    tell_where(config, &hosting.name(), args.no_http);
    Ok(process::run(config, &log, hosting, services)?)
}

/// Runs `tamiz gateway`.
pub fn run_gateway(_args: &GatewayArgs, config: &Config) -> Result<()> {
    process::start_logs(config)?;
    let log = access::open(config)?;
    let codec = Arc::new(process::codec(config).map_err(anyhow::Error::from_boxed)?);
    let service = http_service(config, log.edge(), codec)?;
    Ok(process::run_services(config, vec![service])?)
}

fn http_service(config: &Config, edge: Arc<dyn Edge>, codec: Arc<Codec>) -> Result<Service> {
    let http = &config.http;
    let listen = &http.listen;
    let settings = GatewaySettings {
        listen: listen
            .parse()
            .with_context(|| format!("http.listen {listen:?} is not an address as in 127.0.0.1:8080"))?,
        tenants: config.deployment.tenants.iter().cloned().collect(),
        topic_prefix: config.kafka.topic_prefix.clone(),
        body_bytes_max: http.body_mib_max << 20,
        bodies_bytes_max: 2 * (http.body_mib_max << 20),
        sessions_max: http.sessions_max,
        wait_max: Duration::from_millis(http.wait_ms_max),
        stream_clients_max: http.stream_clients_max,
        drain_wait_max: Duration::from_millis(config.runtime.drain_deadline_ms),
        ..GatewaySettings::default()
    };
    Ok(Box::new(move |stopping: Stopping| {
        Box::pin(async move {
            gateway::telemetry::describe();
            gateway::serve(settings, edge, codec, stopping.wait()).await.map_err(|error| Box::new(error) as _)
        })
    }))
}

fn tell_where(config: &Config, operators: &str, no_http: bool) {
    let telemetry = &config.telemetry.listen;
    tracing::info!(operators, http = if no_http { "" } else { &config.http.listen }, telemetry, "starting");
}

/// Deletes what has outlived its topic's retention, for the log on this machine; Kafka does so itself.
struct Trimmer {
    stop: std::sync::mpsc::Sender<()>,
}

impl Trimmer {
    const INTERVAL: Duration = Duration::from_secs(60);

    fn start(log: &Log) -> Option<Self> {
        let Log::Local(log) = log else { return None };
        let (log, (stop, stopped)) = (Arc::clone(log), std::sync::mpsc::channel());
        let work = move || {
            while stopped.recv_timeout(Self::INTERVAL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                match log.trim() {
                    Ok(0) => {}
                    Ok(records) => tracing::info!(records, "old records deleted"),
                    Err(error) => {
                        let error = pipeline::telemetry::describe_error(&error);
                        tracing::error!(error, "old records cannot be deleted");
                    }
                }
            }
        };
        // Without the thread the log only grows, which the next start tries to mend.
        std::thread::Builder::new().name("trimmer".into()).spawn(work).ok()?;
        Some(Self { stop })
    }
}

impl Drop for Trimmer {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.send(());
    }
}
