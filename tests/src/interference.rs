//! A bus between a worker and its real one, where a test can look at every call and let it fail.

use crate::random::Random;
use pipeline::table::Row;
use pipeline::{Bus, BusError, Commit, LogRecord, Polled, TableSpec};
use schemas::TopicSpec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A call of a worker to its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads records.
    Poll,
    /// Commits a step.
    Commit,
    /// Forgets what was not committed.
    Rewind,
    /// Reads a row of a table.
    Get,
    /// Reads rows of a table.
    Scan,
    /// Reads a compacted topic.
    ReadCompacted,
}

/// What a test does to the calls of workers.
pub trait Interference: Send + Sync {
    /// Returns how many records a poll may bring, given how many are asked for.
    fn records_max(&self, asked: usize) -> usize {
        asked
    }

    /// Is called before each call; an error takes the place of the call.
    fn before(&self, _call: Call) -> Result<(), BusError> {
        Ok(())
    }

    /// Is called after each call that succeeded; an error takes the place of its result.
    fn after(&self, _call: Call) -> Result<(), BusError> {
        Ok(())
    }
}

/// Leaves every call as it is.
pub struct Undisturbed;

impl Interference for Undisturbed {}

/// Lets each poll bring a random number of records, so that steps are cut anywhere.
pub struct RandomSteps {
    random: Mutex<Random>,
    records_max: usize,
}

impl RandomSteps {
    /// Cuts steps of one to so many records.
    pub fn new(random: Random, records_max: usize) -> Self {
        Self { random: Mutex::new(random), records_max }
    }
}

impl Interference for RandomSteps {
    fn records_max(&self, _asked: usize) -> usize {
        1 + self.random.lock().unwrap_or_else(PoisonError::into_inner).below(self.records_max)
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before anything has happened, and it may be tried again.
    Retry,
    /// Before anything has happened, and the step is lost.
    Abort,
    /// After it has happened, of which the worker is told that the step is lost.
    AbortAfter,
    /// The process is lost before the call.
    Lost,
    /// The process is lost after the call, before it learns of the result.
    LostAfter,
}

impl Fault {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Retry, Self::Abort, Self::AbortAfter, Self::Lost, Self::LostAfter];

    fn is_after(self) -> bool {
        matches!(self, Self::AbortAfter | Self::LostAfter)
    }

    fn error(self) -> BusError {
        const ACTION: &str = "do what a test forbids";
        match self {
            Self::Retry => BusError::retry(ACTION, "it fails once"),
            Self::Abort | Self::AbortAfter => BusError::abort(ACTION, "it is undone"),
            Self::Lost | Self::LostAfter => BusError::fatal(ACTION, "the process is lost"),
        }
    }
}

/// Lets one call fail, counted over all workers of a deployment.
pub struct OneFault {
    place: u64,
    fault: Fault,
    only: Option<Call>,
    calls: AtomicU64,
    struck: AtomicBool,
}

impl OneFault {
    /// Lets the call at a place fail, from 0, counted over all calls or those of one kind.
    pub fn new(place: u64, fault: Fault, only: Option<Call>) -> Self {
        Self { place, fault, only, calls: AtomicU64::new(0), struck: AtomicBool::new(false) }
    }

    /// Counts calls, of one kind or all, and lets none fail.
    pub fn never(only: Option<Call>) -> Self {
        Self::new(u64::MAX, Fault::Lost, only)
    }

    /// Returns how many calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
    }

    /// Tells whether the call has failed.
    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::Acquire)
    }

    fn counts(&self, call: Call) -> bool {
        self.only.is_none_or(|only| only == call)
    }

    fn strike(&self) -> Result<(), BusError> {
        if self.struck.swap(true, Ordering::AcqRel) { Ok(()) } else { Err(self.fault.error()) }
    }
}

impl Interference for OneFault {
    fn before(&self, call: Call) -> Result<(), BusError> {
        if !self.counts(call) {
            return Ok(());
        }
        let place = self.calls.fetch_add(1, Ordering::AcqRel);
        if place == self.place && !self.fault.is_after() { self.strike() } else { Ok(()) }
    }

    fn after(&self, call: Call) -> Result<(), BusError> {
        let reached = self.calls.load(Ordering::Acquire) > self.place;
        let due = self.fault.is_after() && self.counts(call) && reached;
        if due { self.strike() } else { Ok(()) }
    }
}

/// Lets calls fail at random.
pub struct RandomFaults {
    random: Mutex<Random>,
    /// Of ten thousand calls, so many fail.
    share: usize,
}

impl RandomFaults {
    /// Lets so many of ten thousand calls fail, each in a random way.
    pub fn new(random: Random, share: usize) -> Self {
        Self { random: Mutex::new(random), share }
    }

    fn fails(&self, after: bool) -> Result<(), BusError> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if random.below(10_000) >= self.share {
            return Ok(());
        }
        let faults: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| fault.is_after() == after).collect();
        Err(random.pick(&faults).error())
    }
}

impl Interference for RandomFaults {
    fn before(&self, _call: Call) -> Result<(), BusError> {
        self.fails(false)
    }

    fn after(&self, _call: Call) -> Result<(), BusError> {
        self.fails(true)
    }
}

/// A worker's bus, with a test in between.
pub struct InterferedBus {
    inner: Box<dyn Bus>,
    interference: Arc<dyn Interference>,
}

impl InterferedBus {
    /// Puts a test between a worker and its bus.
    pub fn new(inner: Box<dyn Bus>, interference: Arc<dyn Interference>) -> Self {
        Self { inner, interference }
    }

    fn call<T>(&self, call: Call, make: impl FnOnce(&dyn Bus) -> Result<T, BusError>) -> Result<T, BusError> {
        self.interference.before(call)?;
        let result = make(self.inner.as_ref())?;
        self.interference.after(call)?;
        Ok(result)
    }

    fn call_mut<T>(
        &mut self,
        call: Call,
        make: impl FnOnce(&mut dyn Bus) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        self.interference.before(call)?;
        let result = make(self.inner.as_mut())?;
        self.interference.after(call)?;
        Ok(result)
    }
}

impl Bus for InterferedBus {
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        let records_max = self.interference.records_max(records_max);
        self.call_mut(Call::Poll, |bus| bus.poll(records_max, wait))
    }

    fn commit(&mut self, commit: Commit) -> Result<(), BusError> {
        self.call_mut(Call::Commit, |bus| bus.commit(commit))
    }

    fn rewind(&mut self) -> Result<(), BusError> {
        self.call_mut(Call::Rewind, |bus| bus.rewind())
    }

    fn get(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<Row>, BusError> {
        self.call(Call::Get, |bus| bus.get(operator, table, partition, key))
    }

    fn scan(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        from: &[u8],
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, BusError> {
        self.call(Call::Scan, |bus| bus.scan(operator, table, partition, from, rows_max))
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        self.call(Call::ReadCompacted, |bus| bus.read_compacted(topic))
    }

    fn lag(&self, topic: &'static TopicSpec, partition: u32) -> Option<u64> {
        self.inner.lag(topic, partition)
    }

    fn leave(&mut self) {
        self.inner.leave();
    }
}
