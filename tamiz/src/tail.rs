//! `tamiz tail`: the records of a topic as they come.

use crate::access::{Access, Backlog, Reach};
use crate::client::{Client, Event, Events};
use crate::text::{Style, likest, plain};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use pipeline::config::Config;
use pipeline::{LogRecord, Start};
use schemas::json::{message_to_json, time_from_text, time_to_text};
use schemas::topic::{self, DECISIONS, DECISIONS_LATEST};
use schemas::{Cleanup, Codec, Key, Message, TimeMs, TopicSpec};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Records of one partition that are taken at a time.
const RECORDS_MAX: usize = 500;
/// How long a poll of the log waits; a reader that has gone is only found when something is written to it.
const POLL_WAIT: Duration = Duration::from_secs(1);
/// How often a stream that brings nothing is taken up again, and the pause before it is.
const CUTS_MAX: u32 = 10;
const CUT_PAUSE: Duration = Duration::from_secs(1);
/// Rule codes that one line names.
const CODES_SHOWN: usize = 4;

/// Print the records of a topic as they come, decisions by default.
///
/// Reads Kafka or the embedded log. Where a running process has the embedded log open, decisions come from its HTTP
/// interface.
///
/// Examples: tamiz tail --tenant acme; tamiz tail signals --from earliest --no-follow --json
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Topic, as `tamiz topics list` names it.
    #[arg(value_name = "TOPIC", default_value = DECISIONS.name)]
    pub topic: String,
    /// Where to begin; with what is to come, or with the oldest where nothing is to come: with --no-follow, and in an
    /// embedded log that nobody writes to.
    #[arg(long, value_name = "PLACE")]
    pub from: Option<From>,
    /// Only records of this tenant.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// End after so many records.
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// End when everything there is has been read.
    #[arg(long)]
    pub no_follow: bool,
    /// Print a JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Read decisions from the HTTP interface at this address, as in http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// With the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
}

impl TailArgs {
    fn start(&self, topic: &TopicSpec) -> From {
        // All there is of a compacted topic is what it holds.
        let is_whole = self.no_follow || topic.cleanup == Cleanup::Compact;
        self.from.unwrap_or(if is_whole { From::Earliest } else { From::Latest })
    }
}

impl From {
    fn as_str(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
        }
    }
}

/// Runs the command.
pub fn run(args: &TailArgs, config: &Config) -> Result<()> {
    let topic = find(&args.topic)?;
    let out = &mut io::stdout().lock();
    let mut printer = Printer::new(args, Style::of_stdout(), out);
    match Reach::open(config, args.url.as_deref(), Access::open_existing)? {
        Reach::Log(access) => tail_log(args, topic, &access, &mut printer),
        Reach::Http(_) if topic.name != DECISIONS.name => bail!(
            "only {} can be read from a running process with an embedded log; stop it to read {}",
            DECISIONS.name,
            topic.name
        ),
        Reach::Http(client) => {
            if args.url.is_none() {
                eprintln!("the log is open in another process; reading from {}", client.url());
            }
            tail_http(args, &client, &mut printer)
        }
    }
}

/// Returns a topic by its name.
pub fn find(name: &str) -> Result<&'static TopicSpec> {
    topic::find(name).ok_or_else(|| {
        let names = topic::TOPICS.iter().map(|topic| topic.name);
        let meant = likest(name, names.clone()).map(|name| format!(", did you mean {name:?}?"));
        let known = names.collect::<Vec<_>>().join(", ");
        anyhow!("there is no topic {name:?}{}; there are {known}", meant.unwrap_or_default())
    })
}

fn tail_log(
    args: &TailArgs,
    topic: &'static TopicSpec,
    access: &Access,
    printer: &mut Printer<'_>,
) -> Result<()> {
    // Nobody writes to an embedded log that is open here, so that waiting would be for ever.
    if access.is_alone {
        if args.from == Some(From::Latest) {
            bail!(
                "nobody writes to this log while no `tamiz up` runs, so nothing can come; use --from earliest"
            );
        }
        return access.scan(topic, |record| printer.record(&record, &access.codec));
    }
    let start = match args.start(topic) {
        From::Earliest => Start::Earliest,
        From::Latest => Start::Latest,
    };
    let action = || format!("cannot read topic {}", topic.name);
    access.check()?;
    let mut tail = access.edge.tail(topic, start).with_context(action)?;
    let mut backlog = Backlog::begin();
    loop {
        let wait = if args.no_follow { POLL_WAIT.min(backlog.wait_left()) } else { POLL_WAIT };
        let mut records = tail.next(RECORDS_MAX, wait).with_context(action)?;
        let oldest = records.iter().map(|record| record.time).min();
        let is_read = args.no_follow && backlog.is_read_after(oldest);
        records.sort_by_key(|record| (record.time, record.partition, record.offset));
        for record in records {
            if printer.record(&record, &access.codec)?.is_break() {
                return Ok(());
            }
        }
        if is_read {
            return Ok(());
        }
        backlog.saw(oldest);
    }
}

/// Reads the stream of decisions; one that is cut off is taken up after the last event.
fn tail_http(args: &TailArgs, client: &Client, printer: &mut Printer<'_>) -> Result<()> {
    let from = args.start(&DECISIONS).as_str();
    let mut last_event_id: Option<String> = None;
    let mut cuts = 0;
    loop {
        let before = last_event_id.clone();
        let end = match client.decisions(from, args.tenant.as_deref(), before.as_deref()) {
            Ok(events) => print_events(args, events, &mut last_event_id, printer)?,
            Err(error) => End::Cut(error),
        };
        let End::Cut(error) = end else { return Ok(()) };
        // A stream that brought something is a good one, however often it was cut before.
        cuts = if last_event_id == before { cuts + 1 } else { 1 };
        if cuts > CUTS_MAX {
            return Err(error);
        }
        std::thread::sleep(CUT_PAUSE);
    }
}

/// Why a stream has ended.
enum End {
    /// Nothing more is wanted.
    Done,
    /// It was cut off.
    Cut(anyhow::Error),
}

fn print_events(
    args: &TailArgs,
    events: Events,
    last_event_id: &mut Option<String>,
    printer: &mut Printer<'_>,
) -> Result<End> {
    let events = received(events)?;
    let mut backlog = Backlog::begin();
    loop {
        let event = if args.no_follow {
            match events.recv_timeout(backlog.wait_left()) {
                Err(RecvTimeoutError::Timeout) => return Ok(End::Done),
                event => event.ok(),
            }
        } else {
            events.recv().ok()
        };
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Ok(End::Cut(error.into())),
            None => return Ok(End::Cut(anyhow!("the stream of decisions ended"))),
        };
        let decision: Value = serde_json::from_str(&event.data).context("an event is no decision")?;
        if printer.decision(&decision)?.is_break() {
            return Ok(End::Done);
        }
        let decided_at = decision["decided_at"].as_str().and_then(time_from_text);
        if args.no_follow && backlog.is_read_after(decided_at) {
            return Ok(End::Done);
        }
        backlog.saw(decided_at);
        *last_event_id = event.id.or(last_event_id.take());
    }
}

/// Reads events on a thread of its own: a read from a connection cannot be given up.
fn received(mut events: Events) -> Result<Receiver<io::Result<Event>>> {
    let (sender, receiver) = sync_channel(RECORDS_MAX);
    let read = move || {
        while let Some(event) = events.next_event().transpose() {
            let is_error = event.is_err();
            if sender.send(event).is_err() || is_error {
                return;
            }
        }
    };
    std::thread::Builder::new().name("tail".into()).spawn(read).context("cannot start a thread")?;
    Ok(receiver)
}

/// Prints what is wanted of what comes.
pub struct Printer<'a> {
    tenant: Option<&'a str>,
    left: Option<u64>,
    json: bool,
    style: Style,
    out: &'a mut dyn Write,
}

/// Whether more is wanted.
type More = std::ops::ControlFlow<()>;

impl<'a> Printer<'a> {
    /// Makes a printer for arguments.
    pub fn new(args: &'a TailArgs, style: Style, out: &'a mut dyn Write) -> Self {
        Self { tenant: args.tenant.as_deref(), left: args.count, json: args.json, style, out }
    }

    /// Prints a record of the log.
    pub fn record(&mut self, record: &LogRecord, codec: &Codec) -> Result<More> {
        let key = record.key.clone().map(Key::from_bytes);
        let tenant = key.as_ref().and_then(Key::session).map(|(tenant, _)| tenant);
        if self.tenant.is_some() && self.tenant != tenant {
            return Ok(More::Continue(()));
        }
        let message = record.value.as_deref().map(|bytes| Message::decode(codec, record.topic, bytes));
        let shown = match message {
            Some(Ok(message)) => Ok(message_to_json(&message)),
            Some(Err(error)) => Err(format!("undecodable: {error}")),
            None if record.is_tick() => Err("tick".to_owned()),
            None => Err("deleted".to_owned()),
        };
        let is_decision = record.topic.name == DECISIONS.name || record.topic.name == DECISIONS_LATEST.name;
        match shown {
            Ok(decision) if is_decision => self.decision(&decision),
            shown => self.other(record, key.as_ref(), shown),
        }
    }

    /// Prints a decision in the form that consumers read.
    pub fn decision(&mut self, decision: &Value) -> Result<More> {
        if self.tenant.is_some_and(|tenant| decision["tenant"].as_str() != Some(tenant)) {
            return Ok(More::Continue(()));
        }
        if self.json {
            return self.line(&decision.to_string());
        }
        let line = decision_line(decision, self.style);
        self.line(&line)
    }

    fn other(&mut self, record: &LogRecord, key: Option<&Key>, shown: Result<Value, String>) -> Result<More> {
        let key_text = key.map(|key| match key.session() {
            Some((tenant, session_id)) => format!("{tenant}/{session_id}"),
            None => String::from_utf8_lossy(key.as_bytes()).into_owned(),
        });
        let (partition, offset) = (record.partition, record.offset);
        if self.json {
            let (value, note) = shown.map_or_else(|note| (Value::Null, Some(note)), |value| (value, None));
            let line = json!({
                "topic": record.topic.name,
                "partition": partition,
                "offset": offset,
                "time": time_text(record.time),
                "key": key_text,
                "headers": headers_to_json(record),
                "value": value,
                "note": note,
            });
            return self.line(&line.to_string());
        }
        let place = self.style.dim(&format!("{partition}:{offset}  {}", time_text(record.time)));
        let text = shown.map_or_else(|note| format!("({note})"), |value| value.to_string());
        let key_text = key_text.unwrap_or_else(|| "-".to_owned());
        self.line(&format!("{place}  {}  {}", plain(&key_text), plain(&text)))
    }

    fn line(&mut self, line: &str) -> Result<More> {
        if self.left == Some(0) {
            return Ok(More::Break(()));
        }
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Ok(More::Break(()));
            }
        }
        Ok(More::Continue(()))
    }
}

fn headers_to_json(record: &LogRecord) -> Value {
    let header =
        |header: &pipeline::Header| (header.name.clone(), String::from_utf8_lossy(&header.value).into());
    Value::Object(record.headers.iter().map(header).collect())
}

/// Returns a time as its text, or as its number where it has none.
pub fn time_text(time: TimeMs) -> String {
    time_to_text(time).unwrap_or_else(|| format!("{time} ms"))
}

/// Returns a decision in one line.
fn decision_line(decision: &Value, style: Style) -> String {
    let text = |name: &str| plain(decision[name].as_str().unwrap_or("-")).into_owned();
    let outcome = text("decision");
    let codes: Vec<&str> = decision["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|reason| reason["code"].as_str())
        .collect();
    let mut named = codes.iter().take(CODES_SHOWN).map(|code| plain(code)).collect::<Vec<_>>().join(", ");
    if codes.len() > CODES_SHOWN {
        named.push_str(&format!(" and {} more", codes.len() - CODES_SHOWN));
    }
    let incomplete = if decision["complete"] == false { "  incomplete" } else { "" };
    format!(
        "{}  {}  {:>5.1}  {}/{}  revision {} ({}){incomplete}  {named}",
        style.dim(&text("decided_at")),
        style.outcome(&outcome, &format!("{outcome:<6}")),
        decision["risk_score"].as_f64().unwrap_or_default(),
        text("tenant"),
        text("session_id"),
        decision["revision"],
        text("cause"),
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(topic: &str) -> TailArgs {
        TailArgs {
            topic: topic.into(),
            from: None,
            tenant: None,
            count: None,
            no_follow: true,
            json: false,
            url: None,
        }
    }

    fn decision() -> Value {
        json!({
            "tenant": "acme", "session_id": "s-1\u{1b}[2J", "revision": 2, "cause": "stage", "decision": "flag",
            "risk_score": 87.5, "complete": false, "decided_at": "2026-03-01T12:00:00.000Z",
            "reasons": [{"code": "A"}, {"code": "B"}, {"code": "C"}, {"code": "D"}, {"code": "E"}],
        })
    }

    #[test]
    fn a_decision_is_one_line_that_steers_no_terminal() {
        let line = decision_line(&decision(), Style::plain());
        assert_eq!(
            line,
            "2026-03-01T12:00:00.000Z  flag     87.5  acme/s-1\\u{1b}[2J  revision 2 (stage)  incomplete  A, B, C, D and 1 more"
        );
    }

    #[test]
    fn only_what_is_wanted_is_printed_and_not_more_of_it() {
        let mut args = args("decisions");
        args.tenant = Some("acme".into());
        args.count = Some(1);
        args.json = true;
        let mut out = Vec::new();
        let mut printer = Printer::new(&args, Style::plain(), &mut out);
        let other = json!({"tenant": "other"});
        assert!(printer.decision(&other).expect("it is not wanted").is_continue());
        assert!(printer.decision(&decision()).expect("it is printed").is_break());
        assert!(printer.decision(&decision()).expect("it is one too many").is_break());
        assert_eq!(String::from_utf8(out).expect("it is UTF-8"), format!("{}\n", decision()));
    }

    #[test]
    fn a_misspelt_topic_brings_a_suggestion() {
        assert_eq!(find("dead-letter").expect("it is a topic").name, "dead-letter");
        let error = find("decision").expect_err("it is none").to_string();
        assert!(error.contains("did you mean \"decisions\"?"), "{error}");
    }
}
