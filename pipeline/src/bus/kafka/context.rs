//! What the client library tells on its own: log lines, rebalances, lags and deliveries.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, Rebalance};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{Statistics, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client that is told nothing but log lines.
#[derive(Default)]
pub(super) struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        forward_error(&error, reason);
    }

    fn stats(&self, _statistics: Statistics) {}
}

impl ConsumerContext for QuietContext {}

/// What a worker's group has told it.
#[derive(Default)]
pub(super) struct GroupContext {
    changes: AtomicU64,
    membership: Mutex<Membership>,
    lags: Mutex<HashMap<(String, i32), u64>>,
}

/// A worker's place in its group.
#[derive(Clone, Default)]
pub(super) struct Membership {
    /// Counts the rebalances.
    pub(super) change: u64,
    /// The partitions, all of them.
    pub(super) assigned: Vec<(String, i32)>,
    /// Who the worker was when it got them. Steps are committed under this name and no later one: whoever has lost the
    /// partitions since is refused, even where it has joined again in the meantime.
    pub(super) metadata: Option<Arc<ConsumerGroupMetadata>>,
}

impl GroupContext {
    /// Returns how many rebalances there were.
    pub(super) fn change(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Returns the worker's place in its group.
    pub(super) fn membership(&self) -> Membership {
        lock(&self.membership).clone()
    }

    /// Returns how many records of a partition were still to be read when the library last counted.
    pub(super) fn lag(&self, topic: String, partition: i32) -> Option<u64> {
        lock(&self.lags).get(&(topic, partition)).copied()
    }

    fn set_membership(&self, assigned: Vec<(String, i32)>, metadata: Option<Arc<ConsumerGroupMetadata>>) {
        let mut membership = lock(&self.membership);
        membership.change += 1;
        membership.assigned = assigned;
        membership.metadata = metadata;
        self.changes.store(membership.change, Ordering::Release);
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        forward_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut lags = lock(&self.lags);
        lags.clear();
        for topic in statistics.topics.into_values() {
            for (partition, counts) in topic.partitions {
                let known = [counts.app_offset, counts.committed_offset, counts.lo_offset];
                // The position moves over markers of transactions too, so it comes to the end.
                let position = known.into_iter().find(|offset| *offset >= 0);
                if let Some(position) =
                    position.filter(|_| counts.fetch_state == "active" && counts.ls_offset >= 0)
                {
                    let left = counts.ls_offset.saturating_sub(position).max(0);
                    lags.insert((topic.topic.clone(), partition), left.unsigned_abs());
                }
            }
        }
    }
}

impl ConsumerContext for GroupContext {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                self.set_membership(pairs(partitions), consumer.group_metadata().map(Arc::new));
            }
            Rebalance::Revoke(_) => self.set_membership(Vec::new(), None),
            Rebalance::Error(error) => forward_error(error, "a rebalance failed"),
        }
    }
}

fn pairs(partitions: &TopicPartitionList) -> Vec<(String, i32)> {
    let elements = partitions.elements();
    elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// What became of the records of a transaction.
#[derive(Default)]
pub(super) struct StepContext(Mutex<Delivered>);

/// Where the records of a transaction stand, and the first that was not taken.
#[derive(Default)]
pub(super) struct Delivered {
    /// Offset after the last record of each place that was numbered, from one on.
    pub(super) ends: Vec<Option<u64>>,
    /// The first record that was not delivered.
    pub(super) failure: Option<Undelivered>,
}

/// A record that was not delivered.
#[derive(Clone, Debug)]
pub(super) struct Undelivered {
    /// Its topic in the cluster.
    pub(super) topic: String,
    /// Why not.
    pub(super) error: ClientError,
}

impl Undelivered {
    /// Tells whether the broker would refuse the record again.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self.error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize))
    }
}

impl StepContext {
    /// Begins to watch a transaction that has so many numbered places.
    pub(super) fn begin(&self, places: usize) {
        *lock(&self.0) = Delivered { ends: vec![None; places], failure: None };
    }

    /// Returns what has become of the records since.
    pub(super) fn take(&self) -> Delivered {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl ClientContext for StepContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        forward_error(&error, reason);
    }
}

impl ProducerContext for StepContext {
    /// The number of a place, or zero.
    type DeliveryOpaque = usize;

    fn delivery(&self, outcome: &DeliveryResult<'_>, place: usize) {
        match outcome {
            Ok(message) if place > 0 => {
                let next = u64::try_from(message.offset() + 1).ok();
                if let Some(end) = lock(&self.0).ends.get_mut(place - 1) {
                    *end = (*end).max(next);
                }
            }
            Ok(_) => {}
            Err((error, message)) => {
                let mut delivered = lock(&self.0);
                if delivered.failure.is_none() {
                    delivered.failure =
                        Some(Undelivered { topic: message.topic().to_owned(), error: error.clone() });
                }
            }
        }
    }
}

/// A call that waits until its own records are delivered, among calls of other threads.
#[derive(Default)]
pub(super) struct Batch {
    state: Mutex<BatchState>,
    done: Condvar,
}

#[derive(Default)]
struct BatchState {
    under_way: usize,
    failure: Option<Undelivered>,
}

impl Batch {
    /// Counts a record that is about to be sent.
    pub(super) fn add(&self) {
        lock(&self.state).under_way += 1;
    }

    /// Counts a record that was not sent after all.
    pub(super) fn drop_one(&self) {
        self.settle(None);
    }

    /// Waits for all records. Returns the first failure, or none; and an error where it takes too long.
    pub(super) fn wait(&self, longest: Duration) -> Result<Option<Undelivered>, ()> {
        let until = Instant::now() + longest;
        let mut state = lock(&self.state);
        while state.under_way > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(());
            }
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state.failure.take())
    }

    fn settle(&self, failure: Option<Undelivered>) {
        let mut state = lock(&self.state);
        state.under_way = state.under_way.saturating_sub(1);
        if state.failure.is_none() {
            state.failure = failure;
        }
        if state.under_way == 0 {
            self.done.notify_all();
        }
    }
}

/// A producer whose records belong to batches of many threads.
#[derive(Default)]
pub(super) struct BatchContext;

impl ClientContext for BatchContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        forward_error(&error, reason);
    }
}

impl ProducerContext for BatchContext {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, outcome: &DeliveryResult<'_>, batch: Arc<Batch>) {
        let failure = outcome.as_ref().err();
        batch.settle(
            failure.map(|(error, message)| Undelivered {
                topic: message.topic().to_owned(),
                error: error.clone(),
            }),
        );
    }
}

/// Passes a line of the library on. It says "error" of what it repairs itself, so nothing of it is one here.
fn forward_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "kafka client"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "kafka client"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "kafka client"),
    }
}

/// Passes an error of the library on that no call of ours will return. It logs a lost connection itself, once.
fn forward_error(error: &ClientError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure) => {
            tracing::debug!(%error, reason, "kafka client failed, it goes on trying");
        }
        _ => tracing::warn!(%error, reason, "kafka client failed"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
