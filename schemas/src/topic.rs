//! The topics: what each holds, how it is kept, and who writes it. `docs/topics.md` is made from this table.

use crate::*;

/// A topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicSpec {
    /// Its name, without the deployment's prefix.
    pub name: &'static str,
    /// The records it may hold, as places in [`PUBLISHED`]; the first is what a producer's own schema is read as.
    pub records: &'static [usize],
    /// What its key is.
    pub key: &'static str,
    /// How old records go.
    pub cleanup: Cleanup,
    /// The broker stamps its records (`LogAppendTime`); elsewhere the time is carried (`CreateTime`).
    pub stamped: bool,
    /// Largest record in bytes.
    pub record_bytes_max: u32,
    /// Who writes it.
    pub writers: &'static str,
    /// Who reads it, and what it is for.
    pub purpose: &'static str,
}

/// How old records of a topic go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Deleted after some hours.
    Delete {
        /// Hours kept.
        retention_h: u32,
    },
    /// The last record of each key is kept.
    Compact,
    /// The last record of each key is kept, until it is too old.
    CompactDelete {
        /// Hours kept.
        retention_h: u32,
    },
}

/// Largest record where nothing else is said: 1 MiB and room for the envelope.
const RECORD_BYTES_MAX: u32 = 1_200_000;
/// Largest record of a topic that carries images: 10 MB and room for the envelope.
const IMAGE_BYTES_MAX: u32 = 11_000_000;
const WEEK_H: u32 = 7 * 24;

const SESSION_KEY: &str = "tenant and session, each with its length in two bytes before it";

/// Topic that producers write sessions to.
pub const SESSIONS: TopicSpec = TopicSpec {
    name: "sessions",
    records: &[Session::INDEX],
    key: "any; intake moves a record to the partition of its tenant and session",
    cleanup: Cleanup::Delete { retention_h: WEEK_H },
    stamped: true,
    record_bytes_max: RECORD_BYTES_MAX,
    writers: "producers, gateway; intake (records it moves, ticks)",
    purpose: "raw onboarding sessions and their stages; read by intake",
};
/// Topic that producers write images to.
pub const IMAGES: TopicSpec = TopicSpec {
    name: "images",
    records: &[Image::INDEX],
    key: SESSION_KEY,
    cleanup: Cleanup::Delete { retention_h: 24 },
    stamped: true,
    record_bytes_max: IMAGE_BYTES_MAX,
    writers: "producers, gateway",
    purpose: "bytes of attachments",
};
/// Topic of validated, merged stages.
pub const ACCEPTED: TopicSpec = TopicSpec {
    name: "accepted",
    records: &[Accepted::INDEX, Progress::INDEX],
    key: SESSION_KEY,
    cleanup: Cleanup::Delete { retention_h: WEEK_H },
    stamped: false,
    record_bytes_max: RECORD_BYTES_MAX,
    writers: "intake",
    purpose: "validated and merged stages, and intake's progress; read by the operators that judge",
};
/// Topic of signals, stages, progress and markers.
pub const SIGNALS: TopicSpec = TopicSpec {
    name: "signals",
    records: &[Signal::INDEX, Accepted::INDEX, Progress::INDEX, Marker::INDEX],
    key: SESSION_KEY,
    cleanup: Cleanup::Delete { retention_h: WEEK_H },
    stamped: true,
    record_bytes_max: RECORD_BYTES_MAX,
    writers: "intake (stages), the operators that judge (signals), all of them (progress), the control writer (markers), fusion (ticks)",
    purpose: "all that fusion decides from; read by fusion",
};
/// Topic of decisions and their revisions.
pub const DECISIONS: TopicSpec = TopicSpec {
    name: "decisions",
    records: &[Decision::INDEX],
    key: SESSION_KEY,
    cleanup: Cleanup::Delete { retention_h: 30 * 24 },
    stamped: false,
    record_bytes_max: RECORD_BYTES_MAX,
    writers: "fusion",
    purpose: "every decision and revision; headers `decision`, `revision`, `tenant`",
};
/// Topic of the last decision of each session.
pub const DECISIONS_LATEST: TopicSpec = TopicSpec {
    name: "decisions.latest",
    records: &[Decision::INDEX],
    key: SESSION_KEY,
    cleanup: Cleanup::Compact,
    stamped: false,
    record_bytes_max: RECORD_BYTES_MAX,
    writers: "fusion",
    purpose: "the last decision of each session",
};
/// Topic of records that could not be handled.
pub const DEAD_LETTER: TopicSpec = TopicSpec {
    name: "dead-letter",
    records: &[DeadLetter::INDEX],
    key: "the refused record's key",
    cleanup: Cleanup::Delete { retention_h: 30 * 24 },
    stamped: false,
    record_bytes_max: IMAGE_BYTES_MAX,
    writers: "every operator",
    purpose: "records that could not be handled, with reason; `tamiz dead-letter`",
};
/// Topic of rule sets by hash.
pub const RULES: TopicSpec = TopicSpec {
    name: "rules",
    records: &[RuleSetRecord::INDEX],
    key: "hash of the rule set",
    cleanup: Cleanup::Compact,
    stamped: false,
    record_bytes_max: 5_000_000,
    writers: "the control writer",
    purpose: "texts of rule sets, fetched by hash when a marker names one",
};
/// Topic of what each step read.
pub const STEPS: TopicSpec = TopicSpec {
    name: "steps",
    records: &[StepRecord::INDEX],
    key: "the operators hosted together",
    cleanup: Cleanup::Delete { retention_h: WEEK_H },
    stamped: false,
    record_bytes_max: RECORD_BYTES_MAX,
    writers: "every worker",
    purpose: "where each worker cut its steps; read by a faithful replay",
};

/// Every topic but the changelogs of tables.
pub const TOPICS: &[&TopicSpec] =
    &[&SESSIONS, &IMAGES, &ACCEPTED, &SIGNALS, &DECISIONS, &DECISIONS_LATEST, &DEAD_LETTER, &RULES, &STEPS];

/// Returns a topic by its name.
pub fn find(name: &str) -> Option<&'static TopicSpec> {
    TOPICS.iter().copied().find(|topic| topic.name == name)
}
