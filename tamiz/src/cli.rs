//! The command line: which subcommands there are, and what they share.

use crate::{assets, completions, dead_letter, explain, publish, rules, run, sample, tail, topics, up};
use anyhow::Result;
use clap::{Parser, Subcommand};
use geodata::{DataConfig, DataSets};
use pipeline::config::Config;
use std::path::PathBuf;
use std::process::ExitCode;

/// Judge onboarding sessions: who is behind them, why, and with whom they are linked.
#[derive(Debug, Parser)]
#[command(name = "tamiz", version, about, max_term_width = 100)]
pub struct Cli {
    /// Settings; every one of them is in config/default.toml with its default and reason.
    #[arg(long, global = true, value_name = "FILE", env = "TAMIZ_CONFIG")]
    config: Option<PathBuf>,
    /// Put a file in the place of a data set: ip.tor=tor.txt, or NAME:FORMAT=FILE where the format cannot be told.
    #[arg(long, global = true, value_name = "NAME=FILE")]
    data: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    Run(run::RunArgs),
    Publish(publish::PublishArgs),
    Tail(tail::TailArgs),
    Explain(explain::ExplainArgs),
    Rules(rules::RulesArgs),
    Assets(assets::AssetsArgs),
    Sample(sample::SampleArgs),
    Topics(topics::TopicsArgs),
    DeadLetter(dead_letter::DeadLetterArgs),
    Gateway(up::GatewayArgs),
    Completions(completions::CompletionsArgs),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tamiz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: &Cli) -> Result<()> {
    let mut config = Config::load(cli.config.as_deref(), std::env::vars())?;
    override_data(&mut config, &cli.data)?;
    match &cli.command {
        Command::Up(args) => up::run(args, &config),
        Command::Run(args) => run::run(args, &config),
        Command::Publish(args) => publish::run(args, &config),
        Command::Tail(args) => tail::run(args, &config),
        Command::Explain(args) => explain::run(args, &config),
        Command::Rules(args) => rules::run(args, &config),
        Command::Assets(args) => assets::run(args, &config),
        Command::Sample(args) => sample::run(args, &data_sets(&config)?),
        Command::Topics(args) => topics::run(args, &config),
        Command::DeadLetter(args) => dead_letter::run(args, &config),
        Command::Gateway(args) => up::run_gateway(args, &config),
        Command::Completions(args) => completions::run(args, &config),
    }
}

/// Opens the reference data that the settings name.
pub fn data_sets(config: &Config) -> Result<DataSets> {
    let files = DataConfig::from_settings(&config.data.assets_folder, &config.data.files)?;
    Ok(DataSets::open(&files)?)
}

/// Puts the files of `--data` in the place of what the settings name for the same data set.
fn override_data(config: &mut Config, overrides: &[String]) -> Result<()> {
    let mut given = std::collections::BTreeMap::<String, Vec<PathBuf>>::new();
    for text in overrides {
        text.parse::<geodata::DataOverride>()?;
        if let Some((name, path)) = text.split_once('=') {
            given.entry(name.to_owned()).or_default().push(PathBuf::from(path));
        }
    }
    let set = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
    for name in given.keys() {
        config.data.files.retain(|configured, _| set(configured) != set(name));
    }
    config.data.files.extend(given);
    Ok(())
}

/// Tells whether the reader of our output has gone, as in `tamiz … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
    })
}
