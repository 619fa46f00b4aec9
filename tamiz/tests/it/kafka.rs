//! The commands on a real broker.

use crate::fixture::{Fixture, ORDINARY, TOR_EXIT, rules_for};
use pipeline::bus::kafka::KafkaEdge;
use pipeline::host::kafka_settings;
use pipeline::record::ATTEMPTS_HEADER;
use pipeline::{Edge, NewRecord};
use schemas::topic::{SESSIONS, TOPICS};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tamiz::operators::OPERATORS;

/// A broker of this test alone; it ends with it.
struct Broker {
    name: String,
    address: String,
}

impl Broker {
    fn start() -> Self {
        let name = format!("tamiz-it-{}", std::process::id());
        let service = std::env::var("TAMIZ_KAFKA").unwrap_or_else(|_| "kafka".to_owned());
        let printed =
            services(&["start", &service, "--name", &name, "--owner", &std::process::id().to_string()]);
        let address = printed.trim().rsplit('=').next().expect("a line NAME=ADDRESS").to_owned();
        Self { name, address }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        services(&["stop", &self.name]);
    }
}

/// Runs `script/services`; a machine that is not set up fails the test and is told how to be.
fn services(arguments: &[&str]) -> String {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../script/services");
    let script = std::env::var_os("TAMIZ_SERVICES").map_or(own, PathBuf::from);
    let output = Command::new(&script).args(arguments).output().unwrap_or_else(|error| {
        panic!("cannot run {}: {error}; run script/setup test first", script.display())
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "services {arguments:?} failed (script/setup test installs them): {said}"
    );
    String::from_utf8(output.stdout).expect("services print text")
}

fn settings(fixture: &Fixture, address: &str, partitions: u32) -> String {
    let path = |name: &str| fixture.path(name).display().to_string();
    format!(
        "[deployment]\nbus = \"kafka\"\npartitions = {partitions}\n\
         [kafka]\nbootstrap_servers = {address:?}\ntopic_prefix = \"cli.\"\ninstance = \"it\"\nstate_folder = {:?}\n\
         [telemetry]\nlisten = \"\"\nlog_level = \"warn\"\n\
         [data]\nassets_folder = {:?}\nfiles = {{ \"ip.tor:addresses\" = [{:?}] }}\n",
        path("state"),
        path("assets"),
        path("tor.txt")
    )
}

/// A running `tamiz up`, which ends with the test.
struct Up(Child);

impl Up {
    fn start(fixture: &Fixture) -> Self {
        let mut command = fixture.command(&["up", "--no-http"]);
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("the command is built and runs"),
        )
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.kill().expect("the process is ours");
        self.0.wait().expect("the process has ended");
    }
}

#[test]
fn the_commands_work_on_a_real_broker() {
    let broker = Broker::start();
    let mut fixture = Fixture::new();
    fixture.configure(&settings(&fixture, &broker.address, 2));
    create_topics(&fixture, &broker);
    let up = Up::start(&fixture);
    judge(&fixture);
    hand_back(&fixture);
    drop(up);
}

/// Publishes sessions, which fall on every partition, until all are judged by a rule set: a process reads the topics one
/// beside the other, so that a marker takes effect a moment after it was published.
fn await_rules(fixture: &Fixture, hash: &Value) {
    const TRIES: usize = 30;
    const SESSIONS: usize = 16;
    for attempt in 0..TRIES {
        let tenant = format!("probe-{attempt}");
        let session =
            |number| format!("{}\n", json!({"tenant": tenant, "session_id": format!("p-{number}")}));
        fixture.write("probe.jsonl", (0..SESSIONS).map(session).collect::<String>());
        fixture.tamiz(&["publish", "--input", "probe.jsonl"]).ok();
        let count = SESSIONS.to_string();
        let tail = ["tail", "--tenant", &tenant, "--from", "earliest", "--count", &count, "--json"];
        if fixture.tamiz(&tail).json().iter().all(|decision| &decision["rule_set"] == hash) {
            return;
        }
    }
    panic!("the rules were never in force");
}

fn create_topics(fixture: &Fixture, broker: &Broker) {
    let json = fixture.tamiz(&["topics", "create", "--json"]).json();
    let created = json[0]["created"].as_array().map_or(0, Vec::len);
    let count = TOPICS.len() + OPERATORS.len();
    assert_eq!((created, &json[0]["existed"]), (count, &json!([])));
    let out = fixture.tamiz(&["topics", "create"]).ok();
    assert!(
        out.contains(&format!("0 topics created, {count} there already and as they have to be")),
        "{out}"
    );
    fixture.write("other.toml", settings(fixture, &broker.address, 3));
    let (_, err) = fixture.tamiz(&["--config", "other.toml", "topics", "create"]).failed();
    assert!(err.contains("cli.sessions has 2 partitions, not 3"), "{err}");
}

fn judge(fixture: &Fixture) {
    fixture.write("rules.toml", rules_for("known", "s-2") + "\n# Revised.\n");
    let published = fixture.tamiz(&["rules", "publish", "rules.toml", "--json"]).json();
    assert_eq!(published[0]["is_new"], true);
    assert_eq!(fixture.tamiz(&["rules", "publish", "rules.toml", "--json"]).json()[0]["is_new"], false);
    await_rules(fixture, &published[0]["hash"]);
    let sessions = [
        json!({"session_id": "s-1", "ip": ORDINARY, "complete": true}),
        json!({"tenant": "acme", "session_id": "s-2", "ip": TOR_EXIT}),
        json!({"session_id": "s-1", "ip": TOR_EXIT}),
    ];
    let sessions: String = sessions.iter().map(|session| format!("{session}\n")).collect();
    fixture.write("sessions.jsonl", sessions);
    let summary = fixture.tamiz(&["publish", "--input", "sessions.jsonl", "--json"]).json();
    assert_eq!((&summary[0]["sessions"], &summary[0]["problems"]), (&json!(3), &json!(0)));

    let decisions = fixture
        .tamiz(&["tail", "--tenant", "default", "--from", "earliest", "--count", "2", "--json"])
        .json();
    let acme =
        fixture.tamiz(&["tail", "--tenant", "acme", "--from", "earliest", "--count", "1", "--json"]).json();
    let decisions = [decisions, acme].concat();
    let of = |id: &str, revision: u64| -> &Value {
        let wanted = |decision: &&Value| decision["session_id"] == id && decision["revision"] == revision;
        decisions.iter().find(wanted).expect("it is decided")
    };
    assert_eq!((&of("s-1", 1)["decision"], &of("s-2", 1)["decision"]), (&json!("pass"), &json!("flag")));
    for decision in &decisions {
        assert_eq!(decision["rule_set"], published[0]["hash"]);
    }
    assert_eq!(of("s-1", 2)["changed"], json!(["inputs"]));
    let json = fixture.tamiz(&["explain", "s-1", "--json"]).json();
    assert_eq!(json[0]["revisions"], json!([of("s-1", 1), of("s-1", 2)]));
    let text = fixture.tamiz(&["explain", "s-2", "--tenant", "acme"]).ok();
    assert!(text.contains("It is known."), "{text}");
    let latest = fixture.tamiz(&["tail", "decisions.latest", "--no-follow", "--json"]).json();
    assert!(latest.iter().any(|decision| decision == of("s-1", 2)), "the last revision is there: {latest:?}");
}

fn hand_back(fixture: &Fixture) {
    let edge = KafkaEdge::connect(&kafka_settings(&fixture.config, "")).expect("the broker answers");
    let key = schemas::Key::of_session("default", "s-9");
    let record = NewRecord {
        topic: &SESSIONS,
        partition: key.partition(2),
        key: Some(key.as_bytes().to_vec()),
        value: Some(b"no record".to_vec()),
        headers: Vec::new(),
        time: 0,
    };
    edge.publish(vec![record]).expect("a record is appended");
    let first = ["tail", "dead-letter", "--from", "earliest", "--count", "1", "--json"];
    fixture.tamiz(&first).ok();
    let letters = fixture.tamiz(&["dead-letter", "list", "--json"]).json();
    assert_eq!((letters.len(), &letters[0]["session_id"]), (1, &json!("s-9")));
    let json = fixture.tamiz(&["dead-letter", "retry", "--reason", "undecodable", "--json"]).json();
    assert_eq!(json[0]["handed_back"], json!([letters[0]["position"]]));
    let second = ["tail", "dead-letter", "--from", "earliest", "--count", "2", "--json"];
    let letters = fixture.tamiz(&second).json();
    let attempts: Vec<&Value> = letters.iter().map(|letter| &letter["value"]["attempts"]).collect();
    assert_eq!(attempts, [0, 1], "it came back and was refused again");
    let sessions = fixture.tamiz(&["tail", "sessions", "--from", "earliest", "--no-follow", "--json"]).json();
    let counted = |record: &&Value| record["headers"][ATTEMPTS_HEADER] == "1";
    assert_eq!(sessions.iter().filter(counted).count(), 1);
}
