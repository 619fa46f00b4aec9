//! Tables of a worker: a copy in a local store, which follows a changelog in the cluster.
//!
//! The changelog is the truth, and the copy is never ahead of it: rows are written to it only once the transaction that
//! wrote them to the changelog is committed. Where the process dies between the two, the next one reads the rest of the
//! changelog. A checkpoint says up to where the copy has it.

use super::error::KafkaError;
use super::message::{offset_of, partition_of};
use super::reader::{Onward, Reader};
use super::settings::KafkaSettings;
use super::writer::ChangelogRecord;
use crate::bus::local::table_change;
use crate::bus::{SystemClock, WallClock};
use crate::error::BusError;
use crate::store::{Change, Space, Store, after_prefix};
use crate::table::{TableWrite, changelog};
use rdkafka::message::{BorrowedMessage, Message};
use schemas::TimeMs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The local copies of all tables of a process, shared by its workers.
///
/// One process at a time may have a store open.
pub struct KafkaState {
    store: Arc<dyn Store>,
    checkpoints: Space,
    /// Which worker writes which copy. A worker may be slow to notice that a partition has gone to its neighbour, and
    /// what it still has to write is then in the neighbour's copy already, or older than it.
    owners: Mutex<BTreeMap<(&'static str, u32), u64>>,
    workers: AtomicU64,
}

impl KafkaState {
    /// Takes the copies that a store has.
    pub fn open(store: Arc<dyn Store>) -> Result<Arc<Self>, KafkaError> {
        let checkpoints = store.space("checkpoints")?;
        Ok(Arc::new(Self { store, checkpoints, owners: Mutex::default(), workers: AtomicU64::new(0) }))
    }

    fn checkpoint(&self, operator: &str, partition: u32) -> Result<Option<Reach>, KafkaError> {
        let bytes = self.store.get(self.checkpoints, &checkpoint_key(operator, partition))?;
        Ok(bytes.as_deref().and_then(Reach::decode))
    }

    fn set_checkpoint(&self, operator: &str, partition: u32, reach: Reach) -> Change {
        let value = Some(reach.encode());
        Change { space: self.checkpoints, key: checkpoint_key(operator, partition), value }
    }
}

/// The tables of one worker.
pub(super) struct Tables {
    state: Arc<KafkaState>,
    worker: u64,
    kept: Vec<Kept>,
    partitions: BTreeSet<u32>,
    copies: BTreeMap<Place, Copy>,
}

/// The tables of an operator.
struct Kept {
    operator: &'static str,
    space: Space,
    changelog: String,
}

/// How far a copy has the changelog.
struct Copy {
    reach: Reach,
    saved: Instant,
}

/// How far a copy has the changelog: it is stored as the copy's checkpoint.
#[derive(Clone, Copy)]
struct Reach {
    /// Offset of the next record.
    next: u64,
    /// When nothing was known to come after it: every later record is younger than this.
    time: TimeMs,
}

/// The place of rows: an operator's number and a partition.
type Place = (usize, u32);

/// Rows of a step: first as records of changelogs, then as changes of the copies.
pub(super) struct StepRows {
    places: Vec<Place>,
    /// The rows, each with the number of its place.
    changes: Vec<(usize, Change)>,
}

/// Age from which a copy is not continued but made anew. A deletion stays in a changelog for at least
/// [`DELETION_KEPT_MS`](super::topics::DELETION_KEPT_MS), so up to half of that none can have been missed.
const REACH_AGE_MS_MAX: TimeMs = super::topics::DELETION_KEPT_MS / 2;
/// The time of a copy that is being made: there is nothing to continue where that is interrupted.
const UNFINISHED: TimeMs = TimeMs::MIN;
/// How often the checkpoint of a copy is written. What comes after it is read once more.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Rows that are written at once while a copy catches up.
const RESTORE_ROWS: usize = 5_000;
/// Bytes that are written at once while a copy catches up.
const RESTORE_BYTES: usize = 8 << 20;
/// Wait between two looks whether a transaction that somebody left open has ended.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// Time beyond a transaction's timeout that brokers may take to end it.
const OPEN_MARGIN: Duration = Duration::from_secs(60);
/// Bytes of a key in the store before the key in the changelog: the partition.
const PARTITION_BYTES: usize = 4;

impl Tables {
    pub(super) fn new(
        settings: &KafkaSettings,
        state: Arc<KafkaState>,
        operators: &[&'static str],
    ) -> Result<Self, KafkaError> {
        let mut kept = Vec::new();
        for operator in operators {
            let space = state.store.space(&format!("state.{operator}"))?;
            kept.push(Kept { operator, space, changelog: settings.topic(&changelog(operator)) });
        }
        let worker = state.workers.fetch_add(1, Ordering::Relaxed);
        Ok(Self { state, worker, kept, partitions: BTreeSet::new(), copies: BTreeMap::new() })
    }

    /// Returns the changelogs.
    pub(super) fn changelogs(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(|kept| kept.changelog.as_str())
    }

    /// Returns the store of the copies.
    pub(super) fn store(&self) -> &dyn Store {
        self.state.store.as_ref()
    }

    /// Returns the space of an operator's copy.
    pub(super) fn space(&self, operator: &'static str) -> Result<Space, KafkaError> {
        Ok(self.kept[self.place(operator)?].space)
    }

    fn place(&self, operator: &'static str) -> Result<usize, KafkaError> {
        let place = self.kept.iter().position(|kept| kept.operator == operator);
        place.ok_or(KafkaError::NoTables { operator })
    }

    /// Returns the rows of a step.
    pub(super) fn rows(&self, writes: Vec<TableWrite>) -> Result<StepRows, KafkaError> {
        let mut rows = StepRows { places: Vec::new(), changes: Vec::with_capacity(writes.len()) };
        for write in writes {
            let kept = self.place(write.operator)?;
            let place = rows.place((kept, write.partition));
            rows.changes.push((place, table_change(self.kept[kept].space, write)));
        }
        Ok(rows)
    }

    /// Returns the rows as records of the changelogs. Both have a row's time in its value: a record's own time cannot
    /// be zero or less.
    pub(super) fn records<'a>(&'a self, rows: &'a StepRows) -> Vec<ChangelogRecord<'a>> {
        let record = |(place, change): &'a (usize, Change)| {
            let (kept, partition) = rows.places[*place];
            ChangelogRecord {
                topic: &self.kept[kept].changelog,
                partition,
                key: &change.key[PARTITION_BYTES..],
                value: change.value.as_deref(),
                place: place + 1,
            }
        };
        rows.changes.iter().map(record).collect()
    }

    /// Writes the rows of a committed step to the copies; `ends` are the offsets after each place's last record.
    pub(super) fn apply(&mut self, rows: StepRows, ends: &[Option<u64>]) -> Result<(), KafkaError> {
        let mut changes = Vec::with_capacity(rows.changes.len() + rows.places.len());
        let owners = self.state.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let is_owner = |(kept, partition): &Place| {
            owners.get(&(self.kept[*kept].operator, *partition)) == Some(&self.worker)
        };
        let mine: Vec<bool> = rows.places.iter().map(is_owner).collect();
        changes.extend(rows.changes.into_iter().filter(|(place, _)| mine[*place]).map(|(_, change)| change));
        let (now, time) = (Instant::now(), SystemClock.now_ms());
        for ((place, end), mine) in rows.places.iter().zip(ends).zip(mine) {
            let (Some(copy), Some(end), true) = (self.copies.get_mut(place), end, mine) else { continue };
            copy.reach = Reach { next: copy.reach.next.max(*end), time };
            if now.duration_since(copy.saved) > CHECKPOINT_INTERVAL {
                copy.saved = now;
                changes.push(self.state.set_checkpoint(self.kept[place.0].operator, place.1, copy.reach));
            }
        }
        // The lock is held until the rows are written: a neighbour that takes the partition over reads them.
        self.state.store.write(changes, false)?;
        Ok(())
    }

    /// Writes how far the copies have their changelogs, so that the next worker reads no more than it must.
    pub(super) fn save_checkpoints(&self) -> Result<(), KafkaError> {
        let owners = self.state.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        for ((kept, partition), copy) in &self.copies {
            let operator = self.kept[*kept].operator;
            if owners.get(&(operator, *partition)) == Some(&self.worker) && copy.reach.time != UNFINISHED {
                changes.push(self.state.set_checkpoint(operator, *partition, copy.reach));
            }
        }
        Ok(self.state.store.write(changes, false)?)
    }

    /// Gives up the copies of partitions that are not this worker's any more, and takes those of its new ones.
    pub(super) fn own(&mut self, partitions: &[u32]) -> Result<(), KafkaError> {
        self.save_checkpoints()?;
        self.copies.clear();
        self.partitions = partitions.iter().copied().collect();
        let mut owners = self.state.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, worker| *worker != self.worker);
        for kept in &self.kept {
            for partition in partitions {
                owners.insert((kept.operator, *partition), self.worker);
            }
        }
        Ok(())
    }

    /// Brings the copies of the worker's partitions up to date, and tells whether it got there. `idle` may stop it.
    ///
    /// Up to date is what the changelogs held when this began. A transaction that a dead worker left open hides what
    /// comes after it, so its end is waited for.
    pub(super) fn restore(
        &mut self,
        settings: &KafkaSettings,
        mut idle: impl FnMut() -> Result<Onward, BusError>,
    ) -> Result<bool, BusError> {
        if self.kept.is_empty() || self.partitions.is_empty() {
            return Ok(true);
        }
        let failed = |error: KafkaError| error.into_bus("restore the tables");
        let time = SystemClock.now_ms();
        let mut behind = self.behind(&Reader::uncommitted(settings).map_err(failed)?).map_err(failed)?;
        if behind.is_empty() {
            self.finish(time).map_err(failed)?;
            return Ok(true);
        }
        let reader = Reader::committed(settings).map_err(failed)?;
        let patience = settings.transaction_timeout + OPEN_MARGIN;
        let began = Instant::now();
        loop {
            let ends = self.visible_ends(&reader, &behind).map_err(failed)?;
            for kept in 0..self.kept.len() {
                if !self.catch_up(&reader, kept, &ends, &mut idle)? {
                    return Ok(false);
                }
            }
            behind.retain(|place, end| ends.get(place).is_none_or(|visible| visible < end));
            if behind.is_empty() {
                self.finish(time).map_err(failed)?;
                return Ok(true);
            }
            if began.elapsed() > patience {
                let what = format!("the end of transactions in {}", self.names_of(&behind));
                return Err(failed(KafkaError::NoAnswer { what, seconds: patience.as_secs() }));
            }
            std::thread::sleep(OPEN_PAUSE);
            if idle()? == Onward::Stop {
                return Ok(false);
            }
        }
    }

    /// Notes that the copies have all that was in their changelogs at a time.
    fn finish(&mut self, time: TimeMs) -> Result<(), KafkaError> {
        for copy in self.copies.values_mut() {
            copy.reach.time = copy.reach.time.max(time);
        }
        self.save_checkpoints()
    }

    /// Returns the ends of the changelogs that are longer than their copies, and wipes copies that cannot be continued.
    fn behind(&mut self, reader: &Reader) -> Result<BTreeMap<Place, u64>, KafkaError> {
        let partitions: Vec<u32> = self.partitions.iter().copied().collect();
        let mut behind = BTreeMap::new();
        for kept in 0..self.kept.len() {
            let ends = reader.ends(&self.kept[kept].changelog, &partitions)?;
            for (partition, end) in partitions.iter().zip(ends) {
                let next = self.continue_copy(kept, *partition, end)?;
                if next < end {
                    behind.insert((kept, *partition), end);
                }
            }
        }
        Ok(behind)
    }

    /// Returns how far a copy has its changelog, which ends at `end`.
    fn continue_copy(&mut self, kept: usize, partition: u32, end: u64) -> Result<u64, KafkaError> {
        let operator = self.kept[kept].operator;
        let known = match self.copies.get(&(kept, partition)) {
            Some(copy) => Some(copy.reach),
            None => self.state.checkpoint(operator, partition)?,
        };
        let oldest = SystemClock.now_ms() - REACH_AGE_MS_MAX;
        let reach = match known {
            Some(reach) if reach.time >= oldest && reach.next <= end => reach,
            _ => {
                self.wipe(kept, partition)?;
                Reach { next: 0, time: UNFINISHED }
            }
        };
        self.copies.insert((kept, partition), Copy { reach, saved: Instant::now() });
        Ok(reach.next)
    }

    fn wipe(&self, kept: usize, partition: u32) -> Result<(), KafkaError> {
        let Kept { operator, space, .. } = self.kept[kept];
        // First the checkpoint: a copy that is half wiped has none, and is wiped again.
        let key = checkpoint_key(operator, partition);
        self.state.store.write(vec![Change { space: self.state.checkpoints, key, value: None }], false)?;
        let from = partition.to_be_bytes();
        let to = after_prefix(&from);
        loop {
            let rows = self.state.store.range(space, &from, &to, RESTORE_ROWS)?;
            if rows.is_empty() {
                return Ok(());
            }
            let removed = rows.into_iter().map(|(key, _)| Change { space, key, value: None });
            self.state.store.write(removed.collect(), false)?;
        }
    }

    /// Returns where committed records end, for the changelogs that are longer than their copies.
    fn visible_ends(
        &self,
        reader: &Reader,
        behind: &BTreeMap<Place, u64>,
    ) -> Result<BTreeMap<Place, u64>, KafkaError> {
        let mut visible = BTreeMap::new();
        for (kept, of) in self.kept.iter().enumerate() {
            let partitions: Vec<u32> =
                behind.keys().filter(|place| place.0 == kept).map(|place| place.1).collect();
            let ends = reader.ends(&of.changelog, &partitions)?;
            visible.extend(partitions.into_iter().map(|partition| (kept, partition)).zip(ends));
        }
        Ok(visible)
    }

    /// Reads a changelog from where its copies have it to where its committed records end.
    fn catch_up(
        &mut self,
        reader: &Reader,
        kept: usize,
        ends: &BTreeMap<Place, u64>,
        idle: &mut impl FnMut() -> Result<Onward, BusError>,
    ) -> Result<bool, BusError> {
        let failed = |error: KafkaError| error.into_bus("restore the tables");
        let mut reached = BTreeMap::new();
        for ((_, partition), end) in ends.iter().filter(|(place, _)| place.0 == kept) {
            if let Some(copy) = self.copies.get(&(kept, *partition)).filter(|copy| copy.reach.next < *end) {
                reached.insert(*partition, copy.reach);
            }
        }
        if reached.is_empty() {
            return Ok(true);
        }
        let from: Vec<(u32, u64)> =
            reached.iter().map(|(partition, reach)| (*partition, reach.next)).collect();
        let of = &self.kept[kept];
        let mut catching = CatchUp {
            state: &self.state,
            worker: self.worker,
            kept: of,
            rows: Vec::new(),
            bytes: 0,
            reached,
        };
        let take = |message: &BorrowedMessage<'_>| catching.take(message).map_err(Failure::Kafka);
        let complete = reader
            .read_to_end(&of.changelog, &from, take, || idle().map_err(Failure::Bus))
            .map_err(|failure| match failure {
                Failure::Kafka(error) => failed(error),
                Failure::Bus(error) => error,
            })?;
        let complete = catching.flush().map_err(failed)? == Onward::Continue && complete;
        for (partition, mut reach) in catching.reached {
            if complete {
                // Markers of transactions come after the last record.
                reach.next = reach.next.max(ends.get(&(kept, partition)).copied().unwrap_or(0));
            }
            if let Some(copy) = self.copies.get_mut(&(kept, partition)) {
                copy.reach = reach;
            }
        }
        Ok(complete)
    }

    fn names_of(&self, places: &BTreeMap<Place, u64>) -> String {
        let name = |(kept, partition): &Place| format!("{}[{partition}]", self.kept[*kept].changelog);
        places.keys().map(name).collect::<Vec<_>>().join(", ")
    }
}

impl StepRows {
    /// Returns the number of a place. Rows of a place come together, so the last is the first to look at.
    fn place(&mut self, place: Place) -> usize {
        if let Some(number) = self.places.iter().rposition(|known| *known == place) {
            return number;
        }
        self.places.push(place);
        self.places.len() - 1
    }

    /// Returns how many places the rows are of.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }
}

/// Why reading a changelog failed.
enum Failure {
    Kafka(KafkaError),
    Bus(BusError),
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// Rows of a changelog on their way into a copy.
struct CatchUp<'a> {
    state: &'a KafkaState,
    worker: u64,
    kept: &'a Kept,
    rows: Vec<Change>,
    bytes: usize,
    reached: BTreeMap<u32, Reach>,
}

impl CatchUp<'_> {
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<Onward, KafkaError> {
        let partition = partition_of(message);
        let key = [&partition.to_be_bytes(), message.key().unwrap_or_default()].concat();
        let value = message.payload().map(<[u8]>::to_vec);
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.rows.push(Change { space: self.kept.space, key, value });
        if let Some(reach) = self.reached.get_mut(&partition) {
            reach.next = offset_of(message) + 1;
        }
        if self.rows.len() < RESTORE_ROWS && self.bytes < RESTORE_BYTES {
            return Ok(Onward::Continue);
        }
        self.flush()
    }

    /// Writes the rows with how far they bring the copies, unless somebody else has a copy now.
    fn flush(&mut self) -> Result<Onward, KafkaError> {
        let owners = self.state.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = std::mem::take(&mut self.rows);
        self.bytes = 0;
        for (partition, reach) in &self.reached {
            if owners.get(&(self.kept.operator, *partition)) != Some(&self.worker) {
                return Ok(Onward::Stop);
            }
            if reach.time != UNFINISHED {
                changes.push(self.state.set_checkpoint(self.kept.operator, *partition, *reach));
            }
        }
        self.state.store.write(changes, false)?;
        Ok(Onward::Continue)
    }
}

impl Reach {
    fn encode(&self) -> Vec<u8> {
        [self.next.to_be_bytes(), self.time.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (next, time) = bytes.split_first_chunk::<8>()?;
        let time = TimeMs::from_be_bytes(time.try_into().ok()?);
        Some(Self { next: u64::from_be_bytes(*next), time })
    }
}

fn checkpoint_key(operator: &str, partition: u32) -> Vec<u8> {
    [operator.as_bytes(), &[0], &partition.to_be_bytes()].concat()
}
