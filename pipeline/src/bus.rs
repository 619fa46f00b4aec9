//! The bus: where records are read from and where the effects of a step go, whole or not at all.

pub mod kafka;
pub mod local;

use crate::error::BusError;
use crate::record::{LogRecord, NewRecord};
use crate::table::{Row, TableSpec, TableWrite};
use schemas::{TimeMs, TopicSpec};
use std::time::Duration;

/// A worker's connection to the log and to its tables.
///
/// A worker belongs to a group; the partitions of the group's input topics are shared out among its workers, the same
/// partition of every topic to the same worker.
pub trait Bus: Send {
    /// Returns the next records of the worker's partitions, each partition in order of offset, or what partitions are
    /// now its own. Waits at most as long as is said where there is nothing.
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, BusError>;

    /// Writes the effects of a step: all of it is there afterwards, or nothing. After [`BusError::Abort`] the worker
    /// reads again from the first record whose step was not committed.
    fn commit(&mut self, commit: Commit) -> Result<(), BusError>;

    /// Forgets what was read and not committed: the next poll says what the worker's partitions are, and records come
    /// again from the first whose step was not committed.
    fn rewind(&mut self) -> Result<(), BusError>;

    /// Returns a row of a table of one of the worker's partitions.
    fn get(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<Row>, BusError>;

    /// Returns up to `rows_max` rows in order of their keys, from a key on.
    fn scan(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        from: &[u8],
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, BusError>;

    /// Returns the last record of each key of a compacted topic; for small topics only.
    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError>;

    /// Returns how many records of a partition are still to be read; none where that is not known.
    fn lag(&self, topic: &'static TopicSpec, partition: u32) -> Option<u64>;

    /// Gives the worker's partitions back.
    fn leave(&mut self);
}

/// What a poll brought.
#[derive(Debug)]
pub enum Polled {
    /// These are now the worker's partitions, all of them; their tables are up to date.
    Assigned(Vec<u32>),
    /// The next records; none where there was nothing to read.
    Records(Vec<LogRecord>),
}

/// The effects of a step.
#[derive(Debug, Default)]
pub struct Commit {
    /// Records to write.
    pub records: Vec<NewRecord>,
    /// Rows to write.
    pub writes: Vec<TableWrite>,
    /// How far the inputs were read.
    pub positions: Vec<Position>,
}

impl Commit {
    /// Tells whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.writes.is_empty() && self.positions.is_empty()
    }
}

/// How far a partition of a topic was read.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The topic.
    pub topic: &'static TopicSpec,
    /// The partition.
    pub partition: u32,
    /// Offset of the next record to read.
    pub next: u64,
}

/// A clock outside the operators: it stamps what local buses append.
pub trait WallClock: Send + Sync {
    /// Returns the time.
    fn now_ms(&self) -> TimeMs;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> TimeMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 is as good as one at 1970: both only mean that the time is not known.
        since.map_or(0, |since| TimeMs::try_from(since.as_millis()).unwrap_or(TimeMs::MAX))
    }
}

/// A clock that stands until it is set: the time of a replay or a test.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// Makes a clock that stands at a time.
    pub fn at(time: TimeMs) -> Self {
        Self(std::sync::atomic::AtomicI64::new(time))
    }

    /// Sets the time.
    pub fn set(&self, time: TimeMs) {
        self.0.store(time, std::sync::atomic::Ordering::Release);
    }
}

impl WallClock for ManualClock {
    fn now_ms(&self) -> TimeMs {
        self.0.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// The log as producers, readers and the command line use it: no group, no transaction.
pub trait Edge: Send + Sync {
    /// Returns the number of partitions of every topic.
    fn partitions(&self) -> u32;

    /// Appends records, each once; returns when they are safe.
    fn publish(&self, records: Vec<NewRecord>) -> Result<(), BusError>;

    /// Appends records, all or none: no reader sees some of them without the others, and one that begins after this
    /// returns sees them all.
    fn publish_atomically(&self, records: Vec<NewRecord>) -> Result<(), BusError>;

    /// Opens a reader of all partitions of a topic.
    fn tail(&self, topic: &'static TopicSpec, start: Start) -> Result<Box<dyn Tail>, BusError>;

    /// Returns the last record of each key of a compacted topic.
    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError>;

    /// Returns the last record of one key of a compacted topic.
    fn find_compacted(&self, topic: &'static TopicSpec, key: &[u8]) -> Result<Option<LogRecord>, BusError>;
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
}

/// A reader of one topic; only committed records are seen.
pub trait Tail: Send {
    /// Returns the next records; waits at most as long as is said where there are none.
    fn next(&mut self, records_max: usize, wait: Duration) -> Result<Vec<LogRecord>, BusError>;
}
