//! `tamiz run`: judges the sessions of a file in memory, with the operators that also run on the log.

use crate::expected::{Comparison, Expectations};
use crate::input::{self, InputSession};
use crate::operators;
use crate::summary::Summary;
use anyhow::{Context, Result, bail};
use fusion::RuleLibrary;
use pipeline::bus::local::{LocalBus, LocalLog};
use pipeline::bus::{ManualClock, SystemClock, WallClock};
use pipeline::config::Config;
use pipeline::store::MemoryStore;
use pipeline::{HostContext, NewRecord, Runner, Turn};
use rules::RuleSet;
use schemas::json::{decision_to_json, time_from_text};
use schemas::topic::{ACCEPTED, DEAD_LETTER, DECISIONS, SESSIONS, SIGNALS};
use schemas::{Codec, Decision, Key, Message, Session, TimeMs, TopicSpec};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions that are judged between two looks at what came out.
const CHUNK: usize = 2_000;
/// Problems of the input that are shown; the others are counted.
const PROBLEMS_SHOWN: u64 = 20;
/// The one partition of the log in memory.
const PARTITION: u32 = 0;

/// Judge the sessions of a file and write the decisions.
///
/// Runs in memory, with nothing but this command: the same operators as on Kafka read the file as if it were a topic.
/// After the last session a tick lets every deadline pass.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Sessions: JSON lines or an Avro container; `-` for the standard input.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Decisions as JSON lines; `-` for the standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Rule set in the place of the configured one.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Judge by this rule set too, and write only the sessions whose decisions differ.
    #[arg(long, value_name = "FILE", requires = "rules")]
    pub compare: Option<PathBuf>,
    /// Compare the decisions with these expectations, as `tamiz sample --expected` writes them, and fail where one differs.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,
    /// Append time of every session, in RFC 3339, so that two runs give the same bytes; now, if it is left out.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Fail where a session could not be read or was refused.
    #[arg(long)]
    pub strict: bool,
    /// Print neither progress nor summary.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Runs the command.
pub fn run(args: &RunArgs, config: &Config) -> Result<()> {
    let at = match &args.at {
        Some(text) => {
            time_from_text(text).with_context(|| format!("--at {text:?} is not a time in RFC 3339"))?
        }
        None => SystemClock.now_ms(),
    };
    let mut engines = vec![Engine::new(config, args.rules.as_deref(), at)?];
    if let Some(old) = &args.compare {
        engines.push(Engine::new(config, Some(old), at)?);
    }
    let mut report = Report::new(args, engines.len() > 1)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    for session in input::sessions(&args.input)? {
        match session {
            Ok(session) => chunk.push(session),
            Err(error @ input::InputError::Broken { .. }) => return Err(error.into()),
            Err(error) => report.problem(&pipeline::telemetry::describe_error(&error)),
        }
        if chunk.len() == CHUNK {
            judge(&mut engines, &mut report, std::mem::take(&mut chunk))?;
        }
    }
    judge(&mut engines, &mut report, chunk)?;
    for (index, engine) in engines.iter_mut().enumerate() {
        let outcome = engine.finish()?;
        report.take(index, outcome)?;
    }
    report.end(args)
}

fn judge(engines: &mut [Engine], report: &mut Report, chunk: Vec<InputSession>) -> Result<()> {
    report.read += chunk.len() as u64;
    let sessions: Vec<Session> = chunk.into_iter().map(|input| input.session).collect();
    for (index, engine) in engines.iter_mut().enumerate() {
        let outcome = engine.judge(&sessions)?;
        report.take(index, outcome)?;
    }
    report.progress();
    Ok(())
}

/// The operators over a log in memory, with one rule set.
struct Engine {
    log: Arc<LocalLog>,
    runner: Runner,
    clock: Arc<ManualClock>,
    codec: Arc<Codec>,
    decisions_read: u64,
    letters_read: u64,
}

/// What came out of some sessions.
#[derive(Default)]
struct Judged {
    decisions: Vec<Decision>,
    refusals: Vec<String>,
}

impl Engine {
    fn new(config: &Config, rules: Option<&Path>, at: TimeMs) -> Result<Self> {
        let mut config = config.clone();
        config.deployment.partitions = PARTITION + 1;
        config.runtime.publish.clear();
        config.runtime.record_steps = false;
        config.runtime.poll_wait_ms = 0;
        // The time stands while the file is read, so that no tick is due.
        config.runtime.tick_ms = u64::from(u32::MAX);
        config.runtime.tick_quiet_ms = config.runtime.tick_ms;
        let configured = (!config.rules.file.as_os_str().is_empty()).then(|| config.rules.file.clone());
        let context = HostContext::new(config.clone());
        if let Some(path) = rules.map(Path::to_owned).or(configured) {
            context.shared(|_| Ok::<_, anyhow::Error>(RuleLibrary::new(load_rules(&path)?)))?;
        }
        let codec = Arc::new(Codec::new());
        let hosting = operators::join(&context, &config.deployment.operators, Arc::clone(&codec))?;
        let clock = Arc::new(ManualClock::at(at));
        let store = Arc::new(MemoryStore::default());
        let log = LocalLog::open(store, Arc::clone(&clock) as Arc<dyn WallClock>, PARTITION + 1, false)?;
        let bus = LocalBus::join(Arc::clone(&log), "run", hosting.inputs(), &hosting.stateful())?;
        let runner = Runner::new(Box::new(bus), hosting, pipeline::host::runner_settings(&config, 0));
        Ok(Self { log, runner, clock, codec, decisions_read: 0, letters_read: 0 })
    }

    fn judge(&mut self, sessions: &[Session]) -> Result<Judged> {
        let mut records = Vec::with_capacity(sessions.len());
        for session in sessions {
            let key = Key::of_session(
                session.tenant.as_deref().unwrap_or(intake::DEFAULT_TENANT),
                &session.session_id,
            );
            let mut value = Vec::with_capacity(1_024);
            self.codec.encode(session, &mut value)?;
            let (key, value) = (Some(key.as_bytes().to_vec()), Some(value));
            records.push(NewRecord {
                topic: &SESSIONS,
                partition: PARTITION,
                key,
                value,
                headers: Vec::new(),
                time: 0,
            });
        }
        self.log.append(records)?;
        self.work()
    }

    /// Lets every deadline pass.
    fn finish(&mut self) -> Result<Judged> {
        self.clock.set(self.clock.now_ms().saturating_add(rules::DEADLINE_MS_MAX + 1));
        self.log.append(vec![NewRecord::tick(&SESSIONS, PARTITION, 0)])?;
        self.work()
    }

    fn work(&mut self) -> Result<Judged> {
        while self.runner.turn()? != Turn::Idle {}
        let mut judged = Judged::default();
        for record in take(&self.log, &DECISIONS, &mut self.decisions_read)? {
            let bytes = record.value.as_deref().unwrap_or_default();
            judged.decisions.push(self.codec.decode::<Decision>(bytes)?);
        }
        for record in take(&self.log, &DEAD_LETTER, &mut self.letters_read)? {
            let message =
                Message::decode(&self.codec, &DEAD_LETTER, record.value.as_deref().unwrap_or_default())?;
            if let Message::DeadLetter(letter) = message {
                let session = letter.session_id.as_deref().unwrap_or("unknown");
                judged.refusals.push(format!("session {session}: {}: {}", letter.reason, letter.detail));
            }
        }
        for topic in [&SESSIONS, &ACCEPTED, &SIGNALS, &DECISIONS, &DEAD_LETTER] {
            self.log.discard(topic, PARTITION, u64::MAX)?;
        }
        Ok(judged)
    }
}

fn take(log: &LocalLog, topic: &'static TopicSpec, read: &mut u64) -> Result<Vec<pipeline::LogRecord>> {
    let records = log.read(topic, PARTITION, *read, usize::MAX)?;
    *read = log.end(topic, PARTITION);
    Ok(records)
}

/// Loads a rule set, naming every mistake with its place.
pub fn load_rules(path: &Path) -> Result<RuleSet> {
    let source = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read rules from {}", path.display()))?;
    RuleSet::load(&source, fusion::catalogue()).map_err(|error| {
        let lines: Vec<String> =
            error.diagnostics.iter().map(|diagnostic| format!("{}:{diagnostic}", path.display())).collect();
        anyhow::anyhow!("the rules cannot be used:\n{}", lines.join("\n"))
    })
}

/// Where decisions go, and what is told of them.
struct Report {
    output: Box<dyn Write>,
    summary: Summary,
    started: Instant,
    shown: Instant,
    read: u64,
    problems: u64,
    quiet: bool,
    expectations: Option<Expectations>,
    /// Where two rule sets are compared.
    compared: Option<Answers>,
}

/// The last answers of each session, by tenant and id: that of the new rule set and that of the old.
type Answers = BTreeMap<(String, String), [Option<Answer>; 2]>;

/// What two rule sets may differ in.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    decision: &'static str,
    risk_score: f64,
    codes: Vec<String>,
}

impl Answer {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "decision": self.decision, "risk_score": self.risk_score, "codes": self.codes })
    }
}

impl Report {
    fn new(args: &RunArgs, compares: bool) -> Result<Self> {
        let output: Box<dyn Write> = if args.output == Path::new("-") {
            Box::new(BufWriter::new(std::io::stdout()))
        } else {
            let file = File::create(&args.output)
                .with_context(|| format!("cannot write {}", args.output.display()))?;
            Box::new(BufWriter::with_capacity(1 << 20, file))
        };
        let now = Instant::now();
        Ok(Self {
            output,
            summary: Summary::default(),
            started: now,
            shown: now,
            read: 0,
            problems: 0,
            quiet: args.quiet,
            expectations: args.expected.as_deref().map(Expectations::read).transpose()?,
            compared: compares.then(BTreeMap::new),
        })
    }

    fn problem(&mut self, text: &str) {
        self.problems += 1;
        if self.problems <= PROBLEMS_SHOWN {
            eprintln!("{text}");
        }
    }

    fn take(&mut self, engine: usize, judged: Judged) -> Result<()> {
        // Both rule sets refuse the same sessions, so that these are told once.
        if engine == 0 {
            for refusal in &judged.refusals {
                self.problem(refusal);
            }
        }
        for decision in judged.decisions {
            if engine == 0 {
                self.summary.add(&decision);
                if let Some(expectations) = &mut self.expectations {
                    expectations.note(&decision);
                }
            }
            match &mut self.compared {
                Some(compared) => {
                    let answer = Answer {
                        decision: decision.decision.as_str(),
                        risk_score: decision.risk_score,
                        codes: decision.reasons.iter().map(|reason| reason.code.clone()).collect(),
                    };
                    compared.entry((decision.tenant, decision.session_id)).or_default()[engine] =
                        Some(answer);
                }
                None => {
                    serde_json::to_writer(&mut self.output, &decision_to_json(&decision))?;
                    self.output.write_all(b"\n")?;
                }
            }
        }
        Ok(())
    }

    fn progress(&mut self) {
        if !self.quiet && std::io::stderr().is_terminal() && self.shown.elapsed() > Duration::from_millis(200)
        {
            self.shown = Instant::now();
            eprint!("\r{} sessions", self.read);
        }
    }

    fn end(mut self, args: &RunArgs) -> Result<()> {
        let differing = self.write_differences()?;
        self.output.flush().with_context(|| format!("cannot write {}", args.output.display()))?;
        if self.problems > PROBLEMS_SHOWN {
            eprintln!("and {} more problems", self.problems - PROBLEMS_SHOWN);
        }
        if args.json {
            let mut summary = self.summary.to_json();
            summary["problems"] = self.problems.into();
            if let Some(differing) = &differing {
                summary["differing"] = differing.to_json();
            }
            eprintln!("{summary}");
        } else if !self.quiet {
            let seconds = self.started.elapsed().as_secs_f64();
            eprintln!("\r{}", self.summary);
            if let Some(differing) = &differing {
                eprintln!("{differing}");
            }
            let rate = self.read as f64 / seconds.max(1e-9);
            eprintln!(
                "{} sessions read in {seconds:.1} s ({rate:.0}/s), {} problems",
                self.read, self.problems
            );
        }
        if let Some(comparison) = self.expectations.as_ref().map(Expectations::compare) {
            let Comparison { equal, different, shown } = comparison;
            if different > 0 {
                bail!("{different} sessions are not as expected, {equal} are:\n{}", shown.join("\n"));
            }
            if !self.quiet {
                eprintln!("{equal} sessions are as expected, in decision and reasons");
            }
        }
        if args.strict && self.problems > 0 {
            bail!("{} sessions could not be judged", self.problems);
        }
        Ok(())
    }

    fn write_differences(&mut self) -> Result<Option<Differences>> {
        let Some(compared) = self.compared.take() else { return Ok(None) };
        let mut differences = Differences::default();
        for ((tenant, session_id), [new, old]) in compared {
            if new == old {
                continue;
            }
            let outcome = |answer: &Option<Answer>| answer.as_ref().map_or("none", |answer| answer.decision);
            *differences.matrix.entry((outcome(&old), outcome(&new))).or_default() += 1;
            differences.sessions += 1;
            let json = |answer: Option<Answer>| answer.map(|answer| answer.to_json());
            let line = serde_json::json!({ "tenant": tenant, "session_id": session_id, "old": json(old), "new": json(new) });
            serde_json::to_writer(&mut self.output, &line)?;
            self.output.write_all(b"\n")?;
        }
        Ok(Some(differences))
    }
}

/// How many sessions two rule sets judge differently, by old and new outcome.
#[derive(Default)]
struct Differences {
    sessions: u64,
    matrix: BTreeMap<(&'static str, &'static str), u64>,
}

impl Differences {
    fn to_json(&self) -> serde_json::Value {
        let cell = |((from, to), count): (&(&str, &str), &u64)| serde_json::json!({ "old": from, "new": to, "sessions": count });
        serde_json::json!({ "sessions": self.sessions, "matrix": self.matrix.iter().map(cell).collect::<Vec<_>>() })
    }
}

impl std::fmt::Display for Differences {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "{} sessions differ in decision, score or reasons", self.sessions)?;
        for ((from, to), count) in &self.matrix {
            writeln!(out, "  {from:<8} -> {to:<8} {count:>8}")?;
        }
        Ok(())
    }
}
