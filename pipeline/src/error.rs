//! What can go wrong in the world around the operators; bad data is a [`Reject`](crate::Reject), not an error.

/// A failure of the log or the tables, by what the runner has to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The same call may succeed later; nothing has happened yet.
    #[error("cannot {action}, will be tried again")]
    Retry {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The step is lost and has to be done again from its first record.
    #[error("cannot {action}, the step is undone")]
    Abort {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This worker cannot go on.
    #[error("cannot {action}")]
    Fatal {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BusError {
    /// Makes an error that ends the worker.
    pub fn fatal(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Fatal { action, source: source.into() }
    }

    /// Makes an error that undoes the step.
    pub fn abort(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Abort { action, source: source.into() }
    }

    /// Makes an error that is worth another try.
    pub fn retry(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry { action, source: source.into() }
    }
}

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The log or the tables failed for good.
    #[error("the bus failed")]
    Bus(#[from] BusError),
    /// A row of a table cannot be read: the state is damaged, and going on would decide wrongly.
    #[error("cannot read table {table} of {operator}, partition {partition}")]
    State {
        /// The operator.
        operator: &'static str,
        /// The table.
        table: &'static str,
        /// The partition.
        partition: u32,
        /// What was wrong with the row.
        #[source]
        source: schemas::DecodeError,
    },
    /// A record of our own cannot be written.
    #[error("cannot encode a record of {operator}")]
    Encode {
        /// The operator.
        operator: &'static str,
        /// Why not.
        #[source]
        source: schemas::codec::EncodeError,
    },
    /// What a marker names cannot be had.
    #[error("cannot load {kind} {hash}: {reason}")]
    Control {
        /// The kind of control.
        kind: String,
        /// The content's hash.
        hash: String,
        /// Why not.
        reason: String,
    },
}
