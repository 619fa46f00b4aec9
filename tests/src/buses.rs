//! The buses under test, each with a clock that the test sets where the bus lets it.

use crate::interference::{InterferedBus, Interference};
use crate::workload::{PAUSE_MS, START, WAVE_MS, Wave};
use crate::deployment::PARTITIONS;
use pipeline::bus::ManualClock;
use pipeline::bus::local::{LocalBus, LocalLog};
use pipeline::runner::markers;
use pipeline::store::{DiskLimits, DiskStore, MemoryStore};
use pipeline::{Bus, Edge, Hosting, NewRecord, Runner, RunnerSettings, Start, LogRecord, Stopwatch, WallClock};
use rules::RuleSet;
use schemas::topic::{RULES, SIGNALS};
use schemas::{Cleanup, Codec, Marker, Message, RuleSetRecord, TimeMs, TopicSpec};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A kind of bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusKind {
    /// A log in memory.
    Memory,
    /// The log on this machine's disk.
    Embedded,
}

/// A log to run a deployment on, empty at first.
pub struct TestLog {
    place: Place,
    time: TestTime,
}

enum Place {
    Memory(Arc<LocalLog>),
    Embedded { log: Option<Arc<LocalLog>>, folder: tempfile::TempDir },
}

/// Sizes of a store that a test opens many times.
const DISK_LIMITS: DiskLimits = DiskLimits { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, journal_bytes_max: 64 << 20 };

impl TestLog {
    /// Makes a log.
    pub fn new(kind: BusKind) -> Self {
        let time = TestTime::new();
        let place = match kind {
            BusKind::Memory => Place::Memory(open_memory(&time)),
            BusKind::Embedded => {
                let folder = tempfile::tempdir().expect("a temporary folder is made");
                Place::Embedded { log: Some(open_disk(&folder, &time)), folder }
            }
        };
        Self { place, time }
    }

    /// Returns the log on this machine.
    pub fn local(&self) -> &Arc<LocalLog> {
        match &self.place {
            Place::Memory(log) => log,
            Place::Embedded { log, .. } => log.as_ref().expect("the log is open"),
        }
    }

    /// Returns the log as producers and readers have it.
    pub fn edge(&self) -> Arc<dyn Edge> {
        Arc::new(Arc::clone(self.local()))
    }

    /// Tells whether workers, producers and the log are one process, which is lost as a whole.
    pub fn is_one_process(&self) -> bool {
        matches!(self.place, Place::Embedded { .. })
    }

    /// Closes the log and opens it again with what it holds for good. No worker may be left.
    pub fn reopen(&mut self) {
        if let Place::Embedded { log, folder } = &mut self.place {
            let closed = log.take().map(|log| Arc::strong_count(&log));
            assert_eq!(closed, Some(1), "nobody holds the log any more");
            *log = Some(open_disk(folder, &self.time));
        }
    }

    /// Starts a worker.
    pub fn worker(&self, hosting: &Arc<Hosting>, interference: &Arc<dyn Interference>) -> Runner {
        let group = format!("tamiz.{}", hosting.name());
        let bus = LocalBus::join(Arc::clone(self.local()), &group, hosting.inputs(), &hosting.stateful());
        let bus: Box<dyn Bus> = Box::new(bus.expect("a worker joins its group"));
        let bus = Box::new(InterferedBus::new(bus, Arc::clone(interference)));
        Runner::new(bus, Arc::clone(hosting), self.settings()).with_stopwatch(self.time.stopwatch())
    }

    fn settings(&self) -> RunnerSettings {
        RunnerSettings {
            worker: 0,
            step_records_max: 1_000,
            // Where time stands still, waiting brings nothing.
            poll_wait: Duration::ZERO,
            tick: Duration::from_millis(500),
            tick_quiet: Duration::from_secs(5),
            quiet_after: Duration::from_secs(60),
            retries_max: 3,
            retry_wait: Duration::ZERO,
        }
    }

    /// Returns the clocks.
    pub fn time(&self) -> &TestTime {
        &self.time
    }

    /// Appends the records of a wave at their times; the clock stands at the wave's end afterwards.
    pub fn publish(&self, number: usize, wave: &Wave) {
        let start = START + number as TimeMs * (WAVE_MS + PAUSE_MS);
        for (at, record) in &wave.records {
            self.time.set(start + at);
            self.append(vec![record.clone()]);
        }
        self.time.set(start + WAVE_MS);
    }

    /// Puts a rule set in force.
    pub fn publish_rules(&self, rules: &RuleSet) {
        let codec = Codec::new();
        let record = RuleSetRecord { hash: rules.hash().to_owned(), source: rules.source().to_owned(), ..RuleSetRecord::default() };
        let mut bytes = Vec::new();
        Message::from(record).encode(&codec, &mut bytes).expect("a rule set can be encoded");
        let key = rules.hash().as_bytes().to_vec();
        let partition = schemas::key::partition_of(&key, PARTITIONS);
        let (key, value) = (Some(key), Some(bytes));
        self.append(vec![NewRecord { topic: &RULES, partition, key, value, headers: Vec::new(), time: START }]);
        let (kind, hash) = (fusion::RULES_CONTROL.to_owned(), rules.hash().to_owned());
        let marker = Marker { kind, hash, published_at: START };
        self.append(markers(&codec, &SIGNALS, PARTITIONS, &marker).expect("a marker can be encoded"));
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
        let mut records = Vec::new();
        loop {
            let more = tail.next(10_000, Duration::ZERO).expect("a topic is read");
            if more.is_empty() {
                return records;
            }
            records.extend(more);
        }
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
