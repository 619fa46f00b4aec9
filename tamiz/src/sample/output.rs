//! Writing samples: sessions as JSON lines or as an Avro container file, and beside them what is expected of each.

use std::collections::BTreeMap;
use std::io::Write;

use geodata::DataSets;
use schemas::json::session_to_json;
use schemas::{Record, Session};
use serde_avro_fast::object_container_file_encoding::{Compression, Writer, WriterBuilder};
use serde_avro_fast::ser::SerializerConfig;
use serde_json::json;

use super::error::{Result, SampleError};
use super::random::Random;
use super::sampler::{SampleOptions, Sampled, sample};

/// After how many sessions progress is told.
const PROGRESS_SESSIONS: u64 = 1_000;
/// The stream of random numbers for the marker between the blocks of a container file; sessions count up from 1.
const MARKER_STREAM: u64 = u64::MAX;

/// How sessions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SampleFormat {
    /// One session a line, as `tamiz run` and `POST /v1/sessions` read it.
    Jsonl,
    /// An Avro object container file with the schema of the topic `sessions`.
    Avro,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleReport {
    pub sessions: u64,
    /// Those of sessions in stages and of repetitions among them.
    pub records: u64,
    /// How many sessions have each trait; those with none are not counted.
    pub traits: BTreeMap<&'static str, u64>,
    /// For how many sessions each decision is expected.
    pub decisions: BTreeMap<&'static str, u64>,
    /// What was asked for and could not be, in sentences for people.
    pub notices: Vec<String>,
}

/// Writes samples to `out`, and to `expected_out` one line of JSON for each session: its id, its traits, the codes of all
/// rules of the default set that fire, and the decision.
///
/// `progress` is told the number of sessions written, every thousand and at the end.
pub fn write_samples(
    options: SampleOptions,
    data: &DataSets,
    out: &mut dyn Write,
    mut expected_out: Option<&mut dyn Write>,
    format: SampleFormat,
    progress: &mut dyn FnMut(u64),
) -> Result<SampleReport> {
    let seed = options.seed;
    let sampler = sample(options, data)?;
    let mut report = SampleReport { notices: sampler.notices().to_vec(), ..SampleReport::default() };
    // The schemas are compiled in, and a test of their crate parses each of them.
    let schema = Session::published().json.parse().expect("the schema of sessions is valid");
    let mut config = SerializerConfig::new(&schema);
    let mut sink = Sink::new(format, seed, out, &mut config)?;
    let mut line = Vec::new();
    for sampled in sampler {
        sink.write(&sampled.session)?;
        report.records += 1;
        if !sampled.part.completes() {
            continue;
        }
        report.count(&sampled);
        if let Some(expected_out) = expected_out.as_mut() {
            write_line(*expected_out, &mut line, &expectation(&sampled))?;
        }
        if report.sessions.is_multiple_of(PROGRESS_SESSIONS) {
            progress(report.sessions);
        }
    }
    sink.finish()?;
    if let Some(expected_out) = expected_out {
        expected_out.flush().map_err(|source| SampleError::Write { source })?;
    }
    progress(report.sessions);
    Ok(report)
}

impl SampleReport {
    fn count(&mut self, sampled: &Sampled) {
        self.sessions += 1;
        *self.decisions.entry(sampled.expected.decision.as_str()).or_default() += 1;
        for known in &sampled.expected.traits {
            *self.traits.entry(known).or_default() += 1;
        }
    }
}

enum Sink<'o, 'c, 's> {
    /// With the line being made: a file is written line by line, not token by token.
    Jsonl(&'o mut dyn Write, Vec<u8>),
    Avro(Box<Writer<'c, 's, &'o mut dyn Write>>),
}

impl<'o, 'c, 's> Sink<'o, 'c, 's> {
    fn new(
        format: SampleFormat,
        seed: u64,
        out: &'o mut dyn Write,
        config: &'c mut SerializerConfig<'s>,
    ) -> Result<Sink<'o, 'c, 's>> {
        match format {
            SampleFormat::Jsonl => Ok(Sink::Jsonl(out, Vec::new())),
            SampleFormat::Avro => {
                // A marker of its own would make the file another one each time.
                let mut random = Random::new(seed, MARKER_STREAM);
                let halves = [random.next_u64(), random.next_u64()].map(u64::to_be_bytes);
                let mut marker = [0; 16];
                marker[..8].copy_from_slice(&halves[0]);
                marker[8..].copy_from_slice(&halves[1]);
                let builder = WriterBuilder::new(config).compression(Compression::Null).sync_marker(marker);
                let writer = builder.build(out).map_err(|source| SampleError::Avro { source })?;
                Ok(Sink::Avro(Box::new(writer)))
            }
        }
    }

    fn write(&mut self, session: &Session) -> Result<()> {
        match self {
            Sink::Jsonl(out, line) => write_line(*out, line, &session_to_json(session)),
            Sink::Avro(writer) => writer.serialize(session).map_err(|source| SampleError::Avro { source }),
        }
    }

    fn finish(self) -> Result<()> {
        let out = match self {
            Sink::Jsonl(out, _) => out,
            Sink::Avro(writer) => writer.into_inner().map_err(|source| SampleError::Avro { source })?,
        };
        out.flush().map_err(|source| SampleError::Write { source })
    }
}

fn write_line(out: &mut dyn Write, line: &mut Vec<u8>, value: &serde_json::Value) -> Result<()> {
    line.clear();
    let made = serde_json::to_writer(&mut *line, value).map_err(std::io::Error::from);
    line.push(b'\n');
    made.and_then(|()| out.write_all(line)).map_err(|source| SampleError::Write { source })
}

fn expectation(sampled: &Sampled) -> serde_json::Value {
    json!({
        "session_id": sampled.session.session_id,
        "traits": sampled.expected.traits,
        "codes": sampled.expected.codes,
        "decision": sampled.expected.decision.as_str(),
    })
}
