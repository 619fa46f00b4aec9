//! The log on this machine: topics, positions and tables are spaces of one store, and a step is one batch.
//!
//! On disk it is the embedded default, in memory it serves replays and tests. Workers are threads of one process; a
//! worker that was replaced in its group can commit nothing more.

use crate::bus::{Bus, Commit, Edge, Polled, Position, Start, Tail, WallClock};
use crate::error::BusError;
use crate::record::{Header, LogRecord, NewRecord};
use crate::store::{Change, Space, Store, StoreError, after_prefix};
use crate::table::{Row, TableSpec, TableWrite};
use schemas::{Cleanup, TimeMs, TopicSpec, topic};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A log on this machine, shared by its workers, producers and readers.
pub struct LocalLog {
    store: Arc<dyn Store>,
    clock: Arc<dyn WallClock>,
    partitions: u32,
    durable: bool,
    positions: Space,
    inner: Mutex<Inner>,
    arrived: Condvar,
}

struct Inner {
    topics: BTreeMap<&'static str, TopicLog>,
    groups: BTreeMap<String, Group>,
    appends: u64,
}

struct TopicLog {
    space: Space,
    ends: Vec<End>,
}

/// Where the next record of a partition goes.
#[derive(Clone, Copy, Default)]
struct End {
    offset: u64,
    time: TimeMs,
}

#[derive(Default)]
struct Group {
    generation: u64,
    members: Vec<u64>,
    joined: u64,
}

/// A record could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It is larger than its topic allows.
    #[error("a record of {bytes} bytes is too large for topic {topic}, of at most {bytes_max}")]
    TooLarge {
        /// The topic.
        topic: &'static str,
        /// The record's bytes.
        bytes: usize,
        /// The topic's limit.
        bytes_max: u32,
    },
    /// The partition does not exist.
    #[error("topic {topic} has no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: u32,
    },
    /// Another worker has the partitions now.
    #[error("the group {group} has moved on to generation {now}; this worker is of generation {then}")]
    Fenced {
        /// The group.
        group: String,
        /// This worker's generation.
        then: u64,
        /// The group's generation.
        now: u64,
    },
    /// A stored record cannot be read.
    #[error("record {offset} of topic {topic}, partition {partition}, is damaged")]
    Damaged {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl From<LocalError> for BusError {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::Fenced { .. } => Self::abort("commit a step", error),
            _ => Self::fatal("use the local log", error),
        }
    }
}

impl LocalLog {
    /// Opens the log that a store holds.
    pub fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn WallClock>,
        partitions: u32,
        durable: bool,
    ) -> Result<Arc<Self>, LocalError> {
        let mut topics = BTreeMap::new();
        for spec in topic::TOPICS {
            let space = store.space(&format!("log.{}", spec.name))?;
            let ends = (0..partitions).map(|partition| read_end(store.as_ref(), space, spec, partition));
            topics.insert(spec.name, TopicLog { space, ends: ends.collect::<Result<_, _>>()? });
        }
        let positions = store.space("positions")?;
        let inner = Inner { topics, groups: BTreeMap::new(), appends: 0 };
        let (inner, arrived) = (Mutex::new(inner), Condvar::new());
        Ok(Arc::new(Self { store, clock, partitions, durable, positions, inner, arrived }))
    }

    /// Returns the number of partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Appends records, all or none.
    pub fn append(&self, records: Vec<NewRecord>) -> Result<(), LocalError> {
        let mut inner = self.lock();
        let changes = self.appended(&mut inner, records)?;
        self.finish(inner, changes)
    }

    /// Returns up to `records_max` records of a partition from an offset on.
    pub fn read(
        &self,
        topic: &'static TopicSpec,
        partition: u32,
        from: u64,
        records_max: usize,
    ) -> Result<Vec<LogRecord>, LocalError> {
        let space = self.space(topic);
        let to = after_prefix(&partition.to_be_bytes());
        let pairs = self.store.range(space, &log_key(partition, from), &to, records_max)?;
        pairs.into_iter().map(|(key, bytes)| stored_record(topic, partition, &key, &bytes)).collect()
    }

    /// Returns the offset after the last record of a partition.
    pub fn end(&self, topic: &TopicSpec, partition: u32) -> u64 {
        self.lock().topics[topic.name].ends[partition as usize].offset
    }

    /// Deletes the records of a partition before an offset, for runs that keep nothing they have read.
    pub fn discard(&self, topic: &'static TopicSpec, partition: u32, before: u64) -> Result<(), LocalError> {
        let space = self.space(topic);
        // The last record stays, so that the next offset is known after a restart.
        let before = before.min(self.end(topic, partition).saturating_sub(1));
        let pairs =
            self.store.range(space, &log_key(partition, 0), &log_key(partition, before), usize::MAX)?;
        let changes = pairs.into_iter().map(|(key, _)| Change { space, key, value: None });
        Ok(self.store.write(changes.collect(), false)?)
    }

    /// Deletes records that have outlived their topics' retention; returns how many.
    pub fn trim(&self) -> Result<usize, LocalError> {
        const RECORDS_MAX: usize = 10_000;
        let mut trimmed = 0;
        let now = self.clock.now_ms();
        for spec in topic::TOPICS {
            let Cleanup::Delete { retention_h } = spec.cleanup else { continue };
            let before = now - TimeMs::from(retention_h) * 3_600_000;
            let space = self.space(spec);
            for partition in 0..self.partitions {
                let records = self.read(spec, partition, 0, RECORDS_MAX)?;
                // The last record stays, so that the next offset is known after a restart.
                let end = self.end(spec, partition);
                let old = records.iter().take_while(|record| record.time < before && record.offset + 1 < end);
                let changes: Vec<Change> = old
                    .map(|record| Change { space, key: log_key(partition, record.offset), value: None })
                    .collect();
                trimmed += changes.len();
                self.store.write(changes, false)?;
            }
        }
        Ok(trimmed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn space(&self, topic: &TopicSpec) -> Space {
        self.lock().topics[topic.name].space
    }

    /// Gives records their offsets and times. The lock is held until they are written, so that no reader can see a
    /// later record before an earlier one.
    fn appended(&self, inner: &mut Inner, records: Vec<NewRecord>) -> Result<Vec<Change>, LocalError> {
        for record in &records {
            let bytes = record.value.as_ref().map_or(0, Vec::len);
            if bytes > record.topic.record_bytes_max as usize {
                return Err(LocalError::TooLarge {
                    topic: record.topic.name,
                    bytes,
                    bytes_max: record.topic.record_bytes_max,
                });
            }
            if record.partition >= self.partitions {
                return Err(LocalError::NoPartition {
                    topic: record.topic.name,
                    partition: record.partition,
                });
            }
        }
        let now = self.clock.now_ms();
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            let Some(log) = inner.topics.get_mut(record.topic.name) else {
                return Err(LocalError::NoPartition {
                    topic: record.topic.name,
                    partition: record.partition,
                });
            };
            let end = &mut log.ends[record.partition as usize];
            let offset = end.offset;
            end.offset += 1;
            end.time = end.time.max(now);
            let time = if record.topic.stamped { end.time } else { record.time };
            changes.push(log_change(log.space, &record, offset, time));
        }
        Ok(changes)
    }

    fn finish(&self, mut inner: MutexGuard<'_, Inner>, changes: Vec<Change>) -> Result<(), LocalError> {
        self.store.write(changes, self.durable)?;
        inner.appends += 1;
        drop(inner);
        self.arrived.notify_all();
        Ok(())
    }

    /// Waits until something is appended after `seen`, and returns how many appends there were.
    fn wait(&self, seen: u64, wait: Duration) -> u64 {
        let until = Instant::now() + wait;
        let mut inner = self.lock();
        while inner.appends == seen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inner = self.arrived.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.appends
    }
}

/// A worker's connection to the log.
pub struct LocalBus {
    log: Arc<LocalLog>,
    group: String,
    member: u64,
    generation: u64,
    topics: Vec<&'static TopicSpec>,
    states: BTreeMap<&'static str, Space>,
    cursors: Vec<Position>,
    seen: u64,
}

impl LocalBus {
    /// Joins a group of workers that reads topics and keeps the tables of operators.
    pub fn join(
        log: Arc<LocalLog>,
        group: &str,
        topics: Vec<&'static TopicSpec>,
        operators: &[&'static str],
    ) -> Result<Self, LocalError> {
        let mut states = BTreeMap::new();
        for operator in operators {
            states.insert(*operator, log.store.space(&format!("state.{operator}"))?);
        }
        let member = {
            let mut inner = log.lock();
            let group = inner.groups.entry(group.to_owned()).or_default();
            group.joined += 1;
            group.generation += 1;
            group.members.push(group.joined);
            group.joined
        };
        let (group, cursors) = (group.to_owned(), Vec::new());
        Ok(Self { log, group, member, generation: 0, topics, states, cursors, seen: 0 })
    }

    /// Takes over the partitions that are now this worker's, and returns them where they may have changed.
    fn rebalance(&mut self) -> Result<Option<Vec<u32>>, LocalError> {
        let (generation, place, members) = {
            let inner = self.log.lock();
            let group = &inner.groups[&self.group];
            let place = group.members.iter().position(|member| *member == self.member);
            (group.generation, place, group.members.len())
        };
        if generation == self.generation {
            return Ok(None);
        }
        self.generation = generation;
        let mine = |partition: &u32| place == Some(*partition as usize % members.max(1));
        let partitions: Vec<u32> = (0..self.log.partitions).filter(mine).collect();
        self.cursors.clear();
        for partition in &partitions {
            for topic in &self.topics {
                let key = position_key(&self.group, topic, *partition);
                let bytes = self.log.store.get(self.log.positions, &key)?;
                let next = bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
                self.cursors.push(Position { topic, partition: *partition, next });
            }
        }
        Ok(Some(partitions))
    }

    fn read(&mut self, records_max: usize) -> Result<Vec<LogRecord>, LocalError> {
        let share = (records_max / self.cursors.len().max(1)).max(1);
        let mut records = Vec::new();
        for cursor in &mut self.cursors {
            let batch = self.log.read(cursor.topic, cursor.partition, cursor.next, share)?;
            if let Some(last) = batch.last() {
                cursor.next = last.offset + 1;
            }
            records.extend(batch);
        }
        Ok(records)
    }

    fn state(&self, operator: &'static str) -> Result<Space, BusError> {
        let known = self.states.get(operator).copied();
        known.ok_or_else(|| {
            BusError::fatal("use a table", format!("the tables of {operator} are not kept here"))
        })
    }
}

impl Bus for LocalBus {
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        if let Some(partitions) = self.rebalance()? {
            return Ok(Polled::Assigned(partitions));
        }
        let mut records = self.read(records_max)?;
        if records.is_empty() && !wait.is_zero() {
            self.seen = self.log.wait(self.seen, wait);
            records = self.read(records_max)?;
        }
        Ok(Polled::Records(records))
    }

    fn commit(&mut self, commit: Commit) -> Result<(), BusError> {
        let log = Arc::clone(&self.log);
        let mut inner = log.lock();
        let now = inner.groups[&self.group].generation;
        if now != self.generation {
            // What was read since is read again by whoever has the partitions now.
            let error = LocalError::Fenced { group: self.group.clone(), then: self.generation, now };
            return Err(error.into());
        }
        let mut changes = log.appended(&mut inner, commit.records)?;
        for write in commit.writes {
            let space = self.state(write.operator)?;
            changes.push(table_change(space, write));
        }
        for position in commit.positions {
            let key = position_key(&self.group, position.topic, position.partition);
            changes.push(Change {
                space: log.positions,
                key,
                value: Some(position.next.to_be_bytes().to_vec()),
            });
        }
        log.finish(inner, changes).map_err(BusError::from)
    }

    fn rewind(&mut self) -> Result<(), BusError> {
        self.generation = 0;
        Ok(())
    }

    fn get(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<Row>, BusError> {
        get_row(self.log.store.as_ref(), self.state(operator)?, table, partition, key)
    }

    fn scan(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        from: &[u8],
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, BusError> {
        scan_rows(self.log.store.as_ref(), self.state(operator)?, table, partition, from, rows_max)
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        self.log.read_compacted(topic)
    }

    fn lag(&self, topic: &'static TopicSpec, partition: u32) -> Option<u64> {
        let cursor = self
            .cursors
            .iter()
            .find(|cursor| cursor.topic.name == topic.name && cursor.partition == partition)?;
        Some(self.log.end(topic, partition).saturating_sub(cursor.next))
    }

    fn leave(&mut self) {
        let mut inner = self.log.lock();
        if let Some(group) = inner.groups.get_mut(&self.group)
            && let Some(place) = group.members.iter().position(|member| *member == self.member)
        {
            group.members.remove(place);
            group.generation += 1;
        }
        drop(inner);
        self.log.arrived.notify_all();
    }
}

impl Drop for LocalBus {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Edge for Arc<LocalLog> {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn publish(&self, records: Vec<NewRecord>) -> Result<(), BusError> {
        self.append(records).map_err(|error| match error {
            LocalError::TooLarge { .. } | LocalError::NoPartition { .. } => {
                BusError::retry("publish records", error)
            }
            _ => BusError::fatal("publish records", error),
        })
    }

    fn publish_atomically(&self, records: Vec<NewRecord>) -> Result<(), BusError> {
        self.publish(records)
    }

    fn tail(&self, topic: &'static TopicSpec, start: Start) -> Result<Box<dyn Tail>, BusError> {
        let cursors = (0..self.partitions).map(|partition| match start {
            Start::Earliest => 0,
            Start::Latest => self.end(topic, partition),
        });
        Ok(Box::new(LocalTail { log: Arc::clone(self), topic, cursors: cursors.collect(), seen: 0 }))
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        let space = self.space(topic);
        let mut records = Vec::new();
        for partition in 0..self.partitions {
            let from = partition.to_be_bytes();
            let pairs =
                self.store.range(space, &from, &after_prefix(&from), usize::MAX).map_err(LocalError::from)?;
            for (key, bytes) in pairs {
                records.push(stored_record(topic, partition, &key, &bytes)?);
            }
        }
        Ok(records)
    }

    fn find_compacted(&self, topic: &'static TopicSpec, key: &[u8]) -> Result<Option<LogRecord>, BusError> {
        let partition = schemas::key::partition_of(key, self.partitions);
        let stored = compacted_key(partition, key);
        let bytes = self.store.get(self.space(topic), &stored).map_err(LocalError::from)?;
        bytes
            .map(|bytes| stored_record(topic, partition, &stored, &bytes))
            .transpose()
            .map_err(BusError::from)
    }
}

/// A reader of one topic.
struct LocalTail {
    log: Arc<LocalLog>,
    topic: &'static TopicSpec,
    cursors: Vec<u64>,
    seen: u64,
}

impl Tail for LocalTail {
    fn next(&mut self, records_max: usize, wait: Duration) -> Result<Vec<LogRecord>, BusError> {
        let until = Instant::now() + wait;
        loop {
            let mut records = Vec::new();
            for (partition, cursor) in (0..).zip(&mut self.cursors) {
                let batch = self.log.read(self.topic, partition, *cursor, records_max)?;
                if let Some(last) = batch.last() {
                    *cursor = last.offset + 1;
                }
                records.extend(batch);
            }
            let left = until.saturating_duration_since(Instant::now());
            if !records.is_empty() || left.is_zero() {
                return Ok(records);
            }
            self.seen = self.log.wait(self.seen, left);
        }
    }
}

pub(crate) fn get_row(
    store: &dyn Store,
    space: Space,
    table: &TableSpec,
    partition: u32,
    key: &[u8],
) -> Result<Option<Row>, BusError> {
    let bytes = store
        .get(space, &table_key(partition, table.number, key))
        .map_err(|error| BusError::fatal("read a table", error))?;
    Ok(bytes.map(stored_row))
}

pub(crate) fn scan_rows(
    store: &dyn Store,
    space: Space,
    table: &TableSpec,
    partition: u32,
    from: &[u8],
    rows_max: usize,
) -> Result<Vec<(Vec<u8>, Row)>, BusError> {
    let prefix = table_key(partition, table.number, b"");
    let pairs = store
        .range(space, &table_key(partition, table.number, from), &after_prefix(&prefix), rows_max)
        .map_err(|error| BusError::fatal("scan a table", error))?;
    Ok(pairs.into_iter().map(|(key, bytes)| (key[prefix.len()..].to_vec(), stored_row(bytes))).collect())
}

pub(crate) fn table_change(space: Space, write: TableWrite) -> Change {
    let value = write.value.map(|value| [write.touched.to_be_bytes().as_slice(), &value].concat());
    Change { space, key: table_key(write.partition, write.table, &write.key), value }
}

fn stored_row(bytes: Vec<u8>) -> Row {
    match bytes.split_first_chunk::<8>() {
        Some((touched, value)) => Row { touched: TimeMs::from_be_bytes(*touched), value: value.to_vec() },
        None => Row { touched: 0, value: Vec::new() },
    }
}

fn table_key(partition: u32, table: u8, key: &[u8]) -> Vec<u8> {
    [partition.to_be_bytes().as_slice(), &[table], key].concat()
}

fn position_key(group: &str, topic: &TopicSpec, partition: u32) -> Vec<u8> {
    format!("{group}\0{}\0{partition}", topic.name).into_bytes()
}

fn log_key(partition: u32, offset: u64) -> Vec<u8> {
    [partition.to_be_bytes().as_slice(), &offset.to_be_bytes()].concat()
}

fn compacted_key(partition: u32, key: &[u8]) -> Vec<u8> {
    [partition.to_be_bytes().as_slice(), key].concat()
}

/// Returns the change that appends a record; in a compacted topic it takes the place of the key's last.
fn log_change(space: Space, record: &NewRecord, offset: u64, time: TimeMs) -> Change {
    if record.topic.cleanup == Cleanup::Compact {
        let key = compacted_key(record.partition, record.key.as_deref().unwrap_or_default());
        let value = record.value.is_some().then(|| encode_stored(record, offset, time));
        return Change { space, key, value };
    }
    Change { space, key: log_key(record.partition, offset), value: Some(encode_stored(record, offset, time)) }
}

fn read_end(
    store: &dyn Store,
    space: Space,
    topic: &'static TopicSpec,
    partition: u32,
) -> Result<End, LocalError> {
    let from = partition.to_be_bytes();
    let to = after_prefix(&from);
    if topic.cleanup != Cleanup::Compact {
        let Some((key, bytes)) = store.last(space, &from, &to)? else { return Ok(End::default()) };
        let record = stored_record(topic, partition, &key, &bytes)?;
        return Ok(End { offset: record.offset + 1, time: record.time });
    }
    let mut end = End::default();
    for (key, bytes) in store.range(space, &from, &to, usize::MAX)? {
        let record = stored_record(topic, partition, &key, &bytes)?;
        end = End { offset: end.offset.max(record.offset + 1), time: end.time.max(record.time) };
    }
    Ok(end)
}

fn encode_stored(record: &NewRecord, offset: u64, time: TimeMs) -> Vec<u8> {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let mut out = Vec::with_capacity(length(&record.key) + length(&record.value) + 32);
    out.extend_from_slice(&time.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    for part in [&record.key, &record.value] {
        put_bytes(&mut out, part.as_deref());
    }
    for header in &record.headers {
        put_bytes(&mut out, Some(header.name.as_bytes()));
        put_bytes(&mut out, Some(&header.value));
    }
    out
}

/// Appends a length and bytes; the largest length stands for none.
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(u32::MAX, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    if length == u32::MAX {
        *rest = after;
        return Some(None);
    }
    let (bytes, after) = after.split_at_checked(length as usize)?;
    *rest = after;
    Some(Some(bytes))
}

fn stored_record(
    topic: &'static TopicSpec,
    partition: u32,
    key: &[u8],
    bytes: &[u8],
) -> Result<LogRecord, LocalError> {
    let decode = || {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        let (offset, mut rest) = rest.split_first_chunk::<8>()?;
        let record_key = take_bytes(&mut rest)?.map(<[u8]>::to_vec);
        let value = take_bytes(&mut rest)?.map(<[u8]>::to_vec);
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let name = std::str::from_utf8(take_bytes(&mut rest)??).ok()?;
            headers.push(Header::new(name, take_bytes(&mut rest)??));
        }
        let (time, offset) = (TimeMs::from_be_bytes(*time), u64::from_be_bytes(*offset));
        Some(LogRecord { topic, partition, offset, time, key: record_key, value, headers })
    };
    let offset = key.get(4..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    decode().ok_or(LocalError::Damaged { topic: topic.name, partition, offset })
}
