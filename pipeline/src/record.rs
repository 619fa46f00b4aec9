//! Records as they stand in a log, before and after they are types.

use schemas::{TimeMs, TopicSpec};

/// Header that marks a tick: a record without content that only carries the broker's time.
pub const TICK_HEADER: &str = "tamiz-tick";
/// Header that names the operators that handled the record in memory when it was written.
pub const HANDLED_HEADER: &str = "tamiz-handled-by";
/// Header that counts how often a dead letter was handed back.
pub const ATTEMPTS_HEADER: &str = "tamiz-attempts";

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl Header {
    /// Makes a header.
    pub fn new(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}

/// A record that was read from a log.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Its topic.
    pub topic: &'static TopicSpec,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its time: the append time on stamped topics, the carried time elsewhere.
    pub time: TimeMs,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its bytes; none for ticks and tombstones.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<Header>,
}

impl LogRecord {
    /// Returns a header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|header| header.name == name)?;
        std::str::from_utf8(&header.value).ok()
    }

    /// Tells whether this is a tick.
    pub fn is_tick(&self) -> bool {
        self.value.is_none() && self.header(TICK_HEADER).is_some()
    }

    /// Tells whether an operator handled the record in memory when it was written.
    pub fn was_handled_by(&self, operator: &str) -> bool {
        self.header(HANDLED_HEADER).is_some_and(|names| names.split(',').any(|name| name == operator))
    }
}

/// A record to be written to a log.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Its topic.
    pub topic: &'static TopicSpec,
    /// Its partition.
    pub partition: u32,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its bytes.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// The time it carries; stamped topics put the append time in its place.
    pub time: TimeMs,
}

impl NewRecord {
    /// Makes a tick.
    pub fn tick(topic: &'static TopicSpec, partition: u32, time: TimeMs) -> Self {
        let headers = vec![Header::new(TICK_HEADER, *b"1")];
        Self { topic, partition, key: None, value: None, headers, time }
    }
}
