//! `tamiz topics`: what the topics hold and how they are kept. `docs/topics.md` is made here.

use crate::operators::OPERATORS;
use crate::text::{Side, columns, counted};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use pipeline::bus::kafka::create_topics;
use pipeline::config::{BusKind, Config};
use pipeline::host::kafka_settings;
use pipeline::table::changelog;
use schemas::topic::TOPICS;
use schemas::{Cleanup, PUBLISHED, TopicSpec};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;

/// Create, list and document the topics.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    pub command: TopicsCommand,
}

/// What to do with the topics.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    Create(CreateArgs),
    List(ListArgs),
    /// Print docs/topics.md.
    Document,
}

/// Create the topics and the changelogs of the operators' tables on Kafka.
///
/// Topics that are there are left alone; the exit code is 1 where one differs from what it has to be. An embedded log
/// has its topics from the start.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Print a JSON object: what was created and what was there.
    #[arg(long)]
    pub json: bool,
}

/// List the topics of this deployment, and on Kafka the changelogs of the operators' tables.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print a JSON list.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &TopicsArgs, config: &Config) -> Result<()> {
    let out = &mut std::io::stdout().lock();
    match &args.command {
        TopicsCommand::Create(args) => create(args, config, out),
        TopicsCommand::List(args) => list(args, config, out),
        TopicsCommand::Document => {
            // The page is of the defaults, whatever the settings at hand.
            let defaults = Config::load(None, std::iter::empty())?;
            Ok(write!(out, "{}", document(defaults.deployment.partitions, &operator_names()))?)
        }
    }
}

fn create(args: &CreateArgs, config: &Config, out: &mut dyn Write) -> Result<()> {
    let (created, existed) = match config.deployment.bus {
        BusKind::Embedded => (Vec::new(), TOPICS.iter().map(|topic| topic.name.to_owned()).collect()),
        BusKind::Kafka => {
            let servers = &config.kafka.bootstrap_servers;
            let report = create_topics(&kafka_settings(config, ""), TOPICS, &operator_names());
            let report = report.with_context(|| format!("cannot create the topics at {servers}"))?;
            (report.created, report.existed)
        }
    };
    if args.json {
        writeln!(out, "{}", json!({ "created": created, "existed": existed }))?;
        return Ok(());
    }
    for name in &created {
        writeln!(out, "created {name}")?;
    }
    match config.deployment.bus {
        BusKind::Embedded => {
            let folder = config.embedded.folder.display();
            writeln!(out, "nothing to create: the embedded log in {folder} has its topics from the start")?;
        }
        BusKind::Kafka => {
            let created = counted(created.len() as u64, "topic");
            writeln!(out, "{created} created, {} there already and as they have to be", existed.len())?;
        }
    }
    Ok(())
}

fn operator_names() -> Vec<&'static str> {
    OPERATORS.iter().map(|registration| registration.name).collect()
}

fn list(args: &ListArgs, config: &Config, out: &mut dyn Write) -> Result<()> {
    // The tables of an embedded log are in the same store as the log, and need no changelog.
    let (prefix, operators) = match config.deployment.bus {
        BusKind::Embedded => ("", Vec::new()),
        BusKind::Kafka => (config.kafka.topic_prefix.as_str(), operator_names()),
    };
    let partitions = config.deployment.partitions;
    let changelogs: Vec<String> = operators.into_iter().map(changelog).collect();
    if args.json {
        let topics = TOPICS.iter().map(|topic| topic_to_json(topic, prefix, partitions));
        let changelogs = changelogs.iter().map(|name| changelog_to_json(name, prefix, partitions));
        writeln!(out, "{}", Value::from(topics.chain(changelogs).collect::<Vec<_>>()))?;
        return Ok(());
    }
    let mut rows = vec![["topic", "partitions", "clean-up", "time", "holds"].map(str::to_owned).to_vec()];
    for topic in TOPICS {
        rows.push(vec![
            format!("{prefix}{}", topic.name),
            partitions.to_string(),
            cleanup_text(topic.cleanup),
            time_source(topic.stamped).to_owned(),
            records(topic).join(", "),
        ]);
    }
    for name in changelogs {
        rows.push(vec![
            format!("{prefix}{name}"),
            partitions.to_string(),
            cleanup_text(Cleanup::Compact),
            time_source(false).to_owned(),
            "rows of tables".to_owned(),
        ]);
    }
    Ok(columns(out, &[Side::Left, Side::Right, Side::Left, Side::Left, Side::Left], &rows)?)
}

fn topic_to_json(topic: &TopicSpec, prefix: &str, partitions: u32) -> Value {
    json!({
        "name": format!("{prefix}{}", topic.name),
        "partitions": partitions,
        "records": records(topic),
        "key": topic.key,
        "cleanup": cleanup_policy(topic.cleanup),
        "retention_h": retention_h(topic.cleanup),
        "timestamp_type": time_source(topic.stamped),
        "record_bytes_max": topic.record_bytes_max,
        "writers": topic.writers,
        "purpose": topic.purpose,
    })
}

fn changelog_to_json(name: &str, prefix: &str, partitions: u32) -> Value {
    json!({
        "name": format!("{prefix}{name}"),
        "partitions": partitions,
        "records": [],
        "key": CHANGELOG_KEY,
        "cleanup": cleanup_policy(Cleanup::Compact),
        "retention_h": null,
        "timestamp_type": time_source(false),
    })
}

const CHANGELOG_KEY: &str = "number of the table in one byte, and the row's key";

/// Returns the names of the schemas of a topic's records.
fn records(topic: &TopicSpec) -> Vec<&'static str> {
    topic.records.iter().map(|index| PUBLISHED[*index].file).collect()
}

fn time_source(stamped: bool) -> &'static str {
    if stamped { "LogAppendTime" } else { "CreateTime" }
}

fn cleanup_policy(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Delete { .. } => "delete",
        Cleanup::Compact => "compact",
        Cleanup::CompactDelete { .. } => "compact,delete",
    }
}

fn retention_h(cleanup: Cleanup) -> Option<u32> {
    match cleanup {
        Cleanup::Delete { retention_h } | Cleanup::CompactDelete { retention_h } => Some(retention_h),
        Cleanup::Compact => None,
    }
}

fn cleanup_text(cleanup: Cleanup) -> String {
    match retention_h(cleanup) {
        Some(hours) => format!("{} after {}", cleanup_policy(cleanup), span(hours)),
        None => cleanup_policy(cleanup).to_owned(),
    }
}

fn span(hours: u32) -> String {
    if hours.is_multiple_of(24) && hours > 24 { format!("{} days", hours / 24) } else { format!("{hours} h") }
}

/// Returns a number with a comma at every thousand.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const INTRODUCTION: &str = "\
# Topics

Made by `tamiz topics document`; a test compares this page with what it prints.

Every topic has as many partitions as `deployment.partitions` says, and the partition of a key is murmur2, as Java's
default partitioner computes it. `kafka.topic_prefix` stands before every name. The key of a session is its tenant and
its session id, each with its length in two bytes (big endian) before it.

Records are in the wire format of a schema registry: a zero byte, the schema's id in four bytes (big endian), and the
Avro binary encoding. The schemas are in `schemas/avro`; the subject of a topic's first record is `<topic>-value`, that
of any other the full name of the record, as in `tamiz.Marker`. Only committed records count: read with
`isolation.level=read_committed`.

Time is `LogAppendTime` where the broker stamps records, and `CreateTime` where records carry the time of what they
were made from. Retention counts in that time. A tick is a record without a value and with the header `tamiz-tick`: it
only carries the broker's time. The header `tamiz-handled-by` names operators that have handled a record in memory, and
`tamiz-attempts` counts how often a dead letter was handed back.

| topic | records | key | partitions | clean-up | time | largest record (bytes) | written by | for |
|---|---|---|---|---|---|---|---|---|
";

const CHANGELOGS: &str = "
## Changelogs

The tables of an operator have a changelog, from which a worker that takes a partition over restores them. They are
private to the operator: nobody else writes or reads them. On the embedded log there are none, since the tables are in
the same store as the log.

| topic | key | partitions | clean-up | time | written by |
|---|---|---|---|---|---|
";

/// Returns `docs/topics.md`, with a changelog for each operator.
pub fn document(partitions: u32, operators: &[&str]) -> String {
    let mut text = String::from(INTRODUCTION);
    for topic in TOPICS {
        let records: Vec<String> = records(topic).iter().map(|name| format!("`{name}`")).collect();
        let cells = [
            format!("`{}`", topic.name),
            records.join(", "),
            topic.key.to_owned(),
            partitions.to_string(),
            cleanup_text(topic.cleanup),
            time_source(topic.stamped).to_owned(),
            grouped(topic.record_bytes_max),
            topic.writers.to_owned(),
            topic.purpose.to_owned(),
        ];
        row(&mut text, &cells);
    }
    text.push_str(CHANGELOGS);
    for operator in operators {
        let cells = [
            format!("`{}`", changelog(operator)),
            CHANGELOG_KEY.to_owned(),
            partitions.to_string(),
            cleanup_text(Cleanup::Compact),
            time_source(false).to_owned(),
            (*operator).to_owned(),
        ];
        row(&mut text, &cells);
    }
    text
}

fn row(text: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_numbers_read_well() {
        assert_eq!(span(24), "24 h");
        assert_eq!(span(168), "7 days");
        assert_eq!(span(30), "30 h");
        assert_eq!(grouped(11_000_000), "11,000,000");
        assert_eq!(grouped(999), "999");
        assert_eq!(cleanup_text(Cleanup::CompactDelete { retention_h: 48 }), "compact,delete after 2 days");
    }

    #[test]
    fn every_topic_and_changelog_is_documented() {
        let text = document(6, &["intake"]);
        for topic in TOPICS {
            assert!(text.contains(&format!("| `{}` |", topic.name)), "{}", topic.name);
        }
        assert!(text.contains("| `intake.changelog` |") && text.contains("| 6 |"));
    }
}
