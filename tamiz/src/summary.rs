//! A summary of decisions: how many of each outcome, and how often each rule fired, by each session's last decision.

use schemas::{Decision, Key, Outcome};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Counts of decisions.
#[derive(Debug, Default)]
pub struct Summary {
    outcomes: BTreeMap<Outcome, u64>,
    codes: BTreeMap<String, u64>,
    causes: BTreeMap<&'static str, u64>,
    incomplete: u64,
    revisions: u64,
    last: HashMap<Key, Counted>,
}

#[derive(Debug)]
struct Counted {
    outcome: Outcome,
    codes: Vec<String>,
    complete: bool,
}

impl Summary {
    /// Counts a decision in the place of its session's last.
    pub fn add(&mut self, decision: &Decision) {
        let key = Key::of_session(&decision.tenant, &decision.session_id);
        let codes: Vec<String> = decision.reasons.iter().map(|reason| reason.code.clone()).collect();
        *self.outcomes.entry(decision.decision).or_default() += 1;
        *self.causes.entry(decision.cause.as_str()).or_default() += 1;
        for code in &codes {
            *self.codes.entry(code.clone()).or_default() += 1;
        }
        self.incomplete += u64::from(!decision.complete);
        let counted = Counted { outcome: decision.decision, codes, complete: decision.complete };
        if let Some(before) = self.last.insert(key, counted) {
            self.revisions += 1;
            self.take_back(&before);
        }
    }

    fn take_back(&mut self, before: &Counted) {
        *self.outcomes.entry(before.outcome).or_default() -= 1;
        for code in &before.codes {
            *self.codes.entry(code.clone()).or_default() -= 1;
        }
        self.incomplete -= u64::from(!before.complete);
    }

    /// Returns how many sessions were decided.
    pub fn sessions(&self) -> usize {
        self.last.len()
    }

    /// Returns the counts as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let outcomes: BTreeMap<&str, u64> =
            self.outcomes.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect();
        serde_json::json!({
            "sessions": self.sessions(),
            "revisions": self.revisions,
            "incomplete": self.incomplete,
            "outcomes": outcomes,
            "causes": self.causes,
            "rules": self.codes.iter().filter(|(_, count)| **count > 0).collect::<BTreeMap<_, _>>(),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.sessions() as u64;
        let share = |count: u64| 100.0 * count as f64 / sessions.max(1) as f64;
        writeln!(
            out,
            "{sessions} sessions decided, {} revisions, {} incomplete",
            self.revisions, self.incomplete
        )?;
        writeln!(out, "\n  {:<34} {:>8} {:>7}", "outcome", "sessions", "share")?;
        for outcome in [Outcome::Pass, Outcome::Review, Outcome::Flag] {
            let count = self.outcomes.get(&outcome).copied().unwrap_or(0);
            writeln!(out, "  {:<34} {count:>8} {:>6.1}%", outcome.as_str(), share(count))?;
        }
        let mut codes: Vec<(&String, u64)> = self.codes.iter().map(|(code, count)| (code, *count)).collect();
        codes.retain(|(_, count)| *count > 0);
        codes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        writeln!(out, "\n  {:<34} {:>8} {:>7}", "rule that fired", "sessions", "share")?;
        for (code, count) in codes {
            writeln!(out, "  {code:<34} {count:>8} {:>6.1}%", share(count))?;
        }
        Ok(())
    }
}
