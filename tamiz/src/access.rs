//! How commands reach the log: by themselves, or, where a running process has the embedded log open, by its HTTP
//! interface.

use crate::client::Client;
use crate::control::{ControlError, RuleWatcher};
use crate::rules::located;
use anyhow::{Context, Result, anyhow};
use pipeline::config::{BusKind, Config};
use pipeline::telemetry::describe_error;
use pipeline::{BusError, Edge, HostError, Log, LogRecord, NewRecord, Start, SystemClock, WallClock};
use schemas::{Cleanup, Codec, TimeMs, TopicSpec};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records of one partition that are read at a time.
const RECORDS_MAX: usize = 500;
/// How long a reader of a cluster waits for its first record: brokers have to be found and partitions looked up.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// How long nothing old may have come until a topic counts as read.
const QUIET_WAIT: Duration = Duration::from_secs(2);

/// The log cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The embedded log has one process at a time.
    #[error("the log in {} is open in another process, such as a running `tamiz up`", folder.display())]
    InUse {
        /// Its folder.
        folder: PathBuf,
    },
    /// There is nothing to read.
    #[error(
        "there is no log in {} yet; start `tamiz up`, or name the folder with --config or TAMIZ__EMBEDDED__FOLDER",
        folder.display()
    )]
    Missing {
        /// Its folder.
        folder: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot open the log")]
    Host(#[source] HostError),
    /// The ids of the schemas are not to be had.
    #[error("cannot learn the ids of the schemas; the setting registry.url names the schema registry")]
    Codec(#[source] Box<dyn Error + Send + Sync>),
}

/// Opens the log that the settings name; an embedded one is made where there is none.
pub fn open(config: &Config) -> Result<Log, AccessError> {
    Log::open(config).map_err(|error| match error {
        HostError::Store { source, .. } if source.is_in_use() => {
            AccessError::InUse { folder: config.embedded.folder.clone() }
        }
        error => AccessError::Host(error),
    })
}

/// Publishes the rule set of the settings and watches its file; none where the built-in one is to hold.
pub fn watch_rules(config: &Config, edge: &Arc<dyn Edge>, codec: &Arc<Codec>) -> Result<Option<RuleWatcher>> {
    let file = &config.rules.file;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let watch = Duration::from_millis(config.rules.watch_ms.max(1));
    let (edge, codec) = (Arc::clone(edge), Arc::clone(codec));
    let watcher = RuleWatcher::start(file.clone(), watch, edge, codec, Arc::new(SystemClock));
    watcher.map(Some).map_err(|error| match error {
        ControlError::Rules(error) => anyhow!("the rules cannot be used:\n{}", located(file, &error)),
        error => error.into(),
    })
}

/// The log, open in this process.
pub struct Access {
    /// The log.
    pub edge: Arc<dyn Edge>,
    /// What reads and writes its records.
    pub codec: Arc<Codec>,
    /// Nobody else writes while this is open.
    pub is_alone: bool,
}

/// The log, or who has it.
pub enum Reach {
    /// It is open here.
    Log(Access),
    /// A running process has it.
    Http(Client),
}

impl Access {
    /// Opens the log that the settings name; an embedded one is made where there is none.
    pub fn open(config: &Config) -> Result<Self, AccessError> {
        let edge = open(config)?.edge();
        let codec = Arc::new(pipeline::process::codec(config).map_err(AccessError::Codec)?);
        Ok(Self { edge, codec, is_alone: config.deployment.bus == BusKind::Embedded })
    }

    /// Opens the log that the settings name for those who only read: where there is none, that is an error.
    pub fn open_existing(config: &Config) -> Result<Self, AccessError> {
        let folder = &config.embedded.folder;
        let is_empty = || std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
        if config.deployment.bus == BusKind::Embedded && is_empty() {
            return Err(AccessError::Missing { folder: folder.clone() });
        }
        Self::open(config)
    }

    /// Reads a topic from its oldest record to its newest, until the visitor has seen enough.
    ///
    /// Of a topic that others write to, records that come while it is read are among them.
    pub fn scan(
        &self,
        topic: &'static TopicSpec,
        mut visit: impl FnMut(LogRecord) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let action = || format!("cannot read topic {}", topic.name);
        if self.is_alone && topic.cleanup == Cleanup::Compact {
            // The embedded log keeps a compacted topic by key, without an order to read on in.
            for record in self.edge.read_compacted(topic).with_context(action)? {
                if visit(record)?.is_break() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let mut tail = self.edge.tail(topic, Start::Earliest).with_context(action)?;
        let mut backlog = Backlog::begin();
        loop {
            let wait = if self.is_alone { Duration::ZERO } else { backlog.wait_left() };
            let mut records = tail.next(RECORDS_MAX, wait).with_context(action)?;
            records.iter().for_each(|record| backlog.saw(record.time));
            if records.is_empty() && self.is_alone || backlog.is_read() {
                return Ok(());
            }
            records.sort_by_key(|record| (record.time, record.partition, record.offset));
            for record in records {
                if visit(record)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
}

/// Tells when a topic that others write to has been read: when nothing has come for a while but what was made since the
/// reading began. On a busy topic that never is quiet, new records would else be waited for without end.
pub struct Backlog {
    began_at: TimeMs,
    /// Until when something old has to come.
    until: Instant,
}

impl Backlog {
    /// Begins to read.
    pub fn begin() -> Self {
        Self { began_at: SystemClock.now_ms(), until: Instant::now() + FIRST_WAIT }
    }

    /// Notes a record of a time.
    pub fn saw(&mut self, time: TimeMs) {
        let quiet = Instant::now() + QUIET_WAIT;
        if time < self.began_at {
            self.until = quiet;
        } else {
            // What is old comes at the same time as what is new: there is no more need to wait for a connection.
            self.until = self.until.min(quiet);
        }
    }

    /// Returns for how long something old is still waited for.
    pub fn wait_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Tells whether nothing old is to be expected any more.
    pub fn is_read(&self) -> bool {
        self.wait_left().is_zero()
    }
}

impl AccessError {
    /// Returns the error, with what to do where another process has the log open.
    pub fn advising(self, advice: &str) -> anyhow::Error {
        match &self {
            Self::InUse { .. } => anyhow!("{self}; {advice}"),
            _ => self.into(),
        }
    }
}

impl Reach {
    /// Opens the log for a command that the HTTP interface can serve too.
    ///
    /// A URL that is given decides; else the log is opened, and where a running process has it, that process is asked
    /// at the address that the settings name.
    pub fn open(
        config: &Config,
        url: Option<&str>,
        open: impl FnOnce(&Config) -> Result<Access, AccessError>,
    ) -> Result<Self> {
        if let Some(url) = url {
            return Ok(Self::Http(Client::new(url)?));
        }
        match open(config) {
            Ok(access) => Ok(Self::Log(access)),
            Err(AccessError::InUse { .. }) => {
                let client = Client::of_settings(config)?;
                client.check().with_context(|| {
                    let folder = config.embedded.folder.display();
                    format!(
                        "the log in {folder} is open in another process, which was asked at {}",
                        client.url()
                    )
                })?;
                Ok(Self::Http(client))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Publishes records, trying again as often as the settings say where that may help, and saying so.
///
/// A record may then be in the log twice, which intake knows by its content.
pub fn publish(access: &Access, records: Vec<NewRecord>, config: &Config) -> Result<(), BusError> {
    let mut pause = Duration::from_millis(config.runtime.retry_wait_ms);
    for attempt in 1.. {
        match access.edge.publish(records.clone()) {
            Err(error @ BusError::Retry { .. }) if attempt <= config.runtime.retries_max => {
                eprintln!("{}, in {} ms", describe_error(&error), pause.as_millis());
                std::thread::sleep(pause);
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
    unreachable!("the last try returns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_old_keeps_a_reader_waiting() {
        let mut backlog = Backlog::begin();
        assert!(!backlog.is_read() && backlog.wait_left() > QUIET_WAIT, "a connection takes its time");
        let now = backlog.began_at;
        backlog.saw(now + 1);
        let left = backlog.wait_left();
        assert!(left <= QUIET_WAIT, "it is there now");
        backlog.saw(now + 2);
        assert!(backlog.wait_left() <= left, "what is new is not waited for");
        backlog.until = Instant::now();
        assert!(backlog.is_read());
        backlog.saw(now - 1);
        assert!(!backlog.is_read() && backlog.wait_left() <= QUIET_WAIT, "more may come of what is old");
    }
}
