//! What a replay reads: the records of a log by their positions.

use crate::error::ReplayError;
use pipeline::bus::local::LocalLog;
use pipeline::{Edge, LogRecord};
use schemas::TopicSpec;
use std::sync::Arc;

/// A log that holds what was read and what was decided.
pub trait Recording {
    /// Returns the number of partitions of every topic.
    fn partitions(&self) -> u32;

    /// Returns the offset at which a partition begins: what was before it has been deleted.
    fn begins_at(&self, topic: &'static TopicSpec, partition: u32) -> Result<u64, ReplayError>;

    /// Returns up to `records_max` committed records of a partition from an offset on, in order.
    fn records(
        &self,
        topic: &'static TopicSpec,
        partition: u32,
        from: u64,
        records_max: usize,
    ) -> Result<Vec<LogRecord>, ReplayError>;

    /// Returns the last record of each key of a compacted topic.
    fn compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, ReplayError>;
}

impl Recording for Arc<LocalLog> {
    fn partitions(&self) -> u32 {
        LocalLog::partitions(self)
    }

    fn begins_at(&self, topic: &'static TopicSpec, partition: u32) -> Result<u64, ReplayError> {
        let first = self.read(topic, partition, 0, 1)?;
        Ok(first.first().map_or_else(|| self.end(topic, partition), |record| record.offset))
    }

    fn records(
        &self,
        topic: &'static TopicSpec,
        partition: u32,
        from: u64,
        records_max: usize,
    ) -> Result<Vec<LogRecord>, ReplayError> {
        Ok(self.read(topic, partition, from, records_max)?)
    }

    fn compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, ReplayError> {
        let failed = |source| ReplayError::Read { topic: topic.name.to_owned(), partition: 0, source };
        Edge::read_compacted(self, topic).map_err(failed)
    }
}

/// Reads a partition of a topic from an offset on, some records at a time.
pub(crate) struct Cursor<'a> {
    recording: &'a dyn Recording,
    topic: &'static TopicSpec,
    partition: u32,
    next: u64,
    read: std::vec::IntoIter<LogRecord>,
}

/// Records that a cursor reads at once.
const RECORDS_AT_ONCE: usize = 500;

impl<'a> Cursor<'a> {
    pub(crate) fn new(recording: &'a dyn Recording, topic: &'static TopicSpec, partition: u32) -> Self {
        Self { recording, topic, partition, next: 0, read: Vec::new().into_iter() }
    }

    /// Returns the next record; none at the end of the log.
    pub(crate) fn next(&mut self) -> Result<Option<LogRecord>, ReplayError> {
        if let Some(record) = self.read.next() {
            return Ok(Some(record));
        }
        self.read =
            self.recording.records(self.topic, self.partition, self.next, RECORDS_AT_ONCE)?.into_iter();
        let record = self.read.next();
        if let Some(last) = self.read.as_slice().last().or(record.as_ref()) {
            self.next = last.offset + 1;
        }
        Ok(record)
    }
}

/// Returns the records of a partition from an offset up to another. Both ends were read once, so that a log that lacks
/// one of them is not whole; between them a log may have positions without records.
pub(crate) fn range(
    recording: &dyn Recording,
    topic: &'static TopicSpec,
    partition: u32,
    from: u64,
    to: u64,
) -> Result<Vec<LogRecord>, ReplayError> {
    let missing = |offset| ReplayError::Missing { topic: topic.name.to_owned(), partition, offset };
    let records_max = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut records = recording.records(topic, partition, from, records_max)?;
    records.retain(|record| record.offset < to);
    let first = records.first().map(|record| record.offset);
    let last = records.last().map(|record| record.offset + 1);
    if first != Some(from) {
        return Err(missing(from));
    }
    if last != Some(to) {
        return Err(missing(to.saturating_sub(1)));
    }
    Ok(records)
}
