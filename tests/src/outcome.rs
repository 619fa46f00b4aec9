//! What came of a workload, as a reader of committed records sees it, and what must hold of it.

use crate::buses::TestLog;
use crate::deployment::{PARTITIONS, codec};
use crate::workload::{Expected, ExpectedDecision, Refusal, Workload};
use pipeline::LogRecord;
use schemas::json::decision_to_json;
use schemas::topic::{DEAD_LETTER, DECISIONS, DECISIONS_LATEST, SESSIONS};
use schemas::{Cause, Codec, DeadLetter, Decision, Key, Outcome as Answer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Differences that are told.
const DIFFERENCES_TOLD: usize = 3;

/// What came of a workload.
#[derive(Clone, PartialEq)]
pub struct Outcome {
    /// The bytes of each session's decisions, in order.
    decisions: BTreeMap<Key, Vec<Vec<u8>>>,
    /// The bytes of each session's last decision, as the compacted topic has them.
    latest: BTreeMap<Key, Vec<u8>>,
    /// The dead letters, sorted; where a record stood is checked and then left out, since records that intake moves
    /// may come before or after it.
    letters: Vec<Letter>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    topic: String,
    partition: i32,
    operator: String,
    reason: String,
    detail: String,
    key: Option<Vec<u8>>,
    value_sha256: String,
    attempts: i32,
}

impl Outcome {
    /// Reads what is committed, and checks that each record is what it says.
    pub fn read(log: &TestLog) -> Self {
        let codec = codec();
        let mut decisions: BTreeMap<Key, Vec<Vec<u8>>> = BTreeMap::new();
        for record in log.records(&DECISIONS) {
            let (key, bytes) = checked_decision(&codec, record);
            decisions.entry(key).or_default().push(bytes);
        }
        let latest = log
            .records(&DECISIONS_LATEST)
            .into_iter()
            .map(|record| checked_decision(&codec, record))
            .collect();
        let letters = read_letters(log, &codec);
        Self { decisions, latest, letters }
    }

    /// Returns the same without the times of decisions, which depend on when a signal was written between processes.
    pub fn undated(&self) -> Self {
        let codec = codec();
        let undated = |bytes: &Vec<u8>| {
            let mut decision: Decision = codec.decode(bytes).expect("it was read before");
            decision.decided_at = 0;
            let mut bytes = Vec::new();
            codec.encode(&decision, &mut bytes).expect("a decision can be encoded");
            bytes
        };
        let decisions =
            self.decisions.iter().map(|(key, all)| (key.clone(), all.iter().map(undated).collect()));
        let latest = self.latest.iter().map(|(key, last)| (key.clone(), undated(last)));
        Self { decisions: decisions.collect(), latest: latest.collect(), letters: self.letters.clone() }
    }

    /// Returns the decisions of each session, in order.
    pub fn decisions(&self) -> BTreeMap<Key, Vec<Decision>> {
        let codec = codec();
        let decoded = |bytes: &Vec<u8>| codec.decode(bytes).expect("it was read before");
        self.decisions.iter().map(|(key, all)| (key.clone(), all.iter().map(decoded).collect())).collect()
    }

    /// Returns operator and reason of each dead letter.
    pub fn refusals(&self) -> Vec<(&str, &str)> {
        self.letters.iter().map(|letter| (letter.operator.as_str(), letter.reason.as_str())).collect()
    }

    /// Leaves a session out.
    pub fn without(mut self, key: &Key) -> Self {
        self.decisions.remove(key);
        self.latest.remove(key);
        self
    }

    /// Checks what holds of any outcome: revisions without gaps, each of the one before, no id twice, and the last
    /// decision of each session in the compacted topic.
    pub fn check_revisions(&self) {
        let mut ids = BTreeSet::new();
        for (key, decisions) in self.decisions() {
            let mut earlier: Option<&Decision> = None;
            for (decision, revision) in decisions.iter().zip(1..) {
                assert!(
                    ids.insert(decision.decision_id.clone()),
                    "decision {} is there twice",
                    decision.decision_id
                );
                assert_eq!(decision.revision, revision, "revisions of {key:?} have no gaps");
                assert_eq!(
                    decision.supersedes.as_ref(),
                    earlier.map(|earlier| &earlier.decision_id),
                    "of {key:?}"
                );
                assert_eq!(decision.previous_decision, earlier.map(|earlier| earlier.decision), "of {key:?}");
                assert!(
                    earlier.is_none_or(|earlier| earlier.stage <= decision.stage),
                    "stages of {key:?} do not go back"
                );
                earlier = Some(decision);
            }
            assert_eq!(
                self.latest.get(&key),
                self.decisions[&key].last(),
                "the last decision of {key:?} is the latest"
            );
        }
        assert_eq!(self.latest.len(), self.decisions.len(), "nothing else is among the latest decisions");
    }

    /// Checks that exactly what had to come of a workload did.
    pub fn check(&self, workload: &Workload) {
        self.check_revisions();
        let found = self.decisions();
        for (key, expected) in &workload.sessions {
            let decisions = found.get(key).map(Vec::as_slice).unwrap_or_default();
            check_session(key, expected, decisions);
        }
        let strangers: Vec<&Key> = found.keys().filter(|key| !workload.sessions.contains_key(*key)).collect();
        assert!(strangers.is_empty(), "nobody sent these sessions: {strangers:?}");
        let found = |letter: &Letter| {
            (letter.partition.unsigned_abs(), letter.reason.clone(), letter.value_sha256.clone())
        };
        let sent =
            |refusal: &Refusal| (refusal.partition, refusal.reason.clone(), refusal.value_sha256.clone());
        let mut refused: Vec<_> = self.letters.iter().map(found).collect();
        let mut expected: Vec<_> = workload.refusals.iter().map(sent).collect();
        refused.sort_unstable();
        expected.sort_unstable();
        assert_eq!(refused, expected, "partition, reason and hash of what is refused");
    }

    /// Checks that the decisions are of every kind: a comparison of outcomes that are all alike would show little.
    pub fn check_variety(&self) {
        let all: Vec<Decision> = self.decisions().into_values().flatten().collect();
        for answer in [Answer::Pass, Answer::Review, Answer::Flag] {
            assert!(
                all.iter().any(|decision| decision.decision == answer),
                "no decision is {}",
                answer.as_str()
            );
        }
        for cause in [Cause::AllSignals, Cause::Stage] {
            assert!(
                all.iter().any(|decision| decision.cause == cause),
                "no decision is for {}",
                cause.as_str()
            );
        }
    }

    /// Checks that two outcomes are the same to the byte.
    pub fn assert_same(&self, other: &Self, what: &str) {
        if self != other {
            panic!("{what}:\n{}", self.differences(other));
        }
    }

    fn differences(&self, other: &Self) -> String {
        let mut told = String::new();
        let keys: BTreeSet<&Key> = self.decisions.keys().chain(other.decisions.keys()).collect();
        let differing = keys.iter().filter(|key| self.decisions.get(key) != other.decisions.get(key));
        for key in differing.take(DIFFERENCES_TOLD) {
            let _ = writeln!(
                told,
                "session {:?} has the decisions\n{}and\n{}",
                key.session(),
                self.describe(key),
                other.describe(key)
            );
        }
        if self.latest != other.latest {
            told.push_str("the latest decisions differ\n");
        }
        let letters = |one: &Self, two: &Self| {
            let only = one.letters.iter().filter(|letter| !two.letters.contains(letter));
            only.take(DIFFERENCES_TOLD).map(|letter| format!("{letter:?}\n")).collect::<String>()
        };
        let _ = writeln!(
            told,
            "dead letters only of the one:\n{}only of the other:\n{}",
            letters(self, other),
            letters(other, self)
        );
        told
    }

    fn describe(&self, key: &Key) -> String {
        let codec = codec();
        let mut text = String::new();
        for bytes in self.decisions.get(key).into_iter().flatten() {
            let decision: Decision = codec.decode(bytes).expect("it was read before");
            let _ = writeln!(text, "  {}", decision_to_json(&decision));
        }
        text
    }
}

fn check_session(key: &Key, expected: &Expected, decisions: &[Decision]) {
    let session = key.session();
    let causes: Vec<(i32, Cause, &str)> = decisions
        .iter()
        .map(|decision| (decision.stage, decision.cause, decision.rule_set.as_str()))
        .collect();
    let said = |decision: &ExpectedDecision| (decision.stage, decision.cause, decision.rule_set.clone());
    let expected_causes: Vec<_> = expected.decisions.iter().map(said).collect();
    let expected_causes: Vec<_> =
        expected_causes.iter().map(|(stage, cause, rules)| (*stage, *cause, rules.as_str())).collect();
    assert_eq!(causes, expected_causes, "stage, cause and rule set of each decision of {session:?}");
    let Some(last) = decisions.last() else { return };
    let stated = &expected.session;
    assert!(last.complete, "nothing is missing in the last decision of {session:?}");
    assert_eq!(last.event_time, stated.event_time, "of {session:?}");
    assert_eq!(last.request_id, stated.request_id, "of {session:?}");
    assert_eq!(last.reference, stated.reference, "of {session:?}");
    assert_eq!(&last.account_id, stated.account_id.as_ref().unwrap_or(&stated.session_id), "of {session:?}");
    let has_signal = |name: &str| last.signals.iter().any(|signal| signal.name == name);
    assert_eq!(has_signal("ip"), stated.ip.is_some(), "of {session:?}");
    let places = [&stated.location, &stated.address];
    let located = places.into_iter().flatten().any(|place| place.lat.is_some());
    assert_eq!(has_signal("geo"), located, "of {session:?}");
}

/// Checks that a decision stands where it belongs and its headers say what it says.
fn checked_decision(codec: &Codec, record: LogRecord) -> (Key, Vec<u8>) {
    let bytes = record.value.clone().expect("a decision has a value");
    let decision: Decision = codec.decode(&bytes).expect("a decision can be decoded");
    let key = Key::of_session(&decision.tenant, &decision.session_id);
    assert_eq!(record.key.as_deref(), Some(key.as_bytes()), "the key of a decision is its session's");
    assert_eq!(record.partition, key.partition(PARTITIONS), "a decision is in its session's partition");
    assert_eq!(record.header("tenant"), Some(decision.tenant.as_str()));
    assert_eq!(record.header("decision"), Some(decision.decision.as_str()));
    assert_eq!(record.header("cause"), Some(decision.cause.as_str()));
    assert_eq!(record.header("revision"), Some(decision.revision.to_string().as_str()));
    (key, bytes)
}

/// Reads the dead letters, and checks that each names a record that stands where it says.
fn read_letters(log: &TestLog, codec: &Codec) -> Vec<Letter> {
    let letters = log.records(&DEAD_LETTER);
    let mut positions = BTreeSet::new();
    let mut found = Vec::new();
    let sessions = log.records(&SESSIONS);
    for record in letters {
        let bytes = record.value.as_deref().expect("a dead letter has a value");
        let letter: DeadLetter = codec.decode(bytes).expect("a dead letter can be decoded");
        assert!(!letter.detail.is_empty(), "a dead letter says what was wrong");
        let place = (letter.topic.clone(), letter.partition, letter.offset, letter.operator.clone());
        assert!(positions.insert(place), "a record is refused once: {letter:?}");
        if letter.topic == SESSIONS.name {
            let at = |refused: &&LogRecord| {
                i64::from(refused.partition) == i64::from(letter.partition)
                    && i64::try_from(refused.offset) == Ok(letter.offset)
            };
            let refused = sessions.iter().find(at).expect("a dead letter names a record");
            let value = refused.value.as_deref().unwrap_or_default();
            assert_eq!(schemas::sha256_hex(value), letter.value_sha256, "it is the record that was refused");
            assert_eq!(letter.value_size, value.len() as i64);
            assert!(
                letter.value.as_ref().is_none_or(|kept| kept.as_slice() == value),
                "its bytes are kept as they were"
            );
            assert_eq!(refused.key.as_deref(), letter.key.as_ref().map(|key| key.as_slice()));
        }
        found.push(Letter {
            topic: letter.topic,
            partition: letter.partition,
            operator: letter.operator,
            reason: letter.reason,
            detail: letter.detail,
            key: letter.key.map(|key| key.into_vec()),
            value_sha256: letter.value_sha256,
            attempts: letter.attempts,
        });
    }
    found.sort_unstable();
    found
}
