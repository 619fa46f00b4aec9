//! One transactional producer, and the order of calls that makes a step whole.

use super::context::{StepContext, Undelivered};
use super::error::{Class, KafkaError, class_of};
use super::message::{owned_headers, signed, timestamp};
use super::settings::{KafkaSettings, Names};
use crate::error::BusError;
use crate::record::NewRecord;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Writes steps. It has no thread of its own: the worker, which waits for its deliveries anyway, serves them.
pub(super) struct Writer {
    producer: BaseProducer<StepContext>,
    names: Names,
    last: Cell<Ending>,
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Committed,
    Aborted,
}

/// A record of a table's changelog.
pub(super) struct ChangelogRecord<'a> {
    /// The changelog in the cluster.
    pub(super) topic: &'a str,
    /// The partition.
    pub(super) partition: u32,
    /// The row, with its table's number.
    pub(super) key: &'a [u8],
    /// The row's bytes; none deletes it.
    pub(super) value: Option<&'a [u8]>,
    /// The number of the place whose end is asked for, from one on.
    pub(super) place: usize,
}

/// How far the inputs of a step were read, and by whom.
pub(super) struct Offsets<'a> {
    /// The next offset of each partition.
    pub(super) next: TopicPartitionList,
    /// Who the worker was when it read.
    pub(super) metadata: &'a ConsumerGroupMetadata,
}

/// First and longest wait between two looks for deliveries. Waiting inside the library takes whole milliseconds and
/// spins for the last of them.
const DELIVERY_PAUSE: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(1)];
/// Wait of one call that can be called again.
const CALL_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the transaction coordinator at the start of a worker.
const START_WAIT: Duration = Duration::from_secs(60);
/// Longest time that brokers may be away in the middle of a step before the worker gives up.
const OUTAGE_MAX: Duration = Duration::from_secs(300);
/// Wait of the first try to abort, which ends only after records that were not delivered are handed back.
const ABORT_FIRST_WAIT: Duration = Duration::from_millis(50);

impl Writer {
    /// Starts a producer, fences the one that had its id before, and ends what that left open.
    pub(super) fn open(settings: &KafkaSettings, transactional_id: &str) -> Result<Self, BusError> {
        const ACTION: &str = "start a transactional producer";
        let config = settings.transactional_producer(transactional_id);
        let producer: BaseProducer<StepContext> = config
            .create_with_context(StepContext::default())
            .map_err(|error| KafkaError::Client(error).into_bus(ACTION))?;
        let until = Instant::now() + START_WAIT;
        loop {
            let Err(error) = producer.init_transactions(CALL_WAIT) else {
                return Ok(Self { producer, names: settings.names(), last: Cell::new(Ending::Aborted) });
            };
            producer.poll(Duration::ZERO);
            match class_of(&error) {
                Class::Retry if Instant::now() < until => {}
                Class::Retry => return Err(BusError::retry(ACTION, KafkaError::Client(error))),
                _ => return Err(BusError::fatal(ACTION, KafkaError::Client(error))),
            }
        }
    }

    /// Hands over what the library has to tell while no step is under way.
    pub(super) fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Writes records, rows and offsets in one transaction, all or nothing. Returns the offset after the last record
    /// of each numbered place.
    pub(super) fn commit(
        &self,
        records: &[NewRecord],
        rows: &[ChangelogRecord<'_>],
        places: usize,
        offsets: Option<&Offsets<'_>>,
    ) -> Result<Vec<Option<u64>>, BusError> {
        self.producer.context().begin(places);
        self.until_done("begin a transaction", || self.producer.begin_transaction())?;
        match self.fill(records, rows, offsets) {
            Ok(ends) => self.end().map(|()| ends),
            Err(error) => Err(self.roll_back(error)),
        }
    }

    /// Ends once more what the last transaction ended, in the same way, and fails for good where another producer has
    /// this one's id.
    ///
    /// A broker that is killed just when it has decided a transaction may forget to tell the partitions so, and what
    /// they hide then stays hidden: the offsets that a group waits for, and all later records. The end of any later
    /// transaction of the same producer reaches them. `offsets` name a partition that nobody reads.
    pub(super) fn seal(&self, offsets: &Offsets<'_>) -> Result<(), BusError> {
        self.producer.context().begin(0);
        self.until_done("begin a transaction", || self.producer.begin_transaction())?;
        let sent = self.send_offsets(offsets);
        match (sent, self.last.get()) {
            (Ok(()), Ending::Committed) => self.end(),
            (Ok(()), Ending::Aborted) => {
                match self.roll_back(BusError::abort("seal a transaction", KafkaError::Lost)) {
                    error @ BusError::Fatal { .. } => Err(error),
                    _ => Ok(()),
                }
            }
            (Err(error), _) => Err(self.roll_back(error)),
        }
    }

    /// Commits the transaction, or aborts it.
    fn end(&self) -> Result<(), BusError> {
        let committed =
            self.until_done("commit a transaction", || self.producer.commit_transaction(Timeout::Never));
        committed.map_err(|error| self.roll_back(error))?;
        self.last.set(Ending::Committed);
        Ok(())
    }

    fn send_offsets(&self, offsets: &Offsets<'_>) -> Result<(), BusError> {
        self.until_done("send offsets to a transaction", || {
            self.producer.send_offsets_to_transaction(&offsets.next, offsets.metadata, CALL_WAIT)
        })
    }

    /// Sends all that belongs to a step, and returns when it is delivered.
    fn fill(
        &self,
        records: &[NewRecord],
        rows: &[ChangelogRecord<'_>],
        offsets: Option<&Offsets<'_>>,
    ) -> Result<Vec<Option<u64>>, BusError> {
        for record in records {
            self.send(to_send(&self.names.of(record.topic), record, 0))?;
        }
        for row in rows {
            let mut record = BaseRecord::with_opaque_to(row.topic, row.place)
                .partition(signed(row.partition))
                .key(row.key);
            record.payload = row.value;
            self.send(record)?;
        }
        if let Some(offsets) = offsets {
            // The records travel meanwhile.
            self.send_offsets(offsets)?;
        }
        // A commit would wait for the deliveries too, but in slices of 100 ms.
        let mut pause = DELIVERY_PAUSE[0];
        while self.producer.in_flight_count() > 0 {
            self.serve_deliveries(&mut pause);
        }
        let delivered = self.producer.context().take();
        match delivered.failure {
            None => Ok(delivered.ends),
            Some(undelivered) => Err(refused(undelivered)),
        }
    }

    /// Sends a record. Where the queue is full it waits for room, so that the order stays.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), BusError> {
        let mut pause = DELIVERY_PAUSE[0];
        loop {
            let topic = record.topic;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.serve_deliveries(&mut pause);
                }
                Err((error, _)) => return Err(refused(Undelivered { topic: topic.to_owned(), error })),
            }
        }
    }

    /// Takes what was delivered, and rests where nothing was; longer from time to time.
    fn serve_deliveries(&self, pause: &mut Duration) {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() >= before {
            std::thread::sleep(*pause);
            *pause = (*pause * 2).min(DELIVERY_PAUSE[1]);
        }
    }

    /// Calls until the library has an answer. While brokers are away it says that the call can be made again.
    fn until_done(
        &self,
        action: &'static str,
        call: impl Fn() -> Result<(), ClientError>,
    ) -> Result<(), BusError> {
        let until = Instant::now() + OUTAGE_MAX;
        let mut pause = DELIVERY_PAUSE[0];
        loop {
            let Err(error) = call() else { return Ok(()) };
            match class_of(&error) {
                Class::Retry if Instant::now() < until => self.serve_deliveries(&mut pause),
                Class::Abort => return Err(BusError::abort(action, KafkaError::Client(error))),
                _ => return Err(BusError::fatal(action, KafkaError::Client(error))),
            }
        }
    }

    /// Aborts the transaction after a failure, and returns the failure, or a worse one.
    fn roll_back(&self, failure: BusError) -> BusError {
        if self.producer.client().fatal_error().is_some() {
            return failure_is_fatal(failure);
        }
        let until = Instant::now() + OUTAGE_MAX;
        let mut wait = ABORT_FIRST_WAIT;
        loop {
            let Err(error) = self.producer.abort_transaction(wait) else { break };
            if class_of(&error) != Class::Retry || Instant::now() > until {
                return BusError::fatal("abort a transaction", KafkaError::Client(error));
            }
            // The abort hands back the records that were not delivered, and waits until they are taken.
            wait = CALL_WAIT.min(wait * 2);
            let mut left = self.producer.in_flight_count();
            while left > 0 {
                self.producer.poll(Duration::ZERO);
                let now = self.producer.in_flight_count();
                if now >= left {
                    break;
                }
                left = now;
            }
        }
        self.last.set(Ending::Aborted);
        failure
    }
}

/// Returns a record as the library takes it.
pub(super) fn to_send<'a, D: rdkafka::IntoOpaque>(
    topic: &'a str,
    record: &'a NewRecord,
    opaque: D,
) -> BaseRecord<'a, [u8], [u8], D> {
    BaseRecord {
        topic,
        partition: Some(signed(record.partition)),
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: Some(timestamp(record.time)),
        headers: owned_headers(&record.headers),
        delivery_opaque: opaque,
    }
}

/// A record that the broker will never take ends the worker: the same step would fail again for ever.
fn refused(undelivered: Undelivered) -> BusError {
    const ACTION: &str = "write a record";
    if undelivered.is_too_large() {
        return BusError::fatal(ACTION, KafkaError::TooLarge { topic: undelivered.topic });
    }
    BusError::abort(ACTION, KafkaError::NotDelivered { topic: undelivered.topic, source: undelivered.error })
}

fn failure_is_fatal(failure: BusError) -> BusError {
    match failure {
        BusError::Retry { action, source }
        | BusError::Abort { action, source }
        | BusError::Fatal { action, source } => BusError::Fatal { action, source },
    }
}
