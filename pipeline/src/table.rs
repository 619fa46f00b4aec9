//! Tables: the state of an operator, one part a partition, with a changelog.

use schemas::TimeMs;

/// A table of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its number within the operator, from [`FIRST_TABLE`].
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// How long a row lives after it was last written, by the operator's time; none: until it is deleted.
    pub ttl_ms: Option<TimeMs>,
}

/// First number that an operator may give; the ones below are the runtime's.
pub const FIRST_TABLE: u8 = 8;

/// The runtime's table of the clock: one row a partition.
pub const CLOCK: TableSpec = TableSpec { number: 0, name: "clock", ttl_ms: None };
/// The runtime's table of timers: due time and key, without value.
pub const TIMERS: TableSpec = TableSpec { number: 1, name: "timers", ttl_ms: None };

/// Returns the name of the changelog of an operator's tables.
pub fn changelog(operator: &str) -> String {
    format!("{operator}.changelog")
}

/// A row that changed in a step.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// The operator.
    pub operator: &'static str,
    /// The table's number.
    pub table: u8,
    /// The partition.
    pub partition: u32,
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's bytes; none deletes it.
    pub value: Option<Vec<u8>>,
    /// The operator's time when it was written.
    pub touched: TimeMs,
}

/// A row as it stands in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The operator's time when it was last written.
    pub touched: TimeMs,
    /// The row's bytes.
    pub value: Vec<u8>,
}
