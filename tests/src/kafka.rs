//! Real brokers: one of each version for all tests of this process, which have topics of their own.

use crate::deployment::{OPERATORS, PARTITIONS};
use pipeline::bus::kafka::{KafkaBus, KafkaEdge, KafkaSettings, KafkaState, create_topics};
use pipeline::store::MemoryStore;
use pipeline::{Bus, Edge, Hosting, Start, Tail};
use schemas::TopicSpec;
use schemas::topic::TOPICS;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A version of Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaVersion {
    /// The newest.
    V4_3_1,
    /// The last with another protocol of transactions.
    V3_9_1,
}

impl KafkaVersion {
    /// Returns the address of the broker of this version, which is started where none runs yet, and ends with this
    /// process.
    fn broker(self) -> &'static str {
        static NEW: OnceLock<String> = OnceLock::new();
        static OLD: OnceLock<String> = OnceLock::new();
        match self {
            Self::V4_3_1 => NEW.get_or_init(|| start("kafka")),
            Self::V3_9_1 => OLD.get_or_init(|| start("kafka-3.9.1")),
        }
    }
}

fn start(service: &str) -> String {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../script/services");
    let services = std::env::var_os("TAMIZ_SERVICES").map_or_else(beside, PathBuf::from);
    let (process, name) =
        (std::process::id().to_string(), format!("conformance-{service}-{}", std::process::id()));
    let started =
        Command::new(&services).args(["start", service, "--name", &name, "--owner", &process]).output();
    let started = started.unwrap_or_else(|error| panic!("cannot run {}: {error}", services.display()));
    let said = String::from_utf8_lossy(&started.stdout);
    match said.trim().rsplit_once('=') {
        Some((_, address)) if started.status.success() => address.to_owned(),
        _ => panic!("no {service}: run script/setup test\n{}", String::from_utf8_lossy(&started.stderr)),
    }
}

/// Topics of one test.
pub struct KafkaPlace {
    settings: KafkaSettings,
    edge: Arc<KafkaEdge>,
    /// The disks of the workers, by their names: what is on them outlives a worker.
    copies: Mutex<BTreeMap<String, Arc<MemoryStore>>>,
    seen: Mutex<BTreeMap<&'static str, Seen>>,
}

/// What a reader has seen of a topic.
struct Seen {
    tail: Box<dyn Tail>,
    records: usize,
}

impl KafkaPlace {
    /// Makes the topics.
    pub fn new(version: KafkaVersion) -> Self {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let settings = KafkaSettings {
            bootstrap_servers: version.broker().to_owned(),
            topic_prefix: format!("t{}.", PLACES.fetch_add(1, Ordering::Relaxed)),
            group: String::new(),
            instance: "test".to_owned(),
            client: BTreeMap::new(),
            partitions: PARTITIONS,
            replication_factor: 1,
            transaction_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(6),
            step_timeout: Duration::from_secs(60),
            leave_on_stop: true,
        };
        let operators = OPERATORS.map(|(name, _)| name);
        create_topics(&settings, TOPICS, &operators).expect("the topics are made");
        let edge = Arc::new(KafkaEdge::connect(&settings).expect("the broker answers"));
        Self { settings, edge, copies: Mutex::default(), seen: Mutex::default() }
    }

    /// Returns the log as producers and readers have it.
    pub fn edge(&self) -> Arc<dyn Edge> {
        Arc::clone(&self.edge) as Arc<dyn Edge>
    }

    /// Joins a group. A worker that has the same name is fenced.
    pub fn join(&self, group: &str, name: &str, hosting: &Hosting) -> Box<dyn Bus> {
        let prefix = &self.settings.topic_prefix;
        let settings = KafkaSettings {
            group: format!("{prefix}{group}"),
            instance: name.to_owned(),
            ..self.settings.clone()
        };
        let disk = {
            let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(copies.entry(format!("{group} {name}")).or_default())
        };
        let state = KafkaState::open(disk).expect("the copies open");
        let bus = KafkaBus::join(&settings, 0, hosting.inputs(), &hosting.stateful(), &state);
        Box::new(bus.expect("a worker joins its group"))
    }

    /// Forgets the copies of tables; workers that run keep theirs.
    pub fn wipe_copies(&self) {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns how many records of a topic a reader has seen by now.
    pub fn seen(&self, topic: &'static TopicSpec) -> usize {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(topic.name).or_insert_with(|| {
            let tail = self.edge.tail(topic, Start::Earliest).expect("a reader opens");
            Seen { tail, records: 0 }
        });
        seen.records += seen.tail.next(10_000, Duration::ZERO).expect("a topic is read").len();
        seen.records
    }
}
