//! `tamiz publish`: the sessions of a file go to the log, as a producer would send them, with the bytes of their
//! attachments.

use crate::access::{self, Access, Reach};
use crate::client::{Client, Posted};
use crate::input::{self, InputError, InputSession};
use crate::progress::Progress;
use crate::text::counted;
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use pipeline::config::Config;
use pipeline::telemetry::describe_error;
use pipeline::{NewRecord, SystemClock, WallClock};
use schemas::json::{ATTACHMENT_BYTES_MAX, AttachmentSource, session_to_json};
use schemas::topic::{IMAGES, SESSIONS};
use schemas::{Image, Key, Record, Session, TopicSpec};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Bytes that are published in one go: with images in base64 below the default limit of the HTTP interface.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// What a session without attachments has, roughly.
const SESSION_BYTES: usize = 1_500;
/// With a rate, batches are as large as what is due in this time, so that the flow is even.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// Problems that are shown; the others are counted.
const PROBLEMS_SHOWN: u64 = 20;

/// Publish the sessions of a file, with the bytes of their attachments.
///
/// Sends to Kafka or into the embedded log. Where a running process has the embedded log open, its HTTP interface
/// takes the sessions. Attachments with a `path` are read from beside the file. A session that cannot be read or is
/// refused is told, and the others are published.
///
/// Example: tamiz publish --input sessions.jsonl --rate 200/s
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Sessions: JSON lines or an Avro container; `-` for the standard input.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Sessions a second, as in 200/s; as fast as they are taken, if left out.
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Most sessions that are published in one go, 1 to 1000.
    #[arg(long, value_name = "NUMBER", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub batch: u16,
    /// Publish by the HTTP interface at this address, as in http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Fail where a session could not be published.
    #[arg(long)]
    pub strict: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print neither progress nor summary.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Sessions a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        let rate = number.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
        rate.map(Self).ok_or_else(|| format!("{text:?} is no rate as in 200/s, sessions a second above 0"))
    }
}

/// Runs the command.
pub fn run(args: &PublishArgs, config: &Config) -> Result<()> {
    let sessions = input::sessions(&args.input)?;
    let mut sink: Box<dyn Sink> = match Reach::open(config, args.url.as_deref(), Access::open)? {
        Reach::Log(access) => Box::new(LogSink { access, config: config.clone() }),
        Reach::Http(client) => Box::new(HttpSink { client }),
    };
    let report = publish(args, sessions, sink.as_mut())?;
    if args.json {
        writeln!(std::io::stdout(), "{}", report.to_json(sink.name()))?;
    } else if !args.quiet {
        eprintln!("{}", report.to_text(&sink.name()));
    }
    if args.strict && report.problems > 0 {
        bail!("{} could not be published", counted(report.problems, "session"));
    }
    Ok(())
}

/// What was published.
#[derive(Debug)]
pub struct Report {
    /// Sessions that are in the log.
    pub sessions: u64,
    /// Attachments whose bytes are in the log.
    pub images: u64,
    /// Sessions that could not be read, or were refused.
    pub problems: u64,
    elapsed: Duration,
}

impl Report {
    fn to_json(&self, target: String) -> Value {
        json!({
            "target": target,
            "sessions": self.sessions,
            "images": self.images,
            "problems": self.problems,
            "elapsed_s": self.elapsed.as_secs_f64(),
        })
    }

    fn to_text(&self, target: &str) -> String {
        let seconds = self.elapsed.as_secs_f64();
        format!(
            "{} and {} published to {target} in {seconds:.1} s ({:.0}/s), {}",
            counted(self.sessions, "session"),
            counted(self.images, "attachment"),
            self.sessions as f64 / seconds.max(1e-3),
            counted(self.problems, "problem"),
        )
    }
}

/// Where sessions go.
pub trait Sink {
    /// Returns its name, for people.
    fn name(&self) -> String;

    /// Publishes sessions in their order; returns the places of those that were refused, with the problem.
    fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<(usize, String)>>;
}

/// A session on its way, with the bytes of its attachments.
pub struct Outgoing {
    line: u64,
    session: Session,
    images: Vec<Image>,
    bytes: usize,
}

/// Publishes sessions, each once and in their order.
pub fn publish(args: &PublishArgs, sessions: input::Sessions, sink: &mut dyn Sink) -> Result<Report> {
    let mut publisher = Publisher {
        sink,
        pace: Pace::new(args.rate),
        progress: Progress::new(args.quiet),
        batch: Vec::new(),
        report: Report { sessions: 0, images: 0, problems: 0, elapsed: Duration::ZERO },
    };
    let batch_max = publisher.pace.batch_max(usize::from(args.batch));
    let started = Instant::now();
    for session in sessions {
        match session.map_err(anyhow::Error::from).and_then(outgoing) {
            Ok(session) => publisher.add(session, batch_max)?,
            Err(error) if error.downcast_ref::<InputError>().is_some_and(is_broken) => {
                publisher.flush()?;
                return Err(error);
            }
            Err(error) => publisher.problem(&describe_error(error.as_ref())),
        }
    }
    publisher.flush()?;
    publisher.report.elapsed = started.elapsed();
    Ok(publisher.finish())
}

/// Tells whether nothing more can be read from the input.
fn is_broken(error: &InputError) -> bool {
    matches!(error, InputError::Broken { .. })
}

struct Publisher<'a> {
    sink: &'a mut dyn Sink,
    pace: Pace,
    progress: Progress,
    batch: Vec<Outgoing>,
    report: Report,
}

impl Publisher<'_> {
    fn add(&mut self, session: Outgoing, batch_max: usize) -> Result<()> {
        let bytes: usize = self.batch.iter().map(|session| session.bytes).sum();
        if !self.batch.is_empty() && bytes + session.bytes > BATCH_BYTES_MAX {
            self.flush()?;
        }
        self.batch.push(session);
        if self.batch.len() >= batch_max {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        self.pace.wait(batch.len());
        let refused = self.sink.publish(&batch).with_context(|| {
            let (sink, count) = (self.sink.name(), counted(self.report.sessions, "session"));
            format!("cannot publish to {sink} after {count}; those are safe, and publishing all again does no harm")
        })?;
        for (place, session) in batch.iter().enumerate() {
            match refused.iter().find(|(refused, _)| *refused == place) {
                Some((_, problem)) => self.problem(&format!("line {}: {problem}", session.line)),
                None => {
                    self.report.sessions += 1;
                    self.report.images += session.images.len() as u64;
                }
            }
        }
        let count = self.report.sessions;
        self.progress.show(|| format!("{} published", counted(count, "session")));
        Ok(())
    }

    fn problem(&mut self, problem: &str) {
        self.report.problems += 1;
        if self.report.problems <= PROBLEMS_SHOWN {
            self.progress.tell(problem);
        }
    }

    fn finish(mut self) -> Report {
        if self.report.problems > PROBLEMS_SHOWN {
            self.progress
                .tell(&format!("and {} more", counted(self.report.problems - PROBLEMS_SHOWN, "problem")));
        }
        self.report
    }
}

/// Reads the bytes of a session's attachments.
fn outgoing(input: InputSession) -> Result<Outgoing> {
    let InputSession { line, session, files, folder } = input;
    let mut images = Vec::with_capacity(files.len());
    for file in files {
        let at = || format!("line {line}: attachment {}", file.attachment_id);
        let bytes = match file.source {
            AttachmentSource::Data(bytes) => bytes,
            AttachmentSource::Path(path) => {
                let path = folder.join(path);
                std::fs::read(&path).with_context(|| format!("{}: cannot read {}", at(), path.display()))?
            }
        };
        images.push(image(&session, &file.attachment_id, bytes).with_context(at)?);
    }
    // The bytes as base64, which is what a batch is limited for.
    let bytes = images.iter().map(|image| usize::try_from(image.size).unwrap_or(0) / 3 * 4).sum::<usize>();
    Ok(Outgoing { line, session, images, bytes: bytes + SESSION_BYTES })
}

/// Returns the record of an attachment's bytes.
fn image(session: &Session, attachment_id: &str, bytes: Vec<u8>) -> Result<Image> {
    let attachment = session.attachments.iter().flatten().find(|attachment| attachment.id == attachment_id);
    let attachment = attachment.ok_or_else(|| anyhow!("the session does not name it"))?;
    if bytes.len() > ATTACHMENT_BYTES_MAX {
        bail!(
            "{} bytes, more than {ATTACHMENT_BYTES_MAX}; put it into an object store and give its \"reference\"",
            bytes.len()
        );
    }
    let sha256 = schemas::sha256_hex(&bytes);
    if attachment.sha256.as_ref().is_some_and(|expected| *expected != sha256) {
        bail!("the bytes do not have the SHA-256 that the session names; did the file change just now?");
    }
    Ok(Image {
        tenant: session.tenant.clone(),
        session_id: session.session_id.clone(),
        attachment_id: attachment_id.to_owned(),
        kind: attachment.kind,
        media_type: attachment.media_type.clone(),
        sha256,
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        bytes: Some(bytes.into()),
        subject_id: session.subject_id.clone(),
        ..Image::default()
    })
}

/// The log, open in this process.
pub struct LogSink {
    /// The log.
    pub access: Access,
    /// How often to try.
    pub config: Config,
}

impl Sink for LogSink {
    fn name(&self) -> String {
        if self.access.is_alone {
            format!("the log in {}", self.config.embedded.folder.display())
        } else {
            self.config.kafka.bootstrap_servers.clone()
        }
    }

    fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<(usize, String)>> {
        let (mut records, mut refused) = (Vec::with_capacity(batch.len()), Vec::new());
        for (place, outgoing) in batch.iter().enumerate() {
            match self.records(outgoing) {
                Ok(of_session) => records.extend(of_session),
                Err(error) => refused.push((place, format!("{error:#}"))),
            }
        }
        if !records.is_empty() {
            access::publish(&self.access, records, &self.config)?;
        }
        Ok(refused)
    }
}

impl LogSink {
    /// Returns the records of a session: its images before itself, so that they are there when it is judged.
    fn records(&self, outgoing: &Outgoing) -> Result<Vec<NewRecord>> {
        let tenant = outgoing.session.tenant.as_deref().unwrap_or(intake::DEFAULT_TENANT);
        let key = Key::of_session(tenant, &outgoing.session.session_id);
        let mut records = Vec::with_capacity(1 + outgoing.images.len());
        for image in &outgoing.images {
            records.push(self.record(&IMAGES, &key, image)?);
        }
        records.push(self.record(&SESSIONS, &key, &outgoing.session)?);
        Ok(records)
    }

    fn record<T: Record>(&self, topic: &'static TopicSpec, key: &Key, record: &T) -> Result<NewRecord> {
        let mut value = Vec::with_capacity(SESSION_BYTES);
        self.access.codec.encode(record, &mut value)?;
        if value.len() > topic.record_bytes_max as usize {
            bail!(
                "{} bytes are more than the {} of topic {}",
                value.len(),
                topic.record_bytes_max,
                topic.name
            );
        }
        Ok(NewRecord {
            topic,
            partition: key.partition(self.access.edge.partitions()),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            headers: Vec::new(),
            time: SystemClock.now_ms(),
        })
    }
}

/// The HTTP interface of a running process.
pub struct HttpSink {
    /// The interface.
    pub client: Client,
}

impl Sink for HttpSink {
    fn name(&self) -> String {
        self.client.url().to_owned()
    }

    fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<(usize, String)>> {
        let mut lines: Vec<(usize, Vec<u8>)> = Vec::with_capacity(batch.len());
        for (place, outgoing) in batch.iter().enumerate() {
            lines.push((place, line(outgoing)?));
        }
        let mut refused: Vec<(usize, String)> = Vec::new();
        // A request is taken whole or not at all: what it is refused for is left out, and the rest comes again.
        while !lines.is_empty() {
            let body: Vec<u8> = lines.iter().flat_map(|(_, line)| line.iter().copied()).collect();
            let problems = match self.client.post_sessions(&body)? {
                Posted::Accepted => break,
                Posted::Refused(problems) => problems,
            };
            let count = lines.len();
            for (index, problem) in &problems {
                if let Some((place, _)) = lines.get(*index) {
                    match refused.iter_mut().find(|(refused, _)| refused == place) {
                        Some((_, told)) => told.push_str(&format!("; {problem}")),
                        None => refused.push((*place, problem.clone())),
                    }
                }
            }
            lines.retain(|(place, _)| !refused.iter().any(|(refused, _)| refused == place));
            if lines.len() == count {
                bail!("{} refuses sessions that were not sent", self.client.url());
            }
        }
        Ok(refused)
    }
}

/// Returns a session as one line of JSON, with the bytes of its attachments in base64.
fn line(outgoing: &Outgoing) -> Result<Vec<u8>> {
    let mut session = session_to_json(&outgoing.session);
    let attachments = session.get_mut("attachments").and_then(Value::as_array_mut);
    for attachment in attachments.into_iter().flatten() {
        let image = outgoing.images.iter().find(|image| attachment["id"] == image.attachment_id.as_str());
        if let Some(bytes) = image.and_then(|image| image.bytes.as_ref()) {
            attachment["data"] = STANDARD.encode(bytes).into();
        }
    }
    let mut line = serde_json::to_vec(&session)?;
    line.push(b'\n');
    Ok(line)
}

/// Spreads sessions over time.
struct Pace {
    rate: Option<Rate>,
    started: Instant,
    sent: usize,
}

impl Pace {
    fn new(rate: Option<Rate>) -> Self {
        Self { rate, started: Instant::now(), sent: 0 }
    }

    /// Returns how many sessions may go at a time.
    fn batch_max(&self, batch_max: usize) -> usize {
        let due = self.rate.map(|Rate(rate)| (rate * BATCH_TIME.as_secs_f64()) as usize);
        due.map_or(batch_max, |due| due.clamp(1, batch_max))
    }

    /// Waits until so many more sessions may go.
    fn wait(&mut self, count: usize) {
        if let Some(due) = self.due() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        self.sent += count;
    }

    /// Returns when what was sent so far makes room for more.
    fn due(&self) -> Option<Instant> {
        let Rate(rate) = self.rate?;
        let elapsed = Duration::try_from_secs_f64(self.sent as f64 / rate).ok()?;
        self.started.checked_add(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{Attachment, AttachmentKind};

    #[test]
    fn rates_are_sessions_a_second() {
        assert_eq!("200/s".parse(), Ok(Rate(200.0)));
        assert_eq!("0.5".parse(), Ok(Rate(0.5)));
        for text in ["", "0", "-1/s", "inf", "NaN", "200/m", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_spreads_what_is_sent() {
        let mut pace = Pace::new(Some(Rate(1_000.0)));
        assert_eq!(pace.batch_max(500), 50);
        assert_eq!(pace.due(), Some(pace.started));
        pace.sent = 2_000;
        assert_eq!(pace.due(), Some(pace.started + Duration::from_secs(2)));
        assert_eq!(Pace::new(Some(Rate(0.1))).batch_max(500), 1);
        assert_eq!(Pace::new(None).batch_max(500), 500);
        assert_eq!(Pace::new(None).due(), None);
    }

    fn session(sha256: Option<&str>) -> Session {
        let attachment = Attachment {
            id: "i-1".into(),
            kind: AttachmentKind::Selfie,
            sha256: sha256.map(str::to_owned),
            ..Attachment::default()
        };
        Session { session_id: "s-1".into(), attachments: Some(vec![attachment]), ..Session::default() }
    }

    #[test]
    fn the_bytes_of_an_attachment_are_those_that_the_session_names() {
        let hash = schemas::sha256_hex(b"abc");
        let image = super::image(&session(Some(&hash)), "i-1", b"abc".to_vec()).expect("the hash is right");
        assert_eq!((image.size, image.sha256.as_str()), (3, hash.as_str()));
        let error =
            super::image(&session(Some(&hash)), "i-1", b"abd".to_vec()).expect_err("the hash is wrong");
        assert!(error.to_string().contains("SHA-256"));
        super::image(&session(None), "i-2", Vec::new()).expect_err("there is no such attachment");
        let large = vec![0; ATTACHMENT_BYTES_MAX + 1];
        let error = super::image(&session(None), "i-1", large).expect_err("it is too large");
        assert!(error.to_string().contains("\"reference\""), "{error}");
    }

    #[test]
    fn attachments_travel_in_base64_over_http() {
        let session = session(Some(&schemas::sha256_hex(b"abc")));
        let images = vec![super::image(&session, "i-1", b"abc".to_vec()).expect("the hash is right")];
        let text = line(&Outgoing { line: 1, session, images, bytes: 0 }).expect("it has a line");
        let parsed = schemas::json::session_from_json(&text).expect("it is a session");
        assert_eq!(parsed.files[0].source, AttachmentSource::Data(b"abc".to_vec()));
    }
}
