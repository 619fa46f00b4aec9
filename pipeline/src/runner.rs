//! The one loop of a worker: poll, work the step out, commit.

use crate::bus::{Bus, Commit, Polled, Position, SystemClock, WallClock};
use crate::error::{BusError, RunnerError};
use crate::health::Health;
use crate::hosting::Hosting;
use crate::operator::TimeSource;
use crate::record::{LogRecord, NewRecord};
use crate::task::Task;
use crate::telemetry;
use schemas::topic::DECISIONS;
use schemas::{Message, TimeMs, TopicSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Limits of a worker; `config/default.toml` gives the reason of each.
#[derive(Clone, Copy, Debug)]
pub struct RunnerSettings {
    /// Number of the worker in its process, for logs and metrics.
    pub worker: usize,
    /// Most records in a step.
    pub step_records_max: usize,
    /// How long a poll waits for records.
    pub poll_wait: Duration,
    /// How long a partition is idle before a tick is appended.
    pub tick: Duration,
    /// The same, where nothing but ticks has come for [`RunnerSettings::quiet_after`].
    pub tick_quiet: Duration,
    /// When a partition counts as quiet.
    pub quiet_after: Duration,
    /// Most tries of a call that may succeed later.
    pub retries_max: u32,
    /// Wait before the second try; it doubles from try to try.
    pub retry_wait: Duration,
}

/// Tells the time by which a worker sees that an input is idle; it never goes back.
pub type Stopwatch = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Asks workers to stop: each finishes its step, commits it and gives its partitions back.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Tells whether a stop was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A worker: its connection, and a task for each of its partitions.
pub struct Runner {
    bus: Box<dyn Bus>,
    hosting: Arc<Hosting>,
    settings: RunnerSettings,
    tasks: BTreeMap<u32, Task>,
    /// Positions of records that had no effect; they are committed with the next step that has one.
    unsaved: BTreeMap<(&'static str, u32), Position>,
    unsaved_since: Option<Instant>,
    activity: BTreeMap<(&'static str, u32), Activity>,
    measured: Instant,
    health: Option<Arc<Health>>,
    stopwatch: Stopwatch,
}

/// When an input last brought a record, and a record that was not a tick.
#[derive(Clone, Copy)]
struct Activity {
    any: Instant,
    data: Instant,
}

/// What a turn of the loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There was nothing to read.
    Idle,
    /// So many records were handled.
    Worked(usize),
    /// The partitions changed, or a step was undone.
    Changed,
}

/// Positions alone are committed after this long.
const UNSAVED_MAX: Duration = Duration::from_secs(1);
/// Lag and delay are measured this often.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

impl Runner {
    /// Makes a worker.
    pub fn new(bus: Box<dyn Bus>, hosting: Arc<Hosting>, settings: RunnerSettings) -> Self {
        Self {
            bus,
            hosting,
            settings,
            tasks: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            unsaved_since: None,
            activity: BTreeMap::new(),
            measured: Instant::now(),
            health: None,
            stopwatch: Arc::new(Instant::now),
        }
    }

    /// Tells a process's health when the worker has its partitions for the first time.
    pub fn with_health(mut self, health: Arc<Health>) -> Self {
        self.health = Some(health);
        self
    }

    /// Sees by another time than the machine's that an input is idle, for tests whose hours pass at once.
    pub fn with_stopwatch(mut self, stopwatch: Stopwatch) -> Self {
        self.stopwatch = stopwatch;
        self
    }

    /// Works until a stop is asked for or the world fails for good.
    pub fn run(mut self, stop: &Stop) -> Result<(), RunnerError> {
        while !stop.is_asked() {
            self.turn()?;
        }
        self.save_positions()?;
        self.bus.leave();
        telemetry::worker_stopped(self.settings.worker);
        Ok(())
    }

    /// Does one turn of the loop.
    pub fn turn(&mut self) -> Result<Turn, RunnerError> {
        self.turn_of(self.settings.step_records_max)
    }

    /// Does one turn with at most so many records in its step.
    pub fn turn_of(&mut self, records_max: usize) -> Result<Turn, RunnerError> {
        let polled = match self.retrying(|runner| runner.bus.poll(records_max, runner.settings.poll_wait)) {
            Err(RunnerError::Bus(error @ BusError::Abort { .. })) => return self.undo(&error),
            polled => polled?,
        };
        match polled {
            Polled::Assigned(partitions) => self.assign(&partitions),
            Polled::Records(records) => match self.step(records) {
                Err(RunnerError::Bus(error @ BusError::Abort { .. })) => self.undo(&error),
                turn => turn,
            },
        }
    }

    /// Returns the times of the hosted operators in a partition, where it is this worker's.
    pub fn task(&self, partition: u32) -> Option<&Task> {
        self.tasks.get(&partition)
    }

    fn assign(&mut self, partitions: &[u32]) -> Result<Turn, RunnerError> {
        let started = Instant::now();
        self.tasks.clear();
        self.unsaved.clear();
        self.activity.clear();
        for partition in partitions {
            let task = self.retrying(|runner| {
                Task::restore(Arc::clone(&runner.hosting), runner.bus.as_ref(), *partition)
            });
            self.tasks.insert(*partition, task?);
        }
        telemetry::assigned(self.settings.worker, partitions, started.elapsed());
        if let Some(health) = self.health.take() {
            health.worker_ready();
        }
        Ok(Turn::Changed)
    }

    fn step(&mut self, records: Vec<LogRecord>) -> Result<Turn, RunnerError> {
        let started = Instant::now();
        let count = records.len();
        let mut commit = self.due_ticks(&records);
        for (partition, records) in by_partition(records) {
            let Some(task) = self.tasks.get_mut(&partition) else { continue };
            let effects = task.run(self.bus.as_ref(), records)?;
            commit.records.extend(effects.records);
            commit.writes.extend(effects.writes);
            for position in effects.positions {
                self.unsaved.insert((position.topic.name, partition), position);
            }
        }
        if commit.is_empty() {
            return self.rest(count);
        }
        commit.positions = std::mem::take(&mut self.unsaved).into_values().collect();
        self.unsaved_since = None;
        let tally = Tally::of(&commit.records);
        let worked = started.elapsed();
        // A commit is never tried again as it stands: what the bus can repeat safely it repeats itself.
        self.bus.commit(commit)?;
        telemetry::step(worked, started.elapsed() - worked);
        tally.tell();
        self.measure();
        Ok(if count == 0 { Turn::Idle } else { Turn::Worked(count) })
    }

    /// Ends a turn without effects; positions alone are not worth a commit each time.
    fn rest(&mut self, count: usize) -> Result<Turn, RunnerError> {
        if !self.unsaved.is_empty() {
            let now = (self.stopwatch)();
            if now - *self.unsaved_since.get_or_insert(now) > UNSAVED_MAX {
                self.save_positions()?;
            }
        }
        self.measure();
        Ok(if count == 0 { Turn::Idle } else { Turn::Worked(count) })
    }

    fn save_positions(&mut self) -> Result<(), RunnerError> {
        let positions: Vec<Position> = std::mem::take(&mut self.unsaved).into_values().collect();
        self.unsaved_since = None;
        if positions.is_empty() {
            return Ok(());
        }
        Ok(self.bus.commit(Commit { positions, ..Commit::default() })?)
    }

    fn undo(&mut self, error: &BusError) -> Result<Turn, RunnerError> {
        telemetry::step_undone(error);
        self.tasks.clear();
        self.unsaved.clear();
        self.unsaved_since = None;
        self.retrying(|runner| runner.bus.rewind())?;
        Ok(Turn::Changed)
    }

    /// Returns a commit with a tick for every idle input whose operators tell the time from it.
    fn due_ticks(&mut self, records: &[LogRecord]) -> Commit {
        let now = (self.stopwatch)();
        for record in records {
            let fresh = Activity { any: now, data: now };
            let activity = self.activity.entry((record.topic.name, record.partition)).or_insert(fresh);
            activity.any = now;
            if !record.is_tick() {
                activity.data = now;
            }
        }
        let mut commit = Commit::default();
        for topic in self.hosting.inputs().into_iter().filter(|topic| needs_ticks(&self.hosting, topic)) {
            for partition in self.tasks.keys().copied() {
                let fresh = Activity { any: now, data: now };
                let activity = self.activity.entry((topic.name, partition)).or_insert(fresh);
                let quiet = now - activity.data > self.settings.quiet_after;
                let interval = if quiet { self.settings.tick_quiet } else { self.settings.tick };
                if now - activity.any >= interval {
                    activity.any = now;
                    commit.records.push(NewRecord::tick(topic, partition, SystemClock.now_ms()));
                }
            }
        }
        commit
    }

    fn measure(&mut self) {
        if self.measured.elapsed() < MEASURE_INTERVAL {
            return;
        }
        self.measured = Instant::now();
        let now = SystemClock.now_ms();
        for (partition, task) in &self.tasks {
            for topic in self.hosting.inputs() {
                if let Some(records) = self.bus.lag(topic, *partition) {
                    telemetry::lag(topic.name, *partition, records);
                }
            }
            for (operator, time) in task.times() {
                telemetry::delay(operator, *partition, now.saturating_sub(time));
            }
        }
    }

    fn retrying<T, E: Into<RunnerError>>(
        &mut self,
        call: impl Fn(&mut Self) -> Result<T, E>,
    ) -> Result<T, RunnerError> {
        let mut wait = self.settings.retry_wait;
        for attempt in 1.. {
            match call(self).map_err(Into::into) {
                Err(RunnerError::Bus(error @ BusError::Retry { .. }))
                    if attempt < self.settings.retries_max =>
                {
                    telemetry::retried(&error, attempt);
                    std::thread::sleep(wait);
                    wait *= 2;
                }
                outcome => return outcome,
            }
        }
        unreachable!("the loop ends with an outcome")
    }
}

/// Tells whether an idle input needs ticks: its records' append time is somebody's only clock.
fn needs_ticks(hosting: &Hosting, topic: &TopicSpec) -> bool {
    topic.stamped
        && hosting.hosted_readers(topic).any(|index| match &hosting.operators[index].descriptor().time {
            TimeSource::AppendTime => true,
            TimeSource::Progress { operators, .. } => {
                operators.iter().any(|operator| !hosting.hosts(operator))
            }
        })
}

fn by_partition(records: Vec<LogRecord>) -> BTreeMap<u32, Vec<LogRecord>> {
    let mut partitions: BTreeMap<u32, Vec<LogRecord>> = BTreeMap::new();
    for record in records {
        partitions.entry(record.partition).or_default().push(record);
    }
    partitions
}

/// What a commit writes, for the metrics: told once it has succeeded.
#[derive(Default)]
struct Tally {
    topics: BTreeMap<&'static str, u64>,
    /// Decisions by outcome and cause.
    decisions: BTreeMap<(Vec<u8>, Vec<u8>), u64>,
    due_at: Vec<TimeMs>,
}

impl Tally {
    fn of(records: &[NewRecord]) -> Self {
        let mut tally = Self::default();
        for record in records {
            *tally.topics.entry(record.topic.name).or_default() += 1;
            if record.topic.name == DECISIONS.name {
                let header = |name| record.headers.iter().find(|header| header.name == name);
                let value = |name| header(name).map(|header| header.value.clone()).unwrap_or_default();
                *tally.decisions.entry((value("decision"), value("cause"))).or_default() += 1;
                tally.due_at.push(record.time);
            }
        }
        tally
    }

    fn tell(self) {
        for (topic, count) in self.topics {
            telemetry::records_written(topic, count);
        }
        for ((outcome, cause), count) in self.decisions {
            telemetry::decisions(&String::from_utf8_lossy(&outcome), &String::from_utf8_lossy(&cause), count);
        }
        telemetry::decided(SystemClock.now_ms(), &self.due_at);
    }
}

/// Publishes a control change: its content first, then a marker in every partition of the topic that it steers, all
/// markers in one write.
pub fn markers(
    codec: &schemas::Codec,
    topic: &'static TopicSpec,
    partitions: u32,
    marker: &schemas::Marker,
) -> Result<Vec<NewRecord>, schemas::codec::EncodeError> {
    let mut bytes = Vec::new();
    Message::from(marker.clone()).encode(codec, &mut bytes)?;
    let record = |partition| NewRecord {
        topic,
        partition,
        key: None,
        value: Some(bytes.clone()),
        headers: Vec::new(),
        time: marker.published_at,
    };
    Ok((0..partitions).map(record).collect())
}
