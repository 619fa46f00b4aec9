//! Making the topics, and telling where those that are there differ from what they have to be.

use super::error::KafkaError;
use super::reader::{Reader, count_partitions};
use super::settings::KafkaSettings;
use crate::table::changelog;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use schemas::{Cleanup, TimeMs, TopicSpec};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a deletion stays in a changelog after it was written, at the least.
pub(super) const DELETION_KEPT_MS: TimeMs = 24 * 3_600_000;

/// What became of each topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsReport {
    /// Names of topics that were made.
    pub created: Vec<String>,
    /// Names of topics that were there, as they have to be.
    pub existed: Vec<String>,
}

/// A topic as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntendedTopic {
    /// Its name in the cluster.
    pub name: String,
    /// Its partitions.
    pub partitions: u32,
    /// Its copies.
    pub replication_factor: u32,
    /// Its properties.
    pub configs: Vec<(&'static str, String)>,
}

/// Room in a topic's limit for what is around a record's bytes: its key, its headers and its batch.
const RECORD_OVERHEAD_BYTES: u32 = 65_536;
/// Largest row of a table, as its changelog allows it.
const ROW_BYTES_MAX: u32 = 11_000_000;
/// Bytes of a segment of a compacted topic. Its last segment is never compacted, so this is what a restore may have to
/// read beyond the rows.
const COMPACTED_SEGMENT_BYTES: u32 = 64 << 20;
/// Longest wait for an answer of the brokers.
const ADMIN_WAIT: Duration = Duration::from_secs(30);
/// Wait between two looks whether the topics are there.
const APPEAR_PAUSE: Duration = Duration::from_millis(100);
/// Properties that are compared where a topic is there already. The others may be an operator's choice.
const COMPARED: [&str; 3] = ["cleanup.policy", "message.timestamp.type", "max.message.bytes"];

/// Makes the topics and the changelogs of operators where they are missing, and refuses those that differ in what steps
/// rest on.
pub fn create_topics(
    settings: &KafkaSettings,
    topics: &[&TopicSpec],
    operators: &[&str],
) -> Result<TopicsReport, KafkaError> {
    settings.check()?;
    let intended = intended_topics(settings, topics, operators);
    let admin: AdminClient<_> = settings.admin().create_with_context(super::context::QuietContext)?;
    let mut report = TopicsReport::default();
    let new: Vec<NewTopic<'_>> = intended.iter().map(new_topic).collect();
    let results = block_on(admin.create_topics(&new, &options()))?;
    let mut problems = Vec::new();
    for result in results {
        match result {
            Ok(name) => report.created.push(name),
            Err((name, Code::TopicAlreadyExists)) => report.existed.push(name),
            Err((name, code)) => problems.push(format!("{name} cannot be made: {code}")),
        }
    }
    problems.extend(wait_for(settings, &intended, &report.created)?);
    problems.extend(differences(settings, &admin, &intended, &report.existed)?);
    if problems.is_empty() { Ok(report) } else { Err(KafkaError::Topics(problems)) }
}

/// Returns the topics and changelogs as they have to be.
pub fn intended_topics(
    settings: &KafkaSettings,
    topics: &[&TopicSpec],
    operators: &[&str],
) -> Vec<IntendedTopic> {
    let topic = |name: &str, configs| IntendedTopic {
        name: settings.topic(name),
        partitions: settings.partitions,
        replication_factor: settings.replication_factor,
        configs,
    };
    let copies = settings.replication_factor;
    let ours = topics.iter().map(|spec| topic(spec.name, topic_configs(spec, copies)));
    ours.chain(operators.iter().map(|operator| topic(&changelog(operator), changelog_configs(copies))))
        .collect()
}

/// Returns the properties that a topic has to have.
pub fn topic_configs(topic: &TopicSpec, replication_factor: u32) -> Vec<(&'static str, String)> {
    let mut configs = common_configs(replication_factor, topic.record_bytes_max);
    let (policy, retention_h) = match topic.cleanup {
        Cleanup::Delete { retention_h } => ("delete", Some(retention_h)),
        Cleanup::Compact => ("compact", None),
        Cleanup::CompactDelete { retention_h } => ("compact,delete", Some(retention_h)),
    };
    configs.push(("cleanup.policy", policy.to_owned()));
    if let Some(retention_h) = retention_h {
        configs.push(("retention.ms", (u64::from(retention_h) * 3_600_000).to_string()));
    }
    if topic.cleanup != (Cleanup::Delete { retention_h: retention_h.unwrap_or_default() }) {
        configs.push(("segment.bytes", COMPACTED_SEGMENT_BYTES.to_string()));
    }
    if topic.stamped {
        configs.push(("message.timestamp.type", "LogAppendTime".to_owned()));
    } else {
        configs.extend(carried_time());
    }
    configs
}

/// Returns the properties that the changelog of an operator's tables has to have.
pub fn changelog_configs(replication_factor: u32) -> Vec<(&'static str, String)> {
    let mut configs = common_configs(replication_factor, ROW_BYTES_MAX);
    configs.push(("cleanup.policy", "compact".to_owned()));
    configs.push(("delete.retention.ms", DELETION_KEPT_MS.to_string()));
    configs.push(("segment.bytes", COMPACTED_SEGMENT_BYTES.to_string()));
    configs.extend(carried_time());
    configs
}

fn common_configs(replication_factor: u32, record_bytes_max: u32) -> Vec<(&'static str, String)> {
    let mut configs = vec![("max.message.bytes", (record_bytes_max + RECORD_OVERHEAD_BYTES).to_string())];
    if replication_factor > 1 {
        // What was acknowledged outlives the loss of a broker.
        configs.push(("min.insync.replicas", "2".to_owned()));
    }
    configs
}

/// Records of these topics carry the time of what they were made from, however long ago that was or will be.
fn carried_time() -> [(&'static str, String); 3] {
    [
        ("message.timestamp.type", "CreateTime".to_owned()),
        ("message.timestamp.before.max.ms", i64::MAX.to_string()),
        ("message.timestamp.after.max.ms", i64::MAX.to_string()),
    ]
}

fn new_topic(intended: &IntendedTopic) -> NewTopic<'_> {
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(count(intended.replication_factor));
    let topic = NewTopic::new(&intended.name, count(intended.partitions), replication);
    intended.configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_WAIT)).operation_timeout(Some(ADMIN_WAIT))
}

/// Waits until the brokers know topics that they have made, and returns those that they do not.
fn wait_for(
    settings: &KafkaSettings,
    intended: &[IntendedTopic],
    made: &[String],
) -> Result<Vec<String>, KafkaError> {
    let reader = Reader::committed(settings)?;
    let until = Instant::now() + ADMIN_WAIT;
    let mut missing: Vec<&IntendedTopic> =
        intended.iter().filter(|topic| made.contains(&topic.name)).collect();
    while !missing.is_empty() && Instant::now() < until {
        let mut left = Vec::new();
        for topic in missing {
            if reader.partitions(&topic.name)? != Some(topic.partitions as usize) {
                left.push(topic);
            }
        }
        missing = left;
        if !missing.is_empty() {
            std::thread::sleep(APPEAR_PAUSE);
        }
    }
    Ok(missing.iter().map(|topic| format!("{} was made and has not appeared", topic.name)).collect())
}

/// Returns where topics that were there already differ from what they have to be.
fn differences<C: rdkafka::client::ClientContext>(
    settings: &KafkaSettings,
    admin: &AdminClient<C>,
    intended: &[IntendedTopic],
    existed: &[String],
) -> Result<Vec<String>, KafkaError> {
    if existed.is_empty() {
        return Ok(Vec::new());
    }
    let reader = Reader::committed(settings)?;
    let specifiers: Vec<ResourceSpecifier<'_>> =
        existed.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let described = block_on(admin.describe_configs(&specifiers, &options()))?;
    let mut problems = Vec::new();
    for (name, resource) in existed.iter().zip(described) {
        let Some(topic) = intended.iter().find(|topic| topic.name == *name) else { continue };
        let partitions = reader.partitions(name)?.unwrap_or(0);
        if partitions != topic.partitions as usize {
            problems.push(format!("{name} has {partitions} partitions, not {}", topic.partitions));
        }
        match resource {
            Ok(resource) => problems.extend(config_differences(topic, &resource)),
            Err(code) => problems.push(format!("{name} cannot be described: {code}")),
        }
    }
    Ok(problems)
}

fn config_differences(topic: &IntendedTopic, resource: &ConfigResource) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, intended) in topic.configs.iter().filter(|(key, _)| COMPARED.contains(key)) {
        let found = resource.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or("none");
        let fits = match (found.parse::<u64>(), intended.parse::<u64>()) {
            // A larger limit does no harm.
            (Ok(found), Ok(intended)) => found >= intended,
            _ => found == intended,
        };
        if !fits {
            problems.push(format!("{} has {key} {found}, not {intended}", topic.name));
        }
    }
    problems
}

/// Returns what is wrong with topics that a worker needs.
pub(super) fn missing<C: rdkafka::consumer::ConsumerContext>(
    consumer: &rdkafka::consumer::BaseConsumer<C>,
    names: &[String],
    partitions: u32,
) -> Result<Vec<String>, KafkaError> {
    let mut problems = Vec::new();
    for name in names {
        match count_partitions(consumer, name)? {
            None => problems.push(format!("{name} is missing")),
            Some(found) if found != partitions as usize => {
                problems.push(format!("{name} has {found} partitions, not {partitions}"));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

/// Waits for an answer of the client library, whose own thread completes it.
fn block_on<T>(future: impl Future<Output = Result<T, ClientError>>) -> Result<T, KafkaError> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return Ok(answer?),
            Poll::Pending => std::thread::park(),
        }
    }
}
