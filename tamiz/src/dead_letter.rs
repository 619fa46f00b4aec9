//! `tamiz dead-letter`: the records that were refused, and handing them back.

use crate::access::{self, Access};
use crate::progress::Progress;
use crate::tail::time_text;
use crate::text::{Side, columns, counted, plain};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use pipeline::config::Config;
use pipeline::record::{ATTEMPTS_HEADER, Header};
use pipeline::{LogRecord, NewRecord};
use schemas::topic::{self, DEAD_LETTER};
use schemas::{Codec, DeadLetter, PUBLISHED};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;
use std::str::FromStr;

/// Records that are handed back in one go, and their bytes.
const BATCH_RECORDS_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Characters of a detail that a table shows.
const DETAIL_CHARS_MAX: usize = 80;
/// Letters that are named one by one where they cannot be handed back.
const REFUSALS_SHOWN: usize = 20;

/// List the records that were refused, and hand them back.
#[derive(Debug, Args)]
pub struct DeadLetterArgs {
    #[command(subcommand)]
    pub command: DeadLetterCommand,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    List(ListArgs),
    Retry(RetryArgs),
}

/// List the newest dead letters: where each record was, who refused it and why.
///
/// Example: tamiz dead-letter list --reason undecodable
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Most letters to list; the newest are kept.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub limit: usize,
    /// Print a JSON object a line, without the kept bytes.
    #[arg(long)]
    pub json: bool,
}

/// Publish the kept bytes of dead letters again, with their key, to the topic that they came from.
///
/// Mend the cause first: a record that is refused again becomes another letter, which counts one attempt more. Of
/// several letters about one record only the last is handed back. Images are kept without their bytes and have to be
/// published again from their source.
///
/// Examples: tamiz dead-letter retry --reason undecodable --dry-run; tamiz dead-letter retry --offset 2:17
#[derive(Debug, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// A letter by its position (partition:offset), as `dead-letter list` shows it; may be given more than once.
    #[arg(long = "offset", value_name = "P:O")]
    pub offsets: Vec<Position>,
    /// Hand every letter back that the other options let through.
    #[arg(long)]
    pub all: bool,
    /// Tell what would be handed back, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print a JSON object: what was handed back, and what could not be.
    #[arg(long)]
    pub json: bool,
}

/// Which letters are meant.
#[derive(Debug, Default, Args)]
pub struct FilterArgs {
    /// Only letters with this reason, as in undecodable.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only letters about records of this topic.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only letters about records of this tenant.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
}

/// Position of a letter in the topic of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{}:{}", self.partition, self.offset))
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        parts.ok_or_else(|| format!("{text:?} is no position as in 2:17, a partition and an offset"))
    }
}

/// Runs the command.
pub fn run(args: &DeadLetterArgs, config: &Config) -> Result<()> {
    let out = &mut std::io::stdout().lock();
    let access = Access::open_existing(config).map_err(|error| {
        error.advising("stop it to look at its dead letters, and start it again afterwards")
    })?;
    match &args.command {
        DeadLetterCommand::List(args) => list(args, &access, out),
        DeadLetterCommand::Retry(args) => retry(args, &access, config, out),
    }
}

impl FilterArgs {
    fn check(&self) -> Result<()> {
        if let Some(name) = &self.topic {
            crate::tail::find(name)?;
        }
        Ok(())
    }

    fn lets_through(&self, letter: &DeadLetter) -> bool {
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.reason, Some(&letter.reason))
            && is(&self.topic, Some(&letter.topic))
            && is(&self.tenant, letter.tenant.as_deref())
    }
}

fn position(record: &LogRecord) -> Position {
    Position { partition: record.partition, offset: record.offset }
}

fn letter(record: &LogRecord, codec: &Codec) -> Result<DeadLetter> {
    let bytes = record.value.as_deref().unwrap_or_default();
    codec.decode(bytes).with_context(|| format!("cannot read the dead letter at {}", position(record)))
}

/// Lists dead letters.
pub fn list(args: &ListArgs, access: &Access, out: &mut dyn Write) -> Result<()> {
    args.filter.check()?;
    let mut newest: VecDeque<(Position, DeadLetter)> = VecDeque::new();
    let (mut count, mut reasons) = (0_u64, BTreeMap::<String, u64>::new());
    access.scan(&DEAD_LETTER, |record| {
        let letter = letter(&record, &access.codec)?;
        if args.filter.lets_through(&letter) {
            count += 1;
            *reasons.entry(letter.reason.clone()).or_default() += 1;
            let has_bytes = can_be_handed_back(&letter, &access.codec);
            // A list has room for many letters only without their bytes.
            let letter = DeadLetter { value: has_bytes.is_ok().then(Default::default), ..letter };
            newest.push_back((position(&record), letter));
            if newest.len() > args.limit {
                newest.pop_front();
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if args.json {
        for (position, letter) in &newest {
            writeln!(out, "{}", to_json(*position, letter))?;
        }
        return Ok(());
    }
    if count == 0 {
        writeln!(out, "no dead letters")?;
        return Ok(());
    }
    write_table(&newest, out)?;
    let by_reason: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {}", plain(reason))).collect();
    writeln!(out, "\n{} ({})", counted(count, "dead letter"), by_reason.join(", "))?;
    if count > newest.len() as u64 {
        writeln!(out, "the newest {} are listed; --limit lists more", newest.len())?;
    }
    Ok(())
}

fn write_table(letters: &VecDeque<(Position, DeadLetter)>, out: &mut dyn Write) -> Result<()> {
    let header =
        ["position", "time", "from", "refused by", "reason", "attempts", "kept", "session", "detail"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (position, letter) in letters {
        let session = letter.tenant.as_deref().zip(letter.session_id.as_deref());
        rows.push(vec![
            position.to_string(),
            time_text(letter.append_time),
            format!("{} {}:{}", letter.topic, letter.partition, letter.offset),
            letter.operator.clone(),
            plain(&letter.reason).into_owned(),
            letter.attempts.to_string(),
            if letter.value.is_some() { "yes" } else { "no" }.to_owned(),
            session
                .map_or_else(|| "-".to_owned(), |(tenant, id)| plain(&format!("{tenant}/{id}")).into_owned()),
            plain(&shortened(&letter.detail)).into_owned(),
        ]);
    }
    let mut sides = [Side::Left; 9];
    sides[5] = Side::Right;
    Ok(columns(out, &sides, &rows)?)
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= DETAIL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(DETAIL_CHARS_MAX - 1).chain(['…']).collect()
}

fn to_json(position: Position, letter: &DeadLetter) -> Value {
    json!({
        "position": position.to_string(),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "time": time_text(letter.append_time),
        "operator": letter.operator,
        "reason": letter.reason,
        "detail": letter.detail,
        "tenant": letter.tenant,
        "session_id": letter.session_id,
        "attempts": letter.attempts,
        "value_size": letter.value_size,
        "value_sha256": letter.value_sha256,
        "can_be_handed_back": letter.value.is_some(),
    })
}

/// Hands dead letters back.
pub fn retry(args: &RetryArgs, access: &Access, config: &Config, out: &mut dyn Write) -> Result<()> {
    args.filter.check()?;
    let filter = &args.filter;
    let is_narrowed = filter.reason.is_some() || filter.topic.is_some() || filter.tenant.is_some();
    if !is_narrowed && args.offsets.is_empty() && !args.all {
        bail!("which letters? name them with --offset, --reason, --topic or --tenant, or hand back --all");
    }
    let chosen = choose(args, access)?;
    let mut retry =
        Retry { access, config, is_dry: args.dry_run, batch: Vec::new(), bytes: 0, done: Vec::new() };
    let mut refused: Vec<(Position, String)> = Vec::new();
    let mut progress = Progress::new(args.json);
    let mut left = chosen.len();
    if left > 0 {
        access.scan(&DEAD_LETTER, |record| {
            let position = position(&record);
            if chosen.binary_search(&position).is_ok() {
                left -= 1;
                match handed_back(letter(&record, &access.codec)?, access) {
                    Ok(record) => retry.add(position, record)?,
                    Err(reason) => refused.push((position, reason)),
                }
                progress.show(|| format!("{} of {} letters", chosen.len() - left, chosen.len()));
            }
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    retry.flush()?;
    drop(progress);
    tell(args, &retry.done, &refused, out)?;
    if !refused.is_empty() {
        bail!("{} cannot be handed back", counted(refused.len() as u64, "dead letter"));
    }
    Ok(())
}

/// Returns the positions of the letters that are meant, in order; of several letters about one record, the last.
fn choose(args: &RetryArgs, access: &Access) -> Result<Vec<Position>> {
    let mut last: HashMap<(String, Option<Vec<u8>>, String), Position> = HashMap::new();
    let mut found = Vec::new();
    access.scan(&DEAD_LETTER, |record| {
        let (position, letter) = (position(&record), letter(&record, &access.codec)?);
        let is_named = args.offsets.contains(&position);
        if is_named {
            found.push(position);
        }
        if args.filter.lets_through(&letter) && (args.offsets.is_empty() || is_named) {
            let key = letter.key.map(|key| key.into_vec());
            last.insert((letter.topic, key, letter.value_sha256), position);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(missing) = args.offsets.iter().find(|position| !found.contains(position)) {
        bail!("there is no dead letter at {missing}; `tamiz dead-letter list` shows their positions");
    }
    let mut chosen: Vec<Position> = last.into_values().collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// Tells why a letter cannot be handed back, if so.
fn can_be_handed_back(letter: &DeadLetter, codec: &Codec) -> Result<(), String> {
    let Some(topic) = topic::find(&letter.topic) else {
        return Err(format!("it came from topic {:?}, which is not known here", letter.topic));
    };
    let Some(value) = letter.value.as_ref().filter(|value| !value.is_empty()) else {
        let size = letter.value_size;
        return Err(format!("its bytes ({size}) were not kept; publish the record again from its source"));
    };
    match codec.type_of(value) {
        Ok(Some(index)) if !topic.records.contains(&index) => Err(format!(
            "its bytes are a {}, which has no place in topic {}",
            PUBLISHED[index].file, topic.name
        )),
        // What cannot be decoded now may be so because a schema was missing, and is worth another try.
        _ => Ok(()),
    }
}

/// Returns the record that a letter is about, to be published again.
fn handed_back(letter: DeadLetter, access: &Access) -> Result<NewRecord, String> {
    can_be_handed_back(&letter, &access.codec)?;
    let (Some(topic), Some(value)) = (topic::find(&letter.topic), letter.value) else {
        return Err("it has no topic or no bytes".to_owned());
    };
    let partitions = access.edge.partitions();
    let key = letter.key.map(|key| key.into_vec());
    let was = u32::try_from(letter.partition).ok().filter(|partition| *partition < partitions);
    let partition = was.unwrap_or_else(|| {
        // The topic was made anew with fewer partitions since.
        key.as_deref().map_or(0, |key| schemas::key::partition_of(key, partitions))
    });
    let headers = vec![Header::new(ATTEMPTS_HEADER, (letter.attempts + 1).to_string())];
    Ok(NewRecord { topic, partition, key, value: Some(value.into_vec()), headers, time: letter.append_time })
}

/// Letters on their way back.
struct Retry<'a> {
    access: &'a Access,
    config: &'a Config,
    is_dry: bool,
    batch: Vec<NewRecord>,
    bytes: usize,
    done: Vec<Position>,
}

impl Retry<'_> {
    fn add(&mut self, position: Position, record: NewRecord) -> Result<()> {
        self.done.push(position);
        if self.is_dry {
            return Ok(());
        }
        self.bytes += record.value.as_ref().map_or(0, Vec::len);
        self.batch.push(record);
        if self.batch.len() >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let before = self.done.len() - batch.len();
        access::publish(self.access, batch, self.config).with_context(|| {
            format!("cannot hand back more than the first {}", counted(before as u64, "letter"))
        })
    }
}

fn tell(
    args: &RetryArgs,
    done: &[Position],
    refused: &[(Position, String)],
    out: &mut dyn Write,
) -> Result<()> {
    if args.json {
        let refusals: Vec<Value> = refused
            .iter()
            .map(|(position, reason)| json!({ "position": position.to_string(), "reason": reason }))
            .collect();
        let positions: Vec<String> = done.iter().map(Position::to_string).collect();
        writeln!(
            out,
            "{}",
            json!({ "dry_run": args.dry_run, "handed_back": positions, "refused": refusals })
        )?;
        return Ok(());
    }
    for (position, reason) in refused.iter().take(REFUSALS_SHOWN) {
        writeln!(out, "{position}: {}", plain(reason))?;
    }
    if refused.len() > REFUSALS_SHOWN {
        writeln!(out, "and {} more", refused.len() - REFUSALS_SHOWN)?;
    }
    let done = counted(done.len() as u64, "dead letter");
    writeln!(
        out,
        "{}",
        if args.dry_run { format!("{done} would be handed back") } else { format!("{done} handed back") }
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_shown() {
        let position = Position { partition: 2, offset: 17 };
        assert_eq!("2:17".parse(), Ok(position));
        assert_eq!(position.to_string(), "2:17");
        for text in ["", "2", "2:", ":17", "2:x", "-1:2", "2:17:1"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn long_details_are_cut_at_a_character() {
        let long = "ñ".repeat(200);
        assert_eq!(shortened(&long).chars().count(), DETAIL_CHARS_MAX);
        assert_eq!(shortened("short"), "short");
    }
}
