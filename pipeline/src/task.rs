//! A task: one partition of the hosted operators. It turns records into the effects of a step.
//!
//! Records of a partition are handled one after the other, by time, topic and offset. Between two hosted operators a
//! record passes in memory, without encoding, where its key belongs to the partition; elsewhere it is written. Timers
//! fire as soon as an operator's time has reached them, before the next record, so that where steps are cut changes
//! nothing.

use crate::bus::{Bus, Commit, Position};
use crate::clock::OperatorClock;
use crate::error::{BusError, RunnerError};
use crate::hosting::Hosting;
use crate::operator::{Descriptor, Event, Reject, TimeSource, Timer};
use crate::record::{ATTEMPTS_HEADER, HANDLED_HEADER, Header, LogRecord, NewRecord};
use crate::step::{Emitted, Journal, Step, Tables};
use crate::table::{CLOCK, Row, TIMERS, TableWrite};
use crate::telemetry;
use schemas::topic::{DEAD_LETTER, IMAGES, STEPS};
use schemas::{
    Clock, DeadLetter, DecodeError, Key, Marker, Message, Progress, StepRange, StepRecord, TimeMs, TopicSpec,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Rows of a table that are looked at for expiry in one step, at the least.
const PURGE_ROWS_MIN: usize = 200;
/// Operator time between two looks.
const PURGE_INTERVAL_MS: TimeMs = 1_000;
/// Timers that are read from the table at once.
const TIMER_ROWS: usize = 10_000;

/// One partition of the hosted operators.
pub struct Task {
    partition: u32,
    hosting: Arc<Hosting>,
    states: Vec<OperatorState>,
}

/// What a task keeps of one operator between steps; all of it is also in the tables.
struct OperatorState {
    clock: OperatorClock,
    timers: BTreeSet<Timer>,
    tables: Tables,
    /// The clock as the table has it.
    saved: Clock,
    /// The progress that was last written.
    told: TimeMs,
    /// Timers touched in this step, with whether they were set before it.
    timers_before: BTreeMap<Timer, bool>,
    purge_from: Vec<Vec<u8>>,
    purged_at: TimeMs,
    handled: usize,
}

/// A record on its way to an operator.
struct Delivery {
    operator: usize,
    event: Event<Message>,
}

impl Task {
    /// Takes up a partition where its tables left off.
    pub fn restore(hosting: Arc<Hosting>, bus: &dyn Bus, partition: u32) -> Result<Self, RunnerError> {
        let mut states = Vec::new();
        for operator in &hosting.operators {
            let descriptor = operator.descriptor();
            let mut clock = OperatorClock::new(&descriptor.time, |name| hosting.hosts(name));
            if let Some(row) = bus.get(descriptor.name, &CLOCK, partition, b"")? {
                clock.restore(&decode_clock(&hosting, descriptor.name, partition, &row)?);
            }
            for (kind, hash) in clock.controls() {
                ensure_loaded(&hosting, bus, kind, hash)?;
            }
            states.push(OperatorState {
                saved: clock.row(),
                told: TimeMs::MIN,
                clock,
                timers: read_timers(bus, descriptor.name, partition)?,
                tables: Tables::default(),
                timers_before: BTreeMap::new(),
                purge_from: vec![Vec::new(); descriptor.tables.len()],
                purged_at: TimeMs::MIN,
                handled: 0,
            });
        }
        Ok(Self { partition, hosting, states })
    }

    /// Handles records and returns the effects. After an error the task is spent and has to be restored.
    pub fn run(&mut self, bus: &dyn Bus, records: Vec<LogRecord>) -> Result<Commit, RunnerError> {
        let mut commit = Commit::default();
        let mut ranges = Vec::new();
        let mut time = TimeMs::MIN;
        let count = records.len();
        for record in merge(records, &mut ranges) {
            time = time.max(record.time);
            self.handle_record(bus, &record, &mut commit)?;
            self.settle(bus, &record, &mut commit)?;
        }
        if ranges.is_empty() {
            return Ok(commit);
        }
        self.tell_progress(&mut commit)?;
        self.save(bus, &mut commit)?;
        telemetry::records_read(self.partition, count);
        let partition = self.partition;
        let position =
            |range: &(&'static TopicSpec, u64, u64)| Position { topic: range.0, partition, next: range.2 };
        commit.positions = ranges.iter().map(position).collect();
        if self.hosting.records_steps() && !(commit.records.is_empty() && commit.writes.is_empty()) {
            commit.records.push(self.step_record(&ranges, time)?);
        }
        Ok(commit)
    }

    /// Returns the time of each hosted operator by name.
    pub fn times(&self) -> impl Iterator<Item = (&'static str, TimeMs)> + '_ {
        self.states
            .iter()
            .enumerate()
            .map(|(index, state)| (self.hosting.operators[index].descriptor().name, state.clock.time()))
    }

    fn handle_record(
        &mut self,
        bus: &dyn Bus,
        record: &LogRecord,
        commit: &mut Commit,
    ) -> Result<(), RunnerError> {
        let hosting = Arc::clone(&self.hosting);
        let readers: Vec<usize> = hosting
            .hosted_readers(record.topic)
            .filter(|index| !is_handled(hosting.operators[*index].descriptor(), record))
            .collect();
        for index in &readers {
            self.states[*index].clock.read_input(record.time);
        }
        if readers.is_empty() || record.is_tick() {
            return Ok(());
        }
        let message = match decode(&hosting, record)? {
            Ok(message) => message,
            Err(reject) => {
                let operator = hosting.operators[readers[0]].descriptor().name;
                return self.dead_letter(operator, record, None, &reject, commit);
            }
        };
        let key = record.key.clone().map(Key::from_bytes);
        for operator in readers {
            match &message {
                Message::Progress(progress) => {
                    self.states[operator].clock.hear(&progress.operator, progress.time)
                }
                _ => {
                    if let Message::Marker(marker) = &message {
                        self.take_marker(bus, operator, marker)?;
                    }
                    let event = Event { input: message.clone(), key: key.clone(), append_time: record.time };
                    self.deliver(bus, Delivery { operator, event }, record, commit)?;
                }
            }
        }
        Ok(())
    }

    fn take_marker(&mut self, bus: &dyn Bus, operator: usize, marker: &Marker) -> Result<(), RunnerError> {
        ensure_loaded(&self.hosting, bus, &marker.kind, &marker.hash)?;
        self.states[operator].clock.set_control(&marker.kind, &marker.hash);
        Ok(())
    }

    /// Hands a record to an operator, and what it emits to the hosted readers, until nothing is on its way.
    fn deliver(
        &mut self,
        bus: &dyn Bus,
        first: Delivery,
        record: &LogRecord,
        commit: &mut Commit,
    ) -> Result<(), RunnerError> {
        let mut under_way = VecDeque::from([first]);
        while let Some(delivery) = under_way.pop_front() {
            self.states[delivery.operator].handled += 1;
            let message = delivery.event.input.clone();
            let append_time = delivery.event.append_time;
            let operator = Arc::clone(&self.hosting.operators[delivery.operator]);
            let outcome = self.step(bus, delivery.operator, append_time, |step| {
                operator.on_message(delivery.event, step)
            })?;
            match outcome {
                Ok(emitted) => self.route(emitted, &mut under_way, commit),
                Err(reject) => {
                    self.dead_letter(operator.descriptor().name, record, Some(&message), &reject, commit)?;
                }
            }
        }
        Ok(())
    }

    /// Passes progress between hosted operators and fires what is due, until nothing moves any more.
    fn settle(&mut self, bus: &dyn Bus, record: &LogRecord, commit: &mut Commit) -> Result<(), RunnerError> {
        loop {
            self.pass_progress();
            let due = (0..self.states.len()).find_map(|index| {
                let state = &self.states[index];
                let first = state.timers.first()?;
                (first.at <= state.clock.time()).then(|| (index, first.clone()))
            });
            let Some((index, timer)) = due else { return Ok(()) };
            self.fire(bus, index, &timer, record, commit)?;
        }
    }

    fn pass_progress(&mut self) {
        for from in 0..self.states.len() {
            let time = self.states[from].clock.time();
            let descriptor = self.hosting.operators[from].descriptor();
            for topic in descriptor.progress_to {
                for to in self.hosting.hosted_readers(topic) {
                    self.states[to].clock.hear(descriptor.name, time);
                }
            }
        }
    }

    fn fire(
        &mut self,
        bus: &dyn Bus,
        index: usize,
        timer: &Timer,
        record: &LogRecord,
        commit: &mut Commit,
    ) -> Result<(), RunnerError> {
        let state = &mut self.states[index];
        state.timers.remove(timer);
        state.timers_before.entry(timer.clone()).or_insert(true);
        let operator = Arc::clone(&self.hosting.operators[index]);
        match self.step(bus, index, timer.at, |step| operator.on_timer(timer, step))? {
            Ok(emitted) => {
                let mut under_way = VecDeque::new();
                self.route(emitted, &mut under_way, commit);
                while let Some(delivery) = under_way.pop_front() {
                    self.deliver(bus, delivery, record, commit)?;
                }
                Ok(())
            }
            Err(reject) => self.dead_letter(operator.descriptor().name, record, None, &reject, commit),
        }
    }

    /// Runs one call of an operator; what a rejected call has done is undone.
    fn step(
        &mut self,
        bus: &dyn Bus,
        index: usize,
        append_time: TimeMs,
        call: impl FnOnce(&mut Step<'_>) -> Result<(), Reject>,
    ) -> Result<Result<Vec<Ready>, Reject>, RunnerError> {
        let state = &mut self.states[index];
        let (mut emitted, mut journal, mut failure) = (Vec::new(), Journal::default(), None);
        let mut step = Step {
            operator: self.hosting.operators[index].descriptor(),
            partition: self.partition,
            partitions: self.hosting.partitions,
            append_time,
            clock: &state.clock,
            tables: &mut state.tables,
            bus,
            codec: &self.hosting.codec,
            emitted: &mut emitted,
            journal: &mut journal,
            failure: &mut failure,
        };
        let outcome = call(&mut step);
        if let Some(failure) = failure {
            return Err(failure);
        }
        let ready = outcome.and_then(|()| self.make_ready(index, emitted));
        let state = &mut self.states[index];
        if ready.is_err() {
            state.tables.undo(&mut journal);
            return Ok(ready);
        }
        for timer in journal.timers_cancelled.drain(..) {
            if state.timers.remove(&timer) {
                state.timers_before.entry(timer).or_insert(true);
            }
        }
        for timer in journal.timers_set.drain(..) {
            if state.timers.insert(timer.clone()) {
                state.timers_before.entry(timer).or_insert(false);
            }
        }
        journal.clear();
        Ok(ready)
    }

    /// Encodes what has to be written, so that a record too large for its topic is refused with its event.
    fn make_ready(&self, index: usize, emitted: Vec<Emitted>) -> Result<Vec<Ready>, Reject> {
        let operator = self.hosting.operators[index].descriptor();
        let mut ready = Vec::with_capacity(emitted.len());
        for emitted in emitted {
            let passes = emitted.partition == self.partition
                && self.hosting.hosted_readers(emitted.topic).next().is_some();
            let mut bytes = None;
            if self.hosting.must_write(emitted.topic, passes) {
                let mut encoded = Vec::with_capacity(512);
                emitted
                    .message
                    .encode(&self.hosting.codec, &mut encoded)
                    .map_err(|error| Reject::new("not_encodable", error.to_string()))?;
                if encoded.len() > emitted.topic.record_bytes_max as usize {
                    let detail = format!(
                        "{} made {} bytes for topic {}, of at most {}",
                        operator.name,
                        encoded.len(),
                        emitted.topic.name,
                        emitted.topic.record_bytes_max
                    );
                    return Err(Reject::new("result_too_large", detail));
                }
                bytes = Some(encoded);
            }
            ready.push(Ready { emitted, passes, bytes });
        }
        Ok(ready)
    }

    fn route(&self, ready: Vec<Ready>, under_way: &mut VecDeque<Delivery>, commit: &mut Commit) {
        for Ready { emitted, passes, bytes } in ready {
            if passes {
                for operator in self.hosting.hosted_readers(emitted.topic) {
                    let event = Event {
                        input: emitted.message.clone(),
                        key: Some(emitted.key.clone()),
                        append_time: emitted.time,
                    };
                    under_way.push_back(Delivery { operator, event });
                }
            }
            if let Some(bytes) = bytes {
                let mut headers = emitted.headers;
                if passes {
                    headers.push(Header::new(HANDLED_HEADER, self.hosting.handled_by(emitted.topic)));
                }
                commit.records.push(NewRecord {
                    topic: emitted.topic,
                    partition: emitted.partition,
                    key: Some(emitted.key.as_bytes().to_vec()),
                    value: Some(bytes),
                    headers,
                    time: emitted.time,
                });
            }
        }
    }

    /// Tells operators elsewhere how far the hosted ones have come.
    fn tell_progress(&mut self, commit: &mut Commit) -> Result<(), RunnerError> {
        for index in 0..self.states.len() {
            let descriptor = self.hosting.operators[index].descriptor();
            let time = self.states[index].clock.time();
            if time <= self.states[index].told {
                continue;
            }
            for topic in descriptor.progress_to.iter().filter(|topic| self.hosting.read_elsewhere(topic)) {
                let message = Message::from(Progress { operator: descriptor.name.to_owned(), time });
                let mut headers = Vec::new();
                if self.hosting.hosted_readers(topic).next().is_some() {
                    headers.push(Header::new(HANDLED_HEADER, self.hosting.handled_by(topic)));
                }
                let value = Some(encode(&self.hosting, descriptor.name, &message)?);
                commit.records.push(NewRecord {
                    topic,
                    partition: self.partition,
                    key: None,
                    value,
                    headers,
                    time,
                });
            }
            self.states[index].told = time;
        }
        Ok(())
    }

    /// Writes the rows, timers and clocks that the step has changed.
    fn save(&mut self, bus: &dyn Bus, commit: &mut Commit) -> Result<(), RunnerError> {
        let partition = self.partition;
        let hosting = Arc::clone(&self.hosting);
        for (index, state) in self.states.iter_mut().enumerate() {
            let operator = hosting.operators[index].descriptor().name;
            purge(&hosting, bus, index, partition, state, commit)?;
            for (table, key, row) in state.tables.written() {
                let value = match &row.message {
                    Some(message) => Some(encode(&hosting, operator, message)?),
                    None => None,
                };
                commit.writes.push(TableWrite {
                    operator,
                    table,
                    partition,
                    key,
                    value,
                    touched: row.touched,
                });
            }
            let touched = state.clock.time();
            for (timer, before) in std::mem::take(&mut state.timers_before) {
                // A timer that was set and taken away within the step leaves nothing behind.
                let now = state.timers.contains(&timer);
                if now != before {
                    let value = now.then(Vec::new);
                    commit.writes.push(TableWrite {
                        operator,
                        table: TIMERS.number,
                        partition,
                        key: timer_key(&timer),
                        value,
                        touched,
                    });
                }
            }
            let row = state.clock.row();
            if row != state.saved {
                let value = Some(encode(&hosting, operator, &Message::from(row.clone()))?);
                commit.writes.push(TableWrite {
                    operator,
                    table: CLOCK.number,
                    partition,
                    key: Vec::new(),
                    value,
                    touched,
                });
                state.saved = row;
            }
        }
        Ok(())
    }

    fn dead_letter(
        &self,
        operator: &'static str,
        record: &LogRecord,
        message: Option<&Message>,
        reject: &Reject,
        commit: &mut Commit,
    ) -> Result<(), RunnerError> {
        telemetry::rejected(operator, reject.reason);
        let bytes = match message {
            Some(message) if record.value.is_none() => encode(&self.hosting, operator, message)?,
            _ => record.value.clone().unwrap_or_default(),
        };
        let kept =
            record.topic.name != IMAGES.name && bytes.len() < (DEAD_LETTER.record_bytes_max / 2) as usize;
        let session = record.key.clone().map(Key::from_bytes);
        let ids = session.as_ref().and_then(Key::session);
        let letter = DeadLetter {
            topic: record.topic.name.to_owned(),
            partition: i32::try_from(record.partition).unwrap_or(i32::MAX),
            offset: i64::try_from(record.offset).unwrap_or(i64::MAX),
            operator: operator.to_owned(),
            reason: reject.reason.to_owned(),
            detail: reject.detail.clone(),
            tenant: ids.map(|(tenant, _)| tenant.to_owned()),
            session_id: ids.map(|(_, session_id)| session_id.to_owned()),
            key: record.key.clone().map(serde_bytes::ByteBuf::from),
            value_sha256: schemas::sha256_hex(&bytes),
            value_size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            value: kept.then(|| serde_bytes::ByteBuf::from(bytes)),
            append_time: record.time,
            attempts: record.header(ATTEMPTS_HEADER).and_then(|attempts| attempts.parse().ok()).unwrap_or(0),
            ..DeadLetter::default()
        };
        let value = Some(encode(&self.hosting, operator, &Message::from(letter))?);
        commit.records.push(NewRecord {
            topic: &DEAD_LETTER,
            partition: self.partition,
            key: record.key.clone(),
            value,
            headers: vec![Header::new("reason", reject.reason)],
            time: record.time,
        });
        Ok(())
    }

    fn step_record(
        &self,
        ranges: &[(&'static TopicSpec, u64, u64)],
        time: TimeMs,
    ) -> Result<NewRecord, RunnerError> {
        let group = self.hosting.name();
        let signed = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        let range = |(topic, from, to): &(&'static TopicSpec, u64, u64)| StepRange {
            topic: topic.name.to_owned(),
            from: signed(*from),
            to: signed(*to),
        };
        let step = StepRecord {
            group: group.clone(),
            partition: i32::try_from(self.partition).unwrap_or(i32::MAX),
            time,
            ranges: ranges.iter().map(range).collect(),
        };
        let value = Some(encode(&self.hosting, "steps", &Message::from(step))?);
        let key = Some(group.into_bytes());
        Ok(NewRecord { topic: &STEPS, partition: self.partition, key, value, headers: Vec::new(), time })
    }
}

/// Tells whether an operator has handled a record in memory. On a topic that anybody writes, the first operators' own,
/// the header that says so is forged.
fn is_handled(operator: &Descriptor, record: &LogRecord) -> bool {
    operator.time != TimeSource::AppendTime && record.was_handled_by(operator.name)
}

/// An emitted record, encoded where it has to be written.
struct Ready {
    emitted: Emitted,
    passes: bool,
    bytes: Option<Vec<u8>>,
}

/// Brings the records of a step into their order: by time, topic and offset, each topic in order of its offsets.
fn merge(
    records: Vec<LogRecord>,
    ranges: &mut Vec<(&'static TopicSpec, u64, u64)>,
) -> impl Iterator<Item = LogRecord> {
    let mut queues: Vec<VecDeque<LogRecord>> = Vec::new();
    for record in records {
        match ranges.iter_mut().position(|(topic, ..)| topic.name == record.topic.name) {
            Some(place) => {
                ranges[place].2 = record.offset + 1;
                queues[place].push_back(record);
            }
            None => {
                ranges.push((record.topic, record.offset, record.offset + 1));
                queues.push(VecDeque::from([record]));
            }
        }
    }
    std::iter::from_fn(move || {
        let heads = queues
            .iter()
            .enumerate()
            .filter_map(|(place, queue)| queue.front().map(|head| (head.time, head.topic.name, place)));
        let (_, _, place) = heads.min()?;
        queues[place].pop_front()
    })
}

/// Looks at some rows of each table whose rows expire, and deletes those that have.
fn purge(
    hosting: &Hosting,
    bus: &dyn Bus,
    index: usize,
    partition: u32,
    state: &mut OperatorState,
    commit: &mut Commit,
) -> Result<(), RunnerError> {
    let descriptor = hosting.operators[index].descriptor();
    let time = state.clock.time();
    if time < state.purged_at.saturating_add(PURGE_INTERVAL_MS) {
        return Ok(());
    }
    // More rows are looked at than were written, so that the table does not outgrow the look.
    let rows_max = PURGE_ROWS_MIN.max(2 * std::mem::take(&mut state.handled));
    state.purged_at = time;
    for (number, table) in descriptor.tables.iter().enumerate() {
        let Some(ttl_ms) = table.ttl_ms else { continue };
        let rows = bus.scan(descriptor.name, table, partition, &state.purge_from[number], rows_max)?;
        state.purge_from[number] = match rows.last() {
            Some((key, _)) if rows.len() == rows_max => [key.as_slice(), &[0]].concat(),
            _ => Vec::new(),
        };
        for (key, row) in rows {
            let expired = row.touched.saturating_add(ttl_ms) < time;
            if expired && !state.tables.is_written(table.number, &key) {
                let (operator, table) = (descriptor.name, table.number);
                commit.writes.push(TableWrite {
                    operator,
                    table,
                    partition,
                    key,
                    value: None,
                    touched: time,
                });
            }
        }
    }
    Ok(())
}

/// Reads a record. Bad bytes are a reject; a schema registry that does not answer is a failing world, in which the step
/// is done again: a good record must not end among the dead letters for it.
fn decode(hosting: &Hosting, record: &LogRecord) -> Result<Result<Message, Reject>, RunnerError> {
    let Some(bytes) = record.value.as_deref() else {
        return Ok(Err(Reject::new("empty", "the record has no value")));
    };
    if bytes.len() > record.topic.record_bytes_max as usize {
        let detail = format!("{} bytes, of at most {}", bytes.len(), record.topic.record_bytes_max);
        return Ok(Err(Reject::new("too_large", detail)));
    }
    match Message::decode(&hosting.codec, record.topic, bytes) {
        Err(error @ DecodeError::RegistryUnavailable { .. }) => {
            Err(BusError::abort("look a schema up", error).into())
        }
        decoded => Ok(decoded.map_err(|error| Reject::new("undecodable", error.to_string()))),
    }
}

fn encode(hosting: &Hosting, operator: &'static str, message: &Message) -> Result<Vec<u8>, RunnerError> {
    let mut bytes = Vec::with_capacity(512);
    message.encode(&hosting.codec, &mut bytes).map_err(|source| RunnerError::Encode { operator, source })?;
    Ok(bytes)
}

/// Loads what a marker names, if it is not loaded yet.
fn ensure_loaded(hosting: &Hosting, bus: &dyn Bus, kind: &str, hash: &str) -> Result<(), RunnerError> {
    let Some(library) = hosting.libraries.iter().find(|library| library.kind() == kind) else {
        return Ok(());
    };
    if library.has(hash) {
        return Ok(());
    }
    let failed =
        |reason: String| RunnerError::Control { kind: kind.to_owned(), hash: hash.to_owned(), reason };
    let records = bus.read_compacted(library.topic())?;
    let record = records.into_iter().find(|record| record.key.as_deref() == Some(hash.as_bytes()));
    let record = record.ok_or_else(|| failed(format!("topic {} does not hold it", library.topic().name)))?;
    let message = decode(hosting, &record)?.map_err(|reject| failed(reject.detail))?;
    library.load(&message).map_err(failed)
}

fn decode_clock(
    hosting: &Hosting,
    operator: &'static str,
    partition: u32,
    row: &Row,
) -> Result<Clock, RunnerError> {
    let state = |source| RunnerError::State { operator, table: CLOCK.name, partition, source };
    hosting.codec.decode::<Clock>(&row.value).map_err(state)
}

fn timer_key(timer: &Timer) -> Vec<u8> {
    // With the sign bit flipped, times before 1970 too are in the order of their bytes.
    let at = (timer.at as u64) ^ (1 << 63);
    [at.to_be_bytes().as_slice(), &timer.key].concat()
}

/// Returns the timer that a key of the table of timers stands for.
pub(crate) fn timer_from_key(key: &[u8]) -> Option<Timer> {
    let (at, key) = key.split_first_chunk::<8>()?;
    let at = (u64::from_be_bytes(*at) ^ (1 << 63)) as TimeMs;
    Some(Timer { at, key: key.to_vec() })
}

fn read_timers(bus: &dyn Bus, operator: &'static str, partition: u32) -> Result<BTreeSet<Timer>, BusError> {
    let mut timers = BTreeSet::new();
    let mut from = Vec::new();
    loop {
        let rows = bus.scan(operator, &TIMERS, partition, &from, TIMER_ROWS)?;
        let Some((last, _)) = rows.last() else { return Ok(timers) };
        from = [last.as_slice(), &[0]].concat();
        for (key, _) in rows {
            timers.extend(timer_from_key(&key));
        }
    }
}
