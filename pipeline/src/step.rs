//! A step as an operator sees it: its tables, its time, and a place for effects.

use crate::bus::Bus;
use crate::clock::OperatorClock;
use crate::error::RunnerError;
use crate::operator::{Descriptor, Event, Timer};
use crate::record::Header;
use crate::table::TableSpec;
use rustc_hash::FxHashMap;
use schemas::topic::SIGNALS;
use schemas::{Accepted, Key, Message, Payload, Signal, SignalBody, SignalStatus, TimeMs, TopicSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an operator may do while it handles an event: read and write its tables, set timers, emit records.
///
/// Nothing is seen outside before the runner commits the whole step; a reject undoes what the event has done.
pub struct Step<'a> {
    pub(crate) operator: &'a Descriptor,
    pub(crate) partition: u32,
    pub(crate) partitions: u32,
    pub(crate) append_time: TimeMs,
    pub(crate) clock: &'a OperatorClock,
    pub(crate) tables: &'a mut Tables,
    pub(crate) bus: &'a dyn Bus,
    pub(crate) codec: &'a schemas::Codec,
    pub(crate) emitted: &'a mut Vec<Emitted>,
    pub(crate) journal: &'a mut Journal,
    /// The first failure of the world; the runner looks here before it uses anything of the step.
    pub(crate) failure: &'a mut Option<RunnerError>,
}

/// What an operator says of a stage.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Name of the signal.
    pub name: &'static str,
    /// Whether the values could be made; they are null unless this is `ok`.
    pub status: SignalStatus,
    /// Why not.
    pub reason: Option<String>,
    /// Content hash of each data set used.
    pub data: BTreeMap<String, String>,
    /// The values.
    pub body: Option<SignalBody>,
}

impl Verdict {
    /// Makes a verdict with values.
    pub fn ok(name: &'static str, data: &BTreeMap<String, String>, body: impl Into<SignalBody>) -> Self {
        Self { name, status: SignalStatus::Ok, reason: None, data: data.clone(), body: Some(body.into()) }
    }

    /// Makes a verdict without values.
    pub fn without(
        name: &'static str,
        data: &BTreeMap<String, String>,
        status: SignalStatus,
        reason: impl Into<String>,
    ) -> Self {
        Self { name, status, reason: Some(reason.into()), data: data.clone(), body: None }
    }
}

/// A record that an operator has emitted.
#[derive(Clone, Debug)]
pub struct Emitted {
    pub(crate) topic: &'static TopicSpec,
    pub(crate) partition: u32,
    pub(crate) key: Key,
    pub(crate) message: Message,
    pub(crate) headers: Vec<Header>,
    pub(crate) time: TimeMs,
}

/// Number of a table and key of a row.
type RowKey = (u8, Vec<u8>);

/// Rows of one operator in one partition, as this step has read and written them.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    rows: FxHashMap<RowKey, CachedRow>,
}

#[derive(Clone, Debug)]
pub(crate) struct CachedRow {
    /// The row, none where there is none.
    pub message: Option<Message>,
    /// When it was last written.
    pub touched: TimeMs,
    /// Written in this step.
    pub dirty: bool,
}

/// What an event has changed, to undo it.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Each row that was written, with what it was before.
    rows: Vec<(RowKey, Option<CachedRow>)>,
    /// A timer is in at most one of these two: what the event did last holds.
    pub timers_set: Vec<Timer>,
    pub timers_cancelled: Vec<Timer>,
}

impl Journal {
    /// Forgets what the event has changed: it stands.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.timers_set.clear();
        self.timers_cancelled.clear();
    }
}

impl Tables {
    /// Undoes what the journal lists, the last first.
    pub fn undo(&mut self, journal: &mut Journal) {
        for (key, earlier) in journal.rows.drain(..).rev() {
            match earlier {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        journal.clear();
    }

    /// Tells whether a row was written in this step.
    pub fn is_written(&self, table: u8, key: &[u8]) -> bool {
        self.rows.get(&(table, key.to_vec())).is_some_and(|row| row.dirty)
    }

    /// Returns the rows written in this step, in the order of table and key.
    pub fn written(&mut self) -> Vec<(u8, Vec<u8>, CachedRow)> {
        let mut written: Vec<(u8, Vec<u8>, CachedRow)> = self
            .rows
            .drain()
            .filter(|(_, row)| row.dirty)
            .map(|((table, key), row)| (table, key, row))
            .collect();
        written.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        written
    }
}

impl Step<'_> {
    /// Returns the operator's time: everything up to it has been handled by all that it waits for.
    pub fn time(&self) -> TimeMs {
        self.clock.time()
    }

    /// Returns the append time of what is being handled; for a timer, the time it was due.
    pub fn append_time(&self) -> TimeMs {
        self.append_time
    }

    /// Returns the operator's name and version.
    pub fn operator(&self) -> &Descriptor {
        self.operator
    }

    /// Returns the content hash in force of a kind of control.
    pub fn control(&self, kind: &str) -> Option<&str> {
        self.clock.control(kind)
    }

    /// Tells whether a key belongs to this step's partition.
    pub fn owns(&self, key: &Key) -> bool {
        key.partition(self.partitions) == self.partition
    }

    /// Emits a record.
    pub fn emit(&mut self, topic: &'static TopicSpec, key: &Key, message: impl Into<Message>) {
        self.emit_with_headers(topic, key, message, Vec::new());
    }

    /// Emits a record with headers.
    pub fn emit_with_headers(
        &mut self,
        topic: &'static TopicSpec,
        key: &Key,
        message: impl Into<Message>,
        headers: Vec<Header>,
    ) {
        debug_assert!(
            self.operator.outputs.iter().any(|output| output.name == topic.name),
            "{} is declared",
            topic.name
        );
        let partition = key.partition(self.partitions);
        let (key, message) = (key.clone(), message.into());
        self.emitted.push(Emitted { topic, partition, key, message, headers, time: self.append_time });
    }

    /// Emits what the operator says of a stage, for fusion.
    pub fn emit_verdict(&mut self, event: &Event<Arc<Accepted>>, verdict: Verdict) {
        let stage = &event.input;
        let of_session = || Key::of_session(&stage.tenant, &stage.session_id);
        let key = event.key.clone().unwrap_or_else(of_session);
        let signal = Signal {
            tenant: stage.tenant.clone(),
            session_id: stage.session_id.clone(),
            stage_hash: stage.stage_hash.clone(),
            name: verdict.name.to_owned(),
            operator: self.operator.name.to_owned(),
            operator_version: self.operator.version.to_owned(),
            status: verdict.status,
            reason: verdict.reason,
            data: verdict.data,
            append_time: self.append_time,
            body: verdict.body,
            subject_id: stage.subject_id.clone(),
            sealed: None,
        };
        self.emit(&SIGNALS, &key, signal);
    }

    /// Returns a row of one of the operator's tables; a row that has outlived its table's time is none.
    pub fn get<T: Payload>(&mut self, table: &'static TableSpec, key: &[u8]) -> Option<Arc<T>> {
        let row = self.row::<T>(table, key)?;
        row.message.as_ref().and_then(T::from_message).cloned()
    }

    /// Writes a row.
    pub fn put<T: Payload>(&mut self, table: &'static TableSpec, key: &[u8], record: impl Into<Arc<T>>) {
        self.replace(table, key, Some(T::into_message(record.into())));
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: &'static TableSpec, key: &[u8]) {
        self.replace(table, key, None);
    }

    /// Sets a timer: the operator is called with its key when the operator's time has reached it.
    pub fn set_timer(&mut self, at: TimeMs, key: &[u8]) {
        let timer = Timer { at, key: key.to_vec() };
        self.journal.timers_cancelled.retain(|cancelled| *cancelled != timer);
        self.journal.timers_set.push(timer);
    }

    /// Cancels a timer; one that is not set is nothing to cancel.
    pub fn cancel_timer(&mut self, at: TimeMs, key: &[u8]) {
        let timer = Timer { at, key: key.to_vec() };
        self.journal.timers_set.retain(|set| *set != timer);
        self.journal.timers_cancelled.push(timer);
    }

    fn replace(&mut self, table: &'static TableSpec, key: &[u8], message: Option<Message>) {
        let place = (table.number, key.to_vec());
        let row = CachedRow { message, touched: self.append_time, dirty: true };
        let earlier = self.tables.rows.insert(place.clone(), row);
        self.journal.rows.push((place, earlier));
    }

    fn row<T: Payload>(&mut self, table: &'static TableSpec, key: &[u8]) -> Option<&CachedRow> {
        let place = (table.number, key.to_vec());
        if !self.tables.rows.contains_key(&place) {
            let row = self.load::<T>(table, key)?;
            self.tables.rows.insert(place.clone(), row);
        }
        let row = self.tables.rows.get(&place)?;
        let expired =
            table.ttl_ms.is_some_and(|ttl_ms| row.touched.saturating_add(ttl_ms) < self.clock.time());
        (!expired).then_some(row)
    }

    fn load<T: Payload>(&mut self, table: &'static TableSpec, key: &[u8]) -> Option<CachedRow> {
        let row = match self.bus.get(self.operator.name, table, self.partition, key) {
            Ok(row) => row,
            Err(error) => {
                self.failure.get_or_insert(RunnerError::Bus(error));
                return None;
            }
        };
        let Some(row) = row else { return Some(CachedRow { message: None, touched: 0, dirty: false }) };
        match self.codec.decode::<T>(&row.value) {
            Ok(record) => {
                let message = Some(T::into_message(Arc::new(record)));
                Some(CachedRow { message, touched: row.touched, dirty: false })
            }
            Err(source) => {
                self.failure.get_or_insert(RunnerError::State {
                    operator: self.operator.name,
                    table: table.name,
                    partition: self.partition,
                    source,
                });
                None
            }
        }
    }
}
