use crate::fixture::Fixture;
use schemas::topic::TOPICS;
use std::path::Path;
use tamiz::operators::OPERATORS;

#[test]
fn the_page_of_topics_is_what_the_command_prints() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/topics.md");
    let page = std::fs::read_to_string(&file).expect("docs/topics.md is there");
    let printed = Fixture::new().tamiz(&["topics", "document"]).ok();
    assert!(
        page == printed,
        "docs/topics.md is out of date; make it anew: tamiz topics document > docs/topics.md"
    );
}

#[test]
fn every_topic_is_listed_with_its_changelogs() {
    let fixture = Fixture::new();
    let json = fixture.tamiz(&["topics", "list", "--json"]).json();
    let listed: Vec<&str> =
        json[0].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    let mut expected: Vec<String> = TOPICS.iter().map(|topic| topic.name.to_owned()).collect();
    expected.extend(OPERATORS.iter().map(|operator| format!("{}.changelog", operator.name)));
    assert_eq!(listed, expected);
    assert_eq!(json[0][0]["partitions"], 2);
    let out = fixture.tamiz(&["topics", "list"]).ok();
    assert!(out.contains("signals") && out.contains("delete after 7 days  LogAppendTime"), "{out}");
}

#[test]
fn an_embedded_log_needs_no_topics_to_be_created() {
    let fixture = Fixture::new();
    assert!(fixture.tamiz(&["topics", "create"]).ok().contains("nothing to create"));
}
