//! `tamiz rules`: checks and tests rule sets, shows what they may read, and puts them in force.

use crate::access::Access;
use crate::control::{self, ControlError, Published};
use crate::text::{Side, columns, counted, plain, wrapped};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use pipeline::config::Config;
use pipeline::{SystemClock, WallClock};
use rules::{CaseReport, Diagnostic, LoadError, RuleSet};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// End of the names of files of cases; the rule set stands beside it without this ending.
const CASES_ENDING: &str = ".cases.toml";

/// Check, test, show and publish rule sets.
#[derive(Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    pub command: RulesCommand,
}

/// What to do with rule sets.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    Check(CheckArgs),
    Test(TestArgs),
    List(ListArgs),
    Catalogue(CatalogueArgs),
    Publish(PublishArgs),
}

/// Tell every mistake in files of rules, each with its place and a suggestion.
///
/// A file of cases (`NAME.cases.toml`) is checked against the rule set beside it (`NAME.toml`). The exit code is 1
/// where there is a mistake.
///
/// Example: tamiz rules check rules/sets/*.toml
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files of rules or of cases.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print a JSON object: the files and their mistakes.
    #[arg(long)]
    pub json: bool,
}

/// Run the cases of a rule set: every case judges its facts by the whole set.
///
/// The exit code is 1 where a case fails, or where a rule has no case that it fires in or none that it stays silent in.
///
/// Example: tamiz rules test rules/sets/default.toml
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Rule set.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Its cases; NAME.cases.toml beside the rule set NAME.toml, if left out.
    #[arg(long, value_name = "FILE")]
    pub cases: Option<PathBuf>,
    /// Print only what failed, and the summary.
    #[arg(long, short)]
    pub quiet: bool,
    /// Print a JSON object: every case with its failure, and the rules without a case.
    #[arg(long)]
    pub json: bool,
}

/// List the rules of a set with severity, weight and what they read.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Rule set; the configured one, or else the built-in one, if left out.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// List every name that a rule may read, with its type and meaning.
///
/// Example: tamiz rules catalogue geo.location
#[derive(Debug, Args)]
pub struct CatalogueArgs {
    /// Only names that begin so.
    #[arg(value_name = "PREFIX", default_value = "")]
    pub prefix: String,
    /// Print a JSON list.
    #[arg(long)]
    pub json: bool,
}

/// Put a rule set in force: from one place of every partition on, decisions are taken under it.
///
/// Does nothing where it is in force already. A running process with an embedded log publishes the file of its
/// setting rules.file by itself when it changes.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Rule set.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print a JSON object: name, hash, and whether it is new.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &RulesArgs, config: &Config) -> Result<()> {
    let out = &mut std::io::stdout().lock();
    match &args.command {
        RulesCommand::Check(args) => check(args, out),
        RulesCommand::Test(args) => test(args, out),
        RulesCommand::List(args) => list(args, config, out),
        RulesCommand::Catalogue(args) => catalogue(args, out),
        RulesCommand::Publish(args) => publish(args, config, out),
    }
}

/// Returns mistakes as `file:line:column: message; suggestion`, one a line.
pub fn located(file: &Path, error: &LoadError) -> String {
    let lines: Vec<String> =
        error.diagnostics.iter().map(|diagnostic| format!("{}:{diagnostic}", file.display())).collect();
    lines.join("\n")
}

/// Returns an error that tells every mistake of a file with its place.
fn mistakes(file: &Path, error: &LoadError) -> anyhow::Error {
    let count = counted(error.diagnostics.len() as u64, "mistake");
    anyhow!("{} has {count}:\n{}", file.display(), located(file, error))
}

fn load(file: &Path) -> Result<RuleSet> {
    let source = control::read_rules(file)?;
    RuleSet::load(&source, fusion::catalogue()).map_err(|error| mistakes(file, &error))
}

fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<()> {
    let mut found = Vec::new();
    for file in &args.files {
        let (summary, diagnostics) = check_file(file)?;
        if !args.json {
            match &summary {
                Some(summary) => writeln!(out, "{}: {summary}", file.display())?,
                None => diagnostics.iter().try_for_each(|one| writeln!(out, "{}:{one}", file.display()))?,
            }
        }
        found.extend(diagnostics.into_iter().map(|diagnostic| (file, diagnostic)));
    }
    if args.json {
        let files: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
        let mistakes: Vec<Value> = found.iter().map(|(file, one)| diagnostic_to_json(file, one)).collect();
        writeln!(out, "{}", json!({ "files": files, "mistakes": mistakes }))?;
    }
    match found.len() as u64 {
        0 => Ok(()),
        count => bail!("{} in {}", counted(count, "mistake"), counted(args.files.len() as u64, "file")),
    }
}

/// Checks a file of rules, or of cases; returns what is to be said of a good one, or its mistakes.
fn check_file(file: &Path) -> Result<(Option<String>, Vec<Diagnostic>)> {
    let checked = match rules_beside(file) {
        None => RuleSet::load(&control::read_rules(file)?, fusion::catalogue())
            .map(|rules| format!("ok, {} of {:?}, {}", counted_rules(&rules), rules.name(), rules.hash())),
        Some(beside) => {
            let rules =
                load(&beside).with_context(|| format!("cannot check the cases {}", file.display()))?;
            rules::run_cases(&rules, fusion::catalogue(), &control::read_rules(file)?)
                .map(|report| format!("ok, {}", counted(report.results.len() as u64, "case")))
        }
    };
    Ok(match checked {
        Ok(summary) => (Some(summary), Vec::new()),
        Err(error) => (None, error.diagnostics),
    })
}

fn counted_rules(rules: &RuleSet) -> String {
    counted(rules.rules().len() as u64, "rule")
}

fn diagnostic_to_json(file: &Path, diagnostic: &Diagnostic) -> Value {
    json!({
        "file": file.display().to_string(),
        "line": diagnostic.line,
        "column": diagnostic.column,
        "message": diagnostic.message,
        "suggestion": diagnostic.suggestion,
    })
}

/// Returns the rule set that a file of cases belongs to; none where it is no file of cases.
fn rules_beside(cases: &Path) -> Option<PathBuf> {
    let stem = cases.file_name()?.to_str()?.strip_suffix(CASES_ENDING)?;
    Some(cases.with_file_name(format!("{stem}.toml")))
}

/// Returns where the cases of a rule set are.
fn cases_beside(rules: &Path) -> PathBuf {
    let stem = rules.file_stem().unwrap_or_default().to_string_lossy();
    rules.with_file_name(format!("{stem}{CASES_ENDING}"))
}

fn test(args: &TestArgs, out: &mut dyn Write) -> Result<()> {
    let rules = load(&args.file)?;
    let file = args.cases.clone().unwrap_or_else(|| cases_beside(&args.file));
    if args.cases.is_none() && !file.exists() {
        bail!("there are no cases in {}; name their file with --cases", file.display());
    }
    let source = control::read_rules(&file)?;
    let report =
        rules::run_cases(&rules, fusion::catalogue(), &source).map_err(|error| mistakes(&file, &error))?;
    if args.json {
        writeln!(out, "{}", report_to_json(&report, &rules, &file))?;
    } else {
        write_report(&report, &rules, &file, args.quiet, out)?;
    }
    if !report.passed() {
        bail!("the rule set {} has not passed its cases", args.file.display());
    }
    Ok(())
}

fn write_report(
    report: &CaseReport,
    rules: &RuleSet,
    file: &Path,
    is_quiet: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut rows = Vec::new();
    for result in &report.results {
        let verdict = if result.failure.is_some() { "FAILED" } else { "ok" };
        if !is_quiet || result.failure.is_some() {
            let place = result
                .failure
                .as_ref()
                .map(|failure| format!("{}:{}: {failure}", file.display(), result.line));
            let cells = [verdict, &result.rule, &plain(&result.name), &place.unwrap_or_default()];
            rows.push(cells.map(str::to_owned).to_vec());
        }
    }
    columns(out, &[Side::Left; 4], &rows)?;
    let without = [("fires", &report.rules_never_firing), ("stays silent", &report.rules_never_silent)];
    for (what, codes) in without {
        for code in codes {
            writeln!(out, "FAILED  {code}  no passing case in which it {what}")?;
        }
    }
    let failures = report.failures().count();
    let uncovered = report.rules_never_firing.len() + report.rules_never_silent.len();
    writeln!(
        out,
        "{} of {}: {} failed, {} without a case",
        counted(report.results.len() as u64, "case"),
        counted_rules(rules),
        failures,
        uncovered
    )?;
    Ok(())
}

fn report_to_json(report: &CaseReport, rules: &RuleSet, file: &Path) -> Value {
    let case = |result: &rules::CaseResult| json!({ "name": result.name, "rule": result.rule, "line": result.line, "failure": result.failure });
    json!({
        "passed": report.passed(),
        "rule_set": rules.hash(),
        "file": file.display().to_string(),
        "cases": report.results.iter().map(case).collect::<Vec<_>>(),
        "rules_never_firing": report.rules_never_firing,
        "rules_never_silent": report.rules_never_silent,
    })
}

fn list(args: &ListArgs, config: &Config, out: &mut dyn Write) -> Result<()> {
    let configured = (!config.rules.file.as_os_str().is_empty()).then_some(&config.rules.file);
    let rules = match args.file.as_ref().or(configured) {
        Some(file) => load(file)?,
        None => RuleSet::load(fusion::DEFAULT_RULES, fusion::catalogue()).context("the built-in rules")?,
    };
    if args.json {
        writeln!(out, "{}", rules_to_json(&rules))?;
        return Ok(());
    }
    writeln!(out, "{:?}, {}, {}\n", rules.name(), counted_rules(&rules), rules.hash())?;
    let mut rows = vec![["code", "severity", "weight", "flag", "reads"].map(str::to_owned).to_vec()];
    for rule in rules.rules() {
        rows.push(vec![
            rule.code().to_owned(),
            rule.severity().as_str().to_owned(),
            format!("0.{:02}", rule.weight_hundredths()),
            rule.risk_flag().unwrap_or("-").to_owned(),
            rule.inputs().collect::<Vec<_>>().join(", "),
        ]);
    }
    columns(out, &[Side::Left, Side::Left, Side::Right, Side::Left, Side::Left], &rows)?;
    let tenants = rules.tenants();
    if !tenants.is_empty() {
        writeln!(out, "\n{}", wrapped("tenants with settings of their own: ", &plain(&tenants.join(", "))))?;
    }
    Ok(())
}

fn rules_to_json(rules: &RuleSet) -> Value {
    let rule = |rule: &rules::Rule| {
        json!({
            "code": rule.code(),
            "severity": rule.severity().as_str(),
            "weight": f64::from(rule.weight_hundredths()) / 100.0,
            "risk_flag": rule.risk_flag(),
            "when": rule.when().trim(),
            "reads": rule.inputs().collect::<Vec<_>>(),
            "line": rule.line(),
        })
    };
    json!({
        "name": rules.name(),
        "hash": rules.hash(),
        "tenants": rules.tenants(),
        "rules": rules.rules().iter().map(rule).collect::<Vec<_>>(),
    })
}

fn catalogue(args: &CatalogueArgs, out: &mut dyn Write) -> Result<()> {
    let entries = fusion::catalogue().entries().iter().filter(|entry| entry.name.starts_with(&args.prefix));
    let entries: Vec<_> = entries.collect();
    if args.json {
        let entry = |entry: &&rules::Entry| json!({ "name": entry.name, "type": entry.value_type.as_str(), "doc": entry.doc });
        writeln!(out, "{}", Value::from(entries.iter().map(entry).collect::<Vec<_>>()))?;
        return Ok(());
    }
    if entries.is_empty() {
        let names = fusion::catalogue().entries().iter().map(|entry| entry.name.as_str());
        let meant = crate::text::likest(&args.prefix, names).map(|name| format!(", did you mean {name:?}?"));
        bail!("no name begins with {:?}{}", args.prefix, meant.unwrap_or_default());
    }
    let row = |entry: &&rules::Entry| {
        vec![entry.name.clone(), entry.value_type.as_str().to_owned(), entry.doc.clone()]
    };
    Ok(columns(out, &[Side::Left; 3], &entries.iter().map(row).collect::<Vec<_>>())?)
}

fn publish(args: &PublishArgs, config: &Config, out: &mut dyn Write) -> Result<()> {
    let source = control::read_rules(&args.file)?;
    // A file with mistakes is refused before the log is asked for, which may be far away.
    RuleSet::load(&source, fusion::catalogue()).map_err(|error| mistakes(&args.file, &error))?;
    let access = Access::open(config).map_err(|error| {
        error.advising("it publishes the file of its setting rules.file when that changes: change it, or stop the process")
    })?;
    let now = SystemClock.now_ms();
    let published = control::publish_rules(access.edge.as_ref(), &access.codec, &source, now);
    let Published { name, hash, is_new } = published.map_err(|error| match error {
        ControlError::Rules(error) => mistakes(&args.file, &error),
        error => error.into(),
    })?;
    if args.json {
        writeln!(out, "{}", json!({ "name": name, "hash": hash, "is_new": is_new }))?;
    } else if is_new {
        writeln!(out, "{name:?} is published and in force from here on: {hash}")?;
    } else {
        writeln!(out, "{name:?} was in force already: {hash}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_cases_stand_beside_each_other() {
        assert_eq!(rules_beside(Path::new("a/b.cases.toml")), Some(PathBuf::from("a/b.toml")));
        assert_eq!(rules_beside(Path::new("a/b.toml")), None);
        assert_eq!(cases_beside(Path::new("a/b.toml")), PathBuf::from("a/b.cases.toml"));
        assert_eq!(cases_beside(Path::new("b")), PathBuf::from("b.cases.toml"));
    }

    #[test]
    fn the_catalogue_is_narrowed_by_a_prefix() {
        let text = |prefix: &str, json: bool| {
            let mut out = Vec::new();
            catalogue(&CatalogueArgs { prefix: prefix.into(), json }, &mut out)
                .map(|()| String::from_utf8(out).expect("it is UTF-8"))
        };
        let geo = text("geo.location.", false).expect("there are such names");
        assert!(geo.lines().all(|line| line.starts_with("geo.location.")), "{geo}");
        assert!(geo.contains("geo.location.inside_prison      bool    Within a prison"), "{geo}");
        let error = text("ip.tro", false).expect_err("there is no such name").to_string();
        assert!(error.contains("did you mean \"ip.tor\"?"), "{error}");
        let json: Value =
            serde_json::from_str(&text("ip.tor", true).expect("it is there")).expect("it is JSON");
        assert_eq!((&json[0]["name"], &json[0]["type"]), (&json!("ip.tor"), &json!("bool")));
    }
}
