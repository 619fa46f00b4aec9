//! Reading without a group: changelogs, compacted topics, tails.

use super::context::QuietContext;
use super::error::{KafkaError, ends_reading};
use super::message::{offset, partition_of, signed};
use super::settings::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A consumer that is assigned what it reads.
pub(super) struct Reader {
    // Taken out when the reader is dropped, and at no other time.
    consumer: Option<BaseConsumer<QuietContext>>,
}

/// How a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// It reads on.
    Continue,
    /// It stops here.
    Stop,
}

/// Longest wait for an answer about offsets.
const OFFSETS_WAIT: Duration = Duration::from_secs(10);
/// Wait between two questions about offsets.
const OFFSETS_PAUSE: Duration = Duration::from_millis(50);
/// Longest time without a record before the end of what is there.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often a long read lets its caller look after other things.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait for a client to end. One whose brokers are gone may not notice that it is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

impl Reader {
    /// Starts a reader that sees committed records only.
    pub(super) fn committed(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::open(settings, "read_committed")
    }

    /// Starts a reader that also sees where open transactions have come to.
    pub(super) fn uncommitted(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::open(settings, "read_uncommitted")
    }

    fn open(settings: &KafkaSettings, isolation: &str) -> Result<Self, KafkaError> {
        let consumer = settings.reader(isolation).create_with_context(QuietContext)?;
        Ok(Self { consumer: Some(consumer) })
    }

    fn consumer(&self) -> &BaseConsumer<QuietContext> {
        self.consumer.as_ref().expect("the consumer is taken out when the reader is dropped")
    }

    /// Returns the offset after the last record that this reader may see, for each partition of a topic that is named.
    pub(super) fn ends(&self, topic: &str, partitions: &[u32]) -> Result<Vec<u64>, KafkaError> {
        let until = Instant::now() + OFFSETS_WAIT;
        loop {
            match self.try_ends(topic, partitions) {
                // A partition may be on its way from one broker to another, or to its first.
                Err(KafkaError::Client(error)) if !ends_reading(&error) && Instant::now() < until => {
                    std::thread::sleep(OFFSETS_PAUSE);
                }
                ends => return ends,
            }
        }
    }

    fn try_ends(&self, topic: &str, partitions: &[u32]) -> Result<Vec<u64>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            asked.add_partition_offset(topic, signed(*partition), Offset::End)?;
        }
        let answer = self.consumer().offsets_for_times(asked, OFFSETS_WAIT)?;
        let end = |partition: &u32| {
            let element = answer.find_partition(topic, signed(*partition));
            if let Some(element) = &element {
                element.error()?;
            }
            match element.map(|element| element.offset()) {
                Some(Offset::Offset(end)) => Ok(end.unsigned_abs()),
                _ => Err(no_answer(format!("the end of topic {topic}, partition {partition}"), OFFSETS_WAIT)),
            }
        };
        partitions.iter().map(end).collect()
    }

    /// Returns the group as somebody sees it who is none of its members.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata, KafkaError> {
        self.consumer().group_metadata().ok_or(KafkaError::Lost)
    }

    /// Returns the number of partitions of a topic; none where there is no such topic.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<usize>, KafkaError> {
        count_partitions(self.consumer(), topic)
    }

    /// Begins to read partitions of a topic from offsets on.
    pub(super) fn begin(&self, topic: &str, from: &[(u32, u64)]) -> Result<(), KafkaError> {
        let mut assignment = TopicPartitionList::with_capacity(from.len());
        for (partition, next) in from {
            assignment.add_partition_offset(topic, signed(*partition), offset(*next))?;
        }
        Ok(self.consumer().assign(&assignment)?)
    }

    /// Returns the next message; none where none came in time.
    pub(super) fn next(&self, wait: Duration) -> Result<Option<Next<'_>>, KafkaError> {
        match self.consumer().poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(Next::Message(message))),
            Some(Err(ClientError::PartitionEOF(partition))) => Ok(Some(Next::End(partition.unsigned_abs()))),
            Some(Err(error)) if ends_reading(&error) => Err(error.into()),
            // The context was told, and the library goes on trying.
            Some(Err(_)) => Ok(None),
        }
    }

    /// Reads partitions of a topic from offsets on to their ends, and tells whether it got there.
    ///
    /// `idle` is called from time to time. An open transaction hides what comes after it: the end is where it began.
    pub(super) fn read_to_end<E: From<KafkaError>>(
        &self,
        topic: &str,
        from: &[(u32, u64)],
        mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<Onward, E>,
        mut idle: impl FnMut() -> Result<Onward, E>,
    ) -> Result<bool, E> {
        self.begin(topic, from)?;
        let mut left: BTreeSet<u32> = from.iter().map(|(partition, _)| *partition).collect();
        let (mut heard, mut looked) = (Instant::now(), Instant::now());
        let mut onward = Onward::Continue;
        while !left.is_empty() && onward == Onward::Continue {
            match self.next(IDLE_INTERVAL)? {
                Some(Next::Message(message)) => {
                    heard = Instant::now();
                    // A record that came after the end was told belongs to a later read.
                    if left.contains(&partition_of(&message)) {
                        onward = take(&message)?;
                    }
                }
                Some(Next::End(partition)) => {
                    heard = Instant::now();
                    left.remove(&partition);
                }
                None if heard.elapsed() > SILENCE_MAX => {
                    return Err(no_answer(format!("the rest of topic {topic}"), SILENCE_MAX).into());
                }
                None => {}
            }
            if onward == Onward::Continue && looked.elapsed() > IDLE_INTERVAL {
                looked = Instant::now();
                onward = idle()?;
            }
        }
        self.consumer().unassign().map_err(KafkaError::from)?;
        Ok(left.is_empty())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Closing takes a tenth of a second, which nobody has to wait for.
        if let Some(consumer) = self.consumer.take() {
            std::mem::drop(retire(consumer));
        }
    }
}

/// What a reader came to.
pub(super) enum Next<'a> {
    /// A message.
    Message(BorrowedMessage<'a>),
    /// The end of a partition.
    End(u32),
}

/// Returns the number of partitions of a topic; none where there is no such topic.
pub(super) fn count_partitions<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> Result<Option<usize>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), OFFSETS_WAIT)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    Ok(found.map(|found| found.partitions().len()).filter(|count| *count > 0))
}

/// Closes clients on another thread, in their order. The receiver hears when that is done.
pub(super) fn retire<T: Send + 'static>(clients: T) -> mpsc::Receiver<()> {
    let (done, closed) = mpsc::sync_channel(1);
    let close = move || {
        drop(clients);
        // Nobody may be waiting any more.
        let _ = done.send(());
    };
    // Where there is no thread to be had the closure is dropped, and with it the clients, on this one.
    let _ = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(close);
    closed
}

/// Closes clients, and waits for that as long as is reasonable.
pub(super) fn close<T: Send + 'static>(clients: T) {
    // After the wait, or where the closing thread is gone, there is nothing left to do about it.
    let _ = retire(clients).recv_timeout(CLOSE_WAIT);
}

fn no_answer(what: String, waited: Duration) -> KafkaError {
    KafkaError::NoAnswer { what, seconds: waited.as_secs() }
}
