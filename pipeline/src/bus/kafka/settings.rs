//! What a process says about its cluster, and the properties of librdkafka that follow from it.

use super::KafkaError;
use rdkafka::ClientConfig;
use schemas::{TopicSpec, topic};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a process uses a Kafka cluster.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Brokers to ask first, as `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// Put before the name of every topic and every transactional id.
    pub topic_prefix: String,
    /// The consumer group: processes that host the same operators share it.
    pub group: String,
    /// Name of the process within its group: the same after a restart, and no other process's.
    pub instance: String,
    /// Properties of librdkafka, as TLS and SASL; those that correctness rests on are refused.
    pub client: BTreeMap<String, String>,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Copies of every topic.
    pub replication_factor: u32,
    /// How long a transaction may be open; the step of a worker that died is undone after it.
    pub transaction_timeout: Duration,
    /// How long a worker may be silent before others get its partitions.
    pub session_timeout: Duration,
    /// How long a step may take before others get the worker's partitions.
    pub step_timeout: Duration,
    /// Whether a worker that stops in good order leaves its group, so that others go on at once. If not, its
    /// partitions wait for it until the session ends, and a restart takes them back without a rebalance.
    pub leave_on_stop: bool,
}

/// Largest record that a client sends or takes: an image of 10 MB and its envelope.
const RECORD_BYTES_MAX: u32 = 12 << 20;
/// Largest answer to a fetch. A broker sends a batch that is larger than what was asked for where it comes first, so
/// this leaves room for one of those beside a full answer.
const RESPONSE_BYTES_MAX: u32 = 64 << 20;
/// Bytes asked for in one fetch. Records keep the answer they came in alive, so this bounds the memory of a worker.
const FETCH_BYTES: u32 = 4 << 20;
/// Bytes asked for of one partition, so that none of them fills a whole answer.
const FETCH_PARTITION_BYTES: u32 = 1 << 20;
/// KiB that wait in a client for the worker; a fetch may overshoot it by one answer.
const QUEUE_KIB: u32 = 8 << 10;
/// Records that wait in a client for the worker, of one partition.
const QUEUE_RECORDS: u32 = 10_000;
/// How long a broker holds a fetch that has nothing to bring. Only an assignment waits for it: records are sent at once.
const FETCH_WAIT_MS: u32 = 10;
/// How often a worker shows that it lives; that is also how soon it hears that partitions are to be shared out anew.
const HEARTBEAT_MS: u32 = 500;
/// How often the lag of each partition is taken.
const LAG_MS: u32 = 1_000;
/// KiB that wait in a producer for their delivery.
const PRODUCER_KIB: u32 = 64 << 10;
/// How long a broker that went away may have to wait for the next try to reach it.
const RECONNECT_MS_MAX: u32 = 500;

/// Name that a reader gives where the settings name no group, as those of an edge do.
const NO_GROUP: &str = "tamiz";

/// Properties that this bus sets itself, because a step would not be exactly once, or a worker not come back, with
/// another value.
const OWN: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "receive.message.max.bytes",
    "request.required.acks",
    "retries",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

impl KafkaSettings {
    /// Refuses settings with which a step would not be exactly once.
    pub fn check(&self) -> Result<(), KafkaError> {
        if let Some(key) = self.client.keys().find(|key| OWN.contains(&key.as_str())) {
            return Err(KafkaError::OwnProperty { key: key.clone() });
        }
        let legal =
            |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if self.instance.is_empty() || self.instance.len() > 200 || !legal(&self.instance) {
            return Err(KafkaError::Name { setting: "instance", name: self.instance.clone() });
        }
        if self.topic_prefix.len() > 100 || !legal(&self.topic_prefix) {
            return Err(KafkaError::Name { setting: "topic_prefix", name: self.topic_prefix.clone() });
        }
        if self.partitions == 0 || i32::try_from(self.partitions).is_err() {
            return Err(KafkaError::NoPartitions { partitions: self.partitions });
        }
        Ok(())
    }

    /// Returns the name of a topic in the cluster.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    /// Returns the names of our topics in the cluster.
    pub(super) fn names(&self) -> Names {
        let known = topic::TOPICS.iter().map(|topic| (topic.name, self.topic(topic.name))).collect();
        Names { prefix: self.topic_prefix.clone(), known }
    }

    /// Returns the transactional id of a worker: stable across restarts, so that a new incarnation ends what its
    /// predecessor left open, and unique among the living.
    pub(super) fn transactional_id(&self, worker: usize) -> String {
        format!("{}{}-{}-{worker}", self.topic_prefix, self.group, self.instance)
    }

    /// Returns the properties of a worker's consumer.
    pub(super) fn group_consumer(&self, worker: usize) -> ClientConfig {
        let mut config = self.consumer();
        set(
            &mut config,
            &[
                ("group.id", &self.group),
                // It is unique within its group, which its name need not repeat: a group's name may hold characters that
                // an instance id may not.
                ("group.instance.id", &format!("{}-{worker}", self.instance)),
                ("group.protocol", "classic"),
                // Topics with equal partition counts get the same partitions at the same worker.
                ("partition.assignment.strategy", "range"),
                ("isolation.level", "read_committed"),
                ("session.timeout.ms", &millis(self.session_timeout)),
                ("max.poll.interval.ms", &millis(self.step_timeout.max(self.session_timeout))),
            ],
        );
        self.set_defaults(
            &mut config,
            &[("heartbeat.interval.ms", HEARTBEAT_MS), ("statistics.interval.ms", LAG_MS)],
        );
        config
    }

    /// Returns the properties of a consumer that is assigned its partitions and takes no part in a group.
    pub(super) fn reader(&self, isolation: &str) -> ClientConfig {
        // The library reads only with a group's name, though nothing is joined or committed.
        let group = if self.group.is_empty() { NO_GROUP } else { &self.group };
        let mut config = self.consumer();
        set(
            &mut config,
            &[("group.id", group), ("isolation.level", isolation), ("enable.partition.eof", "true")],
        );
        config
    }

    /// Returns the properties of a worker's producer.
    pub(super) fn transactional_producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        set(
            &mut config,
            &[
                ("transactional.id", transactional_id),
                ("transaction.timeout.ms", &millis(self.transaction_timeout)),
                // Deliveries and requests then end before the transaction does; the library derives them only from here.
                ("message.timeout.ms", &millis(self.transaction_timeout)),
            ],
        );
        config
    }

    /// Returns the properties of a producer without transactions.
    pub(super) fn plain_producer(&self) -> ClientConfig {
        let mut config = self.producer();
        set(&mut config, &[("message.timeout.ms", &millis(self.transaction_timeout))]);
        config
    }

    /// Returns the properties of a client that only administers.
    pub(super) fn admin(&self) -> ClientConfig {
        self.base()
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.base();
        set(
            &mut config,
            &[
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
                ("receive.message.max.bytes", &RESPONSE_BYTES_MAX.to_string()),
            ],
        );
        let defaults = [
            ("fetch.wait.max.ms", FETCH_WAIT_MS),
            ("fetch.max.bytes", FETCH_BYTES),
            ("fetch.message.max.bytes", FETCH_PARTITION_BYTES),
            ("fetch.error.backoff.ms", 100),
            // A partition whose queue is full would pause for a second.
            ("fetch.queue.backoff.ms", FETCH_WAIT_MS),
            ("queued.min.messages", QUEUE_RECORDS),
            ("queued.max.messages.kbytes", QUEUE_KIB),
        ];
        self.set_defaults(&mut config, &defaults);
        config
    }

    fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        set(
            &mut config,
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("message.max.bytes", &RECORD_BYTES_MAX.to_string()),
            ],
        );
        let defaults = [("queue.buffering.max.kbytes", PRODUCER_KIB), ("linger.ms", 1)];
        self.set_defaults(&mut config, &defaults);
        config
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in &self.client {
            config.set(key, value);
        }
        set(&mut config, &[("bootstrap.servers", &self.bootstrap_servers)]);
        self.set_defaults(&mut config, &[("reconnect.backoff.max.ms", RECONNECT_MS_MAX)]);
        config
    }

    /// Sets what the settings may say otherwise.
    fn set_defaults(&self, config: &mut ClientConfig, defaults: &[(&str, u32)]) {
        for (key, value) in defaults {
            if !self.client.contains_key(*key) {
                config.set(*key, value.to_string());
            }
        }
    }
}

/// Names of our topics in the cluster, made once.
pub(super) struct Names {
    prefix: String,
    known: Vec<(&'static str, String)>,
}

impl Names {
    /// Returns the name of a topic.
    pub(super) fn of(&self, topic: &TopicSpec) -> Cow<'_, str> {
        match self.known.iter().find(|(name, _)| *name == topic.name) {
            Some((_, full)) => Cow::Borrowed(full),
            None => Cow::Owned(format!("{}{}", self.prefix, topic.name)),
        }
    }
}

fn set(config: &mut ClientConfig, properties: &[(&str, &str)]) {
    for (key, value) in properties {
        config.set(*key, *value);
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            topic_prefix: "acme.".to_owned(),
            group: "tamiz.intake+fusion".to_owned(),
            instance: "pod-0".to_owned(),
            client: BTreeMap::new(),
            partitions: 4,
            replication_factor: 1,
            transaction_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(6),
            step_timeout: Duration::from_secs(300),
            leave_on_stop: true,
        }
    }

    #[test]
    fn properties_that_correctness_rests_on_are_refused_by_name() {
        for key in ["isolation.level", "transactional.id", "enable.idempotence", "acks"] {
            let mut settings = settings();
            settings.client.insert(key.to_owned(), "whatever".to_owned());
            let error = settings.check().expect_err("the property is refused");
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn the_library_takes_every_property() {
        let mut settings = settings();
        settings.client.insert("sasl.username".to_owned(), "someone".to_owned());
        settings.client.insert("linger.ms".to_owned(), "7".to_owned());
        settings.check().expect("the settings are fine");
        let all = [
            settings.group_consumer(3),
            settings.reader("read_uncommitted"),
            settings.transactional_producer("id"),
            settings.plain_producer(),
            settings.admin(),
        ];
        for config in &all {
            let native = config.create_native_config().expect("every property exists");
            assert_eq!(native.get("sasl.username").expect("the property is set"), "someone");
        }
        assert_eq!(all[2].get("linger.ms"), Some("7"));
        assert_eq!(all[0].get("group.instance.id"), Some("pod-0-3"));
    }

    #[test]
    fn names_and_counts_that_brokers_refuse_are_refused_here() {
        let cases: [fn(&mut KafkaSettings); 4] = [
            |settings| settings.instance = "pod 0".to_owned(),
            |settings| settings.instance.clear(),
            |settings| settings.topic_prefix = "a/b".to_owned(),
            |settings| settings.partitions = 0,
        ];
        for case in cases {
            let mut settings = settings();
            case(&mut settings);
            settings.check().expect_err("the settings are refused");
        }
    }
}
