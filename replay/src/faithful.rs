//! The faithful replay: the recorded steps again, and the decisions that come out beside those that were published.

use crate::error::ReplayError;
use crate::recording::{Cursor, Recording, range};
use crate::tables::Tables;
use pipeline::task::Task;
use pipeline::{Hosting, LogRecord};
use schemas::topic::{self, DECISIONS, RULES, STEPS};
use schemas::{Key, StepRecord};
use std::sync::Arc;

/// Differences that are kept; the others are counted.
const DIFFERENCES_MAX: usize = 1_000;

/// What a replay gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Steps that were worked out.
    pub steps: u64,
    /// Records that they read.
    pub records: u64,
    /// Decisions that came out.
    pub decisions: u64,
    /// Decisions that the log holds.
    pub recorded: u64,
    /// Decisions that differ.
    pub differing: u64,
    /// The first thousand of them.
    pub differences: Vec<Difference>,
}

/// A decision that differs from what was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The partition.
    pub partition: u32,
    /// Offset of the published decision; none where nothing was published.
    pub offset: Option<u64>,
    /// Tenant and session, where the key tells.
    pub session: Option<(String, String)>,
    /// The bytes that were published.
    pub recorded: Option<Vec<u8>>,
    /// The bytes that came out of the replay.
    pub replayed: Option<Vec<u8>>,
}

impl Replayed {
    /// Tells whether the replay gave what was published, all of it and nothing else, byte for byte.
    pub fn is_faithful(&self) -> bool {
        self.differing == 0
    }
}

/// Works out again what a process did, from the log that it worked on.
///
/// `hosting` is what the process hosted, with the settings, rules and data that it had: what differs there shows in the
/// decisions. A process without fusion made no decisions, and there is nothing to compare. The log must go back to the
/// first step, and no other process may have hosted the same operators, since the tables begin empty.
pub fn faithful(recording: &dyn Recording, hosting: &Arc<Hosting>) -> Result<Replayed, ReplayError> {
    let mut replayed = Replayed::default();
    for partition in 0..recording.partitions() {
        Partition::new(recording, hosting, partition)?.run(&mut replayed)?;
    }
    Ok(replayed)
}

/// One partition of a replay.
struct Partition<'a> {
    recording: &'a dyn Recording,
    hosting: &'a Arc<Hosting>,
    group: String,
    number: u32,
    tables: Tables,
    published: Cursor<'a>,
}

impl<'a> Partition<'a> {
    fn new(
        recording: &'a dyn Recording,
        hosting: &'a Arc<Hosting>,
        number: u32,
    ) -> Result<Self, ReplayError> {
        if recording.begins_at(&STEPS, number)? > 0 {
            return Err(ReplayError::Missing { topic: STEPS.name.to_owned(), partition: number, offset: 0 });
        }
        let tables = Tables::new(recording, &[&RULES])?;
        let published = Cursor::new(recording, &DECISIONS, number);
        Ok(Self { recording, hosting, group: hosting.name(), number, tables, published })
    }

    fn run(mut self, replayed: &mut Replayed) -> Result<(), ReplayError> {
        let mut steps = Cursor::new(self.recording, &STEPS, self.number);
        let mut task = Task::restore(Arc::clone(self.hosting), &self.tables, self.number)
            .map_err(|source| self.failed(0, source))?;
        while let Some(record) = steps.next()? {
            let step = self.read_step(&record)?;
            if step.group != self.group {
                self.check_other(step.group)?;
                continue;
            }
            let records = self.read_ranges(&step, &record)?;
            replayed.steps += 1;
            replayed.records += records.len() as u64;
            let commit =
                task.run(&self.tables, records).map_err(|source| self.failed(record.offset, source))?;
            self.tables.apply(commit.writes);
            for decision in commit.records.into_iter().filter(|record| record.topic.name == DECISIONS.name) {
                replayed.decisions += 1;
                let published = self.published.next()?;
                self.compare(published, Some((decision.key, decision.value)), replayed);
            }
        }
        if self.hosting.writes(&DECISIONS) {
            while let Some(published) = self.published.next()? {
                self.compare(Some(published), None, replayed);
            }
        }
        Ok(())
    }

    fn read_step(&self, record: &LogRecord) -> Result<StepRecord, ReplayError> {
        let bytes = record.value.as_deref().unwrap_or_default();
        self.hosting.codec().decode(bytes).map_err(|error| self.unusable(record, error.to_string()))
    }

    /// Reads what a step read, topic by topic.
    fn read_ranges(&self, step: &StepRecord, record: &LogRecord) -> Result<Vec<LogRecord>, ReplayError> {
        let mut records = Vec::new();
        for read in &step.ranges {
            let topic = topic::find(&read.topic)
                .ok_or_else(|| self.unusable(record, format!("there is no topic {}", read.topic)))?;
            let (Ok(from), Ok(to)) = (u64::try_from(read.from), u64::try_from(read.to)) else {
                return Err(self.unusable(record, format!("an offset of topic {} is negative", read.topic)));
            };
            records.extend(range(self.recording, topic, self.number, from, to)?);
        }
        Ok(records)
    }

    /// Refuses another group that changed the tables of the replayed operators.
    fn check_other(&self, other: String) -> Result<(), ReplayError> {
        let shares = other.split('+').any(|operator| self.group.split('+').any(|own| own == operator));
        let (group, partition) = (self.group.clone(), self.number);
        if shares { Err(ReplayError::Regrouped { group, other, partition }) } else { Ok(()) }
    }

    fn compare(&self, published: Option<LogRecord>, replayed: Option<KeyAndValue>, outcome: &mut Replayed) {
        outcome.recorded += u64::from(published.is_some());
        let offset = published.as_ref().map(|record| record.offset);
        let published = published.map(|record| (record.key, record.value));
        if published == replayed {
            return;
        }
        outcome.differing += 1;
        if outcome.differences.len() == DIFFERENCES_MAX {
            return;
        }
        let key =
            published.as_ref().or(replayed.as_ref()).and_then(|(key, _)| key.clone()).map(Key::from_bytes);
        let session = key.as_ref().and_then(Key::session);
        outcome.differences.push(Difference {
            partition: self.number,
            offset,
            session: session.map(|(tenant, session_id)| (tenant.to_owned(), session_id.to_owned())),
            recorded: published.and_then(|(_, value)| value),
            replayed: replayed.and_then(|(_, value)| value),
        });
    }

    fn unusable(&self, record: &LogRecord, reason: String) -> ReplayError {
        ReplayError::Step { partition: self.number, offset: record.offset, reason }
    }

    fn failed(&self, offset: u64, source: pipeline::RunnerError) -> ReplayError {
        ReplayError::Run { partition: self.number, offset, source }
    }
}

/// Key and bytes of a decision.
type KeyAndValue = (Option<Vec<u8>>, Option<Vec<u8>>);
