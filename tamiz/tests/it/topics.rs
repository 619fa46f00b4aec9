use crate::fixture::Fixture;
use pipeline::bus::kafka::{IntendedTopic, intended_topics};
use pipeline::config::Config;
use pipeline::host::kafka_settings;
use schemas::topic::TOPICS;
use std::path::Path;

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/topics.md");
    std::fs::read_to_string(&file).expect("docs/topics.md is there")
}

#[test]
fn the_page_of_topics_is_what_the_command_prints() {
    let printed = Fixture::new().tamiz(&["topics", "document"]).ok();
    assert!(
        page() == printed,
        "docs/topics.md is out of date; make it anew: tamiz topics document > docs/topics.md"
    );
}

/// Returns what the page is to say of a topic that `topics create` makes: partitions, clean-up and time.
fn cells(topic: &IntendedTopic) -> String {
    let config =
        |name: &str| topic.configs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let policy = config("cleanup.policy").expect("every topic has a policy");
    let cleanup =
        match config("retention.ms").map(|text| text.parse::<u64>().expect("it is a number") / 3_600_000) {
            Some(hours) if hours > 24 => format!("{policy} after {} days", hours / 24),
            Some(hours) => format!("{policy} after {hours} h"),
            None => policy.to_owned(),
        };
    let time = config("message.timestamp.type").expect("every topic has a kind of time");
    format!("| {} | {cleanup} | {time} |", topic.partitions)
}

#[test]
fn the_page_of_topics_tells_what_is_created() {
    let config = Config::load(None, std::iter::empty()).expect("the defaults are valid");
    let operators: Vec<&str> = tamiz::operators::OPERATORS.iter().map(|operator| operator.name).collect();
    let page = page();
    let created = intended_topics(&kafka_settings(&config, ""), TOPICS, &operators);
    for topic in &created {
        let start = format!("| `{}` |", topic.name);
        let row = page.lines().find(|line| line.starts_with(&start)).expect("every topic has a row");
        assert!(row.contains(&cells(topic)), "{} is not in {row}", cells(topic));
        let limit = topic.configs.iter().find(|(name, _)| *name == "max.message.bytes");
        let limit: u32 = limit.and_then(|(_, value)| value.parse().ok()).expect("every topic has a limit");
        if let Some(spec) = TOPICS.iter().find(|spec| spec.name == topic.name) {
            assert!(limit > spec.record_bytes_max, "{} takes its largest record", topic.name);
        }
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, created.len(), "the page has no other topic");
}

#[test]
fn every_topic_is_listed_and_on_kafka_every_changelog() {
    let fixture = Fixture::new();
    let json = fixture.tamiz(&["topics", "list", "--json"]).json();
    let listed: Vec<&str> =
        json[0].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    let expected: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    assert_eq!(listed, expected);
    assert_eq!(json[0][0]["partitions"], 2);
    let out = fixture.tamiz(&["topics", "list"]).ok();
    assert!(out.contains("signals") && out.contains("delete after 7 days   LogAppendTime"), "{out}");
    fixture.write("kafka.toml", "[deployment]\nbus = \"kafka\"\n[kafka]\ntopic_prefix = \"eu.\"\n");
    let out = fixture.tamiz(&["--config", "kafka.toml", "topics", "list"]).ok();
    assert!(out.contains("eu.sessions ") && out.contains("eu.fusion.changelog "), "{out}");
}

#[test]
fn an_embedded_log_needs_no_topics_to_be_created() {
    let fixture = Fixture::new();
    assert!(fixture.tamiz(&["topics", "create"]).ok().contains("nothing to create"));
}
