//! The buses under test, each with a clock that the test sets where the bus lets it.

use crate::deployment::{PARTITIONS, codec};
use crate::interference::{InterferedBus, Interference};
use crate::kafka::{KafkaPlace, KafkaVersion};
use crate::workload::{PAUSE_MS, START, WAVE_MS, Wave};
use pipeline::bus::ManualClock;
use pipeline::bus::local::{LocalBus, LocalLog};
use pipeline::runner::markers;
use pipeline::store::{DiskLimits, DiskStore, MemoryStore};
use pipeline::{
    Bus, Edge, Header, Hosting, LogRecord, NewRecord, Runner, RunnerSettings, Start, Stopwatch, WallClock,
};
use rules::RuleSet;
use schemas::topic::{RULES, SIGNALS};
use schemas::{Cleanup, Marker, Message, RuleSetRecord, TimeMs, TopicSpec};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A kind of bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusKind {
    /// A log in memory.
    Memory,
    /// The log on this machine's disk.
    Embedded,
    /// A real broker.
    Kafka(KafkaVersion),
}

/// A log to run a deployment on, empty at first.
pub struct TestLog {
    place: Place,
    time: TestTime,
    /// Ends that were marked in each topic.
    ends: Mutex<BTreeMap<&'static str, u32>>,
}

enum Place {
    Memory(Arc<LocalLog>),
    /// The log is none only while it is opened anew.
    Embedded {
        log: Mutex<Option<Arc<LocalLog>>>,
        folder: tempfile::TempDir,
    },
    Kafka(Box<KafkaPlace>),
}

/// Sizes of a store that a test opens many times.
const DISK_LIMITS: DiskLimits =
    DiskLimits { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, journal_bytes_max: 64 << 20 };
/// Header of a record that marks the end of what a test reads.
const END_HEADER: &str = "test-end";
/// How long a broker may take to bring what it holds; the transaction of a worker that was lost ends within it.
const READ_WAIT_MAX: Duration = Duration::from_secs(60);

impl TestLog {
    /// Makes a log.
    pub fn new(kind: BusKind) -> Self {
        let time = TestTime::new();
        let place = match kind {
            BusKind::Memory => Place::Memory(open_memory(&time)),
            BusKind::Embedded => {
                let folder = tempfile::tempdir().expect("a temporary folder is made");
                Place::Embedded { log: Mutex::new(Some(open_disk(&folder, &time))), folder }
            }
            BusKind::Kafka(version) => Place::Kafka(Box::new(KafkaPlace::new(version))),
        };
        Self { place, time, ends: Mutex::default() }
    }

    /// Returns the log on this machine.
    pub fn local(&self) -> Arc<LocalLog> {
        match &self.place {
            Place::Memory(log) => Arc::clone(log),
            Place::Embedded { log, .. } => {
                let log = log.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(log.as_ref().expect("the log is open"))
            }
            Place::Kafka(_) => panic!("this log is not on this machine"),
        }
    }

    /// Returns the log as producers and readers have it.
    pub fn edge(&self) -> Arc<dyn Edge> {
        match &self.place {
            Place::Kafka(kafka) => kafka.edge(),
            _ => Arc::new(self.local()),
        }
    }

    /// Tells whether workers, producers and the log are one process, which is lost as a whole.
    pub fn is_one_process(&self) -> bool {
        matches!(self.place, Place::Embedded { .. })
    }

    /// Tells whether time passes by itself here.
    pub fn is_real_time(&self) -> bool {
        matches!(self.place, Place::Kafka(_))
    }

    /// Closes the log and opens it again with what it holds for good. No worker may be left.
    pub fn reopen(&self) {
        if let Place::Embedded { log, folder } = &self.place {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let holders = log.as_ref().map(Arc::strong_count);
            assert_eq!(holders, Some(1), "nobody else holds the log");
            *log = None;
            *log = Some(open_disk(folder, &self.time));
        }
    }

    /// Starts a worker. Its name tells it from the others of its group, and is the same when it starts again.
    pub fn worker(&self, name: &str, hosting: &Arc<Hosting>, interference: &Arc<dyn Interference>) -> Runner {
        let group = format!("tamiz.{}", hosting.name());
        let bus: Box<dyn Bus> = match &self.place {
            Place::Kafka(kafka) => kafka.join(&group, name, hosting),
            _ => {
                let bus = LocalBus::join(self.local(), &group, hosting.inputs(), &hosting.stateful());
                Box::new(bus.expect("a worker joins its group"))
            }
        };
        let bus = Box::new(InterferedBus::new(bus, Arc::clone(interference)));
        let runner = Runner::new(bus, Arc::clone(hosting), self.settings());
        if self.is_real_time() { runner } else { runner.with_stopwatch(self.time.stopwatch()) }
    }

    fn settings(&self) -> RunnerSettings {
        let settings = RunnerSettings {
            worker: 0,
            step_records_max: 1_000,
            // Where time stands still, waiting brings nothing.
            poll_wait: Duration::ZERO,
            tick: Duration::from_millis(500),
            tick_quiet: Duration::from_secs(5),
            quiet_after: Duration::from_secs(60),
            retries_max: 3,
            retry_wait: Duration::ZERO,
        };
        if self.is_real_time() {
            let (poll_wait, retry_wait) = (Duration::from_millis(10), Duration::from_millis(20));
            return RunnerSettings { poll_wait, tick: Duration::from_millis(200), retry_wait, ..settings };
        }
        settings
    }

    /// Returns the clocks.
    pub fn time(&self) -> &TestTime {
        &self.time
    }

    /// Forgets the local copies of tables, where there are such beside the log.
    pub fn wipe_copies(&self) {
        if let Place::Kafka(kafka) = &self.place {
            kafka.wipe_copies();
        }
    }

    /// Returns how many records of a topic a reader has seen by now, which looks again at each call.
    pub fn seen(&self, topic: &'static TopicSpec) -> usize {
        match &self.place {
            Place::Kafka(kafka) => kafka.seen(topic),
            _ => self.records(topic).len(),
        }
    }

    /// Appends the records of a wave at their times; the clock stands at the wave's end afterwards.
    pub fn publish(&self, number: usize, wave: &Wave) {
        if self.is_real_time() {
            return self.append(wave.records.iter().map(|(_, record)| record.clone()).collect());
        }
        let start = START + number as TimeMs * (WAVE_MS + PAUSE_MS);
        for (at, record) in &wave.records {
            self.time.set(start + at);
            self.append(vec![record.clone()]);
        }
        self.time.set(start + WAVE_MS);
    }

    /// Puts a rule set in force: its text first, and then a marker in every partition at once.
    pub fn publish_rules(&self, rules: &RuleSet) {
        let codec = codec();
        let record = RuleSetRecord {
            hash: rules.hash().to_owned(),
            source: rules.source().to_owned(),
            ..RuleSetRecord::default()
        };
        let mut bytes = Vec::new();
        Message::from(record).encode(&codec, &mut bytes).expect("a rule set can be encoded");
        let key = rules.hash().as_bytes().to_vec();
        let partition = schemas::key::partition_of(&key, PARTITIONS);
        let (key, value) = (Some(key), Some(bytes));
        self.append(vec![NewRecord {
            topic: &RULES,
            partition,
            key,
            value,
            headers: Vec::new(),
            time: START,
        }]);
        let (kind, hash) = (fusion::RULES_CONTROL.to_owned(), rules.hash().to_owned());
        let marker = Marker { kind, hash, published_at: START };
        let markers = markers(&codec, &SIGNALS, PARTITIONS, &marker).expect("a marker can be encoded");
        self.edge().publish_atomically(markers).expect("the markers are appended");
    }

    /// Appends records.
    pub fn append(&self, records: Vec<NewRecord>) {
        self.edge().publish(records).expect("records are appended");
    }

    /// Returns every committed record of a topic, each partition in order.
    pub fn records(&self, topic: &'static TopicSpec) -> Vec<LogRecord> {
        let edge = self.edge();
        if topic.cleanup == Cleanup::Compact {
            return edge.read_compacted(topic).expect("a compacted topic is read");
        }
        let mut tail = edge.tail(topic, Start::Earliest).expect("a reader opens");
        if self.is_real_time() {
            self.mark_end(topic);
        }
        let until = Instant::now() + READ_WAIT_MAX;
        let (mut records, mut ends) = (Vec::new(), 0);
        loop {
            let wait = if self.is_real_time() {
                until.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            let more = tail.next(10_000, wait).expect("a topic is read");
            if more.is_empty() && !self.is_real_time() {
                return records;
            }
            assert!(!more.is_empty(), "topic {} does not end", topic.name);
            let (marks, more): (Vec<_>, Vec<_>) =
                more.into_iter().partition(|record| record.header(END_HEADER).is_some());
            records.extend(more);
            ends += marks.len() as u32;
            if ends > 0 && ends == self.ends_marked(topic) {
                return records;
            }
        }
    }

    /// Appends a record to each partition after which a reader has seen everything: a broker does not tell that there
    /// is no more.
    fn mark_end(&self, topic: &'static TopicSpec) {
        let mark = |partition| NewRecord {
            headers: vec![Header::new(END_HEADER, *b"1")],
            ..NewRecord::tick(topic, partition, 0)
        };
        self.append((0..PARTITIONS).map(mark).collect());
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *ends.entry(topic.name).or_default() += PARTITIONS;
    }

    fn ends_marked(&self, topic: &TopicSpec) -> u32 {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(topic.name).copied().unwrap_or_default()
    }
}

fn open_memory(time: &TestTime) -> Arc<LocalLog> {
    LocalLog::open(Arc::new(MemoryStore::default()), time.wall(), PARTITIONS, false).expect("the log opens")
}

fn open_disk(folder: &tempfile::TempDir, time: &TestTime) -> Arc<LocalLog> {
    let store = DiskStore::open(folder.path(), DISK_LIMITS).expect("the store opens");
    // What a loss of power takes cannot be shown here, so that nothing would be gained by waiting for the disk.
    LocalLog::open(Arc::new(store), time.wall(), PARTITIONS, false).expect("the log opens")
}

/// The time of a test: the clock that stamps records, and the stopwatch that tells idle inputs. Both stand until they
/// are moved.
pub struct TestTime {
    wall: Arc<ManualClock>,
    began: Instant,
    passed_ms: Arc<AtomicU64>,
}

impl TestTime {
    fn new() -> Self {
        Self { wall: Arc::new(ManualClock::at(START)), began: Instant::now(), passed_ms: Arc::default() }
    }

    fn wall(&self) -> Arc<dyn WallClock> {
        Arc::clone(&self.wall) as Arc<dyn WallClock>
    }

    /// Sets the clock that stamps records.
    pub fn set(&self, time: TimeMs) {
        self.wall.set(time);
    }

    /// Returns the time of the clock that stamps records.
    pub fn now(&self) -> TimeMs {
        self.wall.now_ms()
    }

    /// Lets time pass for both.
    pub fn pass(&self, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).expect("a span of a test is short");
        self.passed_ms.fetch_add(span_ms, Ordering::AcqRel);
        self.wall.set(self.wall.now_ms() + TimeMs::try_from(span_ms).expect("a span of a test is short"));
    }

    fn stopwatch(&self) -> Stopwatch {
        let (began, passed_ms) = (self.began, Arc::clone(&self.passed_ms));
        Arc::new(move || began + Duration::from_millis(passed_ms.load(Ordering::Acquire)))
    }
}
