//! Control: a rule set is published to the log, and takes effect by a marker in every partition.
//!
//! Nothing is applied directly. [`publish_rules`] writes the text, what is in force, and the markers in one go;
//! [`RuleWatcher`] does so whenever a file changes, and keeps what is in force where the file cannot be used.

use fusion::RULES_CONTROL;
use pipeline::telemetry::describe_error;
use pipeline::{BusError, Edge, NewRecord, WallClock};
use rules::{Diagnostic, LoadError, RuleSet};
use schemas::codec::EncodeError;
use schemas::topic::{RULES, SIGNALS};
use schemas::{Codec, DecodeError, Marker, Message, RuleSetRecord, TimeMs, TopicSpec};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Key of the record that says which rule set is in force; every other key of the topic is a hash.
pub const IN_FORCE_KEY: &[u8] = b"in-force";

/// A rule set that is in force from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// It was not in force before, and was published.
    pub is_new: bool,
}

/// A rule set could not be published or watched.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It has mistakes.
    #[error("the rule set has mistakes")]
    Rules(#[source] LoadError),
    /// Its file cannot be read.
    #[error("cannot read the rule set from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Its file holds no text.
    #[error("the rule set in {} is not UTF-8 from byte {offset} on", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The first byte that is not.
        offset: usize,
    },
    /// The record of what is in force cannot be read.
    #[error("cannot read which rule set is in force")]
    Decode(#[from] DecodeError),
    /// A record cannot be written.
    #[error("cannot encode a record of control")]
    Encode(#[from] EncodeError),
    /// The log failed.
    #[error("cannot publish the rule set")]
    Bus(#[from] BusError),
    /// The thread that watches cannot be started.
    #[error("cannot watch the rules")]
    Thread(#[source] std::io::Error),
}

/// Checks a rule set and puts it in force: its text by its hash, the record of what is in force, and a marker in every
/// partition, all of it at once. Does nothing where it is in force already.
pub fn publish_rules(
    edge: &dyn Edge,
    codec: &Codec,
    source: &str,
    now: TimeMs,
) -> Result<Published, ControlError> {
    let rules = RuleSet::load(source, fusion::catalogue()).map_err(ControlError::Rules)?;
    let (name, hash) = (rules.name().to_owned(), rules.hash().to_owned());
    if rules_in_force(edge, codec)?.is_some_and(|record| record.hash == hash) {
        return Ok(Published { name, hash, is_new: false });
    }
    let record = Message::from(RuleSetRecord {
        hash: hash.clone(),
        name: name.clone(),
        source: source.to_owned(),
        published_at: now,
    });
    let marker = Marker { kind: RULES_CONTROL.to_owned(), hash: hash.clone(), published_at: now };
    let marker = encoded(&marker.into(), codec)?;
    let mut records = Vec::new();
    for key in [hash.as_bytes(), IN_FORCE_KEY] {
        let partition = schemas::key::partition_of(key, edge.partitions());
        records.push(new_record(&RULES, partition, Some(key), encoded(&record, codec)?, now));
    }
    for partition in 0..edge.partitions() {
        records.push(new_record(&SIGNALS, partition, None, marker.clone(), now));
    }
    edge.publish_atomically(records)?;
    Ok(Published { name, hash, is_new: true })
}

/// Returns the rule set that was published last; none where there was none, and every process goes by its built-in one.
pub fn rules_in_force(edge: &dyn Edge, codec: &Codec) -> Result<Option<RuleSetRecord>, ControlError> {
    let record = edge.find_compacted(&RULES, IN_FORCE_KEY)?;
    let value = record.and_then(|record| record.value);
    Ok(value.map(|value| codec.decode(&value)).transpose()?)
}

fn encoded(message: &Message, codec: &Codec) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    message.encode(codec, &mut bytes)?;
    Ok(bytes)
}

fn new_record(
    topic: &'static TopicSpec,
    partition: u32,
    key: Option<&[u8]>,
    value: Vec<u8>,
    time: TimeMs,
) -> NewRecord {
    NewRecord {
        topic,
        partition,
        key: key.map(<[u8]>::to_vec),
        value: Some(value),
        headers: Vec::new(),
        time,
    }
}

/// Reads the text of a rule set. Of a file that is too large for one, no more is read than shows that it is.
pub fn read_rules(path: &Path) -> Result<String, ControlError> {
    let failed = |source| ControlError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = rules::FILE_BYTES_MAX as u64 + 1;
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| ControlError::Text {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// Watches a file of rules on a thread of its own, until it is dropped.
///
/// Where several processes of a deployment watch a file each, the one whose file changed last wins; give the file to
/// one of them.
pub struct RuleWatcher {
    /// Gone once the watcher is to end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RuleWatcher {
    /// Publishes the file's rule set and begins to watch.
    ///
    /// A file that cannot be used is an error where no rule set was ever published, since what would be in force is not
    /// what was asked for. Where one is in force it stays so, the mistakes are logged, and the file is watched.
    pub fn start(
        file: PathBuf,
        watch: Duration,
        edge: Arc<dyn Edge>,
        codec: Arc<Codec>,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, ControlError> {
        let mut watched = Watched { file, edge, codec, clock, handled: None, found: None };
        watched.begin()?;
        let (stop, stopped) = channel();
        let work = move || {
            while stopped.recv_timeout(watch) == Err(RecvTimeoutError::Timeout) {
                watched.look();
            }
        };
        let thread = std::thread::Builder::new().name("rule-watcher".into()).spawn(work);
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(ControlError::Thread)?) })
    }
}

impl Drop for RuleWatcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watched the rules panicked");
        }
    }
}

/// What the thread works with.
struct Watched {
    file: PathBuf,
    edge: Arc<dyn Edge>,
    codec: Arc<Codec>,
    clock: Arc<dyn WallClock>,
    /// The content that was published or refused last.
    handled: Option<Content>,
    /// Another content, found by the last look.
    found: Option<Content>,
}

/// What a look at the file found: the hash of a text, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Unreadable(String),
}

impl Watched {
    fn begin(&mut self) -> Result<(), ControlError> {
        let read = read_rules(&self.file);
        self.handled = Some(content(&read));
        let error = match read.and_then(|source| self.publish(&source)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let is_failing_log = matches!(error, ControlError::Bus(_) | ControlError::Decode(_));
        if is_failing_log || rules_in_force(self.edge.as_ref(), &self.codec)?.is_none() {
            return Err(error);
        }
        refused(&self.file, &error);
        Ok(())
    }

    /// Looks at the file. A content is published once two looks in a row have found it, so that a file which is being
    /// written is not taken for a short one.
    fn look(&mut self) {
        let read = read_rules(&self.file);
        let content = content(&read);
        if self.handled.as_ref() == Some(&content) {
            self.found = None;
            return;
        }
        if self.found.as_ref() != Some(&content) {
            self.found = Some(content);
            return;
        }
        match read.and_then(|source| self.publish(&source)) {
            // The next look tries again.
            Err(error @ (ControlError::Bus(_) | ControlError::Decode(_))) => {
                return failed(&self.file, &error);
            }
            Err(error) => refused(&self.file, &error),
            Ok(()) => {}
        }
        self.handled = self.found.take();
    }

    fn publish(&self, source: &str) -> Result<(), ControlError> {
        let published = publish_rules(self.edge.as_ref(), &self.codec, source, self.clock.now_ms())?;
        let file = self.file.display().to_string();
        if published.is_new {
            tracing::info!(file, name = published.name, hash = published.hash, "rule set published");
        } else {
            tracing::info!(
                file,
                name = published.name,
                hash = published.hash,
                "rule set is in force already"
            );
        }
        Ok(())
    }
}

fn content(read: &Result<String, ControlError>) -> Content {
    match read {
        Ok(source) => Content::Text(schemas::sha256_hex(source.as_bytes())),
        Err(error) => Content::Unreadable(describe_error(error)),
    }
}

/// Logs why a file is not used, each mistake with its place.
fn refused(file: &Path, error: &ControlError) {
    let ControlError::Rules(mistakes) = error else {
        tracing::error!(error = describe_error(error), "the rules cannot be used, those in force stay");
        return;
    };
    for diagnostic in &mistakes.diagnostics {
        let Diagnostic { line, column, message: mistake, suggestion } = diagnostic;
        let place = format!("{}:{line}:{column}", file.display());
        tracing::error!(place, mistake, suggestion, "a mistake in the rules, those in force stay");
    }
}

fn failed(file: &Path, error: &ControlError) {
    let file = file.display().to_string();
    tracing::warn!(
        file,
        error = describe_error(error),
        "the rules could not be published, they will be again"
    );
}
