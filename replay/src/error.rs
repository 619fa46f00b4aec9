//! What keeps a replay from being made; a difference in what comes out is a result, not an error.

use pipeline::bus::local::LocalError;
use pipeline::{BusError, RunnerError};

/// A recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error("cannot read the log")]
    Log(#[from] LocalError),
    /// A reader of the log failed.
    #[error("cannot read topic {topic}, partition {partition}")]
    Read {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Why not.
        #[source]
        source: BusError,
    },
    /// A record is gone that the recorded steps were made of: retention has deleted it, or the log is not whole.
    #[error("record {offset} of topic {topic}, partition {partition}, is not in the log any more")]
    Missing {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// A record of the topic `steps` cannot be read.
    #[error("step record {offset} of partition {partition} cannot be used: {reason}")]
    Step {
        /// The partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Other processes than the replayed one hosted its operators too, so that its tables have another history.
    #[error("{other} wrote steps of partition {partition} as well, and shares operators with {group}")]
    Regrouped {
        /// The replayed group.
        group: String,
        /// The other group.
        other: String,
        /// The partition.
        partition: u32,
    },
    /// A step cannot be worked out.
    #[error("cannot work out step record {offset} of partition {partition}")]
    Run {
        /// The partition.
        partition: u32,
        /// The offset of the step's record.
        offset: u64,
        /// Why not.
        #[source]
        source: RunnerError,
    },
}
