//! How commands reach the log: by themselves, or, where a running process has the embedded log open, by its HTTP
//! interface.

use crate::client::Client;
use crate::control::{self, ControlError, RuleWatcher};
use crate::rules::located;
use anyhow::{Context, Result, anyhow};
use pipeline::config::{BusKind, Config};
use pipeline::telemetry::describe_error;
use pipeline::{BusError, Edge, HostError, Log, LogRecord, NewRecord, Start, SystemClock, WallClock};
use schemas::topic::RULES;
use schemas::{Cleanup, Codec, TimeMs, TopicSpec};
use std::error::Error;
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records of one partition that are read at a time.
const RECORDS_MAX: usize = 500;
/// How long nothing old may have come until a topic of a cluster that answers counts as read.
const QUIET_WAIT: Duration = Duration::from_secs(3);

/// The port of a broker that is named without one.
const KAFKA_PORT: u16 = 9092;
/// How long a broker may take to take a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// After how long a publication is not begun again.
const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(45);

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
    /// No broker is there.
    #[error(
        "no broker answers at {servers}; is Kafka running there? the setting kafka.bootstrap_servers names the brokers"
    )]
    Unreachable {
        /// The brokers' addresses.
        servers: String,
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
        if config.deployment.bus == BusKind::Kafka {
            find_broker(&config.kafka.bootstrap_servers)?;
        }
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
        self.check()?;
        let mut tail = self.edge.tail(topic, Start::Earliest).with_context(action)?;
        let mut backlog = Backlog::begin();
        loop {
            let wait = if self.is_alone { Duration::ZERO } else { backlog.wait_left() };
            let mut records = tail.next(RECORDS_MAX, wait).with_context(action)?;
            let oldest = records.iter().map(|record| record.time).min();
            let is_read = if self.is_alone { oldest.is_none() } else { backlog.is_read_after(oldest) };
            records.sort_by_key(|record| (record.time, record.partition, record.offset));
            for record in records {
                if visit(record)?.is_break() {
                    return Ok(());
                }
            }
            if is_read {
                return Ok(());
            }
            backlog.saw(oldest);
        }
    }

    /// Makes sure that the log answers: where nothing comes of a topic, there is then nothing in it.
    pub fn check(&self) -> Result<()> {
        let asked = self.edge.find_compacted(&RULES, control::IN_FORCE_KEY);
        asked.context("the log gives no answer; do its topics exist? `tamiz topics create` makes them")?;
        Ok(())
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
        Self { began_at: SystemClock.now_ms(), until: Instant::now() + QUIET_WAIT }
    }

    /// Notes the oldest record of some, once they are dealt with: the time that this took says nothing of the topic.
    pub fn saw(&mut self, oldest: Option<TimeMs>) {
        if oldest.is_some_and(|time| time < self.began_at) {
            self.until = Instant::now() + QUIET_WAIT;
        }
    }

    /// Returns for how long something old is still waited for.
    pub fn wait_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Tells whether nothing old is to be expected after records of which this is the oldest.
    pub fn is_read_after(&self, oldest: Option<TimeMs>) -> bool {
        self.wait_left().is_zero() && oldest.is_none_or(|time| time >= self.began_at)
    }
}

/// Looks for a broker, since the client of Kafka goes on looking without a word.
fn find_broker(servers: &str) -> Result<(), AccessError> {
    let answers = |server: &str| {
        let server = server.split_once("://").map_or(server, |(_, address)| address).trim();
        let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { server.to_owned() } else { format!("{server}:{KAFKA_PORT}") };
        let addresses = address.to_socket_addrs().into_iter().flatten();
        addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT_WAIT_MAX).is_ok())
    };
    if servers.split(',').any(answers) {
        Ok(())
    } else {
        Err(AccessError::Unreachable { servers: servers.to_owned() })
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

/// Publishes records, trying again as often as the settings say where that may help, and saying so; somebody waits for
/// the end, so that it comes within a minute or so.
///
/// A record may then be in the log twice, which intake knows by its content.
pub fn publish(access: &Access, records: Vec<NewRecord>, config: &Config) -> Result<(), BusError> {
    let mut pause = Duration::from_millis(config.runtime.retry_wait_ms);
    let until = Instant::now() + PUBLISH_WAIT_MAX;
    for attempt in 1.. {
        let may_try_again = attempt <= config.runtime.retries_max;
        match access.edge.publish(records.clone()) {
            Err(error @ BusError::Retry { .. }) if may_try_again && Instant::now() < until => {
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
    fn a_broker_is_found_among_those_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let here = listener.local_addr().expect("it has an address").to_string();
        for servers in
            [here.clone(), format!("127.0.0.1:1, PLAINTEXT://{here}"), format!("{here},nowhere.invalid:1")]
        {
            find_broker(&servers).expect("one of them answers");
        }
        let error = find_broker("127.0.0.1:1,nowhere.invalid").expect_err("none of them answers").to_string();
        assert!(error.contains("127.0.0.1:1,nowhere.invalid"), "{error}");
    }

    #[test]
    fn only_what_is_old_keeps_a_reader_waiting() {
        let mut backlog = Backlog::begin();
        let (now, left) = (backlog.began_at, backlog.wait_left());
        assert!(!backlog.is_read_after(None));
        backlog.saw(Some(now + 1));
        assert!(backlog.wait_left() <= left, "what is new is not waited for");
        backlog.until = Instant::now();
        assert!(backlog.is_read_after(None) && backlog.is_read_after(Some(now)));
        assert!(!backlog.is_read_after(Some(now - 1)), "more may come of what is old");
        backlog.saw(Some(now - 1));
        assert!(!backlog.is_read_after(None) && backlog.wait_left() <= QUIET_WAIT);
    }
}
