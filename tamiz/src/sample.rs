//! Sampling: seeded, realistic onboarding sessions of Latin America, with what must become of each.
//!
//! Names, keys, addresses and devices come from the tables beside this file; IP addresses from the networks, and prisons
//! from the outlines, of the data sets in use. An ordinary session fires no rule, because what is drawn for it is looked
//! up and drawn anew until nothing can be said against it; traits are what the others have, and the verdict on each is
//! known from how it was made.
//!
//! Reading order: `traits` (what can be special about a session, and what the default rules make of it), `sampler` (a
//! session from its parts), `place`, `network` and `person` (the parts), `curp`, `rfc` and `letters` (keys made of names),
//! `tables` and `random` (what all is drawn from, and by what), `output` (files).

mod curp;
mod error;
mod letters;
mod network;
mod output;
mod person;
mod place;
mod random;
mod rfc;
mod sampler;
mod tables;
#[cfg(test)]
mod tests;
mod traits;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use geodata::DataSets;
use schemas::TimeMs;
use serde_json::json;

pub use error::{Result, SampleError};
pub use output::{SampleFormat, SampleReport, write_samples};
pub use sampler::{Part, SampleOptions, Sampled, Sampler, sample};
pub use traits::{Expected, Group, ShareArgument, Shares, Trait};

/// Bytes gathered before they are written to a file.
const BUFFER_BYTES: usize = 1 << 20;

/// Draws realistic onboarding sessions, with what must become of each.
///
/// The same seed, options and data give the same bytes. Addresses come from the networks of the data sets in use, and
/// positions at prisons from their outlines and points; what they have nothing for is left out, and said.
#[derive(Clone, Debug, clap::Args)]
pub struct SampleArgs {
    /// How many sessions; one in stages, or one that comes twice, counts once.
    #[arg(long, short = 'n', default_value_t = SampleOptions::default().count)]
    pub count: u64,

    /// Seed of the random numbers.
    #[arg(long, default_value_t = SampleOptions::default().seed)]
    pub seed: u64,

    /// File for the sessions; `-` is the standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,

    /// Format of the sessions; told from the ending of the file where it is not given: `.avro`, or else lines of JSON.
    #[arg(long, value_enum)]
    pub format: Option<SampleFormat>,

    /// File for what must become of each session: lines of JSON with session_id, traits, codes of the rules of the
    /// default set that fire, and decision.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,

    /// Tenant of the sessions; without it they have none, which counts as `default`.
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,

    /// Event time before the first session, as in 2026-03-01T12:00:00Z, which is the default: a fixed time, so that the
    /// seed says all.
    #[arg(long, value_name = "TIME", value_parser = start_time)]
    pub start: Option<TimeMs>,

    /// Sessions a second by event time, over a whole day; by night there are fewer.
    #[arg(long, value_name = "NUMBER", default_value_t = SampleOptions::default().rate_per_s)]
    pub rate: f64,

    /// Share of sessions with a trait, from 0 to 1, as in `tor=0.02`; repeatable.
    #[arg(long = "share", value_name = "TRAIT=FRACTION", long_help = share_help())]
    pub shares: Vec<ShareArgument>,

    /// Only the given shares, all others 0: without any, every session is ordinary.
    #[arg(long)]
    pub only_given_shares: bool,

    /// Print the summary as JSON to the standard output, where the sessions go to a file.
    #[arg(long)]
    pub json: bool,
}

impl SampleArgs {
    /// Returns what is to be sampled.
    pub fn options(&self) -> SampleOptions {
        let start = if self.only_given_shares { Shares::none() } else { Shares::default() };
        let with = |shares: Shares, given: &ShareArgument| shares.with(given.name, given.fraction);
        SampleOptions {
            count: self.count,
            seed: self.seed,
            tenant: self.tenant.clone(),
            start: self.start.unwrap_or(SampleOptions::default().start),
            rate_per_s: self.rate,
            shares: self.shares.iter().fold(start, with),
        }
    }

    fn format(&self) -> SampleFormat {
        let is_avro = self.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("avro"));
        self.format.unwrap_or(if is_avro { SampleFormat::Avro } else { SampleFormat::Jsonl })
    }
}

fn share_help() -> String {
    let mut help = "Share of sessions with a trait, from 0 to 1, as in `tor=0.02`; repeatable.\n\n\
                    A session has at most one trait of each of these groups; after each its share by default:"
        .to_owned();
    for group in Group::ALL {
        help.push('\n');
        for known in Trait::ALL.into_iter().filter(|known| known.group() == group) {
            let share = known.default_share();
            help.push_str(&format!("\n  {known:<18} {share:<6} {}", known.doc()));
        }
    }
    help
}

fn start_time(text: &str) -> std::result::Result<TimeMs, String> {
    schemas::json::time_from_text(text)
        .ok_or_else(|| "expected a time with its offset, as in 2026-03-01T12:00:00Z".to_owned())
}

/// Runs the command: writes the samples, tells progress where a person watches, and ends with a summary.
pub fn run(args: &SampleArgs, data: &DataSets) -> anyhow::Result<()> {
    let is_piped = args.output == Path::new("-");
    anyhow::ensure!(
        !(is_piped && args.json),
        "the standard output cannot hold both the sessions and the summary; give --output FILE"
    );
    let mut out: Box<dyn Write> = match is_piped {
        true => Box::new(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock())),
        false => Box::new(create(&args.output)?),
    };
    let mut expected_out = args.expected.as_deref().map(create).transpose()?;
    let expected_out = expected_out.as_mut().map(|file| file as &mut dyn Write);
    let is_watched = io::stderr().is_terminal();
    let mut progress = |sessions: u64| {
        if is_watched {
            // A terminal that is gone does not keep the samples from being written.
            let _ = write!(io::stderr(), "\rsampled {sessions} of {}", args.count);
        }
    };
    let written = write_samples(args.options(), data, &mut out, expected_out, args.format(), &mut progress);
    if is_watched {
        eprintln!();
    }
    let report = match written {
        // The reader of a pipe may have seen enough.
        Err(SampleError::Write { source }) if source.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        written => written.with_context(|| format!("cannot sample {} sessions", args.count))?,
    };
    for notice in &report.notices {
        eprintln!("note: {notice}");
    }
    if args.json {
        println!("{}", summary(&report));
    } else {
        print_summary(&report);
    }
    Ok(())
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).map_err(|source| SampleError::Create { path: path.to_owned(), source })?;
    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
}

fn summary(report: &SampleReport) -> serde_json::Value {
    json!({
        "sessions": report.sessions,
        "records": report.records,
        "traits": report.traits,
        "decisions": report.decisions,
        "notices": report.notices,
    })
}

/// The summary goes where it cannot be taken for a session.
fn print_summary(report: &SampleReport) {
    let listed = |counts: &std::collections::BTreeMap<&'static str, u64>| {
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        counts.join(", ")
    };
    eprintln!("{} sessions in {} records", report.sessions, report.records);
    eprintln!("expected decisions: {}", listed(&report.decisions));
    eprintln!("traits: {}", listed(&report.traits));
}
