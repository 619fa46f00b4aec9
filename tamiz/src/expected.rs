//! What decisions are expected of sessions, as `tamiz sample --expected` writes it, against what was decided.

use anyhow::{Context, Result};
use schemas::Decision;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Differences that are told; the others are counted.
const SHOWN_MAX: usize = 5;

/// Expectations by session.
pub struct Expectations {
    sessions: BTreeMap<String, Answer>,
    decided: BTreeMap<String, Answer>,
}

#[derive(Deserialize)]
struct Line {
    session_id: String,
    codes: Vec<String>,
    decision: String,
}

#[derive(Debug, PartialEq)]
struct Answer {
    decision: String,
    /// In alphabetical order.
    codes: Vec<String>,
}

impl Expectations {
    /// Reads a file of expectations, a session a line.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut sessions = BTreeMap::new();
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let at = || format!("{}, line {number}", path.display());
            let mut line: Line = serde_json::from_str(&line.with_context(at)?).with_context(at)?;
            line.codes.sort_unstable();
            sessions.insert(line.session_id, Answer { decision: line.decision, codes: line.codes });
        }
        Ok(Self { sessions, decided: BTreeMap::new() })
    }

    /// Notes a decision; a session's last one counts.
    pub fn note(&mut self, decision: &Decision) {
        let mut codes: Vec<String> = decision.reasons.iter().map(|reason| reason.code.clone()).collect();
        codes.sort_unstable();
        let answer = Answer { decision: decision.decision.as_str().to_owned(), codes };
        self.decided.insert(decision.session_id.clone(), answer);
    }

    /// Returns how many sessions are as expected, and the others, some in words.
    pub fn compare(&self) -> Comparison {
        let mut comparison = Comparison::default();
        for (session_id, expected) in &self.sessions {
            match self.decided.get(session_id) {
                Some(answer) if answer == expected => comparison.equal += 1,
                found => {
                    comparison.different += 1;
                    if comparison.shown.len() < SHOWN_MAX {
                        let in_words =
                            |answer: &Answer| format!("{} [{}]", answer.decision, answer.codes.join(", "));
                        let found = found.map_or("no decision".to_owned(), in_words);
                        comparison
                            .shown
                            .push(format!("{session_id}: expected {}, found {found}", in_words(expected)));
                    }
                }
            }
        }
        comparison
    }
}

/// Expectations against decisions.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Sessions decided as expected, for the reasons expected.
    pub equal: u64,
    /// The others.
    pub different: u64,
    /// Some of the others in words.
    pub shown: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Outcome, Reason};

    #[test]
    fn a_session_is_as_expected_when_its_last_decision_and_all_reasons_are() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("expected.jsonl");
        let line = |id: &str, code: &str| {
            format!("{{\"session_id\":\"{id}\",\"traits\":[],\"codes\":[{code}],\"decision\":\"review\"}}\n")
        };
        let text = line("same", "\"B\",\"A\"") + &line("other", "\"A\"") + &line("none", "");
        std::fs::write(&path, text).expect("a file is written");
        let mut expectations = Expectations::read(&path).expect("the file is read");
        let decision = |session_id: &str, codes: &[&str]| Decision {
            session_id: session_id.to_owned(),
            decision: Outcome::Review,
            reasons: codes
                .iter()
                .map(|code| Reason { code: (*code).to_owned(), ..Reason::default() })
                .collect(),
            ..Decision::default()
        };
        expectations.note(&decision("same", &[]));
        expectations.note(&decision("same", &["A", "B"]));
        expectations.note(&decision("other", &["A", "C"]));
        let comparison = expectations.compare();
        assert_eq!((comparison.equal, comparison.different), (1, 2));
        assert!(
            comparison.shown.iter().any(|line| line == "other: expected review [A], found review [A, C]"),
            "{comparison:?}"
        );
    }
}
