//! What a run leaves behind: records, dead letters, rows of tables, timers, and how far operators have come.

use super::Failure;
use super::case::{Case, key_to_text};
use crate::bus::local::{LocalBus, LocalLog};
use crate::bus::{Bus, Edge};
use crate::hosting::Hosting;
use crate::record::LogRecord;
use crate::table::{CLOCK, TIMERS, TableSpec};
use crate::task::timer_from_key;
use schemas::json::{message_to_json, time_to_text};
use schemas::topic::{IMAGES, TOPICS};
use schemas::{Cleanup, Clock, Codec, DeadLetter, Message, Progress, TimeMs, TopicSpec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stands for the version of an operator that is tested, so that a release changes no case.
const THIS_VERSION: &str = "(this version)";

/// What came out of a case. Two are equal where all bytes are.
#[derive(PartialEq)]
pub(super) struct Outcome {
    /// Place and bytes of everything that was written, as far as it does not depend on where steps are cut.
    raw: Vec<(String, Vec<u8>)>,
    shown: Value,
}

impl Outcome {
    /// Reads what is in the log and the tables beside the input.
    pub(super) fn of(case: &Case, log: &Arc<LocalLog>, hosting: &Hosting) -> Result<Self, Failure> {
        let mut reading = Reading { case, log, hosting, raw: Vec::new() };
        let mut shown = Map::new();
        let [records, letters, progress] = reading.records()?;
        let (rows, timers) = reading.tables()?;
        for (name, values) in [
            ("records", records),
            ("dead_letters", letters),
            ("progress", progress),
            ("tables", rows),
            ("timers", timers),
        ] {
            if !values.is_empty() {
                shown.insert(name.into(), values.into());
            }
        }
        Ok(Self { raw: reading.raw, shown: Value::Object(shown) })
    }

    /// Returns what is expected, as a case shows it.
    pub(super) fn to_json(&self) -> Value {
        self.shown.clone()
    }

    /// Returns the first place at which two outcomes have not the same bytes.
    pub(super) fn first_difference(&self, other: &Self) -> String {
        let places = self.raw.iter().zip(&other.raw).find(|(one, other)| one != other);
        places.map_or_else(|| "the last record or row".into(), |((place, _), _)| place.clone())
    }
}

struct Reading<'a> {
    case: &'a Case,
    log: &'a Arc<LocalLog>,
    hosting: &'a Hosting,
    raw: Vec<(String, Vec<u8>)>,
}

impl Reading<'_> {
    /// Returns the records, dead letters and last progress that were written.
    fn records(&mut self) -> Result<[Vec<Value>; 3], Failure> {
        let (mut records, mut letters) = (Vec::new(), Vec::new());
        let mut progress: BTreeMap<(&str, u32, String), TimeMs> = BTreeMap::new();
        for topic in TOPICS {
            for record in self.written(topic)? {
                let message =
                    Message::decode(self.codec(), topic, record.value.as_deref().unwrap_or_default())?;
                match &message {
                    // How often progress is told depends on where steps are cut; how far it comes does not.
                    Message::Progress(told) => {
                        let Progress { operator, time } = told.as_ref().clone();
                        let furthest =
                            progress.entry((topic.name, record.partition, operator)).or_insert(time);
                        *furthest = time.max(*furthest);
                    }
                    Message::DeadLetter(letter) => letters.push(self.letter(letter)?),
                    message => records.push(self.record(&record, message)),
                }
                if !matches!(message, Message::Progress(_)) {
                    self.note(&record);
                }
            }
        }
        let told = |((topic, partition, operator), time): (&(&str, u32, String), &TimeMs)| {
            self.placed(
                *partition,
                json!({ "topic": topic, "operator": operator, "time": time_to_json(*time) }),
            )
        };
        let progress = progress.iter().map(told).collect();
        Ok([records, letters, progress])
    }

    fn codec(&self) -> &Codec {
        &self.hosting.codec
    }

    /// Returns the records of a topic that are not the input's.
    fn written(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, Failure> {
        let mut records = Vec::new();
        for partition in 0..self.log.partitions() {
            let input = |record: &LogRecord| {
                record.offset < self.case.inputs_of(topic, partition, self.log.partitions()).count() as u64
            };
            let found = if topic.cleanup == Cleanup::Compact {
                self.log
                    .read_compacted(topic)?
                    .into_iter()
                    .filter(|record| record.partition == partition)
                    .collect()
            } else {
                self.log.read(topic, partition, 0, usize::MAX)?
            };
            records.extend(found.into_iter().filter(|record| !input(record)));
        }
        Ok(records)
    }

    fn record(&self, record: &LogRecord, message: &Message) -> Value {
        let mut shown = json!({ "topic": record.topic.name, "key": record.key.as_deref().map(key_to_text) });
        if !record.topic.stamped {
            shown["time"] = time_to_json(record.time);
        }
        if !record.headers.is_empty() {
            let text = |value: &[u8]| Value::from(String::from_utf8_lossy(value));
            shown["headers"] = record
                .headers
                .iter()
                .map(|header| (header.name.clone(), text(&header.value)))
                .collect::<Map<_, _>>()
                .into();
        }
        shown["record"] = message.type_name().into();
        shown["value"] = self.value(message);
        self.placed(record.partition, shown)
    }

    fn value(&self, message: &Message) -> Value {
        let mut value = message_to_json(message);
        for operator in &self.hosting.operators {
            hide_version(&mut value, operator.descriptor().version);
        }
        value
    }

    /// Returns a dead letter, after a look whether it holds the record that it names.
    fn letter(&self, letter: &DeadLetter) -> Result<Value, Failure> {
        let place = || format!("{}/{} at {}", letter.topic, letter.partition, letter.offset);
        let topic = schemas::topic::find(&letter.topic)
            .ok_or_else(|| format!("a dead letter names topic {}", letter.topic))?;
        let (partition, offset) = (u32::try_from(letter.partition)?, u64::try_from(letter.offset)?);
        let refused = self.log.read(topic, partition, offset, 1)?;
        let refused = refused.first().filter(|record| record.offset == offset);
        let refused = refused.ok_or_else(|| format!("a dead letter names {}, where nothing is", place()))?;
        let bytes = refused.value.as_deref().unwrap_or_default();
        let kept = letter.value.as_ref().is_none_or(|value| value.as_slice() == bytes);
        let images = topic.name == IMAGES.name;
        if !kept || (images && letter.value.is_some()) || letter.value_sha256 != schemas::sha256_hex(bytes) {
            return Err(format!(
                "the dead letter of {} does not hold what it is to hold of its record",
                place()
            )
            .into());
        }
        if letter.append_time != refused.time || letter.key.as_ref().map(|key| key.to_vec()) != refused.key {
            return Err(format!("the dead letter of {} has another time or key", place()).into());
        }
        let partitions = self.log.partitions();
        let number = self.case.inputs.iter().position(|input| {
            let mut same = self.case.inputs_of(topic, partition, partitions);
            same.nth(offset as usize).is_some_and(|found| std::ptr::eq(found, input))
        });
        let origin = number.map_or_else(|| Value::from(place()), |place| Value::from(place + 1));
        Ok(json!({
            "input": origin,
            "operator": letter.operator,
            "reason": letter.reason,
            "detail": letter.detail,
            "session": letter.session_id.as_ref().map(|session_id| json!([letter.tenant, session_id])),
            "attempts": letter.attempts,
        }))
    }

    /// Returns the rows and the timers that are left. A row that has outlived its table's time is none, whether it was
    /// deleted yet or not.
    fn tables(&mut self) -> Result<(Vec<Value>, Vec<Value>), Failure> {
        let hosting = self.hosting;
        let bus = LocalBus::join(Arc::clone(self.log), "outcome", Vec::new(), &hosting.stateful())?;
        let (mut rows, mut timers) = (Vec::new(), Vec::new());
        for operator in &hosting.operators {
            let descriptor = operator.descriptor();
            for partition in 0..self.log.partitions() {
                let mut time = TimeMs::MIN;
                let all = [&CLOCK, &TIMERS].into_iter().chain(descriptor.tables);
                for table in all {
                    for (key, row) in bus.scan(descriptor.name, table, partition, b"", usize::MAX)? {
                        if table.ttl_ms.is_some_and(|ttl_ms| row.touched.saturating_add(ttl_ms) < time) {
                            continue;
                        }
                        let place =
                            format!("table {} of {}/{partition} at {key:?}", table.name, descriptor.name);
                        self.raw.push((place, [row.touched.to_be_bytes().as_slice(), &row.value].concat()));
                        if *table == CLOCK {
                            time = self.codec().decode::<Clock>(&row.value)?.time;
                        } else if *table == TIMERS {
                            timers.push(self.timer(descriptor.name, partition, &key));
                        } else {
                            rows.push(self.row(
                                descriptor.name,
                                table,
                                partition,
                                &key,
                                row.touched,
                                &row.value,
                            )?);
                        }
                    }
                }
            }
        }
        Ok((rows, timers))
    }

    fn row(
        &self,
        operator: &str,
        table: &TableSpec,
        partition: u32,
        key: &[u8],
        touched: TimeMs,
        bytes: &[u8],
    ) -> Result<Value, Failure> {
        let message = Message::decode_row(self.codec(), bytes)?;
        let shown = json!({
            "operator": operator,
            "table": table.name,
            "key": key_to_text(key),
            "touched": time_to_json(touched),
            "value": self.value(&message),
        });
        Ok(self.placed(partition, shown))
    }

    fn timer(&self, operator: &str, partition: u32, key: &[u8]) -> Value {
        let Some(timer) = timer_from_key(key) else { return Value::Null };
        let shown = json!({ "operator": operator, "at": time_to_json(timer.at), "key": timer.key.escape_ascii().to_string() });
        self.placed(partition, shown)
    }

    /// Adds the partition, where there are several.
    fn placed(&self, partition: u32, mut shown: Value) -> Value {
        if self.log.partitions() > 1 {
            shown["partition"] = partition.into();
        }
        shown
    }

    fn note(&mut self, record: &LogRecord) {
        let topic = format!("{}/{}", record.topic.name, record.partition);
        let number = self.raw.iter().filter(|(place, _)| place.starts_with(&topic)).count() + 1;
        let mut bytes = record.time.to_be_bytes().to_vec();
        let parts =
            [record.key.as_deref(), record.value.as_deref()].into_iter().map(Option::unwrap_or_default);
        let headers = record.headers.iter().flat_map(|header| [header.name.as_bytes(), &header.value]);
        for part in parts.chain(headers) {
            bytes.extend_from_slice(&part.len().to_be_bytes());
            bytes.extend_from_slice(part);
        }
        // Not the offset: among the records there is progress, as often as steps were cut.
        self.raw.push((format!("{topic}, record {number}"), bytes));
    }
}

fn time_to_json(time: TimeMs) -> Value {
    time_to_text(time).map_or_else(|| time.into(), Value::from)
}

fn hide_version(value: &mut Value, version: &str) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "operator_version" && member.as_str() == Some(version) {
                    *member = THIS_VERSION.into();
                } else {
                    hide_version(member, version);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide_version(item, version)),
        _ => {}
    }
}
