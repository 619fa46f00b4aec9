//! The command `tamiz`. Reading order: [`cli`] (the subcommands), [`operators`] (what a process can host), [`up`] and
//! [`run`] (the pipeline on the log, and over a file), [`access`] (how commands reach the log), then one file a
//! subcommand.

pub mod access;
pub mod assets;
pub mod cli;
mod client;
pub mod completions;
pub mod control;
pub mod dead_letter;
pub mod expected;
pub mod explain;
pub mod input;
pub mod operators;
mod progress;
pub mod publish;
pub mod rules;
pub mod run;
pub mod sample;
pub mod summary;
pub mod tail;
mod text;
pub mod topics;
pub mod up;
