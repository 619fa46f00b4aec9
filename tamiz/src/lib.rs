//! The command `tamiz`. Reading order: [`cli`] (the subcommands), [`operators`] (what a process can host), then one
//! file a subcommand.

pub mod cli;
pub mod input;
pub mod operators;
pub mod run;
pub mod sample;
pub mod summary;
