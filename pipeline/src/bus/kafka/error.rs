//! What can go wrong between us and a Kafka cluster, and what the runner has to do about it.

use crate::error::BusError;
use crate::store::StoreError;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

/// A failure of the log on Kafka.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// A property that the bus sets itself.
    #[error("kafka.client may not set {key:?}: exactly-once steps rest on it")]
    OwnProperty {
        /// The property.
        key: String,
    },
    /// A name that brokers do not take.
    #[error("kafka.{setting} may hold letters, digits, '.', '_' and '-' only: {name:?}")]
    Name {
        /// The setting.
        setting: &'static str,
        /// Its value.
        name: String,
    },
    /// A number of partitions that brokers do not take.
    #[error("a topic cannot have {partitions} partitions")]
    NoPartitions {
        /// The number.
        partitions: u32,
    },
    /// The client library failed.
    #[error("the kafka client failed")]
    Client(#[from] ClientError),
    /// Topics are missing, or are not as they have to be.
    #[error("topics are not as they have to be: {}", .0.join("; "))]
    Topics(Vec<String>),
    /// A topic's partitions went to different workers.
    #[error(
        "the group gave this worker partitions {partitions:?} of topic {topic}, but {others:?} of the others"
    )]
    NotTogether {
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: Vec<u32>,
        /// The partitions of the first topic.
        others: Vec<u32>,
    },
    /// A record was refused for its size.
    #[error("a record for topic {topic} is too large for the broker")]
    TooLarge {
        /// The topic.
        topic: String,
    },
    /// A record was not delivered.
    #[error("a record for topic {topic} was not delivered")]
    NotDelivered {
        /// The topic.
        topic: String,
        /// Why not.
        #[source]
        source: ClientError,
    },
    /// The group has given the partitions to somebody else.
    #[error("the partitions are no longer this worker's")]
    Lost,
    /// The brokers gave no answer, or not the whole of it.
    #[error("no answer about {what} within {seconds} s")]
    NoAnswer {
        /// What was asked.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The tables of an operator are not kept here.
    #[error("the tables of {operator} are not kept here")]
    NoTables {
        /// The operator.
        operator: &'static str,
    },
    /// The local copy of the tables failed.
    #[error("the local copy of the tables failed")]
    Store(#[from] StoreError),
    /// The worker has given its partitions back.
    #[error("the worker has left its group")]
    Left,
}

/// What has to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Call again.
    Retry,
    /// Abort the transaction and read again.
    Abort,
    /// Stop.
    Fatal,
}

/// Tells what a failed transactional call asks for.
///
/// Where the library says none of its three words, going on could break a step, so that is the end. The two codes of a
/// worker that its group has left behind are the exception: nothing of theirs was written.
pub(super) fn class_of(error: &ClientError) -> Class {
    let ClientError::Transaction(error) = error else { return Class::Fatal };
    if error.is_fatal() {
        return Class::Fatal;
    }
    if error.txn_requires_abort() || matches!(error.code(), Code::IllegalGeneration | Code::UnknownMemberId) {
        return Class::Abort;
    }
    if error.is_retriable() { Class::Retry } else { Class::Fatal }
}

/// Tells whether a failed read ends the reader. Brokers that went away come back, and topics that are being made appear.
pub(super) fn ends_reading(error: &ClientError) -> bool {
    if matches!(error, ClientError::MessageConsumptionFatal(_)) {
        return true;
    }
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fatal
                | Code::FencedInstanceId
                | Code::GroupAuthorizationFailed
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::UnsupportedVersion
        )
    )
}

impl KafkaError {
    /// Says what the runner has to do: a failure of the client may pass, the others are the end.
    pub(super) fn into_bus(self, action: &'static str) -> BusError {
        match self {
            Self::Lost => BusError::abort(action, self),
            Self::Client(ref error) if ends_reading(error) => BusError::fatal(action, self),
            Self::Client(ClientError::ClientConfig(..) | ClientError::ClientCreation(_)) => {
                BusError::fatal(action, self)
            }
            Self::Client(_) | Self::NoAnswer { .. } | Self::NotDelivered { .. } => {
                BusError::retry(action, self)
            }
            _ => BusError::fatal(action, self),
        }
    }
}
