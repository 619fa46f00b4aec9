//! The log on Kafka as producers, readers and the command line use it.

use super::context::{Batch, BatchContext, Undelivered};
use super::error::KafkaError;
use super::message::record_of;
use super::reader::{Next, Onward, Reader, close};
use super::settings::{KafkaSettings, Names};
use super::writer::{Writer, to_send};
use crate::bus::{Edge, Start, Tail};
use crate::error::BusError;
use crate::record::{LogRecord, NewRecord};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::ThreadedProducer;
use schemas::TopicSpec;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The log on Kafka outside of groups.
///
/// Many threads may publish at once, so its producer has a thread that serves it; each call waits for its own records.
pub struct KafkaEdge {
    settings: KafkaSettings,
    names: Names,
    // Taken out when the edge is dropped, and at no other time.
    producer: Option<ThreadedProducer<BatchContext>>,
    /// Writer of control changes; made when the first is written.
    control: Mutex<Option<Writer>>,
    readers: Readers,
}

/// Readers between two uses: connecting one takes longer than most reads.
pub(super) struct Readers(Mutex<Vec<Reader>>);

/// Most readers that are kept for the next use.
const READERS_MAX: usize = 4;
/// Wait where the producer's queue is full.
const ROOM_PAUSE: Duration = Duration::from_millis(1);
/// Wait between two looks whether readers see what was committed.
const VISIBLE_PAUSE: Duration = Duration::from_millis(5);
/// Time beyond a record's own limit after which its delivery is not waited for any more.
const DELIVERY_MARGIN: Duration = Duration::from_secs(10);

impl KafkaEdge {
    /// Connects to the cluster.
    pub fn connect(settings: &KafkaSettings) -> Result<Self, BusError> {
        const ACTION: &str = "connect to kafka";
        settings.check().map_err(|error| error.into_bus(ACTION))?;
        let producer = settings.plain_producer().create_with_context(BatchContext);
        let producer = producer.map_err(|error| KafkaError::Client(error).into_bus(ACTION))?;
        Ok(Self {
            settings: settings.clone(),
            names: settings.names(),
            producer: Some(producer),
            control: Mutex::default(),
            readers: Readers::default(),
        })
    }

    /// Waits until readers see what a transaction has written: a commit is answered before its markers are in the
    /// partitions, and until then a reader of committed records ends before them.
    fn await_visible(&self, records: &[NewRecord]) -> Result<(), KafkaError> {
        let mut written: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for record in records {
            let partitions = written.entry(record.topic.name).or_default();
            if !partitions.contains(&record.partition) {
                partitions.push(record.partition);
            }
        }
        let (all, committed) = (Reader::uncommitted(&self.settings)?, Reader::committed(&self.settings)?);
        let until = Instant::now() + self.settings.transaction_timeout;
        for (topic, partitions) in written {
            let topic = self.settings.topic(topic);
            let ends = all.ends(&topic, &partitions)?;
            let are_seen = |seen: Vec<u64>| seen.iter().zip(&ends).all(|(seen, end)| seen >= end);
            while !are_seen(committed.ends(&topic, &partitions)?) && Instant::now() < until {
                std::thread::sleep(VISIBLE_PAUSE);
            }
        }
        Ok(())
    }

    fn send(&self, batch: &Arc<Batch>, record: &NewRecord, until: Instant) -> Result<(), BusError> {
        let Some(producer) = &self.producer else { return Err(BusError::fatal(PUBLISH, KafkaError::Left)) };
        let name = self.names.of(record.topic);
        let mut sending = to_send(&name, record, Arc::clone(batch));
        batch.add();
        loop {
            match producer.send(sending) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(Code::QueueFull), back)) if Instant::now() < until => {
                    sending = back;
                    std::thread::sleep(ROOM_PAUSE);
                }
                Err((error, _)) => {
                    batch.drop_one();
                    return Err(not_published(Undelivered { topic: name.into_owned(), error }));
                }
            }
        }
    }
}

const PUBLISH: &str = "publish records";

impl Edge for KafkaEdge {
    fn partitions(&self) -> u32 {
        self.settings.partitions
    }

    fn publish(&self, records: Vec<NewRecord>) -> Result<(), BusError> {
        let batch = Arc::new(Batch::default());
        let longest = self.settings.transaction_timeout + DELIVERY_MARGIN;
        for record in &records {
            self.send(&batch, record, Instant::now() + longest)?;
        }
        match batch.wait(longest) {
            Ok(None) => Ok(()),
            Ok(Some(undelivered)) => Err(not_published(undelivered)),
            Err(()) => {
                let what = "the delivery of records".to_owned();
                Err(BusError::retry(PUBLISH, KafkaError::NoAnswer { what, seconds: longest.as_secs() }))
            }
        }
    }

    fn publish_atomically(&self, records: Vec<NewRecord>) -> Result<(), BusError> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match control.take() {
            Some(writer) => writer,
            None => Writer::open(&self.settings, &format!("{}control", self.settings.topic_prefix))?,
        };
        match writer.commit(&records, &[], 0, None) {
            Ok(_) => {
                *control = Some(writer);
                // They are committed, whether or not it can be seen by now that readers have them.
                let _ = self.await_visible(&records);
                Ok(())
            }
            // Nothing was written, so the same call may succeed.
            Err(BusError::Abort { action, source }) => {
                *control = Some(writer);
                Err(BusError::Retry { action, source })
            }
            Err(BusError::Fatal { source, .. }) if is_too_large(source.as_ref()) => {
                close(writer);
                Err(BusError::Fatal { action: PUBLISH, source })
            }
            // Another process writes control changes too, and has fenced this writer. The next call starts one that
            // fences the other.
            Err(BusError::Fatal { action, source } | BusError::Retry { action, source }) => {
                close(writer);
                Err(BusError::Retry { action, source })
            }
        }
    }

    fn tail(&self, topic: &'static TopicSpec, start: Start) -> Result<Box<dyn Tail>, BusError> {
        let open = || {
            let reader = Reader::committed(&self.settings)?;
            let name = self.names.of(topic).into_owned();
            let partitions: Vec<u32> = (0..self.settings.partitions).collect();
            let from = match start {
                Start::Earliest => vec![0; partitions.len()],
                Start::Latest => reader.ends(&name, &partitions)?,
            };
            reader.begin(&name, &partitions.into_iter().zip(from).collect::<Vec<_>>())?;
            Ok(KafkaTail { reader, topic })
        };
        let tail = open().map_err(|error: KafkaError| error.into_bus("open a reader"))?;
        Ok(Box::new(tail))
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        self.readers.read_compacted(&self.settings, topic)
    }

    fn find_compacted(&self, topic: &'static TopicSpec, key: &[u8]) -> Result<Option<LogRecord>, BusError> {
        let partition = schemas::key::partition_of(key, self.settings.partitions);
        let mut found = None;
        self.readers
            .read(&self.settings, topic, &[partition], |message| {
                if message.key() == Some(key) {
                    found = Some(record_of(topic, message));
                }
            })
            .map_err(|error| error.into_bus("look for a key"))?;
        Ok(found.filter(|record| record.value.is_some()))
    }
}

impl Drop for KafkaEdge {
    fn drop(&mut self) {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        close((self.producer.take(), control));
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(KafkaError::TooLarge { .. }))
}

/// What was not published may be published by the same call, except where the broker will never take it; even that is
/// the caller's concern and not the end of the process, which serves others too.
fn not_published(undelivered: Undelivered) -> BusError {
    if undelivered.is_too_large() {
        return BusError::retry(PUBLISH, KafkaError::TooLarge { topic: undelivered.topic });
    }
    BusError::retry(PUBLISH, KafkaError::NotDelivered { topic: undelivered.topic, source: undelivered.error })
}

impl Default for Readers {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl Readers {
    /// Returns the last record of each key of a compacted topic.
    pub(super) fn read_compacted(
        &self,
        settings: &KafkaSettings,
        topic: &'static TopicSpec,
    ) -> Result<Vec<LogRecord>, BusError> {
        let partitions: Vec<u32> = (0..settings.partitions).collect();
        let mut last = BTreeMap::new();
        self.read(settings, topic, &partitions, |message| {
            let record = record_of(topic, message);
            last.insert((record.partition, record.key.clone()), record);
        })
        .map_err(|error| error.into_bus("read a compacted topic"))?;
        Ok(last.into_values().filter(|record| record.value.is_some()).collect())
    }

    /// Reads partitions of a topic from their beginnings to their ends.
    fn read(
        &self,
        settings: &KafkaSettings,
        topic: &'static TopicSpec,
        partitions: &[u32],
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), KafkaError> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => Reader::committed(settings)?,
        };
        let from: Vec<(u32, u64)> = partitions.iter().map(|partition| (*partition, 0)).collect();
        let take = |message: &BorrowedMessage<'_>| {
            take(message);
            Ok::<_, KafkaError>(Onward::Continue)
        };
        reader.read_to_end(&settings.topic(topic.name), &from, take, || Ok(Onward::Continue))?;
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_MAX {
            readers.push(reader);
        }
        Ok(())
    }
}

/// A reader of one topic.
struct KafkaTail {
    reader: Reader,
    topic: &'static TopicSpec,
}

impl Tail for KafkaTail {
    fn next(&mut self, records_max: usize, wait: Duration) -> Result<Vec<LogRecord>, BusError> {
        let until = Instant::now() + wait;
        let mut records = Vec::new();
        while records.len() < records_max {
            let left = until.saturating_duration_since(Instant::now());
            let patience = if records.is_empty() { whole_millis(left) } else { Duration::ZERO };
            match self.reader.next(patience).map_err(|error| error.into_bus("read a topic"))? {
                Some(Next::Message(message)) => records.push(record_of(self.topic, &message)),
                Some(Next::End(_)) => {}
                None if records.is_empty() && !left.is_zero() => {}
                None => break,
            }
        }
        Ok(records)
    }
}

/// Rounds a wait up: the library spins where less than a millisecond is left.
pub(super) fn whole_millis(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
