//! `tamiz completions`: what a shell needs to complete our command line.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use pipeline::config::Config;
use std::io::Write;

/// Print the completions of a shell.
///
/// Examples: source <(tamiz completions bash); tamiz completions zsh > ~/.zfunc/_tamiz;
/// tamiz completions fish > ~/.config/fish/completions/tamiz.fish
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionsArgs, _config: &Config) -> Result<()> {
    let mut command = crate::cli::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tamiz", &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}
