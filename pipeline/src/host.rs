//! A process that hosts operators: it opens the log, starts a worker a thread, and stops them in good order.

use crate::bus::kafka::{KafkaBus, KafkaEdge, KafkaSettings, KafkaState};
use crate::bus::local::{LocalBus, LocalError, LocalLog};
use crate::bus::{Bus, Edge, SystemClock};
use crate::config::{BusKind, Config};
use crate::error::{BusError, RunnerError};
use crate::health::Health;
use crate::hosting::{Hosting, HostingOptions, Library};
use crate::operator::AnyOperator;
use crate::runner::{Runner, RunnerSettings, Stop};
use crate::store::{DiskLimits, DiskStore, StoreError};
use crate::telemetry;
use schemas::{Codec, TopicSpec};
use std::any::Any;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An operator that a process can host.
#[derive(Clone, Copy)]
pub struct Registration {
    /// Its name.
    pub name: &'static str,
    /// The topic it reads.
    pub input: &'static TopicSpec,
    /// Makes it from the settings.
    pub build: fn(&HostContext) -> Result<Built, Box<dyn Error + Send + Sync>>,
}

/// An operator, and the libraries whose contents its markers name.
pub struct Built {
    /// The operator.
    pub operator: Arc<dyn AnyOperator>,
    /// Its libraries.
    pub libraries: Vec<Arc<dyn Library>>,
}

/// What operators are made from: the settings, and what they share with others of the process.
pub struct HostContext {
    /// The settings.
    pub config: Config,
    shared: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl HostContext {
    /// Makes a context.
    pub fn new(config: Config) -> Self {
        Self { config, shared: Mutex::default() }
    }

    /// Returns what other operators of the process have already made of this type, or makes it.
    pub fn shared<T: Any + Send + Sync, E>(
        &self,
        make: impl FnOnce(&Config) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shared.iter().find_map(|known| Arc::clone(known).downcast::<T>().ok()) {
            return Ok(known);
        }
        let made = Arc::new(make(&self.config)?);
        shared.push(made.clone());
        Ok(made)
    }
}

/// A process cannot host its operators.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The log on this machine cannot be opened.
    #[error("cannot open the log in {folder}; is another process using it?")]
    Store {
        /// The folder.
        folder: String,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The log on this machine is damaged or unusable.
    #[error("cannot use the log on this machine")]
    Log(#[from] LocalError),
    /// The bus failed.
    #[error("cannot reach the log")]
    Bus(#[from] BusError),
    /// An operator cannot be made.
    #[error("cannot make operator {name}")]
    Operator {
        /// The operator.
        name: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A worker's thread cannot be started.
    #[error("cannot start a worker")]
    Thread(#[source] std::io::Error),
    /// A worker failed.
    #[error("a worker failed")]
    Worker(#[source] RunnerError),
    /// The workers did not stop in time.
    #[error("the workers had not stopped after {0:?}")]
    Drain(Duration),
}

/// The log that the settings name.
#[derive(Clone)]
pub enum Log {
    /// On this machine.
    Local(Arc<LocalLog>),
    /// In a Kafka cluster.
    Kafka(Arc<KafkaLog>),
}

/// A Kafka cluster as the settings have it.
pub struct KafkaLog {
    settings: KafkaSettings,
    edge: Arc<KafkaEdge>,
    state_folder: PathBuf,
    limits: DiskLimits,
}

impl KafkaLog {
    fn open(config: &Config) -> Result<Self, HostError> {
        let settings = kafka_settings(config, "");
        let edge = Arc::new(KafkaEdge::connect(&settings)?);
        Ok(Self {
            settings,
            edge,
            state_folder: config.kafka.state_folder.clone(),
            limits: disk_limits(config),
        })
    }

    /// Opens the local copies of a group's tables, which its workers share.
    fn state(&self, group: &str) -> Result<Arc<KafkaState>, HostError> {
        // Processes of one machine have copies of their own, since a store has one process at a time.
        let folder = self.state_folder.join(&self.settings.instance).join(group);
        let store = DiskStore::open(&folder, self.limits)
            .map_err(|source| HostError::Store { folder: folder.display().to_string(), source })?;
        KafkaState::open(Arc::new(store))
            .map_err(|error| BusError::fatal("open the copies of the tables", error).into())
    }
}

/// Returns how the settings use a Kafka cluster, for a group of workers.
pub fn kafka_settings(config: &Config, group: &str) -> KafkaSettings {
    let kafka = &config.kafka;
    KafkaSettings {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        topic_prefix: kafka.topic_prefix.clone(),
        group: format!("{}{group}", kafka.topic_prefix),
        instance: if kafka.instance.is_empty() { host_name() } else { kafka.instance.clone() },
        client: kafka.client.clone(),
        partitions: config.deployment.partitions,
        replication_factor: kafka.replication_factor,
        transaction_timeout: Duration::from_millis(kafka.transaction_timeout_ms),
        session_timeout: Duration::from_millis(kafka.session_timeout_ms),
        step_timeout: Duration::from_millis(kafka.step_timeout_ms),
        leave_on_stop: kafka.leave_on_stop,
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "host".to_owned() } else { name.trim().to_owned() }
}

fn disk_limits(config: &Config) -> DiskLimits {
    let (embedded, mib) = (&config.embedded, |mib: u64| mib << 20);
    DiskLimits {
        cache_bytes: mib(embedded.cache_mib),
        write_buffer_bytes: mib(embedded.write_buffer_mib),
        journal_bytes_max: mib(embedded.journal_mib_max),
    }
}

impl Log {
    /// Opens the log.
    pub fn open(config: &Config) -> Result<Self, HostError> {
        if config.deployment.bus == BusKind::Kafka {
            return Ok(Self::Kafka(Arc::new(KafkaLog::open(config)?)));
        }
        let embedded = &config.embedded;
        let store = DiskStore::open(&embedded.folder, disk_limits(config))
            .map_err(|source| HostError::Store { folder: embedded.folder.display().to_string(), source })?;
        let partitions = config.deployment.partitions;
        Ok(Self::Local(LocalLog::open(Arc::new(store), Arc::new(SystemClock), partitions, embedded.durable)?))
    }

    /// Returns the log as producers and readers use it.
    pub fn edge(&self) -> Arc<dyn Edge> {
        match self {
            Self::Local(log) => Arc::new(Arc::clone(log)),
            Self::Kafka(log) => Arc::clone(&log.edge) as Arc<dyn Edge>,
        }
    }

    /// Returns a connection for each worker of a group.
    fn buses(&self, group: &str, hosting: &Hosting, workers: usize) -> Result<Vec<Box<dyn Bus>>, HostError> {
        let (inputs, operators) = (hosting.inputs(), hosting.stateful());
        match self {
            Self::Local(log) => (0..workers)
                .map(|_| {
                    Ok(Box::new(LocalBus::join(Arc::clone(log), group, inputs.clone(), &operators)?)
                        as Box<dyn Bus>)
                })
                .collect(),
            Self::Kafka(log) => {
                let settings = KafkaSettings {
                    group: format!("{}{group}", log.settings.topic_prefix),
                    ..log.settings.clone()
                };
                let state = log.state(group)?;
                let join = |worker| KafkaBus::join(&settings, worker, inputs.clone(), &operators, &state);
                (0..workers).map(|worker| Ok(Box::new(join(worker)?) as Box<dyn Bus>)).collect()
            }
        }
    }
}

/// Joins operators as the settings say.
pub fn join(
    context: &HostContext,
    hosted: &[&Registration],
    deployment: &[&Registration],
    codec: Arc<Codec>,
) -> Result<Hosting, HostError> {
    let (mut operators, mut libraries) = (Vec::new(), Vec::new());
    for registration in hosted {
        let built = (registration.build)(context)
            .map_err(|source| HostError::Operator { name: registration.name, source })?;
        operators.push(built.operator);
        libraries.extend(built.libraries);
    }
    let deployment: Vec<(String, &'static TopicSpec)> =
        deployment.iter().map(|registration| (registration.name.to_owned(), registration.input)).collect();
    let options = HostingOptions {
        publish: context.config.runtime.publish.clone(),
        record_steps: context.config.runtime.record_steps,
    };
    let partitions = context.config.deployment.partitions;
    Ok(Hosting::new(operators, libraries, codec, partitions, &deployment, options))
}

/// The running workers of a process.
pub struct Host {
    workers: Vec<JoinHandle<Result<(), RunnerError>>>,
    stop: Stop,
    health: Arc<Health>,
    drain_deadline: Duration,
}

impl Host {
    /// Starts the workers.
    pub fn start(config: &Config, log: &Log, hosting: Arc<Hosting>) -> Result<Self, HostError> {
        let count = config.workers();
        let health = Health::new(count);
        let stop = Stop::default();
        let group = format!("tamiz.{}", hosting.name());
        let mut workers = Vec::new();
        for (worker, bus) in log.buses(&group, &hosting, count)?.into_iter().enumerate() {
            let runner = Runner::new(bus, Arc::clone(&hosting), runner_settings(config, worker))
                .with_health(Arc::clone(&health));
            let (stop, health) = (stop.clone(), Arc::clone(&health));
            let work = move || {
                let outcome = runner.run(&stop);
                if let Err(error) = &outcome {
                    telemetry::worker_failed(worker, error);
                    health.worker_failed();
                    // The others stop too: a process that does half of its work looks alive and is not.
                    stop.ask();
                }
                outcome
            };
            let name = format!("worker-{worker}");
            workers.push(std::thread::Builder::new().name(name).spawn(work).map_err(HostError::Thread)?);
        }
        let drain_deadline = Duration::from_millis(config.runtime.drain_deadline_ms);
        Ok(Self { workers, stop, health, drain_deadline })
    }

    /// Returns the health of the workers.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Tells whether a worker has ended.
    pub fn has_ended(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Lets every worker finish its step, within the deadline.
    pub fn stop(self) -> Result<(), HostError> {
        self.stop.ask();
        let until = Instant::now() + self.drain_deadline;
        for worker in self.workers {
            while !worker.is_finished() {
                if Instant::now() > until {
                    return Err(HostError::Drain(self.drain_deadline));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            match worker.join() {
                Ok(outcome) => outcome.map_err(HostError::Worker)?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }
}

/// Returns the limits of a worker.
pub fn runner_settings(config: &Config, worker: usize) -> RunnerSettings {
    let runtime = &config.runtime;
    RunnerSettings {
        worker,
        step_records_max: runtime.step_records_max,
        poll_wait: Duration::from_millis(runtime.poll_wait_ms),
        tick: Duration::from_millis(runtime.tick_ms),
        tick_quiet: Duration::from_millis(runtime.tick_quiet_ms),
        quiet_after: Duration::from_millis(runtime.quiet_after_ms),
        retries_max: runtime.retries_max,
        retry_wait: Duration::from_millis(runtime.retry_wait_ms),
    }
}
