use crate::fixture::{Fixture, ORDINARY, rules_for};
use pipeline::bus::ManualClock;
use pipeline::bus::local::LocalLog;
use pipeline::store::MemoryStore;
use pipeline::{Edge, Start, Tail};
use schemas::topic::{RULES, SIGNALS};
use schemas::{Codec, Marker, Outcome, RuleSetRecord};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tamiz::control::{ControlError, IN_FORCE_KEY, RuleWatcher, publish_rules, rules_in_force};

const PARTITIONS: u32 = 3;
const COUNT: usize = PARTITIONS as usize;
const NOW: i64 = 1_772_366_400_000;
/// Longer than any step of these tests takes; what is waited for comes at once.
const WAIT: Duration = Duration::from_secs(30);
const WATCH: Duration = Duration::from_millis(5);

fn log() -> Arc<LocalLog> {
    let clock = Arc::new(ManualClock::at(NOW));
    LocalLog::open(Arc::new(MemoryStore::default()), clock, PARTITIONS, false).expect("a log in memory opens")
}

/// Waits for so many markers, or, for none, tells what is there.
fn markers(tail: &mut dyn Tail, count: usize) -> Vec<Marker> {
    let codec = Codec::new();
    let mut markers = Vec::new();
    loop {
        let wait = if markers.len() < count { WAIT } else { Duration::ZERO };
        let records = tail.next(100, wait).expect("the signals are read");
        if records.is_empty() {
            return markers;
        }
        let marker = |record: &pipeline::LogRecord| codec.decode(record.value.as_deref().unwrap_or_default());
        markers.extend(records.iter().map(|record| marker(record).expect("it is a marker")));
    }
}

#[test]
fn a_rule_set_is_put_in_force_in_every_partition_once() {
    let (log, codec) = (log(), Codec::new());
    let mut tail = log.tail(&SIGNALS, Start::Earliest).expect("the signals are read");
    let one = rules_for("one", "s-1");
    let published = publish_rules(&log, &codec, &one, NOW).expect("the rules are good");
    assert!(published.is_new && published.hash.starts_with("sha256:"));
    let found = markers(tail.as_mut(), COUNT);
    let marker = Marker { kind: "rules".into(), hash: published.hash.clone(), published_at: NOW };
    assert_eq!(found, vec![marker; COUNT]);
    let record = log.find_compacted(&RULES, published.hash.as_bytes()).expect("the rules are read");
    let value = record.and_then(|record| record.value).expect("the text is there under its hash");
    let record: RuleSetRecord = codec.decode(&value).expect("it is a rule set");
    assert_eq!(
        (record.name.as_str(), record.source.as_str(), record.published_at),
        ("one", one.as_str(), NOW)
    );
    assert_eq!(rules_in_force(&log, &codec).expect("it is read"), Some(record));

    let again = publish_rules(&log, &codec, &one, NOW + 1).expect("the rules are good");
    assert!(!again.is_new && again.hash == published.hash);
    assert_eq!(markers(tail.as_mut(), 0), [], "what is in force is not published again");

    publish_rules(&log, &codec, &rules_for("two", "s-2"), NOW).expect("the rules are good");
    let back = publish_rules(&log, &codec, &one, NOW).expect("the rules are good");
    assert!(back.is_new, "an earlier set can be put in force again");
    assert_eq!(markers(tail.as_mut(), 2 * COUNT).len(), 2 * COUNT);
    let keys: Vec<Vec<u8>> = log
        .read_compacted(&RULES)
        .expect("the rules are read")
        .into_iter()
        .filter_map(|record| record.key)
        .filter(|key| key != IN_FORCE_KEY)
        .collect();
    assert_eq!(keys.len(), 2);
}

#[test]
fn rules_with_mistakes_change_nothing() {
    let (log, codec) = (log(), Codec::new());
    let broken = rules_for("one", "s-1").replace("session.session_id", "session.sesion_id");
    let error = publish_rules(&log, &codec, &broken, NOW).expect_err("the name is unknown");
    let ControlError::Rules(mistakes) = error else { panic!("{error}") };
    assert_eq!(mistakes.diagnostics[0].line, 4);
    assert!(log.read_compacted(&RULES).expect("the rules are read").is_empty());
    assert_eq!(log.end(&SIGNALS, 0), 0);
}

fn watch(file: &Path, log: &Arc<LocalLog>) -> Result<RuleWatcher, ControlError> {
    let clock = Arc::new(ManualClock::at(NOW));
    RuleWatcher::start(file.to_owned(), WATCH, Arc::new(Arc::clone(log)), Arc::new(Codec::new()), clock)
}

#[test]
fn a_watched_file_is_published_when_it_changes_and_kept_when_it_breaks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rules.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("a file is written");
    let (log, codec) = (log(), Codec::new());
    write(&rules_for("one", "s-1"));
    let watcher = watch(&file, &log).expect("the rules are good");
    let name = || rules_in_force(&log, &codec).expect("it is read").map(|record| record.name);
    assert_eq!(name().as_deref(), Some("one"), "it is in force before anything is handled");

    let mut tail = log.tail(&SIGNALS, Start::Latest).expect("the signals are read");
    let mut next_name = || {
        let found = markers(tail.as_mut(), COUNT);
        assert_eq!(found.len(), COUNT);
        name().expect("a rule set is in force")
    };
    write(&rules_for("two", "s-2"));
    assert_eq!(next_name(), "two");
    // Neither what is broken nor a file that is gone is ever published: the next markers are of the set after them.
    write("name = \"broken\"\n[[rule]]\ncode = 1\n");
    std::fs::remove_file(&file).expect("the file is removed");
    write(&rules_for("three", "s-3"));
    assert_eq!(next_name(), "three");
    drop(watcher);
    write(&rules_for("four", "s-4"));
    assert_eq!(name().as_deref(), Some("three"), "nobody watches any more");
}

#[test]
fn a_watcher_starts_with_broken_rules_only_where_others_are_in_force() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rules.toml");
    let log = log();
    let error = watch(&file, &log).err().expect("there is no file");
    assert!(matches!(error, ControlError::Read { .. }), "{error}");
    std::fs::write(&file, "name = 7\n").expect("a file is written");
    let error = watch(&file, &log).err().expect("the rules are broken");
    assert!(matches!(error, ControlError::Rules(_)), "{error}");
    std::fs::write(&file, b"\xff").expect("a file is written");
    let error = watch(&file, &log).err().expect("it is no text");
    assert!(matches!(error, ControlError::Text { offset: 0, .. }), "{error}");

    publish_rules(&log, &Codec::new(), &rules_for("one", "s-1"), NOW).expect("the rules are good");
    let _watcher = watch(&file, &log).expect("those in force stay");
    let mut tail = log.tail(&SIGNALS, Start::Latest).expect("the signals are read");
    std::fs::write(&file, rules_for("two", "s-2")).expect("a file is written");
    assert_eq!(markers(tail.as_mut(), COUNT).len(), COUNT, "the mended file is published");
}

#[test]
fn decisions_after_the_markers_are_taken_under_the_published_rules() {
    let fixture = Fixture::new();
    let session = |id: &str| format!("{{\"session_id\":{id:?},\"ip\":{ORDINARY:?}}}\n");
    fixture.write("before.jsonl", session("s-1"));
    fixture.write("after.jsonl", session("s-1b"));
    fixture.write("rules.toml", rules_for("known", "s-1b"));
    fixture.tamiz(&["publish", "--input", "before.jsonl"]).ok();
    fixture.work();
    let out = fixture.tamiz(&["rules", "publish", "rules.toml", "--json"]).json();
    fixture.tamiz(&["publish", "--input", "after.jsonl"]).ok();
    fixture.work();
    let decisions = fixture.decisions();
    let of = |id: &str| decisions.iter().find(|decision| decision.session_id == id).expect("it is decided");
    assert_eq!((of("s-1").decision, of("s-1b").decision), (Outcome::Pass, Outcome::Flag));
    assert_ne!(of("s-1").rule_set, of("s-1b").rule_set);
    assert_eq!(out[0]["hash"], of("s-1b").rule_set.as_str());
    assert_eq!(out[0]["is_new"], true);
    assert_eq!(fixture.tamiz(&["rules", "publish", "rules.toml", "--json"]).json()[0]["is_new"], false);
}
