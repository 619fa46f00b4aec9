//! The tables of the replayed operators, in memory, behind the interface that a task has to its bus.

use crate::recording::Recording;
use pipeline::table::{Row, TableWrite};
use pipeline::{Bus, BusError, Commit, LogRecord, Polled, TableSpec};
use schemas::TopicSpec;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

/// Place of a row: operator, table, and key.
type Place = (&'static str, u8, Vec<u8>);

/// The tables of one partition.
pub(crate) struct Tables {
    rows: BTreeMap<Place, Row>,
    /// What markers name by hash is read from the recording.
    compacted: Vec<(&'static str, Vec<LogRecord>)>,
}

impl Tables {
    pub(crate) fn new(
        recording: &dyn Recording,
        compacted: &[&'static TopicSpec],
    ) -> Result<Self, crate::ReplayError> {
        let read = |topic: &&'static TopicSpec| Ok((topic.name, recording.compacted(topic)?));
        let compacted = compacted.iter().map(read).collect::<Result<_, crate::ReplayError>>()?;
        Ok(Self { rows: BTreeMap::new(), compacted })
    }

    pub(crate) fn apply(&mut self, writes: Vec<TableWrite>) {
        for write in writes {
            let place = (write.operator, write.table, write.key);
            match write.value {
                Some(value) => self.rows.insert(place, Row { touched: write.touched, value }),
                None => self.rows.remove(&place),
            };
        }
    }
}

/// A replay hands records to its tasks itself, and takes their effects from them.
fn refused(action: &'static str) -> BusError {
    BusError::fatal(action, "a replay has no worker")
}

impl Bus for Tables {
    fn poll(&mut self, _records_max: usize, _wait: Duration) -> Result<Polled, BusError> {
        Err(refused("poll"))
    }

    fn commit(&mut self, _commit: Commit) -> Result<(), BusError> {
        Err(refused("commit"))
    }

    fn rewind(&mut self) -> Result<(), BusError> {
        Err(refused("rewind"))
    }

    fn get(
        &self,
        operator: &'static str,
        table: &TableSpec,
        _partition: u32,
        key: &[u8],
    ) -> Result<Option<Row>, BusError> {
        Ok(self.rows.get(&(operator, table.number, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        operator: &'static str,
        table: &TableSpec,
        _partition: u32,
        from: &[u8],
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, BusError> {
        let first = Bound::Included((operator, table.number, from.to_vec()));
        let rows = self.rows.range((first, Bound::Unbounded));
        let own = rows.take_while(|((name, number, _), _)| *name == operator && *number == table.number);
        Ok(own.take(rows_max).map(|((.., key), row)| (key.clone(), row.clone())).collect())
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        let known = self.compacted.iter().find(|(name, _)| *name == topic.name);
        known.map(|(_, records)| records.clone()).ok_or_else(|| refused("read a compacted topic"))
    }

    fn lag(&self, _topic: &'static TopicSpec, _partition: u32) -> Option<u64> {
        None
    }

    fn leave(&mut self) {}
}
