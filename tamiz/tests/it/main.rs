//! The command, run as people and scripts run it, over logs in temporary folders.

mod assets;
mod completions;
mod containers;
mod control;
mod dead_letter;
mod explain;
mod fixture;
mod kafka;
mod publish;
mod rules;
mod tail;
mod topics;
