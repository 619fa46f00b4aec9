//! Time that flows with the data: an operator's time in one partition, and what it depends on.

use crate::operator::TimeSource;
use schemas::{Clock, ClockSource, TimeMs};
use std::collections::BTreeMap;

/// Before any record.
const NEVER: TimeMs = TimeMs::MIN;

/// A gap between two records of the input counts as at most this share of the span of silence. Ticks come more often,
/// so a longer gap means that nobody was running.
const GAPS_PER_SILENCE: TimeMs = 10;

/// The time of an operator in one partition. It never goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorClock {
    time: TimeMs,
    input_time: TimeMs,
    /// The part of the input's append time in which somebody wrote to it. Silence is counted in it: while the whole
    /// system stands still, nobody is silent.
    attended: TimeMs,
    sources: Vec<Source>,
    silence_ms: TimeMs,
    controls: BTreeMap<String, String>,
    append_time: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Source {
    name: String,
    time: TimeMs,
    heard_at: TimeMs,
    /// Runs in this process: it is heard after every record, so that it is never silent.
    hosted: bool,
}

impl OperatorClock {
    /// Makes a clock that has seen nothing.
    pub fn new(time: &TimeSource, hosted: impl Fn(&str) -> bool) -> Self {
        let (sources, silence_ms) = match time {
            TimeSource::AppendTime => (Vec::new(), 0),
            TimeSource::Progress { operators, silence_ms } => {
                let source = |name: &String| Source {
                    name: name.clone(),
                    time: NEVER,
                    heard_at: 0,
                    hosted: hosted(name),
                };
                (operators.iter().map(source).collect(), *silence_ms)
            }
        };
        let append_time = *time == TimeSource::AppendTime;
        let controls = BTreeMap::new();
        Self { time: NEVER, input_time: NEVER, attended: 0, sources, silence_ms, controls, append_time }
    }

    /// Takes up where a row of the table of clocks left off; sources that are not expected any more are forgotten.
    pub fn restore(&mut self, row: &Clock) {
        self.time = row.time;
        self.input_time = row.input_time;
        self.attended = row.attended;
        self.controls = row.controls.clone();
        for source in &mut self.sources {
            if let Some(known) = row.sources.iter().find(|known| known.name == source.name) {
                source.time = known.time;
                source.heard_at = known.heard_at;
            }
        }
    }

    /// Returns the row for the table of clocks.
    pub fn row(&self) -> Clock {
        let source = |source: &Source| ClockSource {
            name: source.name.clone(),
            time: source.time,
            heard_at: source.heard_at,
        };
        Clock {
            time: self.time,
            input_time: self.input_time,
            attended: self.attended,
            sources: self.sources.iter().map(source).collect(),
            controls: self.controls.clone(),
        }
    }

    /// Returns the time; before any record it is the earliest there is.
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// Returns the hash in force of a kind of control.
    pub fn control(&self, kind: &str) -> Option<&str> {
        self.controls.get(kind).map(String::as_str)
    }

    /// Returns the hashes in force, by kind.
    pub fn controls(&self) -> impl Iterator<Item = (&str, &str)> {
        self.controls.iter().map(|(kind, hash)| (kind.as_str(), hash.as_str()))
    }

    /// Takes a control change.
    pub fn set_control(&mut self, kind: &str, hash: &str) {
        self.controls.insert(kind.to_owned(), hash.to_owned());
    }

    /// Notes that a record of the input with this append time was read, a tick included.
    pub fn read_input(&mut self, append_time: TimeMs) {
        if self.input_time != NEVER && append_time > self.input_time {
            self.attended += (append_time - self.input_time).min(self.silence_ms / GAPS_PER_SILENCE);
        }
        self.input_time = self.input_time.max(append_time);
        self.advance();
    }

    /// Notes that a source has handled everything up to a time.
    pub fn hear(&mut self, operator: &str, time: TimeMs) {
        let attended = self.attended;
        if let Some(source) = self.sources.iter_mut().find(|source| source.name == operator) {
            source.time = source.time.max(time);
            source.heard_at = attended;
            self.advance();
        }
    }

    fn advance(&mut self) {
        let reached = if self.append_time {
            self.input_time
        } else {
            let silent_before = self.attended - self.silence_ms;
            let counts = |source: &&Source| source.hosted || source.heard_at >= silent_before;
            // Where all are silent nobody tells the time, and it stands.
            self.sources.iter().filter(counts).map(|source| source.time).min().unwrap_or(NEVER)
        };
        self.time = self.time.max(reached);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fusion_clock() -> OperatorClock {
        let operators = vec!["intake".to_owned(), "ip-intel".to_owned()];
        OperatorClock::new(&TimeSource::Progress { operators, silence_ms: 1_000 }, |_| false)
    }

    #[test]
    fn time_is_the_least_progress() {
        let mut clock = fusion_clock();
        clock.read_input(100);
        clock.hear("intake", 90);
        assert_eq!(clock.time(), NEVER);
        clock.hear("ip-intel", 50);
        assert_eq!(clock.time(), 50);
        clock.hear("ip-intel", 40);
        assert_eq!(clock.time(), 50, "time does not go back");
        clock.hear("nobody", 10);
        clock.hear("ip-intel", 95);
        assert_eq!(clock.time(), 90);
    }

    #[test]
    fn a_backlog_moves_no_time_while_a_source_is_only_late() {
        let mut clock = fusion_clock();
        clock.read_input(100);
        // An hour of log time passes within half a second of the input's append time.
        clock.hear("intake", 3_600_000);
        clock.read_input(600);
        assert_eq!(clock.time(), NEVER);
    }

    #[test]
    fn a_silent_source_stops_counting_until_it_is_heard_again() {
        let mut clock = fusion_clock();
        clock.read_input(100);
        clock.hear("intake", 90);
        clock.hear("ip-intel", 50);
        for time in (200..=1_100).step_by(100) {
            clock.read_input(time);
            clock.hear("intake", time - 10);
        }
        assert_eq!(clock.time(), 50);
        clock.read_input(1_150);
        clock.hear("intake", 1_140);
        assert_eq!(clock.time(), 1_140, "more than a second of silence");
        clock.hear("ip-intel", 60);
        clock.hear("intake", 1_200);
        assert_eq!(clock.time(), 1_140, "it counts again, and time stands until it has caught up");
        clock.hear("ip-intel", 1_190);
        assert_eq!(clock.time(), 1_190);
    }

    #[test]
    fn nobody_is_silent_while_the_whole_system_stands_still() {
        let mut clock = fusion_clock();
        clock.read_input(100);
        clock.hear("intake", 90);
        clock.hear("ip-intel", 90);
        clock.read_input(3_600_000);
        clock.hear("intake", 3_600_000);
        assert_eq!(clock.time(), 90, "an hour's gap is no hour of silence");
    }

    #[test]
    fn a_restored_clock_goes_on() {
        let mut clock = fusion_clock();
        clock.read_input(100);
        clock.hear("intake", 90);
        clock.hear("ip-intel", 50);
        clock.set_control("rules", "sha256:1");
        let mut restored = fusion_clock();
        restored.restore(&clock.row());
        assert_eq!(restored, clock);
    }

    #[test]
    fn append_time_is_the_time_of_a_first_operator() {
        let mut clock = OperatorClock::new(&TimeSource::AppendTime, |_| false);
        clock.read_input(70);
        clock.read_input(60);
        assert_eq!(clock.time(), 70);
    }
}
